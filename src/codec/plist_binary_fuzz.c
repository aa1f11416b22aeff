/* Whatever is read is a tree that can be written as XML, but for texts that XML has no way to write, and is read again as the same tree. */
#include "codec/plist_binary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_auto(plist_notes_auto) notes = {0}, again_notes = {0};

	plist_notes_init(&notes);
	plist_notes_init(&again_notes);
	g_autoptr(plist) strict = plist_parse_binary(data, size, NULL, NULL, NULL), node = plist_parse_any(data, size, NULL, &notes, NULL);
	g_autoptr(GBytes) text = node ? plist_format(node, NULL) : NULL;
	g_autoptr(plist) again = text ? plist_parse_any(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL, &again_notes, NULL) : NULL;

	g_assert(!strict || plist_equal(strict, node));
	g_assert(!text || plist_equal(node, again));
	return 0;
}
