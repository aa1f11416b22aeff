/* The server's TLS side. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/metric.h"
#include "http/test_fixture.h"

enum { SHORT_MS = 300, LONG_MS = 2000, POLL_US = 2000 };

static struct test_server *start(void)
{
	struct test_options options = test_options();

	return test_server_new(&options);
}

static void check_version(int version)
{
	struct test_server *test = start();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	g_autoptr(test_peer) peer = test_connect_tls(test, ctx);
	for (int i = 0; i < 3; i++) {
		test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
		g_assert_cmpint(test_status(peer), ==, 200);
	}
	test_send(peer, "GET /who HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	g_autofree char *reply = test_reply(peer);
	g_assert_nonnull(strstr(reply, "listener=tls peer=127.0.0.1 tls=1 unix=0 uid=0 cert=0"));
	g_assert_true(test_at_end(peer));
	g_assert_cmpint(SSL_get_shutdown(peer->ssl), ==, SSL_RECEIVED_SHUTDOWN);
	SSL_CTX_free(ctx);
	test_server_free(test);
}

static void test_tls_1_2(void)
{
	check_version(TLS1_2_VERSION);
}

static void test_tls_1_3(void)
{
	check_version(TLS1_3_VERSION);
}

/* SSL_read gives at most one record. */
static void test_one_record(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "tls");
	g_autofree char *body = g_strnfill(15000, 'x');
	char buf[16384];

	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 15000\r\n\r\n");
	test_send(peer, body);
	g_assert_cmpint(SSL_read(peer->ssl, buf, sizeof buf), >, 15000);
	test_server_free(test);
}

/* Bodies of several records, pieces of a record at a time, requests ahead in the same record. */
static void test_records(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "tls");
	g_autofree char *body = g_strnfill(99000, 'x');

	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\naPUT /echo HTTP/1.1\r\n" H "Content-Length: 99000\r\n\r\n");
	test_send(peer, body);
	test_send(peer, "GET /big HTTP/1.1\r\n" H "\r\nPUT /echo HTTP/1.1\r\n" H "\r\n");
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(test_status(peer), ==, 200);
	test_server_free(test);
}

static void test_much_ahead(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "tls");
	g_autofree char *body = g_strnfill(99000, 'x');

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\n");
	test_await_waiting(test, 1);
	for (int i = 0; i < 4; i++) {
		test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 99000\r\n\r\n");
		test_send(peer, body);
	}
	test_open_gate(test);
	for (int i = 0; i < 5; i++)
		g_assert_cmpint(test_status(peer), ==, 200);
	test_server_free(test);
}

static void test_unread(void)
{
	struct test_server *test = start();

	test_unread_pieces(test, "tls");
	test_server_free(test);
}

static void test_refusal(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "tls");
	g_autofree char *body = g_strnfill(150000, 'x');

	test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 1000000000\r\n\r\n");
	test_send(peer, body);
	g_assert_cmpint(test_status(peer), ==, 413);
	g_assert_true(test_at_end(peer));
	test_server_free(test);
}

/* A plain request to the TLS port never gets a plain answer. */
static void test_plain_to_tls(void)
{
	struct test_server *test = start();
	int fd = test_dial(http_server_port(test->server, "tls"));
	char buf[100];
	ssize_t n;

	g_assert_cmpint(send(fd, "GET /who HTTP/1.1\r\n" H "\r\n", 30, MSG_NOSIGNAL), ==, 30);
	n = recv(fd, buf, sizeof buf, 0);
	g_assert_true(n <= 0 || buf[0] == 0x15); /* at most a TLS alert */
	g_assert_cmpint(recv(fd, buf, sizeof buf, 0), <=, 0);
	close(fd);
	g_assert_cmpuint(test_count(test, &test->state.n_done), ==, 0);
	test_server_free(test);
}

static void test_handshake_deadline(void)
{
	struct test_options options = test_options();
	struct test_server *test;
	char byte;

	options.limits.handshake_ms = SHORT_MS;
	test = test_server_new(&options);
	int fd = test_dial(http_server_port(test->server, "tls"));
	const struct timeval timeout = {5, 0};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	g_assert_cmpint(recv(fd, &byte, 1, 0), ==, 0);
	close(fd);
	test_server_free(test);
}

static void await_connections(int n)
{
	while (pom_metric_get(POM_METRIC_CONNECTIONS, NULL) < n)
		g_usleep(POLL_US);
}

