/* Connections that a load balancer passes on with the PROXY protocol. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/metric.h"
#include "http/forwarded.h"
#include "http/test_fixture.h"

enum { SHORT_MS = 300, POLL_US = 5000, PATIENCE_US = 20 * 1000 * 1000 };

#define WHO "GET /who HTTP/1.1\r\n" H "\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) text, sizeof text - 1

static const struct passed_on { const char *name; const char *header; size_t len; const char *peer; } headers[] = {
	{"line", BYTES("PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n"), "192.0.2.7"},
	{"line, IPv6", BYTES("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"), "2001:db8::7"},
	{"line, unknown", BYTES("PROXY UNKNOWN\r\n"), "127.0.0.1"},
	{"binary", BYTES(V2 "\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\xdc\4\1\xbb"), "192.0.2.7"},
	{"binary with a checksum", BYTES(V2 "\x21\x11\0\x13\xc0\0\2\1\xc0\0\2\2\xd9\3\1\xbb\3\0\4\x6c\xdd\x8d\xe1"), "192.0.2.1"},
	{"binary, IPv6", BYTES(V2 "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xdc\4\1\xbb"), "2001:db8::7"},
	{"local", BYTES(V2 "\x20\0\0\0"), "127.0.0.1"},
};

static struct http_networks *parse(const char *list)
{
	struct http_networks *networks = http_networks_parse(list, NULL);

	g_assert_nonnull(networks);
	return networks;
}

static void check_who(struct test_peer *peer, const char *listener, const char *address)
{
	g_autofree char *reply = test_reply(peer), *expected = g_strdup_printf("listener=%s peer=%s tls=%d", listener, address, !strcmp(listener, "tls"));

	g_assert_nonnull(reply);
	if (!strstr(reply, expected))
		g_error("%s is not in %s", expected, reply);
}

/* At both listeners, the header in one piece or by bytes, and again on the same connection. */
static void test_address(void)
{
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;

	options.balancers = balancers;
	test = test_server_new(&options);
	for (unsigned i = 0; i < 4 * G_N_ELEMENTS(headers); i++) {
		const struct passed_on *header = &headers[i / 4];
		const char *listener = i & 1 ? "tls" : "plain";
		g_autoptr(test_peer) peer = test_connect_raw(test, listener);
		size_t step = i & 2 ? 1 : header->len;

		g_test_message("%s, %s, %zu", header->name, listener, step);
		for (size_t at = 0; at < header->len; at += step)
			test_send_len(peer, header->header + at, step);
		if (i & 1)
			test_start_tls(peer);
		for (int n = 0; n < 3; n++) {
			test_send(peer, WHO);
			check_who(peer, listener, header->peer);
		}
	}
	g_assert_cmpint(test_count(test, &test->state.n_refused), ==, 0);
	test_server_free(test);
	http_networks_free(balancers);
}

/* What follows the header in the same packet is TLS's, or the request's. */
static void test_all_at_once(void)
{
	struct http_networks *balancers = parse("127.0.0.0/8, ::1");
	struct test_options options = test_options();
	struct test_server *test;

	options.balancers = balancers;
	test = test_server_new(&options);
	for (unsigned i = 0; i < G_N_ELEMENTS(headers); i++) {
		g_autoptr(test_peer) plain = test_connect_raw(test, "plain"), tls = test_connect_raw(test, "tls");
		g_autoptr(GByteArray) all = g_byte_array_new();
		int one = 1;

		g_byte_array_append(all, (const uint8_t *)headers[i].header, (guint)headers[i].len);
		g_byte_array_append(all, (const uint8_t *)BYTES(WHO WHO));
		test_send_len(plain, all->data, all->len);
		check_who(plain, "plain", headers[i].peer);
		check_who(plain, "plain", headers[i].peer);
		setsockopt(tls->fd, IPPROTO_TCP, TCP_CORK, &one, sizeof one);
		test_send_len(tls, headers[i].header, headers[i].len);
		test_start_tls(tls);
		test_send(tls, WHO);
		check_who(tls, "tls", headers[i].peer);
	}
	test_server_free(test);
	http_networks_free(balancers);
}

