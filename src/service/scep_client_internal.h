/* What the two files of the SCEP client share. */
#pragma once

#include "service/scep_client.h"

/* url?operation=OPERATION&message=MESSAGE, transfer full; MESSAGE is escaped. */
char *scep_client_url(const struct scep_client *client, const char *operation, const char *message);
/* One call; OPERATION is for the message of POM_ERR_SCEP_OUTSIDE. Any HTTP status is success. */
bool scep_client_call(const struct scep_client *client, const char *operation, struct outbound_request *request, struct outbound_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The bytes of a reply's body; never NULL. */
const void *scep_client_body(const struct outbound_reply *reply, gsize *ret_len);
/* INNER (transfer full) said as POM_ERR_SCEP_OUTSIDE_REPLY, with WHAT before it. False. */
bool scep_client_fail_reply(GError **error, const char *what, GError *inner);
/* Whether CERT leads to an anchor now, by way of the CA's certificates and EXTRA (X509, may be NULL). A beginning up to five minutes ahead is taken for a
 * clock that differs. */
bool scep_client_leads(const struct scep_client *client, const struct scep_client_ca *ca, X509 *cert, const GPtrArray *extra, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether CERT, of the CA's certificates, may sign replies. */
bool scep_client_may_sign(const struct scep_client_ca *ca, X509 *cert);
