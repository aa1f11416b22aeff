#include "base/distance.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>

enum { NAME_MAX_LEN = 128 };

unsigned pom_name_distance(const char *a, const char *b)
{
	uint8_t rows[3][NAME_MAX_LEN + 1];
	size_t n_a = strlen(a), n_b = strlen(b);

	if (n_a > NAME_MAX_LEN || n_b > NAME_MAX_LEN)
		return 255;
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = (uint8_t)j;
	for (size_t i = 1; i <= n_a; i++) {
		uint8_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= n_b; j++) {
			char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);
			uint8_t best = (uint8_t)MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));

			if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) && y == g_ascii_tolower(a[i - 2]))
				best = MIN(best, (uint8_t)(before[j - 2] + 1));
			row[j] = best;
		}
	}
	return rows[n_a % 3][n_b];
}
