/* Apple Watches: a watch asks, its phone fetches a token for it, the watch shows that and gets its profile. */
#include "core/watch.h"

#include <openssl/crypto.h>
#include <string.h>

#include "service/command.h"
#include "service/enroll.h"
#include "service/factory.h"
#include "service/fleet.h"
#include "service/ota.h"
#include "store/ota_store.h"
#include "service/shared.h"

enum { LINK_TTL_S = 3600, KEEP_MS = 24 * 3600 * 1000, LIST_MAX = 1000, SECURITY_BYTES = 16 };

/* The sub-key that pairing tokens are made with. */
static void token_mac(const struct service *service, const void *data, size_t len, uint8_t ret[WATCH_MAC_LEN])
{
	uint8_t key[32];

	seal_derive(&service->seal, "watch pairing token", key);
	hmac_sha256(key, sizeof(key), data, len, ret);
	explicit_bzero(key, sizeof(key));
}

char *service_random_uuid(const struct service *service)
{
	uint8_t b[SECURITY_BYTES];

	pom_random_fill(service->random, b, sizeof(b));
	b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	return g_strdup_printf("%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
	                       b[14], b[15]);
}

static void note_refusal(struct service *service, const char *enrollment_id, const GError *refusal)
{
	g_autofree char *text = g_strdup_printf("%s %.400s", pom_error_info_of(refusal)->id, refusal->message), *detail = g_utf8_make_valid(text, -1);

	/* It is in the log in any case. */
	(void)!store_event_add(service->store, enrollment_id, "WatchRefused", detail, service_now_ms(service), NULL);
}

/* ---- the phone ---- */

/* The token with its MAC, transfer full; the nonce's hash is what is kept of it. */
static GBytes *make_token(struct service *service, const struct pairing_facts *pairing, const char *phone_id, int64_t expires_ms, uint8_t ret_nonce_hash[32])
{
	struct watch_token token = {.expires_ms = expires_ms, .pairing_id = (char *)pairing->id, .phone_id = (char *)phone_id, .watch_udid = (char *)pairing->udid};
	g_autoptr(GBytes) body = NULL;
	GByteArray *whole = g_byte_array_new();
	uint8_t mac[WATCH_MAC_LEN];

	pom_random_fill(service->random, token.nonce, sizeof(token.nonce));
	cert_sha256(token.nonce, sizeof(token.nonce), ret_nonce_hash);
	body = watch_token_format(&token);
	token_mac(service, g_bytes_get_data(body, NULL), g_bytes_get_size(body), mac);
	g_byte_array_append(whole, g_bytes_get_data(body, NULL), (guint)g_bytes_get_size(body));
	g_byte_array_append(whole, mac, sizeof(mac));
	return g_byte_array_free_to_bytes(whole);
}

static bool grant(struct service *service, const struct checkin_message *m, const char *enrollment_id, const struct phone_facts *phone, const struct pairing_facts *pairing, GBytes **ret, GError **error)
{
	int64_t now_ms = service_now_ms(service), expires_ms = now_ms + WATCH_TTL_MS;
	g_autoptr(GBytes) token = NULL;
	g_autoptr(plist) reply = NULL;
	uint8_t nonce_hash[32];
	GError *inner = NULL;

	if (!watch_decide_grant(m, (enum watch_policy)service->settings.watch_policy, phone, pairing, now_ms, error))
		return false;
	token = make_token(service, pairing, enrollment_id, expires_ms, nonce_hash);
	if (!store_pairing_grant(service->store, pairing, enrollment_id, nonce_hash, now_ms, expires_ms,
	                         AUDIT("device", "watch.grant", pairing->id, audit_detail("phone", enrollment_id, "watch", pairing->udid, NULL)), &inner)) {
		if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
			g_propagate_error(error, inner);
			return false;
		}
		g_error_free(inner);
		return pom_fail(error, POM_ERR_WATCH_SECURITY, "TokenParameters.SecurityToken was used at the same time");
	}
	reply = plist_new_dict();
	plist_dict_set_data(reply, "TokenData", g_bytes_get_data(token, NULL), g_bytes_get_size(token));
	*ret = plist_format(reply, error);
	return *ret != NULL;
}

