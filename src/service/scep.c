/* The SCEP server (RFC 8894): what it tells of itself, and PKIOperation.
 *
 * A PKIOperation goes: outer message → type and algorithms → the key that it was enveloped to → what is inside → the right to it → certificate. The message's signer may be
 * anybody (Apple's is thrown away): its signature proves that nothing was changed on the way; the right to a certificate is the challenge, the old certificate, or a person's
 * approval. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "core/ota.h"
#include "service/ca_internal.h"
#include "service/relay.h"
#include "service/shared.h"
#include "service/timeline.h"
#include "service/webhook.h"
#include "store/shared_store.h"

enum { RESERVE_TRIES = 8, RETRY_US = 10000, REQUEST_DAYS = 14, PENDING_MAX = 10000, RELAY_MS = 120000, RESERVED_MS = 10000 };

void scep_outcome_clear(struct scep_outcome *outcome)
{
	g_clear_pointer(&outcome->reply, g_bytes_unref);
	g_clear_error(&outcome->refusal);
}

/* One call in progress. */
struct run {
	struct service *service;
	const struct scep_call *call;
	struct ca_set *set;
	const struct profile_entry *entry;
	const struct scep_profile *profile;
	struct scep_request *request;
	struct cms_enveloped *enveloped;
	const struct generation *generation; /* the one that the client addressed */
	const struct authority *speaker;     /* its certificate that the client addressed */
	const struct cms_recipient *recipient;
	const char *what;
	enum scep_fail_info fail_info;       /* for a refusal */
	bool refused;                        /* the error is for the client, not ours to mend */
	bool last_try;
	bool noted;                          /* the step stands in the timeline of call->link_id */
};

static const struct profile_entry *find_profile(const struct ca_set *set, const char *name, GError **error)
{
	const struct profile_entry *entry = ca_set_profile(set, name);

	if (!entry)
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no SCEP profile \"%.64s\"", name);
	return entry;
}

static struct generation *find_active(const struct ca_set *set, const struct scep_profile *profile, GError **error)
{
	struct generation *g = ca_set_in_state(set, profile->ca, GENERATION_ACTIVE);

	if (!g)
		pom_fail(error, POM_ERR_CONFIG, "profile %s is of CA \"%s\", which is not there or not active", profile->name, profile->ca);
	return g;
}

/* ---- what the server tells of itself ---- */

GBytes *service_scep_caps(struct service *service, const char *profile, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	const struct profile_entry *entry = set ? find_profile(set, profile, error) : NULL;
	/* LF and canonical case, also after the last line: Apple's tools compare exactly. SHA-384 is there because strongSwan 5.9.8
	 * takes AES only where it is listed. */
	GString *caps;

	if (!entry)
		return NULL;
	caps = g_string_new("AES\n");
	g_string_append(caps, entry->profile->legacy ? "DES3\nSHA-1\n" : "");
	g_string_append(caps, "SHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nRenewal\n");
	g_string_append(caps, ca_set_in_state(set, entry->profile->ca, GENERATION_NEXT) ? "GetNextCACert\n" : "");
	g_string_append(caps, "SCEPStandard\n");
	return g_string_free_to_bytes(caps);
}

static enum profile_mode effective_mode(const struct scep_profile *profile, const struct generation *g)
{
	if (profile->mode != PROFILE_MODE_AUTO)
		return g->ra ? PROFILE_MODE_RA : profile->mode == PROFILE_MODE_RA ? PROFILE_MODE_CHAIN : profile->mode;
	return g->ra ? PROFILE_MODE_RA : PROFILE_MODE_SINGLE;
}

/* RA (when there is one), issuing CA, and its parents up to the root: without the root Apple's client finds no chain. */
static GBytes *format_chain(const struct generation *g, bool with_ra, GError **error)
{
	GBytes *certs[16];
	size_t n = 0;

	if (with_ra && g->ra)
		certs[n++] = g->ra->der;
	certs[n++] = g->issuing->der;
	for (guint i = 0; i < g->chain->len && n < 14; i++)
		certs[n++] = ((struct authority *)g_ptr_array_index(g->chain, i))->der;
	if (!g_bytes_equal(g->root->der, g->issuing->der))
		certs[n++] = g->root->der;
	return cms_certs_only_format(certs, n, error);
}

GBytes *service_scep_ca_cert(struct service *service, const char *profile, const char **ret_type, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	const struct profile_entry *entry = set ? find_profile(set, profile, error) : NULL;
	const struct generation *g = entry ? find_active(set, entry->profile, error) : NULL;

	if (!g)
		return NULL;
	if (effective_mode(entry->profile, g) == PROFILE_MODE_SINGLE) {
		*ret_type = "application/x-x509-ca-cert";
		return g_bytes_ref(g->issuing->der);
	}
	*ret_type = "application/x-x509-ca-ra-cert";
	return format_chain(g, true, error);
}

GBytes *service_scep_next_ca_cert(struct service *service, const char *profile, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	const struct profile_entry *entry = set ? find_profile(set, profile, error) : NULL;
	const struct generation *g = entry ? find_active(set, entry->profile, error) : NULL, *next = g ? ca_set_in_state(set, entry->profile->ca, GENERATION_NEXT) : NULL;
	g_autoptr(GBytes) certs = NULL;
	gsize len;
	const void *data;

	if (!g)
		return NULL;
	if (!next) {
		pom_fail(error, POM_ERR_NOT_FOUND, "no change of the CA's key is planned (RFC 8894 §4.7.1)");
		return NULL;
	}
	if (!g->issuing->signer) {
		pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of generation %s is not available", g->id);
		return NULL;
	}
	certs = format_chain(next, true, error);
	if (!certs)
		return NULL;
	data = g_bytes_get_data(certs, &len);
	/* By the CA itself, not its RA (RFC 8894 §4.7.1). */
	return cms_make_signed(g->issuing->signer, g->issuing->cert, data, len, true, NID_sha256, service_now_ms(service) / 1000, NULL, 0, &g->issuing->der, 1, error);
}

