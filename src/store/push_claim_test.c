/* Claims on pushes: several nodes, each a store of its own, over one database. */
#include <string.h>

#include "db/testkit.h"
#include "store/schema.h"
#include "store/statements.h"
#include "store/store.h"

enum { N = 40, UNTIL_MS = 30000, NODES = 3 };

static const char topic[] = "com.apple.mgmt.t";
static int64_t now = 1700000000000;

static int64_t read_now(void *ctx)
{
	return now;
}

static const struct pom_clock test_clock = {read_now, NULL};

/* What no operation of the store does: rows as they are wanted, and as they are. */
enum { T_ENROLLMENT, T_EPOCH, T_COMMAND, T_ROW, T_EMPTY, T_MAX = T_EMPTY + 4 };
static const struct db_statement test_statements[T_MAX] = {
	{"enrollment", "ti", "", DB_EXPECT_ONE, DB_WRITE,
	 "INSERT INTO enrollment (id, device_id, user_part, kind, state, version, active_epoch, pending_epoch, last_epoch, created_at, authenticated_at, enrolled_at, ended_at, last_seen)"
	 " VALUES ($1, $1, '', 0, 1, 2, 1, 0, 1, $2, $2, $2, 0, $2)"},
	{"epoch", "ttb", "", DB_EXPECT_ONE, DB_WRITE,
	 "INSERT INTO epoch (enrollment_id, epoch, topic, push_token, push_magic, push_dead_at, awaiting_configuration, authenticated_at, token_at, ended_at) VALUES ($1, 1, $2, $3, 'magic', 0, 0, 0, 0, 0)"},
	{"command", "tb", "", DB_EXPECT_ONE, DB_WRITE,
	 "INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now) VALUES ($1, $1, $1, 1, 'ProfileList', $2, 0, 0, 0)"},
	{"row", "t", "ttiiiii", DB_EXPECT_ANY, DB_READ, "SELECT claim, generation, claimed_until, due_at, attempts, waiting, n_sent FROM push_outbox WHERE enrollment_id = $1"},
	{"no_enrollments", "", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM enrollment"},
	{"no_epochs", "", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM epoch"},
	{"no_commands", "", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM command"},
	{"no_pushes", "", "", DB_EXPECT_ANY, DB_WRITE, "DELETE FROM push_outbox"},
};

struct fixture {
	char *url;
	struct store *nodes[NODES];
	struct db *db;
};

static void run(struct fixture *f, struct db_batch *batch)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(db_run(f->db, batch, &error), ==, DB_DONE);
}

/* Opening what prepares all statements takes longer than the tests: the nodes are the same in all of them, and each begins with an empty database. */
static struct fixture opened;

static void open_nodes(void)
{
	g_autoptr(GError) error = NULL;
	struct db_config config = {.statements = test_statements, .n_statements = T_MAX, .n_migrations = store_n_migrations,
	                           .migrations = test_database_engine() == DB_SQLITE ? store_migrations_sqlite : store_migrations_postgres};

	config.url = opened.url = test_database_new(NULL);
	for (unsigned i = 0; i < NODES; i++) {
		opened.nodes[i] = store_open(opened.url, &test_clock, pom_random_system(), &error);
		g_assert_no_error(error);
	}
	opened.db = db_open(&config, &error);
	g_assert_no_error(error);
}

static void close_nodes(void)
{
	db_close(opened.db);
	for (unsigned i = 0; i < NODES; i++)
		store_close(opened.nodes[i]);
	test_database_free(opened.url);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	*f = opened;
	for (unsigned i = T_EMPTY; i < T_MAX; i++)
		db_batch_add_values(batch, i, NULL, 0);
	run(f, batch);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
}

/* An enrollment that takes commands, and for which one waits. */
static void add_device(struct fixture *f, const char *id)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, T_ENROLLMENT, db_text(id), db_int(now));
	db_batch_add(batch, T_EPOCH, db_text(id), db_text(topic), db_blob("token", 5));
	db_batch_add(batch, T_COMMAND, db_text(id), db_blob("x", 1));
	run(f, batch);
}

