/* What the files of declarative management share: ddm.c (devices), ddm_plan.c (lists and who is told), ddm_file.c (data and profiles), declaration.c and set.c (administrators). */
#pragma once

#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/ddm.h"
#include "store/ddm_store.h"

/* Identifiers that begin so are this server's own. */
#define DDM_OWN_PREFIX "pomona."
#define DDM_OWN_ACTIVATION DDM_OWN_PREFIX "activation"
#define DDM_OWN_SUBSCRIPTION DDM_OWN_PREFIX "subscription"

/* Status items that the inventory wants of a device, with spaces between: as it says that it knows them, else as the catalog tells of its system. transfer full. */
char *ddm_subscription(const struct ddm_facts *facts);
/* Those of the inventory among what a device says it knows (management.client-capabilities); transfer full; NULL: it does not say. */
char *ddm_subscription_of(const char *capabilities);
/* This server's own declarations for SUBSCRIPTION, which is not empty; KIND activation or configuration. */
void ddm_own_declaration(enum declaration_kind kind, const char *subscription, struct declaration *ret);

/* The ServerToken that devices are told: with the version of the profile that it brings. transfer full. */
char *ddm_effective_token(const char *token, int64_t profile_version);

/* Brings the list of an enrollment to what its sets say, and has it told if need be; *RET_QUEUED (may be NULL): a command was queued. */
bool ddm_reconcile(struct service *service, const char *enrollment_id, bool *ret_queued, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same when the command UUID is being delivered: *RET_TOKENS (transfer full) is what it tells. */
bool ddm_deliver(struct service *service, const char *enrollment_id, int64_t epoch, const char *uuid, GBytes **ret_tokens, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The device has fetched the list TOKEN. */
bool ddm_note_told(struct service *service, const char *enrollment_id, int64_t epoch, const char *token, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* https address of what a declaration brings, for this enrollment alone; transfer full. */
char *ddm_file_url(struct service *service, const char *enrollment_id, int64_t epoch, const char *identifier);

struct declaration_upload;
/* Whether what UPLOAD says is there already, whatever else is wrong with it. */
bool ddm_is_same(struct service *service, const struct declaration_upload *upload, bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A declaration, opened. Clear with ddm_opened_clear. */
struct ddm_opened { struct declaration_row row; store_load *load; struct declaration declaration; };
/* POM_ERR_NOT_FOUND. */
bool ddm_open(struct service *service, const char *identifier, struct ddm_opened *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void ddm_opened_clear(struct ddm_opened *opened);
/* Wakes whoever does the work. */
void ddm_nudge(struct service *service);
/* Enrollment id of what people typed; transfer full. POM_ERR_NOT_FOUND. */
char *ddm_resolve(struct service *service, const char *id, GError **error);
