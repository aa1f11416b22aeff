/* This process among others that serve the same database: it says that it is there, knows who else is, holds leases of what one node alone may do, and looks at clocks and schema.
 *
 * A thread beats several times in the time of a lease: it looks, writes its row, renews its leases and takes those that are free, up to its share among the nodes that are there. A node that must not take
 * work (its clock is wrong) gives its leases up, and /readyz says why. Where the database is a file nobody else can be there: no thread, nothing is written, and every job is ours. */
#pragma once

#include "keys/keys.h"
#include "server/server_internal.h"

/* X(name, "job as people see it"): what one node alone does. */
#define NODE_JOBS(X) \
	X(NODE_AUDIT, "audit") \
	X(NODE_CRL, "crl") \
	X(NODE_CA, "ca") \
	X(NODE_RENEWAL, "renewal") \
	X(NODE_COMMANDS, "commands") \
	X(NODE_PROFILES, "profiles") \
	X(NODE_DECLARATIONS, "declarations") \
	X(NODE_QUERIES, "queries") \
	X(NODE_ORDERS, "orders") \
	X(NODE_INVENTORY, "inventory") \
	X(NODE_WARNINGS, "warnings") \
	X(NODE_PURGE, "purge") \
	X(NODE_DOCTOR, "doctor")
enum node_job {
#define X(name, text) name,
	NODE_JOBS(X)
#undef X
	NODE_JOB_MAX
};
const char *server_node_job_name(enum node_job job);

/* Makes server->node, once the store is open. POM_ERR_NODE_CLOCK when this machine's clock is too far from the database's or another node's; POM_ERR_CONFIG for a bad node.name. Blocks. */
bool server_node_open(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether SEAL is the encryption key that the secrets in the database are sealed with, as far as that was noted. POM_ERR_STORE_SEAL. */
bool server_node_check_key(struct server *server, const struct seal *seal, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Notes it, when it was not: only once something sealed could be opened with it. Then checks it: another node may have been faster. */
bool server_node_keep_key(struct server *server, const struct seal *seal, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The first beat, and the thread of all others. Once the listeners are open and the janitor runs. */
void server_node_start(struct server *server);
/* Ends the thread and gives up all leases, once nothing works under them any more. Without a start: nothing. */
void server_node_stop(struct server *server);
void server_node_free(struct server *server);

/* The id of this process, and how it is called, as in "pomona node list". Borrowed. */
const char *server_node_id(const struct server *server);
const char *server_node_name(const struct server *server);
/* Whether this node may take work; the reason when not: POM_ERR_NODE_CLOCK, POM_ERR_NODE_OLD. Any thread, does not block. */
bool server_node_check(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether JOB is ours; if so, the calling thread works under its lease until it leaves. Any thread, does not block. */
bool server_node_enter(struct server *server, enum node_job job) G_GNUC_WARN_UNUSED_RESULT;
/* False when another node has taken over meanwhile: what failed with POM_ERR_NODE_LEASE need not be told. */
bool server_node_leave(struct server *server, enum node_job job);
/* Tells other nodes that there is work of jobs that are theirs; HURRY as of server_janitor_hurry. Seldom: what comes too soon after the last one is left to their own turn. Blocks. */
void server_node_tell(struct server *server, bool hurry);
/* What another node told (db_listen): WORD NULL: something may have been missed. Any thread, does not block. */
void server_node_told(struct server *server, const char *word);

/* The nodes as JSON, in order of id, after AFTER, at most LIMIT. transfer full. POM_ERR_STORE_*. */
json_t *server_node_list(struct server *server, const char *after, int64_t limit, GError **error);
