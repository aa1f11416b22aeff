/* init, serve, version. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "cli/cli.h"
#include "probe/probe.h"
#include "server/datadir.h"
#include "server/server.h"
#include "server/system_roots.h"

/* init waits for nobody long. */
enum { INIT_STEP_MS = 5000, INIT_TOTAL_MS = 20000, NODE_NAME_MAX = 63 };

static json_t *describe(const char *dir, const char *url, bool existed)
{
	g_autofree char *token = datadir_path(dir, DATADIR_TOKEN), *root = datadir_path(dir, DATADIR_ROOT);
	g_autofree char *next = g_strdup_printf("pomona serve --data %s", dir);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "data", dir, "url", url, "admin_token_file", token, "root_ca_file", root, "next", next, "existed", existed);
}

/* What can be said of the public URL before anything serves it: whether it names the server well, and whether its name is known. Where somebody serves there already, as a proxy, the chain that it sends. */
static struct finding_report *look_at_url(const char *url, const char *root_file)
{
	struct finding_report *report = finding_report_new(url);
	g_autofree char *pem = NULL;
	gsize len = 0;
	g_autoptr(GPtrArray) roots = system_roots_load(), own = g_file_get_contents(root_file, &pem, &len, NULL) ? cert_parse_all(pem, len, NULL) : NULL;
	const struct doctor doctor = {.report = report, .systems = FINDING_ALL_SYSTEMS, .now_s = pom_clock_now_ms(pom_clock_system()) / 1000, .public_roots = roots, .trusted = own};
	const struct probe probe = {.doctor = &doctor, .step_ms = INIT_STEP_MS, .deadline_us = g_get_monotonic_time() + (int64_t)INIT_TOTAL_MS * 1000};
	g_auto(probe_target) target = {0};

	/* Whoever answers there may hang up. */
	signal(SIGPIPE, SIG_IGN);
	if (probe_target_parse(url, &target, NULL))
		probe_url(&probe, &target);
	return report;
}

static bool parse_bits(const char *text, unsigned *ret, GError **error)
{
	guint64 bits = text ? g_ascii_strtoull(text, NULL, 10) : 2048;

	if (bits != 2048 && bits != 3072 && bits != 4096)
		return pom_fail(error, POM_ERR_USAGE, "--issuing-bits must be 2048, 3072 or 4096");
	*ret = (unsigned)bits;
	return true;
}

/* Where the data is to be: --store, else POMONA_STORE_URL; *RET NULL: in the data directory. *RET_KEEP: it came from the flag, so that nothing else would know it later. */
static bool find_store(const struct cli *cli, const char **ret, bool *ret_keep, GError **error)
{
	const char *flag = cli_value(cli, "store"), *environment = g_getenv("POMONA_STORE_URL");

	*ret = flag ? flag : environment && *environment ? environment : NULL;
	*ret_keep = flag != NULL;
	if (*ret && !store_url_check(*ret, error))
		return false;
	return !flag || !store_url_has_password(flag) ? true : pom_fail(error, POM_ERR_USAGE, "--store holds a password, and every user of this machine can read arguments: put the password into a file and name it, "
	                                                                "--store 'postgresql://user@host/database?passfile=/etc/pomona/pgpass' (one line *:*:*:*:password, chmod 600), or set PGPASSFILE");
}

/* --node, which must be a word of a settings file. */
static bool find_node(const struct cli *cli, const char *store, const char **ret, GError **error)
{
	const char *name = cli_value(cli, "node");

	*ret = name;
	if (name && !store)
		return pom_fail(error, POM_ERR_USAGE, "--node is for a database that several nodes can use: see --store");
	if (name && (!*name || strlen(name) > NODE_NAME_MAX || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != strlen(name)))
		return pom_fail(error, POM_ERR_USAGE, "--node must be a name of letters, digits, hyphens and dots, of at most %d", NODE_NAME_MAX);
	return true;
}

static bool parse_key_type(const struct cli *cli, struct datadir_options *options, GError **error)
{
	options->key_type = cli_value(cli, "key-type") ? cli_value(cli, "key-type") : "rsa";
	if (strcmp(options->key_type, "rsa") && strcmp(options->key_type, "ec"))
		return pom_fail(error, POM_ERR_USAGE, "--key-type must be rsa or ec");
	options->ra = cli_flag(cli, "ra");
	return parse_bits(cli_value(cli, "issuing-bits"), &options->issuing_bits, error);
}

/* --json, or what was made and what is next. */
static int show_init(const struct cli *cli, const json_t *result, const struct finding_report *report)
{
	const char *dir = json_string_value(json_object_get(result, "data"));

	if (cli_flag(cli, "json")) {
		cli_print_json(result);
		return CLI_OK;
	}
	printf("%s %s for %s.\n\n", json_is_true(json_object_get(result, "existed")) ? "This is already the data directory" : "Made the data directory", dir, json_string_value(json_object_get(result, "url")));
	printf("  admin token        %s\n", json_string_value(json_object_get(result, "admin_token_file")));
	printf("  root certificate   %s\n", json_string_value(json_object_get(result, "root_ca_file")));
	printf("  encryption key     %s/%s  (keep a copy in a safe place: without it the data cannot be read)\n", dir, DATADIR_SEAL);
	for (guint i = 0; i < report->findings->len; i++) {
		const struct finding *finding = report->findings->pdata[i];

		fprintf(stderr, "pomona: %s: %s (pomona doctor: %s)\n", finding_severity_name(finding->severity), finding->text, finding->rule);
	}
	printf("\nNext:\n  %s\n  pomona push-cert setup --data %s\n  pomona enroll new --data %s\n", json_string_value(json_object_get(result, "next")), dir, dir);
	return CLI_OK;
}

