/* The command line: one table of verbs for parsing, help and man pages.
 *
 * Data goes to stdout, messages to stderr; tables for people on a terminal or off it, JSON with --json. Exit codes are those below. */
#pragma once

#include <stdbool.h>

#include "codec/json.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_FOUND = 3, CLI_NOT_AUTHORIZED = 4, CLI_PARTLY = 5, CLI_UNREACHABLE = 6 };

enum cli_kind { CLI_FLAG, CLI_VALUE, CLI_VALUES };
struct cli_option {
	const char *name;     /* without the dashes */
	enum cli_kind kind;   /* CLI_VALUES may be given several times */
	const char *argument; /* "DIR"; NULL for flags */
	const char *text;     /* one sentence */
	char short_name;      /* "-o"; 0: none */
};

enum { CLI_OPTIONS_MAX = 40 };

/* What was typed. Strings live as long as the call. */
struct cli {
	const struct cli_verb *verb;
	char *values[CLI_OPTIONS_MAX];   /* of CLI_VALUE */
	char **lists[CLI_OPTIONS_MAX];   /* of CLI_VALUES; NULL when none */
	gboolean flags[CLI_OPTIONS_MAX];
	char **args;                     /* positional ones, NULL-terminated */
	int n_args;
};

struct cli_verb {
	const char *words;    /* "enroll new" */
	const char *args;     /* positional arguments for the synopsis: "ID RequestType [Key=value]…" */
	int args_min, args_max; /* args_max < 0: any number */
	const char *summary;  /* one line */
	const char *text;     /* paragraphs for --help and the man page: examples first */
	const struct cli_option *options; /* ended by a NULL name; --data, --json, --server, --token-file, --help are there for all that need them */
	unsigned common;      /* CLI_COMMON_* */
	int (*run)(const struct cli *cli);
};
enum { CLI_COMMON_DATA = 1, CLI_COMMON_JSON = 2, CLI_COMMON_REMOTE = 4, CLI_COMMON_API = CLI_COMMON_DATA | CLI_COMMON_JSON | CLI_COMMON_REMOTE };

extern const struct cli_verb cli_verbs[]; /* ended by NULL words */

/* Value, list or flag of option NAME (own or common), NULL or false when it was not given. */
const char *cli_value(const struct cli *cli, const char *name);
char *const *cli_list(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);
const char *cli_data(const struct cli *cli); /* --data, else POMONA_DATA, else /var/lib/pomona */

/* Says what went wrong on stderr ("pomona: … (POM-E0003)") and returns the exit code that fits. */
int cli_fail(const GError *error);
/* Writes JSON to stdout, indented, with a newline. */
void cli_print_json(const json_t *json);

/* Calls the admin API: over the unix socket of the data directory, or --server with --token-file. BODY may be NULL. The reply's JSON,
 * transfer full; NULL with ERROR (a problem document becomes its error). */
json_t *cli_call(const struct cli *cli, const char *method, const char *path, const char *content_type, GBytes *body, GError **error);
/* The same with a JSON body (transfer full). */
json_t *cli_call_json(const struct cli *cli, const char *method, const char *path, json_t *body, GError **error);

/* The same for calls that answer a file: its bytes, transfer full. */
GBytes *cli_call_raw(const struct cli *cli, const char *method, const char *path, const char *content_type, GBytes *body, GError **error);

/* A table for people: columns are keys of the items. */
struct cli_column { const char *title, *key; };
void cli_print_table(const json_t *items, const struct cli_column *columns, size_t n);
/* "key: value" lines. */
void cli_print_object(const json_t *object);
/* Reads all pages of a listing: array, transfer full. PATH may hold a query. */
json_t *cli_call_all(const struct cli *cli, const char *path, GError **error);

/* Prints reports (struct lint_report), worst findings first, in the form asked for (--json, --junit). The exit code: 1 when an error stands. */
int cli_show_lint(const struct cli *cli, const GPtrArray *reports);
/* Prints REPLY (transfer full) in the form asked for; NULL: ERROR. The exit code. */
int cli_show(const struct cli *cli, json_t *reply, const GError *error);
int cli_show_list(const struct cli *cli, const char *path, const struct cli_column *columns, size_t n);
/* "/api/v1/FAMILY/ARG[0]TAIL" with the argument escaped; transfer full. */
char *cli_path(const struct cli *cli, const char *family, const char *tail);
/* Calls that without a body and prints the reply. */
int cli_call_one(const struct cli *cli, const char *method, const char *family, const char *tail);
/* "90s", "30m", "24h", "7d" → seconds. POM_ERR_USAGE. */
bool cli_parse_time(const char *text, int64_t *ret, GError **error);
/* A file, or standard input for "-"; NUL-terminated, transfer full. POM_ERR_IO. */
char *cli_read_file(const char *path, gsize *ret_len, GError **error);

