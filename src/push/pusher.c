#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "push/proxy.h"
#include "push/pusher_internal.h"

/* Where others write too, few outcomes at a time, so that nobody waits long. */
enum { QUEUE_MAX = 2000, WRITE_SHARED_MAX = 100, CLAIM_MIN_MS = 15000, LOAD_MS = 5000, LOAD_REST_MS = 200, QUEUE_MIN = 50, URGENT_MAX = 50, WRITE_MAX = 500, OUTCOMES_MAX = 2000, LOOK_MS = 15000, REST_MS = 3000, COUNT_MS = 10000, COUNT_PART = 100, COUNT_MAX_MS = 600000, PUBLISH_MS = 100, WRITE_AGAIN_MS = 1000 };

int64_t pusher_wall_ms(const struct pusher *pusher)
{
	return pom_clock_now_ms(pusher->clock);
}

int64_t pusher_steady_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void pusher_wake(void *ctx)
{
	struct pusher *pusher = ctx;
	uint64_t one = 1;

	(void)!write(pusher->wake_fd, &one, sizeof(one));
}

void pusher_reload(struct pusher *pusher)
{
	__atomic_store_n(&pusher->reload, true, __ATOMIC_SEQ_CST);
	pusher_wake(pusher);
}

void pusher_resume(struct pusher *pusher)
{
	__atomic_store_n(&pusher->resume, true, __ATOMIC_SEQ_CST);
	pusher_wake(pusher);
}

/* ---- randomness, many pushes at a time ---- */

static void take_noise(struct pusher *pusher, void *ret, size_t len)
{
	if (pusher->noise_left < len) {
		pom_random_fill(pusher->random, pusher->noise, sizeof(pusher->noise));
		pusher->noise_left = sizeof(pusher->noise);
	}
	pusher->noise_left -= len;
	memcpy(ret, pusher->noise + pusher->noise_left, len);
}

unsigned pusher_jitter(struct pusher *pusher)
{
	uint16_t n;

	take_noise(pusher, &n, sizeof(n));
	return n % 1000;
}

