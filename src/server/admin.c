/* The admin API: JSON over the admin listener (bearer token) and the unix socket (peer credentials). */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "server/server_internal.h"

enum { BODY_MAX = 12 << 20, PUBLIC = 1 };

/* RFC 9457. */
static struct http_response *problem(const struct http_request *request, const GError *error)
{
	const struct pom_error_info *info = pom_error_info_of(error);
	/* A message cut within a character is no JSON string. */
	g_autofree char *detail = g_utf8_make_valid(error ? error->message : info->text, -1);
	g_autoptr(json_t) body = json_pack("{s:s, s:s, s:i, s:s, s:s, s:b}", "type", "about:blank", "title", info->text, "status", info->http_status,
	                                   "detail", detail, "code", info->id, "retry", info->retry);
	struct http_response *response;

	server_log_refusal(request, NULL, error);
	response = http_response_new(info->http_status, "application/problem+json", json_format(body));
	if (info->http_status == 401)
		http_response_header(response, "WWW-Authenticate", "Bearer realm=\"pomona\"");
	server_add_retry(response, info);
	return response;
}

struct http_response *admin_refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail)
{
	g_autoptr(GError) error = NULL;

	pom_fail(&error, reason, "%s", detail ? detail : pom_error_info(reason)->text);
	return problem(head, error);
}

/* JSON (transfer full) or the error. */
static struct http_response *answer(const struct http_request *request, int status, json_t *json, const GError *error)
{
	struct http_response *response;

	if (!json)
		return problem(request, error);
	response = http_response_new(status, "application/json", json_format(json));
	http_response_header(response, "Cache-Control", "no-store");
	json_decref(json);
	return response;
}

static bool is_authorized(struct server *server, const struct http_request *request, GError **error)
{
	const char *header = http_request_header(request, "Authorization");
	g_autofree char *name = NULL;
	GError *inner = NULL;

	if (request->is_unix && (request->unix_uid == 0 || request->unix_uid == geteuid()))
		return true;
	if (header && !g_ascii_strncasecmp(header, "Bearer ", strlen("Bearer ")))
		name = service_token_find(server->service, header + strlen("Bearer "), &inner);
	if (name)
		return true;
	if (inner) {
		g_propagate_error(error, inner);
		return false;
	}
	return pom_fail(error, POM_ERR_UNAUTHORIZED, header ? "the token is unknown or revoked" : "send the header Authorization: Bearer TOKEN; init wrote a token into admin.token of the data directory");
}

static int64_t limit_of(const struct http_request *request)
{
	g_autofree char *text = http_request_query(request, "limit");

	return text ? g_ascii_strtoll(text, NULL, 10) : 100;
}

static char *after_of(const struct http_request *request)
{
	char *text = http_request_query(request, "after");

	return text ? text : g_strdup("");
}

/* The body as a JSON object; an empty one is an empty object. */
static json_t *body_object(const struct http_request *request, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(request->body, &len);
	json_t *json = len ? json_parse(data, len, error) : json_object();

	if (json && !json_is_object(json)) {
		json_decref(json);
		pom_fail(error, POM_ERR_JSON, "the body must be a JSON object");
		return NULL;
	}
	return json;
}

/* Refuses keys that nobody reads: a misspelt one would be silently ignored. */
static bool check_keys(json_t *object, const char *const *known, GError **error)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
		if (!g_strv_contains(known, key))
			return pom_fail(error, POM_ERR_JSON, "the key \"%.64s\" is not known here", key);
	return true;
}

