/* Revocation: CRLs, OCSP, and what administrators do with issued certificates. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "codec/ocsp.h"
#include "keys/ca_make.h"
#include "service/ca_internal.h"
#include "service/profile_sign.h"
#include "service/push_cert_internal.h"
#include "service/shared.h"

/* A revocation is stored with the time at which it was decided, and becomes visible a little later: what lies within this of a list's making is looked at again. */
enum { COMMIT_MARGIN_MS = 10000, SCAN_PAGE = 1000, SCAN_MAX = 100000, PUBLISH_TRIES = 8 };

/* ---- CRLs ---- */

static GBytes *make_crl(struct service *service, const struct generation *g, int64_t number, int64_t now_ms, struct crl_row *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_crl_revoked(service->store, g->id, now_ms, &load, error);
	g_autofree struct crl_entry *entries = NULL;

	if (!rows)
		return NULL;
	entries = g_new0(struct crl_entry, rows->len + 1);
	for (guint i = 0; i < rows->len; i++) {
		const struct revoked_row *row = &g_array_index(rows, struct revoked_row, i);

		entries[i] = (struct crl_entry){row->serial, row->revoked_ms / 1000, ca_reason_code(row->reason)};
	}
	*ret = (struct crl_row){number, now_ms, now_ms + (int64_t)CA_CRL_VALID_S * 1000, NULL};
	/* thisUpdate lies back a little, for checkers whose clocks are slow. */
	const struct crl_plan plan = {number, MAX(now_ms / 1000 - CA_OVERLAP_S, g->issuing->info->not_before), ret->next_update_ms / 1000, entries, rows->len};
	return ret->der = crl_make(g->issuing->signer, g->issuing->cert, &plan, error);
}

/* Whether what is published is still right. */
static bool is_fresh(struct service *service, const struct generation *g, const struct crl_row *crl, int64_t now_ms, bool *ret_fresh, GError **error)
{
	bool dirty = false;

	*ret_fresh = now_ms < crl->this_update_ms + (int64_t)CA_CRL_RENEW_S * 1000;
	if (!*ret_fresh)
		return true;
	if (!store_crl_is_dirty(service->store, g->id, crl->this_update_ms - COMMIT_MARGIN_MS, &dirty, error))
		return false;
	*ret_fresh = !dirty || (now_ms - crl->this_update_ms < 1000);
	return true;
}

/* FORCE: anew in any case. RET->der transfer full; it may be NULL without WITH_DER. */
static bool refresh(struct service *service, const struct generation *g, bool force, bool with_der, struct crl_row *ret, GError **error)
{
	int64_t now_ms = service_now_ms(service);
	struct crl_row before = {0};
	bool found, fresh = false;

	if (!store_crl_get(service->store, g->id, with_der, &before, &found, error))
		return false;
	if (found && !force && !is_fresh(service, g, &before, now_ms, &fresh, error)) {
		g_clear_pointer(&before.der, g_bytes_unref);
		return false;
	}
	/* A retired CA, or one whose token is away: what there is. */
	if (fresh || (found && !g->issuing) || (found && !g->issuing->signer)) {
		*ret = before;
		return true;
	}
	g_clear_pointer(&before.der, g_bytes_unref);
	if (!g->issuing || !g->issuing->signer)
		return pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of generation %s is not available", g->id);
	if (!make_crl(service, g, found ? before.number + 1 : 1, now_ms, ret, error))
		return false;
	if (store_crl_put(service->store, g->id, ret, found ? before.number : 0, error))
		return true;
	g_clear_pointer(&ret->der, g_bytes_unref);
	return false;
}

/* Another one may have published at the same time: that list is the newest, but with FORCE perhaps made before what must stand in it. */
static bool refresh_again(struct service *service, const struct generation *g, bool force, bool with_der, struct crl_row *ret, GError **error)
{
	for (int i = 1;; i++) {
		GError *inner = NULL;

		if (refresh(service, g, force, with_der, ret, &inner))
			return true;
		if (i == PUBLISH_TRIES || !g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT))
			return service_fail_again(error, inner);
		g_clear_error(&inner);
	}
}

