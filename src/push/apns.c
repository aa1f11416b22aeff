#include "push/apns.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/json.h"

enum { STREAMS_MAX = 1500, RESETS_MAX = 3, CONNECT_MS = 15000, ANSWER_MS = 60000, CHECK_MS = 5000, PING_MS = 3600 * 1000, BACKOFF_FIRST_MS = 500, BACKOFF_MAX_MS = 60000, NEVER_MS = 3600 * 1000 };

enum state { CLOSED, CONNECTING, HANDSHAKE, READY };

struct apns {
	char *host, *port, *topic;
	SSL_CTX *tls;
	int64_t expiration_s;
	apns_done_fn done;
	void *ctx;

	enum state state;
	int fd;
	SSL *ssl;
	nghttp2_session *session;
	struct addrinfo *addresses, *next_address;
	int64_t since_ms, retry_ms, heard_ms, backoff_ms;
	bool want_write, closing;
	bool answered;      /* this connection has answered a push */
	bool leaving;       /* … and is to be left */
	int64_t check_ms;   /* when to look for pushes that are not answered */
	GQueue waiting;     /* struct apns_push */
	GHashTable *flying; /* stream id → struct apns_push */
	int64_t now_ms;
	const uint8_t *unsent; /* what nghttp2 gave and TLS did not take yet */
	size_t unsent_len;
};

void apns_push_free(struct apns_push *push)
{
	if (!push)
		return;
	g_free(push->enrollment_id);
	g_free(push->generation);
	g_free(push->push_magic);
	g_free(push->body_text);
	g_clear_pointer(&push->push_token, g_bytes_unref);
	g_free(push);
}

struct apns *apns_new(const struct apns_config *config)
{
	struct apns *apns = g_new0(struct apns, 1);

	apns->host = g_strdup(config->host);
	apns->port = g_strdup(config->port);
	apns->topic = g_strdup(config->topic);
	apns->tls = config->tls;
	SSL_CTX_up_ref(apns->tls);
	apns->expiration_s = config->expiration_s;
	apns->done = config->done;
	apns->ctx = config->ctx;
	apns->fd = -1;
	apns->flying = g_hash_table_new(NULL, NULL);
	g_queue_init(&apns->waiting);
	return apns;
}

const char *apns_topic(const struct apns *apns)
{
	return apns->topic;
}

size_t apns_pending(const struct apns *apns)
{
	return apns->waiting.length + g_hash_table_size(apns->flying);
}

size_t apns_in_flight(const struct apns *apns)
{
	return g_hash_table_size(apns->flying);
}

void apns_submit(struct apns *apns, struct apns_push *push)
{
	g_queue_push_tail(&apns->waiting, push);
}

/* What flew goes back to the head of the line: APNs may or may not have it, and a second push does no harm. */
static void requeue_flying(struct apns *apns)
{
	GHashTableIter iter;
	void *push;

	g_hash_table_iter_init(&iter, apns->flying);
	while (g_hash_table_iter_next(&iter, NULL, &push)) {
		((struct apns_push *)push)->status = 0;
		((struct apns_push *)push)->body_len = 0;
		g_queue_push_head(&apns->waiting, push);
	}
	g_hash_table_remove_all(apns->flying);
}

static void drop_connection(struct apns *apns)
{
	requeue_flying(apns);
	g_clear_pointer(&apns->session, nghttp2_session_del);
	g_clear_pointer(&apns->ssl, SSL_free);
	if (apns->fd >= 0)
		close(apns->fd);
	apns->fd = -1;
	apns->state = CLOSED;
	apns->unsent_len = 0;
	apns->closing = apns->leaving = apns->answered = false;
}

void apns_free(struct apns *apns)
{
	struct apns_push *push;

	if (!apns)
		return;
	drop_connection(apns);
	g_clear_pointer(&apns->addresses, freeaddrinfo);
	while ((push = g_queue_pop_head(&apns->waiting)))
		apns->done(apns->ctx, apns, push);
	g_hash_table_unref(apns->flying);
	SSL_CTX_free(apns->tls);
	g_free(apns->host);
	g_free(apns->port);
	g_free(apns->topic);
	g_free(apns);
}

void apns_leave(struct apns *apns, int64_t rest_ms)
{
	apns->leaving = true;
	apns->retry_ms = apns->now_ms + rest_ms;
}

