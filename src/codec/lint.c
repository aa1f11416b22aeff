#include "codec/lint_internal.h"

#include <string.h>

#include "base/distance.h"
#include "base/error.h"
#include "base/face.h"
#include "codec/base64.h"

enum { PAYLOADS_MAX = 1000 };

#define PROFILE_TYPE "Configuration"
#define COMMON_TYPE "*"

static void free_finding(void *data)
{
	struct lint_finding *finding = data;

	g_free(finding->path);
	g_free(finding->what);
	g_free(finding->mend);
	g_free(finding);
}

void lint_report_free(struct lint_report *report)
{
	if (!report)
		return;
	g_ptr_array_unref(report->findings);
	g_free(report);
}

void lint_add(struct lint *lint, enum lint_kind kind, const char *path, const char *mend, const char *format, ...)
{
	struct lint_finding *finding;
	va_list args;

	if (kind == LINT_WARNING)
		lint->report->n_warnings++;
	else
		lint->report->n_errors++;
	if (lint->report->findings->len >= LINT_FINDINGS_MAX)
		return;
	finding = g_new0(struct lint_finding, 1);
	finding->is_error = kind != LINT_WARNING;
	finding->is_fixable = kind == LINT_FIXABLE_ERROR;
	finding->path = g_strdup(path);
	finding->mend = g_strdup(mend);
	va_start(args, format);
	finding->what = g_strdup_vprintf(format, args);
	va_end(args);
	g_ptr_array_add(lint->report->findings, finding);
}

char *lint_path(const char *path, const char *key)
{
	return *path ? g_strconcat(path, ".", key, NULL) : g_strdup(key);
}

plist *lint_child(const plist *dict, const char *key)
{
	return (plist *)(uintptr_t)plist_dict_get(dict, key);
}

void lint_rename(plist *dict, const char *from, const char *to)
{
	plist *value = plist_copy(plist_dict_get(dict, from));

	plist_dict_remove(dict, from);
	plist_dict_set(dict, to, value);
}

GBytes *lint_decode(const char *text)
{
	size_t len = strlen(text), n;
	uint8_t *out = g_malloc(base64_decoded_max(len));

	if (len && base64_parse(text, len, BASE64_SPACE, out, &n) && n)
		return g_bytes_new_take(out, n);
	g_free(out);
	return NULL;
}

static const char *article(const char *noun)
{
	return strchr("aeiou", *noun) ? "an" : "a";
}

/* "a string or an array" */
static char *describe_types(unsigned types)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int t = 0; t < PLIST_TYPE_MAX; t++) {
		const char *name = plist_type_name((enum plist_type)t);

		if (types & 1u << t)
			g_string_append_printf(text, "%s%s%s%s", text->len ? " or " : "", t == PLIST_DATA ? "" : article(name), t == PLIST_DATA ? "" : " ", name);
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

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
	g_autofree char *got = describe_types(1u << plist_get_type(value));
	const char *text = plist_get_string(value);

	if (text && *text)
		return text;
	if (value && !text) {
		lint_add(lint, LINT_ERROR, where, NULL, "is %s, must be a string", got);
		return NULL;
	}
	lint_add(lint, made ? LINT_FIXABLE_ERROR : LINT_ERROR, where, made ? "one can be made" : "every profile and every payload has its own", value ? "is empty" : "is missing");
	if (!made)
		return NULL;
	plist_dict_set_string(dict, key, made);
	return plist_get_string(plist_dict_get(dict, key));
}

static void check_version(struct lint *lint, plist *dict, const char *path)
{
	g_autofree char *where = lint_path(path, "PayloadVersion");
	const plist *value = plist_dict_get(dict, "PayloadVersion");
	g_autofree char *got = describe_types(1u << plist_get_type(value));
	const char *text = plist_get_string(value);
	int64_t version;

	if (plist_get_integer(value, &version)) {
		if (version != 1)
			lint_add(lint, LINT_ERROR, where, "there is only 1: it does not count the versions of your profile", "is %" G_GINT64_FORMAT, version);
		return;
	}
	if (value && g_strcmp0(text, "1")) {
		lint_add(lint, LINT_ERROR, where, "write <integer>1</integer>", "is %s, must be the integer 1", got);
		return;
	}
	lint_add(lint, LINT_FIXABLE_ERROR, where, "write <integer>1</integer>", text ? "is the string \"1\", must be the integer 1" : "is missing");
	plist_dict_set_integer(dict, "PayloadVersion", 1);
}

