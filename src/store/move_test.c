/* Moves between databases, on SQLite and with the engine that is tested; the table of tables is held against the schema. */
#include <glib/gstdio.h>
#include <string.h>

#include "db/testkit.h"
#include "store/move_store.h"
#include "store/statements.h"
#include "store/store.h"
#include "store/tables.h"

enum { ROWS = 45 };

struct table { const char *name; bool is_moved; unsigned n_keys; const char *types, *columns; };
#define FATE_MOVED true
#define FATE_KEPT false
#define X(name, fate, n_keys, types, columns) {#name, FATE_##fate, n_keys, types, columns},
static const struct table tables[] = {STORE_TABLES(X)};
#undef X

static void bring_up(const char *url)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(url, pom_clock_system(), pom_random_system(), &error);

	g_assert_no_error(error);
	store_close(store);
}

/* ---- the table of tables */

/* A condition that finds a column in the engine's catalog, as it is in the list. */
static char *find_column(const struct table *t, unsigned i, const char *column)
{
	bool sqlite = test_database_engine() == DB_SQLITE;
	const char *type = t->types[i] == 'i' ? (sqlite ? "INTEGER" : "bigint") : t->types[i] == 't' ? (sqlite ? "TEXT" : "text") : sqlite ? "BLOB" : "bytea";
	unsigned key = i < t->n_keys ? i + 1 : 0;

	if (sqlite)
		return g_strdup_printf("SELECT count(*) FROM pragma_table_info('%s') WHERE name = '%s' AND type = '%s' AND pk = %u", t->name, column, type, key);
	return g_strdup_printf("SELECT count(*) FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name = '%s' AND c.column_name = '%s' AND c.data_type = '%s'"
	                       " AND coalesce((SELECT array_position(x.indkey::int[], c.ordinal_position::int) FROM pg_index x WHERE x.indrelid = to_regclass(c.table_name) AND x.indisprimary), -1) + 1 = %u",
	                       t->name, column, type, key);
}

static void test_tables(void)
{
	bool sqlite = test_database_engine() == DB_SQLITE;
	char *url = test_database_new(bring_up);
	g_autoptr(GString) sum = g_string_new("SELECT 0");
	unsigned n_columns = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
		g_auto(GStrv) columns = g_strsplit(tables[i].columns, ", ", -1);

		g_assert_cmpuint(g_strv_length(columns), ==, strlen(tables[i].types));
		g_assert_cmpuint(g_strv_length(columns), <=, DB_PARAMS_MAX);
		for (unsigned c = 0; columns[c]; c++, n_columns++) {
			g_autofree char *found = find_column(&tables[i], c, columns[c]);

			/* On PostgreSQL each question is a connection, so they are asked all at once. */
			if (!sqlite)
				g_string_append_printf(sum, " + (%s)", found);
			else if (test_database_get(url, found) != 1)
				g_error("%s.%s of store/tables.h is not so in the schema", tables[i].name, columns[c]);
		}
	}
	g_assert_cmpint(test_database_get(url, sqlite ? "SELECT count(*) FROM sqlite_schema WHERE type = 'table'" : "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'pomona_schema'"),
	                ==, G_N_ELEMENTS(tables));
	g_assert_cmpint(test_database_get(url, sqlite ? "SELECT count(*) FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table'"
	                                              : "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'pomona_schema'"), ==, n_columns);
	if (!sqlite)
		g_assert_cmpint(test_database_get(url, sum->str), ==, n_columns);
	test_database_free(url);
}

/* ---- databases with something in every table */

static void append_value(GString *sql, char type, unsigned row, unsigned column)
{
	/* Texts and numbers in whose order engines could differ. */
	static const char *const texts[] = {"", " ", "A", "Z", "a", "z", "~", "é", "ä", "ß", "中", "\U0001f34e", "a b", "a-b", "a_b"};

	if (type == 't')
		g_string_append_printf(sql, "'%s%u'", texts[(row + column) % G_N_ELEMENTS(texts)], row);
	else if (type == 'b')
		g_string_append_printf(sql, "%s%.*s%02x'", test_database_engine() == DB_SQLITE ? "X'" : "'\\x", (int)(row % 5) * 2, "00ff7f80", row);
	else
		g_string_append_printf(sql, "%s%" G_GINT64_FORMAT, row % 3 ? "" : "-", row == 7 ? G_MAXINT64 : (int64_t)row * (row % 4 ? 1 : 1000000007));
}

