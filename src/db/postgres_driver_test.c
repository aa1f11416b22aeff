/* What only PostgreSQL can do to us: groups in which one fails, connections that end at the wrong moment, deadlocks, hints, rows that others hold. A second connection stands for what others do, a proxy for the
 * network. Run by tests/with_postgres.sh. */
#include <errno.h>
#include <glib/gstdio.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/metric.h"
#include "db/postgres.h"
#include "db/test_fixture.h"

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

enum cut {
	PASS,
	CUT_ANSWER,  /* once: what the server answers to the next message is lost, with the connection */
	CUT_REQUEST, /* once: the next message is lost, with the connection */
	REFUSE,      /* nothing gets through, and nobody can connect */
};

struct proxy {
	char *dir, *url;
	struct sockaddr_un from, to;
	int listener;
	pthread_t thread;
	enum cut cut; /* atomic */
	bool ending;  /* atomic */
};

struct pair { int client, server; bool has_asked; };

static void close_pair(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
	pair->client = pair->server = -1;
}

static void accept_pair(struct proxy *proxy, struct pair *pair)
{
	*pair = (struct pair){accept(proxy->listener, NULL, NULL), socket(AF_UNIX, SOCK_STREAM, 0), false};
	if (__atomic_load_n(&proxy->cut, __ATOMIC_SEQ_CST) == REFUSE || connect(pair->server, (struct sockaddr *)&proxy->to, sizeof(proxy->to)))
		close_pair(pair);
}

/* What has come on one side; false: the pair is closed. */
static bool pass(struct proxy *proxy, struct pair *pair, bool from_client)
{
	char buffer[65536];
	ssize_t n = read(from_client ? pair->client : pair->server, buffer, sizeof(buffer));
	enum cut once = from_client ? CUT_REQUEST : CUT_ANSWER, cut = __atomic_load_n(&proxy->cut, __ATOMIC_SEQ_CST);

	pair->has_asked |= from_client && cut == CUT_ANSWER;
	if (n <= 0 || cut == REFUSE)
		return false;
	if (cut == once && (from_client || pair->has_asked)) {
		__atomic_store_n(&proxy->cut, PASS, __ATOMIC_SEQ_CST);
		return false;
	}
	for (ssize_t done = 0, more; done < n; done += more)
		if ((more = write(from_client ? pair->server : pair->client, buffer + done, (size_t)(n - done))) <= 0)
			return false;
	return true;
}

static void *proxy_main(void *data)
{
	enum { PAIRS = 32 };
	struct proxy *proxy = data;
	struct pair pairs[PAIRS];
	unsigned n = 0;

	while (!__atomic_load_n(&proxy->ending, __ATOMIC_SEQ_CST)) {
		struct pollfd fds[1 + 2 * PAIRS] = {{.fd = proxy->listener, .events = POLLIN}};
		bool refuses = __atomic_load_n(&proxy->cut, __ATOMIC_SEQ_CST) == REFUSE;

		for (unsigned i = 0; i < n; i++) {
			if (refuses && pairs[i].client >= 0)
				close_pair(&pairs[i]);
			fds[1 + 2 * i] = (struct pollfd){.fd = pairs[i].client, .events = POLLIN};
			fds[2 + 2 * i] = (struct pollfd){.fd = pairs[i].server, .events = POLLIN};
		}
		poll(fds, 1 + 2 * n, 10);
		for (unsigned i = 0; i < 2 * n; i++)
			if (fds[1 + i].revents && pairs[i / 2].client >= 0 && !pass(proxy, &pairs[i / 2], i % 2 == 0))
				close_pair(&pairs[i / 2]);
		for (unsigned i = 0; i < n;)
			if (pairs[i].client < 0)
				pairs[i] = pairs[--n];
			else
				i++;
		if (fds[0].revents && n < PAIRS)
			accept_pair(proxy, &pairs[n++]);
	}
	for (unsigned i = 0; i < n; i++)
		close_pair(&pairs[i]);
	return NULL;
}

