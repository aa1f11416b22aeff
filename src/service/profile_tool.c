#include "service/profile_tool.h"

#include "codec/mobileconfig.h"
#include "service/profile_sign.h"

GBytes *service_profile_tool_sign(struct service *service, GBytes *file, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	bool is_signed = false;
	g_autoptr(plist) tree = mobileconfig_parse(data, len, &is_signed, error);

	if (!tree)
		return NULL;
	if (is_signed) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile is signed already: a second signature around the first is not read by devices");
		return NULL;
	}
	return service_profile_sign(service, file, error);
}
