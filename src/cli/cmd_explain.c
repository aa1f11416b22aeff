/* explain: what an error code means, Pomona's own or Apple's, and what is known of the lines of a device's log. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/apple_error.h"
#include "base/error.h"
#include "cli/cli.h"
#include "codec/device_log.h"

static json_t *json_of_apple(const struct apple_error *e)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:s?, s:s?, s:s}", "domain", e->domain, "code", e->word ? json_string(e->word) : json_integer((json_int_t)e->code), "name", e->name, "text", e->meaning,
	                 "causes", e->causes, "look_at", e->look_at, "take_log", device_log_how());
}

static void print_how(void)
{
	printf("The device's log says more. %s \"pomona explain --log FILE\" finds what is known in it.\n", device_log_how());
}

static void print_apple(const struct apple_error *e)
{
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, e->code);

	printf("%s %s  %s (Apple)\n%s\n", e->domain, e->word ? e->word : number, e->name, e->meaning);
	if (e->causes)
		printf("Likely causes: %s\n", e->causes);
	if (e->look_at)
		printf("Look at: %s\n", e->look_at);
}

static int explain_apple(const struct cli *cli, const struct apple_error *e)
{
	g_autoptr(json_t) o = json_of_apple(e);

	if (cli_flag(cli, "json")) {
		cli_print_json(o);
	} else {
		print_apple(e);
		print_how();
	}
	return CLI_OK;
}

/* All whose name or meaning holds the text. */
static int explain_found(const struct cli *cli, const char *text)
{
	g_autoptr(json_t) items = json_array();
	const struct apple_error *e;

	for (unsigned i = 0; (e = apple_error_search(text, i)); i++) {
		if (!cli_flag(cli, "json")) {
			printf("%s", i ? "\n" : "");
			print_apple(e);
		}
		json_array_append_new(items, json_of_apple(e));
	}
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) list = json_pack("{s:O, s:n}", "items", items, "next");

		cli_print_json(list);
	} else {
		printf("\n");
		print_how();
	}
	return CLI_OK;
}

static int explain_own(const struct cli *cli, const struct pom_error_info *info)
{
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) o = json_pack("{s:s, s:s, s:i, s:b}", "code", info->id, "text", info->text, "http_status", info->http_status, "retry", info->retry);

		cli_print_json(o);
	} else {
		printf("%s  %s\nAnswered with HTTP status %d. %s\n", info->id, info->text, info->http_status,
		       info->retry ? "The same request may succeed later." : "The same request will fail again until its cause is mended.");
	}
	return CLI_OK;
}

/* ---- a log ---- */

/* At most one byte more than is looked at, so that more is noticed; transfer full. */
static GByteArray *read_log(const char *path, GError **error)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "rbe") : stdin;
	g_autoptr(GByteArray) all = g_byte_array_new();
	uint8_t part[65536];
	size_t n;
	bool failed;

	if (!file) {
		pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", path, g_strerror(errno));
		return NULL;
	}
	while (all->len <= DEVICE_LOG_MAX_BYTES && (n = fread(part, 1, sizeof(part), file)) > 0)
		g_byte_array_append(all, part, (guint)n);
	failed = ferror(file);
	if (file != stdin)
		fclose(file);
	if (!failed)
		return g_steal_pointer(&all);
	pom_fail(error, POM_ERR_IO, "%s cannot be read", path);
	return NULL;
}

static json_t *json_of_entry(const struct device_log_entry *entry)
{
	json_t *lines = json_array();

	for (guint i = 0; i < entry->lines->len; i++)
		json_array_append_new(lines, json_integer(g_array_index(entry->lines, int, i)));
	return json_pack("{s:s, s:s?, s:s, s:s?, s:s?, s:o, s:i, s:s}", "id", entry->id, "name", entry->name, "text", entry->text, "causes", entry->causes, "look_at", entry->look_at, "lines", lines, "count",
	                 (int)entry->n, "excerpt", entry->excerpt);
}

static void print_entry(const struct device_log_entry *entry)
{
	printf("line");
	for (guint i = 0; i < entry->lines->len; i++)
		printf("%s %d", i ? "," : "", g_array_index(entry->lines, int, i));
	if (entry->n > entry->lines->len)
		printf(" and %u more", entry->n - entry->lines->len);
	printf("  %s%s%s\n    %s\n    %s\n", entry->id, entry->name ? "  " : "", entry->name ? entry->name : "", entry->excerpt, entry->text);
	if (entry->causes)
		printf("    Likely causes: %s\n", entry->causes);
	if (entry->look_at)
		printf("    Look at: %s\n", entry->look_at);
}

static void print_log(const struct device_log *log)
{
	for (guint i = 0; i < log->entries->len; i++)
		print_entry(log->entries->pdata[i]);
	if (log->entries->len)
		printf("\nOf errors that follow one another the last is the reason; those above it say what failed because of it.\n");
	else
		printf("Nothing known was found in %u line%s. %s\n", log->n_lines, log->n_lines == 1 ? "" : "s", device_log_how());
	if (log->is_cut)
		printf("Only the first %d MiB were looked at.\n", DEVICE_LOG_MAX_BYTES >> 20);
}

static int explain_log(const struct cli *cli, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) bytes = read_log(path, &error);
	g_autoptr(device_log) log = bytes ? device_log_read(bytes->data, bytes->len) : NULL;
	g_autoptr(json_t) items = json_array(), list = NULL;

	if (!log)
		return cli_fail(error);
	if (!cli_flag(cli, "json")) {
		print_log(log);
		return CLI_OK;
	}
	for (guint i = 0; i < log->entries->len; i++)
		json_array_append_new(items, json_of_entry(log->entries->pdata[i]));
	list = json_pack("{s:O, s:n, s:i, s:b}", "items", items, "next", "line_count", (int)log->n_lines, "cut", log->is_cut);
	cli_print_json(list);
	return CLI_OK;
}

static int explain_code(const struct cli *cli, const char *text)
{
	enum pom_error code = pom_error_find(text);
	const struct apple_error *apple = apple_error_find_text(text);
	g_autoptr(GError) error = NULL;

	if (code != POM_ERR_MAX)
		return explain_own(cli, pom_error_info(code));
	if (apple)
		return explain_apple(cli, apple);
	if (apple_error_search(text, 0))
		return explain_found(cli, text);
	pom_fail(&error, POM_ERR_NOT_FOUND, "\"%s\" is no code that is explained here: Pomona's look like POM-E4103, Apple's like 22013, MCSCEPErrorDomain:22013 or BadDeviceToken; part of an explanation is searched for", text);
	return cli_fail(error);
}

int cmd_explain(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;

	if (!cli_value(cli, "log") == !cli->n_args) {
		pom_fail(&error, POM_ERR_USAGE, "give a code, or a log with --log FILE: one of them");
		return cli_fail(error);
	}
	return cli->n_args ? explain_code(cli, cli->args[0]) : explain_log(cli, cli_value(cli, "log"));
}
