/* The admin API for profiles in files. The body is the file, with options in the query; or a JSON object with the file in base64 under "profile", the options, and what
 * must not stand in a URL: keys and passwords. Where the answer is a profile, it is the bytes of one. */
#include <string.h>

#include "server/admin_internal.h"
#include "server/system_roots.h"
#include "service/profile_tool.h"

#define PROFILE_TYPE "application/x-apple-aspen-config"

/* What was asked; cleared with input_clear. */
struct input {
	const struct http_request *request;
	GBytes *profile;
	json_t *body; /* NULL: the body is the profile */
};

static void input_clear(struct input *input)
{
	g_clear_pointer(&input->profile, g_bytes_unref);
	g_clear_pointer(&input->body, json_decref);
}

/* PEM text or base64 under KEY, wiped when freed; *RET NULL when it is not there. */
static bool get_bytes(const struct input *input, const char *key, GBytes **ret, GError **error)
{
	const char *text = NULL;
	g_autofree guchar *data = NULL;
	gsize len;

	*ret = NULL;
	if (!input->body || !admin_get_text(input->body, key, &text, error))
		return !input->body;
	if (!text)
		return true;
	if (strstr(text, "-----BEGIN")) {
		*ret = secret_bytes_new(text, strlen(text));
		return true;
	}
	data = g_base64_decode(text, &len);
	*ret = secret_bytes_new(data, len);
	explicit_bzero(data, len);
	return len ? true : pom_fail(error, POM_ERR_JSON, "%s must be base64 or PEM text", key);
}

/* Secrets in a URL end in logs and histories. */
static bool refuse_secrets(const struct http_request *request, GError **error)
{
	static const char *const secrets[] = {"key", "password"};

	for (size_t i = 0; i < G_N_ELEMENTS(secrets); i++) {
		g_autofree char *value = http_request_query(request, secrets[i]);

		if (value)
			return pom_fail(error, POM_ERR_BAD_REQUEST, "%s must not stand in the URL: send a JSON body with the profile under \"profile\" (base64)", secrets[i]);
	}
	return true;
}

static bool take_input(const struct http_request *request, const char *const *keys, struct input *ret, GError **error)
{
	const char *type = http_request_header(request, "Content-Type");

	*ret = (struct input){.request = request};
	if (!refuse_secrets(request, error))
		return false;
	if (type && !g_ascii_strncasecmp(type, "application/json", strlen("application/json"))) {
		ret->body = admin_body(request, error);
		if (!ret->body || !admin_check_keys(ret->body, keys, error) || !get_bytes(ret, "profile", &ret->profile, error))
			return false;
		return ret->profile || pom_fail(error, POM_ERR_BAD_REQUEST, "profile is missing: the file in base64");
	}
	ret->profile = g_bytes_ref(request->body);
	return g_bytes_get_size(ret->profile) ? true : pom_fail(error, POM_ERR_BAD_REQUEST, "the body is empty: it must be the profile");
}

/* An option from the query or the object, transfer full; NULL when it is not there. */
static char *get_option(const struct input *input, const char *name)
{
	json_t *value = json_object_get(input->body, name);

	if (json_is_string(value))
		return g_strdup(json_string_value(value));
	if (json_is_boolean(value))
		return g_strdup(json_is_true(value) ? "true" : "false");
	return http_request_query(input->request, name);
}

static bool get_flag(const struct input *input, const char *name, bool standard, bool *ret, GError **error)
{
	g_autofree char *text = get_option(input, name);

	*ret = text ? !strcmp(text, "true") : standard;
	return !text || !strcmp(text, "true") || !strcmp(text, "false") || pom_fail(error, POM_ERR_BAD_REQUEST, "%s must be true or false", name);
}

/* PROFILE is transfer full. */
static struct http_response *profile_response(GBytes *profile)
{
	struct http_response *response = profile ? http_response_new(200, PROFILE_TYPE, profile) : NULL;

	if (response)
		http_response_header(response, "Cache-Control", "no-store");
	return response;
}

/* The signer that the caller brought; *RET NULL: ours. */
static bool take_signer(struct server *server, const struct input *input, struct profile_signer **ret, GError **error)
{
	g_autoptr(GBytes) cert = NULL, key = NULL;
	g_autoptr(GPtrArray) roots = NULL;
	const char *password = NULL;

	*ret = NULL;
	if (!get_bytes(input, "certificate", &cert, error) || !get_bytes(input, "key", &key, error) || (input->body && !admin_get_text(input->body, "password", &password, error)))
		return false;
	if (!cert && !key)
		return true;
	if (!cert || !key)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "certificate and key are needed together");
	roots = system_roots_load();
	*ret = profile_signer_load(cert, key, password, roots, service_now_ms(server->service) / 1000, error);
	return *ret != NULL;
}

