#include "core/watch.h"

#include <string.h>

enum { TOKEN_VERSION = 1, TIME_LEN = 8 };

enum watch_policy watch_policy_find(const char *name)
{
	static const char *const names[WATCH_POLICY_MAX] = {"supervised", "any", "off"};

	for (int i = 0; i < WATCH_POLICY_MAX; i++)
		if (!g_strcmp0(names[i], name))
			return (enum watch_policy)i;
	return WATCH_POLICY_MAX;
}

/* ---- the pairing token ---- */

void watch_token_clear(struct watch_token *token)
{
	g_clear_pointer(&token->pairing_id, g_free);
	g_clear_pointer(&token->phone_id, g_free);
	g_clear_pointer(&token->watch_udid, g_free);
}

static void append_text(GByteArray *bytes, const char *text)
{
	uint8_t len = (uint8_t)MIN(strlen(text), 255);

	g_byte_array_append(bytes, &len, 1);
	g_byte_array_append(bytes, (const uint8_t *)text, len);
}

GBytes *watch_token_format(const struct watch_token *token)
{
	GByteArray *bytes = g_byte_array_new();
	uint8_t version = TOKEN_VERSION;
	uint64_t expires = GUINT64_TO_BE((uint64_t)token->expires_ms);

	g_byte_array_append(bytes, &version, 1);
	g_byte_array_append(bytes, token->nonce, WATCH_NONCE_LEN);
	g_byte_array_append(bytes, (const uint8_t *)&expires, TIME_LEN);
	append_text(bytes, token->pairing_id);
	append_text(bytes, token->phone_id);
	append_text(bytes, token->watch_udid);
	return g_byte_array_free_to_bytes(bytes);
}

/* One byte of length, then as many of UTF-8 without NUL; transfer full, NULL when it is not that. */
static char *read_text(const uint8_t **p, const uint8_t *end)
{
	size_t len = *p < end ? **p : 0;
	const uint8_t *text = *p + 1;

	if (!len || (size_t)(end - text) < len || !g_utf8_validate((const char *)text, (gssize)len, NULL))
		return NULL;
	*p = text + len;
	return g_strndup((const char *)text, len);
}

bool watch_token_parse(const void *data, size_t len, struct watch_token *ret, GError **error)
{
	const uint8_t *p = data, *end;
	struct watch_token token = {0};
	uint64_t expires;

	if (len < 1 + WATCH_NONCE_LEN + TIME_LEN + WATCH_MAC_LEN || len > WATCH_TOKEN_MAX || *p != TOKEN_VERSION)
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN is none of this server's");
	end = p + len - WATCH_MAC_LEN;
	memcpy(token.nonce, ++p, WATCH_NONCE_LEN);
	p += WATCH_NONCE_LEN;
	memcpy(&expires, p, TIME_LEN);
	p += TIME_LEN;
	token.expires_ms = (int64_t)GUINT64_FROM_BE(expires);
	if ((token.pairing_id = read_text(&p, end)) && (token.phone_id = read_text(&p, end)) && (token.watch_udid = read_text(&p, end)) && p == end) {
		*ret = token;
		return true;
	}
	watch_token_clear(&token);
	return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN is none of this server's");
}

/* ---- the rules ---- */

const char *pairing_state(const struct pairing_facts *pairing, int64_t now_ms)
{
	if (pairing->used_ms)
		return "used";
	if (pairing->granted_ms)
		return now_ms < pairing->token_expires_ms ? "granted" : "expired";
	return now_ms < pairing->expires_ms ? "open" : "expired";
}

