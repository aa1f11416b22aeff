/* Orders to many devices, queries, the end of enrollments, inventory. Same form as statements.h. */
#pragma once

/* The rows of device $1 and of its users. */
#define FLEET_OF_DEVICE "IN (SELECT e.id FROM enrollment e WHERE e.id = $1 OR e.parent_id = $1)"
#define ORDER_COLUMNS "id, request_type, unchecked, kind, target, actor, state, after_id, n_planned, n_queued, n_skipped, created_at, sent_at, ended_at, expires_at"
#define ORDER_TYPES "ttittttt" "iiiiiii"
#define ORDER_DEVICE_STATE \
	"CASE WHEN d.reason IS NOT NULL THEN 'skipped' WHEN d.command_uuid IS NULL THEN 'planned' WHEN f.status IS NULL THEN 'queued' WHEN f.status = 'Acknowledged' THEN 'answered'" \
	" WHEN f.status = 'Canceled' THEN 'canceled' ELSE 'failed' END"
/* Devices of order $1 after $2 up to $3. */
#define ORDER_RANGE "d.order_id = $1 AND d.enrollment_id > $2 AND d.enrollment_id <= $3"

#define FLEET_STATEMENTS(X) \
	/* lists that devices report */ \
	X(FACT_LIST_PUT, "tttiii", "", ANY, WRITE, \
	  "INSERT INTO fact_list (enrollment_id, name, value, n_items, n_cut, learnt_at) VALUES ($1, $2, $3, $4, $5, $6)" \
	  " ON CONFLICT (enrollment_id, name) DO UPDATE SET value = excluded.value, n_items = excluded.n_items, n_cut = excluded.n_cut, learnt_at = excluded.learnt_at") \
	X(FACT_LIST_GET, "tt", "ttiii", ANY, READ, "SELECT name, value, n_items, n_cut, learnt_at FROM fact_list WHERE enrollment_id = $1 AND name = $2") \
	X(FACT_LIST_NAMES, "t", "ttiii", ANY, READ, "SELECT name, '', n_items, n_cut, learnt_at FROM fact_list WHERE enrollment_id = $1 ORDER BY name") \
	X(FACT_LIST_FORGET, "t", "", ANY, WRITE, "DELETE FROM fact_list WHERE enrollment_id = $1") \
	X(FLEET_COMMAND_BODY, "t", "b", ANY, READ, "SELECT body FROM command WHERE uuid = $1") \
	/* queries */ \
	X(FLEET_PAGE, "ti", ENROLLMENT_TYPES, ANY, READ, "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE id > $1 AND user_part = '' AND state = 1 ORDER BY id LIMIT $2") \
	X(FLEET_PAGE_GROUP, "tti", ENROLLMENT_TYPES, ANY, READ, \
	  "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE id IN (SELECT m.enrollment_id FROM group_member m WHERE m.group_name = $1 AND m.enrollment_id > $2" \
	  " ORDER BY m.enrollment_id LIMIT $3) ORDER BY id") \
	X(FLEET_PAGE_ORDER, "tti", ENROLLMENT_TYPES, ANY, READ, \
	  "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE id IN (SELECT d.enrollment_id FROM order_device d WHERE d.order_id = $1 AND d.enrollment_id > $2" \
	  " ORDER BY d.enrollment_id LIMIT $3) ORDER BY id") \
	X(FLEET_COUNT, "", "i", ANY, READ, "SELECT count(*) FROM enrollment WHERE user_part = '' AND state = 1") \
	X(FLEET_FACTS, "ttt", "tt", ANY, READ, "SELECT enrollment_id, value FROM fact WHERE enrollment_id >= $1 AND enrollment_id <= $2 AND name = $3 ORDER BY enrollment_id") \
	X(FLEET_ATTRIBUTES, "ttt", "tb", ANY, READ, "SELECT enrollment_id, value FROM attribute WHERE enrollment_id >= $1 AND enrollment_id <= $2 AND name = $3 ORDER BY enrollment_id") \
	X(QUERY_GROUP_ADD, "tit", "", ONE, WRITE, "INSERT INTO device_group (name, created_at, query) VALUES ($1, $2, $3)") \
	X(QUERY_GROUP_SET, "tt", "", ONE, WRITE, "UPDATE device_group SET query = $2 WHERE name = $1 AND query IS NOT NULL") \
	X(QUERY_GROUPS, "i", "tt", ANY, READ, "SELECT name, query FROM device_group WHERE query IS NOT NULL ORDER BY name LIMIT $1") \
	/* First in what changes the members of groups of queries; a group may be gone. */ \
	X(QUERY_GROUP_HOLD, "t", "", ANY, WRITE, "UPDATE device_group SET created_at = created_at WHERE name = $1") \
	/* Only while the group is still of this query, and the device is there. */ \
	X(QUERY_MEMBER_ADD, "ttit", "", ANY, WRITE, \
	  "INSERT INTO group_member (group_name, enrollment_id, added_at) SELECT g.name, e.id, $3 FROM device_group g JOIN enrollment e ON e.id = $2 WHERE g.name = $1 AND g.query = $4" \
	  " ON CONFLICT (group_name, enrollment_id) DO NOTHING") \
	X(QUERY_MEMBER_REMOVE, "ttt", "", ANY, WRITE, \
	  "DELETE FROM group_member WHERE group_name = $1 AND enrollment_id = $2 AND EXISTS (SELECT 1 FROM device_group g WHERE g.name = $1 AND g.query = $3)") \
	X(QUERY_MEMBERS, "ttt", "t", ANY, READ, "SELECT enrollment_id FROM group_member WHERE group_name = $1 AND enrollment_id > $2 AND enrollment_id <= $3 ORDER BY enrollment_id") \
	X(QUERY_WORK_ADD, "tt", "", ONE, WRITE, "INSERT INTO query_work (id, group_name, after_id) VALUES ($1, $2, '')") \
	X(QUERY_WORK_ADD_DEVICE, "tt", "", ANY, WRITE, \
	  "INSERT INTO query_work (id, enrollment_id, after_id) SELECT $1, $2, '' WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.query IS NOT NULL)") \
	X(QUERY_WORK_LIST, "i", "tttt", ANY, READ, "SELECT id, group_name, enrollment_id, after_id FROM query_work ORDER BY id LIMIT $1") \
	X(QUERY_WORK_MOVE, "tt", "", ANY, WRITE, "UPDATE query_work SET after_id = $2 WHERE id = $1") \
	X(QUERY_WORK_DONE, "t", "", ANY, WRITE, "DELETE FROM query_work WHERE id = $1") \
	X(QUERY_WORK_LEFT, "t", "i", ANY, READ, "SELECT count(*) FROM query_work WHERE group_name = $1") \
	/* orders */ \
	X(ORDER_ADD, "ttbittttiii", "", ONE, WRITE, \
	  "INSERT INTO fleet_order (id, request_type, body, unchecked, kind, target, actor, state, after_id, n_planned, n_queued, n_skipped, created_at, sent_at, ended_at, expires_at)" \
	  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, 0, 0, $10, 0, 0, $11)") \
	X(ORDER_TARGET, "tt", "", ANY, WRITE, "INSERT INTO order_device (order_id, enrollment_id) VALUES ($1, $2) ON CONFLICT (order_id, enrollment_id) DO NOTHING") \
	X(ORDER_GET, "t", ORDER_TYPES, ANY, READ, "SELECT " ORDER_COLUMNS " FROM fleet_order WHERE id = $1") \
	X(ORDER_BODY, "t", "tb", ANY, READ, "SELECT state, body FROM fleet_order WHERE id = $1") \
	/* Newest first; $1 '' begins. */ \
	X(ORDER_LIST, "ti", ORDER_TYPES, ANY, READ, "SELECT " ORDER_COLUMNS " FROM fleet_order WHERE ($1 = '' OR id < $1) ORDER BY id DESC LIMIT $2") \
	X(ORDER_WORK, "i", ORDER_TYPES, ANY, READ, "SELECT " ORDER_COLUMNS " FROM fleet_order WHERE state IN ('sending', 'canceling') ORDER BY id LIMIT $1") \
	X(ORDER_COMMAND, "ttttbiti", "", ANY, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note, expires_at)" \
	  " SELECT e.id, $2, $3, e.active_epoch, $4, $5, $6, 0, 0, $7, $8 FROM enrollment e WHERE e.id = $1 AND e.state = 1 AND e.active_epoch > 0" \
	  " AND NOT EXISTS (SELECT 1 FROM command_done d WHERE d.uuid = $3) ON CONFLICT (uuid, enrollment_id) DO NOTHING") \
	/* Queued when its command is there, else skipped for the reason. */ \
	X(ORDER_DEVICE_SET, "tttt", "", ANY, WRITE, \
	  "INSERT INTO order_device (order_id, enrollment_id, command_uuid, reason)" \
	  " SELECT $1, $2, CASE WHEN EXISTS (SELECT 1 FROM command c WHERE c.uuid = $3) THEN $3 END, CASE WHEN EXISTS (SELECT 1 FROM command c WHERE c.uuid = $3) THEN NULL ELSE $4 END" \
	  " WHERE 1 = 1 ON CONFLICT (order_id, enrollment_id) DO UPDATE SET command_uuid = excluded.command_uuid, reason = excluded.reason") \
	/* From $2 to $3; $4 1: it was the last page. */ \
	X(ORDER_MOVE, "tttii", "", ONE, WRITE, \
	  "UPDATE fleet_order SET after_id = $3, state = CASE $4 WHEN 1 THEN 'done' ELSE state END, sent_at = CASE $4 WHEN 1 THEN $5 ELSE sent_at END," \
	  " n_queued = n_queued + (SELECT count(*) FROM order_device d WHERE " ORDER_RANGE " AND d.command_uuid IS NOT NULL)," \
	  " n_skipped = n_skipped + (SELECT count(*) FROM order_device d WHERE " ORDER_RANGE " AND d.reason IS NOT NULL)" \
	  " WHERE id = $1 AND after_id = $2 AND state = 'sending'") \
	X(ORDER_COUNTS, "t", "ti", ANY, READ, \
	  "SELECT " ORDER_DEVICE_STATE ", count(*) FROM order_device d LEFT JOIN command_done f ON f.enrollment_id = d.enrollment_id AND f.uuid = d.command_uuid WHERE d.order_id = $1 GROUP BY 1 ORDER BY 1") \
	X(ORDER_DEVICES, "ttit", "ttttttti", ANY, READ, \
	  "SELECT d.enrollment_id, e.device_id, e.serial, " ORDER_DEVICE_STATE ", d.command_uuid, d.reason, f.status, coalesce(f.finished_at, 0) FROM order_device d LEFT JOIN enrollment e ON e.id = d.enrollment_id" \
	  " LEFT JOIN command_done f ON f.enrollment_id = d.enrollment_id AND f.uuid = d.command_uuid" \
	  " WHERE d.order_id = $1 AND d.enrollment_id > $2 AND ($4 = '' OR " ORDER_DEVICE_STATE " = $4) ORDER BY d.enrollment_id LIMIT $3") \
	X(ORDER_CANCEL, "t", "t", ONE, WRITE, "UPDATE fleet_order SET state = 'canceling', after_id = '' WHERE id = $1 AND state IN ('sending', 'done') RETURNING id") \
	X(ORDER_CANCEL_PAGE, "tti", "t", ANY, READ, "SELECT d.enrollment_id FROM order_device d WHERE d.order_id = $1 AND d.enrollment_id > $2 ORDER BY d.enrollment_id LIMIT $3") \
	X(ORDER_CANCEL_DONE, "ttti", "", ANY, WRITE, \
	  "INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed)" \
	  " SELECT c.enrollment_id, c.uuid, c.seq, c.epoch, c.request_type, c.created_at, $4, 'Canceled', 0 FROM order_device d JOIN command c ON c.uuid = d.command_uuid AND c.enrollment_id = d.enrollment_id WHERE " ORDER_RANGE \
	  " ON CONFLICT (enrollment_id, uuid) DO NOTHING") \
	X(ORDER_CANCEL_COMMANDS, "ttt", "", ANY, WRITE, "DELETE FROM command WHERE uuid IN (SELECT d.command_uuid FROM order_device d WHERE " ORDER_RANGE " AND d.command_uuid IS NOT NULL)") \
	X(ORDER_CANCEL_REST, "tttt", "", ANY, WRITE, \
	  "UPDATE order_device SET reason = $4 WHERE order_id = $1 AND enrollment_id > $2 AND enrollment_id <= $3 AND command_uuid IS NULL AND reason IS NULL") \
	X(ORDER_CANCEL_MOVE, "tttii", "", ONE, WRITE, \
	  "UPDATE fleet_order SET after_id = $3, state = CASE $4 WHEN 1 THEN 'canceled' ELSE state END, ended_at = CASE $4 WHEN 1 THEN $5 ELSE ended_at END" \
	  " WHERE id = $1 AND after_id = $2 AND state = 'canceling'") \
	/* The oldest that ended before $1 and of which no command waits. */ \
	X(ORDER_OLD, "i", "t", ANY, READ, \
	  "SELECT o.id FROM fleet_order o WHERE o.created_at < $1 AND o.state IN ('done', 'canceled') AND NOT EXISTS (SELECT 1 FROM order_device d JOIN command c ON c.uuid = d.command_uuid AND c.enrollment_id = d.enrollment_id" \
	  " WHERE d.order_id = o.id) ORDER BY o.id LIMIT 1") \
	X(ORDER_DROP_DEVICES, "t", "", ANY, WRITE, "DELETE FROM order_device WHERE order_id = $1") \
	X(ORDER_DROP, "t", "", ANY, WRITE, "DELETE FROM fleet_order WHERE id = $1") \
	/* the end of an enrollment */ \
	X(END_LOAD, "t", "iiii", ANY, READ, "SELECT version, active_epoch, pending_epoch, state FROM enrollment WHERE id = $1") \
	X(END_CERTIFICATES, "ti", "t", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $2, revoked_reason = 'cessationOfOperation' WHERE state <> 2 AND (enrollment_id = $1 OR (enrollment_id IS NULL AND for_enrollment_id = $1)) RETURNING serial") \
	X(END_CHALLENGES, "ti", "", ANY, WRITE, "UPDATE challenge SET revoked_at = $2, version = version + 1 WHERE for_enrollment_id = $1 AND revoked_at = 0") \
	/* A CheckOut that an unenroll has asked for: its identity ends with it. Before the queue is cleared. */ \
	X(END_ASKED_CERTIFICATES, "tii", "", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $3, revoked_reason = 'cessationOfOperation' WHERE enrollment_id = $1 AND epoch = $2 AND state <> 2" \
	  " AND EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $2 AND c.note = 'unenroll')") \
	/* Everything of a device but its certificates. */ \
	X(DELETE_LINK_EVENTS, "t", "", ANY, WRITE, "DELETE FROM event WHERE enrollment_id IN (SELECT p.link_id FROM epoch p WHERE p.enrollment_id " FLEET_OF_DEVICE " AND p.link_id IS NOT NULL)") \
	X(DELETE_OTA, "t", "", ANY, WRITE, "DELETE FROM ota WHERE link_id IN (SELECT p.link_id FROM epoch p WHERE p.enrollment_id " FLEET_OF_DEVICE " AND p.link_id IS NOT NULL)") \
	X(DELETE_PAIRINGS, "t", "", ANY, WRITE, "DELETE FROM watch_pairing WHERE phone_id = $1") \
	X(DELETE_COMMANDS, "t", "", ANY, WRITE, "DELETE FROM command WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_COMMANDS_DONE, "t", "", ANY, WRITE, "DELETE FROM command_done WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_EVENTS, "t", "", ANY, WRITE, "DELETE FROM event WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_PUSHES, "t", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_FACTS, "t", "", ANY, WRITE, "DELETE FROM fact WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_FACT_LISTS, "t", "", ANY, WRITE, "DELETE FROM fact_list WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_ATTRIBUTES, "t", "", ANY, WRITE, "DELETE FROM attribute WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_MEMBERSHIPS, "t", "", ANY, WRITE, "DELETE FROM group_member WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_ASSIGNMENTS, "t", "", ANY, WRITE, "DELETE FROM profile_assignment WHERE kind = 'device' AND target " FLEET_OF_DEVICE) \
	X(DELETE_STATES, "t", "", ANY, WRITE, "DELETE FROM profile_state WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_WORK, "t", "", ANY, WRITE, "DELETE FROM profile_work WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_QUERY_WORK, "t", "", ANY, WRITE, "DELETE FROM query_work WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_ORDERS, "t", "", ANY, WRITE, "DELETE FROM order_device WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_INVENTORY, "t", "", ANY, WRITE, "DELETE FROM inventory WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_FIRST_USE, "t", "", ANY, WRITE, "DELETE FROM first_use WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_RETURN, "t", "", ANY, WRITE, "DELETE FROM return_to_service WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_SETS, "t", "", ANY, WRITE, "DELETE FROM set_assignment WHERE kind = 'device' AND target " FLEET_OF_DEVICE) \
	X(DELETE_DDM_STATE, "t", "", ANY, WRITE, "DELETE FROM ddm_state WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_DDM_STATUS, "t", "", ANY, WRITE, "DELETE FROM ddm_status WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_DDM_DECLARED, "t", "", ANY, WRITE, "DELETE FROM ddm_declared WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_EPOCHS, "t", "", ANY, WRITE, "DELETE FROM epoch WHERE enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_CHANNELS, "t", "", ANY, WRITE, "DELETE FROM channel WHERE device_id = (SELECT e.device_id FROM enrollment e WHERE e.id = $1) AND enrollment_id " FLEET_OF_DEVICE) \
	X(DELETE_USERS, "t", "", ANY, WRITE, "DELETE FROM enrollment WHERE parent_id = $1") \
	X(DELETE_ENROLLMENT, "ti", "", ONE, WRITE, "DELETE FROM enrollment WHERE id = $1 AND version = $2") \
	/* devices that are blocked */ \
	X(BLOCK_PUT, "tttiti", "", ANY, WRITE, \
	  "INSERT INTO device_block (device_id, serial, reason, unenroll, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6)" \
	  " ON CONFLICT (device_id) DO UPDATE SET serial = excluded.serial, reason = excluded.reason, unenroll = excluded.unenroll, actor = excluded.actor, created_at = excluded.created_at") \
	/* The enrollments of a blocked device wait for no push. */ \
	X(BLOCK_PUSHES, "tt", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id IN (SELECT e.id FROM enrollment e WHERE e.device_id = $1 OR e.device_id IN (SELECT o.device_id FROM enrollment o WHERE o.serial = $2))") \
	X(BLOCK_REMOVE, "tt", "t", ANY, WRITE, "DELETE FROM device_block WHERE device_id = $1 OR serial = $2 RETURNING device_id") \
	X(BLOCK_LIST, "ti", "tttiti", ANY, READ, "SELECT device_id, serial, reason, unenroll, actor, created_at FROM device_block WHERE device_id > $1 ORDER BY device_id LIMIT $2") \
	X(BLOCK_FIND, "tt", "tttiti", ANY, READ, "SELECT device_id, serial, reason, unenroll, actor, created_at FROM device_block WHERE device_id = $1 OR serial = $2 ORDER BY unenroll DESC LIMIT 1") \
	/* What a message claims to be ($1, $2: serial, NULL when it does not say), and what its enrollment $3 (NULL: none) is known to be. */ \
	X(BLOCK_OF_MESSAGE, "ttt", "ti", ANY, READ, \
	  "SELECT coalesce(b.reason, ''), b.unenroll FROM device_block b WHERE b.device_id = $1 OR b.serial = $2" \
	  " OR b.serial = (SELECT e.serial FROM enrollment e WHERE e.id = $3) ORDER BY b.unenroll DESC LIMIT 1") \
	/* Of the enrollment that is found by its id or, on the device channel, its UDID. */ \
	X(BLOCK_OF_ENROLLMENT, "t", "t", ANY, READ, \
	  "SELECT coalesce(b.reason, '') FROM enrollment e JOIN device_block b ON b.device_id = e.device_id OR b.serial = e.serial" \
	  " WHERE e.id = coalesce((SELECT i.id FROM enrollment i WHERE i.id = $1), (SELECT d.id FROM enrollment d WHERE d.device_id = $1 AND d.user_part = '')) ORDER BY b.unenroll DESC LIMIT 1") \
	/* inventory */ \
	X(INVENTORY_PUT, "ti", "", ANY, WRITE, \
	  "INSERT INTO inventory (enrollment_id, due_at) VALUES ($1, $2) ON CONFLICT (enrollment_id) DO UPDATE SET due_at = excluded.due_at") \
	X(INVENTORY_DROP, "t", "", ANY, WRITE, "DELETE FROM inventory WHERE enrollment_id = $1") \
	X(INVENTORY_DUE, "ii", "t", ANY, READ, "SELECT enrollment_id FROM inventory WHERE due_at <= $1 ORDER BY due_at, enrollment_id LIMIT $2") \
	X(INVENTORY_STATE, "t", "iii", ANY, READ, \
	  "SELECT e.state, e.last_seen, cast(CASE WHEN EXISTS (SELECT 1 FROM device_block b WHERE b.device_id = e.device_id OR b.serial = e.serial) THEN 1 ELSE 0 END as bigint) FROM enrollment e WHERE e.id = $1") \
	/* Only when nothing like it waits. */ \
	X(INVENTORY_COMMAND, "tttitbit", "t", ANY, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note)" \
	  " SELECT e.id, $2, $3, $4, $5, $6, $7, 0, 0, $8 FROM enrollment e WHERE e.id = $1 AND e.active_epoch = $4" \
	  " AND NOT EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $4 AND c.request_type = $5 AND c.note IN ($8, 'profiles')) RETURNING uuid")
