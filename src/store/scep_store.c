/* Challenges, certificates, requests that wait, renewal of identities. */
#include <string.h>

#include "store/store_internal.h"

/* Of the requests that wait for a person. */
#define REQUESTS_LOCK "scep_request"

bool store_challenge_add(struct store *store, const struct challenge_new *c, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_ADD, db_text(c->id), db_blob(c->secret_hash, 32), db_null('b'), db_null('t'), db_text(c->common_name), db_int(c->max_keys),
	             db_int(c->may_enroll), db_int(c->created_ms), db_int(c->expires_ms), db_text(c->profile), db_text(c->record), db_text(c->device_id), db_text(c->key_type),
	             db_text(c->for_enrollment_id), db_int(c->for_epoch));
	store_batch_audit(store, batch, audit);
	return store_run_once(store, batch, Q_CHALLENGE_GET, c->id, error);
}

static void take_challenge(const struct db_batch *b, size_t row, void *out)
{
	*(struct challenge_row *)out = (struct challenge_row){
		.id = db_get_text(b, 0, row, 0), .link_id = db_get_text(b, 0, row, 1), .common_name = db_get_text(b, 0, row, 2), .max_keys = db_get_int(b, 0, row, 3),
		.may_enroll = db_get_int(b, 0, row, 4), .created_ms = db_get_int(b, 0, row, 5), .expires_ms = db_get_int(b, 0, row, 6), .closed_ms = db_get_int(b, 0, row, 7),
		.revoked_ms = db_get_int(b, 0, row, 8), .profile = db_get_text(b, 0, row, 9), .record = db_get_text(b, 0, row, 10), .device_id = db_get_text(b, 0, row, 11),
		.key_type = db_get_text(b, 0, row, 12), .for_enrollment_id = db_get_text(b, 0, row, 13), .n_keys = db_get_int(b, 0, row, 14),
	};
}

GArray *store_challenge_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct challenge_row), take_challenge, ret_load, error);
}

