/* Dictionaries against the table of keys: names, types, values, systems. */
#include <string.h>

#include "base/distance.h"
#include "codec/lint_internal.h"

#define COMMON_TYPE "*"

/* The row of a key that all payloads have. */
static const struct payload_key *common_key(const char *key)
{
	const struct payload_type *common = payload_type_find(COMMON_TYPE);

	return payload_key_find(common->first, common->n_keys, key);
}

/* One of the four that the profile's check has looked at. */
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

static void say_unknown(struct lint *lint, const char *key, const char *where, struct lint_scope scope)
{
	const struct payload_type *common = payload_type_find(COMMON_TYPE);
	const char *nearest = NULL;
	unsigned least = 255;
	g_autofree char *mend = NULL;

	if (lint_has_room(lint))
		find_nearest(key, scope.first, scope.n, &nearest, &least);
	if (lint_has_room(lint) && scope.has_head)
		find_nearest(key, common->first, common->n_keys, &nearest, &least);
	mend = nearest ? g_strdup_printf("did you mean \"%s\"?", nearest) : NULL;
	lint_add(lint, LINT_KEY_UNKNOWN, LINT_USUAL, where, mend, "this key is not known here: devices may pass it over");
}

/* ---- values ---- */

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

static bool is_range(const char *values)
{
	return *values != '^' && strstr(values, "..");
}

/* Whether VALUES of the table allow VALUE; what cannot be compared is allowed. */
static bool is_allowed(const plist *value, const char *values)
{
	const char *string = plist_get_string(value);
	char text[32];
	int64_t integer;
	double real;

	if (*values == '^')
		return !string || g_regex_match_simple(values, string, 0, 0);
	if (string)
		return is_range(values) || is_one_of(string, values);
	if (plist_get_integer(value, &integer)) {
		g_snprintf(text, sizeof(text), "%" G_GINT64_FORMAT, integer);
		return is_range(values) ? is_in_range((double)integer, values) : is_one_of(text, values) || strchr(values, '.');
	}
	return !plist_get_real(value, &real) || !is_range(values) || is_in_range(real, values);
}

static void check_values(struct lint *lint, const plist *value, const char *where, const struct payload_key *row, bool is_strict)
{
	enum lint_way way = is_strict ? LINT_USUAL : LINT_OTHER;

	if (!row->values || is_allowed(value, row->values))
		return;
	if (*row->values == '^')
		lint_add(lint, LINT_KEY_FORMAT, LINT_USUAL, where, NULL, "the text does not have the form that it must have: %s", row->values);
	else if (is_range(row->values))
		lint_add(lint, LINT_KEY_RANGE, way, where, NULL, "the number is not within %s", row->values);
	else
		lint_add(lint, LINT_KEY_VALUE, way, where, NULL, "the value is not one of those that devices know: %s", row->values);
}

static bool is_number(unsigned types)
{
	return types & (1u << PLIST_INTEGER | 1u << PLIST_REAL | 1u << PLIST_BOOLEAN);
}

/* VALUE as the one type that the row takes, transfer full, when it can be meant in one way only; NULL. */
static plist *convert(const plist *value, unsigned types)
{
	const char *text = plist_get_string(value);
	gint64 number;

	if (types == 1u << PLIST_BOOLEAN && text && (!strcmp(text, "true") || !strcmp(text, "false")))
		return plist_new_boolean(*text == 't');
	if (types == 1u << PLIST_INTEGER && text && (*text != '0' || !text[1]) && g_ascii_isdigit(*text) && g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &number, NULL))
		return plist_new_integer(number);
	return NULL;
}

