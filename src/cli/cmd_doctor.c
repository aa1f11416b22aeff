/* doctor: what Apple devices will refuse, of a server, of a file with certificates, of a SCEP server, of our own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/face.h"
#include "cli/cli.h"
#include "codec/datetime.h"
#include "codec/scep.h"
#include "probe/probe.h"
#include "server/datadir.h"
#include "server/system_roots.h"
#include "sim/scep_trial.h"

enum { FILE_BYTES_MAX = (1 << 20) + 1, WIDTH_MIN = 40, WIDTH_MAX = 200, OWN_WAIT_S = 180, OWN_POLL_US = 200000, TRIAL_TTL_S = 300, TIMEOUT_MAX_S = 60, STEPS = 9 };

/* What was asked for, read and checked. */
struct doctor_order {
	struct doctor doctor; /* report NULL until somebody looks */
	int64_t real_now_s;   /* 0: another date was given */
	unsigned step_ms;
	GPtrArray *roots, *trusted, *anchors;
	GBytes *fingerprint;
};

static void order_clear(struct doctor_order *order)
{
	g_clear_pointer(&order->roots, g_ptr_array_unref);
	g_clear_pointer(&order->trusted, g_ptr_array_unref);
	g_clear_pointer(&order->anchors, g_ptr_array_unref);
	g_clear_pointer(&order->fingerprint, g_bytes_unref);
	finding_report_free(order->doctor.report);
}
typedef struct doctor_order doctor_order;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(doctor_order, order_clear)

/* ---- what was typed ---- */

/* "2026-01-02T03:04:05Z", or the date alone. */
static bool parse_now(const char *text, int64_t *ret, GError **error)
{
	g_autofree char *whole = strlen(text) == 10 ? g_strconcat(text, "T00:00:00Z", NULL) : g_strdup(text);

	return datetime_parse(whole, strlen(whole), ret) || pom_fail(error, POM_ERR_USAGE, "--now %s is no time: write 2026-01-02 or 2026-01-02T03:04:05Z, in UTC", text);
}

static bool parse_systems(const char *text, unsigned *ret, GError **error)
{
	g_auto(GStrv) names = g_strsplit(text, ",", -1);

	*ret = 0;
	for (char **name = names; *name; name++) {
		unsigned bits = finding_system_parse(*name);

		if (!bits)
			return pom_fail(error, POM_ERR_USAGE, "--for %s: the systems are ios, macos, watchos, tvos, visionos and all", text);
		*ret |= bits;
	}
	return true;
}

/* At most a byte more than the rules take, whatever the file is; transfer full. */
static GBytes *read_some(const char *path, GError **error)
{
	g_autoptr(GByteArray) all = g_byte_array_new();
	uint8_t chunk[16384];
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	ssize_t n = 0;

	while (fd >= 0 && all->len < FILE_BYTES_MAX && (n = read(fd, chunk, sizeof(chunk))) > 0)
		g_byte_array_append(all, chunk, (guint)n);
	if (fd > STDIN_FILENO)
		close(fd);
	explicit_bzero(chunk, sizeof(chunk));
	if (fd >= 0 && n >= 0)
		return g_byte_array_free_to_bytes(g_steal_pointer(&all));
	pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", path, g_strerror(errno));
	return NULL;
}

/* All certificates of the files of option NAME; *RET NULL when it was not given. */
static bool read_certs(const struct cli *cli, const char *name, GPtrArray **ret, GError **error)
{
	char *const *paths = cli_list(cli, name);

	if (!paths)
		return true;
	*ret = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	for (; *paths; paths++) {
		g_autoptr(GBytes) bytes = read_some(*paths, error);
		g_autoptr(GPtrArray) some = bytes ? cert_parse_all(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error) : NULL;

		if (!some) {
			g_prefix_error(error, "--%s %s: ", name, *paths);
			return false;
		}
		for (guint i = 0; i < some->len; i++) {
			X509_up_ref(some->pdata[i]);
			g_ptr_array_add(*ret, some->pdata[i]);
		}
	}
	return true;
}

static bool parse_timeout(const char *text, unsigned *ret_ms, GError **error)
{
	guint64 seconds = PROBE_STEP_MS / 1000;

	if (text && !g_ascii_string_to_unsigned(text, 10, 1, TIMEOUT_MAX_S, &seconds, NULL))
		return pom_fail(error, POM_ERR_USAGE, "--timeout %s is not a number of seconds from 1 to %d", text, TIMEOUT_MAX_S);
	*ret_ms = (unsigned)seconds * 1000;
	return true;
}

