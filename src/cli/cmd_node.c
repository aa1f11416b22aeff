/* The verbs of nodes. */
#include <stdio.h>

#include "cli/cli.h"

static void print_troubles(json_t *items)
{
	size_t i;
	json_t *item;

	json_array_foreach(items, i, item)
		if (json_is_string(json_object_get(item, "trouble")))
			printf("\n%s\n  %s\n", json_string_value(json_object_get(item, "name")), json_string_value(json_object_get(item, "trouble")));
}

/* Words side by side are easier to read in a table than JSON. */
static void join_jobs(json_t *items)
{
	size_t i, k;
	json_t *item, *job;

	json_array_foreach(items, i, item) {
		g_autoptr(GString) text = g_string_new(NULL);

		json_array_foreach(json_object_get(item, "jobs"), k, job)
			g_string_append_printf(text, "%s%s", text->len ? " " : "", json_string_value(job));
		json_object_set_new(item, "jobs", json_string(text->str));
	}
}

int cmd_node_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {
		{"NAME", "name"}, {"STATE", "state"}, {"VERSION", "version"}, {"STARTED", "started"}, {"SEEN", "seen"}, {"CLOCK MS", "clock_ms"}, {"PORTS", "ports"}, {"JOBS", "jobs"},
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) items = cli_call_all(cli, "/api/v1/nodes", &error);

	if (!items)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(items);
		return CLI_OK;
	}
	join_jobs(items);
	cli_print_table(items, columns, G_N_ELEMENTS(columns));
	print_troubles(items);
	return CLI_OK;
}
