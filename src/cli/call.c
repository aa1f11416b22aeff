/* Calls to the admin API, and printing. */
#include <stdio.h>
#include <string.h>

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
		pom_fail(error, POM_ERR_IO, "%s cannot be read", file);
		return NULL;
	}
	return g_strstrip(text);
}

/* What the server said: JSON, or the error of its problem document. */
static json_t *read_reply(const struct http_client_reply *reply, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len);
	json_t *json = json_parse(data, len, reply->status < 400 ? error : NULL);
	const char *detail = json_string_value(json_object_get(json, "detail")), *code = json_string_value(json_object_get(json, "code"));
	enum pom_error known = code ? pom_error_find(code) : POM_ERR_MAX;

	if (reply->status < 400)
		return json;
	pom_fail(error, known < POM_ERR_MAX ? known : POM_ERR_INTERNAL, "%s", detail ? detail : "the server answered with an error");
	json_decref(json);
	return NULL;
}

json_t *cli_call(const struct cli *cli, const char *method, const char *path, const char *content_type, GBytes *body, GError **error)
{
	const char *server = cli_value(cli, "server");
	g_autofree char *socket_path = datadir_path(cli_data(cli), DATADIR_SOCKET);
	g_autofree char *url = g_strconcat(server ? server : "http://localhost", path, NULL), *token = NULL, *authorization = NULL, *type = NULL;
	const char *headers[4] = {0};
	struct http_client_reply reply = {0};
	g_autoptr(GError) inner = NULL;
	gsize len = 0;
	const void *data = body ? g_bytes_get_data(body, &len) : NULL;
	json_t *json = NULL;
	int n = 0;

	if (server && !(token = read_token(cli, error)))
		return NULL;
	if (token)
		headers[n++] = authorization = g_strconcat("Authorization: Bearer ", token, NULL);
	if (content_type)
		headers[n++] = type = g_strconcat("Content-Type: ", content_type, NULL);
	if (http_client_run(&(struct http_client_call){.method = method, .url = url, .unix_path = server ? NULL : socket_path, .headers = headers, .body = data, .body_len = len}, &reply, &inner))
		json = read_reply(&reply, error);
	else if (server)
		pom_fail(error, POM_ERR_UNREACHABLE, "%s", inner->message);
	else
		pom_fail(error, POM_ERR_UNREACHABLE, "no server answers at %s: is \"pomona serve --data %s\" running? (%s)", socket_path, cli_data(cli), inner->message);
	http_client_reply_clear(&reply);
	return json;
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

/* A value for people. transfer full. */
static char *text_of(const json_t *value)
{
	if (!value || json_is_null(value))
		return g_strdup("-");
	if (json_is_string(value))
		return g_strdup(json_string_value(value));
	if (json_is_boolean(value))
		return g_strdup(json_is_true(value) ? "yes" : "no");
	if (json_is_integer(value))
		return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
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
			g_autofree char *text = text_of(json_object_get(item, columns[c].key));

			widths[c] = MAX(widths[c], g_utf8_strlen(text, -1));
		}
	for (size_t c = 0; c < n; c++)
		printf("%s%*s", columns[c].title, c + 1 < n ? (int)(widths[c] + 2 - (glong)strlen(columns[c].title)) : 0, "");
	putchar('\n');
	json_array_foreach((json_t *)(uintptr_t)items, row, item) {
		for (size_t c = 0; c < n; c++) {
			g_autofree char *text = text_of(json_object_get(item, columns[c].key));

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
		g_autofree char *text = text_of(value);

		printf("%-24s %s\n", key, text);
	}
}
