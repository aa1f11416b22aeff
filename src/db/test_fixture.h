/* What the tests of the drivers share: a table of items, and what is done with it. */
#pragma once

#include "db/testkit.h"

enum { INSERT, BUMP, GET, COUNT, REMOVE, BY_NAME, ABSENT, BLOCK, CLAIM, FIXTURE_STATEMENTS };

/* "item": name text (the key), n integer, data blob. On the engine that is tested. */
struct fixture {
	char *url;
	struct db_config config;
	struct db *db;
};

void fixture_set_up(struct fixture *f, gconstpointer data);
void fixture_tear_down(struct fixture *f, gconstpointer data);
/* Opens the same database once more, as another process would. */
struct db *fixture_open(const struct fixture *f);

/* One row with data "x\0y". */
enum db_outcome item_insert(struct db *db, const char *name, int64_t n);
/* One row with LEN bytes. */
enum db_outcome item_fill(struct db *db, const char *name, size_t len);
/* A compare-and-set: n + 1 when it is N. */
enum db_outcome item_bump(struct db *db, const char *name, int64_t n, GError **error);
int64_t item_count(struct db *db);
/* The n of an item; -1 when there is none. */
int64_t item_get(struct db *db, const char *name);
