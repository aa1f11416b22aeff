/* One thread for what time alone makes due: last-seen times, our TLS certificate, CRLs, audit chain, renewal of identities, expiry warnings, profiles on their way.
 *
 * Some of it each node does for itself (what it has in memory); all else is a table of jobs, each of which one node alone does, under a lease (node.h). */
#include "base/log.h"
#include "base/metric.h"
#include "server/node.h"
#include "server/server_internal.h"
#include "service/command.h"
#include "service/fleet.h"
#include "service/ddm.h"
#include "service/ota.h"
#include "service/library.h"
#include "service/timeline.h"
#include "service/push_cert.h"
#include "service/shared.h"
#include "store/shared_store.h"

enum { TICK_S = 2, MINUTE_MS = 60 * 1000, HOUR_MS = 3600 * 1000, RETRY_MS = 10 * 60 * 1000, TLS_LOOK_PART = 100, TLS_LOOK_MAX_US = 600 * 1000 * 1000 };

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

	if (!service_shared_tick(server->service, &error) && !store_error_is_away(error))
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

/* ---- jobs of one node. ERROR: what went wrong; *RET_MORE: some of it is left. NOW_MS: the tick's time. */

static bool seal_audit(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_audit_seal(server->service, error);
}

static bool refresh_crls(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_crl_refresh(server->service, error);
}

static bool expire_commands(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_command_expire(server->service, ret_more, error);
}

static bool bring_profiles(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_library_work(server->service, ret_more, error);
}

static bool look_at_profiles(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_library_minute(server->service, error);
}

static bool find_members(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_query_work(server->service, ret_more, error);
}

static bool send_orders(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_order_work(server->service, ret_more, error);
}

static bool ask_devices(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	size_t n;

	return service_inventory_scan(server->service, &n, error);
}

static bool bring_declarations(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_ddm_work(server->service, ret_more, error);
}

static bool look_at_declarations(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_ddm_minute(server->service, error);
}

static bool renew_identities(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	size_t n;

	return service_renewal_scan(server->service, &n, error);
}

static bool renew_own(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_renew_own(server->service, error);
}

static bool warn_of_ends(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_warn_expiry(server->service, error);
}

static bool revoke_superseded(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	size_t n;

	return store_certificate_revoke_superseded(server->store, now_ms, now_ms - (int64_t)CA_SUPERSEDED_S * 1000, &n, error);
}

static bool purge_challenges(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return store_scep_purge(server->store, now_ms, error);
}

static bool forgive_addresses(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	enum { AT_ONCE = 1000 };

	return store_scep_forgive(server->store, now_ms, AT_ONCE, ret_more, error);
}

static bool purge_orders(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_order_purge(server->service, error);
}

static bool purge_timelines(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_timeline_purge(server->service, settings_int(server->settings, SETTING_TIMELINE_DAYS), ret_more, error);
}

static bool purge_commands(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_command_purge(server->service, settings_int(server->settings, SETTING_COMMAND_KEEP), ret_more, error);
}

static bool purge_watches(struct server *server, int64_t now_ms, bool *ret_more, GError **error)
{
	return service_watch_purge(server->service, error);
}

static const struct {
	enum node_job job;
	int64_t every_ms; /* 0: at each tick */
	bool (*run)(struct server *server, int64_t now_ms, bool *ret_more, GError **error);
	const char *failure;
} jobs[] = {
	{NODE_WARNINGS, HOUR_MS, warn_of_ends, "the ends of certificates could not be looked at"},
	{NODE_CA, HOUR_MS, revoke_superseded, "superseded identities could not be revoked"},
	{NODE_PURGE, HOUR_MS, purge_challenges, "old challenges could not be removed"},
	{NODE_PURGE, HOUR_MS, purge_orders, "an old order could not be removed"},
	{NODE_PURGE, HOUR_MS, purge_timelines, "old lines of timelines could not be removed"},
	{NODE_PURGE, HOUR_MS, purge_commands, "old commands could not be removed"},
	{NODE_PURGE, HOUR_MS, purge_watches, "old pairings of watches could not be removed"},
	{NODE_PURGE, MINUTE_MS, forgive_addresses, "addresses whose failures are forgiven could not be removed"},
	{NODE_RENEWAL, MINUTE_MS, renew_identities, "identities could not be looked at for renewal"},
	{NODE_PROFILES, MINUTE_MS, look_at_profiles, "profiles that wait could not be looked at"},
	{NODE_DECLARATIONS, MINUTE_MS, look_at_declarations, "declarations that wait could not be looked at"},
	{NODE_CA, MINUTE_MS, renew_own, "a certificate of the CA could not be renewed"},
	{NODE_COMMANDS, 0, expire_commands, "commands that have expired could not be taken out of the queue"},
	{NODE_AUDIT, 0, seal_audit, "the audit log could not be sealed"},
	{NODE_CRL, 0, refresh_crls, "a CRL could not be made"},
	{NODE_PROFILES, 0, bring_profiles, "profiles could not be brought to devices"},
	{NODE_QUERIES, 0, find_members, "the members of groups could not be found"},
	{NODE_ORDERS, 0, send_orders, "an order could not be sent"},
	{NODE_INVENTORY, 0, ask_devices, "devices could not be asked what they are"},
	{NODE_DECLARATIONS, 0, bring_declarations, "declarations could not be brought to devices"},
};

