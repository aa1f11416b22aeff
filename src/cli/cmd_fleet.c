/* Verbs for many devices: orders, queries, the end of enrollments, blocked devices, what devices told. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"

enum { WATCH_MS = 1000 };

/* "/api/v1/…?query=TEXT"; transfer full. */
static char *query_path(const char *text)
{
	g_autofree char *escaped = g_uri_escape_string(text, NULL, FALSE);

	return g_strconcat("/api/v1/devices?query=", escaped, NULL);
}

static const struct cli_column device_columns[] = {{"ID", "id"}, {"UDID", "udid"}, {"SERIAL", "serial"}, {"MODEL", "product_name"}, {"OS", "os_version"}, {"KIND", "kind"}, {"STATE", "state"}, {"LAST SEEN", "last_seen"}};

int cmd_device_list(const struct cli *cli)
{
	g_autofree char *path = cli_value(cli, "query") ? query_path(cli_value(cli, "query")) : g_strdup("/api/v1/devices");

	return cli_show_list(cli, path, device_columns, G_N_ELEMENTS(device_columns));
}

int cmd_group_test(const struct cli *cli)
{
	g_autofree char *path = NULL;
	g_autoptr(GError) error = NULL;

	if (!cli_value(cli, "query")) {
		pom_fail(&error, POM_ERR_USAGE, "--query is missing");
		return cli_fail(error);
	}
	path = query_path(cli_value(cli, "query"));
	return cli_show_list(cli, path, device_columns, G_N_ELEMENTS(device_columns));
}

int cmd_group_change(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "groups", "");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "PUT", path, json_pack("{s:s?}", "query", cli_value(cli, "query")), &error);

	return cli_show(cli, reply, error);
}

/* ---- orders ---- */

bool cli_is_order(const struct cli *cli)
{
	return cli_value(cli, "group") || cli_value(cli, "query") || cli_flag(cli, "all") || cli_list(cli, "device");
}

/* When it expires: as in command send. */
static bool set_expiry(const struct cli *cli, json_t *body, GError **error)
{
	const char *expires = cli_value(cli, "expires");
	int64_t seconds = 0;

	if (cli_flag(cli, "fold"))
		return pom_fail(error, POM_ERR_USAGE, "--fold is for one device: an order makes a command of its own for each");
	if (!expires)
		return true;
	if (strcmp(expires, "never") && !cli_parse_time(expires, &seconds, error))
		return false;
	json_object_set_new(body, "expires_in_s", json_integer(seconds));
	return true;
}

/* Who gets it. */
static void set_target(const struct cli *cli, json_t *body)
{
	char *const *devices = cli_list(cli, "device");
	json_t *list = json_array();

	for (size_t i = 0; devices && devices[i]; i++)
		json_array_append_new(list, json_string(devices[i]));
	if (devices)
		json_object_set(body, "devices", list);
	json_decref(list);
	if (cli_value(cli, "group"))
		json_object_set_new(body, "group", json_string(cli_value(cli, "group")));
	if (cli_value(cli, "query"))
		json_object_set_new(body, "query", json_string(cli_value(cli, "query")));
	if (cli_flag(cli, "all"))
		json_object_set_new(body, "all", json_true());
	if (cli_flag(cli, "force"))
		json_object_set_new(body, "force", json_true());
}

int cli_order_send(const struct cli *cli, json_t *command, const char *file)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = json_object();
	json_t *reply;

	set_target(cli, body);
	if (!set_expiry(cli, body, &error)) {
		json_decref(command);
		return cli_fail(error);
	}
	if (file) {
		gsize len = 0;
		g_autofree char *data = cli_read_file(file, &len, &error), *text = data ? g_base64_encode((const guchar *)data, len) : NULL;

		if (!data)
			return cli_fail(error);
		json_object_set_new(body, "plist", json_string(text));
	} else {
		json_object_set_new(body, "command", command);
	}
	reply = cli_call_json(cli, "POST", "/api/v1/orders", json_incref(body), &error);
	return cli_show(cli, reply, error);
}

int cmd_order_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ORDER", "id"}, {"TYPE", "request_type"}, {"FOR", "for"}, {"STATE", "state"}, {"PLANNED", "planned"}, {"SENT", "sent"}, {"SKIPPED", "skipped"}, {"CREATED", "created_at"}};

	return cli_show_list(cli, "/api/v1/orders", columns, G_N_ELEMENTS(columns));
}

static json_int_t count_of(const json_t *order, const char *key)
{
	return json_integer_value(json_object_get(order, key));
}

