#include <glib/gstdio.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/device_internal.h"

#define TOPIC "com.apple.mgmt.External.0a1b2c3d-0000-4000-8000-000000000001"
#define SCEP_OID "2.16.840.1.113733.1.9."

static EVP_PKEY *ca_key;
static X509 *ca_cert;

static GBytes *take_bio(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static CMS_ContentInfo *read_cms(GBytes *bytes)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(bytes, &len);
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);

	g_assert_nonnull(cms);
	return cms;
}

static bool contains(GBytes *bytes, const char *part, size_t part_len)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	return memmem(data, len, part, part_len) != NULL;
}

static void assert_indefinite(GBytes *bytes)
{
	g_assert_cmpint(memcmp(g_bytes_get_data(bytes, NULL), "\x30\x80", 2), ==, 0);
}

static CMS_SignerInfo *only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	g_assert_cmpint(sk_CMS_SignerInfo_num(signers), ==, 1);
	return sk_CMS_SignerInfo_value(signers, 0);
}

static int digest_of(CMS_SignerInfo *signer)
{
	X509_ALGOR *digest;
	const ASN1_OBJECT *object;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest, NULL);
	X509_ALGOR_get0(&object, NULL, NULL, digest);
	return OBJ_obj2nid(object);
}

/* ---- Mdm-Signature ---- */

static void test_signature(gconstpointer data)
{
	bool modern = GPOINTER_TO_INT(data);
	g_autoptr(GBytes) body = g_bytes_new_static("line\nline\r\n", 11), ber = NULL;
	guchar *decoded;
	g_autofree char *text = sim_mdm_signature(ca_key, ca_cert, body, modern);
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autoptr(BIO) right = BIO_new_mem_buf("line\nline\r\n", 11), wrong = BIO_new_mem_buf("line\nline\n", 10);
	g_autoptr(sim_certs) certs = NULL;
	gsize len;

	g_assert_null(strpbrk(text, "\r\n"));
	decoded = g_base64_decode(text, &len);
	ber = g_bytes_new_take(decoded, len);
	assert_indefinite(ber);
	cms = read_cms(ber);
	certs = CMS_get1_certs(cms);
	g_assert_cmpint(sk_X509_num(certs), ==, 1);
	g_assert_cmpint(CMS_is_detached(cms), ==, 1);
	g_assert_cmpint(digest_of(only_signer(cms)), ==, modern ? NID_sha256 : NID_sha1);
	g_assert_cmpint(CMS_signed_get_attr_count(only_signer(cms)) > 0, ==, modern);
	g_assert_cmpint(CMS_verify(cms, NULL, NULL, right, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	g_assert_cmpint(CMS_verify(cms, NULL, NULL, wrong, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), !=, 1);
}

/* ---- SCEP requests ---- */

static char *text_attribute(CMS_SignerInfo *signer, const char *oid, int type, int *ret_len)
{
	g_autofree char *name = g_strconcat(SCEP_OID, oid, NULL);
	ASN1_OBJECT *object = OBJ_txt2obj(strchr(oid, '.') ? oid : name, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	if (ret_len)
		*ret_len = value ? ASN1_STRING_length(value) : -1;
	return value ? g_strndup((const char *)ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value)) : NULL;
}

static struct sim_scep_settings settings_for(const plist *subject)
{
	return (struct sim_scep_settings){.key_bits = 2048, .key_usage = 5, .subject = (plist *)(uintptr_t)subject};
}

static plist *make_subject(void)
{
	static const char xml[] = "<plist version=\"1.0\"><array><array><array><string>O</string><string>Example</string></array></array>"
				  "<array><array><string>CN</string><string>one</string></array><array><string>2.5.4.5</string><string>SERIAL</string></array></array></array></plist>";
	plist *subject = plist_parse(xml, strlen(xml), NULL, NULL);

	g_assert_nonnull(subject);
	return subject;
}

static void check_outer(const sim_scep *scep, CMS_ContentInfo *cms, bool macos)
{
	CMS_SignerInfo *signer = only_signer(cms);
	g_autofree char *type = text_attribute(signer, "2", V_ASN1_PRINTABLESTRING, NULL), *transaction = text_attribute(signer, "7", V_ASN1_PRINTABLESTRING, NULL), *nonce = NULL;
	g_autofree char *challenge = text_attribute(signer, "1.2.840.113549.1.9.7", V_ASN1_PRINTABLESTRING, NULL), *subject = sim_cert_subject(scep->signer);
	int nonce_len;

	nonce = text_attribute(signer, "5", V_ASN1_OCTET_STRING, &nonce_len);
	g_assert_cmpstr(type, ==, "19");
	g_assert_cmpstr(transaction, ==, scep->transaction);
	g_assert_cmpuint(strspn(transaction, "0123456789ABCDEF"), ==, 40);
	g_assert_cmpint(nonce_len, ==, macos ? 8 : 16);
	g_assert_cmpint(digest_of(signer), ==, macos ? NID_sha1 : NID_sha256);
	g_assert_cmpint(EVP_PKEY_eq(scep->signer_key, scep->key) == 1, ==, !macos);
	g_assert_cmpint(!!(X509_get_key_usage(scep->signer) & KU_KEY_ENCIPHERMENT), ==, !macos);
	if (macos) {
		g_assert_cmpstr(subject, ==, "C=US,CN=MDM SCEP SIGNER");
		g_assert_cmpstr(challenge, ==, "secret");
	} else {
		g_assert_true(pom_id_check(subject + 3));
		g_assert_null(challenge);
	}
}

static void check_csr(const sim_scep *scep, GBytes *der, bool macos)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(der, &len);
	g_autoptr(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)len);
	int at;
	char text[256];

	g_assert_nonnull(req);
	g_assert_cmpint(X509_REQ_get_version(req), ==, macos ? 2 : 0);
	g_assert_cmpint(X509_REQ_verify(req, scep->key), ==, 1);
	at = X509_REQ_get_attr_by_NID(req, NID_pkcs9_challengePassword, -1);
	g_assert_cmpint(at, >=, 0);
	X509_NAME_oneline(X509_REQ_get_subject_name(req), text, sizeof(text));
	g_assert_cmpstr(text, ==, "/O=Example/CN=one+serialNumber=SERIAL");
	g_assert_cmpint(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), ==, 3);
}

