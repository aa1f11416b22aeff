/* The header of the PROXY protocol, versions 1 and 2 (HAProxy's specification): what a load balancer that passes on bytes sends first on each connection, to say whose it is. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest header in bytes, with all that senders append to addresses; longer ones are refused. */
enum { HTTP_PROXY_HEADER_MAX = 4096 };

struct http_proxy_header {
	size_t len;             /* bytes of the header; what follows is the client's */
	bool has_source;        /* false: the sender speaks for itself, or does not know for whom (LOCAL, UNKNOWN, unspecified) */
	struct in6_addr source; /* the client's address; IPv4 in its mapped form (RFC 4291 §2.5.5.2) */
};

enum http_proxy_header_state {
	HTTP_PROXY_HEADER_MORE, /* all bytes given belong to the header, and it goes on */
	HTTP_PROXY_HEADER_DONE, /* *RET is set */
	HTTP_PROXY_HEADER_BAD,  /* no header, or none that is taken; *RET_WHY says why, a constant */
};

/* Reads the header at the beginning of LEN bytes. What cannot become a header is BAD at its first wrong byte. Strict: one form of each address and port, TCP over IPv4 and IPv6 alone,
 * everything appended within bounds, a checksum (CRC32c) that is there must be right. */
enum http_proxy_header_state http_proxy_header_parse(const uint8_t *data, size_t len, struct http_proxy_header *ret, const char **ret_why);
