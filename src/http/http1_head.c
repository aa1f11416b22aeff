#include "http/http1_head.h"

#include <arpa/inet.h>
#include <string.h>

#include "http/wire.h"

enum { HOST_MAX = 253, LENGTH_DIGITS_MAX = 19 };

static bool fail(struct http1_fault *fault, enum pom_error reason, const char *detail)
{
	*fault = (struct http1_fault){reason, detail};
	return false;
}

static bool bad(struct http1_fault *fault, const char *detail)
{
	return fail(fault, POM_ERR_HTTP_SYNTAX, detail);
}

bool http1_is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!g_ascii_isalnum(text[i]) && !(text[i] && strchr("!#$%&'*+-.^_`|~", text[i])))
			return false;
	return len > 0;
}

static enum http_method find_method(const char *text, size_t len)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE", [HTTP_PATCH] = "PATCH", [HTTP_OPTIONS] = "OPTIONS",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (strlen(names[i]) == len && !memcmp(names[i], text, len))
			return i;
	return HTTP_METHOD_OTHER;
}

static bool parse_version(const char *text, size_t len, unsigned *ret_minor, struct http1_fault *fault)
{
	if (len != 8 || memcmp(text, "HTTP/", 5) || !g_ascii_isdigit(text[5]) || text[6] != '.' || !g_ascii_isdigit(text[7]))
		return bad(fault, "RFC 9112 §2.3: the request line does not end in HTTP/1.1");
	if (text[5] != '1' || text[7] > '1')
		return fail(fault, POM_ERR_HTTP_VERSION, "RFC 9112 §2.3: the version is not 1.0 or 1.1");
	*ret_minor = text[7] - '0';
	return true;
}

/* Length of the name in "name:port", 0 when it is malformed. Bracketed addresses keep their brackets. */
static size_t host_name_len(const char *text, size_t len)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	const char *end = len && text[0] == '[' ? memchr(text, ']', len) : NULL;
	size_t n = 0;

	if (end) {
		n = end - text - 1;
		if (n >= sizeof address)
			return 0;
		memcpy(address, text + 1, n);
		address[n] = '\0';
		return inet_pton(AF_INET6, address, &in6) == 1 ? n + 2 : 0;
	}
	while (n < len && (g_ascii_isalnum(text[n]) || (text[n] && strchr("-._", text[n]))))
		n++;
	return n <= HOST_MAX ? n : 0;
}

/* RFC 9110 §7.2: uri-host [ ":" port ], without user information or percent-encoding, which no device sends. */
static char *parse_host(const char *text, size_t len)
{
	size_t n = host_name_len(text, len);
	unsigned port = 0;

	if (!n || (n < len && text[n] != ':') || len - n > 6)
		return NULL;
	for (size_t i = n + 1; i < len; i++) {
		if (!g_ascii_isdigit(text[i]))
			return NULL;
		port = port * 10 + (text[i] - '0');
	}
	return port <= 65535 ? g_ascii_strdown(text, n) : NULL;
}

static bool has_dot_segment(const char *path)
{
	for (const char *segment = path; segment; segment = strchr(segment, '/')) {
		size_t n = strcspn(++segment, "/");

		if ((n == 1 || n == 2) && !strncmp(segment, "..", n))
			return true;
	}
	return false;
}

static bool parse_target_parts(struct http_request *request, struct http1_fault *fault)
{
	struct http_target parts;

	if (!http_target_split(request->target, &parts) || (parts.path[0] == '*' && request->method != HTTP_OPTIONS))
		return bad(fault, "RFC 9112 §3.2: the target must be a path or an http(s) URL");
	if (parts.authority && !(request->host = parse_host(parts.authority, parts.authority_len)))
		return bad(fault, "RFC 9110 §7.2: the target's host is malformed");
	request->path = http_percent_decode(parts.path, parts.path_len, false);
	if (!request->path)
		return bad(fault, "RFC 3986 §2.1: the path has a malformed escape, NUL or bytes that are not UTF-8");
	if (has_dot_segment(request->path))
		return bad(fault, "RFC 3986 §6.2.2.3: the path has \".\" or \"..\" segments");
	request->query = g_strdup(parts.query);
	return true;
}

static bool parse_target(const char *text, size_t len, struct http_request *request, struct http1_fault *fault)
{
	if (!len)
		return bad(fault, "RFC 9112 §3.2: the request target is empty");
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '#')
			return bad(fault, "RFC 9112 §3.2: the target has spaces, a fragment, controls or bytes that are not ASCII");
	request->target = g_strndup(text, len);
	return parse_target_parts(request, fault);
}

