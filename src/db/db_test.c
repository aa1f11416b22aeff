#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "db/db.h"

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

static void test_backup(struct fixture *f, gconstpointer data)
{
	g_autofree char *copy = g_build_filename(f->dir, "copy.db", NULL);
	g_autofree char *url = g_strconcat("sqlite:", copy, NULL);
	struct db_config config = f->config;
	struct db *db;

	insert(f->db, "a", 1);
	g_assert_true(db_backup(f->db, copy, NULL));
	insert(f->db, "b", 1);
	config.url = url;
	db = db_open(&config, NULL);
	g_assert_cmpint(count(db), ==, 1);
	db_close(db);
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
	ADD("backup", test_backup);
	ADD("checkpoint", test_checkpoint);
	return g_test_run();
}
