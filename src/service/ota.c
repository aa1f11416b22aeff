/* Over-the-air enrollment: a device says who it is, is given an identity, and with that gets its profile, which nobody else can read. */
#include "service/ota.h"

#include <string.h>

#include "keys/profile_crypt.h"
#include "service/enroll.h"
#include "service/factory.h"
#include "service/fleet.h"
#include "service/profile_sign.h"
#include "service/timeline.h"
#include "store/ota_store.h"

enum { SECRET_BYTES = 24, CHALLENGE_TTL_MS = 3600 * 1000, CHALLENGE_KEYS = 3, CONFLICT_TRIES = 4, TIMELINE_MAX = 501 };

/* What the Profile Service of a link says, and its device repeats: not the link's own secret, which is for the MDM identity, but made from it, so that each fetch says the same
 * and nothing more is kept. transfer full. */
static char *ota_challenge(struct service *service, const struct link_load *link, GError **error)
{
	char *secret = service_link_secret(service, link, error), *challenge;
	uint8_t mac[32];

	if (!secret)
		return NULL;
	hmac_sha256(secret, strlen(secret), link->facts.id, strlen(link->facts.id), mac);
	challenge = hex_format(mac, sizeof(mac));
	explicit_bzero(secret, strlen(secret));
	g_free(secret);
	return challenge;
}

/* A refusal is a line of the link's timeline, when there is such a link. */
static void note_refusal(struct service *service, const char *link_id, const GError *refusal)
{
	g_autofree char *text = NULL, *detail = NULL;

	if (!*link_id)
		return;
	text = g_strdup_printf("%s %.400s", pom_error_info_of(refusal)->id, refusal->message);
	detail = g_utf8_make_valid(text, -1);
	/* It is in the log in any case. */
	(void)!store_event_add(service->store, link_id, "OtaRefused", detail, service_now_ms(service), NULL);
}

/* ---- the Profile Service ---- */

static plist *service_document(struct service *service, const char *token, const struct link_load *link, GError **error)
{
	static const char *const standard[] = {"UDID", "SERIAL", NULL};
	g_autofree char *challenge = ota_challenge(service, link, error), *url = NULL;
	struct enroll_served served = {0};
	plist *tree;

	if (!challenge || !enroll_served_parse(link->served, &served, error))
		return NULL;
	url = g_strdup_printf("%s/ota/%s", served.url, token);
	tree = ota_service_build(&(struct ota_service){
		link->facts.id, service->settings.organization, served.url, url, challenge,
		service->settings.device_attributes ? (const char *const *)service->settings.device_attributes : standard,
	});
	enroll_served_clear(&served);
	return tree;
}

GBytes *service_ota_begin(struct service *service, const char *token, bool quiet, struct subject *subject, GError **error)
{
	struct link_load link = {0};
	g_autoptr(plist) tree = NULL;
	g_autoptr(GBytes) plain = NULL;
	g_autofree char *topic = NULL;
	GError *inner = NULL;

	if (service_link_load(service, token, subject, &link, &inner)) {
		/* Without one the last step would fail, long after the device was asked. */
		topic = service_new_topic(service, &inner);
		tree = topic ? service_document(service, token, &link, &inner) : NULL;
		plain = tree ? plist_format(tree, &inner) : NULL;
		link_load_clear(&link);
	}
	if (!plain) {
		if (!quiet)
			note_refusal(service, subject->detail, inner);
		g_propagate_error(error, inner);
		return NULL;
	}
	if (!quiet && !store_event_add(service->store, subject->detail, "OtaBegun", "the Profile Service was sent", service_now_ms(service), error))
		return NULL;
	return service->settings.enroll_unsigned ? g_steal_pointer(&plain) : service_profile_sign(service, plain, error);
}

/* ---- the device says who it is ---- */

/* One answer of a device in progress. */
struct answer {
	struct service *service;
	const struct link_load *link;
	const struct device_message *message;
	char *factory_ca;
};

/* How the settings have identities made: by SCEP, or here. Transport identities are always of this server's own CA. */
static bool by_scep(const struct service *service)
{
	const char *source = service->settings.identity_source;

	return strcmp(source, "pkcs12") && strcmp(source, "scep-proxy");
}

