/* With SoftHSM2: a token in a folder of its own, keys made by pkcs11-tool. */
#include "keys/pkcs11.h"

#include <glib/gstdio.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "codec/testkit.h"
#include "keys/ca_make.h"
#include "keys/pkcs12.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define PIN "c0rrect-pin"

static char *folder;

static bool run(const char *line)
{
	g_auto(GStrv) argv = NULL;
	g_autofree char *out = NULL, *err = NULL;
	int status = 0;

	g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
	if (!g_spawn_sync(folder, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, NULL))
		return false;
	if (!g_spawn_check_wait_status(status, NULL)) {
		g_test_message("%s\n%s%s", line, out, err);
		return false;
	}
	return true;
}

/* Two tokens: "lab" with the keys, and "other" with another PIN. */
static void set_up(void)
{
	static const char tool[] = "pkcs11-tool --module " MODULE " --token-label lab --login --pin " PIN " --keypairgen ";
	g_autofree char *conf = g_build_filename(folder, "softhsm2.conf", NULL), *tokens = g_build_filename(folder, "tokens", NULL);
	g_autofree char *text = g_strdup_printf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens);

	g_assert_true(g_file_set_contents(conf, text, -1, NULL) && g_mkdir(tokens, 0700) == 0);
	g_setenv("SOFTHSM2_CONF", conf, true);
	g_assert_true(run("softhsm2-util --init-token --free --label lab --pin " PIN " --so-pin 5678"));
	g_assert_true(run("softhsm2-util --init-token --free --label other --pin 999999 --so-pin 5678"));
	g_autofree char *rsa = g_strconcat(tool, "--key-type rsa:2048 --label rsa --id 01", NULL), *ec = g_strconcat(tool, "--key-type EC:prime256v1 --label ec --id 02", NULL);
	g_autofree char *second = g_strdup("pkcs11-tool --module " MODULE " --token-label other --login --pin 999999 --keypairgen --key-type rsa:2048 --label rsa --id 01");

	g_assert_true(run(rsa) && run(ec) && run(second));
}