static bool read_order(const struct cli *cli, struct doctor_order *order, GError **error)
{
	const char *now = cli_value(cli, "now"), *systems = cli_value(cli, "for");

	order->real_now_s = pom_clock_now_ms(pom_clock_system()) / 1000;
	order->doctor = (struct doctor){.systems = FINDING_ALL_SYSTEMS, .now_s = order->real_now_s, .are_pins = true};
	if (cli_list(cli, "anchors") && cli_value(cli, "profile"))
		return pom_fail(error, POM_ERR_USAGE, "--anchors and --profile are two answers to one question: give one of them");
	if (!parse_timeout(cli_value(cli, "timeout"), &order->step_ms, error) || (now && !parse_now(now, &order->doctor.now_s, error)) || (systems && !parse_systems(systems, &order->doctor.systems, error)) || !read_certs(cli, "trust", &order->trusted, error) ||
	    !read_certs(cli, "anchors", &order->anchors, error))
		return false;
	if (now)
		order->real_now_s = 0;
	order->roots = system_roots_load();
	order->doctor.public_roots = order->roots;
	order->doctor.trusted = order->trusted;
	order->doctor.anchors = order->anchors;
	return true;
}

/* The certificates of --profile; what is wrong with the file is a finding. */
static bool read_profile(const struct cli *cli, struct doctor_order *order, GError **error)
{
	const char *path = cli_value(cli, "profile");
	g_autoptr(GBytes) bytes = path ? read_some(path, error) : NULL;

	if (!path)
		return true;
	if (!bytes)
		return false;
	order->anchors = doctor_profile(&order->doctor, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &order->fingerprint);
	order->doctor.anchors = order->anchors;
	order->doctor.are_pins = false;
	return true;
}

/* ---- what is shown ---- */

static bool is_colored(void)
{
	const char *none = g_getenv("NO_COLOR"), *term = g_getenv("TERM");

	return isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb");
}

static unsigned terminal_width(void)
{
	struct winsize size;

	return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= WIDTH_MIN ? MIN(size.ws_col, (unsigned)WIDTH_MAX) : 0;
}

/* The exit code: 1 when an error stands. */
static int show_report(const struct cli *cli, struct finding_report *report)
{
	g_autofree char *text = NULL;

	finding_report_sort(report);
	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) json = finding_report_format(report);

		cli_print_json(json);
	} else {
		text = cli_flag(cli, "junit") ? finding_report_junit(report, "doctor") : finding_report_text(report, terminal_width(), is_colored());
		fputs(text, stdout);
	}
	return report->n[FINDING_ERROR] ? CLI_FAILED : CLI_OK;
}

static int show_rules(const struct cli *cli)
{
	size_t n;
	const struct doctor_rule *rules = doctor_rules(&n);

	if (cli_flag(cli, "json")) {
		g_autoptr(json_t) json = doctor_rules_format();

		cli_print_json(json);
		return CLI_OK;
	}
	for (size_t i = 0; i < n; i++) {
		g_autofree char *systems = finding_systems_text(rules[i].systems);

		printf("%s%-8s %s  [%s]%s%s\n         %s\n         → %s\n%s%s%s", i ? "\n" : "", finding_severity_name(rules[i].severity), rules[i].id, systems, rules[i].since ? "  since " : "",
		       rules[i].since ? rules[i].since : "", rules[i].text, rules[i].mend, rules[i].source ? "         (" : "", rules[i].source ? rules[i].source : "", rules[i].source ? ")\n" : "");
	}
	return CLI_OK;
}

/* ---- what is looked at ---- */

static struct probe make_probe(const struct cli *cli, const struct doctor_order *order)
{
	return (struct probe){.doctor = &order->doctor, .connect = (const char *const *)cli_list(cli, "connect"), .step_ms = order->step_ms,
	                      .deadline_us = g_get_monotonic_time() + (int64_t)order->step_ms * STEPS * 1000, .real_now_s = order->real_now_s};
}

static int look_server(const struct cli *cli, struct doctor_order *order, const char *name)
{
	g_auto(probe_target) target = {0};
	g_autoptr(GError) error = NULL;
	struct probe probe;

	if (!probe_target_parse(name, &target, &error))
		return cli_fail(error);
	if (!target.is_https) {
		pom_fail(&error, POM_ERR_USAGE, "%s: devices speak https with servers; --scep takes http too", name);
		return cli_fail(error);
	}
	order->doctor.report = finding_report_new(target.url);
	if (!read_profile(cli, order, &error))
		return cli_fail(error);
	probe = make_probe(cli, order);
	if (!cli_value(cli, "profile") || order->anchors)
		probe_look(&probe, &target);
	return show_report(cli, order->doctor.report);
}

