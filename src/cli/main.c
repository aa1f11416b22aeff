/* The table of verbs, and the way from words to one of them. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/man.h"

#define NO_OPTIONS ((const struct cli_option[]){{0}})
#define OPTIONS(...) ((const struct cli_option[]){__VA_ARGS__, {0}})

const struct cli_verb cli_verbs[] = {
	{"init", "", 0, 0, "make a data directory: keys, certificate authority, admin token",
	 "pomona init --data /var/lib/pomona --url https://mdm.example.org\n"
	 "pomona init --data /var/lib/pomona --url https://mdm.example.org --store 'postgresql://pomona@db.example/pomona?passfile=/etc/pomona/pgpass'\n"
	 "pomona init --data /var/lib/pomona --join --store 'postgresql://…' --seal-key /root/seal.key\n\n"
	 "Makes the data directory with its encryption key, database, root and issuing CA, profile-signing key and a first admin token, and says what is next."
	 " The URL is how devices reach the server; it becomes part of every enrollment and cannot be changed later without enrolling again."
	 " Run again on its own directory it changes nothing.\n\n"
	 "With --store the data is in a database of PostgreSQL, which must be empty; several nodes can use it. With --join the directory is of another node for a database that has one: settings"
	 " are taken from there, and --seal-key names a copy of the encryption key. A password of the database belongs into a file (passfile=… in the URL, or PGPASSFILE), never into the arguments."
	 " Without --store the environment variable POMONA_STORE_URL says where the data is.",
	 OPTIONS({"url", CLI_VALUE, "URL", "public URL of the server: https://HOST[:PORT]"}, {"org", CLI_VALUE, "NAME", "name of your organization"},
	         {"store", CLI_VALUE, "URL", "database: postgresql://…; without it SQLite in the data directory"},
	         {"join", CLI_FLAG, NULL, "another node for a database that is in use"}, {"seal-key", CLI_VALUE, "FILE", "with --join: a copy of another node's seal.key"},
	         {"node", CLI_VALUE, "NAME", "with --store: what this node is called (node.name; default: the machine's name)"},
	         {"issuing-bits", CLI_VALUE, "N", "RSA size of the issuing CA: 2048 (default), 3072 or 4096"},
	         {"key-type", CLI_VALUE, "TYPE", "of the CA: rsa (default) or ec, which brings an RSA RA for SCEP"}, {"ra", CLI_FLAG, NULL, "an RA stands beside an RSA CA too"}),
	 CLI_COMMON_DATA | CLI_COMMON_JSON, cmd_init},
	{"serve", "", 0, 0, "run the server",
	 "pomona serve --data /var/lib/pomona\n\n"
	 "Runs until SIGTERM or Ctrl-C; SIGHUP reads the TLS files again. Settings come from pomona.conf in the data directory, then from the environment"
	 " (POMONA_SECTION_KEY), then from the flags.",
	 OPTIONS({"listen", CLI_VALUE, "ADDR:PORT", "device listener (HTTPS)"}, {"admin-listen", CLI_VALUE, "ADDR:PORT", "admin API (plain HTTP: keep it on loopback)"},
	         {"http-listen", CLI_VALUE, "ADDR:PORT", "SCEP without TLS"}, {"apns-url", CLI_VALUE, "URL", "APNs, or a stand-in for it"},
	         {"apns-root", CLI_VALUE, "FILE", "PEM roots to trust for APNs"}, {"set", CLI_VALUES, "SECTION.KEY=VALUE", "any setting; may be repeated"}),
	 CLI_COMMON_DATA, cmd_serve},
	{"backup", "FOLDER", 1, 1, "back up a data directory, while the server runs or not",
	 "pomona backup --data /var/lib/pomona /backup/pomona-2026-01-31\n\n"
	 "Makes the folder, with the database as it is at this moment, pomona.conf, root-ca.pem, and manifest.json with the size and SHA-256 of each. The server"
	 " may go on working. Secrets in the database are sealed with the encryption key (seal.key), which is not in the backup: keep a copy of it elsewhere. Files that"
	 " settings name, such as a TLS certificate of your own, are not in it either.",
	 OPTIONS({"with-key", CLI_FLAG, NULL, "put the encryption key and the admin token into the backup: whoever has it can read and sign everything"}),
	 CLI_COMMON_DATA | CLI_COMMON_JSON, cmd_backup},
	{"restore", "FOLDER", 1, 1, "make a data directory from a backup",
	 "pomona restore /backup/pomona-2026-01-31 --data /var/lib/pomona --seal-key /safe/seal.key\n\n"
	 "Examines the backup (manifest, digests, encryption key, database) and makes the data directory from it, which must be new or empty. Says what is not in"
	 " the backup and must be seen to. Make sure that the server that was backed up does not run any more: two servers with one identity confuse devices.",
	 OPTIONS({"seal-key", CLI_VALUE, "FILE", "the encryption key (seal.key) of the server that was backed up, when it is not in the backup"}),
	 CLI_COMMON_DATA | CLI_COMMON_JSON, cmd_restore},
	{"enroll new", "", 0, 0, "make a one-time enrollment link",
	 "pomona enroll new --user \"Ann Example\" --ttl 24h\n"
	 "pomona enroll new --user \"Ann Example\" --qr\n\n"
	 "Prints the link to give to the device's user. It can be opened several times, until the device has enrolled or the time is up. Only now can its QR code be made:"
	 " the link itself is not kept, only a hash of it.",
	 OPTIONS({"user", CLI_VALUE, "NAME", "who will use the device"}, {"email", CLI_VALUE, "ADDRESS", "that person's address, for ${user.email} in profiles"},
	         {"device", CLI_VALUE, "NAME", "what the device is called"}, {"ttl", CLI_VALUE, "TIME", "how long the link works: 30m, 24h, 7d"}, {"ota", CLI_FLAG, NULL, "enroll over the air: the device says who it is before it is given a profile"},
	         {"qr", CLI_FLAG, NULL, "draw the link as a QR code on the terminal"},
	         {"svg", CLI_VALUE, "FILE", "write the QR code to an SVG file"}),
	 CLI_COMMON_API, cmd_enroll_new},
	{"enroll list", "", 0, 0, "list enrollment links", "pomona enroll list", NO_OPTIONS, CLI_COMMON_API, cmd_enroll_list},
	{"enroll revoke", "ID", 1, 1, "withdraw an enrollment link", "pomona enroll revoke 0199…", NO_OPTIONS, CLI_COMMON_API, cmd_enroll_revoke},
	{"device list", "", 0, 0, "list enrollments", "pomona device list\npomona device list --json\npomona device list --query 'os.version < 17 and supervised'",
	 OPTIONS({"query", CLI_VALUE, "QUERY", "only enrolled devices that match it: see \"pomona group test --help\""}), CLI_COMMON_API, cmd_device_list},
	{"device show", "ID", 1, 1, "show one enrollment", "pomona device show 00008110-0001\n\nID is the enrollment's id or the device's UDID.", NO_OPTIONS, CLI_COMMON_API, cmd_device_show},
	{"device push", "ID", 1, 1, "wake a device", "pomona device push 00008110-0001", NO_OPTIONS, CLI_COMMON_API, cmd_device_push},
	{"token new", "NAME", 1, 1, "make an API token", "pomona token new \"inventory script\"\n\nThe token is shown this once; only its hash is kept.",
	 OPTIONS({"secrets", CLI_FLAG, NULL, "whoever has it may read secrets in commands and answers (command show --secrets)"}), CLI_COMMON_API, cmd_token_new},
	{"token list", "", 0, 0, "list API tokens", "pomona token list", NO_OPTIONS, CLI_COMMON_API, cmd_token_list},
	{"token revoke", "ID", 1, 1, "withdraw an API token", "pomona token revoke 0199…", NO_OPTIONS, CLI_COMMON_API, cmd_token_revoke},
#include "cli/move_verbs.inc"
#include "cli/ca_verbs.inc"
#include "cli/ota_verbs.inc"
#include "cli/profile_verbs.inc"
#include "cli/library_verbs.inc"
#include "cli/command_verbs.inc"
#include "cli/fleet_verbs.inc"
#include "cli/checkin_verbs.inc"
#include "cli/pushcert_verbs.inc"
#include "cli/push_verbs.inc"
#include "cli/doctor_verbs.inc"
#include "cli/node_verbs.inc"
#include "cli/lint_verbs.inc"
#include "cli/ddm_verbs.inc"
#include "cli/sim_verbs.inc"
	{"explain", "[CODE]", 0, 1, "explain an error code of Pomona or of an Apple device, or a device's log", "pomona explain POM-E4103\npomona explain 22013\npomona explain MCSCEPErrorDomain:22013\npomona explain BadDeviceToken\npomona explain \"lost mode\"\npomona explain --log iphone.log\n\n"
	 "Knows Pomona's own codes, the published codes of Apple's devices, the reasons of APNs and those of declarative management. Words that are no code are searched for."
	 " --log finds the known lines and codes in the exported text of a device's log, with their line numbers.", OPTIONS({"log", CLI_VALUE, "FILE", "text of a device's log; - for standard input"}), CLI_COMMON_JSON, cmd_explain},
	{"version", "", 0, 0, "show the version", "pomona version", NO_OPTIONS, CLI_COMMON_JSON, cmd_version},
	{0},
};

static const struct cli_option common_options[] = {
	{"data", CLI_VALUE, "DIR", "data directory (default: POMONA_DATA, else /var/lib/pomona)"},
	{"json", CLI_FLAG, NULL, "JSON on standard output"},
	{"server", CLI_VALUE, "URL", "admin API of a server elsewhere, instead of the data directory's socket"},
	{"token-file", CLI_VALUE, "FILE", "file with the API token for --server"},
};
static const unsigned common_bits[] = {CLI_COMMON_DATA, CLI_COMMON_JSON, CLI_COMMON_REMOTE, CLI_COMMON_REMOTE};

/* Own options of the verb, then the common ones, in one array. */
size_t cli_all_options(const struct cli_verb *verb, struct cli_option out[CLI_OPTIONS_MAX])
{
	size_t n = 0;

	for (const struct cli_option *o = verb->options; o->name; o++)
		out[n++] = *o;
	for (size_t i = 0; i < G_N_ELEMENTS(common_options); i++)
		if (verb->common & common_bits[i])
			out[n++] = common_options[i];
	g_assert(n < CLI_OPTIONS_MAX);
	return n;
}

