/* Whatever an administrator uploads or a device reports: variables, secrets, reasons, facts. What is made of it can be written and keeps its maxima. */
#include <string.h>

#include "core/fact.h"
#include "core/library.h"
#include "core/variables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A value that tries to get out of its string. */
static const char *value_of(void *ctx, const char *name)
{
	return strcmp(name, "serial") ? "</string><key>${serial}</key><true/>]]>&amp;$${x}" : NULL;
}

static void check_shape(const plist *before, const plist *after)
{
	enum plist_type type = plist_get_type(before);

	g_assert(plist_get_type(after) == type && plist_count(after) == plist_count(before));
	if (type != PLIST_DICT && type != PLIST_ARRAY) {
		g_assert(type == PLIST_STRING || plist_equal(before, after));
		return;
	}
	for (size_t i = 0; i < plist_count(before); i++) {
		g_assert(type == PLIST_ARRAY || !strcmp(plist_dict_key(before, i), plist_dict_key(after, i)));
		check_shape(plist_child(before, i), plist_child(after, i));
	}
}

static void check_variables(const plist *tree)
{
	size_t n = 0;
	bool ok = variables_check(tree, &n, NULL);
	g_autoptr(plist) made = variables_substitute(tree, value_of, NULL, NULL);
	g_autoptr(GPtrArray) names = variables_names(tree);
	g_autoptr(GBytes) text = NULL;
	g_autoptr(plist) again = NULL;

	g_assert(!made || ok);
	g_assert(!ok || n || !names->len);
	if (!made)
		return;
	check_shape(tree, made);
	text = plist_format(made, NULL);
	g_assert(text);
	again = plist_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL, NULL);
	g_assert(!again || plist_equal(made, again));
	g_assert(n || plist_equal(tree, made));
}

static void check_report(const plist *tree)
{
	g_autofree char *reason = library_reason(plist_dict_get(tree, "ErrorChain"), REPORT_ERROR);
	g_autoptr(GArray) facts = facts_read("DeviceInformation", tree);

	/* Bytes that were cut within a character are marked by three. */
	g_assert(*reason && strlen(reason) <= LIBRARY_REASON_MAX + 8 && g_utf8_validate(reason, -1, NULL));
	g_assert(facts->len <= 2 * FACTS_PER_REPORT);
	for (guint i = 0; i < facts->len; i++)
		g_assert(strlen(g_array_index(facts, struct fact, i).name) <= FACT_NAME_MAX && strlen(g_array_index(facts, struct fact, i).value) <= FACT_VALUE_MAX);
	library_is_not_there(plist_dict_get(tree, "ErrorChain"));
	library_is_listed(tree, "org.example", "A");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(plist) tree = plist_parse(data, size, NULL, NULL);
	g_autofree char *secret = NULL;

	if (!tree)
		return 0;
	secret = library_find_secret(tree);
	if (mobileconfig_check(tree, NULL) && !library_check(tree, 1800000000, NULL))
		g_assert(plist_get_type(tree) == PLIST_DICT);
	check_variables(tree);
	check_report(tree);
	return 0;
}
