/* Routes of the life of push certificates, and what the settings say about it. */
#include <string.h>

#include "base/log.h"
#include "codec/base64.h"
#include "server/admin_internal.h"
#include "service/push_cert.h"

/* ---- settings ---- */

static bool load_roots(const char *file, GPtrArray **ret, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) inner = NULL;
	gsize len;

	if (!g_file_get_contents(file, &text, &len, &inner))
		return pom_fail(error, POM_ERR_CONFIG, "push.extra_roots: %s", inner->message);
	*ret = cert_parse_all(text, len, &inner);
	if (!*ret)
		return pom_fail(error, POM_ERR_CONFIG, "push.extra_roots: %s: %s", file, inner->message);
	pom_log(POM_LOG_WARNING, "push.extra_roots is set: vendor certificates below other roots than Apple's are taken, which Apple's portal refuses. For tests only", "file", file, NULL);
	return true;
}

bool server_push_settings(const struct settings *settings, struct service_settings *ret, GError **error)
{
	const char *urls = settings_text(settings, SETTING_PUSH_CHAIN), *signing = settings_text(settings, SETTING_PUSH_SIGNING), *roots = settings_text(settings, SETTING_PUSH_ROOTS);

	ret->push_chain_urls = urls ? g_strsplit_set(urls, " ", -1) : NULL;
	for (char **url = ret->push_chain_urls; url && *url; url++)
		if (!outbound_check_url(*url, true, error)) {
			g_prefix_error(error, "push.chain_urls: ");
			return false;
		}
	if (signing && !outbound_check_url(signing, false, error)) {
		g_prefix_error(error, "push.signing_url: ");
		return false;
	}
	ret->push_signing_url = g_strdup(signing);
	return !roots || load_roots(roots, &ret->push_roots, error);
}

/* ---- bodies ---- */

/* A body while it is read: what is got from it borrows from it. */
struct input { json_t *body; GPtrArray *lists; /* GPtrArray of GBytes */ };

static void input_clear(struct input *input)
{
	g_clear_pointer(&input->body, json_decref);
	g_clear_pointer(&input->lists, g_ptr_array_unref);
}
typedef struct input input;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(input, input_clear)

static bool input_read(const struct http_request *request, const char *const *keys, struct input *in, GError **error)
{
	in->lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
	in->body = admin_body(request, error);
	return in->body && admin_check_keys(in->body, keys, error);
}

static bool get_flag(const struct input *in, const char *key, bool *ret, GError **error)
{
	const json_t *value = json_object_get(in->body, key);

	if (value && !json_is_null(value) && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be true or false", key);
	*ret = json_is_true(value);
	return true;
}

/* A file: base64 of it, or itself where it is text. */
static GBytes *file_bytes(const char *text)
{
	size_t len = strlen(text), n;
	g_autofree uint8_t *bytes = g_malloc(base64_decoded_max(len));
	GBytes *file;

	if (!base64_parse(text, len, BASE64_SPACE, bytes, &n))
		return secret_bytes_new(text, len);
	file = secret_bytes_new(bytes, n);
	explicit_bzero(bytes, n);
	return file;
}

/* The files under KEY, a list of texts; none when it is absent. */
static bool get_files(struct input *in, const char *key, struct push_files *ret, GError **error)
{
	g_autofree const char **texts = NULL;
	GPtrArray *files;

	if (!admin_get_texts(in->body, key, &texts, error))
		return false;
	files = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_ptr_array_add(in->lists, files);
	for (const char **t = texts; t && *t; t++)
		g_ptr_array_add(files, file_bytes(*t));
	ret->files = (GBytes *const *)files->pdata;
	ret->n = files->len;
	return admin_get_text(in->body, "password", &ret->password, error);
}

static json_t *missing(GError **error, const char *key, const char *what)
{
	pom_fail(error, POM_ERR_BAD_REQUEST, "%s is missing: %s", key, what);
	return NULL;
}

#define FILES_TEXT "a list of files, each as base64 or, if it is text, as it is"

/* ---- push certificates ---- */

json_t *admin_push_certs(struct server *server, const struct http_request *request, GError **error)
{
	return service_push_cert_list(server->service, error);
}

json_t *admin_push_cert_check(struct server *server, const struct http_request *request, GError **error)
{
	return service_push_cert_check(server->service, error);
}

json_t *admin_push_cert_import(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"files", "password", "apple_account", "force", "only_check", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_cert_import import = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_files(&in, "files", &import.files, error) || !admin_get_text(in.body, "apple_account", &import.apple_account, error) ||
	    !get_flag(&in, "force", &import.force, error) || !get_flag(&in, "only_check", &import.only_check, error))
		return NULL;
	return import.files.n ? service_push_cert_import(server->service, actor, &import, error) : missing(error, "files", FILES_TEXT);
}

/* {"default": true} or {"apple_account": …} */
json_t *admin_push_cert_set(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"default", "apple_account", NULL};
	g_autofree char *actor = admin_actor(server, request);
	const char *topic = request->params[0], *account = NULL;
	json_t *reply = NULL;
	bool chosen = false;
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_flag(&in, "default", &chosen, error) || !admin_get_text(in.body, "apple_account", &account, error))
		return NULL;
	if (!chosen && !account)
		return missing(error, "apple_account", "the Apple account that made the certificate, or \"default\": true");
	if (account && !(reply = service_push_cert_set_account(server->service, actor, topic, account, error)))
		return NULL;
	if (!chosen)
		return reply;
	json_decref(reply);
	return service_push_cert_set_default(server->service, actor, topic, error);
}

json_t *admin_push_cert_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request), *force = http_request_query(request, "force");

	return service_push_cert_remove(server->service, actor, request->params[0], force && !strcmp(force, "true"), error);
}

