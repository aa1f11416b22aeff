/* What an answer of APNs means for a push, as a rule. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum push_verdict {
	PUSH_VERDICT_OK,         /* delivered to APNs */
	PUSH_VERDICT_RETRY,      /* later, with growing delay */
	PUSH_VERDICT_RECONNECT,  /* at once, over a new connection */
	PUSH_VERDICT_TOKEN_DEAD, /* the device must send a new token; the enrollment stays */
	PUSH_VERDICT_TOPIC,      /* the certificate or its topic is wrong: an alarm, the whole topic waits */
	PUSH_VERDICT_BUG,        /* our request was wrong: dropped, an alarm */
};

/* STATUS and REASON (may be NULL) of an answer. Pure. */
enum push_verdict push_decide(int status, const char *reason);
/* When to try for the N-th time again (N from 1): 5 s, doubling up to one hour, spread by JITTER (0–999) up to half as much
 * again. 429 and topic trouble begin at one minute. Milliseconds. */
int64_t push_delay_ms(int64_t n, bool slow, unsigned jitter);
