#include "keys/pkcs12.h"

#include <glib/gstdio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

static struct signer *hold(EVP_PKEY *key)
{
	EVP_PKEY_up_ref(key);
	return signer_new_memory(key);
}

static char *folder;

static char *path_of(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static void put_file(const char *name, const void *data, size_t len)
{
	g_autofree char *path = path_of(name);

	g_assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
}

static GBytes *get_file(const char *name)
{
	g_autofree char *path = path_of(name);
	char *data = NULL;
	gsize len = 0;

	g_assert_true(g_file_get_contents(path, &data, &len, NULL));
	return g_bytes_new_take(data, len);
}

/* Runs a command line in the folder; what it says when it ends with 0, else NULL. */
static char *run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static char *run(const char *format, ...)
{
	va_list args;
	g_auto(GStrv) argv = NULL;
	g_autofree char *out = NULL, *err = NULL;
	int status = 0;

	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);

	va_end(args);
	g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
	g_assert_true(g_spawn_sync(folder, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, NULL));
	if (!g_spawn_check_wait_status(status, NULL)) {
		g_test_message("%s\n%s", line, err);
		return NULL;
	}
	return g_strconcat(out, err, NULL);
}

static void must_run(const char *line)
{
	g_autofree char *said = run("%s", line);

	g_assert_nonnull(said);
}

/* key.pem, leaf.pem and ca.pem for the openssl program; RSA and EC. */
struct identity {
	struct signer *key;
	X509 *ca, *leaf;
};

