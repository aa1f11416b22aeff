#include "codec/cms.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/error.h"
#include "codec/testkit.h"

static const char text[] = "<plist version=\"1.0\">\r\n<dict/>\n</plist>";

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

static const struct {
	const char *name;
	const EVP_MD *(*md)(void);
	bool ec;
	unsigned form;
	bool slow; /* expected of cms_detached */
} forms[] = {
	{"Apple: SHA-1 without attributes", EVP_sha1, false, TESTKIT_NO_ATTRIBUTES, false},
	{"SHA-256 without attributes", EVP_sha256, false, TESTKIT_NO_ATTRIBUTES, false},
	{"SHA-1", EVP_sha1, false, 0, false},
	{"SHA-256", EVP_sha256, false, 0, false},
	{"SHA-384", EVP_sha384, false, 0, false},
	{"SHA-512", EVP_sha512, false, 0, false},
	{"SHA-512 without attributes", EVP_sha512, false, TESTKIT_NO_ATTRIBUTES, false},
	{"EC SHA-1", EVP_sha1, true, 0, false},
	{"EC SHA-256", EVP_sha256, true, 0, false},
	{"EC SHA-384 without attributes", EVP_sha384, true, TESTKIT_NO_ATTRIBUTES, false},
	{"EC SHA-512 by key identifier", EVP_sha512, true, TESTKIT_KEY_ID, true},
	{"SHA-256 by key identifier", EVP_sha256, false, TESTKIT_KEY_ID, true},
	{"SHA-1 by key identifier without attributes", EVP_sha1, false, TESTKIT_KEY_ID | TESTKIT_NO_ATTRIBUTES, true},
	{"PSS SHA-256", EVP_sha256, false, TESTKIT_PSS, false},
	{"PSS SHA-1", EVP_sha1, false, TESTKIT_PSS, false},
	{"PSS SHA-512 without attributes", EVP_sha512, false, TESTKIT_PSS | TESTKIT_NO_ATTRIBUTES, false},
	{"PSS SHA-384 by key identifier", EVP_sha384, false, TESTKIT_PSS | TESTKIT_KEY_ID, true},
};

static X509 *cert_for(bool ec)
{
	EVP_PKEY *key = ec ? testkit_ec("P-256") : testkit_rsa(2048);

	return testkit_cert(key, ec ? "device ec" : "device rsa", ec ? 0x1234 : 0x5678, NULL, NULL);
}

static bool openssl_verifies(GBytes *message, const char *content, size_t len)
{
	const uint8_t *p = g_bytes_get_data(message, NULL);
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)g_bytes_get_size(message));
	g_autoptr(BIO) in = BIO_new_mem_buf(content, (int)len);
	bool ok = cms && CMS_verify(cms, NULL, NULL, in, NULL, CMS_DETACHED | CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1;

	ERR_clear_error();
	return ok;
}

/* What has verified all messages of a key until now, whatever became of them; NULL for other keys. */
static struct cms_verifier *kept_for(EVP_PKEY *key)
{
	static struct cms_verifier *kept[2];

	for (int i = 0; i < 2; i++) {
		EVP_PKEY *own = i ? testkit_ec("P-256") : testkit_rsa(2048);

		if (EVP_PKEY_eq(key, own) != 1)
			continue;
		if (!kept[i])
			kept[i] = cms_verifier_new(own);
		return kept[i];
	}
	return NULL;
}

/* Parses and verifies MESSAGE as Mdm-Signature; the answer must be OpenSSL's, unless the walker has refused it before. */
static bool compare_detached(GBytes *message, X509 *cert, const char *content, size_t len, bool *ret_slow)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(cms_detached) detached = cms_detached_parse(DATA(message), &error);
	bool ours = false, theirs = cms_check(DATA(message), CMS_KIND_SIGNED, 65536, NULL) && openssl_verifies(message, content, len);

	if (detached) {
		g_autoptr(X509) signer = cert_parse_der(DATA(detached->signer_der), &error);

		*ret_slow = detached->slow;
		ours = signer && cms_detached_verify(detached, X509_get0_pubkey(signer), content, len, &error);
		if (signer && kept_for(X509_get0_pubkey(signer)))
			g_assert_true(cms_detached_verify_by(detached, kept_for(X509_get0_pubkey(signer)), content, len, NULL) == ours);
		if (theirs && cert)
			g_assert_true(!X509_cmp(signer, cert));
	}
	g_assert_true(ours == (error == NULL));
	if (ours != theirs)
		g_error("ours %d (%s), theirs %d", ours, error ? error->message : "", theirs);
	return ours;
}

