#include "core/declaration.h"

#include <stdarg.h>
#include <string.h>

#include "codec/cert.h"
#include "core/command_check.h"

#define LARGEST_EXACT (INT64_C(1) << 53)
enum { HEX_BYTES = DECLARATION_TOKEN_LEN / 2 };

/* ---- form ---- */

void declaration_clear(struct declaration *d)
{
	g_clear_pointer(&d->identifier, g_free);
	g_clear_pointer(&d->type, g_free);
	g_clear_pointer(&d->payload, json_decref);
}

static bool has_escaped_slash(const char *text)
{
	for (const char *p = text; *p; p++)
		if (p[0] == '%' && p[1] == '2' && (p[2] == 'F' || p[2] == 'f'))
			return true;
	return false;
}

bool declaration_identifier_check(const char *identifier, GError **error)
{
	size_t len = strlen(identifier);

	if (!len || len > DECLARATION_ID_MAX)
		return pom_fail(error, POM_ERR_DECLARATION_IDENTIFIER, "Identifier has %zu bytes; it must have 1 to %d", len, DECLARATION_ID_MAX);
	if (!g_utf8_validate(identifier, (gssize)len, NULL))
		return pom_fail(error, POM_ERR_DECLARATION_IDENTIFIER, "Identifier is not UTF-8");
	if (strchr(identifier, '/') || has_escaped_slash(identifier))
		return pom_fail(error, POM_ERR_DECLARATION_IDENTIFIER, "Identifier \"%s\" has a slash, or %%2F, in it: devices ask for declaration/KIND/IDENTIFIER", identifier);
	for (const char *p = identifier; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return pom_fail(error, POM_ERR_DECLARATION_IDENTIFIER, "Identifier has a control character");
	return true;
}

/* Numbers that other readers of JSON would round. */
static bool check_numbers(const json_t *json, const char *path, GError **error)
{
	const char *key;
	json_t *value;

	if (json_is_integer(json) && (json_integer_value(json) > LARGEST_EXACT || json_integer_value(json) < -LARGEST_EXACT))
		return pom_fail(error, POM_ERR_JSON, "%s: the integer is beyond 2^53, which devices cannot read exactly", path);
	json_object_foreach((json_t *)(uintptr_t)json, key, value) {
		g_autofree char *below = g_strdup_printf("%s%s%.64s", path, *path ? "." : "", key);

		if (!check_numbers(value, below, error))
			return false;
	}
	for (size_t i = 0; json_is_array(json) && i < json_array_size(json); i++) {
		g_autofree char *below = g_strdup_printf("%s[%zu]", path, i);

		if (!check_numbers(json_array_get(json, i), below, error))
			return false;
	}
	return true;
}

static const char *get_text(const json_t *json, const char *key, GError **error)
{
	const json_t *value = json_object_get(json, key);

	if (!json_is_string(value)) {
		pom_fail(error, POM_ERR_DECLARATION, value ? "%s must be a string" : "%s is missing", key);
		return NULL;
	}
	return json_string_value(value);
}

static bool check_members(const json_t *json, GError **error)
{
	static const char *const known[] = {"Type", "Identifier", "Payload", "ServerToken", NULL};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)json, key, value)
		if (!g_strv_contains(known, key))
			return pom_fail(error, POM_ERR_DECLARATION, "\"%.64s\" is no key of a declaration: it has Type, Identifier and Payload", key);
	return true;
}

bool declaration_read(const json_t *json, struct declaration *ret, GError **error)
{
	const char *type, *identifier;
	enum declaration_kind kind;
	json_t *payload = json_object_get(json, "Payload");

	if (!json_is_object(json))
		return pom_fail(error, POM_ERR_DECLARATION, "a declaration is a JSON object with Type, Identifier and Payload");
	if (!check_members(json, error) || !(type = get_text(json, "Type", error)) || !(identifier = get_text(json, "Identifier", error)) || !declaration_identifier_check(identifier, error) ||
	    !check_numbers(json, "", error))
		return false;
	if (payload && !json_is_object(payload))
		return pom_fail(error, POM_ERR_DECLARATION, "Payload must be an object");
	kind = declaration_kind_of(type);
	if (kind >= DECLARATION_KINDS)
		return pom_fail(error, POM_ERR_DECLARATION_TYPE, "Type \"%.128s\" is none of com.apple.activation.…, com.apple.configuration.…, com.apple.asset.… and com.apple.management.…", type);
	if (strlen(type) > 255)
		return pom_fail(error, POM_ERR_DECLARATION_TYPE, "Type has %zu bytes, at most 255 are taken", strlen(type));
	*ret = (struct declaration){g_strdup(identifier), g_strdup(type), kind, declaration_type_find(type), payload ? json_deep_copy(payload) : json_object()};
	return true;
}

