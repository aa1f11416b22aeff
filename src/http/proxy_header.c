#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <glib.h>
#include <string.h>

enum { LINE_LEN = 107, SIGNATURE_LEN = 12, FIXED_LEN = 16, TLV_HEAD = 3, TLV_CRC32C = 3, CRC_LEN = 4 };
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_MAX = 3, PROTOCOL_MAX = 2 }; /* unspecified, IPv4, IPv6, unix; unspecified, stream, datagram */
enum { TCP_IPV4 = 0x11, TCP_IPV6 = 0x21 };

static const uint8_t signature[SIGNATURE_LEN] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};
static const char line_start[] = "PROXY ";

static enum http_proxy_header_state bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return HTTP_PROXY_HEADER_BAD;
}

static void map_ipv4(const uint8_t address[4], struct in6_addr *ret)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(ret->s6_addr, prefix, sizeof prefix);
	memcpy(ret->s6_addr + sizeof prefix, address, 4);
}

/* Version 1 -------------------------------------------------------------------------------------------------------- */

static bool is_port(const char *text)
{
	guint64 port;

	return g_ascii_isdigit(*text) && (*text != '0' || !text[1]) && g_ascii_string_to_unsigned(text, 10, 0, 65535, &port, NULL);
}

static bool parse_address(int family, const char *text, struct in6_addr *ret)
{
	uint8_t v4[4];

	if (family == AF_INET6)
		return inet_pton(AF_INET6, text, ret) == 1;
	if (inet_pton(AF_INET, text, v4) != 1)
		return false;
	map_ipv4(v4, ret);
	return true;
}

/* What stands behind "PROXY ", without the line's end. */
static enum http_proxy_header_state parse_fields(const char *text, struct http_proxy_header *ret, const char **ret_why)
{
	g_auto(GStrv) fields = g_strsplit(text, " ", -1);
	struct http_proxy_header header = {.has_source = true};
	struct in6_addr target;
	int family;

	if (!g_strcmp0(fields[0], "UNKNOWN")) {
		*ret = (struct http_proxy_header){0};
		return HTTP_PROXY_HEADER_DONE;
	}
	if (g_strv_length(fields) != 5 || (strcmp(fields[0], "TCP4") && strcmp(fields[0], "TCP6")))
		return bad(ret_why, "the line of the PROXY protocol is none of the three that there are: TCP4, TCP6, UNKNOWN");
	family = fields[0][3] == '4' ? AF_INET : AF_INET6;
	if (!parse_address(family, fields[1], &header.source) || !parse_address(family, fields[2], &target) || !is_port(fields[3]) || !is_port(fields[4]))
		return bad(ret_why, "an address or port in the line of the PROXY protocol cannot be read");
	*ret = header;
	return HTTP_PROXY_HEADER_DONE;
}

static enum http_proxy_header_state parse_line(const uint8_t *data, size_t len, struct http_proxy_header *ret, const char **ret_why)
{
	size_t n = 0, start = strlen(line_start);
	enum http_proxy_header_state state;
	char text[LINE_LEN + 1];

	while (n < len && n < LINE_LEN && data[n] != '\r') {
		if (!data[n] || data[n] == '\n')
			return bad(ret_why, "the line of the PROXY protocol holds a character that it cannot");
		n++;
	}
	if (n > LINE_LEN - 2)
		return bad(ret_why, "the line of the PROXY protocol is longer than 107 characters");
	if (n + 2 > len)
		return HTTP_PROXY_HEADER_MORE;
	if (data[n + 1] != '\n')
		return bad(ret_why, "the line of the PROXY protocol does not end with CR and LF");
	memcpy(text, data + start, n - start);
	text[n - start] = '\0';
	state = parse_fields(text, ret, ret_why);
	if (state == HTTP_PROXY_HEADER_DONE)
		ret->len = n + 2;
	return state;
}

/* Version 2 -------------------------------------------------------------------------------------------------------- */

