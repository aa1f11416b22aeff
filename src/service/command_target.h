/* What is known of the channel that a command shall go to. */
#pragma once

#include "core/command_check.h"
#include "service/service.h"

/* Of ROW and, when it is a user, of its device: what they said when they enrolled, the facts learnt since, the access rights of the enrollment. What cannot be found out is left unknown.
 * Blocks on the store; false only when the store fails. */
bool service_command_target(struct service *service, const struct enrollment_row *row, struct command_target *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
