/* The admin API: JSON over the admin listener (bearer token) and the unix socket (peer credentials). */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "codec/qr.h"
#include "server/admin_internal.h"
#include "service/fleet.h"
#include "service/shared.h"

enum { BODY_MAX = 12 << 20, PUBLIC = 1, DOCTOR_WAIT_MS = 1000 };

static struct http_response *problem(const GError *error)
{
	const struct pom_error_info *info = pom_error_info_of(error);
	/* A message cut within a character is no JSON string. */
	g_autofree char *detail = g_utf8_make_valid(error ? error->message : info->text, -1);
	g_autoptr(json_t) body = json_pack("{s:s, s:s, s:i, s:s, s:s, s:b}", "type", "about:blank", "title", info->text, "status", info->http_status,
	                                   "detail", detail, "code", info->id, "retry", info->retry);
	struct http_response *response;

	response = http_response_new(info->http_status, "application/problem+json", json_format(body));
	if (info->http_status == 401)
		http_response_header(response, "WWW-Authenticate", "Bearer realm=\"pomona\"");
	server_add_retry(response, info);
	return response;
}

struct http_response *admin_problem(const struct http_request *request, const GError *error)
{
	server_log_refusal(request, NULL, error);
	return problem(error);
}

struct http_response *admin_refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail)
{
	g_autoptr(GError) error = NULL;

	if (server_connection_refused(ctx, head, reason, detail))
		return NULL;
	pom_fail(&error, reason, "%s", detail ? detail : pom_error_info(reason)->text);
	return admin_problem(head, error);
}

/* JSON (transfer full) or the error. */
static struct http_response *answer(const struct http_request *request, int status, json_t *json, const GError *error)
{
	struct http_response *response;

	if (!json)
		return admin_problem(request, error);
	response = http_response_new(status, "application/json", json_format(json));
	http_response_header(response, "Cache-Control", "no-store");
	json_decref(json);
	return response;
}

/* Who may do all: the socket is only for the server's own user and root. */
static bool is_local(const struct http_request *request)
{
	return request->is_unix && (request->unix_uid == 0 || request->unix_uid == geteuid());
}

/* The secret of the token that a request brings; NULL: none. */
static const char *secret_of(const struct http_request *request)
{
	const char *header = http_request_header(request, "Authorization");

	return header && !g_ascii_strncasecmp(header, "Bearer ", strlen("Bearer ")) ? header + strlen("Bearer ") : NULL;
}

static bool refuse_token(const struct http_request *request, GError **error)
{
	bool has = http_request_header(request, "Authorization") != NULL;

	return pom_fail(error, POM_ERR_UNAUTHORIZED, has ? "the token is unknown or revoked" : "send the header Authorization: Bearer TOKEN; init wrote a token into admin.token of the data directory");
}

static bool is_authorized(struct server *server, const struct http_request *request, GError **error)
{
	const char *secret = secret_of(request);
	g_autofree char *name = NULL;
	GError *inner = NULL;

	if (is_local(request))
		return true;
	name = secret ? service_token_find(server->service, secret, NULL, &inner) : NULL;
	if (inner) {
		g_propagate_error(error, inner);
		return false;
	}
	return name || refuse_token(request, error);
}

/* The same; and what another node has said to be done is seen from then on. */
static bool enter(struct server *server, const struct http_request *request, GError **error)
{
	const char *secret = secret_of(request);
	bool known;

	if (is_local(request))
		return service_shared_look(server->service, error);
	if (!secret)
		return refuse_token(request, error);
	return service_token_enter(server->service, secret, &known, error) && (known || refuse_token(request, error));
}

int64_t admin_limit(const struct http_request *request)
{
	g_autofree char *text = http_request_query(request, "limit");

	return text ? g_ascii_strtoll(text, NULL, 10) : 100;
}

char *admin_after(const struct http_request *request)
{
	char *text = http_request_query(request, "after");

	return text ? text : g_strdup("");
}

json_t *admin_body(const struct http_request *request, GError **error)
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

bool admin_check_keys(json_t *object, const char *const *known, GError **error)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
		if (!g_strv_contains(known, key))
			return pom_fail(error, POM_ERR_JSON, "the key \"%.64s\" is not known here", key);
	return true;
}

