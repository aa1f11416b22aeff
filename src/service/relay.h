/* What SCEP requests are asked about outside: the webhook's decision, and certificates of an outside CA. */
#pragma once

#include "service/ca_internal.h"
#include "service/webhook.h"

/* Asks the profile's webhook about a certificate with the names of *RECORD (QUESTION's are not looked at); it may give others, then *RECORD is replaced.
 * POM_ERR_SCEP_DENIED, also for names that cannot be issued. Blocks for up to its time-out. */
bool service_ask_webhook(struct service *service, const struct profile_entry *entry, const struct webhook_question *question, struct scep_record **record, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The certificates that it says are its own: issuing CA and what is above; array of X509, transfer full. */
GPtrArray *service_outside_ask(struct service *service, const struct outside_ca *outside, GError **error);
/* Passes a device's CSR on to an outside CA; the certificate that came, registered for what PLAN says. The right to it is taken while the CA is asked, and given back
 * when nothing came. DER, transfer full. Errors of scep_client_enroll; POM_ERR_STORE_CONFLICT: the right was taken at the same time. Blocks for the CA's answer. */
GBytes *service_relay(struct service *service, const struct outside_ca *outside, const struct issue_plan *plan, GBytes *csr, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The challenge that a device shall say to the outside CA: its static one, or one fetched from its NDES page. transfer full. */
bool service_outside_challenge(struct service *service, const struct outside_ca *outside, char **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A certificate of an outside CA for a new key of ours, with that CA's chain; registered likewise. For PKCS#12 identities. */
bool service_outside_identity(struct service *service, const struct outside_ca *outside, const struct issue_plan *plan, struct signer *key, GBytes **ret_der, GPtrArray **ret_chain, GError **error) G_GNUC_WARN_UNUSED_RESULT;
