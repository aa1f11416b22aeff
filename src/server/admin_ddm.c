/* The admin API for declarations, sets, and what devices report of them. */
#include <string.h>

#include "server/admin_internal.h"
#include "service/apply.h"
#include "service/declaration.h"
#include "service/watch_enable.h"

static bool is_true(const struct http_request *request, const char *name)
{
	g_autofree char *text = http_request_query(request, name);

	return text && (!strcmp(text, "true") || !strcmp(text, "1"));
}

/* ---- declarations ---- */

typedef json_t *(*upload_fn)(struct server *server, const struct http_request *request, const struct declaration_upload *upload, GError **error);

/* {"declaration": {…}, "data": base64, "content_type", "force"}, or the declaration itself. */
static json_t *with_upload(struct server *server, const struct http_request *request, upload_fn run, GError **error)
{
	static const char *const keys[] = {"declaration", "data", "content_type", "force", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	bool bare = json_object_get(body, "Type") != NULL;
	struct declaration_upload upload = {.force = is_true(request, "force")};
	g_autofree guchar *data = NULL;
	g_autoptr(GBytes) bytes = NULL;
	const char *text = NULL;
	gsize len = 0;

	if (!body)
		return NULL;
	if (bare) {
		upload.declaration = body;
		return run(server, request, &upload, error);
	}
	if (!admin_check_keys(body, keys, error) || !admin_get_text(body, "data", &text, error) || !admin_get_text(body, "content_type", &upload.content_type, error))
		return NULL;
	upload.declaration = json_object_get(body, "declaration");
	upload.force |= json_is_true(json_object_get(body, "force"));
	if (!upload.declaration) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "declaration is missing");
		return NULL;
	}
	if (text) {
		data = g_base64_decode(text, &len);
		upload.data = bytes = secret_bytes_new(data, len);
		explicit_bzero(data, len);
	}
	return run(server, request, &upload, error);
}

static json_t *add(struct server *server, const struct http_request *request, const struct declaration_upload *upload, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_declaration_add(server->service, actor, upload, error);
}

static json_t *lint(struct server *server, const struct http_request *request, const struct declaration_upload *upload, GError **error)
{
	return service_declaration_lint(server->service, upload, error);
}

json_t *admin_declaration_add(struct server *server, const struct http_request *request, GError **error)
{
	return with_upload(server, request, add, error);
}

json_t *admin_declaration_lint(struct server *server, const struct http_request *request, GError **error)
{
	return with_upload(server, request, lint, error);
}

json_t *admin_declaration_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_declaration_list(server->service, after, admin_limit(request), error);
}

json_t *admin_declaration_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_declaration_show(server->service, request->params[0], error);
}

json_t *admin_declaration_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_declaration_remove(server->service, actor, request->params[0], is_true(request, "force"), error);
}

json_t *admin_declaration_devices(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_declaration_devices(server->service, request->params[0], after, admin_limit(request), error);
}

/* ---- sets ---- */

json_t *admin_set_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_set_list(server->service, after, admin_limit(request), error);
}

json_t *admin_set_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"name", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *name = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "name", &name, error))
		return NULL;
	return service_set_new(server->service, actor, name, error);
}

json_t *admin_set_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_set_show(server->service, request->params[0], error);
}

json_t *admin_set_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_set_remove(server->service, actor, request->params[0], is_true(request, "force"), error);
}

/* {"add": [identifiers], "remove": […]} */
json_t *admin_set_change(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"add", "remove", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **add_list = NULL, **remove_list = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_texts(body, "add", &add_list, error) || !admin_get_texts(body, "remove", &remove_list, error))
		return NULL;
	return service_set_change(server->service, actor, request->params[0], (const char *const *)add_list, (const char *const *)remove_list, error);
}

typedef json_t *(*assign_fn)(struct service *service, const char *actor, const char *name, const struct set_audience *audience, GError **error);

/* {"devices": [ids or UDIDs], "groups": [names], "users": [short names], "channel": "device" or "user", "force"} */
static json_t *assign(struct server *server, const struct http_request *request, assign_fn run, GError **error)
{
	static const char *const keys[] = {"devices", "groups", "users", "channel", "force", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **devices = NULL, **groups = NULL, **users = NULL;
	const char *channel = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_texts(body, "devices", &devices, error) || !admin_get_texts(body, "groups", &groups, error) ||
	    !admin_get_texts(body, "users", &users, error) || !admin_get_text(body, "channel", &channel, error))
		return NULL;
	if (channel && strcmp(channel, "device") && strcmp(channel, "user")) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "channel must be device or user, not \"%.32s\"", channel);
		return NULL;
	}
	const struct set_audience audience = {
		.devices = (const char *const *)devices, .groups = (const char *const *)groups, .users = (const char *const *)users, .users_of = channel && !strcmp(channel, "user"),
		.force = json_is_true(json_object_get(body, "force")),
	};
	return run(server->service, actor, request->params[0], &audience, error);
}

json_t *admin_set_assign(struct server *server, const struct http_request *request, GError **error)
{
	return assign(server, request, service_set_assign, error);
}

json_t *admin_set_unassign(struct server *server, const struct http_request *request, GError **error)
{
	return assign(server, request, service_set_unassign, error);
}

/* ---- files ---- */

/* The bundle of service/apply.h, with "owner", "digest" and "dry_run". */
json_t *admin_apply(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"owner", "digest", "dry_run", "groups", "profiles", "declarations", "sets", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	struct apply_request apply = {.bundle = body};

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "owner", &apply.owner, error) || !admin_get_text(body, "digest", &apply.digest, error))
		return NULL;
	apply.dry_run = json_is_true(json_object_get(body, "dry_run"));
	return service_apply(server->service, actor, &apply, error);
}

/* ---- watches ---- */

static struct finding_report *look_as_watch(void *ctx, const GPtrArray *anchors, char **ret_unreachable)
{
	return server_doctor_watch(ctx, anchors, ret_unreachable);
}

/* {"group", "anchors": PEM or base64, "force"} */
json_t *admin_watch_enable(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"group", "anchors", "force", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autoptr(GPtrArray) anchors = NULL;
	g_autoptr(GBytes) file = NULL;
	struct watch_enable_request enable = {.look = look_as_watch, .look_ctx = server};
	const char *text = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "group", &enable.group, error) || !admin_get_text(body, "anchors", &text, error))
		return NULL;
	if (!enable.group) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "group is missing");
		return NULL;
	}
	file = text ? admin_file_bytes(text) : NULL;
	if (file && !(anchors = cert_parse_all(g_bytes_get_data(file, NULL), g_bytes_get_size(file), error)))
		return NULL;
	enable.anchors = anchors;
	enable.force = json_is_true(json_object_get(body, "force"));
	return service_watch_enable(server->service, actor, &enable, error);
}

/* ---- devices ---- */

json_t *admin_device_declarations(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_declarations(server->service, request->params[0], after, admin_limit(request), error);
}

json_t *admin_device_status(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_status(server->service, request->params[0], after, admin_limit(request), error);
}