/* ---- replies ---- */

/* TEXT is fixed: what exactly was wrong is for the log. */
static GBytes *format_reply(struct run *run, enum scep_status status, const char *text, GBytes *enveloped, GError **error)
{
	uint8_t nonce[16];
	g_autoptr(GPtrArray) attributes = NULL;
	gsize len = 0;
	const void *content = enveloped ? g_bytes_get_data(enveloped, &len) : NULL;
	int digest = run->request->digest_nid ? run->request->digest_nid : NID_sha256;
	GBytes *certs[] = {run->speaker->der, run->generation->issuing->der};
	bool with_ca = run->profile->ca_in_reply && run->speaker->der != run->generation->issuing->der;

	if (!run->speaker->signer) {
		pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of generation %s is not available", run->generation->id);
		return NULL;
	}
	pom_random_fill(run->service->random, nonce, sizeof(nonce));
	attributes = scep_reply_attributes(run->request, status, run->fail_info, text, nonce);
	/* A digest that is forbidden in requests is not used in the answer either. */
	if (digest != NID_sha1 && digest != NID_sha224 && digest != NID_sha384 && digest != NID_sha512)
		digest = NID_sha256;
	return cms_make_signed(run->speaker->signer, run->speaker->cert, content, len, enveloped != NULL, digest, service_now_ms(run->service) / 1000,
	                       (GBytes *const *)attributes->pdata, attributes->len, certs, with_ca ? 2 : 1, error);
}

/* MESSAGE to the signer of the request, in its own algorithms. */
static GBytes *envelop_reply(struct run *run, GBytes *message, GError **error)
{
	const struct cms_recipient *like = run->recipient ? run->recipient : run->enveloped->recipients->len ? g_ptr_array_index(run->enveloped->recipients, 0) : NULL;
	gsize len;
	const void *data = g_bytes_get_data(message, &len);
	g_autoptr(GBytes) enveloped = cms_make_enveloped_to(run->request->signer_der, run->request->signer_key, like, run->enveloped->cipher_nid, data, len, run->service->random, error);

	return enveloped ? format_reply(run, SCEP_SUCCESS, NULL, enveloped, error) : NULL;
}

/* Only the issued certificate: iOS pairs the first one with its key. */
static GBytes *reply_certificate(struct run *run, GBytes *der, GError **error)
{
	g_autoptr(GBytes) certs = cms_certs_only_format(&der, 1, error);

	return certs ? envelop_reply(run, certs, error) : NULL;
}

static bool refuse(struct run *run, enum scep_fail_info fail_info, enum pom_error code, GError **error, const char *why)
{
	run->refused = true;
	run->fail_info = fail_info;
	return pom_fail(error, code, "%s", why);
}

/* ---- the right to a certificate ---- */

/* What is asked for, and by whom. */
struct wish {
	struct csr *csr;
	GBytes *csr_der;
	const char *challenge;  /* the one that counts, of the request's own and that beside it; NULL: none */
	/* The signer's certificate when it is one of ours; old.known says whether. */
	struct renewal_facts_old old;
	struct certificate_row old_row;
	store_load *old_load;
};

static void wish_clear(struct wish *wish)
{
	csr_free(wish->csr);
	g_clear_pointer(&wish->csr_der, g_bytes_unref);
	g_clear_pointer(&wish->old_load, store_load_free);
}

/* The signer's certificate, as far as a CA of this profile has issued it and the register knows it. The register is asked first: reading the certificate costs more. */
static bool load_old(struct run *run, struct wish *wish, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(X509) signer = NULL;
	const struct generation *g;
	struct certificate_row next;
	uint8_t sha256[32];
	bool found;

	cert_sha256(g_bytes_get_data(run->request->signer_der, NULL), g_bytes_get_size(run->request->signer_der), sha256);
	if (!store_certificate_by_sha256(run->service->store, sha256, &wish->old_row, &found, &wish->old_load, error))
		return false;
	signer = found ? scep_request_signer(run->request) : NULL;
	g = signer ? ca_set_issuer_of(run->set, signer) : NULL;
	if (!g || strcmp(g->ca, run->profile->ca))
		return true;
	wish->old = (struct renewal_facts_old){
		/* Each profile renews its own: another one's life and rules are not for the asking. */
		.known = true, .of_profile = !strcmp(wish->old_row.profile ? wish->old_row.profile : PROFILE_DEFAULT, run->profile->name), .issued = wish->old_row.state == CERTIFICATE_ISSUED, .not_before_ms = wish->old_row.not_before_ms, .not_after_ms = wish->old_row.not_after_ms,
		.renewed_ms = wish->old_row.renewed_ms,
	};
	if (!wish->csr)
		return true;
	wish->old.same_key = !memcmp(wish->old_row.spki_sha256, wish->csr->spki_sha256, 32);
	if (!store_certificate_renewal(run->service->store, wish->old_row.serial, wish->csr->spki_sha256, &next, &found, &load, error))
		return false;
	wish->old.has_successor = found && next.der;
	wish->old.successor_issued_ms = found ? next.issued_ms : 0;
	wish->old.reserved_ms = found && !next.der ? next.issued_ms : 0;
	return true;
}

/* The names for a certificate without a record: by the profile's templates. */
static struct scep_record *make_record(struct run *run, const struct wish *wish, const char *cn, const char *id, const char *device, GError **error)
{
	const char *name = cn ? cn : wish->csr->common_name ? wish->csr->common_name : run->request->transaction_id;

