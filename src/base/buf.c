#include "base/buf.h"

#include <stdio.h>
#include <string.h>

void pom_buf_init(struct pom_buf *buf, size_t max_bytes)
{
	*buf = (struct pom_buf){.max_bytes = max_bytes};
}

void pom_buf_clear(struct pom_buf *buf)
{
	g_free(buf->data);
	pom_buf_init(buf, buf->max_bytes);
}

/* Makes room for N more bytes. */
static bool reserve(struct pom_buf *buf, size_t n)
{
	size_t capacity = MAX(buf->capacity, 256);

	if (buf->failed || n > buf->max_bytes - buf->len) {
		buf->failed = true;
		return false;
	}
	while (capacity < buf->len + n)
		capacity *= 2;
	if (capacity != buf->capacity) {
		buf->data = g_realloc(buf->data, capacity);
		buf->capacity = capacity;
	}
	return true;
}

bool pom_buf_append(struct pom_buf *buf, const void *data, size_t len)
{
	if (!reserve(buf, len))
		return false;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return true;
}

bool pom_buf_puts(struct pom_buf *buf, const char *text)
{
	return pom_buf_append(buf, text, strlen(text));
}

bool pom_buf_printf(struct pom_buf *buf, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	return pom_buf_puts(buf, text);
}

void pom_buf_consume(struct pom_buf *buf, size_t n)
{
	g_assert(n <= buf->len);
	memmove(buf->data, buf->data + n, buf->len - n);
	buf->len -= n;
}

GBytes *pom_buf_steal(struct pom_buf *buf)
{
	GBytes *bytes;

	if (buf->failed)
		return NULL;
	bytes = g_bytes_new_take(buf->data, buf->len);
	buf->data = NULL;
	pom_buf_clear(buf);
	return bytes;
}