static void test_detached_against_openssl(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_autoptr(X509) cert = cert_for(forms[i].ec);
		EVP_PKEY *key = forms[i].ec ? testkit_ec("P-256") : testkit_rsa(2048);
		g_autoptr(GBytes) der = testkit_sign(cert, key, forms[i].md(), forms[i].form | TESTKIT_DETACHED, text);

		for (unsigned level = 0; level < 7; level++) {
			g_autoptr(GBytes) message = level ? testkit_to_ber(der, level) : g_bytes_ref(der);
			bool slow = false;

			g_test_message("%s, %u levels indefinite", forms[i].name, level);
			g_assert_true(compare_detached(message, cert, text, strlen(text), &slow));
			g_assert_true(slow == forms[i].slow);
			g_assert_false(compare_detached(message, cert, text, strlen(text) - 1, &slow));
			g_assert_false(compare_detached(message, cert, "", 0, &slow));
		}
		/* Every byte around the certificate, and so of algorithms, attributes, signature and names, changed in turn. */
		g_autoptr(GBytes) own = cert_format_der(cert);
		const uint8_t *start = g_bytes_get_data(der, NULL), *inside = memmem(DATA(der), DATA(own));

		for (gsize k = 0; k < g_bytes_get_size(der); k++) {
			g_autoptr(GBytes) bad = testkit_flip(der, (gssize)k);
			bool slow;

			g_test_message("byte %zu: 0x%02x", (size_t)k, start[k]);
			if (start + k < inside || start + k >= inside + g_bytes_get_size(own))
				compare_detached(bad, NULL, text, strlen(text), &slow);
		}
	}
}

