#include "http/forwarded.h"

#include <arpa/inet.h>
#include <string.h>

/* IPv4 addresses are kept in their mapped form (RFC 4291 §2.5.5.2), so that one comparison serves both. */
struct network {
	uint8_t address[16];
	unsigned prefix; /* bits of the mapped form */
};

struct http_networks {
	struct network at[HTTP_NETWORKS_MAX];
	unsigned n;
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_ip(const char *text, uint8_t ret[16], bool *ret_is_v4)
{
	memcpy(ret, mapped, sizeof mapped);
	*ret_is_v4 = inet_pton(AF_INET, text, ret + sizeof mapped) == 1;
	return *ret_is_v4 || inet_pton(AF_INET6, text, ret) == 1;
}

static char *format_ip(const uint8_t address[16])
{
	char text[INET6_ADDRSTRLEN];

	if (!memcmp(address, mapped, sizeof mapped))
		inet_ntop(AF_INET, address + sizeof mapped, text, sizeof text);
	else
		inet_ntop(AF_INET6, address, text, sizeof text);
	return g_strdup(text);
}

/* Whether all bits from PREFIX on are zero. */
static bool ends_in_zeros(const uint8_t address[16], unsigned prefix)
{
	for (unsigned bit = prefix; bit < 128; bit++)
		if (address[bit / 8] & 0x80 >> bit % 8)
			return false;
	return true;
}

static bool parse_network(const char *text, struct network *ret, GError **error)
{
	const char *slash = strchr(text, '/');
	g_autofree char *host = slash ? g_strndup(text, (gsize)(slash - text)) : g_strdup(text);
	guint64 prefix;
	bool is_v4;

	if (!parse_ip(host, ret->address, &is_v4))
		return pom_fail(error, POM_ERR_CONFIG, "\"%s\" is no IP address or network: write 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32", text);
	if (!slash)
		prefix = is_v4 ? 32 : 128;
	else if (!g_ascii_string_to_unsigned(slash + 1, 10, 1, is_v4 ? 32 : 128, &prefix, NULL))
		return pom_fail(error, POM_ERR_CONFIG, "\"%s\": the prefix must be a number from 1 to %d", text, is_v4 ? 32 : 128);
	ret->prefix = (unsigned)prefix + (is_v4 ? 96 : 0);
	if (!ends_in_zeros(ret->address, ret->prefix))
		return pom_fail(error, POM_ERR_CONFIG, "\"%s\" has bits beyond its prefix: write the network's first address, or the address without a prefix", text);
	return true;
}

struct http_networks *http_networks_parse(const char *text, GError **error)
{
	g_auto(GStrv) parts = g_strsplit_set(text, ", \t", -1);
	g_autofree struct http_networks *networks = g_new0(struct http_networks, 1);

	for (unsigned i = 0; parts[i]; i++) {
		if (!*parts[i])
			continue;
		if (networks->n == HTTP_NETWORKS_MAX) {
			pom_fail(error, POM_ERR_CONFIG, "there are more than %d addresses: write networks", HTTP_NETWORKS_MAX);
			return NULL;
		}
		if (!parse_network(parts[i], &networks->at[networks->n++], error))
			return NULL;
	}
	return g_steal_pointer(&networks);
}

void http_networks_free(struct http_networks *networks)
{
	g_free(networks);
}

static bool is_in(const struct network *network, const uint8_t address[16])
{
	unsigned bytes = network->prefix / 8, bits = network->prefix % 8;

	return !memcmp(network->address, address, bytes) && (!bits || !((network->address[bytes] ^ address[bytes]) >> (8 - bits)));
}

static bool contain(const struct http_networks *networks, const uint8_t address[16])
{
	for (unsigned i = 0; i < networks->n; i++)
		if (is_in(&networks->at[i], address))
			return true;
	return false;
}

bool http_networks_contain(const struct http_networks *networks, const char *address)
{
	uint8_t bytes[16];
	bool is_v4;

	return networks && address && parse_ip(address, bytes, &is_v4) && contain(networks, bytes);
}

/* "192.0.2.1", "192.0.2.1:47", "2001:db8::1", "[2001:db8::1]:47" → the address. */
static bool parse_node(char *text, uint8_t ret[16])
{
	char *end;
	guint64 port;
	bool is_v4;

	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] && end[1] != ':') || !strchr(text, ':'))
			return false;
		*end++ = '\0';
	} else {
		end = strchr(text, ':') == strrchr(text, ':') ? strchr(text, ':') : NULL;
	}
	if (end && *end == ':') {
		if (!g_ascii_string_to_unsigned(end + 1, 10, 0, 65535, &port, NULL))
			return false;
		*end = '\0';
	}
	return parse_ip(text, ret, &is_v4);
}

