/* The settings that all nodes of one database should have alike: what devices are told must not hang on the node that they happen to reach. What each node has is kept in the
 * database, for the next one to compare itself with, and for new nodes to take over. */
#pragma once

#include <jansson.h>

#include "server/settings.h"
#include "store/store.h"

/* Whether SETTING may be another one on each node (addresses, threads, where the database is). */
bool shared_settings_is_own(enum setting setting);

/* Those that are not left at their defaults: an object of "section.key": text. transfer full. */
json_t *shared_settings_format(const struct settings *settings);
/* Sets those of JSON; what this version does not know is left out. POM_ERR_CONFIG for a value that cannot be. */
bool shared_settings_take(struct settings *settings, const json_t *json, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Calls FN with each setting that is another one in JSON; files count as the same when both name one. */
void shared_settings_compare(const struct settings *settings, const json_t *json, void (*fn)(void *ctx, const char *name, const char *here, const char *there), void *ctx);

/* Keeps those of SETTINGS in the database as what the node that they name has; forgets nodes that are not there any more. */
bool shared_settings_save(struct store *store, const struct settings *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What was kept last, by whichever node; NULL when nothing was. transfer full. */
bool shared_settings_load(struct store *store, json_t **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* At a start: the same, and warns of each setting that is another one on another node. */
bool shared_settings_note(struct store *store, const struct settings *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
