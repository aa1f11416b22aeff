/* Who is told when the database goes and comes back, on a database that is there all the time: the outcomes are told by hand. */
#include <string.h>

#include "db/testkit.h"
#include "store/store_internal.h"

struct fixture { char *url; struct store *store; unsigned n_gone, n_back; };

static void prepare(const char *url)
{
	store_close(store_open(url, pom_clock_system(), pom_random_system(), NULL));
}

static void told(void *ctx, const GError *why)
{
	struct fixture *f = ctx;

	if (why)
		f->n_gone++;
	else
		f->n_back++;
}

static void set_up(struct fixture *f, gconstpointer data)
{
	f->url = test_database_new(prepare);
	f->store = store_open(f->url, pom_clock_system(), pom_random_system(), NULL);
	g_assert_nonnull(f->store);
	store_watch(f->store, told, f);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	store_close(f->store);
	test_database_free(f->url);
}

static void note(struct fixture *f, enum db_outcome outcome)
{
	g_autoptr(GError) error = NULL;

	pom_fail(&error, POM_ERR_STORE_AWAY, "out of reach");
	store_away_note(f->store, outcome, outcome == DB_DONE ? NULL : error);
}

static void test_each_outcome(struct fixture *f, gconstpointer data)
{
	static const struct { enum db_outcome outcome; bool is_away; } cases[] = {
		{DB_DONE, false}, {DB_CONFLICT, false}, {DB_REFUSED, false}, {DB_FULL, false}, {DB_UNKNOWN, true}, {DB_AWAY, true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		note(f, cases[i].outcome);
		g_assert_cmpint(store_is_away(f->store), ==, cases[i].is_away);
	}
	g_assert_cmpuint(f->n_gone, ==, 1);
}

static void test_once_in_turn(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < 3; i++) {
		int64_t started_us = g_get_monotonic_time();

		note(f, DB_AWAY);
		/* Another connection still answers: that is no return. */
		g_assert_true(store_ping(f->store, NULL));
		if (g_get_monotonic_time() - started_us >= G_USEC_PER_SEC) {
			g_test_skip("this machine is too slow to tell");
			return;
		}
	}
	g_assert_true(f->n_gone == 1 && f->n_back == 0 && store_is_away(f->store));
	g_assert_false(store_is_reachable(f->store, 60000, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
	g_assert_nonnull(strstr(error->message, "out of reach"));
	g_usleep(1100 * 1000);
	g_assert_true(store_ping(f->store, NULL));
	g_assert_true(f->n_gone == 1 && f->n_back == 1 && !store_is_away(f->store));
	g_assert_true(store_is_reachable(f->store, 60000, NULL));
	note(f, DB_UNKNOWN);
	g_assert_true(f->n_gone == 2 && store_is_away(f->store));
}

static void test_silence(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(store_ping(f->store, NULL));
	g_usleep(30 * 1000);
	g_assert_false(store_is_reachable(f->store, 10, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
	g_assert_true(store_ping(f->store, NULL) && store_is_reachable(f->store, 60000, NULL));
	g_assert_cmpuint(f->n_gone, ==, 0);
}

static void test_unknown_stays(void)
{
	static const struct { enum pom_error code; bool unknown; enum pom_error wanted; } cases[] = {
		{POM_ERR_STORE_AWAY, true, POM_ERR_STORE_UNKNOWN}, {POM_ERR_STORE_AWAY, false, POM_ERR_STORE_AWAY},
		{POM_ERR_STORE_CONFLICT, true, POM_ERR_STORE_CONFLICT}, {POM_ERR_STORE_UNKNOWN, true, POM_ERR_STORE_UNKNOWN},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		pom_fail(&error, cases[i].code, "why");
		store_keep_unknown(cases[i].unknown, &error);
		g_assert_cmpint(error->code, ==, cases[i].wanted);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/store/away/each-outcome", struct fixture, NULL, set_up, test_each_outcome, tear_down);
	g_test_add("/store/away/once-in-turn", struct fixture, NULL, set_up, test_once_in_turn, tear_down);
	g_test_add("/store/away/silence", struct fixture, NULL, set_up, test_silence, tear_down);
	g_test_add_func("/store/away/unknown-stays", test_unknown_stays);
	return g_test_run();
}
