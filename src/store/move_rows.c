/* Statements over whole tables, made of the table of tables; copying and comparing rows. */
#include <string.h>

#include "store/move_internal.h"
#include "store/statements.h"
#include "store/tables.h"

/* PAGE_BYTES: what a page should be about; the first is small because rows can be large. */
enum { FIRST_ROWS = 20, PAGE_ROWS = 2000, PAGE_BYTES = 2 * 1024 * 1024, TRIES = 60, PAUSE_US = 1000000, PAUSE_STEP_US = 50000 };

struct table {
	const char *name;
	unsigned n_keys;
	const char *types, *columns;
};

#define ROW_MOVED(...) {__VA_ARGS__},
#define ROW_KEPT(...)
#define X(name, fate, n_keys, types, columns) ROW_##fate(#name, n_keys, types, columns)
static const struct table tables[] = {STORE_TABLES(X)};
#undef X

/* Of each table, in this order from M_MAX on. */
enum { S_FIRST, S_NEXT, S_LAST, S_ADD, S_COUNT, S_MAX };

static unsigned statement_of(unsigned table, unsigned which)
{
	return M_MAX + table * S_MAX + which;
}

/* ---- statements */

/* The columns of the key, each followed by AFTER, with ", " between. */
static char *key_columns(const struct table *t, const char *after)
{
	g_auto(GStrv) columns = g_strsplit(t->columns, ", ", -1);
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < t->n_keys; i++)
		g_string_append_printf(text, "%s%s%s", i ? ", " : "", columns[i], after);
	return g_strdup(text->str);
}

static char *parameters(size_t n)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (size_t i = 1; i <= n; i++)
		g_string_append_printf(text, "%s$%zu", i > 1 ? ", " : "", i);
	return g_strdup(text->str);
}

/* Takes SQL; the other texts are copied. */
static void add_statement(struct mover *m, const struct table *t, const char *params, const char *results, enum db_mode mode, char *sql)
{
	const struct db_statement statement = {t->name, g_string_chunk_insert(m->memory, params), g_string_chunk_insert(m->memory, results), DB_EXPECT_ANY, mode, g_string_chunk_insert(m->memory, sql)};

	g_array_append_val(m->statements, statement);
	g_free(sql);
}

static void add_table(struct mover *m, const struct table *t)
{
	g_autofree char *keys = key_columns(t, ""), *down = key_columns(t, " DESC"), *marks = parameters(t->n_keys), *values = parameters(strlen(t->types));
	g_autofree char *key_types = g_strndup(t->types, t->n_keys), *next = g_strconcat(key_types, "i", NULL);

	add_statement(m, t, "i", t->types, DB_READ, g_strdup_printf("SELECT %s FROM %s ORDER BY %s LIMIT $1", t->columns, t->name, keys));
	add_statement(m, t, next, t->types, DB_READ, g_strdup_printf("SELECT %s FROM %s WHERE (%s) > (%s) ORDER BY %s LIMIT $%u", t->columns, t->name, keys, marks, keys, t->n_keys + 1));
	add_statement(m, t, "", key_types, DB_READ, g_strdup_printf("SELECT %s FROM %s ORDER BY %s LIMIT 1", keys, t->name, down));
	add_statement(m, t, t->types, "", DB_WRITE, g_strdup_printf("INSERT INTO %s (%s) VALUES (%s)", t->name, t->columns, values));
	add_statement(m, t, "", "i", DB_READ, g_strdup_printf("SELECT count(*) FROM %s", t->name));
}

