#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "core/watch.h"
#include "keys/pkcs11.h"
#include "keys/profile_crypt.h"
#include "server/checkin_settings.h"
#include "server/datadir.h"
#include "server/node.h"
#include "server/outbound.h"
#include "server/server_internal.h"
#include "server/shared_settings.h"
#include "store/node_store.h"
#include "store/shared_store.h"

/* Together below the ten seconds that a stop may take; what still hangs then (a name lookup, a disk) is left behind. */
enum { HTTP_GRACE_MS = 7500, PUSH_GRACE_MS = 1500, STOP_S = 10, OTHERS_MS = 60 * 1000 };

void server_done(void *ctx, const struct http_request *request, int status, int64_t duration_us)
{
	char text[8];

	g_snprintf(text, sizeof(text), "%d", status);
	pom_metric_add(POM_METRIC_HTTP_REQUESTS, text, 1);
}

/* The standard of all SCEP profiles, as far as the settings say it. */
static struct scep_profile *standard_profile(const struct settings *s)
{
	struct scep_profile *profile = scep_profile_new("default");

	profile->legacy = settings_bool(s, SETTING_SCEP_LEGACY) || settings_bool(s, SETTING_SCEP_DES);
	profile->legacy_des = settings_bool(s, SETTING_SCEP_DES);
	profile->days = settings_int(s, SETTING_DEVICE_DAYS);
	return profile;
}

static char *ca_url(const struct settings *s)
{
	const char *set = settings_text(s, SETTING_CA_URL);

	if (set && !strcmp(set, "none"))
		return NULL;
	return g_strdup(set ? set : settings_text(s, SETTING_URL));
}

static struct service_settings service_settings(const struct settings *s)
{
	return (struct service_settings){
		.url = g_strdup(settings_text(s, SETTING_URL)),
		.organization = g_strdup(settings_text(s, SETTING_ORGANIZATION) ? settings_text(s, SETTING_ORGANIZATION) : "Pomona"),
		.enroll_unsigned = settings_bool(s, SETTING_ENROLL_UNSIGNED),
		.enroll_fingerprint = settings_bool(s, SETTING_ENROLL_FINGERPRINT),
		.enroll_include_root = settings_bool(s, SETTING_ENROLL_ROOT),
		.access_rights = settings_int(s, SETTING_ENROLL_RIGHTS),
		.key_size = (int)settings_int(s, SETTING_ENROLL_KEYSIZE),
		.profile = standard_profile(s),
		.link_ttl_s = settings_int(s, SETTING_ENROLL_TTL) * 3600,
		.library_deliver_ms = settings_int(s, SETTING_LIBRARY_DELIVER) * 86400000,
		.library_answer_ms = settings_int(s, SETTING_LIBRARY_ANSWER) * 3600000,
		.command_expire_ms = settings_int(s, SETTING_COMMAND_EXPIRE) * 86400000,
		.inventory_ms = settings_int(s, SETTING_INVENTORY_HOURS) * 3600000,
		.inventory_queries = inventory_queries_parse(settings_text(s, SETTING_INVENTORY_QUERIES) ? settings_text(s, SETTING_INVENTORY_QUERIES) : "", NULL),
		.expired_grace_s = settings_int(s, SETTING_CA_GRACE) * 86400,
		.revoked_unenroll = settings_bool(s, SETTING_CA_UNENROLL),
		.own_tls = !settings_text(s, SETTING_TLS_CERTIFICATE),
		.ca_url = ca_url(s),
		.identity_source = g_strdup(settings_text(s, SETTING_IDENTITY_SOURCE) ? settings_text(s, SETTING_IDENTITY_SOURCE) : "scep"),
		.identity_outside = g_strdup(settings_text(s, SETTING_IDENTITY_OUTSIDE) ? settings_text(s, SETTING_IDENTITY_OUTSIDE) : ""),
		.pkcs12_modern = settings_bool(s, SETTING_IDENTITY_MODERN),
		.device_attributes = ota_wanted_parse(settings_text(s, SETTING_ENROLL_ATTRIBUTES) ? settings_text(s, SETTING_ENROLL_ATTRIBUTES) : "", NULL),
		.watch_policy = watch_policy_find(settings_text(s, SETTING_ENROLL_WATCH)),
		.profile_cipher = profile_cipher_nid(settings_text(s, SETTING_ENROLL_CIPHER)),
		.contact = g_strdup(settings_text(s, SETTING_CONTACT)),
		.enroll_ota = !g_strcmp0(settings_text(s, SETTING_ENROLL_METHOD), "ota"),
	};
}

