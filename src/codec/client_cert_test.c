#include "codec/client_cert.h"

#include <string.h>

#include "base/error.h"
#include "codec/cert.h"
#include "codec/testkit.h"

static X509 *leaf_cert, *other_cert;
static GBytes *leaf;

static char *base64_of(GBytes *der)
{
	return g_base64_encode(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
}

/* TEXT with each FROM as TO. transfer full. */
static char *replaced(const char *text, const char *from, const char *to)
{
	g_auto(GStrv) parts = g_strsplit(text, from, -1);

	return g_strjoinv(to, parts);
}

static char *escaped(const char *text)
{
	return g_uri_escape_string(text, NULL, FALSE);
}

/* ---- what is taken; each gives a value that must name the leaf ---- */

static char *rfc9440(void)
{
	g_autofree char *b64 = base64_of(leaf);

	return g_strconcat(":", b64, ":", NULL);
}

static char *nginx(void)
{
	g_autofree char *pem = cert_format_pem(leaf_cert);

	return escaped(pem);
}

/* As its documentation has it: "+=/" are safe characters, the chain follows the leaf. */
static char *alb_chain(void)
{
	g_autofree char *first = cert_format_pem(leaf_cert), *second = cert_format_pem(other_cert), *both = g_strconcat(first, second, NULL);

	return g_uri_escape_string(both, "+=/", FALSE);
}

static char *nginx_crlf(void)
{
	g_autofree char *pem = cert_format_pem(leaf_cert), *crlf = replaced(pem, "\n", "\r\n");

	return escaped(crlf);
}

static char *no_last_line_end(void)
{
	g_autofree char *pem = cert_format_pem(leaf_cert);

	return escaped(g_strchomp(pem));
}

/* As proxies do that put a PEM text into one line. */
static char *spaces_for_lines(void)
{
	g_autofree char *pem = cert_format_pem(leaf_cert);

	return g_strchomp(replaced(pem, "\n", " "));
}

static char *lower_case_escapes(void)
{
	g_autofree char *value = nginx();

	return replaced(value, "%0A", "%0a");
}

static void test_taken(void)
{
	static const struct { const char *name; char *(*make)(void); } cases[] = {
		{"RFC 9440", rfc9440}, {"nginx", nginx}, {"ALB, chain", alb_chain}, {"CRLF", nginx_crlf}, {"no last line end", no_last_line_end},
		{"spaces for line ends", spaces_for_lines}, {"small escapes", lower_case_escapes},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *value = cases[i].make();
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) der = NULL;

		g_test_message("%s", cases[i].name);
		g_assert_true(client_cert_parse(value, &der, &error));
		g_assert_no_error(error);
		g_assert_true(der && g_bytes_equal(der, leaf));
	}
	/* The forms differ only where the base64 has what they treat differently. */
	g_autofree char *b64 = base64_of(leaf);
	g_assert_true(strchr(b64, '+') && strchr(b64, '/'));
}

static void test_none(void)
{
	static const char *const values[] = {"", "-", "::"};

	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
		GBytes *der = leaf;

		g_assert_true(client_cert_parse(values[i], &der, NULL));
		g_assert_null(der);
	}
}

/* ---- what is refused ---- */

static char *cut(char *value, size_t n)
{
	value[strlen(value) - n] = '\0';
	return value;
}

static char *rfc9440_cut(void)
{
	return cut(rfc9440(), 40);
}

/* Whole base64, but of half a certificate. */
static char *rfc9440_half(void)
{
	g_autoptr(GBytes) half = g_bytes_new_from_bytes(leaf, 0, 300);
	g_autofree char *b64 = base64_of(half);

	return g_strconcat(":", b64, ":", NULL);
}

static char *rfc9440_more(void)
{
	g_autofree char *b64 = NULL;
	GByteArray *all = g_byte_array_new();

	g_byte_array_append(all, g_bytes_get_data(leaf, NULL), (guint)g_bytes_get_size(leaf));
	g_byte_array_append(all, (const guint8 *)"\5\0", 2);
	b64 = g_base64_encode(all->data, all->len);
	g_byte_array_unref(all);
	return g_strconcat(":", b64, ":", NULL);
}

static char *rfc9440_two(void)
{
	g_autofree char *a = rfc9440();

	return g_strconcat(a, ", ", a, NULL);
}

