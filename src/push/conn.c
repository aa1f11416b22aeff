#include "push/conn.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/json.h"

enum { STREAMS_MAX = 2000, RESETS_MAX = 3, HANDSHAKE_MS = 15000, OVERDUE_MS = 5000, PONG_MS = 10000, ANSWER_MS = 60000, REST_MS = 60000, HOUR_MS = 3600 * 1000, OUT_MAX = 16384,
       GOAWAY_MAX = 256, NEVER_MS = HOUR_MS };

enum state { DIALING, HANDSHAKE, SETTINGS, READY, ENDED };

struct conn {
	struct conn_config config;
	enum state state;
	struct dial *dial;
	int fd;
	SSL *ssl;
	nghttp2_session *session;
	GQueue flying;          /* struct apns_push, the longest under way first */
	int64_t now_ms, wall_ms;
	int64_t since_ms;       /* of this state, while it is not ready */
	int64_t heard_ms, used_ms, ping_ms; /* ping_ms: of a ping that is not answered; 0: none */
	int64_t leave_ms;       /* when it ends at the latest; 0: it stays */
	bool closing;           /* takes no more requests */
	bool answered, want_write;
	char goaway[64];
	uint8_t out[OUT_MAX];   /* what nghttp2 gave and TLS has not taken yet */
	size_t out_len, out_sent;
	const uint8_t *more;    /* what did not fit */
	size_t more_len;
	GError *error;
};

void apns_push_free(struct apns_push *push)
{
	if (!push)
		return;
	g_free(push->enrollment_id);
	g_free(push->generation);
	g_free(push->push_magic);
	g_free(push->claim);
	g_free(push->path);
	g_free(push->body_text);
	g_clear_pointer(&push->push_token, g_bytes_unref);
	g_free(push);
}

/* ---- its end ---- */

static void give_back(struct conn *conn, struct apns_push *push)
{
	g_queue_unlink(&conn->flying, &push->link);
	push->status = 0;
	push->body_len = 0;
	push->retry_after_ms = 0;
	conn->config.returned(conn->config.ctx, conn, push);
}

/* Ends it; returns false, so that an end is one line. Takes ERROR over. */
static bool end(struct conn *conn, GError *error)
{
	conn->state = ENDED;
	conn->error = error;
	/* The oldest goes back last, so that it is first in line again. */
	while (conn->flying.length)
		give_back(conn, conn->flying.tail->data);
	return false;
}

static bool fail(struct conn *conn, enum pom_error code, const char *why)
{
	GError *error = NULL;

	pom_fail(&error, code, "%s port %s: %s", conn->config.dial->host, conn->config.dial->port, why);
	return end(conn, error);
}

struct conn *conn_new(const struct conn_config *config, unsigned first, int64_t now_ms)
{
	struct conn *conn = g_new0(struct conn, 1);

	conn->config = *config;
	SSL_CTX_up_ref(config->tls);
	conn->fd = -1;
	conn->now_ms = conn->since_ms = conn->used_ms = now_ms;
	g_queue_init(&conn->flying);
	conn->dial = dial_new(config->dial, first, now_ms);
	return conn;
}

void conn_free(struct conn *conn)
{
	if (!conn)
		return;
	end(conn, g_steal_pointer(&conn->error));
	g_clear_pointer(&conn->session, nghttp2_session_del);
	SSL_free(conn->ssl);
	if (conn->fd >= 0)
		close(conn->fd);
	dial_free(conn->dial);
	SSL_CTX_free(conn->config.tls);
	g_clear_error(&conn->error);
	g_free(conn);
}

const GError *conn_error(const struct conn *conn)
{
	return conn->error;
}

bool conn_is_ready(const struct conn *conn)
{
	return conn->state == READY;
}

unsigned conn_in_flight(const struct conn *conn)
{
	return conn->flying.length;
}

unsigned conn_limit(const struct conn *conn)
{
	return conn->state == READY ? MIN(nghttp2_session_get_remote_settings(conn->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), STREAMS_MAX) : 0;
}

unsigned conn_room(const struct conn *conn)
{
	unsigned limit = conn->closing ? 0 : conn_limit(conn);

	return limit > conn->flying.length ? limit - conn->flying.length : 0;
}

bool conn_is_closing(const struct conn *conn)
{
	return conn->closing;
}

bool conn_has_answered(const struct conn *conn)
{
	return conn->answered;
}

int64_t conn_idle_since_ms(const struct conn *conn)
{
	return conn->flying.length ? 0 : conn->used_ms;
}

const char *conn_goaway_reason(const struct conn *conn)
{
	return conn->goaway;
}