/* The connection failed: wait longer each time. */
static void fail(struct apns *apns, const char *what, const char *why)
{
	drop_connection(apns);
	apns->backoff_ms = CLAMP(apns->backoff_ms * 2, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
	apns->retry_ms = apns->now_ms + apns->backoff_ms;
	pom_log(POM_LOG_WARNING, "APNs connection", "what", what, "why", why, "host", apns->host, "topic", apns->topic, NULL);
}

static const char *tls_error(const SSL *ssl)
{
	long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	unsigned long code = ERR_get_error();

	if (verify != X509_V_OK)
		return X509_verify_cert_error_string(verify);
	return code ? ERR_reason_error_string(code) : "the connection was closed";
}

/* ---- HTTP/2 ---- */

static struct apns_push *push_of(struct apns *apns, int32_t stream)
{
	return g_hash_table_lookup(apns->flying, GINT_TO_POINTER(stream));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct apns_push *push = push_of(data, frame->hd.stream_id);

	if (push && name_len == 7 && !memcmp(name, ":status", 7) && value_len == 3)
		push->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t len, void *data)
{
	struct apns_push *push = push_of(data, stream);

	if (!push)
		return 0;
	len = MIN(len, sizeof(push->body) - 1 - push->body_len);
	memcpy(push->body + push->body_len, bytes, len);
	push->body_len += len;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data)
{
	struct apns *apns = data;
	struct apns_push *push = push_of(apns, stream);

	if (!push)
		return 0;
	g_hash_table_remove(apns->flying, GINT_TO_POINTER(stream));
	if (!push->status && ++push->resets < RESETS_MAX) {
		/* Refused or reset without an answer: not processed (RFC 9113 §8.7). */
		push->body_len = 0;
		g_queue_push_head(&apns->waiting, push);
		return 0;
	}
	if (push->status) {
		apns->answered = true;
		apns->backoff_ms = 0;
	} else {
		push->status = APNS_RESET;
	}
	apns->done(apns->ctx, apns, push);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct apns *apns = data;

	if (frame->hd.type == NGHTTP2_GOAWAY) {
		g_autofree char *reason = g_strndup((const char *)frame->goaway.opaque_data, MIN(frame->goaway.opaque_data_len, 256));

		pom_log(POM_LOG_NOTICE, "APNs says goodbye", "reason", reason, "topic", apns->topic, NULL);
		apns->closing = true;
	}
	return 0;
}

static void open_session(struct apns *apns)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}};
	nghttp2_session_callbacks *callbacks;

	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_client_new(&apns->session, callbacks, apns);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(apns->session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
	apns->state = READY;
	apns->heard_ms = apns->now_ms;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct apns_push *push = source->ptr;
	size_t rest = strlen(push->body_text) - push->body_sent, n = MIN(rest, len);

	/* Flow control may leave room for a part only. */
	memcpy(buf, push->body_text + push->body_sent, n);
	push->body_sent += n;
	if (n == rest)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* The magic is an opaque string of the device: it must not break out of its JSON string. transfer full. */
static char *format_body(const struct apns_push *push)
{
	g_autoptr(json_t) json = json_pack("{s:s}", "mdm", push->push_magic);
	g_autoptr(GBytes) text = json_format(json);

	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

static nghttp2_nv nv(const char *name, const char *value, uint8_t flags)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), flags};
}

static bool send_push(struct apns *apns, struct apns_push *push)
{
	static const char hex[] = "0123456789abcdef";
	gsize len;
	const uint8_t *token = g_bytes_get_data(push->push_token, &len);
	g_autofree char *path = g_malloc(strlen("/3/device/") + 2 * len + 1);
	char expiration[24], *p = g_stpcpy(path, "/3/device/");
	nghttp2_data_provider body = {.source.ptr = push, .read_callback = read_body};
	int32_t stream;

	for (gsize i = 0; i < len; i++) {
		*p++ = hex[token[i] >> 4];
		*p++ = hex[token[i] & 15];
	}
	*p = '\0';
	g_snprintf(expiration, sizeof(expiration), "%" G_GINT64_FORMAT, apns->expiration_s ? apns->now_ms / 1000 + apns->expiration_s : 0);
	const nghttp2_nv headers[] = {
		nv(":method", "POST", 0), nv(":scheme", "https", 0), nv(":authority", apns->host, 0), nv(":path", path, NGHTTP2_NV_FLAG_NO_INDEX),
		nv("apns-topic", apns->topic, 0), nv("apns-push-type", "mdm", 0), nv("apns-priority", "10", 0), nv("apns-expiration", expiration, 0),
		nv("content-type", "application/json", 0),
	};
	if (!push->body_text)
		push->body_text = format_body(push);
	push->body_sent = 0;
	stream = nghttp2_submit_request(apns->session, NULL, headers, G_N_ELEMENTS(headers), &body, NULL);
	if (stream < 0)
		return false;
	push->sent_ms = apns->now_ms;
	g_hash_table_insert(apns->flying, GINT_TO_POINTER(stream), push);
	return true;
}

