/* Push certificates from nothing to renewal: vendor, request, Apple's answer, import, what ends when.
 *
 * Keys are made here and stay here, sealed, unless a push certificate is exported. Every step is a row, so that the way can be interrupted
 * anywhere. JSON out, transfer full; NULL with ERROR. ACTOR stands in the audit log. All calls block; any thread. */
#pragma once

#include "core/push_cert.h"
#include "service/service.h"
#include "store/pushcert_store.h"

/* Files as people have them (codec/push_file.h), with the password of keys in them; NULL: none. */
struct push_files { GBytes *const *files; size_t n; const char *password; };

/* ---- push certificates ---- */
struct push_cert_import {
	struct push_files files;
	const char *apple_account; /* with which it was made at Apple's; NULL: as before */
	bool force;                /* also beside another topic that devices have */
	bool only_check;           /* nothing is stored */
};
/* Takes the push certificate of the files, with its key from there, from a request of ours or from the certificate that it renews. Every wrong file has its own error
 * (POM_ERR_PUSH_…, POM_ERR_KEY_MISMATCH). → the certificate as in service_push_cert_list. */
json_t *service_push_cert_import(struct service *service, const char *actor, const struct push_cert_import *import, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* {"items": [{topic, subject, issuer, serial, not_before, not_after, days_left, warn, apple_account, devices, default, version, imported}], "next": null} */
json_t *service_push_cert_list(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* {"ok", "errors", "warnings", "findings": [{severity, about, text}]}: what ends, what is missing, whose devices cannot be pushed. */
json_t *service_push_cert_check(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* New enrollments get TOPIC; POM_ERR_NOT_FOUND. */
json_t *service_push_cert_set_default(struct service *service, const char *actor, const char *topic, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_cert_set_account(struct service *service, const char *actor, const char *topic, const char *account, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* POM_ERR_PUSH_IN_USE while devices have its topic, unless FORCE. */
json_t *service_push_cert_remove(struct service *service, const char *actor, const char *topic, bool force, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* PKCS#12 with certificate, chain and key, for another server; TOPIC NULL: the only one. As pkcs12_make. Wiped when freed. */
GBytes *service_push_cert_export(struct service *service, const char *actor, const char *topic, const char *password, bool modern, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the topics again, as another process may have changed them. */
bool service_load_topics(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- vendors ---- */
/* A key and its request (RSA with 2,048 bits). The one that waits is given again unless FRESH. SUBJECT NULL: made of the organization. {id, subject, csr: PEM} */
json_t *service_push_vendor_csr(struct service *service, const char *actor, const char *subject, bool fresh, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes Apple's answer to it, or a vendor certificate with its key. Certificates of Apple's that come with it are kept. → the vendor */
json_t *service_push_vendor_import(struct service *service, const char *actor, const struct push_files *files, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_vendor_list(struct service *service, const char *after, int64_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Push certificates that were made with it are not touched. */
json_t *service_push_vendor_remove(struct service *service, const char *actor, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- Apple's certificates above vendors ---- */
/* Keeps the certificates of FILES, or with n 0 those at the configured addresses; each must lead to a pinned root. POM_ERR_PUSH_CHAIN, POM_ERR_PUSH_ROOT, POM_ERR_UNREACHABLE. */
json_t *service_push_chain_add(struct service *service, const char *actor, const struct push_files *files, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_chain_list(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- requests of push certificates ---- */
struct push_csr_wish { const char *subject, *renews_topic; bool fresh; };
/* As service_push_vendor_csr. RENEWS_TOPIC: which certificate it will renew; NULL: a new one. */
json_t *service_push_csr(struct service *service, const char *actor, const struct push_csr_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_request_list(struct service *service, const char *after, int64_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
json_t *service_push_request_remove(struct service *service, const char *actor, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct push_sign_wish {
	struct push_files vendor;  /* its certificate, which is imported first; n 0: one that is here */
	const char *vendor_id;     /* NULL: the only one */
	const char *request_id;    /* NULL: the only one that waits */
	struct push_files request; /* another's request; n 0: ours */
};
/* Signs for Apple's portal: {document: text to be uploaded, vendor, request, next}. POM_ERR_PUSH_NO_VENDOR, POM_ERR_PUSH_NO_REQUEST, POM_ERR_PUSH_CHAIN, POM_ERR_PUSH_ROOT. */
json_t *service_push_sign(struct service *service, const char *actor, const struct push_sign_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- those who sign for others ---- */
struct push_mdmcert_wish { const char *email, *api_key, *subject, *renews_topic; bool dont_send; };
/* Makes a request and asks mdmcert.download to sign it, or with DONT_SEND gives what would be sent. {id, sent, body} */
json_t *service_push_mdmcert(struct service *service, const char *actor, const struct push_mdmcert_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes a signed request document for one of our requests: the file that mdmcert.download has mailed, or the document itself from any vendor. */
json_t *service_push_document_take(struct service *service, const char *actor, const struct push_files *files, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the guided way ---- */
/* {way, steps: [{number, name, state, text, page, address, command}], output: {kind, file, text} or null, certificates} */
json_t *service_push_setup(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct push_setup_wish {
	const char *way;           /* NULL: as before */
	struct push_files files;   /* whatever came: it is told apart */
	const char *apple_account, *email, *api_key, *subject, *renews_topic;
	bool force;
};
/* Takes what is given, goes on as far as the server can by itself, and tells where that is. */
json_t *service_push_setup_go(struct service *service, const char *actor, const struct push_setup_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;
