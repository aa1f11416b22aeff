/* Pushes to devices: the outbox emptied over APNs (HTTP/2 with nghttp2), on one thread of its own.
 *
 * A push is a row of the outbox, written with whatever made it necessary, and it stays there until the device has come: first it is owed, then, when APNs has it, the device is waited for and pushed
 * again with growing delay. A crash between answer and row sends it twice, which is harmless: APNs keeps only the last. For each topic (its push certificate is the TLS client certificate) there is a
 * line with its connections (push/apns.h); what one topic cannot send does not hold up another.
 *
 * Several nodes over one database share the outbox: each claims what it is about to send (push/claim.c). Connections, pace, pauses and what is known of APNs are each node's own. */
#pragma once

#include "keys/keys.h"
#include "store/store.h"

struct push_settings {
	const char *url;       /* "https://api.push.apple.com:443"; host and port of APNs */
	const char *root_file; /* PEM roots to trust for it; NULL: the system's */
	int64_t expiration_s;  /* apns-expiration: now plus this; 0: do not store */
	int64_t per_second;    /* pushes of all topics together; 0: no limit */
	int64_t connections;   /* at most, for each topic */
	const char *proxy, *proxy_password_file; /* see push_proxy_find */
	/* Where several nodes share the database: how long this one has what it is about to send, when it dies (15 seconds count at least: clocks differ); and whether it may take anything now, asked with CTX by the thread
	 * of the pusher (NULL: always; must not block). */
	int64_t claim_ms;
	bool (*may_work)(void *ctx);
	void *ctx;
};

struct pusher;

/* Starts the thread. STORE, SEAL, CLOCK and RANDOM must stay until pusher_free; strings are copied. POM_ERR_CONFIG for a bad URL, root file or proxy. */
struct pusher *pusher_new(struct store *store, const struct seal *seal, const struct push_settings *settings, const struct pom_clock *clock,
                          const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Looks into the outbox now. Any thread; never blocks. CTX is a struct pusher. */
void pusher_wake(void *ctx);
/* The same, and at the push certificates first, which have changed. Without it they are looked at every few seconds. Any thread; never blocks. */
void pusher_reload(struct pusher *pusher);
/* Ends all pauses and tries again now. Any thread; never blocks. */
void pusher_resume(struct pusher *pusher);
/* Lets pushes in flight be answered for at most GRACE_MS, writes their outcomes, closes. Blocks. NULL is fine. */
void pusher_free(struct pusher *pusher, unsigned grace_ms);

/* Where a topic stands. */
struct push_status {
	char *topic;
	const char *state;     /* static: idle, connecting, connected, waiting (for the next try), stopped (by its certificate or APNs), expired, unusable (its certificate) */
	unsigned connections, streams, in_flight, queued;
	int64_t not_after_ms, paused_until_ms; /* paused_until: 0: it is not */
	const char *error_id;  /* static: POM-E6…, or NULL: nothing went wrong since the last push that went out */
	char *error_reason;    /* of APNs; NULL */
	char *error_text;      /* for people; NULL */
	int64_t error_ms;
};
/* All topics that have a certificate, by name: array of struct push_status, transfer full. Any thread. */
GArray *pusher_status(struct pusher *pusher);
/* "host:port" of APNs and of the proxy (NULL: none); borrowed. */
const char *pusher_peer(const struct pusher *pusher);
const char *pusher_proxy(const struct pusher *pusher);
