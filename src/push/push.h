/* Pushes to devices: the outbox emptied over APNs (HTTP/2 with nghttp2), on one thread of its own.
 *
 * A push is a row of the outbox, written with whatever made it necessary; it leaves the outbox only after APNs has answered.
 * A crash between answer and row sends it twice, which is harmless: APNs keeps only the last. There is one connection per
 * topic (its push certificate is the TLS client certificate); requests are multiplexed up to the peer's limit. */
#pragma once

#include "keys/keys.h"
#include "store/store.h"

struct push_settings {
	const char *url;       /* "https://api.push.apple.com:443"; host and port of APNs */
	const char *root_file; /* PEM roots to trust for it; NULL: the system's */
	int64_t expiration_s;  /* apns-expiration: now plus this; 0: do not store */
};

struct pusher;

/* Starts the thread. STORE, SEAL, CLOCK and RANDOM must stay until pusher_free; strings are copied. POM_ERR_CONFIG for a bad URL or root file. */
struct pusher *pusher_new(struct store *store, const struct seal *seal, const struct push_settings *settings, const struct pom_clock *clock,
                          const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Looks into the outbox now (and at the push certificates, which may have changed). Any thread; never blocks. CTX is a struct pusher. */
void pusher_wake(void *ctx);
/* Lets pushes in flight be answered for at most GRACE_MS, writes their outcomes, closes. Blocks. NULL is fine. */
void pusher_free(struct pusher *pusher, unsigned grace_ms);
