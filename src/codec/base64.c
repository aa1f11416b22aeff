#include "codec/base64.h"

#include <string.h>

/* One more than the value of a character; 0 for what has none, codes above 64 for those that depend on the flags. */
enum { INVALID = 0, PAD = 65, SPACE, URL_62, URL_63 };

static const uint8_t classes[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11,
	['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22,
	['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33,
	['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,
	['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55,
	['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
	['='] = PAD, [' '] = SPACE, ['\t'] = SPACE, ['\r'] = SPACE, ['\n'] = SPACE, ['-'] = URL_62, ['_'] = URL_63,
};

/* The class of C under FLAGS: 1–64, PAD, SPACE or INVALID. */
static uint8_t classify(char c, unsigned flags)
{
	uint8_t class = classes[(uint8_t)c];

	if (G_LIKELY(class <= PAD))
		return class;
	if (class == SPACE)
		return flags & BASE64_SPACE ? SPACE : INVALID;
	if (!(flags & BASE64_URL))
		return INVALID;
	return class == URL_62 ? 63 : 64;
}

/* Writes the bytes of the last, incomplete group; false when its spare bits are not zero or its padding is wrong. */
static bool finish(uint32_t bits, unsigned n_chars, unsigned n_pads, unsigned flags, uint8_t **out)
{
	if (n_chars == 0)
		return n_pads == 0;
	if (n_chars == 1 || (n_pads != 4 - n_chars && !(n_pads == 0 && flags & BASE64_UNPADDED)))
		return false;
	if (n_chars == 2) {
		*(*out)++ = (uint8_t)(bits >> 4);
		return !(bits & 0xf);
	}
	*(*out)++ = (uint8_t)(bits >> 10);
	*(*out)++ = (uint8_t)(bits >> 2);
	return !(bits & 0x3);
}

bool base64_parse(const char *text, size_t len, unsigned flags, uint8_t *out, size_t *ret_len)
{
	uint8_t *p = out;
	uint32_t bits = 0;
	unsigned n_chars = 0, n_pads = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t class = classify(text[i], flags);

		if (class == SPACE)
			continue;
		if (class == PAD && ++n_pads <= 2)
			continue;
		if (class == INVALID || class == PAD || n_pads > 0)
			return false;
		bits = bits << 6 | (class - 1u);
		if (++n_chars < 4)
			continue;
		*p++ = (uint8_t)(bits >> 16);
		*p++ = (uint8_t)(bits >> 8);
		*p++ = (uint8_t)bits;
		n_chars = 0;
		bits = 0;
	}
	if (!finish(bits, n_chars, n_pads, flags, &p))
		return false;
	*ret_len = (size_t)(p - out);
	return true;
}

char *base64_url_format(const void *data, size_t len)
{
	char *text = g_base64_encode(data, len);

	g_strdelimit(text, "+", '-');
	g_strdelimit(text, "/", '_');
	text[strcspn(text, "=")] = '\0';
	return text;
}
