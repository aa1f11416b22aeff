/* What becomes of a push, as rules: what an answer of APNs means, when to try again, and how many may go out now. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum push_verdict {
	PUSH_VERDICT_OK,         /* APNs has it */
	PUSH_VERDICT_RETRY,      /* APNs cannot now: later, with growing delay */
	PUSH_VERDICT_SLOW,       /* this device was pushed too often: later, from a minute on */
	PUSH_VERDICT_RECONNECT,  /* at once, over a new connection */
	PUSH_VERDICT_TOKEN_DEAD, /* the device must send a new token; the enrollment stays */
	PUSH_VERDICT_TOPIC,      /* the certificate or its topic is wrong: an alarm, the whole topic stops */
	PUSH_VERDICT_BUG,        /* our request was wrong: an alarm, and again in an hour, perhaps by a newer program */
	PUSH_VERDICT_MAX,
};

/* One reason that APNs gives, and what it is for people. */
struct push_reason {
	const char *reason;
	int status; /* HTTP status that Apple documents for it */
	enum push_verdict verdict;
	const char *text;
};
/* All reasons that are known, ended by a NULL reason. Static. */
const struct push_reason *push_reasons(void);
/* The row of REASON (may be NULL), NULL when it is not known. Static. */
const struct push_reason *push_reason_find(const char *reason);

/* What APNs answered: the reason, cut to what fits, and the time of a 410. */
struct push_answer {
	char reason[64];      /* letters and digits; "": none, or something else */
	int64_t timestamp_ms; /* since when the token is dead; 0: not said */
};
/* The body of an answer, or the debug data of a GOAWAY frame (JSON; at most LEN bytes). What is not such JSON gives no reason. */
void push_answer_parse(const void *body, size_t len, struct push_answer *ret);
/* Retry-After (RFC 9110 §10.2.3), TEXT of LEN bytes, as milliseconds from NOW_MS (Unix), at most an hour; 0: absent, past or malformed. */
int64_t push_retry_after_parse(const char *text, size_t len, int64_t now_ms);

/* STATUS and REASON (may be NULL or "") of an answer. */
enum push_verdict push_decide(int status, const char *reason);

/* When to try for the N-th time again (N from 1) after VERDICT: five seconds, doubling up to five minutes; for a device pushed too often from a minute up to an hour; an hour for a bug.
 * Spread by JITTER (0–999) up to half as much again. Milliseconds. */
int64_t push_delay_ms(int64_t n, enum push_verdict verdict, unsigned jitter);

/* When to push again a device that has had N pushes (from 1) and has not come: five minutes, three times as long each time, at most a day; spread by JITTER (0–999) up to a quarter more. */
int64_t push_again_ms(int64_t n, unsigned jitter);

/* How long a topic stops for the N-th time (N from 1) that nothing went well in between: for SLOW reasons (certificate) a minute, doubling up to an hour; else five seconds up to five minutes. */
int64_t push_pause_ms(int64_t n, bool slow, unsigned jitter);

/* A bucket of permits: PER_SECOND flow in, at most a tenth of a second's worth (and at least one) is kept. What is urgent may borrow half a second's worth. */
struct push_pace {
	int64_t per_second;  /* 0: no limit */
	int64_t at_ms;       /* of the last look */
	int64_t milli;       /* permits, in thousandths; negative: borrowed */
};
/* Lets time flow to NOW_MS (any clock that the caller keeps to; set back, it counts from there on). */
void push_pace_flow(struct push_pace *pace, int64_t now_ms);
/* How many pushes may go now. */
int64_t push_pace_allows(const struct push_pace *pace, bool urgent);
void push_pace_take(struct push_pace *pace, int64_t n);
/* Milliseconds until one may go, 0: now. */
int64_t push_pace_wait_ms(const struct push_pace *pace);

/* What a proxy says to CONNECT (RFC 9110 §9.3.6), BUF of LEN bytes so far: its status; 0: more has to come; -1: this is no HTTP answer, too long, or something follows it before we have spoken. */
int push_proxy_answer_parse(const char *buf, size_t len);
