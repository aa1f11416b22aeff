/* lint: profiles in files, without a server. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "codec/datetime.h"
#include "core/declaration_lint.h"
#include "keys/profile_file.h"
#include "server/datadir.h"
#include "server/system_roots.h"

/* What the options say; freed with wish_clear. */
struct wish {
	struct profile_file_lint how;
	GBytes *key, *cert;
	char *password;
	GPtrArray *roots;
};

static void wish_clear(struct wish *wish)
{
	g_clear_pointer(&wish->key, g_bytes_unref);
	g_clear_pointer(&wish->cert, g_bytes_unref);
	g_clear_pointer(&wish->roots, g_ptr_array_unref);
	g_clear_pointer(&wish->password, cli_forget);
}

static bool add_roots(GPtrArray *roots, const char *path, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GPtrArray) certs = NULL;
	gsize len;

	text = cli_read_file(path, &len, error);
	if (!text || !(certs = cert_parse_all(text, len, error)))
		return false;
	for (guint i = 0; i < certs->len; i++) {
		X509_up_ref(certs->pdata[i]);
		g_ptr_array_add(roots, certs->pdata[i]);
	}
	return true;
}

/* The system's, the data directory's if it can be read, those of --trust. */
static bool take_roots(const struct cli *cli, struct wish *wish, GError **error)
{
	g_autofree char *own = datadir_path(cli_data(cli), DATADIR_ROOT);
	const char *trust = cli_value(cli, "trust");

	wish->roots = system_roots_load();
	add_roots(wish->roots, own, NULL);
	wish->how.roots = wish->roots;
	return !trust || add_roots(wish->roots, trust, error);
}

static bool take_time(const char *text, int64_t *ret, GError **error)
{
	g_autofree char *whole = text && strlen(text) == 10 ? g_strconcat(text, "T00:00:00Z", NULL) : g_strdup(text);

	if (!text)
		*ret = pom_clock_now_ms(pom_clock_system()) / 1000;
	else if (!datetime_parse(whole, strlen(whole), ret))
		return pom_fail(error, POM_ERR_USAGE, "--now takes a time as 2027-01-31 or 2027-01-31T12:00:00Z, not \"%s\"", text);
	return true;
}

static bool take_systems(const struct cli *cli, struct profile_file_lint *how, GError **error)
{
	for (char *const *item = cli_list(cli, "for"); item && *item; item++)
		if (!lint_systems_parse(*item, how->systems, &how->n_systems, error))
			return false;
	how->is_unsupervised = cli_flag(cli, "unsupervised");
	return true;
}

static bool take_wish(const struct cli *cli, struct wish *wish, GError **error)
{
	if (!take_time(cli_value(cli, "now"), &wish->how.at_s, error) || !take_systems(cli, &wish->how, error) || !take_roots(cli, wish, error) || !cli_read_option(cli, "key", &wish->key, error) ||
	    !cli_read_option(cli, "cert", &wish->cert, error) || !cli_read_password(cli, &wish->password, error))
		return false;
	wish->how.key = wish->key;
	wish->how.cert = wish->cert;
	wish->how.password = wish->password;
	return true;
}

/* ---- what is printed ---- */

/* 0: no terminal, no wrapping. */
static unsigned terminal_width(void)
{
	struct winsize size;

	return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 40 ? size.ws_col : 0;
}

static void print_people(const struct lint_report *report)
{
	g_autofree char *text = finding_report_text(report->found, terminal_width(), isatty(STDOUT_FILENO) && !g_getenv("NO_COLOR"));

	fputs(text, stdout);
}

/* The suites of all reports in one document. */
static void print_junit(const GPtrArray *reports)
{
	static const char start[] = "<testsuites>\n", end[] = "</testsuites>\n";

	printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n%s", start);
	for (guint i = 0; i < reports->len; i++) {
		g_autofree char *text = finding_report_junit(((const struct lint_report *)reports->pdata[i])->found, "lint");
		const char *from = strstr(text, start) + strlen(start);

		fwrite(from, 1, strlen(from) - strlen(end), stdout);
	}
	fputs(end, stdout);
}

/* One report by itself, several as a list. */
static void print_json(const GPtrArray *reports)
{
	g_autoptr(json_t) items = json_array(), list = NULL;

	for (guint i = 0; i < reports->len; i++)
		json_array_append_new(items, lint_format(reports->pdata[i]));
	list = reports->len == 1 ? json_incref(json_array_get(items, 0)) : json_pack("{s:O, s:n}", "items", items, "next");
	cli_print_json(list);
}

