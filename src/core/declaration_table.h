/* The catalog of declarations and status items (Apple: "Declarative Device Management"): which systems, kinds of enrollment and channels know each, and the keys of each declaration's payload.
 *
 * The rows are made at build time from catalog/declarations.tsv, catalog/declaration-keys.tsv and catalog/status.tsv. All functions here are pure, and what they return is static. */
#pragma once

#include "codec/json.h"
#include "core/command_table.h"

/* The four kinds of declarations, and documents that assets lead to (com.apple.credential.…). */
enum declaration_kind { DECLARATION_ACTIVATION, DECLARATION_CONFIGURATION, DECLARATION_ASSET, DECLARATION_MANAGEMENT, DECLARATION_DATA, DECLARATION_KIND_MAX };
#define DECLARATION_KINDS 4 /* those that devices get */
/* "activation", as in paths and types. */
const char *declaration_kind_name(enum declaration_kind kind);
/* By that name; DECLARATION_KIND_MAX: none of the four that devices get. */
enum declaration_kind declaration_kind_find(const char *name);
/* Of a type, known or not, by its third word ("com.apple.asset.…"); DECLARATION_KIND_MAX: it has none. */
enum declaration_kind declaration_kind_of(const char *type);

enum declaration_value { DECLARATION_OBJECT, DECLARATION_ARRAY, DECLARATION_STRING, DECLARATION_INTEGER, DECLARATION_REAL, DECLARATION_BOOLEAN, DECLARATION_ANY };
enum { DECLARATION_REQUIRED = 1, DECLARATION_OPEN = 2, DECLARATION_RANGED = 4 }; /* OPEN: it may hold what the catalog does not tell */
enum { DECLARATION_NEVER = 0xffffff }; /* in place of a first version: the system does not know it */

struct declaration_key {
	const char *name;    /* "*": any; "[]": each item of an array */
	const char *values;  /* "Low|High"; NULL: any */
	const char *refers;  /* type of the declaration whose identifier it holds: "a|b", "com.apple.configuration.*"; NULL: it is none */
	enum declaration_value type;
	int64_t min, max;    /* with DECLARATION_RANGED */
	unsigned first, n;   /* children */
	unsigned flags;
	uint32_t since[PLATFORM_MAX]; /* as version_parse; 0: nothing is told */
};

enum { DECLARED_SUPERVISED = 1, DECLARED_DEVICE = 2, DECLARED_USER = 4, DECLARED_LOCAL = 8 }; /* kinds of enrollment */
enum { DECLARED_SYSTEM_SCOPE = 1, DECLARED_USER_SCOPE = 2, DECLARED_NO_SHARED = 4 };          /* channels; the last for a Shared iPad alone */

struct declaration_type {
	const char *name;
	enum declaration_kind kind;
	unsigned first, n;            /* keys of the payload */
	uint32_t since[PLATFORM_MAX]; /* all 0: nothing is told */
	uint8_t enrollments[PLATFORM_MAX], scopes[PLATFORM_MAX]; /* 0: all */
	uint8_t shared;               /* scopes on a Shared iPad; 0: nothing is told */
};
struct status_item {
	const char *name;
	enum declaration_value type;  /* DECLARATION_ANY: not told */
	const char *fact;             /* the fact of the inventory that it tells, as DeviceInformation calls it; NULL */
	bool inventory;               /* whether the inventory wants it */
	uint32_t since[PLATFORM_MAX];
	uint8_t enrollments[PLATFORM_MAX], scopes[PLATFORM_MAX];
};

/* By name, letter for letter; NULL: not in the catalog. */
const struct declaration_type *declaration_type_find(const char *name);
const struct declaration_type *declaration_type_at(unsigned i); /* NULL behind the last */
/* The name most like NAME, which is misspelled; NULL: none is near. */
const char *declaration_type_nearest(const char *name);
const struct status_item *status_item_find(const char *name);
const struct status_item *status_item_at(unsigned i);
/* Whether an item of the catalog begins with NAME and a dot. */
bool status_item_is_prefix(const char *name);

const struct declaration_key *declaration_key_at(unsigned i);
/* Among N keys from FIRST: the one with this name, else "*"; NULL. */
const struct declaration_key *declaration_key_find(unsigned first, unsigned n, const char *name);
const char *declaration_key_nearest(unsigned first, unsigned n, const char *name);
/* "an object", "a string" … */
const char *declaration_value_text(enum declaration_value type);
bool declaration_value_is(enum declaration_value type, const json_t *value);
/* Whether TYPE is one of TYPES ("a|b", with "x.*"). */
bool declaration_type_fits(const char *types, const char *type);
