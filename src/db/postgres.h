/* What the files of the PostgreSQL driver share. Only they include it. */
#pragma once

#include <libpq-fe.h>

#include "db/driver.h"

/* How a run of statements on a connection ended. */
enum pg_end {
	PG_OK,
	PG_FAILED, /* a statement failed: the transaction is undone, or broken when it was begun with BEGIN */
	PG_AGAIN,  /* the same, but only because of what ran beside it (deadlock): the same may succeed */
	PG_LOST,   /* the connection is gone, and with it the answer */
	PG_AWAY,   /* nothing can have been committed: it was not sent, or not to its end */
};

struct pg_connection {
	PGconn *pg;        /* NULL: not connected */
	bool *prepared;    /* by statement */
	int64_t busy_since_us; /* of the monotonic clock; 0: idle */
	bool unsent;       /* something of the run under way could not be handed to libpq */
	GArray *ops;       /* struct pg_op, of the run under way */
};

struct pg_db;

/* One connection, used by one thread at a time. */

/* Connects and sets the session up. NULL with POM_ERR_STORE_AWAY, or POM_ERR_STORE_UNFIT for a server that is only for reading. Blocks for the time-out of the URL (five seconds for each host). */
PGconn *pg_connect(const char *url, GError **error);
void pg_connection_close(struct pg_connection *connection);
/* Whether the other end has closed an idle connection, so that it is not used for what could not be repeated. */
bool pg_is_stale(const struct pg_connection *connection);
/* SQL, as PQexec runs it, but for a few seconds at most. NULL: no answer came. The caller clears the result; without one, or with a failed one, he must close the connection. */
PGresult *pg_ask(PGconn *pg, const char *sql);
/* Message of a result or, where it is NULL, of the connection, with SQLSTATE; without detail, which may quote values. transfer full. */
char *pg_message(PGconn *pg, const PGresult *result);

GArray *pg_ops_new(void);
/* A run: anything that was sent, ended by a sync. All results of the batches' statements are taken, or none counts. */
void pg_send_text(struct pg_db *db, struct pg_connection *connection, const char *sql);
void pg_send_batch(struct pg_db *db, struct pg_connection *connection, struct db_batch *batch);
/* Sends what is left, waits for all answers. PG_FAILED and PG_AGAIN set *RET_OUTCOME and ERROR (from the first statement that failed). Blocks, bounded. After PG_LOST and PG_AWAY the connection must be closed. */
enum pg_end pg_finish(struct pg_db *db, struct pg_connection *connection, enum db_outcome *ret_outcome, GError **error);

/* The driver's own struct. A lane is a queue of batches and the connections that take them. */
enum { PG_WRITERS = 2, PG_READERS = 2 };

struct pg_lane {
	struct pg_db *db;
	bool writes;
	struct pg_connection *connections;
	unsigned n_connections;
	GQueue queue;         /* struct db_batch, by link */
	GHashTable *busy;     /* keys of batches that run now (borrowed): no other batch of theirs begins */
	int64_t retry_at_us, delay_us; /* no connection is tried before; grows with each failure */
	char *away;           /* why the last try failed */
};

struct pg_db {
	struct db face;
	char *url;
	char **sql;            /* by statement: as the engine is told it */
	int64_t patience_us;   /* how long a batch waits for its turn, and a run for its answer before it is asked whether the server is there; only tests change it */
	pthread_mutex_t lock;  /* of the lanes, but for a connection that somebody has taken */
	struct pg_lane reads, writes;

	pthread_t listener;
	bool listening;
	int wake_fd;           /* readable: the listener ends */
	void (*on_hint)(void *ctx, const char *word);
	void *on_hint_ctx;
};

/* Whether PG, a connection to URL, is one that the driver can work with: UTF-8, and a session that nobody else is given. POM_ERR_STORE_UNFIT. */
bool pg_check_fit(const char *url, PGconn *pg, GError **error);
/* Migrates and tries every statement, on a connection of its own that it closes. */
bool pg_prepare_database(struct pg_db *db, const struct db_config *config, GError **error);
/* The text of STATEMENT for this engine: dialect token expanded, expectation made one that raises. transfer full. */
char *pg_statement_sql(const struct db_statement *statement);
/* The listener. */
void pg_listen(struct db *face, void (*fn)(void *ctx, const char *word), void *ctx);
void pg_listen_stop(struct pg_db *db);
