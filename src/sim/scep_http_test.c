/* The simulator's SCEP client against a server on loopback, as "pomona sim scep" runs it. */
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "sim/scep_testkit.h"
#include "sim/sim.h"

static struct fake_ca *ca;

struct fixture {
	struct fake_server *server;
	char *url, *dir, *challenge_file, *out;
	struct sim_scep_options options;
};

static void set_up(struct fixture *f, gconstpointer data)
{
	f->server = fake_server_new(ca);
	f->url = g_strdup_printf("http://127.0.0.1:%d/scep", f->server->port);
	f->dir = g_dir_make_tmp("pomona-scep-XXXXXX", NULL);
	f->challenge_file = g_build_filename(f->dir, "challenge", NULL);
	f->out = g_build_filename(f->dir, "out", NULL);
	g_assert_true(g_file_set_contents(f->challenge_file, "secret\nsecond\nthird\n", -1, NULL));
	f->options = (struct sim_scep_options){.url = f->url, .challenge_file = f->challenge_file, .out_dir = f->out};
}

static void remove_all(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		remove_all(child);
	}
	g_remove(path);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	fake_server_free(f->server);
	remove_all(f->dir);
	g_free(f->url);
	g_free(f->dir);
	g_free(f->challenge_file);
	g_free(f->out);
}

/* The result; NULL when there must be an error with WANTED in it. */
static json_t *run(struct fixture *f, const char *operation, const char *wanted)
{
	g_autoptr(GError) error = NULL;
	json_t *result = NULL;
	bool ok;

	f->options.operation = operation;
	ok = sim_scep_run(&f->options, &result, &error);
	if (ok != !wanted || (wanted && !strstr(error->message, wanted)))
		g_error("%s: %s, wanted %s", operation, ok ? "no error" : error->message, wanted ? wanted : "none");
	return result;
}

static void run_fails(struct fixture *f, const char *operation, const char *wanted)
{
	g_assert_null(run(f, operation, wanted));
}

static void run_gives(struct fixture *f, const char *operation, const char *status)
{
	g_autoptr(json_t) result = run(f, operation, NULL);

	g_assert_cmpstr(json_string_value(json_object_get(result, "status")), ==, status);
}

static const char *last_line(const struct fixture *f)
{
	return g_ptr_array_index(f->server->lines, f->server->lines->len - 1);
}

static int last_type(const struct fixture *f)
{
	return g_array_index(f->server->types, int, f->server->types->len - 1);
}

static X509 *read_cert(const struct fixture *f)
{
	g_autofree char *path = g_build_filename(f->out, "cert.pem", NULL), *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return sim_cert_parse(text, path, NULL);
}

