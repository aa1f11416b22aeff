/* Tree → XML as Apple's own writer makes it. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/datetime.h"
#include "codec/plist_internal.h"

enum {
	WRITE_MAX = 256 << 20,  /* bytes; several times what the reader takes */
	DATA_COLUMNS = 76, DATA_COLUMNS_MIN = 16, TAB_COLUMNS = 8,
};

static const char head[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	"<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
	"<plist version=\"1.0\">\n";

struct writer {
	struct pom_buf buf;
	unsigned indent;
};

static void put_indent(struct writer *w)
{
	for (unsigned i = 0; i < w->indent; i++)
		pom_buf_append(&w->buf, "\t", 1);
}

/* What XML 1.0 §2.2 (Char) leaves out; TEXT is valid UTF-8. */
static bool is_forbidden(const uint8_t *p, const uint8_t *end)
{
	if (*p < 0x20)
		return *p != '\t' && *p != '\n' && *p != '\r';
	return *p == 0xef && end - p >= 3 && p[1] == 0xbf && p[2] >= 0xbe;
}

static const char *escape_of(uint8_t c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '\r': /* a reader makes LF of a bare one */
		return "&#13;";
	default:
		return NULL;
	}
}

static bool put_text(struct writer *w, const char *text, size_t len, GError **error)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len, *start = p;

	if (!g_utf8_validate_len(text, len, NULL))
		return pom_fail(error, POM_ERR_PLIST_UNREPRESENTABLE, "a string is not UTF-8");
	for (; p < end; p++) {
		if (is_forbidden(p, end))
			return pom_fail(error, POM_ERR_PLIST_UNREPRESENTABLE, "a string has a character that XML cannot hold, at byte %zu", (size_t)(p - (const uint8_t *)text));
		const char *escape = escape_of(*p);

		if (!escape)
			continue;
		pom_buf_append(&w->buf, start, (size_t)(p - start));
		pom_buf_puts(&w->buf, escape);
		start = p + 1;
	}
	pom_buf_append(&w->buf, start, (size_t)(p - start));
	return true;
}

/* <NAME>text</NAME> and a line end. */
static bool put_element(struct writer *w, const char *name, const char *text, size_t len, GError **error)
{
	put_indent(w);
	pom_buf_append(&w->buf, "<", 1);
	pom_buf_puts(&w->buf, name);
	pom_buf_append(&w->buf, ">", 1);
	if (!put_text(w, text, len, error))
		return false;
	pom_buf_append(&w->buf, "</", 2);
	pom_buf_puts(&w->buf, name);
	pom_buf_append(&w->buf, ">\n", 2);
	return true;
}

static void put_line(struct writer *w, const char *line)
{
	put_indent(w);
	pom_buf_puts(&w->buf, line);
	pom_buf_append(&w->buf, "\n", 1);
}

static bool put_integer(struct writer *w, const plist *node, GError **error)
{
	char text[32];
	int len = node->negative ? g_snprintf(text, sizeof(text), "%" G_GINT64_FORMAT, (int64_t)node->integer)
	                         : g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, node->integer);

	return put_element(w, "integer", text, (size_t)len, error);
}

static bool put_real(struct writer *w, double value, GError **error)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	if (isnan(value))
		return put_element(w, "real", "nan", 3, error);
	if (isinf(value))
		return put_element(w, "real", value > 0 ? "+infinity" : "-infinity", 9, error);
	g_ascii_dtostr(text, sizeof(text), value);
	return put_element(w, "real", text, strlen(text), error);
}

static bool put_date(struct writer *w, int64_t unix_seconds, GError **error)
{
	char text[DATETIME_LEN + 1];

	if (!datetime_format(unix_seconds, text))
		return pom_fail(error, POM_ERR_PLIST_UNREPRESENTABLE, "a date is not within the years 1 to 9999");
	return put_element(w, "date", text, DATETIME_LEN, error);
}

static void put_data(struct writer *w, const plist *node)
{
	unsigned columns = w->indent * TAB_COLUMNS + DATA_COLUMNS_MIN < DATA_COLUMNS ? DATA_COLUMNS - w->indent * TAB_COLUMNS : DATA_COLUMNS_MIN;
	size_t step = columns / 4 * 3;
	char line[DATA_COLUMNS + 8];

	put_line(w, "<data>");
	for (size_t i = 0; i < node->len; i += step) {
		int state = 0, save = 0;
		size_t n = g_base64_encode_step((const guchar *)node->bytes + i, MIN(step, node->len - i), FALSE, line, &state, &save);

		n += g_base64_encode_close(FALSE, line + n, &state, &save);
		line[n] = '\0';
		put_line(w, line);
	}
	put_line(w, "</data>");
}

static bool put_node(struct writer *w, const plist *node, GError **error);

static bool put_container(struct writer *w, const plist *node, GError **error)
{
	bool is_dict = node->type == PLIST_DICT;

	if (!node->n_items) {
		put_line(w, is_dict ? "<dict/>" : "<array/>");
		return true;
	}
	put_line(w, is_dict ? "<dict>" : "<array>");
	w->indent++;
	for (size_t i = 0; i < node->n_items; i++) {
		const char *key = is_dict ? plist_dict_key(node, i) : NULL;

		if (key && !put_element(w, "key", key, strlen(key), error))
			return false;
		if (!put_node(w, plist_child(node, i), error))
			return false;
	}
	w->indent--;
	put_line(w, is_dict ? "</dict>" : "</array>");
	return true;
}

static bool put_node(struct writer *w, const plist *node, GError **error)
{
	switch (node->type) {
	case PLIST_DICT:
	case PLIST_ARRAY:
		if (w->indent >= PLIST_DEPTH_MAX)
			return pom_fail(error, POM_ERR_PLIST_UNREPRESENTABLE, "more than %d containers inside one another", PLIST_DEPTH_MAX);
		return put_container(w, node, error);
	case PLIST_STRING:
		return put_element(w, "string", node->bytes, node->len, error);
	case PLIST_INTEGER:
		return put_integer(w, node, error);
	case PLIST_REAL:
		return put_real(w, node->real, error);
	case PLIST_BOOLEAN:
		put_line(w, node->boolean ? "<true/>" : "<false/>");
		return true;
	case PLIST_DATE:
		return put_date(w, node->date, error);
	case PLIST_DATA:
		put_data(w, node);
		return true;
	case PLIST_TYPE_MAX:
	default:
		g_assert_not_reached();
	}
}

GBytes *plist_format(const plist *node, GError **error)
{
	struct writer w = {.indent = 0};
	GBytes *bytes = NULL;

	pom_buf_init(&w.buf, WRITE_MAX);
	pom_buf_puts(&w.buf, head);
	if (put_node(&w, node, error)) {
		pom_buf_puts(&w.buf, "</plist>\n");
		bytes = pom_buf_steal(&w.buf);
		if (!bytes)
			pom_fail(error, POM_ERR_PLIST_LIMIT, "the property list would be larger than %d bytes", WRITE_MAX);
	}
	pom_buf_clear(&w.buf);
	return bytes;
}
