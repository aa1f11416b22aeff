/* Settings: the public URL, the file with its line numbers, the environment, --set. */
#include <glib/gstdio.h>
#include <string.h>

#include "server/settings.h"

static void test_urls(void)
{
	static const struct { const char *url, *wanted; } cases[] = {
		{"https://mdm.example.org", "https://mdm.example.org"},
		{"https://mdm.example.org/", "https://mdm.example.org"},
		{"HTTPS://MDM.Example.ORG", "https://mdm.example.org"},
		{"https://mdm.example.org:443", "https://mdm.example.org"},
		{"https://mdm.example.org:8443", "https://mdm.example.org:8443"},
		{"https://192.0.2.1", "https://192.0.2.1"},
		{"https://192.0.2.1:8443/", "https://192.0.2.1:8443"},
		{"https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"},
		{"https://[2001:db8:0:0:0:0:0:1]", "https://[2001:db8::1]"},
		{"https://localhost:1", "https://localhost:1"},
		{"https://a-b.c:65535", "https://a-b.c:65535"},
		{"https://m\xc3\xbcller.example", "https://xn--mller-kva.example"},
		{"http://mdm.example.org", NULL}, {"ftp://mdm.example.org", NULL}, {"mdm.example.org", NULL}, {"//mdm.example.org", NULL}, {"", NULL}, {"https://", NULL},
		{"https:///", NULL}, {"https://:8443", NULL}, {"https://mdm.example.org/path", NULL}, {"https://mdm.example.org//", NULL}, {"https://mdm.example.org?", NULL},
		{"https://mdm.example.org?a=b", NULL}, {"https://mdm.example.org#f", NULL}, {"https://user@mdm.example.org", NULL}, {"https://u:p@mdm.example.org", NULL},
		{"https://@mdm.example.org", NULL}, {"https://mdm.example.org:0", NULL}, {"https://mdm.example.org:65536", NULL}, {"https://mdm.example.org:http", NULL},
		{"https://mdm_example.org", NULL}, {"https://mdm example.org", NULL}, {"https://mdm.example.org.", NULL}, {"https://.org", NULL},
		{"https://a..b", NULL}, {"https://-a.b", NULL}, {"https://a-.b", NULL}, {"https://[::1", NULL}, {"https://[fe80::1%25eth0]", NULL}, {"https://[1.2.3.4]", NULL},
		{"https://mdm.example.org\nX: y", NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *checked = settings_check_url(cases[i].url, &error);

		g_test_message("%s", cases[i].url);
		g_assert_cmpstr(checked, ==, cases[i].wanted);
		if (!checked) {
			g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
			continue;
		}
		/* What was accepted is accepted as it was written. */
		g_autofree char *again = settings_check_url(checked, NULL);
		g_assert_cmpstr(again, ==, checked);
	}
}

static void test_hosts(void)
{
	static const struct { const char *url, *host; uint16_t port; } cases[] = {
		{"https://mdm.example.org", "mdm.example.org", 443}, {"https://192.0.2.1:8443", "192.0.2.1", 8443}, {"https://[2001:db8::1]:1", "2001:db8::1", 1},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint16_t port;
		g_autofree char *host = settings_url_host(cases[i].url, &port);

		g_assert_cmpstr(host, ==, cases[i].host);
		g_assert_cmpuint(port, ==, cases[i].port);
	}
}

static void test_file(void)
{
	static const struct { const char *text, *message; } cases[] = {
		{"", NULL},
		{"# comment\n[server]\nworkers = 3\n[scep]\nlegacy=false\n", NULL},
		{"[server]\nworker=3\n", ":2: there is no setting server.worker"},
		{"[scep]\nlegacy_des=false\nlegacy=maybe\n", ":3: scep.legacy must be true or false"},
		{"[server]\n\n# c\nworkers=many\n", ":4: server.workers must be a whole number"},
		{"[server]\nworkers=\n", ":2: server.workers must be a whole number"},
		{"[server]\nworkers=3 \n", NULL},
		{"[server]\nworkers=3x\n", ":2: "},
		{"[nix]\na=b\n", ":2: there is no setting nix.a"},
		{"[server]\nworkers=3\n[nix]\n", ":3: there is no section nix"},
		{"[server]\norganization=\\q\n", ":2: the value of server.organization"},
		{"workers=3\n", "pomona"},
		{"[server]\nnonsense\n", "nonsense"},
	};
	g_autofree char *dir = g_dir_make_tmp("pomona-settings-XXXXXX", NULL), *path = g_build_filename(dir, "pomona.conf", NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct settings settings;

		g_test_message("%s", cases[i].text);
		g_assert_true(g_file_set_contents(path, cases[i].text, -1, NULL));
		settings_init(&settings);
		bool ok = settings_load_file(&settings, path, &error);

		g_test_message("%s", ok ? "accepted" : error->message);
		g_assert_cmpint(ok, ==, !cases[i].message);
		if (!ok) {
			g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
			g_assert_nonnull(strstr(error->message, cases[i].message));
		} else if (strstr(cases[i].text, "workers")) {
			g_assert_cmpint(settings_int(&settings, SETTING_WORKERS), ==, 3);
		}
		settings_clear(&settings);
	}
	g_unlink(path);
	struct settings settings;
	settings_init(&settings);
	g_assert_true(settings_load_file(&settings, path, NULL));
	g_assert_cmpint(settings_int(&settings, SETTING_WORKERS), ==, 64);
	g_assert_true(settings_bool(&settings, SETTING_SCEP_LEGACY));
	g_assert_null(settings_text(&settings, SETTING_URL));
	settings_clear(&settings);
	g_rmdir(dir);
}

static void test_environment(void)
{
	struct settings settings;
	g_autoptr(GError) error = NULL;

	settings_init(&settings);
	g_setenv("POMONA_ENROLL_UNSIGNED_PROFILES", "true", TRUE);
	g_setenv("POMONA_NONSENSE", "x", TRUE);
	g_assert_true(settings_load_environment(&settings, NULL));
	g_assert_true(settings_bool(&settings, SETTING_ENROLL_UNSIGNED));
	g_setenv("POMONA_ENROLL_UNSIGNED_PROFILES", "yes", TRUE);
	g_assert_false(settings_load_environment(&settings, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_assert_nonnull(strstr(error->message, "POMONA_ENROLL_UNSIGNED_PROFILES"));
	g_assert_true(settings_bool(&settings, SETTING_ENROLL_UNSIGNED));
	g_unsetenv("POMONA_ENROLL_UNSIGNED_PROFILES");
	settings_clear(&settings);
}

static void test_set(void)
{
	static const struct { const char *text; int code; } cases[] = {
		{"server.workers=7", -1}, {"server.url=https://a.b=c", -1}, {"server.organization=", -1}, {"server.workers", POM_ERR_USAGE}, {"workers=7", POM_ERR_USAGE},
		{"x=a.b", POM_ERR_USAGE}, {"", POM_ERR_USAGE}, {"server.nix=7", POM_ERR_CONFIG}, {"server.workers=x", POM_ERR_CONFIG}, {"scep.legacy=1", POM_ERR_CONFIG},
	};
	struct settings settings;

	settings_init(&settings);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].text);
		g_assert_cmpint(settings_set(&settings, cases[i].text, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
	g_assert_cmpint(settings_int(&settings, SETTING_WORKERS), ==, 7);
	g_assert_cmpstr(settings_text(&settings, SETTING_URL), ==, "https://a.b=c");
	g_assert_null(settings_text(&settings, SETTING_ORGANIZATION));
	settings_clear(&settings);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/settings/urls", test_urls);
	g_test_add_func("/settings/hosts", test_hosts);
	g_test_add_func("/settings/file", test_file);
	g_test_add_func("/settings/environment", test_environment);
	g_test_add_func("/settings/set", test_set);
	return g_test_run();
}
