/* JSON (jansson) and its bridge to property lists.
 *
 * JSON has no data, date or 64-bit unsigned values: data is {"$data": "<base64>"}, a date {"$date": "2026-01-02T03:04:05Z"}; an
 * integer above INT64_MAX is {"$integer": "18446744073709551615"}; a real without a number is {"$real": "nan"} ("+infinity",
 * "-infinity"); a dictionary that looks like one of these is wrapped as {"$dict": {…}}. Everything else maps to its like. A JSON
 * real becomes a real. */
#pragma once

#include <jansson.h>

#include "codec/plist.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

/* DATA → JSON, transfer full; duplicate keys, trailing text, NUL in strings and more than 64 levels are refused
 * (POM_ERR_JSON with line and column), as is more than 32 MiB. */
json_t *json_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* JSON → compact text with the order of keys kept, transfer full. */
GBytes *json_format(const json_t *json);

/* Bridge; transfer full. plist_from_json fails with POM_ERR_JSON naming the key path (null, a bad $data, depth over 32). */
json_t *json_from_plist(const plist *node);
plist *plist_from_json(const json_t *json, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
