#include "base/apple_error.h"

#include <glib.h>

#include "base/apple_error_table.h"

static const struct apple_error table[] = {
#define X(domain, code, name, meaning, causes, look_at) {domain, code, name, meaning, causes, look_at},
	APPLE_ERROR_TABLE(X)
#undef X
};

const struct apple_error *apple_error_find(const char *domain, int64_t code)
{
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		const struct apple_error *e = &table[i];

		if (e->code == code && (!domain || !g_ascii_strcasecmp(domain, e->domain) || (g_ascii_toupper(*domain) == 'D' && !g_ascii_strcasecmp(domain + 1, e->domain))))
			return e;
	}
	return NULL;
}
