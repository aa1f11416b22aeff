/* command help: what the catalog tells of commands. Needs no server. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/command_table.h"

typedef void each_key(const struct command_key *key, const char *path, unsigned level, void *data);

/* Every key from FIRST on with its path as in the catalog: "Settings[Bluetooth].Enabled". */
static void walk(unsigned first, unsigned n, const char *above, unsigned level, each_key *each, void *data)
{
	for (unsigned i = first; i < first + n; i++) {
		const struct command_key *key = command_key_at(i);
		bool item = key->flags & COMMAND_KEY_ITEM;
		g_autofree char *path = g_strdup_printf("%s%s%s%s", above, item ? "[" : *above ? "." : "", key->name, item ? "]" : "");

		each(key, path, level, data);
		walk(key->first, key->n, path, level + 1, each, data);
	}
}

static const char *word_of_type(int type)
{
	return type == COMMAND_TYPE_ANY ? "any" : type == COMMAND_TYPE_VALUE ? "value" : plist_type_name((enum plist_type)type);
}

/* ---- JSON ---- */

static void set_version(json_t *o, const char *name, uint32_t version)
{
	char text[VERSION_TEXT_MAX];

	if (version)
		json_object_set_new(o, name, json_string(version_format(version, text)));
}

/* Of a command the systems that know it; of a key those of which its row says something. */
static json_t *json_systems(unsigned systems, bool whole)
{
	json_t *all = json_object();

	for (int p = 0; p < PLATFORM_MAX; p++) {
		const struct command_system *s = &command_systems_of(systems)->of[p];
		bool no = s->flags & COMMAND_SYSTEM_NO;
		json_t *o;

		if (whole ? no : !no && !s->since && !s->deprecated && !s->removed && !s->flags)
			continue;
		o = json_object();
		if (no)
			json_object_set_new(o, "known", json_false());
		set_version(o, "since", s->since);
		set_version(o, "deprecated", s->deprecated);
		set_version(o, "removed", s->removed);
		if (s->flags & COMMAND_SYSTEM_SUPERVISED)
			json_object_set_new(o, "supervised", json_true());
		if (s->flags & COMMAND_SYSTEM_AUTOMATED)
			json_object_set_new(o, "automated_enrollment", json_true());
		json_object_set_new(all, platform_name((enum platform)p), o);
	}
	return all;
}

static json_t *json_words(const char *words)
{
	g_auto(GStrv) list = words ? g_strsplit(words, "|", -1) : NULL;
	json_t *array = json_array();

	for (char **word = list; word && *word; word++)
		json_array_append_new(array, json_string(*word));
	return array;
}

static json_t *json_flags(unsigned flags, unsigned device, unsigned user)
{
	json_t *array = json_array();

	if (flags & device)
		json_array_append_new(array, json_string("device"));
	if (flags & user)
		json_array_append_new(array, json_string("user"));
	return array;
}

static void append_key(const struct command_key *key, const char *path, unsigned level, void *data)
{
	json_t *o = json_pack("{s:s, s:s}", "path", path, "type", word_of_type(key->type));

	if (key->flags & COMMAND_KEY_REQUIRED)
		json_object_set_new(o, "required", json_true());
	if (key->flags & COMMAND_KEY_SECRET)
		json_object_set_new(o, "secret", json_true());
	if (key->default_text)
		json_object_set_new(o, "default", json_string(key->default_text));
	if (key->values)
		json_object_set_new(o, "values", json_words(key->values));
	if (key->limit_text)
		json_object_set_new(o, "limit", json_string(key->limit_text));
	json_object_set_new(o, "systems", json_systems(key->systems, false));
	json_array_append_new(data, o);
}

static json_t *json_keys(const struct command_type *type, enum command_part part)
{
	json_t *array = json_array();

	walk(type->keys[part].first, type->keys[part].n, "", 0, append_key, array);
	return array;
}

static json_t *json_rights(const struct command_type *type)
{
	json_t *o = json_object();

	for (int p = 0; p < PLATFORM_MAX; p++)
		if (type->rights[p])
			json_object_set_new(o, platform_name((enum platform)p), json_integer(type->rights[p]));
	return o;
}

static char *example_of(const struct command_type *type)
{
	const char *example = type->example ? type->example : "";

	if (g_str_has_prefix(example, "--plist "))
		return g_strdup_printf("pomona command send ID %s", example);
	return g_strdup_printf("pomona command send ID %s%s%s", type->name, *example ? " " : "", example);
}

static json_t *json_of_summary(const struct command_type *type)
{
	return json_pack("{s:s, s:s, s:o}", "request_type", type->name, "text", type->text, "systems", type->flags & COMMAND_UNREAD ? json_object() : json_systems(type->systems, true));
}

