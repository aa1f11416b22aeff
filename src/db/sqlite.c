/* The SQLite driver: WAL, synchronous=FULL, one writer thread with group commit, a checkpoint thread, parallel readers.
 *
 * The writer takes up to GROUP_MAX waiting batches, at most one of each key, and runs each under a savepoint in one
 * transaction: one fsync makes all of them durable. A batch that fails is rolled back to its savepoint; when the engine has
 * rolled the whole transaction back by itself (disk full), the whole group fails. */
#include <errno.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "base/metric.h"
#include "db/driver.h"

/* BULK_PAGES: of each connection's cache, got at once and kept for it. A reader's cache is emptied by each commit, so each read fills it again. */
enum { GROUP_MAX = 64, READERS_MAX = 8, BULK_PAGES = 128, CHECKPOINT_PAGES = 1000, WAL_PAGES_MAX = 16384, BUSY_MS = 10000, CHECKPOINT_BUSY_MS = 500 };

struct prepared {
	sqlite3_stmt *statement;    /* NULL until first used, but for the check at open */
	uint8_t at[DB_PARAMS_MAX];  /* SQLite's number of $1, $2, …: it counts them as they appear in the text */
};

struct connection {
	sqlite3 *sqlite;
	struct prepared *statements;
	sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
};

struct sqlite_db {
	struct db face;
	char *path;

	pthread_mutex_t lock; /* guards all below up to the readers */
	pthread_cond_t work, checkpoint_due;
	GQueue queue; /* struct db_batch, by link */
	bool closing, writer_rests;
	int wal_pages, wal_limit; /* the writer pauses for a checkpoint when there are more pages than the limit */
	pthread_t writer_thread, checkpoint_thread;
	struct connection *writer;

	pthread_mutex_t readers_lock;
	GQueue idle_readers;    /* struct connection */
	GQueue reader_waits;    /* struct reader_wait, by link: who came first gets the next one */
	unsigned n_readers;
};

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3, sqlite3_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

static void connection_free(struct connection *connection, unsigned n_statements)
{
	sqlite3_stmt *const own[] = {connection->begin, connection->commit, connection->rollback,
	                             connection->savepoint, connection->release, connection->rollback_to};

	for (unsigned i = 0; connection->statements && i < n_statements; i++)
		sqlite3_finalize(connection->statements[i].statement);
	for (unsigned i = 0; i < G_N_ELEMENTS(own); i++)
		sqlite3_finalize(own[i]);
	sqlite3_close(connection->sqlite);
	g_free(connection->statements);
	g_free(connection);
}

static bool exec(sqlite3 *sqlite, const char *sql, GError **error)
{
	g_autofree char *what = NULL;
	char *message = NULL;

	if (sqlite3_exec(sqlite, sql, NULL, NULL, &message) == SQLITE_OK)
		return true;
	what = g_strdup(message ? message : sqlite3_errmsg(sqlite));
	sqlite3_free(message);
	return pom_fail(error, POM_ERR_STORE_REFUSED, "SQLite: %s (in: %.80s)", what, sql);
}

static sqlite3 *sqlite_connect(const char *path, bool writer, GError **error)
{
	g_autoptr(sqlite3) sqlite = NULL;
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

	if (sqlite3_open_v2(path, &sqlite, flags, NULL) != SQLITE_OK) {
		pom_fail(error, POM_ERR_IO, "%s cannot be opened: %s", path, sqlite ? sqlite3_errmsg(sqlite) : "out of memory");
		return NULL;
	}
	sqlite3_extended_result_codes(sqlite, 1);
	sqlite3_busy_timeout(sqlite, BUSY_MS);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	/* Else a value that is compared with the column of a partial index has the statement prepared anew whenever another one is bound. */
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
	if (!exec(sqlite, "PRAGMA journal_mode=WAL", error) || !exec(sqlite, "PRAGMA synchronous=FULL", error) ||
	    !exec(sqlite, "PRAGMA foreign_keys=ON", error) || !exec(sqlite, "PRAGMA temp_store=MEMORY", error) ||
	    !exec(sqlite, "PRAGMA cache_size=-8192", error) || !exec(sqlite, "PRAGMA wal_autocheckpoint=0", error))
		return NULL;
	if (!writer && !exec(sqlite, "PRAGMA query_only=ON", error))
		return NULL;
	return g_steal_pointer(&sqlite);
}

