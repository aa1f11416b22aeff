#include "codec/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"
#include "codec/percent.h"
#include "codec/signed.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

typedef OCSP_REQUEST ocsp_req;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ocsp_req, OCSP_REQUEST_free)
typedef OCSP_RESPONSE ocsp_resp;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ocsp_resp, OCSP_RESPONSE_free)
typedef OCSP_BASICRESP ocsp_basic;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ocsp_basic, OCSP_BASICRESP_free)

enum { NOW = 1800000000 };

static GBytes *req_bytes(OCSP_REQUEST *req)
{
	uint8_t *der = NULL;
	int len = i2d_OCSP_REQUEST(req, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	return bytes;
}

static void add_ids(OCSP_REQUEST *req, X509 *issuer, const EVP_MD *md, int n)
{
	g_autoptr(ASN1_INTEGER) serial = ASN1_INTEGER_new();

	for (int i = 0; i < n; i++) {
		ASN1_INTEGER_set(serial, 0xff00 + i);
		OCSP_request_add0_id(req, OCSP_cert_id_new(md, X509_get_subject_name(issuer), X509_get0_pubkey_bitstr(issuer), serial));
	}
}

/* An OCTET STRING of LEN bytes, or raw bytes without one, as the nonce. */
static void add_nonce(OCSP_REQUEST *req, size_t len, bool raw, bool critical)
{
	static uint8_t der[300] = {4, 0};
	g_autoptr(ASN1_OCTET_STRING) value = ASN1_OCTET_STRING_new();

	der[1] = (uint8_t)len;
	memset(der + 2, 'n', len);
	ASN1_OCTET_STRING_set(value, raw ? der + 2 : der, (int)(raw ? len : len + 2));
	X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_id_pkix_OCSP_Nonce, critical, value);

	OCSP_REQUEST_add_ext(req, extension, -1);
	X509_EXTENSION_free(extension);
}

static void test_request(void)
{
	static const struct {
		const EVP_MD *(*md)(void);
		int digest_nid;
	} cases[] = {{EVP_sha1, NID_sha1}, {EVP_sha256, NID_sha256}, {EVP_sha384, NID_sha384}, {EVP_sha512, NID_sha512}, {EVP_md5, NID_undef}, {EVP_sha224, NID_undef}};
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL), renamed = testkit_cert(testkit_ec("P-256"), "CB", 7, NULL, NULL);
	g_autoptr(X509) rekeyed = testkit_cert(testkit_rsa(1024), "CA", 7, NULL, NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(ocsp_req) req = OCSP_REQUEST_new();
		g_autoptr(GError) error = NULL;

		add_ids(req, issuer, cases[i].md(), 2);
		if (i % 2)
			add_nonce(req, 16, false, i == 3);
		if (i == 2)
			OCSP_request_sign(req, issuer, testkit_ec("P-256"), EVP_sha256(), NULL, 0);
		g_autoptr(GBytes) der = req_bytes(req);
		g_autoptr(ocsp_request) request = ocsp_request_parse(DATA(der), &error);

		g_assert_no_error(error);
		g_assert_cmpuint(request->ids->len, ==, 2);
		const struct ocsp_cert_id *first = request->ids->pdata[0], *second = request->ids->pdata[1];

		g_assert_cmpstr(first->serial, ==, "FF00");
		g_assert_cmpstr(second->serial, ==, "FF01");
		g_assert_cmpint(first->digest_nid, ==, cases[i].digest_nid);
		g_assert_true(ocsp_id_names(first, issuer) == (cases[i].digest_nid != NID_undef));
		g_assert_false(ocsp_id_names(first, renamed) || ocsp_id_names(first, rekeyed));
		g_assert_true((request->nonce != NULL) == (i % 2 == 1));
		if (request->nonce)
			g_assert_cmpmem(g_bytes_get_data(request->nonce, NULL), g_bytes_get_size(request->nonce), "nnnnnnnnnnnnnnnn", 16);
		for (gsize n = 0; n < g_bytes_get_size(der); n++)
			g_assert_null(ocsp_request_parse(g_bytes_get_data(der, NULL), n, NULL));
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
	}
}

enum odd { NO_IDS, ODD_MANY, ODD_NONCE_0, ODD_NONCE_33, ODD_NONCE_TWICE, ODD_NONCE_RAW, ODD_CRITICAL, ODD_SINGLE_CRITICAL, ODD_SERIAL, ODD_VERSION, ODD_MAX };

