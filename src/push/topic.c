/* Topics: their certificates, what answers of APNs mean for them, and what is said of them. */
#include <openssl/err.h>
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "push/pusher_internal.h"

enum { BUSY_MAX = 10, FOREIGN_MAX = 20, RECONNECTS_MAX = 3, LOG_MS = 10000, LOG_MAX = 20 };

struct topic *topic_find(const struct pusher *pusher, const char *name)
{
	for (unsigned i = 0; name && i < pusher->n_topics; i++)
		if (!strcmp(pusher->topics[i]->name, name))
			return pusher->topics[i];
	return NULL;
}

/* ---- troubles ---- */

static void trouble_clear(struct push_trouble *trouble)
{
	g_free(trouble->reason);
	g_free(trouble->text);
	*trouble = (struct push_trouble){0};
}

static void note_trouble(struct topic *topic, enum pom_error code, const char *reason, const char *text)
{
	trouble_clear(&topic->trouble);
	topic->trouble = (struct push_trouble){pom_error_info(code)->id, g_strdup(reason && *reason ? reason : NULL), g_strdup(text), pusher_wall_ms(topic->pusher)};
}

/* Something is wrong that Pomona cannot put right: said once, until pushes go out again. */
static void stop(struct topic *topic, enum pom_error code, const char *reason, const char *text)
{
	note_trouble(topic, code, reason, text);
	if (!topic->stopped)
		pom_log(POM_LOG_ERROR, "pushes are stopped", "topic", topic->name, "id", pom_error_info(code)->id, "reason", reason, "why", text, NULL);
	topic->stopped = true;
}

static void pause_topic(struct topic *topic, bool slow, int64_t at_least_ms)
{
	topic->n_pauses++;
	apns_pause(topic->apns, MAX(push_pause_ms(topic->n_pauses, slow, pusher_jitter(topic->pusher)), at_least_ms), slow);
}

static void recover(struct topic *topic)
{
	if (topic->stopped || topic->trouble.id)
		pom_log(POM_LOG_NOTICE, "pushes go out", "topic", topic->name, NULL);
	topic->stopped = false;
	topic->n_pauses = 0;
	topic->n_busy = topic->n_foreign = 0;
	trouble_clear(&topic->trouble);
}

/* A connection failed, or ended with a GOAWAY that gave a reason. */
static void on_failed(void *ctx, struct apns *apns, const GError *error, const char *goaway_reason)
{
	struct topic *topic = ctx;
	const struct push_reason *reason = push_reason_find(goaway_reason);

	if (reason && reason->verdict == PUSH_VERDICT_TOPIC) {
		stop(topic, POM_ERR_PUSH_CERT_REFUSED, goaway_reason, reason->text);
		pause_topic(topic, true, 0);
		return;
	}
	if (!error) {
		pom_log(POM_LOG_INFO, "APNs says goodbye", "topic", topic->name, "reason", goaway_reason, NULL);
		return;
	}
	if (g_error_matches(error, POM_ERROR, POM_ERR_PUSH_CERT_REFUSED)) {
		stop(topic, POM_ERR_PUSH_CERT_REFUSED, NULL, error->message);
		pause_topic(topic, true, 0);
		return;
	}
	note_trouble(topic, (enum pom_error)error->code, goaway_reason, error->message);
	pom_log(POM_LOG_WARNING, "APNs connection", "topic", topic->name, "id", pom_error_info_of(error)->id, "why", error->message, NULL);
}

/* ---- answers ---- */

/* A refusal of each push would fill the log when there are many: the first ones of every ten seconds say what it is. */
static void log_refusal(struct pusher *pusher, enum pom_log_level level, const struct topic *topic, const struct apns_push *push, const char *reason)
{
	int64_t now_ms = pusher_wall_ms(pusher);
	char status[12], more[12] = "";

	if (now_ms - pusher->log_ms >= LOG_MS || now_ms < pusher->log_ms) {
		pusher->log_ms = now_ms;
		pusher->n_logged = 0;
	}
	if (pusher->n_logged++ >= LOG_MAX) {
		pusher->n_unlogged++;
		return;
	}
	g_snprintf(status, sizeof(status), "%d", push->status);
	if (pusher->n_unlogged)
		g_snprintf(more, sizeof(more), "%u", pusher->n_unlogged);
	pusher->n_unlogged = 0;
	pom_log(level, "push refused", "status", status, "reason", reason, "enrollment", push->enrollment_id, "topic", topic->name, "apns_id", push->id, "before_unlogged", more, NULL);
}

