/* sim portal: stand-ins for Apple's two pages. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "sim/sim.h"

enum { DAYS = 365, DAYS_MAX = 3650 };

static bool read_upload(const struct cli *cli, struct sim_portal_upload *ret, GError **error)
{
	const char *action = cli->args[0], *days = cli_value(cli, "days");
	gint64 n = DAYS;

	if (days && !g_ascii_string_to_signed(days, 10, -DAYS_MAX, DAYS_MAX, &n, NULL))
		return pom_fail(error, POM_ERR_USAGE, "--days %s is not a number up to %d", days, DAYS_MAX);
	*ret = (struct sim_portal_upload){.file = cli->n_args > 1 ? cli->args[1] : NULL, .out = cli_value(cli, "out"), .vendor = !strcmp(action, "developer"), .account = cli_value(cli, "account"),
	                                  .topic = cli_value(cli, "topic"), .days = (int)n};
	if (strcmp(action, "developer") && strcmp(action, "create") && strcmp(action, "renew"))
		return pom_fail(error, POM_ERR_USAGE, "the action \"%s\" is not known: it is make, developer, create or renew", action);
	if (!ret->file || !ret->out || (!ret->vendor && !ret->account))
		return pom_fail(error, POM_ERR_USAGE, "FILE, --out and, at the push portal, --account are needed");
	return !strcmp(action, "renew") == (ret->topic != NULL) || pom_fail(error, POM_ERR_USAGE, "--topic goes with renew");
}

int cmd_sim_portal(const struct cli *cli)
{
	const char *dir = cli_value(cli, "dir");
	struct sim_portal_upload upload;
	g_autoptr(GError) error = NULL;
	g_autofree char *topic = NULL;

	if (!dir) {
		pom_fail(&error, POM_ERR_USAGE, "--dir is missing");
		return cli_fail(error);
	}
	if (!strcmp(cli->args[0], "make"))
		return sim_portal_make(dir, &error) ? cli_show(cli, json_pack("{s:s}", "dir", dir), NULL) : cli_fail(error);
	if (!read_upload(cli, &upload, &error) || !sim_portal_answer(dir, &upload, &topic, &error))
		return cli_fail(error);
	return cli_show(cli, json_pack("{s:s, s:s?}", "file", upload.out, "topic", topic), NULL);
}
