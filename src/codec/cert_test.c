#include "codec/cert.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"
#include "codec/signed.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

static void test_parse(void)
{
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "one", 0xab, NULL, NULL), second = testkit_cert(testkit_ec("P-256"), "two", 2, NULL, NULL);
	g_autoptr(GBytes) der = cert_format_der(cert);
	g_autofree char *pem = cert_format_pem(cert), *pem2 = cert_format_pem(second);
	g_autofree char *both = g_strconcat("comment\n", pem, "\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", pem2, NULL);
	g_autofree char *cut = g_strndup(both, strlen(both) - 40), *broken = g_strconcat(pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NULL);
	g_autofree char *no_cert = g_strdup("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	g_autoptr(GByteArray) longer = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(X509) again = cert_parse_der(DATA(der), &error);
	g_autoptr(GPtrArray) one = cert_parse_all(DATA(der), &error), two = cert_parse_all(both, strlen(both), &error);

	g_assert_no_error(error);
	g_assert_true(!X509_cmp(cert, again) && one->len == 1 && two->len == 2 && !X509_cmp(two->pdata[1], second));
	g_byte_array_append(longer, DATA(der));
	g_byte_array_append(longer, (const guint8 *)"", 1);
	struct {
		const void *data;
		size_t len;
	} bad[] = {{"", 0}, {"x", 1}, {cut, strlen(cut)}, {broken, strlen(broken)}, {no_cert, strlen(no_cert)}, {longer->data, longer->len}, {longer->data, longer->len - 2}};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_null(cert_parse_all(bad[i].data, bad[i].len, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
		g_clear_error(&error);
		g_assert_null(cert_parse_der(bad[i].data, bad[i].len, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
		g_clear_error(&error);
	}
	/* The same certificate with an indefinite length outside would have another fingerprint. */
	g_autoptr(GBytes) ber = testkit_to_ber(der, 1);

	g_assert_null(cert_parse_der(DATA(ber), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static void test_info(void)
{
	const char *const names[] = {"mdm.example.org", "localhost", NULL}, *const addresses[] = {"192.0.2.1", "2001:db8::1", NULL};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) subject = cert_name_format(&error, "CN", "J\xc3\xbcrgen, Apfel", "O", "Ex+ample", "UID", "com.apple.mgmt.External.1", NULL);
	g_autoptr(GBytes) spki = cert_spki_format(testkit_ec("P-384"));
	struct cert_plan plan = {.purpose = CERT_TLS_SERVER, .serial = {0x0a, 0xbc}, .serial_len = 2, .subject_der = subject, .spki = spki,
	                         .not_before = 0, .not_after = INT64_C(2600000000), .dns_names = names, .ip_addresses = addresses};
	g_autoptr(X509) cert = cert_build(&plan, NULL, &error);

	g_assert_no_error(error);
	X509_sign(cert, testkit_ec("P-384"), EVP_sha256());
	g_autoptr(GBytes) der = cert_format_der(cert);
	g_autoptr(X509) read = cert_parse_der(DATA(der), &error);
	g_autoptr(cert_info) info = cert_info_new(read, &error);
	g_autofree char *uid = cert_subject_uid(read), *cn = cert_subject_cn(read);
	uint8_t digest[32];
	unsigned len;

	g_assert_no_error(error);
	g_assert_cmpstr(info->serial, ==, "0ABC");
	g_assert_cmpstr(info->subject, ==, "UID=com.apple.mgmt.External.1,O=Ex\\+ample,CN=J\xc3\xbcrgen\\, Apfel");
	g_assert_cmpstr(info->issuer, ==, info->subject);
	g_assert_cmpint(info->not_before, ==, 0);
	g_assert_cmpint(info->not_after, ==, INT64_C(2600000000));
	g_assert_false(info->is_ca);
	g_assert_cmpuint(info->key_usage, ==, KU_DIGITAL_SIGNATURE);
	g_assert_cmpuint(info->ext_key_usage, ==, XKU_SSL_SERVER);
	g_assert_cmpint(info->key_type, ==, EVP_PKEY_EC);
	g_assert_cmpint(info->key_bits, ==, 384);
	g_assert_cmpstr(info->dns_names[0], ==, "mdm.example.org");
	g_assert_cmpstr(info->dns_names[1], ==, "localhost");
	g_assert_cmpstr(info->ip_addresses[0], ==, "192.0.2.1");
	g_assert_cmpstr(info->ip_addresses[1], ==, "2001:db8::1");
	g_assert_null(info->ip_addresses[2]);
	g_assert_cmpstr(uid, ==, "com.apple.mgmt.External.1");
	g_assert_cmpstr(cn, ==, "J\xc3\xbcrgen, Apfel");
	g_assert_true(g_bytes_equal(info->subject_der, subject) && g_bytes_equal(info->issuer_der, subject) && g_bytes_equal(info->spki, spki));
	g_assert_cmpmem(g_bytes_get_data(info->key_id, NULL), g_bytes_get_size(info->key_id), ASN1_STRING_get0_data(X509_get0_subject_key_id(read)), 20);
	g_assert_cmpint(info->path_len, ==, -1);
	X509_digest(read, EVP_sha256(), digest, &len);
	g_assert_cmpmem(info->sha256, 32, digest, len);
	cert_sha256(DATA(spki), digest);
	g_assert_cmpmem(info->spki_sha256, 32, digest, 32);
}

/* Every purpose, judged by OpenSSL's own reading of the extensions and by its chain verification. */
static const struct {
	enum cert_purpose purpose;
	bool rsa, is_ca;
	uint32_t usage, ext_usage;
} purposes[] = {
	{CERT_ROOT_CA, true, true, KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE, UINT32_MAX},
	{CERT_ISSUING_CA, true, true, KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, UINT32_MAX},
	{CERT_ISSUING_CA, false, true, KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE, UINT32_MAX},
	{CERT_DEVICE, true, false, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, XKU_SSL_CLIENT},
	{CERT_DEVICE, false, false, KU_DIGITAL_SIGNATURE, XKU_SSL_CLIENT},
	{CERT_TLS_SERVER, true, false, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, XKU_SSL_SERVER},
	{CERT_PROFILE_SIGNER, true, false, KU_DIGITAL_SIGNATURE, XKU_SMIME},
	{CERT_RA, true, false, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, UINT32_MAX},
	{CERT_OCSP, true, false, KU_DIGITAL_SIGNATURE, XKU_OCSP_SIGN},
	{CERT_OCSP, false, false, KU_DIGITAL_SIGNATURE, XKU_OCSP_SIGN},
};

static X509 *build(enum cert_purpose purpose, bool rsa, const char *cn, X509 *issuer, EVP_PKEY *issuer_key)
{
	EVP_PKEY *key = rsa ? testkit_rsa(2048) : testkit_ec("P-256");
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", cn, NULL), spki = cert_spki_format(key);
	struct cert_plan plan = {.purpose = purpose, .serial = {0xff, 1}, .serial_len = 2, .subject_der = subject, .spki = spki,
	                         .not_before = 1700000000, .not_after = 2000000000, .crl_url = "http://mdm.example.org/ca.crl"};
	g_autoptr(GError) error = NULL;
	X509 *cert = cert_build(&plan, issuer, &error);

	g_assert_no_error(error);
	g_assert_cmpint(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()), >, 0);
	g_autoptr(GBytes) der = cert_format_der(cert);

	X509_free(cert);
	return cert_parse_der(DATA(der), NULL);
}

static bool chain_verifies(X509 *cert, X509 *root)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	X509_STORE_add_cert(store, root);
	X509_STORE_CTX_init(ctx, store, cert, NULL);
	X509_STORE_CTX_set_time(ctx, 0, 1800000000);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
	bool ok = X509_verify_cert(ctx) == 1;

	if (!ok)
		g_test_message("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return ok;
}

static void test_build(void)
{
	g_autoptr(X509) root = build(CERT_ROOT_CA, true, "root", NULL, NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(purposes); i++) {
		g_autoptr(X509) cert = build(purposes[i].purpose, purposes[i].rsa, "leaf", root, testkit_rsa(2048));
		g_autoptr(cert_info) info = cert_info_new(cert, NULL);

		g_assert_true(info->is_ca == purposes[i].is_ca);
		g_assert_cmpuint(info->key_usage, ==, purposes[i].usage);
		g_assert_cmpuint(info->ext_key_usage, ==, purposes[i].ext_usage);
		g_assert_cmpint(info->path_len, ==, purposes[i].purpose == CERT_ISSUING_CA ? 0 : -1);
		g_assert_cmpstr(info->serial, ==, "FF01");
		g_assert_true(!ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert), X509_get0_subject_key_id(root)));
		g_assert_true(chain_verifies(cert, root));
		g_assert_true(cert_is_issued_by(cert, root));
		g_assert_false(cert_is_issued_by(root, cert));
		int critical;
		BASIC_CONSTRAINTS *constraints = X509_get_ext_d2i(cert, NID_basic_constraints, &critical, NULL);

		g_assert_true(constraints && critical == purposes[i].is_ca);
		BASIC_CONSTRAINTS_free(constraints);
		CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);

		g_assert_cmpint(sk_DIST_POINT_num(points), ==, 1);
		CRL_DIST_POINTS_free(points);
		g_assert_true((X509_get_ext_by_NID(cert, NID_id_pkix_OCSP_noCheck, -1) >= 0) == (purposes[i].purpose == CERT_OCSP));
		g_assert_cmpint(X509_get_ext_by_NID(cert, NID_info_access, -1), ==, -1);
	}
	g_assert_true(chain_verifies(root, root));
}

static void test_build_refused(void)
{
	const char *const bad_name[] = {"a b", NULL}, *const bad_address[] = {"1.2.3", NULL}, *const empty[] = {"", NULL};
	const char *const bad_email[] = {"ann@", NULL}, *const two_ats[] = {"ann@b@c", NULL};
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "x", NULL), rsa = cert_spki_format(testkit_rsa(2048)), junk = g_bytes_new_static("junk", 4);
	g_autoptr(EVP_PKEY) ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	g_autoptr(GBytes) ed_spki = cert_spki_format(ed), ec = cert_spki_format(testkit_ec("P-256"));
	struct cert_plan good = {.purpose = CERT_DEVICE, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = rsa, .not_before = 1, .not_after = 2};
	struct cert_plan plans[20];
	g_autoptr(X509) fine = cert_build(&good, NULL, NULL);

	g_assert_nonnull(fine);
	for (size_t i = 0; i < G_N_ELEMENTS(plans); i++)
		plans[i] = good;
	plans[0].serial_len = 0;
	plans[1].serial_len = 21;
	plans[2].serial[0] = 0;
	plans[3].serial[0] = 0x80;
	plans[3].serial_len = 20;
	plans[4].subject_der = junk;
	plans[5].spki = junk;
	plans[6].spki = ed_spki;
	plans[7].not_after = 1;
	plans[8].dns_names = bad_name;
	plans[9].ip_addresses = bad_address;
	plans[10].crl_url = "http://a b/";
	plans[11].purpose = CERT_PURPOSE_MAX;
	plans[12].not_after = INT64_C(253402300800);
	plans[13].dns_names = empty;
	plans[14].purpose = CERT_RA;
	plans[14].spki = ec;
	plans[15].emails = bad_email;
	plans[16].emails = two_ats;
	plans[17].ocsp_url = "http://a b/";
	plans[18].ca_issuers_url = "";
	plans[19].emails = empty;
	for (size_t i = 0; i < G_N_ELEMENTS(plans); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("plan %zu", i);
		g_assert_null(cert_build(&plans[i], NULL, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	}
}

static const char *access_url(const AUTHORITY_INFO_ACCESS *access, int i, int method_nid)
{
	const ACCESS_DESCRIPTION *description = sk_ACCESS_DESCRIPTION_value(access, i);

	g_assert_cmpint(OBJ_obj2nid(description->method), ==, method_nid);
	g_assert_cmpint(description->location->type, ==, GEN_URI);
	return (const char *)ASN1_STRING_get0_data(description->location->d.uniformResourceIdentifier);
}

static void test_build_options(void)
{
	const char *const emails[] = {"ann@example.org", NULL};
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "x", NULL), rsa = cert_spki_format(testkit_rsa(2048));
	struct cert_plan plan = {.purpose = CERT_ISSUING_CA, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = rsa, .not_before = 1, .not_after = 2,
	                         .no_encipherment = true, .emails = emails, .ocsp_url = "http://x/ocsp", .ca_issuers_url = "http://x/ca.cer"};
	g_autoptr(X509) built = cert_build(&plan, NULL, NULL);

	X509_sign(built, testkit_rsa(2048), EVP_sha256());
	g_autoptr(GBytes) der = cert_format_der(built);
	g_autoptr(X509) cert = cert_parse_der(DATA(der), NULL);
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
	STACK_OF(OPENSSL_STRING) *found = X509_get1_email(cert);

	g_assert_cmpuint(X509_get_key_usage(cert), ==, KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE);
	g_assert_cmpint(sk_ACCESS_DESCRIPTION_num(access), ==, 2);
	g_assert_cmpstr(access_url(access, 0, NID_ad_OCSP), ==, "http://x/ocsp");
	g_assert_cmpstr(access_url(access, 1, NID_ad_ca_issuers), ==, "http://x/ca.cer");
	g_assert_cmpint(sk_OPENSSL_STRING_num(found), ==, 1);
	g_assert_cmpstr(sk_OPENSSL_STRING_value(found, 0), ==, "ann@example.org");
	X509_email_free(found);
	AUTHORITY_INFO_ACCESS_free(access);
}

static const struct {
	const char *text, *rfc2253; /* what comes out, last first; NULL: refused */
	const char *says;           /* in the refusal */
} subjects[] = {
	{"CN=Ann", "CN=Ann"}, {"CN=Ann,O=Acme\\, Inc.,C=DE", "C=DE,O=Acme\\, Inc.,CN=Ann"}, {" cn = Ann , o = Acme ", "O=Acme,CN=Ann"},
	{"/CN=Ann/O=Acme, Inc.", "O=Acme\\, Inc.,CN=Ann"}, {"/CN=a\\/b", "CN=a/b"}, {"CN=a/b", "CN=a/b"}, {"CN=a\\+b", "CN=a\\+b"}, {"CN=a+UID=b,O=c", "O=c,UID=b+CN=a"},
	{"CN=J\\C3\\BCrgen", "CN=J\xc3\xbcrgen"}, {"CN=J\xc3\xbcrgen", "CN=J\xc3\xbcrgen"}, {"CN=a\\ ,O=b", "O=b,CN=a\\ "}, {"CN=\\#1,2.5.4.5=7", "serialNumber=7,CN=\\#1"},
	{"CN=a=b", "CN=a=b"}, {"SN=Doe,GN=Ann,T=Dr,E=ann@example.org,DC=org,STREET=x,ST=y,L=z,OU=u", "OU=u,L=z,ST=y,street=x,DC=org,emailAddress=ann@example.org,title=Dr,GN=Ann,SN=Doe"},
	{"", NULL, "attribute=value"}, {"/", NULL, "attribute=value"}, {"Ann", NULL, "Ann"}, {"CN=", NULL, "CN"}, {"CN=a,", NULL, "attribute=value"}, {"CN=a,,O=b", NULL, "attribute=value"},
	{"XX=a", NULL, "XX"}, {"sha256=a", NULL, "sha256"}, {"1.2.3=a", NULL, "1.2.3"}, {"1.2.840.113549.1.9.7=a", NULL, "1.2.840"}, {"=a", NULL, "\"\""}, {"CN=a\\", NULL, "CN"}, {"CN=\\x", NULL, "CN"},
	{"CN=\\00", NULL, "CN"}, {"CN=\\FF", NULL, "CN"}, {"O=\"Acme, Inc.\"", NULL, "O"}, {"CN=a;O=b", NULL, "CN"}, {"CN=#0401", NULL, "CN"}, {"C=DEU", NULL, "C"}, {"CN=\xff", NULL, "UTF-8"}, {"CN=a/O=b,O", NULL, "attribute=value"},
};

static void test_subject_text(void)
{
	g_autofree char *large = g_strnfill(4097, 'a');
	g_autoptr(GString) many = g_string_new("O=a");

	for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) der = cert_subject_parse_text(subjects[i].text, &error);

		g_test_message("subject %zu", i);
		if (!subjects[i].rfc2253) {
			g_assert_null(der);
			g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
			g_assert_nonnull(strstr(error->message, subjects[i].says));
			continue;
		}
		g_assert_no_error(error);
		const uint8_t *p = g_bytes_get_data(der, NULL);
		g_autoptr(X509_NAME) name = d2i_X509_NAME(NULL, &p, (long)g_bytes_get_size(der));
		g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
		char *text;

		X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
		long len = BIO_get_mem_data(bio, &text);

		g_assert_cmpmem(text, (size_t)len, subjects[i].rfc2253, strlen(subjects[i].rfc2253));
	}
	g_assert_null(cert_subject_parse_text(large, NULL));
	for (int i = 1; i < 32; i++)
		g_string_append(many, ",O=a");
	g_autoptr(GBytes) most = cert_subject_parse_text(many->str, NULL);

	g_assert_nonnull(most);
	g_string_append(many, ",O=a");
	g_assert_null(cert_subject_parse_text(many->str, NULL));
}

