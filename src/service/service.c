#include "service/service.h"

#include <string.h>

#include "core/ca.h"

void authority_free(struct authority *authority)
{
	if (!authority)
		return;
	g_free(authority->id);
	X509_free(authority->cert);
	g_clear_pointer(&authority->der, g_bytes_unref);
	cert_info_free(authority->info);
	signer_unref(authority->signer);
	g_free(authority);
}

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

/* Opens a stored authority with its key. */
static struct authority *authority_load(const struct authority_row *row, const struct seal *seal, GError **error)
{
	g_autoptr(authority) a = g_new0(struct authority, 1);
	g_autoptr(GBytes) key = NULL;

	a->id = g_strdup(row->id);
	a->der = g_bytes_ref(row->certificate);
	a->cert = cert_parse_der(g_bytes_get_data(a->der, NULL), g_bytes_get_size(a->der), error);
	a->info = a->cert ? cert_info_new(a->cert, error) : NULL;
	if (!a->info)
		return NULL;
	if (row->key_sealed) {
		key = seal_open(seal, "authority", row->id, "key", row->key_sealed, error);
		a->signer = key ? signer_parse(g_bytes_get_data(key, NULL), g_bytes_get_size(key), error) : NULL;
		if (!a->signer)
			return NULL;
	}
	return g_steal_pointer(&a);
}

/* The newest authority of ROLE among ROWS. */
static struct authority *load_role(GArray *rows, const char *role, const struct seal *seal, GError **error)
{
	for (guint i = rows->len; i-- > 0;) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);

		if (!strcmp(row->role, role))
			return authority_load(row, seal, error);
	}
	pom_fail(error, POM_ERR_CONFIG, "the database has no %s certificate: was it made by \"pomona init\"?", role);
	return NULL;
}

static bool load_authorities(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(service->store, &load, error);

	return rows && (service->root = load_role(rows, "root", &service->seal, error)) &&
	       (service->issuing = load_role(rows, "issuing", &service->seal, error)) &&
	       (service->profile_signer = load_role(rows, "signer", &service->seal, error));
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
	pthread_rwlock_init(&service->topics_lock, NULL);
	if (!load_authorities(service, error) || !service_load_topics(service, error)) {
		service_free(service);
		return NULL;
	}
	return service;
}

void service_free(struct service *service)
{
	if (!service)
		return;
	authority_free(service->root);
	authority_free(service->issuing);
	authority_free(service->profile_signer);
	identity_cache_free(service->identities);
	g_strfreev(service->topics);
	g_free(service->settings.url);
	g_free(service->settings.organization);
	pthread_rwlock_destroy(&service->topics_lock);
	pthread_mutex_destroy(&service->load_lock);
	explicit_bzero(&service->seal, sizeof(service->seal));
	g_free(service);
}

/* Making certificates of our own */

static bool plan_own(struct cert_plan *plan, enum cert_purpose purpose, struct signer *key, GBytes *subject, int days, const struct authority *issuer,
                     const struct pom_clock *clock, const struct pom_random *random)
{
	uint8_t serial[16];

	pom_random_fill(random, serial, sizeof(serial));
	ca_plan_serial(plan, serial);
	plan->purpose = purpose;
	plan->subject_der = subject;
	plan->spki = cert_spki_format(signer_get_key(key));
	ca_plan_dates(plan, pom_clock_now_ms(clock) / 1000, days, issuer ? issuer->info->not_before : 0, issuer ? issuer->info->not_after : 0);
	return plan->spki != NULL;
}

