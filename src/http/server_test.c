/* The server over real sockets on the loopback interface, plain and unix. TLS: server_tls_test.c. */
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/metric.h"
#include "http/forwarded.h"
#include "http/test_fixture.h"

enum { SHORT_MS = 300 };

static struct test_server *start(void)
{
	struct test_options options = test_options();

	return test_server_new(&options);
}

static void assert_contains(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		g_error("\"%s\" is not in \"%s\"", part, text ? text : "(nothing)");
}

static void test_keep_alive(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	for (int i = 0; i < 3; i++) {
		test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
		g_autofree char *reply = test_reply(peer);
		assert_contains(reply, "HTTP/1.1 200 OK\r\n");
		assert_contains(reply, "Connection: keep-alive\r\n");
		assert_contains(reply, "\r\n\r\nhello");
	}
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, 1);
	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	g_assert_cmpint(test_status(peer), ==, 200);
	g_assert_true(test_at_end(peer));
	g_assert_cmpuint(test_count(test, &test->state.n_done), ==, 4);
	test_server_free(test);
}

static void test_byte_by_byte(void)
{
	static const char raw[] = "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	for (size_t i = 0; i < strlen(raw); i++) {
		test_send_len(peer, raw + i, 1);
		g_usleep(500);
	}
	g_autofree char *reply = test_reply(peer);
	assert_contains(reply, "\r\n\r\nabc");
	test_server_free(test);
}

/* Replies come in the order of the requests, also when the first takes longest. */
static void test_pipelining(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\nPUT /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\ntwoPUT /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nth");
	test_await_waiting(test, 1);
	g_assert_cmpuint(test_count(test, &test->state.n_handled), ==, 1);
	test_open_gate(test);
	g_autofree char *first = test_reply(peer), *second = test_reply(peer);
	assert_contains(first, "waited");
	assert_contains(second, "two");
	test_send(peer, "ree");
	g_autofree char *third = test_reply(peer);
	assert_contains(third, "three");
	test_server_free(test);
}

/* What is sent ahead is held back at the socket, not piled up, and is read on when its turn comes. */
static void test_much_ahead(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	g_autofree char *body = g_strnfill(99000, 'x');
	enum { N = 4 };

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	for (int i = 0; i < N; i++) {
		test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 99000\r\n\r\n");
		test_send(peer, body);
	}
	test_open_gate(test);
	for (int i = 0; i <= N; i++)
		g_assert_cmpint(test_status(peer), ==, 200);
	test_server_free(test);
}

static void test_expect(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	g_assert_cmpint(test_status(peer), ==, 100);
	test_send(peer, "hi");
	g_assert_cmpint(test_status(peer), ==, 200);
	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: magic\r\n\r\n");
	g_assert_cmpint(test_status(peer), ==, 417);
	g_assert_true(test_at_end(peer));
	test_server_free(test);
}

/* The refusal comes before the body, and can be read although the body keeps coming. */
static void test_too_large(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	g_autofree char *body = g_strnfill(150000, 'x');

	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 1000000000\r\n\r\n");
	test_send(peer, body);
	g_autofree char *reply = test_reply(peer);
	assert_contains(reply, "HTTP/1.1 413 ");
	assert_contains(reply, "Connection: close\r\n");
	g_assert_true(test_at_end(peer));
	for (int i = 0; i < 3; i++) {
		g_assert_cmpint(send(peer->fd, body, 100, MSG_NOSIGNAL), ==, 100);
		g_usleep(20 * 1000);
	}
	g_assert_cmpuint(test_count(test, &test->state.n_refused), ==, 1);
	g_assert_cmpuint(test_count(test, &test->state.n_done), ==, 1);
	g_assert_cmpuint(test_count(test, &test->state.n_handled), ==, 0);
	test_server_free(test);
}

