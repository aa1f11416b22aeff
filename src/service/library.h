/* The library of profiles: versions, assignments, and what becomes of each profile on each device. Groups, attributes and facts of devices. JSON out, as in service.h. */
#pragma once

#include "service/service.h"

/* ---- profiles ---- */
struct library_upload {
	const char *name;                        /* NULL: that of the profile with this PayloadIdentifier, or made of it */
	GBytes *file;                            /* kept byte for byte */
	GBytes *key;                             /* of an encrypted one: PEM of the private key; NULL: none */
	const char *sign, *encrypt, *variables;  /* auto, always (on), never (off); NULL: as in the version before, or auto */
};
/* A new profile, or a new version of one; the same file and options again are the version that is there ("unchanged"). "lint" is what the linter finds in it, which is told and not refused. All devices that have it assigned get the new one. POM_ERR_LIBRARY_*,
 * POM_ERR_PROFILE, POM_ERR_PLIST_*, POM_ERR_VARIABLE: nothing is stored. */
json_t *service_library_add(struct service *service, const char *actor, const struct library_upload *upload, GError **error);
json_t *service_library_list(struct service *service, const char *after, int64_t limit, GError **error);
/* With assignments, how many devices are in which state, and how many are still to be looked at. */
json_t *service_library_show(struct service *service, const char *name, GError **error);
json_t *service_library_versions(struct service *service, const char *name, const char *after, int64_t limit, GError **error);
/* {"file": base64 of the bytes as uploaded, …}; NUMBER 0: the newest. */
json_t *service_library_get(struct service *service, const char *name, int64_t number, GError **error);
/* POM_ERR_LIBRARY_ASSIGNED unless FORCE: then it is taken from the devices first. */
json_t *service_library_remove(struct service *service, const char *actor, const char *name, bool force, GError **error);
/* DEVICES (ids or UDIDs) and GROUPS: NULL-terminated, may be NULL. POM_ERR_VARIABLE_VALUE when one of DEVICES lacks a value: nothing is assigned then. */
json_t *service_library_assign(struct service *service, const char *actor, const char *name, const char *const *devices, const char *const *groups, GError **error);
json_t *service_library_unassign(struct service *service, const char *actor, const char *name, const char *const *devices, const char *const *groups, GError **error);
/* The state on each device; with "to_look_at". */
json_t *service_library_status(struct service *service, const char *name, const char *after, int64_t limit, GError **error);
/* Sends it again, whatever its state; or its removal, when it is not assigned. */
json_t *service_library_resend(struct service *service, const char *name, const char *device, GError **error);
json_t *service_device_profiles(struct service *service, const char *id, const char *after, int64_t limit, GError **error);

/* ---- groups of devices ---- */
json_t *service_group_new(struct service *service, const char *actor, const char *name, GError **error);
json_t *service_group_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_group_show(struct service *service, const char *name, GError **error);
json_t *service_group_members(struct service *service, const char *name, const char *after, int64_t limit, GError **error);
json_t *service_group_change(struct service *service, const char *actor, const char *name, const char *const *add, const char *const *remove, GError **error);
/* POM_ERR_LIBRARY_ASSIGNED when profiles are assigned to it, unless FORCE: then its members lose them. */
json_t *service_group_remove(struct service *service, const char *actor, const char *name, bool force, GError **error);

/* ---- attributes and facts of a device ---- */
json_t *service_device_attributes(struct service *service, const char *id, GError **error);
/* SET: {"name": "value"}; UNSET: ["name"]; either may be NULL. */
json_t *service_device_set(struct service *service, const char *actor, const char *id, const json_t *set, const json_t *unset, GError **error);
json_t *service_device_facts(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
/* Adds "attributes", "groups" and the main facts to what "device show" says. */
bool service_device_more(struct service *service, const char *enrollment_id, json_t *o, GError **error);

/* Whether EMAIL has the form of an address that ${user.email} can stand for; NULL is fine. POM_ERR_BAD_REQUEST. */
bool service_email_check(const char *email, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the janitor's ---- */
/* Looks at devices that changes have made due, a bounded number; *RET_MORE: some are left. */
bool service_library_work(struct service *service, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends what has waited too long, and the removal of profiles that no device has any more. */
bool service_library_minute(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
