#include <string.h>

#include "codec/testkit.h"
#include "core/doctor.h"

static struct doctor new_doctor(void)
{
	return (struct doctor){.report = finding_report_new("test"), .systems = FINDING_ALL_SYSTEMS, .now_s = 1800000000, .are_pins = true};
}

/* The ids of all findings, in order, joined by spaces; and the report is gone. */
static char *end(struct doctor *doctor)
{
	GString *ids = g_string_new(NULL);

	for (guint i = 0; i < doctor->report->findings->len; i++)
		g_string_append_printf(ids, "%s%s", i ? " " : "", ((struct finding *)doctor->report->findings->pdata[i])->rule);
	finding_report_free(doctor->report);
	return g_string_free(ids, FALSE);
}

static void test_rules(void)
{
	size_t n;
	const struct doctor_rule *rules = doctor_rules(&n);
	g_autoptr(json_t) json = doctor_rules_format();

	g_assert_cmpuint(json_array_size(json_object_get(json, "rules")), ==, n);
	for (size_t i = 0; i < n; i++) {
		g_assert_true(doctor_rule_find(rules[i].id) == &rules[i]);
		g_assert_true(rules[i].systems && rules[i].text && rules[i].mend);
		/* Each of SCEP that devices show by a code names it, in the text and as the source. */
		if (rules[i].source && g_str_has_prefix(rules[i].source, "MCSCEPErrorDomain "))
			g_assert_true(g_str_has_prefix(rules[i].text, rules[i].source + strlen("MCSCEPErrorDomain ")));
	}
	g_assert_null(doctor_rule_find("no-such-rule"));
}

static void test_names(void)
{
	static const struct {
		const char *san, *host;
		bool matches;
	} cases[] = {
		{"mdm.example.org", "mdm.example.org", true}, {"MDM.example.ORG", "mdm.Example.org", true}, {"mdm.example.org.", "mdm.example.org", true}, {"*.example.org", "mdm.example.org", true},
		{"*.example.org", "example.org", false}, {"*.example.org", "a.b.example.org", false}, {"*.example.org", ".example.org", false}, {"*.org", "example.org", false}, {"*", "example", false},
		{"m*.example.org", "mdm.example.org", false}, {"*.*.org", "a.b.org", false}, {"mdm.example.org", "xmdm.example.org", false}, {"192.0.2.1", "192.0.2.1", false}, {"", "mdm.example.org", false},
	};
	static const struct {
		const char *san, *host;
		bool matches;
	} addresses[] = {{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"2001:db8::1", "2001:DB8:0::1", true}, {"::c000:201", "192.0.2.1", false}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		char *names[] = {(char *)(uintptr_t)cases[i].san, NULL}, *none[] = {NULL};
		struct cert_info info = {.dns_names = names, .ip_addresses = none};

		if (doctor_name_matches(&info, cases[i].host) != cases[i].matches)
			g_error("%s for %s", cases[i].san, cases[i].host);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
		char *list[] = {(char *)(uintptr_t)addresses[i].san, NULL}, *none[] = {NULL};
		struct cert_info info = {.dns_names = none, .ip_addresses = list};

		if (doctor_name_matches(&info, addresses[i].host) != addresses[i].matches)
			g_error("%s for %s", addresses[i].san, addresses[i].host);
	}
}

static void test_systems(void)
{
	struct doctor doctor = new_doctor();
	g_autofree char *ids = NULL;

	doctor.systems = FINDING_IOS;
	doctor_say(&doctor, "chain-order", "", "only watches care");
	doctor_say(&doctor, "expired", "x", "all care");
	doctor_say(&doctor, "expired", "x", "all care");
	doctor_say(&doctor, "expired", "y", "all care");
	doctor_say_as(&doctor, "expired", FINDING_NOTE, FINDING_WATCHOS, "z", "only watches care");
	ids = end(&doctor);
	g_assert_cmpstr(ids, ==, "expired expired");
}

