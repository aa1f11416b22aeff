/* What Apple's error codes mean, in our own words: for "pomona explain", and for the reasons of commands that failed. */
#pragma once

#include <stdint.h>

struct apple_error { const char *domain; int64_t code; const char *name, *meaning, *causes, *look_at; };

/* The row of CODE in DOMAIN (NULL: in whichever has it first); NULL: not explained here. Static storage. Newer systems write the domain with a D in front. Pure. */
const struct apple_error *apple_error_find(const char *domain, int64_t code);
