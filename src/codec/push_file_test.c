#include "codec/push_file.h"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "base/error.h"
#include "codec/testkit.h"

static char *bio_take(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *text = g_strndup(data, (gsize)len);

	BIO_free(bio);
	return text;
}

static char *cert_pem(void)
{
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "c", 1, NULL, NULL);

	return cert_format_pem(cert);
}

static char *key_pem(const char *password, bool traditional)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (traditional)
		PEM_write_bio_PrivateKey_traditional(bio, testkit_rsa(2048), password ? EVP_aes_128_cbc() : NULL, (const void *)password, password ? (int)strlen(password) : 0, NULL, NULL);
	else
		PEM_write_bio_PKCS8PrivateKey(bio, testkit_rsa(2048), password ? EVP_aes_128_cbc() : NULL, password, password ? (int)strlen(password) : 0, NULL, NULL);
	return bio_take(bio);
}

static char *request_pem(void)
{
	g_autoptr(X509_REQ) request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());

	X509_REQ_set_pubkey(request, testkit_rsa(2048));
	X509_REQ_sign(request, testkit_rsa(2048), EVP_sha256());
	PEM_write_bio_X509_REQ(bio, request);
	return bio_take(bio);
}

/* The kinds of the pieces, one letter each; "!" when the file is refused. */
static char *kinds(const void *data, size_t len)
{
	static const char letters[PUSH_PIECE_MAX + 1] = "ckErpmdho";
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) pieces = push_file_parse(data, len, &error);
	GString *text = g_string_new(pieces ? "" : "!");

	g_assert_true(pieces || g_error_matches(error, POM_ERROR, POM_ERR_PUSH_FILE));
	for (guint i = 0; pieces && i < pieces->len; i++)
		g_string_append_c(text, letters[((struct push_piece *)g_ptr_array_index(pieces, i))->kind]);
	return g_string_free(text, FALSE);
}

static void check(const char *name, const void *data, size_t len, const char *wanted)
{
	g_autofree char *got = kinds(data, len);

	g_test_message("%s", name);
	g_assert_cmpstr(got, ==, wanted);
}

static void check_text(const char *name, const char *text, const char *wanted)
{
	check(name, text, strlen(text), wanted);
}

/* TEXT with each FROM replaced by TO. */
static char *replace(const char *text, const char *from, const char *to)
{
	g_auto(GStrv) parts = g_strsplit(text, from, -1);

	return g_strjoinv(to, parts);
}

