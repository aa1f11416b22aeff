#include "codec/payload_table.h"

#include <string.h>

#define T(type) 1u << PLIST_##type
#define ANY_TYPE 0xffff
#define REQUIRED PAYLOAD_REQUIRED
#define REFERS_CERTIFICATE PAYLOAD_REFERS_CERTIFICATE
#define REFERS_IDENTITY PAYLOAD_REFERS_IDENTITY

static const struct payload_key keys[] = {
#define KEY(name, values, first, n, types, flags) {name, values, first, n, types, flags},
#include "codec/payload_table.inc"
#undef KEY
};

static const struct payload_type types[] = {
#define TYPE(name, first, n, multiple) {name, first, n, multiple},
#include "codec/payload_table.inc"
#undef TYPE
};

enum { NAME_MAX_LEN = 128 };

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

unsigned payload_name_distance(const char *a, const char *b)
{
	uint8_t rows[3][NAME_MAX_LEN + 1];
	size_t n_a = strlen(a), n_b = strlen(b);

	if (n_a > NAME_MAX_LEN || n_b > NAME_MAX_LEN)
		return 255;
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = (uint8_t)j;
	for (size_t i = 1; i <= n_a; i++) {
		uint8_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= n_b; j++) {
			char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);
			uint8_t best = (uint8_t)MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));

			if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) && y == g_ascii_tolower(a[i - 2]))
				best = MIN(best, (uint8_t)(before[j - 2] + 1));
			row[j] = best;
		}
	}
	return rows[n_a % 3][n_b];
}

/* One edit in four letters, at least one, at most three: more is another word. */
bool payload_name_is_near(const char *typed, const char *known)
{
	size_t len = strlen(known);

	return payload_name_distance(typed, known) <= CLAMP(len / 4, 1, 3);
}

const char *payload_type_nearest(const char *name)
{
	const char *nearest = NULL;
	unsigned least = 255;

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		unsigned distance = payload_name_distance(name, types[i].name);

		if (strlen(types[i].name) > 1 && distance < least && payload_name_is_near(name, types[i].name)) {
			nearest = types[i].name;
			least = distance;
		}
	}
	return nearest;
}