static int find_option(const struct cli *cli, const char *name)
{
	struct cli_option options[CLI_OPTIONS_MAX];
	size_t n = cli_all_options(cli->verb, options);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(options[i].name, name))
			return (int)i;
	return CLI_OPTIONS_MAX - 1;
}

const char *cli_value(const struct cli *cli, const char *name)
{
	return cli->values[find_option(cli, name)];
}

char *const *cli_list(const struct cli *cli, const char *name)
{
	return cli->lists[find_option(cli, name)];
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return cli->flags[find_option(cli, name)];
}

static void fill_entries(struct cli *cli, GOptionEntry *entries)
{
	struct cli_option options[CLI_OPTIONS_MAX];
	size_t n = cli_all_options(cli->verb, options);

	for (size_t i = 0; i < n; i++) {
		entries[i] = (GOptionEntry){.long_name = options[i].name, .short_name = options[i].short_name, .description = options[i].text, .arg_description = options[i].argument};
		switch (options[i].kind) {
		case CLI_FLAG:
			entries[i].arg = G_OPTION_ARG_NONE;
			entries[i].arg_data = &cli->flags[i];
			break;
		case CLI_VALUE:
			/* As they were typed: GLib's texts are converted from the locale's character set, which is ASCII in a bare environment. */
			entries[i].arg = G_OPTION_ARG_FILENAME;
			entries[i].arg_data = &cli->values[i];
			break;
		case CLI_VALUES:
			entries[i].arg = G_OPTION_ARG_FILENAME_ARRAY;
			entries[i].arg_data = &cli->lists[i];
			break;
		}
	}
}

