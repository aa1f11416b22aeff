/* Declarations and sets, as administrators see them. JSON out, as in service.h. */
#pragma once

#include "service/service.h"

struct declaration_upload {
	const json_t *declaration; /* {"Type", "Identifier", "Payload"} */
	GBytes *data;              /* of an asset, kept here; NULL: as it is */
	const char *content_type;  /* of the data; NULL: by the asset's type */
	bool force;                /* although the catalog does not know it, or something that it names is not there */
};
/* A new declaration, or a change of the one with its identifier; the same again is "unchanged". With "findings". POM_ERR_DECLARATION*, POM_ERR_JSON: nothing is stored. */
json_t *service_declaration_add(struct service *service, const char *actor, const struct declaration_upload *upload, GError **error);
/* What is wrong with it, and nothing else: finding_report_format with "identifier" and "type". */
json_t *service_declaration_lint(struct service *service, const struct declaration_upload *upload, GError **error);
json_t *service_declaration_list(struct service *service, const char *after, int64_t limit, GError **error);
/* With the payload, sets, who names it, and how many devices report it as what. */
json_t *service_declaration_show(struct service *service, const char *identifier, GError **error);
/* POM_ERR_DECLARATION_USED while it is in a set or named by another, unless FORCE. */
json_t *service_declaration_remove(struct service *service, const char *actor, const char *identifier, bool force, GError **error);
/* What became of it on each device that has reported. */
json_t *service_declaration_devices(struct service *service, const char *identifier, const char *after, int64_t limit, GError **error);

json_t *service_set_new(struct service *service, const char *actor, const char *name, GError **error);
json_t *service_set_list(struct service *service, const char *after, int64_t limit, GError **error);
/* Members, assignments, what it brings besides, and "problems". */
json_t *service_set_show(struct service *service, const char *name, GError **error);
/* ADD and REMOVE: identifiers, NULL-terminated, may be NULL. */
json_t *service_set_change(struct service *service, const char *actor, const char *name, const char *const *add, const char *const *remove, GError **error);
/* To whom: ids or UDIDs, groups, short names of users; each NULL-terminated, may be NULL. USERS_OF: to the users of these devices and groups instead. */
struct set_audience { const char *const *devices, *const *groups, *const *users; bool users_of, force; };
/* POM_ERR_DDM_TARGET when one of the devices cannot use a declaration, unless force: then it is among "warnings". */
json_t *service_set_assign(struct service *service, const char *actor, const char *name, const struct set_audience *audience, GError **error);
json_t *service_set_unassign(struct service *service, const char *actor, const char *name, const struct set_audience *audience, GError **error);
/* POM_ERR_DECLARATION_USED while it is assigned, unless FORCE. */
json_t *service_set_remove(struct service *service, const char *actor, const char *name, bool force, GError **error);

/* What a device shall have and what it reports of it. */
json_t *service_device_declarations(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
/* Status items as reported; AFTER: "item/element" of the last seen, or "". */
json_t *service_device_status(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
