#include "core/fact.h"

#include <string.h>

static void clear_fact(void *data)
{
	struct fact *fact = data;

	g_free(fact->name);
	g_free(fact->value);
}

/* Recovery keys, sealed to whoever escrows them: no facts about the device. */
static bool is_secret(const char *key)
{
	return g_str_has_prefix(key, "FDE_PersonalRecoveryKey");
}

static char *value_text(const plist *value)
{
	g_autoptr(json_t) json = json_from_plist(value);
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	if (text && strlen(text) > FACT_VALUE_MAX)
		g_clear_pointer(&text, free);
	return text;
}

static void add(GArray *facts, const char *prefix, const char *key, const plist *value)
{
	struct fact fact;
	char *text;

	if (facts->len >= FACTS_PER_REPORT || !*key || strlen(prefix) + strlen(key) > FACT_NAME_MAX || is_secret(key))
		return;
	text = value_text(value);
	if (!text)
		return;
	fact = (struct fact){g_strconcat(prefix, key, NULL), g_strdup(text)};
	g_array_append_val(facts, fact);
	free(text);
}

static void add_all(GArray *facts, const char *prefix, const plist *dict)
{
	for (size_t i = 0; plist_get_type(dict) == PLIST_DICT && i < plist_count(dict); i++)
		add(facts, prefix, plist_dict_key(dict, i), plist_child(dict, i));
}

GArray *facts_read(const plist *report)
{
	GArray *facts = g_array_new(FALSE, FALSE, sizeof(struct fact));

	g_array_set_clear_func(facts, clear_fact);
	add_all(facts, "", plist_dict_get(report, "QueryResponses"));
	add_all(facts, "SecurityInfo.", plist_dict_get(report, "SecurityInfo"));
	return facts;
}
