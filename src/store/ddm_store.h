/* The store of declarative management: declarations, sets, lists of devices, status. As store.h: strings borrow from the load. */
#pragma once

#include "core/ddm.h"
#include "store/store.h"

/* ---- declarations ---- */
struct declaration_row {
	const char *identifier, *type, *token, *profile;
	int64_t kind, forced, version, created_ms, updated_ms;
	int64_t profile_version; /* of its profile in the library; 0: none */
	int64_t data_size;       /* of its data, sealed; 0: none */
	/* only of store_declaration_get, and for changes */
	GBytes *body_sealed, *data_sealed; /* "declaration/<identifier>/body", "…/data" */
};
void declaration_row_clear(struct declaration_row *row);
/* *RET_FOUND false: there is none. declaration_row_clear. */
bool store_declaration_get(struct store *store, const char *identifier, struct declaration_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_declaration_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Adds (row->version 0) or changes (compare-and-set on it); REFERENCES: array of struct declaration_reference *. All devices that have it are looked at again. POM_ERR_STORE_CONFLICT. */
bool store_declaration_put(struct store *store, const struct declaration_row *row, const GPtrArray *references, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With its place in sets. */
bool store_declaration_remove(struct store *store, const char *identifier, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct reference_row { const char *path, *target, *type; }; /* type NULL: the target is not there */
GArray *store_reference_list(struct store *store, const char *identifier, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All references that can be reached from IDENTIFIER: array of struct edge_row. */
struct edge_row { const char *from, *to; };
GArray *store_reference_reach(struct store *store, const char *identifier, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Sets that hold it, and declarations that name it (the first hundred): arrays of const char *. */
GPtrArray *store_declaration_sets(struct store *store, const char *identifier, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GPtrArray *store_declaration_named_by(struct store *store, const char *identifier, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct declared_count { const char *valid; int64_t active, n; };
GArray *store_declared_counts(struct store *store, const char *identifier, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- sets ---- */
struct set_row { const char *name; int64_t created_ms, updated_ms, n_members; };
bool store_set_add(struct store *store, const char *name, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_NOT_FOUND. */
bool store_set_get(struct store *store, const char *name, struct set_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_set_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With its members and assignments; TARGETS (array of struct set_target) are those that lose it. */
bool store_set_remove(struct store *store, const char *name, const GArray *targets, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct set_member_row { const char *identifier, *type; int64_t kind, added_ms; };
GArray *store_set_members(struct store *store, const char *name, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Members to put in and to take out, NULL-terminated; *RET_N: how many that were not as wished. Nothing is written when there is none. */
bool store_set_change(struct store *store, const char *name, const char *const *add, const char *const *remove, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* kind: device (target is an enrollment id), group, user (a short name). channel: device, user. */
struct set_target { const char *kind, *target, *channel; int64_t created_ms; };
GArray *store_set_targets(struct store *store, const char *name, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* ON: assigns, else unassigns; *RET_N: how many that were not as wished. */
bool store_set_assign(struct store *store, const char *name, const struct set_target *targets, size_t n, bool on, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Names of the sets that are assigned to a group, the first hundred. */
GPtrArray *store_group_sets(struct store *store, const char *group, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Names of the sets that an enrollment has, in order: array of const char *. */
GPtrArray *store_sets_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a set brings, with all that its members name. */
struct set_item { const char *identifier, *token, *type; int64_t kind, profile_version; };
GArray *store_set_items(struct store *store, const char *name, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- lists of devices ---- */
struct ddm_facts {
	int64_t active_epoch, kind, version, epoch, changed_ms, told_ms, status_ms; /* version 0: there is no state */
	const char *token, *told, *delivered, *subscription, *reason, *waiting;      /* waiting: UUID of the command that is on its way */
	const char *product_name, *model, *os_version, *parent_id;
};
/* *RET_FOUND false: no such enrollment. */
bool store_ddm_facts(struct store *store, const char *enrollment_id, struct ddm_facts *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct ddm_write {
	const char *enrollment_id;
	const struct ddm_facts *facts; /* as they were loaded: compare-and-set */
	const char *token, *told, *delivered;
	GBytes *items;                 /* of TOKEN; NULL: it is there already */
	int64_t told_ms;
	const char *cancel;            /* UUID of a command to take back; NULL: none */
	const char *queue;             /* UUID of a command to queue; NULL: none */
	GBytes *body;                  /* of that */
	int64_t push_ms;               /* when its push is due */
};
/* All or none, in one transaction. POM_ERR_STORE_CONFLICT: load and decide again. */
bool store_ddm_apply(struct store *store, const struct ddm_write *writes, size_t n, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The list that an enrollment has in this epoch; *RET_ITEMS transfer full, NULL (and a token of NULL): none. */
struct ddm_listed { char *token; GBytes *items; int64_t changed_ms, version; bool told; };
void ddm_listed_clear(struct ddm_listed *listed);
bool store_ddm_listed(struct store *store, const char *enrollment_id, int64_t epoch, struct ddm_listed *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The token of that alone, transfer full; NULL: none. */
bool store_ddm_tokens(struct store *store, const char *enrollment_id, int64_t epoch, char **ret_token, int64_t *ret_changed_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Why a device does not take declarations; NULL: it does. */
bool store_ddm_reason(struct store *store, const char *enrollment_id, const char *reason, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Enrollments that were told of an older list, changed before BEFORE_MS, with nothing on its way: array of const char *. */
GPtrArray *store_ddm_stale(struct store *store, int64_t before_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes lists made before BEFORE_MS that no device has. */
bool store_ddm_purge(struct store *store, int64_t before_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- work ---- */
struct ddm_work { const char *id, *kind, *subject, *channel, *after; int64_t n_done, created_ms; };
GArray *store_ddm_work(struct store *store, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_ddm_work_count(struct store *store, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Replaces work about a set, declaration or profile by work about each of its targets. */
bool store_ddm_work_expand(struct store *store, const struct ddm_work *work, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Enrollments that WORK is about, after AFTER: array of const char *. */
GPtrArray *store_ddm_work_page(struct store *store, const struct ddm_work *work, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_ddm_work_move(struct store *store, const char *id, const char *after, int64_t n_done, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_ddm_work_done(struct store *store, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- status ---- */
/* One report, in one transaction. FACTS: array of struct fact (core/fact.h) that it tells; SUBSCRIPTION: what the device can be asked for, NULL: it does not say. With it the enrollment is looked at again. */
bool store_ddm_report(struct store *store, const char *enrollment_id, int64_t epoch, const struct ddm_report *report, const GArray *facts, const char *subscription, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct status_row { const char *item, *element, *value, *reasons; int64_t learnt_ms; };
GArray *store_status_list(struct store *store, const char *enrollment_id, const char *after_item, const char *after_element, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct declared_row { const char *identifier, *valid, *token, *reasons; int64_t kind, active, learnt_ms; };
GArray *store_declared_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct declared_device { const char *enrollment_id, *device_id, *serial, *device_name, *valid, *reasons; int64_t active, learnt_ms; };
GArray *store_declared_devices(struct store *store, const char *identifier, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- what apply has made ---- */
struct applied_row { const char *kind, *name; };
GArray *store_applied_list(struct store *store, const char *owner, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_applied_set(struct store *store, const char *owner, const char *kind, const char *name, bool on, GError **error) G_GNUC_WARN_UNUSED_RESULT;
