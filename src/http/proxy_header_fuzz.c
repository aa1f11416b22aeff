/* What is read, is read the same however it is cut; a header ends within what was given and within its bound. */
#include <glib.h>

#include "http/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_proxy_header_state read_in_parts(const uint8_t *data, size_t size, struct http_proxy_header *ret)
{
	enum http_proxy_header_state state = HTTP_PROXY_HEADER_MORE;
	const char *why = NULL;

	for (size_t len = 0; len <= size && state == HTTP_PROXY_HEADER_MORE; len++) {
		g_autofree uint8_t *part = g_memdup2(data, len);

		state = http_proxy_header_parse(part, len, ret, &why);
	}
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_proxy_header whole = {0}, cut = {0};
	const char *why = NULL;
	enum http_proxy_header_state state;

	if (size > HTTP_PROXY_HEADER_MAX + 64)
		return 0;
	state = http_proxy_header_parse(data, size, &whole, &why);
	g_assert_cmpint(state == HTTP_PROXY_HEADER_BAD, ==, why != NULL);
	g_assert_cmpint(state, ==, read_in_parts(data, size, &cut));
	if (state != HTTP_PROXY_HEADER_DONE)
		return 0;
	g_assert_true(whole.len <= size && whole.len <= HTTP_PROXY_HEADER_MAX);
	g_assert_true(whole.len == cut.len && whole.has_source == cut.has_source && IN6_ARE_ADDR_EQUAL(&whole.source, &cut.source));
	return 0;
}
