#include "keys/ca_make.h"

#include <glib/gstdio.h>
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

/* A CA with a device and a delegated responder, and what the openssl program says about them. */
struct desk {
	char *dir;
	struct signer *ca_key, *ocsp_key;
	X509 *ca, *device, *ocsp;
	int64_t now;
};

static X509 *issue(struct desk *desk, enum cert_purpose purpose, uint8_t serial, struct signer *key, X509 *issuer)
{
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", issuer ? "leaf" : "CA", NULL), spki = cert_spki_format(signer_get_key(key));
	struct cert_plan plan = {.purpose = purpose, .serial = {serial}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = desk->now - 3600, .not_after = desk->now + 86400};
	g_autoptr(X509) cert = cert_build(&plan, issuer, NULL);

	g_assert_true(signer_sign_cert(desk->ca_key, cert, NULL));
	g_autoptr(GBytes) der = cert_format_der(cert);

	return cert_parse_der(DATA(der), NULL);
}

static void put_file(struct desk *desk, const char *name, const void *data, size_t len)
{
	g_autofree char *path = g_build_filename(desk->dir, name, NULL);

	g_assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
}

static void put_cert(struct desk *desk, const char *name, X509 *cert)
{
	g_autofree char *pem = cert_format_pem(cert);

	put_file(desk, name, pem, strlen(pem));
}

static void desk_init(struct desk *desk)
{
	*desk = (struct desk){.dir = g_dir_make_tmp("pomona-ca-XXXXXX", NULL), .now = g_get_real_time() / G_USEC_PER_SEC,
	                      .ca_key = hold(testkit_ec("P-256")), .ocsp_key = hold(testkit_rsa(2048))};
	desk->ca = issue(desk, CERT_ROOT_CA, 1, desk->ca_key, NULL);
	desk->device = issue(desk, CERT_DEVICE, 0x0a, desk->ocsp_key, desk->ca);
	desk->ocsp = issue(desk, CERT_OCSP, 3, desk->ocsp_key, desk->ca);
	put_cert(desk, "ca.pem", desk->ca);
	put_cert(desk, "device.pem", desk->device);
}

static void desk_clear(struct desk *desk)
{
	g_autoptr(GDir) dir = g_dir_open(desk->dir, 0, NULL);

	for (const char *name; (name = g_dir_read_name(dir));) {
		g_autofree char *path = g_build_filename(desk->dir, name, NULL);

		g_unlink(path);
	}
	g_rmdir(desk->dir);
	g_free(desk->dir);
	signer_unref(desk->ca_key);
	signer_unref(desk->ocsp_key);
	X509_free(desk->ca);
	X509_free(desk->device);
	X509_free(desk->ocsp);
}

/* Runs "openssl ARGUMENTS" in the desk's folder; what it says, and whether it ended with 0. */
static char *openssl(struct desk *desk, const char *arguments, bool *ret_ok)
{
	g_autofree char *line = g_strconcat("openssl ", arguments, NULL);
	g_auto(GStrv) argv = NULL;
	char *out = NULL, *err = NULL;
	int status = 0;

	g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
	g_assert_true(g_spawn_sync(desk->dir, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, NULL));
	*ret_ok = g_spawn_check_wait_status(status, NULL);
	char *both = g_strconcat(out, err, NULL);

	g_free(out);
	g_free(err);
	return both;
}

static void test_openssl_crl(void)
{
	const struct crl_entry entry = {"0A", 1700000000, 1};
	struct desk desk;

	desk_init(&desk);
	for (size_t n = 0; n < 2; n++) {
		struct crl_plan plan = {.number = 3, .this_update = desk.now - 60, .next_update = desk.now + 3600, .entries = &entry, .n = n};
		g_autoptr(GBytes) der = crl_make(desk.ca_key, desk.ca, &plan, NULL);
		bool ok;

		put_file(&desk, "crl.der", DATA(der));
		g_free(openssl(&desk, "crl -inform DER -in crl.der -out crl.pem", &ok));
		g_assert_true(ok);
		g_autofree char *said = openssl(&desk, "verify -crl_check -CAfile ca.pem -CRLfile crl.pem device.pem", &ok);

		g_test_message("%s", said);
		g_assert_true(ok == (n == 0));
		g_assert_nonnull(strstr(said, n == 0 ? "device.pem: OK" : "certificate revoked"));
	}
	desk_clear(&desk);
}

static void test_openssl_ocsp(void)
{
	static const struct {
		struct ocsp_answer answer;
		const char *options, *says;
	} cases[] = {
		{{OCSP_CERT_GOOD, 0, -1}, "-sha1", "device.pem: good"}, {{OCSP_CERT_REVOKED, 1700000000, 1}, "-sha256", "device.pem: revoked"},
		{{OCSP_CERT_UNKNOWN, 0, -1}, "-sha1 -no_nonce", "device.pem: unknown"},
	};
	struct desk desk;

	desk_init(&desk);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *ask = g_strdup_printf("ocsp %s -issuer ca.pem -cert device.pem -reqout req.der", cases[i].options), *path = g_build_filename(desk.dir, "req.der", NULL);
		g_autofree char *data = NULL;
		g_autoptr(GError) error = NULL;
		gsize len = 0;
		bool ok;

		g_free(openssl(&desk, ask, &ok));
		g_assert_true(ok && g_file_get_contents(path, &data, &len, NULL));
		g_autoptr(ocsp_request) request = ocsp_request_parse(data, len, &error);

		g_assert_no_error(error);
		g_assert_true(ocsp_id_names(request->ids->pdata[0], desk.ca));
		g_assert_true((request->nonce != NULL) == (i < 2));
		g_autoptr(GBytes) response = ocsp_make(desk.ocsp_key, desk.ocsp, request, &cases[i].answer, desk.now - 60, desk.now + 3600, desk.now, &error);

		g_assert_no_error(error);
		put_file(&desk, "resp.der", DATA(response));
		g_autofree char *check = g_strdup_printf("ocsp -reqin req.der -respin resp.der -no_nonce -issuer ca.pem %s -cert device.pem -CAfile ca.pem", i == 1 ? "-sha256" : "-sha1");
		g_autofree char *said = openssl(&desk, check, &ok);

		g_test_message("%s", said);
		g_assert_true(ok && strstr(said, "Response verify OK") && strstr(said, cases[i].says) && !strstr(said, "WARNING"));
		g_assert_null(ocsp_make(desk.ca_key, desk.ocsp, request, &cases[i].answer, 1, 2, 3, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_KEY_MISMATCH);
	}
	desk_clear(&desk);
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
	g_test_add_func("/ca-make/openssl-crl", test_openssl_crl);
	g_test_add_func("/ca-make/openssl-ocsp", test_openssl_ocsp);
	g_test_add_func("/ca-make/csr", test_csr);
	g_test_add_func("/ca-make/csr-wishes", test_csr_wishes);
	g_test_add_func("/ca-make/csr-refused", test_csr_refused);
	return g_test_run();
}