/* A file, or standard input for "-", that may be secret: wiped when freed. transfer full; POM_ERR_IO. */
GBytes *cli_read_secret(const char *path, GError **error);
/* The file of option NAME likewise; *RET NULL without an error when the option was not given. */
bool cli_read_option(const struct cli *cli, const char *name, GBytes **ret, GError **error);
/* The text of --password-file without its newline, for cli_forget; *RET NULL when it was not given. */
bool cli_read_password(const struct cli *cli, char **ret, GError **error);
/* Wipes and frees; NULL is fine. */
void cli_forget(char *password);

/* PROFILE to the file of --out (mode 0600: it may hold secrets), else to standard output; NULL: ERROR is said. The exit code. */
int cli_write_profile(const struct cli *cli, GBytes *profile, const GError *error);

/* The value behind "KEY=": JSON, text, or with @FILE and @- a file's text. transfer full; POM_ERR_USAGE. */
json_t *cli_parse_value(const char *key, const char *text, GError **error);

/* The verbs of each family. */
int cmd_init(const struct cli *cli);
int cmd_serve(const struct cli *cli);
int cmd_backup(const struct cli *cli);
int cmd_restore(const struct cli *cli);
int cmd_migrate_store(const struct cli *cli);
int cmd_enroll_new(const struct cli *cli);
int cmd_enroll_list(const struct cli *cli);
int cmd_enroll_revoke(const struct cli *cli);
int cmd_enroll_show(const struct cli *cli);
int cmd_device_ca_add(const struct cli *cli);
int cmd_device_ca_list(const struct cli *cli);
int cmd_device_ca_remove(const struct cli *cli);
int cmd_watch_list(const struct cli *cli);
int cmd_node_list(const struct cli *cli);
int cmd_push_status(const struct cli *cli);
int cmd_push_resume(const struct cli *cli);
int cmd_device_list(const struct cli *cli);
int cmd_device_show(const struct cli *cli);
int cmd_device_timeline(const struct cli *cli);
int cmd_device_verdict(const struct cli *cli);
int cmd_device_return(const struct cli *cli);
int cmd_device_first_use(const struct cli *cli);
int cmd_device_push(const struct cli *cli);
int cmd_command_send(const struct cli *cli);
int cmd_command_list(const struct cli *cli);
int cmd_command_show(const struct cli *cli);
int cmd_command_cancel(const struct cli *cli);
int cmd_command_help(const struct cli *cli);
int cmd_token_new(const struct cli *cli);
int cmd_token_list(const struct cli *cli);
int cmd_token_revoke(const struct cli *cli);
int cmd_push_cert_setup(const struct cli *cli);
int cmd_push_cert_vendor_csr(const struct cli *cli);
int cmd_push_cert_vendor_list(const struct cli *cli);
int cmd_push_cert_vendor_remove(const struct cli *cli);
int cmd_push_cert_csr(const struct cli *cli);
int cmd_push_cert_requests(const struct cli *cli);
int cmd_push_cert_cancel(const struct cli *cli);
int cmd_push_cert_sign(const struct cli *cli);
int cmd_push_cert_chain(const struct cli *cli);
int cmd_push_cert_mdmcert(const struct cli *cli);
int cmd_push_cert_import(const struct cli *cli);
int cmd_push_cert_export(const struct cli *cli);
int cmd_push_cert_show(const struct cli *cli);
int cmd_push_cert_check(const struct cli *cli);
int cmd_push_cert_default(const struct cli *cli);
int cmd_push_cert_account(const struct cli *cli);
int cmd_push_cert_remove(const struct cli *cli);
int cmd_sim_device(const struct cli *cli);
int cmd_sim_factory_ca(const struct cli *cli);
int cmd_sim_apns(const struct cli *cli);
int cmd_sim_portal(const struct cli *cli);
int cmd_sim_scep(const struct cli *cli);
int cmd_explain(const struct cli *cli);
int cmd_version(const struct cli *cli);
int cmd_ca_show(const struct cli *cli);
int cmd_ca_create(const struct cli *cli);
int cmd_ca_import(const struct cli *cli);
int cmd_ca_csr(const struct cli *cli);
int cmd_ca_install(const struct cli *cli);
int cmd_ca_renew(const struct cli *cli);
int cmd_ca_rekey(const struct cli *cli);
int cmd_ca_devices(const struct cli *cli);
int cmd_ca_issue(const struct cli *cli);
int cmd_ca_list(const struct cli *cli);
int cmd_ca_cert(const struct cli *cli);
int cmd_ca_revoke(const struct cli *cli);
int cmd_ca_release(const struct cli *cli);
int cmd_ca_crl(const struct cli *cli);
int cmd_ca_requests(const struct cli *cli);
int cmd_ca_approve(const struct cli *cli);
int cmd_ca_deny(const struct cli *cli);
int cmd_ca_audit(const struct cli *cli);
int cmd_ca_audit_verify(const struct cli *cli);
int cmd_ca_expiry(const struct cli *cli);
int cmd_challenge_new(const struct cli *cli);
int cmd_challenge_list(const struct cli *cli);
int cmd_challenge_revoke(const struct cli *cli);
int cmd_scep_profile_list(const struct cli *cli);
int cmd_scep_profile_show(const struct cli *cli);
int cmd_scep_profile_set(const struct cli *cli);
int cmd_scep_profile_remove(const struct cli *cli);
int cmd_outside_ca_list(const struct cli *cli);
int cmd_outside_ca_set(const struct cli *cli);
int cmd_outside_ca_remove(const struct cli *cli);
int cmd_profile_sign(const struct cli *cli);
int cmd_profile_verify(const struct cli *cli);
int cmd_profile_encrypt(const struct cli *cli);
int cmd_profile_decrypt(const struct cli *cli);
int cmd_lint(const struct cli *cli);
int cmd_device_renew(const struct cli *cli);
int cmd_profile_add(const struct cli *cli);
int cmd_profile_list(const struct cli *cli);
int cmd_profile_show(const struct cli *cli);
int cmd_profile_versions(const struct cli *cli);
int cmd_profile_get(const struct cli *cli);
int cmd_profile_remove(const struct cli *cli);
int cmd_profile_assign(const struct cli *cli);
int cmd_profile_unassign(const struct cli *cli);
int cmd_profile_status(const struct cli *cli);
int cmd_profile_resend(const struct cli *cli);
int cmd_profile_install(const struct cli *cli);
int cmd_device_profiles(const struct cli *cli);
int cmd_device_facts(const struct cli *cli);
int cmd_device_set(const struct cli *cli);
int cmd_device_unset(const struct cli *cli);
int cmd_group_create(const struct cli *cli);
int cmd_group_list(const struct cli *cli);
int cmd_group_show(const struct cli *cli);
int cmd_group_members(const struct cli *cli);
int cmd_group_add(const struct cli *cli);
int cmd_group_remove(const struct cli *cli);
int cmd_group_delete(const struct cli *cli);
int cmd_doctor(const struct cli *cli);
int cmd_group_test(const struct cli *cli);
int cmd_group_change(const struct cli *cli);
int cmd_order_list(const struct cli *cli);
int cmd_order_show(const struct cli *cli);
int cmd_order_cancel(const struct cli *cli);
int cmd_device_unenroll(const struct cli *cli);
int cmd_device_delete(const struct cli *cli);
int cmd_device_block(const struct cli *cli);
int cmd_device_unblock(const struct cli *cli);
int cmd_device_blocked(const struct cli *cli);
int cmd_device_apps(const struct cli *cli);
int cmd_device_certificates(const struct cli *cli);
int cmd_device_told(const struct cli *cli);
/* Whether command send names devices by --group, --query, --device or --all. */
bool cli_is_order(const struct cli *cli);
/* Sends COMMAND (transfer full), or the property list in FILE, to all of them. The exit code. */
int cli_order_send(const struct cli *cli, json_t *command, const char *file);
/* The profiles that the device told. */
int cli_device_installed(const struct cli *cli);
int cmd_declaration_add(const struct cli *cli);
int cmd_declaration_lint(const struct cli *cli);
int cmd_declaration_list(const struct cli *cli);
int cmd_declaration_show(const struct cli *cli);
int cmd_declaration_status(const struct cli *cli);
int cmd_declaration_remove(const struct cli *cli);
int cmd_set_new(const struct cli *cli);
int cmd_set_list(const struct cli *cli);
int cmd_set_show(const struct cli *cli);
int cmd_set_delete(const struct cli *cli);
int cmd_set_add(const struct cli *cli);
int cmd_set_remove(const struct cli *cli);
int cmd_set_assign(const struct cli *cli);
int cmd_set_unassign(const struct cli *cli);
int cmd_watch_enable(const struct cli *cli);
int cmd_apply(const struct cli *cli);
int cmd_device_declarations(const struct cli *cli);
int cmd_device_status(const struct cli *cli);

/* From now on Ctrl-C and the like do not end the process: long work looks between two steps whether it was broken off, and leaves nothing behind. */
void cli_catch_signals(void);
bool cli_is_interrupted(void);
