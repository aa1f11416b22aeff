/* Certificate revocation lists (RFC 5280 §5): the bytes to sign from a plan, and lists from outside. A list is complete: no
 * deltas, no indirect ones. Pure; the signature is made in keys. */
#pragma once

#include "codec/cert.h"

/* A revoked certificate. */
struct crl_entry {
	const char *serial; /* hex, as in cert_info */
	int64_t revoked_at; /* Unix seconds */
	int reason;         /* CRLReason code (RFC 5280 §5.3.1: 0–6, 9, 10); -1 and 0 are left out */
};
struct crl_plan {
	int64_t number;                   /* cRLNumber, from 0 on */
	int64_t this_update, next_update; /* Unix seconds */
	const struct crl_entry *entries;  /* in any order */
	size_t n;
};
/* At most this many entries, and bytes of a list from outside. */
enum { CRL_ENTRIES_MAX = 1000000, CRL_MAX_BYTES = 64 << 20 };

/* PLAN → DER of TBSCertList of version 2, transfer full, with ISSUER's subject, authorityKeyIdentifier (key id) and cRLNumber.
 * Costs about a microsecond and 40 bytes for each entry. POM_ERR_CERT_MALFORMED names the entry with a bad serial number, date or reason. */
GBytes *crl_tbs_format(const struct crl_plan *plan, X509 *issuer, int signature_nid, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A list as it was read; crl_info_free. */
struct crl_info {
	int64_t number;                   /* -1 when there is none */
	int64_t this_update, next_update; /* Unix seconds; next_update -1 when there is none */
	GBytes *issuer_der;               /* Name */
	GBytes *key_id;                   /* of the issuer; NULL when there is none */
	size_t n;                         /* entries */
	X509_CRL *crl;                    /* owned */
};
/* DATA (DER, at most CRL_MAX_BYTES) → list, transfer full. Nothing is verified. POM_ERR_CERT_MALFORMED, also for a critical
 * extension: it would say that the list is not a complete one (RFC 5280 §5.2). */
struct crl_info *crl_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void crl_info_free(struct crl_info *info);
typedef struct crl_info crl_info;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(crl_info, crl_info_free)
/* Whether the serial number (hex) stands in the list. Any thread. */
bool crl_has(const struct crl_info *info, const char *serial);
/* Whether ISSUER's name and key have signed the list, not with MD5 or older. */
bool crl_is_issued_by(const struct crl_info *info, X509 *issuer);