/* The value of "host" in the cluster's URL: the folder of its socket. */
static char *cluster_dir(void)
{
	g_autoptr(GRegex) regex = g_regex_new("[?&]host=([^&]*)", 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	g_assert_true(g_regex_match(regex, g_getenv("POMONA_TEST_POSTGRES"), 0, &match));
	return g_match_info_fetch(match, 1);
}

static void proxy_start(struct proxy *proxy, const struct fixture *f)
{
	g_autofree char *dir = cluster_dir();
	g_autoptr(GString) url = g_string_new(f->url);

	*proxy = (struct proxy){.dir = g_dir_make_tmp("pomona-proxy-XXXXXX", NULL), .from = {AF_UNIX, ""}, .to = {AF_UNIX, ""}};
	g_snprintf(proxy->from.sun_path, sizeof(proxy->from.sun_path), "%s/.s.PGSQL.5432", proxy->dir);
	g_snprintf(proxy->to.sun_path, sizeof(proxy->to.sun_path), "%s/.s.PGSQL.5432", dir);
	g_string_replace(url, dir, proxy->dir, 1);
	proxy->url = g_strdup(url->str);
	proxy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	g_assert_cmpint(bind(proxy->listener, (struct sockaddr *)&proxy->from, sizeof(proxy->from)), ==, 0);
	g_assert_cmpint(listen(proxy->listener, 64), ==, 0);
	g_assert_cmpint(pthread_create(&proxy->thread, NULL, proxy_main, proxy), ==, 0);
}

static void proxy_end(struct proxy *proxy)
{
	__atomic_store_n(&proxy->ending, true, __ATOMIC_SEQ_CST);
	pthread_join(proxy->thread, NULL);
	close(proxy->listener);
	g_unlink(proxy->from.sun_path);
	g_rmdir(proxy->dir);
	g_free(proxy->dir);
	g_free(proxy->url);
}

static struct db *proxy_open(const struct proxy *proxy, const struct fixture *f)
{
	struct fixture behind = *f;

	behind.config.url = proxy->url;
	return fixture_open(&behind);
}

static void set_cut(struct proxy *proxy, enum cut cut)
{
	__atomic_store_n(&proxy->cut, cut, __ATOMIC_SEQ_CST);
}

/* The connection ends while the answer to a commit is on its way, or the commit itself: nobody knows, and it is said. */
static void test_outcome_unknown(struct fixture *f, gconstpointer data)
{
	struct proxy proxy;
	g_autoptr(GError) error = NULL;
	struct db *db;

	proxy_start(&proxy, f);
	db = proxy_open(&proxy, f);
	g_assert_cmpint(item_insert(db, "before", 1), ==, DB_DONE);
	g_assert_cmpint(item_get(db, "before"), ==, 1);
	set_cut(&proxy, CUT_ANSWER);
	g_assert_cmpint(item_insert(db, "done", 1), ==, DB_UNKNOWN);
	g_assert_cmpint(item_get(f->db, "done"), ==, 1);
	g_assert_cmpint(item_insert(db, "done", 1), ==, DB_CONFLICT);
	set_cut(&proxy, CUT_REQUEST);
	g_assert_cmpint(item_bump(db, "before", 1, &error), ==, DB_UNKNOWN);
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_UNKNOWN);
	g_assert_cmpint(item_get(f->db, "before"), ==, 1);
	g_assert_cmpint(item_bump(db, "before", 1, NULL), ==, DB_DONE);
	/* What only reads is asked again. */
	set_cut(&proxy, CUT_ANSWER);
	g_assert_cmpint(item_get(db, "before"), ==, 2);
	set_cut(&proxy, CUT_REQUEST);
	g_assert_cmpint(item_get(db, "before"), ==, 2);
	db_close(db);
	proxy_end(&proxy);
}

static void test_away_and_back(struct fixture *f, gconstpointer data)
{
	int64_t began_us, until_us;
	enum db_outcome outcome;
	struct proxy proxy;
	struct db *db;

	proxy_start(&proxy, f);
	db = proxy_open(&proxy, f);
	g_assert_cmpint(item_insert(db, "a", 1), ==, DB_DONE);
	set_cut(&proxy, REFUSE);
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
	set_cut(&proxy, PASS);
	until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
	while ((outcome = item_bump(db, "a", 1, NULL)) == DB_AWAY) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(10000);
	}
	g_assert_cmpint(outcome, ==, DB_DONE);
	db_close(db);
	proxy_end(&proxy);
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
	ADD("ended-connections", test_ended_connections);
	ADD("outcome-unknown", test_outcome_unknown);
	ADD("away-and-back", test_away_and_back);
	ADD("hints", test_hints);
	ADD("opened-by-many", test_opened_by_many);
	ADD("unfit", test_unfit);
	ADD("nobody-there", test_nobody_there);
	return g_test_run();
}
