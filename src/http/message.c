#include <string.h>

#include "http/http1_head.h"
#include "http/wire.h"

enum {
	WIRE_HEAD_MAX = 1 << 20, /* bytes of a reply's head: only our own handlers write it */
	TLS_RECORD_MAX = 16384,  /* RFC 8446 §5.1 */
};

const char http_continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

const struct http_limits http_limits_default = {
	.connections = 20000, .connections_per_address = 1000,
	.handshake_ms = 10000, .head_ms = 10000, .request_ms = 60000, .idle_ms = 60000, .write_ms = 60000,
	.header_line_max = 16 * 1024, .headers_max = 64 * 1024, .n_headers_max = 100,
};

/* Requests --------------------------------------------------------------------------------------------------------- */

static void clear_header(void *data)
{
	struct http_header *header = data;

	g_free(header->name);
	g_free(header->value);
}

static GArray *headers_new(void)
{
	GArray *headers = g_array_new(false, false, sizeof(struct http_header));

	g_array_set_clear_func(headers, clear_header);
	return headers;
}

struct http_request *http_request_new(void)
{
	struct http_request *request = g_new0(struct http_request, 1);

	request->method = HTTP_METHOD_OTHER;
	request->headers = headers_new();
	request->body = g_bytes_new_static("", 0);
	return request;
}

void http_request_free(struct http_request *request)
{
	if (!request)
		return;
	g_free(request->target);
	g_free(request->path);
	g_free(request->query);
	g_free(request->host);
	g_free(request->peer);
	g_free(request->proxy);
	g_array_unref(request->headers);
	g_bytes_unref(request->body);
	g_clear_pointer(&request->client_cert, g_bytes_unref);
	for (unsigned i = 0; i < G_N_ELEMENTS(request->params); i++)
		g_free(request->params[i]);
	g_free(request);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
	for (unsigned i = 0; i < request->headers->len; i++) {
		const struct http_header *header = &g_array_index(request->headers, struct http_header, i);

		if (!g_ascii_strcasecmp(header->name, name))
			return header->value;
	}
	return NULL;
}

unsigned http_request_header_count(const struct http_request *request, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < request->headers->len; i++)
		n += !g_ascii_strcasecmp(g_array_index(request->headers, struct http_header, i).name, name);
	return n;
}

const char *http_request_query_raw(const struct http_request *request, const char *key, size_t *ret_len)
{
	size_t key_len = strlen(key);

	for (const char *pair = request->query; pair; pair = strchr(pair, '&') ? strchr(pair, '&') + 1 : NULL) {
		size_t len = strcspn(pair, "&"), name_len = strcspn(pair, "=&");

		if (name_len != key_len || g_ascii_strncasecmp(pair, key, key_len))
			continue;
		*ret_len = name_len < len ? len - name_len - 1 : 0;
		return pair + len - *ret_len;
	}
	return NULL;
}

char *http_request_query(const struct http_request *request, const char *key)
{
	size_t len;
	const char *raw = http_request_query_raw(request, key, &len);

	return raw ? http_percent_decode(raw, len, true) : NULL;
}

char *http_percent_decode(const char *text, size_t len, bool plus_is_space)
{
	g_autofree char *ret = g_malloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			if (len - i < 3 || !g_ascii_isxdigit(text[i + 1]) || !g_ascii_isxdigit(text[i + 2]))
				return NULL;
			c = (char)(g_ascii_xdigit_value(text[i + 1]) << 4 | g_ascii_xdigit_value(text[i + 2]));
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		ret[n++] = c;
	}
	ret[n] = '\0';
	return g_utf8_validate_len(ret, n, NULL) ? g_steal_pointer(&ret) : NULL;
}

/* Replies ---------------------------------------------------------------------------------------------------------- */

struct http_response *http_response_new(int status, const char *content_type, GBytes *body)
{
	struct http_response *response = g_new0(struct http_response, 1);

