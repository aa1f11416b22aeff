/* Orders: one command for many devices. An order is durable before it is answered; the janitor sends it, a page of devices and the mark how far it is in one transaction, so that a crash neither leaves a device
 * out nor sends to one twice. The content of each command is made when it is fetched: no secret lies in the queue. */
#include <string.h>

#include "base/log.h"
#include "core/renewal.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/command.h"
#include "service/command_target.h"
#include "service/fleet.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, DEVICES_MAX = 1000, PAGE = 250, TAKE_BACK = 500, ORDERS = 20, PAGES = 4, KEEP_DAYS = 90 };

static GBytes *seal_body(struct service *service, const char *id, const plist *inner, GError **error)
{
	g_autoptr(GBytes) text = plist_format(inner, error);

	return text ? seal_close(&service->seal, "fleet_order", id, "body", g_bytes_get_data(text, NULL), g_bytes_get_size(text)) : NULL;
}

static plist *open_body(struct service *service, const char *id, GBytes *sealed, GError **error)
{
	g_autoptr(GBytes) text = seal_open(&service->seal, "fleet_order", id, "body", sealed, error);

	return text ? plist_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL, error) : NULL;
}

/* ---- a new order ---- */

/* What is wrong with it for whatever device. */
static plist *read_command(const struct order_wish *wish, GError **error)
{
	g_autofree char *own_uuid = NULL;
	g_autoptr(plist) inner = service_command_parse(wish->body, wish->is_plist, &own_uuid, error);
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType"));

	if (!inner)
		return NULL;
	if (own_uuid) {
		pom_fail(error, POM_ERR_ORDER, "the property list has a CommandUUID, and each device needs one of its own: leave it out");
		return NULL;
	}
	if (!type) {
		pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.RequestType is missing");
		return NULL;
	}
	if (!wish->is_plist && !(wish->force && command_type_find(type)) && !command_check(inner, NULL, error))
		return NULL;
	return g_steal_pointer(&inner);
}

static char **resolve(struct service *service, const char *const *devices, GError **error)
{
	g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; devices[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct enrollment_row row;

		if (i == DEVICES_MAX) {
			pom_fail(error, POM_ERR_LIMIT, "at most %d devices by name: make a group, or ask by a query", DEVICES_MAX);
			return NULL;
		}
		if (!store_enrollment_get(service->store, devices[i], &row, &load, error))
			return NULL;
		if (!g_ptr_array_find_with_equal_func(ids, row.id, g_str_equal, NULL))
			g_ptr_array_add(ids, g_strdup(row.id));
	}
	g_ptr_array_add(ids, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&ids), FALSE);
}

/* Who it is for: sets kind, target and how many devices may be concerned. TARGET is kept in *KEEP. */
static bool take_target(struct service *service, const struct order_wish *wish, struct order_row *order, char ***ret_ids, char **keep, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(query) query = NULL;
	struct group_row group;

	if ((wish->devices && *wish->devices) + (wish->group != NULL) + (wish->query != NULL) + wish->all != 1)
		return pom_fail(error, POM_ERR_ORDER, "name the devices in one of these ways: by id, a group, a query, or all");
	order->kind = wish->query ? "query" : wish->group ? "group" : wish->all ? "all" : "devices";
	*keep = g_strdup(wish->query ? wish->query : wish->group);
	if (wish->group) {
		if (!store_group_get(service->store, wish->group, &group, &load, error))
			return false;
		order->n_planned = group.n_members;
		if (group.query) {
			order->kind = "query";
			g_free(*keep);
			*keep = g_strdup(group.query);
		}
	}
	order->target = *keep;
	if (!strcmp(order->kind, "query") && !(query = query_parse(*keep, error)))
		return false;
	if (wish->devices && *wish->devices) {
		*ret_ids = resolve(service, wish->devices, error);
		order->n_planned = *ret_ids ? g_strv_length(*ret_ids) : 0;
		return *ret_ids != NULL;
	}
	return wish->group || store_fleet_count(service->store, &order->n_planned, error);
}

static void nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

