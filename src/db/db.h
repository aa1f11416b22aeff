/* The driver face: batches of prepared statements, one transaction each, over whichever engine is configured.
 *
 * What holds for every driver:
 *  - A statement is a row of a table known when the database is opened: name, SQL with $1…$n, types of parameters and results,
 *    how many rows it must touch, read or write. Values are always bound.
 *  - A batch runs whole or not at all. DB_DONE is said only after the engine has made it durable.
 *  - No statement of a batch may need an earlier one's result: ids are made by the caller.
 *  - Where several processes may use one database, three words in a statement's SQL, which are comments to SQLite, mean what one engine alone has: "/ *skip_locked* /" (without the blanks) after a
 *    SELECT locks its rows and leaves out those that are locked; "/ *clock_ms* /" adds the engine's clock to the number before it, "/ *schema_version* /" the version of the schema that is there now.
 *  - A compare-and-set says DB_EXPECT_ONE: another number of rows undoes the batch and gives DB_CONFLICT.
 *  - DB_UNKNOWN (connection lost at commit) means that it may or may not have happened: every operation must be safe to repeat.
 *  - Where several processes may use one database (db_is_shared), what a statement of a batch of writes reads may have changed when the next one runs: only rows
 *    that a batch writes are safe, and only what it compares while it writes (a version, a state) is sure.
 *  - A failed fsync is never survived: the process stops, because the kernel may have dropped what it could not write. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { DB_PARAMS_MAX = 32, DB_COLUMNS_MAX = 40 };

enum db_expect { DB_EXPECT_ANY, DB_EXPECT_ONE, DB_EXPECT_NONE };
enum db_mode { DB_READ, DB_WRITE };

/* Types are written as one letter each: 'i' int64, 't' UTF-8 text without NUL, 'b' blob. */
struct db_statement {
	const char *name;
	const char *params;  /* "tib": $1 text, $2 int64, $3 blob */
	const char *results; /* columns of SELECT or RETURNING; "" when there are none */
	enum db_expect expect;
	enum db_mode mode;
	const char *sql;
};

struct db_value {
	char type; /* 'i', 't', 'b' */
	bool is_null;
	int64_t i;
	const void *data; /* text (len without NUL) or blob */
	size_t len;
};

/* Values for db_batch_add. A NULL pointer is SQL NULL. The bytes are copied by db_batch_add. */
struct db_value db_int(int64_t i);
struct db_value db_text(const char *text);
struct db_value db_blob(const void *data, size_t len);
struct db_value db_bytes(GBytes *bytes);
struct db_value db_null(char type);

enum db_outcome {
	DB_DONE,
	DB_CONFLICT, /* an expectation was not met, or a unique key exists: nothing was changed */
	DB_REFUSED,  /* the engine refused: nothing was changed */
	DB_FULL,     /* no room on the disk: nothing was changed; repeat later */
	DB_UNKNOWN,
	DB_AWAY, /* the database cannot be reached: nothing was changed; repeat later */
	DB_OUTCOME_MAX,
};

struct db_batch;

/* An empty batch, transfer full. KEY (may be NULL) names what it belongs to, usually an enrollment: two batches of one key
 * never share a transaction, so one's conflict cannot depend on the other's unfinished work. */
struct db_batch *db_batch_new(const char *key);
void db_batch_free(struct db_batch *batch);
typedef struct db_batch db_batch;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(db_batch, db_batch_free)

/* Says that the batch changes rows of many keys, in the order of these: where several transactions may run at once it gets one of its own, so that it and a group of other batches wait for
 * each other instead of locking each other out. */
void db_batch_spans(struct db_batch *batch);

