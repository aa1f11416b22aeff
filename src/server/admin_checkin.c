/* The admin API for check-in messages and the timeline. */
#include "server/admin_internal.h"
#include "service/checkin.h"
#include "service/timeline.h"

json_t *admin_device_timeline(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_timeline(server->service, request->params[0], after, admin_limit(request), error);
}

json_t *admin_first_use(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_first_use_list(server->service, after, admin_limit(request), error);
}

json_t *admin_return_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_return_show(server->service, request->params[0], error);
}

/* VALUE under KEY, which stays as it is when KEY is absent. */
static bool get_bool(json_t *object, const char *key, bool *ret, GError **error)
{
	const json_t *value = json_object_get(object, key);

	if (value && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "%s must be true or false", key);
	if (value)
		*ret = json_is_true(value);
	return true;
}

/* {"enabled": true, "wifi_profile": name or null, "mdm_profile": false, "bootstrap_token": true}; what is left out is as here */
json_t *admin_return_set(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"enabled", "wifi_profile", "mdm_profile", "bootstrap_token", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	struct return_wish wish = {.enabled = true, .bootstrap_token = true};

	if (!body || !admin_check_keys(body, keys, error) || !get_bool(body, "enabled", &wish.enabled, error) || !get_bool(body, "mdm_profile", &wish.mdm_profile, error) ||
	    !get_bool(body, "bootstrap_token", &wish.bootstrap_token, error) || !admin_get_text(body, "wifi_profile", &wish.wifi_profile, error))
		return NULL;
	return service_return_set(server->service, actor, request->params[0], &wish, error);
}

json_t *admin_return_unset(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_return_set(server->service, actor, request->params[0], NULL, error);
}