/* False when VALUE is not of a type that the row allows. PARENT is the dictionary that it is the child of, NULL in an array. */
static bool check_type(struct lint *lint, plist *parent, const plist *value, const char *where, const struct payload_key *row)
{
	enum plist_type type = plist_get_type(value);
	const char *text = plist_get_string(value);
	g_autoptr(GBytes) data = text && (row->types & 1u << PLIST_DATA) ? lint_decode(text) : NULL;
	g_autofree char *wanted = lint_describe(row->types), *got = lint_describe(1u << type);
	plist *converted;
	gsize len;

	if (row->types & 1u << type)
		return true;
	if (type == PLIST_INTEGER && (row->types & 1u << PLIST_REAL))
		return true;
	if (data && parent) {
		lint_add(lint, LINT_KEY_DATA, LINT_FIXED, where, NULL, "is a string, must be data");
		plist_dict_set_data(parent, row->name, g_bytes_get_data(data, &len), g_bytes_get_size(data));
		return false;
	}
	/* Devices read the one kind of number for the other in most places. */
	converted = parent ? convert(value, row->types) : NULL;
	lint_add(lint, LINT_KEY_TYPE, converted ? LINT_FIXED : is_number(1u << type) && is_number(row->types) ? LINT_OTHER : LINT_USUAL, where, NULL, "is %s, must be %s", got, wanted);
	if (converted)
		plist_dict_set(parent, row->name, converted);
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

/* A reference to a payload that is not there is said as such, and not besides for its form. */
static bool is_reference(const struct payload_key *row)
{
	return row->flags & (PAYLOAD_REFERS_CERTIFICATE | PAYLOAD_REFERS_IDENTITY);
}

static void check_value(struct lint *lint, plist *parent, const plist *value, const char *where, const struct payload_key *row, struct lint_scope scope)
{
	const struct payload_key *item;

	lint_systems(lint, where, LINT_SUBJECT_KEY, row->systems, scope.systems);
	if (!check_type(lint, parent, value, where, row))
		return;
	if (!is_reference(row))
		check_values(lint, value, where, row, scope.is_strict);
	note_reference(lint, plist_get_string(value), where, row);
	if (!row->n_children)
		return;
	scope.systems = row->systems;
	if (plist_get_type(value) == PLIST_DICT)
		lint_dict(lint, (plist *)(uintptr_t)value, where, (struct lint_scope){.first = row->first, .n = row->n_children, .is_strict = scope.is_strict, .systems = row->systems});
	item = plist_get_type(value) == PLIST_ARRAY ? payload_key_find(row->first, row->n_children, "[]") : NULL;
	scope.is_strict = false;
	for (size_t i = 0; item && i < plist_count(value); i++) {
		g_autofree char *path = g_strdup_printf("%s[%zu]", where, i);

		check_value(lint, NULL, plist_child(value, i), path, item, scope);
	}
}

/* Written by older tools into every payload, and harmless. */
static bool is_harmless(const char *key)
{
	return !strcmp(key, "PayloadEnabled");
}

static void check_entry(struct lint *lint, plist *dict, size_t i, const char *path, struct lint_scope scope)
{
	const char *key = plist_dict_key(dict, i);
	g_autofree char *where = lint_path(path, key);
	const struct payload_key *row = payload_key_find(scope.first, scope.n, key);

	if ((scope.has_head && (is_head_key(key) || is_harmless(key))) || g_hash_table_contains(lint->said, where))
		return;
	if (!row && scope.has_head && (row = common_key(key)))
		scope.systems = row->systems;
	if (!row)
		row = payload_key_find(scope.first, scope.n, "ANY");
	if (row)
		check_value(lint, strcmp(row->name, "ANY") ? dict : NULL, plist_child(dict, i), where, row, scope);
	else
		say_unknown(lint, key, where, scope);
}

static void check_required(struct lint *lint, const plist *dict, const char *path, struct lint_scope scope)
{
	for (unsigned i = scope.first; i < scope.first + scope.n; i++) {
		const struct payload_key *row = payload_key_at(i);
		g_autofree char *where = lint_path(path, row->name);

		if (!(row->flags & PAYLOAD_REQUIRED) || (scope.has_head && is_head_key(row->name)) || !strcmp(row->name, "ANY") || plist_dict_get(dict, row->name))
			continue;
		lint_add(lint, LINT_KEY_MISSING, scope.is_strict ? LINT_USUAL : LINT_OTHER, where, NULL, "is missing, and required");
	}
}

void lint_dict(struct lint *lint, plist *dict, const char *path, struct lint_scope scope)
{
	for (size_t i = 0; i < plist_count(dict); i++)
		check_entry(lint, dict, i, path, scope);
	check_required(lint, dict, path, scope);
}

/* ---- systems ---- */

static const unsigned bits[PAYLOAD_SYSTEM_MAX] = {
	[PAYLOAD_IOS] = FINDING_IOS, [PAYLOAD_MACOS] = FINDING_MACOS, [PAYLOAD_WATCHOS] = FINDING_WATCHOS, [PAYLOAD_TVOS] = FINDING_TVOS, [PAYLOAD_VISIONOS] = FINDING_VISIONOS,
};

/* What a system of VERSION (0: the newest) makes of it, worst first. */
enum verdict { VERDICT_FINE, VERDICT_ABSENT, VERDICT_TOO_NEW, VERDICT_REMOVED, VERDICT_DEPRECATED, VERDICT_MAX };

static enum verdict judge(const struct payload_system *s, uint32_t version)
{
	if (s->flags & PAYLOAD_ABSENT)
		return VERDICT_ABSENT;
	if (version && s->least > version)
		return VERDICT_TOO_NEW;
	if (s->removed && (!version || s->removed <= version))
		return VERDICT_REMOVED;
	return s->deprecated && (!version || s->deprecated <= version) ? VERDICT_DEPRECATED : VERDICT_FINE;
}

static char *version_text(uint32_t version)
{
	return version % 100 ? g_strdup_printf("%u.%u.%u", version / 10000, version / 100 % 100, version % 100) : g_strdup_printf("%u.%u", version / 10000, version / 100 % 100);
}

static const enum lint_rule_id verdict_rules[][VERDICT_MAX] = {
	[LINT_SUBJECT_KEY] = {[VERDICT_ABSENT] = LINT_KEY_SYSTEM, [VERDICT_TOO_NEW] = LINT_KEY_TOO_NEW, [VERDICT_REMOVED] = LINT_KEY_REMOVED, [VERDICT_DEPRECATED] = LINT_KEY_DEPRECATED},
	[LINT_SUBJECT_PAYLOAD] = {[VERDICT_ABSENT] = LINT_PAYLOAD_SYSTEM, [VERDICT_TOO_NEW] = LINT_PAYLOAD_TOO_NEW, [VERDICT_REMOVED] = LINT_PAYLOAD_REMOVED, [VERDICT_DEPRECATED] = LINT_PAYLOAD_DEPRECATED},
};

static void say_verdict(struct lint *lint, const char *path, enum lint_subject subject, enum verdict verdict, unsigned systems, const struct payload_system *s)
{
	const char *noun = subject == LINT_SUBJECT_KEY ? "key" : "payload";
	g_autofree char *names = finding_systems_text(systems), *least = version_text(s->least), *removed = version_text(s->removed), *deprecated = version_text(s->deprecated);
	enum lint_rule_id rule = verdict_rules[subject][verdict];

	if (verdict == VERDICT_ABSENT)
		lint_add_for(lint, rule, LINT_USUAL, systems, path, "%s does not know this %s", names, noun);
	else if (verdict == VERDICT_TOO_NEW)
		lint_add_for(lint, rule, LINT_USUAL, systems, path, "%s knows this %s from %s on", names, noun, least);
	else if (verdict == VERDICT_REMOVED)
		lint_add_for(lint, rule, LINT_USUAL, systems, path, "this %s has been removed from %s%s%s", noun, names, s->removed > 1 ? " " : "", s->removed > 1 ? removed : "");
	else
		lint_add_for(lint, rule, LINT_USUAL, systems, path, "Apple advises against this %s on %s%s%s", noun, names, s->deprecated > 1 ? " since " : "", s->deprecated > 1 ? deprecated : "");
}

/* Nobody said for which systems: worth saying is what has gone, or is on its way, on all that know it. */
static void judge_all(struct lint *lint, const char *path, enum lint_subject subject, const struct payload_system *s, const struct payload_system *holder)
{
	enum verdict least = VERDICT_MAX;
	unsigned systems = 0;
	const struct payload_system *first = NULL;

	for (int i = 0; i < PAYLOAD_SYSTEM_MAX; i++) {
		enum verdict verdict = judge(&s[i], 0);

		if (verdict == VERDICT_ABSENT)
			continue;
		if (verdict != VERDICT_REMOVED && verdict != VERDICT_DEPRECATED)
			return;
		if (holder && judge(&holder[i], 0) == verdict)
			return;
		/* Removed on one and advised against on another: advised against. */
		least = least == VERDICT_MAX || verdict == VERDICT_DEPRECATED ? verdict : least;
		systems |= bits[i];
		first = first && verdict != least ? first : &s[i];
	}
	if (systems)
		say_verdict(lint, path, subject, least, systems, first);
}

static void judge_supervision(struct lint *lint, const char *path, enum lint_subject subject, unsigned systems)
{
	g_autofree char *names = finding_systems_text(systems);

	if (systems)
		lint_add_for(lint, subject == LINT_SUBJECT_KEY ? LINT_KEY_SUPERVISED : LINT_PAYLOAD_SUPERVISED, lint->facts->is_unsupervised ? LINT_OTHER : LINT_USUAL, systems, path, "works on supervised devices only (%s)", names);
}

void lint_systems(struct lint *lint, const char *path, enum lint_subject subject, unsigned systems, unsigned holder_index)
{
	const struct payload_system *s = payload_systems(systems), *holder = subject == LINT_SUBJECT_KEY ? payload_systems(holder_index) : NULL;
	unsigned supervised = 0;

	if (!lint->facts->n_systems)
		judge_all(lint, path, subject, s, holder);
	for (size_t t = 0; t < lint->facts->n_systems; t++)
		for (int i = 0; i < PAYLOAD_SYSTEM_MAX; i++) {
			const struct lint_system *target = &lint->facts->systems[t];
			enum verdict verdict = judge(&s[i], target->version), outer = holder ? judge(&holder[i], target->version) : VERDICT_FINE;

			if (bits[i] != target->system || outer == VERDICT_ABSENT || outer == VERDICT_TOO_NEW)
				continue;
			if (verdict != VERDICT_FINE && verdict != outer)
				say_verdict(lint, path, subject, verdict, bits[i], &s[i]);
			if (verdict != VERDICT_ABSENT && verdict != VERDICT_TOO_NEW && s[i].flags & PAYLOAD_SUPERVISED && !(holder && holder[i].flags & PAYLOAD_SUPERVISED))
				supervised |= bits[i];
		}
	judge_supervision(lint, path, subject, supervised);
}