GBytes *service_crl(struct service *service, const char *generation_id, int64_t *ret_number, int64_t *ret_next_update_ms, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	const struct generation *g = set ? ca_set_find(set, generation_id) : NULL;
	struct crl_row crl = {0};

	if (!set)
		return NULL;
	if (!g || g->state == GENERATION_REQUESTED) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no CA generation \"%.80s\"", generation_id);
		return NULL;
	}
	if (!refresh_again(service, g, false, true, &crl, error))
		return NULL;
	if (ret_number)
		*ret_number = crl.number;
	if (ret_next_update_ms)
		*ret_next_update_ms = crl.next_update_ms;
	return crl.der;
}

static bool refresh_all(struct service *service, bool force, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);

	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);
		struct crl_row crl = {0};

		if (!generation_is_trusted(g->state) || !g->issuing->signer)
			continue;
		if (!refresh_again(service, g, force, false, &crl, error))
			return false;
		g_clear_pointer(&crl.der, g_bytes_unref);
	}
	return true;
}

/* Said to be done means published: a new CRL of the generation in any case. Certificates of outside CAs and of retired generations have none of ours. */
static bool publish_of(struct service *service, const char *generation_id, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_find(set, generation_id);
	struct crl_row crl = {0};

	if (!g || !generation_is_trusted(g->state) || !g->issuing->signer)
		return true;
	if (!refresh_again(service, g, true, false, &crl, error))
		return false;
	g_clear_pointer(&crl.der, g_bytes_unref);
	return true;
}

bool service_crl_refresh(struct service *service, GError **error)
{
	return refresh_all(service, false, error);
}

json_t *service_crl_publish(struct service *service, const char *actor, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	json_t *items;

	if (!refresh_all(service, true, error) || !store_audit_add(service->store, AUDIT(actor, "crl.publish", "", NULL), error))
		return NULL;
	items = json_array();
	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);
		struct crl_row crl = {0};
		bool found;
		g_autofree char *pem = NULL;

		if (!generation_is_trusted(g->state) || !store_crl_get(service->store, g->id, true, &crl, &found, NULL) || !found)
			continue;
		pem = g_base64_encode(g_bytes_get_data(crl.der, NULL), g_bytes_get_size(crl.der));
		json_array_append_new(items, json_pack("{s:s, s:I, s:o, s:o, s:s}", "generation", g->id, "number", (json_int_t)crl.number, "this_update", json_time(crl.this_update_ms), "next_update",
		                                       json_time(crl.next_update_ms), "crl_base64", pem));
		g_bytes_unref(crl.der);
	}
	return json_page(items, NULL, 0);
}

GBytes *service_ca_certificate(struct service *service, const char *generation_id, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set_now(service, error);
	const struct generation *g = set ? ca_set_find(set, generation_id) : NULL;

	if (!set)
		return NULL;
	if (g && g->issuing)
		return g_bytes_ref(g->issuing->der);
	pom_fail(error, POM_ERR_NOT_FOUND, "there is no CA generation \"%.80s\"", generation_id);
	return NULL;
}

/* ---- OCSP ---- */

/* The generation that all of the request's certificates are of: one response has one signer. NULL: none, or several. */
static const struct generation *asked_generation(const struct ca_set *set, const struct ocsp_request *request)
{
	const struct generation *asked = NULL;

	for (guint i = 0; i < request->ids->len; i++)
		for (guint k = 0; k < set->generations->len; k++) {
			const struct generation *g = g_ptr_array_index(set->generations, k);

			if (!generation_is_trusted(g->state) || !ocsp_id_names(g_ptr_array_index(request->ids, i), g->issuing->cert))
				continue;
			if (asked && asked != g)
				return NULL;
			asked = g;
		}
	return asked;
}

/* A certificate that the CA gave to itself: they are in no register of issued ones. */
static bool is_own(const struct generation *g, const char *serial)
{
	for (guint i = 0; i < g->authorities->len; i++) {
		const struct authority *a = g_ptr_array_index(g->authorities, i);

		if (a->cert && !g_ascii_strcasecmp(a->info->serial, serial) && cert_is_signed_by(a->cert, g->issuing->cert))
			return true;
	}
	return false;
}

static bool answer_one(struct service *service, const struct generation *g, const struct ocsp_cert_id *id, struct ocsp_answer *ret, GError **error)
{
	int64_t state, revoked_ms;
	char reason[32];

	*ret = (struct ocsp_answer){.status = OCSP_CERT_UNKNOWN, .reason = -1};
	/* Of another issuer: this responder has nothing to say about it. */
	if (!ocsp_id_names(id, g->issuing->cert))
		return true;
	if (!store_certificate_status(service->store, id->serial, g->id, &state, &revoked_ms, reason, error))
		return false;
	if (state == CERTIFICATE_ISSUED || is_own(g, id->serial))
		ret->status = OCSP_CERT_GOOD;
	else if (state == CERTIFICATE_REVOKED)
		*ret = (struct ocsp_answer){OCSP_CERT_REVOKED, revoked_ms / 1000, ca_reason_code(reason)};
	return true;
}

