/* The guided way to a push certificate: where an administrator stands, what to do next and at whose page, from what is stored alone. */
#include <string.h>

#include "service/push_cert_internal.h"

/* The row of the settings that holds the way. */
#define WAY "push_setup_way"

/* All that the way depends on. */
struct standing {
	struct push_setup_facts facts;
	store_load *vendor_load, *request_load, *cert_load;
	GArray *vendors, *requests, *certs;
	const struct push_request_row *request; /* the newest; NULL: none */
	const struct push_vendor_row *asked;    /* vendor that waits for Apple; NULL: none */
	const struct pushcert_row *renews;      /* the certificate that ends first; NULL: none */
};

static void standing_clear(struct standing *s)
{
	g_clear_pointer(&s->vendors, g_array_unref);
	g_clear_pointer(&s->requests, g_array_unref);
	g_clear_pointer(&s->certs, g_array_unref);
	g_clear_pointer(&s->vendor_load, store_load_free);
	g_clear_pointer(&s->request_load, store_load_free);
	g_clear_pointer(&s->cert_load, store_load_free);
}
typedef struct standing standing;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(standing, standing_clear)

static bool load_way(struct service *service, enum push_way *ret, GError **error)
{
	g_autofree char *name = NULL;

	if (!store_setting_get(service->store, WAY, &name, error))
		return false;
	*ret = name ? push_way_find(name) : PUSH_WAY_VENDOR;
	if (*ret == PUSH_WAY_MAX)
		*ret = PUSH_WAY_VENDOR;
	return true;
}

static void read_vendors(struct standing *s, int64_t now_ms)
{
	for (guint i = 0; i < s->vendors->len; i++) {
		const struct push_vendor_row *row = &g_array_index(s->vendors, struct push_vendor_row, i);

		s->facts.vendor_ready |= push_vendor_is_valid(row, now_ms);
		if (!row->certificate) {
			s->facts.vendor_requested = true;
			s->asked = row;
		}
	}
}

static void read_certs(struct standing *s, int64_t now_ms)
{
	for (guint i = 0; i < s->certs->len; i++) {
		const struct pushcert_row *row = &g_array_index(s->certs, struct pushcert_row, i);

		if (!s->renews || row->certificate.not_after_ms < s->renews->certificate.not_after_ms)
			s->renews = row;
	}
	s->facts.certified = s->renews != NULL;
	s->facts.ends_soon = s->renews && ca_expiry_step(s->renews->certificate.not_after_ms / 1000, now_ms / 1000) >= 0;
}

/* The newest that this way can go on with: who signs by mail must have been asked. */
static void read_requests(struct standing *s)
{
	for (guint i = 0; i < s->requests->len; i++) {
		const struct push_request_row *row = &g_array_index(s->requests, struct push_request_row, i);

		if (s->facts.way != PUSH_WAY_MDMCERT || row->encrypt_certificate || row->document)
			s->request = row;
	}
	s->facts.requested = s->request != NULL;
	s->facts.is_signed = s->request && s->request->document;
}

static bool standing_load(struct service *service, struct standing *s, GError **error)
{
	int64_t now_ms = service_now_ms(service);

	*s = (struct standing){0};
	if (!load_way(service, &s->facts.way, error))
		return false;
	s->vendors = push_vendors(service, &s->vendor_load, error);
	s->requests = s->vendors ? push_requests(service, &s->request_load, error) : NULL;
	s->certs = s->requests ? store_pushcert_list(service->store, &s->cert_load, error) : NULL;
	if (!s->certs)
		return false;
	read_vendors(s, now_ms);
	read_certs(s, now_ms);
	read_requests(s);
	return true;
}

/* ---- telling ---- */

static json_t *step_json(enum push_step step, enum push_step_state state, const char *text, const char *page, const char *address, const char *command)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:s}", "number", (int)step + 1, "name", push_step_name(step), "state", push_state_name(state), "text", text);

	json_set_text(o, "page", page);
	json_set_text(o, "address", address);
	json_set_text(o, "command", command);
	return o;
}

static json_t *vendor_step(const struct standing *s, enum push_step_state state)
{
	switch (state) {
	case PUSH_STATE_WAITING:
		return step_json(PUSH_STEP_VENDOR, state,
		                 "Sign in at Apple's developer page with the account that Apple has allowed to sign MDM requests. Under Certificates press the plus sign, choose \"MDM CSR\", upload the request, download mdm.cer, and give it here.",
		                 "Certificates, Identifiers & Profiles: Certificates, plus sign, MDM CSR", PUSH_DEVELOPER_URL, "pomona push-cert setup mdm.cer");
	case PUSH_STATE_DONE:
		return step_json(PUSH_STEP_VENDOR, state, s->facts.vendor_ready ? "The vendor certificate is here." : "No vendor certificate is needed before the next renewal.", NULL, NULL, NULL);
	case PUSH_STATE_SKIPPED:
		return step_json(PUSH_STEP_VENDOR, state, "Somebody else signs: no vendor certificate of your own is needed.", NULL, NULL, NULL);
	case PUSH_STATE_LATER:
	case PUSH_STATE_NOW:
	case PUSH_STATE_MAX:
	default:
		return step_json(PUSH_STEP_VENDOR, state,
		                 "Make the vendor's key and its request. Your organization needs an Apple Developer account that Apple has allowed to sign MDM requests (ask Apple for the \"MDM CSR\" capability once)."
		                 " Without one let mdmcert.download (--way mdmcert) or another vendor (--way foreign) sign.",
		                 NULL, NULL, "pomona push-cert setup --way vendor");
	}
}

