/* The outbox of pushes. */
#include <string.h>

#include "store/store_internal.h"

void store_batch_push_urgent(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t due_ms, enum push_urgency urgency)
{
	struct pom_id generation = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_PUSH_ASK, db_text(enrollment_id), db_int(due_ms), db_text(generation.text), db_int(due_ms), db_int(urgency));
}

void store_batch_push(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t due_ms)
{
	store_batch_push_urgent(store, batch, enrollment_id, due_ms, PUSH_URGENCY_WAVE);
}

static void read_push(const struct db_batch *batch, unsigned i, size_t row, struct push_row *ret)
{
	*ret = (struct push_row){
		.enrollment_id = db_get_text(batch, i, row, 0), .attempts = db_get_int(batch, i, row, 1), .generation = db_get_text(batch, i, row, 2),
		.epoch = db_get_int(batch, i, row, 3), .push_token = db_get_bytes(batch, i, row, 4), .push_magic = db_get_text(batch, i, row, 5),
		.dead_ms = db_get_int(batch, i, row, 6), .topic = db_get_text(batch, i, row, 7), .due_ms = db_get_int(batch, i, row, 8), .n_sent = db_get_int(batch, i, row, 9),
		.wanted = db_get_int(batch, i, row, 10) != 0, .claim = db_get_text(batch, i, row, 11), .urgent = db_get_int(batch, i, row, 12) > 0,
	};
}

static void take_push(const struct db_batch *batch, size_t row, void *out)
{
	read_push(batch, 0, row, out);
}

static void clear_push(void *data)
{
	g_clear_pointer(&((struct push_row *)data)->push_token, g_bytes_unref);
}

/* Takes BATCH over. */
static GArray *list_pushes(struct store *store, struct db_batch *batch, store_load **ret_load, GError **error)
{
	GArray *rows = store_list(store, batch, sizeof(struct push_row), take_push, ret_load, error);

	if (rows)
		g_array_set_clear_func(rows, clear_push);
	return rows;
}

GArray *store_push_due(struct store *store, const char *topic, int64_t now_ms, const struct push_place *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_DUE, db_text(topic), db_int(now_ms), db_int(after ? after->due_ms : 0), db_text(after ? after->enrollment_id : ""), db_int(limit));
	return list_pushes(store, batch, ret_load, error);
}

GArray *store_push_due_urgent(struct store *store, const char *topic, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_DUE_URGENT, db_text(topic), db_int(now_ms), db_int(limit));
	return list_pushes(store, batch, ret_load, error);
}

bool store_push_claims(const struct store *store)
{
	return db_is_shared(store->db);
}

GArray *store_push_claim(struct store *store, const struct push_claim *claim, int64_t now_ms, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	unsigned list;
	GArray *rows;

	/* In a transaction of its own nobody waits for what it has taken while it waits for others. */
	db_batch_spans(batch);
	if (claim->n_urgent)
		db_batch_add(batch, Q_PUSH_CLAIM_URGENT, db_text(claim->topic), db_int(now_ms), db_text(claim->id), db_int(claim->until_ms), db_int(claim->n_urgent));
	if (claim->n)
		db_batch_add(batch, Q_PUSH_CLAIM, db_text(claim->topic), db_int(now_ms), db_text(claim->id), db_int(claim->until_ms), db_int(claim->n));
	list = db_batch_add(batch, Q_PUSH_CLAIMED, db_text(claim->id));
	if (!store_run(store, batch, error))
		return NULL;
	rows = g_array_sized_new(FALSE, TRUE, sizeof(struct push_row), (guint)db_rows(batch, list));
	g_array_set_clear_func(rows, clear_push);
	g_array_set_size(rows, (guint)db_rows(batch, list));
	for (guint i = 0; i < rows->len; i++)
		read_push(batch, list, i, &g_array_index(rows, struct push_row, i));
	*ret_load = g_steal_pointer(&batch);
	return rows;
}

