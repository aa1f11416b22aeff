/* command send, list, show, cancel: the queue. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/command_table.h"

/* ---- values, of the type that the catalog tells ---- */

/* The text behind "KEY=": as typed, or what the file behind @ holds, without the newline at its end unless WHOLE. transfer full. */
static char *read_value(const char *text, bool whole, gsize *ret_len, GError **error)
{
	char *read;

	if (*text != '@') {
		*ret_len = strlen(text);
		return g_strdup(text);
	}
	read = cli_read_file(text + 1, ret_len, error);
	while (read && !whole && *ret_len && (read[*ret_len - 1] == '\n' || read[*ret_len - 1] == '\r'))
		read[--*ret_len] = '\0';
	return read;
}

static json_t *parse_data(const char *key, const char *typed, const char *text, gsize len, GError **error)
{
	g_autofree char *base64 = NULL;
	g_autofree guchar *bytes = NULL;
	gsize n = 0;

	if (*typed == '@') {
		base64 = g_base64_encode((const guchar *)text, len);
		return json_pack("{s:s}", "$data", base64);
	}
	if (*text == '{')
		return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	bytes = g_base64_decode(text, &n);
	base64 = g_base64_encode(bytes, n);
	if (!strcmp(base64, text))
		return json_pack("{s:s}", "$data", text);
	pom_fail(error, POM_ERR_USAGE, "%s is data: give its base64, or %s=@FILE", key, key);
	return NULL;
}

static json_t *parse_json(const char *key, const char *what, const char *text, GError **error)
{
	json_error_t where;
	json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);

	/* Not the text itself: it may be secret. */
	if (!value)
		pom_fail(error, POM_ERR_USAGE, "%s must be %s, written as JSON (line %d, column %d)", key, what, where.line, where.column);
	return value;
}

static json_t *parse_typed(const struct command_key *key, const char *typed, GError **error)
{
	gsize len = 0;
	g_autofree char *text = read_value(typed, key->type == PLIST_DATA, &len, error);
	json_t *value;

	if (!text)
		return NULL;
	switch (key->type) {
	case PLIST_STRING:
		value = json_stringn(text, len);
		if (!value)
			pom_fail(error, POM_ERR_USAGE, "%s is not UTF-8 text", key->name);
		break;
	case PLIST_DATA:
		value = parse_data(key->name, typed, text, len, error);
		break;
	case PLIST_DATE:
		value = *text == '{' ? parse_json(key->name, "a date", text, error) : json_pack("{s:s}", "$date", text);
		break;
	default:
		value = parse_json(key->name, command_type_text(key->type), text, error);
	}
	explicit_bzero(text, len);
	return value;
}

/* FIRST is where the RequestType is: behind the device, which an order has not. */
static json_t *parse_command(const struct cli *cli, int first, GError **error)
{
	const char *request_type = first < cli->n_args ? cli->args[first] : NULL;
	g_autoptr(json_t) command = request_type ? json_pack("{s:s}", "RequestType", request_type) : NULL;
	const struct command_type *type = request_type ? command_type_find(request_type) : NULL;

	if (!request_type) {
		pom_fail(error, POM_ERR_USAGE, "the RequestType is missing");
		return NULL;
	}
	for (int i = first + 1; i < cli->n_args; i++) {
		const char *equals = strchr(cli->args[i], '=');
		g_autofree char *name = equals ? g_strndup(cli->args[i], (gsize)(equals - cli->args[i])) : NULL;
		const struct command_key *key = name && type ? command_key_find(type->keys[COMMAND_REQUEST].first, type->keys[COMMAND_REQUEST].n, name) : NULL;
		json_t *value;

		if (!name || !*name) {
			pom_fail(error, POM_ERR_USAGE, "\"%s\" is not Key=value", cli->args[i]);
			return NULL;
		}
		value = key && key->type != COMMAND_TYPE_ANY ? parse_typed(key, equals + 1, error) : cli_parse_value(name, equals + 1, error);
		if (!value)
			return NULL;
		json_object_set_new(command, name, value);
	}
	return g_steal_pointer(&command);
}

/* ---- verbs ---- */

