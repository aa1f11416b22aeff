#include "keys/profile_crypt.h"

#include <string.h>

#include "codec/testkit.h"

#define HEAD(type, id, uuid) \
	"<key>PayloadType</key><string>" type "</string><key>PayloadVersion</key><integer>1</integer>" \
	"<key>PayloadIdentifier</key><string>" id "</string><key>PayloadUUID</key><string>" uuid "</string>"
#define PROFILE(content) "<plist><dict>" HEAD("Configuration", "org.example", "P") content "</dict></plist>"

static const char text[] = PROFILE("<key>PayloadContent</key><array><dict>" HEAD("com.apple.wifi.managed", "w", "W") "<key>Password</key><string>hunter2-canary</string></dict></array>");

static plist *parse(const char *xml)
{
	g_autoptr(GError) error = NULL;
	plist *node = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return node;
}

static struct signer *hold(EVP_PKEY *key)
{
	EVP_PKEY_up_ref(key);
	return signer_new_memory(key);
}

static bool holds(const plist *node, const char *needle)
{
	g_autoptr(GBytes) xml = plist_format(node, NULL);

	return g_strstr_len(g_bytes_get_data(xml, NULL), (gssize)g_bytes_get_size(xml), needle) != NULL;
}

static void test_ciphers(void)
{
	static const struct { const char *name; int nid; } names[] = {{"aes256", NID_aes_256_cbc}, {"aes128", NID_aes_128_cbc}, {"3des", NID_des_ede3_cbc}, {"des", 0}, {"AES256", 0}, {"", 0}, {NULL, 0}};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_cmpint(profile_cipher_nid(names[i].name), ==, names[i].nid);
}

/* Ours is opened by us and by OpenSSL's own CMS_decrypt; the outer keys stay readable, the content does not. */
static void test_round(void)
{
	g_autoptr(plist) profile = parse(text);
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "device", 7, NULL, NULL);
	g_autoptr(signer) key = hold(testkit_rsa(2048));
	static const char *const ciphers[] = {"aes256", "aes128", "3des"};

	for (size_t i = 0; i < G_N_ELEMENTS(ciphers); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(plist) sealed = profile_encrypt(profile, cert, profile_cipher_nid(ciphers[i]), pom_random_system(), &error);
		size_t len;

		g_assert_no_error(error);
		g_assert_true(profile_is_encrypted(sealed) && !profile_is_encrypted(profile) && mobileconfig_check(sealed, NULL));
		g_assert_null(plist_dict_get(sealed, "PayloadContent"));
		g_assert_cmpstr(plist_get_string(plist_dict_get(sealed, "PayloadIdentifier")), ==, "org.example");
		g_assert_false(holds(sealed, "canary"));
		const uint8_t *data = plist_get_data(plist_dict_get(sealed, "EncryptedPayloadContent"), &len);
		g_autoptr(cms_enveloped) enveloped = cms_enveloped_parse(data, len, len, NULL);
		g_assert_cmpint(enveloped->cipher_nid, ==, profile_cipher_nid(ciphers[i]));
		g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &(const unsigned char *){data}, (long)len);
		g_autoptr(BIO) out = BIO_new(BIO_s_mem());
		g_assert_true(CMS_decrypt(cms, testkit_rsa(2048), cert, NULL, out, CMS_BINARY) == 1);
		for (int named = 0; named < 2; named++) {
			g_autoptr(plist) opened = profile_decrypt(sealed, key, named ? cert : NULL, pom_random_system(), &error);

			g_assert_no_error(error);
			g_assert_true(plist_equal(opened, profile));
		}
	}
}

/* A profile around ENVELOPE, made by OpenSSL. */
static plist *around(GBytes *envelope)
{
	plist *profile = parse(PROFILE(""));

	plist_dict_set_data(profile, "EncryptedPayloadContent", g_bytes_get_data(envelope, NULL), g_bytes_get_size(envelope));
	return profile;
}

/* What others made: DER and BER, several recipients. */
static void test_foreign(void)
{
	static const char content[] = "<plist><array><dict/></array></plist>";
	g_autoptr(X509) first = testkit_cert(testkit_rsa(1024), "other", 8, NULL, NULL), cert = testkit_cert(testkit_rsa(2048), "device", 7, NULL, NULL);
	g_autoptr(signer) key = hold(testkit_rsa(2048));
	X509 *both[] = {first, cert};

	for (int form = 0; form < 4; form++) {
		bool streamed = form & 1, alone = form & 2;
		g_autoptr(GBytes) envelope = testkit_encrypt(alone ? &cert : both, alone ? 1 : 2, EVP_aes_256_cbc(), content, streamed, false);
		g_autoptr(plist) profile = around(envelope), opened = profile_decrypt(profile, key, cert, pom_random_system(), NULL);

		g_assert_cmpint((int)plist_count(plist_dict_get(opened, "PayloadContent")), ==, 1);
	}
}

