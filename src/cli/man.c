#include "cli/man.h"

#include <stdio.h>
#include <string.h>

#include "server/settings.h"

/* -o is the only short form. */
static const char *short_form(const struct cli_option *option)
{
	return option->short_name == 'o' ? "-o, " : "";
}

void man_print_help(const struct cli_verb *verb)
{
	struct cli_option options[CLI_OPTIONS_MAX];
	size_t n = cli_all_options(verb, options);

	printf("pomona %s: %s\n\nUsage: pomona %s%s%s [options]\n\n%s\n\nOptions:\n", verb->words, verb->summary, verb->words, *verb->args ? " " : "", verb->args, verb->text);
	for (size_t i = 0; i < n; i++) {
		g_autofree char *left = g_strdup_printf("%s--%s%s%s", short_form(&options[i]), options[i].name, options[i].argument ? " " : "", options[i].argument ? options[i].argument : "");

		printf("  %-26s %s\n", left, options[i].text);
	}
	printf("  %-26s %s\n", "-h, --help", "this text");
	if (strcmp(verb->words, "serve"))
		return;
	printf("\nSettings (file, environment, --set):\n");
	for (int i = 0; i < SETTING_MAX; i++)
		printf("  %s.%s = %s\n      %s\n", setting_table[i].section, setting_table[i].key, setting_table[i].value, setting_table[i].text);
}

bool man_is_of_family(const struct cli_verb *verb, const char *family)
{
	size_t len = strcspn(family, " ");

	return !strncmp(verb->words, family, len) && (verb->words[len] == ' ' || !verb->words[len]);
}

static bool has_family_before(const struct cli_verb *verb)
{
	for (const struct cli_verb *v = cli_verbs; v < verb; v++)
		if (man_is_of_family(v, verb->words))
			return true;
	return false;
}

/* All verbs, those of a family together at the place of its first one: the table is in parts that know nothing of one another. Free with g_ptr_array_unref. */
static GPtrArray *sort_verbs(void)
{
	GPtrArray *sorted = g_ptr_array_new();

	for (const struct cli_verb *first = cli_verbs; first->words; first++)
		for (const struct cli_verb *v = first; v->words && !has_family_before(first); v++)
			if (man_is_of_family(v, first->words))
				g_ptr_array_add(sorted, (void *)v);
	return sorted;
}

void man_print_verbs(const char *family)
{
	g_autoptr(GPtrArray) verbs = sort_verbs();

	printf("pomona: device management for Apple devices, in one program\n\nUsage: pomona COMMAND [options]\n\nCommands:\n");
	for (guint i = 0; i < verbs->len; i++) {
		const struct cli_verb *v = (const struct cli_verb *)verbs->pdata[i];

		if (!family || man_is_of_family(v, family))
			printf("  %-24s %s\n", v->words, v->summary);
	}
	if (family)
		printf("\n\"pomona %s … --help\" says more.\n", family);
	else
		printf("\n\"pomona COMMAND --help\" says more. Start with: pomona init --data DIR --url https://HOST\n");
}

/* Text for roff: a dot or quote at the start of a line, backslashes and dashes have meanings there. */
static void put_roff(FILE *out, const char *text)
{
	bool line_start = true;

	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			fputs("\\&", out);
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (text[0] == '\n' && text[1] == '\n')
			fputs("\n.PP", out);
		else if (*text == '\n')
			fputs("\n.br\n", out);
		else
			fputc(*text, out);
		line_start = *text == '\n';
	}
	fputc('\n', out);
}

static void put_options(FILE *out, const struct cli_verb *verb)
{
	struct cli_option options[CLI_OPTIONS_MAX];
	size_t n = cli_all_options(verb, options);

	fputs(".SH OPTIONS\n", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, ".TP\n\\fB%s\\-\\-%s\\fR%s\\fI%s\\fR\n", short_form(&options[i]), options[i].name, options[i].argument ? " " : "", options[i].argument ? options[i].argument : "");
		put_roff(out, options[i].text);
	}
}

static void put_settings(FILE *out)
{
	fputs(".SH SETTINGS\n", out);
	for (int i = 0; i < SETTING_MAX; i++) {
		fprintf(out, ".TP\n\\fB%s.%s\\fR = %s\n", setting_table[i].section, setting_table[i].key, setting_table[i].value);
		put_roff(out, setting_table[i].text);
	}
}

static bool write_page(const char *dir, const struct cli_verb *verb)
{
	g_autofree char *name = g_strdelimit(g_strdup_printf("pomona-%s", verb->words), " ", '-');
	g_autofree char *file = g_strdup_printf("%s/%s.1", dir, name);
	FILE *out = fopen(file, "we");

	if (!out)
		return false;
	fprintf(out, ".TH %s 1 \"\" \"Pomona %s\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B pomona %s\n%s [options]\n.SH DESCRIPTION\n", name, POMONA_VERSION, name, verb->summary,
	        verb->words, verb->args);
	put_roff(out, verb->text);
	put_options(out, verb);
	if (!strcmp(verb->words, "serve"))
		put_settings(out);
	fputs(".SH EXIT STATUS\n0 ok, 1 failed, 2 usage, 3 not found, 4 not authorized, 5 partly failed, 6 server not reached.\n.SH SEE ALSO\n.BR pomona (1)\n", out);
	return fclose(out) == 0;
}

int man_write_pages(const char *dir)
{
	g_autofree char *file = g_strdup_printf("%s/pomona.1", dir);
	g_autoptr(GPtrArray) verbs = sort_verbs();
	FILE *out = fopen(file, "we");

	if (!out) {
		fprintf(stderr, "pomona: %s cannot be written\n", file);
		return CLI_FAILED;
	}
	fprintf(out, ".TH pomona 1 \"\" \"Pomona %s\"\n.SH NAME\npomona \\- device management for Apple devices\n.SH SYNOPSIS\n.B pomona\n.I COMMAND\n[options]\n.SH COMMANDS\n", POMONA_VERSION);
	for (guint i = 0; i < verbs->len; i++) {
		const struct cli_verb *v = (const struct cli_verb *)verbs->pdata[i];

		fprintf(out, ".TP\n\\fB%s\\fR %s\n", v->words, v->args);
		put_roff(out, v->summary);
		if (!write_page(dir, v))
			return CLI_FAILED;
	}
	return fclose(out) == 0 ? CLI_OK : CLI_FAILED;
}
