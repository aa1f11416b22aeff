/* What administrators do with profiles in files: see cmd_profile_*. Nothing is stored. */
#pragma once

#include "service/service.h"

/* FILE, an unsigned profile of correct form, signed as we sign what we serve; transfer full. POM_ERR_PROFILE, POM_ERR_PLIST_*; POM_ERR_CONFLICT when it is signed already. */
GBytes *service_profile_tool_sign(struct service *service, GBytes *file, GError **error) G_GNUC_WARN_UNUSED_RESULT;