static int find_log_level(const char *name)
{
	static const char *const names[POM_LOG_LEVEL_MAX] = {"error", "warning", "notice", "info", "debug"};

	for (int i = 0; i < POM_LOG_LEVEL_MAX; i++)
		if (!g_strcmp0(name, names[i]))
			return i;
	return -1;
}

static bool check_inventory(const struct settings *s, GError **error)
{
	const char *text = settings_text(s, SETTING_INVENTORY_QUERIES);
	g_auto(GStrv) queries = inventory_queries_parse(text ? text : "", error);

	return queries != NULL;
}

static bool check_log_level(const struct settings *s, GError **error)
{
	const char *level = settings_text(s, SETTING_LOG_LEVEL);

	if (find_log_level(level) >= 0)
		return true;
	return pom_fail(error, POM_ERR_CONFIG, "server.log_level must be error, warning, notice, info or debug, not \"%s\"", level ? level : "");
}

/* The file may have been edited: what devices are told must be exactly what a checked URL looks like. */
static bool check_public_url(const struct settings *s, GError **error)
{
	const char *url = settings_text(s, SETTING_URL);
	g_autofree char *checked = NULL;

	if (!url)
		return pom_fail(error, POM_ERR_CONFIG, "server.url is empty: it is the URL that devices reach this server by");
	checked = settings_check_url(url, error);
	if (!checked)
		return false;
	return !strcmp(checked, url) ? true : pom_fail(error, POM_ERR_CONFIG, "server.url must be written as %s, not %s", checked, url);
}

static bool check_identity(const struct settings *s, GError **error)
{
	static const char *const sources[] = {"scep", "pkcs12", "scep-proxy", "scep-direct", NULL};
	const char *source = settings_text(s, SETTING_IDENTITY_SOURCE);

	if (source && !g_strv_contains(sources, source))
		return pom_fail(error, POM_ERR_CONFIG, "identity.source must be scep, pkcs12, scep-proxy or scep-direct, not \"%s\"", source);
	if (source && g_str_has_prefix(source, "scep-") && !settings_text(s, SETTING_IDENTITY_OUTSIDE))
		return pom_fail(error, POM_ERR_CONFIG, "identity.source is %s, but identity.outside does not say which outside CA", source);
	return true;
}

static bool check_devices(const struct settings *s, GError **error)
{
	const char *watch = settings_text(s, SETTING_ENROLL_WATCH), *attributes = settings_text(s, SETTING_ENROLL_ATTRIBUTES);
	g_auto(GStrv) wanted = ota_wanted_parse(attributes ? attributes : "", error);

	if (!wanted)
		return false;
	return watch_policy_find(watch) < WATCH_POLICY_MAX || pom_fail(error, POM_ERR_CONFIG, "enroll.watch must be supervised, any or off, not \"%s\"", watch ? watch : "");
}

static bool check_profile_cipher(const struct settings *s, GError **error)
{
	const char *name = settings_text(s, SETTING_ENROLL_CIPHER);

	return profile_cipher_nid(name) ? true : pom_fail(error, POM_ERR_CONFIG, "enroll.profile_cipher must be aes256, aes128 or 3des, not \"%s\"", name ? name : "");
}

/* What the page of a link says. */
static bool check_page(const struct settings *s, GError **error)
{
	static const char *const methods[] = {"profile", "ota", NULL}, *const steps[] = {"auto", "always", "never", NULL};
	const char *method = settings_text(s, SETTING_ENROLL_METHOD), *step = settings_text(s, SETTING_ENROLL_TRUST);

	if (method && !g_strv_contains(methods, method))
		return pom_fail(error, POM_ERR_CONFIG, "enroll.method must be profile or ota, not \"%s\"", method);
	if (step && !g_strv_contains(steps, step))
		return pom_fail(error, POM_ERR_CONFIG, "enroll.trust_step must be auto, always or never, not \"%s\"", step);
	return true;
}