void mover_init(struct mover *m, const struct store_move *o)
{
	static const struct db_statement own[M_MAX] = {
#define X(name, params, results, expect, mode, sql) [M_##name] = {#name, params, results, DB_EXPECT_##expect, DB_##mode, sql},
		MOVE_STATEMENTS(X)
#undef X
	};

	*m = (struct mover){.o = o, .memory = g_string_chunk_new(4096), .statements = g_array_new(FALSE, FALSE, sizeof(struct db_statement)), .what = "looking"};
	g_array_append_vals(m->statements, own, M_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		add_table(m, &tables[i]);
}

void mover_clear(struct mover *m)
{
	db_close(m->from);
	db_close(m->to);
	g_array_unref(m->statements);
	g_string_chunk_free(m->memory);
}

struct db *mover_open(struct mover *m, const char *url, GError **error)
{
	struct db_config config = {.url = url, .statements = (const struct db_statement *)m->statements->data, .n_statements = m->statements->len, .n_migrations = store_n_migrations};
	enum db_engine engine;

	if (!db_engine_of(url, &engine, error))
		return NULL;
	config.migrations = engine == DB_SQLITE ? store_migrations_sqlite : store_migrations_postgres;
	return db_open(&config, error);
}

bool mover_step(struct mover *m, GError **error)
{
	if (!m->o->step || m->o->step(m->o->ctx, m->what, m->done, m->all))
		return true;
	return pom_fail(error, POM_ERR_STORE_MOVE, "broken off: run the same command again to go on, or take the old database back with \"pomona migrate-store --undo\"");
}

/* ---- pages of rows */

struct pager {
	struct db *db;
	unsigned table, limit;
	struct db_batch *page; /* after pager_next: the rows; at first NULL, or a row after whose key to begin */
};

static void pager_clear(struct pager *pager)
{
	db_batch_free(pager->page);
}

typedef struct pager pager;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(pager, pager_clear)

static struct db_value value_at(const struct db_batch *batch, size_t row, unsigned column, char type)
{
	size_t len;
	const void *data;

	if (db_is_null(batch, 0, row, column))
		return db_null(type);
	if (type == 'i')
		return db_int(db_get_int(batch, 0, row, column));
	if (type == 't')
		return db_text(db_get_text(batch, 0, row, column));
	data = db_get_blob(batch, 0, row, column, &len);
	return db_blob(data, len);
}

static size_t page_bytes(const struct db_batch *page, const struct table *t)
{
	size_t bytes = 0;

	for (size_t row = 0; row < db_rows(page, 0); row++)
		for (unsigned c = 0; t->types[c]; c++)
			bytes += sizeof(int64_t) + value_at(page, row, c, t->types[c]).len;
	return bytes;
}

/* Pages grow to what is good for speed, and no further than memory should: a row can have a few bytes or a few megabytes. */
static void set_limit(struct pager *pager, const struct table *t)
{
	size_t n = db_rows(pager->page, 0), each = n ? page_bytes(pager->page, t) / n + 1 : 1;

	pager->limit = (unsigned)CLAMP((size_t)PAGE_BYTES / each, 1, (size_t)MIN(pager->limit * 4, PAGE_ROWS));
}

/* The next page; one without rows is the end. */
static bool pager_next(struct pager *pager, GError **error)
{
	const struct table *t = &tables[pager->table];
	size_t n = pager->page ? db_rows(pager->page, 0) : 0;
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	struct db_value values[DB_PARAMS_MAX];
	unsigned n_values = 0;

	for (unsigned i = 0; n && i < t->n_keys; i++)
		values[n_values++] = value_at(pager->page, n - 1, i, t->types[i]);
	values[n_values++] = db_int(pager->limit);
	db_batch_add_values(batch, statement_of(pager->table, n ? S_NEXT : S_FIRST), values, n_values);
	if (db_run(pager->db, batch, error) != DB_DONE)
		return false;
	db_batch_free(pager->page);
	pager->page = g_steal_pointer(&batch);
	set_limit(pager, t);
	return true;
}

bool mover_is_empty(struct mover *m, struct db *db, bool *ret, GError **error)
{
	*ret = true;
	for (unsigned i = 0; *ret && i < G_N_ELEMENTS(tables); i++) {
		g_auto(pager) pager = {.db = db, .table = i, .limit = 1};

		if (!pager_next(&pager, error))
			return false;
		*ret = db_rows(pager.page, 0) == 0;
	}
	return true;
}

/* How many rows there are, for progress: 0 when that cannot be told in time. */
static uint64_t count_all(struct db *db)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		g_autoptr(db_batch) batch = db_batch_new(NULL);

		db_batch_add_values(batch, statement_of(i, S_COUNT), NULL, 0);
		if (db_run(db, batch, NULL) != DB_DONE)
			return 0;
		n += (uint64_t)db_get_int(batch, 0, 0, 0);
	}
	return n;
}

/* ---- patience */

