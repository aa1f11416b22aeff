#include "core/push_cert.h"

#include <string.h>

#define A "com.apple.mgmt.External.a"
#define B "com.apple.mgmt.External.b"
#define WWDR "Apple Worldwide Developer Relations Certification Authority"
enum { NO_ERROR = -1 };

static void test_kinds(void)
{
	static const struct { struct push_cert_names names; enum push_cert_kind kind; int as_push, as_vendor; } cases[] = {
		{{A, "APSP:a", "Apple Application Integration 2 Certification Authority", "s", false}, PUSH_KIND_MDM, NO_ERROR, POM_ERR_PUSH_NOT_VENDOR},
		{{A, NULL, NULL, "s", true}, PUSH_KIND_MDM, NO_ERROR, POM_ERR_PUSH_NOT_VENDOR},
		{{"com.apple.mgmtX", NULL, NULL, "s", false}, PUSH_KIND_APP, POM_ERR_PUSH_IS_APP, POM_ERR_PUSH_NOT_VENDOR},
		{{"org.example.app", "Apple Push Services: org.example.app", WWDR, "s", false}, PUSH_KIND_APP, POM_ERR_PUSH_IS_APP, POM_ERR_PUSH_NOT_VENDOR},
		{{"AB12CD34EF", "MDM Vendor: Example", WWDR, "s", false}, PUSH_KIND_VENDOR, POM_ERR_PUSH_IS_VENDOR, NO_ERROR},
		{{NULL, "MDM Vendor: Example", NULL, "s", false}, PUSH_KIND_VENDOR, POM_ERR_PUSH_IS_VENDOR, NO_ERROR},
		{{"AB12CD34EF", "Apple Development: Ann Example", WWDR, "s", false}, PUSH_KIND_DEVELOPER, POM_ERR_PUSH_IS_APP, NO_ERROR},
		{{NULL, "Apple Root CA", "Apple Root CA", "s", true}, PUSH_KIND_CA, POM_ERR_PUSH_CERT, POM_ERR_PUSH_NOT_VENDOR},
		{{NULL, "www.example.org", "Some CA", "s", false}, PUSH_KIND_OTHER, POM_ERR_PUSH_CERT, POM_ERR_PUSH_NOT_VENDOR},
		{{NULL, NULL, NULL, "", false}, PUSH_KIND_OTHER, POM_ERR_PUSH_CERT, POM_ERR_PUSH_NOT_VENDOR},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) as_push = NULL, as_vendor = NULL;

		g_test_message("case %zu", i);
		g_assert_cmpint(push_cert_kind(&cases[i].names), ==, cases[i].kind);
		g_assert_true(push_cert_check_kind(&cases[i].names, &as_push) == (cases[i].as_push == NO_ERROR));
		g_assert_true(push_vendor_check_kind(&cases[i].names, &as_vendor) == (cases[i].as_vendor == NO_ERROR));
		g_assert_cmpint(as_push ? as_push->code : NO_ERROR, ==, cases[i].as_push);
		g_assert_cmpint(as_vendor ? as_vendor->code : NO_ERROR, ==, cases[i].as_vendor);
	}
}

static void test_dates(void)
{
	static const struct { int64_t now; const char *says; } cases[] = {{1000, NULL}, {2000, NULL}, {1500, NULL}, {999, "clock"}, {2001, "press the button"}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_true(push_cert_check_dates("s", 1000, 2000, cases[i].now, "press the button", &error) == !cases[i].says);
		if (cases[i].says) {
			g_assert_error(error, POM_ERROR, POM_ERR_PUSH_DATES);
			g_assert_nonnull(strstr(error->message, cases[i].says));
		}
	}
}

