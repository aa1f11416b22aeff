#include "codec/mobileconfig.h"

#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"

enum { PROFILE_MAX = 32 << 20, PAYLOADS_MAX = 1000 };

#define MDM_TYPE "com.apple.mdm"

static void set_optional(plist *dict, const char *key, const char *text)
{
	if (text)
		plist_dict_set_string(dict, key, text);
}

plist *mobileconfig_new(const struct mobileconfig_head *head)
{
	plist *dict = plist_new_dict();

	plist_dict_set_string(dict, "PayloadType", head->type);
	plist_dict_set_integer(dict, "PayloadVersion", 1);
	plist_dict_set_string(dict, "PayloadIdentifier", head->identifier);
	plist_dict_set_string(dict, "PayloadUUID", head->uuid);
	set_optional(dict, "PayloadDisplayName", head->display_name);
	set_optional(dict, "PayloadDescription", head->description);
	set_optional(dict, "PayloadOrganization", head->organization);
	return dict;
}

void mobileconfig_add(plist *profile, plist *payload)
{
	/* The profile is ours to change; only the way to its child is const. */
	plist *content = (plist *)(uintptr_t)plist_dict_get(profile, "PayloadContent");

	if (!content) {
		content = plist_new_array();
		plist_dict_set(profile, "PayloadContent", content);
	}
	plist_array_append(content, payload);
}

struct check {
	GHashTable *uuids, *identifiers; /* seen so far */
	const char *identity_uuid;       /* what the MDM payload names */
	bool has_mdm;
	GError **error;
};

static bool refuse(struct check *check, const char *path, const char *what)
{
	return pom_fail(check->error, POM_ERR_PROFILE, "%s%s", path, what);
}

/* plist_take_* with the code of profiles. */
static bool as_profile_error(GError **error, GError *cause)
{
	pom_fail(error, POM_ERR_PROFILE, "%s", cause->message);
	g_error_free(cause);
	return false;
}

static bool take_text(struct check *check, const plist *dict, const char *path, const char *key, const char **ret)
{
	GError *cause = NULL;

	if (!plist_take_string(dict, path, key, PLIST_REQUIRED, ret, &cause))
		return as_profile_error(check->error, cause);
	return **ret || pom_fail(check->error, POM_ERR_PROFILE, "%s.%s is empty", path, key);
}

static bool take_version(struct check *check, const plist *dict, const char *path)
{
	GError *cause = NULL;
	int64_t version;

	return plist_take_integer(dict, path, "PayloadVersion", PLIST_REQUIRED, &version, &cause) || as_profile_error(check->error, cause);
}

/* The four common keys (Apple: TopLevel, CommonPayloadKeys). UUIDs are compared without case, as the installer does. */
static bool check_head(struct check *check, const plist *dict, const char *path, const char **ret_type)
{
	const char *identifier = NULL, *uuid = NULL;

	if (plist_get_type(dict) != PLIST_DICT)
		return refuse(check, path, " is not a dictionary");
	if (!take_text(check, dict, path, "PayloadType", ret_type) || !take_version(check, dict, path) ||
	    !take_text(check, dict, path, "PayloadIdentifier", &identifier) || !take_text(check, dict, path, "PayloadUUID", &uuid))
		return false;
	if (!g_hash_table_add(check->uuids, g_ascii_strup(uuid, -1)))
		return refuse(check, path, ".PayloadUUID stands in this profile twice");
	if (!g_hash_table_add(check->identifiers, g_strdup(identifier)))
		return refuse(check, path, ".PayloadIdentifier stands in this profile twice");
	return true;
}

static bool check_mdm(struct check *check, const plist *payload, const char *path)
{
	if (check->has_mdm)
		return refuse(check, path, " is a second " MDM_TYPE " payload, a profile has at most one");
	check->has_mdm = true;
	return take_text(check, payload, path, "IdentityCertificateUUID", &check->identity_uuid);
}

static bool check_pkcs12(struct check *check, const plist *payload, const char *path)
{
	GError *cause = NULL;
	const void *data;
	size_t len;

	return plist_take_data(payload, path, "PayloadContent", PLIST_REQUIRED, &data, &len, &cause) || as_profile_error(check->error, cause);
}

static bool check_payload(struct check *check, const plist *payload, size_t i)
{
	g_autofree char *path = g_strdup_printf("PayloadContent[%zu]", i);
	const char *type = NULL;

	if (!check_head(check, payload, path, &type))
		return false;
	if (!strcmp(type, MDM_TYPE))
		return check_mdm(check, payload, path);
	if (!strcmp(type, "com.apple.security.pkcs12"))
		return check_pkcs12(check, payload, path);
	return true;
}

static bool is_identity_type(const char *type)
{
	static const char *const types[] = {"com.apple.security.pkcs12", "com.apple.security.scep", "com.apple.security.acme", NULL};

	return type && g_strv_contains(types, type);
}

