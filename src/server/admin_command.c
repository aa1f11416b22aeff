/* The queue: routes of the admin API. */
#include <string.h>
#include <unistd.h>

#include "server/admin_internal.h"
#include "service/command.h"

bool admin_query_flag(const struct http_request *request, const char *name, bool *ret, GError **error)
{
	g_autofree char *text = http_request_query(request, name);

	if (text && strcmp(text, "true") && strcmp(text, "false"))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "%s is %s: it must be true or false", name, text);
	*ret = text && !strcmp(text, "true");
	return true;
}

bool admin_may_read_secrets(struct server *server, const struct http_request *request, GError **error)
{
	const char *header = http_request_header(request, "Authorization");
	g_autofree char *name = NULL;
	GError *inner = NULL;
	bool secrets = false;

	if (request->is_unix && (request->unix_uid == 0 || request->unix_uid == geteuid()))
		return true;
	if (header && !g_ascii_strncasecmp(header, "Bearer ", strlen("Bearer ")))
		name = service_token_find(server->service, header + strlen("Bearer "), &secrets, &inner);
	if (inner) {
		g_propagate_error(error, inner);
		return false;
	}
	return (name && secrets) || pom_fail(error, POM_ERR_COMMAND_SECRETS, "the token has not the right to read secrets: make one that has it on the server itself, with \"pomona token new NAME --secrets\"");
}

json_t *admin_command_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *state = http_request_query(request, "state");

	if (state && strcmp(state, "pending") && strcmp(state, "done")) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "state must be pending or done");
		return NULL;
	}
	return service_command_list(server->service, request->params[0], state && !strcmp(state, "done"), after, admin_limit(request), error);
}

/* ?expires_in_s= of a raw plist, which has no room for it. */
static bool get_expiry(const struct http_request *request, struct command_order *order, GError **error)
{
	g_autofree char *text = http_request_query(request, "expires_in_s");
	char *end;
	int64_t seconds;

	if (!text)
		return true;
	seconds = g_ascii_strtoll(text, &end, 10);
	if (end == text || *end)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "expires_in_s must be a whole number of seconds; 0: never");
	return command_order_expire(order, seconds, error);
}

json_t *admin_command_send(struct server *server, const struct http_request *request, GError **error)
{
	struct command_order order = {.id = request->params[0], .body = request->body, .is_plist = admin_is_plist(request)};

	if (!admin_query_flag(request, "force", &order.force, error) || !admin_query_flag(request, "fold", &order.fold, error) || !get_expiry(request, &order, error))
		return NULL;
	return service_command_send(server->service, &order, error);
}

json_t *admin_command_show(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = NULL;
	bool secrets;

	if (!admin_query_flag(request, "secrets", &secrets, error) || (secrets && !admin_may_read_secrets(server, request, error)))
		return NULL;
	actor = admin_actor(server, request);
	return service_command_show(server->service, request->params[0], secrets, actor, error);
}

json_t *admin_command_cancel(struct server *server, const struct http_request *request, GError **error)
{
	return service_command_cancel(server->service, request->params[0], error);
}
