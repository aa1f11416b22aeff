/* Strict base64 (RFC 4648): one text has one meaning, so what two decoders could read differently is refused. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum base64_flags {
	BASE64_STRICT = 0,
	BASE64_SPACE = 1 << 0,  /* skip space, tab, CR and LF */
	BASE64_URL = 1 << 1,    /* also take '-' and '_' */
	BASE64_UNPADDED = 1 << 2, /* the padding may be missing */
};

/* DATA → base64url without padding (RFC 7515 §2); transfer full. */
char *base64_url_format(const void *data, size_t len);

/* At most this many bytes come out of LEN characters. */
static inline size_t base64_decoded_max(size_t len)
{
	return len / 4 * 3 + 3;
}

/* TEXT (LEN characters) → OUT, which holds base64_decoded_max(LEN) bytes and may be TEXT itself. False when TEXT has another
 * character, bits left over, wrong padding or text after it; OUT is then undefined and *ret_len untouched. */
bool base64_parse(const char *text, size_t len, unsigned flags, uint8_t *out, size_t *ret_len) G_GNUC_WARN_UNUSED_RESULT;
