/* The reader alone: the table of malformed requests (tests/data/http/malformed.tsv) and of good ones, each in one piece, byte
 * by byte and in random pieces: the verdict must not depend on how the network cuts. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "http/http1.h"

enum { BODY_MAX = 1 << 20, RANDOM_ROUNDS = 8 };

/* What became of some bytes, as text: each request with its fields, then the refusal or "more". transfer full. */
static void describe(GString *out, struct http1_reader *reader)
{
	g_autoptr(http_request) r = http1_reader_steal(reader);

	g_string_append_printf(out, "%d %s path=%s query=%s host=%s keep=%d\n", (int)r->method, r->target, r->path, r->query ? r->query : "-",
	                       r->host ? r->host : "-", http1_reader_keep_alive(reader));
	for (unsigned i = 0; i < r->headers->len; i++) {
		const struct http_header *h = &g_array_index(r->headers, struct http_header, i);

		g_string_append_printf(out, "  %s=%s\n", h->name, h->value);
	}
	g_string_append_printf(out, "body=%.*s\n", (int)g_bytes_get_size(r->body), (const char *)g_bytes_get_data(r->body, NULL));
}

static void describe_refusal(GString *out, const struct http1_reader *reader)
{
	const struct pom_error_info *info = pom_error_info(http1_reader_reason(reader));

	g_assert_nonnull(http1_reader_detail(reader));
	g_string_append_printf(out, "refused %d\n", info->http_status);
}

/* Feeds one piece; false once refused. */
static bool feed(struct http1_reader *reader, const uint8_t *data, size_t len, GString *out)
{
	enum http1_event event = HTTP1_NEED_MORE;

	for (size_t used, at = 0; at < len; at += used) {
		event = http1_reader_feed(reader, data + at, len - at, &used);
		if (event == HTTP1_HEAD)
			event = http1_reader_accept_body(reader, BODY_MAX);
		if (event == HTTP1_BODY_DONE)
			describe(out, reader);
		if (event == HTTP1_REFUSED) {
			describe_refusal(out, reader);
			return false;
		}
	}
	return true;
}

/* PIECE: bytes per piece, 0 for random ones. */
static char *read_all(const char *data, size_t len, size_t piece)
{
	struct http1_reader *reader = http1_reader_new(&http_limits_default);
	GString *out = g_string_new(NULL);

	for (size_t at = 0, n; at < len; at += n) {
		/* An exact copy, so that a sanitizer sees a read past the piece. */
		n = piece ? piece : (size_t)g_test_rand_int_range(1, 40);
		n = MIN(n, len - at);
		g_autofree uint8_t *copy = g_memdup2(data + at, n);

		if (!feed(reader, copy, n, out))
			break;
	}
	http1_reader_free(reader);
	return g_string_free(out, false);
}

/* Reads the bytes in one piece, and asserts that all other ways to cut them read the same. transfer full. */
static char *read_every_way(const char *name, const char *data, size_t len)
{
	g_autofree char *whole = read_all(data, len, MAX(len, 1)), *bytes = read_all(data, len, 1);

	g_test_message("%s", name);
	g_assert_cmpstr(whole, ==, bytes);
	for (int i = 0; i < RANDOM_ROUNDS; i++) {
		g_autofree char *random = read_all(data, len, 0);

		g_assert_cmpstr(whole, ==, random);
	}
	return g_steal_pointer(&whole);
}

/* The table ---------------------------------------------------------------------------------------------------------- */

/* One escape at *AT, which is moved behind it. */
static char unescape_char(const char **at)
{
	static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
	const char *c = *at;

	if (*c != '\\') {
		*at = c + 1;
		return *c;
	}
	if (c[1] == 'x') {
		*at = c + 4;
		return (char)(g_ascii_xdigit_value(c[2]) << 4 | g_ascii_xdigit_value(c[3]));
	}
	*at = c + 2;
	g_assert_nonnull(strchr(from, c[1]));
	return to[strchr(from, c[1]) - from];
}

static GString *unescape(const char *text)
{
	GString *out = g_string_new(NULL);

	while (*text) {
		gsize begin = out->len;
		bool repeats = *text == '{';

		for (text += repeats; *text && *text != '{' && !(repeats && *text == '*');)
			g_string_append_c(out, unescape_char(&text));
		if (!repeats)
			continue;
		g_autofree char *unit = g_memdup2(out->str + begin, out->len - begin + 1);
		gsize unit_len = out->len - begin;
		for (long n = strtol(text + 1, (char **)&text, 10); n > 1; n--)
			g_string_append_len(out, unit, unit_len);
		g_assert_cmpint(*text++, ==, '}');
	}
	return out;
}

