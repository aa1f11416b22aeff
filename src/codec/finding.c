#include "codec/finding.h"

#include <string.h>

#include "base/error.h"

static const char *const severity_names[FINDING_SEVERITY_MAX] = {"note", "warning", "error"};

static const struct {
	unsigned bit;
	const char *name, *text;
} systems_table[] = {
	{FINDING_IOS, "ios", "iOS"}, {FINDING_MACOS, "macos", "macOS"}, {FINDING_WATCHOS, "watchos", "watchOS"}, {FINDING_TVOS, "tvos", "tvOS"}, {FINDING_VISIONOS, "visionos", "visionOS"},
};

static void free_finding(void *data)
{
	struct finding *finding = data;

	g_free(finding->path);
	g_free(finding->text);
	g_free(finding->mend);
	g_free(finding);
}

struct finding_report *finding_report_new(const char *target)
{
	struct finding_report *report = g_new0(struct finding_report, 1);

	report->target = g_utf8_make_valid(target, -1);
	report->findings = g_ptr_array_new_with_free_func(free_finding);
	return report;
}

void finding_report_free(struct finding_report *report)
{
	if (!report)
		return;
	g_free(report->target);
	g_ptr_array_unref(report->findings);
	g_free(report);
}

static void take(struct finding_report *report, struct finding *finding)
{
	report->n[finding->severity]++;
	if (report->findings->len < FINDINGS_MAX)
		g_ptr_array_add(report->findings, finding);
	else
		free_finding(finding);
}

void finding_add(struct finding_report *report, const char *rule, enum finding_severity severity, unsigned systems, const char *path, int line, const char *mend, const char *format, ...)
{
	struct finding *finding = g_new0(struct finding, 1);
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	*finding = (struct finding){rule, severity, systems, g_utf8_make_valid(path ? path : "", -1), line, g_utf8_make_valid(text, -1), mend ? g_utf8_make_valid(mend, -1) : NULL};
	take(report, finding);
}

bool finding_report_has(const struct finding_report *report, const char *rule, const char *path, const char *text)
{
	for (guint i = 0; i < report->findings->len; i++) {
		const struct finding *finding = report->findings->pdata[i];

		if (!strcmp(finding->rule, rule) && !strcmp(finding->path, path) && !strcmp(finding->text, text))
			return true;
	}
	return false;
}

void finding_report_merge(struct finding_report *report, struct finding_report *other)
{
	for (int s = 0; s < FINDING_SEVERITY_MAX; s++)
		report->n[s] += other->n[s];
	g_ptr_array_set_free_func(other->findings, NULL);
	for (guint i = 0; i < other->findings->len; i++) {
		if (report->findings->len < FINDINGS_MAX)
			g_ptr_array_add(report->findings, other->findings->pdata[i]);
		else
			free_finding(other->findings->pdata[i]);
	}
	finding_report_free(other);
}

void finding_report_sort(struct finding_report *report)
{
	GPtrArray *sorted = g_ptr_array_new_with_free_func(free_finding);

	for (int s = FINDING_SEVERITY_MAX - 1; s >= 0; s--)
		for (guint i = 0; i < report->findings->len; i++)
			if ((int)((struct finding *)report->findings->pdata[i])->severity == s)
				g_ptr_array_add(sorted, report->findings->pdata[i]);
	g_ptr_array_set_free_func(report->findings, NULL);
	g_ptr_array_unref(report->findings);
	report->findings = sorted;
}

const char *finding_severity_name(enum finding_severity severity)
{
	return severity_names[severity];
}

unsigned finding_system_parse(const char *name)
{
	if (!strcmp(name, "all"))
		return FINDING_ALL_SYSTEMS;
	for (size_t i = 0; i < G_N_ELEMENTS(systems_table); i++)
		if (!strcmp(systems_table[i].name, name))
			return systems_table[i].bit;
	return 0;
}

char *finding_systems_text(unsigned systems)
{
	GString *text = g_string_new(NULL);

	if ((systems & FINDING_ALL_SYSTEMS) == FINDING_ALL_SYSTEMS)
		return g_string_free(g_string_append(text, "all"), FALSE);
	for (size_t i = 0; i < G_N_ELEMENTS(systems_table); i++)
		if (systems & systems_table[i].bit)
			g_string_append_printf(text, "%s%s", text->len ? ", " : "", systems_table[i].text);
	return g_string_free(text, FALSE);
}

