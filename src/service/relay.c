/* What is asked of others: a webhook's decision, and certificates of outside CAs. */
#include "service/relay.h"

#include <string.h>

#include "base/log.h"
#include "service/scep_client.h"

enum { OUTSIDE_TIMEOUT_MS = 20000, POLLS = 3, POLL_MS = 2000 };

/* What the service gave instead of the names of BEFORE. NULL with ERROR. */
static struct scep_record *renamed(const struct webhook_answer *answer, const struct scep_record *before, GError **error)
{
	g_autoptr(scep_record) record = scep_record_new(answer->subject ? answer->subject : before->subject);
	g_autoptr(GBytes) name = cert_subject_parse_text(record->subject, error);
	g_auto(GStrv) kept = answer->sans ? NULL : scep_record_san_texts(before);

	if (!name)
		return NULL;
	for (char **san = answer->sans ? answer->sans : kept; *san; san++)
		if (!scep_record_add_san(record, *san, error))
			return NULL;
	return g_steal_pointer(&record);
}

bool service_ask_webhook(struct service *service, const struct profile_entry *entry, const struct webhook_question *question, struct scep_record **record, GError **error)
{
	g_autoptr(GBytes) secret = entry->webhook_secret ? secret_bytes_new(entry->webhook_secret, strlen(entry->webhook_secret)) : NULL;
	const struct webhook hook = {.url = entry->profile->webhook_url, .secret = secret, .timeout_ms = (unsigned)entry->profile->webhook_timeout_s * 1000, .clock = service->clock, .random = service->random};
	g_auto(GStrv) sans = scep_record_san_texts(*record);
	struct webhook_question whole = *question;
	g_auto(webhook_answer) answer = {0};
	g_autoptr(scep_record) changed = NULL;
	g_autoptr(GError) inner = NULL;

	whole.subject = (*record)->subject;
	whole.sans = (const char *const *)sans;
	if (!service->outbound || !secret)
		return pom_fail(error, POM_ERR_SCEP_DENIED, "the webhook of profile %s has no secret", entry->profile->name);
	if (!webhook_decide(service->outbound, &hook, &whole, &answer, error))
		return false;
	if (!answer.subject && !answer.sans)
		return true;
	changed = renamed(&answer, *record, &inner);
	if (!changed)
		return pom_fail(error, POM_ERR_SCEP_DENIED, "the decision service gave names that cannot be issued: %s", inner->message);
	scep_record_free(*record);
	*record = g_steal_pointer(&changed);
	return true;
}

static bool wait_ms(void *ctx, unsigned ms)
{
	g_usleep((gulong)ms * 1000);
	return true;
}

/* The fingerprint as bytes in RET, which the client borrows. */
static struct scep_client client_of(struct service *service, const struct outside_ca *outside, uint8_t ret[CERT_DIGEST_LEN])
{
	g_autoptr(GBytes) pin = outside->fingerprint ? hex_parse(outside->fingerprint) : NULL;
	bool pinned = pin && g_bytes_get_size(pin) == CERT_DIGEST_LEN;

	if (pinned)
		memcpy(ret, g_bytes_get_data(pin, NULL), CERT_DIGEST_LEN);
	return (struct scep_client){
		.outbound = service->outbound, .clock = service->clock, .random = service->random, .url = outside->url, .ca_sha256 = pinned ? ret : NULL, .timeout_ms = OUTSIDE_TIMEOUT_MS,
		.legacy_des = outside->legacy_des, .challenge = outside->ndes_url ? NULL : outside->challenge, .challenge_url = outside->ndes_url, .challenge_user = outside->user,
		.challenge_password = outside->password, .n_polls = POLLS, .poll_ms = POLL_MS, .wait = wait_ms,
	};
}

static bool is_ready(struct service *service, const struct outside_ca *outside, GError **error)
{
	if (!service->outbound)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE, "this server does not call out");
	if (!outside)
		return pom_fail(error, POM_ERR_CONFIG, "there is no outside CA of this name: describe it with \"pomona outside-ca set\"");
	return !outside->legacy_des || keys_load_legacy(error);
}

GPtrArray *service_outside_ask(struct service *service, const struct outside_ca *outside, GError **error)
{
	uint8_t pin[CERT_DIGEST_LEN];
	struct scep_client client = client_of(service, outside, pin);
	g_auto(scep_client_ca) ca = {0};

	if (!is_ready(service, outside, error) || !scep_client_get_ca(&client, &ca, error))
		return NULL;
	return g_ptr_array_ref(ca.certs);
}

bool service_outside_challenge(struct service *service, const struct outside_ca *outside, char **ret, GError **error)
{
	uint8_t pin[CERT_DIGEST_LEN];
	struct scep_client client = client_of(service, outside, pin);
	g_autoptr(GBytes) challenge = NULL;

	if (!is_ready(service, outside, error) || !scep_client_challenge(&client, &challenge, error))
		return false;
	*ret = challenge ? g_strdup(g_bytes_get_data(challenge, NULL)) : g_strdup("");
	return true;
}