/* Binds the link to this device, or finds that it is. CHALLENGE as in store_ota_identify. */
static bool bind_once(const struct answer *a, const char *expected, const struct ota_challenge *challenge, bool *ret_again, GError **error)
{
	struct service *service = a->service;
	const struct ota_attributes *attributes = &a->message->attributes;
	g_autofree char *json = ota_attributes_format(a->message->tree), *event = NULL;
	struct audit_entry audit = {.actor = "device", .action = "ota.bind", .object = a->link->facts.id};
	struct ota_load load = {0};
	GError *inner = NULL;
	bool again = false, ok;

	*ret_again = false;
	if (!store_ota_load(service->store, a->link->facts.id, NULL, &load, error))
		return false;
	event = g_strdup_printf("device %.128s (%.64s), factory identity of %.128s", ota_device_id(attributes), attributes->product ? attributes->product : "no PRODUCT", a->factory_ca);
	struct ota_identified identified = {
		.link_id = a->link->facts.id, .attributes = attributes, .attributes_json = json, .factory_ca = a->factory_ca, .factory_spki_sha256 = a->message->signer->spki_sha256, .challenge = challenge,
		.event = event, .now_ms = service_now_ms(service),
	};
	ok = ota_decide_identify(attributes, expected, a->message->signer->spki_sha256, &load.facts, &again, error);
	if (ok && !again) {
		audit.detail = audit_detail("udid", attributes->udid, "serial", attributes->serial, "factory_ca", a->factory_ca, NULL);
		identified.audit = &audit;
	}
	if (ok && !store_ota_identify(service->store, &identified, again ? load.facts.version : 0, &inner)) {
		*ret_again = g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
		g_propagate_error(error, inner);
		ok = false;
	}
	ota_load_clear(&load);
	return ok;
}

static bool bind_device(const struct answer *a, const struct ota_challenge *challenge, GError **error)
{
	g_autofree char *expected = ota_challenge(a->service, a->link, error);
	GError *inner = NULL;
	bool again = true, ok = false;

	if (!expected)
		return false;
	for (int i = 0; i < CONFLICT_TRIES && again && !ok; i++) {
		g_clear_error(&inner);
		ok = bind_once(a, expected, challenge, &again, &inner);
	}
	return ok || service_fail_again(error, inner);
}

/* The profile with the transport identity. The link is bound before anything is made, so that of two devices one is refused. */
static GBytes *identify(const struct answer *a, GError **error)
{
	struct service *service = a->service;
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *secret = pom_random_hex(service->random, SECRET_BYTES), *common_name = enroll_transport_name(a->link->facts.id);
	struct ota_challenge challenge = {.id = id.text, .common_name = common_name, .profile = PROFILE_DEFAULT, .max_keys = CHALLENGE_KEYS,
	                                  .expires_ms = MIN(service_now_ms(service) + CHALLENGE_TTL_MS, a->link->facts.expires_ms)};
	struct enroll_served served = {0};
	g_autoptr(plist) tree = NULL;

	cert_sha256(secret, strlen(secret), challenge.secret_hash);
	if (!bind_device(a, by_scep(service) ? &challenge : NULL, error) || !enroll_served_parse(a->link->served, &served, error))
		return NULL;
	tree = service_enroll_tree(service, &(struct enroll_wish){.link_id = a->link->facts.id, .common_name = common_name, .challenge = secret, .served = &served,
	                                                          .device_id = ota_device_id(&a->message->attributes), .transport = true}, error);
	explicit_bzero(secret, strlen(secret));
	enroll_served_clear(&served);
	return tree ? service_profile_finish(service, tree, error) : NULL;
}

/* ---- the device comes with its identity ---- */

static bool check_enroll(const struct answer *a, GError **error)
{
	const struct cms_signed *cms = a->message->cms;
	uint8_t sha256[32];
	struct ota_load load = {0};
	bool ok;

	cert_sha256(g_bytes_get_data(cms->signer_der, NULL), g_bytes_get_size(cms->signer_der), sha256);
	if (!store_ota_load(a->service->store, a->link->facts.id, sha256, &load, error))
		return false;
	ok = ota_decide_enroll(&a->message->attributes, a->link->facts.id, &load.certificate, &load.facts, service_now_ms(a->service), error);
	ota_load_clear(&load);
	if (ok && a->message->signer->key_type != EVP_PKEY_RSA)
		return pom_fail(error, POM_ERR_OTA_KEY, "the identity has no RSA key, and profiles are encrypted to RSA keys only (RFC 5652 section 6.2.1): the device must make one, as the SCEP payload says");
	return ok;
}

static GBytes *enroll(const struct answer *a, GError **error)
{
	g_autoptr(plist) tree = NULL, encrypted = NULL;
	GBytes *profile;

	if (!check_enroll(a, error))
		return NULL;
	tree = service_link_tree(a->service, a->link, error);
	if (!tree || !mobileconfig_check(tree, error))
		return NULL;
	encrypted = profile_encrypt(tree, a->message->cms->signer, service_profile_cipher(a->service), a->service->random, error);
	profile = encrypted ? service_profile_finish(a->service, encrypted, error) : NULL;
	if (profile && store_ota_served(a->service->store, a->link->facts.id, "the enrollment profile was sent, encrypted to the device's identity", service_now_ms(a->service), error))
		return profile;
	g_clear_pointer(&profile, g_bytes_unref);
	return NULL;
}

