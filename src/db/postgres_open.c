/* What is done once when a PostgreSQL database is opened: is it fit, is its schema ours, does every statement mean what we say. And the listener. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "db/postgres.h"

enum { LISTEN_RETRY_MS = 1000 };

static const char ADVISORY_LOCK[] = "8245928655720965488"; /* any number that nobody else takes: "pomona" in ASCII and more */

/* ---- statements */

/* A statement that must touch one row (or none) divides by zero when it does not: a plain failure for the engine, which undoes the batch without another round trip. count(*) is there whatever the statement
 * gave, so the division always takes place. */
static char *guard(const struct db_statement *statement, const char *sql)
{
	bool has_returning = *statement->results || statement->mode == DB_READ;
	const char *wanted = statement->expect == DB_EXPECT_ONE ? "1" : "0";

	if (*statement->results)
		return g_strdup_printf("WITH s AS (%s) SELECT s.* FROM (SELECT 1 / CASE count(*) WHEN %s THEN 1 ELSE 0 END AS ok FROM s) g LEFT JOIN s ON g.ok = 1 WHERE g.ok = 1", sql, wanted);
	return g_strdup_printf("WITH s AS (%s%s) SELECT 1 / CASE count(*) WHEN %s THEN 1 ELSE 0 END FROM s", sql, has_returning ? "" : " RETURNING 1", wanted);
}

char *pg_statement_sql(const struct db_statement *statement)
{
	g_autoptr(GString) sql = g_string_new(statement->sql);

	g_string_replace(sql, "/*skip_locked*/", "FOR UPDATE SKIP LOCKED", 0);
	g_string_replace(sql, "/*clock_ms*/", "+ floor(extract(epoch from clock_timestamp()) * 1000)", 0);
	g_string_replace(sql, "/*schema_version*/", "+ (SELECT max(version) FROM pomona_schema)", 0);
	return statement->expect == DB_EXPECT_ANY ? g_strdup(sql->str) : guard(statement, sql->str);
}

/* ---- the schema */

