#include "codec/lint_internal.h"

#include <string.h>

#include "base/error.h"
#include "codec/base64.h"

static const struct lint_rule rules[LINT_RULE_MAX] = {
#define RULE(code, id, severity, other, systems, is_fixed, text, mend) [code] = {id, severity, other, systems, is_fixed, text, mend},
#include "codec/lint_rules.inc"
#undef RULE
};

const struct lint_rule *lint_rule(enum lint_rule_id id)
{
	return &rules[id];
}

void lint_report_free(struct lint_report *report)
{
	if (!report)
		return;
	finding_report_free(report->found);
	g_hash_table_unref(report->fixable);
	g_free(report);
}

struct lint_report *lint_report_new(const char *target)
{
	struct lint_report *report = g_new0(struct lint_report, 1);

	report->found = finding_report_new(target);
	report->fixable = g_hash_table_new(NULL, NULL);
	return report;
}

/* ---- lines ---- */

enum { STEPS_MAX = 10000 };

struct way_down { const plist *node; size_t rest; unsigned steps; };

/* Behind KEY at the beginning of PATH; NULL when PATH does not begin with it. */
static const char *skip_key(const char *path, const char *key)
{
	while (*key && *key == *path) {
		key++;
		path++;
	}
	return !*key && (!*path || *path == '.' || *path == '[') ? path : NULL;
}

/* Names of keys may hold dots, so that several ways may lead down: the one that leaves the least of PATH is remembered. */
static void go_down(const plist *node, const char *path, struct way_down *best)
{
	size_t rest = strlen(path);
	char *end;

	if (rest < best->rest) {
		best->node = node;
		best->rest = rest;
	}
	if (*path == '[' && plist_get_type(node) == PLIST_ARRAY) {
		const plist *child = plist_child(node, g_ascii_strtoull(path + 1, &end, 10));

		if (child && *end == ']')
			go_down(child, end + 1, best);
		return;
	}
	path += *path == '.';
	for (size_t i = 0; *path && best->rest && plist_get_type(node) == PLIST_DICT && i < plist_count(node) && best->steps; i++) {
		const char *behind = skip_key(path, plist_dict_key(node, i));

		if (!behind)
			continue;
		best->steps--;
		go_down(plist_child(node, i), behind, best);
	}
}

/* Of what PATH names, or of the nearest around it that is there; 0: not known. */
static int find_line(const struct lint *lint, const char *path)
{
	struct way_down best = {lint->pristine, SIZE_MAX, STEPS_MAX};

	if (!lint->pristine)
		return 0;
	go_down(lint->pristine, path, &best);
	return GPOINTER_TO_INT(g_hash_table_lookup(lint->notes->lines, best.node));
}

/* ---- adding ---- */

bool lint_has_room(const struct lint *lint)
{
	return lint->report->found->findings->len < FINDINGS_MAX;
}

static void add(struct lint_report *report, enum lint_rule_id id, enum lint_way way, unsigned systems, const char *path, int line, const char *mend, const char *text)
{
	const struct lint_rule *rule = &rules[id];
	const char *what = mend ? mend : rule->mend;
	g_autofree char *fixed = way == LINT_FIXED ? g_strdup_printf("%s%s", what, g_str_has_suffix(what, ".") ? " --fix does it." : "; --fix does it") : NULL;
	guint before = report->found->findings->len;

	finding_add(report->found, rule->id, way == LINT_OTHER ? rule->other : rule->severity, systems, path, line, fixed ? fixed : what, "%s", text);
	if (way == LINT_FIXED && report->found->findings->len > before)
		g_hash_table_add(report->fixable, report->found->findings->pdata[before]);
}

void lint_add(struct lint *lint, enum lint_rule_id id, enum lint_way way, const char *path, const char *mend, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	add(lint->report, id, way, rules[id].systems, path, lint_has_room(lint) ? find_line(lint, path) : 0, mend, text);
}

void lint_add_for(struct lint *lint, enum lint_rule_id id, enum lint_way way, unsigned systems, const char *path, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	add(lint->report, id, way, systems, path, lint_has_room(lint) ? find_line(lint, path) : 0, NULL, text);
}

