/* The fleet: groups of queries, orders, the end of enrollments, blocked devices, inventory. */
#include "store/fleet_store.h"

#include <string.h>

#include "store/store_internal.h"

enum { TRIES = 8 };

static GPtrArray *texts(struct store *store, struct db_batch *batch, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) owned = batch;
	GPtrArray *all;

	if (!store_run(store, batch, error))
		return NULL;
	all = g_ptr_array_new();
	for (size_t i = 0; i < db_rows(batch, 0); i++)
		g_ptr_array_add(all, (void *)(uintptr_t)db_get_text(batch, 0, i, 0));
	*ret_load = g_steal_pointer(&owned);
	return all;
}

/* ---- lists that devices report ---- */

static void take_fact_list(const struct db_batch *b, size_t row, void *out)
{
	*(struct fact_list_row *)out = (struct fact_list_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_int(b, 0, row, 2), db_get_int(b, 0, row, 3), db_get_int(b, 0, row, 4)};
}

bool store_fact_list_get(struct store *store, const char *enrollment_id, const char *name, struct fact_list_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_FACT_LIST_GET, db_text(enrollment_id), db_text(name));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	take_fact_list(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

GArray *store_fact_list_names(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_FACT_LIST_NAMES, db_text(enrollment_id));
	return store_list(store, batch, sizeof(struct fact_list_row), take_fact_list, ret_load, error);
}

bool store_command_body(struct store *store, const char *uuid, GBytes **ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_FLEET_COMMAND_BODY, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_bytes(batch, 0, 0, 0);
	return true;
}

/* ---- devices by page ---- */

GArray *store_fleet_page(struct store *store, enum fleet_source source, const char *key, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	if (source == FLEET_ALL)
		db_batch_add(batch, Q_FLEET_PAGE, db_text(after), db_int(limit));
	else
		db_batch_add(batch, source == FLEET_GROUP ? Q_FLEET_PAGE_GROUP : Q_FLEET_PAGE_ORDER, db_text(key), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct enrollment_row), store_take_enrollment, ret_load, error);
}

bool store_fleet_count(struct store *store, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_FLEET_COUNT, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_fleet_values(struct store *store, const char *const *facts, const char *const *attributes, const char *from, const char *to, GHashTable **ret_facts, GHashTable **ret_attributes, store_load **ret_load,
                        GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	unsigned n_facts = 0, i = 0;

	for (; facts[n_facts]; n_facts++)
		db_batch_add(batch, Q_FLEET_FACTS, db_text(from), db_text(to), db_text(facts[n_facts]));
	for (const char *const *name = attributes; *name; name++)
		db_batch_add(batch, Q_FLEET_ATTRIBUTES, db_text(from), db_text(to), db_text(*name));
	if (db_batch_count(batch) && !store_run(store, batch, error))
		return false;
	*ret_facts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	*ret_attributes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	for (; i < n_facts; i++)
		for (size_t row = 0; row < db_rows(batch, i); row++)
			g_hash_table_insert(*ret_facts, g_strconcat(db_get_text(batch, i, row, 0), "/", facts[i], NULL), (void *)(uintptr_t)db_get_text(batch, i, row, 1));
	for (; i < db_batch_count(batch); i++)
		for (size_t row = 0; row < db_rows(batch, i); row++)
			g_hash_table_insert(*ret_attributes, g_strconcat(db_get_text(batch, i, row, 0), "/", attributes[i - n_facts], NULL), db_get_bytes(batch, i, row, 1));
	*ret_load = g_steal_pointer(&batch);
	return true;
}

/* ---- groups of queries ---- */

void store_batch_query_device(struct store *store, struct db_batch *batch, const char *enrollment_id)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_QUERY_WORK_ADD_DEVICE, db_text(id.text), db_text(enrollment_id));
}

