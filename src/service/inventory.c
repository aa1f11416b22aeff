/* What devices told, and asking them again at intervals. */
#include "core/inventory.h"

#include <string.h>

#include "core/fact.h"
#include "core/renewal.h"
#include "service/answer.h"
#include "service/command_target.h"
#include "service/fleet.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, AT_ONCE = 200, SILENT_DAYS = 14 };

/* ---- what devices tell ---- */

/* Whether one of FACTS is another than what is known. */
static bool is_news(const GArray *known, const GArray *facts)
{
	g_autoptr(GHashTable) values = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < known->len; i++) {
		const struct fact_row *row = &g_array_index(known, struct fact_row, i);

		g_hash_table_insert(values, (void *)(uintptr_t)row->name, (void *)(uintptr_t)row->value);
	}
	for (guint i = 0; i < facts->len; i++) {
		const struct fact *fact = &g_array_index(facts, struct fact, i);

		if (g_strcmp0(g_hash_table_lookup(values, fact->name), fact->value))
			return true;
	}
	return false;
}

/* The lists in REPORT: what its command asked for tells whether they are whole. */
static GArray *read_lists(struct service *service, const struct command_row *command, const plist *report, GError **error)
{
	g_autoptr(GBytes) body = NULL;
	g_autoptr(plist) asked = NULL;

	if (fact_lists_are_in(command->request_type) && !store_command_body(service->store, command->uuid, &body, error))
		return NULL;
	asked = body ? plist_parse(g_bytes_get_data(body, NULL), g_bytes_get_size(body), NULL, NULL) : NULL;
	/* What an order asked for is not in the queue. */
	if (note_order(command->note) && fact_lists_are_in(command->request_type)) {
		g_autoptr(GBytes) made = service_order_command(service, &(struct command_next){.uuid = (char *)(uintptr_t)command->uuid, .note = (char *)(uintptr_t)command->note}, NULL);

		g_clear_pointer(&asked, plist_free);
		asked = made ? plist_parse(g_bytes_get_data(made, NULL), g_bytes_get_size(made), NULL, NULL) : NULL;
	}
	return fact_lists_read(command->request_type, plist_dict_get(asked, "Command"), report);
}

bool service_fleet_learn(struct service *service, const struct command_row *command, const plist *report, const GArray *known, struct fact_write *ret, GError **error)
{
	g_autoptr(GArray) facts = facts_read(command->request_type, report), lists = read_lists(service, command, report, error);

	if (!lists)
		return false;
	g_assert(known || !facts->len);
	ret->changed = facts->len && is_news(known, facts);
	ret->facts = g_steal_pointer(&facts);
	ret->lists = g_steal_pointer(&lists);
	return true;
}

static json_t *list_json(const struct fact_list_row *row)
{
	return json_pack("{s:s, s:I, s:I, s:o}", "name", row->name, "items", (json_int_t)row->n_items, "left_out", (json_int_t)row->n_cut, "learnt_at", json_time(row->learnt_ms));
}

json_t *service_device_lists(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL, device_load = NULL;
	struct enrollment_row row;
	g_autoptr(GArray) rows = store_enrollment_get(service->store, id, &row, &device_load, error) ? store_fact_list_names(service->store, row.id, &load, error) : NULL;
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++)
		json_array_append_new(items, list_json(&g_array_index(rows, struct fact_list_row, i)));
	return json_pack("{s:o, s:n}", "items", items, "next");
}

/* Entry I of LIST, transfer full: of a dictionary with its key as "name". */
static json_t *entry_at(json_t *list, size_t i, void **iterator)
{
	json_t *entry;

	if (json_is_array(list))
		return json_incref(json_array_get(list, i));
	entry = json_object_iter_value(*iterator);
	entry = json_is_object(entry) ? json_copy(entry) : json_pack("{s:O}", "value", entry);
	json_object_set_new(entry, "name", json_string(json_object_iter_key(*iterator)));
	*iterator = json_object_iter_next(list, *iterator);
	return entry;
}

/* Those after the first AFTER. */
static json_t *page_of(json_t *list, size_t after, size_t limit)
{
	size_t n = json_is_array(list) ? json_array_size(list) : json_object_size(list), i = 0;
	void *iterator = json_is_object(list) ? json_object_iter(list) : NULL;
	g_autofree char *next = NULL;
	json_t *items = json_array();

	for (; i < n && i < after + limit; i++) {
		json_t *entry = entry_at(list, i, &iterator);

		if (i < after)
			json_decref(entry);
		else
			json_array_append_new(items, entry);
	}
	next = i < n ? g_strdup_printf("%zu", i) : NULL;
	return json_pack("{s:o, s:s?}", "items", items, "next", next);
}