void pusher_uuid(struct pusher *pusher, char ret[APNS_ID_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t id[16];
	char *p = ret;

	take_noise(pusher, id, sizeof(id));
	/* RFC 9562 §5.4. */
	id[6] = 0x40 | (id[6] & 0x0f);
	id[8] = 0x80 | (id[8] & 0x3f);
	for (unsigned i = 0; i < sizeof(id); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[id[i] >> 4];
		*p++ = hex[id[i] & 15];
	}
	*p = '\0';
}

/* ---- outcomes ---- */

/* A database that cannot write still reads: that must not look like its recovery. */
void pusher_note_store(struct pusher *pusher, enum store_use use, const char *what, const GError *error)
{
	unsigned before = pusher->store_failed;

	/* That the database is away is told once for all who find it so. */
	if (error && store_error_is_away(error))
		return;
	if (error)
		pusher->store_failed |= use;
	else
		pusher->store_failed &= use == STORE_WRITE ? 0 : ~(unsigned)STORE_READ;
	if (error && !before)
		pom_log(POM_LOG_ERROR, what, "id", pom_error_info_of(error)->id, "why", error->message, NULL);
	if (before && !pusher->store_failed)
		pom_log(POM_LOG_NOTICE, "the outbox of pushes can be used again", NULL);
}

static void clear_outcome(void *data)
{
	struct push_outcome *o = data;

	g_free(o->enrollment_id);
	g_free(o->generation);
	g_free(o->detail);
	g_free(o->claim);
	g_clear_pointer(&o->push_token, g_bytes_unref);
}

void pusher_add_outcome(struct pusher *pusher, const struct push_outcome *outcome)
{
	g_array_append_vals(pusher->outcomes, outcome, 1);
}

/* Nobody else would tell when what is written becomes due again: what was asked for while its push was under way rests a little. */
static void expect_outcomes(struct pusher *pusher, guint n, int64_t now_ms)
{
	int64_t at_ms = now_ms + REST_MS;

	for (guint i = 0; i < n; i++) {
		const struct push_outcome *o = &g_array_index(pusher->outcomes, struct push_outcome, i);

		if (o->retry_ms)
			at_ms = MIN(at_ms, o->retry_ms);
	}
	for (unsigned i = 0; i < pusher->n_topics; i++)
		pusher->topics[i]->look_ms = MIN(pusher->topics[i]->look_ms, at_ms);
}

/* Writes all outcomes, before the outbox is looked at again: their rows must not be taken twice. False: some are left for later. */
static bool write_outcomes(struct pusher *pusher, int64_t now_ms)
{
	if (pusher->written_ms && now_ms - pusher->written_ms < WRITE_AGAIN_MS && now_ms >= pusher->written_ms)
		return !pusher->outcomes->len;
	pusher->written_ms = 0;
	while (pusher->outcomes->len) {
		g_autoptr(GError) error = NULL;
		guint n = MIN(pusher->outcomes->len, pusher->shared ? WRITE_SHARED_MAX : WRITE_MAX);
		bool ok = store_push_apply(pusher->store, (const struct push_outcome *)(const void *)pusher->outcomes->data, n, &error);

		pusher_note_store(pusher, STORE_WRITE, "outcomes of pushes could not be written", error);
		if (!ok) {
			pusher->written_ms = now_ms;
			return false;
		}
		expect_outcomes(pusher, n, now_ms);
		g_array_remove_range(pusher->outcomes, 0, n);
	}
	return true;
}

/* ---- the outbox ---- */

static void submit(struct pusher *pusher, struct topic *topic, const struct push_row *row, bool urgent, int64_t send_until_ms)
{
	struct apns_push *push = g_new0(struct apns_push, 1);

	push->enrollment_id = g_strdup(row->enrollment_id);
	push->generation = g_strdup(row->generation);
	push->push_magic = g_strdup(row->push_magic);
	push->push_token = g_bytes_ref(row->push_token);
	push->epoch = row->epoch;
	push->attempts = row->attempts;
	push->n_sent = row->n_sent;
	push->urgent = urgent;
	push->claim = *row->claim ? g_strdup(row->claim) : NULL;
	push->send_until_ms = send_until_ms;
	pusher_uuid(pusher, push->id);
	g_hash_table_insert(pusher->underway, push->enrollment_id, push);
	apns_submit(topic->apns, push);
}

bool pusher_take_row(struct pusher *pusher, const struct push_row *row, bool urgent, int64_t send_until_ms)
{
	struct topic *topic = topic_find(pusher, row->topic);
	struct push_outcome outcome = {.result = PUSH_DONE};

	if (g_hash_table_contains(pusher->underway, row->enrollment_id))
		return false;
	if (row->wanted && row->push_token && row->push_magic && !row->dead_ms && row->topic) {
		/* Without its certificate it waits in the outbox. */
		if (topic && topic->apns)
			submit(pusher, topic, row, urgent, send_until_ms);
		return topic && topic->apns;
	}
	/* No token (any more): the device's next TokenUpdate will find its commands. Or the commands are gone. */
	outcome.enrollment_id = g_strdup(row->enrollment_id);
	outcome.generation = g_strdup(row->generation);
	outcome.claim = g_strdup(row->claim);
	pusher_add_outcome(pusher, &outcome);
	return false;
}

/* As many as go out in half a second, so that little is held in memory and little is sent at once after an outage. */
static unsigned queue_size(const struct pusher *pusher, const struct apns_state *state)
{
	if (!state->healthy)
		return TOPIC_PROBE;
	return pusher->pace.per_second ? (unsigned)CLAMP(pusher->pace.per_second / 2, QUEUE_MIN, QUEUE_MAX) : QUEUE_MAX;
}

/* Reads the next page of what is due; how much of it became pushes. */
static bool read_page(struct pusher *pusher, struct topic *topic, int64_t now_ms, int64_t limit)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_due(pusher->store, topic->name, now_ms, topic->more ? &topic->place : NULL, limit, &load, &error);

	pusher_note_store(pusher, STORE_READ, "the outbox could not be read", error);
	if (!rows)
		return false;
	for (guint i = 0; i < rows->len; i++)
		pusher_take_row(pusher, &g_array_index(rows, struct push_row, i), false, 0);
	topic->more = (int64_t)rows->len == limit;
	if (topic->more) {
		const struct push_row *last = &g_array_index(rows, struct push_row, rows->len - 1);

		topic->place.due_ms = last->due_ms;
		g_strlcpy(topic->place.enrollment_id, last->enrollment_id, sizeof(topic->place.enrollment_id));
	}
	return true;
}