static int look_file(const struct cli *cli, struct doctor_order *order, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = read_some(path, &error);
	g_autoptr(GPtrArray) certs = NULL;

	if (!bytes)
		return cli_fail(error);
	order->doctor.report = finding_report_new(path);
	if (!read_profile(cli, order, &error))
		return cli_fail(error);
	certs = doctor_file(&order->doctor, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	if (certs && (!cli_value(cli, "profile") || order->anchors))
		doctor_chain(&order->doctor, certs, cli_value(cli, "host"), "");
	return show_report(cli, order->doctor.report);
}

static int look_scep(const struct cli *cli, struct doctor_order *order)
{
	g_auto(probe_target) target = {0};
	g_autoptr(GError) error = NULL;
	struct probe probe;

	if (!probe_target_parse(cli_value(cli, "scep"), &target, &error))
		return cli_fail(error);
	order->doctor.report = finding_report_new(target.url);
	if (!read_profile(cli, order, &error))
		return cli_fail(error);
	probe = make_probe(cli, order);
	probe_scep(&probe, &target, order->fingerprint, true);
	return show_report(cli, order->doctor.report);
}

/* ---- our own server ---- */

/* A look at the server by itself takes a second where Apple can be reached, and at most some minutes. */
static json_t *wait_for_report(const struct cli *cli, json_int_t run, GError **error)
{
	int64_t end_us = g_get_monotonic_time() + (int64_t)OWN_WAIT_S * G_USEC_PER_SEC;

	while (g_get_monotonic_time() < end_us) {
		g_autoptr(json_t) report = cli_call(cli, "GET", "/api/v1/doctor", NULL, NULL, error);

		if (!report || json_integer_value(json_object_get(report, "run")) >= run)
			return g_steal_pointer(&report);
		g_usleep(OWN_POLL_US);
	}
	pom_fail(error, POM_ERR_UNREACHABLE, "the server's doctor has not finished in %d seconds", OWN_WAIT_S);
	return NULL;
}

static struct finding_report *ask_server(const struct cli *cli, GError **error)
{
	g_autoptr(json_t) asked = cli_call(cli, "POST", "/api/v1/doctor", NULL, NULL, error);
	g_autoptr(json_t) reply = asked ? wait_for_report(cli, json_integer_value(json_object_get(asked, "run")), error) : NULL;

	return reply ? finding_report_parse(reply, error) : NULL;
}

/* The code that a device would show stands before the text of the simulator's refusal. */
static void say_enroll(const struct doctor *doctor, const char *form, const GError *error)
{
	static const struct { const char *code, *rule; } rules[] = {{"22007", "scep-reply-key"}, {"22008", "scep-reply-certificates"}};
	const char *rule = "scep-enroll";

	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (g_str_has_prefix(error->message, rules[i].code))
			rule = rules[i].rule;
	if (g_error_matches(error, POM_ERROR, POM_ERR_SCEP_MESSAGE))
		doctor_say(doctor, rule, form, "a request in the form %s: %s", form, error->message);
	else
		doctor_say_as(doctor, "scep-enroll", FINDING_NOTE, FINDING_ALL_SYSTEMS, form, "no request in the form %s could be tried: %s", form, error->message);
}

/* The certificate of the trial has no use: it goes, or else the challenge that nobody used. */
static void clean_up(const struct cli *cli, const char *challenge_id, const char *serial)
{
	g_autofree char *revoke = serial ? g_strdup_printf("/api/v1/certificates/%s/revoke", serial) : NULL, *close = g_strdup_printf("/api/v1/challenges/%s", challenge_id);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = revoke ? cli_call_json(cli, "POST", revoke, json_pack("{s:s}", "reason", "cessationOfOperation"), &error) : cli_call(cli, "DELETE", close, NULL, NULL, &error);

	if (!reply)
		fprintf(stderr, "pomona: what the doctor made for a trial of SCEP could not be taken back: %s\n", error->message);
}

static void try_form(const struct cli *cli, const struct doctor *doctor, const char *roots, const char *form)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) challenge = cli_call_json(cli, "POST", "/api/v1/challenges", json_pack("{s:s, s:i}", "subject", "CN=Pomona doctor", "ttl_seconds", TRIAL_TTL_S), &error);
	const struct sim_trial trial = {json_string_value(json_object_get(challenge, "url")), json_string_value(json_object_get(challenge, "challenge")), form, roots};
	g_autofree char *serial = NULL;
	int64_t not_before = 0;

	if (!challenge || !sim_scep_trial(&trial, &serial, &not_before, &error))
		say_enroll(doctor, form, error);
	else if (not_before > doctor->now_s)
		doctor_say(doctor, "scep-reply-date", form, "the certificate for the form %s is not valid yet", form);
	if (challenge)
		clean_up(cli, json_string_value(json_object_get(challenge, "id")), serial);
}

