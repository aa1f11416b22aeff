#include "codec/plist.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/datetime.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define DOCTYPE "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
#define P(inner) HEAD DOCTYPE "<plist version=\"1.0\">" inner "</plist>"

static plist *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	plist *node = plist_parse(text, strlen(text), NULL, &error);

	g_assert_no_error(error);
	g_assert_nonnull(node);
	return node;
}

static char *format(const plist *node)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = plist_format(node, &error);

	g_assert_no_error(error);
	return g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

/* What is accepted, and how it is written again inside <plist>. */
static const struct {
	const char *text, *written;
} accepted[] = {
	{P("<string>a</string>"), "<string>a</string>\n"},
	{"<plist><string>a</string></plist>", "<string>a</string>\n"},
	{"<plist version='1.0'><true/></plist>\n\n", "<true/>\n"},
	{"\xef\xbb\xbf" P("<true></true>"), "<true/>\n"},
	{"<?xml version='1.0' encoding='utf-8'?><plist><false/></plist>", "<false/>\n"},
	{"<!DOCTYPE plist><plist><false/></plist>", "<false/>\n"},
	{"<!-- a --><plist><!-- b --><false/><?x y?></plist><!-- c -->", "<false/>\n"},
	{P(" <dict/>\n"), "<dict/>\n"},
	{P("<array></array>"), "<array/>\n"},
	{P("<dict><key>a</key><integer>1</integer><key></key><array><true/></array></dict>"),
	 "<dict>\n\t<key>a</key>\n\t<integer>1</integer>\n\t<key></key>\n\t<array>\n\t\t<true/>\n\t</array>\n</dict>\n"},
	{P("<string></string>"), "<string></string>\n"},
	{P("<string> a\tb </string>"), "<string> a\tb </string>\n"},
	{P("<string>a&amp;&lt;&gt;&quot;&apos;&#65;&#x42;</string>"), "<string>a&amp;&lt;&gt;\"'AB</string>\n"},
	{P("<string><![CDATA[<b>&]]></string>"), "<string>&lt;b&gt;&amp;</string>\n"},
	{P("<string>a\r\nb&#13;c</string>"), "<string>a\nb&#13;c</string>\n"},
	{P("<string>J\xc3\xbcrgen \xf0\x9f\x8d\x8e</string>"), "<string>J\xc3\xbcrgen \xf0\x9f\x8d\x8e</string>\n"},
	{P("<integer>0</integer>"), "<integer>0</integer>\n"},
	{P("<integer>-9223372036854775808</integer>"), "<integer>-9223372036854775808</integer>\n"},
	{P("<integer>18446744073709551615</integer>"), "<integer>18446744073709551615</integer>\n"},
	{P("<real>1.5</real>"), "<real>1.5</real>\n"},
	{P("<real>-1e-3</real>"), "<real>-0.001</real>\n"},
	{P("<real>3</real>"), "<real>3</real>\n"},
	{P("<real>nan</real>"), "<real>nan</real>\n"},
	{P("<real>-Infinity</real>"), "<real>-infinity</real>\n"},
	{P("<date>2026-11-21T20:15:00Z</date>"), "<date>2026-11-21T20:15:00Z</date>\n"},
	{P("<date>0001-01-01T00:00:00Z</date>"), "<date>0001-01-01T00:00:00Z</date>\n"},
	{P("<date>9999-12-31T23:59:59Z</date>"), "<date>9999-12-31T23:59:59Z</date>\n"},
	{P("<date>2024-02-29T00:00:00Z</date>"), "<date>2024-02-29T00:00:00Z</date>\n"},
	{P("<data></data>"), "<data>\n</data>\n"},
	{P("<data>\n\tAA==\n</data>"), "<data>\nAA==\n</data>\n"},
	{P("<data>AAE=</data>"), "<data>\nAAE=\n</data>\n"},
	{P("<data>A A E C</data>"), "<data>\nAAEC\n</data>\n"},
};

static void test_accepted(void)
{
	static const char foot[] = "</plist>\n";

	for (size_t i = 0; i < G_N_ELEMENTS(accepted); i++) {
		g_autoptr(plist) node = parse(accepted[i].text);
		g_autofree char *text = format(node);
		const char *body = strstr(text, "<plist version=\"1.0\">\n");

		g_assert_nonnull(body);
		g_assert_true(g_str_has_prefix(text, HEAD DOCTYPE));
		g_assert_true(g_str_has_suffix(text, foot));
		g_autofree char *inner = g_strndup(body + 22, strlen(body) - 22 - strlen(foot));

		g_assert_cmpstr(inner, ==, accepted[i].written);
		g_autoptr(plist) again = parse(text);

		g_assert_true(plist_equal(node, again));
	}
}

