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
	plain = plist_format(content, error);
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

plist *profile_decrypt(const plist *profile, struct signer *key, X509 *cert, const struct pom_random *random, GError **error)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(profile, ENCRYPTED_KEY), &len);
	g_autoptr(cms_enveloped) enveloped = NULL;
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(plist) content = NULL;
	gsize plain_len;
	plist *made;

	if (!data) {
		pom_fail(error, POM_ERR_PROFILE, "there is no EncryptedPayloadContent: the profile is not encrypted");
		return NULL;
	}
	enveloped = cms_enveloped_parse(data, len, ENCRYPTED_MAX, error);
	plain = enveloped ? cms_open_enveloped(key, cert, enveloped, random, error) : NULL;
	if (!plain)
		return NULL;
	data = g_bytes_get_data(plain, &plain_len);
	content = plist_parse(data, plain_len, NULL, error);
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