/* CN → certificate, from BEGIN to END of these days, as FORM says. */
enum { ROOT, SUB, SUB_SUB, LEAF, OTHER_ROOT, EXPIRED, FUTURE, NO_CA, SHA1_SUB, SHA1_LEAF, FORGED, WEAK, WEAK_LEAF, NO_CERT_SIGN, NODES };
enum { DAY = 86400, NOW = 1800000000 };
static const struct {
	const char *cn;
	int issuer, signed_by; /* -1: itself */
	int path_len;          /* -1: none; -2: no CA */
	int from, to;          /* days from NOW */
	bool sha1;
	unsigned bits;         /* 0: P-256 */
	const char *usage;
} nodes[NODES] = {
	[ROOT] = {"root", -1, ROOT, 1, -10, 10, true, 2048, NULL},
	[SUB] = {"sub", ROOT, ROOT, 0, -5, 5, false, 0, "keyCertSign,cRLSign"},
	[SUB_SUB] = {"sub sub", SUB, SUB, 0, -5, 5, false, 0, NULL},
	[LEAF] = {"leaf", SUB, SUB, -2, -1, 1, false, 0, "digitalSignature"},
	[OTHER_ROOT] = {"root", -1, OTHER_ROOT, -1, -10, 10, false, 2048, NULL},
	[EXPIRED] = {"expired", ROOT, ROOT, 0, -9, -8, false, 0, NULL},
	[FUTURE] = {"future", ROOT, ROOT, 0, 8, 9, false, 0, NULL},
	[NO_CA] = {"no ca", LEAF, LEAF, -2, -1, 1, false, 0, NULL},
	[SHA1_SUB] = {"sha1", ROOT, ROOT, 0, -5, 5, true, 0, NULL},
	[SHA1_LEAF] = {"sha1 leaf", SHA1_SUB, SHA1_SUB, -2, -1, 1, false, 0, NULL},
	[FORGED] = {"leaf", SUB, OTHER_ROOT, -2, -1, 1, false, 0, NULL},
	[WEAK] = {"weak", ROOT, ROOT, 0, -5, 5, false, 512, NULL},
	[WEAK_LEAF] = {"weak leaf", WEAK, WEAK, -2, -1, 1, false, 0, NULL},
	[NO_CERT_SIGN] = {"no cert sign", ROOT, ROOT, 0, -5, 5, false, 0, "cRLSign"},
};

