/* A table for people, JSON for programs. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static GArray *figures;
static const char *section = "";

void report_section(const char *text)
{
	section = text;
}

void report_add(struct figure figure)
{
	g_autofree char *name = g_strconcat(section, figure.name, NULL);

	figure.name = g_intern_string(name);
	if (!figures)
		figures = g_array_new(FALSE, FALSE, sizeof(struct figure));
	g_array_append_val(figures, figure);
	bench_say("  %-70s %10.3f %s", figure.name, figure.value, figure.unit);
}

static bool is_reached(const struct figure *f)
{
	return f->at_least ? f->value >= f->target : f->value <= f->target;
}

static void print_row(const struct figure *f)
{
	char target[32] = "", raw[96] = "";

	if (f->target > 0)
		g_snprintf(target, sizeof(target), "%s %g %s", f->at_least ? "≥" : "≤", f->target, is_reached(f) ? "yes" : "NO");
	if (f->raw_name)
		g_snprintf(raw, sizeof(raw), "%.3f × %.2f  (%s)", f->raw, f->value / f->raw, f->raw_name);
	/* "≥" has three bytes and one column. */
	printf("%-66s %10.3f %-9s %-*s %s\n", f->name, f->value, f->unit, f->target > 0 ? 18 : 16, target, raw);
}

static json_t *figure_json(const struct figure *f)
{
	json_t *o = json_pack("{s:s, s:s, s:f}", "name", f->name, "unit", f->unit, "value", f->value);

	if (f->target > 0) {
		json_object_set_new(o, "target", json_real(f->target));
		json_object_set_new(o, "target_is_minimum", json_boolean(f->at_least));
		json_object_set_new(o, "reached", json_boolean(is_reached(f)));
	}
	if (f->raw_name) {
		json_object_set_new(o, "raw_name", json_string(f->raw_name));
		json_object_set_new(o, "raw", json_real(f->raw));
		json_object_set_new(o, "ratio", json_real(f->value / f->raw));
	}
	return o;
}

static void print_json(void)
{
	json_t *list = json_array(), *root;

	for (guint i = 0; i < figures->len; i++)
		json_array_append_new(list, figure_json(&g_array_index(figures, struct figure, i)));
	root = json_pack("{s:s, s:I, s:o}", "version", POMONA_VERSION, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "figures", list);
	json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	puts("");
	json_decref(root);
}

void report_print(bool json)
{
	if (json) {
		print_json();
		return;
	}
	printf("%-66s %10s %-9s %-16s %s\n", "", "figure", "", "target", "raw × ratio");
	for (guint i = 0; figures && i < figures->len; i++)
		print_row(&g_array_index(figures, struct figure, i));
}
