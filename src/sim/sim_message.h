/* The CMS messages of a device, made with OpenSSL's own functions: BER with indefinite lengths and octet strings in pieces, as Apple's are. */
#pragma once

#include "sim/sim_cert.h"
#include "sim/sim_profile.h"

/* The value of Mdm-Signature over DATA, transfer full: a detached SignedData with the certificate alone, in base64 on one line. SHA-1
 * without signed attributes as in every known capture; MODERN: SHA-256 with them. */
char *sim_mdm_signature(EVP_PKEY *key, X509 *cert, GBytes *data, bool modern);

enum sim_scep_type { SIM_SCEP_PKCS_REQ = 19, SIM_SCEP_CERT_POLL = 20 };
enum sim_scep_status { SIM_SCEP_SUCCESS = 0, SIM_SCEP_FAILURE = 2, SIM_SCEP_PENDING = 3 };

/* One SCEP transaction of a client.
 *
 * iOS (SecSCEP.c): the throw-away signer has a random CN and the key of the identity; a nonce of 16 bytes; the best algorithms that the CA
 * announces. macOS (captures): CN=MDM SCEP SIGNER, C=US with a key of its own, a nonce of 8 bytes, a CSR of version 2, SHA-1 and triple DES
 * whatever is announced, and the challenge as a signed attribute too. */
typedef struct sim_scep {
	bool macos;
	EVP_PKEY *key, *signer_key;
	X509 *signer;
	uint8_t nonce[16];
	size_t nonce_len;
	char *transaction;      /* upper-case hex of the SHA-1 of the key */
	char *challenge;        /* NULL: none */
	const EVP_MD *md;
	const EVP_CIPHER *cipher;
} sim_scep;

/* KEY is the identity's (a reference is taken). CAPS is the text of GetCACaps. transfer full. */
sim_scep *sim_scep_new(bool macos, EVP_PKEY *key, const char *challenge, const char *caps);
void sim_scep_free(sim_scep *scep);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_scep, sim_scep_free)

/* Whether WORD stands on a line of its own in CAPS. */
bool sim_scep_has_cap(const char *caps, const char *word);

/* The certificate request by SETTINGS (subject, alternative names, key usage), transfer full; NULL with POM_ERR_PROFILE when the subject cannot be
 * written. SIGN_WITH signs it (NULL: its own key). */
GBytes *sim_scep_csr(const sim_scep *scep, const struct sim_scep_settings *settings, EVP_PKEY *sign_with, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The content of CertPoll: IssuerAndSubject (RFC 8894 §3.3.3). transfer full. */
GBytes *sim_scep_poll_content(X509 *ca, GBytes *csr);

/* CONTENT enveloped to RECIPIENT and signed; transfer full. */
GBytes *sim_scep_request(const sim_scep *scep, enum sim_scep_type type, X509 *recipient, GBytes *content);

/* Checks a reply as iOS does: signed by CA, messageType 3, our transaction and nonce, and on success the first certificate has our key.
 * *RET_CERT is set (transfer full) on SIM_SCEP_SUCCESS, *RET_FAIL_INFO (transfer full, may become NULL) on SIM_SCEP_FAILURE. False with
 * POM_ERR_SCEP_MESSAGE naming what is wrong. */
bool sim_scep_open(const sim_scep *scep, GBytes *reply, X509 *ca, enum sim_scep_status *ret_status, X509 **ret_cert, char **ret_fail_info, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The certificates of GetCACert. */
struct sim_scep_ca {
	X509 *recipient, *signer; /* whom requests are enveloped to; who must sign replies */
	X509 *root;               /* whose fingerprint the profile may name */
	sim_certs *all;           /* owns them */
};
void sim_scep_ca_clear(struct sim_scep_ca *ca);

/* BODY of TYPE → certificates, checked against FINGERPRINT (may be NULL). False with POM_ERR_SCEP_MESSAGE and the code that a device shows. */
bool sim_scep_ca_parse(const char *type, GBytes *body, GBytes *fingerprint, struct sim_scep_ca *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