/* Registers what came for what PLAN says; in the row RESERVED, unless that is NULL. */
static bool take_in(struct service *service, const struct outside_ca *outside, const struct issue_plan *plan, const char *reserved, GBytes *der, GError **error)
{
	g_autoptr(X509) cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);
	g_autoptr(cert_info) info = cert ? cert_info_new(cert, error) : NULL;
	g_autofree char *serial = info ? service_outside_serial(outside->name, info) : NULL, *generation = g_strconcat("outside:", outside->name, NULL), *cn = cert ? cert_subject_cn(cert) : NULL;

	if (!info)
		return false;
	struct certificate_import row = {
		.serial = serial, .generation_id = generation, .subject = cn ? cn : info->subject, .link_id = plan->link_id, .for_enrollment_id = plan->for_enrollment_id, .device_id = plan->device_id, .der = der,
		.not_before_ms = info->not_before * 1000, .not_after_ms = info->not_after * 1000, .issued_ms = service_now_ms(service), .for_epoch = plan->for_epoch, .may_enroll = plan->may_enroll,
		.profile = plan->profile->name,
	};
	const struct audit_entry *audit = AUDIT(plan->actor, "certificate.outside", serial, audit_detail("outside_ca", outside->name, "subject", info->subject, "challenge", plan->challenge_id,
	                                        "link", plan->link_id, "transaction", plan->transaction_id, "peer", plan->peer, NULL));
	memcpy(row.spki_sha256, info->spki_sha256, sizeof(row.spki_sha256));
	memcpy(row.sha256, info->sha256, sizeof(row.sha256));
	return reserved ? store_certificate_fulfill(service->store, reserved, &row, audit, error) : store_certificate_import(service->store, &row, audit, error);
}

GBytes *service_relay(struct service *service, const struct outside_ca *outside, const struct issue_plan *plan, GBytes *csr, const char *id, GError **error)
{
	uint8_t pin[CERT_DIGEST_LEN];
	g_auto(scep_client_result) result = {0};
	g_autoptr(GError) unforgotten = NULL;
	g_autofree char *serial = g_strconcat("asked:", id, NULL), *generation = outside ? g_strconcat("outside:", outside->name, NULL) : NULL, *record = scep_record_format(plan->record),
	                *cn = scep_record_common_name(plan->record);
	/* The right is taken before the CA is asked, so that two requests with one challenge cannot both be passed on. */
	struct certificate_new row = {
		.serial = serial, .authority_id = generation, .generation_id = generation, .subject = cn, .link_id = plan->link_id, .challenge_id = plan->challenge_id,
		.transaction_id = plan->transaction_id, .profile = plan->profile->name, .record = record, .for_enrollment_id = plan->for_enrollment_id, .renews_serial = plan->renews_serial,
		.issued_ms = service_now_ms(service), .for_epoch = plan->for_epoch, .may_enroll = plan->may_enroll, .device_id = plan->device_id,
	};

	memcpy(row.spki_sha256, plan->spki_sha256, sizeof(row.spki_sha256));
	if (!is_ready(service, outside, error) || !store_certificate_reserve(service->store, &row, &plan->right, error))
		return NULL;
	struct scep_client client = client_of(service, outside, pin);
	if (scep_client_enroll(&client, NULL, csr, &result, error) && take_in(service, outside, plan, serial, result.certificate, error))
		return g_bytes_ref(result.certificate);
	/* Taken by another request, or filled after all: it is not ours any more. */
	if (!store_certificate_forget(service->store, &row, &plan->right, &unforgotten) && !g_error_matches(unforgotten, POM_ERROR, POM_ERR_STORE_CONFLICT))
		pom_log(POM_LOG_ERROR, "a request that the outside CA did not answer cannot be taken back", "transaction", plan->transaction_id, "why", unforgotten->message, NULL);
	return NULL;
}

bool service_outside_identity(struct service *service, const struct outside_ca *outside, const struct issue_plan *plan, struct signer *key, GBytes **ret_der, GPtrArray **ret_chain, GError **error)
{
	uint8_t pin[CERT_DIGEST_LEN];
	g_auto(scep_client_result) result = {0};
	const struct csr_wish wish = {.dns_names = (const char *const *)plan->record->dns->pdata, .ip_addresses = (const char *const *)plan->record->ips->pdata,
	                              .uris = (const char *const *)plan->record->uris->pdata, .emails = (const char *const *)plan->record->emails->pdata};
	g_autoptr(GBytes) subject = cert_subject_parse_text(plan->record->subject, error);
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	if (!subject || !is_ready(service, outside, error))
		return false;
	struct scep_client client = client_of(service, outside, pin);
	if (!scep_client_request(&client, key, subject, &wish, &result, error) || !take_in(service, outside, plan, NULL, result.certificate, error))
		return false;
	for (guint i = 0; i < result.chain->len; i++) {
		GBytes *der = g_ptr_array_index(result.chain, i);
		X509 *cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);

		if (!cert)
			return false;
		g_ptr_array_add(chain, cert);
	}
	*ret_der = g_bytes_ref(result.certificate);
	*ret_chain = g_steal_pointer(&chain);
	return true;
}
