/* What only PostgreSQL can do to us: groups in which one fails, connections that end at the wrong moment, deadlocks, hints, rows that others hold. A second connection stands for what others do, a proxy for the
 * network. Run by tests/with_postgres.sh. */
#include <libpq-fe.h>
#include <pthread.h>
#include <string.h>

#include "base/metric.h"
#include "db/postgres.h"
#include "db/test_fixture.h"
#include "db/test_proxy.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PGconn, PQfinish)

enum { LIMIT_S = 60 };

/* ---- somebody else */

static void say(PGconn *pg, const char *sql)
{
	PGresult *result = PQexec(pg, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		g_error("%s: %s", sql, PQerrorMessage(pg));
	PQclear(result);
}

/* The name of the database of a URL. transfer full. */
static char *name_of(const char *url)
{
	g_auto(GStrv) parts = g_strsplit(url, "?", 2);

	return g_strdup(strrchr(parts[0], '/') + 1);
}

static PGconn *other(const struct fixture *f)
{
	PGconn *pg = PQconnectdb(f->url);

	g_assert_cmpint(PQstatus(pg), ==, CONNECTION_OK);
	return pg;
}

/* Waits until SQL, which selects one number, gives at least N. */
static void wait_for(const struct fixture *f, const char *sql, int64_t n)
{
	int64_t until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;

	while (test_database_get(f->url, sql) < n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(2000);
	}
}

#define BLOCKED "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
#define OURS "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'pomona'"

static enum db_outcome block(struct db *db, const char *first, const char *second)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, BLOCK, db_text(first));
	if (second)
		db_batch_add(batch, BLOCK, db_text(second));
	return db_run(db, batch, NULL);
}

struct worker {
	pthread_t thread;
	struct db *db;
	const char *name, *second;
	struct db_batch *batch;
	int times;
	enum db_outcome outcome;
};

static void *block_main(void *data)
{
	struct worker *worker = data;

	worker->outcome = DB_DONE;
	for (int i = 0; i < worker->times && worker->outcome == DB_DONE; i++)
		worker->outcome = block(worker->db, worker->name, worker->second);
	return NULL;
}

static void *insert_main(void *data)
{
	struct worker *worker = data;

	worker->outcome = item_insert(worker->db, worker->name, 1);
	return NULL;
}

/* ---- groups */

/* Both connections wait for a row that somebody holds; what comes meanwhile becomes one group. */
static void test_one_fails_of_a_group(struct fixture *f, gconstpointer data)
{
	enum { N = 24 };
	g_autoptr(PGconn) pg = other(f);
	int64_t saved = 0;

	item_insert(f->db, "gate", 0);
	item_insert(f->db, "taken", 0);
	/* The threads may come too late to meet; not for ever. */
	for (int round = 0; saved < 1; round++) {
		int64_t groups = pom_metric_get(POM_METRIC_STORE_GROUPS, NULL), batches = pom_metric_get(POM_METRIC_STORE_BATCHES, NULL);
		struct worker gates[PG_WRITERS], workers[N];
		char names[N][32];

		g_assert_cmpint(round, <, 20);
		say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
		for (unsigned i = 0; i < PG_WRITERS; i++) {
			gates[i] = (struct worker){.db = f->db, .name = "gate", .times = 1};
			pthread_create(&gates[i].thread, NULL, block_main, &gates[i]);
		}
		wait_for(f, BLOCKED, PG_WRITERS);
		for (unsigned i = 0; i < N; i++) {
			g_snprintf(names[i], sizeof(names[i]), "%d-%u", round, i);
			/* Some are there already. */
			workers[i] = (struct worker){.db = f->db, .name = i % 8 == 3 ? "taken" : names[i]};
			pthread_create(&workers[i].thread, NULL, insert_main, &workers[i]);
		}
		g_usleep(20000);
		say(pg, "COMMIT");
		for (unsigned i = 0; i < PG_WRITERS; i++)
			pthread_join(gates[i].thread, NULL);
		for (unsigned i = 0; i < N; i++) {
			pthread_join(workers[i].thread, NULL);
			g_assert_cmpint(workers[i].outcome, ==, i % 8 == 3 ? DB_CONFLICT : DB_DONE);
			g_assert_cmpint(item_get(f->db, names[i]), ==, i % 8 == 3 ? -1 : 1);
		}
		groups = pom_metric_get(POM_METRIC_STORE_GROUPS, NULL) - groups;
		batches = pom_metric_get(POM_METRIC_STORE_BATCHES, NULL) - batches;
		g_assert_cmpint(batches, ==, N + PG_WRITERS);
		saved = batches - groups;
	}
}

