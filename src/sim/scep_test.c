/* The messages of the simulator's SCEP client: what it writes, and every reply that it must refuse. */
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/scep_oid.h"
#include "sim/scep_testkit.h"

static struct fake_ca *ca;
static EVP_PKEY *device_key;

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

static bool is_indefinite(GBytes *bytes)
{
	return !memcmp(g_bytes_get_data(bytes, NULL), "\x30\x80", 2);
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

static char *attribute(CMS_SignerInfo *signer, const char *oid, int type, int *ret_len)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	if (ret_len)
		*ret_len = value ? ASN1_STRING_length(value) : -1;
	return value ? g_strndup((const char *)ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value)) : NULL;
}

static plist *make_subject(void)
{
	static const char xml[] = "<plist version=\"1.0\"><array><array><array><string>O</string><string>Example</string></array></array>"
				  "<array><array><string>CN</string><string>one</string></array><array><string>2.5.4.5</string><string>SERIAL</string></array></array></array></plist>";
	plist *subject = plist_parse(xml, strlen(xml), NULL, NULL);

	g_assert_nonnull(subject);
	return subject;
}

static sim_scep *new_scep(const char *form, const char *challenge, const char *caps)
{
	const struct sim_scep_choice choice = {.form = sim_scep_form_find(form), .challenge = challenge};
	sim_scep *scep = sim_scep_new(&choice, device_key, caps, NULL);

	g_assert_nonnull(scep);
	return scep;
}

static X509_REQ *read_csr(GBytes *der)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(der, &len);
	X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);

	g_assert_nonnull(req);
	return req;
}

/* ---- requests ---- */

struct request_row {
	const char *form;
	int md;
	const char *cipher; /* its OID */
	size_t cipher_len;
	int nonce_len;
	long csr_version;
	bool other_key, encipherment, der, oaep, challenge_attribute;
	const char *subject; /* of the signer; NULL: a UUID */
};
#define OID_3DES "\x2a\x86\x48\x86\xf7\x0d\x03\x07"
#define OID_AES128 "\x60\x86\x48\x01\x65\x03\x04\x01\x02"
#define OID_AES256 "\x60\x86\x48\x01\x65\x03\x04\x01\x2a"
#define OID_OAEP "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07"

static void check_outer(const sim_scep *scep, CMS_ContentInfo *cms, const struct request_row *row)
{
	CMS_SignerInfo *signer = only_signer(cms);
	g_autofree char *type = attribute(signer, OID_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, NULL), *transaction = attribute(signer, OID_TRANSACTION, V_ASN1_PRINTABLESTRING, NULL);
	g_autofree char *challenge = attribute(signer, "1.2.840.113549.1.9.7", V_ASN1_PRINTABLESTRING, NULL), *subject = sim_cert_subject(scep->signer), *nonce = NULL;
	int nonce_len;

	nonce = attribute(signer, OID_SENDER_NONCE, V_ASN1_OCTET_STRING, &nonce_len);
	g_assert_cmpstr(type, ==, "19");
	g_assert_cmpstr(transaction, ==, scep->transaction);
	g_assert_cmpuint(strspn(transaction, "0123456789ABCDEF"), ==, 40);
	g_assert_cmpint(nonce_len, ==, row->nonce_len);
	g_assert_cmpint(digest_of(signer), ==, row->md);
	g_assert_cmpint(EVP_PKEY_eq(scep->signer_key, scep->key) != 1, ==, row->other_key);
	g_assert_cmpint(!!(X509_get_key_usage(scep->signer) & KU_KEY_ENCIPHERMENT), ==, row->encipherment);
	g_assert_cmpstr(challenge, ==, row->challenge_attribute ? "secret" : NULL);
	if (row->subject)
		g_assert_cmpstr(subject, ==, row->subject);
	else
		g_assert_true(pom_id_check(subject + 3));
}

static void check_csr(const sim_scep *scep, GBytes *der, const struct request_row *row)
{
	g_autoptr(X509_REQ) req = read_csr(der);
	char text[256];

	g_assert_cmpint(X509_REQ_get_version(req), ==, row->csr_version);
	g_assert_cmpint(X509_REQ_verify(req, scep->key), ==, 1);
	g_assert_cmpint(X509_REQ_get_attr_by_NID(req, NID_pkcs9_challengePassword, -1), >=, 0);
	X509_NAME_oneline(X509_REQ_get_subject_name(req), text, sizeof(text));
	g_assert_cmpstr(text, ==, "/O=Example/CN=one+serialNumber=SERIAL");
	g_assert_cmpint(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), ==, 3);
}

