/* Signing of profiles. */
#pragma once

#include "service/ca_internal.h"

/* The cipher (NID) to encrypt profiles to devices with, as the administrator wants it: AES-256-CBC, or what old devices read. */
int service_profile_cipher(const struct service *service);
/* PROFILE (a property list) as CMS SignedData with content, by the profile-signing key, with the chain up to the root's issuer; transfer full. */
GBytes *service_profile_sign(struct service *service, GBytes *profile, GError **error) G_GNUC_WARN_UNUSED_RESULT;
