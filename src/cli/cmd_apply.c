/* pomona apply: the files of a directory become a bundle, the server makes a plan of it, and then exactly that is done. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

enum { FILES_MAX = 10000 };

/* Names of the files in a folder, in order; none when it is not there. */
static GPtrArray *files_in(const char *dir, const char *folder, GError **error)
{
	g_autofree char *path = g_build_filename(dir, folder, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) d = NULL;
	const char *name;

	if (!g_file_test(path, G_FILE_TEST_IS_DIR))
		return g_steal_pointer(&names);
	d = g_dir_open(path, 0, NULL);
	if (!d) {
		pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", path, g_strerror(errno));
		return NULL;
	}
	while ((name = g_dir_read_name(d)))
		if (*name != '.' && !g_str_has_prefix(name, "README"))
			g_ptr_array_add(names, g_strdup(name));
	if (names->len > FILES_MAX) {
		pom_fail(error, POM_ERR_LIMIT, "%s has more than %d files", path, FILES_MAX);
		return NULL;
	}
	g_ptr_array_sort(names, (GCompareFunc)(void (*)(void))g_strcmp0);
	return g_steal_pointer(&names);
}

/* A file of DIR/FOLDER, NUL-terminated, transfer full. */
static char *read_in(const char *dir, const char *folder, const char *name, gsize *ret_len, GError **error)
{
	g_autofree char *path = g_build_filename(dir, folder, name, NULL);

	return cli_read_file(path, ret_len, error);
}

static json_t *read_json(const char *dir, const char *folder, const char *name, GError **error)
{
	gsize len;
	g_autofree char *text = read_in(dir, folder, name, &len, error);
	json_t *json = text ? json_parse(text, len, error) : NULL;

	if (text && json && json_is_object(json))
		return json;
	if (json)
		pom_fail(error, POM_ERR_APPLY, "must be a JSON object");
	if (text)
		g_prefix_error(error, "%s/%s: ", folder, name);
	json_decref(json);
	return NULL;
}

static bool add_content(json_t *spec, const char *key, const char *dir, const char *folder, const char *name, GError **error)
{
	gsize len;
	g_autofree char *data = read_in(dir, folder, name, &len, error), *text = data ? g_base64_encode((const guchar *)data, len) : NULL;

	if (!text)
		return false;
	json_object_set_new(spec, key, json_string(text));
	explicit_bzero(data, len);
	explicit_bzero(text, strlen(text));
	return true;
}

/* The name without ENDING, transfer full; NULL: it has another. */
static char *stem(const char *name, const char *ending)
{
	return g_str_has_suffix(name, ending) ? g_strndup(name, strlen(name) - strlen(ending)) : NULL;
}

static bool has_file(const GPtrArray *names, const char *wanted)
{
	for (guint i = 0; i < names->len; i++)
		if (!strcmp(g_ptr_array_index(names, i), wanted))
			return true;
	return false;
}

/* ENDINGS are all that may stand there: a misspelled one would be silently left out. */
static bool check_endings(const GPtrArray *names, const char *folder, const char *first, const char *second, GError **error)
{
	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		g_autofree char *a = stem(name, first), *b = second ? stem(name, second) : NULL, *partner = b ? g_strconcat(b, first, NULL) : NULL;

		if (!a && !b)
			return pom_fail(error, POM_ERR_APPLY, "%s/%s: only files that end in %s%s%s belong here", folder, name, first, second ? " and " : "", second ? second : "");
		if (b && !has_file(names, partner))
			return pom_fail(error, POM_ERR_APPLY, "%s/%s: there is no %s beside it", folder, name, partner);
	}
	return true;
}

static json_t *read_declarations(const struct cli *cli, const char *dir, GError **error)
{
	static const char folder[] = "declarations";
	g_autoptr(GPtrArray) names = files_in(dir, folder, error);
	g_autoptr(json_t) list = json_array();

	if (!names || !check_endings(names, folder, ".json", ".content", error))
		return NULL;
	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		g_autofree char *base = stem(name, ".json"), *content = base ? g_strconcat(base, ".content", NULL) : NULL;
		json_t *declaration = base ? read_json(dir, folder, name, error) : NULL, *spec;

		if (!base)
			continue;
		if (!declaration)
			return NULL;
		spec = json_pack("{s:o, s:b}", "declaration", declaration, "force", cli_flag(cli, "force"));
		json_array_append_new(list, spec);
		if (has_file(names, content) && !add_content(spec, "content", dir, folder, content, error))
			return NULL;
	}
	return g_steal_pointer(&list);
}

