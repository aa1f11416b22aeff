/* A growing byte buffer with a maximum set where it is made. Going over the maximum makes the buffer fail for good and
 * drops what came after: callers append freely and look once at the end. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct pom_buf {
	uint8_t *data;
	size_t len;
	size_t capacity;
	size_t max_bytes;
	bool failed; /* something did not fit */
};

/* An empty buffer that will hold at most MAX_BYTES (0 < MAX_BYTES ≤ SSIZE_MAX). Allocates nothing yet. */
void pom_buf_init(struct pom_buf *buf, size_t max_bytes);
/* Frees the bytes; the buffer may be used again with the same maximum. NULL data is fine. */
void pom_buf_clear(struct pom_buf *buf);

/* Append bytes, a string, a formatted string. False (and failed set) when the maximum would be exceeded. */
bool pom_buf_append(struct pom_buf *buf, const void *data, size_t len);
bool pom_buf_puts(struct pom_buf *buf, const char *text);
bool pom_buf_printf(struct pom_buf *buf, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Removes the first N bytes (N ≤ len). */
void pom_buf_consume(struct pom_buf *buf, size_t n);

/* Gives the bytes away as GBytes (transfer full) and empties the buffer; NULL when it has failed. */
GBytes *pom_buf_steal(struct pom_buf *buf);

typedef struct pom_buf pom_buf_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(pom_buf_auto, pom_buf_clear)
