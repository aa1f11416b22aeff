/* Verbs of the life of push certificates. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "base/face.h"
#include "cli/cli.h"
#include "server/datadir.h"

#define CERTS "/api/v1/push-certificates"
#define VENDORS "/api/v1/push-vendors"
#define REQUESTS "/api/v1/push-requests"
#define CHAIN "/api/v1/push-chain"
#define SETUP "/api/v1/push-setup"

enum { PASSWORD_MAX = 1024 };

/* ---- what is sent ---- */

/* A file as base64; transfer full, NULL with ERROR. */
static json_t *file_json(const char *path, GError **error)
{
	gsize len;
	g_autofree char *data = cli_read_file(path, &len, error), *text = data ? g_base64_encode((const guchar *)data, len) : NULL;
	json_t *json = text ? json_string(text) : NULL;

	if (data)
		explicit_bzero(data, len);
	if (text)
		explicit_bzero(text, strlen(text));
	return json;
}

static bool add_file(json_t *list, const char *path, GError **error)
{
	json_t *file = path ? file_json(path, error) : NULL;

	return !path || (file && json_array_append_new(list, file) == 0);
}

/* The positional arguments as files under KEY. */
static bool add_files(const struct cli *cli, json_t *body, const char *key, GError **error)
{
	json_t *list = json_array();

	json_object_set_new(body, key, list);
	for (int i = 0; i < cli->n_args; i++)
		if (!add_file(list, cli->args[i], error))
			return false;
	return true;
}

/* The text of an option under KEY; nothing when it was not given. */
static void add_value(const struct cli *cli, json_t *body, const char *key, const char *option)
{
	if (cli_value(cli, option))
		json_object_set_new(body, key, json_string(cli_value(cli, option)));
}

/* The one line of the file that OPTION names, a secret, under KEY. */
static bool add_secret(const struct cli *cli, json_t *body, const char *key, const char *option, GError **error)
{
	const char *file = cli_value(cli, option);
	gsize len;
	g_autofree char *text = file ? cli_read_file(file, &len, error) : NULL;

	if (!file)
		return true;
	if (!text)
		return false;
	g_strchomp(text);
	json_object_set_new(body, key, json_string(text));
	explicit_bzero(text, len);
	return json_object_get(body, key) || pom_fail(error, POM_ERR_USAGE, "%s is not text", file);
}

