/* What is wrong with the signature of a profile, for the linter. */
#pragma once

#include "codec/lint.h"

/* Adds to REPORT what is wrong with who signed FILE at AT_S (Unix seconds): the kind of certificate, its key and dates, the digest, the certificates that are in the message or
 * are not. ROOTS (X509; may be NULL) are those that devices are taken to trust: without them, nothing is said of where the chain leads. A file that cannot be opened adds nothing. Pure. */
void profile_lint_signature(struct lint_report *report, GBytes *file, GPtrArray *roots, int64_t at_s);
