/* The use cases: parse → load facts → decide → apply → format. Each call is one request of a device, a SCEP client or an
 * administrator, with plain inputs and outputs; HTTP is the server's. All calls block on the store; any thread.
 *
 * A refusal is a GError of the domain POM_ERROR: its row gives the HTTP status. Whoever calls logs it once, with the subject. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "codec/json.h"
#include "keys/keys.h"
#include "service/ca.h"
#include "service/outbound.h"
#include "service/scep_limits.h"
#include "store/store.h"

struct maid;
struct first_use_settings;
/* What devices are answered that ask for ReturnToService, unless something else is set for one. */
struct return_settings { bool enabled, mdm_profile, bootstrap_token; char *wifi_profile; /* of the library; NULL: none */ };
struct service_settings {
	char *url;                 /* public URL, no slash at the end */
	char *organization;
	bool enroll_unsigned, enroll_fingerprint, enroll_include_root;
	int64_t access_rights;
	int key_size;              /* asked of devices */
	struct scep_profile *profile; /* the standard of all SCEP profiles; owned */
	int64_t link_ttl_s;
	int64_t expired_grace_s;   /* how long an expired identity may speak, only to be renewed */
	bool revoked_unenroll;     /* tell a device whose identity was revoked to un-enroll */
	bool own_tls;              /* our own CA makes the TLS certificate */
	char *ca_url;              /* base of CRL and OCSP addresses in issued certificates; NULL: none */
	char *identity_source;     /* of enrollments: "scep", "pkcs12", "scep-proxy", "scep-direct" */
	char *identity_outside;    /* name of the outside CA for the last two */
	bool pkcs12_modern;
	char **device_attributes;  /* asked of devices that enroll over the air, NULL-terminated; NULL: the standard */
	int watch_policy;          /* enum watch_policy */
	int64_t library_deliver_ms, library_answer_ms; /* how long a profile waits to be fetched, and answered; 0: the standard */
	int64_t command_expire_ms; /* how long a command waits when nobody says how long; 0: for ever */
	int64_t inventory_ms;      /* how often devices are asked what they are; 0: never */
	char **inventory_queries;  /* by which commands, NULL-terminated */
	int profile_cipher;        /* NID of the cipher of profiles encrypted to a device */
	char *contact;             /* whom people ask who enroll: text, mail address, telephone number or URL; NULL: nobody is named */
	bool enroll_ota;           /* the button of a link's page starts the over-the-air way */
	char *mdm_url;             /* base of ServerURL and CheckInURL in new profiles; NULL: url */
	bool unsigned_messages;    /* SignMessage is false in new profiles */
	bool ask_user;             /* UserAuthenticate is answered instead of declined */
	struct maid *maid;         /* of service/checkin.h; owned; NULL: no such tokens */
	struct first_use_settings *first_use; /* the same; NULL: off */
	struct return_settings return_to_service;
	char **push_chain_urls;    /* where Apple publishes the certificates above vendors, NULL-terminated; NULL: nothing is fetched */
	char *push_signing_url;    /* of mdmcert.download; NULL: nobody is asked */
	GPtrArray *push_roots;     /* X509: roots of vendors besides Apple's; NULL: none */
};
/* What a device that opens a link's page needs to trust the server's TLS certificate. */
enum tls_trust {
	TLS_TRUST_PUBLIC,  /* nothing */
	TLS_TRUST_ROOT,    /* a root that the page can offer: our own CA's, or the one that was set */
	TLS_TRUST_UNKNOWN, /* a root that only the administrator has */
};
void service_settings_clear(struct service_settings *settings);

struct identity_cache;
struct profile_signer;

struct service {
	struct store *store;
	const struct pom_clock *clock;
	const struct pom_random *random;
	struct seal seal;
	struct service_settings settings;
	pthread_rwlock_t ca_lock;   /* of the pointer alone: take a reference with service_ca_set */
	struct ca_set *ca;
	struct identity_cache *identities;
	struct scep_limits *limits;
	/* Where the janitor goes on: the certificates of a generation that retires, the devices that lack a root. NULL: at the beginning. */
	char *walked_certificates, *walked_enrollments;
	const struct outbound *outbound; /* NULL: nothing outside is asked */
	pthread_mutex_t load_lock;  /* one loads topics or CAs at a time, so that an older state never replaces a newer one; taken before the others */
	pthread_mutex_t signer_lock; /* of the pointer alone */
	struct profile_signer *profile_signer; /* who signs profiles instead of our own key: see service_profile_signer; NULL: nobody */
	pthread_mutex_t crl_lock;   /* one makes CRLs or seals the audit log at a time */
	pthread_rwlock_t topics_lock;
	char **topics;             /* of our push certificates */
	int64_t topics_version;    /* of SHARED_PUSH_CERTIFICATE (store/shared_store.h), that they were read at */
	_Atomic int64_t tls_version; /* of SHARED_TLS, that service_tls_authority has seen */
	void (*wake_push)(void *ctx); /* called after something was put into the outbox; may be NULL */
	void (*push_changed)(void *ctx); /* called, with wake_ctx, after a push certificate has changed, here or at another node; may be NULL */
	void *wake_ctx;
	void (*library_changed)(void *ctx); /* called when devices are to be looked at by service_library_work; may be NULL */
	void *library_changed_ctx;
	void (*reload_tls)(void *ctx); /* called after a rekey's end; may be NULL */
	void *reload_tls_ctx;
	void (*ca_changed)(void *ctx); /* called after administrators changed a CA: devices may need new roots or identities at once; may be NULL */
	void *ca_changed_ctx;
	struct timeline_hints *hints;
	pthread_mutex_t trust_lock; /* of these two */
	enum tls_trust tls_trust;
	GBytes *tls_root;          /* DER, for TLS_TRUST_ROOT of a file */
};