static char *describe_sent(const struct apns_push *push)
{
	if (push->n_sent)
		return g_strdup_printf("apns-id %s, push %" G_GINT64_FORMAT " to a device that has not come", push->id, push->n_sent + 1);
	return g_strdup_printf("apns-id %s", push->id);
}

static char *describe_refused(const struct apns_push *push, const char *reason)
{
	const struct push_reason *known = push_reason_find(reason);

	if (push->status == APNS_RESET)
		return g_strdup_printf("APNs resets it without an answer; apns-id %s, try %" G_GINT64_FORMAT, push->id, push->attempts + 1);
	return g_strdup_printf("%s (status %d)%s%s; apns-id %s, try %" G_GINT64_FORMAT, *reason ? reason : "no reason given", push->status, known ? ": " : "", known ? known->text : "", push->id,
	                       push->attempts + 1);
}

/* Many tokens in a row that are not of this topic: rather is the certificate the wrong one, and no token must be given up for that. */
static bool is_wrong_certificate(struct topic *topic, const char *reason)
{
	if (strcmp(reason, "BadDeviceToken") && strcmp(reason, "DeviceTokenNotForTopic"))
		return false;
	return ++topic->n_foreign >= FOREIGN_MAX;
}

static void take_dead(struct topic *topic, const struct push_answer *answer, struct push_outcome *o)
{
	o->dead_ms = answer->timestamp_ms ? answer->timestamp_ms : o->at_ms;
	o->result = PUSH_TOKEN_DEAD;
	if (!is_wrong_certificate(topic, answer->reason))
		return;
	o->result = PUSH_RETRY;
	stop(topic, POM_ERR_PUSH_CERT, answer->reason, "APNs refuses one push token after another: the push certificate is not the one that the devices have enrolled with, or apns.url is not its environment.");
	pause_topic(topic, true, 0);
}

static void take_busy(struct topic *topic, const struct apns_push *push, const char *reason)
{
	const struct push_reason *known = push_reason_find(reason);

	note_trouble(topic, POM_ERR_PUSH_BUSY, reason, known ? known->text : "APNs resets what it is sent, or answers with a fault.");
	if (++topic->n_busy < BUSY_MAX && !push->retry_after_ms)
		return;
	topic->n_busy = 0;
	pause_topic(topic, false, push->retry_after_ms);
}

/* What VERDICT means for the topic and for this push. */
static void take_verdict(struct topic *topic, enum push_verdict verdict, const struct push_answer *answer, const struct apns_push *push, struct push_outcome *o)
{
	const struct push_reason *known = push_reason_find(answer->reason);

	o->retry_ms = o->at_ms + MAX(push_delay_ms(o->attempts, verdict, pusher_jitter(topic->pusher)), push->retry_after_ms);
	switch (verdict) {
	case PUSH_VERDICT_OK:
		recover(topic);
		o->result = PUSH_SENT;
		o->retry_ms = o->at_ms + push_again_ms(push->n_sent + 1, pusher_jitter(topic->pusher));
		break;
	case PUSH_VERDICT_TOKEN_DEAD:
		take_dead(topic, answer, o);
		break;
	case PUSH_VERDICT_TOPIC:
		stop(topic, POM_ERR_PUSH_CERT_REFUSED, answer->reason, known ? known->text : "APNs does not let this push certificate push.");
		pause_topic(topic, true, 0);
		break;
	case PUSH_VERDICT_BUG:
		note_trouble(topic, POM_ERR_PUSH_REFUSED, answer->reason, known ? known->text : "APNs refuses the push for a reason that Pomona does not know.");
		break;
	case PUSH_VERDICT_SLOW:
		o->slow = true;
		break;
	case PUSH_VERDICT_RETRY:
	case PUSH_VERDICT_RECONNECT:
	case PUSH_VERDICT_MAX:
		take_busy(topic, push, answer->reason);
		break;
	}
}

