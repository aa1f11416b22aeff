/* Requests of push certificates: made, signed by a vendor of ours, by another vendor or by mdmcert.download. */
#include <openssl/objects.h>
#include <string.h>

#include "keys/ca_make.h"
#include "service/push_cert_internal.h"

enum { CSR_BITS_MIN = 2048, ENCRYPT_DAYS = 60, SERVICE_TIMEOUT_MS = 30000, SERVICE_REPLY_MAX = 64 * 1024 };
#define UPLOAD_TEXT "upload the document at " PUSH_PORTAL_URL ": \"Renew\" in the row of the certificate that devices have, or \"Create a Certificate\" for the first one; download the certificate and give it to \"pomona push-cert import\""

/* ---- our requests ---- */

json_t *push_request_json(const struct push_request_row *row, bool with_texts)
{
	const char *state = row->document ? "signed" : row->encrypt_certificate ? "sent" : "made";
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", row->id, "subject", row->subject, "state", state);
	g_autofree char *pem = service_csr_pem(row->csr), *document = row->document ? g_strndup(g_bytes_get_data(row->document, NULL), g_bytes_get_size(row->document)) : NULL;

	json_set_text(o, "renews", row->renews_topic);
	json_set_text(o, "signed_by", row->signed_by);
	json_object_set_new(o, "created", json_time(row->created_ms));
	json_object_set_new(o, "signed", json_time(row->signed_ms));
	if (with_texts) {
		json_set_text(o, "csr", pem);
		json_set_text(o, "document", document);
	}
	return o;
}

json_t *service_push_request_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	int64_t n = CLAMP(limit, 1, 1000);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_request_list(service->store, after, n, &load, error);
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++)
		json_array_append_new(items, push_request_json(&g_array_index(rows, struct push_request_row, i), true));
	return json_page(items, rows->len ? g_array_index(rows, struct push_request_row, rows->len - 1).id : NULL, n);
}

json_t *service_push_request_remove(struct service *service, const char *actor, const char *id, GError **error)
{
	bool found;

	if (!store_push_request_remove(service->store, id, AUDIT(actor, "push.request.remove", id, audit_detail(NULL, NULL)), &found, error))
		return NULL;
	return found ? json_pack("{s:s}", "removed", id) : push_fail(error, POM_ERR_NOT_FOUND, "no request %.64s waits (\"pomona push-cert requests\" shows them)", id);
}

static json_t *csr_json(const char *id, const char *subject, const char *renews, GBytes *csr)
{
	g_autofree char *pem = service_csr_pem(csr);
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", id, "subject", subject, "csr", pem);

	json_set_text(o, "renews", renews);
	json_set_text(o, "next", "sign it: \"pomona push-cert sign\" with a vendor certificate of yours, or send it to a vendor who signs for you and give what comes back to \"pomona push-cert setup\"");
	return o;
}

/* Whether TOPIC, when it is named, is one of ours. */
static bool check_renewed(struct service *service, const char *topic, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = topic ? store_pushcert_list(service->store, &load, error) : NULL;

	if (!topic)
		return true;
	for (guint i = 0; rows && i < rows->len; i++)
		if (!strcmp(g_array_index(rows, struct pushcert_row, i).certificate.topic, topic))
			return true;
	return rows && pom_fail(error, POM_ERR_NOT_FOUND, "there is no push certificate of topic %.128s to renew", topic);
}

json_t *service_push_csr(struct service *service, const char *actor, const struct push_csr_wish *wish, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = check_renewed(service, wish->renews_topic, error) ? push_requests(service, &load, error) : NULL;
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(GBytes) csr = NULL, sealed = NULL;
	g_autofree char *name = NULL;

	if (!rows)
		return NULL;
	for (guint i = 0; !wish->fresh && i < rows->len; i++) {
		const struct push_request_row *row = &g_array_index(rows, struct push_request_row, i);

		if (!g_strcmp0(row->renews_topic, wish->renews_topic))
			return csr_json(row->id, row->subject, row->renews_topic, row->csr);
	}
	if (!push_make_request(service, "push_request", id.text, wish->subject, "MDM Push", &csr, &sealed, &name, error))
		return NULL;
	struct push_request_row row = {.id = id.text, .subject = name, .csr = csr, .key_sealed = sealed, .renews_topic = wish->renews_topic, .created_ms = service_now_ms(service)};

	if (!store_push_request_add(service->store, &row, AUDIT(actor, "push.csr", id.text, audit_detail("subject", name, "renews", wish->renews_topic, NULL)), error))
		return NULL;
	return csr_json(id.text, name, wish->renews_topic, csr);
}

