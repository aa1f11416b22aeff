/* One connection to PostgreSQL: pipelines of prepared statements in binary form, and what their answers mean. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "db/postgres.h"

enum { OID_INT8 = 20, OID_TEXT = 25, OID_BYTEA = 17 };
/* RUN_MAX_S: longer than SESSION lets a statement take. Then the connection is as good as gone. */
enum { RUN_MAX_S = 75, ASK_MAX_S = 5 };

struct pg_op {
	enum { OP_TEXT, OP_COMMIT, OP_PREPARE, OP_RUN, OP_HINT } kind;
	unsigned statement;
	struct db_batch *batch;
	unsigned entry;
};

GArray *pg_ops_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct pg_op));
}

char *pg_message(PGconn *pg, const PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL, *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	char *text;

	if (primary)
		return g_strdup_printf("%s%s%s%s", primary, state ? " (SQLSTATE " : "", state ? state : "", state ? ")" : "");
	text = g_strdup(result ? PQresultErrorMessage(result) : PQerrorMessage(pg));
	g_strdelimit(g_strchomp(text), "\n\t", ' ');
	return text;
}

/* ---- waiting for answers */

struct wait {
	int64_t until_us, ask_us; /* of the monotonic clock; ask_us: when the server is asked whether it is there, 0: never */
	const struct pg_db *db;   /* NULL: without ask_us */
};

/* Whether the server that this connection is to answers anybody at all. A long statement is waited for; not so a server that was stopped while its machine goes on, and with it all that the kernel answers for it. Blocks for five seconds at most. */
static bool is_there(const char *url, const PGconn *pg)
{
	static const char *const names[] = {"dbname", "host", "hostaddr", "port", "connect_timeout", NULL};
	const char *const values[] = {url, PQhost(pg), PQhostaddr(pg), PQport(pg), "5", NULL};

	return PQpingParams(names, values, 1) != PQPING_NO_RESPONSE;
}

/* How long to poll now, in ms; -1: what has not come by now will not come. */
static int wait_left(PGconn *pg, struct wait *wait)
{
	int64_t now_us = g_get_monotonic_time();

	if (wait->ask_us && now_us >= wait->ask_us) {
		if (!is_there(wait->db->url, pg))
			return -1;
		now_us = g_get_monotonic_time();
		wait->ask_us = now_us + wait->db->patience_us;
	}
	if (now_us >= wait->until_us)
		return -1;
	return (int)((wait->ask_us ? MIN(wait->ask_us, wait->until_us) : wait->until_us) - now_us) / 1000 + 1;
}

/* Waits until an answer can be taken without blocking; false when the connection is gone, or as good as that. */
static bool wait_answer(PGconn *pg, struct wait *wait)
{
	int flushing = 1;

	for (;;) {
		struct pollfd fd = {.fd = PQsocket(pg), .events = POLLIN};
		int left_ms, n;

		if (flushing)
			flushing = PQflush(pg);
		if (flushing < 0)
			return false;
		if (!PQisBusy(pg))
			return true;
		if (flushing)
			fd.events |= POLLOUT;
		left_ms = wait_left(pg, wait);
		/* A process that was stopped itself finds both: no time left, and the answer. */
		n = poll(&fd, 1, MAX(left_ms, 0));
		if ((n < 0 && errno != EINTR) || (!n && left_ms < 0))
			return false;
		if ((fd.revents & ~POLLOUT) && !PQconsumeInput(pg))
			return false;
	}
}

PGresult *pg_ask(PGconn *pg, const char *sql)
{
	struct wait wait = {.until_us = g_get_monotonic_time() + ASK_MAX_S * G_USEC_PER_SEC};
	PGresult *last = NULL, *result;

	if (!PQsendQuery(pg, sql))
		return NULL;
	for (;;) {
		if (!wait_answer(pg, &wait)) {
			PQclear(last);
			return NULL;
		}
		result = PQgetResult(pg);
		if (!result)
			return last;
		PQclear(last);
		last = result;
	}
}

