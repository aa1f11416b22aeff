#include "push/apns.h"

#include <poll.h>
#include <string.h>


enum { CONNECTIONS_MAX = 16, FULL_MS = 250, EXTRA_IDLE_MS = 60000, GRACE_MS = 15000, PROBE_MAX = 10, BACKOFF_FIRST_MS = 500, BACKOFF_MAX_MS = 60000, NEVER_MS = 3600 * 1000 };

struct apns {
	struct apns_config config;
	char *topic;
	SSL_CTX *tls;
	struct conn *conns[CONNECTIONS_MAX]; /* those that leave too */
	bool leaving[CONNECTIONS_MAX];
	unsigned n_conns, n_failures;        /* failures: since the last answer */
	GQueue urgent, waiting;              /* struct apns_push */
	int64_t now_ms, retry_ms, paused_ms, backoff_ms, full_ms; /* full_ms: since when all connections are full; 0: they are not */
	bool draining, pause_now, wanted;
};

static void on_answered(void *ctx, struct conn *conn, struct apns_push *push)
{
	struct apns *apns = ctx;

	if (push->status != APNS_RESET) {
		apns->n_failures = 0;
		apns->backoff_ms = 0;
	}
	apns->config.done(apns->config.ctx, apns, push);
}

static void on_returned(void *ctx, struct conn *conn, struct apns_push *push)
{
	struct apns *apns = ctx;

	push->link = (GList){push, NULL, NULL};
	g_queue_push_head_link(push->urgent ? &apns->urgent : &apns->waiting, &push->link);
}

struct apns *apns_new(const struct apns_config *config)
{
	struct apns *apns = g_new0(struct apns, 1);

	apns->config = *config;
	apns->config.connections_max = CLAMP(config->connections_max, 1, CONNECTIONS_MAX / 2);
	apns->topic = g_strdup(config->topic);
	apns->tls = config->tls;
	SSL_CTX_up_ref(apns->tls);
	g_queue_init(&apns->urgent);
	g_queue_init(&apns->waiting);
	return apns;
}

static void give_up(struct apns *apns, GQueue *line)
{
	while (line->length) {
		struct apns_push *push = line->head->data;

		g_queue_unlink(line, &push->link);
		apns->config.done(apns->config.ctx, apns, push);
	}
}

void apns_free(struct apns *apns)
{
	if (!apns)
		return;
	while (apns->n_conns)
		conn_free(apns->conns[--apns->n_conns]);
	give_up(apns, &apns->urgent);
	give_up(apns, &apns->waiting);
	SSL_CTX_free(apns->tls);
	g_free(apns->topic);
	g_free(apns);
}

const char *apns_topic(const struct apns *apns)
{
	return apns->topic;
}

static void leave(struct apns *apns, unsigned i, int64_t grace_ms)
{
	apns->leaving[i] = true;
	conn_leave(apns->conns[i], grace_ms);
}

void apns_reconnect(struct apns *apns)
{
	for (unsigned i = 0; i < apns->n_conns; i++)
		leave(apns, i, GRACE_MS);
}

void apns_renew(struct apns *apns, SSL_CTX *tls)
{
	SSL_CTX_up_ref(tls);
	SSL_CTX_free(apns->tls);
	apns->tls = tls;
	apns_reconnect(apns);
	/* What was wrong with the old one says nothing of the new one. */
	apns->retry_ms = apns->paused_ms = apns->backoff_ms = 0;
	apns->n_failures = 0;
	apns->pause_now = false;
}

void apns_submit(struct apns *apns, struct apns_push *push)
{
	push->link = (GList){push, NULL, NULL};
	g_queue_push_tail_link(push->urgent ? &apns->urgent : &apns->waiting, &push->link);
}

void apns_want(struct apns *apns, bool wanted)
{
	apns->wanted = wanted;
}

static void give_back_from(struct apns *apns, GQueue *line, int64_t at_ms)
{
	GList *next;

	for (GList *link = line->head; link; link = next) {
		struct apns_push *push = link->data;

		next = link->next;
		if (push->send_until_ms > at_ms)
			continue;
		g_queue_unlink(line, link);
		apns->config.done(apns->config.ctx, apns, push);
	}
}

void apns_give_back(struct apns *apns, int64_t at_ms)
{
	give_back_from(apns, &apns->urgent, at_ms);
	give_back_from(apns, &apns->waiting, at_ms);
}

void apns_pause(struct apns *apns, int64_t ms, bool drop)
{
	apns->paused_ms = apns->now_ms + ms;
	apns->pause_now |= drop;
	apns->n_failures = MAX(apns->n_failures, 1);
}