static int usage(const struct cli_verb *verb, const char *why)
{
	fprintf(stderr, "pomona: %s\nTry \"pomona %s --help\".\n", why, verb->words);
	return CLI_USAGE;
}

/* Everything becomes JSON sooner or later. */
static bool is_text(const struct cli *cli)
{
	bool ok = true;

	for (int i = 0; i < cli->n_args; i++)
		ok = ok && g_utf8_validate(cli->args[i], -1, NULL);
	for (int i = 0; i < CLI_OPTIONS_MAX; i++) {
		ok = ok && (!cli->values[i] || g_utf8_validate(cli->values[i], -1, NULL));
		for (char **item = cli->lists[i]; item && *item; item++)
			ok = ok && g_utf8_validate(*item, -1, NULL);
	}
	return ok;
}

static int parse_and_run(struct cli *cli, int argc, char **argv)
{
	GOptionEntry entries[CLI_OPTIONS_MAX + 1] = {0};
	GOptionContext *context = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;
	bool ok;

	fill_entries(cli, entries);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_add_main_entries(context, entries, NULL);
	ok = g_option_context_parse(context, &argc, &argv, &error);
	g_option_context_free(context);
	if (!ok)
		return usage(cli->verb, error->message);
	/* "--" ends the options; it is no argument itself. */
	if (argc > 1 && !strcmp(argv[1], "--")) {
		argv++;
		argc--;
	}
	cli->args = argv + 1;
	cli->n_args = argc - 1;
	if (!is_text(cli))
		return usage(cli->verb, "an argument is not UTF-8 text");
	if (cli->n_args < cli->verb->args_min && !(!strcmp(cli->verb->words, "command send") && cli->n_args == 1 && cli_value(cli, "plist")))
		return usage(cli->verb, "an argument is missing");
	if (cli->verb->args_max >= 0 && cli->n_args > cli->verb->args_max)
		return usage(cli->verb, "there are too many arguments");
	return cli->verb->run(cli);
}

