#include "keys/ca_make.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

/* testkit keeps its keys; a signer takes one reference. */
static struct signer *hold(EVP_PKEY *key)
{
	EVP_PKEY_up_ref(key);
	return signer_new_memory(key);
}

static void test_crl(void)
{
	static const struct crl_entry entries[] = {{"0A", 1700000000, 1}};
	const struct crl_plan plan = {.number = 3, .this_update = 1800000000, .next_update = 1800086400, .entries = entries, .n = 1};
	EVP_PKEY *const keys[] = {testkit_rsa(2048), testkit_ec("P-256"), testkit_ec("P-384")};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autoptr(signer) key = hold(keys[i]), other = hold(testkit_rsa(1024));
		g_autoptr(X509) issuer = testkit_cert(keys[i], "CA", 7, NULL, NULL);
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) der = crl_make(key, issuer, &plan, &error);

		g_assert_no_error(error);
		g_autoptr(crl_info) info = crl_parse(DATA(der), &error);

		g_assert_no_error(error);
		g_assert_true(crl_is_issued_by(info, issuer) && crl_has(info, "0A") && !crl_has(info, "0B"));
		g_assert_null(crl_make(other, issuer, &plan, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_KEY_MISMATCH);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
	}
}

static X509_REQ *read_request(GBytes *der)
{
	const uint8_t *p = g_bytes_get_data(der, NULL);

	return d2i_X509_REQ(NULL, &p, (long)g_bytes_get_size(der));
}

static GBytes *request(EVP_PKEY *raw_key, const char *challenge, const struct csr_wish *wish, GError **error)
{
	g_autoptr(signer) key = hold(raw_key);
	g_autoptr(GBytes) subject = cert_subject_parse_text("CN=Sub CA,O=Acme", NULL);

	return csr_make(key, subject, challenge, wish, error);
}

static void test_csr(void)
{
	static const struct {
		const char *challenge;
		int type;
	} cases[] = {{"secret 12", V_ASN1_PRINTABLESTRING}, {"J\xc3\xbcrgen", V_ASN1_UTF8STRING}, {"a_b", V_ASN1_UTF8STRING}, {NULL, 0}};
	EVP_PKEY *const keys[] = {testkit_rsa(2048), testkit_ec("P-256")};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		EVP_PKEY *key = keys[i % G_N_ELEMENTS(keys)];
		g_autoptr(GBytes) der = request(key, cases[i].challenge, NULL, &error);
		g_autoptr(csr) csr = der ? csr_parse(DATA(der), &error) : NULL;
		g_autoptr(X509_REQ) req = der ? read_request(der) : NULL;

		g_assert_no_error(error);
		g_assert_cmpstr(csr->challenge, ==, cases[i].challenge);
		g_assert_cmpstr(csr->subject, ==, "O=Acme,CN=Sub CA");
		g_assert_null(csr->extensions);
		g_assert_cmpint(X509_REQ_get_version(req), ==, X509_REQ_VERSION_1);
		g_assert_cmpint(X509_REQ_verify(req, key), ==, 1);
		g_assert_cmpint(X509_REQ_get_attr_count(req), ==, cases[i].challenge ? 1 : 0);
		if (cases[i].challenge)
			g_assert_cmpint(X509_ATTRIBUTE_get0_type(X509_REQ_get_attr(req, 0), 0)->type, ==, cases[i].type);
	}
}

static void test_csr_wishes(void)
{
	const char *const dns[] = {"mdm.example.org", NULL}, *const addresses[] = {"192.0.2.1", NULL}, *const uris[] = {"urn:x", NULL}, *const emails[] = {"ann@example.org", NULL};
	const struct csr_wish ca = {.is_ca = true}, names = {dns, addresses, uris, emails, false}, nothing = {0};
	g_autoptr(GBytes) sub_ca = request(testkit_rsa(2048), "x", &ca, NULL), sub_ec = request(testkit_ec("P-256"), NULL, &ca, NULL);
	g_autoptr(GBytes) named = request(testkit_ec("P-256"), NULL, &names, NULL), plain = request(testkit_ec("P-256"), NULL, &nothing, NULL);
	g_autoptr(X509_REQ) req = read_request(sub_ca), ec_req = read_request(sub_ec), named_req = read_request(named);
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req), *ec_extensions = X509_REQ_get_extensions(ec_req), *named_extensions = X509_REQ_get_extensions(named_req);
	int critical = 0;
	BASIC_CONSTRAINTS *constraints = X509V3_get_d2i(extensions, NID_basic_constraints, &critical, NULL);
	ASN1_BIT_STRING *usage = X509V3_get_d2i(extensions, NID_key_usage, NULL, NULL), *ec_usage = X509V3_get_d2i(ec_extensions, NID_key_usage, NULL, NULL);
	GENERAL_NAMES *found = X509V3_get_d2i(named_extensions, NID_subject_alt_name, NULL, NULL);
	g_autoptr(csr) none = csr_parse(DATA(plain), NULL);

	g_assert_true(constraints && critical && constraints->ca && constraints->pathlen && ASN1_INTEGER_get(constraints->pathlen) == 0);
	g_assert_true(ASN1_BIT_STRING_get_bit(usage, 0) && ASN1_BIT_STRING_get_bit(usage, 2) && ASN1_BIT_STRING_get_bit(usage, 5) && ASN1_BIT_STRING_get_bit(usage, 6));
	g_assert_false(ASN1_BIT_STRING_get_bit(ec_usage, 2));
	g_assert_cmpint(sk_X509_EXTENSION_num(extensions), ==, 2);
	g_assert_cmpint(sk_X509_EXTENSION_num(named_extensions), ==, 1);
	g_assert_cmpint(sk_GENERAL_NAME_num(found), ==, 4);
	g_assert_null(none->extensions);
	BASIC_CONSTRAINTS_free(constraints);
	ASN1_BIT_STRING_free(usage);
	ASN1_BIT_STRING_free(ec_usage);
	GENERAL_NAMES_free(found);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	sk_X509_EXTENSION_pop_free(ec_extensions, X509_EXTENSION_free);
	sk_X509_EXTENSION_pop_free(named_extensions, X509_EXTENSION_free);
}

static void test_csr_refused(void)
{
	const char *const bad[] = {"a b", NULL};
	const struct csr_wish wish = {.dns_names = bad};
	g_autofree char *large = g_strnfill(256, 'a');
	g_autoptr(signer) key = hold(testkit_ec("P-256"));
	g_autoptr(GBytes) junk = g_bytes_new_static("junk", 4);
	const struct {
		const char *challenge;
		const struct csr_wish *wish;
	} cases[] = {{"", NULL}, {large, NULL}, {"\xff", NULL}, {NULL, &wish}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(request(testkit_ec("P-256"), cases[i].challenge, cases[i].wish, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CSR_MALFORMED);
		if (cases[i].challenge && *cases[i].challenge)
			g_assert_null(strstr(error->message, cases[i].challenge));
	}
	g_assert_null(csr_make(key, junk, NULL, NULL, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ca-make/crl", test_crl);
	g_test_add_func("/ca-make/csr", test_csr);
	g_test_add_func("/ca-make/csr-wishes", test_csr_wishes);
	g_test_add_func("/ca-make/csr-refused", test_csr_refused);
	return g_test_run();
}
