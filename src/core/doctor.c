/* The table of rules, and how its findings are said. */
#include "core/doctor.h"

#include <string.h>

static const struct doctor_rule rules[] = {
#include "doctor_rules.inc"
};

const struct doctor_rule *doctor_rules(size_t *ret_n)
{
	*ret_n = G_N_ELEMENTS(rules);
	return rules;
}

const struct doctor_rule *doctor_rule_find(const char *id)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (!strcmp(rules[i].id, id))
			return &rules[i];
	return NULL;
}

json_t *doctor_rules_format(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
		const struct doctor_rule *rule = &rules[i];
		g_autofree char *systems = finding_systems_text(rule->systems);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s?}", "id", rule->id, "group", rule->group, "severity", finding_severity_name(rule->severity), "systems", systems,
		                                      "since", rule->since, "text", rule->text, "mend", rule->mend, "source", rule->source));
	}
	return json_pack("{s:o}", "rules", list);
}

static void say(const struct doctor *doctor, const struct doctor_rule *rule, enum finding_severity severity, unsigned systems, const char *path, const char *text)
{
	if (!(systems & doctor->systems))
		return;
	if (!finding_report_has(doctor->report, rule->id, path, text))
		finding_add(doctor->report, rule->id, severity, systems, path, 0, rule->mend, "%s", text);
}

void doctor_say(const struct doctor *doctor, const char *id, const char *path, const char *format, ...)
{
	const struct doctor_rule *rule = doctor_rule_find(id);
	g_autofree char *text = NULL, *valid = NULL;
	va_list args;

	g_assert(rule);
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	valid = g_utf8_make_valid(text, -1);
	say(doctor, rule, rule->severity, rule->systems, path, valid);
}

void doctor_say_as(const struct doctor *doctor, const char *id, enum finding_severity severity, unsigned systems, const char *path, const char *format, ...)
{
	const struct doctor_rule *rule = doctor_rule_find(id);
	g_autofree char *text = NULL, *valid = NULL;
	va_list args;

	g_assert(rule);
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	valid = g_utf8_make_valid(text, -1);
	say(doctor, rule, severity, systems, path, valid);
}