static bool check_phone(const struct checkin_message *m, enum watch_policy policy, const struct phone_facts *phone, GError **error)
{
	if (*m->who.user_part)
		return pom_fail(error, POM_ERR_WATCH_PHONE, "GetToken for a watch came on a user channel");
	if (!phone->known || phone->state != ENROLLMENT_ENROLLED)
		return pom_fail(error, POM_ERR_WATCH_PHONE, "the phone is not enrolled");
	if (strcmp(m->phone_udid, phone->udid) || strcmp(m->phone_udid, m->who.device_id))
		return pom_fail(error, POM_ERR_WATCH_PHONE, "TokenParameters.PhoneUDID %.128s is not the phone that asks (%.128s)", m->phone_udid, phone->udid);
	if (!phone->product_name || !g_str_has_prefix(phone->product_name, "iPhone"))
		return pom_fail(error, POM_ERR_WATCH_PHONE, "%.64s is no iPhone", phone->product_name ? phone->product_name : "a device that does not say its ProductName");
	if (policy == WATCH_ANY)
		return true;
	if (!phone->supervised)
		return pom_fail(error, POM_ERR_WATCH_SUPERVISION, "the phone has not said since it enrolled whether it is supervised (DeviceInformation, IsSupervised): it is asked now, and can then try again");
	if (!strcmp(phone->supervised, "true") || !strcmp(phone->supervised, "1"))
		return true;
	return pom_fail(error, POM_ERR_WATCH_PHONE, "the phone is not supervised (enroll.watch is \"supervised\")");
}

bool watch_decide_grant(const struct checkin_message *message, enum watch_policy policy, const struct phone_facts *phone, const struct pairing_facts *pairing, int64_t now_ms, GError **error)
{
	if (policy == WATCH_OFF)
		return pom_fail(error, POM_ERR_WATCH_OFF, "enroll.watch is off");
	if (!check_phone(message, policy, phone, error))
		return false;
	if (!pairing->known)
		return pom_fail(error, POM_ERR_WATCH_SECURITY, "TokenParameters.SecurityToken is none that a watch was told here");
	if (strcmp(pairing->udid, message->watch_udid))
		return pom_fail(error, POM_ERR_WATCH_SECURITY, "TokenParameters.SecurityToken was told to watch %.128s, not to %.128s", pairing->udid, message->watch_udid);
	if (pairing->granted_ms)
		return pom_fail(error, POM_ERR_WATCH_SECURITY, "TokenParameters.SecurityToken has been used");
	if (now_ms >= pairing->expires_ms)
		return pom_fail(error, POM_ERR_WATCH_SECURITY, "TokenParameters.SecurityToken has expired: the watch must ask again");
	return true;
}

bool watch_decide_use(const struct ota_attributes *watch, const uint8_t factory_spki_sha256[CERT_DIGEST_LEN], const struct watch_token *token, const uint8_t nonce_hash[CERT_DIGEST_LEN],
                      const struct pairing_facts *pairing, int64_t now_ms, GError **error)
{
	if (g_strcmp0(watch->udid, token->watch_udid))
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN was given for watch %.128s", token->watch_udid);
	if (!pairing->known || !pairing->nonce_hash)
		return pom_fail(error, POM_ERR_WATCH_MISSING, "PAIRING_TOKEN belongs to a pairing that is over");
	if (memcmp(pairing->factory_spki_sha256, factory_spki_sha256, CERT_DIGEST_LEN))
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "a watch says that it is %.128s, but it has another factory key than the one that asked", watch->udid);
	if (strcmp(pairing->udid, token->watch_udid) || g_strcmp0(pairing->phone_id, token->phone_id) || memcmp(pairing->nonce_hash, nonce_hash, CERT_DIGEST_LEN))
		return pom_fail(error, POM_ERR_WATCH_TOKEN, "PAIRING_TOKEN does not belong to its pairing");
	if (pairing->used_ms)
		return pom_fail(error, POM_ERR_WATCH_MISSING, "PAIRING_TOKEN has been used");
	if (now_ms >= token->expires_ms || now_ms >= pairing->token_expires_ms)
		return pom_fail(error, POM_ERR_WATCH_MISSING, "PAIRING_TOKEN has expired");
	return true;
}
