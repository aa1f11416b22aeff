#include "store/pushcert_store.h"

#include "store/store_internal.h"

/* The row of the settings that holds the topic of new enrollments. */
#define DEFAULT_TOPIC "push_default_topic"

/* LIST with what frees the bytes of its rows. */
static GArray *list(struct store *store, struct db_batch *batch, size_t size, void (*take)(const struct db_batch *, size_t, void *), GDestroyNotify clear, store_load **ret_load, GError **error)
{
	GArray *rows = store_list(store, batch, size, take, ret_load, error);

	if (rows)
		g_array_set_clear_func(rows, clear);
	return rows;
}

/* ---- push certificates ---- */

static void take_pushcert(const struct db_batch *b, size_t row, void *out)
{
	*(struct pushcert_row *)out = (struct pushcert_row){
		{db_get_text(b, 0, row, 0), db_get_bytes(b, 0, row, 1), db_get_bytes(b, 0, row, 2), db_get_int(b, 0, row, 3), db_get_int(b, 0, row, 4), db_get_int(b, 0, row, 5), db_get_int(b, 0, row, 6)},
		db_get_text(b, 0, row, 7),
	};
}

static void clear_pushcert(void *data)
{
	struct pushcert_row *row = data;

	g_clear_pointer(&row->certificate.certificates, g_bytes_unref);
	g_clear_pointer(&row->certificate.key_sealed, g_bytes_unref);
}

GArray *store_pushcert_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_PUSHCERT_LIST, NULL, 0);
	return list(store, batch, sizeof(struct pushcert_row), take_pushcert, clear_pushcert, ret_load, error);
}

bool store_pushcert_put(struct store *store, const struct pushcert_import *import, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const struct push_certificate_row *c = &import->row.certificate;

	store_batch_changed(batch, SHARED_PUSH_CERTIFICATE);
	db_batch_add(batch, Q_PUSHCERT_PUT, db_text(c->topic), db_bytes(c->certificates), db_bytes(c->key_sealed), db_int(c->not_before_ms), db_int(c->not_after_ms), db_int(c->imported_ms),
	             db_text(import->row.apple_account));
	if (import->request_id)
		db_batch_add(batch, Q_PUSH_REQUEST_END, db_text(import->request_id));
	if (import->default_topic)
		db_batch_add(batch, Q_SETTING_PUT, db_text(DEFAULT_TOPIC), db_text(import->default_topic));
	store_batch_audit(store, batch, import->audit);
	return store_run(store, batch, error);
}

bool store_pushcert_account(struct store *store, const char *topic, const char *account, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSHCERT_ACCOUNT, db_text(topic), db_text(account));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

/* Runs the removal of the row with this key. */
static bool remove_row(struct store *store, unsigned statement, const char *key, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	if (statement == Q_PUSHCERT_REMOVE)
		store_batch_changed(batch, SHARED_PUSH_CERTIFICATE);
	db_batch_add(batch, statement, db_text(key));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_pushcert_remove(struct store *store, const char *topic, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	return remove_row(store, Q_PUSHCERT_REMOVE, topic, audit, ret_found, error);
}

bool store_pushcert_default(struct store *store, char **ret, GError **error)
{
	return store_setting_get(store, DEFAULT_TOPIC, ret, error);
}

bool store_pushcert_set_default(struct store *store, const char *topic, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_PUSH_CERTIFICATE);
	db_batch_add(batch, Q_SETTING_PUT, db_text(DEFAULT_TOPIC), db_text(topic));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_count(const struct db_batch *b, size_t row, void *out)
{
	*(struct topic_count *)out = (struct topic_count){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1)};
}

GArray *store_pushcert_devices(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_PUSHCERT_DEVICES, NULL, 0);
	return store_list(store, batch, sizeof(struct topic_count), take_count, ret_load, error);
}

/* ---- vendors ---- */

static void take_vendor(const struct db_batch *b, size_t row, void *out)
{
	*(struct push_vendor_row *)out = (struct push_vendor_row){
		db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_bytes(b, 0, row, 2), db_get_bytes(b, 0, row, 3), db_get_bytes(b, 0, row, 4), db_get_int(b, 0, row, 5), db_get_int(b, 0, row, 6),
		db_get_int(b, 0, row, 7),
	};
}