/* Our batch has one row and waits for another, whose holder waits for the first: the engine fails ours, the driver tries it again, and both come through. */
static void test_deadlocks_end(struct fixture *f, gconstpointer data)
{
	g_autofree char *name = name_of(f->url), *sql = g_strdup_printf("ALTER DATABASE \"%s\" SET deadlock_timeout = '500ms'", name);
	g_autoptr(PGconn) pg = NULL;
	bool was_ours = false;
	int round;

	test_database_exec(f->url, sql);
	item_insert(f->db, "a", 0);
	item_insert(f->db, "b", 0);
	test_database_get(f->url, "SELECT count(pg_terminate_backend(pid, 10000)) " OURS);
	pg = other(f);
	/* The engine fails whoever looks first after the ring has closed; on a slow machine that may be the other. */
	for (round = 0; !was_ours; round++) {
		struct worker worker = {.db = f->db, .name = "a", .second = "b", .times = 1};
		PGresult *result;

		g_assert_cmpint(round, <, 20);
		say(pg, "SET deadlock_timeout = '10s'; BEGIN; UPDATE item SET n = n WHERE name = 'b'");
		pthread_create(&worker.thread, NULL, block_main, &worker);
		wait_for(f, BLOCKED, 1);
		result = PQexec(pg, "UPDATE item SET n = n WHERE name = 'a'");
		was_ours = PQresultStatus(result) == PGRES_COMMAND_OK;
		PQclear(result);
		say(pg, "COMMIT");
		pthread_join(worker.thread, NULL);
		g_assert_cmpint(worker.outcome, ==, DB_DONE);
	}
	g_assert_cmpint(item_get(f->db, "a"), ==, round);
	g_assert_cmpint(item_get(f->db, "b"), ==, round);
}

static void test_rows_that_others_hold_are_skipped(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);
	g_autoptr(db_batch) first = db_batch_new(NULL), second = db_batch_new(NULL);

	for (const char *name = "abc"; *name; name++)
		item_insert(f->db, (const char[]){*name, 0}, 7);
	say(pg, "BEGIN; SELECT 1 FROM item WHERE name = 'a' FOR UPDATE");
	db_batch_add(first, CLAIM, db_int(7), db_int(1));
	g_assert_cmpint(db_run(f->db, first, NULL), ==, DB_DONE);
	g_assert_cmpuint(db_rows(first, 0), ==, 1);
	g_assert_cmpstr(db_get_text(first, 0, 0, 0), ==, "b");
	say(pg, "COMMIT");
	db_batch_add(second, CLAIM, db_int(7), db_int(9));
	g_assert_cmpint(db_run(f->db, second, NULL), ==, DB_DONE);
	g_assert_cmpuint(db_rows(second, 0), ==, 2);
}

/* ---- time-outs and ends */

/* As when it takes too long: nothing was done, and it may be tried again. */
static void test_a_canceled_statement(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);
	struct worker worker = {.db = f->db, .name = "gate", .times = 1};

	item_insert(f->db, "gate", 0);
	say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
	pthread_create(&worker.thread, NULL, block_main, &worker);
	wait_for(f, BLOCKED, 1);
	g_assert_cmpint(test_database_get(f->url, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"), ==, 1);
	pthread_join(worker.thread, NULL);
	g_assert_cmpint(worker.outcome, ==, DB_FULL);
	say(pg, "COMMIT");
	g_assert_cmpint(item_get(f->db, "gate"), ==, 0);
	g_assert_cmpint(block(f->db, "gate", NULL), ==, DB_DONE);
}

/* The limit of the session itself, and that it holds for what waits for a lock, too. The connection's limit is made shorter from inside: a trigger runs in the session of whoever writes. */
static void test_a_statement_that_takes_too_long(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);

	say(pg, "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	        " INSERT INTO item (name, n) SELECT 'limit', extract(epoch FROM setting::interval) * 1000 FROM (SELECT current_setting('statement_timeout') AS setting) s;"
	        " PERFORM set_config('statement_timeout', '300ms', false); RETURN NULL; END $$;"
	        "CREATE TRIGGER note AFTER UPDATE ON item FOR EACH ROW WHEN (new.name = 'quick') EXECUTE FUNCTION note()");
	item_insert(f->db, "gate", 0);
	item_insert(f->db, "quick", 0);
	g_assert_cmpint(block(f->db, "quick", NULL), ==, DB_DONE);
	g_assert_cmpint(item_get(f->db, "limit"), ==, 60000);
	say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
	/* With the same connection, for it is the only one. */
	g_assert_cmpint(item_bump(f->db, "gate", 0, NULL), ==, DB_FULL);
	say(pg, "COMMIT");
	g_assert_cmpint(item_get(f->db, "gate"), ==, 0);
	g_assert_cmpint(item_bump(f->db, "gate", 0, NULL), ==, DB_DONE);
}

