/* Messages that a device signs with its factory identity. */
#pragma once

#include "core/ota.h"
#include "service/ca_internal.h"

/* Who signed a message, and what it says. */
struct device_message {
	struct cms_signed *cms;      /* verified */
	plist *tree;                 /* its content; NULL until device_message_read */
	struct ota_attributes attributes; /* borrowed from the tree */
	struct cert_info *signer;
};
void device_message_clear(struct device_message *message);
/* BODY (CMS SignedData with its content, DER or BER) → message whose signature matches the certificate in it. Nothing is known yet of who that is. POM_ERR_CMS_*, POM_ERR_CERT_MALFORMED. */
bool device_message_open(GBytes *body, struct device_message *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the content. POM_ERR_OTA_ATTRIBUTES, POM_ERR_PLIST_*. */
bool device_message_read(struct device_message *message, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the signer's certificate is a factory identity: of Apple's device CA (by its key), or of a CA that an administrator has added, directly or over certificates in the message.
 * *RET_CA: the name of that CA, transfer full. POM_ERR_OTA_SIGNER. Blocks on the store. */
bool service_check_factory(struct service *service, const struct device_message *message, char **ret_ca, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Device CAs. JSON out, transfer full; ACTOR stands in the audit log. */
/* FILE: one certificate, PEM or DER. NAME may be NULL: its subject's common name. POM_ERR_DEVICE_CA, POM_ERR_CERT_MALFORMED, POM_ERR_CONFLICT (it is there). */
json_t *service_device_ca_add(struct service *service, const char *actor, GBytes *file, const char *name, GError **error);
json_t *service_device_ca_list(struct service *service, const char *after, int64_t limit, GError **error);
json_t *service_device_ca_remove(struct service *service, const char *actor, const char *id, GError **error);