/* ---- signing ---- */

/* The vendor to sign with; borrowed from ROWS. */
static const struct push_vendor_row *choose_vendor(struct service *service, GArray *rows, const char *id, GError **error)
{
	const struct push_vendor_row *only = NULL;
	unsigned n = 0;

	for (guint i = 0; i < rows->len; i++) {
		const struct push_vendor_row *row = &g_array_index(rows, struct push_vendor_row, i);

		if (id ? !strcmp(row->id, id) : push_vendor_is_valid(row, service_now_ms(service))) {
			only = row;
			n++;
		}
	}
	if (n == 1 && push_vendor_is_valid(only, service_now_ms(service)))
		return only;
	if (n == 1 && !only->certificate)
		pom_fail(error, POM_ERR_PUSH_NO_VENDOR, "Apple's answer to the vendor's request %s is not here yet: give mdm.cer with --vendor", id);
	else if (n == 1)
		(void)!push_cert_check_dates(only->subject, only->not_before_ms / 1000, only->not_after_ms / 1000, service_now_ms(service) / 1000, "make a new one at " PUSH_DEVELOPER_URL " (\"MDM CSR\")", error);
	else if (n)
		pom_fail(error, POM_ERR_PUSH_NO_VENDOR, "%u vendor certificates are here: say which with --vendor ID (\"pomona push-cert vendor-list\" shows them)", n);
	else
		pom_fail(error, POM_ERR_PUSH_NO_VENDOR, id ? "there is no vendor %.64s (\"pomona push-cert vendor-list\" shows them)"
		                                          : "there is no valid vendor certificate%s: make its request with \"pomona push-cert vendor-csr\" and give mdm.cer with --vendor", id ? id : "");
	return NULL;
}

/* Our request to be signed; borrowed from ROWS. */
static const struct push_request_row *choose_request(GArray *rows, const char *id, GError **error)
{
	for (guint i = 0; id && i < rows->len; i++)
		if (!strcmp(g_array_index(rows, struct push_request_row, i).id, id))
			return &g_array_index(rows, struct push_request_row, i);
	if (!id && rows->len == 1)
		return &g_array_index(rows, struct push_request_row, 0);
	if (id)
		pom_fail(error, POM_ERR_PUSH_NO_REQUEST, "no request %.64s waits (\"pomona push-cert requests\" shows them)", id);
	else if (rows->len)
		pom_fail(error, POM_ERR_PUSH_NO_REQUEST, "%u requests wait: say which with --request ID (\"pomona push-cert requests\" shows them)", rows->len);
	else
		pom_fail(error, POM_ERR_PUSH_NO_REQUEST, "no request waits: make one with \"pomona push-cert csr\", or give another's with --csr");
	return NULL;
}

/* Another's request out of the files: checked, transfer full. */
static GBytes *read_foreign(const struct push_files *files, GError **error)
{
	g_auto(push_found) found = {0};
	g_autoptr(csr) csr = NULL;
	GBytes *der;

	if (!push_found_read(&found, files, error))
		return NULL;
	if (found.requests->len != 1) {
		pom_fail(error, POM_ERR_PUSH_NO_REQUEST, found.requests->len ? "the file holds several requests: give one" : "the file holds no certificate request (CSR): ask the customer for the one that its server has made, PEM or DER");
		return NULL;
	}
	der = g_ptr_array_index(found.requests, 0);
	csr = csr_parse(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);
	if (!csr)
		return NULL;
	if (csr->key_type != EVP_PKEY_RSA || csr->key_bits < CSR_BITS_MIN) {
		pom_fail(error, POM_ERR_KEY_WEAK, "Apple's portal takes requests with RSA keys of %d bits and more; this one has %d bits of another kind or fewer", CSR_BITS_MIN, csr->key_bits);
		return NULL;
	}
	return g_bytes_ref(der);
}

