#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

static const char sig[] = "\r\n\r\n\0\r\nQUIT\n";
enum { SIG_LEN = 12 };

/* SOURCE: the address, "own" (the sender's), "more" or "bad". */
static void check(const void *data, size_t len, const char *source, size_t header_len)
{
	g_autofree uint8_t *exact = g_memdup2(data, len); /* so that a sanitizer sees a byte too far */
	struct http_proxy_header header = {.len = 7};
	const char *why = NULL;
	enum http_proxy_header_state state = http_proxy_header_parse(exact, len, &header, &why);
	char text[INET6_ADDRSTRLEN];

	if (!strcmp(source, "bad") || !strcmp(source, "more")) {
		g_assert_cmpint(state, ==, *source == 'b' ? HTTP_PROXY_HEADER_BAD : HTTP_PROXY_HEADER_MORE);
		g_assert_cmpint(why != NULL, ==, *source == 'b');
		g_assert_cmpuint(header.len, ==, 7);
		return;
	}
	g_assert_cmpstr(why, ==, NULL);
	g_assert_cmpint(state, ==, HTTP_PROXY_HEADER_DONE);
	g_assert_cmpuint(header.len, ==, header_len);
	g_assert_cmpint(header.has_source, ==, strcmp(source, "own") != 0);
	if (header.has_source)
		g_assert_cmpstr(inet_ntop(AF_INET6, &header.source, text, sizeof text), ==, source);
}

