/* Enrollment links. */
#include <string.h>

#include "store/store_internal.h"

void store_batch_link(struct db_batch *batch, const struct link_new *link)
{
	db_batch_add(batch, Q_LINK_ADD, db_text(link->id), db_blob(link->token_hash, 32), db_text(link->user_name), db_text(link->device_name),
	             db_int(link->created_ms), db_int(link->expires_ms), db_text(link->served), db_int(link->anchor), db_text(link->user_email));
	db_batch_add(batch, Q_CHALLENGE_ADD, db_text(link->challenge_id), db_blob(link->secret_hash, 32), db_bytes(link->secret_sealed), db_text(link->id),
	             db_text(link->common_name), db_int(LINK_CERTIFICATES_MAX), db_int(1), db_int(link->created_ms), db_int(link->expires_ms), db_text("default"), db_null('t'),
	             db_text(link->device_id), db_null('t'), db_null('t'), db_int(0));
}

bool store_link_add(struct store *store, const struct link_new *link, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_link(batch, link);
	return store_run_once(store, batch, Q_LINK_SERVED, link->id, error);
}

bool store_links_serve(struct store *store, const char *served, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LINKS_SERVE, db_text(served));
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
	db_batch_add(batch, Q_CHALLENGE_CLOSE_OTA, db_text(id), db_int(now_ms));
	db_batch_add(batch, Q_CERTIFICATE_REVOKE_OTA, db_text(id), db_int(now_ms));
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
		.served = db_get_text(batch, 0, 0, 8),
		.device_id = db_get_text(batch, 0, 0, 9),
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
