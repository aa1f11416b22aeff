/* What the files of the admin API share: each family has its handlers in one file, and its rows in a table that admin.c puts together. */
#pragma once

#include "server/server_internal.h"

/* One handler for each route, run after authorization. JSON, transfer full; NULL with ERROR. */
typedef json_t *(*admin_fn)(struct server *server, const struct http_request *request, GError **error);
/* One that answers something else than JSON; NULL with ERROR. */
typedef struct http_response *(*admin_raw_fn)(struct server *server, const struct http_request *request, GError **error);

/* The problem document of ERROR (RFC 9457); logs the refusal. */
struct http_response *admin_problem(const struct http_request *request, const GError *error);
/* ?limit= (100 when it is not given) and ?after= ("" when it is not; transfer full). */
int64_t admin_limit(const struct http_request *request);
char *admin_after(const struct http_request *request);
/* The body as a JSON object, transfer full; an empty one is an empty object. */
json_t *admin_body(const struct http_request *request, GError **error);
/* Refuses keys that nobody reads: a misspelt one would be silently ignored. KNOWN ends in NULL. */
bool admin_check_keys(json_t *object, const char *const *known, GError **error);
/* The text of KEY, borrowed; NULL when it is absent or null. */
bool admin_get_text(json_t *object, const char *key, const char **ret, GError **error);
/* The texts of the list KEY, borrowed; NULL-terminated, transfer container. NULL when it is absent or null. */
bool admin_get_texts(json_t *object, const char *key, const char ***ret, GError **error);
/* Who asks, for the audit log; transfer full. */
char *admin_actor(struct server *server, const struct http_request *request);
/* Whether who asks may read secrets of commands and answers: the owner of the data directory by its socket, or a token with that right. POM_ERR_COMMAND_SECRETS. */
bool admin_may_read_secrets(struct server *server, const struct http_request *request, GError **error);
/* ?NAME=true or false; *RET is false when it is not given. POM_ERR_BAD_REQUEST. */
bool admin_query_flag(const struct http_request *request, const char *name, bool *ret, GError **error);
/* A file that came as text, PEM or base64; transfer full, wiped when freed. */
GBytes *admin_file_bytes(const char *text);
/* Whether the content type is that of a property list. */
bool admin_is_plist(const struct http_request *request);

/* X(pattern, method, handler, status), and for raw handlers X(pattern, method, handler). */
/* admin_ota.c: device CAs, over-the-air enrollment */
#define ADMIN_OTA_TABLE(X) \
	X("/api/v1/links/{}", HTTP_GET, admin_link_show, 200) \
	X("/api/v1/device-cas", HTTP_GET, admin_device_cas, 200) \
	X("/api/v1/device-cas", HTTP_POST, admin_device_ca_add, 201) \
	X("/api/v1/device-cas/{}", HTTP_DELETE, admin_device_ca_remove, 200) \
	X("/api/v1/watches", HTTP_GET, admin_watches, 200)
json_t *admin_link_show(struct server *server, const struct http_request *request, GError **error);
json_t *admin_device_cas(struct server *server, const struct http_request *request, GError **error);
json_t *admin_device_ca_add(struct server *server, const struct http_request *request, GError **error);
json_t *admin_device_ca_remove(struct server *server, const struct http_request *request, GError **error);
json_t *admin_watches(struct server *server, const struct http_request *request, GError **error);

/* admin_library.c: profiles in the library, groups, attributes */
#define ADMIN_LIBRARY_TABLE(X) \
	X("/api/v1/profiles", HTTP_GET, admin_library_list, 200) \
	X("/api/v1/profiles", HTTP_POST, admin_library_add, 201) \
	X("/api/v1/profiles/{}", HTTP_GET, admin_library_show, 200) \
	X("/api/v1/profiles/{}", HTTP_DELETE, admin_library_remove, 200) \
	X("/api/v1/profiles/{}/versions", HTTP_GET, admin_library_versions, 200) \
	X("/api/v1/profiles/{}/versions/{}", HTTP_GET, admin_library_get, 200) \
	X("/api/v1/profiles/{}/assign", HTTP_POST, admin_library_assign, 200) \
	X("/api/v1/profiles/{}/unassign", HTTP_POST, admin_library_unassign, 200) \
	X("/api/v1/profiles/{}/devices", HTTP_GET, admin_library_status, 200) \
	X("/api/v1/profiles/{}/devices/{}/resend", HTTP_POST, admin_library_resend, 202) \
	X("/api/v1/groups", HTTP_GET, admin_group_list, 200) \
	X("/api/v1/groups", HTTP_POST, admin_group_new, 201) \
	X("/api/v1/groups/{}", HTTP_GET, admin_group_show, 200) \
	X("/api/v1/groups/{}", HTTP_DELETE, admin_group_remove, 200) \
	X("/api/v1/groups/{}/members", HTTP_GET, admin_group_members, 200) \
	X("/api/v1/groups/{}/members", HTTP_POST, admin_group_change, 200) \
	X("/api/v1/devices/{}/profiles", HTTP_GET, admin_device_profiles, 200) \
	X("/api/v1/devices/{}/attributes", HTTP_GET, admin_device_attributes, 200) \
	X("/api/v1/devices/{}/attributes", HTTP_POST, admin_device_set, 200) \
	X("/api/v1/devices/{}/facts", HTTP_GET, admin_device_facts, 200)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_LIBRARY_TABLE(X)