/* ---- connecting */

/* What libpq quotes of a URL that it cannot read may be a piece of the password. */
static bool check_url(const char *url, GError **error)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &message);
	g_autofree char *text = g_strchomp(g_strdup(message ? message : "out of memory"));
	bool hide = db_url_has_password(url) && strchr(text, '"');

	PQfreemem(message);
	if (options) {
		PQconninfoFree(options);
		return true;
	}
	if (hide)
		text[strcspn(text, "\"")] = '\0';
	return pom_fail(error, POM_ERR_CONFIG, "store.url cannot be read: %s%s", text, hide ? "…" : "");
}

/* What the driver counts on, whatever the server's own settings are. A plan that was made while a table was small is kept when it has grown: all that the device path asks has an index, so a scan is never
 * what is wanted. Acknowledged means durable, so synchronous_commit may be stronger than on, but not off. */
static const char SESSION[] =
	"SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; SET jit = off; SET statement_timeout = '60s';"
	"SET lock_timeout = 0; SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = '60s'; SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),"
	" current_setting('transaction_read_only'), pg_is_in_recovery()";

static bool set_up_session(PGconn *pg, GError **error)
{
	PGresult *result = pg_ask(pg, SESSION);
	g_autofree char *message = NULL;
	bool read_only;

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		message = result ? pg_message(pg, result) : g_strdup("it does not answer");
		PQclear(result);
		return pom_fail(error, POM_ERR_STORE_AWAY, "PostgreSQL: %s", message);
	}
	read_only = strcmp(PQgetvalue(result, 0, 1), "off") != 0 || strcmp(PQgetvalue(result, 0, 2), "f") != 0;
	PQclear(result);
	if (read_only)
		return pom_fail(error, POM_ERR_STORE_UNFIT, "PostgreSQL at %s is only for reading (a standby, or default_transaction_read_only is on): store.url must name the primary;"
		                " with several hosts in it, add target_session_attrs=read-write", PQhost(pg) ? PQhost(pg) : "this address");
	return true;
}

/* What the server says besides its answers has no reader; libpq would write it to stderr. */
static void ignore_notice(void *ctx, const PGresult *result)
{
}

/* Where a password was looked for, when one was asked for and there was none: "" otherwise. libpq takes none from a file that others can read. transfer full. */
static char *explain_password(PGconn *pg)
{
	PQconninfoOption *options = PQconnectionNeedsPassword(pg) ? PQconninfo(pg) : NULL;
	const char *file = NULL, *why = "has no line for this host, port, database and user";
	struct stat status;
	char *text;

	for (PQconninfoOption *o = options; o && o->keyword; o++)
		if (!strcmp(o->keyword, "passfile"))
			file = o->val;
	if (file && stat(file, &status))
		why = "cannot be read";
	else if (file && (status.st_mode & (S_IRWXG | S_IRWXO)))
		why = "is not used because others can read it: chmod 600";
	text = file ? g_strdup_printf("; the password file %s %s", file, why) : g_strdup("");
	PQconninfoFree(options);
	return text;
}

/* The key of a client certificate may be locked, and its password missing: nobody is there to be asked for it on the terminal. */
static void ask_nobody(void)
{
	PQsetSSLKeyPassHook_OpenSSL(PQdefaultSSLKeyPassHook_OpenSSL);
}

