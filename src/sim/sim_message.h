/* The signatures of a device, made with OpenSSL's own functions: BER with indefinite lengths, as Apple's are. */
#pragma once

#include "sim/sim_cert.h"

/* The value of Mdm-Signature over DATA, transfer full: a detached SignedData with the certificate alone, in base64 on one line. SHA-1
 * without signed attributes as in every known capture; MODERN: SHA-256 with them. */
char *sim_mdm_signature(EVP_PKEY *key, X509 *cert, GBytes *data, bool modern);

/* How a device signs what it says about itself: an attached SignedData, BER with indefinite lengths, SHA-1 without signed attributes. */
struct sim_signing {
	EVP_PKEY *key;
	X509 *cert;
	const sim_certs *others;    /* further certificates that go along; NULL: none */
	bool modern;                /* SHA-256 with signed attributes */
	bool without_certificates;
};
/* CONTENT signed, transfer full. */
GBytes *sim_sign_attached(const struct sim_signing *signing, GBytes *content);
