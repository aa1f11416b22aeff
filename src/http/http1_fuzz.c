/* The first byte chooses how the rest is cut into pieces. The reader must say the same of the pieces as of the whole, and the
 * loopback must answer each refused or complete request with a well-formed reply. */
#include <stdlib.h>
#include <string.h>

#include "http/http1.h"
#include "http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

static void put(GString *out, const char *text)
{
	g_string_append(out, text ? text : "-");
	g_string_append_c(out, '\n');
}

static void describe(GString *out, const struct http_request *request)
{
	g_string_append_printf(out, "request %d\n", (int)request->method);
	put(out, request->target);
	put(out, request->path);
	put(out, request->query);
	put(out, request->host);
	for (unsigned i = 0; i < request->headers->len; i++) {
		put(out, g_array_index(request->headers, struct http_header, i).name);
		put(out, g_array_index(request->headers, struct http_header, i).value);
	}
	g_string_append_len(out, g_bytes_get_data(request->body, NULL), g_bytes_get_size(request->body));
}

/* What every accepted request must hold. */
static void check(const struct http_request *request)
{
	g_assert_true(request->target && request->path && (request->path[0] == '/' || !strcmp(request->path, "*")));
	g_assert_true(g_utf8_validate(request->path, -1, NULL));
	g_assert_null(strstr(request->path, "/../"));
	g_assert_cmpuint(g_bytes_get_size(request->body), <=, BODY_MAX);
	g_assert_cmpuint(http_request_header_count(request, "Host"), <=, 1);
	for (unsigned i = 0; i < request->headers->len; i++)
		g_assert_null(strpbrk(g_array_index(request->headers, struct http_header, i).value, "\r\n"));
}

static bool feed(struct http1_reader *reader, const uint8_t *data, size_t len, GString *out)
{
	for (size_t used, at = 0; at < len; at += used) {
		enum http1_event event = http1_reader_feed(reader, data + at, len - at, &used);

		if (event == HTTP1_HEAD)
			event = http1_reader_accept_body(reader, BODY_MAX);
		if (event == HTTP1_BODY_DONE) {
			g_autoptr(http_request) request = http1_reader_steal(reader);

			check(request);
			describe(out, request);
		}
		if (event == HTTP1_REFUSED) {
			g_string_append_printf(out, "refused %d %s", (int)http1_reader_reason(reader), http1_reader_detail(reader));
			return false;
		}
	}
	return true;
}

/* Pieces of pseudo-random length up to MAX, each in a heap block of its own. */
static char *read_pieces(const uint8_t *data, size_t size, unsigned seed, size_t max)
{
	struct http1_reader *reader = http1_reader_new(&http_limits_default);
	GString *out = g_string_new(NULL);
	bool open = true;

	for (size_t at = 0, n; open && at < size; at += n) {
		seed = seed * 1103515245 + 12345;
		n = MIN(1 + (seed >> 16) % max, size - at);
		g_autofree uint8_t *copy = g_memdup2(data + at, n);
		open = feed(reader, copy, n, out);
	}
	http1_reader_free(reader);
	return g_string_free(out, false);
}

static struct http_response *answer(void *ctx, const struct http_request *request)
{
	struct http_response *response = http_response_new(200, "text/plain", g_bytes_ref(request->body));
	g_autofree char *value = http_request_query(request, "operation");

	http_response_header(response, "X-Value", value);
	http_response_header(response, "X-Param", request->params[0]);
	return response;
}

static void run_loopback(const uint8_t *data, size_t size)
{
	static const struct http_route routes[] = {
		{"/", HTTP_BIT(HTTP_GET), 0, 0, answer, 0},
		{"/a/{}/b/{}", HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_PUT), 100, 65536, answer, 0},
		{"/upload", HTTP_BIT(HTTP_POST) | HTTP_BIT(HTTP_PUT), BODY_MAX, 0, answer, 0},
		{"/static/*", HTTP_BIT(HTTP_GET), 0, 100, answer, 0},
		{NULL},
	};
	static const char *const hosts[] = {"a", "[::1]", NULL};
	const struct http_listener listener = {.name = "fuzz", .fd = -1, .routes = routes, .hosts = hosts};
	bool close;
	g_autoptr(GBytes) reply = http_loopback(&listener, NULL, data, size, &close);
	gsize len;
	const char *text = g_bytes_get_data(reply, &len);

	g_assert_true(!len || (len > 12 && !memcmp(text, "HTTP/1.1 ", 9) && g_strstr_len(text, len, "\r\n\r\n")));
	g_assert_true(!close || len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned seed = size ? data[0] : 0;

	if (!size)
		return 0;
	data++;
	size--;
	g_autofree char *whole = read_pieces(data, size, seed, SIZE_MAX >> 16), *pieces = read_pieces(data, size, seed, 1 + seed % 16);
	g_assert_cmpstr(whole, ==, pieces);
	run_loopback(data, size);
	return 0;
}
