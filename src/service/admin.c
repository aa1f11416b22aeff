/* What administrators ask for, as JSON. */
#include <string.h>

#include "codec/cms.h"
#include "core/renewal.h"
#include "service/answer.h"
#include "service/command_target.h"
#include "service/enroll.h"
#include "service/library_device.h"
#include "service/service.h"

enum { LIST_MAX = 1000, TOKEN_BYTES = 32, NAME_LEN = 255 };

static json_t *enrollment_json(struct service *service, const struct enrollment_row *e)
{
	json_t *o = json_object();

	json_set_text(o, "id", e->id);
	json_set_text(o, "udid", e->device_id);
	json_set_text(o, "serial", e->serial);
	json_set_text(o, "kind", enrollment_kind_name((enum enrollment_kind)e->kind));
	json_set_text(o, "state", enrollment_state_name((enum enrollment_state)e->state));
	json_object_set_new(o, "enrolled", json_boolean(e->state == ENROLLMENT_ENROLLED));
	json_object_set_new(o, "last_seen", json_time(store_last_seen(service->store, e->id, e->last_seen_ms)));
	json_set_text(o, "name", e->device_name);
	json_set_text(o, "product_name", e->product_name);
	json_set_text(o, "model", e->model);
	json_set_text(o, "model_name", e->model_name);
	json_set_text(o, "os_version", e->os_version);
	json_set_text(o, "build_version", e->build_version);
	json_set_text(o, "owner", e->owner);
	json_set_text(o, "parent_id", e->parent_id);
	json_set_text(o, "user", *e->user_part ? e->user_part : NULL);
	json_set_text(o, "user_short_name", e->user_short_name);
	json_set_text(o, "user_long_name", e->user_long_name);
	json_object_set_new(o, "epoch", json_integer(e->active_epoch));
	json_object_set_new(o, "enrolled_at", json_time(e->enrolled_ms));
	json_object_set_new(o, "ended_at", json_time(e->ended_ms));
	return o;
}

json_t *service_device_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_enrollment_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct enrollment_row *row = &g_array_index(rows, struct enrollment_row, i);

		json_array_append_new(items, enrollment_json(service, row));
		last = row->id;
	}
	return json_page(items, last, limit);
}

