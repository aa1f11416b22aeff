/* What the files about push certificates share. */
#pragma once

#include "codec/push_file.h"
#include "codec/push_request.h"
#include "service/ca_internal.h"
#include "service/push_cert.h"

enum { PUSH_ROWS_MAX = 1000, PUSH_KEY_BITS = 2048 };

/* All that the files hold. */
struct push_found {
	GPtrArray *certificates; /* X509 */
	GPtrArray *keys;         /* struct signer */
	GPtrArray *requests;     /* GBytes, DER */
	GPtrArray *documents;    /* GBytes, XML */
	GPtrArray *messages;     /* GBytes, CMS that is no list of certificates */
	bool has_page, has_other, is_locked; /* locked: a key needs a password that was not given */
};
/* POM_ERR_PUSH_FILE, POM_ERR_PUSH_KEY_PASSWORD. */
bool push_found_read(struct push_found *found, const struct push_files *files, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void push_found_clear(struct push_found *found);
typedef struct push_found push_found;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(push_found, push_found_clear)
/* Why there is no certificate in the files: what they are instead. False. */
bool push_found_fail(const struct push_found *found, GError **error);
/* The key of CERT among those of the files; borrowed, NULL when there is none. */
struct signer *push_found_key(const struct push_found *found, X509 *cert);
/* Why the key of CERT was not found, in the files or here. WHERE_MADE: a clause. False. */
bool push_found_fail_key(const struct push_found *found, const char *subject, const char *where_made, GError **error);

/* Names of a certificate, for the rules; borrow from CERT's info. */
struct push_subject { struct push_cert_names names; struct cert_info *info; char *uid, *cn, *issuer_cn; };
bool push_subject_init(struct push_subject *subject, X509 *cert, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void push_subject_clear(struct push_subject *subject);
typedef struct push_subject push_subject;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(push_subject, push_subject_clear)

/* {error: NULL} for returns. */
json_t *push_fail(GError **error, enum pom_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* A new key with its request; *RET_SEALED as "TABLE/ID/key". SUBJECT NULL: O and CN made of the organization and SUFFIX. */
bool push_make_request(struct service *service, const char *table, const char *id, const char *subject, const char *suffix, GBytes **ret_csr, GBytes **ret_sealed, char **ret_subject, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Opens a sealed key. transfer full. */
struct signer *push_open_key(struct service *service, const char *table, const char *id, const char *column, GBytes *sealed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* KEY sealed for its place; transfer full. */
GBytes *push_seal_key(struct service *service, const char *table, const char *id, const char *column, struct signer *key, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the request (DER, may be NULL) is for the key of SPKI. */
bool push_csr_has_key(GBytes *csr, GBytes *spki);

/* The certificates from VENDOR up to a pinned root, both included: array of X509, transfer full. Fetches what is missing when that is configured. */
GPtrArray *push_chain_build(struct service *service, const char *actor, X509 *vendor, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Keeps the CA certificates of CERTS that lead to a pinned root; the others are passed over. */
bool push_chain_keep(struct service *service, const char *actor, GPtrArray *certs, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Rows of a table, up to PUSH_ROWS_MAX. */
GArray *push_vendors(struct service *service, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GArray *push_requests(struct service *service, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool push_vendor_is_valid(const struct push_vendor_row *row, int64_t now_ms);
json_t *push_request_json(const struct push_request_row *row, bool with_texts);
/* Adds not_before, not_after, days_left and warn. */
void push_add_dates(json_t *object, int64_t not_before_ms, int64_t not_after_ms, int64_t now_ms);