/* Sent again at once over another connection: nothing is wrong with the push. */
static bool is_sent_again(struct apns *apns, struct apns_push *push, enum push_verdict verdict)
{
	if (verdict != PUSH_VERDICT_RECONNECT || ++push->resets > RECONNECTS_MAX)
		return false;
	push->status = 0;
	push->body_len = 0;
	push->retry_after_ms = 0;
	apns_reconnect(apns);
	apns_submit(apns, push);
	return true;
}

static void take_outcome(struct topic *topic, struct apns_push *push, enum push_verdict verdict, const struct push_answer *answer)
{
	struct pusher *pusher = topic->pusher;
	struct push_outcome o = {.epoch = push->epoch, .attempts = push->attempts + 1, .at_ms = pusher_wall_ms(pusher), .result = PUSH_RETRY};
	char status[12];

	take_verdict(topic, verdict, answer, push, &o);
	g_snprintf(status, sizeof(status), "%d", push->status);
	pom_metric_add(POM_METRIC_PUSHES, verdict == PUSH_VERDICT_OK ? "ok" : push->status == APNS_RESET ? "reset" : *answer->reason ? answer->reason : status, 1);
	if (verdict != PUSH_VERDICT_OK)
		log_refusal(pusher, verdict == PUSH_VERDICT_BUG ? POM_LOG_ERROR : POM_LOG_WARNING, topic, push, push->status == APNS_RESET ? "reset" : answer->reason);
	o.detail = verdict == PUSH_VERDICT_OK ? describe_sent(push) : describe_refused(push, answer->reason);
	o.enrollment_id = g_steal_pointer(&push->enrollment_id);
	o.generation = g_steal_pointer(&push->generation);
	o.push_token = g_steal_pointer(&push->push_token);
	o.claim = g_steal_pointer(&push->claim);
	g_hash_table_remove(pusher->underway, o.enrollment_id);
	pusher_add_outcome(pusher, &o);
}

void topic_take_answer(void *ctx, struct apns *apns, struct apns_push *push)
{
	struct topic *topic = ctx;
	struct push_answer answer = {0};
	enum push_verdict verdict;

	/* Given back, it stays in the outbox as it is. */
	if (!push->status) {
		g_hash_table_remove(topic->pusher->underway, push->enrollment_id);
		claim_give_back(topic->pusher, push);
		apns_push_free(push);
		return;
	}
	if (push->status != 200)
		push_answer_parse(push->body, push->body_len, &answer);
	verdict = push_decide(push->status, answer.reason);
	if (is_sent_again(apns, push, verdict))
		return;
	take_outcome(topic, push, verdict, &answer);
	apns_push_free(push);
}

/* ---- certificates ---- */

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
	/* The frames of HTTP/2 show whether something is missing. */
	SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
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

static struct topic *add_topic(struct pusher *pusher, const char *name)
{
	struct topic *topic = g_new0(struct topic, 1);

	topic->pusher = pusher;
	topic->name = g_strdup(name);
	pusher->topics[pusher->n_topics++] = topic;
	return topic;
}

static void topic_free(struct topic *topic)
{
	apns_free(topic->apns);
	trouble_clear(&topic->trouble);
	g_free(topic->name);
	g_free(topic);
}

/* A new or renewed certificate takes effect at once. */
static void use_certificate(struct topic *topic, const struct push_certificate_row *row)
{
	struct pusher *pusher = topic->pusher;
	g_autoptr(GError) error = NULL;
	SSL_CTX *tls = new_context(pusher, row, &error);

	topic->version = row->version;
	topic->not_after_ms = row->not_after_ms;
	topic->stopped = topic->expired = false;
	topic->look_ms = 0;
	trouble_clear(&topic->trouble);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "push", row->not_after_ms / 1000);
	if (!tls) {
		apns_free(g_steal_pointer(&topic->apns));
		stop(topic, POM_ERR_PUSH_CERT, NULL, error ? error->message : "the push certificate cannot be read");
		return;
	}
	topic->n_pauses = topic->n_busy = topic->n_foreign = 0;
	if (topic->apns)
		apns_renew(topic->apns, tls);
	else
		topic->apns = apns_new(&(struct apns_config){&pusher->dial, topic->name, tls, pusher->expiration_s, pusher->connections_max, pusher->random, topic_take_answer, on_failed, topic});
	SSL_CTX_free(tls);
}

