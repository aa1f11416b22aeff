/* What this server does while its database is away: it waits at the start, and later tells when it went and when it is back. */
#include <signal.h>

#include "base/log.h"
#include "base/metric.h"
#include "server/node.h"
#include "server/server_internal.h"

enum { LOOK_MS = 1000, LOOK_AWAY_MS = 250, SILENT_MAX_MS = 4000 };

/* Called under a lock of the store: it only tells. The janitor finds out by itself. */
static void tell(void *ctx, const GError *why)
{
	struct server *server = ctx;

	pom_metric_set(POM_METRIC_STORE_AWAY, NULL, why != NULL);
	if (why) {
		pom_log(POM_LOG_ERROR, "the database is away: requests are answered 503 until it is back", "why", why->message, NULL);
		return;
	}
	pom_log(POM_LOG_NOTICE, "the database is back", NULL);
	if (server->pusher)
		pusher_wake(server->pusher);
}

bool server_is_ready(struct server *server, GError **error)
{
	if (atomic_load(&server->draining))
		return pom_fail(error, POM_ERR_NODE_DRAINING, "this node is being stopped: it serves those who come, and others should be sent to another node");
	if (!server_node_check(server, error))
		return false;
	return store_is_shared(server->store) ? store_is_reachable(server->store, SILENT_MAX_MS, error) : store_ping(server->store, error);
}

/* HAProxy ends the connections of a server that fails its check, or it does not, also when the server has died. With 404 (http-check disable-on-404) it lets those of a server that drains finish. */
struct http_response *server_draining_reply(struct server *server, const struct http_request *request)
{
	g_autofree char *status = http_request_query(request, "draining");

	return atomic_load(&server->draining) && !g_strcmp0(status, "404") ? http_response_text(404, "text/plain", "draining\n") : NULL;
}

static struct timespec next_look(struct server *server)
{
	int64_t until_ms = g_get_monotonic_time() / 1000 + (store_is_away(server->store) ? LOOK_AWAY_MS : LOOK_MS);

	return (struct timespec){until_ms / 1000, until_ms % 1000 * 1000000};
}

/* Asks when nobody else has asked for a while: so that it is known at any time, and nobody who wants to know must wait. */
static void *look_main(void *data)
{
	struct server *server = data;

	pthread_mutex_lock(&server->look_lock);
	while (!server->look_stopping) {
		struct timespec until;

		pthread_mutex_unlock(&server->look_lock);
		if (!store_is_reachable(server->store, LOOK_MS, NULL))
			(void)!store_ping(server->store, NULL);
		until = next_look(server);
		pthread_mutex_lock(&server->look_lock);
		if (!server->look_stopping)
			pthread_cond_timedwait(&server->look_wake, &server->look_lock, &until);
	}
	pthread_mutex_unlock(&server->look_lock);
	return NULL;
}

void server_look_start(struct server *server)
{
	pthread_condattr_t attr;

	if (!store_is_shared(server->store))
		return;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->look_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&server->look_lock, NULL);
	pthread_create(&server->look, NULL, look_main, server);
}

void server_look_stop(struct server *server)
{
	if (!store_is_shared(server->store))
		return;
	pthread_mutex_lock(&server->look_lock);
	server->look_stopping = true;
	pthread_cond_signal(&server->look_wake);
	pthread_mutex_unlock(&server->look_lock);
	pthread_join(server->look, NULL);
	pthread_cond_destroy(&server->look_wake);
	pthread_mutex_destroy(&server->look_lock);
}

/* Up to a second, or until a signal says that the start is to end: true. */
static bool is_ended(void)
{
	const struct timespec second = {.tv_sec = 1};
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	return sigtimedwait(&signals, NULL, &second) > 0;
}

/* Opening would make one, with nothing in it, where a setting is wrong. */
static struct store *open_existing(const char *url, GError **error)
{
	g_autofree char *name = NULL;
	int schema;

	if (!store_peek(url, &schema, error))
		return NULL;
	if (schema)
		return store_open(url, pom_clock_system(), pom_random_system(), error);
	name = store_url_show(url);
	pom_fail(error, POM_ERR_CONFIG, "%s is not there, or holds no data of Pomona: is store.url in pomona.conf right (or POMONA_STORE_URL in the environment, if \"pomona init\" had it from there)? Nothing was made", name);
	return NULL;
}

bool server_store_open(struct server *server, const char *url, GError **error)
{
	int64_t wait_s = settings_int(server->settings, SETTING_STORE_WAIT), until_us = g_get_monotonic_time() + wait_s * G_USEC_PER_SEC;
	bool told = false;

	for (;;) {
		GError *inner = NULL;
		g_autofree char *most = g_strdup_printf("%" G_GINT64_FORMAT, wait_s);

		server->store = open_existing(url, &inner);
		if (server->store)
			break;
		if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_AWAY) || g_get_monotonic_time() >= until_us) {
			if (told)
				g_prefix_error(&inner, "waited %s seconds for the database (store.wait_seconds): ", most);
			g_propagate_error(error, inner);
			return false;
		}
		if (!told)
			pom_log(POM_LOG_WARNING, "waiting for the database", "seconds_at_most", most, "why", inner->message, NULL);
		told = true;
		g_error_free(inner);
		server->ended_early = is_ended();
		if (server->ended_early)
			return pom_fail(error, POM_ERR_CANCELED, "stopped while waiting for the database");
	}
	if (told)
		pom_log(POM_LOG_NOTICE, "the database is there", NULL);
	if (store_risks(server->store))
		pom_log(POM_LOG_WARNING, "what was acknowledged may be lost when the machine of the database dies: set these to on in postgresql.conf", "off", store_risks(server->store), NULL);
	store_watch(server->store, tell, server);
	return true;
}
