/* The first byte chooses between a list of networks and the two headers; lines of a header are divided by line ends. Whatever is said, the peer is an IP address. */
#include <arpa/inet.h>
#include <string.h>

#include "http/forwarded.h"
#include "http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_networks(const char *text)
{
	struct http_networks *networks = http_networks_parse(text, NULL);

	if (networks)
		http_networks_contain(networks, "192.0.2.1");
	http_networks_free(networks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_networks *proxies;
	g_autofree char *text = NULL, *peer = NULL;
	g_auto(GStrv) lines = NULL;
	g_autoptr(http_request) request = NULL;
	uint8_t address[16];
	const char *name;

	if (!size)
		return 0;
	text = g_strndup((const char *)data + 1, size - 1);
	if (data[0] == 'n') {
		fuzz_networks(text);
		return 0;
	}
	name = data[0] == 'f' ? "Forwarded" : "X-Forwarded-For";
	if (!proxies)
		proxies = http_networks_parse("10.0.0.0/8, ::1", NULL);
	request = http_request_new();
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		struct http_header header = {g_strdup(name), g_strdup(lines[i])};

		g_array_append_val(request->headers, header);
	}
	peer = http_forwarded_peer(request, name, proxies, "10.0.0.1");
	g_assert(inet_pton(AF_INET, peer, address) == 1 || inet_pton(AF_INET6, peer, address) == 1);
	return 0;
}