/* Behind many others, those that must not wait are taken out of turn. */
static void read_urgent(struct pusher *pusher, const struct topic *topic, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_due_urgent(pusher->store, topic->name, now_ms, URGENT_MAX, &load, &error);

	for (guint i = 0; rows && i < rows->len; i++)
		pusher_take_row(pusher, &g_array_index(rows, struct push_row, i), true, 0);
	pusher_note_store(pusher, STORE_READ, "the outbox could not be read", error);
}

static void set_next_look(struct pusher *pusher, struct topic *topic, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	int64_t next_ms = 0;

	topic->look_ms = now_ms + LOOK_MS;
	if (store_push_next(pusher->store, topic->name, now_ms, &next_ms, &error) && next_ms)
		topic->look_ms = MIN(topic->look_ms, next_ms);
}

/* A page is read when half of the line is empty: small pages cost as much as large ones. */
static bool has_room(const struct pusher *pusher, const struct topic *topic, int64_t *ret_room)
{
	struct apns_state state;
	unsigned size;

	apns_get_state(topic->apns, &state);
	size = queue_size(pusher, &state);
	*ret_room = (int64_t)size - state.queued;
	return state.queued <= size / 2;
}

static void look(struct pusher *pusher, struct topic *topic, int64_t now_ms, bool woken)
{
	int64_t room;

	if (!topic->apns || (now_ms < topic->look_ms && !topic->more))
		return;
	if (!has_room(pusher, topic, &room)) {
		if (woken)
			read_urgent(pusher, topic, now_ms);
		/* Later, from where it was left, or from the beginning. */
		if (!topic->more)
			topic->place = (struct push_place){0};
		topic->more = true;
		topic->look_ms = now_ms + LOOK_MS;
		return;
	}
	if (woken && topic->more)
		read_urgent(pusher, topic, now_ms);
	topic->look_ms = now_ms + LOOK_MS;
	if (read_page(pusher, topic, now_ms, room) && !topic->more)
		set_next_look(pusher, topic, now_ms);
}

/* Pushes for enrollments that have no epoch to take them are let go. */
static void look_for_loose(struct pusher *pusher, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;

	if (now_ms < pusher->loose_ms)
		return;
	pusher->loose_ms = now_ms + LOOK_MS;
	rows = store_push_due(pusher->store, "", now_ms, NULL, QUEUE_MAX, &load, &error);
	for (guint i = 0; rows && i < rows->len; i++)
		pusher_take_row(pusher, &g_array_index(rows, struct push_row, i), false, 0);
}

/* Looks at all topics; not while outcomes are not written, whose rows would be taken again. */
static void look_everywhere(struct pusher *pusher, int64_t now_ms, bool woken)
{
	for (unsigned i = 0; i < pusher->n_topics; i++) {
		if (woken)
			pusher->topics[i]->look_ms = 0;
		if (!pusher->outcomes->len)
			(pusher->shared ? claims_look : look)(pusher, pusher->topics[i], now_ms, woken);
	}
	if (!pusher->outcomes->len)
		look_for_loose(pusher, now_ms);
}