static json_t *read_profiles(const char *dir, GError **error)
{
	static const char folder[] = "profiles";
	g_autoptr(GPtrArray) names = files_in(dir, folder, error);
	g_autoptr(json_t) list = json_array();

	if (!names || !check_endings(names, folder, ".mobileconfig", ".json", error))
		return NULL;
	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		g_autofree char *base = stem(name, ".mobileconfig"), *beside = base ? g_strconcat(base, ".json", NULL) : NULL;
		json_t *spec;

		if (!base)
			continue;
		spec = has_file(names, beside) ? read_json(dir, folder, beside, error) : json_object();
		if (!spec)
			return NULL;
		json_array_append_new(list, spec);
		json_object_set_new(spec, "name", json_string(base));
		if (!add_content(spec, "file", dir, folder, name, error))
			return NULL;
	}
	return g_steal_pointer(&list);
}

/* Sets and groups: their name is the file's. */
static json_t *read_named(const char *dir, const char *folder, const char *const *keys, GError **error)
{
	g_autoptr(GPtrArray) names = files_in(dir, folder, error);
	g_autoptr(json_t) list = json_array();

	if (!names || !check_endings(names, folder, ".json", NULL, error))
		return NULL;
	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i), *key;
		g_autofree char *base = stem(name, ".json");
		json_t *spec = read_json(dir, folder, name, error), *value;

		if (!spec)
			return NULL;
		json_array_append_new(list, spec);
		json_object_foreach(spec, key, value)
			if (!g_strv_contains(keys, key)) {
				pom_fail(error, POM_ERR_APPLY, "%s/%s: there is no key \"%.64s\"", folder, name, key);
				return NULL;
			}
		json_object_set_new(spec, "name", json_string(base));
	}
	return g_steal_pointer(&list);
}

static json_t *read_bundle(const struct cli *cli, GError **error)
{
	static const char *const set_keys[] = {"declarations", "groups", "devices", "users", "channel", NULL}, *const group_keys[] = {"members", NULL};
	const char *dir = cli_value(cli, "file");
	json_t *declarations, *profiles = NULL, *sets = NULL, *groups = NULL;

	if (!dir || !g_file_test(dir, G_FILE_TEST_IS_DIR)) {
		pom_fail(error, POM_ERR_USAGE, dir ? "%s is no directory" : "-f DIR is missing", dir);
		return NULL;
	}
	declarations = read_declarations(cli, dir, error);
	profiles = declarations ? read_profiles(dir, error) : NULL;
	sets = profiles ? read_named(dir, "sets", set_keys, error) : NULL;
	groups = sets ? read_named(dir, "groups", group_keys, error) : NULL;
	if (groups)
		return json_pack("{s:o, s:o, s:o, s:o, s:s}", "declarations", declarations, "profiles", profiles, "sets", sets, "groups", groups, "owner", cli_value(cli, "owner") ? cli_value(cli, "owner") : "apply");
	json_decref(declarations);
	json_decref(profiles);
	json_decref(sets);
	return NULL;
}

static void print_plan(const struct cli *cli, const json_t *plan)
{
	static const struct cli_column columns[] = {{"ACTION", "action"}, {"KIND", "kind"}, {"NAME", "name"}};
	const json_t *steps = json_object_get(plan, "plan"), *missing = json_object_get(plan, "missing_devices");

	for (size_t i = 0; i < json_array_size(missing); i++)
		fprintf(stderr, "pomona: device %s is not enrolled, and is left out\n", json_string_value(json_array_get(missing, i)));
	if (cli_flag(cli, "json"))
		return;
	if (json_array_size(steps))
		cli_print_table(steps, columns, G_N_ELEMENTS(columns));
	else
		fprintf(stderr, "pomona: nothing is to be done\n");
}

int cmd_apply(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) bundle = read_bundle(cli, &error), plan = NULL, done = NULL;

	if (!bundle)
		return cli_fail(error);
	json_object_set_new(bundle, "dry_run", json_true());
	plan = cli_call_json(cli, "POST", "/api/v1/apply", json_incref(bundle), &error);
	if (!plan)
		return cli_fail(error);
	print_plan(cli, plan);
	if (!cli_flag(cli, "dry-run") && json_array_size(json_object_get(plan, "plan"))) {
		json_object_set_new(bundle, "dry_run", json_false());
		json_object_set(bundle, "digest", json_object_get(plan, "digest"));
		done = cli_call_json(cli, "POST", "/api/v1/apply", json_incref(bundle), &error);
		if (!done)
			return cli_fail(error);
	}
	if (cli_flag(cli, "json"))
		cli_print_json(done ? done : plan);
	return CLI_OK;
}
