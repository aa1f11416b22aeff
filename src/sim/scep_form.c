#include "sim/scep_form.h"

#include <openssl/provider.h>
#include <string.h>

const struct sim_scep_form sim_scep_forms[] = {
	{.name = "ios", .text = "iOS: a throw-away signer with the key of the request and a random name, a nonce of 16 bytes, the best announced algorithms, BER",
	 .encipherment = true, .nonce_len = 16, .csr_digest = "sha256", .transport = SIM_SCEP_PKCS1},
	{.name = "macos", .text = "macOS: a throw-away signer with a key of its own, a nonce of 8 bytes, a request of version 2, SHA-1 and 3DES, BER",
	 .other_key = true, .signer_cn = "MDM SCEP SIGNER", .signer_country = "US", .nonce_len = 8, .csr_version = 2, .challenge_attribute = true,
	 .cipher = "3des", .digest = "sha1", .csr_digest = "sha1", .transport = SIM_SCEP_PKCS1},
	{.name = "modern", .text = "AES-256, SHA-256, OAEP with SHA-256, DER", .encipherment = true, .nonce_len = 16, .der = true, .cipher = "aes256", .digest = "sha256",
	 .csr_digest = "sha256", .transport = SIM_SCEP_OAEP_SHA256},
	{.name = "renaming", .text = "as ios, but its signer has another name in each message", .encipherment = true, .renames = true, .nonce_len = 16, .csr_digest = "sha256",
	 .transport = SIM_SCEP_PKCS1},
	{0},
};

const struct sim_scep_form *sim_scep_form_find(const char *name)
{
	for (const struct sim_scep_form *form = sim_scep_forms; form->name; form++)
		if (!g_strcmp0(form->name, name))
			return form;
	return NULL;
}

static bool load_legacy(void)
{
	/* To name one provider ends the loading of the default one by itself. */
	return OSSL_PROVIDER_load(NULL, "default") && OSSL_PROVIDER_load(NULL, "legacy");
}

const EVP_CIPHER *sim_scep_cipher_find(const char *name)
{
	static const struct { const char *name; const EVP_CIPHER *(*get)(void); } rows[] = {
		{"aes128", EVP_aes_128_cbc}, {"aes192", EVP_aes_192_cbc}, {"aes256", EVP_aes_256_cbc}, {"3des", EVP_des_ede3_cbc}, {"des", EVP_des_cbc},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!g_strcmp0(rows[i].name, name))
			return rows[i].get != EVP_des_cbc || load_legacy() ? rows[i].get() : NULL;
	return NULL;
}

const EVP_MD *sim_scep_digest_find(const char *name)
{
	static const struct { const char *name; const EVP_MD *(*get)(void); } rows[] = {
		{"sha1", EVP_sha1}, {"sha256", EVP_sha256}, {"sha384", EVP_sha384}, {"sha512", EVP_sha512},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!g_strcmp0(rows[i].name, name))
			return rows[i].get();
	return NULL;
}

enum sim_scep_transport sim_scep_transport_find(const char *name)
{
	static const struct { const char *name; enum sim_scep_transport transport; } rows[] = {
		{"v1.5", SIM_SCEP_PKCS1}, {"oaep", SIM_SCEP_OAEP}, {"oaep-sha256", SIM_SCEP_OAEP_SHA256},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!g_strcmp0(rows[i].name, name))
			return rows[i].transport;
	return SIM_SCEP_TRANSPORT_ANY;
}

/* ---- transactionID ---- */

/* The digest of the public key, *LEN bytes. */
static void hash_key(EVP_PKEY *key, GChecksumType type, guint8 *ret, gsize *len)
{
	unsigned char *der = NULL;
	int der_len = i2d_PublicKey(key, &der);
	GChecksum *sum = g_checksum_new(type);

	if (der_len <= 0)
		g_error("a public key cannot be written");
	g_checksum_update(sum, der, der_len);
	g_checksum_get_digest(sum, ret, len);
	g_checksum_free(sum);
	OPENSSL_free(der);
}

static char *hex_of(EVP_PKEY *key, GChecksumType type, bool upper)
{
	guint8 digest[32];
	gsize len = sizeof(digest);
	GString *hex = g_string_new(NULL);

	hash_key(key, type, digest, &len);
	for (gsize i = 0; i < len; i++)
		g_string_append_printf(hex, upper ? "%02X" : "%02x", digest[i]);
	return g_string_free(hex, FALSE);
}

static char *decimal_of(EVP_PKEY *key)
{
	guint8 digest[32];
	gsize len = sizeof(digest);
	BIGNUM *number;
	char *text, *copy;

	hash_key(key, G_CHECKSUM_SHA256, digest, &len);
	digest[0] |= 0x80; /* always of 77 or 78 digits */
	number = BN_bin2bn(digest, (int)len, NULL);
	text = number ? BN_bn2dec(number) : NULL;
	copy = g_strdup(text);
	OPENSSL_free(text);
	BN_free(number);
	return copy;
}

static char *base64_of(EVP_PKEY *key)
{
	guint8 digest[20];
	gsize len = sizeof(digest);

	hash_key(key, G_CHECKSUM_SHA1, digest, &len);
	return g_base64_encode(digest, len);
}

char *sim_scep_transaction_make(const char *name, EVP_PKEY *key)
{
	if (g_str_has_prefix(name, "text:"))
		return g_strdup(name + strlen("text:"));
	if (!strcmp(name, "apple") || !strcmp(name, "strongswan"))
		return hex_of(key, G_CHECKSUM_SHA1, !strcmp(name, "apple"));
	if (!strcmp(name, "sscep"))
		return hex_of(key, G_CHECKSUM_MD5, true);
	if (!strcmp(name, "constant"))
		return g_strdup("SSCEP transactionId");
	if (!strcmp(name, "certmonger"))
		return decimal_of(key);
	return !strcmp(name, "scepclient") ? base64_of(key) : NULL;
}
