#include <string.h>

#include "store/move_store.h"
#include "store/schema.h"
#include "store/store_internal.h"

const struct db_statement store_statements[Q_MAX] = {
#define X(name, params, results, expect, mode, sql) [Q_##name] = {#name, params, results, DB_EXPECT_##expect, DB_##mode, sql},
	STORE_STATEMENTS(X)
#undef X
};

const struct db_migration store_migrations_sqlite[] = {{1, STORE_SCHEMA_1_SQLITE}, {2, STORE_SCHEMA_2_SQLITE}, {3, STORE_SCHEMA_3_SQLITE}, {4, STORE_SCHEMA_4_SQLITE}, {5, STORE_SCHEMA_5_SQLITE}};
const struct db_migration store_migrations_postgres[] = {{1, STORE_SCHEMA_1_POSTGRES}, {2, STORE_SCHEMA_2_POSTGRES}, {3, STORE_SCHEMA_3_POSTGRES}, {4, STORE_SCHEMA_4_POSTGRES}, {5, STORE_SCHEMA_5_POSTGRES}};
const unsigned store_n_migrations = G_N_ELEMENTS(store_migrations_sqlite);

struct store *store_open(const char *url, const struct pom_clock *clock, const struct pom_random *random, GError **error)
{
	struct db_config config = {.url = url, .statements = store_statements, .n_statements = Q_MAX, .n_migrations = store_n_migrations};
	enum db_engine engine;
	struct store *store;
	struct db *db;

	if (!db_engine_of(url, &engine, error))
		return NULL;
	config.migrations = engine == DB_SQLITE ? store_migrations_sqlite : store_migrations_postgres;
	db = db_open(&config, error);
	if (!db)
		return NULL;
	store = g_new0(struct store, 1);
	store->db = db;
	store->clock = clock;
	store->random = random;
	store->leases = db_is_shared(db);
	store_away_init(store);
	pthread_mutex_init(&store->seen_lock, NULL);
	store->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	pthread_mutex_init(&store->channels_lock, NULL);
	store->channels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	pthread_mutex_init(&store->delivered_lock, NULL);
	store->delivered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, store_delivery_free);
	if (!store_move_check(store, error)) {
		store_close(store);
		return NULL;
	}
	return store;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	db_close(store->db);
	g_hash_table_unref(store->seen);
	pthread_mutex_destroy(&store->seen_lock);
	g_hash_table_unref(store->channels);
	pthread_mutex_destroy(&store->channels_lock);
	g_hash_table_unref(store->delivered);
	pthread_mutex_destroy(&store->delivered_lock);
	store_away_clear(store);
	g_free(store);
}

bool store_peek(const char *url, int *ret_schema, GError **error)
{
	return db_peek(url, ret_schema, error);
}

bool store_url_check(const char *url, GError **error)
{
	return db_url_check(url, error);
}

bool store_url_has_password(const char *url)
{
	return db_url_has_password(url);
}

char *store_url_show(const char *url)
{
	return db_url_show(url);
}

bool store_copy(const char *url, const char *file, const struct db_progress *progress, int *ret_schema, GError **error)
{
	return db_copy(url, file, progress, ret_schema, error);
}

bool store_check_copy(const char *file, const struct db_progress *progress, int *ret_schema, GError **error)
{
	int newest = store_migrations_sqlite[store_n_migrations - 1].version;

	if (!db_check_file(file, progress, ret_schema, error))
		return false;
	if (*ret_schema < 1)
		return pom_fail(error, POM_ERR_STORE_SCHEMA, "%s is a database, but none of Pomona's", file);
	if (*ret_schema > newest)
		return pom_fail(error, POM_ERR_STORE_SCHEMA, "the database has schema %d; this program knows %d at most: run a newer Pomona", *ret_schema, newest);
	return true;
}

void store_load_free(store_load *load)
{
	db_batch_free(load);
}

bool store_run(struct store *store, struct db_batch *batch, GError **error)
{
	GError *inner = NULL;
	enum db_outcome outcome;

	if (!store_check_schema(store, error) || !store_fence_add(store, batch, error))
		return false;
	outcome = db_run(store->db, batch, &inner);
	store_away_note(store, outcome, inner);
	if (outcome == DB_DONE)
		return true;
	if (outcome == DB_CONFLICT)
		store_fence_explain(store, &inner);
	g_propagate_error(error, inner);
	return false;
}