static void test_scep_request(gconstpointer data)
{
	bool macos = GPOINTER_TO_INT(data);
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(plist) subject = make_subject();
	struct sim_scep_settings settings = settings_for(subject);
	g_autoptr(sim_scep) scep = sim_scep_new(macos, key, "secret", "AES\nSHA-256\nPOSTPKIOperation\n");
	g_autoptr(GBytes) csr = sim_scep_csr(scep, &settings, NULL, NULL), message = sim_scep_request(scep, SIM_SCEP_PKCS_REQ, ca_cert, csr), enveloped = NULL, plain = NULL;
	g_autoptr(CMS_ContentInfo) outer = read_cms(message), inner = NULL;
	g_autoptr(BIO) content = BIO_new(BIO_s_mem()), decrypted = BIO_new(BIO_s_mem());

	assert_indefinite(message);
	g_assert_true(contains(message, "\xa0\x80\x24\x80\x04", 5)); /* eContent is an OCTET STRING in pieces */
	g_assert_cmpint(CMS_verify(outer, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	check_outer(scep, outer, macos);
	enveloped = take_bio(content);
	assert_indefinite(enveloped);
	/* des-ede3-cbc or aes128-CBC */
	g_assert_true(macos ? contains(enveloped, "\x2a\x86\x48\x86\xf7\x0d\x03\x07", 8) : contains(enveloped, "\x60\x86\x48\x01\x65\x03\x04\x01\x02", 9));
	inner = read_cms(enveloped);
	g_assert_cmpint(CMS_decrypt(inner, ca_key, ca_cert, NULL, decrypted, CMS_BINARY), ==, 1);
	plain = take_bio(decrypted);
	g_assert_true(g_bytes_equal(plain, csr));
	check_csr(scep, plain, macos);
}

static void test_algorithms(void)
{
	static const struct { const char *caps; int md, cipher; } rows[] = {
		{"", NID_sha1, NID_des_ede3_cbc}, {"AES\r\nSHA-256\r\n", NID_sha256, NID_aes_128_cbc}, {"SCEPStandard", NID_sha256, NID_aes_128_cbc},
		{"aes\n", NID_sha1, NID_aes_128_cbc}, {"XAES\nSHA-2567\n", NID_sha1, NID_des_ede3_cbc},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(sim_scep) scep = sim_scep_new(false, ca_key, "", rows[i].caps);

		g_assert_cmpint(EVP_MD_get_type(scep->md), ==, rows[i].md);
		g_assert_cmpint(EVP_CIPHER_get_nid(scep->cipher), ==, rows[i].cipher);
		g_assert_null(scep->challenge);
	}
}

static void test_bad_subject(void)
{
	static const char *const bodies[] = {"<array><array><string>CN</string></array></array>", "<array><string>CN</string></array>",
					     "<array><array><string>no such name</string><string>x</string></array></array>"};
	g_autoptr(sim_scep) scep = sim_scep_new(false, ca_key, NULL, "");

	for (unsigned i = 0; i < G_N_ELEMENTS(bodies); i++) {
		g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\"><array>%s</array></plist>", bodies[i]);
		g_autoptr(plist) subject = plist_parse(xml, strlen(xml), NULL, NULL);
		struct sim_scep_settings settings = settings_for(subject);
		g_autoptr(GError) error = NULL;

		g_assert_null(sim_scep_csr(scep, &settings, NULL, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_PROFILE);
	}
}

static void test_poll_content(void)
{
	g_autoptr(sim_scep) scep = sim_scep_new(false, ca_key, NULL, "");
	g_autoptr(plist) subject = make_subject();
	struct sim_scep_settings settings = settings_for(subject);
	g_autoptr(GBytes) csr = sim_scep_csr(scep, &settings, NULL, NULL), content = sim_scep_poll_content(ca_cert, csr);
	gsize len;
	const unsigned char *p = g_bytes_get_data(content, &len), *end = p + len;
	long body_len;
	int tag, class;
	X509_NAME *issuer, *name;

	g_assert_cmpint(ASN1_get_object(&p, &body_len, &tag, &class, (long)len), ==, V_ASN1_CONSTRUCTED);
	issuer = d2i_X509_NAME(NULL, &p, (long)(end - p));
	name = d2i_X509_NAME(NULL, &p, (long)(end - p));
	g_assert_true(p == end);
	g_assert_cmpint(X509_NAME_cmp(issuer, X509_get_subject_name(ca_cert)), ==, 0);
	g_assert_cmpint(X509_NAME_entry_count(name), ==, 3);
	X509_NAME_free(issuer);
	X509_NAME_free(name);
}

/* ---- SCEP replies ---- */

/* What is wrong with a reply; NULL or 0: nothing. */
struct reply_form {
	const char *name, *type, *status, *fail_info, *transaction, *nonce;
	bool other_signer, other_key, other_recipient, no_certificate;
	const char *wanted; /* part of the error; NULL: none */
};

static GBytes *degenerate(X509 *cert)
{
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED);
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());

	g_assert_nonnull(cms);
	if (cert)
		g_assert_cmpint(CMS_add1_cert(cms, cert), ==, 1);
	g_assert_cmpint(i2d_CMS_bio(out, cms), ==, 1);
	CMS_ContentInfo_free(cms);
	return take_bio(out);
}

