/* The CA's rules: what a certificate of each purpose looks like, from the server's record. */
#pragma once

#include "codec/cert.h"

enum { CA_BACKDATE_S = 3600, CA_TLS_DAYS = 397, CA_ROOT_DAYS = 7300, CA_ISSUING_DAYS = 3650, CA_SIGNER_DAYS = 3650, CA_DEVICE_DAYS = 730 };

/* Fills the dates: backdated by one hour (device clocks), LIFETIME_DAYS long, never beyond ISSUER_NOT_AFTER (0: no issuer) nor before the issuer's start. NOW
 * in Unix seconds. */
void ca_plan_dates(struct cert_plan *plan, int64_t now_s, int lifetime_days, int64_t issuer_not_before, int64_t issuer_not_after);
/* Serial: 128 random bits given by the caller, first bit cleared (positive in 16 octets) and not zero. */
void ca_plan_serial(struct cert_plan *plan, const uint8_t random[16]);
/* When a certificate should be replaced: two thirds of its life, Unix seconds. */
int64_t ca_renew_at(int64_t not_before, int64_t not_after);