/* A refused peer that never stops sending is cut off. */
static void test_drain_is_bounded(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	g_autofree char *body = g_strnfill(65536, 'x');
	int64_t start_us = g_get_monotonic_time();

	test_send(peer, "PUT /none HTTP/1.1\r\n" H "Content-Length: 1000000000\r\n\r\n");
	for (int i = 0; i < 1000 && send(peer->fd, body, 65536, MSG_NOSIGNAL) > 0; i++)
		;
	g_assert_cmpint(send(peer->fd, body, 1, MSG_NOSIGNAL), <, 0);
	g_assert_cmpint(g_get_monotonic_time() - start_us, <, 5 * G_USEC_PER_SEC);
	test_server_free(test);
}

/* Deadlines ---------------------------------------------------------------------------------------------------------- */

/* Sends a byte every 20 ms until the server has had enough; gives the status. */
static int drip(struct test_peer *peer, const char *text)
{
	struct pollfd poll_fd = {peer->fd, POLLIN, 0};

	for (; *text && !poll(&poll_fd, 1, 20); text++)
		test_send_len(peer, text, 1);
	g_assert_true(*text);
	return test_status(peer);
}

static void check_slow(struct http_limits limits, const char *head, int expected)
{
	struct test_options options = test_options();
	g_autofree char *rest = g_strnfill(1000, 'x');
	struct test_server *test;
	int64_t start_us = g_get_monotonic_time();

	options.limits = limits;
	test = test_server_new(&options);
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	test_send(peer, head);
	g_assert_cmpint(drip(peer, rest), ==, expected);
	g_assert_true(test_at_end(peer));
	g_assert_cmpint(g_get_monotonic_time() - start_us, >, SHORT_MS * 1000);
	g_assert_cmpint(g_get_monotonic_time() - start_us, <, 5 * G_USEC_PER_SEC);
	test_server_free(test);
}

static void test_slow_head(void)
{
	struct http_limits limits = http_limits_default;

	limits.head_ms = SHORT_MS;
	check_slow(limits, "GET /", 408);
}

