/* Calls to the admin API, and printing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "http/client.h"
#include "server/datadir.h"

const char *cli_data(const struct cli *cli)
{
	const char *given = cli_value(cli, "data"), *environment = g_getenv("POMONA_DATA");

	return given ? given : environment && *environment ? environment : "/var/lib/pomona";
}

int cli_fail(const GError *error)
{
	const struct pom_error_info *info = pom_error_info_of(error);

	fprintf(stderr, "pomona: %s (%s)\n", error ? error->message : info->text, info->id);
	if (!error || error->domain != POM_ERROR)
		return CLI_FAILED;
	switch (error->code) {
	case POM_ERR_USAGE:
	case POM_ERR_CONFIG:
		return CLI_USAGE;
	case POM_ERR_NOT_FOUND:
		return CLI_NOT_FOUND;
	case POM_ERR_UNAUTHORIZED:
	case POM_ERR_FORBIDDEN:
		return CLI_NOT_AUTHORIZED;
	case POM_ERR_UNREACHABLE:
	case POM_ERR_STORE_AWAY:
		return CLI_UNREACHABLE;
	default:
		return CLI_FAILED;
	}
}

void cli_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', stdout);
}

static char *read_token(const struct cli *cli, GError **error)
{
	const char *file = cli_value(cli, "token-file");
	char *text = NULL;

	if (!file) {
		pom_fail(error, POM_ERR_USAGE, "--server needs --token-file");
		return NULL;
	}
	if (!g_file_get_contents(file, &text, NULL, NULL)) {
		pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", file, g_strerror(errno));
		return NULL;
	}
	return g_strstrip(text);
}

/* The error of a problem document. */
static void read_problem(const struct http_client_reply *reply, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len);
	g_autoptr(json_t) json = json_parse(data, len, NULL);
	const char *detail = json_string_value(json_object_get(json, "detail")), *code = json_string_value(json_object_get(json, "code"));
	enum pom_error known = code ? pom_error_find(code) : POM_ERR_MAX;

	pom_fail(error, known < POM_ERR_MAX ? known : POM_ERR_INTERNAL, "%s", detail ? detail : "the server answered with an error");
}

GBytes *cli_call_raw(const struct cli *cli, const char *method, const char *path, const char *content_type, GBytes *body, GError **error)
{
	const char *server = cli_value(cli, "server");
	g_autofree char *socket_path = datadir_path(cli_data(cli), DATADIR_SOCKET);
	g_autofree char *url = g_strconcat(server ? server : "http://localhost", path, NULL), *token = NULL, *authorization = NULL, *type = NULL;
	const char *headers[4] = {0};
	struct http_client_reply reply = {0};
	g_autoptr(GError) inner = NULL;
	gsize len = 0;
	const void *data = body ? g_bytes_get_data(body, &len) : NULL;
	GBytes *answer = NULL;
	int n = 0;

	if (server && !(token = read_token(cli, error)))
		return NULL;
	if (token)
		headers[n++] = authorization = g_strconcat("Authorization: Bearer ", token, NULL);
	if (content_type)
		headers[n++] = type = g_strconcat("Content-Type: ", content_type, NULL);
	if (!http_client_run(&(struct http_client_call){.method = method, .url = url, .unix_path = server ? NULL : socket_path, .headers = headers, .body = data, .body_len = len}, &reply, &inner)) {
		if (server)
			pom_fail(error, POM_ERR_UNREACHABLE, "%s", inner->message);
		else
			pom_fail(error, POM_ERR_UNREACHABLE, "no server answers at %s: is \"pomona serve --data %s\" running? (%s)", socket_path, cli_data(cli), inner->message);
	} else if (reply.status >= 400) {
		read_problem(&reply, error);
	} else {
		answer = g_bytes_ref(reply.body);
	}
	http_client_reply_clear(&reply);
	return answer;
}

json_t *cli_call(const struct cli *cli, const char *method, const char *path, const char *content_type, GBytes *body, GError **error)
{
	g_autoptr(GBytes) answer = cli_call_raw(cli, method, path, content_type, body, error);

	return answer ? json_parse(g_bytes_get_data(answer, NULL), g_bytes_get_size(answer), error) : NULL;
}

json_t *cli_call_json(const struct cli *cli, const char *method, const char *path, json_t *body, GError **error)
{
	g_autoptr(json_t) owned = body;
	g_autoptr(GBytes) text = owned ? json_format(owned) : NULL;

	return cli_call(cli, method, path, owned ? "application/json" : NULL, text, error);
}

json_t *cli_call_all(const struct cli *cli, const char *path, GError **error)
{
	g_autofree char *next = g_strdup("");
	json_t *all = json_array();

	while (next) {
		g_autofree char *page = g_strdup_printf("%s%climit=500&after=%s", path, strchr(path, '?') ? '&' : '?', next);
		g_autoptr(json_t) reply = cli_call(cli, "GET", page, NULL, NULL, error);

		if (!reply) {
			json_decref(all);
			return NULL;
		}
		json_array_extend(all, json_object_get(reply, "items"));
		g_free(next);
		next = g_strdup(json_string_value(json_object_get(reply, "next")));
	}
	return all;
}

/* A value for people; FLAGS of jansson for what is nested. transfer full. */
static char *text_of(const json_t *value, size_t flags)
{
	if (!value || json_is_null(value))
		return g_strdup("-");
	if (json_is_string(value))
		return g_strdup(json_string_value(value));
	if (json_is_boolean(value))
		return g_strdup(json_is_true(value) ? "yes" : "no");
	if (json_is_integer(value))
		return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return json_dumps(value, flags | JSON_ENCODE_ANY);
}

