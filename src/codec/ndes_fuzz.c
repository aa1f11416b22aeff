/* What is taken for the password has the form of one. */
#include "codec/ndes.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *password = ndes_challenge_parse(data, size, NULL);

	if (password)
		g_assert(strlen(password) >= NDES_CHALLENGE_MIN && strlen(password) <= NDES_CHALLENGE_MAX && strspn(password, "0123456789abcdefABCDEF") == strlen(password));
	return 0;
}
