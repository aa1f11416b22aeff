/* The catalog of MDM commands (Apple: "Commands and Queries"): for each what it does, which systems know it, on which channel and in which kind of enrollment it goes, and its keys.
 *
 * The rows are made at build time from catalog/commands.tsv and catalog/command-keys.tsv. All functions here are pure, and what they return is static unless said otherwise. */
#pragma once

#include "base/error.h"
#include "codec/plist.h"

enum platform { PLATFORM_IOS, PLATFORM_MACOS, PLATFORM_TVOS, PLATFORM_VISIONOS, PLATFORM_WATCHOS, PLATFORM_MAX }; /* iPadOS is iOS; PLATFORM_MAX: not known */
/* As Apple writes it: "iOS"; "?" for PLATFORM_MAX. */
const char *platform_name(enum platform platform);
/* Of what a device says of itself: ProductName ("iPhone16,1", "Mac15,3", "RealityDevice14,1"), else Model, in which Macs have the same; either may be NULL. PLATFORM_MAX when
 * neither is a name of Apple's. */
enum platform platform_of(const char *product_name, const char *model);

/* "16.4.1" → 0x100401, so that versions compare as numbers. 0: no version. What follows a third number, or is not a number, is left out; no part is more than 255. */
uint32_t version_parse(const char *text);
/* Writes "16.4" or "16.4.1"; "" for 0. Returns OUT. */
enum { VERSION_TEXT_MAX = 12 };
const char *version_format(uint32_t version, char out[VERSION_TEXT_MAX]);

/* What one system has to do with a command or key; versions are 0 where nothing is told. */
struct command_system {
	uint32_t since, deprecated, removed;
	enum { COMMAND_SYSTEM_NO = 1, COMMAND_SYSTEM_SUPERVISED = 2, COMMAND_SYSTEM_AUTOMATED = 4 } flags; /* not there; the device must be supervised; enrolled by Automated Device Enrollment */
};
struct command_systems { struct command_system of[PLATFORM_MAX]; };

/* Beside enum plist_type: anything, and a word that a string in an array may be. */
enum { COMMAND_TYPE_ANY = PLIST_TYPE_MAX, COMMAND_TYPE_VALUE };
enum command_limit { COMMAND_LIMIT_NONE, COMMAND_LIMIT_CHARACTERS, COMMAND_LIMIT_BYTES, COMMAND_LIMIT_HTTPS };
enum { COMMAND_KEY_REQUIRED = 1, COMMAND_KEY_SECRET = 2, COMMAND_KEY_ITEM = 4 };
struct command_key {
	const char *name;         /* "*": any. Of an item of an array: "" for every one, else what the string is, or the dictionary's Item */
	const char *values;       /* "Low|High"; NULL: any */
	const char *default_text; /* what a device takes when it is missing; NULL: not told */
	const char *limit_text;   /* "6 characters"; NULL: none */
	int type;                 /* enum plist_type or COMMAND_TYPE_* */
	enum command_limit limit;
	int min, max;             /* of the limit */
	unsigned flags;           /* COMMAND_KEY_* */
	unsigned first, n;        /* children, for command_key_at */
	unsigned systems;
};

enum command_part { COMMAND_REQUEST, COMMAND_RESPONSE, COMMAND_PART_MAX };
enum command_flag {
	COMMAND_UNREAD = 1,                              /* nothing is known but its name */
	COMMAND_MAC_DEVICE = 2, COMMAND_MAC_USER = 4,    /* channels of a Mac */
	COMMAND_SHARED_DEVICE = 8, COMMAND_SHARED_USER = 16, /* channels of a Shared iPad */
	COMMAND_SHARED_NO = 32, COMMAND_SHARED_ONLY = 64,
	COMMAND_USER_ENROLLMENT = 128,                   /* shifted by the platform */
};
struct command_type {
	const char *name;     /* RequestType */
	const char *text;     /* what it does, whole sentences */
	const char *example;  /* "Key=value …" after the name, or "--plist FILE"; NULL: no keys */
	const char *any_of;   /* "Message|PhoneNumber": one of them must be there; NULL */
	unsigned flags;       /* enum command_flag */
	int rights[PLATFORM_MAX]; /* bit of AccessRights; 0: none */
	struct { unsigned first, n; } keys[COMMAND_PART_MAX];
	unsigned systems;
};

/* By RequestType, letter for letter; NULL: not in the catalog. */
const struct command_type *command_type_find(const char *name);
/* In order of their names; NULL behind the last. */
const struct command_type *command_type_at(unsigned i);
/* The name most like NAME, which is misspelled; NULL: none is near. */
const char *command_type_nearest(const char *name);
/* What systems have to do with a command or key; never NULL. */
const struct command_systems *command_systems_of(unsigned systems);
/* What a right is, for people: "erase"; NULL for 0. */
const char *command_right_name(int right);

/* A key by its place, from the first of a command or key on. */
const struct command_key *command_key_at(unsigned i);
/* Among N keys from FIRST: the one with this name, else "*"; NULL. */
const struct command_key *command_key_find(unsigned first, unsigned n, const char *name);
/* The item of an array that fits VALUE among N keys from FIRST: that of its name, else the one for every item; NULL: none. */
const struct command_key *command_item_find(unsigned first, unsigned n, const plist *value);
/* The name most like NAME among keys that have one; NULL: none is near. */
const char *command_key_nearest(unsigned first, unsigned n, const char *name);
/* A key that every command may have; NULL. */
const struct command_key *command_common_key_find(const char *name);
/* "a dictionary", "any type" … of a key's type. */
const char *command_type_text(int type);

/* A copy of TREE in which every secret of the part is the string COMMAND_REDACTED, transfer full: for logs, listings and whoever may not read them. TREE is the inner dictionary of a command, or the whole
 * report of one. Of keys that are not in the catalog, those count that are a secret elsewhere, or are named like one. */
#define COMMAND_REDACTED "(secret)"
plist *command_redact(const char *request_type, enum command_part part, const plist *tree);
/* Whether TREE holds one, so that it need not be copied. */
bool command_has_secret(const char *request_type, enum command_part part, const plist *tree);
