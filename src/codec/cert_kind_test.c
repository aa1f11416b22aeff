#include "codec/cert_kind.h"

#include <openssl/x509v3.h>

#include "codec/testkit.h"

#define WWDR "Apple Worldwide Developer Relations Certification Authority"
#define NONE UINT32_MAX

static void test_names(void)
{
	static const struct { struct cert_kind_facts facts; enum cert_kind kind; } cases[] = {
		{{"com.apple.mgmt.External.a", "APSP:a", "Apple Application Integration 2 Certification Authority", false, XKU_SSL_CLIENT, NULL}, CERT_KIND_PUSH},
		{{"com.apple.mgmt.External.a", NULL, NULL, true, NONE, NULL}, CERT_KIND_PUSH},
		{{"com.apple.mgmtX", NULL, NULL, false, NONE, NULL}, CERT_KIND_OTHER},
		{{NULL, "Apple Root CA", "Apple Root CA", true, NONE, NULL}, CERT_KIND_CA},
		{{NULL, "MDM Vendor: Example", NULL, false, NONE, NULL}, CERT_KIND_VENDOR},
		{{"A1", "MDM CSR", WWDR, false, XKU_CODE_SIGN, NULL}, CERT_KIND_VENDOR},
		{{NULL, "MDM Vendor Portal", "Some CA", false, XKU_SSL_SERVER, NULL}, CERT_KIND_OTHER},
		{{"org.example.app", "Apple Push Services: org.example.app", WWDR, false, XKU_SSL_CLIENT, NULL}, CERT_KIND_APP_PUSH},
		{{"A1", "Apple Development: Ann Example", WWDR, false, XKU_CODE_SIGN, NULL}, CERT_KIND_DEVELOPER},
		{{NULL, "iPhone Distribution: Example", NULL, false, NONE, NULL}, CERT_KIND_DEVELOPER},
		{{NULL, "Something new", WWDR, false, NONE, NULL}, CERT_KIND_DEVELOPER},
		{{NULL, "Example Ltd", "Some CA", false, XKU_CODE_SIGN, NULL}, CERT_KIND_CODE},
		{{NULL, "Example Ltd", "Some CA", false, XKU_CODE_SIGN | XKU_SSL_SERVER, NULL}, CERT_KIND_OTHER},
		{{NULL, "phone", "Apple iPhone Device CA", false, NONE, NULL}, CERT_KIND_DEVICE},
		{{NULL, "laptop", "Some CA", false, XKU_SSL_CLIENT, NULL}, CERT_KIND_DEVICE},
		{{NULL, "Ann", "Some CA", false, XKU_SSL_CLIENT | XKU_SMIME, NULL}, CERT_KIND_OTHER},
		{{NULL, "www.example.org", "Some CA", false, XKU_SSL_CLIENT | XKU_SSL_SERVER, NULL}, CERT_KIND_OTHER},
		{{NULL, "www.example.org", "Some CA", false, XKU_SSL_CLIENT | XKU_ANYEKU, NULL}, CERT_KIND_OTHER},
		{{NULL, NULL, NULL, false, NONE, NULL}, CERT_KIND_OTHER},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("case %zu", i);
		g_assert_cmpint(cert_kind_find(&cases[i].facts), ==, cases[i].kind);
	}
}

static void test_extensions(void)
{
	static const struct { const char *oid; enum cert_kind kind; } cases[] = {
		{"1.2.840.113635.100.6.3.1", CERT_KIND_APP_PUSH}, {"1.2.840.113635.100.6.1.4", CERT_KIND_DEVELOPER}, {"1.2.840.113635.100.6.2.1", CERT_KIND_OTHER}, {"1.2.840.113635.100.6.11", CERT_KIND_OTHER},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(X509) cert = testkit_cert(testkit_ec("P-256"), "x", 1, NULL, NULL);
		g_autoptr(cert_info) info = NULL;
		ASN1_OBJECT *oid = OBJ_txt2obj(cases[i].oid, 1);
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		X509_EXTENSION *extension;

		ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2);
		extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
		X509_add_ext(cert, extension, -1);
		X509_EXTENSION_free(extension);
		ASN1_OCTET_STRING_free(value);
		ASN1_OBJECT_free(oid);
		g_assert_nonnull(info = cert_info_new(cert, NULL));
		g_assert_cmpint(cert_kind_of(cert, info), ==, cases[i].kind);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/codec/cert_kind/names", test_names);
	g_test_add_func("/codec/cert_kind/extensions", test_extensions);
	return g_test_run();
}
