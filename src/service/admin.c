/* What administrators ask for, as JSON. */
#include <string.h>

#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/enroll.h"
#include "service/fleet.h"
#include "service/library_device.h"
#include "service/service.h"

enum { LIST_MAX = 1000, TOKEN_BYTES = 32, NAME_LEN = 255 };

json_t *service_enrollment_json(struct service *service, const struct enrollment_row *e)
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

		json_array_append_new(items, service_enrollment_json(service, row));
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
	o = service_enrollment_json(service, &row);
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
	if (row.kind == ENROLLMENT_USER || row.kind == ENROLLMENT_USER_USER)
		json_object_set_new(o, "not_on_console", json_boolean(epoch.not_on_console));
	json_set_text(o, "provenance", epoch.provenance ? epoch.provenance : row.parent_id ? NULL : "link");
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
		json_object_set_new(o, "times", json_integer(row->n));
		json_object_set_new(o, "last_at", json_time(row->n > 1 ? row->last_ms : 0));
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

		json_array_append_new(items, json_pack("{s:s, s:s, s:b, s:o, s:o}", "id", row->id, "name", row->name, "secrets", row->secrets, "created_at", json_time(row->created_ms),
		                                       "revoked_at", json_time(row->revoked_ms)));
	}
	return json_pack("{s:o, s:n}", "items", items, "next");
}

json_t *service_token_revoke(struct service *service, const char *id, GError **error)
{
	bool found;

	return store_token_revoke(service->store, id, service_now_ms(service), &found, error) ? revoked("token", id, found, error) : NULL;
}

json_t *service_token_new(struct service *service, const char *name, bool secrets, const char *actor, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *secret = pom_random_token(service->random, TOKEN_BYTES);
	const struct audit_entry *audit;
	uint8_t hash[32];
	json_t *o;

	if (!name || !*name || strlen(name) > NAME_LEN || !g_utf8_validate(name, -1, NULL)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "a token needs a name of 1 to %d bytes", NAME_LEN);
		return NULL;
	}
	cert_sha256(secret, strlen(secret), hash);
	audit = AUDIT(actor, "token.new", id.text, audit_detail("name", name, "secrets", secrets ? "true" : "false", NULL));
	if (!store_token_add(service->store, id.text, name, hash, secrets, service_now_ms(service), audit, error))
		return NULL;
	o = json_pack("{s:s, s:s, s:b, s:s}", "id", id.text, "name", name, "secrets", secrets, "token", secret);
	explicit_bzero(secret, strlen(secret));
	return o;
}

char *service_token_find(struct service *service, const char *secret, bool *ret_secrets, GError **error)
{
	uint8_t hash[32];
	char *name = NULL;
	bool secrets;

	/* Looked up by the hash of 256 random bits: the comparison's timing tells nothing about the secret. */
	cert_sha256(secret, strlen(secret), hash);
	if (!store_token_find(service->store, hash, &name, &secrets, error) || !name)
		return NULL;
	if (ret_secrets)
		*ret_secrets = secrets;
	return name;
}
