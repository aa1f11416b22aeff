#include "store/node_store.h"

#include <string.h>
#include <time.h>

#include "store/store_internal.h"

enum { NODES_MAX = 1000 };

/* What the calling thread works under. */
struct lease_work {
	bool is_on, is_lost;
	char job[LEASE_JOB_MAX + 1], node[POM_ID_LEN + 1];
	int64_t fence;
};
static _Thread_local struct lease_work work;

const char *store_risks(const struct store *store)
{
	return db_risks(store->db);
}

bool store_is_shared(const struct store *store)
{
	return store->leases;
}

int64_t store_schema(void)
{
	return store_migrations_sqlite[store_n_migrations - 1].version;
}

bool store_node_beat(struct store *store, const struct node_row *node, int64_t until_ms, GArray **ret_held, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	GArray *held;

	db_batch_add(batch, Q_LEASE_RENEW, db_text(node->id), db_int(until_ms));
	db_batch_add(batch, Q_NODE_BEAT, db_text(node->id), db_text(node->name), db_text(node->address), db_text(node->version), db_int(node->schema), db_int(node->started_ms), db_int(node->seen_ms),
	             db_int(node->clock_ms), db_text(node->trouble));
	if (!store_run(store, batch, error))
		return false;
	held = g_array_new(FALSE, TRUE, sizeof(struct lease_hold));
	for (size_t i = 0; i < db_rows(batch, 0); i++) {
		struct lease_hold hold = {.fence = db_get_int(batch, 0, i, 1)};

		g_strlcpy(hold.job, db_get_text(batch, 0, i, 0), sizeof(hold.job));
		g_array_append_val(held, hold);
	}
	*ret_held = held;
	return true;
}

static struct node_row take_node(const struct db_batch *batch, unsigned i, size_t row)
{
	return (struct node_row){
		db_get_text(batch, i, row, 0), db_get_text(batch, i, row, 1), db_get_text(batch, i, row, 2), db_get_text(batch, i, row, 3), db_get_int(batch, i, row, 4), db_get_int(batch, i, row, 5),
		db_get_int(batch, i, row, 6), db_get_int(batch, i, row, 7), db_get_text(batch, i, row, 8),
	};
}

static struct lease_row take_lease(const struct db_batch *batch, unsigned i, size_t row)
{
	return (struct lease_row){db_get_text(batch, i, row, 0), db_get_text(batch, i, row, 1), db_get_int(batch, i, row, 2), db_get_int(batch, i, row, 3)};
}

/* Goes on while the process, or the machine, does not. */
static int64_t boot_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void store_look_limit(struct store *store, int64_t max_ms)
{
	atomic_store(&store->look_max_ms, max_ms);
}

/* Straight to the database: store_run refuses all on a schema that is too new. */
bool store_node_look(struct store *store, struct node_look *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	bool is_real = db_is_shared(store->db);
	int64_t began_ms = boot_ms();

	*ret = (struct node_look){0};
	db_batch_add_values(batch, Q_NODE_CLOCK, NULL, 0);
	db_batch_add(batch, Q_NODE_LIST, db_int(NODES_MAX));
	db_batch_add_values(batch, Q_LEASE_LIST, NULL, 0);
	db_batch_add_values(batch, Q_MOVE_LIST, NULL, 0);
	if (db_run(store->db, batch, error) != DB_DONE)
		return false;
	ret->now_ms = is_real ? db_get_int(batch, 0, 0, 0) : pom_clock_now_ms(store->clock);
	ret->schema = is_real ? db_get_int(batch, 0, 0, 1) : store_schema();
	ret->nodes = g_array_new(FALSE, FALSE, sizeof(struct node_row));
	ret->leases = g_array_new(FALSE, FALSE, sizeof(struct lease_row));
	for (size_t i = 0; i < db_rows(batch, 1); i++) {
		struct node_row row = take_node(batch, 1, i);

		g_array_append_val(ret->nodes, row);
	}
	for (size_t i = 0; i < db_rows(batch, 2); i++) {
		struct lease_row row = take_lease(batch, 2, i);

		g_array_append_val(ret->leases, row);
	}
	for (size_t i = 0; i < db_rows(batch, 3); i++)
		ret->is_left |= !strcmp(db_get_text(batch, 3, i, 0), "out");
	ret->load = g_steal_pointer(&batch);
	atomic_store(&store->is_left, ret->is_left);
	atomic_store(&store->newer_schema, ret->schema > store_schema() ? (int)ret->schema : 0);
	atomic_store(&store->looked_ms, began_ms);
	return true;
}

void node_look_clear(struct node_look *look)
{
	g_clear_pointer(&look->nodes, g_array_unref);
	g_clear_pointer(&look->leases, g_array_unref);
	g_clear_pointer(&look->load, store_load_free);
}

bool store_node_remove(struct store *store, const char *id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LEASE_RELEASE_ALL, db_text(id));
	db_batch_add(batch, Q_NODE_REMOVE, db_text(id));
	db_batch_hint(batch, NODE_HINT_NODES);
	return db_run(store->db, batch, error) == DB_DONE;
}

