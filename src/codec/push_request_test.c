#include "codec/push_request.h"

#include <string.h>

#include "base/error.h"
#include "codec/plist.h"
#include "codec/testkit.h"

struct fixture { X509 *chain[3]; GBytes *csr, *signature; };

static GBytes *make_csr(void)
{
	g_autoptr(X509_REQ) request = X509_REQ_new();
	uint8_t *der = NULL;
	int len;

	X509_REQ_set_pubkey(request, testkit_rsa(2048));
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC, (const unsigned char *)"customer", -1, -1, 0);
	X509_REQ_sign(request, testkit_rsa(2048), EVP_sha256());
	len = i2d_X509_REQ(request, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	return bytes;
}

static GBytes *sign(GBytes *data, EVP_PKEY *key, const EVP_MD *digest)
{
	g_autoptr(EVP_MD_CTX) md = EVP_MD_CTX_new();
	uint8_t out[1024];
	size_t n = sizeof(out);

	g_assert_cmpint(EVP_DigestSignInit(md, NULL, digest, NULL, key), ==, 1);
	g_assert_cmpint(EVP_DigestSign(md, out, &n, g_bytes_get_data(data, NULL), g_bytes_get_size(data)), ==, 1);
	return g_bytes_new(out, n);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	f->chain[2] = testkit_cert(testkit_rsa(3072), "root", 1, NULL, NULL);
	f->chain[1] = testkit_cert(testkit_rsa(3072), "wwdr", 2, f->chain[2], testkit_rsa(3072));
	f->chain[0] = testkit_cert(testkit_rsa(2048), "vendor", 3, f->chain[1], testkit_rsa(3072));
	f->csr = make_csr();
	f->signature = sign(f->csr, testkit_rsa(2048), EVP_sha256());
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < 3; i++)
		X509_free(f->chain[i]);
	g_bytes_unref(f->csr);
	g_bytes_unref(f->signature);
}

static void test_form(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) document = push_request_format(f->csr, f->chain, 3, f->signature, NULL);
	g_autofree char *text = g_strndup(g_bytes_get_data(document, NULL), g_bytes_get_size(document));
	gsize len;
	g_autofree guchar *xml = g_base64_decode(text, &len);
	g_autoptr(plist) dict = plist_parse(xml, len, NULL, NULL);
	const char *pem = plist_get_string(plist_dict_get(dict, "PushCertCertificateChain"));
	g_auto(GStrv) lines = g_strsplit(pem, "\n", -1);
	bool open = false;

	g_assert_null(strpbrk(text, "\r\n "));
	g_assert_true(g_str_has_prefix((char *)xml, "<?xml"));
	g_assert_cmpuint(plist_count(dict), ==, 3);
	/* Only the last line of each certificate is shorter. */
	for (int i = 0; lines[i]; i++) {
		if (g_str_has_prefix(lines[i], "-----")) {
			open = !open;
			continue;
		}
		g_assert_true(!open || strlen(lines[i]) == 64 || g_str_has_prefix(lines[i + 1], "-----END"));
	}
	g_autoptr(push_request) request = push_request_parse(text, strlen(text), NULL), plain = push_request_parse(xml, len, NULL);

	g_assert_true(request && plain);
	g_assert_true(g_bytes_equal(request->csr_der, f->csr) && g_bytes_equal(request->signature, f->signature));
	g_assert_cmpuint(request->chain->len, ==, 3);
	for (guint i = 0; i < 3; i++)
		g_assert_cmpint(X509_cmp(g_ptr_array_index(request->chain, i), f->chain[i]), ==, 0);
	g_assert_cmpstr(request->csr->common_name, ==, "customer");
}

static plist *tree(const struct fixture *f)
{
	g_autoptr(GBytes) document = push_request_format(f->csr, (X509 *const *)f->chain, 3, f->signature, NULL);
	g_autofree char *text = g_strndup(g_bytes_get_data(document, NULL), g_bytes_get_size(document));
	gsize len;
	g_autofree guchar *xml = g_base64_decode(text, &len);

	return plist_parse(xml, len, NULL, NULL);
}

static void refuse(plist *changed, const char *says)
{
	g_autoptr(plist) owned = changed;
	g_autoptr(GBytes) xml = plist_format(owned, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(push_request) request = push_request_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), &error);

	g_assert_null(request);
	g_test_message("%s: %s", says, error->message);
	g_assert_nonnull(strstr(error->message, says));
}

static void test_refused(struct fixture *f, gconstpointer data)
{
	static const struct { const char *key, *value, *says; } cases[] = {
		{"PushCertRequestCSR", "AAAA", "certification request"}, {"PushCertRequestCSR", "*", "not base64"}, {"PushCertRequestCSR", "", "not base64"}, {"PushCertCertificateChain", "x", "is not PEM"},
		{"PushCertSignature", "AAAA", "no RSA signature"}, {"PushCertSignature", "!", "not base64"}, {"More", "x", "three strings"},
	};
	g_autoptr(GBytes) sha1 = sign(f->csr, testkit_rsa(2048), EVP_sha1()), foreign = sign(f->csr, testkit_rsa(3072), EVP_sha256());
	g_autofree char *sha1_text = g_base64_encode(g_bytes_get_data(sha1, NULL), g_bytes_get_size(sha1)), *foreign_text = g_base64_encode(g_bytes_get_data(foreign, NULL), g_bytes_get_size(foreign));
	g_autoptr(GError) error = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		plist *changed = tree(f);

		plist_dict_set_string(changed, cases[i].key, cases[i].value);
		refuse(changed, cases[i].says);
	}
	plist *old = tree(f), *others = tree(f), *number = tree(f);

	plist_dict_set_string(old, "PushCertSignature", sha1_text);
	refuse(old, "SHA-256");
	plist_dict_set_string(others, "PushCertSignature", foreign_text);
	refuse(others, "no RSA signature");
	plist_dict_set_integer(number, "PushCertSignature", 1);
	refuse(number, "is no string");
	refuse(plist_new_array(), "three strings");
	g_assert_null(push_request_parse("*", 1, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PUSH_DOCUMENT);
	g_assert_null(push_request_format(f->csr, f->chain, 0, f->signature, NULL));
}

static void test_size(void)
{
	g_autofree char *big = g_malloc(PUSH_REQUEST_MAX + 1);
	g_autoptr(GError) error = NULL;

	memset(big, 'A', PUSH_REQUEST_MAX + 1);
	g_assert_null(push_request_parse(big, PUSH_REQUEST_MAX + 1, &error));
	g_assert_nonnull(strstr(error->message, "at most"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/push-request/form", struct fixture, NULL, set_up, test_form, tear_down);
	g_test_add("/push-request/refused", struct fixture, NULL, set_up, test_refused, tear_down);
	g_test_add_func("/push-request/size", test_size);
	return g_test_run();
}