bool admin_get_text(json_t *object, const char *key, const char **ret, GError **error)
{
	json_t *value = json_object_get(object, key);

	if (value && !json_is_null(value) && !json_is_string(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be a string", key);
	*ret = json_string_value(value);
	return true;
}

/* ---- handlers: one for each route, run after authorisation ---- */

static json_t *devices(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *query = http_request_query(request, "query");

	if (query)
		return service_device_query(server->service, query, after, admin_limit(request), error);
	return service_device_list(server->service, after, admin_limit(request), error);
}

static json_t *device(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_show(server->service, request->params[0], error);
}

static json_t *device_events(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_device_events(server->service, request->params[0], after, admin_limit(request), error);
}

static json_t *device_push(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_push(server->service, request->params[0], error);
}

bool admin_is_plist(const struct http_request *request)
{
	const char *type = http_request_header(request, "Content-Type");

	return type && (strstr(type, "xml") || strstr(type, "plist"));
}

static json_t *links(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_link_list(server->service, after, admin_limit(request), error);
}

/* *RET is false when KEY is absent. POM_ERR_JSON. */
static bool get_flag(json_t *object, const char *key, bool *ret, GError **error)
{
	const json_t *value = json_object_get(object, key);

	if (value && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be true or false", key);
	*ret = json_is_true(value);
	return true;
}

static bool add_qr(json_t *reply, const char *url, GError **error)
{
	g_autoptr(qr) code = qr_new(url, error);
	g_autofree char *svg = code ? qr_format_svg(code, "QR code of an enrollment link") : NULL;

	return svg && json_object_set_new(reply, "qr_svg", json_string(svg)) == 0;
}

static json_t *link_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"user", "email", "device", "ttl_seconds", "ota", "qr", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	struct link_request wish = {0};
	struct link_made made = {0};
	bool qr = false;
	json_t *reply = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "user", &wish.user_name, error) || !admin_get_text(body, "device", &wish.device_name, error))
		return NULL;
	if (json_object_get(body, "ttl_seconds") && !json_is_integer(json_object_get(body, "ttl_seconds"))) {
		pom_fail(error, POM_ERR_JSON, "ttl_seconds must be a whole number");
		return NULL;
	}
	if (!get_flag(body, "ota", &wish.ota, error) || !get_flag(body, "qr", &qr, error))
		return NULL;
	if (!admin_get_text(body, "email", &wish.user_email, error))
		return NULL;
	wish.ttl_s = json_integer_value(json_object_get(body, "ttl_seconds"));
	if (service_link_new(server->service, &wish, &made, error)) {
		g_autofree char *expires = pom_time_format(made.expires_ms), *fingerprints = service_trust_fingerprints(server->service);

		reply = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", made.id, "url", made.url, "profile_url", made.profile_url, "ota_url", made.ota_url, "expires", expires);
		if (fingerprints)
			json_object_set_new(reply, "root_sha256", json_string(fingerprints));
		json_object_set_new(reply, "findings", server_doctor_findings(server, DOCTOR_WAIT_MS));
		if (qr && !add_qr(reply, made.url, error))
			g_clear_pointer(&reply, json_decref);
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
	static const char *const keys[] = {"name", "secrets", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *name = NULL;
	bool secrets = false;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "name", &name, error) || !get_flag(body, "secrets", &secrets, error))
		return NULL;
	/* Nobody gives a right that he has not. */
	if (secrets && !admin_may_read_secrets(server, request, error))
		return NULL;
	return service_token_new(server->service, name, secrets, actor, error);
}

static json_t *token_revoke(struct server *server, const struct http_request *request, GError **error)
{
	return service_token_revoke(server->service, request->params[0], error);
}

GBytes *admin_file_bytes(const char *text)
{
	g_autofree guchar *data = NULL;
	gsize len;

	if (strstr(text, "-----BEGIN"))
		return secret_bytes_new(text, strlen(text));
	data = g_base64_decode(text, &len);
	return secret_bytes_new(data, len);
}

static GPtrArray *get_files(json_t *body)
{
	GPtrArray *files = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(body, "files"), i, item)
		if (json_is_string(item))
			g_ptr_array_add(files, admin_file_bytes(json_string_value(item)));
	return files;
}

/* ---- certificates and CAs ---- */