static void make_odd(OCSP_REQUEST *req, X509 *issuer, enum odd odd)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "critical,digitalSignature");
	g_autoptr(ASN1_INTEGER) serial = ASN1_INTEGER_new();
	static const uint8_t large[65] = {1};

	add_ids(req, issuer, EVP_sha1(), odd == NO_IDS ? 0 : odd == ODD_MANY ? OCSP_IDS_MAX + 1 : OCSP_IDS_MAX - 1);
	if (odd == ODD_NONCE_0 || odd == ODD_NONCE_33)
		add_nonce(req, odd == ODD_NONCE_0 ? 0 : 33, false, false);
	for (int i = 0; odd == ODD_NONCE_TWICE && i < 2; i++)
		add_nonce(req, 16, false, false);
	if (odd == ODD_NONCE_RAW)
		add_nonce(req, 16, true, false);
	if (odd == ODD_CRITICAL)
		OCSP_REQUEST_add_ext(req, extension, -1);
	if (odd == ODD_SINGLE_CRITICAL)
		OCSP_ONEREQ_add_ext(OCSP_request_onereq_get0(req, 0), extension, -1);
	if (odd == ODD_SERIAL) {
		ASN1_STRING_set(serial, large, sizeof(large));
		OCSP_request_add0_id(req, OCSP_cert_id_new(EVP_sha1(), X509_get_subject_name(issuer), X509_get0_pubkey_bitstr(issuer), serial));
	}
	X509_EXTENSION_free(extension);
}

static GBytes *odd_request(X509 *issuer, enum odd odd)
{
	g_autoptr(ocsp_req) req = OCSP_REQUEST_new();

	make_odd(req, issuer, odd);
	if (odd != ODD_VERSION)
		return req_bytes(req);
	/* Version 2 before the list: OpenSSL has no setter. */
	add_nonce(req, 16, false, false);
	g_autoptr(GBytes) der = req_bytes(req);
	GByteArray *out = g_byte_array_new();
	static const uint8_t version[] = {0xa0, 3, 2, 1, 1};
	const uint8_t *data = g_bytes_get_data(der, NULL);
	uint8_t head[] = {0x30, 0x82, 0, 0, 0x30, 0x82, 0, 0};
	size_t len = g_bytes_get_size(der) - 8, inner = len + sizeof(version);

	g_assert_true(data[1] == 0x82 && data[5] == 0x82);
	head[2] = (uint8_t)((inner + 4) >> 8);
	head[3] = (uint8_t)(inner + 4);
	head[6] = (uint8_t)(inner >> 8);
	head[7] = (uint8_t)inner;
	g_byte_array_append(out, head, sizeof(head));
	g_byte_array_append(out, version, sizeof(version));
	g_byte_array_append(out, data + 8, (guint)len);
	return g_byte_array_free_to_bytes(out);
}

static void test_malformed(void)
{
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL);
	g_autofree uint8_t *large = g_malloc0(OCSP_REQUEST_MAX_BYTES + 1);
	g_autoptr(GError) error = NULL;

	for (enum odd odd = 0; odd < ODD_MAX; odd++) {
		g_autoptr(GBytes) der = odd_request(issuer, odd);

		g_test_message("case %u", odd);
		g_assert_null(ocsp_request_parse(DATA(der), &error));
		g_assert_error(error, POM_ERROR, POM_ERR_OCSP);
		g_clear_error(&error);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
	}
	g_assert_null(ocsp_request_parse(large, OCSP_REQUEST_MAX_BYTES + 1, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_OCSP);
	g_autoptr(ocsp_req) req = OCSP_REQUEST_new();

	add_ids(req, issuer, EVP_sha1(), OCSP_IDS_MAX);
	g_autoptr(GBytes) most = req_bytes(req);
	g_autoptr(ocsp_request) fine = ocsp_request_parse(DATA(most), NULL);

	g_assert_cmpuint(fine->ids->len, ==, OCSP_IDS_MAX);
	/* Well formed, but for its size. */
	g_autoptr(ASN1_OCTET_STRING) value = ASN1_OCTET_STRING_new();

	ASN1_OCTET_STRING_set(value, large, OCSP_REQUEST_MAX_BYTES);
	X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_netscape_comment, 0, value);

	OCSP_REQUEST_add_ext(req, extension, -1);
	X509_EXTENSION_free(extension);
	g_autoptr(GBytes) long_der = req_bytes(req);

	g_assert_null(ocsp_request_parse(DATA(long_der), NULL));
}

