/* What the logs of Apple devices say of management: known lines and error codes in exported text, with their explanations.
 *
 * Error codes are looked for as devices write them ("Error Domain=MCSCEPErrorDomain Code=22013", "<NSOSStatusErrorDomain:-603>", and over two lines "Domain : … / Code   : …"), Pomona's own by
 * their ids; known lines by the patterns of catalog/log-lines.tsv. Pure. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum { DEVICE_LOG_MAX_BYTES = 64 << 20, DEVICE_LOG_ENTRIES_MAX = 200, DEVICE_LOG_LINES_MAX = 20 };

struct device_log_entry {
	char *id;                  /* "MCSCEPErrorDomain:22013", "POM-E4103", or the id of a line: "server-certificate-invalid" */
	const char *name;          /* of an error of Apple's; NULL */
	const char *text;
	const char *causes, *look_at; /* NULL: nothing to say */
	unsigned n;                /* lines with it */
	GArray *lines;             /* int: the numbers of the first DEVICE_LOG_LINES_MAX of them, from 1 */
	char *excerpt;             /* the first one, UTF-8 without control characters, cut to a readable length */
};
struct device_log {
	GPtrArray *entries;   /* struct device_log_entry, in the order of their first lines; at most DEVICE_LOG_ENTRIES_MAX */
	unsigned n_lines;
	bool is_cut;          /* there was more than is looked at */
};
typedef struct device_log device_log;
void device_log_free(struct device_log *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(device_log, device_log_free)

/* LEN bytes of text (UTF-8, UTF-16 with or without a mark, anything else byte by byte; NULs are spaces) → what is known in it, transfer full, never NULL. Only the first
 * DEVICE_LOG_MAX_BYTES are looked at, and of a line its first 16 KiB. */
struct device_log *device_log_read(const void *data, size_t len);

/* How to take the log of an iPhone, a watch and a Mac: a few sentences for people. Static storage. */
const char *device_log_how(void);
