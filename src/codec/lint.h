/* All that is wrong with a configuration profile, as its author needs to hear it: every finding with its rule, its key path and line, what is wrong and what to do, and
 * the repair of what can be repaired in one way only. mobileconfig_check says yes or no and stays strict; whatever it refuses is an error here.
 *
 * An error is what devices refuse, or silently take for something else; a warning what works, but probably not as meant; a note what is worth knowing. The rules are in
 * catalog/lint-rules.tsv; what keys there are, of which types and on which systems is in catalog/payloads.tsv and payload-keys.tsv. Pure: the time and the opening of
 * PKCS #12 files are parameters. */
#pragma once

#include "codec/finding.h"
#include "codec/mobileconfig.h"

/* A system that the profile is to be judged for. */
struct lint_system {
	unsigned system;  /* one FINDING_* bit */
	uint32_t version; /* major * 10000 + minor * 100 + patch; 0: the newest */
};
enum { LINT_SYSTEMS_MAX = 8 };

struct lint_facts {
	int64_t now_s; /* Unix seconds */
	/* The certificates of the PKCS #12 file, that of its key first (X509; transfer full), when it opens with PASSWORD; else NULL. NULL: not tried. */
	GPtrArray *(*open_pkcs12)(const void *data, size_t len, const char *password, GError **error);
	struct lint_system systems[LINT_SYSTEMS_MAX]; /* none: what Apple says of single systems is left out */
	size_t n_systems;
	bool is_unsupervised; /* the devices are not supervised: what needs that is a warning */
	bool is_inner;        /* what was decrypted: a missing signature is nothing to say */
};

struct lint_report {
	struct finding_report *found;
	GHashTable *fixable; /* those findings (struct finding) that lint_fix repairs */
	bool is_signed, is_encrypted;
	bool is_service; /* no profile, but the Profile Service document that an over-the-air enrollment begins with */
};
/* An empty one on TARGET, for those who judge what lint_file does not; transfer full. */
struct lint_report *lint_report_new(const char *target);
void lint_report_free(struct lint_report *report);
typedef struct lint_report lint_report;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(lint_report, lint_report_free)

/* Whether a file begins like JSON: then it holds declarations (core/declaration_lint.h). */
bool lint_is_json(const void *data, size_t len);
/* Bytes of a .mobileconfig (XML or binary), signed or not → report on TARGET (its name), transfer full, never NULL: what is no profile at all is one error. Of a signature only
 * is said whether it is whole; who signed is for profile_lint (keys). */
struct lint_report *lint_file(const char *target, const void *data, size_t len, const struct lint_facts *facts);
/* The profile with everything repaired that is fixable, as XML, transfer full; *RET_REPORT (transfer full) is what is left, on TARGET. Added identifiers and UUIDs are made
 * from the profile's bytes: the same file gives the same repair. POM_ERR_CONFLICT: it is signed, so a repair would break the signature; POM_ERR_PLIST_*: it cannot be read, or a
 * key stands twice with two values. */
GBytes *lint_fix(const char *target, const void *data, size_t len, const struct lint_facts *facts, struct lint_report **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* finding_report_format with "fixable" in each finding, "signed" and "encrypted" beside them; transfer full. */
json_t *lint_format(const struct lint_report *report);

/* "ios", "ios=17.2", "macos=14" → *RET; POM_ERR_USAGE says what is known. */
bool lint_system_parse(const char *text, struct lint_system *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* "ios=17.2,macos": puts them behind the *N that are in SYSTEMS already. POM_ERR_USAGE also for more than LINT_SYSTEMS_MAX. */
bool lint_systems_parse(const char *text, struct lint_system systems[LINT_SYSTEMS_MAX], size_t *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the rules ---- */

enum lint_rule_id {
#define RULE(code, id, severity, other, systems, is_fixed, text, mend) code,
#include "codec/lint_rules.inc"
#undef RULE
	LINT_RULE_MAX
};
struct lint_rule {
	const char *id;
	enum finding_severity severity, other; /* OTHER: where it weighs less, or more; else the same */
	unsigned systems;
	bool is_fixed;                         /* --fix repairs it, at least sometimes */
	const char *text, *mend;               /* sentences with their full stops; those of findings have none at the end of the text */
};
/* Static storage. */
const struct lint_rule *lint_rule(enum lint_rule_id id);
/* Adds a finding of the rule, with its severity and mend, for those who judge what lint_file does not. */
void lint_report_add(struct lint_report *report, enum lint_rule_id id, const char *path, const char *format, ...) G_GNUC_PRINTF(4, 5);
