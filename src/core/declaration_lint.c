#include "core/declaration_lint.h"

#include <string.h>

enum { LINES_MAX = 100000, PATH_BYTES_MAX = 1000 }; /* of values whose lines are told; below longer paths, that of what they stand in */

/* ---- lines ---- */

/* Walks text that was parsed already, so it is well-formed JSON of bounded depth, and notes the line of each value by its path (NULL: no more). */
struct walker {
	const char *p, *end;
	int line;
	GHashTable *lines; /* path → line */
};

static void skip_space(struct walker *w)
{
	for (; w->p < w->end && g_ascii_isspace(*w->p); w->p++)
		w->line += *w->p == '\n';
}

/* Past the quote at its end; what stands between, as it is written; transfer full. */
static char *take_string(struct walker *w)
{
	const char *start = ++w->p;

	for (; w->p < w->end && *w->p != '"'; w->p++)
		w->p += *w->p == '\\' && w->p + 1 < w->end;
	w->p = MIN(w->p + 1, w->end);
	return g_strndup(start, (gsize)MAX(w->p - 1 - start, 0));
}

static void walk(struct walker *w, const char *path);

static void walk_members(struct walker *w, const char *path)
{
	unsigned index = 0;
	bool is_array = *w->p++ == '[';

	for (skip_space(w); w->p < w->end && *w->p != '}' && *w->p != ']'; skip_space(w)) {
		g_autofree char *key = is_array ? g_strdup_printf("[%u]", index++) : take_string(w), *below = NULL;

		if (path && strlen(path) + strlen(key) < PATH_BYTES_MAX && g_hash_table_size(w->lines) < LINES_MAX) {
			below = g_strconcat(path, is_array || !*path ? "" : ".", key, NULL);
			g_hash_table_insert(w->lines, g_strdup(below), GINT_TO_POINTER(w->line));
		}
		skip_space(w);
		if (!is_array && w->p < w->end)
			w->p++;
		walk(w, below);
		skip_space(w);
		if (w->p < w->end && *w->p == ',')
			w->p++;
	}
	w->p += w->p < w->end;
}

static void walk(struct walker *w, const char *path)
{
	skip_space(w);
	if (w->p < w->end && (*w->p == '{' || *w->p == '['))
		walk_members(w, path);
	else if (w->p < w->end && *w->p == '"')
		g_free(take_string(w));
	else
		while (w->p < w->end && !strchr(",]}", *w->p) && !g_ascii_isspace(*w->p))
			w->p++;
}

/* That of PATH, or of what it stands in. */
static int find_line(GHashTable *lines, const char *path)
{
	g_autofree char *at = g_strdup(path);

	while (lines && *at) {
		int line = GPOINTER_TO_INT(g_hash_table_lookup(lines, at));
		char *dot = strrchr(at, '.'), *bracket = strrchr(at, '[');

		if (line)
			return line;
		*(dot && (!bracket || dot > bracket) ? dot : bracket ? bracket : at) = '\0';
	}
	return 0;
}

/* ---- findings ---- */

static enum lint_rule_id rule_of(int code)
{
	static const struct { int code; enum lint_rule_id rule; } rules[] = {
		{POM_ERR_JSON, LINT_DECLARATION_JSON}, {POM_ERR_TOO_LARGE, LINT_DECLARATION_JSON}, {POM_ERR_DECLARATION_IDENTIFIER, LINT_DECLARATION_IDENTIFIER}, {POM_ERR_DECLARATION_TYPE, LINT_DECLARATION_TYPE},
		{POM_ERR_DECLARATION_KEY, LINT_DECLARATION_KEY}, {POM_ERR_DECLARATION_PREDICATE, LINT_DECLARATION_PREDICATE}, {POM_ERR_DECLARATION_REFERENCE, LINT_DECLARATION_REFERENCE},
		{POM_ERR_DECLARATION_CYCLE, LINT_DECLARATION_CYCLE},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (rules[i].code == code)
			return rules[i].rule;
	return LINT_DECLARATION_FORM;
}

static void say(struct lint_report *report, enum lint_rule_id id, bool is_error, const char *path, int line, const char *text)
{
	const struct lint_rule *rule = lint_rule(id);

	finding_add(report->found, rule->id, is_error ? FINDING_ERROR : FINDING_WARNING, rule->systems, path, line, rule->mend, "%s", text);
}

static char *join(const char *prefix, const char *path)
{
	return g_strconcat(prefix, *prefix && *path ? "." : "", path, NULL);
}

static void add_findings(struct lint_report *report, const GPtrArray *findings, const char *prefix, GHashTable *lines)
{
	for (guint i = 0; i < findings->len; i++) {
		const struct declaration_finding *f = g_ptr_array_index(findings, i);
		g_autofree char *path = join(prefix, f->path);

		say(report, rule_of(f->code), f->is_error, path, find_line(lines, path), f->what);
	}
}

void declaration_lint_add(struct lint_report *report, const GPtrArray *findings, const char *prefix)
{
	add_findings(report, findings, prefix, NULL);
}

/* ---- one file ---- */

struct part { char *prefix; struct declaration declaration; GPtrArray *references; };

static void part_free(void *data)
{
	struct part *part = data;

	declaration_clear(&part->declaration);
	g_clear_pointer(&part->references, g_ptr_array_unref);
	g_free(part->prefix);
	g_free(part);
}

struct look { struct lint_report *report; GHashTable *lines, *known; GPtrArray *parts; };

/* prefix is taken. */
static void read_part(struct look *look, const json_t *json, char *prefix)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) findings = NULL;
	struct part *part = g_new0(struct part, 1), *same;

	part->prefix = prefix;
	if (!declaration_read(json, &part->declaration, &error)) {
		enum lint_rule_id rule = rule_of(error->code);
		g_autofree char *path = join(prefix, rule == LINT_DECLARATION_IDENTIFIER ? "Identifier" : rule == LINT_DECLARATION_TYPE ? "Type" : "");

		say(look->report, rule, true, path, find_line(look->lines, path), error->message);
		part_free(part);
		return;
	}
	findings = declaration_check(&part->declaration);
	same = g_hash_table_lookup(look->known, part->declaration.identifier);
	if (same)
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_IDENTIFIER, "Identifier", "is that of %s too: each declaration has its own", same->prefix);
	add_findings(look->report, findings, prefix, look->lines);
	part->references = declaration_references(&part->declaration);
	g_ptr_array_add(look->parts, part);
	g_hash_table_insert(look->known, part->declaration.identifier, part);
}

