/* Issuing a certificate, and registering those of outside CAs. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "service/ca_internal.h"

/* Where the certificates of this generation say that its CRL, its OCSP responder and its CA certificate are. */
struct addresses { char *crl, *ocsp, *issuer; };

static void addresses_clear(struct addresses *a)
{
	g_free(a->crl);
	g_free(a->ocsp);
	g_free(a->issuer);
}

static struct addresses addresses_of(const struct service *service, const struct generation *g)
{
	const char *base = service->settings.ca_url;

	if (!base)
		return (struct addresses){0};
	return (struct addresses){g_strdup_printf("%s/ca/%s.crl", base, g->id), g_strconcat(base, "/ocsp", NULL), g_strdup_printf("%s/ca/%s.cer", base, g->id)};
}

static bool build(struct service *service, const struct issue_plan *plan, struct cert_plan *cert, X509 **ret, GError **error)
{
	const struct cert_info *issuer = plan->generation->issuing->info;
	g_autoptr(GBytes) subject = cert_subject_parse_text(plan->record->subject, error);
	struct addresses addresses = addresses_of(service, plan->generation);
	uint8_t random[16];

	*cert = (struct cert_plan){
		.purpose = CERT_DEVICE, .subject_der = subject, .spki = plan->spki, .dns_names = (const char *const *)plan->record->dns->pdata,
		.emails = (const char *const *)plan->record->emails->pdata, .uris = (const char *const *)plan->record->uris->pdata,
		.ip_addresses = (const char *const *)plan->record->ips->pdata, .crl_url = addresses.crl, .ocsp_url = addresses.ocsp, .ca_issuers_url = addresses.issuer,
	};
	pom_random_fill(service->random, random, sizeof(random));
	ca_plan_serial(cert, random);
	ca_plan_dates(cert, service_now_ms(service) / 1000, plan->days ? plan->days : (int)plan->profile->days, issuer->not_before, issuer->not_after);
	if (cert->not_after == issuer->not_after)
		pom_log(POM_LOG_NOTICE, "a certificate is shorter than its profile says, because its CA ends before: renew the CA", "generation", plan->generation->id, NULL);
	*ret = subject ? cert_build(cert, plan->generation->issuing->cert, error) : NULL;
	addresses_clear(&addresses);
	return *ret != NULL;
}

/* What a client would find out too late: the key has signed what its certificate can verify (a token may hold another key by now, or compute wrongly). */
static bool check_issued(X509 *cert, const struct issue_plan *plan, GError **error)
{
	if (!cert_is_signed_by(cert, plan->generation->issuing->cert))
		return pom_fail(error, POM_ERR_KEY, "the certificate just made does not verify with the key of %s", plan->generation->issuing->info->subject);
	return true;
}

GBytes *service_issue(struct service *service, const struct issue_plan *plan, char **ret_serial, GError **error)
{
	const struct generation *g = plan->generation;
	g_autofree char *hex = NULL, *serial = NULL, *record = scep_record_format(plan->record), *common_name = NULL;
	struct certificate_right right = plan->right;
	struct cert_plan cert_plan;
	g_autoptr(X509) cert = NULL;
	g_autoptr(GBytes) der = NULL;

	if (!g->issuing->signer || service_now_ms(service) / 1000 > g->issuing->info->not_after) {
		pom_fail(error, POM_ERR_KEY_UNAVAILABLE, g->issuing->signer ? "the certificate of generation %s has expired: renew it with \"pomona ca renew\"" : "the key of generation %s is not available", g->id);
		return NULL;
	}
	if (!build(service, plan, &cert_plan, &cert, error))
		return NULL;
	hex = hex_format(cert_plan.serial, cert_plan.serial_len);
	serial = g_ascii_strup(hex, -1);
	common_name = cert_subject_cn(cert);
	struct certificate_new row = {
		.serial = serial, .authority_id = g->issuing->id, .generation_id = g->id, .subject = common_name ? common_name : plan->record->subject, .link_id = plan->link_id, .challenge_id = plan->challenge_id,
		.transaction_id = plan->transaction_id, .profile = plan->profile->name, .record = record, .for_enrollment_id = plan->for_enrollment_id, .renews_serial = plan->renews_serial, .device_id = plan->device_id, .ota_link_id = plan->ota_link_id,
		.not_before_ms = cert_plan.not_before * 1000, .not_after_ms = cert_plan.not_after * 1000, .issued_ms = service_now_ms(service), .for_epoch = plan->for_epoch,
		.may_enroll = plan->may_enroll,
	};
	memcpy(row.spki_sha256, plan->spki_sha256, sizeof(row.spki_sha256));
	struct audit_entry audit = {plan->actor, plan->action, serial,
	                            audit_detail("generation", g->id, "profile", plan->profile->name, "subject", plan->record->subject, "challenge", plan->challenge_id, "link", plan->link_id, "ota_link", plan->ota_link_id,
	                                         "transaction", plan->transaction_id, "renews", plan->renews_serial, "request", plan->right.request_id, "peer", plan->peer, NULL)};
	right.audit = &audit;
	if (!store_certificate_reserve(service->store, &row, &right, error) || !signer_sign_cert(g->issuing->signer, cert, error))
		return NULL;
	der = cert_format_der(cert);
	if (!check_issued(cert, plan, error) || !store_certificate_issue(service->store, serial, der, plan->step, error))
		return NULL;
	if (plan->key)
		service_identity_issued(service, g->id, der, plan->key);
	pom_metric_add(POM_METRIC_CERTIFICATES, NULL, 1);
	if (ret_serial)
		*ret_serial = g_steal_pointer(&serial);
	return g_steal_pointer(&der);
}

