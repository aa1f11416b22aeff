/* An enrollment profile as a device reads it. Any MDM server's: signed or not, the SCEP URL as it likes. */
#pragma once

#include "codec/plist.h"
#include "sim/sim_cert.h"

/* com.apple.security.scep */
struct sim_scep_settings {
	char *url;
	char *name;           /* NULL: none; sent as message= */
	char *challenge;      /* NULL: none */
	GBytes *fingerprint;  /* of the CA certificate, SHA-1 (20 bytes) or MD5 (16); NULL: not checked */
	int64_t key_bits, key_usage, n_retries, retry_delay_s;
	plist *subject;       /* array of RDNs, each an array of [name, value]; NULL: none */
	plist *alt_name;      /* SubjectAltName; NULL: none */
};

typedef struct sim_profile {
	plist *tree;
	char *signer;         /* subject of who signed it; NULL: unsigned */
	bool signer_trusted;
	char *identifier;
	/* com.apple.mdm */
	char *server_url, *checkin_url, *topic;
	bool sign_message, check_out_when_removed;
	/* The identity: com.apple.security.pkcs12, or else SCEP. */
	GBytes *pkcs12;       /* NULL: SCEP */
	char *pkcs12_password;
	struct sim_scep_settings scep;
	sim_certs *roots;     /* the self-signed certificates in it */
} sim_profile;

/* DATA (a property list, or one in CMS SignedData, DER or BER) → profile, transfer full. A signature must match its content; whether the
 * signer chains to TRUSTED (may be NULL) or to a root in the profile is only noted, as devices install "not verified" profiles too.
 * NULL with POM_ERR_PROFILE or an error of the property list. */
sim_profile *sim_profile_parse(const void *data, size_t len, sim_certs *trusted, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void sim_profile_free(sim_profile *profile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_profile, sim_profile_free)

/* The self-signed certificates among the payloads of a profile; transfer full. */
sim_certs *sim_profile_roots(const plist *tree);

/* The property list in DATA, out of its signature if there is one; transfer full. *RET_SIGNER (may be NULL) gets the signer's certificate or
 * NULL, transfer full. */
plist *sim_profile_unwrap(const void *data, size_t len, X509 **ret_signer, GError **error) G_GNUC_WARN_UNUSED_RESULT;
