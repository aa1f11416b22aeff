#include "http/http1.h"

#include <string.h>

#include "http/http1_head.h"
#include "http/wire.h"

enum { GET_LINE_MAX = 64 * 1024, LINE_MAX_BYTES = 16 * 1024, CHUNK_DIGITS_MAX = 16, CHUNK_EXT_MAX = 256, CRLF_LEN = 2 };

enum state {
	STATE_START, /* the request line, or one empty line before it */
	STATE_HEADERS,
	STATE_HEAD,  /* the head is complete and waits for http1_reader_accept_body */
	STATE_BODY,
	STATE_CHUNK_SIZE,
	STATE_CHUNK_DATA,
	STATE_CHUNK_END,
	STATE_TRAILERS,
	STATE_DONE,
	STATE_REFUSED,
};

struct http1_reader {
	struct http_limits limits;
	enum state state;
	bool skipped_empty;    /* RFC 9112 §2.2: one empty line before a request is tolerated */
	unsigned minor, n_headers;
	size_t headers_used;   /* bytes of header and trailer lines so far */
	struct pom_buf line;   /* a line of which not all bytes have come */
	struct pom_buf body;
	size_t body_max, ext_used;
	uint64_t left;         /* bytes to come of the body or chunk */
	struct http1_framing framing;
	struct http_request *request;
	struct http1_fault fault;
};

struct http1_reader *http1_reader_new(const struct http_limits *limits)
{
	struct http1_reader *reader = g_new0(struct http1_reader, 1);

	reader->limits = *limits;
	pom_buf_init(&reader->line, MAX(GET_LINE_MAX, limits->header_line_max) + CRLF_LEN);
	pom_buf_init(&reader->body, 1);
	return reader;
}

void http1_reader_free(struct http1_reader *reader)
{
	if (!reader)
		return;
	pom_buf_clear(&reader->line);
	pom_buf_clear(&reader->body);
	http_request_free(reader->request);
	g_free(reader);
}

static enum http1_event refuse(struct http1_reader *reader, enum pom_error reason, const char *detail)
{
	reader->fault = (struct http1_fault){reason, detail};
	reader->state = STATE_REFUSED;
	pom_buf_clear(&reader->line);
	pom_buf_clear(&reader->body);
	return HTTP1_REFUSED;
}

static enum http1_event bad(struct http1_reader *reader, const char *detail)
{
	return refuse(reader, POM_ERR_HTTP_SYNTAX, detail);
}

static enum http1_event refuse_fault(struct http1_reader *reader)
{
	return refuse(reader, reader->fault.reason, reader->fault.detail);
}

/* The request is complete. Buffers are given up, so that an idle connection costs nothing here. */
static enum http1_event finish(struct http1_reader *reader)
{
	g_bytes_unref(reader->request->body);
	reader->request->body = pom_buf_steal(&reader->body);
	pom_buf_clear(&reader->line);
	reader->state = STATE_DONE;
	return HTTP1_BODY_DONE;
}

/* Lines ------------------------------------------------------------------------------------------------------------ */

/* Whether the line that continues with DATA begins with PREFIX. */
static bool begins(const struct http1_reader *reader, const uint8_t *data, size_t len, const char *prefix)
{
	size_t kept = MIN(reader->line.len, strlen(prefix)), rest = strlen(prefix) - kept;

	return (!kept || !memcmp(reader->line.data, prefix, kept)) && rest <= len && !memcmp(data, prefix + kept, rest);
}

/* Bytes that the present line may have, without its CRLF. */
static size_t line_max(const struct http1_reader *reader, const uint8_t *data, size_t len)
{
	if (reader->state == STATE_START)
		return begins(reader, data, len, "GET ") || begins(reader, data, len, "HEAD ") ? GET_LINE_MAX : LINE_MAX_BYTES;
	if (reader->state == STATE_CHUNK_SIZE)
		return CHUNK_DIGITS_MAX + CHUNK_EXT_MAX;
	if (reader->state == STATE_CHUNK_END)
		return 0;
	return MIN(reader->limits.header_line_max, reader->limits.headers_max - reader->headers_used);
}

static enum http1_event refuse_long_line(struct http1_reader *reader)
{
	if (reader->state == STATE_START)
		return refuse(reader, POM_ERR_HTTP_URI_TOO_LONG, "the request line is longer than 64 KiB (GET) or 16 KiB");
	if (reader->state == STATE_CHUNK_SIZE || reader->state == STATE_CHUNK_END)
		return bad(reader, "RFC 9112 §7.1: a chunk's size line is too long or its data does not end in CRLF");
	return refuse(reader, POM_ERR_HTTP_HEADERS_TOO_LARGE, "a header line, or all together, are longer than the limit");
}