static void test_percent(void)
{
	char text[] = "a%41%2Bb%", *cut = text + 1;
	size_t len = 2, whole = 8;

	g_assert_false(percent_decode(cut, &len)); /* "%4", whatever stands behind it */
	g_assert_true(percent_decode(text, &whole));
	g_assert_cmpmem(text, whole, "aA+b", 4);
}

static void test_get(void)
{
	static const struct {
		const char *raw, *bytes; /* NULL: refused */
	} table[] = {
		{"YWJj", "abc"}, {"/YWJj", "abc"}, {"//YWJj", "abc"}, {"YQ%3D%3D", "a"}, {"YQ==", "a"}, {"YQ", "a"}, {"Pj4+Pz8/", ">>>???"}, {"Pj4%2BPz8%2F", ">>>???"}, {"Pj4-Pz8_", ">>>???"},
		{"Pj4%2bPz8%2f", ">>>???"}, {"", NULL}, {"/", NULL}, {"Y", NULL}, {"YQ%253D", NULL}, {"%", NULL}, {"%4", NULL}, {"YW Jj", NULL}, {"YW%20Jj", NULL}, {"YW%0AJj", NULL}, {"YR==", NULL}, {"YW?j", NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *exact = g_memdup2(table[i].raw, strlen(table[i].raw) + 1);
		g_autoptr(GBytes) bytes = ocsp_get_parse(exact, strlen(exact), &error);

		g_test_message("case %zu", i);
		if (!table[i].bytes) {
			g_assert_null(bytes);
			g_assert_error(error, POM_ERROR, POM_ERR_OCSP);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), table[i].bytes, strlen(table[i].bytes));
	}
	g_autofree char *large = g_strnfill(4 * OCSP_REQUEST_MAX_BYTES + 1, 'A'), *over = g_strnfill(OCSP_REQUEST_MAX_BYTES / 3 * 4 + 8, 'A');

	g_assert_null(ocsp_get_parse(large, strlen(large), NULL));
	g_assert_null(ocsp_get_parse(over, strlen(over), NULL));
}

static void test_errors(void)
{
	static const enum ocsp_response_status statuses[] = {OCSP_STATUS_MALFORMED_REQUEST, OCSP_STATUS_INTERNAL_ERROR, OCSP_STATUS_TRY_LATER, OCSP_STATUS_SIG_REQUIRED, OCSP_STATUS_UNAUTHORIZED};

	for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
		g_autoptr(GBytes) der = ocsp_error_format(statuses[i]);
		const uint8_t *p = g_bytes_get_data(der, NULL);
		g_autoptr(ocsp_resp) response = d2i_OCSP_RESPONSE(NULL, &p, (long)g_bytes_get_size(der));

		g_assert_cmpint(OCSP_response_status(response), ==, statuses[i]);
		g_assert_null(OCSP_response_get1_basic(response));
		ERR_clear_error();
	}
}

/* Response data signed with KEY by EVP, as keys does it. */
static OCSP_BASICRESP *respond(EVP_PKEY *key, X509 *responder, const struct ocsp_request *request, const struct ocsp_answer *answers, int64_t next_update)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) data = ocsp_response_data_format(responder, request, answers, NOW, next_update, NOW + 5, &error);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);

	g_assert_no_error(error);
	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(data)) == 1);
	g_autoptr(GBytes) der = ocsp_response_format(data, signature_nid_for(key, NID_sha256), signature, len, responder);
	const uint8_t *p = g_bytes_get_data(der, NULL);
	g_autoptr(ocsp_resp) response = d2i_OCSP_RESPONSE(NULL, &p, (long)g_bytes_get_size(der));

	g_assert_cmpint(OCSP_response_status(response), ==, OCSP_STATUS_SUCCESSFUL);
	return OCSP_response_get1_basic(response);
}

static int64_t unix_time(const ASN1_GENERALIZEDTIME *time)
{
	struct tm tm;

	return time && ASN1_TIME_to_tm(time, &tm) ? timegm(&tm) : -1;
}

