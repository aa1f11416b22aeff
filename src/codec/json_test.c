#include "codec/json.h"

#include <string.h>

#include "base/error.h"

static const struct {
	const char *text, *written; /* written NULL: refused */
} documents[] = {
	{"{\"b\":1,\"a\":[true,false,null,1.5,\"x\"]}", "{\"b\":1,\"a\":[true,false,null,1.5,\"x\"]}"},
	{" [ 1 ,\n 2 ] ", "[1,2]"}, {"3", "3"}, {"\"\\u00fc\\\"\"", "\"\xc3\xbc\\\"\""}, {"9223372036854775807", "9223372036854775807"},
	{"\"[[[[[\\\"[[\"", "\"[[[[[\\\"[[\""},
	{"", NULL}, {"{", NULL}, {"{} x", NULL}, {"{\"a\":1,\"a\":2}", NULL}, {"\"\\u0000\"", NULL}, {"[1,]", NULL}, {"{'a':1}", NULL},
	{"9223372036854775808", NULL}, {"1e999", NULL}, {"\"\xff\"", NULL}, {"NaN", NULL}, {"\"\\ud800\"", NULL},
};

static void test_documents(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) json = json_parse(documents[i].text, strlen(documents[i].text), &error);

		if (!documents[i].written) {
			g_assert_null(json);
			g_assert_error(error, POM_ERROR, POM_ERR_JSON);
			g_assert_nonnull(strstr(error->message, "line "));
			continue;
		}
		g_assert_no_error(error);
		g_autoptr(GBytes) text = json_format(json);

		g_assert_cmpmem(g_bytes_get_data(text, NULL), g_bytes_get_size(text), documents[i].written, strlen(documents[i].written));
	}
}

static void test_depth(void)
{
	for (int depth = 63; depth <= 66; depth++) {
		g_autofree char *open = g_strnfill((gsize)depth, '['), *close = g_strnfill((gsize)depth, ']'), *text = g_strconcat(open, close, NULL);
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) json = json_parse(text, strlen(text), &error);

		g_assert_true((json != NULL) == (depth <= 64));
		g_assert_true(json || error->code == POM_ERR_JSON);
	}
}

/* JSON and its plist, both ways. */
static const struct {
	const char *json, *plist;
} pairs[] = {
	{"{\"a\":1,\"b\":[true,\"x\",-2.5]}", "<dict><key>a</key><integer>1</integer><key>b</key><array><true/><string>x</string><real>-2.5</real></array></dict>"},
	{"{\"$data\":\"AAEC\"}", "<data>AAEC</data>"}, {"{\"$date\":\"2026-01-02T03:04:05Z\"}", "<date>2026-01-02T03:04:05Z</date>"},
	{"{\"$integer\":\"18446744073709551615\"}", "<integer>18446744073709551615</integer>"}, {"{\"$real\":\"nan\"}", "<real>nan</real>"},
	{"{\"$real\":\"-infinity\"}", "<real>-infinity</real>"}, {"{\"$dict\":{\"$data\":\"x\"}}", "<dict><key>$data</key><string>x</string></dict>"},
	{"{\"$dict\":{\"$dict\":{}}}", "<dict><key>$dict</key><dict/></dict>"},
	{"{\"$data\":\"x\",\"a\":1}", "<dict><key>$data</key><string>x</string><key>a</key><integer>1</integer></dict>"},
	{"{}", "<dict/>"}, {"[]", "<array/>"},
};

static void test_bridge(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
		g_autofree char *text = g_strconcat("<plist>", pairs[i].plist, "</plist>", NULL);
		g_autoptr(GError) error = NULL;
		g_autoptr(plist) tree = plist_parse(text, strlen(text), NULL, &error);
		g_autoptr(json_t) json = json_parse(pairs[i].json, strlen(pairs[i].json), &error);
		g_autoptr(plist) from_json = plist_from_json(json, "", &error);

		g_assert_no_error(error);
		g_assert_true(plist_equal(tree, from_json));
		g_autoptr(json_t) from_plist = json_from_plist(tree);
		g_autoptr(GBytes) written = json_format(from_plist);

		g_assert_cmpmem(g_bytes_get_data(written, NULL), g_bytes_get_size(written), pairs[i].json, strlen(pairs[i].json));
	}
}

static void test_bridge_refused(void)
{
	static const struct {
		const char *json, *message;
	} cases[] = {
		{"null", "null"}, {"{\"a\":[1,null]}", "body.a[1]: "}, {"{\"$data\":\"A\"}", "$data"}, {"{\"$data\":1}", "$data"}, {"{\"$date\":\"today\"}", "$date"},
		{"{\"$integer\":\"-1\"}", "$integer"}, {"{\"$integer\":\"18446744073709551616\"}", "$integer"}, {"{\"$real\":\"1\"}", "$real"}, {"{\"$dict\":1}", "$dict"},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "levels"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) json = json_parse(cases[i].json, strlen(cases[i].json), NULL);
		g_autoptr(plist) tree = plist_from_json(json, "body", &error);

		g_assert_null(tree);
		g_assert_error(error, POM_ERROR, POM_ERR_JSON);
		if (!strstr(error->message, cases[i].message))
			g_error("%s: %s", cases[i].json, error->message);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/documents", test_documents);
	g_test_add_func("/json/depth", test_depth);
	g_test_add_func("/json/bridge", test_bridge);
	g_test_add_func("/json/bridge-refused", test_bridge_refused);
	return g_test_run();
}