static GBytes *envelope_to(X509 *recipient, GBytes *content)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	gsize len;
	const void *data = g_bytes_get_data(content, &len);
	g_autoptr(BIO) in = BIO_new_mem_buf(data, (int)len), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = NULL;

	sk_X509_push(recipients, recipient);
	cms = CMS_encrypt(recipients, in, EVP_aes_128_cbc(), CMS_BINARY);
	sk_X509_free(recipients);
	g_assert_cmpint(i2d_CMS_bio(out, cms), ==, 1);
	return take_bio(out);
}

static void add_text(CMS_SignerInfo *signer, const char *number, const char *text)
{
	g_autofree char *oid = g_strconcat(SCEP_OID, number, NULL);

	g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, oid, V_ASN1_PRINTABLESTRING, text, (int)strlen(text)), ==, 1);
}

static GBytes *make_reply(const sim_scep *scep, const struct reply_form *form, GBytes *content)
{
	unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP | (content ? 0 : CMS_DETACHED);
	g_autoptr(EVP_PKEY) other_key = form->other_signer ? sim_key_new() : NULL;
	g_autoptr(X509) other = form->other_signer ? sim_cert_new(other_key, "Test CA", NULL, NULL, NULL, NULL, 10) : NULL;
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *signer = CMS_add1_signer(cms, other ? other : ca_cert, other ? other_key : ca_key, EVP_sha256(), flags);
	gsize len = 0;
	const void *data = content ? g_bytes_get_data(content, &len) : "";
	g_autoptr(BIO) in = BIO_new_mem_buf(data, (int)len), out = BIO_new(BIO_s_mem());

	add_text(signer, "2", form->type ? form->type : "3");
	add_text(signer, "3", form->status ? form->status : "0");
	add_text(signer, "7", form->transaction ? form->transaction : scep->transaction);
	if (form->fail_info)
		add_text(signer, "4", form->fail_info);
	g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, SCEP_OID "6", V_ASN1_OCTET_STRING, form->nonce ? (const void *)form->nonce : scep->nonce, (int)(form->nonce ? strlen(form->nonce) : scep->nonce_len)), ==, 1);
	g_assert_cmpint(CMS_final(cms, in, NULL, flags), ==, 1);
	g_assert_cmpint(i2d_CMS_bio(out, cms), ==, 1);
	return take_bio(out);
}

static void check_reply(const sim_scep *scep, const struct reply_form *form)
{
	g_autoptr(EVP_PKEY) another = form->other_key || form->other_recipient ? sim_key_new() : NULL;
	g_autoptr(X509) cert = sim_cert_new(form->other_key ? another : scep->key, "device", NULL, NULL, ca_cert, ca_key, 10), got = NULL;
	g_autoptr(X509) recipient = form->other_recipient ? sim_cert_new_signer(another, "x", NULL, true) : NULL;
	g_autoptr(GBytes) inner = degenerate(form->no_certificate ? NULL : cert), enveloped = envelope_to(recipient ? recipient : scep->signer, inner);
	bool success = !form->status || !strcmp(form->status, "0");
	g_autoptr(GBytes) reply = make_reply(scep, form, success ? enveloped : NULL);
	enum sim_scep_status status = 99;
	g_autofree char *fail_info = NULL;
	g_autoptr(GError) error = NULL;
	bool ok = sim_scep_open(scep, reply, ca_cert, &status, &got, &fail_info, &error);

	g_test_message("%s: %s", form->name, ok ? "taken" : error->message);
	g_assert_cmpint(ok, ==, !form->wanted);
	if (!ok) {
		g_assert_nonnull(strstr(error->message, form->wanted));
		g_assert_null(got);
		return;
	}
	g_assert_cmpint(status, ==, success ? SIM_SCEP_SUCCESS : *form->status - '0');
	g_assert_cmpstr(fail_info, ==, form->fail_info);
	g_assert_cmpint(got && !X509_cmp(got, cert), ==, success);
}

