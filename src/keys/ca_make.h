/* What a CA signs besides certificates, and what it asks of another CA. All of it goes through signer_sign with SHA-256, so the
 * key may live anywhere. Any thread; blocks as the key does. */
#pragma once

#include "codec/crl.h"
#include "codec/ocsp.h"
#include "keys/keys.h"

/* PLAN as a CRL of ISSUER, signed with SIGNER, which must be ISSUER's key → DER, transfer full. Errors of crl_tbs_format and
 * signer_sign; POM_ERR_KEY_MISMATCH when the key is not ISSUER's. */
GBytes *crl_make(struct signer *signer, X509 *issuer, const struct crl_plan *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A PKCS#10 request for KEY (version 0, SHA-256) → DER, transfer full, wiped when freed. CHALLENGE and WISH may be NULL.
 * Errors of csr_tbs_format and signer_sign. */
GBytes *csr_make(struct signer *key, GBytes *subject_der, const char *challenge, const struct csr_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The response to REQUEST (RFC 6960 §4.2), signed with SIGNER, which must be the key of RESPONDER: the issuer itself or a CERT_OCSP
 * certificate of it → DER, transfer full. ANSWERS as in ocsp_response_data_format. Errors of that and of signer_sign;
 * POM_ERR_KEY_MISMATCH. */
GBytes *ocsp_make(struct signer *signer, X509 *responder, const struct ocsp_request *request, const struct ocsp_answer *answers, int64_t this_update,
                  int64_t next_update, int64_t produced_at, GError **error) G_GNUC_WARN_UNUSED_RESULT;