static void fill_table(const char *url, const struct table *t)
{
	g_autoptr(GString) sql = g_string_new(NULL);

	g_string_append_printf(sql, "INSERT INTO %s (%s) VALUES ", t->name, t->columns);
	for (unsigned row = 0; row < ROWS; row++) {
		for (unsigned c = 0; t->types[c]; c++) {
			g_string_append(sql, c ? ", " : row ? ", (" : "(");
			append_value(sql, t->types[c], row, c);
		}
		g_string_append_c(sql, ')');
	}
	g_assert_cmpint(test_database_exec(url, sql->str), ==, ROWS);
}

static unsigned n_moved_tables(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		n += tables[i].is_moved;
	return n;
}

/* Rows in every table, and NULL in the columns of one that may be. */
static char *new_full(void)
{
	char *url = test_database_new(bring_up);

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		if (tables[i].is_moved)
			fill_table(url, &tables[i]);
	g_assert_cmpint(test_database_exec(url, "UPDATE enrollment SET parent_id = NULL, serial = NULL, imei = '' WHERE kind > 3"), >, 0);
	g_assert_cmpint(test_database_exec(url, "UPDATE link SET user_email = '' WHERE created_at = (SELECT max(created_at) FROM link)"), ==, 1);
	g_assert_cmpint(test_database_exec(url, "UPDATE epoch SET push_token = NULL, unlock_token = substr(unlock_token, 1, 0) WHERE epoch > 3"), >, 0);
	return url;
}

static char *new_file(void)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-move-XXXXXX", NULL);

	return g_strdup_printf("sqlite:%s/s.db", dir);
}

/* Also frees URL. */
static void remove_file(char *url)
{
	g_autofree char *path = g_strdup(url + strlen("sqlite:")), *dir = g_path_get_dirname(path);

	for (const char *const *end = (const char *const[]){"", "-wal", "-shm", NULL}; *end; end++) {
		g_autofree char *name = g_strconcat(path, *end, NULL);

		g_unlink(name);
	}
	g_rmdir(dir);
	g_free(url);
}

/* ---- moving */

static struct store_move a_move(const char *from, const char *to)
{
	return (struct store_move){.from = from, .to = to, .clock = pom_clock_system(), .random = pom_random_system()};
}

static void move_ok(const char *from, const char *to, struct store_move_report *ret)
{
	struct store_move move = a_move(from, to);
	g_autoptr(GError) error = NULL;

	g_assert_true(store_move(&move, ret, &error));
	g_assert_no_error(error);
}

static void refused(struct store_move move, enum pom_error code, const char *text)
{
	g_auto(store_move_report) report = {0};
	g_autoptr(GError) error = NULL;

	g_assert_false(store_move(&move, &report, &error));
	g_assert_error(error, POM_ERROR, (int)code);
	if (!strstr(error->message, text))
		g_error("wanted \"%s\", got \"%s\"", text, error->message);
}

static void check_open(const char *url, const char *refused_with)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(url, pom_clock_system(), pom_random_system(), &error);

	if (refused_with) {
		g_assert_error(error, POM_ERROR, POM_ERR_STORE_MOVE);
		g_assert_nonnull(strstr(error->message, refused_with));
	} else
		g_assert_no_error(error);
	g_assert_true(!store == !!refused_with);
	store_close(store);
}

static void undo_ok(const char *url)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(store_move_undo(url, &error));
	g_assert_no_error(error);
}

