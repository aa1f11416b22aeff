/* One thread for what time alone makes due: last-seen times, our TLS certificate, expiry figures. */
#include "base/log.h"
#include "base/metric.h"
#include "server/server_internal.h"

enum { TICK_S = 2, HOUR_MS = 3600 * 1000, RETRY_MS = 10 * 60 * 1000 };

static void flush(struct server *server)
{
	g_autoptr(GError) error = NULL;

	if (!store_flush_last_seen(server->store, &error))
		pom_log(POM_LOG_WARNING, "last-seen times could not be written", "why", error->message, NULL);
}

static void renew_tls(struct server *server, int64_t now_ms)
{
	g_autoptr(GError) error = NULL;

	if (server_tls_load(server, &error))
		pom_log(POM_LOG_NOTICE, "the TLS certificate was renewed", NULL);
	else
		pom_log(POM_LOG_ERROR, "the TLS certificate could not be renewed; the next try is in ten minutes", "why", error->message, NULL);
	/* Not at every tick, whether it failed or the new one is as short as its issuer's rest. */
	pthread_mutex_lock(&server->tls_lock);
	server->tls_renew_ms = MAX(server->tls_renew_ms, now_ms + RETRY_MS);
	pthread_mutex_unlock(&server->tls_lock);
}

static bool tls_is_due(struct server *server, int64_t now_ms)
{
	bool due;

	pthread_mutex_lock(&server->tls_lock);
	due = server->tls_renew_ms && now_ms >= server->tls_renew_ms;
	pthread_mutex_unlock(&server->tls_lock);
	return due;
}

static void show_expiry(struct server *server)
{
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "root", server->service->root->info->not_after);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "issuing", server->service->issuing->info->not_after);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "profile_signing", server->service->profile_signer->info->not_after);
}

static void *janitor_main(void *data)
{
	struct server *server = data;
	struct timespec until;
	int64_t next_hourly = 0;

	pthread_mutex_lock(&server->janitor_lock);
	while (!server->stopping) {
		int64_t now_ms;

		pthread_mutex_unlock(&server->janitor_lock);
		now_ms = service_now_ms(server->service);
		flush(server);
		if (now_ms >= next_hourly) {
			show_expiry(server);
			next_hourly = now_ms + HOUR_MS;
		}
		if (tls_is_due(server, now_ms))
			renew_tls(server, now_ms);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TICK_S;
		pthread_mutex_lock(&server->janitor_lock);
		if (!server->stopping)
			pthread_cond_timedwait(&server->janitor_wake, &server->janitor_lock, &until);
	}
	pthread_mutex_unlock(&server->janitor_lock);
	return NULL;
}

void server_janitor_start(struct server *server)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->janitor_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&server->janitor_lock, NULL);
	pthread_create(&server->janitor, NULL, janitor_main, server);
}

void server_janitor_stop(struct server *server)
{
	pthread_mutex_lock(&server->janitor_lock);
	server->stopping = true;
	pthread_cond_signal(&server->janitor_wake);
	pthread_mutex_unlock(&server->janitor_lock);
	pthread_join(server->janitor, NULL);
	flush(server);
}