static GBytes *make_document(struct service *service, const char *actor, const struct push_vendor_row *vendor, GBytes *csr, GError **error)
{
	g_autoptr(X509) cert = cert_parse_der(g_bytes_get_data(vendor->certificate, NULL), g_bytes_get_size(vendor->certificate), error);
	g_autoptr(GPtrArray) chain = cert ? push_chain_build(service, actor, cert, error) : NULL;
	g_autoptr(signer) key = chain ? push_open_key(service, "push_vendor", vendor->id, "key", vendor->key_sealed, error) : NULL;
	g_autoptr(GBytes) signature = key ? signer_sign(key, NID_sha256, g_bytes_get_data(csr, NULL), g_bytes_get_size(csr), error) : NULL, document = NULL;
	g_autoptr(push_request) checked = NULL;

	document = signature ? push_request_format(csr, (X509 *const *)chain->pdata, chain->len, signature, error) : NULL;
	/* What Apple would refuse is better refused here. */
	checked = document ? push_request_parse(g_bytes_get_data(document, NULL), g_bytes_get_size(document), error) : NULL;
	return checked ? g_steal_pointer(&document) : NULL;
}

static json_t *document_json(GBytes *document, const char *vendor, const char *request_id)
{
	g_autofree char *text = g_strndup(g_bytes_get_data(document, NULL), g_bytes_get_size(document));
	json_t *o = json_pack("{s:s, s:s}", "vendor", vendor, "document", text);

	json_set_text(o, "request", request_id);
	json_set_text(o, "next", UPLOAD_TEXT);
	return o;
}

static json_t *sign_ours(struct service *service, const char *actor, const struct push_vendor_row *vendor, const char *request_id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_requests(service, &load, error);
	const struct push_request_row *row = rows ? choose_request(rows, request_id, error) : NULL;
	g_autoptr(GBytes) document = row ? make_document(service, actor, vendor, row->csr, error) : NULL;

	if (!document || !store_push_request_sign(service->store, row->id, vendor->subject, document, service_now_ms(service),
	                                          AUDIT(actor, "push.sign", row->id, audit_detail("vendor", vendor->subject, NULL)), error))
		return NULL;
	return document_json(document, vendor->subject, row->id);
}

static json_t *sign_foreign(struct service *service, const char *actor, const struct push_vendor_row *vendor, const struct push_files *files, GError **error)
{
	g_autoptr(GBytes) csr = read_foreign(files, error), document = csr ? make_document(service, actor, vendor, csr, error) : NULL;
	g_autoptr(csr) parsed = document ? csr_parse(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr), error) : NULL;

	if (!parsed || !store_audit_add(service->store, AUDIT(actor, "push.sign", parsed->subject, audit_detail("vendor", vendor->subject, "foreign", "true", NULL)), error))
		return NULL;
	return document_json(document, vendor->subject, NULL);
}

json_t *service_push_sign(struct service *service, const char *actor, const struct push_sign_wish *wish, GError **error)
{
	g_autoptr(json_t) imported = wish->vendor.n ? service_push_vendor_import(service, actor, &wish->vendor, error) : NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const struct push_vendor_row *vendor;

	if (wish->vendor.n && !imported)
		return NULL;
	rows = push_vendors(service, &load, error);
	vendor = rows ? choose_vendor(service, rows, imported ? json_string_value(json_object_get(imported, "id")) : wish->vendor_id, error) : NULL;
	if (!vendor)
		return NULL;
	return wish->request.n ? sign_foreign(service, actor, vendor, &wish->request, error) : sign_ours(service, actor, vendor, wish->request_id, error);
}

/* ---- mdmcert.download ---- */

/* A certificate that signs itself, to encrypt the answer to; its key sealed. */
static bool make_encryption(struct service *service, const char *id, GBytes **ret_certificate, GBytes **ret_key, GError **error)
{
	g_autoptr(signer) key = signer_generate_rsa(PUSH_KEY_BITS, error);
	g_autoptr(GBytes) subject = cert_name_format(error, "CN", "Pomona push request", NULL), spki = key ? cert_spki_format(signer_get_key(key)) : NULL;
	struct cert_plan plan = {.purpose = CERT_RA, .subject_der = subject, .spki = spki};
	g_autoptr(X509) cert = NULL;
	uint8_t serial[16];

	if (!subject || !spki)
		return false;
	pom_random_fill(service->random, serial, sizeof(serial));
	ca_plan_serial(&plan, serial);
	ca_plan_dates(&plan, service_now_ms(service) / 1000, ENCRYPT_DAYS, 0, 0);
	cert = cert_build(&plan, NULL, error);
	if (!cert || !signer_sign_cert(key, cert, error))
		return false;
	*ret_key = push_seal_key(service, "push_request", id, "encrypt_key", key, error);
	*ret_certificate = cert_format_der(cert);
	return *ret_key != NULL;
}

