/* What an examination found, in the one shape that the doctor and the linter share, and the forms in which people and programs read it.
 *
 * An error is what devices refuse; a warning what works today or on some of them only; a note what is worth knowing. Pure: nothing is written anywhere. */
#pragma once

#include "codec/json.h"

enum finding_severity { FINDING_NOTE, FINDING_WARNING, FINDING_ERROR, FINDING_SEVERITY_MAX };

/* Bits of finding.systems. iOS stands for iPadOS too. */
enum { FINDING_IOS = 1, FINDING_MACOS = 2, FINDING_WATCHOS = 4, FINDING_TVOS = 8, FINDING_VISIONOS = 16, FINDING_ALL_SYSTEMS = 31 };

struct finding {
	const char *rule;               /* of static storage, or interned: "tls-leaf-only" */
	enum finding_severity severity;
	unsigned systems;               /* FINDING_*: which refuse it, or are meant */
	char *path;                     /* where: a key path, or an address and a place in the chain; "": the whole */
	int line;                       /* in the file, from 1; 0: not known, or no file */
	char *text;                     /* a sentence or more, without the last full stop */
	char *mend;                     /* what to do; NULL when TEXT says it */
};

enum { FINDINGS_MAX = 500 }; /* of one report; more are counted, and not kept */
struct finding_report {
	char *target;        /* what was looked at: a URL, a file */
	GPtrArray *findings; /* struct finding */
	unsigned n[FINDING_SEVERITY_MAX];
};

struct finding_report *finding_report_new(const char *target);
void finding_report_free(struct finding_report *report);
typedef struct finding_report finding_report;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(finding_report, finding_report_free)

/* Adds one. PATH NULL is ""; MEND may be NULL. Text that is no UTF-8 (from outside) is made so. */
void finding_add(struct finding_report *report, const char *rule, enum finding_severity severity, unsigned systems, const char *path, int line, const char *mend, const char *format, ...)
	G_GNUC_PRINTF(8, 9);
/* Whether the report already has one of this rule and path with this very text. */
bool finding_report_has(const struct finding_report *report, const char *rule, const char *path, const char *text);
/* Puts all findings of OTHER (transfer full) behind those of REPORT. */
void finding_report_merge(struct finding_report *report, struct finding_report *other);
/* Worst first; among equals, the order in which they were added. */
void finding_report_sort(struct finding_report *report);

/* "error", "warning", "note". */
const char *finding_severity_name(enum finding_severity severity);
/* "ios", "macos", "watchos", "tvos", "visionos", or "all" → bits; 0: no such name. */
unsigned finding_system_parse(const char *name);
/* "watchOS", "iOS, tvOS", "all"; transfer full. */
char *finding_systems_text(unsigned systems);

/* {"target", "errors": N, "warnings": N, "notes": N, "findings": [{"rule", "severity", "systems": ["ios", …], "path", "line", "text", "mend"}]}: "line" and "mend" are null when there is
 * none. transfer full. */
json_t *finding_report_format(const struct finding_report *report);
/* The same backwards, transfer full; POM_ERR_JSON says which key is missing or of the wrong type. */
struct finding_report *finding_report_parse(json_t *json, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* For people: a line for each severity, rule, systems and place, below it the text and the mend, and a last line with the numbers. WIDTH: columns to wrap at, 0: no
 * wrapping; IS_COLORED: with the escape sequences of ECMA-48 §8.3.117. Control characters of texts are replaced. transfer full. */
char *finding_report_text(const struct finding_report *report, unsigned width, bool is_colored);
/* JUnit's XML: a test case for each finding, whose errors are failures; one that succeeds when nothing was found. SUITE: "doctor". transfer full. */
char *finding_report_junit(const struct finding_report *report, const char *suite);
