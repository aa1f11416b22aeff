#include "codec/payload_table.h"

#include <string.h>

#include "base/distance.h"

#define T(type) 1u << PLIST_##type
#define ANY_TYPE 0xffff
#define REQUIRED PAYLOAD_REQUIRED
#define REFERS_CERTIFICATE PAYLOAD_REFERS_CERTIFICATE
#define REFERS_IDENTITY PAYLOAD_REFERS_IDENTITY

static const struct payload_key keys[] = {
#define KEY(name, values, first, n, types, flags, systems) {name, values, first, n, types, flags, systems},
#include "codec/payload_table.inc"
#undef KEY
};

static const struct payload_type types[] = {
#define TYPE(name, first, n, multiple, systems) {name, first, n, multiple, systems},
#include "codec/payload_table.inc"
#undef TYPE
};

static const struct payload_system systems[][PAYLOAD_SYSTEM_MAX] = {
#define SYSTEMS(...) {__VA_ARGS__},
#include "codec/payload_table.inc"
#undef SYSTEMS
};

const struct payload_system *payload_systems(unsigned index)
{
	return systems[index];
}

const struct payload_type *payload_type_at(unsigned i)
{
	return i < G_N_ELEMENTS(types) ? &types[i] : NULL;
}

const struct payload_type *payload_type_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

const struct payload_key *payload_key_at(unsigned i)
{
	return i < G_N_ELEMENTS(keys) ? &keys[i] : NULL;
}

const struct payload_key *payload_key_find(unsigned first, unsigned n, const char *name)
{
	for (unsigned i = first; i < first + n; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* One edit in four letters, at least one, at most three: more is another word. */
bool payload_name_is_near(const char *typed, const char *known)
{
	size_t len = strlen(known);

	return pom_name_distance(typed, known) <= CLAMP(len / 4, 1, 3);
}

const char *payload_type_nearest(const char *name)
{
	const char *nearest = NULL;
	unsigned least = 255;

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		unsigned distance = pom_name_distance(name, types[i].name);

		if (strlen(types[i].name) > 1 && distance < least && payload_name_is_near(name, types[i].name)) {
			nearest = types[i].name;
			least = distance;
		}
	}
	return nearest;
}