static EVP_PKEY *node_key(int i)
{
	static EVP_PKEY *keys[NODES];

	if (!keys[i])
		keys[i] = nodes[i].bits ? EVP_RSA_gen(nodes[i].bits) : EVP_EC_gen("P-256");
	return keys[i];
}

static void add_text_extension(X509 *cert, int nid, const char *text)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, text);

	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
}

static X509 *make_node(int i, X509 *const *made)
{
	X509 *issuer = nodes[i].issuer < 0 ? NULL : made[nodes[i].issuer];
	g_autoptr(X509) cert = testkit_cert(node_key(i), nodes[i].cn, i + 1, issuer, node_key(nodes[i].signed_by));
	g_autofree char *constraints = nodes[i].path_len >= 0 ? g_strdup_printf("critical,CA:TRUE,pathlen:%d", nodes[i].path_len) : g_strdup("critical,CA:TRUE");

	ASN1_TIME_set(X509_getm_notBefore(cert), NOW + nodes[i].from * DAY);
	ASN1_TIME_set(X509_getm_notAfter(cert), NOW + nodes[i].to * DAY);
	add_text_extension(cert, NID_basic_constraints, nodes[i].path_len == -2 ? "CA:FALSE" : constraints);
	if (nodes[i].usage)
		add_text_extension(cert, NID_key_usage, nodes[i].usage);
	X509_sign(cert, node_key(nodes[i].signed_by), nodes[i].sha1 ? EVP_sha1() : EVP_sha256());
	return g_steal_pointer(&cert);
}