/* Who is asking, for the audit log: the name of the token, or the user behind the socket. Freed with the request. transfer full. */
char *admin_actor(struct server *server, const struct http_request *request)
{
	const char *header = http_request_header(request, "Authorization");
	g_autofree char *name = NULL;

	if (header && !g_ascii_strncasecmp(header, "Bearer ", strlen("Bearer ")))
		name = service_token_find(server->service, header + strlen("Bearer "), NULL, NULL);
	if (name)
		return g_strconcat("token:", name, NULL);
	return request->is_unix ? g_strdup_printf("uid:%u", (unsigned)request->unix_uid) : g_strdup("admin");
}

static bool get_int(json_t *object, const char *key, int64_t *ret, GError **error)
{
	json_t *value = json_object_get(object, key);

	if (value && !json_is_null(value) && !json_is_integer(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be a whole number", key);
	*ret = json_integer_value(value);
	return true;
}

static bool get_bool(json_t *object, const char *key, bool *ret, GError **error)
{
	json_t *value = json_object_get(object, key);

	if (value && !json_is_null(value) && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be true or false", key);
	*ret = json_is_true(value);
	return true;
}

bool admin_get_texts(json_t *object, const char *key, const char ***ret, GError **error)
{
	json_t *list = json_object_get(object, key), *item;
	size_t i;

	*ret = NULL;
	if (!list || json_is_null(list))
		return true;
	if (!json_is_array(list))
		return pom_fail(error, POM_ERR_JSON, "%s must be a list of texts", key);
	*ret = g_new0(const char *, json_array_size(list) + 1);
	json_array_foreach(list, i, item) {
		if (!json_is_string(item))
			return pom_fail(error, POM_ERR_JSON, "%s must be a list of texts", key);
		(*ret)[i] = json_string_value(item);
	}
	return true;
}

static json_t *cas(struct server *server, const struct http_request *request, GError **error)
{
	return service_ca_show(server->service, NULL, error);
}

static json_t *ca(struct server *server, const struct http_request *request, GError **error)
{
	return service_ca_show(server->service, request->params[0], error);
}

/* What a new key may be; the texts borrow from BODY. */
static bool get_spec(json_t *body, struct ca_spec *spec, GError **error)
{
	int64_t root_bits = 0, issuing_bits = 0, days = 0;

	if (!admin_get_text(body, "key_type", &spec->key_type, error) || !admin_get_text(body, "common_name", &spec->common_name, error) || !admin_get_text(body, "organization", &spec->organization, error) ||
	    !admin_get_text(body, "root_key", &spec->root_key_uri, error) || !admin_get_text(body, "issuing_key", &spec->issuing_key_uri, error) || !admin_get_text(body, "ra_key", &spec->ra_key_uri, error) ||
	    !admin_get_text(body, "pin", &spec->pin, error) || !get_bool(body, "ra", &spec->ra, error) || !get_int(body, "root_bits", &root_bits, error) ||
	    !get_int(body, "issuing_bits", &issuing_bits, error) || !get_int(body, "days", &days, error))
		return false;
	spec->key_type = spec->key_type ? spec->key_type : "rsa";
	if (strcmp(spec->key_type, "rsa") && strcmp(spec->key_type, "ec"))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "key_type must be rsa or ec");
	spec->root_bits = root_bits ? (unsigned)root_bits : 3072;
	spec->issuing_bits = issuing_bits ? (unsigned)issuing_bits : 2048;
	if ((spec->root_bits != 2048 && spec->root_bits != 3072 && spec->root_bits != 4096) || (spec->issuing_bits != 2048 && spec->issuing_bits != 3072 && spec->issuing_bits != 4096))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "key sizes are 2048, 3072 or 4096 bits");
	if (days < 0 || days > CA_ROOT_DAYS)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "days must be between 1 and %d", CA_ROOT_DAYS);
	spec->issuing_days = (int)days;
	return true;
}

#define SPEC_KEYS "key_type", "common_name", "organization", "root_key", "issuing_key", "ra_key", "pin", "ra", "root_bits", "issuing_bits", "days"

static json_t *ca_create(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"name", SPEC_KEYS, NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	struct ca_spec spec = {0};

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "name", &spec.name, error) || !get_spec(body, &spec, error))
		return NULL;
	if (!spec.name) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name is missing");
		return NULL;
	}
	return service_ca_create(server->service, actor, &spec, error);
}

