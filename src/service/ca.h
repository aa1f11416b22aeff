/* The CAs of this server: their generations with keys, the SCEP profiles, and what administrators do with them.
 *
 * All of it is held in one immutable set, which is replaced as a whole when anything changes: a request takes a reference and sees one
 * state from beginning to end. */
#pragma once

#include "base/refs.h"
#include "core/ca.h"
#include "core/profile.h"
#include "keys/keys.h"
#include "store/store.h"

struct service;

/* A certificate of ours with its key. */
struct authority {
	char *id, *role;
	X509 *cert;
	GBytes *der;
	struct cert_info *info;
	struct signer *signer; /* NULL: the key is not here */
	char *key_uri;         /* the key is in a token; NULL: it is not */
	bool superseded;       /* renewed with the same key: requests that name it are still decrypted */
};
void authority_free(struct authority *authority);
typedef struct authority authority;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(authority, authority_free)

struct generation {
	char *id, *ca, *source;
	int64_t number, version, created_ms, activated_ms, retiring_ms, retired_ms;
	enum generation_state state;
	GPtrArray *authorities;            /* struct authority, owned */
	struct authority *root, *issuing;  /* borrowed from it; issuing NULL: waits for its certificate */
	struct authority *ra, *ocsp;       /* NULL: none */
	GPtrArray *chain;                  /* borrowed: between issuing and root, in that order */
	struct signer *key;                /* of a requested generation: the key that its CSR was made with */
};
/* Who decrypts requests and signs replies: the RA when there is one. */
const struct authority *generation_speaker(const struct generation *generation);

struct profile_entry { struct scep_profile *profile; char *static_challenge, *webhook_secret; uint8_t static_hash[32]; };
/* A CA of others that we ask. */
struct outside_ca {
	char *name, *url, *challenge, *ndes_url, *user, *password;
	bool legacy_des;
	char *fingerprint;          /* SHA-256 of its CA certificate, hex; NULL: not pinned */
	GPtrArray *certificates;    /* X509: issuing CA first, up to the root */
};

struct ca_set {
	struct pom_refs refs;
	int64_t version;            /* of SHARED_CA, that it was read at */
	GPtrArray *generations;     /* struct generation, by CA and number; retired ones without keys */
	struct authority *profile_signer;
	GHashTable *profiles;       /* name → struct profile_entry */
	GHashTable *outside;        /* name → struct outside_ca */
};
void ca_set_unref(struct ca_set *set);
typedef struct ca_set ca_set;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ca_set, ca_set_unref)

