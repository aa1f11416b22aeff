#include "base/apple_error.h"

#include <glib.h>
#include <string.h>

static const struct apple_error table[] = {
#include "apple_error_table.inc"
};

enum { SEARCH_MIN = 4 };

static bool is_of_domain(const struct apple_error *e, const char *domain)
{
	return !domain || !g_ascii_strcasecmp(domain, e->domain) || (g_ascii_toupper(*domain) == 'D' && !g_ascii_strcasecmp(domain + 1, e->domain));
}

const struct apple_error *apple_error_find(const char *domain, int64_t code)
{
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (!table[i].word && table[i].code == code && is_of_domain(&table[i], domain))
			return &table[i];
	return NULL;
}

const struct apple_error *apple_error_find_text(const char *text)
{
	const char *colon = strrchr(text, ':'), *code = colon ? colon + 1 : text;
	g_autofree char *domain = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
	char *end;
	int64_t number = g_ascii_strtoll(code, &end, 10);

	if (*code && !*end)
		return apple_error_find(domain, number);
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].word && !g_ascii_strcasecmp(code, table[i].word) && is_of_domain(&table[i], domain))
			return &table[i];
	return NULL;
}

static bool holds(const char *all, const char *lower)
{
	g_autofree char *text = g_ascii_strdown(all, -1);

	return strstr(text, lower) != NULL;
}

const struct apple_error *apple_error_search(const char *text, unsigned i)
{
	g_autofree char *lower = g_ascii_strdown(text, -1);

	for (size_t k = 0; strlen(text) >= SEARCH_MIN && k < G_N_ELEMENTS(table); k++)
		if ((holds(table[k].name, lower) || holds(table[k].meaning, lower)) && i-- == 0)
			return &table[k];
	return NULL;
}

const struct apple_error *apple_error_at(unsigned i)
{
	return i < G_N_ELEMENTS(table) ? &table[i] : NULL;
}
