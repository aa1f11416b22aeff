/* Verbs for declarations, sets, and what devices report of them. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "core/declaration_lint.h"

static void set_option(const struct cli *cli, json_t *body, const char *option, const char *key)
{
	if (cli_value(cli, option))
		json_object_set_new(body, key, json_string(cli_value(cli, option)));
}

/* {"declaration": …} of TEXT (NULL: none, with ERROR set), with the options; transfer full. */
static json_t *upload_body(const struct cli *cli, const char *text, gsize len, GError **error)
{
	gsize data_len = 0;
	g_autofree char *data = NULL, *encoded = NULL;
	json_t *declaration = text ? json_parse(text, len, error) : NULL, *body;

	if (!declaration) {
		if (text)
			g_prefix_error(error, "%s: ", cli->args[0]);
		return NULL;
	}
	body = json_pack("{s:o}", "declaration", declaration);
	set_option(cli, body, "content-type", "content_type");
	if (cli_flag(cli, "force"))
		json_object_set_new(body, "force", json_true());
	if (!cli_value(cli, "content"))
		return body;
	data = cli_read_file(cli_value(cli, "content"), &data_len, error);
	if (!data) {
		json_decref(body);
		return NULL;
	}
	encoded = g_base64_encode((const guchar *)data, data_len);
	explicit_bzero(data, data_len);
	json_object_set_new(body, "data", json_string(encoded));
	explicit_bzero(encoded, strlen(encoded));
	return body;
}

int cmd_declaration_add(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	gsize len = 0;
	g_autofree char *text = cli_read_file(cli->args[0], &len, &error);
	json_t *body = upload_body(cli, text, len, &error), *reply = body ? cli_call_json(cli, "POST", "/api/v1/declarations", body, &error) : NULL;

	return cli_show(cli, reply, error);
}

/* What the server knows besides: what the declaration names, and its data. */
static bool ask_server(const struct cli *cli, const char *text, gsize len, struct lint_report *report, GError **error)
{
	json_t *body = upload_body(cli, text, len, error);
	g_autoptr(json_t) reply = body ? cli_call_json(cli, "POST", "/api/v1/declaration-lint", body, error) : NULL;
	g_autoptr(finding_report) found = reply ? finding_report_parse(reply, error) : NULL;

	for (guint i = 0; found && i < found->findings->len; i++) {
		const struct finding *f = found->findings->pdata[i];

		if (!finding_report_has(report->found, f->rule, f->path, f->text))
			finding_add(report->found, f->rule, f->severity, f->systems, f->path, f->line, f->mend, "%s", f->text);
	}
	return found != NULL;
}

/* As "pomona lint", and then the server is asked about a declaration that is one. */
int cmd_declaration_lint(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	gsize len = 0;
	g_autofree char *text = cli_read_file(cli->args[0], &len, &error);
	g_autoptr(lint_report) report = text ? declaration_lint(cli->args[0], text, len) : NULL;
	g_autoptr(GPtrArray) reports = g_ptr_array_new();
	g_auto(declaration_auto) one = {0};

	if (!report || (declaration_parse(text, len, &one, NULL) && !ask_server(cli, text, len, report, &error)))
		return cli_fail(error);
	g_ptr_array_add(reports, report);
	return cli_show_lint(cli, reports);
}

int cmd_declaration_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"IDENTIFIER", "identifier"}, {"TYPE", "type"}, {"PROFILE", "profile"}, {"DATA", "has_data"}, {"UPDATED", "updated_at"}};

	return cli_show_list(cli, "/api/v1/declarations", columns, G_N_ELEMENTS(columns));
}

int cmd_declaration_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "declarations", "");
}

int cmd_declaration_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "declarations", cli_flag(cli, "force") ? "?force=true" : "");
}

int cmd_declaration_status(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"DEVICE", "id"}, {"SERIAL", "serial"}, {"ACTIVE", "active"}, {"VALID", "valid"}, {"REPORTED", "learnt_at"}, {"REASONS", "reasons"}};
	g_autofree char *path = cli_path(cli, "declarations", "/devices");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

/* ---- sets ---- */

static json_t *texts_of(char *const *list)
{
	json_t *texts = json_array();

	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(texts, json_string(list[i]));
	return texts;
}

int cmd_set_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/sets", json_pack("{s:s}", "name", cli->args[0]), &error);

	return cli_show(cli, reply, error);
}

int cmd_set_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"DECLARATIONS", "members"}, {"UPDATED", "updated_at"}};

	return cli_show_list(cli, "/api/v1/sets", columns, G_N_ELEMENTS(columns));
}

int cmd_set_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "sets", "");
}

int cmd_set_delete(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "sets", cli_flag(cli, "force") ? "?force=true" : "");
}

static int change(const struct cli *cli, const char *how)
{
	g_autofree char *path = cli_path(cli, "sets", "/declarations");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", path, json_pack("{s:o}", how, texts_of(cli->args + 1)), &error);

	return cli_show(cli, reply, error);
}

int cmd_set_add(const struct cli *cli)
{
	return change(cli, "add");
}

int cmd_set_remove(const struct cli *cli)
{
	return change(cli, "remove");
}

static int assign(const struct cli *cli, const char *tail)
{
	g_autofree char *path = cli_path(cli, "sets", tail);
	g_autoptr(GError) error = NULL;
	json_t *body = json_pack("{s:o, s:o, s:o}", "devices", texts_of(cli_list(cli, "device")), "groups", texts_of(cli_list(cli, "group")), "users", texts_of(cli_list(cli, "user"))), *reply;

	set_option(cli, body, "channel", "channel");
	if (cli_flag(cli, "force"))
		json_object_set_new(body, "force", json_true());
	reply = cli_call_json(cli, "POST", path, body, &error);
	return cli_show(cli, reply, error);
}

int cmd_set_assign(const struct cli *cli)
{
	return assign(cli, "/assign");
}

int cmd_set_unassign(const struct cli *cli)
{
	return assign(cli, "/unassign");
}

/* ---- devices ---- */

int cmd_device_declarations(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"IDENTIFIER", "identifier"}, {"KIND", "kind"}, {"LISTED", "listed"}, {"CURRENT", "current"}, {"ACTIVE", "active"}, {"VALID", "valid"}, {"REASONS", "reasons"}};
	g_autofree char *path = cli_path(cli, "devices", "/declarations");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_device_status(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ITEM", "item"}, {"ELEMENT", "element"}, {"VALUE", "value"}, {"REPORTED", "learnt_at"}, {"REASONS", "reasons"}};
	g_autofree char *path = cli_path(cli, "devices", "/status");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_watch_enable(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = json_object(), *reply;
	const char *why;
	gsize len;

	set_option(cli, body, "group", "group");
	if (cli_flag(cli, "force"))
		json_object_set_new(body, "force", json_true());
	if (cli_value(cli, "anchor")) {
		g_autofree char *text = cli_read_file(cli_value(cli, "anchor"), &len, &error);

		if (!text) {
			json_decref(body);
			return cli_fail(error);
		}
		json_object_set_new(body, "anchors", json_string(text));
	}
	reply = cli_call_json(cli, "POST", "/api/v1/watch-enrollment", body, &error);
	if ((why = json_string_value(json_object_get(reply, "unreachable"))))
		fprintf(stderr, "pomona: %s cannot be reached from here (%s): judged was the chain that this server sends itself\n", json_string_value(json_object_get(reply, "url")), why);
	return cli_show(cli, reply, error);
}