static bool check_signer(const struct settings *s, GError **error)
{
	const char *signer = settings_text(s, SETTING_PROFILES_SIGNER);

	if (g_strcmp0(signer, "own") && g_strcmp0(signer, "tls"))
		return pom_fail(error, POM_ERR_CONFIG, "profiles.signer must be own or tls, not \"%s\"", signer ? signer : "");
	if (!strcmp(signer, "tls") && (!settings_text(s, SETTING_TLS_CERTIFICATE) || !settings_text(s, SETTING_TLS_KEY)))
		return pom_fail(error, POM_ERR_CONFIG, "profiles.signer is tls, but tls.certificate and tls.key do not name your own certificate: the one that Pomona's CA makes for TLS has a new key each time");
	return true;
}

/* It stands in certificates. */
static bool check_ca_url(const struct settings *s, GError **error)
{
	const char *url = settings_text(s, SETTING_CA_URL);

	if (!url || !strcmp(url, "none"))
		return true;
	if ((!g_str_has_prefix(url, "http://") && !g_str_has_prefix(url, "https://")) || g_str_has_suffix(url, "/") || strpbrk(url, " ?#"))
		return pom_fail(error, POM_ERR_CONFIG, "ca.public_url must look like http://ca.example.org, without a slash at the end, or be none");
	return true;
}

static bool check_settings(const struct settings *s, GError **error)
{
	static const struct { enum setting setting; int64_t min, max; } ranges[] = {
		{SETTING_WORKERS, 1, 1024}, {SETTING_LOOPS, 0, 64}, {SETTING_QUEUE, 1, 1000000}, {SETTING_DRAIN, 0, 3600}, {SETTING_ENROLL_RIGHTS, 1, 8191},
		{SETTING_ENROLL_TTL, 1, 8760}, {SETTING_DEVICE_DAYS, 1, 3650}, {SETTING_APNS_EXPIRATION, 0, 30}, {SETTING_CA_GRACE, 0, 3650},
		{SETTING_LIBRARY_DELIVER, 1, 3650}, {SETTING_LIBRARY_ANSWER, 1, 8760}, {SETTING_COMMAND_EXPIRE, 0, 3650}, {SETTING_COMMAND_KEEP, 0, 36500}, {SETTING_TIMELINE_DAYS, 1, 3650},
		{SETTING_INVENTORY_HOURS, 0, 8784}, {SETTING_DOCTOR_HOURS, 0, 8760}, {SETTING_DOCTOR_TIMEOUT, 1, 60}, {SETTING_PUSH_RATE, 0, 1000000}, {SETTING_STORE_WAIT, 0, 86400}, {SETTING_APNS_CONNECTIONS, 1, 8},
		{SETTING_NODE_LEASE, 5, 300},
	};
	int64_t key_size = settings_int(s, SETTING_ENROLL_KEYSIZE);

	for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++) {
		const struct setting_row *row = &setting_table[ranges[i].setting];
		int64_t value = settings_int(s, ranges[i].setting);

		if (value < ranges[i].min || value > ranges[i].max)
			return pom_fail(error, POM_ERR_CONFIG, "%s.%s must be between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT ", not \"%s\"", row->section, row->key, ranges[i].min, ranges[i].max, settings_text(s, ranges[i].setting));
	}
	if (key_size != 2048 && key_size != 4096)
		return pom_fail(error, POM_ERR_CONFIG, "enroll.key_size must be 2048 or 4096");
	if (settings_text(s, SETTING_TLS_KEY) && !settings_text(s, SETTING_TLS_CERTIFICATE))
		return pom_fail(error, POM_ERR_CONFIG, "tls.key is set but tls.certificate is not");
	return check_log_level(s, error) && check_inventory(s, error) && check_public_url(s, error) && check_identity(s, error) && check_ca_url(s, error) && check_profile_cipher(s, error) && check_page(s, error) &&
	       check_devices(s, error) && check_signer(s, error);
}

