#include "db/db.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/driver.h"

struct db_value db_int(int64_t i)
{
	return (struct db_value){.type = 'i', .i = i};
}

struct db_value db_text(const char *text)
{
	return (struct db_value){.type = 't', .is_null = !text, .data = text, .len = text ? strlen(text) : 0};
}

struct db_value db_blob(const void *data, size_t len)
{
	return (struct db_value){.type = 'b', .is_null = !data, .data = data, .len = len};
}

struct db_value db_bytes(GBytes *bytes)
{
	gsize len = 0;
	const void *data = bytes ? g_bytes_get_data(bytes, &len) : NULL;

	/* An empty GBytes has no pointer, but is not NULL. */
	return (struct db_value){.type = 'b', .is_null = !bytes, .data = data ? data : "", .len = len};
}

struct db_value db_null(char type)
{
	return (struct db_value){.type = type, .is_null = true};
}

/* ---- memory ---- */

struct db_piece {
	struct db_piece *before;
	size_t size, used;
	char data[];
};

/* Small enough with its head for the allocator's fastest way. */
enum { PIECE_BYTES = 1000 };

/* A copy of DATA with a zero behind it. */
static const char *memory_keep(struct db_memory *memory, const void *data, size_t len)
{
	struct db_piece *piece = memory->last;
	char *copy;

	if (!piece || piece->size - piece->used <= len) {
		size_t size = MAX(len + 1, (size_t)PIECE_BYTES);

		piece = g_malloc(sizeof(*piece) + size);
		*piece = (struct db_piece){.before = memory->last, .size = size};
		memory->last = piece;
	}
	copy = piece->data + piece->used;
	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	piece->used += len + 1;
	return copy;
}

static void memory_clear(struct db_memory *memory)
{
	for (struct db_piece *piece = memory->last, *before; piece; piece = before) {
		before = piece->before;
		g_free(piece);
	}
	memory->last = NULL;
}

/* ---- batches ---- */

/* What most need, so that their tables do not grow step by step. */
enum { ENTRIES_USUAL = 8, VALUES_USUAL = 32, CELLS_USUAL = 64 };

struct db_batch *db_batch_new(const char *key)
{
	struct db_batch *batch = g_new0(struct db_batch, 1);
	pthread_condattr_t attr;

	batch->key = g_strdup(key);
	batch->entries = g_array_sized_new(FALSE, FALSE, sizeof(struct db_entry), ENTRIES_USUAL);
	batch->values = g_array_sized_new(FALSE, FALSE, sizeof(struct db_value), VALUES_USUAL);
	batch->cells = g_array_sized_new(FALSE, FALSE, sizeof(struct db_value), CELLS_USUAL);
	/* Time-outs of drivers must not depend on somebody setting the clock. */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&batch->done, &attr);
	pthread_condattr_destroy(&attr);
	batch->link.data = batch;
	return batch;
}

void db_batch_free(struct db_batch *batch)
{
	if (!batch)
		return;
	g_free(batch->key);
	g_free(batch->hint);
	g_array_unref(batch->entries);
	g_array_unref(batch->values);
	g_array_unref(batch->cells);
	memory_clear(&batch->params_memory);
	memory_clear(&batch->results_memory);
	g_clear_error(&batch->error);
	pthread_cond_destroy(&batch->done);
	g_free(batch);
}

static struct db_value keep(struct db_memory *memory, struct db_value value)
{
	if (value.type != 'i' && !value.is_null)
		value.data = memory_keep(memory, value.data, value.len);
	return value;
}

unsigned db_batch_add_values(struct db_batch *batch, unsigned statement, const struct db_value *values, size_t n)
{
	struct db_entry entry = {.statement = statement, .first_value = batch->values->len, .n_values = (unsigned)n};

	g_assert(n <= DB_PARAMS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct db_value value = keep(&batch->params_memory, values[i]);

		g_array_append_val(batch->values, value);
	}
	g_array_append_val(batch->entries, entry);
	return batch->entries->len - 1;
}

size_t db_batch_count(const struct db_batch *batch)
{
	return batch->entries->len;
}

void db_batch_reset(struct db_batch *batch)
{
	g_array_set_size(batch->cells, 0);
	memory_clear(&batch->results_memory);
	g_clear_error(&batch->error);
	for (guint i = 0; i < batch->entries->len; i++)
		g_array_index(batch->entries, struct db_entry, i).n_rows = 0;
}

void db_batch_add_cell(struct db_batch *batch, struct db_value value)
{
	value = keep(&batch->results_memory, value);
	g_array_append_val(batch->cells, value);
}

bool db_batch_is_read(const struct db *db, const struct db_batch *batch)
{
	for (guint i = 0; i < batch->entries->len; i++)
		if (db->statements[g_array_index(batch->entries, struct db_entry, i).statement].mode == DB_WRITE)
			return false;
	return true;
}

void db_batch_check(const struct db *db, const struct db_batch *batch)
{
	for (guint i = 0; i < batch->entries->len; i++) {
		const struct db_entry *entry = &g_array_index(batch->entries, struct db_entry, i);
		const struct db_statement *statement = &db->statements[entry->statement];

		if (strlen(statement->params) != entry->n_values)
			g_error("statement %s takes %zu parameters, got %u", statement->name, strlen(statement->params), entry->n_values);
		for (unsigned v = 0; v < entry->n_values; v++)
			if (g_array_index(batch->values, struct db_value, entry->first_value + v).type != statement->params[v])
				g_error("statement %s: parameter $%u has the wrong type", statement->name, v + 1);
	}
}

