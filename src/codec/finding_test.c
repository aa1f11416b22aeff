#include <string.h>

#include "base/error.h"
#include "codec/finding.h"

static struct finding_report *example(void)
{
	struct finding_report *report = finding_report_new("https://mdm.example.org");

	finding_add(report, "a-note", FINDING_NOTE, FINDING_ALL_SYSTEMS, NULL, 0, NULL, "%s", "one two three four five six seven eight nine ten eleven twelve");
	finding_add(report, "an-error", FINDING_ERROR, FINDING_WATCHOS | FINDING_IOS, "chain[0]", 7, "send <all> & sundry", "bad \033[31m\"text\" \xff");
	finding_add(report, "a-warning", FINDING_WARNING, FINDING_TVOS, "x", 0, NULL, "meh");
	return report;
}

static void test_json(void)
{
	g_autoptr(finding_report) report = example(), again = NULL;
	g_autoptr(GError) error = NULL;

	finding_report_sort(report);
	g_autoptr(json_t) json = finding_report_format(report), other = NULL;
	json_t *first = json_array_get(json_object_get(json, "findings"), 0);

	g_assert_cmpstr(json_string_value(json_object_get(first, "rule")), ==, "an-error");
	g_assert_cmpint(json_integer_value(json_object_get(first, "line")), ==, 7);
	g_assert_cmpuint(json_array_size(json_object_get(first, "systems")), ==, 2);
	g_assert_cmpstr(json_string_value(json_object_get(json_array_get(json_object_get(json, "findings"), 1), "rule")), ==, "a-warning");
	g_assert_true(json_is_null(json_object_get(json_array_get(json_object_get(json, "findings"), 1), "mend")));
	g_assert_cmpint(json_integer_value(json_object_get(json, "errors")), ==, 1);
	again = finding_report_parse(json, &error);
	g_assert_no_error(error);
	other = finding_report_format(again);
	g_assert_true(json_equal(json, other));
}

static void test_json_refused(void)
{
	static const char *const cases[] = {
		"[]", "{}", "{\"target\":\"x\"}", "{\"target\":1,\"findings\":[]}", "{\"target\":\"x\",\"findings\":[1]}",
		"{\"target\":\"x\",\"findings\":[{\"rule\":\"r\",\"severity\":\"awful\",\"systems\":[],\"path\":\"\",\"line\":null,\"text\":\"t\",\"mend\":null}]}",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) json = json_parse(cases[i], strlen(cases[i]), &error);

		g_assert_no_error(error);
		g_assert_null(finding_report_parse(json, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_JSON);
	}
}

static void test_text(void)
{
	g_autoptr(finding_report) report = example();
	g_autofree char *plain = finding_report_text(report, 40, false), *colored = finding_report_text(report, 0, true);

	g_assert_true(g_str_has_prefix(plain, "error    an-error  [iOS, watchOS]  chain[0]  line 7\n         bad [31m\"text\" \xef\xbf\xbd\n         → send <all> & sundry\nwarning  a-warning  [tvOS]  x\n"));
	g_assert_true(g_str_has_suffix(plain, "https://mdm.example.org: 1 error, 1 warning, 1 note\n"));
	g_auto(GStrv) lines = g_strsplit(plain, "\n", -1);
	for (char **line = lines; *line; line++)
		g_assert_true(!g_str_has_prefix(*line, "         ") || g_utf8_strlen(*line, -1) <= 40);
	g_assert_nonnull(strstr(plain, "\n         one two three four five six\n         seven"));
	g_assert_null(strchr(plain, '\033'));
	g_assert_true(g_str_has_prefix(colored, "\033[31merror"));
	g_assert_null(strstr(colored, "bad \033"));
}

static void test_junit(void)
{
	g_autoptr(finding_report) report = example(), empty = finding_report_new("f");
	g_autofree char *xml = finding_report_junit(report, "doctor"), *none = finding_report_junit(empty, "lint");

	g_assert_nonnull(strstr(xml, "tests=\"3\" failures=\"1\""));
	g_assert_nonnull(strstr(xml, "send &lt;all&gt; &amp; sundry"));
	g_assert_null(strchr(xml, '\033'));
	g_assert_nonnull(strstr(none, "tests=\"1\" failures=\"0\""));
	g_assert_nonnull(strstr(none, "<testcase classname=\"lint\" name=\"f\"/>"));
}

static void test_many(void)
{
	g_autoptr(finding_report) report = finding_report_new("f");
	struct finding_report *other = example();

	for (int i = 0; i < FINDINGS_MAX + 5; i++)
		finding_add(report, "r", FINDING_WARNING, 0, NULL, i, NULL, "x");
	finding_report_merge(report, other);
	g_assert_cmpuint(report->findings->len, ==, FINDINGS_MAX);
	g_assert_cmpuint(report->n[FINDING_WARNING], ==, FINDINGS_MAX + 6);
	g_assert_cmpuint(report->n[FINDING_ERROR], ==, 1);
}

static void test_systems(void)
{
	static const struct {
		const char *name;
		unsigned bits;
	} cases[] = {{"ios", FINDING_IOS}, {"macos", FINDING_MACOS}, {"watchos", FINDING_WATCHOS}, {"tvos", FINDING_TVOS}, {"visionos", FINDING_VISIONOS}, {"all", FINDING_ALL_SYSTEMS}, {"", 0}, {"iOS", 0}};
	g_autofree char *all = finding_systems_text(FINDING_ALL_SYSTEMS), *none = finding_systems_text(0);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpuint(finding_system_parse(cases[i].name), ==, cases[i].bits);
	g_assert_cmpstr(all, ==, "all");
	g_assert_cmpstr(none, ==, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/finding/json", test_json);
	g_test_add_func("/finding/json-refused", test_json_refused);
	g_test_add_func("/finding/text", test_text);
	g_test_add_func("/finding/junit", test_junit);
	g_test_add_func("/finding/many", test_many);
	g_test_add_func("/finding/systems", test_systems);
	return g_test_run();
}