static json_t *ca_import(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"name", "files", "password", "key", "pin", "ra", "ra_key", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autoptr(GPtrArray) files = body ? get_files(body) : NULL;
	struct ca_import import = {0};

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "name", &import.name, error) || !admin_get_text(body, "password", &import.password, error) || !admin_get_text(body, "key", &import.key_uri, error) ||
	    !admin_get_text(body, "pin", &import.pin, error) || !admin_get_text(body, "ra_key", &import.ra_key_uri, error) || !get_bool(body, "ra", &import.ra, error))
		return NULL;
	if (!import.name) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name is missing");
		return NULL;
	}
	import.files = (GBytes *const *)files->pdata;
	import.n = files->len;
	return service_ca_import(server->service, actor, &import, error);
}

static json_t *ca_csr(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"subject", SPEC_KEYS, NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	struct ca_spec spec = {.name = request->params[0]};
	const char *subject = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "subject", &subject, error) || !get_spec(body, &spec, error))
		return NULL;
	if (!subject) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "subject is missing: the name that the CA shall have");
		return NULL;
	}
	return service_ca_csr(server->service, actor, &spec, subject, error);
}

static json_t *ca_csr_cancel(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_ca_csr_cancel(server->service, actor, request->params[0], error);
}

static json_t *ca_install(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"chain", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autoptr(GBytes) chain = NULL;
	const char *text = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "chain", &text, error))
		return NULL;
	if (!text) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "chain is missing: the certificate and those above it, PEM");
		return NULL;
	}
	chain = admin_file_bytes(text);
	return service_ca_install(server->service, actor, request->params[0], chain, error);
}

static json_t *ca_renew(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"days", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	int64_t days = 0;

	if (!body || !admin_check_keys(body, keys, error) || !get_int(body, "days", &days, error))
		return NULL;
	if (days < 0 || days > CA_ROOT_DAYS) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "days must be between 1 and %d", CA_ROOT_DAYS);
		return NULL;
	}
	return service_ca_renew(server->service, actor, request->params[0], (int)days, error);
}

static json_t *ca_rekey(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"step", "keep_root", "force", SPEC_KEYS, NULL};
	static const char *const steps[] = {"start", "activate", "finish"};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	struct ca_spec spec = {.name = request->params[0]};
	const char *step = NULL;
	bool keep_root = false, force = false;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "step", &step, error) || !get_bool(body, "keep_root", &keep_root, error) || !get_bool(body, "force", &force, error) ||
	    !get_spec(body, &spec, error))
		return NULL;
	for (int i = 0; i < (int)G_N_ELEMENTS(steps); i++)
		if (!strcmp(steps[i], step ? step : "start"))
			return service_ca_rekey(server->service, actor, &spec, (enum ca_rekey_step)i, keep_root, force, error);
	pom_fail(error, POM_ERR_BAD_REQUEST, "step must be start, activate or finish");
	return NULL;
}

static json_t *ca_devices(struct server *server, const struct http_request *request, GError **error)
{
	return service_ca_devices(server->service, request->params[0], CLAMP(admin_limit(request), 1, 1000), error);
}

static json_t *certificates(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *search = http_request_query(request, "search"), *device = http_request_query(request, "device"), *state = http_request_query(request, "state");

	return service_certificate_list(server->service, search, device, state, after, admin_limit(request), error);
}

static json_t *certificate_issue(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"csr", "profile", "subject", "sans", "days", "may_enroll", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request), *der_text = NULL;
	g_autofree const char **sans = NULL;
	g_autofree guchar *der = NULL;
	g_autoptr(GBytes) csr = NULL;
	struct ca_issue wish = {0};
	const char *text = NULL, *start, *end;
	int64_t days = 0;
	gsize len;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "csr", &text, error) || !admin_get_text(body, "profile", &wish.profile, error) || !admin_get_text(body, "subject", &wish.subject, error) ||
	    !admin_get_texts(body, "sans", &sans, error) || !get_int(body, "days", &days, error) || !get_bool(body, "may_enroll", &wish.may_enroll, error))
		return NULL;
	if (!text || days < 0 || days > 3650) {
		pom_fail(error, POM_ERR_BAD_REQUEST, text ? "days must be between 1 and 3650" : "csr is missing: PKCS#10, PEM or base64");
		return NULL;
	}
	/* Base64 decoding passes over line ends; the frame of PEM is cut off. */
	start = strstr(text, "REQUEST-----");
	end = start ? strstr(start + strlen("REQUEST-----"), "-----END") : NULL;
	der_text = start && end ? g_strndup(start + strlen("REQUEST-----"), (gsize)(end - start) - strlen("REQUEST-----")) : g_strdup(text);
	der = g_base64_decode(der_text, &len);
	wish.csr = csr = g_bytes_new(der, len);
	wish.sans = (const char *const *)sans;
	wish.days = (int)days;
	return service_ca_issue(server->service, actor, &wish, error);
}