/* Signs PLAN with ISSUER (NULL: KEY itself) and stores it under ROLE with its sealed key. transfer full. */
static struct authority *make_authority(struct store *store, const struct seal *seal, const char *role, struct cert_plan *plan, struct signer *key,
                                        const struct authority *issuer, bool retire_others, const struct pom_clock *clock, GError **error)
{
	g_autoptr(X509) cert = cert_build(plan, issuer ? issuer->cert : NULL, error);
	g_autoptr(GBytes) secret = NULL, sealed = NULL, der = NULL;
	struct pom_id id = pom_id_new(clock, seal->random);
	struct authority_row row;

	if (!cert || !signer_sign_cert(issuer ? issuer->signer : key, cert, error))
		return NULL;
	secret = signer_format(key, error);
	if (!secret)
		return NULL;
	sealed = seal_close(seal, "authority", id.text, "key", g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
	der = cert_format_der(cert);
	row = (struct authority_row){id.text, role, "active", der, sealed, plan->not_before * 1000, plan->not_after * 1000, pom_clock_now_ms(clock)};
	if (!store_authority_add(store, &row, retire_others, error))
		return NULL;
	return authority_load(&row, seal, error);
}

static struct authority *make_own(struct store *store, const struct seal *seal, const char *role, enum cert_purpose purpose, const char *organization,
                                  const char *common_name, struct signer *key, int days, const struct authority *issuer, const struct pom_clock *clock, GError **error)
{
	g_autoptr(GBytes) subject = cert_name_format(error, "O", organization, "CN", common_name, NULL);
	struct cert_plan plan = {0};
	struct authority *a = NULL;

	if (subject && plan_own(&plan, purpose, key, subject, days, issuer, clock, seal->random))
		a = make_authority(store, seal, role, &plan, key, issuer, false, clock, error);
	g_clear_pointer(&plan.spki, g_bytes_unref);
	return a;
}

bool service_create_ca(struct store *store, const struct seal *seal, const struct ca_options *o, const struct pom_clock *clock, const struct pom_random *random, GError **error)
{
	g_autoptr(signer) root_key = signer_generate_rsa(o->root_bits, error);
	g_autoptr(signer) issuing_key = root_key ? signer_generate_rsa(o->issuing_bits, error) : NULL;
	g_autoptr(signer) profile_key = issuing_key ? signer_generate_rsa(2048, error) : NULL;
	g_autoptr(authority) root = NULL, issuing = NULL, profile_signer = NULL;

	if (!profile_key)
		return false;
	root = make_own(store, seal, "root", CERT_ROOT_CA, o->organization, "Pomona Root CA", root_key, CA_ROOT_DAYS, NULL, clock, error);
	issuing = root ? make_own(store, seal, "issuing", CERT_ISSUING_CA, o->organization, "Pomona Issuing CA", issuing_key, CA_ISSUING_DAYS, root, clock, error) : NULL;
	profile_signer = issuing ? make_own(store, seal, "signer", CERT_PROFILE_SIGNER, o->organization, "Pomona Profile Signing", profile_key, CA_SIGNER_DAYS, issuing, clock, error) : NULL;
	return profile_signer != NULL;
}

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

static bool tls_fits(const struct authority *a, const char *host, const struct authority *issuing, int64_t now_s)
{
	bool named = g_strv_contains((const char *const *)a->info->dns_names, host) || g_strv_contains((const char *const *)a->info->ip_addresses, host);

	return named && now_s < ca_renew_at(a->info->not_before, a->info->not_after) && cert_is_issued_by(a->cert, issuing->cert);
}

static struct authority *make_tls(struct service *service, const char *host, GError **error)
{
	g_autoptr(signer) key = signer_generate_rsa(2048, error);
	g_autoptr(GBytes) subject = cert_name_format(error, "O", service->settings.organization, "CN", strlen(host) <= 64 ? host : "Pomona", NULL);
	const char *names[] = {host, NULL};
	struct cert_plan plan = {0};
	struct authority *a = NULL;

	if (!key || !subject)
		return NULL;
	if (g_hostname_is_ip_address(host))
		plan.ip_addresses = names;
	else
		plan.dns_names = names;
	if (plan_own(&plan, CERT_TLS_SERVER, key, subject, CA_TLS_DAYS, service->issuing, service->clock, service->random))
		a = make_authority(service->store, &service->seal, "tls", &plan, key, service->issuing, true, service->clock, error);
	g_clear_pointer(&plan.spki, g_bytes_unref);
	return a;
}

struct authority *service_tls_authority(struct service *service, GError **error)
{
	g_autofree char *host = url_host(service->settings.url);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(service->store, &load, error);
	int64_t now_s = service_now_ms(service) / 1000;

	if (!rows)
		return NULL;
	for (guint i = rows->len; i-- > 0;) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		g_autoptr(authority) a = NULL;

		if (strcmp(row->role, "tls"))
			continue;
		a = authority_load(row, &service->seal, error);
		if (!a)
			return NULL;
		if (tls_fits(a, host, service->issuing, now_s))
			return g_steal_pointer(&a);
	}
	return make_tls(service, host, error);
}
