#include "server/settings.h"

#include <arpa/inet.h>
#include <string.h>

const struct setting_row setting_table[SETTING_MAX] = {
#define X(name, section, key, kind, value, text) [name] = {section, key, SETTING_KIND_##kind, value, text},
	SETTINGS_TABLE(X)
#undef X
};

void settings_init(struct settings *settings)
{
	for (int i = 0; i < SETTING_MAX; i++)
		settings->values[i] = g_strdup(setting_table[i].value);
}

void settings_clear(struct settings *settings)
{
	for (int i = 0; i < SETTING_MAX; i++)
		g_clear_pointer(&settings->values[i], g_free);
}

static bool check_value(const struct setting_row *row, const char *value, GError **error)
{
	char *end;

	if (row->kind == SETTING_KIND_BOOL && strcmp(value, "true") && strcmp(value, "false"))
		return pom_fail(error, POM_ERR_CONFIG, "%s.%s must be true or false, not \"%s\"", row->section, row->key, value);
	if (row->kind != SETTING_KIND_INT)
		return true;
	(void)!g_ascii_strtoll(value, &end, 10);
	if (!*value || *end)
		return pom_fail(error, POM_ERR_CONFIG, "%s.%s must be a whole number, not \"%s\"", row->section, row->key, value);
	return true;
}

bool settings_set_value(struct settings *settings, enum setting setting, const char *value, GError **error)
{
	if (!check_value(&setting_table[setting], value, error))
		return false;
	g_free(settings->values[setting]);
	settings->values[setting] = g_strdup(value);
	return true;
}

static int find(const char *section, const char *key)
{
	for (int i = 0; i < SETTING_MAX; i++)
		if (!strcmp(setting_table[i].section, section) && !strcmp(setting_table[i].key, key))
			return i;
	return -1;
}

bool settings_set(struct settings *settings, const char *assignment, GError **error)
{
	const char *equals = strchr(assignment, '='), *dot = strchr(assignment, '.');
	g_autofree char *section = NULL, *key = NULL;
	int setting;

	if (!equals || !dot || dot > equals)
		return pom_fail(error, POM_ERR_USAGE, "\"%s\" is not section.key=value", assignment);
	section = g_strndup(assignment, (gsize)(dot - assignment));
	key = g_strndup(dot + 1, (gsize)(equals - dot - 1));
	setting = find(section, key);
	if (setting < 0)
		return pom_fail(error, POM_ERR_CONFIG, "there is no setting %s.%s", section, key);
	return settings_set_value(settings, (enum setting)setting, equals + 1, error);
}

static bool is_section(const char *section)
{
	for (int i = 0; i < SETTING_MAX; i++)
		if (!strcmp(setting_table[i].section, section))
			return true;
	return false;
}

/* The line (from 1) on which KEY of SECTION stands in TEXT, for messages. */
static int find_line(const char *text, const char *section, const char *key)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autofree char *head = g_strdup_printf("[%s]", section);
	bool inside = false;

	for (int i = 0; lines[i]; i++) {
		const char *line = g_strstrip(lines[i]);

		if (*line == '[')
			inside = g_str_has_prefix(line, head);
		if (inside && (!key ? *line == '[' : g_str_has_prefix(line, key) && strchr(" \t=", line[strlen(key)])))
			return i + 1;
	}
	return 0;
}

static bool load_section(struct settings *settings, GKeyFile *file, const char *path, const char *text, const char *section, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, section, NULL, error);

	if (keys && !keys[0] && !is_section(section))
		return pom_fail(error, POM_ERR_CONFIG, "%s:%d: there is no section %s", path, find_line(text, section, NULL), section);
	for (int i = 0; keys && keys[i]; i++) {
		int setting = find(section, keys[i]);
		g_autoptr(GError) unreadable = NULL;
		g_autofree char *value = g_key_file_get_string(file, section, keys[i], &unreadable);

		if (setting < 0)
			return pom_fail(error, POM_ERR_CONFIG, "%s:%d: there is no setting %s.%s", path, find_line(text, section, keys[i]), section, keys[i]);
		if (unreadable)
			return pom_fail(error, POM_ERR_CONFIG, "%s:%d: the value of %s.%s is not readable: a backslash is written twice", path, find_line(text, section, keys[i]), section, keys[i]);
		/* Spaces at the end are not seen by whoever reads the file. */
		if (!settings_set_value(settings, (enum setting)setting, g_strchomp(value), error)) {
			g_prefix_error(error, "%s:%d: ", path, find_line(text, section, keys[i]));
			return false;
		}
	}
	return keys != NULL;
}

