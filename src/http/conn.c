/* A connection: one phase at a time, one deadline, and the session that reads its requests. All here runs on the loop's
 * thread. libevent writes socket bufferevents from the loop only, never inside bufferevent_write, so no callback can free a
 * connection under the feet of a function that writes to it. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server_internal.h"

enum {
	DRAIN_MAX = 40 * 1024 * 1024, /* bytes taken and dropped after a refusal, so that a peer that sends first comes to read the reply */
	DRAIN_MS = 4000,
	AHEAD_MAX = 64 * 1024,        /* bytes kept of requests sent ahead while one is being answered */
	BYTES_PER_MS = 16,            /* 16 KiB a second is the slowest transfer that is waited for */
	HANDSHAKE_TERMS_MAX = 6,      /* deadlines of a handshake that gets on, or that waits for us */
};

enum phase {
	PHASE_HANDSHAKE,
	PHASE_IDLE,
	PHASE_HEAD,
	PHASE_BODY,
	PHASE_RUNNING,
	PHASE_WRITING,
	PHASE_DRAINING, /* the reply is out and our side closed */
};

struct http_conn {
	struct http_loop *loop;
	GList link;               /* in loop->conns */
	struct bufferevent *bev;
	struct event *timer;
	enum phase phase;
	bool ended;               /* the peer has closed its side */
	bool close_after;         /* the reply being written is the last */
	size_t n_drained;
	int64_t deadline_us, armed_us; /* armed_us: when the timer will fire, 0 when it rests */
	unsigned n_terms;         /* deadlines that the handshake has outlived */
	OSSL_HANDSHAKE_STATE handshake; /* where it was at the last of them */
	int64_t started_us;       /* of the present request */
	struct http_peer peer;
	char *census_key;
	struct http_session session;
	struct http_job *job;
};

static const struct http_limits *limits_of(const struct http_conn *conn)
{
	return &conn->loop->server->config.limits;
}

/* Deadlines -------------------------------------------------------------------------------------------------------- */

static void arm(struct http_conn *conn, int64_t now_us)
{
	int64_t left = MAX(conn->deadline_us - now_us, 0);
	struct timeval tv = {left / G_USEC_PER_SEC, left % G_USEC_PER_SEC};

	conn->armed_us = conn->deadline_us;
	event_add(conn->timer, &tv);
}

/* Moving a deadline back is free: the timer looks again when it fires. */
static void set_deadline(struct http_conn *conn, int64_t from_us, int64_t ms)
{
	conn->deadline_us = from_us + ms * 1000;
	if (!conn->armed_us || conn->deadline_us < conn->armed_us)
		arm(conn, g_get_monotonic_time());
}

static void enter(struct http_conn *conn, enum phase phase, int64_t from_us, int64_t ms)
{
	conn->phase = phase;
	set_deadline(conn, from_us, ms);
}

static void enter_idle(struct http_conn *conn)
{
	enter(conn, PHASE_IDLE, g_get_monotonic_time(), limits_of(conn)->idle_ms);
}

static void expire(struct http_conn *conn);

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct http_conn *conn = ctx;
	int64_t now = g_get_monotonic_time();

	conn->armed_us = 0;
	if (conn->phase == PHASE_RUNNING)
		return;
	if (now < conn->deadline_us)
		arm(conn, now);
	else
		expire(conn);
}

/* Writing ---------------------------------------------------------------------------------------------------------- */

static void unref_body(const void *data, size_t len, void *body)
{
	g_bytes_unref(body);
}

static void free_head(const void *data, size_t len, void *ctx)
{
	g_free((void *)data);
}

/* Writes all of DATA now, or of plain bytes as much as the socket takes; how much it was. What TLS has begun to write it takes up again when the same bytes come next. */
static size_t write_now(struct http_conn *conn, const void *data, size_t len)
{
	SSL *ssl = bufferevent_openssl_get_ssl(conn->bev);
	ssize_t n;

	if (!ssl) {
		n = send(bufferevent_getfd(conn->bev), data, len, MSG_NOSIGNAL);
		return n > 0 ? (size_t)n : 0;
	}
	n = SSL_write(ssl, data, (int)len);
	ERR_clear_error();
	return n > 0 ? (size_t)n : 0;
}

static void on_written(struct bufferevent *bev, void *ctx);

