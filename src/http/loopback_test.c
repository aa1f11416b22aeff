/* Routing, the decision on a head, helpers and the bytes of replies, through the loopback: no socket, no threads. */
#include <string.h>

#include "base/error.h"
#include "http/forwarded.h"
#include "http/wire.h"

#define H "Host: a.example\r\n"

struct seen {
	unsigned n_done, n_refused;
	int last_status;
	enum pom_error last_reason;
	bool own_refusals;
};

/* Says what it was given: "method path [p0|p1] body". */
static struct http_response *echo(void *ctx, const struct http_request *r)
{
	g_autoptr(GString) text = g_string_new(NULL);

	g_string_append_printf(text, "%d %s [", (int)r->method, r->path);
	for (unsigned i = 0; i < G_N_ELEMENTS(r->params) && r->params[i]; i++)
		g_string_append_printf(text, "%s%s", i ? "|" : "", r->params[i]);
	g_string_append_printf(text, "] %.*s", (int)g_bytes_get_size(r->body), (const char *)g_bytes_get_data(r->body, NULL));
	return http_response_text(200, "text/plain", text->str);
}

static struct http_response *nothing(void *ctx, const struct http_request *r)
{
	return NULL;
}

static struct http_response *no_content(void *ctx, const struct http_request *r)
{
	return http_response_text(204, NULL, "must not be sent");
}

static struct http_response *hostile(void *ctx, const struct http_request *r)
{
	struct http_response *response = http_response_text(200, "text/plain", "x");
	struct http_header smuggled = {g_strdup("X-Direct"), g_strdup("a\r\nX-Evil: 1")};

	http_response_header(response, "X-Split", "a\r\nX-Evil: 1");
	http_response_header(response, "X-Lf", "a\nX-Evil: 1");
	http_response_header(response, "X-Name: 1\r\nX-Evil", "1");
	http_response_header(response, "Content-Length", "99");
	http_response_header(response, "Connection", "upgrade");
	http_response_header(response, "X-None", NULL);
	http_response_header(response, "X-Good", "yes");
	g_array_append_val(response->headers, smuggled);
	return response;
}

#define GET HTTP_BIT(HTTP_GET)
#define PUT HTTP_BIT(HTTP_PUT)
#define POST HTTP_BIT(HTTP_POST)
static const struct http_route routes[] = {
	{"/", GET, 0, 0, echo, 0},
	{"/enroll/new", GET, 0, 0, echo, 0},
	{"/enroll/{}", GET | PUT, 100, 0, echo, 0},
	{"/enroll/{}/profile", GET, 0, 0, echo, 0},
	{"/a/{}/b/{}/", GET, 0, 0, echo, 0},
	{"/static/*", GET, 0, 0, echo, 0},
	{"/scep", GET, 0, 65536, echo, 0},
	{"/scep", POST, 10, 100, echo, 0},
	{"/delete", HTTP_BIT(HTTP_DELETE) | HTTP_BIT(HTTP_OPTIONS), 0, 0, echo, 0},
	{"/body", GET | POST, 10, 0, echo, 0},
	{"/null", GET, 0, 0, nothing, 0},
	{"/204", GET, 0, 0, no_content, 0},
	{"/hostile", GET, 0, 0, hostile, 0},
	{"/private", GET | POST, 10, 0, echo, 1},
	{NULL},
};

static struct http_response *refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail)
{
	struct seen *seen = ctx;

	seen->n_refused++;
	seen->last_reason = reason;
	g_assert_nonnull(detail);
	g_assert_cmpstr(head->peer, ==, "127.0.0.1");
	g_assert_cmpstr(head->listener, ==, "test");
	return seen->own_refusals ? http_response_text(pom_error_info(reason)->http_status, "text/plain", "mine") : NULL;
}

static struct http_response *admit(void *ctx, const struct http_request *head)
{
	return head->route->flags && !http_request_header(head, "authorization") ? http_response_text(403, NULL, "who are you?") : NULL;
}

