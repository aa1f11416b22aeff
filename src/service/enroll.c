/* Enrollment links, their page and their profile. */
#include "core/enroll.h"

#include <string.h>

#include "service/service.h"

enum { TOKEN_BYTES = 24, SECRET_BYTES = 24, TTL_MAX_S = 365 * 86400, NAME_MAX_LEN = 255 };

void link_made_clear(struct link_made *made)
{
	g_clear_pointer(&made->id, g_free);
	g_clear_pointer(&made->url, g_free);
	g_clear_pointer(&made->profile_url, g_free);
}

static bool check_request(const struct link_request *request, GError **error)
{
	const char *const names[] = {request->user_name, request->device_name};

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (names[i] && (strlen(names[i]) > NAME_MAX_LEN || !g_utf8_validate(names[i], -1, NULL)))
			return pom_fail(error, POM_ERR_BAD_REQUEST, "%s must be UTF-8 text of at most %d bytes", i ? "device" : "user", NAME_MAX_LEN);
	if (request->ttl_s < 0 || request->ttl_s > TTL_MAX_S)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "ttl must be between 1 second and 365 days");
	return true;
}

bool service_link_new(struct service *service, const struct link_request *request, struct link_made *ret, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random), challenge = pom_id_new(service->clock, service->random);
	g_autofree char *token = pom_random_token(service->random, TOKEN_BYTES), *secret = pom_random_token(service->random, SECRET_BYTES);
	g_autofree char *common_name = enroll_common_name(id.text);
	g_autoptr(GBytes) sealed = seal_close(&service->seal, "challenge", challenge.text, "secret", secret, strlen(secret));
	int64_t now_ms = service_now_ms(service), ttl_s = request->ttl_s ? request->ttl_s : service->settings.link_ttl_s;
	struct link_new link = {id.text, request->user_name, request->device_name, challenge.text, common_name, {0}, {0}, sealed, now_ms, now_ms + ttl_s * 1000};

	if (!check_request(request, error))
		return false;
	cert_sha256(token, strlen(token), link.token_hash);
	cert_sha256(secret, strlen(secret), link.secret_hash);
	explicit_bzero(secret, strlen(secret));
	if (!store_link_add(service->store, &link, error))
		return false;
	*ret = (struct link_made){
		g_strdup(id.text), g_strdup_printf("%s/enroll/%s", service->settings.url, token),
		g_strdup_printf("%s/enroll/%s/profile", service->settings.url, token), link.expires_ms,
	};
	return true;
}

static bool load_link(struct service *service, const char *token, struct subject *subject, struct link_load *ret, GError **error)
{
	uint8_t hash[32];

	cert_sha256(token, strlen(token), hash);
	if (!store_link_load(service->store, hash, ret, error))
		return false;
	g_strlcpy(subject->detail, ret->facts.id ? ret->facts.id : "", sizeof(subject->detail));
	if (link_check(&ret->facts, service_now_ms(service), error))
		return true;
	link_load_clear(ret);
	return false;
}

/* The push topic of new enrollments: that of the newest push certificate. transfer full, NULL when there is none. */
static char *newest_topic(struct service *service)
{
	char *topic;

	pthread_rwlock_rdlock(&service->topics_lock);
	topic = g_strdup(service->topics ? service->topics[0] : NULL);
	pthread_rwlock_unlock(&service->topics_lock);
	return topic;
}

static plist *build_tree(struct service *service, const struct link_load *link, const char *topic, const char *secret)
{
	const struct service_settings *s = &service->settings;
	g_autofree char *common_name = enroll_common_name(link->facts.id);
	g_autoptr(GBytes) fingerprint = g_bytes_new(service->issuing->info->sha1, sizeof(service->issuing->info->sha1));

	return enroll_profile_build(&(struct enroll_profile){
		link->facts.id, s->organization, s->url, topic, secret, common_name, s->enroll_include_root ? service->root->der : NULL,
		s->enroll_fingerprint ? fingerprint : NULL, s->access_rights, s->key_size, true,
	});
}

/* Signed with the stable profile key, with the chain up to the root's issuer. */
static GBytes *sign_profile(struct service *service, GBytes *profile, GError **error)
{
	GBytes *const chain[] = {service->profile_signer->der, service->issuing->der};
	gsize len;
	const void *data = g_bytes_get_data(profile, &len);

	return cms_make_signed(service->profile_signer->signer, service->profile_signer->cert, data, len, true, NID_sha256, service_now_ms(service) / 1000,
	                       NULL, 0, chain, G_N_ELEMENTS(chain), error);
}

