/* The HTTP face: what a request, a reply, a route and a listener are. Nobody outside this room sees libevent.
 *
 * Life of a request: the head is read and decided (route, method, caps, Host, lengths, Expect) before a byte of its body; a
 * refusal is written at once and the connection drained within bounds. The whole request then becomes a job that owns
 * copies of all it needs and is run by a worker thread; the loop thread alone touches the connection, which may vanish
 * meanwhile (the reply is then dropped). */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

struct http_header {
	char *name;  /* as sent */
	char *value; /* without white space at the ends */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_PATCH, HTTP_OPTIONS, HTTP_METHOD_OTHER, HTTP_METHOD_MAX };
#define HTTP_BIT(method) (1u << (method))

struct http_route;
struct http_networks;

struct http_request {
	enum http_method method;
	char *target;        /* raw request target */
	char *path;          /* percent-decoded, no query; never holds NUL; "." and ".." segments are refused */
	char *query;         /* raw, without '?'; NULL when absent */
	GArray *headers;     /* struct http_header */
	GBytes *body;        /* never NULL */
	char *host;          /* Host without port, lower case; NULL in HTTP/1.0 */
	char *peer;          /* address of the peer in text, "unix" for the unix socket; with a proxy whom that speaks for */
	char *proxy;         /* address of the listed proxy that has passed the request on; NULL: none */
	bool is_tls, is_unix;
	uid_t unix_uid;      /* peer credentials when is_unix */
	GBytes *client_cert; /* DER of the TLS client certificate; NULL */
	const char *listener;/* its name, for the log */
	const struct http_route *route;
	char *params[4];     /* values of the pattern's "{}" segments, percent-decoded, in order; NULL after the last */
};

struct http_response {
	int status;
	GBytes *body;        /* NULL: empty */
	GArray *headers;     /* struct http_header; Content-Length, Date, Connection are the server's */
};

/* First header with NAME (any case), or NULL. borrowed. */
const char *http_request_header(const struct http_request *request, const char *name);
/* How often NAME occurs. */
unsigned http_request_header_count(const struct http_request *request, const char *name);
/* Value of KEY in the query (the first one, any case), percent-decoded ('+' is a space), transfer full; NULL when absent,
 * malformed or not UTF-8. */
char *http_request_query(const struct http_request *request, const char *key);
/* The raw (undecoded) value of KEY in the query, borrowed with its length; NULL when absent. Keys compare in any case. */
const char *http_request_query_raw(const struct http_request *request, const char *key, size_t *ret_len);

/* Replies. BODY transfer full, may be NULL. A header that could break the line (CR, LF, a name that is no token) or that is
 * the server's own to write is left out. */
struct http_response *http_response_new(int status, const char *content_type, GBytes *body);
struct http_response *http_response_text(int status, const char *content_type, const char *text);
void http_response_header(struct http_response *response, const char *name, const char *value);
void http_response_free(struct http_response *response);
typedef struct http_response http_response;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(http_response, http_response_free)
void http_request_free(struct http_request *request);
typedef struct http_request http_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(http_request, http_request_free)

/* A route: a row of a static table ended by a NULL pattern. Runs on a worker thread; may block. Returns a reply, transfer full. */
struct http_route {
	const char *pattern;     /* "/enroll/{}/profile"; "{}" takes one non-empty segment; a last segment "*" takes the rest */
	unsigned methods;        /* HTTP_BIT()s; HEAD is answered where GET is (body left out by the server) */
	size_t body_max;         /* bytes; over it 413 before the body is read */
	size_t request_line_max; /* bytes; 0: 16 KiB. The reader takes request lines up to 64 KiB on GET and 16 KiB else */
	struct http_response *(*handle)(void *ctx, const struct http_request *request);
	unsigned flags;          /* the owner's own meaning (who may) */
};

/* Refusals made by the server itself: the reply to send, and the chance to count and log. HEAD has what is known so far
 * (method, target, headers may be missing). Runs on the loop thread: must not block. transfer full. */
typedef struct http_response *(*http_refuse_fn)(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail);
/* Looked at when the head is complete, before the body: NULL lets it pass, else the reply to send at once. Loop thread. May be NULL. */
typedef struct http_response *(*http_admit_fn)(void *ctx, const struct http_request *head);
/* Told about each answered request. Worker or loop thread. May be NULL. */
typedef void (*http_done_fn)(void *ctx, const struct http_request *request, int status, int64_t duration_us);

