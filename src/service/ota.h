/* Over-the-air enrollment and watches: what the routes call. */
#pragma once

#include "service/service.h"

/* What a device is sent. */
struct ota_reply { GBytes *profile; const char *step; /* "identity", "profile": for the log */ };
/* The Profile Service document of a link, signed; transfer full. Changes nothing but the timeline, unless QUIET. POM_ERR_LINK_*. */
GBytes *service_ota_begin(struct service *service, const char *token, bool quiet, struct subject *subject, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* BODY is what a device POSTed: its attributes, signed. What it is sent follows from who has issued the signer's certificate. POM_ERR_LINK_*, _CMS_*, _OTA_*, _PLIST_*, _CERT_*. Blocks for
 * up to a second when keys are made here. */
bool service_ota_answer(struct service *service, const char *token, GBytes *body, struct subject *subject, struct ota_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* BODY is what a watch POSTed. *RET: its enrollment profile. On POM_ERR_WATCH_MISSING *RET_SECURITY_TOKEN (transfer full) is what it has to tell its phone. */
bool service_watch_answer(struct service *service, GBytes *body, struct subject *subject, GBytes **ret, char **ret_security_token, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A random UUID (version 4), as Apple writes them: one that must not be guessed, so it is no time-ordered id. transfer full. */
char *service_random_uuid(const struct service *service);
/* A phone's GetToken that has been proved, from the device channel of ENROLLMENT_ID; *RET: the property list with TokenData, transfer full. */
bool service_watch_grant(struct service *service, const struct checkin_message *message, const char *enrollment_id, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes pairings that are long over. Called by the janitor. */
bool service_watch_purge(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

json_t *service_link_show(struct service *service, const char *id, GError **error);
json_t *service_watch_list(struct service *service, const char *after, int64_t limit, GError **error);