void conn_leave(struct conn *conn, int64_t grace_ms)
{
	conn->closing = true;
	conn->leave_ms = conn->leave_ms ? MIN(conn->leave_ms, conn->now_ms + grace_ms) : conn->now_ms + grace_ms;
}

/* ---- TLS ---- */

/* What went wrong, as a code and in words. */
static const char *judge_verify(long result, enum pom_error *ret_code)
{
	switch (result) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		*ret_code = POM_ERR_PUSH_TLS_NAME;
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		*ret_code = POM_ERR_PUSH_TLS_TIME;
		break;
	default:
		*ret_code = POM_ERR_PUSH_TLS_ROOT;
		break;
	}
	return X509_verify_cert_error_string(result);
}

/* Alerts by which a server says that it does not like the client's certificate (RFC 8446 §6.2). */
static bool is_certificate_alert(unsigned long code)
{
	switch (ERR_GET_REASON(code)) {
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return ERR_GET_LIB(code) == ERR_LIB_SSL;
	default:
		return false;
	}
}

static bool fail_tls(struct conn *conn)
{
	int system = errno;
	unsigned long code = ERR_get_error();
	enum pom_error which = conn->state == HANDSHAKE ? POM_ERR_PUSH_TLS : POM_ERR_PUSH_CONNECT;
	const char *why = "the connection was closed";

	ERR_clear_error();
	if (conn->state == HANDSHAKE && SSL_get_verify_result(conn->ssl) != X509_V_OK) {
		why = judge_verify(SSL_get_verify_result(conn->ssl), &which);
	} else if (is_certificate_alert(code)) {
		which = POM_ERR_PUSH_CERT_REFUSED;
		why = ERR_reason_error_string(code);
	} else if (code && ERR_reason_error_string(code)) {
		which = POM_ERR_PUSH_TLS;
		why = ERR_reason_error_string(code);
	} else if (system) {
		why = g_strerror(system);
	}
	return fail(conn, which, why);
}

static void start_tls(struct conn *conn)
{
	const char *host = conn->config.dial->host;

	g_clear_pointer(&conn->dial, dial_free);
	conn->ssl = SSL_new(conn->config.tls);
	SSL_set_fd(conn->ssl, conn->fd);
	SSL_set_connect_state(conn->ssl);
	if (g_hostname_is_ip_address(host)) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(conn->ssl), host);
	} else {
		SSL_set_tlsext_host_name(conn->ssl, host);
		SSL_set1_host(conn->ssl, host);
	}
	conn->state = HANDSHAKE;
	conn->since_ms = conn->now_ms;
}

/* Takes what the last TLS call came to: true when it has to wait for the network. */
static bool tls_waits(struct conn *conn, int n)
{
	int code = SSL_get_error(conn->ssl, n);

	conn->want_write |= code == SSL_ERROR_WANT_WRITE;
	return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE;
}

/* ---- HTTP/2 ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct conn *conn = data;
	struct apns_push *push = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (!push)
		return 0;
	if (name_len == 7 && !memcmp(name, ":status", 7) && value_len == 3)
		push->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
	else if (name_len == 11 && !memcmp(name, "retry-after", 11))
		push->retry_after_ms = push_retry_after_parse((const char *)value, value_len, conn->wall_ms);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t len, void *data)
{
	struct apns_push *push = nghttp2_session_get_stream_user_data(session, stream);

	if (!push)
		return 0;
	len = MIN(len, sizeof(push->body) - push->body_len);
	memcpy(push->body + push->body_len, bytes, len);
	push->body_len += len;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data)
{
	struct conn *conn = data;
	struct apns_push *push = nghttp2_session_get_stream_user_data(session, stream);

	if (!push)
		return 0;
	/* Refused or reset without an answer: not processed (RFC 9113 §8.7). After a GOAWAY that is no fault of the push. */
	if (!push->status && (conn->closing || ++push->resets < RESETS_MAX)) {
		give_back(conn, push);
		return 0;
	}
	g_queue_unlink(&conn->flying, &push->link);
	if (push->status)
		conn->answered = true;
	else
		push->status = APNS_RESET;
	conn->used_ms = conn->now_ms;
	conn->config.answered(conn->config.ctx, conn, push);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct conn *conn = data;
	struct push_answer answer;

	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && conn->state == SETTINGS)
		conn->state = READY;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		push_answer_parse(frame->goaway.opaque_data, MIN(frame->goaway.opaque_data_len, GOAWAY_MAX), &answer);
		g_strlcpy(conn->goaway, answer.reason, sizeof(conn->goaway));
		conn->closing = true;
	}
	return 0;
}

static void open_session(struct conn *conn)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}};
	nghttp2_session_callbacks *callbacks;

	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_client_new(&conn->session, callbacks, conn);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
	/* How many requests APNs takes is known only after its SETTINGS: more than that would be refused. */
	conn->state = SETTINGS;
	conn->heard_ms = conn->since_ms = conn->now_ms;
}