static char *rfc9440_parameter(void)
{
	g_autofree char *a = rfc9440();

	return g_strconcat(a, ";a=1", NULL);
}

static char *rfc9440_unpadded(void)
{
	g_autofree guint8 *data = g_malloc0(3 + 0x80);
	g_autofree char *b64 = NULL;

	/* 131 bytes need padding. */
	data[0] = 0x30;
	data[1] = 0x81;
	data[2] = 0x80;
	b64 = g_base64_encode(data, 3 + 0x80);
	g_assert_true(g_str_has_suffix(b64, "="));
	return g_strdup_printf(":%.*s:", (int)strcspn(b64, "="), b64);
}

static char *rfc9440_space(void)
{
	char *a = rfc9440();

	a[100] = ' ';
	return a;
}

static char *plus_as_space(void)
{
	g_autofree char *value = alb_chain();

	return replaced(value, "+", "%20");
}

static char *no_end_line(void)
{
	return cut(nginx(), 60);
}

static char *bad_escape(void)
{
	g_autofree char *value = nginx();

	return g_strconcat(value, "%0", NULL);
}

static char *escaped_nul(void)
{
	g_autofree char *value = nginx();

	return g_strconcat(value, "%00", NULL);
}

static char *text_before(void)
{
	g_autofree char *value = nginx();

	return g_strconcat("CN%3Dx%0A", value, NULL);
}

static char *text_between(void)
{
	g_autofree char *a = nginx();

	return g_strconcat(a, "x", a, NULL);
}

static char *broken_second(void)
{
	g_autofree char *a = nginx();

	return g_strconcat(a, "-----BEGIN%20CERTIFICATE-----MIIB-----END%20CERTIFICATE-----", NULL);
}

static char *too_many(void)
{
	g_autofree char *pem = cert_format_pem(leaf_cert), *packed = replaced(pem, "\n", "");
	GString *all = g_string_new(NULL);

	for (int i = 0; i < CLIENT_CERT_CHAIN_MAX + 1; i++)
		g_string_append(all, packed);
	return g_string_free(all, FALSE);
}

static char *too_long(void)
{
	return g_strnfill(CLIENT_CERT_TEXT_MAX + 1, ':');
}

static char *key_not_cert(void)
{
	g_autofree char *value = nginx();

	return replaced(value, "CERTIFICATE", "PRIVATE%20KEY");
}

static void check_refused(const char *name, const char *value)
{
	g_autoptr(GError) error = NULL;
	GBytes *der = leaf;

	g_test_message("%s", name);
	g_assert_false(client_cert_parse(value, &der, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_IDENTITY_HEADER);
	g_assert_true(der == leaf);
}

static void test_refused(void)
{
	static const struct { const char *name; char *(*make)(void); } cases[] = {
		{"cut off", rfc9440_cut}, {"half a certificate", rfc9440_half}, {"bytes after it", rfc9440_more}, {"two values", rfc9440_two}, {"parameter", rfc9440_parameter},
		{"no padding", rfc9440_unpadded}, {"space", rfc9440_space}, {"plus as space", plus_as_space}, {"no END line", no_end_line}, {"bad escape", bad_escape},
		{"escaped NUL", escaped_nul}, {"text before", text_before}, {"text between", text_between}, {"second is broken", broken_second}, {"too many", too_many},
		{"too long", too_long}, {"a key", key_not_cert},
	};
	static const char *const texts[] = {":", ":-:", ":=:", ":AAAA:", ":MAA=:", "MIIB", "--", "null", "%2D", "-----BEGIN%20CERTIFICATE-----", "-----BEGIN%20CERTIFICATE----------END%20CERTIFICATE-----",
	                                    "CN=device", "\xff\xfe", ":MIAA:"};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *value = cases[i].make();

		check_refused(cases[i].name, value);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		check_refused(texts[i], texts[i]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	leaf_cert = testkit_cert(testkit_rsa(2048), "device", 7, NULL, NULL);
	other_cert = testkit_cert(testkit_ec("P-256"), "issuer", 8, NULL, NULL);
	leaf = cert_format_der(leaf_cert);
	g_test_add_func("/client-cert/taken", test_taken);
	g_test_add_func("/client-cert/none", test_none);
	g_test_add_func("/client-cert/refused", test_refused);
	return g_test_run();
}