static const struct {
	const char *text;
	int code;
	const char *message; /* part of it, or NULL */
} refused[] = {
	{"", POM_ERR_PLIST_SYNTAX, "line 1"},
	{"   \n", POM_ERR_PLIST_SYNTAX, NULL},
	{"hello", POM_ERR_PLIST_SYNTAX, NULL},
	{"bplist00", POM_ERR_PLIST_SYNTAX, NULL},
	{"{\"a\":1}", POM_ERR_PLIST_SYNTAX, NULL},
	{"<plist><string>a</string>", POM_ERR_PLIST_SYNTAX, NULL},
	{"<plist><string>a</plist>", POM_ERR_PLIST_SYNTAX, "line 1"},
	{P("<true/>") "<plist/>", POM_ERR_PLIST_SYNTAX, NULL},
	{P("<true/>") "x", POM_ERR_PLIST_SYNTAX, NULL},
	{"\xff\xfe<\0", POM_ERR_PLIST_SYNTAX, "UTF-8"},
	{"<?xml version='1.0' encoding='ISO-8859-1'?><plist><true/></plist>", POM_ERR_PLIST_SYNTAX, "UTF-8"},
	{"<?xml version='1.1'?><plist><true/></plist>", POM_ERR_PLIST_SYNTAX, NULL},
	{P("<string>\xc0\xaf</string>"), POM_ERR_PLIST_SYNTAX, NULL},
	{P("<string>\xed\xa0\x80</string>"), POM_ERR_PLIST_SYNTAX, NULL},
	{P("<string>\x01</string>"), POM_ERR_PLIST_SYNTAX, NULL},
	{P("<string>&#0;</string>"), POM_ERR_PLIST_SYNTAX, NULL},
	{P("<string>&#xFFFE;</string>"), POM_ERR_PLIST_SYNTAX, NULL},
	/* entities */
	{"<!DOCTYPE plist [<!ENTITY a \"b\">]><plist><string>&a;</string></plist>", POM_ERR_PLIST_ENTITY, NULL},
	{"<!DOCTYPE plist [<!ENTITY % a SYSTEM \"file:///etc/passwd\">%a;]><plist><true/></plist>", POM_ERR_PLIST_ENTITY, NULL},
	{"<!DOCTYPE plist [<!ATTLIST plist version CDATA \"1.0\">]><plist><true/></plist>", POM_ERR_PLIST_ENTITY, NULL},
	{"<plist><string>&a;</string></plist>", POM_ERR_PLIST_ENTITY, NULL},
	{P("<string>&a;</string>"), POM_ERR_PLIST_ENTITY, NULL},
	/* structure */
	{"<html/>", POM_ERR_PLIST_STRUCTURE, "html"},
	{"<dict/>", POM_ERR_PLIST_STRUCTURE, NULL},
	{"<!DOCTYPE html><plist><true/></plist>", POM_ERR_PLIST_STRUCTURE, NULL},
	{"<plist version='1.1'><true/></plist>", POM_ERR_PLIST_STRUCTURE, "version"},
	{"<plist versio='1.0'><true/></plist>", POM_ERR_PLIST_STRUCTURE, NULL},
	{"<plist version='1.0' x='y'><true/></plist>", POM_ERR_PLIST_STRUCTURE, NULL},
	{"<x:plist xmlns:x='y'><true/></x:plist>", POM_ERR_PLIST_STRUCTURE, NULL},
	{"<plist/>", POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<true/><true/>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<key>a</key>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<array><key>a</key></array>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<dict><string>a</string></dict>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<dict><key>a</key></dict>"), POM_ERR_PLIST_STRUCTURE, "at a:"},
	{P("<dict><key>a</key><key>b</key><true/></dict>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<dict><key>a</key><true/><false/></dict>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<dict><key>a</key><true/>\n<key>a</key><true/></dict>"), POM_ERR_PLIST_STRUCTURE, "line 4, at a:"},
	{P("<dict><key>a</key><true/>x</dict>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("x<true/>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<strin>a</strin>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<String>a</String>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<plist><true/></plist>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<string x='y'>a</string>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<string><true/></string>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<string>a<!-- b -->c</string>"), POM_ERR_PLIST_STRUCTURE, "comment"},
	{P("<integer>1<?x y?>2</integer>"), POM_ERR_PLIST_STRUCTURE, NULL},
	{P("<dict><key>Command</key><dict><key>Queries</key><array><true/><true/><nil/></array></dict></dict>"), POM_ERR_PLIST_STRUCTURE, "line 3, at Command.Queries[2]: "},
	/* values */
	{P("<integer></integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer> 1</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>+1</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>01</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>-0</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>--1</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>0x10</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>1.0</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>18446744073709551616</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<integer>-9223372036854775809</integer>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real></real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>.</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>1.2.3</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>1e</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>1,5</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>0x1p3</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>1e999</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<real>nan(1)</real>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<true>x</true>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<false> </false>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date></date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21T20:15:00</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21T20:15:00+01:00</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21 20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-13-21T20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-02-29T20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>1900-02-29T20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21T24:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>2026-11-21T20:15:60Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>0000-11-21T20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<date>-026-11-21T20:15:00Z</date>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>A</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA=</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AB==</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AAF=</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA===</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA==AA==</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>====</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA-_</data>"), POM_ERR_PLIST_VALUE, NULL},
	{P("<data>AA\xc3\xbc=</data>"), POM_ERR_PLIST_VALUE, NULL},
};

static void test_refused(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;
		size_t len = MAX(strlen(refused[i].text), refused[i].text[0] == '\xff' ? 4 : 0);
		g_autoptr(plist) node = plist_parse(refused[i].text, len, NULL, &error);

		if (node || error->code != refused[i].code)
			g_error("case %zu: %s: %s", i, refused[i].text, node ? "accepted" : error->message);
		if (refused[i].message && !strstr(error->message, refused[i].message))
			g_error("case %zu: %s: %s", i, refused[i].text, error->message);
		g_autoptr(plist) silent = plist_parse(refused[i].text, len, NULL, NULL);

		g_assert_null(silent);
	}
}

static char *nested(unsigned depth)
{
	GString *text = g_string_new("<plist>");

	for (unsigned i = 0; i < depth; i++)
		g_string_append(text, i % 2 ? "<array>" : "<dict><key>k</key>");
	g_string_append(text, "<true/>");
	for (unsigned i = depth; i-- > 0;)
		g_string_append(text, i % 2 ? "</array>" : "</dict>");
	g_string_append(text, "</plist>");
	return g_string_free(text, FALSE);
}

static void assert_limit(const char *text, const struct plist_limits *limits, bool fits)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) node = plist_parse(text, strlen(text), limits, &error);

	if (fits)
		g_assert_no_error(error);
	else
		g_assert_error(error, POM_ERROR, POM_ERR_PLIST_LIMIT);
	g_assert_true(fits == (node != NULL));
}

