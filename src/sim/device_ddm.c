/* Declarative management on the device: synchronization, what declarations do as far as a simulated device can do it, and status reports.
 *
 * It synchronizes as Apple devices do: the tokens, then the list if its own token is another, then what is new or changed; what is not listed, or is answered 404, goes. It is stricter than
 * they are: the list must have the token that was announced, and each declaration the identifier and ServerToken of the list. */
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

enum { TOKEN_MAX = 64, KINDS = 4 };

static const struct { const char *list, *kind, *status; } kinds[KINDS] = {
	{"Activations", "activation", "activations"}, {"Configurations", "configuration", "configurations"}, {"Assets", "asset", "assets"}, {"Management", "management", "management"},
};

/* One declaration that the device has. */
struct held {
	unsigned kind;
	json_t *declaration;
	bool active;
	const char *reason; /* code; NULL: it is valid */
	json_t *details;
};

struct sim_ddm {
	char *token;        /* of the list that it has; NULL: none */
	GHashTable *held;   /* identifier → struct held */
	json_t *reported;   /* item → value, as reported last */
};

static void held_free(void *data)
{
	struct held *h = data;

	json_decref(h->declaration);
	json_decref(h->details);
	g_free(h);
}

struct sim_ddm *sim_ddm_new(void)
{
	struct sim_ddm *ddm = g_new0(struct sim_ddm, 1);

	ddm->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, held_free);
	ddm->reported = json_object();
	return ddm;
}

void sim_ddm_free(struct sim_ddm *ddm)
{
	if (!ddm)
		return;
	g_free(ddm->token);
	g_hash_table_unref(ddm->held);
	json_decref(ddm->reported);
	g_free(ddm);
}

/* ---- asking ---- */

static bool ask(struct device *d, const char *endpoint, const json_t *data, struct sim_reply *ret, GError **error)
{
	g_autoptr(plist) message = device_message(d, "DeclarativeManagement");
	g_autoptr(GBytes) bytes = data ? json_format(data) : NULL;

	plist_dict_set_string(message, "Endpoint", endpoint);
	if (bytes)
		plist_dict_set_data(message, "Data", g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	return device_tell(d, DEVICE_CHECKIN, message, ret, error);
}

/* The JSON of a 200, transfer full. */
static json_t *read_json(struct device *d, const char *endpoint, const struct sim_reply *reply, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len);

	if (reply->status != 200) {
		device_refused(d, endpoint, reply, error);
		return NULL;
	}
	if (!reply->content_type || !g_str_has_prefix(reply->content_type, "application/json")) {
		pom_fail(error, POM_ERR_DECLARATION, "%s is of type %s, must be application/json", endpoint, reply->content_type ? reply->content_type : "(none)");
		return NULL;
	}
	return json_parse(data, len, error);
}

static json_t *get(struct device *d, const char *endpoint, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return ask(d, endpoint, NULL, &reply, error) ? read_json(d, endpoint, &reply, error) : NULL;
}

static const char *read_token(const json_t *object, const char *key, GError **error)
{
	const char *token = json_string_value(json_object_get(object, key));

	if (!token || !*token || strlen(token) > TOKEN_MAX) {
		pom_fail(error, POM_ERR_DECLARATION, "%s must be a string of 1 to %d octets", key, TOKEN_MAX);
		return NULL;
	}
	return token;
}

char *ddm_read_tokens(const json_t *tokens, GError **error)
{
	const json_t *sync = json_object_get(tokens, "SyncTokens");

	if (!json_is_string(json_object_get(sync, "Timestamp"))) {
		pom_fail(error, POM_ERR_DECLARATION, "SyncTokens has no Timestamp");
		return NULL;
	}
	return g_strdup(read_token(sync, "DeclarationsToken", error));
}

/* ---- synchronization ---- */

/* *RET_FOUND false: it is not there. */
static bool fetch(struct device *d, unsigned kind, const char *identifier, const char *token, bool *ret_found, GError **error)
{
	g_autofree char *endpoint = g_strdup_printf("declaration/%s/%s", kinds[kind].kind, identifier), *prefix = g_strdup_printf("com.apple.%s.", kinds[kind].kind);
	g_autoptr(json_t) declaration = NULL;
	g_auto(sim_reply) reply = {0};
	const char *type;
	struct held *h;

	*ret_found = false;
	if (!ask(d, endpoint, NULL, &reply, error))
		return false;
	if (reply.status == 404)
		return true;
	declaration = read_json(d, endpoint, &reply, error);
	if (!declaration)
		return false;
	type = json_string_value(json_object_get(declaration, "Type"));
	if (!type || !g_str_has_prefix(type, prefix) || g_strcmp0(json_string_value(json_object_get(declaration, "Identifier")), identifier) || !json_is_object(json_object_get(declaration, "Payload")))
		return pom_fail(error, POM_ERR_DECLARATION, "%s is answered with another declaration", endpoint);
	if (g_strcmp0(json_string_value(json_object_get(declaration, "ServerToken")), token))
		return pom_fail(error, POM_ERR_DECLARATION, "%s has another ServerToken than the list says", endpoint);
	h = g_new0(struct held, 1);
	h->kind = kind;
	h->declaration = json_incref(declaration);
	g_hash_table_replace(d->ddm->held, g_strdup(identifier), h);
	*ret_found = true;
	return true;
}

