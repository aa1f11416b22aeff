/* Clock and randomness as parameters: rules and codecs get values or these faces, never the system's, so that a test can
 * be exact. The system's own are made here and handed down by the wiring. */
#pragma once

#include <glib.h>
#include <stdint.h>

/* Wall time. now_ms gives Unix time in milliseconds (UTC). Any thread. */
struct pom_clock {
	int64_t (*now_ms)(void *ctx);
	void *ctx;
};

/* Cryptographic randomness. fill writes LEN bytes and never fails: a system without randomness aborts. Any thread. */
struct pom_random {
	void (*fill)(void *ctx, void *buf, size_t len);
	void *ctx;
};

/* The system's clock (CLOCK_REALTIME) and random source (getrandom). Static; never freed. */
const struct pom_clock *pom_clock_system(void);
const struct pom_random *pom_random_system(void);

int64_t pom_clock_now_ms(const struct pom_clock *clock);
void pom_random_fill(const struct pom_random *random, void *buf, size_t len);

/* A test's clock: returns *ctx (int64_t, milliseconds). */
int64_t pom_clock_fixed_now_ms(void *ctx);

/* Ids are UUIDs of version 7 (RFC 9562 §5.7): 48 bits of milliseconds, then randomness, so they sort by time of making. */
enum { POM_ID_LEN = 36 };
struct pom_id {
	char text[POM_ID_LEN + 1]; /* upper case, as Apple writes UUIDs */
};

/* A new id. Ids made by one process sort strictly in the order of making. Any thread. */
struct pom_id pom_id_new(const struct pom_clock *clock, const struct pom_random *random);

/* Whether TEXT has the form of a UUID, either case. */
gboolean pom_id_check(const char *text);

/* N random bytes as base64url without padding. transfer full. N at most 256. */
char *pom_random_token(const struct pom_random *random, size_t n_bytes);

/* N random bytes as 2N lower case hex digits: for what others put into an ASN.1 PrintableString, which has no '_'. transfer full. N at most 256. */
char *pom_random_hex(const struct pom_random *random, size_t n_bytes);

/* RFC 3339 UTC "2026-01-02T03:04:05Z" from Unix milliseconds (years 1–9999; else "-"). transfer full. */
char *pom_time_format(int64_t unix_ms);