/* Has the phone say whether it is supervised, unless it is being asked already: the person who pairs the watch waits. */
static bool ask_supervision(struct service *service, const char *enrollment_id, GError **error)
{
	plist *inner = plist_new_dict(), *queries = plist_new_array();

	plist_array_append(queries, plist_new_string("IsSupervised"));
	plist_dict_set_string(inner, "RequestType", "DeviceInformation");
	plist_dict_set(inner, "Queries", queries);
	return service_command_ask(service, enrollment_id, inner, error);
}

bool service_watch_grant(struct service *service, const struct checkin_message *message, const char *enrollment_id, GBytes **ret, GError **error)
{
	struct phone_load phone = {0};
	struct pairing_load pairing = {0};
	uint8_t hash[32];
	GError *inner = NULL;
	bool ok;

	cert_sha256(message->security_token, strlen(message->security_token), hash);
	ok = store_pairing_phone(service->store, enrollment_id, &phone, &inner) && store_pairing_by_security(service->store, hash, &pairing, &inner) &&
	     grant(service, message, enrollment_id, &phone.facts, &pairing.facts, ret, &inner);
	phone_load_clear(&phone);
	pairing_load_clear(&pairing);
	if (ok)
		return true;
	note_refusal(service, enrollment_id, inner);
	if (g_error_matches(inner, POM_ERROR, POM_ERR_WATCH_SUPERVISION) && !ask_supervision(service, enrollment_id, error)) {
		g_error_free(inner);
		return false;
	}
	g_propagate_error(error, inner);
	return false;
}

/* ---- the watch ---- */

/* The error, with what the watch has to tell its phone. */
static bool ask_for_token(struct service *service, const struct device_message *message, const char *why, char **ret_security_token, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *security = service_random_uuid(service);
	int64_t now_ms = service_now_ms(service);
	uint8_t hash[32];

	cert_sha256(security, strlen(security), hash);
	if (!store_pairing_add(service->store, id.text, hash, &message->attributes, message->signer->spki_sha256, now_ms, now_ms + WATCH_TTL_MS, error))
		return false;
	*ret_security_token = g_steal_pointer(&security);
	return pom_fail(error, POM_ERR_WATCH_MISSING, "%s", why);
}

/* The phone must still be managed: what it was granted was for a watch of a managed phone. */
static bool check_phone(const struct phone_facts *phone, GError **error)
{
	if (phone->known && phone->state == ENROLLMENT_ENROLLED)
		return true;
	return pom_fail(error, POM_ERR_WATCH_PHONE, "the phone that fetched the pairing token is not enrolled any more");
}

/* The link of the watch, and its profile. */
static GBytes *enroll_watch(struct service *service, const struct device_message *message, const struct pairing_facts *pairing, const struct phone_facts *phone, const uint8_t nonce_hash[32],
                            struct subject *subject, GError **error)
{
	struct link_draft draft;
	struct link_load link = {0};
	g_autoptr(plist) tree = NULL;
	GError *inner = NULL;

	service_link_draft(service, LINK_TTL_S, true, &draft);
	draft.link.user_name = phone->owner;
	draft.link.device_name = "Apple Watch";
	draft.link.device_id = pairing->udid;
	if (store_pairing_use(service->store, pairing, nonce_hash, &draft.link, service_now_ms(service),
	                      AUDIT("device", "watch.enroll", draft.id.text, audit_detail("pairing", pairing->id, "phone", pairing->phone_id, "watch", pairing->udid, NULL)), &inner)) {
		if (service_link_load(service, draft.token, subject, &link, &inner))
			tree = service_link_tree(service, &link, &inner);
		link_load_clear(&link);
	} else if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		pom_fail(&inner, POM_ERR_WATCH_MISSING, "PAIRING_TOKEN was used at the same time");
	}
	link_draft_clear(&draft);
	if (inner)
		g_propagate_error(error, inner);
	return tree ? service_profile_finish(service, tree, error) : NULL;
}

static bool open_token(struct service *service, const struct ota_attributes *watch, struct watch_token *ret, GError **error)
{
	const uint8_t *data = watch->pairing_token;
	size_t len = watch->pairing_token_len;
	uint8_t mac[WATCH_MAC_LEN];

	if (len <= WATCH_MAC_LEN)
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN is none of this server's");
	token_mac(service, data, len - WATCH_MAC_LEN, mac);
	if (CRYPTO_memcmp(mac, data + len - WATCH_MAC_LEN, WATCH_MAC_LEN))
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN was not made by this server, or was changed");
	return watch_token_parse(data, len, ret, error);
}

