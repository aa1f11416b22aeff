/* PKCS#12 (RFC 7292): an identity as devices import it, and the files in which administrators bring a CA with its key. Any thread. */
#pragma once

#include "keys/keys.h"

enum { PKCS12_MAX_BYTES = 1 << 20, PKCS12_CERTS_MAX = 16 };

/* KEY with its certificate LEAF and N others of the chain (at most PKCS12_CERTS_MAX together) → DER, transfer full, wiped when freed. PASSWORD:
 * 1 to 128 printable ASCII characters. FRIENDLY_NAME: UTF-8 of at most 255 bytes, or NULL. Not MODERN is what every Apple device reads:
 * triple DES with SHA-1 for key and certificates, SHA-1 for the integrity, 2,048 rounds. Anything newer is "wrong password"
 * there, so nothing but the transport protects such a file. MODERN: AES-256 with PBKDF2 and SHA-256, 100,000 rounds.
 * POM_ERR_PASSWORD; POM_ERR_KEY_MISMATCH when LEAF is for another key; POM_ERR_KEY when the key cannot leave its store. */
GBytes *pkcs12_make(struct signer *key, X509 *leaf, X509 *const *chain, size_t n, const char *friendly_name, const char *password, bool modern,
                    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The reverse: at most PKCS12_MAX_BYTES with exactly one private key and at least its certificate. PASSWORD may be NULL. *RET_CERTS
 * (X509, transfer full) has the certificate of the key first, the others in the order of the file. POM_ERR_PASSWORD when it is wrong or
 * missing; POM_ERR_CERT_MALFORMED for anything that is not such a file, a cipher that is not available (RC2: export again) or more
 * than 4 million rounds of key derivation; POM_ERR_KEY_MISMATCH without the key's certificate. Blocks for up to a second or two. */
bool pkcs12_open(const void *data, size_t len, const char *password, struct signer **ret_signer, GPtrArray **ret_certs, GError **error) G_GNUC_WARN_UNUSED_RESULT;
