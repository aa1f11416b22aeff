/* Groups of devices, which profiles are assigned to: lists, and those of a query (fleet.c). */
#include <string.h>

#include "core/library.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/fleet.h"
#include "service/library.h"
#include "store/ddm_store.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, CHANGE_MAX = 1000 };

static void nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

static json_t *group_json(const struct group_row *g)
{
	json_t *o = json_object();

	json_set_text(o, "name", g->name);
	json_set_text(o, "query", g->query);
	json_object_set_new(o, "members", json_integer(g->n_members));
	json_object_set_new(o, "created_at", json_time(g->created_ms));
	return o;
}

json_t *service_group_new(struct service *service, const char *actor, const char *name, GError **error)
{
	GError *inner = NULL;

	if (!library_name_check("a group", name, error))
		return NULL;
	if (store_group_add(service->store, name, service_now_ms(service), AUDIT(actor, "group.new", name, NULL), &inner))
		return service_group_show(service, name, error);
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		pom_fail(error, POM_ERR_CONFLICT, "there is a group \"%s\" already", name);
	} else {
		g_propagate_error(error, inner);
	}
	return NULL;
}

json_t *service_group_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_group_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct group_row *row = &g_array_index(rows, struct group_row, i);

		json_array_append_new(items, group_json(row));
		last = row->name;
	}
	return json_page(items, last, limit);
}

json_t *service_group_show(struct service *service, const char *name, GError **error)
{
	g_autoptr(store_load) load = NULL, profiles_load = NULL;
	g_autoptr(GPtrArray) profiles = NULL;
	struct group_row row;
	bool working;
	json_t *o, *list;

	if (!store_group_get(service->store, name, &row, &load, error) || !(profiles = store_group_profiles(service->store, name, &profiles_load, error)) ||
	    !store_query_is_working(service->store, name, &working, error))
		return NULL;
	o = group_json(&row);
	/* The number of its members is still on its way to what the query says. */
	json_object_set_new(o, "being_counted", json_boolean(working));
	list = json_array();
	for (guint i = 0; i < profiles->len; i++)
		json_array_append_new(list, json_string(g_ptr_array_index(profiles, i)));
	json_object_set_new(o, "profiles", list);
	return o;
}

json_t *service_group_members(struct service *service, const char *name, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL, rows_load = NULL;
	g_autoptr(GArray) rows = NULL;
	struct group_row group;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	if (!store_group_get(service->store, name, &group, &load, error))
		return NULL;
	if (group.query)
		return service_device_query(service, group.query, after, limit, error);
	rows = store_member_list(service->store, name, after, limit, &rows_load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct member_row *row = &g_array_index(rows, struct member_row, i);
		json_t *o = json_object();

		json_set_text(o, "id", row->id);
		json_set_text(o, "udid", row->device_id);
		json_set_text(o, "serial", row->serial);
		json_set_text(o, "name", row->device_name);
		json_object_set_new(o, "last_seen", json_time(store_last_seen(service->store, row->id, row->last_seen_ms)));
		json_object_set_new(o, "added_at", json_time(row->added_ms));
		json_array_append_new(items, o);
		last = row->id;
	}
	return json_page(items, last, limit);
}

/* Enrollment ids for what people typed; NULL-terminated, transfer full. */
static char **resolve_all(struct service *service, const char *const *devices, GError **error)
{
	g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; devices && devices[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct enrollment_row row;

		if (i == CHANGE_MAX) {
			pom_fail(error, POM_ERR_LIMIT, "at most %d devices at once", CHANGE_MAX);
			return NULL;
		}
		if (!store_enrollment_get(service->store, devices[i], &row, &load, error))
			return NULL;
		g_ptr_array_add(ids, g_strdup(row.id));
	}
	g_ptr_array_add(ids, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&ids), FALSE);
}

json_t *service_group_change(struct service *service, const char *actor, const char *name, const char *const *add, const char *const *remove, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_auto(GStrv) ins = resolve_all(service, add, error), outs = ins ? resolve_all(service, remove, error) : NULL;
	g_autofree char *added = NULL, *removed = NULL;
	struct group_row group;

	if (!outs || !store_group_get(service->store, name, &group, &load, error))
		return NULL;
	if (group.query) {
		pom_fail(error, POM_ERR_CONFLICT, "the members of the group \"%s\" are those that match its query (%s): nobody can be put into it or taken out", name, group.query);
		return NULL;
	}
	if (!ins[0] && !outs[0]) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name at least one device");
		return NULL;
	}
	added = g_strdup_printf("%u", g_strv_length(ins));
	removed = g_strdup_printf("%u", g_strv_length(outs));
	if (!store_member_change(service->store, name, (const char *const *)ins, (const char *const *)outs, service_now_ms(service), AUDIT(actor, "group.change", name, audit_detail("added", added, "removed", removed, NULL)), error))
		return NULL;
	nudge(service);
	return service_group_show(service, name, error);
}

json_t *service_group_remove(struct service *service, const char *actor, const char *name, bool force, GError **error)
{
	g_autoptr(store_load) load = NULL, profiles_load = NULL, sets_load = NULL;
	g_autoptr(GPtrArray) profiles = NULL, sets = NULL;
	struct group_row group;

	if (!store_group_get(service->store, name, &group, &load, error) || !(profiles = store_group_profiles(service->store, name, &profiles_load, error)))
		return NULL;
	if (profiles->len && !force) {
		pom_fail(error, POM_ERR_LIBRARY_ASSIGNED, "%u profiles are assigned to the group \"%s\", the first is \"%s\": unassign them first, or use --force, which takes them from its members", profiles->len, name,
		         (const char *)g_ptr_array_index(profiles, 0));
		return NULL;
	}
	sets = store_group_sets(service->store, name, &sets_load, error);
	if (!sets)
		return NULL;
	if (sets->len && !force) {
		pom_fail(error, POM_ERR_LIBRARY_ASSIGNED, "the set of declarations \"%s\" is assigned to the group \"%s\": unassign it first, or use --force, which takes it from its members", (const char *)g_ptr_array_index(sets, 0), name);
		return NULL;
	}
	g_ptr_array_add(profiles, NULL);
	if (!store_group_remove(service->store, name, (const char *const *)profiles->pdata, service_now_ms(service), AUDIT(actor, "group.remove", name, NULL), error))
		return NULL;
	nudge(service);
	return json_pack("{s:s, s:b}", "name", name, "removed", 1);
}
