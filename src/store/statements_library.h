/* Statements of the library of profiles, groups, attributes and facts: rows as in statements.h. */
#pragma once

#define LIBRARY_STATEMENTS(X) \
	X(FACT_LIST, "t", "tti", ANY, READ, "SELECT name, value, learnt_at FROM fact WHERE enrollment_id = $1 ORDER BY name") \
	X(FACT_PUT, "ttti", "", ANY, WRITE, \
	  "INSERT INTO fact (enrollment_id, name, value, learnt_at) VALUES ($1, $2, $3, $4)" \
	  " ON CONFLICT (enrollment_id, name) DO UPDATE SET value = excluded.value, learnt_at = excluded.learnt_at")
