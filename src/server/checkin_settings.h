/* Settings of the check-in protocol that name files. */
#pragma once

#include "server/settings.h"
#include "service/service.h"

/* Checks these settings and reads the files into TO; NOW: what bind_first_use_until is ahead of. POM_ERR_CONFIG, POM_ERR_IO, POM_ERR_PERMISSION, POM_ERR_KEY*. */
bool checkin_settings_load(const struct settings *settings, int64_t now_ms, struct service_settings *to, GError **error) G_GNUC_WARN_UNUSED_RESULT;