static void test_limits(void)
{
	static const struct plist_limits tight = {.depth = 2, .size_bytes = 60, .n_nodes = 3};
	static const struct plist_limits endless = {.depth = G_MAXUINT, .size_bytes = G_MAXSIZE, .n_nodes = G_MAXUINT};
	g_autofree char *deep = nested(32), *deeper = nested(33), *deepest = nested(256), *too_deep = nested(257);

	assert_limit(deep, NULL, true);
	assert_limit(deeper, NULL, false);
	assert_limit(deepest, &endless, true);
	assert_limit(too_deep, &endless, false);
	assert_limit("<plist><array><true/><true/></array></plist>", &tight, true);
	assert_limit("<plist><array><true/><true/><true/></array></plist>", &tight, false);
	assert_limit("<plist><array><array><array/></array></array></plist>", &tight, false);
	assert_limit("<plist><string>0123456789012345678901234567890</string></plist>", &tight, false);
}

static void test_unrepresentable(void)
{
	static const char *const bad[] = {"a\x01", "\x1f", "\xff", "\xc3", "\xef\xbf\xbe", "x\xef\xbf\xbf", "\xed\xa0\x80"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL, key_error = NULL;
		g_autoptr(plist) string = plist_new_string(bad[i]), dict = plist_new_dict();
		g_autoptr(GBytes) bytes = plist_format(string, &error);

		g_assert_null(bytes);
		g_assert_error(error, POM_ERROR, POM_ERR_PLIST_UNREPRESENTABLE);
		plist_dict_set_boolean(dict, bad[i], true);
		g_assert_null(plist_format(dict, &key_error));
		g_assert_error(key_error, POM_ERROR, POM_ERR_PLIST_UNREPRESENTABLE);
	}
	g_autoptr(plist) date = plist_new_date(INT64_MAX);

	g_assert_null(plist_format(date, NULL));
}

