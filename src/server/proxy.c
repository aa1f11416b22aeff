/* Proxies in front of the server: their settings, and the certificates that they pass on. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "codec/client_cert.h"
#include "http/forwarded.h"
#include "server/server_internal.h"

enum { SELDOM_MS = 60 * 1000, HEADERS_MAX = 8, HEADER_NAME_MAX = 64 };

/* As proxy.protocol names them, and what they are called in logs. */
static const struct { const char *setting, *listener; } protocol_listeners[] = {{"device", "device"}, {"mtls", "mtls"}, {"http", "plain"}, {"admin", "admin"}};

/* Headers that mean something else, or that browsers and devices send by themselves. */
static bool may_hold_certificate(const char *name)
{
	static const char *const others[] = {"mdm-signature", "host", "content-type", "content-length", "transfer-encoding", "connection", "forwarded", "x-forwarded-for", "authorization", "user-agent",
	                                     "accept", "cookie", NULL};
	g_autofree char *lower = g_ascii_strdown(name, -1);
	size_t len = strlen(name);

	return len <= HEADER_NAME_MAX && strspn(lower, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && !g_strv_contains(others, lower);
}

static bool load_headers(struct server *server, GError **error)
{
	const char *text = settings_text(server->settings, SETTING_PROXY_CERTIFICATE);
	g_auto(GStrv) parts = g_strsplit_set(text ? text : "", ", \t", -1);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; parts[i]; i++) {
		if (!*parts[i])
			continue;
		if (!may_hold_certificate(parts[i]))
			return pom_fail(error, POM_ERR_CONFIG, "proxy.certificate_header: \"%s\" cannot be the header for client certificates: name one of letters, digits and hyphens that nothing else uses, such as Client-Cert", parts[i]);
		g_ptr_array_add(names, g_strdup(parts[i]));
	}
	if (names->len > HEADERS_MAX)
		return pom_fail(error, POM_ERR_CONFIG, "proxy.certificate_header names more than %d headers", HEADERS_MAX);
	g_ptr_array_add(names, NULL);
	server->certificate_headers = (char **)g_ptr_array_free(g_steal_pointer(&names), FALSE);
	return true;
}

static bool check_forwarded(const struct settings *s, GError **error)
{
	const char *name = settings_text(s, SETTING_PROXY_FORWARDED);

	if (!name || !g_ascii_strcasecmp(name, "X-Forwarded-For") || !g_ascii_strcasecmp(name, "Forwarded"))
		return true;
	return pom_fail(error, POM_ERR_CONFIG, "proxy.forwarded_header must be X-Forwarded-For, Forwarded or empty, not \"%s\"", name);
}

/* Its name in the log; NULL: there is none that could be behind a load balancer. */
static const char *find_listener(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(protocol_listeners); i++)
		if (!strcmp(protocol_listeners[i].setting, name))
			return protocol_listeners[i].listener;
	return NULL;
}

static bool load_protocol(struct server *server, GError **error)
{
	const char *text = settings_text(server->settings, SETTING_PROXY_PROTOCOL);
	g_auto(GStrv) parts = g_strsplit_set(text ? text : "", ", \t", -1);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; parts[i]; i++) {
		if (!*parts[i])
			continue;
		if (!find_listener(parts[i]))
			return pom_fail(error, POM_ERR_CONFIG, "proxy.protocol: \"%s\" is none of device, mtls, http and admin%s", parts[i],
			                strcmp(parts[i], "proxy") ? "" : ": at proxy.listen a header says who the client is (proxy.forwarded_header)");
		g_ptr_array_add(names, g_strdup(find_listener(parts[i])));
	}
	g_ptr_array_add(names, NULL);
	server->protocol = (char **)g_ptr_array_free(g_steal_pointer(&names), FALSE);
	return true;
}

static bool is_behind_balancer(const struct server *server, const char *listener)
{
	return g_strv_contains((const char *const *)server->protocol, listener);
}

void server_proxy_apply(struct server *server, struct http_listener *listener)
{
	if (!is_behind_balancer(server, listener->name))
		return;
	listener->balancers = server->proxies;
	listener->proxies = NULL;
}

bool server_proxy_load(struct server *server, GError **error)
{
	static const enum setting need_addresses[] = {SETTING_PROXY_LISTEN, SETTING_PROXY_CERTIFICATE, SETTING_PROXY_PROTOCOL};
	const struct settings *s = server->settings;
	const char *addresses = settings_text(s, SETTING_PROXY_ADDRESSES);

	for (unsigned i = 0; i < G_N_ELEMENTS(need_addresses); i++)
		if (settings_text(s, need_addresses[i]) && !addresses)
			return pom_fail(error, POM_ERR_CONFIG, "proxy.%s is set, but proxy.addresses does not say which proxies are yours", setting_table[need_addresses[i]].key);
	server->proxies = addresses ? http_networks_parse(addresses, error) : NULL;
	if (addresses && !server->proxies) {
		g_prefix_error(error, "proxy.addresses: ");
		return false;
	}
	if (!load_headers(server, error) || !load_protocol(server, error) || !check_forwarded(s, error))
		return false;
	if (addresses)
		pom_log(POM_LOG_NOTICE, "what these addresses say of their clients is believed", "proxies", addresses, "certificates", settings_text(s, SETTING_PROXY_CERTIFICATE), "peers",
		        settings_text(s, SETTING_PROXY_FORWARDED), "protocol", settings_text(s, SETTING_PROXY_PROTOCOL), NULL);
	return true;
}