bool declaration_parse(const void *data, size_t len, struct declaration *ret, GError **error)
{
	g_autoptr(json_t) json = NULL;

	if (len > DECLARATION_SIZE_MAX)
		return pom_fail(error, POM_ERR_TOO_LARGE, "the declaration has %zu bytes, at most %d are taken", len, DECLARATION_SIZE_MAX);
	json = json_parse(data, len, error);
	return json && declaration_read(json, ret, error);
}

static GBytes *canonical(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	g_assert(text);
	return g_bytes_new_with_free_func(text, strlen(text), free, text);
}

GBytes *declaration_body(const struct declaration *d)
{
	return canonical(d->payload);
}

char *declaration_token(const struct declaration *d)
{
	g_autoptr(json_t) whole = json_pack("{s:s, s:s, s:O}", "Type", d->type, "Identifier", d->identifier, "Payload", d->payload);
	g_autoptr(GBytes) bytes = canonical(whole);
	uint8_t sha256[32];
	GString *text = g_string_sized_new(DECLARATION_TOKEN_LEN);

	cert_sha256(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), sha256);
	for (unsigned i = 0; i < HEX_BYTES; i++)
		g_string_append_printf(text, "%02x", sha256[i]);
	return g_string_free(text, FALSE);
}

GBytes *declaration_format(const char *type, const char *identifier, const char *token, json_t *payload)
{
	g_autoptr(json_t) whole = json_pack("{s:s, s:s, s:s, s:O}", "Type", type, "Identifier", identifier, "ServerToken", token, "Payload", payload);

	return json_format(whole);
}

/* ---- findings ---- */

static void finding_free(void *data)
{
	struct declaration_finding *f = data;

	g_free(f->path);
	g_free(f->what);
	g_free(f);
}

GPtrArray *declaration_findings_new(void)
{
	return g_ptr_array_new_with_free_func(finding_free);
}

void declaration_add_finding(GPtrArray *findings, bool is_error, int code, const char *path, const char *format, ...)
{
	struct declaration_finding *f;
	va_list args;

	if (findings->len >= DECLARATION_FINDINGS_MAX)
		return;
	f = g_new0(struct declaration_finding, 1);
	f->is_error = is_error;
	f->code = code;
	f->path = g_strdup(path);
	va_start(args, format);
	f->what = g_strdup_vprintf(format, args);
	va_end(args);
	g_ptr_array_add(findings, f);
}

bool declaration_check_fail(const GPtrArray *findings, GError **error)
{
	for (guint i = 0; i < findings->len; i++) {
		const struct declaration_finding *f = g_ptr_array_index(findings, i);

		if (f->is_error)
			return pom_fail(error, (enum pom_error)f->code, "%s: %s", f->path, f->what);
	}
	return true;
}

json_t *declaration_findings_json(const GPtrArray *findings)
{
	json_t *list = json_array();

	for (guint i = 0; i < findings->len; i++) {
		const struct declaration_finding *f = g_ptr_array_index(findings, i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "severity", f->is_error ? "error" : "warning", "path", f->path, "what", f->what));
	}
	return list;
}

/* ---- keys ---- */

static void check_value(const struct declaration_key *key, const json_t *value, const char *path, GPtrArray *findings);

static char *shown(const char *text)
{
	const char *end;

	g_utf8_validate_len(text, MIN(strlen(text), DECLARATION_ID_MAX), &end);
	return g_strndup(text, (gsize)(end - text));
}

static void check_object(unsigned first, unsigned n, bool is_open, const json_t *object, const char *path, GPtrArray *findings)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, name, value) {
		const struct declaration_key *key = declaration_key_find(first, n, name);
		g_autofree char *cut = shown(name), *below = g_strdup_printf("%s.%s", path, cut);
		const char *near;

		if (key) {
			check_value(key, value, below, findings);
		} else if (!is_open) {
			near = declaration_key_nearest(first, n, name);
			declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, below, near ? "there is no such key; was %s meant?" : "there is no such key", near);
		}
	}
	for (unsigned i = first; i < first + n; i++) {
		const struct declaration_key *key = declaration_key_at(i);
		g_autofree char *below = g_strdup_printf("%s.%s", path, key->name);

		if (key->flags & DECLARATION_REQUIRED && g_ascii_isalpha(*key->name) && !json_object_get(object, key->name))
			declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, below, "is missing; it must be there, as %s", declaration_value_text(key->type));
	}
}

