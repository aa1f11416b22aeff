/* The types of payloads and their keys, generated from catalog/ (tools/catalog.py). Static storage. */
#pragma once

#include "codec/plist.h"

enum { PAYLOAD_REQUIRED = 1, PAYLOAD_REFERS_CERTIFICATE = 2, PAYLOAD_REFERS_IDENTITY = 4 };

/* What one system makes of a type or key. Versions are major * 10000 + minor * 100 + patch; 0: none. */
struct payload_system { uint32_t least, deprecated, removed; uint8_t flags; };
enum { PAYLOAD_ABSENT = 1, PAYLOAD_SUPERVISED = 2 };
enum payload_system_index { PAYLOAD_IOS, PAYLOAD_MACOS, PAYLOAD_WATCHOS, PAYLOAD_TVOS, PAYLOAD_VISIONOS, PAYLOAD_SYSTEM_MAX };

struct payload_key {
	const char *name;   /* "[]": an item of an array; "ANY": a key of any name */
	const char *values; /* "a|b": one of these; "1..5", "3600..": a range; "^…$": a regular expression; NULL: any */
	uint16_t first, n_children;
	uint16_t types;     /* bits of enum plist_type */
	uint8_t flags;
	uint16_t systems;   /* for payload_systems */
};
struct payload_type {
	const char *name;
	uint16_t first, n_keys;
	bool is_multiple; /* a profile may hold several */
	uint16_t systems;
};

/* NULL when it is not known. "Configuration" is the profile itself, "*" the keys that all payloads have. */
const struct payload_type *payload_type_find(const char *name);
/* The type whose name is most like NAME, which is not known; NULL when none is near. */
const char *payload_type_nearest(const char *name);
/* The key NAME among N from FIRST on; NULL. */
const struct payload_key *payload_key_find(unsigned first, unsigned n, const char *name);
const struct payload_key *payload_key_at(unsigned i);
/* The five systems of a type or key: PAYLOAD_SYSTEM_MAX items. */
const struct payload_system *payload_systems(unsigned index);
/* All types, from 0; NULL behind the last. */
const struct payload_type *payload_type_at(unsigned i);

/* Whether TYPED is near enough to KNOWN (pom_name_distance) to be meant. */
bool payload_name_is_near(const char *typed, const char *known);
