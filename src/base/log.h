/* One line per event on stderr: "2026-01-02T03:04:05Z warning checkin refused enrollment=… reason=POM-E4103 …".
 * Only callers that decide to give up log; library code returns errors. Never pass a secret. */
#pragma once

#include <glib.h>

enum pom_log_level { POM_LOG_ERROR, POM_LOG_WARNING, POM_LOG_NOTICE, POM_LOG_INFO, POM_LOG_DEBUG, POM_LOG_LEVEL_MAX };

/* Lines above LEVEL (less important) are dropped. Default: INFO. Call before threads start. */
void pom_log_set_level(enum pom_log_level level);

/* Writes one line: EVENT (a few words, no values), then pairs of field name and value up to a NULL name. A NULL or empty
 * value leaves its pair out. Values are quoted when they hold spaces, quotes, control characters or bytes that are not
 * UTF-8, and cut at 1,024 bytes, so a hostile value cannot forge a line. Any thread; blocks as long as stderr does. */
void pom_log(enum pom_log_level level, const char *event, ...) G_GNUC_NULL_TERMINATED;