static bool has_file(const struct fixture *f, const char *name)
{
	g_autofree char *path = g_build_filename(f->out, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void test_enroll(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) result = run(f, "enroll", NULL);
	g_autoptr(X509) cert = read_cert(f);
	g_autofree char *serial = sim_cert_serial(cert), *path = g_build_filename(f->out, "key.pem", NULL);
	GStatBuf info;

	g_assert_cmpstr(json_string_value(json_object_get(result, "status")), ==, "success");
	g_assert_cmpstr(json_string_value(json_object_get(result, "serial")), ==, serial);
	g_assert_cmpstr(json_string_value(json_object_get(result, "subject")), ==, "CN=device");
	g_assert_cmpstr(json_string_value(json_object_get(result, "issuer")), ==, "CN=CA");
	g_assert_cmpint(EVP_PKEY_eq(f->server->key, X509_get0_pubkey(cert)), ==, 1);
	g_assert_cmpstr(f->server->challenge, ==, "secret");
	g_assert_cmpint(last_type(f), ==, 19);
	g_assert_true(g_str_has_prefix(last_line(f), "POST /scep?operation=PKIOperation HTTP"));
	g_assert_cmpint(g_stat(path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	g_assert_true(has_file(f, "ca.pem"));
	g_assert_false(has_file(f, "pending.json"));
}

static void test_methods(struct fixture *f, gconstpointer data)
{
	f->options.method = "get";
	run_gives(f, "enroll", "success");
	g_assert_true(g_str_has_prefix(last_line(f), "GET /scep?operation=PKIOperation&message=MI"));
	g_assert_null(strstr(last_line(f), "%0A"));
	f->options.method = "get-lines";
	run_gives(f, "enroll", "success");
	g_assert_nonnull(strstr(last_line(f), "%0A"));
	g_assert_cmpuint(strcspn(strstr(last_line(f), "message=") + 8, "%"), <=, 64);
	/* A server without POST is asked with GET. */
	f->options.method = NULL;
	f->server->caps = "AES\n";
	run_gives(f, "enroll", "success");
	g_assert_true(g_str_has_prefix(last_line(f), "GET "));
	f->server->caps = NULL;
	run_gives(f, "enroll", "success");
	g_assert_true(g_str_has_prefix(last_line(f), "GET "));
}

static void test_pending(struct fixture *f, gconstpointer data)
{
	g_autoptr(X509) cert = NULL;

	f->server->n_pending = 3;
	run_gives(f, "enroll", "pending");
	g_assert_true(has_file(f, "pending.json"));
	g_assert_false(has_file(f, "cert.pem"));
	run_gives(f, "poll", "pending");
	g_assert_cmpint(last_type(f), ==, 20);
	f->options.wait_s = 5;
	run_gives(f, "poll", "success");
	g_assert_cmpint(last_type(f), ==, 20);
	g_assert_false(has_file(f, "pending.json"));
	cert = read_cert(f);
	g_assert_cmpint(EVP_PKEY_eq(f->server->key, X509_get0_pubkey(cert)), ==, 1);
}

static void test_pending_renames(struct fixture *f, gconstpointer data)
{
	g_autoptr(X509) first = NULL;

	f->options.form = "renaming";
	f->server->n_pending = 1;
	run_gives(f, "enroll", "pending");
	first = X509_dup(f->server->signer);
	run_gives(f, "poll", "success");
	g_assert_cmpint(X509_NAME_cmp(X509_get_subject_name(first), X509_get_subject_name(f->server->signer)), !=, 0);
	g_assert_cmpint(EVP_PKEY_eq(X509_get0_pubkey(first), X509_get0_pubkey(f->server->signer)), ==, 1);
}

static void test_poll_for_nothing(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) result = NULL;

	f->server->refuse = true;
	result = run(f, "poll", NULL);
	g_assert_cmpstr(json_string_value(json_object_get(result, "status")), ==, "failure");
	g_assert_cmpstr(json_string_value(json_object_get(result, "fail_info")), ==, "badCertId");
	g_assert_cmpstr(json_string_value(json_object_get(result, "fail_info_text")), ==, "no such certificate");
	g_assert_cmpint(last_type(f), ==, 20);
}

static void test_renew(struct fixture *f, gconstpointer data)
{
	static const struct { const char *operation, *key_type; int type; } rows[] = {{"renew", NULL, 17}, {"renew19", NULL, 19}, {"renew", "same", 17}};

	run_fails(f, "renew", "needs an identity");
	run_gives(f, "enroll", "success");
	f->options.challenge_file = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(X509) old = read_cert(f), cert = NULL;

		f->options.key_type = rows[i].key_type;
		run_gives(f, rows[i].operation, "success");
		cert = read_cert(f);
		g_assert_cmpint(last_type(f), ==, rows[i].type);
		g_assert_cmpint(X509_cmp(f->server->signer, old), ==, 0);
		g_assert_cmpint(X509_cmp(cert, old), !=, 0);
		g_assert_cmpint(EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(old)) == 1, ==, rows[i].key_type != NULL);
		g_assert_null(f->server->challenge);
	}
}

