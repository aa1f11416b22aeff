/* X.509 certificates and PKCS#10 requests: bytes to checked structs, and unsigned certificates from a plan. Nothing here
 * signs, draws randomness or looks at the clock. OpenSSL cleanup functions for all rooms stand here too. */
#pragma once

#include <glib.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_REQ, X509_REQ_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_NAME, X509_NAME_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_MD_CTX, EVP_MD_CTX_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free_all)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CMS_ContentInfo, CMS_ContentInfo_free)

enum { CERT_DIGEST_LEN = 32, CERT_SERIAL_MAX = 20 };

/* Plain facts of a certificate; strings owned, cert_info_free. */
struct cert_info {
	uint8_t sha256[CERT_DIGEST_LEN];      /* of the DER */
	uint8_t sha1[20];                     /* of the DER */
	uint8_t spki_sha256[CERT_DIGEST_LEN]; /* of the SubjectPublicKeyInfo DER */
	char *serial;                         /* upper-case hex without leading zeros beyond whole bytes */
	char *subject, *issuer;               /* RFC 2253, UTF-8 */
	int64_t not_before, not_after;        /* Unix seconds */
	bool is_ca;
	uint32_t key_usage;                   /* KU_* bits of OpenSSL; UINT32_MAX when the extension is absent */
	uint32_t ext_key_usage;               /* XKU_* bits; UINT32_MAX when absent */
	int key_type;                         /* EVP_PKEY_RSA, EVP_PKEY_EC, … */
	int key_bits;
	int path_len;                         /* of basicConstraints; -1: none */
	char **dns_names, **ip_addresses;     /* NULL-terminated, of the subjectAltName */
	GBytes *subject_der, *issuer_der;     /* Name */
	GBytes *key_id;                       /* subjectKeyIdentifier; NULL when there is none */
	GBytes *spki;                         /* SubjectPublicKeyInfo DER */
};

