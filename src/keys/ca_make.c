#include "keys/ca_make.h"

#include <openssl/err.h>

#include "codec/signed.h"

static GBytes *sign(struct signer *signer, GBytes *tbs, int signature_nid, GError **error)
{
	g_autoptr(GBytes) signature = signer_sign(signer, NID_sha256, g_bytes_get_data(tbs, NULL), g_bytes_get_size(tbs), error);

	return signature ? signed_object_format(tbs, signature_nid, g_bytes_get_data(signature, NULL), g_bytes_get_size(signature)) : NULL;
}

GBytes *crl_make(struct signer *signer, X509 *issuer, const struct crl_plan *plan, GError **error)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int signature_nid = signature_nid_for(signer_get_key(signer), NID_sha256);

	if (!key || EVP_PKEY_eq(key, signer_get_key(signer)) != 1) {
		ERR_clear_error();
		pom_fail(error, POM_ERR_KEY_MISMATCH, "the CRL cannot be signed: the key is not that of its issuer");
		return NULL;
	}
	g_autoptr(GBytes) tbs = crl_tbs_format(plan, issuer, signature_nid, error);

	return tbs ? sign(signer, tbs, signature_nid, error) : NULL;
}

/* The bytes of a GBytes that nobody else holds. */
static void wipe(GBytes *bytes)
{
	OPENSSL_cleanse((void *)g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

GBytes *csr_make(struct signer *key, GBytes *subject_der, const char *challenge, const struct csr_wish *wish, GError **error)
{
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(key)), tbs = csr_tbs_format(subject_der, spki, challenge, wish, error);
	g_autoptr(GBytes) der = NULL;
	GBytes *secret = NULL;

	if (!tbs)
		return NULL;
	der = sign(key, tbs, signature_nid_for(signer_get_key(key), NID_sha256), error);
	wipe(tbs);
	if (der) {
		secret = secret_bytes_new(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
		wipe(der);
	}
	return secret;
}