#define NONE (-1)
static const struct {
	const char *name;
	int leaf, intermediates[3], root;
	bool ca_leaf;
	int code; /* 0: fine */
	const char *says;
} chains[] = {
	{"two levels", LEAF, {SUB, NONE}, ROOT, false, 0},
	{"more than needed", LEAF, {OTHER_ROOT, EXPIRED, SUB}, ROOT, false, 0},
	{"root of itself", ROOT, {NONE}, ROOT, true, 0},
	{"sub is a CA", SUB, {NONE}, ROOT, true, 0},
	{"anchor need not be a root", LEAF, {NONE}, SUB, false, 0},
	{"intermediate missing", LEAF, {NONE}, ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=leaf\" (serial number 04)"},
	{"root of the same name", SUB, {NONE}, OTHER_ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=sub\""},
	{"no anchor", SUB, {ROOT, NONE}, NONE, false, POM_ERR_CERT_UNTRUSTED, "\"CN=root\""},
	{"leaf is no CA", LEAF, {SUB, NONE}, ROOT, true, POM_ERR_CERT_UNTRUSTED, "\"CN=leaf\""},
	{"issued by a leaf", NO_CA, {LEAF, SUB, NONE}, ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=leaf\""},
	{"no room for a CA", SUB_SUB, {SUB, NONE}, ROOT, true, POM_ERR_CERT_UNTRUSTED, "\"CN=sub\""},
	{"as a mere leaf it fits", SUB_SUB, {SUB, NONE}, ROOT, false, 0},
	{"expired", EXPIRED, {NONE}, ROOT, false, POM_ERR_CERT_EXPIRED, "\"CN=expired\""},
	{"not yet", FUTURE, {NONE}, ROOT, true, POM_ERR_CERT_EXPIRED, "\"CN=future\""},
	{"SHA-1 of the anchor does not matter, of others does", SHA1_LEAF, {SHA1_SUB, NONE}, ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=sha1\""},
	{"forged", FORGED, {SUB, NONE}, ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=leaf\" (serial number 0B)"},
	{"weak", WEAK_LEAF, {WEAK, NONE}, ROOT, false, POM_ERR_CERT_UNTRUSTED, "\"CN=weak\""},
	{"no keyCertSign", NO_CERT_SIGN, {NONE}, ROOT, true, POM_ERR_CERT_UNTRUSTED, "\"CN=no cert sign\""},
};

