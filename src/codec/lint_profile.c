/* The profile itself: the keys that all have, its payloads, and what they say of one another. */
#include <string.h>

#include "base/face.h"
#include "codec/cert.h"
#include "codec/lint_internal.h"

enum { PAYLOADS_MAX = 1000 };

#define PROFILE_TYPE "Configuration"
#define COMMON_TYPE "*"

/* ---- the keys that all have ---- */

/* The same for the same place of the same profile: a repair that is made again gives the same file. */
static char *make_uuid(const struct lint *lint, const char *path)
{
	g_autoptr(GByteArray) all = g_byte_array_new();
	uint8_t h[32];

	g_byte_array_append(all, lint->seed, sizeof(lint->seed));
	g_byte_array_append(all, (const guint8 *)path, (guint)strlen(path));
	cert_sha256(all->data, all->len, h);
	/* RFC 9562 §5.8: version 8, variant 10. */
	return g_strdup_printf("%02X%02X%02X%02X-%02X%02X-8%X%02X-%X%X%02X-%02X%02X%02X%02X%02X%02X", h[0], h[1], h[2], h[3], h[4], h[5], h[6] & 15, h[7], 8 | (h[8] & 3), h[8] >> 4, h[9], h[10], h[11], h[12],
	                       h[13], h[14], h[15]);
}

/* The text of KEY; NULL with a finding when there is none. MADE (transfer full, may be NULL) is what a repair puts there. */
static const char *take_text(struct lint *lint, plist *dict, const char *path, const char *key, char *made_owned)
{
	g_autofree char *made = made_owned, *where = lint_path(path, key);
	const plist *value = plist_dict_get(dict, key);
	g_autofree char *got = lint_describe(1u << plist_get_type(value));
	const char *text = plist_get_string(value);

	if (text && *text)
		return text;
	if (value && !text) {
		lint_add(lint, LINT_KEY_TYPE, LINT_USUAL, where, NULL, "is %s, must be a string", got);
		return NULL;
	}
	lint_add(lint, value ? LINT_KEY_EMPTY : LINT_KEY_MISSING, made ? LINT_FIXED : LINT_USUAL, where, made ? "one can be made" : "every profile and every payload has its own", value ? "is empty" : "is missing");
	if (!made)
		return NULL;
	plist_dict_set_string(dict, key, made);
	return plist_get_string(plist_dict_get(dict, key));
}

static void check_version(struct lint *lint, plist *dict, const char *path)
{
	g_autofree char *where = lint_path(path, "PayloadVersion");
	const plist *value = plist_dict_get(dict, "PayloadVersion");
	g_autofree char *got = lint_describe(1u << plist_get_type(value));
	const char *text = plist_get_string(value);
	int64_t version;

	if (plist_get_integer(value, &version)) {
		if (version != 1)
			lint_add(lint, LINT_KEY_VERSION, LINT_USUAL, where, NULL, "is %" G_GINT64_FORMAT ", must be 1", version);
		return;
	}
	if (value && g_strcmp0(text, "1")) {
		lint_add(lint, LINT_KEY_VERSION, LINT_USUAL, where, NULL, "is %s, must be the integer 1", got);
		return;
	}
	lint_add(lint, text ? LINT_KEY_VERSION : LINT_KEY_MISSING, LINT_FIXED, where, "write <integer>1</integer>", text ? "is the string \"1\", must be the integer 1" : "is missing");
	plist_dict_set_integer(dict, "PayloadVersion", 1);
}

static void check_uuid(struct lint *lint, const char *uuid, const char *path, const char *type)
{
	g_autofree char *where = lint_path(path, "PayloadUUID"), *upper = g_ascii_strup(uuid, -1);

	if (!pom_id_check(uuid))
		lint_add(lint, LINT_UUID_FORM, LINT_USUAL, where, NULL, "\"%.64s\" does not have the form of a UUID", uuid);
	if (!g_hash_table_insert(lint->uuids, g_steal_pointer(&upper), (void *)(uintptr_t)type))
		lint_add(lint, LINT_UUID_TWICE, LINT_USUAL, where, NULL, "stands in this profile twice (MCProfileErrorDomain 1007)");
}

static void check_identifier(struct lint *lint, const char *identifier, const char *path)
{
	g_autofree char *where = lint_path(path, "PayloadIdentifier");

	if (!g_hash_table_add(lint->identifiers, g_strdup(identifier)))
		lint_add(lint, LINT_IDENTIFIER_TWICE, LINT_USUAL, where, NULL, "\"%.128s\" stands in this profile twice (MCProfileErrorDomain 1008)", identifier);
}