bool store_query_group_add(struct store *store, const char *name, const char *query, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_QUERY_GROUP_ADD, db_text(name), db_int(now_ms), db_text(query));
	db_batch_add(batch, Q_QUERY_WORK_ADD, db_text(id.text), db_text(name));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_query_group_set(struct store *store, const char *name, const char *query, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_QUERY_GROUP_SET, db_text(name), db_text(query));
	db_batch_add(batch, Q_QUERY_WORK_ADD, db_text(id.text), db_text(name));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_query_group(const struct db_batch *b, size_t row, void *out)
{
	*(struct query_group *)out = (struct query_group){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1)};
}

GArray *store_query_groups(struct store *store, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_QUERY_GROUPS, db_int(limit));
	return store_list(store, batch, sizeof(struct query_group), take_query_group, ret_load, error);
}

GPtrArray *store_query_members(struct store *store, const char *group, const char *after, const char *upto, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_QUERY_MEMBERS, db_text(group), db_text(after), db_text(upto));
	return texts(store, batch, ret_load, error);
}

static void take_query_work(const struct db_batch *b, size_t row, void *out)
{
	*(struct query_work *)out = (struct query_work){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3)};
}

GArray *store_query_work(struct store *store, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_QUERY_WORK_LIST, db_int(limit));
	return store_list(store, batch, sizeof(struct query_work), take_query_work, ret_load, error);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each once, in order. */
static void hold_groups(struct db_batch *batch, const struct query_change *changes, size_t n)
{
	g_autofree const char **names = g_new(const char *, n + 1);

	for (size_t i = 0; i < n; i++)
		names[i] = changes[i].group;
	qsort(names, n, sizeof(*names), compare_texts);
	for (size_t i = 0; i < n; i++)
		if (!i || strcmp(names[i], names[i - 1]))
			db_batch_add(batch, Q_QUERY_GROUP_HOLD, db_text(names[i]));
}

static int compare_changes(const void *a, const void *b)
{
	return strcmp((*(const struct query_change *const *)a)->enrollment_id, (*(const struct query_change *const *)b)->enrollment_id);
}

bool store_query_apply(struct store *store, const struct query_change *changes, size_t n, const char *work_id, const char *after, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (size_t i = 0; i < n; i++)
		g_ptr_array_add(sorted, (void *)(uintptr_t)&changes[i]);
	g_ptr_array_sort(sorted, compare_changes);
	db_batch_spans(batch);
	hold_groups(batch, changes, n);
	for (size_t i = 0; i < n; i++) {
		const struct query_change *c = g_ptr_array_index(sorted, i);

		db_batch_add(batch, Q_ENROLLMENT_HOLD, db_text(c->enrollment_id));
		if (c->member)
			db_batch_add(batch, Q_QUERY_MEMBER_ADD, db_text(c->group), db_text(c->enrollment_id), db_int(now_ms), db_text(c->query));
		else
			db_batch_add(batch, Q_QUERY_MEMBER_REMOVE, db_text(c->group), db_text(c->enrollment_id), db_text(c->query));
		store_batch_library_device(store, batch, c->enrollment_id, now_ms);
	}
	if (after)
		db_batch_add(batch, Q_QUERY_WORK_MOVE, db_text(work_id), db_text(after));
	else
		db_batch_add(batch, Q_QUERY_WORK_DONE, db_text(work_id));
	return store_run(store, batch, error);
}

bool store_query_is_working(struct store *store, const char *group, bool *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_QUERY_WORK_LEFT, db_text(group));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_int(batch, 0, 0, 0) > 0;
	return true;
}

/* ---- orders ---- */

bool store_order_add(struct store *store, const struct order_row *o, GBytes *body_sealed, const char *const *ids, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_ADD, db_text(o->id), db_text(o->request_type), db_bytes(body_sealed), db_int(o->unchecked), db_text(o->kind), db_text(o->target), db_text(o->actor), db_text("sending"),
	             db_int(o->n_planned), db_int(o->created_ms), db_int(o->expires_ms));
	for (size_t i = 0; ids && ids[i]; i++)
		db_batch_add(batch, Q_ORDER_TARGET, db_text(o->id), db_text(ids[i]));
	store_batch_audit(store, batch, audit);
	return store_run_once(store, batch, Q_ORDER_GET, o->id, error);
}