static void test_chain(void)
{
	X509 *made[NODES];
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < NODES; i++)
		made[i] = make_node(i, made);
	for (size_t i = 0; i < G_N_ELEMENTS(chains); i++) {
		X509 *intermediates[3];
		size_t n = 0;

		while (n < G_N_ELEMENTS(intermediates) && chains[i].intermediates[n] != NONE) {
			intermediates[n] = made[chains[i].intermediates[n]];
			n++;
		}
		bool ok = cert_chain_verify(made[chains[i].leaf], intermediates, n, &made[MAX(chains[i].root, 0)], chains[i].root != NONE, NOW, chains[i].ca_leaf, &error);

		g_test_message("%s: %s", chains[i].name, error ? error->message : "fine");
		g_assert_true(ok == !chains[i].code);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
		if (!ok) {
			g_assert_error(error, POM_ERROR, chains[i].code);
			g_assert_nonnull(strstr(error->message, chains[i].says));
		}
		g_clear_error(&error);
	}
	/* The time given is what counts: the anchor's own dates too. */
	g_assert_false(cert_chain_verify(made[ROOT], NULL, 0, &made[ROOT], 1, NOW + 11 * DAY, true, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_EXPIRED);
	g_assert_false(cert_chain_verify(made[ROOT], NULL, 0, made, CERT_CHAIN_MAX + 1, NOW, true, NULL));
	for (int i = 0; i < NODES; i++)
		X509_free(made[i]);
}

/* What cannot be renewed is judged by everything but its dates, SHA-1 and 1,024 bits. */
static void test_ageless_chain(void)
{
	static const struct { const char *name; int leaf, intermediates[3], root; bool ok; } cases[] = {
		{"two levels", LEAF, {SUB, NONE}, ROOT, true}, {"expired", EXPIRED, {NONE}, ROOT, true}, {"not yet", FUTURE, {NONE}, ROOT, true}, {"SHA-1", SHA1_LEAF, {SHA1_SUB, NONE}, ROOT, true},
		{"anchor need not be a root", LEAF, {NONE}, SUB, true}, {"intermediate missing", LEAF, {NONE}, ROOT, false}, {"root of the same name", SUB, {NONE}, OTHER_ROOT, false},
		{"issued by a leaf", NO_CA, {LEAF, SUB, NONE}, ROOT, false}, {"forged", FORGED, {SUB, NONE}, ROOT, false}, {"512 bits", WEAK_LEAF, {WEAK, NONE}, ROOT, false}, {"no anchor", SUB, {ROOT, NONE}, NONE, false},
	};
	X509 *made[NODES];
	g_autoptr(GBytes) der = NULL;
	g_autoptr(X509) md5 = NULL;

	for (int i = 0; i < NODES; i++)
		made[i] = make_node(i, made);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		X509 *intermediates[3];
		g_autoptr(GError) error = NULL;
		size_t n = 0;

		while (n < G_N_ELEMENTS(intermediates) && cases[i].intermediates[n] != NONE) {
			intermediates[n] = made[cases[i].intermediates[n]];
			n++;
		}
		g_test_message("%s", cases[i].name);
		g_assert_cmpint(cert_chain_verify_ageless(made[cases[i].leaf], intermediates, n, &made[MAX(cases[i].root, 0)], cases[i].root != NONE, &error), ==, cases[i].ok);
		if (!cases[i].ok)
			g_assert_error(error, POM_ERROR, POM_ERR_CERT_UNTRUSTED);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
	}
	g_assert_false(cert_chain_verify_ageless(made[LEAF], NULL, 0, made, CERT_CHAIN_MAX + 1, NULL));
	/* MD5 is older than any excuse. */
	g_assert_cmpint(X509_sign(made[EXPIRED], node_key(ROOT), EVP_md5()), >, 0);
	der = cert_format_der(made[EXPIRED]);
	md5 = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);
	g_assert_false(cert_chain_verify_ageless(md5, NULL, 0, &made[ROOT], 1, NULL));
	for (int i = 0; i < NODES; i++)
		X509_free(made[i]);
}

static void test_name(void)
{
	static const struct {
		const char *attribute, *value;
		bool good;
	} cases[] = {
		{"CN", "0123456789012345678901234567890123456789012345678901234567890123", true}, {"CN", "01234567890123456789012345678901234567890123456789012345678901234", false},
		{"2.5.4.5", "C02XYZ", true}, {"UID", "com.apple.mgmt.External.1", true}, {"C", "DE", true}, {"C", "DEU", false}, {"CN", "", false}, {"CN", "\xff", false},
		{"nonsense", "x", false}, {"1.2.3.4.5.6", "x", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) name = cert_name_format(&error, cases[i].attribute, cases[i].value, NULL);

		g_test_message("case %zu", i);
		g_assert_true((name != NULL) == cases[i].good);
		g_assert_true(name || g_error_matches(error, POM_ERROR, POM_ERR_CERT_MALFORMED));
	}
}

/* The modulus of a good key with another exponent. */
static EVP_PKEY *with_exponent(const char *hex)
{
	BIGNUM *n = NULL, *e = NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *key = NULL;

	g_assert_true(EVP_PKEY_get_bn_param(testkit_rsa(2048), OSSL_PKEY_PARAM_RSA_N, &n) && BN_hex2bn(&e, hex));
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);

	g_assert_true(EVP_PKEY_fromdata_init(ctx) > 0 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) > 0);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(ctx);
	BN_free(n);
	BN_free(e);
	return key;
}

