/* Writes the binary seeds of the fuzz targets into a folder: valid messages of every form that peers send, and shapes that
 * have broken other parsers. Run by hand when a form is added; the seeds themselves are kept in tests/fuzz/seeds. */
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "codec/crl.h"
#include "codec/scep.h"
#include "codec/signed.h"
#include "codec/testkit.h"

static const char *folder;

/* PREFIX < 0: none. */
static void put(const char *target, const char *name, int prefix, GBytes *owned)
{
	g_autoptr(GBytes) bytes = owned;
	g_autofree char *path = g_build_filename(folder, target, name, NULL), *dir = g_path_get_dirname(path);
	g_autoptr(GByteArray) all = g_byte_array_new();
	uint8_t first = (uint8_t)prefix;

	if (prefix >= 0)
		g_byte_array_append(all, &first, 1);
	g_byte_array_append(all, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
	g_mkdir_with_parents(dir, 0755);
	if (!g_file_set_contents(path, (const char *)all->data, (gssize)all->len, NULL))
		g_error("%s cannot be written", path);
}

static GBytes *raw(const void *data, size_t len)
{
	return g_bytes_new(data, len);
}

#define RAW(literal) raw(literal, sizeof(literal) - 1)

static GBytes *repeat(const char *unit, size_t unit_len, size_t n)
{
	GByteArray *all = g_byte_array_new();

	for (size_t i = 0; i < n; i++)
		g_byte_array_append(all, (const guint8 *)unit, (guint)unit_len);
	return g_byte_array_free_to_bytes(all);
}

static void put_forms(X509 *rsa, X509 *ec)
{
	static const struct {
		const char *name;
		const EVP_MD *(*md)(void);
		bool ec;
		unsigned form;
	} forms[] = {
		{"sha1_noattr", EVP_sha1, false, TESTKIT_NO_ATTRIBUTES}, {"sha256", EVP_sha256, false, 0}, {"sha512_keyid", EVP_sha512, false, TESTKIT_KEY_ID},
		{"pss", EVP_sha256, false, TESTKIT_PSS}, {"ec", EVP_sha256, true, 0}, {"ec_noattr", EVP_sha384, true, TESTKIT_NO_ATTRIBUTES}, {"md5", EVP_md5, false, 0},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		EVP_PKEY *key = forms[i].ec ? testkit_ec("P-256") : testkit_rsa(1024);
		X509 *cert = forms[i].ec ? ec : rsa;
		g_autoptr(GBytes) der = testkit_sign(cert, key, forms[i].md(), forms[i].form | TESTKIT_DETACHED, "content");
		g_autofree char *ber_name = g_strconcat("detached_ber_", forms[i].name, NULL), *name = g_strconcat("detached_", forms[i].name, NULL);
		g_autofree char *attached_name = g_strconcat("signed_", forms[i].name, NULL);

		put("cms", name, 1, g_bytes_ref(der));
		put("cms", ber_name, 1, testkit_to_ber(der, 6));
		put("cms", attached_name, 0, testkit_sign(cert, key, forms[i].md(), forms[i].form, "content"));
	}
	put("cms", "signed_streamed", 0, testkit_sign_streamed(rsa, testkit_rsa(1024), EVP_sha256(), "content", 7));
}

static void put_envelopes(X509 *rsa, X509 *ec)
{
	X509 *many[100], *mixed[2] = {rsa, ec};

	for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
		many[i] = rsa;
	put("cms", "enveloped_aes", 2, testkit_encrypt(&rsa, 1, EVP_aes_128_cbc(), "content", false, false));
	put("cms", "enveloped_ber_des3", 2, testkit_encrypt(&rsa, 1, EVP_des_ede3_cbc(), "content", true, false));
	put("cms", "enveloped_oaep", 2, testkit_encrypt(&rsa, 1, EVP_aes_256_cbc(), "content", false, true));
	put("cms", "enveloped_agreement", 2, testkit_encrypt(mixed, 2, EVP_aes_128_cbc(), "content", false, false));
	put("cms", "enveloped_gcm", 2, testkit_encrypt(&rsa, 1, EVP_aes_128_gcm(), "content", false, false));
	put("cms", "enveloped_100_recipients", 2, testkit_encrypt(many, 100, EVP_aes_128_cbc(), "content", false, false));
}

static void put_certs(X509 *rsa, X509 *ec)
{
	GBytes *both[2] = {cert_format_der(rsa), cert_format_der(ec)};
	g_autofree char *pem = cert_format_pem(ec);

	put("cms", "certs_only", 3, cms_certs_only_format(both, 2, NULL));
	put("cert", "rsa_der", -1, both[0]);
	put("cert", "ec_der", -1, both[1]);
	put("cert", "ec_pem", -1, raw(pem, strlen(pem)));
	put("cert", "pem_without_end", -1, raw(pem, strlen(pem) - 30));
}

static void put_built(void)
{
	const char *const names[] = {"mdm.example.org", NULL}, *const addresses[] = {"192.0.2.1", "::1", NULL}, *const uris[] = {"urn:x", NULL};
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "J\xc3\xbcrgen", "UID", "com.apple.mgmt.External.1", NULL), spki = cert_spki_format(testkit_ec("P-256"));
	struct cert_plan plan = {.purpose = CERT_TLS_SERVER, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = 1,
	                         .not_after = INT64_C(2600000000), .dns_names = names, .ip_addresses = addresses, .uris = uris, .crl_url = "http://x/y"};
	g_autoptr(X509) cert = cert_build(&plan, NULL, NULL);

	X509_sign(cert, testkit_ec("P-256"), EVP_sha256());
	put("cert", "built", -1, cert_format_der(cert));
}

