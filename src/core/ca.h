/* The CA's rules: what a certificate of each purpose looks like, from the server's record, and the life of a CA's key.
 *
 * A CA has generations, one key each:
 *   requested → next → active → retiring → retired
 * The next one is published and takes requests that are enveloped to it; the active one issues; the retiring one is still trusted,
 * still decrypts and still signs its CRL; the retired one is history. Renewing with the same key stays within a generation. */
#pragma once

#include "base/error.h"
#include "codec/cert.h"

enum { CA_BACKDATE_S = 3600, CA_TLS_DAYS = 397, CA_ROOT_DAYS = 7300, CA_ISSUING_DAYS = 3650, CA_SIGNER_DAYS = 3650, CA_DEVICE_DAYS = 730, CA_OCSP_DAYS = 90 };
/* CRLs are valid for a week and made anew after a day, or at once after a revocation: a week's outage of this server is no outage for whoever checks. */
enum { CA_CRL_VALID_S = 7 * 86400, CA_CRL_RENEW_S = 86400, CA_OCSP_VALID_S = 86400, CA_OVERLAP_S = 3600 };
/* How long the identity before a renewed one goes on: the other channels of a device may still hold it. */
enum { CA_SUPERSEDED_S = 86400 };

enum generation_state { GENERATION_REQUESTED, GENERATION_NEXT, GENERATION_ACTIVE, GENERATION_RETIRING, GENERATION_RETIRED, GENERATION_STATE_MAX };
const char *generation_state_name(enum generation_state state);
enum generation_state generation_state_find(const char *name); /* GENERATION_STATE_MAX: none */
/* Whether identities of such a generation are accepted. */
bool generation_is_trusted(enum generation_state state);

/* What a CA's generations allow. Each POM_ERR_CONFLICT says what to do first. STATES: of all generations of one CA. */
bool ca_check_rekey(const char *ca, const enum generation_state *states, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool ca_check_activate(const char *ca, const enum generation_state *states, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool ca_check_finish(const char *ca, const enum generation_state *states, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether CERT can issue as a CA of ours: CA:TRUE, keyCertSign, RSA ≥ 2048 or EC, valid at NOW. HAS_RA: another
 * key decrypts. POM_ERR_CA with the reason. */
bool ca_check_import(const struct cert_info *info, bool has_ra, int64_t now_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Revocation reasons by their names in RFC 5280 §5.3.1; -1: none such. */
int ca_reason_code(const char *name);

/* Fills the dates: backdated by one hour (device clocks), LIFETIME_DAYS long, never beyond ISSUER_NOT_AFTER (0: no issuer) nor before the issuer's start. NOW
 * in Unix seconds. */
void ca_plan_dates(struct cert_plan *plan, int64_t now_s, int lifetime_days, int64_t issuer_not_before, int64_t issuer_not_after);
/* Serial: 128 random bits given by the caller, first bit cleared (positive in 16 octets) and not zero. */
void ca_plan_serial(struct cert_plan *plan, const uint8_t random[16]);
/* When a certificate should be replaced: two thirds of its life, Unix seconds. */
int64_t ca_renew_at(int64_t not_before, int64_t not_after);
/* Days left at which its end is said aloud, the smallest that applies: 60, 30, 10, 1, 0 (over); -1: not yet. */
int ca_expiry_step(int64_t not_after_s, int64_t now_s);