PGconn *pg_connect(const char *url, GError **error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	/* What comes before dbname, the URL may overrule. A server that has vanished is noticed within a quarter of a minute. */
	static const char *const names[] = {"connect_timeout", "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname", "client_encoding", NULL};
	const char *const values[] = {"5", "pomona", "5", "3", "3", "10000", url, "UTF8", NULL};
	g_autofree char *message = NULL;
	PGconn *pg;

	if (!check_url(url, error))
		return NULL;
	pthread_once(&once, ask_nobody);
	pg = PQconnectdbParams(names, values, 1);
	if (PQstatus(pg) != CONNECTION_OK) {
		g_autofree char *password = explain_password(pg);

		message = pg_message(pg, NULL);
		PQfinish(pg);
		pom_fail(error, POM_ERR_STORE_AWAY, "%s%s", message, password);
		return NULL;
	}
	PQsetNoticeReceiver(pg, ignore_notice, NULL);
	if (!set_up_session(pg, error)) {
		PQfinish(pg);
		return NULL;
	}
	return pg;
}

void pg_connection_close(struct pg_connection *connection)
{
	PQfinish(connection->pg);
	connection->pg = NULL;
}

bool pg_is_stale(const struct pg_connection *connection)
{
	struct pollfd fd = {.fd = PQsocket(connection->pg), .events = POLLIN};

	/* Nothing comes by itself but the end, and notices, which are so rare that another connection costs nothing. */
	return poll(&fd, 1, 0) != 0;
}

/* ---- runs */

static Oid oid_of(char type)
{
	return type == 'i' ? OID_INT8 : type == 't' ? OID_TEXT : OID_BYTEA;
}

static void note(struct pg_connection *connection, struct pg_op op)
{
	g_array_append_val(connection->ops, op);
}

void pg_send_text(struct pg_db *db, struct pg_connection *connection, const char *sql)
{
	connection->unsent |= !PQsendQueryParams(connection->pg, sql, 0, NULL, NULL, NULL, NULL, 1);
	note(connection, (struct pg_op){.kind = strcmp(sql, "COMMIT") ? OP_TEXT : OP_COMMIT});
}

static void send_prepare(struct pg_db *db, struct pg_connection *connection, unsigned i)
{
	const struct db_statement *statement = &db->face.statements[i];
	Oid types[DB_PARAMS_MAX];
	char name[16];
	int n = (int)strlen(statement->params);

	for (int p = 0; p < n; p++)
		types[p] = oid_of(statement->params[p]);
	g_snprintf(name, sizeof(name), "s%u", i);
	connection->unsent |= !PQsendPrepare(connection->pg, name, db->sql[i], n, types);
	/* Once in a run; when the run fails before it, the answers tell. */
	connection->prepared[i] = true;
	note(connection, (struct pg_op){.kind = OP_PREPARE, .statement = i});
}

static void send_entry(struct pg_db *db, struct pg_connection *connection, struct db_batch *batch, unsigned i)
{
	const struct db_entry *entry = &g_array_index(batch->entries, struct db_entry, i);
	const char *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];
	uint64_t numbers[DB_PARAMS_MAX];
	char name[16];

	for (unsigned v = 0; v < entry->n_values; v++) {
		const struct db_value *value = &g_array_index(batch->values, struct db_value, entry->first_value + v);

		numbers[v] = GUINT64_TO_BE((uint64_t)value->i);
		values[v] = value->is_null ? NULL : value->type == 'i' ? (const char *)&numbers[v] : value->data;
		lengths[v] = value->type == 'i' ? 8 : (int)value->len;
		formats[v] = 1;
	}
	if (!connection->prepared[entry->statement])
		send_prepare(db, connection, entry->statement);
	g_snprintf(name, sizeof(name), "s%u", entry->statement);
	connection->unsent |= !PQsendQueryPrepared(connection->pg, name, (int)entry->n_values, values, lengths, formats, 1);
	note(connection, (struct pg_op){.kind = OP_RUN, .statement = entry->statement, .batch = batch, .entry = i});
}

void pg_send_batch(struct pg_db *db, struct pg_connection *connection, struct db_batch *batch)
{
	db_batch_reset(batch);
	for (guint i = 0; i < batch->entries->len; i++)
		send_entry(db, connection, batch, i);
	if (batch->hint) {
		const char *const values[] = {batch->hint};

		connection->unsent |= !PQsendQueryParams(connection->pg, "SELECT pg_notify('pomona', $1)", 1, NULL, values, NULL, NULL, 1);
		note(connection, (struct pg_op){.kind = OP_HINT});
	}
}

