/* The store of the library: profiles and versions, groups, attributes, facts, and the state of each profile on each device. As store.h: strings borrow from the load. */
#pragma once

#include "core/library.h"
#include "store/store.h"

/* ---- facts ---- */
struct fact_row { const char *name, *value; int64_t learnt_ms; }; /* value: JSON */
/* All of a device by name; or a page after AFTER, when LIMIT is above 0. */
GArray *store_fact_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- attributes ---- */
struct attribute_row { const char *name; GBytes *sealed; int64_t updated_ms; }; /* "attribute/<enrollment id>.<name>/value"; SEALED NULL in a change: the attribute goes */
GArray *store_attribute_list(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_attribute_change(struct store *store, const char *enrollment_id, const struct attribute_row *changes, size_t n, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;


/* ---- profiles ---- */
struct library_profile_row {
	const char *name, *identifier;
	int64_t newest, removing_ms, created_ms, updated_ms;
	/* of the newest version */
	int64_t size, is_signed, substitute;
	const char *sign, *encrypt, *variables, *secret, *uuid, *display_name;
};
struct library_version_row {
	int64_t number, size, is_signed, substitute, created_ms;
	const uint8_t *sha256; /* 32 bytes */
	const char *sign, *encrypt, *variables, *secret, *uuid, *display_name, *actor;
	/* only of store_library_version */
	GBytes *body_sealed, *content_sealed; /* owned: library_version_clear */
	const char *identifier;
};
void library_version_clear(struct library_version_row *row);
/* *RET_FOUND false: there is none. BY_IDENTIFIER: KEY is a PayloadIdentifier, else a name. */
bool store_library_get(struct store *store, const char *key, bool by_identifier, struct library_profile_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_library_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_library_versions(struct store *store, const char *profile, int64_t after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With body; NUMBER 0: the newest. POM_ERR_NOT_FOUND. */
bool store_library_version(struct store *store, const char *profile, int64_t number, struct library_version_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A new version: number 1 makes the profile. All devices that are to have it are looked at again. POM_ERR_STORE_CONFLICT: somebody else was faster, or the profile is being removed. */
bool store_library_add(struct store *store, const char *profile, const struct library_version_row *version, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes it from all devices and groups, and out of the library when no device has it any more. */
bool store_library_remove(struct store *store, const char *profile, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends the removal of profiles that no device has to take off any more; how many. */
bool store_library_purge(struct store *store, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- assignments ---- */
struct assignment_row { const char *kind, *target; int64_t created_ms; };
GArray *store_assignment_list(struct store *store, const char *profile, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_assignment_count(struct store *store, const char *profile, int64_t *ret_devices, int64_t *ret_groups, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* KIND "device" (targets are enrollment ids) or "group"; with the work that follows from it. */
bool store_assign(struct store *store, const char *profile, const char *kind, const char *const *targets, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_unassign(struct store *store, const char *profile, const char *kind, const char *const *targets, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- groups ---- */
struct group_row { const char *name; int64_t created_ms, n_members; const char *query; }; /* query NULL: a list of devices */
bool store_group_add(struct store *store, const char *name, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_NOT_FOUND. */
bool store_group_get(struct store *store, const char *name, struct group_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_group_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Names of the profiles that are assigned to it: array of const char *. */
GPtrArray *store_group_profiles(struct store *store, const char *name, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With its assignments and members, and the work that follows. PROFILES: those assigned to it, NULL-terminated. */
bool store_group_remove(struct store *store, const char *name, const char *const *profiles, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct member_row { const char *id, *device_id, *serial, *device_name; int64_t last_seen_ms, added_ms; };
GArray *store_member_list(struct store *store, const char *group, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Enrollment ids to take in and to take out; NULL-terminated. */
bool store_member_change(struct store *store, const char *group, const char *const *add, const char *const *remove, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GPtrArray *store_groups_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- states ---- */
/* What the rule needs to know of a profile and a device. */
struct library_facts {
	const char *identifier, *uuid, *command_uuid, *reason;
	int64_t active_epoch, newest, removing_ms, epoch, number, version; /* version 0: there is no row */
	bool assigned;
	struct library_row row;
};
/* *RET_FOUND false: no such device or profile. */
bool store_library_facts(struct store *store, const char *enrollment_id, const char *profile, struct library_facts *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A state to write with what belongs to it. */
struct library_write {
	const char *enrollment_id, *profile;
	const struct library_facts *facts;  /* as they were loaded: compare-and-set */
	const struct library_plan *plan;
	int64_t epoch, number, now_ms;
	const char *uuid;                   /* PayloadUUID of what is sent */
	const char *command_uuid;           /* of the present command from now on; with plan->install or remove a new one */
	const char *note, *request_type;    /* of the new command */
	GBytes *body;                       /* its body until it is made */
	const char *list_uuid, *list_note;  /* with plan->list */
	GBytes *list_body;
	bool check_assigned;                /* only while it is assigned, or not, as it was loaded */
	const char *event;                  /* kind of a line of the timeline; NULL: none */
};
/* All or none, in one transaction. POM_ERR_STORE_CONFLICT: load and decide again. */
bool store_library_apply(struct store *store, const struct library_write *writes, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct library_state_row {
	const char *enrollment_id, *profile, *state, *uuid, *command_uuid, *reason, *device_id, *serial, *device_name;
	int64_t epoch, number, queued_ms, deadline_ms, changed_ms, newest;
};
/* Of a profile by enrollment id, or of a device (OF_DEVICE) by profile. */
GArray *store_library_states(struct store *store, const char *key, bool of_device, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct library_count { const char *state; int64_t n; };
GArray *store_library_counts(struct store *store, const char *profile, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct library_due { const char *enrollment_id, *profile; };
GArray *store_library_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct library_confirmable { const char *profile, *identifier, *uuid, *state; };
GArray *store_library_confirmable(struct store *store, const char *enrollment_id, int64_t epoch, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- work: devices to be looked at ---- */
struct library_work { const char *id, *profile, *enrollment_id, *after; int64_t n_done, created_ms; };
GArray *store_library_work(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Enrollment ids that PROFILE concerns, after AFTER: array of const char *. */
GPtrArray *store_library_concerned(struct store *store, const char *profile, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Profiles that concern a device: array of const char *. */
GPtrArray *store_library_profiles_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_library_work_move(struct store *store, const char *id, const char *after, int64_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_library_work_done(struct store *store, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How far the work for PROFILE is; *RET_LEFT 0 when there is none. */
bool store_library_progress(struct store *store, const char *profile, int64_t *ret_done, int64_t *ret_left, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- what content is made with ---- */
struct library_device { const char *id, *udid, *serial, *name, *model, *os_version, *long_name, *link_user, *link_email; const void *der; size_t der_len; };
/* POM_ERR_NOT_FOUND. */
bool store_library_device(struct store *store, const char *enrollment_id, struct library_device *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
