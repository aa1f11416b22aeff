/* Pushes of several nodes: a node claims what it is about to send, so that each goes out once, and gives back what it cannot send. */
#include "push/pusher_internal.h"

enum { KEEP_MS = 1000, LOOK_MS = 1000, PAGE_MAX = 500, HOLD_MAX = 1000, HOLD_MIN = 4, URGENT_MAX = 50, STUCK_MS = 1000 };

/* A claim is renewed while its push is under way; what has not been sent in a third of its time is not sent any more, but given back. The rest is for clocks of nodes that differ: a node that was stopped and goes on
 * sends nothing that another one may have by then. */
static int64_t send_ms(const struct pusher *pusher)
{
	return pusher->claim_ms / 3;
}

static bool may_work(const struct pusher *pusher)
{
	return !pusher->may_work || pusher->may_work(pusher->work_ctx);
}

static void clear_hold(void *data)
{
	struct push_hold *hold = data;

	g_free(hold->enrollment_id);
	g_free(hold->claim);
}

GArray *claims_new(void)
{
	GArray *holds = g_array_new(FALSE, FALSE, sizeof(struct push_hold));

	g_array_set_clear_func(holds, clear_hold);
	return holds;
}

void claim_give_back(struct pusher *pusher, struct apns_push *push)
{
	struct push_hold hold = {push->enrollment_id, push->claim};

	if (!push->claim)
		return;
	push->enrollment_id = push->claim = NULL;
	g_array_append_val(pusher->given_back, hold);
}

static bool write_back(struct pusher *pusher, GError **error)
{
	if (pusher->lost_claim && !store_push_release_claim(pusher->store, pusher->lost_claim, error))
		return false;
	g_clear_pointer(&pusher->lost_claim, g_free);
	if (!store_push_release(pusher->store, (const struct push_hold *)(const void *)pusher->given_back->data, pusher->given_back->len, error))
		return false;
	g_array_set_size(pusher->given_back, 0);
	return true;
}

void claims_write(struct pusher *pusher, int64_t steady_ms)
{
	g_autoptr(GError) error = NULL;

	if ((!pusher->lost_claim && !pusher->given_back->len) || steady_ms < pusher->write_back_ms)
		return;
	if (!write_back(pusher, &error))
		pusher->write_back_ms = steady_ms + KEEP_MS;
	pusher_note_store(pusher, STORE_WRITE, "claims on pushes could not be given back", error);
}

/* ---- what is under way ---- */

/* What has been sent, and whose answer is late, stays ours. What another node has taken meanwhile is not sent again, should its connection end. */
static void renew(struct pusher *pusher, int64_t steady_ms)
{
	g_autoptr(GArray) holds = g_array_new(FALSE, FALSE, sizeof(struct push_hold));
	g_autoptr(GPtrArray) pushes = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	GHashTableIter iter;
	gpointer value;
	g_autofree bool *held = NULL;
	bool ok;

	g_hash_table_iter_init(&iter, pusher->underway);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct apns_push *push = value;
		struct push_hold hold = {push->enrollment_id, push->claim};

		if (!push->claim || steady_ms < push->send_until_ms)
			continue;
		g_array_append_val(holds, hold);
		g_ptr_array_add(pushes, push);
	}
	if (!pushes->len)
		return;
	held = g_new0(bool, pushes->len);
	ok = store_push_renew(pusher->store, (const struct push_hold *)(const void *)holds->data, holds->len, pusher_wall_ms(pusher) + pusher->claim_ms, held, &error);
	pusher_note_store(pusher, STORE_WRITE, "claims on pushes could not be renewed", error);
	for (guint i = 0; ok && i < pushes->len; i++)
		if (held[i])
			((struct apns_push *)pushes->pdata[i])->send_until_ms = steady_ms + send_ms(pusher);
}

/* What a topic cannot send now is for other nodes, which may have another way to APNs. That a connection is being made anew takes a moment. */
static void free_stuck(struct topic *topic, bool may, int64_t steady_ms)
{
	struct apns_state state;

	apns_get_state(topic->apns, &state);
	if ((state.sends && may) || !state.queued) {
		topic->stuck_ms = 0;
		return;
	}
	if (!topic->stuck_ms)
		topic->stuck_ms = steady_ms;
	if (!may || state.pause_ms || steady_ms - topic->stuck_ms >= STUCK_MS)
		apns_give_back(topic->apns, INT64_MAX);
}

void claims_keep(struct pusher *pusher, int64_t steady_ms)
{
	bool may = may_work(pusher);

	for (unsigned i = 0; i < pusher->n_topics; i++)
		if (pusher->topics[i]->apns)
			free_stuck(pusher->topics[i], may, steady_ms);
	if (steady_ms < pusher->keep_ms)
		return;
	pusher->keep_ms = steady_ms + KEEP_MS;
	for (unsigned i = 0; i < pusher->n_topics; i++)
		if (pusher->topics[i]->apns)
			apns_give_back(pusher->topics[i]->apns, steady_ms);
	renew(pusher, steady_ms);
}