json_t *service_order_new(struct service *service, const char *actor, const struct order_wish *wish, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	struct order_row order = {.id = id.text, .actor = actor, .unchecked = wish->is_plist || wish->force, .created_ms = service_now_ms(service)};
	g_auto(GStrv) ids = NULL;
	g_autofree char *target = NULL;
	g_autoptr(plist) inner = read_command(wish, error);
	g_autoptr(GBytes) sealed = NULL;

	if (!inner || !take_target(service, wish, &order, &ids, &target, error))
		return NULL;
	order.request_type = plist_get_string(plist_dict_get(inner, "RequestType"));
	order.expires_ms = service_command_expires_ms(service, wish->expires_s, order.request_type, order.created_ms);
	sealed = seal_body(service, id.text, inner, error);
	if (!sealed || !store_order_add(service->store, &order, sealed, (const char *const *)ids,
	                                AUDIT(actor, "order.new", id.text, audit_detail("request_type", order.request_type, "for", order.kind, "target", target, NULL)), error))
		return NULL;
	nudge(service);
	return service_order_show(service, id.text, error);
}

/* ---- sending ---- */

/* A UUID of its own for each device, and always the same one. */
static void order_uuid(const char *order_id, const char *enrollment_id, char out[POM_ID_LEN + 1])
{
	g_autofree char *both = g_strconcat(order_id, "/", enrollment_id, NULL);
	uint8_t d[32];

	cert_sha256(both, strlen(both), d);
	g_snprintf(out, POM_ID_LEN + 1, "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X", d[0], d[1], d[2], d[3], d[4], d[5], (d[6] & 0x0fu) | 0x80u, d[7], (d[8] & 0x3fu) | 0x80u, d[9], d[10], d[11],
	           d[12], d[13], d[14], d[15]);
}

struct sending {
	struct service *service;
	const struct order_row *order;
	plist *inner;          /* the command */
	struct query *query;   /* of those that match; NULL: all of the page */
	GBytes *placeholder;   /* lies in the queue until the command is fetched */
	char *note;
};

static void sending_clear(struct sending *s)
{
	plist_free(s->inner);
	query_free(s->query);
	g_clear_pointer(&s->placeholder, g_bytes_unref);
	g_free(s->note);
}

static bool sending_init(struct sending *s, struct service *service, const struct order_row *order, GError **error)
{
	g_auto(command_auto) empty = {0};
	g_autofree char *state = NULL;
	g_autoptr(GBytes) sealed = NULL;
	plist *only_type = plist_new_dict();

	*s = (struct sending){.service = service, .order = order, .note = g_strconcat(NOTE_ORDER, order->id, NULL)};
	plist_dict_set_string(only_type, "RequestType", order->request_type);
	if (!command_build(only_type, order->id, &empty, error) || !store_order_body(service->store, order->id, &state, &sealed, error) || !(s->inner = open_body(service, order->id, sealed, error)))
		return false;
	s->placeholder = g_bytes_ref(empty.body);
	return strcmp(order->kind, "query") || (s->query = query_parse(order->target, error));
}

/* Why this device does not get it; NULL: it does. The store's errors are ERROR's. */
static char *why_not(const struct sending *s, const struct enrollment_row *row, bool blocks, GError **error)
{
	g_autoptr(GError) inner = NULL;

	if (row->state != ENROLLMENT_ENROLLED || !row->active_epoch)
		return g_strdup("the device is not enrolled");
	if ((blocks && !service_check_blocked(s->service, row->device_id, row->serial, &inner)) || !service_command_check(s->service, row, s->inner, s->order->unchecked, &inner)) {
		if (pom_error_info_of(inner)->retry)
			g_propagate_error(error, g_error_copy(inner));
		return g_strdup(inner->message);
	}
	return NULL;
}

struct page { GArray *steps; GPtrArray *texts; };

static bool add_steps(const struct sending *s, const GArray *rows, struct page *page, GError **error)
{
	const struct enrollment_row *all = (const struct enrollment_row *)(const void *)rows->data;
	g_autoptr(fleet_values) values = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) blocks = store_block_list(s->service->store, "", 1, &load, error);

	if (!blocks || (s->query && rows->len && !(values = fleet_values_load(s->service, query_facts(s->query), query_attributes(s->query), all[0].id, all[rows->len - 1].id, error))))
		return false;
	for (guint i = 0; i < rows->len; i++) {
		struct order_step step = {.enrollment_id = all[i].id};
		GError *inner = NULL;
		char *text;

		if (s->query && !fleet_matches(s->service, s->query, values, &all[i]))
			continue;
		step.reason = text = why_not(s, &all[i], blocks->len > 0, &inner);
		if (inner) {
			g_propagate_error(error, inner);
			g_free(text);
			return false;
		}
		if (!text) {
			step.uuid = text = g_malloc(POM_ID_LEN + 1);
			order_uuid(s->order->id, all[i].id, text);
		}
		g_ptr_array_add(page->texts, text);
		g_array_append_val(page->steps, step);
	}
	return true;
}

