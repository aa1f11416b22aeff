/* Who signs profiles: a certificate with its key and the chain that devices need, after what must not sign profiles has been turned away.
 *
 * Devices remember who signed an installed profile, and may refuse an update that somebody else has signed (MCInstallationErrorDomain 4008). So the
 * signer should be stable, and must not be a certificate that is renewed with a new key for reasons of its own. */
#pragma once

#include "base/refs.h"
#include "keys/keys.h"

enum { PROFILE_CHAIN_MAX = 8 }; /* as many certificates as our own reader takes */

/* Immutable but for its count; any thread. */
struct profile_signer {
	struct pom_refs refs;
	struct signer *key;
	X509 *cert;
	struct cert_info *info;
	GPtrArray *chain; /* DER (GBytes): CERT first, then what issued it, without the root */
	char *missing;    /* the issuer (RFC 2253) that was not found, unless the chain is complete: then NULL */
};
typedef struct profile_signer profile_signer;
struct profile_signer *profile_signer_ref(struct profile_signer *signer);
void profile_signer_unref(struct profile_signer *signer); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(profile_signer, profile_signer_unref)

/* What a certificate is for, where that keeps it from signing profiles. */
enum profile_signer_kind { PROFILE_SIGNER_FIT, PROFILE_SIGNER_PUSH, PROFILE_SIGNER_VENDOR, PROFILE_SIGNER_DEVELOPER, PROFILE_SIGNER_CA, PROFILE_SIGNER_IDENTITY, PROFILE_SIGNER_USAGE, PROFILE_SIGNER_KIND_MAX };
/* The kind of CERT, whose facts INFO has. Pure. */
enum profile_signer_kind profile_signer_kind(const X509 *cert, const struct cert_info *info);
/* Whether the key is one that devices verify: RSA of at least 2048 bits or a curve of 256 bits or more. */
bool profile_signer_is_strong(const struct cert_info *info);

/* Whether CERT may sign profiles at AT_S (Unix seconds): not a push certificate, an MDM vendor's, another developer certificate of Apple's, a CA, or the identity of
 * a device or client; keyUsage, if there, has digitalSignature; valid; RSA of at least 2048 bits or a curve of 256 to 521 bits. POM_ERR_PROFILE_SIGNER says
 * which of them, and what to take instead. Pure. */
bool profile_signer_check(X509 *cert, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The certificate among CERTS (X509, any order, one file's) that belongs to KEY, checked as above, with those of its issuers that are there; ROOTS (X509, may be
 * NULL): where the chain may end besides. transfer full. POM_ERR_KEY_MISMATCH: KEY is of none of them; POM_ERR_PROFILE_SIGNER. */
struct profile_signer *profile_signer_new(GPtrArray *certs, struct signer *key, GPtrArray *roots, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same from files as people have them: CERT_FILE and KEY_FILE are PEM, DER or PKCS#12; KEY_FILE may be the same. PASSWORD may be NULL. */
struct profile_signer *profile_signer_load(GBytes *cert_file, GBytes *key_file, const char *password, GPtrArray *roots, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* PROFILE as CMS SignedData with content, SHA-256 and the chain; transfer full. Errors of cms_make_signed. Blocks as the key does. */
GBytes *profile_signer_sign(const struct profile_signer *signer, GBytes *profile, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A private key from a file as people have it, PEM, DER or PKCS#12; *RET_CERTS (X509; NULL: not wanted) is what came with it, or NULL. transfer full.
 * POM_ERR_PASSWORD, POM_ERR_KEY. */
struct signer *profile_key_load(GBytes *file, const char *password, GPtrArray **ret_certs, GError **error) G_GNUC_WARN_UNUSED_RESULT;