static void set_patience(struct db *db, int ms)
{
	((struct pg_db *)db)->patience_us = ms * 1000;
}

static enum db_outcome insert_with_error(struct db *db, const char *name, const char *word)
{
	g_autoptr(db_batch) batch = db_batch_new(name);
	g_autoptr(GError) error = NULL;
	enum db_outcome outcome;

	db_batch_add(batch, INSERT, db_text(name), db_int(1), db_null('b'));
	outcome = db_run(db, batch, &error);
	if (outcome != DB_DONE)
		g_assert_nonnull(strstr(error->message, word));
	return outcome;
}

/* All connections wait for a row that somebody holds. What comes is told in time that nothing of it was done; what comes later still need not wait at all. The engine answers, so what runs is waited for. */
static void test_the_queue_is_left_in_time(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);
	struct worker gates[PG_WRITERS];
	int64_t began_us;

	set_patience(f->db, 2000);
	item_insert(f->db, "gate", 0);
	say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
	began_us = g_get_monotonic_time();
	for (unsigned i = 0; i < PG_WRITERS; i++) {
		gates[i] = (struct worker){.db = f->db, .name = "gate", .times = 1};
		pthread_create(&gates[i].thread, NULL, block_main, &gates[i]);
	}
	wait_for(f, BLOCKED, PG_WRITERS);
	/* On a slow machine the connections may have been busy for long enough already. */
	g_assert_cmpint(insert_with_error(f->db, "waits", g_get_monotonic_time() - began_us < G_USEC_PER_SEC ? "in time" : ""), ==, DB_AWAY);
	g_assert_cmpint(insert_with_error(f->db, "stuck", "has not answered for a while"), ==, DB_AWAY);
	/* Reads have connections of their own. */
	g_assert_cmpint(item_get(f->db, "gate"), ==, 0);
	g_usleep(1000 * 1000);
	say(pg, "COMMIT");
	for (unsigned i = 0; i < PG_WRITERS; i++) {
		pthread_join(gates[i].thread, NULL);
		g_assert_cmpint(gates[i].outcome, ==, DB_DONE);
	}
	g_assert_cmpint(item_get(f->db, "gate"), ==, PG_WRITERS);
	g_assert_cmpint(item_get(f->db, "waits"), ==, -1);
	g_assert_cmpint(item_insert(f->db, "waits", 1), ==, DB_DONE);
}

static struct db_batch *keyed(const char *key)
{
	struct db_batch *batch = db_batch_new(key);

	db_batch_add(batch, BLOCK, db_text("gate"));
	return batch;
}

static void *run_main(void *data)
{
	struct worker *worker = data;

	worker->outcome = db_run(worker->db, worker->batch, NULL);
	return NULL;
}

/* One that gave up waiting for another of its key leaves nothing behind. */
static void test_keys_are_free_again(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);
	g_autoptr(db_batch) batch = keyed("key"), again = keyed("key");
	struct worker first = {.db = f->db, .batch = batch}, second = {.db = f->db, .batch = again};
	GHashTable *busy = ((struct pg_db *)f->db)->writes.busy;

	set_patience(f->db, 500);
	item_insert(f->db, "gate", 0);
	item_insert(f->db, "other", 0);
	say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
	pthread_create(&first.thread, NULL, run_main, &first);
	wait_for(f, BLOCKED, 1);
	pthread_create(&second.thread, NULL, run_main, &second);
	/* Whoever leads meanwhile looks at all that waits. */
	for (int i = 0; i < 50; i++) {
		g_assert_cmpint(item_bump(f->db, "other", i, NULL), ==, DB_DONE);
		g_usleep(10000);
	}
	pthread_join(second.thread, NULL);
	g_assert_cmpint(second.outcome, ==, DB_AWAY);
	/* Its text in the table, not that of the one which may be freed now. */
	g_assert_true(g_hash_table_lookup(busy, "key") == batch->key);
	say(pg, "COMMIT");
	pthread_join(first.thread, NULL);
	g_assert_cmpint(first.outcome, ==, DB_DONE);
	g_assert_cmpuint(g_hash_table_size(busy), ==, 0);
	g_assert_cmpint(db_run(f->db, again, NULL), ==, DB_DONE);
	g_assert_cmpint(item_get(f->db, "gate"), ==, 2);
}

