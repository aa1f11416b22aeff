/* Tokens by which a Managed Apple Account is let into Apple's services on this device: a JSON Web Token (RFC 7519) signed (RFC 7515) with the key of the server token. */
#include <openssl/crypto.h>
#include <string.h>

#include "codec/base64.h"
#include "service/ca_internal.h"
#include "service/checkin.h"
#include "service/ota.h"

enum { KEY_BITS_MIN = 2048, UUID_MAX = 64 };

struct maid {
	struct signer *signer;
	char *server_uuid;
};

struct maid *maid_new(const void *key, size_t len, const char *server_uuid, GError **error)
{
	g_autoptr(signer) signer = NULL;
	struct maid *maid;

	if (!*server_uuid || strlen(server_uuid) > UUID_MAX || !g_str_is_ascii(server_uuid)) {
		pom_fail(error, POM_ERR_CONFIG, "checkin.maid_server_uuid must be the server_uuid of the server token, 1 to %d ASCII characters", UUID_MAX);
		return NULL;
	}
	signer = signer_parse_any(key, len, NULL, error);
	if (!signer)
		return NULL;
	if (EVP_PKEY_get_base_id(signer_get_key(signer)) != EVP_PKEY_RSA || EVP_PKEY_get_bits(signer_get_key(signer)) < KEY_BITS_MIN) {
		pom_fail(error, POM_ERR_CONFIG, "checkin.maid_key must be an RSA key of at least %d bits: the one that the server token was made with", KEY_BITS_MIN);
		return NULL;
	}
	maid = g_new0(struct maid, 1);
	maid->signer = g_steal_pointer(&signer);
	maid->server_uuid = g_strdup(server_uuid);
	return maid;
}

void maid_free(struct maid *maid)
{
	if (!maid)
		return;
	signer_unref(maid->signer);
	g_free(maid->server_uuid);
	g_free(maid);
}

static char *encode_json(json_t *object)
{
	g_autoptr(GBytes) text = json_format(object);

	json_decref(object);
	return base64_url_format(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

/* HEADER.CLAIMS.SIGNATURE, transfer full. */
static char *make_token(const struct maid *maid, const char *id, int64_t now_s, GError **error)
{
	g_autofree char *header = encode_json(json_pack("{s:s, s:s}", "alg", "RS256", "typ", "JWT"));
	g_autofree char *claims = encode_json(json_pack("{s:s, s:I, s:s, s:s}", "iss", maid->server_uuid, "iat", (json_int_t)now_s, "jti", id, "service_type", CHECKIN_SERVICE_MAID));
	g_autofree char *signed_part = g_strdup_printf("%s.%s", header, claims), *signature = NULL;
	g_autoptr(GBytes) bytes = signer_sign(maid->signer, NID_sha256, signed_part, strlen(signed_part), error);

	if (!bytes)
		return NULL;
	signature = base64_url_format(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	return g_strdup_printf("%s.%s", signed_part, signature);
}

bool service_maid_grant(struct service *service, const char *enrollment_id, GBytes **ret, GError **error)
{
	g_autofree char *id = service_random_uuid(service), *token = NULL;
	int64_t now_ms = service_now_ms(service);
	g_autoptr(plist) reply = plist_new_dict();

	token = make_token(service->settings.maid, id, now_ms / 1000, error);
	if (!token || !store_checkin_event(service->store, enrollment_id, "TokenGranted", CHECKIN_SERVICE_MAID, now_ms,
	                                   AUDIT("device", "token.grant", enrollment_id, audit_detail("service", CHECKIN_SERVICE_MAID, "token", id, NULL)), error))
		return false;
	plist_dict_set_data(reply, "TokenData", token, strlen(token));
	*ret = plist_format(reply, error);
	OPENSSL_cleanse(token, strlen(token));
	return *ret != NULL;
}
