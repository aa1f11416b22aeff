#include "push/push.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "codec/json.h"
#include "core/push.h"
#include "push/apns.h"

enum { TOPICS_MAX = 64, LOAD_MAX = 2000, WRITE_MAX = 500, LOOK_MS = 15000, TOPIC_WAIT_MS = 60000 };

struct topic {
	struct apns *apns;
	int64_t version;
};

struct pusher {
	struct store *store;
	const struct seal *seal;
	const struct pom_clock *clock;
	const struct pom_random *random;
	char *host, *port, *root_file;
	int64_t expiration_s;

	int wake_fd;
	bool stopping; /* atomic */
	unsigned grace_ms;
	pthread_t thread;

	/* The thread's own. */
	struct topic topics[TOPICS_MAX];
	unsigned n_topics;
	GHashTable *underway;   /* enrollment id → generation: loaded and not yet written back */
	bool again;             /* a push was asked for again while it was under way: look when it is done */
	GArray *outcomes;       /* struct push_outcome, to be written */
	int64_t look_ms;
	bool full_page;         /* the last look filled its page: look again when there is room */
};

static int64_t now_of(const struct pusher *pusher)
{
	return pom_clock_now_ms(pusher->clock);
}

void pusher_wake(void *ctx)
{
	struct pusher *pusher = ctx;
	uint64_t one = 1;

	(void)!write(pusher->wake_fd, &one, sizeof(one));
}

/* ---- answers ---- */

static void clear_outcome(void *data)
{
	struct push_outcome *o = data;

	g_free(o->enrollment_id);
	g_free(o->generation);
	g_clear_pointer(&o->push_token, g_bytes_unref);
}

static unsigned jitter(const struct pusher *pusher)
{
	uint16_t n;

	pom_random_fill(pusher->random, &n, sizeof(n));
	return n % 1000;
}

static void add_outcome(struct pusher *pusher, const struct push_outcome *outcome)
{
	g_array_append_vals(pusher->outcomes, outcome, 1);
}

/* Reason and time (ms; 0: none) of an answer's JSON. transfer full. */
static char *parse_answer(const struct apns_push *push, int64_t *ret_at_ms)
{
	g_autoptr(json_t) json = push->body_len ? json_parse(push->body, push->body_len, NULL) : NULL;

	*ret_at_ms = json_integer_value(json_object_get(json, "timestamp"));
	return g_strdup(json_string_value(json_object_get(json, "reason")));
}

static void on_done(void *ctx, struct apns *apns, struct apns_push *push)
{
	struct pusher *pusher = ctx;
	int64_t now_ms = now_of(pusher), at_ms = 0;
	g_autofree char *reason = push->status == APNS_RESET ? g_strdup("reset") : parse_answer(push, &at_ms);
	enum push_verdict verdict = push_decide(push->status, reason);
	struct push_outcome outcome = {g_steal_pointer(&push->enrollment_id), g_steal_pointer(&push->generation), g_steal_pointer(&push->push_token),
	                               push->epoch, push->attempts + 1, now_ms, at_ms ? at_ms : now_ms, PUSH_RETRY};
	char status[8];

	g_snprintf(status, sizeof(status), "%d", push->status);
	switch (verdict) {
	case PUSH_VERDICT_OK:
	case PUSH_VERDICT_BUG:
		outcome.result = PUSH_DONE;
		break;
	case PUSH_VERDICT_TOKEN_DEAD:
		outcome.result = PUSH_TOKEN_DEAD;
		break;
	case PUSH_VERDICT_RETRY:
		outcome.retry_ms = now_ms + push_delay_ms(outcome.attempts, push->status == 429, jitter(pusher));
		break;
	case PUSH_VERDICT_RECONNECT:
		outcome.retry_ms = now_ms + push_delay_ms(outcome.attempts, false, jitter(pusher));
		apns_leave(apns, 0);
		break;
	case PUSH_VERDICT_TOPIC:
		/* The next push would be refused likewise: the whole topic waits. */
		outcome.retry_ms = now_ms + push_delay_ms(outcome.attempts, true, jitter(pusher));
		apns_leave(apns, TOPIC_WAIT_MS);
		break;
	}
	/* Status 0 is a push given back at the end: it stays in the outbox as it is. */
	if (push->status)
		pom_metric_add(POM_METRIC_PUSHES, verdict == PUSH_VERDICT_OK ? "ok" : reason ? reason : status, 1);
	if (push->status && verdict != PUSH_VERDICT_OK)
		pom_log(verdict == PUSH_VERDICT_TOPIC || verdict == PUSH_VERDICT_BUG ? POM_LOG_ERROR : POM_LOG_WARNING, "push refused", "status", status, "reason", reason, "enrollment",
		        outcome.enrollment_id, "topic", apns_topic(apns), NULL);
	g_hash_table_remove(pusher->underway, outcome.enrollment_id);
	if (push->status)
		add_outcome(pusher, &outcome);
	else
		clear_outcome(&outcome);
	apns_push_free(push);
}