bool db_expect_check(const struct db_statement *statement, uint64_t n_rows)
{
	return statement->expect == DB_EXPECT_ANY || n_rows == (statement->expect == DB_EXPECT_ONE ? 1 : 0);
}

static const struct db_value *cell(const struct db_batch *batch, unsigned i, size_t row, unsigned column)
{
	const struct db_entry *entry = &g_array_index(batch->entries, struct db_entry, i);

	if (i >= batch->entries->len || row >= entry->n_rows || column >= entry->n_columns)
		return NULL;
	return &g_array_index(batch->cells, struct db_value, entry->first_cell + row * entry->n_columns + column);
}

size_t db_rows(const struct db_batch *batch, unsigned i)
{
	return i < batch->entries->len ? g_array_index(batch->entries, struct db_entry, i).n_rows : 0;
}

int64_t db_get_int(const struct db_batch *batch, unsigned i, size_t row, unsigned column)
{
	const struct db_value *value = cell(batch, i, row, column);

	return value && !value->is_null ? value->i : 0;
}

const char *db_get_text(const struct db_batch *batch, unsigned i, size_t row, unsigned column)
{
	const struct db_value *value = cell(batch, i, row, column);

	return value && !value->is_null && value->type == 't' ? value->data : NULL;
}

const void *db_get_blob(const struct db_batch *batch, unsigned i, size_t row, unsigned column, size_t *ret_len)
{
	const struct db_value *value = cell(batch, i, row, column);

	if (!value || value->is_null || value->type != 'b') {
		*ret_len = 0;
		return NULL;
	}
	*ret_len = value->len;
	return value->data;
}

GBytes *db_get_bytes(const struct db_batch *batch, unsigned i, size_t row, unsigned column)
{
	size_t len;
	const void *data = db_get_blob(batch, i, row, column, &len);

	return data ? g_bytes_new(data, len) : NULL;
}

bool db_is_null(const struct db_batch *batch, unsigned i, size_t row, unsigned column)
{
	const struct db_value *value = cell(batch, i, row, column);

	return !value || value->is_null;
}

enum db_outcome db_fail(enum db_outcome outcome, GError **error, const char *where, const char *what)
{
	static const enum pom_error codes[DB_OUTCOME_MAX] = {
		[DB_CONFLICT] = POM_ERR_STORE_CONFLICT, [DB_REFUSED] = POM_ERR_STORE_REFUSED, [DB_FULL] = POM_ERR_STORE_FULL,
		[DB_UNKNOWN] = POM_ERR_STORE_UNKNOWN, [DB_AWAY] = POM_ERR_STORE_AWAY,
	};

	pom_fail(error, codes[outcome], "%s: %s", where, what);
	return outcome;
}

void db_batch_spans(struct db_batch *batch)
{
	batch->spans = true;
}

void db_batch_hint(struct db_batch *batch, const char *word)
{
	g_free(batch->hint);
	batch->hint = g_strdup(word);
}

bool db_engine_of(const char *url, enum db_engine *ret, GError **error)
{
	if (g_str_has_prefix(url, "sqlite:"))
		*ret = DB_SQLITE;
	else if (g_str_has_prefix(url, "postgresql://") || g_str_has_prefix(url, "postgres://"))
		*ret = DB_POSTGRES;
	else
		/* Not the URL itself: it may hold a password. */
		return pom_fail(error, POM_ERR_CONFIG, "store.url must begin with sqlite: or postgresql://");
	return true;
}

static void die(const char *message)
{
	fprintf(stderr, "%s\n", message);
	_exit(70);
}

struct db *db_open(const struct db_config *config, GError **error)
{
	enum db_engine engine;
	struct db *db;

	if (!db_url_check(config->url, error) || !db_engine_of(config->url, &engine, error))
		return NULL;
	db = engine == DB_SQLITE ? db_sqlite_open(config->url + strlen("sqlite:"), config, error) : db_postgres_open(config->url, config, error);
	if (db)
		db->fatal = config->fatal ? config->fatal : die;
	return db;
}

bool db_peek(const char *url, int *ret_schema, GError **error)
{
	enum db_engine engine;

	if (!db_url_check(url, error) || !db_engine_of(url, &engine, error))
		return false;
	return engine == DB_SQLITE ? db_sqlite_peek(url + strlen("sqlite:"), ret_schema, error) : db_postgres_peek(url, ret_schema, error);
}

bool db_is_shared(const struct db *db)
{
	return db->driver->listen != NULL;
}

const char *db_risks(const struct db *db)
{
	return db->risks;
}

void db_listen(struct db *db, void (*fn)(void *ctx, const char *word), void *ctx)
{
	if (db->driver->listen)
		db->driver->listen(db, fn, ctx);
}

void db_close(struct db *db)
{
	if (db)
		db->driver->close(db);
}

enum db_outcome db_run(struct db *db, struct db_batch *batch, GError **error)
{
	db_batch_check(db, batch);
	return db->driver->run(db, batch, error);
}