/* Who has issued the signer's certificate says which step this is, and nothing else does. */
static GBytes *step(struct answer *a, struct device_message *message, const char **ret_step, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(a->service);

	if (ca_set_issuer_of(set, message->cms->signer)) {
		*ret_step = "profile";
		return device_message_read(message, error) && service_check_blocked(a->service, message->attributes.udid, message->attributes.serial, error) ? enroll(a, error) : NULL;
	}
	*ret_step = "identity";
	if (!service_check_factory(a->service, message, &a->factory_ca, error) || !device_message_read(message, error) ||
	    !service_check_blocked(a->service, message->attributes.udid, message->attributes.serial, error))
		return NULL;
	return identify(a, error);
}

bool service_ota_answer(struct service *service, const char *token, GBytes *body, struct subject *subject, struct ota_reply *ret, GError **error)
{
	struct link_load link = {0};
	struct device_message message = {0};
	struct answer a = {.service = service, .link = &link, .message = &message};
	struct ota_reply reply = {0};
	GError *inner = NULL;

	if (service_link_load(service, token, subject, &link, &inner) && device_message_open(body, &message, &inner))
		reply.profile = step(&a, &message, &reply.step, &inner);
	if (message.tree && (message.attributes.udid || message.attributes.serial))
		g_strlcpy(subject->device, ota_device_id(&message.attributes), sizeof(subject->device));
	device_message_clear(&message);
	link_load_clear(&link);
	g_free(a.factory_ca);
	if (reply.profile) {
		*ret = reply;
		return true;
	}
	note_refusal(service, subject->detail, inner);
	g_propagate_error(error, inner);
	return false;
}

/* ---- what administrators see ---- */

static json_t *timeline(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_event_list(service->store, id, "", TIMELINE_MAX, &load, error);
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct event_row *row = &g_array_index(rows, struct event_row, i);
		json_t *o = json_pack("{s:o}", "at", json_time(row->at_ms));

		json_set_text(o, "kind", row->kind);
		json_set_text(o, "detail", row->detail);
		json_object_set_new(o, "times", json_integer(row->n));
		json_object_set_new(o, "last_at", json_time(row->n > 1 ? row->last_ms : 0));
		json_array_append_new(items, o);
	}
	return items;
}

static json_t *bound_json(const struct link_whole *whole)
{
	g_autofree char *key = NULL;
	json_t *o;

	if (!whole->ota.bound)
		return json_null();
	key = hex_format(whole->ota.factory_spki_sha256, CERT_DIGEST_LEN);
	o = json_object();
	json_set_text(o, "udid", whole->ota.udid);
	json_set_text(o, "serial", whole->ota.serial);
	json_set_text(o, "factory_ca", whole->factory_ca);
	json_set_text(o, "factory_key_sha256", key);
	json_object_set_new(o, "bound_at", json_time(whole->ota.bound_ms));
	json_object_set_new(o, "answered_at", json_time(whole->answered_ms));
	json_object_set_new(o, "identities", json_integer(whole->ota.n_identities));
	json_object_set_new(o, "profile_sent_at", json_time(whole->served_ms));
	return o;
}

json_t *service_link_show(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct link_whole whole;
	json_t *events, *verdict, *o;

	if (!store_link_get(service->store, id, &whole, &load, error) || !(verdict = service_link_verdict(service, &whole.link, error)))
		return NULL;
	events = timeline(service, id, error);
	if (!events) {
		json_decref(verdict);
		return NULL;
	}
	o = json_object();
	json_set_text(o, "id", whole.link.id);
	json_set_text(o, "state", link_state_name(&whole.link, service_now_ms(service)));
	json_set_text(o, "user", whole.link.user_name);
	json_set_text(o, "email", whole.user_email);
	json_set_text(o, "device", whole.link.device_name);
	json_object_set_new(o, "created_at", json_time(whole.link.created_ms));
	json_object_set_new(o, "expires", json_time(whole.link.expires_ms));
	json_set_text(o, "enrollment_id", whole.link.enrollment_id);
	json_set_text(o, "device_id", whole.device_id);
	json_object_set_new(o, "bound_device", bound_json(&whole));
	json_object_set_new(o, "attributes", whole.attributes ? json_parse(whole.attributes, strlen(whole.attributes), NULL) : json_null());
	json_object_set_new(o, "verdict", verdict);
	json_object_set_new(o, "timeline", events);
	return o;
}
