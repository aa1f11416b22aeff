/* Verbs about CAs, certificates, SCEP challenges, profiles and requests, and the audit log. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "codec/cms.h"

static const char *ca_name(const struct cli *cli)
{
	return cli->n_args ? cli->args[0] : "default";
}

static char *ca_path(const struct cli *cli, const char *tail)
{
	g_autofree char *escaped = g_uri_escape_string(ca_name(cli), NULL, FALSE);

	return g_strdup_printf("/api/v1/cas/%s%s", escaped, tail);
}

/* Puts the option's value under KEY, when it was given. */
static void put_text(const struct cli *cli, json_t *body, const char *option, const char *key)
{
	if (cli_value(cli, option))
		json_object_set_new(body, key, json_string(cli_value(cli, option)));
}

static bool put_number(const struct cli *cli, json_t *body, const char *option, const char *key, GError **error)
{
	const char *text = cli_value(cli, option);
	gint64 n;

	if (!text)
		return true;
	if (!g_ascii_string_to_signed(text, 10, 1, G_MAXINT32, &n, NULL))
		return pom_fail(error, POM_ERR_USAGE, "--%s \"%s\" is not a whole number of 1 or more", option, text);
	json_object_set_new(body, key, json_integer(n));
	return true;
}

static bool put_time(const struct cli *cli, json_t *body, const char *option, const char *key, GError **error)
{
	int64_t seconds;

	if (!cli_value(cli, option))
		return true;
	if (!cli_parse_time(cli_value(cli, option), &seconds, error))
		return false;
	json_object_set_new(body, key, json_integer(seconds));
	return true;
}

/* The first line of a file, for secrets. */
static bool put_secret(const struct cli *cli, json_t *body, const char *option, const char *key, GError **error)
{
	g_autofree char *text = NULL;
	gsize len;

	if (!cli_value(cli, option))
		return true;
	text = cli_read_file(cli_value(cli, option), &len, error);
	if (!text)
		return false;
	text[strcspn(text, "\r\n")] = '\0';
	json_object_set_new(body, key, json_string(text));
	explicit_bzero(text, len);
	return true;
}

static void put_list(const struct cli *cli, json_t *body, const char *option, const char *key)
{
	char *const *list = cli_list(cli, option);
	json_t *array;

	if (!list)
		return;
	array = json_array();
	for (; *list; list++)
		json_array_append_new(array, json_string(*list));
	json_object_set_new(body, key, array);
}

/* A file's bytes as text: PEM as it is, else base64. */
static json_t *file_json(const char *name, GError **error)
{
	gsize len;
	g_autofree char *data = cli_read_file(name, &len, error), *text = NULL;
	json_t *json;

	if (!data)
		return NULL;
	if (g_strstr_len(data, (gssize)len, "-----BEGIN") && g_utf8_validate(data, (gssize)len, NULL))
		text = g_strndup(data, len);
	else
		text = g_base64_encode((const guchar *)data, len);
	json = json_string(text);
	explicit_bzero(data, len);
	explicit_bzero(text, strlen(text));
	return json;
}

static bool put_spec(const struct cli *cli, json_t *body, GError **error)
{
	put_text(cli, body, "key-type", "key_type");
	put_text(cli, body, "common-name", "common_name");
	put_text(cli, body, "root-key", "root_key");
	put_text(cli, body, "issuing-key", "issuing_key");
	put_text(cli, body, "ra-key", "ra_key");
	if (cli_flag(cli, "ra"))
		json_object_set_new(body, "ra", json_true());
	return put_secret(cli, body, "pin-file", "pin", error) && put_number(cli, body, "root-bits", "root_bits", error) && put_number(cli, body, "issuing-bits", "issuing_bits", error) &&
	       put_number(cli, body, "days", "days", error);
}

