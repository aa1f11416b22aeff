/* Keys in a PKCS#11 token. OpenSSL 3.0 reaches them only through its engine "pkcs11" (package libengine-pkcs11-openssl); everything
 * that is deprecated about engines stands in pkcs11.c, so that another loader can take its place.
 *
 * One module in a process. All calls into it, for whatever token, are made one after the other: modules differ in what they
 * promise to threads, and a token has one processor anyway. */
#pragma once

#include "keys/keys.h"

/* Loads the engine and points it at the module (an absolute path such as /usr/lib/softhsm/libsofthsm2.so). Once per process: again
 * with the same path does nothing, with another one fails. POM_ERR_CONFIG says what is missing. Any thread; blocks. */
bool keys_load_pkcs11(const char *module_path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The private key (RSA or EC) at URI, "pkcs11:token=…;object=…" (RFC 7512), after keys_load_pkcs11. PIN may be NULL; a pin-value in URI is
 * taken in its place. Neither is ever shown: error texts name the URI without it. A token that this process has
 * opened before asks for no PIN again. The face signs, signs certificates and unwraps
 * (the token does raw RSA, CKM_RSA_X_509; padding is judged here, in constant time, so that a wrong one cannot be taken for
 * a broken token). signer_get_key gives the public half; signer_format fails. A token that fails later is
 * POM_ERR_KEY_UNAVAILABLE, until it answers again; some modules need a new process for that. POM_ERR_CONFIG without a module or for a URI of another kind; POM_ERR_PASSWORD for a wrong PIN (each try
 * counts for the token: do not repeat it unasked); POM_ERR_KEY_UNAVAILABLE when there is no such token or key. Any thread; blocks. */
struct signer *signer_open_pkcs11(const char *uri, const char *pin, GError **error) G_GNUC_WARN_UNUSED_RESULT;
