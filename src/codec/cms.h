/* CMS (RFC 5652) from outside: a bounded walk before OpenSSL sees a byte, signed data in the forms that Apple devices and
 * SCEP clients send, and the fast reader for Mdm-Signature.
 *
 * Apple sends BER: indefinite lengths and constructed OCTET STRINGs. Signatures come with and without signed attributes,
 * with SHA-1 to SHA-512, RSA PKCS#1 v1.5, RSA-PSS or ECDSA, signer named by issuer and serial or by key identifier.
 * Content is always taken as binary (CMS_BINARY). Nothing here builds a chain: who the signer is, is the caller's question. */
#pragma once

#include "codec/cert.h"

enum cms_kind { CMS_KIND_SIGNED, CMS_KIND_ENVELOPED };

/* Walks BER or DER without allocating and refuses what no peer of ours sends: another content type than KIND, depth over
 * 24, more than MAX_BYTES, more than 8 recipients, 8 certificates or 1 signer, recipients other than key transport, digest
 * MD2/4/5, a content cipher that is not AES-128/192/256-CBC, 3DES-EDE-CBC or (left to the caller's policy) single DES-CBC, AuthEnvelopedData, bytes after the end, lengths
 * that overrun. POM_ERR_CMS_MALFORMED, _CMS_LIMIT, _CMS_ALGORITHM. */
