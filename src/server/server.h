/* The wiring: a data directory becomes a running server. */
#pragma once

#include "server/settings.h"

/* Runs until SIGTERM or SIGINT: stops accepting, finishes what runs (at most 10 s), flushes, returns. SIGHUP reads the TLS files again.
 * SETTINGS must be complete. Blocks; call from the main thread before any other thread exists. */
bool server_run(const char *dir, const struct settings *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
