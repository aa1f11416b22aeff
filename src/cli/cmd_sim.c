/* sim: the simulator's verbs. */
#include <limits.h>
#include <signal.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "sim/sim.h"

static int stop;

static void on_signal(int number)
{
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int list_misbehaviors(void)
{
	for (const struct sim_misbehavior *m = sim_misbehaviors(); m->name; m++)
		printf("%-24s %s\n", m->name, m->text);
	return CLI_OK;
}

/* The URLs of all devices: the argument, and those of --url-file. transfer full. */
static char **read_urls(const struct cli *cli, GError **error)
{
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	const char *file = cli_value(cli, "url-file"), *count = cli_value(cli, "count");
	guint64 wanted = count ? g_ascii_strtoull(count, NULL, 10) : 0, n = 1;

	g_strv_builder_add(builder, cli->args[0]);
	if (file && !g_file_get_contents(file, &text, NULL, NULL)) {
		pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", file, g_strerror(errno));
		return NULL;
	}
	lines = g_strsplit(text ? text : "", "\n", -1);
	for (int i = 0; lines[i] && (!wanted || n < wanted); i++)
		if (*g_strstrip(lines[i])) {
			g_strv_builder_add(builder, lines[i]);
			n++;
		}
	if (n < wanted) {
		pom_fail(error, POM_ERR_USAGE, "--count %s needs %s links, there are %" G_GUINT64_FORMAT ": give the others in --url-file", count, count, n);
		return NULL;
	}
	return g_strv_builder_end(builder);
}

int cmd_sim_device(const struct cli *cli)
{
	enum { USERS_MAX = 1000 };
	const char *kind = cli_value(cli, "kind"), *polls = cli_value(cli, "polls"), *misbehave = cli_value(cli, "misbehave"), *users = cli_value(cli, "users");
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) urls = NULL;
	struct sim_device_options options = {
		.kind = sim_kind_find(kind ? kind : "iphone"), .ca_file = cli_value(cli, "ca-file"), .state_dir = cli_value(cli, "state"), .apns = cli_value(cli, "apns"),
		.factory_dir = cli_value(cli, "factory-ca"), .phone_dir = cli_value(cli, "phone"), .supervised = cli_flag(cli, "supervised"),
		.users = users ? g_ascii_strtoll(users, NULL, 10) : 0, .user_enrollment = cli_flag(cli, "user-enrollment"), .maid = cli_flag(cli, "maid"), .return_to_service = cli_flag(cli, "return-to-service"),
		.misbehave = misbehave, .polls = polls ? g_ascii_strtoll(polls, NULL, 10) : -1, .quiet = cli_flag(cli, "quiet"), .json = cli_flag(cli, "json"), .stop = &stop,
	};

	if (misbehave && !strcmp(misbehave, "list"))
		return list_misbehaviors();
	if (!cli->n_args) {
		pom_fail(&error, POM_ERR_USAGE, "an argument is missing: the address of a link's profile, of its over-the-air way, or of /watch");
		return cli_fail(error);
	}
	if (options.kind == SIM_KIND_MAX) {
		pom_fail(&error, POM_ERR_USAGE, "--kind must be iphone, ipad, mac, appletv or watch");
		return cli_fail(error);
	}
	if (options.users < 0 || options.users > USERS_MAX || (users && !options.users)) {
		pom_fail(&error, POM_ERR_USAGE, "--users must be a number from 1 to %d", USERS_MAX);
		return cli_fail(error);
	}
	urls = read_urls(cli, &error);
	if (!urls)
		return cli_fail(error);
	options.urls = (const char *const *)urls;
	catch_signals();
	return sim_device_run(&options, &error) ? CLI_OK : cli_fail(error);
}

int cmd_sim_factory_ca(const struct cli *cli)
{
	const char *dir = cli_value(cli, "dir");
	g_autoptr(GError) error = NULL;
	g_autofree char *path = dir ? g_build_filename(dir, "device-ca.pem", NULL) : NULL;
	bool made = false;

	if (!dir)
		pom_fail(&error, POM_ERR_USAGE, "--dir is missing");
	if (!dir || !sim_factory_make(dir, cli_flag(cli, "like-apple"), &made, &error))
		return cli_fail(error);
	return cli_show(cli, json_pack("{s:s, s:b}", "device_ca", path, "made", made), NULL);
}