static void test_topics(void)
{
	static const struct { const char *topic; struct push_topic topics[3]; size_t n; int64_t others; bool ok; const char *says[2]; } cases[] = {
		{A, {{0}}, 0, 0, true, {0}},
		{A, {{A, NULL, 5, true}}, 1, 0, true, {0}},
		{A, {{B, NULL, 0, true}}, 1, 0, true, {0}},
		{A, {{B, "ann@example.org", 12, true}}, 1, 12, false, {"12 have " B " (Apple account ann@example.org)", "12 device(s) would be lost"}},
		{A, {{B, NULL, 1, false}}, 1, 1, false, {"1 has " B ".", "Renew"}},
		/* Two tenants: each is renewed although the other has devices. */
		{A, {{A, NULL, 2, true}, {B, NULL, 3, true}}, 2, 3, true, {0}},
		{A, {{A, NULL, 0, true}, {B, NULL, 3, true}}, 2, 3, true, {0}},
		/* Devices of its topic alone do not make it one that is held. */
		{A, {{A, NULL, 2, false}, {B, NULL, 3, true}}, 2, 3, false, {"3 have " B, "3 device(s)"}},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("case %zu", i);
		g_assert_cmpint(push_cert_count_others(cases[i].topic, cases[i].topics, cases[i].n), ==, cases[i].others);
		g_assert_true(push_cert_check_topic(cases[i].topic, cases[i].topics, cases[i].n, &error) == cases[i].ok);
		for (size_t k = 0; k < 2 && cases[i].says[k]; k++) {
			g_assert_error(error, POM_ERROR, POM_ERR_PUSH_TOPIC_CHANGED);
			g_assert_nonnull(strstr(error->message, cases[i].says[k]));
		}
	}
}

static void test_setup(void)
{
	/* One letter for each step, the first of its state's name; "-" for skipped. */
	static const struct { struct push_setup_facts facts; const char *states; } cases[] = {
		{{.way = PUSH_WAY_VENDOR}, "nll"},
		{{.way = PUSH_WAY_VENDOR, .vendor_requested = true}, "wll"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true}, "dnl"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .requested = true}, "dnl"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .requested = true, .is_signed = true}, "ddw"},
		{{.way = PUSH_WAY_VENDOR, .requested = true, .is_signed = true}, "ddw"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .certified = true}, "ddd"},
		{{.way = PUSH_WAY_VENDOR, .certified = true}, "ddd"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .certified = true, .ends_soon = true}, "dnl"},
		{{.way = PUSH_WAY_VENDOR, .certified = true, .ends_soon = true}, "nll"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .certified = true, .requested = true}, "dnl"},
		{{.way = PUSH_WAY_VENDOR, .vendor_ready = true, .certified = true, .requested = true, .is_signed = true}, "ddw"},
		{{.way = PUSH_WAY_MDMCERT}, "-nl"},
		{{.way = PUSH_WAY_MDMCERT, .requested = true}, "-wl"},
		{{.way = PUSH_WAY_MDMCERT, .requested = true, .is_signed = true}, "-dw"},
		{{.way = PUSH_WAY_FOREIGN, .requested = true}, "-wl"},
		{{.way = PUSH_WAY_FOREIGN, .certified = true}, "-dd"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		enum push_step_state states[PUSH_STEP_MAX];
		char got[PUSH_STEP_MAX + 1] = "";

		push_setup_decide(&cases[i].facts, states);
		for (enum push_step s = 0; s < PUSH_STEP_MAX; s++)
			got[s] = states[s] == PUSH_STATE_SKIPPED ? '-' : push_state_name(states[s])[0];
		g_test_message("case %zu", i);
		g_assert_cmpstr(got, ==, cases[i].states);
	}
	g_assert_cmpint(push_way_find("mdmcert"), ==, PUSH_WAY_MDMCERT);
	g_assert_cmpint(push_way_find("other"), ==, PUSH_WAY_MAX);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/push-cert/kinds", test_kinds);
	g_test_add_func("/push-cert/dates", test_dates);
	g_test_add_func("/push-cert/topics", test_topics);
	g_test_add_func("/push-cert/setup", test_setup);
	return g_test_run();
}