/* ---- JSON ---- */

static json_t *format_systems(unsigned systems)
{
	json_t *list = json_array();

	for (size_t i = 0; i < G_N_ELEMENTS(systems_table); i++)
		if (systems & systems_table[i].bit)
			json_array_append_new(list, json_string(systems_table[i].name));
	return list;
}

json_t *finding_report_format(const struct finding_report *report)
{
	json_t *list = json_array();

	for (guint i = 0; i < report->findings->len; i++) {
		const struct finding *finding = report->findings->pdata[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:s?}", "rule", finding->rule, "severity", severity_names[finding->severity], "systems", format_systems(finding->systems), "path",
		                                      finding->path, "line", finding->line ? json_integer(finding->line) : json_null(), "text", finding->text, "mend", finding->mend));
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "target", report->target, "errors", (json_int_t)report->n[FINDING_ERROR], "warnings", (json_int_t)report->n[FINDING_WARNING], "notes",
	                 (json_int_t)report->n[FINDING_NOTE], "findings", list);
}

static bool parse_severity(const char *name, enum finding_severity *ret)
{
	for (int s = 0; s < FINDING_SEVERITY_MAX; s++)
		if (!g_strcmp0(severity_names[s], name)) {
			*ret = (enum finding_severity)s;
			return true;
		}
	return false;
}

static bool parse_finding(struct finding_report *report, json_t *item, GError **error)
{
	json_t *systems, *line, *each;
	const char *rule, *severity_name, *path, *text;
	enum finding_severity severity;
	unsigned bits = 0;
	size_t i;

	if (json_unpack(item, "{s:s, s:s, s:o, s:s, s:o, s:s}", "rule", &rule, "severity", &severity_name, "systems", &systems, "path", &path, "line", &line, "text", &text))
		return pom_fail(error, POM_ERR_JSON, "a finding has rule, severity, systems, path, line and text");
	if (!parse_severity(severity_name, &severity))
		return pom_fail(error, POM_ERR_JSON, "\"%.32s\" is no severity of a finding", severity_name);
	json_array_foreach(systems, i, each)
		bits |= json_is_string(each) ? finding_system_parse(json_string_value(each)) : 0;
	finding_add(report, g_intern_string(rule), severity, bits, path, (int)json_integer_value(line), json_string_value(json_object_get(item, "mend")), "%s", text);
	return true;
}

struct finding_report *finding_report_parse(json_t *json, GError **error)
{
	const char *target = json_string_value(json_object_get(json, "target"));
	json_t *list = json_object_get(json, "findings"), *item;
	g_autoptr(finding_report) report = finding_report_new(target ? target : "");
	size_t i;

	if (!target || !json_is_array(list)) {
		pom_fail(error, POM_ERR_JSON, "a report has target and findings");
		return NULL;
	}
	json_array_foreach(list, i, item)
		if (!parse_finding(report, item, error))
			return NULL;
	return g_steal_pointer(&report);
}

/* ---- for people ---- */

static const char *const colors[FINDING_SEVERITY_MAX] = {"\033[36m", "\033[33m", "\033[31m"};

enum { INDENT = 9 };

