/* Statements of the library of profiles, groups, attributes and facts: rows as in statements.h. */
#pragma once

/* Whether enrollment E shall have profile P. */
#define LIB_ASSIGNED(e, p) \
	"(EXISTS (SELECT 1 FROM profile_assignment a WHERE a.profile = " p " AND a.kind = 'device' AND a.target = " e ")" \
	" OR EXISTS (SELECT 1 FROM profile_assignment a JOIN group_member m ON m.group_name = a.target WHERE a.profile = " p " AND a.kind = 'group' AND m.enrollment_id = " e "))"
#define LIB_AS_INT(condition) "cast(CASE WHEN " condition " THEN 1 ELSE 0 END as bigint)"
/* Enrollments that profile $1 concerns, after $2. */
#define LIB_CONCERNED \
	"(SELECT a.target AS id FROM profile_assignment a WHERE a.profile = $1 AND a.kind = 'device' AND a.target > $2" \
	" UNION SELECT m.enrollment_id FROM profile_assignment a JOIN group_member m ON m.group_name = a.target WHERE a.profile = $1 AND a.kind = 'group' AND m.enrollment_id > $2" \
	" UNION SELECT s.enrollment_id FROM profile_state s WHERE s.profile = $1 AND s.enrollment_id > $2)"
#define LIB_PROFILE_COLUMNS \
	"p.name, p.identifier, p.newest, p.removing_at, p.created_at, p.updated_at, v.size, v.is_signed, v.sign, v.encrypt, v.variables, v.substitute, v.secret, v.uuid, v.display_name"
#define LIB_PROFILE_TYPES "ttiiiiiitttittt"
#define LIB_VERSION_COLUMNS "v.number, v.sha256, v.size, v.is_signed, v.sign, v.encrypt, v.variables, v.substitute, v.secret, v.uuid, v.display_name, v.actor, v.created_at"
#define LIB_VERSION_TYPES "ibiitttitttti"
#define LIB_STATE_COLUMNS \
	"s.enrollment_id, s.profile, s.epoch, s.state, s.number, s.uuid, s.command_uuid, s.reason, s.queued_at, s.deadline_at, s.changed_at, e.device_id, e.serial, e.device_name, p.newest"
#define LIB_STATE_TYPES "ttititttiiittti"

