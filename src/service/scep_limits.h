/* Who may still ask: failures by address and profile. Any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct scep_limits;
struct scep_limits *scep_limits_new(void);
void scep_limits_free(struct scep_limits *limits);
/* Whether PEER ("192.0.2.1:4711") may ask PROFILE now. */
bool scep_limits_allow(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms);
/* Notes a failure. False: so many fail that this one need not be in the audit log (the log and the metric have it). */
bool scep_limits_fail(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms);