static void test_scep_reply(gconstpointer data)
{
	static const struct reply_form forms[] = {
		{.name = "success"},
		{.name = "failure", .status = "2", .fail_info = "2"},
		{.name = "failure without reason", .status = "2"},
		{.name = "pending", .status = "3"},
		{.name = "unknown status", .status = "1", .wanted = "pkiStatus"},
		{.name = "message type", .type = "19", .wanted = "messageType"},
		{.name = "transaction", .transaction = "00", .wanted = "transactionID"},
		{.name = "nonce", .nonce = "0123456789abcdef", .wanted = "recipientNonce"},
		{.name = "signer", .other_signer = true, .wanted = "not signed by"},
		{.name = "key", .other_key = true, .wanted = "22008"},
		{.name = "recipient", .other_recipient = true, .wanted = "cannot be decrypted"},
		{.name = "empty", .no_certificate = true, .wanted = "22007"},
	};
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(sim_scep) scep = sim_scep_new(GPOINTER_TO_INT(data), key, "secret", "");
	g_autoptr(GBytes) garbage = g_bytes_new_static("garbage", 7);
	enum sim_scep_status status;
	char *fail_info = NULL;
	X509 *cert = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++)
		check_reply(scep, &forms[i]);
	g_assert_false(sim_scep_open(scep, garbage, ca_cert, &status, &cert, &fail_info, NULL));
}

/* ---- GetCACert ---- */

static GBytes *der_of(X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	return bytes;
}

static GBytes *chain_of(X509 *const *certs)
{
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED);
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());

	for (int i = 0; certs[i]; i++)
		g_assert_cmpint(CMS_add1_cert(cms, certs[i]), ==, 1);
	g_assert_cmpint(i2d_CMS_bio(out, cms), ==, 1);
	CMS_ContentInfo_free(cms);
	return take_bio(out);
}

static bool take_ca(const char *type, GBytes *body, GBytes *fingerprint, X509 *wanted)
{
	struct sim_scep_ca ca = {0};
	g_autoptr(GError) error = NULL;
	bool ok = sim_scep_ca_parse(type, body, fingerprint, &ca, &error);

	g_assert_cmpint(ok, ==, error == NULL);
	if (error)
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
	if (ok && wanted) {
		g_assert_cmpint(X509_cmp(ca.recipient, wanted), ==, 0);
		g_assert_cmpint(X509_cmp(ca.signer, wanted), ==, 0);
	}
	sim_scep_ca_clear(&ca);
	return ok;
}

#define DER_TYPE "application/x-x509-ca-cert"
#define CHAIN_TYPE "application/x-x509-ca-ra-cert"

static void test_ca_single(void)
{
	g_autoptr(GBytes) der = der_of(ca_cert), longer = NULL, sha1 = NULL, md5 = NULL, wrong = g_bytes_new_static("12345678901234567890", 20);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autoptr(EVP_PKEY) ec = EVP_EC_gen("P-256");
	g_autoptr(X509) ec_cert = sim_cert_new(ec, "EC", NULL, NULL, NULL, NULL, 10);
	g_autoptr(GBytes) ec_der = der_of(ec_cert);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	g_byte_array_append(bytes, g_bytes_get_data(der, NULL), (guint)g_bytes_get_size(der));
	g_byte_array_append(bytes, (const guint8 *)"\n", 1);
	longer = g_bytes_new(bytes->data, bytes->len);
	g_assert_cmpint(X509_digest(ca_cert, EVP_sha1(), digest, &len), ==, 1);
	sha1 = g_bytes_new(digest, len);
	g_assert_cmpint(X509_digest(ca_cert, EVP_md5(), digest, &len), ==, 1);
	md5 = g_bytes_new(digest, len);
	g_assert_true(take_ca(DER_TYPE, der, NULL, ca_cert));
	g_assert_true(take_ca(DER_TYPE, der, sha1, ca_cert));
	g_assert_true(take_ca(DER_TYPE, der, md5, ca_cert));
	g_assert_false(take_ca(DER_TYPE, der, wrong, NULL));
	g_assert_false(take_ca(DER_TYPE, longer, NULL, NULL));
	g_assert_false(take_ca(DER_TYPE, wrong, NULL, NULL));
	g_assert_false(take_ca(DER_TYPE "; charset=utf-8", der, NULL, NULL));
	g_assert_false(take_ca("text/html", der, NULL, NULL));
	g_assert_false(take_ca(NULL, der, NULL, NULL));
	g_assert_false(take_ca(DER_TYPE, ec_der, NULL, NULL));
}

static void test_ca_chain(void)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) ra = sim_cert_new(key, "RA", NULL, NULL, ca_cert, ca_key, 10), root2 = sim_cert_new(key, "Other root", NULL, NULL, NULL, NULL, 10);
	X509 *const good[] = {ra, ca_cert, NULL}, *const rootless[] = {ra, NULL}, *const alone[] = {ca_cert, NULL}, *const two_roots[] = {ra, ca_cert, root2, NULL};
	g_autoptr(GBytes) a = chain_of(good), b = chain_of(rootless), c = chain_of(alone), d = chain_of(two_roots), sha1 = NULL, wrong = NULL;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	g_assert_cmpint(X509_digest(ca_cert, EVP_sha1(), digest, &len), ==, 1);
	sha1 = g_bytes_new(digest, len);
	g_assert_cmpint(X509_digest(ra, EVP_sha1(), digest, &len), ==, 1);
	wrong = g_bytes_new(digest, len);
	g_assert_true(take_ca(CHAIN_TYPE, a, sha1, ra));
	g_assert_false(take_ca(CHAIN_TYPE, a, wrong, NULL));
	g_assert_false(take_ca(CHAIN_TYPE, b, NULL, NULL));
	g_assert_false(take_ca(CHAIN_TYPE, c, NULL, NULL));
	g_assert_false(take_ca(CHAIN_TYPE, d, NULL, NULL));
	g_assert_false(take_ca(DER_TYPE, a, NULL, NULL));
}

