/* Asking devices again what they are: which queries a device can answer, and when its turn comes. Pure. */
#pragma once

#include "core/command_check.h"

/* What the setting inventory.queries is at first. */
#define INVENTORY_QUERIES_DEFAULT "DeviceInformation SecurityInfo InstalledApplicationList ProfileList CertificateList"

/* RequestTypes separated by spaces → list without repetitions, NULL-terminated, transfer full. POM_ERR_CONFIG naming one that tells no facts. */
char **inventory_queries_parse(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* When an enrollment is next to be asked, later than NOW: always at the same place in the interval, which hangs on the id alone, so that many devices are spread over it. INTERVAL_MS above 0. */
int64_t inventory_next(const char *enrollment_id, int64_t interval_ms, int64_t now_ms);

/* The inner dictionary of the query for TARGET, transfer full; NULL: such a device cannot answer it. DeviceInformation asks for what this system knows. An iPad is
 * taken for one that is not shared until it has told. */
plist *inventory_command(const char *request_type, const struct command_target *target);