	return scep_record_from_profile(run->profile, &(struct record_values){run->service->settings.organization, name, id, device, run->profile->name}, error);
}

/* The outside CA's no is said on to the client; while it does not answer, or has not decided, the client must come again. */
static GBytes *relay(struct run *run, const struct wish *wish, const struct issue_plan *plan, const char *id, GError **error)
{
	GError *inner = NULL;
	GBytes *der = service_relay(run->service, ca_set_outside(run->set, run->profile->relay), plan, wish->csr_der, id, &inner);

	if (der)
		return der;
	run->refused = g_error_matches(inner, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REFUSED) || g_error_matches(inner, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REPLY);
	run->fail_info = SCEP_BAD_REQUEST;
	g_propagate_error(error, inner);
	return NULL;
}

static GBytes *issue(struct run *run, const struct wish *wish, struct issue_plan *plan, GError **error)
{
	struct pom_id id = pom_id_new(run->service->clock, run->service->random);
	bool relayed = *run->profile->relay && !plan->ota_link_id;
	g_autofree char *detail = service_timeline_detail(run->what, run->call->peer);
	const struct link_step step = {run->call->link_id, "PKIOperation", detail, service_now_ms(run->service)};
	GBytes *der;

	plan->generation = run->generation;
	plan->profile = run->profile;
	plan->spki = wish->csr->spki;
	plan->spki_sha256 = wish->csr->spki_sha256;
	plan->key = wish->csr->key;
	plan->step = run->call->link_id ? &step : NULL;
	plan->transaction_id = run->request->transaction_id;
	plan->actor = "scep";
	plan->peer = run->call->peer;
	/* An outside CA may take the names as they stand in the request. What fetches a profile over the air is made here in any case: who issued it tells what it is. */
	if (run->profile->strict_names || relayed) {
		GError *inner = NULL;

		if (!scep_check_names(wish->csr, plan->record, &inner)) {
			run->refused = true;
			run->fail_info = SCEP_BAD_REQUEST;
			g_propagate_error(error, inner);
			return NULL;
		}
	}
	if (relayed)
		return relay(run, wish, plan, id.text, error);
	der = service_issue(run->service, plan, NULL, error);
	run->noted = der && plan->step;
	return der;
}

/* A row of this key was reserved but has no certificate. Either another request is about to fill it, then to look again gives its certificate; or the process died in
 * between, then a new row takes its place. Whoever passes a request on to an outside CA may be at it for long. */
static bool may_replace(const struct run *run, int64_t reserved_ms, GError **error)
{
	if (run->last_try && (!*run->profile->relay || service_now_ms(run->service) - reserved_ms > RELAY_MS))
		return true;
	return pom_fail(error, POM_ERR_STORE_CONFLICT, "another request with this key is being answered");
}

/* Has REQUEST wait for a person. */
static bool add_request(struct run *run, const struct wish *wish, struct scep_request_row *request, GError **error)
{
	struct pom_id id = pom_id_new(run->service->clock, run->service->random);
	/* It holds the challenge. */
	g_autoptr(GBytes) sealed = seal_close(&run->service->seal, "scep_request", id.text, "csr", g_bytes_get_data(wish->csr_der, NULL), g_bytes_get_size(wish->csr_der));
	int64_t waiting;

	request->created_ms = service_now_ms(run->service);
	request->expires_ms = request->created_ms + (int64_t)REQUEST_DAYS * 86400 * 1000;
	request->id = id.text;
	request->csr = g_bytes_get_data(sealed, NULL);
	request->csr_len = g_bytes_get_size(sealed);
	if (!store_request_pending_count(run->service->store, request->profile, request->created_ms, &waiting, error))
		return false;
	if (waiting >= PENDING_MAX)
		return refuse(run, SCEP_BAD_REQUEST, POM_ERR_LIMIT, error, "too many requests wait for approval already");
	pom_log(POM_LOG_NOTICE, "a SCEP request waits for approval", "request", id.text, "profile", request->profile, "subject", request->subject, "peer", request->peer, NULL);
	return store_request_add(run->service->store, request, PENDING_MAX, AUDIT("scep", "scep.pending", id.text, audit_detail("profile", request->profile, "subject", request->subject,
	                         "transaction", request->transaction_id, "peer", request->peer, NULL)), error);
}

/* The request like this one that waits for a person, or a new one. SUBJECT is what the person is told: with a challenge its names, else the wish. True: *RET_REQUEST_ID is approved, go on, or *RET_DER was given before; false without an error: PENDING. */
static bool ask_person(struct run *run, const struct wish *wish, const char *challenge_id, const char *subject, char **ret_request_id, GBytes **ret_der, GError **error)
{
	g_autoptr(store_load) load = NULL, certificate_load = NULL;
	g_autoptr(GBytes) signer_key = cert_spki_format(run->request->signer_key);
	uint8_t signer_sha256[32];
	struct scep_request_row row, mine = {
		.profile = run->profile->name, .transaction_id = run->request->transaction_id, .challenge_id = challenge_id, .subject = subject, .peer = run->call->peer,
		.spki_sha256 = wish->csr->spki_sha256, .signer_spki_sha256 = signer_sha256,
	};
	struct certificate_row certificate;
	int64_t now_ms = service_now_ms(run->service);
	bool found;

	cert_sha256(g_bytes_get_data(signer_key, NULL), g_bytes_get_size(signer_key), signer_sha256);
	if (!store_request_by_key(run->service->store, &mine, now_ms, &row, &found, &load, error))
		return false;
	if (found && !strcmp(row.state, "approved")) {
		*ret_request_id = g_strdup(row.id);
		return true;
	}
	if (found && !strcmp(row.state, "issued") && row.serial) {
		if (!store_certificate_get(run->service->store, row.serial, &certificate, &certificate_load, error))
			return false;
		if (certificate.state == CERTIFICATE_RESERVED) {
			if (!may_replace(run, certificate.issued_ms, error))
				return false;
			*ret_request_id = g_strdup(row.id);
			return true;
		}
		if (certificate.der && certificate.state == CERTIFICATE_ISSUED && now_ms - certificate.issued_ms < SCEP_RESEND_WINDOW_MS) {
			*ret_der = g_bytes_new(certificate.der, certificate.der_len);
			return true;
		}
		found = false;
	}
	if (found && !strcmp(row.state, "denied"))
		return refuse(run, SCEP_BAD_REQUEST, POM_ERR_SCEP_DENIED, error, "the request was denied by an administrator");
	run->what = "pending";
	if (!found && !add_request(run, wish, &mine, error))
		return false;
	/* Clients with a throw-away signer come again with another, and poll with that: nothing else links a poll to its request (RFC 8894 §4.4). */
	if (found && (strcmp(row.transaction_id, mine.transaction_id) || memcmp(row.signer_spki_sha256, signer_sha256, 32)) &&
	    !store_request_follow(run->service->store, row.id, mine.transaction_id, signer_sha256, error))
		return false;
	return false;
}