/* N of them, each due a millisecond after the one before. */
static void add_devices(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *id = g_strdup_printf("e%03u", i);

		add_device(f, id);
		g_assert_true(store_push_ask(f->nodes[0], id, now + i, NULL));
	}
	now += n;
}

struct row { char claim[40], generation[40]; int64_t until_ms, due_ms, attempts, waiting, n_sent; bool is_there; };

static struct row read_row(struct fixture *f, const char *id)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	struct row row = {.is_there = false};

	db_batch_add(batch, T_ROW, db_text(id));
	run(f, batch);
	if (!db_rows(batch, 0))
		return row;
	g_strlcpy(row.claim, db_get_text(batch, 0, 0, 0), sizeof(row.claim));
	g_strlcpy(row.generation, db_get_text(batch, 0, 0, 1), sizeof(row.generation));
	row.until_ms = db_get_int(batch, 0, 0, 2);
	row.due_ms = db_get_int(batch, 0, 0, 3);
	row.attempts = db_get_int(batch, 0, 0, 4);
	row.waiting = db_get_int(batch, 0, 0, 5);
	row.n_sent = db_get_int(batch, 0, 0, 6);
	row.is_there = true;
	return row;
}

/* The ids of what NODE claims under ID, with commas. transfer full. */
static char *claim(struct fixture *f, unsigned node, const char *id, int64_t n, int64_t n_urgent)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_claim(f->nodes[node], &(struct push_claim){topic, id, now + UNTIL_MS, n, n_urgent}, now, &load, &error);
	GString *text = g_string_new(NULL);

	g_assert_no_error(error);
	for (guint i = 0; i < rows->len; i++) {
		const struct push_row *row = &g_array_index(rows, struct push_row, i);

		g_assert_cmpstr(row->claim, ==, id);
		g_assert_cmpstr(row->topic, ==, topic);
		g_assert_cmpstr(row->push_magic, ==, "magic");
		g_assert_true(row->wanted);
		g_string_append_printf(text, "%s%s%s", i ? "," : "", row->enrollment_id, row->urgent ? "!" : "");
	}
	return g_string_free(text, FALSE);
}

static void check_claim(struct fixture *f, unsigned node, const char *id, int64_t n, int64_t n_urgent, const char *wanted)
{
	g_autofree char *got = claim(f, node, id, n, n_urgent);

	g_assert_cmpstr(got, ==, wanted);
}

static void release(struct fixture *f, const char *enrollment_id, const char *id)
{
	g_assert_true(store_push_release(f->nodes[0], &(struct push_hold){(char *)(uintptr_t)enrollment_id, (char *)(uintptr_t)id}, 1, NULL));
}

static bool renew(struct fixture *f, const char *enrollment_id, const char *id, int64_t until_ms)
{
	bool held;

	g_assert_true(store_push_renew(f->nodes[1], &(struct push_hold){(char *)(uintptr_t)enrollment_id, (char *)(uintptr_t)id}, 1, until_ms, &held, NULL));
	return held;
}

static void test_each_has_its_own(struct fixture *f, gconstpointer data)
{
	int64_t due_ms;

	add_devices(f, 5);
	/* Asked for by hand they are urgent. */
	check_claim(f, 0, "a", 2, 0, "e000!,e001!");
	check_claim(f, 1, "b", 2, 0, "e002!,e003!");
	g_assert_true(store_push_free_since(f->nodes[2], topic, now, &due_ms, NULL));
	g_assert_cmpint(due_ms, ==, now - 1);
	check_claim(f, 2, "c", 2, 0, "e004!");
	check_claim(f, 0, "d", 2, 2, "");
	g_assert_true(store_push_free_since(f->nodes[2], topic, now, &due_ms, NULL));
	g_assert_cmpint(due_ms, ==, 0);
	/* The same again, as after an outcome that was not known: all of it, and what there is besides. */
	release(f, "e002", "b");
	check_claim(f, 0, "a", 2, 0, "e000!,e001!,e002!");
	/* A release counts for who has it only. */
	release(f, "e000", "b");
	check_claim(f, 1, "e", 9, 0, "");
	g_assert_true(store_push_release_claim(f->nodes[0], "a", NULL));
	g_assert_true(store_push_release_claim(f->nodes[0], "", NULL));
	check_claim(f, 1, "e", 9, 0, "e000!,e001!,e002!");
	/* When its time is over it is anybody's; renewed, it is not. */
	now += UNTIL_MS - 1;
	g_assert_true(renew(f, "e001", "e", now + UNTIL_MS));
	g_assert_false(renew(f, "e002", "a", now + UNTIL_MS));
	check_claim(f, 0, "f", 9, 0, "");
	now += 1;
	check_claim(f, 0, "f", 9, 0, "e000!,e002!,e003!,e004!");
}