static void submit_waiting(struct apns *apns)
{
	uint32_t streams = nghttp2_session_get_remote_settings(apns->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	struct apns_push *push;

	streams = MIN(streams, STREAMS_MAX);
	while (!apns->closing && g_hash_table_size(apns->flying) < streams && (push = g_queue_pop_head(&apns->waiting)))
		if (!send_push(apns, push)) {
			g_queue_push_head(&apns->waiting, push);
			apns->closing = true;
		}
}

/* ---- the connection ---- */

static bool resolve(struct apns *apns)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	int code;

	g_clear_pointer(&apns->addresses, freeaddrinfo);
	code = getaddrinfo(apns->host, apns->port, &hints, &apns->addresses);
	apns->next_address = apns->addresses;
	if (code)
		fail(apns, "name lookup", gai_strerror(code));
	return code == 0;
}

static void start_connect(struct apns *apns)
{
	const struct addrinfo *a;
	int one = 1;

	if (!apns->next_address && !resolve(apns))
		return;
	a = apns->next_address;
	apns->next_address = a->ai_next;
	apns->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (apns->fd < 0 || (connect(apns->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)) {
		fail(apns, "connect", g_strerror(errno));
		return;
	}
	setsockopt(apns->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	apns->state = CONNECTING;
	apns->since_ms = apns->now_ms;
	apns->want_write = true;
}

static void start_tls(struct apns *apns)
{
	int code = 0;
	socklen_t len = sizeof(code);

	getsockopt(apns->fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (code) {
		fail(apns, "connect", g_strerror(code));
		return;
	}
	apns->ssl = SSL_new(apns->tls);
	SSL_set_fd(apns->ssl, apns->fd);
	SSL_set_connect_state(apns->ssl);
	if (g_hostname_is_ip_address(apns->host)) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(apns->ssl), apns->host);
	} else {
		SSL_set_tlsext_host_name(apns->ssl, apns->host);
		SSL_set1_host(apns->ssl, apns->host);
	}
	apns->state = HANDSHAKE;
}

static void run_handshake(struct apns *apns)
{
	const unsigned char *protocol = NULL;
	unsigned len = 0;
	int n = SSL_do_handshake(apns->ssl), code = n == 1 ? SSL_ERROR_NONE : SSL_get_error(apns->ssl, n);

	apns->want_write = code == SSL_ERROR_WANT_WRITE;
	if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
		return;
	if (code != SSL_ERROR_NONE) {
		fail(apns, "TLS handshake", tls_error(apns->ssl));
		return;
	}
	SSL_get0_alpn_selected(apns->ssl, &protocol, &len);
	if (len != 2 || memcmp(protocol, "h2", 2))
		fail(apns, "TLS handshake", "the other side does not speak HTTP/2");
	else
		open_session(apns);
}

/* A connection that ends without having answered anything is a failure, however politely it says goodbye. */
static void end_connection(struct apns *apns)
{
	if (apns->waiting.length && !apns->answered)
		fail(apns, "goodbye", "the connection was closed before it answered");
	else
		drop_connection(apns);
}

static bool read_some(struct apns *apns)
{
	uint8_t buf[16384];

	for (;;) {
		int n = SSL_read(apns->ssl, buf, sizeof(buf));
		int code = n > 0 ? SSL_ERROR_NONE : SSL_get_error(apns->ssl, n);

		if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
			return true;
		if (code != SSL_ERROR_NONE) {
			if (apns->closing || !apns_pending(apns))
				end_connection(apns);
			else
				fail(apns, "read", tls_error(apns->ssl));
			return false;
		}
		apns->heard_ms = apns->now_ms;
		if (nghttp2_session_mem_recv(apns->session, buf, (size_t)n) < 0) {
			fail(apns, "HTTP/2", "the other side broke the protocol");
			return false;
		}
		if (apns->leaving) {
			drop_connection(apns);
			return false;
		}
	}
}

static bool write_some(struct apns *apns)
{
	apns->want_write = false;
	for (;;) {
		int n, code;

		if (!apns->unsent_len) {
			ssize_t len = nghttp2_session_mem_send(apns->session, &apns->unsent);

			if (len <= 0)
				return true;
			apns->unsent_len = (size_t)len;
		}
		n = SSL_write(apns->ssl, apns->unsent, (int)apns->unsent_len);
		code = n > 0 ? SSL_ERROR_NONE : SSL_get_error(apns->ssl, n);
		if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
			apns->want_write = code == SSL_ERROR_WANT_WRITE;
			return true;
		}
		if (code != SSL_ERROR_NONE) {
			fail(apns, "write", tls_error(apns->ssl));
			return false;
		}
		apns->unsent += n;
		apns->unsent_len -= (size_t)n;
	}
}

