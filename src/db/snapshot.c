/* Copies of a database for backups, their examination, and whether others have a database open. */
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "db/driver.h"

/* PAGES_AT_ONCE: between two calls for progress. OPS_AT_ONCE: likewise, in steps of SQLite's machine. */
enum { PAGES_AT_ONCE = 512, OPS_AT_ONCE = 20000, BUSY_MS = 10000 };

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3, sqlite3_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

static bool go_on(const struct db_progress *progress, uint64_t done, uint64_t all)
{
	return !progress || progress->step(progress->ctx, done, all);
}

static bool fail_canceled(const char *file, GError **error)
{
	return pom_fail(error, POM_ERR_CANCELED, "%s: broken off", file);
}

/* Something about FILE that SQLite says. */
static bool fail(GError **error, int code, const char *file, const char *what)
{
	bool of_disk = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_FULL || (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_BUSY ||
	               (code & 0xff) == SQLITE_READONLY || (code & 0xff) == SQLITE_PERM;

	return pom_fail(error, of_disk ? POM_ERR_IO : POM_ERR_STORE_REFUSED, "%s: %s", file, what);
}

static sqlite3 *connect(const char *file, int flags, GError **error)
{
	g_autoptr(sqlite3) sqlite = NULL;
	int code = sqlite3_open_v2(file, &sqlite, SQLITE_OPEN_NOMUTEX | flags, NULL);

	if (code != SQLITE_OK) {
		fail(error, code, file, sqlite ? sqlite3_errmsg(sqlite) : "out of memory");
		return NULL;
	}
	sqlite3_extended_result_codes(sqlite, 1);
	sqlite3_busy_timeout(sqlite, BUSY_MS);
	sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return g_steal_pointer(&sqlite);
}

static bool read_schema(sqlite3 *sqlite, const char *file, int *ret_schema, GError **error)
{
	g_autoptr(sqlite3_stmt) prepared = NULL;
	int code = sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &prepared, NULL);

	if (code == SQLITE_OK && (code = sqlite3_step(prepared)) == SQLITE_ROW) {
		*ret_schema = sqlite3_column_int(prepared, 0);
		return true;
	}
	return fail(error, code, file, sqlite3_errmsg(sqlite));
}