static void test_exponents(void)
{
	static const struct {
		const char *hex;
		bool good;
	} cases[] = {
		{"3", false}, {"FFFF", false}, {"10000", false}, {"10001", true}, {"10002", false}, {"FFFFFFFF", true}, {"100000001", true}, {"8000000000000001", true},
		{"FFFFFFFFFFFFFFFF", true}, {"FFFFFFFFFFFFFFFE", false}, {"10000000000000001", false}, {"100000000000000000000000000010001", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		EVP_PKEY *key = with_exponent(cases[i].hex);
		g_autoptr(GError) error = NULL;

		g_test_message("exponent %s", cases[i].hex);
		g_assert_true(cert_key_check(key, &error) == cases[i].good);
		g_assert_true(cases[i].good || g_error_matches(error, POM_ERROR, POM_ERR_KEY_WEAK));
		EVP_PKEY_free(key);
	}
}

static void test_issued_by(void)
{
	EVP_PKEY *key = testkit_rsa(2048);
	g_autoptr(X509) ca = testkit_cert(key, "CA", 1, NULL, NULL), other = testkit_cert(testkit_rsa(1024), "CA", 1, NULL, NULL);
	g_autoptr(X509) leaf = testkit_cert(testkit_ec("P-256"), "leaf", 2, ca, key), forged = testkit_cert(testkit_ec("P-256"), "leaf", 2, ca, testkit_rsa(1024));
	g_autoptr(X509) no_sign = build(CERT_DEVICE, true, "CA", NULL, NULL), md5 = testkit_cert(testkit_ec("P-256"), "leaf", 2, ca, key);

	X509_sign(md5, key, EVP_md5());
	g_assert_true(cert_is_issued_by(leaf, ca));
	g_assert_true(cert_is_issued_by(ca, ca));
	g_assert_true(cert_is_signed_by(leaf, ca));
	g_assert_false(cert_is_signed_by(leaf, other));
	g_assert_false(cert_is_signed_by(forged, ca));
	g_assert_false(cert_is_issued_by(leaf, other));
	g_assert_false(cert_is_issued_by(forged, ca));
	g_assert_false(cert_is_issued_by(md5, ca));
	g_assert_false(cert_is_issued_by(ca, leaf));
	/* The key usage of the issuer does not matter here. */
	g_assert_true(cert_is_issued_by(leaf, no_sign));
}

struct request_form {
	const char *name;
	int version, n_challenges;
	const char *challenge;
	bool two_values, extensions;
	const EVP_MD *(*md)(void);
	EVP_PKEY *(*key)(void);
	int code;
};

static EVP_PKEY *rsa1024(void) { return testkit_rsa(1024); }
static EVP_PKEY *rsa512(void) { return testkit_rsa(512); }
static EVP_PKEY *rsa2048(void) { return testkit_rsa(2048); }
static EVP_PKEY *p256(void) { return testkit_ec("P-256"); }
static EVP_PKEY *p521(void) { return testkit_ec("P-521"); }
static EVP_PKEY *k256(void) { return testkit_ec("secp256k1"); }

static EVP_PKEY *explicit_p256(void)
{
	static EVP_PKEY *key;

	if (!key)
		key = EVP_PKEY_dup(testkit_ec("P-256"));
	EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit");
	return key;
}

static EVP_PKEY *rsa_e3(void)
{
	static EVP_PKEY *key;
	g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

	if (!key && EVP_PKEY_keygen_init(ctx) && EVP_PKEY_CTX_ctrl_str(ctx, "rsa_keygen_bits", "1024") && EVP_PKEY_CTX_ctrl_str(ctx, "rsa_keygen_pubexp", "3"))
		EVP_PKEY_keygen(ctx, &key);
	return key;
}

static EVP_PKEY *ed25519(void)
{
	static EVP_PKEY *key;

	if (!key)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return key;
}

static const EVP_MD *no_digest(void) { return NULL; }

static const struct request_form requests[] = {
	{"Apple", 2, 1, "secret", false, false, EVP_sha1, rsa1024, 0},
	{"plain", 0, 0, NULL, false, false, EVP_sha256, rsa2048, 0},
	{"extensions", 0, 1, "J\xc3\xbcrgen", false, true, EVP_sha512, p256, 0},
	{"P-521", 1, 0, NULL, false, false, EVP_sha384, p521, 0},
	{"version 3", 3, 0, NULL, false, false, EVP_sha256, rsa2048, POM_ERR_CSR_MALFORMED},
	{"two challenges", 0, 2, "secret", false, false, EVP_sha256, rsa2048, POM_ERR_CSR_MALFORMED},
	{"two values", 0, 1, "secret", true, false, EVP_sha256, rsa2048, POM_ERR_CSR_MALFORMED},
	{"MD5", 0, 0, NULL, false, false, EVP_md5, rsa2048, POM_ERR_CSR_SIGNATURE},
	{"512 bits", 0, 0, NULL, false, false, EVP_sha256, rsa512, POM_ERR_KEY_WEAK},
	{"exponent 3", 0, 0, NULL, false, false, EVP_sha256, rsa_e3, POM_ERR_KEY_WEAK},
	{"secp256k1", 0, 0, NULL, false, false, EVP_sha256, k256, POM_ERR_KEY_WEAK},
	{"explicit curve", 0, 0, NULL, false, false, EVP_sha256, explicit_p256, POM_ERR_KEY_WEAK},
	{"Ed25519", 0, 0, NULL, false, false, no_digest, ed25519, POM_ERR_KEY_WEAK},
};

static GBytes *signed_request(X509_REQ *req, EVP_PKEY *key, const EVP_MD *md)
{
	uint8_t *der = NULL;

	g_assert_cmpint(X509_REQ_sign(req, key, md), >, 0);
	int len = i2d_X509_REQ(req, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	return bytes;
}

/* unstructuredName becomes a second challengePassword, which OpenSSL does not add itself. */
static void rename_attribute(X509_REQ **req, EVP_PKEY *key, const EVP_MD *md)
{
	static const uint8_t from[] = {0x86, 0xf7, 0x0d, 1, 9, 2}, to[] = {0x86, 0xf7, 0x0d, 1, 9, 7};
	g_autoptr(GBytes) der = signed_request(*req, key, md), renamed = testkit_replace(der, from, to, sizeof(from));
	const uint8_t *p = g_bytes_get_data(renamed, NULL);

	X509_REQ_free(*req);
	*req = d2i_X509_REQ(NULL, &p, (long)g_bytes_get_size(renamed));
}

static GBytes *make_request(const struct request_form *form)
{
	g_autoptr(X509_REQ) req = X509_REQ_new();

	X509_REQ_set_version(req, form->version);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8, (const uint8_t *)"com.apple.security.scep.1", -1, -1, 0);
	X509_REQ_set_pubkey(req, form->key());
	for (int i = 0; i < form->n_challenges; i++) {
		X509_ATTRIBUTE *attribute = X509_ATTRIBUTE_create_by_NID(NULL, i ? NID_pkcs9_unstructuredName : NID_pkcs9_challengePassword, V_ASN1_UTF8STRING, form->challenge, (int)strlen(form->challenge));

		if (form->two_values)
			X509_ATTRIBUTE_set1_data(attribute, V_ASN1_UTF8STRING, "other", 5);
		X509_REQ_add1_attr(req, attribute);
		X509_ATTRIBUTE_free(attribute);
	}
	if (form->extensions) {
		STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();

		sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "digitalSignature"));
		X509_REQ_add_extensions(req, extensions);
		sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	}
	if (form->n_challenges > 1)
		rename_attribute(&req, form->key(), form->md());
	return signed_request(req, form->key(), form->md());
}

