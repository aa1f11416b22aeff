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
struct audit_entry;

/* Opens the database at URL and migrates it. CLOCK and RANDOM must stay. POM_ERR_STORE_*, also _MOVE for one that was moved to another, or is not whole. */
struct store *store_open(const char *url, const struct pom_clock *clock, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void store_close(struct store *store);
/* What is at URL, and what of URL may be seen: see db_peek, db_url_check, db_url_has_password, db_url_show. */
bool store_peek(const char *url, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_url_check(const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_url_has_password(const char *url);
char *store_url_show(const char *url);
/* A copy of the database at URL into FILE, for a backup: see db_copy. */
bool store_copy(const char *url, const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Examines such a copy before it is used: see db_check_file. POM_ERR_STORE_SCHEMA when it is newer than this program, or holds nothing. */
bool store_check_copy(const char *file, const struct db_progress *progress, int *ret_schema, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether other processes may use this database. */
bool store_is_shared(const struct store *store);
/* See db_risks. */
const char *store_risks(const struct store *store);
/* Whether the database answers. */
bool store_ping(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A database that others use too can go away and come back. FN is told, by whichever thread noticed it, when an operation could not reach it any more (WHY), and when one could again, a second after
 * the last that could not (NULL); each once in turn. FN must not use the store. Once, before other threads use the store. */
void store_watch(struct store *store, void (*fn)(void *ctx, const GError *why), void *ctx);
/* Whether FN's last word was that it is away. Any thread, does not block. */
bool store_is_away(struct store *store);
/* Whether it is not away and has answered an operation within the last SILENT_MAX_MS milliseconds. Any thread, does not block. POM_ERR_STORE_AWAY with the reason. */
bool store_is_reachable(struct store *store, int64_t silent_max_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether ERROR is of a database that is away, which store_watch tells: who goes on by himself need not say it again. */
bool store_error_is_away(const GError *error);

/* Whatever a load has read; free with store_load_free. Row and column access is the store's own business. */
typedef struct db_batch store_load;
void store_load_free(store_load *load);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store_load, store_load_free)

/* ---- settings, authorities, API tokens ---- */
bool store_setting_get(struct store *store, const char *name, char **ret_value, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* NULL when absent */
bool store_setting_put(struct store *store, const char *name, const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A certificate of this server. role: root, chain, issuing, ra, ocsp, signer, tls. state: active, superseded (renewed with the same key). */
struct authority_row {
	const char *id, *role, *state;
	GBytes *certificate, *key_sealed; /* key_sealed: PKCS#8 as "authority/<id>/key", or with key_uri the token's PIN; NULL: no key here */
	int64_t not_before_ms, not_after_ms, created_ms;
	const char *generation_id, *key_uri; /* key_uri: the key is in a PKCS#11 token */
};
/* All but the retired ones, oldest first: array of struct authority_row, borrowed from *RET_LOAD; transfer full both. */
GArray *store_authority_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Adds; when RETIRE_OTHERS, the others of its role retire in the same transaction. */
bool store_authority_add(struct store *store, const struct authority_row *row, bool retire_others, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- generations of CAs ---- */
struct generation_row {
	const char *id, *ca, *state, *source; /* states and sources: core/ca.h */
	int64_t number, version, created_ms, activated_ms, retiring_ms, retired_ms;
};
/* All, by CA and number. */
GArray *store_generation_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A new generation with its certificates. POM_ERR_STORE_CONFLICT when its number is taken. */
bool store_generation_add(struct store *store, const struct generation_row *generation, const struct authority_row *rows, size_t n, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What changes together: states of generations (compare-and-set on version), certificates that come, and those that are superseded. */
struct generation_change { const char *id, *state; int64_t version, activated_ms, retiring_ms, retired_ms; };
bool store_generation_change(struct store *store, const struct generation_change *changes, size_t n_changes, const struct authority_row *added, size_t n_added,
                             const char *const *superseded_ids, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes a generation in state requested with its key. POM_ERR_STORE_CONFLICT when it is in another state or version by now. */
bool store_generation_drop(struct store *store, const char *id, int64_t version, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many live devices have an identity of each generation: array of struct generation_count. */
struct generation_count { const char *generation_id; int64_t n; };
GArray *store_generation_devices(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct device_brief { const char *id, *device_id, *serial, *name; int64_t last_seen_ms, value; }; /* value: end of the identity in ms, or the newest root */
GArray *store_generation_device_list(struct store *store, const char *generation_id, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Live devices that have not acknowledged the root of generation NUMBER of the default CA. */
GArray *store_anchor_lacking(struct store *store, int64_t number, const char *after, const char *until, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_live_count(struct store *store, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the audit log ---- append-only and hash-chained; see service/audit.c. */
/* One decision, written in the same transaction as what it tells of. */
struct audit_entry { const char *actor, *action, *object; char *detail; /* JSON, NULL: none; freed by the operation that it is given to */ };
bool store_audit_add(struct store *store, const struct audit_entry *entry, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct audit_row { const char *id, *actor, *action, *object, *detail; int64_t seq, at_ms; const void *hash; size_t hash_len; };
/* Those not in the chain yet, oldest first (seq 0), and the chain's last: *RET_SEQ 0 and zeros when it is empty. */
GArray *store_audit_pending(struct store *store, int64_t limit, int64_t *ret_seq, uint8_t ret_hash[32], store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes rows (with seq and hash) from the pending ones into the chain. POM_ERR_STORE_CONFLICT: somebody else did. */
bool store_audit_chain(struct store *store, const struct audit_row *rows, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The chain after AFTER, oldest first; of OBJECT only when it is not NULL. */
GArray *store_audit_list(struct store *store, const char *object, int64_t after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The chain before BEFORE, newest first. */
GArray *store_audit_before(struct store *store, int64_t before, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* SECRETS: who has the token may read secrets in commands and answers. */
bool store_token_add(struct store *store, const char *id, const char *name, const uint8_t hash[32], bool secrets, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The token's name (transfer full) and right when the hash is that of a live one; NULL name: none. False: error. */
bool store_token_find(struct store *store, const uint8_t hash[32], char **ret_name, bool *ret_secrets, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_token_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct token_row { const char *id, *name; int64_t created_ms, revoked_ms; bool secrets; };
GArray *store_token_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- push certificates ---- */
struct push_certificate_row {
	const char *topic;
	GBytes *certificates; /* DER of the leaf and then of its chain, one after another */
	GBytes *key_sealed;   /* "push_certificate/<topic>/key" */
	int64_t not_before_ms, not_after_ms, imported_ms, version;
};
GArray *store_push_certificate_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* newest first */

/* ---- the doctor ---- */
/* The last report of TARGET as JSON, transfer full, and when it was made; NULL when there is none. */
bool store_doctor_get(struct store *store, const char *target, char **ret_report, int64_t *ret_finished_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_doctor_put(struct store *store, const char *target, const char *report, int64_t finished_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many live enrollments have a topic that no push certificate has. */
bool store_doctor_topicless(struct store *store, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- links, challenges, certificates ---- */
struct link_new {
	const char *id, *user_name, *user_email, *device_name, *challenge_id, *common_name, *device_id; /* device_id: of the one device that may enroll with it; NULL: any */
	uint8_t token_hash[32], secret_hash[32];
	GBytes *secret_sealed; /* "challenge/<challenge id>/secret" */
	int64_t created_ms, expires_ms;
	const char *served;    /* JSON of what the profile says for good (core/enroll.h) */
	int64_t anchor;        /* newest generation whose root is in the profile */
};
bool store_link_add(struct store *store, const struct link_new *link, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Sets what the links that do not say it serve. */
bool store_links_serve(struct store *store, const char *served, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct link_row { const char *id, *user_name, *device_name; int64_t created_ms, expires_ms, consumed_ms, revoked_ms; const char *enrollment_id; };
/* In order of id, after AFTER ("" for the first), at most LIMIT. */
GArray *store_link_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_link_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The link of a token with the sealed secret of its challenge. */
struct link_load { struct link_facts facts; const char *challenge_id, *served, *device_id; GBytes *secret_sealed; store_load *load; };
bool store_link_load(struct store *store, const uint8_t token_hash[32], struct link_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void link_load_clear(struct link_load *load);

/* ---- SCEP challenges and certificates ---- */
struct challenge_new {
	const char *id, *common_name, *profile, *record, *device_id, *key_type, *for_enrollment_id; /* record: JSON (core/scep.h), NULL: the profile's template */
	uint8_t secret_hash[32];
	int64_t max_keys, created_ms, expires_ms, for_epoch;
	bool may_enroll;
};
bool store_challenge_add(struct store *store, const struct challenge_new *challenge, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct challenge_row {
	const char *id, *link_id, *common_name, *profile, *record, *device_id, *key_type, *for_enrollment_id;
	int64_t max_keys, may_enroll, created_ms, expires_ms, closed_ms, revoked_ms, n_keys;
};
GArray *store_challenge_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_NOT_FOUND. */
bool store_challenge_get(struct store *store, const char *id, struct challenge_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_challenge_revoke(struct store *store, const char *id, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A certificate that we have issued or know. */
struct certificate_row {
	const char *serial, *authority_id, *subject, *link_id, *challenge_id, *transaction_id, *enrollment_id, *revoked_reason, *generation_id, *profile, *record,
		*for_enrollment_id, *renews_serial, *ota_link_id;
	int64_t not_before_ms, not_after_ms, state, may_enroll, epoch, issued_ms, bound_ms, revoked_ms, for_epoch, renewed_ms;
	const uint8_t *spki_sha256; /* 32 bytes */
	const void *der;            /* NULL: reserved only */
	size_t der_len;
};
/* In order of serial; of one enrollment only when ENROLLMENT_ID is not NULL. */
GArray *store_certificate_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_NOT_FOUND. */
bool store_certificate_get(struct store *store, const char *serial, struct certificate_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* *RET_FOUND false: no such certificate. */
bool store_certificate_by_sha256(struct store *store, const uint8_t sha256[32], struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* *RET_FOUND false when there is none (any more, or not to be revoked or released in its state). */
bool store_certificate_revoke(struct store *store, const char *serial, const char *reason, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_certificate_release(struct store *store, const char *serial, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* For OCSP; *RET_STATE -1: not one of this generation. REASON is copied into RET_REASON. */
bool store_certificate_status(struct store *store, const char *serial, const char *generation_id, int64_t *ret_state, int64_t *ret_revoked_ms, char ret_reason[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The newest open challenge for this name, not expired at NOT_BEFORE; *RET_FOUND false: none. */
bool store_challenge_by_name(struct store *store, const char *common_name, int64_t not_before_ms, struct challenge_row *ret, int64_t *ret_for_epoch, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct scep_load {
	struct challenge_facts challenge;
	const char *common_name, *profile, *record, *device_id, *key_type, *for_enrollment_id, *ota_link_id;
	bool may_enroll;
	int64_t version, for_epoch;
	GBytes *same_key_der; /* NULL when reserved only */
	store_load *load;
};
bool store_scep_load(struct store *store, const uint8_t secret_hash[32], const uint8_t spki_sha256[32], struct scep_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_load_clear(struct scep_load *load);
struct certificate_new {
	const char *serial, *authority_id, *generation_id, *subject, *link_id, *challenge_id, *transaction_id, *profile, *record, *for_enrollment_id, *renews_serial,
		*device_id, /* the one device that may enroll with it; NULL: any */
		*ota_link_id; /* only to fetch the profile of this link over the air; NULL: not */
	uint8_t spki_sha256[32];
	int64_t not_before_ms, not_after_ms, issued_ms, for_epoch;
	bool may_enroll;
};
/* What gives the right to a certificate, taken in the same transaction as its row. */
struct certificate_right {
	int64_t challenge_version;     /* with challenge_id: compare-and-set */
	int64_t renewed_ms;            /* with renews_serial: compare-and-set on the old one's last renewal */
	const char *request_id;        /* approved request that ends with it; NULL: none */
	/* Where the key alone is the right: when the profile has given it a certificate since then, or began to since the second, it is a conflict. 0: that does not matter. */
	int64_t none_since_ms, none_reserved_since_ms;
	const struct audit_entry *audit; /* NULL: none */
};
/* Before the signature: the row, the use of what gives the right to it, and the end of earlier unbound certificates of the same link, in one
 * transaction. */
bool store_certificate_reserve(struct store *store, const struct certificate_new *certificate, const struct certificate_right *right, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A step of a link's timeline that is written with what it tells of: as store_link_event does. */
struct link_step {
	const char *link_id, *kind, *detail;
	int64_t at_ms;
};
/* After it: the certificate itself, and the step (NULL: none) in the same transaction. POM_ERR_STORE_CONFLICT when the row was superseded or revoked meanwhile. */
bool store_certificate_issue(struct store *store, const char *serial, GBytes *der, const struct link_step *step, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A certificate of another CA that a device of ours has. */
struct certificate_import {
	const char *serial, *generation_id, *subject, *link_id, *for_enrollment_id, *device_id; /* device_id: as in certificate_new */
	GBytes *der;
	uint8_t spki_sha256[32], sha256[32];
	int64_t not_before_ms, not_after_ms, issued_ms, for_epoch;
	bool may_enroll;
	const char *profile; /* that it was got by; NULL: none */
};
bool store_certificate_import(struct store *store, const struct certificate_import *certificate, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Puts CERTIFICATE, which another CA gave, into the row RESERVED of store_certificate_reserve: what it is for stands there. POM_ERR_STORE_CONFLICT when the row was superseded or
 * revoked meanwhile, or CERTIFICATE has a row already. */
bool store_certificate_fulfill(struct store *store, const char *reserved, const struct certificate_import *certificate, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes a row of store_certificate_reserve back, of which no certificate came; with CERTIFICATE->renews_serial also the renewal, for which RIGHT says what was before. */
bool store_certificate_forget(struct store *store, const struct certificate_new *certificate, const struct certificate_right *right, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The certificate that KEY got in renewal of SERIAL; *RET_FOUND false: none. */
bool store_certificate_renewal(struct store *store, const char *serial, const uint8_t spki_sha256[32], struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What KEY got from PROFILE by static challenge or webhook since SINCE_MS; *RET_FOUND false: nothing. */
bool store_certificate_by_key(struct store *store, const uint8_t spki_sha256[32], const char *profile, int64_t since_ms, struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Revokes what was superseded before BEFORE_MS; how many. */
bool store_certificate_revoke_superseded(struct store *store, int64_t now_ms, int64_t before_ms, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- SCEP requests that wait ---- */
struct scep_request_row {
	const char *id, *profile, *transaction_id, *challenge_id, *renews_serial, *subject, *peer, *state, *serial, *reason;
	const uint8_t *spki_sha256, *signer_spki_sha256; /* 32 bytes each */
	const void *csr;
	size_t csr_len;
	int64_t created_ms, decided_ms, expires_ms;
};
/* POM_ERR_STORE_CONFLICT when one that is alike waits already, or MAX of its profile do. */
bool store_request_add(struct store *store, const struct scep_request_row *request, int64_t max, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The newest that is alike: LIKE's profile, key, challenge (NULL: none) and subject; *RET_FOUND false: none. */
bool store_request_by_key(struct store *store, const struct scep_request_row *like, int64_t now_ms, struct scep_request_row *ret, bool *ret_found, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The request has come again under another transactionID or signer: from now on it is asked for with those. */
bool store_request_follow(struct store *store, const char *id, const char *transaction_id, const uint8_t signer_spki_sha256[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Of this transactionID, newest first (several clients may have made the same one up). */
GArray *store_request_by_transaction(struct store *store, const char *profile, const char *transaction_id, int64_t now_ms, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_request_get(struct store *store, const char *id, struct scep_request_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_request_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* pending → STATE. POM_ERR_STORE_CONFLICT when it is not pending. */
bool store_request_decide(struct store *store, const char *id, const char *state, const char *reason, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_request_pending_count(struct store *store, const char *profile, int64_t now_ms, int64_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes expired requests and challenges, a bounded number at a time. */
bool store_scep_purge(struct store *store, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- SCEP profiles and outside CAs: settings as JSON ---- */
struct named_settings_row { const char *name, *settings; GBytes *secret_sealed, *certificates; int64_t version; };
GArray *store_profile_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* VERSION: that the settings were made from, 0 for a new one; POM_ERR_STORE_CONFLICT when it is another by now. */
bool store_profile_put(struct store *store, const char *name, const char *settings, GBytes *secret_sealed, int64_t version, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_profile_remove(struct store *store, const char *name, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_outside_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The row's version: as above. */
bool store_outside_put(struct store *store, const struct named_settings_row *row, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_outside_remove(struct store *store, const char *name, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- CRLs ---- */
struct crl_row { int64_t number, this_update_ms, next_update_ms; GBytes *der; };
/* *RET_FOUND false: none has been made. RET->der transfer full; NULL without WITH_DER. */
bool store_crl_get(struct store *store, const char *generation_id, bool with_der, struct crl_row *ret, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_STORE_CONFLICT when the number before is not PREVIOUS any more. */
bool store_crl_put(struct store *store, const char *generation_id, const struct crl_row *crl, int64_t previous, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct revoked_row { const char *serial, *reason; int64_t revoked_ms; };
/* Revoked and not yet expired at NOW. */
GArray *store_crl_revoked(struct store *store, const char *generation_id, int64_t now_ms, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_crl_is_dirty(struct store *store, const char *generation_id, int64_t since_ms, bool *ret_dirty, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- renewal of identities ---- */
struct renewal_due { const char *enrollment_id, *serial; int64_t epoch, not_after_ms, renewal_ms, renew_ms; bool is_due; };
/* Epochs that are due to be looked at, the longest due first. is_due: the identity is past two thirds of its life, the device is live and was not asked since NOT_SINCE, and nothing waits for it. What is not
 * queued (store_command_add_own) is put off, or it is seen again. */
GArray *store_renewal_due(struct store *store, int64_t now_ms, int64_t not_since_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Those of ROWS (struct renewal_due) that are not IS_DUE are looked at next at NEXT_MS; what has changed since keeps its time. */
bool store_renewal_put_off(struct store *store, GArray *rows, int64_t next_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Live devices with an identity of a retiring generation, which were not asked since NOT_SINCE and for which nothing waits, by serial numbers after AFTER up to UNTIL. */
GArray *store_renewal_retiring(struct store *store, const char *after, const char *until, int64_t not_since_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A large table is gone through in steps of so many rows, however few of them are wanted. *RET: the key of the row that is N_ROWS after AFTER ("" begins), transfer full; STORE_WALK_END: there are fewer. */
#define STORE_WALK_END "~"
enum store_walk { STORE_WALK_CERTIFICATES, STORE_WALK_ENROLLMENTS };
bool store_walk(struct store *store, enum store_walk table, const char *after, int64_t n_rows, char **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct renewal_facts { const char *topic, *link_id, *served, *common_name, *record, *profile; int64_t not_after_ms; };
/* POM_ERR_NOT_FOUND. */
bool store_renewal_facts(struct store *store, const char *enrollment_id, int64_t epoch, struct renewal_facts *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The first use of a certificate that renews the identity of this epoch. POM_ERR_STORE_CONFLICT. */
bool store_renewal_bind(struct store *store, const char *enrollment_id, int64_t epoch, const char *serial, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The device has acknowledged the roots up to generation NUMBER. */
bool store_anchor_set(struct store *store, const char *enrollment_id, int64_t epoch, int64_t number, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the device has refused roots after SINCE_MS. */
bool store_anchor_is_refused(struct store *store, const char *enrollment_id, int64_t since_ms, bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_command_is_noted(struct store *store, const char *enrollment_id, int64_t epoch, const char *note, bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A command that the server queues by itself, of which one waits at most. */
struct command_own {
	const char *enrollment_id, *uuid, *note;
	const struct command *command;
	int64_t epoch, now_ms;
	bool is_renewal;
	int64_t renewed_ms;          /* of a renewal: not when one was queued after this; INT64_MAX: whenever */
	int64_t next_ms;             /* of a renewal: when the epoch is looked at again */
	const char *event, *detail;  /* a line of the timeline that goes with it; NULL: none */
};
enum command_own_result {
	COMMAND_OWN_QUEUED,
	COMMAND_OWN_WAITS,   /* one with its note waits already */
	COMMAND_OWN_CHANGED, /* the epoch is not live any more, or somebody has queued one since that was decided, which is answered by now */
};
/* Queues it, asks for a push and writes AUDIT (NULL: none), all in one transaction, unless one with its note waits: however many ask at once, on whatever node. */
bool store_command_add_own(struct store *store, const struct command_own *own, const struct audit_entry *audit, enum command_own_result *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- check-in ---- */
struct checkin_load {
	struct checkin_facts facts;
	int64_t ca_version;   /* of SHARED_CA (store/shared_store.h) when the certificate was read; 0: it is not known */
	int64_t push_version; /* of SHARED_PUSH_CERTIFICATE at the same moment; only with WITH_VERSIONS */
	store_load *load;
};
/* Facts about the certificate with this SHA-256 (NULL: none), the device and the user channel named by WHO. */
bool store_checkin_load(struct store *store, const uint8_t cert_sha256[32], const struct checkin_identity *who, bool with_versions, struct checkin_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
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
/* An event that repeats, and its audit entry. */
bool store_checkin_event(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- devices of another server, taken up when they first come ---- */
#define FIRST_USE "first use" /* epoch.provenance */
struct first_use_new {
	const char *enrollment_id;          /* new */
	const struct checkin_identity *who;
	const char *topic;                  /* NULL: not known yet */
	const char *message;                /* what it came with */
	const struct certificate_import *certificate;
	const char *issuer, *issuer_serial; /* of the certificate, as it says itself */
	int64_t now_ms;
};
/* Enrollment with epoch 1, bound to the certificate. POM_ERR_STORE_CONFLICT when the device or the certificate is known meanwhile. */
bool store_first_use_bind(struct store *store, const struct first_use_new *new, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct first_use_row { const char *enrollment_id, *message, *certificate_serial, *issuer, *issuer_serial, *device_id, *subject, *provenance; int64_t at_ms, not_after_ms, state, has_token; };
GArray *store_first_use_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the certificate with this SHA-256 was bound by first use. */
bool store_first_use_known(struct store *store, const uint8_t cert_sha256[32], bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- ReturnToService ---- */
struct return_row { bool own, enabled, mdm_profile, bootstrap_token; const char *wifi_profile; };
/* All false when nothing was set for this device. */
bool store_return_get(struct store *store, const char *enrollment_id, struct return_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_return_put(struct store *store, const char *enrollment_id, const struct return_row *row, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Notes an answer; POM_ERR_STORE_CONFLICT when the last one was after SINCE_MS. */
bool store_return_answer(struct store *store, const char *enrollment_id, int64_t now_ms, int64_t since_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Notes that a device was heard; kept in memory and flushed by store_flush_last_seen. Never blocks on the database. */
void store_seen(struct store *store, const char *enrollment_id, int64_t now_ms);
/* The newest time known: what is in memory, else STORED_MS. */
int64_t store_last_seen(struct store *store, const char *enrollment_id, int64_t stored_ms);
bool store_flush_last_seen(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- commands ---- */
struct command_row {
	const char *enrollment_id, *uuid, *seq, *request_type, *status; /* status NULL: still queued */
	const char *note; /* what the server itself wants with it (core/renewal.h), NULL: a person's */
	int64_t epoch, created_ms, finished_ms, not_now_ms, n_not_now;
	int64_t expires_ms, delivered_ms, n_delivered; /* expires_ms 0: never; delivered_ms: last */
	bool is_out;      /* the device has it and has said nothing of it yet */
	int64_t session_ms; /* the Idle that began the session which it was delivered in; 0: not known (any more) */
	const char *push_generation; /* of the push that its device is owed, when a report of it was loaded; NULL: none, or not known */
};
/* A command that a device is to get. */
struct command_next {
	GBytes *body; /* the plist to send, or with IS_SEALED its envelope "command/<uuid>/body" */
	char *uuid, *seq, *note;
	int64_t n_delivered, n_not_now;
	bool is_sealed;
	bool others_deferred; /* others wait that may be offered later in the session, as they said NotNow before it */
};
/* What a report needs besides: where its command is, and the next one. */
struct report_load {
	struct checkin_facts facts; /* who, as for check-ins */
	int64_t ca_version;
	enum command_where where;
	struct command_row command; /* unless where is COMMAND_NOWHERE */
	const char *push_generation; /* of the push that waits for the channel, as it was before NEXT was read; NULL: none */
	/* Of an Idle: what store_command_next would give with all that was put off, if the channel's epoch is still NEXT_EPOCH. The caller may take it (and leave zeros). */
	struct command_next next;
	int64_t next_epoch;
	GArray *known_facts; /* with a report that has facts: struct fact_row (library_store.h), all that was known of the channel; else NULL */
	store_load *load;
};
bool store_report_load(struct store *store, const uint8_t cert_sha256[32], const struct report *report, struct report_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void report_load_clear(struct report_load *load);
/* The next command of a channel in its epoch that has not expired; body NULL: none. transfer full. */
struct command_ask {
	const char *enrollment_id;
	int64_t epoch, now_ms;
	int64_t deferred_before_ms; /* also those that said NotNow, but before this time: 0 none, INT64_MAX all */
	const char *except;    /* UUID of one that is not meant; NULL */
	const char *only_note; /* of those with this note; NULL: any */
};
void command_next_clear(struct command_next *next);
bool store_command_next(struct store *store, const struct command_ask *ask, struct command_next *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What there is after the end of a command, read with it: what store_command_next would give (the caller may take it, and leave zeros), and the generation of the push that waits for the channel, NULL: none. */
struct command_after { bool is_known; struct command_next next; char *push_generation; };
void command_after_clear(struct command_after *after);
/* Notes that the device gets it now, in the session that began at SESSION_MS (0: not known): kept in memory, written with what the device says of it or by store_flush_delivered. Where other nodes may
 * get what it says, and something hangs on the session, it is written at once; only then does it block. */
bool store_command_delivered(struct store *store, const char *enrollment_id, const struct command_next *next, int64_t now_ms, int64_t session_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_flush_delivered(struct store *store, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Facts and lists that a device has told (struct fact and struct fact_list of core/fact.h; NULL: none). CHANGED: something is another than before, so groups of queries are looked at again. */
struct fact_write { GArray *facts, *lists; bool changed; };
typedef struct fact_write fact_write;
void fact_write_clear(fact_write *write);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(fact_write, fact_write_clear)
struct command_result { const char *status; GBytes *data; bool is_sealed; const struct fact_write *learnt; /* NULL: nothing */ };
/* Ends a pending command with its result, or gives one that was given up (expired, canceled) its late result. DATA: the whole report, XML, or with IS_SEALED its envelope "command_done/<uuid>/result";
 * NULL: none. POM_ERR_STORE_CONFLICT: it was pending when it was loaded, and is not any more. */
bool store_command_finish(struct store *store, const struct command_row *command, const struct command_result *result, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same, and what there is after it for the channel of ASK; ASK NULL: nothing is read. */
bool store_command_finish_then(struct store *store, const struct command_row *command, const struct command_result *result, const struct command_ask *ask, int64_t now_ms, struct command_after *ret_after, GError **error)
	G_GNUC_WARN_UNUSED_RESULT;
bool store_command_defer(struct store *store, const struct command_row *command, int64_t now_ms, int64_t push_again_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends a pending command without a report ("Canceled"). POM_ERR_NOT_FOUND, POM_ERR_CONFLICT when it is finished already. */
bool store_command_cancel(struct store *store, const char *uuid, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends at most LIMIT of those that have expired ("Expired"), each with a line in the timeline; *RET_N how many were seen: LIMIT means that there may be more. */
bool store_command_expire(struct store *store, int64_t now_ms, int64_t limit, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A command for an enrollment. */
enum { COMMAND_FOLD_LEN = 32 };
struct command_new {
	const char *enrollment_id, *uuid, *note; /* note NULL: a person's */
	const struct command *command;           /* with IS_SEALED its body is the envelope "command/<uuid>/body" */
	bool is_sealed, may_fold;
	int64_t expires_ms;                      /* 0: never */
	const uint8_t *fold;                     /* COMMAND_FOLD_LEN bytes that identical commands have in common; NULL: nobody folds with it */
	int64_t now_ms;
	int64_t epoch;                           /* that takes commands, as it was when the enrollment was read; 0: it is looked up */
};
/* Queues it and asks for a push, in one transaction. With may_fold, *RET_FOLDED (NULL before) is the UUID of an identical one that waits and that the device does not have, transfer full, if there is
 * one; then nothing is queued. POM_ERR_NOT_FOUND, POM_ERR_CONFLICT (ended; UUID taken). */
bool store_command_queue(struct store *store, const struct command_new *new, char **ret_folded, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for the plain case. */
bool store_command_add(struct store *store, const char *enrollment_id, const char *uuid, const struct command *command, const char *note, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One command by UUID, pending or done, with what was asked (pending) or the report (done), NULL: none; envelopes as above. POM_ERR_NOT_FOUND. */
struct command_stored { GBytes *body, *result; bool is_body_sealed, is_result_sealed; };
void command_stored_clear(struct command_stored *stored);
bool store_command_get(struct store *store, const char *uuid, struct command_row *ret, struct command_stored *ret_stored, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Pending ones, or done ones, of an enrollment: array of struct command_row. AFTER: seq (pending) or uuid (done) of the last seen, "". */
GArray *store_command_list(struct store *store, const char *enrollment_id, bool done, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* When a channel is pushed next; 0: no push waits. */
bool store_command_push_at(struct store *store, const char *enrollment_id, int64_t *ret_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The unlock token of exactly this epoch, the envelope "epoch/<enrollment id>.<epoch>/unlock_token"; *RET NULL when there is none. */
bool store_unlock_token_get(struct store *store, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_unlock_token_set(struct store *store, const char *enrollment_id, int64_t epoch, GBytes *sealed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- push ---- */
struct push_row {
	const char *enrollment_id, *generation, *push_magic, *topic; /* topic: of the epoch that takes commands; NULL: none */
	GBytes *push_token; /* NULL: no token (yet, or no longer) */
	int64_t attempts, epoch, dead_ms, due_ms, n_sent; /* n_sent: pushes that APNs took since it was asked for */
	bool wanted;        /* false: the device has been pushed, and nothing waits for it any more */
	bool urgent;        /* not one of a wave */
	const char *claim;  /* under which it is taken; "": nobody has it */
};
/* Place in the order of a topic's pushes; zeros: the beginning. */
struct push_place { int64_t due_ms; char enrollment_id[POM_ID_LEN + 1]; };
/* Pushes of TOPIC ("": of enrollments without one) that are due at NOW_MS, the longest due first, after AFTER (NULL: from the beginning). */
GArray *store_push_due(struct store *store, const char *topic, int64_t now_ms, const struct push_place *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The newest of those that must not wait behind many others. */
GArray *store_push_due_urgent(struct store *store, const char *topic, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Where several nodes share the database, a push is claimed by the node that sends it: for a time, under an id that is made for each call of store_push_claim. Who claims it once that time is over has it; what the
 * one before him writes then (store_push_apply, store_push_renew, store_push_release) changes nothing of it. Times are Unix milliseconds of the node: they must last for much longer than clocks may differ. */
/* Whether that is so here. */
bool store_push_claims(const struct store *store);
struct push_claim {
	const char *topic, *id;
	int64_t until_ms;
	int64_t n, n_urgent; /* how many at most: of all, the longest due first, and before that of those that must not wait, the newest first */
};
/* Claims what is due at NOW_MS and free. All that is claimed under the id, by an earlier call too, whose outcome was not known: array of struct push_row (element clear function set), borrowed from *RET_LOAD; transfer full both. */
GArray *store_push_claim(struct store *store, const struct push_claim *claim, int64_t now_ms, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Since when, or from when on, the first push of TOPIC that nobody has at NOW_MS is due; 0: there is none. */
bool store_push_free_since(struct store *store, const char *topic, int64_t now_ms, int64_t *ret_due_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a node has claimed, and under which id. */
struct push_hold { char *enrollment_id, *claim; };
/* Has them until UNTIL_MS; RET_HELD (N of them): which of them nobody else has taken. */
bool store_push_renew(struct store *store, const struct push_hold *holds, size_t n, int64_t until_ms, bool *ret_held, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Gives them back as they are, for others to take. */
bool store_push_release(struct store *store, const struct push_hold *holds, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Gives back all that is claimed under one id. */
bool store_push_release_claim(struct store *store, const char *claim, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* When the next push of TOPIC becomes due after NOW_MS; 0: none. */
bool store_push_next(struct store *store, const char *topic, int64_t now_ms, int64_t *ret_next_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many pushes of each topic are owed, since when the oldest, how many devices have been pushed and have not come, and how many have a dead token; by topic. Reads them all. */
struct push_count { const char *topic; int64_t owed, waiting, owed_since_ms, dead; };
GArray *store_push_counts(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
enum push_result {
	PUSH_DONE,       /* it is not needed (any more) */
	PUSH_RETRY,      /* again at retry_ms */
	PUSH_TOKEN_DEAD, /* the token is dead since dead_ms, unless a TokenUpdate came later: then again at retry_ms */
	PUSH_SENT,       /* APNs has it; when commands wait for the device, it is pushed again at retry_ms unless it comes */
};
struct push_outcome {
	char *enrollment_id, *generation;
	GBytes *push_token;
	int64_t epoch, attempts, retry_ms, dead_ms;
	enum push_result result;
	bool slow;       /* with PUSH_RETRY: also what was asked for meanwhile waits until then */
	int64_t at_ms;   /* of the answer */
	char *detail;    /* of the timeline's event; NULL: none */
	char *claim;     /* under which it was taken; NULL: it was not claimed */
};
/* Writes what became of pushes, with their events PushSent, PushRefused and PushTokenDead. Gives up their claims; a row that is claimed under another id by now stays as it is. */
bool store_push_apply(struct store *store, const struct push_outcome *outcomes, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Asks for a push, as a person does: at once, before those of a wave. */
bool store_push_ask(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The device of this channel is here and was given nothing: what is owed to it is settled, unless a command of EPOCH waits. Writes only when something was owed. */
bool store_push_settle(struct store *store, const char *enrollment_id, int64_t epoch, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same, of the push that GENERATION names. */
bool store_push_settle_known(struct store *store, const char *enrollment_id, int64_t epoch, const char *generation, GError **error) G_GNUC_WARN_UNUSED_RESULT;

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
/* The same, and why its device is blocked ("" when nobody said; NULL: it is not), of the load. */
bool store_enrollment_get_with_block(struct store *store, const char *id, struct enrollment_row *ret, const char **ret_blocked, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct epoch_row { const char *certificate_serial, *topic; int64_t push_dead_ms, awaiting_configuration, token_ms, has_unlock_token, has_bootstrap_token, not_on_console; const char *provenance; }; /* provenance NULL: a link */
bool store_epoch_get(struct store *store, const char *enrollment_id, int64_t epoch, struct epoch_row *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct event_row { const char *id, *kind, *detail; int64_t at_ms, n, last_ms; }; /* n: how often the same happened from at_ms to last_ms; last_ms 0: once */
enum { EVENT_AGAIN_MS = 24 * 3600 * 1000 };
GArray *store_event_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_event_add(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for what a device may do again and again: within EVENT_AGAIN_MS of the last time it is counted in one line. */
bool store_event_again(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same in the timeline of a link; nothing happens when there is no such link. */
bool store_link_event(struct store *store, const char *link_id, const char *kind, const char *detail, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct timeline_row { int64_t at_ms, n, last_ms; const char *id, *kind, *detail; };
/* Events of an enrollment and its links, or of a link, with commands as CommandQueued, CommandDelivered and CommandEnded, in order of time; those after (AFTER_MS, AFTER_ID), at most LIMIT. */
GArray *store_timeline_list(struct store *store, const char *id, int64_t after_ms, const char *after_id, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct timeline_enrollment { int64_t state, last_seen_ms, ended_ms, has_token, push_dead_ms, identity_not_after_ms, identity_state, oldest_command_ms; bool is_user; };
/* POM_ERR_NOT_FOUND. */
bool store_timeline_facts(struct store *store, const char *enrollment_id, struct timeline_enrollment *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes events whose last time was before BEFORE_MS, at most LIMIT. */
bool store_event_purge(struct store *store, int64_t before_ms, int64_t limit, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes at most LIMIT finished commands that ended before BEFORE_MS, the oldest first; *RET_MORE: as many went, so there may be more. */
bool store_command_purge(struct store *store, int64_t before_ms, int64_t limit, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
