#include "codec/crl.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "codec/signed.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
enum { NOW = 1800000000 };

static GBytes *evp_sign(EVP_PKEY *key, GBytes *tbs)
{
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(tbs)) == 1);
	return signed_object_format(tbs, signature_nid_for(key, NID_sha256), signature, len);
}

static GBytes *make(const struct crl_plan *plan, EVP_PKEY *key, X509 *issuer)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) tbs = crl_tbs_format(plan, issuer, signature_nid_for(key, NID_sha256), &error);

	g_assert_no_error(error);
	return evp_sign(key, tbs);
}

static const struct crl_entry entries[] = {
	{"00FF", NOW - 5, 1}, {"0A", NOW - 6, -1}, {"0123456789ABCDEF0123456789abcdef01234567", INT64_C(2600000000), 0}, {"80", NOW - 7, 10}, {"01", NOW, 6},
};

/* Read by OpenSSL and by our own reader. */
static void test_round(void)
{
	EVP_PKEY *const keys[] = {testkit_rsa(2048), testkit_ec("P-256")};
	static const int reasons[] = {1, -1, -1, 10, 6};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autoptr(X509) issuer = testkit_cert(keys[i], "CA", 7, NULL, NULL), other = testkit_cert(testkit_rsa(1024), "CA", 7, NULL, NULL), named = testkit_cert(keys[i], "CB", 7, NULL, NULL);
		struct crl_plan plan = {.number = INT64_C(0x123456789a), .this_update = NOW, .next_update = NOW + 86400, .entries = entries, .n = G_N_ELEMENTS(entries)};
		g_autoptr(GBytes) der = make(&plan, keys[i], issuer);
		g_autoptr(GError) error = NULL;
		g_autoptr(crl_info) info = crl_parse(DATA(der), &error);

		g_assert_no_error(error);
		g_assert_cmpint(info->number, ==, plan.number);
		g_assert_cmpint(info->this_update, ==, NOW);
		g_assert_cmpint(info->next_update, ==, NOW + 86400);
		g_assert_cmpuint(info->n, ==, plan.n);
		g_assert_cmpmem(g_bytes_get_data(info->key_id, NULL), g_bytes_get_size(info->key_id), ASN1_STRING_get0_data(X509_get0_subject_key_id(issuer)), 20);
		g_assert_true(crl_is_issued_by(info, issuer) && !crl_is_issued_by(info, other) && !crl_is_issued_by(info, named));
		g_assert_cmpint(X509_CRL_get_version(info->crl), ==, X509_CRL_VERSION_2);
		g_assert_cmpint(X509_NAME_cmp(X509_CRL_get_issuer(info->crl), X509_get_subject_name(issuer)), ==, 0);
		STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(info->crl);

		for (size_t k = 0; k < plan.n; k++) {
			X509_REVOKED *one = sk_X509_REVOKED_value(revoked, (int)k);
			ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(one, NID_crl_reason, NULL, NULL);
			struct tm tm;

			g_assert_cmpint(reason ? ASN1_ENUMERATED_get(reason) : -1, ==, reasons[k]);
			g_assert_true(ASN1_TIME_to_tm(X509_REVOKED_get0_revocationDate(one), &tm) && timegm(&tm) == entries[k].revoked_at);
			ASN1_ENUMERATED_free(reason);
		}
		for (size_t k = 0; k < plan.n; k++)
			g_assert_true(crl_has(info, entries[k].serial));
		g_assert_true(crl_has(info, "FF") && !crl_has(info, "02") && !crl_has(info, "8000") && !crl_has(info, "zz") && !crl_has(info, ""));
		g_autoptr(GBytes) again = evp_sign(keys[i], der);

		g_assert_null(crl_parse(DATA(again), NULL));
		g_autoptr(GBytes) damaged = testkit_flip(der, -1);
		g_autoptr(crl_info) forged = crl_parse(DATA(damaged), NULL);

		g_assert_true(forged && !crl_is_issued_by(forged, issuer));
	}
}

static void test_empty(void)
{
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL);
	struct crl_plan plan = {.number = 0, .this_update = 0, .next_update = INT64_C(4000000000)};
	g_autoptr(GBytes) der = make(&plan, testkit_ec("P-256"), issuer);
	g_autoptr(crl_info) info = crl_parse(DATA(der), NULL);

	g_assert_cmpint(info->number, ==, 0);
	g_assert_cmpint(info->next_update, ==, INT64_C(4000000000));
	g_assert_cmpuint(info->n, ==, 0);
	g_assert_null(X509_CRL_get_REVOKED(info->crl));
	g_assert_false(crl_has(info, "01"));
}

