#include "keys/profile_crypt.h"

enum { ENCRYPTED_MAX = 32 << 20 };

#define PLAIN_KEY "PayloadContent"
#define ENCRYPTED_KEY "EncryptedPayloadContent"

int profile_cipher_nid(const char *name)
{
	static const struct { const char *name; int nid; } ciphers[] = {{"aes256", NID_aes_256_cbc}, {"aes128", NID_aes_128_cbc}, {"3des", NID_des_ede3_cbc}};

	for (size_t i = 0; i < G_N_ELEMENTS(ciphers); i++)
		if (!g_strcmp0(name, ciphers[i].name))
			return ciphers[i].nid;
	return NID_undef;
}

bool profile_is_encrypted(const plist *profile)
{
	return plist_get_type(plist_dict_get(profile, ENCRYPTED_KEY)) == PLIST_DATA;
}

static bool check_recipient(X509 *recipient, GError **error)
{
	EVP_PKEY *key = X509_get0_pubkey(recipient);

	if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
		return true;
	return pom_fail(error, POM_ERR_CMS_ALGORITHM, "the certificate of the recipient has a key of type %s: profiles can be encrypted to RSA keys only. Give the device an RSA identity, or leave the profile unencrypted",
	                key ? EVP_PKEY_get0_type_name(key) : "unknown");
}

plist *profile_encrypt(const plist *profile, X509 *recipient, int cipher_nid, const struct pom_random *random, GError **error)
{
	const plist *content = plist_dict_get(profile, PLAIN_KEY);
	g_autoptr(GBytes) plain = NULL, sealed = NULL;
	plist *made;
	gsize len;
	const void *data;

	if (plist_get_type(content) != PLIST_ARRAY) {
		pom_fail(error, POM_ERR_PROFILE, profile_is_encrypted(profile) ? "the profile is encrypted already" : "PayloadContent is no array: there is nothing to encrypt");
		return NULL;
	}
	plain = check_recipient(recipient, error) ? plist_format(content, error) : NULL;
	if (!plain)
		return NULL;
	data = g_bytes_get_data(plain, &len);
	sealed = cms_make_enveloped(recipient, NULL, cipher_nid, data, len, random, error);
	if (!sealed)
		return NULL;
	made = plist_copy(profile);
	plist_dict_remove(made, PLAIN_KEY);
	data = g_bytes_get_data(sealed, &len);
	plist_dict_set_data(made, ENCRYPTED_KEY, data, len);
	return made;
}

/* The one to try with this key: who is named, or the only one there is, as an identity that was renewed with the same key has another serial number. */
static const struct cms_recipient *choose_recipient(const struct cms_enveloped *enveloped, X509 *cert, bool *ret_named)
{
	const struct cms_recipient *named = cert ? cms_recipient_for(enveloped, cert) : NULL;

	*ret_named = named != NULL;
	return named || enveloped->recipients->len != 1 ? named : enveloped->recipients->pdata[0];
}

/* For whom it is, in words; transfer full. */
static char *describe_recipients(const struct cms_enveloped *enveloped)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < enveloped->recipients->len; i++) {
		const struct cms_recipient *r = enveloped->recipients->pdata[i];
		g_autofree char *issuer = r->issuer_der ? cert_name_common_name(r->issuer_der) : NULL, *key_id = r->key_id ? hex_format(g_bytes_get_data(r->key_id, NULL), g_bytes_get_size(r->key_id)) : NULL;

		g_string_append(text, i ? ", " : "");
		if (r->serial)
			g_string_append_printf(text, "the certificate with serial number %s of \"%s\"", r->serial, issuer ? issuer : "?");
		else
			g_string_append_printf(text, "the key with identifier %s", key_id ? key_id : "?");
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static plist *refuse_recipient(const struct cms_enveloped *enveloped, GError **error)
{
	g_autofree char *whom = describe_recipients(enveloped);

	pom_fail(error, POM_ERR_PROFILE_RECIPIENT, "the key does not open the profile: it is encrypted for %s", whom);
	return NULL;
}

/* What is in the envelope, transfer full. */
static plist *open_content(const struct cms_enveloped *enveloped, struct signer *key, X509 *cert, const struct pom_random *random, GError **error)
{
	bool is_named;
	const struct cms_recipient *recipient = choose_recipient(enveloped, cert, &is_named);
	g_autoptr(GError) inner = NULL;
	g_autoptr(GBytes) plain = recipient ? cms_open_enveloped_with(key, recipient, enveloped, random, &inner) : NULL;
	plist *content = plain ? plist_parse(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), NULL, &inner) : NULL;

	if (content)
		return content;
	/* A wrong key can look like one that opened rubbish. */
	if (!recipient || g_error_matches(inner, POM_ERROR, POM_ERR_CMS_DECRYPT) || (plain && !is_named))
		return refuse_recipient(enveloped, error);
	g_propagate_error(error, g_steal_pointer(&inner));
	return NULL;
}

plist *profile_decrypt(const plist *profile, struct signer *key, X509 *cert, const struct pom_random *random, GError **error)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(profile, ENCRYPTED_KEY), &len);
	g_autoptr(cms_enveloped) enveloped = NULL;
	g_autoptr(plist) content = NULL;
	plist *made;

	if (!data) {
		pom_fail(error, POM_ERR_PROFILE_NOT_ENCRYPTED, "there is no EncryptedPayloadContent: the profile is not encrypted");
		return NULL;
	}
	if (cert && EVP_PKEY_eq(X509_get0_pubkey(cert), signer_get_key(key)) != 1) {
		pom_fail(error, POM_ERR_KEY_MISMATCH, "the private key does not belong to the certificate");
		return NULL;
	}
	enveloped = cms_enveloped_parse(data, len, ENCRYPTED_MAX, error);
	content = enveloped ? open_content(enveloped, key, cert, random, error) : NULL;
	if (!content)
		return NULL;
	if (plist_get_type(content) != PLIST_ARRAY) {
		pom_fail(error, POM_ERR_PROFILE, "EncryptedPayloadContent holds a %s, must hold the array of payloads", plist_type_name(plist_get_type(content)));
		return NULL;
	}
	made = plist_copy(profile);
	plist_dict_remove(made, ENCRYPTED_KEY);
	plist_dict_set(made, PLAIN_KEY, g_steal_pointer(&content));
	return made;
}
