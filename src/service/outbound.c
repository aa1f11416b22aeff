#include "service/outbound.h"

#include <string.h>

typedef GUri uri;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(uri, g_uri_unref)

void outbound_reply_clear(struct outbound_reply *reply)
{
	g_clear_pointer(&reply->body, g_bytes_unref);
	g_clear_pointer(&reply->content_type, g_free);
	reply->status = 0;
}

static bool is_this_machine(const char *host)
{
	return !g_ascii_strcasecmp(host, "localhost") || !strcmp(host, "::1") || (g_str_has_prefix(host, "127.") && g_hostname_is_ip_address(host));
}

/* What stands in a URL that can be called; NULL for any other text. */
static uri *parse(const char *url)
{
	g_autoptr(uri) parsed = url ? g_uri_parse(url, G_URI_FLAGS_NONE, NULL) : NULL;
	bool good = parsed && (!strcmp(g_uri_get_scheme(parsed), "https") || !strcmp(g_uri_get_scheme(parsed), "http")) && g_uri_get_host(parsed) &&
	            *g_uri_get_host(parsed) && !g_uri_get_userinfo(parsed) && !g_uri_get_fragment(parsed);

	return good ? g_steal_pointer(&parsed) : NULL;
}

bool outbound_is_private(const char *url)
{
	g_autoptr(uri) parsed = parse(url);

	return parsed && (!strcmp(g_uri_get_scheme(parsed), "https") || is_this_machine(g_uri_get_host(parsed)));
}

bool outbound_check_url(const char *url, bool allow_plain, GError **error)
{
	g_autoptr(uri) parsed = parse(url);

	/* The text itself stays out of the message: it may hold a password in the wrong place. */
	if (!parsed)
		return pom_fail(error, POM_ERR_CONFIG, "a URL to call must read https://host[:port]/path or http://…, without a user name or fragment");
	if (!allow_plain && !outbound_is_private(url))
		return pom_fail(error, POM_ERR_CONFIG, "http://%s is not protected on its way: use https, or an address of this machine", g_uri_get_host(parsed));
	return true;
}