/* An idle connection that was ended is nobody's concern; one that was ended at work leaves it open what became of it. */
static void test_ended_connections(struct fixture *f, gconstpointer data)
{
	g_autoptr(PGconn) pg = other(f);
	struct worker worker = {.db = f->db, .name = "gate", .times = 1};

	item_insert(f->db, "gate", 0);
	g_assert_cmpint(item_get(f->db, "gate"), ==, 0);
	for (int i = 0; i < 3; i++) {
		g_assert_cmpint(test_database_get(f->url, "SELECT count(pg_terminate_backend(pid, 10000)) " OURS), >=, 1);
		g_assert_cmpint(block(f->db, "gate", NULL), ==, DB_DONE);
		g_assert_cmpint(item_get(f->db, "gate"), ==, i + 1);
	}
	say(pg, "BEGIN; UPDATE item SET n = n WHERE name = 'gate'");
	pthread_create(&worker.thread, NULL, block_main, &worker);
	wait_for(f, BLOCKED, 1);
	test_database_get(f->url, "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
	pthread_join(worker.thread, NULL);
	g_assert_cmpint(worker.outcome, ==, DB_UNKNOWN);
	say(pg, "COMMIT");
	g_assert_cmpint(item_get(f->db, "gate"), ==, 3);
	g_assert_cmpint(block(f->db, "gate", NULL), ==, DB_DONE);
}

/* ---- the network */

static struct db *proxy_open(struct test_proxy *proxy, const struct fixture *f)
{
	struct fixture behind = *f;

	behind.config.url = test_proxy_url(proxy);
	return fixture_open(&behind);
}

/* The connection ends while the answer to a commit is on its way, or the commit itself: nobody knows, and it is said. */
static void test_outcome_unknown(struct fixture *f, gconstpointer data)
{
	struct test_proxy *proxy = test_proxy_new(f->url);
	struct db *db = proxy_open(proxy, f);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(item_insert(db, "before", 1), ==, DB_DONE);
	g_assert_cmpint(item_get(db, "before"), ==, 1);
	test_proxy_set(proxy, TEST_CUT_ANSWER);
	g_assert_cmpint(item_insert(db, "done", 1), ==, DB_UNKNOWN);
	g_assert_cmpint(item_get(f->db, "done"), ==, 1);
	g_assert_cmpint(item_insert(db, "done", 1), ==, DB_CONFLICT);
	test_proxy_set(proxy, TEST_CUT_REQUEST);
	g_assert_cmpint(item_bump(db, "before", 1, &error), ==, DB_UNKNOWN);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_UNKNOWN);
	g_assert_cmpint(item_get(f->db, "before"), ==, 1);
	g_assert_cmpint(item_bump(db, "before", 1, NULL), ==, DB_DONE);
	/* What only reads is asked again. */
	test_proxy_set(proxy, TEST_CUT_ANSWER);
	g_assert_cmpint(item_get(db, "before"), ==, 2);
	test_proxy_set(proxy, TEST_CUT_REQUEST);
	g_assert_cmpint(item_get(db, "before"), ==, 2);
	db_close(db);
	test_proxy_free(proxy);
}

static void *bump_main(void *data)
{
	struct worker *worker = data;

	worker->outcome = item_bump(worker->db, worker->name, 1, NULL);
	return NULL;
}