static json_t *json_of_type(const struct command_type *type)
{
	g_autofree char *example = example_of(type);
	json_t *o = json_of_summary(type), *user = json_array();

	for (int p = 0; p < PLATFORM_MAX; p++)
		if (type->flags & (unsigned)COMMAND_USER_ENROLLMENT << p)
			json_array_append_new(user, json_string(platform_name((enum platform)p)));
	json_object_set_new(o, "example", json_string(example));
	json_object_set_new(o, "mac_channels", json_flags(type->flags, COMMAND_MAC_DEVICE, COMMAND_MAC_USER));
	json_object_set_new(o, "shared_ipad_channels", json_flags(type->flags, COMMAND_SHARED_DEVICE, COMMAND_SHARED_USER));
	json_object_set_new(o, "shared_ipad_only", json_boolean(type->flags & COMMAND_SHARED_ONLY));
	json_object_set_new(o, "user_enrollment", user);
	json_object_set_new(o, "access_rights", json_rights(type));
	json_object_set_new(o, "one_of", json_words(type->any_of));
	json_object_set_new(o, "keys", json_keys(type, COMMAND_REQUEST));
	json_object_set_new(o, "answer", json_keys(type, COMMAND_RESPONSE));
	return o;
}

/* ---- for people ---- */

static void put_word(GString *line, const char *word)
{
	g_string_append_printf(line, "%s%s", line->len ? ", " : "", word);
}

/* "iOS 7.0 (supervised)". */
static char *text_of_system(const struct command_system *s, enum platform platform)
{
	GString *text = g_string_new(platform_name(platform)), *more = g_string_new(NULL);
	char version[VERSION_TEXT_MAX];

	if (s->since)
		g_string_append_printf(text, " %s", version_format(s->since, version));
	if (s->deprecated)
		g_string_append_printf(more, "deprecated in %s", version_format(s->deprecated, version));
	if (s->removed)
		g_string_append_printf(more, "%sremoved in %s", more->len ? ", " : "", version_format(s->removed, version));
	if (s->flags & COMMAND_SYSTEM_SUPERVISED)
		put_word(more, "supervised");
	if (s->flags & COMMAND_SYSTEM_AUTOMATED)
		put_word(more, "automated enrollment");
	if (more->len)
		g_string_append_printf(text, " (%s)", more->str);
	g_string_free(more, TRUE);
	return g_string_free(text, FALSE);
}

/* The systems that know a command. */
static char *text_of_systems(const struct command_type *type)
{
	GString *line = g_string_new(NULL);

	for (int p = 0; p < PLATFORM_MAX; p++) {
		const struct command_system *s = &command_systems_of(type->systems)->of[p];
		g_autofree char *text = text_of_system(s, (enum platform)p);

		if (!(s->flags & COMMAND_SYSTEM_NO) && !(type->flags & COMMAND_UNREAD))
			put_word(line, text);
	}
	return g_string_free(line, FALSE);
}

static bool knows(unsigned systems, int platform)
{
	return !(command_systems_of(systems)->of[platform].flags & COMMAND_SYSTEM_NO);
}

/* What a key's row says of the systems that know the command; "only …" when it rules out all but one or two. */
static void put_key_systems(GString *line, const struct command_type *type, const struct command_key *key)
{
	GString *told = g_string_new(NULL), *left = g_string_new(NULL);
	unsigned n = 0, n_left = 0;

	for (int p = 0; p < PLATFORM_MAX; p++) {
		g_autofree char *text = text_of_system(&command_systems_of(key->systems)->of[p], (enum platform)p);
		g_autofree char *not = g_strdup_printf("not %s", platform_name((enum platform)p));

		if (!knows(type->systems, p))
			continue;
		n++;
		n_left += knows(key->systems, p);
		if (knows(key->systems, p))
			put_word(left, text);
		if (!knows(key->systems, p) || strcmp(text, platform_name((enum platform)p)))
			put_word(told, knows(key->systems, p) ? text : not);
	}
	if (n_left < n && n_left <= 2)
		g_string_append_printf(line, "%sonly %s", line->len ? ", " : "", left->str);
	else if (told->len)
		put_word(line, told->str);
	g_string_free(told, TRUE);
	g_string_free(left, TRUE);
}

static void print_key(const struct command_key *key, const char *path, unsigned level, void *data)
{
	const char *last = strrchr(path, key->flags & COMMAND_KEY_ITEM ? '[' : '.');
	const char *name = !last ? path : key->flags & COMMAND_KEY_ITEM ? last : last + 1;
	g_autofree char *left = g_strdup_printf("%*s%s", (int)level * 2, "", name);
	GString *line = g_string_new(key->type == COMMAND_TYPE_VALUE ? "" : word_of_type(key->type));
	g_autofree char *values = key->values ? g_strdelimit(g_strdup(key->values), "|", ' ') : NULL;

	if (key->flags & COMMAND_KEY_REQUIRED)
		put_word(line, "required");
	if (key->flags & COMMAND_KEY_SECRET)
		put_word(line, "secret");
	if (key->limit_text)
		put_word(line, key->limit_text);
	if (values)
		g_string_append_printf(line, ", one of: %s", values);
	if (key->default_text)
		g_string_append_printf(line, ", default %s", key->default_text);
	put_key_systems(line, data, key);
	if (line->len)
		printf("  %-36s %s\n", left, line->str);
	else
		printf("  %s\n", left);
	g_string_free(line, TRUE);
}

