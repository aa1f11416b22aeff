/* Verbs of the outbox of pushes. */
#include <stdio.h>

#include "cli/cli.h"

static void print_errors(json_t *items)
{
	size_t i;
	json_t *item;

	json_array_foreach(items, i, item) {
		json_t *error = json_object_get(item, "error");

		if (json_is_object(error))
			printf("\n%s\n  %s %s at %s\n  %s\n", json_string_value(json_object_get(item, "topic")), json_string_value(json_object_get(error, "id")),
			       json_is_string(json_object_get(error, "reason")) ? json_string_value(json_object_get(error, "reason")) : "", json_string_value(json_object_get(error, "at")),
			       json_string_value(json_object_get(error, "text")));
	}
}

/* What of it is one node's alone, where there may be several. */
static void print_node(const json_t *reply)
{
	json_int_t per_second = json_integer_value(json_object_get(reply, "per_second"));

	printf("\nConnections, state and pauses are those of node %s; what is owed, waited for and dead is counted over all nodes.\n", json_string_value(json_object_get(reply, "node")));
	if (per_second)
		printf("Each node has a pace of its own: %" JSON_INTEGER_FORMAT " devices in a second at this one (push.per_second).\n", per_second);
}

int cmd_push_status(const struct cli *cli)
{
	static const struct cli_column columns[] = {
		{"TOPIC", "topic"}, {"STATE", "state"}, {"CONNECTIONS", "connections"}, {"STREAMS", "streams"}, {"IN FLIGHT", "in_flight"}, {"OWED", "owed"}, {"WAITING", "waiting_for_devices"},
		{"DEAD", "dead_tokens"}, {"PAUSED UNTIL", "paused_until"},
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "GET", "/api/v1/push", NULL, NULL, &error);

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(reply);
		return CLI_OK;
	}
	cli_print_table(json_object_get(reply, "items"), columns, G_N_ELEMENTS(columns));
	print_errors(json_object_get(reply, "items"));
	if (json_is_string(json_object_get(reply, "node")))
		print_node(reply);
	return CLI_OK;
}

int cmd_push_resume(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call(cli, "POST", "/api/v1/push/resume", NULL, NULL, &error);

	return cli_show(cli, reply, error);
}