static void load_topic(struct pusher *pusher, const struct push_certificate_row *row)
{
	struct topic *topic = topic_find(pusher, row->topic);

	if (!topic && pusher->n_topics == TOPICS_MAX)
		return;
	if (!topic)
		topic = add_topic(pusher, row->topic);
	topic->seen = true;
	if (topic->version != row->version)
		use_certificate(topic, row);
}

void topics_load(struct pusher *pusher)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_certificate_list(pusher->store, &load, &error);

	pusher_note_store(pusher, STORE_READ, "push certificates could not be read", error);
	if (!rows)
		return;
	for (unsigned i = 0; i < pusher->n_topics; i++)
		pusher->topics[i]->seen = false;
	for (guint i = 0; i < rows->len; i++)
		load_topic(pusher, &g_array_index(rows, struct push_certificate_row, i));
	for (unsigned i = pusher->n_topics; i-- > 0;)
		if (!pusher->topics[i]->seen) {
			topic_free(pusher->topics[i]);
			pusher->topics[i] = pusher->topics[--pusher->n_topics];
		}
}

void topics_check_expiry(struct pusher *pusher)
{
	for (unsigned i = 0; i < pusher->n_topics; i++) {
		struct topic *topic = pusher->topics[i];

		if (topic->expired || !topic->apns || pusher_wall_ms(pusher) < topic->not_after_ms)
			continue;
		topic->expired = true;
		/* What is under way goes back to the outbox, where everything waits for the renewed certificate. */
		apns_free(g_steal_pointer(&topic->apns));
		stop(topic, POM_ERR_PUSH_CERT_EXPIRED, NULL, "The push certificate has expired: renew it at identity.apple.com (\"renew\", with the Apple account that made it), and import it. Until then no device is woken; nothing is lost.");
	}
}

void topics_free(struct pusher *pusher)
{
	while (pusher->n_topics)
		topic_free(pusher->topics[--pusher->n_topics]);
}

/* ---- what is said of them ---- */

static const char *name_state(const struct topic *topic, const struct apns_state *state)
{
	if (topic->expired)
		return "expired";
	if (!topic->apns)
		return "unusable";
	if (topic->stopped)
		return "stopped";
	if (state->ready)
		return "connected";
	if (state->connections)
		return "connecting";
	return state->pause_ms ? "waiting" : "idle";
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct push_status *)a)->topic, ((const struct push_status *)b)->topic);
}

void topics_publish(struct pusher *pusher)
{
	pthread_mutex_lock(&pusher->lock);
	g_array_set_size(pusher->published, 0);
	for (unsigned i = 0; i < pusher->n_topics; i++) {
		const struct topic *topic = pusher->topics[i];
		struct apns_state state = {0};

		if (topic->apns)
			apns_get_state(topic->apns, &state);
		struct push_status status = {
			g_strdup(topic->name), name_state(topic, &state), state.connections, state.streams, state.in_flight, state.queued, topic->not_after_ms,
			state.pause_ms ? pusher_wall_ms(pusher) + state.pause_ms : 0, topic->trouble.id, g_strdup(topic->trouble.reason), g_strdup(topic->trouble.text), topic->trouble.at_ms,
		};
		g_array_append_val(pusher->published, status);
		pom_metric_set(POM_METRIC_PUSH_CONNECTIONS, topic->name, state.connections);
		pom_metric_set(POM_METRIC_PUSH_STOPPED, topic->name, topic->stopped);
	}
	g_array_sort(pusher->published, compare);
	pthread_mutex_unlock(&pusher->lock);
}