static GBytes *answer(struct service *service, const struct ca_set *set, const struct ocsp_request *request, int64_t *ret_max_age, GError **error)
{
	const struct generation *g = asked_generation(set, request);
	g_autofree struct ocsp_answer *answers = g_new0(struct ocsp_answer, request->ids->len);
	int64_t now_s = service_now_ms(service) / 1000;

	if (!g)
		return ocsp_error_format(OCSP_STATUS_UNAUTHORIZED);
	if (!g->ocsp || !g->ocsp->signer)
		return ocsp_error_format(OCSP_STATUS_TRY_LATER);
	for (guint i = 0; i < request->ids->len; i++)
		if (!answer_one(service, g, g_ptr_array_index(request->ids, i), &answers[i], error))
			return NULL;
	/* With a nonce it is for this asker alone. */
	*ret_max_age = request->nonce ? 0 : CA_OVERLAP_S;
	return ocsp_make(g->ocsp->signer, g->ocsp->cert, request, answers, now_s, now_s + CA_OCSP_VALID_S, now_s, error);
}

GBytes *service_ocsp(struct service *service, GBytes *data, int64_t *ret_max_age, GError **ret_refusal)
{
	g_autoptr(ca_set) set = NULL;
	g_autoptr(ocsp_request) request = data ? ocsp_request_parse(g_bytes_get_data(data, NULL), g_bytes_get_size(data), ret_refusal) : NULL;
	GError *inner = NULL;
	GBytes *reply;

	*ret_max_age = 0;
	if (!request)
		return ocsp_error_format(OCSP_STATUS_MALFORMED_REQUEST);
	set = service_ca_set_now(service, ret_refusal);
	if (!set)
		return ocsp_error_format(OCSP_STATUS_TRY_LATER);
	reply = answer(service, set, request, ret_max_age, &inner);
	if (!reply)
		reply = ocsp_error_format(store_error_is_away(inner) ? OCSP_STATUS_TRY_LATER : OCSP_STATUS_INTERNAL_ERROR);
	if (inner)
		g_propagate_error(ret_refusal, inner);
	return reply;
}

/* ---- certificates ---- */

static const char *certificate_state(const struct certificate_row *c, int64_t now_ms)
{
	if (c->state == CERTIFICATE_REVOKED)
		return !g_strcmp0(c->revoked_reason, "certificateHold") ? "held" : "revoked";
	if (c->state == CERTIFICATE_RESERVED)
		return "reserved";
	return now_ms > c->not_after_ms ? "expired" : "valid";
}

static json_t *certificate_json(const struct certificate_row *c, int64_t now_ms, bool full)
{
	json_t *o = json_object();
	g_autoptr(scep_record) record = c->record ? scep_record_parse(c->record, NULL) : NULL;

	json_set_text(o, "serial", c->serial);
	json_set_text(o, "state", certificate_state(c, now_ms));
	json_set_text(o, "subject", record ? record->subject : c->subject);
	json_object_set_new(o, "sans", record ? scep_record_sans(record) : json_array());
	json_set_text(o, "generation", c->generation_id);
	json_set_text(o, "profile", c->profile);
	json_object_set_new(o, "not_before", json_time(c->not_before_ms));
	json_object_set_new(o, "not_after", json_time(c->not_after_ms));
	json_set_text(o, "enrollment", c->enrollment_id);
	json_set_text(o, "link", c->link_id);
	json_set_text(o, "challenge", c->challenge_id);
	json_set_text(o, "transaction_id", c->transaction_id);
	json_set_text(o, "renews", c->renews_serial);
	json_set_text(o, "revoked_reason", c->revoked_reason);
	json_object_set_new(o, "revoked", json_time(c->revoked_ms));
	json_object_set_new(o, "issued", json_time(c->issued_ms));
	if (full && c->der) {
		g_autoptr(X509) cert = cert_parse_der(c->der, c->der_len, NULL);
		g_autofree char *pem = cert ? cert_format_pem(cert) : NULL;

		json_set_text(o, "pem", pem);
	}
	return o;
}

