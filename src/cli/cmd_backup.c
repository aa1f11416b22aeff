/* backup, restore. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "server/backup.h"
#include "server/datadir.h"

enum { SHOW_EVERY_US = 100000 };

struct display {
	bool is_terminal, is_shown;
	int64_t shown_us;
	const char *what;
};

static bool on_step(void *ctx, const char *what, uint64_t done, uint64_t all)
{
	struct display *display = ctx;
	int64_t now_us = g_get_monotonic_time();

	if (!display->is_terminal || (display->what == what && now_us < display->shown_us + SHOW_EVERY_US))
		return !cli_is_interrupted();
	if (all)
		fprintf(stderr, "\r\033[K%s: %d %%", what, (int)(done * 100 / all));
	else
		fprintf(stderr, "\r\033[K%s …", what);
	fflush(stderr);
	display->is_shown = true;
	display->what = what;
	display->shown_us = now_us;
	return !cli_is_interrupted();
}

static void clear(struct display *display)
{
	if (display->is_shown)
		fputs("\r\033[K", stderr);
}

int cmd_backup(const struct cli *cli)
{
	g_autofree char *dir = g_canonicalize_filename(cli_data(cli), NULL), *folder = g_canonicalize_filename(cli->args[0], NULL);
	struct display display = {.is_terminal = isatty(STDERR_FILENO)};
	const struct backup_progress progress = {on_step, &display};
	const struct backup_options options = {dir, folder, cli_flag(cli, "with-key"), &progress};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) manifest = NULL;
	json_int_t size = 0;
	bool ok;

	cli_catch_signals();
	ok = backup_make(&options, &manifest, &error);
	clear(&display);
	if (!ok)
		return cli_fail(error);
	if (options.with_key)
		fprintf(stderr, "pomona: warning: %s holds the encryption key and the admin token: whoever can read it can read and sign everything.\n", folder);
	if (cli_flag(cli, "json")) {
		json_object_set_new(manifest, "folder", json_string(folder));
		cli_print_json(manifest);
		return CLI_OK;
	}
	for (size_t i = 0; i < json_array_size(json_object_get(manifest, "files")); i++)
		size += json_integer_value(json_object_get(json_array_get(json_object_get(manifest, "files"), i), "size"));
	printf("Made the backup %s (%.1f MB, %s).\n", folder, (double)size / 1e6, json_string_value(json_object_get(manifest, "created")));
	if (!options.with_key)
		printf("To restore it you also need the encryption key with the id %s: %s/%s. Keep a copy elsewhere.\n", json_string_value(json_object_get(manifest, "seal_key_id")), dir, DATADIR_SEAL);
	return CLI_OK;
}

int cmd_restore(const struct cli *cli)
{
	g_autofree char *dir = g_canonicalize_filename(cli_data(cli), NULL), *folder = g_canonicalize_filename(cli->args[0], NULL);
	struct display display = {.is_terminal = isatty(STDERR_FILENO)};
	const struct backup_progress progress = {on_step, &display};
	const struct restore_options options = {folder, dir, cli_value(cli, "seal-key"), &progress};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) report = NULL;
	bool ok;

	cli_catch_signals();
	ok = backup_restore(&options, &report, &error);
	clear(&display);
	if (!ok)
		return cli_fail(error);
	if (cli_flag(cli, "json")) {
		cli_print_json(report);
		return CLI_OK;
	}
	printf("Made the data directory %s for %s from the backup of %s.\n", dir, json_string_value(json_object_get(report, "url")), json_string_value(json_object_get(report, "created")));
	for (size_t i = 0; i < json_array_size(json_object_get(report, "missing")); i++)
		printf("%s  - %s\n", i ? "" : "\nTo be seen to:\n", json_string_value(json_array_get(json_object_get(report, "missing"), i)));
	printf("\nMake sure that the old server does not run any more. Next:\n  pomona serve --data %s\n", dir);
	return CLI_OK;
}