static void check_request(const struct request_row *row)
{
	g_autoptr(plist) subject = make_subject();
	const struct sim_scep_wish wish = {.subject = subject, .key_usage = 5};
	g_autoptr(sim_scep) scep = new_scep(row->form, "secret", "AES\nSHA-256\nPOSTPKIOperation\n");
	g_autoptr(GBytes) csr = sim_scep_csr(scep, &wish, NULL), message = sim_scep_request(scep, SIM_SCEP_PKCS_REQ, ca->ra, csr, NULL), enveloped = NULL, plain = NULL;
	g_autoptr(CMS_ContentInfo) outer = read_cms(message), inner = NULL;
	g_autoptr(BIO) content = BIO_new(BIO_s_mem()), decrypted = BIO_new(BIO_s_mem());

	g_assert_cmpint(is_indefinite(message), ==, !row->der);
	g_assert_cmpint(contains(message, "\xa0\x80\x24\x80\x04", 5), ==, !row->der); /* eContent is an OCTET STRING in pieces */
	g_assert_cmpint(CMS_verify(outer, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	check_outer(scep, outer, row);
	enveloped = sim_bio_bytes(content);
	g_assert_cmpint(is_indefinite(enveloped), ==, !row->der);
	g_assert_true(contains(enveloped, row->cipher, row->cipher_len));
	g_assert_cmpint(contains(enveloped, OID_OAEP, 9), ==, row->oaep);
	inner = read_cms(enveloped);
	g_assert_cmpint(CMS_decrypt(inner, ca->ra_key, ca->ra, NULL, decrypted, CMS_BINARY), ==, 1);
	plain = sim_bio_bytes(decrypted);
	g_assert_true(g_bytes_equal(plain, csr));
	check_csr(scep, plain, row);
}

static void test_forms(void)
{
	static const struct request_row rows[] = {
		{.form = "ios", .md = NID_sha256, .cipher = OID_AES128, .cipher_len = 9, .nonce_len = 16, .encipherment = true},
		{.form = "macos", .md = NID_sha1, .cipher = OID_3DES, .cipher_len = 8, .nonce_len = 8, .csr_version = 2, .other_key = true, .challenge_attribute = true,
		 .subject = "C=US,CN=MDM SCEP SIGNER"},
		{.form = "modern", .md = NID_sha256, .cipher = OID_AES256, .cipher_len = 9, .nonce_len = 16, .encipherment = true, .der = true, .oaep = true},
		{.form = "renaming", .md = NID_sha256, .cipher = OID_AES128, .cipher_len = 9, .nonce_len = 16, .encipherment = true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		check_request(&rows[i]);
	g_assert_null(sim_scep_form_find("none"));
	g_assert_null(sim_scep_form_find(NULL));
}

/* A message of no use but to have been written. */
static void write_any(sim_scep *scep)
{
	g_autoptr(GBytes) content = g_bytes_new_static("x", 1), message = sim_scep_request(scep, SIM_SCEP_PKCS_REQ, ca->ra, content, NULL);

	g_assert_nonnull(message);
}

/* Every message has another nonce; another signer only where the form says so. */
static void test_each_message(void)
{
	for (const struct sim_scep_form *form = sim_scep_forms; form->name; form++) {
		g_autoptr(sim_scep) scep = new_scep(form->name, NULL, "");
		g_autoptr(X509) signer = NULL;
		uint8_t nonce[16];

		write_any(scep);
		signer = X509_dup(scep->signer);
		memcpy(nonce, scep->nonce, sizeof(nonce));
		write_any(scep);
		g_assert_cmpint(memcmp(nonce, scep->nonce, scep->nonce_len), !=, 0);
		g_assert_cmpint(X509_cmp(signer, scep->signer) != 0, ==, form->renames);
		g_assert_cmpint(X509_NAME_cmp(X509_get_subject_name(signer), X509_get_subject_name(scep->signer)) != 0, ==, form->renames);
	}
}

static void test_algorithms(void)
{
	static const struct { const char *caps; int md, cipher; } rows[] = {
		{"", NID_sha1, NID_des_ede3_cbc}, {"AES\r\nSHA-256\r\n", NID_sha256, NID_aes_128_cbc}, {"SCEPStandard", NID_sha256, NID_aes_128_cbc},
		{"aes\n", NID_sha1, NID_aes_128_cbc}, {"XAES\nSHA-2567\n", NID_sha1, NID_des_ede3_cbc},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(sim_scep) scep = new_scep("ios", "", rows[i].caps);

		g_assert_cmpint(EVP_MD_get_type(scep->md), ==, rows[i].md);
		g_assert_cmpint(EVP_CIPHER_get_nid(scep->cipher), ==, rows[i].cipher);
		g_assert_null(scep->challenge);
	}
	g_assert_cmpint(EVP_CIPHER_get_nid(sim_scep_cipher_find("aes192")), ==, NID_aes_192_cbc);
	g_assert_cmpint(EVP_MD_get_type(sim_scep_digest_find("sha384")), ==, NID_sha384);
	g_assert_null(sim_scep_cipher_find("rc4"));
	g_assert_null(sim_scep_digest_find("md5"));
	g_assert_cmpint(sim_scep_transport_find("oaep"), ==, SIM_SCEP_OAEP);
	g_assert_cmpint(sim_scep_transport_find("x"), ==, SIM_SCEP_TRANSPORT_ANY);
}

static void test_transactions(void)
{
	static const struct { const char *name, *pattern; } rows[] = {
		{"apple", "^[0-9A-F]{40}$"}, {"strongswan", "^[0-9a-f]{40}$"}, {"sscep", "^[0-9A-F]{32}$"}, {"constant", "^SSCEP transactionId$"}, {"certmonger", "^[1-9][0-9]{76,77}$"},
		{"scepclient", "^[A-Za-z0-9+/]{27}=$"}, {"text:a/b <x>", "^a/b <x>$"}, {"text:", "^$"},
	};
	const struct sim_scep_choice wrong = {.transaction = "none"};
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = sim_scep_transaction_make(rows[i].name, device_key), *other = sim_scep_transaction_make(rows[i].name, ca->ra_key);

		g_assert_true(g_regex_match_simple(rows[i].pattern, text, 0, 0));
		g_assert_cmpint(!strcmp(text, other), ==, g_str_has_prefix(rows[i].name, "text:") || !strcmp(rows[i].name, "constant"));
	}
	g_assert_null(sim_scep_new(&wrong, device_key, "", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
}

static const ASN1_TYPE *challenge_of(X509_REQ *req, int *ret_n)
{
	int at = X509_REQ_get_attr_by_NID(req, NID_pkcs9_challengePassword, -1);
	X509_ATTRIBUTE *found = at < 0 ? NULL : X509_REQ_get_attr(req, at);

	*ret_n = found ? X509_ATTRIBUTE_count(found) : 0;
	return found ? X509_ATTRIBUTE_get0_type(found, 0) : NULL;
}

static void test_challenges(void)
{
	static const struct { const char *words, *text; int n, type; const char *bytes; int len; bool is_signed; } rows[] = {
		{"", "secret", 1, V_ASN1_PRINTABLESTRING, "secret", 6, false}, {"", "s\xc3\xa9", 1, V_ASN1_UTF8STRING, "s\xc3\xa9", 3, false},
		{"bmp", "s\xc3\xa9", 1, V_ASN1_BMPSTRING, "\0s\0\xe9", 4, false}, {"teletex", "s\xc3\xa9", 1, V_ASN1_T61STRING, "s\xe9", 2, false}, {"utf8", "x", 1, V_ASN1_UTF8STRING, "x", 1, false},
		{"printable", "a_b", 1, V_ASN1_PRINTABLESTRING, "a_b", 3, false}, {"twice", "x", 2, V_ASN1_PRINTABLESTRING, "x", 1, false}, {"attribute", "secret", 0, 0, NULL, 0, true},
		{"both,utf8", "secret", 1, V_ASN1_UTF8STRING, "secret", 6, true},
	};
	unsigned bits;

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_scep_choice choice = {.challenge = rows[i].text};
		g_autoptr(sim_scep) scep = NULL;
		g_autoptr(GBytes) csr = NULL, message = NULL;
		g_autoptr(X509_REQ) req = NULL;
		g_autoptr(CMS_ContentInfo) cms = NULL;
		const ASN1_TYPE *value;
		int n;

		g_assert_true(sim_challenge_parse(rows[i].words[0] ? rows[i].words : NULL, &choice.challenge_as, NULL));
		scep = sim_scep_new(&choice, device_key, "", NULL);
		csr = sim_scep_csr(scep, &(struct sim_scep_wish){0}, NULL);
		req = read_csr(csr);
		value = challenge_of(req, &n);
		g_assert_cmpint(n, ==, rows[i].n);
		if (n) {
			g_assert_cmpint(value->type, ==, rows[i].type);
			g_assert_cmpmem(ASN1_STRING_get0_data(value->value.asn1_string), ASN1_STRING_length(value->value.asn1_string), rows[i].bytes, rows[i].len);
		}
		message = sim_scep_request(scep, SIM_SCEP_PKCS_REQ, ca->ra, csr, NULL);
		cms = read_cms(message);
		g_assert_cmpint(CMS_signed_get_attr_by_NID(only_signer(cms), NID_pkcs9_challengePassword, -1) >= 0, ==, rows[i].is_signed);
	}
	g_assert_false(sim_challenge_parse("bmp,none", &bits, NULL));
}

static void test_wishes(void)
{
	static const char *const extensions[] = {"basicConstraints=critical,CA:TRUE", "extendedKeyUsage=codeSigning,OCSPSigning", "subjectAltName=DNS:x.example.org,email:a@example.org", NULL};
	g_autoptr(sim_scep) scep = new_scep("ios", NULL, "");
	const struct sim_scep_wish wish = {.subject_text = "CN=one\\, two,O=Example", .extensions = extensions}, nameless = {.subject_text = ""}, plain = {0};
	g_autoptr(GBytes) der = sim_scep_csr(scep, &wish, NULL), empty_der = sim_scep_csr(scep, &nameless, NULL), plain_der = sim_scep_csr(scep, &plain, NULL);
	g_autoptr(X509_REQ) req = read_csr(der), empty = read_csr(empty_der), other = read_csr(plain_der);
	STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(req);
	char text[256];

	X509_NAME_oneline(X509_REQ_get_subject_name(req), text, sizeof(text));
	g_assert_cmpstr(text, ==, "/CN=one, two/O=Example");
	g_assert_cmpint(X509_NAME_entry_count(X509_REQ_get_subject_name(empty)), ==, 0);
	X509_NAME_oneline(X509_REQ_get_subject_name(other), text, sizeof(text));
	g_assert_true(g_str_has_prefix(text, "/CN=com.apple.security.scep."));
	g_assert_cmpint(sk_X509_EXTENSION_num(list), ==, 3);
	g_assert_cmpint(X509v3_get_ext_by_NID(list, NID_basic_constraints, -1), >=, 0);
	g_assert_cmpint(X509v3_get_ext_by_NID(list, NID_ext_key_usage, -1), >=, 0);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

static void test_bad_wishes(void)
{
	static const char *const bodies[] = {"<array><array><string>CN</string></array></array>", "<array><string>CN</string></array>",
					     "<array><array><string>no such name</string><string>x</string></array></array>"};
	static const char *const unknown[] = {"noSuchThing=1", NULL}, *const unpaired[] = {"basicConstraints", NULL};
	const struct sim_scep_wish wishes[] = {{.subject_text = "CN"}, {.subject_text = "XX=1"}, {.extensions = unknown}, {.extensions = unpaired}};
	g_autoptr(sim_scep) scep = new_scep("ios", NULL, "");

	for (unsigned i = 0; i < G_N_ELEMENTS(bodies) + G_N_ELEMENTS(wishes); i++) {
		g_autofree char *xml = i < G_N_ELEMENTS(bodies) ? g_strdup_printf("<plist version=\"1.0\"><array>%s</array></plist>", bodies[i]) : NULL;
		g_autoptr(plist) subject = xml ? plist_parse(xml, strlen(xml), NULL, NULL) : NULL;
		const struct sim_scep_wish wish = {.subject = subject};
		g_autoptr(GError) error = NULL;

		g_assert_null(sim_scep_csr(scep, xml ? &wish : &wishes[i - G_N_ELEMENTS(bodies)], &error));
		g_assert_error(error, POM_ERROR, POM_ERR_PROFILE);
	}
}

static void test_contents(void)
{
	g_autoptr(sim_scep) scep = new_scep("ios", NULL, "");
	g_autoptr(plist) subject = make_subject();
	g_autoptr(GBytes) csr = sim_scep_csr(scep, &(struct sim_scep_wish){.subject = subject}, NULL), content = sim_scep_poll_content(ca->ra, csr, NULL), garbage = g_bytes_new_static("x", 1);
	g_autoptr(GBytes) get = sim_scep_get_content(X509_get_issuer_name(ca->ra), X509_get0_serialNumber(ca->ra));
	gsize len;
	const unsigned char *p = g_bytes_get_data(content, &len), *end = p + len;
	long body_len;
	int tag, class;
	X509_NAME *issuer, *name;
	ASN1_INTEGER *serial;

	g_assert_cmpint(ASN1_get_object(&p, &body_len, &tag, &class, (long)len), ==, V_ASN1_CONSTRUCTED);
	issuer = d2i_X509_NAME(NULL, &p, (long)(end - p));
	name = d2i_X509_NAME(NULL, &p, (long)(end - p));
	g_assert_true(p == end);
	g_assert_cmpint(X509_NAME_cmp(issuer, X509_get_subject_name(ca->ra)), ==, 0);
	g_assert_cmpint(X509_NAME_entry_count(name), ==, 3);
	X509_NAME_free(issuer);
	X509_NAME_free(name);
	p = g_bytes_get_data(get, &len);
	end = p + len;
	g_assert_cmpint(ASN1_get_object(&p, &body_len, &tag, &class, (long)len), ==, V_ASN1_CONSTRUCTED);
	issuer = d2i_X509_NAME(NULL, &p, (long)(end - p));
	serial = d2i_ASN1_INTEGER(NULL, &p, (long)(end - p));
	g_assert_true(p == end);
	g_assert_cmpint(X509_NAME_cmp(issuer, X509_get_subject_name(ca->ca)), ==, 0);
	g_assert_cmpint(ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(ca->ra)), ==, 0);
	X509_NAME_free(issuer);
	ASN1_INTEGER_free(serial);
	g_assert_null(sim_scep_poll_content(ca->ra, garbage, NULL));
}

static void test_recipient_too_small(void)
{
	g_autoptr(sim_scep) modern = new_scep("modern", NULL, "");
	g_autoptr(GBytes) content = g_bytes_new_static("x", 1);
	g_autoptr(EVP_PKEY) tiny = EVP_RSA_gen(512);
	g_autoptr(X509) cert = fake_cert(tiny, "tiny", ca->ca, ca->ca_key, NULL, false, -60, 3600);
	g_autoptr(GError) error = NULL;

	/* A key of 512 bits has no room for OAEP with SHA-256. */
	g_assert_null(sim_scep_request(modern, SIM_SCEP_PKCS_REQ, cert, content, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
}

/* ---- replies ---- */

static void check_reply(sim_scep *scep, enum sim_scep_type type, const struct sim_scep_ca *known, const struct fake_reply *form)
{
	g_autoptr(GBytes) reply = fake_reply_make(ca, scep, type, form);
	const struct sim_scep_question question = {.type = type, .issuer = X509_get_subject_name(ca->ca), .serial = X509_get0_serialNumber(scep->signer)};
	bool success = !form->status || !strcmp(form->status, "0");
	struct sim_scep_outcome outcome = {0};
	g_autoptr(GError) error = NULL;
	bool ok = sim_scep_open(scep, &question, known, reply, &outcome, &error);

	g_test_message("%s: %s", form->name, ok ? "taken" : error->message);
	g_assert_cmpint(ok, ==, !form->wanted);
	if (!ok) {
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
		if (!strstr(error->message, form->wanted))
			g_error("%s: %s", form->name, error->message);
		g_assert_null(outcome.cert);
		return;
	}
	g_assert_cmpint(outcome.status, ==, success ? SIM_SCEP_SUCCESS : *form->status - '0');
	g_assert_cmpstr(outcome.fail_info, ==, form->fail_info);
	g_assert_cmpstr(outcome.fail_info_text, ==, form->fail_text);
	g_assert_cmpint(outcome.cert != NULL, ==, success && type != SIM_SCEP_GET_CRL);
	g_assert_cmpint(outcome.crl != NULL, ==, success && type == SIM_SCEP_GET_CRL);
	sim_scep_outcome_clear(&outcome);
}

static void known_ca(struct sim_scep_ca *ret)
{
	X509 *const certs[] = {ca->root, ca->ca, ca->ra, NULL};
	g_autoptr(GBytes) chain = fake_certs_only(certs, NULL, NULL, NULL);

	g_assert_true(sim_scep_ca_parse("application/x-x509-ca-ra-cert", chain, NULL, ret, NULL));
	g_assert_cmpint(X509_cmp(ret->signer, ca->ra), ==, 0);
}

static void test_replies(gconstpointer data)
{
	static const struct fake_reply forms[] = {
		{.name = "success"},
		{.name = "failure", .status = "2", .fail_info = "2"},
		{.name = "failure with a text", .status = "2", .fail_info = "4", .fail_text = "no such certificate"},
		{.name = "pending", .status = "3"},
		{.name = "failure without reason", .status = "2", .wanted = "failInfo"},
		{.name = "failure with an unknown reason", .status = "2", .fail_info = "5", .wanted = "failInfo"},
		{.name = "failure with two reasons", .status = "2", .fail_info = "22", .wanted = "failInfo"},
		{.name = "failure with a text of another type", .status = "2", .fail_info = "2", .fail_text = "x", .fail_text_printable = true, .wanted = "UTF8String"},
		{.name = "success with failInfo", .fail_info = "2", .wanted = "not FAILURE"},
		{.name = "pending with failInfoText", .status = "3", .fail_text = "x", .wanted = "not FAILURE"},
		{.name = "failure with content", .status = "2", .fail_info = "2", .add_content = true, .wanted = "only SUCCESS"},
		{.name = "pending with content", .status = "3", .add_content = true, .wanted = "only SUCCESS"},
		{.name = "success without content", .drop_content = true, .wanted = "without content"},
		{.name = "unknown status", .status = "1", .wanted = "pkiStatus"},
		{.name = "no status", .status = "", .wanted = "pkiStatus"},
		{.name = "message type", .type = "19", .wanted = "messageType"},
		{.name = "no message type", .type = "", .wanted = "messageType"},
		{.name = "two message types", .type_twice = true, .wanted = "messageType"},
		{.name = "transaction", .transaction = "00", .wanted = "transactionID"},
		{.name = "recipientNonce", .recipient_nonce = "0123456789abcdef", .wanted = "recipientNonce"},
		{.name = "no senderNonce", .sender_nonce = "", .wanted = "16 bytes"},
		{.name = "short senderNonce", .sender_nonce = "01234567", .wanted = "16 bytes"},
		{.name = "other signer", .other_signer = true, .wanted = "not signed by"},
		{.name = "damaged", .damaged = true, .wanted = "not signed by"},
		{.name = "longer", .longer = true, .wanted = "not the CMS message"},
		{.name = "signer left out", .no_signer_cert = true, .wanted = "bring its signer's certificate"},
		{.name = "two signers", .two_signers = true, .wanted = "2 signers"},
		{.name = "unsorted", .unsorted = true, .wanted = "sorted"},
		{.name = "sha256WithRSAEncryption", .sha256_rsa = true, .wanted = "rsaEncryption"},
		{.name = "digest", .other_digest = true, .wanted = "digest"},
		{.name = "content type", .other_content_type = true, .wanted = "eContentType"},
		{.name = "recipient", .other_recipient = true, .wanted = "not enveloped to the signer"},
		{.name = "two recipients", .two_recipients = true, .wanted = "not enveloped to the signer"},
		{.name = "cipher", .other_cipher = true, .wanted = "another cipher"},
		{.name = "transport", .other_transport = true, .wanted = "transported"},
		{.name = "not enveloped", .not_enveloped = true, .wanted = "not the CMS message"},
		{.name = "signed inside", .signed_inner = true, .wanted = "has a signer or content"},
		{.name = "no certificate", .no_cert = true, .wanted = "22007"},
		{.name = "two certificates", .two_certs = true, .wanted = "2 certificates"},
		{.name = "a CRL besides", .with_crl = true, .wanted = "CRL"},
		{.name = "key", .other_key = true, .wanted = "22008"},
		{.name = "issuer", .foreign_issuer = true, .wanted = "not issued by"},
		{.name = "forged", .forged = true, .wanted = "not issued by"},
		{.name = "not yet valid", .not_yet = true, .wanted = "not valid now"},
		{.name = "expired", .expired = true, .wanted = "not valid now"},
	};
	g_autoptr(sim_scep) scep = new_scep(data, "secret", "");
	g_autoptr(GBytes) garbage = g_bytes_new_static("garbage", 7), empty = g_bytes_new_static("", 0);
	const struct sim_scep_question question = {.type = SIM_SCEP_PKCS_REQ};
	struct sim_scep_outcome outcome;
	struct sim_scep_ca known;

	write_any(scep);
	known_ca(&known);
	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++)
		check_reply(scep, SIM_SCEP_PKCS_REQ, &known, &forms[i]);
	if (scep->nonce_len == 16)
		check_reply(scep, SIM_SCEP_PKCS_REQ, &known, &(struct fake_reply){.name = "our nonce", .sender_nonce = "ours", .wanted = "not a fresh one"});
	if (scep->transport != SIM_SCEP_PKCS1)
		check_reply(scep, SIM_SCEP_PKCS_REQ, &known, &(struct fake_reply){.name = "hash of OAEP", .other_oaep_hash = true, .wanted = "transported"});
	g_assert_false(sim_scep_open(scep, &question, &known, garbage, &outcome, NULL));
	g_assert_false(sim_scep_open(scep, &question, &known, empty, &outcome, NULL));
	sim_scep_ca_clear(&known);
}

/* GetCert and GetCRL, by a device that has a certificate. */
static void test_other_replies(void)
{
	static const struct { enum sim_scep_type type; struct fake_reply form; } rows[] = {
		{SIM_SCEP_GET_CERT, {.name = "the certificate"}},
		{SIM_SCEP_GET_CERT, {.name = "another certificate", .other_serial = true, .wanted = "another certificate"}},
		{SIM_SCEP_GET_CERT, {.name = "no such certificate", .status = "2", .fail_info = "4"}},
		{SIM_SCEP_GET_CRL, {.name = "the CRL"}},
		{SIM_SCEP_GET_CRL, {.name = "a certificate besides", .two_certs = true, .wanted = "one CRL and nothing else"}},
		{SIM_SCEP_GET_CRL, {.name = "a certificate instead", .no_crl = true, .wanted = "one CRL and nothing else"}},
		{SIM_SCEP_GET_CRL, {.name = "two CRLs", .two_crls = true, .wanted = "one CRL and nothing else"}},
		{SIM_SCEP_GET_CRL, {.name = "signed by another", .foreign_crl = true, .wanted = "the issuer asked for"}},
		{SIM_SCEP_GET_CRL, {.name = "of another issuer", .other_crl_issuer = true, .wanted = "the issuer asked for"}},
	};
	g_autoptr(X509) cert = fake_cert(device_key, "device", ca->ca, ca->ca_key, NULL, false, -60, 3600);
	const struct sim_scep_choice choice = {.signer = cert, .signer_key = device_key};
	g_autoptr(sim_scep) scep = sim_scep_new(&choice, device_key, "", NULL);
	struct sim_scep_ca known;

	write_any(scep);
	g_assert_cmpint(X509_cmp(scep->signer, cert), ==, 0);
	known_ca(&known);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		check_reply(scep, rows[i].type, &known, &rows[i].form);
	sim_scep_ca_clear(&known);
}

/* ---- GetCACert ---- */

static bool take_ca(const char *type, GBytes *body, GBytes *fingerprint, X509 *recipient, X509 *signer, const char *wanted)
{
	struct sim_scep_ca got = {0};
	g_autoptr(GError) error = NULL;
	bool ok = sim_scep_ca_parse(type, body, fingerprint, &got, &error);

	g_assert_cmpint(ok, ==, error == NULL);
	if (error) {
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_MESSAGE);
		if (!wanted || !strstr(error->message, wanted))
			g_error("%s, wanted %s", error->message, wanted ? wanted : "success");
	}
	if (recipient)
		g_assert_cmpint(X509_cmp(got.recipient, recipient), ==, 0);
	if (signer)
		g_assert_cmpint(X509_cmp(got.signer, signer), ==, 0);
	sim_scep_ca_clear(&got);
	return ok;
}

#define DER_TYPE "application/x-x509-ca-cert"
#define CHAIN_TYPE "application/x-x509-ca-ra-cert"

static void test_ca_single(void)
{
	g_autoptr(EVP_PKEY) ec = EVP_EC_gen("P-256");
	g_autoptr(X509) cert = fake_cert(ca->ra_key, "One", NULL, NULL, "critical,digitalSignature,keyEncipherment,keyCertSign", true, -60, 3600), free_use = fake_cert(ca->ra_key, "Free", NULL, NULL, NULL, true, -60, 3600);
	g_autoptr(X509) ec_cert = fake_cert(ec, "EC", NULL, NULL, NULL, true, -60, 3600), no_encipher = fake_cert(ca->ra_key, "x", NULL, NULL, "critical,digitalSignature,keyCertSign", true, -60, 3600);
	g_autoptr(X509) no_sign = fake_cert(ca->ra_key, "y", NULL, NULL, "critical,keyEncipherment,keyCertSign", true, -60, 3600);
	g_autoptr(GBytes) der = fake_der(cert), free_der = fake_der(free_use), ec_der = fake_der(ec_cert), no_encipher_der = fake_der(no_encipher), no_sign_der = fake_der(no_sign);
	g_autoptr(GBytes) longer = NULL, sha1 = fake_fingerprint(cert, EVP_sha1()), md5 = fake_fingerprint(cert, EVP_md5()), wrong = g_bytes_new_static("12345678901234567890", 20), empty = g_bytes_new_static("", 0);
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	g_byte_array_append(bytes, g_bytes_get_data(der, NULL), (guint)g_bytes_get_size(der));
	g_byte_array_append(bytes, (const guint8 *)"\n", 1);
	longer = g_bytes_new(bytes->data, bytes->len);
	g_assert_true(take_ca(DER_TYPE, der, NULL, cert, cert, NULL));
	g_assert_true(take_ca(DER_TYPE, der, sha1, cert, cert, NULL));
	g_assert_true(take_ca(DER_TYPE, der, md5, cert, cert, NULL));
	g_assert_true(take_ca(DER_TYPE, free_der, NULL, free_use, free_use, NULL));
	g_assert_false(take_ca(DER_TYPE, der, wrong, NULL, NULL, "22002"));
	g_assert_false(take_ca(DER_TYPE, longer, NULL, NULL, NULL, "behind"));
	g_assert_false(take_ca(DER_TYPE, wrong, NULL, NULL, NULL, "no DER certificate"));
	g_assert_false(take_ca(DER_TYPE, empty, NULL, NULL, NULL, "no DER certificate"));
	g_assert_false(take_ca(DER_TYPE "; charset=utf-8", der, NULL, NULL, NULL, "22004"));
	g_assert_false(take_ca("text/html", der, NULL, NULL, NULL, "22004"));
	g_assert_false(take_ca(NULL, der, NULL, NULL, NULL, "22004"));
	g_assert_false(take_ca(DER_TYPE, ec_der, NULL, NULL, NULL, "no RSA key"));
	g_assert_false(take_ca(DER_TYPE, no_encipher_der, NULL, NULL, NULL, "lacks"));
	g_assert_false(take_ca(DER_TYPE, no_sign_der, NULL, NULL, NULL, "lacks"));
}

static void test_ca_chain(void)
{
	g_autoptr(X509) ec_ra = fake_cert(ca->root_key, "EC RA", ca->ca, ca->ca_key, "critical,digitalSignature,keyEncipherment", false, -60, 3600);
	const struct { X509 *certs[6]; X509 *recipient, *signer; const char *wanted; } rows[] = {
		{{ca->ra, ca->ca, ca->root}, ca->ra, ca->ra, NULL},
		{{ca->root, ca->ca, ca->ra_sign, ca->ra_encrypt}, ca->ra_encrypt, ca->ra_sign, NULL},
		/* A pair goes before the one that does both. */
		{{ca->root, ca->ca, ca->ra, ca->ra_sign, ca->ra_encrypt}, ca->ra_encrypt, ca->ra_sign, NULL},
		{{ca->root, ca->ca, ca->ra, ca->ra_encrypt}, ca->ra, ca->ra, NULL},
		{{ca->ra, ca->ca}, NULL, NULL, "no root"},
		{{ca->ra, ca->root}, NULL, NULL, "without its issuer"},
		{{ca->root}, NULL, NULL, "below its root"},
		{{ca->root, ca->ca}, NULL, NULL, "below its root"},
		{{ca->root, ca->ca, ca->ra_sign}, NULL, NULL, "below its root"},
		{{ca->root, ca->ca, ca->ra, ca->next}, NULL, NULL, "two roots"},
		{{ca->root, ca->ca, ec_ra}, NULL, NULL, "no RSA key"},
		{{NULL}, NULL, NULL, "no certificate"},
	};
	g_autoptr(GBytes) sha1 = fake_fingerprint(ca->root, EVP_sha1()), wrong = fake_fingerprint(ca->ra, EVP_sha1()), good = NULL, garbage = g_bytes_new_static("0\x80", 2);
	g_autoptr(GBytes) is_signed = fake_certs_only(rows[0].certs, NULL, ca->ra, ca->ra_key), with_crl = fake_certs_only(rows[0].certs, ca->crl, NULL, NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GBytes) body = fake_certs_only(rows[i].certs, NULL, NULL, NULL);

		g_assert_cmpint(take_ca(CHAIN_TYPE, body, NULL, rows[i].recipient, rows[i].signer, rows[i].wanted), ==, !rows[i].wanted);
	}
	good = fake_certs_only(rows[0].certs, NULL, NULL, NULL);
	g_assert_true(take_ca(CHAIN_TYPE, good, sha1, ca->ra, ca->ra, NULL));
	g_assert_false(take_ca(CHAIN_TYPE, good, wrong, NULL, NULL, "22002"));
	g_assert_false(take_ca(DER_TYPE, good, NULL, NULL, NULL, "22002"));
	g_assert_false(take_ca(CHAIN_TYPE, garbage, NULL, NULL, NULL, "not the CMS message"));
	g_assert_false(take_ca(CHAIN_TYPE, is_signed, NULL, NULL, NULL, "signer or content"));
	g_assert_false(take_ca(CHAIN_TYPE, with_crl, NULL, NULL, NULL, "CRL"));
}

#define NEXT_TYPE "application/x-x509-next-ca-cert"

static void test_next_ca(void)
{
	g_autoptr(X509) chained = fake_cert(ca->sign_key, "Next RA", ca->next, ca->sign_key, "critical,digitalSignature,keyEncipherment", false, -60, 3600);
	X509 *const one[] = {ca->next, NULL}, *const chain[] = {ca->next, chained, NULL}, *const no_ca[] = {ca->ra, NULL}, *const none[] = {NULL};
	const struct { const char *type; X509 *const *certs; X509 *signer; EVP_PKEY *key; const char *wanted; } rows[] = {
		{NEXT_TYPE, one, ca->ca, ca->ca_key, NULL},
		{NEXT_TYPE, chain, ca->ca, ca->ca_key, NULL},
		{NEXT_TYPE, one, ca->ra, ca->ra_key, "not signed by the current CA"},
		{NEXT_TYPE, one, ca->next, ca->sign_key, "not signed by the current CA"},
		{NEXT_TYPE, no_ca, ca->ca, ca->ca_key, "no CA certificate"},
		{NEXT_TYPE, none, ca->ca, ca->ca_key, "no certificate"},
		{CHAIN_TYPE, one, ca->ca, ca->ca_key, "media type"},
		{NULL, one, ca->ca, ca->ca_key, "media type"},
	};
	struct sim_scep_ca known;

	known_ca(&known);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GBytes) body = fake_next(rows[i].certs, rows[i].signer, rows[i].key);
		struct sim_scep_ca next = {0};
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(sim_scep_next_ca_parse(rows[i].type, body, &known, &next, &error), ==, !rows[i].wanted);
		if (rows[i].wanted && !strstr(error->message, rows[i].wanted))
			g_error("%s, wanted %s", error->message, rows[i].wanted);
		if (!rows[i].wanted)
			g_assert_cmpint(X509_cmp(next.recipient, rows[i].certs == chain ? chained : ca->next), ==, 0);
		sim_scep_ca_clear(&next);
	}
	sim_scep_ca_clear(&known);
}

static void test_caps(void)
{
	static const struct { const char *caps; bool ok; } rows[] = {
		{"AES\nSHA-256\nSHA-384\nPOSTPKIOperation\nExample.com-Thing\n", true}, {"AES\r\nSHA-256\r\n", false}, {"AES\nSHA-256", false}, {"", false}, {"aes\nSHA-256\n", false},
		{"AES\nPOSTPKIOperation\n", false}, {"SHA-1\n", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		g_assert_cmpint(sim_scep_caps_check(rows[i].caps, NULL), ==, rows[i].ok);
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
	g_assert_cmpint(sim_scep_method_find("get-lines"), ==, SIM_SCEP_GET_LINES);
	g_assert_cmpint(sim_scep_method_find("put"), ==, SIM_SCEP_METHOD_MAX);
	g_assert_cmpint(sim_scep_method_find(NULL), ==, SIM_SCEP_METHOD_MAX);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	ca = fake_ca_new();
	device_key = sim_key_new();
	g_test_add_func("/sim/scep/forms", test_forms);
	g_test_add_func("/sim/scep/each-message", test_each_message);
	g_test_add_func("/sim/scep/algorithms", test_algorithms);
	g_test_add_func("/sim/scep/transactions", test_transactions);
	g_test_add_func("/sim/scep/challenges", test_challenges);
	g_test_add_func("/sim/scep/wishes", test_wishes);
	g_test_add_func("/sim/scep/bad-wishes", test_bad_wishes);
	g_test_add_func("/sim/scep/contents", test_contents);
	g_test_add_func("/sim/scep/recipient-too-small", test_recipient_too_small);
	for (const struct sim_scep_form *form = sim_scep_forms; form->name; form++) {
		g_autofree char *path = g_strdup_printf("/sim/scep/replies/%s", form->name);

		g_test_add_data_func(path, form->name, test_replies);
	}
	g_test_add_func("/sim/scep/replies/others", test_other_replies);
	g_test_add_func("/sim/scep/ca-single", test_ca_single);
	g_test_add_func("/sim/scep/ca-chain", test_ca_chain);
	g_test_add_func("/sim/scep/next-ca", test_next_ca);
	g_test_add_func("/sim/scep/caps", test_caps);
	g_test_add_func("/sim/scep/url", test_url);
	status = g_test_run();
	EVP_PKEY_free(device_key);
	fake_ca_free(ca);
	return status;
}
