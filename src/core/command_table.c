#include "core/command_table.h"

#include <stdio.h>
#include <string.h>

#include "base/distance.h"

#define NO COMMAND_SYSTEM_NO
#define SUPERVISED COMMAND_SYSTEM_SUPERVISED
#define AUTOMATED COMMAND_SYSTEM_AUTOMATED
static const struct command_systems systems_table[] = {
#define SYSTEMS(...) __VA_ARGS__,
#include "command_table.inc"
#undef SYSTEMS
};
#undef NO
#undef SUPERVISED
#undef AUTOMATED

#define REQUIRED COMMAND_KEY_REQUIRED
#define SECRET COMMAND_KEY_SECRET
#define ITEM COMMAND_KEY_ITEM
static const struct command_key keys[] = {
#define KEY(...) {__VA_ARGS__},
#include "command_table.inc"
#undef KEY
};
#undef REQUIRED
#undef SECRET
#undef ITEM

#define UNREAD COMMAND_UNREAD
#define MAC_DEVICE COMMAND_MAC_DEVICE
#define MAC_USER COMMAND_MAC_USER
#define SHARED_DEVICE COMMAND_SHARED_DEVICE
#define SHARED_USER COMMAND_SHARED_USER
#define SHARED_NO COMMAND_SHARED_NO
#define SHARED_ONLY COMMAND_SHARED_ONLY
#define USER(platform) (COMMAND_USER_ENROLLMENT << (platform))
#define R(...) {__VA_ARGS__}
static const struct command_type types[] = {
#define COMMAND(name, text, example, any_of, flags, rights, first, n, first_answer, n_answers, systems) \
	{name, text, example, any_of, flags, rights, {{first, n}, {first_answer, n_answers}}, systems},
#include "command_table.inc"
#undef COMMAND
};

static const struct { unsigned first, n; } common =
#define COMMON(first, n) {first, n};
#include "command_table.inc"
#undef COMMON

/* ---- systems ---- */

static const char *const platform_names[PLATFORM_MAX] = {"iOS", "macOS", "tvOS", "visionOS", "watchOS"};

const char *platform_name(enum platform platform)
{
	return platform < PLATFORM_MAX ? platform_names[platform] : "?";
}

static enum platform platform_of_product(const char *name)
{
	static const struct { const char *prefix; enum platform platform; } products[] = {
		{"iPhone", PLATFORM_IOS}, {"iPad", PLATFORM_IOS}, {"iPod", PLATFORM_IOS}, {"AppleTV", PLATFORM_TVOS}, {"RealityDevice", PLATFORM_VISIONOS}, {"Watch", PLATFORM_WATCHOS},
		{"Mac", PLATFORM_MACOS}, {"iMac", PLATFORM_MACOS}, {"Xserve", PLATFORM_MACOS}, {"VirtualMac", PLATFORM_MACOS},
	};

	for (size_t i = 0; name && i < G_N_ELEMENTS(products); i++)
		if (g_str_has_prefix(name, products[i].prefix))
			return products[i].platform;
	return PLATFORM_MAX;
}

enum platform platform_of(const char *product_name, const char *model)
{
	enum platform platform = platform_of_product(product_name);

	return platform < PLATFORM_MAX ? platform : platform_of_product(model);
}

uint32_t version_parse(const char *text)
{
	uint32_t version = 0;

	for (int shift = 16; text && shift >= 0 && g_ascii_isdigit(*text); shift -= 8) {
		uint32_t part = 0;

		for (; g_ascii_isdigit(*text); text++)
			part = MIN(part * 10 + (uint32_t)(*text - '0'), 255);
		version |= part << shift;
		if (*text == '.')
			text++;
		else
			break;
	}
	return version;
}

const char *version_format(uint32_t version, char out[VERSION_TEXT_MAX])
{
	unsigned major = version >> 16 & 255, minor = version >> 8 & 255, patch = version & 255;

	if (!version)
		*out = '\0';
	else if (patch)
		snprintf(out, VERSION_TEXT_MAX, "%u.%u.%u", major, minor, patch);
	else
		snprintf(out, VERSION_TEXT_MAX, "%u.%u", major, minor);
	return out;
}

const struct command_systems *command_systems_of(unsigned systems)
{
	g_assert(systems < G_N_ELEMENTS(systems_table));
	return &systems_table[systems];
}

/* ---- names ---- */

struct nearest { const char *name; unsigned distance; };

/* One edit in three letters, at least one, at most four: more is another word. */
static void try_name(struct nearest *nearest, const char *typed, const char *known)
{
	unsigned d = pom_name_distance(typed, known);

	if (d <= CLAMP(strlen(known) / 3, 1, 4) && d < nearest->distance)
		*nearest = (struct nearest){known, d};
}

