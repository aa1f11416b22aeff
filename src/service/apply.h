/* Configuration from files: declarations, sets, profiles and groups that an owner wants to be so. */
#pragma once

#include "service/service.h"

struct apply_request {
	const char *owner;    /* of what it makes, and the only one whose things it takes away */
	const json_t *bundle; /* {"groups": [{"name", "members"}], "profiles": [{"name", "file": base64, "groups", "devices"}], "declarations": [{"declaration", "content": base64, "force"}],
	                       * "sets": [{"name", "declarations", "groups", "devices", "users", "channel"}]} */
	const char *digest;   /* of the plan that was seen; NULL: whatever it is */
	bool dry_run;
};
/* {"plan": [{"action": create, change or remove, "kind", "name"}], "digest", "missing_devices", "applied"}. Steps are done in their order; at one that fails it stops, and applying again goes on from
 * there. POM_ERR_APPLY, POM_ERR_CONFLICT (the plan is another by now), and those of each step. */
json_t *service_apply(struct service *service, const char *actor, const struct apply_request *request, GError **error);