void lint_report_add(struct lint_report *report, enum lint_rule_id id, const char *path, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	add(report, id, LINT_USUAL, rules[id].systems, path, 0, NULL, text);
}

/* ---- small tools ---- */

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

char *lint_describe(unsigned types)
{
	GString *text = g_string_new(NULL);

	for (int t = 0; t < PLIST_TYPE_MAX; t++) {
		const char *name = plist_type_name((enum plist_type)t);

		if (types & 1u << t)
			g_string_append_printf(text, "%s%s%s", text->len ? " or " : "", t == PLIST_DATA ? "" : strchr("aeiou", *name) ? "an " : "a ", name);
	}
	return g_string_free(text, FALSE);
}

bool lint_system_parse(const char *text, struct lint_system *ret, GError **error)
{
	g_auto(GStrv) halves = g_strsplit(text, "=", 2), parts = g_strsplit(halves[0] && halves[1] ? halves[1] : "", ".", -1);
	g_autofree char *name = g_ascii_strdown(halves[0] ? halves[0] : "", -1);
	unsigned bit = finding_system_parse(!strcmp(name, "ipados") ? "ios" : name);
	guint n = g_strv_length(parts);
	guint64 numbers[3] = {0};

	if (!bit || bit == FINDING_ALL_SYSTEMS)
		return pom_fail(error, POM_ERR_USAGE, "\"%.64s\" is no system: write ios, macos, watchos, tvos or visionos, with a version if need be: ios=17.2", text);
	for (guint i = 0; halves[1] && i < MAX(n, 1); i++)
		if (n > 3 || !n || !g_ascii_string_to_unsigned(parts[i], 10, 0, 99, &numbers[i], NULL))
			return pom_fail(error, POM_ERR_USAGE, "\"%.64s\" has no version of a system: write it as ios=17.2", text);
	*ret = (struct lint_system){bit, (uint32_t)(numbers[0] * 10000 + numbers[1] * 100 + numbers[2])};
	return true;
}

bool lint_systems_parse(const char *text, struct lint_system systems[LINT_SYSTEMS_MAX], size_t *n, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", LINT_SYSTEMS_MAX + 2);

	for (char **word = words; *word; word++) {
		if (*n == LINT_SYSTEMS_MAX)
			return pom_fail(error, POM_ERR_USAGE, "more than %d systems", LINT_SYSTEMS_MAX);
		if (!lint_system_parse(*word, &systems[*n], error))
			return false;
		(*n)++;
	}
	return true;
}

/* ---- what is no profile ---- */

static bool begins(const char *text, size_t len, const char *with)
{
	return len >= strlen(with) && !g_ascii_strncasecmp(text, with, strlen(with));
}

static bool is_wide(const uint8_t *data, size_t len)
{
	return len >= 2 && ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff) || !data[0] || !data[1]);
}

/* The rule for bytes that are neither a property list nor a message; LINT_RULE_MAX: they may be one. */
static enum lint_rule_id judge_kind(const void *data, size_t len)
{
	const char *text = data;

	if (!len)
		return LINT_FILE_EMPTY;
	if (is_wide(data, len) && !plist_is_binary(data, len))
		return LINT_FILE_UTF16;
	if (begins(text, len, "\xef\xbb\xbf")) {
		text += 3;
		len -= 3;
	}
	while (len && g_ascii_isspace(*text)) {
		text++;
		len--;
	}
	if (begins(text, len, "<!doctype html") || begins(text, len, "<html"))
		return LINT_FILE_HTML;
	if (begins(text, len, "-----BEGIN"))
		return memmem(text, MIN(len, 1 << 20), "PRIVATE KEY-----", 16) ? LINT_FILE_PRIVATE_KEY : LINT_FILE_PEM;
	return begins(text, len, "{") || begins(text, len, "[") ? LINT_FILE_JSON : LINT_RULE_MAX;
}

