#include "core/enroll.h"

#include <string.h>

#include "base/error.h"
#include "codec/json.h"

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

/* The last group of a time-ordered id is its random part. */
static const char *random_part(const char *id)
{
	return id + (strlen(id) > 12 ? strlen(id) - 12 : 0);
}

char *enroll_common_name(const char *link_id)
{
	return g_strdup_printf("Pomona device %s", random_part(link_id));
}

char *enroll_transport_name(const char *link_id)
{
	return g_strdup_printf("Pomona transport %s", random_part(link_id));
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

void enroll_served_init(struct enroll_served *served, const char *url, int64_t access_rights)
{
	/* Capabilities can never be added to an enrollment later, so they are there from the start. */
	static const char *const capabilities[] = {"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken", ENROLL_CAPABILITY_TOKEN, NULL};

	*served = (struct enroll_served){.url = g_strdup(url), .access_rights = access_rights, .sign_message = true, .capabilities = g_strdupv((char **)(uintptr_t)capabilities)};
}

void enroll_served_drop(struct enroll_served *served, const char *capability)
{
	char **to = served->capabilities;

	for (char **from = to; *from; from++) {
		if (strcmp(*from, capability))
			*to++ = *from;
		else
			g_free(*from);
	}
	*to = NULL;
}

void enroll_served_clear(struct enroll_served *served)
{
	g_clear_pointer(&served->url, g_free);
	g_clear_pointer(&served->mdm_url, g_free);
	g_clear_pointer(&served->capabilities, g_strfreev);
}

char *enroll_served_format(const struct enroll_served *served)
{
	g_autoptr(json_t) o = json_pack("{s:s, s:I, s:b, s:[]}", "url", served->url, "access_rights", (json_int_t)served->access_rights, "sign_message", served->sign_message, "capabilities");
	g_autoptr(GBytes) text = NULL;

	if (served->mdm_url)
		json_object_set_new(o, "mdm_url", json_string(served->mdm_url));
	for (char **c = served->capabilities; *c; c++)
		json_array_append_new(json_object_get(o, "capabilities"), json_string(*c));
	text = json_format(o);
	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

bool enroll_served_parse(const char *json, struct enroll_served *ret, GError **error)
{
	g_autoptr(json_t) o = json_parse(json, strlen(json), error);
	const char *url = json_string_value(json_object_get(o, "url")), *mdm_url = json_string_value(json_object_get(o, "mdm_url"));
	g_autoptr(GPtrArray) capabilities = g_ptr_array_new_with_free_func(g_free);
	json_t *item;
	size_t i;

	if (!o)
		return false;
	if (!url || !json_is_integer(json_object_get(o, "access_rights")))
		return pom_fail(error, POM_ERR_JSON, "what the enrollment was served is not readable");
	json_array_foreach(json_object_get(o, "capabilities"), i, item)
		if (json_is_string(item))
			g_ptr_array_add(capabilities, g_strdup(json_string_value(item)));
	g_ptr_array_add(capabilities, NULL);
	*ret = (struct enroll_served){
		g_strdup(url), g_strdup(mdm_url), json_integer_value(json_object_get(o, "access_rights")), json_is_true(json_object_get(o, "sign_message")), (char **)g_ptr_array_free(g_steal_pointer(&capabilities), FALSE),
	};
	return true;
}

char *enroll_base_identifier(const char *url)
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

static plist *scep_payload(const struct enroll_profile *profile, const char *base, const char *part)
{
	plist *payload = new_payload(profile, base, "com.apple.security.scep", part, "Device identity");
	plist *content = plist_new_dict(), *subject = plist_new_array();
	gsize len;

	add_rdn(subject, "O", profile->organization);
	add_rdn(subject, "CN", profile->common_name);
	plist_dict_set_string(content, "URL", profile->scep_url);
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

static plist *pkcs12_payload(const struct enroll_profile *profile, const char *base, const char *part)
{
	plist *payload = new_payload(profile, base, "com.apple.security.pkcs12", part, "Device identity");
	gsize len;
	const void *data = g_bytes_get_data(profile->pkcs12, &len);

	plist_dict_set_string(payload, "PayloadCertificateFileName", "identity.p12");
	plist_dict_set_data(payload, "PayloadContent", data, len);
	plist_dict_set_string(payload, "Password", profile->pkcs12_password);
	plist_dict_set_boolean(payload, "AllowAllAppsAccess", false);
	plist_dict_set_boolean(payload, "KeyIsExtractable", false);
	return payload;
}

static plist *identity_payload(const struct enroll_profile *profile, const char *base, const char *part)
{
	return profile->pkcs12 ? pkcs12_payload(profile, base, part) : scep_payload(profile, base, part);
}

static plist *mdm_payload(const struct enroll_profile *profile, const char *base)
{
	plist *payload = new_payload(profile, base, "com.apple.mdm", "mdm", "Device management");
	plist *capabilities = plist_new_array();
	g_autofree char *url = g_strconcat(profile->served->mdm_url ? profile->served->mdm_url : profile->served->url, "/mdm", NULL);
	g_autofree char *identity = enroll_uuid(profile->link_id, "identity");

	for (char **c = profile->served->capabilities; *c; c++)
		plist_array_append(capabilities, plist_new_string(*c));
	plist_dict_set_string(payload, "IdentityCertificateUUID", identity);
	plist_dict_set_string(payload, "Topic", profile->topic);
	plist_dict_set_string(payload, "ServerURL", url);
	plist_dict_set_string(payload, "CheckInURL", url);
	plist_dict_set_boolean(payload, "SignMessage", profile->served->sign_message);
	plist_dict_set_integer(payload, "AccessRights", profile->served->access_rights);
	plist_dict_set_boolean(payload, "UseDevelopmentAPNS", false);
	plist_dict_set(payload, "ServerCapabilities", capabilities);
	plist_dict_set_boolean(payload, "CheckOutWhenRemoved", true);
	return payload;
}

/* The oldest root keeps the name that it had when it was the only one. */
static void add_anchors(plist *tree, const struct enroll_profile *profile, const char *base, const char *prefix)
{
	for (size_t i = 0; i < profile->n_anchors; i++) {
		gsize len;
		const void *data = g_bytes_get_data(profile->anchors[i], &len);
		g_autofree char *part = i + 1 == profile->n_anchors ? g_strdup(prefix) : g_strdup_printf("%s%zu", prefix, profile->n_anchors - i);
		plist *root = new_payload(profile, base, "com.apple.security.root", part, "Root certificate");

		plist_dict_set_string(root, "PayloadCertificateFileName", "root.cer");
		plist_dict_set_data(root, "PayloadContent", data, len);
		mobileconfig_add(tree, root);
	}
}

plist *enroll_anchors_build(const struct enroll_profile *profile)
{
	g_autofree char *base = enroll_base_identifier(profile->served->url);
	g_autofree char *identifier = g_strconcat(base, ".anchors", NULL);
	g_autofree char *uuid = enroll_uuid(profile->link_id, "anchors");
	g_autofree char *name = g_strdup_printf("%s root certificates", profile->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Configuration", identifier, uuid, name, "Root certificates of your organization's device management.", profile->organization});

	plist_dict_set_string(tree, "PayloadScope", "System");
	add_anchors(tree, profile, base, "anchor");
	return tree;
}

plist *enroll_trust_build(const struct enroll_profile *profile)
{
	g_autofree char *base = enroll_base_identifier(profile->served->url);
	g_autofree char *identifier = g_strconcat(base, ".trust", NULL);
	g_autofree char *uuid = enroll_uuid(profile->link_id, "trust");
	g_autofree char *name = g_strdup_printf("%s root certificate", profile->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Configuration", identifier, uuid, name, "Lets this device trust your organization's device management server.", profile->organization});

	plist_dict_set_string(tree, "PayloadScope", "System");
	add_anchors(tree, profile, base, "root");
	return tree;
}

plist *enroll_profile_build(const struct enroll_profile *profile)
{
	g_autofree char *base = enroll_base_identifier(profile->served->url);
	g_autofree char *identifier = enroll_profile_identifier(profile->served->url);
	g_autofree char *uuid = enroll_uuid(profile->link_id, "profile");
	g_autofree char *name = g_strdup_printf("%s device management", profile->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Configuration", identifier, uuid, name, "Lets your organization manage this device.", profile->organization});

	plist_dict_set_string(tree, "PayloadScope", "System");
	plist_dict_set_boolean(tree, "PayloadRemovalDisallowed", false);
	add_anchors(tree, profile, base, "root");
	mobileconfig_add(tree, identity_payload(profile, base, "identity"));
	mobileconfig_add(tree, mdm_payload(profile, base));
	return tree;
}

plist *enroll_transport_build(const struct enroll_profile *profile)
{
	g_autofree char *base = enroll_base_identifier(profile->served->url);
	g_autofree char *identifier = g_strconcat(base, ".transport", NULL);
	g_autofree char *uuid = enroll_uuid(profile->link_id, "transport-profile");
	g_autofree char *name = g_strdup_printf("%s device identity", profile->organization);
	plist *tree = mobileconfig_new(&(struct mobileconfig_head){
		"Configuration", identifier, uuid, name, "Lets this device fetch its management profile.", profile->organization});

	mobileconfig_add(tree, identity_payload(profile, base, "transport"));
	return tree;
}

char *enroll_profile_identifier(const char *url)
{
	g_autofree char *base = enroll_base_identifier(url);

	return g_strconcat(base, ".enroll", NULL);
}

bool enroll_is_own_identifier(const char *url, const char *identifier, bool enrollment)
{
	/* The first is the profile that devices are managed by. */
	static const char *const parts[] = {"enroll", "anchors", "trust", "transport", "profile-service"};
	g_autofree char *base = enroll_base_identifier(url);

	for (size_t i = 0; i < (enrollment ? 1 : G_N_ELEMENTS(parts)); i++) {
		g_autofree char *own = g_strdup_printf("%s.%s", base, parts[i]), *below = g_strconcat(own, ".", NULL);

		if (!g_ascii_strcasecmp(identifier, own) || (!enrollment && !g_ascii_strncasecmp(identifier, below, strlen(below))))
			return true;
	}
	return false;
}
