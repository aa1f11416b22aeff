#include <glib/gstdio.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "db/db.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3, sqlite3_close)

enum { INSERT, BUMP, GET, COUNT, REMOVE, BY_NAME, SAME, BIG, N_STATEMENTS };

static const struct db_statement statements[N_STATEMENTS] = {
	[INSERT] = {"insert", "tib", "", DB_EXPECT_ONE, DB_WRITE, "INSERT INTO item (name, n, data) VALUES ($1, $2, $3)"},
	[BUMP] = {"bump", "ti", "i", DB_EXPECT_ONE, DB_WRITE, "UPDATE item SET n = n + 1 WHERE name = $1 AND n = $2 RETURNING n"},
	[GET] = {"get", "t", "tib", DB_EXPECT_ANY, DB_READ, "SELECT name, n, data FROM item WHERE name = $1"},
	[COUNT] = {"count", "", "i", DB_EXPECT_ONE, DB_READ, "SELECT count(*) FROM item"},
	[REMOVE] = {"remove", "t", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM item WHERE name = $1"},
	/* Parameters are bound by their number, not by where they first stand. */
	[BY_NAME] = {"by_name", "ti", "t", DB_EXPECT_ANY, DB_READ, "SELECT name FROM item WHERE n = $2 AND name = $1"},
	[SAME] = {"absent", "t", "i", DB_EXPECT_NONE, DB_READ, "SELECT n FROM item WHERE name = $1"},
	[BIG] = {"big", "ti", "", DB_EXPECT_ONE, DB_WRITE, "INSERT INTO item (name, n, data) VALUES ($1, 0, zeroblob($2))"},
};
static const struct db_migration migrations[] = {
	{1, "CREATE TABLE item (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT"},
	{2, "ALTER TABLE item ADD COLUMN data BLOB"},
};

struct fixture {
	char *dir, *url;
	struct db_config config;
	struct db *db;
};

static void set_up(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	f->dir = g_dir_make_tmp("pomona-db-XXXXXX", NULL);
	f->url = g_strdup_printf("sqlite:%s/test.db", f->dir);
	f->config = (struct db_config){f->url, statements, N_STATEMENTS, migrations, G_N_ELEMENTS(migrations), NULL};
	f->db = db_open(&f->config, &error);
	g_assert_no_error(error);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm", "copy.db"};

	db_close(f->db);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(f->dir, names[i], NULL);

		g_unlink(path);
	}
	g_rmdir(f->dir);
	g_free(f->dir);
	g_free(f->url);
}

static enum db_outcome insert(struct db *db, const char *name, int64_t n)
{
	g_autoptr(db_batch) batch = db_batch_new(name);

	db_batch_add(batch, INSERT, db_text(name), db_int(n), db_blob("x\0y", 3));
	return db_run(db, batch, NULL);
}

static int64_t count(struct db *db)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, COUNT, NULL, 0);
	g_assert_cmpint(db_run(db, batch, NULL), ==, DB_DONE);
	return db_get_int(batch, 0, 0, 0);
}

static void test_values(struct fixture *f, gconstpointer data)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	size_t len;

	g_assert_cmpint(insert(f->db, "a", INT64_MIN), ==, DB_DONE);
	db_batch_add(batch, GET, db_text("a"));
	db_batch_add(batch, GET, db_text("b"));
	db_batch_add(batch, BY_NAME, db_text("a"), db_int(INT64_MIN));
	g_assert_cmpint(db_run(f->db, batch, NULL), ==, DB_DONE);
	g_assert_cmpuint(db_rows(batch, 0), ==, 1);
	g_assert_cmpuint(db_rows(batch, 1), ==, 0);
	g_assert_cmpstr(db_get_text(batch, 0, 0, 0), ==, "a");
	g_assert_cmpint(db_get_int(batch, 0, 0, 1), ==, INT64_MIN);
	g_assert_cmpmem(db_get_blob(batch, 0, 0, 2, &len), 3, "x\0y", 3);
	g_assert_cmpuint(len, ==, 3);
	g_assert_null(db_get_text(batch, 1, 0, 0));
	g_assert_cmpstr(db_get_text(batch, 2, 0, 0), ==, "a");
}

