/* What administrators do with profiles in files, as far as it needs the server's keys or register; the rest is in keys/profile_file.h. Nothing is stored but audit
 * entries. */
#pragma once

#include "keys/profile_file.h"
#include "service/service.h"

/* FILE signed by WITH (NULL: as we sign what we serve); transfer full. FORCE: although it has errors. Errors of profile_file_check; POM_ERR_PROFILE_SIGNER. ACTOR stands in the
 * audit log. */
GBytes *service_profile_tool_sign(struct service *service, const char *actor, GBytes *file, const struct profile_signer *with, bool force, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct profile_tool_encrypt {
	const char *device;   /* its current identity; NULL: CERTIFICATE */
	GBytes *certificate;  /* PEM or DER */
	int cipher_nid;       /* 0: as the setting says */
	bool sign, force;
};
/* FILE encrypted, and signed then; transfer full. Errors of profile_file_encrypt; POM_ERR_NOT_FOUND; POM_ERR_CONFLICT: the device is not enrolled. */
GBytes *service_profile_tool_encrypt(struct service *service, const char *actor, GBytes *file, const struct profile_tool_encrypt *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The report of profile_verify, with the roots that devices are given as ours; GIVEN and SYSTEM (arrays of X509, borrowed) may be NULL. transfer full. */
json_t *service_profile_tool_verify(struct service *service, GBytes *file, GPtrArray *given, GPtrArray *system);
/* SYSTEM (array of X509, transfer full) with the roots that devices are given as ours added; transfer full. */
GPtrArray *service_profile_tool_roots(struct service *service, GPtrArray *system);
