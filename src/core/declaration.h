/* Declarations as rules: what is one, what it says of itself (ServerToken) and of others (references), and all that is wrong with it. Pure.
 *
 * A declaration is kept as canonical JSON of its payload: keys in order of their bytes, no white space. Its ServerToken is made of type, identifier and payload, so that it changes
 * whenever a byte of the content does, and stays when nothing has changed.
 *
 * Two things in a payload are this server's own, and become addresses when a device gets the declaration: the URL "pomona:data" of an asset, whose data is kept with the
 * declaration, and "pomona:profile/NAME" for a profile of the library. */
#pragma once

#include "core/declaration_table.h"

enum { DECLARATION_ID_MAX = 64, DECLARATION_SIZE_MAX = 1 << 20, DECLARATION_DATA_MAX = 8 << 20, DECLARATION_FINDINGS_MAX = 200, DECLARATION_TOKEN_LEN = 40 };

#define DECLARATION_OWN_DATA "pomona:data"
#define DECLARATION_OWN_PROFILE "pomona:profile/"

struct declaration {
	char *identifier, *type;
	enum declaration_kind kind;         /* one of the four */
	const struct declaration_type *row; /* NULL: not in the catalog */
	json_t *payload;                    /* an object */
};
void declaration_clear(struct declaration *d);
typedef struct declaration declaration_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(declaration_auto, declaration_clear)

/* Whether IDENTIFIER can be one: UTF-8, 1–64 bytes, no slash, no %2F, no control characters. POM_ERR_DECLARATION_IDENTIFIER. */
bool declaration_identifier_check(const char *identifier, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* {"Type", "Identifier", "Payload"} → RET, which is written only on success. ServerToken is left out: it is this server's. POM_ERR_JSON (also for keys that stand there twice and for integers that
 * no double holds), POM_ERR_TOO_LARGE, POM_ERR_DECLARATION, _IDENTIFIER. */
bool declaration_parse(const void *data, size_t len, struct declaration *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same of a document that is parsed already; JSON is borrowed. */
bool declaration_read(const json_t *json, struct declaration *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The payload as canonical JSON, transfer full. */
GBytes *declaration_body(const struct declaration *d);
/* DECLARATION_TOKEN_LEN hex digits; transfer full. */
char *declaration_token(const struct declaration *d);
/* What a device gets, transfer full; PAYLOAD is borrowed. */
GBytes *declaration_format(const char *type, const char *identifier, const char *token, json_t *payload);

/* Another declaration that one names. */
struct declaration_reference { char *path, *target; const char *types; /* of the catalog; NULL: not told */ };
/* All of them, in order; transfer full. Of types that are not in the catalog, by the names of keys (…AssetReference, …AssetReferences, StandardConfigurations). */
GPtrArray *declaration_references(const struct declaration *d);
/* The library's profile that it brings, borrowed; NULL: none. */
const char *declaration_profile(const struct declaration *d);
/* Whether its data is kept here. */
bool declaration_has_own_data(const struct declaration *d);
/* A copy of PAYLOAD, transfer full, with addresses in place of this server's own words; either may be NULL. */
json_t *declaration_with_urls(const json_t *payload, const char *data_url, const char *profile_url);
/* Says in PAYLOAD, an asset's, that its data is kept here: DataURL, Size and Hash-SHA-256, and ContentType unless it has one and CONTENT_TYPE is NULL. */
void declaration_set_data(json_t *payload, const char *content_type, size_t size, const uint8_t sha256[32]);

struct declaration_finding {
	bool is_error;
	int code;   /* enum pom_error */
	char *path; /* "Payload.Reference.DataURL" */
	char *what;
};
/* An empty list of them, transfer full. */
GPtrArray *declaration_findings_new(void);
/* Everything that is wrong with it by itself, transfer full: keys, types, values, predicates, addresses. What it refers to is looked at by who knows what there is. */
GPtrArray *declaration_check(const struct declaration *d);
/* The first error among FINDINGS as ERROR; false then. */
bool declaration_check_fail(const GPtrArray *findings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void declaration_add_finding(GPtrArray *findings, bool is_error, int code, const char *path, const char *format, ...) G_GNUC_PRINTF(5, 6);
/* [{"severity", "path", "what"}], transfer full. */
json_t *declaration_findings_json(const GPtrArray *findings);

/* The document behind an asset (com.apple.credential.…): its keys; findings are appended. ASSET_TYPE tells what is expected. */
void declaration_check_data(const char *asset_type, const void *data, size_t len, GPtrArray *findings);

/* Whether PREDICATE has the form of an NSPredicate: quotes and parentheses closed, something that is compared, and after @ only status(…), property(…) and key(…). *RET_WHY, transfer full, says what is
 * wrong; or, on success, what looks wrong (a status item that is not in the catalog); NULL: nothing. */
bool declaration_predicate_check(const char *predicate, char **ret_why) G_GNUC_WARN_UNUSED_RESULT;

/* Whether following EDGES (identifier → GPtrArray of identifiers) from START leads back to it; the way as "a → b → a", transfer full; NULL: it does not. */
char *declaration_find_cycle(GHashTable *edges, const char *start);

/* What is known of a channel, as for commands. Why it cannot use a type, transfer full; NULL: it can, or nothing is known. */
struct command_target;
char *declaration_unsuited(const struct declaration_type *type, const struct command_target *target);
/* Whether the channel may know a status item. */
bool status_item_suits(const struct status_item *item, const struct command_target *target);
