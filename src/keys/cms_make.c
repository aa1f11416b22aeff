#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <string.h>

#include "keys/keys.h"

GBytes *cms_make_signed(struct signer *signer, X509 *cert, const void *content, size_t len, bool has_content, int digest_nid, int64_t signing_time,
                        GBytes *const *extra_attributes, size_t n_extra, GBytes *const *certificates, size_t n_certificates, GError **error)
{
	g_autoptr(GBytes) attributes = cms_signed_attrs_format(content, len, has_content, digest_nid, signing_time, extra_attributes, n_extra);
	g_autoptr(GBytes) signature = signer_sign(signer, digest_nid, g_bytes_get_data(attributes, NULL), g_bytes_get_size(attributes), error);

	if (!signature)
		return NULL;
	return cms_signed_format(has_content ? (content ? content : "") : NULL, len, cert, digest_nid, attributes, g_bytes_get_data(signature, NULL),
	                         g_bytes_get_size(signature), certificates, n_certificates, error);
}

static EVP_CIPHER *fetch(int cipher_nid)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, OBJ_nid2sn(cipher_nid), NULL);

	ERR_clear_error();
	return cipher;
}

typedef EVP_CIPHER evp_cipher;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(evp_cipher, EVP_CIPHER_free)

bool keys_has_cipher(int cipher_nid)
{
	g_autoptr(evp_cipher) cipher = fetch(cipher_nid);

	return cipher != NULL;
}

bool keys_load_legacy(GError **error)
{
	/* For the life of the process. */
	static OSSL_PROVIDER *standard, *legacy;

	/* Loading any provider by hand switches the default one's automatic loading off. */
	standard = standard ? standard : OSSL_PROVIDER_load(NULL, "default");
	legacy = legacy ? legacy : OSSL_PROVIDER_load(NULL, "legacy");
	if (standard && legacy)
		return true;
	ERR_clear_error();
	return pom_fail(error, POM_ERR_CONFIG, "OpenSSL's legacy provider cannot be loaded: single DES is not available on this system");
}

/* The content key encrypted to the recipient. */
static GBytes *wrap(EVP_PKEY *public_key, const struct cms_recipient *like, const uint8_t *key, size_t len, GError **error)
{
	g_autoptr(EVP_PKEY_CTX) ctx = NULL;
	uint8_t out[1024];
	size_t n = sizeof(out);
	bool ok;

	if (!public_key || EVP_PKEY_get_base_id(public_key) != EVP_PKEY_RSA || EVP_PKEY_get_size(public_key) > (int)sizeof(out)) {
		pom_fail(error, POM_ERR_CMS_ALGORITHM, "the recipient's certificate has no RSA key: nothing can be encrypted to it");
		return NULL;
	}
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, public_key, NULL);
	ok = ctx && EVP_PKEY_encrypt_init(ctx) > 0;
	if (ok && like && like->oaep)
		ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
		     EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_get_digestbynid(like->oaep_digest_nid)) > 0 &&
		     EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_get_digestbynid(like->oaep_mgf_nid)) > 0;
	else if (ok)
		ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
	if (ok && EVP_PKEY_encrypt(ctx, out, &n, key, len) > 0)
		return g_bytes_new(out, n);
	ERR_clear_error();
	pom_fail(error, POM_ERR_CMS_ALGORITHM, "the content key could not be encrypted to the recipient");
	return NULL;
}

/* CBC over the whole of IN; NULL when the padding is wrong. What was decrypted is wiped when freed. */
static GBytes *run_cipher(const EVP_CIPHER *cipher, bool encrypt, const uint8_t *key, const uint8_t *iv, const void *in, size_t len)
{
	g_autoptr(EVP_CIPHER_CTX) ctx = EVP_CIPHER_CTX_new();
	g_autofree uint8_t *out = g_malloc(len + EVP_MAX_BLOCK_LENGTH);
	int n = 0, m = 0;
	bool ok = EVP_CipherInit_ex(ctx, cipher, NULL, key, iv, encrypt) == 1 && EVP_CipherUpdate(ctx, out, &n, in, (int)len) == 1 &&
	          EVP_CipherFinal_ex(ctx, out + n, &m) == 1;
	GBytes *bytes = NULL;

	ERR_clear_error();
	if (encrypt)
		return ok ? g_bytes_new_take(g_steal_pointer(&out), (size_t)(n + m)) : NULL;
	if (ok)
		bytes = secret_bytes_new(out, (size_t)(n + m));
	OPENSSL_cleanse(out, len + EVP_MAX_BLOCK_LENGTH);
	return bytes;
}

