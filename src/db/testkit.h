/* Databases for tests, of the engine that is tested: POMONA_TEST_STORE is sqlite (also when it is not set) or postgres, which needs the URL of a cluster's database
 * "postgres" in POMONA_TEST_POSTGRES (tests/with_postgres.sh). Everything here aborts when it cannot do what is asked. One thread. */
#pragma once

#include "db/db.h"

enum db_engine test_database_engine(void);

/* The URL of a fresh database, transfer full. With PREPARE it is a copy of one that PREPARE has been given, once in this process: bringing up a schema takes longer than
 * copying it. PREPARE must leave nothing open. */
char *test_database_new(void (*prepare)(const char *url));
/* Removes the database at URL, whoever has it open, and frees URL. NULL is fine. */
void test_database_free(char *url);

/* A database as the one at URL would be found if the process that has it open died now; transfer full. That process must not be writing; it cannot write to URL afterwards on an engine that is shared. */
char *test_database_crash(const char *url);
/* What a person with the tools of the engine does: runs SQL (one or more statements) and tells how many rows the last one has changed, or -1 when a rule of the schema forbids it. */
int test_database_exec(const char *url, const char *sql);
/* The one integer that SQL selects. */
int64_t test_database_get(const char *url, const char *sql);