static void check_uuid(struct lint *lint, const char *uuid, const char *path, const char *type)
{
	g_autofree char *where = lint_path(path, "PayloadUUID"), *upper = g_ascii_strup(uuid, -1);

	if (!pom_id_check(uuid))
		lint_add(lint, LINT_WARNING, where, "uuidgen makes one", "\"%.64s\" does not have the form of a UUID", uuid);
	if (!g_hash_table_insert(lint->uuids, g_steal_pointer(&upper), (void *)(uintptr_t)type))
		lint_add(lint, LINT_ERROR, where, "give each payload a UUID of its own", "stands in this profile twice (MCProfileErrorDomain 1007)");
}

static void check_identifier(struct lint *lint, const char *identifier, const char *path)
{
	g_autofree char *where = lint_path(path, "PayloadIdentifier");

	if (!g_hash_table_add(lint->identifiers, g_strdup(identifier)))
		lint_add(lint, LINT_ERROR, where, "give each payload an identifier of its own", "\"%.128s\" stands in this profile twice (MCProfileErrorDomain 1008)", identifier);
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

/* ---- against the table ---- */

/* The keys that a dictionary may have. */
struct scope {
	unsigned first, n; /* in the table */
	bool has_head;     /* and the keys that all payloads have */
	bool is_strict;    /* what is missing, or has a value that is not known, is an error */
};

static void check_dict(struct lint *lint, plist *dict, const char *path, struct scope scope);

/* The row of a key that all payloads have. */
static const struct payload_key *common_key(const char *key)
{
	const struct payload_type *common = payload_type_find(COMMON_TYPE);

	return payload_key_find(common->first, common->n_keys, key);
}

/* One of the four that check_head has looked at. */
static bool is_head_key(const char *key)
{
	const struct payload_key *row = common_key(key);

	return row && (row->flags & PAYLOAD_REQUIRED);
}

static void find_nearest(const char *key, unsigned first, unsigned n, const char **nearest, unsigned *least)
{
	for (unsigned i = first; i < first + n; i++) {
		const struct payload_key *row = payload_key_at(i);
		unsigned distance = pom_name_distance(key, row->name);

		if (distance < *least && payload_name_is_near(key, row->name)) {
			*nearest = row->name;
			*least = distance;
		}
	}
}

static void say_unknown(struct lint *lint, const char *key, const char *where, struct scope scope)
{
	const struct payload_type *common = payload_type_find(COMMON_TYPE);
	const char *nearest = NULL;
	unsigned least = 255;
	g_autofree char *mend = NULL;

	/* Comparing takes time, which is not spent on what nobody is told. */
	if (lint->report->findings->len < LINT_FINDINGS_MAX)
		find_nearest(key, scope.first, scope.n, &nearest, &least);
	if (lint->report->findings->len < LINT_FINDINGS_MAX && scope.has_head)
		find_nearest(key, common->first, common->n_keys, &nearest, &least);
	mend = nearest ? g_strdup_printf("did you mean \"%s\"?", nearest) : NULL;
	lint_add(lint, LINT_WARNING, where, mend, "this key is not known here: devices may pass it over");
}

static bool is_one_of(const char *value, const char *values)
{
	g_auto(GStrv) words = g_strsplit(values, "|", -1);

	return g_strv_contains((const char *const *)words, value);
}

static bool is_in_range(double value, const char *range)
{
	const char *dots = strstr(range, "..");

	return value >= g_ascii_strtod(range, NULL) && (!dots[2] || value <= g_ascii_strtod(dots + 2, NULL));
}

/* Whether VALUES of the table allow VALUE; what cannot be compared is allowed. */
static bool is_allowed(const plist *value, const char *values)
{
	char text[32];
	int64_t integer;
	double real;

	if (plist_get_string(value))
		return strstr(values, "..") || is_one_of(plist_get_string(value), values);
	if (plist_get_integer(value, &integer)) {
		g_snprintf(text, sizeof(text), "%" G_GINT64_FORMAT, integer);
		return strstr(values, "..") ? is_in_range((double)integer, values) : is_one_of(text, values) || strchr(values, '.');
	}
	return !plist_get_real(value, &real) || !strstr(values, "..") || is_in_range(real, values);
}

static bool is_number(unsigned types)
{
	return types & (1u << PLIST_INTEGER | 1u << PLIST_REAL | 1u << PLIST_BOOLEAN);
}

/* False when VALUE is not of a type that the row allows. PARENT is the dictionary that it is the child of, NULL in an array. */
static bool check_type(struct lint *lint, plist *parent, const plist *value, const char *where, const struct payload_key *row)
{
	enum plist_type type = plist_get_type(value);
	const char *text = plist_get_string(value);
	g_autoptr(GBytes) data = text && (row->types & 1u << PLIST_DATA) ? lint_decode(text) : NULL;
	g_autofree char *wanted = describe_types(row->types), *got = describe_types(1u << type);
	gsize len;

	if (row->types & 1u << type)
		return true;
	if (type == PLIST_INTEGER && (row->types & 1u << PLIST_REAL))
		return true;
	if (data && parent) {
		lint_add(lint, LINT_FIXABLE_ERROR, where, "write the base64 text between <data> and </data>", "is a string, must be data");
		plist_dict_set_data(parent, row->name, g_bytes_get_data(data, &len), g_bytes_get_size(data));
		return false;
	}
	/* Devices read the one kind of number for the other in most places. */
	lint_add(lint, is_number(1u << type) && is_number(row->types) ? LINT_WARNING : LINT_ERROR, where, NULL, "is %s, must be %s", got, wanted);
	return false;
}

static void note_reference(struct lint *lint, const char *uuid, const char *where, const struct payload_key *row)
{
	struct lint_reference *reference;

	if (!uuid || !(row->flags & (PAYLOAD_REFERS_CERTIFICATE | PAYLOAD_REFERS_IDENTITY)))
		return;
	reference = g_new0(struct lint_reference, 1);
	*reference = (struct lint_reference){g_strdup(where), g_strdup(uuid), row->flags & PAYLOAD_REFERS_IDENTITY};
	g_ptr_array_add(lint->references, reference);
}

static void check_value(struct lint *lint, plist *parent, const plist *value, const char *where, const struct payload_key *row, bool is_strict)
{
	const struct payload_key *item;

	if (!check_type(lint, parent, value, where, row))
		return;
	if (row->values && !is_allowed(value, row->values))
		lint_add(lint, is_strict ? LINT_ERROR : LINT_WARNING, where, NULL, "the value is not one of those that devices know: %s", row->values);
	note_reference(lint, plist_get_string(value), where, row);
	if (!row->n_children)
		return;
	if (plist_get_type(value) == PLIST_DICT)
		check_dict(lint, (plist *)(uintptr_t)value, where, (struct scope){.first = row->first, .n = row->n_children, .is_strict = is_strict});
	item = plist_get_type(value) == PLIST_ARRAY ? payload_key_find(row->first, row->n_children, "[]") : NULL;
	for (size_t i = 0; item && i < plist_count(value); i++) {
		g_autofree char *path = g_strdup_printf("%s[%zu]", where, i);

		check_value(lint, NULL, plist_child(value, i), path, item, false);
	}
}

/* Written by older tools into every payload, and harmless. */
static bool is_harmless(const char *key)
{
	return !strcmp(key, "PayloadEnabled");
}

static void check_entry(struct lint *lint, plist *dict, size_t i, const char *path, struct scope scope)
{
	const char *key = plist_dict_key(dict, i);
	g_autofree char *where = lint_path(path, key);
	const struct payload_key *row = payload_key_find(scope.first, scope.n, key);

	if (scope.has_head && (is_head_key(key) || is_harmless(key)))
		return;
	if (!row && scope.has_head)
		row = common_key(key);
	if (!row)
		row = payload_key_find(scope.first, scope.n, "ANY");
	if (row)
		check_value(lint, strcmp(row->name, "ANY") ? dict : NULL, plist_child(dict, i), where, row, scope.is_strict);
	else
		say_unknown(lint, key, where, scope);
}

static void check_required(struct lint *lint, const plist *dict, const char *path, struct scope scope)
{
	for (unsigned i = scope.first; i < scope.first + scope.n; i++) {
		const struct payload_key *row = payload_key_at(i);
		g_autofree char *where = lint_path(path, row->name);

		if (!(row->flags & PAYLOAD_REQUIRED) || (scope.has_head && is_head_key(row->name)) || !strcmp(row->name, "ANY") || plist_dict_get(dict, row->name))
			continue;
		lint_add(lint, scope.is_strict ? LINT_ERROR : LINT_WARNING, where, NULL, "is missing, and required");
	}
}

static void check_dict(struct lint *lint, plist *dict, const char *path, struct scope scope)
{
	for (size_t i = 0; i < plist_count(dict); i++)
		check_entry(lint, dict, i, path, scope);
	check_required(lint, dict, path, scope);
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
		mend = nearest ? g_strdup_printf("did you mean \"%s\"?", nearest) : g_strdup("a Mac takes it for the settings of the application with this name; other devices refuse it");
		lint_add(lint, LINT_WARNING, where, mend, "the payload type \"%.128s\" is not known", type);
		return;
	}
	if (!known->is_multiple && !g_hash_table_add(lint->types, (void *)(uintptr_t)known) && strcmp(type, "com.apple.mdm"))
		lint_add(lint, LINT_WARNING, where, "put the settings into one payload", "there are several payloads of type %s, and devices take one only", type);
	check_dict(lint, payload, path, (struct scope){known->first, known->n_keys, true, is_strict_type(type)});
}

