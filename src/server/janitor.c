/* One thread for what time alone makes due: last-seen times, our TLS certificate, CRLs, audit chain, renewal of identities, expiry warnings, profiles on their way. */
#include "base/log.h"
#include "base/metric.h"
#include "server/server_internal.h"
#include "service/command.h"
#include "service/fleet.h"
#include "service/ddm.h"
#include "service/ota.h"
#include "service/library.h"
#include "service/timeline.h"
#include "service/push_cert.h"
#include "service/shared.h"

enum { TICK_S = 2, MINUTE_MS = 60 * 1000, HOUR_MS = 3600 * 1000, RETRY_MS = 10 * 60 * 1000 };

static void flush(struct server *server)
{
	g_autoptr(GError) error = NULL;

	if (!store_flush_last_seen(server->store, &error) && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "last-seen times could not be written", "why", error->message, NULL);
	g_clear_error(&error);
	if (!store_flush_delivered(server->store, &error) && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "deliveries of commands could not be written", "why", error->message, NULL);
}

/* What other nodes have changed. */
static void look(struct server *server)
{
	g_autoptr(GError) error = NULL;

	if (!service_shared_tick(server->service, &error))
		pom_log(POM_LOG_WARNING, "what other nodes have changed could not be read", "why", error->message, NULL);
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

/* Another generation of the CA carries the TLS certificate, once every device trusts its root. */
static bool tls_generation_is_due(struct server *server)
{
	X509 *cert;
	bool due;

	pthread_mutex_lock(&server->tls_lock);
	cert = server->tls_cert;
	if (cert)
		X509_up_ref(cert);
	pthread_mutex_unlock(&server->tls_lock);
	due = cert && service_tls_is_due(server->service, cert);
	X509_free(cert);
	return due;
}

static void say(const char *what, GError *error)
{
	if (error && !store_error_is_away(error))
		pom_log(POM_LOG_ERROR, what, "why", error->message, NULL);
	g_clear_error(&error);
}

/* Groups of queries, orders, inventory. True: some of it is left. */
static bool fleet(struct server *server)
{
	GError *error = NULL;
	bool queries = false, orders = false;
	size_t n;

	if (!service_query_work(server->service, &queries, &error))
		say("the members of groups could not be found", g_steal_pointer(&error));
	if (!service_order_work(server->service, &orders, &error))
		say("an order could not be sent", g_steal_pointer(&error));
	if (!service_inventory_scan(server->service, &n, &error))
		say("devices could not be asked what they are", g_steal_pointer(&error));
	return queries || orders;
}

/* What must be seen soon after it was decided. True: some of it is left. */
static bool often(struct server *server)
{
	GError *error = NULL;
	bool more = false, expired = false, more_ddm = false;

	if (!service_command_expire(server->service, &expired, &error))
		say("commands that have expired could not be taken out of the queue", g_steal_pointer(&error));
	if (!service_audit_seal(server->service, &error))
		say("the audit log could not be sealed", g_steal_pointer(&error));
	if (!service_crl_refresh(server->service, &error))
		say("a CRL could not be made", g_steal_pointer(&error));
	if (!service_library_work(server->service, &more, &error))
		say("profiles could not be brought to devices", g_steal_pointer(&error));
	more |= fleet(server);
	if (!service_ddm_work(server->service, &more_ddm, &error))
		say("declarations could not be brought to devices", g_steal_pointer(&error));
	if (tls_generation_is_due(server))
		renew_tls(server, service_now_ms(server->service));
	return more || expired || more_ddm;
}

static void each_minute(struct server *server)
{
	GError *error = NULL;
	size_t n;

	if (!service_renewal_scan(server->service, &n, &error))
		say("identities could not be looked at for renewal", g_steal_pointer(&error));
	if (!service_library_minute(server->service, &error))
		say("profiles that wait could not be looked at", g_steal_pointer(&error));
	/* Another process may have changed them. */
	if (!service_load_topics(server->service, &error))
		say("push certificates could not be read", g_steal_pointer(&error));
	if (!service_ddm_minute(server->service, &error))
		say("declarations that wait could not be looked at", g_steal_pointer(&error));
	if (!service_renew_own(server->service, &error))
		say("a certificate of the CA could not be renewed", g_steal_pointer(&error));
	if (service_has_closed_token(server->service) && !service_ca_reload(server->service, &error))
		say("the CAs could not be read again", g_steal_pointer(&error));
}

static void hourly(struct server *server, int64_t now_ms)
{
	GError *error = NULL;
	size_t n;

	service_warn_expiry(server->service);
	if (!store_certificate_revoke_superseded(server->store, now_ms, now_ms - (int64_t)CA_SUPERSEDED_S * 1000, &n, &error))
		say("superseded identities could not be revoked", g_steal_pointer(&error));
	if (!store_scep_purge(server->store, now_ms, &error))
		say("old challenges could not be removed", g_steal_pointer(&error));
	if (!service_order_purge(server->service, &error))
		say("an old order could not be removed", g_steal_pointer(&error));
	if (!service_timeline_purge(server->service, settings_int(server->settings, SETTING_TIMELINE_DAYS), &error))
		say("old lines of timelines could not be removed", g_steal_pointer(&error));
	if (!service_watch_purge(server->service, &error))
		say("old pairings of watches could not be removed", g_steal_pointer(&error));
}

/* While the database is away nothing can be done, and nothing counts as done. The tick that finds it back goes on at once. */
static bool can_work(struct server *server)
{
	return !store_is_away(server->store) || store_ping(server->store, NULL);
}

static void *janitor_main(void *data)
{
	struct server *server = data;
	struct timespec until;
	int64_t next_hourly = 0, next_minute = 0;

	pthread_mutex_lock(&server->janitor_lock);
	while (!server->stopping) {
		bool hurry = server->hurry, more, reachable;
		int64_t now_ms;

		server->hurry = server->nudged = false;
		pthread_mutex_unlock(&server->janitor_lock);
		now_ms = service_now_ms(server->service);
		reachable = can_work(server);
		if (reachable) {
			flush(server);
			look(server);
		}
		if (reachable && now_ms >= next_hourly) {
			hourly(server, now_ms);
			next_hourly = store_is_away(server->store) ? 0 : now_ms + HOUR_MS;
		}
		if (reachable && (now_ms >= next_minute || hurry))
			each_minute(server);
		if (now_ms >= next_minute || hurry)
			next_minute = store_is_away(server->store) ? 0 : now_ms + MINUTE_MS;
		more = reachable && often(server);
		if (reachable && tls_is_due(server, now_ms))
			renew_tls(server, now_ms);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TICK_S;
		pthread_mutex_lock(&server->janitor_lock);
		if (!server->stopping && !server->hurry && !server->nudged && !more)
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
	atomic_store(&server->janitor_runs, true);
}

void server_janitor_hurry(struct server *server)
{
	pthread_mutex_lock(&server->janitor_lock);
	server->hurry = true;
	pthread_cond_signal(&server->janitor_wake);
	pthread_mutex_unlock(&server->janitor_lock);
}

void server_janitor_nudge(struct server *server)
{
	pthread_mutex_lock(&server->janitor_lock);
	server->nudged = true;
	pthread_cond_signal(&server->janitor_wake);
	pthread_mutex_unlock(&server->janitor_lock);
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