enum { ONCE_TRIES = 12, ONCE_PAUSE_US = 250000, ONCE_MAX_US = 10 * G_USEC_PER_SEC };

void store_pause(void)
{
	g_usleep(ONCE_PAUSE_US);
}

void store_keep_unknown(bool unknown, GError **error)
{
	if (!unknown || !g_error_matches(*error, POM_ERROR, POM_ERR_STORE_AWAY))
		return;
	(*error)->code = POM_ERR_STORE_UNKNOWN;
	g_prefix_error(error, "the connection was lost before the answer came, and then ");
}

static bool is_there(struct store *store, unsigned find, const char *id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, find, db_text(id));
	return store_run(store, batch, error) && db_rows(batch, 0) > 0;
}

bool store_run_once(struct store *store, struct db_batch *batch, unsigned find, const char *id, GError **error)
{
	int64_t until_us = g_get_monotonic_time() + ONCE_MAX_US;
	GError *inner = NULL;
	bool unknown = false;

	for (int i = 0; i < ONCE_TRIES && (!i || g_get_monotonic_time() < until_us); i++) {
		g_autoptr(GError) unseen = NULL;

		g_clear_error(&inner);
		if (store_run(store, batch, &inner))
			return true;
		if (unknown && g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT) && (is_there(store, find, id, &unseen) || unseen)) {
			g_clear_error(&inner);
			if (!unseen)
				return true;
			inner = g_steal_pointer(&unseen);
		}
		unknown |= g_error_matches(inner, POM_ERROR, POM_ERR_STORE_UNKNOWN);
		if (!unknown || !store_error_is_away(inner))
			break;
		store_pause();
	}
	store_keep_unknown(unknown, &inner);
	g_propagate_error(error, inner);
	return false;
}

bool store_run_found(struct store *store, struct db_batch *batch, bool *ret_found, GError **error)
{
	GError *inner = NULL;

	*ret_found = store_run(store, batch, &inner);
	if (*ret_found || g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		return true;
	}
	g_propagate_error(error, inner);
	return false;
}

bool store_ping(struct store *store, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_PING, NULL, 0);
	return store_run(store, batch, error);
}

void store_batch_event(struct store *store, struct db_batch *batch, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_EVENT_ADD, db_text(enrollment_id), db_text(id.text), db_int(now_ms), db_text(kind), db_text(detail));
	db_batch_add(batch, Q_EVENT_TRIM, db_text(enrollment_id));
}

void store_batch_event_again(struct store *store, struct db_batch *batch, const char *enrollment_id, const char *kind, const char *detail, bool any_detail, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);
	int64_t since_ms = now_ms - EVENT_AGAIN_MS;

	db_batch_add(batch, Q_EVENT_AGAIN, db_text(enrollment_id), db_text(kind), db_int(now_ms), db_text(detail), db_int(since_ms), db_int(any_detail));
	db_batch_add(batch, Q_EVENT_FIRST, db_text(enrollment_id), db_text(kind), db_int(now_ms), db_text(detail), db_int(since_ms), db_int(any_detail), db_text(id.text));
	db_batch_add(batch, Q_EVENT_TRIM, db_text(enrollment_id));
}

GArray *store_list(struct store *store, struct db_batch *batch, size_t size, void (*take)(const struct db_batch *, size_t, void *), store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) owned = batch;
	GArray *rows;

	if (!store_run(store, batch, error))
		return NULL;
	rows = g_array_sized_new(FALSE, TRUE, (guint)size, (guint)db_rows(batch, 0));
	g_array_set_size(rows, (guint)db_rows(batch, 0));
	for (guint i = 0; i < rows->len; i++)
		take(batch, i, rows->data + i * size);
	*ret_load = g_steal_pointer(&owned);
	return rows;
}

bool store_setting_get(struct store *store, const char *name, char **ret_value, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SETTING_GET, db_text(name));
	if (!store_run(store, batch, error))
		return false;
	*ret_value = g_strdup(db_get_text(batch, 0, 0, 0));
	return true;
}

bool store_setting_put(struct store *store, const char *name, const char *value, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SETTING_PUT, db_text(name), db_text(value));
	return store_run(store, batch, error);
}