static void check_word(const struct declaration_key *key, const json_t *value, const char *path, GPtrArray *findings)
{
	g_auto(GStrv) words = g_strsplit(key->values, "|", -1);
	g_autofree char *list = g_strjoinv(", ", words), *number = json_is_integer(value) ? g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value)) : NULL;
	const char *text = number ? number : json_string_value(value);

	if (text && !g_strv_contains((const char *const *)words, text))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, path, "must be one of %s", list);
}

static void check_value(const struct declaration_key *key, const json_t *value, const char *path, GPtrArray *findings)
{
	if (!declaration_value_is(key->type, value)) {
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, path, "must be %s", declaration_value_text(key->type));
		return;
	}
	if (key->values)
		check_word(key, value, path, findings);
	if (key->flags & DECLARATION_RANGED && (json_integer_value(value) < key->min || json_integer_value(value) > key->max))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, path, "must be from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, key->min, key->max);
	if (key->type == DECLARATION_OBJECT)
		check_object(key->first, key->n, key->flags & DECLARATION_OPEN || !key->n, value, path, findings);
	for (size_t i = 0; key->type == DECLARATION_ARRAY && key->n && i < json_array_size(value); i++) {
		g_autofree char *below = g_strdup_printf("%s[%zu]", path, i);

		check_value(declaration_key_at(key->first), json_array_get(value, i), below, findings);
	}
}

/* ---- references ---- */

static void reference_free(void *data)
{
	struct declaration_reference *r = data;

	g_free(r->path);
	g_free(r->target);
	g_free(r);
}

static void add_reference(GPtrArray *refs, const char *path, const json_t *value, const char *types)
{
	struct declaration_reference *r;

	if (!json_is_string(value))
		return;
	r = g_new0(struct declaration_reference, 1);
	*r = (struct declaration_reference){g_strdup(path), g_strdup(json_string_value(value)), types};
	g_ptr_array_add(refs, r);
}

/* What the catalog does not tell is known by its name. */
static const char *guess_types(const char *name)
{
	if (g_str_has_suffix(name, "AssetReference") || g_str_has_suffix(name, "AssetReferences"))
		return "com.apple.asset.*";
	return strcmp(name, "StandardConfigurations") ? NULL : "com.apple.configuration.*";
}

static void find_references(const struct declaration_key *key, const char *guessed, const json_t *value, const char *path, GPtrArray *refs);

static void find_below(const struct declaration_key *key, unsigned first, unsigned n, const json_t *object, const char *path, GPtrArray *refs)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, name, value) {
		const struct declaration_key *below = declaration_key_find(first, n, name);
		g_autofree char *cut = shown(name), *at = g_strdup_printf("%s.%s", path, cut);

		find_references(below, below && !(below->flags & DECLARATION_OPEN) ? NULL : guess_types(name), value, at, refs);
	}
}

static void find_references(const struct declaration_key *key, const char *guessed, const json_t *value, const char *path, GPtrArray *refs)
{
	if (key && key->refers)
		guessed = key->refers;
	if (guessed)
		add_reference(refs, path, value, guessed);
	if (json_is_object(value))
		find_below(key, key ? key->first : 0, key ? key->n : 0, value, path, refs);
	for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
		g_autofree char *at = g_strdup_printf("%s[%zu]", path, i);

		find_references(key && key->type == DECLARATION_ARRAY && key->n ? declaration_key_at(key->first) : NULL, guessed, json_array_get(value, i), at, refs);
	}
}

GPtrArray *declaration_references(const struct declaration *d)
{
	GPtrArray *refs = g_ptr_array_new_with_free_func(reference_free);

	find_below(NULL, d->row ? d->row->first : 0, d->row ? d->row->n : 0, d->payload, "Payload", refs);
	return refs;
}

/* ---- this server's own words ---- */

const char *declaration_profile(const struct declaration *d)
{
	const char *url = json_string_value(json_object_get(d->payload, "ProfileURL"));

	return url && g_str_has_prefix(url, DECLARATION_OWN_PROFILE) ? url + strlen(DECLARATION_OWN_PROFILE) : NULL;
}

bool declaration_has_own_data(const struct declaration *d)
{
	const char *url = json_string_value(json_object_get(json_object_get(d->payload, "Reference"), "DataURL"));

	return d->kind == DECLARATION_ASSET && url && !strcmp(url, DECLARATION_OWN_DATA);
}