static void identity_init(struct identity *identity, EVP_PKEY *key)
{
	g_autofree char *ca = NULL, *leaf = NULL;
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
	char *text;

	identity->key = hold(key);
	identity->ca = testkit_cert(testkit_ec("P-384"), "CA", 1, NULL, NULL);
	identity->leaf = testkit_cert(key, "leaf", 2, identity->ca, testkit_ec("P-384"));
	ca = cert_format_pem(identity->ca);
	leaf = cert_format_pem(identity->leaf);
	put_file("ca.pem", ca, strlen(ca));
	put_file("leaf.pem", leaf, strlen(leaf));
	g_assert_true(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
	long len = BIO_get_mem_data(bio, &text);

	put_file("key.pem", text, (size_t)len);
}

static void identity_clear(struct identity *identity)
{
	signer_unref(identity->key);
	X509_free(identity->ca);
	X509_free(identity->leaf);
}

static const char python[] =
	"import sys; from cryptography.hazmat.primitives.serialization import pkcs12\n"
	"p = pkcs12.load_pkcs12(open('our.p12','rb').read(), b'correct horse')\n"
	"print(p.cert.friendly_name.decode(), p.cert.certificate.subject.rfc4514_string(), p.key.public_key().public_numbers() == p.cert.certificate.public_key().public_numbers(),"
	" [c.certificate.subject.rfc4514_string() for c in p.additional_certs])\n";

/* What we make, openssl and Python open, and it is in the form that it should be. */
static void test_make(void)
{
	EVP_PKEY *const keys[] = {testkit_rsa(2048), testkit_ec("P-256")};

	put_file("read.py", python, strlen(python));
	for (size_t i = 0; i < 2 * G_N_ELEMENTS(keys); i++) {
		bool modern = i % 2;
		struct identity identity;
		g_autoptr(GError) error = NULL;

		identity_init(&identity, keys[i / 2]);
		g_autoptr(GBytes) p12 = pkcs12_make(identity.key, identity.leaf, &identity.ca, 1, "J\xc3\xbcrgen", "correct horse", modern, &error);

		g_assert_no_error(error);
		put_file("our.p12", DATA(p12));
		g_autofree char *info = run("openssl pkcs12 -in our.p12 -info -nodes -passin 'pass:correct horse'");

		g_assert_nonnull(info);
		if (modern) {
			g_assert_true(strstr(info, "MAC: sha256, Iteration 100000") && strstr(info, "PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256"));
			g_assert_null(strstr(info, "TripleDES"));
		} else {
			g_assert_true(strstr(info, "MAC: sha1, Iteration 2048") && strstr(info, "PKCS7 Encrypted data: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048") &&
			              strstr(info, "Shrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048"));
			g_assert_true(!strstr(info, "PBES2") && !strstr(info, "RC2"));
		}
		g_autofree char *wrong = run("openssl pkcs12 -in our.p12 -noout -passin pass:wrong");

		g_assert_null(wrong);
		g_autofree char *said = run("/usr/bin/python3 read.py");

		g_assert_nonnull(said);
		g_test_message("%s", said);
		g_assert_true(g_str_has_suffix(said, "rgen CN=leaf True ['CN=CA']\n"));
		identity_clear(&identity);
	}
}

static void test_make_refused(void)
{
	struct identity identity;
	X509 *many[PKCS12_CERTS_MAX];
	g_autofree char *large = g_strnfill(256, 'a');
	g_autoptr(GError) error = NULL;

	identity_init(&identity, testkit_rsa(2048));
	for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
		many[i] = identity.ca;
	const struct {
		X509 *leaf;
		size_t n;
		const char *name, *password;
		int code;
	} cases[] = {
		{identity.leaf, 0, NULL, "", POM_ERR_PASSWORD}, {identity.leaf, 0, NULL, "J\xc3\xbcrgen", POM_ERR_PASSWORD}, {identity.leaf, 0, NULL, large, POM_ERR_PASSWORD},
		{identity.ca, 0, NULL, "pw", POM_ERR_KEY_MISMATCH}, {identity.leaf, PKCS12_CERTS_MAX, NULL, "pw", POM_ERR_CERT_MALFORMED},
		{identity.leaf, 0, large, "pw", POM_ERR_CERT_MALFORMED}, {identity.leaf, 0, "\xff", "pw", POM_ERR_CERT_MALFORMED},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("case %zu", i);
		g_assert_null(pkcs12_make(identity.key, cases[i].leaf, many, cases[i].n, cases[i].name, cases[i].password, false, &error));
		g_assert_error(error, POM_ERROR, cases[i].code);
		g_assert_true(!*cases[i].password || !strcmp(cases[i].password, "pw") || !strstr(error->message, cases[i].password));
		g_clear_error(&error);
		g_assert_cmpuint(ERR_peek_error(), ==, 0);
	}
	identity_clear(&identity);
}

static void assert_opens(GBytes *p12, const char *password, const struct identity *identity, guint n)
{
	g_autoptr(signer) key = NULL;
	g_autoptr(GPtrArray) certs = NULL;
	g_autoptr(GError) error = NULL;
	bool ok = pkcs12_open(DATA(p12), password, &key, &certs, &error);

	g_assert_no_error(error);
	g_assert_true(ok && EVP_PKEY_eq(signer_get_key(key), signer_get_key(identity->key)) == 1);
	g_assert_cmpuint(certs->len, ==, n);
	g_assert_true(!X509_cmp(certs->pdata[0], identity->leaf) && (n < 2 || !X509_cmp(certs->pdata[1], identity->ca)));
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static void assert_refused(GBytes *p12, const char *password, int code, const char *says)
{
	struct signer *key = NULL;
	GPtrArray *certs = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_false(pkcs12_open(DATA(p12), password, &key, &certs, &error));
	g_test_message("%s", error->message);
	g_assert_error(error, POM_ERROR, code);
	g_assert_nonnull(strstr(error->message, says));
	g_assert_true(!key && !certs);
	g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

/* What the openssl program makes: CASES of options, with the password that opens, or the refusal. */
static void test_open(void)
{
	static const struct {
		const char *options, *password;
		guint n;
		int code;
		const char *says;
	} cases[] = {
		{"-inkey key.pem -in leaf.pem -certfile ca.pem -passout pass:pw", "pw", 2, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw", "pw", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw", "no", 0, POM_ERR_PASSWORD, "is wrong"},
		{"-inkey key.pem -in leaf.pem -passout pass:pw", NULL, 0, POM_ERR_PASSWORD, "needs a password"},
		{"-inkey key.pem -in leaf.pem -passout pass:", NULL, 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:", "", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass: -nomac -keypbe NONE -certpbe NONE", NULL, 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -nomac", "pw", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -nomac", "no", 0, POM_ERR_PASSWORD, "wrong, or the file is damaged"},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -keypbe NONE", "pw", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1", "pw", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -legacy -descert", "pw", 1, 0, NULL},
		{"-inkey key.pem -in leaf.pem -passout pass:pw -legacy", "pw", 0, POM_ERR_CERT_MALFORMED, "RC2"},
		{"-nokeys -in leaf.pem -passout pass:pw", "pw", 0, POM_ERR_CERT_MALFORMED, "no private key"},
	};
	struct identity identity;

	identity_init(&identity, testkit_ec("P-256"));
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *said = run("openssl pkcs12 -export -out their.p12 %s", cases[i].options);

		g_test_message("%s", cases[i].options);
		g_assert_nonnull(said);
		g_autoptr(GBytes) p12 = get_file("their.p12");

		if (cases[i].code)
			assert_refused(p12, cases[i].password, cases[i].code, cases[i].says);
		else
			assert_opens(p12, cases[i].password, &identity, cases[i].n);
	}
	identity_clear(&identity);
}

/* 70,000 rounds become 8,388,607 wherever they stand. */
static GBytes *with_many_rounds(const char *options)
{
	static const uint8_t few[] = {2, 3, 0x01, 0x11, 0x70}, many[] = {2, 3, 0x7f, 0xff, 0xff};
	g_autofree char *said = run("openssl pkcs12 -export -inkey key.pem -in leaf.pem -passout pass:pw -iter 70000 -out their.p12 %s", options);
	g_autoptr(GBytes) p12 = get_file("their.p12");
	gsize len = g_bytes_get_size(p12);
	uint8_t *copy = g_memdup2(g_bytes_get_data(p12, NULL), len), *at;

	g_assert_nonnull(said);
	while ((at = memmem(copy, len, few, sizeof(few))))
		memcpy(at, many, sizeof(many));
	return g_bytes_new_take(copy, len);
}

/* A file must not keep us busy for minutes. */
static void test_rounds(void)
{
	static const char *const options[] = {"", "-nomac", "-nomac -certpbe NONE", "-nomac -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES"};
	struct identity identity;

	identity_init(&identity, testkit_ec("P-256"));
	for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
		g_autoptr(GBytes) p12 = with_many_rounds(options[i]);

		assert_refused(p12, "pw", POM_ERR_CERT_MALFORMED, "too many rounds");
	}
	identity_clear(&identity);
}

/* A file of bags that the openssl program does not make; in clear and without integrity. */
static GBytes *from_bags(STACK_OF(PKCS12_SAFEBAG) *list)
{
	STACK_OF(PKCS7) *safes = sk_PKCS7_new_null();
	uint8_t *der = NULL;

	sk_PKCS7_push(safes, PKCS12_pack_p7data(list));
	PKCS12 *p12 = PKCS12_add_safes(safes, 0);
	int len = i2d_PKCS12(p12, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	PKCS12_free(p12);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	sk_PKCS12_SAFEBAG_pop_free(list, PKCS12_SAFEBAG_free);
	return bytes;
}

static PKCS12_SAFEBAG *key_bag(EVP_PKEY *key)
{
	return PKCS12_SAFEBAG_create0_p8inf(EVP_PKEY2PKCS8(key));
}

static STACK_OF(PKCS12_SAFEBAG) *list_of(PKCS12_SAFEBAG *first, PKCS12_SAFEBAG *second)
{
	STACK_OF(PKCS12_SAFEBAG) *list = sk_PKCS12_SAFEBAG_new_null();

	sk_PKCS12_SAFEBAG_push(list, first);
	if (second)
		sk_PKCS12_SAFEBAG_push(list, second);
	return list;
}

static void test_odd_files(void)
{
	struct identity identity;

	identity_init(&identity, testkit_ec("P-256"));
	g_autoptr(GBytes) two_keys = from_bags(list_of(key_bag(testkit_ec("P-256")), key_bag(testkit_ec("P-384"))));
	g_autoptr(GBytes) foreign = from_bags(list_of(key_bag(testkit_ec("P-384")), PKCS12_SAFEBAG_create_cert(identity.leaf)));
	g_autoptr(GBytes) reversed = from_bags(list_of(PKCS12_SAFEBAG_create_cert(identity.leaf), key_bag(testkit_ec("P-256"))));
	STACK_OF(PKCS12_SAFEBAG) *many = sk_PKCS12_SAFEBAG_new_null(), *crowd = sk_PKCS12_SAFEBAG_new_null();

	for (int i = 0; i < 17; i++)
		sk_PKCS12_SAFEBAG_push(many, PKCS12_SAFEBAG_create_cert(identity.leaf));
	for (int i = 0; i < 65; i++)
		sk_PKCS12_SAFEBAG_push(crowd, PKCS12_SAFEBAG_create_secret(NID_commonName, V_ASN1_OCTET_STRING, (const uint8_t *)"x", 1));
	g_autoptr(GBytes) many_certs = from_bags(many), many_bags = from_bags(crowd), junk = g_bytes_new_static("junk", 4), none = g_bytes_new("", 0);
	g_autofree uint8_t *zeros = g_malloc0(PKCS12_MAX_BYTES);
	STACK_OF(PKCS12_SAFEBAG) *heavy = list_of(PKCS12_SAFEBAG_create_cert(identity.leaf), key_bag(testkit_ec("P-256"))), *ca_first = list_of(PKCS12_SAFEBAG_create_cert(identity.ca), PKCS12_SAFEBAG_create_cert(identity.leaf));

	sk_PKCS12_SAFEBAG_push(heavy, PKCS12_SAFEBAG_create_secret(NID_commonName, V_ASN1_OCTET_STRING, zeros, PKCS12_MAX_BYTES));
	sk_PKCS12_SAFEBAG_push(ca_first, key_bag(testkit_ec("P-256")));
	g_autoptr(GBytes) large = from_bags(heavy), sorted = from_bags(ca_first);
	g_autoptr(GByteArray) longer = g_byte_array_new();

	g_byte_array_append(longer, DATA(reversed));
	g_byte_array_append(longer, (const guint8 *)"", 1);
	g_autoptr(GBytes) trailing = g_bytes_new(longer->data, longer->len);

	assert_opens(reversed, NULL, &identity, 1);
	assert_opens(sorted, NULL, &identity, 2);
	assert_refused(trailing, NULL, POM_ERR_CERT_MALFORMED, "not one PKCS#12");
	assert_refused(two_keys, NULL, POM_ERR_CERT_MALFORMED, "several private keys");
	assert_refused(foreign, NULL, POM_ERR_KEY_MISMATCH, "no certificate");
	assert_refused(many_certs, NULL, POM_ERR_CERT_MALFORMED, "too many");
	assert_refused(many_bags, NULL, POM_ERR_CERT_MALFORMED, "too many parts");
	assert_refused(junk, NULL, POM_ERR_CERT_MALFORMED, "not one PKCS#12");
	assert_refused(none, NULL, POM_ERR_CERT_MALFORMED, "not one PKCS#12");
	assert_refused(large, NULL, POM_ERR_CERT_MALFORMED, "not one PKCS#12");
	/* Every damage is found: the integrity covers all but the outermost fields, which the structure does. */
	g_autoptr(GBytes) good = pkcs12_make(identity.key, identity.leaf, NULL, 0, NULL, "pw", false, NULL);
	gsize len = g_bytes_get_size(good);

	assert_opens(good, "pw", &identity, 1);
	for (gsize i = 0; i < len; i += 5) {
		g_autoptr(GBytes) bad = testkit_flip(good, (gssize)i), cut = g_bytes_new_from_bytes(good, 0, i);
		struct signer *key = NULL;
		GPtrArray *certs = NULL;

		g_assert_false(pkcs12_open(DATA(cut), "pw", &key, &certs, NULL));
		if (!pkcs12_open(DATA(bad), "pw", &key, &certs, NULL))
			continue;
		g_assert_cmpint(EVP_PKEY_eq(signer_get_key(key), signer_get_key(identity.key)), ==, 1);
		signer_unref(key);
		g_ptr_array_unref(certs);
	}
	identity_clear(&identity);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	folder = g_dir_make_tmp("pomona-pkcs12-XXXXXX", NULL);
	g_test_add_func("/pkcs12/make", test_make);
	g_test_add_func("/pkcs12/make-refused", test_make_refused);
	g_test_add_func("/pkcs12/open", test_open);
	g_test_add_func("/pkcs12/rounds", test_rounds);
	g_test_add_func("/pkcs12/odd-files", test_odd_files);
	int code = g_test_run();

	must_run("find . -type f -delete");
	g_rmdir(folder);
	g_free(folder);
	return code;
}
