/* The PostgreSQL driver: few connections, each used by one thread at a time, which takes along what waits.
 *
 * There are no threads of its own for statements: whoever comes when a connection is free becomes its leader, takes up to GROUP_MAX waiting batches, sends all of them in one go and hands out the
 * answers. Writes of a group are one transaction with one sync; only when something in it fails is it sent again, with a savepoint for each batch. Batches of one key never run at the same time. */
#include "db/postgres.h"

#include <errno.h>
#include <string.h>

#include "base/metric.h"

enum { GROUP_MAX = 64, ALONE_TRIES = 10, PATIENCE_S = 10, DELAY_MIN_US = 50 * 1000, DELAY_MAX_US = 1000 * 1000 };

struct group {
	struct db_batch *batches[GROUP_MAX];
	unsigned n;
};

/* ---- connections */

static void lane_failed(struct pg_lane *lane, const char *why)
{
	lane->delay_us = CLAMP(lane->delay_us * 2, DELAY_MIN_US, DELAY_MAX_US);
	/* Nodes that lost the same server do not all come back in the same moment. */
	lane->retry_at_us = g_get_monotonic_time() + lane->delay_us / 2 + g_random_int_range(0, (gint32)lane->delay_us);
	g_free(lane->away);
	lane->away = g_strdup(why);
}

/* What a group of reads gives is of one moment: an enrollment without the certificate that was bound to it a moment later, or neither, but not a half. It cannot fail for that. */
static bool set_up_reads(PGconn *pg)
{
	PGresult *result = pg_ask(pg, "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on");
	bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return ok;
}

/* A connection that can be used, or false with POM_ERR_STORE_AWAY. The caller leads CONNECTION. */
static bool make_ready(struct pg_lane *lane, struct pg_connection *connection, GError **error)
{
	struct pg_db *db = lane->db;
	GError *inner = NULL;

	if (connection->pg && pg_is_stale(connection))
		pg_connection_close(connection);
	if (connection->pg)
		return true;
	pthread_mutex_lock(&db->lock);
	if (g_get_monotonic_time() < lane->retry_at_us) {
		pom_fail(error, POM_ERR_STORE_AWAY, "the database cannot be reached: %s", lane->away);
		pthread_mutex_unlock(&db->lock);
		return false;
	}
	pthread_mutex_unlock(&db->lock);
	connection->pg = pg_connect(db->url, &inner);
	if (connection->pg && ((!lane->writes && !set_up_reads(connection->pg)) || !PQenterPipelineMode(connection->pg) || PQsetnonblocking(connection->pg, 1))) {
		pg_connection_close(connection);
		pom_fail(&inner, POM_ERR_STORE_AWAY, "the connection cannot be set up");
	}
	memset(connection->prepared, 0, db->face.n_statements * sizeof(bool));
	pthread_mutex_lock(&db->lock);
	if (inner)
		lane_failed(lane, inner->message);
	else
		lane->delay_us = lane->retry_at_us = 0;
	pthread_mutex_unlock(&db->lock);
	if (inner) {
		pom_fail(error, POM_ERR_STORE_AWAY, "the database cannot be reached: %s", inner->message);
		g_error_free(inner);
	}
	return connection->pg != NULL;
}

static void begin_run(struct pg_connection *connection)
{
	connection->unsent = false;
	g_array_set_size(connection->ops, 0);
}

static enum pg_end end_run(struct pg_db *db, struct pg_connection *connection, enum db_outcome *ret_outcome, GError **error)
{
	enum pg_end end = pg_finish(db, connection, ret_outcome, error);

	if (end == PG_LOST || end == PG_AWAY)
		pg_connection_close(connection);
	return end;
}

/* ---- outcomes */

static void set_outcome(struct db_batch *batch, enum db_outcome outcome, GError *error)
{
	batch->outcome = outcome;
	g_clear_error(&batch->error);
	batch->error = error;
}

static void fail_all(struct group *group, enum db_outcome outcome, const char *what)
{
	for (unsigned i = 0; i < group->n; i++) {
		GError *error = NULL;

		db_fail(outcome, &error, "database", what);
		set_outcome(group->batches[i], outcome, error);
	}
}

static void done_all(struct group *group)
{
	for (unsigned i = 0; i < group->n; i++)
		set_outcome(group->batches[i], DB_DONE, NULL);
}

static void fail_lost(struct group *group, enum pg_end end)
{
	if (end == PG_LOST)
		fail_all(group, DB_UNKNOWN, "the connection was lost before the answer came");
	else
		fail_all(group, DB_AWAY, "the connection was lost before anything was written");
}