static bool run_handshake(struct conn *conn)
{
	const unsigned char *protocol = NULL;
	unsigned len = 0;
	int n;

	conn->want_write = false;
	errno = 0;
	n = SSL_do_handshake(conn->ssl);
	if (n != 1)
		return tls_waits(conn, n) || fail_tls(conn);
	SSL_get0_alpn_selected(conn->ssl, &protocol, &len);
	if (len != 2 || memcmp(protocol, "h2", 2))
		return fail(conn, POM_ERR_PUSH_PROTOCOL, "it does not offer h2");
	open_session(conn);
	return true;
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
	g_autoptr(json_t) json = NULL;
	g_autoptr(GBytes) text = NULL;

	/* A UUID, as all devices have it. */
	if (strspn(push->push_magic, "ABCDEFabcdef0123456789-") == strlen(push->push_magic))
		return g_strconcat("{\"mdm\":\"", push->push_magic, "\"}", NULL);
	json = json_pack("{s:s}", "mdm", push->push_magic);
	text = json_format(json);
	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

static char *format_path(const struct apns_push *push)
{
	static const char hex[] = "0123456789abcdef";
	gsize len;
	const uint8_t *token = g_bytes_get_data(push->push_token, &len);
	char *path = g_malloc(strlen("/3/device/") + 2 * len + 1), *p = g_stpcpy(path, "/3/device/");

	for (gsize i = 0; i < len; i++) {
		*p++ = hex[token[i] >> 4];
		*p++ = hex[token[i] & 15];
	}
	*p = '\0';
	return path;
}

/* All texts live as long as the push, the topic and the host. */
static nghttp2_nv nv(const char *name, const char *value, uint8_t flags)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* Before a connection is used again that has rested, it is asked whether it lives. */
static void ping(struct conn *conn)
{
	if (conn->ping_ms)
		return;
	nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
	conn->ping_ms = conn->now_ms;
}

bool conn_send(struct conn *conn, struct apns_push *push)
{
	/* A full minute keeps it in the table of HPACK. */
	int64_t expiration_s = conn->config.expiration_s ? (conn->wall_ms / 1000 + conn->config.expiration_s) / 60 * 60 : 0;
	nghttp2_data_provider body = {.source.ptr = push, .read_callback = read_body};

	if (!push->path)
		push->path = format_path(push);
	if (!push->body_text)
		push->body_text = format_body(push);
	g_snprintf(push->expiration, sizeof(push->expiration), "%" G_GINT64_FORMAT, expiration_s);
	const nghttp2_nv headers[] = {
		nv(":method", "POST", 0), nv(":scheme", "https", 0), nv(":authority", conn->config.dial->host, 0), nv(":path", push->path, NGHTTP2_NV_FLAG_NO_INDEX),
		nv("apns-topic", conn->config.topic, 0), nv("apns-push-type", "mdm", 0), nv("apns-priority", "10", 0), nv("apns-expiration", push->expiration, 0),
		nv("apns-id", push->id, NGHTTP2_NV_FLAG_NO_INDEX), nv("content-type", "application/json", 0),
	};
	push->body_sent = 0;
	push->stream = nghttp2_submit_request(conn->session, NULL, headers, G_N_ELEMENTS(headers), &body, push);
	if (push->stream < 0) {
		/* The numbers of streams are used up after a milliard. */
		conn->closing = true;
		return false;
	}
	if (!conn->flying.length && conn->now_ms - conn->heard_ms > REST_MS)
		ping(conn);
	push->sent_ms = conn->used_ms = conn->now_ms;
	push->link = (GList){push, NULL, NULL};
	g_queue_push_tail_link(&conn->flying, &push->link);
	return true;
}

/* ---- bytes ---- */

static bool read_some(struct conn *conn)
{
	uint8_t buf[16384];

	for (;;) {
		int n;

		errno = 0;
		n = SSL_read(conn->ssl, buf, sizeof(buf));
		if (n <= 0 && tls_waits(conn, n))
			return true;
		/* A connection that is not used may go, and one that said so. */
		if (n <= 0 && (conn->closing || !conn->flying.length) && SSL_get_error(conn->ssl, n) != SSL_ERROR_SSL)
			return end(conn, NULL);
		if (n <= 0)
			return fail_tls(conn);
		conn->heard_ms = conn->now_ms;
		conn->ping_ms = 0;
		if (nghttp2_session_mem_recv(conn->session, buf, (size_t)n) < 0)
			return fail(conn, POM_ERR_PUSH_PROTOCOL, "it broke the rules of HTTP/2");
	}
}

/* Fills the buffer with frames: many small ones go out in one record. False: there is nothing to send. */
static bool fill_out(struct conn *conn)
{
	conn->out_len = conn->out_sent = 0;
	while (conn->out_len < OUT_MAX) {
		size_t n;

		if (!conn->more_len) {
			ssize_t len = nghttp2_session_mem_send(conn->session, &conn->more);

			if (len <= 0)
				break;
			conn->more_len = (size_t)len;
		}
		n = MIN(conn->more_len, OUT_MAX - conn->out_len);
		memcpy(conn->out + conn->out_len, conn->more, n);
		conn->out_len += n;
		conn->more += n;
		conn->more_len -= n;
	}
	return conn->out_len > 0;
}

bool conn_flush(struct conn *conn)
{
	if (conn->state != SETTINGS && conn->state != READY)
		return conn->state != ENDED;
	while (conn->out_sent < conn->out_len || fill_out(conn)) {
		int n;

		errno = 0;
		n = SSL_write(conn->ssl, conn->out + conn->out_sent, (int)(conn->out_len - conn->out_sent));
		if (n <= 0)
			return tls_waits(conn, n) || fail_tls(conn);
		conn->out_sent += (size_t)n;
	}
	return true;
}

/* ---- time ---- */

/* A push that is never answered while others are must not wait for ever: its stream is canceled, on_close takes it back. */
static void cancel_unanswered(struct conn *conn)
{
	for (GList *l = conn->flying.head; l; l = l->next) {
		const struct apns_push *push = l->data;

		if (conn->now_ms - push->sent_ms <= ANSWER_MS)
			return;
		nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, push->stream, NGHTTP2_CANCEL);
	}
}

