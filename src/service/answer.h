/* The shapes that all JSON answers share. */
#pragma once

#include "codec/json.h"

/* Unix milliseconds as RFC 3339 text; null for 0. */
json_t *json_time(int64_t unix_ms);
/* TEXT under KEY; null for NULL. */
void json_set_text(json_t *object, const char *key, const char *text);
/* {"items": ITEMS (transfer full), "next": LAST when a full page was read}. */
json_t *json_page(json_t *items, const char *last, int64_t limit);
