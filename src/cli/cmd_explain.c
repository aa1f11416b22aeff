/* explain: what an error code means, Pomona's own or Apple's. */
#include <stdio.h>
#include <string.h>

#include "base/apple_error.h"
#include "base/error.h"
#include "cli/cli.h"

/* "22013", "MCSCEPErrorDomain:22013". */
static const struct apple_error *find_apple_error(const char *text)
{
	const char *colon = strrchr(text, ':'), *number = colon ? colon + 1 : text;
	g_autofree char *domain = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
	char *end;
	int64_t code = g_ascii_strtoll(number, &end, 10);

	return *number && !*end ? apple_error_find(domain, code) : NULL;
}

static int explain_apple(const struct cli *cli, const struct apple_error *e)
{
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) o = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s}", "domain", e->domain, "code", (json_int_t)e->code, "name", e->name, "text", e->meaning, "causes",
		                                e->causes, "look_at", e->look_at);

		cli_print_json(o);
	} else {
		printf("%s %" G_GINT64_FORMAT "  %s (Apple)\n%s\nLikely causes: %s\nLook at: %s\n", e->domain, e->code, e->name, e->meaning, e->causes, e->look_at);
	}
	return CLI_OK;
}

static int explain_own(const struct cli *cli, const struct pom_error_info *info)
{
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) o = json_pack("{s:s, s:s, s:i, s:b}", "code", info->id, "text", info->text, "http_status", info->http_status, "retry", info->retry);

		cli_print_json(o);
	} else {
		printf("%s  %s\nAnswered with HTTP status %d. %s\n", info->id, info->text, info->http_status,
		       info->retry ? "The same request may succeed later." : "The same request will fail again until its cause is mended.");
	}
	return CLI_OK;
}

int cmd_explain(const struct cli *cli)
{
	enum pom_error code = pom_error_find(cli->args[0]);
	const struct apple_error *apple = find_apple_error(cli->args[0]);
	g_autoptr(GError) error = NULL;

	if (code != POM_ERR_MAX)
		return explain_own(cli, pom_error_info(code));
	if (apple)
		return explain_apple(cli, apple);
	pom_fail(&error, POM_ERR_NOT_FOUND, "\"%s\" is no code that is explained here: Pomona's look like POM-E4103, Apple's like 22013 or MCSCEPErrorDomain:22013", cli->args[0]);
	return cli_fail(error);
}
