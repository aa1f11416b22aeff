#include "codec/qr.h"

#include <qrencode.h>
#include <string.h>

#include "base/error.h"

struct qr { QRcode *code; };

struct qr *qr_new(const char *text, GError **error)
{
	size_t len = strlen(text);
	QRcode *code = len && len <= QR_TEXT_MAX ? QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M) : NULL;
	struct qr *qr;

	if (!code) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "a QR code is made of 1 to %d bytes of text, not of %zu", QR_TEXT_MAX, len);
		return NULL;
	}
	qr = g_new(struct qr, 1);
	qr->code = code;
	return qr;
}

void qr_free(struct qr *qr)
{
	if (!qr)
		return;
	/* The text may be a secret, and the modules are the text. */
	explicit_bzero(qr->code->data, (size_t)qr->code->width * (size_t)qr->code->width);
	QRcode_free(qr->code);
	g_free(qr);
}

int qr_get_size(const struct qr *qr)
{
	return qr->code->width;
}

bool qr_is_dark(const struct qr *qr, int x, int y)
{
	int size = qr->code->width;

	return x >= 0 && y >= 0 && x < size && y < size && (qr->code->data[y * size + x] & 1);
}

/* The dark modules of a row, each run of neighbors as one rectangle. */
static void add_row(GString *path, const struct qr *qr, int y)
{
	int size = qr_get_size(qr);

	for (int x = 0; x < size; x++) {
		int from = x;

		while (qr_is_dark(qr, x, y))
			x++;
		if (x > from)
			g_string_append_printf(path, "M%d %dh%dv1h-%dz", from + QR_QUIET, y + QR_QUIET, x - from, x - from);
	}
}

char *qr_format_svg(const struct qr *qr, const char *title)
{
	int side = qr_get_size(qr) + 2 * QR_QUIET;
	g_autofree char *head = g_markup_printf_escaped("<title>%s</title>", title);
	GString *svg = g_string_new(NULL);

	g_string_append_printf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" shape-rendering=\"crispEdges\">%s"
	                       "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path fill=\"#000\" d=\"", side, side, head, side, side);
	for (int y = 0; y < qr_get_size(qr); y++)
		add_row(svg, qr, y);
	g_string_append(svg, "\"/></svg>\n");
	return g_string_free(svg, FALSE);
}

char *qr_format_terminal(const struct qr *qr, bool color)
{
	static const char *const blocks[2][2] = {{" ", "▄"}, {"▀", "█"}};
	GString *text = g_string_new(NULL);
	int end = qr_get_size(qr) + QR_QUIET;

	for (int y = -QR_QUIET; y < end; y += 2) {
		/* Black and white of the 256 colors: the first sixteen are whatever the terminal's theme says. */
		g_string_append(text, color ? "\033[38;5;16;48;5;231m" : "");
		for (int x = -QR_QUIET; x < end; x++) {
			bool upper = qr_is_dark(qr, x, y), lower = qr_is_dark(qr, x, y + 1);

			/* What lies below the last row is no part of the code. */
			g_string_append(text, color ? blocks[upper][lower] : blocks[!upper][!lower && y + 1 < end]);
		}
		g_string_append(text, color ? "\033[0m\n" : "\n");
	}
	return g_string_free(text, FALSE);
}