/* Takes the snapshot that the whole copy will be of: an open read transaction keeps it, whatever others commit. */
static bool take_snapshot(sqlite3 *source, const char *file, int *ret_schema, GError **error)
{
	int code = sqlite3_exec(source, "PRAGMA query_only=ON; BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);

	return code == SQLITE_OK ? read_schema(source, file, ret_schema, error) : fail(error, code, file, sqlite3_errmsg(source));
}

static bool copy_pages(sqlite3 *source, sqlite3 *target, const char *file, const struct db_progress *progress, GError **error)
{
	sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
	bool canceled = false;
	int code = SQLITE_OK;

	if (!backup)
		return fail(error, sqlite3_errcode(target), file, sqlite3_errmsg(target));
	while (code == SQLITE_OK && !canceled) {
		code = sqlite3_backup_step(backup, PAGES_AT_ONCE);
		canceled = !go_on(progress, (uint64_t)(sqlite3_backup_pagecount(backup) - sqlite3_backup_remaining(backup)), (uint64_t)sqlite3_backup_pagecount(backup));
	}
	/* Finish tells only of lasting failures; step also of those of the moment (a lock, too little memory). */
	if (sqlite3_backup_finish(backup) == SQLITE_OK && code == SQLITE_DONE)
		return true;
	return canceled ? fail_canceled(file, error) : fail(error, code, file, sqlite3_errstr(code));
}

static bool is_new(const char *file, GError **error)
{
	return access(file, F_OK) ? true : pom_fail(error, POM_ERR_IO, "%s is there already", file);
}

bool db_copy(const char *url, const char *file, const struct db_progress *progress, int *ret_schema, GError **error)
{
	const char *path = g_str_has_prefix(url, "sqlite:") ? url + strlen("sqlite:") : NULL;
	g_autoptr(sqlite3) source = NULL, target = NULL;
	int schema;

	if (!path)
		return pom_fail(error, POM_ERR_CONFIG, "the data is not in a file of its own: back it up with the tools of its database server (pg_dump, pg_basebackup), and keep pomona.conf and, apart from it, seal.key");
	source = connect(path, SQLITE_OPEN_READWRITE, error);
	if (!source || !take_snapshot(source, path, &schema, error) || !is_new(file, error))
		return false;
	target = connect(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
	if (!target || !copy_pages(source, target, file, progress, error))
		return false;
	*ret_schema = schema;
	return true;
}

static int on_ops(void *ctx)
{
	return !go_on(ctx, 0, 0);
}

bool db_check_file(const char *file, const struct db_progress *progress, int *ret_schema, GError **error)
{
	g_autoptr(sqlite3) sqlite = connect(file, SQLITE_OPEN_READWRITE, error);
	g_autoptr(sqlite3_stmt) prepared = NULL;
	const char *said;
	int code;

	if (!sqlite)
		return false;
	if (!go_on(progress, 0, 0))
		return fail_canceled(file, error);
	sqlite3_progress_handler(sqlite, OPS_AT_ONCE, on_ops, (void *)progress);
	code = sqlite3_prepare_v2(sqlite, "PRAGMA integrity_check(1)", -1, &prepared, NULL);
	code = code == SQLITE_OK ? sqlite3_step(prepared) : code;
	if ((code & 0xff) == SQLITE_INTERRUPT)
		return fail_canceled(file, error);
	if (code != SQLITE_ROW)
		return fail(error, code, file, sqlite3_errmsg(sqlite));
	said = (const char *)sqlite3_column_text(prepared, 0);
	if (g_strcmp0(said, "ok"))
		return pom_fail(error, POM_ERR_STORE_REFUSED, "%s is damaged: %s", file, said ? said : "");
	return read_schema(sqlite, file, ret_schema, error);
}

bool db_sqlite_peek(const char *file, int *ret_schema, GError **error)
{
	g_autoptr(sqlite3) sqlite = NULL;
	g_autoptr(sqlite3_stmt) prepared = NULL;
	int code;

	*ret_schema = 0;
	if (!g_file_test(file, G_FILE_TEST_EXISTS))
		return true;
	sqlite = connect(file, SQLITE_OPEN_READWRITE, error);
	if (!sqlite || !read_schema(sqlite, file, ret_schema, error))
		return false;
	code = sqlite3_prepare_v2(sqlite, "SELECT count(*) FROM sqlite_schema", -1, &prepared, NULL);
	if (code != SQLITE_OK || sqlite3_step(prepared) != SQLITE_ROW)
		return fail(error, code, file, sqlite3_errmsg(sqlite));
	if (!*ret_schema && sqlite3_column_int(prepared, 0))
		return pom_fail(error, POM_ERR_STORE_UNFIT, "%s holds tables that are not Pomona's", file);
	return true;
}

bool db_check_alone(const char *url, GError **error)
{
	const char *path = g_str_has_prefix(url, "sqlite:") ? url + strlen("sqlite:") : NULL;
	g_autoptr(sqlite3) sqlite = NULL;
	int code;

	if (!path || access(path, F_OK))
		return true;
	sqlite = connect(path, SQLITE_OPEN_READWRITE, error);
	if (!sqlite)
		return false;
	sqlite3_busy_timeout(sqlite, 0);
	/* Whoever has it open holds a shared lock all the time, even when it does nothing. */
	code = sqlite3_exec(sqlite, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT", NULL, NULL, NULL);
	if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
		return pom_fail(error, POM_ERR_LOCKED, "another process uses %s: stop it first", path);
	return code == SQLITE_OK ? true : fail(error, code, path, sqlite3_errmsg(sqlite));
}
