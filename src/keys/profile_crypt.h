/* Configuration profiles encrypted to a device's identity (Apple: EncryptedPayloadContent): the PayloadContent array as a property list of
 * its own, in CMS EnvelopedData to the RSA key of the identity, in place of the array. */
#pragma once

#include "codec/mobileconfig.h"
#include "keys/keys.h"

/* The NID of a cipher by the name that people use: aes256, aes128, 3des; NID_undef (0) for any other, and for NULL. */
int profile_cipher_nid(const char *name);

/* A copy of PROFILE with its content encrypted to RECIPIENT; CIPHER is NID_aes_256_cbc, or what old devices read (NID_aes_128_cbc, NID_des_ede3_cbc). transfer full.
 * POM_ERR_PROFILE: there is no PayloadContent array, as in a profile that is encrypted already. POM_ERR_CMS_ALGORITHM: RECIPIENT has no RSA key. */
plist *profile_encrypt(const plist *profile, X509 *recipient, int cipher_nid, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A copy of PROFILE with its content in clear again, by an RSA key; CERT is the certificate of KEY, or NULL when there is one recipient only. transfer full.
 * POM_ERR_PROFILE_NOT_ENCRYPTED; POM_ERR_PROFILE: what is in it is no array of payloads; POM_ERR_CMS_*: the CMS message; POM_ERR_PROFILE_RECIPIENT: it is for
 * another key, and for whose; POM_ERR_KEY_MISMATCH: CERT is of another key. */
plist *profile_decrypt(const plist *profile, struct signer *key, X509 *cert, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether it is encrypted. */
bool profile_is_encrypted(const plist *profile);
