/* Which URLs are called. */
#include "service/outbound.h"

static void test_urls(void)
{
	static const struct { const char *url; bool good, private; } cases[] = {
		{"https://ca.example.org/scep", true, true},
		{"https://ca.example.org:8443/certsrv/mscep/mscep.dll?x=1", true, true},
		{"http://ca.example.org/scep", true, false},
		{"HTTP://ca.example.org/scep", true, false},
		{"http://localhost:2099/scep", true, true},
		{"http://127.0.0.1:2099/scep", true, true},
		{"http://127.8.9.10/", true, true},
		{"http://[::1]:2099/scep", true, true},
		{"http://127.0.0.1.example.org/", true, false},
		{"http://127.example.org/", true, false},
		{"http://localhost.example.org/", true, false},
		{"http://[2001:db8::1]/", true, false},
		{"https://user:pass@ca.example.org/", false, false},
		{"http://user@127.0.0.1/", false, false},
		{"https://ca.example.org/#part", false, false},
		{"https:///scep", false, false},
		{"ftp://ca.example.org/", false, false},
		{"file:///etc/passwd", false, false},
		{"ca.example.org/scep", false, false},
		{"", false, false},
		{NULL, false, false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) any = NULL, private = NULL;

		g_test_message("%s", cases[i].url ? cases[i].url : "(none)");
		g_assert_cmpint(outbound_check_url(cases[i].url, true, &any), ==, cases[i].good);
		g_assert_cmpint(outbound_check_url(cases[i].url, false, &private), ==, cases[i].private);
		g_assert_cmpint(outbound_is_private(cases[i].url), ==, cases[i].private);
		g_assert_true(cases[i].good ? !any : g_error_matches(any, POM_ERROR, POM_ERR_CONFIG));
		g_assert_true(cases[i].private ? !private : g_error_matches(private, POM_ERROR, POM_ERR_CONFIG));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/outbound/urls", test_urls);
	return g_test_run();
}
