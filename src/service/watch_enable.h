/* Apple Watch enrollment by declaration. */
#pragma once

#include "service/service.h"

struct watch_enable_request {
	const char *group;
	const GPtrArray *chain;   /* X509, as this server's TLS sends it, its own certificate first */
	const GPtrArray *anchors; /* X509 that watches shall pin; NULL or empty: what devices need for the TLS certificate, none when it is publicly trusted */
};
/* Makes the declarations (again the same ones) in the set "watch-enrollment" and assigns it to the supervised iPhones of the group: {"set", "url", "anchors", "publicly_trusted", "assigned", "skipped":
 * [{"id", "udid", "name", "why"}]}. Nothing is published when no watch would trust the server: POM_ERR_WATCH_ENABLE. */
json_t *service_watch_enable(struct service *service, const char *actor, const struct watch_enable_request *request, GError **error);
