#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/refs.h"
#include "keys/keys.h"

struct signer {
	struct pom_refs refs;
	const struct signer_ops *ops;
	void *ctx;
	EVP_PKEY *public_key;
};

struct signer *signer_new(const struct signer_ops *ops, void *ctx, EVP_PKEY *public_key)
{
	struct signer *signer = g_new0(struct signer, 1);

	pom_refs_init(&signer->refs);
	signer->ops = ops;
	signer->ctx = ctx;
	signer->public_key = public_key;
	return signer;
}

struct signer *signer_ref(struct signer *signer)
{
	pom_refs_take(&signer->refs);
	return signer;
}

void signer_unref(struct signer *signer)
{
	if (!signer || !pom_refs_drop(&signer->refs))
		return;
	signer->ops->free(signer->ctx);
	EVP_PKEY_free(signer->public_key);
	g_free(signer);
}

EVP_PKEY *signer_get_key(struct signer *signer)
{
	return signer->public_key;
}

GBytes *signer_sign(struct signer *signer, int digest_nid, const void *data, size_t len, GError **error)
{
	return signer->ops->sign(signer->ctx, digest_nid, data, len, error);
}

GBytes *signer_unwrap(struct signer *signer, const struct cms_recipient *recipient, bool *ret_unavailable)
{
	*ret_unavailable = false;
	return signer->ops->unwrap(signer->ctx, recipient, ret_unavailable);
}

GBytes *signer_format(struct signer *signer, GError **error)
{
	if (signer->ops->format)
		return signer->ops->format(signer->ctx, error);
	pom_fail(error, POM_ERR_KEY, "this key cannot be written or copied: it does not leave the token that holds it");
	return NULL;
}

bool signer_sign_cert(struct signer *signer, X509 *cert, GError **error)
{
	return signer->ops->sign_cert(signer->ctx, cert, error);
}

/* Keys in memory */

static GBytes *memory_sign(void *ctx, int digest_nid, const void *data, size_t len, GError **error)
{
	g_autoptr(EVP_MD_CTX) md = EVP_MD_CTX_new();
	g_autofree uint8_t *signature = NULL;
	size_t n = 0;

	if (EVP_DigestSignInit(md, NULL, EVP_get_digestbynid(digest_nid), NULL, ctx) != 1 || EVP_DigestSign(md, NULL, &n, data, len) != 1) {
		pom_fail(error, POM_ERR_KEY, "the key cannot sign with %s", OBJ_nid2sn(digest_nid));
		return NULL;
	}
	signature = g_malloc(n);
	if (EVP_DigestSign(md, signature, &n, data, len) != 1) {
		pom_fail(error, POM_ERR_KEY, "signing failed");
		return NULL;
	}
	return g_bytes_new_take(g_steal_pointer(&signature), n);
}

static bool memory_sign_cert(void *ctx, X509 *cert, GError **error)
{
	if (X509_sign(cert, ctx, EVP_sha256()) <= 0)
		return pom_fail(error, POM_ERR_KEY, "the certificate could not be signed");
	return true;
}

static bool set_padding(EVP_PKEY_CTX *decrypt, const struct cms_recipient *recipient)
{
	if (!recipient->oaep)
		return EVP_PKEY_CTX_set_rsa_padding(decrypt, RSA_PKCS1_PADDING) > 0;
	return EVP_PKEY_CTX_set_rsa_padding(decrypt, RSA_PKCS1_OAEP_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(decrypt, EVP_get_digestbynid(recipient->oaep_digest_nid)) > 0 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md(decrypt, EVP_get_digestbynid(recipient->oaep_mgf_nid)) > 0;
}

static GBytes *memory_unwrap(void *ctx, const struct cms_recipient *recipient, bool *ret_unavailable)
{
	g_autoptr(EVP_PKEY_CTX) decrypt = EVP_PKEY_CTX_new_from_pkey(NULL, ctx, NULL);
	gsize len;
	const uint8_t *data = g_bytes_get_data(recipient->encrypted_key, &len);
	uint8_t out[1024];
	size_t n = sizeof(out);
	GBytes *key = NULL;

	if (EVP_PKEY_get_size(ctx) <= (int)sizeof(out) && decrypt && EVP_PKEY_decrypt_init(decrypt) > 0 && set_padding(decrypt, recipient) &&
	    EVP_PKEY_decrypt(decrypt, out, &n, data, len) > 0)
		key = secret_bytes_new(out, n);
	OPENSSL_cleanse(out, sizeof(out));
	ERR_clear_error();
	return key;
}

static GBytes *memory_format(void *ctx, GError **error)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(ctx);
	uint8_t *der = NULL;
	int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
	GBytes *bytes = NULL;

	if (len > 0) {
		bytes = secret_bytes_new(der, (size_t)len);
		OPENSSL_clear_free(der, (size_t)len);
	} else {
		pom_fail(error, POM_ERR_KEY, "the key cannot be written");
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	return bytes;
}

static void memory_free(void *ctx)
{
	EVP_PKEY_free(ctx);
}

struct signer *signer_new_memory(EVP_PKEY *key)
{
	static const struct signer_ops ops = {memory_sign, memory_sign_cert, memory_unwrap, memory_format, memory_free};

	EVP_PKEY_up_ref(key);
	return signer_new(&ops, key, key);
}

static struct signer *generate(EVP_PKEY *key, GError **error)
{
	if (key)
		return signer_new_memory(key);
	pom_fail(error, POM_ERR_KEY, "a new key could not be made");
	return NULL;
}

struct signer *signer_generate_rsa(unsigned bits, GError **error)
{
	return generate(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits), error);
}

struct signer *signer_generate_ec(const char *curve, GError **error)
{
	return generate(EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve), error);
}

struct secret {
	size_t len;
	uint8_t data[];
};

static void secret_free(void *ctx)
{
	struct secret *secret = ctx;

	OPENSSL_cleanse(secret->data, secret->len);
	g_free(secret);
}

GBytes *secret_bytes_new(const void *data, size_t len)
{
	struct secret *secret = g_malloc(sizeof(*secret) + len);

	secret->len = len;
	if (len)
		memcpy(secret->data, data, len);
	return g_bytes_new_with_free_func(secret->data, len, secret_free, secret);
}

struct signer *signer_parse(const void *data, size_t len, GError **error)
{
	const uint8_t *p = data;
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)len);

	ERR_clear_error();
	if (key)
		return signer_new_memory(key);
	pom_fail(error, POM_ERR_KEY, "the private key cannot be read");
	return NULL;
}

static int give_password(char *buf, int size, int rwflag, void *ctx)
{
	const char *password = ctx;

	return password && (int)strlen(password) < size ? (int)g_strlcpy(buf, password, (gsize)size) : -1;
}

struct signer *signer_parse_any(const void *data, size_t len, const char *password, GError **error)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(data, (int)MIN(len, G_MAXINT));
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)password);

	if (!key && password && BIO_reset(bio) == 1)
		key = d2i_PKCS8PrivateKey_bio(bio, NULL, give_password, (void *)password);
	ERR_clear_error();
	if (key)
		return signer_new_memory(key);
	return signer_parse(data, len, error);
}