/* What the service is sent: {csr, email, key, encrypt}, PEM in base64 each. */
static json_t *service_body(const struct push_mdmcert_wish *wish, GBytes *csr, GBytes *certificate)
{
	g_autoptr(X509) cert = cert_parse_der(g_bytes_get_data(certificate, NULL), g_bytes_get_size(certificate), NULL);
	g_autofree char *csr_pem = service_csr_pem(csr), *cert_pem = cert_format_pem(cert);
	g_autofree char *csr_text = g_base64_encode((const guchar *)csr_pem, strlen(csr_pem)), *cert_text = g_base64_encode((const guchar *)cert_pem, strlen(cert_pem));

	return json_pack("{s:s, s:s, s:s, s:s}", "csr", csr_text, "email", wish->email, "key", wish->api_key, "encrypt", cert_text);
}

/* {"result": "success"}, or a result with its reason. */
static bool check_service_reply(const struct outbound_reply *reply, GError **error)
{
	g_autoptr(json_t) json = json_parse(g_bytes_get_data(reply->body, NULL), g_bytes_get_size(reply->body), NULL);
	const char *result = json_string_value(json_object_get(json, "result")), *reason = json_string_value(json_object_get(json, "reason"));

	if (reply->status == 200 && !g_strcmp0(result, "success"))
		return true;
	return pom_fail(error, POM_ERR_PUSH_SIGNING_SERVICE, "the signing service did not take the request (HTTP %d%s%.200s%s%.200s): is the mail address registered at https://mdmcert.download, and the API key right?", reply->status,
	                result ? ", " : "", result ? result : "", reason ? ": " : "", reason ? reason : "");
}

static bool send_body(struct service *service, json_t *body, GError **error)
{
	static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", NULL};
	g_autoptr(GBytes) text = json_format(body);
	const struct outbound_request request = {.method = "POST", .url = service->settings.push_signing_url, .headers = headers, .body = text, .timeout_ms = SERVICE_TIMEOUT_MS, .response_max = SERVICE_REPLY_MAX};
	g_auto(outbound_reply) reply = {0};

	if (!service->settings.push_signing_url || !service->outbound)
		return pom_fail(error, POM_ERR_PUSH_SIGNING_SERVICE, "no signing service is configured (push.signing_url)");
	return service->outbound->call(service->outbound->ctx, &request, &reply, error) && check_service_reply(&reply, error);
}

static json_t *mdmcert_json(const char *id, bool sent, json_t *body)
{
	json_t *o = json_pack("{s:s, s:b}", "id", id, "sent", sent);

	if (!sent)
		json_object_set(o, "body", body);
	json_set_text(o, "next", sent ? "wait for the mail of mdmcert.download, and give its attachment (….plist.b64.p7) to \"pomona push-cert mdmcert --open\" or \"pomona push-cert setup\""
	                              : "POST the body as JSON to https://mdmcert.download/api/v1/signrequest, and give the attachment of the mail that comes to \"pomona push-cert mdmcert --open\"");
	return o;
}

json_t *service_push_mdmcert(struct service *service, const char *actor, const struct push_mdmcert_wish *wish, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(GBytes) csr = NULL, sealed = NULL, certificate = NULL, encrypt_key = NULL;
	g_autoptr(json_t) body = NULL;
	g_autofree char *name = NULL;

	if (!wish->email || !wish->api_key)
		return push_fail(error, POM_ERR_USAGE, "mdmcert.download needs the mail address that is registered there, and an API key of the server product");
	if (!check_renewed(service, wish->renews_topic, error) || !push_make_request(service, "push_request", id.text, wish->subject, "MDM Push", &csr, &sealed, &name, error) ||
	    !make_encryption(service, id.text, &certificate, &encrypt_key, error))
		return NULL;
	struct push_request_row row = {.id = id.text, .subject = name, .csr = csr, .key_sealed = sealed, .renews_topic = wish->renews_topic, .encrypt_certificate = certificate, .encrypt_key_sealed = encrypt_key,
	                               .created_ms = service_now_ms(service)};

	/* The row first: an answer whose key was lost would be worth nothing. */
	if (!store_push_request_add(service->store, &row, AUDIT(actor, "push.mdmcert", id.text, audit_detail("email", wish->email, "renews", wish->renews_topic, NULL)), error))
		return NULL;
	body = service_body(wish, csr, certificate);
	if (!wish->dont_send && !send_body(service, body, error)) {
		bool found;

		(void)!store_push_request_remove(service->store, id.text, AUDIT(actor, "push.request.remove", id.text, audit_detail("why", "the signing service did not take it", NULL)), &found, NULL);
		return NULL;
	}
	return mdmcert_json(id.text, !wish->dont_send, body);
}