/* ---- writes */

/* One batch in a transaction of its own. What only met others is tried again, with pauses in which they can end. */
static void run_alone(struct pg_lane *lane, struct pg_connection *connection, struct db_batch *batch)
{
	struct group group = {{batch}, 1};

	for (int try = 1;; try++) {
		enum db_outcome outcome = DB_DONE;
		GError *error = NULL;
		enum pg_end end;

		if (!make_ready(lane, connection, &error)) {
			set_outcome(batch, DB_AWAY, error);
			return;
		}
		begin_run(connection);
		pg_send_batch(lane->db, connection, batch);
		end = end_run(lane->db, connection, &outcome, &error);
		/* Nothing of it was sent: the connection had ended unnoticed. */
		if (end == PG_AWAY && try == 1)
			continue;
		if (end == PG_AGAIN && try < ALONE_TRIES) {
			g_clear_error(&error);
			g_usleep((gulong)g_random_int_range(0, 2000 * try) + 1);
			continue;
		}
		if (end == PG_OK)
			done_all(&group);
		else if (end == PG_FAILED || end == PG_AGAIN)
			set_outcome(batch, outcome, error);
		else
			fail_lost(&group, end);
		return;
	}
}

/* Ends the transaction of a group that was sent with savepoints; GOOD are the batches that it makes durable. */
static void commit(struct pg_lane *lane, struct pg_connection *connection, const char *before, struct group *good)
{
	enum db_outcome outcome = DB_DONE;
	g_autoptr(GError) error = NULL;
	enum pg_end end;

	begin_run(connection);
	pg_send_text(lane->db, connection, before);
	pg_send_text(lane->db, connection, "COMMIT");
	end = end_run(lane->db, connection, &outcome, &error);
	if (end == PG_OK)
		done_all(good);
	else if (end == PG_FAILED || end == PG_AGAIN)
		fail_all(good, outcome, error ? error->message : "the transaction was undone");
	else
		fail_lost(good, end);
}

/* Each batch under a savepoint, in one transaction: those that fail are undone, the others committed together. */
static void run_with_savepoints(struct pg_lane *lane, struct pg_connection *connection, struct group *group)
{
	struct group again = {.n = 0}, good = {.n = 0};
	const char *before = "BEGIN";

	for (unsigned i = 0; i < group->n; i++) {
		struct db_batch *batch = group->batches[i];
		enum db_outcome outcome = DB_DONE;
		GError *error = NULL;
		enum pg_end end;

		begin_run(connection);
		pg_send_text(lane->db, connection, before);
		pg_send_text(lane->db, connection, "SAVEPOINT batch");
		pg_send_batch(lane->db, connection, batch);
		end = end_run(lane->db, connection, &outcome, &error);
		if (end == PG_LOST || end == PG_AWAY) {
			/* The transaction was open: nothing of it is committed. */
			fail_lost(group, PG_AWAY);
			return;
		}
		before = end == PG_OK ? "RELEASE SAVEPOINT batch" : "ROLLBACK TO SAVEPOINT batch";
		if (end == PG_OK)
			good.batches[good.n++] = batch;
		else if (end == PG_AGAIN)
			again.batches[again.n++] = batch;
		else
			set_outcome(batch, outcome, g_steal_pointer(&error));
		g_clear_error(&error);
	}
	commit(lane, connection, before, &good);
	for (unsigned i = 0; i < again.n; i++)
		run_alone(lane, connection, again.batches[i]);
}

/* ---- groups */

/* All of a group in one go: PG_FAILED and PG_AGAIN when it must be run in pieces; else every batch has its outcome. */
static enum pg_end run_together(struct pg_lane *lane, struct pg_connection *connection, struct group *group)
{
	enum db_outcome outcome = DB_DONE;
	g_autoptr(GError) error = NULL;
	enum pg_end end;

	if (!make_ready(lane, connection, &error)) {
		for (unsigned i = 0; i < group->n; i++)
			set_outcome(group->batches[i], DB_AWAY, g_error_copy(error));
		return PG_OK;
	}
	begin_run(connection);
	for (unsigned i = 0; i < group->n; i++)
		pg_send_batch(lane->db, connection, group->batches[i]);
	end = end_run(lane->db, connection, &outcome, &error);
	if (end == PG_OK)
		done_all(group);
	else if (end == PG_LOST || end == PG_AWAY)
		fail_lost(group, end);
	return end;
}

