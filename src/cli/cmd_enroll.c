/* Enrollment links. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "codec/qr.h"

static json_t *link_wish(const struct cli *cli, GError **error)
{
	g_autoptr(json_t) body = json_object();
	static const char *const texts[] = {"user", "email", "device"};
	int64_t ttl = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		if (cli_value(cli, texts[i]))
			json_object_set_new(body, texts[i], json_string(cli_value(cli, texts[i])));
	if (cli_value(cli, "ttl")) {
		if (!cli_parse_time(cli_value(cli, "ttl"), &ttl, error))
			return NULL;
		json_object_set_new(body, "ttl_seconds", json_integer(ttl));
	}
	if (cli_flag(cli, "ota"))
		json_object_set_new(body, "ota", json_true());
	return g_steal_pointer(&body);
}

/* A code drawn in escape sequences is right on any terminal; elsewhere they would be rubbish. */
static bool is_colored(void)
{
	const char *none = g_getenv("NO_COLOR"), *term = g_getenv("TERM");

	return isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb");
}

/* Whoever reads the file can enroll: it is the owner's alone. */
static bool write_svg(const char *path, const struct qr *code, GError **error)
{
	g_autofree char *svg = qr_format_svg(code, "QR code of an enrollment link");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(svg);
	bool ok = fd >= 0 && write(fd, svg, len) == (ssize_t)len;
	int number = errno;

	if (fd >= 0 && close(fd) < 0)
		ok = false;
	return ok ? true : pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", path, g_strerror(number));
}

static bool draw(const struct cli *cli, const char *url, GError **error)
{
	g_autoptr(qr) code = qr_new(url, error);

	if (!code)
		return false;
	if (cli_flag(cli, "qr")) {
		g_autofree char *text = qr_format_terminal(code, is_colored());

		printf("\n%s", text);
	}
	return !cli_value(cli, "svg") || write_svg(cli_value(cli, "svg"), code, error);
}

/* What the doctor knows against handing the link out goes to people apart from the link. */
static void show_findings(json_t *reply)
{
	json_t *list = json_object_get(reply, "findings"), *item;
	size_t i;

	json_array_foreach(list, i, item)
		fprintf(stderr, "pomona: %s: %s (pomona doctor: %s)\n", json_string_value(json_object_get(item, "severity")), json_string_value(json_object_get(item, "text")), json_string_value(json_object_get(item, "rule")));
	json_object_del(reply, "findings");
}

int cmd_enroll_new(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = NULL;
	json_t *body = NULL;
	int code;

	if (cli_flag(cli, "qr") && cli_flag(cli, "json"))
		pom_fail(&error, POM_ERR_USAGE, "--qr draws for people, --json is for programs: use --svg FILE with it");
	else
		body = link_wish(cli, &error);
	if (!body)
		return cli_fail(error);
	reply = cli_call_json(cli, "POST", "/api/v1/links", body, &error);
	if (reply && !cli_flag(cli, "json"))
		show_findings(reply);
	code = cli_show(cli, json_incref(reply), error);
	if (code == CLI_OK && (cli_flag(cli, "qr") || cli_value(cli, "svg")) && !draw(cli, json_string_value(json_object_get(reply, "url")), &error))
		return cli_fail(error);
	return code;
}

int cmd_enroll_list(const struct cli *cli)
{
	static const struct cli_column columns[] = {{"ID", "id"}, {"STATE", "state"}, {"USER", "user"}, {"DEVICE", "device"}, {"EXPIRES", "expires"}};

	return cli_show_list(cli, "/api/v1/links", columns, G_N_ELEMENTS(columns));
}

int cmd_enroll_revoke(const struct cli *cli)
{
	return cli_call_one(cli, "DELETE", "links", "");
}
