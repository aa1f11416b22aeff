/* The challenge page of Microsoft's NDES (…/certsrv/mscep_admin): HTML for people, read for the one-time password in it. */
#pragma once

#include <glib.h>

enum { NDES_PAGE_MAX = 64 * 1024, NDES_CHALLENGE_MIN = 16, NDES_CHALLENGE_MAX = 32 };

/* DATA, HTML in UTF-16 (with or without byte order mark) or any ASCII-compatible coding → the password, transfer full; the caller
 * wipes it. It is the only word of 16 to 32 hexadecimal digits in the text: the page is translated, so no label is looked for, and
 * the thumbprint beside it stands in groups of eight. POM_ERR_SCEP_OUTSIDE_REPLY when there is no such word or more than one, or the
 * page has more than NDES_PAGE_MAX bytes; the message shows nothing of the page. */
char *ndes_challenge_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
