#include "codec/scep.h"

#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
#define SCEP_ARC "2.16.840.1.113733.1.9."
#define PRINTABLE V_ASN1_PRINTABLESTRING
#define OCTETS V_ASN1_OCTET_STRING

struct attribute {
	const char *oid;
	int type;
	const char *data;
	size_t len; /* 0: to the NUL */
};

/* What a macOS device sends, but for the challengePassword of 2017. */
static const struct attribute apple[] = {
	{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "7", PRINTABLE, "6E1A0F2D5C4B3A291807F6E5D4C3B2A190807060"}, {SCEP_ARC "5", OCTETS, "12345678"}, {NULL},
};

static X509 *device_cert(void)
{
	return testkit_cert(testkit_rsa(1024), "MDM SCEP SIGNER", 1, NULL, NULL);
}

static GBytes *envelope(const EVP_CIPHER *cipher)
{
	g_autoptr(X509) ca = testkit_cert(testkit_rsa(2048), "CA", 7, NULL, NULL);

	return testkit_encrypt(&ca, 1, cipher, "request", true, false);
}

/* A pkiMessage over CONTENT (NULL: none), streamed as Apple does or in DER. */
static GBytes *message(GBytes *content, const struct attribute *attributes, const EVP_MD *md, EVP_PKEY *key, X509 *cert, bool ber)
{
	unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | CMS_PARTIAL | (content ? 0 : CMS_DETACHED);
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *info = CMS_add1_signer(cms, cert, key, md, flags);
	g_autoptr(BIO) in = BIO_new_mem_buf(content ? g_bytes_get_data(content, NULL) : "", content ? (int)g_bytes_get_size(content) : 0), out = BIO_new(BIO_s_mem());
	char *data;

	for (; attributes && attributes->oid; attributes++) {
		size_t len = attributes->len ? attributes->len : strlen(attributes->data);

		g_assert_true(CMS_signed_add1_attr_by_txt(info, attributes->oid, attributes->type, attributes->data, (int)len));
	}
	g_assert_true(CMS_final(cms, in, NULL, flags) && i2d_CMS_bio(out, cms));
	long len = BIO_get_mem_data(out, &data);
	GBytes *der = g_bytes_new(data, (gsize)len);

	if (!ber)
		return der;
	GBytes *indefinite = testkit_to_ber(der, 6);

	g_bytes_unref(der);
	return indefinite;
}

static GBytes *plain_message(const struct attribute *attributes)
{
	g_autoptr(X509) cert = device_cert();
	g_autoptr(GBytes) inner = envelope(EVP_des_ede3_cbc());

	return message(inner, attributes, EVP_sha1(), testkit_rsa(1024), cert, true);
}

static void test_request(void)
{
	g_autoptr(X509) cert = device_cert();
	g_autoptr(GBytes) inner = envelope(EVP_des_ede3_cbc()), expected = cert_format_der(cert);

	for (int ber = 0; ber < 2; ber++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) bytes = message(inner, apple, EVP_sha1(), testkit_rsa(1024), cert, ber);
		g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), &error);

		g_assert_no_error(error);
		g_assert_no_error(request->refusal);
		g_assert_cmpint(request->fail_info, ==, SCEP_FAIL_INFO_NONE);
		g_assert_cmpint(request->message_type, ==, SCEP_PKCS_REQ);
		g_assert_cmpstr(request->transaction_id, ==, apple[1].data);
		g_assert_cmpmem(g_bytes_get_data(request->sender_nonce, NULL), g_bytes_get_size(request->sender_nonce), "12345678", 8);
		g_assert_cmpint(request->digest_nid, ==, NID_sha1);
		g_autoptr(X509) signer = scep_request_signer(request);

		g_assert_true(g_bytes_equal(request->signer_der, expected) && !X509_cmp(signer, cert) && EVP_PKEY_eq(request->signer_key, testkit_rsa(1024)) == 1);
		g_autoptr(GBytes) spki = cert_spki_format(testkit_rsa(1024));

		g_assert_true(g_bytes_equal(request->signer_spki, spki));
		g_assert_true(g_bytes_equal(request->enveloped, inner));
		g_assert_null(request->challenge_attribute);
	}
}

