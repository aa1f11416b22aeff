/* What every driver does alike: runs on each engine. */
#include <pthread.h>
#include <string.h>

#include "db/test_fixture.h"

static void test_values(struct fixture *f, gconstpointer data)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	size_t len;

	g_assert_cmpint(item_insert(f->db, "a", INT64_MIN), ==, DB_DONE);
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

/* NULL, empty and every byte come back as they were given, in values of one statement and of the next. */
static void test_bytes(struct fixture *f, gconstpointer data)
{
	char all[256];
	const struct { const char *name; struct db_value value; } rows[] = {
		{"null", db_null('b')}, {"empty", db_blob("", 0)}, {"zero", db_blob("\0", 1)}, {"all", db_blob(all, sizeof(all))}, {"", db_blob("of the empty name", 17)},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 '\\\" % $1 ?", db_blob("x", 1)},
	};
	g_autoptr(db_batch) write = db_batch_new(NULL), read = db_batch_new(NULL);

	for (unsigned i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		db_batch_add(write, INSERT, db_text(rows[i].name), db_int(i % 2 ? INT64_MAX : -(int64_t)i), rows[i].value);
		db_batch_add(read, GET, db_text(rows[i].name));
	}
	g_assert_cmpint(db_run(f->db, write, NULL), ==, DB_DONE);
	g_assert_cmpint(db_run(f->db, read, NULL), ==, DB_DONE);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		size_t len = 99;
		const void *found = db_get_blob(read, i, 0, 2, &len);

		g_assert_cmpuint(db_rows(read, i), ==, 1);
		g_assert_cmpstr(db_get_text(read, i, 0, 0), ==, rows[i].name);
		g_assert_cmpint(db_get_int(read, i, 0, 1), ==, i % 2 ? INT64_MAX : -(int64_t)i);
		g_assert_true(db_is_null(read, i, 0, 2) == rows[i].value.is_null);
		if (!rows[i].value.is_null)
			g_assert_cmpmem(found, len, rows[i].value.data, rows[i].value.len);
	}
}

static void test_large(struct fixture *f, gconstpointer data)
{
	enum { LEN = 10 << 20 };
	g_autofree uint8_t *bytes = g_malloc(LEN);
	g_autoptr(db_batch) write = db_batch_new(NULL), read = db_batch_new(NULL);
	size_t len;

	for (unsigned i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 24);
	db_batch_add(write, INSERT, db_text("large"), db_int(1), db_blob(bytes, LEN));
	db_batch_add(write, INSERT, db_text("small"), db_int(2), db_blob("s", 1));
	db_batch_add(write, INSERT, db_text("large too"), db_int(3), db_blob(bytes, LEN));
	g_assert_cmpint(db_run(f->db, write, NULL), ==, DB_DONE);
	db_batch_add(read, GET, db_text("large"));
	db_batch_add(read, GET, db_text("large too"));
	db_batch_add(read, GET, db_text("small"));
	g_assert_cmpint(db_run(f->db, read, NULL), ==, DB_DONE);
	for (unsigned i = 0; i < 2; i++) {
		const void *found = db_get_blob(read, i, 0, 2, &len);

		g_assert_true(len == LEN && !memcmp(found, bytes, LEN));
	}
	g_assert_cmpint(db_get_int(read, 2, 0, 1), ==, 2);
}

static void test_expect(struct fixture *f, gconstpointer data)
{
	g_autoptr(db_batch) batch = db_batch_new("k");
	g_autoptr(GError) error = NULL;

	item_insert(f->db, "a", 1);
	db_batch_add(batch, INSERT, db_text("b"), db_int(1), db_null('b'));
	db_batch_add(batch, BUMP, db_text("a"), db_int(7));
	g_assert_cmpint(db_run(f->db, batch, &error), ==, DB_CONFLICT);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_cmpint(item_count(f->db), ==, 1);
	g_assert_cmpint(item_insert(f->db, "a", 1), ==, DB_CONFLICT);
	g_autoptr(db_batch) good = db_batch_new("k");
	db_batch_add(good, BUMP, db_text("a"), db_int(1));
	g_assert_cmpint(db_run(f->db, good, NULL), ==, DB_DONE);
	g_assert_cmpint(db_get_int(good, 0, 0, 0), ==, 2);
	g_autoptr(db_batch) none = db_batch_new(NULL);
	db_batch_add(none, ABSENT, db_text("a"));
	g_assert_cmpint(db_run(f->db, none, NULL), ==, DB_CONFLICT);
	/* What must not be there, and is not, gives no row. */
	g_autoptr(db_batch) absent = db_batch_new(NULL);
	db_batch_add(absent, ABSENT, db_text("nobody"));
	db_batch_add_values(absent, COUNT, NULL, 0);
	g_assert_cmpint(db_run(f->db, absent, NULL), ==, DB_DONE);
	g_assert_cmpuint(db_rows(absent, 0), ==, 0);
	g_assert_cmpint(db_get_int(absent, 1, 0, 0), ==, 1);
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
		enum db_outcome outcome = i % 4 == 3 ? item_insert(load->db, "shared", i) : item_insert(load->db, name, i);

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
	g_assert_cmpint(item_count(f->db), ==, done);
}

