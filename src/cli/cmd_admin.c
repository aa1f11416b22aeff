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

int cmd_token_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/tokens", json_pack("{s:s, s:b}", "name", cli->args[0], "secrets", cli_flag(cli, "secrets")), &error);

	return cli_show(cli, reply, error);
}

int cmd_token_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"NAME", "name"}, {"SECRETS", "secrets"}, {"CREATED", "created_at"}, {"REVOKED", "revoked_at"}};

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
