/* What the files about CAs share. */
#pragma once

#include "service/answer.h"
#include "service/service.h"

#define CA_DEFAULT "default"
#define PROFILE_DEFAULT "default"

/* Opens a stored authority with its key; BEFORE (may be NULL): the set in which it may be open already. A token that does not answer leaves signer NULL. */
struct authority *authority_load(const struct authority_row *row, const struct seal *seal, const struct ca_set *before, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Certificates of our own in the making: rows with what they borrow from, to be stored at once. */
struct own_made {
	GArray *rows;         /* struct authority_row */
	GPtrArray *strings;   /* owned texts */
	GPtrArray *made;      /* struct authority, in the order of rows */
};
void own_made_init(struct own_made *made);
void own_made_clear(struct own_made *made);
struct own_plan {
	enum cert_purpose purpose;
	const char *role, *generation_id, *organization, *common_name;
	int days;
	const struct authority *issuer;  /* NULL: self-signed */
	const char *key_uri, *pin;       /* key in a token */
	const char *const *dns_names, *const *ip_addresses;
	bool no_encipherment;
};
/* Makes the certificate for KEY; borrowed from MADE. NULL with ERROR. */
struct authority *own_make(struct own_made *made, const struct own_plan *plan, struct signer *key, const struct seal *seal, const struct pom_clock *clock, GError **error);
/* The same subject, key and extensions again, with new dates: renewal. */
struct authority *own_renew(struct own_made *made, const struct authority *old, const struct own_plan *plan, const struct seal *seal, const struct pom_clock *clock, GError **error);
/* A CA certificate that signs itself and is issuing CA and root in one, as it was imported: the same again with new dates, as PLAN's role (with the key) and as root. */
struct authority *own_renew_single(struct own_made *made, const struct authority *old, const struct own_plan *plan, const struct seal *seal, const struct pom_clock *clock, GError **error);

/* The first of ROLE; borrowed, NULL when there is none. */
const struct authority *own_made_find(const struct own_made *made, const char *role);
/* Root (unless spec->keep_root), issuing CA, OCSP responder, and an RA where it is asked for or needed. */
bool ca_make_generation(struct own_made *made, const struct ca_spec *spec, const char *generation_id, int64_t number, const struct seal *seal, const struct pom_clock *clock, GError **error);
bool ca_make_signer(struct own_made *made, const char *organization, const char *generation_id, const struct authority *issuing, const struct seal *seal, const struct pom_clock *clock, GError **error);
/* A CA from files: PEM, DER, PKCS#12; or with its key in a token. POM_ERR_CA, POM_ERR_PASSWORD, POM_ERR_KEY_MISMATCH with the reason. */
bool ca_make_import(struct own_made *made, const struct ca_import *import, const char *organization, const char *generation_id, const struct seal *seal, const struct pom_clock *clock, GError **error);
/* A key and the request for its certificate (DER, transfer full). */
bool ca_make_request(struct own_made *made, const struct ca_spec *spec, const char *subject, const char *generation_id, const struct seal *seal, const struct pom_clock *clock, GBytes **ret_csr, GError **error);
/* The certificate that came for it, with its chain. */
bool ca_make_installed(struct own_made *made, GPtrArray *certs, struct signer *key, const char *key_uri, const char *pin, bool ra, const char *ca, const char *organization, const char *generation_id,
                       const struct seal *seal, const struct pom_clock *clock, GError **error);

/* A request (DER) as "-----BEGIN CERTIFICATE REQUEST-----…"; transfer full. */
char *service_csr_pem(GBytes *csr);

/* One entry for the audit log. */
#define AUDIT(actor_, action_, object_, ...) &(struct audit_entry){.actor = (actor_), .action = (action_), .object = (object_), .detail = __VA_ARGS__}

/* Issuing: see scep.c's callers. Everything in a certificate is from RECORD and PROFILE. */
struct issue_plan {
	const struct generation *generation;
	const struct scep_profile *profile;
	const struct scep_record *record;
	GBytes *spki;
	const uint8_t *spki_sha256;
	EVP_PKEY *key;          /* the same, decoded; NULL: it was not */
	const struct link_step *step; /* written with the certificate; NULL: none */
	const char *link_id, *challenge_id, *transaction_id, *for_enrollment_id, *renews_serial, *device_id, *ota_link_id, *actor, *action, *peer;
	int64_t for_epoch;
	int days;               /* 0: the profile's */
	bool may_enroll;
	struct certificate_right right;
};
/* Row first, then the signature, then the certificate: a certificate without a row cannot exist. DER, transfer full. POM_ERR_STORE_CONFLICT: the right to it was
 * taken at the same time. */
GBytes *service_issue(struct service *service, const struct issue_plan *plan, char **ret_serial, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Registers a certificate that an outside CA gave a device of ours, found by the common name that we asked it to have; one that is registered already is fine.
 * POM_ERR_CERT_UNTRUSTED when nobody was to have it. */
bool service_adopt(struct service *service, const struct outside_ca *outside, X509 *cert, GBytes *der, const uint8_t sha256[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The register's serial number for a certificate of an outside CA: "NAME:SERIAL". transfer full. */
char *service_outside_serial(const char *outside, const struct cert_info *info);