/* A known key is used for its own bytes, and never for those of another. */
static void check_known(GBytes *bytes, EVP_PKEY *own)
{
	EVP_PKEY *other = testkit_rsa(1024);
	g_autoptr(GBytes) own_spki = cert_spki_format(own), other_spki = cert_spki_format(other);
	g_autoptr(csr) same = csr_parse_known(DATA(bytes), own_spki, own, NULL), unlike = csr_parse_known(DATA(bytes), other_spki, other, NULL);
	g_autoptr(csr) without = csr_parse_known(DATA(bytes), own_spki, NULL, NULL), confused = csr_parse_known(DATA(bytes), own_spki, EVP_PKEY_eq(own, other) == 1 ? testkit_rsa(2048) : other, NULL);

	g_assert_true(same && unlike && without && !confused);
	g_assert_true(g_bytes_equal(same->spki, own_spki) && g_bytes_equal(unlike->spki, own_spki) && g_bytes_equal(without->spki, own_spki));
}

static void test_requests(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
		const struct request_form *form = &requests[i];
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) bytes = make_request(form);
		g_autoptr(csr) csr = csr_parse(DATA(bytes), &error);

		g_test_message("%s", form->name);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
		if (form->code) {
			g_assert_null(csr);
			g_assert_error(error, POM_ERROR, form->code);
			continue;
		}
		g_assert_no_error(error);
		g_autoptr(GBytes) spki = cert_spki_format(form->key());

		g_assert_true(g_bytes_equal(csr->spki, spki));
		check_known(bytes, form->key());
		g_assert_cmpint(csr->key_bits, ==, EVP_PKEY_get_bits(form->key()));
		g_assert_cmpint(csr->signature_digest_nid, ==, EVP_MD_get_type(form->md()));
		g_assert_cmpstr(csr->common_name, ==, "com.apple.security.scep.1");
		g_assert_cmpstr(csr->subject, ==, "CN=com.apple.security.scep.1");
		g_assert_cmpstr(csr->challenge, ==, form->challenge);
		g_assert_true((csr->extensions != NULL) == form->extensions);
		/* The proof of possession, and everything it covers. */
		for (gssize k = 0; k < (gssize)g_bytes_get_size(bytes); k += 7) {
			g_autoptr(GBytes) bad = testkit_flip(bytes, k);

			g_assert_null(csr_parse(DATA(bad), NULL));
		}
		for (gsize n = 0; n < g_bytes_get_size(bytes); n += 11)
			g_assert_null(csr_parse(g_bytes_get_data(bytes, NULL), n, NULL));
	}
	g_autoptr(GError) error = NULL;

	g_assert_null(csr_parse("", 0, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CSR_MALFORMED);
}

static EVP_PKEY *rsa_pss(void)
{
	static EVP_PKEY *key;
	g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);

	if (!key && EVP_PKEY_keygen_init(ctx) && EVP_PKEY_CTX_ctrl_str(ctx, "rsa_keygen_bits", "1024"))
		EVP_PKEY_keygen(ctx, &key);
	return key;
}

/* Our reading of a key and that of OpenSSL's decoder. */
static void assert_same_key(const void *der, size_t len)
{
	const uint8_t *p = der;
	g_autoptr(spki) spki = spki_parse(der, len);
	g_autoptr(EVP_PKEY) ours = spki ? spki_decode(spki) : NULL, theirs = d2i_PUBKEY(NULL, &p, (long)len);

	if (p != (const uint8_t *)der + len)
		g_clear_pointer(&theirs, EVP_PKEY_free);
	ERR_clear_error();
	g_assert_true((ours != NULL) == (theirs != NULL));
	g_assert_true(!ours || (EVP_PKEY_eq(ours, theirs) == 1 && EVP_PKEY_get_base_id(ours) == EVP_PKEY_get_base_id(theirs) && EVP_PKEY_get_bits(ours) == EVP_PKEY_get_bits(theirs)));
	ERR_clear_error();
}