/* A quoted-string (RFC 9110 §5.6.4) loses its quotes and escapes, in place. */
static bool unquote(char *text)
{
	size_t len = strlen(text), n = 0;

	if (*text != '"')
		return true;
	if (len < 2 || text[len - 1] != '"')
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		i += text[i] == '\\' && i + 1 < len - 1;
		text[n++] = text[i];
	}
	text[n] = '\0';
	return true;
}

/* Cuts TEXT at SEPARATORs outside of quotes: array of char *, without white space around, transfer full. NULL when a quote is left open. */
static GPtrArray *split(const char *text, char separator)
{
	g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
	const char *start = text;
	bool quoted = false;

	for (const char *p = text;; p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (quoted && *p == '\\' && p[1])
			p++;
		if (*p && (quoted || *p != separator))
			continue;
		g_ptr_array_add(parts, g_strstrip(g_strndup(start, (gsize)(p - start))));
		if (!*p)
			return quoted ? NULL : g_steal_pointer(&parts);
		start = p + 1;
	}
}

/* The node of the one "for" in a forwarded-element (RFC 7239 §4), transfer full; NULL when there is not exactly one. */
static char *find_for(const char *element)
{
	g_autoptr(GPtrArray) pairs = split(element, ';');
	char *node = NULL;

	for (guint i = 0; pairs && i < pairs->len; i++) {
		const char *pair = g_ptr_array_index(pairs, i);

		if (g_ascii_strncasecmp(pair, "for=", 4))
			continue;
		if (node) {
			g_free(node);
			return NULL;
		}
		node = g_strdup(pair + 4);
	}
	return node;
}

static bool parse_element(const char *element, bool is_forwarded, uint8_t ret[16])
{
	g_autofree char *node = is_forwarded ? find_for(element) : g_strdup(element);

	return node && (!is_forwarded || unquote(node)) && parse_node(node, ret);
}

/* All lines of the header as one list. */
static char *join_lines(const struct http_request *head, const char *name)
{
	GString *all = g_string_new(NULL);

	for (unsigned i = 0; i < head->headers->len; i++) {
		const struct http_header *header = &g_array_index(head->headers, struct http_header, i);

		if (!g_ascii_strcasecmp(header->name, name))
			g_string_append_printf(all, "%s%s", all->len ? "," : "", header->value);
	}
	return g_string_free(all, FALSE);
}

char *http_forwarded_peer(const struct http_request *head, const char *name, const struct http_networks *proxies, const char *proxy)
{
	bool is_forwarded = !g_ascii_strcasecmp(name, "Forwarded");
	g_autofree char *list = join_lines(head, name);
	g_autoptr(GPtrArray) elements = split(list, ',');
	char *peer = g_strdup(proxy);

	for (guint i = elements ? elements->len : 0; i-- > 0;) {
		uint8_t address[16];

		/* An empty element says nothing (RFC 9110 §5.6.1). */
		if (!*(const char *)g_ptr_array_index(elements, i))
			continue;
		if (!parse_element(g_ptr_array_index(elements, i), is_forwarded, address))
			break;
		g_free(peer);
		peer = format_ip(address);
		if (!contain(proxies, address))
			break;
	}
	return peer;
}
