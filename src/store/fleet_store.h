/* The store of the fleet: groups of queries, orders to many devices, the end of enrollments, blocked devices, inventory. As store.h: strings borrow from the load. */
#pragma once

#include "store/store.h"

/* ---- lists that devices report ---- */
struct fact_list_row { const char *name, *value; int64_t n_items, n_cut, learnt_ms; }; /* value: JSON; n_cut: entries that were left out */
/* *RET_FOUND false: the device has not told it. */
bool store_fact_list_get(struct store *store, const char *enrollment_id, const char *name, struct fact_list_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All of a device, without their values. */
GArray *store_fact_list_names(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The plist of a pending command; *RET NULL: there is none. transfer full. */
bool store_command_body(struct store *store, const char *uuid, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- devices by page ---- */
enum fleet_source { FLEET_ALL, FLEET_GROUP, FLEET_ORDER }; /* enrolled devices; members of the group KEY, whatever their state; those that the order KEY names */
/* In order of id, after AFTER: array of struct enrollment_row. Fewer than LIMIT: it was the last page. */
GArray *store_fleet_page(struct store *store, enum fleet_source source, const char *key, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_fleet_count(struct store *store, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Facts (JSON) and attributes (sealed, GBytes *) of these names, of the enrollments with ids FROM to TO: each a hash of "<enrollment id>/<name>". Values are owned by *RET_LOAD, and by the hash of attributes. */
bool store_fleet_values(struct store *store, const char *const *facts, const char *const *attributes, const char *from, const char *to, GHashTable **ret_facts, GHashTable **ret_attributes, store_load **ret_load,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- groups of queries ---- */
/* With the work of finding its members. POM_ERR_STORE_CONFLICT: there is a group of this name. */
bool store_query_group_add(struct store *store, const char *name, const char *query, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_STORE_CONFLICT: it is no group of a query. */
bool store_query_group_set(struct store *store, const char *name, const char *query, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct query_group { const char *name, *query; };
GArray *store_query_groups(struct store *store, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Members with ids after AFTER, up to and with UPTO: array of const char *. */
GPtrArray *store_query_members(struct store *store, const char *group, const char *after, const char *upto, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All of a group (enrollment_id NULL), or one device. */
struct query_work { const char *id, *group, *enrollment_id, *after; };
GArray *store_query_work(struct store *store, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct query_change { const char *group, *query, *enrollment_id; bool member; };
/* Changes of membership, each only while the group is of that query, with the work of the library that follows; and the work that found them moves on to AFTER, or is done (NULL). */
bool store_query_apply(struct store *store, const struct query_change *changes, size_t n, const char *work_id, const char *after, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether devices are still to be looked at for this group. */
bool store_query_is_working(struct store *store, const char *group, bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- orders ---- */
struct order_row {
	const char *id, *request_type, *kind, *target, *actor, *state, *after; /* state: sending, done, canceling, canceled */
	int64_t unchecked, n_planned, n_queued, n_skipped, created_ms, sent_ms, ended_ms, expires_ms; /* expires: its commands; 0: never */
};
/* IDS: the devices of kind "devices", NULL-terminated, else NULL. BODY_SEALED: "fleet_order/<id>/body". */
bool store_order_add(struct store *store, const struct order_row *order, GBytes *body_sealed, const char *const *ids, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_NOT_FOUND. */
bool store_order_get(struct store *store, const char *id, struct order_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its body; *RET_STATE transfer full. POM_ERR_NOT_FOUND. */
bool store_order_body(struct store *store, const char *id, char **ret_state, GBytes **ret_sealed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Newest first, before BEFORE ("" for the first). */
GArray *store_order_list(struct store *store, const char *before, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Those with devices still to be looked at. */
GArray *store_order_work(struct store *store, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct order_step { const char *enrollment_id, *uuid, *reason; }; /* uuid NULL: skipped for the reason */
/* A page of devices and the order's move to the id TO, in one transaction; LAST: nothing is left. What could not be queued because the enrollment has ended meanwhile is skipped.
 * POM_ERR_STORE_CONFLICT: the order has moved or was canceled. */
bool store_order_send(struct store *store, const struct order_row *order, const struct order_step *steps, size_t n, const char *to, bool last, GBytes *body, const char *note, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct order_count { const char *state; int64_t n; };
/* How many devices are in which state: planned, queued, skipped, answered, failed, canceled. */
GArray *store_order_counts(struct store *store, const char *id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct order_device_row { const char *enrollment_id, *device_id, *serial, *state, *command_uuid, *reason, *status; int64_t finished_ms; };
/* In STATE alone, unless that is "". */
GArray *store_order_devices(struct store *store, const char *id, const char *state, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* *RET_FOUND false: it is canceled already. */
bool store_order_cancel(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes back what waits on the next LIMIT devices. POM_ERR_STORE_CONFLICT: somebody else did. */
bool store_order_take_back(struct store *store, const struct order_row *order, int64_t limit, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes the oldest order made before BEFORE_MS of which no command waits. */
bool store_order_purge(struct store *store, int64_t before_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the end of an enrollment ---- */
struct enrollment_end {
	const char *enrollment_id, *reason, *event, *detail; /* reason of the epoch and of its profiles; event: of the timeline */
	const struct command_row *command;                   /* whose report ends it; NULL: none */
	const char *status;
	const void *result;
	size_t result_len;
	int64_t now_ms;
};
/* Ends a device's enrollment: its epochs, users, queue, identities (revoked: cessationOfOperation). *RET_FOUND false: it has ended already, and nothing was done. */
bool store_enrollment_end(struct store *store, const struct enrollment_end *end, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes all that is kept of a device and its users, but certificates, links and the audit log. POM_ERR_STORE_CONFLICT: it has changed at this moment, or is gone. */
bool store_enrollment_delete(struct store *store, const char *enrollment_id, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- blocked devices ---- */
struct block_row { const char *device_id, *serial, *reason, *actor; int64_t unenroll, created_ms; };
bool store_block_put(struct store *store, const struct block_row *row, const char *enrollment_id, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All with this name or serial number (may be NULL); *RET_FOUND false: none. */
bool store_block_remove(struct store *store, const char *device_id, const char *serial, const char *enrollment_id, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_block_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Either may be NULL. */
bool store_block_find(struct store *store, const char *device_id, const char *serial, struct block_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- inventory ---- */
/* Ids of devices to be asked: array of const char *. */
GPtrArray *store_inventory_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_inventory_put(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct inventory_query { const char *request_type; struct pom_id uuid; GBytes *body; };
/* Queues the queries of which nothing like them waits, each with NOTE, asks for a push, and puts the next time; *RET_N: how many were queued. */
bool store_inventory_ask(struct store *store, const char *enrollment_id, int64_t epoch, const struct inventory_query *queries, size_t n, const char *note, int64_t now_ms, int64_t due_ms, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