static const char *token_of(const struct held *h)
{
	return h ? json_string_value(json_object_get(h->declaration, "ServerToken")) : NULL;
}

/* One list: what is new or changed is fetched; LISTED gets all identifiers of it. */
static bool take_list(struct device *d, unsigned kind, const json_t *list, GHashTable *listed, unsigned *n_fetched, GError **error)
{
	if (!json_is_array(list))
		return pom_fail(error, POM_ERR_DECLARATION, "Declarations has no %s", kinds[kind].list);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *identifier = read_token(json_array_get(list, i), "Identifier", error), *token = identifier ? read_token(json_array_get(list, i), "ServerToken", error) : NULL;
		bool found = true;

		if (!token)
			return false;
		if (!g_hash_table_add(listed, g_strdup(identifier)))
			return pom_fail(error, POM_ERR_DECLARATION, "\"%s\" is listed twice", identifier);
		if (!g_strcmp0(token_of(g_hash_table_lookup(d->ddm->held, identifier)), token))
			continue;
		if (!fetch(d, kind, identifier, token, &found, error))
			return false;
		++*n_fetched;
		if (!found)
			g_hash_table_remove(d->ddm->held, identifier);
	}
	return true;
}

static gboolean is_unlisted(gpointer key, gpointer value, gpointer listed)
{
	return !g_hash_table_contains(listed, key);
}

static bool take_items(struct device *d, const char *announced, GError **error)
{
	g_autoptr(json_t) items = get(d, "declaration-items", error);
	g_autoptr(GHashTable) listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	const char *token = items ? read_token(items, "DeclarationsToken", error) : NULL;
	unsigned n_fetched = 0, n_removed;

	if (!token)
		return false;
	if (strcmp(token, announced))
		return pom_fail(error, POM_ERR_DECLARATION, "declaration-items has another DeclarationsToken than was announced");
	for (unsigned k = 0; k < KINDS; k++)
		if (!take_list(d, k, json_object_get(json_object_get(items, "Declarations"), kinds[k].list), listed, &n_fetched, error))
			return false;
	n_removed = g_hash_table_foreach_remove(d->ddm->held, is_unlisted, listed);
	g_free(d->ddm->token);
	d->ddm->token = g_strdup(token);
	device_say(d, "declarations", json_pack("{s:s, s:i, s:i, s:i}", "token", token, "fetched", (int)n_fetched, "removed", (int)n_removed, "held", (int)g_hash_table_size(d->ddm->held)),
	           "has %u declarations: fetched %u, removed %u", g_hash_table_size(d->ddm->held), n_fetched, n_removed);
	return true;
}

/* ---- what declarations do ---- */

static void spoil(struct held *h, const char *reason, const char *key, const char *value)
{
	h->reason = reason;
	json_decref(h->details);
	h->details = json_pack("{s:s}", key, value);
}

static const json_t *payload_of(const struct held *h)
{
	return json_object_get(h->declaration, "Payload");
}

static const char *type_of(const struct held *h)
{
	return json_string_value(json_object_get(h->declaration, "Type"));
}

/* With the identity of the device; transfer full. */
static GBytes *download(struct device *d, const char *url, GError **error)
{
	g_autoptr(GBytes) empty = g_bytes_new(NULL, 0);
	g_autofree char *signature = device_sign(d, empty);
	const struct sim_request request = {.method = "GET", .url = url, .signature = signature, .with_identity = true};
	g_auto(sim_reply) reply = {0};

	if (!sim_http_send(d->http, &request, &reply, error))
		return NULL;
	if (reply.status == 200)
		return g_bytes_ref(reply.body);
	device_refused(d, "a download", &reply, error);
	return NULL;
}