static void test_urgent_ones(struct fixture *f, gconstpointer data)
{
	add_devices(f, 4);
	check_claim(f, 0, "a", 0, 2, "e002!,e003!");
	check_claim(f, 1, "b", 1, 1, "e000!,e001!");
}

/* What became of the one row e000, taken under "a". */
static void apply(struct fixture *f, enum push_result result, const char *generation, bool slow)
{
	g_autoptr(GBytes) token = g_bytes_new_static("token", 5);
	struct push_outcome o = {(char *)"e000", (char *)(uintptr_t)generation, token, 1, 1, now + 5000, now, result, .slow = slow, .at_ms = now, .detail = (char *)"d", .claim = (char *)"a"};

	g_assert_true(store_push_apply(f->nodes[0], &o, 1, NULL));
}

static void let_go(struct fixture *f)
{
	struct row row = read_row(f, "e000");

	g_assert_true(store_push_apply(f->nodes[0], &(struct push_outcome){(char *)"e000", row.generation, .result = PUSH_DONE, .claim = row.claim}, 1, NULL));
	g_assert_false(read_row(f, "e000").is_there);
}

/* The answer counts as long as the claim is that of who writes it. */
static void test_fencing(struct fixture *f, gconstpointer data)
{
	static const struct { enum push_result result; bool lost, gone; int64_t due, attempts, waiting, n_sent; } cases[] = {
		{PUSH_SENT, false, false, 5000, 0, 1, 1}, {PUSH_SENT, true, false, -1, 0, 0, 0}, {PUSH_RETRY, false, false, 5000, 1, 0, 0},
		{PUSH_RETRY, true, false, -1, 0, 0, 0},   {PUSH_DONE, false, true, 0, 0, 0, 0},  {PUSH_DONE, true, false, -1, 0, 0, 0},
	};

	add_device(f, "e000");
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct row row;

		g_assert_true(store_push_ask(f->nodes[0], "e000", now, NULL));
		now += 10000;
		check_claim(f, 0, "a", 1, 0, "e000!");
		g_assert_true(renew(f, "e000", "a", now - 1));
		if (cases[i].lost)
			check_claim(f, 1, "b", 1, 0, "e000!");
		row = read_row(f, "e000");
		apply(f, cases[i].result, row.generation, false);
		row = read_row(f, "e000");
		g_assert_cmpint(row.is_there, ==, !cases[i].gone);
		if (cases[i].gone)
			continue;
		g_assert_cmpstr(row.claim, ==, cases[i].lost ? "b" : "");
		g_assert_cmpint(row.until_ms, ==, cases[i].lost ? now + UNTIL_MS : 0);
		g_assert_cmpint(row.due_ms, ==, cases[i].due < 0 ? now - 10000 : now + cases[i].due);
		g_assert_cmpint(row.attempts, ==, cases[i].attempts);
		g_assert_cmpint(row.waiting, ==, cases[i].waiting);
		g_assert_cmpint(row.n_sent, ==, cases[i].n_sent);
		g_assert_true(store_push_release_claim(f->nodes[1], "b", NULL));
		let_go(f);
		now += 100000;
	}
}