/* Writes a reply in one piece at once, which saves two changes of what the loop waits for and a turn of it. False: it is not in one piece, or WIRE has what is left. Else the connection may be gone. Only
 * for callers that touch it no more. */
static bool try_wire(struct http_conn *conn, struct http_wire *wire, bool close_after)
{
	struct pom_buf *head = &wire->head;
	size_t n;

	if (wire->body || evbuffer_get_length(bufferevent_get_output(conn->bev)))
		return false;
	n = write_now(conn, head->data, head->len);
	if (n < head->len) {
		pom_buf_consume(head, n);
		return false;
	}
	http_wire_clear(wire);
	conn->close_after = close_after;
	conn->phase = PHASE_WRITING;
	on_written(conn->bev, conn);
	return true;
}

/* Gives the bytes of WIRE to the connection. */
static void write_wire(struct http_conn *conn, struct http_wire *wire, bool close_after)
{
	struct evbuffer *output = bufferevent_get_output(conn->bev);
	size_t len = http_wire_len(wire);

	conn->close_after = close_after;
	evbuffer_add_reference(output, wire->head.data, wire->head.len, free_head, NULL);
	wire->head.data = NULL;
	if (wire->body)
		evbuffer_add_reference(output, g_bytes_get_data(wire->body, NULL), g_bytes_get_size(wire->body), unref_body, wire->body);
	wire->body = NULL;
	http_wire_clear(wire);
	enter(conn, PHASE_WRITING, g_get_monotonic_time(), limits_of(conn)->write_ms + len / BYTES_PER_MS);
}

/* Sends the session's refusal; the connection ends with it. */
static void send_refusal(struct http_conn *conn)
{
	const struct http_listener *listener = conn->session.listener;
	struct http_request *head = http1_reader_request(conn->session.reader);
	g_autoptr(http_response) refusal = g_steal_pointer(&conn->session.refusal);
	struct http_wire wire;

	http_wire_format(&wire, refusal, head->method == HTTP_HEAD, false, time(NULL));
	if (listener->done)
		listener->done(listener->ctx, head, refusal->status, g_get_monotonic_time() - conn->started_us);
	write_wire(conn, &wire, true);
}

/* Closes our side and waits for the peer's: closing outright with bytes unread would make the system reset the connection,
 * and the peer would lose the reply. */
static void start_draining(struct http_conn *conn)
{
	SSL *ssl = bufferevent_openssl_get_ssl(conn->bev);
	struct evbuffer *input = bufferevent_get_input(conn->bev);

	if (conn->ended) {
		http_conn_free(conn);
		return;
	}
	if (ssl) {
		SSL_shutdown(ssl);
		ERR_clear_error();
	}
	shutdown(bufferevent_getfd(conn->bev), SHUT_WR);
	evbuffer_drain(input, evbuffer_get_length(input));
	bufferevent_enable(conn->bev, EV_READ);
	enter(conn, PHASE_DRAINING, g_get_monotonic_time(), DRAIN_MS);
}

/* When thousands come at once, most of a handshake's time is spent waiting for us, and hanging up would have the peer begin again and cost us more. So only a peer that has
 * done nothing since the last deadline, and has nothing in the socket that we have not read, is late. */
static bool is_late_by_us(struct http_conn *conn)
{
	OSSL_HANDSHAKE_STATE state;
	int unread = 0;

	if (conn->phase != PHASE_HANDSHAKE || ++conn->n_terms >= HANDSHAKE_TERMS_MAX)
		return false;
	state = SSL_get_state(bufferevent_openssl_get_ssl(conn->bev));
	if (state == conn->handshake && (ioctl(bufferevent_getfd(conn->bev), FIONREAD, &unread) || unread <= 0))
		return false;
	conn->handshake = state;
	return true;
}

static void expire(struct http_conn *conn)
{
	if (is_late_by_us(conn)) {
		set_deadline(conn, g_get_monotonic_time(), limits_of(conn)->handshake_ms);
		return;
	}
	if (conn->phase != PHASE_HEAD && conn->phase != PHASE_BODY) {
		http_conn_free(conn);
		return;
	}
	http_session_refuse(&conn->session, POM_ERR_HTTP_TIMEOUT, conn->phase == PHASE_HEAD ? "the head did not come in time" : "the body did not come in time");
	send_refusal(conn);
}

/* Running ---------------------------------------------------------------------------------------------------------- */

