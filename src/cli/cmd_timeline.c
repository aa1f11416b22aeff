/* Verbs of check-in messages and the timeline. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

static bool check_return_options(const struct cli *cli, GError **error)
{
	static const char *const details[] = {"mdm-profile", "no-bootstrap-token"};
	bool any = cli_value(cli, "wifi") != NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(details); i++)
		any |= cli_flag(cli, details[i]);
	if (cli_flag(cli, "enable") + cli_flag(cli, "disable") + cli_flag(cli, "inherit") > 1)
		return pom_fail(error, POM_ERR_USAGE, "--enable, --disable and --inherit exclude each other");
	return !any || cli_flag(cli, "enable") ? true : pom_fail(error, POM_ERR_USAGE, "--wifi, --mdm-profile and --no-bootstrap-token go with --enable");
}

int cmd_device_return(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/return-to-service");
	g_autoptr(GError) error = NULL;
	json_t *body = NULL, *reply;
	const char *method = "GET";

	if (!check_return_options(cli, &error))
		return cli_fail(error);
	if (cli_flag(cli, "inherit"))
		method = "DELETE";
	if (cli_flag(cli, "enable") || cli_flag(cli, "disable")) {
		method = "POST";
		body = json_pack("{s:b, s:s?, s:b, s:b}", "enabled", (int)cli_flag(cli, "enable"), "wifi_profile", cli_value(cli, "wifi"), "mdm_profile", (int)cli_flag(cli, "mdm-profile"), "bootstrap_token",
		                 (int)!cli_flag(cli, "no-bootstrap-token"));
	}
	reply = cli_call_json(cli, method, path, body, &error);
	return cli_show(cli, reply, error);
}

int cmd_device_first_use(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "enrollment_id"}, {"UDID", "udid"}, {"APPEARED", "appeared_at"}, {"WITH", "message"}, {"STATE", "state"}, {"PUSH TOKEN", "has_push_token"}, {"SUBJECT", "subject"}, {"NOT AFTER", "not_after"}};

	return cli_show_list(cli, "/api/v1/first-use", columns, G_N_ELEMENTS(columns));
}