static bool get_text(json_t *object, const char *key, const char **ret, GError **error)
{
	json_t *value = json_object_get(object, key);

	if (value && !json_is_null(value) && !json_is_string(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be a string", key);
	*ret = json_string_value(value);
	return true;
}

/* ---- handlers: one for each route, run after authorisation ---- */

typedef json_t *(*admin_fn)(struct server *server, const struct http_request *request, GError **error);

static json_t *devices(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = after_of(request);

	return service_device_list(server->service, after, limit_of(request), error);
}

static json_t *device(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_show(server->service, request->params[0], error);
}

static json_t *device_events(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = after_of(request);

	return service_device_events(server->service, request->params[0], after, limit_of(request), error);
}

static json_t *device_push(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_push(server->service, request->params[0], error);
}

static json_t *device_commands(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = after_of(request), *state = http_request_query(request, "state");

	if (state && strcmp(state, "pending") && strcmp(state, "done")) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "state must be pending or done");
		return NULL;
	}
	return service_command_list(server->service, request->params[0], state && !strcmp(state, "done"), after, limit_of(request), error);
}

static bool is_plist(const struct http_request *request)
{
	const char *type = http_request_header(request, "Content-Type");

	return type && (strstr(type, "xml") || strstr(type, "plist"));
}

static json_t *command_send(struct server *server, const struct http_request *request, GError **error)
{
	return service_command_send(server->service, request->params[0], request->body, is_plist(request), error);
}

static json_t *command_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_command_show(server->service, request->params[0], error);
}

static json_t *command_cancel(struct server *server, const struct http_request *request, GError **error)
{
	return service_command_cancel(server->service, request->params[0], error);
}

static json_t *links(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = after_of(request);

	return service_link_list(server->service, after, limit_of(request), error);
}

static json_t *link_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"user", "device", "ttl_seconds", NULL};
	g_autoptr(json_t) body = body_object(request, error);
	struct link_request wish = {0};
	struct link_made made = {0};
	json_t *reply = NULL;

	if (!body || !check_keys(body, keys, error) || !get_text(body, "user", &wish.user_name, error) || !get_text(body, "device", &wish.device_name, error))
		return NULL;
	if (json_object_get(body, "ttl_seconds") && !json_is_integer(json_object_get(body, "ttl_seconds"))) {
		pom_fail(error, POM_ERR_JSON, "ttl_seconds must be a whole number");
		return NULL;
	}
	wish.ttl_s = json_integer_value(json_object_get(body, "ttl_seconds"));
	if (service_link_new(server->service, &wish, &made, error)) {
		g_autofree char *expires = pom_time_format(made.expires_ms);

		reply = json_pack("{s:s, s:s, s:s, s:s}", "id", made.id, "url", made.url, "profile_url", made.profile_url, "expires", expires);
	}
	link_made_clear(&made);
	return reply;
}

static json_t *link_revoke(struct server *server, const struct http_request *request, GError **error)
{
	return service_link_revoke(server->service, request->params[0], error);
}

static json_t *tokens(struct server *server, const struct http_request *request, GError **error)
{
	return service_token_list(server->service, error);
}

static json_t *token_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"name", NULL};
	g_autoptr(json_t) body = body_object(request, error);
	const char *name = NULL;

	if (!body || !check_keys(body, keys, error) || !get_text(body, "name", &name, error))
		return NULL;
	return service_token_new(server->service, name, error);
}

static json_t *token_revoke(struct server *server, const struct http_request *request, GError **error)
{
	return service_token_revoke(server->service, request->params[0], error);
}

static json_t *push_certs(struct server *server, const struct http_request *request, GError **error)
{
	return service_push_cert_list(server->service, error);
}

/* {"files": [base64 or PEM text, …], "password": …, "force": false}: certificate, chain and key in any order. */
static json_t *push_cert_import(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"files", "password", "force", NULL};
	g_autoptr(json_t) body = body_object(request, error);
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	const char *password = NULL;
	json_t *item;
	size_t i;

	if (!body || !check_keys(body, keys, error) || !get_text(body, "password", &password, error))
		return NULL;
	json_array_foreach(json_object_get(body, "files"), i, item)
	{
		const char *text = json_string_value(item);
		g_autofree guchar *data = NULL;
		gsize len;

		if (!text)
			continue;
		if (strstr(text, "-----BEGIN")) {
			g_ptr_array_add(files, secret_bytes_new(text, strlen(text)));
			continue;
		}
		data = g_base64_decode(text, &len);
		g_ptr_array_add(files, secret_bytes_new(data, len));
	}
	return service_push_cert_import(server->service, (GBytes *const *)files->pdata, files->len, password, json_is_true(json_object_get(body, "force")), error);
}