bool store_push_free_since(struct store *store, const char *topic, int64_t now_ms, int64_t *ret_due_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_FREE, db_text(topic), db_int(now_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_due_ms = db_get_int(batch, 0, 0, 0);
	return true;
}

static int compare_holds(const void *a, const void *b)
{
	return strcmp((*(const struct push_hold *const *)a)->enrollment_id, (*(const struct push_hold *const *)b)->enrollment_id);
}

/* Borrows them. */
static const struct push_hold **sort_holds(const struct push_hold *holds, size_t n)
{
	const struct push_hold **sorted = g_new(const struct push_hold *, n);

	for (size_t i = 0; i < n; i++)
		sorted[i] = &holds[i];
	qsort(sorted, n, sizeof(*sorted), compare_holds);
	return sorted;
}

bool store_push_renew(struct store *store, const struct push_hold *holds, size_t n, int64_t until_ms, bool *ret_held, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autofree const struct push_hold **sorted = sort_holds(holds, n);

	db_batch_spans(batch);
	for (size_t i = 0; i < n; i++)
		db_batch_add(batch, Q_PUSH_RENEW, db_text(sorted[i]->enrollment_id), db_text(sorted[i]->claim), db_int(until_ms));
	if (n && !store_run(store, batch, error))
		return false;
	for (size_t i = 0; i < n; i++)
		ret_held[sorted[i] - holds] = db_rows(batch, (unsigned)i) > 0;
	return true;
}

bool store_push_release(struct store *store, const struct push_hold *holds, size_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autofree const struct push_hold **sorted = sort_holds(holds, n);

	db_batch_spans(batch);
	for (size_t i = 0; i < n; i++)
		db_batch_add(batch, Q_PUSH_RELEASE, db_text(sorted[i]->enrollment_id), db_text(sorted[i]->claim));
	return n == 0 || store_run(store, batch, error);
}

bool store_push_release_claim(struct store *store, const char *claim, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, Q_PUSH_RELEASE_CLAIM, db_text(claim));
	return store_run(store, batch, error);
}

bool store_push_next(struct store *store, const char *topic, int64_t now_ms, int64_t *ret_next_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_NEXT, db_text(topic), db_int(now_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_next_ms = db_get_int(batch, 0, 0, 0);
	return true;
}

/* Both lists come by topic: one that has dead tokens only, or none, has zeros. */
GArray *store_push_counts(struct store *store, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	GArray *counts;
	size_t i = 0, k = 0;

	db_batch_add_values(batch, Q_PUSH_COUNTS, NULL, 0);
	db_batch_add_values(batch, Q_PUSH_DEAD_COUNTS, NULL, 0);
	if (!store_run(store, batch, error))
		return NULL;
	counts = g_array_new(FALSE, TRUE, sizeof(struct push_count));
	while (i < db_rows(batch, 0) || k < db_rows(batch, 1)) {
		const char *owing = i < db_rows(batch, 0) ? db_get_text(batch, 0, i, 0) : NULL, *dead = k < db_rows(batch, 1) ? db_get_text(batch, 1, k, 0) : NULL;
		int order = !owing ? 1 : !dead ? -1 : strcmp(owing, dead);
		struct push_count count = {.topic = order <= 0 ? owing : dead};

		if (order <= 0) {
			count.owed = db_get_int(batch, 0, i, 1);
			count.waiting = db_get_int(batch, 0, i, 2);
			count.owed_since_ms = db_get_int(batch, 0, i++, 3);
		}
		if (order >= 0)
			count.dead = db_get_int(batch, 1, k++, 1);
		g_array_append_val(counts, count);
	}
	*ret_load = g_steal_pointer(&batch);
	return counts;
}

/* In place of the last one, when that is of the same kind. */
static void add_event(struct store *store, struct db_batch *batch, const struct push_outcome *o, const char *kind)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	if (!o->detail)
		return;
	db_batch_add(batch, Q_PUSH_EVENT_REPEAT, db_text(o->enrollment_id), db_text(kind));
	db_batch_add(batch, Q_EVENT_ADD, db_text(o->enrollment_id), db_text(id.text), db_int(o->at_ms), db_text(kind), db_text(o->detail));
	/* What is sent is followed by what the device does, which trims; refusals of two kinds could take turns for ever. */
	if (o->result != PUSH_SENT)
		db_batch_add(batch, Q_EVENT_TRIM, db_text(o->enrollment_id));
}