#define TX {SCEP_ARC "7", PRINTABLE, "tx"}
#define NONCE {SCEP_ARC "5", OCTETS, "12345678"}
/* 65 bytes; also more than a nonce may have */
#define LONG "0123456789012345678901234567890123456789012345678901234567890123x"

static const struct {
	const char *name;
	struct attribute attributes[8];
	int message_type;
	int fail_info; /* -2: NULL with POM_ERR_SCEP_MESSAGE */
} cases[] = {
	{"renewal", {{SCEP_ARC "2", PRINTABLE, "17"}, TX, NONCE}, 17, -1},
	{"UTF8String type", {{SCEP_ARC "2", V_ASN1_UTF8STRING, "19"}, TX, NONCE}, 19, -1},
	{"unknown type is the caller's", {{SCEP_ARC "2", PRINTABLE, "255"}, TX, NONCE}, 255, -1},
	{"zero", {{SCEP_ARC "2", PRINTABLE, "0"}, TX, NONCE}, 0, -1},
	{"odd type", {{SCEP_ARC "2", PRINTABLE, "19 "}, TX, NONCE}, -1, -1},
	{"leading zero", {{SCEP_ARC "2", PRINTABLE, "019"}, TX, NONCE}, -1, -1},
	{"sign", {{SCEP_ARC "2", PRINTABLE, "+19"}, TX, NONCE}, -1, -1},
	{"large", {{SCEP_ARC "2", PRINTABLE, "4294967315"}, TX, NONCE}, -1, -1},
	{"empty type", {{SCEP_ARC "2", PRINTABLE, "\0", 1}, TX, NONCE}, -1, -1},
	{"integer type", {{SCEP_ARC "2", V_ASN1_INTEGER, "\x13"}, TX, NONCE}, -1, -1},
	{"IA5String type", {{SCEP_ARC "2", V_ASN1_IA5STRING, "19"}, TX, NONCE}, -1, -1},
	{"no type", {TX, NONCE}, -1, -1},
	{"no nonce", {{SCEP_ARC "2", PRINTABLE, "19"}, TX}, 19, -1},
	{"one byte of nonce", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, {SCEP_ARC "5", OCTETS, "1"}}, 19, -1},
	{"64 bytes of nonce", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, {SCEP_ARC "5", OCTETS, LONG, 64}}, 19, -1},
	{"65 bytes of nonce", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, {SCEP_ARC "5", OCTETS, LONG}}, 19, SCEP_BAD_REQUEST},
	{"nonce as text", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, {SCEP_ARC "5", PRINTABLE, "12345678"}}, 19, SCEP_BAD_REQUEST},
	{"sscep's constant", {{SCEP_ARC "2", PRINTABLE, "21"}, {SCEP_ARC "7", PRINTABLE, "SSCEP transactionId"}, NONCE}, 21, -1},
	{"base64 transaction", {{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "7", PRINTABLE, "/aGk+Zm8="}, NONCE}, 19, -1},
	{"unknown attribute", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, NONCE, {"1.2.3.4", PRINTABLE, "x"}}, 19, -1},
	{"type twice, sorted by DER", {{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "2", PRINTABLE, "17"}, TX, NONCE}, 17, SCEP_BAD_REQUEST},
	{"transaction twice", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, TX, NONCE}, 19, SCEP_BAD_REQUEST},
	{"nonce twice", {{SCEP_ARC "2", PRINTABLE, "19"}, TX, NONCE, NONCE}, 19, SCEP_BAD_REQUEST},
	{"no transaction", {{SCEP_ARC "2", PRINTABLE, "19"}, NONCE}, 0, -2},
	{"transaction with NUL", {{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "7", PRINTABLE, "a\0b", 3}, NONCE}, 0, -2},
	{"transaction with LF", {{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "7", PRINTABLE, "a\nb"}, NONCE}, 0, -2},
	{"transaction of bytes", {{SCEP_ARC "2", PRINTABLE, "19"}, {SCEP_ARC "7", OCTETS, "a"}, NONCE}, 0, -2},
};

static void test_attributes(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) bytes = plain_message(cases[i].attributes);
		g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), &error);

		g_test_message("%s", cases[i].name);
		if (cases[i].fail_info == -2) {
			g_assert_null(request);
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpint(request->message_type, ==, cases[i].message_type);
		g_assert_cmpint(request->fail_info, ==, cases[i].fail_info);
		g_assert_true((request->refusal != NULL) == (cases[i].fail_info != -1));
		g_assert_true((request->enveloped != NULL) == (cases[i].fail_info == -1));
	}
}

