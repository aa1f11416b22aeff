/* migrate-store. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "server/move.h"

enum { SHOW_EVERY_US = 100000 };

struct display {
	bool is_terminal, is_shown;
	int64_t shown_us;
};

static bool on_step(void *ctx, const char *what, uint64_t done, uint64_t all)
{
	struct display *display = ctx;
	int64_t now_us = g_get_monotonic_time();

	if (!display->is_terminal || now_us < display->shown_us + SHOW_EVERY_US)
		return !cli_is_interrupted();
	if (all)
		fprintf(stderr, "\r\033[K%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " rows, %d %%", what, done, all, (int)(done * 100 / all));
	else
		fprintf(stderr, "\r\033[K%s: %" G_GUINT64_FORMAT " rows", what, done);
	fflush(stderr);
	display->is_shown = true;
	display->shown_us = now_us;
	return !cli_is_interrupted();
}

static int undo(const struct cli *cli, const struct move_options *options)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = NULL;

	if (options->to || options->to_file)
		pom_fail(&error, POM_ERR_USAGE, "--undo is about the old database alone: leave --to out");
	if (error || !move_undo(options, &name, &error))
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) json = json_pack("{s:s}", "from", name);

		cli_print_json(json);
		return CLI_OK;
	}
	printf("%s can be used again, as it was before the move.\n", name);
	printf("Make sure that no server runs over the other database: what devices did there since is not in this one.\n");
	return CLI_OK;
}

static void print_report(const json_t *report, double seconds)
{
	static const struct cli_column columns[] = {{"TABLE", "name"}, {"ROWS", "rows"}, {"SHA-256 (the same on both sides)", "sha256"}};
	const char *from = json_string_value(json_object_get(report, "from")), *to = json_string_value(json_object_get(report, "to"));

	cli_print_table(json_object_get(report, "tables"), columns, G_N_ELEMENTS(columns));
	printf("\nMoved %" JSON_INTEGER_FORMAT " rows in %.1f s%s from %s to %s: all of them are there.\n", json_integer_value(json_object_get(report, "rows")), seconds,
	       json_is_true(json_object_get(report, "resumed")) ? " (what was left of a move that had been broken off)" : "", from, to);
	printf("\nNext: in pomona.conf of every node, and with the same seal.key as before:\n  [store]\n  url=%s\nThe old database is kept and refused by servers. \"pomona migrate-store --undo\" takes it back.\n", to);
}

int cmd_migrate_store(const struct cli *cli)
{
	g_autofree char *dir = g_canonicalize_filename(cli_data(cli), NULL);
	struct display display = {.is_terminal = isatty(STDERR_FILENO)};
	const struct move_options options = {dir, cli_value(cli, "from"), cli_value(cli, "to"), cli_value(cli, "from-file"), cli_value(cli, "to-file"), on_step, &display};
	int64_t started_us = g_get_monotonic_time();
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) report = NULL;
	bool ok;

	/* A new database in a file is for this user alone. */
	umask(077);
	if (cli_flag(cli, "undo"))
		return undo(cli, &options);
	cli_catch_signals();
	ok = move_run(&options, &report, &error);
	if (display.is_shown)
		fputs("\r\033[K", stderr);
	if (!ok)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(report);
	else
		print_report(report, (double)(g_get_monotonic_time() - started_us) / 1e6);
	return CLI_OK;
}
