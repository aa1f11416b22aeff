/* Two stores over one database stand for two nodes; their steps are told one by one, so that each order of events can be had. */
#include "store/node_store.h"

#include <pthread.h>

#include "db/testkit.h"

enum { TTL_MS = 20000 };

struct fixture { char *url; struct store *a, *b; };

static struct store *open_store(const char *url)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(url, pom_clock_system(), pom_random_system(), &error);

	g_assert_no_error(error);
	return store;
}

static void prepare(const char *url)
{
	store_close(open_store(url));
}

static void set_up(struct fixture *f, gconstpointer data)
{
	f->url = test_database_new(prepare);
	f->a = open_store(f->url);
	f->b = open_store(f->url);
	store_lease_force(f->a);
	store_lease_force(f->b);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	store_close(f->a);
	store_close(f->b);
	test_database_free(f->url);
}

static int64_t take(struct store *store, const char *job, const char *node, int64_t now_ms)
{
	int64_t fence;

	g_assert_true(store_lease_take(store, job, node, now_ms, TTL_MS, &fence, NULL));
	return fence;
}

static struct node_row node(const char *id, int64_t seen_ms)
{
	return (struct node_row){.id = id, .name = "host", .address = "127.0.0.1:1", .version = "1", .schema = 5, .started_ms = 1, .seen_ms = seen_ms, .trouble = ""};
}

/* Each step: who asks for the lease when, and the number that comes of it. */
static void test_take(struct fixture *f, gconstpointer data)
{
	static const struct { const char *node; int64_t now_ms, fence; } steps[] = {
		{"A", 1000, 1},                {"B", 1000, 0},
		{"B", 1000 + TTL_MS - 1, 0},   /* still A's */
		{"A", 5000, 1},                /* again: it lasts longer */
		{"B", 1000 + TTL_MS, 0},       {"B", 5000 + TTL_MS, 2},
		{"A", 5000 + TTL_MS, 0},       {"A", 5000 + 2 * TTL_MS, 3},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++)
		g_assert_cmpint(take(*steps[i].node == 'A' ? f->a : f->b, "job", steps[i].node, steps[i].now_ms), ==, steps[i].fence);
	/* The clock was an hour ahead when it was taken, and the holder has died. */
	g_assert_cmpint(take(f->a, "job", "A", 5000 + 3 * TTL_MS + 3600000), ==, 3);
	g_assert_cmpint(take(f->b, "job", "B", 5000 + 3 * TTL_MS), ==, 4);
	/* Another job is another lease. */
	g_assert_cmpint(take(f->b, "other", "B", 1000), ==, 1);
}

static void test_release(struct fixture *f, gconstpointer data)
{
	g_assert_cmpint(take(f->a, "job", "A", 1000), ==, 1);
	g_assert_true(store_lease_release(f->b, "job", "B", NULL));
	g_assert_cmpint(take(f->b, "job", "B", 1000), ==, 0);
	g_assert_true(store_lease_release(f->a, "job", "A", NULL));
	g_assert_cmpint(take(f->b, "job", "B", 1000), ==, 2);
	/* It went through no other hands, but what was decided before it was given up must not be written either. */
	g_assert_true(store_lease_release(f->b, "job", "B", NULL));
	g_assert_cmpint(take(f->b, "job", "B", 1000), ==, 3);
}

static bool put(struct store *store, const char *value, GError **error)
{
	return store_setting_put(store, "test", value, error);
}

static void assert_value(struct store *store, const char *value)
{
	g_autofree char *got = NULL;

	g_assert_true(store_setting_get(store, "test", &got, NULL));
	g_assert_cmpstr(got, ==, value);
}

/* The other node, in a thread of its own: a lease is a thread's. */
static void *take_over(void *data)
{
	struct fixture *f = data;

	g_assert_cmpint(take(f->b, "job", "B", 1000 + TTL_MS), ==, 2);
	store_lease_enter(f->b, "job", "B", 2);
	g_assert_true(put(f->b, "b", NULL));
	g_assert_true(store_lease_leave(f->b));
	return NULL;
}

