/* doctor: what Apple devices will refuse, of a server, of a file with certificates, of a SCEP server, of our own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/face.h"
#include "cli/cli.h"
#include "codec/datetime.h"
#include "probe/probe.h"
#include "server/system_roots.h"

enum { FILE_BYTES_MAX = (1 << 20) + 1, WIDTH_MIN = 40, WIDTH_MAX = 200 };

/* What was asked for, read and checked. */
struct doctor_order {
	struct doctor doctor; /* report NULL until somebody looks */
	int64_t real_now_s;   /* 0: another date was given */
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

static bool read_order(const struct cli *cli, struct doctor_order *order, GError **error)
{
	const char *now = cli_value(cli, "now"), *systems = cli_value(cli, "for");

	order->real_now_s = pom_clock_now_ms(pom_clock_system()) / 1000;
	order->doctor = (struct doctor){.systems = FINDING_ALL_SYSTEMS, .now_s = order->real_now_s, .are_pins = true};
	if (cli_list(cli, "anchors") && cli_value(cli, "profile"))
		return pom_fail(error, POM_ERR_USAGE, "--anchors and --profile are two answers to one question: give one of them");
	if ((now && !parse_now(now, &order->doctor.now_s, error)) || (systems && !parse_systems(systems, &order->doctor.systems, error)) || !read_certs(cli, "trust", &order->trusted, error) ||
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
	return (struct probe){.doctor = &order->doctor, .connect = (const char *const *)cli_list(cli, "connect"), .real_now_s = order->real_now_s};
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

/* Whatever is there as a file is meant as one. */
static bool is_file(const char *name)
{
	return !strcmp(name, "-") || (!strstr(name, "://") && (g_file_test(name, G_FILE_TEST_EXISTS) || strchr(name, '/')));
}

int cmd_doctor(const struct cli *cli)
{
	g_auto(doctor_order) order = {0};
	g_autoptr(GError) error = NULL;

	if (cli_flag(cli, "rules"))
		return show_rules(cli);
	if (!read_order(cli, &order, &error))
		return cli_fail(error);
	if (cli_value(cli, "scep") && cli->n_args)
		pom_fail(&error, POM_ERR_USAGE, "give --scep URL or a target, not both");
	if (error)
		return cli_fail(error);
	if (cli_value(cli, "scep"))
		return look_scep(cli, &order);
	if (!cli->n_args) {
		pom_fail(&error, POM_ERR_USAGE, "say what to look at: https://HOST, a file, or --scep URL");
		return cli_fail(error);
	}
	return is_file(cli->args[0]) ? look_file(cli, &order, cli->args[0]) : look_server(cli, &order, cli->args[0]);
}
