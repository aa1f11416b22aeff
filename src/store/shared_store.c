#include "store/shared_store.h"

#include <string.h>

#include "store/store_internal.h"

static const char *const names[SHARED_KIND_MAX] = {"ca", "push_certificate", "tls"};

const char *shared_kind_name(enum shared_kind kind)
{
	return names[kind];
}

bool shared_kind_is_hint(const char *word)
{
	for (int kind = 0; kind < SHARED_KIND_MAX; kind++)
		if (!strcmp(word, names[kind]))
			return true;
	return false;
}

void store_listen(struct store *store, void (*fn)(void *ctx, const char *word), void *ctx)
{
	db_listen(store->db, fn, ctx);
}

void store_read_versions(const struct db_batch *batch, unsigned i, struct shared_versions *ret)
{
	*ret = (struct shared_versions){0};
	for (size_t row = 0; row < db_rows(batch, i); row++)
		for (int kind = 0; kind < SHARED_KIND_MAX; kind++)
			if (!strcmp(db_get_text(batch, i, row, 0), names[kind]))
				ret->of[kind] = db_get_int(batch, i, row, 1);
}

bool store_shared_versions(struct store *store, struct shared_versions *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_SHARED_VERSIONS, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	store_read_versions(batch, 0, ret);
	return true;
}

bool store_token_enter(struct store *store, const uint8_t hash[32], char **ret_name, struct shared_versions *ret_versions, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_SHARED_VERSIONS, NULL, 0);
	db_batch_add(batch, Q_TOKEN_FIND, db_blob(hash, 32));
	if (!store_run(store, batch, error))
		return false;
	store_read_versions(batch, 0, ret_versions);
	*ret_name = g_strdup(db_get_text(batch, 1, 0, 1));
	return true;
}

void store_batch_changed(struct db_batch *batch, enum shared_kind kind)
{
	db_batch_add(batch, Q_SHARED_CHANGED, db_text(names[kind]));
	db_batch_hint(batch, names[kind]);
}

void store_batch_lock(struct db_batch *batch, const char *name)
{
	db_batch_add(batch, Q_LOCK_TAKE, db_text(name));
}

void store_batch_unlock(struct db_batch *batch, const char *name)
{
	db_batch_add(batch, Q_LOCK_GIVE, db_text(name));
}

/* ---- addresses ---- */

bool store_address_served(struct store *store, const char *address, const char *link_id, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(address);

	db_batch_add(batch, Q_ADDRESS_SERVED, db_text(address), db_text(link_id), db_int(now_ms));
	return store_run(store, batch, error);
}

bool store_address_link(struct store *store, const char *address, int64_t since_ms, char **ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ADDRESS_LINK, db_text(address), db_int(since_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret = g_strdup(db_get_text(batch, 0, 0, 0));
	return true;
}

bool store_address_purge(struct store *store, int64_t before_ms, int64_t limit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ADDRESS_PURGE, db_int(before_ms), db_int(limit));
	return store_run(store, batch, error);
}

/* ---- failures ---- */

bool store_scep_failed(struct store *store, const char *address, int64_t cost_ms, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_forgiven_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(address);
	bool shared = db_is_shared(store->db);

	*ret_forgiven_ms = 0;
	store_batch_audit(store, batch, audit);
	if (shared)
		db_batch_add(batch, Q_SCEP_FAILED, db_text(address), db_int(now_ms), db_int(cost_ms));
	if (db_batch_count(batch) && !store_run(store, batch, error))
		return false;
	if (shared)
		*ret_forgiven_ms = db_get_int(batch, audit ? 1 : 0, 0, 0);
	return true;
}

bool store_scep_forgive(struct store *store, int64_t now_ms, int64_t limit, bool *ret_more, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, Q_SCEP_FORGIVEN, db_int(now_ms), db_int(limit));
	if (!store_run(store, batch, error))
		return false;
	*ret_more = (int64_t)db_rows(batch, 0) == limit;
	return true;
}