bool store_challenge_get(struct store *store, const char *id, struct challenge_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_GET, db_text(id));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no challenge %s", id);
	take_challenge(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_challenge_revoke(struct store *store, const char *id, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_REVOKE, db_text(id), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_challenge_by_name(struct store *store, const char *common_name, int64_t not_before_ms, struct challenge_row *ret, int64_t *ret_for_epoch, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_BY_NAME, db_text(common_name), db_int(not_before_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	*ret = (struct challenge_row){.id = db_get_text(batch, 0, 0, 0), .link_id = db_get_text(batch, 0, 0, 1), .for_enrollment_id = db_get_text(batch, 0, 0, 2), .may_enroll = db_get_int(batch, 0, 0, 4), .device_id = db_get_text(batch, 0, 0, 5)};
	*ret_for_epoch = db_get_int(batch, 0, 0, 3);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_scep_load(struct store *store, const uint8_t secret_hash[32], const uint8_t spki_sha256[32], struct scep_load *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_BY_SECRET, db_blob(secret_hash, 32), db_blob(spki_sha256, 32));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct scep_load){
		.challenge = {
			.known = db_rows(batch, 0) > 0, .id = db_get_text(batch, 0, 0, 0), .link_id = db_get_text(batch, 0, 0, 1),
			.max_keys = db_get_int(batch, 0, 0, 3), .expires_ms = db_get_int(batch, 0, 0, 6), .closed = db_get_int(batch, 0, 0, 7) != 0,
			.revoked = db_get_int(batch, 0, 0, 8) != 0, .n_keys = db_get_int(batch, 0, 0, 9), .has_same_key = !db_is_null(batch, 0, 0, 10),
			.same_key_serial = db_get_text(batch, 0, 0, 10), .same_key_issued_ms = db_get_int(batch, 0, 0, 11),
			.same_key_usable = db_get_int(batch, 0, 0, 12) != CERTIFICATE_REVOKED, .profile = db_get_text(batch, 0, 0, 14), .key_type = db_get_text(batch, 0, 0, 17),
		},
		.common_name = db_get_text(batch, 0, 0, 2), .may_enroll = db_get_int(batch, 0, 0, 4) != 0, .version = db_get_int(batch, 0, 0, 5),
		.same_key_der = db_get_bytes(batch, 0, 0, 13), .profile = db_get_text(batch, 0, 0, 14), .record = db_get_text(batch, 0, 0, 15),
		.device_id = db_get_text(batch, 0, 0, 16), .key_type = db_get_text(batch, 0, 0, 17), .for_enrollment_id = db_get_text(batch, 0, 0, 18),
		.for_epoch = db_get_int(batch, 0, 0, 19), .ota_link_id = db_get_text(batch, 0, 0, 20),
	};
	ret->load = g_steal_pointer(&batch);
	return true;
}

void scep_load_clear(struct scep_load *load)
{
	g_clear_pointer(&load->same_key_der, g_bytes_unref);
	g_clear_pointer(&load->load, store_load_free);
}

/* transfer full */
static char *key_lock(const struct certificate_new *c)
{
	g_autofree char *hex = hex_format(c->spki_sha256, sizeof(c->spki_sha256));

	return g_strdup_printf("key/%s/%s", c->profile, hex);
}

/* What enrolls needs a link that is open; a new identity of who has enrolled by it does not. */
static void hold_link(struct db_batch *batch, const char *link_id, const char *for_enrollment_id)
{
	db_batch_add(batch, for_enrollment_id ? Q_LINK_HOLD : Q_LINK_HOLD_OPEN, db_text(link_id));
}

bool store_certificate_reserve(struct store *store, const struct certificate_new *c, const struct certificate_right *right, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(c->challenge_id ? c->challenge_id : c->renews_serial);
	g_autofree char *lock = right->none_since_ms ? key_lock(c) : NULL;

	/* Held in this order everywhere: enrollment, link, challenge, certificate. */
	if (lock) {
		store_batch_lock(batch, lock);
		db_batch_add(batch, Q_CERTIFICATE_NONE_BY_KEY, db_blob(c->spki_sha256, 32), db_text(c->profile), db_int(right->none_since_ms), db_int(right->none_reserved_since_ms));
	}
	if (c->for_enrollment_id)
		db_batch_add(batch, Q_ENROLLMENT_HOLD, db_text(c->for_enrollment_id));
	if (c->link_id)
		hold_link(batch, c->link_id, c->for_enrollment_id);
	if (c->challenge_id)
		db_batch_add(batch, Q_CHALLENGE_USE, db_text(c->challenge_id), db_int(right->challenge_version));
	if (c->renews_serial)
		db_batch_add(batch, Q_CERTIFICATE_RENEW, db_text(c->renews_serial), db_int(right->renewed_ms), db_int(c->issued_ms));
	if (right->request_id)
		db_batch_add(batch, Q_REQUEST_ISSUED, db_text(right->request_id), db_text(c->serial));
	db_batch_add(batch, Q_CERTIFICATE_RESERVE, db_text(c->serial), db_text(c->authority_id), db_blob(c->spki_sha256, 32), db_text(c->subject), db_int(c->not_before_ms),
	             db_int(c->not_after_ms), db_text(c->link_id), db_text(c->challenge_id), db_text(c->transaction_id), db_int(c->may_enroll), db_int(c->issued_ms),
	             db_text(c->generation_id), db_text(c->profile), db_text(c->record), db_text(c->for_enrollment_id), db_int(c->for_epoch), db_text(c->renews_serial), db_text(c->device_id),
	             db_text(c->ota_link_id));
	if (c->link_id)
		db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(c->link_id), db_int(c->issued_ms), db_text(c->serial));
	if (c->challenge_id)
		db_batch_add(batch, Q_CERTIFICATE_END_RESERVED, db_text(c->challenge_id), db_blob(c->spki_sha256, 32), db_int(c->issued_ms), db_text(c->serial));
	store_batch_audit(store, batch, right->audit);
	if (lock)
		store_batch_unlock(batch, lock);
	return store_run(store, batch, error);
}

bool store_certificate_issue(struct store *store, const char *serial, GBytes *der, const struct link_step *step, GError **error)
{
	/* Steps of one link one after another, as in store_link_event. */
	g_autoptr(db_batch) batch = db_batch_new(step ? step->link_id : serial);
	uint8_t sha256[32];

	cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), sha256);
	db_batch_add(batch, Q_CERTIFICATE_ISSUE, db_text(serial), db_blob(sha256, 32), db_bytes(der));
	db_batch_add(batch, Q_CHALLENGE_FULFILL, db_text(serial));
	if (step)
		store_batch_link_step(store, batch, step);
	return store_run(store, batch, error);
}

