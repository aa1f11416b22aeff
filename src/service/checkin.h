/* The parts of the check-in protocol that have a file of their own. All of them are for senders who have been proved. */
#pragma once

#include "service/service.h"

/* ---- users ---- */

/* UserAuthenticate by CHECKIN_DO_CHALLENGE_USER or _NOTHING: a challenge of no length, which asks for no AuthToken; nothing (*RET NULL) for a second message. */
bool service_user_answer(struct service *service, const struct checkin_message *message, const char *enrollment_id, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- tokens for Managed Apple Accounts ---- */

struct maid;
/* KEY_FILE: the private key (RSA, PEM or DER, without a password) of the server token in Apple Business Manager; SERVER_UUID: that token's server. Both are copied. POM_ERR_CONFIG, POM_ERR_KEY*. */
struct maid *maid_new(const void *key, size_t len, const char *server_uuid, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void maid_free(struct maid *maid);
/* The reply to GetToken of CHECKIN_SERVICE_MAID: a JSON Web Token (RS256) as TokenData; transfer full. It is in the audit log. */
bool service_maid_grant(struct service *service, const char *enrollment_id, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- ReturnToService ---- */

/* The reply, by what is set for this device, else by the settings: {"ReturnToService": {"Enabled": false}} when nothing is. transfer full. POM_ERR_RETURN_TO_SERVICE: the device asks again. */
bool service_return_answer(struct service *service, const struct checkin_identity *who, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a device is answered: {"enabled", "wifi_profile", "mdm_profile", "bootstrap_token", "from": "settings" or "device"}. */
json_t *service_return_show(struct service *service, const char *id, GError **error);
struct return_wish { bool enabled, mdm_profile, bootstrap_token; const char *wifi_profile; };
/* Sets it for one device; WISH NULL: as the settings say again. POM_ERR_NOT_FOUND, also for a profile that the library does not have; POM_ERR_CONFLICT for a user. */
json_t *service_return_set(struct service *service, const char *actor, const char *id, const struct return_wish *wish, GError **error);

/* ---- devices of another server ---- */

struct first_use_settings;
/* CAS: array of X509, transfer full, all of them CAs (POM_ERR_CONFIG); certificates of these are taken up until UNTIL_MS. */
struct first_use_settings *first_use_settings_new(GPtrArray *cas, int64_t until_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void first_use_settings_free(struct first_use_settings *settings);
/* Whether CERT was taken up, or may be. *RET false without an error: it is of none of the CAs. POM_ERR_FIRST_USE_CLOSED. */
bool service_first_use_trusts(struct service *service, X509 *cert, const uint8_t sha256[32], bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The first message of a device whose certificate (DER) is not in the register; MESSAGE NULL: a command report. *RET_BOUND: it was taken up, and the facts are to be loaded again. */
bool service_first_use_bind(struct service *service, GBytes *der, const struct checkin_message *message, const struct checkin_identity *who, const struct checkin_facts *facts, bool *ret_bound,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Who has been taken up, with "until" and "open". */
json_t *service_first_use_list(struct service *service, const char *after, int64_t limit, GError **error);
