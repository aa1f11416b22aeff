/* The signature of a device, made with OpenSSL's own functions: BER with indefinite lengths, as Apple's are. */
#pragma once

#include "sim/sim_cert.h"

/* The value of Mdm-Signature over DATA, transfer full: a detached SignedData with the certificate alone, in base64 on one line. SHA-1
 * without signed attributes as in every known capture; MODERN: SHA-256 with them. */
char *sim_mdm_signature(EVP_PKEY *key, X509 *cert, GBytes *data, bool modern);
