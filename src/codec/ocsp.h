/* OCSP (RFC 6960, nonces by RFC 8954): requests from outside, and the parts of a response. Who is revoked is the caller's
 * knowledge, the signature is made in keys. Pure. */
#pragma once

#include "codec/cert.h"

enum { OCSP_REQUEST_MAX_BYTES = 64 * 1024, OCSP_IDS_MAX = 64, OCSP_NONCE_MAX = 32 };

/* Which certificate is asked about (§4.1.1 CertID). */
struct ocsp_cert_id {
	int digest_nid;    /* SHA-1, -256, -384 or -512; NID_undef for others, which name nobody here */
	GBytes *name_hash; /* of the issuer's Name */
	GBytes *key_hash;  /* of the issuer's key */
	char *serial;      /* upper-case hex, as in cert_info */
	GBytes *der;       /* as asked */
};
struct ocsp_request {
	GPtrArray *ids; /* struct ocsp_cert_id, 1 to OCSP_IDS_MAX */
	GBytes *nonce;  /* 1 to OCSP_NONCE_MAX bytes; NULL when there is none */
};
/* DATA → request, transfer full. Signatures and names of requestors are passed over. POM_ERR_OCSP, to be answered with
 * malformedRequest: not a request, no or too many CertIDs, a nonce of another length, a critical extension that is not known. */
struct ocsp_request *ocsp_request_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void ocsp_request_free(struct ocsp_request *request);
typedef struct ocsp_request ocsp_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ocsp_request, ocsp_request_free)

/* The GET form (appendix A.1): what stands in the path behind the responder's own, RAW as sent → the request's DER, transfer full.
 * Decoded from percents once, so that '/' and '+' of base64 survive either way; slashes before it, missing padding and
 * the URL alphabet are tolerated. POM_ERR_OCSP. */
GBytes *ocsp_get_parse(const char *raw, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether ID names certificates of ISSUER: of its subject and key. */
bool ocsp_id_names(const struct ocsp_cert_id *id, X509 *issuer);

/* §4.2.1 OCSPResponseStatus */
enum ocsp_response_status {
	OCSP_STATUS_SUCCESSFUL = 0, OCSP_STATUS_MALFORMED_REQUEST = 1, OCSP_STATUS_INTERNAL_ERROR = 2, OCSP_STATUS_TRY_LATER = 3,
	OCSP_STATUS_SIG_REQUIRED = 5, OCSP_STATUS_UNAUTHORIZED = 6,
};
/* A response without an answer, which has no signature; not for SUCCESSFUL. transfer full. */
GBytes *ocsp_error_format(enum ocsp_response_status status);

/* What is known of one certificate. */
enum ocsp_cert_status { OCSP_CERT_GOOD, OCSP_CERT_REVOKED, OCSP_CERT_UNKNOWN };
struct ocsp_answer {
	enum ocsp_cert_status status;
	int64_t revoked_at; /* Unix seconds; only for REVOKED */
	int reason;         /* CRLReason code, -1: none; only for REVOKED */
};
/* ResponseData (§4.2.1) to be signed, transfer full: RESPONDER by the hash of its key, ANSWERS[i] to request->ids[i] under its bytes as
 * asked, the nonce again. Unix seconds; NEXT_UPDATE -1: newer facts are always at hand. POM_ERR_OCSP for a date or reason that
 * cannot be encoded. */
GBytes *ocsp_response_data_format(X509 *responder, const struct ocsp_request *request, const struct ocsp_answer *answers, int64_t this_update,
                                  int64_t next_update, int64_t produced_at, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A successful response of signed DATA, with the responder's certificate; transfer full. */
GBytes *ocsp_response_format(GBytes *data, int signature_nid, const void *signature, size_t len, X509 *responder);