static bool is_passing(const GError *error)
{
	return g_error_matches(error, POM_ERROR, POM_ERR_STORE_AWAY) || g_error_matches(error, POM_ERROR, POM_ERR_STORE_UNKNOWN);
}

static bool pause_for(struct mover *m, GError **error)
{
	for (int64_t us = 0; us < PAUSE_US; us += PAUSE_STEP_US) {
		g_usleep(PAUSE_STEP_US);
		if (!mover_step(m, error))
			return false;
	}
	return true;
}

/* Does WORK, and does it again when a database was away for a moment: what was done of it is found there. After a connection was lost the transaction may still be under way,
 * and another one of ours meets it. */
static bool patiently(struct mover *m, bool (*work)(struct mover *m, unsigned table, void *ctx, GError **error), unsigned table, void *ctx, GError **error)
{
	for (unsigned tries = 0;; tries++) {
		uint64_t before = m->done;
		g_autoptr(GError) inner = NULL;

		if (work(m, table, ctx, &inner))
			return true;
		if (m->done > before)
			tries = 0;
		if (tries < TRIES && (is_passing(inner) || (tries && g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)))) {
			if (!pause_for(m, error))
				return false;
			continue;
		}
		if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT))
			return pom_fail(error, POM_ERR_STORE_MOVE, "the rows of %s in the new database are not as they were left (%s): let only one \"pomona migrate-store\" run, or begin again with an empty database", tables[table].name, inner->message);
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
}

/* ---- copying */

void mover_begin_tables(struct db_batch *batch)
{
	db_batch_add_values(batch, M_MOVE_TABLE_FORGET, NULL, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		db_batch_add(batch, M_MOVE_TABLE_BEGIN, db_text(tables[i].name));
}

/* How many rows of the table have been brought. */
static bool load_done(struct mover *m, unsigned table, int64_t *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, M_MOVE_TABLE_LIST, NULL, 0);
	if (db_run(m->to, batch, error) != DB_DONE)
		return false;
	for (size_t row = 0; row < db_rows(batch, 0); row++)
		if (!strcmp(db_get_text(batch, 0, row, 0), tables[table].name)) {
			*ret = db_get_int(batch, 0, row, 1);
			return true;
		}
	return pom_fail(error, POM_ERR_STORE_MOVE, "another version of Pomona began this move, without the table %s: finish it with that version, or begin again with an empty database", tables[table].name);
}

/* The pager begins after the last row that is there. */
static bool go_to_end(struct mover *m, struct pager *pager, GError **error)
{
	pager->page = db_batch_new(NULL);
	db_batch_add_values(pager->page, statement_of(pager->table, S_LAST), NULL, 0);
	return db_run(m->to, pager->page, error) == DB_DONE;
}

/* PostgreSQL takes nothing but UTF-8, SQLite takes anything. */
static bool check_text(const struct table *t, const struct db_batch *page, size_t row, unsigned column, struct db_value value, GError **error)
{
	g_auto(GStrv) columns = NULL;
	g_autofree char *key = NULL;

	if (value.type != 't' || value.is_null || g_utf8_validate(value.data, (gssize)value.len, NULL))
		return true;
	columns = g_strsplit(t->columns, ", ", -1);
	key = t->types[0] == 't' ? g_utf8_make_valid(db_get_text(page, 0, row, 0), -1) : g_strdup_printf("%" G_GINT64_FORMAT, db_get_int(page, 0, row, 0));
	return pom_fail(error, POM_ERR_STORE_MOVE, "the column %s of a row of %s (%s = \"%.100s\") is not UTF-8: it cannot be moved", columns[column], t->name, columns[0], key);
}

static bool add_row(struct db_batch *batch, const struct pager *pager, size_t row, GError **error)
{
	const struct table *t = &tables[pager->table];
	struct db_value values[DB_PARAMS_MAX];
	unsigned n = 0;

	for (; t->types[n]; n++) {
		values[n] = value_at(pager->page, row, n, t->types[n]);
		if (!check_text(t, pager->page, row, n, values[n], error))
			return false;
	}
	db_batch_add_values(batch, statement_of(pager->table, S_ADD), values, n);
	return true;
}

