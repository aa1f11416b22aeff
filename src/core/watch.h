/* Apple Watch enrollment, as rules: who may get a pairing token, what it is made of, and who may use it.
 *
 * A watch asks, and is told a security token. Its phone, which is managed already, says that to its own server and gets a pairing token for it. The watch shows the pairing
 * token and gets its profile. Each token is good once and for minutes. */
#pragma once

#include "core/ota.h"

enum { WATCH_NONCE_LEN = 16, WATCH_MAC_LEN = 32, WATCH_TOKEN_MAX = 1024, WATCH_TTL_MS = 10 * 60 * 1000 };

enum watch_policy { WATCH_SUPERVISED, WATCH_ANY, WATCH_OFF, WATCH_POLICY_MAX };
/* The word of the setting → policy, WATCH_POLICY_MAX for any other; and back. */
enum watch_policy watch_policy_find(const char *name);

/* What the pairing token says: version 1, 16 bytes of nonce, 8 of the time at which it ends (Unix milliseconds, big-endian), then pairing, phone and watch, each behind one byte
 * of its length, and last 32 bytes of HMAC-SHA256 over all before. Whoever makes or reads it has the key: the MAC is not looked at here. */
struct watch_token { uint8_t nonce[WATCH_NONCE_LEN]; int64_t expires_ms; char *pairing_id, *phone_id, *watch_udid; };
void watch_token_clear(struct watch_token *token);
/* Without the MAC, which is to be appended; transfer full. The three texts have 1 to 255 bytes. */
GBytes *watch_token_format(const struct watch_token *token);
/* DATA with its MAC at the end → what it says, transfer full into RET. POM_ERR_WATCH_TOKEN. */
bool watch_token_parse(const void *data, size_t len, struct watch_token *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct pairing_facts {
	bool known;
	const char *id, *udid, *serial, *product; /* of the watch */
	const void *factory_spki_sha256, *nonce_hash; /* 32 bytes each; nonce_hash NULL: not granted */
	const char *phone_id, *link_id;
	int64_t created_ms, expires_ms, granted_ms, token_expires_ms, used_ms;
};
const char *pairing_state(const struct pairing_facts *pairing, int64_t now_ms);

struct phone_facts {
	bool known;
	const char *id, *udid, *product_name, *owner, *supervised; /* supervised: the fact's text; NULL: the phone has not said it since it enrolled */
	int64_t state;
};
/* What the phone asked for (GetToken) against what is known. POM_ERR_WATCH_*; _SUPERVISION: the phone is to be asked first. */
bool watch_decide_grant(const struct checkin_message *message, enum watch_policy policy, const struct phone_facts *phone, const struct pairing_facts *pairing, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The watch shows TOKEN, whose MAC is right; its factory key is FACTORY_SPKI_SHA256, NONCE_HASH the SHA-256 of the token's nonce. POM_ERR_WATCH_MISSING: the right watch with a token that has ended or was used; it may
 * begin again. POM_ERR_WATCH_TOKEN: another's. */
bool watch_decide_use(const struct ota_attributes *watch, const uint8_t factory_spki_sha256[CERT_DIGEST_LEN], const struct watch_token *token, const uint8_t nonce_hash[CERT_DIGEST_LEN],
                      const struct pairing_facts *pairing, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
