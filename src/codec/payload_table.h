/* The types of payloads and their keys, generated from catalog/ (tools/catalog.py). Static storage. */
#pragma once

#include "codec/plist.h"

enum { PAYLOAD_REQUIRED = 1, PAYLOAD_REFERS_CERTIFICATE = 2, PAYLOAD_REFERS_IDENTITY = 4 };

struct payload_key {
	const char *name;   /* "[]": an item of an array; "ANY": a key of any name */
	const char *values; /* "a|b": one of these; "1..5", "3600..": a range; NULL: any */
	uint16_t first, n_children;
	uint16_t types;     /* bits of enum plist_type */
	uint8_t flags;
};
struct payload_type {
	const char *name;
	uint16_t first, n_keys;
	bool is_multiple; /* a profile may hold several */
};

/* NULL when it is not known. "Configuration" is the profile itself, "*" the keys that all payloads have. */
const struct payload_type *payload_type_find(const char *name);
/* The type whose name is most like NAME, which is not known; NULL when none is near. */
const char *payload_type_nearest(const char *name);
/* The key NAME among N from FIRST on; NULL. */
const struct payload_key *payload_key_find(unsigned first, unsigned n, const char *name);
const struct payload_key *payload_key_at(unsigned i);

/* Whether TYPED is near enough to KNOWN (pom_name_distance) to be meant. */
bool payload_name_is_near(const char *typed, const char *known);