/* While the loop is busy with something else, the time of a peer's handshake runs out without its fault. */
static void test_late_by_server(void)
{
	struct test_options options = test_options();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	struct test_server *test;
	char reply[1000];

	options.n_loops = 1;
	options.limits.handshake_ms = LONG_MS;
	test = test_server_new(&options);
	int fd = test_dial(http_server_port(test->server, "tls"));
	/* When the loop has served another, it has begun with this one. */
	g_autoptr(test_peer) before = test_connect(test, "tls");
	/* The loop wants the context of the next connection, and waits for this lock. */
	pthread_mutex_lock(&test->state.lock);
	int other = test_dial(http_server_port(test->server, "tls"));
	await_connections(3);
	SSL_set_fd(ssl, fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	g_assert_cmpint(SSL_connect(ssl), ==, -1); /* has said hello */
	g_usleep((LONG_MS + SHORT_MS) * 1000);
	pthread_mutex_unlock(&test->state.lock);
	fcntl(fd, F_SETFL, 0);
	g_assert_cmpint(SSL_connect(ssl), ==, 1);
	g_assert_cmpint(SSL_write(ssl, "GET /who HTTP/1.1\r\n" H "\r\n", 30), ==, 30);
	g_assert_cmpint(SSL_read(ssl, reply, sizeof reply), >, 0);
	test_send(before, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(before), ==, 200);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	close(other);
	test_server_free(test);
}

/* When many requests wait, no handshake is begun for one more; when they are done, it is. */
static void test_full(void)
{
	struct test_options options = test_options();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	test_peer *peers[4];
	struct test_server *test;
	char reply[1000];

	options.n_workers = 1;
	options.queue_max = 2;
	test = test_server_new(&options);
	for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
		peers[i] = test_connect(test, "plain");
		test_send(peers[i], "GET /wait HTTP/1.1\r\n" H "\r\n");
	}
	while (!test_count(test, &test->state.n_refused))
		g_usleep(POLL_US);
	int fd = test_dial(http_server_port(test->server, "tls"));
	SSL_set_fd(ssl, fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	g_assert_cmpint(SSL_connect(ssl), ==, -1);
	g_usleep(SHORT_MS * 1000);
	g_assert_cmpint(recv(fd, reply, sizeof reply, MSG_PEEK), ==, -1);
	test_open_gate(test);
	fcntl(fd, F_SETFL, 0);
	g_assert_cmpint(SSL_connect(ssl), ==, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++)
		test_peer_free(peers[i]);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	test_server_free(test);
}

static void test_client_cert(void)
{
	struct test_server *test = start();
	SSL_CTX *ctx = test_ctx_new(77);
	g_autoptr(test_peer) peer = test_connect_tls(test, ctx);
	g_autofree char *expected = g_strdup_printf("cert=%d", i2d_X509(SSL_CTX_get0_certificate(ctx), NULL));

	test_send(peer, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_autofree char *reply = test_reply(peer);
	g_assert_nonnull(strstr(reply, expected));
	SSL_CTX_free(ctx);
	test_server_free(test);
}

static long serial_seen(const struct test_peer *peer)
{
	X509 *cert = SSL_get1_peer_certificate(peer->ssl);
	long serial = ASN1_INTEGER_get(X509_get_serialNumber(cert));

	X509_free(cert);
	return serial;
}

/* A new certificate serves the next connection; those that are open go on with the old one. */
static void test_swap(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) before = test_connect(test, "tls");

	test_server_swap_ctx(test, test_ctx_new(2));
	g_autoptr(test_peer) after = test_connect(test, "tls");
	g_assert_cmpint(serial_seen(before), ==, 1);
	g_assert_cmpint(serial_seen(after), ==, 2);
	test_send(before, "GET /who HTTP/1.1\r\n" H "\r\n");
	g_assert_cmpint(test_status(before), ==, 200);
	test_server_free(test);
}

/* A client that has said close_notify still gets the reply to what it sent. */
static void test_half_close(void)
{
	struct test_server *test = start();
	g_autoptr(test_peer) peer = test_connect(test, "tls");

	test_send(peer, "GET /wait HTTP/1.1\r\n" H "\r\n");
	SSL_shutdown(peer->ssl);
	test_await_waiting(test, 1);
	g_usleep(50 * 1000);
	test_open_gate(test);
	g_assert_cmpint(test_status(peer), ==, 200);
	g_assert_true(test_at_end(peer));
	test_server_free(test);
}

static void *hammer(void *test)
{
	for (int i = 0; i < 4; i++) {
		g_autoptr(test_peer) peer = test_connect(test, "tls");

		for (int j = 0; j < 10; j++) {
			test_send(peer, "PUT /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
			if (j == 9 && i % 2)
				break;
			g_assert_cmpint(test_status(peer), ==, 200);
		}
	}
	return NULL;
}

static void test_many(void)
{
	struct test_server *test = start();
	pthread_t threads[8];

	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_create(&threads[i], NULL, hammer, test);
	test_server_swap_ctx(test, test_ctx_new(2));
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
	test_server_free(test);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tls/1.2", test_tls_1_2);
	g_test_add_func("/tls/1.3", test_tls_1_3);
	g_test_add_func("/tls/one-record", test_one_record);
	g_test_add_func("/tls/records", test_records);
	g_test_add_func("/tls/much-ahead", test_much_ahead);
	g_test_add_func("/tls/unread", test_unread);
	g_test_add_func("/tls/refusal", test_refusal);
	g_test_add_func("/tls/plain-to-tls", test_plain_to_tls);
	g_test_add_func("/tls/handshake-deadline", test_handshake_deadline);
	g_test_add_func("/tls/late-by-server", test_late_by_server);
	g_test_add_func("/tls/full", test_full);
	g_test_add_func("/tls/client-cert", test_client_cert);
	g_test_add_func("/tls/swap", test_swap);
	g_test_add_func("/tls/half-close", test_half_close);
	g_test_add_func("/tls/many", test_many);
	return g_test_run();
}