/* What it names in the same file must be of the right type. */
static void check_references(const struct look *look, const struct part *part, GHashTable *edges)
{
	g_autoptr(GPtrArray) findings = declaration_findings_new();
	GPtrArray *targets = g_ptr_array_new();

	for (guint i = 0; i < part->references->len; i++) {
		const struct declaration_reference *r = part->references->pdata[i];
		const struct part *other = g_hash_table_lookup(look->known, r->target);

		g_ptr_array_add(targets, r->target);
		if (other && r->types && !declaration_type_fits(r->types, other->declaration.type))
			declaration_add_finding(findings, true, POM_ERR_DECLARATION_REFERENCE, r->path, "names \"%.64s\", which is a %s; it must be %s", r->target, other->declaration.type, r->types);
	}
	g_hash_table_insert(edges, part->declaration.identifier, targets);
	add_findings(look->report, findings, part->prefix, look->lines);
}

static void check_cycle(const struct look *look, const struct part *part, GHashTable *edges)
{
	g_autofree char *way = declaration_find_cycle(edges, part->declaration.identifier), *text = way ? g_strdup_printf("the declaration leads back to itself: %s", way) : NULL;

	if (text)
		say(look->report, LINT_DECLARATION_CYCLE, true, part->prefix, find_line(look->lines, part->prefix), text);
}

static void check_together(const struct look *look)
{
	g_autoptr(GHashTable) edges = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_ptr_array_unref);

	for (guint i = 0; i < look->parts->len; i++)
		check_references(look, look->parts->pdata[i], edges);
	for (guint i = 0; i < look->parts->len; i++) {
		const struct part *part = look->parts->pdata[i];

		if (g_hash_table_lookup(look->known, part->declaration.identifier) == part)
			check_cycle(look, part, edges);
	}
}

/* The number in "line 3, column 4: …". */
static int line_of_error(const char *message)
{
	return g_str_has_prefix(message, "line ") ? (int)g_ascii_strtoll(message + 5, NULL, 10) : 0;
}

static json_t *parse(struct lint_report *report, const char *data, size_t len)
{
	g_autoptr(GError) error = NULL;
	json_t *json;

	if (len > DECLARATION_LINT_MAX) {
		say(report, LINT_DECLARATION_JSON, true, "", 0, "the file is larger than any that is looked at");
		return NULL;
	}
	json = json_parse(data, len, &error);
	if (!json)
		say(report, LINT_DECLARATION_JSON, true, "", line_of_error(error->message), error->message);
	return json;
}

struct lint_report *declaration_lint(const char *target, const void *data, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct lint_report *report = lint_report_new(target);
	size_t skip = len >= 3 && !memcmp(data, bom, 3) ? 3 : 0;
	const char *text = (const char *)data + skip;
	g_autoptr(json_t) json = parse(report, text, len - skip);
	g_autoptr(GHashTable) lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), known = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(part_free);
	struct look look = {report, lines, known, parts};

	if (!json)
		return report;
	walk(&(struct walker){text, text + (len - skip), 1, lines}, "");
	if (!json_is_array(json))
		read_part(&look, json, g_strdup(""));
	for (size_t i = 0; json_is_array(json) && i < json_array_size(json); i++)
		read_part(&look, json_array_get(json, i), g_strdup_printf("[%zu]", i));
	if (json_is_array(json) && !json_array_size(json))
		say(report, LINT_DECLARATION_FORM, true, "", 0, "the array is empty: there is no declaration");
	check_together(&look);
	return report;
}