static void await_refused(struct test_server *test, unsigned n, enum pom_error reason)
{
	for (int64_t start = g_get_monotonic_time(); test_count(test, &test->state.n_refused) < n && g_get_monotonic_time() - start < PATIENCE_US;)
		g_usleep(POLL_US);
	g_assert_cmpuint(test_count(test, &test->state.n_refused), ==, n);
	g_assert_cmpuint(test_count(test, &test->state.reason), ==, reason);
}

/* Whoever is not listed, says what it wants: it is not heard. */
static void test_stranger(void)
{
	struct http_networks *balancers = parse("192.0.2.0/24, 127.0.0.2");
	struct test_options options = test_options();
	struct test_server *test;
	unsigned n = 0;

	options.balancers = balancers;
	test = test_server_new(&options);
	for (unsigned i = 0; i < G_N_ELEMENTS(headers); i++) {
		g_autoptr(test_peer) peer = test_connect_raw(test, i & 1 ? "tls" : "plain");

		test_send_len(peer, headers[i].header, headers[i].len);
		test_send(peer, WHO);
		g_assert_cmpint(test_status(peer), ==, 0);
		await_refused(test, ++n, POM_ERR_PROXY_UNLISTED);
	}
	g_assert_cmpint(test_count(test, &test->state.n_handled), ==, 0);
	test_server_free(test);
	http_networks_free(balancers);
}

static void test_bad_header(void)
{
	static const struct { const char *bytes; size_t len; } cases[] = {
		{BYTES(WHO)}, {BYTES("\x16\x03\x01\x02\0\1\0\1\xfc")}, {BYTES("PROXY TCP4 192.0.2.7 192.0.2.1 0x1 443\r\n" WHO)}, {BYTES("PROXY UNKNOWN\n" WHO)},
		{BYTES(V2 "\x21\x11\0\x13\xc0\0\2\1\xc0\0\2\2\xd9\3\1\xbb\3\0\4\x6c\xdd\x8d\xe0" WHO)}, {BYTES(V2 "\x21\x31\0\0" WHO)}, {BYTES(V2 "\x21\x11\xff\xff" WHO)}, {BYTES(V2 "\x11\x11\0\x0c" WHO)},
	};
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;
	unsigned n = 0;

	options.balancers = balancers;
	test = test_server_new(&options);
	for (unsigned i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
		g_autoptr(test_peer) peer = test_connect_raw(test, i & 1 ? "tls" : "plain");

		g_test_message("%u", i / 2);
		test_send_len(peer, cases[i / 2].bytes, cases[i / 2].len);
		g_assert_cmpint(test_status(peer), ==, 0);
		await_refused(test, ++n, POM_ERR_PROXY_HEADER);
	}
	g_assert_cmpint(test_count(test, &test->state.n_handled), ==, 0);
	test_server_free(test);
	http_networks_free(balancers);
}

static void await_connections(int n)
{
	for (int64_t start = g_get_monotonic_time(); pom_metric_get(POM_METRIC_CONNECTIONS, NULL) != n && g_get_monotonic_time() - start < PATIENCE_US;)
		g_usleep(POLL_US);
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, n);
}

/* Who goes within the header is refused; who goes without a byte has only looked. */
static void test_gone(void)
{
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;
	test_peer *silent, *within;

	options.balancers = balancers;
	test = test_server_new(&options);
	silent = test_connect_raw(test, "plain");
	await_connections(1);
	test_peer_free(silent);
	await_connections(0);
	g_assert_cmpint(test_count(test, &test->state.n_refused), ==, 0);
	within = test_connect_raw(test, "tls");
	test_send(within, "PROXY TCP4 192");
	await_connections(1);
	shutdown(within->fd, SHUT_WR);
	await_refused(test, 1, POM_ERR_PROXY_HEADER);
	g_assert_true(test_at_end(within));
	test_peer_free(within);
	await_connections(0);
	test_server_free(test);
	http_networks_free(balancers);
}