GBytes *cms_make_enveloped(X509 *recipient, const struct cms_recipient *like, int cipher_nid, const void *content, size_t len,
                           const struct pom_random *random, GError **error)
{
	g_autoptr(GBytes) der = cert_format_der(recipient);

	return cms_make_enveloped_to(der, X509_get0_pubkey(recipient), like, cipher_nid, content, len, random, error);
}

GBytes *cms_make_enveloped_to(GBytes *recipient_der, EVP_PKEY *public_key, const struct cms_recipient *like, int cipher_nid, const void *content, size_t len,
                              const struct pom_random *random, GError **error)
{
	g_autoptr(evp_cipher) cipher = fetch(cipher_nid);
	g_autoptr(GBytes) wrapped = NULL, ciphertext = NULL;
	uint8_t key[EVP_MAX_KEY_LENGTH], iv[EVP_MAX_IV_LENGTH];
	size_t key_len, iv_len;

	if (!cipher) {
		pom_fail(error, POM_ERR_CMS_ALGORITHM, "the content cipher %s is not available", OBJ_nid2sn(cipher_nid));
		return NULL;
	}
	key_len = (size_t)EVP_CIPHER_get_key_length(cipher);
	iv_len = (size_t)EVP_CIPHER_get_iv_length(cipher);
	pom_random_fill(random, key, key_len);
	pom_random_fill(random, iv, iv_len);
	wrapped = wrap(public_key, like, key, key_len, error);
	ciphertext = wrapped ? run_cipher(cipher, true, key, iv, content, len) : NULL;
	OPENSSL_cleanse(key, sizeof(key));
	if (!ciphertext) {
		if (wrapped)
			pom_fail(error, POM_ERR_CMS_ALGORITHM, "encryption failed");
		return NULL;
	}
	return cms_enveloped_format(recipient_der, like, wrapped, cipher_nid, iv, iv_len, ciphertext);
}

GBytes *cms_open_enveloped_with(struct signer *signer, const struct cms_recipient *recipient, const struct cms_enveloped *enveloped, const struct pom_random *random,
                                GError **error)
{
	g_autoptr(evp_cipher) cipher = fetch(enveloped->cipher_nid);
	bool unavailable = false;
	g_autoptr(GBytes) key = recipient ? signer_unwrap(signer, recipient, &unavailable) : NULL;
	GBytes *content = NULL;
	uint8_t used[EVP_MAX_KEY_LENGTH];
	gsize ciphertext_len;
	const void *ciphertext = g_bytes_get_data(enveloped->ciphertext, &ciphertext_len);

	if (unavailable) {
		pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key could not be used: its token does not answer, or does not decrypt (CKM_RSA_X_509)");
		return NULL;
	}
	pom_random_fill(random, used, sizeof(used));
	if (cipher && key && g_bytes_get_size(key) == (gsize)EVP_CIPHER_get_key_length(cipher))
		memcpy(used, g_bytes_get_data(key, NULL), g_bytes_get_size(key));
	if (cipher && enveloped->iv && g_bytes_get_size(enveloped->iv) == (gsize)EVP_CIPHER_get_iv_length(cipher))
		content = run_cipher(cipher, false, used, g_bytes_get_data(enveloped->iv, NULL), ciphertext, ciphertext_len);
	OPENSSL_cleanse(used, sizeof(used));
	if (!content)
		pom_fail(error, POM_ERR_CMS_DECRYPT, "the message cannot be decrypted");
	return content;
}

GBytes *cms_open_enveloped(struct signer *signer, X509 *cert, const struct cms_enveloped *enveloped, const struct pom_random *random, GError **error)
{
	const struct cms_recipient *recipient = cms_recipient_for(enveloped, cert);

	if (!recipient && enveloped->recipients->len == 1)
		recipient = enveloped->recipients->pdata[0];
	return cms_open_enveloped_with(signer, recipient, enveloped, random, error);
}
