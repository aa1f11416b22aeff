/* A PKCS#12 file under a known password: those without integrity protection reach everything behind it. */
#include "keys/pkcs12.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(signer) key = NULL;
	g_autoptr(GPtrArray) certs = NULL;

	if (pkcs12_open(data, size, "pw", &key, &certs, NULL))
		g_assert(key && certs->len >= 1 && EVP_PKEY_eq(X509_get0_pubkey(certs->pdata[0]), signer_get_key(key)) == 1);
	return 0;
}