static void take_order(const struct db_batch *b, size_t row, void *out)
{
	struct order_row o = {0};

	o.id = db_get_text(b, 0, row, 0), o.request_type = db_get_text(b, 0, row, 1), o.unchecked = db_get_int(b, 0, row, 2), o.kind = db_get_text(b, 0, row, 3), o.target = db_get_text(b, 0, row, 4);
	o.actor = db_get_text(b, 0, row, 5), o.state = db_get_text(b, 0, row, 6), o.after = db_get_text(b, 0, row, 7), o.n_planned = db_get_int(b, 0, row, 8), o.n_queued = db_get_int(b, 0, row, 9);
	o.n_skipped = db_get_int(b, 0, row, 10), o.created_ms = db_get_int(b, 0, row, 11), o.sent_ms = db_get_int(b, 0, row, 12), o.ended_ms = db_get_int(b, 0, row, 13);
	o.expires_ms = db_get_int(b, 0, row, 14);
	*(struct order_row *)out = o;
}

bool store_order_get(struct store *store, const char *id, struct order_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_GET, db_text(id));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no order %.64s (\"order list\" shows them)", id);
	take_order(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_order_body(struct store *store, const char *id, char **ret_state, GBytes **ret_sealed, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_BODY, db_text(id));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no order %.64s any more", id);
	*ret_state = g_strdup(db_get_text(batch, 0, 0, 0));
	*ret_sealed = db_get_bytes(batch, 0, 0, 1);
	return true;
}

GArray *store_order_list(struct store *store, const char *before, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_LIST, db_text(before), db_int(limit));
	return store_list(store, batch, sizeof(struct order_row), take_order, ret_load, error);
}

GArray *store_order_work(struct store *store, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_WORK, db_int(limit));
	return store_list(store, batch, sizeof(struct order_row), take_order, ret_load, error);
}

bool store_order_send(struct store *store, const struct order_row *order, const struct order_step *steps, size_t n, const char *to, bool last, GBytes *body, const char *note, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	for (size_t i = 0; i < n; i++) {
		const struct order_step *s = &steps[i];
		struct pom_id seq = pom_id_new(store->clock, store->random);

		db_batch_add(batch, Q_ENROLLMENT_HOLD, db_text(s->enrollment_id));
		if (s->uuid) {
			db_batch_add(batch, Q_ORDER_COMMAND, db_text(s->enrollment_id), db_text(seq.text), db_text(s->uuid), db_text(order->request_type), db_bytes(body), db_int(now_ms), db_text(note), db_int(order->expires_ms));
			store_batch_push(store, batch, s->enrollment_id, now_ms);
		}
		db_batch_add(batch, Q_ORDER_DEVICE_SET, db_text(order->id), db_text(s->enrollment_id), db_text(s->uuid), db_text(s->uuid ? "the device was not enrolled any more when its turn came" : s->reason));
	}
	db_batch_add(batch, Q_ORDER_MOVE, db_text(order->id), db_text(order->after), db_text(to), db_int(last), db_int(now_ms));
	return store_run(store, batch, error);
}

static void take_order_count(const struct db_batch *b, size_t row, void *out)
{
	*(struct order_count *)out = (struct order_count){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1)};
}

GArray *store_order_counts(struct store *store, const char *id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_COUNTS, db_text(id));
	return store_list(store, batch, sizeof(struct order_count), take_order_count, ret_load, error);
}

static void take_order_device(const struct db_batch *b, size_t row, void *out)
{
	*(struct order_device_row *)out = (struct order_device_row){
		db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3), db_get_text(b, 0, row, 4), db_get_text(b, 0, row, 5), db_get_text(b, 0, row, 6),
		db_get_int(b, 0, row, 7),
	};
}

