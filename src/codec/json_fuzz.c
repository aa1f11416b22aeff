/* JSON that is read must be written and read again; what becomes a property list must come back from it. */
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(json_t) json = json_parse(data, size, NULL);

	if (!json)
		return 0;
	g_autoptr(GBytes) text = json_format(json);
	g_autoptr(json_t) again = json_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL);

	g_assert(json_equal(json, again));
	g_autoptr(plist) node = plist_from_json(json, "", NULL);

	if (!node)
		return 0;
	g_autoptr(json_t) bridged = json_from_plist(node);
	g_autoptr(plist) back = plist_from_json(bridged, "", NULL);

	g_assert(plist_equal(node, back));
	return 0;
}