/* Its processes stand still, and the kernel answers for them: whoever waits is told so soon, not when the longest statement would have ended. What was sent may be done later. */
static void test_a_frozen_engine(struct fixture *f, gconstpointer data)
{
	struct test_proxy *proxy = test_proxy_new(f->url);
	g_autofree char *url = g_strconcat(test_proxy_url(proxy), "&connect_timeout=2", NULL);
	struct fixture behind = *f;
	struct worker worker = {.name = "a"};
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	int64_t began_us, until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
	enum db_outcome outcome;
	struct db *db;

	behind.config.url = url;
	db = worker.db = fixture_open(&behind);
	set_patience(db, 300);
	g_assert_cmpint(item_insert(db, "a", 1), ==, DB_DONE);
	g_assert_cmpint(item_get(db, "a"), ==, 1);
	test_proxy_set(proxy, TEST_FREEZE);
	g_usleep(50 * 1000);
	began_us = g_get_monotonic_time();
	pthread_create(&worker.thread, NULL, bump_main, &worker);
	/* Repeated, for it only reads; then nobody is there. */
	db_batch_add(batch, GET, db_text("a"));
	g_assert_cmpint(db_run(db, batch, NULL), ==, DB_AWAY);
	pthread_join(worker.thread, NULL);
	g_assert_cmpint(worker.outcome, ==, DB_UNKNOWN);
	g_assert_cmpint(g_get_monotonic_time() - began_us, <, LIMIT_S / 2 * G_USEC_PER_SEC);
	test_proxy_set(proxy, TEST_PASS);
	wait_for(f, "SELECT n FROM item WHERE name = 'a'", 2);
	while ((outcome = item_bump(db, "a", 2, NULL)) == DB_AWAY) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(10000);
	}
	g_assert_cmpint(outcome, ==, DB_DONE);
	db_close(db);
	test_proxy_free(proxy);
}

static void test_away_and_back(struct fixture *f, gconstpointer data)
{
	struct test_proxy *proxy = test_proxy_new(f->url);
	struct db *db = proxy_open(proxy, f);
	int64_t began_us, until_us;
	enum db_outcome outcome;

	g_assert_cmpint(item_insert(db, "a", 1), ==, DB_DONE);
	test_proxy_set(proxy, TEST_REFUSE);
	outcome = item_bump(db, "a", 1, NULL);
	g_assert_true(outcome == DB_UNKNOWN || outcome == DB_AWAY);
	began_us = g_get_monotonic_time();
	for (int i = 0; i < 50; i++) {
		g_autoptr(db_batch) batch = db_batch_new(NULL);
		g_autoptr(GError) error = NULL;

		db_batch_add(batch, i % 2 ? BUMP : BY_NAME, db_text("a"), db_int(1));
		g_assert_cmpint(db_run(db, batch, &error), ==, DB_AWAY);
		g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
	}
	/* Nobody waits for what is known to be away. */
	g_assert_cmpint(g_get_monotonic_time() - began_us, <, LIMIT_S * G_USEC_PER_SEC / 4);
	test_proxy_set(proxy, TEST_PASS);
	until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
	while ((outcome = item_bump(db, "a", 1, NULL)) == DB_AWAY) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(10000);
	}
	g_assert_cmpint(outcome, ==, DB_DONE);
	db_close(db);
	test_proxy_free(proxy);
}

/* ---- hints */

struct ear {
	pthread_mutex_t lock;
	GString *heard; /* words, each with a space; "?" when some may be missed */
};

static void hear(void *ctx, const char *word)
{
	struct ear *ear = ctx;

	pthread_mutex_lock(&ear->lock);
	g_string_append_printf(ear->heard, "%s ", word ? word : "?");
	pthread_mutex_unlock(&ear->lock);
}

static void wait_heard(struct ear *ear, const char *text)
{
	int64_t until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
	bool found = false;

	while (!found) {
		pthread_mutex_lock(&ear->lock);
		found = strstr(ear->heard->str, text) != NULL;
		pthread_mutex_unlock(&ear->lock);
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(1000);
	}
}

static enum db_outcome insert_with_hint(struct db *db, const char *name, const char *word)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, INSERT, db_text(name), db_int(1), db_null('b'));
	db_batch_hint(batch, word);
	return db_run(db, batch, NULL);
}

