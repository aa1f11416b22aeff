#include "core/enroll.h"

#include <string.h>

#include "base/error.h"

bool link_check(const struct link_facts *link, int64_t now_ms, GError **error)
{
	if (!link->known)
		return pom_fail(error, POM_ERR_LINK_UNKNOWN, "there is no enrollment link with this token");
	if (link->revoked_ms)
		return pom_fail(error, POM_ERR_LINK_REVOKED, "enrollment link %s has been revoked", link->id);
	if (link->consumed_ms)
		return pom_fail(error, POM_ERR_LINK_USED, "enrollment link %s has been used", link->id);
	if (now_ms >= link->expires_ms)
		return pom_fail(error, POM_ERR_LINK_EXPIRED, "enrollment link %s has expired", link->id);
	return true;
}

char *enroll_common_name(const char *link_id)
{
	/* The last group of a time-ordered id is its random part. */
	return g_strdup_printf("Pomona device %s", link_id + (strlen(link_id) > 12 ? strlen(link_id) - 12 : 0));
}

char *enroll_uuid(const char *link_id, const char *name)
{
	g_autoptr(GChecksum) sha1 = g_checksum_new(G_CHECKSUM_SHA1);
	guint8 b[20];
	gsize len = sizeof(b);

	g_checksum_update(sha1, (const guchar *)link_id, -1);
	g_checksum_update(sha1, (const guchar *)name, -1);
	g_checksum_get_digest(sha1, b, &len);
	b[6] = (guint8)(0x50 | (b[6] & 0x0f));
	b[8] = (guint8)(0x80 | (b[8] & 0x3f));
	return g_strdup_printf("%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
	                       b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* The reverse host name of the public URL, "org.example.mdm"; of an address "mdm.192-0-2-1". transfer full. */
static char *base_identifier(const char *url)
{
	const char *host = strstr(url, "://");
	g_autofree char *name = g_strdup(host ? host + 3 : url);
	g_auto(GStrv) parts = NULL;
	GString *reverse = g_string_new(NULL);

	if (*name == '[') {
		name[strcspn(name, "]")] = '\0';
		memmove(name, name + 1, strlen(name));
	} else {
		name[strcspn(name, ":/")] = '\0';
	}
	if (g_hostname_is_ip_address(name)) {
		g_string_printf(reverse, "mdm.%s", g_strdelimit(name, ".:%", '-'));
		return g_string_free(reverse, FALSE);
	}
	parts = g_strsplit(name, ".", -1);
	for (guint i = g_strv_length(parts); i-- > 0;)
		g_string_append_printf(reverse, "%s%s", reverse->len ? "." : "", parts[i]);
	return g_string_free(reverse, FALSE);
}

static plist *new_payload(const struct enroll_profile *profile, const char *base, const char *type, const char *part, const char *name)
{
	g_autofree char *identifier = g_strdup_printf("%s.enroll.%s", base, part);
	g_autofree char *uuid = enroll_uuid(profile->link_id, part);

	return mobileconfig_new(&(struct mobileconfig_head){type, identifier, uuid, name, NULL, profile->organization});
}

static void add_rdn(plist *subject, const char *attribute, const char *value)
{
	plist *set = plist_new_array(), *pair = plist_new_array();

	plist_array_append(pair, plist_new_string(attribute));
	plist_array_append(pair, plist_new_string(value));
	plist_array_append(set, pair);
	plist_array_append(subject, set);
}

static plist *scep_payload(const struct enroll_profile *profile, const char *base)
{
	plist *payload = new_payload(profile, base, "com.apple.security.scep", "identity", "Device identity");
	plist *content = plist_new_dict(), *subject = plist_new_array();
	g_autofree char *url = g_strconcat(profile->url, "/scep", NULL);
	gsize len;

	add_rdn(subject, "O", profile->organization);
	add_rdn(subject, "CN", profile->common_name);
	plist_dict_set_string(content, "URL", url);
	plist_dict_set_string(content, "Name", profile->organization);
	plist_dict_set(content, "Subject", subject);
	plist_dict_set_string(content, "Challenge", profile->challenge);
	plist_dict_set_integer(content, "Keysize", profile->key_size);
	plist_dict_set_string(content, "Key Type", "RSA");
	plist_dict_set_integer(content, "Key Usage", 5);
	plist_dict_set_integer(content, "Retries", 3);
	plist_dict_set_integer(content, "RetryDelay", 10);
	plist_dict_set_boolean(content, "AllowAllAppsAccess", false);
	plist_dict_set_boolean(content, "KeyIsExtractable", false);
	if (profile->ca_fingerprint) {
		const void *data = g_bytes_get_data(profile->ca_fingerprint, &len);

		plist_dict_set_data(content, "CAFingerprint", data, len);
	}
	plist_dict_set(payload, "PayloadContent", content);
	return payload;
}

static plist *mdm_payload(const struct enroll_profile *profile, const char *base)
{
	plist *payload = new_payload(profile, base, "com.apple.mdm", "mdm", "Device management");
	plist *capabilities = plist_new_array();
	g_autofree char *url = g_strconcat(profile->url, "/mdm", NULL);
	g_autofree char *identity = enroll_uuid(profile->link_id, "identity");

	/* Capabilities can never be added to an enrollment later, so they are there from the start. */
	plist_array_append(capabilities, plist_new_string("com.apple.mdm.per-user-connections"));
	plist_array_append(capabilities, plist_new_string("com.apple.mdm.bootstraptoken"));
	plist_dict_set_string(payload, "IdentityCertificateUUID", identity);
	plist_dict_set_string(payload, "Topic", profile->topic);
	plist_dict_set_string(payload, "ServerURL", url);
	plist_dict_set_string(payload, "CheckInURL", url);
	plist_dict_set_boolean(payload, "SignMessage", profile->sign_message);
	plist_dict_set_integer(payload, "AccessRights", profile->access_rights);
	plist_dict_set_boolean(payload, "UseDevelopmentAPNS", false);
	plist_dict_set(payload, "ServerCapabilities", capabilities);
	plist_dict_set_boolean(payload, "CheckOutWhenRemoved", true);
	return payload;
}

plist *enroll_profile_build(const struct enroll_profile *profile)
{
	g_autofree char *base = base_identifier(profile->url);
	g_autofree char *identifier = g_strconcat(base, ".enroll", NULL);
	g_autofree char *uuid = enroll_uuid(profile->link_id, "profile");
	g_autofree char *name = g_strdup_printf("%s device management", profile->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Configuration", identifier, uuid, name, "Lets your organization manage this device.", profile->organization});

	plist_dict_set_string(tree, "PayloadScope", "System");
	plist_dict_set_boolean(tree, "PayloadRemovalDisallowed", false);
	if (profile->root_der) {
		plist *root = new_payload(profile, base, "com.apple.security.root", "root", "Root certificate");
		gsize len;
		const void *data = g_bytes_get_data(profile->root_der, &len);

		plist_dict_set_string(root, "PayloadCertificateFileName", "root.cer");
		plist_dict_set_data(root, "PayloadContent", data, len);
		mobileconfig_add(tree, root);
	}
	mobileconfig_add(tree, scep_payload(profile, base));
	mobileconfig_add(tree, mdm_payload(profile, base));
	return tree;
}
