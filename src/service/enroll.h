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
};
/* The profile with the identity as the settings say: SCEP, PKCS#12, or by an outside CA. transfer full. A new key is made for PKCS#12: blocks for a while. */
plist *service_enroll_tree(struct service *service, const struct enroll_wish *wish, GError **error);
/* Checked, written and (unless the settings say otherwise) signed; transfer full. */
GBytes *service_profile_finish(struct service *service, plist *tree, GError **error);
