/* The queue and what is asked about commands. Same form as statements.h. */
#pragma once

/* Of a row of command c. The last: whether others may still be offered in the session, which said NotNow before DEFERRED_BEFORE. */
#define COMMAND_NEXT_COLUMNS(deferred_before) \
	"c.uuid, c.body, c.note, c.sealed, c.seq, c.n_delivered, c.n_not_now, cast(CASE WHEN EXISTS (SELECT 1 FROM command d WHERE d.enrollment_id = c.enrollment_id AND d.epoch = c.epoch" \
	" AND d.not_now_at > 0 AND d.not_now_at < " deferred_before " AND d.seq <> c.seq) THEN 1 ELSE 0 END as bigint)"
#define COMMAND_NEXT_TYPES "tbtitiii"
#define COMMAND_PENDING_COLUMNS "seq, uuid, epoch, request_type, created_at, not_now_at, n_not_now, note, expires_at, delivered_at, n_delivered, is_out, session_at"
#define COMMAND_PENDING_TYPES "ttitiiitiiiii"
/* A row of the history from one of the queue that got no answer; $3: now. */
#define COMMAND_DONE_FROM(status) \
	"INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed, delivered_at, n_delivered, n_not_now)" \
	" SELECT c.enrollment_id, c.uuid, c.seq, c.epoch, c.request_type, c.created_at, $3, '" status "', 0, c.delivered_at, c.n_delivered, c.n_not_now FROM command c"