static void done(void *ctx, const struct http_request *request, int status, int64_t duration_us)
{
	struct seen *seen = ctx;

	seen->n_done++;
	seen->last_status = status;
}

static const char *const hosts[] = {"a.example", "[::1]", NULL};

static char *call(struct seen *seen, const char *raw, bool *ret_close)
{
	const struct http_listener listener = {"test", NULL, -1, routes, seen, refuse, admit, done, NULL, hosts};
	g_autoptr(GBytes) bytes = http_loopback(&listener, NULL, raw, strlen(raw), ret_close);

	return g_bytes_get_size(bytes) ? g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : g_strdup("");
}

static int status_of(const char *reply)
{
	return g_str_has_prefix(reply, "HTTP/1.1 ") ? atoi(reply + strlen("HTTP/1.1 ")) : 0;
}

static const char *body_of(const char *reply)
{
	const char *end = strstr(reply, "\r\n\r\n");

	return end ? end + 4 : "";
}

static const struct {
	const char *raw;
	int status;
	const char *expected; /* in the reply; NULL: whatever */
	bool close;
} cases[] = {
	{"GET / HTTP/1.1\r\n" H "\r\n", 200, "\r\n\r\n0 / [] ", false},
	{"GET /enroll/new HTTP/1.1\r\n" H "\r\n", 200, "0 /enroll/new [] ", false},
	{"GET /enroll/%6eew HTTP/1.1\r\n" H "\r\n", 200, "0 /enroll/new [] ", false},
	{"GET /enroll/a%20b?x=y HTTP/1.1\r\n" H "\r\n", 200, "[a b]", false},
	{"GET /enroll/a%2Fb HTTP/1.1\r\n" H "\r\n", 200, "0 /enroll/a/b [a/b] ", false},
	{"GET /enroll%2Fnew HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"PUT /enroll/new HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", 200, "3 /enroll/new [new] hi", false},
	{"GET /enroll/x/profile HTTP/1.1\r\n" H "\r\n", 200, "[x]", false},
	{"GET /enroll/ HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /enroll//profile HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET //enroll/new HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /enroll HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /enroll/x/profile/ HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /enrol HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /a/1/b/2/ HTTP/1.1\r\n" H "\r\n", 200, "[1|2]", false},
	{"GET /a/1/b/2 HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET /static/ HTTP/1.1\r\n" H "\r\n", 200, NULL, false},
	{"GET /static/x//y/ HTTP/1.1\r\n" H "\r\n", 200, "/static/x//y/ []", false},
	{"GET /static HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"OPTIONS * HTTP/1.1\r\n" H "\r\n", 404, NULL, true},
	{"GET http://a.example/enroll/z HTTP/1.1\r\n" H "\r\n", 200, "[z]", false},
	{"HEAD /enroll/new HTTP/1.1\r\n" H "\r\n", 200, "Content-Length: 17\r\n", false},
	{"POST /scep HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", 200, "2 /scep [] x", false},
	{"PUT /scep HTTP/1.1\r\n" H "\r\n", 405, "Allow: GET, HEAD, POST\r\n", true},
	{"GET /delete HTTP/1.1\r\n" H "\r\n", 405, "Allow: DELETE, OPTIONS\r\n", true},
	{"OPTIONS /delete HTTP/1.1\r\n" H "\r\n", 200, NULL, false},
	{"BREW / HTTP/1.1\r\n" H "\r\n", 405, "Allow: GET, HEAD\r\n", true},
	{"GET /nowhere HTTP/1.1\r\nHost: b.example\r\n\r\n", 421, NULL, true},
	{"GET / HTTP/1.1\r\nHost: A.EXAMPLE:8443\r\n\r\n", 200, NULL, false},
	{"GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200, NULL, false},
	{"GET http://b.example/ HTTP/1.1\r\n" H "\r\n", 421, NULL, true},
	{"GET / HTTP/1.0\r\n\r\n", 200, "Connection: close\r\n", true},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "Connection: keep-alive\r\n", false},
	{"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200, "Connection: close\r\n", true},
	{"POST /body HTTP/1.1\r\n" H "\r\n", 200, "2 /body [] ", false},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n0123456789", 200, "] 0123456789", false},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\n", 413, "Connection: close\r\n", true},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", 413, NULL, true},
	{"POST /body HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", 200, "] hellohello", false},
	{"POST /body HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n", 413, NULL, true},
	{"GET /body HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", 200, "] hi", false},
	{"GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", 413, NULL, true},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 100, NULL, false},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi", 100, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", false},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", 200, NULL, false},
	{"POST /body HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 200-ok\r\n\r\nhi", 417, NULL, true},
	{"POST /body HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi", 200, NULL, true},
	{"PUT /body HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 405, NULL, true},
	{"POST /none HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 404, NULL, true},
	{"POST /private HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 403, "who are you?", true},
	{"POST /private HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\n", 413, NULL, true},
	{"POST /private HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417, NULL, true},
	{"GET /private HTTP/1.1\r\n" H "Authorization: me\r\n\r\n", 200, NULL, false},
	{"GET /null HTTP/1.1\r\n" H "\r\n", 500, "POM-E0001", false},
	{"GET / HTTP/3.0\r\n" H "\r\n", 505, "POM-E7008", true},
	{"GET / HTTP/1.1\r\n\r\n", 400, "Host is missing", true},
	{"GET / HTTP/1.1\r\n" H, 0, NULL, false},
};

static void test_cases(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct seen seen = {0};
		bool close;
		g_autofree char *reply = call(&seen, cases[i].raw, &close);

		g_test_message("%s → %s", cases[i].raw, reply);
		g_assert_cmpint(status_of(reply), ==, cases[i].status);
		g_assert_true(!cases[i].expected || strstr(reply, cases[i].expected));
		g_assert_cmpint(close, ==, cases[i].close);
		g_assert_cmpuint(seen.n_done, ==, strstr(reply, "Date: ") ? 1 : 0);
	}
}

static void test_request_line_limits(void)
{
	static const struct {
		const char *before;
		size_t n;
		int status;
	} lines[] = {
		{"GET /scep?", 60000, 200}, {"GET /scep?", 65536 - 19, 200}, {"GET /scep?", 65536 - 18, 414}, {"GET /?", 16384 - 15, 200}, {"GET /?", 16384 - 14, 414},
		{"POST /scep?", 100 - 20, 200}, {"POST /scep?", 100 - 19, 414},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autofree char *fill = g_strnfill(lines[i].n, 'x'), *raw = g_strconcat(lines[i].before, fill, " HTTP/1.1\r\n" H "\r\n", NULL);
		struct seen seen = {0};
		bool close;
		g_autofree char *reply = call(&seen, raw, &close);

		g_assert_cmpint(status_of(reply), ==, lines[i].status);
	}
}

static void test_pipelined(void)
{
	static const char raw[] = "GET /enroll/1 HTTP/1.1\r\n" H "\r\nPUT /enroll/2 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhiGET /x HTTP/1.1\r\n" H "\r\nGET / HTTP/1.1\r\n" H "\r\n";
	struct seen seen = {.own_refusals = true};
	bool close;
	g_autofree char *reply = call(&seen, raw, &close);
	const char *first = strstr(reply, "[1]"), *second = strstr(reply, "[2] hi"), *third = strstr(reply, "mine");

	g_assert_true(first && second && third && first < second && second < third);
	g_assert_cmpuint(seen.n_done, ==, 3);
	g_assert_cmpuint(seen.n_refused, ==, 1);
	g_assert_cmpint(seen.last_status, ==, 404);
	g_assert_cmpint(seen.last_reason, ==, POM_ERR_NOT_FOUND);
	g_assert_true(close);
	g_assert_true(g_str_has_suffix(reply, "mine"));
}

static void test_reply_bytes(void)
{
	struct seen seen = {0};
	bool close;
	g_autofree char *hostile_reply = call(&seen, "GET /hostile HTTP/1.1\r\n" H "\r\n", &close);
	g_autofree char *empty = call(&seen, "GET /204 HTTP/1.1\r\n" H "\r\n", &close);
	g_autofree char *head = call(&seen, "HEAD /enroll/new HTTP/1.1\r\n" H "\r\n", &close);
	g_autofree char *refused_head = call(&seen, "HEAD /x HTTP/1.1\r\n" H "\r\n", &close);

	g_assert_null(strstr(hostile_reply, "Evil"));
	g_assert_null(strstr(hostile_reply, "99"));
	g_assert_null(strstr(hostile_reply, "upgrade"));
	g_assert_nonnull(strstr(hostile_reply, "X-Good: yes\r\n"));
	g_assert_cmpstr(body_of(hostile_reply), ==, "x");
	g_assert_null(strstr(empty, "Content-Length"));
	g_assert_cmpstr(body_of(empty), ==, "");
	g_assert_cmpstr(body_of(head), ==, "");
	g_assert_cmpint(status_of(refused_head), ==, 404);
	g_assert_cmpstr(body_of(refused_head), ==, "");
}

/* RFC 9110 §5.6.7 has this very date; and what fits in one record is one piece. */
static void test_wire(void)
{
	g_autoptr(http_response) small = http_response_new(200, "a/b", g_bytes_new_take(g_strnfill(1000, 'x'), 1000));
	g_autoptr(http_response) large = http_response_new(999, "a/b", g_bytes_new_take(g_strnfill(16384, 'x'), 16384));
	g_auto(http_wire_auto) one = {0}, two = {0};

	http_wire_format(&one, small, false, true, 784111777);
	g_assert_null(one.body);
	g_assert_nonnull(g_strstr_len((char *)one.head.data, one.head.len, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	http_wire_format(&two, large, false, true, 784111777);
	g_assert_cmpuint(g_bytes_get_size(two.body), ==, 16384);
	g_assert_cmpuint(http_wire_len(&two), ==, two.head.len + 16384);
	g_assert_nonnull(g_strstr_len((char *)two.head.data, two.head.len, "HTTP/1.1 500 "));
}

static void test_query(void)
{
	static const struct {
		const char *query, *key, *expected, *raw;
	} table[] = {
		{"a=1&b=2", "b", "2", "2"}, {"a=1&b=2", "c", NULL, NULL}, {NULL, "a", NULL, NULL}, {"", "a", NULL, NULL},
		{"Operation=PKIOperation&message=MII%2B+/=", "operation", "PKIOperation", "PKIOperation"},
		{"operation=x&Message=MII%2B+/=", "message", "MII+ /=", "MII%2B+/="}, {"a", "a", "", ""}, {"a=", "a", "", ""}, {"&&a=x&", "a", "x", "x"},
		{"a=1&a=2", "a", "1", "1"}, {"a=%zz", "a", NULL, "%zz"}, {"a=%00", "a", NULL, "%00"}, {"a=%ff", "a", NULL, "%ff"}, {"ab=1", "a", NULL, NULL},
		{"a=b=c", "a", "b=c", "b=c"}, {"=x", "", "x", "x"}, {"a%3d=1", "a=", NULL, NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(http_request) request = http_request_new();
		size_t len = 0;

		request->query = g_strdup(table[i].query);
		g_autofree char *value = http_request_query(request, table[i].key);
		const char *raw = http_request_query_raw(request, table[i].key, &len);
		g_assert_cmpstr(value, ==, table[i].expected);
		g_assert_true(!raw == !table[i].raw);
		if (raw)
			g_assert_cmpmem(raw, len, table[i].raw, strlen(table[i].raw));
	}
}

/* Says who asks: "peer proxy". */
static struct http_response *who(void *ctx, const struct http_request *r)
{
	g_autofree char *text = g_strdup_printf("<%s %s>", r->peer, r->proxy ? r->proxy : "-");

	return http_response_text(200, "text/plain", text);
}

/* The loopback's peer is 127.0.0.1. */
static void test_proxies(void)
{
	static const struct http_route who_routes[] = {{"/", GET, 0, 0, who, 0}, {NULL}};
	static const struct {
		const char *proxies, *forwarded;
		bool only_proxies;
		const char *raw;
		int status;
		const char *expected;
	} proxy_cases[] = {
		{NULL, "X-Forwarded-For", false, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 192.0.2.7\r\n\r\n", 200, "<127.0.0.1 ->"},
		{"10.0.0.0/8", "X-Forwarded-For", false, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 192.0.2.7\r\n\r\n", 200, "<127.0.0.1 ->"},
		{"127.0.0.0/8", "X-Forwarded-For", false, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 192.0.2.7\r\n\r\n", 200, "<192.0.2.7 127.0.0.1>"},
		{"127.0.0.1", "X-Forwarded-For", false, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n", 200, "<192.0.2.7 127.0.0.1>"},
		{"127.0.0.1", "X-Forwarded-For", false, "GET / HTTP/1.1\r\n" H "Forwarded: for=192.0.2.7\r\n\r\n", 200, "<127.0.0.1 127.0.0.1>"},
		{"127.0.0.1", "Forwarded", false, "GET / HTTP/1.1\r\n" H "Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n", 200, "<192.0.2.7 127.0.0.1>"},
		{"127.0.0.1", NULL, false, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 192.0.2.7\r\n\r\n", 200, "<127.0.0.1 127.0.0.1>"},
		{"127.0.0.1", "X-Forwarded-For", true, "GET / HTTP/1.1\r\n" H "\r\n", 200, "<127.0.0.1 127.0.0.1>"},
		/* Each request of a connection has its own peer. */
		{"127.0.0.1", "X-Forwarded-For", true, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 192.0.2.8\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 200, "<127.0.0.1 127.0.0.1>"},
		{"10.0.0.0/8", "X-Forwarded-For", true, "GET / HTTP/1.1\r\n" H "X-Forwarded-For: 10.0.0.1\r\n\r\n", 403, "POM-E4106"},
		{NULL, NULL, true, "GET / HTTP/1.1\r\n" H "\r\n", 403, "POM-E4106"},
		/* A stranger does not learn what there is. */
		{NULL, NULL, true, "GET /nothing HTTP/1.1\r\n" H "\r\n", 403, "POM-E4106"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(proxy_cases); i++) {
		struct http_networks *proxies = proxy_cases[i].proxies ? http_networks_parse(proxy_cases[i].proxies, NULL) : NULL;
		const struct http_listener listener = {.name = "test", .fd = -1, .routes = who_routes, .proxies = proxies, .forwarded = proxy_cases[i].forwarded, .only_proxies = proxy_cases[i].only_proxies};
		bool close;
		g_autoptr(GBytes) bytes = http_loopback(&listener, NULL, proxy_cases[i].raw, strlen(proxy_cases[i].raw), &close);
		g_autofree char *reply = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));

		g_test_message("%u: %s", i, reply);
		g_assert_cmpint(status_of(reply), ==, proxy_cases[i].status);
		g_assert_nonnull(strstr(reply, proxy_cases[i].expected));
		http_networks_free(proxies);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/cases", test_cases);
	g_test_add_func("/http/request-line-limits", test_request_line_limits);
	g_test_add_func("/http/pipelined", test_pipelined);
	g_test_add_func("/http/reply-bytes", test_reply_bytes);
	g_test_add_func("/http/wire", test_wire);
	g_test_add_func("/http/query", test_query);
	g_test_add_func("/loopback/proxies", test_proxies);
	return g_test_run();
}
