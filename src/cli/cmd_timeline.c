/* Verbs of check-in messages and the timeline. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

/* All pages of the timeline as one; transfer full. */
static json_t *read_timeline(const struct cli *cli, json_t **ret_verdict, GError **error)
{
	g_autofree char *path = cli_path(cli, "devices", "/timeline");
	json_t *items = cli_call_all(cli, path, error);
	g_autofree char *first = g_strconcat(path, "?limit=1", NULL);
	g_autoptr(json_t) page = items ? cli_call(cli, "GET", first, NULL, NULL, error) : NULL;

	if (!page) {
		json_decref(items);
		return NULL;
	}
	*ret_verdict = json_incref(json_object_get(page, "verdict"));
	return items;
}

static void print_verdict(const json_t *verdict)
{
	static const char *const keys[] = {"where", "why", "todo"};

	printf("%s", json_string_value(json_object_get(verdict, "state")));
	if (json_is_string(json_object_get(verdict, "since")))
		printf(" (since %s)", json_string_value(json_object_get(verdict, "since")));
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (json_is_string(json_object_get(verdict, keys[i])))
			printf("\n  %-6s %s", keys[i], json_string_value(json_object_get(verdict, keys[i])));
	printf("\n\n");
}

/* "GetCACert, 12 times, last at …" for people: the columns are the same whether it counts or not. */
static void add_times(json_t *items)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		const char *detail = json_string_value(json_object_get(item, "detail")), *last = json_string_value(json_object_get(item, "last_at"));
		g_autofree char *text = NULL;

		if (!last)
			continue;
		text = g_strdup_printf("%s%s%" JSON_INTEGER_FORMAT " times, last at %s", detail ? detail : "", detail ? ", " : "", json_integer_value(json_object_get(item, "times")), last);
		json_object_set_new(item, "detail", json_string(text));
	}
}

int cmd_device_timeline(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"AT", "at"}, {"WHAT", "kind"}, {"DETAIL", "detail"}};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) verdict = NULL, items = read_timeline(cli, &verdict, &error);

	if (!items)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(items);
		return CLI_OK;
	}
	print_verdict(verdict);
	add_times(items);
	cli_print_table(items, columns, G_N_ELEMENTS(columns));
	return CLI_OK;
}

int cmd_enroll_show(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"AT", "at"}, {"WHAT", "kind"}, {"DETAIL", "detail"}};
	g_autofree char *path = cli_path(cli, "links", "");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) link = cli_call(cli, "GET", path, NULL, NULL, &error), items = NULL;

	if (!link || cli_flag(cli, "json"))
		return cli_show(cli, g_steal_pointer(&link), error);
	items = json_incref(json_object_get(link, "timeline"));
	print_verdict(json_object_get(link, "verdict"));
	json_object_del(link, "verdict");
	json_object_del(link, "timeline");
	cli_print_object(link);
	putchar('\n');
	add_times(items);
	cli_print_table(items, columns, G_N_ELEMENTS(columns));
	return CLI_OK;
}

int cmd_device_verdict(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/timeline?limit=1");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) page = cli_call(cli, "GET", path, NULL, NULL, &error);

	return cli_show(cli, page ? json_incref(json_object_get(page, "verdict")) : NULL, error);
}

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