/* A node is stopped while it works, another one takes over, and the first goes on. */
static void test_fence(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL, again = NULL;
	pthread_t thread;
	bool found;

	store_lease_enter(f->a, "job", "A", take(f->a, "job", "A", 1000));
	g_assert_true(put(f->a, "a1", NULL));
	pthread_create(&thread, NULL, take_over, f);
	pthread_join(thread, NULL);
	g_assert_false(put(f->a, "a2", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NODE_LEASE);
	assert_value(f->a, "b");
	/* All that comes after it is refused, too, and is no mere "not found". */
	g_assert_false(store_token_revoke(f->a, "none", 1, &found, &again));
	g_assert_error(again, POM_ERROR, POM_ERR_NODE_LEASE);
	g_assert_false(store_lease_leave(f->a));
	/* Outside of the lease it may write. */
	g_assert_true(put(f->a, "a3", NULL));
	assert_value(f->b, "a3");
}

/* A conflict of another kind stays what it is, and the lease is kept. */
static void test_conflict(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	store_lease_enter(f->a, "job", "A", take(f->a, "job", "A", 1000));
	g_assert_false(store_generation_drop(f->a, "none", 1, NULL, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_true(put(f->a, "a", NULL));
	g_assert_true(store_lease_leave(f->a));
}

static void test_nodes(struct fixture *f, gconstpointer data)
{
	struct node_row a = node("A", 1000), b = node("B", 2000);
	g_autoptr(GArray) held = NULL, none = NULL, other = NULL;
	struct node_look look, rest;
	const struct node_row *first;

	g_assert_true(store_node_beat(f->a, &a, 1000 + TTL_MS, &none, NULL));
	g_assert_cmpuint(none->len, ==, 0);
	take(f->a, "y", "A", 1000);
	take(f->a, "x", "A", 1000);
	a.seen_ms = 3000;
	a.clock_ms = -70;
	a.trouble = "late";
	g_assert_true(store_node_beat(f->a, &a, 3000 + TTL_MS, &held, NULL));
	g_assert_cmpuint(held->len, ==, 2);
	g_assert_true(store_node_beat(f->b, &b, 1, &other, NULL));
	/* The beat has renewed them. */
	g_assert_cmpint(take(f->b, "x", "B", 2999 + TTL_MS), ==, 0);
	g_assert_true(store_node_look(f->b, &look, NULL));
	g_assert_cmpuint(look.nodes->len, ==, 2);
	first = &g_array_index(look.nodes, struct node_row, 0);
	g_assert_cmpstr(first->id, ==, "A");
	g_assert_cmpint(first->seen_ms, ==, 3000);
	g_assert_cmpint(first->clock_ms, ==, -70);
	g_assert_cmpstr(first->trouble, ==, "late");
	/* A clean end: nobody has to wait. */
	g_assert_true(store_node_remove(f->a, "A", NULL));
	g_assert_cmpint(take(f->b, "x", "B", 3000), ==, 2);
	b.id = "C";
	b.seen_ms = 2500;
	g_clear_pointer(&other, g_array_unref);
	g_assert_true(store_node_beat(f->b, &b, 1, &other, NULL));
	g_assert_true(store_node_replace(f->b, "another", 3000, NULL));
	g_assert_true(store_node_replace(f->b, "host", 2500, NULL));
	g_assert_true(store_node_forget(f->a, 2500, NULL));
	g_assert_true(store_node_look(f->a, &rest, NULL));
	g_assert_cmpuint(rest.nodes->len, ==, 1);
	g_assert_cmpstr(g_array_index(rest.nodes, struct node_row, 0).id, ==, "C");
	g_assert_cmpuint(rest.leases->len, ==, 2);
	g_assert_cmpstr(g_array_index(rest.leases, struct lease_row, 0).node, ==, "B");
	g_assert_cmpstr(g_array_index(rest.leases, struct lease_row, 1).node, ==, "");
	g_assert_cmpint(rest.schema, ==, store_schema());
	node_look_clear(&look);
	node_look_clear(&rest);
}

/* Many threads of both nodes ask at once: one of them gets it. */
struct racer { struct store *store; char node[8]; int64_t fence; pthread_t thread; };

static void *race(void *data)
{
	struct racer *racer = data;

	g_assert_true(store_lease_take(racer->store, "race", racer->node, 1000, TTL_MS, &racer->fence, NULL));
	return NULL;
}

static void test_race(struct fixture *f, gconstpointer data)
{
	struct racer racers[8] = {0};
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(racers); i++) {
		racers[i].store = i % 2 ? f->a : f->b;
		g_snprintf(racers[i].node, sizeof(racers[i].node), "%u", i);
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(racers); i++) {
		pthread_join(racers[i].thread, NULL);
		n += racers[i].fence != 0;
	}
	g_assert_cmpuint(n, ==, 1);
}

static void test_keep(struct fixture *f, gconstpointer data)
{
	g_autofree char *first = NULL, *second = NULL;

	g_assert_true(store_setting_keep(f->a, "kept", "1", &first, NULL));
	g_assert_true(store_setting_keep(f->b, "kept", "2", &second, NULL));
	g_assert_cmpstr(first, ==, "1");
	g_assert_cmpstr(second, ==, "1");
}

/* One process alone: always granted, and nothing is written. */
static void test_alone(void)
{
	struct fixture f = {.url = test_database_new(prepare)};
	struct node_look look;

	f.a = open_store(f.url);
	g_assert_false(store_is_shared(f.a));
	g_assert_cmpint(take(f.a, "job", "A", 1000), >, 0);
	store_lease_enter(f.a, "job", "A", 7);
	g_assert_true(put(f.a, "a", NULL));
	g_assert_true(store_lease_leave(f.a));
	g_assert_true(store_node_look(f.a, &look, NULL));
	g_assert_cmpuint(look.leases->len, ==, 0);
	g_assert_cmpint(look.now_ms, >, 1700000000000);
	node_look_clear(&look);
	tear_down(&f, NULL);
}

/* A newer program has migrated the database: nothing is read or written any more until it is as it was. */
static void test_newer_schema(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct node_look look;

	g_assert_cmpint(test_database_exec(f->url, "UPDATE pomona_schema SET version = version + 1"), ==, 1);
	g_assert_true(store_node_look(f->a, &look, NULL));
	g_assert_cmpint(look.schema, ==, store_schema() + 1);
	node_look_clear(&look);
	g_assert_false(put(f->a, "a", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NODE_OLD);
	g_assert_true(store_node_remove(f->a, "A", NULL));
	g_assert_cmpint(test_database_exec(f->url, "UPDATE pomona_schema SET version = version - 1"), ==, 1);
	g_assert_true(store_node_look(f->a, &look, NULL));
	node_look_clear(&look);
	g_assert_true(put(f->a, "a", NULL));
}

/* Who has not looked for too long may find that nothing is here any more: looks first. */
static void test_stale_look(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct node_look look;
	bool ok = false;

	g_assert_true(store_node_look(f->a, &look, NULL));
	node_look_clear(&look);
	g_usleep(20 * 1000);
	g_assert_true(put(f->a, "a", NULL));
	store_look_limit(f->a, 5);
	g_assert_false(put(f->a, "b", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_AWAY);
	store_look_limit(f->a, 60 * 1000);
	g_assert_true(put(f->a, "c", NULL));
	/* A look makes it good again; on a slow machine another one is needed. */
	store_look_limit(f->a, 200);
	for (int i = 0; i < 100 && !ok; i++) {
		g_usleep(i ? 0 : 300 * 1000);
		g_assert_true(store_node_look(f->a, &look, NULL));
		node_look_clear(&look);
		ok = put(f->a, "d", NULL);
	}
	g_assert_true(ok);
	store_look_limit(f->a, 0);
	g_usleep(300 * 1000);
	g_assert_true(put(f->a, "e", NULL));
}

/* The engine's clock, as the statement itself reads it. */
static void test_clock(struct fixture *f, gconstpointer data)
{
	int64_t before_ms = g_get_real_time() / 1000;
	struct node_look look;

	g_assert_true(store_node_look(f->a, &look, NULL));
	g_assert_cmpint(look.now_ms, >=, before_ms);
	g_assert_cmpint(look.now_ms, <=, g_get_real_time() / 1000);
	node_look_clear(&look);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add(name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("/node/take", test_take);
	ADD("/node/release", test_release);
	ADD("/node/fence", test_fence);
	ADD("/node/conflict", test_conflict);
	ADD("/node/nodes", test_nodes);
	ADD("/node/race", test_race);
	ADD("/node/keep", test_keep);
	ADD("/node/clock", test_clock);
	ADD("/node/stale-look", test_stale_look);
	if (test_database_engine() == DB_SQLITE)
		g_test_add_func("/node/alone", test_alone);
	else
		ADD("/node/newer-schema", test_newer_schema);
	return g_test_run();
}