static GBytes *use_token(struct service *service, const struct device_message *message, const struct watch_token *token, struct subject *subject, GError **error)
{
	struct pairing_load pairing = {0};
	struct phone_load phone = {0};
	uint8_t nonce_hash[32];
	GBytes *profile = NULL;

	cert_sha256(token->nonce, sizeof(token->nonce), nonce_hash);
	if (store_pairing_get(service->store, token->pairing_id, &pairing, error) &&
	    watch_decide_use(&message->attributes, message->signer->spki_sha256, token, nonce_hash, &pairing.facts, service_now_ms(service), error) &&
	    store_pairing_phone(service->store, pairing.facts.phone_id, &phone, error) && check_phone(&phone.facts, error))
		profile = enroll_watch(service, message, &pairing.facts, &phone.facts, nonce_hash, subject, error);
	pairing_load_clear(&pairing);
	phone_load_clear(&phone);
	return profile;
}

static GBytes *with_token(struct service *service, const struct device_message *message, struct subject *subject, GError **error)
{
	struct watch_token token = {0};
	GBytes *profile;
	GError *inner = NULL;

	if (!open_token(service, &message->attributes, &token, error))
		return NULL;
	profile = use_token(service, message, &token, subject, &inner);
	if (!profile) {
		/* The token is ours, so the phone is one of ours. */
		note_refusal(service, token.phone_id, inner);
		g_propagate_error(error, inner);
	}
	watch_token_clear(&token);
	return profile;
}

static bool check_watch(const struct ota_attributes *watch, GError **error)
{
	if (!watch->udid)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "UDID is missing: the watch could not be told from others");
	if (watch->product && !g_str_has_prefix(watch->product, "Watch"))
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "PRODUCT \"%.64s\" is no watch: other devices enroll with a link", watch->product);
	return true;
}

static bool read_watch(struct service *service, GBytes *body, struct device_message *message, GError **error)
{
	g_autofree char *ca = NULL;

	if (service->settings.watch_policy == WATCH_OFF)
		return pom_fail(error, POM_ERR_WATCH_OFF, "enroll.watch is off");
	return device_message_open(body, message, error) && service_check_factory(service, message, &ca, error) && device_message_read(message, error) && check_watch(&message->attributes, error) &&
	       service_check_blocked(service, message->attributes.udid, message->attributes.serial, error);
}

bool service_watch_answer(struct service *service, GBytes *body, struct subject *subject, GBytes **ret, char **ret_security_token, GError **error)
{
	struct device_message message = {0};
	GBytes *profile = NULL;
	GError *inner = NULL;

	if (service_shared_look(service, &inner) && read_watch(service, body, &message, &inner)) {
		g_strlcpy(subject->device, message.attributes.udid, sizeof(subject->device));
		if (message.attributes.pairing_token)
			profile = with_token(service, &message, subject, &inner);
		else
			pom_fail(&inner, POM_ERR_WATCH_MISSING, "the watch has no pairing token yet");
		/* The right watch may begin again by itself. */
		if (g_error_matches(inner, POM_ERROR, POM_ERR_WATCH_MISSING)) {
			g_autofree char *why = g_strdup(inner->message);

			g_clear_error(&inner);
			ask_for_token(service, &message, why, ret_security_token, &inner);
		}
	}
	device_message_clear(&message);
	if (profile) {
		*ret = profile;
		return true;
	}
	g_propagate_error(error, inner);
	return false;
}

bool service_watch_purge(struct service *service, GError **error)
{
	return store_pairing_purge(service->store, service_now_ms(service) - KEEP_MS, error);
}

/* ---- what administrators see ---- */

json_t *service_watch_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_pairing_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct pairing_facts *row = &g_array_index(rows, struct pairing_facts, i);
		json_t *o = json_object();

		json_set_text(o, "id", row->id);
		json_set_text(o, "state", pairing_state(row, service_now_ms(service)));
		json_set_text(o, "udid", row->udid);
		json_set_text(o, "serial", row->serial);
		json_set_text(o, "product", row->product);
		json_set_text(o, "phone_enrollment_id", row->phone_id);
		json_set_text(o, "link_id", row->link_id);
		json_object_set_new(o, "asked_at", json_time(row->created_ms));
		json_object_set_new(o, "granted_at", json_time(row->granted_ms));
		json_object_set_new(o, "used_at", json_time(row->used_ms));
		json_array_append_new(items, o);
		last = row->id;
	}
	return json_page(items, last, limit);
}