static struct db_value claim_of(const struct push_outcome *o)
{
	return db_text(o->claim ? o->claim : "");
}

static void add_retry(struct db_batch *batch, const struct push_outcome *o)
{
	db_batch_add(batch, Q_PUSH_RETRY, db_text(o->enrollment_id), db_text(o->generation), db_int(o->retry_ms), db_int(o->attempts), db_int(o->slow), claim_of(o));
}

static void add_dead(struct store *store, struct db_batch *batch, const struct push_outcome *o)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_PUSH_DEAD, db_text(o->enrollment_id), db_int(o->epoch), db_bytes(o->push_token), db_int(o->dead_ms));
	db_batch_add(batch, Q_PUSH_DROP_DEAD, db_text(o->enrollment_id), db_int(o->epoch));
	db_batch_add(batch, Q_PUSH_EVENT_DEAD, db_text(o->enrollment_id), db_text(id.text), db_int(o->dead_ms), db_text(o->detail), db_int(o->epoch));
	db_batch_add(batch, Q_EVENT_TRIM, db_text(o->enrollment_id));
	add_retry(batch, o);
}

static void add_sent(struct store *store, struct db_batch *batch, const struct push_outcome *o)
{
	db_batch_add(batch, Q_PUSH_SETTLE, db_text(o->enrollment_id), db_text(o->generation), db_int(o->epoch));
	db_batch_add(batch, Q_PUSH_SENT, db_text(o->enrollment_id), db_text(o->generation), db_int(o->at_ms), db_int(o->retry_ms), claim_of(o));
	add_event(store, batch, o, "PushSent");
}

static void add_outcome(struct store *store, struct db_batch *batch, const struct push_outcome *o)
{
	switch (o->result) {
	case PUSH_DONE:
		db_batch_add(batch, Q_PUSH_DONE, db_text(o->enrollment_id), db_text(o->generation), claim_of(o));
		break;
	case PUSH_RETRY:
		add_retry(batch, o);
		add_event(store, batch, o, "PushRefused");
		break;
	case PUSH_TOKEN_DEAD:
		add_dead(store, batch, o);
		break;
	case PUSH_SENT:
		add_sent(store, batch, o);
		break;
	}
}

/* Those of one device stay in their order. */
static int compare_outcomes(const void *a, const void *b)
{
	const struct push_outcome *x = *(const struct push_outcome *const *)a, *y = *(const struct push_outcome *const *)b;
	int order = strcmp(x->enrollment_id, y->enrollment_id);

	return order ? order : x < y ? -1 : x > y;
}

bool store_push_apply(struct store *store, const struct push_outcome *outcomes, size_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(n == 1 ? outcomes[0].enrollment_id : NULL);
	g_autofree const struct push_outcome **sorted = g_new(const struct push_outcome *, n);

	if (n > 1)
		db_batch_spans(batch);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &outcomes[i];
	qsort(sorted, n, sizeof(*sorted), compare_outcomes);
	for (size_t i = 0; i < n; i++)
		add_outcome(store, batch, sorted[i]);
	return db_batch_count(batch) == 0 || store_run(store, batch, error);
}

bool store_push_ask(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	store_batch_push_urgent(store, batch, enrollment_id, due_ms, PUSH_URGENCY_PERSON);
	return store_run(store, batch, error);
}

bool store_push_settle(struct store *store, const char *enrollment_id, int64_t epoch, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL);

	db_batch_add(find, Q_PUSH_OF, db_text(enrollment_id));
	if (!store_run(store, find, error))
		return false;
	return !db_rows(find, 0) || store_push_settle_known(store, enrollment_id, epoch, db_get_text(find, 0, 0, 0), error);
}

bool store_push_settle_known(struct store *store, const char *enrollment_id, int64_t epoch, const char *generation, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_PUSH_SETTLE, db_text(enrollment_id), db_text(generation), db_int(epoch));
	return store_run(store, batch, error);
}