/* The deadline stays, however many bytes come; a connection that begins in time has its own deadlines. */
static void test_slow(void)
{
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;
	unsigned sent = 0;

	options.limits.handshake_ms = SHORT_MS;
	options.balancers = balancers;
	test = test_server_new(&options);
	g_autoptr(test_peer) peer = test_connect_raw(test, "plain"), silent = test_connect_raw(test, "tls"), quick = test_connect_raw(test, "plain");
	test_send(quick, "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n");
	test_send_len(peer, BYTES(V2 "\x20\0\x0f\xf0"));
	for (; test_count(test, &test->state.n_refused) < 2 && sent < 0xff0 - 1; sent++) {
		test_send_len(peer, "x", 1);
		g_usleep(SHORT_MS * 1000 / 20);
	}
	await_refused(test, 2, POM_ERR_PROXY_HEADER);
	g_assert_cmpint(test_status(peer), ==, 0);
	g_assert_true(test_at_end(silent));
	g_usleep(SHORT_MS * 1000);
	test_send(quick, WHO);
	check_who(quick, "plain", "192.0.2.7");
	test_server_free(test);
	http_networks_free(balancers);
}

static struct test_peer *connect_for(struct test_server *test, const char *header)
{
	struct test_peer *peer = test_connect_raw(test, "plain");

	test_send(peer, header);
	test_send(peer, WHO);
	return peer;
}

/* The limit for one address is that of the address behind the balancer; the balancer's own has the total alone. */
static void test_connection_limit(void)
{
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;
	int status = 0;

	options.limits.connections_per_address = 2;
	options.limits.connections = 7;
	options.balancers = balancers;
	test = test_server_new(&options);
	test_peer *const waiting[] = {test_connect_raw(test, "plain"), test_connect_raw(test, "tls"), test_connect_raw(test, "plain")};
	g_autoptr(test_peer) one = connect_for(test, "PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), two = connect_for(test, "PROXY TCP6 2001:db8:0:0:ffff::1 ::1 1 2\r\n");
	g_assert_cmpint(test_status(one), ==, 200);
	g_assert_cmpint(test_status(two), ==, 200);
	g_autoptr(test_peer) third = connect_for(test, "PROXY TCP6 2001:db8::3 ::1 1 2\r\n");
	g_assert_cmpint(test_status(third), ==, 0);
	await_refused(test, 1, POM_ERR_HTTP_CONNECTIONS);
	await_connections(5);
	g_autoptr(test_peer) neighbor = connect_for(test, "PROXY TCP6 2001:db8:0:1::1 ::1 1 2\r\n"), other = connect_for(test, "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
	g_assert_cmpint(test_status(neighbor), ==, 200);
	g_assert_cmpint(test_status(other), ==, 200);
	g_autoptr(test_peer) full = connect_for(test, "PROXY TCP4 192.0.2.8 192.0.2.1 1 2\r\n");
	g_assert_cmpint(test_status(full), ==, 0);
	await_refused(test, 2, POM_ERR_HTTP_CONNECTIONS);
	test_peer_free(g_steal_pointer(&one));
	for (int i = 0; i < 1000 && status != 200; i++) {
		g_autoptr(test_peer) next = connect_for(test, "PROXY TCP6 2001:db8::4 ::1 1 2\r\n");
		status = test_status(next);
		g_usleep(POLL_US);
	}
	g_assert_cmpint(status, ==, 200);
	for (unsigned i = 0; i < G_N_ELEMENTS(waiting); i++)
		test_peer_free(waiting[i]);
	test_server_free(test);
	http_networks_free(balancers);
}

/* A stop does not wait for who has not said whom it brings. */
static void test_stop(void)
{
	struct http_networks *balancers = parse("127.0.0.1");
	struct test_options options = test_options();
	struct test_server *test;

	options.balancers = balancers;
	test = test_server_new(&options);
	g_autoptr(test_peer) one = test_connect_raw(test, "plain"), two = test_connect_raw(test, "tls"), three = test_connect_raw(test, "tls");
	test_send(two, "PROXY ");
	await_connections(3);
	http_server_stop(test->server, 600 * 1000);
	g_assert_true(test_at_end(one));
	g_assert_true(test_at_end(two));
	g_assert_true(test_at_end(three));
	g_assert_cmpint(test_count(test, &test->state.n_refused), ==, 0);
	test_server_free(test);
	http_networks_free(balancers);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/greeting/address", test_address);
	g_test_add_func("/greeting/all-at-once", test_all_at_once);
	g_test_add_func("/greeting/stranger", test_stranger);
	g_test_add_func("/greeting/bad-header", test_bad_header);
	g_test_add_func("/greeting/gone", test_gone);
	g_test_add_func("/greeting/slow", test_slow);
	g_test_add_func("/greeting/connection-limit", test_connection_limit);
	g_test_add_func("/greeting/stop", test_stop);
	return g_test_run();
}
