/* Many devices at once: what they told, who they are by queries, orders to them, the end of their enrollments, inventory. JSON out, as in service.h. */
#pragma once

#include "core/query.h"
#include "service/service.h"
#include "store/fleet_store.h"

/* What a listing of devices says of one (admin.c). */
json_t *service_enrollment_json(struct service *service, const struct enrollment_row *row);

/* The command in BODY as service_command_send takes it, and whether it may go to this device (admin.c). UNCHECKED: the catalog is not asked. */
plist *service_command_parse(GBytes *body, bool is_plist, char **ret_uuid, GError **error);
bool service_command_check(struct service *service, const struct enrollment_row *row, const plist *inner, bool unchecked, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- fleet.c: devices by query ---- */
/* Answers whether devices match, a page at a time: what is needed of FROM to TO is loaded together. */
struct fleet_values;
struct fleet_values *fleet_values_load(struct service *service, const char *const *facts, const char *const *attributes, const char *from, const char *to, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fleet_values_free(struct fleet_values *values);
typedef struct fleet_values fleet_values;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(fleet_values, fleet_values_free)
bool fleet_matches(struct service *service, const struct query *query, struct fleet_values *values, const struct enrollment_row *row);
/* The JSON of a fact that was loaded; borrowed, NULL: not known. */
const char *fleet_fact(struct fleet_values *values, const char *enrollment_id, const char *name);

/* Enrolled devices that match TEXT, as service_device_list gives them. A page may hold fewer than LIMIT, or none, and yet have a "next": a bounded number of devices is looked at for each. POM_ERR_QUERY. */
json_t *service_device_query(struct service *service, const char *text, const char *after, int64_t limit, GError **error);

/* A group of the devices that match TEXT, from now on. POM_ERR_QUERY, also for what changes by time alone. */
json_t *service_query_group_new(struct service *service, const char *actor, const char *name, const char *text, GError **error);
json_t *service_query_group_set(struct service *service, const char *actor, const char *name, const char *text, GError **error);
/* The janitor's: brings members of such groups to what is known of devices now, a bounded number at a time; *RET_MORE: some are left. */
bool service_query_work(struct service *service, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- order.c: orders to many devices ---- */
struct order_wish {
	GBytes *body;                /* as of service_command_send */
	bool is_plist, force;
	const char *const *devices;  /* ids or UDIDs, NULL-terminated; exactly one of these four */
	const char *group, *query;
	bool all;
	int64_t expires_s;           /* as of struct command_order */
};
/* Makes the order durable, and answers at once; the janitor sends it. POM_ERR_ORDER, and what command_check refuses whatever the device. */
json_t *service_order_new(struct service *service, const char *actor, const struct order_wish *wish, GError **error);
/* Newest first; AFTER is the last id of the page before. */
json_t *service_order_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_order_show(struct service *service, const char *id, GError **error);
/* STATE: planned, queued, skipped, answered, failed, canceled, or "" for all. */
json_t *service_order_devices(struct service *service, const char *id, const char *state, const char *after, int64_t limit, GError **error);
/* Stops it, and takes back what devices have not answered. */
json_t *service_order_cancel(struct service *service, const char *actor, const char *id, GError **error);
/* The janitor's: sends and takes back, some pages of each order; *RET_MORE: some are left. */
bool service_order_work(struct service *service, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The janitor's: removes an order that ended long ago. */
bool service_order_purge(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The content of a command of an order, made when it is fetched. transfer full. */
GBytes *service_order_command(struct service *service, const struct command_next *next, GError **error);

/* ---- device_end.c ---- */
/* Asks the device to remove its enrollment profile, or with NOW revokes its identity at once. */
json_t *service_device_unenroll(struct service *service, const char *actor, const char *id, bool now, GError **error);
json_t *service_device_delete(struct service *service, const char *actor, const char *id, bool force, GError **error);
/* ID: an enrollment's id, a UDID, or, of a device that is not known, what it will call itself. UNENROLL: it is told to un-enroll when it comes. */
json_t *service_device_block(struct service *service, const char *actor, const char *id, const char *serial, const char *reason, bool unenroll, GError **error);
json_t *service_device_unblock(struct service *service, const char *actor, const char *id, GError **error);
json_t *service_block_list(struct service *service, const char *after, int64_t limit, GError **error);
/* Whether a device of this name or serial number (either may be NULL) may be served. POM_ERR_DEVICE_BLOCKED. */
bool service_check_blocked(struct service *service, const char *device_id, const char *serial, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its report on the removal of its enrollment profile: BODY is the whole report. */
bool service_unenroll_report(struct service *service, const struct command_row *command, const struct report *report, GBytes *body, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- inventory.c: what devices told, and asking them again ---- */
/* What an Acknowledged report tells: facts and lists, to be kept with it. KNOWN: the facts that were loaded with it, NULL when it has none. */
bool service_fleet_learn(struct service *service, const struct command_row *command, const plist *report, const GArray *known, struct fact_write *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Which lists a device told, with how many entries and when. */
json_t *service_device_lists(struct service *service, const char *id, GError **error);
/* The entries of one; AFTER is the number of those seen. Entries of a dictionary are objects with "name" and what it holds. */
json_t *service_device_list_items(struct service *service, const char *id, const char *name, const char *after, int64_t limit, GError **error);
/* The janitor's: asks devices whose time has come; *RET_N: how many. */
bool service_inventory_scan(struct service *service, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