static void test_url(void)
{
	static const struct { const char *url, *operation, *message, *wanted; } rows[] = {
		{"https://x/scep", "GetCACert", "My CA", "https://x/scep?operation=GetCACert&message=My%20CA"},
		{"http://x/scep?p=1", "GetCACaps", "", "http://x/scep?p=1&operation=GetCACaps&message="},
		{"https://x/", "PKIOperation", NULL, "https://x/?operation=PKIOperation"},
		{"https://x/", "PKIOperation", "a+b/c=", "https://x/?operation=PKIOperation&message=a%2Bb%2Fc%3D"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *url = sim_scep_url(rows[i].url, rows[i].operation, rows[i].message);

		g_assert_cmpstr(url, ==, rows[i].wanted);
	}
}

/* ---- profiles ---- */

/* An enrollment profile with REPLACE (a part of it) replaced by WITH. */
static char *profile_xml(const char *replace, const char *with)
{
	static const char xml[] =
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>"
		"<key>PayloadIdentifier</key><string>org.example.mdm</string><key>PayloadUUID</key><string>U0</string><key>PayloadVersion</key><integer>1</integer><key>PayloadContent</key><array>"
		"<dict><key>PayloadType</key><string>com.apple.security.scep</string><key>PayloadUUID</key><string>U1</string>"
		"<key>PayloadContent</key><dict><key>URL</key><string>http://scep.example.org/scep?ca=1</string><key>Name</key><string>CA 1</string><key>Challenge</key><string>secret</string>"
		"<key>Keysize</key><integer>1024</integer></dict></dict>"
		"<dict><key>PayloadType</key><string>com.apple.mdm</string><key>PayloadUUID</key><string>U2</string><key>IdentityCertificateUUID</key><string>U1</string>"
		"<key>Topic</key><string>" TOPIC "</string><key>ServerURL</key><string>https://mdm.example.org/mdm</string><key>SignMessage</key><true/></dict></array></dict></plist>";
	const char *at = replace ? strstr(xml, replace) : NULL;

	if (!replace)
		return g_strdup(xml);
	g_assert_nonnull(at);
	return g_strdup_printf("%.*s%s%s", (int)(at - xml), xml, with, at + strlen(replace));
}

static GBytes *sign_profile(const char *xml, X509 *cert, EVP_PKEY *key, bool stream)
{
	unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | (stream ? CMS_STREAM : 0);
	g_autoptr(BIO) in = BIO_new_mem_buf(xml, -1), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(cert, key, NULL, in, flags);

	g_assert_nonnull(cms);
	g_assert_cmpint(stream ? i2d_CMS_bio_stream(out, cms, in, (int)flags) : i2d_CMS_bio(out, cms), ==, 1);
	return take_bio(out);
}

static void test_profile_unsigned(void)
{
	g_autofree char *xml = profile_xml(NULL, NULL), *odd = g_strconcat("\xef\xbb\xbf", xml, "\n", NULL);
	g_autoptr(sim_profile) profile = sim_profile_parse(xml, strlen(xml), NULL, NULL), spaced = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(profile);
	g_assert_null(profile->signer);
	g_assert_cmpstr(profile->identifier, ==, "org.example.mdm");
	g_assert_cmpstr(profile->server_url, ==, "https://mdm.example.org/mdm");
	g_assert_cmpstr(profile->checkin_url, ==, profile->server_url);
	g_assert_cmpstr(profile->topic, ==, TOPIC);
	g_assert_true(profile->sign_message);
	g_assert_false(profile->check_out_when_removed);
	g_assert_cmpstr(profile->scep.name, ==, "CA 1");
	g_assert_cmpint(profile->scep.key_bits, ==, 2048);
	g_assert_cmpint(profile->scep.n_retries, ==, 3);
	g_assert_cmpint(profile->scep.retry_delay_s, ==, 10);
	g_assert_null(profile->scep.fingerprint);
	spaced = sim_profile_parse(odd, strlen(odd), NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(spaced);
}

static void test_profile_signed(gconstpointer data)
{
	bool stream = GPOINTER_TO_INT(data);
	g_autofree char *xml = profile_xml(NULL, NULL);
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) cert = sim_cert_new(key, "Profile Signing", NULL, NULL, ca_cert, ca_key, 10);
	g_autoptr(GBytes) bytes = sign_profile(xml, cert, key, stream);
	g_autoptr(sim_certs) roots = sk_X509_new_null();
	gsize len;
	const char *body = g_bytes_get_data(bytes, &len);
	g_autofree char *broken = g_memdup2(body, len);
	g_autoptr(sim_profile) trusted = NULL, unknown = sim_profile_parse(body, len, NULL, NULL), wrong = NULL;
	g_autoptr(GError) error = NULL;

	X509_up_ref(ca_cert);
	sk_X509_push(roots, ca_cert);
	trusted = sim_profile_parse(body, len, roots, NULL);
	g_assert_cmpstr(trusted->signer, ==, "CN=Profile Signing");
	g_assert_true(trusted->signer_trusted);
	g_assert_nonnull(unknown);
	g_assert_false(unknown->signer_trusted);
	*(char *)memmem(broken, len, "secret", 6) = 'S';
	wrong = sim_profile_parse(broken, len, roots, &error);
	g_assert_null(wrong);
	g_assert_error(error, POM_ERROR, POM_ERR_PROFILE);
}

static void test_profile_roots(void)
{
	g_autofree char *pem = sim_cert_pem(ca_cert), *pem64 = g_base64_encode((const guchar *)pem, strlen(pem));
	g_autofree char *payload = g_strdup_printf("<array><dict><key>PayloadType</key><string>com.apple.security.root</string><key>PayloadContent</key><data>%s</data></dict>", pem64);
	g_autofree char *xml = profile_xml("<array>", payload);
	g_autoptr(sim_profile) profile = sim_profile_parse(xml, strlen(xml), NULL, NULL), verified = NULL;
	g_autoptr(GBytes) bytes = sign_profile(xml, ca_cert, ca_key, true);

	g_assert_cmpint(sk_X509_num(profile->roots), ==, 1);
	/* Signed by what it brings along. */
	verified = sim_profile_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL, NULL);
	g_assert_true(verified->signer_trusted);
}

