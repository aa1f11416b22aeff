/* The outbox of pushes. Same form as statements.h. */
#pragma once

#define PUSH_STATEMENTS(X) \
	/* A blocked device is not woken: it would be refused. */ \
	X(PUSH_ASK, "titi", "", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, due_at, attempts, generation, created_at) SELECT $1, $2, 0, $3, $4" \
	  " WHERE NOT EXISTS (SELECT 1 FROM enrollment b JOIN device_block k ON k.device_id = b.device_id WHERE b.id = $1)" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET due_at = CASE WHEN push_outbox.due_at < excluded.due_at AND push_outbox.attempts = 0 THEN push_outbox.due_at ELSE excluded.due_at END," \
	  " attempts = 0, generation = excluded.generation") \
	/* Asks only when commands of the epoch wait; gives a row when it has asked. */ \
	X(PUSH_ASK_FOR_WAITING, "titii", "t", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, due_at, attempts, generation, created_at)" \
	  " SELECT c.enrollment_id, $2, 0, $3, $4 FROM command c WHERE c.enrollment_id = $1 AND c.epoch = $5 LIMIT 1" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0, generation = excluded.generation RETURNING enrollment_id") \
	/* The device is connected now and gets all that waits: only the later time counts. */ \
	X(PUSH_DEFER, "titi", "", ANY, WRITE, \
	  "INSERT INTO push_outbox (enrollment_id, due_at, attempts, generation, created_at) VALUES ($1, $2, 0, $3, $4)" \
	  " ON CONFLICT (enrollment_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0, generation = excluded.generation") \
	X(PUSH_DUE, "ii", "titibtit", ANY, READ, \
	  "SELECT o.enrollment_id, o.attempts, o.generation, e.active_epoch, p.push_token, p.push_magic, p.push_dead_at, p.topic FROM push_outbox o" \
	  " JOIN enrollment e ON e.id = o.enrollment_id LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch" \
	  " WHERE o.due_at <= $1 ORDER BY o.due_at LIMIT $2") \
	X(PUSH_NEXT_DUE, "", "ii", ANY, READ, "SELECT coalesce(min(due_at), 0), count(*) FROM push_outbox") \
	X(PUSH_DONE, "tt", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id = $1 AND generation = $2") \
	X(PUSH_RETRY, "ttii", "", ANY, WRITE, "UPDATE push_outbox SET due_at = $3, attempts = $4 WHERE enrollment_id = $1 AND generation = $2") \
	X(PUSH_DEAD, "tibi", "", ANY, WRITE, "UPDATE epoch SET push_dead_at = $4 WHERE enrollment_id = $1 AND epoch = $2 AND push_token = $3 AND token_at < $4") \
	X(PUSH_FORGET, "t", "", ANY, WRITE, "DELETE FROM push_outbox WHERE enrollment_id = $1")