static void test_line(void)
{
	static const struct { const char *text, *source; } cases[] = {
		{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "::ffff:192.0.2.1"},
		{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "::ffff:255.255.255.255"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", "::ffff:192.0.2.1"},
		{"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"},
		{"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "::ffff:192.0.2.1"},
		{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"PROXY UNKNOWN\r\n", "own"},
		{"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "own"},
		{"PROXY UNKNOWN whatever it is\r\n", "own"},
		{"", "more"}, {"P", "more"}, {"PROXY", "more"}, {"PROXY ", "more"}, {"PROXY TCP4 192.0.2.1", "more"}, {"PROXY UNKNOWN\r", "more"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r", "more"},
		{"PUT /mdm HTTP/1.1\r\n", "bad"}, {"GET / HTTP/1.1\r\n", "bad"}, {"\x16\x03\x01", "bad"}, {"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", "bad"}, {"proxy UNKNOWN\r\n", "bad"}, {" PROXY UNKNOWN\r\n", "bad"},
		{"PROXY\r\n", "bad"}, {"PROXY \r\n", "bad"}, {"PROXY TCP4\r\n", "bad"}, {"PROXY UNKNOWN\n", "bad"}, {"PROXY UNKNOWN\rX", "bad"}, {"PROXY UNKNOWN \n\r\n", "bad"}, {"PROXY UNKNOWNS\r\n", "bad"},
		{"PROXY unknown\r\n", "bad"}, {"PROXY  UNKNOWN\r\n", "bad"}, {"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "bad"}, {"PROXY UNIX /run/x /run/y 0 0\r\n", "bad"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "bad"},
		{"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "bad"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "bad"}, {"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", "bad"},
		{"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP4 ::1 ::1 1 2\r\n", "bad"},
		{"PROXY TCP4 192.0.2.1 ::1 1 2\r\n", "bad"}, {"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "bad"}, {"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "bad"},
		{"PROXY TCP6 [::1] ::1 1 2\r\n", "bad"}, {"PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "bad"},
		/* 107 characters with the line's end are the most: here are 108. */
		{"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n", "bad"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		size_t len = strlen(cases[i].text);
		g_autofree char *behind = g_strconcat(cases[i].text, "PROXY \r\n\r\n", NULL);

		g_test_message("%s", cases[i].text);
		check(cases[i].text, len, cases[i].source, len);
		if (strcmp(cases[i].source, "more") && strcmp(cases[i].source, "bad"))
			check(behind, strlen(behind), cases[i].source, len);
	}
}

static void test_line_with_nul(void)
{
	static const char line[] = "PROXY UNKNOWN\0\r\n";

	check(line, sizeof line - 1, "bad", 0);
}

/* Without an end: 105 characters may still become a line, 106 cannot. */
static void test_endless_line(void)
{
	g_autofree char *line = g_strnfill(200, 'x');

	memcpy(line, "PROXY UNKNOWN ", 14);
	check(line, 105, "more", 0);
	check(line, 106, "bad", 0);
	check(line, 200, "bad", 0);
}

/* A header of version 2: COMMAND and KIND, then what BODY holds in hexadecimal; its length as it is. */
static GByteArray *make(uint8_t command, uint8_t kind, const char *body)
{
	GByteArray *array = g_byte_array_new();
	uint8_t rest[4] = {command, kind};
	unsigned byte;

	g_byte_array_append(array, (const uint8_t *)sig, SIG_LEN);
	g_byte_array_append(array, rest, sizeof rest);
	for (const char *p = body; *p; p += 2) {
		g_assert_cmpint(sscanf(p, "%2x", &byte), ==, 1);
		g_byte_array_append(array, &(uint8_t){(uint8_t)byte}, 1);
	}
	array->data[14] = (uint8_t)((array->len - 16) >> 8);
	array->data[15] = (uint8_t)(array->len - 16);
	return array;
}

#define V4 "c0000201" "c0000202" "d903" "01bb"
#define V6 "20010db8000000000000000000000007" "00000000000000000000000000000001" "0001" "0002"

static void test_binary(void)
{
	static const struct { uint8_t command, kind; const char *body, *source; } cases[] = {
		{0x21, 0x11, V4, "::ffff:192.0.2.1"}, {0x21, 0x21, V6, "2001:db8::7"},
		/* The sender's own: LOCAL whatever follows, and PROXY of what it cannot say. */
		{0x20, 0x00, "", "own"}, {0x20, 0x11, V4, "own"}, {0x20, 0x31, "", "own"}, {0x20, 0xff, "ffff", "own"}, {0x20, 0x00, "03ff", "own"},
		{0x21, 0x00, "", "own"}, {0x21, 0x00, V4, "own"}, {0x21, 0x10, V4, "own"}, {0x21, 0x01, "", "own"},
		/* What follows the addresses: name of a host, padding, identity of the connection, what nobody has defined. */
		{0x21, 0x11, V4 "02000161" "040000" "050004" "01020304" "ee0000", "::ffff:192.0.2.1"}, {0x21, 0x21, V6 "04000100", "2001:db8::7"},
		{0x21, 0x11, V4 "ea0005" "0176706365", "::ffff:192.0.2.1"},
		/* Beyond the end. */
		{0x21, 0x11, V4 "04", "bad"}, {0x21, 0x11, V4 "0400", "bad"}, {0x21, 0x11, V4 "040001", "bad"}, {0x21, 0x11, V4 "04ffff00", "bad"}, {0x21, 0x11, V4 "040000" "04", "bad"},
		/* Shorter than its addresses. */
		{0x21, 0x11, "", "bad"}, {0x21, 0x11, "c0000201c0000202d90301", "bad"}, {0x21, 0x21, V4, "bad"}, {0x21, 0x21, "20010db8000000000000000000000007000000000000000000000000000000010001" "00", "bad"},
		/* UDP, unix sockets, what there is not, another version, another command. */
		{0x21, 0x12, V4, "bad"}, {0x21, 0x22, V6, "bad"}, {0x21, 0x31, V4, "bad"}, {0x21, 0x32, V4, "bad"}, {0x21, 0x41, V4, "bad"}, {0x21, 0x13, V4, "bad"}, {0x21, 0x03, "", "bad"}, {0x21, 0x40, "", "bad"},
		{0x22, 0x11, V4, "bad"}, {0x11, 0x11, V4, "bad"}, {0x31, 0x11, V4, "bad"}, {0x01, 0x11, V4, "bad"}, {0x10, 0x00, "", "bad"}, {0x2f, 0x00, "", "bad"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) header = make(cases[i].command, cases[i].kind, cases[i].body);
		size_t len = header->len;

		g_test_message("%02x %02x %s", cases[i].command, cases[i].kind, cases[i].body);
		check(header->data, len, cases[i].source, len);
		g_byte_array_append(header, (const uint8_t *)"\x16\x03\x01", 3);
		check(header->data, header->len, cases[i].source, len);
	}
}

/* CRC32c, its four bytes counted as zeros. Made by another program. */
static void test_checksum(void)
{
	static const struct { uint8_t kind; const char *body, *source; } cases[] = {
		{0x11, V4 "030004" "6cdd8de1", "::ffff:192.0.2.1"},
		{0x21, V6 "02000161" "030004" "3b535c5f" "040000", "2001:db8::7"},
		{0x11, V4 "030004" "6cdd8de0", "bad"}, {0x11, V4 "030004" "ecdd8de1", "bad"}, {0x11, V4 "030004" "00000000", "bad"}, {0x11, V4 "030004" "e18ddd6c", "bad"},
		{0x11, "c0000301" "c0000202" "d903" "01bb" "030004" "6cdd8de1", "bad"},
		{0x11, V4 "030004" "6cdd8de1" "040000", "bad"},
		{0x11, V4 "030003" "6cdd8d", "bad"}, {0x11, V4 "030005" "6cdd8de100", "bad"}, {0x11, V4 "030000", "bad"},
		{0x11, V4 "030004" "6cdd8de1" "030004" "6cdd8de1", "bad"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) header = make(0x21, cases[i].kind, cases[i].body);

		g_test_message("%s", cases[i].body);
		check(header->data, header->len, cases[i].source, header->len);
	}
}

/* Every part of a header is asked to go on, and the first wrong byte ends it. */
static void test_parts(void)
{
	g_autoptr(GByteArray) header = make(0x21, 0x21, V6 "02000161");

	for (size_t len = 0; len < header->len; len++)
		check(header->data, len, "more", 0);
	for (size_t i = 0; i < SIG_LEN + 1; i++) {
		header->data[i] ^= 0x40;
		check(header->data, i + 1, "bad", 0);
		header->data[i] ^= 0x40;
	}
	check(header->data, header->len, "2001:db8::7", header->len);
}

/* 4096 bytes with all that is appended; a longer one is refused as soon as it says so. */
static void test_longest(void)
{
	g_autoptr(GByteArray) header = make(0x21, 0x11, V4);
	size_t first = header->len;

	g_byte_array_set_size(header, HTTP_PROXY_HEADER_MAX);
	memset(header->data + first, 0, HTTP_PROXY_HEADER_MAX - first);
	header->data[first] = 4;
	header->data[first + 1] = (uint8_t)((HTTP_PROXY_HEADER_MAX - first - 3) >> 8);
	header->data[first + 2] = (uint8_t)(HTTP_PROXY_HEADER_MAX - first - 3);
	header->data[14] = (HTTP_PROXY_HEADER_MAX - 16) >> 8;
	header->data[15] = (HTTP_PROXY_HEADER_MAX - 16) & 0xff;
	check(header->data, HTTP_PROXY_HEADER_MAX, "::ffff:192.0.2.1", HTTP_PROXY_HEADER_MAX);
	check(header->data, HTTP_PROXY_HEADER_MAX - 1, "more", 0);
	header->data[15]++;
	check(header->data, 16, "bad", 0);
	header->data[12] = 0x20;
	check(header->data, 16, "bad", 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/proxy-header/line", test_line);
	g_test_add_func("/proxy-header/line-with-nul", test_line_with_nul);
	g_test_add_func("/proxy-header/endless-line", test_endless_line);
	g_test_add_func("/proxy-header/binary", test_binary);
	g_test_add_func("/proxy-header/checksum", test_checksum);
	g_test_add_func("/proxy-header/parts", test_parts);
	g_test_add_func("/proxy-header/longest", test_longest);
	return g_test_run();
}