static bool contains(const char *text, const char *lower)
{
	g_autofree char *folded = text ? g_utf8_casefold(text, -1) : NULL;

	return folded && strstr(folded, lower);
}

static bool fits(const struct certificate_row *c, const char *search, const char *state, int64_t now_ms)
{
	g_autofree char *lower = NULL;

	if (state && strcmp(certificate_state(c, now_ms), state))
		return false;
	if (!search)
		return true;
	lower = g_utf8_casefold(search, -1);
	return contains(c->subject, lower) || contains(c->serial, lower) || contains(c->record, lower) || contains(c->transaction_id, lower) || contains(c->enrollment_id, lower);
}

/* An enrollment named by id or UDID → its id, transfer full; what is neither gives the text itself. */
static char *enrollment_id(struct service *service, const char *device)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	return store_enrollment_get(service->store, device, &row, &load, NULL) ? g_strdup(row.id) : g_strdup(device);
}

json_t *service_certificate_list(struct service *service, const char *search, const char *device, const char *state, const char *after, int64_t limit, GError **error)
{
	g_autofree char *last = g_strdup(after), *enrollment = device ? enrollment_id(service, device) : NULL;
	int64_t now_ms = service_now_ms(service), scanned = 0, page = search || state ? SCAN_PAGE : CLAMP(limit, 1, SCAN_PAGE);
	static const char *const states[] = {"valid", "expired", "revoked", "held", "reserved", NULL};
	json_t *items;

	if (state && !g_strv_contains(states, state)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "the state \"%.64s\" is none of valid, expired, revoked, held, reserved", state);
		return NULL;
	}
	limit = CLAMP(limit, 1, SCAN_PAGE);
	items = json_array();
	for (;;) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_certificate_list(service->store, enrollment, last, page, &load, error);

		if (!rows) {
			json_decref(items);
			return NULL;
		}
		for (guint i = 0; i < rows->len; i++) {
			const struct certificate_row *row = &g_array_index(rows, struct certificate_row, i);

			g_free(last);
			last = g_strdup(row->serial);
			if (fits(row, search, state, now_ms))
				json_array_append_new(items, certificate_json(row, now_ms, false));
			if ((int64_t)json_array_size(items) >= limit)
				return json_page(items, last, limit);
		}
		if ((int64_t)rows->len < page)
			return json_page(items, NULL, limit);
		scanned += rows->len;
		/* So many without a match: whoever asks goes on from here. */
		if (scanned >= SCAN_MAX)
			return json_pack("{s:o, s:s}", "items", items, "next", last);
	}
}

json_t *service_certificate_show(struct service *service, const char *serial, GError **error)
{
	g_autofree char *upper = strchr(serial, ':') ? g_strdup(serial) : g_ascii_strup(serial, -1);
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;

	return store_certificate_get(service->store, upper, &row, &load, error) ? certificate_json(&row, service_now_ms(service), true) : NULL;
}

json_t *service_certificate_revoke(struct service *service, const char *actor, const char *serial, const char *reason, GError **error)
{
	g_autofree char *upper = strchr(serial, ':') ? g_strdup(serial) : g_ascii_strup(serial, -1);
	const char *why = reason ? reason : "unspecified";
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;
	bool found;

	if (ca_reason_code(why) < 0 || ca_reason_code(why) == 8) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "the reason \"%.64s\" is none of unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, aACompromise", why);
		return NULL;
	}
	if (!store_certificate_get(service->store, upper, &row, &load, error) ||
	    !store_certificate_revoke(service->store, upper, why, service_now_ms(service), AUDIT(actor, "certificate.revoke", upper, audit_detail("reason", why, "subject", row.subject, "enrollment", row.enrollment_id, NULL)), &found, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_CONFLICT, "certificate %s is revoked already", upper);
		return NULL;
	}
	return publish_of(service, row.generation_id, error) ? service_certificate_show(service, upper, error) : NULL;
}

json_t *service_certificate_release(struct service *service, const char *actor, const char *serial, GError **error)
{
	g_autofree char *upper = strchr(serial, ':') ? g_strdup(serial) : g_ascii_strup(serial, -1);
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;
	bool found;

	if (!store_certificate_get(service->store, upper, &row, &load, error))
		return NULL;
	if (!store_certificate_release(service->store, upper, AUDIT(actor, "certificate.release", upper, audit_detail("subject", row.subject, NULL)), &found, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_CONFLICT, "certificate %s is not on hold: only a certificate revoked with the reason certificateHold can be released", upper);
		return NULL;
	}
	return publish_of(service, row.generation_id, error) ? service_certificate_show(service, upper, error) : NULL;
}

