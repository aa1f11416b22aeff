#include "keys/ca_make.h"

#include <openssl/err.h>

#include "codec/signed.h"

static GBytes *sign(struct signer *signer, GBytes *tbs, int signature_nid, GError **error)
{
	g_autoptr(GBytes) signature = signer_sign(signer, NID_sha256, g_bytes_get_data(tbs, NULL), g_bytes_get_size(tbs), error);

	return signature ? signed_object_format(tbs, signature_nid, g_bytes_get_data(signature, NULL), g_bytes_get_size(signature)) : NULL;
}

static bool check_key(struct signer *signer, X509 *cert, GError **error)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	bool same = key && EVP_PKEY_eq(key, signer_get_key(signer)) == 1;

	ERR_clear_error();
	return same || pom_fail(error, POM_ERR_KEY_MISMATCH, "this cannot be signed: the key is not that of the certificate that would be named as the signer's");
}

GBytes *crl_make(struct signer *signer, X509 *issuer, const struct crl_plan *plan, GError **error)
{
	int signature_nid = signature_nid_for(signer_get_key(signer), NID_sha256);
	g_autoptr(GBytes) tbs = check_key(signer, issuer, error) ? crl_tbs_format(plan, issuer, signature_nid, error) : NULL;

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

GBytes *ocsp_make(struct signer *signer, X509 *responder, const struct ocsp_request *request, const struct ocsp_answer *answers, int64_t this_update,
                  int64_t next_update, int64_t produced_at, GError **error)
{
	g_autoptr(GBytes) data = NULL, signature = NULL;

	if (check_key(signer, responder, error))
		data = ocsp_response_data_format(responder, request, answers, this_update, next_update, produced_at, error);
	signature = data ? signer_sign(signer, NID_sha256, g_bytes_get_data(data, NULL), g_bytes_get_size(data), error) : NULL;
	if (!signature)
		return NULL;
	return ocsp_response_format(data, signature_nid_for(signer_get_key(signer), NID_sha256), g_bytes_get_data(signature, NULL), g_bytes_get_size(signature), responder);
}