#undef X

/* admin_profile.c: signing, encrypting, linting of files; QR codes */
#define ADMIN_PROFILE_TABLE(X) \
	X("/api/v1/profile-tools/verify", HTTP_POST, admin_profile_verify, 200) \
	X("/api/v1/profile-tools/lint", HTTP_POST, admin_profile_lint, 200)
#define ADMIN_PROFILE_RAW_TABLE(X) \
	X("/api/v1/profile-tools/sign", HTTP_POST, admin_profile_sign) \
	X("/api/v1/profile-tools/encrypt", HTTP_POST, admin_profile_encrypt) \
	X("/api/v1/profile-tools/decrypt", HTTP_POST, admin_profile_decrypt)
json_t *admin_profile_verify(struct server *server, const struct http_request *request, GError **error);
json_t *admin_profile_lint(struct server *server, const struct http_request *request, GError **error);
struct http_response *admin_profile_sign(struct server *server, const struct http_request *request, GError **error);
struct http_response *admin_profile_encrypt(struct server *server, const struct http_request *request, GError **error);
struct http_response *admin_profile_decrypt(struct server *server, const struct http_request *request, GError **error);

/* admin_command.c: the queue and what is asked about commands */
#define ADMIN_COMMAND_TABLE(X) \
	X("/api/v1/devices/{}/commands", HTTP_GET, admin_command_list, 200) \
	X("/api/v1/devices/{}/commands", HTTP_POST, admin_command_send, 201) \
	X("/api/v1/commands/{}", HTTP_GET, admin_command_show, 200) \
	X("/api/v1/commands/{}", HTTP_DELETE, admin_command_cancel, 200)
#define ADMIN_COMMAND_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_COMMAND_TABLE(X)
#undef X

/* admin_fleet.c: orders to many devices, queries, the end of enrollments, inventory */
#define ADMIN_FLEET_TABLE(X) \
	X("/api/v1/groups/{}", HTTP_PUT, admin_group_query, 200) \
	X("/api/v1/orders", HTTP_GET, admin_order_list, 200) \
	X("/api/v1/orders", HTTP_POST, admin_order_new, 202) \
	X("/api/v1/orders/{}", HTTP_GET, admin_order_show, 200) \
	X("/api/v1/orders/{}", HTTP_DELETE, admin_order_cancel, 202) \
	X("/api/v1/orders/{}/devices", HTTP_GET, admin_order_devices, 200) \
	X("/api/v1/devices/{}", HTTP_DELETE, admin_device_delete, 200) \
	X("/api/v1/devices/{}/unenroll", HTTP_POST, admin_device_unenroll, 202) \
	X("/api/v1/devices/{}/block", HTTP_PUT, admin_device_block, 200) \
	X("/api/v1/devices/{}/block", HTTP_DELETE, admin_device_unblock, 200) \
	X("/api/v1/blocked-devices", HTTP_GET, admin_block_list, 200) \
	X("/api/v1/devices/{}/lists", HTTP_GET, admin_device_lists, 200) \
	X("/api/v1/devices/{}/lists/{}", HTTP_GET, admin_device_list_items, 200)
#define ADMIN_FLEET_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_FLEET_TABLE(X)
#undef X

/* admin_checkin.c: check-in messages and the timeline */
#define ADMIN_CHECKIN_TABLE(X) \
	X("/api/v1/devices/{}/timeline", HTTP_GET, admin_device_timeline, 200) \
	X("/api/v1/first-use", HTTP_GET, admin_first_use, 200) \
	X("/api/v1/devices/{}/return-to-service", HTTP_GET, admin_return_show, 200) \
	X("/api/v1/devices/{}/return-to-service", HTTP_POST, admin_return_set, 200) \
	X("/api/v1/devices/{}/return-to-service", HTTP_DELETE, admin_return_unset, 200)
#define ADMIN_CHECKIN_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_CHECKIN_TABLE(X)
#undef X