void server_proxy_clear(struct server *server)
{
	http_networks_free(server->proxies);
	g_strfreev(server->certificate_headers);
	g_strfreev(server->protocol);
}

/* Counts once more; whether it is to be said now, and how often it has happened since it was said last. */
static bool is_due(struct server *server, struct seldom *seldom, char ret_times[16])
{
	int64_t now_ms = service_now_ms(server->service), last_ms = atomic_load(&seldom->said_ms);
	unsigned n = atomic_fetch_add(&seldom->n, 1) + 1;

	if ((last_ms && now_ms - last_ms < SELDOM_MS) || !atomic_compare_exchange_strong(&seldom->said_ms, &last_ms, now_ms))
		return false;
	atomic_fetch_sub(&seldom->n, n);
	g_snprintf(ret_times, 16, "%u", n);
	return true;
}

/* What is said of a connection that is refused before a request. */
static const struct refused { enum pom_error reason; const char *text, *advice; } refused_connections[SERVER_REFUSED_CONNECTIONS] = {
	{POM_ERR_PROXY_UNLISTED, "a connection was refused: its address is not in proxy.addresses", "have devices come through the load balancer; if this is one of yours, add it to proxy.addresses"},
	{POM_ERR_PROXY_HEADER, "a connection of a load balancer was refused", "have it send the PROXY protocol (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or take this listener out of proxy.protocol"},
	{POM_ERR_HTTP_CONNECTIONS, "a connection was refused", "if this is the address of a proxy or load balancer of yours, set proxy.addresses; if it passes TLS through, proxy.protocol too"},
};

/* Whoever connects can be refused as often as it likes. */
bool server_connection_refused(struct server *server, const struct http_request *head, enum pom_error reason, const char *detail)
{
	const char *id = pom_error_info(reason)->id;
	unsigned i = 0;
	char times[16];

	while (i < G_N_ELEMENTS(refused_connections) && refused_connections[i].reason != reason)
		i++;
	/* Where proxies send requests, it is the request that is refused. */
	if (i == G_N_ELEMENTS(refused_connections) || (reason == POM_ERR_PROXY_UNLISTED && !is_behind_balancer(server, head->listener)))
		return false;
	pom_metric_add(POM_METRIC_REFUSED, id, 1);
	if (is_due(server, &server->refused[i], times))
		pom_log(POM_LOG_WARNING, refused_connections[i].text, "reason", id, "listener", head->listener, "peer", head->peer, "why", detail, "advice", refused_connections[i].advice, "times", times, NULL);
	return true;
}

/* Somebody tries, or a proxy is missing from the list. */
static void log_ignored(struct server *server, const struct http_request *request, const char *header)
{
	char text[16];

	if (!is_due(server, &server->ignored, text))
		return;
	pom_log(POM_LOG_WARNING, "a client certificate in a header was ignored: it did not come from a listed proxy", "header", header, "peer", request->peer, "listener", request->listener, "times", text, NULL);
}

/* The one certificate in the headers that may hold one; NULL when there is none. */
static bool read_headers(struct server *server, const struct http_request *request, GBytes **ret, GError **error)
{
	g_autoptr(GBytes) found = NULL;

	for (unsigned i = 0; i < request->headers->len; i++) {
		const struct http_header *header = &g_array_index(request->headers, struct http_header, i);
		g_autoptr(GBytes) der = NULL;
		unsigned k = 0;

		while (server->certificate_headers[k] && g_ascii_strcasecmp(server->certificate_headers[k], header->name))
			k++;
		if (!server->certificate_headers[k])
			continue;
		if (!request->proxy) {
			log_ignored(server, request, server->certificate_headers[k]);
			return true;
		}
		if (!client_cert_parse(header->value, &der, error)) {
			g_prefix_error(error, "%s: ", server->certificate_headers[k]);
			return false;
		}
		if (der && found)
			return pom_fail(error, POM_ERR_IDENTITY_HEADER, "%s: the request holds a second client certificate: the proxy must delete what its client sends", server->certificate_headers[k]);
		if (der)
			found = g_steal_pointer(&der);
	}
	*ret = g_steal_pointer(&found);
	return true;
}

bool server_proof(struct server *server, const struct http_request *request, struct device_proof *ret, GError **error)
{
	*ret = (struct device_proof){.mdm_signature = http_request_header(request, "Mdm-Signature")};
	if (http_request_header_count(request, "Mdm-Signature") > 1)
		return pom_fail(error, POM_ERR_IDENTITY_SIGNATURE, "there are two Mdm-Signature headers");
	if (request->client_cert) {
		ret->certificate = g_bytes_ref(request->client_cert);
		return true;
	}
	return read_headers(server, request, &ret->certificate, error);
}