/* A challenge that was good came with another key. */
static bool raise_alarm(const struct run *run, const struct scep_load *load, GError **error)
{
	const char *link = load->challenge.link_id;

	pom_metric_add(POM_METRIC_SCEP_ALARMS, NULL, 1);
	pom_log(POM_LOG_WARNING, "SCEP challenge came again with another key", "challenge", load->challenge.id, "link", link, "peer", run->call->peer, NULL);
	return store_audit_add(run->service->store, AUDIT("scep", "scep.alarm", load->challenge.id, audit_detail("why", "the challenge came again with another key", "peer", run->call->peer, "transaction", run->request->transaction_id, NULL)), error);
}

/* One-time challenges: the record says what the certificate is. */
static GBytes *by_challenge(struct run *run, const struct wish *wish, struct scep_load *load, GError **error)
{
	g_autoptr(scep_record) record = NULL;
	g_autofree char *request_id = NULL;
	struct scep_plan plan;
	GBytes *der = NULL;
	GError *inner = NULL;

	/* A row whose signature was never finished counts as this key's: issue goes on with a new row. */
	if (load->challenge.has_same_key && !load->same_key_der && load->challenge.same_key_usable) {
		if (!may_replace(run, load->challenge.same_key_issued_ms, error))
			return NULL;
		load->challenge.has_same_key = false;
		load->challenge.n_keys--;
	}
	scep_decide(&load->challenge, run->profile, wish->csr, service_now_ms(run->service), &plan, &inner);
	if (plan.action == SCEP_DO_RESEND) {
		run->what = "sent again";
		return g_bytes_ref(load->same_key_der);
	}
	if (plan.action == SCEP_DO_REFUSE) {
		run->refused = true;
		run->fail_info = SCEP_BAD_REQUEST;
		if (plan.alarm && !raise_alarm(run, load, error)) {
			/* Nothing is refused of which that is not written down: the client comes again. */
			run->refused = false;
			g_clear_error(&inner);
			return NULL;
		}
		g_propagate_error(error, inner);
		return NULL;
	}
	record = load->record ? scep_record_parse(load->record, error) : make_record(run, wish, load->common_name, load->challenge.link_id ? load->challenge.link_id : load->challenge.id, load->device_id, error);
	if (!record)
		return NULL;
	/* A device that is being renewed was approved when it enrolled; one that only fetches its profile will be asked about with that. */
	if (run->profile->manual && !load->for_enrollment_id && !load->ota_link_id && !ask_person(run, wish, load->challenge.id, record->subject, &request_id, &der, error))
		return NULL;
	if (der)
		return der;
	struct issue_plan issue_plan = {
		.record = record, .link_id = load->challenge.link_id, .challenge_id = load->challenge.id, .for_enrollment_id = load->for_enrollment_id, .for_epoch = load->for_epoch,
		.device_id = load->device_id, .ota_link_id = load->ota_link_id, .days = load->ota_link_id ? OTA_IDENTITY_DAYS : 0, .may_enroll = load->may_enroll, .action = "certificate.issue", .right = {.challenge_version = load->version, .request_id = request_id},
	};
	run->what = "issued";
	return issue(run, wish, &issue_plan, error);
}

/* The webhook's decision, where the profile has one. */
static bool ask_service(struct run *run, const struct wish *wish, const char *type, struct scep_record **record, GError **error)
{
	const struct webhook_question question = {
		.type = type, .profile = run->profile->name, .transaction_id = run->request->transaction_id, .csr = wish->csr_der, .challenge = wish->challenge, .peer = run->call->peer,
	};

	if (run->profile->challenge != PROFILE_WEBHOOK || service_ask_webhook(run->service, run->entry, &question, record, error))
		return true;
	run->refused = true;
	run->fail_info = SCEP_BAD_REQUEST;
	return false;
}

