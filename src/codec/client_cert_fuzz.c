/* What is taken is one SEQUENCE, and says the same in the form of RFC 9440. */
#include <stdint.h>
#include <string.h>

#include "codec/client_cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *value = g_strndup((const char *)data, size), *base64 = NULL, *rewritten = NULL;
	g_autoptr(GBytes) der = NULL, again = NULL;

	if (!client_cert_parse(value, &der, NULL) || !der)
		return 0;
	g_assert(g_bytes_get_size(der) > 0x80 && *(const uint8_t *)g_bytes_get_data(der, NULL) == 0x30);
	base64 = g_base64_encode(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
	rewritten = g_strconcat(":", base64, ":", NULL);
	g_assert(strlen(rewritten) > CLIENT_CERT_TEXT_MAX || (client_cert_parse(rewritten, &again, NULL) && g_bytes_equal(der, again)));
	return 0;
}