/* Old macOS writes 3DES and SHA-1 whatever is announced: who has switched them off knows it. */
static bool takes_legacy(const char *url, unsigned step_ms)
{
	g_autofree char *caps_url = g_strconcat(url, "/scep?operation=GetCACaps", NULL);
	struct doctor_answer answer;
	struct scep_caps caps = {0};
	gsize len;

	probe_fetch("GET", caps_url, NULL, step_ms, NULL, &answer);
	if (answer.body && answer.status == 200) {
		const char *text = g_bytes_get_data(answer.body, &len);

		caps = scep_caps_parse(text ? text : "", len);
	}
	doctor_answer_clear(&answer);
	return caps.des3;
}

static void try_enrollments(const struct cli *cli, const struct doctor *doctor, unsigned step_ms)
{
	g_autofree char *path = cli_value(cli, "server") ? NULL : datadir_path(cli_data(cli), DATADIR_ROOT), *roots = NULL;

	if (path && !g_file_get_contents(path, &roots, NULL, NULL))
		roots = NULL;
	try_form(cli, doctor, roots, "ios");
	try_form(cli, doctor, roots, "modern");
	if (takes_legacy(doctor->report->target, step_ms))
		try_form(cli, doctor, roots, "macos");
}

/* What the server has found, as far as it concerns the systems asked for. */
static struct finding_report *only_for(struct finding_report *all, unsigned systems)
{
	struct finding_report *some = finding_report_new(all->target);

	for (guint i = 0; i < all->findings->len; i++) {
		const struct finding *f = all->findings->pdata[i];

		if (f->systems & systems)
			finding_add(some, f->rule, f->severity, f->systems, f->path, f->line, f->mend, "%s", f->text);
	}
	return some;
}

static bool has_rule(const struct finding_report *report, const char *rule)
{
	for (guint i = 0; i < report->findings->len; i++)
		if (!strcmp(((const struct finding *)report->findings->pdata[i])->rule, rule))
			return true;
	return false;
}

static int look_own(const struct cli *cli, struct doctor_order *order)
{
	static const char *const others[] = {"connect", "anchors", "trust", NULL};
	g_autoptr(GError) error = NULL;
	g_autoptr(finding_report) all = NULL;
	bool is_other = cli_value(cli, "profile") || cli_value(cli, "now") || cli_value(cli, "host");

	for (const char *const *name = others; *name; name++)
		is_other = is_other || cli_list(cli, *name);
	if (is_other)
		pom_fail(&error, POM_ERR_USAGE, "the server looks at itself by its own settings: with --connect, --anchors, --profile, --trust, --now or --host say what to look at");
	all = is_other ? NULL : ask_server(cli, &error);
	if (!all)
		return cli_fail(error);
	order->doctor.report = only_for(all, order->doctor.systems);
	if (!has_rule(all, "mdm-unreachable"))
		try_enrollments(cli, &order->doctor, order->step_ms);
	return show_report(cli, order->doctor.report);
}

/* Whatever is there as a file is meant as one, and what is called as files with certificates are. */
static bool is_file(const char *name)
{
	static const char *const ends[] = {".pem", ".crt", ".cer", ".der", ".p7b", ".p7c", ".mobileconfig", NULL};
	bool is_called_so = false;

	for (const char *const *end = ends; *end; end++)
		is_called_so = is_called_so || g_str_has_suffix(name, *end);
	return !strcmp(name, "-") || (!strstr(name, "://") && (is_called_so || g_file_test(name, G_FILE_TEST_EXISTS) || strchr(name, '/')));
}

int cmd_doctor(const struct cli *cli)
{
	g_auto(doctor_order) order = {0};
	g_autoptr(GError) error = NULL;

	if (cli_flag(cli, "rules"))
		return show_rules(cli);
	/* A server that hangs up within a handshake ends that, and nothing else. */
	signal(SIGPIPE, SIG_IGN);
	if (!read_order(cli, &order, &error))
		return cli_fail(error);
	if (cli_value(cli, "scep") && cli->n_args)
		pom_fail(&error, POM_ERR_USAGE, "give --scep URL or a target, not both");
	if (error)
		return cli_fail(error);
	if (cli_value(cli, "scep"))
		return look_scep(cli, &order);
	if (!cli->n_args)
		return look_own(cli, &order);
	return is_file(cli->args[0]) ? look_file(cli, &order, cli->args[0]) : look_server(cli, &order, cli->args[0]);
}
