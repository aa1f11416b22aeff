/* What a device's request costs must not grow with the history: none of the statements on its way may read through a whole table. */
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#include "store/statements.h"
#include "store/store.h"

/* All that service_report and service_command_send run, and of enrolling, issuing and revoking what looks for certificates and challenges. */
static const enum store_statement on_the_way[] = {
	Q_CHANNEL_FIND, Q_FACTS_CERTIFICATE, Q_FACTS_ENROLLMENT, Q_BLOCK_OF_MESSAGE, Q_BLOCK_OF_ENROLLMENT, Q_ENROLLMENT_GET, Q_ENROLLMENT_BY_DEVICE, Q_COMMAND_REPORTED, Q_COMMAND_OWNER, Q_COMMAND_NEXT_IDLE, Q_COMMAND_NEXT, Q_COMMAND_NEXT_NOTED, Q_COMMAND_FIND, Q_COMMAND_BODY, Q_COMMAND_DONE_FIND, Q_COMMAND_QUEUE, Q_COMMAND_ADD, Q_COMMAND_ADD_ONCE, Q_COMMAND_FOLDABLE, Q_COMMAND_HOLD, Q_COMMAND_LOCK,
	Q_COMMAND_REMOVE, Q_COMMAND_TAKE, Q_COMMAND_DEFER, Q_COMMAND_DELIVERED, Q_COMMAND_FINISH, Q_COMMAND_TARGET, Q_COMMAND_PUSH_AT, Q_PUSH_OF, Q_PUSH_SETTLE, Q_PUSH_DEFER, Q_COMMAND_EXPIRED, Q_COMMAND_EXPIRE_DONE,
	Q_COMMAND_EXPIRE_EVENT, Q_COMMAND_CLEARED_EVENT, Q_COMMAND_CLEAR, Q_COMMAND_CLEAR_DONE, Q_COMMAND_LIST, Q_COMMAND_DONE_LIST, Q_COMMAND_NOTED,
	Q_CHALLENGE_BY_SECRET, Q_CHALLENGE_USE, Q_CHALLENGE_CLOSE_OF_LINK, Q_CHALLENGE_CLOSE_OTA, Q_CHALLENGE_FULFILL, Q_CERTIFICATE_NONE_BY_KEY, Q_CERTIFICATE_REVOKE_UNBOUND, Q_CERTIFICATE_END_RESERVED,
	Q_CERTIFICATE_ISSUE, Q_CERTIFICATE_BIND, Q_CERTIFICATE_BY_SHA256, Q_CERTIFICATE_BY_KEY, Q_CERTIFICATE_RENEWAL, Q_CERTIFICATE_REVOKE_EPOCH, Q_CERTIFICATE_REVOKE_OTA, Q_CERTIFICATE_REVOKE_SUPERSEDED,
	Q_CRL_DIRTY, Q_ENROLLMENT_FACTS, Q_ENROLLMENT_ACTIVATE, Q_EPOCH_TOKEN, Q_LINK_CONSUME, Q_EVENT_AGAIN, Q_EVENT_OF_LINK,
};

/* What the janitor looks for in large tables. In small ones (work that is left, orders, profiles, settings) it may look at all; docs/scale.md says which others it goes through. */
static const enum store_statement of_the_janitor[] = {
	Q_RENEWAL_DUE, Q_RENEWAL_PUT_OFF, Q_RENEWAL_MARK, Q_RENEWAL_RETIRING, Q_WALK_CERTIFICATES, Q_WALK_ENROLLMENTS, Q_ANCHOR_LACKING, Q_CERTIFICATE_REVOKE_SUPERSEDED, Q_EVENT_PURGE, Q_COMMAND_DONE_PURGE,
	Q_PAIRING_PURGE, Q_ADDRESS_PURGE, Q_SCEP_FORGIVEN, Q_COMMAND_EXPIRED, Q_LIB_STATE_DUE, Q_INVENTORY_DUE, Q_CRL_DIRTY, Q_CRL_REVOKED, Q_ORDER_OLD,
};

/* These would not do with any index: each has one that holds just what is due. */
static const struct { enum store_statement statement; const char *index; } by_index[] = {
	{Q_RENEWAL_DUE, "epoch_renew"}, {Q_CERTIFICATE_REVOKE_SUPERSEDED, "certificate_superseded"}, {Q_DDM_STALE, "ddm_state_untold"}, {Q_COMMAND_EXPIRED, "command_expires"}, {Q_INVENTORY_DUE, "inventory_due"},
	{Q_LIB_STATE_DUE, "profile_state_deadline"},
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

static bool is_scan(const char *detail, const char *unused)
{
	return g_str_has_prefix(detail, "SCAN ") && strcmp(detail, "SCAN CONSTANT ROW");
}

static bool is_of_index(const char *detail, const char *index)
{
	g_autofree char *words = g_strdup_printf(" INDEX %s", index), *more = g_strdup_printf("%s ", words);

	return g_str_has_suffix(detail, words) || strstr(detail, more);
}

/* The first step of the plan that IS; NULL: none. transfer full. */
static char *find_step(sqlite3 *db, const char *sql, bool (*is)(const char *detail, const char *what), const char *what)
{
	g_autofree char *explain = g_strconcat("EXPLAIN QUERY PLAN ", sql, NULL);
	sqlite3_stmt *plan;
	char *found = NULL;

	g_assert_cmpint(sqlite3_prepare_v2(db, explain, -1, &plan, NULL), ==, SQLITE_OK);
	while (!found && sqlite3_step(plan) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(plan, 3);

		if (is(detail, what))
			found = g_strdup(detail);
	}
	sqlite3_finalize(plan);
	return found;
}

/* A step that reads a whole table or index. */
static char *find_scan(sqlite3 *db, const char *sql)
{
	return find_step(db, sql, is_scan, NULL);
}

static void remove_schema(const char *dir)
{
	for (const char *const *name = (const char *const[]){"s.db", "s.db-wal", "s.db-shm", NULL}; *name; name++) {
		g_autofree char *path = g_build_filename(dir, *name, NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static void check(sqlite3 *db, const enum store_statement *which, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct db_statement *statement = &store_statements[which[i]];
		g_autofree char *found = find_scan(db, statement->sql);

		if (found)
			g_error("%s reads through a table: %s", statement->name, found);
	}
}

static void test_plans(void)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-plan-XXXXXX", NULL);
	sqlite3 *db = open_schema(dir);

	/* The check itself sees what it looks for. */
	g_autofree char *scan = find_scan(db, "SELECT uuid FROM command_done WHERE status = 'x'");
	g_assert_nonnull(scan);
	check(db, on_the_way, G_N_ELEMENTS(on_the_way));
	check(db, of_the_janitor, G_N_ELEMENTS(of_the_janitor));
	for (size_t i = 0; i < G_N_ELEMENTS(by_index); i++) {
		const struct db_statement *statement = &store_statements[by_index[i].statement];
		g_autofree char *found = find_step(db, statement->sql, is_of_index, by_index[i].index);

		if (!found)
			g_error("%s does not use %s", statement->name, by_index[i].index);
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
