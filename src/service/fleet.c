/* Devices by query: for people, for orders, and for groups whose members follow what is known of devices. */
#include "service/fleet.h"

#include <string.h>

#include "base/log.h"
#include "core/library.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/library.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, PAGE = 500, LOOK_AT_MAX = 5000, GROUPS_MAX = 200, WORKS = 50, PAGES = 10 };

/* Behind every id: ids are upper case hex. */
#define LAST_ID "~"

struct fleet_values {
	GHashTable *facts, *attributes; /* "<enrollment id>/<name>": JSON; sealed */
	store_load *load;
	GPtrArray *opened;
	struct service *service;
	const char *id; /* of the device that is asked about */
};

struct fleet_values *fleet_values_load(struct service *service, const char *const *facts, const char *const *attributes, const char *from, const char *to, GError **error)
{
	struct fleet_values *values = g_new0(struct fleet_values, 1);

	values->service = service;
	values->opened = g_ptr_array_new_with_free_func(g_free);
	if (store_fleet_values(service->store, facts, attributes, from, to, &values->facts, &values->attributes, &values->load, error))
		return values;
	fleet_values_free(values);
	return NULL;
}

void fleet_values_free(struct fleet_values *values)
{
	if (!values)
		return;
	/* An attribute may be a password. */
	for (guint i = 0; i < values->opened->len; i++)
		explicit_bzero(g_ptr_array_index(values->opened, i), strlen(g_ptr_array_index(values->opened, i)));
	g_ptr_array_unref(values->opened);
	g_clear_pointer(&values->facts, g_hash_table_unref);
	g_clear_pointer(&values->attributes, g_hash_table_unref);
	g_clear_pointer(&values->load, store_load_free);
	g_free(values);
}

const char *fleet_fact(struct fleet_values *values, const char *enrollment_id, const char *name)
{
	g_autofree char *key = g_strconcat(enrollment_id, "/", name, NULL);

	return g_hash_table_lookup(values->facts, key);
}

static const char *get_fact(void *ctx, const char *name)
{
	struct fleet_values *values = ctx;

	return fleet_fact(values, values->id, name);
}

static const char *get_attribute(void *ctx, const char *name)
{
	struct fleet_values *values = ctx;
	g_autofree char *key = g_strconcat(values->id, "/", name, NULL), *row = g_strdup_printf("%s.%s", values->id, name);
	GBytes *sealed = g_hash_table_lookup(values->attributes, key);
	g_autoptr(GBytes) value = sealed ? seal_open(&values->service->seal, "attribute", row, "value", sealed, NULL) : NULL;
	char *text = value ? g_strndup(g_bytes_get_data(value, NULL), g_bytes_get_size(value)) : NULL;

	if (text)
		g_ptr_array_add(values->opened, text);
	return text;
}

bool fleet_matches(struct service *service, const struct query *query, struct fleet_values *values, const struct enrollment_row *row)
{
	const struct query_device device = {
		.id = row->id, .udid = row->device_id, .serial = row->serial, .name = row->device_name, .owner = row->owner, .kind = enrollment_kind_name((enum enrollment_kind)row->kind),
		.product_name = row->product_name, .model = row->model, .model_name = row->model_name, .os_version = row->os_version, .build_version = row->build_version, .enrolled_ms = row->enrolled_ms,
		.last_seen_ms = store_last_seen(service->store, row->id, row->last_seen_ms), .now_ms = service_now_ms(service), .fact = get_fact, .attribute = get_attribute, .ctx = values,
	};

	values->id = row->id;
	return query_match(query, &device);
}

/* ---- for people ---- */

/* Adds those of a page that match, until ITEMS has LIMIT; *LAST: the last that was looked at. */
static bool add_matching(struct service *service, const struct query *query, const GArray *rows, int64_t limit, json_t *items, char **last, GError **error)
{
	const struct enrollment_row *all = (const struct enrollment_row *)(const void *)rows->data;
	g_autoptr(fleet_values) values = rows->len ? fleet_values_load(service, query_facts(query), query_attributes(query), all[0].id, all[rows->len - 1].id, error) : NULL;

	if (rows->len && !values)
		return false;
	for (guint i = 0; i < rows->len && (int64_t)json_array_size(items) < limit; i++) {
		if (fleet_matches(service, query, values, &all[i]))
			json_array_append_new(items, service_enrollment_json(service, &all[i]));
		g_free(*last);
		*last = g_strdup(all[i].id);
	}
	return true;
}

