#include "core/query.h"

#include <string.h>

static const char *const facts[][2] = {
	{"OSVersion", "\"17.2.1\""}, {"IsSupervised", "true"}, {"BatteryLevel", "0.5"}, {"Apps", "[\"Pages\", 3, {\"x\": 1}]"}, {"Empty", "\"\""},
	{"SecurityInfo.ManagementStatus", "{\"IsUserEnrollment\": false, \"Deep\": {\"er\": \"Yes\"}}"}, {"SecurityInfo.PasscodePresent", "false"}, {"Build", "\"17 (a)\""}, {"Broken", "{"},
};

static const char *fact(void *ctx, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(facts); i++)
		if (!strcmp(facts[i][0], name))
			return facts[i][1];
	return NULL;
}

static const char *attribute(void *ctx, const char *name)
{
	return strcmp(name, "room") ? NULL : "B12";
}

static const struct query_device ipad = {
	.id = "E1", .udid = "U1", .serial = "S1", .name = "Ann's iPad", .kind = "device", .product_name = "iPad13,4", .os_version = "16.0", .enrolled_ms = 86400000, .last_seen_ms = 86400000 * 9LL,
	.now_ms = 86400000 * 11LL, .fact = fact, .attribute = attribute,
};

static void test_matches(void)
{
	static const struct { const char *text; bool match; } cases[] = {
		/* What the device told stands before what it said when it enrolled. */
		{"os.version >= 17 and model.family = \"iPad\" and not supervised", false}, {"os.version >= 17 and model.family = \"iPad\" and supervised", true},
		{"os.version = 17.2.1", true}, {"os.version = 17.2", false}, {"os.version < 17.2.1", false}, {"os.version <= 17.2.1.0", true}, {"os.version > 17.2", true}, {"os.version > 17.10", false},
		{"os.version >= \"9\"", true}, {"os.version = \"17.2.1\"", true}, {"os.version in (16, 17.2.1)", true}, {"os.version in (16, 17)", false}, {"os.version != 17.2.1", false},
		{"os.version < 99999999999999999999.1", true}, {"fact.Build > 16", false}, {"fact.Build = \"17 (A)\"", true},
		/* Texts. */
		{"model.family = 'ipad'", true}, {"name contains \"ANN'S\"", true}, {"name contains 'bob'", false}, {"serial in (\"S0\", \"s1\")", true}, {"serial != \"S1\"", false}, {"udid = \"U2\"", false},
		{"platform = \"iOS\"", true}, {"kind = \"device\"", true}, {"id = 'e1'", true}, {"name = \"Ann\\'s iPad\"", true},
		/* Precedence, and what is in parentheses. */
		{"not serial = \"S2\" and serial = \"S1\"", true}, {"serial = \"S1\" or serial = \"x\" and serial = \"y\"", true}, {"(serial = \"S1\" or serial = \"x\") and serial = \"y\"", false},
		{"not not supervised", true}, {"NOT (supervised AND fact.BatteryLevel > 0.9)", true}, {"not (serial = 'S1')", false},
		/* What is not known is no match, but can be asked for. */
		{"owner = \"x\"", false}, {"owner != \"x\"", false}, {"not owner = \"x\"", true}, {"exists owner", false}, {"exists serial", true}, {"exists fact.Empty", true}, {"shared", false}, {"not shared", true},
		{"fact.None < 3", false}, {"fact.None", false}, {"not exists fact.None", true}, {"fact.Broken = 1", false}, {"os.build = \"x\"", false},
		/* Numbers, truth, lists, dictionaries. */
		{"fact.BatteryLevel < 0.6", true}, {"fact.BatteryLevel > -1", true}, {"fact.BatteryLevel = 0.50", true}, {"fact.BatteryLevel >= 0.5.1", false}, {"fact.BatteryLevel = \"0.5\"", false},
		{"supervised = true", true}, {"supervised != false", true}, {"supervised in (false)", false}, {"fact.IsSupervised", true}, {"fact.IsSupervised > 0", false}, {"fact.SecurityInfo.PasscodePresent = false", true},
		{"fact.SecurityInfo.ManagementStatus.IsUserEnrollment = false", true}, {"fact.SecurityInfo.ManagementStatus.Deep.er = 'yes'", true}, {"exists fact.SecurityInfo.ManagementStatus.None", false},
		{"fact.Apps contains \"pages\"", true}, {"fact.Apps contains 3", true}, {"fact.Apps contains \"page\"", false}, {"fact.Apps = 3", false}, {"exists fact.Apps", true},
		{"attr.room = \"b12\"", true}, {"attr.floor = \"1\"", false}, {"exists attr.floor", false}, {"attr.room contains 12", true},
		{"seen.days > 1.5", true}, {"seen.days > 2.5", false}, {"enrolled.days >= 10", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		GError *error = NULL;
		g_autoptr(query) query = query_parse(cases[i].text, &error);

		g_test_message("%s", cases[i].text);
		g_assert_no_error(error);
		g_assert_cmpint(query_match(query, &ipad), ==, cases[i].match);
	}
}

static void test_refused(void)
{
	static const struct { const char *text, *says; } cases[] = {
		{"", "column 1: expected a name, not the end"}, {"os.version >", "column 13: expected a value, not the end"}, {"os.version >= ipad", "column 15: expected a value; a text stands in quotes"},
		{"os.verson > 1", "did you mean \"os.version\"?"}, {"IsSupervised", "a fact of the device is fact.NAME"}, {"fact.", "not known"}, {"os.version == 17", "column 12: the tests are"},
		{"os.version ! 17", "column 12"}, {"os.version >= \"new\"", "expected a number or a version"}, {"supervised > 1", "column 14: supervised is true or false: it has no order"},
		{"supervised = 1", "expected true or false"}, {"os.version = true", "expected a version"}, {"serial < 3", "serial is a text: it has no order"}, {"serial", "column 1: serial is not true or false"},
		{"attr.room", "exists attr.room"}, {"os.version contains 17", "contains is for texts"}, {"name contains true", "expected a text after contains"}, {"serial in \"x\"", "expected ( after in"},
		{"serial in (\"x\" \"y\")", "expected , or )"}, {"serial in ()", "expected a value"}, {"(supervised", "expected and, or, or )"}, {"supervised)", "expected and, or, or the end"},
		{"supervised supervised", "column 12: expected and, or, or the end, not \"supervised\""}, {"name = \"x", "column 8: the text that begins here does not end"}, {"os.version > 17.", "no number"},
		{"os.version > 1..2", "no number"}, {"os.version > 17a", "no number"}, {"os.version > -", "no number"}, {"seen.days > 1.2.3", "expected a number"}, {"seen.days = \"1\"", "expected a number"},
		{"supervised; drop", "column 11: this character"}, {"name = \"\xc3\xa4\" x", "column 12: expected and"}, {"not", "column 4"}, {"exists", "column 7"}, {"exists 3", "column 8: expected a name, not \"3\""}, {"\xff", "UTF-8"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(query_parse(cases[i].text, &error));
		g_test_message("%s: %s", cases[i].text, error->message);
		g_assert_error(error, POM_ERROR, POM_ERR_QUERY);
		g_assert_nonnull(strstr(error->message, cases[i].says));
	}
}

/* TEXT, N times with JOINT between. */
static char *many(const char *text, const char *joint, unsigned n)
{
	GString *all = g_string_new(NULL);

	for (unsigned i = 0; i < n; i++)
		g_string_append_printf(all, "%s%s", i ? joint : "", text);
	return g_string_free(all, FALSE);
}

static void check_limit(const char *text, const char *says)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(query) query = query_parse(text, &error);

	g_assert_cmpint(query != NULL, ==, !says);
	if (!says) {
		g_assert_no_error(error);
		return;
	}
	g_assert_error(error, POM_ERROR, POM_ERR_QUERY);
	g_assert_nonnull(strstr(error->message, says));
}

static void test_limits(void)
{
	g_autofree char *open = many("(", "", QUERY_DEPTH_MAX - 1), *close = many(")", "", QUERY_DEPTH_MAX - 1), *deep = g_strconcat(open, "supervised", close, NULL);
	g_autofree char *deeper = g_strconcat("(", deep, ")", NULL), *nots = many("not", " ", QUERY_DEPTH_MAX), *too_many_nots = g_strconcat(nots, " supervised", NULL);
	g_autofree char *terms = many("shared", " or ", QUERY_TERMS_MAX), *more_terms = g_strconcat(terms, " or shared", NULL), *values = many("1", ",", QUERY_VALUES_MAX);
	g_autofree char *list = g_strdup_printf("id in (%s)", values), *longer_list = g_strdup_printf("id in (%s,1)", values), *spaces = g_strnfill(QUERY_LENGTH_MAX - 6, ' '), *long_text = g_strconcat(spaces, "shared", NULL);
	g_autofree char *too_long = g_strconcat(" ", long_text, NULL);

	check_limit(deep, NULL);
	check_limit(deeper, "nested deeper than 32");
	check_limit(too_many_nots, "nested deeper than 32");
	check_limit(terms, NULL);
	check_limit(more_terms, "at most 128 terms");
	check_limit(list, NULL);
	check_limit(longer_list, "at most 256 values");
	check_limit(long_text, NULL);
	check_limit(too_long, "at most 2048 bytes");
}

static void test_needs(void)
{
	g_autoptr(query) query = query_parse("os.version > 1 and fact.SecurityInfo.X.Y and (attr.room = \"x\" or attr.room = \"y\" or supervised) and serial = 'x'", NULL);
	g_autoptr(query) timely = query_parse("supervised or seen.days > 3", NULL);
	g_autofree char *names = g_strjoinv(" ", (char **)(uintptr_t)query_facts(query)), *attributes = g_strjoinv(" ", (char **)(uintptr_t)query_attributes(query));

	g_assert_cmpstr(names, ==, "OSVersion SecurityInfo SecurityInfo.X SecurityInfo.X.Y IsSupervised SerialNumber");
	g_assert_cmpstr(attributes, ==, "room");
	g_assert_null(query_clock_name(query));
	g_assert_cmpstr(query_clock_name(timely), ==, "seen.days");
	g_assert_cmpstr(query_name_at(0)->name, ==, "id");
	for (unsigned i = 0; query_name_at(i); i++)
		g_assert_nonnull(query_name_at(i)->text);
}

static void test_families(void)
{
	static const struct { const char *product, *model, *family; } cases[] = {
		{"iPhone15,2", NULL, "iPhone"}, {"iPad13,4", NULL, "iPad"}, {"iPod9,1", NULL, "iPod"}, {"MacBookPro18,3", NULL, "Mac"}, {NULL, "Mac15,3", "Mac"}, {"AppleTV11,1", NULL, "AppleTV"},
		{"Watch6,2", NULL, "Watch"}, {"RealityDevice14,1", NULL, "Vision"}, {"Toaster1,1", NULL, NULL}, {NULL, NULL, NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strdup_printf("%smodel.family%s%s%s", cases[i].family ? "" : "not exists ", cases[i].family ? " = \"" : "", cases[i].family ? cases[i].family : "", cases[i].family ? "\"" : "");
		g_autoptr(query) query = query_parse(text, NULL);

		g_assert_true(query_match(query, &(struct query_device){.product_name = cases[i].product, .model = cases[i].model}));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/query/matches", test_matches);
	g_test_add_func("/query/refused", test_refused);
	g_test_add_func("/query/limits", test_limits);
	g_test_add_func("/query/needs", test_needs);
	g_test_add_func("/query/families", test_families);
	return g_test_run();
}
