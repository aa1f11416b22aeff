/* Questions about devices, in one line: 'os.version >= 17 and model.family = "iPad" and not supervised'. Groups and orders name devices by them.
 *
 *	query   = and { "or" and }
 *	and     = not { "and" not }
 *	not     = "not" not | term
 *	term    = "(" query ")" | "exists" name | name [test]
 *	test    = ("=" | "!=" | "<" | "<=" | ">" | ">=") value | "contains" value | "in" "(" value { "," value } ")"
 *	value   = "text" | 17 | 17.2.1 | -0.5 | true | false
 *
 * Names are those of query_name_at, "fact.NAME" for whatever a device told (core/fact.h), with the keys of a dictionary in it after further dots, and "attr.NAME". A name by itself is true when its value
 * is true. What is not known of a device makes every test of it false, != too; "exists" tells. Texts are compared without regard to upper and lower case; digits with a text are
 * compared as versions, part by part, missing parts being 0. Pure. */
#pragma once

#include "base/error.h"
#include "codec/json.h"

enum { QUERY_LENGTH_MAX = 2048, QUERY_DEPTH_MAX = 32, QUERY_TERMS_MAX = 128, QUERY_VALUES_MAX = 256 };

struct query;
/* TEXT → query, transfer full. POM_ERR_QUERY with the column and what was expected there; no more than the maxima above. */
struct query *query_parse(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void query_free(struct query *query); /* NULL is fine */
typedef struct query query;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(query, query_free)

/* What the query needs to know: names of facts and of attributes, NULL-terminated, borrowed. */
const char *const *query_facts(const struct query *query);
const char *const *query_attributes(const struct query *query);
/* The first name in it whose value changes by time alone, NULL: none. Membership of a group must not hang on one. */
const char *query_clock_name(const struct query *query);

/* A device as it is asked about. Texts may be NULL: not known. FACT gives the JSON of a fact, ATTRIBUTE the text of an attribute, both borrowed; NULL: there is none. */
struct query_device {
	const char *id, *udid, *serial, *name, *owner, *kind, *product_name, *model, *model_name, *os_version, *build_version;
	int64_t enrolled_ms, last_seen_ms, now_ms;
	const char *(*fact)(void *ctx, const char *name);
	const char *(*attribute)(void *ctx, const char *name);
	void *ctx;
};
bool query_match(const struct query *query, const struct query_device *device);

/* The names besides facts and attributes, for people: NULL behind the last. */
struct query_name { const char *name, *text; };
const struct query_name *query_name_at(unsigned i);