json_t *service_ca_issue(struct service *service, const char *actor, const struct ca_issue *wish, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const char *profile_name = wish->profile ? wish->profile : PROFILE_DEFAULT;
	const struct profile_entry *entry = ca_set_profile(set, profile_name);
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(csr) csr = csr_parse(g_bytes_get_data(wish->csr, NULL), g_bytes_get_size(wish->csr), error);
	g_autoptr(scep_record) record = NULL;
	g_autoptr(GBytes) der = NULL;
	g_autofree char *serial = NULL;

	if (!csr)
		return NULL;
	if (!entry) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no SCEP profile \"%.64s\"", profile_name);
		return NULL;
	}
	if (!scep_check_csr(csr, entry->profile, error))
		return NULL;
	record = scep_record_wished(entry->profile, &(struct record_values){service->settings.organization, csr->common_name ? csr->common_name : id.text, id.text, NULL, profile_name}, wish->subject, wish->sans, error);
	if (!record)
		return NULL;
	struct issue_plan plan = {
		.generation = ca_set_in_state(set, entry->profile->ca, GENERATION_ACTIVE), .profile = entry->profile, .record = record, .spki = csr->spki, .spki_sha256 = csr->spki_sha256,
		.actor = actor, .action = "certificate.issue", .days = wish->days, .may_enroll = wish->may_enroll,
	};
	if (!plan.generation) {
		pom_fail(error, POM_ERR_CONFLICT, "profile %s is of CA \"%s\", which is not active", profile_name, entry->profile->ca);
		return NULL;
	}
	der = service_issue(service, &plan, &serial, error);
	return der ? service_certificate_show(service, serial, error) : NULL;
}

/* ---- everything that ends one day ---- */

static void add_held(json_t *items, const char *name, const char *kind, const char *subject, int64_t not_after_s, int64_t now_s)
{
	int step = ca_expiry_step(not_after_s, now_s);
	json_t *o = json_object();

	json_set_text(o, "name", name);
	json_set_text(o, "kind", kind);
	json_set_text(o, "subject", subject);
	json_object_set_new(o, "not_after", json_time(not_after_s * 1000));
	json_object_set_new(o, "days_left", json_integer((not_after_s - now_s) / 86400));
	json_object_set_new(o, "warn", step < 0 ? json_null() : json_integer(step));
	json_array_append_new(items, o);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, name, not_after_s);
	pom_metric_set(POM_METRIC_CERT_WARNING, name, step);
}

/* Vendor certificates of push certificates. */
static void add_vendors(json_t *items, GArray *rows, int64_t now_s)
{
	for (guint i = 0; i < rows->len; i++) {
		const struct push_vendor_row *row = &g_array_index(rows, struct push_vendor_row, i);
		g_autofree char *name = g_strconcat("push_vendor/", row->id, NULL);

		if (row->certificate)
			add_held(items, name, "vendor", row->subject, row->not_after_ms / 1000, now_s);
	}
}

static void add_ca_set(json_t *items, const struct ca_set *set, int64_t now_s)
{
	GHashTableIter iter;
	void *value;

	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		if (!generation_is_trusted(g->state))
			continue;
		for (guint k = 0; k < g->authorities->len; k++) {
			const struct authority *a = g_ptr_array_index(g->authorities, k);
			g_autofree char *name = g_strdup_printf("%s/%s", g->id, a->role);

			if (a->cert && !a->superseded)
				add_held(items, name, a->role, a->info->subject, a->info->not_after, now_s);
		}
	}
	add_held(items, "profile_signing", "signer", set->profile_signer->info->subject, set->profile_signer->info->not_after, now_s);
	g_hash_table_iter_init(&iter, set->outside);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct outside_ca *ca = value;

		for (guint i = 0; i < ca->certificates->len; i++) {
			g_autoptr(cert_info) info = cert_info_new(g_ptr_array_index(ca->certificates, i), NULL);
			g_autofree char *name = g_strdup_printf("outside/%s/%u", ca->name, i);

			if (info)
				add_held(items, name, "outside", info->subject, info->not_after, now_s);
		}
	}
}