GArray *store_order_devices(struct store *store, const char *id, const char *state, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_DEVICES, db_text(id), db_text(after), db_int(limit), db_text(state));
	return store_list(store, batch, sizeof(struct order_device_row), take_order_device, ret_load, error);
}

bool store_order_cancel(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ORDER_CANCEL, db_text(id));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_order_take_back(struct store *store, const struct order_row *order, int64_t limit, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) page = db_batch_new(NULL), batch = db_batch_new(NULL);
	const char *to = order->after;
	size_t n;

	db_batch_add(page, Q_ORDER_CANCEL_PAGE, db_text(order->id), db_text(order->after), db_int(limit));
	if (!store_run(store, page, error))
		return false;
	n = db_rows(page, 0);
	db_batch_spans(batch);
	for (size_t i = 0; i < n; i++) {
		db_batch_add(batch, Q_ENROLLMENT_HOLD, db_text(db_get_text(page, 0, i, 0)));
		db_batch_add(batch, Q_COMMAND_LOCK_ORDER, db_text(order->id), db_text(db_get_text(page, 0, i, 0)));
	}
	if (n) {
		to = db_get_text(page, 0, n - 1, 0);
		db_batch_add(batch, Q_ORDER_CANCEL_DONE, db_text(order->id), db_text(order->after), db_text(to), db_int(now_ms));
		db_batch_add(batch, Q_ORDER_CANCEL_COMMANDS, db_text(order->id), db_text(order->after), db_text(to));
		db_batch_add(batch, Q_ORDER_CANCEL_REST, db_text(order->id), db_text(order->after), db_text(to), db_text("the order was canceled before its turn came"));
	}
	db_batch_add(batch, Q_ORDER_CANCEL_MOVE, db_text(order->id), db_text(order->after), db_text(to), db_int((int64_t)n < limit), db_int(now_ms));
	return store_run(store, batch, error);
}

bool store_order_purge(struct store *store, int64_t before_ms, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL), batch = db_batch_new(NULL);

	db_batch_add(find, Q_ORDER_OLD, db_int(before_ms));
	if (!store_run(store, find, error))
		return false;
	if (!db_rows(find, 0))
		return true;
	db_batch_add(batch, Q_ORDER_DROP_DEVICES, db_text(db_get_text(find, 0, 0, 0)));
	db_batch_add(batch, Q_ORDER_DROP, db_text(db_get_text(find, 0, 0, 0)));
	return store_run(store, batch, error);
}

/* ---- the end of an enrollment ---- */

