/* Binary property lists ("bplist00"), read within bounds: for files that people bring to the linter and to imports. Devices speak XML; nothing that serves them calls this. */
#pragma once

#include "codec/plist.h"

/* Whether the bytes begin as a binary property list does. */
bool plist_is_binary(const void *data, size_t len);

/* DATA → tree, transfer full. Objects may be shared or name themselves: what they unfold to counts, values and bytes alike, against LIMITS (NULL: plist_limits_default). Refused besides
 * what no XML property list can hold: null, UID, sets, keys that are no strings, NUL in a text, dates outside the years 1 to 9999. Fractions of a second of dates are dropped.
 * NOTES (may be NULL) as in plist_parse_noted; there are no lines. POM_ERR_PLIST_SYNTAX (with the offset of the object), _VALUE, _STRUCTURE, _LIMIT. Pure. */
plist *plist_parse_binary(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* XML or binary, by how the bytes begin. The errors of both. */
plist *plist_parse_any(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
