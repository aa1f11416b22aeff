#include <string.h>

#include "http/wire.h"

enum { LINE_MAX_DEFAULT = 16 * 1024, LINE_OVERHEAD = 10 /* two spaces and "HTTP/1.1" */ };

static const char *const method_names[HTTP_METHOD_MAX] = {
	[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE",
	[HTTP_PATCH] = "PATCH", [HTTP_OPTIONS] = "OPTIONS", [HTTP_METHOD_OTHER] = "",
};

/* Skips "http://authority" or "https://authority". */
static bool split_absolute(const char *target, struct http_target *ret)
{
	size_t scheme = !g_ascii_strncasecmp(target, "http://", 7) ? 7 : !g_ascii_strncasecmp(target, "https://", 8) ? 8 : 0;

	if (!scheme)
		return false;
	ret->authority = target + scheme;
	ret->authority_len = strcspn(ret->authority, "/?");
	ret->path = ret->authority + ret->authority_len;
	return true;
}

bool http_target_split(const char *target, struct http_target *ret)
{
	struct http_target parts = {.path = target};
	const char *query;

	if (target[0] != '/' && strcmp(target, "*") && !split_absolute(target, &parts))
		return false;
	parts.path_len = strcspn(parts.path, "?");
	query = parts.path + parts.path_len;
	parts.query = *query ? query + 1 : NULL;
	if (!parts.path_len) {
		parts.path = "/";
		parts.path_len = 1;
	}
	*ret = parts;
	return true;
}

/* Paths are matched segment by segment as sent, so that an encoded slash never makes a segment of its own. */
static bool segment_is(const char *raw, size_t raw_len, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < raw_len; i++, n++) {
		char c = raw[i];

		if (c == '%') {
			c = (char)(g_ascii_xdigit_value(raw[i + 1]) << 4 | g_ascii_xdigit_value(raw[i + 2]));
			i += 2;
		}
		if (n >= len || c != text[n])
			return false;
	}
	return n == len;
}

/* One segment against one of the pattern's. Taken values go to PARAMS (raw, borrowed with their length). */
struct value {
	const char *text;
	size_t len;
};
struct values {
	struct value at[G_N_ELEMENTS(((struct http_request *)0)->params)];
	unsigned n;
};

static bool match_segment(const char *pattern, size_t pattern_len, const char *raw, size_t len, struct values *values)
{
	if (pattern_len != 2 || memcmp(pattern, "{}", 2))
		return segment_is(raw, len, pattern, pattern_len);
	if (!len || values->n == G_N_ELEMENTS(values->at))
		return false;
	values->at[values->n++] = (struct value){raw, len};
	return true;
}

static bool match(const char *pattern, const char *path, size_t path_len, struct values *values)
{
	const char *end = path + path_len;
	size_t pattern_len, len;

	values->n = 0;
	for (; *pattern == '/' && path < end && *path == '/'; pattern += pattern_len, path += len) {
		const char *slash;

		pattern++;
		path++;
		slash = memchr(path, '/', end - path);
		pattern_len = strcspn(pattern, "/");
		len = (slash ? slash : end) - path;
		if (!strcmp(pattern, "*"))
			return true;
		if (!match_segment(pattern, pattern_len, path, len, values))
			return false;
	}
	return !*pattern && path == end;
}

static unsigned answered_methods(const struct http_route *route)
{
	return route->methods | (route->methods & HTTP_BIT(HTTP_GET) ? HTTP_BIT(HTTP_HEAD) : 0);
}

/* Sets route and params. RET_ALLOW: the methods that the path has, 0 when there is no such path. */
static void find_route(const struct http_route *routes, struct http_request *head, unsigned *ret_allow)
{
	struct http_target parts;
	struct values values = {0};

	*ret_allow = 0;
	http_target_split(head->target, &parts);
	for (const struct http_route *route = routes; route->pattern && !head->route; route++) {
		if (!match(route->pattern, parts.path, parts.path_len, &values))
			continue;
		*ret_allow |= answered_methods(route);
		if (answered_methods(route) & HTTP_BIT(head->method))
			head->route = route;
	}
	for (unsigned i = 0; head->route && i < values.n; i++)
		head->params[i] = http_percent_decode(values.at[i].text, values.at[i].len, false);
}

static bool host_is_ours(const struct http_listener *listener, const struct http_request *head)
{
	return !listener->hosts || !head->host || g_strv_contains(listener->hosts, head->host);
}

static struct http_response *refuse_method(const struct http_listener *listener, const struct http_request *head, unsigned allow)
{
	struct http_response *response = http_refuse(listener, head, POM_ERR_HTTP_METHOD, "RFC 9110 §15.5.6: see Allow for the methods of this path");
	g_autoptr(GString) names = g_string_new(NULL);

	for (unsigned i = 0; i < HTTP_METHOD_OTHER; i++)
		if (allow & HTTP_BIT(i))
			g_string_append_printf(names, "%s%s", names->len ? ", " : "", method_names[i]);
	http_response_header(response, "Allow", names->str);
	return response;
}

static bool line_fits(const struct http_request *head)
{
	size_t max = head->route->request_line_max ? head->route->request_line_max : LINE_MAX_DEFAULT;

	return strlen(method_names[head->method]) + strlen(head->target) + LINE_OVERHEAD <= max;
}

static struct http_response *check_caps(const struct http_listener *listener, struct http1_reader *reader, struct http_request *head)
{
	if (!line_fits(head))
		return http_refuse(listener, head, POM_ERR_HTTP_URI_TOO_LONG, "the request line is longer than the limit for this path");
	if (http1_reader_content_length(reader) > head->route->body_max)
		return http_refuse(listener, head, POM_ERR_TOO_LARGE, "the announced body is larger than the limit for this path");
	if (http1_reader_expects_other(reader))
		return http_refuse(listener, head, POM_ERR_HTTP_EXPECTATION, "RFC 9110 §10.1.1: Expect is not 100-continue");
	return listener->admit ? listener->admit(listener->ctx, head) : NULL;
}

struct http_response *http_decide(const struct http_listener *listener, struct http1_reader *reader)
{
	struct http_request *head = http1_reader_request(reader);
	unsigned allow;

	if (listener->only_proxies && !head->proxy)
		return http_refuse(listener, head, POM_ERR_PROXY_UNLISTED, "the address of the peer is not in proxy.addresses");
	if (!host_is_ours(listener, head))
		return http_refuse(listener, head, POM_ERR_HTTP_MISDIRECTED, "RFC 9110 §15.5.20: Host is not a name of this listener");
	find_route(listener->routes, head, &allow);
	if (!allow)
		return http_refuse(listener, head, POM_ERR_NOT_FOUND, "there is nothing at this path");
	if (!head->route)
		return refuse_method(listener, head, allow);
	return check_caps(listener, reader, head);
}

struct http_response *http_refuse(const struct http_listener *listener, const struct http_request *head, enum pom_error reason, const char *detail)
{
	const struct pom_error_info *info = pom_error_info(reason);
	struct http_response *response = listener->refuse ? listener->refuse(listener->ctx, head, reason, detail) : NULL;
	g_autofree char *text = NULL;

	if (response)
		return response;
	text = g_strdup_printf("%s %s %s\n", info->id, info->text, detail ? detail : "");
	return http_response_text(info->http_status, "text/plain; charset=utf-8", text);
}