json_t *service_device_show(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL, epoch_load = NULL;
	struct enrollment_row row;
	struct epoch_row epoch;
	json_t *o;

	if (!store_enrollment_get(service->store, id, &row, &load, error) || !store_epoch_get(service->store, row.id, row.active_epoch, &epoch, &epoch_load, error))
		return NULL;
	o = enrollment_json(service, &row);
	json_set_text(o, "imei", row.imei);
	json_set_text(o, "meid", row.meid);
	json_object_set_new(o, "created_at", json_time(row.created_ms));
	json_object_set_new(o, "authenticated_at", json_time(row.authenticated_ms));
	json_object_set_new(o, "pending_epoch", json_integer(row.pending_epoch));
	json_set_text(o, "certificate_serial", epoch.certificate_serial);
	json_set_text(o, "topic", epoch.topic);
	json_object_set_new(o, "push_token_dead_since", json_time(epoch.push_dead_ms));
	json_object_set_new(o, "token_updated_at", json_time(epoch.token_ms));
	json_object_set_new(o, "awaiting_configuration", json_boolean(epoch.awaiting_configuration));
	json_object_set_new(o, "has_unlock_token", json_boolean(epoch.has_unlock_token));
	json_object_set_new(o, "has_bootstrap_token", json_boolean(epoch.has_bootstrap_token));
	if (!service_device_more(service, row.id, o, error)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* The row id of an enrollment named by id or UDID; transfer full. */
static char *resolve(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	return store_enrollment_get(service->store, id, &row, &load, error) ? g_strdup(row.id) : NULL;
}

json_t *service_device_events(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	g_autofree char *row_id = resolve(service, id, error);
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = row_id ? store_event_list(service->store, row_id, after, limit, &load, error) : NULL;
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct event_row *row = &g_array_index(rows, struct event_row, i);
		json_t *o = json_object();

		json_object_set_new(o, "at", json_time(row->at_ms));
		json_set_text(o, "kind", row->kind);
		json_set_text(o, "detail", row->detail);
		json_array_append_new(items, o);
		last = row->id;
	}
	return json_page(items, last, limit);
}

static void wake(struct service *service)
{
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
}

json_t *service_device_push(struct service *service, const char *id, GError **error)
{
	g_autofree char *row_id = resolve(service, id, error);

	if (!row_id || !store_push_ask(service->store, row_id, service_now_ms(service), error))
		return NULL;
	wake(service);
	return json_pack("{s:s, s:b}", "id", row_id, "push_queued", 1);
}

/* The inner dictionary of the command in BODY; *RET_UUID set when a raw plist brings its own. */
static plist *parse_command(GBytes *body, bool is_plist, char **ret_uuid, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(body, &len);

	if (is_plist) {
		g_autoptr(plist) raw = plist_parse(data, len, NULL, error);

		return raw ? command_unwrap(raw, ret_uuid, error) : NULL;
	}
	g_autoptr(json_t) json = json_parse(data, len, error);
	return json ? plist_from_json(json, "command", error) : NULL;
}

/* Whether IDENTIFIER is that of the profile that the device is managed by: of this server's address, or of the one that it was enrolled with. */
static bool is_enrollment(struct service *service, const struct enrollment_row *row, const char *identifier)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	struct enroll_served served = {0};
	bool is = enroll_is_own_identifier(service->settings.url, identifier, true);

	if (!is && row->active_epoch && store_renewal_facts(service->store, row->id, row->active_epoch, &facts, &load, NULL) && facts.served && enroll_served_parse(facts.served, &served, NULL))
		is = enroll_is_own_identifier(served.url, identifier, true);
	enroll_served_clear(&served);
	return is;
}

/* The property list in Command.Payload, whoever signed it; transfer full. */
static plist *payload_tree(const void *data, size_t len, GError **error)
{
	g_autoptr(cms_signed) message = NULL;

	if (!len || *(const uint8_t *)data != 0x30)
		return plist_parse(data, len, NULL, error);
	message = cms_signed_parse(data, len, NULL, 0, COMMAND_BODY_MAX, error);
	if (!message)
		return NULL;
	if (!message->content) {
		pom_fail(error, POM_ERR_PROFILE, "the signed message holds no profile");
		return NULL;
	}
	return plist_parse(g_bytes_get_data(message->content, NULL), g_bytes_get_size(message->content), NULL, error);
}

static bool check_install(struct service *service, const struct enrollment_row *row, const plist *inner, GError **error)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(inner, "Payload"), &len);
	g_autoptr(GError) cause = NULL;
	g_autoptr(plist) tree = NULL;
	const char *identifier;
	const plist *content;

	if (!data)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.Payload is missing or no data: it must be the bytes of a configuration profile");
	tree = payload_tree(data, len, &cause);
	content = plist_dict_get(tree, "PayloadContent");
	for (size_t i = 0; plist_get_type(content) == PLIST_ARRAY && i < plist_count(content); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(content, i), "PayloadType")), "com.apple.mdm"))
			return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "Command.Payload holds a com.apple.mdm payload (PayloadContent[%zu]): it would replace the enrollment. A new identity is sent with \"pomona device renew\"", i);
	identifier = plist_get_string(plist_dict_get(tree, "PayloadIdentifier"));
	if (identifier && is_enrollment(service, row, identifier))
		return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "Command.Payload has the PayloadIdentifier %s of the profile that this device is managed by, and would replace it", identifier);
	if (!tree || !mobileconfig_check(tree, &cause))
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.Payload is no profile that a device takes: %s", cause->message);
	return true;
}

