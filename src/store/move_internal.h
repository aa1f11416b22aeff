/* What the two files of moves share: the statements over whole tables, and what is done with them. */
#pragma once

#include "store/move_store.h"
#include "store/statements_move.h"

enum move_statement {
#define X(name, params, results, expect, mode, sql) M_##name,
	MOVE_STATEMENTS(X)
#undef X
	M_MAX
};

struct mover {
	const struct store_move *o;
	GStringChunk *memory; /* of what is in statements */
	GArray *statements;   /* struct db_statement: enum move_statement, then those of each table */
	struct db *from, *to;
	const char *what;
	uint64_t done, all; /* rows, for progress */
};

void mover_init(struct mover *mover, const struct store_move *o);
void mover_clear(struct mover *mover);
/* The database at URL with the mover's statements; migrated. */
struct db *mover_open(struct mover *mover, const char *url, GError **error);
/* Tells progress; false with POM_ERR_STORE_MOVE when it is to be broken off. */
bool mover_step(struct mover *mover, GError **error);

/* Whether no table that is moved has a row in DB. */
bool mover_is_empty(struct mover *mover, struct db *db, bool *ret, GError **error);
/* Adds to BATCH that nothing of any table is there yet. */
void mover_begin_tables(struct db_batch *batch);
/* Copies what is missing; *RET_BEFORE: rows that were there already. */
bool mover_copy(struct mover *mover, uint64_t *ret_before, GError **error);
/* Reads all on both sides and compares; the tables are appended to REPORT. */
bool mover_compare(struct mover *mover, struct store_move_report *report, GError **error);