/* A push that is never answered while others are must not wait for ever: its stream is canceled, on_close takes it back. */
static void cancel_unanswered(struct apns *apns)
{
	GHashTableIter iter;
	void *stream, *push;

	if (apns->now_ms < apns->check_ms && apns->check_ms - apns->now_ms <= CHECK_MS)
		return;
	apns->check_ms = apns->now_ms + CHECK_MS;
	g_hash_table_iter_init(&iter, apns->flying);
	while (g_hash_table_iter_next(&iter, &stream, &push))
		if (apns->now_ms - ((struct apns_push *)push)->sent_ms > ANSWER_MS)
			nghttp2_submit_rst_stream(apns->session, NGHTTP2_FLAG_NONE, GPOINTER_TO_INT(stream), NGHTTP2_CANCEL);
}

/* A path that died silently shows only by answers that do not come. */
static bool hangs(struct apns *apns)
{
	return g_hash_table_size(apns->flying) > 0 && apns->now_ms - apns->heard_ms > ANSWER_MS;
}

static void run_ready(struct apns *apns)
{
	if (!read_some(apns))
		return;
	if (apns->closing && !g_hash_table_size(apns->flying)) {
		end_connection(apns);
		return;
	}
	if (hangs(apns)) {
		fail(apns, "answers", "none came for a minute");
		return;
	}
	cancel_unanswered(apns);
	if (apns->now_ms - apns->heard_ms > PING_MS) {
		nghttp2_submit_ping(apns->session, NGHTTP2_FLAG_NONE, NULL);
		apns->heard_ms = apns->now_ms;
	}
	if (!g_hash_table_size(apns->flying))
		apns->heard_ms = apns->waiting.length ? apns->now_ms : apns->heard_ms;
	submit_waiting(apns);
	write_some(apns);
}

void apns_run(struct apns *apns, int64_t now_ms)
{
	apns->now_ms = now_ms;
	/* The clock may have been set back. */
	apns->retry_ms = MIN(apns->retry_ms, now_ms + BACKOFF_MAX_MS);
	ERR_clear_error();
	if (apns->state == CLOSED && apns->waiting.length && now_ms >= apns->retry_ms)
		start_connect(apns);
	if ((apns->state == CONNECTING || apns->state == HANDSHAKE) && now_ms - apns->since_ms > CONNECT_MS) {
		fail(apns, "connect", "no answer in time");
		return;
	}
	if (apns->state == CONNECTING) {
		struct pollfd ready = {apns->fd, POLLOUT, 0};

		if (poll(&ready, 1, 0) == 1)
			start_tls(apns);
	}
	if (apns->state == HANDSHAKE)
		run_handshake(apns);
	if (apns->state == READY)
		run_ready(apns);
}

void apns_poll(const struct apns *apns, struct pollfd *ret, int64_t *ret_until_ms)
{
	*ret = (struct pollfd){apns->fd, (short)(POLLIN | (apns->want_write ? POLLOUT : 0)), 0};
	*ret_until_ms = apns->now_ms + NEVER_MS;
	if (apns->state == CLOSED && apns->waiting.length)
		*ret_until_ms = apns->retry_ms;
	else if (apns->state == CONNECTING || apns->state == HANDSHAKE)
		*ret_until_ms = apns->since_ms + CONNECT_MS + 1;
	else if (g_hash_table_size(apns->flying))
		*ret_until_ms = apns->heard_ms + ANSWER_MS + 1;
	if (apns->state == CONNECTING)
		ret->events = POLLOUT;
}
