/* One HTTP/2 connection to APNs: TLS with the push certificate, many requests at once, never more than the peer's SETTINGS allow at the moment. Does not block; one thread.
 *
 * A path that died silently is found with PING: when answers are overdue, when a connection is used again after a rest, and once an hour. What was sent and not answered goes back to
 * the owner when the connection ends: APNs may have it, and keeps only the last push for a device. */
#pragma once

#include <glib.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/push.h"
#include "push/dial.h"

enum { APNS_RESET = 1, APNS_ID_LEN = 36 };

/* A push on its way; its owner's, lent to the connection until it is answered or given back. */
struct apns_push {
	char *enrollment_id, *generation, *push_magic;
	GBytes *push_token;
	int64_t epoch, attempts, n_sent;
	bool urgent;
	char *claim;              /* under which it was taken from the outbox; NULL: nobody else could */
	int64_t send_until_ms;    /* when it is too late to send it (the clock of conn_run); 0: never */
	char id[APNS_ID_LEN + 1]; /* apns-id: a UUID in lower case */
	/* The connection's own. */
	GList link;               /* in the line that it stands in; data is the push */
	char *path, *body_text;   /* what is sent */
	size_t body_sent;
	char expiration[24];
	int32_t stream;
	unsigned resets;
	int64_t sent_ms;
	/* The answer. */
	int status;               /* 0: none came; APNS_RESET: refused without one, again and again */
	char body[512];
	size_t body_len;
	int64_t retry_after_ms;   /* asked for by APNs; 0: not */
};
void apns_push_free(struct apns_push *push);

struct conn;

struct conn_config {
	const struct dial_config *dial; /* must stay */
	SSL_CTX *tls;                   /* a new reference is taken */
	const char *topic;              /* must stay */
	int64_t expiration_s;
	/* Each is called from within conn_run and conn_free, and must not free the connection. */
	void (*answered)(void *ctx, struct conn *conn, struct apns_push *push);
	void (*returned)(void *ctx, struct conn *conn, struct apns_push *push); /* not processed: to be sent again */
	void *ctx;
};

/* Begins to connect. FIRST: see dial_new. */
struct conn *conn_new(const struct conn_config *config, unsigned first, int64_t now_ms);
/* Gives back what is under way. NULL is fine. */
void conn_free(struct conn *conn);
/* Reads, writes, keeps time. False: the connection has ended; conn_error says why. NOW_MS is any steady clock, WALL_MS Unix time. */
bool conn_run(struct conn *conn, int64_t now_ms, int64_t wall_ms);
/* Why it ended; NULL: as it should (it was closed by us, by a GOAWAY, or while nothing was under way). Codes POM_ERR_PUSH_*. */
const GError *conn_error(const struct conn *conn);
/* Whether it has been set up; how many requests the peer lets it have at once (0 before); how many it has; how many more it can take. */
bool conn_is_ready(const struct conn *conn);
unsigned conn_limit(const struct conn *conn);
unsigned conn_in_flight(const struct conn *conn);
unsigned conn_room(const struct conn *conn);
/* Whether it takes no more: it was left, or APNs said goodbye. */
bool conn_is_closing(const struct conn *conn);
/* Whether APNs has answered anything on it. */
bool conn_has_answered(const struct conn *conn);
/* Since when it has had nothing to do; 0: it has. */
int64_t conn_idle_since_ms(const struct conn *conn);
/* Sends PUSH; false when it cannot, and then takes no more. Bytes go out with conn_flush, which says what conn_run says. */
bool conn_send(struct conn *conn, struct apns_push *push) G_GNUC_WARN_UNUSED_RESULT;
bool conn_flush(struct conn *conn) G_GNUC_WARN_UNUSED_RESULT;
/* Takes no more pushes, and ends when those under way are answered, or GRACE_MS after this. */
void conn_leave(struct conn *conn, int64_t grace_ms);
/* The reason in the last GOAWAY, "" when there was none. */
const char *conn_goaway_reason(const struct conn *conn);
/* See dial_poll. */
void conn_poll(const struct conn *conn, GArray *fds, int64_t *until_ms);
