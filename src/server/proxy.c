/* Proxies in front of the server: their settings, and the certificates that they pass on. */
#include <string.h>

#include "base/log.h"
#include "codec/client_cert.h"
#include "http/forwarded.h"
#include "server/server_internal.h"

enum { IGNORED_LOG_MS = 60 * 1000, HEADERS_MAX = 8, HEADER_NAME_MAX = 64 };

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

bool server_proxy_load(struct server *server, GError **error)
{
	static const enum setting need_addresses[] = {SETTING_PROXY_LISTEN, SETTING_PROXY_CERTIFICATE};
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
	if (!load_headers(server, error) || !check_forwarded(s, error))
		return false;
	if (addresses)
		pom_log(POM_LOG_NOTICE, "what these addresses say of their clients is believed", "proxies", addresses, "certificates", settings_text(s, SETTING_PROXY_CERTIFICATE), "peers",
		        settings_text(s, SETTING_PROXY_FORWARDED), NULL);
	return true;
}

void server_proxy_clear(struct server *server)
{
	http_networks_free(server->proxies);
	g_strfreev(server->certificate_headers);
}

/* Somebody tries, or a proxy is missing from the list: said once a minute, with how often it has happened since. */
static void log_ignored(struct server *server, const struct http_request *request, const char *header)
{
	int64_t now_ms = service_now_ms(server->service), last_ms = atomic_load(&server->ignored_logged_ms);
	unsigned n = atomic_fetch_add(&server->n_ignored, 1) + 1;
	char text[16];

	if ((last_ms && now_ms - last_ms < IGNORED_LOG_MS) || !atomic_compare_exchange_strong(&server->ignored_logged_ms, &last_ms, now_ms))
		return;
	atomic_fetch_sub(&server->n_ignored, n);
	g_snprintf(text, sizeof(text), "%u", n);
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
