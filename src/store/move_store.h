/* Moves all data from one database into another, of whichever engine.
 *
 * Rows are copied in order of their keys, in pages, each written in one transaction with how far its table is; a move that was broken off in whatever way goes on where it was. Before the first row both
 * databases are marked, and store_open refuses them: the old one because it is being left, the new one because it is not whole. At the end all rows are read again on both sides and compared by number and
 * SHA-256 of each table; only then is the new one given free. The old one stays refused, until store_move_undo. */
#pragma once

#include "base/face.h"
#include "db/db.h"

struct store;

struct store_move {
	const char *from, *to; /* URLs, as of db_open */
	const struct pom_clock *clock;
	const struct pom_random *random;
	/* Called often: WHAT is for people, DONE and ALL are rows (0: not known). False breaks the move off, so that it can go on later. NULL: none. */
	bool (*step)(void *ctx, const char *what, uint64_t done, uint64_t all);
	void *ctx;
};

struct store_move_table {
	const char *name; /* static */
	uint64_t n_rows;
	char sha256[65]; /* of the rows on both sides, hexadecimal */
};

typedef struct store_move_report store_move_report;
struct store_move_report {
	GArray *tables; /* struct store_move_table */
	uint64_t n_rows, n_copied; /* in the database; by this call */
	bool resumed;
};
void store_move_report_clear(struct store_move_report *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(store_move_report, store_move_report_clear)

/* Moves. The target must be empty, or hold what an earlier call has left of the same move. POM_ERR_STORE_MOVE says what is in the way, what differs, or that it was broken off; POM_ERR_LOCKED: another process uses one of the databases;
 * POM_ERR_NOT_FOUND: the source is not there; POM_ERR_STORE_*. Blocks. */
bool store_move(const struct store_move *move, struct store_move_report *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes the mark off a database that was left, or was going to be, so that servers use it again as it was then. POM_ERR_NOT_FOUND when it has none, POM_ERR_LOCKED. Blocks. */
bool store_move_undo(const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Refuses a database that is being moved, was moved, or is not whole: POM_ERR_STORE_MOVE. store_open does so by itself. Blocks. */
bool store_move_check(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;
