/* Verbs that speak to the admin API. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"

/* Prints the reply in the form asked for; NULL is the error. transfer full. */
static int show(const struct cli *cli, json_t *reply, const GError *error)
{
	g_autoptr(json_t) owned = reply;

	if (!owned)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(owned);
	else
		cli_print_object(owned);
	return CLI_OK;
}

static int show_list(const struct cli *cli, const char *path, const struct cli_column *columns, size_t n)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) items = cli_call_all(cli, path, &error);

	if (!items)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(items);
	else
		cli_print_table(items, columns, n);
	return CLI_OK;
}

/* "/api/v1/FAMILY/ARG[0]TAIL" with the argument escaped; transfer full. */
static char *path_of(const struct cli *cli, const char *family, const char *tail)
{
	g_autofree char *escaped = g_uri_escape_string(cli->args[0], NULL, FALSE);

	return g_strdup_printf("/api/v1/%s/%s%s", family, escaped, tail);
}

static int call_one(const struct cli *cli, const char *method, const char *family, const char *tail)
{
	g_autofree char *path = path_of(cli, family, tail);
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call(cli, method, path, NULL, NULL, &error);

	return show(cli, reply, error);
}

/* "90s", "30m", "24h", "7d" → seconds. */
static bool parse_ttl(const char *text, int64_t *ret, GError **error)
{
	char *end;
	gint64 n = g_ascii_strtoll(text, &end, 10);
	int64_t unit = !strcmp(end, "s") || !*end ? 1 : !strcmp(end, "m") ? 60 : !strcmp(end, "h") ? 3600 : !strcmp(end, "d") ? 86400 : 0;

	if (end == text || !unit || n <= 0 || n > 366 * 86400)
		return pom_fail(error, POM_ERR_USAGE, "--ttl \"%s\" is not a time such as 30m, 24h or 7d", text);
	*ret = n * unit;
	return true;
}

int cmd_enroll_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_object();
	int64_t ttl = 0;

	if (cli_value(cli, "user"))
		json_object_set_new(body, "user", json_string(cli_value(cli, "user")));
	if (cli_value(cli, "device"))
		json_object_set_new(body, "device", json_string(cli_value(cli, "device")));
	if (cli_value(cli, "ttl")) {
		if (!parse_ttl(cli_value(cli, "ttl"), &ttl, &error)) {
			json_decref(body);
			return cli_fail(error);
		}
		json_object_set_new(body, "ttl_seconds", json_integer(ttl));
	}
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/links", body, &error);
	return show(cli, reply, error);
}

int cmd_enroll_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"STATE", "state"}, {"USER", "user"}, {"DEVICE", "device"}, {"EXPIRES", "expires"}};

	return show_list(cli, "/api/v1/links", columns, G_N_ELEMENTS(columns));
}

int cmd_enroll_revoke(const struct cli *cli)
{
	return call_one(cli, "DELETE", "links", "");
}

int cmd_device_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"UDID", "udid"}, {"SERIAL", "serial"}, {"MODEL", "product_name"}, {"OS", "os_version"},
	                                            {"KIND", "kind"}, {"STATE", "state"}, {"LAST SEEN", "last_seen"}};

	return show_list(cli, "/api/v1/devices", columns, G_N_ELEMENTS(columns));
}

int cmd_device_show(const struct cli *cli)
{
	return call_one(cli, "GET", "devices", "");
}

int cmd_device_timeline(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"AT", "at"}, {"WHAT", "kind"}, {"DETAIL", "detail"}};
	g_autofree char *path = path_of(cli, "devices", "/events");

	return show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_device_push(const struct cli *cli)
{
	return call_one(cli, "POST", "devices", "/push");
}

