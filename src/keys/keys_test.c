#include <glib/gstdio.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/testkit.h"
#include "keys/keys.h"

static struct signer *test_key(void)
{
	g_autoptr(GError) error = NULL;
	struct signer *key = signer_generate_rsa(2048, &error);

	g_assert_no_error(error);
	return key;
}

static X509 *self_signed(struct signer *key)
{
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "test", NULL), spki = cert_spki_format(signer_get_key(key));
	struct cert_plan plan = {.purpose = CERT_DEVICE, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = 0, .not_after = 4000000000};
	g_autoptr(X509) cert = cert_build(&plan, NULL, NULL);

	g_assert_true(signer_sign_cert(key, cert, NULL));
	/* Read back, as every certificate is that we use: a built one has no decoded key. */
	g_autoptr(GBytes) der = cert_format_der(cert);
	return cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);
}

static void test_seal(void)
{
	struct seal seal = {.key = "01234567890123456789012345678901", .id = {1, 2, 3, 4}, .random = pom_random_system()}, other = seal;
	g_autoptr(GBytes) sealed = seal_close(&seal, "t", "r", "c", "secret", 6), again = seal_close(&seal, "t", "r", "c", "secret", 6);
	g_autoptr(GBytes) plain = seal_open(&seal, "t", "r", "c", sealed, NULL);
	g_autoptr(GError) error = NULL;
	gsize len;

	g_assert_cmpmem(g_bytes_get_data(plain, &len), 6, "secret", 6);
	g_assert_cmpuint(len, ==, 6);
	g_assert_false(g_bytes_equal(sealed, again));
	/* Bound to its place: neither another table, row nor column opens it. */
	g_assert_null(seal_open(&seal, "x", "r", "c", sealed, NULL));
	g_assert_null(seal_open(&seal, "t", "x", "c", sealed, NULL));
	g_assert_null(seal_open(&seal, "t", "r", "x", sealed, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_SEAL);
	for (gsize i = 0; i < g_bytes_get_size(sealed); i++) {
		uint8_t *copy = g_memdup2(g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed));
		copy[i] ^= 1;
		g_autoptr(GBytes) damaged = g_bytes_new_take(copy, g_bytes_get_size(sealed));
		g_assert_null(seal_open(&seal, "t", "r", "c", damaged, NULL));
	}
	other.id[0] = 9;
	g_clear_error(&error);
	g_assert_null(seal_open(&other, "t", "r", "c", sealed, &error));
	g_assert_nonnull(strstr(error->message, "another encryption key"));
	g_assert_null(seal_open(&seal, "t", "r", "c", NULL, NULL));
}