/* Asks on the terminal, without showing what is typed; false: there is none. */
static bool ask_password(json_t *body)
{
	struct termios before, quiet;
	char line[PASSWORD_MAX];
	bool ok;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
		return false;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs("Password of the private key: ", stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	ok = fgets(line, sizeof(line), stdin) != NULL;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	if (ok)
		json_object_set_new(body, "password", json_string(g_strchomp(line)));
	explicit_bzero(line, sizeof(line));
	return ok;
}

/* POST with BODY (transfer full); asks for a password when one is needed and somebody is there. */
static json_t *post(const struct cli *cli, const char *path, json_t *body, GError **error)
{
	g_autoptr(json_t) owned = body;
	GError *inner = NULL;
	json_t *reply = cli_call_json(cli, "POST", path, json_incref(owned), &inner);

	if (!reply && g_error_matches(inner, POM_ERROR, POM_ERR_PUSH_KEY_ENCRYPTED) && !json_object_get(owned, "password") && ask_password(owned)) {
		g_clear_error(&inner);
		reply = cli_call_json(cli, "POST", path, json_incref(owned), &inner);
	}
	if (inner)
		g_propagate_error(error, inner);
	return reply;
}

/* ---- what comes ---- */

/* TEXT to the file of --out, or to standard output. */
static bool write_out(const struct cli *cli, const char *text, GError **error)
{
	const char *out = cli_value(cli, "out");

	if (out && strcmp(out, "-"))
		return datadir_write_file(out, text, strlen(text), 0600, error);
	return (fputs(text, stdout) >= 0 && !fflush(stdout)) || pom_fail(error, POM_ERR_IO, "standard output cannot be written");
}

/* REPLY (transfer full): the text under KEY is what is wanted; what to do with it is said beside. */
static int show_text(const struct cli *cli, json_t *reply, const char *key, GError *failed)
{
	g_autoptr(json_t) owned = reply;
	g_autoptr(GError) error = NULL;
	const char *text = json_string_value(json_object_get(owned, key)), *next = json_string_value(json_object_get(owned, "next"));

	if (!owned || cli_flag(cli, "json")) {
		int code = cli_show(cli, owned ? json_incref(owned) : NULL, failed);

		if (!owned || !text || !cli_value(cli, "out"))
			return code;
	}
	if ((cli_value(cli, "out") || !cli_flag(cli, "json")) && text && !write_out(cli, text, &error))
		return cli_fail(error);
	if (next && !cli_flag(cli, "json"))
		fprintf(stderr, "Next: %s\n", next);
	return CLI_OK;
}

/* ---- certificates ---- */

int cmd_push_cert_import(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = json_pack("{s:b, s:b}", "force", cli_flag(cli, "force"), "only_check", cli_flag(cli, "check"));
	json_t *reply = NULL;

	add_value(cli, body, "apple_account", "apple-account");
	if (add_files(cli, body, "files", &error) && add_secret(cli, body, "password", "password-file", &error))
		reply = post(cli, CERTS, json_incref(body), &error);
	return cli_show(cli, reply, error);
}

int cmd_push_cert_show(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"TOPIC", "topic"}, {"UNTIL", "not_after"}, {"DAYS LEFT", "days_left"}, {"WARNING", "warn"}, {"DEVICES", "devices"}, {"DEFAULT", "default"},
	                                            {"APPLE ACCOUNT", "apple_account"}, {"IMPORTED", "imported"}};
	int code = cli_show_list(cli, CERTS, columns, G_N_ELEMENTS(columns));

	if (code == CLI_OK && !cli_flag(cli, "json"))
		fputs("Vendor certificates are listed by \"pomona push-cert vendor-list\"; removing one does not touch these.\n", stderr);
	return code;
}

int cmd_push_cert_check(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"SEVERITY", "severity"}, {"ABOUT", "about"}, {"WHAT", "text"}};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "GET", CERTS "/check", NULL, NULL, &error);

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(reply);
	else if (json_is_true(json_object_get(reply, "ok")))
		puts("Nothing is wrong.");
	else
		cli_print_table(json_object_get(reply, "findings"), columns, G_N_ELEMENTS(columns));
	return json_integer_value(json_object_get(reply, "errors")) ? CLI_FAILED : json_integer_value(json_object_get(reply, "warnings")) ? CLI_PARTLY : CLI_OK;
}

int cmd_push_cert_export(const struct cli *cli)
{
	const char *out = cli_value(cli, "pkcs12");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = json_pack("{s:b}", "modern", !cli_flag(cli, "legacy"));
	g_autoptr(GBytes) text = NULL, p12 = NULL;

	if (!out || !cli_value(cli, "password-file")) {
		pom_fail(&error, POM_ERR_USAGE, "--pkcs12 FILE and --password-file FILE are needed: the private key leaves the server only encrypted");
		return cli_fail(error);
	}
	if (cli->n_args)
		json_object_set_new(body, "topic", json_string(cli->args[0]));
	if (!add_secret(cli, body, "password", "password-file", &error))
		return cli_fail(error);
	text = json_format(body);
	p12 = cli_call_raw(cli, "POST", CERTS "/export", "application/json", text, &error);
	if (!p12 || !datadir_write_file(out, g_bytes_get_data(p12, NULL), g_bytes_get_size(p12), 0600, &error))
		return cli_fail(error);
	return cli_show(cli, json_pack("{s:s, s:i}", "file", out, "bytes", (int)g_bytes_get_size(p12)), NULL);
}