void store_batch_certificate_import(struct db_batch *batch, const struct certificate_import *c)
{
	db_batch_add(batch, Q_CERTIFICATE_IMPORT, db_text(c->serial), db_text(c->generation_id), db_blob(c->spki_sha256, 32), db_blob(c->sha256, 32), db_bytes(c->der),
	             db_text(c->subject), db_int(c->not_before_ms), db_int(c->not_after_ms), db_text(c->link_id), db_text(c->generation_id), db_text(c->for_enrollment_id),
	             db_int(c->may_enroll), db_int(c->for_epoch), db_int(c->issued_ms), db_text(c->profile), db_text(c->device_id));
}

bool store_certificate_import(struct store *store, const struct certificate_import *c, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	if (c->link_id)
		hold_link(batch, c->link_id, c->for_enrollment_id);
	store_batch_certificate_import(batch, c);
	if (c->link_id)
		db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(c->link_id), db_int(c->issued_ms), db_text(c->serial));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_certificate_fulfill(struct store *store, const char *reserved, const struct certificate_import *c, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(reserved);

	db_batch_add(batch, Q_CERTIFICATE_FULFILL, db_text(reserved), db_text(c->serial), db_blob(c->sha256, 32), db_bytes(c->der), db_text(c->subject), db_int(c->not_before_ms),
	             db_int(c->not_after_ms));
	db_batch_add(batch, Q_CHALLENGE_FULFILL, db_text(c->serial));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_certificate_forget(struct store *store, const struct certificate_new *c, const struct certificate_right *right, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(c->serial);

	db_batch_add(batch, Q_CERTIFICATE_FORGET, db_text(c->serial));
	if (c->renews_serial)
		db_batch_add(batch, Q_CERTIFICATE_RENEW, db_text(c->renews_serial), db_int(c->issued_ms), db_int(right->renewed_ms));
	return store_run(store, batch, error);
}

static void take_certificate(const struct db_batch *b, size_t row, void *out)
{
	struct certificate_row *c = out;
	size_t len;

	*c = (struct certificate_row){
		.serial = db_get_text(b, 0, row, 0), .authority_id = db_get_text(b, 0, row, 1), .spki_sha256 = db_get_blob(b, 0, row, 2, &len), .subject = db_get_text(b, 0, row, 3),
		.not_before_ms = db_get_int(b, 0, row, 4), .not_after_ms = db_get_int(b, 0, row, 5), .state = db_get_int(b, 0, row, 7), .link_id = db_get_text(b, 0, row, 8),
		.challenge_id = db_get_text(b, 0, row, 9), .transaction_id = db_get_text(b, 0, row, 10), .may_enroll = db_get_int(b, 0, row, 11),
		.enrollment_id = db_get_text(b, 0, row, 12), .epoch = db_get_int(b, 0, row, 13), .issued_ms = db_get_int(b, 0, row, 14), .bound_ms = db_get_int(b, 0, row, 15),
		.revoked_ms = db_get_int(b, 0, row, 16), .revoked_reason = db_get_text(b, 0, row, 17), .generation_id = db_get_text(b, 0, row, 18), .profile = db_get_text(b, 0, row, 19),
		.record = db_get_text(b, 0, row, 20), .for_enrollment_id = db_get_text(b, 0, row, 21), .for_epoch = db_get_int(b, 0, row, 22), .renews_serial = db_get_text(b, 0, row, 23),
		.renewed_ms = db_get_int(b, 0, row, 24), .ota_link_id = db_get_text(b, 0, row, 25),
	};
	c->der = db_get_blob(b, 0, row, 6, &c->der_len);
}

GArray *store_certificate_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	if (enrollment_id)
		db_batch_add(batch, Q_CERTIFICATE_LIST_OF, db_text(enrollment_id), db_text(after), db_int(limit));
	else
		db_batch_add(batch, Q_CERTIFICATE_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct certificate_row), take_certificate, ret_load, error);
}

/* Runs a statement that gives one row or none. */
static bool get_one(struct store *store, struct db_batch *batch, void (*take)(const struct db_batch *, size_t, void *), void *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) owned = batch;

	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	if (*ret_found)
		take(batch, 0, ret);
	*ret_load = g_steal_pointer(&owned);
	return true;
}

