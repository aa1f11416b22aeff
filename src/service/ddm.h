/* Declarative management: what a device says and asks with the check-in message DeclarativeManagement. */
#pragma once

#include "service/service.h"

/* One message, of a sender who has been proved and whose channel is live. Strings and data borrow from the message. */
struct ddm_request {
	const char *enrollment_id; /* of the channel: the device's, or the user's own */
	int64_t epoch;             /* the one that is active; declarations and tokens belong to it */
	enum enrollment_kind kind;
	bool user_channel;
	const char *endpoint;      /* as it was sent, 1–CHECKIN_TEXT_MAX bytes: "tokens", "declaration/KIND/IDENTIFIER" … */
	const void *data;          /* JSON as it was sent; NULL when the message has none */
	size_t data_len;
};
/* Answers REQUEST. RET begins as 200 without a body; content_type is set beside a body. Status 404 says that a declaration is not there, and the device deletes its copy: never for
 * what may pass. False with ERROR: nothing was done, and the device comes again. Blocks on the store; any thread. */
bool service_ddm_checkin(struct service *service, const struct ddm_request *request, struct device_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The content of the command DeclarativeManagement, made now: plist {Command, CommandUUID}, transfer full. It tells the tokens of this moment. */
GBytes *service_ddm_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error);
/* What a device says of it, before the command is finished; and what follows when it is. */
bool service_ddm_report(struct service *service, const struct command_row *command, const struct report *report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool service_ddm_answered(struct service *service, const char *enrollment_id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* GET /ddm/ENROLLMENT_ID/NAME/MAC: the data of an asset or a profile of the library, for the device that PROOF (over empty content) speaks for; transfer full. *RET_TYPE its media type, transfer full.
 * POM_ERR_DDM_LINK: there is nothing here for it. */
GBytes *service_ddm_file(struct service *service, const struct device_proof *proof, const char *enrollment_id, const char *name, const char *mac, struct subject *subject, char **ret_type, GError **error);

/* ---- the janitor's ---- */
/* Looks at enrollments that changes have made due, a bounded number; *RET_MORE: some are left. */
bool service_ddm_work(struct service *service, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Has those told that lost their command, and forgets lists that nobody has. */
bool service_ddm_minute(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
