#include "service/service.h"

#include <string.h>

#include "service/ca_internal.h"
#include "service/checkin.h"
#include "service/profile_sign.h"
#include "service/push_cert.h"
#include "service/timeline.h"
#include "store/shared_store.h"

int64_t service_now_ms(const struct service *service)
{
	return pom_clock_now_ms(service->clock);
}

bool service_fail_again(GError **error, GError *inner)
{
	if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_propagate_error(error, inner);
		return false;
	}
	pom_fail(error, POM_ERR_BUSY, "too many changes at the same time: %s", inner->message);
	g_error_free(inner);
	return false;
}

void service_settings_clear(struct service_settings *settings)
{
	g_free(settings->url);
	g_free(settings->organization);
	g_free(settings->ca_url);
	g_free(settings->identity_source);
	g_free(settings->identity_outside);
	g_free(settings->contact);
	g_free(settings->mdm_url);
	g_free(settings->return_to_service.wifi_profile);
	maid_free(settings->maid);
	first_use_settings_free(settings->first_use);
	g_strfreev(settings->device_attributes);
	g_strfreev(settings->push_chain_urls);
	g_free(settings->push_signing_url);
	g_clear_pointer(&settings->push_roots, g_ptr_array_unref);
	g_strfreev(settings->inventory_queries);
	scep_profile_free(settings->profile);
	*settings = (struct service_settings){0};
}

struct service *service_new(struct store *store, const struct seal *seal, struct service_settings settings, const struct pom_clock *clock,
                            const struct pom_random *random, GError **error)
{
	struct service *service = g_new0(struct service, 1);

	service->store = store;
	service->clock = clock;
	service->random = random;
	service->seal = *seal;
	service->settings = settings;
	service->identities = identity_cache_new();
	pthread_mutex_init(&service->load_lock, NULL);
	pthread_mutex_init(&service->crl_lock, NULL);
	pthread_mutex_init(&service->signer_lock, NULL);
	pthread_rwlock_init(&service->topics_lock, NULL);
	pthread_rwlock_init(&service->ca_lock, NULL);
	pthread_mutex_init(&service->trust_lock, NULL);
	service->limits = scep_limits_new();
	service->hints = timeline_hints_new();
	if (!service_ca_reload(service, error) || !service_load_topics(service, error)) {
		service_free(service);
		return NULL;
	}
	return service;
}

void service_free(struct service *service)
{
	if (!service)
		return;
	ca_set_unref(service->ca);
	identity_cache_free(service->identities);
	scep_limits_free(service->limits);
	g_free(service->walked_certificates);
	g_free(service->walked_enrollments);
	timeline_hints_free(service->hints);
	g_strfreev(service->topics);
	service_settings_clear(&service->settings);
	pthread_rwlock_destroy(&service->topics_lock);
	pthread_rwlock_destroy(&service->ca_lock);
	g_clear_pointer(&service->tls_root, g_bytes_unref);
	pthread_mutex_destroy(&service->trust_lock);
	pthread_mutex_destroy(&service->crl_lock);
	pthread_mutex_destroy(&service->signer_lock);
	profile_signer_unref(service->profile_signer);
	pthread_mutex_destroy(&service->load_lock);
	explicit_bzero(&service->seal, sizeof(service->seal));
	g_free(service);
}

/* ---- TLS ---- */

/* The host of a URL, without the brackets of an IPv6 address. transfer full. */
static char *url_host(const char *url)
{
	const char *start = strstr(url, "://");
	const char *end;

	start = start ? start + 3 : url;
	if (*start == '[') {
		end = strchr(start, ']');
		return end ? g_strndup(start + 1, (gsize)(end - start - 1)) : g_strdup(start);
	}
	return g_strndup(start, strcspn(start, ":/"));
}

