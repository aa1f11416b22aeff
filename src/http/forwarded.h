/* Proxies in front of the server: which addresses are theirs, and whom they say they speak for.
 *
 * What a listed proxy says of the address of its client is believed only as far as listed proxies have written it: the header is read from the right, and the first address
 * that is not a listed proxy's is the peer. Whatever stands left of it came from that peer and may be invented. */
#pragma once

#include "http/http.h"

/* A list of addresses and networks; immutable, any thread. */
struct http_networks;

enum { HTTP_NETWORKS_MAX = 256 };

/* "127.0.0.1, 10.1.0.0/16 ::1, 2001:db8::/32" (separated by commas or spaces, at most HTTP_NETWORKS_MAX) → list, transfer full. An IPv4-mapped IPv6 address is the IPv4 address. POM_ERR_CONFIG names the part
 * that is none, has bits beyond its prefix, or is everybody (/0). */
struct http_networks *http_networks_parse(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void http_networks_free(struct http_networks *networks); /* NULL is fine */
/* Whether ADDRESS (text; anything that is no IP address is in no list) is listed. */
bool http_networks_contain(const struct http_networks *networks, const char *address);

/* The peer that a listed proxy at the address PROXY speaks for, by the headers of HEAD that are named NAME: "Forwarded" is read as RFC 7239 §4 ("for=…"), any other as a list
 * of addresses (X-Forwarded-For), with or without port. All lines of the header are one list (RFC 9110 §5.3). What is no address ("unknown", "_hidden", garbage) ends the
 * search: the last proxy that was believed is then the peer. Text of an IP address, transfer full; PROXY itself when there is no header. */
char *http_forwarded_peer(const struct http_request *head, const char *name, const struct http_networks *proxies, const char *proxy);
