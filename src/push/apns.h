/* APNs for one topic: a line of pushes, and the few connections that take them.
 *
 * There is one connection as long as it has room; another one is opened when all are full for a while, up to a limit. After any failure a few pushes go first, and the rest when one of
 * them was answered, so that the end of an outage is no storm. Not blocking; one thread. */
#pragma once

#include "base/face.h"
#include "push/conn.h"

struct apns;

struct apns_config {
	const struct dial_config *dial; /* must stay */
	const char *topic;
	SSL_CTX *tls;                   /* a new reference is taken */
	int64_t expiration_s;
	unsigned connections_max;       /* at least 1 */
	const struct pom_random *random; /* must stay */
	/* APNs has answered (or reset it again and again: APNS_RESET), or it is given back (status 0): by apns_free, by apns_give_back, or because it is too late to send it. Takes the push over. */
	void (*done)(void *ctx, struct apns *apns, struct apns_push *push);
	/* A connection failed, or APNs said goodbye for REASON ("" else). Must not free APNS. */
	void (*failed)(void *ctx, struct apns *apns, const GError *error, const char *goaway_reason);
	void *ctx;
};
struct apns *apns_new(const struct apns_config *config);
void apns_free(struct apns *apns); /* NULL is fine */
const char *apns_topic(const struct apns *apns);
/* Another certificate for the same topic: new connections at once; pushes that are under way on the old ones get time to be answered. */
void apns_renew(struct apns *apns, SSL_CTX *tls);
/* Puts a push into the line, an urgent one before those that are not; transfer full. */
void apns_submit(struct apns *apns, struct apns_push *push);
/* Whether a connection is to be opened also while nothing is in the line. */
void apns_want(struct apns *apns, bool wanted);
/* Gives back what is in the line and is too late to send at AT_MS; INT64_MAX: all that is in the line. */
void apns_give_back(struct apns *apns, int64_t at_ms);
/* Nothing is sent for MS milliseconds; with DROP connections are closed, and what is under way goes back into the line. May be called from done and failed. */
void apns_pause(struct apns *apns, int64_t ms, bool drop);
/* Ends a pause, and tries to connect at once. */
void apns_resume(struct apns *apns);
/* Goes on over new connections; what is under way on the old ones gets time to be answered. May be called from done. */
void apns_reconnect(struct apns *apns);
/* Does what can be done now. As many pushes go out as PACE allows. */
void apns_run(struct apns *apns, int64_t now_ms, int64_t wall_ms, struct push_pace *pace);
/* See dial_poll; fds and a time. */
void apns_poll(const struct apns *apns, const struct push_pace *pace, GArray *fds, int64_t *until_ms);
/* No new pushes; for the end. */
void apns_drain(struct apns *apns, int64_t grace_ms);

struct apns_state {
	unsigned connections, ready, streams, in_flight, queued; /* streams: how many requests APNs allows at once, over all connections */
	int64_t pause_ms;   /* how long it still pauses, after apns_pause or before the next try to connect; 0: it does not */
	bool healthy;       /* the last thing that happened was an answer, or nothing happened yet */
	bool sends;         /* a connection takes pushes, and they do not pause */
};
void apns_get_state(const struct apns *apns, struct apns_state *ret);
