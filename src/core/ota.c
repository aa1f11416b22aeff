#include "core/ota.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { TEXT_MAX = 1024, NAME_MAX_LEN = 64, WANTED_MAX = 32, TOKEN_MAX = 1024, RSA_BITS_MIN = 1024 };

/* As published in Apple's certificates. Compare with https://www.apple.com/certificateauthority/. */
const struct apple_key apple_keys[] = {
	{"Apple iPhone Device CA", APPLE_DEVICE_CA,
	 "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDxlErJ6rpaGGCty6JNTU5UGWkXWQdmy5foZppHX0auZ3q1SnNUscsE9r02uAxVOIqEgzFSZfkz4Zd3nCtMJrAlP+kyqnsIdJTswUs4"
	 "HWdOCFKUWotZo1zXk/Sg/lWFu0xGl15usndFL2dcvAsYv1m5bIb3KnV20hlx9CljuSULrwIDAQAB",
	 "13686ec675f9fd26a123adb17b5533f593cf451edd6105ae39b748277a3922e5"},
	{"Apple iPhone Certification Authority", APPLE_OTHER_CA,
	 "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAox6+8EfAtJ4QW0akuCG4T4YhcChFYFwcw8gKZGOI+/xp7vhU/OlbtwZOBC/DazOvREzqS4AJtIf2W7T9ZN2zcuATs/0X2bzn"
	 "qO3CjGHCKvnszqVe1mnrZAuNCI+4oFBGCdwZ5OWwlG2795mYxOibQU7U8WXjG1J63OgD2W4d2hBVhqQpWEkM6kfXFTQz9sCgREpwviy1KjA3jC4V69HkbJc4VVaxNStY6kSjJoXuyGZK"
	 "5M+J8D1jrSnerbpas9ylo5qnCU6AFjVlpIUNY3s+Y4rafUpG7KM5GDS5xihlGLwTYJx/V6wUyYntobaHaFK2hE64yIPs+Z4Zq7PBC4bHnwIDAQAB",
	 "74b67db15c23cc36ab2a356bd1ec2dcb27542e5509b757a9162dbbbe424a4e7c"},
	{"Apple Root CA", APPLE_OTHER_CA,
	 "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5JGpCR+R2x5HUOsF7V55hC3rNqJXTFXsixmJ3vlLbPUHqyIwAugYPvhQCdN/QaiY+dHKZpwkaxHQo7vkGyrDH5WeegykR4tb"
	 "1BY3M8vED03OFGnRyRly9V0O1X9fm/IlA7pVj01dDfFkNSMVSxVZHbOU9/acns9QusFYUGePCLQg98usLCBvcLY/ATCMt0PPD5098ytJKBrI/s61uQ7ZXhzWyz21Oq30Dw4AkguxIRYu"
	 "dNU8DdtiFqujcZJHU1XBry9Bs/j743DN5qNMRX4fTGtQlkGJxHRiCxCDQYczioGxMFjsWgQyjGizjx3eZXP/Z15lvEnYdp8zFGWhd5TJLQIDAQAB",
	 "eb4993efa9b089e593418aa893f8e93a7374d810e52fcbe01e7f1d7e92a6d024"},
};
const size_t n_apple_keys = G_N_ELEMENTS(apple_keys);

const struct apple_key *apple_key_find(const uint8_t spki_sha256[CERT_DIGEST_LEN])
{
	g_autofree char *hex = hex_format(spki_sha256, CERT_DIGEST_LEN);

	for (size_t i = 0; i < n_apple_keys; i++)
		if (!strcmp(apple_keys[i].spki_sha256, hex))
			return &apple_keys[i];
	return NULL;
}

static EVP_PKEY *read_key(const char *spki)
{
	gsize len;
	g_autofree guchar *der = g_base64_decode(spki, &len);
	const uint8_t *p = der;

	return d2i_PUBKEY(NULL, &p, (long)len);
}

const struct apple_key *apple_key_issuer(const struct apple_key *keys, size_t n, X509 *leaf)
{
	const struct apple_key *found = NULL;

	for (size_t i = 0; i < n && !found; i++) {
		g_autoptr(EVP_PKEY) key = keys[i].role == APPLE_DEVICE_CA ? read_key(keys[i].spki) : NULL;

		/* No chain is built, so no security level and no date of the CA is in the way. */
		if (key && X509_verify(leaf, key) == 1)
			found = &keys[i];
	}
	ERR_clear_error();
	return found;
}

bool ota_check_leaf(const struct cert_info *leaf, GError **error)
{
	if (!leaf->is_ca)
		return true;
	return pom_fail(error, POM_ERR_OTA_SIGNER, "the signer \"%.200s\" is a CA itself, which no device is", leaf->subject);
}

