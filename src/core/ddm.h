/* Declarative management as a protocol (Apple: "Declarative Device Management"): endpoints, tokens, the list of what a device shall have, when it is told, and what its status reports say. Pure.
 *
 * What must hold:
 *  - The DeclarationsToken is a function of the set of (kind, Identifier, ServerToken) alone: the same for all devices with the same declarations, and stable while nothing changes.
 *  - A device is told by one command at most that is on its way, and only when what it was told last differs from what it shall have. */
#pragma once

#include "core/declaration.h"

/* ---- endpoints ---- */
enum ddm_endpoint_type { DDM_TOKENS, DDM_ITEMS, DDM_DECLARATION, DDM_STATUS };
struct ddm_endpoint {
	enum ddm_endpoint_type type;
	enum declaration_kind kind; /* of DDM_DECLARATION */
	char *identifier;           /* as it was sent, percent signs and all */
	char *decoded;              /* with %XX decoded; NULL: it has none, or decoded it would be no identifier */
};
void ddm_endpoint_clear(struct ddm_endpoint *endpoint);
typedef struct ddm_endpoint ddm_endpoint_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ddm_endpoint_auto, ddm_endpoint_clear)
/* The Endpoint of a check-in message; what stands behind the second slash is the identifier, whatever is in it. POM_ERR_DDM_ENDPOINT. */
bool ddm_endpoint_parse(const char *text, struct ddm_endpoint *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the list ---- */
struct ddm_item { const char *identifier, *token; enum declaration_kind kind; };
/* The list as devices get it and its token, both transfer full. ITEMS are put in order and lose what stands there twice. */
GBytes *ddm_manifest_build(GArray *items, char **ret_token);
/* The tokens document, transfer full. */
GBytes *ddm_tokens_format(const char *token, int64_t changed_ms);
/* The ServerToken of a declaration in a list made by ddm_manifest_build, transfer full; NULL: it is not in it. */
char *ddm_manifest_find(GBytes *manifest, const char *identifier);

/* ---- who is told ---- */
enum ddm_waiting { DDM_WAITS_NOT, DDM_WAITS_QUEUED, DDM_WAITS_DELIVERED }; /* the command DeclarativeManagement: none, to be fetched, to be answered */
struct ddm_row {
	const char *token; /* of the list that it has now; NULL: none was made in this epoch */
	const char *told;  /* of the list that it was told last; NULL: declarative management was never switched on in this epoch */
	enum ddm_waiting waiting;
};
struct ddm_plan { bool write, queue, cancel; };
/* WANTED: token of the list that it shall have; HAS_SETS: it is not empty by assignment. */
void ddm_decide(const struct ddm_row *row, const char *wanted, bool has_sets, struct ddm_plan *ret);

/* ---- status reports ---- */
enum { DDM_STATUS_MAX = 4 << 20, DDM_ITEMS_MAX = 5000, DDM_NAME_MAX = 255, DDM_VALUE_MAX = 256 << 10 };
struct ddm_change { char *item, *element, *value; }; /* element: identifier within a list, "" for whole items; value: JSON, NULL: it is gone */
struct ddm_status_error { char *item, *reasons; };   /* reasons: JSON */
struct ddm_declared { char *identifier, *token, *valid, *reasons; enum declaration_kind kind; bool active; }; /* valid: unknown, invalid, valid; reasons: JSON, NULL: none */
struct ddm_report {
	bool full;             /* it stands for all that was reported before */
	bool has_declarations; /* DECLARED stands for all that was reported of declarations before */
	GPtrArray *changes, *errors, *declared;
	unsigned n_ignored;    /* parts that were not understood */
};
/* DATA → report, transfer full. What is not understood of it is left out and counted: a device must not be refused for a part. POM_ERR_TOO_LARGE, POM_ERR_JSON, POM_ERR_DDM_STATUS (no object). */
struct ddm_report *ddm_report_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void ddm_report_free(struct ddm_report *report);
typedef struct ddm_report ddm_report;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ddm_report, ddm_report_free)

/* REASONS (JSON as reported) in our words: [{"code", "text", "description", "details"}], transfer full. */
json_t *ddm_reasons_json(const char *reasons);
