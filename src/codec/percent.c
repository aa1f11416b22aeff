#include "codec/percent.h"

#include <glib.h>

bool percent_decode(char *text, size_t *len)
{
	char *out = text;

	for (size_t i = 0; i < *len; i++) {
		char c = text[i];

		if (c == '%') {
			if (*len - i < 3 || !g_ascii_isxdigit(text[i + 1]) || !g_ascii_isxdigit(text[i + 2]))
				return false;
			c = (char)(g_ascii_xdigit_value(text[i + 1]) << 4 | g_ascii_xdigit_value(text[i + 2]));
			i += 2;
		}
		*out++ = c;
	}
	*len = (size_t)(out - text);
	return true;
}