/* Bytes → X509, transfer full. One DER certificate with nothing after it, at most 64 KiB; POM_ERR_CERT_MALFORMED. */
X509 *cert_parse_der(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All certificates of a PEM text, in order; DER of a single certificate is accepted too. Array of X509 (element free function
 * set), transfer full; POM_ERR_CERT_MALFORMED when there is none or one is broken. */
GPtrArray *cert_parse_all(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GBytes *cert_format_der(const X509 *cert);
char *cert_format_pem(const X509 *cert); /* NUL-terminated */

struct cert_info *cert_info_new(X509 *cert, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void cert_info_free(struct cert_info *info);
typedef struct cert_info cert_info;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cert_info, cert_info_free)

/* The push topic: UID (0.9.2342.19200300.100.1.1) of the subject; transfer full; NULL when there is none. */
char *cert_subject_uid(const X509 *cert);
/* First common name of the subject; transfer full or NULL. */
char *cert_subject_cn(const X509 *cert);
/* The same of a Name by itself. */
char *cert_name_common_name(GBytes *name_der);
/* The issuer, RFC 2253; transfer full. */
char *cert_issuer_text(const X509 *cert);

/* Whether CERT's signature was made by ISSUER's key and the names and key identifiers match. No dates, no chain, no
 * key-usage; any algorithm but MD5 and older. */
bool cert_is_issued_by(X509 *cert, X509 *issuer);
/* Whether CERT's signature was made by ISSUER's key: nothing else is looked at, and CERT's key is not decoded. For certificates that were just built for ISSUER. */
bool cert_is_signed_by(X509 *cert, X509 *issuer);

/* Finds a path from LEAF over some of the N INTERMEDIATES (any order, may be more than needed) to one of the N_ROOTS (each
 * an anchor by itself, self-signed or not) that is valid at AT_S, Unix seconds: signatures (stronger than MD5 and SHA-1), names,
 * dates of all, CA flags, key usage, path lengths, critical extensions. CA_LEAF: LEAF must be a CA itself, and the path must
 * let it issue. Reads no clock. POM_ERR_CERT_EXPIRED for a date, else POM_ERR_CERT_UNTRUSTED; the message names the
 * certificate that fails, and why (RFC 5280 §6). At most CERT_CHAIN_MAX certificates on each list. Any thread. */
enum { CERT_CHAIN_MAX = 64 };
bool cert_chain_verify(X509 *leaf, X509 *const *intermediates, size_t n, X509 *const *roots, size_t n_roots, int64_t at_s, bool ca_leaf,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for certificates that cannot be renewed, as those of a factory: no date is looked at, and SHA-1 and keys from 1,024 bits on pass; MD5 and older do not. POM_ERR_CERT_UNTRUSTED. */
bool cert_chain_verify_ageless(X509 *leaf, X509 *const *intermediates, size_t n, X509 *const *roots, size_t n_roots, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A PKCS#10 request, checked: one request, nothing after it, self-signature verified (any version 0–2: Apple sends 2),
 * RSA ≥ 1024 with e ≥ 65537 odd, or EC P-256/384/521 (whether 1024 is enough is the caller's policy). */
struct csr {
	GBytes *spki;                         /* SubjectPublicKeyInfo DER */
	uint8_t spki_sha256[CERT_DIGEST_LEN];
	EVP_PKEY *key;                        /* the same, decoded */
	int key_type, key_bits;
	char *subject;                        /* RFC 2253, "" when empty */
	char *common_name;                    /* NULL when there is none */
	GBytes *subject_der;                  /* Name */
	char *challenge;                      /* challengePassword as UTF-8; NULL when there is none */
	GBytes *extensions;                   /* requested Extensions, DER; NULL when there are none */
	int signature_digest_nid;
};
/* POM_ERR_CSR_MALFORMED, _CSR_SIGNATURE, _KEY_WEAK. Two challengePasswords or a multi-valued one are malformed. */
struct csr *csr_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for a request whose key was probably decoded before: KNOWN, of the SubjectPublicKeyInfo KNOWN_SPKI (DER), is used when the request has
 * these very bytes, and nothing is believed of it. Both may be NULL. */
struct csr *csr_parse_known(const void *data, size_t len, GBytes *known_spki, EVP_PKEY *known, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void csr_free(struct csr *csr);
typedef struct csr csr;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(csr, csr_free)

/* What a request of ours asks for; lists up to NULL, or NULL each. */
struct csr_wish {
	const char *const *dns_names, *const *ip_addresses, *const *uris, *const *emails;
	bool is_ca; /* basicConstraints CA pathlen 0, keyUsage keyCertSign+cRLSign+digitalSignature(+keyEncipherment for RSA) */
};
/* CertificationRequestInfo of version 0 (RFC 2986 §4.1), to be signed, transfer full; it holds the challenge: wipe it. CHALLENGE (1–255
 * bytes of UTF-8) and WISH may be NULL. POM_ERR_CSR_MALFORMED. */
GBytes *csr_tbs_format(GBytes *subject_der, GBytes *spki, const char *challenge, const struct csr_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The alternative names that it asks for: "dns:…", "email:…", "uri:…", "ip:…", "other:N"; array of char *, transfer full. */
GPtrArray *csr_sans(const struct csr *csr);
/* Whether two Names (DER) are equal as RFC 5280 §7.1 compares them. */
bool cert_names_match(GBytes *a, GBytes *b);

/* What an issued certificate is to be; all of it from the server's record. */
enum cert_purpose { CERT_ROOT_CA, CERT_ISSUING_CA, CERT_DEVICE, CERT_TLS_SERVER, CERT_PROFILE_SIGNER, CERT_RA, CERT_OCSP, CERT_PURPOSE_MAX };
struct cert_plan {
	enum cert_purpose purpose;
	uint8_t serial[CERT_SERIAL_MAX]; /* big-endian, positive after encoding */
	size_t serial_len;               /* 1–20 */
	GBytes *subject_der;             /* Name, as cert_name_format gives */
	GBytes *spki;                    /* SubjectPublicKeyInfo */
	int64_t not_before, not_after;   /* Unix seconds; UTCTime/GeneralizedTime is chosen by year (RFC 5280 §4.1.2.5) */
	const char *const *dns_names;    /* subjectAltName; NULL-terminated or NULL */
	const char *const *ip_addresses; /* text forms */
	const char *const *uris;
	const char *const *emails;       /* rfc822Name: ASCII with one @ */
	const char *crl_url;             /* CRL distribution point; NULL: none */
	const char *ocsp_url;            /* authorityInfoAccess: where OCSP is answered; NULL: none */
	const char *ca_issuers_url;      /* authorityInfoAccess: where the issuer's certificate is; NULL: none */
	bool no_encipherment;            /* without keyEncipherment: an issuing CA beside an RA, so that nobody encrypts to it */
};
/* PLAN → unsigned certificate, transfer full, with issuer name and AKI (key id only) from ISSUER (NULL: self-issued) and
 * the extensions of its purpose:
 *   root CA     basicConstraints CA critical; keyUsage critical keyCertSign+cRLSign+digitalSignature
 *   issuing CA  CA pathlen 0 critical; keyUsage critical keyCertSign+cRLSign+digitalSignature+keyEncipherment (K1: SCEP signs
 *               and decrypts with it) for RSA, without keyEncipherment for EC
 *   device      CA:FALSE; keyUsage critical digitalSignature(+keyEncipherment for RSA); EKU clientAuth
 *   TLS server  CA:FALSE; digitalSignature(+keyEncipherment for RSA); EKU serverAuth
 *   signer      CA:FALSE; digitalSignature; EKU emailProtection
 *   RA          CA:FALSE; keyUsage critical digitalSignature+keyEncipherment; no EKU; RSA only (clients encrypt to it)
 *   OCSP        CA:FALSE; digitalSignature; EKU OCSPSigning; id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1)
 * all with SKI. It lacks only the signature (the caller signs with the key's face). Errors: POM_ERR_CERT_MALFORMED.
 * Uses X509_PUBKEY_set0_param on the SPKI's parts, not X509_set_pubkey, which costs 200 µs. */
X509 *cert_build(const struct cert_plan *plan, X509 *issuer, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* OLD with PLAN's serial number and dates, for its issuer to sign anew: names, key and extensions stay, whoever made it. transfer full. POM_ERR_CERT_MALFORMED. */
X509 *cert_rebuild(X509 *old, const struct cert_plan *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Pairs of short name or dotted OID ("CN", "O", "2.5.4.5", "UID") and UTF-8 value up to NULL → Name DER, transfer full;
 * POM_ERR_CERT_MALFORMED for an unknown attribute or a value over its limit (X.520 ub-*: CN 64). */
GBytes *cert_name_format(GError **error, const char *attribute, ...) G_GNUC_NULL_TERMINATED G_GNUC_WARN_UNUSED_RESULT;
/* A subject as people write it → Name DER, the attributes in the order written; transfer full. "CN=Ann,O=Acme\\, Inc." with the escapes
 * of RFC 4514 §2.4 ('+' joins a multi-valued RDN, spaces around parts do not count), or OpenSSL's "/CN=Ann/O=Acme, Inc.".
 * Attributes: CN O OU C L ST STREET DC UID SN GN T serialNumber emailAddress (E) in any case, or a dotted OID of these. At
 * most 4,096 bytes and 32 attributes. POM_ERR_CERT_MALFORMED names the attribute that is unknown or has a bad value. */
GBytes *cert_subject_parse_text(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The SubjectPublicKeyInfo DER of a key. */
GBytes *cert_spki_format(EVP_PKEY *key);
/* SHA-1, -256, -384 or -512, looked up once: what EVP_sha256() gives is looked up by OpenSSL with each use. Any thread. */
const EVP_MD *digest_by_nid(int nid);
/* SHA-256 of bytes into OUT (32 bytes). */
void cert_sha256(const void *data, size_t len, uint8_t out[CERT_DIGEST_LEN]);
/* Lower-case hex, transfer full. */
char *hex_format(const void *data, size_t len);
/* Hex (even length, either case) → bytes, transfer full, or NULL. */
GBytes *hex_parse(const char *text);