static void check_payload(struct lint *lint, plist *payload, size_t i)
{
	g_autofree char *path = g_strdup_printf("PayloadContent[%zu]", i), *got = describe_types(1u << plist_get_type(payload));
	const char *type;

	if (plist_get_type(payload) != PLIST_DICT) {
		lint_add(lint, LINT_ERROR, path, NULL, "is %s, must be a dictionary", got);
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

static void check_references(struct lint *lint)
{
	for (guint i = 0; i < lint->references->len; i++) {
		const struct lint_reference *r = lint->references->pdata[i];
		g_autofree char *upper = g_ascii_strup(r->uuid, -1);
		const char *type = g_hash_table_lookup(lint->uuids, upper);

		if (!type || !*type)
			lint_add(lint, LINT_ERROR, r->path, "it must be the PayloadUUID of the payload with the certificate, in the same profile", "\"%.64s\" names no payload of this profile", r->uuid);
		else if (r->to_identity && !is_identity(type))
			lint_add(lint, LINT_ERROR, r->path, "it must be the PayloadUUID of a SCEP, ACME or PKCS#12 payload", "\"%.64s\" names a payload of type %s, which is no identity", r->uuid, type);
	}
}

/* ---- the profile ---- */

static void check_content(struct lint *lint, plist *profile)
{
	const plist *content = plist_dict_get(profile, "PayloadContent"), *encrypted = plist_dict_get(profile, "EncryptedPayloadContent");

	lint->report->is_encrypted = plist_get_type(encrypted) == PLIST_DATA;
	if (encrypted && content)
		lint_add(lint, LINT_ERROR, "EncryptedPayloadContent", "a profile has one of them", "stands beside PayloadContent");
	if (!encrypted && !content)
		lint_add(lint, LINT_ERROR, "PayloadContent", NULL, "is missing");
	if (plist_get_type(content) != PLIST_ARRAY)
		return;
	if (plist_count(content) > PAYLOADS_MAX) {
		lint_add(lint, LINT_ERROR, "PayloadContent", "make several profiles of it", "has %zu payloads, at most %d are taken", plist_count(content), PAYLOADS_MAX);
		return;
	}
	if (!plist_count(content))
		lint_add(lint, LINT_WARNING, "PayloadContent", NULL, "is empty: the profile does nothing");
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
		lint_add(lint, LINT_ERROR, "RemovalDate", NULL, "is in the past: devices refuse the profile (MCInstallationErrorDomain 4006)");
	if ((plist_get_real(duration, &seconds) && !(seconds > 0)) || (plist_get_integer(duration, &whole) && whole <= 0))
		lint_add(lint, LINT_ERROR, "DurationUntilRemoval", NULL, "must be more than 0 seconds");
	if (duration && plist_dict_get(profile, "RemovalDate"))
		lint_add(lint, LINT_WARNING, "DurationUntilRemoval", NULL, "stands beside RemovalDate: the earlier of the two counts");
}

static void check_profile(struct lint *lint, plist *profile)
{
	const struct payload_type *top = payload_type_find(PROFILE_TYPE);
	g_autofree char *got = describe_types(1u << plist_get_type(profile));
	const char *type;

	if (plist_get_type(profile) != PLIST_DICT) {
		lint_add(lint, LINT_ERROR, "", NULL, "the property list is %s, must be a dictionary", got);
		return;
	}
	type = check_head(lint, profile, "", PROFILE_TYPE);
	if (type && strcmp(type, PROFILE_TYPE))
		lint_add(lint, LINT_ERROR, "PayloadType", "put the payload into the PayloadContent array of a profile whose type is Configuration", "is \"%.128s\", must be Configuration", type);
	check_dict(lint, profile, "", (struct scope){top->first, top->n_keys, true, true});
	check_ends(lint, profile);
	check_content(lint, profile);
}

static void free_reference(void *data)
{
	struct lint_reference *reference = data;

	g_free(reference->path);
	g_free(reference->uuid);
	g_free(reference);
}

static struct lint_report *new_report(void)
{
	struct lint_report *report = g_new0(struct lint_report, 1);

	report->findings = g_ptr_array_new_with_free_func(free_finding);
	return report;
}

/* Repairs PROFILE on the way, so that one mistake is said once. */
static void run(plist *profile, GBytes *bytes, const struct lint_facts *facts, struct lint_report *report)
{
	g_autoptr(GHashTable) uuids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), identifiers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), types = g_hash_table_new(NULL, NULL);
	g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(free_reference);
	struct lint lint = {.facts = facts, .report = report, .uuids = uuids, .identifiers = identifiers, .types = types, .references = references};

	cert_sha256(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), lint.seed);
	check_profile(&lint, profile);
}

