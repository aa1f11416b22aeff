/* QR codes (ISO/IEC 18004) of short texts: error correction M, the smallest version that holds the text. Pure; any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum { QR_TEXT_MAX = 1000, QR_QUIET = 4 };

struct qr;

/* TEXT: 1 to QR_TEXT_MAX bytes, encoded as they are. transfer full; POM_ERR_BAD_REQUEST when it is empty or longer. */
struct qr *qr_new(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void qr_free(struct qr *qr);
typedef struct qr qr;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(qr, qr_free)

/* Modules on one side, without the quiet zone: 21 to 177. */
int qr_get_size(const struct qr *qr);
/* Whether the module in column X of row Y is dark; outside of the code, as in the quiet zone, none is. */
bool qr_is_dark(const struct qr *qr, int x, int y);

/* An <svg> element with its quiet zone of QR_QUIET modules, dark on light whatever stands behind it; it takes the width that it is given. TITLE (UTF-8) says
 * to those who do not see it what it is. Without an XML declaration, so that it can stand in HTML too. transfer full. */
char *qr_format_svg(const struct qr *qr, const char *title);
/* Lines of half blocks (U+2580, U+2584, U+2588 and spaces), two rows of modules to a line, with the quiet zone. With COLOR dark modules are printed black on
 * white by escape sequences; without, light modules are the blocks, which is right on a dark terminal and inverted, as most scanners take it too, on a light
 * one. transfer full. */
char *qr_format_terminal(const struct qr *qr, bool color);