static enum fleet_source source_of(const struct order_row *order)
{
	return !strcmp(order->kind, "group") ? FLEET_GROUP : !strcmp(order->kind, "devices") ? FLEET_ORDER : FLEET_ALL;
}

/* Somebody canceled it, or it is at the same time done elsewhere: nothing was written. */
static bool forgive_conflict(GError *inner, GError **error)
{
	if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_error_free(inner);
	return true;
}

/* The next page. */
static bool send_page(struct service *service, const struct order_row *order, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_fleet_page(service->store, source_of(order), source_of(order) == FLEET_ORDER ? order->id : order->target, order->after, PAGE, &load, error);
	struct page page = {g_array_new(FALSE, FALSE, sizeof(struct order_step)), g_ptr_array_new_with_free_func(g_free)};
	struct sending s = {0};
	GError *inner = NULL;
	bool ok = rows && sending_init(&s, service, order, error) && add_steps(&s, rows, &page, error);

	if (ok && !store_order_send(service->store, order, (const struct order_step *)(const void *)page.steps->data, page.steps->len, rows->len ? g_array_index(rows, struct enrollment_row, rows->len - 1).id : order->after,
	                            rows->len < PAGE, s.placeholder, s.note, service_now_ms(service), &inner))
		ok = forgive_conflict(inner, error);
	if (ok && page.steps->len && service->wake_push)
		service->wake_push(service->wake_ctx);
	sending_clear(&s);
	g_array_unref(page.steps);
	g_ptr_array_unref(page.texts);
	return ok;
}

static bool work(struct service *service, const char *id, GError **error)
{
	for (int i = 0; i < PAGES; i++) {
		g_autoptr(store_load) load = NULL;
		struct order_row order;
		GError *inner = NULL;

		if (!store_order_get(service->store, id, &order, &load, error))
			return false;
		if (!strcmp(order.state, "sending")) {
			if (!send_page(service, &order, error))
				return false;
		} else if (!strcmp(order.state, "canceling")) {
			if (!store_order_take_back(service->store, &order, TAKE_BACK, service_now_ms(service), &inner) && !forgive_conflict(inner, error))
				return false;
		} else {
			return true;
		}
	}
	return true;
}

bool service_order_work(struct service *service, bool *ret_more, GError **error)
{
	g_autoptr(store_load) load = NULL, left_load = NULL;
	g_autoptr(GArray) orders = store_order_work(service->store, ORDERS, &load, error), left = NULL;
	GError *first = NULL;
	bool ok = true;

	if (!orders)
		return false;
	/* What cannot be sent now must not keep the rest from it. */
	for (guint i = 0; i < orders->len; i++)
		ok &= work(service, g_array_index(orders, struct order_row, i).id, first ? NULL : &first);
	left = ok && orders->len ? store_order_work(service->store, 1, &left_load, error) : NULL;
	*ret_more = left && left->len;
	if (first)
		g_propagate_error(error, first);
	return ok && (left || !orders->len);
}

bool service_order_purge(struct service *service, GError **error)
{
	return store_order_purge(service->store, service_now_ms(service) - (int64_t)KEEP_DAYS * 86400000, error);
}