static bool run_session(struct conn *conn)
{
	int64_t oldest_ms = conn->flying.length ? ((struct apns_push *)conn->flying.head->data)->sent_ms : 0;

	conn->want_write = false;
	if (!read_some(conn))
		return false;
	if (conn->state == SETTINGS && conn->now_ms - conn->since_ms > HANDSHAKE_MS)
		return fail(conn, POM_ERR_PUSH_SILENT, "it does not say its SETTINGS");
	if (conn->ping_ms && conn->now_ms - conn->ping_ms > PONG_MS)
		return fail(conn, POM_ERR_PUSH_SILENT, "neither pushes nor a PING are answered");
	if (conn->closing && (!conn->flying.length || (conn->leave_ms && conn->now_ms >= conn->leave_ms)))
		return end(conn, NULL);
	if (conn->now_ms - conn->heard_ms > (conn->flying.length && conn->now_ms - oldest_ms > OVERDUE_MS ? OVERDUE_MS : HOUR_MS))
		ping(conn);
	cancel_unanswered(conn);
	return conn_flush(conn);
}

static bool run_dial(struct conn *conn)
{
	GError *error = NULL;

	conn->fd = dial_run(conn->dial, conn->now_ms, &error);
	if (error)
		return end(conn, error);
	if (conn->fd >= 0)
		start_tls(conn);
	return true;
}

bool conn_run(struct conn *conn, int64_t now_ms, int64_t wall_ms)
{
	conn->now_ms = now_ms;
	conn->wall_ms = wall_ms;
	ERR_clear_error();
	if (conn->state != READY && conn->state != ENDED && conn->closing)
		return end(conn, NULL);
	if (conn->state == DIALING && !run_dial(conn))
		return false;
	if (conn->state == HANDSHAKE && !run_handshake(conn))
		return false;
	if (conn->state == HANDSHAKE && now_ms - conn->since_ms > HANDSHAKE_MS)
		return fail(conn, POM_ERR_PUSH_SILENT, "the TLS handshake does not come to its end");
	return conn->state == SETTINGS || conn->state == READY ? run_session(conn) : conn->state != ENDED;
}

static int64_t next_ms(const struct conn *conn)
{
	if (conn->state != READY)
		return conn->since_ms + HANDSHAKE_MS + 1;
	if (conn->ping_ms)
		return conn->ping_ms + PONG_MS + 1;
	if (conn->leave_ms)
		return conn->leave_ms;
	if (conn->flying.length)
		return conn->now_ms + OVERDUE_MS;
	return conn->heard_ms + HOUR_MS + 1;
}

void conn_poll(const struct conn *conn, GArray *fds, int64_t *until_ms)
{
	struct pollfd fd = {conn->fd, (short)(POLLIN | (conn->want_write ? POLLOUT : 0)), 0};

	if (conn->state == DIALING) {
		dial_poll(conn->dial, fds, until_ms);
		return;
	}
	g_array_append_val(fds, fd);
	*until_ms = MIN(*until_ms, next_ms(conn));
}