static void clear_vendor(void *data)
{
	struct push_vendor_row *row = data;

	g_clear_pointer(&row->csr, g_bytes_unref);
	g_clear_pointer(&row->certificate, g_bytes_unref);
	g_clear_pointer(&row->key_sealed, g_bytes_unref);
}

GArray *store_push_vendor_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_VENDOR_LIST, db_text(after), db_int(limit));
	return list(store, batch, sizeof(struct push_vendor_row), take_vendor, clear_vendor, ret_load, error);
}

bool store_push_vendor_add(struct store *store, const struct push_vendor_row *row, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_VENDOR_ADD, db_text(row->id), db_text(row->subject), db_bytes(row->csr), db_bytes(row->certificate), db_bytes(row->key_sealed), db_int(row->not_before_ms),
	             db_int(row->not_after_ms), db_int(row->created_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_push_vendor_certify(struct store *store, const struct push_vendor_row *row, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_VENDOR_CERTIFY, db_text(row->id), db_text(row->subject), db_bytes(row->certificate), db_int(row->not_before_ms), db_int(row->not_after_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_push_vendor_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	return remove_row(store, Q_PUSH_VENDOR_REMOVE, id, audit, ret_found, error);
}

/* ---- requests ---- */

static void take_request(const struct db_batch *b, size_t row, void *out)
{
	*(struct push_request_row *)out = (struct push_request_row){
		db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_bytes(b, 0, row, 2), db_get_bytes(b, 0, row, 3), db_get_text(b, 0, row, 4), db_get_text(b, 0, row, 5),
		db_get_bytes(b, 0, row, 6), db_get_bytes(b, 0, row, 7), db_get_bytes(b, 0, row, 8), db_get_int(b, 0, row, 9), db_get_int(b, 0, row, 10),
	};
}

static void clear_request(void *data)
{
	struct push_request_row *row = data;

	g_clear_pointer(&row->csr, g_bytes_unref);
	g_clear_pointer(&row->key_sealed, g_bytes_unref);
	g_clear_pointer(&row->document, g_bytes_unref);
	g_clear_pointer(&row->encrypt_certificate, g_bytes_unref);
	g_clear_pointer(&row->encrypt_key_sealed, g_bytes_unref);
}

GArray *store_push_request_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_REQUEST_LIST, db_text(after), db_int(limit));
	return list(store, batch, sizeof(struct push_request_row), take_request, clear_request, ret_load, error);
}

bool store_push_request_add(struct store *store, const struct push_request_row *row, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_REQUEST_ADD, db_text(row->id), db_text(row->subject), db_bytes(row->csr), db_bytes(row->key_sealed), db_text(row->renews_topic), db_bytes(row->encrypt_certificate),
	             db_bytes(row->encrypt_key_sealed), db_int(row->created_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_push_request_sign(struct store *store, const char *id, const char *signed_by, GBytes *document, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PUSH_REQUEST_SIGN, db_text(id), db_text(signed_by), db_bytes(document), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_push_request_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	return remove_row(store, Q_PUSH_REQUEST_REMOVE, id, audit, ret_found, error);
}

/* ---- Apple's certificates ---- */

static void take_chain(const struct db_batch *b, size_t row, void *out)
{
	*(struct push_chain_row *)out = (struct push_chain_row){db_get_text(b, 0, row, 0), db_get_bytes(b, 0, row, 1), db_get_int(b, 0, row, 2)};
}

static void clear_chain(void *data)
{
	g_clear_pointer(&((struct push_chain_row *)data)->certificate, g_bytes_unref);
}

GArray *store_push_chain_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_PUSH_CHAIN_LIST, NULL, 0);
	return list(store, batch, sizeof(struct push_chain_row), take_chain, clear_chain, ret_load, error);
}

bool store_push_chain_add(struct store *store, const struct push_chain_row *rows, size_t n, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	for (size_t i = 0; i < n; i++)
		db_batch_add(batch, Q_PUSH_CHAIN_ADD, db_text(rows[i].sha256), db_bytes(rows[i].certificate), db_int(rows[i].created_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}