json_t *service_device_query(struct service *service, const char *text, const char *after, int64_t limit, GError **error)
{
	g_autoptr(query) query = query_parse(text, error);
	g_autofree char *last = g_strdup(after);
	g_autoptr(json_t) items = json_array();
	bool more = true;

	limit = CLAMP(limit, 1, LIST_MAX);
	for (int looked_at = 0; query && more && looked_at < LOOK_AT_MAX && (int64_t)json_array_size(items) < limit; looked_at += PAGE) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_fleet_page(service->store, FLEET_ALL, NULL, last, PAGE, &load, error);

		if (!rows || !add_matching(service, query, rows, limit, items, &last, error))
			return NULL;
		more = rows->len == PAGE || (rows->len && strcmp(last, g_array_index(rows, struct enrollment_row, rows->len - 1).id));
	}
	if (!query)
		return NULL;
	return json_pack("{s:O, s:s?}", "items", items, "next", more ? last : NULL);
}

/* ---- groups ---- */

static void nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

static bool check_query(const char *text, GError **error)
{
	g_autoptr(query) query = query_parse(text, error);
	const char *name = query ? query_clock_name(query) : NULL;

	if (name)
		return pom_fail(error, POM_ERR_QUERY, "%s changes by time alone, so that nothing tells when a device comes into the group or leaves it: use it with \"device list --query\" and \"command send --query\"", name);
	return query != NULL;
}

json_t *service_query_group_new(struct service *service, const char *actor, const char *name, const char *text, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) groups = NULL;
	GError *inner = NULL;

	if (!library_name_check("a group", name, error) || !check_query(text, error) || !(groups = store_query_groups(service->store, GROUPS_MAX, &load, error)))
		return NULL;
	if (groups->len == GROUPS_MAX) {
		pom_fail(error, POM_ERR_LIMIT, "there are at most %d groups with a query: each is looked at whenever a device tells something new", GROUPS_MAX);
		return NULL;
	}
	if (store_query_group_add(service->store, name, text, service_now_ms(service), AUDIT(actor, "group.new", name, audit_detail("query", text, NULL)), &inner)) {
		nudge(service);
		return service_group_show(service, name, error);
	}
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		pom_fail(error, POM_ERR_CONFLICT, "there is a group \"%s\" already", name);
	} else {
		g_propagate_error(error, inner);
	}
	return NULL;
}

json_t *service_query_group_set(struct service *service, const char *actor, const char *name, const char *text, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct group_row group;

	if (!check_query(text, error) || !store_group_get(service->store, name, &group, &load, error))
		return NULL;
	if (!group.query) {
		pom_fail(error, POM_ERR_CONFLICT, "the group \"%s\" is a list of devices: make another one with the query", name);
		return NULL;
	}
	if (!store_query_group_set(service->store, name, text, AUDIT(actor, "group.change", name, audit_detail("query", text, NULL)), error))
		return NULL;
	nudge(service);
	return service_group_show(service, name, error);
}

/* ---- the members of groups with a query, as the library and others see them ---- */

static bool contains(const GPtrArray *ids, const char *id)
{
	for (guint i = 0; i < ids->len; i++)
		if (!strcmp(g_ptr_array_index(ids, i), id))
			return true;
	return false;
}

static void add_change(GArray *changes, const struct query_group *group, const char *enrollment_id, bool member)
{
	struct query_change change = {group->name, group->query, enrollment_id, member};

	g_array_append_val(changes, change);
}

/* Those of ROWS, which are in order, that match and are no members, and MEMBERS that do not match. What cannot be parsed any more matches nobody. */
static bool compare(struct service *service, const struct query_group *group, const GArray *rows, const GPtrArray *members, GArray *changes, GError **error)
{
	const struct enrollment_row *all = (const struct enrollment_row *)(const void *)rows->data;
	g_autoptr(query) query = query_parse(group->query, NULL);
	g_autoptr(fleet_values) values = NULL;
	g_autoptr(GHashTable) matching = g_hash_table_new(g_str_hash, g_str_equal), now = g_hash_table_new(g_str_hash, g_str_equal);

	if (query && rows->len && !(values = fleet_values_load(service, query_facts(query), query_attributes(query), all[0].id, all[rows->len - 1].id, error)))
		return false;
	for (guint i = 0; i < members->len; i++)
		g_hash_table_add(now, g_ptr_array_index(members, i));
	for (guint i = 0; values && i < rows->len; i++) {
		if (!fleet_matches(service, query, values, &all[i]))
			continue;
		g_hash_table_add(matching, (void *)(uintptr_t)all[i].id);
		if (!g_hash_table_contains(now, all[i].id))
			add_change(changes, group, all[i].id, true);
	}
	for (guint i = 0; i < members->len; i++)
		if (!g_hash_table_contains(matching, g_ptr_array_index(members, i)))
			add_change(changes, group, g_ptr_array_index(members, i), false);
	return true;
}