/* "?force=true&fold=true&expires_in_s=7200"; NULL with ERROR. transfer full. */
static char *query_of(const struct cli *cli, GError **error)
{
	const char *expires = cli_value(cli, "expires");
	GString *query = g_string_new("/commands");
	int64_t seconds = 0;

	if (expires && strcmp(expires, "never") && !cli_parse_time(expires, &seconds, error)) {
		g_string_free(query, TRUE);
		return NULL;
	}
	g_string_append_printf(query, "?force=%s&fold=%s", cli_flag(cli, "force") ? "true" : "false", cli_flag(cli, "fold") ? "true" : "false");
	if (expires)
		g_string_append_printf(query, "&expires_in_s=%" G_GINT64_FORMAT, seconds);
	return g_string_free(query, FALSE);
}

static int send_order(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	const char *file = cli_value(cli, "plist");
	json_t *command = file ? NULL : parse_command(cli, 0, &error);

	return file || command ? cli_order_send(cli, command, file) : cli_fail(error);
}

int cmd_command_send(const struct cli *cli)
{
	if (cli_is_order(cli))
		return send_order(cli);
	if (!cli->n_args) {
		fprintf(stderr, "pomona: name a device, or give --group, --query, --device or --all\n");
		return CLI_USAGE;
	}
	g_autoptr(GError) error = NULL;
	g_autofree char *query = query_of(cli, &error), *path = query ? cli_path(cli, "devices", query) : NULL;
	const char *file = cli_value(cli, "plist");
	json_t *command, *reply = NULL;

	if (!path)
		return cli_fail(error);
	if (file) {
		gsize len = 0;
		char *text = cli_read_file(file, &len, &error);
		g_autoptr(GBytes) body = text ? g_bytes_new_take(text, len) : NULL;

		reply = body ? cli_call(cli, "POST", path, "application/xml", body, &error) : NULL;
	} else {
		command = parse_command(cli, 1, &error);
		reply = command ? cli_call_json(cli, "POST", path, command, &error) : NULL;
	}
	return cli_show(cli, reply, error);
}

int cmd_command_list(const struct cli *cli)
{
	static const struct cli_column pending[] = {{"COMMAND", "command_uuid"}, {"TYPE", "request_type"}, {"STATUS", "status"}, {"CREATED", "created_at"}, {"DELIVERED", "delivered_at"},
	                                            {"NOT NOW", "not_now_count"}, {"NEXT PUSH", "next_push_at"}, {"EXPIRES", "expires_at"}};
	static const struct cli_column done[] = {{"COMMAND", "command_uuid"}, {"TYPE", "request_type"}, {"STATUS", "status"}, {"CREATED", "created_at"}, {"FINISHED", "finished_at"}};
	bool is_done = cli_flag(cli, "done");
	g_autofree char *path = cli_path(cli, "devices", is_done ? "/commands?state=done" : "/commands?state=pending");

	return cli_show_list(cli, path, is_done ? done : pending, is_done ? G_N_ELEMENTS(done) : G_N_ELEMENTS(pending));
}

static void print_chain(const char *path, const json_t *chain)
{
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)chain, i, item) {
		const char *domain = json_string_value(json_object_get(item, "domain")), *text = json_string_value(json_object_get(item, "text")), *explanation = json_string_value(json_object_get(item, "explanation"));

		printf("%s%s%s%s %" JSON_INTEGER_FORMAT ": %s\n", i ? "  because of " : "error ", path, *path ? " " : "", domain ? domain : "(no domain)", json_integer_value(json_object_get(item, "code")), text ? text : "-");
		if (explanation)
			printf("      %s\n", explanation);
	}
}

/* What is short first, then what went wrong, then what was asked and answered. */
static void print_command(json_t *reply)
{
	g_autoptr(json_t) chain = json_incref(json_object_get(reply, "error_chain")), errors = json_incref(json_object_get(reply, "errors"));
	const json_t *part;
	size_t i;

	json_object_del(reply, "error_chain");
	json_object_del(reply, "errors");
	for (const char *const *key = (const char *const[]){"explanation", "command", "result", NULL}; *key; key++)
		if (json_is_null(json_object_get(reply, *key)))
			json_object_del(reply, *key);
	print_chain("", chain);
	json_array_foreach(errors, i, part) {
		const char *path = json_string_value(json_object_get(part, "path")), *status = json_string_value(json_object_get(part, "status"));

		if (!json_array_size(json_object_get(part, "error_chain")))
			printf("error %s %s\n", path, status ? status : "");
		print_chain(path, json_object_get(part, "error_chain"));
	}
	cli_print_object(reply);
}

int cmd_command_show(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "commands", cli_flag(cli, "secrets") ? "?secrets=true" : "");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "GET", path, NULL, NULL, &error);

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(reply);
	else
		print_command(reply);
	return CLI_OK;
}

int cmd_command_cancel(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "commands", "");
}