#define COMMAND_STATEMENTS(X) \
	/* $3: those that said NotNow before this; $5: now. What has expired waits for the janitor alone. */ \
	X(COMMAND_NEXT, "tiiti", COMMAND_NEXT_TYPES, ANY, READ, \
	  "SELECT " COMMAND_NEXT_COLUMNS("$3") " FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $2 AND (c.not_now_at = 0 OR c.not_now_at < $3) AND c.uuid <> $4" \
	  " AND (c.expires_at = 0 OR c.expires_at > $5) ORDER BY c.seq LIMIT 1") \
	/* For an Idle, before the epoch is known that is served: what a device that has just come gets first. $2: now. */ \
	X(COMMAND_NEXT_IDLE, "ti", COMMAND_NEXT_TYPES "i", ANY, READ, \
	  "SELECT " COMMAND_NEXT_COLUMNS("9223372036854775807") ", c.epoch FROM command c WHERE c.enrollment_id = $1 AND c.epoch = (SELECT e.active_epoch FROM enrollment e WHERE e.id = $1)" \
	  " AND (c.expires_at = 0 OR c.expires_at > $2) ORDER BY c.seq LIMIT 1") \
	/* The same as the first, of the commands with this note alone. */ \
	X(COMMAND_NEXT_NOTED, "titti", COMMAND_NEXT_TYPES, ANY, READ, \
	  "SELECT " COMMAND_NEXT_COLUMNS("0") " FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $2 AND c.note = $3 AND c.uuid <> $4 AND (c.expires_at = 0 OR c.expires_at > $5) ORDER BY c.seq LIMIT 1") \
	/* What a channel reports of: it waits, or it is finished (then it has a status). */ \
	X(COMMAND_REPORTED, "tt", COMMAND_PENDING_TYPES "it", ANY, READ, \
	  "SELECT " COMMAND_PENDING_COLUMNS ", cast(0 as bigint), cast(NULL as text) FROM command WHERE enrollment_id = $1 AND uuid = $2" \
	  " UNION ALL SELECT seq, uuid, epoch, request_type, created_at, cast(0 as bigint), n_not_now, NULL, cast(0 as bigint), delivered_at, n_delivered, cast(0 as bigint), cast(0 as bigint), finished_at, status" \
	  " FROM command_done WHERE enrollment_id = $1 AND uuid = $2") \
	X(COMMAND_OWNER, "t", "t", ANY, READ, "SELECT enrollment_id FROM command WHERE uuid = $1 UNION ALL SELECT enrollment_id FROM command_done WHERE uuid = $1") \
	X(COMMAND_FIND, "t", "t" COMMAND_PENDING_TYPES, ANY, READ, "SELECT enrollment_id, " COMMAND_PENDING_COLUMNS " FROM command WHERE uuid = $1") \
	X(COMMAND_BODY, "t", "bi", ANY, READ, "SELECT body, sealed FROM command WHERE uuid = $1") \
	X(COMMAND_DONE_FIND, "t", "ttiitiiibiiit", ANY, READ, \
	  "SELECT enrollment_id, request_type, created_at, finished_at, status, epoch, packed, sealed, result, delivered_at, n_delivered, n_not_now, seq FROM command_done WHERE uuid = $1") \
	/* Only into the epoch that takes commands now, and never with the UUID of another command: people find commands by it alone. */ \
	X(COMMAND_ADD, "tttitbit", "", ONE, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note)" \
	  " SELECT e.id, $2, $3, $4, $5, $6, $7, 0, 0, $8 FROM enrollment e" \
	  " WHERE e.id = $1 AND CASE e.active_epoch WHEN 0 THEN e.pending_epoch ELSE e.active_epoch END = $4" \
	  " AND NOT EXISTS (SELECT 1 FROM command o WHERE o.uuid = $3) AND NOT EXISTS (SELECT 1 FROM command_done d WHERE d.uuid = $3)") \
	/* Of the server's own, for a live epoch: not while one with its note waits. After COMMAND_HOLD, so that of two who ask at once the later one sees what the earlier one has queued. */ \
	X(COMMAND_ADD_ONCE, "tttitbit", "", ONE, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note)" \
	  " SELECT e.id, $2, $3, $4, $5, $6, $7, 0, 0, $8 FROM enrollment e WHERE e.id = $1 AND e.active_epoch = $4" \
	  " AND NOT EXISTS (SELECT 1 FROM command w WHERE w.enrollment_id = $1 AND w.epoch = $4 AND w.note = $8)" \
	  " AND NOT EXISTS (SELECT 1 FROM command o WHERE o.uuid = $3) AND NOT EXISTS (SELECT 1 FROM command_done d WHERE d.uuid = $3)") \
	/* The same with all that a person may say. $12 = 1: not when an identical one waits ($11, its HMAC) that the device does not have. */ \
	X(COMMAND_QUEUE, "tttitbitiibi", "", ONE, WRITE, \
	  "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note, sealed, expires_at, fold)" \
	  " SELECT e.id, $2, $3, $4, $5, $6, $7, 0, 0, $8, $9, $10, $11 FROM enrollment e" \
	  " WHERE e.id = $1 AND CASE e.active_epoch WHEN 0 THEN e.pending_epoch ELSE e.active_epoch END = $4" \
	  " AND NOT EXISTS (SELECT 1 FROM command o WHERE o.uuid = $3) AND NOT EXISTS (SELECT 1 FROM command_done d WHERE d.uuid = $3)" \
	  " AND ($12 = 0 OR NOT EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $4 AND c.fold = $11 AND c.is_out = 0 AND (c.expires_at = 0 OR c.expires_at > $7)))") \
	/* First in what puts something into the queue: it is before or after whatever else holds the enrollment, an identical command, the end of the epoch, that it is deleted. */ \
	X(COMMAND_HOLD, "t", "", ONE, WRITE, "UPDATE enrollment SET created_at = created_at WHERE id = $1") \
	/* The same for one that may be gone by now. */ \
	X(ENROLLMENT_HOLD, "t", "", ANY, WRITE, "UPDATE enrollment SET created_at = created_at WHERE id = $1") \
	/* The user channels of a device, when their epoch ends. */ \
	X(USERS_HOLD, "t", "", ANY, WRITE, "UPDATE enrollment SET created_at = created_at WHERE parent_id = $1") \
	X(COMMAND_FOLDABLE, "tibi", "t", ANY, READ, \
	  "SELECT uuid FROM command WHERE enrollment_id = $1 AND epoch = $2 AND fold = $3 AND is_out = 0 AND (expires_at = 0 OR expires_at > $4) ORDER BY seq LIMIT 1") \
	X(COMMAND_NOTED, "tit", "i", ANY, READ, "SELECT count(*) FROM command WHERE enrollment_id = $1 AND epoch = $2 AND note = $3") \
	X(COMMAND_REMOVE, "tt", "", ANY, WRITE, "DELETE FROM command WHERE enrollment_id = $1 AND seq = $2") \
	X(COMMAND_LOCK, "tt", "", ANY, WRITE, "UPDATE command SET expires_at = expires_at WHERE enrollment_id = $1 AND seq = $2") \
	/* The same by UUID, and of what order $1 has queued for device $2. Before its end is written: the device's answer takes it first, too. */ \
	X(COMMAND_LOCK_UUID, "t", "", ANY, WRITE, "UPDATE command SET expires_at = expires_at WHERE uuid = $1") \
	X(COMMAND_LOCK_ORDER, "tt", "", ANY, WRITE, \
	  "UPDATE command SET expires_at = expires_at WHERE enrollment_id = $2 AND uuid = (SELECT d.command_uuid FROM order_device d WHERE d.order_id = $1 AND d.enrollment_id = $2)") \
	X(COMMAND_TAKE, "tt", "", ONE, WRITE, "DELETE FROM command WHERE enrollment_id = $1 AND seq = $2") \
	/* $4, $5: the newest delivery that is known. */ \
	X(COMMAND_DEFER, "ttiii", "", ANY, WRITE, \
	  "UPDATE command SET not_now_at = $3, n_not_now = n_not_now + 1, is_out = 0, delivered_at = $4, n_delivered = $5 WHERE enrollment_id = $1 AND seq = $2") \
	/* $5: how often it had said NotNow when it was delivered. Once more by now: it is not out any more. */ \
	X(COMMAND_DELIVERED, "ttiiii", "", ANY, WRITE, \
	  "UPDATE command SET delivered_at = CASE WHEN delivered_at < $3 THEN $3 ELSE delivered_at END, n_delivered = CASE WHEN n_delivered < $4 THEN $4 ELSE n_delivered END," \
	  " is_out = CASE n_not_now WHEN $5 THEN 1 ELSE is_out END, session_at = CASE WHEN session_at < $6 THEN $6 ELSE session_at END" \
	  " WHERE enrollment_id = $1 AND seq = $2 AND (n_delivered < $4 OR session_at < $6)") \
	/* The answer of a command that was given up counts all the same; that of one which has been answered does not. */ \
	X(COMMAND_FINISH, "tttitiitiibiii", "", ANY, WRITE, \
	  "INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed, sealed, result, delivered_at, n_delivered, n_not_now)" \
	  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (enrollment_id, uuid) DO UPDATE SET finished_at = excluded.finished_at, status = excluded.status," \
	  " packed = excluded.packed, sealed = excluded.sealed, result = excluded.result WHERE command_done.status IN ('Expired', 'Canceled') AND excluded.result IS NOT NULL") \
	X(COMMAND_CLEAR_DONE, "tii", "", ANY, WRITE, COMMAND_DONE_FROM("Cleared") " WHERE c.enrollment_id = $1 AND c.epoch = $2") \
	X(COMMAND_CLEAR, "ti", "", ANY, WRITE, "DELETE FROM command WHERE enrollment_id = $1 AND epoch = $2") \
	/* The same for the user channels of a device: they live in its epoch. */ \
	X(COMMAND_CLEAR_USERS_DONE, "tii", "", ANY, WRITE, COMMAND_DONE_FROM("Cleared") " JOIN enrollment e ON e.id = c.enrollment_id WHERE e.parent_id = $1 AND c.epoch = $2") \
	X(COMMAND_CLEAR_USERS, "ti", "", ANY, WRITE, \
	  "DELETE FROM command WHERE epoch = $2 AND enrollment_id IN (SELECT e.id FROM enrollment e WHERE e.parent_id = $1)") \
	/* The lines of the timelines, the device's and its users', before they go. */ \
	X(COMMAND_CLEARED_EVENT, "titi", "", ANY, WRITE, \
	  "INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT c.enrollment_id, $3, $4, 'CommandsCleared', cast(count(*) as text) FROM command c JOIN enrollment e ON e.id = c.enrollment_id" \
	  " WHERE (e.id = $1 OR e.parent_id = $1) AND c.epoch = $2 GROUP BY c.enrollment_id") \
	X(COMMAND_EXPIRED, "ii", "tttt", ANY, READ, \
	  "SELECT enrollment_id, seq, uuid, request_type FROM command WHERE expires_at > 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2") \
	X(COMMAND_EXPIRE_EVENT, "ttitt", "", ANY, WRITE, \
	  "INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT c.enrollment_id, $4, $3, 'CommandExpired', $5 FROM command c WHERE c.enrollment_id = $1 AND c.seq = $2") \
	X(COMMAND_EXPIRE_DONE, "tti", "", ANY, WRITE, COMMAND_DONE_FROM("Expired") " WHERE c.enrollment_id = $1 AND c.seq = $2 ON CONFLICT (enrollment_id, uuid) DO NOTHING") \
	X(COMMAND_DONE_PURGE, "ii", "i", ANY, WRITE, \
	  "WITH old AS (SELECT d.enrollment_id, d.uuid FROM command_done d WHERE d.finished_at < $1 ORDER BY d.finished_at LIMIT $2 /*skip_locked*/)" \
	  " DELETE FROM command_done WHERE (enrollment_id, uuid) IN (SELECT enrollment_id, uuid FROM old) RETURNING cast(1 as bigint)") \
	X(COMMAND_TARGET, "t", "tiiiiib", ANY, READ, \
	  "SELECT e.id, e.kind, e.state, e.active_epoch, e.pending_epoch, p.push_dead_at, p.push_token FROM enrollment e" \
	  " LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.id = $1") \
	X(COMMAND_LIST, "tti", COMMAND_PENDING_TYPES, ANY, READ, "SELECT " COMMAND_PENDING_COLUMNS " FROM command WHERE enrollment_id = $1 AND seq > $2 ORDER BY seq LIMIT $3") \
	X(COMMAND_DONE_LIST, "tti", "ttitiitiii", ANY, READ, \
	  "SELECT seq, uuid, epoch, request_type, created_at, finished_at, status, delivered_at, n_delivered, n_not_now FROM command_done WHERE enrollment_id = $1 AND uuid > $2 ORDER BY uuid LIMIT $3") \
	/* When the channel is pushed next, and whether that was put off. */ \
	X(COMMAND_PUSH_AT, "t", "i", ANY, READ, "SELECT due_at FROM push_outbox WHERE enrollment_id = $1") \
	/* The unlock token of an epoch, sealed. */ \
	X(EPOCH_UNLOCK_GET, "ti", "b", ANY, READ, "SELECT unlock_token FROM epoch WHERE enrollment_id = $1 AND epoch = $2") \
	X(EPOCH_UNLOCK_SET, "tib", "", ONE, WRITE, "UPDATE epoch SET unlock_token = $3 WHERE enrollment_id = $1 AND epoch = $2")