/* The number given with option NAME, 0 when it is not. */
static bool get_number(const struct cli *cli, const char *name, unsigned most, unsigned *ret, GError **error)
{
	const char *text = cli_value(cli, name);
	guint64 n = 0;

	if (text && !g_ascii_string_to_unsigned(text, 10, 0, most, &n, NULL))
		return pom_fail(error, POM_ERR_USAGE, "--%s %s is not a number from 0 to %u", name, text, most);
	*ret = (unsigned)n;
	return true;
}

static bool parse_failures(char *const *texts, GPtrArray *keep, GArray *failures, GError **error)
{
	for (int i = 0; texts && texts[i]; i++) {
		char **parts = g_strsplit(texts[i], "=", 2);

		g_ptr_array_add(keep, parts);
		if (!parts[0] || !parts[1])
			return pom_fail(error, POM_ERR_USAGE, "--fail %s is not TOKEN=REASON", texts[i]);
		if (!sim_apns_has_reason(parts[1]))
			return pom_fail(error, POM_ERR_USAGE, "--fail %s: APNs has no reason \"%s\"", texts[i], parts[1]);
		struct sim_apns_failure failure = {parts[0], parts[1]};
		g_array_append_val(failures, failure);
	}
	return true;
}

static bool parse_changes(char *const *texts, GArray *changes, GError **error)
{
	for (int i = 0; texts && texts[i]; i++) {
		struct sim_apns_change change;
		char rest;

		if (sscanf(texts[i], "%u@%u%c", &change.streams, &change.after_ms, &rest) != 2 || !change.after_ms)
			return pom_fail(error, POM_ERR_USAGE, "--streams-change %s is not N@MS, as 100@2000", texts[i]);
		g_array_append_val(changes, change);
	}
	return true;
}

static bool parse_apns_numbers(const struct cli *cli, struct sim_apns_options *o, GError **error)
{
	enum { DELAY_MAX_MS = 3600000, STREAMS_LIMIT = 100000, RETRY_MAX_S = 86400, PERCENT = 100 };

	return get_number(cli, "delay-ms", DELAY_MAX_MS, &o->delay_ms, error) && get_number(cli, "streams", STREAMS_LIMIT, &o->streams, error) &&
	       get_number(cli, "retry-after", RETRY_MAX_S, &o->retry_after_s, error) && get_number(cli, "goaway", PERCENT, &o->goaway_percent, error) &&
	       get_number(cli, "reset", PERCENT, &o->reset_percent, error) && get_number(cli, "abort", PERCENT, &o->abort_percent, error) &&
	       get_number(cli, "seed", INT_MAX, &o->seed, error);
}

int cmd_sim_apns(const struct cli *cli)
{
	g_autoptr(GArray) failures = g_array_new(TRUE, TRUE, sizeof(struct sim_apns_failure)), changes = g_array_new(TRUE, TRUE, sizeof(struct sim_apns_change));
	g_autoptr(GPtrArray) keep = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
	g_autoptr(GError) error = NULL;
	struct sim_apns_options options = {
		.dir = cli_value(cli, "dir"), .listen = cli_value(cli, "listen"), .wake_listen = cli_value(cli, "wake-listen"), .log = cli_value(cli, "log"),
		.hang = cli_flag(cli, "hang"), .silent = cli_flag(cli, "silent"), .quiet = cli_flag(cli, "quiet"), .stop = &stop,
	};

	if (!options.dir)
		pom_fail(&error, POM_ERR_USAGE, "--dir is missing");
	if (!options.dir || !parse_failures(cli_list(cli, "fail"), keep, failures, &error) || !parse_changes(cli_list(cli, "streams-change"), changes, &error) ||
	    !parse_apns_numbers(cli, &options, &error))
		return cli_fail(error);
	options.failures = (const struct sim_apns_failure *)(const void *)failures->data;
	options.changes = (const struct sim_apns_change *)(const void *)changes->data;
	options.listen = options.listen ? options.listen : "127.0.0.1:0";
	options.wake_listen = options.wake_listen ? options.wake_listen : "127.0.0.1:0";
	catch_signals();
	return sim_apns_run(&options, &error) ? CLI_OK : cli_fail(error);
}
