/* Database URLs: which hold a password, and what of them is shown. */
#include <string.h>

#include "db/db.h"

static const struct { const char *url; bool ok, has_password; const char *shown; } cases[] = {
	{"sqlite:/var/lib/pomona/a@b:c.db", true, false, "sqlite:/var/lib/pomona/a@b:c.db"},
	{"postgresql://", true, false, "postgresql://"},
	{"postgresql:///pomona?host=/run/postgresql", true, false, "postgresql:///pomona?host=/run/postgresql"},
	{"postgresql://db.example:5432/pomona", true, false, "postgresql://db.example:5432/pomona"},
	{"postgres://pomona@db1,db2:5433/pomona?target_session_attrs=read-write&passfile=/etc/pgpass", true, false, "postgresql://pomona@db1,db2:5433/pomona?target_session_attrs=read-write&passfile=/etc/pgpass"},
	{"postgresql://pomona:@db/pomona", true, false, "postgresql://pomona@db/pomona"},
	{"postgresql://pomona:hush@db/pomona", true, true, "postgresql://pomona@db/pomona"},
	{"postgresql://pomona:hu:sh@db/pomona", true, true, "postgresql://pomona@db/pomona"},
	{"postgresql://pomona:hu?sh@db/pomona?sslmode=require", true, true, "postgresql://pomona@db/pomona?sslmode=require"},
	{"postgresql://:hush@db", true, true, "postgresql://@db"},
	{"postgresql://db/pomona?user=pomona&password=hush&sslmode=verify-full", true, true, "postgresql://db/pomona?user=pomona&sslmode=verify-full"},
	{"postgresql://db/pomona?sslpassword=hush", true, true, "postgresql://db/pomona"},
	{"postgresql://db/pomona?%70ass%77ord=hush", true, true, "postgresql://db/pomona"},
	{"postgresql://db/pomona?%zz=hush", true, true, "postgresql://db/pomona"},
	{"postgresql://db/pomona?options=-cx%3Dy@z", true, false, "postgresql://db/pomona?options=-cx%3Dy@z"},
	/* Not what whoever wrote them meant: libpq would take part of the password for a host or port, and quote it. */
	{"postgresql://pomona:hu/sh@db/pomona", false, true, "postgresql://…"},
	{"postgresql://pomona:hu@sh@db/pomona", false, true, "postgresql://…"},
	{"mysql://pomona:hush@db", false, false, "(no database)"},
	{"host=db password=hush", false, false, "(no database)"},
	{"", false, false, "(no database)"},
};

static void test_urls(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *shown = db_url_show(cases[i].url);
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].url);
		g_assert_cmpint(db_url_check(cases[i].url, &error), ==, cases[i].ok);
		if (!cases[i].ok) {
			g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
			g_assert_null(strstr(error->message, "hu"));
		}
		g_assert_cmpint(db_url_has_password(cases[i].url), ==, cases[i].has_password);
		g_assert_cmpstr(shown, ==, cases[i].shown);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/db/url/parts", test_urls);
	return g_test_run();
}
