#include "codec/mobileconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_signed = false;
	g_autoptr(plist) profile = mobileconfig_parse(data, size, &is_signed, NULL);
	g_autoptr(GBytes) text = profile ? plist_format(profile, NULL) : NULL;

	g_assert(!profile || (text && mobileconfig_check(profile, NULL)));
	return 0;
}