struct counter {
	struct db *db;
	int n_done;
};

static void *counter_main(void *data)
{
	struct counter *counter = data;

	for (int i = 0; i < 20; i++) {
		g_autoptr(GError) error = NULL;
		enum db_outcome outcome = item_bump(counter->db, "counter", item_get(counter->db, "counter"), &error);

		g_assert_true(outcome == DB_DONE || outcome == DB_CONFLICT);
		if (outcome == DB_CONFLICT)
			g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
		counter->n_done += outcome == DB_DONE;
	}
	return NULL;
}

/* 64 threads, of two processes where the engine is shared, raise one number: it is raised as often as they were told. */
static void test_compare_and_set(struct fixture *f, gconstpointer data)
{
	struct db *other = db_is_shared(f->db) ? fixture_open(f) : f->db;
	struct counter counters[64];
	pthread_t threads[64];
	int done = 0;

	g_assert_true(db_is_shared(f->db) == (test_database_engine() == DB_POSTGRES));
	item_insert(f->db, "counter", 0);
	for (int i = 0; i < 64; i++) {
		counters[i] = (struct counter){.db = i % 2 ? other : f->db};
		pthread_create(&threads[i], NULL, counter_main, &counters[i]);
	}
	for (int i = 0; i < 64; i++) {
		pthread_join(threads[i], NULL);
		done += counters[i].n_done;
	}
	g_assert_cmpint(done, >, 0);
	g_assert_cmpint(item_get(f->db, "counter"), ==, done);
	if (other != f->db)
		db_close(other);
}

/* The token of the dialect is nothing to an engine with one process, and is there on the other: see postgres_driver_test.c. */
static void test_claim(struct fixture *f, gconstpointer data)
{
	for (unsigned round = 0; round < 2; round++) {
		g_autoptr(db_batch) batch = db_batch_new(NULL);

		for (const char *name = "abc"; !round && *name; name++)
			g_assert_cmpint(item_insert(f->db, (const char[]){*name, 0}, 7), ==, DB_DONE);
		db_batch_add(batch, CLAIM, db_int(7), db_int(2));
		g_assert_cmpint(db_run(f->db, batch, NULL), ==, DB_DONE);
		g_assert_cmpuint(db_rows(batch, 0), ==, round ? 1 : 2);
	}
}

static void test_schema(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct db_config old = f->config;

	item_insert(f->db, "a", 1);
	db_close(f->db);
	old.n_migrations = 1;
	f->db = db_open(&old, &error);
	g_assert_null(f->db);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_SCHEMA);
	g_clear_error(&error);
	f->db = db_open(&f->config, &error);
	g_assert_no_error(error);
	g_assert_cmpint(item_count(f->db), ==, 1);
}

static void test_statement_check(struct fixture *f, gconstpointer data)
{
	/* The first ones are SQLite's part: a text that it takes is nearer to what both engines understand. */
	enum { ON_BOTH = 3 };
	static const struct db_statement bad[] = {
		{"gap", "tt", "i", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $2"},
		{"cast", "t", "i", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $1::text"},
		{"mode", "t", "", DB_EXPECT_ANY, DB_READ, "DELETE FROM item WHERE name = $1"},
		{"columns", "t", "it", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $1"},
		{"syntax", "", "", DB_EXPECT_ANY, DB_READ, "SELEKT"},
		{"parameters", "", "i", DB_EXPECT_ANY, DB_READ, "SELECT n FROM item WHERE name = $1"},
	};

	for (unsigned i = test_database_engine() == DB_SQLITE ? 0 : ON_BOTH; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct db_config config = f->config;

		config.statements = &bad[i];
		config.n_statements = 1;
		g_assert_null(db_open(&config, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_STORE_REFUSED);
		g_assert_nonnull(strstr(error->message, bad[i].name));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/db/" name, struct fixture, NULL, fixture_set_up, fn, fixture_tear_down)
	ADD("values", test_values);
	ADD("bytes", test_bytes);
	ADD("large", test_large);
	ADD("expect", test_expect);
	ADD("groups", test_groups);
	ADD("compare-and-set", test_compare_and_set);
	ADD("schema", test_schema);
	ADD("statement-check", test_statement_check);
	ADD("claim", test_claim);
	return g_test_run();
}
