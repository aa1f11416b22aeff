/* Signed objects as X.509 has them (certificates, CRLs, requests): what is signed, the algorithm, the signature. The bytes to sign
 * are made by their own files, the signature by whoever holds the key. Pure. */
#pragma once

#include "codec/cert.h"

/* TBS (DER of a SEQUENCE) with the signature of LEN bytes under SIGNATURE_NID, which must be the one that stands in TBS if it
 * names one → DER, transfer full (RFC 5280 §4.1.1.3, RFC 2986 §4.2). The copies made of TBS are wiped. */
GBytes *signed_object_format(GBytes *tbs, int signature_nid, const void *signature, size_t len);

/* The signature algorithm of KEY (RSA: PKCS#1 v1.5, EC: ECDSA) with a digest; NID_undef for other keys and digests. */
int signature_nid_for(const EVP_PKEY *key, int digest_nid);
/* Whether DATA has this form, from its first byte to its last. */
bool signed_object_check(const void *data, size_t len);