/* More keys than the index needs, with every operation that changes it. */
static void test_large_dict(void)
{
	enum { N = 500 };
	g_autoptr(plist) dict = plist_new_dict();

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			g_autofree char *key = g_strdup_printf("key %d", i);

			plist_dict_set_integer(dict, key, i + round);
		}
	}
	g_assert_cmpuint(plist_count(dict), ==, N);
	for (int i = 0; i < N; i += 2) {
		g_autofree char *key = g_strdup_printf("key %d", i);

		g_assert_true(plist_dict_remove(dict, key));
		g_assert_false(plist_dict_remove(dict, key));
	}
	g_autoptr(plist) copy = plist_copy(dict);

	g_assert_true(plist_equal(dict, copy));
	g_assert_cmpuint(plist_count(copy), ==, N / 2);
	for (int i = 0; i < N; i++) {
		g_autofree char *key = g_strdup_printf("key %d", i);
		int64_t value = -1;

		g_assert_true(plist_get_integer(plist_dict_get(copy, key), &value) == (i % 2 == 1));
		g_assert_cmpint(value, ==, i % 2 ? i + 1 : -1);
	}
	g_assert_cmpstr(plist_dict_key(copy, 1), ==, "key 3");
	plist_dict_set_integer(copy, "key 1", 7);
	g_assert_false(plist_equal(dict, copy));
}

static void test_duplicate_in_large_dict(void)
{
	GString *text = g_string_new("<plist><dict>");

	for (int i = 0; i < 100; i++)
		g_string_append_printf(text, "<key>%d</key><true/>", i);
	g_string_append(text, "<key>50</key><true/></dict></plist>");
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) node = plist_parse(text->str, text->len, NULL, &error);

	g_assert_null(node);
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_STRUCTURE);
	g_string_free(text, TRUE);
}

static void test_readers_of_wrong_type(void)
{
	g_autoptr(plist) string = plist_new_string("a"), large = plist_new_unsigned(UINT64_MAX), minus = plist_new_integer(-1);
	int64_t i = 5;
	uint64_t u = 5;
	double d = 5;
	bool b = true;
	size_t len = 5;

	for (const plist *node = string;; node = NULL) {
		g_assert_false(plist_get_integer(node, &i) || plist_get_unsigned(node, &u) || plist_get_real(node, &d) || plist_get_boolean(node, &b) || plist_get_date(node, &i));
		g_assert_null(plist_get_data(node, &len));
		g_assert_cmpuint(len + plist_count(node), ==, 0);
		g_assert_true(!plist_dict_get(node, "a") && !plist_dict_key(node, 0) && !plist_child(node, 0));
		if (!node)
			break;
	}
	g_assert_true(i == 5 && u == 5 && b);
	g_assert_false(plist_get_integer(large, &i));
	g_assert_true(plist_get_unsigned(large, &u) && u == UINT64_MAX);
	g_assert_false(plist_get_unsigned(minus, &u));
	g_assert_false(plist_equal(large, minus));
	g_assert_cmpstr(plist_type_name(plist_get_type(NULL)), ==, "nothing");
}