static json_t *certificate_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_certificate_show(server->service, request->params[0], error);
}

static json_t *certificate_revoke(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"reason", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *reason = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "reason", &reason, error))
		return NULL;
	return service_certificate_revoke(server->service, actor, request->params[0], reason, error);
}

static json_t *certificate_release(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_certificate_release(server->service, actor, request->params[0], error);
}

static json_t *held(struct server *server, const struct http_request *request, GError **error)
{
	return service_held_list(server->service, error);
}

static json_t *crl_publish(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_crl_publish(server->service, actor, error);
}

static json_t *challenges(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_challenge_list(server->service, after, admin_limit(request), error);
}

static json_t *challenge_new(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"subject", "sans", "profile", "device", "key_type", "ttl_seconds", "uses", "enroll", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	g_autofree const char **sans = NULL;
	struct challenge_wish wish = {0};

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "subject", &wish.subject, error) || !admin_get_texts(body, "sans", &sans, error) || !admin_get_text(body, "profile", &wish.profile, error) ||
	    !admin_get_text(body, "device", &wish.device, error) || !admin_get_text(body, "key_type", &wish.key_type, error) || !get_int(body, "ttl_seconds", &wish.ttl_s, error) ||
	    !get_int(body, "uses", &wish.uses, error) || !get_bool(body, "enroll", &wish.may_enroll, error))
		return NULL;
	wish.sans = (const char *const *)sans;
	return service_challenge_new(server->service, actor, &wish, error);
}

static json_t *challenge_revoke(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_challenge_revoke(server->service, actor, request->params[0], error);
}

static json_t *profiles(struct server *server, const struct http_request *request, GError **error)
{
	return service_profile_list(server->service, error);
}

static json_t *profile_show(struct server *server, const struct http_request *request, GError **error)
{
	return service_profile_show(server->service, request->params[0], error);
}

static json_t *profile_set(struct server *server, const struct http_request *request, GError **error)
{
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);

	return body ? service_profile_set(server->service, actor, request->params[0], body, error) : NULL;
}

static json_t *profile_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_profile_remove(server->service, actor, request->params[0], error);
}

static json_t *requests(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *state = http_request_query(request, "state");

	return service_request_list(server->service, state, after, admin_limit(request), error);
}

static json_t *decide(struct server *server, const struct http_request *request, bool approve, GError **error)
{
	static const char *const keys[] = {"reason", NULL};
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);
	const char *reason = NULL;

	if (!body || !admin_check_keys(body, keys, error) || !admin_get_text(body, "reason", &reason, error))
		return NULL;
	return service_request_decide(server->service, actor, request->params[0], approve, reason, error);
}

static json_t *request_approve(struct server *server, const struct http_request *request, GError **error)
{
	return decide(server, request, true, error);
}

static json_t *request_deny(struct server *server, const struct http_request *request, GError **error)
{
	return decide(server, request, false, error);
}

static json_t *outside(struct server *server, const struct http_request *request, GError **error)
{
	return service_outside_list(server->service, error);
}

static json_t *outside_set(struct server *server, const struct http_request *request, GError **error)
{
	g_autoptr(json_t) body = admin_body(request, error);
	g_autofree char *actor = admin_actor(server, request);

	return body ? service_outside_set(server->service, actor, request->params[0], body, error) : NULL;
}

static json_t *outside_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_outside_remove(server->service, actor, request->params[0], error);
}

static json_t *audit(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request), *object = http_request_query(request, "object"), *action = http_request_query(request, "action"), *last = http_request_query(request, "last");

	if (last && object) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "last and object do not go together: the entries about one object are few");
		return NULL;
	}
	if (last)
		return service_audit_last(server->service, action, g_ascii_strtoll(last, NULL, 10), error);
	return service_audit_list(server->service, object, action, after, admin_limit(request), error);
}