static void test_challenge_attribute(void)
{
	static const struct attribute attributes[] = {{SCEP_ARC "2", PRINTABLE, "19"}, TX, NONCE, {"1.2.840.113549.1.9.7", PRINTABLE, "secret"}, {NULL}};
	g_autoptr(GBytes) bytes = plain_message(attributes);
	g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), NULL);

	g_assert_cmpint(request->fail_info, ==, SCEP_FAIL_INFO_NONE);
	g_assert_cmpstr(request->challenge_attribute, ==, "secret");
}

static void assert_refused(GBytes *bytes, enum scep_fail_info fail_info)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), &error);

	g_assert_no_error(error);
	g_assert_cmpint(request->fail_info, ==, fail_info);
	g_assert_nonnull(request->refusal);
	g_assert_null(request->enveloped);
	g_assert_nonnull(request->signer_der);
	g_assert_cmpstr(request->transaction_id, ==, apple[1].data);
	g_assert_cmpint(request->message_type, ==, 19);
}

static void test_refused(void)
{
	EVP_PKEY *key = testkit_rsa(1024);
	g_autoptr(X509) cert = device_cert(), weak = testkit_cert(testkit_rsa(512), "weak", 2, NULL, NULL);
	g_autoptr(GBytes) inner = envelope(EVP_aes_128_cbc()), gcm = envelope(EVP_aes_128_gcm()), junk = g_bytes_new_static("junk", 4);
	g_autoptr(GBytes) good = message(inner, apple, EVP_sha256(), key, cert, false), md5 = message(inner, apple, EVP_md5(), key, cert, false);
	g_autoptr(GBytes) bad_signature = testkit_flip(good, -1), bad_digest = testkit_replace(good, "12345678", "12345679", 8);
	g_autoptr(GBytes) weak_key = message(inner, apple, EVP_sha256(), testkit_rsa(512), weak, false);
	g_autoptr(GBytes) with_gcm = message(gcm, apple, EVP_sha256(), key, cert, false), with_junk = message(junk, apple, EVP_sha256(), key, cert, false);
	g_autoptr(GBytes) empty = message(NULL, apple, EVP_sha256(), key, cert, false);

	assert_refused(bad_signature, SCEP_BAD_MESSAGE_CHECK);
	assert_refused(bad_digest, SCEP_BAD_MESSAGE_CHECK);
	assert_refused(md5, SCEP_BAD_ALG);
	assert_refused(weak_key, SCEP_BAD_ALG);
	assert_refused(with_gcm, SCEP_BAD_ALG);
	assert_refused(with_junk, SCEP_BAD_REQUEST);
	assert_refused(empty, SCEP_BAD_REQUEST);
}

static void test_no_answer_possible(void)
{
	EVP_PKEY *key = testkit_rsa(1024);
	g_autoptr(X509) cert = device_cert();
	g_autoptr(GBytes) no_cert = testkit_sign(cert, key, EVP_sha256(), TESTKIT_NO_CERTIFICATE, "x"), bare = testkit_sign(cert, key, EVP_sha256(), TESTKIT_NO_ATTRIBUTES, "x");
	g_autoptr(GBytes) inner = envelope(EVP_aes_128_cbc()), large = g_bytes_new_take(g_malloc0(70000), 70000), none = g_bytes_new("", 0);
	struct {
		GBytes *bytes;
		int code;
	} table[] = {{no_cert, POM_ERR_CMS_MALFORMED}, {bare, POM_ERR_SCEP_MESSAGE}, {inner, POM_ERR_CMS_MALFORMED}, {large, POM_ERR_CMS_LIMIT}, {none, POM_ERR_CMS_MALFORMED}};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(scep_request_parse(DATA(table[i].bytes), &error));
		g_assert_error(error, POM_ERROR, table[i].code);
	}
}

