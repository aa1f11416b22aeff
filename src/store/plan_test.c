/* What a device's request costs must not grow with the history: none of the statements on its way may read through a whole table. */
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#include "store/statements.h"
#include "store/store.h"

/* All that service_report and service_command_send run. */
static const enum store_statement on_the_way[] = {
	Q_CHANNEL_FIND, Q_FACTS_CERTIFICATE, Q_FACTS_ENROLLMENT, Q_BLOCK_OF_MESSAGE, Q_BLOCK_OF_ENROLLMENT, Q_ENROLLMENT_GET, Q_ENROLLMENT_BY_DEVICE, Q_COMMAND_REPORTED, Q_COMMAND_OWNER, Q_COMMAND_NEXT_IDLE, Q_COMMAND_NEXT, Q_COMMAND_NEXT_NOTED, Q_COMMAND_FIND, Q_COMMAND_BODY, Q_COMMAND_DONE_FIND, Q_COMMAND_QUEUE, Q_COMMAND_ADD, Q_COMMAND_ADD_ONCE, Q_COMMAND_FOLDABLE, Q_COMMAND_HOLD, Q_COMMAND_LOCK,
	Q_COMMAND_REMOVE, Q_COMMAND_TAKE, Q_COMMAND_DEFER, Q_COMMAND_DELIVERED, Q_COMMAND_FINISH, Q_COMMAND_TARGET, Q_COMMAND_PUSH_AT, Q_PUSH_OF, Q_PUSH_SETTLE, Q_PUSH_DEFER, Q_COMMAND_EXPIRED, Q_COMMAND_EXPIRE_DONE,
	Q_COMMAND_EXPIRE_EVENT, Q_COMMAND_CLEARED_EVENT, Q_COMMAND_CLEAR, Q_COMMAND_CLEAR_DONE, Q_COMMAND_LIST, Q_COMMAND_DONE_LIST, Q_COMMAND_NOTED,
};

static sqlite3 *open_schema(const char *dir)
{
	g_autofree char *url = g_strdup_printf("sqlite:%s/s.db", dir);
	struct store *store = store_open(url, pom_clock_system(), pom_random_system(), NULL);
	sqlite3 *db;

	g_assert_nonnull(store);
	store_close(store);
	g_assert_cmpint(sqlite3_open_v2(url + strlen("sqlite:"), &db, SQLITE_OPEN_READWRITE, NULL), ==, SQLITE_OK);
	return db;
}

/* The first step of the plan that reads a whole table or index; NULL: none. transfer full. */
static char *find_scan(sqlite3 *db, const char *sql)
{
	g_autofree char *explain = g_strconcat("EXPLAIN QUERY PLAN ", sql, NULL);
	sqlite3_stmt *plan;
	char *found = NULL;

	g_assert_cmpint(sqlite3_prepare_v2(db, explain, -1, &plan, NULL), ==, SQLITE_OK);
	while (!found && sqlite3_step(plan) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(plan, 3);

		if (g_str_has_prefix(detail, "SCAN ") && strcmp(detail, "SCAN CONSTANT ROW"))
			found = g_strdup(detail);
	}
	sqlite3_finalize(plan);
	return found;
}

static void remove_schema(const char *dir)
{
	for (const char *const *name = (const char *const[]){"s.db", "s.db-wal", "s.db-shm", NULL}; *name; name++) {
		g_autofree char *path = g_build_filename(dir, *name, NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static void test_plans(void)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-plan-XXXXXX", NULL);
	sqlite3 *db = open_schema(dir);

	/* The check itself sees what it looks for. */
	g_autofree char *scan = find_scan(db, "SELECT uuid FROM command_done WHERE status = 'x'");
	g_assert_nonnull(scan);
	for (size_t i = 0; i < G_N_ELEMENTS(on_the_way); i++) {
		const struct db_statement *statement = &store_statements[on_the_way[i]];
		g_autofree char *found = find_scan(db, statement->sql);

		if (found)
			g_error("%s reads through a table: %s", statement->name, found);
	}
	sqlite3_close(db);
	remove_schema(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/plans", test_plans);
	return g_test_run();
}