static void count(struct pusher *pusher, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) counts = NULL;
	int64_t owed = 0, waiting = 0, dead = 0, begun_ms = pusher_steady_ms();

	if (now_ms < pusher->count_ms)
		return;
	counts = store_push_counts(pusher->store, &load, &error);
	/* Where there are so many that it takes long, less often. */
	pusher->count_ms = now_ms + CLAMP(COUNT_PART * (pusher_steady_ms() - begun_ms), COUNT_MS, COUNT_MAX_MS);
	if (!counts)
		return;
	for (guint i = 0; i < counts->len; i++) {
		const struct push_count *c = &g_array_index(counts, struct push_count, i);

		owed += c->owed;
		waiting += c->waiting;
		dead += c->dead;
	}
	pom_metric_set(POM_METRIC_PUSH_BACKLOG, NULL, owed);
	pom_metric_set(POM_METRIC_PUSH_WAITING, NULL, waiting);
	pom_metric_set(POM_METRIC_PUSH_DEAD, NULL, dead);
}

/* ---- the thread ---- */

/* The clock may have been set back. */
static void check_clock(struct pusher *pusher, int64_t now_ms)
{
	for (unsigned i = 0; i < pusher->n_topics; i++)
		pusher->topics[i]->look_ms = MIN(pusher->topics[i]->look_ms, now_ms + LOOK_MS);
	pusher->loose_ms = MIN(pusher->loose_ms, now_ms + LOOK_MS);
	pusher->load_ms = MIN(pusher->load_ms, now_ms + LOAD_MS);
	pusher->loaded_ms = MIN(pusher->loaded_ms, now_ms);
	pusher->count_ms = MIN(pusher->count_ms, now_ms + COUNT_MAX_MS);
}

/* Waits for the network, a wake-up or time, at most MOST milliseconds; true when woken. */
static bool wait_for_work(struct pusher *pusher, int64_t most)
{
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
	struct pollfd wake = {pusher->wake_fd, POLLIN, 0};
	int64_t steady = pusher_steady_ms(), now_ms = pusher_wall_ms(pusher), until = steady + MIN(most, pusher->load_ms - now_ms), room;
	/* Nothing is looked at then. */
	bool blocked = pusher->outcomes->len || pusher->given_back->len || pusher->lost_claim;
	uint64_t n;

	if (blocked)
		until = MIN(until, steady + WRITE_AGAIN_MS);
	g_array_append_val(fds, wake);
	for (unsigned i = 0; i < pusher->n_topics; i++) {
		const struct topic *topic = pusher->topics[i];

		if (!topic->apns)
			continue;
		apns_poll(topic->apns, &pusher->pace, fds, &until);
		if (blocked)
			continue;
		until = MIN(until, steady + topic->look_ms - now_ms);
		if (topic->more && (pusher->shared ? claims_have_room(pusher, topic) : has_room(pusher, topic, &room)))
			until = steady;
	}
	/* While there is much to do, now and then. */
	if (until - steady >= PUBLISH_MS || steady - pusher->publish_ms >= PUBLISH_MS) {
		pusher->publish_ms = steady;
		topics_publish(pusher);
	}
	poll((struct pollfd *)(void *)fds->data, fds->len, (int)CLAMP(until - steady, 0, most));
	if (!(g_array_index(fds, struct pollfd, 0).revents & POLLIN))
		return false;
	(void)!read(pusher->wake_fd, &n, sizeof(n));
	return true;
}

static void run_topics(struct pusher *pusher)
{
	int64_t now_ms = pusher_steady_ms();

	if (pusher->shared)
		claims_keep(pusher, now_ms);
	push_pace_flow(&pusher->pace, now_ms);
	for (unsigned i = 0; i < pusher->n_topics; i++)
		if (pusher->topics[i]->apns)
			apns_run(pusher->topics[i]->apns, now_ms, pusher_wall_ms(pusher), &pusher->pace);
}