static void test_existing(struct fixture *f, gconstpointer data)
{
	g_autoptr(X509) cert = NULL;

	run_fails(f, "get-cert", "needs an identity");
	run_gives(f, "enroll", "success");
	cert = read_cert(f);
	run_gives(f, "get-cert", "success");
	g_assert_cmpint(last_type(f), ==, 21);
	g_assert_cmpint(X509_cmp(f->server->signer, cert), ==, 0);
	f->options.serial = "1234";
	run_fails(f, "get-cert", "another certificate");
	f->options.serial = "xyz";
	run_fails(f, "get-cert", "not hexadecimal");
	f->options.serial = NULL;
	run_gives(f, "get-crl", "success");
	g_assert_cmpint(last_type(f), ==, 22);
	g_assert_true(has_file(f, "crl.pem"));
}

static void test_next(struct fixture *f, gconstpointer data)
{
	run_fails(f, "get-next-ca", "HTTP 404");
	f->server->publish_next = true;
	run_gives(f, "get-next-ca", "success");
	g_assert_true(has_file(f, "next-ca.pem"));
	f->server->next_type = "application/x-x509-next-ca-cert; charset=binary";
	run_fails(f, "get-next-ca", "media type");
	f->server->next_type = NULL;
	/* Enveloped to the next CA; this server signs with its RA, which is not the one that was addressed. */
	f->options.to_next_ca = true;
	run_fails(f, "enroll", "not signed by");
}

static void test_ca_and_caps(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) caps = run(f, "caps", NULL), certs = run(f, "ca", NULL);
	g_autoptr(GBytes) sha1 = fake_fingerprint(ca->root, EVP_sha1());
	g_autoptr(GString) hex = g_string_new(NULL);

	g_assert_cmpuint(json_array_size(json_object_get(caps, "caps")), ==, 8);
	g_assert_cmpuint(json_array_size(json_object_get(certs, "ca")), ==, 3);
	g_assert_cmpstr(json_string_value(json_object_get(certs, "recipient")), ==, "CN=RA");
	f->options.ca_name = "My CA";
	for (int i = 0; i < 20; i++)
		g_string_append_printf(hex, "%02x", ((const guint8 *)g_bytes_get_data(sha1, NULL))[i]);
	f->options.fingerprint = hex->str;
	run_gives(f, "ca", "success");
	g_assert_true(g_str_has_prefix(g_ptr_array_index(f->server->lines, f->server->lines->len - 2), "GET /scep?operation=GetCACert&message=My%20CA "));
	hex->str[0] = hex->str[0] == '0' ? '1' : '0';
	run_fails(f, "ca", "22002");
	f->options.fingerprint = NULL;
	f->server->caps = "AES\r\n";
	run_fails(f, "caps", "22006");
	f->server->ca_type = "text/html";
	run_fails(f, "ca", "22004");
}

static void test_wrong_answers(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) result = NULL;

	f->server->reply_type = "application/x-pki-message; charset=utf-8";
	run_fails(f, "enroll", "media type");
	f->server->reply_type = NULL;
	f->server->http_status = 400;
	result = run(f, "enroll", NULL);
	g_assert_cmpstr(json_string_value(json_object_get(result, "status")), ==, "http");
	g_assert_cmpint(json_integer_value(json_object_get(result, "http_status")), ==, 400);
	f->server->http_status = 0;
	f->server->repeat_nonce = true;
	f->server->n_pending = 1;
	f->options.wait_s = 2;
	run_fails(f, "enroll", "must be fresh");
}

