/* What the store's files share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/shared_store.h"
#include "store/statements.h"
#include "store/store.h"

struct store_away {
	pthread_mutex_t lock;
	atomic_bool is_away;
	_Atomic int64_t answered_us; /* of the monotonic clock: when it last answered an operation */
	int64_t failed_us;           /* when one last could not reach it */
	char *why;                   /* of that */
	void (*fn)(void *ctx, const GError *why);
	void *ctx;
};

struct store {
	struct db *db;
	const struct pom_clock *clock;
	const struct pom_random *random;
	pthread_mutex_t seen_lock;
	GHashTable *seen; /* enrollment id → int64_t *, newest time */
	pthread_mutex_t delivered_lock;
	GHashTable *delivered; /* CommandUUID → what of its delivery is not written yet */
	bool leases;           /* they are written down: other nodes may use this database */
	atomic_bool is_left;     /* "pomona migrate-store" has begun to take its data elsewhere */
	atomic_int newer_schema; /* that a newer program has given the database; 0: none */
	_Atomic int64_t looked_ms, look_max_ms; /* when the last store_node_look began, of CLOCK_BOOTTIME; see store_look_limit */
	struct store_away away;
	pthread_mutex_t channels_lock;
	GHashTable *channels; /* "device id\nuser part" → enrollment id */
};

/* See store_watch. */
void store_away_init(struct store *store);
void store_away_clear(struct store *store);
/* Takes note of how a batch has ended. */
void store_away_note(struct store *store, enum db_outcome outcome, const GError *error);