/* The identity of MDM must come with the same profile. */
static bool check_identity(struct check *check, const plist *content)
{
	for (size_t i = 0; i < plist_count(content); i++) {
		const plist *payload = plist_child(content, i);
		const char *uuid = plist_get_string(plist_dict_get(payload, "PayloadUUID"));

		if (uuid && !g_ascii_strcasecmp(uuid, check->identity_uuid) && is_identity_type(plist_get_string(plist_dict_get(payload, "PayloadType"))))
			return true;
	}
	return pom_fail(check->error, POM_ERR_PROFILE, "IdentityCertificateUUID of the " MDM_TYPE " payload names no PKCS #12, SCEP or ACME payload of this profile");
}

static bool check_content(struct check *check, const plist *profile)
{
	const plist *content = plist_dict_get(profile, "PayloadContent"), *encrypted = plist_dict_get(profile, "EncryptedPayloadContent");

	if (encrypted && (content || plist_get_type(encrypted) != PLIST_DATA))
		return refuse(check, "EncryptedPayloadContent", " is not data, or stands beside PayloadContent");
	if (encrypted)
		return true;
	if (plist_get_type(content) != PLIST_ARRAY)
		return refuse(check, "PayloadContent", content ? " is not an array" : " is missing");
	if (plist_count(content) > PAYLOADS_MAX)
		return refuse(check, "PayloadContent", " has too many payloads");
	for (size_t i = 0; i < plist_count(content); i++) {
		if (!check_payload(check, plist_child(content, i), i))
			return false;
	}
	return !check->has_mdm || check_identity(check, content);
}

bool mobileconfig_check(const plist *profile, GError **error)
{
	g_autoptr(GHashTable) uuids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GHashTable) identifiers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	struct check check = {.uuids = uuids, .identifiers = identifiers, .error = error};
	const char *type = NULL;

	if (!check_head(&check, profile, "profile", &type))
		return false;
	if (strcmp(type, "Configuration"))
		return refuse(&check, "profile.PayloadType", " is not Configuration");
	return check_content(&check, profile);
}

static plist *parse_checked(const void *data, size_t len, GError **error)
{
	g_autoptr(plist) profile = plist_parse(data, len, NULL, error);

	return profile && mobileconfig_check(profile, error) ? g_steal_pointer(&profile) : NULL;
}

/* The same words for what a device can only refuse, whichever part of the message is wrong. */
static cms_signed *fail_signed(GError **error, int code, const char *what, const char *why)
{
	pom_fail(error, (enum pom_error)code, "the profile is signed, but %s%s", what, why);
	return NULL;
}

/* What a message that was refused lacks, in words; NULL: it is broken in another way. */
static const char *what_is_missing(const void *data, size_t len, int *ret_code)
{
	CMS_ContentInfo *cms = cms_check(data, len, CMS_KIND_SIGNED, PROFILE_MAX, NULL) ? asn1_parse(data, len, ASN1_ITEM_rptr(CMS_ContentInfo)) : NULL;
	ASN1_OCTET_STRING **content = cms ? CMS_get0_content(cms) : NULL;
	STACK_OF(X509) *certs = cms ? CMS_get1_certs(cms) : NULL;
	const char *what = NULL;

	*ret_code = POM_ERR_PROFILE;
	if (content && !*content) {
		what = "the message holds no profile: the signature is detached";
	} else if (content && sk_X509_num(certs) <= 0) {
		what = "no certificate is in it, so that nobody can verify it: sign it again, with the certificate of the signer and its chain";
		*ret_code = POM_ERR_PROFILE_NO_CERTIFICATE;
	}
	sk_X509_pop_free(certs, X509_free);
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return what;
}

static cms_signed *open_signed(const void *data, size_t len, GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(cms_signed) message = cms_signed_parse(data, len, NULL, 0, PROFILE_MAX, &cause);
	const char *missing;
	int code;

	if (message && message->content)
		return g_steal_pointer(&message);
	missing = what_is_missing(data, len, &code);
	if (missing)
		return fail_signed(error, code, missing, "");
	return fail_signed(error, cause ? cause->code : POM_ERR_PROFILE, "it is broken: ", cause ? cause->message : "it holds nothing");
}

bool mobileconfig_is_signed(const void *data, size_t len)
{
	/* A SEQUENCE begins with '0', which no XML does. */
	return len > 0 && *(const uint8_t *)data == 0x30;
}

GBytes *mobileconfig_open(const void *data, size_t len, struct cms_signed **ret_message, GError **error)
{
	g_autoptr(cms_signed) message = NULL;
	GBytes *content;

	if (!mobileconfig_is_signed(data, len))
		return g_bytes_new(data, len);
	message = open_signed(data, len, error);
	if (!message)
		return NULL;
	content = g_bytes_ref(message->content);
	if (ret_message)
		*ret_message = g_steal_pointer(&message);
	return content;
}

plist *mobileconfig_parse(const void *data, size_t len, bool *ret_signed, GError **error)
{
	g_autoptr(GBytes) content = mobileconfig_open(data, len, NULL, error);
	plist *profile = content ? parse_checked(g_bytes_get_data(content, NULL), g_bytes_get_size(content), error) : NULL;

	if (profile)
		*ret_signed = mobileconfig_is_signed(data, len);
	return profile;
}