/* PUT of BODY (transfer full) to the certificate that the first argument names. */
static int change(const struct cli *cli, json_t *body)
{
	g_autofree char *path = cli_path(cli, "push-certificates", "");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "PUT", path, body, &error);

	return cli_show(cli, reply, error);
}

int cmd_push_cert_default(const struct cli *cli)
{
	return change(cli, json_pack("{s:b}", "default", 1));
}

int cmd_push_cert_account(const struct cli *cli)
{
	return change(cli, json_pack("{s:s}", "apple_account", cli->args[1]));
}

int cmd_push_cert_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "push-certificates", cli_flag(cli, "force") ? "?force=true" : "");
}

/* ---- vendors and requests ---- */

static int make_csr(const struct cli *cli, const char *path)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_pack("{s:b}", "new", cli_flag(cli, "new")), *reply;

	add_value(cli, body, "subject", "subject");
	add_value(cli, body, "renew", "renew");
	reply = cli_call_json(cli, "POST", path, body, &error);
	return show_text(cli, reply, "csr", error);
}

int cmd_push_cert_vendor_csr(const struct cli *cli)
{
	return make_csr(cli, VENDORS);
}

int cmd_push_cert_csr(const struct cli *cli)
{
	return make_csr(cli, REQUESTS);
}

int cmd_push_cert_vendor_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"SUBJECT", "subject"}, {"STATE", "state"}, {"UNTIL", "not_after"}, {"WARNING", "warn"}, {"MADE", "created"}};

	return cli_show_list(cli, VENDORS, columns, G_N_ELEMENTS(columns));
}

int cmd_push_cert_vendor_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "push-vendors", "");
}

int cmd_push_cert_requests(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"SUBJECT", "subject"}, {"STATE", "state"}, {"RENEWS", "renews"}, {"SIGNED BY", "signed_by"}, {"MADE", "created"}};

	return cli_show_list(cli, REQUESTS, columns, G_N_ELEMENTS(columns));
}

int cmd_push_cert_cancel(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "push-requests", "");
}

/* The vendor: a file of its certificate, with its key perhaps, or the id of one that the server has. */
static bool add_vendor(const struct cli *cli, json_t *body, GError **error)
{
	const char *vendor = cli_value(cli, "vendor");
	json_t *files;

	if (!vendor && cli_value(cli, "vendor-key"))
		return pom_fail(error, POM_ERR_USAGE, "--vendor-key goes with --vendor FILE");
	if (!vendor)
		return true;
	if (!cli_value(cli, "vendor-key") && !g_file_test(vendor, G_FILE_TEST_EXISTS) && pom_id_check(vendor)) {
		json_object_set_new(body, "vendor", json_string(vendor));
		return true;
	}
	files = json_array();
	json_object_set_new(body, "vendor_files", files);
	return add_file(files, vendor, error) && add_file(files, cli_value(cli, "vendor-key"), error);
}

int cmd_push_cert_sign(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_object(), *csr = json_array();

	json_object_set_new(body, "csr_files", csr);
	add_value(cli, body, "request", "request");
	if (add_vendor(cli, body, &error) && add_file(csr, cli_value(cli, "csr"), &error) && add_secret(cli, body, "password", "password-file", &error)) {
		json_t *reply = post(cli, REQUESTS "/sign", body, &error);

		return show_text(cli, reply, "document", error);
	}
	json_decref(body);
	return cli_fail(error);
}

int cmd_push_cert_chain(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"SUBJECT", "subject"}, {"UNTIL", "not_after"}, {"ROOT", "root"}, {"SHA-256", "sha256"}};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = NULL;
	json_t *body;

	if (cli->n_args || cli_flag(cli, "fetch")) {
		body = json_pack("{s:b}", "fetch", cli_flag(cli, "fetch"));
		if (!add_files(cli, body, "files", &error)) {
			json_decref(body);
			return cli_fail(error);
		}
		reply = cli_call_json(cli, "POST", CHAIN, body, &error);
		if (!reply)
			return cli_fail(error);
	}
	return cli_show_list(cli, CHAIN, columns, G_N_ELEMENTS(columns));
}

