/* An enrollment profile as a device reads it. Any MDM server's: signed or not, the SCEP URL as it likes. */
#pragma once

#include "sim/sim_mobileconfig.h"

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

/* com.apple.security.pkcs12, or else SCEP */
struct sim_identity_payload {
	GBytes *pkcs12;       /* NULL: SCEP */
	char *pkcs12_password;
	struct sim_scep_settings scep;
};

typedef struct sim_profile {
	sim_mobileconfig *form;
	char *signer;         /* subject of who signed it; NULL: unsigned */
	bool signer_trusted;
	const char *identifier; /* of the form */
	/* com.apple.mdm */
	char *server_url, *checkin_url, *topic;
	bool sign_message, check_out_when_removed;
	bool can_get_token;   /* ServerCapabilities has com.apple.mdm.token */
	struct sim_identity_payload identity;
	sim_certs *roots;     /* the self-signed certificates in it */
} sim_profile;

/* BYTES as of sim_mobileconfig_parse, to be an enrollment profile. Whether the signer chains to TRUSTED (may be NULL) or to a root in the profile is only
 * noted, as devices install "not verified" profiles too. transfer full; NULL with POM_ERR_PROFILE, which names Apple's code where there is one, or POM_ERR_PLIST_KEY. */
sim_profile *sim_profile_parse(GBytes *bytes, sim_certs *trusted, const GPtrArray *identities, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void sim_profile_free(sim_profile *profile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_profile, sim_profile_free)

/* Whether the signer of CERTS (a signature's certificates, the signer first) chains to a certificate of TRUSTED or MORE (either may be NULL), or to the system's roots. */
bool sim_signer_trusted(const sim_certs *certs, const sim_certs *trusted, const sim_certs *more);

/* The self-signed certificates among the payloads of a profile; transfer full. */
sim_certs *sim_profile_roots(const plist *tree);
/* The certificate of a com.apple.security.root, .pkcs1 or .pem payload, transfer full; NULL: it is none of these, or what it holds is no certificate. */
X509 *sim_payload_certificate(const plist *payload);
/* Whether TYPE is one of these. */
bool sim_payload_is_certificate(const char *type);

/* A com.apple.security.pkcs12 or .scep payload. *RET is to be cleared in any case. POM_ERR_PLIST_KEY, POM_ERR_PROFILE. */
bool sim_identity_payload_parse(const plist *payload, struct sim_identity_payload *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void sim_identity_payload_clear(struct sim_identity_payload *payload);
typedef struct sim_identity_payload sim_identity_payload;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(sim_identity_payload, sim_identity_payload_clear)
/* The identity in a PKCS #12 payload, transfer full; NULL with MCCertificateErrorDomain 9000 or 9006. */
struct sim_identity *sim_identity_payload_open(const struct sim_identity_payload *payload, GError **error) G_GNUC_WARN_UNUSED_RESULT;
