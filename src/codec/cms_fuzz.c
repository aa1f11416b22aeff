/* The first byte chooses what the rest is read as: signed, detached, enveloped, or certificates or CRLs only. */
#include "codec/cms.h"

enum { MAX_BYTES = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_signed(const uint8_t *data, size_t size)
{
	g_autoptr(cms_signed) attached = cms_signed_parse(data, size, NULL, 0, MAX_BYTES, NULL);
	g_autoptr(cms_signed) detached = cms_signed_parse(data, size, "content", 7, MAX_BYTES, NULL);

	g_assert(!attached || (attached->signer && attached->signer_der));
	g_assert(!attached || !detached || !attached->content);
}

/* With the key that the message brings; both paths must say the same. */
static void fuzz_detached(const uint8_t *data, size_t size)
{
	g_autoptr(cms_detached) detached = cms_detached_parse(data, size, NULL);

	if (!detached)
		return;
	g_autoptr(X509) signer = cert_parse_der(g_bytes_get_data(detached->signer_der, NULL), g_bytes_get_size(detached->signer_der), NULL);
	EVP_PKEY *key = signer ? X509_get0_pubkey(signer) : NULL;

	if (!key || !cms_detached_verify(detached, key, "content", 7, NULL))
		return;
	g_autoptr(cms_signed) slow = cms_signed_parse(data, size, "content", 7, MAX_BYTES, NULL);

	g_assert(slow && g_bytes_equal(slow->signer_der, detached->signer_der));
}

/* What was read must be written and read again. */
static void fuzz_certs_only(const uint8_t *data, size_t size)
{
	g_autoptr(GPtrArray) certs = cms_certs_only_parse(data, size, NULL);

	if (!certs)
		return;
	g_autoptr(GBytes) message = cms_certs_only_format((GBytes *const *)certs->pdata, certs->len, NULL);
	g_autoptr(GPtrArray) again = cms_certs_only_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), NULL);

	g_assert(again && again->len == certs->len);
}

static void fuzz_crls_only(const uint8_t *data, size_t size)
{
	g_autoptr(GPtrArray) crls = cms_crls_only_parse(data, size, NULL);

	if (!crls)
		return;
	g_autoptr(GBytes) message = cms_crls_only_format((GBytes *const *)crls->pdata, crls->len, NULL);
	g_autoptr(GPtrArray) again = cms_crls_only_parse(g_bytes_get_data(message, NULL), g_bytes_get_size(message), NULL);

	g_assert(again && again->len == crls->len && again->len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	switch (data[0] % 4) {
	case 0:
		fuzz_signed(data + 1, size - 1);
		break;
	case 1:
		fuzz_detached(data + 1, size - 1);
		break;
	case 2:
		cms_enveloped_free(cms_enveloped_parse(data + 1, size - 1, MAX_BYTES, NULL));
		break;
	default:
		fuzz_certs_only(data + 1, size - 1);
		fuzz_crls_only(data + 1, size - 1);
	}
	return 0;
}
