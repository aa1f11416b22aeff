/* What the files about certificates and CMS share. */
#pragma once

#include <openssl/asn1t.h>
#include <openssl/x509v3.h>

#include "codec/cert.h"

/* SubjectPublicKeyInfo (RFC 5280 §4.1) without decoding the key, which is what costs time in OpenSSL's own type. */
struct spki {
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *key;
};
struct spki *spki_parse(const void *data, size_t len);
GBytes *spki_format(const struct spki *spki);
void spki_free(struct spki *spki);
typedef struct spki spki;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(spki, spki_free)

/* The public key, transfer full, as OpenSSL's decoder reads it, NULL when it cannot. RSA keys in the usual form do without the decoder,
 * which takes 100 µs to find out what it is looking at. */
EVP_PKEY *spki_decode(const struct spki *spki);

/* The part of a PKCS#10 request that is signed. The attributes may hold a challenge: they are wiped when freed. */
struct csr_body {
	ASN1_INTEGER *version;
	X509_NAME *subject;
	struct spki *spki;
	STACK_OF(X509_ATTRIBUTE) *attributes;
};
struct csr_body *csr_body_parse(const void *data, size_t len);
struct csr_body *csr_body_new(void);
GBytes *csr_body_format(const struct csr_body *body);
void csr_body_free(struct csr_body *body);
typedef struct csr_body csr_body;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(csr_body, csr_body_free)

/* A signed object taken apart; TBS holds the bytes as sent, and is wiped when freed. */
struct signed_object {
	ASN1_TYPE *tbs;
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
};
/* NULL when DATA is not one with a SEQUENCE inside, from its first byte to its last. */
struct signed_object *signed_object_parse(const void *data, size_t len);
void signed_object_free(struct signed_object *object);
typedef struct signed_object signed_object;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(signed_object, signed_object_free)

/* A certificate taken apart as far as to say whose it is, without decoding names or keys. Raw fields hold the bytes as sent. */
struct cert_body {
	ASN1_INTEGER *version, *serial;
	ASN1_TYPE *signature_algorithm, *issuer, *validity, *subject, *spki;
	ASN1_BIT_STRING *issuer_id, *subject_id;
	ASN1_TYPE *extensions;
};
struct cert_outline {
	struct cert_body *body;
	ASN1_TYPE *algorithm;
	ASN1_BIT_STRING *signature;
};
/* NULL when DATA is not one certificate from its first byte to its last. */
struct cert_outline *cert_outline_parse(const void *data, size_t len);
void cert_outline_free(struct cert_outline *outline);
typedef struct cert_outline cert_outline;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cert_outline, cert_outline_free)

/* A certificate read as OpenSSL's own type reads it, all but the key. */
struct cert_whole_body {
	ASN1_INTEGER *version, *serial;
	X509_ALGOR *algorithm;
	X509_NAME *issuer;
	X509_VAL *validity;
	X509_NAME *subject;
	struct spki *spki;
	ASN1_BIT_STRING *issuer_id, *subject_id;
	STACK_OF(X509_EXTENSION) *extensions;
};
struct cert_whole {
	struct cert_whole_body *body;
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
};
/* NULL when DATA is not one certificate in DER, from its first byte to its last. */
struct cert_whole *cert_whole_parse(const void *data, size_t len);
void cert_whole_free(struct cert_whole *cert);
typedef struct cert_whole cert_whole;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cert_whole, cert_whole_free)

/* DATA → the structure of ITEM, transfer full; NULL unless it is that and nothing else. At most ASN1_PARSE_MAX bytes. */
enum { ASN1_PARSE_MAX = 64 << 20 };
void *asn1_parse(const void *data, size_t len, const ASN1_ITEM *item);
/* VALUE as DER, transfer full; NULL when it cannot be encoded. */
GBytes *asn1_format(const void *value, const ASN1_ITEM *item);
/* The upper-case hex of an INTEGER's bytes, a minus before negative ones; transfer full. */
char *asn1_serial_text(const ASN1_INTEGER *serial);
/* A string of any ASN.1 type as UTF-8 without NUL, transfer full; NULL when it has another form. */
char *asn1_text(const ASN1_STRING *string);
/* UTCTime or GeneralizedTime → Unix seconds; false for anything else. */
bool asn1_time_to_unix(const ASN1_TIME *time, int64_t *ret);
/* A SEQUENCE whose bytes are already made, transfer full. */
ASN1_TYPE *raw_sequence(const void *der, size_t len);
/* What ASN1_STRING or a raw ASN1_TYPE holds, transfer full. */
GBytes *string_bytes(const ASN1_STRING *string);
/* AlgorithmIdentifier of a signature: NULL parameters for RSA, none for ECDSA (RFC 4055 §5, RFC 5758 §3.2). */
X509_ALGOR *signature_algorithm_new(int signature_nid);
/* LEN whole bytes of a signature into STRING. */
void signature_set(ASN1_BIT_STRING *string, const void *signature, size_t len);
/* MD5 and older. */
bool is_outdated_digest(int nid);
/* The hex of a serial number (1 to CERT_SERIAL_MAX bytes) into SERIAL; false when it is not that. */
bool asn1_serial_set(ASN1_INTEGER *serial, const char *hex);
/* The key identifier by which certificates of ISSUER name it: its subjectKeyIdentifier, or made of its key. NULL when it has no key. */
AUTHORITY_KEYID *authority_key_id_new(X509 *issuer);
/* RFC 2253 in UTF-8, transfer full. */
char *cert_name_text(const X509_NAME *name);
/* The first value of the attribute NID; transfer full or NULL. */
char *cert_name_entry(const X509_NAME *name, int nid);
/* Whether the key is RSA from 1024 bits on with an odd exponent from 65537 on, or EC on a named P-256, P-384 or P-521
 * (POM_ERR_KEY_WEAK). */
bool cert_key_check(EVP_PKEY *key, GError **error) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIGNUM, BN_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_OBJECT, ASN1_OBJECT_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_INTEGER, ASN1_INTEGER_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_TYPE, ASN1_TYPE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_ALGOR, X509_ALGOR_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_ATTRIBUTE, X509_ATTRIBUTE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GENERAL_NAMES, GENERAL_NAMES_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_BIT_STRING, ASN1_BIT_STRING_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_TIME, ASN1_TIME_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AUTHORITY_KEYID, AUTHORITY_KEYID_free)

/* Bits of KeyUsage (RFC 5280 §4.2.1.3), most important first. */
enum { USAGE_SIGN = 1 << 0, USAGE_ENCIPHER = 1 << 2, USAGE_CA = 1 << 5 | 1 << 6 };
ASN1_BIT_STRING *key_usage_new(unsigned usage);
/* PATH_LEN < 0: no limit. */
BASIC_CONSTRAINTS *basic_constraints_new(bool is_ca, int path_len);
/* Lists up to NULL, or NULL each. NULL when a text is not what its list says, or there are too many; empty when all are. */
GENERAL_NAMES *alternative_names_new(const char *const *dns_names, const char *const *ip_addresses, const char *const *uris, const char *const *emails);
/* NULL when URL is not printable ASCII without spaces, or too long. */
GENERAL_NAME *uri_name_new(const char *url);
