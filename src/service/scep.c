/* The SCEP server (RFC 8894): GetCACaps, GetCACert, PKIOperation with PKCSReq. */
#include "core/scep.h"

#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "core/ca.h"
#include "service/service.h"

enum { RESERVE_TRIES = 8, RETRY_US = 10000 };

GBytes *service_scep_caps(struct service *service)
{
	/* LF and canonical case, also after the last line: Apple's tools compare exactly. SHA-384 is there because strongSwan 5.9.8
	 * takes AES only where it is listed. */
	GString *caps = g_string_new("AES\n");

	g_string_append(caps, service->settings.scep.legacy ? "DES3\nSHA-1\n" : "");
	g_string_append(caps, "SHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n");
	return g_string_free_to_bytes(caps);
}

GBytes *service_scep_ca_cert(struct service *service)
{
	return g_bytes_ref(service->issuing->der);
}

/* CertRep without content. TEXT is fixed: what exactly was wrong is for the log. */
static GBytes *format_reply(struct service *service, const struct scep_request *request, enum scep_status status, enum scep_fail_info fail_info,
                            const char *text, GBytes *enveloped, GError **error)
{
	uint8_t nonce[16];
	g_autoptr(GPtrArray) attributes = NULL;
	gsize len = 0;
	const void *content = enveloped ? g_bytes_get_data(enveloped, &len) : NULL;
	int digest = request->digest_nid ? request->digest_nid : NID_sha256;

	pom_random_fill(service->random, nonce, sizeof(nonce));
	attributes = scep_reply_attributes(request, status, fail_info, text, nonce);
	/* A digest that is forbidden in requests is not used in the answer either. */
	if (digest != NID_sha1 && digest != NID_sha224 && digest != NID_sha384 && digest != NID_sha512)
		digest = NID_sha256;
	return cms_make_signed(service->issuing->signer, service->issuing->cert, content, len, enveloped != NULL, digest, service_now_ms(service) / 1000,
	                       (GBytes *const *)attributes->pdata, attributes->len, &service->issuing->der, 1, error);
}

/* Only the issued certificate: iOS pairs the first one with its key. */
static GBytes *format_success(struct service *service, const struct scep_request *request, const struct cms_enveloped *like, GBytes *der, GError **error)
{
	g_autoptr(GBytes) certs = cms_certs_only_format(&der, 1, error);
	g_autoptr(GBytes) enveloped = NULL;
	gsize len;
	const void *data;

	if (!certs)
		return NULL;
	data = g_bytes_get_data(certs, &len);
	enveloped = cms_make_enveloped(request->signer, like->recipients->len ? g_ptr_array_index(like->recipients, 0) : NULL, like->cipher_nid, data, len,
	                               service->random, error);
	return enveloped ? format_reply(service, request, SCEP_SUCCESS, SCEP_FAIL_INFO_NONE, NULL, enveloped, error) : NULL;
}

/* Row first, then the signature, then the certificate: a certificate without a row cannot exist. */
static GBytes *issue(struct service *service, const struct csr *csr, const struct scep_request *request, const struct scep_load *load, GError **error)
{
	g_autoptr(GBytes) subject = cert_name_format(error, "O", service->settings.organization, "CN", load->common_name, NULL);
	struct cert_plan plan = {.purpose = CERT_DEVICE, .subject_der = subject, .spki = csr->spki};
	const struct cert_info *issuer = service->issuing->info;
	g_autofree char *hex = NULL, *serial = NULL;
	g_autoptr(X509) cert = NULL;
	g_autoptr(GBytes) der = NULL;
	uint8_t random[16];
	int64_t now_ms = service_now_ms(service);

	if (!subject)
		return NULL;
	pom_random_fill(service->random, random, sizeof(random));
	ca_plan_serial(&plan, random);
	ca_plan_dates(&plan, now_ms / 1000, service->settings.device_days, issuer->not_before, issuer->not_after);
	hex = hex_format(plan.serial, plan.serial_len);
	serial = g_ascii_strup(hex, -1);
	struct certificate_new row = {serial, service->issuing->id, load->common_name, load->challenge.link_id, load->challenge.id, request->transaction_id,
	                              {0}, plan.not_before * 1000, plan.not_after * 1000, now_ms, load->may_enroll};
	memcpy(row.spki_sha256, csr->spki_sha256, sizeof(row.spki_sha256));
	cert = cert_build(&plan, service->issuing->cert, error);
	if (!cert || !store_certificate_reserve(service->store, &row, load->version, error) || !signer_sign_cert(service->issuing->signer, cert, error))
		return NULL;
	der = cert_format_der(cert);
	if (!store_certificate_issue(service->store, serial, der, error))
		return NULL;
	pom_metric_add(POM_METRIC_CERTIFICATES, NULL, 1);
	return g_steal_pointer(&der);
}

