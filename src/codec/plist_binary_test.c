#include "codec/plist_binary.h"

#include <string.h>

#include "base/error.h"

/* A file of OBJECTS (a literal) with a table of one-byte offsets after them. */
static GBytes *file_of(const void *objects, size_t len, const uint8_t *offsets, uint8_t n)
{
	uint8_t trailer[32] = {[6] = 1, [7] = 1, [15] = n, [31] = (uint8_t)(8 + len)};
	GByteArray *all = g_byte_array_new();

	g_byte_array_append(all, (const guint8 *)"bplist00", 8);
	g_byte_array_append(all, objects, (guint)len);
	g_byte_array_append(all, offsets, n);
	g_byte_array_append(all, trailer, sizeof(trailer));
	return g_byte_array_free_to_bytes(all);
}

#define ONE(literal) literal, sizeof(literal) - 1, {8}, 1
#define P(inner) "<plist>" inner "</plist>"

/* Objects, their offsets, and the same in XML; NULL: refused with CODE. */
static const struct {
	const char *objects;
	size_t len;
	uint8_t offsets[8], n;
	const char *xml;
	int code;
} cases[] = {
	{ONE("\x08"), P("<false/>"), 0},
	{ONE("\x09"), P("<true/>"), 0},
	{ONE("\x10\xff"), P("<integer>255</integer>"), 0},
	{ONE("\x11\xff\xff"), P("<integer>65535</integer>"), 0},
	{ONE("\x12\xff\xff\xff\xff"), P("<integer>4294967295</integer>"), 0},
	{ONE("\x13\xff\xff\xff\xff\xff\xff\xff\xfe"), P("<integer>-2</integer>"), 0},
	{ONE("\x14\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), P("<integer>18446744073709551615</integer>"), 0},
	{ONE("\x14\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), P("<integer>-1</integer>"), 0},
	{ONE("\x14\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x15\0\0"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x13\0\0"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x22\x3f\xc0\0\0"), P("<real>1.5</real>"), 0},
	{ONE("\x23\x3f\xf8\0\0\0\0\0\0"), P("<real>1.5</real>"), 0},
	{ONE("\x33\0\0\0\0\0\0\0\0"), P("<date>2001-01-01T00:00:00Z</date>"), 0},
	{ONE("\x33\x40\x59\x20\0\0\0\0\0"), P("<date>2001-01-01T00:01:40Z</date>"), 0},
	{ONE("\x33\x7f\xf8\0\0\0\0\0\0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x33\x43\x50\0\0\0\0\0\0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x32\0\0\0\0"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x43" "abc"), P("<data>YWJj</data>"), 0},
	{ONE("\x40"), P("<data></data>"), 0},
	{ONE("\x4f\x10\x02" "ab"), P("<data>YWI=</data>"), 0},
	{ONE("\x4f\x33\x02" "ab"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x4f\x13\xff\xff\xff\xff\xff\xff\xff\xff"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x44" "abc"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x53" "abc"), P("<string>abc</string>"), 0},
	{ONE("\x52" "a\x80"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x52" "a\0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x60"), P("<string></string>"), 0},
	{ONE("\x63\0a\0\xfc\x20\xac"), P("<string>a\xc3\xbc\xe2\x82\xac</string>"), 0},
	{ONE("\x62\xd8\x3d\xde\0"), P("<string>\xf0\x9f\x98\x80</string>"), 0},
	{ONE("\x61\xd8\x3d"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x61\0\0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x62\0a"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\x6f\x13\x7f\xff\xff\xff\xff\xff\xff\xff"), NULL, POM_ERR_PLIST_LIMIT},
	{ONE("\xa0"), P("<array/>"), 0},
	{ONE("\xd0"), P("<dict/>"), 0},
	{ONE("\x00"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x0f"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\x80\1"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\xc0"), NULL, POM_ERR_PLIST_VALUE},
	{ONE("\xa1\1"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\xa2\0"), NULL, POM_ERR_PLIST_SYNTAX},
	{ONE("\xaf\x13\x0f\xff\xff\xff\xff\xff\xff\xff"), NULL, POM_ERR_PLIST_LIMIT},
	/* an array and a dictionary that hold themselves */
	{ONE("\xa1\0"), NULL, POM_ERR_PLIST_LIMIT},
	{ONE("\xa4\0\0\0\0"), NULL, POM_ERR_PLIST_LIMIT},
	{"\xd1\1\0\x51k", 5, {8, 11}, 2, NULL, POM_ERR_PLIST_LIMIT},
	/* a shared value, keys, keys that are none, a key twice */
	{"\xa2\1\1\x51z", 5, {8, 11}, 2, P("<array><string>z</string><string>z</string></array>"), 0},
	{"\xd1\1\2\x51k\x09", 6, {8, 11, 13}, 3, P("<dict><key>k</key><true/></dict>"), 0},
	{"\xd1\1\1\x10\1", 5, {8, 11}, 2, NULL, POM_ERR_PLIST_STRUCTURE},
	{"\xd2\1\1\2\2\x51k\x09", 8, {8, 13, 15}, 3, NULL, POM_ERR_PLIST_STRUCTURE},
};

static void test_cases(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GBytes) file = file_of(cases[i].objects, cases[i].len, cases[i].offsets, cases[i].n);
		g_autoptr(GError) error = NULL;
		g_autoptr(plist) node = plist_parse_any(g_bytes_get_data(file, NULL), g_bytes_get_size(file), NULL, NULL, &error);
		g_autoptr(plist) wanted = cases[i].xml ? plist_parse_any(cases[i].xml, strlen(cases[i].xml), NULL, NULL, NULL) : NULL;

		if (wanted && !plist_equal(node, wanted))
			g_error("case %zu: %s", i, error ? error->message : "another tree");
		if (!wanted && (node || error->code != cases[i].code))
			g_error("case %zu: %s", i, error ? error->message : "read");
	}
}

/* Every cut and every changed byte of a file is refused or read, and never read past. */
static void test_damage(void)
{
	static const uint8_t offsets[] = {8, 11, 13};
	g_autoptr(GBytes) file = file_of("\xd1\1\2\x51k\x09", 6, offsets, 3);
	gsize len;
	const uint8_t *data = g_bytes_get_data(file, &len);

	for (gsize n = 0; n < len; n++) {
		g_autofree uint8_t *cut = g_memdup2(data, n ? n : 1);

		g_assert_null(plist_parse_binary(cut, n, NULL, NULL, NULL));
	}
	for (gsize at = 0; at < len; at++)
		for (int value = 0; value < 256; value++) {
			g_autofree uint8_t *changed = g_memdup2(data, len);

			changed[at] = (uint8_t)value;
			plist_free(plist_parse_binary(changed, len, NULL, NULL, NULL));
		}
}

/* A few bytes that unfold to more than is accepted: by depth twice as many at each level, by one text named often. */
static void test_bombs(void)
{
	static const struct plist_limits small = {.depth = 32, .size_bytes = 500, .n_nodes = 1000};
	g_autoptr(GByteArray) doubling = g_byte_array_new(), text = g_byte_array_new();
	uint8_t offsets[20], one_more[21];
	g_autoptr(GError) error = NULL;

	for (uint8_t i = 0; i < 20; i++) {
		uint8_t array[3] = {0xa2, (uint8_t)(i + 1), (uint8_t)(i + 1)}, end[3] = {0xa0, 0, 0};

		offsets[i] = (uint8_t)(8 + 3 * i);
		g_byte_array_append(doubling, i == 19 ? end : array, 3);
	}
	g_autoptr(GBytes) file = file_of(doubling->data, doubling->len, offsets, 20);
	g_assert_null(plist_parse_binary(g_bytes_get_data(file, NULL), g_bytes_get_size(file), NULL, NULL, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_LIMIT);
	g_clear_error(&error);
	/* 14 times a text of 100 bytes */
	g_byte_array_append(text, (const guint8 *)"\xae\1\1\1\1\1\1\1\1\1\1\1\1\1\1\x5f\x10\x64", 18);
	for (int i = 0; i < 100; i++)
		g_byte_array_append(text, (const guint8 *)"a", 1);
	one_more[0] = 8;
	one_more[1] = 8 + 15;
	g_autoptr(GBytes) often = file_of(text->data, text->len, one_more, 2);
	g_autoptr(plist) fine = plist_parse_binary(g_bytes_get_data(often, NULL), g_bytes_get_size(often), NULL, NULL, NULL);
	g_assert_cmpuint(plist_count(fine), ==, 14);
	g_assert_null(plist_parse_binary(g_bytes_get_data(often, NULL), g_bytes_get_size(often), &small, NULL, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_LIMIT);
}

static int line_of(const struct plist_notes *notes, const plist *node)
{
	return GPOINTER_TO_INT(g_hash_table_lookup(notes->lines, node));
}

static void test_notes(void)
{
	static const char text[] = "<plist>\n<dict>\n<key>a</key>\n\n<array>\n<true/>\n</array>\n<key>b</key><dict>\n<key>c</key><true/>\n<key>c</key><dict><key>x</key><false/></dict>\n</dict>\n<key>a</key>\n<array><true/></array></dict></plist>";
	g_auto(plist_notes_auto) notes = {0};
	g_autoptr(GError) error = NULL;

	plist_notes_init(&notes);
	g_autoptr(plist) strict = plist_parse(text, strlen(text), NULL, &error), node = plist_parse_noted(text, strlen(text), NULL, &notes, NULL);
	g_assert_null(strict);
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_STRUCTURE);
	g_assert_cmpuint(plist_count(node), ==, 2);
	g_assert_cmpint(line_of(&notes, node), ==, 2);
	g_assert_cmpint(line_of(&notes, plist_dict_get(node, "a")), ==, 3);
	g_assert_cmpint(line_of(&notes, plist_child(plist_dict_get(node, "a"), 0)), ==, 6);
	g_assert_cmpint(line_of(&notes, plist_dict_get(plist_dict_get(node, "b"), "c")), ==, 9);
	g_assert_cmpuint(notes.duplicates->len, ==, 2);
	const struct plist_duplicate *c = notes.duplicates->pdata[0], *a = notes.duplicates->pdata[1];
	g_assert_cmpstr(c->path, ==, "b.c");
	g_assert_cmpint(c->line, ==, 10);
	g_assert_false(plist_equal(c->first, c->second));
	g_assert_cmpstr(a->path, ==, "a");
	g_assert_true(plist_equal(a->first, a->second));
	g_assert_cmpint(a->line, ==, 12);
}

static void test_error_line(void)
{
	static const char text[] = "<plist>\n<dict>\n<key>a</key>\n<integer>x</integer>\n</dict></plist>";
	g_auto(plist_notes_auto) notes = {0};

	plist_notes_init(&notes);
	g_assert_null(plist_parse_noted(text, strlen(text), NULL, &notes, NULL));
	g_assert_cmpint(notes.error_line, ==, 4);
}

static void test_binary_duplicates(void)
{
	static const uint8_t offsets[] = {8, 13, 15};
	g_autoptr(GBytes) file = file_of("\xd2\1\1\2\2\x51k\x09", 8, offsets, 3);
	g_auto(plist_notes_auto) notes = {0};

	plist_notes_init(&notes);
	g_autoptr(plist) node = plist_parse_any(g_bytes_get_data(file, NULL), g_bytes_get_size(file), NULL, &notes, NULL);
	g_assert_cmpuint(plist_count(node), ==, 1);
	g_assert_cmpuint(notes.duplicates->len, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plist_binary/cases", test_cases);
	g_test_add_func("/plist_binary/damage", test_damage);
	g_test_add_func("/plist_binary/bombs", test_bombs);
	g_test_add_func("/plist_binary/notes", test_notes);
	g_test_add_func("/plist_binary/error_line", test_error_line);
	g_test_add_func("/plist_binary/binary_duplicates", test_binary_duplicates);
	return g_test_run();
}