/* Settings that lower the guard are said aloud at every start. */
static bool apply_legacy(const struct settings *s, GError **error)
{
	if (settings_bool(s, SETTING_SCEP_DES)) {
		pom_log(POM_LOG_WARNING, "scep.legacy_des is on: single DES is broken and forbidden by RFC 8894; switch it off when no client needs it", NULL);
		if (!keys_load_legacy(error))
			return false;
	}
	if (settings_bool(s, SETTING_ENROLL_UNSIGNED))
		pom_log(POM_LOG_WARNING, "enroll.unsigned_profiles is on: devices show enrollment profiles as not verified", NULL);
	if (profile_cipher_nid(settings_text(s, SETTING_ENROLL_CIPHER)) == NID_des_ede3_cbc)
		pom_log(POM_LOG_WARNING, "enroll.profile_cipher is 3des: it has 112 bits of strength and no future; set aes256 when no old device needs it", NULL);
	return true;
}

static void set_log_level(const struct settings *s)
{
	int level = find_log_level(settings_text(s, SETTING_LOG_LEVEL));

	if (level >= 0)
		pom_log_set_level((enum pom_log_level)level);
}

/* root-ca.pem holds what devices are given: while a rekey runs the roots of both generations. */
static bool write_roots(struct server *server, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(server->service);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set), certs = g_ptr_array_new();

	for (guint i = 0; i < anchors->len; i++)
		g_ptr_array_add(certs, ((const struct authority *)g_ptr_array_index(anchors, i))->cert);
	return datadir_write_roots(server->dir, (X509 *const *)certs->pdata, certs->len, error);
}

static void reload_tls(void *ctx)
{
	g_autoptr(GError) error = NULL;

	if (!server_tls_load(ctx, &error))
		pom_log(POM_LOG_ERROR, "the TLS certificate could not be changed", "why", error->message, NULL);
}

/* Devices wait for their new roots and identities, and people for the file. */
static void library_changed(void *ctx)
{
	server_janitor_nudge(ctx);
}

static void ca_changed(void *ctx)
{
	struct server *server = ctx;
	g_autoptr(GError) error = NULL;

	if (!write_roots(server, &error))
		pom_log(POM_LOG_ERROR, "the file with the root certificates could not be written", "why", error->message, NULL);
	server_profile_signer_note(server);
	server_janitor_hurry(server);
}

/* Whether another node was there in the last minute: what it makes for devices names the URL that it knows. */
static bool find_others(struct server *server, bool *ret, GError **error)
{
	const char *own = settings_text(server->settings, SETTING_NODE_NAME) ? settings_text(server->settings, SETTING_NODE_NAME) : g_get_host_name();
	struct node_look look = {0};

	*ret = false;
	if (!store_node_look(server->store, &look, error))
		return false;
	for (guint i = 0; i < look.nodes->len; i++) {
		const struct node_row *row = &g_array_index(look.nodes, struct node_row, i);

		*ret = *ret || (strcmp(row->name, own) && row->seen_ms > look.now_ms - OTHERS_MS);
	}
	node_look_clear(&look);
	return true;
}

/* Devices know the server by the URL that they were given: another one makes them strangers. */
static bool check_url_change(struct server *server, GError **error)
{
	const char *url = settings_text(server->settings, SETTING_URL);
	g_autofree char *known = NULL;
	int64_t live;
	bool others;

	if (!store_setting_get(server->store, "public_url", &known, error))
		return false;
	if (known && strcmp(known, url)) {
		if (!store_live_count(server->store, &live, error) || !find_others(server, &others, error))
			return false;
		if (others)
			return pom_fail(error, POM_ERR_CONFIG, "server.url is %s here, but other nodes of this database serve %s: it is the same on all nodes", url, known);
		if (live && !settings_bool(server->settings, SETTING_URL_CHANGE))
			return pom_fail(error, POM_ERR_CONFIG, "server.url is %s now, but %" G_GINT64_FORMAT " enrolled device(s) know this server as %s, and Apple devices do not take another one:"
			                " keep the old name working, or start once with --set server.allow_url_change=true and enroll them again", url, live, known);
		pom_log(POM_LOG_WARNING, "the public URL has changed", "from", known, "to", url, NULL);
	}
	return (known && !strcmp(known, url)) || store_setting_put(server->store, "public_url", url, error);
}

static void wake_push(void *ctx)
{
	struct server *server = ctx;

	if (server->pusher)
		pusher_wake(server->pusher);
}

static void push_changed(void *ctx)
{
	struct server *server = ctx;

	if (server->pusher)
		pusher_reload(server->pusher);
}

