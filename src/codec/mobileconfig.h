/* Configuration profiles (.mobileconfig) as trees: the common keys, and the check of what Apple's installer demands of form. */
#pragma once

#include "codec/cms.h"
#include "codec/plist.h"

/* The common keys of a profile or payload. All strings borrowed for the call; NULL leaves an optional key out. */
struct mobileconfig_head {
	const char *type;         /* PayloadType, required */
	const char *identifier;   /* PayloadIdentifier, required */
	const char *uuid;         /* PayloadUUID, required */
	const char *display_name, *description, *organization;
};

/* A dictionary with the common keys and PayloadVersion 1, transfer full. */
plist *mobileconfig_new(const struct mobileconfig_head *head);
/* Appends PAYLOAD (transfer full) to the PayloadContent array of PROFILE, making it if need be. */
void mobileconfig_add(plist *profile, plist *payload);

/* Checks a parsed profile: PayloadType Configuration, the four common keys with their types in the profile and in each
 * payload, PayloadContent an array (or EncryptedPayloadContent data), UUIDs and identifiers unique, at most one
 * com.apple.mdm payload, whose IdentityCertificateUUID names a pkcs12, scep or acme payload of this profile; PKCS#12
 * PayloadContent is data. POM_ERR_PROFILE with the key path. */
bool mobileconfig_check(const plist *profile, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether the bytes are those of a signed profile, rather than of a property list. */
bool mobileconfig_is_signed(const void *data, size_t len);
/* What is in a .mobileconfig, at most 32 MiB: the content of a signed one, after its signature has been verified with the signer's certificate that is in it, or all of a plain one;
 * transfer full. *RET_MESSAGE (may be NULL) the signed message, transfer full; untouched for a plain one. POM_ERR_PROFILE_NO_CERTIFICATE, POM_ERR_PROFILE (detached), POM_ERR_CMS_*. */
GBytes *mobileconfig_open(const void *data, size_t len, struct cms_signed **ret_message, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Bytes of a .mobileconfig, signed (CMS, signature verified against its embedded signer; RET_SIGNED set) or plain → checked
 * tree, transfer full. */
plist *mobileconfig_parse(const void *data, size_t len, bool *ret_signed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
