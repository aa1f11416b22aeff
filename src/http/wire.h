/* What the server and the loopback share, inside this room only: the decision on a head, the session that turns bytes into
 * steps, and the bytes of a reply. Nothing here knows a socket. */
#pragma once

#include <time.h>

#include "base/buf.h"
#include "http/http.h"
#include "http/http1.h"

/* An empty request: method OTHER, no headers, an empty body. transfer full. */
struct http_request *http_request_new(void);

/* The parts of a request target (RFC 9112 §3.2), borrowed from it. */
struct http_target {
	const char *authority; /* absolute-form; else NULL */
	size_t authority_len;
	const char *path;      /* "/…" as sent, or "*"; "/" when an absolute-form has none */
	size_t path_len;
	const char *query;     /* after '?'; NULL when absent */
};
/* False when TARGET has none of the forms origin, absolute with http(s), or asterisk. */
bool http_target_split(const char *target, struct http_target *ret);

/* Undoes the percent-encoding of LEN bytes; NULL for a bad escape, NUL, or a result that is not UTF-8. transfer full. */
char *http_percent_decode(const char *text, size_t len, bool plus_is_space);

/* The listener's reply to a refusal, or a plain one when it has no opinion. transfer full. */
struct http_response *http_refuse(const struct http_listener *listener, const struct http_request *head, enum pom_error reason, const char *detail);
/* Decides a complete head, in this order: unlisted peer 403 where only proxies are served, host 421, path 404, method 405, request line 414, announced length 413, Expect 417,
 * the listener's admit. Sets route and params of the request. NULL lets it pass, else the refusal. transfer full. */
struct http_response *http_decide(const struct http_listener *listener, struct http1_reader *reader);

/* A reply as bytes: head and small bodies in one piece, so that TLS makes one record of it; larger bodies stay apart. */
struct http_wire {
	struct pom_buf head;
	GBytes *body; /* NULL when it is in head, or empty */
};
void http_wire_format(struct http_wire *ret, const struct http_response *response, bool is_head, bool keep_alive, time_t now);
void http_wire_clear(struct http_wire *wire);
size_t http_wire_len(const struct http_wire *wire);
typedef struct http_wire http_wire_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(http_wire_auto, http_wire_clear)

extern const char http_continue_line[]; /* the interim reply 100 */

/* Who is at the other end; copied into each request. */
struct http_peer {
	char *address;
	bool is_tls, is_unix;
	uid_t unix_uid;
	GBytes *client_cert;
};
void http_peer_clear(struct http_peer *peer);

enum http_step {
	HTTP_STEP_MORE,     /* all given bytes were taken */
	HTTP_STEP_CONTINUE, /* send http_continue_line, then feed on */
	HTTP_STEP_RUN,      /* a whole request waits in the reader: steal it, run it, answer it, then feed on */
	HTTP_STEP_REFUSED,  /* take the refusal, send it, close */
};

/* One connection's requests, in turn. Listener and peer are borrowed. */
struct http_session {
	const struct http_listener *listener;
	const struct http_peer *peer;
	struct http1_reader *reader;
	struct http_response *refusal;
	bool in_body; /* the head was accepted, its body is being read */
};
void http_session_init(struct http_session *session, const struct http_listener *listener, const struct http_peer *peer, const struct http_limits *limits);
void http_session_clear(struct http_session *session);
enum http_step http_session_feed(struct http_session *session, const uint8_t *data, size_t len, size_t *ret_used);
/* The whole request, after HTTP_STEP_RUN. transfer full. */
struct http_request *http_session_steal(struct http_session *session);
/* Refuses the request being read (a deadline); sets the refusal. */
void http_session_refuse(struct http_session *session, enum pom_error reason, const char *detail);