/* Another node, or this one, has changed something: the janitor compares what is in memory at each of its turns, and now at once. By a thread of the driver. */
static void on_hint(void *ctx, const char *word)
{
	struct server *server = ctx;

	if ((!word || shared_kind_is_hint(word)) && atomic_load(&server->janitor_runs))
		server_janitor_told(server, false);
	server_node_told(server, word);
}

static bool new_service(struct server *server, const struct seal *seal, GError **error)
{
	struct service_settings settings = service_settings(server->settings);

	if (!checkin_settings_load(server->settings, pom_clock_now_ms(pom_clock_system()), &settings, error) || !server_push_settings(server->settings, &settings, error)) {
		service_settings_clear(&settings);
		return false;
	}
	server->service = service_new(server->store, seal, settings, pom_clock_system(), pom_random_system(), error);
	return server->service != NULL;
}

static bool open_service(struct server *server, GError **error)
{
	bool ok;
	g_autofree char *key = datadir_path(server->dir, DATADIR_SEAL), *url = datadir_store_url(server->dir, server->settings);
	struct seal seal;

	if (!seal_load_file(key, pom_random_system(), &seal, error))
		return false;
	if (settings_text(server->settings, SETTING_CA_PKCS11) && !keys_load_pkcs11(settings_text(server->settings, SETTING_CA_PKCS11), error))
		return false;
	if (!server_store_open(server, url, error) || !server_node_open(server, error) || !server_node_check_key(server, &seal, error) || !check_url_change(server, error))
		return false;
	/* Our own key opens the keys of the CA: it is the right one. */
	ok = new_service(server, &seal, error) && server_node_keep_key(server, &seal, error);
	explicit_bzero(&seal, sizeof(seal));
	if (!ok || !service_keep_served(server->service, error))
		return false;
	server->service->wake_push = wake_push;
	server->service->push_changed = push_changed;
	server->service->wake_ctx = server;
	server->service->reload_tls = reload_tls;
	server->service->reload_tls_ctx = server;
	server->service->library_changed = library_changed;
	server->service->library_changed_ctx = server;
	server->service->ca_changed = ca_changed;
	server->service->ca_changed_ctx = server;
	store_listen(server->store, on_hint, server);
	server->service->outbound = server_outbound();
	service_warn_profiles(server->service);
	return !store_is_shared(server->store) || shared_settings_note(server->store, server->settings, error);
}

static bool may_push(void *ctx)
{
	return server_node_check(ctx, NULL);
}

static bool open_pusher(struct server *server, GError **error)
{
	struct push_settings push = {settings_text(server->settings, SETTING_APNS_URL), settings_text(server->settings, SETTING_APNS_ROOT),
	                             settings_int(server->settings, SETTING_APNS_EXPIRATION) * 86400, settings_int(server->settings, SETTING_PUSH_RATE),
	                             settings_int(server->settings, SETTING_APNS_CONNECTIONS), settings_text(server->settings, SETTING_APNS_PROXY),
	                             settings_text(server->settings, SETTING_APNS_PROXY_PASSWORD), settings_int(server->settings, SETTING_NODE_LEASE) * 1000, may_push, server};

	server->pusher = pusher_new(server->store, &server->service->seal, &push, pom_clock_system(), pom_random_system(), error);
	return server->pusher != NULL;
}

/* Where devices connect: as set, else every address at the URL's port; loopback when the URL itself is loopback. */
static char *device_address(const struct settings *s)
{
	const char *set = settings_text(s, SETTING_LISTEN);
	uint16_t port;
	g_autofree char *host = settings_url_host(settings_text(s, SETTING_URL), &port);

	if (set)
		return g_strdup(set);
	if (!strcmp(host, "localhost") || g_str_has_prefix(host, "127."))
		return g_strdup_printf("127.0.0.1:%u", port);
	if (!strcmp(host, "::1"))
		return g_strdup_printf("[::1]:%u", port);
	return g_strdup_printf("0.0.0.0:%u", port);
}

