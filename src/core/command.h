/* Commands and their reports (Apple: "Commands and Queries"), as rules. */
#pragma once

#include "core/checkin.h"

enum report_status { REPORT_IDLE, REPORT_ACKNOWLEDGED, REPORT_ERROR, REPORT_COMMAND_FORMAT_ERROR, REPORT_NOT_NOW, REPORT_STATUS_MAX };
const char *report_status_name(enum report_status status);

/* A device's PUT to the command URL; borrows from the tree. */
struct report {
	struct checkin_identity who;
	enum report_status status;
	const char *command_uuid;  /* NULL with Idle */
	const plist *error_chain;  /* array or NULL */
	bool has_facts;            /* it tells what facts_read would find */
};
/* POM_ERR_COMMAND_STATUS when Status is missing or unknown, POM_ERR_CHECKIN_MALFORMED when CommandUUID is missing where it is needed. */
bool report_parse(const plist *message, struct report *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the store knows about the command that a report names. One of another epoch of the same enrollment is another's, too: the holder
 * of a link must not be able to answer for the live device. */
enum command_where {
	COMMAND_NOWHERE, COMMAND_PENDING, COMMAND_DONE,
	COMMAND_GIVEN_UP, /* it expired or was taken back after the device had got it: what the device says of it is still worth knowing */
	COMMAND_OF_ANOTHER,
};

enum report_action { REPORT_DO_NOTHING, REPORT_DO_FINISH, REPORT_DO_DEFER };
struct report_plan {
	enum report_action action;
	bool with_deferred;   /* a session begins: the next command may be any that said NotNow. Within a session each of them is offered once */
	bool unknown_command; /* accepted, but worth a line in the log */
	int64_t push_again_ms;/* with REPORT_DO_DEFER: when to push again, Unix ms */
};
/* The rule for a report of a proven device. N_NOT_NOW: how often this command has said NotNow before. POM_ERR_COMMAND_FOREIGN. Pure. */
bool report_decide(const struct report *report, enum command_where where, int64_t n_not_now, int64_t now_ms, struct report_plan *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A command ready for the queue. */
struct command {
	char *request_type;
	GBytes *body; /* the whole plist {Command, CommandUUID} as it goes to the device */
};
void command_clear(struct command *command);
typedef struct command command_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(command_auto, command_clear)

enum { COMMAND_BODY_MAX = 8 << 20 };

/* COMMAND: the inner dictionary with RequestType. Checks that it is one, has a RequestType, and is not larger than
 * COMMAND_BODY_MAX when written; wraps it with UUID. POM_ERR_COMMAND_INVALID naming the key path. COMMAND transfer full. */
bool command_build(plist *command, const char *uuid, struct command *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A raw plist as people have it: either {CommandUUID, Command: {…}} (the UUID is kept and returned, transfer full, when it is there)
 * or the bare inner dictionary. Returns the inner dictionary, transfer full. */
plist *command_unwrap(const plist *raw, char **ret_uuid, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* COMMAND, the inner dictionary, as bytes that do not depend on the order of keys: two commands ask the same when these are equal. transfer full; POM_ERR_PLIST_UNREPRESENTABLE. */
GBytes *command_canonical(const plist *command, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How long a command may wait when nobody says how long: EXPIRE_MS (0: for ever), but what is for lost devices (EraseDevice, DeviceLock, EnableLostMode, PlayLostModeSound, DeviceLocation) waits for ever: such
 * a device may be off for long. Pure. */
int64_t command_default_expiry(const char *request_type, int64_t expire_ms);

/* What a report says of things that failed in it: the report itself, and each part of its answer that has an ErrorChain or a Status of Error or CommandFormatError (Settings, UpdateResults …). */
struct report_error {
	char *path;          /* "" for the report itself, "Settings[2]" for a part */
	const char *status;  /* NULL: it has none; borrowed */
	const plist *chain;  /* array, NULL: none; borrowed */
};
/* Array of struct report_error, at most REPORT_ERRORS_MAX, the report itself first; transfer full. */
enum { REPORT_ERRORS_MAX = 100 };
GArray *report_errors(const plist *report);
/* An item of an ErrorChain; texts are NULL where they are missing. */
struct chain_item { const char *domain, *text; int64_t code; bool has_code; };
/* TEXT is in English when the device says it so. */
struct chain_item chain_item_read(const plist *item);