/* The four keys; the type, NULL when there is none. */
static const char *check_head(struct lint *lint, plist *dict, const char *path, const char *only_type)
{
	const char *type = take_text(lint, dict, path, "PayloadType", g_strdup(only_type)), *uuid, *identifier;
	g_autofree char *made_uuid = make_uuid(lint, path), *lower = g_ascii_strdown(made_uuid, -1);

	check_version(lint, dict, path);
	identifier = take_text(lint, dict, path, "PayloadIdentifier", g_strconcat(only_type || !lint->identifier ? "profile" : lint->identifier, ".", lower, NULL));
	uuid = take_text(lint, dict, path, "PayloadUUID", g_strdup(made_uuid));
	if (identifier)
		check_identifier(lint, identifier, path);
	if (uuid)
		check_uuid(lint, uuid, path, only_type ? "" : type ? type : "");
	if (only_type)
		lint->identifier = identifier;
	return type;
}

/* ---- payloads ---- */

/* Those without which nothing works: what they lack is an error. */
static bool is_strict_type(const char *type)
{
	static const char *const types[] = {"com.apple.mdm", "com.apple.security.scep", "com.apple.security.acme", "com.apple.security.pkcs12", "com.apple.security.root", "com.apple.security.pem",
	                                    "com.apple.security.pkcs1", NULL};

	return g_strv_contains(types, type);
}

static void check_known(struct lint *lint, plist *payload, const char *path, const char *type)
{
	const struct payload_type *known = payload_type_find(type);
	const char *nearest;
	g_autofree char *where = lint_path(path, "PayloadType"), *mend = NULL;

	if (!known || !strcmp(type, PROFILE_TYPE) || !strcmp(type, COMMON_TYPE)) {
		nearest = payload_type_nearest(type);
		mend = nearest ? g_strdup_printf("did you mean \"%s\"?", nearest) : NULL;
		lint_add(lint, LINT_PAYLOAD_UNKNOWN, LINT_USUAL, where, mend, "the payload type \"%.128s\" is not known", type);
		return;
	}
	if (!known->is_multiple && !g_hash_table_add(lint->types, (void *)(uintptr_t)known) && strcmp(type, "com.apple.mdm"))
		lint_add(lint, LINT_PAYLOAD_SEVERAL, LINT_USUAL, where, NULL, "there are several payloads of type %s, and devices take one only", type);
	lint_systems(lint, where, LINT_SUBJECT_PAYLOAD, known->systems, known->systems);
	lint_dict(lint, payload, path, (struct lint_scope){known->first, known->n_keys, true, is_strict_type(type), known->systems});
}

static void check_payload(struct lint *lint, plist *payload, size_t i)
{
	g_autofree char *path = g_strdup_printf("PayloadContent[%zu]", i), *got = lint_describe(1u << plist_get_type(payload));
	const char *type;

	if (plist_get_type(payload) != PLIST_DICT) {
		lint_add(lint, LINT_PROFILE_PAYLOAD, LINT_USUAL, path, NULL, "is %s, must be a dictionary", got);
		return;
	}
	type = check_head(lint, payload, path, NULL);
	if (!type)
		return;
	lint_special(lint, payload, type, path);
	check_known(lint, payload, path, type);
}

static bool is_identity(const char *type)
{
	static const char *const types[] = {"com.apple.security.pkcs12", "com.apple.security.scep", "com.apple.security.acme", NULL};

	return g_strv_contains(types, type);
}

static bool is_certificate(const char *type)
{
	static const char *const types[] = {"com.apple.security.root", "com.apple.security.pem", "com.apple.security.pkcs1", "com.apple.ADCertificate.managed", NULL};

	return g_strv_contains(types, type);
}

static void check_references(struct lint *lint)
{
	for (guint i = 0; i < lint->references->len; i++) {
		const struct lint_reference *r = lint->references->pdata[i];
		g_autofree char *upper = g_ascii_strup(r->uuid, -1);
		const char *type = g_hash_table_lookup(lint->uuids, upper);

		if (!type || !*type)
			lint_add(lint, LINT_REFERENCE_MISSING, LINT_USUAL, r->path, NULL, "\"%.64s\" names no payload of this profile", r->uuid);
		else if (r->to_identity && !is_identity(type))
			lint_add(lint, LINT_REFERENCE_IDENTITY, LINT_USUAL, r->path, NULL, "\"%.64s\" names a payload of type %.128s, which is no identity", r->uuid, type);
		else if (!r->to_identity && !is_identity(type) && !is_certificate(type))
			lint_add(lint, LINT_REFERENCE_CERTIFICATE, LINT_USUAL, r->path, NULL, "\"%.64s\" names a payload of type %.128s, which holds no certificate", r->uuid, type);
	}
}

/* ---- the profile ---- */

