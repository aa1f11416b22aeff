/* What a driver implements, and what drivers share. Only this room includes it. */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "db/db.h"

struct db_entry {
	unsigned statement;
	unsigned first_value, n_values; /* in batch->values */
	unsigned first_cell, n_rows, n_columns;
};

/* Pieces of memory for bytes that go together; zeros: none yet. */
struct db_memory { struct db_piece *last; };

struct db_batch {
	char *key;
	GArray *entries; /* struct db_entry */
	GArray *values;  /* struct db_value; data points into the memory */
	GArray *cells;   /* struct db_value: results, row by row */
	struct db_memory params_memory, results_memory;
	char *hint; /* NULL: none */
	bool spans; /* db_batch_spans */

	/* While queued: guarded by the driver's lock. */
	bool is_done, is_taken;
	enum db_outcome outcome;
	GError *error;
	pthread_cond_t done;
	sem_t *ended; /* of the driver whose waiters need no lock */
	GList link;
};

struct db_driver {
	void (*close)(struct db *db);
	enum db_outcome (*run)(struct db *db, struct db_batch *batch, GError **error);
	/* NULL in drivers of engines that are not shared. */
	void (*listen)(struct db *db, void (*fn)(void *ctx, const char *word), void *ctx);
};

/* The beginning of each driver's own struct. */
struct db {
	const struct db_driver *driver;
	const struct db_statement *statements;
	unsigned n_statements;
	void (*fatal)(const char *message);
	char *risks; /* see db_risks; the driver's */
};

struct db *db_sqlite_open(const char *path, const struct db_config *config, GError **error);
struct db *db_postgres_open(const char *url, const struct db_config *config, GError **error);
/* db_peek, of each engine. */
bool db_sqlite_peek(const char *file, int *ret_schema, GError **error);
bool db_postgres_peek(const char *url, int *ret_schema, GError **error);

/* Forgets results, before a run. */
void db_batch_reset(struct db_batch *batch);
/* Appends a result value to the batch, copying its bytes. */
void db_batch_add_cell(struct db_batch *batch, struct db_value value);
/* Checks that values fit the statements' declared types: a programming error, so it aborts. */
void db_batch_check(const struct db *db, const struct db_batch *batch);
/* Sets ERROR to the code of OUTCOME, saying where (WHERE) and what, and gives OUTCOME. */
enum db_outcome db_fail(enum db_outcome outcome, GError **error, const char *where, const char *what);
/* Whether N rows meet the statement's expectation. */
bool db_expect_check(const struct db_statement *statement, uint64_t n_rows);
