#include "http/forwarded.h"

#include <string.h>

#include "http/wire.h"

static struct http_networks *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	struct http_networks *networks = http_networks_parse(text, &error);

	g_assert_no_error(error);
	return networks;
}

static void test_networks(void)
{
	static const struct { const char *list, *in, *out; } cases[] = {
		{"192.0.2.1", "192.0.2.1", "192.0.2.2 192.0.2.0 ::1 2001:db8::1"},
		{"192.0.2.0/24", "192.0.2.0 192.0.2.255 ::ffff:192.0.2.7", "192.0.1.255 192.0.3.0 ::192.0.2.7"},
		{"10.0.0.0/9", "10.0.0.0 10.127.255.255", "10.128.0.0 11.0.0.0"},
		{"10.128.0.0/9,  127.0.0.1\t172.16.0.0/12", "10.128.0.1 127.0.0.1 172.31.255.255", "10.0.0.1 127.0.0.2 172.32.0.0"},
		{"128.0.0.0/1", "128.0.0.0 255.255.255.255", "127.255.255.255 8000::"},
		{"2001:db8::1", "2001:db8::1 2001:DB8:0::1", "2001:db8::2 ::1 192.0.2.1"},
		{"2001:db8::/33", "2001:db8:7fff:ffff:: 2001:db8::1", "2001:db8:8000:: 2001:db9::"},
		{"::ffff:192.0.2.1", "192.0.2.1 ::ffff:c000:201", "192.0.2.2"},
		{"::1", "::1", "127.0.0.1 ::"},
		{"", "", "127.0.0.1 ::1"},
		{" , ", "", "127.0.0.1"},
		{"192.0.2.1", "", "unix localhost 192.0.2.1:80 [192.0.2.1] 192.0.2.1/32 192.0.2.01"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct http_networks *networks = parse(cases[i].list);
		g_auto(GStrv) in = g_strsplit(cases[i].in, " ", -1), out = g_strsplit(cases[i].out, " ", -1);

		g_test_message("%s", cases[i].list);
		for (unsigned k = 0; in[k]; k++)
			g_assert_true(!*in[k] || http_networks_contain(networks, in[k]));
		for (unsigned k = 0; out[k]; k++)
			g_assert_false(http_networks_contain(networks, out[k]));
		http_networks_free(networks);
	}
	g_assert_false(http_networks_contain(NULL, "127.0.0.1"));
}

static void test_bad_networks(void)
{
	static const char *const lists[] = {
		"localhost", "192.0.2.1/", "192.0.2.1/33", "192.0.2.1/0", "0.0.0.0/0", "::/0", "192.0.2.1/24", "10.0.0.1/31", "2001:db8::1/64", "::1/129", "192.0.2", "192.0.2.1.5",
		"192.0.2.1/+8", "192.0.2.0/ 24", "[::1]", "192.0.2.1:80", "192.0.2.1;192.0.2.2", "fe80::1%lo", "unix:/run/x",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
		g_autofree char *list = g_strconcat("127.0.0.1, ", lists[i], NULL);
		g_autoptr(GError) error = NULL;

		g_test_message("%s", lists[i]);
		g_assert_null(http_networks_parse(list, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	}
	GString *many = g_string_new(NULL);
	g_autoptr(GError) error = NULL;

	for (int i = 0; i <= HTTP_NETWORKS_MAX; i++)
		g_string_append(many, "127.0.0.1 ");
	g_assert_null(http_networks_parse(many->str, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_string_free(many, TRUE);
}

static void add_header(struct http_request *request, const char *name, const char *value)
{
	struct http_header header = {g_strdup(name), g_strdup(value)};

	g_array_append_val(request->headers, header);
}

/* Proxies: 10.0.0.0/8, ::1. The request comes from 10.0.0.1. */
static void test_peers(void)
{
	static const struct { const char *name, *first, *second, *wanted; } cases[] = {
		{"X-Forwarded-For", NULL, NULL, "10.0.0.1"},
		{"X-Forwarded-For", "192.0.2.1", NULL, "192.0.2.1"},
		{"x-forwarded-for", "192.0.2.1", NULL, "192.0.2.1"},
		/* What stands left of the first stranger is invented. */
		{"X-Forwarded-For", "198.51.100.9, 192.0.2.1", NULL, "192.0.2.1"},
		{"X-Forwarded-For", "10.0.0.7, 192.0.2.1", NULL, "192.0.2.1"},
		{"X-Forwarded-For", "198.51.100.9, 192.0.2.1, 10.0.0.2", NULL, "192.0.2.1"},
		{"X-Forwarded-For", "198.51.100.9", "192.0.2.1", "192.0.2.1"},
		{"X-Forwarded-For", "192.0.2.1", "10.0.0.2, ::1", "192.0.2.1"},
		{"X-Forwarded-For", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3"},
		{"X-Forwarded-For", "192.0.2.1:4711", NULL, "192.0.2.1"},
		{"X-Forwarded-For", "2001:db8::1", NULL, "2001:db8::1"},
		{"X-Forwarded-For", "[2001:db8::1]", NULL, "2001:db8::1"},
		{"X-Forwarded-For", "[2001:DB8:0::1]:4711", NULL, "2001:db8::1"},
		{"X-Forwarded-For", "::ffff:192.0.2.1", NULL, "192.0.2.1"},
		{"X-Forwarded-For", "192.0.2.1,,  ,", NULL, "192.0.2.1"},
		/* Garbage ends the search at the last one that was believed. */
		{"X-Forwarded-For", "192.0.2.1, unknown", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "192.0.2.1, unknown, 10.0.0.2", NULL, "10.0.0.2"},
		{"X-Forwarded-For", "192.0.2.1:x", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "192.0.2.1:65536", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "[192.0.2.1]", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "[2001:db8::1", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "[2001:db8::1]x", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "\"192.0.2.1\"", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "192.0.2.1, \"", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "for=192.0.2.1", NULL, "10.0.0.1"},
		{"X-Forwarded-For", "localhost", NULL, "10.0.0.1"},
		{"Forwarded", "for=192.0.2.1", NULL, "192.0.2.1"},
		{"Forwarded", "For=\"[2001:db8::1]:47\";proto=https;by=10.0.0.1", NULL, "2001:db8::1"},
		{"Forwarded", "proto=https; for=192.0.2.1 ;host=\"a,for=198.51.100.1\"", NULL, "192.0.2.1"},
		{"Forwarded", "for=198.51.100.9, for=192.0.2.1;by=_x, for=10.0.0.2", NULL, "192.0.2.1"},
		{"Forwarded", "for=\"192.0.2\\.1\"", NULL, "192.0.2.1"},
		{"Forwarded", "for=198.51.100.9;for=192.0.2.1", NULL, "10.0.0.1"},
		{"Forwarded", "for=192.0.2.1, for=_hidden", NULL, "10.0.0.1"},
		{"Forwarded", "for=192.0.2.1, for=unknown, for=10.0.0.2", NULL, "10.0.0.2"},
		{"Forwarded", "for=192.0.2.1, proto=https", NULL, "10.0.0.1"},
		{"Forwarded", "for=192.0.2.1;host=\"a", NULL, "10.0.0.1"},
		{"Forwarded", "192.0.2.1", NULL, "10.0.0.1"},
	};
	struct http_networks *proxies = parse("10.0.0.0/8 ::1");

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(http_request) request = http_request_new();
		g_autofree char *peer = NULL;

		g_test_message("%s: %s | %s", cases[i].name, cases[i].first, cases[i].second);
		/* Another header than the one that is asked for says nothing. */
		add_header(request, "Forwarded-For", "203.0.113.1");
		if (cases[i].first)
			add_header(request, cases[i].name, cases[i].first);
		if (cases[i].second)
			add_header(request, cases[i].name, cases[i].second);
		peer = http_forwarded_peer(request, cases[i].name, proxies, "10.0.0.1");
		g_assert_cmpstr(peer, ==, cases[i].wanted);
	}
	http_networks_free(proxies);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/forwarded/networks", test_networks);
	g_test_add_func("/forwarded/bad-networks", test_bad_networks);
	g_test_add_func("/forwarded/peers", test_peers);
	return g_test_run();
}
