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