/* Sends BODY (transfer full) unless an option was wrong, and prints the reply. */
static int send_body(const struct cli *cli, const char *method, const char *path, json_t *body, bool ok, GError *wrong)
{
	g_autoptr(GError) error = wrong;
	json_t *reply = NULL;

	if (ok)
		reply = cli_call_json(cli, method, path, body, &error);
	else
		json_decref(body);
	return cli_show(cli, reply, error);
}

static void print_authority(const char *title, const json_t *a)
{
	if (!json_is_object(a))
		return;
	printf("  %-10s %s\n             %s %" JSON_INTEGER_FORMAT " bits, key %s, until %s\n", title, json_string_value(json_object_get(a, "subject")), json_string_value(json_object_get(a, "key_type")),
	       json_integer_value(json_object_get(a, "key_bits")), json_string_value(json_object_get(a, "key")), json_string_value(json_object_get(a, "not_after")));
	printf("             SHA-256 %s\n             SHA-1   %s\n", json_string_value(json_object_get(a, "sha256")), json_string_value(json_object_get(a, "sha1")));
}

int cmd_ca_show(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = cli->n_args ? ca_path(cli, "") : g_strdup("/api/v1/cas");
	g_autoptr(json_t) reply = cli_call(cli, "GET", path, NULL, NULL, &error);
	const json_t *g;
	size_t i;

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(json_object_get(reply, "items"));
		return CLI_OK;
	}
	json_array_foreach(json_object_get(reply, "items"), i, g) {
		printf("%s  %s (%s), %" JSON_INTEGER_FORMAT " device(s)\n", json_string_value(json_object_get(g, "id")), json_string_value(json_object_get(g, "state")),
		       json_string_value(json_object_get(g, "source")), json_integer_value(json_object_get(g, "devices")));
		print_authority("root", json_object_get(g, "root"));
		print_authority("issuing", json_object_get(g, "issuing"));
		print_authority("RA", json_object_get(g, "ra"));
	}
	return CLI_OK;
}

int cmd_ca_create(const struct cli *cli)
{
	GError *error = NULL;
	json_t *body = json_pack("{s:s}", "name", cli->args[0]);
	bool ok = put_spec(cli, body, &error);

	return send_body(cli, "POST", "/api/v1/cas", body, ok, error);
}

int cmd_ca_import(const struct cli *cli)
{
	GError *error = NULL;
	json_t *body = json_pack("{s:s, s:[]}", "name", cli->args[0], "files");
	bool ok = true;

	for (int i = 1; ok && i < cli->n_args; i++) {
		json_t *file = file_json(cli->args[i], &error);

		ok = file && json_array_append_new(json_object_get(body, "files"), file) == 0;
	}
	put_text(cli, body, "key", "key");
	put_text(cli, body, "ra-key", "ra_key");
	if (cli_flag(cli, "ra"))
		json_object_set_new(body, "ra", json_true());
	ok = ok && put_secret(cli, body, "password-file", "password", &error) && put_secret(cli, body, "pin-file", "pin", &error);
	return send_body(cli, "POST", "/api/v1/cas/import", body, ok, error);
}

/* Prints the text under KEY alone, for files and pipes; the whole reply with --json. */
static int show_text(const struct cli *cli, json_t *reply, const char *key, const GError *error)
{
	g_autoptr(json_t) owned = reply;
	const char *text = json_string_value(json_object_get(owned, key));

	if (!owned || cli_flag(cli, "json") || !text)
		return cli_show(cli, g_steal_pointer(&owned), error);
	fputs(text, stdout);
	return CLI_OK;
}

int cmd_ca_csr(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = ca_path(cli, "/csr");
	json_t *body = json_object(), *reply = NULL;

	put_text(cli, body, "subject", "subject");
	if (cli_flag(cli, "cancel")) {
		json_decref(body);
		reply = cli_call(cli, "DELETE", path, NULL, NULL, &error);
		return cli_show(cli, reply, error);
	}
	if (put_spec(cli, body, &error))
		reply = cli_call_json(cli, "POST", path, body, &error);
	else
		json_decref(body);
	return show_text(cli, reply, "csr", error);
}

