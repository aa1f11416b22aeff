/* Verbs that speak to the admin API. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

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
