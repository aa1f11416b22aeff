/* Generations of CAs, their CRLs, SCEP profiles, outside CAs, and the audit log. */
#include <string.h>

#include "store/store_internal.h"

void store_batch_audit(struct store *store, struct db_batch *batch, const struct audit_entry *entry)
{
	struct pom_id id;

	if (!entry)
		return;
	id = pom_id_new(store->clock, store->random);
	db_batch_add(batch, Q_AUDIT_ADD, db_text(id.text), db_int(pom_clock_now_ms(store->clock)), db_text(entry->actor), db_text(entry->action),
	             db_text(entry->object ? entry->object : ""), db_text(entry->detail));
	g_free(entry->detail);
}

bool store_audit_add(struct store *store, const struct audit_entry *entry, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_audit(store, batch, entry);
	return store_run(store, batch, error);
}

static void take_pending(const struct db_batch *batch, size_t row, void *out)
{
	*(struct audit_row *)out = (struct audit_row){
		.id = db_get_text(batch, 0, row, 0), .at_ms = db_get_int(batch, 0, row, 1), .actor = db_get_text(batch, 0, row, 2), .action = db_get_text(batch, 0, row, 3),
		.object = db_get_text(batch, 0, row, 4), .detail = db_get_text(batch, 0, row, 5),
	};
}

GArray *store_audit_pending(struct store *store, int64_t limit, int64_t *ret_seq, uint8_t ret_hash[32], store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	const void *hash;
	GArray *rows;
	size_t len;

	db_batch_add(batch, Q_AUDIT_PENDING, db_int(limit));
	db_batch_add_values(batch, Q_AUDIT_LAST, NULL, 0);
	rows = store_list(store, batch, sizeof(struct audit_row), take_pending, ret_load, error);
	if (!rows)
		return NULL;
	*ret_seq = db_get_int(*ret_load, 1, 0, 0);
	memset(ret_hash, 0, 32);
	hash = db_get_blob(*ret_load, 1, 0, 1, &len);
	if (hash && len == 32)
		memcpy(ret_hash, hash, 32);
	return rows;
}

bool store_audit_chain(struct store *store, const struct audit_row *rows, size_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new("audit");

	for (size_t i = 0; i < n; i++) {
		db_batch_add(batch, Q_AUDIT_CHAIN, db_int(rows[i].seq), db_text(rows[i].id), db_int(rows[i].at_ms), db_text(rows[i].actor), db_text(rows[i].action),
		             db_text(rows[i].object), db_text(rows[i].detail), db_blob(rows[i].hash, rows[i].hash_len));
		db_batch_add(batch, Q_AUDIT_TAKE, db_text(rows[i].id));
	}
	return store_run(store, batch, error);
}

static void take_audit(const struct db_batch *batch, size_t row, void *out)
{
	struct audit_row *r = out;

	*r = (struct audit_row){
		.seq = db_get_int(batch, 0, row, 0), .id = db_get_text(batch, 0, row, 1), .at_ms = db_get_int(batch, 0, row, 2), .actor = db_get_text(batch, 0, row, 3),
		.action = db_get_text(batch, 0, row, 4), .object = db_get_text(batch, 0, row, 5), .detail = db_get_text(batch, 0, row, 6),
	};
	r->hash = db_get_blob(batch, 0, row, 7, &r->hash_len);
}

GArray *store_audit_list(struct store *store, const char *object, int64_t after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	if (object)
		db_batch_add(batch, Q_AUDIT_OF, db_text(object), db_int(after), db_int(limit));
	else
		db_batch_add(batch, Q_AUDIT_LIST, db_int(after), db_int(limit));
	return store_list(store, batch, sizeof(struct audit_row), take_audit, ret_load, error);
}

GArray *store_audit_before(struct store *store, int64_t before, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_AUDIT_BEFORE, db_int(before), db_int(limit));
	return store_list(store, batch, sizeof(struct audit_row), take_audit, ret_load, error);
}

/* ---- generations ---- */

