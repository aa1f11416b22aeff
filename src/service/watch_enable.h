/* Apple Watch enrollment by declaration. */
#pragma once

#include "codec/finding.h"
#include "service/service.h"

/* Looks through the public URL as a watch would that pins ANCHORS (X509; none: the roots that every watch has), by the rules of the doctor: its findings for watchOS, transfer full. When it cannot be
 * reached from here, the chain that this server sends is judged instead, and *RET_UNREACHABLE (transfer full) says why. Blocks, for a bounded time. */
typedef struct finding_report *(*watch_look_fn)(void *ctx, const GPtrArray *anchors, char **ret_unreachable);

struct watch_enable_request {
	const char *group;
	GPtrArray *anchors; /* X509 that watches shall pin; NULL or empty: what devices need for the TLS certificate, none when it, or what a proxy sends in its place, is publicly trusted */
	bool force;         /* whatever the look finds */
	watch_look_fn look;
	void *look_ctx;
};
/* Makes the declarations (again the same ones) in the set "watch-enrollment" and assigns it to the supervised iPhones of the group: {"set", "url", "anchors", "publicly_trusted", "unreachable": why|null,
 * "findings", "assigned", "skipped": [{"id", "udid", "name", "why"}]}. Nothing is published when no watch would trust the server: POM_ERR_WATCH_ENABLE names the findings. */
json_t *service_watch_enable(struct service *service, const char *actor, const struct watch_enable_request *request, GError **error);