/* For whom a request was, for the log. */
struct subject {
	char enrollment[64]; /* enrollment id, or "" */
	char device[80];     /* device id as claimed, or "" */
	char detail[160];    /* command, transaction, link … */
};

/* Opens the service over an open store: loads authorities and topics. SETTINGS is taken over. POM_ERR_*. */
struct service *service_new(struct store *store, const struct seal *seal, struct service_settings settings, const struct pom_clock *clock,
                            const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void service_free(struct service *service);
int64_t service_now_ms(const struct service *service);
/* Hands INNER (transfer full) on as ERROR; a conflict that did not go away becomes POM_ERR_BUSY, so that a device comes again. False. */
bool service_fail_again(GError **error, GError *inner);

/* ---- TLS ---- */
/* The server's own TLS certificate for the host of the public URL: the stored one while it matches the host, has a third of its life left and is of the right
 * generation, else a new one (stored). The generation is the newest one whose root every live device has acknowledged. *RET_CHAIN: what goes between it
 * and the root, array of X509. transfer full. */
struct authority *service_tls_authority(struct service *service, GPtrArray **ret_chain, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What the page of a link shall say about trust. ROOT (DER, referenced): for TLS_TRUST_ROOT; NULL: the roots of our own CA, as they are when the page is opened. Any thread. */
void service_set_tls_trust(struct service *service, enum tls_trust trust, GBytes *root);
/* The certificates (DER) that a device shall trust for TLS: array of GBytes, transfer full; empty unless *RET_TRUST is TLS_TRUST_ROOT. Any thread. */
GPtrArray *service_trust_roots(struct service *service, enum tls_trust *ret_trust);
/* SHA-256 fingerprints of the roots that the page offers, "AB CD …", joined by ", ", for the administrator to tell people; NULL when it offers none. transfer full. */
char *service_trust_fingerprints(struct service *service);
/* Whether another generation should carry the TLS certificate than the one that CERT is of. */
bool service_tls_is_due(struct service *service, X509 *cert);

/* ---- devices ---- */
/* What a request proves of its sender; all may be absent (NULL). */
struct device_proof {
	const char *mdm_signature; /* the header's value; borrowed */
	GBytes *certificate;       /* owned: DER of a client certificate whose key a TLS handshake has proved: with us, or with a listed proxy that says so */
};
void device_proof_clear(struct device_proof *proof);
typedef struct device_proof device_proof;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(device_proof, device_proof_clear)
struct device_reply { int status; GBytes *body; const char *content_type; }; /* body NULL: empty; content_type (static) NULL: a plist */
void device_reply_clear(struct device_reply *reply);
/* A PUT with a check-in content type. */
bool service_checkin(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A PUT with any other: a command report. */
bool service_report(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The CAs that decide are those in memory: whoever has not looked before (service/shared.h) compares afterwards with the version that came with the certificate's facts. An unknown issuer is looked for in the store.
 * Who sent BODY (which may be empty, as of a GET): the certificate's SHA-256, after its issuer has been verified. Validity, revocation and binding are looked at with the store's
 * facts. A signature decides, over exactly BODY, and when it is wrong (POM_ERR_IDENTITY_SIGNATURE) no certificate stands in for it. A certificate beside a good one must be the same,
 * or be bound to the same epoch of the same enrollment (POM_ERR_IDENTITY_CONFLICT). Without a signature the certificate decides. Neither: POM_ERR_IDENTITY_MISSING. Blocks on the store. */
bool service_prove(struct service *service, const struct device_proof *proof, GBytes *body, uint8_t ret_sha256[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The certificate (DER) that service_prove has proved; transfer full. */
GBytes *service_proof_certificate(const struct device_proof *proof, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The generation of a CA with this id has just issued CERTIFICATE (DER) for KEY: its holder will speak with it next, and neither the issuer's signature nor the key has to be found out again. Nothing
 * happens when the generation is not trusted any more. */
void service_identity_issued(struct service *service, const char *generation_id, GBytes *certificate, EVP_PKEY *key);
struct identity_cache *identity_cache_new(void);
void identity_cache_free(struct identity_cache *cache);
/* Forgets all: when another set of CAs is trusted. */
void identity_cache_empty(struct identity_cache *cache);

/* ---- SCEP ---- */
/* PROFILE: name of the profile in the request's path. All answer POM_ERR_NOT_FOUND for a profile that does not exist. */
GBytes *service_scep_caps(struct service *service, const char *profile, GError **error); /* GetCACaps */
/* GetCACert in the profile's mode; *RET_TYPE the media type (static). */
GBytes *service_scep_ca_cert(struct service *service, const char *profile, const char **ret_type, GError **error);
/* GetNextCACert: signed by the present CA. POM_ERR_NOT_FOUND when no rekey is running. */
GBytes *service_scep_next_ca_cert(struct service *service, const char *profile, GError **error);
struct scep_call {
	const char *profile, *peer;
	GBytes *message;
	const char *link_id;  /* in the request's path; NULL: none. It comes from outside: the link need not exist. */
};
/* What came of a PKIOperation, for the log. */
struct scep_outcome {
	GBytes *reply;        /* CertRep, HTTP 200, also FAILURE and PENDING */
	GError *refusal;      /* a FAILURE that was answered; NULL: none */
	const char *what;     /* "issued", "sent again", "renewed", "pending", "certificate", "crl", "refused" */
	bool noted;           /* the timeline of the call's link has it already */
};
void scep_outcome_clear(struct scep_outcome *outcome);
/* False only when no CertRep can be built. Blocks on the store, the keys and (webhook, relay) the outside. */
bool service_scep_operation(struct service *service, const struct scep_call *call, struct subject *subject, struct scep_outcome *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- renewal of identities ---- */
/* Queues a renewal for identities past two thirds of their life or of a retiring generation, and new roots for devices that lack them; how many. Called by the janitor. */
bool service_renewal_scan(struct service *service, size_t *ret_n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Queues it now for one device. */
json_t *service_device_renew(struct service *service, const char *id, GError **error);

/* ---- enrollment links ---- */
struct link_request { const char *user_name, *user_email, *device_name; int64_t ttl_s; bool ota; }; /* ttl 0: the setting; ota: the page's button starts the over-the-air way, whatever the setting */
struct link_made { char *id, *url, *profile_url, *ota_url; int64_t expires_ms; };
void link_made_clear(struct link_made *made);
bool service_link_new(struct service *service, const struct link_request *request, struct link_made *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Links of the first schema do not say what they serve: it was what the settings say at the first start after it, so that is kept. At each start. */
bool service_keep_served(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How a link's page was asked for. OTA: its button shall start the over-the-air way, whatever the setting. */
struct page_request { const char *token, *user_agent; bool ota; };
/* The page with the button, or the page of a refusal (*RET_REFUSAL set). HTML, transfer full; *RET_STATUS. */
GBytes *service_enroll_page(struct service *service, const struct page_request *request, struct subject *subject, int *ret_status, GError **ret_refusal);
/* The page that says REFUSAL to a person. HTML, transfer full; *RET_STATUS. */
GBytes *service_enroll_refusal(struct service *service, const GError *refusal, int *ret_status);
/* The Content-Security-Policy of these pages; static. */
const char *service_enroll_policy(void);
/* A profile with nothing but the roots to trust, for the first step of the page. POM_ERR_LINK_*; POM_ERR_NOT_FOUND when there is none to offer. */
GBytes *service_enroll_trust(struct service *service, const char *token, struct subject *subject, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GBytes *service_enroll_profile(struct service *service, const char *token, struct subject *subject, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- admin ---- JSON out, transfer full; NULL with ERROR. LIMIT is clamped to 1–1000; lists are {"items": […], "next": key or null}. */
json_t *service_device_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_device_show(struct service *service, const char *id, GError **error);
json_t *service_device_events(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
json_t *service_device_push(struct service *service, const char *id, GError **error);
json_t *service_link_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_link_revoke(struct service *service, const char *id, GError **error);
json_t *service_token_list(struct service *service, GError **error);
json_t *service_token_revoke(struct service *service, const char *id, GError **error);
/* Makes a token, whose secret is said this once. SECRETS: who has it may read secrets in commands and answers. */
json_t *service_token_new(struct service *service, const char *name, bool secrets, const char *actor, GError **error);
/* The name of the live token whose secret this is, transfer full; NULL when there is none (ERROR unset) or on error. *RET_SECRETS (may be NULL) its right. */
char *service_token_find(struct service *service, const char *secret, bool *ret_secrets, GError **error);