bool store_certificate_get(struct store *store, const char *serial, struct certificate_row *ret, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	bool found;

	db_batch_add(batch, Q_CERTIFICATE_GET, db_text(serial));
	if (!get_one(store, batch, take_certificate, ret, &found, ret_load, error))
		return false;
	if (found)
		return true;
	g_clear_pointer(ret_load, store_load_free);
	return pom_fail(error, POM_ERR_NOT_FOUND, "there is no certificate with serial number %s", serial);
}

bool store_certificate_by_sha256(struct store *store, const uint8_t sha256[32], struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_BY_SHA256, db_blob(sha256, 32));
	return get_one(store, batch, take_certificate, ret, ret_found, ret_load, error);
}

bool store_certificate_renewal(struct store *store, const char *serial, const uint8_t spki_sha256[32], struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_RENEWAL, db_text(serial), db_blob(spki_sha256, 32));
	return get_one(store, batch, take_certificate, ret, ret_found, ret_load, error);
}

bool store_certificate_by_key(struct store *store, const uint8_t spki_sha256[32], const char *profile, int64_t since_ms, struct certificate_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_BY_KEY, db_blob(spki_sha256, 32), db_text(profile), db_int(since_ms));
	return get_one(store, batch, take_certificate, ret, ret_found, ret_load, error);
}

bool store_certificate_revoke(struct store *store, const char *serial, const char *reason, int64_t now_ms, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_REVOKE, db_text(serial), db_int(now_ms), db_text(reason));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_certificate_release(struct store *store, const char *serial, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_UNREVOKE, db_text(serial));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_certificate_status(struct store *store, const char *serial, const char *generation_id, int64_t *ret_state, int64_t *ret_revoked_ms, char ret_reason[32], GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const char *reason;

	db_batch_add(batch, Q_CERTIFICATE_STATUS, db_text(serial), db_text(generation_id));
	if (!store_run(store, batch, error))
		return false;
	*ret_state = db_rows(batch, 0) ? db_get_int(batch, 0, 0, 0) : -1;
	*ret_revoked_ms = db_get_int(batch, 0, 0, 1);
	reason = db_get_text(batch, 0, 0, 2);
	g_strlcpy(ret_reason, reason ? reason : "", 32);
	return true;
}

bool store_certificate_revoke_superseded(struct store *store, int64_t now_ms, int64_t before_ms, size_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, Q_CERTIFICATE_REVOKE_SUPERSEDED, db_int(now_ms), db_int(before_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_rows(batch, 0);
	return true;
}

/* ---- requests that wait ---- */

bool store_request_add(struct store *store, const struct scep_request_row *r, int64_t max, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_lock(batch, REQUESTS_LOCK);
	db_batch_add(batch, Q_REQUEST_ADD, db_text(r->id), db_text(r->profile), db_text(r->transaction_id), db_blob(r->spki_sha256, 32), db_blob(r->signer_spki_sha256, 32),
	             db_text(r->challenge_id), db_text(r->renews_serial), db_text(r->subject), db_blob(r->csr, r->csr_len), db_text(r->peer), db_int(r->created_ms), db_int(r->expires_ms),
	             db_int(max));
	store_batch_audit(store, batch, audit);
	store_batch_unlock(batch, REQUESTS_LOCK);
	return store_run(store, batch, error);
}

static void take_request(const struct db_batch *b, size_t row, void *out)
{
	struct scep_request_row *r = out;
	size_t len;

	*r = (struct scep_request_row){
		.id = db_get_text(b, 0, row, 0), .profile = db_get_text(b, 0, row, 1), .transaction_id = db_get_text(b, 0, row, 2), .spki_sha256 = db_get_blob(b, 0, row, 3, &len),
		.signer_spki_sha256 = db_get_blob(b, 0, row, 4, &len), .challenge_id = db_get_text(b, 0, row, 5), .renews_serial = db_get_text(b, 0, row, 6),
		.subject = db_get_text(b, 0, row, 7), .peer = db_get_text(b, 0, row, 9), .state = db_get_text(b, 0, row, 10), .serial = db_get_text(b, 0, row, 11),
		.reason = db_get_text(b, 0, row, 12), .created_ms = db_get_int(b, 0, row, 13), .decided_ms = db_get_int(b, 0, row, 14), .expires_ms = db_get_int(b, 0, row, 15),
	};
	r->csr = db_get_blob(b, 0, row, 8, &r->csr_len);
}

bool store_request_by_key(struct store *store, const struct scep_request_row *like, int64_t now_ms, struct scep_request_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REQUEST_BY_KEY, db_text(like->profile), db_blob(like->spki_sha256, 32), db_int(now_ms), db_text(like->challenge_id), db_text(like->subject));
	return get_one(store, batch, take_request, ret, ret_found, ret_load, error);
}