static json_t *request_step(const struct standing *s, enum push_step_state state)
{
	static const char *const now_texts[PUSH_WAY_MAX] = {
		"Make the key and request of the push certificate, and sign it with the vendor certificate.",
		"Register your mail address at mdmcert.download first; its service signs the request and mails the answer.",
		"Make the key and request of the push certificate, for the vendor who signs for you.",
	};
	static const char *const now_commands[PUSH_WAY_MAX] = {
		"pomona push-cert setup --way vendor", "pomona push-cert setup --way mdmcert --email ADDRESS --api-key-file FILE", "pomona push-cert setup --way foreign",
	};

	if (state == PUSH_STATE_DONE)
		return step_json(PUSH_STEP_REQUEST, state, "The signed request is here.", NULL, NULL, NULL);
	if (state == PUSH_STATE_WAITING && s->facts.way == PUSH_WAY_MDMCERT)
		return step_json(PUSH_STEP_REQUEST, state, "mdmcert.download mails a file whose name ends in .plist.b64.p7: give it here as it is.", "mdmcert.download", "https://mdmcert.download", "pomona push-cert setup FILE.plist.b64.p7");
	if (state == PUSH_STATE_WAITING)
		return step_json(PUSH_STEP_REQUEST, state, "Send the request to the vendor who signs for you, and give the signed document that comes back.", NULL, NULL, "pomona push-cert setup FILE");
	return step_json(PUSH_STEP_REQUEST, state, now_texts[s->facts.way], s->facts.way == PUSH_WAY_MDMCERT ? "mdmcert.download: registration" : NULL, s->facts.way == PUSH_WAY_MDMCERT ? "https://mdmcert.download/registration" : NULL,
	                 now_commands[s->facts.way]);
}

/* TEXT, and how to take the request back. transfer full. */
static char *with_way_out(const struct standing *s, const char *text)
{
	return s->request ? g_strdup_printf("%s (Not wanted any more? \"pomona push-cert cancel %s\")", text, s->request->id) : g_strdup(text);
}

static json_t *certificate_step(const struct standing *s, enum push_step_state state)
{
	bool is_account_known = s->renews && s->renews->apple_account;
	const char *account = is_account_known ? s->renews->apple_account : "the Apple account that made the old certificate";
	g_autofree char *renew = g_strdup_printf("Sign in at the Apple Push Certificates Portal as %s. In the row of the old certificate press \"Renew\", NOT \"Create a Certificate\": a new one has another topic, and all devices would have to enroll"
	                                         " again. Upload the signed request, download the certificate, and give it here.", account);

	g_autofree char *text = with_way_out(s, s->renews ? renew
	                                                  : "Sign in at the Apple Push Certificates Portal with an Apple account of your organization (not of one person: it is needed again each year). Press \"Create a Certificate\","
	                                                    " upload the signed request, download the certificate, and give it here, with the name of that account.");

	if (state == PUSH_STATE_DONE)
		return step_json(PUSH_STEP_CERTIFICATE, state, "The push certificate is here.", NULL, NULL, "pomona push-cert check");
	return step_json(PUSH_STEP_CERTIFICATE, state, text, "Apple Push Certificates Portal", PUSH_PORTAL_URL,
	                 is_account_known ? "pomona push-cert setup MDM_Certificate.pem" : "pomona push-cert setup MDM_Certificate.pem --apple-account NAME");
}

static json_t *output_json(const char *kind, const char *file, GBytes *csr, GBytes *document)
{
	g_autofree char *text = csr ? service_csr_pem(csr) : g_strndup(g_bytes_get_data(document, NULL), g_bytes_get_size(document));

	return json_pack("{s:s, s:s, s:s}", "kind", kind, "file", file, "text", text);
}

/* What is to be carried to somebody now. */
static json_t *find_output(const struct standing *s, const enum push_step_state states[PUSH_STEP_MAX])
{
	if (states[PUSH_STEP_VENDOR] == PUSH_STATE_WAITING && s->asked->csr)
		return output_json("vendor-csr", "vendor.csr", s->asked->csr, NULL);
	if (states[PUSH_STEP_CERTIFICATE] == PUSH_STATE_WAITING)
		return output_json("document", "push-request.b64", NULL, s->request->document);
	if (states[PUSH_STEP_REQUEST] == PUSH_STATE_WAITING && s->facts.way == PUSH_WAY_FOREIGN)
		return output_json("csr", "push.csr", s->request->csr, NULL);
	return json_null();
}