/* The present set, new reference. Any thread. */
struct ca_set *service_ca_set(struct service *service);
/* Reads the set from the store again and puts it in place. Keys that are open already stay so. Blocks. See also service/shared.h. */
bool service_ca_reload(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether a key in a PKCS#11 token is not open: reading again may open it. */
bool service_has_closed_token(struct service *service);

/* Within a set; borrowed, NULL when there is none. */
struct generation *ca_set_find(const struct ca_set *set, const char *id);
struct generation *ca_set_in_state(const struct ca_set *set, const char *ca, enum generation_state state);
struct profile_entry *ca_set_profile(const struct ca_set *set, const char *name);
struct outside_ca *ca_set_outside(const struct ca_set *set, const char *name);
/* The trusted generation whose issuing certificate (also a superseded one) has issued CERT; NULL. */
struct generation *ca_set_issuer_of(const struct ca_set *set, X509 *cert);
/* The outside CA that has issued CERT; NULL. */
const struct outside_ca *ca_set_outside_issuer_of(const struct ca_set *set, X509 *cert);
/* The roots that devices shall trust: of all trusted generations of the default CA, newest first; array of const struct authority. */
GPtrArray *ca_set_anchors(const struct ca_set *set);
/* The newest trusted generation of the default CA. */
int64_t ca_set_newest_anchor(const struct ca_set *set);

/* Making one's own. ---- */
struct ca_spec {
	const char *name;             /* of the CA: "default" */
	const char *organization;
	const char *common_name;      /* of the issuing CA; NULL: made of the name */
	const char *key_type;         /* "rsa" or "ec" */
	unsigned root_bits, issuing_bits;
	bool ra;                      /* an RSA RA stands beside (always with EC) */
	int root_days, issuing_days;  /* 0: the usual ones */
	const char *root_key_uri, *issuing_key_uri, *ra_key_uri; /* keys in a token; NULL: new keys of our own */
	const char *pin;
	const struct generation *keep_root; /* the new issuing CA under the root of this one */
};
/* Makes root, issuing CA, RA, OCSP responder and (for the default CA) profile signer in a store. Blocks for seconds (keys). */
bool ca_make_first(struct store *store, const struct seal *seal, const struct ca_spec *spec, const struct pom_clock *clock, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What administrators do. JSON out, transfer full; ACTOR stands in the audit log. */
json_t *service_ca_show(struct service *service, const char *name, GError **error);
json_t *service_ca_create(struct service *service, const char *actor, const struct ca_spec *spec, GError **error);
struct ca_import { const char *name; GBytes *const *files; size_t n; const char *password, *key_uri, *pin, *ra_key_uri; bool ra; };
json_t *service_ca_import(struct service *service, const char *actor, const struct ca_import *import, GError **error);
/* A key and its CSR for an outside CA; {"csr": PEM}. */
json_t *service_ca_csr(struct service *service, const char *actor, const struct ca_spec *spec, const char *subject, GError **error);
/* Takes back the request of a CA, with its key. POM_ERR_CONFLICT when none waits. → {ca, canceled: generation} */
json_t *service_ca_csr_cancel(struct service *service, const char *actor, const char *name, GError **error);
/* The certificate for it, with the chain up to the root. */
json_t *service_ca_install(struct service *service, const char *actor, const char *name, GBytes *chain, GError **error);
json_t *service_ca_renew(struct service *service, const char *actor, const char *name, int days, GError **error);
enum ca_rekey_step { CA_REKEY_START, CA_REKEY_ACTIVATE, CA_REKEY_FINISH };
json_t *service_ca_rekey(struct service *service, const char *actor, const struct ca_spec *spec, enum ca_rekey_step step, bool keep_root, bool force, GError **error);
/* The devices that a rekey waits for: {"identity": […], "anchor": […]} with at most LIMIT each. */
json_t *service_ca_devices(struct service *service, const char *name, int64_t limit, GError **error);
struct ca_issue { GBytes *csr; const char *profile, *subject, *const *sans; int days; bool may_enroll; };
json_t *service_ca_issue(struct service *service, const char *actor, const struct ca_issue *wish, GError **error);
json_t *service_certificate_list(struct service *service, const char *search, const char *device, const char *state, const char *after, int64_t limit, GError **error);
json_t *service_certificate_show(struct service *service, const char *serial, GError **error);
json_t *service_certificate_revoke(struct service *service, const char *actor, const char *serial, const char *reason, GError **error);
json_t *service_certificate_release(struct service *service, const char *actor, const char *serial, GError **error);
/* Every certificate that this server holds, with its end: [{"name", "kind", "subject", "not_after", "days_left", "warn"}]. */
json_t *service_held_list(struct service *service, GError **error);
/* Says in log and metrics what ends in 60, 30, 10 or 1 days, each step once, on whatever node: what was said is noted after it. Called by the janitor. */
bool service_warn_expiry(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* CRL and OCSP. ---- */
/* The CRL of a generation ("default-1"), made anew when it is due or something was revoked. DER, transfer full. POM_ERR_NOT_FOUND. */
GBytes *service_crl(struct service *service, const char *generation_id, int64_t *ret_number, int64_t *ret_next_update_ms, GError **error);
/* Makes those that are due or dirty. Called by the janitor. */
bool service_crl_refresh(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_crl_publish(struct service *service, const char *actor, GError **error);
/* The certificate of a generation's issuing CA ("default-1"), DER, transfer full. */
GBytes *service_ca_certificate(struct service *service, const char *generation_id, GError **error);
/* OCSP request → response (also an error response), DER, transfer full; NULL never. *RET_MAX_AGE seconds it may be kept, 0: not. */
GBytes *service_ocsp(struct service *service, GBytes *request, int64_t *ret_max_age, GError **ret_refusal);
/* Responder certificates and the profile signer, renewed when two thirds of their life are over. Called by the janitor. */
bool service_renew_own(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Challenges, profiles, requests. ---- */
struct challenge_wish { const char *subject, *const *sans, *profile, *device, *key_type; int64_t ttl_s, uses; bool may_enroll; };
json_t *service_challenge_new(struct service *service, const char *actor, const struct challenge_wish *wish, GError **error);
json_t *service_challenge_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_challenge_revoke(struct service *service, const char *actor, const char *id, GError **error);
/* Says aloud which profiles and outside CAs lower the guard. At each start. */
void service_warn_profiles(struct service *service);
json_t *service_profile_list(struct service *service, GError **error);
json_t *service_profile_show(struct service *service, const char *name, GError **error);
/* Changes what SETTINGS names (null: back to the standard); makes the profile when it is new. */
json_t *service_profile_set(struct service *service, const char *actor, const char *name, json_t *settings, GError **error);
json_t *service_profile_remove(struct service *service, const char *actor, const char *name, GError **error);
json_t *service_request_list(struct service *service, const char *state, const char *after, int64_t limit, GError **error);
json_t *service_request_decide(struct service *service, const char *actor, const char *id, bool approve, const char *reason, GError **error);
json_t *service_outside_list(struct service *service, GError **error);
json_t *service_outside_set(struct service *service, const char *actor, const char *name, json_t *settings, GError **error);
json_t *service_outside_remove(struct service *service, const char *actor, const char *name, GError **error);

/* The audit log. ---- */
/* Takes all that is pending into the chain. */
bool service_audit_seal(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_audit_list(struct service *service, const char *object, const char *action, const char *after, int64_t limit, GError **error);
/* The newest N (1 to 1000) entries, of ACTION or of its group unless that is NULL, oldest first, in one page; those of the last 20,000 at least. */
json_t *service_audit_last(struct service *service, const char *action, int64_t n, GError **error);
/* Computes the whole chain again. {"entries": N, "ok": true} or {"ok": false, "broken_at": seq, "why"}. */
json_t *service_audit_verify(struct service *service, GError **error);
/* One entry's detail as JSON text; pairs of key and value up to NULL, NULL values left out. transfer full. */
char *audit_detail(const char *key, ...) G_GNUC_NULL_TERMINATED;
