#include "server/shared_settings.h"

#include <string.h>

#include "base/log.h"
#include "codec/json.h"

#define KEPT "shared_settings"

bool shared_settings_is_own(enum setting setting)
{
	static const enum setting own[] = {
		SETTING_LISTEN, SETTING_ADMIN_LISTEN, SETTING_MTLS_LISTEN, SETTING_HTTP_LISTEN, SETTING_PROXY_LISTEN, SETTING_URL_CHANGE,
		SETTING_WORKERS, SETTING_LOOPS, SETTING_QUEUE, SETTING_LOG_LEVEL, SETTING_STORE,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(own); i++)
		if (own[i] == setting)
			return true;
	return !strcmp(setting_table[setting].section, "node");
}

/* Each node may have its own copy, wherever it is. */
static bool is_file(enum setting setting)
{
	static const enum setting files[] = {
		SETTING_TLS_CERTIFICATE, SETTING_TLS_KEY, SETTING_CHECKIN_MAID_KEY, SETTING_FIRST_USE_CA, SETTING_CA_PKCS11, SETTING_PUSH_ROOTS, SETTING_APNS_ROOT, SETTING_APNS_PROXY_PASSWORD,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++)
		if (files[i] == setting)
			return true;
	return false;
}

static char *name_of(enum setting setting)
{
	return g_strconcat(setting_table[setting].section, ".", setting_table[setting].key, NULL);
}

json_t *shared_settings_format(const struct settings *settings)
{
	json_t *json = json_object();

	for (int i = 0; i < SETTING_MAX; i++) {
		g_autofree char *name = name_of((enum setting)i);

		if (!shared_settings_is_own((enum setting)i) && strcmp(settings->values[i], setting_table[i].value))
			json_object_set_new(json, name, json_string(settings->values[i]));
	}
	return json;
}

bool shared_settings_take(struct settings *settings, const json_t *json, GError **error)
{
	for (int i = 0; i < SETTING_MAX; i++) {
		g_autofree char *name = name_of((enum setting)i);
		const char *value = json_string_value(json_object_get(json, name));

		if (value && !shared_settings_is_own((enum setting)i) && !settings_set_value(settings, (enum setting)i, value, error))
			return false;
	}
	return true;
}

void shared_settings_compare(const struct settings *settings, const json_t *json, void (*fn)(void *ctx, const char *name, const char *here, const char *there), void *ctx)
{
	for (int i = 0; i < SETTING_MAX; i++) {
		g_autofree char *name = name_of((enum setting)i);
		const char *here = settings->values[i], *there = json_string_value(json_object_get(json, name));

		if (shared_settings_is_own((enum setting)i))
			continue;
		if (!there)
			there = setting_table[i].value;
		if (is_file((enum setting)i) ? !*here != !*there : strcmp(here, there) != 0)
			fn(ctx, name, here, there);
	}
}

bool shared_settings_save(struct store *store, const struct settings *settings, const char *name, GError **error)
{
	g_autoptr(json_t) json = json_pack("{s:s, s:o}", "node", name, "settings", shared_settings_format(settings));
	g_autofree char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS), *before = NULL;

	if (!store_setting_get(store, KEPT, &before, error))
		return false;
	return !g_strcmp0(before, text) || store_setting_put(store, KEPT, text, error);
}

bool shared_settings_load(struct store *store, json_t **ret, char **ret_name, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(json_t) json = NULL;

	*ret = NULL;
	*ret_name = NULL;
	if (!store_setting_get(store, KEPT, &text, error))
		return false;
	if (!text)
		return true;
	json = json_parse(text, strlen(text), error);
	if (!json)
		return false;
	*ret = json_incref(json_object_get(json, "settings"));
	*ret_name = g_strdup(json_string_value(json_object_get(json, "node")));
	return true;
}

static void warn(void *ctx, const char *name, const char *here, const char *there)
{
	pom_log(POM_LOG_WARNING, "this setting should be the same on all nodes: what devices are told hangs on the node that they reach", "setting", name, "here", here, "there", there, "other_node", ctx, NULL);
}

bool shared_settings_note(struct store *store, const struct settings *settings, const char *name, GError **error)
{
	g_autofree char *other = NULL;
	g_autoptr(json_t) known = NULL;

	if (!shared_settings_load(store, &known, &other, error))
		return false;
	if (known && g_strcmp0(other, name))
		shared_settings_compare(settings, known, warn, other);
	return shared_settings_save(store, settings, name, error);
}