static void check_row(char **columns)
{
	GString *raw = unescape(columns[2]);
	g_autofree char *expected = g_strdup_printf("refused %s\n", columns[1]);
	g_autofree char *got = read_every_way(columns[0], raw->str, raw->len);

	if (strcmp(got, expected))
		g_test_message("%s: expected %s, got %s", columns[0], expected, got);
	g_assert_cmpstr(got, ==, expected);
	g_string_free(raw, true);
}

static void test_malformed(void)
{
	g_autofree char *text = NULL;
	unsigned n = 0;

	g_assert_true(g_file_get_contents(g_getenv("POMONA_MALFORMED"), &text, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) columns = g_strsplit(*line, "\t", -1);

		if (!**line || **line == '#')
			continue;
		g_assert_cmpuint(g_strv_length(columns), ==, 3);
		check_row(columns);
		n++;
	}
	g_assert_cmpuint(n, >=, 60);
}

#define H "Host: a\r\n"
static const struct {
	const char *name, *raw, *expected;
} good[] = {
	{"get", "GET /a/b?c=d HTTP/1.1\r\nHost: Example.ORG:8443\r\n\r\n", "0 /a/b?c=d path=/a/b query=c=d host=example.org keep=1\n  Host=Example.ORG:8443\nbody=\n"},
	{"empty line first", "\r\nGET / HTTP/1.1\r\n" H "\r\n", "0 / path=/ query=- host=a keep=1\n  Host=a\nbody=\n"},
	{"blanks around a value", "GET / HTTP/1.1\r\n" H "X: \t y z\t \r\nE:\r\n\r\n", "0 / path=/ query=- host=a keep=1\n  Host=a\n  X=y z\n  E=\nbody=\n"},
	{"high bytes in a value", "GET / HTTP/1.1\r\n" H "X: \xc3\xa4\r\n\r\n", "0 / path=/ query=- host=a keep=1\n  Host=a\n  X=\xc3\xa4\nbody=\n"},
	{"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "0 / path=/ query=- host=- keep=0\nbody=\n"},
	{"1.0 kept alive", "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "0 / path=/ query=- host=- keep=1\n  Connection=x, Keep-Alive\nbody=\n"},
	{"closed", "GET / HTTP/1.1\r\n" H "Connection: CLOSE\r\n\r\n", "0 / path=/ query=- host=a keep=0\n  Host=a\n  Connection=CLOSE\nbody=\n"},
	{"host of six", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "0 / path=/ query=- host=[::1] keep=1\n  Host=[::1]:80\nbody=\n"},
	{"absolute", "GET HTTPS://B.c:1?x HTTP/1.1\r\n" H "\r\n", "0 HTTPS://B.c:1?x path=/ query=x host=b.c keep=1\n  Host=a\nbody=\n"},
	{"asterisk", "OPTIONS * HTTP/1.1\r\n" H "\r\n", "6 * path=* query=- host=a keep=1\n  Host=a\nbody=\n"},
	{"escapes", "GET /%41%2fb%C3%A4//..c/%2e. HTTP/1.1\r\n" H "\r\n", "refused 400\n"},
	{"escapes kept", "GET /%41%2fb%C3%A4//..c?%zz HTTP/1.1\r\n" H "\r\n", "0 /%41%2fb%C3%A4//..c?%zz path=/A/b\xc3\xa4//..c query=%zz host=a keep=1\n  Host=a\nbody=\n"},
	{"other method", "BREW /pot HTTP/1.1\r\n" H "\r\n", "7 /pot path=/pot query=- host=a keep=1\n  Host=a\nbody=\n"},
	{"method in lower case", "get / HTTP/1.1\r\n" H "\r\n", "7 / path=/ query=- host=a keep=1\n  Host=a\nbody=\n"},
	{"post without length", "POST / HTTP/1.1\r\n" H "\r\n", "2 / path=/ query=- host=a keep=1\n  Host=a\nbody=\n"},
	{"put", "PUT / HTTP/1.1\r\n" H "Content-Length: 005\r\n\r\nhello", "3 / path=/ query=- host=a keep=1\n  Host=a\n  Content-Length=005\nbody=hello\n"},
	{"get with body", "GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", "0 / path=/ query=- host=a keep=1\n  Host=a\n  Content-Length=2\nbody=hi\n"},
	{"body cut", "PUT / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhell", ""},
	{"chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n2;x=\"y\"\r\nhe\r\n003\r\nllo\r\n0\r\nT: u\r\n\r\n",
	 "2 / path=/ query=- host=a keep=1\n  Host=a\n  Transfer-Encoding=Chunked\nbody=hello\n"},
	{"chunked cut", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n", ""},
	{"pipelined", "PUT /1 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nxGET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTTP/9.9\r\n",
	 "3 /1 path=/1 query=- host=a keep=1\n  Host=a\n  Content-Length=1\nbody=x\n0 /2 path=/2 query=- host=a keep=1\n  Host=a\nbody=\nrefused 505\n"},
	{"nothing", "", ""},
};

static void test_good(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autofree char *got = read_every_way(good[i].name, good[i].raw, strlen(good[i].raw));

		g_assert_cmpstr(got, ==, good[i].expected);
	}
}

/* Each limit takes exactly as much as it says. */
static void check_limit(const char *pattern, size_t n, const char *expected_prefix)
{
	g_autofree char *fill = g_strnfill(n, 'a');
	g_auto(GStrv) parts = g_strsplit(pattern, "@", 2);
	g_autofree char *raw = g_strconcat(parts[0], fill, parts[1], NULL);
	g_autofree char *got = read_every_way(pattern, raw, strlen(raw));

	g_assert_true(g_str_has_prefix(got, expected_prefix));
}

static void test_limits(void)
{
	check_limit("GET /@ HTTP/1.1\r\n" H "\r\n", 65536 - strlen("GET / HTTP/1.1"), "0 /a");
	check_limit("GET /@ HTTP/1.1\r\n" H "\r\n", 65537 - strlen("GET / HTTP/1.1"), "refused 414");
	check_limit("PUT /@ HTTP/1.1\r\n" H "\r\n", 16384 - strlen("PUT / HTTP/1.1"), "3 /a");
	check_limit("PUT /@ HTTP/1.1\r\n" H "\r\n", 16385 - strlen("PUT / HTTP/1.1"), "refused 414");
	check_limit("GET / HTTP/1.1\r\n" H "X: @\r\n\r\n", 16384 - strlen("X: "), "0 / ");
	check_limit("GET / HTTP/1.1\r\n" H "X: @\r\n\r\n", 16385 - strlen("X: "), "refused 431");
	check_limit("PUT / HTTP/1.1\r\n" H "Content-Length: 1048576\r\n\r\n@", 1048576, "3 / ");
	check_limit("PUT / HTTP/1.1\r\n" H "Content-Length: 1048577\r\n\r\n@", 1, "refused 413");
	check_limit("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffff\r\n@\r\n1\r\nx\r\n0\r\n\r\n", 0xfffff, "3 / ");
	check_limit("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffff\r\n@\r\n2\r\n", 0xfffff, "refused 413");
}

/* The limits are those of one request, however many a connection brings. */
static void test_limits_begin_anew(void)
{
	g_autoptr(GString) raw = g_string_new(NULL);
	g_autofree char *fill = g_strnfill(16000, 'a');

	for (int i = 0; i < 3; i++) {
		g_string_append(raw, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n");
		for (int j = 0; j < 90; j++)
			g_string_append(raw, "X: y\r\n");
		g_string_append_printf(raw, "X: %s\r\nX: %s\r\nX: %s\r\n\r\n1;%.200s\r\nx\r\n0\r\n\r\n", fill, fill, fill, fill);
	}
	g_autofree char *got = read_every_way("three large requests", raw->str, raw->len);
	g_auto(GStrv) parts = g_strsplit(got, "body=x\n", -1);
	g_assert_cmpuint(g_strv_length(parts), ==, 4);
	g_assert_cmpstr(parts[3], ==, "");
}

/* What the head announces can be asked before the body. */
static void test_announcement(void)
{
	static const char raw[] = "PUT / HTTP/1.1\r\n" H "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc";
	struct http1_reader *reader = http1_reader_new(&http_limits_default);
	size_t used;

	g_assert_cmpint(http1_reader_feed(reader, (const uint8_t *)raw, strlen(raw), &used), ==, HTTP1_HEAD);
	g_assert_cmpuint(used, ==, strlen(raw) - 3);
	g_assert_true(http1_reader_expects_continue(reader));
	g_assert_false(http1_reader_expects_other(reader));
	g_assert_true(http1_reader_has_body(reader));
	g_assert_cmpuint(http1_reader_content_length(reader), ==, 3);
	g_assert_cmpint(http1_reader_accept_body(reader, 2), ==, HTTP1_REFUSED);
	g_assert_cmpint(http1_reader_reason(reader), ==, POM_ERR_TOO_LARGE);
	g_assert_cmpint(http1_reader_feed(reader, (const uint8_t *)raw, 1, &used), ==, HTTP1_REFUSED);
	g_assert_cmpuint(used, ==, 0);
	http1_reader_free(reader);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http1/malformed", test_malformed);
	g_test_add_func("/http1/good", test_good);
	g_test_add_func("/http1/limits", test_limits);
	g_test_add_func("/http1/limits-begin-anew", test_limits_begin_anew);
	g_test_add_func("/http1/announcement", test_announcement);
	return g_test_run();
}
