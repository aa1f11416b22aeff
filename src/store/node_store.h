/* Nodes and leases: who else uses this database, and who does what one node alone may do.
 *
 * A lease has a holder, an end, and a number, the fence, which grows with each new holder. A holder renews it in time; whoever finds it ended takes it. A node that was stopped for longer
 * and goes on does not know yet that another one has taken over: so a thread that works under a lease says so (store_lease_enter), and each batch that it writes until it leaves holds only
 * when holder and fence are still its own. What it had decided before it was stopped is refused with POM_ERR_NODE_LEASE, and so is all it would write after.
 *
 * Times are the database's (store_node_look): nodes need not agree about the hour. On an engine that is not shared every lease is granted and nothing is written. */
#pragma once

#include "store/store.h"

/* ---- nodes ---- */
struct node_row {
	const char *id, *name, *address, *version;
	int64_t schema, started_ms, seen_ms; /* by the database's clock */
	int64_t clock_ms;                    /* how far its own clock is ahead of the database's */
	const char *trouble;                 /* why it takes no work; "" when it does */
};
struct lease_row { const char *job, *node; int64_t fence, expires_ms; }; /* node "": nobody */
/* What a node looks at before it does anything: the database's clock and schema, and who holds what. On an engine that is not shared: the system's clock, this program's schema, nobody. */
struct node_look {
	int64_t now_ms;   /* the database's clock, Unix milliseconds */
	int64_t schema;
	bool is_left;     /* its data goes, or went, to another database */
	GArray *nodes;    /* struct node_row, in order of id; the 1000 that were seen last */
	GArray *leases;   /* struct lease_row, in order of job */
	store_load *load; /* what their texts borrow from */
};
/* RET: free with node_look_clear. It also takes notice of the schema: when another node has migrated the database for a newer program, all that is asked of STORE but this and store_node_remove fails with
 * POM_ERR_NODE_OLD from then on; with POM_ERR_STORE_MOVE when its data goes to another database. Blocks. */
bool store_node_look(struct store *store, struct node_look *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* From now on nothing else is asked of STORE when the last look began more than MAX_MS ago (0: whenever it was): POM_ERR_STORE_AWAY. A process that was stopped for so long is taken for dead by others, who may have
 * moved its data to another database meanwhile. Any thread. */
void store_look_limit(struct store *store, int64_t max_ms);
void node_look_clear(struct node_look *look);
/* The newest schema that this program knows. */
int64_t store_schema(void);
/* Says that NODE is there, and renews all its leases until UNTIL_MS; *RET_HELD (transfer full, array of struct lease_hold): those that it has. */
struct lease_hold { char job[32]; int64_t fence; };
bool store_node_beat(struct store *store, const struct node_row *node, int64_t until_ms, GArray **ret_held, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* NODE ends: its row goes, and others may have its leases at once. */
bool store_node_remove(struct store *store, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Tells all nodes WORD (see db_batch_hint). */
#define NODE_HINT_NODES "nodes" /* a node has come or gone: look who does what */
#define NODE_HINT_WORK "work"   /* there is work that must be seen soon */
#define NODE_HINT_HURRY "hurry" /* the same, of what else is looked at each minute */
bool store_node_hint(struct store *store, const char *word, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A node NAME has come: those of this name that were last seen before BEFORE_MS are what it was before, and go. */
bool store_node_replace(struct store *store, const char *name, int64_t before_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes the rows of nodes that were last seen before BEFORE_MS. */
bool store_node_forget(struct store *store, int64_t before_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- leases ---- */
enum { LEASE_JOB_MAX = 31, LEASE_MS_MAX = 300 * 1000 };
/* Whether nobody has it at NOW_MS: it was released, has ended, or would last so long that the clock must have been ahead when it was taken. */
bool lease_is_free(const struct lease_row *lease, int64_t now_ms);
/* Takes the lease of JOB (1 to LEASE_JOB_MAX bytes) for NODE until NOW_MS + TTL_MS when it is NODE's already, was released, or has ended; *RET_FENCE is its number, 0 when it is another's, or just being
 * taken. TTL_MS: at most LEASE_MS_MAX. Does not wait for others. */
bool store_lease_take(struct store *store, const char *job, const char *node, int64_t now_ms, int64_t ttl_ms, int64_t *ret_fence, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for N jobs at once; RET_FENCES: N numbers. */
bool store_leases_take(struct store *store, const char *const *jobs, size_t n, const char *node, int64_t now_ms, int64_t ttl_ms, int64_t *ret_fences, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Gives JOB up, when NODE has it: others may have it at once. */
bool store_lease_release(struct store *store, const char *job, const char *node, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* From here on the calling thread works under the lease of JOB; the strings are copied. Not twice at once. */
void store_lease_enter(struct store *store, const char *job, const char *node, int64_t fence);
/* Ends that; false when the lease was found lost meanwhile. */
bool store_lease_leave(struct store *store);

/* For tests: leases are written down, and asked, on whatever engine. */
void store_lease_force(struct store *store);

/* Keeps VALUE as the setting NAME when there is none yet, and gives the one that is there now, transfer full. */
bool store_setting_keep(struct store *store, const char *name, const char *value, char **ret_value, GError **error) G_GNUC_WARN_UNUSED_RESULT;
