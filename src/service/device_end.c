/* The end of a device's management: asked of the device, done at once, forgotten, forbidden. */
#include <string.h>

#include "core/enroll.h"
#include "core/library.h"
#include "core/renewal.h"
#include "base/log.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/fleet.h"
#include "service/renewal.h"

enum { LIST_MAX = 1000, REASON_MAX = 500 };

/* The CRL is made anew by the janitor. */
static void nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

/* The row of a device, not of a user on it. */
static bool load_device(struct service *service, const char *id, struct enrollment_row *ret, store_load **ret_load, GError **error)
{
	if (!store_enrollment_get(service->store, id, ret, ret_load, error))
		return false;
	return !ret->parent_id || pom_fail(error, POM_ERR_UNENROLL, "%s is a user of the device %s: name the device", ret->id, ret->parent_id);
}

/* ---- unenroll ---- */

/* PayloadIdentifier of the profile that the device is managed by, as it was served; transfer full. */
static char *enrollment_identifier(struct service *service, const struct enrollment_row *row, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	struct enroll_served served = {0};
	char *identifier = NULL;

	if (!store_renewal_facts(service->store, row->id, row->active_epoch, &facts, &load, error))
		return NULL;
	if (facts.served && enroll_served_parse(facts.served, &served, error))
		identifier = enroll_profile_identifier(served.url);
	else if (!facts.served)
		pom_fail(error, POM_ERR_UNENROLL, "enrollment %s was not made with a link of this server, so the identifier of its profile is not known: \"device unenroll --now\" revokes its identity, and the profile is removed on the device",
		         row->id);
	enroll_served_clear(&served);
	return identifier;
}

static bool queue_removal(struct service *service, const char *actor, const struct enrollment_row *row, GError **error)
{
	g_autofree char *identifier = enrollment_identifier(service, row, error);
	struct pom_id uuid = pom_id_new(service->clock, service->random);
	g_auto(command_auto) command = {0};
	struct command_own own = {.enrollment_id = row->id, .uuid = uuid.text, .note = NOTE_UNENROLL, .command = &command, .epoch = row->active_epoch, .now_ms = service_now_ms(service), .event = "UnenrollAsked", .detail = actor};
	enum command_own_result result;
	plist *inner;

	if (!identifier)
		return false;
	inner = plist_new_dict();
	plist_dict_set_string(inner, "RequestType", "RemoveProfile");
	plist_dict_set_string(inner, "Identifier", identifier);
	if (!command_build(inner, uuid.text, &command, error) ||
	    !store_command_add_own(service->store, &own, AUDIT(actor, "device.unenroll", row->id, audit_detail("udid", row->device_id, "command", uuid.text, NULL)), &result, error) ||
	    !service_own_queued(row->id, result, error))
		return false;
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
	return true;
}

static json_t *unenrolled(const struct enrollment_row *row, const char *state, const char *text)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "id", row->id, "udid", row->device_id, "unenroll", state, "note", text);
}

static json_t *end_now(struct service *service, const char *actor, const struct enrollment_row *row, GError **error)
{
	const struct enrollment_end end = {.enrollment_id = row->id, .reason = "un-enrolled by an administrator", .event = "Unenrolled", .detail = actor, .now_ms = service_now_ms(service)};
	bool found;

	if (!store_enrollment_end(service->store, &end, AUDIT(actor, "device.unenroll", row->id, audit_detail("udid", row->device_id, "now", "true", NULL)), &found, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_UNENROLL, "enrollment %s has ended already", row->id);
		return NULL;
	}
	nudge(service);
	return unenrolled(row, "done", service->settings.revoked_unenroll ?
	                  "The identity is revoked. When the device comes next it is told to un-enroll (ca.revoked_unenroll)." :
	                  "The identity is revoked: the device is refused from now on and cannot be told anything any more. Its profiles stay on it until they are removed there (Settings, General, VPN & Device Management), or it is erased.");
}

json_t *service_device_unenroll(struct service *service, const char *actor, const char *id, bool now, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	if (!load_device(service, id, &row, &load, error))
		return NULL;
	if (now)
		return end_now(service, actor, &row, error);
	if (!row.active_epoch) {
		pom_fail(error, POM_ERR_UNENROLL, row.state == ENROLLMENT_ENDED ? "enrollment %s has ended already" : "enrollment %s is not complete, so the device takes no commands: use --now", row.id);
		return NULL;
	}
	if (!service_check_blocked(service, row.device_id, row.serial, error) || !queue_removal(service, actor, &row, error))
		return NULL;
	return unenrolled(&row, "asked", "The device is told to remove its enrollment profile. When it has answered, or has checked out, its identity is revoked.");
}

static bool end_by_report(struct service *service, const struct command_row *command, GBytes *body, GError **error)
{
	const struct enrollment_end end = {
		.enrollment_id = command->enrollment_id, .reason = "un-enrolled by an administrator", .event = "Unenrolled", .detail = "the device removed its enrollment profile", .command = command, .status = "Acknowledged",
		.result = g_bytes_get_data(body, NULL), .result_len = g_bytes_get_size(body), .now_ms = service_now_ms(service),
	};
	bool found;

	if (!store_enrollment_end(service->store, &end, AUDIT("device", "device.unenrolled", command->enrollment_id, audit_detail("command", command->uuid, NULL)), &found, error))
		return false;
	pom_log(POM_LOG_NOTICE, "a device was un-enrolled", "enrollment", command->enrollment_id, NULL);
	nudge(service);
	return true;
}

