/* What nodes learn from each other, and what they do one after another. Same form as statements.h. */
#pragma once

#define SHARED_STATEMENTS(X) \
	X(SHARED_VERSIONS, "", "ti", ANY, READ, "SELECT name, version FROM shared_version ORDER BY name") \
	X(SHARED_CHANGED, "t", "", ONE, WRITE, \
	  "INSERT INTO shared_version (name, version) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET version = shared_version.version + 1") \
	/* Whoever comes with the same name waits until the transaction ends: the row is taken away again in it, so nobody ever sees one. */ \
	X(LOCK_TAKE, "t", "", ONE, WRITE, "INSERT INTO shared_lock (name) VALUES ($1) ON CONFLICT (name) DO NOTHING") \
	X(LOCK_GIVE, "t", "", ONE, WRITE, "DELETE FROM shared_lock WHERE name = $1") \
	/* Which link's profile an address has fetched last. */ \
	X(ADDRESS_SERVED, "tti", "", ANY, WRITE, \
	  "INSERT INTO served_address (address, link_id, at) VALUES ($1, $2, $3) ON CONFLICT (address) DO UPDATE SET link_id = excluded.link_id, at = excluded.at") \
	X(ADDRESS_LINK, "ti", "t", ANY, READ, "SELECT link_id FROM served_address WHERE address = $1 AND at >= $2") \
	X(ADDRESS_PURGE, "ii", "", ANY, WRITE, \
	  "WITH old AS (SELECT a.address FROM served_address a WHERE a.at < $1 ORDER BY a.at LIMIT $2 /*skip_locked*/) DELETE FROM served_address WHERE address IN (SELECT address FROM old)") \
	/* One failure more of an address, at $2, which costs $3 milliseconds. */ \
	X(SCEP_FAILED, "tii", "i", ANY, WRITE, \
	  "INSERT INTO scep_failure (address, forgiven_at) VALUES ($1, $2 + $3) ON CONFLICT (address) DO UPDATE SET" \
	  " forgiven_at = CASE WHEN scep_failure.forgiven_at > $2 THEN scep_failure.forgiven_at ELSE $2 END + $3 RETURNING forgiven_at") \
	X(SCEP_FORGIVEN, "ii", "i", ANY, WRITE, \
	  "WITH old AS (SELECT f.address FROM scep_failure f WHERE f.forgiven_at <= $1 ORDER BY f.forgiven_at LIMIT $2 /*skip_locked*/)" \
	  " DELETE FROM scep_failure WHERE address IN (SELECT address FROM old) RETURNING cast(1 as bigint)")
