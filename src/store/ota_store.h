/* Over-the-air enrollment, device CAs and watches: operations of the store, as in store.h. */
#pragma once

#include "core/ota.h"
#include "core/watch.h"
#include "store/store.h"

/* ---- the Profile Service of a link ---- */
/* What is known of a link's over-the-air enrollment, and of the certificate with this SHA-256 (NULL: none is asked for). */
struct ota_load { struct ota_facts facts; struct certificate_facts certificate; store_load *load; };
bool store_ota_load(struct store *store, const char *link_id, const uint8_t cert_sha256[32], struct ota_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void ota_load_clear(struct ota_load *load);

/* The challenge of a transport identity. */
struct ota_challenge { const char *id, *common_name, *profile; uint8_t secret_hash[32]; int64_t max_keys, expires_ms; };
struct ota_identified {
	const char *link_id;
	const struct ota_attributes *attributes;
	const char *attributes_json, *factory_ca;
	const uint8_t *factory_spki_sha256;      /* 32 bytes */
	const struct ota_challenge *challenge;   /* NULL: the identity is made here */
	const struct audit_entry *audit;         /* of the binding; NULL with AGAIN */
	const char *event;                       /* detail of the timeline's line */
	int64_t now_ms;
};
/* Binds the link to its device (and with it the MDM identity), or with VERSION above 0 notes that the device has come again. Earlier challenges of transport
 * identities close. POM_ERR_STORE_CONFLICT: another device was first, or the link has ended. */
bool store_ota_identify(struct store *store, const struct ota_identified *identified, int64_t version, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The final profile went out. */
bool store_ota_served(struct store *store, const char *link_id, const char *event, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A link with all that an administrator may see of it. */
struct link_whole { struct link_row link; const char *device_id, *factory_ca, *attributes, *user_email; struct ota_facts ota; int64_t answered_ms, served_ms; };
/* POM_ERR_NOT_FOUND. */
bool store_link_get(struct store *store, const char *id, struct link_whole *ret, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device CAs ---- */
struct device_ca_row { const char *id, *name; const void *der; size_t der_len; const void *spki_sha256; int64_t not_after_ms, created_ms; };
/* In order of id, after AFTER ("" for the first). */
GArray *store_device_ca_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_device_ca_count(struct store *store, int64_t *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_STORE_CONFLICT when one with this key is there. */
bool store_device_ca_add(struct store *store, const struct device_ca_row *row, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_device_ca_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- watches ---- */
enum { WATCH_OPEN_MAX = 4, WATCH_PURGE_AT_ONCE = 500 };
/* A watch asked: the hash of the security token that it was told. Of a watch's open ones the newest WATCH_OPEN_MAX stay. */
bool store_pairing_add(struct store *store, const char *id, const uint8_t security_hash[32], const struct ota_attributes *watch, const uint8_t factory_spki_sha256[32], int64_t now_ms, int64_t expires_ms,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct pairing_load { struct pairing_facts facts; store_load *load; };
void pairing_load_clear(struct pairing_load *load);
/* By the hash of a security token, or by id; facts.known false: none. */
bool store_pairing_by_security(struct store *store, const uint8_t security_hash[32], struct pairing_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_pairing_get(struct store *store, const char *id, struct pairing_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *store_pairing_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct phone_load { struct phone_facts facts; store_load *load; };
void phone_load_clear(struct phone_load *load);
bool store_pairing_phone(struct store *store, const char *enrollment_id, struct phone_load *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The phone got a token. POM_ERR_STORE_CONFLICT: another was faster, or the time is up. */
bool store_pairing_grant(struct store *store, const struct pairing_facts *pairing, const char *phone_id, const uint8_t nonce_hash[32], int64_t now_ms, int64_t expires_ms, const struct audit_entry *audit,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The watch has shown it: its link, in the same transaction. POM_ERR_STORE_CONFLICT: it was used at the same time. */
bool store_pairing_use(struct store *store, const struct pairing_facts *pairing, const uint8_t nonce_hash[32], const struct link_new *link, int64_t now_ms, const struct audit_entry *audit,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes those whose time was up before BEFORE_MS, a bounded number at a time. */
bool store_pairing_purge(struct store *store, int64_t before_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