/* A message made of our own parts, which may be what OpenSSL would not make. */
static GBytes *own_message(GPtrArray *extra, int64_t signing_time)
{
	EVP_PKEY *key = testkit_rsa(1024);
	g_autoptr(X509) cert = device_cert();
	g_autoptr(GBytes) der = cert_format_der(cert), inner = envelope(EVP_aes_128_cbc());
	g_autoptr(GBytes) attrs = cms_signed_attrs_format(DATA(inner), true, NID_sha256, signing_time, (GBytes *const *)extra->pdata, extra->len);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(attrs)) == 1);
	return cms_signed_format(DATA(inner), cert, NID_sha256, attrs, signature, len, &der, 1, NULL);
}

/* With an attribute that has a date, besides the signingTime at 1. */
static GBytes *with_time_attribute(const char *oid)
{
	static const uint8_t nonce[16] = {1};
	g_autoptr(GPtrArray) extra = scep_request_attributes(SCEP_PKCS_REQ, "tx", nonce);
	g_autoptr(ASN1_OBJECT) object = OBJ_txt2obj(oid, 1);
	g_autoptr(X509_ATTRIBUTE) attribute = X509_ATTRIBUTE_create_by_OBJ(NULL, object, V_ASN1_UTCTIME, "260101000001Z", 13);

	g_ptr_array_add(extra, asn1_format(attribute, ASN1_ITEM_rptr(X509_ATTRIBUTE)));
	return own_message(extra, 1);
}

/* What the slow reader alone makes of a message: the class of its answer. */
enum outcome { UNREADABLE, BAD_ALGORITHM, BAD_SIGNATURE, GOOD };

static enum outcome slow_outcome(const uint8_t *data, size_t len, GBytes **ret_signer)
{
	g_autoptr(GError) bad = NULL, error = NULL;

	if (!cms_check(data, len, CMS_KIND_SIGNED, SCEP_MESSAGE_MAX, &bad) && bad->code != POM_ERR_CMS_ALGORITHM)
		return UNREADABLE;
	g_autoptr(cms_signed) slow = cms_signed_open(data, len, NULL);

	if (!slow)
		return UNREADABLE;
	*ret_signer = g_bytes_ref(slow->signer_der);
	if (bad)
		return BAD_ALGORITHM;
	if (cms_signed_verify(slow, NULL, 0, &error))
		return GOOD;
	return error->code == POM_ERR_CMS_ALGORITHM ? BAD_ALGORITHM : BAD_SIGNATURE;
}