static void put_request(const char *name, EVP_PKEY *key, const char *challenge)
{
	g_autoptr(X509_REQ) req = X509_REQ_new();
	uint8_t *der = NULL;

	X509_REQ_set_version(req, 2);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8, (const uint8_t *)"com.apple.security.scep", -1, -1, 0);
	X509_REQ_set_pubkey(req, key);
	X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, V_ASN1_PRINTABLESTRING, (const uint8_t *)challenge, (int)strlen(challenge));
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();

	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "digitalSignature"));
	X509_REQ_add_extensions(req, extensions);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_sign(req, key, EVP_sha256());
	int len = i2d_X509_REQ(req, &der);

	put("cert", name, -1, raw(der, (size_t)len));
	OPENSSL_free(der);
}

static GBytes *pki_message(X509 *cert, EVP_PKEY *key, const char *type, const EVP_MD *md)
{
	g_autoptr(GBytes) inner = testkit_encrypt(&cert, 1, EVP_aes_128_cbc(), "request", true, false);
	unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | CMS_PARTIAL;
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *info = CMS_add1_signer(cms, cert, key, md, flags);
	g_autoptr(BIO) in = BIO_new_mem_buf(g_bytes_get_data(inner, NULL), (int)g_bytes_get_size(inner)), out = BIO_new(BIO_s_mem());
	char *data;

	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, type, (int)strlen(type));
	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING, "transaction", 11);
	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.5", V_ASN1_OCTET_STRING, "12345678", 8);
	CMS_signed_add1_attr_by_txt(info, "1.2.840.113549.1.9.7", V_ASN1_PRINTABLESTRING, "secret", 6);
	if (!CMS_final(cms, in, NULL, flags) || !i2d_CMS_bio(out, cms))
		g_error("a message cannot be made");
	long len = BIO_get_mem_data(out, &data);

	return raw(data, (size_t)len);
}

/* TBS with a real signature by KEY. */
static GBytes *sign_object(EVP_PKEY *key, GBytes *tbs)
{
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	EVP_DigestSign(ctx, signature, &len, g_bytes_get_data(tbs, NULL), g_bytes_get_size(tbs));
	return signed_object_format(tbs, signature_nid_for(key, NID_sha256), signature, len);
}

static GBytes *crl(EVP_PKEY *key, X509 *issuer, const struct crl_entry *entries, size_t n)
{
	struct crl_plan plan = {.number = 300, .this_update = 1800000000, .next_update = INT64_C(2600000000), .entries = entries, .n = n};
	g_autoptr(GBytes) tbs = crl_tbs_format(&plan, issuer, signature_nid_for(key, NID_sha256), NULL);

	return sign_object(key, tbs);
}

static void put_crls(EVP_PKEY *key, X509 *issuer)
{
	static const struct crl_entry entries[] = {{"0A", 1700000000, 1}, {"FF00000000000000000000000000000001", INT64_C(2600000000), -1}};

	put("crl", "two", -1, crl(key, issuer, entries, 2));
	put("crl", "empty", -1, crl(key, issuer, NULL, 0));
	put("crl", "nested", -1, repeat("\x30\x80", 2, 600));
	put("crl", "huge_length", -1, RAW("\x30\x84\x7f\xff\xff\xff\x30\x03"));
}