/* The old certificate is the right: same names, new key. */
static GBytes *by_renewal(struct run *run, const struct wish *wish, GError **error)
{
	g_autoptr(scep_record) record = NULL;
	g_autoptr(store_load) load = NULL;
	struct certificate_row next;
	struct scep_plan plan;
	GError *inner = NULL;
	bool found;

	if (wish->old_row.ota_link_id) {
		refuse(run, SCEP_BAD_REQUEST, POM_ERR_SCEP_RENEWAL, error, "the certificate was given to fetch a profile over the air: it is not renewed");
		return NULL;
	}
	scep_decide_renewal(&wish->old, run->profile, service_now_ms(run->service), &plan, &inner);
	if (plan.action == SCEP_DO_REFUSE) {
		run->refused = true;
		run->fail_info = SCEP_BAD_REQUEST;
		g_propagate_error(error, inner);
		return NULL;
	}
	if (plan.action == SCEP_DO_RESEND) {
		run->what = "sent again";
		if (!store_certificate_renewal(run->service->store, wish->old_row.serial, wish->csr->spki_sha256, &next, &found, &load, error))
			return NULL;
		if (found && next.der)
			return g_bytes_new(next.der, next.der_len);
		pom_fail(error, POM_ERR_STORE_CONFLICT, "the renewed certificate is gone");
		return NULL;
	}
	if (wish->old.reserved_ms && !may_replace(run, wish->old.reserved_ms, error))
		return NULL;
	/* Certificates of the first schema have no record: theirs was the standard template. */
	record = wish->old_row.record ? scep_record_parse(wish->old_row.record, error) : make_record(run, wish, wish->old_row.subject, wish->old_row.link_id, NULL, error);
	if (!record || !ask_service(run, wish, "renew", &record, error))
		return NULL;
	struct issue_plan issue_plan = {
		.record = record, .renews_serial = wish->old_row.serial, .for_enrollment_id = wish->old_row.enrollment_id ? wish->old_row.enrollment_id : wish->old_row.for_enrollment_id,
		.for_epoch = wish->old_row.enrollment_id ? wish->old_row.epoch : wish->old_row.for_epoch,
		.may_enroll = wish->old_row.may_enroll && !wish->old_row.enrollment_id, .action = "certificate.renew", .right = {.renewed_ms = wish->old_row.renewed_ms},
	};
	run->what = "renewed";
	return issue(run, wish, &issue_plan, error);
}

/* Without a record of our own: static challenge, webhook, or a person alone. */
static GBytes *by_profile(struct run *run, const struct wish *wish, GError **error)
{
	struct pom_id id = pom_id_new(run->service->clock, run->service->random);
	g_autofree char *request_id = NULL;
	g_autoptr(store_load) load = NULL;
	struct certificate_row before;
	int64_t now_ms = service_now_ms(run->service);
	GBytes *der = NULL;
	bool found;

	if (!store_certificate_by_key(run->service->store, wish->csr->spki_sha256, run->profile->name, now_ms - SCEP_RESEND_WINDOW_MS, &before, &found, &load, error))
		return NULL;
	if (found && before.der) {
		run->what = "sent again";
		return g_bytes_new(before.der, before.der_len);
	}
	g_autoptr(scep_record) record = make_record(run, wish, NULL, id.text, NULL, error);
	if (!record || !ask_service(run, wish, wish->old.known ? "renew" : "enroll", &record, error))
		return NULL;
	if (run->profile->manual && !ask_person(run, wish, NULL, wish->csr->subject, &request_id, &der, error))
		return NULL;
	if (der)
		return der;
	/* The same request may be answered by another node at this moment: then it is its certificate. */
	struct issue_plan plan = {.record = record, .may_enroll = run->profile->may_enroll, .action = "certificate.issue",
	                          .right = {.request_id = request_id, .none_since_ms = now_ms - SCEP_RESEND_WINDOW_MS, .none_reserved_since_ms = now_ms - (*run->profile->relay ? RELAY_MS : RESERVED_MS)}};
	run->what = "issued";
	return issue(run, wish, &plan, error);
}

static bool is_static(const struct run *run, const char *challenge)
{
	uint8_t hash[32];

	if (run->profile->challenge != PROFILE_STATIC || !run->entry->static_challenge || !challenge)
		return false;
	cert_sha256(challenge, strlen(challenge), hash);
	return !CRYPTO_memcmp(hash, run->entry->static_hash, sizeof(hash));
}

/* A used challenge, said by the holder of a certificate of ours: a renewal. ERROR holds the refusal, and keeps it when it is none. */
static GBytes *renew_instead(struct run *run, struct wish *wish, GError **error)
{
	g_autoptr(GError) refusal = g_steal_pointer(error);

	if (!load_old(run, wish, error))
		return NULL;
	if (!wish->old.known) {
		*error = g_steal_pointer(&refusal);
		return NULL;
	}
	run->refused = false;
	return by_renewal(run, wish, error);
}

/* The facts about the challenge: the one in the request or, if nobody here knows that, the one beside it. When another RA passes a device's request on, the request
 * holds what the device says to that RA, and what the RA says to us stands beside it. */
static bool load_challenge(struct run *run, struct wish *wish, struct scep_load *ret, GError **error)
{
	const char *const said[] = {wish->csr->challenge, run->request->challenge_attribute};
	uint8_t hash[32];

	wish->challenge = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(said) && !ret->challenge.known; i++) {
		if (!said[i] || !*said[i] || is_static(run, wish->challenge))
			continue;
		cert_sha256(said[i], strlen(said[i]), hash);
		scep_load_clear(ret);
		if (!store_scep_load(run->service->store, hash, wish->csr->spki_sha256, ret, error))
			return false;
		if (!wish->challenge || ret->challenge.known || is_static(run, said[i]))
			wish->challenge = said[i];
	}
	return true;
}

