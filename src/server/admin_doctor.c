/* The doctor's findings about this server. */
#include "core/doctor.h"
#include "server/admin_internal.h"

json_t *admin_doctor_show(struct server *server, const struct http_request *request, GError **error)
{
	return server_doctor_report(server, 0);
}

json_t *admin_doctor_run(struct server *server, const struct http_request *request, GError **error)
{
	return json_pack("{s:I}", "run", (json_int_t)server_doctor_ask(server));
}

json_t *admin_doctor_rules(struct server *server, const struct http_request *request, GError **error)
{
	return doctor_rules_format();
}