static struct signer *open_key(const char *uri, const char *pin)
{
	g_autoptr(GError) error = NULL;
	struct signer *key = signer_open_pkcs11(uri, pin, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
	return key;
}

static void test_load(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(signer_open_pkcs11("pkcs11:token=lab;object=rsa", PIN, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_clear_error(&error);
	g_assert_false(keys_load_pkcs11("/nowhere/module.so", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_clear_error(&error);
	g_assert_true(keys_load_pkcs11(MODULE, &error));
	g_assert_no_error(error);
	g_assert_true(keys_load_pkcs11(MODULE, &error));
	g_assert_false(keys_load_pkcs11("/bin/sh", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static X509 *self_signed(struct signer *key, enum cert_purpose purpose, uint8_t serial)
{
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "token", NULL), spki = cert_spki_format(signer_get_key(key));
	struct cert_plan plan = {.purpose = purpose, .serial = {serial}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = 0, .not_after = 4000000000};
	g_autoptr(X509) cert = cert_build(&plan, NULL, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(signer_sign_cert(key, cert, &error));
	g_assert_no_error(error);
	g_autoptr(GBytes) der = cert_format_der(cert);

	return cert_parse_der(DATA(der), NULL);
}

/* Certificates, CRLs, requests and messages signed in the token. */
static void test_sign(void)
{
	static const char *const uris[] = {"pkcs11:token=lab;object=rsa;type=private", "pkcs11:token=lab;object=ec"};

	for (size_t i = 0; i < G_N_ELEMENTS(uris); i++) {
		g_autoptr(signer) key = open_key(uris[i], PIN);
		g_autoptr(X509) cert = self_signed(key, CERT_ROOT_CA, 1);
		g_autoptr(GError) error = NULL;
		const struct crl_plan plan = {.number = 1, .this_update = 1, .next_update = 2};
		g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "x", NULL), own = cert_format_der(cert);
		g_autoptr(GBytes) list = crl_make(key, cert, &plan, &error), request = csr_make(key, subject, "secret", NULL, &error);
		g_autoptr(GBytes) message = cms_make_signed(key, cert, "hello", 5, true, NID_sha512, -1, NULL, 0, &own, 1, &error);

		g_assert_no_error(error);
		g_assert_true(cert_is_issued_by(cert, cert));
		g_autoptr(crl_info) info = crl_parse(DATA(list), NULL);
		g_autoptr(csr) csr = csr_parse(DATA(request), &error);
		g_autoptr(cms_signed) parsed = cms_signed_parse(DATA(message), NULL, 0, 65536, &error);

		g_assert_no_error(error);
		g_assert_true(crl_is_issued_by(info, cert) && csr && parsed && parsed->digest_nid == NID_sha512);
		g_assert_null(signer_sign(key, NID_undef, "x", 1, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_KEY);
		g_clear_error(&error);
		g_assert_null(signer_format(key, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_KEY);
		g_clear_error(&error);
		g_assert_null(pkcs12_make(key, cert, NULL, 0, NULL, "pw", false, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_KEY);
	}
}

/* Content keys unwrapped in the token, whatever the padding. */
static void test_unwrap(void)
{
	static const struct cms_recipient likes[] = {
		{.oaep = false}, {.oaep = true, .oaep_digest_nid = NID_sha1, .oaep_mgf_nid = NID_sha1}, {.oaep = true, .oaep_digest_nid = NID_sha256, .oaep_mgf_nid = NID_sha256},
		{.oaep = true, .oaep_digest_nid = NID_sha512, .oaep_mgf_nid = NID_sha1},
	};
	g_autoptr(signer) key = open_key("pkcs11:token=lab;object=rsa", PIN);
	g_autoptr(X509) cert = self_signed(key, CERT_RA, 2);

	for (size_t i = 0; i < G_N_ELEMENTS(likes); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) message = cms_make_enveloped(cert, &likes[i], NID_aes_256_cbc, "hello", 5, pom_random_system(), &error);
		g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(DATA(message), 65536, &error);
		g_autoptr(GBytes) plain = cms_open_enveloped_with(key, cms_recipient_for(parsed, cert), parsed, pom_random_system(), &error);

		g_assert_no_error(error);
		g_assert_cmpmem(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), "hello", 5);
	}
}

static void assert_wrong(struct signer *key, const struct cms_recipient *recipient)
{
	bool is_unavailable = true;
	g_autoptr(GBytes) content = signer_unwrap(key, recipient, &is_unavailable);

	g_assert_true(!content && !is_unavailable);
}

/* Nothing that a message can hold looks like a broken token. */
static void test_wrong_padding(void)
{
	g_autoptr(signer) rsa = open_key("pkcs11:token=lab;object=rsa", PIN), ec = open_key("pkcs11:token=lab;object=ec", PIN);
	uint8_t bytes[257] = {0};
	static const size_t lens[] = {0, 1, 255, 256, 257};

	for (int fill = 0; fill < 3; fill++) {
		for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
			memset(bytes, fill == 2 ? 0xff : fill, sizeof(bytes));
			struct cms_recipient pkcs1 = {.encrypted_key = g_bytes_new(bytes, lens[i])}, oaep = pkcs1;

			oaep.oaep = true;
			oaep.oaep_digest_nid = oaep.oaep_mgf_nid = NID_sha256;
			assert_wrong(rsa, &pkcs1);
			assert_wrong(rsa, &oaep);
			assert_wrong(ec, &pkcs1);
			g_bytes_unref(pkcs1.encrypted_key);
		}
	}
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static void test_uris(void)
{
	static const struct {
		const char *uri, *pin;
		int code;
	} cases[] = {
		{"pkcs11:token=lab;object=rsa;pin-value=" PIN, NULL, 0}, {"pkcs11:token=lab;object=rsa?pin-value=" PIN, NULL, 0}, {"pkcs11:pin-value=c0rrect%2Dpin;token=lab;object=rsa", "wrong", 0},
		{"pkcs11:token=lab;id=%02;type=private", PIN, 0},
		/* The first of a token decides: once it is open it asks no more. */
		{"pkcs11:token=other;object=rsa", "wrong-pin", POM_ERR_PASSWORD}, {"pkcs11:token=other;object=rsa;pin-value=wrong-pin", NULL, POM_ERR_PASSWORD},
		{"pkcs11:token=other;object=rsa", "999999", 0}, {"pkcs11:token=other;object=rsa", NULL, 0},
		{"pkcs11:token=lab;object=missing", PIN, POM_ERR_KEY_UNAVAILABLE}, {"pkcs11:token=missing;object=rsa", PIN, POM_ERR_KEY_UNAVAILABLE},
		{"pkcs11:object", PIN, POM_ERR_KEY_UNAVAILABLE}, {"file:key.pem", PIN, POM_ERR_CONFIG}, {"", NULL, POM_ERR_CONFIG},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(signer) key = signer_open_pkcs11(cases[i].uri, cases[i].pin, &error);

		g_test_message("case %zu: %s", i, error ? error->message : "opened");
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
		if (!cases[i].code) {
			g_assert_no_error(error);
			g_autoptr(X509) cert = self_signed(key, CERT_ROOT_CA, 1);

			g_assert_nonnull(cert);
			continue;
		}
		g_assert_null(key);
		g_assert_error(error, POM_ERROR, cases[i].code);
		g_assert_true(!strstr(error->message, "wrong-pin") && !strstr(error->message, PIN));
	}
}

static void fail_to_open(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(keys_load_pkcs11(MODULE, NULL));
	g_assert_null(signer_open_pkcs11("pkcs11:token=lab;pin-value=" PIN ";object=missing?pin-value=" PIN, PIN, &error));
	fputs(error->message, stderr);
}

/* The engine says on stderr which keys it does not find. */
static void test_pin_not_shown(void)
{
	g_test_trap_subprocess("/pkcs11/pin-not-shown/subprocess", 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr("*object=missing*object=missing*");
	g_test_trap_assert_stderr_unmatched("*" PIN "*");
}

static gpointer sign_many(gpointer ctx)
{
	for (int i = 0; i < 50; i++) {
		g_autoptr(GBytes) signature = signer_sign(ctx, NID_sha256, "x", 1, NULL);

		if (!signature)
			return NULL;
	}
	return ctx;
}

static void test_threads(void)
{
	g_autoptr(signer) rsa = open_key("pkcs11:token=lab;object=rsa", PIN), ec = open_key("pkcs11:token=lab;object=ec", PIN);
	GThread *threads[8];

	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		threads[i] = g_thread_new("sign", sign_many, i % 2 ? rsa : ec);
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_assert_nonnull(g_thread_join(threads[i]));
}

/* The token's files go away under it: 503, not a refusal of the message. The last case: nothing works after it. */
static void test_token_gone(void)
{
	g_autoptr(signer) key = open_key("pkcs11:token=lab;object=rsa", PIN);
	g_autoptr(X509) cert = self_signed(key, CERT_RA, 2), unsigned_cert = X509_dup(cert);
	g_autoptr(GBytes) message = cms_make_enveloped(cert, NULL, NID_aes_128_cbc, "hello", 5, pom_random_system(), NULL);
	g_autoptr(cms_enveloped) parsed = cms_enveloped_parse(DATA(message), 65536, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(run("find tokens -type f -delete"));
	g_assert_null(signer_sign(key, NID_sha256, "x", 1, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY_UNAVAILABLE);
	g_clear_error(&error);
	g_assert_false(signer_sign_cert(key, unsigned_cert, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY_UNAVAILABLE);
	g_clear_error(&error);
	g_assert_null(cms_open_enveloped(key, cert, parsed, pom_random_system(), &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY_UNAVAILABLE);
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static bool is_installed(void)
{
	g_autofree char *util = g_find_program_in_path("softhsm2-util"), *tool = g_find_program_in_path("pkcs11-tool");
	g_autofree char *engine = g_build_filename(OPENSSL_info(OPENSSL_INFO_ENGINES_DIR), "pkcs11.so", NULL);

	return util && tool && g_file_test(MODULE, G_FILE_TEST_EXISTS) && g_file_test(engine, G_FILE_TEST_EXISTS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	folder = g_dir_make_tmp("pomona-token-XXXXXX", NULL);
	if (!is_installed()) {
		printf("1..0 # SKIP the packages softhsm2, opensc or libengine-pkcs11-openssl are not installed\n");
		return 0;
	}
	set_up();
	g_test_add_func("/pkcs11/load", test_load);
	g_test_add_func("/pkcs11/sign", test_sign);
	g_test_add_func("/pkcs11/unwrap", test_unwrap);
	g_test_add_func("/pkcs11/wrong-padding", test_wrong_padding);
	g_test_add_func("/pkcs11/uris", test_uris);
	g_test_add_func("/pkcs11/pin-not-shown", test_pin_not_shown);
	g_test_add_func("/pkcs11/pin-not-shown/subprocess", fail_to_open);
	g_test_add_func("/pkcs11/threads", test_threads);
	g_test_add_func("/pkcs11/token-gone", test_token_gone);
	int code = g_test_run();

	g_assert_true(run("find . -mindepth 1 -delete"));
	g_rmdir(folder);
	g_free(folder);
	return code;
}