static void test_usage(struct fixture *f, gconstpointer data)
{
	static const struct { size_t offset; const char *value; } rows[] = {
		{G_STRUCT_OFFSET(struct sim_scep_options, operation), "x"}, {G_STRUCT_OFFSET(struct sim_scep_options, form), "x"}, {G_STRUCT_OFFSET(struct sim_scep_options, method), "x"},
		{G_STRUCT_OFFSET(struct sim_scep_options, cipher), "x"}, {G_STRUCT_OFFSET(struct sim_scep_options, digest), "md5"}, {G_STRUCT_OFFSET(struct sim_scep_options, transport), "x"},
		{G_STRUCT_OFFSET(struct sim_scep_options, transaction), "x"}, {G_STRUCT_OFFSET(struct sim_scep_options, challenge_as), "x"}, {G_STRUCT_OFFSET(struct sim_scep_options, key_type), "x"},
		{G_STRUCT_OFFSET(struct sim_scep_options, fingerprint), "00"}, {G_STRUCT_OFFSET(struct sim_scep_options, fingerprint), "0123456789012345678901234567890x"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_scep_options options = f->options;
		g_autoptr(GError) error = NULL;
		json_t *result = NULL;

		*(const char **)((char *)&options + rows[i].offset) = rows[i].value;
		g_assert_false(sim_scep_run(&options, &result, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
	}
	f->options.challenge_file = "/nonexistent/file";
	run_fails(f, "enroll", "holds no challenge");
}

struct matrix_row {
	const char *name, *path;      /* path of the pending URL; NULL: none */
	int n_challenges;
	unsigned n_failed;
	const char *wanted;           /* pattern of its output */
};

static void run_matrix(struct fixture *f, const struct matrix_row *row)
{
	g_autofree char *pending = row->path ? g_strconcat(f->url, row->path, NULL) : NULL;
	g_autoptr(GError) error = NULL;
	unsigned failed = 99;

	f->options.pending_url = pending;
	f->options.wait_s = 2;
	if (!sim_scep_matrix(&f->options, &failed, &error))
		g_error("%s", error->message);
	g_assert_cmpuint(failed, ==, row->n_failed);
}

/* Its own TAP goes to stdout, which is this test's: it is caught. */
static void test_matrix(struct fixture *f, gconstpointer data)
{
	const struct matrix_row *row = data;

	if (g_test_subprocess()) {
		run_matrix(f, row);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stdout("*1..54\n*");
	g_test_trap_assert_stdout(row->wanted);
}

static void set_up_matrix(struct fixture *f, gconstpointer data)
{
	const struct matrix_row *row = data;
	g_autoptr(GString) lines = g_string_new(NULL);

	set_up(f, data);
	for (int i = 0; i < row->n_challenges; i++)
		g_string_append_printf(lines, "secret %d\r\n", i);
	g_assert_true(g_file_set_contents(f->challenge_file, lines->str, -1, NULL));
}

static const struct matrix_row matrix_rows[] = {
	{"/sim/scep/matrix/all", "/manual", 36, 0, "*\nok 1 - post aes128 sha1 new\nok 2 - post aes128 sha1 renew\nok 3 - post aes128 sha1 pending\nok 4 *\nok 54 - get 3des sha512 pending\n*"},
	{"/sim/scep/matrix/without-pending", NULL, 18, 0, "*\nok 3 - post aes128 sha1 pending # SKIP*\nok 53 - get 3des sha512 renew\nok 54 - get 3des sha512 pending # SKIP*"},
	{"/sim/scep/matrix/few-challenges", NULL, 3, 30, "*\nok 8 *\nnot ok 10 - *no challenge left*\nnot ok 11 *no certificate*"},
	{"/sim/scep/matrix/granted-at-once", "/other", 36, 18, "*\nok 2 *\nnot ok 3 *granted at once*"},
};

#define ADD(name, fn) g_test_add("/sim/scep/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	ca = fake_ca_new();
	ADD("http/enroll", test_enroll);
	ADD("http/methods", test_methods);
	ADD("http/pending", test_pending);
	ADD("http/pending-renames", test_pending_renames);
	ADD("http/poll-for-nothing", test_poll_for_nothing);
	ADD("http/renew", test_renew);
	ADD("http/existing", test_existing);
	ADD("http/next", test_next);
	ADD("http/ca-and-caps", test_ca_and_caps);
	ADD("http/wrong-answers", test_wrong_answers);
	ADD("http/usage", test_usage);
	for (unsigned i = 0; i < G_N_ELEMENTS(matrix_rows); i++)
		g_test_add(matrix_rows[i].name, struct fixture, &matrix_rows[i], set_up_matrix, test_matrix, tear_down);
	status = g_test_run();
	fake_ca_free(ca);
	return status;
}