GBytes *service_enroll_profile(struct service *service, const char *token, struct subject *subject, GError **error)
{
	struct link_load link = {0};
	g_autofree char *topic = newest_topic(service), *secret_text = NULL;
	g_autoptr(GBytes) secret = NULL, plain = NULL;
	g_autoptr(plist) tree = NULL;

	if (!load_link(service, token, subject, &link, error))
		return NULL;
	if (!topic)
		pom_fail(error, POM_ERR_NO_PUSH_CERT, "no push certificate has been imported: run \"pomona push-cert import\" first");
	else
		secret = seal_open(&service->seal, "challenge", link.challenge_id, "secret", link.secret_sealed, error);
	if (secret) {
		secret_text = g_strndup(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
		tree = build_tree(service, &link, topic, secret_text);
		explicit_bzero(secret_text, strlen(secret_text));
	}
	link_load_clear(&link);
	if (!tree || !mobileconfig_check(tree, error) || !(plain = plist_format(tree, error)))
		return NULL;
	return service->settings.enroll_unsigned ? g_steal_pointer(&plain) : sign_profile(service, plain, error);
}

/* TEXT is markup already; TITLE is escaped here. */
static GBytes *format_page(const char *title, const char *body)
{
	g_autofree char *escaped = g_markup_escape_text(title, -1);
	char *html = g_strdup_printf(
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<meta name=\"color-scheme\" content=\"light dark\"><title>%s</title>\n<style>"
		"body{font:1.25rem/1.5 system-ui,sans-serif;max-width:34rem;margin:0 auto;padding:1.5rem;color:#1d1d1f;background:#fff}"
		"h1{font-size:1.75rem;line-height:1.2}"
		"a.button{display:block;text-align:center;background:#0058b0;color:#fff;padding:1rem;border-radius:.75rem;text-decoration:none;font-weight:600;margin:1.5rem 0}"
		"a.button:focus-visible{outline:4px solid #7db8f5;outline-offset:2px}li{margin:.35rem 0}.small{font-size:1rem}"
		"@media (prefers-color-scheme:dark){body{color:#f5f5f7;background:#161617}a.button{background:#2f81e0;color:#000}}"
		"</style></head>\n<body><main><h1>%s</h1>\n%s</main></body></html>\n", escaped, escaped, body);

	return g_bytes_new_take(html, strlen(html));
}

static GBytes *refusal_page(const GError *refusal, int *ret_status)
{
	const struct pom_error_info *info = pom_error_info_of(refusal);
	g_autofree char *body = g_markup_printf_escaped("<p>%s</p><p class=\"small\">%s</p>", info->text, info->id);

	*ret_status = info->http_status;
	return format_page("This link cannot be used", body);
}

GBytes *service_enroll_page(struct service *service, const char *token, struct subject *subject, int *ret_status, GError **ret_refusal)
{
	struct link_load link = {0};
	g_autofree char *title = NULL, *body = NULL, *whom = NULL;

	if (!load_link(service, token, subject, &link, ret_refusal))
		return refusal_page(ret_refusal ? *ret_refusal : NULL, ret_status);
	title = g_strdup_printf("%s manages this device", service->settings.organization);
	whom = link.facts.user_name ? g_markup_printf_escaped("<p>This link is for <strong>%s</strong>.</p>", link.facts.user_name) : g_strdup("");
	body = g_markup_printf_escaped(
		"<p>With the profile behind this button, %s can install settings and apps, read what is installed, and lock or erase the device.</p>"
		"<a class=\"button\" href=\"%s/enroll/%s/profile\">Install the profile</a>"
		"<ol><li>Press the button and allow the download.</li><li>Open <strong>Settings</strong> (on a Mac: <strong>System Settings</strong>) and choose "
		"<strong>Profile Downloaded</strong>.</li><li>Press <strong>Install</strong> and follow the steps.</li></ol>"
		"<p class=\"small\">The profile can be removed in Settings at any time. The link works once.</p>",
		service->settings.organization, service->settings.url, token);
	link_load_clear(&link);
	*ret_status = 200;
	g_autofree char *whole = g_strconcat(whom, body, NULL);
	return format_page(title, whole);
}