/* How many of the words typed name VERB; 0: not this verb. */
static int match_words(const struct cli_verb *verb, int argc, char **argv)
{
	g_auto(GStrv) words = g_strsplit(verb->words, " ", -1);
	int n = (int)g_strv_length(words);

	for (int i = 0; i < n; i++)
		if (i >= argc || strcmp(words[i], argv[i]))
			return 0;
	return n;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

static int run_verb(const struct cli_verb *verb, int n_words, int argc, char **argv)
{
	struct cli cli = {.verb = verb};
	int code;

	if (wants_help(argc, argv)) {
		man_print_help(verb);
		return CLI_OK;
	}
	argv[n_words - 1] = (char *)"pomona";
	code = parse_and_run(&cli, argc - n_words + 1, argv + n_words - 1);
	for (int i = 0; i < CLI_OPTIONS_MAX; i++) {
		g_free(cli.values[i]);
		g_strfreev(cli.lists[i]);
	}
	return code;
}

static int refuse_word(const char *first, const char *second)
{
	fprintf(stderr, "pomona: \"%s%s%s\" is no command. \"pomona help\" lists them.\n", first, second ? " " : "", second ? second : "");
	return CLI_USAGE;
}

/* "pomona help enroll": the verbs of a family. */
static int show_help(int argc, char **argv)
{
	bool is_family = false;

	for (const struct cli_verb *v = cli_verbs; argc > 0 && v->words; v++) {
		if (match_words(v, argc, argv) == argc) {
			man_print_help(v);
			return CLI_OK;
		}
		is_family = is_family || (argc == 1 && man_is_of_family(v, argv[0]));
	}
	if (argc > 0 && !is_family)
		return refuse_word(argv[0], argc > 1 ? argv[1] : NULL);
	man_print_verbs(argc > 0 ? argv[0] : NULL);
	return CLI_OK;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && !strcmp(argv[1], "help"))
		return show_help(argc - 2, argv + 2);
	if (argc >= 3 && !strcmp(argv[1], "man-pages"))
		return man_write_pages(argv[2]);
	for (const struct cli_verb *v = cli_verbs; argc > 1 && v->words; v++) {
		int n = match_words(v, argc - 1, argv + 1);

		if (n)
			return run_verb(v, n, argc - 1, argv + 1);
	}
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		man_print_verbs(NULL);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("pomona %s\n", POMONA_VERSION);
		return CLI_OK;
	}
	if (argc == 2 || wants_help(argc, argv))
		for (const struct cli_verb *v = cli_verbs; v->words; v++)
			if (man_is_of_family(v, argv[1])) {
				man_print_verbs(argv[1]);
				return wants_help(argc, argv) ? CLI_OK : CLI_USAGE;
			}
	return refuse_word(argv[1], argc > 2 && *argv[2] != '-' ? argv[2] : NULL);
}
