/* What only SQLite has: copies of the file, and a log that is taken up into it. */
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#include "db/test_fixture.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3, sqlite3_close)

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
		g_assert_cmpint(item_insert(watch->write_to, name, 1), ==, DB_DONE);
	return ++watch->n_calls <= watch->n_allowed;
}

static void fill(struct db *db, const char *prefix, int n, size_t bytes)
{
	for (int i = 0; i < n; i++) {
		g_autofree char *name = g_strdup_printf("%s%d", prefix, i);

		g_assert_cmpint(item_fill(db, name, bytes), ==, DB_DONE);
	}
}

/* A name beside the database. */
static char *beside(const struct fixture *f, const char *name)
{
	g_autofree char *dir = g_path_get_dirname(f->url + strlen("sqlite:"));

	return g_build_filename(dir, name, NULL);
}

/* The copy is what was there when it began, though every step of it sees another commit. */
static void test_copy(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = beside(f, "copy.db"), *url = g_strconcat("sqlite:", copy, NULL);
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
	g_assert_cmpint(item_count(f->db), ==, 16 + watch.n_calls);
	schema = 0;
	g_assert_true(db_check_file(copy, &check, &schema, &error));
	g_assert_cmpint(schema, ==, 2);
	config.url = url;
	db = db_open(&config, NULL);
	g_assert_cmpint(item_count(db), ==, 16);
	db_close(db);
	g_assert_false(db_copy(f->url, copy, NULL, &schema, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_IO);
}

static void test_copy_canceled(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = beside(f, "copy.db");
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
	g_autofree char *copy = beside(f, "copy.db"), *none = beside(f, "none.db"), *missing = g_strconcat("sqlite:", none, NULL), *text = NULL;
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

		g_assert_cmpint(item_insert(f->db, name, i), ==, DB_DONE);
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

	item_insert(f->db, "first", 1);
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
	g_assert_cmpint(item_count(f->db), ==, 101);
}

/* More than the WAL's bound is written, so that both kinds of checkpoint run. */
static void test_checkpoint(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < 40; i++) {
		g_autofree char *name = g_strdup_printf("big%d", i);

		g_assert_cmpint(item_fill(f->db, name, 2 << 20), ==, DB_DONE);
	}
	g_assert_cmpint(item_count(f->db), ==, 40);
}

/* On a disk, not in memory: what syncs cost is part of it. */
static void set_up(struct fixture *f, gconstpointer data)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-db-XXXXXX", NULL);

	fixture_set_up(f, data);
	db_close(f->db);
	test_database_free(f->url);
	f->url = g_strdup_printf("sqlite:%s/s.db", dir);
	f->config.url = f->url;
	f->db = fixture_open(f);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = beside(f, "copy.db"), *wal = beside(f, "copy.db-wal"), *shm = beside(f, "copy.db-shm");

	g_unlink(copy);
	g_unlink(wal);
	g_unlink(shm);
	fixture_tear_down(f, data);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/db-sqlite/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("copy", test_copy);
	ADD("copy-canceled", test_copy_canceled);
	ADD("copy-refused", test_copy_refused);
	ADD("long-reader", test_long_reader);
	ADD("checkpoint", test_checkpoint);
	return g_test_run();
}
