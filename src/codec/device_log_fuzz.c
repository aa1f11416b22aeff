/* Whatever the bytes are: what is found has a text, lines that are there, and an excerpt that can be shown. */
#include <stdint.h>

#include "codec/device_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(device_log) log = device_log_read(data, size);

	g_assert(log->entries->len <= DEVICE_LOG_ENTRIES_MAX && log->n_lines <= size + 1);
	for (guint i = 0; i < log->entries->len; i++) {
		const struct device_log_entry *entry = log->entries->pdata[i];

		g_assert(entry->text && entry->n >= entry->lines->len && entry->lines->len && g_utf8_validate(entry->excerpt, -1, NULL));
		for (guint k = 0; k < entry->lines->len; k++)
			g_assert(g_array_index(entry->lines, int, k) >= 1 && g_array_index(entry->lines, int, k) <= (int)log->n_lines);
	}
	return 0;
}
