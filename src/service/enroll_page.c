/* What a person sees who opens an enrollment link, and the profile of its first step. */
#include <string.h>

#include "service/enroll.h"
#include "service/enroll_html.h"
#include "service/shared.h"

void service_set_tls_trust(struct service *service, enum tls_trust trust, GBytes *root)
{
	pthread_mutex_lock(&service->trust_lock);
	service->tls_trust = trust;
	g_clear_pointer(&service->tls_root, g_bytes_unref);
	service->tls_root = root ? g_bytes_ref(root) : NULL;
	pthread_mutex_unlock(&service->trust_lock);
}

GPtrArray *service_trust_roots(struct service *service, enum tls_trust *ret_trust)
{
	GPtrArray *roots = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	bool ours;

	pthread_mutex_lock(&service->trust_lock);
	*ret_trust = service->tls_trust;
	ours = service->tls_trust == TLS_TRUST_ROOT && !service->tls_root;
	if (service->tls_root)
		g_ptr_array_add(roots, g_bytes_ref(service->tls_root));
	pthread_mutex_unlock(&service->trust_lock);
	if (ours) {
		g_autoptr(ca_set) set = service_ca_set(service);
		g_autoptr(GPtrArray) anchors = ca_set_anchors(set);

		for (guint i = 0; i < anchors->len; i++)
			g_ptr_array_add(roots, g_bytes_ref(((const struct authority *)g_ptr_array_index(anchors, i))->der));
		if (!roots->len)
			*ret_trust = TLS_TRUST_UNKNOWN;
	}
	return roots;
}

static void clear_root(void *root)
{
	g_free(((struct page_root *)root)->name);
}

/* Name and fingerprint of each: as Settings shows them. */
static GArray *name_roots(GPtrArray *roots)
{
	GArray *named = g_array_new(FALSE, TRUE, sizeof(struct page_root));

	g_array_set_clear_func(named, clear_root);
	for (guint i = 0; i < roots->len; i++) {
		gsize len;
		const void *data = g_bytes_get_data(g_ptr_array_index(roots, i), &len);
		g_autoptr(X509) cert = cert_parse_der(data, len, NULL);
		g_autoptr(cert_info) info = cert ? cert_info_new(cert, NULL) : NULL;
		char *name = cert ? cert_subject_cn(cert) : NULL;
		struct page_root root = {name ? name : g_strdup(info ? info->subject : "")};

		cert_sha256(data, len, root.sha256);
		g_array_append_val(named, root);
	}
	return named;
}

char *service_trust_fingerprints(struct service *service)
{
	enum tls_trust trust;
	g_autoptr(GPtrArray) roots = service_trust_roots(service, &trust);
	g_autoptr(GArray) named = name_roots(roots);
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < named->len; i++) {
		g_autofree char *fingerprint = page_root_fingerprint(&g_array_index(named, struct page_root, i));

		g_string_append_printf(text, "%s%s", i ? ", " : "", fingerprint);
	}
	return text->len ? g_strdup(text->str) : NULL;
}

static bool is_ready(struct service *service, GError **error)
{
	bool ready;

	pthread_rwlock_rdlock(&service->topics_lock);
	ready = service->topics && service->topics[0];
	pthread_rwlock_unlock(&service->topics_lock);
	return ready ? true : pom_fail(error, POM_ERR_NO_PUSH_CERT, "no push certificate has been imported: run \"pomona push-cert import\" first");
}

static GBytes *format_page(struct service *service, const struct page_request *request, const struct link_load *link, GError **error)
{
	enum tls_trust trust;
	g_autoptr(GPtrArray) roots = service_trust_roots(service, &trust);
	g_autoptr(GArray) named = name_roots(roots);
	g_autofree char *url = g_strdup_printf("%s/enroll/%s%s", service->settings.url, request->token, request->ota ? "/ota" : "");
	g_autofree char *profile = g_strdup_printf(request->ota || service->settings.enroll_ota ? "/ota/%s" : "/enroll/%s/profile", request->token);
	g_autofree char *trust_path = g_strdup_printf("/enroll/%s/trust", request->token);
	struct enroll_served served = {0};
	GBytes *html;

	if (!enroll_served_parse(link->served, &served, error))
		return NULL;
	html = enroll_page_format(&(struct enroll_page){
		.organization = service->settings.organization, .contact = service->settings.contact, .user_name = link->facts.user_name, .device_name = link->facts.device_name,
		.now_ms = service_now_ms(service), .expires_ms = link->facts.expires_ms, .access_rights = served.access_rights, .url = url, .profile_path = profile,
		.trust_path = trust_path, .device = page_device_parse(request->user_agent), .trust = trust, .roots = (const struct page_root *)named->data, .n_roots = named->len,
	});
	enroll_served_clear(&served);
	return html;
}

GBytes *service_enroll_refusal(struct service *service, const GError *refusal, int *ret_status)
{
	*ret_status = pom_error_info_of(refusal)->http_status;
	return enroll_refusal_format(service->settings.organization, service->settings.contact, pom_error_info_of(refusal));
}

GBytes *service_enroll_page(struct service *service, const struct page_request *request, struct subject *subject, int *ret_status, GError **ret_refusal)
{
	struct link_load link = {0};
	GBytes *page = NULL;

	if (service_link_load(service, request->token, subject, &link, ret_refusal) && is_ready(service, ret_refusal))
		page = format_page(service, request, &link, ret_refusal);
	link_load_clear(&link);
	if (!page)
		return service_enroll_refusal(service, *ret_refusal, ret_status);
	*ret_status = 200;
	return page;
}

const char *service_enroll_policy(void)
{
	return enroll_page_policy();
}

GBytes *service_enroll_trust(struct service *service, const char *token, struct subject *subject, GError **error)
{
	enum tls_trust trust;
	g_autoptr(GPtrArray) roots = NULL;
	/* One profile for all links: who installs it twice has it once. */
	struct enroll_served served = {.url = service->settings.url};
	struct enroll_profile profile = {.link_id = service->settings.url, .organization = service->settings.organization, .served = &served};
	struct link_load link = {0};
	g_autoptr(plist) tree = NULL;

	if (!service_link_load(service, token, subject, &link, error))
		return NULL;
	link_load_clear(&link);
	roots = service_trust_roots(service, &trust);
	profile.anchors = (GBytes *const *)roots->pdata;
	profile.n_anchors = roots->len;
	if (!roots->len) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no root certificate to trust first");
		return NULL;
	}
	tree = enroll_trust_build(&profile);
	return service_profile_finish(service, tree, error);
}