const struct command_type *command_type_find(const char *name)
{
	for (size_t i = 0; name && i < G_N_ELEMENTS(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

const struct command_type *command_type_at(unsigned i)
{
	return i < G_N_ELEMENTS(types) ? &types[i] : NULL;
}

const char *command_type_nearest(const char *name)
{
	struct nearest nearest = {NULL, 255};

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		try_name(&nearest, name, types[i].name);
	return nearest.name;
}

const char *command_right_name(int right)
{
	static const char *const names[] = {
		"inspect profiles", "install and remove profiles", "lock, and remove the passcode", "erase", "query the device", "query the network", "inspect provisioning profiles",
		"install and remove provisioning profiles", "inspect apps", "query restrictions", "query security", "change settings", "manage apps",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (right == 1 << i)
			return names[i];
	return NULL;
}

const struct command_key *command_key_at(unsigned i)
{
	return i < G_N_ELEMENTS(keys) ? &keys[i] : NULL;
}

const struct command_key *command_key_find(unsigned first, unsigned n, const char *name)
{
	const struct command_key *any = NULL;

	for (unsigned i = first; i < first + n; i++) {
		if (!strcmp(keys[i].name, name))
			return &keys[i];
		if (!strcmp(keys[i].name, "*"))
			any = &keys[i];
	}
	return any;
}

const struct command_key *command_item_find(unsigned first, unsigned n, const plist *value)
{
	const char *word = plist_get_string(plist_get_type(value) == PLIST_DICT ? plist_dict_get(value, "Item") : value);
	const struct command_key *every = NULL;

	for (unsigned i = first; i < first + n; i++) {
		if (!*keys[i].name)
			every = &keys[i];
		else if (word && !strcmp(keys[i].name, word))
			return &keys[i];
	}
	return every;
}

const char *command_key_nearest(unsigned first, unsigned n, const char *name)
{
	struct nearest nearest = {NULL, 255};

	for (unsigned i = first; i < first + n; i++)
		if (*keys[i].name && strcmp(keys[i].name, "*"))
			try_name(&nearest, name, keys[i].name);
	return nearest.name;
}

const struct command_key *command_common_key_find(const char *name)
{
	return command_key_find(common.first, common.n, name);
}

const char *command_type_text(int type)
{
	static const char *const texts[] = {
		[PLIST_DICT] = "a dictionary", [PLIST_ARRAY] = "an array", [PLIST_STRING] = "a string", [PLIST_INTEGER] = "an integer", [PLIST_REAL] = "a real",
		[PLIST_BOOLEAN] = "true or false", [PLIST_DATE] = "a date", [PLIST_DATA] = "data", [COMMAND_TYPE_ANY] = "any type", [COMMAND_TYPE_VALUE] = "a string",
	};

	return type >= 0 && (size_t)type < G_N_ELEMENTS(texts) ? texts[type] : "?";
}

/* ---- secrets ---- */

/* Where a value of the tree stands in the table; n 0: beyond it, where only names tell. */
struct place { unsigned first, n; };

static bool is_named_like_a_secret(const char *name)
{
	static const char *const words[] = {"password", "passcode", "secret", "bypasscode", "recoverykey", "privatekey", "unlocktoken", "bootstraptoken", "challenge"};
	g_autofree char *lower = g_ascii_strdown(name, -1);

	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (strstr(lower, words[i]))
			return true;
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (keys[i].flags & COMMAND_KEY_SECRET && !strcmp(keys[i].name, name))
			return true;
	return false;
}

static bool is_container(const plist *value)
{
	return plist_get_type(value) == PLIST_DICT || plist_get_type(value) == PLIST_ARRAY;
}

/* Where VALUE, the child of PLACE with this name (NULL: an item), stands, and whether it is a secret. Where only the name tells, flags and numbers are none ("PasscodePresent"). */
static struct place place_of(const struct place *place, const char *name, const plist *value, bool *ret_secret)
{
	const struct command_key *key = name ? command_key_find(place->first, place->n, name) : command_item_find(place->first, place->n, value);
	bool is_text = plist_get_type(value) == PLIST_STRING || plist_get_type(value) == PLIST_DATA;

	*ret_secret = key && key->type != COMMAND_TYPE_ANY ? key->flags & COMMAND_KEY_SECRET : name && is_text && is_named_like_a_secret(name);
	return (struct place){key ? key->first : 0, key ? key->n : 0};
}

static struct place place_begin(const char *request_type, enum command_part part)
{
	const struct command_type *type = command_type_find(request_type);

	return type ? (struct place){type->keys[part].first, type->keys[part].n} : (struct place){0, 0};
}

static plist *redact(const struct place *place, const plist *tree)
{
	bool is_dict = plist_get_type(tree) == PLIST_DICT;
	plist *copy;

	if (!is_container(tree))
		return plist_copy(tree);
	copy = is_dict ? plist_new_dict() : plist_new_array();
	for (size_t i = 0; i < plist_count(tree); i++) {
		const char *name = is_dict ? plist_dict_key(tree, i) : NULL;
		const plist *child = plist_child(tree, i);
		bool secret;
		struct place below = place_of(place, name, child, &secret);
		plist *value = secret ? plist_new_string(COMMAND_REDACTED) : redact(&below, child);

		if (is_dict)
			plist_dict_set(copy, name, value);
		else
			plist_array_append(copy, value);
	}
	return copy;
}

plist *command_redact(const char *request_type, enum command_part part, const plist *tree)
{
	struct place place = place_begin(request_type, part);

	return redact(&place, tree);
}

static bool has_secret(const struct place *place, const plist *tree)
{
	bool is_dict = plist_get_type(tree) == PLIST_DICT;

	for (size_t i = 0; is_container(tree) && i < plist_count(tree); i++) {
		const plist *child = plist_child(tree, i);
		bool secret;
		struct place below = place_of(place, is_dict ? plist_dict_key(tree, i) : NULL, child, &secret);

		if (secret || has_secret(&below, child))
			return true;
	}
	return false;
}

bool command_has_secret(const char *request_type, enum command_part part, const plist *tree)
{
	struct place place = place_begin(request_type, part);

	return has_secret(&place, tree);
}