/* Writes all outcomes, before the outbox is looked at again: their rows must not be taken twice. */
static void write_outcomes(struct pusher *pusher)
{
	while (pusher->outcomes->len) {
		g_autoptr(GError) error = NULL;
		guint n = MIN(pusher->outcomes->len, WRITE_MAX);

		/* What cannot be written now is pushed again later: harmless. */
		if (!store_push_apply(pusher->store, (const struct push_outcome *)(const void *)pusher->outcomes->data, n, &error))
			pom_log(POM_LOG_ERROR, "outcomes of pushes could not be written", "why", error->message, NULL);
		g_array_remove_range(pusher->outcomes, 0, n);
		/* Nobody else would tell that the wish which came meanwhile is due. */
		if (pusher->again)
			pusher->look_ms = 0;
	}
}

/* ---- topics ---- */

static SSL_CTX *new_context(struct pusher *pusher, const struct push_certificate_row *row, GError **error)
{
	static const unsigned char alpn[] = {2, 'h', '2'};
	g_autoptr(GBytes) secret = seal_open(pusher->seal, "push_certificate", row->topic, "key", row->key_sealed, error);
	g_autoptr(signer) key = secret ? signer_parse(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret), error) : NULL;
	const unsigned char *p = g_bytes_get_data(row->certificates, NULL), *end = p + g_bytes_get_size(row->certificates);
	g_autoptr(X509) leaf = key ? d2i_X509(NULL, &p, end - p) : NULL;
	SSL_CTX *tls;
	X509 *extra;
	bool ok;

	if (!leaf)
		return NULL;
	tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_alpn_protos(tls, alpn, sizeof(alpn));
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* What the other side accepts is its business: old push certificates are signed with SHA-1. */
	SSL_CTX_set_security_level(tls, 1);
	ok = SSL_CTX_use_certificate(tls, leaf) == 1 && SSL_CTX_use_PrivateKey(tls, signer_get_key(key)) == 1 &&
	     (pusher->root_file ? SSL_CTX_load_verify_file(tls, pusher->root_file) : SSL_CTX_set_default_verify_paths(tls)) == 1;
	while (ok && p < end && (extra = d2i_X509(NULL, &p, end - p)))
		ok = SSL_CTX_add0_chain_cert(tls, extra) == 1;
	ERR_clear_error();
	if (ok)
		return tls;
	SSL_CTX_free(tls);
	pom_fail(error, POM_ERR_PUSH_CERT, "the push certificate of topic %s cannot be used", row->topic);
	return NULL;
}

static struct topic *find_topic(struct pusher *pusher, const char *name)
{
	for (unsigned i = 0; i < pusher->n_topics; i++)
		if (!strcmp(apns_topic(pusher->topics[i].apns), name))
			return &pusher->topics[i];
	return NULL;
}

/* A new or renewed certificate gets a new connection; what the old one had comes back to the outbox and is looked at again. */
static void load_topic(struct pusher *pusher, const struct push_certificate_row *row)
{
	struct topic *topic = find_topic(pusher, row->topic);
	g_autoptr(GError) error = NULL;
	SSL_CTX *tls;

	if ((topic && topic->version == row->version) || (!topic && pusher->n_topics == TOPICS_MAX))
		return;
	tls = new_context(pusher, row, &error);
	if (!tls) {
		pom_log(POM_LOG_ERROR, "push certificate", "why", error ? error->message : "unreadable", "topic", row->topic, NULL);
		return;
	}
	if (topic)
		apns_free(topic->apns);
	else
		topic = &pusher->topics[pusher->n_topics++];
	topic->version = row->version;
	topic->apns = apns_new(&(struct apns_config){pusher->host, pusher->port, row->topic, tls, pusher->expiration_s, on_done, pusher});
	SSL_CTX_free(tls);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "push", row->not_after_ms / 1000);
}