void apns_resume(struct apns *apns)
{
	apns->paused_ms = apns->retry_ms = apns->backoff_ms = 0;
}

void apns_drain(struct apns *apns, int64_t grace_ms)
{
	apns->draining = true;
	for (unsigned i = 0; i < apns->n_conns; i++)
		leave(apns, i, grace_ms);
}

/* ---- connections ---- */

static bool has_line(const struct apns *apns)
{
	return apns->urgent.length || apns->waiting.length;
}

static bool has_work(const struct apns *apns)
{
	return apns->wanted || has_line(apns);
}

static unsigned in_flight(const struct apns *apns)
{
	unsigned n = 0;

	for (unsigned i = 0; i < apns->n_conns; i++)
		n += conn_in_flight(apns->conns[i]);
	return n;
}

static void remove_connection(struct apns *apns, unsigned i)
{
	struct conn *conn = apns->conns[i];

	apns->n_conns--;
	memmove(&apns->conns[i], &apns->conns[i + 1], (apns->n_conns - i) * sizeof(apns->conns[0]));
	memmove(&apns->leaving[i], &apns->leaving[i + 1], (apns->n_conns - i) * sizeof(apns->leaving[0]));
	conn_free(conn);
}

/* Up to a quarter of the back-off less, so that not all nodes and topics come at once. */
static int64_t shorter(const struct apns *apns)
{
	uint16_t n;

	pom_random_fill(apns->config.random, &n, sizeof(n));
	return apns->backoff_ms / 4 * n / UINT16_MAX;
}