/* There and back: what comes back has the same digests. Then the order of who may be used. */
static void test_there_and_back(void)
{
	char *url = new_full(), *file = new_file(), *back = test_database_new(NULL);
	g_auto(store_move_report) first = {0}, second = {0};
	g_autoptr(GError) error = NULL;

	move_ok(url, file, &first);
	g_assert_cmpuint(first.tables->len, ==, n_moved_tables());
	g_assert_cmpuint(first.n_rows, ==, n_moved_tables() * ROWS);
	g_assert_cmpuint(first.n_copied, ==, first.n_rows);
	g_assert_false(first.resumed);
	check_open(url, "was moved to sqlite:");
	check_open(file, NULL);
	move_ok(file, back, &second);
	check_open(file, "was moved to ");
	check_open(back, NULL);
	for (guint i = 0; i < first.tables->len; i++) {
		const struct store_move_table *a = &g_array_index(first.tables, struct store_move_table, i), *b = &g_array_index(second.tables, struct store_move_table, i);

		g_assert_cmpstr(a->sha256, ==, b->sha256);
		g_assert_cmpuint(b->n_rows, ==, ROWS);
	}
	/* The log of what was done stays one that nobody can change. */
	g_assert_cmpint(test_database_exec(back, "DELETE FROM audit"), <=, 0);
	g_assert_cmpint(test_database_get(back, "SELECT count(*) FROM audit"), ==, ROWS);
	undo_ok(url);
	check_open(url, NULL);
	g_assert_false(store_move_undo(url, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
	test_database_free(url);
	test_database_free(back);
	remove_file(file);
}

/* ---- breaking off */

struct stop { unsigned after; const char *what; void (*act)(const char *url); const char *url; };

static bool on_step(void *ctx, const char *what, uint64_t done, uint64_t all)
{
	struct stop *stop = ctx;

	if (all)
		g_assert_cmpuint(done, <=, all);
	if (strcmp(what, stop->what) || stop->after--)
		return true;
	if (stop->act) {
		stop->act(stop->url);
		stop->after = G_MAXUINT;
		return true;
	}
	return false;
}

/* Broken off again and again, at another place each time, it comes to its end, and no row comes twice. */
static void test_resume(void)
{
	char *url = new_full(), *file = new_file();
	g_auto(store_move_report) report = {0};
	g_autoptr(GError) error = NULL;
	bool done = false;
	unsigned tries = 0;

	for (; !done && tries < 100; tries++) {
		struct stop stop = {.after = tries * (test_database_engine() == DB_SQLITE ? 7 : 20), .what = "copying"};
		struct store_move move = a_move(url, file);

		move.step = on_step;
		move.ctx = &stop;
		g_clear_error(&error);
		done = store_move(&move, &report, &error);
		if (!done) {
			g_assert_error(error, POM_ERROR, POM_ERR_STORE_MOVE);
			g_assert_nonnull(strstr(error->message, "broken off"));
		}
		if (!tries) {
			check_open(url, "is being moved to");
			check_open(file, "is not whole");
		}
	}
	g_assert_true(done);
	g_assert_cmpuint(tries, >, 4);
	g_assert_true(report.resumed);
	g_assert_cmpuint(report.n_rows, ==, n_moved_tables() * ROWS);
	g_assert_cmpuint(report.n_copied, <, report.n_rows);
	check_open(file, NULL);
	test_database_free(url);
	remove_file(file);
}

static void break_off(const char *from, const char *to, const char *what)
{
	struct stop stop = {.after = 3, .what = what};
	struct store_move move = a_move(from, to);

	move.step = on_step;
	move.ctx = &stop;
	refused(move, POM_ERR_STORE_MOVE, "broken off");
}

/* An unfinished move goes on only from the database that it came from, as it was then. */
static void test_unfinished(void)
{
	char *url = new_full(), *other = new_full(), *file = new_file(), *third = new_file();
	g_auto(store_move_report) report = {0};

	break_off(url, file, "copying");
	refused(a_move(other, file), POM_ERR_STORE_MOVE, "holds an unfinished move");
	check_open(other, NULL);
	refused(a_move(file, third), POM_ERR_STORE_MOVE, "is not whole");
	/* Another target is as good; the one that was begun stays what it is. */
	break_off(url, third, "comparing");
	check_open(third, "is not whole");
	refused(a_move(url, file), POM_ERR_STORE_MOVE, "holds an unfinished move");
	check_open(file, "is not whole");
	undo_ok(url);
	check_open(url, NULL);
	/* It may have changed since. */
	refused(a_move(url, file), POM_ERR_STORE_MOVE, "holds an unfinished move");
	test_database_free(other);
	other = test_database_new(NULL);
	break_off(url, other, "copying");
	refused(a_move(url, file), POM_ERR_STORE_MOVE, "holds an unfinished move");
	undo_ok(url);
	test_database_free(other);
	other = test_database_new(NULL);
	break_off(url, other, "copying");
	/* All has come to another one: the first may not be ended too, or there would be two. */
	remove_file(third);
	third = new_file();
	move_ok(url, third, &report);
	g_assert_false(report.resumed);
	refused(a_move(url, other), POM_ERR_STORE_MOVE, "was moved to");
	check_open(other, "is not whole");
	check_open(third, NULL);
	test_database_free(url);
	test_database_free(other);
	remove_file(file);
	remove_file(third);
}

static void test_refused(void)
{
	char *url = new_full(), *empty = test_database_new(bring_up), *file = new_file(), *nothing = new_file(), *full = new_full();
	g_auto(store_move_report) report = {0};

	refused(a_move(nothing, empty), POM_ERR_NOT_FOUND, "is not there");
	g_assert_false(g_file_test(nothing + strlen("sqlite:"), G_FILE_TEST_EXISTS));
	refused(a_move(empty, file), POM_ERR_STORE_MOVE, "there is nothing to move");
	refused(a_move(url, url), POM_ERR_STORE_MOVE, "holds data already");
	refused(a_move(url, full), POM_ERR_STORE_MOVE, "holds data already");
	refused(a_move("mysql://x", file), POM_ERR_CONFIG, "sqlite:");
	check_open(url, NULL);
	move_ok(url, empty, &report);
	refused(a_move(url, nothing), POM_ERR_STORE_MOVE, "was moved to");
	/* An empty database that knows of an end is no new one. */
	g_assert_cmpint(test_database_exec(full, "INSERT INTO data_move (side, id, state, other, started_at, ended_at) VALUES ('in', 'x', 'done', 'y', 1, 2)"), ==, 1);
	refused(a_move(empty, full), POM_ERR_STORE_MOVE, "holds data already");
	test_database_free(url);
	test_database_free(empty);
	test_database_free(full);
	remove_file(file);
	remove_file(nothing);
}

/* ---- what comparing finds */

static void lose_a_row(const char *url)
{
	g_assert_cmpint(test_database_exec(url, "DELETE FROM command WHERE epoch = (SELECT max(epoch) FROM command)"), ==, 1);
}

static void change_a_letter(const char *url)
{
	g_assert_cmpint(test_database_exec(url, "UPDATE link SET user_name = 'x' WHERE created_at = (SELECT max(created_at) FROM link)"), ==, 1);
}

static void empty_is_not_null(const char *url)
{
	g_assert_cmpint(test_database_exec(url, "UPDATE link SET user_email = NULL WHERE created_at = (SELECT max(created_at) FROM link)"), ==, 1);
}

static void add_a_row(const char *url)
{
	g_assert_cmpint(test_database_exec(url, "INSERT INTO setting (name, value) VALUES ('zzz', '')"), ==, 1);
}

static void test_differences(void)
{
	static const struct { void (*act)(const char *url); const char *text; } cases[] = {
		{lose_a_row, "the table command differs: 45 rows"}, {change_a_letter, "the table link differs"}, {empty_is_not_null, "the table link differs"}, {add_a_row, "the table setting differs"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		char *url = new_full(), *target = test_database_new(NULL);
		struct stop stop = {.what = "comparing", .act = cases[i].act, .url = target};
		struct store_move move = a_move(url, target);

		move.step = on_step;
		move.ctx = &stop;
		refused(move, POM_ERR_STORE_MOVE, cases[i].text);
		check_open(target, "is not whole");
		test_database_free(url);
		test_database_free(target);
	}
}

/* Somebody else's rows in the target are met while copying. */
static void test_meddling(void)
{
	char *url = new_full(), *target = test_database_new(NULL);
	struct store_move move = a_move(url, target);

	break_off(url, target, "copying");
	add_a_row(target);
	g_assert_cmpint(test_database_exec(target, "UPDATE data_move_table SET n_rows = 1 WHERE name = 'setting'"), ==, 1);
	refused(move, POM_ERR_STORE_MOVE, "setting");
	test_database_free(url);
	test_database_free(target);
}

static void test_not_utf8(void)
{
	char *url, *file;

	if (test_database_engine() != DB_SQLITE) {
		g_test_skip("PostgreSQL takes no such text");
		return;
	}
	url = new_full();
	file = new_file();
	g_assert_cmpint(test_database_exec(url, "UPDATE link SET user_name = cast(X'41ff' AS TEXT) WHERE created_at = (SELECT max(created_at) FROM link)"), ==, 1);
	refused(a_move(url, file), POM_ERR_STORE_MOVE, "the column user_name of a row of link");
	test_database_free(url);
	remove_file(file);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/move/tables", test_tables);
	g_test_add_func("/move/there-and-back", test_there_and_back);
	g_test_add_func("/move/resume", test_resume);
	g_test_add_func("/move/unfinished", test_unfinished);
	g_test_add_func("/move/refused", test_refused);
	g_test_add_func("/move/differences", test_differences);
	g_test_add_func("/move/meddling", test_meddling);
	g_test_add_func("/move/not-utf8", test_not_utf8);
	return g_test_run();
}
