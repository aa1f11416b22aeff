/* A SCEP server for the tests of the client, made with OpenSSL's own functions, that can do one thing wrong. */
#pragma once

#include "sim/scep_client.h"

struct fake_ca {
	EVP_PKEY *root_key, *ca_key, *ra_key, *sign_key;
	X509 *root, *ca, *ra;          /* the CA is below the root, the RA below the CA: both bits */
	X509 *ra_encrypt, *ra_sign;    /* a pair in place of RA */
	X509 *next;                    /* the next CA: self-signed, of SIGN_KEY */
	X509_CRL *crl;
};
struct fake_ca *fake_ca_new(void);
void fake_ca_free(struct fake_ca *ca);

/* A certificate for KEY; ISSUER NULL: self-signed. USAGE in OpenSSL's words; NULL: no keyUsage. Valid from START_S to END_S from now. transfer full. */
X509 *fake_cert(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, const char *usage, bool is_ca, int64_t start_s, int64_t end_s);

GBytes *fake_der(X509 *cert);
GBytes *fake_fingerprint(X509 *cert, const EVP_MD *md);
/* Degenerate SignedData with CERTS (NULL-terminated) and CRL (may be NULL); SIGNER not NULL: signed by it, which it must not be. transfer full. */
GBytes *fake_certs_only(X509 *const *certs, X509_CRL *crl, X509 *signer, EVP_PKEY *signer_key);
/* The answer to GetNextCACert. */
GBytes *fake_next(X509 *const *certs, X509 *signer, EVP_PKEY *signer_key);

/* What is wrong with a reply; all zero: nothing. */
struct fake_reply {
	const char *name;
	const char *type, *status, *fail_info, *fail_text, *transaction;
	const char *recipient_nonce, *sender_nonce; /* sender_nonce "ours": a copy of the client's; "": none */
	bool fail_text_printable;
	bool type_twice;
	bool other_signer, no_signer_cert, two_signers, unsorted, sha256_rsa, other_digest, other_content_type, damaged, longer;
	bool drop_content, add_content;
	bool other_recipient, two_recipients, other_cipher, other_transport, other_oaep_hash, not_enveloped;
	bool no_cert, two_certs, other_key, foreign_issuer, forged, not_yet, expired, signed_inner, with_crl, no_crl, two_crls, foreign_crl, other_crl_issuer, other_serial;
	const char *wanted; /* part of the error; NULL: none */
};

/* The CertRep to the last message of SCEP, of the kind that FORM describes. CA signs it with its RA. transfer full. */
GBytes *fake_reply_make(const struct fake_ca *ca, const sim_scep *scep, enum sim_scep_type type, const struct fake_reply *form);

/* ---- over HTTP ---- */

/* At every path; below /manual requests wait for one poll. */
struct fake_server {
	const struct fake_ca *ca;
	int port;
	/* Set before a request. */
	const char *caps;              /* NULL: HTTP 404 */
	const char *ca_type, *reply_type, *next_type; /* media types */
	GBytes *ca_body;               /* transfer full; NULL: RA mode's */
	bool publish_next;
	int http_status;               /* of PKIOperation, when not 0 */
	bool repeat_nonce;
	int n_pending;                 /* so many answers are PENDING */
	bool refuse;
	/* Seen. */
	GPtrArray *lines;              /* of requests: "GET /scep?…" */
	GArray *types;                 /* messageType of each PKIOperation, int */
	char *challenge;               /* of the last request; NULL: none */
	X509 *signer;                  /* of the last message */
	EVP_PKEY *key;                 /* of the last certificate request */
	int fd;
	bool stop;
	GThread *thread;
};
struct fake_server *fake_server_new(const struct fake_ca *ca);
void fake_server_free(struct fake_server *server);