static enum lint_rule_id rule_of_plist(int code)
{
	switch (code) {
	case POM_ERR_PLIST_VALUE:
		return LINT_FILE_VALUE;
	case POM_ERR_PLIST_STRUCTURE:
		return LINT_FILE_STRUCTURE;
	case POM_ERR_PLIST_ENTITY:
		return LINT_FILE_ENTITY;
	case POM_ERR_PLIST_LIMIT:
		return LINT_FILE_LIMIT;
	default:
		return LINT_FILE_SYNTAX;
	}
}

/* Whether the outermost element of DER says that it is longer than the file (X.690 §8.1.3). */
static bool is_cut(const uint8_t *data, size_t len)
{
	size_t n = len > 1 ? data[1] & 0x7fu : 0, said = 0;

	if (len < 2 || (data[1] == 0x80 && len < 4))
		return true;
	if (data[1] == 0x80)
		return data[len - 1] || data[len - 2];
	if (data[1] < 0x80)
		return data[1] > len - 2;
	if (n > 4 || len < 2 + n)
		return n <= 4;
	for (size_t i = 0; i < n; i++)
		said = said << 8 | data[2 + i];
	return said > len - 2 - n;
}

/* Whether it is SignedData at all (RFC 5652 §3): its OBJECT IDENTIFIER stands at the front. */
static bool is_signed_data(const uint8_t *data, size_t len)
{
	static const uint8_t oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};

	return memmem(data, MIN(len, 20), oid, sizeof(oid)) != NULL;
}

static enum lint_rule_id rule_of_message(const uint8_t *data, size_t len, const GError *error)
{
	if (!is_signed_data(data, len))
		return is_cut(data, len) ? LINT_SIGNATURE_CUT : LINT_FILE_DER;
	if (is_cut(data, len))
		return LINT_SIGNATURE_CUT;
	switch (error->code) {
	case POM_ERR_PROFILE_NO_CERTIFICATE:
		return LINT_SIGNATURE_NO_CERTIFICATE;
	case POM_ERR_PROFILE:
		return LINT_SIGNATURE_DETACHED;
	case POM_ERR_CMS_SIGNATURE:
		return LINT_SIGNATURE_BROKEN;
	case POM_ERR_CMS_ALGORITHM:
		return LINT_SIGNATURE_ALGORITHM;
	default:
		return LINT_SIGNATURE_MALFORMED;
	}
}

/* ---- files ---- */

static void free_reference(void *data)
{
	struct lint_reference *reference = data;

	g_free(reference->path);
	g_free(reference->uuid);
	g_free(reference);
}

static void add_duplicates(struct lint_report *report, const struct plist_notes *notes)
{
	for (guint i = 0; i < notes->duplicates->len; i++) {
		const struct plist_duplicate *d = notes->duplicates->pdata[i];
		bool is_same = plist_equal(d->first, d->second);

		add(report, LINT_KEY_TWICE, is_same ? LINT_FIXED : LINT_USUAL, FINDING_ALL_SYSTEMS, d->path, d->line, NULL, is_same ? "the key stands there twice, with the same value" : "the key stands there twice, with another value: which of the two counts depends on the reader");
	}
}

/* Repairs PROFILE on the way, so that one mistake is said once. */
static void run(plist *profile, const plist *pristine, const struct plist_notes *notes, GBytes *bytes, const struct lint_facts *facts, struct lint_report *report)
{
	g_autoptr(GHashTable) uuids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), identifiers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), types = g_hash_table_new(NULL, NULL),
	                      certificates = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(free_reference);
	struct lint lint = {.facts = facts, .report = report, .pristine = pristine, .notes = notes, .uuids = uuids, .identifiers = identifiers, .types = types, .certificates = certificates, .said = said, .references = references};

	cert_sha256(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), lint.seed);
	add_duplicates(report, notes);
	lint_profile(&lint, profile);
}

/* The message without "line 7, ": the line stands in the finding. */
static const char *without_line(const char *message)
{
	const char *p = message;

	if (!g_str_has_prefix(p, "line "))
		return message;
	for (p += 5; g_ascii_isdigit(*p); p++)
		continue;
	return !strncmp(p, ", ", 2) || !strncmp(p, ": ", 2) ? p + 2 : message;
}