/* The content of an encrypted answer, with the key of whichever request it is for; transfer full, NULL with ERROR. */
static GBytes *open_message(struct service *service, GArray *rows, GBytes *message, GError **error)
{
	g_autoptr(cms_enveloped) enveloped = cms_enveloped_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), PUSH_FILE_MAX, error);

	for (guint i = 0; enveloped && i < rows->len; i++) {
		const struct push_request_row *row = &g_array_index(rows, struct push_request_row, i);
		g_autoptr(X509) cert = row->encrypt_certificate ? cert_parse_der(g_bytes_get_data(row->encrypt_certificate, NULL), g_bytes_get_size(row->encrypt_certificate), NULL) : NULL;
		const struct cms_recipient *recipient = cert ? cms_recipient_for(enveloped, cert) : NULL;
		g_autoptr(signer) key = recipient ? push_open_key(service, "push_request", row->id, "encrypt_key", row->encrypt_key_sealed, error) : NULL;

		if (recipient)
			return key ? cms_open_enveloped_with(key, recipient, enveloped, service->random, error) : NULL;
	}
	if (enveloped)
		pom_fail(error, POM_ERR_PUSH_NO_REQUEST, "the message is encrypted for none of the requests that wait here: was it asked for on this server, and not taken back since? (\"pomona push-cert requests\" shows them)");
	return NULL;
}

/* The signed document of the files: XML or base64, transfer full. */
static GBytes *find_document(struct service *service, GArray *rows, const struct push_found *found, GError **error)
{
	if (found->messages->len)
		return open_message(service, rows, g_ptr_array_index(found->messages, 0), error);
	if (found->documents->len)
		return g_bytes_ref(g_ptr_array_index(found->documents, 0));
	pom_fail(error, POM_ERR_PUSH_FILE, "the file is neither the message of mdmcert.download (….plist.b64.p7) nor a signed request document");
	return NULL;
}

/* Keeps the document that REQUEST is, as Apple's portal takes it, for the request of ours with the same CSR. */
static json_t *keep_document(struct service *service, const char *actor, GArray *rows, const struct push_request *request, GError **error)
{
	g_autoptr(cert_info) vendor = cert_info_new(g_ptr_array_index(request->chain, 0), error);
	g_autoptr(GBytes) text = push_request_format(request->csr_der, (X509 *const *)request->chain->pdata, request->chain->len, request->signature, error);

	if (!vendor || !text || !push_cert_check_dates(vendor->subject, vendor->not_before, vendor->not_after, service_now_ms(service) / 1000, "who signed must renew it and sign again, for Apple's portal refuses it", error))
		return NULL;
	for (guint i = 0; i < rows->len; i++) {
		const struct push_request_row *row = &g_array_index(rows, struct push_request_row, i);

		if (!g_bytes_equal(row->csr, request->csr_der))
			continue;
		if (!store_push_request_sign(service->store, row->id, vendor->subject, text, service_now_ms(service), AUDIT(actor, "push.signed", row->id, audit_detail("vendor", vendor->subject, NULL)), error))
			return NULL;
		return document_json(text, vendor->subject, row->id);
	}
	return push_fail(error, POM_ERR_PUSH_NO_REQUEST, "the document was signed for another request (\"%s\") than those that wait here", request->csr->subject);
}

json_t *service_push_document_take(struct service *service, const char *actor, const struct push_files *files, GError **error)
{
	g_auto(push_found) found = {0};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_found_read(&found, files, error) ? push_requests(service, &load, error) : NULL;
	g_autoptr(GBytes) document = rows ? find_document(service, rows, &found, error) : NULL;
	g_autoptr(push_request) request = document ? push_request_parse(g_bytes_get_data(document, NULL), g_bytes_get_size(document), error) : NULL;

	return request ? keep_document(service, actor, rows, request, error) : NULL;
}
