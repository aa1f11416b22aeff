/* Independent producers for the tests of this room: keys, certificates and CMS messages made by OpenSSL's own functions. */
#pragma once

#include "codec/cert.h"

/* Keys made once per process; borrowed. */
EVP_PKEY *testkit_rsa(unsigned bits);
EVP_PKEY *testkit_ec(const char *curve);

/* A certificate for KEY with CN and serial, signed by ISSUER_KEY under ISSUER (both NULL: self-signed), with SKI; transfer full. */
X509 *testkit_cert(EVP_PKEY *key, const char *cn, long serial, X509 *issuer, EVP_PKEY *issuer_key);

enum testkit_form {
	TESTKIT_DER = 0,
	TESTKIT_DETACHED = 1 << 0,
	TESTKIT_NO_ATTRIBUTES = 1 << 1,
	TESTKIT_KEY_ID = 1 << 2,
	TESTKIT_PSS = 1 << 3,
	TESTKIT_NO_CERTIFICATE = 1 << 4,
};
/* CMS_sign over TEXT; transfer full. */
GBytes *testkit_sign(X509 *cert, EVP_PKEY *key, const EVP_MD *md, unsigned form, const char *text);
/* The same by i2d_CMS_bio_stream, which writes indefinite lengths and the content in pieces. Attached only. */
GBytes *testkit_sign_streamed(X509 *cert, EVP_PKEY *key, const EVP_MD *md, const char *text, size_t len);
/* CMS_encrypt to N certificates; transfer full. */
GBytes *testkit_encrypt(X509 *const *certs, size_t n, const EVP_CIPHER *cipher, const char *text, bool streamed, bool oaep);

/* The DER message with indefinite lengths down to LEVEL, and OCTET STRINGs of more than 8 bytes cut in two pieces there;
 * certificates and signed attributes stay as they are. transfer full. */
GBytes *testkit_to_ber(GBytes *der, unsigned level);

/* A copy with the byte at OFFSET (from the end when negative) changed; transfer full. */
GBytes *testkit_flip(GBytes *bytes, gssize offset);
/* A copy with the first FROM (of LEN bytes) replaced by TO; transfer full. */
GBytes *testkit_replace(GBytes *bytes, const void *from, const void *to, size_t len);