static void take_rows(struct pg_db *db, const struct pg_op *op, const PGresult *result)
{
	struct db_entry *entry = &g_array_index(op->batch->entries, struct db_entry, op->entry);
	const struct db_statement *statement = &db->face.statements[op->statement];
	const char *types = statement->results;
	int n_rows = PQntuples(result);

	entry->n_columns = (unsigned)strlen(types);
	entry->first_cell = op->batch->cells->len;
	/* A statement without results, or that must find nothing, may still give a row: that of its expectation. */
	entry->n_rows = entry->n_columns && statement->expect != DB_EXPECT_NONE ? (unsigned)n_rows : 0;
	for (unsigned row = 0; row < entry->n_rows; row++)
		for (int c = 0; types[c]; c++) {
			struct db_value value = {.type = types[c], .is_null = PQgetisnull(result, (int)row, c)};
			uint64_t number;

			value.data = PQgetvalue(result, (int)row, c);
			value.len = (size_t)PQgetlength(result, (int)row, c);
			if (types[c] == 'i' && !value.is_null) {
				memcpy(&number, value.data, sizeof(number));
				value.i = (int64_t)GUINT64_FROM_BE(number);
			}
			db_batch_add_cell(op->batch, value);
		}
}

/* SQLSTATEs by their class, or whole. The first that fits counts. */
static const struct { const char *state; enum pg_end end; enum db_outcome outcome; } states[] = {
	{"40001", PG_AGAIN, DB_CONFLICT}, /* serialization_failure */
	{"40P01", PG_AGAIN, DB_CONFLICT}, /* deadlock_detected */
	{"55P03", PG_AGAIN, DB_CONFLICT}, /* lock_not_available */
	{"23", PG_FAILED, DB_CONFLICT},   /* integrity constraint */
	{"25006", PG_FAILED, DB_AWAY},    /* read_only_sql_transaction: the primary has become a standby */
	{"53", PG_FAILED, DB_FULL},       /* disk_full, out_of_memory … */
	{"57014", PG_FAILED, DB_FULL},    /* query_canceled: it took too long */
	{"58", PG_FAILED, DB_FULL},       /* system_error, io_error */
	{"57P", PG_LOST, DB_UNKNOWN},     /* admin_shutdown, crash_shutdown */
	{"25P03", PG_LOST, DB_UNKNOWN},   /* idle_in_transaction_session_timeout */
	{"08", PG_LOST, DB_UNKNOWN},
};

static enum pg_end judge(struct pg_db *db, PGconn *pg, const struct pg_op *op, const PGresult *result, enum db_outcome *ret_outcome, GError **error)
{
	const struct db_statement *statement = op && (op->kind == OP_RUN || op->kind == OP_PREPARE) ? &db->face.statements[op->statement] : NULL;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE), *where = statement ? statement->name : "transaction";
	g_autofree char *message = NULL;
	enum pg_end end = PG_FAILED;

	*ret_outcome = DB_REFUSED;
	/* Division by zero is how an expectation that is not met shows: see pg_statement_sql. */
	if (statement && statement->expect != DB_EXPECT_ANY && !g_strcmp0(state, "22012")) {
		*ret_outcome = db_fail(DB_CONFLICT, error, where, "the row is not as it was expected to be");
		return PG_FAILED;
	}
	for (unsigned i = 0; state && i < G_N_ELEMENTS(states); i++)
		if (g_str_has_prefix(state, states[i].state)) {
			*ret_outcome = states[i].outcome;
			end = states[i].end;
			break;
		}
	if (!state)
		end = PG_LOST;
	message = pg_message(pg, result);
	if (end != PG_LOST)
		db_fail(*ret_outcome, error, where, message);
	return end;
}