/* RFC 9112 §2.2: lines end in CRLF, and nothing else in them may be a control character. */
static bool line_is_clean(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = line[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static enum http1_event on_request_line(struct http1_reader *reader, const char *line, size_t len)
{
	if (!len && !reader->skipped_empty) {
		reader->skipped_empty = true;
		return HTTP1_NEED_MORE;
	}
	if (!http1_parse_request_line(line, len, http1_reader_request(reader), &reader->minor, &reader->fault))
		return refuse_fault(reader);
	reader->state = STATE_HEADERS;
	return HTTP1_NEED_MORE;
}

/* A header or trailer line that is not empty: counted and checked the same. transfer full. */
static bool take_header(struct http1_reader *reader, const char *line, size_t len, struct http_header *ret)
{
	reader->headers_used += len;
	if (++reader->n_headers > reader->limits.n_headers_max) {
		reader->fault = (struct http1_fault){POM_ERR_HTTP_HEADERS_TOO_LARGE, "there are more header lines than the limit"};
		return false;
	}
	return http1_parse_header(line, len, ret, &reader->fault);
}

static enum http1_event on_header_line(struct http1_reader *reader, const char *line, size_t len)
{
	struct http_header header;

	if (!len) {
		if (!http1_check_head(reader->request, reader->minor, &reader->framing, &reader->fault))
			return refuse_fault(reader);
		reader->state = STATE_HEAD;
		return HTTP1_HEAD;
	}
	if (!take_header(reader, line, len, &header))
		return refuse_fault(reader);
	g_array_append_val(reader->request->headers, header);
	return HTTP1_NEED_MORE;
}

/* Trailers are checked and dropped: nobody may smuggle a header in behind the decision on the head. */
static enum http1_event on_trailer_line(struct http1_reader *reader, const char *line, size_t len)
{
	struct http_header header;

	if (!len)
		return finish(reader);
	if (!take_header(reader, line, len, &header))
		return refuse_fault(reader);
	g_free(header.name);
	g_free(header.value);
	return HTTP1_NEED_MORE;
}

static enum http1_event on_chunk_size(struct http1_reader *reader, const char *line, size_t len)
{
	size_t n = 0;
	uint64_t size = 0;

	for (; n < len && g_ascii_isxdigit(line[n]); n++)
		size = size << 4 | g_ascii_xdigit_value(line[n]);
	reader->ext_used += len - n;
	if (!n || n > CHUNK_DIGITS_MAX || (n < len && line[n] != ';'))
		return bad(reader, "RFC 9112 §7.1: a chunk's size is not a hexadecimal number");
	if (reader->ext_used > CHUNK_EXT_MAX)
		return bad(reader, "RFC 9112 §7.1.1: the chunk extensions are longer than 256 bytes");
	if (size > reader->body_max - reader->body.len)
		return refuse(reader, POM_ERR_TOO_LARGE, "the chunked body is larger than the limit for this path");
	reader->left = size;
	reader->state = size ? STATE_CHUNK_DATA : STATE_TRAILERS;
	return HTTP1_NEED_MORE;
}

static enum http1_event on_line(struct http1_reader *reader, const char *line, size_t len)
{
	if (len < CRLF_LEN || line[len - CRLF_LEN] != '\r' || !line_is_clean(line, len - CRLF_LEN))
		return bad(reader, "RFC 9112 §2.2: a line has control characters or does not end in CRLF");
	len -= CRLF_LEN;
	switch ((int)reader->state) {
	case STATE_START:
		return on_request_line(reader, line, len);
	case STATE_HEADERS:
		return on_header_line(reader, line, len);
	case STATE_CHUNK_SIZE:
		return on_chunk_size(reader, line, len);
	case STATE_CHUNK_END:
		reader->state = STATE_CHUNK_SIZE;
		return HTTP1_NEED_MORE;
	default:
		return on_trailer_line(reader, line, len);
	}
}

/* Takes bytes of the present line. A line is judged only when it is whole or too long, so that the verdict does not depend
 * on how the bytes were cut. A line that lies whole in DATA is not copied. */
static enum http1_event read_line(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used)
{
	size_t max = line_max(reader, data, len) + CRLF_LEN, n = MIN(len, max - reader->line.len);
	const uint8_t *lf = memchr(data, '\n', n);
	enum http1_event event;

	*ret_used = n = lf ? (size_t)(lf - data) + 1 : n;
	if (lf && !reader->line.len)
		return on_line(reader, (const char *)data, n);
	pom_buf_append(&reader->line, data, n);
	if (!lf)
		return reader->line.len == max ? refuse_long_line(reader) : HTTP1_NEED_MORE;
	event = on_line(reader, (const char *)reader->line.data, reader->line.len);
	reader->line.len = 0;
	return event;
}

/* A first byte that no request can begin with (a TLS hello on a plain port) is refused at once instead of waited upon. */
static enum http1_event read_start(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used)
{
	if (!reader->line.len && *data != '\r' && !http1_is_token((const char *)data, 1))
		return bad(reader, "RFC 9112 §3.1: the request does not begin with a method");
	return read_line(reader, data, len, ret_used);
}

/* Body ------------------------------------------------------------------------------------------------------------- */

static enum http1_event read_body(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used)
{
	size_t n = MIN(len, reader->left);

	pom_buf_append(&reader->body, data, n);
	reader->left -= n;
	*ret_used = n;
	if (reader->left)
		return HTTP1_NEED_MORE;
	if (reader->state == STATE_BODY)
		return finish(reader);
	reader->state = STATE_CHUNK_END;
	return HTTP1_NEED_MORE;
}

enum http1_event http1_reader_accept_body(struct http1_reader *reader, size_t body_max)
{
	g_assert(reader->state == STATE_HEAD);
	if (reader->framing.content_length > body_max)
		return refuse(reader, POM_ERR_TOO_LARGE, "the announced body is larger than the limit for this path");
	reader->body_max = body_max;
	reader->body.max_bytes = MAX(body_max, 1);
	reader->left = reader->framing.content_length;
	reader->state = reader->framing.chunked ? STATE_CHUNK_SIZE : STATE_BODY;
	return reader->framing.chunked || reader->left ? HTTP1_NEED_MORE : finish(reader);
}

static enum http1_event step(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used)
{
	switch (reader->state) {
	case STATE_START:
		return read_start(reader, data, len, ret_used);
	case STATE_HEADERS:
	case STATE_CHUNK_SIZE:
	case STATE_CHUNK_END:
	case STATE_TRAILERS:
		return read_line(reader, data, len, ret_used);
	case STATE_BODY:
	case STATE_CHUNK_DATA:
		return read_body(reader, data, len, ret_used);
	case STATE_HEAD:
		return HTTP1_HEAD;
	case STATE_DONE:
		return HTTP1_BODY_DONE;
	case STATE_REFUSED:
		break;
	}
	return HTTP1_REFUSED;
}

enum http1_event http1_reader_feed(struct http1_reader *reader, const uint8_t *data, size_t len, size_t *ret_used)
{
	enum http1_event event = HTTP1_NEED_MORE;
	size_t used = 0;

	while (event == HTTP1_NEED_MORE && used < len) {
		size_t n = 0;

		event = step(reader, data + used, len - used, &n);
		used += n;
	}
	*ret_used = used;
	return event;
}

/* Looking -------------------------------------------------------------------------------------------------------------- */

struct http_request *http1_reader_request(struct http1_reader *reader)
{
	if (!reader->request)
		reader->request = http_request_new();
	return reader->request;
}

struct http_request *http1_reader_steal(struct http1_reader *reader)
{
	g_assert(reader->state == STATE_DONE);
	reader->state = STATE_START;
	reader->skipped_empty = false;
	reader->n_headers = 0;
	reader->headers_used = reader->ext_used = 0;
	return g_steal_pointer(&reader->request);
}

bool http1_reader_expects_continue(const struct http1_reader *reader)
{
	return reader->framing.expects_continue;
}

bool http1_reader_expects_other(const struct http1_reader *reader)
{
	return reader->framing.expects_other;
}

bool http1_reader_keep_alive(const struct http1_reader *reader)
{
	return reader->framing.keep_alive;
}

bool http1_reader_has_body(const struct http1_reader *reader)
{
	return reader->framing.chunked || reader->framing.content_length;
}

uint64_t http1_reader_content_length(const struct http1_reader *reader)
{
	return reader->framing.content_length;
}

enum pom_error http1_reader_reason(const struct http1_reader *reader)
{
	return reader->fault.reason;
}

const char *http1_reader_detail(const struct http1_reader *reader)
{
	return reader->fault.detail;
}
