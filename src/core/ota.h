/* Over-the-air enrollment (Apple: "Over-the-Air Profile Delivery"), as rules.
 *
 * What must hold:
 *  - Which step a message is follows from who has issued its signer's certificate, and from nothing that the message says.
 *  - The first device that shows a link's challenge is the link's device, by its factory key and its identifiers. It may come again until it has enrolled; nobody else may.
 *  - A transport identity fetches the profile of its own link, for the device that it was given to, and does nothing else.
 *  - Apple's device CA is known by its key. Its certificate has ended, is signed with SHA-1 and has 1,024 bits: neither is judged, and a factory certificate's dates
 *    are not either, because it cannot be renewed. That a certificate chains to Apple's root says nothing: every developer's does. */
#pragma once

#include "codec/cert.h"
#include "codec/json.h"
#include "core/checkin.h"
#include "core/enroll.h"

enum {
	OTA_ATTRIBUTES_MAX = 64, OTA_IDENTITIES_MAX = 32, OTA_MESSAGE_MAX = 256 << 10,
	OTA_IDENTITY_DAYS = 1, /* life of a transport identity: it is for one enrollment */
};

/* ---- who made the factory identity ---- */
enum apple_key_role { APPLE_DEVICE_CA, APPLE_OTHER_CA };
/* A key of Apple's that is known by itself: issuers of factory identities, and those above them that must not be taken for one. */
struct apple_key {
	const char *name;
	enum apple_key_role role;
	const char *spki;                 /* SubjectPublicKeyInfo, DER, base64 */
	const char *spki_sha256;          /* of it, lower-case hex */
};
extern const struct apple_key apple_keys[];
extern const size_t n_apple_keys;
/* The row with this digest of a SubjectPublicKeyInfo; NULL: none. */
const struct apple_key *apple_key_find(const uint8_t spki_sha256[CERT_DIGEST_LEN]);
/* The row of KEYS (N of them; apple_keys but in tests) that is an issuer of factory identities and has signed LEAF; NULL: none. Only the signature is looked at. */
const struct apple_key *apple_key_issuer(const struct apple_key *keys, size_t n, X509 *leaf);
/* Whether LEAF can be a factory identity at all: no CA. POM_ERR_OTA_SIGNER. */
bool ota_check_leaf(const struct cert_info *leaf, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether an administrator may add CERT as an issuer of factory identities: a CA, RSA from 1,024 bits on or EC, none of Apple's own keys. POM_ERR_DEVICE_CA. */
bool device_ca_check(X509 *cert, const struct cert_info *info, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- what the device says of itself ---- */
/* Strings borrow from the tree; NULL when absent. */
struct ota_attributes { const char *udid, *serial, *product, *challenge; const void *pairing_token; size_t pairing_token_len; };
/* The signed property list of a device. UDID or SERIAL is there; texts have 1 to 255 bytes, the pairing token (PAIRING_TOKEN, watches) at most 1,024. POM_ERR_OTA_ATTRIBUTES with the key. */
bool ota_attributes_parse(const plist *tree, struct ota_attributes *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All that can be shown, as JSON: texts, numbers and yes or no, without the secrets (CHALLENGE, PAIRING_TOKEN). transfer full. */
char *ota_attributes_format(const plist *tree);
/* How a device is named in certificates and texts: its UDID, else its serial number. */
const char *ota_device_id(const struct ota_attributes *attributes);

/* The attributes that the setting names, separated by spaces: UDID and SERIAL in any case, each once. NULL-terminated, transfer full; POM_ERR_CONFIG. */
char **ota_wanted_parse(const char *setting, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The standard. */
#define OTA_WANTED_DEFAULT "PRODUCT VERSION OS_VERSION IMEI MEID LANGUAGE SUPPLEMENTAL_BUILD_VERSION SUPPLEMENTAL_OS_VERSION_EXTRA SOFTWARE_UPDATE_DEVICE_ID"

/* ---- the rules ---- */
struct ota_facts {
	bool bound;                /* the link has its device; the rest only then */
	const char *udid, *serial; /* what that said; NULL: it did not */
	const void *factory_spki_sha256; /* 32 bytes */
	int64_t version, n_identities, bound_ms;
};
/* The device's first answer, signed with its factory identity; CHALLENGE is what the link's Profile Service said. *RET_AGAIN: the link's device has come again.
 * POM_ERR_OTA_CHALLENGE, _BOUND, _LIMIT. */
bool ota_decide_identify(const struct ota_attributes *attributes, const char *challenge, const uint8_t factory_spki_sha256[CERT_DIGEST_LEN], const struct ota_facts *facts, bool *ret_again,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its second, signed with CERTIFICATE of a CA of ours. POM_ERR_OTA_PHASE, _BOUND, POM_ERR_CERT_*. NOW in Unix milliseconds. */
bool ota_decide_enroll(const struct ota_attributes *attributes, const char *link_id, const struct certificate_facts *certificate, const struct ota_facts *facts, int64_t now_ms,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- what is sent ---- */
struct ota_service { const char *link_id, *organization, *base_url, *url, *challenge; const char *const *wanted; };
/* The Profile Service document: one payload. transfer full. */
plist *ota_service_build(const struct ota_service *service);