json_t *declaration_with_urls(const json_t *payload, const char *data_url, const char *profile_url)
{
	json_t *copy = json_deep_copy(payload), *reference = json_object_get(copy, "Reference");

	if (data_url && reference)
		json_object_set_new(reference, "DataURL", json_string(data_url));
	if (profile_url)
		json_object_set_new(copy, "ProfileURL", json_string(profile_url));
	return copy;
}

void declaration_set_data(json_t *payload, const char *content_type, size_t size, const uint8_t sha256[32])
{
	json_t *reference = json_object_get(payload, "Reference");
	GString *hex = g_string_sized_new(64);

	if (!json_is_object(reference)) {
		reference = json_object();
		json_object_set_new(payload, "Reference", reference);
	}
	for (unsigned i = 0; i < 32; i++)
		g_string_append_printf(hex, "%02x", sha256[i]);
	json_object_set_new(reference, "DataURL", json_string(DECLARATION_OWN_DATA));
	json_object_set_new(reference, "Size", json_integer((json_int_t)size));
	json_object_set_new(reference, "Hash-SHA-256", json_string(hex->str));
	if (content_type)
		json_object_set_new(reference, "ContentType", json_string(content_type));
	g_string_free(hex, TRUE);
}

/* ---- addresses ---- */

static void check_https(const json_t *value, const char *path, GPtrArray *findings)
{
	const char *url = json_string_value(value);

	if (url && (g_ascii_strncasecmp(url, "https://", 8) || !url[8]))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, path, "must be an https URL");
}

static void check_urls(const struct declaration *d, GPtrArray *findings)
{
	const json_t *reference = json_object_get(d->payload, "Reference"), *profile = json_object_get(d->payload, "ProfileURL");

	if (d->kind == DECLARATION_ASSET && !declaration_has_own_data(d))
		check_https(json_object_get(reference, "DataURL"), "Payload.Reference.DataURL", findings);
	if (!strcmp(d->type, "com.apple.configuration.watch.enrollment"))
		check_https(json_object_get(d->payload, "EnrollmentProfileURL"), "Payload.EnrollmentProfileURL", findings);
	if (!g_str_has_prefix(d->type, "com.apple.configuration.legacy"))
		return;
	if (!declaration_profile(d))
		check_https(profile, "Payload.ProfileURL", findings);
	else if (!*declaration_profile(d))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, "Payload.ProfileURL", "names no profile: " DECLARATION_OWN_PROFILE "NAME");
	if (!profile == !json_object_get(d->payload, "ProfileAssetReference"))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, "Payload", profile ? "has both ProfileURL and ProfileAssetReference: devices take one" : "needs ProfileURL or ProfileAssetReference");
}

static void check_status_items(const struct declaration *d, GPtrArray *findings)
{
	const json_t *list = json_object_get(d->payload, "StatusItems");

	if (strcmp(d->type, "com.apple.configuration.management.status-subscriptions"))
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(list, i), "Name"));
		g_autofree char *path = g_strdup_printf("Payload.StatusItems[%zu].Name", i);

		if (name && !status_item_find(name))
			declaration_add_finding(findings, false, POM_ERR_DECLARATION_KEY, path, "\"%.64s\" is no status item of the catalog: a device that does not know it reports an error for it", name);
	}
}

static void check_predicate(const struct declaration *d, GPtrArray *findings)
{
	const char *predicate = json_string_value(json_object_get(d->payload, "Predicate"));
	g_autofree char *why = NULL;

	if (d->kind != DECLARATION_ACTIVATION || !predicate)
		return;
	if (!declaration_predicate_check(predicate, &why))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_PREDICATE, "Payload.Predicate", "%s", why);
	else if (why)
		declaration_add_finding(findings, false, POM_ERR_DECLARATION_PREDICATE, "Payload.Predicate", "%s", why);
}

GPtrArray *declaration_check(const struct declaration *d)
{
	GPtrArray *findings = declaration_findings_new();

	if (!d->row) {
		const char *near = declaration_type_nearest(d->type);

		declaration_add_finding(findings, true, POM_ERR_DECLARATION_TYPE, "Type", near ? "\"%s\" is not in the catalog; was %s meant? --force takes it as it is" : "\"%s\" is not in the catalog: --force takes it as it is", d->type, near);
		return findings;
	}
	check_object(d->row->first, d->row->n, false, d->payload, "Payload", findings);
	check_urls(d, findings);
	check_status_items(d, findings);
	check_predicate(d, findings);
	return findings;
}

/* ---- documents behind assets ---- */