bool service_unenroll_report(struct service *service, const struct command_row *command, const struct report *report, GBytes *body, GError **error)
{
	const char *status = report_status_name(report->status);
	g_autofree char *reason = NULL;
	int64_t now_ms = service_now_ms(service);

	if (report->status == REPORT_ACKNOWLEDGED)
		return end_by_report(service, command, body, error);
	reason = library_reason(report->error_chain, report->status);
	return store_event_add(service->store, command->enrollment_id, "UnenrollFailed", reason, now_ms, error) &&
	       store_command_finish(service->store, command, &(struct command_result){status, body, false}, now_ms, error);
}

/* ---- delete ---- */

json_t *service_device_delete(struct service *service, const char *actor, const char *id, bool force, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	GError *inner = NULL;

	if (!load_device(service, id, &row, &load, error))
		return NULL;
	if (row.state != ENROLLMENT_ENDED) {
		g_autoptr(json_t) ended = NULL;

		if (!force) {
			pom_fail(error, POM_ERR_UNENROLL, "device %s is still enrolled: \"device unenroll\" ends that, or --force revokes its identity and forgets it at once", row.id);
			return NULL;
		}
		ended = end_now(service, actor, &row, &inner);
		/* Ended by itself meanwhile is as good. */
		if (!ended && !g_error_matches(inner, POM_ERROR, POM_ERR_UNENROLL)) {
			g_propagate_error(error, inner);
			return NULL;
		}
		g_clear_error(&inner);
	}
	if (!store_enrollment_delete(service->store, row.id, AUDIT(actor, "device.delete", row.id, audit_detail("udid", row.device_id, "serial", row.serial, NULL)), &inner)) {
		service_fail_again(error, inner);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:b}", "id", row.id, "udid", row.device_id, "deleted", 1);
}

/* ---- blocked devices ---- */

static json_t *block_json(const struct block_row *row)
{
	json_t *o = json_object();

	json_set_text(o, "udid", row->device_id);
	json_set_text(o, "serial", row->serial);
	json_set_text(o, "reason", row->reason);
	json_object_set_new(o, "told_to_unenroll", json_boolean(row->unenroll));
	json_set_text(o, "blocked_by", row->actor);
	json_object_set_new(o, "blocked_at", json_time(row->created_ms));
	return o;
}

static bool check_name(const char *what, const char *text, GError **error)
{
	size_t n = text ? strlen(text) : 1;

	for (const char *p = text; p && *p; p++)
		if (!g_ascii_isgraph(*p))
			n = 0;
	return (n && n <= CHECKIN_ID_MAX) || pom_fail(error, POM_ERR_BAD_REQUEST, "%s has 1 to %d letters, digits and signs", what, CHECKIN_ID_MAX);
}

/* The enrollment of ID, when there is one: *RET_FOUND. */
static bool find_device(struct service *service, const char *id, struct enrollment_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	GError *inner = NULL;

	*ret_found = load_device(service, id, ret, ret_load, &inner);
	if (*ret_found || g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_clear_error(&inner);
		return true;
	}
	g_propagate_error(error, inner);
	return false;
}

json_t *service_device_block(struct service *service, const char *actor, const char *id, const char *serial, const char *reason, bool unenroll, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	struct block_row block = {.device_id = id, .serial = serial, .reason = reason, .actor = actor, .unenroll = unenroll, .created_ms = service_now_ms(service)};
	bool found;

	if (reason && (strlen(reason) > REASON_MAX || !g_utf8_validate(reason, -1, NULL))) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "a reason has at most %d bytes", REASON_MAX);
		return NULL;
	}
	if (!check_name("an id", id, error) || !check_name("a serial number", serial, error) || !find_device(service, id, &row, &found, &load, error))
		return NULL;
	if (found) {
		block.device_id = row.device_id;
		block.serial = serial ? serial : row.serial;
	}
	if (!store_block_put(service->store, &block, found ? row.id : NULL, AUDIT(actor, "device.block", found ? row.id : id, audit_detail("udid", block.device_id, "serial", block.serial, "reason", reason, NULL)), error))
		return NULL;
	return block_json(&block);
}

json_t *service_device_unblock(struct service *service, const char *actor, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	bool found, blocked;

	if (!find_device(service, id, &row, &found, &load, error) ||
	    /* Of a device that is not known, what it is blocked by may be its serial number. */
	    !store_block_remove(service->store, found ? row.device_id : id, found ? row.serial : id, found ? row.id : NULL, service_now_ms(service),
	                        AUDIT(actor, "device.unblock", found ? row.id : id, audit_detail("udid", found ? row.device_id : NULL, NULL)), &blocked, error))
		return NULL;
	if (!blocked) {
		pom_fail(error, POM_ERR_NOT_FOUND, "device %s is not blocked (\"device blocked\" lists those that are)", id);
		return NULL;
	}
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
	return json_pack("{s:s, s:b}", "id", found ? row.id : id, "unblocked", 1);
}

json_t *service_block_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_block_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		json_array_append_new(items, block_json(&g_array_index(rows, struct block_row, i)));
		last = g_array_index(rows, struct block_row, i).device_id;
	}
	return json_page(items, last, limit);
}

bool service_check_blocked(struct service *service, const char *device_id, const char *serial, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct block_row row;
	bool found;

	if (!store_block_find(service->store, device_id, serial, &row, &found, &load, error))
		return false;
	return checkin_check_blocked(&(struct checkin_facts){.blocked = found ? row.reason ? row.reason : "" : NULL}, error);
}
