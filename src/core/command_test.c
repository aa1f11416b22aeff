/* Rules of commands and reports: what counts after a command was given up, what is identical, how long commands wait, what failed in a report. */
#include <string.h>

#include "core/command.h"

static plist *parse(const char *inner)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\">%s</plist>", inner);
	g_autoptr(GError) error = NULL;
	plist *tree = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return tree;
}

/* What was given up may still be answered; NotNow changes nothing there. */
static void test_given_up(void)
{
	static const struct { enum report_status status; enum report_action action; } cases[] = {
		{REPORT_ACKNOWLEDGED, REPORT_DO_FINISH}, {REPORT_ERROR, REPORT_DO_FINISH}, {REPORT_COMMAND_FORMAT_ERROR, REPORT_DO_FINISH}, {REPORT_NOT_NOW, REPORT_DO_NOTHING},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct report report = {.status = cases[i].status, .command_uuid = "c"};
		struct report_plan plan;

		g_assert_true(report_decide(&report, COMMAND_GIVEN_UP, 0, 1000, &plan, NULL));
		g_assert_cmpint(plan.action, ==, cases[i].action);
		g_assert_false(plan.unknown_command);
		g_assert_false(plan.with_deferred);
	}
}

static void test_growth(void)
{
	static const int64_t minutes[] = {2, 10, 30, 120, 120, 120};

	for (unsigned n = 0; n < G_N_ELEMENTS(minutes); n++) {
		struct report report = {.status = REPORT_NOT_NOW, .command_uuid = "c"};
		struct report_plan plan;

		g_assert_true(report_decide(&report, COMMAND_PENDING, n, 1000, &plan, NULL));
		g_assert_cmpint(plan.push_again_ms, ==, 1000 + minutes[n] * 60000);
	}
}

static void test_canonical(void)
{
	static const struct { const char *one, *other; bool same; } cases[] = {
		{"<dict><key>a</key><integer>1</integer><key>b</key><true/></dict>", "<dict><key>b</key><true/><key>a</key><integer>1</integer></dict>", true},
		{"<dict><key>x</key><array><dict><key>a</key><true/><key>b</key><true/></dict></array></dict>", "<dict><key>x</key><array><dict><key>b</key><true/><key>a</key><true/></dict></array></dict>", true},
		{"<array><integer>1</integer><integer>2</integer></array>", "<array><integer>2</integer><integer>1</integer></array>", false},
		{"<dict><key>a</key><integer>1</integer></dict>", "<dict><key>a</key><string>1</string></dict>", false},
		{"<dict><key>a</key><data>MQ==</data></dict>", "<dict><key>a</key><string>1</string></dict>", false},
		{"<dict><key>a</key><true/></dict>", "<dict><key>a</key><true/><key>b</key><true/></dict>", false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) one = parse(cases[i].one), other = parse(cases[i].other);
		g_autoptr(GBytes) a = command_canonical(one, NULL), b = command_canonical(other, NULL);

		g_assert_nonnull(a);
		g_assert_cmpint(g_bytes_equal(a, b), ==, cases[i].same);
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) bad = plist_new_string("\x01");
	g_assert_null(command_canonical(bad, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_UNREPRESENTABLE);
}

static void test_expiry(void)
{
	g_assert_cmpint(command_default_expiry("ProfileList", 5), ==, 5);
	g_assert_cmpint(command_default_expiry("ProfileList", 0), ==, 0);
	g_assert_cmpint(command_default_expiry("EraseDevice", 5), ==, 0);
	g_assert_cmpint(command_default_expiry("DeviceLock", 5), ==, 0);
	g_assert_cmpint(command_default_expiry("EnableLostMode", 5), ==, 0);
}

static char *all_errors(const char *inner)
{
	g_autoptr(plist) tree = parse(inner);
	g_autoptr(GArray) errors = report_errors(tree);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < errors->len; i++) {
		const struct report_error *e = &g_array_index(errors, struct report_error, i);

		g_string_append_printf(text, "%s=%s/%zu ", e->path, e->status ? e->status : "-", plist_count(e->chain));
	}
	return g_string_free(text, FALSE);
}

#define CHAIN "<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>1</integer></dict></array>"
#define STATUS(status) "<key>Status</key><string>" status "</string>"

static void test_errors(void)
{
	static const struct { const char *report, *wanted; } cases[] = {
		{"<dict>" STATUS("Acknowledged") "</dict>", ""},
		{"<dict>" STATUS("Error") CHAIN "</dict>", "=Error/1 "},
		{"<dict>" STATUS("Error") "</dict>", "=Error/0 "},
		{"<dict>" STATUS("CommandFormatError") "<key>ErrorChain</key><string>x</string></dict>", "=CommandFormatError/0 "},
		{"<dict>" STATUS("Acknowledged") "<key>Settings</key><array><dict>" STATUS("Acknowledged") "</dict><dict>" STATUS("Error") CHAIN "</dict></array></dict>", "Settings[1]=Error/1 "},
		{"<dict>" STATUS("Error") CHAIN "<key>UpdateResults</key><array><dict>" CHAIN "</dict></array></dict>", "=Error/1 UpdateResults[0]=-/1 "},
		/* Within an ErrorChain nothing is looked for. */
		{"<dict><key>ErrorChain</key><array><dict>" STATUS("Error") "</dict></array></dict>", "=-/1 "},
		{"<array><dict><key>a</key><dict>" STATUS("Error") "</dict></dict></array>", "[0].a=Error/0 "},
		{"<string>Error</string>", ""},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *got = all_errors(cases[i].report);

		g_assert_cmpstr(got, ==, cases[i].wanted);
	}
}

static void test_errors_are_bounded(void)
{
	g_autoptr(plist) tree = plist_new_array();

	for (int i = 0; i < 3 * REPORT_ERRORS_MAX; i++) {
		plist *dict = plist_new_dict();

		plist_dict_set_string(dict, "Status", "Error");
		plist_array_append(tree, dict);
	}
	g_autoptr(GArray) errors = report_errors(tree);
	g_assert_cmpuint(errors->len, ==, REPORT_ERRORS_MAX);
}

static void test_chain_items(void)
{
	static const struct { const char *item, *domain, *text; bool has_code; int64_t code; } cases[] = {
		{"<dict><key>ErrorCode</key><integer>12021</integer><key>ErrorDomain</key><string>D</string><key>LocalizedDescription</key><string>Nein</string><key>USEnglishDescription</key><string>No</string></dict>", "D", "No", true, 12021},
		{"<dict><key>ErrorCode</key><integer>-3</integer><key>LocalizedDescription</key><string>Nein</string></dict>", NULL, "Nein", true, -3},
		{"<dict><key>ErrorCode</key><string>3</string></dict>", NULL, NULL, false, 0},
		{"<string>x</string>", NULL, NULL, false, 0},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse(cases[i].item);
		struct chain_item item = chain_item_read(tree);

		g_assert_cmpstr(item.domain, ==, cases[i].domain);
		g_assert_cmpstr(item.text, ==, cases[i].text);
		g_assert_cmpint(item.has_code, ==, cases[i].has_code);
		g_assert_cmpint(item.code, ==, cases[i].code);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/command/given-up", test_given_up);
	g_test_add_func("/command/growth", test_growth);
	g_test_add_func("/command/canonical", test_canonical);
	g_test_add_func("/command/expiry", test_expiry);
	g_test_add_func("/command/errors", test_errors);
	g_test_add_func("/command/errors-are-bounded", test_errors_are_bounded);
	g_test_add_func("/command/chain-items", test_chain_items);
	return g_test_run();
}