static void test_profile_refused(void)
{
	static const struct { const char *replace, *with, *wanted; } rows[] = {
		{"https://mdm.example.org/mdm", "http://mdm.example.org/mdm", "https://"},
		{"http://scep.example.org", "ftp://scep.example.org", "SCEP URL"},
		{"<string>com.apple.mdm</string>", "<string>com.apple.wifi.managed</string>", "no com.apple.mdm payload"},
		{"IdentityCertificateUUID</key><string>U1", "IdentityCertificateUUID</key><string>U9", "names no payload"},
		{"IdentityCertificateUUID</key><string>U1", "IdentityCertificateUUID</key><string>U2", "by SCEP only"},
		{"<string>Configuration</string>", "<string>Profile Service</string>", "must be Configuration"},
		{"<key>Challenge</key><string>secret</string>", "<key>CAFingerprint</key><data>AAAA</data>", "CAFingerprint has 3 bytes"},
		{TOPIC, "org.example.topic", "com.apple.mgmt."},
		{"<key>ServerURL</key><string>https://mdm.example.org/mdm</string>", "", "ServerURL is missing"},
		{"</plist>", "", "no element found"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *xml = profile_xml(rows[i].replace, rows[i].with);
		g_autoptr(GError) error = NULL;

		g_assert_null(sim_profile_parse(xml, strlen(xml), NULL, &error));
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, rows[i].wanted));
	}
	g_assert_null(sim_profile_parse("", 0, NULL, NULL));
	g_assert_null(sim_profile_parse("<html>", 6, NULL, NULL));
}

/* ---- devices ---- */

static device *make_device(const struct sim_device_options *options, const char *state_dir)
{
	g_autofree char *xml = profile_xml(NULL, NULL);
	device *d = device_new(options, "none", state_dir);

	d->profile = sim_profile_parse(xml, strlen(xml), NULL, NULL);
	d->profile_bytes = g_bytes_new(xml, strlen(xml));
	d->key = sim_key_new();
	d->cert = sim_cert_new(d->key, "device", NULL, NULL, ca_cert, ca_key, 10);
	return d;
}

static void test_kinds(void)
{
	static const struct { const char *name, *pattern; enum sim_kind kind; } rows[] = {
		{"iphone", "^00008130-[0-9A-F]{16}$", SIM_IPHONE}, {"ipad", "^00008112-[0-9A-F]{16}$", SIM_IPAD}, {"appletv", "^00008110-[0-9A-F]{16}$", SIM_APPLETV},
		{"mac", "^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$", SIM_MAC},
	};

	g_assert_cmpint(sim_kind_find("watch"), ==, SIM_KIND_MAX);
	g_assert_cmpint(sim_kind_find(NULL), ==, SIM_KIND_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = sim_kind_find(rows[i].name)};
		g_autoptr(device) d = device_new(&options, "none", NULL);

		g_assert_cmpint(options.kind, ==, rows[i].kind);
		g_assert_true(g_regex_match_simple(rows[i].pattern, d->udid, 0, 0));
		g_assert_true(pom_id_check(d->magic));
	}
}