/* A key must mean the same whether the fast reader takes it or not: whole ones, and all that one wrong bit makes of them. */
static void test_public_keys(void)
{
	/* An RSA key of 16 bits in forms of its own: parameters missing, a negative modulus, bytes behind the key, BER, unused bits, exponent 0. */
	static const struct {
		size_t len;
		uint8_t der[48];
	} odd[] = {
		{24, {0x30, 0x16, 0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 3, 7, 0, 0x30, 4, 2, 1, 0x23, 2}},
		{27, {0x30, 0x19, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 8, 0, 0x30, 6, 2, 1, 0xa3, 2, 1}},
		{30, {0x30, 0x1c, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 0x0b, 0, 0x30, 6, 2, 1, 0x23, 2, 1, 3, 0, 0}},
		{30, {0x30, 0x1c, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 0x0b, 0, 0x30, 0x80, 2, 1, 0x23, 2, 1, 3, 0, 0}},
		{28, {0x30, 0x1a, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 9, 0, 0x30, 6, 2, 1, 0xa3, 2, 1, 3}},
		{28, {0x30, 0x1a, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 9, 0, 0x30, 6, 2, 1, 0x23, 2, 1, 0}},
		{28, {0x30, 0x1a, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 9, 4, 0x30, 6, 2, 1, 0x23, 2, 1, 0x10}},
		{26, {0x30, 0x18, 0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 3, 9, 0, 0x30, 6, 2, 1, 0x23, 2, 1, 3}},
	};
	EVP_PKEY *const keys[] = {rsa1024(), rsa2048(), rsa_e3(), rsa_pss(), p256(), p521(), k256(), explicit_p256(), ed25519()};

	for (size_t i = 0; i < G_N_ELEMENTS(odd); i++)
		assert_same_key(odd[i].der, odd[i].len);
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autoptr(GBytes) der = cert_spki_format(keys[i]);
		g_autofree uint8_t *copy = g_memdup2(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
		gsize len = g_bytes_get_size(der), step = i == 0 ? 1 : 13;

		assert_same_key(copy, len);
		for (gsize bit = 0; bit < 8 * len; bit += step) {
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_same_key(copy, len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* Whether OpenSSL takes the bytes for a request and its signature for good. */
static bool openssl_reads(const uint8_t *data, size_t len, bool *ret_verified)
{
	const uint8_t *p = data;
	g_autoptr(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)len);
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;

	*ret_verified = key && X509_REQ_verify(req, key) == 1;
	ERR_clear_error();
	return req && p == data + len;
}

/* As with keys: what OpenSSL's own type reads, ours reads, and nothing else. */
static void test_request_structure(void)
{
	static const size_t forms[] = {0, 2};

	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_autoptr(GBytes) bytes = make_request(&requests[forms[i]]);
		gsize len = g_bytes_get_size(bytes);
		g_autofree uint8_t *copy = g_memdup2(g_bytes_get_data(bytes, NULL), len);

		for (gsize bit = 0; bit < 8 * len; bit++) {
			g_autoptr(GError) error = NULL;
			bool verified;

			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			bool reads = openssl_reads(copy, len, &verified);
			g_autoptr(csr) csr = csr_parse(copy, len, &error);

			g_assert_true(reads == !(error && strstr(error->message, "not one certification request")));
			g_assert_true(!csr || verified);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	/* No attributes at all, in a wrong encoding that OpenSSL takes: once more with a good signature. */
	g_autoptr(GBytes) plain = make_request(&requests[1]);
	const uint8_t *data = g_bytes_get_data(plain, NULL);
	g_autoptr(signed_object) whole = signed_object_parse(DATA(plain));
	ASN1_STRING *tbs = whole->tbs->value.sequence;

	g_assert_true(data && tbs->data[tbs->length - 2] == 0xa0 && tbs->data[tbs->length - 1] == 0 && tbs->data[1] == 0x82);
	g_autofree uint8_t *cut = g_memdup2(tbs->data, (gsize)tbs->length - 2);

	cut[3] = (uint8_t)(cut[3] - 2);
	g_autoptr(GBytes) cut_tbs = g_bytes_new(cut, (gsize)tbs->length - 2);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t signature_len = sizeof(signature);
	bool verified;

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, rsa2048());
	g_assert_true(EVP_DigestSign(ctx, signature, &signature_len, DATA(cut_tbs)) == 1);
	g_autoptr(GBytes) without = signed_object_format(cut_tbs, NID_sha256WithRSAEncryption, signature, signature_len);
	g_autoptr(csr) csr = csr_parse(DATA(without), NULL);

	g_assert_true(openssl_reads(DATA(without), &verified) && verified && csr);
}

static void test_hex(void)
{
	g_autofree char *text = hex_format("\x00\xab\xff", 3);
	g_autoptr(GBytes) bytes = hex_parse("00ABff"), none = hex_parse("");

	g_assert_cmpstr(text, ==, "00abff");
	g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "\x00\xab\xff", 3);
	g_assert_cmpuint(g_bytes_get_size(none), ==, 0);
	g_assert_true(!hex_parse("0") && !hex_parse("0g") && !hex_parse("00 0"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cert/parse", test_parse);
	g_test_add_func("/cert/info", test_info);
	g_test_add_func("/cert/build", test_build);
	g_test_add_func("/cert/build-refused", test_build_refused);
	g_test_add_func("/cert/build-options", test_build_options);
	g_test_add_func("/cert/subject-text", test_subject_text);
	g_test_add_func("/cert/chain", test_chain);
	g_test_add_func("/cert/chain-ageless", test_ageless_chain);
	g_test_add_func("/cert/name", test_name);
	g_test_add_func("/cert/issued-by", test_issued_by);
	g_test_add_func("/cert/exponents", test_exponents);
	g_test_add_func("/cert/requests", test_requests);
	g_test_add_func("/cert/request-structure", test_request_structure);
	g_test_add_func("/cert/public-keys", test_public_keys);
	g_test_add_func("/cert/hex", test_hex);
	return g_test_run();
}
