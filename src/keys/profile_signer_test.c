#include "keys/profile_signer.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "codec/testkit.h"
#include "keys/pkcs12.h"
#include "keys/profile_verify.h"

static const char profile[] = "<plist><dict><key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer><key>PayloadIdentifier</key><string>org.example</string>"
                              "<key>PayloadUUID</key><string>P</string><key>PayloadContent</key><array/></dict></plist>";

struct fixture { X509 *root, *middle, *leaf; struct signer *key; int64_t now_s; };
static struct fixture f;

static struct signer *hold(EVP_PKEY *key)
{
	EVP_PKEY_up_ref(key);
	return signer_new_memory(key);
}

static GPtrArray *list(X509 *first, ...)
{
	GPtrArray *certs = g_ptr_array_new();
	va_list args;

	va_start(args, first);
	for (X509 *c = first; c; c = va_arg(args, X509 *))
		g_ptr_array_add(certs, c);
	va_end(args);
	return certs;
}

static X509 *make_ca(EVP_PKEY *key, const char *cn, long serial, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = testkit_cert(key, cn, serial, issuer, issuer_key);
	X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

	X509_add_ext(cert, ca, -1);
	X509_EXTENSION_free(ca);
	g_assert_cmpint(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()), >, 0);
	return cert;
}

static void set_up(void)
{
	g_autoptr(cert_info) info = NULL;

	f.root = make_ca(testkit_ec("P-256"), "root", 1, NULL, NULL);
	f.middle = make_ca(testkit_ec("P-384"), "middle", 2, f.root, testkit_ec("P-256"));
	f.leaf = testkit_cert(testkit_rsa(2048), "leaf", 3, f.middle, testkit_ec("P-384"));
	f.key = hold(testkit_rsa(2048));
	info = cert_info_new(f.leaf, NULL);
	f.now_s = (info->not_before + info->not_after) / 2;
}

/* Whatever else is in the file and in which order: the signer first, then upwards, without the root. */
static void test_chain(void)
{
	g_autoptr(X509) stranger = testkit_cert(testkit_ec("P-521"), "stranger", 4, NULL, NULL);
	struct { GPtrArray *certs, *roots; guint n; const char *missing; } cases[] = {
		{list(f.leaf, f.middle, f.root, NULL), NULL, 2, NULL}, {list(f.root, stranger, f.middle, f.leaf, NULL), NULL, 2, NULL}, {list(f.leaf, f.middle, NULL), NULL, 2, "CN=root"},
		{list(f.leaf, f.middle, NULL), list(stranger, f.root, NULL), 2, NULL}, {list(f.leaf, NULL), NULL, 1, "CN=middle"}, {list(f.leaf, f.root, NULL), list(f.root, NULL), 1, "CN=middle"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) certs = cases[i].certs, roots = cases[i].roots;
		g_autoptr(GError) error = NULL;
		g_autoptr(profile_signer) signer = profile_signer_new(certs, f.key, roots, f.now_s, &error);
		g_autoptr(GBytes) leaf = cert_format_der(f.leaf);

		g_assert_no_error(error);
		g_assert_cmpuint(signer->chain->len, ==, cases[i].n);
		g_assert_true(g_bytes_equal(signer->chain->pdata[0], leaf));
		g_assert_cmpstr(signer->missing, ==, cases[i].missing);
	}
}

static void test_refused(void)
{
	g_autoptr(X509) weak = testkit_cert(testkit_rsa(1024), "weak", 5, NULL, NULL), push = testkit_cert(testkit_rsa(2048), "APSP:x", 6, NULL, NULL);
	g_autoptr(signer) weak_key = hold(testkit_rsa(1024)), root_key = hold(testkit_ec("P-256"));
	struct { X509 *cert; struct signer *key; int64_t at_s; int code; const char *what; } cases[] = {
		{f.leaf, weak_key, f.now_s, POM_ERR_KEY_MISMATCH, "no certificate"}, {weak, weak_key, f.now_s, POM_ERR_PROFILE_SIGNER, "too weak"},
		{f.leaf, f.key, f.now_s + 100LL * 366 * 86400, POM_ERR_PROFILE_SIGNER, "expired"}, {f.leaf, f.key, 0, POM_ERR_PROFILE_SIGNER, "not valid before"}, {push, f.key, f.now_s, POM_ERR_PROFILE_SIGNER, "push certificate"},
		{f.root, root_key, f.now_s, POM_ERR_PROFILE_SIGNER, "is a CA's"},
	};

	X509_NAME_add_entry_by_NID(X509_get_subject_name(push), NID_userId, MBSTRING_ASC, (const unsigned char *)"com.apple.mgmt.External.x", -1, -1, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) certs = list(cases[i].cert, NULL);
		g_autoptr(GError) error = NULL;

		g_assert_null(profile_signer_new(certs, cases[i].key, NULL, cases[i].at_s, &error));
		g_assert_error(error, POM_ERROR, cases[i].code);
		if (!strstr(error->message, cases[i].what))
			g_error("%s: %s", cases[i].what, error->message);
	}
}