/* RFC 4231 section 4.3; and a sub-key is another for each label and each key. */
static void test_hmac(void)
{
	struct seal one = {.key = {1}}, two = {.key = {2}};
	uint8_t mac[32], a[32], b[32];
	g_autofree char *hex = NULL;

	hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	hex = hex_format(mac, sizeof(mac));
	g_assert_cmpstr(hex, ==, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	seal_derive(&one, "x", a);
	seal_derive(&one, "y", b);
	g_assert_true(memcmp(a, b, sizeof(a)) && memcmp(a, one.key, sizeof(a)));
	seal_derive(&two, "x", b);
	g_assert_true(memcmp(a, b, sizeof(a)));
	seal_derive(&one, "x", b);
	g_assert_cmpmem(a, sizeof(a), b, sizeof(b));
}

static void test_seal_file(void)
{
	g_autofree char *dir = g_dir_make_tmp("pomona-keys-XXXXXX", NULL), *path = g_build_filename(dir, "seal.key", NULL);
	g_autoptr(GError) error = NULL;
	struct seal a, b;

	g_assert_false(seal_load_file(path, pom_random_system(), &a, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_IO);
	g_clear_error(&error);
	g_assert_true(seal_create_file(path, pom_random_system(), NULL));
	g_assert_false(seal_create_file(path, pom_random_system(), NULL));
	g_assert_true(seal_load_file(path, pom_random_system(), &a, NULL));
	g_assert_true(seal_load_file(path, pom_random_system(), &b, NULL));
	g_assert_cmpmem(a.key, SEAL_KEY_LEN, b.key, SEAL_KEY_LEN);
	g_chmod(path, 0644);
	g_assert_false(seal_load_file(path, pom_random_system(), &a, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PERMISSION);
	g_clear_error(&error);
	g_file_set_contents(path, "short\n", -1, NULL);
	g_chmod(path, 0600);
	g_assert_false(seal_load_file(path, pom_random_system(), &a, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_unlink(path);
	g_rmdir(dir);
}

static void test_signer_forms(void)
{
	g_autoptr(signer) key = test_key();
	g_autoptr(GBytes) der = signer_format(key, NULL);
	g_autoptr(signer) same = signer_parse(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
	g_autoptr(GError) error = NULL;
	char *text;
	long len;

	g_assert_cmpint(EVP_PKEY_eq(signer_get_key(key), signer_get_key(same)), ==, 1);
	PEM_write_bio_PKCS8PrivateKey(bio, signer_get_key(key), EVP_aes_128_cbc(), "pw", 2, NULL, NULL);
	len = BIO_get_mem_data(bio, &text);
	g_autoptr(signer) opened = signer_parse_any(text, (size_t)len, "pw", NULL);
	g_assert_nonnull(opened);
	g_assert_null(signer_parse_any(text, (size_t)len, "no", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY);
	g_assert_null(signer_parse_any(text, (size_t)len, NULL, NULL));
	g_assert_null(signer_parse("nonsense", 8, NULL));
}

/* What is enveloped comes back, through our reader and through OpenSSL's. */
static void test_enveloped(void)
{
	static const int ciphers[] = {NID_aes_128_cbc, NID_aes_192_cbc, NID_aes_256_cbc, NID_des_ede3_cbc};
	g_autoptr(signer) key = test_key(), other = test_key();
	g_autoptr(X509) cert = self_signed(key);
	struct cms_recipient oaep = {.oaep = true, .oaep_digest_nid = NID_sha256, .oaep_mgf_nid = NID_sha256};
	struct cms_recipient *const likes[] = {NULL, &oaep};

	for (unsigned i = 0; i < G_N_ELEMENTS(ciphers); i++)
		for (unsigned k = 0; k < G_N_ELEMENTS(likes); k++) {
			g_autoptr(GError) error = NULL;
			g_autoptr(GBytes) message = cms_make_enveloped(cert, likes[k], ciphers[i], "hello", 5, pom_random_system(), &error);
			g_assert_no_error(error);
			g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), 65536, &error);
			g_assert_no_error(error);
			g_assert_cmpint(parsed->cipher_nid, ==, ciphers[i]);
			g_autoptr(GBytes) plain = cms_open_enveloped(key, cert, parsed, pom_random_system(), &error);
			g_assert_no_error(error);
			g_assert_cmpmem(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), "hello", 5);
			/* Another key gives an error or, one time in 256, garbage that ends like padding; never the content. */
			g_autoptr(GBytes) wrong = cms_open_enveloped(other, cert, parsed, pom_random_system(), NULL);
			g_assert_false(wrong && g_bytes_equal(wrong, plain));

			g_autoptr(BIO) in = BIO_new_mem_buf(g_bytes_get_data(message, NULL), (int)g_bytes_get_size(message)), out = BIO_new(BIO_s_mem());
			g_autoptr(CMS_ContentInfo) cms = d2i_CMS_bio(in, NULL);
			g_assert_cmpint(CMS_decrypt(cms, signer_get_key(key), cert, NULL, out, CMS_BINARY), ==, 1);
		}
}

/* One answer for every way in which decrypting can fail. */
static void test_decrypt_failures(void)
{
	g_autoptr(signer) key = test_key();
	g_autoptr(X509) cert = self_signed(key);
	g_autoptr(GBytes) message = cms_make_enveloped(cert, NULL, NID_aes_128_cbc, "hello", 5, pom_random_system(), NULL);
	g_autofree char *first = NULL;

	for (int i = 0; i < 3; i++) {
		g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), 65536, NULL);
		struct cms_recipient *recipient = g_ptr_array_index(parsed->recipients, 0);
		g_autoptr(GError) error = NULL;
		GBytes **field = i == 0 ? &recipient->encrypted_key : i == 1 ? &parsed->ciphertext : &parsed->iv;
		uint8_t *copy = g_memdup2(g_bytes_get_data(*field, NULL), g_bytes_get_size(*field));
		gsize len = g_bytes_get_size(*field);

		copy[len - 1] ^= 0x55;
		g_bytes_unref(*field);
		*field = g_bytes_new_take(copy, i == 2 ? len - 1 : len);
		g_autoptr(GBytes) plain = cms_open_enveloped(key, cert, parsed, pom_random_system(), &error);
		if (plain) /* one time in 256 garbage ends like padding */
			continue;
		g_assert_error(error, POM_ERROR, POM_ERR_CMS_DECRYPT);
		if (first)
			g_assert_cmpstr(error->message, ==, first);
		else
			first = g_strdup(error->message);
	}
}

/* Two keys, as during a change of CAs: the holder finds which one a message is for, whatever stands first. */
static void test_several_recipients(void)
{
	g_autoptr(signer) old_key = test_key(), new_key = test_key();
	g_autoptr(X509) old_cert = testkit_cert(signer_get_key(old_key), "CA", 5, NULL, NULL), new_cert = testkit_cert(signer_get_key(new_key), "CA", 6, NULL, NULL);
	X509 *both[] = {old_cert, new_cert};
	g_autoptr(GBytes) message = testkit_encrypt(both, 2, EVP_aes_128_cbc(), "hello", false, false);
	g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), 65536, NULL);
	const struct cms_recipient *to_old = cms_recipient_for(parsed, old_cert), *to_new = cms_recipient_for(parsed, new_cert);
	g_autoptr(GBytes) by_old = cms_open_enveloped_with(old_key, to_old, parsed, pom_random_system(), NULL), by_new = cms_open_enveloped_with(new_key, to_new, parsed, pom_random_system(), NULL);
	g_autoptr(GBytes) crossed = cms_open_enveloped_with(new_key, to_old, parsed, pom_random_system(), NULL), by_none = cms_open_enveloped_with(new_key, NULL, parsed, pom_random_system(), NULL);
	g_autoptr(GBytes) by_cert = cms_open_enveloped(new_key, new_cert, parsed, pom_random_system(), NULL);

	g_assert_true(to_old && to_new && to_old != to_new);
	g_assert_cmpmem(g_bytes_get_data(by_old, NULL), g_bytes_get_size(by_old), "hello", 5);
	g_assert_true(g_bytes_equal(by_old, by_new) && g_bytes_equal(by_old, by_cert));
	/* Garbage, one time in 256, but never the content. */
	g_assert_false(crossed && g_bytes_equal(crossed, by_old));
	g_assert_false(by_none && g_bytes_equal(by_none, by_old));
}