/* What is asked for while a push is under way keeps its claim, so that nobody sends it beside, and rests when the answer is there. */
static void test_asked_for_meanwhile(struct fixture *f, gconstpointer data)
{
	static const struct { enum push_result result; bool settled; int64_t due; } cases[] = {{PUSH_SENT, false, 3000}, {PUSH_SENT, true, 3000}, {PUSH_RETRY, false, 0}, {PUSH_RETRY, true, 0}, {PUSH_DONE, true, 0}};

	add_device(f, "e000");
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct row row;

		g_assert_true(store_push_ask(f->nodes[0], "e000", now, NULL));
		check_claim(f, 0, "a", 1, 0, "e000!");
		row = read_row(f, "e000");
		/* The device was here meanwhile: the row is another one. */
		if (cases[i].settled)
			let_go(f);
		g_assert_true(store_push_ask(f->nodes[1], "e000", now, NULL));
		if (!cases[i].settled)
			check_claim(f, 1, "b", 1, 0, "");
		apply(f, cases[i].result, row.generation, false);
		row = read_row(f, "e000");
		g_assert_cmpstr(row.claim, ==, "");
		g_assert_cmpint(row.until_ms, ==, 0);
		g_assert_cmpint(row.due_ms, ==, now + cases[i].due);
		g_assert_cmpint(row.waiting, ==, 0);
		now += 100000;
		let_go(f);
	}
}

/* A device that is pushed too often: also what was asked for meanwhile waits. */
static void test_slow(struct fixture *f, gconstpointer data)
{
	struct row row;

	add_device(f, "e000");
	g_assert_true(store_push_ask(f->nodes[0], "e000", now, NULL));
	check_claim(f, 0, "a", 1, 0, "e000!");
	apply(f, PUSH_RETRY, "another", true);
	row = read_row(f, "e000");
	/* … but not what a person asks for. */
	g_assert_cmpint(row.due_ms, ==, now);
	g_assert_cmpint(row.attempts, ==, 0);
	g_assert_cmpstr(row.claim, ==, "");
}

/* ---- all at once ---- */

struct taker {
	struct fixture *f;
	unsigned node;
	GPtrArray *got; /* enrollment ids */
};

static void *take_all(void *data)
{
	struct taker *taker = data;
	unsigned none = 0;

	for (unsigned round = 0; none < 3; round++) {
		g_autofree char *id = g_strdup_printf("n%u-%u", taker->node, round), *ids = claim(taker->f, taker->node, id, 3, 1);
		g_auto(GStrv) list = g_strsplit(ids, ",", -1);

		for (char **one = list; *one; one++)
			g_ptr_array_add(taker->got, g_strdup(*one));
		none = *list ? 0 : none + 1;
	}
	return NULL;
}

static void test_all_at_once(struct fixture *f, gconstpointer data)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	struct taker takers[NODES];
	GThread *threads[NODES];

	add_devices(f, N);
	for (unsigned i = 0; i < NODES; i++) {
		takers[i] = (struct taker){f, i, g_ptr_array_new_with_free_func(g_free)};
		threads[i] = g_thread_new("taker", take_all, &takers[i]);
	}
	for (unsigned i = 0; i < NODES; i++)
		g_thread_join(threads[i]);
	for (unsigned i = 0; i < NODES; i++)
		for (guint k = 0; k < takers[i].got->len; k++)
			g_assert_true(g_hash_table_add(seen, takers[i].got->pdata[k]));
	g_assert_cmpuint(g_hash_table_size(seen), ==, N);
	g_hash_table_remove_all(seen);
	for (unsigned i = 0; i < NODES; i++)
		g_ptr_array_unref(takers[i].got);
}

int main(int argc, char **argv)
{
	int code;

	g_test_init(&argc, &argv, NULL);
	open_nodes();
	g_test_add("/push/claim/each-has-its-own", struct fixture, NULL, set_up, test_each_has_its_own, tear_down);
	g_test_add("/push/claim/urgent", struct fixture, NULL, set_up, test_urgent_ones, tear_down);
	g_test_add("/push/claim/fencing", struct fixture, NULL, set_up, test_fencing, tear_down);
	g_test_add("/push/claim/meanwhile", struct fixture, NULL, set_up, test_asked_for_meanwhile, tear_down);
	g_test_add("/push/claim/slow", struct fixture, NULL, set_up, test_slow, tear_down);
	g_test_add("/push/claim/at-once", struct fixture, NULL, set_up, test_all_at_once, tear_down);
	code = g_test_run();
	close_nodes();
	return code;
}