/* ---- the outbox ---- */

/* About as many as go out in half a second: others should have the rest. */
static int64_t line_size(const struct pusher *pusher, const struct apns_state *state)
{
	if (!state->healthy)
		return TOPIC_PROBE;
	return pusher->pace.per_second ? CLAMP(pusher->pace.per_second / 2, HOLD_MIN, HOLD_MAX) : HOLD_MAX;
}

bool claims_have_room(const struct pusher *pusher, const struct topic *topic)
{
	struct apns_state state;

	apns_get_state(topic->apns, &state);
	return state.sends && state.queued <= line_size(pusher, &state) / 2;
}

static void take(struct pusher *pusher, const struct push_row *row, int64_t steady_ms)
{
	struct apns_push *push = g_hash_table_lookup(pusher->underway, row->enrollment_id);

	if (!push) {
		pusher_take_row(pusher, row, row->urgent, steady_ms + send_ms(pusher));
		return;
	}
	/* The device was here since, and a push was asked for anew: the answer that is awaited tells when it may go. */
	g_free(push->claim);
	push->claim = g_strdup(row->claim);
	push->send_until_ms = steady_ms + send_ms(pusher);
}

/* Claims up to N, and URGENT of those that must not wait; how many there were, -1 for a failure. */
static int64_t claim(struct pusher *pusher, struct topic *topic, int64_t now_ms, int64_t n, int64_t urgent)
{
	struct pom_id id = pom_id_new(pusher->clock, pusher->random);
	int64_t steady_ms = pusher_steady_ms();
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_claim(pusher->store, &(struct push_claim){topic->name, id.text, now_ms + pusher->claim_ms, n, urgent}, now_ms, &load, &error);

	pusher_note_store(pusher, STORE_WRITE, "pushes could not be claimed", error);
	if (!rows) {
		/* They may be claimed all the same. */
		if (g_error_matches(error, POM_ERROR, POM_ERR_STORE_UNKNOWN))
			pusher->lost_claim = g_strdup(id.text);
		return -1;
	}
	for (guint i = 0; i < rows->len; i++)
		take(pusher, &g_array_index(rows, struct push_row, i), steady_ms);
	return rows->len;
}

/* Whether something is due that nobody has, and when to look again. */
static void look_for_free(struct pusher *pusher, struct topic *topic, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	int64_t due_ms = 0;

	topic->look_ms = now_ms + LOOK_MS;
	topic->more = store_push_free_since(pusher->store, topic->name, now_ms, &due_ms, &error) && due_ms && due_ms <= now_ms;
	pusher_note_store(pusher, STORE_READ, "the outbox could not be read", error);
	if (due_ms > now_ms)
		topic->look_ms = MIN(topic->look_ms, due_ms);
}

/* How many there is room for, and of those that must not wait: they go before what is in the line, and are looked for now and then only. */
static bool find_room(const struct pusher *pusher, const struct apns_state *state, bool looks, int64_t *ret_n, int64_t *ret_urgent)
{
	int64_t size = line_size(pusher, state);

	*ret_n = state->queued <= size / 2 ? MIN(size - state->queued, PAGE_MAX) : 0;
	*ret_urgent = looks && state->healthy && state->queued <= size + URGENT_MAX ? URGENT_MAX : 0;
	return *ret_n || *ret_urgent;
}

/* Only who has a connection claims, or what waits would wait for a node that cannot send. */
static void claim_more(struct pusher *pusher, struct topic *topic, const struct apns_state *state, int64_t now_ms, bool looks)
{
	int64_t n, urgent, got;

	if (!state->sends || !find_room(pusher, state, looks, &n, &urgent))
		return;
	if (looks)
		topic->look_ms = now_ms + LOOK_MS;
	got = claim(pusher, topic, now_ms, n, urgent);
	if (got < 0 || (n && got < n))
		topic->more = false;
}

void claims_look(struct pusher *pusher, struct topic *topic, int64_t now_ms, bool woken)
{
	struct apns_state state;
	bool looks = now_ms >= topic->look_ms, may = may_work(pusher);

	if (!topic->apns || (!looks && !topic->more) || pusher->lost_claim)
		return;
	apns_get_state(topic->apns, &state);
	if (!may) {
		topic->more = false;
		topic->look_ms = now_ms + LOOK_MS;
	} else if (woken && state.sends) {
		topic->more = true;
	} else if (looks) {
		look_for_free(pusher, topic, now_ms);
	}
	apns_want(topic->apns, topic->more);
	if (topic->more)
		claim_more(pusher, topic, &state, now_ms, looks);
}
