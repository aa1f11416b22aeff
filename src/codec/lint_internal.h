/* What the files of the linter share. */
#pragma once

#include "codec/lint.h"
#include "codec/payload_table.h"

/* A payload named by UUID elsewhere. */
struct lint_reference { char *path, *uuid; bool to_identity; };

struct lint {
	const struct lint_facts *facts;
	struct lint_report *report;
	GHashTable *uuids;    /* upper case → type of the payload (borrowed), "" for the profile */
	GHashTable *identifiers;
	GHashTable *types;    /* seen, of those of which there may be one */
	GPtrArray *references;
	uint8_t seed[32];     /* of the profile's bytes: what is added is made of it */
	const char *identifier; /* of the profile, borrowed; NULL: none */
	unsigned n_mdm, n_opened;
};

enum lint_kind { LINT_WARNING, LINT_ERROR, LINT_FIXABLE_ERROR };
/* MEND may be NULL. */
void lint_add(struct lint *lint, enum lint_kind kind, const char *path, const char *mend, const char *format, ...) G_GNUC_PRINTF(5, 6);
/* "PATH.KEY", or KEY at the top; transfer full. */
char *lint_path(const char *path, const char *key);
/* A child that is ours to change: the tree is a copy. */
plist *lint_child(const plist *dict, const char *key);
/* Gives the key another name. */
void lint_rename(plist *dict, const char *from, const char *to);
/* Base64 with or without spaces → data; NULL when it is none. transfer full. */
GBytes *lint_decode(const char *text);

/* What the table does not say of the types that everything depends on; before the table is held against them. */
void lint_special(struct lint *lint, plist *payload, const char *type, const char *path);