static void test_hints(struct fixture *f, gconstpointer data)
{
	struct ear ears[2];
	struct db *dbs[2];

	for (unsigned i = 0; i < 2; i++) {
		pthread_mutex_init(&ears[i].lock, NULL);
		ears[i].heard = g_string_new("");
		dbs[i] = fixture_open(f);
		db_listen(dbs[i], hear, &ears[i]);
		wait_heard(&ears[i], "? ");
	}
	g_assert_cmpint(insert_with_hint(dbs[0], "a", "ca"), ==, DB_DONE);
	/* What was not committed is not told. */
	g_assert_cmpint(insert_with_hint(dbs[1], "a", "nothing"), ==, DB_CONFLICT);
	g_assert_cmpint(insert_with_hint(dbs[1], "b", "profiles"), ==, DB_DONE);
	for (unsigned i = 0; i < 2; i++) {
		wait_heard(&ears[i], "profiles ");
		g_assert_cmpstr(ears[i].heard->str, ==, "? ca profiles ");
	}
	/* Who was away may have missed some, and is told so. */
	test_database_get(f->url, "SELECT count(pg_terminate_backend(pid, 10000)) " OURS);
	for (unsigned i = 0; i < 2; i++)
		wait_heard(&ears[i], "profiles ? ");
	g_assert_cmpint(insert_with_hint(f->db, "c", "again"), ==, DB_DONE);
	for (unsigned i = 0; i < 2; i++) {
		wait_heard(&ears[i], "again ");
		db_close(dbs[i]);
		g_string_free(ears[i].heard, TRUE);
		pthread_mutex_destroy(&ears[i].lock);
	}
}

/* ---- opening */

static void *open_main(void *data)
{
	return fixture_open(data);
}

/* Several processes begin at once on an empty database: one brings up the schema, the others find it. */
static void test_opened_by_many(struct fixture *f, gconstpointer data)
{
	struct fixture empty = *f;
	pthread_t threads[8];
	void *db;

	empty.url = test_database_new(NULL);
	empty.config.url = empty.url;
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_create(&threads[i], NULL, open_main, &empty);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
		pthread_join(threads[i], &db);
		g_assert_cmpint(item_count(db), ==, 0);
		db_close(db);
	}
	test_database_free(empty.url);
}

static void test_unfit(struct fixture *f, gconstpointer data)
{
	static const struct { const char *make, *word; } cases[] = {
		{"CREATE DATABASE \"%s\" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'", "UTF8"},
		{"CREATE DATABASE \"%s\" TEMPLATE template0; ALTER DATABASE \"%s\" SET default_transaction_read_only = on", "only for reading"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *url = test_database_new(NULL), *name = name_of(url);
		g_autoptr(GString) sql = g_string_new(cases[i].make);
		struct db_config config = f->config;
		g_autoptr(PGconn) pg = other(f);
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) steps = NULL;

		g_string_replace(sql, "%s", name, 0);
		g_string_prepend(sql, "DROP DATABASE \"%s\";");
		g_string_replace(sql, "%s", name, 0);
		/* None of them may be in a transaction with others. */
		steps = g_strsplit(sql->str, ";", -1);
		for (unsigned s = 0; steps[s]; s++)
			say(pg, steps[s]);
		config.url = url;
		g_assert_null(db_open(&config, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_STORE_UNFIT);
		g_assert_nonnull(strstr(error->message, cases[i].word));
		test_database_free(g_steal_pointer(&url));
	}
}

static void test_nobody_there(struct fixture *f, gconstpointer data)
{
	struct db_config config = f->config;
	g_autoptr(GError) error = NULL;

	config.url = "postgresql://pomona:secretword@127.0.0.1:1/pomona";
	g_assert_null(db_open(&config, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
	g_assert_nonnull(strstr(error->message, "127.0.0.1"));
	g_assert_null(strstr(error->message, "secretword"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/db-postgres/" name, struct fixture, NULL, fixture_set_up, fn, fixture_tear_down)
	ADD("one-fails-of-a-group", test_one_fails_of_a_group);
	ADD("deadlocks-end", test_deadlocks_end);
	ADD("rows-that-others-hold-are-skipped", test_rows_that_others_hold_are_skipped);
	ADD("a-canceled-statement", test_a_canceled_statement);
	ADD("a-statement-that-takes-too-long", test_a_statement_that_takes_too_long);
	ADD("the-queue-is-left-in-time", test_the_queue_is_left_in_time);
	ADD("keys-are-free-again", test_keys_are_free_again);
	ADD("ended-connections", test_ended_connections);
	ADD("outcome-unknown", test_outcome_unknown);
	ADD("a-frozen-engine", test_a_frozen_engine);
	ADD("away-and-back", test_away_and_back);
	ADD("hints", test_hints);
	ADD("opened-by-many", test_opened_by_many);
	ADD("unfit", test_unfit);
	ADD("nobody-there", test_nobody_there);
	return g_test_run();
}
