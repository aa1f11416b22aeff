/* What inserts a row once, over a connection that ends at the wrong moment: whether it was done is found out, and what is not known is never called undone. PostgreSQL behind a proxy; SQLite loses nothing. */
#include <string.h>

#include "db/test_proxy.h"
#include "store/store_internal.h"

struct fixture {
	char *url;
	struct test_proxy *proxy;
	struct store *store;
};

static void prepare(const char *url)
{
	store_close(store_open(url, pom_clock_system(), pom_random_system(), NULL));
}

static int64_t count(const struct fixture *f, const char *what)
{
	g_autofree char *sql = g_strdup_printf("SELECT count(*) FROM %s", what);

	return test_database_get(f->url, sql);
}

/* A token with its audit entry. HASH: 32 of this. */
static bool add(struct fixture *f, const char *id, char hash, GError **error)
{
	uint8_t bytes[32];

	memset(bytes, hash, sizeof(bytes));
	return store_token_add(f->store, id, "test", bytes, false, 1, &(struct audit_entry){.actor = "test", .action = "token.new", .object = id}, error);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	f->url = test_database_new(prepare);
	f->proxy = test_proxy_new(f->url);
	f->store = store_open(test_proxy_url(f->proxy), pom_clock_system(), pom_random_system(), NULL);
	g_assert_nonnull(f->store);
	/* From here on there is a connection, with what it needs prepared. */
	g_assert_true(add(f, "first", 'f', NULL));
	g_assert_true(store_ping(f->store, NULL));
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	store_close(f->store);
	test_proxy_free(f->proxy);
	test_database_free(f->url);
}

/* Whether the answer was lost or the question: it is there, once, with one audit entry. */
static void test_done_in_the_end(struct fixture *f, gconstpointer data)
{
	static const enum test_cut cuts[] = {TEST_CUT_ANSWER, TEST_CUT_REQUEST};

	for (unsigned i = 0; i < G_N_ELEMENTS(cuts); i++) {
		g_autofree char *id = g_strdup_printf("id-%u", i);
		g_autoptr(GError) error = NULL;

		test_proxy_set(f->proxy, cuts[i]);
		g_assert_true(add(f, id, (char)('0' + i), &error));
		g_assert_no_error(error);
	}
	g_assert_cmpint(count(f, "api_token WHERE id LIKE 'id-%'"), ==, 2);
	g_assert_cmpint(count(f, "audit_pending WHERE object LIKE 'id-%'"), ==, 2);
}

/* A conflict is one when nothing was lost before it. */
static void test_a_conflict(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(add(f, "first", 'x', &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_cmpint(count(f, "api_token"), ==, 1);
}

/* The question was lost, and when it is asked again somebody else has what it wants: that there is a conflict does not mean that it was done. */
static void test_a_conflict_with_another(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	test_proxy_set(f->proxy, TEST_CUT_REQUEST);
	g_assert_false(add(f, "mine", 'f', &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_cmpint(count(f, "api_token WHERE id = 'mine'"), ==, 0);
}

/* Away from the beginning: nothing was done, and that is known. */
static void test_away(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	test_proxy_set(f->proxy, TEST_REFUSE);
	/* Of the first it is not known: its connection ends under it. */
	g_assert_false(add(f, "lost", 'l', NULL));
	g_assert_false(add(f, "away", 'a', &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
}

/* Done, the answer lost, and the database away after that for as long as is tried. */
static void test_unknown_to_the_end(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	int64_t began_us = g_get_monotonic_time();

	test_proxy_set(f->proxy, TEST_CUT_ANSWER_AND_REFUSE);
	g_assert_false(add(f, "done", 'd', &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_UNKNOWN);
	g_assert_cmpint(count(f, "api_token WHERE id = 'done'"), ==, 1);
	/* It was tried for a while. */
	g_assert_cmpint(g_get_monotonic_time() - began_us, >, G_USEC_PER_SEC);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/store/once/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("done-in-the-end", test_done_in_the_end);
	ADD("a-conflict", test_a_conflict);
	ADD("a-conflict-with-another", test_a_conflict_with_another);
	ADD("away", test_away);
	ADD("unknown-to-the-end", test_unknown_to_the_end);
	return g_test_run();
}