static void test_expect(struct fixture *f, gconstpointer data)
{
	g_autoptr(db_batch) batch = db_batch_new("k");
	g_autoptr(GError) error = NULL;

	insert(f->db, "a", 1);
	db_batch_add(batch, INSERT, db_text("b"), db_int(1), db_null('b'));
	db_batch_add(batch, BUMP, db_text("a"), db_int(7));
	g_assert_cmpint(db_run(f->db, batch, &error), ==, DB_CONFLICT);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_cmpint(count(f->db), ==, 1);
	g_assert_cmpint(insert(f->db, "a", 1), ==, DB_CONFLICT);
	g_autoptr(db_batch) good = db_batch_new("k");
	db_batch_add(good, BUMP, db_text("a"), db_int(1));
	g_assert_cmpint(db_run(f->db, good, NULL), ==, DB_DONE);
	g_assert_cmpint(db_get_int(good, 0, 0, 0), ==, 2);
	g_autoptr(db_batch) none = db_batch_new(NULL);
	db_batch_add(none, SAME, db_text("a"));
	g_assert_cmpint(db_run(f->db, none, NULL), ==, DB_CONFLICT);
}

struct load {
	struct db *db;
	int id, n_done, n_conflicts;
};

static void *load_main(void *data)
{
	struct load *load = data;

	for (int i = 0; i < 200; i++) {
		g_autofree char *name = g_strdup_printf("%d-%d", load->id, i);
		/* Every fourth insert is everybody's: all but one of them must fail, and alone. */
		enum db_outcome outcome = i % 4 == 3 ? insert(load->db, "shared", i) : insert(load->db, name, i);

		load->n_done += outcome == DB_DONE;
		load->n_conflicts += outcome == DB_CONFLICT;
	}
	return NULL;
}

static void test_groups(struct fixture *f, gconstpointer data)
{
	struct load loads[16];
	pthread_t threads[16];
	int done = 0, conflicts = 0;

	for (int i = 0; i < 16; i++) {
		loads[i] = (struct load){f->db, i, 0, 0};
		pthread_create(&threads[i], NULL, load_main, &loads[i]);
	}
	for (int i = 0; i < 16; i++) {
		pthread_join(threads[i], NULL);
		done += loads[i].n_done;
		conflicts += loads[i].n_conflicts;
	}
	g_assert_cmpint(done, ==, 16 * 150 + 1);
	g_assert_cmpint(conflicts, ==, 16 * 50 - 1);
	g_assert_cmpint(count(f->db), ==, done);
}

static void test_schema(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct db_config old = f->config;

	insert(f->db, "a", 1);
	db_close(f->db);
	old.n_migrations = 1;
	f->db = db_open(&old, &error);
	g_assert_null(f->db);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_SCHEMA);
	g_clear_error(&error);
	f->db = db_open(&f->config, &error);
	g_assert_no_error(error);
	g_assert_cmpint(count(f->db), ==, 1);
}