static void add_end_epoch(struct db_batch *batch, const struct enrollment_end *end, int64_t epoch)
{
	const struct db_value id = db_text(end->enrollment_id);

	db_batch_add(batch, Q_USERS_HOLD, id);
	db_batch_add(batch, Q_EPOCH_END, id, db_int(epoch), db_int(end->now_ms), db_text(end->reason));
	db_batch_add(batch, Q_COMMAND_CLEAR_DONE, id, db_int(epoch), db_int(end->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR, id, db_int(epoch));
	db_batch_add(batch, Q_COMMAND_CLEAR_USERS_DONE, id, db_int(epoch), db_int(end->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR_USERS, id, db_int(epoch));
}

/* LOADED: END_LOAD at 0. */
static void add_end(struct store *store, struct db_batch *batch, const struct db_batch *loaded, const struct enrollment_end *end)
{
	int64_t active = db_get_int(loaded, 0, 0, 1), pending = db_get_int(loaded, 0, 0, 2);
	const struct db_value id = db_text(end->enrollment_id), now = db_int(end->now_ms);

	db_batch_add(batch, Q_ENROLLMENT_END, id, db_int(db_get_int(loaded, 0, 0, 0)), now);
	db_batch_add(batch, Q_ENROLLMENT_END_USERS, id, db_int(0), now);
	db_batch_add(batch, Q_PUSH_FORGET, id);
	db_batch_add(batch, Q_LIB_STATE_END, id, now, db_text(end->reason));
	/* In this order: a certificate that a challenge brought at this moment ends, too. */
	db_batch_add(batch, Q_END_CHALLENGES, id, now);
	db_batch_add(batch, Q_END_CERTIFICATES, id, now);
	db_batch_add(batch, Q_INVENTORY_DROP, id);
	/* Its own report is kept; the rest of the queue is cleared. */
	if (end->command) {
		g_autoptr(GBytes) result = g_bytes_new_static(end->result, end->result_len);

		store_batch_finish(batch, end->command, &(struct command_result){end->status, result, false}, end->now_ms);
	}
	if (active)
		add_end_epoch(batch, end, active);
	if (pending)
		add_end_epoch(batch, end, pending);
	store_batch_query_device(store, batch, end->enrollment_id);
	store_batch_event(store, batch, end->enrollment_id, end->event, end->detail, end->now_ms);
}

/* One try; *RET_AGAIN: the enrollment has changed meanwhile. The entry's detail is taken with the first batch that it is added to. */
static bool try_end(struct store *store, const struct enrollment_end *end, const struct audit_entry *audit, bool *ret_found, bool *ret_again, GError **error)
{
	g_autoptr(db_batch) load = db_batch_new(NULL), batch = db_batch_new(end->enrollment_id);
	struct audit_entry copy = *audit;
	GError *inner = NULL;

	*ret_again = false;
	db_batch_add(load, Q_END_LOAD, db_text(end->enrollment_id));
	if (!store_run(store, load, error))
		return false;
	*ret_found = db_rows(load, 0) && db_get_int(load, 0, 0, 3) != ENROLLMENT_ENDED;
	if (!*ret_found)
		return true;
	add_end(store, batch, load, end);
	copy.detail = g_strdup(audit->detail);
	store_batch_audit(store, batch, &copy);
	if (store_run(store, batch, &inner))
		return true;
	*ret_again = g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_propagate_error(error, inner);
	return false;
}

bool store_enrollment_end(struct store *store, const struct enrollment_end *end, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	GError *inner = NULL;
	bool again = true, ok = false;

	for (int i = 0; i < TRIES && again && !ok; i++) {
		g_clear_error(&inner);
		ok = try_end(store, end, audit, ret_found, &again, &inner);
	}
	/* Each try wrote a copy of it. */
	g_free(audit->detail);
	if (!ok)
		g_propagate_error(error, inner);
	return ok;
}

bool store_enrollment_delete(struct store *store, const char *enrollment_id, const struct audit_entry *audit, GError **error)
{
	/* The links' ids are in the epochs, the users' in the enrollments: those go last. */
	static const unsigned parts[] = {
		Q_DELETE_LINK_EVENTS, Q_DELETE_OTA, Q_DELETE_PAIRINGS, Q_DELETE_COMMANDS, Q_DELETE_COMMANDS_DONE, Q_DELETE_EVENTS, Q_DELETE_PUSHES, Q_DELETE_FACTS, Q_DELETE_FACT_LISTS, Q_DELETE_ATTRIBUTES,
		Q_DELETE_MEMBERSHIPS, Q_DELETE_ASSIGNMENTS, Q_DELETE_STATES, Q_DELETE_WORK, Q_DELETE_QUERY_WORK, Q_DELETE_ORDERS, Q_DELETE_INVENTORY, Q_DELETE_FIRST_USE,
		Q_DELETE_RETURN, Q_DELETE_SETS, Q_DELETE_DDM_STATE, Q_DELETE_DDM_STATUS, Q_DELETE_DDM_DECLARED, Q_DELETE_EPOCHS, Q_DELETE_CHANNELS, Q_DELETE_USERS,
	};
	g_autoptr(db_batch) load = db_batch_new(NULL), batch = db_batch_new(enrollment_id);

	store_batch_audit(store, batch, audit);
	db_batch_add(load, Q_END_LOAD, db_text(enrollment_id));
	if (!store_run(store, load, error))
		return false;
	/* Whoever adds something holds it first: he is before this, or finds nothing. */
	db_batch_add(batch, Q_COMMAND_HOLD, db_text(enrollment_id));
	db_batch_add(batch, Q_USERS_HOLD, db_text(enrollment_id));
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		db_batch_add(batch, parts[i], db_text(enrollment_id));
	db_batch_add(batch, Q_DELETE_ENROLLMENT, db_text(enrollment_id), db_int(db_get_int(load, 0, 0, 0)));
	return store_run(store, batch, error);
}

/* ---- blocked devices ---- */

bool store_block_put(struct store *store, const struct block_row *row, const char *enrollment_id, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_BLOCK_PUT, db_text(row->device_id), db_text(row->serial), db_text(row->reason), db_int(row->unenroll), db_text(row->actor), db_int(row->created_ms));
	db_batch_add(batch, Q_BLOCK_PUSHES, db_text(row->device_id), db_text(row->serial));
	if (enrollment_id)
		store_batch_event(store, batch, enrollment_id, "Blocked", row->reason, row->created_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_block_remove(struct store *store, const char *device_id, const char *serial, const char *enrollment_id, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL), batch = db_batch_new(enrollment_id);

	store_batch_audit(store, batch, audit);
	db_batch_add(batch, Q_BLOCK_REMOVE, db_text(device_id), db_text(serial));
	if (enrollment_id) {
		store_batch_event(store, batch, enrollment_id, "Unblocked", NULL, now_ms);
		/* What has waited for it meanwhile is fetched when it comes: it is told to. */
		store_batch_push(store, batch, enrollment_id, now_ms);
	}
	db_batch_add(find, Q_BLOCK_FIND, db_text(device_id), db_text(serial));
	if (!store_run(store, find, error))
		return false;
	*ret_found = db_rows(find, 0) > 0;
	return !*ret_found || store_run(store, batch, error);
}

static void take_block(const struct db_batch *b, size_t row, void *out)
{
	*(struct block_row *)out = (struct block_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 4), db_get_int(b, 0, row, 3), db_get_int(b, 0, row, 5)};
}

GArray *store_block_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_BLOCK_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct block_row), take_block, ret_load, error);
}

