/* What is read as a request document can be written, and is then the same. */
#include "codec/push_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(push_request) request = push_request_parse(data, size, NULL);
	g_autoptr(GBytes) text = request ? push_request_format(request->csr_der, (X509 *const *)request->chain->pdata, request->chain->len, request->signature, NULL) : NULL;
	g_autoptr(push_request) again = text ? push_request_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL) : NULL;

	g_assert(!request || (again && g_bytes_equal(again->csr_der, request->csr_der) && g_bytes_equal(again->signature, request->signature) && again->chain->len == request->chain->len));
	return 0;
}