/* Appends the certificates of a file as PEM: PEM, DER, or PKCS#7 as many CAs give a chain. */
static bool append_chain(GString *pem, const char *name, GError **error)
{
	gsize len;
	g_autofree char *data = cli_read_file(name, &len, error);
	g_autoptr(GPtrArray) ders = NULL;
	g_autoptr(X509) single = NULL;

	if (!data)
		return false;
	if (g_strstr_len(data, (gssize)len, "-----BEGIN")) {
		g_string_append_printf(pem, "%s\n", data);
		return true;
	}
	single = cert_parse_der(data, len, NULL);
	if (single) {
		g_autofree char *text = cert_format_pem(single);

		g_string_append(pem, text);
		return true;
	}
	ders = cms_certs_only_parse(data, len, NULL);
	if (!ders)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "%s holds neither PEM nor a certificate in DER nor PKCS#7", name);
	for (guint i = 0; i < ders->len; i++) {
		GBytes *der = g_ptr_array_index(ders, i);
		g_autoptr(X509) cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);
		g_autofree char *text = cert ? cert_format_pem(cert) : NULL;

		if (!cert)
			return false;
		g_string_append(pem, text);
	}
	return true;
}

int cmd_ca_install(const struct cli *cli)
{
	g_autofree char *path = ca_path(cli, "/install");
	GError *error = NULL;
	json_t *body = json_object();
	GString *chain = g_string_new(NULL);
	bool ok = true;

	for (int i = 1; ok && i < cli->n_args; i++)
		ok = append_chain(chain, cli->args[i], &error);
	json_object_set_new(body, "chain", json_string(chain->str));
	g_string_free(chain, TRUE);
	return send_body(cli, "POST", path, body, ok, error);
}

int cmd_ca_renew(const struct cli *cli)
{
	g_autofree char *path = ca_path(cli, "/renew");
	GError *error = NULL;
	json_t *body = json_object();
	bool ok = put_number(cli, body, "days", "days", &error);

	return send_body(cli, "POST", path, body, ok, error);
}

int cmd_ca_rekey(const struct cli *cli)
{
	g_autofree char *path = ca_path(cli, "/rekey");
	GError *error = NULL;
	json_t *body = json_object();
	bool ok = put_spec(cli, body, &error);

	json_object_set_new(body, "step", json_string(cli_flag(cli, "finish") ? "finish" : cli_flag(cli, "activate") ? "activate" : "start"));
	json_object_set_new(body, "keep_root", json_boolean(cli_flag(cli, "keep-root")));
	json_object_set_new(body, "force", json_boolean(cli_flag(cli, "force")));
	if (ok && cli_flag(cli, "finish") && cli_flag(cli, "activate"))
		ok = pom_fail(&error, POM_ERR_USAGE, "--activate and --finish are two steps: the devices need time between them");
	return send_body(cli, "POST", path, body, ok, error);
}

int cmd_ca_devices(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"UDID", "udid"}, {"SERIAL", "serial"}, {"NAME", "name"}, {"LAST SEEN", "last_seen"}};
	g_autofree char *path = ca_path(cli, "/devices?limit=1000");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "GET", path, NULL, NULL, &error);

	if (!reply || cli_flag(cli, "json"))
		return cli_show(cli, g_steal_pointer(&reply), error);
	printf("From %s to %s\n\nStill with an identity of the old generation: %zu\n", json_string_value(json_object_get(reply, "from")), json_string_value(json_object_get(reply, "to")),
	       json_array_size(json_object_get(reply, "identity")));
	cli_print_table(json_object_get(reply, "identity"), columns, G_N_ELEMENTS(columns));
	printf("\nNot yet with the new root: %zu\n", json_array_size(json_object_get(reply, "anchor")));
	cli_print_table(json_object_get(reply, "anchor"), columns, G_N_ELEMENTS(columns));
	return CLI_OK;
}