/* Bytes that live as long as the load: the batch owns them. */
static GBytes *borrow_bytes(const struct db_batch *batch, size_t row, unsigned column)
{
	size_t len;
	const void *data = db_get_blob(batch, 0, row, column, &len);

	return data ? g_bytes_new(data, len) : NULL;
}

static void take_authority(const struct db_batch *batch, size_t row, void *out)
{
	*(struct authority_row *)out = (struct authority_row){
		db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_text(batch, 0, row, 2), borrow_bytes(batch, row, 3),
		borrow_bytes(batch, row, 4), db_get_int(batch, 0, row, 5), db_get_int(batch, 0, row, 6), db_get_int(batch, 0, row, 7), db_get_text(batch, 0, row, 8),
		db_get_text(batch, 0, row, 9),
	};
}

static void clear_authority(void *data)
{
	struct authority_row *row = data;

	g_clear_pointer(&row->certificate, g_bytes_unref);
	g_clear_pointer(&row->key_sealed, g_bytes_unref);
}

GArray *store_authority_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add_values(batch, Q_AUTHORITY_LIST, NULL, 0);
	rows = store_list(store, batch, sizeof(struct authority_row), take_authority, ret_load, error);
	if (rows)
		g_array_set_clear_func(rows, clear_authority);
	return rows;
}

bool store_authority_add(struct store *store, const struct authority_row *row, bool retire_others, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	store_batch_changed(batch, strcmp(row->role, "tls") ? SHARED_CA : SHARED_TLS);
	store_batch_authority(batch, row);
	if (retire_others)
		db_batch_add(batch, Q_AUTHORITY_RETIRE, db_text(row->role), db_text(row->id));
	return store_run(store, batch, error);
}

bool store_token_add(struct store *store, const char *id, const char *name, const uint8_t hash[32], bool secrets, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_TOKEN_ADD, db_text(id), db_text(name), db_blob(hash, 32), db_int(now_ms), db_int(secrets));
	store_batch_audit(store, batch, audit);
	return store_run_once(store, batch, Q_TOKEN_GET, id, error);
}

bool store_token_find(struct store *store, const uint8_t hash[32], char **ret_name, bool *ret_secrets, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_TOKEN_FIND, db_blob(hash, 32));
	if (!store_run(store, batch, error))
		return false;
	*ret_name = g_strdup(db_get_text(batch, 0, 0, 1));
	*ret_secrets = db_get_int(batch, 0, 0, 2);
	return true;
}

bool store_token_revoke(struct store *store, const char *id, int64_t now_ms, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_TOKEN_REVOKE, db_text(id), db_int(now_ms));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	return true;
}

static void take_token(const struct db_batch *batch, size_t row, void *out)
{
	*(struct token_row *)out = (struct token_row){db_get_text(batch, 0, row, 0), db_get_text(batch, 0, row, 1), db_get_int(batch, 0, row, 2), db_get_int(batch, 0, row, 3), db_get_int(batch, 0, row, 4)};
}

GArray *store_token_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_TOKEN_LIST, NULL, 0);
	return store_list(store, batch, sizeof(struct token_row), take_token, ret_load, error);
}

static void take_push_certificate(const struct db_batch *batch, size_t row, void *out)
{
	*(struct push_certificate_row *)out = (struct push_certificate_row){
		db_get_text(batch, 0, row, 0), borrow_bytes(batch, row, 1), borrow_bytes(batch, row, 2), db_get_int(batch, 0, row, 3),
		db_get_int(batch, 0, row, 4), db_get_int(batch, 0, row, 5), db_get_int(batch, 0, row, 6),
	};
}

static void clear_push_certificate(void *data)
{
	struct push_certificate_row *row = data;

	g_clear_pointer(&row->certificates, g_bytes_unref);
	g_clear_pointer(&row->key_sealed, g_bytes_unref);
}

GArray *store_push_certificate_list(struct store *store, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add_values(batch, Q_PUSH_CERT_LIST, NULL, 0);
	rows = store_list(store, batch, sizeof(struct push_certificate_row), take_push_certificate, ret_load, error);
	if (rows)
		g_array_set_clear_func(rows, clear_push_certificate);
	return rows;
}