static void check_content(struct lint *lint, plist *profile)
{
	const plist *content = plist_dict_get(profile, "PayloadContent"), *encrypted = plist_dict_get(profile, "EncryptedPayloadContent");

	lint->report->is_encrypted = plist_get_type(encrypted) == PLIST_DATA;
	if (encrypted && content)
		lint_add(lint, LINT_PROFILE_TWO_CONTENTS, LINT_USUAL, "EncryptedPayloadContent", NULL, "stands beside PayloadContent");
	if (!encrypted && !content)
		lint_add(lint, LINT_PROFILE_NO_CONTENT, LINT_USUAL, "PayloadContent", NULL, "is missing");
	if (lint->report->is_encrypted && !content)
		lint_add(lint, LINT_PROFILE_ENCRYPTED, LINT_USUAL, "EncryptedPayloadContent", NULL, "the content is encrypted, and was not looked at");
	if (plist_get_type(content) != PLIST_ARRAY)
		return;
	if (plist_count(content) > PAYLOADS_MAX) {
		lint_add(lint, LINT_PROFILE_TOO_MANY, LINT_USUAL, "PayloadContent", NULL, "has %zu payloads, at most %d are taken", plist_count(content), PAYLOADS_MAX);
		return;
	}
	if (!plist_count(content))
		lint_add(lint, LINT_PROFILE_EMPTY, LINT_USUAL, "PayloadContent", NULL, "is empty: the profile does nothing");
	for (size_t i = 0; i < plist_count(content); i++)
		check_payload(lint, (plist *)(uintptr_t)plist_child(content, i), i);
	check_references(lint);
}

static void check_ends(struct lint *lint, const plist *profile)
{
	const plist *duration = plist_dict_get(profile, "DurationUntilRemoval");
	int64_t date, whole;
	double seconds;

	if (plist_get_date(plist_dict_get(profile, "RemovalDate"), &date) && date <= lint->facts->now_s)
		lint_add(lint, LINT_PROFILE_REMOVAL_DATE, LINT_USUAL, "RemovalDate", NULL, "is in the past: devices refuse the profile (MCInstallationErrorDomain 4006)");
	if ((plist_get_real(duration, &seconds) && !(seconds > 0)) || (plist_get_integer(duration, &whole) && whole <= 0))
		lint_add(lint, LINT_PROFILE_DURATION, LINT_USUAL, "DurationUntilRemoval", NULL, "must be more than 0 seconds");
	if (duration && plist_dict_get(profile, "RemovalDate"))
		lint_add(lint, LINT_PROFILE_TWO_ENDS, LINT_USUAL, "DurationUntilRemoval", NULL, "stands beside RemovalDate: the earlier of the two counts");
}

/* ---- the first document of an over-the-air enrollment ---- */

#define SERVICE_TYPE "Profile Service"

/* KEY of DICT, when it is of TYPE; else a finding, and NULL. */
static const plist *take_typed(struct lint *lint, const plist *dict, const char *path, const char *key, enum plist_type type, bool is_required)
{
	g_autofree char *where = lint_path(path, key), *wanted = lint_describe(1u << type), *got = NULL;
	const plist *value = plist_dict_get(dict, key);

	if (plist_get_type(value) == type)
		return value;
	if (!value) {
		if (is_required)
			lint_add(lint, LINT_KEY_MISSING, LINT_USUAL, where, NULL, "is missing, and required");
		return NULL;
	}
	got = lint_describe(1u << plist_get_type(value));
	lint_add(lint, LINT_KEY_TYPE, LINT_USUAL, where, NULL, "is %s, must be %s", got, wanted);
	return NULL;
}

/* One payload instead of a profile: its PayloadContent is a dictionary that says what the device is to tell, and where. */
static void check_service(struct lint *lint, plist *service)
{
	static const char path[] = "PayloadContent";
	const plist *content, *attributes;

	lint->report->is_service = true;
	check_head(lint, service, "", SERVICE_TYPE);
	content = take_typed(lint, service, "", path, PLIST_DICT, true);
	if (!content)
		return;
	take_typed(lint, content, path, "URL", PLIST_STRING, true);
	take_typed(lint, content, path, "Challenge", PLIST_STRING, false);
	attributes = take_typed(lint, content, path, "DeviceAttributes", PLIST_ARRAY, true);
	for (size_t i = 0; i < plist_count(attributes); i++)
		if (!plist_get_string(plist_child(attributes, i)))
			lint_add(lint, LINT_KEY_TYPE, LINT_USUAL, "PayloadContent.DeviceAttributes", NULL, "item %zu is no string", i);
}

void lint_profile(struct lint *lint, plist *profile)
{
	const struct payload_type *top = payload_type_find(PROFILE_TYPE);
	g_autofree char *got = lint_describe(1u << plist_get_type(profile));
	const char *type;

	if (plist_get_type(profile) != PLIST_DICT) {
		lint_add(lint, LINT_PROFILE_ROOT, LINT_USUAL, "", NULL, "the property list is %s, must be a dictionary", got);
		return;
	}
	if (!g_strcmp0(plist_get_string(plist_dict_get(profile, "PayloadType")), SERVICE_TYPE)) {
		check_service(lint, profile);
		return;
	}
	type = check_head(lint, profile, "", PROFILE_TYPE);
	if (type && strcmp(type, PROFILE_TYPE))
		lint_add(lint, LINT_PROFILE_TYPE, LINT_USUAL, "PayloadType", NULL, "is \"%.128s\", must be Configuration", type);
	lint_dict(lint, profile, "", (struct lint_scope){top->first, top->n_keys, true, true, top->systems});
	check_ends(lint, profile);
	check_content(lint, profile);
}