void http_conn_complete(struct http_loop *loop, struct http_message *message)
{
	struct http_job *job = (struct http_job *)message;
	struct http_conn *conn = job->conn;

	if (conn) {
		conn->job = NULL;
		if (!try_wire(conn, &job->wire, !job->keep_alive))
			write_wire(conn, &job->wire, !job->keep_alive);
	}
	http_job_free(job);
}

/* The whole request was read, so the connection may go on: a new handshake would cost more than the request refused. */
static void refuse_busy(struct http_job *job)
{
	struct http_response *response = http_refuse(job->listener, job->request, POM_ERR_BUSY, "too many requests wait");

	http_response_header(response, "Retry-After", "1");
	http_job_answer(job, response);
	/* Its input is being read: nothing may be written at once, as that might end it. */
	job->conn->job = NULL;
	write_wire(job->conn, &job->wire, !job->keep_alive);
	http_job_free(job);
}

static void run(struct http_conn *conn)
{
	struct http_job *job = g_new0(struct http_job, 1);

	job->message.deliver = http_conn_complete;
	job->loop = conn->loop;
	job->conn = conn;
	job->listener = conn->session.listener;
	job->keep_alive = http1_reader_keep_alive(conn->session.reader) && !conn->ended;
	job->started_us = conn->started_us;
	job->request = http_session_steal(&conn->session);
	conn->job = job;
	conn->phase = PHASE_RUNNING;
	if (!pom_pool_push(conn->loop->server->pool, job))
		refuse_busy(job);
}

/* Reading ---------------------------------------------------------------------------------------------------------- */

static bool is_reading(const struct http_conn *conn)
{
	return conn->phase == PHASE_IDLE || conn->phase == PHASE_HEAD || conn->phase == PHASE_BODY;
}

static void act(struct http_conn *conn, enum http_step step)
{
	switch (step) {
	case HTTP_STEP_CONTINUE:
		bufferevent_write(conn->bev, http_continue_line, strlen(http_continue_line));
		break;
	case HTTP_STEP_RUN:
		run(conn);
		break;
	case HTTP_STEP_REFUSED:
		send_refusal(conn);
		break;
	case HTTP_STEP_MORE:
		break;
	}
}

/* Feeds the input to the session until it is used up or a request is under way. */
static void feed(struct http_conn *conn)
{
	struct evbuffer *input = bufferevent_get_input(conn->bev);

	while (is_reading(conn) && evbuffer_get_length(input)) {
		size_t n = evbuffer_get_contiguous_space(input), used;
		const uint8_t *data = evbuffer_pullup(input, n ? (ssize_t)n : -1);

		act(conn, http_session_feed(&conn->session, data, n ? n : evbuffer_get_length(input), &used));
		evbuffer_drain(input, used);
	}
}

/* The deadline of a request that has not come whole; both count from its first byte. */
static void set_reading_deadline(struct http_conn *conn)
{
	const struct http_limits *limits = limits_of(conn);
	uint64_t length = http1_reader_content_length(conn->session.reader);

	if (conn->session.in_body && conn->phase != PHASE_BODY)
		enter(conn, PHASE_BODY, conn->started_us, limits->request_ms + length / BYTES_PER_MS);
	else if (!conn->session.in_body && conn->phase == PHASE_IDLE)
		enter(conn, PHASE_HEAD, conn->started_us, limits->head_ms);
}

static void read_requests(struct http_conn *conn)
{
	if (conn->phase == PHASE_IDLE)
		conn->started_us = g_get_monotonic_time();
	feed(conn);
	if (is_reading(conn))
		set_reading_deadline(conn);
}

static void drop_input(struct http_conn *conn)
{
	struct evbuffer *input = bufferevent_get_input(conn->bev);
	size_t len = evbuffer_get_length(input);

	conn->n_drained += len;
	evbuffer_drain(input, len);
	if (conn->n_drained <= DRAIN_MAX)
		return;
	if (conn->phase == PHASE_DRAINING)
		http_conn_free(conn);
	else
		bufferevent_disable(conn->bev, EV_READ);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
	struct http_conn *conn = ctx;

	if (is_reading(conn))
		read_requests(conn);
	else if (conn->phase == PHASE_DRAINING || (conn->phase == PHASE_WRITING && conn->close_after))
		drop_input(conn);
	else if (evbuffer_get_length(bufferevent_get_input(bev)) > AHEAD_MAX)
		bufferevent_disable(bev, EV_READ);
}