static void load_topics(struct pusher *pusher)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_certificate_list(pusher->store, &load, &error);

	for (guint i = 0; rows && i < rows->len; i++)
		load_topic(pusher, &g_array_index(rows, struct push_certificate_row, i));
	if (error)
		pom_log(POM_LOG_ERROR, "push certificates could not be read", "why", error->message, NULL);
}

/* ---- the outbox ---- */

static void take_row(struct pusher *pusher, const struct push_row *row, int64_t now_ms)
{
	struct topic *topic = row->topic ? find_topic(pusher, row->topic) : NULL;
	struct push_outcome outcome = {.epoch = row->epoch, .attempts = row->attempts + 1};
	struct apns_push *push;
	const char *underway;

	underway = g_hash_table_lookup(pusher->underway, row->enrollment_id);
	if (underway) {
		pusher->again |= strcmp(underway, row->generation) != 0;
		return;
	}
	if (topic && row->push_token && row->push_magic && !row->dead_ms) {
		g_hash_table_insert(pusher->underway, g_strdup(row->enrollment_id), g_strdup(row->generation));
		push = g_new0(struct apns_push, 1);
		push->enrollment_id = g_strdup(row->enrollment_id);
		push->generation = g_strdup(row->generation);
		push->push_magic = g_strdup(row->push_magic);
		push->push_token = g_bytes_ref(row->push_token);
		push->epoch = row->epoch;
		push->attempts = row->attempts;
		apns_submit(topic->apns, push);
		return;
	}
	/* No token (any more): the device's next TokenUpdate will find its commands. No certificate: try later. */
	outcome.enrollment_id = g_strdup(row->enrollment_id);
	outcome.generation = g_strdup(row->generation);
	outcome.result = row->push_token && !row->dead_ms && row->topic ? PUSH_RETRY : PUSH_DONE;
	outcome.retry_ms = now_ms + TOPIC_WAIT_MS;
	add_outcome(pusher, &outcome);
}

static void look_into_outbox(struct pusher *pusher, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	int64_t limit = LOAD_MAX + (int64_t)g_hash_table_size(pusher->underway), next_ms = 0, n = 0;

	pusher->look_ms = now_ms + LOOK_MS;
	/* While APNs is away, each wake-up would take in and read over more of what waits. */
	pusher->full_page = g_hash_table_size(pusher->underway) >= LOAD_MAX;
	if (pusher->full_page)
		return;
	pusher->again = false;
	rows = store_push_due(pusher->store, now_ms, limit, &load, &error);
	for (guint i = 0; rows && i < rows->len; i++)
		take_row(pusher, &g_array_index(rows, struct push_row, i), now_ms);
	pusher->full_page = rows && (int64_t)rows->len == limit;
	if (!error && store_push_backlog(pusher->store, &next_ms, &n, &error)) {
		pom_metric_set(POM_METRIC_PUSH_BACKLOG, NULL, n);
		if (next_ms > now_ms)
			pusher->look_ms = MIN(pusher->look_ms, next_ms);
	}
	if (error)
		pom_log(POM_LOG_ERROR, "the outbox could not be read", "why", error->message, NULL);
}

/* ---- the thread ---- */

/* Waits for the network, a wake-up or time; true when woken. */
static bool wait_for_work(struct pusher *pusher)
{
	struct pollfd fds[TOPICS_MAX + 1] = {{pusher->wake_fd, POLLIN, 0}};
	int64_t until = pusher->look_ms, now_ms = now_of(pusher);
	uint64_t n;

	for (unsigned i = 0; i < pusher->n_topics; i++) {
		int64_t at;

		apns_poll(pusher->topics[i].apns, &fds[i + 1], &at);
		until = MIN(until, at);
	}
	poll(fds, pusher->n_topics + 1, (int)CLAMP(until - now_ms, 0, LOOK_MS));
	if (!(fds[0].revents & POLLIN))
		return false;
	(void)!read(pusher->wake_fd, &n, sizeof(n));
	return true;
}

