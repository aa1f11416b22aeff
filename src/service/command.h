/* Commands: what people order, what is told of them, and what of both is secret. JSON out, transfer full; NULL with ERROR. All block on the store; any thread. */
#pragma once

#include "service/service.h"

/* A command for one enrollment. */
enum { COMMAND_EXPIRES_NEVER = -1 };
struct command_order {
	const char *id;    /* the enrollment's id, or the UDID of its device */
	GBytes *body;      /* JSON: {"RequestType": …, keys}, or {"plist": base64}; with IS_PLIST a raw plist. JSON may also hold "expires_in_s", "fold" and "force" */
	bool is_plist;
	bool force;        /* without asking the catalog whether this device can carry it out */
	bool fold;         /* an identical one that waits, and that the device does not have, is enough */
	int64_t expires_s; /* seconds; 0: as the settings say; COMMAND_EXPIRES_NEVER */
};
/* When a command of REQUEST_TYPE expires that is queued at NOW; 0: never. EXPIRES_S as of struct command_order. */
int64_t service_command_expires_ms(const struct service *service, int64_t expires_s, const char *request_type, int64_t now_ms);
/* Seconds as people give them: 0 is never. POM_ERR_COMMAND_EXPIRES. */
bool command_order_expire(struct command_order *order, int64_t seconds, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Checks and queues it: {"command_uuid", "id", "request_type", "folded", "expires_at"}. What is typed is checked against the catalog for this device unless it is forced; a raw plist goes as it is. Whatever
 * holds a secret is sealed. A ClearPasscode without UnlockToken gets the token that the device gave us when it is fetched. Besides the errors of command_check: POM_ERR_COMMAND_ENROLLMENT for what would end
 * or replace the enrollment, POM_ERR_COMMAND_UNLOCK, POM_ERR_COMMAND_EXPIRES. */
json_t *service_command_send(struct service *service, const struct command_order *order, GError **error);
/* The same for a query that the server itself has (INNER transfer full, of ENROLLMENT_ID's row): not checked, always folded, and it expires as the settings say. */
bool service_command_ask(struct service *service, const char *enrollment_id, plist *inner, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A page of those that wait, or are done. LIMIT is clamped to 1–1000. */
json_t *service_command_list(struct service *service, const char *id, bool done, const char *after, int64_t limit, GError **error);
/* One command, what was asked (while it waits), and what the device said, with its errors explained. Secrets are COMMAND_REDACTED unless SECRETS, which the caller may say of one who may read them; then an
 * entry of the audit log says that ACTOR has. */
json_t *service_command_show(struct service *service, const char *uuid, bool secrets, const char *actor, GError **error);
json_t *service_command_cancel(struct service *service, const char *uuid, GError **error);
/* Removes commands that were finished more than DAYS ago (0: none), a bounded number; *RET_MORE: there may be more. Orders, which are kept for 90 days, tell what became of their commands, so these are kept a little longer
 * whatever DAYS says. The janitor's. */
enum { COMMAND_KEEP_MIN_DAYS = 100 };
bool service_command_purge(struct service *service, int64_t days, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends what has expired, a bounded number; *RET_MORE: there may be more. The janitor's. */
bool service_command_expire(struct service *service, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The plist that a device gets for a command of the queue which was not made by the server itself: opened, and with what only the server holds. transfer full. POM_ERR_COMMAND_UNLOCK, POM_ERR_STORE_SEAL. */
GBytes *service_command_content(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error);
