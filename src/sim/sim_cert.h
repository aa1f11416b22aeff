/* Keys, certificates and files of the simulator. All of it is OpenSSL's own: nothing of the server's codec is used. */
#pragma once

#include <glib.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_REQ, X509_REQ_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_STORE, X509_STORE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_STORE_CTX, X509_STORE_CTX_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free_all)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CMS_ContentInfo, CMS_ContentInfo_free)

/* A list of certificates that it owns. */
typedef STACK_OF(X509) sim_certs;
static inline void sim_certs_free(sim_certs *certs)
{
	sk_X509_pop_free(certs, X509_free);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_certs, sim_certs_free)

/* A key with its certificate. */
struct sim_identity { EVP_PKEY *key; X509 *cert; };
/* Takes references. transfer full. */
struct sim_identity *sim_identity_new(EVP_PKEY *key, X509 *cert);
void sim_identity_free(struct sim_identity *identity);
/* An empty list that owns what is added to it; transfer full. */
GPtrArray *sim_identities_new(void);

/* A new RSA key of 2048 bits, transfer full. Aborts when the system has no randomness. Any thread; takes about 100 ms. */
EVP_PKEY *sim_key_new(void);
EVP_PKEY *sim_key_new_bits(unsigned bits);

/* A certificate for KEY, transfer full: valid from an hour ago for DAYS, signed with SHA-256.
 *
 * CN is the common name. UID (NULL: none) becomes the attribute userID, where a push certificate has its topic. DNS (NULL: none) becomes a
 * subject alternative name, dNSName or iPAddress by its form. With ISSUER NULL it signs itself and is a CA. Never fails: its input is ours. */
X509 *sim_cert_new(EVP_PKEY *key, const char *cn, const char *uid, const char *dns, X509 *issuer, EVP_PKEY *issuer_key, int days);

/* A certificate of any make. Texts may be NULL: not in the subject. */
struct sim_cert_plan {
	EVP_PKEY *key;
	const char *cn, *unit, *organization, *country, *serial_number;
	X509 *issuer;              /* NULL: it signs itself */
	EVP_PKEY *issuer_key;
	bool ca;
	int from_days, to_days;    /* its validity, counted from now; below 0: in the past */
	const EVP_MD *md;
};
/* transfer full. Never fails: its input is ours. */
X509 *sim_cert_make(const struct sim_cert_plan *plan);

/* The throw-away self-signed certificate of a SCEP request: CN, COUNTRY (NULL: none), key usage digitalSignature and, with
 * ENCIPHERMENT, keyEncipherment. transfer full. */
X509 *sim_cert_new_signer(EVP_PKEY *key, const char *cn, const char *country, bool encipherment);

/* PEM texts, transfer full. The key's is PKCS#8 without a password. */
char *sim_cert_pem(X509 *cert);
char *sim_key_pem(EVP_PKEY *key);

/* PEM texts read back, transfer full; NULL with POM_ERR_KEY or POM_ERR_CERT_MALFORMED. WHAT names the source in the message. */
EVP_PKEY *sim_key_parse(const char *pem, const char *what, GError **error) G_GNUC_WARN_UNUSED_RESULT;
X509 *sim_cert_parse(const char *pem, const char *what, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Every certificate in PEM; at least one. */
sim_certs *sim_certs_parse(const char *pem, const char *what, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The subject as people read it ("CN=…,O=…"); the serial number in upper-case hex; transfer full. */
char *sim_cert_subject(X509 *cert);
char *sim_cert_serial(X509 *cert);

/* Writes DATA to PATH through a temporary file beside it, so that a reader sees all of it or nothing. MODE as 0600. POM_ERR_IO. */
bool sim_write_file(const char *path, const void *data, size_t len, int mode, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What OpenSSL last complained about, for a message; empties its queue. transfer full, never NULL. */
char *sim_openssl_error(void);
