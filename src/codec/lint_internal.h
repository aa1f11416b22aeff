/* What the files of the linter share. */
#pragma once

#include "codec/lint.h"
#include "codec/payload_table.h"
#include "codec/plist_binary.h"

/* A payload named by UUID elsewhere. */
struct lint_reference { char *path, *uuid; bool to_identity; };

struct lint {
	const struct lint_facts *facts;
	struct lint_report *report;
	const plist *pristine;           /* as it was read, for lines: what is worked on is repaired on the way. NULL: there are no lines */
	const struct plist_notes *notes;
	GHashTable *uuids;    /* upper case → type of the payload (borrowed), "" for the profile */
	GHashTable *identifiers;
	GHashTable *types;    /* seen, of those of which there may be one */
	GHashTable *certificates; /* SHA-256 in hex of those seen in payloads of their own */
	GHashTable *said;     /* paths of which all has been said that there is to say: the table is not held against them */
	GPtrArray *references;
	uint8_t seed[32];     /* of the profile's bytes: what is added is made of it */
	const char *identifier; /* of the profile, borrowed; NULL: none */
	unsigned n_mdm, n_opened;
};

/* How a finding is added. MEND NULL: the rule's own. */
enum lint_way { LINT_USUAL, LINT_OTHER /* the rule's other severity */, LINT_FIXED /* lint_fix repairs it */ };
void lint_add(struct lint *lint, enum lint_rule_id id, enum lint_way way, const char *path, const char *mend, const char *format, ...) G_GNUC_PRINTF(6, 7);
/* The same for some systems (FINDING_*) only. */
void lint_add_for(struct lint *lint, enum lint_rule_id id, enum lint_way way, unsigned systems, const char *path, const char *format, ...) G_GNUC_PRINTF(6, 7);
/* Whether there is still room for findings: what takes time is not done for what nobody is told. */
bool lint_has_room(const struct lint *lint);

/* "PATH.KEY", or KEY at the top; transfer full. */
char *lint_path(const char *path, const char *key);
/* A child that is ours to change: the tree is a copy. */
plist *lint_child(const plist *dict, const char *key);
/* Gives the key another name. */
void lint_rename(plist *dict, const char *from, const char *to);
/* Base64 with or without spaces → data; NULL when it is none. transfer full. */
GBytes *lint_decode(const char *text);
/* "a string or an array"; transfer full. */
char *lint_describe(unsigned types);

/* The profile and its payloads; repairs on the way. */
void lint_profile(struct lint *lint, plist *profile);

/* The keys that a dictionary may have. */
struct lint_scope {
	unsigned first, n; /* in the table */
	bool has_head;     /* and the keys that all payloads have */
	bool is_strict;    /* what is missing, or has a value that is not known, is an error */
	unsigned systems;  /* of what holds the keys */
};
/* DICT at PATH against the table. */
void lint_dict(struct lint *lint, plist *dict, const char *path, struct lint_scope scope);
/* What the systems that were asked for make of a type or of a key at PATH; HOLDER (an index of payload_systems) is what it stands in, whose failings are not said again. */
enum lint_subject { LINT_SUBJECT_KEY, LINT_SUBJECT_PAYLOAD };
void lint_systems(struct lint *lint, const char *path, enum lint_subject subject, unsigned systems, unsigned holder);

/* What the table does not say of the types that everything depends on; before the table is held against them. */
void lint_special(struct lint *lint, plist *payload, const char *type, const char *path);
/* The payloads that hold certificates. */
void lint_certificate(struct lint *lint, const plist *payload, const char *path);
void lint_pkcs12(struct lint *lint, const plist *payload, const char *path);