int cli_show_lint(const struct cli *cli, const GPtrArray *reports)
{
	unsigned n_errors = 0;

	for (guint i = 0; i < reports->len; i++)
		finding_report_sort(((struct lint_report *)reports->pdata[i])->found);
	if (cli_flag(cli, "junit"))
		print_junit(reports);
	else if (cli_flag(cli, "json"))
		print_json(reports);
	else
		for (guint i = 0; i < reports->len; i++)
			print_people(reports->pdata[i]);
	for (guint i = 0; i < reports->len; i++)
		n_errors += ((const struct lint_report *)reports->pdata[i])->found->n[FINDING_ERROR];
	return n_errors ? CLI_FAILED : CLI_OK;
}

static const char *severity_text(const struct lint_rule *rule, char text[32])
{
	if (rule->severity == rule->other)
		return finding_severity_name(rule->severity);
	g_snprintf(text, 32, "%s or %s", finding_severity_name(rule->severity), finding_severity_name(rule->other));
	return text;
}

static int print_rules(const struct cli *cli)
{
	g_autoptr(json_t) items = json_array(), list = NULL;
	char text[32];

	for (int i = 0; i < LINT_RULE_MAX; i++) {
		const struct lint_rule *rule = lint_rule((enum lint_rule_id)i);
		g_autofree char *systems = finding_systems_text(rule->systems);

		json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "rule", rule->id, "severity", severity_text(rule, text), "systems", systems, "fixable", rule->is_fixed, "text", rule->text, "mend",
		                                       rule->mend));
		if (!cli_flag(cli, "json"))
			printf("%s  %s%s\n    %s\n    → %s\n", rule->id, severity_text(rule, text), rule->is_fixed ? ", --fix" : "", rule->text, rule->mend);
	}
	if (cli_flag(cli, "json")) {
		list = json_pack("{s:O, s:n}", "items", items, "next");
		cli_print_json(list);
	}
	return CLI_OK;
}

/* ---- work ---- */

static void free_report(void *data)
{
	lint_report_free(data);
}

/* The report on the repaired file, under its name. */
static struct lint_report *fix(const struct cli *cli, GBytes *file, struct profile_file_lint *how, GError **error)
{
	g_autoptr(lint_report) left = NULL;
	g_autoptr(GBytes) fixed = NULL;

	how->target = cli_value(cli, "out");
	fixed = profile_file_fix(file, how, &left, error);
	if (!fixed || !datadir_write_file(how->target, g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), 0600, error))
		return NULL;
	return g_steal_pointer(&left);
}

static bool lint_one(const struct cli *cli, const char *path, struct profile_file_lint *how, GPtrArray *reports, GError **error)
{
	g_autoptr(GBytes) file = cli_read_secret(path, error);
	struct lint_report *report;

	if (!file)
		return false;
	how->target = path;
	if (lint_is_json(g_bytes_get_data(file, NULL), g_bytes_get_size(file)) && !cli_flag(cli, "fix"))
		report = declaration_lint(path, g_bytes_get_data(file, NULL), g_bytes_get_size(file));
	else
		report = cli_flag(cli, "fix") ? fix(cli, file, how, error) : profile_file_lint(file, how, pom_random_system());
	if (report)
		g_ptr_array_add(reports, report);
	return report != NULL;
}

static bool check_usage(const struct cli *cli, GError **error)
{
	if (!cli->n_args)
		return pom_fail(error, POM_ERR_USAGE, "name the profiles or declarations: pomona lint FILE… (or --rules)");
	if (cli_flag(cli, "fix") && !cli_value(cli, "out"))
		return pom_fail(error, POM_ERR_USAGE, "--fix needs -o FILE: where to write the repaired profile");
	if (cli_flag(cli, "fix") && cli->n_args > 1)
		return pom_fail(error, POM_ERR_USAGE, "--fix repairs one profile at a time");
	return true;
}

int cmd_lint(const struct cli *cli)
{
	g_autoptr(GPtrArray) reports = g_ptr_array_new_with_free_func(free_report);
	struct wish wish = {0};
	g_autoptr(GError) error = NULL;
	bool ok;

	if (cli_flag(cli, "rules"))
		return print_rules(cli);
	ok = check_usage(cli, &error) && take_wish(cli, &wish, &error);
	for (int i = 0; ok && i < cli->n_args; i++)
		ok = lint_one(cli, cli->args[i], &wish.how, reports, &error);
	wish_clear(&wish);
	if (!ok)
		return cli_fail(error);
	return cli_show_lint(cli, reports);
}