/* $n must be named for each n from 1 to the declared number, and nothing else may be a parameter: SQLite would take "$1::x"
 * or a gap for names of their own and bind NULL. */
static bool number_parameters(const struct db_statement *statement, sqlite3_stmt *prepared, uint8_t ret_at[DB_PARAMS_MAX], GError **error)
{
	int n = (int)strlen(statement->params);

	if (sqlite3_bind_parameter_count(prepared) != n)
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s has %d parameters, declared are %d", statement->name,
		                sqlite3_bind_parameter_count(prepared), n);
	if (n > DB_PARAMS_MAX)
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s has %d parameters, at most %d are possible", statement->name, n, DB_PARAMS_MAX);
	for (int i = 0; i < n; i++) {
		char name[8];

		g_snprintf(name, sizeof(name), "$%d", i + 1);
		ret_at[i] = (uint8_t)sqlite3_bind_parameter_index(prepared, name);
		if (!ret_at[i])
			return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s does not use %s", statement->name, name);
	}
	return true;
}

static bool prepare(sqlite3 *sqlite, const struct db_statement *statement, struct prepared *ret, GError **error)
{
	g_autoptr(sqlite3_stmt) prepared = NULL;
	uint8_t at[DB_PARAMS_MAX] = {0};

	if (sqlite3_prepare_v3(sqlite, statement->sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, NULL) != SQLITE_OK)
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s: %s", statement->name, sqlite3_errmsg(sqlite));
	if (!number_parameters(statement, prepared, at, error))
		return false;
	if (sqlite3_column_count(prepared) != (int)strlen(statement->results))
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s gives %d columns, declared are %zu", statement->name,
		                sqlite3_column_count(prepared), strlen(statement->results));
	if (!sqlite3_stmt_readonly(prepared) != (statement->mode == DB_WRITE))
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s is declared %s but is not", statement->name,
		                statement->mode == DB_WRITE ? "a write" : "a read");
	ret->statement = g_steal_pointer(&prepared);
	memcpy(ret->at, at, sizeof(at));
	return true;
}

static sqlite3_stmt *prepare_own(sqlite3 *sqlite, const char *sql)
{
	sqlite3_stmt *prepared = NULL;

	if (sqlite3_prepare_v3(sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, NULL) != SQLITE_OK)
		g_error("SQLite cannot prepare %s: %s", sql, sqlite3_errmsg(sqlite));
	return prepared;
}

static struct connection *connection_new(struct sqlite_db *db, bool writer, GError **error)
{
	sqlite3 *sqlite = sqlite_connect(db->path, writer, error);
	struct connection *connection;

	if (!sqlite)
		return NULL;
	connection = g_new0(struct connection, 1);
	connection->sqlite = sqlite;
	connection->statements = g_new0(struct prepared, db->face.n_statements);
	connection->begin = prepare_own(sqlite, writer ? "BEGIN IMMEDIATE" : "BEGIN");
	connection->commit = prepare_own(sqlite, "COMMIT");
	connection->rollback = prepare_own(sqlite, "ROLLBACK");
	connection->savepoint = prepare_own(sqlite, "SAVEPOINT batch");
	connection->release = prepare_own(sqlite, "RELEASE batch");
	connection->rollback_to = prepare_own(sqlite, "ROLLBACK TO batch");
	return connection;
}

/* Steps a statement without parameters or rows; returns the extended result code, SQLITE_OK for success. */
static int step(sqlite3_stmt *prepared)
{
	sqlite3_step(prepared);
	return sqlite3_reset(prepared);
}

static const struct prepared *get_statement(struct sqlite_db *db, struct connection *connection, unsigned i, GError **error)
{
	struct prepared *prepared = &connection->statements[i];

	return prepared->statement || prepare(connection->sqlite, &db->face.statements[i], prepared, error) ? prepared : NULL;
}

static void bind(const struct prepared *to, const struct db_batch *batch, const struct db_entry *entry)
{
	sqlite3_stmt *prepared = to->statement;

	for (unsigned v = 0; v < entry->n_values; v++) {
		const struct db_value *value = &g_array_index(batch->values, struct db_value, entry->first_value + v);
		int at = to->at[v];

		if (value->is_null)
			sqlite3_bind_null(prepared, at);
		else if (value->type == 'i')
			sqlite3_bind_int64(prepared, at, value->i);
		else if (value->type == 't')
			sqlite3_bind_text64(prepared, at, value->data, value->len, SQLITE_STATIC, SQLITE_UTF8);
		else
			sqlite3_bind_blob64(prepared, at, value->data, value->len, SQLITE_STATIC);
	}
}

