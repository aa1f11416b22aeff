/* The grammar of a request's head (RFC 9112 §3, §5, §6; RFC 9110 §7.2): pure functions over one line or one whole head.
 * Lines come without CRLF and without control characters other than HTAB. */
#pragma once

#include "http/http.h"

struct http1_fault {
	enum pom_error reason;
	const char *detail; /* static */
};

/* What a head says about the message and the connection. */
struct http1_framing {
	bool chunked, keep_alive, expects_continue, expects_other;
	uint64_t content_length;
};

bool http1_is_token(const char *text, size_t len);
/* "GET /path HTTP/1.1": sets method, target, path, query and, in absolute-form, host. */
bool http1_parse_request_line(const char *line, size_t len, struct http_request *request, unsigned *ret_minor, struct http1_fault *fault);
/* "Name: value". transfer full. */
bool http1_parse_header(const char *line, size_t len, struct http_header *ret, struct http1_fault *fault);
/* Judges the headers together: Host (set in REQUEST), lengths, Connection, Expect. */
bool http1_check_head(struct http_request *request, unsigned minor, struct http1_framing *ret, struct http1_fault *fault);
