/* Whether a command is one that a device can carry out, as far as the catalog tells. */
#pragma once

#include "core/checkin.h"
#include "core/command_table.h"

enum command_fact { COMMAND_UNKNOWN, COMMAND_NO, COMMAND_YES };

/* What is known of the channel that a command goes to. What is not known is not judged: {.platform = PLATFORM_MAX, .access_rights = -1} knows nothing but that it is the device's channel. */
struct command_target {
	enum platform platform;     /* PLATFORM_MAX: unknown */
	uint32_t os_version;        /* version_parse; 0: unknown */
	bool user_channel;
	enum command_fact supervised;
	enum command_fact automated;       /* enrolled by Automated Device Enrollment */
	enum command_fact user_enrollment; /* of the user's own device */
	enum command_fact shared_ipad;
	int64_t access_rights;      /* of the enrollment; < 0: unknown. Devices do not heed them in user enrollments */
};
/* What the kind of enrollment tells of a target; the rest as if nothing were known. */
void command_target_init(struct command_target *target, enum enrollment_kind kind);

/* Takes what a fact of the device tells (core/fact.h; VALUE is JSON), if it is one that counts here. */
void command_target_learn(struct command_target *target, const char *name, const char *value);

/* COMMAND, the inner dictionary, against the catalog: its type, its keys at every level and, when TARGET is given (may be NULL), whether this device in this enrollment may get it. The first fault found:
 * POM_ERR_COMMAND_INVALID (no RequestType), _UNKNOWN, _SYSTEM, _CHANNEL, _RIGHT, _KEY, with the key path, the rule and what to do; values of secret keys are not in it. Pure. */
bool command_check(const plist *command, const struct command_target *target, GError **error) G_GNUC_WARN_UNUSED_RESULT;
