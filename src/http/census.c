#include "base/metric.h"
#include "http/server_internal.h"

void http_census_init(struct http_census *census)
{
	pthread_mutex_init(&census->lock, NULL);
	census->by_address = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void http_census_clear(struct http_census *census)
{
	pthread_mutex_destroy(&census->lock);
	g_hash_table_unref(census->by_address);
}

static unsigned count(const struct http_census *census, const char *key)
{
	return key ? GPOINTER_TO_UINT(g_hash_table_lookup(census->by_address, key)) : 0;
}

static void set_count(struct http_census *census, const char *key, unsigned n)
{
	if (key && n)
		g_hash_table_replace(census->by_address, g_strdup(key), GUINT_TO_POINTER(n));
	else if (key)
		g_hash_table_remove(census->by_address, key);
}

static const char *find_limit(const struct http_census *census, const char *key, unsigned more, const struct http_limits *limits)
{
	if (census->n + more > limits->connections)
		return "as many connections are open as may be";
	return key && count(census, key) >= limits->connections_per_address ? "this address has as many connections as one may have" : NULL;
}

/* MORE: how many connections come to the total. */
static const char *add(struct http_census *census, const char *key, unsigned more, const struct http_limits *limits)
{
	const char *limit;

	pthread_mutex_lock(&census->lock);
	limit = find_limit(census, key, more, limits);
	if (!limit) {
		census->n += more;
		set_count(census, key, count(census, key) + 1);
	}
	pthread_mutex_unlock(&census->lock);
	return limit;
}

const char *http_census_enter(struct http_census *census, const char *key, const struct http_limits *limits)
{
	const char *limit = add(census, key, 1, limits);

	if (!limit)
		pom_metric_add(POM_METRIC_CONNECTIONS, NULL, 1);
	return limit;
}

const char *http_census_name(struct http_census *census, const char *key, const struct http_limits *limits)
{
	return add(census, key, 0, limits);
}

void http_census_leave(struct http_census *census, const char *key)
{
	pthread_mutex_lock(&census->lock);
	census->n--;
	if (key)
		set_count(census, key, count(census, key) - 1);
	pthread_mutex_unlock(&census->lock);
	pom_metric_add(POM_METRIC_CONNECTIONS, NULL, -1);
}