struct http_response *admin_push_cert_export(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"topic", "password", "modern", NULL};
	g_autofree char *actor = admin_actor(server, request);
	const char *topic = NULL, *password = NULL;
	struct http_response *response;
	bool modern = false;
	g_auto(input) in = {0};
	GBytes *p12;

	if (!input_read(request, keys, &in, error) || !admin_get_text(in.body, "topic", &topic, error) || !admin_get_text(in.body, "password", &password, error) || !get_flag(&in, "modern", &modern, error))
		return NULL;
	if (!password) {
		missing(error, "password", "the private key leaves this server only encrypted");
		return NULL;
	}
	p12 = service_push_cert_export(server->service, actor, topic, password, modern, error);
	if (!p12)
		return NULL;
	response = http_response_new(200, "application/x-pkcs12", p12);
	http_response_header(response, "Cache-Control", "no-store");
	return response;
}

/* ---- vendors and Apple's certificates ---- */

json_t *admin_push_vendors(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_push_vendor_list(server->service, after, admin_limit(request), error);
}

json_t *admin_push_vendor_csr(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"subject", "new", NULL};
	g_autofree char *actor = admin_actor(server, request);
	const char *subject = NULL;
	bool fresh = false;
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !admin_get_text(in.body, "subject", &subject, error) || !get_flag(&in, "new", &fresh, error))
		return NULL;
	return service_push_vendor_csr(server->service, actor, subject, fresh, error);
}

/* A body of nothing but files. */
static json_t *with_files(struct server *server, const struct http_request *request, json_t *(*run)(struct service *, const char *, const struct push_files *, GError **), GError **error)
{
	static const char *const keys[] = {"files", "password", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_files files = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_files(&in, "files", &files, error))
		return NULL;
	return files.n ? run(server->service, actor, &files, error) : missing(error, "files", FILES_TEXT);
}

json_t *admin_push_vendor_import(struct server *server, const struct http_request *request, GError **error)
{
	return with_files(server, request, service_push_vendor_import, error);
}

json_t *admin_push_vendor_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_push_vendor_remove(server->service, actor, request->params[0], error);
}

json_t *admin_push_chain(struct server *server, const struct http_request *request, GError **error)
{
	return service_push_chain_list(server->service, error);
}

json_t *admin_push_chain_add(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"files", "password", "fetch", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_files files = {0};
	bool fetch = false;
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_files(&in, "files", &files, error) || !get_flag(&in, "fetch", &fetch, error))
		return NULL;
	return files.n || fetch ? service_push_chain_add(server->service, actor, &files, error) : missing(error, "files", FILES_TEXT ", or \"fetch\": true");
}

/* ---- requests ---- */

json_t *admin_push_requests(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *after = admin_after(request);

	return service_push_request_list(server->service, after, admin_limit(request), error);
}

json_t *admin_push_csr(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"subject", "renew", "new", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_csr_wish wish = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !admin_get_text(in.body, "subject", &wish.subject, error) || !admin_get_text(in.body, "renew", &wish.renews_topic, error) ||
	    !get_flag(&in, "new", &wish.fresh, error))
		return NULL;
	return service_push_csr(server->service, actor, &wish, error);
}

json_t *admin_push_sign(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"vendor_files", "vendor", "request", "csr_files", "password", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_sign_wish wish = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_files(&in, "vendor_files", &wish.vendor, error) || !get_files(&in, "csr_files", &wish.request, error) ||
	    !admin_get_text(in.body, "vendor", &wish.vendor_id, error) || !admin_get_text(in.body, "request", &wish.request_id, error))
		return NULL;
	return service_push_sign(server->service, actor, &wish, error);
}

json_t *admin_push_mdmcert(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"email", "api_key", "subject", "renew", "dont_send", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_mdmcert_wish wish = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !admin_get_text(in.body, "email", &wish.email, error) || !admin_get_text(in.body, "api_key", &wish.api_key, error) ||
	    !admin_get_text(in.body, "subject", &wish.subject, error) || !admin_get_text(in.body, "renew", &wish.renews_topic, error) || !get_flag(&in, "dont_send", &wish.dont_send, error))
		return NULL;
	return service_push_mdmcert(server->service, actor, &wish, error);
}

json_t *admin_push_document(struct server *server, const struct http_request *request, GError **error)
{
	return with_files(server, request, service_push_document_take, error);
}

json_t *admin_push_request_remove(struct server *server, const struct http_request *request, GError **error)
{
	g_autofree char *actor = admin_actor(server, request);

	return service_push_request_remove(server->service, actor, request->params[0], error);
}

/* ---- the guided way ---- */

json_t *admin_push_setup(struct server *server, const struct http_request *request, GError **error)
{
	return service_push_setup(server->service, error);
}

json_t *admin_push_setup_go(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"way", "files", "password", "apple_account", "email", "api_key", "subject", "renew", "force", NULL};
	g_autofree char *actor = admin_actor(server, request);
	struct push_setup_wish wish = {0};
	g_auto(input) in = {0};

	if (!input_read(request, keys, &in, error) || !get_files(&in, "files", &wish.files, error) || !admin_get_text(in.body, "way", &wish.way, error) ||
	    !admin_get_text(in.body, "apple_account", &wish.apple_account, error) || !admin_get_text(in.body, "email", &wish.email, error) || !admin_get_text(in.body, "api_key", &wish.api_key, error) ||
	    !admin_get_text(in.body, "subject", &wish.subject, error) || !admin_get_text(in.body, "renew", &wish.renews_topic, error) || !get_flag(&in, "force", &wish.force, error))
		return NULL;
	return service_push_setup_go(server->service, actor, &wish, error);
}