static bool open_http(struct server *server, GError **error)
{
	const struct settings *s = server->settings;
	g_autofree char *device = device_address(s), *socket_path = datadir_path(server->dir, DATADIR_SOCKET), *socket_address = g_strconcat("unix:", socket_path, NULL);
	const char *plain = settings_text(s, SETTING_HTTP_LISTEN), *admin = settings_text(s, SETTING_ADMIN_LISTEN);
	int64_t loops = settings_int(s, SETTING_LOOPS);
	struct http_server_config config = {(unsigned)(loops ? loops : CLAMP(sysconf(_SC_NPROCESSORS_ONLN), 1, 64)), (unsigned)settings_int(s, SETTING_WORKERS),
	                                    (unsigned)settings_int(s, SETTING_QUEUE), http_limits_default};
	const char *mtls = settings_text(s, SETTING_MTLS_LISTEN), *proxy = settings_text(s, SETTING_PROXY_LISTEN), *forwarded = settings_text(s, SETTING_PROXY_FORWARDED);
	struct http_listener listeners[6];
	size_t n = 0;

	listeners[n++] = (struct http_listener){.name = "device", .address = device, .fd = -1, .routes = device_routes, .ctx = server, .refuse = device_refuse,
	                                        .admit = device_admit, .done = server_done, .tls = server_tls_get, .proxies = server->proxies, .forwarded = forwarded};
	listeners[n++] = (struct http_listener){.name = "socket", .address = socket_address, .fd = -1, .routes = admin_routes, .ctx = server, .refuse = admin_refuse, .admit = admin_admit, .done = server_done};
	if (admin)
		listeners[n++] = (struct http_listener){.name = "admin", .address = admin, .fd = -1, .routes = admin_routes, .ctx = server, .refuse = admin_refuse, .admit = admin_admit, .done = server_done};
	if (plain)
		listeners[n++] = (struct http_listener){.name = "plain", .address = plain, .fd = -1, .routes = plain_routes, .ctx = server, .refuse = device_refuse, .done = server_done,
		                                        .proxies = server->proxies, .forwarded = forwarded};
	if (mtls)
		listeners[n++] = (struct http_listener){.name = "mtls", .address = mtls, .fd = -1, .routes = mtls_routes, .ctx = server, .refuse = device_refuse, .admit = device_admit, .done = server_done,
		                                        .tls = server_mtls_get};
	if (proxy)
		listeners[n++] = (struct http_listener){.name = "proxy", .address = proxy, .fd = -1, .routes = device_routes, .ctx = server, .refuse = device_refuse, .admit = device_admit, .done = server_done,
		                                        .proxies = server->proxies, .forwarded = forwarded, .only_proxies = true};
	for (size_t i = 0; i < n; i++)
		server_proxy_apply(server, &listeners[i]);
	server->http = http_server_new(&config, listeners, n, error);
	return server->http != NULL;
}

/* For scripts: which ports are ours, and that we are ready. */
static bool announce(struct server *server, GError **error)
{
	uint16_t device = http_server_port(server->http, "device");
	/* 0 when there is no such listener. */
	uint16_t admin = http_server_port(server->http, "admin"), plain = http_server_port(server->http, "plain"), mtls = http_server_port(server->http, "mtls"), proxy = http_server_port(server->http, "proxy");
	g_autofree char *path = datadir_path(server->dir, DATADIR_PORTS), *store_url = datadir_store_url(server->dir, server->settings), *shown = store_url_show(store_url);
	g_autoptr(json_t) ports = NULL;
	g_autoptr(GBytes) text = NULL;
	char device_text[8], admin_text[8];

	ports = json_pack("{s:i, s:s, s:i, s:i, s:i, s:i, s:i}", "pid", (int)getpid(), "node", server_node_id(server), "device_port", device, "admin_port", admin, "http_port", plain, "mtls_port", mtls, "proxy_port", proxy);
	text = json_format(ports);
	if (!datadir_write_file(path, g_bytes_get_data(text, NULL), g_bytes_get_size(text), 0644, error))
		return false;
	g_snprintf(device_text, sizeof(device_text), "%u", device);
	g_snprintf(admin_text, sizeof(admin_text), "%u", admin);
	pom_log(POM_LOG_NOTICE, "serving", "url", settings_text(server->settings, SETTING_URL), "device_port", device_text, "admin_port", admin ? admin_text : NULL,
	        "store", shown, "version", POMONA_VERSION, NULL);
	return true;
}

static void read_tls_again(struct server *server)
{
	g_autoptr(GError) error = NULL;

	if (!server_tls_load(server, &error))
		pom_log(POM_LOG_ERROR, "TLS certificate not changed", "why", error->message, NULL);
	else if (!server_profile_signer_load(server, &error))
		pom_log(POM_LOG_ERROR, "TLS certificate read again, but the signer of profiles not changed", "why", error->message, NULL);
	else
		pom_log(POM_LOG_NOTICE, "TLS certificate read again", NULL);
}

