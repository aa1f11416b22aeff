#include "server/shared_settings.h"

#include <string.h>

#include "base/log.h"
#include "codec/json.h"
#include "store/node_store.h"

#define KEPT "shared_settings"

bool shared_settings_is_own(enum setting setting)
{
	static const enum setting own[] = {
		SETTING_LISTEN, SETTING_ADMIN_LISTEN, SETTING_MTLS_LISTEN, SETTING_HTTP_LISTEN, SETTING_PROXY_LISTEN, SETTING_URL_CHANGE,
		SETTING_WORKERS, SETTING_LOOPS, SETTING_QUEUE, SETTING_DRAIN, SETTING_LOG_LEVEL, SETTING_NODE_NAME,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(own); i++)
		if (own[i] == setting)
			return true;
	return !strcmp(setting_table[setting].section, "store");
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

/* As in the list of nodes. transfer full. */
static char *node_name(const struct settings *settings)
{
	const char *set = settings_text(settings, SETTING_NODE_NAME);

	return g_utf8_make_valid(set ? set : g_get_host_name(), -1);
}

/* {"last": NODE, "nodes": {NODE: settings}}, an empty object when there is nothing; transfer full. NULL with an error. */
static json_t *load(struct store *store, GError **error)
{
	g_autofree char *text = NULL;

	if (!store_setting_get(store, KEPT, &text, error))
		return NULL;
	return text ? json_parse(text, strlen(text), error) : json_object();
}

static bool is_listed(const struct node_look *look, const char *name)
{
	for (guint i = 0; i < look->nodes->len; i++)
		if (!strcmp(g_array_index(look->nodes, struct node_row, i).name, name))
			return true;
	return false;
}

static void forget(json_t *nodes, const struct node_look *look)
{
	const char *name;
	json_t *settings;
	void *next;

	json_object_foreach_safe(nodes, next, name, settings)
		if (!is_listed(look, name))
			json_object_del(nodes, name);
}

/* One of two nodes that start at once may overwrite what the other one has: then a later start is told less, and that is all. */
static bool save(struct store *store, const struct settings *settings, const json_t *known, const struct node_look *look, GError **error)
{
	g_autofree char *name = node_name(settings), *before = json_dumps(known, JSON_COMPACT | JSON_SORT_KEYS), *text = NULL;
	g_autoptr(json_t) nodes = json_deep_copy(json_object_get(known, "nodes")), now = NULL;

	if (!nodes)
		nodes = json_object();
	forget(nodes, look);
	json_object_set_new(nodes, name, shared_settings_format(settings));
	now = json_pack("{s:s, s:O}", "last", name, "nodes", nodes);
	text = json_dumps(now, JSON_COMPACT | JSON_SORT_KEYS);
	return !strcmp(before, text) || store_setting_put(store, KEPT, text, error);
}

static void warn(void *ctx, const char *name, const char *here, const char *there)
{
	pom_log(POM_LOG_WARNING, "this setting should be the same on all nodes: what devices are told hangs on the node that they reach", "setting", name, "here", here, "there", there, "other_node", ctx, NULL);
}

static void compare_all(const struct settings *settings, json_t *known, const struct node_look *look)
{
	g_autofree char *own = node_name(settings);
	const char *name;
	json_t *theirs;

	json_object_foreach(json_object_get(known, "nodes"), name, theirs)
		if (strcmp(name, own) && is_listed(look, name))
			shared_settings_compare(settings, theirs, warn, (void *)name);
}

static bool note(struct store *store, const struct settings *settings, bool aloud, GError **error)
{
	g_autoptr(json_t) known = load(store, error);
	struct node_look look = {0};
	bool ok;

	if (!known || !store_node_look(store, &look, error))
		return false;
	if (aloud)
		compare_all(settings, known, &look);
	ok = save(store, settings, known, &look, error);
	node_look_clear(&look);
	return ok;
}

bool shared_settings_save(struct store *store, const struct settings *settings, GError **error)
{
	return note(store, settings, false, error);
}

bool shared_settings_note(struct store *store, const struct settings *settings, GError **error)
{
	return note(store, settings, true, error);
}

bool shared_settings_load(struct store *store, json_t **ret, GError **error)
{
	g_autoptr(json_t) known = load(store, error);
	const char *last = json_string_value(json_object_get(known, "last"));

	*ret = last ? json_incref(json_object_get(json_object_get(known, "nodes"), last)) : NULL;
	return known != NULL;
}
