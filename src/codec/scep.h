/* SCEP messages (RFC 8894): the checked request and the attributes of the reply. Decrypting, signing and the rules are others'. */
#pragma once

#include "codec/cms.h"

enum scep_message_type { SCEP_CERT_REP = 3, SCEP_RENEWAL_REQ = 17, SCEP_PKCS_REQ = 19, SCEP_CERT_POLL = 20, SCEP_GET_CERT = 21, SCEP_GET_CRL = 22 };
enum scep_status { SCEP_SUCCESS = 0, SCEP_FAILURE = 2, SCEP_PENDING = 3 };
enum scep_fail_info { SCEP_BAD_ALG = 0, SCEP_BAD_MESSAGE_CHECK = 1, SCEP_BAD_REQUEST = 2, SCEP_BAD_TIME = 3, SCEP_BAD_CERT_ID = 4, SCEP_FAIL_INFO_NONE = -1 };
enum { SCEP_MESSAGE_MAX = 64 * 1024 };

/* A request as far as it could be read. The transaction attributes are filled even when the message must be refused, so that
 * a CertRep FAILURE can be built; then fail_info and refusal say why. */
struct scep_request {
	int message_type;             /* -1 when absent or not a number in a PrintableString or UTF8String */
	char *transaction_id;         /* 1–255 bytes of printable text */
	GBytes *sender_nonce;         /* 1–64 bytes; NULL when there is none (tolerated) */
	char *challenge_attribute;    /* challengePassword among the signed attributes (old macOS); NULL */
	X509 *signer;                 /* the certificate to answer to; chosen by signer identifier */
	GBytes *signer_der;
	int digest_nid;               /* answer with the same */
	GBytes *enveloped;            /* ContentInfo of EnvelopedData, DER or BER; NULL when refused or absent */
	enum scep_fail_info fail_info;/* SCEP_FAIL_INFO_NONE: fine so far */
	GError *refusal;              /* why, for the log */
};

/* DATA → request, transfer full. NULL (POM_ERR_CMS_*, POM_ERR_SCEP_MESSAGE) only when no CertRep can be built: not CMS, no signer
 * certificate, no transactionID. Else a struct, with fail_info badMessageCheck for a wrong signature, badAlg for MD5 or an
 * algorithm outside the table, badRequest for duplicate or multi-valued SCEP attributes. Unknown signed attributes are ignored.
 * The signer need not share key or subject with the request inside (Apple's does not), and its key usage does not matter. */
struct scep_request *scep_request_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_request_free(struct scep_request *request);
typedef struct scep_request scep_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(scep_request, scep_request_free)

/* The signed attributes of a CertRep besides the three of CMS: transactionID, messageType 3, pkiStatus, senderNonce,
 * recipientNonce (copy of the request's; left out when it had none), failInfo and failInfoText (only with FAILURE). Array of
 * GBytes, one Attribute each, transfer full. TEXT may be NULL. */
GPtrArray *scep_reply_attributes(const struct scep_request *request, enum scep_status status, enum scep_fail_info fail_info, const char *text, const uint8_t sender_nonce[16]);

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
