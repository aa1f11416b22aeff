/* A query as an administrator types it: whatever is accepted keeps its maxima, needs only names that are in it, and can be asked of any device. The text may be followed by a NUL and a fact. */
#include <string.h>

#include "core/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *fact(void *ctx, const char *name)
{
	return strcmp(name, "F") ? ctx : "{\"a\": [1, \"x\", {\"b\": true}]}";
}

static const char *attribute(void *ctx, const char *name)
{
	return strlen(name) % 2 ? "17.2" : NULL;
}

static void check_names(const char *text, const char *const *names)
{
	for (; *names; names++)
		g_assert(**names && strlen(*names) <= strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size), *value = strlen(text) + 1 < size ? g_strndup((const char *)data + strlen(text) + 1, size - strlen(text) - 1) : NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(query) query = query_parse(text, &error);
	struct query_device device = {.id = "E1", .serial = "S", .product_name = "iPad13,4", .os_version = "17.0", .enrolled_ms = 1, .now_ms = INT64_C(1) << 40, .fact = fact, .attribute = attribute, .ctx = value};

	g_assert(!query == (error != NULL));
	if (!query) {
		g_assert(g_utf8_validate(error->message, -1, NULL) || !g_utf8_validate(text, -1, NULL));
		return 0;
	}
	g_assert(strlen(text) <= QUERY_LENGTH_MAX);
	check_names(text, query_attributes(query));
	query_match(query, &device);
	query_match(query, &(struct query_device){.now_ms = 0});
	return 0;
}