int cmd_ca_issue(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_object(), *csr = file_json(cli->args[0], &error), *reply = NULL;
	bool ok = csr != NULL;

	if (csr)
		json_object_set_new(body, "csr", csr);
	put_text(cli, body, "profile", "profile");
	put_text(cli, body, "subject", "subject");
	put_list(cli, body, "san", "sans");
	if (cli_flag(cli, "enroll"))
		json_object_set_new(body, "may_enroll", json_true());
	if (ok && put_number(cli, body, "days", "days", &error))
		reply = cli_call_json(cli, "POST", "/api/v1/certificates", body, &error);
	else
		json_decref(body);
	return show_text(cli, reply, "pem", error);
}

/* "&KEY=VALUE" of an option, escaped. */
static void add_query(const struct cli *cli, GString *path, const char *option, const char *key)
{
	g_autofree char *escaped = cli_value(cli, option) ? g_uri_escape_string(cli_value(cli, option), NULL, FALSE) : NULL;

	if (escaped)
		g_string_append_printf(path, "%s%s=%s", strchr(path->str, '?') ? "&" : "?", key, escaped);
}

static int show_query(const struct cli *cli, GString *path, const struct cli_column *columns, size_t n)
{
	int code = cli_show_list(cli, path->str, columns, n);

	g_string_free(path, TRUE);
	return code;
}

int cmd_ca_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"SERIAL", "serial"}, {"STATE", "state"}, {"SUBJECT", "subject"}, {"GENERATION", "generation"}, {"PROFILE", "profile"}, {"UNTIL", "not_after"}};
	GString *path = g_string_new("/api/v1/certificates");

	add_query(cli, path, "search", "search");
	add_query(cli, path, "device", "device");
	add_query(cli, path, "state", "state");
	return show_query(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_ca_cert(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "certificates", "");
}

int cmd_ca_revoke(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "certificates", "/revoke");
	json_t *body = json_object();

	put_text(cli, body, "reason", "reason");
	return send_body(cli, "POST", path, body, true, NULL);
}

int cmd_ca_release(const struct cli *cli)
{
	return cli_call_one(cli, "POST", "certificates", "/release");
}

int cmd_ca_crl(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"GENERATION", "generation"}, {"NUMBER", "number"}, {"FROM", "this_update"}, {"UNTIL", "next_update"}};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "POST", "/api/v1/crls", NULL, NULL, &error);

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(json_object_get(reply, "items"));
	else
		cli_print_table(json_object_get(reply, "items"), columns, G_N_ELEMENTS(columns));
	return CLI_OK;
}

int cmd_ca_requests(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"STATE", "state"}, {"PROFILE", "profile"}, {"SUBJECT", "subject"}, {"FROM", "peer"}, {"CREATED", "created"}};
	GString *path = g_string_new("/api/v1/scep-requests");

	add_query(cli, path, "state", "state");
	return show_query(cli, path, columns, G_N_ELEMENTS(columns));
}

static int decide(const struct cli *cli, const char *tail)
{
	g_autofree char *path = cli_path(cli, "scep-requests", tail);
	json_t *body = json_object();

	put_text(cli, body, "reason", "reason");
	return send_body(cli, "POST", path, body, true, NULL);
}

int cmd_ca_approve(const struct cli *cli)
{
	return decide(cli, "/approve");
}

int cmd_ca_deny(const struct cli *cli)
{
	return decide(cli, "/deny");
}

int cmd_ca_audit(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"SEQ", "seq"}, {"AT", "at"}, {"WHO", "actor"}, {"WHAT", "action"}, {"ABOUT", "object"}, {"WHY", "why"}};
	g_autoptr(GString) path = g_string_new("/api/v1/audit");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) items = NULL;
	json_t *item;
	size_t i;

	add_query(cli, path, "object", "object");
	add_query(cli, path, "action", "action");
	add_query(cli, path, "last", "last");
	items = cli_call_all(cli, path->str, &error);
	if (!items)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(items);
		return CLI_OK;
	}
	json_array_foreach(items, i, item) {
		json_t *detail = json_object_get(item, "detail"), *why = json_object_get(detail, "why");

		/* An administrator's reason, or the server's. */
		json_object_set(item, "why", why ? why : json_object_get(detail, "reason"));
	}
	cli_print_table(items, columns, G_N_ELEMENTS(columns));
	return CLI_OK;
}

