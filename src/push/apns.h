/* One connection to APNs for one topic: TLS with the push certificate, HTTP/2 by nghttp2, requests multiplexed. Not blocking but for
 * the name lookup; one thread. */
#pragma once

#include <glib.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct apns;

enum { APNS_RESET = 1 };

/* A push on its way; the owner's, kept until its answer. */
struct apns_push {
	char *enrollment_id, *generation, *push_magic;
	GBytes *push_token;
	int64_t epoch, attempts;
	/* The connection's own. */
	char *body_text;       /* what is sent */
	size_t body_sent;
	unsigned resets;
	/* The answer. */
	int status;            /* 0: none came; APNS_RESET: refused without one, again and again */
	char body[512];
	size_t body_len;
	int64_t sent_ms;
};
void apns_push_free(struct apns_push *push);

/* Answered, or lost with status 0. Takes the push over. */
typedef void (*apns_done_fn)(void *ctx, struct apns *apns, struct apns_push *push);

struct apns_config {
	const char *host, *port, *topic;
	SSL_CTX *tls;          /* a new reference is taken */
	int64_t expiration_s;
	apns_done_fn done;
	void *ctx;
};
struct apns *apns_new(const struct apns_config *config);
void apns_free(struct apns *apns); /* pushes that wait or fly are given back with status 0 */
const char *apns_topic(const struct apns *apns);
/* Puts a push into the waiting line; transfer full. */
void apns_submit(struct apns *apns, struct apns_push *push);
/* Pushes waiting or in flight. */
size_t apns_pending(const struct apns *apns);
/* Pushes sent and not answered. */
size_t apns_in_flight(const struct apns *apns);
/* Does what can be done now: connects when there is work and the back-off is over, reads, writes, cuts off what hangs. */
void apns_run(struct apns *apns, int64_t now_ms);
/* What to poll for (fd -1: nothing) and when to run again at the latest. */
void apns_poll(const struct apns *apns, struct pollfd *ret, int64_t *ret_until_ms);
/* Leaves the connection as soon as the present call of apns_run is over; pushes wait for a new one, which is not made before
 * REST_MS have passed. May be called from the done function. */
void apns_leave(struct apns *apns, int64_t rest_ms);