/* Writes the pager's page, with how far the table is then. */
static bool write_page(struct mover *m, const struct pager *pager, int64_t done, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	size_t n = db_rows(pager->page, 0);

	db_batch_add(batch, M_MOVE_TABLE_ADVANCE, db_text(tables[pager->table].name), db_int(done), db_int(done + (int64_t)n));
	for (size_t row = 0; row < n; row++)
		if (!add_row(batch, pager, row, error))
			return false;
	return db_run(m->to, batch, error) == DB_DONE;
}

static bool copy_table(struct mover *m, unsigned table, void *ctx, GError **error)
{
	g_auto(pager) pager = {.db = m->from, .table = table, .limit = FIRST_ROWS};
	int64_t done;
	size_t n;

	if (!load_done(m, table, &done, error) || (done && !go_to_end(m, &pager, error)))
		return false;
	do {
		if (!pager_next(&pager, error))
			return false;
		n = db_rows(pager.page, 0);
		if (n && !write_page(m, &pager, done, error))
			return false;
		done += (int64_t)n;
		m->done += n;
		if (!mover_step(m, error))
			return false;
	} while (n);
	return true;
}

bool mover_copy(struct mover *m, uint64_t *ret_before, GError **error)
{
	m->what = "copying";
	m->all = count_all(m->from);
	m->done = 0;
	*ret_before = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		int64_t done;

		if (!load_done(m, i, &done, error))
			return false;
		m->done += (uint64_t)done;
		*ret_before += (uint64_t)done;
		if (!patiently(m, copy_table, i, NULL, error))
			return false;
	}
	return true;
}

/* ---- comparing */

/* One form for all engines: a letter for the type (n for NULL), then 8 bytes with the number or the length, then the bytes. */
static void digest_value(GChecksum *sum, struct db_value value)
{
	uint64_t number = GUINT64_TO_BE(value.type == 'i' ? (uint64_t)value.i : value.len);

	g_checksum_update(sum, (const guchar *)(value.is_null ? "n" : value.type == 'i' ? "i" : value.type == 't' ? "t" : "b"), 1);
	if (value.is_null)
		return;
	g_checksum_update(sum, (const guchar *)&number, sizeof(number));
	if (value.type != 'i' && value.len)
		g_checksum_update(sum, value.data, (gssize)value.len);
}

struct digest {
	struct db *db;
	uint64_t n_rows;
	char sha256[65];
};

/* All rows of a table in order of their keys, which is the same on all engines: texts are compared by their bytes. */
static bool digest_table(struct mover *m, unsigned table, void *ctx, GError **error)
{
	struct digest *digest = ctx;
	g_auto(pager) pager = {.db = digest->db, .table = table, .limit = FIRST_ROWS};
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	uint64_t before = m->done, n;

	digest->n_rows = 0;
	do {
		if (!pager_next(&pager, error) || !mover_step(m, error)) {
			m->done = before;
			return false;
		}
		n = db_rows(pager.page, 0);
		for (size_t row = 0; row < n; row++)
			for (unsigned c = 0; tables[table].types[c]; c++)
				digest_value(sum, value_at(pager.page, row, c, tables[table].types[c]));
		digest->n_rows += n;
		m->done += n;
	} while (n);
	g_strlcpy(digest->sha256, g_checksum_get_string(sum), sizeof(digest->sha256));
	return true;
}

bool mover_compare(struct mover *m, struct store_move_report *report, GError **error)
{
	m->what = "comparing";
	m->all *= 2;
	m->done = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		struct digest from = {.db = m->from}, to = {.db = m->to};
		struct store_move_table found = {.name = tables[i].name};

		if (!patiently(m, digest_table, i, &from, error) || !patiently(m, digest_table, i, &to, error))
			return false;
		if (from.n_rows != to.n_rows || strcmp(from.sha256, to.sha256))
			return pom_fail(error, POM_ERR_STORE_MOVE, "the table %s differs: %" G_GUINT64_FORMAT " rows with the SHA-256 %s in the old database, %" G_GUINT64_FORMAT " with %s in the new one."
			                " Somebody has changed one of them: begin again with an empty database", tables[i].name, from.n_rows, from.sha256, to.n_rows, to.sha256);
		found.n_rows = from.n_rows;
		memcpy(found.sha256, from.sha256, sizeof(found.sha256));
		g_array_append_val(report->tables, found);
		report->n_rows += from.n_rows;
	}
	return true;
}