/* All have been looked at, and all that were sent to have answered. */
static bool is_over(const json_t *order)
{
	const char *state = json_string_value(json_object_get(order, "state"));

	return !strcmp(state, "canceled") || (!strcmp(state, "done") && !count_of(order, "queued"));
}

static void print_progress(const json_t *order)
{
	fprintf(stderr, "%s%s: %" JSON_INTEGER_FORMAT " planned, %" JSON_INTEGER_FORMAT " queued, %" JSON_INTEGER_FORMAT " skipped, %" JSON_INTEGER_FORMAT " answered, %" JSON_INTEGER_FORMAT " failed%s", isatty(STDERR_FILENO) ? "\r\033[K" : "",
	        json_string_value(json_object_get(order, "state")), count_of(order, "planned"), count_of(order, "queued"), count_of(order, "skipped"), count_of(order, "answered"), count_of(order, "failed"),
	        isatty(STDERR_FILENO) ? "" : "\n");
	fflush(stderr);
}

/* Until it is over. */
static json_t *watch(const struct cli *cli, const char *path, GError **error)
{
	g_autofree char *before = NULL;

	for (;;) {
		json_t *order = cli_call(cli, "GET", path, NULL, NULL, error);
		g_autofree char *now = NULL;

		if (!order)
			return NULL;
		now = g_strdup_printf("%s %" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT, json_string_value(json_object_get(order, "state")), count_of(order, "queued"), count_of(order, "skipped"),
		                      count_of(order, "answered"), count_of(order, "failed"));
		if (g_strcmp0(before, now))
			print_progress(order);
		g_free(before);
		before = g_steal_pointer(&now);
		if (is_over(order)) {
			if (isatty(STDERR_FILENO))
				fputc('\n', stderr);
			return order;
		}
		json_decref(order);
		g_usleep(WATCH_MS * 1000);
	}
}

int cmd_order_show(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"DEVICE", "id"}, {"SERIAL", "serial"}, {"STATE", "state"}, {"STATUS", "status"}, {"COMMAND", "command_uuid"}, {"FINISHED", "finished_at"}, {"REASON", "reason"}};
	g_autofree char *path = cli_path(cli, "orders", ""), *state = NULL, *devices = NULL;
	g_autoptr(GError) error = NULL;

	if (!cli_flag(cli, "devices") && !cli_value(cli, "state")) {
		json_t *order = cli_flag(cli, "watch") ? watch(cli, path, &error) : cli_call(cli, "GET", path, NULL, NULL, &error);

		return cli_show(cli, order, error);
	}
	state = g_uri_escape_string(cli_value(cli, "state") ? cli_value(cli, "state") : "", NULL, FALSE);
	devices = g_strdup_printf("%s/devices?state=%s", path, state);
	return cli_show_list(cli, devices, columns, G_N_ELEMENTS(columns));
}

int cmd_order_cancel(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "orders", "");
}

/* ---- the end of enrollments ---- */

int cmd_device_unenroll(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/unenroll");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", path, json_pack("{s:b}", "now", cli_flag(cli, "now")), &error);

	return cli_show(cli, reply, error);
}

int cmd_device_delete(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "devices", cli_flag(cli, "force") ? "?force=true" : "");
}

int cmd_device_block(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/block");
	g_autoptr(GError) error = NULL;
	json_t *body = json_pack("{s:s?, s:s?, s:b}", "reason", cli_value(cli, "reason"), "serial", cli_value(cli, "serial"), "unenroll", cli_flag(cli, "unenroll")), *reply = cli_call_json(cli, "PUT", path, body, &error);

	return cli_show(cli, reply, error);
}

int cmd_device_unblock(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "devices", "/block");
}

int cmd_device_blocked(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"UDID", "udid"}, {"SERIAL", "serial"}, {"BLOCKED", "blocked_at"}, {"BY", "blocked_by"}, {"TOLD TO UN-ENROLL", "told_to_unenroll"}, {"REASON", "reason"}};

	return cli_show_list(cli, "/api/v1/blocked-devices", columns, G_N_ELEMENTS(columns));
}

/* ---- what devices told ---- */

/* How long ago, for people: "3 h ago"; transfer full. */
static char *age_of(const char *time)
{
	g_autoptr(GDateTime) then = time ? g_date_time_new_from_iso8601(time, NULL) : NULL, now = g_date_time_new_now_utc();
	gint64 minutes = then ? g_date_time_difference(now, then) / G_TIME_SPAN_MINUTE : 0;

	if (!then)
		return g_strdup("?");
	if (minutes < 1)
		return g_strdup("just now");
	return minutes < 120 ? g_strdup_printf("%" G_GINT64_FORMAT " min ago", minutes) : minutes < 48 * 60 ? g_strdup_printf("%" G_GINT64_FORMAT " h ago", minutes / 60) : g_strdup_printf("%" G_GINT64_FORMAT " days ago", minutes / (24 * 60));
}