/* One has ended. That it ended without having answered anything is a failure, however politely it said goodbye, or it would be opened again and again. */
static void take_end(struct apns *apns, unsigned i)
{
	struct conn *conn = apns->conns[i];
	g_autoptr(GError) error = conn_error(conn) ? g_error_copy(conn_error(conn)) : NULL;
	g_autofree char *goaway = g_strdup(conn_goaway_reason(conn));

	if (!error && !apns->leaving[i] && !conn_has_answered(conn) && has_work(apns))
		pom_fail(&error, POM_ERR_PUSH_CONNECT, "%s port %s: the connection was closed before it answered", apns->config.dial->host, apns->config.dial->port);
	remove_connection(apns, i);
	if (error) {
		apns->n_failures++;
		apns->backoff_ms = CLAMP(apns->backoff_ms * 2, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
		apns->retry_ms = apns->now_ms + apns->backoff_ms - shorter(apns);
	}
	if (error || *goaway)
		apns->config.failed(apns->config.ctx, apns, error, goaway);
}

static void run_connections(struct apns *apns, int64_t wall_ms)
{
	for (unsigned i = apns->n_conns; i-- > 0;)
		if (!conn_run(apns->conns[i], apns->now_ms, wall_ms))
			take_end(apns, i);
}

static void open_connection(struct apns *apns)
{
	const struct conn_config config = {apns->config.dial, apns->tls, apns->topic, apns->config.expiration_s, on_answered, on_returned, apns};

	apns->leaving[apns->n_conns] = false;
	apns->conns[apns->n_conns++] = conn_new(&config, apns->n_failures, apns->now_ms);
	apns->full_ms = 0;
}

/* Whether there are connections that take pushes, or are about to; and whether one of those has room, or may have. */
static unsigned count_usable(const struct apns *apns, bool *ret_room)
{
	unsigned n = 0;

	*ret_room = false;
	for (unsigned i = 0; i < apns->n_conns; i++) {
		if (conn_is_closing(apns->conns[i]))
			continue;
		n++;
		*ret_room |= !conn_is_ready(apns->conns[i]) || conn_room(apns->conns[i]);
	}
	return n;
}

static bool may_send(const struct apns *apns)
{
	return !apns->draining && apns->now_ms >= apns->paused_ms;
}

static void open_as_needed(struct apns *apns)
{
	bool room;
	unsigned n = count_usable(apns, &room);

	if (room || !has_work(apns)) {
		apns->full_ms = 0;
	} else if (!apns->full_ms) {
		apns->full_ms = apns->now_ms;
	}
	if (!may_send(apns) || !has_work(apns) || apns->now_ms < apns->retry_ms || apns->n_conns == CONNECTIONS_MAX)
		return;
	if (!n || (apns->full_ms && n < apns->config.connections_max && apns->now_ms - apns->full_ms >= FULL_MS))
		open_connection(apns);
}

/* Only the first stays when there is nothing to do. */
static void leave_extra(struct apns *apns)
{
	bool room, first = true;

	if (count_usable(apns, &room) < 2)
		return;
	for (unsigned i = 0; i < apns->n_conns; i++) {
		int64_t idle_ms = conn_idle_since_ms(apns->conns[i]);

		if (!first && !conn_is_closing(apns->conns[i]) && conn_is_ready(apns->conns[i]) && idle_ms && apns->now_ms - idle_ms > EXTRA_IDLE_MS)
			leave(apns, i, 0);
		first &= conn_is_closing(apns->conns[i]);
	}
}

/* ---- pushes ---- */

/* Those that go next; NULL: none, or none yet. */
static GQueue *next_line(struct apns *apns, const struct push_pace *pace)
{
	if (apns->urgent.length && push_pace_allows(pace, true) > 0)
		return &apns->urgent;
	return apns->waiting.length && push_pace_allows(pace, false) > 0 ? &apns->waiting : NULL;
}

static bool send_next(struct apns *apns, struct conn *conn, GQueue *line, struct push_pace *pace)
{
	struct apns_push *push = line->head->data;

	g_queue_unlink(line, &push->link);
	if (push->send_until_ms && apns->now_ms >= push->send_until_ms) {
		apns->config.done(apns->config.ctx, apns, push);
		return true;
	}
	if (!conn_send(conn, push)) {
		on_returned(apns, conn, push);
		return false;
	}
	push_pace_take(pace, 1);
	return true;
}

static void send_waiting(struct apns *apns, struct push_pace *pace)
{
	/* After a failure, a few show whether it is over. */
	unsigned flying = in_flight(apns), most = apns->n_failures ? MAX(PROBE_MAX, flying) - flying : UINT32_MAX;
	GQueue *line;

	for (unsigned i = 0; i < apns->n_conns; i++) {
		unsigned room = MIN(conn_room(apns->conns[i]), most), n = 0;

		while (n < room && (line = next_line(apns, pace)) && send_next(apns, apns->conns[i], line, pace))
			n++;
		most -= MIN(n, most);
	}
}

static void flush(struct apns *apns)
{
	for (unsigned i = apns->n_conns; i-- > 0;)
		if (!conn_flush(apns->conns[i]))
			take_end(apns, i);
}

/* A pause that was asked for from within a callback. */
static void begin_pause(struct apns *apns)
{
	apns->pause_now = false;
	while (apns->n_conns)
		remove_connection(apns, apns->n_conns - 1);
}

void apns_run(struct apns *apns, int64_t now_ms, int64_t wall_ms, struct push_pace *pace)
{
	apns->now_ms = now_ms;
	run_connections(apns, wall_ms);
	if (apns->pause_now)
		begin_pause(apns);
	if (may_send(apns)) {
		leave_extra(apns);
		open_as_needed(apns);
		send_waiting(apns, pace);
	}
	flush(apns);
	if (apns->pause_now)
		begin_pause(apns);
}

void apns_poll(const struct apns *apns, const struct push_pace *pace, GArray *fds, int64_t *until_ms)
{
	bool room, sends = false;
	unsigned n = count_usable(apns, &room);

	for (unsigned i = 0; i < apns->n_conns; i++) {
		conn_poll(apns->conns[i], fds, until_ms);
		sends |= conn_room(apns->conns[i]) > 0;
	}
	if (!has_work(apns) || apns->draining)
		return;
	if (apns->now_ms < apns->paused_ms || (!n && apns->now_ms < apns->retry_ms))
		*until_ms = MIN(*until_ms, MAX(apns->paused_ms, apns->retry_ms));
	else if (!n)
		*until_ms = apns->now_ms;
	else if (!has_line(apns))
		return;
	else if (sends && (!apns->n_failures || in_flight(apns) < PROBE_MAX))
		*until_ms = MIN(*until_ms, apns->now_ms + push_pace_wait_ms(pace));
	else if (apns->full_ms && n < apns->config.connections_max)
		*until_ms = MIN(*until_ms, MAX(apns->full_ms + FULL_MS, apns->retry_ms));
}

void apns_get_state(const struct apns *apns, struct apns_state *ret)
{
	int64_t until_ms = MAX(apns->paused_ms, apns->retry_ms);

	*ret = (struct apns_state){.connections = apns->n_conns, .in_flight = in_flight(apns), .queued = apns->urgent.length + apns->waiting.length,
	                           .pause_ms = MAX(until_ms - apns->now_ms, 0), .healthy = !apns->n_failures};
	for (unsigned i = 0; i < apns->n_conns; i++) {
		ret->sends |= may_send(apns) && conn_is_ready(apns->conns[i]) && !conn_is_closing(apns->conns[i]);
		ret->ready += conn_is_ready(apns->conns[i]);
		ret->streams += conn_limit(apns->conns[i]);
	}
}