GBytes *service_order_command(struct service *service, const struct command_next *next, GError **error)
{
	const char *id = note_order(next->note);
	g_autofree char *state = NULL;
	g_autoptr(GBytes) sealed = NULL;
	g_auto(command_auto) command = {0};
	plist *inner;

	if (!store_order_body(service->store, id, &state, &sealed, error))
		return NULL;
	if (!strcmp(state, "canceling") || !strcmp(state, "canceled")) {
		pom_fail(error, POM_ERR_CONFLICT, "order %s was canceled", id);
		return NULL;
	}
	inner = open_body(service, id, sealed, error);
	return inner && command_build(inner, next->uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

/* ---- what people see ---- */

static json_t *order_json(const struct order_row *o)
{
	json_t *json = json_object();
	bool is_group = !strcmp(o->kind, "group"), is_query = !strcmp(o->kind, "query");

	json_set_text(json, "id", o->id);
	json_set_text(json, "request_type", o->request_type);
	json_set_text(json, "state", o->state);
	json_set_text(json, "for", o->kind);
	json_set_text(json, "group", is_group ? o->target : NULL);
	json_set_text(json, "query", is_query ? o->target : NULL);
	json_set_text(json, "actor", o->actor);
	json_object_set_new(json, "created_at", json_time(o->created_ms));
	json_object_set_new(json, "sent_at", json_time(o->sent_ms));
	json_object_set_new(json, "expires_at", json_time(o->expires_ms));
	/* Until all have been looked at, those that may be concerned. */
	json_object_set_new(json, "planned", json_integer(o->sent_ms ? o->n_queued + o->n_skipped : o->n_planned));
	json_object_set_new(json, "sent", json_integer(o->n_queued));
	json_object_set_new(json, "skipped", json_integer(o->n_skipped));
	return json;
}

json_t *service_order_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_order_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		json_array_append_new(items, order_json(&g_array_index(rows, struct order_row, i)));
		last = g_array_index(rows, struct order_row, i).id;
	}
	return json_page(items, last, limit);
}

json_t *service_order_show(struct service *service, const char *id, GError **error)
{
	static const char *const states[] = {"queued", "answered", "failed", "canceled"};
	g_autoptr(store_load) load = NULL, counts_load = NULL;
	g_autoptr(GArray) counts = NULL;
	struct order_row order;
	json_t *o;

	if (!store_order_get(service->store, id, &order, &load, error) || !(counts = store_order_counts(service->store, order.id, &counts_load, error)))
		return NULL;
	o = order_json(&order);
	for (size_t k = 0; k < G_N_ELEMENTS(states); k++) {
		int64_t n = 0;

		for (guint i = 0; i < counts->len; i++)
			if (!strcmp(g_array_index(counts, struct order_count, i).state, states[k]))
				n = g_array_index(counts, struct order_count, i).n;
		json_object_set_new(o, states[k], json_integer(n));
	}
	return o;
}

json_t *service_order_devices(struct service *service, const char *id, const char *state, const char *after, int64_t limit, GError **error)
{
	static const char *const states[] = {"", "planned", "queued", "skipped", "answered", "failed", "canceled", NULL};
	g_autoptr(store_load) load = NULL, order_load = NULL;
	g_autoptr(GArray) rows = NULL;
	struct order_row order;
	const char *last = NULL;
	json_t *items;

	if (!g_strv_contains(states, state)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "the state \"%.40s\" is none of planned, queued, skipped, answered, failed, canceled", state);
		return NULL;
	}
	limit = CLAMP(limit, 1, LIST_MAX);
	if (!store_order_get(service->store, id, &order, &order_load, error) || !(rows = store_order_devices(service->store, id, state, after, limit, &load, error)))
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct order_device_row *row = &g_array_index(rows, struct order_device_row, i);
		json_t *o = json_object();

		json_set_text(o, "id", row->enrollment_id);
		json_set_text(o, "udid", row->device_id);
		json_set_text(o, "serial", row->serial);
		json_set_text(o, "state", row->state);
		json_set_text(o, "command_uuid", row->command_uuid);
		json_set_text(o, "status", row->status);
		json_set_text(o, "reason", row->reason);
		json_object_set_new(o, "finished_at", json_time(row->finished_ms));
		json_array_append_new(items, o);
		last = row->enrollment_id;
	}
	return json_page(items, last, limit);
}

json_t *service_order_cancel(struct service *service, const char *actor, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct order_row order;
	bool found;

	if (!store_order_get(service->store, id, &order, &load, error) ||
	    !store_order_cancel(service->store, id, AUDIT(actor, "order.cancel", id, audit_detail("request_type", order.request_type, NULL)), &found, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_CONFLICT, "order %s is canceled already", id);
		return NULL;
	}
	nudge(service);
	return service_order_show(service, id, error);
}