static void take_row(struct db_batch *batch, sqlite3_stmt *prepared, const char *types)
{
	for (int c = 0; types[c]; c++) {
		struct db_value value = {.type = types[c]};

		value.is_null = sqlite3_column_type(prepared, c) == SQLITE_NULL;
		if (types[c] == 'i')
			value.i = sqlite3_column_int64(prepared, c);
		else {
			value.data = types[c] == 't' ? (const void *)sqlite3_column_text(prepared, c) : sqlite3_column_blob(prepared, c);
			value.len = (size_t)sqlite3_column_bytes(prepared, c);
		}
		db_batch_add_cell(batch, value);
	}
}

static enum db_outcome outcome_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return DB_DONE;
	case SQLITE_CONSTRAINT:
		return DB_CONFLICT;
	case SQLITE_FULL:
	case SQLITE_BUSY: /* only an outside program can hold the file: repeat later */
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return DB_FULL;
	default:
		return DB_REFUSED;
	}
}

static bool is_sync_failure(int code)
{
	return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

static enum db_outcome run_entry(struct sqlite_db *db, struct connection *connection, struct db_batch *batch, unsigned i, GError **error)
{
	struct db_entry *entry = &g_array_index(batch->entries, struct db_entry, i);
	const struct db_statement *statement = &db->face.statements[entry->statement];
	const struct prepared *found = get_statement(db, connection, entry->statement, error);
	sqlite3_stmt *prepared = found ? found->statement : NULL;
	uint64_t n_rows = 0;
	int code;

	if (!prepared)
		return DB_REFUSED;
	entry->n_columns = (unsigned)strlen(statement->results);
	entry->first_cell = batch->cells->len;
	bind(found, batch, entry);
	while ((code = sqlite3_step(prepared)) == SQLITE_ROW) {
		take_row(batch, prepared, statement->results);
		entry->n_rows++;
	}
	code = sqlite3_reset(prepared);
	sqlite3_clear_bindings(prepared);
	if (code != SQLITE_OK) {
		if (is_sync_failure(code))
			db->face.fatal("fsync failed: nothing of this transaction was acknowledged; the process stops");
		return db_fail(outcome_of(code), error, statement->name, sqlite3_errmsg(connection->sqlite));
	}
	n_rows = statement->mode == DB_WRITE && !entry->n_columns ? (uint64_t)sqlite3_changes64(connection->sqlite) : entry->n_rows;
	if (!db_expect_check(statement, n_rows))
		return db_fail(DB_CONFLICT, error, statement->name, "the row is not as it was expected to be");
	return DB_DONE;
}

static enum db_outcome run_entries(struct sqlite_db *db, struct connection *connection, struct db_batch *batch, GError **error)
{
	enum db_outcome outcome = DB_DONE;

	db_batch_reset(batch);
	for (guint i = 0; i < batch->entries->len && outcome == DB_DONE; i++)
		outcome = run_entry(db, connection, batch, i, error);
	return outcome;
}

/* Waits until somebody has posted. Who waits this way is woken alone and with what it waits for, and does not meet a lock that the other still holds. */
static void wait_for(sem_t *posted)
{
	while (sem_wait(posted) && errno == EINTR)
		;
}

/* Readers */

/* Of a thread that waits for a reader; reader NULL when it is woken: it may open one of its own. */
struct reader_wait {
	sem_t given;
	struct connection *reader;
	GList link;
};

/* READER, or with NULL the right to open one, goes to who has waited longest; with nobody there it rests. */
static void give_reader(struct sqlite_db *db, struct connection *reader)
{
	struct reader_wait *wait = NULL;
	GList *first;

	pthread_mutex_lock(&db->readers_lock);
	first = g_queue_pop_head_link(&db->reader_waits);
	if (first) {
		wait = first->data;
		wait->reader = reader;
	} else if (reader) {
		g_queue_push_head(&db->idle_readers, reader);
	} else {
		db->n_readers--;
	}
	pthread_mutex_unlock(&db->readers_lock);
	if (wait)
		sem_post(&wait->given);
}

/* A reader that rests or that somebody gives; NULL: one is to be opened. */
static struct connection *wait_for_reader(struct sqlite_db *db)
{
	struct reader_wait wait = {.link.data = &wait};
	bool waits;

	pthread_mutex_lock(&db->readers_lock);
	wait.reader = g_queue_pop_head(&db->idle_readers);
	waits = !wait.reader && db->n_readers == READERS_MAX;
	if (waits) {
		sem_init(&wait.given, 0, 0);
		g_queue_push_tail_link(&db->reader_waits, &wait.link);
	} else if (!wait.reader) {
		db->n_readers++;
	}
	pthread_mutex_unlock(&db->readers_lock);
	if (waits) {
		wait_for(&wait.given);
		sem_destroy(&wait.given);
	}
	return wait.reader;
}

static struct connection *take_reader(struct sqlite_db *db, GError **error)
{
	struct connection *reader = wait_for_reader(db);

	if (reader)
		return reader;
	reader = connection_new(db, false, error);
	if (!reader)
		give_reader(db, NULL);
	return reader;
}

static enum db_outcome run_read(struct sqlite_db *db, struct db_batch *batch, GError **error)
{
	struct connection *reader = take_reader(db, error);
	/* One statement is a snapshot by itself. */
	bool transaction = batch->entries->len > 1;
	enum db_outcome outcome;

	if (!reader)
		return DB_FULL;
	if (transaction && step(reader->begin) != SQLITE_OK)
		outcome = db_fail(DB_FULL, error, "begin", sqlite3_errmsg(reader->sqlite));
	else
		outcome = run_entries(db, reader, batch, error);
	if (!sqlite3_get_autocommit(reader->sqlite))
		step(reader->commit);
	give_reader(db, reader);
	return outcome;
}

/* The writer */

struct group {
	struct db_batch *batches[GROUP_MAX];
	unsigned n;
};

/* Takes the oldest batches, leaving those whose key is in the group already. Call with the lock held. */
static void take_group(struct sqlite_db *db, struct group *group)
{
	const char *keys[GROUP_MAX];
	unsigned n_keys = 0;

	group->n = 0;
	for (GList *l = db->queue.head, *next; l && group->n < GROUP_MAX; l = next) {
		struct db_batch *batch = l->data;
		bool seen = false;

		next = l->next;
		for (unsigned i = 0; batch->key && i < n_keys && !seen; i++)
			seen = !strcmp(keys[i], batch->key);
		if (seen)
			continue;
		if (batch->key)
			keys[n_keys++] = batch->key;
		g_queue_unlink(&db->queue, l);
		group->batches[group->n++] = batch;
	}
}

/* Runs one batch inside the group's transaction; false when the engine has rolled everything back. */
static bool run_in_group(struct sqlite_db *db, struct db_batch *batch)
{
	struct connection *writer = db->writer;

	step(writer->savepoint);
	g_clear_error(&batch->error);
	GError *error = NULL;
	batch->outcome = run_entries(db, writer, batch, &error);
	batch->error = error;
	if (sqlite3_get_autocommit(writer->sqlite))
		return false;
	if (batch->outcome != DB_DONE)
		step(writer->rollback_to);
	step(writer->release);
	return true;
}

/* A failure of the whole group: the outcome of the batch that met it becomes that of all. */
static void fail_group(struct group *group, enum db_outcome outcome, const char *what)
{
	for (unsigned i = 0; i < group->n; i++) {
		struct db_batch *batch = group->batches[i];

		if (batch->outcome != DB_DONE && batch->error)
			continue;
		g_clear_error(&batch->error);
		batch->outcome = db_fail(outcome, &batch->error, "transaction", what);
	}
}

static void run_group(struct sqlite_db *db, struct group *group)
{
	struct connection *writer = db->writer;
	int code = step(writer->begin);

	for (unsigned i = 0; i < group->n; i++) {
		group->batches[i]->outcome = DB_DONE;
		g_clear_error(&group->batches[i]->error);
	}
	if (code != SQLITE_OK) {
		fail_group(group, outcome_of(code), sqlite3_errmsg(writer->sqlite));
		return;
	}
	for (unsigned i = 0; i < group->n; i++)
		if (!run_in_group(db, group->batches[i])) {
			fail_group(group, group->batches[i]->outcome, "the database undid the whole transaction");
			return;
		}
	code = step(writer->commit);
	if (code == SQLITE_OK)
		return;
	if (is_sync_failure(code))
		db->face.fatal("fsync failed: nothing of this transaction was acknowledged; the process stops");
	if (!sqlite3_get_autocommit(writer->sqlite))
		step(writer->rollback);
	fail_group(group, outcome_of(code), sqlite3_errmsg(writer->sqlite));
}

static int on_wal(void *ctx, sqlite3 *sqlite, const char *name, int n_pages)
{
	struct sqlite_db *db = ctx;

	pthread_mutex_lock(&db->lock);
	db->wal_pages = n_pages;
	if (n_pages > CHECKPOINT_PAGES)
		pthread_cond_signal(&db->checkpoint_due);
	pthread_mutex_unlock(&db->lock);
	return SQLITE_OK;
}

/* Moves the WAL into the database; false when a reader still needs an older state. A failed fsync here is as fatal as in a commit: the WAL
 * might be reused although the database file lacks its pages. */
static bool checkpoint(struct sqlite_db *db, sqlite3 *sqlite, int mode)
{
	int code;

	/* All but the passive mode wait for readers. A backup reads for long, and commits must not stand still for it. */
	sqlite3_busy_timeout(sqlite, CHECKPOINT_BUSY_MS);
	code = sqlite3_wal_checkpoint_v2(sqlite, NULL, mode, NULL, NULL);
	sqlite3_busy_timeout(sqlite, BUSY_MS);
	if (is_sync_failure(code))
		db->face.fatal("fsync failed while moving the log into the database; the process stops");
	return code == SQLITE_OK;
}

static void *writer_main(void *data)
{
	struct sqlite_db *db = data;
	struct group group;

	pthread_mutex_lock(&db->lock);
	for (;;) {
		bool wal_large;

		while (g_queue_is_empty(&db->queue) && !db->closing) {
			db->writer_rests = true;
			pthread_cond_wait(&db->work, &db->lock);
		}
		db->writer_rests = false;
		if (g_queue_is_empty(&db->queue))
			break;
		take_group(db, &group);
		pthread_mutex_unlock(&db->lock);
		run_group(db, &group);
		pom_metric_add(POM_METRIC_STORE_GROUPS, NULL, 1);
		pom_metric_add(POM_METRIC_STORE_BATCHES, NULL, group.n);
		/* From here on a batch is its owner's. */
		for (unsigned i = 0; i < group.n; i++)
			sem_post(group.batches[i]->ended);
		pthread_mutex_lock(&db->lock);
		wal_large = db->wal_pages > db->wal_limit;
		if (wal_large) {
			bool done;

			/* Under constant load the passive checkpoint never finds the WAL at rest, so the writer pauses for it. */
			pthread_mutex_unlock(&db->lock);
			done = checkpoint(db, db->writer->sqlite, SQLITE_CHECKPOINT_RESTART);
			pthread_mutex_lock(&db->lock);
			/* With a long reader about, the next try waits until as much again has been written. */
			db->wal_limit = done ? WAL_PAGES_MAX : db->wal_pages + WAL_PAGES_MAX;
			db->wal_pages = 0;
		}
	}
	pthread_mutex_unlock(&db->lock);
	return NULL;
}

static void *checkpoint_main(void *data)
{
	struct sqlite_db *db = data;
	g_autoptr(sqlite3) sqlite = sqlite_connect(db->path, true, NULL);

	pthread_mutex_lock(&db->lock);
	while (!db->closing) {
		pthread_cond_wait(&db->checkpoint_due, &db->lock);
		if (db->closing || !sqlite)
			continue;
		pthread_mutex_unlock(&db->lock);
		checkpoint(db, sqlite, SQLITE_CHECKPOINT_PASSIVE);
		pthread_mutex_lock(&db->lock);
	}
	pthread_mutex_unlock(&db->lock);
	return NULL;
}

static enum db_outcome run_write(struct sqlite_db *db, struct db_batch *batch, GError **error)
{
	bool wakes;
	sem_t ended;

	sem_init(&ended, 0, 0);
	batch->ended = &ended;
	pthread_mutex_lock(&db->lock);
	g_queue_push_tail_link(&db->queue, &batch->link);
	/* Only the first wakes it, and after the lock, or it would wake up to wait for it. */
	wakes = db->writer_rests;
	db->writer_rests = false;
	pthread_mutex_unlock(&db->lock);
	if (wakes)
		pthread_cond_signal(&db->work);
	wait_for(&ended);
	sem_destroy(&ended);
	batch->ended = NULL;
	if (batch->error)
		g_propagate_error(error, g_steal_pointer(&batch->error));
	return batch->outcome;
}

static enum db_outcome sqlite_run(struct db *face, struct db_batch *batch, GError **error)
{
	struct sqlite_db *db = (struct sqlite_db *)face;

	return db_batch_is_read(face, batch) ? run_read(db, batch, error) : run_write(db, batch, error);
}

static void sqlite_free(struct sqlite_db *db)
{
	struct connection *connection;

	while ((connection = g_queue_pop_head(&db->idle_readers)))
		connection_free(connection, db->face.n_statements);
	if (db->writer)
		connection_free(db->writer, db->face.n_statements);
	pthread_mutex_destroy(&db->lock);
	pthread_cond_destroy(&db->work);
	pthread_cond_destroy(&db->checkpoint_due);
	pthread_mutex_destroy(&db->readers_lock);
	g_free(db->path);
	g_free(db);
}

static void sqlite_close(struct db *face)
{
	struct sqlite_db *db = (struct sqlite_db *)face;

	pthread_mutex_lock(&db->lock);
	db->closing = true;
	pthread_cond_signal(&db->work);
	pthread_cond_signal(&db->checkpoint_due);
	pthread_mutex_unlock(&db->lock);
	pthread_join(db->writer_thread, NULL);
	pthread_join(db->checkpoint_thread, NULL);
	checkpoint(db, db->writer->sqlite, SQLITE_CHECKPOINT_TRUNCATE);
	sqlite_free(db);
}

static bool read_version(sqlite3 *sqlite, int *ret_version, GError **error)
{
	g_autoptr(sqlite3_stmt) prepared = NULL;

	if (sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &prepared, NULL) != SQLITE_OK || sqlite3_step(prepared) != SQLITE_ROW)
		return pom_fail(error, POM_ERR_IO, "SQLite: %s", sqlite3_errmsg(sqlite));
	*ret_version = sqlite3_column_int(prepared, 0);
	return true;
}