static void test_detached_empty_content(void)
{
	g_autoptr(X509) cert = cert_for(false);
	g_autoptr(GBytes) with = testkit_sign(cert, testkit_rsa(2048), EVP_sha256(), TESTKIT_DETACHED, "");
	g_autoptr(GBytes) key_id = testkit_sign(cert, testkit_rsa(2048), EVP_sha256(), TESTKIT_DETACHED | TESTKIT_KEY_ID, "");

	for (int i = 0; i < 2; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(cms_detached) detached = cms_detached_parse(DATA(i ? key_id : with), &error);

		g_assert_no_error(error);
		g_assert_true(cms_detached_verify(detached, testkit_rsa(2048), "", 0, &error));
		g_assert_no_error(error);
		g_assert_true(cms_detached_verify(detached, testkit_rsa(2048), NULL, 0, NULL));
		g_assert_false(cms_detached_verify(detached, testkit_rsa(2048), "a", 1, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
	}
}

static void test_detached_refused(void)
{
	EVP_PKEY *key = testkit_rsa(2048), *weak = testkit_rsa(512);
	g_autoptr(X509) cert = cert_for(false), weak_cert = testkit_cert(weak, "weak", 3, NULL, NULL);
	g_autoptr(GBytes) good = testkit_sign(cert, key, EVP_sha256(), TESTKIT_DETACHED, text);
	g_autofree char *large = g_malloc0(20000);
	struct {
		GBytes *message;
		int code;
	} cases[] = {
		{g_bytes_new("", 0), POM_ERR_CMS_MALFORMED},
		{testkit_sign(cert, key, EVP_sha256(), 0, text), POM_ERR_CMS_MALFORMED}, /* attached */
		{testkit_sign(cert, key, EVP_sha256(), TESTKIT_DETACHED | TESTKIT_NO_CERTIFICATE, text), POM_ERR_CMS_MALFORMED},
		{testkit_sign(cert, key, EVP_md5(), TESTKIT_DETACHED, text), POM_ERR_CMS_ALGORITHM},
		{testkit_encrypt(&cert, 1, EVP_aes_128_cbc(), text, false, false), POM_ERR_CMS_MALFORMED},
		{g_bytes_new(large, 20000), POM_ERR_CMS_LIMIT},
		{g_bytes_new("hello", 5), POM_ERR_CMS_MALFORMED},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(cms_detached) detached = cms_detached_parse(DATA(cases[i].message), &error);

		g_assert_null(detached);
		if (error->code != cases[i].code)
			g_error("case %zu: %s", i, error->message);
		g_bytes_unref(cases[i].message);
	}
	for (gsize n = 0; n < g_bytes_get_size(good); n++)
		g_assert_null(cms_detached_parse(g_bytes_get_data(good, NULL), n, NULL));

	g_autoptr(GError) error = NULL;
	g_autoptr(cms_detached) detached = cms_detached_parse(DATA(good), &error);

	g_assert_false(cms_detached_verify(detached, testkit_rsa(1024), text, strlen(text), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
	g_clear_error(&error);
	g_assert_false(cms_detached_verify(detached, testkit_ec("P-256"), text, strlen(text), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
	g_clear_error(&error);
	g_assert_false(cms_detached_verify(detached, weak, text, strlen(text), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_ALGORITHM);
	g_clear_error(&error);
	g_autoptr(GBytes) weak_message = testkit_sign(weak_cert, weak, EVP_sha256(), 0, text);

	g_assert_null(cms_signed_parse(DATA(weak_message), NULL, 0, 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_ALGORITHM);
}

/* Apple's certificates are sent as they are: their bytes must come out, whatever surrounds them. */
static void test_detached_signer_bytes(void)
{
	g_autoptr(X509) cert = cert_for(false);
	g_autoptr(GBytes) expected = cert_format_der(cert), der = testkit_sign(cert, testkit_rsa(2048), EVP_sha1(), TESTKIT_DETACHED | TESTKIT_NO_ATTRIBUTES, text);
	uint8_t digest[32];

	cert_sha256(DATA(expected), digest);
	for (unsigned level = 0; level < 6; level++) {
		g_autoptr(GBytes) message = testkit_to_ber(der, level);
		g_autoptr(cms_detached) detached = cms_detached_parse(DATA(message), NULL);

		g_assert_true(g_bytes_equal(detached->signer_der, expected));
		g_assert_cmpmem(detached->signer_sha256, 32, digest, 32);
		g_assert_cmpint(detached->digest_nid, ==, NID_sha1);
		g_assert_cmpint(detached->key_type, ==, EVP_PKEY_RSA);
		g_assert_null(detached->signed_attrs);
	}
}

static void test_signed(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_autoptr(X509) cert = cert_for(forms[i].ec);
		EVP_PKEY *key = forms[i].ec ? testkit_ec("P-256") : testkit_rsa(2048);
		g_autoptr(GBytes) attached = testkit_sign(cert, key, forms[i].md(), forms[i].form, text), expected = cert_format_der(cert);
		g_autoptr(GBytes) detached = testkit_sign(cert, key, forms[i].md(), forms[i].form | TESTKIT_DETACHED, text);

		for (unsigned level = 0; level < 7; level++) {
			g_autoptr(GError) error = NULL;
			g_autoptr(GBytes) ber = testkit_to_ber(attached, level);
			g_autoptr(cms_signed) message = cms_signed_parse(DATA(ber), NULL, 0, 65536, &error);

			g_assert_no_error(error);
			g_assert_cmpmem(g_bytes_get_data(message->content, NULL), g_bytes_get_size(message->content), text, strlen(text));
			g_assert_true(g_bytes_equal(message->signer_der, expected));
			g_assert_cmpuint(message->certificates->len, ==, 1);
			g_assert_cmpint(message->digest_nid, ==, EVP_MD_get_type(forms[i].md()));
		}
		g_autoptr(GError) error = NULL;
		g_autoptr(cms_signed) ok = cms_signed_parse(DATA(detached), text, strlen(text), 65536, &error);

		g_assert_no_error(error);
		g_assert_null(ok->content);
		g_assert_null(cms_signed_parse(DATA(detached), text, strlen(text) - 1, 65536, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
		g_clear_error(&error);
		g_assert_null(cms_signed_parse(DATA(detached), NULL, 0, 65536, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
		g_clear_error(&error);
		g_assert_null(cms_signed_parse(DATA(attached), text, strlen(text), 65536, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
		g_clear_error(&error);
		g_assert_null(cms_signed_parse(DATA(attached), NULL, 0, 100, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_LIMIT);
		g_clear_error(&error);
		g_autoptr(GBytes) bad = testkit_replace(attached, "<dict/>", "<Dict/>", 7);

		g_assert_null(cms_signed_parse(DATA(bad), NULL, 0, 65536, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_SIGNATURE);
	}
}

static void test_signed_streamed(void)
{
	static const size_t sizes[] = {1, 1000, 5000, 200000};
	g_autoptr(X509) cert = cert_for(false);

	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree char *content = g_malloc(sizes[i]);
		g_autoptr(GError) error = NULL;

		memset(content, '\n', sizes[i]);
		g_autoptr(GBytes) message = testkit_sign_streamed(cert, testkit_rsa(2048), EVP_sha256(), content, sizes[i]);
		g_autoptr(cms_signed) parsed = cms_signed_parse(DATA(message), NULL, 0, 1 << 20, &error);

		g_assert_cmpint(((const uint8_t *)g_bytes_get_data(message, NULL))[1], ==, 0x80);
		g_assert_no_error(error);
		g_assert_cmpmem(g_bytes_get_data(parsed->content, NULL), g_bytes_get_size(parsed->content), content, sizes[i]);
	}
}

/* A contentType attribute of another type is what CMS_verify overlooks. */
static void test_content_type_attribute(void)
{
	static const uint8_t from[] = {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3, 0x31, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1};
	g_autoptr(X509) cert = cert_for(false);
	g_autoptr(GBytes) own = cert_format_der(cert);

	g_autoptr(GBytes) attrs = cms_signed_attrs_format(text, strlen(text), true, NID_sha256, -1, NULL, 0);
	g_autofree uint8_t *other_to = g_memdup2(from, sizeof(from));

	other_to[sizeof(from) - 1] = 3;
	g_autoptr(GBytes) other = testkit_replace(attrs, from, other_to, sizeof(from));
	GBytes *sets[] = {attrs, other};

	for (int i = 0; i < 2; i++) {
		g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
		g_autoptr(GError) error = NULL;
		uint8_t signature[512];
		size_t len = sizeof(signature);

		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, testkit_rsa(2048));
		g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(sets[i])) == 1);
		g_autoptr(GBytes) message = cms_signed_format(NULL, 0, cert, NID_sha256, sets[i], signature, len, &own, 1, NULL);
		g_autoptr(cms_detached) detached = cms_detached_parse(DATA(message), NULL);

		g_assert_true(openssl_verifies(message, text, strlen(text)));
		g_assert_true(cms_detached_verify(detached, testkit_rsa(2048), text, strlen(text), &error) == (i == 0));
		g_assert_true(i == 0 || g_error_matches(error, POM_ERROR, POM_ERR_CMS_SIGNATURE));
	}
}

/* Two certificates of one name: readers could choose differently. */
static void test_ambiguous_signer(void)
{
	g_autoptr(X509) cert = cert_for(false), twin = testkit_cert(testkit_rsa(1024), "device rsa", 0x5678, NULL, NULL), other = testkit_cert(testkit_rsa(1024), "other", 1, NULL, NULL);
	g_autoptr(GBytes) own = cert_format_der(cert), twin_der = cert_format_der(twin), other_der = cert_format_der(other);
	g_autoptr(GBytes) attrs = cms_signed_attrs_format(text, strlen(text), true, NID_sha256, 0, NULL, 0);
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t len = sizeof(signature);
	GBytes *sets[][2] = {{own, other_der}, {own, own}, {own, twin_der}};

	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, testkit_rsa(2048));
	g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(attrs)) == 1);
	for (int i = 0; i < 3; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) message = cms_signed_format(text, strlen(text), cert, NID_sha256, attrs, signature, len, sets[i], 2, NULL);
		g_autoptr(GBytes) bare = cms_signed_format(NULL, 0, cert, NID_sha256, attrs, signature, len, sets[i], 2, NULL);
		g_autoptr(cms_signed) parsed = cms_signed_parse(DATA(message), NULL, 0, 65536, &error);
		g_autoptr(cms_detached) detached = cms_detached_parse(DATA(bare), NULL);

		g_assert_true((parsed != NULL) == (i < 2));
		g_assert_true((detached != NULL) == (i < 2));
		if (parsed)
			g_assert_true(g_bytes_equal(parsed->signer_der, own) && g_bytes_equal(detached->signer_der, own));
		else
			g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
	}
}

static const struct {
	const EVP_CIPHER *(*cipher)(void);
	int nid, code; /* code 0: accepted */
} envelopes[] = {
	{EVP_aes_128_cbc, NID_aes_128_cbc, 0}, {EVP_aes_192_cbc, NID_aes_192_cbc, 0}, {EVP_aes_256_cbc, NID_aes_256_cbc, 0},
	{EVP_des_ede3_cbc, NID_des_ede3_cbc, 0}, {EVP_aes_128_gcm, 0, POM_ERR_CMS_ALGORITHM}, {EVP_camellia_128_cbc, 0, POM_ERR_CMS_ALGORITHM},
};

static void test_enveloped(void)
{
	g_autoptr(X509) cert = cert_for(false);

	for (size_t i = 0; i < G_N_ELEMENTS(envelopes); i++) {
		for (int variant = 0; variant < 4; variant++) {
			g_autoptr(GError) error = NULL;
			g_autoptr(GBytes) message = testkit_encrypt(&cert, 1, envelopes[i].cipher(), text, variant & 1, variant & 2);
			g_autoptr(cms_enveloped) enveloped = cms_enveloped_parse(DATA(message), 65536, &error);

			if (envelopes[i].code) {
				g_assert_null(enveloped);
				g_assert_error(error, POM_ERROR, envelopes[i].code);
				continue;
			}
			g_assert_no_error(error);
			g_assert_cmpint(enveloped->cipher_nid, ==, envelopes[i].nid);
			g_assert_cmpuint(g_bytes_get_size(enveloped->iv), ==, envelopes[i].nid == NID_des_ede3_cbc ? 8 : 16);
			g_assert_cmpuint(g_bytes_get_size(enveloped->ciphertext), ==, envelopes[i].nid == NID_des_ede3_cbc ? 40 : 48);
			g_assert_cmpuint(enveloped->recipients->len, ==, 1);
			const struct cms_recipient *recipient = enveloped->recipients->pdata[0];

			g_assert_cmpstr(recipient->serial, ==, "5678");
			g_assert_cmpuint(g_bytes_get_size(recipient->encrypted_key), ==, 256);
			g_assert_true(recipient->oaep == (variant >= 2));
			g_assert_cmpint(recipient->oaep_digest_nid, ==, variant >= 2 ? NID_sha256 : 0);
			g_assert_cmpint(recipient->oaep_mgf_nid, ==, variant >= 2 ? NID_sha1 : 0);
			X509_NAME *name = X509_get_issuer_name(cert);
			g_autofree uint8_t *name_der = g_malloc0(256);
			uint8_t *p = name_der;
			int len = i2d_X509_NAME(name, &p);

			g_assert_cmpmem(g_bytes_get_data(recipient->issuer_der, NULL), g_bytes_get_size(recipient->issuer_der), name_der, len);
		}
	}
}

static void test_enveloped_recipients(void)
{
	g_autoptr(X509) cert = cert_for(false), ec = cert_for(true);
	X509 *many[9] = {cert, cert, cert, cert, cert, cert, cert, cert, cert}, *mixed[2] = {cert, ec};
	g_autoptr(GBytes) eight = testkit_encrypt(many, 8, EVP_aes_128_cbc(), text, false, false), nine = testkit_encrypt(many, 9, EVP_aes_128_cbc(), text, false, false);
	g_autoptr(GBytes) agreement = testkit_encrypt(mixed, 2, EVP_aes_128_cbc(), text, false, false);
	g_autoptr(GError) error = NULL;
	g_autoptr(cms_enveloped) ok = cms_enveloped_parse(DATA(eight), 65536, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(ok->recipients->len, ==, 8);
	g_assert_null(cms_enveloped_parse(DATA(nine), 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_LIMIT);
	g_clear_error(&error);
	g_assert_null(cms_enveloped_parse(DATA(agreement), 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_ALGORITHM);
	g_clear_error(&error);
	g_assert_false(cms_check(DATA(eight), CMS_KIND_SIGNED, 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
}

/* Single DES passes the walker (the caller's policy decides), RC2 does not; made by changing the OID. */
static void test_enveloped_old_ciphers(void)
{
	static const uint8_t des3[] = {0x30, 0x14, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7, 4, 8}, rc2[] = {0x30, 0x14, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 2, 4, 8};
	g_autoptr(X509) cert = cert_for(false);
	g_autoptr(GBytes) message = testkit_encrypt(&cert, 1, EVP_des_ede3_cbc(), text, false, false), refused = testkit_replace(message, des3, rc2, sizeof(des3));
	g_autoptr(GBytes) key = g_bytes_new_static(text, 32), iv = g_bytes_new_static(text, 8), cert_der = cert_format_der(cert);
	g_autoptr(GBytes) des = cms_enveloped_format(cert_der, NULL, key, NID_des_cbc, g_bytes_get_data(iv, NULL), 8, key);
	g_autoptr(GError) error = NULL;
	g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(DATA(des), 65536, &error);

	g_assert_no_error(error);
	g_assert_cmpint(parsed->cipher_nid, ==, NID_des_cbc);
	g_assert_null(cms_enveloped_parse(DATA(refused), 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_ALGORITHM);
}

/* What we write, CMS_decrypt must read. */
static void test_enveloped_format(void)
{
	static const uint8_t key[16] = "0123456789abcde", iv[16] = "fedcba987654321";
	EVP_PKEY *rsa = testkit_rsa(2048);
	g_autoptr(X509) cert = cert_for(false);
	g_autoptr(GBytes) cert_der = cert_format_der(cert), junk = g_bytes_new_static("junk", 4);
	struct cms_recipient like[] = {{.oaep = false}, {.oaep = true, .oaep_digest_nid = NID_sha1, .oaep_mgf_nid = NID_sha1},
	                               {.oaep = true, .oaep_digest_nid = NID_sha256, .oaep_mgf_nid = NID_sha1}, {.oaep = true, .oaep_digest_nid = NID_sha512, .oaep_mgf_nid = NID_sha256}};

	for (size_t i = 0; i < G_N_ELEMENTS(like); i++) {
		uint8_t encrypted_key[256], ciphertext[128];
		size_t key_len = sizeof(encrypted_key);
		int n, rest;
		g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(rsa, NULL);
		g_autoptr(EVP_CIPHER_CTX) cipher = EVP_CIPHER_CTX_new();

		EVP_PKEY_encrypt_init(ctx);
		if (like[i].oaep) {
			EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
			EVP_PKEY_CTX_ctrl_str(ctx, "rsa_oaep_md", OBJ_nid2sn(like[i].oaep_digest_nid));
			EVP_PKEY_CTX_ctrl_str(ctx, "rsa_mgf1_md", OBJ_nid2sn(like[i].oaep_mgf_nid));
		}
		g_assert_true(EVP_PKEY_encrypt(ctx, encrypted_key, &key_len, key, sizeof(key)) == 1);
		EVP_EncryptInit_ex(cipher, EVP_aes_128_cbc(), NULL, key, iv);
		EVP_EncryptUpdate(cipher, ciphertext, &n, (const uint8_t *)text, sizeof(text));
		EVP_EncryptFinal_ex(cipher, ciphertext + n, &rest);
		g_autoptr(GBytes) key_bytes = g_bytes_new(encrypted_key, key_len), body = g_bytes_new(ciphertext, (gsize)(n + rest));
		g_autoptr(GBytes) message = cms_enveloped_format(cert_der, i ? &like[i] : NULL, key_bytes, NID_aes_128_cbc, iv, 16, body);
		const uint8_t *p = g_bytes_get_data(message, NULL);
		g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)g_bytes_get_size(message));
		g_autoptr(BIO) out = BIO_new(BIO_s_mem());
		char *data;

		g_assert_true(CMS_decrypt(cms, rsa, cert, NULL, out, CMS_BINARY) == 1);
		g_assert_cmpmem(text, sizeof(text), (BIO_get_mem_data(out, &data), data), BIO_get_mem_data(out, &data));
		g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(DATA(message), 65536, NULL);
		const struct cms_recipient *recipient = parsed->recipients->pdata[0];

		g_assert_true(g_bytes_equal(parsed->ciphertext, body) && g_bytes_equal(recipient->encrypted_key, key_bytes));
		g_assert_true(recipient->oaep == like[i].oaep && recipient->oaep_digest_nid == like[i].oaep_digest_nid && recipient->oaep_mgf_nid == like[i].oaep_mgf_nid);
	}
	g_assert_null(cms_enveloped_format(junk, NULL, junk, NID_aes_128_cbc, iv, 16, junk));
}

static void test_certs_only(void)
{
	g_autoptr(X509) a = cert_for(false), b = cert_for(true);
	g_autoptr(GBytes) a_der = cert_format_der(a), b_der = cert_format_der(b), junk = g_bytes_new_static("\x30\x03\x02\x01\x01", 5);
	GBytes *both[] = {a_der, b_der}, *bad[] = {a_der, junk};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) message = cms_certs_only_format(both, 2, &error), one = cms_certs_only_format(both, 1, &error);

	g_assert_no_error(error);
	const uint8_t *p = g_bytes_get_data(message, NULL);
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)g_bytes_get_size(message));
	STACK_OF(X509) *certs = CMS_get1_certs(cms);

	g_assert_cmpint(sk_X509_num(certs), ==, 2);
	sk_X509_pop_free(certs, X509_free);
	g_autoptr(GPtrArray) parsed = cms_certs_only_parse(DATA(message), &error);

	g_assert_no_error(error);
	g_assert_cmpuint(parsed->len, ==, 2);
	/* DER sorts: the shorter EC certificate comes first. */
	g_assert_true(g_bytes_equal(parsed->pdata[0], b_der) && g_bytes_equal(parsed->pdata[1], a_der));
	g_autoptr(GPtrArray) single = cms_certs_only_parse(DATA(one), &error);

	g_assert_true(single->len == 1 && g_bytes_equal(single->pdata[0], a_der));
	g_assert_null(cms_certs_only_format(bad, 2, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	g_clear_error(&error);
	g_autoptr(GBytes) with_signer = testkit_sign(a, testkit_rsa(2048), EVP_sha256(), 0, text);

	g_assert_null(cms_certs_only_parse(DATA(with_signer), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
}

static GBytes *crl_by(EVP_PKEY *key, X509 *issuer)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = ASN1_TIME_set(NULL, 1800000000);
	uint8_t *der = NULL;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, now);
	X509_CRL_sign(crl, key, EVP_sha256());
	int len = i2d_X509_CRL(crl, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
	return bytes;
}

static void test_crls_only(void)
{
	g_autoptr(X509) a = cert_for(false), b = cert_for(true);
	g_autoptr(GBytes) a_crl = crl_by(testkit_rsa(2048), a), b_crl = crl_by(testkit_ec("P-256"), b), cert = cert_format_der(a), junk = g_bytes_new_static("\x30\x03\x02\x01\x01", 5);
	GBytes *both[] = {a_crl, b_crl}, *bad[] = {a_crl, junk};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) message = cms_crls_only_format(both, 2, &error), certs_only = cms_certs_only_format(&cert, 1, NULL);

	g_assert_no_error(error);
	const uint8_t *p = g_bytes_get_data(message, NULL);
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)g_bytes_get_size(message));
	STACK_OF(X509_CRL) *crls = CMS_get1_crls(cms);
	STACK_OF(X509) *certs = CMS_get1_certs(cms);

	g_assert_cmpint(sk_X509_CRL_num(crls), ==, 2);
	g_assert_cmpint(sk_X509_num(certs), <=, 0);
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	sk_X509_pop_free(certs, X509_free);
	g_autoptr(GPtrArray) parsed = cms_crls_only_parse(DATA(message), &error);

	g_assert_no_error(error);
	g_assert_true(parsed->len == 2 && g_bytes_equal(parsed->pdata[0], b_crl) && g_bytes_equal(parsed->pdata[1], a_crl));
	g_assert_null(cms_crls_only_format(bad, 2, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	g_clear_error(&error);
	g_assert_null(cms_crls_only_parse(DATA(certs_only), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
	g_clear_error(&error);
	g_autoptr(GBytes) with_signer = testkit_sign(a, testkit_rsa(2048), EVP_sha256(), 0, text);

	g_assert_null(cms_crls_only_parse(DATA(with_signer), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
}

/* A message to several names the right one to each, and to others none. */
static void test_recipient_for(void)
{
	EVP_PKEY *key = testkit_rsa(2048);
	g_autoptr(X509) ca = testkit_cert(key, "CA", 1, NULL, NULL), old = testkit_cert(key, "RA", 0x80, ca, key), new = testkit_cert(key, "RA", 0x8000, ca, key);
	g_autoptr(X509) other_issuer = testkit_cert(key, "RA", 0x80, NULL, NULL), other_serial = testkit_cert(key, "RA", 0x81, ca, key), other_key = testkit_cert(testkit_rsa(1024), "RA", 2, ca, key);
	X509 *both[] = {ca, old, new}, *one[] = {new};
	g_autoptr(GBytes) message = testkit_encrypt(both, 3, EVP_aes_128_cbc(), text, false, false), single = testkit_encrypt(one, 1, EVP_aes_128_cbc(), text, false, false);
	g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(DATA(message), 65536, NULL), lone = cms_enveloped_parse(DATA(single), 65536, NULL);

	g_assert_cmpuint(parsed->recipients->len, ==, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct cms_recipient *recipient = cms_recipient_for(parsed, both[i]);
		g_autofree char *serial = recipient ? g_ascii_strdown(recipient->serial, -1) : NULL;

		g_assert_cmpstr(serial, ==, i == 0 ? "01" : i == 1 ? "80" : "8000");
	}
	g_assert_true(!cms_recipient_for(parsed, other_issuer) && !cms_recipient_for(parsed, other_serial));
	g_assert_true(!cms_recipient_for(lone, old) && cms_recipient_for(lone, new));
	/* By key identifier: all certificates of one key have the same. */
	struct cms_recipient *recipient = lone->recipients->pdata[0];
	const ASN1_OCTET_STRING *key_id = X509_get0_subject_key_id(old);

	g_clear_pointer(&recipient->issuer_der, g_bytes_unref);
	g_clear_pointer(&recipient->serial, g_free);
	recipient->key_id = g_bytes_new(ASN1_STRING_get0_data(key_id), (gsize)ASN1_STRING_length(key_id));
	g_assert_true(cms_recipient_for(lone, old) == recipient && cms_recipient_for(lone, other_serial) == recipient && !cms_recipient_for(lone, other_key));
}

/* What we put together, CMS_verify must accept, with RSA and EC keys, attached and not. */
static void test_signed_format(void)
{
	for (int variant = 0; variant < 8; variant++) {
		bool ec = variant & 1, attached = variant & 2, has_attrs = variant & 4;
		EVP_PKEY *key = ec ? testkit_ec("P-256") : testkit_rsa(2048);
		g_autoptr(X509) cert = cert_for(ec);
		g_autoptr(GBytes) own = cert_format_der(cert), extra = g_bytes_new_static("\x30\x0d\x06\x03\x2a\x03\x04\x31\x06\x13\x04test", 15);
		g_autoptr(GBytes) attrs = has_attrs ? cms_signed_attrs_format(text, strlen(text), true, NID_sha256, 1795292100, &extra, 1) : NULL;
		g_autoptr(GBytes) plain = g_bytes_new_static(text, strlen(text));
		g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
		g_autoptr(GError) error = NULL;
		uint8_t signature[512];
		size_t len = sizeof(signature);

		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key);
		g_assert_true(EVP_DigestSign(ctx, signature, &len, DATA(has_attrs ? attrs : plain)) == 1);
		g_autoptr(GBytes) message = cms_signed_format(attached ? text : NULL, attached ? strlen(text) : 0, cert, NID_sha256, attrs, signature, len, &own, 1, &error);

		g_assert_no_error(error);
		g_assert_true(openssl_verifies(message, text, strlen(text)));
		g_autoptr(cms_signed) parsed = cms_signed_parse(DATA(message), attached ? NULL : text, attached ? 0 : strlen(text), 65536, &error);

		g_assert_no_error(error);
		g_assert_true(attached == (parsed->content != NULL));
	}
}

/* The RSA signature algorithm is plain rsaEncryption, and the attribute set is DER. */
static void test_signed_attrs_format(void)
{
	g_autoptr(GBytes) attrs = cms_signed_attrs_format("ignored", 7, false, NID_sha256, -1, NULL, 0), late = cms_signed_attrs_format("x", 1, true, NID_sha1, INT64_C(2600000000), NULL, 0);
	uint8_t empty[32];

	cert_sha256("", 0, empty);
	g_assert_nonnull(memmem(DATA(attrs), empty, 32));
	g_assert_null(memmem(DATA(attrs), "\x09\x05", 2));
	g_assert_nonnull(memmem(DATA(late), "\x18\x0f" "20520522", 10));
	g_assert_cmpint(((const uint8_t *)g_bytes_get_data(attrs, NULL))[0], ==, 0x31);
}

/* Shapes that must fall to the walker, with the code they get. */
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	enum cms_kind kind;
	int code;
} walks[] = {
#define W(name, bytes, kind, code) {name, bytes, sizeof(bytes) - 1, kind, code}
#define SIGNED_OID "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
#define ENVELOPED_OID "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
#define DATA_OID "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
	W("empty", "", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("one byte", "\x30", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("not a sequence", "\x04\x01\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("length of five octets", "\x30\x85\x00\x00\x00\x00\x01\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("length past the end", "\x30\x84\x7f\xff\xff\xff\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("length cut off", "\x30\x82\x01", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("no end of contents", "\x30\x80" SIGNED_OID, CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("half an end of contents", "\x30\x80" SIGNED_OID "\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("indefinite primitive", "\x30\x80\x04\x80\x00\x00\x00\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("high tag number", "\x30\x04\x1f\x81\x01\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("end of contents where a length is known", "\x30\x02\x00\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("bytes after the end", "\x30\x0f" SIGNED_OID "\xa0\x02\x30\x00" "\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("no SignedData", "\x30\x0b" SIGNED_OID, CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("empty SignedData", "\x30\x0f" SIGNED_OID "\xa0\x02\x30\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("id-data", "\x30\x0f" DATA_OID "\xa0\x02\x30\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("enveloped for signed", "\x30\x0f" ENVELOPED_OID "\xa0\x02\x30\x00", CMS_KIND_SIGNED, POM_ERR_CMS_MALFORMED),
	W("AuthEnvelopedData", "\x30\x11\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17\xa0\x02\x30\x00", CMS_KIND_ENVELOPED, POM_ERR_CMS_ALGORITHM),
	W("no recipients", "\x30\x14" ENVELOPED_OID "\xa0\x07\x30\x05\x02\x01\x00\x31\x00", CMS_KIND_ENVELOPED, POM_ERR_CMS_MALFORMED),
};

static void test_walk(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(walks); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *exact = g_memdup2(walks[i].len ? walks[i].bytes : "x", MAX(walks[i].len, 1));

		g_assert_false(cms_check(exact, walks[i].len, walks[i].kind, 65536, &error));
		if (error->code != walks[i].code)
			g_error("%s: %s", walks[i].name, error->message);
	}
	g_autofree uint8_t *deep = g_malloc(2000);
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < 2000; i += 2) {
		deep[i] = 0x30;
		deep[i + 1] = 0x80;
	}
	g_assert_false(cms_check(deep, 2000, CMS_KIND_SIGNED, 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_LIMIT);
}

static void test_walk_counts(void)
{
	g_autoptr(X509) cert = cert_for(true);
	g_autoptr(GBytes) own = cert_format_der(cert);
	GBytes *nine[9] = {own, own, own, own, own, own, own, own, own};

	for (size_t n = 9; n >= 8; n--) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) message = cms_certs_only_format(nine, n, NULL);

		g_assert_true(cms_check(DATA(message), CMS_KIND_SIGNED, 65536, &error) == (n == 8));
		g_assert_true(n == 8 || error->code == POM_ERR_CMS_LIMIT);
		if (n == 9)
			continue;
		/* A good message and one byte more. */
		g_autofree char *longer = g_malloc0(g_bytes_get_size(message) + 1);

		memcpy(longer, DATA(message));
		g_assert_false(cms_check(longer, g_bytes_get_size(message) + 1, CMS_KIND_SIGNED, 65536, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_MALFORMED);
	}
	/* Two signers */
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
	g_autoptr(BIO) in = BIO_new_mem_buf("x", 1), out = BIO_new(BIO_s_mem());
	g_autoptr(X509) rsa = cert_for(false);
	g_autoptr(GError) error = NULL;
	char *data;

	CMS_add1_signer(cms, cert, testkit_ec("P-256"), EVP_sha256(), CMS_BINARY);
	CMS_add1_signer(cms, rsa, testkit_rsa(2048), EVP_sha256(), CMS_BINARY);
	g_assert_true(CMS_final(cms, in, NULL, CMS_BINARY) && i2d_CMS_bio(out, cms));
	long len = BIO_get_mem_data(out, &data);

	g_assert_false(cms_check(data, (size_t)len, CMS_KIND_SIGNED, 65536, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CMS_LIMIT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cms/detached-against-openssl", test_detached_against_openssl);
	g_test_add_func("/cms/detached-empty-content", test_detached_empty_content);
	g_test_add_func("/cms/detached-refused", test_detached_refused);
	g_test_add_func("/cms/detached-signer-bytes", test_detached_signer_bytes);
	g_test_add_func("/cms/signed", test_signed);
	g_test_add_func("/cms/signed-streamed", test_signed_streamed);
	g_test_add_func("/cms/content-type-attribute", test_content_type_attribute);
	g_test_add_func("/cms/ambiguous-signer", test_ambiguous_signer);
	g_test_add_func("/cms/enveloped", test_enveloped);
	g_test_add_func("/cms/enveloped-recipients", test_enveloped_recipients);
	g_test_add_func("/cms/enveloped-old-ciphers", test_enveloped_old_ciphers);
	g_test_add_func("/cms/enveloped-format", test_enveloped_format);
	g_test_add_func("/cms/certs-only", test_certs_only);
	g_test_add_func("/cms/crls-only", test_crls_only);
	g_test_add_func("/cms/recipient-for", test_recipient_for);
	g_test_add_func("/cms/signed-format", test_signed_format);
	g_test_add_func("/cms/signed-attrs-format", test_signed_attrs_format);
	g_test_add_func("/cms/walk", test_walk);
	g_test_add_func("/cms/walk-counts", test_walk_counts);
	return g_test_run();
}
