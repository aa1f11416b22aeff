/* Keys by which engines place rows: the catalogs of both engines are held against src/store/keys.h, and the statements on a device's way against the rule that each names its enrollment. With POMONA_TEST_POSTGRES (tests/with_postgres.sh)
 * PostgreSQL too. */
#include <glib/gstdio.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <string.h>

#include "store/keys.h"
#include "store/statements.h"
#include "store/store.h"

enum place { ENROLLMENT, OWN, EVERYWHERE };

static const struct placed { const char *table; enum place place; const char *column; } placed[] = {
#define T(table, place, column) {#table, place, #column},
	STORE_PLACES(T)
#undef T
};

/* A unique key of a table: its columns in order. */
struct key { char *table; bool is_primary; GPtrArray *columns; };

static void key_clear(void *data)
{
	struct key *key = data;

	g_free(key->table);
	g_ptr_array_unref(key->columns);
}

static GArray *keys_new(void)
{
	GArray *keys = g_array_new(FALSE, FALSE, sizeof(struct key));

	g_array_set_clear_func(keys, key_clear);
	return keys;
}

/* One row for each column of each unique key, by key: table, name of the key, whether it is the primary one, column. */
static void add_row(GArray *keys, GString *last, const char *table, const char *name, bool is_primary, const char *column)
{
	if (!keys->len || strcmp(last->str, name)) {
		struct key key = {g_strdup(table), is_primary, g_ptr_array_new_with_free_func(g_free)};

		g_array_append_val(keys, key);
		g_string_assign(last, name);
	}
	g_ptr_array_add(g_array_index(keys, struct key, keys->len - 1).columns, g_strdup(column));
}

static const struct placed *find_placed(const char *table)
{
	for (size_t i = 0; i < G_N_ELEMENTS(placed); i++)
		if (!strcmp(placed[i].table, table))
			return &placed[i];
	return NULL;
}

/* What is wrong with a unique key; NULL: nothing. */
static const char *find_fault(const struct key *key)
{
	const struct placed *table = find_placed(key->table);

	if (!table)
		return "the table has no row in keys.h";
	if (key->is_primary && strcmp(key->columns->pdata[0], table->column))
		return "its primary key does not begin with the column by which it is placed";
	if (table->place == ENROLLMENT && !g_ptr_array_find_with_equal_func(key->columns, table->column, g_str_equal, NULL))
		return "a unique key does not have the enrollment's id, so it could not be kept by a shard alone";
	return NULL;
}

/* OWN_KEY: a table whose other unique keys cannot be changed on this engine. */
static void check_keys(const GArray *keys, const char *own_key)
{
	g_autoptr(GHashTable) with_primary = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < keys->len; i++) {
		const struct key *key = &g_array_index(keys, struct key, i);
		const char *fault = find_fault(key);

		if (key->is_primary)
			g_hash_table_add(with_primary, key->table);
		if (fault && !(own_key && !key->is_primary && !strcmp(key->table, own_key)))
			g_error("%s (%s, …): %s", key->table, (const char *)key->columns->pdata[0], fault);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(placed); i++)
		if (!g_hash_table_contains(with_primary, placed[i].table))
			g_error("%s is in keys.h, but there is no such table with a primary key", placed[i].table);
}

/* ---- the check itself sees what it looks for */

static void test_faults(void)
{
	static const struct { const char *table; bool is_primary; const char *columns[3]; bool fault; } cases[] = {
		{"command", true, {"enrollment_id", "seq"}, false}, {"command", true, {"seq", "enrollment_id"}, true}, {"command", false, {"uuid", "enrollment_id"}, false}, {"command", false, {"uuid"}, true},
		{"enrollment", false, {"device_id", "user_part"}, true}, {"certificate", false, {"sha256"}, false}, {"certificate", true, {"serial"}, false}, {"nobody", true, {"id"}, true},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct key key = {g_strdup(cases[i].table), cases[i].is_primary, g_ptr_array_new_with_free_func(g_free)};

		for (const char *const *column = cases[i].columns; *column; column++)
			g_ptr_array_add(key.columns, g_strdup(*column));
		g_assert_cmpint(find_fault(&key) != NULL, ==, cases[i].fault);
		key_clear(&key);
	}
}