static int init_first(const struct cli *cli, const char *dir)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *url = NULL;
	struct datadir_options options = {.dir = dir, .organization = cli_value(cli, "org") ? cli_value(cli, "org") : "Pomona", .root_bits = 3072};
	bool existed;

	if (cli_value(cli, "seal-key"))
		pom_fail(&error, POM_ERR_USAGE, "--seal-key is for --join: the first node makes the encryption key");
	else if (!cli_value(cli, "url"))
		pom_fail(&error, POM_ERR_USAGE, "--url is missing: the URL that devices will reach this server by");
	else
		url = settings_check_url(cli_value(cli, "url"), &error);
	options.url = url;
	if (!url || !find_store(cli, &options.store_url, &options.keep_store_url, &error) || !find_node(cli, options.store_url, &options.node, &error) || !parse_key_type(cli, &options, &error) || !datadir_init(&options, &existed, &error))
		return cli_fail(error);
	g_autoptr(json_t) result = describe(dir, url, existed);
	g_autoptr(finding_report) report = look_at_url(url, json_string_value(json_object_get(result, "root_ca_file")));
	g_autoptr(json_t) findings = finding_report_format(report);

	json_object_set(result, "findings", json_object_get(findings, "findings"));
	return show_init(cli, result, report);
}

static int show_join(const struct cli *cli, const char *dir, const char *url, char *const *missing, bool existed)
{
	g_autofree char *root = datadir_path(dir, DATADIR_ROOT), *next = g_strdup_printf("pomona serve --data %s", dir);
	g_autoptr(json_t) lines = json_array();

	for (int i = 0; missing[i]; i++)
		json_array_append_new(lines, json_string(missing[i]));
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) result = json_pack("{s:s, s:s, s:s, s:s, s:b, s:O}", "data", dir, "url", url, "root_ca_file", root, "next", next, "existed", existed, "missing", lines);

		cli_print_json(result);
		return CLI_OK;
	}
	printf("%s %s: another node of %s.\n", existed ? "This is already the data directory" : "Made the data directory", dir, url);
	for (int i = 0; missing[i]; i++)
		fprintf(stderr, "pomona: warning: %s\n", missing[i]);
	printf("\nNext:\n  look at %s/%s: addresses (server.listen …) are this node's own\n  %s\n  pomona node list --data %s\n", dir, DATADIR_CONF, next, dir);
	return CLI_OK;
}

static int init_joined(const struct cli *cli, const char *dir)
{
	static const char *const others[] = {"org", "issuing-bits", "key-type"};
	g_autoptr(GError) error = NULL;
	g_autofree char *url = cli_value(cli, "url") ? settings_check_url(cli_value(cli, "url"), &error) : NULL, *joined_url = NULL;
	struct datadir_join join = {.dir = dir, .seal_file = cli_value(cli, "seal-key"), .url = url};
	g_auto(GStrv) missing = NULL;
	bool existed;

	for (unsigned i = 0; !error && i < G_N_ELEMENTS(others); i++)
		if (cli_value(cli, others[i]))
			pom_fail(&error, POM_ERR_USAGE, "--%s was decided with the first node: leave it out of --join", others[i]);
	if (!error && find_store(cli, &join.store_url, &join.keep_store_url, &error) && !join.store_url)
		pom_fail(&error, POM_ERR_USAGE, "--join needs --store postgresql://…, the database of the other nodes (or POMONA_STORE_URL)");
	if (!error && !join.seal_file)
		pom_fail(&error, POM_ERR_USAGE, "--join needs --seal-key FILE, a copy of the %s of another node", DATADIR_SEAL);
	if (error || !find_node(cli, join.store_url, &join.node, &error) || !datadir_join(&join, &existed, &joined_url, &missing, &error))
		return cli_fail(error);
	return show_join(cli, dir, joined_url, missing, existed);
}

int cmd_init(const struct cli *cli)
{
	g_autofree char *dir = g_canonicalize_filename(cli_data(cli), NULL);

	return cli_flag(cli, "join") ? init_joined(cli, dir) : init_first(cli, dir);
}

static bool apply_flags(const struct cli *cli, struct settings *settings, GError **error)
{
	static const struct { const char *flag; enum setting setting; } flags[] = {
		{"listen", SETTING_LISTEN}, {"admin-listen", SETTING_ADMIN_LISTEN}, {"http-listen", SETTING_HTTP_LISTEN},
		{"apns-url", SETTING_APNS_URL}, {"apns-root", SETTING_APNS_ROOT},
	};
	char *const *list = cli_list(cli, "set");

	for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
		if (cli_value(cli, flags[i].flag) && !settings_set_value(settings, flags[i].setting, cli_value(cli, flags[i].flag), error))
			return false;
	for (int i = 0; list && list[i]; i++) {
		if (g_str_has_prefix(list[i], "store.url=") && store_url_has_password(list[i] + strlen("store.url=")))
			return pom_fail(error, POM_ERR_USAGE, "--set store.url holds a password, and every user of this machine can read arguments: name a file with it (passfile=…), or use the environment (POMONA_STORE_URL)");
		if (!settings_set(settings, list[i], error))
			return false;
	}
	return true;
}

int cmd_serve(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_canonicalize_filename(cli_data(cli), NULL);
	struct settings settings;
	bool ok;

	settings_init(&settings);
	ok = datadir_load_settings(dir, &settings, &error) && apply_flags(cli, &settings, &error) && server_run(dir, &settings, &error);
	settings_clear(&settings);
	return ok ? CLI_OK : cli_fail(error);
}

int cmd_version(const struct cli *cli)
{
	if (cli_flag(cli, "json"))
		printf("{\"version\": \"%s\"}\n", POMONA_VERSION);
	else
		printf("pomona %s\n", POMONA_VERSION);
	return CLI_OK;
}