/* Files as people have them: PEM in one or two, PKCS#12. */
static void test_load(void)
{
	g_autofree char *leaf = cert_format_pem(f.leaf), *middle = cert_format_pem(f.middle), *both = g_strconcat(middle, leaf, NULL);
	g_autoptr(GBytes) pem = g_bytes_new(both, strlen(both)), key = signer_format(f.key, NULL), p12 = pkcs12_make(f.key, f.leaf, &f.middle, 1, "x", "pw", false, NULL), rubbish = g_bytes_new_static("x", 1);
	struct { GBytes *cert, *key; const char *password; int code; } cases[] = {
		{pem, key, NULL, 0}, {p12, p12, "pw", 0}, {p12, key, "pw", 0}, {p12, p12, "other", POM_ERR_PASSWORD}, {pem, rubbish, NULL, POM_ERR_KEY}, {rubbish, key, NULL, POM_ERR_CERT_MALFORMED}, {key, key, NULL, POM_ERR_CERT_MALFORMED},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(profile_signer) signer = profile_signer_load(cases[i].cert, cases[i].key, cases[i].password, NULL, f.now_s, &error);

		if (cases[i].code) {
			g_assert_null(signer);
			g_assert_error(error, POM_ERROR, cases[i].code);
		} else {
			g_assert_no_error(error);
			g_assert_cmpuint(signer->chain->len, ==, 2);
		}
	}
}

static json_t *judge(GBytes *file, GPtrArray *given, GPtrArray *own)
{
	return profile_verify(file, &(struct profile_roots){.given = given, .own = own}, f.now_s);
}

static void test_verify(void)
{
	g_autoptr(GPtrArray) certs = list(f.leaf, f.middle, NULL), roots = list(f.root, NULL), others = list(f.leaf, NULL);
	g_autoptr(profile_signer) signer = profile_signer_new(certs, f.key, roots, f.now_s, NULL);
	g_autoptr(GBytes) plain = g_bytes_new_static(profile, strlen(profile)), file = profile_signer_sign(signer, plain, f.now_s, NULL), broken = testkit_replace(file, "org.example", "org.Example", 11);
	struct { GBytes *file; GPtrArray *given, *own; bool ok, trust_given, trust_own; const char *signature, *code; } cases[] = {
		{file, NULL, roots, true, false, true, "ok", NULL}, {file, roots, NULL, true, true, false, "ok", NULL}, {file, NULL, NULL, false, false, false, "ok", "POM-E2102"},
		{broken, NULL, roots, false, false, false, "broken", "POM-E2002"}, {plain, NULL, roots, false, false, false, "none", "POM-E1008"}, {file, others, roots, true, true, true, "ok", NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(json_t) report = judge(cases[i].file, cases[i].given, cases[i].own);
		const json_t *trust = json_object_get(report, "trust"), *problems = json_object_get(report, "problems");

		g_assert_cmpint(json_is_true(json_object_get(report, "ok")), ==, cases[i].ok);
		g_assert_cmpstr(json_string_value(json_object_get(report, "signature")), ==, cases[i].signature);
		g_assert_cmpint(json_is_true(json_object_get(trust, "given")), ==, cases[i].trust_given);
		g_assert_cmpint(json_is_true(json_object_get(trust, "own")), ==, cases[i].trust_own);
		g_assert_cmpint(json_array_size(problems) > 0, ==, !cases[i].ok);
		if (cases[i].code)
			g_assert_cmpstr(json_string_value(json_object_get(json_array_get(problems, 0), "code")), ==, cases[i].code);
	}
}

int main(int argc, char **argv)
{
	int code;

	g_test_init(&argc, &argv, NULL);
	set_up();
	g_test_add_func("/profile_signer/chain", test_chain);
	g_test_add_func("/profile_signer/refused", test_refused);
	g_test_add_func("/profile_signer/load", test_load);
	g_test_add_func("/profile_signer/verify", test_verify);
	code = g_test_run();
	signer_unref(f.key);
	X509_free(f.root);
	X509_free(f.middle);
	X509_free(f.leaf);
	return code;
}