/* The facts with their age in one line each; what is only about their form goes. */
static void tell_facts(json_t *device)
{
	json_t *facts = json_object_get(device, "facts"), *times = json_object_get(device, "facts_learnt_at"), *lists = json_object_get(device, "lists"), *told = json_object(), *value, *item;
	const char *name;
	size_t i;

	json_object_foreach(facts, name, value) {
		char *text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		g_autofree char *age = age_of(json_string_value(json_object_get(times, name))), *line = g_strdup_printf("%s (%s)", text, age);

		json_object_set_new(told, name, json_string(line));
		free(text);
	}
	json_array_foreach(lists, i, item) {
		g_autofree char *age = age_of(json_string_value(json_object_get(item, "learnt_at"))), *line = g_strdup_printf("%" JSON_INTEGER_FORMAT " entries (%s)", count_of(item, "items"), age);

		json_object_set_new(told, json_string_value(json_object_get(item, "name")), json_string(line));
	}
	json_object_del(device, "facts_learnt_at");
	json_object_del(device, "lists");
	json_object_set_new(device, "facts", told);
}

int cmd_device_show(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "");
	g_autoptr(GError) error = NULL;
	json_t *device = cli_call(cli, "GET", path, NULL, NULL, &error);

	if (device && !cli_flag(cli, "json"))
		tell_facts(device);
	return cli_show(cli, device, error);
}

static int show_list(const struct cli *cli, const char *list, const struct cli_column *columns, size_t n)
{
	g_autofree char *tail = g_strconcat("/lists/", list, NULL), *path = cli_path(cli, "devices", tail);
	g_autofree char *one = g_strconcat(path, "?limit=1", NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) head = NULL;

	if (cli_flag(cli, "json"))
		return cli_show_list(cli, path, columns, n);
	head = cli_call(cli, "GET", one, NULL, NULL, &error);
	if (!head)
		return cli_fail(error);
	g_autofree char *age = age_of(json_string_value(json_object_get(head, "learnt_at")));
	fprintf(stderr, "pomona: the device told this %s\n", age);
	if (count_of(head, "left_out"))
		fprintf(stderr, "pomona: %" JSON_INTEGER_FORMAT " entries were left out, because there were too many\n", count_of(head, "left_out"));
	return cli_show_list(cli, path, columns, n);
}

int cmd_device_apps(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "Name"}, {"IDENTIFIER", "Identifier"}, {"VERSION", "ShortVersion"}, {"BUILD", "Version"}, {"SIZE", "BundleSize"}};
	static const struct cli_column managed[] = {{"IDENTIFIER", "name"}, {"STATUS", "Status"}, {"FLAGS", "ManagementFlags"}, {"CONFIGURED", "HasConfiguration"}};

	return cli_flag(cli, "managed") ? show_list(cli, "managed-apps", managed, G_N_ELEMENTS(managed)) : show_list(cli, "apps", columns, G_N_ELEMENTS(columns));
}

int cmd_device_certificates(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"COMMON NAME", "CommonName"}, {"IDENTITY", "IsIdentity"}, {"UNTIL", "not_after"}, {"SERIAL", "serial"}, {"ISSUER", "issuer"}};

	return show_list(cli, "certificates", columns, G_N_ELEMENTS(columns));
}

int cli_device_installed(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"IDENTIFIER", "PayloadIdentifier"}, {"NAME", "PayloadDisplayName"}, {"ORGANIZATION", "PayloadOrganization"}, {"MANAGED", "IsManaged"}, {"UUID", "PayloadUUID"}};

	return show_list(cli, "profiles", columns, G_N_ELEMENTS(columns));
}

/* Any of them, as it was told. */
int cmd_device_told(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"ENTRIES", "items"}, {"LEFT OUT", "left_out"}, {"LEARNT", "learnt_at"}};
	g_autofree char *path = cli_path(cli, "devices", "/lists"), *escaped = NULL, *list = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) items = NULL;

	if (cli->n_args == 1)
		return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
	escaped = g_uri_escape_string(cli->args[1], NULL, FALSE);
	list = g_strdup_printf("%s/%s", path, escaped);
	items = cli_call_all(cli, list, &error);
	if (!items)
		return cli_fail(error);
	cli_print_json(items);
	return CLI_OK;
}
