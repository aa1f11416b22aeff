/* Enrollment links, and the enrollment profile for a link and for the renewal of an identity. */
#pragma once

#include "core/enroll.h"
#include "service/ca_internal.h"
#include "keys/pkcs12.h"
#include "service/relay.h"

/* The link of TOKEN, when it can be used now (POM_ERR_LINK_*); its id goes into SUBJECT in any case. Changes nothing. Clear with link_load_clear. */
bool service_link_load(struct service *service, const char *token, struct subject *subject, struct link_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct enroll_wish {
	const char *link_id;       /* the identifiers in the profile come from it */
	const char *common_name, *record; /* names of the identity; record NULL: by the profile's templates */
	const char *topic, *challenge;
	const struct enroll_served *served;
	const char *enrollment_id; /* whose identity is renewed; NULL: a new enrollment */
	int64_t epoch;
	const char *device_id;     /* of the one device that may enroll with it; NULL: any */
	bool transport;            /* nothing but an identity of this server's own, with which the profile of the link is fetched over the air */
};

/* The profile with the identity as the settings say: SCEP, PKCS#12, or by an outside CA. transfer full. A new key is made for PKCS#12: blocks for a while. */
plist *service_enroll_tree(struct service *service, const struct enroll_wish *wish, GError **error);
/* CAFingerprint of enrollment profiles, as the settings say; NULL: none. transfer full. */
GBytes *service_ca_fingerprint(struct service *service);
/* The enrollment profile of a link, by the newest push certificate. POM_ERR_NO_PUSH_CERT. transfer full. */
plist *service_link_tree(struct service *service, const struct link_load *link, GError **error);
/* The push topic of new enrollments; transfer full. POM_ERR_NO_PUSH_CERT. */
char *service_new_topic(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The secret of a link's challenge, as text; transfer full, to be wiped. */
char *service_link_secret(struct service *service, const struct link_load *link, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a new link says: a random token (transfer full into RET_TOKEN), the secret of its challenge, its times. WATCH: for an Apple Watch. Free with link_draft_clear. */
struct link_draft { struct link_new link; struct pom_id id, challenge; char *token, *common_name, *served; GBytes *sealed; };
void service_link_draft(struct service *service, int64_t ttl_s, bool watch, struct link_draft *ret);
void link_draft_clear(struct link_draft *draft);
/* "open", "used", "expired" or "revoked". */
const char *link_state_name(const struct link_row *link, int64_t now_ms);
/* Checked, written and (unless the settings say otherwise) signed; transfer full. */
GBytes *service_profile_finish(struct service *service, plist *tree, GError **error);