bool device_ca_check(X509 *cert, const struct cert_info *info, GError **error)
{
	const struct apple_key *apple = apple_key_find(info->spki_sha256);

	if (apple && apple->role == APPLE_DEVICE_CA)
		return pom_fail(error, POM_ERR_DEVICE_CA, "%s is built in: it need not be added", apple->name);
	if (apple)
		return pom_fail(error, POM_ERR_DEVICE_CA, "%s stands above much more than devices: every developer's certificate chains to Apple's root, so whoever has one could pass for a device", apple->name);
	if (!info->is_ca || X509_check_ca(cert) != 1 || (info->key_usage != UINT32_MAX && !(info->key_usage & KU_KEY_CERT_SIGN)))
		return pom_fail(error, POM_ERR_DEVICE_CA, "\"%.200s\" is no CA certificate (RFC 5280 sections 4.2.1.3 and 4.2.1.9)", info->subject);
	if (info->key_type == EVP_PKEY_RSA ? info->key_bits < RSA_BITS_MIN : info->key_type != EVP_PKEY_EC)
		return pom_fail(error, POM_ERR_DEVICE_CA, info->key_type == EVP_PKEY_RSA ? "the RSA key has %d bits, at least %d are needed" : "the key (%d bits) is neither RSA from %d bits on nor EC", info->key_bits, RSA_BITS_MIN);
	return true;
}

/* ---- what the device says ---- */

static bool take_text(const plist *tree, const char *key, const char **ret, GError **error)
{
	const plist *node = plist_dict_get(tree, key);
	const char *text = plist_get_string(node);

	if (!node)
		return true;
	if (!text)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "%s is a %s, must be a string", key, plist_type_name(plist_get_type(node)));
	if (!*text || strlen(text) > CHECKIN_ID_MAX)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "%s must have 1 to %d bytes", key, CHECKIN_ID_MAX);
	*ret = text;
	return true;
}

static bool take_token(const plist *tree, struct ota_attributes *a, GError **error)
{
	const plist *node = plist_dict_get(tree, "PAIRING_TOKEN");

	if (!node)
		return true;
	a->pairing_token = plist_get_data(node, &a->pairing_token_len);
	if (plist_get_type(node) == PLIST_DATA && a->pairing_token_len && a->pairing_token_len <= TOKEN_MAX)
		return true;
	return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "PAIRING_TOKEN must be data of 1 to %d bytes", TOKEN_MAX);
}

bool ota_attributes_parse(const plist *tree, struct ota_attributes *ret, GError **error)
{
	struct ota_attributes a = {0};

	if (plist_get_type(tree) != PLIST_DICT)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "the signed content is no dictionary");
	if (plist_count(tree) > OTA_ATTRIBUTES_MAX)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "there are %zu attributes, at most %d are read", plist_count(tree), OTA_ATTRIBUTES_MAX);
	if (!take_text(tree, "UDID", &a.udid, error) || !take_text(tree, "SERIAL", &a.serial, error) || !take_text(tree, "PRODUCT", &a.product, error) ||
	    !take_text(tree, "CHALLENGE", &a.challenge, error) || !take_token(tree, &a, error))
		return false;
	if (!a.udid && !a.serial)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "neither UDID nor SERIAL is there: the device cannot be told from others");
	*ret = a;
	return true;
}

static json_t *scalar(const plist *node)
{
	const char *text = plist_get_string(node);
	int64_t integer;
	bool yes;

	if (text && strlen(text) <= TEXT_MAX)
		return json_string(text);
	if (plist_get_boolean(node, &yes))
		return json_boolean(yes);
	return plist_get_integer(node, &integer) ? json_integer(integer) : NULL;
}

char *ota_attributes_format(const plist *tree)
{
	static const char *const secrets[] = {"CHALLENGE", "PAIRING_TOKEN", NULL};
	g_autoptr(json_t) o = json_object();
	g_autoptr(GBytes) text = NULL;

	for (size_t i = 0; i < plist_count(tree); i++) {
		const char *key = plist_dict_key(tree, i);
		json_t *value = g_strv_contains(secrets, key) || strlen(key) > NAME_MAX_LEN ? NULL : scalar(plist_child(tree, i));

		if (value)
			json_object_set_new(o, key, value);
	}
	text = json_format(o);
	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

const char *ota_device_id(const struct ota_attributes *attributes)
{
	return attributes->udid ? attributes->udid : attributes->serial;
}

static bool is_attribute_name(const char *name)
{
	return strlen(name) <= NAME_MAX_LEN && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(name);
}

char **ota_wanted_parse(const char *setting, GError **error)
{
	g_auto(GStrv) words = g_strsplit_set(setting, " ,\t", -1);
	g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(wanted, g_strdup("UDID"));
	g_ptr_array_add(wanted, g_strdup("SERIAL"));
	for (char **word = words; *word; word++) {
		if (!**word || g_ptr_array_find_with_equal_func(wanted, *word, g_str_equal, NULL))
			continue;
		if (!is_attribute_name(*word) || wanted->len == WANTED_MAX) {
			pom_fail(error, POM_ERR_CONFIG, "enroll.device_attributes: \"%.64s\" is %s", *word, wanted->len == WANTED_MAX ? "one too many" : "no name of an attribute, such as UDID or OS_VERSION");
			return NULL;
		}
		g_ptr_array_add(wanted, g_strdup(*word));
	}
	g_ptr_array_add(wanted, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&wanted), FALSE);
}