/* The data behind an asset, transfer full; NULL: the asset has become invalid. */
static GBytes *load_asset(struct device *d, struct held *asset)
{
	const json_t *reference = json_object_get(payload_of(asset), "Reference"), *size = json_object_get(reference, "Size");
	const char *url = json_string_value(json_object_get(reference, "DataURL")), *hash = json_string_value(json_object_get(reference, "Hash-SHA-256"));
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) data = url ? download(d, url, &error) : NULL;
	g_autofree char *got = data ? g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, data) : NULL;

	if (!data)
		spoil(asset, "Error.AssetCannotBeDownloaded", "Reason", error ? error->message : "no DataURL");
	else if ((size && json_integer_value(size) != (json_int_t)g_bytes_get_size(data)) || (hash && g_ascii_strcasecmp(hash, got)))
		spoil(asset, "Error.AssetCannotBeVerified", "Reason", "size or hash");
	else
		return g_steal_pointer(&data);
	return NULL;
}

static bool apply_legacy(struct device *d, struct held *h)
{
	const char *url = json_string_value(json_object_get(payload_of(h), "ProfileURL"));
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) profile = url ? download(d, url, &error) : NULL;

	if (profile && device_install(d, profile, &error))
		return true;
	spoil(h, "Error.ConfigurationCannotBeApplied", "Reason", error ? error->message : "no ProfileURL");
	return false;
}

/* What the watches of this phone shall ask, with the anchors that they pin, in its state directory: for the watch. */
static bool apply_watch(struct device *d, struct held *h)
{
	g_autofree char *path = d->state_dir ? g_build_filename(d->state_dir, SIM_WATCH_FILE, NULL) : NULL;
	const json_t *anchors = json_object_get(payload_of(h), "AnchorCertificateAssetReferences");
	g_autoptr(json_t) told = json_pack("{s:s, s:[]}", "url", json_string_value(json_object_get(payload_of(h), "EnrollmentProfileURL")), "anchors");
	g_autoptr(GBytes) text = NULL;

	if (!d->supervised || d->model->kind != SIM_IPHONE) {
		spoil(h, "Error.ConfigurationNotSupported", "Reason", "not a supervised iPhone");
		return false;
	}
	for (size_t i = 0; i < json_array_size(anchors); i++) {
		struct held *asset = g_hash_table_lookup(d->ddm->held, json_string_value(json_array_get(anchors, i)));
		g_autoptr(GBytes) data = asset ? load_asset(d, asset) : NULL;
		g_autofree char *encoded = data ? g_base64_encode(g_bytes_get_data(data, NULL), g_bytes_get_size(data)) : NULL;

		if (!encoded) {
			spoil(h, "Error.MissingAssets", "AssetIdentifiers", json_string_value(json_array_get(anchors, i)));
			return false;
		}
		json_array_append_new(json_object_get(told, "anchors"), json_string(encoded));
	}
	text = json_format(told);
	return !path || g_file_set_contents(path, g_bytes_get_data(text, NULL), (gssize)g_bytes_get_size(text), NULL);
}

/* Assets that a configuration names must be there. */
static bool find_assets(struct device *d, struct held *h, const json_t *at)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)at, key, value) {
		const char *name = g_str_has_suffix(key, "AssetReference") ? json_string_value(value) : NULL;

		if (name && !g_hash_table_contains(d->ddm->held, name)) {
			spoil(h, "Error.MissingAssets", "AssetIdentifiers", name);
			return false;
		}
		if (!find_assets(d, h, value))
			return false;
	}
	return true;
}

static void activate(struct device *d, struct held *h, bool is_new)
{
	const char *type = type_of(h);
	bool done = true;

	if (!find_assets(d, h, payload_of(h)))
		return;
	if (is_new && !strcmp(type, "com.apple.configuration.legacy"))
		done = apply_legacy(d, h);
	else if (is_new && !strcmp(type, "com.apple.configuration.watch.enrollment"))
		done = apply_watch(d, h);
	h->active = done;
}

static void activate_all(struct device *d, struct held *activation)
{
	const json_t *names = json_object_get(payload_of(activation), "StandardConfigurations");

	activation->active = true;
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		struct held *h = name ? g_hash_table_lookup(d->ddm->held, name) : NULL;

		if (!h) {
			spoil(activation, "Error.MissingConfigurations", "ConfigurationIdentifiers", name ? name : "");
			activation->active = false;
			return;
		}
		if (!h->active)
			activate(d, h, true);
	}
}

/* Only what an activation names has an effect; conditions are taken as fulfilled. */
static void apply_all(struct device *d)
{
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, d->ddm->held);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct held *h = value;

		h->active = h->kind == 3;
		h->reason = NULL;
	}
	g_hash_table_iter_init(&iter, d->ddm->held);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((struct held *)value)->kind == 0)
			activate_all(d, value);
}

/* ---- status ---- */

