/* Commands of the server itself, as the device's requests meet them. */
#pragma once

#include "service/service.h"

/* The content of a command with a note, made now: plist {Command, CommandUUID}, transfer full. */
GBytes *service_noted_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error);
/* What a device said of such a command. */
bool service_noted_report(struct service *service, const struct command_row *command, enum report_status status, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Queues a renewal unless one waits: an expired identity is there to be renewed. */
bool service_renewal_ensure(struct service *service, const char *enrollment_id, int64_t epoch, GError **error) G_GNUC_WARN_UNUSED_RESULT;
