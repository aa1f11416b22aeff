/* Declarative management. Same form as statements.h. */
#pragma once

#define DECLARATION_COLUMNS "d.identifier, d.type, d.kind, d.token, d.profile, d.forced, d.version, d.created_at, d.updated_at, coalesce(p.newest, 0), cast(coalesce(length(d.data), 0) as bigint)"
#define DECLARATION_TYPES "ttittiiiiii"
#define DECLARATION_FROM " FROM declaration d LEFT JOIN profile p ON p.name = d.profile"

#define DDM_STATEMENTS(X) \
	/* declarations */ \
	X(DECLARATION_ADD, "ttitbbtii", "", ONE, WRITE, \
	  "INSERT INTO declaration (identifier, type, kind, token, body, data, profile, forced, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9)") \
	X(DECLARATION_SET, "ttitbbtiii", "", ONE, WRITE, \
	  "UPDATE declaration SET type = $2, kind = $3, token = $4, body = $5, data = $6, profile = $7, forced = $8, updated_at = $9, version = version + 1" \
	  " WHERE identifier = $1 AND version = $10") \
	X(DECLARATION_GET, "t", DECLARATION_TYPES "bb", ANY, READ, "SELECT " DECLARATION_COLUMNS ", d.body, d.data" DECLARATION_FROM " WHERE d.identifier = $1") \
	X(DECLARATION_LIST, "ti", DECLARATION_TYPES, ANY, READ, "SELECT " DECLARATION_COLUMNS DECLARATION_FROM " WHERE d.identifier > $1 ORDER BY d.identifier LIMIT $2") \
	X(DECLARATION_REMOVE, "t", "", ONE, WRITE, "DELETE FROM declaration WHERE identifier = $1") \
	X(DECLARATION_LEAVE_SETS, "t", "", ANY, WRITE, "DELETE FROM set_member WHERE identifier = $1") \
	X(DECLARATION_SETS, "t", "t", ANY, READ, "SELECT set_name FROM set_member WHERE identifier = $1 ORDER BY set_name") \
	X(DECLARATION_NAMED_BY, "t", "t", ANY, READ, "SELECT DISTINCT identifier FROM declaration_reference WHERE target = $1 AND identifier <> $1 ORDER BY identifier LIMIT 100") \
	X(REFERENCE_CLEAR, "t", "", ANY, WRITE, "DELETE FROM declaration_reference WHERE identifier = $1") \
	X(REFERENCE_ADD, "ttt", "", ONE, WRITE, "INSERT INTO declaration_reference (identifier, path, target) VALUES ($1, $2, $3)") \
	X(REFERENCE_OF, "t", "ttt", ANY, READ, \
	  "SELECT r.path, r.target, d.type FROM declaration_reference r LEFT JOIN declaration d ON d.identifier = r.target WHERE r.identifier = $1 ORDER BY r.path") \
	/* All that can be reached from $1. */ \
	X(REFERENCE_REACH, "t", "tt", ANY, READ, \
	  "WITH RECURSIVE c(identifier) AS (SELECT d.identifier FROM declaration d WHERE d.identifier = $1" \
	  " UNION SELECT r.target FROM c JOIN declaration_reference r ON r.identifier = c.identifier)" \
	  " SELECT r.identifier, r.target FROM c JOIN declaration_reference r ON r.identifier = c.identifier LIMIT 10000") \
	X(DECLARED_COUNTS, "t", "tii", ANY, READ, "SELECT valid, active, count(*) FROM ddm_declared WHERE identifier = $1 GROUP BY valid, active ORDER BY valid, active") \
	X(DECLARED_DEVICES, "tti", "ttttititti", ANY, READ, \
	  "SELECT x.enrollment_id, e.device_id, e.serial, e.device_name, x.kind, x.identifier, x.active, x.valid, x.reasons, x.learnt_at FROM ddm_declared x JOIN enrollment e ON e.id = x.enrollment_id" \
	  " WHERE x.identifier = $1 AND x.enrollment_id > $2 ORDER BY x.enrollment_id LIMIT $3") \
	/* sets */ \
	X(SET_ADD, "ti", "", ONE, WRITE, "INSERT INTO declaration_set (name, created_at, updated_at) VALUES ($1, $2, $2)") \
	X(SET_GET, "t", "tiii", ANY, READ, "SELECT s.name, s.created_at, s.updated_at, (SELECT count(*) FROM set_member m WHERE m.set_name = s.name) FROM declaration_set s WHERE s.name = $1") \
	X(SET_LIST, "ti", "tiii", ANY, READ, \
	  "SELECT s.name, s.created_at, s.updated_at, (SELECT count(*) FROM set_member m WHERE m.set_name = s.name) FROM declaration_set s WHERE s.name > $1 ORDER BY s.name LIMIT $2") \
	X(SET_REMOVE, "t", "", ONE, WRITE, "DELETE FROM declaration_set WHERE name = $1") \
	X(SET_EMPTY, "t", "", ANY, WRITE, "DELETE FROM set_member WHERE set_name = $1") \
	X(SET_UNASSIGN_ALL, "t", "", ANY, WRITE, "DELETE FROM set_assignment WHERE set_name = $1") \
	/* First in what assigns it. */ \
	X(SET_HOLD, "t", "", ANY, WRITE, "UPDATE declaration_set SET updated_at = updated_at WHERE name = $1") \
	/* One row expected: the set is there. */ \
	X(SET_TOUCH, "ti", "", ONE, WRITE, "UPDATE declaration_set SET updated_at = $2 WHERE name = $1") \
	X(SET_MEMBER_ADD, "tti", "t", ANY, WRITE, \
	  "INSERT INTO set_member (set_name, identifier, added_at) SELECT $1, d.identifier, $3 FROM declaration d WHERE d.identifier = $2 ON CONFLICT (set_name, identifier) DO NOTHING RETURNING identifier") \
	X(SET_MEMBER_REMOVE, "tt", "t", ANY, WRITE, "DELETE FROM set_member WHERE set_name = $1 AND identifier = $2 RETURNING identifier") \
	X(SET_MEMBERS, "t", "ttii", ANY, READ, \
	  "SELECT d.identifier, d.type, d.kind, m.added_at FROM set_member m JOIN declaration d ON d.identifier = m.identifier WHERE m.set_name = $1 ORDER BY d.identifier") \
	/* With all that they name, for the list of a device. */ \
	X(SET_ITEMS, "t", "titit", ANY, READ, \
	  "WITH RECURSIVE c(identifier) AS (SELECT m.identifier FROM set_member m WHERE m.set_name = $1" \
	  " UNION SELECT r.target FROM c JOIN declaration_reference r ON r.identifier = c.identifier)" \
	  " SELECT d.identifier, d.kind, d.token, coalesce(p.newest, 0), d.type FROM c JOIN declaration d ON d.identifier = c.identifier LEFT JOIN profile p ON p.name = d.profile ORDER BY d.identifier") \
	X(SET_ASSIGN, "tttti", "t", ANY, WRITE, \
	  "INSERT INTO set_assignment (set_name, kind, target, channel, created_at) SELECT s.name, $2, $3, $4, $5 FROM declaration_set s WHERE s.name = $1" \
	  " ON CONFLICT (set_name, kind, target, channel) DO NOTHING RETURNING set_name") \
	X(SET_UNASSIGN, "tttt", "t", ANY, WRITE, "DELETE FROM set_assignment WHERE set_name = $1 AND kind = $2 AND target = $3 AND channel = $4 RETURNING set_name") \
	X(SET_ASSIGNMENTS, "t", "ttti", ANY, READ, "SELECT kind, target, channel, created_at FROM set_assignment WHERE set_name = $1 ORDER BY kind, target, channel") \
	X(SETS_OF, "t", "t", ANY, READ, \
	  "SELECT a.set_name FROM set_assignment a WHERE a.kind = 'device' AND a.channel = 'device' AND a.target = $1" \
	  " UNION SELECT a.set_name FROM group_member m JOIN set_assignment a ON a.kind = 'group' AND a.target = m.group_name AND a.channel = 'device' WHERE m.enrollment_id = $1" \
	  " UNION SELECT a.set_name FROM enrollment e JOIN set_assignment a ON a.kind = 'device' AND a.target = e.parent_id AND a.channel = 'user' WHERE e.id = $1" \
	  " UNION SELECT a.set_name FROM enrollment e JOIN group_member m ON m.enrollment_id = e.parent_id JOIN set_assignment a ON a.kind = 'group' AND a.target = m.group_name AND a.channel = 'user'" \
	  " WHERE e.id = $1" \
	  " UNION SELECT a.set_name FROM enrollment e JOIN set_assignment a ON a.kind = 'user' AND a.target = e.user_short_name WHERE e.id = $1 AND e.user_part <> '' ORDER BY 1") \
	/* lists and states */ \
	X(DDM_FACTS, "t", "iiitttttttttiiiit", ANY, READ, \
	  "SELECT e.active_epoch, e.kind, coalesce(s.version, 0), s.token, s.told, s.delivered, s.subscription, s.reason, c.uuid, d.product_name, d.model, d.os_version, coalesce(s.epoch, 0)," \
	  " coalesce(s.changed_at, 0), coalesce(s.told_at, 0), coalesce(s.status_at, 0), e.parent_id FROM enrollment e JOIN enrollment d ON d.id = coalesce(e.parent_id, e.id)" \
	  " LEFT JOIN ddm_state s ON s.enrollment_id = e.id LEFT JOIN command c ON c.enrollment_id = e.id AND c.epoch = e.active_epoch AND c.note = 'declarations' WHERE e.id = $1 ORDER BY c.seq LIMIT 1") \
	X(DDM_MANIFEST, "ti", "tiiib", ANY, READ, \
	  "SELECT s.token, s.changed_at, s.version, cast(CASE WHEN s.told = s.token THEN 1 ELSE 0 END as bigint), m.items FROM ddm_state s JOIN ddm_manifest m ON m.token = s.token" \
	  " WHERE s.enrollment_id = $1 AND s.epoch = $2") \
	X(DDM_TOKENS, "ti", "ti", ANY, READ, "SELECT token, changed_at FROM ddm_state WHERE enrollment_id = $1 AND epoch = $2") \
	X(DDM_MANIFEST_PUT, "tbi", "", ANY, WRITE, "INSERT INTO ddm_manifest (token, items, created_at) VALUES ($1, $2, $3) ON CONFLICT (token) DO UPDATE" \
	  " SET created_at = CASE WHEN ddm_manifest.created_at < excluded.created_at THEN excluded.created_at ELSE ddm_manifest.created_at END") \
	/* Not one that is put again at this moment: then it is young. */ \
	X(DDM_MANIFEST_PURGE, "ii", "", ANY, WRITE, \
	  "WITH old AS (SELECT m.token FROM ddm_manifest m WHERE m.created_at < $1 AND NOT EXISTS (SELECT 1 FROM ddm_state s WHERE s.token = m.token) LIMIT $2 /*skip_locked*/)" \
	  " DELETE FROM ddm_manifest WHERE created_at < $1 AND token IN (SELECT token FROM old)") \
	X(DDM_STATE_ADD, "tittti", "", ONE, WRITE, \
	  "INSERT INTO ddm_state (enrollment_id, epoch, token, told, delivered, changed_at, told_at, status_at, version) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 1)") \
	X(DDM_STATE_SET, "titttiii", "", ONE, WRITE, \
	  "UPDATE ddm_state SET epoch = $2, token = $3, told = $4, delivered = $5, changed_at = $6, told_at = $7, version = version + 1 WHERE enrollment_id = $1 AND version = $8") \
	/* A new epoch: nothing of the one before counts. */ \
	X(DDM_STATE_RESET, "titii", "", ONE, WRITE, \
	  "UPDATE ddm_state SET epoch = $2, token = $3, told = NULL, delivered = NULL, subscription = NULL, reason = NULL, changed_at = $4, told_at = 0, status_at = 0, version = version + 1" \
	  " WHERE enrollment_id = $1 AND version = $5") \
	X(DDM_STATE_REASON, "tt", "", ANY, WRITE, "UPDATE ddm_state SET reason = $2 WHERE enrollment_id = $1") \
	X(DDM_STATE_REPORTED, "tiit", "", ANY, WRITE, \
	  "UPDATE ddm_state SET status_at = $3, subscription = coalesce($4, subscription), version = version + 1 WHERE enrollment_id = $1 AND epoch = $2") \
	/* Told of an older list, and nothing is on its way that would tell them. */ \
	X(DDM_STALE, "ii", "t", ANY, READ, \
	  "SELECT s.enrollment_id FROM ddm_state s JOIN enrollment e ON e.id = s.enrollment_id AND e.active_epoch = s.epoch WHERE s.told IS DISTINCT FROM s.token AND s.changed_at < $1" \
	  " AND s.reason IS NULL AND NOT EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = s.enrollment_id AND c.epoch = s.epoch AND c.note = 'declarations') ORDER BY s.enrollment_id LIMIT $2") \
	/* work */ \
	X(DDM_WORK_ADD, "tttti", "", ANY, WRITE, \
	  "INSERT INTO ddm_work (id, kind, subject, channel, after_id, n_done, created_at) VALUES ($1, $2, $3, $4, '', 0, $5)") \
	/* Of one enrollment, when there is anything to do for it. */ \
	X(DDM_WORK_ADD_DEVICE, "tti", "", ANY, WRITE, \
	  "INSERT INTO ddm_work (id, kind, subject, channel, after_id, n_done, created_at) SELECT $1, 'enrollment', e.id, 'device', '', 0, $3 FROM enrollment e WHERE e.id = $2" \
	  " AND (EXISTS (SELECT 1 FROM set_assignment) OR EXISTS (SELECT 1 FROM ddm_state s WHERE s.enrollment_id = $2))") \
	/* The users of a device that enters or leaves a group. */ \
	X(DDM_WORK_ADD_USERS, "tti", "", ANY, WRITE, \
	  "INSERT INTO ddm_work (id, kind, subject, channel, after_id, n_done, created_at) SELECT $1, 'device', e.id, 'user', '', 0, $3 FROM enrollment e WHERE e.id = $2" \
	  " AND EXISTS (SELECT 1 FROM set_assignment a WHERE a.channel = 'user')") \
	X(DDM_WORK_ADD_GROUP_GONE, "tti", "", ANY, WRITE, \
	  "INSERT INTO ddm_work (id, kind, subject, channel, after_id, n_done, created_at) SELECT $1, 'all', '', 'device', '', 0, $3 FROM device_group g WHERE g.name = $2" \
	  " AND (EXISTS (SELECT 1 FROM set_assignment a WHERE a.kind = 'group' AND a.target = $2) OR EXISTS (SELECT 1 FROM ddm_work w))") \
	X(DDM_WORK_ADD_PROFILE, "tti", "", ANY, WRITE, \
	  "INSERT INTO ddm_work (id, kind, subject, channel, after_id, n_done, created_at) SELECT $1, 'profile', p.name, 'device', '', 0, $3 FROM profile p WHERE p.name = $2" \
	  " AND EXISTS (SELECT 1 FROM declaration d WHERE d.profile = $2)") \
	X(GROUP_SETS, "t", "t", ANY, READ, "SELECT DISTINCT set_name FROM set_assignment WHERE kind = 'group' AND target = $1 ORDER BY set_name LIMIT 100") \
	X(DDM_UNASSIGN_GROUP, "t", "", ANY, WRITE, "DELETE FROM set_assignment WHERE kind = 'group' AND target = $1") \
	X(DDM_WORK_LIST, "i", "ttttiit", ANY, READ, "SELECT id, kind, subject, channel, n_done, created_at, after_id FROM ddm_work ORDER BY id LIMIT $1") \
	X(DDM_WORK_COUNT, "", "i", ANY, READ, "SELECT count(*) FROM ddm_work") \
	X(DDM_WORK_MOVE, "tti", "", ANY, WRITE, "UPDATE ddm_work SET after_id = $2, n_done = $3 WHERE id = $1") \
	X(DDM_WORK_DONE, "t", "", ANY, WRITE, "DELETE FROM ddm_work WHERE id = $1") \
	X(DDM_TARGETS_OF_SET, "t", "ttt", ANY, READ, "SELECT kind, target, channel FROM set_assignment WHERE set_name = $1 ORDER BY kind, target, channel") \
	/* Sets that hold $1, or something that leads to it. */ \
	X(DDM_TARGETS_OF_DECLARATION, "t", "ttt", ANY, READ, \
	  "WITH RECURSIVE c(identifier) AS (SELECT d.identifier FROM declaration d WHERE d.identifier = $1 UNION SELECT r.identifier FROM c JOIN declaration_reference r ON r.target = c.identifier)" \
	  " SELECT DISTINCT a.kind, a.target, a.channel FROM c JOIN set_member m ON m.identifier = c.identifier JOIN set_assignment a ON a.set_name = m.set_name ORDER BY a.kind, a.target, a.channel") \
	X(DDM_TARGETS_OF_PROFILE, "t", "ttt", ANY, READ, \
	  "WITH RECURSIVE c(identifier) AS (SELECT d.identifier FROM declaration d WHERE d.profile = $1 UNION SELECT r.identifier FROM c JOIN declaration_reference r ON r.target = c.identifier)" \
	  " SELECT DISTINCT a.kind, a.target, a.channel FROM c JOIN set_member m ON m.identifier = c.identifier JOIN set_assignment a ON a.set_name = m.set_name ORDER BY a.kind, a.target, a.channel") \
	X(DDM_PAGE_GROUP, "tti", "t", ANY, READ, "SELECT enrollment_id FROM group_member WHERE group_name = $1 AND enrollment_id > $2 ORDER BY enrollment_id LIMIT $3") \
	X(DDM_PAGE_GROUP_USERS, "tti", "t", ANY, READ, \
	  "SELECT e.id FROM group_member m JOIN enrollment e ON e.parent_id = m.enrollment_id WHERE m.group_name = $1 AND e.id > $2 ORDER BY e.id LIMIT $3") \
	X(DDM_PAGE_DEVICE, "tti", "t", ANY, READ, "SELECT id FROM enrollment WHERE id = $1 AND id > $2 ORDER BY id LIMIT $3") \
	X(DDM_PAGE_DEVICE_USERS, "tti", "t", ANY, READ, "SELECT id FROM enrollment WHERE parent_id = $1 AND id > $2 ORDER BY id LIMIT $3") \
	X(DDM_PAGE_USER, "tti", "t", ANY, READ, "SELECT id FROM enrollment WHERE user_short_name = $1 AND user_part <> '' AND id > $2 ORDER BY id LIMIT $3") \
	X(DDM_PAGE_ALL, "ti", "t", ANY, READ, "SELECT enrollment_id FROM ddm_state WHERE enrollment_id > $1 ORDER BY enrollment_id LIMIT $2") \
	/* status */ \
	X(DDM_STATUS_CLEAR, "t", "", ANY, WRITE, "DELETE FROM ddm_status WHERE enrollment_id = $1") \
	X(DDM_DECLARED_CLEAR, "t", "", ANY, WRITE, "DELETE FROM ddm_declared WHERE enrollment_id = $1") \
	X(DDM_STATUS_PUT, "ttttti", "", ANY, WRITE, \
	  "INSERT INTO ddm_status (enrollment_id, item, element, value, reasons, learnt_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (enrollment_id, item, element) DO UPDATE SET" \
	  " value = coalesce(excluded.value, ddm_status.value), reasons = excluded.reasons, learnt_at = excluded.learnt_at") \
	X(DDM_STATUS_REMOVE, "ttt", "", ANY, WRITE, "DELETE FROM ddm_status WHERE enrollment_id = $1 AND item = $2 AND element = $3") \
	/* What the item was before, when it was a list and is none now, or the other way round. */ \
	X(DDM_STATUS_OTHER, "tti", "", ANY, WRITE, "DELETE FROM ddm_status WHERE enrollment_id = $1 AND item = $2 AND CASE element WHEN '' THEN 0 ELSE 1 END <> $3") \
	X(DDM_STATUS_TRIM, "ti", "", ANY, WRITE, \
	  "DELETE FROM ddm_status WHERE enrollment_id = $1 AND learnt_at < (SELECT o.learnt_at FROM ddm_status o WHERE o.enrollment_id = $1 ORDER BY o.learnt_at DESC LIMIT 1 OFFSET $2)") \
	X(DDM_DECLARED_PUT, "ttiittti", "", ANY, WRITE, \
	  "INSERT INTO ddm_declared (enrollment_id, identifier, kind, active, valid, token, reasons, learnt_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (enrollment_id, identifier) DO UPDATE SET" \
	  " kind = excluded.kind, active = excluded.active, valid = excluded.valid, token = excluded.token, reasons = excluded.reasons, learnt_at = excluded.learnt_at") \
	X(DDM_STATUS_LIST, "ttti", "tttti", ANY, READ, \
	  "SELECT item, element, value, reasons, learnt_at FROM ddm_status WHERE enrollment_id = $1 AND (item, element) > ($2, $3) ORDER BY item, element LIMIT $4") \
	X(DDM_STATUS_VALUE, "tt", "t", ANY, READ, "SELECT value FROM ddm_status WHERE enrollment_id = $1 AND item = $2 AND element = ''") \
	X(DDM_DECLARED_OF, "t", "tiittti", ANY, READ, \
	  "SELECT identifier, kind, active, valid, token, reasons, learnt_at FROM ddm_declared WHERE enrollment_id = $1 ORDER BY identifier") \
	/* apply */ \
	X(APPLIED_LIST, "t", "tt", ANY, READ, "SELECT kind, name FROM applied WHERE owner = $1 ORDER BY kind, name") \
	X(APPLIED_ADD, "ttt", "", ANY, WRITE, "INSERT INTO applied (owner, kind, name) VALUES ($1, $2, $3) ON CONFLICT (owner, kind, name) DO NOTHING") \
	X(APPLIED_REMOVE, "ttt", "", ANY, WRITE, "DELETE FROM applied WHERE owner = $1 AND kind = $2 AND name = $3")