	response->status = status;
	response->body = body;
	response->headers = headers_new();
	if (content_type)
		http_response_header(response, "Content-Type", content_type);
	return response;
}

struct http_response *http_response_text(int status, const char *content_type, const char *text)
{
	return http_response_new(status, content_type, g_bytes_new(text, strlen(text)));
}

/* Whether a header may go out: it cannot break the line, and it is not one of those that the server writes itself. */
static bool header_is_sound(const char *name, const char *value)
{
	static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Date", "Connection"};

	for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++)
		if (!g_ascii_strcasecmp(name, ours[i]))
			return false;
	return http1_is_token(name, strlen(name)) && !value[strcspn(value, "\r\n")];
}

void http_response_header(struct http_response *response, const char *name, const char *value)
{
	struct http_header header;

	if (!value || !header_is_sound(name, value))
		return;
	header = (struct http_header){g_strdup(name), g_strdup(value)};
	g_array_append_val(response->headers, header);
}

void http_response_free(struct http_response *response)
{
	if (!response)
		return;
	g_clear_pointer(&response->body, g_bytes_unref);
	g_array_unref(response->headers);
	g_free(response);
}

/* Bytes ------------------------------------------------------------------------------------------------------------ */

static const char *reason_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} table[] = {
		{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"},
		{301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
		{307, "Temporary Redirect"}, {308, "Permanent Redirect"},
		{400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
		{406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"},
		{412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
		{417, "Expectation Failed"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"}, {429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
		{502, "Bad Gateway"}, {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].status == status)
			return table[i].phrase;
	return "";
}

/* IMF-fixdate (RFC 9110 §5.6.7); not strftime, whose names follow the locale. */
static void put_date(struct pom_buf *buf, time_t now)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;

	gmtime_r(&now, &tm);
	pom_buf_printf(buf, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
	               tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The headers are an open array, so they are looked at again here. */
static void put_headers(struct pom_buf *buf, const GArray *headers)
{
	for (unsigned i = 0; i < headers->len; i++) {
		const struct http_header *header = &g_array_index(headers, struct http_header, i);

		if (!header->name || !header->value || !header_is_sound(header->name, header->value))
			continue;
		pom_buf_puts(buf, header->name);
		pom_buf_puts(buf, ": ");
		pom_buf_puts(buf, header->value);
		pom_buf_puts(buf, "\r\n");
	}
}

static void put_head(struct pom_buf *buf, const struct http_response *response, size_t body_len, bool keep_alive, time_t now)
{
	int status = response->status >= 200 && response->status <= 599 ? response->status : 500;

	pom_buf_printf(buf, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status));
	put_headers(buf, response->headers);
	if (status != 204 && status != 304) /* RFC 9110 §8.6 */
		pom_buf_printf(buf, "Content-Length: %zu\r\n", body_len);
	put_date(buf, now);
	pom_buf_printf(buf, "Connection: %s\r\n\r\n", keep_alive ? "keep-alive" : "close");
}

void http_wire_format(struct http_wire *ret, const struct http_response *response, bool is_head, bool keep_alive, time_t now)
{
	size_t body_len = response->body ? g_bytes_get_size(response->body) : 0;
	bool has_body = body_len && !is_head && response->status != 204 && response->status != 304;

	*ret = (struct http_wire){0};
	pom_buf_init(&ret->head, WIRE_HEAD_MAX);
	put_head(&ret->head, response, body_len, keep_alive, now);
	if (has_body && ret->head.len + body_len <= TLS_RECORD_MAX)
		pom_buf_append(&ret->head, g_bytes_get_data(response->body, NULL), body_len);
	else if (has_body)
		ret->body = g_bytes_ref(response->body);
}

void http_wire_clear(struct http_wire *wire)
{
	pom_buf_clear(&wire->head);
	g_clear_pointer(&wire->body, g_bytes_unref);
}

size_t http_wire_len(const struct http_wire *wire)
{
	return wire->head.len + (wire->body ? g_bytes_get_size(wire->body) : 0);
}
