/* How SCEP clients in the field write their messages: tables of forms, algorithms and transaction identifiers. */
#pragma once

#include "sim/sim_cert.h"

enum sim_scep_transport { SIM_SCEP_TRANSPORT_ANY, SIM_SCEP_PKCS1, SIM_SCEP_OAEP, SIM_SCEP_OAEP_SHA256 };

/* One kind of client. Everything that a message shows of who made it. */
struct sim_scep_form {
	const char *name, *text;
	bool other_key;                    /* the throw-away signer has a key of its own */
	const char *signer_cn, *signer_country; /* NULL: a random UUID; none */
	bool encipherment;                 /* the signer's key usage has keyEncipherment too */
	bool renames;                      /* another signer certificate for each message */
	size_t nonce_len;
	long csr_version;                  /* PKCS #10 knows 0 alone; macOS writes 2 */
	bool challenge_attribute;          /* the challenge is a signed attribute too */
	bool der;                          /* definite lengths; else BER with indefinite ones and octet strings in pieces */
	const char *cipher, *digest;       /* NULL: the best that GetCACaps announces */
	const char *csr_digest;
	enum sim_scep_transport transport;
};
/* Ended by a NULL name. */
extern const struct sim_scep_form sim_scep_forms[];
/* NULL when there is none of this name. */
const struct sim_scep_form *sim_scep_form_find(const char *name);

/* By the names of the command line: aes128, aes192, aes256, 3des, des; sha1, sha256, sha384, sha512; v1.5, oaep (with SHA-1), oaep-sha256.
 * NULL or SIM_SCEP_TRANSPORT_ANY when there is none of this name. Finding des loads OpenSSL's legacy provider: call it before
 * other threads use OpenSSL. */
const EVP_CIPHER *sim_scep_cipher_find(const char *name);
const EVP_MD *sim_scep_digest_find(const char *name);
enum sim_scep_transport sim_scep_transport_find(const char *name);

/* The transactionID of a client for KEY, transfer full. NAME is one of apple (the SHA-1 of the key in upper-case hex), strongswan (in lower
 * case), sscep (32 hex digits), constant (sscep's for GetCert and GetCRL: the same for everybody, with a space), certmonger (a decimal number of 77
 * or 78 digits), scepclient (base64) or "text:…" (these very characters). NULL when NAME is none of them. */
char *sim_scep_transaction_make(const char *name, EVP_PKEY *key);