/* Appends statement number STATEMENT of the open database's table with its values; returns its place in the batch. */
#define db_batch_add(batch, statement, ...) \
	db_batch_add_values(batch, statement, (const struct db_value[]){__VA_ARGS__}, \
	                    sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
unsigned db_batch_add_values(struct db_batch *batch, unsigned statement, const struct db_value *values, size_t n);
size_t db_batch_count(const struct db_batch *batch);

/* After DB_DONE: the rows that statement I of the batch gave. Borrowed from the batch. Columns out of range, NULLs: 0, NULL. */
size_t db_rows(const struct db_batch *batch, unsigned i);
int64_t db_get_int(const struct db_batch *batch, unsigned i, size_t row, unsigned column);
const char *db_get_text(const struct db_batch *batch, unsigned i, size_t row, unsigned column);
const void *db_get_blob(const struct db_batch *batch, unsigned i, size_t row, unsigned column, size_t *ret_len);
GBytes *db_get_bytes(const struct db_batch *batch, unsigned i, size_t row, unsigned column); /* transfer full; NULL for NULL */
bool db_is_null(const struct db_batch *batch, unsigned i, size_t row, unsigned column);

/* An open database. Any thread may use it. */
struct db;

/* Whether all its statements only read. */
bool db_batch_is_read(const struct db *db, const struct db_batch *batch);

/* A step of the schema, for one engine; applied once, in order, each in a transaction of its own. */
struct db_migration {
	int version; /* 1, 2, 3 … */
	const char *sql;
};

enum db_engine { DB_SQLITE, DB_POSTGRES };
/* Which engine URL ("sqlite:/path/to/file", "postgresql://…") names. POM_ERR_CONFIG. */
bool db_engine_of(const char *url, enum db_engine *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* That, and that URL says clearly what in it is a password. POM_ERR_CONFIG, without any part of the URL. */
bool db_url_check(const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether a password stands in URL itself (not in a file that it names). Unclear: yes. */
bool db_url_has_password(const char *url);
/* URL as logs and people may see it, without passwords. transfer full, never NULL. */
char *db_url_show(const char *url);

struct db_config {
	const char *url;                       /* "sqlite:/path/to/file", or "postgresql://…" with all that libpq takes (TLS, password file, several hosts) */
	const struct db_statement *statements; /* the table; must stay */
	unsigned n_statements;
	const struct db_migration *migrations; /* of the url's engine; must stay */
	unsigned n_migrations;
	void (*fatal)(const char *message);    /* called on a failed fsync; must not return. NULL: message on stderr, _exit(70) */
};

/* Opens (making the file if need be), migrates, prepares every statement. POM_ERR_STORE_SCHEMA when the schema is newer than the
 * migrations; POM_ERR_STORE_REFUSED naming a statement that does not prepare or whose parameters or columns are not as
 * declared; POM_ERR_STORE_AWAY, POM_ERR_STORE_UNFIT for a database that cannot be used (not UTF-8, only for reading); POM_ERR_IO. One of several processes
 * migrates, the others wait. Blocks. */
struct db *db_open(const struct db_config *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What is at URL, without changing anything: the version of its schema, 0 when it is empty or not there yet. POM_ERR_STORE_UNFIT when it holds tables that are not ours, POM_ERR_CONFIG,
 * POM_ERR_STORE_AWAY, POM_ERR_IO. Blocks. */
bool db_peek(const char *url, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void db_close(struct db *db); /* waits for running batches; NULL is fine */

/* Runs the batch; blocks until it is durable or has failed. A batch of reads only runs beside others and sees one snapshot; one with a write joins the next
 * group of writes. A batch may be run again after a failure. ERROR: POM_ERR_STORE_CONFLICT, _REFUSED, _FULL, _UNKNOWN, _AWAY to match. */
enum db_outcome db_run(struct db *db, struct db_batch *batch, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether other processes may use the same database. */
bool db_is_shared(const struct db *db);
/* The engine's settings, as "fsync, full_page_writes", by which what was acknowledged may be lost when its machine dies, as they were when it was opened. NULL: none. */
const char *db_risks(const struct db *db);
/* Has WORD (1 to 60 letters) told to all processes that listen, this one too, when the batch is committed: a hint that they should look at what has changed. Hints can be lost. Only for what is rare: the
 * engine tells them one transaction after the other. An engine that is not shared tells nobody. */
void db_batch_hint(struct db_batch *batch, const char *word);
/* Has FN called with each hint, by a thread of the driver, until the database is closed; with NULL when hints may have been missed. Once, before other threads use the database. */
void db_listen(struct db *db, void (*fn)(void *ctx, const char *word), void *ctx);

/* How far a long work is: called every few milliseconds with what is done and what there is (0: not known). False breaks it off. */
struct db_progress {
	bool (*step)(void *ctx, uint64_t done, uint64_t all);
	void *ctx;
};

/* Copies the database at URL, as it is at one moment, into FILE, which must not exist, and tells the copy's schema. Another process may have the
 * database open and write without pause: the copy reads one snapshot, so writers neither wait nor can make it begin again. Nothing is
 * migrated. PROGRESS may be NULL. POM_ERR_CONFIG for a URL that has no file, POM_ERR_IO, POM_ERR_STORE_REFUSED (no database, damaged),
 * POM_ERR_CANCELED; FILE may then be there in part. Blocks. */
bool db_copy(const char *url, const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Examines a database FILE that nobody has open (integrity_check) and tells its schema. POM_ERR_IO, POM_ERR_STORE_REFUSED with the
 * first fault, POM_ERR_CANCELED. Blocks. */
bool db_check_file(const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Refuses, with POM_ERR_LOCKED, a database in a file that another process has open. One that is not there, or not in a file, passes. Blocks. */
bool db_check_alone(const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