static void test_refused(void)
{
	static const struct crl_entry bad[] = {
		{"", NOW, -1}, {"0", NOW, -1}, {"0x", NOW, -1}, {"-01", NOW, -1}, {"0123456789ABCDEF0123456789abcdef0123456789", NOW, -1}, {"01", INT64_MAX, -1},
		{"01", NOW, 7}, {"01", NOW, 8}, {"01", NOW, 11},
	};
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL);
	struct crl_plan plans[G_N_ELEMENTS(bad) + 4];

	for (size_t i = 0; i < G_N_ELEMENTS(plans); i++)
		plans[i] = (struct crl_plan){.number = 1, .this_update = 1, .next_update = 2, .entries = &bad[i], .n = i < G_N_ELEMENTS(bad)};
	plans[G_N_ELEMENTS(bad)].number = -1;
	plans[G_N_ELEMENTS(bad) + 1].next_update = 1;
	plans[G_N_ELEMENTS(bad) + 2].next_update = INT64_MAX;
	plans[G_N_ELEMENTS(bad) + 3].n = CRL_ENTRIES_MAX + 1;
	for (size_t i = 0; i < G_N_ELEMENTS(plans); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("plan %zu", i);
		g_assert_null(crl_tbs_format(&plans[i], issuer, NID_ecdsa_with_SHA256, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	}
}

/* Lists that OpenSSL makes, as other CAs do. */
static GBytes *foreign(int critical_nid, const EVP_MD *md)
{
	g_autoptr(X509) issuer = testkit_cert(testkit_rsa(1024), "CA", 7, NULL, NULL);
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = ASN1_TIME_set(NULL, NOW);
	uint8_t *der = NULL;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, now);
	if (critical_nid) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, critical_nid, "critical,onlyuser:TRUE");

		X509_CRL_add_ext(crl, extension, -1);
		X509_EXTENSION_free(extension);
	}
	X509_CRL_sign(crl, testkit_rsa(1024), md);
	int len = i2d_X509_CRL(crl, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
	return bytes;
}

static void test_foreign(void)
{
	g_autoptr(GBytes) plain = foreign(0, EVP_sha1()), md5 = foreign(0, EVP_md5()), partial = foreign(NID_issuing_distribution_point, EVP_sha256());
	g_autoptr(X509) issuer = testkit_cert(testkit_rsa(1024), "CA", 7, NULL, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(crl_info) info = crl_parse(DATA(plain), &error), weak = crl_parse(DATA(md5), NULL);

	g_assert_no_error(error);
	g_assert_cmpint(info->number, ==, -1);
	g_assert_cmpint(info->next_update, ==, -1);
	g_assert_null(info->key_id);
	g_assert_true(crl_is_issued_by(info, issuer));
	g_assert_true(weak && !crl_is_issued_by(weak, issuer));
	g_assert_null(crl_parse(DATA(partial), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	for (gsize n = 0; n < g_bytes_get_size(plain); n += 3)
		g_assert_null(crl_parse(g_bytes_get_data(plain, NULL), n, NULL));
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

/* 100,000 entries: seconds and memory must not explode. */
static void test_large(void)
{
	enum { N = 100000, SERIAL_LEN = 33 };
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL);
	g_autofree struct crl_entry *many = g_new(struct crl_entry, N);
	g_autofree char *serials = g_malloc((size_t)N * SERIAL_LEN);

	for (size_t i = 0; i < N; i++) {
		g_snprintf(serials + i * SERIAL_LEN, SERIAL_LEN, "7F%030zX", i * 7919 % N);
		many[i] = (struct crl_entry){serials + i * SERIAL_LEN, NOW + (int64_t)i, (int)(i % 7)};
	}
	struct crl_plan plan = {.number = 5, .this_update = NOW, .next_update = NOW + 1, .entries = many, .n = N};
	int64_t start = g_get_monotonic_time();
	g_autoptr(GBytes) der = make(&plan, testkit_ec("P-256"), issuer);
	int64_t took_us = g_get_monotonic_time() - start;

	g_test_message("%.2f us and %zu bytes an entry", (double)took_us / N, g_bytes_get_size(der) / N);
	g_assert_cmpint(took_us, <, 5 * G_USEC_PER_SEC);
	g_autoptr(crl_info) info = crl_parse(DATA(der), NULL);

	g_assert_true(info && info->n == N && crl_is_issued_by(info, issuer));
	for (size_t i = 0; i < N; i += 997)
		g_assert_true(crl_has(info, serials + i * SERIAL_LEN));
	g_assert_false(crl_has(info, "7F0000000000000000000000000186A0"));
}

static void test_signature_nid(void)
{
	g_autoptr(EVP_PKEY) ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	g_assert_cmpint(signature_nid_for(testkit_rsa(1024), NID_sha256), ==, NID_sha256WithRSAEncryption);
	g_assert_cmpint(signature_nid_for(testkit_ec("P-384"), NID_sha384), ==, NID_ecdsa_with_SHA384);
	g_assert_cmpint(signature_nid_for(ed, NID_sha256), ==, NID_undef);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/crl/round", test_round);
	g_test_add_func("/crl/empty", test_empty);
	g_test_add_func("/crl/refused", test_refused);
	g_test_add_func("/crl/foreign", test_foreign);
	g_test_add_func("/crl/large", test_large);
	g_test_add_func("/crl/signature-nid", test_signature_nid);
	return g_test_run();
}
