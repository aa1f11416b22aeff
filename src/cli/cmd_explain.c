/* explain: what an error code means, Pomona's own or Apple's. */
#include <stdio.h>

#include "base/apple_error.h"
#include "base/error.h"
#include "cli/cli.h"

static json_t *json_of_apple(const struct apple_error *e)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:s?, s:s?}", "domain", e->domain, "code", e->word ? json_string(e->word) : json_integer((json_int_t)e->code), "name", e->name, "text", e->meaning,
	                 "causes", e->causes, "look_at", e->look_at);
}

static void print_apple(const struct apple_error *e)
{
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, e->code);

	printf("%s %s  %s (Apple)\n%s\n", e->domain, e->word ? e->word : number, e->name, e->meaning);
	if (e->causes)
		printf("Likely causes: %s\n", e->causes);
	if (e->look_at)
		printf("Look at: %s\n", e->look_at);
}

static int explain_apple(const struct cli *cli, const struct apple_error *e)
{
	g_autoptr(json_t) o = json_of_apple(e);

	if (cli_flag(cli, "json"))
		cli_print_json(o);
	else
		print_apple(e);
	return CLI_OK;
}

/* All whose name or meaning holds the text. */
static int explain_found(const struct cli *cli, const char *text)
{
	g_autoptr(json_t) items = json_array();
	const struct apple_error *e;

	for (unsigned i = 0; (e = apple_error_search(text, i)); i++) {
		if (!cli_flag(cli, "json")) {
			printf("%s", i ? "\n" : "");
			print_apple(e);
		}
		json_array_append_new(items, json_of_apple(e));
	}
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) list = json_pack("{s:O, s:n}", "items", items, "next");

		cli_print_json(list);
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
	const struct apple_error *apple = apple_error_find_text(cli->args[0]);
	g_autoptr(GError) error = NULL;

	if (code != POM_ERR_MAX)
		return explain_own(cli, pom_error_info(code));
	if (apple)
		return explain_apple(cli, apple);
	if (apple_error_search(cli->args[0], 0))
		return explain_found(cli, cli->args[0]);
	pom_fail(&error, POM_ERR_NOT_FOUND, "\"%s\" is no code that is explained here: Pomona's look like POM-E4103, Apple's like 22013, MCSCEPErrorDomain:22013 or BadDeviceToken; part of an explanation is searched for", cli->args[0]);
	return cli_fail(error);
}
