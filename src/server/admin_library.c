/* The admin API for the library of profiles, groups, attributes and facts of devices. */
#include "service/library.h"

#include <string.h>

#include "server/admin_internal.h"
#include "service/fleet.h"

static bool is_true(const struct http_request *request, const char *name)
{
	g_autofree char *text = http_request_query(request, name);

	return text && (!strcmp(text, "true") || !strcmp(text, "1"));
}

/* ---- profiles ---- */

json_t *admin_library_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_library_list(server->service, after, admin_limit(request), error);
}

/* {"file": base64, "name", "sign", "encrypt", "variables", "key": PEM}: only file is needed. */
json_t *admin_library_add(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"file", "name", "sign", "encrypt", "variables", "key", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree guchar *data = NULL;
	g_autoptr(GBytes) file = NULL, key = NULL;
	struct library_upload upload = {0};
	const char *text = NULL, *key_text = NULL;
	gsize len = 0;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "file", &text, error) || !admin_get_text(body, "name", &upload.name, error) || !admin_get_text(body, "sign", &upload.sign, error) ||
	    !admin_get_text(body, "encrypt", &upload.encrypt, error) || !admin_get_text(body, "variables", &upload.variables, error) || !admin_get_text(body, "key", &key_text, error))
		return NULL;
	if (!text) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "file is missing: the profile, base64");
		return NULL;
	}
	data = g_base64_decode(text, &len);
	upload.file = file = secret_bytes_new(data, len);
	explicit_bzero(data, len);
	upload.key = key = key_text ? secret_bytes_new(key_text, strlen(key_text)) : NULL;
	return service_library_add(server->service, actor, &upload, error);
}

json_t *admin_library_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_library_show(server->service, request->params[0], error);
}

json_t *admin_library_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_library_remove(server->service, actor, request->params[0], is_true(request, "force"), error);
}

json_t *admin_library_versions(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_library_versions(server->service, request->params[0], after, admin_limit(request), error);
}

/* A number, or "newest". */
json_t *admin_library_get(struct server *server, const struct http_request *request, GError **error)
{
	const char *text = request->params[1];
	char *end;
	int64_t number = g_ascii_strtoll(text, &end, 10);

	if (strcmp(text, "newest") && (*end || number < 1)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "a version is a number from 1 on, or newest");
		return NULL;
	}
	return service_library_get(server->service, request->params[0], strcmp(text, "newest") ? number : 0, error);
}

typedef json_t *(*assign_fn)(struct service *service, const char *actor, const char *name, const char *const *devices, const char *const *groups, GError **error);

/* {"devices": [ids or UDIDs], "groups": [names]} */
static json_t *assign(struct server *server, const struct http_request *request, assign_fn run, GError **error)
{
	static const char *const keys[] = {"devices", "groups", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **devices = NULL, **groups = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_texts(body, "devices", &devices, error) || !admin_get_texts(body, "groups", &groups, error))
		return NULL;
	return run(server->service, actor, request->params[0], (const char *const *)devices, (const char *const *)groups, error);
}

json_t *admin_library_assign(struct server *server, const struct http_request *request, GError **error)
{
	return assign(server, request, service_library_assign, error);
}

json_t *admin_library_unassign(struct server *server, const struct http_request *request, GError **error)
{
	return assign(server, request, service_library_unassign, error);
}

json_t *admin_library_status(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_library_status(server->service, request->params[0], after, admin_limit(request), error);
}

json_t *admin_library_resend(struct server *server, const struct http_request *request, GError **error)
{
	return service_library_resend(server->service, request->params[0], request->params[1], error);
}

/* ---- groups ---- */

json_t *admin_group_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_group_list(server->service, after, admin_limit(request), error);
}

/* {"name", "query"}: without a query the group is a list of devices. */
json_t *admin_group_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"name", "query", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *name = NULL, *query = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "name", &name, error) || !admin_get_text(body, "query", &query, error))
		return NULL;
	return query ? service_query_group_new(server->service, actor, name, query, error) : service_group_new(server->service, actor, name, error);
}

json_t *admin_group_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_group_show(server->service, request->params[0], error);
}

json_t *admin_group_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_group_remove(server->service, actor, request->params[0], is_true(request, "force"), error);
}

json_t *admin_group_members(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_group_members(server->service, request->params[0], after, admin_limit(request), error);
}

/* {"add": [ids or UDIDs], "remove": […]} */
json_t *admin_group_change(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"add", "remove", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **add = NULL, **remove = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_texts(body, "add", &add, error) || !admin_get_texts(body, "remove", &remove, error))
		return NULL;
	return service_group_change(server->service, actor, request->params[0], (const char *const *)add, (const char *const *)remove, error);
}

/* ---- devices ---- */

json_t *admin_device_profiles(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_profiles(server->service, request->params[0], after, admin_limit(request), error);
}

json_t *admin_device_attributes(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_attributes(server->service, request->params[0], error);
}

/* {"set": {"name": "value"}, "unset": ["name"]} */
json_t *admin_device_set(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"set", "unset", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);

	if (!body || !admin_check_keys(body, keys, error))
		return NULL;
	return service_device_set(server->service, actor, request->params[0], json_object_get(body, "set"), json_object_get(body, "unset"), error);
}

json_t *admin_device_facts(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_facts(server->service, request->params[0], after, admin_limit(request), error);
}
