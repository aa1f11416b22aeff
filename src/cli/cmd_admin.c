/* Verbs that speak to the admin API. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"

int cmd_device_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"UDID", "udid"}, {"SERIAL", "serial"}, {"MODEL", "product_name"}, {"OS", "os_version"},
	                                            {"KIND", "kind"}, {"STATE", "state"}, {"LAST SEEN", "last_seen"}};

	return cli_show_list(cli, "/api/v1/devices", columns, G_N_ELEMENTS(columns));
}

int cmd_device_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "devices", "");
}

int cmd_device_timeline(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"AT", "at"}, {"WHAT", "kind"}, {"DETAIL", "detail"}};
	g_autofree char *path = cli_path(cli, "devices", "/events");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_device_push(const struct cli *cli)
{
	return cli_call_one(cli, "POST", "devices", "/push");
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
		value = cli_parse_value(key, equals + 1, error);
		if (!value)
			return NULL;
		json_object_set_new(command, key, value);
	}
	return g_steal_pointer(&command);
}

int cmd_command_send(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", cli_flag(cli, "force") ? "/commands?force=true" : "/commands");
	g_autoptr(GError) error = NULL;
	const char *file = cli_value(cli, "plist");
	json_t *command, *reply = NULL;

	if (file) {
		gsize len = 0;
		char *text = cli_read_file(file, &len, &error);
		g_autoptr(GBytes) body = text ? g_bytes_new_take(text, len) : NULL;

		reply = body ? cli_call(cli, "POST", path, "application/xml", body, &error) : NULL;
	} else {
		command = parse_command(cli, &error);
		reply = command ? cli_call_json(cli, "POST", path, command, &error) : NULL;
	}
	return cli_show(cli, reply, error);
}

int cmd_command_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"COMMAND", "command_uuid"}, {"TYPE", "request_type"}, {"STATUS", "status"}, {"CREATED", "created_at"}, {"FINISHED", "finished_at"}};
	g_autofree char *path = cli_path(cli, "devices", cli_flag(cli, "done") ? "/commands?state=done" : "/commands?state=pending");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_command_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "commands", "");
}

int cmd_command_cancel(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "commands", "");
}

int cmd_token_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/tokens", json_pack("{s:s}", "name", cli->args[0]), &error);

	return cli_show(cli, reply, error);
}

int cmd_token_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"NAME", "name"}, {"CREATED", "created_at"}, {"REVOKED", "revoked_at"}};

	return cli_show_list(cli, "/api/v1/tokens", columns, G_N_ELEMENTS(columns));
}

int cmd_token_revoke(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "tokens", "");
}

int cmd_push_cert_import(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *password = NULL;
	json_t *files = json_array(), *body, *reply;
	gsize len;

	for (int i = 0; i < cli->n_args; i++) {
		g_autofree char *data = cli_read_file(cli->args[i], &len, &error);
		g_autofree char *text = data ? g_base64_encode((const guchar *)data, len) : NULL;

		if (!data) {
			json_decref(files);
			return cli_fail(error);
		}
		explicit_bzero(data, len);
		json_array_append_new(files, json_string(text));
	}
	if (cli_value(cli, "password-file") && !(password = cli_read_file(cli_value(cli, "password-file"), &len, &error))) {
		json_decref(files);
		return cli_fail(error);
	}
	body = json_pack("{s:o, s:b, s:s?}", "files", files, "force", cli_flag(cli, "force"), "password", password ? g_strchomp(password) : NULL);
	reply = cli_call_json(cli, "POST", "/api/v1/push-certificates", body, &error);
	return cli_show(cli, reply, error);
}

int cmd_push_cert_show(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"TOPIC", "topic"}, {"FROM", "not_before"}, {"UNTIL", "not_after"}, {"IMPORTED", "imported"}};

	return cli_show_list(cli, "/api/v1/push-certificates", columns, G_N_ELEMENTS(columns));
}