static void test_state(void)
{
	g_autofree char *top = g_dir_make_tmp("pomona-sim-XXXXXX", NULL), *dir = g_build_filename(top, "state", NULL), *path = g_build_filename(dir, "key.pem", NULL);
	struct sim_device_options options = {.kind = SIM_IPAD, .quiet = true}, other = {.kind = SIM_MAC, .quiet = true};
	g_autoptr(device) a = make_device(&options, dir), b = device_new(&options, "none", dir), c = device_new(&other, "none", dir), d = device_new(&options, "none", dir);
	g_autoptr(GError) error = NULL;
	GStatBuf info;
	bool found = true;

	g_assert_true(device_load(b, &found, NULL));
	g_assert_false(found);
	g_assert_true(device_save(a, NULL));
	g_assert_cmpint(g_stat(path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	g_assert_true(device_load(b, &found, NULL));
	g_assert_true(found);
	g_assert_cmpstr(a->udid, ==, b->udid);
	g_assert_cmpstr(a->serial, ==, b->serial);
	g_assert_cmpstr(a->name, ==, b->name);
	g_assert_cmpstr(a->magic, ==, b->magic);
	g_assert_cmpmem(a->token, SIM_TOKEN_LEN, b->token, SIM_TOKEN_LEN);
	g_assert_cmpint(EVP_PKEY_eq(a->key, b->key), ==, 1);
	g_assert_cmpint(X509_cmp(a->cert, b->cert), ==, 0);
	g_assert_cmpstr(a->profile->server_url, ==, b->profile->server_url);
	g_assert_false(device_load(c, &found, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_clear_error(&error);
	g_assert_true(g_file_set_contents(path, "not a key", -1, NULL));
	g_assert_false(device_load(d, &found, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY);
	device_forget(a);
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_cmpint(g_rmdir(dir), ==, 0);
	g_assert_cmpint(g_rmdir(top), ==, 0);
}

static void test_messages(void)
{
	static const struct { enum sim_kind kind; bool minimal; const char *has, *lacks; } rows[] = {
		{SIM_IPHONE, false, "UnlockToken", "NotOnConsole"}, {SIM_IPAD, false, "UnlockToken", "NotOnConsole"}, {SIM_MAC, false, "NotOnConsole", "UnlockToken"},
		{SIM_APPLETV, false, "AwaitingConfiguration", "UnlockToken"}, {SIM_IPHONE, true, "PushMagic", "UnlockToken"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = rows[i].kind, .quiet = true};
		g_autoptr(device) d = make_device(&options, NULL);
		g_autoptr(plist) token = NULL, authenticate = NULL;

		d->minimal = rows[i].minimal;
		token = device_token_update_message(d);
		authenticate = device_authenticate_message(d);
		g_assert_nonnull(plist_dict_get(token, rows[i].has));
		g_assert_null(plist_dict_get(token, rows[i].lacks));
		g_assert_cmpstr(plist_get_string(plist_dict_get(authenticate, "Topic")), ==, TOPIC);
		g_assert_cmpint(plist_dict_get(authenticate, "DeviceName") != NULL, ==, !rows[i].minimal);
		g_assert_cmpint(plist_dict_get(authenticate, "ModelName") != NULL, ==, !rows[i].minimal);
	}
}

/* ---- answers ---- */

static plist *answer(device *d, const char *inner)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\"><dict><key>CommandUUID</key><string>C1</string><key>Command</key><dict>%s</dict></dict></plist>", inner);
	g_autoptr(plist) command = plist_parse(xml, strlen(xml), NULL, NULL);
	plist *reply;

	g_assert_nonnull(command);
	reply = device_answer(d, command);
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "UDID")), ==, d->udid);
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "CommandUUID")), ==, "C1");
	return reply;
}

static void assert_answer(device *d, const char *inner, const char *status, int code, const char *key)
{
	g_autoptr(plist) reply = answer(d, inner);
	int64_t got = 0;

	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "Status")), ==, status);
	if (code) {
		g_assert_true(plist_get_integer(plist_dict_get(plist_child(plist_dict_get(reply, "ErrorChain"), 0), "ErrorCode"), &got));
		g_assert_cmpint(got, ==, code);
	}
	if (key)
		g_assert_nonnull(plist_dict_get(reply, key));
}

#define TYPE(name) "<key>RequestType</key><string>" name "</string>"

