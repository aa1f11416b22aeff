/* The replies of a SCEP server, checked as strictly as the strictest client in the field does. */
#pragma once

#include "sim/scep_ca.h"
#include "sim/scep_request.h"

enum sim_scep_status { SIM_SCEP_SUCCESS = 0, SIM_SCEP_FAILURE = 2, SIM_SCEP_PENDING = 3 };

struct sim_scep_outcome {
	enum sim_scep_status status;
	X509 *cert;              /* SUCCESS of all but GetCRL */
	X509_CRL *crl;           /* SUCCESS of GetCRL */
	char *fail_info;         /* FAILURE: "0" to "4" */
	char *fail_info_text;    /* FAILURE; NULL: none */
	GBytes *server_nonce;    /* senderNonce of the reply; NULL: there was no reply */
	int http_status;         /* of the PKIOperation */
	unsigned n_polls;        /* how often it was polled for */
};
void sim_scep_outcome_clear(struct sim_scep_outcome *outcome);

/* What was asked, so that the answer can be held against it. Borrowed. */
struct sim_scep_question {
	enum sim_scep_type type;
	GBytes *content;
	const X509_NAME *issuer;    /* of GetCert and GetCRL */
	const ASN1_INTEGER *serial;
};

/* REPLY to the last message of SCEP → outcome, transfer full (http_status becomes 200).
 *
 * It must be signed by the very certificate that GetCACert gave for it, and bring that along; have messageType 3, our transactionID, our nonce, one of
 * its own with 16 bytes, pkiStatus, and failInfo only with FAILURE; attributes sorted as DER has them; our digest, and rsaEncryption as
 * the signature algorithm of an RSA key. PENDING and FAILURE have no content. SUCCESS is enveloped to our signer alone, with our cipher and
 * our key transport, and holds one certificate of this CA: with our key, or the one asked for; or one CRL. False with POM_ERR_SCEP_MESSAGE that
 * begins with the code that a device shows. */
bool sim_scep_open(const sim_scep *scep, const struct sim_scep_question *question, const struct sim_scep_ca *ca, GBytes *reply, struct sim_scep_outcome *ret, GError **error)
	G_GNUC_WARN_UNUSED_RESULT;

/* ContentInfo of the type NID; transfer full; NULL with POM_ERR_SCEP_MESSAGE, which calls it WHAT. */
CMS_ContentInfo *sim_scep_cms_parse(GBytes *bytes, int nid, const char *what, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The certificates of a degenerate SignedData (RFC 8894 §3.4: no signer, no content), at least one and no CRL; transfer full. */
sim_certs *sim_scep_certs_parse(GBytes *bytes, const char *what, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What has been written to a memory BIO; transfer full. */
GBytes *sim_bio_bytes(BIO *bio);
