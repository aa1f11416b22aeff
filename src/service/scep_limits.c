/* Failures by address. A challenge of 128 bits cannot be guessed; what an attacker can do is to make us decrypt and verify without end.
 *
 * Each address has a budget of failures that refills with time; without budget it is answered 429 before anything is decrypted. Success costs nothing, so that
 * many devices behind one address are not shut out by a broken one among them for longer than the refill of one failure. When a profile as a whole fails too
 * often, each address that has failed lately gets a smaller budget; an address that has not failed is never touched.
 *
 * Where several nodes share a database, they share the budget of an address: each failure is added to what the database has of it, and its sum is what counts here from then on (scep_limits_learn). So an address
 * that is shut out at one node has one try at each other one. Requests that do not fail read and write nothing for it. The count of a profile is each node's own: it protects the time of that node's processors. */
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "service/scep_limits.h"

enum { BUDGET = 60, BUDGET_UNDER_ATTACK = 5, ADDRESSES_MAX = 20000, PROFILE_BUDGET = 600, PROFILE_WINDOW_MS = 60000, AUDIT_PER_MINUTE = 600 };

G_STATIC_ASSERT(SCEP_ADDRESS_SIZE >= INET6_ADDRSTRLEN);

struct address {
	char name[SCEP_ADDRESS_SIZE];
	int64_t failures_ms; /* the failures not yet forgiven, in milliseconds of refill */
	int64_t at_ms;
};

struct profile_count { int64_t window_ms, n; };

struct scep_limits {
	pthread_mutex_t lock;
	GHashTable *addresses; /* struct address, keyed by its name */
	GHashTable *profiles;  /* name → struct profile_count */
	int64_t audit_window_ms, audited;
};

struct scep_limits *scep_limits_new(void)
{
	struct scep_limits *limits = g_new0(struct scep_limits, 1);

	pthread_mutex_init(&limits->lock, NULL);
	limits->addresses = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
	limits->profiles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return limits;
}

void scep_limits_free(struct scep_limits *limits)
{
	if (!limits)
		return;
	g_hash_table_unref(limits->addresses);
	g_hash_table_unref(limits->profiles);
	pthread_mutex_destroy(&limits->lock);
	g_free(limits);
}

void scep_limits_address(const char *peer, char ret[SCEP_ADDRESS_SIZE])
{
	struct in6_addr in6;
	char text[128];
	char *end;

	g_strlcpy(text, *peer == '[' ? peer + 1 : peer, sizeof(text));
	if ((end = strchr(text, ']')))
		*end = '\0';
	else if ((end = strchr(text, ':')) && !strchr(end + 1, ':'))
		*end = '\0';
	if (inet_pton(AF_INET6, text, &in6) == 1) {
		memset(in6.s6_addr + 8, 0, 8);
		inet_ntop(AF_INET6, &in6, ret, SCEP_ADDRESS_SIZE);
	} else {
		g_strlcpy(ret, text, SCEP_ADDRESS_SIZE);
	}
}

static void refill(struct address *a, int64_t now_ms)
{
	a->failures_ms = MAX(0, a->failures_ms - MAX(0, now_ms - a->at_ms));
	a->at_ms = now_ms;
}


static gboolean forgive(void *key, void *value, void *data)
{
	refill(value, *(const int64_t *)data);
	return !((struct address *)value)->failures_ms;
}

static int64_t profile_failures(struct scep_limits *limits, const char *profile, int64_t now_ms, int64_t add)
{
	struct profile_count *count = g_hash_table_lookup(limits->profiles, profile);

	if (!count) {
		if (!add)
			return 0;
		count = g_new0(struct profile_count, 1);
		g_hash_table_insert(limits->profiles, g_strdup(profile), count);
	}
	if (now_ms - count->window_ms >= PROFILE_WINDOW_MS)
		*count = (struct profile_count){now_ms, 0};
	count->n += add;
	return count->n;
}

bool scep_limits_allow(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms)
{
	char name[SCEP_ADDRESS_SIZE];
	struct address *a;
	bool allowed = true;

	scep_limits_address(peer, name);
	pthread_mutex_lock(&limits->lock);
	a = g_hash_table_lookup(limits->addresses, name);
	if (a) {
		int64_t budget = profile_failures(limits, profile, now_ms, 0) > PROFILE_BUDGET ? BUDGET_UNDER_ATTACK : BUDGET;

		refill(a, now_ms);
		allowed = a->failures_ms < budget * SCEP_FAILURE_MS;
	}
	pthread_mutex_unlock(&limits->lock);
	return allowed;
}

bool scep_limits_fail(struct scep_limits *limits, const char *profile, const char *peer, int64_t now_ms)
{
	char name[SCEP_ADDRESS_SIZE];
	struct address *a;
	bool audit;

	scep_limits_address(peer, name);
	pthread_mutex_lock(&limits->lock);
	a = g_hash_table_lookup(limits->addresses, name);
	if (!a) {
		if (g_hash_table_size(limits->addresses) >= ADDRESSES_MAX)
			g_hash_table_foreach_remove(limits->addresses, forgive, &now_ms);
		/* Still full: more addresses fail than can be remembered; the profile's count goes on. */
		if (g_hash_table_size(limits->addresses) < ADDRESSES_MAX) {
			a = g_new0(struct address, 1);
			g_strlcpy(a->name, name, sizeof(a->name));
			a->at_ms = now_ms;
			g_hash_table_insert(limits->addresses, a->name, a);
		}
	}
	if (a) {
		refill(a, now_ms);
		a->failures_ms += SCEP_FAILURE_MS;
	}
	profile_failures(limits, profile, now_ms, 1);
	if (now_ms - limits->audit_window_ms >= PROFILE_WINDOW_MS) {
		limits->audit_window_ms = now_ms;
		limits->audited = 0;
	}
	audit = limits->audited++ < AUDIT_PER_MINUTE;
	pthread_mutex_unlock(&limits->lock);
	return audit;
}

void scep_limits_learn(struct scep_limits *limits, const char *peer, int64_t forgiven_ms, int64_t now_ms)
{
	char name[SCEP_ADDRESS_SIZE];
	struct address *a;

	scep_limits_address(peer, name);
	pthread_mutex_lock(&limits->lock);
	a = g_hash_table_lookup(limits->addresses, name);
	if (a) {
		refill(a, now_ms);
		a->failures_ms = MAX(a->failures_ms, forgiven_ms - now_ms);
	}
	pthread_mutex_unlock(&limits->lock);
}