/* One look at the facts and what follows from them. NULL without an error: PENDING. */
static GBytes *decide_once(struct run *run, struct wish *wish, bool *ret_again, GError **error)
{
	struct scep_load load = {0};
	GBytes *der = NULL;
	GError *inner = NULL;
	bool renewal = run->request->message_type == SCEP_RENEWAL_REQ, allowed;

	run->refused = false;
	g_clear_pointer(&wish->old_load, store_load_free);
	wish->old = (struct renewal_facts_old){0};
	if (!load_challenge(run, wish, &load, error))
		return NULL;
	if ((renewal || !load.challenge.known) && !load_old(run, wish, error)) {
		scep_load_clear(&load);
		return NULL;
	}
	/* Where the profile wants a challenge for renewals too, a one-time one is used up as if for the first certificate; the others are good again, and the webhook is asked. */
	allowed = !run->profile->renewal_challenge || is_static(run, wish->challenge) || run->profile->challenge == PROFILE_WEBHOOK;
	if (renewal && allowed) {
		der = by_renewal(run, wish, &inner);
	} else if (renewal && !load.challenge.known) {
		refuse(run, SCEP_BAD_REQUEST, POM_ERR_SCEP_CHALLENGE_UNKNOWN, &inner, "this profile wants a challenge for renewals too, and there is none or it is unknown");
	} else if (load.challenge.known) {
		der = by_challenge(run, wish, &load, &inner);
		/* Some clients renew by PKCSReq and say their used challenge again (certmonger). */
		if (!der && run->refused && inner->code == POM_ERR_SCEP_CHALLENGE_USED && !run->profile->renewal_challenge)
			der = renew_instead(run, wish, &inner);
	} else if (is_static(run, wish->challenge) || run->profile->challenge == PROFILE_WEBHOOK || (run->profile->challenge == PROFILE_NO_CHALLENGE && !wish->old.known)) {
		der = by_profile(run, wish, &inner);
	} else if (wish->old.known && !run->profile->renewal_challenge) {
		der = by_renewal(run, wish, &inner);
	} else {
		refuse(run, SCEP_BAD_REQUEST, POM_ERR_SCEP_CHALLENGE_UNKNOWN, &inner, "the challenge is missing or unknown");
	}
	*ret_again = g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
	if (inner)
		g_propagate_error(error, inner);
	scep_load_clear(&load);
	return der;
}

/* NULL without an error: PENDING. */
static GBytes *certify(struct run *run, GBytes *content, GError **error)
{
	struct wish wish = {.csr_der = g_bytes_ref(content)};
	GError *inner = NULL;
	bool again = true;
	GBytes *der = NULL;

	/* Clients like iOS sign the message with the key of the request. */
	wish.csr = csr_parse_known(g_bytes_get_data(content, NULL), g_bytes_get_size(content), run->request->signer_spki, run->request->signer_key, error);
	if (!wish.csr || !scep_check_csr(wish.csr, run->profile, error)) {
		run->refused = true;
		run->fail_info = SCEP_BAD_REQUEST;
		wish_clear(&wish);
		return NULL;
	}
	for (int i = 0; i < RESERVE_TRIES && again && !der; i++) {
		/* Two requests with one key take the row from each other: the later each time waits longer for the other to finish. */
		if (i)
			g_usleep((gulong)i * RETRY_US);
		g_clear_error(&inner);
		again = false;
		run->last_try = i == RESERVE_TRIES - 1;
		der = decide_once(run, &wish, &again, &inner);
	}
	wish_clear(&wish);
	if (!der && inner)
		service_fail_again(error, inner);
	return der;
}

/* ---- the other messages ---- */

/* CertPoll: found by transactionID and the key of the signer; issuer and subject inside are not looked at (RFC 8894 §3.3.3). */
static GBytes *poll(struct run *run, GBytes *content, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GBytes) issuer = NULL, subject = NULL, key = cert_spki_format(run->request->signer_key);
	g_autoptr(GArray) rows = NULL;
	uint8_t sha256[32];

	if (!scep_issuer_and_subject_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), &issuer, &subject, error)) {
		run->refused = true;
		run->fail_info = SCEP_BAD_REQUEST;
		return NULL;
	}
	cert_sha256(g_bytes_get_data(key, NULL), g_bytes_get_size(key), sha256);
	rows = store_request_by_transaction(run->service->store, run->profile->name, run->request->transaction_id, service_now_ms(run->service), &load, error);
	if (!rows)
		return NULL;
	for (guint i = 0; i < rows->len; i++) {
		const struct scep_request_row *row = &g_array_index(rows, struct scep_request_row, i);
		g_autoptr(GBytes) sealed = NULL, csr = NULL;

		if (memcmp(row->signer_spki_sha256, sha256, 32))
			continue;
		sealed = g_bytes_new(row->csr, row->csr_len);
		csr = seal_open(&run->service->seal, "scep_request", row->id, "csr", sealed, error);
		/* From here on as if the request had come again: it gets what its state says. */
		return csr ? certify(run, csr, error) : NULL;
	}
	refuse(run, SCEP_BAD_CERT_ID, POM_ERR_SCEP_NOT_FOUND, error, "no request with this transactionID and key waits (RFC 8894 §4.4)");
	return NULL;
}

static bool is_own(const struct wish *me, const struct certificate_row *asked)
{
	const struct certificate_row *mine = &me->old_row;

	return !strcmp(asked->serial, mine->serial) || !memcmp(asked->spki_sha256, mine->spki_sha256, 32) || !g_strcmp0(asked->renews_serial, mine->serial) ||
	       (mine->renews_serial && !strcmp(mine->renews_serial, asked->serial)) || (mine->enrollment_id && !g_strcmp0(mine->enrollment_id, asked->enrollment_id));
}

/* GetCert and GetCRL are for holders of a certificate of ours. */
static bool load_holder(struct run *run, struct wish *me, GError **error)
{
	int64_t now_ms = service_now_ms(run->service);

	if (!load_old(run, me, error))
		return false;
	if (me->old.known && me->old.issued && now_ms >= me->old.not_before_ms && now_ms <= me->old.not_after_ms)
		return true;
	return refuse(run, SCEP_BAD_CERT_ID, POM_ERR_SCEP_NOT_FOUND, error, "only the holder of a valid certificate of this CA may ask: the message is signed with another");
}

