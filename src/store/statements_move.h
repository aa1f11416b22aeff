/* Moves of all data to another database: what is written down about them. The statements over whole tables are made from tables.h. Same form as statements.h. */
#pragma once

#define MOVE_STATEMENTS(X) \
	X(MOVE_LIST, "", "ttttii", ANY, READ, "SELECT side, id, state, other, started_at, ended_at FROM data_move ORDER BY side") \
	/* A move out takes the place of one that was begun and not ended, which then finds its id no more and cannot end. */ \
	X(MOVE_BEGIN, "ttti", "", ONE, WRITE, \
	  "INSERT INTO data_move (side, id, state, other, started_at, ended_at) VALUES ($1, $2, 'running', $3, $4, 0)" \
	  " ON CONFLICT (side) DO UPDATE SET id = excluded.id, other = excluded.other, started_at = excluded.started_at" \
	  " WHERE data_move.state = 'running' AND (data_move.side = 'out' OR data_move.id = excluded.id)") \
	X(MOVE_END, "tti", "", ONE, WRITE, "UPDATE data_move SET state = 'done', ended_at = CASE state WHEN 'done' THEN ended_at ELSE $3 END WHERE side = $1 AND id = $2") \
	X(MOVE_UNDO, "", "", ONE, WRITE, "DELETE FROM data_move WHERE side = 'out'") \
	/* The node that was seen last, and how long ago that is. */ \
	X(MOVE_NODES, "", "ti", ANY, READ, "SELECT name, cast(0 /*clock_ms*/ as bigint) - seen_at FROM node ORDER BY seen_at DESC LIMIT 1") \
	X(MOVE_TABLE_LIST, "", "ti", ANY, READ, "SELECT name, n_rows FROM data_move_table ORDER BY name") \
	X(MOVE_TABLE_BEGIN, "t", "", ONE, WRITE, "INSERT INTO data_move_table (name, n_rows) VALUES ($1, 0)") \
	X(MOVE_TABLE_ADVANCE, "tii", "", ONE, WRITE, "UPDATE data_move_table SET n_rows = $3 WHERE name = $1 AND n_rows = $2") \
	X(MOVE_TABLE_FORGET, "", "", ANY, WRITE, "DELETE FROM data_move_table")
