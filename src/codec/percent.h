/* Percent-encoding (RFC 3986 §2.1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Decodes "%xx" once, in place; '+' stays. *LEN is the length before and after. False for a '%' without two hex digits; TEXT is then
 * undefined. */
bool percent_decode(char *text, size_t *len);