bool store_request_follow(struct store *store, const char *id, const char *transaction_id, const uint8_t signer_spki_sha256[32], GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(id);

	db_batch_add(batch, Q_REQUEST_FOLLOW, db_text(id), db_text(transaction_id), db_blob(signer_spki_sha256, 32));
	return store_run(store, batch, error);
}

GArray *store_request_by_transaction(struct store *store, const char *profile, const char *transaction_id, int64_t now_ms, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REQUEST_BY_TRANSACTION, db_text(profile), db_text(transaction_id), db_int(now_ms));
	return store_list(store, batch, sizeof(struct scep_request_row), take_request, ret_load, error);
}

bool store_request_get(struct store *store, const char *id, struct scep_request_row *ret, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	bool found;

	db_batch_add(batch, Q_REQUEST_GET, db_text(id));
	if (!get_one(store, batch, take_request, ret, &found, ret_load, error))
		return false;
	if (found)
		return true;
	g_clear_pointer(ret_load, store_load_free);
	return pom_fail(error, POM_ERR_NOT_FOUND, "there is no SCEP request %s", id);
}

GArray *store_request_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REQUEST_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct scep_request_row), take_request, ret_load, error);
}

bool store_request_decide(struct store *store, const char *id, const char *state, const char *reason, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REQUEST_DECIDE, db_text(id), db_text(state), db_text(reason), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_request_pending_count(struct store *store, const char *profile, int64_t now_ms, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REQUEST_PENDING_COUNT, db_text(profile), db_int(now_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_scep_purge(struct store *store, int64_t now_ms, GError **error)
{
	/* What is over stays visible for a while, for whoever asks why. */
	enum { KEEP_MS = 30 * 86400, CHUNK = 500 };
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CHALLENGE_PURGE, db_int(now_ms - KEEP_MS * (int64_t)1000), db_int(CHUNK));
	db_batch_add(batch, Q_REQUEST_PURGE, db_int(now_ms - KEEP_MS * (int64_t)1000), db_int(CHUNK));
	return store_run(store, batch, error);
}

/* ---- renewal of identities ---- */

static void take_due(const struct db_batch *b, size_t row, void *out)
{
	*(struct renewal_due *)out = (struct renewal_due){
		.enrollment_id = db_get_text(b, 0, row, 0), .epoch = db_get_int(b, 0, row, 1), .serial = db_get_text(b, 0, row, 2), .not_after_ms = db_get_int(b, 0, row, 3), .renewal_ms = db_get_int(b, 0, row, 4),
		.renew_ms = db_get_int(b, 0, row, 5), .is_due = db_get_int(b, 0, row, 6) != 0,
	};
}

GArray *store_renewal_due(struct store *store, int64_t now_ms, int64_t not_since_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_RENEWAL_DUE, db_int(now_ms), db_int(not_since_ms), db_int(limit));
	return store_list(store, batch, sizeof(struct renewal_due), take_due, ret_load, error);
}

static int compare_due(const void *a, const void *b)
{
	return strcmp((*(const struct renewal_due *const *)a)->enrollment_id, (*(const struct renewal_due *const *)b)->enrollment_id);
}

bool store_renewal_put_off(struct store *store, GArray *rows, int64_t next_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (guint i = 0; i < rows->len; i++)
		if (!g_array_index(rows, struct renewal_due, i).is_due)
			g_ptr_array_add(sorted, &g_array_index(rows, struct renewal_due, i));
	g_ptr_array_sort(sorted, compare_due);
	db_batch_spans(batch);
	for (guint i = 0; i < sorted->len; i++) {
		const struct renewal_due *due = g_ptr_array_index(sorted, i);

		db_batch_add(batch, Q_RENEWAL_PUT_OFF, db_text(due->enrollment_id), db_int(due->epoch), db_int(due->renew_ms), db_int(next_ms));
	}
	return !sorted->len || store_run(store, batch, error);
}

GArray *store_renewal_retiring(struct store *store, const char *after, const char *until, int64_t not_since_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_RENEWAL_RETIRING, db_text(after), db_text(until), db_int(not_since_ms), db_int(limit));
	return store_list(store, batch, sizeof(struct renewal_due), take_due, ret_load, error);
}