/* RFC 4960 appendix B, the LEN bytes at DATA with four zeros at SUM. */
static uint32_t crc32c(const uint8_t *data, size_t len, size_t sum)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= i - sum < CRC_LEN ? 0 : data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static uint32_t read_u32(const uint8_t *data)
{
	return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* What is appended, from AT to LEN: types, lengths, values. */
static enum http_proxy_header_state check_appended(const uint8_t *data, size_t at, size_t len, const char **ret_why)
{
	size_t sum = 0;

	while (at < len) {
		size_t n = len - at < TLV_HEAD ? len : TLV_HEAD + (size_t)(data[at + 1] << 8 | data[at + 2]);

		if (n > len - at)
			return bad(ret_why, "what the header of the PROXY protocol appends goes beyond its end");
		if (data[at] == TLV_CRC32C && (sum || n != TLV_HEAD + CRC_LEN))
			return bad(ret_why, "the header of the PROXY protocol holds two checksums, or one that is not of four bytes");
		if (data[at] == TLV_CRC32C)
			sum = at + TLV_HEAD;
		at += n;
	}
	if (sum && crc32c(data, len, sum) != read_u32(data + sum))
		return bad(ret_why, "the checksum in the header of the PROXY protocol is wrong");
	return HTTP_PROXY_HEADER_DONE;
}

/* The whole header of a connection that is passed on; LEN is the header's. */
static enum http_proxy_header_state parse_passed_on(const uint8_t *data, size_t len, struct http_proxy_header *ret, const char **ret_why)
{
	struct http_proxy_header header = {.len = len, .has_source = true};
	uint8_t kind = data[13];
	size_t address = kind == TCP_IPV4 ? 4 : 16, end = FIXED_LEN + 2 * address + 2 * sizeof(uint16_t);
	enum http_proxy_header_state state;

	if (kind >> 4 > FAMILY_MAX || (kind & 0xf) > PROTOCOL_MAX)
		return bad(ret_why, "the header of the PROXY protocol names a kind of address or connection that there is not");
	if (!(kind >> 4) || !(kind & 0xf)) {
		*ret = (struct http_proxy_header){.len = len};
		return HTTP_PROXY_HEADER_DONE;
	}
	if (kind != TCP_IPV4 && kind != TCP_IPV6)
		return bad(ret_why, "the PROXY protocol passes on something else than TCP over IPv4 or IPv6");
	if (end > len)
		return bad(ret_why, "the header of the PROXY protocol is too short for its addresses");
	state = check_appended(data, end, len, ret_why);
	if (state != HTTP_PROXY_HEADER_DONE)
		return state;
	if (kind == TCP_IPV4)
		map_ipv4(data + FIXED_LEN, &header.source);
	else
		memcpy(&header.source, data + FIXED_LEN, sizeof header.source);
	*ret = header;
	return HTTP_PROXY_HEADER_DONE;
}

static enum http_proxy_header_state parse_binary(const uint8_t *data, size_t len, struct http_proxy_header *ret, const char **ret_why)
{
	size_t whole = len >= FIXED_LEN ? FIXED_LEN + (size_t)(data[14] << 8 | data[15]) : FIXED_LEN;

	if (len > SIGNATURE_LEN && data[SIGNATURE_LEN] != COMMAND_LOCAL && data[SIGNATURE_LEN] != COMMAND_PROXY)
		return bad(ret_why, "the PROXY protocol has another version than 1 and 2, or an unknown command");
	if (whole > HTTP_PROXY_HEADER_MAX)
		return bad(ret_why, "the header of the PROXY protocol is longer than 4096 bytes");
	if (len < whole)
		return HTTP_PROXY_HEADER_MORE;
	if (data[SIGNATURE_LEN] == COMMAND_PROXY)
		return parse_passed_on(data, whole, ret, ret_why);
	*ret = (struct http_proxy_header){.len = whole};
	return HTTP_PROXY_HEADER_DONE;
}

enum http_proxy_header_state http_proxy_header_parse(const uint8_t *data, size_t len, struct http_proxy_header *ret, const char **ret_why)
{
	if (!len)
		return HTTP_PROXY_HEADER_MORE;
	if (!memcmp(data, line_start, MIN(len, strlen(line_start))))
		return len < strlen(line_start) ? HTTP_PROXY_HEADER_MORE : parse_line(data, len, ret, ret_why);
	if (!memcmp(data, signature, MIN(len, SIGNATURE_LEN)))
		return len < SIGNATURE_LEN ? HTTP_PROXY_HEADER_MORE : parse_binary(data, len, ret, ret_why);
	return bad(ret_why, "the connection does not begin with the header of the PROXY protocol");
}