bool settings_load_file(struct settings *settings, const char *path, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) inner = NULL;
	g_autofree char *text = NULL;
	g_auto(GStrv) sections = NULL;

	if (!g_file_get_contents(path, &text, NULL, &inner)) {
		if (g_error_matches(inner, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			return true;
		return pom_fail(error, POM_ERR_IO, "%s", inner->message);
	}
	if (!g_key_file_load_from_data(file, text, (gsize)-1, G_KEY_FILE_NONE, &inner))
		return pom_fail(error, POM_ERR_CONFIG, "%s: %s", path, inner->message);
	sections = g_key_file_get_groups(file, NULL);
	for (int i = 0; sections[i]; i++)
		if (!load_section(settings, file, path, text, sections[i], error))
			return false;
	return true;
}

bool settings_load_environment(struct settings *settings, GError **error)
{
	for (int i = 0; i < SETTING_MAX; i++) {
		g_autofree char *name = g_strdup_printf("POMONA_%s_%s", setting_table[i].section, setting_table[i].key);
		g_autofree char *upper = g_ascii_strup(name, -1);
		const char *value = g_getenv(upper);

		if (value && !settings_set_value(settings, (enum setting)i, value, error)) {
			g_prefix_error(error, "environment variable %s: ", upper);
			return false;
		}
	}
	return true;
}

const char *settings_text(const struct settings *settings, enum setting setting)
{
	return *settings->values[setting] ? settings->values[setting] : NULL;
}

bool settings_bool(const struct settings *settings, enum setting setting)
{
	return !strcmp(settings->values[setting], "true");
}

int64_t settings_int(const struct settings *settings, enum setting setting)
{
	return g_ascii_strtoll(settings->values[setting], NULL, 10);
}

char **settings_missing_files(const struct settings *settings)
{
	GPtrArray *lines = g_ptr_array_new();

	for (int i = 0; i < SETTING_MAX; i++) {
		const struct setting_row *row = &setting_table[i];
		const char *value = row->kind == SETTING_KIND_TEXT ? settings_text(settings, (enum setting)i) : NULL;

		if (value && g_path_is_absolute(value) && !g_file_test(value, G_FILE_TEST_EXISTS))
			g_ptr_array_add(lines, g_strdup_printf("%s, which the setting %s.%s names, is not on this machine", value, row->section, row->key));
	}
	g_ptr_array_add(lines, NULL);
	return (char **)g_ptr_array_free(lines, FALSE);
}

/* Labels of letters, digits and inner hyphens (RFC 1123 §2.1), or an IPv4 address. */
static bool is_host_name(const char *host)
{
	g_auto(GStrv) labels = g_strsplit(host, ".", -1);

	for (int i = 0; labels[i]; i++) {
		size_t len = strlen(labels[i]);

		if (len < 1 || len > 63 || labels[i][0] == '-' || labels[i][len - 1] == '-' ||
		    strspn(labels[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != len)
			return false;
	}
	return strlen(host) <= 253;
}

/* As it stands in a certificate: lower case, an IPv6 address in its one short form (RFC 5952). NULL when it is no host. transfer full. */
static char *canonical_host(const char *host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	if (!strchr(host, ':'))
		return is_host_name(host) ? g_ascii_strdown(host, -1) : NULL;
	return inet_pton(AF_INET6, host, &in6) == 1 ? g_strdup(inet_ntop(AF_INET6, &in6, text, sizeof(text))) : NULL;
}

char *settings_check_url(const char *url, GError **error)
{
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);
	g_autofree char *lower = NULL;
	const char *why = NULL;
	const char *host;

	if (!uri || !(host = g_uri_get_host(uri)) || !*host)
		why = "it must look like https://mdm.example.org";
	else if (strcmp(g_uri_get_scheme(uri), "https"))
		why = "it must begin with https:// (Apple devices refuse anything else)";
	else if (g_uri_get_userinfo(uri))
		why = "it must not hold a user name or password";
	else if (*g_uri_get_path(uri) && strcmp(g_uri_get_path(uri), "/"))
		why = "it must not have a path: Pomona answers at the root of the host";
	else if (g_uri_get_query(uri) || g_uri_get_fragment(uri))
		why = "it must not have a query or fragment";
	else if (g_uri_get_port(uri) == 0 || g_uri_get_port(uri) > 65535)
		why = "its port is not a port";
	else if (!(lower = canonical_host(host)))
		why = "its host is neither a host name nor an IP address";
	if (why) {
		pom_fail(error, POM_ERR_USAGE, "the URL \"%s\" cannot be used: %s", url, why);
		return NULL;
	}
	g_autofree char *port = g_uri_get_port(uri) > 0 && g_uri_get_port(uri) != 443 ? g_strdup_printf(":%d", g_uri_get_port(uri)) : g_strdup("");
	return strchr(lower, ':') ? g_strconcat("https://[", lower, "]", port, NULL) : g_strconcat("https://", lower, port, NULL);
}

char *settings_url_host(const char *url, uint16_t *ret_port)
{
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);

	*ret_port = uri && g_uri_get_port(uri) > 0 ? (uint16_t)g_uri_get_port(uri) : 443;
	return g_strdup(uri ? g_uri_get_host(uri) : "");
}
