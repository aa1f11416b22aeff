/* What a device says of itself, and a pairing token that a watch shows. What is accepted keeps its maxima. */
#include <string.h>

#include "core/watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
	g_assert(!text || (*text && strlen(text) <= CHECKIN_ID_MAX));
}

static void check_attributes(const uint8_t *data, size_t size)
{
	g_autoptr(plist) tree = plist_parse(data, size, NULL, NULL);
	struct ota_attributes a;

	if (!tree || !ota_attributes_parse(tree, &a, NULL))
		return;
	g_assert(*ota_device_id(&a) && a.pairing_token_len <= WATCH_TOKEN_MAX);
	check_text(a.udid);
	check_text(a.serial);
	check_text(a.product);
	check_text(a.challenge);
	g_autofree char *shown = ota_attributes_format(tree);
	g_autoptr(json_t) json = json_parse(shown, strlen(shown), NULL);
	g_assert(json && json_object_size(json) <= OTA_ATTRIBUTES_MAX && !json_object_get(json, "CHALLENGE"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct watch_token token;

	check_attributes(data, size);
	if (watch_token_parse(data, size, &token, NULL)) {
		g_autoptr(GBytes) again = watch_token_format(&token);
		gsize len;
		const void *bytes = g_bytes_get_data(again, &len);

		check_text(token.pairing_id);
		check_text(token.phone_id);
		check_text(token.watch_udid);
		g_assert(len + WATCH_MAC_LEN == size && !memcmp(bytes, data, len));
		watch_token_clear(&token);
	}
	return 0;
}