static void add_broken(struct lint_report *report, const char *message)
{
	struct lint lint = {.report = report};

	lint_add(&lint, LINT_ERROR, "", NULL, "%s", message);
}

struct lint_report *lint_file(const void *data, size_t len, const struct lint_facts *facts)
{
	struct lint_report *report = new_report();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) content = mobileconfig_open(data, len, NULL, &error);
	g_autoptr(plist) profile = content ? plist_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), NULL, &error) : NULL;
	struct lint lint = {.report = report};

	report->is_signed = mobileconfig_is_signed(data, len);
	if (!profile) {
		add_broken(report, error->message);
		return report;
	}
	run(profile, content, facts, report);
	if (!report->is_signed)
		lint_add(&lint, LINT_WARNING, "", "pomona profile sign signs it", "the profile is not signed: devices show it as not verified");
	return report;
}

GBytes *lint_fix(const void *data, size_t len, const struct lint_facts *facts, struct lint_report **ret_report, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, len), fixed = NULL;
	g_autoptr(lint_report) first = new_report();
	g_autoptr(plist) profile = NULL;

	if (mobileconfig_is_signed(data, len)) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile is signed: a repair would break its signature. Repair what it was signed from, and sign that again");
		return NULL;
	}
	profile = plist_parse(data, len, NULL, error);
	if (!profile)
		return NULL;
	run(profile, bytes, facts, first);
	fixed = plist_format(profile, error);
	if (fixed)
		*ret_report = lint_file(g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), facts);
	return g_steal_pointer(&fixed);
}

json_t *lint_format(const struct lint_report *report)
{
	json_t *findings = json_array();

	for (guint i = 0; i < report->findings->len; i++) {
		const struct lint_finding *f = report->findings->pdata[i];
		g_autofree char *path = g_utf8_make_valid(f->path, -1), *what = g_utf8_make_valid(f->what, -1), *mend = f->mend ? g_utf8_make_valid(f->mend, -1) : NULL;

		json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s?, s:b}", "severity", f->is_error ? "error" : "warning", "path", path, "what", what, "mend", mend, "fixable", f->is_fixable));
	}
	return json_pack("{s:i, s:i, s:b, s:b, s:o}", "errors", (int)report->n_errors, "warnings", (int)report->n_warnings, "signed", report->is_signed, "encrypted", report->is_encrypted, "findings", findings);
}