/* Bytes of a file, or of standard input for "-". transfer full. */
static char *read_file(const char *name, gsize *ret_len, GError **error)
{
	g_autoptr(GByteArray) all = g_byte_array_new();
	char chunk[4096], *text = NULL;
	ssize_t n;

	if (strcmp(name, "-")) {
		if (!g_file_get_contents(name, &text, ret_len, NULL))
			pom_fail(error, POM_ERR_IO, "%s cannot be read", name);
		return text;
	}
	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		g_byte_array_append(all, (guint8 *)chunk, (guint)n);
	g_byte_array_append(all, (const guint8 *)"", 1);
	*ret_len = all->len - 1;
	return (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
}

static bool is_json_value(const char *text)
{
	return *text == '[' || *text == '{' || !strcmp(text, "true") || !strcmp(text, "false") || (*text && strspn(text, "0123456789") == strlen(text));
}

/* The value behind "Key=": JSON, text, or a file's text. transfer full. */
static json_t *parse_value(const char *key, const char *text, GError **error)
{
	g_autofree char *read = NULL;
	gsize len;
	json_error_t where;
	json_t *value;

	if (*text == '@') {
		read = read_file(text + 1, &len, error);
		if (!read)
			return NULL;
		/* A secret typed or piped in ends with a newline that is not part of it. */
		while (len && (read[len - 1] == '\n' || read[len - 1] == '\r'))
			read[--len] = '\0';
		value = json_stringn(read, len);
		if (!value)
			pom_fail(error, POM_ERR_USAGE, "%s: %s is not UTF-8 text; for binary data give %s='{\"$data\": \"base64\"}'", key, text + 1, key);
		return value;
	}
	if (!is_json_value(text))
		return json_string(text);
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
	if (!value)
		pom_fail(error, POM_ERR_USAGE, "%s: %s (column %d)", key, where.text, where.column);
	return value;
}

static json_t *parse_command(const struct cli *cli, GError **error)
{
	g_autoptr(json_t) command = json_pack("{s:s}", "RequestType", cli->args[1]);

	for (int i = 2; i < cli->n_args; i++) {
		const char *equals = strchr(cli->args[i], '=');
		g_autofree char *key = equals ? g_strndup(cli->args[i], (gsize)(equals - cli->args[i])) : NULL;
		json_t *value;

		if (!key || !*key) {
			pom_fail(error, POM_ERR_USAGE, "\"%s\" is not Key=value", cli->args[i]);
			return NULL;
		}
		value = parse_value(key, equals + 1, error);
		if (!value)
			return NULL;
		json_object_set_new(command, key, value);
	}
	return g_steal_pointer(&command);
}

int cmd_command_send(const struct cli *cli)
{
	g_autofree char *path = path_of(cli, "devices", "/commands");
	g_autoptr(GError) error = NULL;
	const char *file = cli_value(cli, "plist");
	json_t *command, *reply = NULL;

	if (file) {
		gsize len = 0;
		char *text = read_file(file, &len, &error);
		g_autoptr(GBytes) body = text ? g_bytes_new_take(text, len) : NULL;

		reply = body ? cli_call(cli, "POST", path, "application/xml", body, &error) : NULL;
	} else {
		command = parse_command(cli, &error);
		reply = command ? cli_call_json(cli, "POST", path, command, &error) : NULL;
	}
	return show(cli, reply, error);
}

int cmd_command_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"COMMAND", "command_uuid"}, {"TYPE", "request_type"}, {"STATUS", "status"}, {"CREATED", "created_at"}, {"FINISHED", "finished_at"}};
	g_autofree char *path = path_of(cli, "devices", cli_flag(cli, "done") ? "/commands?state=done" : "/commands?state=pending");

	return show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_command_show(const struct cli *cli)
{
	return call_one(cli, "GET", "commands", "");
}

int cmd_command_cancel(const struct cli *cli)
{
	return call_one(cli, "DELETE", "commands", "");
}

int cmd_token_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/tokens", json_pack("{s:s}", "name", cli->args[0]), &error);

	return show(cli, reply, error);
}

int cmd_token_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"NAME", "name"}, {"CREATED", "created_at"}, {"REVOKED", "revoked_at"}};

	return show_list(cli, "/api/v1/tokens", columns, G_N_ELEMENTS(columns));
}

int cmd_token_revoke(const struct cli *cli)
{
	return call_one(cli, "DELETE", "tokens", "");
}

int cmd_push_cert_import(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *password = NULL;
	json_t *files = json_array(), *body, *reply;
	gsize len;

	for (int i = 0; i < cli->n_args; i++) {
		g_autofree char *data = read_file(cli->args[i], &len, &error);
		g_autofree char *text = data ? g_base64_encode((const guchar *)data, len) : NULL;

		if (!data) {
			json_decref(files);
			return cli_fail(error);
		}
		explicit_bzero(data, len);
		json_array_append_new(files, json_string(text));
	}
	if (cli_value(cli, "password-file") && !(password = read_file(cli_value(cli, "password-file"), &len, &error))) {
		json_decref(files);
		return cli_fail(error);
	}
	body = json_pack("{s:o, s:b, s:s?}", "files", files, "force", cli_flag(cli, "force"), "password", password ? g_strchomp(password) : NULL);
	reply = cli_call_json(cli, "POST", "/api/v1/push-certificates", body, &error);
	return show(cli, reply, error);
}

int cmd_push_cert_show(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"TOPIC", "topic"}, {"FROM", "not_before"}, {"UNTIL", "not_after"}, {"IMPORTED", "imported"}};

	return show_list(cli, "/api/v1/push-certificates", columns, G_N_ELEMENTS(columns));
}