static void print_line(const char *title, const char *text)
{
	if (*text)
		printf("%-17s %s\n", title, text);
}

static char *text_of_channels(const struct command_type *type)
{
	GString *line = g_string_new(NULL);
	unsigned f = type->flags;

	if (f & (COMMAND_MAC_DEVICE | COMMAND_MAC_USER))
		put_word(line, !(f & COMMAND_MAC_USER) ? "the device (Mac)" : f & COMMAND_MAC_DEVICE ? "the device or a user (Mac)" : "a user (Mac)");
	if (f & (COMMAND_SHARED_DEVICE | COMMAND_SHARED_USER))
		put_word(line, !(f & COMMAND_SHARED_USER) ? "the device (Shared iPad)" : f & COMMAND_SHARED_DEVICE ? "the device or a user (Shared iPad)" : "a user (Shared iPad)");
	if (f & COMMAND_SHARED_ONLY)
		put_word(line, "no other iPhone or iPad");
	if (f & COMMAND_SHARED_NO)
		put_word(line, "no Shared iPad");
	return g_string_free(line, FALSE);
}

/* No command needs different rights on different systems: it needs one right, or on some of them none. */
static char *text_of_rights(const struct command_type *type)
{
	GString *systems = g_string_new(NULL), *line = g_string_new(NULL);
	bool everywhere = true;
	int right = 0;

	for (int p = 0; p < PLATFORM_MAX; p++) {
		right |= type->rights[p];
		everywhere &= type->rights[p] || !knows(type->systems, p);
		if (type->rights[p])
			put_word(systems, platform_name((enum platform)p));
	}
	if (right)
		g_string_printf(line, "%d: %s", right, command_right_name(right));
	if (right && !everywhere)
		g_string_append_printf(line, " (%s)", systems->str);
	g_string_free(systems, TRUE);
	return g_string_free(line, FALSE);
}

static char *text_of_user_enrollment(const struct command_type *type)
{
	GString *line = g_string_new(NULL);

	for (int p = 0; p < PLATFORM_MAX; p++)
		if (type->flags & (unsigned)COMMAND_USER_ENROLLMENT << p)
			put_word(line, platform_name((enum platform)p));
	return g_string_free(line->len ? line : g_string_append(line, "no"), FALSE);
}

static void print_type(const struct command_type *type)
{
	g_autofree char *example = example_of(type), *systems = text_of_systems(type), *channels = text_of_channels(type), *rights = text_of_rights(type), *user = text_of_user_enrollment(type);
	g_autofree char *any_of = type->any_of ? g_strdelimit(g_strdup(type->any_of), "|", ' ') : g_strdup("");

	printf("%s\n%s\n\n  %s\n\n", type->name, type->text, example);
	print_line("Systems:", systems);
	print_line("Goes to:", channels);
	print_line("Access right:", rights);
	print_line("User enrollment:", type->flags & COMMAND_UNREAD ? "" : user);
	print_line("One of:", any_of);
	if (type->keys[COMMAND_REQUEST].n)
		printf("\nKeys:\n");
	walk(type->keys[COMMAND_REQUEST].first, type->keys[COMMAND_REQUEST].n, "", 0, print_key, (void *)type);
	if (type->keys[COMMAND_RESPONSE].n)
		printf("\nAnswer:\n");
	walk(type->keys[COMMAND_RESPONSE].first, type->keys[COMMAND_RESPONSE].n, "", 0, print_key, (void *)type);
}

static int list_types(const struct cli *cli)
{
	g_autoptr(json_t) items = json_array();
	const struct command_type *type;

	for (unsigned i = 0; (type = command_type_at(i)); i++) {
		if (!cli_flag(cli, "json"))
			printf("%-32s %s\n", type->name, type->text);
		json_array_append_new(items, json_of_summary(type));
	}
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) list = json_pack("{s:O, s:n}", "items", items, "next");

		cli_print_json(list);
	}
	return CLI_OK;
}

int cmd_command_help(const struct cli *cli)
{
	const char *name = cli->args[0], *nearest;
	const struct command_type *type = command_type_find(name);
	g_autoptr(GError) error = NULL;

	if (!name)
		return list_types(cli);
	if (!type) {
		nearest = command_type_nearest(name);
		pom_fail(&error, POM_ERR_NOT_FOUND, "\"%s\" is no command that is known here%s%s. \"pomona command help\" lists those", name, nearest ? ": did you mean " : "", nearest ? nearest : "");
		return cli_fail(error);
	}
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) o = json_of_type(type);

		cli_print_json(o);
	} else {
		print_type(type);
	}
	return CLI_OK;
}