static void run_group(struct pg_lane *lane, struct pg_connection *connection, struct group *group)
{
	enum pg_end end;

	if (group->n == 1) {
		run_alone(lane, connection, group->batches[0]);
		end = group->batches[0]->outcome == DB_UNKNOWN ? PG_LOST : PG_OK;
	} else {
		end = run_together(lane, connection, group);
	}
	if (end == PG_OK)
		return;
	if (lane->writes) {
		if (end == PG_FAILED || end == PG_AGAIN)
			run_with_savepoints(lane, connection, group);
		return;
	}
	/* Reads can always be repeated. */
	for (unsigned i = 0; i < group->n; i++)
		run_alone(lane, connection, group->batches[i]);
}

/* ---- lanes; call with the lock held where nothing else is said */

static struct pg_connection *find_idle(struct pg_lane *lane)
{
	struct pg_connection *idle = NULL;

	for (unsigned i = 0; i < lane->n_connections; i++) {
		struct pg_connection *connection = &lane->connections[i];

		/* One that is connected first. */
		if (!connection->busy_since_us && (!idle || (connection->pg && !idle->pg)))
			idle = connection;
	}
	return idle;
}

static int compare_keys(const void *a, const void *b)
{
	return g_strcmp0((*(struct db_batch *const *)a)->key, (*(struct db_batch *const *)b)->key);
}

/* Takes the oldest batches, leaving those whose key is under way. Writes go in the order of their keys, on all nodes, so that two groups which want the same rows wait and do not lock each other out: to undo
 * that takes the engine a second. One that wants rows of many keys goes alone, because it has an order of its own. */
static void take_group(struct pg_lane *lane, struct group *group)
{
	group->n = 0;
	for (GList *l = lane->queue.head, *next; l && group->n < GROUP_MAX; l = next) {
		struct db_batch *batch = l->data;

		next = l->next;
		if (lane->writes && group->n && (batch->spans || group->batches[0]->spans))
			continue;
		/* Looked up first: to add it once more would leave this batch's own text in the table, which may be gone before the one that runs has ended. */
		if (lane->writes && batch->key && g_hash_table_contains(lane->busy, batch->key))
			continue;
		if (lane->writes && batch->key)
			g_hash_table_add(lane->busy, batch->key);
		g_queue_unlink(&lane->queue, l);
		batch->is_taken = true;
		group->batches[group->n++] = batch;
	}
	if (lane->writes)
		qsort(group->batches, group->n, sizeof(group->batches[0]), compare_keys);
}

/* Whether BATCH can lead: it waits, and no other batch of its key is under way. */
static bool is_runnable(const struct pg_lane *lane, const struct db_batch *batch)
{
	return !batch->is_taken && (!lane->writes || !batch->key || !g_hash_table_contains(lane->busy, batch->key));
}

/* Wakes whoever can lead next. */
static void wake_next(struct pg_lane *lane)
{
	for (GList *l = lane->queue.head; l; l = l->next) {
		struct db_batch *batch = l->data;

		if (is_runnable(lane, batch)) {
			pthread_cond_signal(&batch->done);
			return;
		}
	}
}

/* Runs what waits on CONNECTION. OWN is the caller's batch, which needs no waking. */
static void lead(struct pg_lane *lane, struct pg_connection *connection, const struct db_batch *own)
{
	struct pg_db *db = lane->db;
	struct group group;

	take_group(lane, &group);
	if (!group.n)
		return;
	connection->busy_since_us = g_get_monotonic_time();
	/* Another connection can begin with what is left. */
	if (find_idle(lane))
		wake_next(lane);
	pthread_mutex_unlock(&db->lock);
	run_group(lane, connection, &group);
	pom_metric_add(POM_METRIC_STORE_GROUPS, NULL, lane->writes);
	pom_metric_add(POM_METRIC_STORE_BATCHES, NULL, lane->writes ? group.n : 0);
	pthread_mutex_lock(&db->lock);
	connection->busy_since_us = 0;
	for (unsigned i = 0; i < group.n; i++) {
		struct db_batch *batch = group.batches[i];

		if (lane->writes && batch->key)
			g_hash_table_remove(lane->busy, batch->key);
		batch->is_done = true;
		if (batch != own)
			pthread_cond_signal(&batch->done);
	}
	wake_next(lane);
}

/* Whether all connections have been waiting for the engine for so long that another batch need not wait too. */
static bool is_stuck(const struct pg_lane *lane)
{
	int64_t since_us = g_get_monotonic_time() - lane->db->patience_us;

	for (unsigned i = 0; i < lane->n_connections; i++)
		if (!lane->connections[i].busy_since_us || lane->connections[i].busy_since_us > since_us)
			return false;
	return true;
}