/* The answers of one operation. */
static enum pg_end take_op(struct pg_db *db, struct pg_connection *connection, const struct pg_op *op, struct wait *wait, enum db_outcome *ret_outcome, GError **error)
{
	enum pg_end end = PG_OK;

	for (;;) {
		ExecStatusType status;
		PGresult *result;

		if (!wait_answer(connection->pg, wait))
			return PG_LOST;
		result = PQgetResult(connection->pg);
		if (!result)
			return PQstatus(connection->pg) == CONNECTION_OK ? end : PG_LOST;
		status = PQresultStatus(result);
		if (status == PGRES_TUPLES_OK && op->kind == OP_RUN)
			take_rows(db, op, result);
		else if (status == PGRES_PIPELINE_ABORTED || (op->kind == OP_COMMIT && !strcmp(PQcmdStatus(result), "ROLLBACK")))
			/* A broken transaction ends with ROLLBACK, whatever it was told. */
			end = PG_FAILED;
		else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
			end = judge(db, connection->pg, op, result, ret_outcome, error);
		if (end != PG_OK && op->kind == OP_PREPARE)
			connection->prepared[op->statement] = false;
		PQclear(result);
		if (end == PG_LOST)
			return PG_LOST;
	}
}

/* The answer to the sync: the commit, when no BEGIN came before. */
static enum pg_end take_sync(struct pg_db *db, struct pg_connection *connection, struct wait *wait, enum db_outcome *ret_outcome, GError **error)
{
	enum pg_end end = PG_OK;

	for (;;) {
		PGresult *result;

		if (!wait_answer(connection->pg, wait))
			return PG_LOST;
		result = PQgetResult(connection->pg);
		if (!result && PQstatus(connection->pg) != CONNECTION_OK)
			return PG_LOST;
		if (!result)
			continue;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
			PQclear(result);
			return end;
		}
		/* A deferred failure of the commit itself. */
		end = judge(db, connection->pg, NULL, result, ret_outcome, error);
		PQclear(result);
		if (end == PG_LOST)
			return end;
	}
}

enum pg_end pg_finish(struct pg_db *db, struct pg_connection *connection, enum db_outcome *ret_outcome, GError **error)
{
	int64_t now_us = g_get_monotonic_time();
	struct wait wait = {now_us + RUN_MAX_S * G_USEC_PER_SEC, now_us + db->patience_us, db};
	enum pg_end end = PG_OK, now;
	GError *first = NULL;

	/* Without a sync nothing is committed. */
	if (connection->unsent)
		return PG_AWAY;
	if (!PQpipelineSync(connection->pg))
		end = PG_LOST;
	for (guint i = 0; i < connection->ops->len && end != PG_LOST; i++) {
		enum db_outcome outcome = DB_DONE;

		now = take_op(db, connection, &g_array_index(connection->ops, struct pg_op, i), &wait, &outcome, first ? NULL : &first);
		/* What comes after the first failure is only skipped. */
		if (now == PG_LOST)
			end = now;
		else if (end == PG_OK && now != PG_OK) {
			end = now;
			*ret_outcome = outcome == DB_DONE ? DB_REFUSED : outcome;
		}
	}
	if (end != PG_LOST) {
		enum db_outcome outcome = DB_DONE;

		now = take_sync(db, connection, &wait, &outcome, first ? NULL : &first);
		if (now == PG_LOST)
			end = now;
		else if (end == PG_OK && now != PG_OK) {
			end = now;
			*ret_outcome = outcome;
		}
	}
	g_array_set_size(connection->ops, 0);
	if (end == PG_OK || end == PG_LOST)
		g_clear_error(&first);
	else if (!first)
		db_fail(*ret_outcome, &first, "transaction", "the database undid it");
	if (first)
		g_propagate_error(error, first);
	return end;
}
