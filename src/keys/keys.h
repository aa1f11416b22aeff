/* Private keys and everything that draws randomness: one face for signing and decrypting, key making, sealing of secrets at rest,
 * CMS made for others. It stands apart from codec because codec is pure, and apart from the callers so that keys can move
 * into another process or a PKCS#11 token. */
#pragma once

#include "base/error.h"
#include "base/face.h"
#include "codec/cms.h"

/* A private key; opaque. Any thread may use it at once. */
struct signer;
typedef struct signer signer;

/* What a kind of key store implements. */
struct signer_ops {
	/* Signature over DATA with the digest: RSA PKCS#1 v1.5 or ECDSA (DER). */
	GBytes *(*sign)(void *ctx, int digest_nid, const void *data, size_t len, GError **error);
	/* Signs a certificate in place with SHA-256. */
	bool (*sign_cert)(void *ctx, X509 *cert, GError **error);
	/* RSA decryption of a content key (PKCS#1 v1.5, or OAEP as RECIPIENT says). NULL when the padding or the key is wrong; when
	 * it could not be tried at all, *ret_unavailable is set besides. */
	GBytes *(*unwrap)(void *ctx, const struct cms_recipient *recipient, bool *ret_unavailable);
	/* PKCS#8; NULL: the key does not leave its store. */
	GBytes *(*format)(void *ctx, GError **error);
	void (*free)(void *ctx);
};

/* A key held in memory; KEY transfer full. */
struct signer *signer_new_memory(EVP_PKEY *key);
/* For other stores. PUBLIC transfer full. */
struct signer *signer_new(const struct signer_ops *ops, void *ctx, EVP_PKEY *public_key);
struct signer *signer_ref(struct signer *signer);
void signer_unref(struct signer *signer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(signer, signer_unref)

/* The key's public half (a memory key gives the key itself: only for SSL_CTX_use_PrivateKey and comparing). borrowed. */
EVP_PKEY *signer_get_key(struct signer *signer);
GBytes *signer_sign(struct signer *signer, int digest_nid, const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* As in signer_ops; the result is wiped when freed. */
GBytes *signer_unwrap(struct signer *signer, const struct cms_recipient *recipient, bool *ret_unavailable);
bool signer_sign_cert(struct signer *signer, X509 *cert, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* New keys. BITS: 2048, 3072, 4096. POM_ERR_KEY. Blocks for up to seconds. */
struct signer *signer_generate_rsa(unsigned bits, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct signer *signer_generate_ec(const char *curve, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* PKCS#8 DER of a memory key (to be sealed at once; the bytes are wiped when freed) and back. POM_ERR_KEY for a key that lives elsewhere. */
GBytes *signer_format(struct signer *signer, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct signer *signer_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A PEM or DER private key as people have it (traditional, PKCS#8, encrypted with PASSWORD, which may be NULL). */
struct signer *signer_parse_any(const void *data, size_t len, const char *password, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* GBytes over memory that is wiped before it is freed. DATA is copied. */
GBytes *secret_bytes_new(const void *data, size_t len);

/* The key of the secrets at rest. */
enum { SEAL_KEY_LEN = 32, SEAL_ID_LEN = 4 };
struct seal {
	uint8_t key[SEAL_KEY_LEN];
	uint8_t id[SEAL_ID_LEN]; /* first bytes of SHA-256 of the key: tells "wrong key" from "damaged" */
	const struct pom_random *random;
};
/* Makes the key file (mode 0600; fails if it exists), synced to disk. POM_ERR_IO. */
bool seal_create_file(const char *path, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads it: POM_ERR_PERMISSION when group or others can read it, POM_ERR_IO when it is missing, POM_ERR_CONFIG when it is no key. */
bool seal_load_file(const char *path, const struct pom_random *random, struct seal *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* AES-256-GCM envelope: version 1, key id, 12 bytes of nonce, ciphertext, 16 bytes of tag. The associated data names where it
 * stands: "table/row/column". PLAIN may be empty. transfer full. */
GBytes *seal_close(const struct seal *seal, const char *table, const char *row, const char *column, const void *plain, size_t len);
/* Opens; POM_ERR_STORE_SEAL. The result is wiped when freed. */
GBytes *seal_open(const struct seal *seal, const char *table, const char *row, const char *column, GBytes *sealed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* HMAC-SHA256 (RFC 2104) of DATA. */
void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t ret[32]);
/* A key for one purpose, which LABEL names: the key of the secrets at rest does nothing but sealing itself. */
void seal_derive(const struct seal *seal, const char *label, uint8_t ret[32]);

/* CMS for others. */
/* SignedData over CONTENT (NULL with HAS_CONTENT false: eContent absent), attached, DER. SIGNING_TIME Unix seconds, <0: none. */
GBytes *cms_make_signed(struct signer *signer, X509 *cert, const void *content, size_t len, bool has_content, int digest_nid, int64_t signing_time,
                        GBytes *const *extra_attributes, size_t n_extra, GBytes *const *certificates, size_t n_certificates, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* EnvelopedData to RECIPIENT's RSA key with a fresh content key; LIKE (may be NULL) says OAEP or PKCS#1 v1.5. POM_ERR_CMS_ALGORITHM
 * when the recipient has no RSA key. */
GBytes *cms_make_enveloped(X509 *recipient, const struct cms_recipient *like, int cipher_nid, const void *content, size_t len,
                           const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for a certificate that is there as DER with its KEY (as a SCEP request has them). */
GBytes *cms_make_enveloped_to(GBytes *recipient_der, EVP_PKEY *key, const struct cms_recipient *like, int cipher_nid, const void *content, size_t len,
                              const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Decrypts with the key of SIGNER the content key of RECIPIENT, one of ENVELOPED's (cms_recipient_for), or NULL when none is for us → content,
 * transfer full, wiped when freed: it may hold a challenge. A wrong key, wrong padding, wrong content and no recipient all take
 * the same path (a random content key is used instead, RFC 3218 §2.3.2) and give the same POM_ERR_CMS_DECRYPT. Only a key store that
 * does not answer is told apart: POM_ERR_KEY_UNAVAILABLE. */
GBytes *cms_open_enveloped_with(struct signer *signer, const struct cms_recipient *recipient, const struct cms_enveloped *enveloped, const struct pom_random *random,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same with the recipient that names CERT; when none does and there is exactly one, that one is tried: clients keep old CA certificates. */
GBytes *cms_open_enveloped(struct signer *signer, X509 *cert, const struct cms_enveloped *enveloped, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the content cipher can be used at all (single DES only after keys_load_legacy). */
bool keys_has_cipher(int cipher_nid);
/* Loads OpenSSL's legacy provider (single DES for old SCEP clients). */
bool keys_load_legacy(GError **error) G_GNUC_WARN_UNUSED_RESULT;