/* Ids of enrollments of a device and, when WHO names one, its user; NULL: none. */
struct channel_ids { char *device, *user; };
typedef struct channel_ids channel_ids;
void channel_ids_clear(channel_ids *ids);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(channel_ids, channel_ids_clear)
/* From what is remembered, else from the database. A device of which the ids are known is asked of by them alone, wherever its rows are. */
bool store_channels_find(struct store *store, const struct checkin_identity *who, struct channel_ids *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Notes that enrollment ID is that of the device or, with USER_PART, of its user. */
void store_channel_remember(struct store *store, const char *device_id, const char *user_part, const char *id);
/* Whether FACTS were loaded by IDS that are not so any more: an enrollment that was remembered is not there (it was deleted, and another may have taken its place: then it is forgotten), or one has come since. */
bool store_channels_are_stale(struct store *store, const struct checkin_identity *who, const struct channel_ids *ids, const struct checkin_facts *facts);
/* The statements of all that a device says, which must be the first of BATCH, and what they gave. */
void store_add_facts(struct db_batch *batch, const uint8_t cert_sha256[32], const struct checkin_identity *who, const struct channel_ids *ids);
void store_read_facts(const struct db_batch *batch, const struct checkin_identity *who, struct checkin_facts *ret);
/* What Q_SHARED_VERSIONS at I gave. */
void store_read_versions(const struct db_batch *batch, unsigned i, struct shared_versions *ret);
/* The version of the CAs that was read with them. */
int64_t store_read_ca_version(const struct db_batch *batch);
/* The generation of the push that waits for the device or, with IS_USER, its user; NULL: none. */
const char *store_read_push(const struct db_batch *batch, bool is_user);
/* The rows of Q_FACT_LIST at I, struct fact_row: they live as long as the batch. transfer full. */
GArray *store_read_facts_of(const struct db_batch *batch, unsigned i);
/* Of the table of deliveries. */
void store_delivery_free(void *delivery);
/* Adds one timeline line to a batch; the oldest beyond 500 go. */
void store_batch_event(struct store *store, struct db_batch *batch, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms);
/* The same for what may happen again and again: one line that counts, as long as the last time is not older than EVENT_AGAIN_MS. It says the same DETAIL again; with ANY_DETAIL the newest detail
 * replaces the one before. */
void store_batch_event_again(struct store *store, struct db_batch *batch, const char *enrollment_id, const char *kind, const char *detail, bool any_detail, int64_t now_ms);
/* What store_link_event does. */
void store_batch_link_step(struct store *store, struct db_batch *batch, const struct link_step *step);
/* Adds "ask for a push" to a batch. Urgent: it goes before those that are not, as one command of many for many devices. */
enum push_urgency { PUSH_URGENCY_WAVE, PUSH_URGENCY_ONE, PUSH_URGENCY_PERSON };
void store_batch_push_urgent(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t due_ms, enum push_urgency urgency);
/* The same, PUSH_URGENCY_WAVE. */
void store_batch_push(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t due_ms);
/* Adds "this has changed" to a batch of writes, first: changes of one kind happen one after another. */
void store_batch_changed(struct db_batch *batch, enum shared_kind kind);
/* Adds a lock of NAME to a batch, first, and its end, last: of those who take the same, on whatever node, one goes on when the other has ended. For what has no row that could be held instead. */
void store_batch_lock(struct db_batch *batch, const char *name);
void store_batch_unlock(struct db_batch *batch, const char *name);
/* Adds an entry of the audit log to a batch; NULL: none. */
void store_batch_audit(struct store *store, struct db_batch *batch, const struct audit_entry *entry);
/* Adds "look at this device's profiles again" to a batch, when any concern it. */
void store_batch_library_device(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t now_ms);
/* Adds "look at this device's membership in groups of queries again" to a batch, when there are any. */
void store_batch_query_device(struct store *store, struct db_batch *batch, const char *enrollment_id);
/* Adds what a device has told. The oldest facts beyond FACTS_PER_DEVICE go. */
void store_batch_facts(struct store *store, struct db_batch *batch, const char *enrollment_id, const struct fact_write *write, int64_t now_ms);
/* Adds the end of a pending command with its report to a batch. */
void store_batch_finish(struct db_batch *batch, const struct command_row *command, const struct command_result *result, int64_t now_ms);
/* Adds "look at the declarations of this enrollment, and of its users, again" to a batch, when there may be any; the same for all that have PROFILE by a declaration, and for all when GROUP goes. */
void store_batch_ddm_device(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t now_ms);
void store_batch_ddm_profile(struct store *store, struct db_batch *batch, const char *profile, int64_t now_ms);
void store_batch_ddm_group_gone(struct store *store, struct db_batch *batch, const char *group, int64_t now_ms);
/* Adds a certificate of this server to a batch. */
void store_batch_authority(struct db_batch *batch, const struct authority_row *row);
/* Adds the row of a certificate of another CA to a batch. */
void store_batch_certificate_import(struct db_batch *batch, const struct certificate_import *certificate);
/* Adds a link with its challenge to a batch. */
void store_batch_link(struct db_batch *batch, const struct link_new *link);
/* Runs; true when done. What a thread writes under a lease is written only while the lease is its node's: POM_ERR_NODE_LEASE. */
bool store_run(struct store *store, struct db_batch *batch, GError **error);
/* The same for a batch that inserts a row of its own with ID, which nobody else has. When it is not known whether that was done, because the connection was lost, it is tried again for a few seconds: a conflict
 * then means that it was, if FIND (a statement of the one parameter ID) has a row. */
bool store_run_once(struct store *store, struct db_batch *batch, unsigned find, const char *id, GError **error);
/* Waits a little before what was lost is tried again. */
void store_pause(void);
/* After tries of which one is UNKNOWN it is not said of the last that nothing was done: *ERROR becomes POM_ERR_STORE_UNKNOWN when it is POM_ERR_STORE_AWAY. */
void store_keep_unknown(bool unknown, GError **error);
/* Runs a change and what belongs to it, as its audit entry. *RET_FOUND false: what was to be changed is not there, and nothing was written. */
bool store_run_found(struct store *store, struct db_batch *batch, bool *ret_found, GError **error);
/* Of node_store.c: what a thread that works under a lease must prove with each batch that writes. Before: adds the proof, or says that the lease was lost. After a conflict: says whether that was why. */
bool store_fence_add(struct store *store, struct db_batch *batch, GError **error);
void store_fence_explain(struct store *store, GError **error);
/* POM_ERR_NODE_OLD when the database has been migrated for a newer program, POM_ERR_STORE_MOVE when its data goes elsewhere. */
bool store_check_schema(struct store *store, GError **error);
/* Facts from Q_FACTS_CERTIFICATE at I and Q_FACTS_ENROLLMENT at I (rows 0). */
void store_read_certificate(const struct db_batch *batch, unsigned i, struct certificate_facts *ret);
void store_read_enrollment(const struct db_batch *batch, unsigned i, struct enrollment_facts *ret);
/* A row of ENROLLMENT_COLUMNS; OUT is a struct enrollment_row. */
void store_take_enrollment(const struct db_batch *batch, size_t row, void *out);
/* Runs a listing of one statement and maps each row with TAKE: the array's elements have SIZE bytes. */
GArray *store_list(struct store *store, struct db_batch *batch, size_t size, void (*take)(const struct db_batch *, size_t row, void *out), store_load **ret_load, GError **error);
