/* An HTTP/1.1 client of as little work as possible: non-blocking, one thread, requests ready to be sent. Certificates are not verified:
 * what is measured is the server, on cores that both share. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { PER_ADDRESS = 500, CHUNK = 16384, HANG_S = 20, EVENTS = 256 };

struct connection {
	int fd;
	SSL *ssl;          /* NULL: plain */
	const char *out;   /* NULL: nothing to send */
	size_t out_len;
	bool awaits, armed; /* a reply; EPOLLOUT */
	GByteArray *in;
};

struct client {
	client_reply_fn on_reply;
	void *ctx;
	SSL_CTX *tls;
	int epoll;
	GArray *connections;
	unsigned n_awaited;
	double over_at;
};

static struct connection *get(struct client *client, unsigned i)
{
	return &g_array_index(client->connections, struct connection, i);
}

struct client *client_new(client_reply_fn on_reply, void *ctx)
{
	struct client *client = g_new0(struct client, 1);

	client->on_reply = on_reply;
	client->ctx = ctx;
	client->tls = SSL_CTX_new(TLS_client_method());
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	client->connections = g_array_new(FALSE, TRUE, sizeof(struct connection));
	return client;
}

void client_free(struct client *client)
{
	for (guint i = 0; i < client->connections->len; i++) {
		struct connection *c = get(client, i);

		SSL_free(c->ssl);
		close(c->fd);
		g_byte_array_unref(c->in);
	}
	g_array_unref(client->connections);
	SSL_CTX_free(client->tls);
	close(client->epoll);
	g_free(client);
}

/* The server serves only so many connections of one address. */
static int dial(uint16_t port, unsigned number)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number / PER_ADDRESS)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		bench_die("connection %u cannot be made: %s", number, g_strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void set_nonblocking(int fd)
{
	int one = 1;

	if (ioctl(fd, FIONBIO, &one))
		bench_die("a socket cannot be made non-blocking: %s", g_strerror(errno));
}

unsigned client_open(struct client *client, uint16_t port, bool tls, unsigned n)
{
	unsigned first = client->connections->len;

	for (unsigned i = 0; i < n; i++) {
		struct connection c = {.fd = dial(port, i), .in = g_byte_array_new()};
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = client->connections->len};

		bench_check_interrupt();
		if (tls) {
			c.ssl = SSL_new(client->tls);
			SSL_set_fd(c.ssl, c.fd);
			if (SSL_connect(c.ssl) != 1)
				bench_die("the TLS handshake of connection %u has failed", i);
		}
		set_nonblocking(c.fd);
		epoll_ctl(client->epoll, EPOLL_CTL_ADD, c.fd, &event);
		g_array_append_val(client->connections, c);
	}
	return first;
}

/* Bytes moved; 0: not now. */
static size_t move(struct connection *c, void *data, size_t len, bool out)
{
	size_t n = 0;
	ssize_t plain;
	int code;

	if (!c->ssl) {
		plain = out ? send(c->fd, data, len, MSG_NOSIGNAL) : recv(c->fd, data, len, 0);
		if (plain > 0)
			return (size_t)plain;
		if (plain < 0 && errno == EAGAIN)
			return 0;
		bench_die("the server has closed a connection");
	}
	if (out ? SSL_write_ex(c->ssl, data, len, &n) : SSL_read_ex(c->ssl, data, len, &n))
		return n;
	code = SSL_get_error(c->ssl, 0);
	if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE)
		bench_die("the server has closed a TLS connection (%d)", code);
	return 0;
}

static void arm(struct client *client, unsigned i, bool armed)
{
	struct connection *c = get(client, i);
	struct epoll_event event = {.events = EPOLLIN | (armed ? EPOLLOUT : 0), .data.u32 = i};

	if (c->armed != armed)
		epoll_ctl(client->epoll, EPOLL_CTL_MOD, c->fd, &event);
	c->armed = armed;
}

static void flush(struct client *client, unsigned i)
{
	struct connection *c = get(client, i);
	size_t n;

	while (c->out_len && (n = move(c, (void *)(uintptr_t)c->out, c->out_len, true))) {
		c->out += n;
		c->out_len -= n;
	}
	arm(client, i, c->out_len > 0);
}

void client_send(struct client *client, unsigned connection, const void *bytes, size_t len)
{
	struct connection *c = get(client, connection);

	g_assert(!c->awaits);
	c->awaits = true;
	client->n_awaited++;
	c->out = bytes;
	c->out_len = len;
	flush(client, connection);
}

/* Length of the reply at the beginning of the buffer, 0 when it is not complete. */
static size_t parse(const GByteArray *in, struct client_reply *ret)
{
	const char *data = (const char *)in->data, *end = in->len ? memmem(data, in->len, "\r\n\r\n", 4) : NULL, *line;
	size_t head, body = 0;

	if (!end)
		return 0;
	head = (size_t)(end - data) + 4;
	for (line = memchr(data, '\n', head); line && line < end; line = memchr(line, '\n', (size_t)(data + head - line))) {
		line++;
		if (!strncasecmp(line, "Content-Length:", 15))
			body = (size_t)g_ascii_strtoull(line + 15, NULL, 10);
		if (!strncasecmp(line, "Content-Type: ", 14))
			g_strlcpy(ret->type, line + 14, MIN(sizeof(ret->type), strcspn(line + 14, "\r\n") + 1));
	}
	if (in->len < head + body)
		return 0;
	ret->status = (int)g_ascii_strtoull(data + strlen("HTTP/1.1 "), NULL, 10);
	ret->body = data + head;
	ret->len = body;
	return head + body;
}

static void receive(struct client *client, unsigned i)
{
	struct client_reply reply = {.connection = i};
	struct connection *c = get(client, i);
	uint8_t chunk[CHUNK];
	GByteArray *in;
	size_t n, whole;

	while ((n = move(c, chunk, sizeof(chunk), false)))
		g_byte_array_append(c->in, chunk, (guint)n);
	whole = parse(c->in, &reply);
	if (!whole || !c->awaits)
		return;
	c->awaits = false;
	client->n_awaited--;
	/* The callback may open connections, which moves the table. */
	in = c->in;
	client->on_reply(client->ctx, client, &reply);
	g_byte_array_remove_range(in, 0, (guint)whole);
}

void client_run(struct client *client, double seconds)
{
	struct epoll_event events[EVENTS];

	client->over_at = bench_now_s() + seconds;
	while (client->n_awaited) {
		int n = epoll_wait(client->epoll, events, EVENTS, HANG_S * 1000);

		bench_check_interrupt();
		if (n == 0 || (n < 0 && errno != EINTR))
			bench_die("%u replies did not come within %d s", client->n_awaited, HANG_S);
		for (int i = 0; i < n; i++) {
			if (events[i].events & EPOLLOUT)
				flush(client, events[i].data.u32);
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				receive(client, events[i].data.u32);
		}
	}
}

bool client_is_over(const struct client *client)
{
	return bench_now_s() >= client->over_at;
}