static json_t *audit_verify(struct server *server, const struct http_request *request, GError **error)
{
	return service_audit_verify(server->service, error);
}

static json_t *device_renew(struct server *server, const struct http_request *request, GError **error)
{
	return service_device_renew(server->service, request->params[0], error);
}

/* ---- without a token ---- */

static struct http_response *healthz(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "text/plain", "ok\n");
}

/* It is asked every second or so, by many: what it finds is not logged. */
static struct http_response *readyz(void *ctx, const struct http_request *request)
{
	struct http_response *draining = server_draining_reply(ctx, request);
	g_autoptr(GError) error = NULL;

	if (draining)
		return draining;
	return server_is_ready(ctx, &error) ? http_response_text(200, "text/plain", "ready\n") : problem(error);
}

/* Whoever asks whether the process lives must not wait for workers that wait for the database. */
struct http_response *admin_admit(void *ctx, const struct http_request *head)
{
	return head->route->handle == healthz ? healthz(ctx, head) : NULL;
}

/* ---- with one ---- */

static struct http_response *metrics(void *ctx, const struct http_request *request)
{
	g_auto(pom_buf_auto) buf = {0};
	g_autoptr(GError) error = NULL;

	if (!is_authorized(ctx, request, &error))
		return admin_problem(request, error);
	pom_buf_init(&buf, 4 << 20);
	pom_metric_format(&buf);
	return http_response_new(200, "text/plain; version=0.0.4; charset=utf-8", pom_buf_steal(&buf));
}

static struct http_response *version(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "application/json", "{\"version\":\"" POMONA_VERSION "\"}");
}

/* The rest is rows: method, pattern, what it does, status of success. */
#define ADMIN_OWN_TABLE(X) \
	X("/api/v1/devices", HTTP_GET, devices, 200) \
	X("/api/v1/devices/{}", HTTP_GET, device, 200) \
	X("/api/v1/devices/{}/events", HTTP_GET, device_events, 200) \
	X("/api/v1/devices/{}/push", HTTP_POST, device_push, 202) \
	X("/api/v1/links", HTTP_GET, links, 200) \
	X("/api/v1/links", HTTP_POST, link_new, 201) \
	X("/api/v1/links/{}", HTTP_DELETE, link_revoke, 200) \
	X("/api/v1/tokens", HTTP_GET, tokens, 200) \
	X("/api/v1/tokens", HTTP_POST, token_new, 201) \
	X("/api/v1/tokens/{}", HTTP_DELETE, token_revoke, 200) \
	X("/api/v1/devices/{}/renew", HTTP_POST, device_renew, 202) \
	X("/api/v1/cas", HTTP_GET, cas, 200) \
	X("/api/v1/cas", HTTP_POST, ca_create, 201) \
	X("/api/v1/cas/import", HTTP_POST, ca_import, 201) \
	X("/api/v1/cas/{}", HTTP_GET, ca, 200) \
	X("/api/v1/cas/{}/csr", HTTP_POST, ca_csr, 201) \
	X("/api/v1/cas/{}/csr", HTTP_DELETE, ca_csr_cancel, 200) \
	X("/api/v1/cas/{}/install", HTTP_POST, ca_install, 200) \
	X("/api/v1/cas/{}/renew", HTTP_POST, ca_renew, 200) \
	X("/api/v1/cas/{}/rekey", HTTP_POST, ca_rekey, 200) \
	X("/api/v1/cas/{}/devices", HTTP_GET, ca_devices, 200) \
	X("/api/v1/certificates", HTTP_GET, certificates, 200) \
	X("/api/v1/certificates", HTTP_POST, certificate_issue, 201) \
	X("/api/v1/certificates/{}", HTTP_GET, certificate_show, 200) \
	X("/api/v1/certificates/{}/revoke", HTTP_POST, certificate_revoke, 200) \
	X("/api/v1/certificates/{}/release", HTTP_POST, certificate_release, 200) \
	X("/api/v1/held-certificates", HTTP_GET, held, 200) \
	X("/api/v1/crls", HTTP_POST, crl_publish, 200) \
	X("/api/v1/challenges", HTTP_GET, challenges, 200) \
	X("/api/v1/challenges", HTTP_POST, challenge_new, 201) \
	X("/api/v1/challenges/{}", HTTP_DELETE, challenge_revoke, 200) \
	X("/api/v1/scep-profiles", HTTP_GET, profiles, 200) \
	X("/api/v1/scep-profiles/{}", HTTP_GET, profile_show, 200) \
	X("/api/v1/scep-profiles/{}", HTTP_PUT, profile_set, 200) \
	X("/api/v1/scep-profiles/{}", HTTP_DELETE, profile_remove, 200) \
	X("/api/v1/scep-requests", HTTP_GET, requests, 200) \
	X("/api/v1/scep-requests/{}/approve", HTTP_POST, request_approve, 200) \
	X("/api/v1/scep-requests/{}/deny", HTTP_POST, request_deny, 200) \
	X("/api/v1/outside-cas", HTTP_GET, outside, 200) \
	X("/api/v1/outside-cas/{}", HTTP_PUT, outside_set, 200) \
	X("/api/v1/outside-cas/{}", HTTP_DELETE, outside_remove, 200) \
	X("/api/v1/audit", HTTP_GET, audit, 200) \
	X("/api/v1/audit/verify", HTTP_GET, audit_verify, 200)