static const struct generation *generation_named(const struct run *run, GBytes *issuer_der)
{
	for (guint i = 0; i < run->set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(run->set->generations, i);

		if (generation_is_trusted(g->state) && !strcmp(g->ca, run->profile->ca) && cert_names_match(g->issuing->info->subject_der, issuer_der))
			return g;
	}
	return NULL;
}

static GBytes *get_cert(struct run *run, const struct wish *me, const struct generation *g, const char *serial, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;
	GError *inner = NULL;
	bool found = store_certificate_get(run->service->store, serial, &row, &load, &inner);

	if (!found && !g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_propagate_error(error, inner);
		return NULL;
	}
	g_clear_error(&inner);
	if (!found || !g || strcmp(row.generation_id, g->id) || !row.der || !is_own(me, &row)) {
		refuse(run, SCEP_BAD_CERT_ID, POM_ERR_SCEP_NOT_FOUND, error, "there is no such certificate, or it is another holder's");
		return NULL;
	}
	g_autoptr(GBytes) der = g_bytes_new(row.der, row.der_len);
	run->what = "certificate";
	return reply_certificate(run, der, error);
}

static GBytes *get_crl(struct run *run, const struct generation *g, GError **error)
{
	g_autoptr(GBytes) crl = NULL, message = NULL;

	if (!g) {
		refuse(run, SCEP_BAD_CERT_ID, POM_ERR_SCEP_NOT_FOUND, error, "there is no CA of this name");
		return NULL;
	}
	crl = service_crl(run->service, g->id, NULL, NULL, error);
	message = crl ? cms_crls_only_format(&crl, 1, error) : NULL;
	run->what = "crl";
	return message ? envelop_reply(run, message, error) : NULL;
}

static GBytes *get(struct run *run, GBytes *content, GError **error)
{
	struct wish me = {0};
	g_autoptr(GBytes) issuer = NULL;
	g_autofree char *serial = NULL;
	GBytes *reply = NULL;

	if (!scep_issuer_and_serial_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), &issuer, &serial, error)) {
		run->refused = true;
		run->fail_info = SCEP_BAD_REQUEST;
		return NULL;
	}
	if (load_holder(run, &me, error)) {
		const struct generation *g = generation_named(run, issuer);

		reply = run->request->message_type == SCEP_GET_CERT ? get_cert(run, &me, g, serial, error) : get_crl(run, g, error);
	}
	wish_clear(&me);
	return reply;
}

/* ---- the way through a message ---- */

/* The key that the message is enveloped to, among those of the profile's CA: older ones of a renewed or retiring CA, and the published next one, too. */
static void choose_key(struct run *run)
{
	for (guint i = 0; i < run->set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(run->set->generations, i);

		if (strcmp(g->ca, run->profile->ca) || !generation_is_trusted(g->state))
			continue;
		for (guint k = 0; k < g->authorities->len; k++) {
			const struct authority *a = g_ptr_array_index(g->authorities, k);
			const struct cms_recipient *recipient;

			if (!a->cert || !a->signer || (strcmp(a->role, "issuing") && strcmp(a->role, "ra")) || a->info->key_type != EVP_PKEY_RSA)
				continue;
			recipient = cms_recipient_for(run->enveloped, a->cert);
			if (recipient) {
				/* A retiring CA's requests are answered by its own key, but the certificate is of the active one. */
				run->generation = g;
				run->speaker = a;
				run->recipient = recipient;
				return;
			}
		}
	}
	/* Clients keep a stale CA certificate: with one recipient the present key is tried. */
	if (run->enveloped->recipients->len == 1)
		run->recipient = g_ptr_array_index(run->enveloped->recipients, 0);
}

static bool check_time(struct run *run, GError **error)
{
	int64_t at = run->request->signing_time, now_s = service_now_ms(run->service) / 1000;

	if (!run->profile->enforce_time || at < 0 || ABS(now_s - at) <= SCEP_TIME_TOLERANCE_S)
		return true;
	return refuse(run, SCEP_BAD_TIME, POM_ERR_SCEP_TIME, error, "the message's signingTime is more than a day off: is the client's clock right?");
}

static bool check_outer(struct run *run, GError **error)
{
	struct scep_request *request = run->request;
	GError *inner = NULL;

	run->refused = true;
	run->fail_info = SCEP_BAD_REQUEST;
	if (!scep_check_message(request, NID_undef, run->profile, &run->fail_info, error))
		return false;
	if (!request->signer_key || EVP_PKEY_get_base_id(request->signer_key) != EVP_PKEY_RSA)
		return refuse(run, SCEP_BAD_ALG, POM_ERR_CMS_ALGORITHM, error, "the message is signed with a key that the answer cannot be encrypted to (RFC 8894 §3.1): use an RSA key");
	if (!check_time(run, error))
		return false;
	if (!request->enveloped)
		return refuse(run, SCEP_BAD_REQUEST, POM_ERR_SCEP_MESSAGE, error, "the message has no content (RFC 8894 §3.1)");
	run->enveloped = cms_enveloped_parse(g_bytes_get_data(request->enveloped, NULL), g_bytes_get_size(request->enveloped), SCEP_MESSAGE_MAX, &inner);
	if (!run->enveloped) {
		run->fail_info = g_error_matches(inner, POM_ERROR, POM_ERR_CMS_ALGORITHM) ? SCEP_BAD_ALG : SCEP_BAD_REQUEST;
		g_propagate_error(error, inner);
		return false;
	}
	if (!scep_check_message(request, run->enveloped->cipher_nid, run->profile, &run->fail_info, error))
		return false;
	run->refused = false;
	return true;
}

