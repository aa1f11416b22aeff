/* The admin API for over-the-air enrollment: links, device CAs, watches. */
#include "server/admin_internal.h"
#include "service/factory.h"
#include "service/ota.h"

json_t *admin_link_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_link_show(server->service, request->params[0], error);
}

json_t *admin_device_cas(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_ca_list(server->service, after, admin_limit(request), error);
}

/* {"certificate": PEM text or base64, "name": …} */
json_t *admin_device_ca_add(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"certificate", "name", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autoptr(GBytes) file = NULL;
	const char *text = NULL, *name = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "certificate", &text, error) || !admin_get_text(body, "name", &name, error))
		return NULL;
	if (!text) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "certificate is missing: the CA's, PEM or base64");
		return NULL;
	}
	file = admin_file_bytes(text);
	return service_device_ca_add(server->service, actor, file, name, error);
}

json_t *admin_device_ca_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_device_ca_remove(server->service, actor, request->params[0], error);
}

json_t *admin_watches(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_watch_list(server->service, after, admin_limit(request), error);
}