static GBytes *ocsp_question(X509 *issuer, EVP_PKEY *key, const EVP_MD *md, int n, bool with_nonce)
{
	OCSP_REQUEST *req = OCSP_REQUEST_new();
	uint8_t *der = NULL;

	for (int i = 0; i < n; i++)
		OCSP_request_add0_id(req, OCSP_cert_id_new(md, X509_get_subject_name(issuer), X509_get0_pubkey_bitstr(issuer), X509_get0_serialNumber(issuer)));
	if (with_nonce)
		OCSP_request_add1_nonce(req, NULL, 16);
	if (key)
		OCSP_request_sign(req, issuer, key, EVP_sha256(), NULL, 0);
	int len = i2d_OCSP_REQUEST(req, &der);
	GBytes *bytes = raw(der, (size_t)len);

	OPENSSL_free(der);
	OCSP_REQUEST_free(req);
	return bytes;
}

static void put_ocsp(EVP_PKEY *key, X509 *issuer)
{
	g_autoptr(GBytes) plain = ocsp_question(issuer, NULL, EVP_sha1(), 1, false);
	g_autofree char *text = g_base64_encode(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain));

	put("ocsp", "plain", 0, g_bytes_ref(plain));
	put("ocsp", "two_nonce", 0, ocsp_question(issuer, NULL, EVP_sha256(), 2, true));
	put("ocsp", "signed", 0, ocsp_question(issuer, key, EVP_sha1(), 1, true));
	put("ocsp", "sixty_five", 0, ocsp_question(issuer, NULL, EVP_sha1(), 65, false));
	put("ocsp", "md5", 0, ocsp_question(issuer, NULL, EVP_md5(), 1, false));
	put("ocsp", "get", 1, raw(text, strlen(text)));
	put("ocsp", "get_escaped", 1, RAW("/MII%2BAA%2F%3D%3D"));
	put("ocsp", "get_bad_escape", 1, RAW("MII%2"));
	put("ocsp", "nested", 0, repeat("\x30\x80", 2, 600));
	put("ocsp", "huge_length", 0, RAW("\x30\x84\x7f\xff\xff\xff\x30\x03"));
}

static GBytes *cert_rep(const struct scep_request *request, X509 *cert, EVP_PKEY *key, enum scep_status status)
{
	g_autoptr(GPtrArray) extra = scep_reply_attributes(request, status, SCEP_BAD_REQUEST, "text", (const uint8_t *)"0123456789abcdef");
	g_autoptr(GBytes) own = cert_format_der(cert);
	g_autoptr(GBytes) attrs = cms_signed_attrs_format("x", 1, status == SCEP_SUCCESS, NID_sha256, 1, (GBytes *const *)extra->pdata, extra->len);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
	EVP_DigestSign(ctx, signature, &len, g_bytes_get_data(attrs, NULL), g_bytes_get_size(attrs));
	return cms_signed_format(status == SCEP_SUCCESS ? "x" : NULL, 1, cert, NID_sha256, attrs, signature, len, &own, 1, NULL);
}

static void put_scep(X509 *cert, EVP_PKEY *key)
{
	g_autoptr(GBytes) good = pki_message(cert, key, "19", EVP_sha256());
	g_autoptr(scep_request) request = scep_request_parse(g_bytes_get_data(good, NULL), g_bytes_get_size(good), NULL);
	g_autofree char *text = g_base64_encode(g_bytes_get_data(good, NULL), 300);

	put("scep", "request", 0, g_bytes_ref(good));
	put("scep", "request_ber", 0, testkit_to_ber(good, 6));
	put("scep", "request_bad_signature", 0, testkit_flip(good, -1));
	put("scep", "request_md5", 0, pki_message(cert, key, "19", EVP_md5()));
	put("scep", "request_odd_type", 0, pki_message(cert, key, "19 ", EVP_sha1()));
	put("scep", "reply_failure", 1, cert_rep(request, cert, key, SCEP_FAILURE));
	put("scep", "reply_pending", 1, cert_rep(request, cert, key, SCEP_PENDING));
	put("scep", "reply_success", 1, cert_rep(request, cert, key, SCEP_SUCCESS));
	put("scep", "get_plain", 2, raw(text, strlen(text)));
	put("scep", "get_escaped", 2, RAW("MII%2BAA%0AAA%3D%3D"));
	put("scep", "get_spaces", 2, RAW("MII A/-_\r\n"));
	put("scep", "get_bad_escape", 2, RAW("MII%2"));
}