static void drain(struct pusher *pusher)
{
	int64_t until = pusher_steady_ms() + pusher->grace_ms;
	bool flying = true;

	/* What waits stays in the outbox for the next start, or for another node; only what has been sent is worth waiting for. */
	for (unsigned i = 0; i < pusher->n_topics; i++) {
		if (!pusher->topics[i]->apns)
			continue;
		apns_drain(pusher->topics[i]->apns, pusher->grace_ms);
		apns_give_back(pusher->topics[i]->apns, INT64_MAX);
	}
	pusher->write_back_ms = 0;
	claims_write(pusher, pusher_steady_ms());
	while (flying && pusher_steady_ms() < until) {
		struct apns_state state;

		run_topics(pusher);
		flying = false;
		for (unsigned i = 0; i < pusher->n_topics; i++) {
			if (!pusher->topics[i]->apns)
				continue;
			apns_get_state(pusher->topics[i]->apns, &state);
			flying |= state.in_flight > 0;
		}
		if (flying)
			wait_for_work(pusher, 100);
	}
	topics_free(pusher);
	pusher->written_ms = 0;
	write_outcomes(pusher, pusher_wall_ms(pusher));
	pusher->write_back_ms = 0;
	claims_write(pusher, pusher_steady_ms());
}

static void resume(struct pusher *pusher)
{
	for (unsigned i = 0; i < pusher->n_topics; i++)
		if (pusher->topics[i]->apns)
			apns_resume(pusher->topics[i]->apns);
}

/* Certificates may have been imported, by another node too. Where the database is far, not once for each command that wakes. */
static void load(struct pusher *pusher, int64_t now_ms, bool woken)
{
	if (__atomic_exchange_n(&pusher->reload, false, __ATOMIC_SEQ_CST))
		pusher->load_ms = 0;
	else if (woken)
		pusher->load_ms = pusher->shared ? MIN(pusher->load_ms, pusher->loaded_ms + LOAD_REST_MS) : 0;
	if (now_ms < pusher->load_ms)
		return;
	topics_load(pusher);
	pusher->loaded_ms = now_ms;
	pusher->load_ms = now_ms + LOAD_MS;
}

static void *pusher_main(void *data)
{
	struct pusher *pusher = data;
	bool woken = true;

	while (!__atomic_load_n(&pusher->stopping, __ATOMIC_SEQ_CST)) {
		int64_t now_ms = pusher_wall_ms(pusher);

		check_clock(pusher, now_ms);
		load(pusher, now_ms, woken);
		if (__atomic_exchange_n(&pusher->resume, false, __ATOMIC_SEQ_CST))
			resume(pusher);
		topics_check_expiry(pusher);
		look_everywhere(pusher, now_ms, woken);
		count(pusher, now_ms);
		run_topics(pusher);
		write_outcomes(pusher, now_ms);
		claims_write(pusher, pusher_steady_ms());
		woken = wait_for_work(pusher, LOAD_MS);
	}
	drain(pusher);
	return NULL;
}

/* ---- its beginning and end ---- */

static bool parse_url(struct pusher *pusher, const char *url, GError **error)
{
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);

	if (!uri || strcmp(g_uri_get_scheme(uri), "https") || !g_uri_get_host(uri) || !*g_uri_get_host(uri))
		return pom_fail(error, POM_ERR_CONFIG, "apns.url \"%s\" must look like https://api.push.apple.com:443", url);
	pusher->dial.host = g_strdup(g_uri_get_host(uri));
	pusher->dial.port = g_strdup_printf("%d", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : 443);
	pusher->peer = g_strdup_printf("%s:%s", pusher->dial.host, pusher->dial.port);
	return true;
}

static bool check(struct pusher *pusher, const struct push_settings *settings, GError **error)
{
	if (!parse_url(pusher, settings->url ? settings->url : "", error) || !push_proxy_find(settings->proxy, settings->proxy_password_file, &pusher->dial, error))
		return false;
	if (settings->root_file && access(settings->root_file, R_OK) < 0)
		return pom_fail(error, POM_ERR_CONFIG, "apns.root %s cannot be read: %s", settings->root_file, g_strerror(errno));
	if (pusher->dial.proxy_host)
		pusher->proxy = g_strdup_printf("%s:%s", pusher->dial.proxy_host, pusher->dial.proxy_port);
	return true;
}