static void test_statement_check(struct fixture *f, gconstpointer data)
{
	static const struct db_statement bad[] = {
		{"gap", "tt", "i", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $2"},
		{"cast", "t", "i", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $1::text"},
		{"columns", "t", "it", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $1"},
		{"mode", "t", "", DB_EXPECT_ANY, DB_READ, "DELETE FROM item WHERE name = $1"},
		{"syntax", "", "", DB_EXPECT_ANY, DB_READ, "SELEKT"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct db_config config = f->config;

		config.statements = &bad[i];
		config.n_statements = 1;
		g_assert_null(db_open(&config, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_STORE_REFUSED);
		g_assert_nonnull(strstr(error->message, bad[i].name));
	}
}

struct watch {
	uint64_t done, all;
	unsigned n_calls, n_allowed;
	struct db *write_to; /* one more row at each call; may be NULL */
};

static bool on_progress(void *ctx, uint64_t done, uint64_t all)
{
	struct watch *watch = ctx;
	g_autofree char *name = g_strdup_printf("during%u", watch->n_calls);

	if (all) {
		g_assert_cmpuint(done, >=, watch->done);
		watch->done = done;
		watch->all = all;
	}
	if (watch->write_to)
		g_assert_cmpint(insert(watch->write_to, name, 1), ==, DB_DONE);
	return ++watch->n_calls <= watch->n_allowed;
}

static void fill(struct db *db, const char *prefix, int n, int64_t bytes)
{
	for (int i = 0; i < n; i++) {
		g_autofree char *name = g_strdup_printf("%s%d", prefix, i);
		g_autoptr(db_batch) batch = db_batch_new(NULL);

		db_batch_add(batch, BIG, db_text(name), db_int(bytes));
		g_assert_cmpint(db_run(db, batch, NULL), ==, DB_DONE);
	}
}

/* The copy is what was there when it began, though every step of it sees another commit. */
static void test_copy(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = g_build_filename(f->dir, "copy.db", NULL), *url = g_strconcat("sqlite:", copy, NULL);
	struct watch watch = {.n_allowed = 100000, .write_to = f->db}, checked = {.n_allowed = 100000};
	struct db_progress progress = {on_progress, &watch}, check = {on_progress, &checked};
	struct db_config config = f->config;
	g_autoptr(GError) error = NULL;
	struct db *db;
	int schema = 0;

	fill(f->db, "big", 16, 1 << 20);
	g_assert_true(db_copy(f->url, copy, &progress, &schema, &error));
	g_assert_no_error(error);
	g_assert_cmpint(schema, ==, 2);
	g_assert_cmpuint(watch.n_calls, >, 4);
	g_assert_cmpuint(watch.done, ==, watch.all);
	g_assert_cmpint(count(f->db), ==, 16 + watch.n_calls);
	schema = 0;
	g_assert_true(db_check_file(copy, &check, &schema, &error));
	g_assert_cmpint(schema, ==, 2);
	config.url = url;
	db = db_open(&config, NULL);
	g_assert_cmpint(count(db), ==, 16);
	db_close(db);
	g_assert_false(db_copy(f->url, copy, NULL, &schema, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_IO);
}

static void test_copy_canceled(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = g_build_filename(f->dir, "copy.db", NULL);
	struct watch watch = {.n_allowed = 1}, never = {.n_allowed = 0}, once = {.n_allowed = 1};
	struct db_progress progress = {on_progress, &watch}, check = {on_progress, &never}, check_later = {on_progress, &once};
	g_autoptr(GError) error = NULL, broken_off = NULL, later = NULL;
	int schema = 0;

	fill(f->db, "big", 16, 1 << 20);
	g_assert_false(db_copy(f->url, copy, &progress, &schema, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CANCELED);
	g_assert_cmpuint(watch.n_calls, ==, 2);
	g_unlink(copy);
	/* The source is free again. */
	g_assert_true(db_copy(f->url, copy, NULL, &schema, NULL));
	fill(f->db, "small", 3000, 10);
	g_unlink(copy);
	g_assert_true(db_copy(f->url, copy, NULL, &schema, NULL));
	g_assert_false(db_check_file(copy, &check, &schema, &broken_off));
	g_assert_error(broken_off, POM_ERROR, POM_ERR_CANCELED);
	g_assert_false(db_check_file(copy, &check_later, &schema, &later));
	g_assert_error(later, POM_ERROR, POM_ERR_CANCELED);
}

static void test_copy_refused(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = g_build_filename(f->dir, "copy.db", NULL), *missing = g_strdup_printf("sqlite:%s/none.db", f->dir), *text = NULL;
	g_autoptr(GError) no_file = NULL, no_source = NULL, no_database = NULL, damaged = NULL, is_missing = NULL;
	int schema = 0;
	gsize len;

	g_assert_false(db_copy("postgresql://127.0.0.1/x", copy, NULL, &schema, &no_file));
	g_assert_error(no_file, POM_ERROR, POM_ERR_CONFIG);
	g_assert_false(db_copy(missing, copy, NULL, &schema, &no_source));
	g_assert_error(no_source, POM_ERROR, POM_ERR_IO);
	g_assert_false(g_file_test(missing + strlen("sqlite:"), G_FILE_TEST_EXISTS));
	g_assert_false(db_check_file(missing + strlen("sqlite:"), NULL, &schema, &is_missing));
	g_assert_error(is_missing, POM_ERROR, POM_ERR_IO);
	g_assert_true(g_file_set_contents(copy, "this is a text of some length, and no database at all, whatever its name says", -1, NULL));
	g_assert_false(db_check_file(copy, NULL, &schema, &no_database));
	g_assert_error(no_database, POM_ERROR, POM_ERR_STORE_REFUSED);
	g_unlink(copy);
	for (int i = 0; i < 200; i++) {
		g_autofree char *name = g_strdup_printf("name of item %d", i);

		g_assert_cmpint(insert(f->db, name, i), ==, DB_DONE);
	}
	g_assert_true(db_copy(f->url, copy, NULL, &schema, NULL));
	g_assert_true(g_file_get_contents(copy, &text, &len, NULL));
	/* One byte of a key in the index: the table says something else. */
	char *found = memmem(text, len, "name of item 77", strlen("name of item 77"));

	g_assert_nonnull(found);
	found[8] = 'x';
	g_assert_true(g_file_set_contents(copy, text, (gssize)len, NULL));
	g_assert_false(db_check_file(copy, NULL, &schema, &damaged));
	g_assert_error(damaged, POM_ERROR, POM_ERR_STORE_REFUSED);
}

/* Somebody reads for long, as a backup does: the log grows, and commits go on without waiting for him each time. */
static void test_long_reader(struct fixture *f, gconstpointer data)
{
	g_autoptr(sqlite3) reader = NULL;
	int64_t began, slowest = 0, waited = 0;

	insert(f->db, "first", 1);
	g_assert_cmpint(sqlite3_open(f->url + strlen("sqlite:"), &reader), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM item", NULL, NULL, NULL), ==, SQLITE_OK);
	/* Past the bound of the log, and as far again. */
	for (int i = 0; i < 100; i++) {
		g_autofree char *prefix = g_strdup_printf("r%d-", i);

		began = g_get_monotonic_time();
		fill(f->db, prefix, 1, 1 << 20);
		int64_t took = g_get_monotonic_time() - began;

		slowest = MAX(slowest, took);
		waited += took > 400000 ? took : 0;
	}
	g_test_message("slowest commit %d ms, in slow ones %d ms", (int)(slowest / 1000), (int)(waited / 1000));
	g_assert_cmpint(waited, <, 4000000);
	g_assert_cmpint(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(count(f->db), ==, 101);
}

/* More than the WAL's bound is written, so that both kinds of checkpoint run. */
static void test_checkpoint(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < 40; i++) {
		g_autofree char *name = g_strdup_printf("big%d", i);
		g_autoptr(db_batch) batch = db_batch_new(NULL);

		db_batch_add(batch, BIG, db_text(name), db_int(2 << 20));
		g_assert_cmpint(db_run(f->db, batch, NULL), ==, DB_DONE);
	}
	g_assert_cmpint(count(f->db), ==, 40);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/db/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("values", test_values);
	ADD("expect", test_expect);
	ADD("groups", test_groups);
	ADD("schema", test_schema);
	ADD("statement-check", test_statement_check);
	ADD("copy", test_copy);
	ADD("copy-canceled", test_copy_canceled);
	ADD("copy-refused", test_copy_refused);
	ADD("long-reader", test_long_reader);
	ADD("checkpoint", test_checkpoint);
	return g_test_run();
}
