/* Commands of the server itself, as the device's requests meet them. */
#pragma once

#include "service/service.h"

/* The content of a command with a note, made now: plist {Command, CommandUUID}, transfer full. */
GBytes *service_noted_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error);
/* That content could not be made: the command is taken back. *RET_GONE: it is not in the queue any more. */
bool service_noted_unmade(struct service *service, const char *enrollment_id, const struct command_next *next, const GError *why, bool *ret_gone, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a device said of such a command. */
bool service_noted_report(struct service *service, const struct command_row *command, const struct report *report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* After store_command_add_own, for a person who asked: POM_ERR_BUSY when nothing waits for the device now. */
bool service_own_queued(const char *enrollment_id, enum command_own_result result, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Queues a renewal unless one waits: an expired identity is there to be renewed. */
bool service_renewal_ensure(struct service *service, const char *enrollment_id, int64_t epoch, GError **error) G_GNUC_WARN_UNUSED_RESULT;
