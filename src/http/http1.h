/* The strict HTTP/1.1 request reader (RFC 9112): bytes in, events out. No I/O, no clock, no callbacks into connections.
 *
 * Refused, before any body: bare CR or LF line ends other than CRLF (a lone LF is refused too), obs-fold, NUL and other
 * control characters, empty or spaced header names, white space before the colon, duplicate or odd Content-Length (signs,
 * lists, overflow), Content-Length together with Transfer-Encoding, any transfer coding but "chunked" once and last, chunk
 * extensions over 256 bytes, trailers over the header limits, missing (HTTP/1.1), duplicate or malformed Host, request targets
 * with spaces, fragments, non-ASCII or controls, absolute-form with another scheme than http(s), versions other than 1.0 and 1.1. */
#pragma once

#include "base/buf.h"
#include "http/http.h"

enum http1_event {
	HTTP1_NEED_MORE, /* all given bytes were taken */
	HTTP1_HEAD,      /* the head is complete: look at request, then http1_continue with the route's cap, or stop */
	HTTP1_BODY_DONE, /* the request is complete, body included */
	HTTP1_REFUSED,   /* reason and detail are set; the connection must be closed after the reply */
};

struct http1_reader;

struct http1_reader *http1_reader_new(const struct http_limits *limits);
void http1_reader_free(struct http1_reader *reader);
/* Takes bytes until an event; *RET_USED tells how many (≤ LEN). */
enum http1_event http1_reader_feed(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used);
/* The request being read; owned by the reader until stolen. */
struct http_request *http1_reader_request(struct http1_reader *reader);
struct http_request *http1_reader_steal(struct http1_reader *reader); /* after BODY_DONE; the reader is then ready for the next */
/* After HEAD: what the head announced. Good until the next request begins. */
bool http1_reader_expects_continue(const struct http1_reader *reader);
bool http1_reader_expects_other(const struct http1_reader *reader); /* an Expect that is not understood (417) */
bool http1_reader_keep_alive(const struct http1_reader *reader);
bool http1_reader_has_body(const struct http1_reader *reader);
uint64_t http1_reader_content_length(const struct http1_reader *reader); /* 0 when chunked */
/* After HEAD: goes on to the body with this cap; feeding again then gives BODY_DONE (at once when there is none) or REFUSED
 * with POM_ERR_TOO_LARGE (at once when the announced length is larger). */
enum http1_event http1_reader_accept_body(struct http1_reader *reader, size_t body_max);
enum pom_error http1_reader_reason(const struct http1_reader *reader);
const char *http1_reader_detail(const struct http1_reader *reader);
