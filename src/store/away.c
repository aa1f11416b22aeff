/* Whether the database can be reached, as operations find it. */
#include "store/store_internal.h"

/* Several connections do not come back in the same moment: only when for a while none has failed is it said that it is back. */
enum { SETTLED_US = G_USEC_PER_SEC };

void store_away_init(struct store *store)
{
	pthread_mutex_init(&store->away.lock, NULL);
	atomic_store(&store->away.answered_us, g_get_monotonic_time());
}

void store_away_clear(struct store *store)
{
	pthread_mutex_destroy(&store->away.lock);
	g_free(store->away.why);
}

void store_watch(struct store *store, void (*fn)(void *ctx, const GError *why), void *ctx)
{
	store->away.fn = fn;
	store->away.ctx = ctx;
}

bool store_is_away(struct store *store)
{
	return atomic_load(&store->away.is_away);
}

bool store_is_reachable(struct store *store, int64_t silent_max_ms, GError **error)
{
	struct store_away *away = &store->away;
	int64_t silent_ms = (g_get_monotonic_time() - atomic_load(&away->answered_us)) / 1000;
	bool is_away;

	pthread_mutex_lock(&away->lock);
	is_away = atomic_load(&away->is_away);
	if (is_away)
		pom_fail(error, POM_ERR_STORE_AWAY, "%s", away->why);
	pthread_mutex_unlock(&away->lock);
	if (is_away)
		return false;
	return silent_ms <= silent_max_ms || pom_fail(error, POM_ERR_STORE_AWAY, "the database has not answered for %" G_GINT64_FORMAT " s", silent_ms / 1000);
}

bool store_error_is_away(const GError *error)
{
	return g_error_matches(error, POM_ERROR, POM_ERR_STORE_AWAY) || g_error_matches(error, POM_ERROR, POM_ERR_STORE_UNKNOWN);
}

static void note_gone(struct store_away *away, const GError *error)
{
	pthread_mutex_lock(&away->lock);
	away->failed_us = g_get_monotonic_time();
	g_free(away->why);
	away->why = g_strdup(error->message);
	if (!atomic_exchange(&away->is_away, true) && away->fn)
		away->fn(away->ctx, error);
	pthread_mutex_unlock(&away->lock);
}

static void note_there(struct store_away *away)
{
	pthread_mutex_lock(&away->lock);
	if (atomic_load(&away->answered_us) - away->failed_us >= SETTLED_US && atomic_exchange(&away->is_away, false) && away->fn)
		away->fn(away->ctx, NULL);
	pthread_mutex_unlock(&away->lock);
}

void store_away_note(struct store *store, enum db_outcome outcome, const GError *error)
{
	if (outcome == DB_AWAY || outcome == DB_UNKNOWN) {
		note_gone(&store->away, error);
		return;
	}
	atomic_store(&store->away.answered_us, g_get_monotonic_time());
	if (atomic_load(&store->away.is_away))
		note_there(&store->away);
}
