/* The life of push certificates: vendors, requests, Apple's certificates above them. Operations of the store, as in store.h. */
#pragma once

#include "store/store.h"

/* ---- push certificates ---- */
/* One with who renews it; the other columns are those of push_certificate_row. */
struct pushcert_row { struct push_certificate_row certificate; const char *apple_account; /* NULL: nobody said */ };
/* All, the newest first. Array of struct pushcert_row (element clear function set), borrowed from *RET_LOAD; transfer full both. */
GArray *store_pushcert_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What changes with an import. */
struct pushcert_import {
	struct pushcert_row row;       /* imported_ms is now; version does not matter */
	const char *request_id;        /* of ours that ends with it; NULL: none */
	const char *default_topic;     /* becomes the topic of new enrollments; NULL: stays */
	const struct audit_entry *audit;
};
/* Adds, or replaces the one of the same topic, whose account stays when none is given. */
bool store_pushcert_put(struct store *store, const struct pushcert_import *import, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* *RET_FOUND false: there is none of this topic. */
bool store_pushcert_account(struct store *store, const char *topic, const char *account, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_pushcert_remove(struct store *store, const char *topic, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The topic that new enrollments get; *RET NULL: none was chosen. transfer full. */
bool store_pushcert_default(struct store *store, char **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_pushcert_set_default(struct store *store, const char *topic, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many enrolled devices have each topic: array of struct topic_count, by topic. */
struct topic_count { const char *topic; int64_t n; };
GArray *store_pushcert_devices(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- vendors ---- */
struct push_vendor_row {
	const char *id, *subject;
	GBytes *csr;          /* DER; NULL: the key was made elsewhere */
	GBytes *certificate;  /* DER; NULL: Apple has not answered yet */
	GBytes *key_sealed;   /* "push_vendor/<id>/key" */
	int64_t not_before_ms, not_after_ms, created_ms;
};
/* In order of id, after AFTER ("" for the first), at most LIMIT. */
GArray *store_push_vendor_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_push_vendor_add(struct store *store, const struct push_vendor_row *row, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The certificate came (or a renewed one for the same key): id, subject, certificate and dates of ROW. */
bool store_push_vendor_certify(struct store *store, const struct push_vendor_row *row, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_push_vendor_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- requests that wait for their push certificate ---- */
struct push_request_row {
	const char *id, *subject;
	GBytes *csr;                 /* DER */
	GBytes *key_sealed;          /* "push_request/<id>/key" */
	const char *renews_topic;    /* NULL: a new one */
	const char *signed_by;       /* subject of the vendor; NULL: not signed yet */
	GBytes *document;            /* as Apple's portal takes it; NULL: not signed yet */
	GBytes *encrypt_certificate; /* DER; NULL: no signing service was asked */
	GBytes *encrypt_key_sealed;  /* "push_request/<id>/encrypt_key" */
	int64_t created_ms, signed_ms;
};
GArray *store_push_request_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_push_request_add(struct store *store, const struct push_request_row *row, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_STORE_CONFLICT: it is gone. */
bool store_push_request_sign(struct store *store, const char *id, const char *signed_by, GBytes *document, int64_t now_ms, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_push_request_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- Apple's certificates above vendors ---- */
struct push_chain_row { const char *sha256; GBytes *certificate; int64_t created_ms; };
/* All, oldest first. */
GArray *store_push_chain_list(struct store *store, store_load **ret_load, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Those that are there already stay. */
bool store_push_chain_add(struct store *store, const struct push_chain_row *rows, size_t n, const struct audit_entry *audit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
