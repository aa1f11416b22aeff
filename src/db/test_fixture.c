#include "db/test_fixture.h"

static const struct db_statement statements[FIXTURE_STATEMENTS] = {
	[INSERT] = {"insert", "tib", "", DB_EXPECT_ONE, DB_WRITE, "INSERT INTO item (name, n, data) VALUES ($1, $2, $3)"},
	[BUMP] = {"bump", "ti", "i", DB_EXPECT_ONE, DB_WRITE, "UPDATE item SET n = n + 1 WHERE name = $1 AND n = $2 RETURNING n"},
	[GET] = {"get", "t", "tib", DB_EXPECT_ANY, DB_READ, "SELECT name, n, data FROM item WHERE name = $1"},
	[COUNT] = {"count", "", "i", DB_EXPECT_ONE, DB_READ, "SELECT count(*) FROM item"},
	[REMOVE] = {"remove", "t", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM item WHERE name = $1"},
	/* Parameters are bound by their number, not by where they first stand. */
	[BY_NAME] = {"by_name", "ti", "t", DB_EXPECT_ANY, DB_READ, "SELECT name FROM item WHERE n = $2 AND name = $1"},
	[ABSENT] = {"absent", "t", "i", DB_EXPECT_NONE, DB_READ, "SELECT n FROM item WHERE name = $1"},
	/* Touches a row whatever it holds. */
	[BLOCK] = {"block", "t", "", DB_EXPECT_ANY, DB_WRITE, "UPDATE item SET n = n + 1 WHERE name = $1"},
	[CLAIM] = {"claim", "ii", "t", DB_EXPECT_ANY, DB_WRITE, "UPDATE item SET n = -1 WHERE name IN (SELECT name FROM item WHERE n = $1 ORDER BY name LIMIT $2 /*skip_locked*/) RETURNING name"},
};
static const struct db_migration sqlite_migrations[] = {
	{1, "CREATE TABLE item (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT"},
	{2, "ALTER TABLE item ADD COLUMN data BLOB"},
};
static const struct db_migration postgres_migrations[] = {
	{1, "CREATE TABLE item (name TEXT COLLATE \"C\" PRIMARY KEY, n bigint NOT NULL)"},
	{2, "ALTER TABLE item ADD COLUMN data bytea"},
};

struct db *fixture_open(const struct fixture *f)
{
	g_autoptr(GError) error = NULL;
	struct db *db = db_open(&f->config, &error);

	g_assert_no_error(error);
	return db;
}

void fixture_set_up(struct fixture *f, gconstpointer data)
{
	bool is_sqlite = test_database_engine() == DB_SQLITE;

	f->url = test_database_new(NULL);
	f->config = (struct db_config){f->url, statements, FIXTURE_STATEMENTS, is_sqlite ? sqlite_migrations : postgres_migrations, 2, NULL};
	f->db = fixture_open(f);
}

void fixture_tear_down(struct fixture *f, gconstpointer data)
{
	db_close(f->db);
	test_database_free(f->url);
}

enum db_outcome item_insert(struct db *db, const char *name, int64_t n)
{
	g_autoptr(db_batch) batch = db_batch_new(name);

	db_batch_add(batch, INSERT, db_text(name), db_int(n), db_blob("x\0y", 3));
	return db_run(db, batch, NULL);
}

enum db_outcome item_fill(struct db *db, const char *name, size_t len)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autofree char *data = g_malloc0(len);

	db_batch_add(batch, INSERT, db_text(name), db_int(0), db_blob(data, len));
	return db_run(db, batch, NULL);
}

enum db_outcome item_bump(struct db *db, const char *name, int64_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, BUMP, db_text(name), db_int(n));
	return db_run(db, batch, error);
}

int64_t item_count(struct db *db)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, COUNT, NULL, 0);
	g_assert_cmpint(db_run(db, batch, NULL), ==, DB_DONE);
	return db_get_int(batch, 0, 0, 0);
}

int64_t item_get(struct db *db, const char *name)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, GET, db_text(name));
	g_assert_cmpint(db_run(db, batch, NULL), ==, DB_DONE);
	return db_rows(batch, 0) ? db_get_int(batch, 0, 0, 1) : -1;
}