bool store_block_find(struct store *store, const char *device_id, const char *serial, struct block_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_BLOCK_FIND, db_text(device_id), db_text(serial));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	take_block(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

/* ---- inventory ---- */

GPtrArray *store_inventory_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_INVENTORY_DUE, db_int(now_ms), db_int(limit));
	return texts(store, batch, ret_load, error);
}

bool store_inventory_put(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	if (due_ms)
		db_batch_add(batch, Q_INVENTORY_PUT, db_text(enrollment_id), db_int(due_ms));
	else
		db_batch_add(batch, Q_INVENTORY_DROP, db_text(enrollment_id));
	return store_run(store, batch, error);
}

bool store_inventory_ask(struct store *store, const char *enrollment_id, int64_t epoch, const struct inventory_query *queries, size_t n, const char *note, int64_t now_ms, int64_t due_ms, size_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);
	size_t queued = 0;

	db_batch_add(batch, Q_ENROLLMENT_HOLD, db_text(enrollment_id));
	for (size_t i = 0; i < n; i++) {
		struct pom_id seq = pom_id_new(store->clock, store->random);

		db_batch_add(batch, Q_INVENTORY_COMMAND, db_text(enrollment_id), db_text(seq.text), db_text(queries[i].uuid.text), db_int(epoch), db_text(queries[i].request_type), db_bytes(queries[i].body), db_int(now_ms),
		             db_text(note));
	}
	db_batch_add(batch, Q_INVENTORY_PUT, db_text(enrollment_id), db_int(due_ms));
	if (n)
		store_batch_push(store, batch, enrollment_id, now_ms);
	if (!store_run(store, batch, error))
		return false;
	for (size_t i = 0; i < n; i++)
		queued += db_rows(batch, 1 + (unsigned)i);
	*ret_n = queued;
	return true;
}