/* Runs SQL; the first value of the last statement, or "" for none; NULL on failure. transfer full. */
static char *ask(PGconn *pg, const char *sql, GError **error)
{
	PGresult *result = PQexec(pg, sql);
	ExecStatusType status = PQresultStatus(result);
	g_autofree char *message = NULL;
	char *value = NULL;

	if (status == PGRES_TUPLES_OK)
		value = g_strdup(PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	else if (status == PGRES_COMMAND_OK)
		value = g_strdup("");
	else
		message = pg_message(pg, result);
	PQclear(result);
	if (message)
		pom_fail(error, PQstatus(pg) == CONNECTION_OK ? POM_ERR_STORE_REFUSED : POM_ERR_STORE_AWAY, "PostgreSQL: %s (in: %.80s)", message, sql);
	return value;
}

static bool tell(PGconn *pg, const char *sql, GError **error)
{
	g_autofree char *value = ask(pg, sql, error);

	return value != NULL;
}

static bool ask_number(PGconn *pg, const char *sql, int64_t *ret, GError **error)
{
	g_autofree char *value = ask(pg, sql, error);

	if (value)
		*ret = g_ascii_strtoll(value, NULL, 10);
	return value != NULL;
}

/* Whether two connections are given the same session, one after the other, or one of them several. */
static bool is_pooled(PGconn *pg, PGconn *other, bool *ret, GError **error)
{
	enum { LOOKS = 8 };
	static const char WHICH[] = "SELECT pg_backend_pid()";
	int64_t first, own, others;

	*ret = false;
	if (!ask_number(pg, WHICH, &first, error))
		return false;
	for (int i = 0; i < LOOKS && !*ret; i++) {
		if (!ask_number(other, WHICH, &others, error) || !ask_number(pg, WHICH, &own, error))
			return false;
		*ret = own != first || own == others;
	}
	return true;
}

/* With a pooler that lends sessions for one transaction, what we set, prepare and lock would be somebody else's in the next. One that keeps sessions apart is as good as none. */
static bool check_session(const char *url, PGconn *pg, GError **error)
{
	int64_t backend;
	bool pooled = false, ok;
	PGconn *other;

	if (!ask_number(pg, "SELECT pg_backend_pid()", &backend, error))
		return false;
	/* What was said at the connection was of the server itself: poolers say a number of their own. */
	if (backend == PQbackendPID(pg))
		return true;
	other = pg_connect(url, error);
	ok = other && is_pooled(pg, other, &pooled, error);
	PQfinish(other);
	if (ok && pooled)
		return pom_fail(error, POM_ERR_STORE_UNFIT, "store.url leads to a pooler that lends its sessions for one transaction (PgBouncer with pool_mode=transaction or statement), which Pomona cannot work with:"
		                " name the database itself (a node needs five connections), or set pool_mode=session for it");
	return ok;
}

bool pg_check_fit(const char *url, PGconn *pg, GError **error)
{
	const char *encoding = PQparameterStatus(pg, "server_encoding");

	if (g_strcmp0(encoding, "UTF8"))
		return pom_fail(error, POM_ERR_STORE_UNFIT, "the database \"%s\" has the encoding %s, Pomona needs UTF8: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", PQdb(pg), encoding ? encoding : "(unknown)");
	return check_session(url, pg, error);
}

static bool note_risks(struct pg_db *db, PGconn *pg, GError **error)
{
	g_autofree char *risks = ask(pg, "SELECT concat_ws(', ', CASE current_setting('fsync') WHEN 'off' THEN 'fsync' END, CASE current_setting('full_page_writes') WHEN 'off' THEN 'full_page_writes' END)", error);

	if (!risks)
		return false;
	if (*risks)
		db->face.risks = g_steal_pointer(&risks);
	return true;
}

static bool migrate(PGconn *pg, const struct db_config *config, GError **error)
{
	int64_t newest = config->n_migrations ? config->migrations[config->n_migrations - 1].version : 0, version;
	g_autofree char *found = NULL;

	if (!tell(pg, "CREATE TABLE IF NOT EXISTS pomona_schema (version bigint NOT NULL)", error))
		return false;
	found = ask(pg, "SELECT coalesce(max(version), 0) FROM pomona_schema", error);
	if (!found)
		return false;
	version = g_ascii_strtoll(found, NULL, 10);
	if (version > newest)
		return pom_fail(error, POM_ERR_STORE_SCHEMA, "the database has schema %" G_GINT64_FORMAT "; this program knows %" G_GINT64_FORMAT " at most: run a newer Pomona", version, newest);
	for (unsigned i = 0; i < config->n_migrations; i++) {
		const struct db_migration *migration = &config->migrations[i];
		g_autofree char *sql = NULL;

		if (migration->version <= version)
			continue;
		sql = g_strdup_printf("BEGIN; %s; DELETE FROM pomona_schema; INSERT INTO pomona_schema (version) VALUES (%d); COMMIT", migration->sql, migration->version);
		if (!tell(pg, sql, error)) {
			g_free(ask(pg, "ROLLBACK", NULL));
			return false;
		}
	}
	return true;
}

/* One process migrates; the others wait here, and find it done. */
static bool migrate_alone(PGconn *pg, const struct db_config *config, GError **error)
{
	g_autofree char *lock = g_strdup_printf("SET statement_timeout = 0; SELECT pg_advisory_lock(%s)", ADVISORY_LOCK), *unlock = g_strdup_printf("SELECT pg_advisory_unlock(%s)", ADVISORY_LOCK);
	bool ok;

	if (!tell(pg, lock, error))
		return false;
	ok = migrate(pg, config, error);
	return tell(pg, unlock, ok ? error : NULL) && ok;
}

/* ---- every statement, once */

static char type_of(Oid oid)
{
	return oid == 20 ? 'i' : oid == 25 ? 't' : oid == 17 ? 'b' : '?';
}

static bool check_description(const struct db_statement *statement, const PGresult *result, GError **error)
{
	size_t n = strlen(statement->results);

	if (PQnparams(result) != (int)strlen(statement->params))
		return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s has %d parameters, declared are %zu", statement->name, PQnparams(result), strlen(statement->params));
	if (*statement->results || statement->expect == DB_EXPECT_ANY) {
		if (PQnfields(result) != (int)n)
			return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s gives %d columns, declared are %zu", statement->name, PQnfields(result), n);
		for (size_t c = 0; c < n; c++)
			if (type_of(PQftype(result, (int)c)) != statement->results[c])
				return pom_fail(error, POM_ERR_STORE_REFUSED, "statement %s: column %zu is not of the declared type", statement->name, c + 1);
	}
	return true;
}

/* The answers to prepare and describe of one statement. After the first failure the rest of a pipeline is only skipped. */
static bool take_description(PGconn *pg, const struct db_statement *statement, GError **error)
{
	bool ok = true;

	for (int step = 0; step < 2; step++) {
		PGresult *result = PQgetResult(pg);
		ExecStatusType status = PQresultStatus(result);

		if (ok && status != PGRES_COMMAND_OK) {
			g_autofree char *message = pg_message(pg, result);

			ok = pom_fail(error, PQstatus(pg) == CONNECTION_OK ? POM_ERR_STORE_REFUSED : POM_ERR_STORE_AWAY, "statement %s: %s", statement->name, message);
		}
		if (ok && step == 1)
			ok = check_description(statement, result, error);
		PQclear(result);
		PQclear(PQgetResult(pg));
		if (!ok)
			return false;
	}
	return true;
}

/* In pages: a server that answers while nobody reads would wait for us, and we for it. */
static bool check_statements(struct pg_db *db, PGconn *pg, GError **error)
{
	enum { PAGE = 32 };

	if (!PQenterPipelineMode(pg))
		return pom_fail(error, POM_ERR_STORE_AWAY, "the connection cannot be set up");
	for (unsigned first = 0; first < db->face.n_statements; first += PAGE) {
		unsigned end = MIN(first + PAGE, db->face.n_statements);

		for (unsigned i = first; i < end; i++) {
			const struct db_statement *statement = &db->face.statements[i];
			Oid types[DB_PARAMS_MAX];
			char name[16];

			for (unsigned p = 0; statement->params[p]; p++)
				types[p] = statement->params[p] == 'i' ? 20 : statement->params[p] == 't' ? 25 : 17;
			g_snprintf(name, sizeof(name), "s%u", i);
			PQsendPrepare(pg, name, db->sql[i], (int)strlen(statement->params), types);
			PQsendDescribePrepared(pg, name);
		}
		PQpipelineSync(pg);
		for (unsigned i = first; i < end; i++)
			if (!take_description(pg, &db->face.statements[i], error))
				return false;
		PQclear(PQgetResult(pg));
	}
	return true;
}

bool pg_prepare_database(struct pg_db *db, const struct db_config *config, GError **error)
{
	PGconn *pg = pg_connect(db->url, error);
	bool ok = pg && pg_check_fit(db->url, pg, error) && note_risks(db, pg, error) && migrate_alone(pg, config, error) && check_statements(db, pg, error);

	PQfinish(pg);
	return ok;
}

/* ---- hints */

/* Until the connection ends or the database is closed. */
static void hear(struct pg_db *db, PGconn *pg)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = PQsocket(pg), .events = POLLIN}, {.fd = db->wake_fd, .events = POLLIN}};
		PGnotify *notify;

		if ((poll(fds, 2, -1) < 0 && errno != EINTR) || fds[1].revents)
			return;
		if (!PQconsumeInput(pg) || PQstatus(pg) != CONNECTION_OK)
			return;
		while ((notify = PQnotifies(pg))) {
			db->on_hint(db->on_hint_ctx, notify->extra);
			PQfreemem(notify);
		}
	}
}

