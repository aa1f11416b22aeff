/* Pomona as the client of an outside SCEP CA (RFC 8894): for identities that we make and deliver ourselves, and for requests of devices that we
 * pass on as an RA. It calls over the outbound face, so it holds no sockets.
 *
 * What is trusted: the certificates of GetCACert, if one of them has the SHA-256 that the administrator has given, or, without that, if they came
 * over https or from this machine. All that is used of them must lead to that anchor, as must the certificate that comes back. */
#pragma once

#include "base/face.h"
#include "codec/scep.h"
#include "keys/ca_make.h"
#include "service/outbound.h"

enum { SCEP_CLIENT_TIMEOUT_MAX_MS = 120000, SCEP_CLIENT_POLLS_MAX = 1000 };

struct scep_client {
	const struct outbound *outbound;
	const struct pom_clock *clock;
	const struct pom_random *random;

	const char *url;          /* of the SCEP server, "…/scep", "…/mscep.dll"; a query of its own is kept */
	const char *ca_file;      /* PEM roots for https, of url and of challenge_url; NULL: the system's */
	const char *identifier;   /* which CA of several ("message" of GetCACert); NULL: none */
	const uint8_t *ca_sha256; /* of a CA certificate that GetCACert must give, CERT_DIGEST_LEN bytes; NULL: none. Over plain http to another machine it is needed */
	unsigned timeout_ms;      /* of each call, 1 to SCEP_CLIENT_TIMEOUT_MAX_MS */
	bool legacy_des;          /* single DES may be used: RFC 8894 §2.9 forbids it, micromdm's server answers with it. keys_load_legacy must have been called */

	/* At most one of them: a challenge that is always the same, or the page of NDES that shows a new one (https, or http on this machine). A renewal is
	 * proved by its signature (RFC 8894 §2.4): give none for it unless the CA wants one nevertheless, as micromdm's does. */
	const char *challenge;
	const char *challenge_url, *challenge_user, *challenge_password;

	/* Who signs the messages and receives the answers, an RSA key: an RA's identity, or with RENEWAL the certificate to be renewed. NULL: a
	 * throw-away certificate, of the request's own key if that is ours and RSA. */
	struct signer *signer;
	X509 *signer_cert; /* as parsed from its DER */
	bool renewal;

	/* While the CA answers PENDING: how often to ask again (0 to SCEP_CLIENT_POLLS_MAX), and what waits for poll_ms before each time; it returns false
	 * to give up. */
	unsigned n_polls, poll_ms;
	bool (*wait)(void *ctx, unsigned ms);
	void *wait_ctx;
};
/* Whether the settings go together. POM_ERR_CONFIG. */
bool scep_client_check(const struct scep_client *client, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the outside CA says of itself. */
struct scep_client_ca {
	struct scep_caps caps;
	GPtrArray *certs;    /* X509, all of GetCACert */
	GPtrArray *anchors;  /* X509, some of them: what certificates must lead to */
	X509 *issuer;        /* the CA that issues; borrowed from certs, as is the next */
	X509 *recipient;     /* whom requests are encrypted to: the RA, or the CA */
};
/* GetCACaps (a refusal or an odd answer means none) and GetCACert. *RET is set on success (scep_client_ca_clear). POM_ERR_SCEP_OUTSIDE,
 * POM_ERR_SCEP_OUTSIDE_REPLY, POM_ERR_CONFIG. Blocks for up to two time-outs; any thread. */
bool scep_client_get_ca(const struct scep_client *client, struct scep_client_ca *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_client_ca_clear(struct scep_client_ca *ca);
typedef struct scep_client_ca scep_client_ca;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(scep_client_ca, scep_client_ca_clear)

/* The challenge for a new request: NUL-terminated, transfer full, wiped when freed; *RET NULL when the client has none. Fetches the page of NDES
 * if there is one; each call may use up one of its passwords. Errors as above. */
bool scep_client_challenge(const struct scep_client *client, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct scep_client_result {
	GBytes *certificate; /* DER; has the key of the request */
	GPtrArray *chain;    /* GBytes: its issuer, the issuer's issuer, … as far as the CA has given them */
};
void scep_client_result_clear(struct scep_client_result *result);
typedef struct scep_client_result scep_client_result;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(scep_client_result, scep_client_result_clear)

/* Gets a certificate for CSR (PKCS#10 DER). KEY is its key when it is ours, NULL when the request is passed on for somebody else. A challenge stands in CSR, where
 * it is encrypted. If there is none, or CSR is somebody else's and holds another, and the client has one, the client's is sent as a signed attribute
 * (RFC 8894 has no place for it, some servers read it), over a private way alone. The same CSR sent again is the same transaction, so a lost answer can
 * be fetched again.
 *
 * Uses the strongest algorithms that the CA announces: AES-128 and SHA-256, else 3DES and SHA-1. Checks of each answer: its signature; its signer is
 * one of GetCACert's; messageType, transactionID; recipientNonce (RFC 8894 §3.2.1.5); status; and that the certificate has the key of CSR and leads
 * to an anchor. POM_ERR_SCEP_OUTSIDE (not reachable, HTTP error), POM_ERR_SCEP_OUTSIDE_REFUSED (FAILURE, with failInfo and its text),
 * POM_ERR_SCEP_OUTSIDE_REPLY (a check failed), POM_ERR_SCEP_OUTSIDE_PENDING, POM_ERR_CSR_*, POM_ERR_CONFIG. Blocks for all calls and
 * waits; any thread. */
bool scep_client_enroll(const struct scep_client *client, struct signer *key, GBytes *csr, struct scep_client_result *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Fetches a challenge, makes the request for KEY with SUBJECT_DER and WISH (as csr_make), and gets the certificate. */
bool scep_client_request(const struct scep_client *client, struct signer *key, GBytes *subject_der, const struct csr_wish *wish, struct scep_client_result *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
