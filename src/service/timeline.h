/* The timeline: what happened to a link and to the device that came of it, and the verdict over it. */
#pragma once

#include "service/service.h"

/* A step of a link, from an address PEER (with or without a port, may be NULL). LINK_ID may come from outside: for a link that does not exist nothing happens. REFUSAL (may be NULL) becomes the detail, else WHAT
 * (may be NULL) does. What cannot be written is not worth failing for. Any thread; blocks on the store. */
void service_timeline_link(struct service *service, const char *link_id, const char *kind, const char *what, const char *peer, const GError *refusal);
/* What such a step says: WHAT and the address; transfer full. For those who write it with something else. */
char *service_timeline_detail(const char *what, const char *peer);
/* The same of a SCEP request: LINK_ID is what stands in the path, NULL when nothing does; then it is a hint, of the link whose profile was last fetched from the same address, and says so. */
void service_timeline_scep(struct service *service, const char *link_id, const char *kind, const char *what, const char *peer, const GError *refusal);
/* A check-in message or report (WHAT) of the holder of CERTIFICATE was refused: for the enrollment that it is bound to, else for the link that it was issued for. */
void service_timeline_refused(struct service *service, const struct certificate_facts *certificate, const char *what, const GError *refusal);

/* {"verdict": {…}, "items": […], "next"} of the device with this id or UDID. AFTER: as "next" says, or "". */
json_t *service_device_timeline(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
/* {"state", "stage", "since", "error", "where", "why", "todo"} of a link, or of the device that came of it; transfer full. */
json_t *service_link_verdict(struct service *service, const struct link_row *link, GError **error);
/* Removes what is older than DAYS, a bounded number of lines; *RET_MORE: there may be more. The janitor's. */
bool service_timeline_purge(struct service *service, int64_t days, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Links by the address that their profile was fetched from. */
struct timeline_hints;
struct timeline_hints *timeline_hints_new(void);
void timeline_hints_free(struct timeline_hints *hints);
