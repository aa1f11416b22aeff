/* The client certificate that a proxy passes on in a header, in the forms of the common proxies:
 *
 *   RFC 9440     :MIIC…=:                              HAProxy (":%[ssl_c_der,base64]:"), Caddy, anything that follows the RFC
 *   escaped PEM  -----BEGIN%20CERTIFICATE-----%0AMII…  nginx ($ssl_client_escaped_cert)
 *   escaped PEM with + = / as they are, leaf first      Amazon's load balancers (X-Amzn-Mtls-Clientcert)
 *
 * The form is seen from the value. A '+' is never a space: base64 has it. Nothing here decodes a key or believes anything. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* CLIENT_CERT_CHAIN_MAX: certificates in one PEM value. */
enum { CLIENT_CERT_TEXT_MAX = 16384, CLIENT_CERT_CHAIN_MAX = 8 };

/* VALUE, without white space at its ends → *RET_DER, the DER of the leaf, transfer full; NULL when the value says that there was no certificate: nothing, "-" or "::".
 * Only the outer length of the DER is checked. POM_ERR_IDENTITY_HEADER: longer than CLIENT_CERT_TEXT_MAX, another form, base64 that is cut off or not padded, two RFC 9440 values,
 * bytes between or after certificates. Pure; any thread. */
bool client_cert_parse(const char *value, GBytes **ret_der, GError **error) G_GNUC_WARN_UNUSED_RESULT;
