/* SCEP messages (RFC 8894): the checked request and the attributes of the reply. Decrypting, signing and the rules are others'. */
#pragma once

#include "codec/cms.h"

enum scep_message_type { SCEP_CERT_REP = 3, SCEP_RENEWAL_REQ = 17, SCEP_PKCS_REQ = 19, SCEP_CERT_POLL = 20, SCEP_GET_CERT = 21, SCEP_GET_CRL = 22 };
enum scep_status { SCEP_SUCCESS = 0, SCEP_FAILURE = 2, SCEP_PENDING = 3 };
enum scep_fail_info { SCEP_BAD_ALG = 0, SCEP_BAD_MESSAGE_CHECK = 1, SCEP_BAD_REQUEST = 2, SCEP_BAD_TIME = 3, SCEP_BAD_CERT_ID = 4, SCEP_FAIL_INFO_NONE = -1 };
enum { SCEP_MESSAGE_MAX = 64 * 1024, SCEP_REPLY_MAX = 8 << 20 /* a CRL may be in it */ };

/* A request as far as it could be read. The transaction attributes are filled even when the message must be refused, so that
 * a CertRep FAILURE can be built; then fail_info and refusal say why. */
struct scep_request {
	int message_type;             /* -1 when absent or not a number in a PrintableString or UTF8String */
	char *transaction_id;         /* 1–255 bytes of printable text */
	GBytes *sender_nonce;         /* 1–64 bytes; NULL when there is none (tolerated) */
	char *challenge_attribute;    /* challengePassword among the signed attributes (old macOS); NULL */
	GBytes *signer_der;           /* the certificate to answer to; chosen by signer identifier */
	GBytes *signer_spki;          /* its SubjectPublicKeyInfo, DER; NULL when the message is not in the usual form */
	EVP_PKEY *signer_key;         /* its key; NULL when it is of an unknown kind (then the request is refused) */
	int digest_nid;               /* answer with the same */
	int64_t signing_time;         /* Unix seconds; -1: not said */
	GBytes *enveloped;            /* ContentInfo of EnvelopedData, DER or BER; NULL when refused or absent */
	enum scep_fail_info fail_info;/* SCEP_FAIL_INFO_NONE: fine so far */
	GError *refusal;              /* why, for the log */
};

/* DATA → request, transfer full. NULL (POM_ERR_CMS_*, POM_ERR_SCEP_MESSAGE) only when no CertRep can be built: not CMS, no signer
 * certificate, no transactionID. Else a struct, with fail_info badMessageCheck for a wrong signature, badAlg for MD5 or an
 * algorithm outside the table, badRequest for duplicate or multi-valued SCEP attributes. Unknown signed attributes are ignored.
 * The signer need not share key or subject with the request inside (Apple's does not), and its key usage does not matter. */
struct scep_request *scep_request_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The signer's certificate in full, transfer full: for renewals. Costs 100 µs, which an enrollment does without. */
X509 *scep_request_signer(const struct scep_request *request);
void scep_request_free(struct scep_request *request);
typedef struct scep_request scep_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(scep_request, scep_request_free)

/* The signed attributes of a CertRep besides the three of CMS: transactionID, messageType 3, pkiStatus, senderNonce,
 * recipientNonce (copy of the request's; left out when it had none), failInfo and failInfoText (only with FAILURE). Array of
 * GBytes, one Attribute each, transfer full. TEXT may be NULL. */
GPtrArray *scep_reply_attributes(const struct scep_request *request, enum scep_status status, enum scep_fail_info fail_info, const char *text, const uint8_t sender_nonce[16]);

/* What a client signs: transactionID (1–255 bytes), messageType, senderNonce. As above. */
GPtrArray *scep_request_attributes(enum scep_message_type type, const char *transaction_id, const uint8_t sender_nonce[16]);

/* The challenge as one more of them, for a request that is another's and holds none (old macOS does it too): one Attribute, transfer full.
 * Signed attributes are not encrypted: whoever sees the message sees it. */
GBytes *scep_challenge_attribute(const char *challenge);

/* A reply as a client reads it (for our own client and the tests); signature verified with the embedded signer. */
struct scep_reply {
	int message_type;
	enum scep_status status;
	enum scep_fail_info fail_info;
	char *fail_info_text, *transaction_id;
	GBytes *sender_nonce, *recipient_nonce, *enveloped;
	X509 *signer;
	int digest_nid;
};
struct scep_reply *scep_reply_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_reply_free(struct scep_reply *reply);
typedef struct scep_reply scep_reply;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(scep_reply, scep_reply_free)

/* H6: the raw value of "message" in a GET query → bytes, transfer full. Percent-decodes once, takes space as '+', drops CR
 * and LF, accepts '-' and '_' and missing padding; POM_ERR_SCEP_MESSAGE. */
GBytes *scep_get_message_parse(const char *raw, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is inside GetCert and GetCRL (§3.3.4–5): issuer as Name DER, serial number in hex as in cert_info; both transfer full.
 * POM_ERR_SCEP_MESSAGE. */
bool scep_issuer_and_serial_parse(const void *data, size_t len, GBytes **ret_issuer_der, char **ret_serial, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* SERIAL: hex of 1 to 20 bytes. NULL with POM_ERR_SCEP_MESSAGE when it is not. transfer full. */
GBytes *scep_issuer_and_serial_format(GBytes *issuer_der, const char *serial, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What is inside CertPoll (§3.3.3): both as Name DER, transfer full. POM_ERR_SCEP_MESSAGE. */
bool scep_issuer_and_subject_parse(const void *data, size_t len, GBytes **ret_issuer_der, GBytes **ret_subject_der, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GBytes *scep_issuer_and_subject_format(GBytes *issuer_der, GBytes *subject_der);

/* What a CA says that it can (GetCACaps, §3.5.2). SCEPStandard says AES, SHA-256 and POSTPKIOperation with it. */
struct scep_caps {
	bool aes, des3, get_next_ca_cert, post, renewal, sha1, sha256, sha384, sha512, standard;
};
/* Keywords, one a line (LF or CRLF), in any case; unknown ones are passed over. Nothing, or something else than a text, is no
 * capability at all. At most 16 KiB are looked at. */
struct scep_caps scep_caps_parse(const char *text, size_t len);

/* The reply to GetCACert (§4.2.1): one certificate as application/x-x509-ca-cert, or several in a p7 as application/x-x509-ca-ra-cert
 * (parameters of the media type do not matter). Array of X509 in the order of the bytes, at least one, transfer full.
 * POM_ERR_SCEP_MESSAGE for another media type; POM_ERR_CERT_MALFORMED, POM_ERR_CMS_*. */
GPtrArray *scep_ca_certs_parse(const char *content_type, const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