static void test_http(void)
{
	static const struct {
		int status;
		const char *location;
		int64_t date_s;
		const char *ids;
	} cases[] = {
		{200, NULL, 1000, ""}, {0, NULL, 0, ""}, {302, "https://here.example.org/login", 0, ""}, {302, "/login", 0, ""}, {301, "http://here.example.org/", 0, "http-redirect"}, {301, "https://there.example.org/", 0, "http-redirect"},
		{302, "https://here.example.org.evil.example/", 0, "http-redirect"}, {502, NULL, 0, "http-proxy-error"}, {407, NULL, 0, "http-proxy-error"}, {404, NULL, 0, ""}, {200, NULL, 1300, ""}, {200, NULL, 1301, "clock"},
		{200, NULL, 699, "clock"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct doctor doctor = new_doctor();
		struct doctor_answer answer = {.status = cases[i].status, .location = (char *)(uintptr_t)cases[i].location, .date_s = cases[i].date_s};
		g_autofree char *ids = NULL;

		doctor_http(&doctor, &answer, "https://HERE.example.org:8443/x", 1000);
		ids = end(&doctor);
		g_assert_cmpstr(ids, ==, cases[i].ids);
	}
}

static void test_hellos(void)
{
	struct doctor doctor = new_doctor();
	struct doctor_hello hellos[] = {
		{.address = (char *)"a", .outcome = DOCTOR_NOT_CONNECTED, .why = (char *)"x"}, {.address = (char *)"b", .outcome = DOCTOR_LATE, .why = (char *)"x"}, {.address = (char *)"c", .outcome = DOCTOR_NO_TLS, .why = (char *)"x"},
		{.address = (char *)"d", .outcome = DOCTOR_REFUSED, .why = (char *)"x"}, {.address = (char *)"e", .outcome = DOCTOR_TOO_LONG, .why = (char *)"x"}, {.address = (char *)"f", .outcome = DOCTOR_UNREADABLE, .why = (char *)"x"},
	};
	g_autofree char *ids = NULL;

	g_assert_false(doctor_hellos(&doctor, "mdm.example.org", hellos, NULL, G_N_ELEMENTS(hellos)));
	g_assert_false(doctor_hellos(&doctor, "mdm.example.org", hellos, NULL, 0));
	ids = end(&doctor);
	g_assert_cmpstr(ids, ==, "connect-failed answer-late no-tls handshake-failed chain-too-long certificate-unreadable");
}

static void test_push(void)
{
	static const struct {
		int64_t left_s, n_others;
		const char *ids;
	} cases[] = {{31 * 86400, 0, ""}, {29 * 86400, 0, "push-expiring"}, {-1, 0, "push-expired"}, {31 * 86400, 2, "push-topic"}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct doctor doctor = new_doctor();
		struct doctor_push push = {"com.apple.mgmt.x", doctor.now_s + cases[i].left_s};
		g_autofree char *ids = NULL;

		doctor_push(&doctor, &push, 1, cases[i].n_others);
		ids = end(&doctor);
		g_assert_cmpstr(ids, ==, cases[i].ids);
	}
}

/* A chain that names itself in a ring is an end, not an endless walk. */
static void test_ring(void)
{
	EVP_PKEY *key = testkit_rsa(2048);
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	X509 *a = testkit_cert(key, "A", 1, NULL, NULL), *b = testkit_cert(key, "B", 2, a, key), *c;

	g_ptr_array_add(chain, testkit_cert(key, "leaf", 3, b, key));
	g_ptr_array_add(chain, b);
	c = testkit_cert(key, "A", 4, b, key);
	g_ptr_array_add(chain, c);
	for (int i = 0; i < 40; i++)
		g_ptr_array_add(chain, testkit_cert(key, "B", 10 + i, c, key));
	X509_free(a);

	struct doctor doctor = new_doctor();
	g_autofree char *ids = NULL;

	doctor_chain(&doctor, chain, NULL, "");
	ids = end(&doctor);
	g_assert_nonnull(strstr(ids, "chain-too-long"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/doctor/rules", test_rules);
	g_test_add_func("/doctor/names", test_names);
	g_test_add_func("/doctor/systems", test_systems);
	g_test_add_func("/doctor/http", test_http);
	g_test_add_func("/doctor/hellos", test_hellos);
	g_test_add_func("/doctor/push", test_push);
	g_test_add_func("/doctor/ring", test_ring);
	return g_test_run();
}