bool store_walk(struct store *store, enum store_walk table, const char *after, int64_t n_rows, char **ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, table == STORE_WALK_CERTIFICATES ? Q_WALK_CERTIFICATES : Q_WALK_ENROLLMENTS, db_text(after), db_int(n_rows - 1));
	if (!store_run(store, batch, error))
		return false;
	*ret = g_strdup(db_rows(batch, 0) ? db_get_text(batch, 0, 0, 0) : STORE_WALK_END);
	return true;
}

bool store_renewal_facts(struct store *store, const char *enrollment_id, int64_t epoch, struct renewal_facts *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_RENEWAL_FACTS, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, b, error))
		return false;
	if (!db_rows(b, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "enrollment %s has no epoch %" G_GINT64_FORMAT, enrollment_id, epoch);
	*ret = (struct renewal_facts){db_get_text(b, 0, 0, 0), db_get_text(b, 0, 0, 1), db_get_text(b, 0, 0, 2), db_get_text(b, 0, 0, 3), db_get_text(b, 0, 0, 4), db_get_text(b, 0, 0, 6),
	                              db_get_int(b, 0, 0, 5)};
	*ret_load = g_steal_pointer(&b);
	return true;
}

bool store_renewal_bind(struct store *store, const char *enrollment_id, int64_t epoch, const char *serial, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_CERTIFICATE_BIND, db_text(serial), db_text(enrollment_id), db_int(epoch), db_int(now_ms));
	db_batch_add(batch, Q_EPOCH_CERTIFICATE, db_text(enrollment_id), db_int(epoch), db_text(serial));
	db_batch_add(batch, Q_CERTIFICATE_SUPERSEDE, db_text(enrollment_id), db_int(epoch), db_int(now_ms), db_text(serial));
	store_batch_event(store, batch, enrollment_id, "IdentityRenewed", serial, now_ms);
	return store_run(store, batch, error);
}

bool store_command_is_noted(struct store *store, const char *enrollment_id, int64_t epoch, const char *note, bool *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_COMMAND_NOTED, db_text(enrollment_id), db_int(epoch), db_text(note));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_int(batch, 0, 0, 0) > 0;
	return true;
}

bool store_command_add_own(struct store *store, const struct command_own *own, const struct audit_entry *audit, enum command_own_result *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(own->enrollment_id);
	struct pom_id seq = pom_id_new(store->clock, store->random);
	GError *inner = NULL;
	bool waits;

	db_batch_add(batch, Q_COMMAND_HOLD, db_text(own->enrollment_id));
	db_batch_add(batch, Q_COMMAND_ADD_ONCE, db_text(own->enrollment_id), db_text(seq.text), db_text(own->uuid), db_int(own->epoch), db_text(own->command->request_type), db_bytes(own->command->body),
	             db_int(own->now_ms), db_text(own->note));
	if (own->is_renewal)
		db_batch_add(batch, Q_RENEWAL_MARK, db_text(own->enrollment_id), db_int(own->epoch), db_int(own->now_ms), db_int(own->renewed_ms), db_int(own->next_ms));
	if (own->event)
		store_batch_event(store, batch, own->enrollment_id, own->event, own->detail, own->now_ms);
	store_batch_push_urgent(store, batch, own->enrollment_id, own->now_ms, PUSH_URGENCY_ONE);
	store_batch_audit(store, batch, audit);
	*ret = COMMAND_OWN_QUEUED;
	if (store_run_once(store, batch, Q_COMMAND_OWNER, own->uuid, &inner))
		return true;
	if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	if (!store_command_is_noted(store, own->enrollment_id, own->epoch, own->note, &waits, error))
		return false;
	*ret = waits ? COMMAND_OWN_WAITS : COMMAND_OWN_CHANGED;
	return true;
}
