/* Verbs for the library of profiles, groups, attributes and facts of devices. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

static void set_option(const struct cli *cli, json_t *body, const char *name)
{
	if (cli_value(cli, name))
		json_object_set_new(body, name, json_string(cli_value(cli, name)));
}

/* {"file": base64} of FILE and the options of profile add; transfer full. */
static json_t *upload_body(const struct cli *cli, const char *file, GError **error)
{
	static const char *const options[] = {"name", "sign", "encrypt", "variables"};
	gsize len = 0;
	g_autofree char *data = cli_read_file(file, &len, error), *text = NULL, *key = NULL;
	json_t *body;

	if (!data)
		return NULL;
	text = g_base64_encode((const guchar *)data, len);
	explicit_bzero(data, len);
	if (cli_value(cli, "key") && !(key = cli_read_file(cli_value(cli, "key"), &len, error)))
		return NULL;
	body = json_pack("{s:s}", "file", text);
	for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
		set_option(cli, body, options[i]);
	if (key) {
		json_object_set_new(body, "key", json_string(key));
		explicit_bzero(key, len);
	}
	return body;
}

int cmd_profile_add(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *body = upload_body(cli, cli->args[0], &error), *reply = body ? cli_call_json(cli, "POST", "/api/v1/profiles", body, &error) : NULL;

	return cli_show(cli, reply, error);
}

int cmd_profile_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"VERSION", "version"}, {"IDENTIFIER", "identifier"}, {"DISPLAY NAME", "display_name"}, {"ENCRYPT", "encrypt"}, {"UPDATED", "updated_at"}};

	return cli_show_list(cli, "/api/v1/profiles", columns, G_N_ELEMENTS(columns));
}

int cmd_profile_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "profiles", "");
}

int cmd_profile_versions(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"VERSION", "version"}, {"SIZE", "size"}, {"SIGNED", "signed"}, {"ENCRYPT", "encrypt"}, {"VARIABLES", "variables"}, {"ADDED BY", "added_by"}, {"ADDED", "created_at"},
	                                            {"SHA-256", "sha256"}};
	g_autofree char *path = cli_path(cli, "profiles", "/versions");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

int cmd_profile_get(const struct cli *cli)
{
	const char *version = cli_value(cli, "version") ? cli_value(cli, "version") : "newest";
	g_autofree char *escaped = g_uri_escape_string(version, NULL, FALSE), *tail = g_strconcat("/versions/", escaped, NULL), *path = cli_path(cli, "profiles", tail);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = cli_call(cli, "GET", path, NULL, NULL, &error);
	g_autoptr(GBytes) file = NULL;
	guchar *data;
	gsize len;

	if (!reply)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(reply);
		return CLI_OK;
	}
	data = g_base64_decode(json_string_value(json_object_get(reply, "file")), &len);
	file = g_bytes_new_take(data, len);
	return cli_write_profile(cli, file, error);
}

int cmd_profile_remove(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "profiles", cli_flag(cli, "force") ? "?force=true" : "");
}

static json_t *texts_of(char *const *list)
{
	json_t *texts = json_array();

	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(texts, json_string(list[i]));
	return texts;
}

static int assign(const struct cli *cli, const char *tail)
{
	g_autofree char *path = cli_path(cli, "profiles", tail);
	g_autoptr(GError) error = NULL;
	json_t *body = json_pack("{s:o, s:o}", "devices", texts_of(cli_list(cli, "device")), "groups", texts_of(cli_list(cli, "group")));
	json_t *reply = cli_call_json(cli, "POST", path, body, &error);

	return cli_show(cli, reply, error);
}

int cmd_profile_assign(const struct cli *cli)
{
	return assign(cli, "/assign");
}

int cmd_profile_unassign(const struct cli *cli)
{
	return assign(cli, "/unassign");
}

static const struct cli_column state_columns[] = {{"DEVICE", "id"}, {"SERIAL", "serial"}, {"PROFILE", "profile"}, {"STATE", "state"}, {"VERSION", "version"}, {"SINCE", "since"}, {"DEADLINE", "deadline"}, {"REASON", "reason"}};

int cmd_profile_status(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "profiles", "/devices"), *show = cli_path(cli, "profiles", "");
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) profile = cli_call(cli, "GET", show, NULL, NULL, &error);
	json_int_t left = json_integer_value(json_object_get(profile, "to_look_at"));

	if (!profile)
		return cli_fail(error);
	if (left)
		fprintf(stderr, "pomona: %" JSON_INTEGER_FORMAT " devices are still to be looked at\n", left);
	return cli_show_list(cli, path, state_columns, G_N_ELEMENTS(state_columns));
}

int cmd_profile_resend(const struct cli *cli)
{
	g_autofree char *escaped = g_uri_escape_string(cli->args[1], NULL, FALSE), *tail = g_strdup_printf("/devices/%s/resend", escaped);

	return cli_call_one(cli, "POST", "profiles", tail);
}

