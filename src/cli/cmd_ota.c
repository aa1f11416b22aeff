/* Verbs of over-the-air enrollment: device CAs, watches. */
#include "cli/cli.h"

int cmd_device_ca_add(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	gsize len;
	g_autofree char *data = cli_read_file(cli->args[0], &len, &error), *text = data ? g_base64_encode((const guchar *)data, len) : NULL;
	json_t *body, *reply;

	if (!data)
		return cli_fail(error);
	body = json_pack("{s:s, s:s?}", "certificate", text, "name", cli_value(cli, "name"));
	reply = cli_call_json(cli, "POST", "/api/v1/device-cas", body, &error);
	return cli_show(cli, reply, error);
}

int cmd_device_ca_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"NAME", "name"}, {"SUBJECT", "subject"}, {"UNTIL", "not_after"}, {"WARNING", "warning"}};

	return cli_show_list(cli, "/api/v1/device-cas", columns, G_N_ELEMENTS(columns));
}

int cmd_device_ca_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "device-cas", "");
}

int cmd_watch_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"STATE", "state"}, {"WATCH", "udid"}, {"PHONE", "phone_enrollment_id"}, {"ASKED", "asked_at"}, {"GRANTED", "granted_at"}, {"USED", "used_at"}};

	return cli_show_list(cli, "/api/v1/watches", columns, G_N_ELEMENTS(columns));
}