/* False: another node does it, or it could not be done. */
static bool run_job(struct server *server, size_t i, int64_t now_ms, bool *more)
{
	GError *error = NULL;
	bool left = false;

	if (!server_node_enter(server, jobs[i].job))
		return false;
	pom_metric_add(POM_METRIC_JOBS, server_node_job_name(jobs[i].job), 1);
	if (!jobs[i].run(server, now_ms, &left, &error) && !g_error_matches(error, POM_ERROR, POM_ERR_NODE_LEASE))
		say(jobs[i].failure, g_steal_pointer(&error));
	if (!server_node_leave(server, jobs[i].job))
		pom_log(POM_LOG_NOTICE, "another node has taken over while this one worked", "job", server_node_job_name(jobs[i].job), NULL);
	g_clear_error(&error);
	*more |= left;
	return !store_is_away(server->store);
}

/* What is due, and with HURRY what each minute brings. NEXT_MS: when each job is due; one that another node does stays due, so that whoever takes over begins with it. True: some is left. */
static bool run_jobs(struct server *server, int64_t now_ms, bool hurry, int64_t next_ms[G_N_ELEMENTS(jobs)])
{
	bool more = false;

	for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++) {
		bool left = false;

		/* Millions of old rows go in one hour, a piece at a time. */
		if ((now_ms >= next_ms[i] || (hurry && jobs[i].every_ms == MINUTE_MS)) && run_job(server, i, now_ms, &left))
			next_ms[i] = left && jobs[i].job == NODE_PURGE ? now_ms : now_ms + jobs[i].every_ms;
		more |= left;
	}
	return more;
}

/* ---- what each node does for itself */

static void each_minute(struct server *server)
{
	GError *error = NULL;

	/* Another process may have changed them. */
	if (!service_load_topics(server->service, &error))
		say("push certificates could not be read", g_steal_pointer(&error));
	if (service_has_closed_token(server->service) && !service_ca_reload(server->service, &error))
		say("the CAs could not be read again", g_steal_pointer(&error));
}

/* The metrics of what ends when are each node's own; the warnings are one job. */
static void each_hour(struct server *server)
{
	GError *error = NULL;
	json_t *held = service_held_list(server->service, &error);

	json_decref(held);
	say("the ends of certificates could not be looked at", error);
}

/* *NEXT_US, of the monotonic clock: when it is asked again which generation is due. While a CA's generation retires that may go through all devices, so where they are many it is asked less often. */
static void look_at_tls(struct server *server, int64_t now_ms, int64_t *next_us)
{
	int64_t begun_us = g_get_monotonic_time();
	bool due = false;

	if (begun_us >= *next_us) {
		due = tls_generation_is_due(server);
		*next_us = begun_us + MIN(TLS_LOOK_PART * (g_get_monotonic_time() - begun_us), TLS_LOOK_MAX_US);
	}
	if (due || tls_is_due(server, now_ms))
		renew_tls(server, now_ms);
}

/* ---- the thread */

struct turn { bool hurry, tell, tell_hurry; };

/* What was asked since the last turn; call with the lock held. */
static struct turn take_turn(struct server *server)
{
	struct turn turn = {server->hurry, server->tell, server->tell_hurry};

	server->hurry = server->nudged = server->tell = server->tell_hurry = false;
	return turn;
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
	int64_t next_hour = 0, next_minute = 0, next_tls_us = 0, next_ms[G_N_ELEMENTS(jobs)] = {0};

	pthread_mutex_lock(&server->janitor_lock);
	while (!server->stopping) {
		struct turn turn = take_turn(server);
		bool more, reachable;
		int64_t now_ms;

		pthread_mutex_unlock(&server->janitor_lock);
		if (turn.tell)
			server_node_tell(server, turn.tell_hurry);
		now_ms = service_now_ms(server->service);
		reachable = can_work(server);
		if (reachable) {
			flush(server);
			look(server);
		}
		if (reachable && now_ms >= next_hour) {
			each_hour(server);
			next_hour = store_is_away(server->store) ? 0 : now_ms + HOUR_MS;
		}
		if (reachable && (now_ms >= next_minute || turn.hurry))
			each_minute(server);
		if (now_ms >= next_minute || turn.hurry)
			next_minute = store_is_away(server->store) ? 0 : now_ms + MINUTE_MS;
		more = reachable && run_jobs(server, now_ms, turn.hurry, next_ms);
		if (reachable)
			look_at_tls(server, now_ms, &next_tls_us);
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

static void wake(struct server *server, bool hurry, bool tell)
{
	pthread_mutex_lock(&server->janitor_lock);
	server->nudged = true;
	server->hurry |= hurry;
	server->tell |= tell;
	server->tell_hurry |= tell && hurry;
	pthread_cond_signal(&server->janitor_wake);
	pthread_mutex_unlock(&server->janitor_lock);
}

void server_janitor_hurry(struct server *server)
{
	wake(server, true, true);
}

void server_janitor_nudge(struct server *server)
{
	wake(server, false, true);
}

void server_janitor_told(struct server *server, bool hurry)
{
	wake(server, hurry, false);
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
