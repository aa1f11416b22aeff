/* All that is wrong with a configuration profile, as its author needs to hear it: every finding with where it is, what is wrong and what to do, and the repair of
 * what can be repaired in one way only. mobileconfig_check says yes or no and stays strict; whatever it refuses is an error here.
 *
 * An error is what devices refuse, or silently take for something else; a warning what works, but probably not as meant. What keys there are and of which types is in
 * catalog/payload-keys.tsv. Pure: the time and the opening of PKCS#12 files are parameters. */
#pragma once

#include "codec/json.h"
#include "codec/mobileconfig.h"

struct lint_facts {
	int64_t now_s; /* Unix seconds */
	/* Whether the PKCS#12 file opens with PASSWORD; *RET_NOT_AFTER the end of its certificate. NULL: not tried. */
	bool (*open_pkcs12)(const void *data, size_t len, const char *password, int64_t *ret_not_after, GError **error);
};

struct lint_finding {
	bool is_error, is_fixable;
	char *path; /* "PayloadContent[0].PayloadContent.Keysize"; "" for the whole */
	char *what; /* a sentence without its full stop */
	char *mend; /* what to do; NULL when WHAT says it */
};

enum { LINT_FINDINGS_MAX = 500 }; /* more are counted, and not kept */
struct lint_report {
	GPtrArray *findings; /* struct lint_finding, in the order of the profile */
	unsigned n_errors, n_warnings;
	bool is_signed, is_encrypted;
};
void lint_report_free(struct lint_report *report);
typedef struct lint_report lint_report;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(lint_report, lint_report_free)

/* Bytes of a .mobileconfig, signed or not → report, transfer full, never NULL: what is no profile at all is one error. */
struct lint_report *lint_file(const void *data, size_t len, const struct lint_facts *facts);
/* The profile with everything repaired that is fixable, as XML, transfer full; *RET_REPORT (transfer full) is what is left. Added identifiers and UUIDs are made
 * from the profile's bytes: the same file gives the same repair. POM_ERR_CONFLICT: it is signed, so a repair would break the signature; POM_ERR_PLIST_*. */
GBytes *lint_fix(const void *data, size_t len, const struct lint_facts *facts, struct lint_report **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* {"errors": N, "warnings": N, "signed": …, "encrypted": …, "findings": [{"severity", "path", "what", "mend", "fixable"}]}, transfer full. */
json_t *lint_format(const struct lint_report *report);