/* Newest first; the oldest when no newer one is known to all. */
static const struct generation *tls_generation(struct service *service, const struct ca_set *set)
{
	const struct generation *chosen = NULL;

	if (!ca_set_in_state(set, CA_DEFAULT, GENERATION_RETIRING))
		return ca_set_in_state(set, CA_DEFAULT, GENERATION_ACTIVE);
	for (guint i = set->generations->len; i-- > 0;) {
		const struct generation *g = g_ptr_array_index(set->generations, i);
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) lacking = NULL;

		if (strcmp(g->ca, CA_DEFAULT) || (g->state != GENERATION_ACTIVE && g->state != GENERATION_RETIRING))
			continue;
		chosen = g;
		if (g->state == GENERATION_RETIRING)
			continue;
		lacking = store_anchor_lacking(service->store, service->settings.enroll_include_root ? g->number : 0, "", STORE_WALK_END, 1, &load, NULL);
		if (lacking && !lacking->len)
			return g;
	}
	return chosen;
}

static bool tls_fits(const struct authority *a, const char *host, const struct generation *g, int64_t now_s)
{
	bool named = g_strv_contains((const char *const *)a->info->dns_names, host) || g_strv_contains((const char *const *)a->info->ip_addresses, host);

	return named && now_s < ca_renew_at(a->info->not_before, a->info->not_after) && cert_is_issued_by(a->cert, g->issuing->cert);
}

static struct authority *make_tls(struct service *service, const struct generation *g, const char *host, GError **error)
{
	g_autoptr(signer) key = signer_generate_rsa(2048, error);
	const char *names[] = {host, NULL};
	bool address = g_hostname_is_ip_address(host);
	struct own_plan plan = {.purpose = CERT_TLS_SERVER, .role = "tls", .generation_id = g->id, .organization = service->settings.organization,
	                        .common_name = strlen(host) <= 64 ? host : "Pomona", .days = CA_TLS_DAYS, .issuer = g->issuing, .dns_names = address ? NULL : names,
	                        .ip_addresses = address ? names : NULL};
	struct own_made made;
	struct authority *a = NULL;

	own_made_init(&made);
	if (key && own_make(&made, &plan, key, &service->seal, service->clock, error) &&
	    store_authority_add(service->store, &g_array_index(made.rows, struct authority_row, 0), true, error))
		a = g_ptr_array_steal_index(made.made, 0);
	own_made_clear(&made);
	return a;
}

static struct authority *find_tls(struct service *service, const struct generation *g, const char *host, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(service->store, &load, error);
	int64_t now_s = service_now_ms(service) / 1000;

	for (guint i = rows ? rows->len : 0; i-- > 0;) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		g_autoptr(authority) a = NULL;

		if (strcmp(row->role, "tls"))
			continue;
		a = authority_load(row, &service->seal, NULL, error);
		if (!a)
			return NULL;
		if (tls_fits(a, host, g, now_s))
			return g_steal_pointer(&a);
	}
	return rows ? make_tls(service, g, host, error) : NULL;
}

struct authority *service_tls_authority(struct service *service, GPtrArray **ret_chain, GError **error)
{
	g_autofree char *host = url_host(service->settings.url);
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = tls_generation(service, set);
	struct shared_versions versions;
	struct authority *a = store_shared_versions(service->store, &versions, error) ? find_tls(service, g, host, error) : NULL;

	if (!a)
		return NULL;
	atomic_store(&service->tls_version, versions.of[SHARED_TLS]);
	*ret_chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	X509_up_ref(g->issuing->cert);
	g_ptr_array_add(*ret_chain, g->issuing->cert);
	for (guint i = 0; i < g->chain->len; i++) {
		X509 *cert = ((struct authority *)g_ptr_array_index(g->chain, i))->cert;

		X509_up_ref(cert);
		g_ptr_array_add(*ret_chain, cert);
	}
	return a;
}

bool service_tls_is_due(struct service *service, X509 *cert)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = tls_generation(service, set);

	return g && cert && !cert_is_issued_by(cert, g->issuing->cert);
}