static json_t *tell(struct service *service, const struct standing *s, GError **error)
{
	enum push_step_state states[PUSH_STEP_MAX];
	g_autoptr(json_t) list = service_push_cert_list(service, error);
	json_t *steps;

	if (!list)
		return NULL;
	push_setup_decide(&s->facts, states);
	steps = json_array();
	json_array_append_new(steps, vendor_step(s, states[PUSH_STEP_VENDOR]));
	json_array_append_new(steps, request_step(s, states[PUSH_STEP_REQUEST]));
	json_array_append_new(steps, certificate_step(s, states[PUSH_STEP_CERTIFICATE]));
	return json_pack("{s:s, s:b, s:o, s:o, s:O}", "way", push_way_name(s->facts.way), "finished", states[PUSH_STEP_CERTIFICATE] == PUSH_STATE_DONE, "steps", steps, "output", find_output(s, states), "certificates",
	                 json_object_get(list, "items"));
}

json_t *service_push_setup(struct service *service, GError **error)
{
	g_auto(standing) s = {0};

	return standing_load(service, &s, error) ? tell(service, &s, error) : NULL;
}

/* ---- going on ---- */

static bool take_result(json_t *result)
{
	json_decref(result);
	return result != NULL;
}

static bool is_vendor(X509 *cert)
{
	g_auto(push_subject) s = {0};

	return push_subject_init(&s, cert, NULL) && (push_cert_kind(&s.names) == PUSH_KIND_VENDOR || push_cert_kind(&s.names) == PUSH_KIND_DEVELOPER);
}

/* Whatever came, to where it belongs. */
static bool take_files(struct service *service, const char *actor, const struct push_setup_wish *wish, GError **error)
{
	g_auto(push_found) found = {0};
	guint n_cas = 0, n_vendors = 0;

	if (!push_found_read(&found, &wish->files, error))
		return false;
	for (guint i = 0; i < found.certificates->len; i++) {
		n_cas += X509_check_ca(g_ptr_array_index(found.certificates, i)) != 0;
		n_vendors += is_vendor(g_ptr_array_index(found.certificates, i));
	}
	if (found.messages->len || (found.documents->len && !found.certificates->len))
		return take_result(service_push_document_take(service, actor, &wish->files, error));
	if (n_vendors)
		return take_result(service_push_vendor_import(service, actor, &wish->files, error));
	if (n_cas && n_cas == found.certificates->len)
		return take_result(service_push_chain_add(service, actor, &wish->files, error));
	return take_result(service_push_cert_import(service, actor, &(struct push_cert_import){.files = wish->files, .apple_account = wish->apple_account, .force = wish->force}, error));
}

/* The request step, on each way. */
static bool make_request(struct service *service, const char *actor, const struct push_setup_wish *wish, const struct standing *s, GError **error)
{
	const char *topic = wish->renews_topic ? wish->renews_topic : s->facts.certified ? s->renews->certificate.topic : NULL;

	if (s->facts.way == PUSH_WAY_MDMCERT)
		return !wish->email || take_result(service_push_mdmcert(service, actor, &(struct push_mdmcert_wish){wish->email, wish->api_key, wish->subject, topic, false}, error));
	if (!s->facts.requested && !take_result(service_push_csr(service, actor, &(struct push_csr_wish){wish->subject, topic, false}, error)))
		return false;
	return s->facts.way != PUSH_WAY_VENDOR || take_result(service_push_sign(service, actor, &(struct push_sign_wish){.request_id = s->request ? s->request->id : NULL}, error));
}

/* What the server can do now without anybody else. */
static bool go_on(struct service *service, const char *actor, const struct push_setup_wish *wish, GError **error)
{
	enum push_step_state states[PUSH_STEP_MAX];
	g_auto(standing) s = {0};

	if (!standing_load(service, &s, error))
		return false;
	push_setup_decide(&s.facts, states);
	if (states[PUSH_STEP_VENDOR] == PUSH_STATE_NOW)
		return take_result(service_push_vendor_csr(service, actor, wish->subject, false, error));
	/* Before time, only when it is asked for. */
	if (states[PUSH_STEP_REQUEST] == PUSH_STATE_NOW || (wish->renews_topic && !s.facts.requested))
		return make_request(service, actor, wish, &s, error);
	return true;
}

json_t *service_push_setup_go(struct service *service, const char *actor, const struct push_setup_wish *wish, GError **error)
{
	if (wish->way && push_way_find(wish->way) == PUSH_WAY_MAX)
		return push_fail(error, POM_ERR_BAD_REQUEST, "the way is \"%.32s\": it must be vendor (your own vendor certificate), mdmcert (mdmcert.download signs) or foreign (another vendor signs)", wish->way);
	if (wish->way && !store_setting_put(service->store, WAY, wish->way, error))
		return NULL;
	if (wish->files.n && !take_files(service, actor, wish, error))
		return NULL;
	return go_on(service, actor, wish, error) ? service_push_setup(service, error) : NULL;
}
