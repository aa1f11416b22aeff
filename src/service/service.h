/* The use cases: parse → load facts → decide → apply → format. Each call is one request of a device, a SCEP client or an
 * administrator, with plain inputs and outputs; HTTP is the server's. All calls block on the store; any thread.
 *
 * A refusal is a GError of the domain POM_ERROR: its row gives the HTTP status. Whoever calls logs it once, with the subject. */
#pragma once

#include <pthread.h>

#include "codec/json.h"
#include "keys/keys.h"
#include "store/store.h"

/* A certificate of ours with its key. */
struct authority {
	char *id;
	X509 *cert;
	GBytes *der;
	struct cert_info *info;
	struct signer *signer; /* NULL: the key is not here */
};
void authority_free(struct authority *authority);
typedef struct authority authority;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(authority, authority_free)

struct service_settings {
	char *url;                 /* public URL, no slash at the end */
	char *organization;
	bool enroll_unsigned, enroll_fingerprint, enroll_include_root;
	int64_t access_rights;
	int key_size;              /* asked of devices */
	struct scep_policy scep;
	int device_days;           /* life of an identity */
	int64_t link_ttl_s;
};

struct identity_cache;

struct service {
	struct store *store;
	const struct pom_clock *clock;
	const struct pom_random *random;
	struct seal seal;
	struct service_settings settings;
	struct authority *root, *issuing, *profile_signer;
	struct identity_cache *identities;
	pthread_mutex_t load_lock;  /* one loads topics at a time, so that an older list never replaces a newer one; taken before topics_lock */
	pthread_rwlock_t topics_lock;
	char **topics;             /* of our push certificates */
	void (*wake_push)(void *ctx); /* called after something was put into the outbox; may be NULL */
	void *wake_ctx;
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

/* ---- authorities ---- */
struct ca_options { const char *organization; unsigned root_bits, issuing_bits; };
/* Makes root, issuing CA and profile signer in an empty store. Blocks for seconds (keys). */
bool service_create_ca(struct store *store, const struct seal *seal, const struct ca_options *options, const struct pom_clock *clock,
                       const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The server's own TLS certificate for the host of the public URL: the stored one while it matches the host and has a third of its
 * life left, else a new one (stored). transfer full. */
struct authority *service_tls_authority(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- devices ---- */
struct device_proof { const char *mdm_signature; }; /* the header's value, NULL when absent */
struct device_reply { int status; GBytes *body; }; /* a plist, or NULL: empty */
void device_reply_clear(struct device_reply *reply);
/* A PUT with a check-in content type. */
bool service_checkin(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A PUT with any other: a command report. */
bool service_report(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Who signed BODY: the certificate's SHA-256, after its signature over BODY and its issuer have been verified. */
bool service_prove(struct service *service, const struct device_proof *proof, GBytes *body, uint8_t ret_sha256[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct identity_cache *identity_cache_new(void);
void identity_cache_free(struct identity_cache *cache);

/* ---- SCEP ---- */
GBytes *service_scep_caps(struct service *service); /* GetCACaps */
GBytes *service_scep_ca_cert(struct service *service); /* GetCACert: one DER certificate */
/* PKIOperation → CertRep (HTTP 200, also FAILURE). False only when no CertRep can be built. A FAILURE that was answered is set in
 * *RET_REFUSAL (transfer full) for the log. */
bool service_scep_operation(struct service *service, GBytes *message, struct subject *subject, GBytes **ret_reply, GError **ret_refusal, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- enrollment links ---- */
struct link_request { const char *user_name, *device_name; int64_t ttl_s; }; /* ttl 0: the setting */
struct link_made { char *id, *url, *profile_url; int64_t expires_ms; };
void link_made_clear(struct link_made *made);
bool service_link_new(struct service *service, const struct link_request *request, struct link_made *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The page with the install button, or the page of a refusal. HTML, transfer full; *RET_STATUS. */
GBytes *service_enroll_page(struct service *service, const char *token, struct subject *subject, int *ret_status, GError **ret_refusal);
GBytes *service_enroll_profile(struct service *service, const char *token, struct subject *subject, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- push certificates ---- */
/* Imports a certificate (with chain) and key from PEM or DER pieces; returns {topic, not_after, …} as JSON. POM_ERR_PUSH_CERT, POM_ERR_KEY_MISMATCH,
 * POM_ERR_PUSH_TOPIC_CHANGED. */
json_t *service_push_cert_import(struct service *service, GBytes *const *files, size_t n, const char *password, bool force, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_cert_list(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool service_load_topics(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- admin ---- JSON out, transfer full; NULL with ERROR. LIMIT is clamped to 1–1000; lists are {"items": […], "next": key or null}. */
json_t *service_device_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_device_show(struct service *service, const char *id, GError **error);
json_t *service_device_events(struct service *service, const char *id, const char *after, int64_t limit, GError **error);
json_t *service_device_push(struct service *service, const char *id, GError **error);
/* BODY is typed JSON {"RequestType": …} or, with IS_PLIST, a raw plist. */
json_t *service_command_send(struct service *service, const char *id, GBytes *body, bool is_plist, GError **error);
json_t *service_command_list(struct service *service, const char *id, bool done, const char *after, int64_t limit, GError **error);
json_t *service_command_show(struct service *service, const char *uuid, GError **error);
json_t *service_command_cancel(struct service *service, const char *uuid, GError **error);
json_t *service_link_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_link_revoke(struct service *service, const char *id, GError **error);
json_t *service_token_list(struct service *service, GError **error);
json_t *service_token_revoke(struct service *service, const char *id, GError **error);
/* Makes a token: *RET_SECRET is said this once. */
json_t *service_token_new(struct service *service, const char *name, GError **error);
/* The name of the live token whose secret this is, transfer full; NULL when there is none (ERROR unset) or on error. */
char *service_token_find(struct service *service, const char *secret, GError **error);