/* What would take the device away from us, or can only fail. */
static bool check_command(struct service *service, const struct enrollment_row *row, const plist *inner, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType")), *identifier = plist_get_string(plist_dict_get(inner, "Identifier"));

	if (!g_strcmp0(type, "InstallProfile"))
		return check_install(service, row, inner, error);
	if (!g_strcmp0(type, "RemoveProfile") && identifier && is_enrollment(service, row, identifier))
		return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "%s is the profile that this device is managed by: without it the device is not managed any more. It is removed on the device itself (Settings, General,"
		                " VPN & Device Management), or the device is erased (EraseDevice)", identifier);
	return true;
}

/* A raw plist and what is forced go as they are; but a misspelled RequestType is never forced. */
static bool check_catalog(struct service *service, const struct enrollment_row *row, const plist *inner, bool force, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType"));
	struct command_target target;

	if (force && command_type_find(type))
		return true;
	return service_command_target(service, row, &target, error) && command_check(inner, &target, error);
}

json_t *service_command_send(struct service *service, const char *id, GBytes *body, bool is_plist, bool force, GError **error)
{
	struct pom_id fresh = pom_id_new(service->clock, service->random);
	g_autofree char *own_uuid = NULL;
	g_autoptr(store_load) load = NULL;
	g_auto(command_auto) command = {0};
	struct enrollment_row row;
	g_autoptr(plist) inner = store_enrollment_get(service->store, id, &row, &load, error) ? parse_command(body, is_plist, &own_uuid, error) : NULL;
	const char *uuid = own_uuid ? own_uuid : fresh.text;

	if (!inner || !check_command(service, &row, inner, error) || (!is_plist && !check_catalog(service, &row, inner, force, error)) || !command_build(g_steal_pointer(&inner), uuid, &command, error) ||
	    !store_command_add(service->store, row.id, uuid, &command, NULL, service_now_ms(service), error))
		return NULL;
	wake(service);
	return json_pack("{s:s, s:s, s:s}", "command_uuid", uuid, "id", row.id, "request_type", command.request_type);
}

static json_t *command_json(const struct command_row *c)
{
	json_t *o = json_object();

	json_set_text(o, "command_uuid", c->uuid);
	json_set_text(o, "id", c->enrollment_id);
	json_set_text(o, "request_type", c->request_type);
	json_set_text(o, "status", c->status ? c->status : c->n_not_now ? "NotNow" : "Queued");
	json_object_set_new(o, "created_at", json_time(c->created_ms));
	json_object_set_new(o, "finished_at", json_time(c->finished_ms));
	json_object_set_new(o, "not_now_count", json_integer(c->n_not_now));
	json_object_set_new(o, "epoch", json_integer(c->epoch));
	return o;
}

json_t *service_command_list(struct service *service, const char *id, bool done, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	g_autofree char *row_id = resolve(service, id, error);
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = row_id ? store_command_list(service->store, row_id, done, after, limit, &load, error) : NULL;
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		struct command_row *row = &g_array_index(rows, struct command_row, i);

		row->enrollment_id = row_id;
		json_array_append_new(items, command_json(row));
		last = done ? row->uuid : row->seq;
	}
	return json_page(items, last, limit);
}

json_t *service_command_show(struct service *service, const char *uuid, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GBytes) result = NULL;
	g_autoptr(plist) tree = NULL;
	struct command_row row;
	json_t *o;

	if (!store_command_get(service->store, uuid, &row, &result, &load, error))
		return NULL;
	o = command_json(&row);
	if (result)
		tree = plist_parse(g_bytes_get_data(result, NULL), g_bytes_get_size(result), NULL, NULL);
	json_object_set_new(o, "error_chain", tree && plist_dict_get(tree, "ErrorChain") ? json_from_plist(plist_dict_get(tree, "ErrorChain")) : json_null());
	json_object_set_new(o, "result", tree ? json_from_plist(tree) : json_null());
	return o;
}