static void *listener_main(void *data)
{
	struct pg_db *db = data;
	struct pollfd wake = {.fd = db->wake_fd, .events = POLLIN};

	do {
		PGconn *pg = pg_connect(db->url, NULL);
		PGresult *listens = pg ? pg_ask(pg, "LISTEN pomona") : NULL;

		if (PQresultStatus(listens) == PGRES_COMMAND_OK) {
			/* Whatever was told before we listened is lost. */
			db->on_hint(db->on_hint_ctx, NULL);
			hear(db, pg);
		}
		PQclear(listens);
		PQfinish(pg);
	} while (poll(&wake, 1, LISTEN_RETRY_MS) <= 0);
	return NULL;
}

void pg_listen(struct db *face, void (*fn)(void *ctx, const char *word), void *ctx)
{
	struct pg_db *db = (struct pg_db *)face;

	db->on_hint = fn;
	db->on_hint_ctx = ctx;
	db->wake_fd = eventfd(0, EFD_CLOEXEC);
	db->listening = pthread_create(&db->listener, NULL, listener_main, db) == 0;
}

void pg_listen_stop(struct pg_db *db)
{
	uint64_t one = 1;

	if (!db->listening)
		return;
	if (write(db->wake_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(db->listener, NULL);
	close(db->wake_fd);
}