static void take_generation(const struct db_batch *batch, size_t row, void *out)
{
	*(struct generation_row *)out = (struct generation_row){
		.id = db_get_text(batch, 0, row, 0), .ca = db_get_text(batch, 0, row, 1), .number = db_get_int(batch, 0, row, 2), .state = db_get_text(batch, 0, row, 3),
		.source = db_get_text(batch, 0, row, 4), .version = db_get_int(batch, 0, row, 5), .created_ms = db_get_int(batch, 0, row, 6),
		.activated_ms = db_get_int(batch, 0, row, 7), .retiring_ms = db_get_int(batch, 0, row, 8), .retired_ms = db_get_int(batch, 0, row, 9),
	};
}

GArray *store_generation_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_GENERATION_LIST, NULL, 0);
	return store_list(store, batch, sizeof(struct generation_row), take_generation, ret_load, error);
}

void store_batch_authority(struct db_batch *batch, const struct authority_row *row)
{
	db_batch_add(batch, Q_AUTHORITY_ADD, db_text(row->id), db_text(row->role), db_text(row->state), db_bytes(row->certificate), db_bytes(row->key_sealed),
	             db_int(row->not_before_ms), db_int(row->not_after_ms), db_int(row->created_ms), db_text(row->generation_id), db_text(row->key_uri));
}

bool store_generation_add(struct store *store, const struct generation_row *g, const struct authority_row *rows, size_t n, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	db_batch_add(batch, Q_GENERATION_ADD, db_text(g->id), db_text(g->ca), db_int(g->number), db_text(g->state), db_text(g->source), db_int(g->created_ms),
	             db_int(g->activated_ms));
	for (size_t i = 0; i < n; i++)
		store_batch_authority(batch, &rows[i]);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_generation_change(struct store *store, const struct generation_change *changes, size_t n_changes, const struct authority_row *added, size_t n_added,
                             const char *const *superseded_ids, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	for (size_t i = 0; i < n_changes; i++) {
		const struct generation_change *c = &changes[i];

		db_batch_add(batch, Q_GENERATION_STATE, db_text(c->id), db_int(c->version), db_text(c->state), db_int(c->activated_ms), db_int(c->retiring_ms), db_int(c->retired_ms));
		if (c->retired_ms)
			db_batch_add(batch, Q_AUTHORITY_RETIRE_GENERATION, db_text(c->id));
	}
	for (; superseded_ids && *superseded_ids; superseded_ids++)
		db_batch_add(batch, Q_AUTHORITY_STATE, db_text(*superseded_ids), db_text("superseded"));
	for (size_t i = 0; i < n_added; i++)
		store_batch_authority(batch, &added[i]);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_generation_drop(struct store *store, const char *id, int64_t version, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	db_batch_add(batch, Q_GENERATION_DROP, db_text(id), db_int(version));
	db_batch_add(batch, Q_AUTHORITY_DROP, db_text(id));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_count(const struct db_batch *batch, size_t row, void *out)
{
	*(struct generation_count *)out = (struct generation_count){db_get_text(batch, 0, row, 0), db_get_int(batch, 0, row, 1)};
}

GArray *store_generation_devices(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_GENERATION_DEVICES, NULL, 0);
	return store_list(store, batch, sizeof(struct generation_count), take_count, ret_load, error);
}

static void take_brief(const struct db_batch *batch, size_t row, void *out)
{
	*(struct device_brief *)out = (struct device_brief){
		db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_text(batch, 0, row, 2), db_get_text(batch, 0, row, 3), db_get_int(batch, 0, row, 4),
		db_get_int(batch, 0, row, 5),
	};
}

GArray *store_generation_device_list(struct store *store, const char *generation_id, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GENERATION_DEVICE_LIST, db_text(generation_id), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct device_brief), take_brief, ret_load, error);
}

GArray *store_anchor_lacking(struct store *store, int64_t number, const char *after, const char *until, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ANCHOR_LACKING, db_int(number), db_text(after), db_int(limit), db_text(until));
	return store_list(store, batch, sizeof(struct device_brief), take_brief, ret_load, error);
}

bool store_live_count(struct store *store, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_ENROLLMENTS_LIVE, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_anchor_set(struct store *store, const char *enrollment_id, int64_t epoch, int64_t number, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_ANCHOR_SET, db_text(enrollment_id), db_int(epoch), db_int(number));
	return store_run(store, batch, error);
}

