#include "codec/ndes.h"

#include <string.h>

#include "base/error.h"

#define HEAD "<HTML><Head><Meta HTTP-Equiv=\"Content-Type\" Content=\"text/html; charset=UTF-8\"><Title>Enrollment</Title></Head><Body BgColor=#FFFFFF>"
#define THUMBPRINT "<P> CA thumbprint: <B> 0A1B2C3D 4E5F6071 8293A4B5 C6D7E8F9 </B>"
#define PASSWORD "0123456789ABCDEF"

static const struct { const char *name, *page, *password; } cases[] = {
	{"one-time password", HEAD THUMBPRINT "<P> The password is: <B> " PASSWORD " </B><P> It can be used once.", PASSWORD},
	{"32 digits", HEAD "<B> 00112233445566778899AABBCCDDEEFF </B>", "00112233445566778899AABBCCDDEEFF"},
	{"small letters", HEAD "<B>0123456789abcdef</B>", "0123456789abcdef"},
	{"nothing around", PASSWORD, PASSWORD},
	{"another language", HEAD "<P> Das Kennwort f\xc3\xbcr die Registrierung: <B>" PASSWORD "</B>", PASSWORD},
	{"shown twice", HEAD PASSWORD " and again " PASSWORD, PASSWORD},
	{"in attributes", HEAD "<a id=FEDCBA9876543210 href=x>" PASSWORD "</a>", PASSWORD},
	{"in a comment", HEAD "<!-- > FEDCBA9876543210 -->" PASSWORD, PASSWORD},
	{"in a script", HEAD "<SCRIPT type=x>var a = 'FEDCBA9876543210'; b < c;</script>" PASSWORD, PASSWORD},
	{"in a style", HEAD "<style>FEDCBA9876543210</STYLE>" PASSWORD, PASSWORD},
	{"too short", HEAD THUMBPRINT "<B> 0123456789ABCDE </B>", NULL},
	{"too long", HEAD "<B> 00112233445566778899AABBCCDDEEFF0 </B>", NULL},
	{"another letter", HEAD "<B> 0123456789ABCDEG </B>", NULL},
	{"part of a word", HEAD "<B> x" PASSWORD " </B>", NULL},
	{"beside what is not ASCII", HEAD "<B> " PASSWORD "\xc3\xbc </B>", PASSWORD},
	{"two of them", HEAD PASSWORD " or FEDCBA9876543210", NULL},
	{"one is the beginning of the other", HEAD PASSWORD " or " PASSWORD "00", NULL},
	{"the other way round", HEAD PASSWORD "00 or " PASSWORD, NULL},
	{"cache full", HEAD "<P> The password cache is full.", NULL},
	{"open tag", "<B " PASSWORD, NULL},
	{"open comment", "<!-- " PASSWORD " >", NULL},
	{"open script", "<script> " PASSWORD "</b>", NULL},
	{"empty", "", NULL},
};

enum coding { ASCII, LITTLE, LITTLE_MARKED, BIG, BIG_MARKED, CODING_MAX };

/* The page in a coding; the bytes above 0x7f become characters of their own. */
static GBytes *encode(const char *page, enum coding coding)
{
	GByteArray *out = g_byte_array_new();

	if (coding == LITTLE_MARKED)
		g_byte_array_append(out, (const guint8 *)"\xff\xfe", 2);
	if (coding == BIG_MARKED)
		g_byte_array_append(out, (const guint8 *)"\xfe\xff", 2);
	for (const char *p = page; *p; p++) {
		guint8 unit[2] = {(guint8)*p, 0};

		if (coding == BIG || coding == BIG_MARKED) {
			unit[0] = 0;
			unit[1] = (guint8)*p;
		}
		g_byte_array_append(out, unit, coding == ASCII ? 1 : 2);
	}
	return g_byte_array_free_to_bytes(out);
}

static void test_pages(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		for (enum coding c = 0; c < CODING_MAX; c++) {
			g_autoptr(GBytes) page = encode(cases[i].page, c);
			g_autoptr(GError) error = NULL;
			gsize len;
			const void *data = g_bytes_get_data(page, &len);
			g_autofree char *got = ndes_challenge_parse(data, len, &error);

			g_test_message("%s, coding %d", cases[i].name, (int)c);
			g_assert_cmpstr(got, ==, cases[i].password);
			g_assert_true(got ? !error : g_error_matches(error, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REPLY));
		}
}

/* A character whose low byte is a digit is no digit. */
static void test_wide(void)
{
	static const char wide[] = "0\0" "1\0" "2\0" "3\0" "4\0" "5\0" "6\0" "7\1" "8\0" "9\0" "A\0" "B\0" "C\0" "D\0" "E\0" "F";
	g_autofree char *got = ndes_challenge_parse(wide, sizeof(wide), NULL);

	g_assert_null(got);
}

static void test_size(void)
{
	g_autofree char *page = g_malloc(NDES_PAGE_MAX + 1);
	g_autoptr(GError) error = NULL;

	memset(page, ' ', NDES_PAGE_MAX + 1);
	memcpy(page, PASSWORD, strlen(PASSWORD));
	g_autofree char *most = ndes_challenge_parse(page, NDES_PAGE_MAX, NULL), *more = ndes_challenge_parse(page, NDES_PAGE_MAX + 1, &error);

	g_assert_cmpstr(most, ==, PASSWORD);
	g_assert_null(more);
	g_assert_error(error, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REPLY);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ndes/pages", test_pages);
	g_test_add_func("/ndes/wide", test_wide);
	g_test_add_func("/ndes/size", test_size);
	return g_test_run();
}
