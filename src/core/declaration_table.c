#include "core/declaration_table.h"

#include <string.h>

#include "base/distance.h"

#define REQUIRED DECLARATION_REQUIRED
#define OPEN DECLARATION_OPEN
#define RANGED DECLARATION_RANGED
static const struct declaration_key keys[] = {
#define KEY(name, values, refers, type, min, max, first, n, flags, ...) {name, values, refers, type, min, max, first, n, flags, __VA_ARGS__},
#include "declaration_table.inc"
#undef KEY
};
#undef REQUIRED
#undef OPEN
#undef RANGED

static const struct declaration_type types[] = {
#define TYPE(...) {__VA_ARGS__},
#include "declaration_table.inc"
#undef TYPE
};

static const struct status_item items[] = {
#define STATUS(...) {__VA_ARGS__},
#include "declaration_table.inc"
#undef STATUS
};

static const char *const kind_names[DECLARATION_KIND_MAX] = {"activation", "configuration", "asset", "management", "credential"};

const char *declaration_kind_name(enum declaration_kind kind)
{
	return kind < DECLARATION_KIND_MAX ? kind_names[kind] : "?";
}

enum declaration_kind declaration_kind_find(const char *name)
{
	for (unsigned i = 0; i < DECLARATION_KINDS; i++)
		if (!strcmp(kind_names[i], name))
			return (enum declaration_kind)i;
	return DECLARATION_KIND_MAX;
}

enum declaration_kind declaration_kind_of(const char *type)
{
	static const char prefix[] = "com.apple.";
	const char *word = g_str_has_prefix(type, prefix) ? type + strlen(prefix) : "";

	for (unsigned i = 0; i < DECLARATION_KIND_MAX; i++) {
		size_t len = strlen(kind_names[i]);

		if (!strncmp(word, kind_names[i], len) && word[len] == '.' && word[len + 1])
			return (enum declaration_kind)i;
	}
	return DECLARATION_KIND_MAX;
}

/* One edit in three letters, at least one, at most four: more is another word. */
static bool is_nearer(const char *typed, const char *known, unsigned *nearest)
{
	unsigned d = pom_name_distance(typed, known);

	if (d > CLAMP(strlen(known) / 3, 1, 4) || d >= *nearest)
		return false;
	*nearest = d;
	return true;
}

const struct declaration_type *declaration_type_find(const char *name)
{
	for (size_t i = 0; name && i < G_N_ELEMENTS(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

const struct declaration_type *declaration_type_at(unsigned i)
{
	return i < G_N_ELEMENTS(types) ? &types[i] : NULL;
}

const char *declaration_type_nearest(const char *name)
{
	const char *found = NULL;
	unsigned nearest = UINT_MAX;

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (is_nearer(name, types[i].name, &nearest))
			found = types[i].name;
	return found;
}

const struct status_item *status_item_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(items); i++)
		if (!strcmp(items[i].name, name))
			return &items[i];
	return NULL;
}

const struct status_item *status_item_at(unsigned i)
{
	return i < G_N_ELEMENTS(items) ? &items[i] : NULL;
}

bool status_item_is_prefix(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < G_N_ELEMENTS(items); i++)
		if (!strncmp(items[i].name, name, len) && items[i].name[len] == '.')
			return true;
	return false;
}

const struct declaration_key *declaration_key_at(unsigned i)
{
	return &keys[i];
}

const struct declaration_key *declaration_key_find(unsigned first, unsigned n, const char *name)
{
	const struct declaration_key *any = NULL;

	for (unsigned i = first; i < first + n; i++) {
		if (!strcmp(keys[i].name, name))
			return &keys[i];
		if (!strcmp(keys[i].name, "*"))
			any = &keys[i];
	}
	return any;
}

const char *declaration_key_nearest(unsigned first, unsigned n, const char *name)
{
	const char *found = NULL;
	unsigned nearest = UINT_MAX;

	for (unsigned i = first; i < first + n; i++)
		if (g_ascii_isalpha(*keys[i].name) && is_nearer(name, keys[i].name, &nearest))
			found = keys[i].name;
	return found;
}

const char *declaration_value_text(enum declaration_value type)
{
	static const char *const texts[] = {"an object", "an array", "a string", "an integer", "a number", "true or false", "any value"};

	return texts[type];
}

bool declaration_value_is(enum declaration_value type, const json_t *value)
{
	switch (type) {
	case DECLARATION_OBJECT:
		return json_is_object(value);
	case DECLARATION_ARRAY:
		return json_is_array(value);
	case DECLARATION_STRING:
		return json_is_string(value);
	case DECLARATION_INTEGER:
		return json_is_integer(value);
	case DECLARATION_REAL:
		return json_is_number(value);
	case DECLARATION_BOOLEAN:
		return json_is_boolean(value);
	case DECLARATION_ANY:
		break;
	}
	return true;
}

bool declaration_type_fits(const char *wanted, const char *type)
{
	g_auto(GStrv) all = g_strsplit(wanted, "|", -1);

	for (size_t i = 0; all[i]; i++) {
		size_t len = strlen(all[i]);

		if (len && all[i][len - 1] == '*' ? !strncmp(all[i], type, len - 1) : !strcmp(all[i], type))
			return true;
	}
	return false;
}