#define ADMIN_TABLE(X) \
	ADMIN_OWN_TABLE(X) ADMIN_OTA_TABLE(X) ADMIN_LIBRARY_TABLE(X) ADMIN_PROFILE_TABLE(X) ADMIN_COMMAND_TABLE(X) ADMIN_FLEET_TABLE(X) ADMIN_CHECKIN_TABLE(X) ADMIN_PUSHCERT_TABLE(X) ADMIN_PUSH_TABLE(X) ADMIN_DOCTOR_TABLE(X) ADMIN_DDM_TABLE(X) ADMIN_NODE_TABLE(X)
#define ADMIN_RAW_TABLE(X) ADMIN_PROFILE_RAW_TABLE(X) ADMIN_COMMAND_RAW_TABLE(X) ADMIN_FLEET_RAW_TABLE(X) ADMIN_CHECKIN_RAW_TABLE(X) ADMIN_PUSHCERT_RAW_TABLE(X) ADMIN_PUSH_RAW_TABLE(X) ADMIN_DOCTOR_RAW_TABLE(X) ADMIN_DDM_RAW_TABLE(X)

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

/* Those that answer something else than JSON. */
static const struct {
	const char *pattern;
	enum http_method method;
	admin_raw_fn run;
} raw_table[] = {
#define X(pattern, method, run) {pattern, method, run},
	ADMIN_RAW_TABLE(X)
#undef X
};

static struct http_response *api(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autoptr(GError) error = NULL;
	enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;

	if (!enter(server, request, &error))
		return admin_problem(request, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].method == method && !strcmp(table[i].pattern, request->route->pattern)) {
			json_t *json = table[i].run(server, request, &error);

			return answer(request, table[i].status, json, error);
		}
	for (unsigned i = 0; i < G_N_ELEMENTS(raw_table); i++)
		if (raw_table[i].method == method && !strcmp(raw_table[i].pattern, request->route->pattern)) {
			struct http_response *response = raw_table[i].run(server, request, &error);

			return response ? response : admin_problem(request, error);
		}
	g_assert_not_reached();
}

const struct http_route admin_routes[] = {
	{"/healthz", HTTP_BIT(HTTP_GET), 0, 0, healthz, PUBLIC},
	{"/readyz", HTTP_BIT(HTTP_GET), 0, 0, readyz, PUBLIC},
	{"/version", HTTP_BIT(HTTP_GET), 0, 0, version, PUBLIC},
	{"/metrics", HTTP_BIT(HTTP_GET), 0, 0, metrics, 0},
#define X(pattern, method, run, status) {pattern, HTTP_BIT(method), (method) == HTTP_POST || (method) == HTTP_PUT ? BODY_MAX : 0, 0, api, 0},
	ADMIN_TABLE(X)
#undef X
#define X(pattern, method, run) {pattern, HTTP_BIT(method), (method) == HTTP_POST || (method) == HTTP_PUT ? BODY_MAX : 0, 0, api, 0},
	ADMIN_RAW_TABLE(X)
#undef X
	{0},
};