json_t *service_device_list_items(struct service *service, const char *id, const char *name, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL, device_load = NULL;
	const char *key = fact_list_find(name);
	g_autoptr(json_t) list = NULL;
	struct enrollment_row row;
	struct fact_list_row told;
	bool found;
	json_t *page;

	if (!key) {
		pom_fail(error, POM_ERR_NOT_FOUND, "\"%.64s\" is no list that devices tell: apps, managed-apps, profiles, certificates, provisioning-profiles, updates, update-status, users, books, restrictions, profile-restrictions", name);
		return NULL;
	}
	if (!store_enrollment_get(service->store, id, &row, &device_load, error) || !store_fact_list_get(service->store, row.id, key, &told, &found, &load, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_NOT_FOUND, "device %s has not told %s yet: ask it with \"pomona command send\", or let inventory.queries ask", row.id, key);
		return NULL;
	}
	list = json_loads(told.value, 0, NULL);
	page = page_of(list, (size_t)CLAMP(g_ascii_strtoll(after, NULL, 10), 0, FACT_LIST_ITEMS_MAX), (size_t)CLAMP(limit, 1, LIST_MAX));
	json_object_set_new(page, "left_out", json_integer(told.n_cut));
	json_object_set_new(page, "learnt_at", json_time(told.learnt_ms));
	return page;
}

/* ---- asking again ---- */

/* The queries that this device can answer; GArray of struct inventory_query. */
static GArray *queries_for(struct service *service, const struct enrollment_row *row, GError **error)
{
	g_autoptr(GArray) queries = g_array_new(FALSE, FALSE, sizeof(struct inventory_query));
	struct command_target target;

	if (!service_command_target(service, row, &target, error))
		return NULL;
	for (char **type = service->settings.inventory_queries; *type; type++) {
		struct inventory_query query = {.request_type = *type, .uuid = pom_id_new(service->clock, service->random)};
		g_auto(command_auto) command = {0};
		plist *inner = inventory_command(*type, &target);

		if (!inner || !command_build(inner, query.uuid.text, &command, NULL))
			continue;
		query.body = g_bytes_ref(command.body);
		g_array_append_val(queries, query);
	}
	return g_steal_pointer(&queries);
}

/* Who has not been heard for long is asked when he has been: until then it would only wait. */
static bool is_silent(struct service *service, const struct enrollment_row *row, int64_t now_ms)
{
	return store_last_seen(service->store, row->id, row->last_seen_ms) < now_ms - MAX((int64_t)SILENT_DAYS * 86400000, 2 * service->settings.inventory_ms);
}

static bool ask(struct service *service, const char *id, size_t *n, GError **error)
{
	int64_t now_ms = service_now_ms(service), next_ms = inventory_next(id, service->settings.inventory_ms, now_ms);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) queries = NULL;
	g_autoptr(GError) inner = NULL;
	struct enrollment_row row;
	size_t queued = 0;
	bool ok;

	if (!store_enrollment_get(service->store, id, &row, &load, &inner)) {
		if (g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND))
			return store_inventory_put(service->store, id, 0, error);
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	if (row.state != ENROLLMENT_ENROLLED || row.parent_id)
		return store_inventory_put(service->store, id, 0, error);
	if (is_silent(service, &row, now_ms) || !service_check_blocked(service, row.device_id, row.serial, NULL))
		return store_inventory_put(service->store, id, next_ms, error);
	queries = queries_for(service, &row, error);
	if (!queries)
		return false;
	ok = store_inventory_ask(service->store, id, row.active_epoch, (const struct inventory_query *)(const void *)queries->data, queries->len, NOTE_INVENTORY, now_ms, next_ms, &queued, error);
	for (guint i = 0; i < queries->len; i++)
		g_bytes_unref(g_array_index(queries, struct inventory_query, i).body);
	*n += queued > 0;
	return ok;
}

bool service_inventory_scan(struct service *service, size_t *ret_n, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) due = NULL;

	*ret_n = 0;
	if (!service->settings.inventory_ms || !service->settings.inventory_queries || !*service->settings.inventory_queries)
		return true;
	due = store_inventory_due(service->store, service_now_ms(service), AT_ONCE, &load, error);
	for (guint i = 0; due && i < due->len; i++)
		if (!ask(service, g_ptr_array_index(due, i), ret_n, error))
			return false;
	if (*ret_n && service->wake_push)
		service->wake_push(service->wake_ctx);
	return due != NULL;
}