/* ---- SQLite */

static void remove_database(const char *dir)
{
	for (const char *const *name = (const char *const[]){"s.db", "s.db-wal", "s.db-shm", NULL}; *name; name++) {
		g_autofree char *path = g_build_filename(dir, *name, NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static void test_sqlite(void)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-keys-XXXXXX", NULL), *url = g_strdup_printf("sqlite:%s/s.db", dir);
	struct store *store = store_open(url, pom_clock_system(), pom_random_system(), NULL);
	g_autoptr(GArray) keys = keys_new();
	g_autoptr(GString) last = g_string_new(NULL);
	sqlite3_stmt *rows;
	sqlite3 *db;

	g_assert_nonnull(store);
	store_close(store);
	g_assert_cmpint(sqlite3_open_v2(url + strlen("sqlite:"), &db, SQLITE_OPEN_READONLY, NULL), ==, SQLITE_OK);
	/* A primary key of one INTEGER is the row itself, without an index. */
	g_assert_cmpint(sqlite3_prepare_v2(db,
		"SELECT m.name AS t, l.name AS k, l.origin = 'pk', c.name, c.seqno FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) c WHERE m.type = 'table' AND l.\"unique\" = 1"
		" UNION ALL SELECT m.name, m.name || ' rowid', 1, i.name, 0 FROM sqlite_master m, pragma_table_info(m.name) i WHERE m.type = 'table' AND i.pk = 1 AND i.type = 'INTEGER'"
		" AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name) o WHERE o.pk > 1) ORDER BY t, k, 5", -1, &rows, NULL), ==, SQLITE_OK);
	while (sqlite3_step(rows) == SQLITE_ROW)
		add_row(keys, last, (const char *)sqlite3_column_text(rows, 0), (const char *)sqlite3_column_text(rows, 1), sqlite3_column_int(rows, 2), (const char *)sqlite3_column_text(rows, 3));
	sqlite3_finalize(rows);
	sqlite3_close(db);
	remove_database(dir);
	/* SQLite does not shard, and could be rid of (device_id, user_part) only with the table. */
	check_keys(keys, "enrollment");
}

/* ---- PostgreSQL */

static PGresult *run_ok(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		g_error("%s", PQerrorMessage(connection));
	return result;
}

static void test_postgres(void)
{
	const char *where = g_getenv("POMONA_TEST_POSTGRES");
	g_autoptr(GArray) keys = keys_new();
	g_autoptr(GString) last = g_string_new(NULL);
	PGconn *connection;
	PGresult *rows;

	if (!where) {
		g_test_skip("no POMONA_TEST_POSTGRES");
		return;
	}
	connection = PQconnectdb(where);
	/* A schema of its own, which is never committed: other tests may use the same database. */
	PQclear(run_ok(connection, "BEGIN; CREATE SCHEMA keys_test; SET LOCAL search_path = keys_test"));
	for (unsigned i = 0; i < store_n_migrations; i++)
		PQclear(run_ok(connection, store_migrations_postgres[i].sql));
	rows = run_ok(connection,
		"SELECT t.relname, k.relname, i.indisprimary, a.attname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class k ON k.oid = i.indexrelid"
		" JOIN pg_namespace n ON n.oid = t.relnamespace, unnest(i.indkey::int[]) WITH ORDINALITY u (attnum, place) JOIN pg_attribute a ON true"
		" WHERE n.nspname = 'keys_test' AND i.indisunique AND a.attrelid = t.oid AND a.attnum = u.attnum ORDER BY 1, 2, u.place");
	for (int i = 0; i < PQntuples(rows); i++)
		add_row(keys, last, PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), *PQgetvalue(rows, i, 2) == 't', PQgetvalue(rows, i, 3));
	PQclear(rows);
	PQclear(run_ok(connection, "ROLLBACK"));
	PQfinish(connection);
	check_keys(keys, NULL);
}

/* ---- statements on a device's way */

/* What service/mdm.c and service/ddm.c run for a message of a device. */
static const enum store_statement of_devices[] = {
	Q_FACTS_ENROLLMENT, Q_BLOCK_OF_MESSAGE, Q_ENROLLMENT_CREATE, Q_ENROLLMENT_NEW_EPOCH, Q_ENROLLMENT_FACTS, Q_ENROLLMENT_ACTIVATE, Q_ENROLLMENT_TOUCH, Q_ENROLLMENT_END, Q_ENROLLMENT_DROP_PENDING,
	Q_ENROLLMENT_FIRST_USE, Q_USER_END, Q_USER_PUT, Q_EPOCH_ADD, Q_EPOCH_FACTS, Q_EPOCH_TOKEN, Q_EPOCH_USER_TOKEN, Q_EPOCH_END, Q_EPOCH_AWAITING, Q_EPOCH_TOPIC, Q_EPOCH_PROVENANCE, Q_EPOCH_BOOTSTRAP_SET,
	Q_EPOCH_BOOTSTRAP_GET, Q_EPOCH_UNLOCK_SET, Q_FIRST_USE_ADD, Q_LAST_SEEN, Q_EVENT_ADD, Q_EVENT_TRIM, Q_EVENT_AGAIN, Q_EVENT_FIRST, Q_COMMAND_NEXT, Q_COMMAND_NEXT_NOTED, Q_COMMAND_REMOVE, Q_COMMAND_DEFER,
	Q_COMMAND_DELIVERED, Q_COMMAND_FINISH, Q_COMMAND_CLEAR, Q_COMMAND_CLEAR_DONE, Q_PUSH_ASK, Q_PUSH_ASK_FOR_WAITING, Q_PUSH_DEFER, Q_PUSH_OF, Q_PUSH_SETTLE, Q_PUSH_FORGET, Q_FACT_PUT, Q_FACT_TRIM, Q_FACT_LIST,
	Q_FACT_FORGET, Q_FACT_LIST_PUT, Q_FACT_LIST_FORGET, Q_INVENTORY_PUT, Q_LIB_WORK_ADD_DEVICE, Q_LIB_FACTS, Q_LIB_STATE_SET, Q_LIB_CONFIRMABLE, Q_DDM_FACTS, Q_DDM_TOKENS, Q_DDM_MANIFEST, Q_DDM_STATE_ADD,
	Q_DDM_STATE_SET, Q_DDM_STATE_RESET, Q_DDM_STATE_REPORTED, Q_DDM_STATUS_CLEAR, Q_DDM_DECLARED_CLEAR, Q_DDM_STATUS_PUT, Q_DDM_STATUS_REMOVE, Q_DDM_STATUS_OTHER, Q_DDM_STATUS_TRIM, Q_DDM_DECLARED_PUT,
	Q_RETURN_GET, Q_RETURN_ANSWER, Q_COMMAND_REPORTED, Q_COMMAND_NEXT_IDLE,
};

/* Finds $n for the id of an enrollment, or the first value of a row that is inserted. */
static bool names_enrollment(const char *sql)
{
	g_autoptr(GRegex) compared = g_regex_new("\\b(enrollment_id|id) = \\$\\d", 0, 0, NULL),
	                  inserted = g_regex_new("^INSERT INTO \\w+ \\((enrollment_id|id), [^()]*\\) (VALUES \\(|SELECT )\\$1\\b", 0, 0, NULL);

	return g_regex_match(compared, sql, 0, NULL) || g_regex_match(inserted, sql, 0, NULL);
}

static void test_statements(void)
{
	g_assert_true(names_enrollment("SELECT 1 FROM command WHERE enrollment_id = $2"));
	g_assert_true(names_enrollment("INSERT INTO event (enrollment_id, id) VALUES ($1, $2)"));
	g_assert_false(names_enrollment("SELECT 1 FROM command WHERE uuid = $1"));
	g_assert_false(names_enrollment("UPDATE enrollment SET state = 2 WHERE parent_id = $1"));
	for (size_t i = 0; i < G_N_ELEMENTS(of_devices); i++)
		if (!names_enrollment(store_statements[of_devices[i]].sql))
			g_error("%s is on a device's way and does not name its enrollment: %s", store_statements[of_devices[i]].name, store_statements[of_devices[i]].sql);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/keys/faults", test_faults);
	g_test_add_func("/store/keys/sqlite", test_sqlite);
	g_test_add_func("/store/keys/postgres", test_postgres);
	g_test_add_func("/store/keys/statements", test_statements);
	return g_test_run();
}