bool http1_parse_request_line(const char *line, size_t len, struct http_request *request, unsigned *ret_minor, struct http1_fault *fault)
{
	const char *first = memchr(line, ' ', len), *last = memrchr(line, ' ', len);

	if (first == last)
		return bad(fault, "RFC 9112 §3: a request line is METHOD SP TARGET SP VERSION");
	if (!http1_is_token(line, first - line))
		return bad(fault, "RFC 9112 §3.1: the method is not a token");
	request->method = find_method(line, first - line);
	return parse_version(last + 1, line + len - last - 1, ret_minor, fault) && parse_target(first + 1, last - first - 1, request, fault);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool http1_parse_header(const char *line, size_t len, struct http_header *ret, struct http1_fault *fault)
{
	const char *colon = memchr(line, ':', len), *end = line + len, *value;

	if (is_blank(line[0]))
		return bad(fault, "RFC 9112 §5.2: a header line is folded");
	if (!colon || !http1_is_token(line, colon - line))
		return bad(fault, "RFC 9112 §5.1: a header name is empty, not a token, or not followed by a colon");
	value = colon + 1;
	while (value < end && is_blank(*value))
		value++;
	while (end > value && is_blank(end[-1]))
		end--;
	*ret = (struct http_header){g_strndup(line, colon - line), g_strndup(value, end - value)};
	return true;
}

static bool parse_length(const char *text, uint64_t *ret)
{
	size_t n = strspn(text, "0123456789");
	uint64_t value = 0;

	if (!n || text[n] || n > LENGTH_DIGITS_MAX)
		return false;
	for (; *text; text++)
		value = value * 10 + (*text - '0');
	if (value > INT64_MAX)
		return false;
	*ret = value;
	return true;
}

/* Only "chunked" is understood. Lists that hold it anywhere but once at the end cannot be framed at all (400); what ends in
 * an unknown coding is 501. */
static bool check_coding(const char *value, struct http1_fault *fault)
{
	g_auto(GStrv) codings = g_strsplit(value, ",", -1);
	unsigned n = g_strv_length(codings);

	if (!g_ascii_strcasecmp(value, "chunked"))
		return true;
	if (!n)
		return bad(fault, "RFC 9112 §6.1: Transfer-Encoding is empty");
	for (unsigned i = 0; i + 1 < n; i++)
		if (!g_ascii_strcasecmp(g_strstrip(codings[i]), "chunked"))
			return bad(fault, "RFC 9112 §6.1: chunked is not the last transfer coding");
	return fail(fault, POM_ERR_HTTP_CODING, "RFC 9112 §6.1: the transfer coding is not chunked alone");
}

static bool check_lengths(const struct http_request *request, unsigned minor, struct http1_framing *framing, struct http1_fault *fault)
{
	const char *length = http_request_header(request, "Content-Length"), *coding = http_request_header(request, "Transfer-Encoding");

	if (http_request_header_count(request, "Content-Length") > 1 || http_request_header_count(request, "Transfer-Encoding") > 1)
		return bad(fault, "RFC 9112 §6.3: Content-Length or Transfer-Encoding is given twice");
	if (length && coding)
		return bad(fault, "RFC 9112 §6.3: both Content-Length and Transfer-Encoding are given");
	if (length && !parse_length(length, &framing->content_length))
		return bad(fault, "RFC 9110 §8.6: Content-Length is not a number");
	if (coding && minor == 0)
		return bad(fault, "RFC 9112 §6.1: HTTP/1.0 has no Transfer-Encoding");
	framing->chunked = coding;
	return !coding || check_coding(coding, fault);
}

/* In absolute-form the target's host counts and Host is only looked at (RFC 9112 §3.2.2). */
static bool check_host(struct http_request *request, unsigned minor, struct http1_fault *fault)
{
	const char *value = http_request_header(request, "Host");
	g_autofree char *host = value ? parse_host(value, strlen(value)) : NULL;

	if (http_request_header_count(request, "Host") > 1)
		return bad(fault, "RFC 9112 §3.2: Host is given twice");
	if (value && !host)
		return bad(fault, "RFC 9110 §7.2: Host is malformed");
	if (!value && minor >= 1)
		return bad(fault, "RFC 9112 §3.2: Host is missing");
	if (!request->host)
		request->host = g_steal_pointer(&host);
	return true;
}

/* Whether any header NAME lists TOKEN. */
static bool lists(const struct http_request *request, const char *name, const char *token)
{
	for (unsigned i = 0; i < request->headers->len; i++) {
		const struct http_header *h = &g_array_index(request->headers, struct http_header, i);

		if (g_ascii_strcasecmp(h->name, name))
			continue;
		g_auto(GStrv) items = g_strsplit(h->value, ",", -1);
		for (char **item = items; *item; item++)
			if (!g_ascii_strcasecmp(g_strstrip(*item), token))
				return true;
	}
	return false;
}

bool http1_check_head(struct http_request *request, unsigned minor, struct http1_framing *ret, struct http1_fault *fault)
{
	const char *expect = minor >= 1 ? http_request_header(request, "Expect") : NULL;
	struct http1_framing framing = {0};

	if (!check_host(request, minor, fault) || !check_lengths(request, minor, &framing, fault))
		return false;
	framing.keep_alive = !lists(request, "Connection", "close") && (minor >= 1 || lists(request, "Connection", "keep-alive"));
	framing.expects_continue = expect && !g_ascii_strcasecmp(expect, "100-continue") && http_request_header_count(request, "Expect") == 1;
	framing.expects_other = expect && !framing.expects_continue;
	*ret = framing;
	return true;
}