static void test_forms(void)
{
	g_autofree char *cert = cert_pem(), *key = key_pem(NULL, false), *old = key_pem(NULL, true), *locked = key_pem("secret", false), *old_locked = key_pem("secret", true), *request = request_pem();
	g_autofree char *both = g_strconcat(cert, key, NULL), *crlf = replace(both, "\n", "\r\n"), *cr = replace(both, "\n", "\r"), *together = replace(both, "-----\n-----", "----------"), *flat = replace(both, "\n", "");
	g_autofree char *bom = g_strconcat("\xef\xbb\xbf", both, NULL), *bag = g_strconcat("Bag Attributes\n    friendlyName: x\nsubject=/CN=x\n", cert, "and more\n", key, NULL);
	g_autofree char *spaced = replace(cert, "\n", "\n   "), *page = g_strconcat("<!DOCTYPE html><html><body>Sign in ", cert, "</body></html>", NULL), *cut = g_strndup(cert, strlen(cert) - 30);
	g_autofree char *wrong = replace(cert, "MII", "!II"), *lying = replace(key, "PRIVATE KEY", "CERTIFICATE"), *crlf_locked = replace(old_locked, "\n", "\r\n");
	g_autofree char *xml = g_strconcat("<?xml version=\"1.0\"?><plist version=\"1.0\"><string>", cert, "</string></plist>", NULL), *xml64 = g_base64_encode((const guchar *)xml, strlen(xml));
	const struct { const char *name, *text, *kinds; } cases[] = {
		{"certificate and key", both, "ck"}, {"key of old form", old, "k"}, {"encrypted", locked, "E"}, {"encrypted, old form", old_locked, "E"}, {"encrypted, old form, CRLF", crlf_locked, "E"}, {"request", request, "r"},
		{"CRLF", crlf, "ck"}, {"CR", cr, "ck"}, {"run together", together, "ck"}, {"on one line", flat, "ck"}, {"byte order mark", bom, "ck"}, {"text around", bag, "ck"}, {"indented", spaced, "c"},
		{"page", page, "h"}, {"page in capitals", "\n <HTML><head>", "h"}, {"page after a comment", "<!-- x --><html>", "h"}, {"cut off", cut, "!"}, {"no base64", wrong, "!"}, {"another thing in it", lying, "!"},
		{"empty", "", ""}, {"white", " \n\t", ""}, {"words", "hello, world", "o"}, {"document", xml, "d"}, {"document in base64", xml64, "d"}, {"other XML", "<?xml version=\"1.0\"?><a/>", "o"}, {"list of nothing", "<plist version=\"1.0\"><dict/></plist>", "d"},
		{"public key", "-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n", "o"}, {"parameters", "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", ""},
		{"half a line", "-----BEGIN CERTIFICATE", "!"}, {"empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "!"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		check_text(cases[i].name, cases[i].text, cases[i].kinds);
}

/* As PowerShell writes what it is told to redirect. */
static void test_utf16(void)
{
	g_autofree char *cert = cert_pem();

	for (int big = 0; big < 2; big++) {
		g_autoptr(GByteArray) wide = g_byte_array_new();

		g_byte_array_append(wide, (const guint8 *)(big ? "\xfe\xff" : "\xff\xfe"), 2);
		for (const char *p = cert; *p; p++) {
			const guint8 unit[2] = {big ? 0 : (guint8)*p, big ? (guint8)*p : 0};

			g_byte_array_append(wide, unit, 2);
		}
		check(big ? "UTF-16BE" : "UTF-16LE", wide->data, wide->len, "c");
	}
}

static void check_der(const char *name, int len, uint8_t **at, const char *wanted)
{
	uint8_t *der = *at;
	g_autofree char *base64 = g_base64_encode(der, (gsize)len);

	g_assert_cmpint(len, >, 0);
	check(name, der, (size_t)len, wanted);
	check_text(name, base64, wanted);
	OPENSSL_free(der);
}

static void test_der(void)
{
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "c", 1, NULL, NULL);
	g_autofree char *request_text = request_pem();
	BIO *bio = BIO_new_mem_buf(request_text, -1);
	g_autoptr(X509_REQ) request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(testkit_rsa(2048));
	X509_SIG *locked = PKCS8_encrypt(-1, EVP_aes_128_cbc(), "secret", 6, NULL, 0, 0, info);
	PKCS12 *p12 = PKCS12_create("secret", NULL, testkit_rsa(2048), cert, NULL, 0, 0, 0, 0, 0);
	g_autoptr(GBytes) envelope = testkit_encrypt(&cert, 1, EVP_aes_256_cbc(), "x", false, false), ber = testkit_encrypt(&cert, 1, EVP_aes_256_cbc(), "x", true, false);
	uint8_t *der[6] = {NULL};
	g_autofree char *hex = hex_format(g_bytes_get_data(envelope, NULL), g_bytes_get_size(envelope)), *lines = g_strdup_printf("%.70s\r\n%s\n", hex, hex + 70);

	check_der("certificate", i2d_X509(cert, &der[0]), &der[0], "c");
	check_der("request", i2d_X509_REQ(request, &der[1]), &der[1], "r");
	check_der("PKCS#8", i2d_PKCS8_PRIV_KEY_INFO(info, &der[2]), &der[2], "k");
	check_der("RSA", i2d_PrivateKey(testkit_rsa(2048), &der[3]), &der[3], "k");
	check_der("encrypted", i2d_X509_SIG(locked, &der[4]), &der[4], "E");
	check_der("PKCS#12", i2d_PKCS12(p12, &der[5]), &der[5], "p");
	check("CMS", g_bytes_get_data(envelope, NULL), g_bytes_get_size(envelope), "m");
	check("CMS in BER", g_bytes_get_data(ber, NULL), g_bytes_get_size(ber), "m");
	check_text("hex of CMS", hex, "m");
	check_text("hex in lines", lines, "m");
	BIO_free(bio);
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_SIG_free(locked);
	PKCS12_free(p12);
}

/* What was written anew opens with the password. */
static void test_encrypted_opens(void)
{
	g_autofree char *locked = key_pem("secret", true), *flat = replace(locked, "\n", "\r\n  ");
	g_autoptr(GPtrArray) pieces = push_file_parse(flat, strlen(flat), NULL);
	const struct push_piece *piece = g_ptr_array_index(pieces, 0);
	BIO *bio = BIO_new_mem_buf(piece->data, (int)piece->len);
	g_autoptr(EVP_PKEY) key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"secret");

	g_assert_nonnull(key);
	g_assert_cmpint(EVP_PKEY_eq(key, testkit_rsa(2048)), ==, 1);
	BIO_free(bio);
}

static void test_limits(void)
{
	g_autofree char *big = g_malloc0(PUSH_FILE_MAX + 1), *cert = cert_pem();
	g_autoptr(GString) many = g_string_new(NULL);

	memset(big, ' ', PUSH_FILE_MAX + 1);
	check("largest", big, PUSH_FILE_MAX, "");
	check("too large", big, PUSH_FILE_MAX + 1, "!");
	for (int i = 0; i < PUSH_PIECES_MAX; i++)
		g_string_append(many, cert);
	g_autofree char *most = kinds(many->str, many->len);

	g_assert_cmpuint(strlen(most), ==, PUSH_PIECES_MAX);
	g_string_append(many, cert);
	check_text("too many", many->str, "!");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/push-file/forms", test_forms);
	g_test_add_func("/push-file/utf-16", test_utf16);
	g_test_add_func("/push-file/der", test_der);
	g_test_add_func("/push-file/encrypted-opens", test_encrypted_opens);
	g_test_add_func("/push-file/limits", test_limits);
	return g_test_run();
}
