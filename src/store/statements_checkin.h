/* Check-in messages and the timeline. Same form as statements.h. */
#pragma once

#define CHECKIN_STATEMENTS(X) \
	/* The newest event of this kind since $5, when it says the same ($6 1: or something else), happened again. */ \
	X(EVENT_AGAIN, "ttitii", "", ANY, WRITE, \
	  "UPDATE event SET n = n + 1, last_at = $3, detail = $4 WHERE enrollment_id = $1 AND id = (SELECT o.id FROM event o WHERE o.enrollment_id = $1 AND o.kind = $2" \
	  " AND ($6 = 1 OR o.detail IS NOT DISTINCT FROM $4) AND CASE o.last_at WHEN 0 THEN o.at ELSE o.last_at END >= $5 ORDER BY o.id DESC LIMIT 1)") \
	/* After it: the first of its kind. */ \
	X(EVENT_FIRST, "ttitiit", "", ANY, WRITE, \
	  "INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT $1, $7, $3, $2, $4 WHERE NOT EXISTS (SELECT 1 FROM event o WHERE o.enrollment_id = $1 AND o.kind = $2" \
	  " AND ($6 = 1 OR o.detail IS NOT DISTINCT FROM $4) AND CASE o.last_at WHEN 0 THEN o.at ELSE o.last_at END >= $5)") \
	/* The same two for a link, which must exist: its id comes from outside. */ \
	X(EVENT_OF_LINK, "ttitiit", "", ANY, WRITE, \
	  "INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT l.id, $7, $3, $2, $4 FROM link l WHERE l.id = $1 AND NOT EXISTS (SELECT 1 FROM event o WHERE o.enrollment_id = $1" \
	  " AND o.kind = $2 AND ($6 = 1 OR o.detail IS NOT DISTINCT FROM $4) AND CASE o.last_at WHEN 0 THEN o.at ELSE o.last_at END >= $5)") \
	X(EPOCH_AWAITING, "tii", "", ANY, WRITE, "UPDATE epoch SET awaiting_configuration = $3 WHERE enrollment_id = $1 AND epoch = $2") \
	/* The topic of a device that was taken up before it had told its own. */ \
	X(EPOCH_TOPIC, "tit", "", ANY, WRITE, "UPDATE epoch SET topic = $3 WHERE enrollment_id = $1 AND epoch = $2 AND topic = ''") \
	/* The timeline: events, those of the links that an enrollment came of, and commands when they were asked for, last fetched, and ended: at the same millisecond in this order. */ \
	X(TIMELINE_PAGE, "titi", "itttii", ANY, READ, \
	  "SELECT at, id, kind, detail, n, last_at FROM (SELECT v.at, v.id, v.kind, v.detail, v.n, v.last_at FROM event v WHERE v.enrollment_id = $1" \
	  " OR v.enrollment_id IN (SELECT p.link_id FROM epoch p WHERE p.enrollment_id = $1 AND p.link_id IS NOT NULL)" \
	  " UNION ALL SELECT c.created_at, c.uuid || '-1', 'CommandQueued', c.request_type, cast(1 as bigint), cast(0 as bigint) FROM command c WHERE c.enrollment_id = $1" \
	  " UNION ALL SELECT c.delivered_at, c.uuid || '-2', 'CommandDelivered', c.request_type, c.n_delivered, cast(0 as bigint) FROM command c WHERE c.enrollment_id = $1 AND c.delivered_at > 0" \
	  " UNION ALL SELECT d.created_at, d.uuid || '-1', 'CommandQueued', d.request_type, cast(1 as bigint), cast(0 as bigint) FROM command_done d WHERE d.enrollment_id = $1" \
	  " UNION ALL SELECT d.delivered_at, d.uuid || '-2', 'CommandDelivered', d.request_type, d.n_delivered, cast(0 as bigint) FROM command_done d WHERE d.enrollment_id = $1 AND d.delivered_at > 0" \
	  " UNION ALL SELECT d.finished_at, d.uuid || '-3', 'CommandEnded', d.request_type || ': ' || d.status, cast(1 as bigint), cast(0 as bigint) FROM command_done d WHERE d.enrollment_id = $1) t" \
	  " WHERE (at, id) > ($2, $3) ORDER BY at, id LIMIT $4") \
	X(TIMELINE_FACTS, "t", "iiiiiiiitt", ANY, READ, \
	  "SELECT e.state, e.last_seen, e.ended_at, cast(CASE WHEN p.push_token IS NULL THEN 0 ELSE 1 END as bigint), coalesce(p.push_dead_at, 0), coalesce(c.not_after, 0), coalesce(c.state, 0)," \
	  " coalesce((SELECT min(m.created_at) FROM command m WHERE m.enrollment_id = e.id AND m.epoch = e.active_epoch), 0), e.parent_id, e.id FROM enrollment e" \
	  " LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch LEFT JOIN certificate c ON c.serial = p.certificate_serial WHERE e.id = $1") \
	/* Devices of another server */ \
	X(ENROLLMENT_FIRST_USE, "ttii", "", ONE, WRITE, \
	  "INSERT INTO enrollment (id, device_id, user_part, parent_id, kind, state, version, active_epoch, pending_epoch, last_epoch, created_at," \
	  " authenticated_at, enrolled_at, ended_at, last_seen) VALUES ($1, $2, '', NULL, $3, 1, 1, 1, 0, 1, $4, 0, $4, 0, $4)") \
	X(EPOCH_PROVENANCE, "tit", "", ONE, WRITE, "UPDATE epoch SET provenance = $3 WHERE enrollment_id = $1 AND epoch = $2") \
	X(FIRST_USE_ADD, "titttt", "", ONE, WRITE, \
	  "INSERT INTO first_use (enrollment_id, at, message, certificate_serial, issuer, issuer_serial) VALUES ($1, $2, $3, $4, $5, $6)") \
	X(FIRST_USE_LIST, "ti", "tittttttiiit", ANY, READ, \
	  "SELECT f.enrollment_id, f.at, f.message, f.certificate_serial, f.issuer, f.issuer_serial, e.device_id, c.subject, c.not_after, e.state," \
	  " cast(CASE WHEN p.push_token IS NULL THEN 0 ELSE 1 END as bigint), a.provenance FROM first_use f JOIN enrollment e ON e.id = f.enrollment_id" \
	  " LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch LEFT JOIN epoch a ON a.enrollment_id = e.id AND a.epoch = e.last_epoch" \
	  " LEFT JOIN certificate c ON c.serial = f.certificate_serial WHERE f.enrollment_id > $1 ORDER BY f.enrollment_id LIMIT $2") \
	X(CERTIFICATE_IS_FIRST_USE, "b", "i", ANY, READ, "SELECT cast(1 as bigint) FROM certificate WHERE sha256 = $1 AND generation_id = 'first-use'") \
	/* ReturnToService */ \
	X(RETURN_GET, "t", "iitii", ANY, READ, "SELECT own, enabled, wifi_profile, mdm_profile, bootstrap_token FROM return_to_service WHERE enrollment_id = $1") \
	X(RETURN_PUT, "tiitiii", "", ANY, WRITE, \
	  "INSERT INTO return_to_service (enrollment_id, own, enabled, wifi_profile, mdm_profile, bootstrap_token, updated_at, answered_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET own = excluded.own, enabled = excluded.enabled, wifi_profile = excluded.wifi_profile, mdm_profile = excluded.mdm_profile," \
	  " bootstrap_token = excluded.bootstrap_token, updated_at = excluded.updated_at") \
	/* Each answer with a profile makes a link: not more often than once in the time before $3. */ \
	X(RETURN_ANSWER, "tii", "", ONE, WRITE, \
	  "INSERT INTO return_to_service (enrollment_id, own, enabled, wifi_profile, mdm_profile, bootstrap_token, updated_at, answered_at) VALUES ($1, 0, 0, NULL, 0, 0, 0, $2)" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET answered_at = excluded.answered_at WHERE return_to_service.answered_at <= $3") \
	/* What others just change waits for the next time, here and in what else removes old rows of many: who waits for nobody locks nobody out. */ \
	X(EVENT_PURGE, "ii", "i", ANY, WRITE, \
	  "WITH old AS (SELECT o.enrollment_id, o.id FROM event o WHERE o.at < $1 AND o.last_at < $1 ORDER BY o.at LIMIT $2 /*skip_locked*/)" \
	  " DELETE FROM event WHERE (enrollment_id, id) IN (SELECT enrollment_id, id FROM old) RETURNING cast(1 as bigint)")
