/* A CRL. */
#include "codec/crl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(crl_info) info = crl_parse(data, size, NULL);

	g_assert(!info || (info->issuer_der && info->number >= -1 && (info->n > 0 || !crl_has(info, "01"))));
	return 0;
}
