/* The outbox of pushes. Same form as statements.h. */
#pragma once

/* A device is not pushed twice within this many milliseconds for commands that come one after another. */
#define PUSH_REST_MS "3000"
#define PUSH_ROW_COLUMNS \
	"o.enrollment_id, o.attempts, o.generation, e.active_epoch, p.push_token, p.push_magic, p.push_dead_at, p.topic, o.due_at, o.n_sent," \
	" cast(CASE WHEN o.waiting = 0 OR EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = o.enrollment_id AND c.epoch = e.active_epoch) THEN 1 ELSE 0 END as bigint)," \
	" o.claim, o.urgent"
#define PUSH_ROW_TYPES "titibtitiiiti"
#define PUSH_ROW_FROM \
	" FROM push_outbox o LEFT JOIN enrollment e ON e.id = o.enrollment_id LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch"

/* What a claim gives up when the answer is written: only who still has it writes. */
#define PUSH_UNCLAIM "claim = '', claimed_until = 0"

#define PUSH_STATEMENTS(X) \
	/* A push that is owed already keeps its time, and one that APNs has put off too, unless a person asks. A blocked device is not woken: it would be refused. */ \
	X(PUSH_ASK, "titii", "", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, topic, due_at, attempts, generation, created_at, waiting, sent_at, n_sent, urgent)" \
	  " SELECT e.id, coalesce(p.topic, ''), $2, 0, $3, $4, 0, 0, 0, $5 FROM enrollment e LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.id = $1" \
	  " AND NOT EXISTS (SELECT 1 FROM device_block k WHERE k.device_id = e.device_id OR k.serial = e.serial)" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET topic = excluded.topic, generation = excluded.generation, waiting = 0," \
	  " due_at = CASE WHEN push_outbox.waiting = 0 AND (push_outbox.due_at < excluded.due_at OR (push_outbox.attempts > 0 AND excluded.urgent < 2)) THEN push_outbox.due_at" \
	  " WHEN excluded.due_at - push_outbox.sent_at BETWEEN 0 AND " PUSH_REST_MS " THEN push_outbox.sent_at + " PUSH_REST_MS " ELSE excluded.due_at END," \
	  " attempts = CASE WHEN push_outbox.waiting = 0 AND excluded.urgent < 2 THEN push_outbox.attempts ELSE 0 END," \
	  " created_at = CASE push_outbox.waiting WHEN 0 THEN push_outbox.created_at ELSE excluded.created_at END, n_sent = 0," \
	  " urgent = CASE WHEN push_outbox.waiting = 0 AND push_outbox.urgent > excluded.urgent THEN push_outbox.urgent ELSE excluded.urgent END") \
	/* Asks only when commands of the epoch wait; gives a row when it has asked. */ \
	X(PUSH_ASK_FOR_WAITING, "titii", "t", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, topic, due_at, attempts, generation, created_at, waiting, sent_at, n_sent, urgent)" \
	  " SELECT c.enrollment_id, coalesce((SELECT p.topic FROM epoch p WHERE p.enrollment_id = $1 AND p.epoch = $5), ''), $2, 0, $3, $4, 0, 0, 0, 1 FROM command c" \
	  " WHERE c.enrollment_id = $1 AND c.epoch = $5 LIMIT 1" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET topic = excluded.topic, due_at = excluded.due_at, attempts = 0, generation = excluded.generation, created_at = excluded.created_at," \
	  " waiting = 0, sent_at = 0, n_sent = 0, urgent = 1 RETURNING enrollment_id") \
	/* The device is connected now and gets all that waits: only the later time counts. */ \
	X(PUSH_DEFER, "titi", "", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, topic, due_at, attempts, generation, created_at, waiting, sent_at, n_sent, urgent)" \
	  " SELECT e.id, coalesce(p.topic, ''), $2, 0, $3, $4, 0, 0, 0, 0 FROM enrollment e LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.id = $1" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET topic = excluded.topic, due_at = excluded.due_at, attempts = 0, generation = excluded.generation, created_at = excluded.created_at," \
	  " waiting = 0, n_sent = 0, urgent = 0") \
	/* Of one topic, the longest due first, after a place in this order. */ \
	X(PUSH_DUE, "tiiti", PUSH_ROW_TYPES, ANY, READ, \
	  "SELECT " PUSH_ROW_COLUMNS PUSH_ROW_FROM " WHERE o.topic = $1 AND o.due_at <= $2 AND (o.due_at, o.enrollment_id) > ($3, $4) ORDER BY o.due_at, o.enrollment_id LIMIT $5") \
	X(PUSH_DUE_URGENT, "tii", PUSH_ROW_TYPES, ANY, READ, \
	  "SELECT " PUSH_ROW_COLUMNS PUSH_ROW_FROM " WHERE o.topic = $1 AND o.urgent > 0 AND o.due_at <= $2 ORDER BY o.due_at DESC LIMIT $3") \
	/* Takes what is due and what nobody has, or had until now, up to $5; what another node is just taking is passed over. That nobody has it is asked again where it is taken. */ \
	X(PUSH_CLAIM, "titii", "", ANY, WRITE, \
	  "WITH due AS (SELECT enrollment_id FROM push_outbox WHERE topic = $1 AND due_at <= $2 AND claimed_until <= $2 ORDER BY due_at, enrollment_id LIMIT $5 /*skip_locked*/)" \
	  " UPDATE push_outbox SET claim = $3, claimed_until = $4 WHERE enrollment_id IN (SELECT enrollment_id FROM due) AND claimed_until <= $2") \
	X(PUSH_CLAIM_URGENT, "titii", "", ANY, WRITE, \
	  "WITH due AS (SELECT enrollment_id FROM push_outbox WHERE topic = $1 AND urgent > 0 AND due_at <= $2 AND claimed_until <= $2 ORDER BY due_at DESC LIMIT $5 /*skip_locked*/)" \
	  " UPDATE push_outbox SET claim = $3, claimed_until = $4 WHERE enrollment_id IN (SELECT enrollment_id FROM due) AND claimed_until <= $2") \
	X(PUSH_CLAIMED, "t", PUSH_ROW_TYPES, ANY, READ, \
	  "SELECT " PUSH_ROW_COLUMNS PUSH_ROW_FROM " WHERE o.claim = $1 AND o.claim <> '' ORDER BY o.due_at, o.enrollment_id") \
	X(PUSH_FREE, "ti", "i", ANY, READ, "SELECT coalesce(min(due_at), 0) FROM push_outbox WHERE topic = $1 AND claimed_until <= $2") \
	X(PUSH_RENEW, "tti", "t", ANY, WRITE, "UPDATE push_outbox SET claimed_until = $3 WHERE enrollment_id = $1 AND claim = $2 RETURNING enrollment_id") \
	X(PUSH_RELEASE, "tt", "", ANY, WRITE, "UPDATE push_outbox SET " PUSH_UNCLAIM " WHERE enrollment_id = $1 AND claim = $2") \
	X(PUSH_RELEASE_CLAIM, "t", "", ANY, WRITE, "UPDATE push_outbox SET " PUSH_UNCLAIM " WHERE claim = $1 AND claim <> ''") \
	X(PUSH_NEXT, "ti", "i", ANY, READ, "SELECT coalesce(min(due_at), 0) FROM push_outbox WHERE topic = $1 AND due_at > $2") \
	X(PUSH_COUNTS, "", "tiii", ANY, READ, \
	  "SELECT topic, cast(sum(1 - waiting) as bigint), cast(sum(waiting) as bigint), coalesce(min(CASE waiting WHEN 0 THEN created_at END), 0) FROM push_outbox GROUP BY topic ORDER BY topic") \
	X(PUSH_DEAD_COUNTS, "", "ti", ANY, READ, \
	  "SELECT p.topic, count(*) FROM epoch p JOIN enrollment e ON e.id = p.enrollment_id AND e.active_epoch = p.epoch WHERE p.push_dead_at > 0 GROUP BY p.topic ORDER BY p.topic") \
	X(PUSH_DONE, "ttt", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id = $1 AND generation = $2 AND claim = $3") \
	/* Nothing is left for the device. The generation is read before: what was asked for since then stays. */ \
	X(PUSH_OF, "t", "t", ANY, READ, "SELECT generation FROM push_outbox WHERE enrollment_id = $1") \
	X(PUSH_SETTLE, "tti", "", ANY, WRITE, \
	  "DELETE FROM push_outbox WHERE enrollment_id = $1 AND generation = $2 AND NOT EXISTS (SELECT 1 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $3)") \
	/* APNs has it: the device is waited for until $4. What was asked for while it was under way rests a little, also what nobody has claimed yet. */ \
	X(PUSH_SENT, "ttiit", "", ANY, WRITE, \
	  "UPDATE push_outbox SET waiting = CASE generation WHEN $2 THEN 1 ELSE waiting END, n_sent = CASE generation WHEN $2 THEN n_sent + 1 ELSE n_sent END," \
	  " attempts = CASE generation WHEN $2 THEN 0 ELSE attempts END, urgent = CASE generation WHEN $2 THEN 0 ELSE urgent END, sent_at = $3," \
	  " due_at = CASE WHEN generation = $2 THEN $4 WHEN due_at < $3 + " PUSH_REST_MS " THEN $3 + " PUSH_REST_MS " ELSE due_at END, " PUSH_UNCLAIM \
	  " WHERE enrollment_id = $1 AND (claim = $5 OR (claim = '' AND generation <> $2))") \
	/* $5: also when it was asked for again meanwhile, but not by a person. */ \
	X(PUSH_RETRY, "ttiiit", "", ANY, WRITE, \
	  "UPDATE push_outbox SET due_at = CASE WHEN generation = $2 OR ($5 = 1 AND waiting = 0 AND urgent < 2) THEN $3 ELSE due_at END," \
	  " attempts = CASE WHEN generation = $2 OR ($5 = 1 AND waiting = 0 AND urgent < 2) THEN $4 ELSE attempts END, " PUSH_UNCLAIM " WHERE enrollment_id = $1 AND claim = $6") \
	X(PUSH_DEAD, "tibi", "", ANY, WRITE, "UPDATE epoch SET push_dead_at = $4 WHERE enrollment_id = $1 AND epoch = $2 AND push_token = $3 AND token_at < $4") \
	/* Only when the token is dead now: a TokenUpdate may have come since. */ \
	X(PUSH_DROP_DEAD, "ti", "", ANY, WRITE, \
	  "DELETE FROM push_outbox WHERE enrollment_id = $1 AND EXISTS (SELECT 1 FROM epoch p WHERE p.enrollment_id = $1 AND p.epoch = $2 AND p.push_dead_at > 0)") \
	X(PUSH_EVENT_DEAD, "ttiti", "", ANY, WRITE, \
	  "INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT p.enrollment_id, $2, $3, 'PushTokenDead', $4 FROM epoch p WHERE p.enrollment_id = $1 AND p.epoch = $5 AND p.push_dead_at = $3" \
	  " AND NOT EXISTS (SELECT 1 FROM event v WHERE v.enrollment_id = $1 AND v.kind = 'PushTokenDead' AND v.at = $3)") \
	/* An event that repeats the last one takes its place: pushes must not crowd out the rest of the timeline. Not EVENT_AGAIN, which counts up an earlier line: a push has to stand between what the device did \
	 * before and after it, and this one looks at one row of the index. */ \
	X(PUSH_EVENT_REPEAT, "tt", "", ANY, WRITE, \
	  "DELETE FROM event WHERE enrollment_id = $1 AND kind = $2 AND id = (SELECT o.id FROM event o WHERE o.enrollment_id = $1 ORDER BY o.id DESC LIMIT 1)") \
	X(PUSH_FORGET, "t", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id = $1")