/* TEXT from column INDENT on, wrapped at spaces. What a terminal would obey is replaced: the text may come from a stranger's certificate. */
static void append_wrapped(GString *out, const char *lead, const char *text, unsigned width)
{
	g_autofree char *plain = g_strdup(text);
	unsigned column = INDENT + (unsigned)g_utf8_strlen(lead, -1);
	bool first = true;

	for (char *c = plain; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	g_auto(GStrv) words = g_strsplit(plain, " ", -1);

	g_string_append_printf(out, "%*s%s", INDENT, "", lead);
	for (char **word = words; *word; word++) {
		unsigned len = (unsigned)g_utf8_strlen(*word, -1);

		if (!len)
			continue;
		if (width && !first && column + 1 + len > width) {
			g_string_append_printf(out, "\n%*s", (int)(INDENT + g_utf8_strlen(lead, -1)), "");
			column = INDENT + (unsigned)g_utf8_strlen(lead, -1);
			first = true;
		}
		g_string_append_printf(out, "%s%s", first ? "" : " ", *word);
		column += len + !first;
		first = false;
	}
	g_string_append_c(out, '\n');
}

static void append_finding(GString *out, const struct finding *finding, unsigned width, bool is_colored)
{
	g_autofree char *systems = finding_systems_text(finding->systems), *path = g_strdup(finding->path);

	for (char *c = path; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	g_string_append_printf(out, "%s%-8s%s %s", is_colored ? colors[finding->severity] : "", severity_names[finding->severity], is_colored ? "\033[0m" : "", finding->rule);
	if (*systems && strcmp(systems, "all"))
		g_string_append_printf(out, "  [%s]", systems);
	if (*path)
		g_string_append_printf(out, "  %s", path);
	if (finding->line)
		g_string_append_printf(out, "  line %d", finding->line);
	g_string_append_c(out, '\n');
	append_wrapped(out, "", finding->text, width);
	if (finding->mend)
		append_wrapped(out, "→ ", finding->mend, width);
}

static void append_count(GString *out, unsigned n, const char *noun)
{
	g_string_append_printf(out, "%u %s%s", n, noun, n == 1 ? "" : "s");
}

char *finding_report_text(const struct finding_report *report, unsigned width, bool is_colored)
{
	GString *out = g_string_new(NULL);

	for (int s = FINDING_SEVERITY_MAX - 1; s >= 0; s--)
		for (guint i = 0; i < report->findings->len; i++) {
			const struct finding *finding = report->findings->pdata[i];

			if ((int)finding->severity == s)
				append_finding(out, finding, width, is_colored);
		}
	g_string_append_printf(out, "%s: ", report->target);
	append_count(out, report->n[FINDING_ERROR], "error");
	g_string_append(out, ", ");
	append_count(out, report->n[FINDING_WARNING], "warning");
	g_string_append(out, ", ");
	append_count(out, report->n[FINDING_NOTE], "note");
	g_string_append_c(out, '\n');
	return g_string_free(out, FALSE);
}

/* ---- JUnit ---- */

/* Text of an attribute or element: escaped, and without the characters that XML 1.0 §2.2 has no way to write. */
static char *escape(const char *text)
{
	g_autofree char *plain = g_strdup(text);

	for (char *c = plain; *c; c++)
		if ((unsigned char)*c < ' ' && *c != '\n' && *c != '\t')
			*c = ' ';
	return g_markup_escape_text(plain, -1);
}

static void append_case(GString *out, const struct finding *finding, const char *suite)
{
	g_autofree char *path = escape(finding->path), *text = escape(finding->text), *mend = escape(finding->mend ? finding->mend : "");
	const char *element = finding->severity == FINDING_ERROR ? "failure" : "system-out";

	g_string_append_printf(out, "    <testcase classname=\"%s\" name=\"%s%s%s\">\n      ", suite, finding->rule, *path ? " " : "", path);
	if (finding->severity == FINDING_ERROR)
		g_string_append_printf(out, "<failure type=\"error\" message=\"%s\">", text);
	else
		g_string_append(out, "<system-out>");
	g_string_append_printf(out, "%s: %s%s%s</%s>\n    </testcase>\n", severity_names[finding->severity], text, *mend ? "\n" : "", mend, element);
}

char *finding_report_junit(const struct finding_report *report, const char *suite)
{
	GString *out = g_string_new("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	g_autofree char *target = escape(report->target);
	guint n = report->findings->len, n_failed = 0;

	for (guint i = 0; i < n; i++)
		n_failed += ((struct finding *)report->findings->pdata[i])->severity == FINDING_ERROR;
	g_string_append_printf(out, "<testsuites>\n  <testsuite name=\"%s\" tests=\"%u\" failures=\"%u\" errors=\"0\">\n", target, MAX(n, 1), n_failed);
	if (!n)
		g_string_append_printf(out, "    <testcase classname=\"%s\" name=\"%s\"/>\n", suite, target);
	for (guint i = 0; i < n; i++)
		append_case(out, report->findings->pdata[i], suite);
	g_string_append(out, "  </testsuite>\n</testsuites>\n");
	return g_string_free(out, FALSE);
}
