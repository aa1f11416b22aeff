/* Whatever is read must be written, and read again as the same tree; and so through JSON. */
#include "codec/json.h"
#include "codec/plist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(plist) node = plist_parse(data, size, NULL, NULL);

	if (!node)
		return 0;
	g_autoptr(GBytes) text = plist_format(node, NULL);

	g_assert(text);
	g_autoptr(plist) again = plist_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL, NULL);
	g_autoptr(plist) copy = plist_copy(node);

	g_assert(plist_equal(node, again) && plist_equal(again, copy));
	g_autoptr(json_t) json = json_from_plist(node);
	g_autoptr(plist) back = plist_from_json(json, "", NULL);

	g_assert(plist_equal(node, back));
	return 0;
}
