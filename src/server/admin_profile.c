/* The admin API for profiles in files: the body is the file, and so is the answer. */
#include "server/admin_internal.h"
#include "service/profile_tool.h"

#define PROFILE_TYPE "application/x-apple-aspen-config"

static struct http_response *profile_response(GBytes *profile)
{
	return profile ? http_response_new(200, PROFILE_TYPE, profile) : NULL;
}

struct http_response *admin_profile_sign(struct server *server, const struct http_request *request, GError **error)
{
	return profile_response(service_profile_tool_sign(server->service, request->body, error));
}
