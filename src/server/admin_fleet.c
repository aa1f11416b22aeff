/* The admin API for many devices: groups of queries, orders, the end of enrollments, blocked devices, lists that devices told. */
#include "service/fleet.h"

#include <string.h>

#include "server/admin_internal.h"
#include "service/command.h"

static bool is_true(const struct http_request *request, const char *name)
{
	g_autofree char *text = http_request_query(request, name);

	return text && (!strcmp(text, "true") || !strcmp(text, "1"));
}

/* *RET is false when KEY is absent. POM_ERR_JSON. */
static bool get_flag(json_t *object, const char *key, bool *ret, GError **error)
{
	const json_t *value = json_object_get(object, key);

	if (value && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be true or false", key);
	*ret = json_is_true(value);
	return true;
}

/* ---- groups ---- */

/* {"query"} */
json_t *admin_group_query(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"query", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *query = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "query", &query, error))
		return NULL;
	if (!query) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "query is missing");
		return NULL;
	}
	return service_query_group_set(server->service, actor, request->params[0], query, error);
}

/* ---- orders ---- */

json_t *admin_order_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_order_list(server->service, after, admin_limit(request), error);
}

/* The command of an order: JSON under "command", or a property list in base64 under "plist". transfer full. */
static GBytes *order_body(json_t *body, bool *ret_is_plist, GError **error)
{
	json_t *command = json_object_get(body, "command");
	const char *text = NULL;
	g_autofree guchar *data = NULL;
	gsize len = 0;

	if (!admin_get_text(body, "plist", &text, error))
		return NULL;
	if (!text == !command) {
		pom_fail(error, POM_ERR_ORDER, "give the command either as \"command\", a JSON object, or as \"plist\", a property list in base64");
		return NULL;
	}
	*ret_is_plist = text != NULL;
	if (command)
		return json_format(command);
	data = g_base64_decode(text, &len);
	return g_bytes_new(data, len);
}

/* expires_in_s: 0 is never. */
static bool get_expiry(json_t *object, int64_t *ret_s, GError **error)
{
	const json_t *value = json_object_get(object, "expires_in_s");
	struct command_order order = {0};

	if (value && !json_is_integer(value))
		return pom_fail(error, POM_ERR_JSON, "expires_in_s must be a whole number of seconds; 0: never");
	if (value && !command_order_expire(&order, json_integer_value(value), error))
		return false;
	*ret_s = order.expires_s;
	return true;
}

/* {"command": {"RequestType": …} or "plist": base64, "force", "expires_in_s", and one of "devices": […], "group", "query", "all": true} */
json_t *admin_order_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"command", "plist", "force", "expires_in_s", "devices", "group", "query", "all", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **devices = NULL;
	g_autoptr(GBytes) command = NULL;
	struct order_wish wish = {0};

	if (!body || !admin_check_keys(body, keys, error) || !get_flag(body, "force", &wish.force, error) || !get_flag(body, "all", &wish.all, error) || !get_expiry(body, &wish.expires_s, error) || !admin_get_texts(body, "devices", &devices, error) ||
	    !admin_get_text(body, "group", &wish.group, error) || !admin_get_text(body, "query", &wish.query, error) || !(command = order_body(body, &wish.is_plist, error)))
		return NULL;
	wish.body = command;
	wish.devices = (const char *const *)devices;
	return service_order_new(server->service, actor, &wish, error);
}

json_t *admin_order_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_order_show(server->service, request->params[0], error);
}

json_t *admin_order_cancel(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_order_cancel(server->service, actor, request->params[0], error);
}

json_t *admin_order_devices(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *state = http_request_query(request, "state");

	return service_order_devices(server->service, request->params[0], state ? state : "", after, admin_limit(request), error);
}

/* ---- the end of an enrollment ---- */

json_t *admin_device_delete(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_device_delete(server->service, actor, request->params[0], is_true(request, "force"), error);
}

/* {"now": true} revokes the identity without waiting for the device. */
json_t *admin_device_unenroll(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"now", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	bool now = false;

	if (!body || !admin_check_keys(body, keys, error) || !get_flag(body, "now", &now, error))
		return NULL;
	return service_device_unenroll(server->service, actor, request->params[0], now, error);
}

/* {"reason", "serial", "unenroll": true} */
json_t *admin_device_block(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"reason", "serial", "unenroll", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *reason = NULL, *serial = NULL;
	bool unenroll = false;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "reason", &reason, error) || !admin_get_text(body, "serial", &serial, error) || !get_flag(body, "unenroll", &unenroll, error))
		return NULL;
	return service_device_block(server->service, actor, request->params[0], serial, reason, unenroll, error);
}

json_t *admin_device_unblock(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_device_unblock(server->service, actor, request->params[0], error);
}

json_t *admin_block_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_block_list(server->service, after, admin_limit(request), error);
}

/* ---- what devices told ---- */

json_t *admin_device_lists(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_lists(server->service, request->params[0], error);
}

json_t *admin_device_list_items(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_list_items(server->service, request->params[0], request->params[1], after, admin_limit(request), error);
}