bool store_node_hint(struct store *store, const char *word, GError **error)
{
	g_autoptr(db_batch) batch = NULL;

	if (!store->leases)
		return true;
	batch = db_batch_new(NULL);
	db_batch_add_values(batch, Q_PING, NULL, 0);
	db_batch_hint(batch, word);
	return store_run(store, batch, error);
}

bool store_node_replace(struct store *store, const char *name, int64_t before_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_NODE_REPLACE, db_text(name), db_int(before_ms));
	return store_run(store, batch, error);
}

bool store_node_forget(struct store *store, int64_t before_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_NODE_FORGET, db_int(before_ms));
	return store_run(store, batch, error);
}

bool lease_is_free(const struct lease_row *lease, int64_t now_ms)
{
	return !*lease->node || lease->expires_ms <= now_ms || lease->expires_ms > now_ms + 2 * LEASE_MS_MAX;
}

bool store_leases_take(struct store *store, const char *const *jobs, size_t n, const char *node, int64_t now_ms, int64_t ttl_ms, int64_t *ret_fences, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	for (size_t i = 0; i < n; i++) {
		ret_fences[i] = store->leases ? 0 : 1;
		db_batch_add(batch, Q_LEASE_MAKE, db_text(jobs[i]));
		db_batch_add(batch, Q_LEASE_TAKE, db_text(jobs[i]), db_text(node), db_int(now_ms), db_int(now_ms + ttl_ms), db_int(now_ms + 2 * LEASE_MS_MAX));
	}
	if (!n || !store->leases)
		return true;
	if (!store_run(store, batch, error))
		return false;
	for (size_t i = 0; i < n; i++)
		ret_fences[i] = db_get_int(batch, 2 * (unsigned)i + 1, 0, 0);
	return true;
}

bool store_lease_take(struct store *store, const char *job, const char *node, int64_t now_ms, int64_t ttl_ms, int64_t *ret_fence, GError **error)
{
	return store_leases_take(store, &job, 1, node, now_ms, ttl_ms, ret_fence, error);
}

bool store_lease_release(struct store *store, const char *job, const char *node, GError **error)
{
	g_autoptr(db_batch) batch = NULL;

	if (!store->leases)
		return true;
	batch = db_batch_new(NULL);
	db_batch_add(batch, Q_LEASE_RELEASE, db_text(node), db_text(job));
	return store_run(store, batch, error);
}

void store_lease_enter(struct store *store, const char *job, const char *node, int64_t fence)
{
	g_assert(!work.is_on && strlen(job) <= LEASE_JOB_MAX && strlen(node) <= POM_ID_LEN);
	work = (struct lease_work){.is_on = store->leases, .fence = fence};
	g_strlcpy(work.job, job, sizeof(work.job));
	g_strlcpy(work.node, node, sizeof(work.node));
}

bool store_lease_leave(struct store *store)
{
	bool kept = !work.is_lost;

	work.is_on = work.is_lost = false;
	return kept;
}

void store_lease_force(struct store *store)
{
	store->leases = true;
}

bool store_check_schema(struct store *store, GError **error)
{
	int newer = atomic_load_explicit(&store->newer_schema, memory_order_relaxed);
	int64_t max_ms = atomic_load_explicit(&store->look_max_ms, memory_order_relaxed);

	if (max_ms && boot_ms() - atomic_load(&store->looked_ms) > max_ms)
		return pom_fail(error, POM_ERR_STORE_AWAY, "this node has not looked at its database for more than %" G_GINT64_FORMAT " s: it must see first whether its data is still there", max_ms / 1000);
	if (atomic_load_explicit(&store->is_left, memory_order_relaxed))
		return pom_fail(error, POM_ERR_STORE_MOVE, "the data of this database goes to another one: stop this server, and let store.url in pomona.conf name the other database");
	return !newer || pom_fail(error, POM_ERR_NODE_OLD, "the database has schema %d by now, this program knows %d at most: install the Pomona that the other nodes run, and start it again", newer, (int)store_schema());
}

static bool fail_lost(GError **error)
{
	return pom_fail(error, POM_ERR_NODE_LEASE, "the work \"%s\" has gone to another node meanwhile: nothing of it is written here any more", work.job);
}

/* At the end of the batch, for its other statements are known by their places. One that is run again has it twice, which does no harm. */
bool store_fence_add(struct store *store, struct db_batch *batch, GError **error)
{
	if (!work.is_on || db_batch_is_read(store->db, batch))
		return true;
	if (work.is_lost)
		return fail_lost(error);
	db_batch_add(batch, Q_LEASE_FENCE, db_text(work.job), db_text(work.node), db_int(work.fence));
	return true;
}

void store_fence_explain(struct store *store, GError **error)
{
	g_autoptr(db_batch) batch = NULL;

	if (!work.is_on)
		return;
	batch = db_batch_new(NULL);
	db_batch_add(batch, Q_LEASE_HELD, db_text(work.job), db_text(work.node), db_int(work.fence));
	if (db_run(store->db, batch, NULL) != DB_DONE || db_rows(batch, 0))
		return;
	work.is_lost = true;
	g_clear_error(error);
	fail_lost(error);
}

bool store_setting_keep(struct store *store, const char *name, const char *value, char **ret_value, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SETTING_KEEP, db_text(name), db_text(value));
	return store_run(store, batch, error) && store_setting_get(store, name, ret_value, error);
}