struct http_response *admin_profile_sign(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"profile", "certificate", "key", "password", "force", NULL};
	g_autofree char *actor = admin_actor(server, request);
	g_autoptr(profile_signer) with = NULL;
	struct http_response *response = NULL;
	struct input input;
	bool force;

	if (take_input(request, keys, &input, error) && get_flag(&input, "force", false, &force, error) && take_signer(server, &input, &with, error))
		response = profile_response(service_profile_tool_sign(server->service, actor, input.profile, with, force, error));
	if (response && with && with->missing) {
		g_autofree char *ascii = g_str_to_ascii(with->missing, NULL), *text = g_strdup_printf("the chain is not complete, missing: %s", ascii);

		http_response_header(response, "Pomona-Warning", text);
	}
	input_clear(&input);
	return response;
}

static bool take_wish(const struct input *input, struct profile_tool_encrypt *wish, char **ret_device, GError **error)
{
	g_autofree char *cipher = get_option(input, "cipher");

	wish->device = *ret_device = get_option(input, "device");
	wish->cipher_nid = cipher ? profile_cipher_nid(cipher) : 0;
	if (cipher && !wish->cipher_nid)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "cipher must be aes256, aes128 or 3des");
	if (!get_bytes(input, "certificate", &wish->certificate, error) || !get_flag(input, "sign", true, &wish->sign, error) || !get_flag(input, "force", false, &wish->force, error))
		return false;
	return !wish->device != !wish->certificate || pom_fail(error, POM_ERR_BAD_REQUEST, "say for whom: device (its id), or certificate in a JSON body; one of them");
}

struct http_response *admin_profile_encrypt(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"profile", "certificate", "device", "cipher", "sign", "force", NULL};
	g_autofree char *actor = admin_actor(server, request), *device = NULL;
	struct http_response *response = NULL;
	struct profile_tool_encrypt wish = {0};
	struct input input;

	if (take_input(request, keys, &input, error) && take_wish(&input, &wish, &device, error))
		response = profile_response(service_profile_tool_encrypt(server->service, actor, input.profile, &wish, error));
	g_clear_pointer(&wish.certificate, g_bytes_unref);
	input_clear(&input);
	return response;
}

struct http_response *admin_profile_decrypt(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"profile", "certificate", "key", "password", NULL};
	g_autoptr(GBytes) cert = NULL, key = NULL;
	const char *password = NULL;
	struct http_response *response = NULL;
	struct input input;

	if (take_input(request, keys, &input, error) && get_bytes(&input, "certificate", &cert, error) && get_bytes(&input, "key", &key, error) &&
	    (!input.body || admin_get_text(input.body, "password", &password, error))) {
		if (key)
			response = profile_response(profile_file_decrypt(input.profile, key, cert, password, server->service->random, error));
		else
			pom_fail(error, POM_ERR_BAD_REQUEST, "key is missing: send a JSON body with profile and key (base64 or PEM)");
	}
	input_clear(&input);
	return response;
}

json_t *admin_profile_verify(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"profile", "root", NULL};
	g_autoptr(GPtrArray) system = NULL, given = NULL;
	g_autoptr(GBytes) root = NULL;
	json_t *report = NULL;
	struct input input;

	if (take_input(request, keys, &input, error) && get_bytes(&input, "root", &root, error) &&
	    (!root || (given = cert_parse_all(g_bytes_get_data(root, NULL), g_bytes_get_size(root), error)))) {
		system = system_roots_load();
		report = service_profile_tool_verify(server->service, input.profile, given, system);
	}
	input_clear(&input);
	return report;
}

static json_t *fix(GBytes *profile, const struct profile_file_lint *how, GError **error)
{
	g_autoptr(lint_report) report = NULL;
	g_autoptr(GBytes) fixed = profile_file_fix(profile, how, &report, error);
	g_autofree char *text = fixed ? g_base64_encode(g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed)) : NULL;
	json_t *json = text ? lint_format(report) : NULL;

	if (json)
		json_object_set_new(json, "fixed", json_string(text));
	return json;
}

/* "ios=17.2,macos": the systems of the option "for". */
static bool take_systems(const struct input *input, struct profile_file_lint *how, GError **error)
{
	g_autofree char *text = get_option(input, "for");

	if (text && !lint_systems_parse(text, how->systems, &how->n_systems, error))
		return false;
	return get_flag(input, "unsupervised", false, &how->is_unsupervised, error);
}

json_t *admin_profile_lint(struct server *server, const struct http_request *request, GError **error)
{
	static const char *const keys[] = {"profile", "fix", "for", "unsupervised", NULL};
	g_autoptr(GPtrArray) roots = service_profile_tool_roots(server->service, system_roots_load());
	struct profile_file_lint how = {.at_s = service_now_ms(server->service) / 1000, .roots = roots};
	g_autoptr(lint_report) report = NULL;
	json_t *json = NULL;
	struct input input;
	bool wants_fix;

	if (take_input(request, keys, &input, error) && get_flag(&input, "fix", false, &wants_fix, error) && take_systems(&input, &how, error)) {
		report = wants_fix ? NULL : profile_file_lint(input.profile, &how, server->service->random);
		json = wants_fix ? fix(input.profile, &how, error) : lint_format(report);
	}
	input_clear(&input);
	return json;
}