/* The certificate for this request, new or the same again. NULL with *RET_REFUSED: a FAILURE for the client; else a failure of ours. */
static GBytes *decide_and_issue(struct service *service, const struct csr *csr, const struct scep_request *request, bool *ret_refused, bool *ret_again, GError **error)
{
	const char *challenge = csr->challenge ? csr->challenge : request->challenge_attribute;
	struct scep_load load = {0};
	struct scep_plan plan;
	uint8_t hash[32];
	GBytes *der = NULL;
	GError *inner = NULL;

	cert_sha256(challenge ? challenge : "", challenge ? strlen(challenge) : 0, hash);
	if (!store_scep_load(service->store, hash, csr->spki_sha256, &load, error))
		return NULL;
	if (!challenge || !*challenge)
		load.challenge.known = false;
	/* A row whose signature was never finished (the process died between) counts as this key's: issue goes on with a new row. */
	if (load.challenge.has_same_key && !load.same_key_der && load.challenge.same_key_usable) {
		load.challenge.has_same_key = false;
		load.challenge.n_keys--;
	}
	scep_decide(&load.challenge, service_now_ms(service), &plan, &inner);
	if (plan.action == SCEP_DO_RESEND) {
		der = g_bytes_ref(load.same_key_der);
	} else if (plan.action == SCEP_DO_ISSUE) {
		der = issue(service, csr, request, &load, &inner);
		*ret_again = g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
	} else {
		*ret_refused = true;
		if (plan.alarm)
			pom_log(POM_LOG_WARNING, "SCEP challenge came again with another key", "challenge", load.challenge.id, "link", load.challenge.link_id, NULL);
	}
	if (inner)
		g_propagate_error(error, inner);
	scep_load_clear(&load);
	return der;
}

/* Everything behind the outer message. As in decide_and_issue. */
static GBytes *process(struct service *service, const struct scep_request *request, const struct cms_enveloped *enveloped, bool *ret_refused, GError **error)
{
	g_autoptr(GBytes) content = cms_open_enveloped(service->issuing->signer, service->issuing->cert, enveloped, service->random, error);
	g_autoptr(csr) csr = NULL;
	GError *inner = NULL;
	bool again = true;
	GBytes *der = NULL;

	*ret_refused = true;
	if (!content)
		return NULL;
	csr = csr_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), error);
	if (!csr || !scep_check_csr(csr, &service->settings.scep, error))
		return NULL;
	*ret_refused = false;
	for (int i = 0; i < RESERVE_TRIES && again && !der; i++) {
		/* Two requests with one key take the row from each other: the later each time waits longer for the other to finish. */
		g_usleep((gulong)i * RETRY_US);
		again = false;
		g_clear_error(&inner);
		der = decide_and_issue(service, csr, request, ret_refused, &again, &inner);
	}
	if (!der)
		service_fail_again(error, inner);
	return der;
}

/* FAILURE: the refusal goes to the log, a fixed text with an incident id to the client. */
static bool answer_failure(struct service *service, const struct scep_request *request, enum scep_fail_info fail_info, GError *refusal, GBytes **ret_reply, GError **ret_refusal, GError **error)
{
	static const char *const texts[] = {"algorithm not accepted", "signature not valid", "request not accepted", "time not accepted", "no such certificate"};
	struct pom_id incident = pom_id_new(service->clock, service->random);
	g_autofree char *text = g_strdup_printf("%s (incident %s)", texts[fail_info], incident.text);

	if (refusal) {
		g_prefix_error(&refusal, "incident %s: ", incident.text);
		g_propagate_error(ret_refusal, refusal);
	}
	*ret_reply = format_reply(service, request, SCEP_FAILURE, fail_info, text, NULL, error);
	return *ret_reply != NULL;
}

bool service_scep_operation(struct service *service, GBytes *message, struct subject *subject, GBytes **ret_reply, GError **ret_refusal, GError **error)
{
	g_autoptr(scep_request) request = scep_request_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), error);
	g_autoptr(cms_enveloped) enveloped = NULL;
	g_autoptr(GBytes) der = NULL;
	enum scep_fail_info fail_info = SCEP_BAD_REQUEST;
	GError *refusal = NULL;
	bool refused = true;

	if (!request)
		return false;
	g_strlcpy(subject->detail, request->transaction_id, sizeof(subject->detail));
	if (!scep_check_message(request, NID_aes_128_cbc, &service->settings.scep, &fail_info, &refusal))
		return answer_failure(service, request, fail_info, refusal, ret_reply, ret_refusal, error);
	if (EVP_PKEY_get_base_id(X509_get0_pubkey(request->signer)) != EVP_PKEY_RSA) {
		pom_fail(&refusal, POM_ERR_CMS_ALGORITHM, "the message is signed with a key that the answer cannot be encrypted to (RFC 8894 §3.1): use an RSA key");
		return answer_failure(service, request, SCEP_BAD_ALG, refusal, ret_reply, ret_refusal, error);
	}
	if (request->enveloped)
		enveloped = cms_enveloped_parse(g_bytes_get_data(request->enveloped, NULL), g_bytes_get_size(request->enveloped), SCEP_MESSAGE_MAX, &refusal);
	else
		pom_fail(&refusal, POM_ERR_SCEP_MESSAGE, "the message has no content (RFC 8894 §3.1)");
	if (!enveloped)
		return answer_failure(service, request, g_error_matches(refusal, POM_ERROR, POM_ERR_CMS_ALGORITHM) ? SCEP_BAD_ALG : SCEP_BAD_REQUEST, refusal, ret_reply, ret_refusal, error);
	if (!scep_check_message(request, enveloped->cipher_nid, &service->settings.scep, &fail_info, &refusal))
		return answer_failure(service, request, fail_info, refusal, ret_reply, ret_refusal, error);
	der = process(service, request, enveloped, &refused, &refusal);
	if (der) {
		*ret_reply = format_success(service, request, enveloped, der, error);
		return *ret_reply != NULL;
	}
	if (refused)
		return answer_failure(service, request, SCEP_BAD_REQUEST, refusal, ret_reply, ret_refusal, error);
	/* Ours to mend (store busy, key not usable): the client must try again, not give up. */
	g_propagate_error(error, refusal);
	return false;
}