bool store_anchor_is_refused(struct store *store, const char *enrollment_id, int64_t since_ms, bool *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_ANCHOR_REFUSED, db_text(enrollment_id), db_int(since_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_int(batch, 0, 0, 0) > 0;
	return true;
}

/* ---- CRLs ---- */

bool store_crl_get(struct store *store, const char *generation_id, bool with_der, struct crl_row *ret, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CRL_STATE, db_text(generation_id));
	if (with_der)
		db_batch_add(batch, Q_CRL_GET, db_text(generation_id));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	*ret = (struct crl_row){db_get_int(batch, 0, 0, 0), db_get_int(batch, 0, 0, 1), db_get_int(batch, 0, 0, 2), with_der ? db_get_bytes(batch, 1, 0, 0) : NULL};
	return true;
}

bool store_crl_put(struct store *store, const char *generation_id, const struct crl_row *crl, int64_t previous, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CRL_PUT, db_text(generation_id), db_int(crl->number), db_bytes(crl->der), db_int(crl->this_update_ms), db_int(crl->next_update_ms), db_int(previous));
	return store_run(store, batch, error);
}

static void take_revoked(const struct db_batch *batch, size_t row, void *out)
{
	*(struct revoked_row *)out = (struct revoked_row){db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 2), db_get_int(batch, 0, row, 1)};
}

GArray *store_crl_revoked(struct store *store, const char *generation_id, int64_t now_ms, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CRL_REVOKED, db_text(generation_id), db_int(now_ms));
	return store_list(store, batch, sizeof(struct revoked_row), take_revoked, ret_load, error);
}

bool store_crl_is_dirty(struct store *store, const char *generation_id, int64_t since_ms, bool *ret_dirty, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CRL_DIRTY, db_text(generation_id), db_int(since_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_dirty = db_rows(batch, 0) > 0;
	return true;
}

/* ---- SCEP profiles, outside CAs ---- */

static void take_profile(const struct db_batch *batch, size_t row, void *out)
{
	*(struct named_settings_row *)out = (struct named_settings_row){db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_bytes(batch, 0, row, 2), NULL, db_get_int(batch, 0, row, 3)};
}

static void take_outside(const struct db_batch *batch, size_t row, void *out)
{
	*(struct named_settings_row *)out = (struct named_settings_row){db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_bytes(batch, 0, row, 2), db_get_bytes(batch, 0, row, 3),
	                                                                db_get_int(batch, 0, row, 4)};
}

static void clear_named(void *data)
{
	struct named_settings_row *row = data;

	g_clear_pointer(&row->secret_sealed, g_bytes_unref);
	g_clear_pointer(&row->certificates, g_bytes_unref);
}

static GArray *list_named(struct store *store, unsigned statement, void (*take)(const struct db_batch *, size_t, void *), store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add_values(batch, statement, NULL, 0);
	rows = store_list(store, batch, sizeof(struct named_settings_row), take, ret_load, error);
	if (rows)
		g_array_set_clear_func(rows, clear_named);
	return rows;
}

GArray *store_profile_list(struct store *store, store_load **ret_load, GError **error)
{
	return list_named(store, Q_PROFILE_LIST, take_profile, ret_load, error);
}

bool store_profile_put(struct store *store, const char *name, const char *settings, GBytes *secret_sealed, int64_t version, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	db_batch_add(batch, Q_PROFILE_PUT, db_text(name), db_text(settings), db_bytes(secret_sealed), db_int(now_ms), db_int(version));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static bool remove_named(struct store *store, unsigned statement, const char *name, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	db_batch_add(batch, statement, db_text(name));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

bool store_profile_remove(struct store *store, const char *name, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	return remove_named(store, Q_PROFILE_REMOVE, name, audit, ret_found, error);
}

GArray *store_outside_list(struct store *store, store_load **ret_load, GError **error)
{
	return list_named(store, Q_OUTSIDE_LIST, take_outside, ret_load, error);
}

bool store_outside_put(struct store *store, const struct named_settings_row *row, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, SHARED_CA);
	db_batch_add(batch, Q_OUTSIDE_PUT, db_text(row->name), db_text(row->settings), db_bytes(row->secret_sealed), db_bytes(row->certificates), db_int(now_ms), db_int(row->version));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_outside_remove(struct store *store, const char *name, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	return remove_named(store, Q_OUTSIDE_REMOVE, name, audit, ret_found, error);
}
