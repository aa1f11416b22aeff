/* Variables in profiles: ${serial} and the like, replaced in the strings of a parsed profile. Never in text: a value cannot end its string, make a key or bring another
 * variable in. Keys and everything that is no string stay as they are. "$${" stands for "${". Pure. */
#pragma once

#include "base/error.h"
#include "codec/plist.h"

enum { VARIABLE_NAME_MAX = 64, VARIABLE_VALUE_MAX = 4096, VARIABLES_OUTPUT_MAX = 4 << 20 };

/* The name of a custom attribute behind "attr.": letters, digits, '.', '-' and '_', at most VARIABLE_NAME_MAX. */
bool variable_attribute_check(const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether VALUE can stand in a property list: UTF-8 that XML 1.0 can write, at most VARIABLE_VALUE_MAX bytes. POM_ERR_VARIABLE_VALUE naming NAME. */
bool variable_value_check(const char *name, const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How many variables and "$${" stand in TREE. POM_ERR_VARIABLE with the key path: one of an unknown name, or without its end; a variable in PayloadIdentifier, PayloadUUID or PayloadType of the
 * profile itself, by which devices and the library know it. */
bool variables_check(const plist *tree, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The value of NAME, borrowed until the next call; NULL: the device has none. */
typedef const char *(*variable_fn)(void *ctx, const char *name);
/* A copy of TREE with its variables replaced, transfer full. POM_ERR_VARIABLE as above; POM_ERR_VARIABLE_VALUE: there is no value, it cannot be written, or the result is too large. */
plist *variables_substitute(const plist *tree, variable_fn get, void *ctx, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The names that stand in TREE, each once: array of char *, transfer full. Strings that variables_check refuses are passed over. */
GPtrArray *variables_names(const plist *tree);