static void test_take(void)
{
	g_autoptr(plist) dict = parse(P("<dict><key>s</key><string>x</string><key>i</key><integer>18446744073709551615</integer>"
	                                "<key>d</key><data>AAEC</data><key>b</key><true/><key>a</key><array/></dict>"));
	g_autoptr(GError) error = NULL;
	const char *text = "before";
	const void *data = NULL;
	const plist *child = NULL;
	size_t len = 0;
	bool flag = false;
	int64_t n = 3;

	g_assert_true(plist_take_string(dict, "T", "none", PLIST_OPTIONAL, &text, &error));
	g_assert_cmpstr(text, ==, "before");
	g_assert_true(plist_take_string(dict, "T", "s", PLIST_REQUIRED, &text, &error));
	g_assert_cmpstr(text, ==, "x");
	g_assert_true(plist_take_data(dict, "T", "d", PLIST_REQUIRED, &data, &len, &error));
	g_assert_cmpmem(data, len, "\0\1\2", 3);
	g_assert_true(plist_take_boolean(dict, "T", "b", PLIST_REQUIRED, &flag, &error) && flag);
	g_assert_true(plist_take_child(dict, "T", "a", PLIST_ARRAY, PLIST_REQUIRED, &child, &error) && child);
	g_assert_no_error(error);

	g_assert_false(plist_take_string(dict, "T", "none", PLIST_REQUIRED, &text, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_KEY);
	g_assert_cmpstr(error->message, ==, "T.none is missing");
	g_clear_error(&error);
	g_assert_false(plist_take_integer(dict, "T", "s", PLIST_OPTIONAL, &n, &error));
	g_assert_cmpstr(error->message, ==, "T.s is a string, must be an integer");
	g_clear_error(&error);
	g_assert_false(plist_take_data(dict, "T", "a", PLIST_OPTIONAL, &data, &len, &error));
	g_assert_cmpstr(error->message, ==, "T.a is an array, must be data");
	g_clear_error(&error);
	g_assert_false(plist_take_integer(dict, "T", "i", PLIST_REQUIRED, &n, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_KEY);
	g_assert_cmpint(n, ==, 3);
}

static void test_datetime(void)
{
	static const struct {
		const char *text;
		int64_t unix_seconds;
	} cases[] = {
		{"1970-01-01T00:00:00Z", 0}, {"1969-12-31T23:59:59Z", -1}, {"2000-02-29T12:00:00Z", 951825600}, {"2026-11-21T20:15:00Z", 1795292100},
		{"0001-01-01T00:00:00Z", INT64_C(-62135596800)}, {"9999-12-31T23:59:59Z", INT64_C(253402300799)},
	};
	char text[DATETIME_LEN + 1];
	int64_t value;

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_true(datetime_parse(cases[i].text, DATETIME_LEN, &value));
		g_assert_cmpint(value, ==, cases[i].unix_seconds);
		g_assert_true(datetime_format(value, text));
		g_assert_cmpstr(text, ==, cases[i].text);
	}
	for (value = INT64_C(-62135596800); value < INT64_C(253402300799); value += 86400 * 13 + 3601) {
		int64_t again;

		g_assert_true(datetime_format(value, text) && datetime_parse(text, DATETIME_LEN, &again) && again == value);
	}
	g_assert_false(datetime_format(INT64_C(253402300800), text) || datetime_format(INT64_C(-62135596801), text));
}

static void test_base64(void)
{
	static const struct {
		const char *text;
		unsigned flags;
		const char *bytes; /* NULL: refused */
	} cases[] = {
		{"", BASE64_STRICT, ""}, {"YQ==", BASE64_STRICT, "a"}, {"YWI=", BASE64_STRICT, "ab"}, {"YWJj", BASE64_STRICT, "abc"},
		{"YQ", BASE64_STRICT, NULL}, {"YQ", BASE64_UNPADDED, "a"}, {"YQ=", BASE64_UNPADDED, NULL}, {"Y", BASE64_UNPADDED, NULL},
		{"Y Q = =", BASE64_STRICT, NULL}, {"Y Q = =", BASE64_SPACE, "a"}, {"Pz8_", BASE64_STRICT, NULL}, {"Pz8_", BASE64_URL, "???"},
		{"Pj4-", BASE64_URL, ">>>"}, {"Pj4+Pz8/", BASE64_URL, ">>>???"}, {"YQ==YQ==", BASE64_SPACE, NULL}, {"=", BASE64_UNPADDED, NULL},
		{"YR==", BASE64_STRICT, NULL}, {"YWJj=", BASE64_STRICT, NULL}, {"YWJj====", BASE64_UNPADDED, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint8_t out[64];
		size_t len = 99;
		bool ok = base64_parse(cases[i].text, strlen(cases[i].text), cases[i].flags, out, &len);

		if (ok != (cases[i].bytes != NULL))
			g_error("%s", cases[i].text);
		if (ok)
			g_assert_cmpmem(out, len, cases[i].bytes, strlen(cases[i].bytes));
		else
			g_assert_cmpuint(len, ==, 99);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plist/accepted", test_accepted);
	g_test_add_func("/plist/refused", test_refused);
	g_test_add_func("/plist/limits", test_limits);
	g_test_add_func("/plist/unrepresentable", test_unrepresentable);
	g_test_add_func("/plist/large-dict", test_large_dict);
	g_test_add_func("/plist/duplicate-in-large-dict", test_duplicate_in_large_dict);
	g_test_add_func("/plist/readers-of-wrong-type", test_readers_of_wrong_type);
	g_test_add_func("/plist/take", test_take);
	g_test_add_func("/plist/datetime", test_datetime);
	g_test_add_func("/plist/base64", test_base64);
	return g_test_run();
}