/* ---- mdmcert.download ---- */

static int open_answer(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_object(), *reply;

	if (!add_files(cli, body, "files", &error)) {
		json_decref(body);
		return cli_fail(error);
	}
	reply = cli_call_json(cli, "POST", REQUESTS "/document", body, &error);
	return show_text(cli, reply, "document", error);
}

int cmd_push_cert_mdmcert(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = NULL;
	json_t *reply = NULL;

	if (cli_flag(cli, "open") != (cli->n_args == 1)) {
		pom_fail(&error, POM_ERR_USAGE, "FILE and --open go together: the answer that came by mail");
		return cli_fail(error);
	}
	if (cli->n_args)
		return open_answer(cli);
	body = json_pack("{s:b}", "dont_send", cli_flag(cli, "dont-send"));
	add_value(cli, body, "email", "email");
	add_value(cli, body, "subject", "subject");
	add_value(cli, body, "renew", "renew");
	if (add_secret(cli, body, "api_key", "api-key-file", &error))
		reply = cli_call_json(cli, "POST", REQUESTS "/mdmcert", json_incref(body), &error);
	return cli_show(cli, reply, error);
}

/* ---- the guided way ---- */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_step(const json_t *step)
{
	const char *state = text_of(step, "state");
	bool now = !strcmp(state, "now") || !strcmp(state, "waiting");

	printf("%s %d. %-12s %s\n", now ? "->" : "  ", (int)json_integer_value(json_object_get(step, "number")), text_of(step, "name"), state);
	if (!now)
		return;
	printf("      %s\n", text_of(step, "text"));
	if (text_of(step, "page"))
		printf("      Page: %s%s%s\n", text_of(step, "page"), text_of(step, "address") ? ", " : "", text_of(step, "address") ? text_of(step, "address") : "");
	if (text_of(step, "command"))
		printf("      Next: %s\n", text_of(step, "command"));
}

/* Where one stands, and the file to be carried when --out asks for it. */
static int show_setup(const struct cli *cli, const json_t *reply)
{
	const json_t *output = json_object_get(reply, "output"), *step;
	g_autoptr(GError) error = NULL;
	size_t i;

	if (cli_flag(cli, "json"))
		cli_print_json(reply);
	else
		printf("Way: %s\n", text_of(reply, "way"));
	json_array_foreach(json_object_get(reply, "steps"), i, step)
		if (!cli_flag(cli, "json"))
			print_step(step);
	if (json_is_object(output) && cli_value(cli, "out")) {
		if (!write_out(cli, text_of(output, "text"), &error))
			return cli_fail(error);
		fprintf(stderr, "Written: %s\n", cli_value(cli, "out"));
	} else if (json_is_object(output) && !cli_flag(cli, "json")) {
		printf("The file to hand over is here: pomona push-cert setup --out %s\n", text_of(output, "file"));
	} else if (cli_value(cli, "out")) {
		fputs("There is nothing to hand over now: no file was written.\n", stderr);
	}
	return CLI_OK;
}

int cmd_push_cert_setup(const struct cli *cli)
{
	static const char *const options[][2] = {{"way", "way"}, {"apple_account", "apple-account"}, {"email", "email"}, {"subject", "subject"}, {"renew", "renew"}};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = json_object(), reply = NULL;
	bool any = cli->n_args > 0;

	for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
		add_value(cli, body, options[i][0], options[i][1]);
		any |= cli_value(cli, options[i][1]) != NULL;
	}
	json_object_set_new(body, "force", json_boolean(cli_flag(cli, "force")));
	if (!add_files(cli, body, "files", &error) || !add_secret(cli, body, "password", "password-file", &error) || !add_secret(cli, body, "api_key", "api-key-file", &error))
		return cli_fail(error);
	reply = any ? post(cli, SETUP, json_incref(body), &error) : cli_call(cli, "GET", SETUP, NULL, NULL, &error);
	return reply ? show_setup(cli, reply) : cli_fail(error);
}
