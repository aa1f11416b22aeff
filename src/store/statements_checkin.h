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
	X(EVENT_PURGE, "ii", "", ANY, WRITE, \
	  "DELETE FROM event WHERE id IN (SELECT o.id FROM event o WHERE o.at < $1 AND o.last_at < $1 ORDER BY o.at LIMIT $2)")