void declaration_check_data(const char *asset_type, const void *data, size_t len, GPtrArray *findings)
{
	static const struct { const char *asset, *document; } documents[] = {
		{"com.apple.asset.credential.acme", "com.apple.credential.acme"}, {"com.apple.asset.credential.identity", "com.apple.credential.identity"},
		{"com.apple.asset.credential.scep", "com.apple.credential.scep"}, {"com.apple.asset.credential.userpassword", "com.apple.credential.usernameandpassword"},
	};
	const struct declaration_type *row = NULL;
	g_autoptr(json_t) json = NULL;
	g_autoptr(GError) inner = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(documents); i++)
		if (!strcmp(documents[i].asset, asset_type))
			row = declaration_type_find(documents[i].document);
	if (!row)
		return;
	json = json_parse(data, len, &inner);
	if (!json)
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, "data", "is no JSON, which %s must be: %s", row->name, inner->message);
	else if (!json_is_object(json))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_KEY, "data", "must be an object (%s)", row->name);
	else
		check_object(row->first, row->n, false, json, "data", findings);
}

/* ---- cycles ---- */

static bool walk(GHashTable *edges, const char *start, const char *at, GHashTable *seen, GPtrArray *way)
{
	const GPtrArray *next = g_hash_table_lookup(edges, at);

	g_ptr_array_add(way, (void *)(uintptr_t)at);
	for (guint i = 0; next && i < next->len; i++) {
		const char *to = g_ptr_array_index(next, i);

		if (!strcmp(to, start)) {
			g_ptr_array_add(way, (void *)(uintptr_t)to);
			return true;
		}
		if (g_hash_table_add(seen, (void *)(uintptr_t)to) && walk(edges, start, to, seen, way))
			return true;
	}
	g_ptr_array_set_size(way, (gint)way->len - 1);
	return false;
}

char *declaration_find_cycle(GHashTable *edges, const char *start)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) way = g_ptr_array_new();

	if (!walk(edges, start, start, seen, way))
		return NULL;
	g_ptr_array_add(way, NULL);
	return g_strjoinv(" → ", (char **)way->pdata);
}

/* ---- who can use it ---- */

static unsigned enrollment_bits(const struct command_target *t)
{
	/* Which of two kinds it is when one fact is missing is not judged. */
	if (t->user_enrollment == COMMAND_YES)
		return DECLARED_USER;
	if (t->supervised == COMMAND_YES)
		return DECLARED_SUPERVISED;
	return t->supervised == COMMAND_NO && t->user_enrollment == COMMAND_NO ? DECLARED_DEVICE : 0;
}

static bool suits(const uint32_t since[PLATFORM_MAX], const uint8_t enrollments[PLATFORM_MAX], const uint8_t scopes[PLATFORM_MAX], const struct command_target *t, const char **ret_why)
{
	unsigned kind = enrollment_bits(t), scope = t->user_channel ? DECLARED_USER_SCOPE : DECLARED_SYSTEM_SCOPE;
	bool is_shared = t->shared_ipad == COMMAND_YES;

	*ret_why = NULL;
	if (t->platform >= PLATFORM_MAX)
		return true;
	if (since[t->platform] == DECLARATION_NEVER)
		*ret_why = "its system does not know it";
	else if (t->os_version && since[t->platform] > t->os_version)
		*ret_why = "its system is too old for it";
	else if (kind && enrollments[t->platform] && !(enrollments[t->platform] & kind))
		*ret_why = kind == DECLARED_DEVICE && enrollments[t->platform] & DECLARED_SUPERVISED ? "the device would have to be supervised" : "its kind of enrollment cannot have it";
	else if (!is_shared && scopes[t->platform] && !(scopes[t->platform] & scope))
		*ret_why = t->user_channel ? "it is not for users" : "it is for users only";
	return !*ret_why;
}

char *declaration_unsuited(const struct declaration_type *type, const struct command_target *target)
{
	unsigned scope = target->user_channel ? DECLARED_USER_SCOPE : DECLARED_SYSTEM_SCOPE;
	const char *why;

	if (!suits(type->since, type->enrollments, type->scopes, target, &why))
		return g_strdup_printf("%s: %s", type->name, why);
	if (target->shared_ipad == COMMAND_YES && type->shared && !(type->shared & scope))
		return g_strdup_printf("%s: not on this channel of a Shared iPad", type->name);
	return NULL;
}

bool status_item_suits(const struct status_item *item, const struct command_target *target)
{
	static const uint32_t nothing[PLATFORM_MAX];
	const char *why;

	/* Of some items nothing is known but the name. */
	return memcmp(item->since, nothing, sizeof(nothing)) && suits(item->since, item->enrollments, item->scopes, target, &why);
}