json_t *service_command_cancel(struct service *service, const char *uuid, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GBytes) result = NULL;
	struct command_row row;
	bool removes;

	if (!store_command_get(service->store, uuid, &row, &result, &load, error) || !store_command_cancel(service->store, uuid, service_now_ms(service), error))
		return NULL;
	if (note_profile(row.note, &removes) &&
	    !service_library_happen(service, &(struct library_happening){.enrollment_id = row.enrollment_id, .profile = note_profile(row.note, &removes), .event = LIBRARY_CANCELED, .command_uuid = uuid}, NULL, error))
		return NULL;
	return json_pack("{s:s, s:s}", "command_uuid", uuid, "status", "Canceled");
}

const char *link_state_name(const struct link_row *row, int64_t now_ms)
{
	return row->revoked_ms ? "revoked" : row->consumed_ms ? "used" : now_ms >= row->expires_ms ? "expired" : "open";
}

json_t *service_link_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_link_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct link_row *row = &g_array_index(rows, struct link_row, i);
		json_t *o = json_object();

		json_set_text(o, "id", row->id);
		json_set_text(o, "state", link_state_name(row, service_now_ms(service)));
		json_set_text(o, "user", row->user_name);
		json_set_text(o, "device", row->device_name);
		json_object_set_new(o, "created_at", json_time(row->created_ms));
		json_object_set_new(o, "expires", json_time(row->expires_ms));
		json_set_text(o, "enrollment_id", row->enrollment_id);
		json_array_append_new(items, o);
		last = row->id;
	}
	return json_page(items, last, limit);
}

static json_t *revoked(const char *what, const char *id, bool found, GError **error)
{
	if (found)
		return json_pack("{s:s, s:b}", "id", id, "revoked", 1);
	pom_fail(error, POM_ERR_NOT_FOUND, "there is no open %s %s", what, id);
	return NULL;
}

json_t *service_link_revoke(struct service *service, const char *id, GError **error)
{
	bool found;

	return store_link_revoke(service->store, id, service_now_ms(service), &found, error) ? revoked("enrollment link", id, found, error) : NULL;
}

json_t *service_token_list(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_token_list(service->store, &load, error);
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct token_row *row = &g_array_index(rows, struct token_row, i);

		json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:o}", "id", row->id, "name", row->name, "created_at", json_time(row->created_ms),
		                                       "revoked_at", json_time(row->revoked_ms)));
	}
	return json_pack("{s:o, s:n}", "items", items, "next");
}

json_t *service_token_revoke(struct service *service, const char *id, GError **error)
{
	bool found;

	return store_token_revoke(service->store, id, service_now_ms(service), &found, error) ? revoked("token", id, found, error) : NULL;
}

json_t *service_token_new(struct service *service, const char *name, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *secret = pom_random_token(service->random, TOKEN_BYTES);
	uint8_t hash[32];
	json_t *o;

	if (!name || !*name || strlen(name) > NAME_LEN || !g_utf8_validate(name, -1, NULL)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "a token needs a name of 1 to %d bytes", NAME_LEN);
		return NULL;
	}
	cert_sha256(secret, strlen(secret), hash);
	if (!store_token_add(service->store, id.text, name, hash, service_now_ms(service), error))
		return NULL;
	o = json_pack("{s:s, s:s, s:s}", "id", id.text, "name", name, "token", secret);
	explicit_bzero(secret, strlen(secret));
	return o;
}

char *service_token_find(struct service *service, const char *secret, GError **error)
{
	uint8_t hash[32];
	char *name = NULL;

	/* Looked up by the hash of 256 random bits: the comparison's timing tells nothing about the secret. */
	cert_sha256(secret, strlen(secret), hash);
	return store_token_find(service->store, hash, &name, error) ? name : NULL;
}