bool cms_check(const void *data, size_t len, enum cms_kind kind, size_t max_bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A signed message whose signature has been verified with the key in the embedded signer certificate. */
struct cms_signed {
	GBytes *content;         /* eContent; NULL when detached or absent */
	X509 *signer;            /* owned */
	GBytes *signer_der;
	GPtrArray *certificates; /* all embedded ones, GBytes of DER */
	int digest_nid;
	CMS_ContentInfo *cms;    /* owned; for signed attributes */
};
/* DATA → verified struct, transfer full. DETACHED (may be NULL) is the content for detached signatures. The signer
 * certificate is chosen by the signer identifier among the embedded ones. POM_ERR_CMS_*; a wrong signature or digest is
 * POM_ERR_CMS_SIGNATURE; a signer key under 1024 bits or MD5 POM_ERR_CMS_ALGORITHM. MAX_BYTES bounds DATA. */
struct cms_signed *cms_signed_parse(const void *data, size_t len, const void *detached, size_t detached_len, size_t max_bytes,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void cms_signed_free(struct cms_signed *signed_data);
typedef struct cms_signed cms_signed;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cms_signed, cms_signed_free)

/* The Mdm-Signature header: read once without decoding any key, so that the key can come from a cache. */
struct cms_detached {
	GBytes *signer_der;                     /* the signer's certificate, as sent */
	uint8_t signer_sha256[CERT_DIGEST_LEN]; /* of signer_der */
	int digest_nid;                         /* SHA-1, -256, -384, -512 */
	int key_type;                           /* EVP_PKEY_RSA or EVP_PKEY_EC, as the signature algorithm says */
	bool pss;                               /* RSASSA-PSS */
	GBytes *signature;
	GBytes *signed_attrs;                   /* DER of the SET to be hashed; NULL when there are none */
	GBytes *message_digest;                 /* attribute's value when there are signed attributes */
	GBytes *whole;                          /* the message, for forms that the templates do not take */
	bool slow;                              /* only whole, signer_der and digest_nid are set: verified by CMS_verify */
};
/* Binary CMS (already base64-decoded) of at most 16 KiB → struct, transfer full. Uses ASN.1 templates over the BER; anything
 * they do not take (key-identifier signers, PSS with unusual parameters, …) becomes a "slow" struct if cms_check allows it. */
struct cms_detached *cms_detached_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Verifies over the exact CONTENT with KEY (the key of signer_der, which the caller may cache). POM_ERR_CMS_SIGNATURE. Any
 * thread; KEY is only read. */
bool cms_detached_verify(const struct cms_detached *detached, EVP_PKEY *key, const void *content, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What verifies with one key again and again: OpenSSL looks its algorithms up once, not with each signature. */
typedef struct cms_verifier cms_verifier;
struct cms_verifier *cms_verifier_new(EVP_PKEY *key);
/* NULL is nothing. */
void cms_verifier_free(struct cms_verifier *verifier);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cms_verifier, cms_verifier_free)
/* cms_detached_verify, accepting and refusing the same. VERIFIER serves one thread at a time. */
bool cms_detached_verify_by(const struct cms_detached *detached, struct cms_verifier *verifier, const void *content, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void cms_detached_free(struct cms_detached *detached);
typedef struct cms_detached cms_detached;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cms_detached, cms_detached_free)

/* What an EnvelopedData says of itself, without decrypting. */
struct cms_recipient {
	GBytes *issuer_der;  /* NULL when named by key identifier */
	char *serial;        /* upper-case hex as in cert_info */
	GBytes *key_id;
	bool oaep;           /* RSAES-OAEP; else RSAES-PKCS1-v1_5 */
	int oaep_digest_nid, oaep_mgf_nid;
	GBytes *encrypted_key;
};
struct cms_enveloped {
	int cipher_nid;          /* NID_aes_128_cbc, NID_des_ede3_cbc, NID_des_cbc, … */
	GBytes *iv;
	GBytes *ciphertext;
	GPtrArray *recipients;   /* struct cms_recipient */
};
struct cms_enveloped *cms_enveloped_parse(const void *data, size_t len, size_t max_bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void cms_enveloped_free(struct cms_enveloped *enveloped);
typedef struct cms_enveloped cms_enveloped;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cms_enveloped, cms_enveloped_free)
/* The recipient that names CERT, by issuer and serial number or by key identifier; borrowed, NULL when none does. So the holder of
 * several keys finds the one that a message is for. */
const struct cms_recipient *cms_recipient_for(const struct cms_enveloped *enveloped, X509 *cert);

/* EnvelopedData (ContentInfo DER) from parts already made: the key was encrypted and the content enciphered by the caller, who
 * has the randomness. RECIPIENT is the certificate (DER) of whom it is for, named by issuer and serial; PKCS#1 v1.5 or OAEP as in
 * RECIPIENT_LIKE (NULL: v1.5). transfer full; NULL when RECIPIENT is no certificate. */
GBytes *cms_enveloped_format(GBytes *recipient, const struct cms_recipient *recipient_like, GBytes *encrypted_key, int cipher_nid,
                             const uint8_t *iv, size_t iv_len, GBytes *ciphertext);
/* A certs-only SignedData (degenerate: no signers, no content) of DER certificates, transfer full; POM_ERR_CERT_MALFORMED. */
GBytes *cms_certs_only_format(GBytes *const *certificates, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its reverse: GBytes of DER each, transfer full. */
GPtrArray *cms_certs_only_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same with CRLs in place of certificates (the content of a GetCRL reply, RFC 8894 §4.6), transfer full; POM_ERR_CERT_MALFORMED. */
GBytes *cms_crls_only_format(GBytes *const *crls, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its reverse: GBytes of DER each, at least one, at most 8 of 32 MiB together; transfer full. Certificates are passed over. POM_ERR_CMS_*. */
GPtrArray *cms_crls_only_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The pieces of a SignedData to be signed by someone who holds the key: signed attributes (contentType, messageDigest,
 * signingTime if ≥ 0, and EXTRA: DER of further Attributes, each one Attribute) as a DER SET, whose bytes are what is signed. */
GBytes *cms_signed_attrs_format(const void *content, size_t len, bool has_content, int digest_nid, int64_t signing_time, GBytes *const *extra, size_t n_extra);
/* Puts them together: ContentInfo DER, transfer full. SignerInfo names SIGNER by issuer and serial; signatureAlgorithm is
 * rsaEncryption for RSA (strongSwan refuses sha256WithRSAEncryption there) or ecdsa-with-SHA2. CONTENT NULL: eContent absent.
 * CERTIFICATES are embedded in this order sorted as DER SET OF demands. */
GBytes *cms_signed_format(const void *content, size_t len, X509 *signer, int digest_nid, GBytes *signed_attrs, const void *signature, size_t signature_len,
                          GBytes *const *certificates, size_t n_certificates, GError **error) G_GNUC_WARN_UNUSED_RESULT;