/* ---- without a token ---- */

static struct http_response *healthz(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "text/plain", "ok\n");
}

static struct http_response *readyz(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autoptr(GError) error = NULL;

	if (!store_ping(server->store, &error))
		return problem(request, error);
	return http_response_text(200, "text/plain", "ready\n");
}

/* ---- with one ---- */

static struct http_response *metrics(void *ctx, const struct http_request *request)
{
	g_auto(pom_buf_auto) buf = {0};
	g_autoptr(GError) error = NULL;

	if (!is_authorized(ctx, request, &error))
		return problem(request, error);
	pom_buf_init(&buf, 4 << 20);
	pom_metric_format(&buf);
	return http_response_new(200, "text/plain; version=0.0.4; charset=utf-8", pom_buf_steal(&buf));
}

static struct http_response *version(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "application/json", "{\"version\":\"" POMONA_VERSION "\"}");
}

/* The rest is rows: method, pattern, what it does, status of success. */
#define ADMIN_TABLE(X) \
	X("/api/v1/devices", HTTP_GET, devices, 200) \
	X("/api/v1/devices/{}", HTTP_GET, device, 200) \
	X("/api/v1/devices/{}/events", HTTP_GET, device_events, 200) \
	X("/api/v1/devices/{}/push", HTTP_POST, device_push, 202) \
	X("/api/v1/devices/{}/commands", HTTP_GET, device_commands, 200) \
	X("/api/v1/devices/{}/commands", HTTP_POST, command_send, 201) \
	X("/api/v1/commands/{}", HTTP_GET, command_show, 200) \
	X("/api/v1/commands/{}", HTTP_DELETE, command_cancel, 200) \
	X("/api/v1/links", HTTP_GET, links, 200) \
	X("/api/v1/links", HTTP_POST, link_new, 201) \
	X("/api/v1/links/{}", HTTP_DELETE, link_revoke, 200) \
	X("/api/v1/tokens", HTTP_GET, tokens, 200) \
	X("/api/v1/tokens", HTTP_POST, token_new, 201) \
	X("/api/v1/tokens/{}", HTTP_DELETE, token_revoke, 200) \
	X("/api/v1/push-certificates", HTTP_GET, push_certs, 200) \
	X("/api/v1/push-certificates", HTTP_POST, push_cert_import, 200)

static const struct {
	const char *pattern;
	enum http_method method;
	admin_fn run;
	int status;
} table[] = {
#define X(pattern, method, run, status) {pattern, method, run, status},
	ADMIN_TABLE(X)
#undef X
};

static struct http_response *api(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autoptr(GError) error = NULL;
	enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;

	if (!is_authorized(server, request, &error))
		return problem(request, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].method == method && !strcmp(table[i].pattern, request->route->pattern)) {
			json_t *json = table[i].run(server, request, &error);

			return answer(request, table[i].status, json, error);
		}
	g_assert_not_reached();
}

const struct http_route admin_routes[] = {
	{"/healthz", HTTP_BIT(HTTP_GET), 0, 0, healthz, PUBLIC},
	{"/readyz", HTTP_BIT(HTTP_GET), 0, 0, readyz, PUBLIC},
	{"/version", HTTP_BIT(HTTP_GET), 0, 0, version, PUBLIC},
	{"/metrics", HTTP_BIT(HTTP_GET), 0, 0, metrics, 0},
#define X(pattern, method, run, status) {pattern, HTTP_BIT(method), (method) == HTTP_POST ? BODY_MAX : 0, 0, api, 0},
	ADMIN_TABLE(X)
#undef X
	{0},
};