static bool apply(struct service *service, const GArray *changes, const struct query_work *work, const char *after, GError **error)
{
	return store_query_apply(service->store, (const struct query_change *)(const void *)changes->data, changes->len, work->id, after, service_now_ms(service), error);
}

/* One page of all devices for one group. */
static bool work_group_page(struct service *service, const struct query_work *work, const struct query_group *group, char **after, bool *ret_done, GError **error)
{
	g_autoptr(store_load) load = NULL, members_load = NULL;
	g_autoptr(GArray) rows = store_fleet_page(service->store, FLEET_ALL, NULL, *after, PAGE, &load, error), changes = g_array_new(FALSE, FALSE, sizeof(struct query_change));
	const char *upto;
	g_autoptr(GPtrArray) members = NULL;

	if (!rows)
		return false;
	*ret_done = rows->len < PAGE;
	upto = *ret_done ? LAST_ID : g_array_index(rows, struct enrollment_row, rows->len - 1).id;
	members = store_query_members(service->store, group->name, *after, upto, &members_load, error);
	if (!members || !compare(service, group, rows, members, changes, error) || !apply(service, changes, work, *ret_done ? NULL : upto, error))
		return false;
	g_free(*after);
	*after = g_strdup(upto);
	return true;
}

static bool work_group(struct service *service, const struct query_work *work, int *pages, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autofree char *after = g_strdup(work->after);
	g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(struct query_change));
	g_autoptr(GError) inner = NULL;
	struct group_row row;
	bool done = false;

	if (!store_group_get(service->store, work->group, &row, &load, &inner)) {
		if (g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND))
			return apply(service, none, work, NULL, error);
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	if (!row.query)
		return apply(service, none, work, NULL, error);
	for (; !done && *pages > 0; --*pages)
		if (!work_group_page(service, work, &(struct query_group){row.name, row.query}, &after, &done, error))
			return false;
	return true;
}

/* One device for all groups. One that is not enrolled is in none. */
static bool work_device(struct service *service, const struct query_work *work, GError **error)
{
	g_autoptr(store_load) load = NULL, groups_load = NULL, of_load = NULL;
	g_autoptr(GArray) groups = store_query_groups(service->store, GROUPS_MAX, &groups_load, error), rows = g_array_new(FALSE, FALSE, sizeof(struct enrollment_row));
	g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct query_change));
	g_autoptr(GPtrArray) of = groups ? store_groups_of(service->store, work->enrollment_id, &of_load, error) : NULL, me = g_ptr_array_new(), nobody = g_ptr_array_new();
	g_autoptr(GError) inner = NULL;
	struct enrollment_row row;

	if (!of)
		return false;
	if (store_enrollment_get(service->store, work->enrollment_id, &row, &load, &inner)) {
		if (row.state == ENROLLMENT_ENROLLED && !row.parent_id)
			g_array_append_val(rows, row);
	} else if (!g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	g_ptr_array_add(me, (void *)(uintptr_t)work->enrollment_id);
	for (guint i = 0; i < groups->len; i++) {
		const struct query_group *group = &g_array_index(groups, struct query_group, i);

		if (!compare(service, group, rows, contains(of, group->name) ? me : nobody, changes, error))
			return false;
	}
	return apply(service, changes, work, NULL, error);
}

bool service_query_work(struct service *service, bool *ret_more, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) works = store_query_work(service->store, WORKS, &load, error);
	GError *first = NULL;
	bool ok = true;
	int pages = PAGES;

	if (!works)
		return false;
	/* What cannot be done now must not keep the rest from it. */
	for (guint i = 0; i < works->len; i++) {
		const struct query_work *work = &g_array_index(works, struct query_work, i);

		ok &= work->enrollment_id ? work_device(service, work, first ? NULL : &first) : work_group(service, work, &pages, first ? NULL : &first);
	}
	*ret_more = ok && (works->len == WORKS || (works->len && pages == 0));
	if (first)
		g_propagate_error(error, first);
	return ok;
}
