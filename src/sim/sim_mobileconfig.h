/* A configuration profile as a device takes it: out of its signature, decrypted with an identity of the device, its form checked as Apple's installer does.
 *
 * What is refused is refused with the error that a device reports: the GError's domain is the name of Apple's error domain, its code Apple's code. */
#pragma once

#include "codec/plist.h"
#include "sim/sim_cert.h"

typedef struct sim_mobileconfig {
	GBytes *bytes;         /* as it came */
	plist *tree;           /* PayloadContent in clear, also when it came encrypted */
	bool encrypted;
	sim_certs *certs;      /* of its signature, the signer first; empty: unsigned */
	GPtrArray *identities; /* of struct sim_identity: those that its payloads have brought, once somebody has got them */
} sim_mobileconfig;

/* BYTES (a property list, or one in CMS SignedData, DER or BER) → profile, transfer full. IDENTITIES (of struct sim_identity; may be NULL) are tried to
 * decrypt EncryptedPayloadContent. A signature must match its content; who has signed does not matter here. NULL with ERROR of MCProfileErrorDomain (1000 malformed, 1001
 * version, 1002 missing key, 1003 type, 1004 signature, 1006 cannot decrypt, 1007 and 1008 duplicates, 1010 value), MCPayloadErrorDomain (2001 to 2003) or MCMDMErrorDomain
 * (12001 two MDM payloads). Pure. */
sim_mobileconfig *sim_mobileconfig_parse(GBytes *bytes, const GPtrArray *identities, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void sim_mobileconfig_free(sim_mobileconfig *profile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_mobileconfig, sim_mobileconfig_free)

/* What a profile is called; borrowed. */
const char *sim_mobileconfig_identifier(const sim_mobileconfig *profile);
/* The first payload of TYPE; borrowed; NULL: none. */
const plist *sim_mobileconfig_payload(const sim_mobileconfig *profile, const char *type);

/* The property list in BYTES, out of its signature if there is one; transfer full. *RET_CERTS (may be NULL) gets the signature's certificates, the signer
 * first, empty when there is none; transfer full. MCProfileErrorDomain 1000, 1004. */
plist *sim_mobileconfig_unwrap(GBytes *bytes, sim_certs **ret_certs, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Sets ERROR to Apple's DOMAIN and CODE; false. */
bool sim_refuse(GError **error, const char *domain, int code, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* Makes an error of Apple's one of ours, POM_ERR_PROFILE, whose text begins with domain and code. Others stay as they are. */
void sim_refusal_translate(GError **error);
