/* Nodes, leases of work. Same form as statements.h. */
#pragma once

#define NODE_COLUMNS "id, name, address, version, schema_version, started_at, seen_at, clock_ms, trouble"

#define NODE_STATEMENTS(X) \
	X(NODE_CLOCK, "", "ii", ANY, READ, "SELECT cast(0 /*clock_ms*/ as bigint), cast(0 /*schema_version*/ as bigint)") \
	X(NODE_BEAT, "ttttiiiit", "", ONE, WRITE, \
	  "INSERT INTO node (" NODE_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE" \
	  " SET seen_at = excluded.seen_at, clock_ms = excluded.clock_ms, trouble = excluded.trouble, address = excluded.address") \
	/* Those that were seen last, however many have come and gone. */ \
	X(NODE_LIST, "i", "ttttiiiit", ANY, READ, "SELECT " NODE_COLUMNS " FROM (SELECT " NODE_COLUMNS " FROM node ORDER BY seen_at DESC, id LIMIT $1) n ORDER BY id") \
	X(NODE_REMOVE, "t", "", ANY, WRITE, "DELETE FROM node WHERE id = $1") \
	X(NODE_FORGET, "i", "", ANY, WRITE, "DELETE FROM node WHERE seen_at < $1") \
	X(NODE_REPLACE, "ti", "", ANY, WRITE, "DELETE FROM node WHERE name = $1 AND seen_at < $2") \
	X(LEASE_MAKE, "t", "", ANY, WRITE, "INSERT INTO lease (job, node, fence, expires_at) VALUES ($1, '', 0, 0) ON CONFLICT (job) DO NOTHING") \
	/* Who has it already keeps his number. One that would last longer than any was ever given is of a time when the clock was ahead. The conditions stand twice: the inner ones choose which row is locked, the outer ones are looked at again when it has changed meanwhile. */ \
	X(LEASE_TAKE, "ttiii", "i", ANY, WRITE, \
	  "UPDATE lease SET node = $2, fence = fence + CASE WHEN node = $2 THEN 0 ELSE 1 END, expires_at = $4 WHERE job = $1 AND (node = $2 OR expires_at <= $3 OR expires_at > $5)" \
	  " AND job IN (SELECT o.job FROM lease o WHERE o.job = $1 AND (o.node = $2 OR o.expires_at <= $3 OR o.expires_at > $5) /*skip_locked*/) RETURNING fence") \
	/* Whose name stands there is still the holder, however late: nobody has taken it. */ \
	X(LEASE_RENEW, "ti", "ti", ANY, WRITE, "UPDATE lease SET expires_at = $2 WHERE node = $1 RETURNING job, fence") \
	X(LEASE_RELEASE, "tt", "", ANY, WRITE, "UPDATE lease SET node = '', expires_at = 0 WHERE node = $1 AND job = $2") \
	X(LEASE_RELEASE_ALL, "t", "", ANY, WRITE, "UPDATE lease SET node = '', expires_at = 0 WHERE node = $1") \
	/* A write of the row, though it changes nothing: nobody can take the lease before this transaction has ended, and it waits for who just takes it. */ \
	X(LEASE_FENCE, "tti", "", ONE, WRITE, "UPDATE lease SET fence = fence WHERE job = $1 AND node = $2 AND fence = $3") \
	X(LEASE_HELD, "tti", "i", ANY, READ, "SELECT fence FROM lease WHERE job = $1 AND node = $2 AND fence = $3") \
	X(LEASE_LIST, "", "ttii", ANY, READ, "SELECT job, node, fence, expires_at FROM lease ORDER BY job") \
	X(SETTING_KEEP, "tt", "", ANY, WRITE, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