/* Judged by OpenSSL's client: signature, responder, nonce, and each answer under the CertID asked for. */
static void test_response(void)
{
	static const struct ocsp_answer answers[] = {{OCSP_CERT_GOOD, 0, -1}, {OCSP_CERT_REVOKED, NOW - 100, 1}, {OCSP_CERT_UNKNOWN, 0, -1}, {OCSP_CERT_REVOKED, NOW - 200, -1}};
	static const int statuses[] = {V_OCSP_CERTSTATUS_GOOD, V_OCSP_CERTSTATUS_REVOKED, V_OCSP_CERTSTATUS_UNKNOWN, V_OCSP_CERTSTATUS_REVOKED};
	EVP_PKEY *const keys[] = {testkit_rsa(2048), testkit_ec("P-384")};

	for (size_t i = 0; i < 2 * G_N_ELEMENTS(keys); i++) {
		EVP_PKEY *key = keys[i / 2];
		g_autoptr(X509) issuer = testkit_cert(key, "CA", 7, NULL, NULL);
		g_autoptr(ocsp_req) req = OCSP_REQUEST_new();
		int64_t next_update = i % 2 ? NOW + 86400 : -1;

		add_ids(req, issuer, i % 2 ? EVP_sha1() : EVP_sha256(), 4);
		if (i % 2)
			add_nonce(req, 32, false, false);
		g_autoptr(GBytes) der = req_bytes(req);
		g_autoptr(ocsp_request) request = ocsp_request_parse(DATA(der), NULL);
		g_autoptr(ocsp_basic) basic = respond(key, issuer, request, answers, next_update);
		STACK_OF(X509) *trusted = sk_X509_new_null();
		const ASN1_OCTET_STRING *responder_id = NULL;
		const X509_NAME *responder_name = NULL;

		sk_X509_push(trusted, issuer);
		g_assert_cmpint(OCSP_basic_verify(basic, trusted, NULL, OCSP_TRUSTOTHER), ==, 1);
		sk_X509_free(trusted);
		g_assert_cmpint(OCSP_check_nonce(req, basic), ==, i % 2 ? 1 : 2);
		g_assert_true(OCSP_resp_get0_id(basic, &responder_id, &responder_name) == 1 && responder_id && !responder_name);
		g_assert_cmpint(unix_time(OCSP_resp_get0_produced_at(basic)), ==, NOW + 5);
		g_assert_cmpint(sk_X509_num(OCSP_resp_get0_certs(basic)), ==, 1);
		g_assert_cmpint(OCSP_resp_count(basic), ==, 4);
		for (int k = 0; k < 4; k++) {
			OCSP_CERTID *id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, k));
			ASN1_GENERALIZEDTIME *revoked_at = NULL, *this_update = NULL, *next = NULL;
			int status, reason;

			g_assert_cmpint(OCSP_resp_find_status(basic, id, &status, &reason, &revoked_at, &this_update, &next), ==, 1);
			g_assert_cmpint(status, ==, statuses[k]);
			g_assert_cmpint(unix_time(this_update), ==, NOW);
			g_assert_cmpint(unix_time(next), ==, next_update);
			if (status == V_OCSP_CERTSTATUS_REVOKED) {
				g_assert_cmpint(reason, ==, answers[k].reason);
				g_assert_cmpint(unix_time(revoked_at), ==, answers[k].revoked_at);
			}
		}
	}
}

static void test_unencodable(void)
{
	static const struct {
		struct ocsp_answer answer;
		int64_t this_update, next_update, produced_at;
	} cases[] = {
		{{OCSP_CERT_REVOKED, INT64_MAX, -1}, 1, 2, 3}, {{OCSP_CERT_REVOKED, 1, 7}, 1, 2, 3}, {{OCSP_CERT_REVOKED, 1, 11}, 1, 2, 3}, {{OCSP_CERT_GOOD, 0, 0}, INT64_MAX, -1, 3},
		{{OCSP_CERT_GOOD, 0, 0}, 2, 2, 3}, {{OCSP_CERT_GOOD, 0, 0}, 1, 2, INT64_MAX}, {{OCSP_CERT_GOOD, 0, 0}, 1, INT64_MAX, 3},
	};
	g_autoptr(X509) issuer = testkit_cert(testkit_ec("P-256"), "CA", 7, NULL, NULL);
	g_autoptr(ocsp_req) req = OCSP_REQUEST_new();

	add_ids(req, issuer, EVP_sha1(), 1);
	g_autoptr(GBytes) der = req_bytes(req);
	g_autoptr(ocsp_request) request = ocsp_request_parse(DATA(der), NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("case %zu", i);
		g_assert_null(ocsp_response_data_format(issuer, request, &cases[i].answer, cases[i].this_update, cases[i].next_update, cases[i].produced_at, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_OCSP);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ocsp/request", test_request);
	g_test_add_func("/ocsp/malformed", test_malformed);
	g_test_add_func("/ocsp/percent", test_percent);
	g_test_add_func("/ocsp/get", test_get);
	g_test_add_func("/ocsp/errors", test_errors);
	g_test_add_func("/ocsp/response", test_response);
	g_test_add_func("/ocsp/unencodable", test_unencodable);
	return g_test_run();
}