static void assert_same_outcome(const uint8_t *data, size_t len)
{
	g_autoptr(GBytes) signer = NULL;
	enum outcome expected = slow_outcome(data, len, &signer);
	g_autoptr(GError) error = NULL;

	ERR_clear_error();
	g_autoptr(scep_request) request = scep_request_parse(data, len, &error);

	if (!request) /* or only the transactionID is missing */
		g_assert_true(expected == UNREADABLE || error->code == POM_ERR_SCEP_MESSAGE);
	else if (request->fail_info == SCEP_BAD_ALG)
		g_assert_true(expected == BAD_ALGORITHM || (expected == GOOD && request->refusal->code == POM_ERR_CMS_ALGORITHM));
	else if (request->fail_info == SCEP_BAD_MESSAGE_CHECK)
		g_assert_cmpint(expected, ==, BAD_SIGNATURE);
	else
		g_assert_cmpint(expected, ==, GOOD);
	g_assert_true(!request || g_bytes_equal(request->signer_der, signer));
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

/* MESSAGE with one part changed behind the signature's back: KIND 0 a second certificate whose dates are none, 1 a CRL that is none, 2 an
 * unsigned attribute that is none, 3 the certificate in BER. */
static GBytes *changed(GBytes *original, int kind)
{
	g_autoptr(signed_message) parsed = signed_message_parse(DATA(original));
	ASN1_STRING *cert = sk_ASN1_TYPE_value(parsed->body->certificates, 0)->value.sequence;
	g_autoptr(X509) other = testkit_cert(testkit_ec("P-256"), "other", 9, NULL, NULL);
	g_autoptr(GBytes) der = string_bytes(cert), ber = testkit_to_ber(der, 1), other_der = cert_format_der(other);
	static const uint8_t dates[] = {0x30, 0x1e, 0x17, 0x0d}, no_dates[] = {0x30, 0x1e, 0x13, 0x0d};
	g_autoptr(GBytes) broken = testkit_replace(other_der, dates, no_dates, sizeof(dates));
	struct signer_info *info = sk_signer_info_value(parsed->body->signers, 0);

	if (kind == 0)
		sk_ASN1_TYPE_push(parsed->body->certificates, raw_sequence(DATA(broken)));
	if (kind == 1) {
		parsed->body->crls = sk_ASN1_TYPE_new_null();
		sk_ASN1_TYPE_push(parsed->body->crls, raw_sequence("\x30\x03\x02\x01\x01", 5));
	}
	if (kind == 2) {
		info->unsigned_attrs = sk_ASN1_TYPE_new_null();
		sk_ASN1_TYPE_push(info->unsigned_attrs, raw_sequence("\x30\x03\x02\x01\x01", 5));
	}
	if (kind == 3)
		ASN1_STRING_set(cert, g_bytes_get_data(ber, NULL), (int)g_bytes_get_size(ber));
	return signed_message_format(parsed);
}

/* The fast reader must say what the slow one says: to whole messages, and to what one wrong bit makes of them. */
static void test_fast_and_slow(void)
{
	EVP_PKEY *key = testkit_rsa(1024);
	g_autoptr(X509) cert = device_cert(), ec = testkit_cert(testkit_ec("P-256"), "ec", 3, NULL, NULL), weak = testkit_cert(testkit_rsa(512), "weak", 2, NULL, NULL);
	g_autoptr(GBytes) inner = envelope(EVP_aes_128_cbc());
	g_autoptr(GBytes) der = message(inner, apple, EVP_sha256(), key, cert, false), ber = message(inner, apple, EVP_sha1(), key, cert, true);
	g_autoptr(GBytes) by_ec = message(inner, apple, EVP_sha256(), testkit_ec("P-256"), ec, false), by_weak = message(inner, apple, EVP_sha256(), testkit_rsa(512), weak, false);
	g_autoptr(GBytes) empty = message(NULL, apple, EVP_sha256(), key, cert, false), two_times = with_time_attribute("1.2.840.113549.1.9.5"), countersigned = with_time_attribute("1.2.840.113549.1.9.6"), one_time = with_time_attribute("1.2.3.4");
	g_autoptr(GBytes) keyid = testkit_sign(cert, key, EVP_sha256(), TESTKIT_KEY_ID, "x"), pss = testkit_sign(cert, key, EVP_sha256(), TESTKIT_PSS, "x");
	GBytes *const all[] = {der, ber, by_ec, by_weak, empty, two_times, countersigned, one_time, keyid, pss};
	g_autoptr(cms_quick) quick = cms_quick_open(DATA(der)), quick_ber = cms_quick_open(DATA(ber)), timed = cms_quick_open(DATA(one_time));

	g_assert_true(quick && quick_ber && timed);
	for (int kind = 0; kind < 4; kind++) {
		g_autoptr(GBytes) variant = changed(der, kind);

		assert_same_outcome(DATA(variant));
	}
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		gsize len = g_bytes_get_size(all[i]), step = i < 2 ? 3 : 61;
		g_autofree uint8_t *copy = g_memdup2(g_bytes_get_data(all[i], NULL), len);

		assert_same_outcome(copy, len);
		for (gsize bit = 0; bit < 8 * len; bit += step) {
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_same_outcome(copy, len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* The whole way of a reply: our attributes, signed with OpenSSL's EVP, read back by our client's parser. */
static GBytes *reply(const struct scep_request *request, enum scep_status status, enum scep_fail_info fail_info, const char *text, GBytes *content)
{
	static const uint8_t nonce[16] = "server's nonce!";
	EVP_PKEY *key = testkit_rsa(2048);
	g_autoptr(X509) ca = testkit_cert(key, "CA", 7, NULL, NULL);
	g_autoptr(GBytes) ca_der = cert_format_der(ca);
	g_autoptr(GPtrArray) extra = scep_reply_attributes(request, status, fail_info, text, nonce);
	gsize len = content ? g_bytes_get_size(content) : 0;
	const void *data = content ? g_bytes_get_data(content, NULL) : NULL;
	g_autoptr(GBytes) attrs = cms_signed_attrs_format(data, len, content != NULL, NID_sha256, 1795292100, (GBytes *const *)extra->pdata, extra->len);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t signature_len = sizeof(signature);

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	g_assert_true(EVP_DigestSign(ctx, signature, &signature_len, DATA(attrs)) == 1);
	return cms_signed_format(data, len, ca, NID_sha256, attrs, signature, signature_len, &ca_der, 1, NULL);
}

static void test_reply(void)
{
	static const struct {
		enum scep_status status;
		enum scep_fail_info fail_info;
		const char *text;
		bool has_content, good;
	} replies[] = {
		{SCEP_SUCCESS, SCEP_FAIL_INFO_NONE, NULL, true, true}, {SCEP_PENDING, SCEP_FAIL_INFO_NONE, NULL, false, true},
		{SCEP_FAILURE, SCEP_BAD_REQUEST, "no", false, true}, {SCEP_FAILURE, SCEP_BAD_ALG, NULL, false, true},
		{SCEP_SUCCESS, SCEP_FAIL_INFO_NONE, NULL, false, false}, {SCEP_PENDING, SCEP_FAIL_INFO_NONE, NULL, true, false}, {SCEP_FAILURE, SCEP_BAD_REQUEST, "no", true, false},
	};
	g_autoptr(GBytes) bytes = plain_message(apple), inner = envelope(EVP_aes_256_cbc());
	g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) made = reply(request, replies[i].status, replies[i].fail_info, replies[i].text, replies[i].has_content ? inner : NULL);
		g_autoptr(scep_reply) read = scep_reply_parse(DATA(made), &error);

		if (!replies[i].good) {
			g_assert_null(read);
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpint(read->message_type, ==, 3);
		g_assert_cmpint(read->status, ==, replies[i].status);
		g_assert_cmpint(read->fail_info, ==, replies[i].fail_info);
		g_assert_cmpstr(read->fail_info_text, ==, replies[i].text);
		g_assert_cmpstr(read->transaction_id, ==, request->transaction_id);
		g_assert_true(g_bytes_equal(read->recipient_nonce, request->sender_nonce));
		g_assert_cmpmem(g_bytes_get_data(read->sender_nonce, NULL), g_bytes_get_size(read->sender_nonce), "server's nonce!", 16);
		g_assert_true((read->enveloped != NULL) == replies[i].has_content);
		g_autoptr(GBytes) bad = testkit_flip(made, -1);

		g_assert_null(scep_reply_parse(DATA(bad), &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
	}
	g_assert_null(scep_reply_parse(DATA(bytes), NULL)); /* a request is no reply */
	/* Empty content counts as none: micromdm's server writes it into failures. */
	g_autoptr(GBytes) empty = g_bytes_new_static("", 0), failure = reply(request, SCEP_FAILURE, SCEP_BAD_REQUEST, NULL, empty), success = reply(request, SCEP_SUCCESS, SCEP_FAIL_INFO_NONE, NULL, empty);
	g_autoptr(scep_reply) read = scep_reply_parse(DATA(failure), NULL);

	g_assert_true(read && !read->enveloped && read->fail_info == SCEP_BAD_REQUEST);
	g_assert_null(scep_reply_parse(DATA(success), NULL));
}

static void test_get_message(void)
{
	static const struct {
		const char *raw, *bytes; /* NULL: refused */
	} table[] = {
		{"YWJj", "abc"}, {"YQ==", "a"}, {"YQ%3D%3D", "a"}, {"YQ%3d%3d", "a"}, {"YQ", "a"}, {"YW%0AJj", "abc"}, {"YW\r\nJj", "abc"}, {"Pj4+Pz8/", ">>>???"},
		{"Pj4%2BPz8%2F", ">>>???"}, {"Pj4 Pz8/", ">>>???"}, {"Pj4-Pz8_", ">>>???"}, {"Pj4%20Pz8/", ">>>???"},
		{"", NULL}, {"Y", NULL}, {"YQ=", NULL}, {"YQ===", NULL}, {"YQ==YQ==", NULL}, {"YR==", NULL}, {"%", NULL}, {"%4", NULL}, {"%zz", NULL}, {"%253D", NULL}, {"YW*j", NULL}, {"%00", NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *exact = g_memdup2(table[i].raw, strlen(table[i].raw) + 1);
		g_autoptr(GBytes) bytes = scep_get_message_parse(exact, strlen(exact), &error);

		g_test_message("case %zu", i);
		if (!table[i].bytes) {
			g_assert_null(bytes);
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), table[i].bytes, strlen(table[i].bytes));
	}
	g_autofree char *large = g_strnfill(4 * SCEP_MESSAGE_MAX + 1, 'A'), *over = g_strnfill(SCEP_MESSAGE_MAX / 3 * 4 + 8, 'A');

	g_assert_null(scep_get_message_parse(large, strlen(large), NULL));
	g_assert_null(scep_get_message_parse(over, strlen(over), NULL));
}

static GBytes *name(const char *cn)
{
	return cert_name_format(NULL, "CN", cn, NULL);
}

static void test_inner(void)
{
	g_autoptr(GBytes) issuer = name("CA"), subject = name("device"), junk = g_bytes_new_static("\x30\x03\x02\x01\x01", 5);
	g_autoptr(GBytes) by_serial = scep_issuer_and_serial_format(issuer, "00FF01", NULL), by_subject = scep_issuer_and_subject_format(issuer, subject);
	g_autoptr(GBytes) no_name = scep_issuer_and_serial_format(junk, "01", NULL), no_subject = scep_issuer_and_subject_format(issuer, junk), no_issuer = scep_issuer_and_subject_format(junk, subject);
	g_autoptr(GBytes) read_issuer = NULL, second_issuer = NULL, read_subject = NULL;
	g_autofree char *serial = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(scep_issuer_and_serial_parse(DATA(by_serial), &read_issuer, &serial, &error));
	g_assert_cmpstr(serial, ==, "FF01");
	g_assert_true(g_bytes_equal(read_issuer, issuer));
	g_assert_true(scep_issuer_and_subject_parse(DATA(by_subject), &second_issuer, &read_subject, &error));
	g_assert_true(g_bytes_equal(second_issuer, issuer) && g_bytes_equal(read_subject, subject));
	/* OpenSSL's reading of the same structure. */
	const uint8_t *p = g_bytes_get_data(by_serial, NULL);
	PKCS7_ISSUER_AND_SERIAL *theirs = d2i_PKCS7_ISSUER_AND_SERIAL(NULL, &p, (long)g_bytes_get_size(by_serial));

	g_assert_true(theirs && ASN1_INTEGER_get(theirs->serial) == 0xff01);
	PKCS7_ISSUER_AND_SERIAL_free(theirs);
	GBytes *const bad[] = {by_subject, no_name, junk, issuer}, *const bad_subjects[] = {by_serial, no_subject, no_issuer, junk, issuer};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		GBytes *out = NULL;
		char *text = NULL;

		g_assert_false(scep_issuer_and_serial_parse(DATA(bad[i]), &out, &text, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
		g_assert_true(!out && !text);
		g_clear_error(&error);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(bad_subjects); i++) {
		GBytes *out = NULL, *out2 = NULL;

		g_assert_false(scep_issuer_and_subject_parse(DATA(bad_subjects[i]), &out, &out2, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
		g_assert_true(!out && !out2);
		g_clear_error(&error);
	}
	for (gsize n = 0; n < g_bytes_get_size(by_serial); n++) {
		GBytes *out = NULL;
		char *text = NULL;

		g_assert_false(scep_issuer_and_serial_parse(g_bytes_get_data(by_serial, NULL), n, &out, &text, NULL));
	}
	g_assert_null(scep_issuer_and_serial_format(issuer, "xyz", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
}

/* A client's message as the server reads it. */
static void test_request_attributes(void)
{
	static const uint8_t nonce[16] = "client's nonce!";
	g_autoptr(GPtrArray) extra = scep_request_attributes(SCEP_GET_CRL, "tx 1", nonce);
	g_autoptr(GBytes) bytes = own_message(extra, -1);
	g_autoptr(scep_request) request = scep_request_parse(DATA(bytes), NULL);

	g_assert_cmpint(request->fail_info, ==, SCEP_FAIL_INFO_NONE);
	g_assert_cmpint(request->message_type, ==, SCEP_GET_CRL);
	g_assert_cmpstr(request->transaction_id, ==, "tx 1");
	g_assert_cmpmem(g_bytes_get_data(request->sender_nonce, NULL), g_bytes_get_size(request->sender_nonce), nonce, 16);
}

static void test_caps(void)
{
	static const struct {
		const char *text;
		struct scep_caps caps;
	} table[] = {
		{"", {0}},
		{"AES\nDES3\nSHA-1\nSHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nRenewal\nGetNextCACert\n",
		 {.aes = true, .des3 = true, .sha1 = true, .sha256 = true, .sha384 = true, .sha512 = true, .post = true, .renewal = true, .get_next_ca_cert = true}},
		{"aes\r\npostpkioperation\r\nRENEWAL", {.aes = true, .post = true, .renewal = true}},
		{"SCEPStandard\n", {.standard = true, .aes = true, .sha256 = true, .post = true}},
		{"AES \nUpdate\nSHA-2\nSHA-2566\nxDES3\n\n", {.aes = true}},
		{"<html>AES</html>", {0}},
		{"AES,SHA-1", {0}},
	};
	g_autofree char *late = g_strnfill(20000, 'x');

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autofree char *exact = g_memdup2(table[i].text, strlen(table[i].text) + 1);
		struct scep_caps caps = scep_caps_parse(exact, strlen(exact));

		g_test_message("case %zu", i);
		g_assert_cmpmem(&caps, sizeof(caps), &table[i].caps, sizeof(caps));
	}
	memcpy(late + 17000, "\nAES\n", 5);
	g_assert_false(scep_caps_parse(late, 20000).aes);
}

static void test_ca_certs(void)
{
	g_autoptr(X509) ca = testkit_cert(testkit_rsa(2048), "CA", 7, NULL, NULL), ra = testkit_cert(testkit_rsa(1024), "RA", 8, ca, testkit_rsa(2048));
	g_autoptr(GBytes) one = cert_format_der(ca), two = cert_format_der(ra);
	GBytes *both[] = {one, two};
	g_autoptr(GBytes) p7 = cms_certs_only_format(both, 2, NULL), empty = cms_certs_only_format(NULL, 0, NULL);
	const struct {
		const char *type;
		GBytes *data;
		int code;
		guint n;
	} table[] = {
		{"application/x-x509-ca-cert", one, 0, 1}, {"Application/X-X509-CA-Cert; charset=utf-8", one, 0, 1}, {"application/x-x509-ca-ra-cert", p7, 0, 2},
		{"application/x-x509-ca-ra-cert;x", p7, 0, 2}, {"application/x-x509-ca-cert", p7, POM_ERR_CERT_MALFORMED, 0}, {"application/x-x509-ca-ra-cert", one, POM_ERR_CMS_MALFORMED, 0},
		{"application/x-x509-ca-ra-cert", empty, POM_ERR_SCEP_MESSAGE, 0}, {"text/html", one, POM_ERR_SCEP_MESSAGE, 0}, {"", one, POM_ERR_SCEP_MESSAGE, 0}, {NULL, one, POM_ERR_SCEP_MESSAGE, 0},
		{"application/x-x509-ca-certs", one, POM_ERR_SCEP_MESSAGE, 0},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GPtrArray) certs = scep_ca_certs_parse(table[i].type, DATA(table[i].data), &error);

		g_test_message("case %zu", i);
		if (table[i].code) {
			g_assert_null(certs);
			g_assert_error(error, POM_ERROR, table[i].code);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpuint(certs->len, ==, table[i].n);
		for (guint k = 0; k < certs->len; k++)
			g_assert_true(!X509_cmp(certs->pdata[k], ca) || !X509_cmp(certs->pdata[k], ra));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/scep/request", test_request);
	g_test_add_func("/scep/attributes", test_attributes);
	g_test_add_func("/scep/challenge-attribute", test_challenge_attribute);
	g_test_add_func("/scep/refused", test_refused);
	g_test_add_func("/scep/no-answer-possible", test_no_answer_possible);
	g_test_add_func("/scep/reply", test_reply);
	g_test_add_func("/scep/get-message", test_get_message);
	g_test_add_func("/scep/fast-and-slow", test_fast_and_slow);
	g_test_add_func("/scep/inner", test_inner);
	g_test_add_func("/scep/request-attributes", test_request_attributes);
	g_test_add_func("/scep/caps", test_caps);
	g_test_add_func("/scep/ca-certs", test_ca_certs);
	return g_test_run();
}