static void test_slow_body(void)
{
	struct http_limits limits = http_limits_default;

	limits.request_ms = SHORT_MS;
	check_slow(limits, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n", 408);
}

/* Idle connections end without a word, before the first request and after one. */
static void test_idle(void)
{
	struct test_options options = test_options();
	struct test_server *test;

	options.limits.idle_ms = SHORT_MS;
	test = test_server_new(&options);
	g_autoptr(test_peer) fresh = test_connect(test, "plain"), used = test_connect(test, "plain");
	test_send(used, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(used), ==, 200);
	g_assert_true(test_at_end(fresh));
	g_assert_true(test_at_end(used));
	test_server_free(test);
}

/* A request that takes longer than every deadline but its own handler's is answered all the same. */
static void test_running_has_no_deadline(void)
{
	struct test_options options = test_options();
	struct test_server *test;

	options.limits.idle_ms = options.limits.head_ms = options.limits.request_ms = 100;
	test = test_server_new(&options);
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\n");
	g_usleep(SHORT_MS * 1000);
	test_open_gate(test);
	g_assert_cmpint(test_status(peer), ==, 200);
	test_server_free(test);
}

/* A peer that does not read its reply is cut off. Small socket buffers make the reply wait; the socket is a given one. */
static void test_write_deadline(void)
{
	struct test_options options = test_options();
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int small = 4096;

	options.fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(options.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	g_assert_cmpint(bind(options.fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	g_assert_cmpint(listen(options.fd, 10), ==, 0);
	options.limits.write_ms = 100;
	struct test_server *test = test_server_new(&options);
	g_autoptr(test_peer) peer = test_connect(test, "given");
	setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	test_send(peer, "GET /half HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(peer), ==, 200);
	for (int i = 0; i < 10; i++)
		test_send(peer, "GET /half HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, 1);
	for (int i = 0; i < 100 && pom_metric_get(POM_METRIC_CONNECTIONS, NULL); i++)
		g_usleep(100 * 1000);
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, 0);
	test_server_free(test);
}

/* Load and vanishing ----------------------------------------------------------------------------------------------------- */

static void test_queue_full(void)
{
	struct test_options options = test_options();
	struct test_server *test;

	options.n_workers = options.queue_max = 1;
	test = test_server_new(&options);
	g_autoptr(test_peer) running = test_connect(test, "plain"), a = test_connect(test, "plain"), b = test_connect(test, "plain");
	test_send(running, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	test_send(a, "GET /who HTTP/1.1\r\n" H "\r\n");
	test_send(b, "GET /who HTTP/1.1\r\n" H "\r\n");
	struct pollfd fds[] = {{a->fd, POLLIN, 0}, {b->fd, POLLIN, 0}};
	g_assert_cmpint(poll(fds, 2, 5000), ==, 1);
	test_peer *full = fds[0].revents ? a : b, *waiting = fds[0].revents ? b : a;
	g_autofree char *reply = test_reply(full);
	assert_contains(reply, "HTTP/1.1 503 ");
	assert_contains(reply, "Retry-After: 1\r\n");
	test_open_gate(test);
	g_assert_cmpint(test_status(running), ==, 200);
	g_assert_cmpint(test_status(waiting), ==, 200);
	test_send(full, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(full), ==, 200);
	test_server_free(test);
}

static void reset(struct test_peer *peer)
{
	const struct linger linger = {1, 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	test_peer_free(peer);
}

static void await_connections(int n)
{
	for (int i = 0; i < 500 && pom_metric_get(POM_METRIC_CONNECTIONS, NULL) != n; i++)
		g_usleep(10 * 1000);
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, n);
}

/* One client vanishes while its job runs, another while its job waits: that one is never begun. */
static void test_vanish(void)
{
	struct test_options options = test_options();
	struct test_server *test;

	options.n_workers = 1;
	test = test_server_new(&options);
	test_peer *running = test_connect(test, "plain"), *waiting = test_connect(test, "plain");
	g_autoptr(test_peer) stays = test_connect(test, "plain");
	test_send(running, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	test_send(waiting, "GET /wait HTTP/1.1\r\n" H "\r\n");
	g_usleep(100 * 1000);
	reset(running);
	reset(waiting);
	await_connections(1);
	test_open_gate(test);
	test_send(stays, "PUT /echo HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(stays), ==, 200);
	g_assert_cmpuint(test_count(test, &test->state.n_handled), ==, 2);
	test_server_free(test);
}

/* A client may close its sending side and still read its reply. */
static void test_half_close(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\nPUT /echo HTTP/1.1\r\n" H "\r\n");
	shutdown(peer->fd, SHUT_WR);
	test_await_waiting(test, 1);
	g_usleep(50 * 1000);
	test_open_gate(test);
	g_assert_cmpint(test_status(peer), ==, 200);
	g_assert_cmpint(test_status(peer), ==, 200);
	g_assert_true(test_at_end(peer));
	test_server_free(test);
}

/* Told before the connection is closed. */
static void assert_refused(struct test_server *test, unsigned n)
{
	g_assert_cmpuint(test_count(test, &test->state.n_refused), ==, n);
	g_assert_cmpuint(test_count(test, &test->state.reason), ==, POM_ERR_HTTP_CONNECTIONS);
}

static void test_connection_limit(void)
{
	struct test_options options = test_options();
	struct test_server *test;
	int status = 0;

	options.limits.connections_per_address = 2;
	options.limits.connections = 3;
	test = test_server_new(&options);
	g_autoptr(test_peer) one = test_connect(test, "plain"), two = test_connect(test, "plain"), three = test_connect(test, "plain");
	g_assert_true(test_at_end(three));
	assert_refused(test, 1);
	test_send(two, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(two), ==, 200);
	g_autoptr(test_peer) local = test_connect(test, "unix"), full = test_connect(test, "unix");
	test_send(local, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(local), ==, 200);
	g_assert_true(test_at_end(full));
	assert_refused(test, 2);
	test_peer_free(g_steal_pointer(&one));
	for (int i = 0; i < 100 && status != 200; i++) {
		g_autoptr(test_peer) next = test_connect(test, "plain");
		test_send(next, "GET /who HTTP/1.1\r\n" H "\r\n");
		status = test_status(next);
		g_usleep(10 * 1000);
	}
	g_assert_cmpint(status, ==, 200);
	test_server_free(test);
}

/* A proxy brings the connections of many: only the total counts for it. */
static void test_connection_limit_of_proxies(void)
{
	struct test_options options = test_options();
	struct http_networks *proxies = http_networks_parse("127.0.0.0/8", NULL);
	struct test_server *test;

	options.limits.connections_per_address = 1;
	options.limits.connections = 3;
	options.proxies = proxies;
	test = test_server_new(&options);
	g_autoptr(test_peer) one = test_connect(test, "plain"), two = test_connect(test, "plain"), three = test_connect(test, "plain"), full = test_connect(test, "plain");
	struct test_peer *const served[] = {one, two, three};

	g_assert_true(test_at_end(full));
	for (unsigned i = 0; i < G_N_ELEMENTS(served); i++) {
		test_send(served[i], "GET /who HTTP/1.1\r\n" H "\r\n");
		g_assert_cmpint(test_status(served[i]), ==, 200);
	}
	test_server_free(test);
	http_networks_free(proxies);
}

static void test_large_reply(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");

	for (int i = 0; i < 3; i++) {
		test_send(peer, "GET /big HTTP/1.1\r\n" H "\r\n");
		g_autofree char *reply = test_reply(peer);
		g_assert_nonnull(reply);
		g_assert_cmpuint(strlen(strstr(reply, "\r\n\r\n") + 4), ==, 1 << 20);
	}
	test_server_free(test);
}

static void test_unread(void)
{
	struct test_server *test = start();

	test_unread_pieces(test, "plain");
	test_server_free(test);
}

static void *hammer(void *test)
{
	for (int i = 0; i < 10; i++) {
		g_autoptr(test_peer) peer = test_connect(test, "plain");

		for (int j = 0; j < 20; j++) {
			test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
			if (j == 19 && i % 2)
				break;
			g_assert_cmpint(test_status(peer), ==, 200);
		}
	}
	return NULL;
}

/* For the thread sanitizer: many clients on all loops, some of which leave without their reply. */
static void test_many(void)
{
	struct test_options options = test_options();
	pthread_t threads[8];

	options.n_loops = 3;
	struct test_server *test = test_server_new(&options);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_create(&threads[i], NULL, hammer, test);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
	test_server_free(test);
}

/* Stopping ----------------------------------------------------------------------------------------------------------- */

static void *stop(void *test)
{
	http_server_stop(((struct test_server *)test)->server, 5000);
	return NULL;
}

static void await_refusal(uint16_t port)
{
	int fd = test_dial(port);

	for (int i = 0; i < 500 && fd >= 0; i++) {
		close(fd);
		g_usleep(10 * 1000);
		fd = test_dial(port);
	}
	g_assert_cmpint(fd, ==, -1);
}

/* Running requests finish and their replies arrive; idle connections and the listener go at once. */
static void test_graceful_stop(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) running = test_connect(test, "plain"), idle = test_connect(test, "plain");
	uint16_t port = http_server_port(test->server, "plain");
	int64_t start_us;
	pthread_t thread;

	test_send(running, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	pthread_create(&thread, NULL, stop, test);
	g_assert_true(test_at_end(idle));
	await_refusal(port);
	test_open_gate(test);
	g_autofree char *reply = test_reply(running);
	assert_contains(reply, "waited");
	assert_contains(reply, "Connection: close\r\n");
	start_us = g_get_monotonic_time();
	g_assert_true(test_at_end(running));
	test_peer_free(g_steal_pointer(&running));
	pthread_join(thread, NULL);
	g_assert_cmpint(g_get_monotonic_time() - start_us, <, 2 * G_USEC_PER_SEC);
	test_server_free(test);
}

/* Draining, everybody is served, each connection once more. */
static void test_drain(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) running = test_connect(test, "plain"), idle = test_connect(test, "plain");

	test_send(idle, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(idle), ==, 200);
	test_send(running, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	http_server_drain(test->server);
	g_autoptr(test_peer) later = test_connect(test, "plain");
	struct test_peer *const asking[] = {idle, later};
	for (unsigned i = 0; i < G_N_ELEMENTS(asking); i++) {
		test_send(asking[i], "GET /who HTTP/1.1\r\n" H "\r\n");
		g_autofree char *reply = test_reply(asking[i]);
		assert_contains(reply, "HTTP/1.1 200 ");
		assert_contains(reply, "Connection: close\r\n");
		g_assert_true(test_at_end(asking[i]));
	}
	test_open_gate(test);
	g_autofree char *reply = test_reply(running);
	assert_contains(reply, "waited");
	assert_contains(reply, "Connection: close\r\n");
	g_assert_true(test_at_end(running));
	test_server_free(test);
}

static void *open_later(void *test)
{
	g_usleep(2 * SHORT_MS * 1000);
	test_open_gate(test);
	return NULL;
}

/* When the grace is over the connection is closed, though its handler still runs. */
static void test_grace_ends(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "plain");
	pthread_t thread;

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	pthread_create(&thread, NULL, open_later, test);
	http_server_stop(test->server, SHORT_MS);
	g_assert_true(test_at_end(peer));
	pthread_join(thread, NULL);
	test_server_free(test);
}

/* Listening ---------------------------------------------------------------------------------------------------------- */

static void test_unix(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "unix");
	g_autofree char *uid = g_strdup_printf("unix=1 uid=%d", (int)getuid());
	struct stat st;

	g_assert_cmpint(lstat(test->unix_path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	test_send(peer, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_autofree char *reply = test_reply(peer);
	assert_contains(reply, "listener=unix peer=unix tls=0");
	assert_contains(reply, uid);
	test_server_free(test);
}

/* Whether a listener can be opened at ADDRESS, and why not. */
static char *try_listen(const char *address)
{
	static const struct http_route none[] = {{NULL}};
	const struct http_server_config config = {1, 1, 1, http_limits_default};
	const struct http_listener listener = {.name = "device", .address = address, .fd = -1, .routes = none};
	g_autoptr(GError) error = NULL;
	struct http_server *server = http_server_new(&config, &listener, 1, &error);

	g_assert_true(!server == !!error);
	if (error)
		g_assert_error(error, POM_ERROR, POM_ERR_IO);
	http_server_free(server);
	return error ? g_strdup(error->message) : g_strdup("listens");
}

static void test_addresses(void)
{
	static const struct {
		const char *address, *expected;
	} table[] = {
		{"127.0.0.1:0", "listens"}, {"[::1]:0", "listens"}, {"[::]:0", "listens"}, {"127.0.0.1", "not an address"}, {"::1:80", "not an address"},
		{"localhost:80", "not an address"}, {":80", "not an address"}, {"127.0.0.1:http", "not an address"}, {"192.0.2.1:1", "does not have the address"},
		{"unix:/nonexistent/socket", "No such file"}, {NULL, "no address"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autofree char *got = try_listen(table[i].address);

		assert_contains(got, table[i].expected);
		assert_contains(got, table[i].expected[0] == 'l' ? "" : "device");
	}
}

static void test_port_in_use(void)
{
	struct test_server *test = start();
	g_autofree char *address = g_strdup_printf("127.0.0.1:%d", http_server_port(test->server, "plain")), *got = try_listen(address);

	assert_contains(got, address);
	assert_contains(got, "port in use");
	assert_contains(got, "another address");
	test_server_free(test);
}

/* A dead socket is replaced; a living one and a file of another kind are not. */
static void test_unix_stale(void)
{
	struct test_server *test = start();
	g_autofree char *address = g_strconcat("unix:", test->unix_path, NULL), *living = try_listen(address);
	g_autofree char *stale = g_strconcat(test->unix_path, ".stale", NULL), *stale_address = g_strconcat("unix:", stale, NULL);

	assert_contains(living, "port in use");
	g_assert_cmpint(g_rename(test->unix_path, stale), ==, 0);
	http_server_stop(test->server, 0);
	g_assert_true(g_file_test(stale, G_FILE_TEST_EXISTS));
	g_autofree char *replaced = try_listen(stale_address);
	g_assert_cmpstr(replaced, ==, "listens");
	g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_set_contents(stale, "precious", -1, NULL));
	g_autofree char *file = try_listen(stale_address);
	assert_contains(file, "not a socket");
	g_assert_cmpint(g_unlink(stale), ==, 0);
	test_server_free(test);
}

/* A socket that another server has put in the place of ours is not ours to remove. */
static void test_unix_replaced(void)
{
	struct test_server *test = start();
	g_autofree char *address = g_strconcat("unix:", test->unix_path, NULL);
	static const struct http_route none[] = {{NULL}};
	const struct http_server_config config = {1, 1, 1, http_limits_default};
	const struct http_listener listener = {.name = "next", .address = address, .fd = -1, .routes = none};
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(g_unlink(test->unix_path), ==, 0);
	struct http_server *next = http_server_new(&config, &listener, 1, &error);
	g_assert_no_error(error);
	http_server_stop(test->server, 0);
	g_assert_true(g_file_test(test->unix_path, G_FILE_TEST_EXISTS));
	http_server_free(next);
	test_server_free(test);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/server/keep-alive", test_keep_alive);
	g_test_add_func("/server/byte-by-byte", test_byte_by_byte);
	g_test_add_func("/server/pipelining", test_pipelining);
	g_test_add_func("/server/much-ahead", test_much_ahead);
	g_test_add_func("/server/expect", test_expect);
	g_test_add_func("/server/too-large", test_too_large);
	g_test_add_func("/server/drain-is-bounded", test_drain_is_bounded);
	g_test_add_func("/server/slow-head", test_slow_head);
	g_test_add_func("/server/slow-body", test_slow_body);
	g_test_add_func("/server/idle", test_idle);
	g_test_add_func("/server/running-has-no-deadline", test_running_has_no_deadline);
	g_test_add_func("/server/write-deadline", test_write_deadline);
	g_test_add_func("/server/queue-full", test_queue_full);
	g_test_add_func("/server/vanish", test_vanish);
	g_test_add_func("/server/half-close", test_half_close);
	g_test_add_func("/server/connection-limit", test_connection_limit);
	g_test_add_func("/server/connection-limit-of-proxies", test_connection_limit_of_proxies);
	g_test_add_func("/server/large-reply", test_large_reply);
	g_test_add_func("/server/unread", test_unread);
	g_test_add_func("/server/many", test_many);
	g_test_add_func("/server/drain", test_drain);
	g_test_add_func("/server/graceful-stop", test_graceful_stop);
	g_test_add_func("/server/grace-ends", test_grace_ends);
	g_test_add_func("/server/unix", test_unix);
	g_test_add_func("/server/addresses", test_addresses);
	g_test_add_func("/server/port-in-use", test_port_in_use);
	g_test_add_func("/server/unix-stale", test_unix_stale);
	g_test_add_func("/server/unix-replaced", test_unix_replaced);
	return g_test_run();
}
