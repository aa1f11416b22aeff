/* Findings of the doctor. Same form as statements.h. */
#pragma once

#define DOCTOR_STATEMENTS(X) \
	X(DOCTOR_GET, "t", "it", ANY, READ, "SELECT finished_at, report FROM doctor_report WHERE target = $1") \
	X(DOCTOR_PUT, "tit", "", ONE, WRITE, \
	  "INSERT INTO doctor_report (target, finished_at, report) VALUES ($1, $2, $3) ON CONFLICT (target) DO UPDATE SET finished_at = excluded.finished_at, report = excluded.report") \
	/* Devices that no push certificate can wake. */ \
	X(DOCTOR_TOPICLESS, "", "i", ANY, READ, \
	  "SELECT count(*) FROM epoch p JOIN enrollment e ON e.id = p.enrollment_id AND e.active_epoch = p.epoch" \
	  " WHERE e.state = 1 AND NOT EXISTS (SELECT 1 FROM push_certificate c WHERE c.topic = p.topic)")