/* One line, as a cell of a table must be. transfer full. */
static char *text_of_cell(const json_t *value)
{
	bool is_empty = (json_is_array(value) && !json_array_size(value)) || (json_is_object(value) && !json_object_size(value));

	return is_empty ? g_strdup("-") : text_of(value, JSON_COMPACT);
}

void cli_print_table(const json_t *items, const struct cli_column *columns, size_t n)
{
	g_autofree glong *widths = g_new0(glong, n);
	const json_t *item;
	size_t row;

	for (size_t c = 0; c < n; c++)
		widths[c] = (glong)strlen(columns[c].title);
	json_array_foreach((json_t *)(uintptr_t)items, row, item)
		for (size_t c = 0; c < n; c++) {
			g_autofree char *text = text_of_cell(json_object_get(item, columns[c].key));

			widths[c] = MAX(widths[c], g_utf8_strlen(text, -1));
		}
	for (size_t c = 0; c < n; c++)
		printf("%s%*s", columns[c].title, c + 1 < n ? (int)(widths[c] + 2 - (glong)strlen(columns[c].title)) : 0, "");
	putchar('\n');
	json_array_foreach((json_t *)(uintptr_t)items, row, item) {
		for (size_t c = 0; c < n; c++) {
			g_autofree char *text = text_of_cell(json_object_get(item, columns[c].key));

			printf("%s%*s", text, c + 1 < n ? (int)(widths[c] + 2 - g_utf8_strlen(text, -1)) : 0, "");
		}
		putchar('\n');
	}
}

void cli_print_object(const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		g_autofree char *text = text_of(value, JSON_INDENT(2));

		printf("%-24s %s\n", key, text);
	}
}

int cli_show(const struct cli *cli, json_t *reply, const GError *error)
{
	g_autoptr(json_t) owned = reply;

	if (!owned)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(owned);
	else
		cli_print_object(owned);
	return CLI_OK;
}

int cli_show_list(const struct cli *cli, const char *path, const struct cli_column *columns, size_t n)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) items = cli_call_all(cli, path, &error);

	if (!items)
		return cli_fail(error);
	if (cli_flag(cli, "json"))
		cli_print_json(items);
	else
		cli_print_table(items, columns, n);
	return CLI_OK;
}

char *cli_path(const struct cli *cli, const char *family, const char *tail)
{
	g_autofree char *escaped = g_uri_escape_string(cli->args[0], NULL, FALSE);

	return g_strdup_printf("/api/v1/%s/%s%s", family, escaped, tail);
}

int cli_call_one(const struct cli *cli, const char *method, const char *family, const char *tail)
{
	g_autofree char *path = cli_path(cli, family, tail);
	g_autoptr(GError) error = NULL;
	json_t *reply = cli_call(cli, method, path, NULL, NULL, &error);

	return cli_show(cli, reply, error);
}

bool cli_parse_time(const char *text, int64_t *ret, GError **error)
{
	char *end;
	gint64 n = g_ascii_strtoll(text, &end, 10);
	int64_t unit = !strcmp(end, "s") || !*end ? 1 : !strcmp(end, "m") ? 60 : !strcmp(end, "h") ? 3600 : !strcmp(end, "d") ? 86400 : 0;

	if (end == text || !unit || n <= 0 || n > 366 * 86400)
		return pom_fail(error, POM_ERR_USAGE, "\"%s\" is not a time such as 30m, 24h or 7d", text);
	*ret = n * unit;
	return true;
}

char *cli_read_file(const char *name, gsize *ret_len, GError **error)
{
	g_autoptr(GByteArray) all = g_byte_array_new();
	char chunk[4096], *text = NULL;
	ssize_t n;

	if (strcmp(name, "-")) {
		if (!g_file_get_contents(name, &text, ret_len, NULL))
			pom_fail(error, POM_ERR_IO, "%s cannot be read: %s", name, g_strerror(errno));
		return text;
	}
	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		g_byte_array_append(all, (guint8 *)chunk, (guint)n);
	g_byte_array_append(all, (const guint8 *)"", 1);
	*ret_len = all->len - 1;
	return (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
}

static bool is_json_value(const char *text)
{
	return *text == '[' || *text == '{' || !strcmp(text, "true") || !strcmp(text, "false") || (*text && strspn(text, "0123456789") == strlen(text));
}

json_t *cli_parse_value(const char *key, const char *text, GError **error)
{
	g_autofree char *read = NULL;
	gsize len;
	json_error_t where;
	json_t *value;

	if (*text == '@') {
		read = cli_read_file(text + 1, &len, error);
		if (!read)
			return NULL;
		/* A secret typed or piped in ends with a newline that is not part of it. */
		while (len && (read[len - 1] == '\n' || read[len - 1] == '\r'))
			read[--len] = '\0';
		value = json_stringn(read, len);
		if (!value)
			pom_fail(error, POM_ERR_USAGE, "%s: %s is not UTF-8 text; for binary data give %s='{\"$data\": \"base64\"}'", key, text + 1, key);
		return value;
	}
	if (!is_json_value(text))
		return json_string(text);
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
	if (!value)
		pom_fail(error, POM_ERR_USAGE, "%s: %s (column %d)", key, where.text, where.column);
	return value;
}

/* ---- long work that people break off ---- */

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	is_interrupted = 1;
}

void cli_catch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		sigaction(numbers[i], &action, NULL);
}

bool cli_is_interrupted(void)
{
	return is_interrupted;
}
