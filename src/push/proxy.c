#include "push/proxy.h"

#include <stdlib.h>
#include <string.h>

static const char *environment(const char *lower, const char *upper)
{
	const char *value = getenv(lower);

	if (!value || !*value)
		value = getenv(upper);
	return value && *value ? value : NULL;
}

static bool is_loopback(const char *host)
{
	return !g_ascii_strcasecmp(host, "localhost") || (g_str_has_prefix(host, "127.") && g_hostname_is_ip_address(host)) || !strcmp(host, "::1");
}

/* "example.org" and ".example.org" stand for the name and all below it; "*" for everything; a port after a colon is for that port only. */
static bool is_excepted(const char *list, const char *host, const char *port)
{
	g_auto(GStrv) items = g_strsplit_set(list ? list : "", ", ", -1);

	for (char **item = items; *item; item++) {
		char *colon = g_hostname_is_ip_address(*item) ? NULL : strrchr(*item, ':');
		const char *name = **item == '.' ? *item + 1 : *item;
		size_t n, len = strlen(host);

		if (colon && strcmp(colon + 1, port))
			continue;
		if (colon)
			*colon = '\0';
		n = strlen(name);
		if (!strcmp(name, "*") || (n && n <= len && !g_ascii_strcasecmp(host + len - n, name) && (n == len || host[len - n - 1] == '.')))
			return true;
	}
	return false;
}

/* "user:password" → the value of Proxy-Authorization. */
static char *format_basic(const char *text)
{
	g_autofree char *encoded = g_base64_encode((const guchar *)text, strlen(text));

	return g_strconcat("Basic ", encoded, NULL);
}

static bool read_password(const char *file, struct dial_config *config, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) inner = NULL;

	if (!g_file_get_contents(file, &text, NULL, &inner))
		return pom_fail(error, POM_ERR_CONFIG, "apns.proxy_password_file: %s", inner->message);
	text[strcspn(text, "\r\n")] = '\0';
	if (!strchr(text, ':'))
		return pom_fail(error, POM_ERR_CONFIG, "apns.proxy_password_file %s must hold \"user:password\" in its first line", file);
	config->proxy_authorization = format_basic(text);
	explicit_bzero(text, strlen(text));
	return true;
}

static bool parse(const char *url, const char *where, bool may_have_password, struct dial_config *config, GError **error)
{
	g_autofree char *whole = strstr(url, "://") ? g_strdup(url) : g_strconcat("http://", url, NULL);
	g_autoptr(GUri) uri = g_uri_parse(whole, G_URI_FLAGS_NONE, NULL);
	const char *host = uri ? g_uri_get_host(uri) : NULL, *user = uri ? g_uri_get_userinfo(uri) : NULL;

	if (!host || !*host || strcmp(g_uri_get_scheme(uri), "http"))
		return pom_fail(error, POM_ERR_CONFIG, "%s must look like http://proxy.example.org:3128", where);
	if (user && !may_have_password)
		return pom_fail(error, POM_ERR_CONFIG, "%s must not have a user and a password in it: put \"user:password\" into a file, and its name into apns.proxy_password_file", where);
	config->proxy_host = g_strdup(host);
	config->proxy_port = g_strdup_printf("%d", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : 80);
	if (user)
		config->proxy_authorization = format_basic(user);
	return true;
}

bool push_proxy_find(const char *setting, const char *password_file, struct dial_config *config, GError **error)
{
	const char *url = setting ? setting : environment("https_proxy", "HTTPS_PROXY");

	if (!url || !strcmp(url, "none"))
		return true;
	if (!setting && (is_loopback(config->host) || is_excepted(environment("no_proxy", "NO_PROXY"), config->host, config->port)))
		return true;
	if (!parse(url, setting ? "apns.proxy" : "https_proxy in the environment", !setting, config, error))
		return false;
	if (password_file)
		g_clear_pointer(&config->proxy_authorization, g_free);
	return !password_file || read_password(password_file, config, error);
}

void push_proxy_clear(struct dial_config *config)
{
	g_clear_pointer(&config->proxy_host, g_free);
	g_clear_pointer(&config->proxy_port, g_free);
	if (config->proxy_authorization)
		explicit_bzero(config->proxy_authorization, strlen(config->proxy_authorization));
	g_clear_pointer(&config->proxy_authorization, g_free);
}