static GBytes *dead_unwrap(void *ctx, const struct cms_recipient *recipient, bool *ret_unavailable)
{
	*ret_unavailable = true;
	return NULL;
}

static void dead_free(void *ctx)
{
}

/* A token that does not answer is not a message that cannot be decrypted. */
static void test_unavailable(void)
{
	static const struct signer_ops ops = {.unwrap = dead_unwrap, .free = dead_free};
	g_autoptr(signer) key = test_key(), dead = signer_new(&ops, NULL, EVP_PKEY_dup(signer_get_key(key)));
	g_autoptr(X509) cert = self_signed(key);
	g_autoptr(GBytes) message = cms_make_enveloped(cert, NULL, NID_aes_128_cbc, "hello", 5, pom_random_system(), NULL);
	g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), 65536, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_null(cms_open_enveloped(dead, cert, parsed, pom_random_system(), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY_UNAVAILABLE);
	g_clear_error(&error);
	g_assert_null(signer_format(dead, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY);
}

static void test_signed(void)
{
	static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
	g_autoptr(signer) key = test_key();
	g_autoptr(X509) cert = self_signed(key);
	g_autoptr(GBytes) der = cert_format_der(cert);

	for (unsigned i = 0; i < G_N_ELEMENTS(digests); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) message = cms_make_signed(key, cert, "a\nb", 3, true, digests[i], 1700000000, NULL, 0, &der, 1, &error);
		g_assert_no_error(error);
		g_autoptr(cms_signed) parsed = cms_signed_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), NULL, 0, 65536, &error);
		g_assert_no_error(error);
		g_assert_cmpint(parsed->digest_nid, ==, digests[i]);
		g_assert_cmpmem(g_bytes_get_data(parsed->content, NULL), g_bytes_get_size(parsed->content), "a\nb", 3);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/keys/seal", test_seal);
	g_test_add_func("/keys/seal-file", test_seal_file);
	g_test_add_func("/keys/hmac", test_hmac);
	g_test_add_func("/keys/signer-forms", test_signer_forms);
	g_test_add_func("/keys/enveloped", test_enveloped);
	g_test_add_func("/keys/decrypt-failures", test_decrypt_failures);
	g_test_add_func("/keys/several-recipients", test_several_recipients);
	g_test_add_func("/keys/unavailable", test_unavailable);
	g_test_add_func("/keys/signed", test_signed);
	return g_test_run();
}
