/* Links, challenges and certificates. */
#include <string.h>

#include "store/store_internal.h"

bool store_link_add(struct store *store, const struct link_new *link, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LINK_ADD, db_text(link->id), db_blob(link->token_hash, 32), db_text(link->user_name), db_text(link->device_name),
	             db_int(link->created_ms), db_int(link->expires_ms));
	db_batch_add(batch, Q_CHALLENGE_ADD, db_text(link->challenge_id), db_blob(link->secret_hash, 32), db_bytes(link->secret_sealed), db_text(link->id),
	             db_text(link->common_name), db_int(LINK_CERTIFICATES_MAX), db_int(1), db_int(link->created_ms), db_int(link->expires_ms));
	return store_run(store, batch, error);
}

static void take_link(const struct db_batch *batch, size_t row, void *out)
{
	*(struct link_row *)out = (struct link_row){
		db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_text(batch, 0, row, 2), db_get_int(batch, 0, row, 3),
		db_get_int(batch, 0, row, 4), db_get_int(batch, 0, row, 5), db_get_int(batch, 0, row, 6), db_get_text(batch, 0, row, 7),
	};
}

GArray *store_link_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LINK_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct link_row), take_link, ret_load, error);
}

bool store_link_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LINK_REVOKE, db_text(id), db_int(now_ms));
	db_batch_add(batch, Q_CHALLENGE_REVOKE_OF_LINK, db_text(id), db_int(now_ms));
	db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(id), db_int(now_ms), db_text(""));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	return true;
}

bool store_link_load(struct store *store, const uint8_t token_hash[32], struct link_load *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LINK_BY_TOKEN, db_blob(token_hash, 32));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct link_load){
		.facts = {
			.known = db_rows(batch, 0) > 0, .id = db_get_text(batch, 0, 0, 0), .user_name = db_get_text(batch, 0, 0, 1),
			.device_name = db_get_text(batch, 0, 0, 2), .expires_ms = db_get_int(batch, 0, 0, 3), .consumed_ms = db_get_int(batch, 0, 0, 4),
			.revoked_ms = db_get_int(batch, 0, 0, 5),
		},
		.challenge_id = db_get_text(batch, 0, 0, 6),
		.secret_sealed = db_get_bytes(batch, 0, 0, 7),
	};
	ret->load = g_steal_pointer(&batch);
	return true;
}

void link_load_clear(struct link_load *load)
{
	g_clear_pointer(&load->secret_sealed, g_bytes_unref);
	g_clear_pointer(&load->load, store_load_free);
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
			.same_key_usable = db_get_int(batch, 0, 0, 12) != CERTIFICATE_REVOKED,
		},
		.common_name = db_get_text(batch, 0, 0, 2), .may_enroll = db_get_int(batch, 0, 0, 4) != 0, .version = db_get_int(batch, 0, 0, 5),
		.same_key_der = db_get_bytes(batch, 0, 0, 13),
	};
	ret->load = g_steal_pointer(&batch);
	return true;
}

void scep_load_clear(struct scep_load *load)
{
	g_clear_pointer(&load->same_key_der, g_bytes_unref);
	g_clear_pointer(&load->load, store_load_free);
}

bool store_certificate_reserve(struct store *store, const struct certificate_new *certificate, int64_t challenge_version, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(certificate->challenge_id);

	db_batch_add(batch, Q_CHALLENGE_USE, db_text(certificate->challenge_id), db_int(challenge_version));
	db_batch_add(batch, Q_CERTIFICATE_RESERVE, db_text(certificate->serial), db_text(certificate->authority_id), db_blob(certificate->spki_sha256, 32),
	             db_text(certificate->subject), db_int(certificate->not_before_ms), db_int(certificate->not_after_ms), db_text(certificate->link_id),
	             db_text(certificate->challenge_id), db_text(certificate->transaction_id), db_int(certificate->may_enroll), db_int(certificate->issued_ms));
	if (certificate->link_id)
		db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(certificate->link_id), db_int(certificate->issued_ms), db_text(certificate->serial));
	return store_run(store, batch, error);
}

bool store_certificate_issue(struct store *store, const char *serial, GBytes *der, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(serial);
	uint8_t sha256[32];

	cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), sha256);
	db_batch_add(batch, Q_CERTIFICATE_ISSUE, db_text(serial), db_blob(sha256, 32), db_bytes(der));
	return store_run(store, batch, error);
}
