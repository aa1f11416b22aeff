/* sim scep: the simulator's SCEP client. */
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "sim/sim.h"

enum { WAIT_MAX_S = 86400 };

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

static bool parse_wait(const char *text, int64_t *ret, GError **error)
{
	gint64 seconds = 0;

	if (text && !g_ascii_string_to_signed(text, 10, 0, WAIT_MAX_S, &seconds, NULL))
		return pom_fail(error, POM_ERR_USAGE, "--wait %s is not a number of seconds up to %d", text, WAIT_MAX_S);
	*ret = seconds;
	return true;
}

static bool check_expect(const char *expect, GError **error)
{
	static const char *const names[] = {"success", "failure", "pending", "http", NULL};

	return g_strv_contains(names, expect) || pom_fail(error, POM_ERR_USAGE, "--expect %s is not known: it is success, failure, pending or http", expect);
}

static int run_matrix(const struct sim_scep_options *options)
{
	g_autoptr(GError) error = NULL;
	unsigned n_failed = 0;

	if (!sim_scep_matrix(options, &n_failed, &error))
		return cli_fail(error);
	return n_failed ? CLI_FAILED : CLI_OK;
}

static int run_one(const struct cli *cli, const struct sim_scep_options *options, const char *expect)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) result = NULL;
	const char *status;

	if (!sim_scep_run(options, &result, &error))
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(result);
	else
		cli_print_object(result);
	status = json_string_value(json_object_get(result, "status"));
	if (!g_strcmp0(status, expect))
		return CLI_OK;
	pom_fail(&error, POM_ERR_CONFLICT, "the answer is %s, not %s", status, expect);
	return cli_fail(error);
}

int cmd_sim_scep(const struct cli *cli)
{
	const char *expect = cli_value(cli, "expect") ? cli_value(cli, "expect") : "success";
	g_autoptr(GError) error = NULL;
	struct sim_scep_options options = {
		.url = cli->args[0], .operation = cli_value(cli, "operation"), .form = cli_value(cli, "form"), .method = cli_value(cli, "method"), .cipher = cli_value(cli, "cipher"),
		.digest = cli_value(cli, "digest"), .transport = cli_value(cli, "transport"), .transaction = cli_value(cli, "transaction"), .challenge_file = cli_value(cli, "challenge-file"),
		.challenge_as = cli_value(cli, "challenge-as"), .subject = cli_value(cli, "subject"), .extensions = (const char *const *)cli_list(cli, "extension"),
		.key_type = cli_value(cli, "key-type"), .key_file = cli_value(cli, "key"), .cert_file = cli_value(cli, "cert"), .serial = cli_value(cli, "serial"), .out_dir = cli_value(cli, "out"),
		.ca_file = cli_value(cli, "ca-file"), .ca_name = cli_value(cli, "ca-name"), .fingerprint = cli_value(cli, "fingerprint"), .to_next_ca = cli_flag(cli, "to-next-ca"),
		.pending_url = cli_value(cli, "pending-url"), .stop = &stop,
	};

	if (!parse_wait(cli_value(cli, "wait"), &options.wait_s, &error) || !check_expect(expect, &error))
		return cli_fail(error);
	catch_signals();
	return cli_flag(cli, "matrix") ? run_matrix(&options) : run_one(cli, &options, expect);
}