static void clear_status(void *data)
{
	struct push_status *status = data;

	g_free(status->topic);
	g_free(status->error_reason);
	g_free(status->error_text);
}

static GArray *new_statuses(void)
{
	GArray *statuses = g_array_new(FALSE, TRUE, sizeof(struct push_status));

	g_array_set_clear_func(statuses, clear_status);
	return statuses;
}

static void release(struct pusher *pusher)
{
	if (pusher->wake_fd >= 0)
		close(pusher->wake_fd);
	g_clear_pointer(&pusher->underway, g_hash_table_unref);
	g_clear_pointer(&pusher->outcomes, g_array_unref);
	g_clear_pointer(&pusher->given_back, g_array_unref);
	g_free(pusher->lost_claim);
	g_clear_pointer(&pusher->published, g_array_unref);
	push_proxy_clear(&pusher->dial);
	g_free(pusher->dial.host);
	g_free(pusher->dial.port);
	g_free(pusher->peer);
	g_free(pusher->proxy);
	g_free(pusher->root_file);
	g_free(pusher);
}

static void start(struct pusher *pusher)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_create(&pusher->thread, NULL, pusher_main, pusher);
	pthread_setname_np(pusher->thread, "push");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct pusher *pusher_new(struct store *store, const struct seal *seal, const struct push_settings *settings, const struct pom_clock *clock,
                          const struct pom_random *random, GError **error)
{
	struct pusher *pusher = g_new0(struct pusher, 1);

	pusher->wake_fd = -1;
	if (!check(pusher, settings, error)) {
		release(pusher);
		return NULL;
	}
	pusher->store = store;
	pusher->seal = seal;
	pusher->clock = clock;
	pusher->random = random;
	pusher->root_file = g_strdup(settings->root_file);
	pusher->expiration_s = settings->expiration_s;
	pusher->connections_max = (unsigned)CLAMP(settings->connections, 1, 8);
	pusher->pace = (struct push_pace){MAX(settings->per_second, 0), pusher_steady_ms(), 0};
	pusher->wake_fd = pusher->dial.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pusher->underway = g_hash_table_new(g_str_hash, g_str_equal);
	pusher->outcomes = g_array_new(FALSE, FALSE, sizeof(struct push_outcome));
	g_array_set_clear_func(pusher->outcomes, clear_outcome);
	pusher->given_back = claims_new();
	pusher->shared = store_push_claims(store);
	pusher->claim_ms = MAX(settings->claim_ms, CLAIM_MIN_MS);
	pusher->may_work = settings->may_work;
	pusher->work_ctx = settings->ctx;
	pusher->published = new_statuses();
	pthread_mutex_init(&pusher->lock, NULL);
	start(pusher);
	return pusher;
}

void pusher_free(struct pusher *pusher, unsigned grace_ms)
{
	if (!pusher)
		return;
	pusher->grace_ms = grace_ms;
	__atomic_store_n(&pusher->stopping, true, __ATOMIC_SEQ_CST);
	pusher_wake(pusher);
	pthread_join(pusher->thread, NULL);
	pthread_mutex_destroy(&pusher->lock);
	release(pusher);
}

GArray *pusher_status(struct pusher *pusher)
{
	GArray *copy = new_statuses();

	pthread_mutex_lock(&pusher->lock);
	for (guint i = 0; i < pusher->published->len; i++) {
		struct push_status status = g_array_index(pusher->published, struct push_status, i);

		status.topic = g_strdup(status.topic);
		status.error_reason = g_strdup(status.error_reason);
		status.error_text = g_strdup(status.error_text);
		g_array_append_val(copy, status);
	}
	pthread_mutex_unlock(&pusher->lock);
	return copy;
}

const char *pusher_peer(const struct pusher *pusher)
{
	return pusher->peer;
}

const char *pusher_proxy(const struct pusher *pusher)
{
	return pusher->proxy;
}