static void put_scep_client(X509 *ca, X509 *ra)
{
	GBytes *both[2] = {cert_format_der(ca), cert_format_der(ra)};
	g_autoptr(GBytes) issuer = cert_name_format(NULL, "CN", "CA", NULL), subject = cert_name_format(NULL, "CN", "device", NULL), list = crl(testkit_ec("P-256"), ra, NULL, 0);

	put("scep", "issuer_and_serial", 3, scep_issuer_and_serial_format(issuer, "FF01", NULL));
	put("scep", "issuer_and_subject", 3, scep_issuer_and_subject_format(issuer, subject));
	put("scep", "caps", 4, RAW("AES\nsha-256\r\nSCEPStandard\nother"));
	put("scep", "ca_certs", 5, cms_certs_only_format(both, 2, NULL));
	put("scep", "ca_cert", 5, both[0]);
	put("cms", "crls_only", 3, cms_crls_only_format(&list, 1, NULL));
	g_bytes_unref(both[1]);
}

#define SIGNED_OID "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"

/* Shapes of known vulnerabilities. */
static void put_nasty(void)
{
	put("cms", "nested_indefinite", 0, repeat("\x30\x80", 2, 600));
	put("cms", "nested_octets", 1, repeat("\x24\x80", 2, 600));
	put("cms", "huge_length", 0, RAW("\x30\x84\x7f\xff\xff\xff" SIGNED_OID));
	put("cms", "negative_length", 1, RAW("\x30\x84\xff\xff\xff\xff" SIGNED_OID));
	put("cms", "length_of_lengths", 2, RAW("\x30\xff\xff\xff\xff\xff\xff\xff\xff"));
	put("cms", "auth_enveloped", 2, RAW("\x30\x2a\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17\xa0\x1b\x30\x19\x02\x01\x00\x31\x00\x30\x12\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\x30\x05\x04\x03\x01\x02\x03"));
	put("cms", "no_body", 3, RAW("\x30\x0b" SIGNED_OID));
	put("cert", "nested", -1, repeat("\x30\x80", 2, 600));
	put("cert", "huge_length", -1, RAW("\x30\x84\x7f\xff\xff\xff\x30\x03"));
	put("cert", "pem_headers", -1, RAW("-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END CERTIFICATE-----\n"));
	put("scep", "nested", 0, repeat("\x30\x80", 2, 600));
}

static void put_profiles(EVP_PKEY *key, X509 *cert)
{
	static const char text[] = "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>"
		"<key>PayloadIdentifier</key><string>a</string><key>PayloadUUID</key><string>b</string><key>PayloadContent</key><array><dict>"
		"<key>PayloadType</key><string>com.apple.security.pkcs12</string><key>PayloadVersion</key><integer>1</integer>"
		"<key>PayloadIdentifier</key><string>c</string><key>PayloadUUID</key><string>d</string><key>PayloadContent</key><data>AAEC</data></dict><dict>"
		"<key>PayloadType</key><string>com.apple.mdm</string><key>PayloadVersion</key><integer>1</integer>"
		"<key>PayloadIdentifier</key><string>e</string><key>PayloadUUID</key><string>f</string><key>IdentityCertificateUUID</key><string>d</string>"
		"</dict></array></dict></plist>";

	put("mobileconfig", "plain", -1, raw(text, strlen(text)));
	put("mobileconfig", "signed", -1, testkit_sign(cert, key, EVP_sha256(), 0, text));
	put("mobileconfig", "signed_streamed", -1, testkit_sign_streamed(cert, key, EVP_sha256(), text, strlen(text)));
	put("mobileconfig", "no_content", -1, testkit_sign(cert, key, EVP_sha256(), TESTKIT_DETACHED, ""));
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seed_tool FOLDER\n");
		return 2;
	}
	folder = argv[1];
	g_autoptr(X509) rsa = testkit_cert(testkit_rsa(1024), "rsa", 1, NULL, NULL), ec = testkit_cert(testkit_ec("P-256"), "ec", 2, NULL, NULL);

	put_forms(rsa, ec);
	put_envelopes(rsa, ec);
	put_certs(rsa, ec);
	put_built();
	put_request("request_rsa", testkit_rsa(1024), "secret");
	put_request("request_ec", testkit_ec("P-256"), "secret");
	put_scep(rsa, testkit_rsa(1024));
	put_scep_client(rsa, ec);
	put_crls(testkit_ec("P-256"), ec);
	put_ocsp(testkit_ec("P-256"), ec);
	put_nasty();
	put_profiles(testkit_ec("P-256"), ec);
	return 0;
}