/* ---- the rules ---- */

static bool is_same(const char *a, const char *b)
{
	return !g_strcmp0(a, b);
}

static bool check_challenge(const struct ota_attributes *attributes, const char *challenge, GError **error)
{
	size_t len = strlen(challenge);

	if (!attributes->challenge)
		return pom_fail(error, POM_ERR_OTA_CHALLENGE, "CHALLENGE is missing: the device did not answer the Profile Service of this link");
	if (strlen(attributes->challenge) == len && !CRYPTO_memcmp(attributes->challenge, challenge, len))
		return true;
	return pom_fail(error, POM_ERR_OTA_CHALLENGE, "CHALLENGE is not that of this link");
}

bool ota_decide_identify(const struct ota_attributes *attributes, const char *challenge, const uint8_t factory_spki_sha256[CERT_DIGEST_LEN], const struct ota_facts *facts, bool *ret_again, GError **error)
{
	bool same_key, same_ids;

	if (!check_challenge(attributes, challenge, error))
		return false;
	*ret_again = facts->bound;
	if (!facts->bound)
		return true;
	same_key = !memcmp(facts->factory_spki_sha256, factory_spki_sha256, CERT_DIGEST_LEN);
	same_ids = is_same(facts->udid, attributes->udid) && is_same(facts->serial, attributes->serial);
	if (!same_key && same_ids)
		return pom_fail(error, POM_ERR_OTA_BOUND, "a device says that it is %.128s, to which the link is bound, but it has another factory key", ota_device_id(attributes));
	if (!same_key || !same_ids)
		return pom_fail(error, POM_ERR_OTA_BOUND, "the link is bound to device %.128s, this is %.128s%s", facts->udid ? facts->udid : facts->serial, ota_device_id(attributes), same_key ? " by the same factory key" : "");
	if (facts->n_identities >= OTA_IDENTITIES_MAX)
		return pom_fail(error, POM_ERR_OTA_LIMIT, "the device has asked for an identity %d times: make another link", OTA_IDENTITIES_MAX);
	return true;
}

static bool check_transport(const struct certificate_facts *c, const char *link_id, int64_t now_ms, GError **error)
{
	if (!c->known || c->state == CERTIFICATE_RESERVED)
		return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "the signer's certificate is not in the register of this server");
	if (!c->ota_link_id)
		return pom_fail(error, POM_ERR_OTA_PHASE, "certificate %s is %s, and was not given for fetching a profile over the air", c->serial, c->enrollment_id || c->may_enroll ? "an MDM identity" : "for something else");
	if (!is_same(c->ota_link_id, link_id))
		return pom_fail(error, POM_ERR_OTA_PHASE, "certificate %s was given for link %s", c->serial, c->ota_link_id);
	if (c->state == CERTIFICATE_REVOKED)
		return pom_fail(error, POM_ERR_CERT_REVOKED, "certificate %s has been revoked", c->serial);
	if (now_ms < c->not_before_ms || now_ms > c->not_after_ms)
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "certificate %s is not valid now: begin again with the link", c->serial);
	return true;
}

bool ota_decide_enroll(const struct ota_attributes *attributes, const char *link_id, const struct certificate_facts *certificate, const struct ota_facts *facts, int64_t now_ms, GError **error)
{
	if (!check_transport(certificate, link_id, now_ms, error))
		return false;
	if (!facts->bound)
		return pom_fail(error, POM_ERR_OTA_PHASE, "no device has answered the Profile Service of this link yet");
	if (!is_same(facts->udid, attributes->udid) || !is_same(facts->serial, attributes->serial))
		return pom_fail(error, POM_ERR_OTA_BOUND, "the link is bound to device %.128s, this says that it is %.128s", facts->udid ? facts->udid : facts->serial, ota_device_id(attributes));
	return true;
}

/* ---- what is sent ---- */

plist *ota_service_build(const struct ota_service *service)
{
	g_autofree char *base = enroll_base_identifier(service->base_url), *identifier = g_strconcat(base, ".profile-service", NULL);
	g_autofree char *uuid = enroll_uuid(service->link_id, "profile-service"), *name = g_strdup_printf("%s device management", service->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Profile Service", identifier, uuid, name, "Tells your organization which device this is, and fetches the profile for it.", service->organization});
	plist *content = plist_new_dict(), *wanted = plist_new_array();

	for (const char *const *w = service->wanted; *w; w++)
		plist_array_append(wanted, plist_new_string(*w));
	plist_dict_set_string(content, "URL", service->url);
	plist_dict_set(content, "DeviceAttributes", wanted);
	plist_dict_set_string(content, "Challenge", service->challenge);
	plist_dict_set(tree, "PayloadContent", content);
	return tree;
}