/* admin_pushcert.c: the life of push certificates */
#define ADMIN_PUSHCERT_TABLE(X) \
	X("/api/v1/push-certificates", HTTP_GET, admin_push_certs, 200) \
	X("/api/v1/push-certificates", HTTP_POST, admin_push_cert_import, 200) \
	X("/api/v1/push-certificates/check", HTTP_GET, admin_push_cert_check, 200) \
	X("/api/v1/push-certificates/{}", HTTP_PUT, admin_push_cert_set, 200) \
	X("/api/v1/push-certificates/{}", HTTP_DELETE, admin_push_cert_remove, 200) \
	X("/api/v1/push-vendors", HTTP_GET, admin_push_vendors, 200) \
	X("/api/v1/push-vendors", HTTP_POST, admin_push_vendor_csr, 201) \
	X("/api/v1/push-vendors/import", HTTP_POST, admin_push_vendor_import, 200) \
	X("/api/v1/push-vendors/{}", HTTP_DELETE, admin_push_vendor_remove, 200) \
	X("/api/v1/push-chain", HTTP_GET, admin_push_chain, 200) \
	X("/api/v1/push-chain", HTTP_POST, admin_push_chain_add, 200) \
	X("/api/v1/push-requests", HTTP_GET, admin_push_requests, 200) \
	X("/api/v1/push-requests", HTTP_POST, admin_push_csr, 201) \
	X("/api/v1/push-requests/sign", HTTP_POST, admin_push_sign, 200) \
	X("/api/v1/push-requests/mdmcert", HTTP_POST, admin_push_mdmcert, 201) \
	X("/api/v1/push-requests/document", HTTP_POST, admin_push_document, 200) \
	X("/api/v1/push-requests/{}", HTTP_DELETE, admin_push_request_remove, 200) \
	X("/api/v1/push-setup", HTTP_GET, admin_push_setup, 200) \
	X("/api/v1/push-setup", HTTP_POST, admin_push_setup_go, 200)
#define ADMIN_PUSHCERT_RAW_TABLE(X) \
	X("/api/v1/push-certificates/export", HTTP_POST, admin_push_cert_export)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_PUSHCERT_TABLE(X)
#undef X
struct http_response *admin_push_cert_export(struct server *server, const struct http_request *request, GError **error);

/* admin_push.c: the outbox of pushes */
#define ADMIN_PUSH_TABLE(X) \
	X("/api/v1/push", HTTP_GET, admin_push_status, 200) \
	X("/api/v1/push/resume", HTTP_POST, admin_push_resume, 202)
#define ADMIN_PUSH_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_PUSH_TABLE(X)
#undef X

/* admin_doctor.c: findings of the doctor */
#define ADMIN_DOCTOR_TABLE(X) \
	X("/api/v1/doctor", HTTP_GET, admin_doctor_show, 200) \
	X("/api/v1/doctor", HTTP_POST, admin_doctor_run, 202) \
	X("/api/v1/doctor/rules", HTTP_GET, admin_doctor_rules, 200)
#define ADMIN_DOCTOR_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_DOCTOR_TABLE(X)
#undef X

/* admin_ddm.c: declarative management */
#define ADMIN_DDM_TABLE(X) \
	X("/api/v1/declarations", HTTP_GET, admin_declaration_list, 200) \
	X("/api/v1/declarations", HTTP_POST, admin_declaration_add, 201) \
	X("/api/v1/declaration-lint", HTTP_POST, admin_declaration_lint, 200) \
	X("/api/v1/declarations/{}", HTTP_GET, admin_declaration_show, 200) \
	X("/api/v1/declarations/{}", HTTP_DELETE, admin_declaration_remove, 200) \
	X("/api/v1/declarations/{}/devices", HTTP_GET, admin_declaration_devices, 200) \
	X("/api/v1/apply", HTTP_POST, admin_apply, 200) \
	X("/api/v1/watch-enrollment", HTTP_POST, admin_watch_enable, 200) \
	X("/api/v1/sets", HTTP_GET, admin_set_list, 200) \
	X("/api/v1/sets", HTTP_POST, admin_set_new, 201) \
	X("/api/v1/sets/{}", HTTP_GET, admin_set_show, 200) \
	X("/api/v1/sets/{}", HTTP_DELETE, admin_set_remove, 200) \
	X("/api/v1/sets/{}/declarations", HTTP_POST, admin_set_change, 200) \
	X("/api/v1/sets/{}/assign", HTTP_POST, admin_set_assign, 200) \
	X("/api/v1/sets/{}/unassign", HTTP_POST, admin_set_unassign, 200) \
	X("/api/v1/devices/{}/declarations", HTTP_GET, admin_device_declarations, 200) \
	X("/api/v1/devices/{}/status", HTTP_GET, admin_device_status, 200)
#define ADMIN_DDM_RAW_TABLE(X)
#define X(pattern, method, run, status) json_t *run(struct server *server, const struct http_request *request, GError **error);
ADMIN_DDM_TABLE(X)
#undef X

/* admin_node.c: who else serves this database */
#define ADMIN_NODE_TABLE(X) \
	X("/api/v1/nodes", HTTP_GET, admin_node_list, 200)
json_t *admin_node_list(struct server *server, const struct http_request *request, GError **error);