static json_t *held_status(const char *identifier, const struct held *h)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s}", "identifier", identifier, "server-token", token_of(h), "active", h->active, "valid", h->reason ? "invalid" : "valid");

	if (h->reason)
		json_object_set_new(o, "reasons", json_pack("[{s:s, s:s, s:O}]", "code", h->reason, "description", h->reason, "details", h->details));
	return o;
}

static json_t *declarations_status(const struct sim_ddm *ddm)
{
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(ddm->held), (GCompareFunc)strcmp);
	json_t *o = json_object();

	for (unsigned k = 0; k < KINDS; k++)
		json_object_set_new(o, kinds[k].status, json_array());
	for (GList *l = names; l; l = l->next) {
		const struct held *h = g_hash_table_lookup(ddm->held, l->data);

		json_array_append_new(json_object_get(o, kinds[h->kind].status), held_status(l->data, h));
	}
	return o;
}

/* The value of a status item, transfer full; NULL: this device does not have it. */
static json_t *item_value(const struct device *d, const char *name)
{
	static const char *const names[] = {"device.identifier.serial-number", "device.identifier.udid", "device.model.family", "device.model.identifier", "device.operating-system.version",
	                                    "device.operating-system.build-version"};
	const char *const values[] = {d->serial, d->udid, d->model->family, d->model->product, d->model->os, d->model->build};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (!strcmp(names[i], name))
			return json_string(values[i]);
	return !strcmp(name, "passcode.is-present") && !d->model->macos ? json_false() : NULL;
}

/* All items that it is to report now: name → value. */
static json_t *wanted_items(const struct device *d)
{
	json_t *all = json_pack("{s:o, s:{s:[s]}}", "management.declarations", declarations_status(d->ddm), "management.client-capabilities", "supported-versions", "1.0.0");
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, d->ddm->held);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct held *h = value;
		const json_t *list = h->active ? json_object_get(payload_of(h), "StatusItems") : NULL;

		for (size_t i = 0; i < json_array_size(list); i++) {
			const char *name = json_string_value(json_object_get(json_array_get(list, i), "Name"));
			json_t *item = name ? item_value(d, name) : NULL;

			if (item)
				json_object_set_new(all, name, item);
		}
	}
	return all;
}

static void nest(json_t *top, const char *name, json_t *value)
{
	g_auto(GStrv) words = g_strsplit(name, ".", -1);
	json_t *at = top;
	size_t i = 0;

	for (; words[i + 1]; i++) {
		if (!json_object_get(at, words[i]))
			json_object_set_new(at, words[i], json_object());
		at = json_object_get(at, words[i]);
	}
	json_object_set(at, words[i], value);
}

/* What has changed since the last report; everything in the first. */
static bool report(struct device *d, GError **error)
{
	bool full = !json_object_size(d->ddm->reported);
	g_autoptr(json_t) now = wanted_items(d), items = json_object(), whole = NULL;
	g_auto(sim_reply) reply = {0};
	const char *name;
	json_t *value;
	int n = 0;

	json_object_foreach(now, name, value)
		if (!json_equal(value, json_object_get(d->ddm->reported, name))) {
			nest(items, name, value);
			n++;
		}
	if (!n)
		return true;
	whole = json_pack("{s:O, s:[], s:b}", "StatusItems", items, "Errors", "FullReport", full);
	if (!ask(d, "status", whole, &reply, error))
		return false;
	if (reply.status != 200)
		return device_refused(d, "the status report", &reply, error);
	json_object_update(d->ddm->reported, now);
	device_say(d, "status", json_pack("{s:i, s:b}", "items", n, "full", full), "reported %d status items", n);
	return true;
}

/* ---- the command ---- */

void device_answer_declarative_management(struct device *d, const plist *command, plist *reply)
{
	size_t len = 0;
	const void *data = plist_get_data(plist_dict_get(command, "Data"), &len);

	g_clear_pointer(&d->ddm_tokens, g_bytes_unref);
	d->ddm_tokens = g_bytes_new(data ? data : "", len);
}

bool device_synchronize(struct device *d, GBytes *tokens, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(tokens, &len);
	g_autoptr(json_t) json = len ? json_parse(data, len, error) : get(d, "tokens", error);
	g_autofree char *token = json ? ddm_read_tokens(json, error) : NULL;

	if (!token)
		return false;
	if (!strcmp(token, d->ddm->token ? d->ddm->token : "")) {
		device_say(d, "declarations", json_pack("{s:s, s:b}", "token", token, "unchanged", 1), "has these declarations already");
		return true;
	}
	if (!take_items(d, token, error))
		return false;
	apply_all(d);
	return report(d, error);
}