#define LIBRARY_STATEMENTS(X) \
	/* facts */ \
	X(FACT_LIST, "t", "tti", ANY, READ, "SELECT name, value, learnt_at FROM fact WHERE enrollment_id = $1 ORDER BY name") \
	X(FACT_PAGE, "tti", "tti", ANY, READ, "SELECT name, value, learnt_at FROM fact WHERE enrollment_id = $1 AND name > $2 ORDER BY name LIMIT $3") \
	X(FACT_PUT, "ttti", "", ANY, WRITE, \
	  "INSERT INTO fact (enrollment_id, name, value, learnt_at) VALUES ($1, $2, $3, $4)" \
	  " ON CONFLICT (enrollment_id, name) DO UPDATE SET value = excluded.value, learnt_at = excluded.learnt_at") \
	X(FACT_FORGET, "t", "", ANY, WRITE, "DELETE FROM fact WHERE enrollment_id = $1") \
	/* The oldest beyond $2 go. */ \
	X(FACT_TRIM, "ti", "", ANY, WRITE, \
	  "DELETE FROM fact WHERE enrollment_id = $1 AND name IN (SELECT f.name FROM fact f WHERE f.enrollment_id = $1 ORDER BY f.learnt_at DESC, f.name LIMIT 1000 OFFSET $2)") \
	/* attributes */ \
	X(ATTRIBUTE_LIST, "t", "tbi", ANY, READ, "SELECT name, value, updated_at FROM attribute WHERE enrollment_id = $1 ORDER BY name") \
	X(ATTRIBUTE_PUT, "ttbi", "", ANY, WRITE, \
	  "INSERT INTO attribute (enrollment_id, name, value, updated_at) VALUES ($1, $2, $3, $4)" \
	  " ON CONFLICT (enrollment_id, name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at") \
	X(ATTRIBUTE_REMOVE, "tt", "", ANY, WRITE, "DELETE FROM attribute WHERE enrollment_id = $1 AND name = $2") \
	/* profiles and their versions */ \
	X(LIB_ADD, "ttii", "", ONE, WRITE, "INSERT INTO profile (name, identifier, newest, removing_at, created_at, updated_at) VALUES ($1, $2, $3, 0, $4, $4)") \
	X(LIB_RAISE, "titi", "", ONE, WRITE, "UPDATE profile SET newest = $2, updated_at = $4 WHERE name = $1 AND identifier = $3 AND newest = $2 - 1 AND removing_at = 0") \
	X(LIB_VERSION_ADD, "tibbbiitttittttti", "", ONE, WRITE, \
	  "INSERT INTO profile_version (profile, number, sha256, body, content, size, is_signed, sign, encrypt, variables, substitute, secret, uuid, display_name, actor, created_at)" \
	  " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $17 FROM profile p WHERE p.name = $1 AND p.identifier = $16") \
	X(LIB_GET, "t", LIB_PROFILE_TYPES, ANY, READ, "SELECT " LIB_PROFILE_COLUMNS " FROM profile p JOIN profile_version v ON v.profile = p.name AND v.number = p.newest WHERE p.name = $1") \
	X(LIB_BY_IDENTIFIER, "t", LIB_PROFILE_TYPES, ANY, READ, \
	  "SELECT " LIB_PROFILE_COLUMNS " FROM profile p JOIN profile_version v ON v.profile = p.name AND v.number = p.newest WHERE p.identifier = $1") \
	X(LIB_LIST, "ti", LIB_PROFILE_TYPES, ANY, READ, \
	  "SELECT " LIB_PROFILE_COLUMNS " FROM profile p JOIN profile_version v ON v.profile = p.name AND v.number = p.newest WHERE p.name > $1 ORDER BY p.name LIMIT $2") \
	X(LIB_VERSIONS, "tii", LIB_VERSION_TYPES, ANY, READ, "SELECT " LIB_VERSION_COLUMNS " FROM profile_version v WHERE v.profile = $1 AND v.number > $2 ORDER BY v.number LIMIT $3") \
	/* $2 0: the newest. */ \
	X(LIB_VERSION, "ti", LIB_VERSION_TYPES "bbt", ANY, READ, \
	  "SELECT " LIB_VERSION_COLUMNS ", v.body, v.content, p.identifier FROM profile p JOIN profile_version v ON v.profile = p.name AND v.number = CASE $2 WHEN 0 THEN p.newest ELSE $2 END WHERE p.name = $1") \
	X(LIB_REMOVING, "ti", "", ONE, WRITE, "UPDATE profile SET removing_at = $2 WHERE name = $1") \
	X(LIB_DONE_REMOVING, "i", "t", ANY, READ, \
	  "SELECT p.name FROM profile p WHERE p.removing_at > 0 AND NOT EXISTS (SELECT 1 FROM profile_state s WHERE s.profile = p.name AND s.deadline_at > 0)" \
	  " AND NOT EXISTS (SELECT 1 FROM profile_work w WHERE w.profile = p.name) LIMIT $1") \
	X(LIB_DELETE, "t", "", ONE, WRITE, "DELETE FROM profile WHERE name = $1 AND removing_at > 0") \
	X(LIB_DELETE_VERSIONS, "t", "", ANY, WRITE, "DELETE FROM profile_version WHERE profile = $1") \
	X(LIB_DELETE_STATES, "t", "", ANY, WRITE, "DELETE FROM profile_state WHERE profile = $1") \
	/* assignments */ \
	/* First in what assigns it: not while it is taken away. */ \
	X(LIB_HOLD, "t", "", ONE, WRITE, "UPDATE profile SET updated_at = updated_at WHERE name = $1 AND removing_at = 0") \
	X(LIB_ASSIGN, "ttti", "", ANY, WRITE, \
	  "INSERT INTO profile_assignment (profile, kind, target, created_at) SELECT $1, $2, $3, $4 FROM profile p WHERE p.name = $1 AND p.removing_at = 0" \
	  " ON CONFLICT (profile, kind, target) DO NOTHING") \
	X(LIB_UNASSIGN, "ttt", "t", ANY, WRITE, "DELETE FROM profile_assignment WHERE profile = $1 AND kind = $2 AND target = $3 RETURNING target") \
	X(LIB_UNASSIGN_ALL, "t", "", ANY, WRITE, "DELETE FROM profile_assignment WHERE profile = $1") \
	X(LIB_ASSIGNMENTS, "t", "tti", ANY, READ, "SELECT kind, target, created_at FROM profile_assignment WHERE profile = $1 ORDER BY kind, target LIMIT 1000") \
	X(LIB_ASSIGNMENT_COUNT, "t", "ti", ANY, READ, "SELECT kind, count(*) FROM profile_assignment WHERE profile = $1 GROUP BY kind ORDER BY kind") \
	/* groups */ \
	X(GROUP_ADD, "ti", "", ONE, WRITE, "INSERT INTO device_group (name, created_at) VALUES ($1, $2)") \
	X(GROUP_GET, "t", "tiit", ANY, READ, "SELECT g.name, g.created_at, (SELECT count(*) FROM group_member m WHERE m.group_name = g.name), g.query FROM device_group g WHERE g.name = $1") \
	X(GROUP_LIST, "ti", "tiit", ANY, READ, \
	  "SELECT g.name, g.created_at, (SELECT count(*) FROM group_member m WHERE m.group_name = g.name), g.query FROM device_group g WHERE g.name > $1 ORDER BY g.name LIMIT $2") \
	X(GROUP_PROFILES, "t", "t", ANY, READ, "SELECT profile FROM profile_assignment WHERE kind = 'group' AND target = $1 ORDER BY profile") \
	X(GROUP_REMOVE, "t", "t", ONE, WRITE, "DELETE FROM device_group WHERE name = $1 RETURNING name") \
	X(GROUP_UNASSIGN, "t", "", ANY, WRITE, "DELETE FROM profile_assignment WHERE kind = 'group' AND target = $1") \
	X(GROUP_EMPTY, "t", "", ANY, WRITE, "DELETE FROM group_member WHERE group_name = $1") \
	/* One row expected: the group is there. Of a query it has no members to add or take. */ \
	X(GROUP_HOLD_LIST, "t", "", ONE, WRITE, "UPDATE device_group SET created_at = created_at WHERE name = $1 AND query IS NULL") \
	X(GROUP_HOLD, "t", "", ONE, WRITE, "UPDATE device_group SET created_at = created_at WHERE name = $1") \
	X(MEMBER_ADD, "tti", "", ANY, WRITE, "INSERT INTO group_member (group_name, enrollment_id, added_at) VALUES ($1, $2, $3) ON CONFLICT (group_name, enrollment_id) DO NOTHING") \
	X(MEMBER_REMOVE, "tt", "t", ANY, WRITE, "DELETE FROM group_member WHERE group_name = $1 AND enrollment_id = $2 RETURNING enrollment_id") \
	X(MEMBER_LIST, "tti", "ttttii", ANY, READ, \
	  "SELECT e.id, e.device_id, e.serial, e.device_name, e.last_seen, m.added_at FROM group_member m JOIN enrollment e ON e.id = m.enrollment_id" \
	  " WHERE m.group_name = $1 AND m.enrollment_id > $2 ORDER BY m.enrollment_id LIMIT $3") \
	X(GROUPS_OF, "t", "t", ANY, READ, "SELECT group_name FROM group_member WHERE enrollment_id = $1 ORDER BY group_name") \
	/* states */ \
	X(LIB_FACTS, "tt", "titiiititititiiti", ANY, READ, \
	  "SELECT p.identifier, e.active_epoch, p.name, p.newest, p.removing_at, " LIB_AS_INT(LIB_ASSIGNED("e.id", "p.name")) "," \
	  " s.state, s.epoch, s.uuid, s.number, s.command_uuid, s.present, s.reason, s.queued_at, s.deadline_at, e.id, coalesce(s.version, 0) FROM enrollment e" \
	  " JOIN profile p ON p.name = $2 LEFT JOIN profile_state s ON s.enrollment_id = e.id AND s.profile = p.name WHERE e.id = $1") \
	/* $13: whether it is assigned must be as it was seen; below 0: it does not matter. */ \
	X(LIB_STATE_ADD, "ttititittiiii", "", ONE, WRITE, \
	  "INSERT INTO profile_state (enrollment_id, profile, epoch, state, number, uuid, present, command_uuid, reason, queued_at, deadline_at, changed_at, version)" \
	  " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1 FROM profile p WHERE p.name = $2 AND ($13 < 0 OR " LIB_AS_INT(LIB_ASSIGNED("$1", "$2")) " = $13)") \
	X(LIB_STATE_SET, "ttititittiiiii", "", ONE, WRITE, \
	  "UPDATE profile_state SET epoch = $3, state = $4, number = $5, uuid = $6, present = $7, command_uuid = $8, reason = $9, queued_at = $10, deadline_at = $11, changed_at = $12," \
	  " version = version + 1 WHERE enrollment_id = $1 AND profile = $2 AND version = $14 AND ($13 < 0 OR " LIB_AS_INT(LIB_ASSIGNED("$1", "$2")) " = $13)") \
	/* The device is not managed any more, and neither are its users. */ \
	X(LIB_STATE_END, "tit", "", ANY, WRITE, \
	  "UPDATE profile_state SET state = 'ended', reason = $3, deadline_at = 0, present = 0, command_uuid = NULL, changed_at = $2, version = version + 1" \
	  " WHERE state NOT IN ('ended', 'removed') AND (enrollment_id = $1 OR enrollment_id IN (SELECT e.id FROM enrollment e WHERE e.parent_id = $1))") \
	X(LIB_STATE_DUE, "ii", "tt", ANY, READ, "SELECT enrollment_id, profile FROM profile_state WHERE deadline_at > 0 AND deadline_at <= $1 ORDER BY deadline_at LIMIT $2") \
	/* What a list of profiles can confirm or deny. */ \
	X(LIB_CONFIRMABLE, "ti", "tttt", ANY, READ, \
	  "SELECT s.profile, p.identifier, s.uuid, s.state FROM profile_state s JOIN profile p ON p.name = s.profile WHERE s.enrollment_id = $1 AND s.epoch = $2 AND s.state IN ('acknowledged', 'installed')" \
	  " ORDER BY s.profile") \
	X(LIB_STATES, "tti", LIB_STATE_TYPES, ANY, READ, \
	  "SELECT " LIB_STATE_COLUMNS " FROM profile_state s JOIN enrollment e ON e.id = s.enrollment_id JOIN profile p ON p.name = s.profile" \
	  " WHERE s.profile = $1 AND s.enrollment_id > $2 ORDER BY s.enrollment_id LIMIT $3") \
	X(LIB_STATES_OF, "tti", LIB_STATE_TYPES, ANY, READ, \
	  "SELECT " LIB_STATE_COLUMNS " FROM profile_state s JOIN enrollment e ON e.id = s.enrollment_id JOIN profile p ON p.name = s.profile" \
	  " WHERE s.enrollment_id = $1 AND s.profile > $2 ORDER BY s.profile LIMIT $3") \
	X(LIB_COUNTS, "t", "ti", ANY, READ, "SELECT state, count(*) FROM profile_state WHERE profile = $1 GROUP BY state ORDER BY state") \
	/* The command of a state that has ended or changed. */ \
	X(LIB_COMMAND_CANCELED, "ti", "", ANY, WRITE, \
	  "INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed)" \
	  " SELECT c.enrollment_id, c.uuid, c.seq, c.epoch, c.request_type, c.created_at, $2, 'Canceled', 0 FROM command c WHERE c.uuid = $1" \
	  " ON CONFLICT (enrollment_id, uuid) DO NOTHING") \
	X(LIB_COMMAND_CANCEL, "t", "", ANY, WRITE, "DELETE FROM command WHERE uuid = $1") \
	/* A command with note $8, unless one waits that the device does not have yet. */ \
	X(LIB_COMMAND_ONCE, "tttitbit", "", ANY, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note)" \
	  " SELECT e.id, $2, $3, $4, $5, $6, $7, 0, 0, $8 FROM enrollment e WHERE e.id = $1 AND e.active_epoch = $4" \
	  " AND NOT EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $4 AND c.note = $8)") \
	/* work */ \
	X(LIB_WORK_ADD, "tti", "", ONE, WRITE, "INSERT INTO profile_work (id, profile, after_id, n_done, created_at) VALUES ($1, $2, '', 0, $3)") \
	/* Of one device, when there is anything to do for it. */ \
	X(LIB_WORK_ADD_DEVICE, "tti", "", ANY, WRITE, \
	  "INSERT INTO profile_work (id, enrollment_id, after_id, n_done, created_at) SELECT $1, $2, '', 0, $3 FROM enrollment e WHERE e.id = $2 AND (" \
	  "EXISTS (SELECT 1 FROM profile_state s WHERE s.enrollment_id = $2) OR EXISTS (SELECT 1 FROM profile_assignment a WHERE a.kind = 'device' AND a.target = $2)" \
	  " OR EXISTS (SELECT 1 FROM group_member m JOIN profile_assignment a ON a.kind = 'group' AND a.target = m.group_name WHERE m.enrollment_id = $2))") \
	X(LIB_WORK_LIST, "ti", "ttttii", ANY, READ, "SELECT id, profile, enrollment_id, after_id, n_done, created_at FROM profile_work WHERE id > $1 ORDER BY id LIMIT $2") \
	X(LIB_WORK_PAGE, "tti", "t", ANY, READ, "SELECT x.id FROM " LIB_CONCERNED " x ORDER BY x.id LIMIT $3") \
	X(LIB_WORK_LEFT, "tt", "i", ANY, READ, "SELECT count(*) FROM " LIB_CONCERNED " x") \
	X(LIB_WORK_OF, "t", "tti", ANY, READ, "SELECT id, after_id, n_done FROM profile_work WHERE profile = $1 ORDER BY id") \
	X(LIB_WORK_MOVE, "tti", "", ANY, WRITE, "UPDATE profile_work SET after_id = $2, n_done = n_done + $3 WHERE id = $1") \
	X(LIB_WORK_DONE, "t", "", ANY, WRITE, "DELETE FROM profile_work WHERE id = $1") \
	X(LIB_PROFILES_OF, "t", "t", ANY, READ, \
	  "SELECT a.profile FROM profile_assignment a WHERE a.kind = 'device' AND a.target = $1" \
	  " UNION SELECT a.profile FROM group_member m JOIN profile_assignment a ON a.kind = 'group' AND a.target = m.group_name WHERE m.enrollment_id = $1" \
	  " UNION SELECT s.profile FROM profile_state s WHERE s.enrollment_id = $1 ORDER BY 1") \
	/* What a profile is made with for a device: its names, its link's user, and its present identity. A user's are those of the device. */ \
	X(LIB_DEVICE, "t", "tttttttttb", ANY, READ, \
	  "SELECT e.id, d.device_id, d.serial, d.device_name, coalesce(d.model, d.product_name), d.os_version, coalesce(e.user_long_name, e.user_short_name), l.user_name, l.user_email, c.der" \
	  " FROM enrollment e JOIN enrollment d ON d.id = coalesce(e.parent_id, e.id) LEFT JOIN epoch p ON p.enrollment_id = d.id AND p.epoch = d.active_epoch" \
	  " LEFT JOIN link l ON l.id = p.link_id LEFT JOIN certificate c ON c.serial = p.certificate_serial WHERE e.id = $1")