int cmd_ca_audit_verify(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call(cli, "GET", "/api/v1/audit/verify", NULL, NULL, &error);
	bool broken = reply && !json_is_true(json_object_get(reply, "ok"));
	int code = cli_show(cli, reply, error);

	return broken ? CLI_FAILED : code;
}

int cmd_ca_expiry(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"CERTIFICATE", "name"}, {"SUBJECT", "subject"}, {"UNTIL", "not_after"}, {"DAYS LEFT", "days_left"}};

	return cli_show_list(cli, "/api/v1/held-certificates", columns, G_N_ELEMENTS(columns));
}

int cmd_challenge_new(const struct cli *cli)
{
	GError *error = NULL;
	json_t *body = json_object();
	bool ok;

	put_text(cli, body, "subject", "subject");
	put_list(cli, body, "san", "sans");
	put_text(cli, body, "profile", "profile");
	put_text(cli, body, "device", "device");
	put_text(cli, body, "key-type", "key_type");
	if (cli_flag(cli, "enroll"))
		json_object_set_new(body, "enroll", json_true());
	ok = put_time(cli, body, "ttl", "ttl_seconds", &error) && put_number(cli, body, "uses", "uses", &error);
	return send_body(cli, "POST", "/api/v1/challenges", body, ok, error);
}

int cmd_challenge_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"STATE", "state"}, {"PROFILE", "profile"}, {"SUBJECT", "subject"}, {"EXPIRES", "expires"}};

	return cli_show_list(cli, "/api/v1/challenges", columns, G_N_ELEMENTS(columns));
}

int cmd_challenge_revoke(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "challenges", "");
}

int cmd_scep_profile_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"CA", "ca"}, {"MODE", "mode"}, {"CHALLENGE", "challenge"}, {"APPROVAL", "approval"}, {"DAYS", "days"}, {"URL", "url"}};

	return cli_show_list(cli, "/api/v1/scep-profiles", columns, G_N_ELEMENTS(columns));
}

int cmd_scep_profile_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "scep-profiles", "");
}

/* NAME key=value…: an empty value goes back to the standard. */
static int set_named(const struct cli *cli, const char *family)
{
	g_autofree char *path = cli_path(cli, family, "");
	GError *error = NULL;
	json_t *body = json_object();
	bool ok = true;

	for (int i = 1; ok && i < cli->n_args; i++) {
		const char *equals = strchr(cli->args[i], '=');
		g_autofree char *key = equals ? g_strndup(cli->args[i], (gsize)(equals - cli->args[i])) : NULL;
		json_t *value;

		if (!equals) {
			ok = pom_fail(&error, POM_ERR_USAGE, "\"%s\" is not key=value", cli->args[i]);
			continue;
		}
		value = equals[1] ? cli_parse_value(key, equals + 1, &error) : json_null();
		ok = value != NULL;
		if (ok)
			json_object_set_new(body, key, value);
	}
	return send_body(cli, "PUT", path, body, ok, error);
}

int cmd_scep_profile_set(const struct cli *cli)
{
	return set_named(cli, "scep-profiles");
}

int cmd_scep_profile_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "scep-profiles", "");
}

int cmd_outside_ca_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"URL", "url"}, {"NDES PAGE", "ndes_url"}, {"SINGLE DES", "legacy_des"}};

	return cli_show_list(cli, "/api/v1/outside-cas", columns, G_N_ELEMENTS(columns));
}

int cmd_outside_ca_set(const struct cli *cli)
{
	return set_named(cli, "outside-cas");
}

int cmd_outside_ca_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "outside-cas", "");
}

int cmd_device_renew(const struct cli *cli)
{
	return cli_call_one(cli, "POST", "devices", "/renew");
}
