#include "codec/qr.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* The finder pattern: a dark ring of 7 around a light ring of 5 around a dark square of 3. */
static void check_finder(const struct qr *code, int left, int top)
{
	for (int y = -1; y <= 7; y++)
		for (int x = -1; x <= 7; x++) {
			int ring = MAX(ABS(x - 3), ABS(y - 3));

			g_assert_cmpint(qr_is_dark(code, left + x, top + y), ==, ring == 3 || ring <= 1);
		}
}

/* Bytes that versions hold with error correction M (ISO/IEC 18004 table 7). */
static void test_versions(void)
{
	static const struct { size_t len; int version; } rows[] = {{1, 1}, {14, 1}, {15, 2}, {26, 2}, {27, 3}, {62, 4}, {63, 5}, {84, 5}, {85, 6}, {213, 10}, {666, 20}, {1000, 26}};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = g_strnfill(rows[i].len, 'a');
		g_autoptr(GError) error = NULL;
		g_autoptr(qr) code = qr_new(text, &error);
		int size = 17 + 4 * rows[i].version;

		g_assert_no_error(error);
		g_assert_cmpint(qr_get_size(code), ==, size);
		check_finder(code, 0, 0);
		check_finder(code, size - 7, 0);
		check_finder(code, 0, size - 7);
		g_assert_false(qr_is_dark(code, -1, 0) || qr_is_dark(code, 0, -1) || qr_is_dark(code, size, 0) || qr_is_dark(code, 0, size));
	}
}

static void test_refused(void)
{
	g_autofree char *longer = g_strnfill(QR_TEXT_MAX + 1, 'a');
	const char *texts[] = {"", longer};

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(qr_new(texts[i], &error));
		g_assert_error(error, POM_ERROR, POM_ERR_BAD_REQUEST);
	}
}

/* Reads the path of the dark modules back: it must be the code, no more and no less. */
static void test_svg(void)
{
	g_autoptr(qr) code = qr_new("https://mdm.example.org/enroll/0123456789abcdefghijABCDEFGHIJ-_", NULL);
	g_autofree char *svg = qr_format_svg(code, "To \"<Ann>\" & all");
	int size = qr_get_size(code), side = size + 8;
	g_autofree bool *seen = g_new0(bool, side * side);
	g_autofree char *box = g_strdup_printf("viewBox=\"0 0 %d %d\" role=\"img\"", side, side), *ground = g_strdup_printf("<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>", side, side);
	const char *path = strstr(svg, "<path fill=\"#000\" d=\"");
	int x, y, width, back, n;

	g_assert_true(g_str_has_prefix(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" "));
	g_assert_nonnull(strstr(svg, box));
	g_assert_nonnull(strstr(svg, ground));
	g_assert_nonnull(strstr(svg, "<title>To &quot;&lt;Ann&gt;&quot; &amp; all</title>"));
	g_assert_nonnull(path);
	for (path = strchr(path, 'M'); *path == 'M'; path += n) {
		g_assert_cmpint(sscanf(path, "M%d %dh%dv1h-%dz%n", &x, &y, &width, &back, &n), ==, 4);
		g_assert_cmpint(width, ==, back);
		for (int i = 0; i < width; i++)
			seen[y * side + x + i] = true;
	}
	g_assert_cmpstr(path, ==, "\"/></svg>\n");
	for (y = 0; y < side; y++)
		for (x = 0; x < side; x++)
			g_assert_cmpint(seen[y * side + x], ==, qr_is_dark(code, x - 4, y - 4));
}

/* 0: no block, 1: upper half, 2: lower half, 3: both. */
static int block_of(gunichar c)
{
	return c == 0x2580 ? 1 : c == 0x2584 ? 2 : c == 0x2588 ? 3 : c == ' ' ? 0 : -1;
}

static void check_terminal(const struct qr *code, bool color)
{
	g_autofree char *text = qr_format_terminal(code, color);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	int side = qr_get_size(code) + 8;

	g_assert_cmpint(g_strv_length(lines), ==, (side + 1) / 2 + 1);
	for (int row = 0; row < (side + 1) / 2; row++) {
		const char *p = lines[row];

		if (color) {
			g_assert_true(g_str_has_prefix(p, "\033[38;5;16;48;5;231m") && g_str_has_suffix(p, "\033[0m"));
			p = strchr(p, 'm') + 1;
		}
		for (int x = 0; x < side; x++, p = g_utf8_next_char(p)) {
			int block = block_of(g_utf8_get_char(p));
			bool upper = qr_is_dark(code, x - 4, 2 * row - 4), lower = qr_is_dark(code, x - 4, 2 * row + 1 - 4);

			g_assert_cmpint(block & 1, ==, color == upper);
			/* Below the last row nothing is drawn. */
			g_assert_cmpint(block >> 1, ==, 2 * row + 1 < side && color == lower);
		}
		g_assert_cmpstr(p, ==, color ? "\033[0m" : "");
	}
}

static void test_terminal(void)
{
	g_autoptr(qr) code = qr_new("https://mdm.example.org/enroll/0123456789abcdefghijABCDEFGHIJ-_", NULL);

	check_terminal(code, true);
	check_terminal(code, false);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/codec/qr/versions", test_versions);
	g_test_add_func("/codec/qr/refused", test_refused);
	g_test_add_func("/codec/qr/svg", test_svg);
	g_test_add_func("/codec/qr/terminal", test_terminal);
	return g_test_run();
}