/* False: it is no property list. */
static bool lint_content(struct lint_report *report, GBytes *content, const struct lint_facts *facts)
{
	gsize len;
	const void *data = g_bytes_get_data(content, &len);
	enum lint_rule_id kind = judge_kind(data, len);
	g_auto(plist_notes_auto) notes = {0};
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) pristine = NULL, profile = NULL;

	plist_notes_init(&notes);
	if (kind != LINT_RULE_MAX) {
		lint_report_add(report, kind, "", "%.*s", (int)strlen(rules[kind].text) - 1, rules[kind].text);
		return false;
	}
	pristine = plist_parse_any(data, len, NULL, &notes, &error);
	if (!pristine) {
		kind = rule_of_plist(error->code);
		add(report, kind, LINT_USUAL, FINDING_ALL_SYSTEMS, "", notes.error_line, NULL, without_line(error->message));
		return false;
	}
	if (plist_is_binary(data, len))
		add(report, LINT_FILE_BINARY, LINT_FIXED, FINDING_ALL_SYSTEMS, "", 0, NULL, "a binary property list: devices read it, but there are no lines to name, and Pomona writes XML");
	profile = plist_copy(pristine);
	run(profile, pristine, &notes, content, facts, report);
	return true;
}

bool lint_is_json(const void *data, size_t len)
{
	return judge_kind(data, len) == LINT_FILE_JSON;
}

struct lint_report *lint_file(const char *target, const void *data, size_t len, const struct lint_facts *facts)
{
	struct lint_report *report = lint_report_new(target);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) content = mobileconfig_open(data, len, NULL, &error);

	report->is_signed = mobileconfig_is_signed(data, len);
	if (!content)
		lint_report_add(report, rule_of_message(data, len, error), "", "%s", error->message);
	else if (lint_content(report, content, facts) && !report->is_signed && !facts->is_inner)
		lint_report_add(report, LINT_SIGNATURE_NONE, "", "the profile is not signed: devices show it as not verified");
	return report;
}

static bool refuse_duplicates(const struct plist_notes *notes, GError **error)
{
	for (guint i = 0; i < notes->duplicates->len; i++) {
		const struct plist_duplicate *d = notes->duplicates->pdata[i];

		if (!plist_equal(d->first, d->second))
			return pom_fail(error, POM_ERR_PLIST_STRUCTURE, "line %d: %s stands there twice with two values: which one is meant cannot be guessed. Remove one", d->line, d->path);
	}
	return true;
}

GBytes *lint_fix(const char *target, const void *data, size_t len, const struct lint_facts *facts, struct lint_report **ret_report, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, len), fixed = NULL;
	g_auto(plist_notes_auto) notes = {0};
	g_autoptr(lint_report) first = lint_report_new(target);
	g_autoptr(plist) profile = NULL;

	plist_notes_init(&notes);
	if (mobileconfig_is_signed(data, len)) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile is signed: a repair would break its signature. Repair what it was signed from, and sign that again");
		return NULL;
	}
	profile = plist_parse_any(data, len, NULL, &notes, error);
	if (!profile || !refuse_duplicates(&notes, error))
		return NULL;
	run(profile, NULL, &notes, bytes, facts, first);
	fixed = plist_format(profile, error);
	if (fixed)
		*ret_report = lint_file(target, g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), facts);
	return g_steal_pointer(&fixed);
}

json_t *lint_format(const struct lint_report *report)
{
	json_t *json = finding_report_format(report->found), *item;
	size_t i;

	json_array_foreach(json_object_get(json, "findings"), i, item)
		json_object_set_new(item, "fixable", json_boolean(g_hash_table_contains(report->fixable, report->found->findings->pdata[i])));
	json_object_set_new(json, "signed", json_boolean(report->is_signed));
	json_object_set_new(json, "encrypted", json_boolean(report->is_encrypted));
	return json;
}