/* ---- outside CAs ---- */

/* Serial numbers of other CAs may be small and alike: the CA's name tells them apart. */
char *service_outside_serial(const char *outside, const struct cert_info *info)
{
	return g_strdup_printf("%s:%s", outside, info->serial);
}

bool service_adopt(struct service *service, const struct outside_ca *outside, X509 *cert, GBytes *der, const uint8_t sha256[32], GError **error)
{
	enum { LATE_MS = 7 * 86400 * 1000 };
	g_autoptr(store_load) load = NULL, challenge_load = NULL;
	struct certificate_row known;
	struct challenge_row challenge;
	g_autoptr(cert_info) info = NULL;
	g_autofree char *cn = cert_subject_cn(cert), *serial = NULL, *generation = NULL;
	int64_t for_epoch, now_ms = service_now_ms(service);
	bool found;

	GError *inner = NULL;

	if (!store_certificate_by_sha256(service->store, sha256, &known, &found, &load, error))
		return false;
	if (found)
		return true;
	if (!cn || !store_challenge_by_name(service->store, cn, now_ms - LATE_MS, &challenge, &for_epoch, &found, &challenge_load, error))
		return cn ? false : pom_fail(error, POM_ERR_CERT_UNTRUSTED, "the certificate of outside CA %s has no common name", outside->name);
	if (!found)
		return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "outside CA %s has issued a certificate for \"%.200s\", but no device of ours was to have that name", outside->name, cn);
	info = cert_info_new(cert, error);
	if (!info)
		return false;
	serial = service_outside_serial(outside->name, info);
	generation = g_strconcat("outside:", outside->name, NULL);
	struct certificate_import import = {
		.serial = serial, .generation_id = generation, .subject = cn, .link_id = challenge.link_id, .for_enrollment_id = challenge.for_enrollment_id, .device_id = challenge.device_id, .der = der,
		.not_before_ms = info->not_before * 1000, .not_after_ms = info->not_after * 1000, .issued_ms = now_ms, .for_epoch = for_epoch, .may_enroll = challenge.may_enroll != 0,
	};
	memcpy(import.spki_sha256, info->spki_sha256, sizeof(import.spki_sha256));
	memcpy(import.sha256, sha256, sizeof(import.sha256));
	if (store_certificate_import(service->store, &import, AUDIT("device", "certificate.adopt", serial, audit_detail("outside_ca", outside->name, "subject", info->subject, "link", challenge.link_id, NULL)), &inner))
		return true;
	/* Another request of the same device was first. */
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		g_clear_pointer(&load, store_load_free);
		if (!store_certificate_by_sha256(service->store, sha256, &known, &found, &load, error))
			return false;
		return found || pom_fail(error, POM_ERR_CERT_UNTRUSTED, "outside CA %s has issued another certificate with serial number %s", outside->name, serial);
	}
	g_propagate_error(error, inner);
	return false;
}