static void refused_decrypt(const plist *profile, struct signer *key, X509 *cert, int code, const char *what)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(profile_decrypt(profile, key, cert, pom_random_system(), &error));
	g_assert_error(error, POM_ERROR, code);
	if (!strstr(error->message, what))
		g_error("%s: %s", what, error->message);
}

static void test_refused_decrypt(void)
{
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "device", 7, NULL, NULL), other = testkit_cert(testkit_rsa(1024), "other", 8, NULL, NULL);
	g_autoptr(signer) key = hold(testkit_rsa(2048)), wrong = hold(testkit_rsa(1024));
	g_autoptr(plist) plain = parse(text), sealed = profile_encrypt(plain, cert, NID_aes_256_cbc, pom_random_system(), NULL);
	X509 *both[] = {cert, cert};
	g_autoptr(GBytes) no_array = testkit_encrypt(&cert, 1, EVP_aes_256_cbc(), "<plist><dict/></plist>", false, false), no_plist = testkit_encrypt(&cert, 1, EVP_aes_256_cbc(), "hello", false, false),
	                  two = testkit_encrypt(both, 2, EVP_aes_256_cbc(), "<plist><array/></plist>", false, false), cut = testkit_flip(no_array, 3);
	g_autoptr(plist) p_no_array = around(no_array), p_no_plist = around(no_plist), p_two = around(two), p_cut = around(cut), string = parse(PROFILE("<key>EncryptedPayloadContent</key><string>AAEC</string>"));

	refused_decrypt(plain, key, cert, POM_ERR_PROFILE_NOT_ENCRYPTED, "not encrypted");
	refused_decrypt(string, key, cert, POM_ERR_PROFILE_NOT_ENCRYPTED, "not encrypted");
	refused_decrypt(sealed, wrong, NULL, POM_ERR_PROFILE_RECIPIENT, "serial number 07 of \"device\"");
	refused_decrypt(sealed, wrong, other, POM_ERR_PROFILE_RECIPIENT, "serial number 07 of \"device\"");
	refused_decrypt(sealed, wrong, cert, POM_ERR_KEY_MISMATCH, "does not belong");
	refused_decrypt(p_two, key, NULL, POM_ERR_PROFILE_RECIPIENT, "serial number");
	refused_decrypt(p_two, wrong, other, POM_ERR_PROFILE_RECIPIENT, "serial number");
	refused_decrypt(p_no_array, key, cert, POM_ERR_PROFILE, "array of payloads");
	refused_decrypt(p_no_plist, key, cert, POM_ERR_PLIST_SYNTAX, "");
	refused_decrypt(p_cut, key, cert, POM_ERR_CMS_MALFORMED, "");
}

static void refused_encrypt(const char *xml, X509 *cert, int cipher, int code, const char *what)
{
	g_autoptr(plist) profile = parse(xml);
	g_autoptr(GError) error = NULL;

	g_assert_null(profile_encrypt(profile, cert, cipher, pom_random_system(), &error));
	g_assert_error(error, POM_ERROR, code);
	if (!strstr(error->message, what))
		g_error("%s: %s", what, error->message);
}

static void test_refused_encrypt(void)
{
	g_autoptr(X509) cert = testkit_cert(testkit_rsa(2048), "device", 7, NULL, NULL), ec = testkit_cert(testkit_ec("P-256"), "ec", 9, NULL, NULL);

	refused_encrypt(text, ec, NID_aes_256_cbc, POM_ERR_CMS_ALGORITHM, "RSA keys only");
	refused_encrypt(PROFILE("<key>EncryptedPayloadContent</key><data>AAEC</data>"), cert, NID_aes_256_cbc, POM_ERR_PROFILE, "encrypted already");
	refused_encrypt(PROFILE(""), cert, NID_aes_256_cbc, POM_ERR_PROFILE, "nothing to encrypt");
	refused_encrypt(PROFILE("<key>PayloadContent</key><dict/>"), cert, NID_aes_256_cbc, POM_ERR_PROFILE, "nothing to encrypt");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/profile_crypt/ciphers", test_ciphers);
	g_test_add_func("/profile_crypt/round", test_round);
	g_test_add_func("/profile_crypt/foreign", test_foreign);
	g_test_add_func("/profile_crypt/refused_decrypt", test_refused_decrypt);
	g_test_add_func("/profile_crypt/refused_encrypt", test_refused_encrypt);
	return g_test_run();
}