struct http_limits {
	unsigned connections, connections_per_address; /* in total and per peer address; beyond: closed at accept, and refuse is told (POM_ERR_HTTP_CONNECTIONS) */
	/* Deadlines; a sender of one byte a second is cut by head_ms/request_ms. A handshake that gets on, or waits for us, has six times handshake_ms at most. */
	unsigned handshake_ms, head_ms, request_ms, idle_ms, write_ms;
	size_t header_line_max, headers_max;           /* bytes of one line, of all lines */
	unsigned n_headers_max;
};
/* 20,000 connections, 1,000 per address, 10 s handshake, 10 s head, 60 s + 1 s per 16 KiB of announced body request, 60 s idle,
 * 60 s write, 16 KiB line, 64 KiB headers, 100 headers. */
extern const struct http_limits http_limits_default;

struct http_listener {
	const char *name;                /* "device", "admin", "plain" */
	const char *address;             /* "127.0.0.1:8443", "[::]:0", "unix:/path" (mode 0600, stale socket replaced) */
	int fd;                          /* ≥ 0: an already listening socket (socket activation) instead of address, the server's from then on; else -1 */
	const struct http_route *routes;
	void *ctx;                       /* for handlers and callbacks */
	http_refuse_fn refuse;
	http_admit_fn admit;
	http_done_fn done;
	/* TLS when not NULL: called for each connection, gives the present context (a new reference: SSL_CTX_up_ref), so that a
	 * certificate is changed without restart. Never falls back to plain. */
	struct ssl_ctx_st *(*tls)(void *ctx);
	const char *const *hosts;        /* Host names answered (421 else), lower case, NULL-terminated; NULL: any */
	/* Addresses of proxies (see http/forwarded.h), which must stay; NULL: none. Their connections count in the total alone, and what they say in the header FORWARDED ("Forwarded",
	 * "X-Forwarded-For"; NULL: nothing) becomes the peer of a request. */
	const struct http_networks *proxies;
	const char *forwarded;
	bool only_proxies;               /* everybody else is refused: POM_ERR_PROXY_UNLISTED */
	/* Load balancers that pass on bytes (see http/forwarded.h), which must stay; NULL: none. With them the listener serves nobody else, and each connection begins, before TLS, with the
	 * header of the PROXY protocol, whose address is the peer from then on. Refusals (POM_ERR_PROXY_UNLISTED, POM_ERR_PROXY_HEADER) are told to refuse alone: who sends something else
	 * cannot be answered. Until the header is there, at most handshake_ms, a connection counts in the total alone. Set proxies to NULL then: headers of requests are the clients'. */
	const struct http_networks *balancers;
};

struct http_server;

struct http_server_config {
	unsigned n_loops;      /* loop threads, 1–64 */
	unsigned n_workers;    /* 1–1024 */
	unsigned queue_max;    /* jobs that may wait; beyond: 503 with Retry-After. Beyond an eighth of them no listener with TLS accepts */
	struct http_limits limits;
};

/* Makes the server and binds its listeners (N ≤ 8), without accepting yet. transfer full. POM_ERR_IO naming the address ("port in
 * use"). Strings of the listeners are copied; routes must stay. */
struct http_server *http_server_new(const struct http_server_config *config, const struct http_listener *listeners, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Starts the loop and worker threads. */
void http_server_start(struct http_server *server);
/* The port that listener NAME is bound to (for ":0"); 0 for unix. */
uint16_t http_server_port(const struct http_server *server, const char *name);
/* From now on each reply is the last of its connection, so that peers come again, to another server if there is one. New connections are taken as ever. Any thread. */
void http_server_drain(struct http_server *server);
/* Stops accepting at once, closes idle connections, lets running requests finish and their replies go out for at most
 * GRACE_MS, then closes all and joins the threads. Blocks. */
void http_server_stop(struct http_server *server, unsigned grace_ms);
void http_server_free(struct http_server *server); /* after stop; NULL is fine */

/* For tests of handlers and of the wire: raw bytes in, raw bytes out, the same reader, routing and refusal code, no socket
 * and no threads; handlers run in the call. Several pipelined requests are answered in turn. transfer full. *RET_CLOSE: whether
 * the connection would be closed. LIMITS may be NULL (the defaults). The peer is 127.0.0.1, or this user when the address is
 * "unix:…". */
GBytes *http_loopback(const struct http_listener *listener, const struct http_limits *limits, const void *bytes, size_t len, bool *ret_close);