static bool migrate(sqlite3 *sqlite, const struct db_config *config, GError **error)
{
	int version = 0, newest = config->n_migrations ? config->migrations[config->n_migrations - 1].version : 0;

	if (!read_version(sqlite, &version, error))
		return false;
	if (version > newest)
		return pom_fail(error, POM_ERR_STORE_SCHEMA, "the database has schema %d; this program knows %d at most: run a newer Pomona", version, newest);
	for (unsigned i = 0; i < config->n_migrations; i++) {
		const struct db_migration *migration = &config->migrations[i];
		g_autofree char *sql = NULL;

		if (migration->version <= version)
			continue;
		sql = g_strdup_printf("BEGIN IMMEDIATE; %s; PRAGMA user_version=%d; COMMIT;", migration->sql, migration->version);
		if (!exec(sqlite, sql, error)) {
			sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
			return false;
		}
	}
	return true;
}

static bool prepare_all(struct sqlite_db *db, GError **error)
{
	for (unsigned i = 0; i < db->face.n_statements; i++)
		if (!get_statement(db, db->writer, i, error))
			return false;
	return true;
}

/* Before SQLite is first used; later it changes nothing. Its statistics of memory would cost a lock, which all threads share, with each piece of memory. */
static void set_up_engine(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, BULK_PAGES);
}

struct db *db_sqlite_open(const char *path, const struct db_config *config, GError **error)
{
	static const struct db_driver driver = {.close = sqlite_close, .run = sqlite_run};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sqlite_db *db = g_new0(struct sqlite_db, 1);

	pthread_once(&once, set_up_engine);
	db->face = (struct db){&driver, config->statements, config->n_statements, NULL};
	db->path = g_strdup(path);
	db->wal_limit = WAL_PAGES_MAX;
	pthread_mutex_init(&db->lock, NULL);
	pthread_cond_init(&db->work, NULL);
	pthread_cond_init(&db->checkpoint_due, NULL);
	pthread_mutex_init(&db->readers_lock, NULL);
	db->writer = connection_new(db, true, error);
	if (!db->writer || !migrate(db->writer->sqlite, config, error) || !prepare_all(db, error)) {
		sqlite_free(db);
		return NULL;
	}
	sqlite3_wal_hook(db->writer->sqlite, on_wal, db);
	pthread_create(&db->writer_thread, NULL, writer_main, db);
	pthread_create(&db->checkpoint_thread, NULL, checkpoint_main, db);
	return &db->face;
}
