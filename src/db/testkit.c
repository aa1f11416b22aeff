#include "db/testkit.h"

#include <glib/gstdio.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PGconn, PQfinish)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PGresult, PQclear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3, sqlite3_close)

static const char *const sqlite_ends[] = {"", "-wal", "-shm"};
static char *template_url;

enum db_engine test_database_engine(void)
{
	const char *name = g_getenv("POMONA_TEST_STORE");

	if (!name || !*name || !strcmp(name, "sqlite"))
		return DB_SQLITE;
	if (strcmp(name, "postgres") || !g_getenv("POMONA_TEST_POSTGRES"))
		g_error("POMONA_TEST_STORE is sqlite or postgres; postgres needs POMONA_TEST_POSTGRES");
	return DB_POSTGRES;
}

/* ---- SQLite: a file s.db in a folder of its own */

static char *sqlite_new(void)
{
	g_autofree char *in = g_strconcat(g_access("/dev/shm", W_OK) ? g_get_tmp_dir() : "/dev/shm", "/pomona-test-XXXXXX", NULL);

	if (!g_mkdtemp(in))
		g_error("%s: %s", in, g_strerror(errno));
	return g_strdup_printf("sqlite:%s/s.db", in);
}

static const char *sqlite_path(const char *url)
{
	return url + strlen("sqlite:");
}

static void sqlite_copy(const char *from, const char *to)
{
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *source = g_strconcat(sqlite_path(from), sqlite_ends[i], NULL), *target = g_strconcat(sqlite_path(to), sqlite_ends[i], NULL), *data = NULL;
		g_autoptr(GError) error = NULL;
		gsize len;

		/* The log is there only while somebody has the database open. */
		if (i && g_access(source, F_OK))
			continue;
		if (!g_file_get_contents(source, &data, &len, &error) || !g_file_set_contents(target, data, (gssize)len, &error))
			g_error("%s", error->message);
	}
}

static void sqlite_remove(const char *url)
{
	g_autofree char *dir = g_path_get_dirname(sqlite_path(url));

	for (unsigned i = 0; i < G_N_ELEMENTS(sqlite_ends); i++) {
		g_autofree char *path = g_strconcat(sqlite_path(url), sqlite_ends[i], NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static sqlite3 *sqlite_open(const char *url)
{
	sqlite3 *db;

	g_assert_cmpint(sqlite3_open(sqlite_path(url), &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_busy_timeout(db, 5000), ==, SQLITE_OK);
	return db;
}

static int sqlite_exec(const char *url, const char *sql)
{
	g_autoptr(sqlite3) db = sqlite_open(url);
	int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

	if (code != SQLITE_OK && code != SQLITE_CONSTRAINT)
		g_error("%s: %s", sql, sqlite3_errmsg(db));
	return code == SQLITE_OK ? sqlite3_changes(db) : -1;
}

static int64_t sqlite_get(const char *url, const char *sql)
{
	g_autoptr(sqlite3) db = sqlite_open(url);
	sqlite3_stmt *statement;
	int64_t n;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
		g_error("%s: %s", sql, sqlite3_errmsg(db));
	n = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return n;
}

/* ---- PostgreSQL: a database of its own in the cluster */

static char *pg_url(const char *name)
{
	g_auto(GStrv) parts = g_strsplit(g_getenv("POMONA_TEST_POSTGRES"), "/postgres?", 2);

	if (g_strv_length(parts) != 2)
		g_error("POMONA_TEST_POSTGRES must look like postgresql:///postgres?host=FOLDER&user=NAME");
	return g_strdup_printf("%s/%s?%s", parts[0], name, parts[1]);
}

static char *pg_name(const char *url)
{
	g_auto(GStrv) parts = g_strsplit(url, "?", 2);

	return g_strdup(strrchr(parts[0], '/') + 1);
}

static PGresult *pg_query(const char *url, const char *sql)
{
	g_autoptr(PGconn) pg = PQconnectdb(url);
	PGresult *result;

	if (PQstatus(pg) != CONNECTION_OK)
		g_error("%s", PQerrorMessage(pg));
	result = PQexec(pg, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		g_error("%s: %s", sql, PQerrorMessage(pg));
	return result;
}

/* In the database "postgres". */
static void G_GNUC_PRINTF(1, 2) pg_admin(const char *format, ...)
{
	g_autofree char *sql = NULL;
	va_list args;

	va_start(args, format);
	sql = g_strdup_vprintf(format, args);
	va_end(args);
	PQclear(pg_query(g_getenv("POMONA_TEST_POSTGRES"), sql));
}

static char *pg_new(const char *template_name)
{
	static unsigned n;
	g_autofree char *name = g_strdup_printf("pomona_%d_%u", (int)getpid(), n++);

	if (template_name)
		pg_admin("CREATE DATABASE \"%s\" TEMPLATE \"%s\"", name, template_name);
	else
		pg_admin("CREATE DATABASE \"%s\" TEMPLATE template0 ENCODING 'UTF8'", name);
	return pg_url(name);
}

static void pg_remove(const char *url)
{
	g_autofree char *name = pg_name(url);

	pg_admin("DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)", name);
}

/* ---- both */

static char *new_empty(void)
{
	return test_database_engine() == DB_SQLITE ? sqlite_new() : pg_new(NULL);
}

static void remove_database(const char *url)
{
	if (g_str_has_prefix(url, "sqlite:"))
		sqlite_remove(url);
	else
		pg_remove(url);
}

static char *copy(const char *from)
{
	g_autofree char *name = NULL;
	char *url;

	if (g_str_has_prefix(from, "sqlite:")) {
		url = sqlite_new();
		sqlite_copy(from, url);
		return url;
	}
	name = pg_name(from);
	return pg_new(name);
}

static void remove_template(void)
{
	remove_database(template_url);
	g_clear_pointer(&template_url, g_free);
}

char *test_database_new(void (*prepare)(const char *url))
{
	if (!prepare)
		return new_empty();
	if (!template_url) {
		template_url = new_empty();
		prepare(template_url);
		atexit(remove_template);
	}
	return copy(template_url);
}

void test_database_free(char *url)
{
	if (url)
		remove_database(url);
	g_free(url);
}

char *test_database_crash(const char *url)
{
	g_autofree char *name = NULL;

	if (g_str_has_prefix(url, "postgresql:")) {
		name = pg_name(url);
		pg_admin("ALTER DATABASE \"%s\" ALLOW_CONNECTIONS false", name);
		/* Waits for each to be gone: a database that somebody uses cannot be copied. */
		pg_admin("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '%s'", name);
	}
	return copy(url);
}

int test_database_exec(const char *url, const char *sql)
{
	if (g_str_has_prefix(url, "sqlite:"))
		return sqlite_exec(url, sql);
	g_autoptr(PGresult) result = pg_query(url, sql);

	return (int)g_ascii_strtoll(PQcmdTuples(result), NULL, 10);
}

int64_t test_database_get(const char *url, const char *sql)
{
	if (g_str_has_prefix(url, "sqlite:"))
		return sqlite_get(url, sql);
	g_autoptr(PGresult) result = pg_query(url, sql);

	g_assert_cmpint(PQntuples(result), ==, 1);
	return g_ascii_strtoll(PQgetvalue(result, 0, 0), NULL, 10);
}
