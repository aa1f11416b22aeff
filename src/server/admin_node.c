/* The nodes that serve this database. */
#include "server/admin_internal.h"
#include "server/node.h"

json_t *admin_node_list(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return server_node_list(server, after, admin_limit(request), error);
}