/* Certificates come from the active generation, or from the next one when the client addressed that (RFC 8894 §5.1). */
static void choose_issuer(struct run *run)
{
	if (run->generation->state == GENERATION_RETIRING)
		run->generation = ca_set_in_state(run->set, run->profile->ca, GENERATION_ACTIVE);
}

/* The CertRep for a message whose outside is fine. NULL with run->refused: a FAILURE for the client. NULL without an error: PENDING. */
static GBytes *process(struct run *run, GError **error)
{
	g_autoptr(GBytes) content = NULL, der = NULL;
	GError *inner = NULL;

	choose_key(run);
	content = cms_open_enveloped_with(run->speaker->signer, run->recipient, run->enveloped, run->service->random, &inner);
	if (!content) {
		run->refused = g_error_matches(inner, POM_ERROR, POM_ERR_CMS_DECRYPT);
		run->fail_info = SCEP_BAD_REQUEST;
		g_propagate_error(error, inner);
		return NULL;
	}
	choose_issuer(run);
	switch (run->request->message_type) {
	case SCEP_CERT_POLL:
		der = poll(run, content, error);
		break;
	case SCEP_GET_CERT:
	case SCEP_GET_CRL:
		return get(run, content, error);
	default:
		der = certify(run, content, error);
		break;
	}
	return der ? reply_certificate(run, der, error) : NULL;
}

/* Counts a refusal, here and for other nodes, and puts it into the audit log. That this cannot be written changes nothing for the client. */
static void note_failure(struct run *run, const char *incident, const GError *refusal)
{
	struct service *service = run->service;
	const char *peer = run->call->peer;
	int64_t now_ms = service_now_ms(service), forgiven_ms;
	struct audit_entry entry = {.actor = "scep", .action = "scep.refuse", .object = run->request->transaction_id};
	char address[SCEP_ADDRESS_SIZE];
	bool audited = scep_limits_fail(service->limits, run->profile->name, peer, now_ms);
	g_autoptr(GError) error = NULL;

	if (audited)
		entry.detail = audit_detail("incident", incident, "reason", pom_error_info_of(refusal)->id, "why", refusal->message, "profile", run->profile->name, "peer", peer, NULL);
	scep_limits_address(peer, address);
	if (store_scep_failed(service->store, address, SCEP_FAILURE_MS, now_ms, audited ? &entry : NULL, &forgiven_ms, &error))
		scep_limits_learn(service->limits, peer, forgiven_ms, now_ms);
	else
		pom_log(POM_LOG_ERROR, "a refusal could not be put into the audit log, nor told to other nodes", "why", error->message, NULL);
}

/* FAILURE: the refusal goes to the log and the audit log, a fixed text with an incident id to the client. */
static bool answer_failure(struct run *run, GError *refusal, struct subject *subject, struct scep_outcome *ret, GError **error)
{
	static const char *const texts[] = {"algorithm not accepted", "signature not valid", "request not accepted", "time not accepted", "no such certificate"};
	struct pom_id incident = pom_id_new(run->service->clock, run->service->random);
	g_autofree char *text = g_strdup_printf("%s (incident %s)", texts[run->fail_info], incident.text);

	note_failure(run, incident.text, refusal);
	g_prefix_error(&refusal, "incident %s: ", incident.text);
	ret->refusal = refusal;
	ret->what = "refused";
	ret->reply = format_reply(run, SCEP_FAILURE, text, NULL, error);
	return ret->reply != NULL;
}

static bool answer(struct run *run, struct subject *subject, struct scep_outcome *ret, GError **error)
{
	GError *inner = NULL;

	if (check_outer(run, &inner))
		ret->reply = process(run, &inner);
	if (ret->reply) {
		ret->what = run->what;
		ret->noted = run->noted;
		return true;
	}
	if (inner && run->refused)
		return answer_failure(run, inner, subject, ret, error);
	if (inner) {
		/* Ours to mend (store busy, key not usable): the client must try again, not give up. */
		g_propagate_error(error, inner);
		return false;
	}
	ret->what = run->what;
	ret->reply = format_reply(run, SCEP_PENDING, NULL, NULL, error);
	return ret->reply != NULL;
}

bool service_scep_operation(struct service *service, const struct scep_call *call, struct subject *subject, struct scep_outcome *ret, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	struct run run = {.service = service, .call = call, .set = set, .what = "issued", .fail_info = SCEP_FAIL_INFO_NONE};
	bool ok;

	*ret = (struct scep_outcome){0};
	if (!set)
		return false;
	run.entry = find_profile(set, call->profile, error);
	if (!run.entry)
		return false;
	run.profile = run.entry->profile;
	run.generation = find_active(set, run.profile, error);
	if (!run.generation)
		return false;
	run.speaker = generation_speaker(run.generation);
	if (!run.speaker->signer || !run.generation->issuing->signer)
		return pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of generation %s is not available", run.generation->id);
	if (!scep_limits_allow(service->limits, run.profile->name, call->peer, service_now_ms(service)))
		return pom_fail(error, POM_ERR_SCEP_LIMITED, "too many requests of this address have failed");
	run.request = scep_request_parse(g_bytes_get_data(call->message, NULL), g_bytes_get_size(call->message), error);
	if (!run.request) {
		scep_limits_fail(service->limits, run.profile->name, call->peer, service_now_ms(service));
		return false;
	}
	g_strlcpy(subject->detail, run.request->transaction_id, sizeof(subject->detail));
	ok = answer(&run, subject, ret, error);
	cms_enveloped_free(run.enveloped);
	scep_request_free(run.request);
	return ok;
}