/* The name of what is in the library, adding a file first; transfer full. */
static char *name_or_file(const struct cli *cli, GError **error)
{
	json_t *body;
	g_autoptr(json_t) reply = NULL;

	if (!g_file_test(cli->args[0], G_FILE_TEST_IS_REGULAR))
		return g_strdup(cli->args[0]);
	body = upload_body(cli, cli->args[0], error);
	reply = body ? cli_call_json(cli, "POST", "/api/v1/profiles", body, error) : NULL;
	return reply ? g_strdup(json_string_value(json_object_get(reply, "name"))) : NULL;
}

int cmd_profile_install(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = name_or_file(cli, &error), *escaped = NULL, *path = NULL;
	json_t *reply;

	if (!name)
		return cli_fail(error);
	escaped = g_uri_escape_string(name, NULL, FALSE);
	path = g_strdup_printf("/api/v1/profiles/%s/assign", escaped);
	reply = cli_call_json(cli, "POST", path, json_pack("{s:o}", "devices", texts_of(cli->args + 1)), &error);
	return cli_show(cli, reply, error);
}

int cmd_device_profiles(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/profiles");

	if (cli_flag(cli, "installed"))
		return cli_device_installed(cli);
	return cli_show_list(cli, path, state_columns + 2, G_N_ELEMENTS(state_columns) - 2);
}

int cmd_device_facts(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"VALUE", "value"}, {"LEARNT", "learnt_at"}};
	g_autofree char *path = cli_path(cli, "devices", "/facts");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

/* "key=value", the value from a file for "key=@FILE". */
static json_t *attributes_of(const struct cli *cli, GError **error)
{
	g_autoptr(json_t) set = json_object();

	for (int i = 1; i < cli->n_args; i++) {
		const char *equals = strchr(cli->args[i], '=');
		g_autofree char *key = equals ? g_strndup(cli->args[i], (gsize)(equals - cli->args[i])) : NULL, *text = NULL;
		gsize len;

		if (!key || !*key) {
			pom_fail(error, POM_ERR_USAGE, "\"%s\" is not key=value", cli->args[i]);
			return NULL;
		}
		text = equals[1] == '@' ? cli_read_file(equals + 2, &len, error) : g_strdup(equals + 1);
		if (!text)
			return NULL;
		/* The end of the file's last line is not meant. */
		for (size_t n = strlen(text); equals[1] == '@' && n && (text[n - 1] == '\n' || text[n - 1] == '\r'); n--)
			text[n - 1] = '\0';
		if (!g_utf8_validate(text, -1, NULL)) {
			pom_fail(error, POM_ERR_USAGE, "the value of %s is not UTF-8", key);
			return NULL;
		}
		json_object_set_new(set, key, json_string(text));
	}
	return g_steal_pointer(&set);
}

int cmd_device_set(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/attributes");
	g_autoptr(GError) error = NULL;
	json_t *set = attributes_of(cli, &error), *reply = set ? cli_call_json(cli, "POST", path, json_pack("{s:o}", "set", set), &error) : NULL;

	return cli_show(cli, reply, error);
}

int cmd_device_unset(const struct cli *cli)
{
	g_autofree char *path = cli_path(cli, "devices", "/attributes");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", path, json_pack("{s:o}", "unset", texts_of(cli->args + 1)), &error);

	return cli_show(cli, reply, error);
}

int cmd_group_create(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", "/api/v1/groups", json_pack("{s:s, s:s?}", "name", cli->args[0], "query", cli_value(cli, "query")), &error);

	return cli_show(cli, reply, error);
}

int cmd_group_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"NAME", "name"}, {"MEMBERS", "members"}, {"CREATED", "created_at"}, {"QUERY", "query"}};

	return cli_show_list(cli, "/api/v1/groups", columns, G_N_ELEMENTS(columns));
}

int cmd_group_show(const struct cli *cli)
{
	return cli_call_one(cli, "GET", "groups", "");
}

int cmd_group_members(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"UDID", "udid"}, {"SERIAL", "serial"}, {"NAME", "name"}, {"ADDED", "added_at"}, {"LAST SEEN", "last_seen"}};
	g_autofree char *path = cli_path(cli, "groups", "/members");

	return cli_show_list(cli, path, columns, G_N_ELEMENTS(columns));
}

static int change_members(const struct cli *cli, const char *how)
{
	g_autofree char *path = cli_path(cli, "groups", "/members");
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call_json(cli, "POST", path, json_pack("{s:o}", how, texts_of(cli->args + 1)), &error);

	return cli_show(cli, reply, error);
}

int cmd_group_add(const struct cli *cli)
{
	return change_members(cli, "add");
}

int cmd_group_remove(const struct cli *cli)
{
	return change_members(cli, "remove");
}

int cmd_group_delete(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "groups", cli_flag(cli, "force") ? "?force=true" : "");
}