static void run_topics(struct pusher *pusher)
{
	for (unsigned i = 0; i < pusher->n_topics; i++)
		apns_run(pusher->topics[i].apns, now_of(pusher));
}

/* What waits stays in the outbox for the next start; only what has been sent is worth waiting for. */
static size_t in_flight(const struct pusher *pusher)
{
	size_t n = 0;

	for (unsigned i = 0; i < pusher->n_topics; i++)
		n += apns_in_flight(pusher->topics[i].apns);
	return n;
}

static void drain(struct pusher *pusher)
{
	int64_t until = now_of(pusher) + pusher->grace_ms;

	while (in_flight(pusher) && now_of(pusher) < until) {
		pusher->look_ms = now_of(pusher) + 100;
		wait_for_work(pusher);
		run_topics(pusher);
	}
	while (pusher->n_topics)
		apns_free(pusher->topics[--pusher->n_topics].apns);
	write_outcomes(pusher);
}

static void *pusher_main(void *data)
{
	struct pusher *pusher = data;

	load_topics(pusher);
	while (!__atomic_load_n(&pusher->stopping, __ATOMIC_SEQ_CST)) {
		bool woken = wait_for_work(pusher);
		int64_t now_ms = now_of(pusher);

		/* The clock may have been set back. */
		pusher->look_ms = MIN(pusher->look_ms, now_ms + LOOK_MS);
		if (woken || now_ms >= pusher->look_ms)
			load_topics(pusher);
		if (woken || now_ms >= pusher->look_ms || (pusher->full_page && g_hash_table_size(pusher->underway) < LOAD_MAX))
			look_into_outbox(pusher, now_ms);
		run_topics(pusher);
		write_outcomes(pusher);
	}
	drain(pusher);
	return NULL;
}

static bool parse_url(struct pusher *pusher, const char *url, GError **error)
{
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);

	if (!uri || strcmp(g_uri_get_scheme(uri), "https") || !g_uri_get_host(uri) || !*g_uri_get_host(uri))
		return pom_fail(error, POM_ERR_CONFIG, "apns.url \"%s\" must look like https://api.push.apple.com:443", url);
	pusher->host = g_strdup(g_uri_get_host(uri));
	pusher->port = g_strdup_printf("%d", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : 443);
	return true;
}

struct pusher *pusher_new(struct store *store, const struct seal *seal, const struct push_settings *settings, const struct pom_clock *clock,
                          const struct pom_random *random, GError **error)
{
	struct pusher *pusher = g_new0(struct pusher, 1);
	sigset_t all, old;

	pusher->wake_fd = -1;
	if (!parse_url(pusher, settings->url ? settings->url : "", error)) {
		g_free(pusher);
		return NULL;
	}
	if (settings->root_file && access(settings->root_file, R_OK) < 0) {
		pom_fail(error, POM_ERR_CONFIG, "apns.root %s cannot be read: %s", settings->root_file, g_strerror(errno));
		g_free(pusher->host);
		g_free(pusher->port);
		g_free(pusher);
		return NULL;
	}
	pusher->store = store;
	pusher->seal = seal;
	pusher->clock = clock;
	pusher->random = random;
	pusher->root_file = g_strdup(settings->root_file);
	pusher->expiration_s = settings->expiration_s;
	pusher->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pusher->underway = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	pusher->outcomes = g_array_new(FALSE, FALSE, sizeof(struct push_outcome));
	g_array_set_clear_func(pusher->outcomes, clear_outcome);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_create(&pusher->thread, NULL, pusher_main, pusher);
	pthread_setname_np(pusher->thread, "push");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
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
	close(pusher->wake_fd);
	g_hash_table_unref(pusher->underway);
	g_array_unref(pusher->outcomes);
	g_free(pusher->host);
	g_free(pusher->port);
	g_free(pusher->root_file);
	g_free(pusher);
}
