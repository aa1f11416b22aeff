/* Who signs what we serve to devices: our own profile-signing key, which is stable, or by setting the certificate of the TLS server. Everything that is signed goes
 * through service_profile_sign, so that devices see one signer. */
#pragma once

#include "keys/profile_signer.h"
#include "service/ca_internal.h"

/* The cipher (NID) to encrypt profiles to devices with, as the administrator wants it: AES-256-CBC, or what old devices read. */
int service_profile_cipher(const struct service *service);

/* PROFILE (a property list) as CMS SignedData with content, with the chain up to the root's issuer; transfer full. Errors of cms_make_signed. Any thread. */
GBytes *service_profile_sign(struct service *service, GBytes *profile, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Lets SIGNER (transfer full; NULL: our own key) sign from now on, and warns when it has another key than the one before, also over a restart. POM_ERR_PROFILE_SIGNER: it is
 * the identity of a device. On error nothing changes. At start, and when the TLS files are read again. Blocks on the store. */
bool service_profile_signer_set(struct service *service, struct profile_signer *signer, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The signer that was set, new reference; NULL: our own. Any thread. */
struct profile_signer *service_profile_signer(struct service *service);
/* Whether CERT may sign profiles for all that the register knows: POM_ERR_PROFILE_SIGNER for a certificate that we have given to a device. Blocks on the store. */
bool service_profile_signer_check(struct service *service, X509 *cert, GError **error) G_GNUC_WARN_UNUSED_RESULT;
