/* Who may still ask: failures by address and profile. Any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct scep_limits;
struct scep_limits *scep_limits_new(void);
void scep_limits_free(struct scep_limits *limits);
/* What counts as one address: that of PEER without its port; of IPv6 the network of 64 bits, which one host has to itself. */
enum { SCEP_ADDRESS_SIZE = 46, SCEP_FAILURE_MS = 1000 /* until one failure is forgiven */ };
void scep_limits_address(const char *peer, char ret[SCEP_ADDRESS_SIZE]);
/* Whether PEER ("192.0.2.1:4711") may ask PROFILE now. */
bool scep_limits_allow(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms);
/* Notes a failure. False: so many fail that this one need not be in the audit log (the log and the metric have it). */
bool scep_limits_fail(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms);
/* Learns that the failures of PEER, those on other nodes among them, are forgiven at FORGIVEN_MS and not before. After scep_limits_fail. */
void scep_limits_learn(struct scep_limits *limits, const char *peer, int64_t forgiven_ms, int64_t now_ms);