/* The signal that ends the serving: SIGTERM or SIGINT. */
static int wait_for_end(struct server *server, const sigset_t *signals)
{
	int number;

	while ((number = sigwaitinfo(signals, NULL)) != SIGTERM && number != SIGINT)
		if (number == SIGHUP)
			read_tls_again(server);
	return number;
}

/* Everything goes on, but who asks is told to go elsewhere; until the time is over, or somebody does not want to wait: the next SIGTERM or SIGINT. */
static void drain(struct server *server, const sigset_t *signals)
{
	const char *seconds = settings_text(server->settings, SETTING_DRAIN);
	int64_t end_us = g_get_monotonic_time() + settings_int(server->settings, SETTING_DRAIN) * G_USEC_PER_SEC, left_us;
	int number = 0;

	pom_log(POM_LOG_NOTICE, "draining: not ready any more, the next signal ends it", "seconds", seconds, NULL);
	/* In this order: whoever has seen that the node is not ready finds each connection end with its reply. */
	http_server_drain(server->http);
	atomic_store(&server->draining, true);
	while (number != SIGTERM && number != SIGINT && (left_us = end_us - g_get_monotonic_time()) > 0)
		number = sigtimedwait(signals, NULL, &(struct timespec){left_us / G_USEC_PER_SEC, left_us % G_USEC_PER_SEC * 1000});
}

/* Each idle connection is a descriptor: take as many as the system allows. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Everything acknowledged is durable: ending here loses what a crash would lose, nothing. */
static void *end_in_time(void *ctx)
{
	g_usleep(STOP_S * G_USEC_PER_SEC - G_USEC_PER_SEC / 2);
	pom_log(POM_LOG_WARNING, "stopping took too long: ending without waiting for the rest", NULL);
	_exit(0);
}

static void watch_stop(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, end_in_time, NULL) == 0)
		pthread_detach(thread);
}

static void close_all(struct server *server)
{
	g_autofree char *ports = datadir_path(server->dir, DATADIR_PORTS);

	http_server_free(server->http);
	server_doctor_free(server);
	pusher_free(server->pusher, PUSH_GRACE_MS);
	service_free(server->service);
	store_close(server->store);
	server_node_free(server);
	SSL_CTX_free(server->tls);
	SSL_CTX_free(server->mtls);
	server_proxy_clear(server);
	X509_free(server->tls_cert);
	pthread_mutex_destroy(&server->tls_lock);
	unlink(ports);
}

bool server_run(const char *dir, const struct settings *settings, GError **error)
{
	struct server server = {.dir = dir, .settings = settings};
	sigset_t signals;
	bool ok;
	int lock;

	set_log_level(settings);
	if (!check_settings(settings, error) || !apply_legacy(settings, error))
		return false;
	lock = datadir_lock(dir, error);
	if (lock < 0)
		return false;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	raise_limits();
	pthread_mutex_init(&server.tls_lock, NULL);
	ok = open_service(&server, error) && write_roots(&server, error) && server_tls_load(&server, error) && server_profile_signer_load(&server, error) && server_proxy_load(&server, error) && open_http(&server, error) && open_pusher(&server, error) && announce(&server, error);
	if (ok) {
		server_look_start(&server);
		server_janitor_start(&server);
		server_node_start(&server);
		server_doctor_start(&server);
		http_server_start(server.http);
		pusher_wake(server.pusher);
		if (wait_for_end(&server, &signals) == SIGTERM && settings_int(settings, SETTING_DRAIN))
			drain(&server, &signals);
		pom_log(POM_LOG_NOTICE, "stopping", NULL);
		watch_stop();
		server_doctor_stop(&server);
		http_server_stop(server.http, HTTP_GRACE_MS);
		server_janitor_stop(&server);
		server_look_stop(&server);
		server_node_stop(&server);
	}
	close_all(&server);
	close(lock);
	if (server.ended_early) {
		pom_log(POM_LOG_NOTICE, "stopped before the database was there", NULL);
		g_clear_error(error);
	}
	return ok || server.ended_early;
}