static void test_answers(void)
{
	static const struct { enum sim_kind kind; const char *inner, *status; int code; const char *key; } rows[] = {
		{SIM_IPHONE, TYPE("DeviceInformation"), "Acknowledged", 0, "QueryResponses"}, {SIM_MAC, TYPE("SecurityInfo"), "Acknowledged", 0, "SecurityInfo"},
		{SIM_APPLETV, TYPE("ProfileList"), "Acknowledged", 0, "ProfileList"}, {SIM_IPAD, TYPE("CertificateList"), "Acknowledged", 0, "CertificateList"},
		{SIM_IPAD, TYPE("InstalledApplicationList"), "Acknowledged", 0, "InstalledApplicationList"}, {SIM_IPHONE, TYPE("DeviceLock"), "Acknowledged", 0, NULL},
		{SIM_APPLETV, TYPE("DeviceLock"), "Error", 12021, NULL}, {SIM_IPHONE, TYPE("NoSuchThing"), "Error", 12021, NULL}, {SIM_IPHONE, "", "CommandFormatError", 12008, NULL},
		{SIM_IPHONE, TYPE("InstallProfile"), "Error", 12008, NULL}, {SIM_IPHONE, TYPE("InstallProfile") "<key>Payload</key><data>AAAA</data>", "Error", 1000, NULL},
		{SIM_IPHONE, TYPE("RemoveProfile") "<key>Identifier</key><string>x</string>", "Error", 12075, NULL},
		{SIM_IPHONE, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.mdm</string>", "Acknowledged", 0, NULL},
		{SIM_IPHONE, TYPE("EraseDevice"), "Acknowledged", 0, NULL}, {SIM_MAC, TYPE("Settings"), "Acknowledged", 0, "Settings"},
		{SIM_IPHONE, TYPE("ManagedApplicationList"), "Acknowledged", 0, "ManagedApplicationList"}, {SIM_IPHONE, TYPE("Restrictions"), "Acknowledged", 0, "GlobalRestrictions"},
		{SIM_IPHONE, TYPE("Settings") "<key>Settings</key><string>x</string>", "Acknowledged", 0, "Settings"},
		{SIM_IPHONE, TYPE("DeviceInformation") "<key>Queries</key><array><integer>1</integer><string>UDID</string></array>", "Acknowledged", 0, "QueryResponses"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = rows[i].kind, .quiet = true};
		g_autoptr(device) d = make_device(&options, NULL);

		assert_answer(d, rows[i].inner, rows[i].status, rows[i].code, rows[i].key);
		g_assert_cmpint(d->erase_next, ==, strstr(rows[i].inner, "EraseDevice") != NULL);
		g_assert_cmpint(d->check_out_next, ==, strstr(rows[i].inner, "org.example.mdm") != NULL);
	}
}

static void test_profiles_installed(void)
{
	static const char body[] = "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadIdentifier</key><string>org.example.wifi</string></dict></plist>";
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, NULL);
	g_autoptr(GBytes) bytes = sign_profile(body, ca_cert, ca_key, false);
	g_autofree char *base64 = g_base64_encode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	g_autofree char *install = g_strdup_printf(TYPE("InstallProfile") "<key>Payload</key><data>%s</data>", base64);

	for (int i = 0; i < 2; i++) {
		assert_answer(d, install, "Acknowledged", 0, NULL);
		g_assert_cmpuint(d->installed->len, ==, 1);
	}
	assert_answer(d, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.wifi</string>", "Acknowledged", 0, NULL);
	g_assert_cmpuint(d->installed->len, ==, 0);
	assert_answer(d, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.wifi</string>", "Error", 12075, NULL);
}

static void test_known_queries_only(void)
{
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, NULL);
	g_autoptr(plist) reply = answer(d, TYPE("DeviceInformation") "<key>Queries</key><array><string>SerialNumber</string><string>NoSuchKey</string></array>");
	const plist *responses = plist_dict_get(reply, "QueryResponses");

	g_assert_cmpuint(plist_count(responses), ==, 1);
	g_assert_cmpstr(plist_get_string(plist_dict_get(responses, "SerialNumber")), ==, d->serial);
}

static void test_misbehaviors(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	const struct sim_misbehavior *list = sim_misbehaviors();

	for (const struct sim_misbehavior *m = list; m->name; m++) {
		const struct misbehavior *found = misbehavior_find(m->name);

		g_assert_true(g_hash_table_add(names, (void *)(uintptr_t)m->name));
		g_assert_nonnull(found);
		g_assert_cmpint(misbehavior_n_devices(found) == 2, ==, strstr(m->text, "takes two links") != NULL);
	}
	g_assert_null(misbehavior_find("no such"));
}

static void test_usage(void)
{
	static const char *const one[] = {"none", NULL}, *const none[] = {NULL};
	const struct { struct sim_device_options options; const char *wanted; } rows[] = {
		{{.urls = one, .misbehave = "no such", .quiet = true}, "no misbehavior"},
		{{.urls = one, .misbehave = "others-certificate", .quiet = true}, "takes 2 enrollment links"},
		{{.urls = none, .quiet = true}, "there are 0"},
		{{.urls = one, .quiet = true}, "none"},
		{{.urls = one, .ca_file = "/nonexistent/ca.pem", .quiet = true}, "ca.pem"},
		{{.urls = one, .apns = "nowhere", .quiet = true}, "HOST:PORT"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(sim_device_run(&rows[i].options, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
		g_assert_nonnull(strstr(error->message, rows[i].wanted));
	}
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	ca_key = sim_key_new();
	ca_cert = sim_cert_new(ca_key, "Test CA", NULL, NULL, NULL, NULL, 30);
	g_test_add_data_func("/sim/signature/sha1", GINT_TO_POINTER(0), test_signature);
	g_test_add_data_func("/sim/signature/modern", GINT_TO_POINTER(1), test_signature);
	g_test_add_data_func("/sim/scep/request/ios", GINT_TO_POINTER(0), test_scep_request);
	g_test_add_data_func("/sim/scep/request/macos", GINT_TO_POINTER(1), test_scep_request);
	g_test_add_data_func("/sim/scep/reply/ios", GINT_TO_POINTER(0), test_scep_reply);
	g_test_add_data_func("/sim/scep/reply/macos", GINT_TO_POINTER(1), test_scep_reply);
	g_test_add_func("/sim/scep/algorithms", test_algorithms);
	g_test_add_func("/sim/scep/bad-subject", test_bad_subject);
	g_test_add_func("/sim/scep/poll-content", test_poll_content);
	g_test_add_func("/sim/scep/ca-single", test_ca_single);
	g_test_add_func("/sim/scep/ca-chain", test_ca_chain);
	g_test_add_func("/sim/scep/url", test_url);
	g_test_add_func("/sim/profile/unsigned", test_profile_unsigned);
	g_test_add_data_func("/sim/profile/signed-der", GINT_TO_POINTER(0), test_profile_signed);
	g_test_add_data_func("/sim/profile/signed-ber", GINT_TO_POINTER(1), test_profile_signed);
	g_test_add_func("/sim/profile/roots", test_profile_roots);
	g_test_add_func("/sim/profile/refused", test_profile_refused);
	g_test_add_func("/sim/device/kinds", test_kinds);
	g_test_add_func("/sim/device/state", test_state);
	g_test_add_func("/sim/device/messages", test_messages);
	g_test_add_func("/sim/device/answers", test_answers);
	g_test_add_func("/sim/device/profiles-installed", test_profiles_installed);
	g_test_add_func("/sim/device/known-queries-only", test_known_queries_only);
	g_test_add_func("/sim/device/misbehaviors", test_misbehaviors);
	g_test_add_func("/sim/device/usage", test_usage);
	status = g_test_run();
	X509_free(ca_cert);
	EVP_PKEY_free(ca_key);
	return status;
}
