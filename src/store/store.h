/* The store: one operation per use case over the database. Callers see plain structs of core and never a statement.
 *
 * Loads read what a rule needs in one round trip; applies write a plan in one transaction with a compare-and-set on the row
 * version that the load has read. On POM_ERR_STORE_CONFLICT the caller loads and decides again. Strings of loaded structs borrow from
 * the load and live until it is freed. All calls block; any thread. */
#pragma once

#include "base/face.h"
#include "core/checkin.h"
#include "core/command.h"
#include "core/enroll.h"
#include "core/scep.h"
#include "db/db.h"

struct store;

/* Opens the database at URL and migrates it. CLOCK and RANDOM must stay. POM_ERR_STORE_*. */
struct store *store_open(const char *url, const struct pom_clock *clock, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void store_close(struct store *store);
/* A copy of the database at URL into FILE, for a backup: see db_copy. */
bool store_copy(const char *url, const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Examines such a copy before it is used: see db_check_file. POM_ERR_STORE_SCHEMA when it is newer than this program, or holds nothing. */
bool store_check_copy(const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the database answers. */
bool store_ping(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whatever a load has read; free with store_load_free. Row and column access is the store's own business. */
typedef struct db_batch store_load;
void store_load_free(store_load *load);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store_load, store_load_free)

/* ---- settings, authorities, API tokens ---- */
bool store_setting_get(struct store *store, const char *name, char **ret_value, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* NULL when absent */
bool store_setting_put(struct store *store, const char *name, const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct authority_row {
	const char *id, *role, *state;
	GBytes *certificate, *key_sealed; /* key_sealed NULL: no key here */
	int64_t not_before_ms, not_after_ms, created_ms;
};
/* The active ones, oldest first: array of struct authority_row, borrowed from *RET_LOAD; transfer full both. */
GArray *store_authority_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Adds; when RETIRE_OTHERS, the others of its role retire in the same transaction. */
bool store_authority_add(struct store *store, const struct authority_row *row, bool retire_others, GError **error) G_GNUC_WARN_UNUSED_RESULT;

bool store_token_add(struct store *store, const char *id, const char *name, const uint8_t hash[32], int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The token's id and name (transfer full) when the hash is that of a live one; NULL name: none. False: error. */
bool store_token_find(struct store *store, const uint8_t hash[32], char **ret_name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_token_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct token_row { const char *id, *name; int64_t created_ms, revoked_ms; };
GArray *store_token_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- push certificates ---- */
struct push_certificate_row {
	const char *topic;
	GBytes *certificates; /* DER of the leaf and then of its chain, one after another */
	GBytes *key_sealed;   /* "push_certificate/<topic>/key" */
	int64_t not_before_ms, not_after_ms, imported_ms, version;
};
GArray *store_push_certificate_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* newest first */
bool store_push_certificate_put(struct store *store, const struct push_certificate_row *row, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many live enrollments have another topic than TOPIC. */
bool store_other_topic_count(struct store *store, const char *topic, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- links, challenges, certificates ---- */
struct link_new {
	const char *id, *user_name, *device_name, *challenge_id, *common_name;
	uint8_t token_hash[32], secret_hash[32];
	GBytes *secret_sealed; /* "challenge/<challenge id>/secret" */
	int64_t created_ms, expires_ms;
};
bool store_link_add(struct store *store, const struct link_new *link, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct link_row { const char *id, *user_name, *device_name; int64_t created_ms, expires_ms, consumed_ms, revoked_ms; const char *enrollment_id; };
/* In order of id, after AFTER ("" for the first), at most LIMIT. */
GArray *store_link_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_link_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The link of a token with the sealed secret of its challenge. */
struct link_load { struct link_facts facts; const char *challenge_id; GBytes *secret_sealed; store_load *load; };
bool store_link_load(struct store *store, const uint8_t token_hash[32], struct link_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void link_load_clear(struct link_load *load);

struct scep_load {
	struct challenge_facts challenge;
	const char *common_name;
	bool may_enroll;
	int64_t version;
	GBytes *same_key_der; /* NULL when reserved only */
	store_load *load;
};
bool store_scep_load(struct store *store, const uint8_t secret_hash[32], const uint8_t spki_sha256[32], struct scep_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_load_clear(struct scep_load *load);
struct certificate_new {
	const char *serial, *authority_id, *subject, *link_id, *challenge_id, *transaction_id;
	uint8_t spki_sha256[32];
	int64_t not_before_ms, not_after_ms, issued_ms;
	bool may_enroll;
};
/* Before the signature: the row, the challenge's use (compare-and-set on its version) and the end of earlier unbound certificates of
 * the same link, in one transaction. */
bool store_certificate_reserve(struct store *store, const struct certificate_new *certificate, int64_t challenge_version, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* After it: the certificate itself. POM_ERR_STORE_CONFLICT when the row was superseded or revoked meanwhile. */
bool store_certificate_issue(struct store *store, const char *serial, GBytes *der, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- check-in ---- */
struct checkin_load { struct checkin_facts facts; store_load *load; };
/* Facts about the certificate with this SHA-256 (NULL: none), the device and the user channel named by WHO. */
bool store_checkin_load(struct store *store, const uint8_t cert_sha256[32], const struct checkin_identity *who, struct checkin_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void checkin_load_clear(struct checkin_load *load);
struct checkin_write {
	const struct checkin_message *message;
	const struct checkin_facts *facts;
	const struct checkin_plan *plan;
	const char *enrollment_id;   /* the device's; new with CHECKIN_DO_CREATE */
	const char *user_id;         /* row id of the user channel, new when it was unknown */
	GBytes *unlock_token_sealed; /* "epoch/<enrollment id>.<epoch>/unlock_token"; NULL: keep what is there */
	GBytes *bootstrap_token_sealed; /* "epoch/…/bootstrap_token"; NULL: delete */
	int64_t now_ms;
};
/* *RET_PUSH (may be NULL): a push was put into the outbox, because commands wait for a channel that now has a token. */
bool store_checkin_apply(struct store *store, const struct checkin_write *write, bool *ret_push, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The sealed bootstrap token of exactly this epoch; *RET NULL when there is none. */
bool store_bootstrap_token_get(struct store *store, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Notes that a device was heard; kept in memory and flushed by store_flush_last_seen. Never blocks on the database. */
void store_seen(struct store *store, const char *enrollment_id, int64_t now_ms);
/* The newest time known: what is in memory, else STORED_MS. */
int64_t store_last_seen(struct store *store, const char *enrollment_id, int64_t stored_ms);
bool store_flush_last_seen(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- commands ---- */
struct command_row {
	const char *enrollment_id, *uuid, *seq, *request_type, *status; /* status NULL: still queued */
	int64_t epoch, created_ms, finished_ms, not_now_ms, n_not_now;
};
/* What a report needs besides: where its command is, and the next one. */
struct report_load {
	struct checkin_facts facts; /* who, as for check-ins */
	enum command_where where;
	struct command_row command; /* when where is COMMAND_PENDING */
	store_load *load, *command_load;
};
bool store_report_load(struct store *store, const uint8_t cert_sha256[32], const struct report *report, struct report_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void report_load_clear(struct report_load *load);
/* The next command of a channel in its epoch, but the one named EXCEPT (may be NULL): the plist to send, transfer full; NULL: none. */
bool store_command_next(struct store *store, const char *enrollment_id, int64_t epoch, bool with_deferred, const char *except, GBytes **ret_body, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends a pending command with its result (the whole report, XML). */
bool store_command_finish(struct store *store, const struct command_row *command, const char *status, const void *result, size_t len, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_command_defer(struct store *store, const struct command_row *command, int64_t now_ms, int64_t push_again_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends a pending command without a report ("Canceled"). POM_ERR_NOT_FOUND, POM_ERR_CONFLICT when it is finished already. */
bool store_command_cancel(struct store *store, const char *uuid, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Queues a command for an enrollment and asks for a push, in one transaction. POM_ERR_NOT_FOUND, POM_ERR_CONFLICT (ended; UUID taken). */
bool store_command_add(struct store *store, const char *enrollment_id, const char *uuid, const struct command *command, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One command by UUID, pending or done; *RET_RESULT the XML of the report, transfer full, or NULL. POM_ERR_NOT_FOUND. */
bool store_command_get(struct store *store, const char *uuid, struct command_row *ret, GBytes **ret_result, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Pending ones, or done ones, of an enrollment: array of struct command_row. AFTER: seq (pending) or uuid (done) of the last seen, "". */
GArray *store_command_list(struct store *store, const char *enrollment_id, bool done, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- push ---- */
struct push_row {
	const char *enrollment_id, *generation, *push_magic, *topic;
	GBytes *push_token; /* NULL: no token (yet, or no longer) */
	int64_t attempts, epoch, dead_ms;
};
GArray *store_push_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* When the next push is due (0: none) and how many wait. */
bool store_push_backlog(struct store *store, int64_t *ret_next_ms, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
enum push_result { PUSH_DONE, PUSH_RETRY, PUSH_TOKEN_DEAD };
struct push_outcome {
	char *enrollment_id, *generation;
	GBytes *push_token;
	int64_t epoch, attempts, retry_ms, dead_ms; /* retry_ms: when to try again; dead_ms: APNs' timestamp, or now */
	enum push_result result;
};
/* Writes many outcomes in one transaction. */
bool store_push_apply(struct store *store, const struct push_outcome *outcomes, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Asks for a push. */
bool store_push_ask(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- admin ---- */
struct enrollment_row {
	const char *id, *device_id, *user_part, *parent_id;
	int64_t kind, state, active_epoch, pending_epoch;
	const char *serial, *product_name, *model, *model_name, *device_name, *os_version, *build_version, *imei, *meid, *user_short_name, *user_long_name, *owner;
	int64_t created_ms, authenticated_ms, enrolled_ms, ended_ms, last_seen_ms;
};
GArray *store_enrollment_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* By id or, on the device channel, by UDID. POM_ERR_NOT_FOUND. */
bool store_enrollment_get(struct store *store, const char *id, struct enrollment_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct epoch_row { const char *certificate_serial, *topic; int64_t push_dead_ms, awaiting_configuration, token_ms, has_unlock_token, has_bootstrap_token; };
bool store_epoch_get(struct store *store, const char *enrollment_id, int64_t epoch, struct epoch_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct event_row { const char *id, *kind, *detail; int64_t at_ms; };
GArray *store_event_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_event_add(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