static void on_written(struct bufferevent *bev, void *ctx)
{
	struct http_conn *conn = ctx;

	if (conn->phase != PHASE_WRITING)
		return;
	if (conn->close_after || conn->loop->stopping) {
		start_draining(conn);
		return;
	}
	enter_idle(conn);
	if (evbuffer_get_length(bufferevent_get_input(bev)))
		read_requests(conn);
	if (!conn->ended)
		bufferevent_enable(bev, EV_READ);
	else if (is_reading(conn))
		http_conn_free(conn);
}

/* Life ------------------------------------------------------------------------------------------------------------- */

static void on_handshake(struct http_conn *conn)
{
	X509 *cert = SSL_get1_peer_certificate(bufferevent_openssl_get_ssl(conn->bev));
	unsigned char *der = NULL;
	int len = cert ? i2d_X509(cert, &der) : 0;

	if (len > 0)
		conn->peer.client_cert = g_bytes_new(der, len);
	OPENSSL_free(der);
	X509_free(cert);
	enter_idle(conn);
}

/* A peer that closes only its sending side still gets its replies. */
static void on_event(struct bufferevent *bev, short what, void *ctx)
{
	struct http_conn *conn = ctx;

	if (what & BEV_EVENT_CONNECTED) {
		on_handshake(conn);
	} else if ((what & BEV_EVENT_EOF) && (conn->phase == PHASE_RUNNING || conn->phase == PHASE_WRITING)) {
		conn->ended = true; /* libevent has stopped reading by itself */
	} else {
		http_conn_free(conn);
	}
}

/* The TLS stream over FD, or NULL. The context of this moment is used, so a new certificate needs no restart. */
static struct bufferevent *make_tls(struct http_loop *loop, const struct http_listener *listener, int fd)
{
	SSL_CTX *ctx = listener->tls(listener->ctx);
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	struct bufferevent *bev = NULL;

	SSL_CTX_free(ctx);
	if (ssl) {
		SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
		SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
		bev = bufferevent_openssl_socket_new(loop->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	}
	if (ssl && !bev)
		SSL_free(ssl);
	return bev;
}

void http_conn_new(struct http_loop *loop, struct http_accepted *accepted)
{
	const struct http_listener *listener = &accepted->port->listener;
	const struct http_limits *limits = &loop->server->config.limits;
	struct http_conn *conn;
	struct bufferevent *bev;

	bev = listener->tls ? make_tls(loop, listener, accepted->fd) : bufferevent_socket_new(loop->base, accepted->fd, BEV_OPT_CLOSE_ON_FREE);
	if (!bev) {
		http_census_leave(&loop->server->census, accepted->census_key);
		return;
	}
	accepted->fd = -1;
	conn = g_new0(struct http_conn, 1);
	conn->loop = loop;
	conn->bev = bev;
	conn->peer = accepted->peer;
	accepted->peer = (struct http_peer){0};
	conn->census_key = g_steal_pointer(&accepted->census_key);
	http_session_init(&conn->session, listener, &conn->peer, limits);
	conn->timer = evtimer_new(loop->base, on_timer, conn);
	conn->link.data = conn;
	g_queue_push_tail_link(&loop->conns, &conn->link);
	bufferevent_setcb(bev, on_read, on_written, on_event, conn);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	conn->handshake = listener->tls ? SSL_get_state(bufferevent_openssl_get_ssl(bev)) : TLS_ST_BEFORE;
	enter(conn, listener->tls ? PHASE_HANDSHAKE : PHASE_IDLE, g_get_monotonic_time(), listener->tls ? limits->handshake_ms : limits->idle_ms);
}

void http_conn_free(struct http_conn *conn)
{
	struct http_loop *loop = conn->loop;

	if (conn->job) {
		conn->job->conn = NULL;
		atomic_store(&conn->job->canceled, true);
	}
	g_queue_unlink(&loop->conns, &conn->link);
	http_census_leave(&loop->server->census, conn->census_key);
	event_free(conn->timer);
	bufferevent_free(conn->bev);
	http_session_clear(&conn->session);
	http_peer_clear(&conn->peer);
	g_free(conn->census_key);
	g_free(conn);
	http_loop_check_end(loop);
}

void http_conn_stop(struct http_conn *conn)
{
	if (conn->phase == PHASE_HANDSHAKE || conn->phase == PHASE_IDLE || conn->phase == PHASE_DRAINING)
		http_conn_free(conn);
}