json_t *service_held_list(struct service *service, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(store_load) load = NULL, authority_load = NULL, vendor_load = NULL;
	g_autoptr(profile_signer) tls_signer = service_profile_signer(service);
	g_autoptr(GArray) push = store_push_certificate_list(service->store, &load, error), rows = push ? store_authority_list(service->store, &authority_load, error) : NULL;
	g_autoptr(GArray) vendors = rows ? push_vendors(service, &vendor_load, error) : NULL;
	int64_t now_s = service_now_ms(service) / 1000, tls_end;
	json_t *items;

	if (!vendors)
		return NULL;
	items = json_array();
	add_ca_set(items, set, now_s);
	add_vendors(items, vendors, now_s);
	for (guint i = 0; i < push->len; i++) {
		const struct push_certificate_row *row = &g_array_index(push, struct push_certificate_row, i);
		g_autofree char *name = g_strconcat("push/", row->topic, NULL);

		add_held(items, name, "push", row->topic, row->not_after_ms / 1000, now_s);
	}
	if (tls_signer)
		add_held(items, "profile_signing/tls", "signer", tls_signer->info->subject, tls_signer->info->not_after, now_s);
	/* The TLS certificate is the server's: it says its end in the metric when it takes one. */
	tls_end = pom_metric_get(POM_METRIC_CERT_EXPIRY, "tls");
	if (tls_end)
		add_held(items, "tls", "tls", service->settings.url, tls_end, now_s);
	return json_page(items, NULL, 0);
}

/* What was warned of, so that it is said once, on whatever node and however often that starts: {"NAME until END": STEP}. */
#define WARNED "expiry_warned"

static json_t *load_warned(struct service *service, GError **error)
{
	g_autofree char *text = NULL;
	json_t *warned;

	if (!store_setting_get(service->store, WARNED, &text, error))
		return NULL;
	warned = text ? json_parse(text, strlen(text), NULL) : NULL;
	if (!json_is_object(warned)) {
		json_decref(warned);
		warned = json_object();
	}
	return warned;
}

#define UNTIL " until "

/* What has ended and is not held any more is forgotten. What is not held here may be another node's: its TLS certificate. */
static json_t *forget_warned(json_t *warned, const json_t *held_keys, int64_t now_ms)
{
	g_autoptr(json_t) now = json_time(now_ms);
	json_t *kept = json_object(), *step;
	const char *key;

	json_object_foreach(warned, key, step) {
		const char *end = g_strrstr(key, UNTIL);

		if (json_object_get(held_keys, key) || (end && strcmp(end + strlen(UNTIL), json_string_value(now)) > 0))
			json_object_set(kept, key, step);
	}
	return kept;
}

/* Says what of HELD is nearer its end than WARNED has it, and adds it; KEYS gets those of all HELD. True: something was said. */
static bool warn(const json_t *held, json_t *warned, json_t *keys)
{
	bool changed = false;
	json_t *item;
	size_t i;

	json_array_foreach(held, i, item) {
		const char *name = json_string_value(json_object_get(item, "name")), *end = json_string_value(json_object_get(item, "not_after"));
		json_t *step = json_object_get(item, "warn");
		g_autofree char *key = g_strconcat(name, UNTIL, end, NULL), *days = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(item, "days_left")));

		json_object_set_new(keys, key, json_true());
		if (json_is_null(step) || json_equal(json_object_get(warned, key), step))
			continue;
		pom_log(POM_LOG_WARNING, json_integer_value(step) ? "a certificate ends soon" : "a certificate has expired", "certificate", name, "subject", json_string_value(json_object_get(item, "subject")), "not_after", end,
		        "days_left", days, NULL);
		json_object_set(warned, key, step);
		changed = true;
	}
	return changed;
}

bool service_warn_expiry(struct service *service, GError **error)
{
	g_autoptr(json_t) held = service_held_list(service, error), warned = held ? load_warned(service, error) : NULL, keys = json_object(), kept = NULL;
	g_autoptr(GBytes) text = NULL;
	g_autofree char *value = NULL;
	gsize len;
	const void *data;

	if (!warned)
		return false;
	if (!warn(json_object_get(held, "items"), warned, keys))
		return true;
	kept = forget_warned(warned, keys, service_now_ms(service));
	text = json_format(kept);
	data = g_bytes_get_data(text, &len);
	value = g_strndup(data, len);
	return store_setting_put(service->store, WARNED, value, error);
}