/* Waits for the batch to be done, or for its turn to lead. False: it has waited too long and is in the queue no more. */
static bool wait_turn(struct pg_lane *lane, struct db_batch *batch, const struct timespec *until)
{
	int code = pthread_cond_timedwait(&batch->done, &lane->db->lock, until);

	if (code != ETIMEDOUT || batch->is_done)
		return true;
	if (!batch->is_taken) {
		g_queue_unlink(&lane->queue, &batch->link);
		/* It may have been woken to lead in this very moment. */
		if (find_idle(lane))
			wake_next(lane);
		return false;
	}
	/* It runs now: the engine's time-outs bound that, or that the engine is not there. */
	while (!batch->is_done)
		pthread_cond_wait(&batch->done, &lane->db->lock);
	return true;
}

static enum db_outcome pg_run(struct db *face, struct db_batch *batch, GError **error)
{
	struct pg_db *db = (struct pg_db *)face;
	struct pg_lane *lane = db_batch_is_read(face, batch) && !batch->hint ? &db->reads : &db->writes;
	int64_t until_us = g_get_monotonic_time() + db->patience_us;
	struct timespec until = {.tv_sec = until_us / G_USEC_PER_SEC, .tv_nsec = until_us % G_USEC_PER_SEC * 1000};
	bool waited = true;

	pthread_mutex_lock(&db->lock);
	batch->is_done = batch->is_taken = false;
	if (is_stuck(lane)) {
		pthread_mutex_unlock(&db->lock);
		return db_fail(DB_AWAY, error, "database", "it has not answered for a while");
	}
	g_queue_push_tail_link(&lane->queue, &batch->link);
	while (!batch->is_done && waited) {
		struct pg_connection *idle = find_idle(lane);

		if (idle && is_runnable(lane, batch))
			lead(lane, idle, batch);
		else
			waited = wait_turn(lane, batch, &until);
	}
	pthread_mutex_unlock(&db->lock);
	if (!waited)
		return db_fail(DB_AWAY, error, "database", "nothing was free to answer in time");
	if (batch->error)
		g_propagate_error(error, g_steal_pointer(&batch->error));
	return batch->outcome;
}

/* ---- opening and closing */

static void lane_init(struct pg_lane *lane, struct pg_db *db, bool writes, unsigned n)
{
	*lane = (struct pg_lane){.db = db, .writes = writes, .n_connections = n, .connections = g_new0(struct pg_connection, n)};
	lane->busy = g_hash_table_new(g_str_hash, g_str_equal);
	for (unsigned i = 0; i < n; i++) {
		lane->connections[i].prepared = g_new0(bool, db->face.n_statements);
		lane->connections[i].ops = pg_ops_new();
	}
}

static void lane_clear(struct pg_lane *lane)
{
	for (unsigned i = 0; i < lane->n_connections; i++) {
		pg_connection_close(&lane->connections[i]);
		g_free(lane->connections[i].prepared);
		g_array_unref(lane->connections[i].ops);
	}
	g_free(lane->connections);
	g_hash_table_unref(lane->busy);
	g_free(lane->away);
}

static void pg_close(struct db *face)
{
	struct pg_db *db = (struct pg_db *)face;

	pg_listen_stop(db);
	lane_clear(&db->reads);
	lane_clear(&db->writes);
	for (unsigned i = 0; i < db->face.n_statements; i++)
		g_free(db->sql[i]);
	g_free(db->sql);
	g_free(db->face.risks);
	pthread_mutex_destroy(&db->lock);
	g_free(db->url);
	g_free(db);
}

struct db *db_postgres_open(const char *url, const struct db_config *config, GError **error)
{
	static const struct db_driver driver = {.close = pg_close, .run = pg_run, .listen = pg_listen};
	struct pg_db *db = g_new0(struct pg_db, 1);

	db->face = (struct db){&driver, config->statements, config->n_statements, NULL};
	db->url = g_strdup(url);
	db->wake_fd = -1;
	db->patience_us = PATIENCE_S * G_USEC_PER_SEC;
	db->sql = g_new0(char *, config->n_statements);
	for (unsigned i = 0; i < config->n_statements; i++)
		db->sql[i] = pg_statement_sql(&config->statements[i]);
	pthread_mutex_init(&db->lock, NULL);
	lane_init(&db->reads, db, false, PG_READERS);
	lane_init(&db->writes, db, true, PG_WRITERS);
	if (pg_prepare_database(db, config, error))
		return &db->face;
	pg_close(&db->face);
	return NULL;
}
