/* Sets of declarations, and to whom they are assigned. */
#include <string.h>

#include "core/library.h"
#include "service/command_target.h"
#include "service/ddm_internal.h"
#include "service/declaration.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, TARGETS_MAX = 1000 };

static json_t *set_json(const struct set_row *s)
{
	return json_pack("{s:s, s:I, s:o, s:o}", "name", s->name, "members", (json_int_t)s->n_members, "created_at", json_time(s->created_ms), "updated_at", json_time(s->updated_ms));
}

json_t *service_set_new(struct service *service, const char *actor, const char *name, GError **error)
{
	GError *inner = NULL;

	if (!name) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name is missing");
		return NULL;
	}
	if (!library_name_check("a set", name, error))
		return NULL;
	if (store_set_add(service->store, name, service_now_ms(service), AUDIT(actor, "set.new", name, NULL), &inner))
		return service_set_show(service, name, error);
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		pom_fail(&inner, POM_ERR_CONFLICT, "there is a set \"%s\" already", name);
	}
	g_propagate_error(error, inner);
	return NULL;
}

json_t *service_set_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_set_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct set_row *row = &g_array_index(rows, struct set_row, i);

		json_array_append_new(items, set_json(row));
		last = row->name;
	}
	return json_page(items, last, limit);
}

/* ---- what is in it ---- */

static json_t *targets_json(const GArray *targets)
{
	json_t *list = json_array();

	for (guint i = 0; i < targets->len; i++) {
		const struct set_target *t = &g_array_index(targets, struct set_target, i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "kind", t->kind, "target", t->target, "channel", t->channel, "created_at", json_time(t->created_ms)));
	}
	return list;
}

/* What its declarations name: those that are there into NAMED, those that are not into PROBLEMS. */
static bool find_named(struct service *service, const GArray *items, GHashTable *named, json_t *problems, GError **error)
{
	for (guint i = 0; i < items->len; i++) {
		const struct set_item *item = &g_array_index(items, struct set_item, i);
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) refs = store_reference_list(service->store, item->identifier, &load, error);

		if (!refs)
			return false;
		for (guint k = 0; k < refs->len; k++) {
			const struct reference_row *r = &g_array_index(refs, struct reference_row, k);

			if (!r->type)
				json_array_append_new(problems, json_sprintf("%s names \"%s\" (%s), which is not there", item->identifier, r->target, r->path));
			g_hash_table_add(named, g_strdup(r->target));
		}
	}
	return true;
}

static bool add_items(struct service *service, const char *name, json_t *o, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) items = store_set_items(service->store, name, &load, error);
	g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	json_t *list = json_array(), *problems = json_array();

	json_object_set_new(o, "brings", list);
	json_object_set_new(o, "problems", problems);
	if (!items || !find_named(service, items, named, problems, error))
		return false;
	for (guint i = 0; i < items->len; i++) {
		const struct set_item *item = &g_array_index(items, struct set_item, i);
		g_autofree char *token = ddm_effective_token(item->token, item->profile_version);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "identifier", item->identifier, "type", item->type, "token", token));
		if (item->kind == DECLARATION_CONFIGURATION && !g_hash_table_contains(named, item->identifier))
			json_array_append_new(problems, json_sprintf("no activation of the set names %s: devices get it and do nothing with it, unless an activation of another set does", item->identifier));
	}
	return true;
}

json_t *service_set_show(struct service *service, const char *name, GError **error)
{
	g_autoptr(store_load) load = NULL, members_load = NULL, targets_load = NULL;
	g_autoptr(GArray) members = NULL, targets = NULL;
	g_autoptr(json_t) o = NULL;
	struct set_row row;
	json_t *list;

	if (!store_set_get(service->store, name, &row, &load, error) || !(members = store_set_members(service->store, name, &members_load, error)) ||
	    !(targets = store_set_targets(service->store, name, &targets_load, error)))
		return NULL;
	o = set_json(&row);
	list = json_array();
	for (guint i = 0; i < members->len; i++)
		json_array_append_new(list, json_string(g_array_index(members, struct set_member_row, i).identifier));
	json_object_set_new(o, "declarations", list);
	json_object_set_new(o, "assignments", targets_json(targets));
	return add_items(service, name, o, error) ? g_steal_pointer(&o) : NULL;
}

static const char *const nobody[] = {NULL};

json_t *service_set_change(struct service *service, const char *actor, const char *name, const char *const *add, const char *const *remove, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autofree char *ins = NULL, *outs = NULL;
	struct set_row row;
	int64_t n;

	add = add ? add : nobody;
	remove = remove ? remove : nobody;
	if (!add[0] && !remove[0]) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name at least one declaration");
		return NULL;
	}
	if (!store_set_get(service->store, name, &row, &load, error))
		return NULL;
	for (size_t i = 0; add[i]; i++) {
		g_autoptr(store_load) one_load = NULL;
		struct declaration_row one = {0};
		bool found;

		if (!store_declaration_get(service->store, add[i], &one, &found, &one_load, error))
			return NULL;
		declaration_row_clear(&one);
		if (!found) {
			pom_fail(error, POM_ERR_NOT_FOUND, "there is no declaration \"%.64s\" (\"pomona declaration list\")", add[i]);
			return NULL;
		}
	}
	ins = g_strjoinv(" ", (char **)(uintptr_t)add);
	outs = g_strjoinv(" ", (char **)(uintptr_t)remove);
	if (!store_set_change(service->store, name, add, remove, service_now_ms(service), AUDIT(actor, "set.change", name, audit_detail("added", ins, "removed", outs, NULL)), &n, error))
		return NULL;
	if (!n && remove[0] && !add[0]) {
		pom_fail(error, POM_ERR_NOT_FOUND, "none of these is in the set \"%s\"", name);
		return NULL;
	}
	ddm_nudge(service);
	return service_set_show(service, name, error);
}

/* ---- assigning ---- */

struct audience {
	GArray *targets;      /* struct set_target */
	GPtrArray *texts;     /* owns what they point to */
	GPtrArray *named;     /* ids of enrollments that were named, to be looked at in the request itself */
	json_t *warnings;
};

static void audience_clear(struct audience *a)
{
	g_clear_pointer(&a->targets, g_array_unref);
	g_clear_pointer(&a->named, g_ptr_array_unref);
	g_clear_pointer(&a->texts, g_ptr_array_unref);
	g_clear_pointer(&a->warnings, json_decref);
}

typedef struct audience audience_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(audience_auto, audience_clear)

static void add_target(struct audience *a, const char *kind, const char *target, const char *channel)
{
	struct set_target t = {.kind = kind, .target = g_strdup(target), .channel = channel};

	g_ptr_array_add(a->texts, (char *)(uintptr_t)t.target);
	g_array_append_val(a->targets, t);
}

/* Which declarations of the set this device cannot use, as far as is known. */
static bool check_device(struct service *service, const struct enrollment_row *row, const GArray *items, bool force, json_t *warnings, GError **error)
{
	struct command_target target;

	if (!service_command_target(service, row, &target, error))
		return false;
	for (guint i = 0; i < items->len; i++) {
		const struct set_item *item = &g_array_index(items, struct set_item, i);
		const struct declaration_type *type = declaration_type_find(item->type);
		g_autofree char *why = type ? declaration_unsuited(type, &target) : NULL;

		if (why && !force)
			return pom_fail(error, POM_ERR_DDM_TARGET, "device %s cannot use \"%s\": %s. --force assigns it all the same", row->id, item->identifier, why);
		if (why)
			json_array_append_new(warnings, json_sprintf("device %s cannot use \"%s\": %s", row->id, item->identifier, why));
	}
	return true;
}

static bool add_devices(struct service *service, const struct set_audience *audience, const GArray *items, struct audience *a, GError **error)
{
	for (size_t i = 0; audience->devices && audience->devices[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct enrollment_row row;

		if (!store_enrollment_get(service->store, audience->devices[i], &row, &load, error) || (items && !audience->users_of && !check_device(service, &row, items, audience->force, a->warnings, error)))
			return false;
		add_target(a, "device", row.id, audience->users_of ? "user" : "device");
		if (!audience->users_of)
			g_ptr_array_add(a->named, g_strdup(row.id));
	}
	return true;
}

static bool add_groups(struct service *service, const struct set_audience *audience, struct audience *a, GError **error)
{
	for (size_t i = 0; audience->groups && audience->groups[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct group_row row;

		if (!store_group_get(service->store, audience->groups[i], &row, &load, error))
			return false;
		add_target(a, "group", audience->groups[i], audience->users_of ? "user" : "device");
	}
	return true;
}

/* ITEMS NULL: nobody is asked whether he can use them. */
static bool resolve(struct service *service, const struct set_audience *audience, const GArray *items, struct audience *a, GError **error)
{
	a->targets = g_array_new(FALSE, FALSE, sizeof(struct set_target));
	a->texts = g_ptr_array_new_with_free_func(g_free);
	a->named = g_ptr_array_new_with_free_func(g_free);
	a->warnings = json_array();
	if (!add_devices(service, audience, items, a, error) || !add_groups(service, audience, a, error))
		return false;
	for (size_t i = 0; audience->users && audience->users[i]; i++) {
		if (!*audience->users[i])
			return pom_fail(error, POM_ERR_BAD_REQUEST, "a user has a short name");
		add_target(a, "user", audience->users[i], "user");
	}
	if (!a->targets->len)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "name at least one device, group or user");
	return a->targets->len <= TARGETS_MAX || pom_fail(error, POM_ERR_LIMIT, "at most %d at once; put more devices into a group", TARGETS_MAX);
}

static char *targets_text(const struct audience *a)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < a->targets->len; i++) {
		const struct set_target *t = &g_array_index(a->targets, struct set_target, i);

		g_string_append_printf(text, "%s%s %s (%s)", i ? ", " : "", t->kind, t->target, t->channel);
	}
	return g_string_free(text, FALSE);
}

/* Who was named sees it at once; the work row is for when this process ends first. */
static json_t *finish(struct service *service, const char *name, const struct audience *a, GError **error)
{
	json_t *o;

	for (guint i = 0; i < a->named->len; i++)
		if (!ddm_reconcile(service, g_ptr_array_index(a->named, i), NULL, error))
			return NULL;
	ddm_nudge(service);
	o = service_set_show(service, name, error);
	if (o)
		json_object_set(o, "warnings", a->warnings);
	return o;
}

static json_t *assign(struct service *service, const char *actor, const char *name, const struct set_audience *audience, bool on, GError **error)
{
	g_autoptr(store_load) load = NULL, items_load = NULL;
	g_autoptr(GArray) items = NULL;
	g_auto(audience_auto) a = {0};
	g_autofree char *text = NULL;
	struct set_row row;
	int64_t n;

	if (!store_set_get(service->store, name, &row, &load, error) || (on && !(items = store_set_items(service->store, name, &items_load, error))) || !resolve(service, audience, items, &a, error))
		return NULL;
	text = targets_text(&a);
	if (!store_set_assign(service->store, name, (const struct set_target *)(const void *)a.targets->data, a.targets->len, on, service_now_ms(service),
	                      AUDIT(actor, on ? "set.assign" : "set.unassign", name, audit_detail("to", text, NULL)), &n, error))
		return NULL;
	if (!on && !n) {
		pom_fail(error, POM_ERR_NOT_FOUND, "the set \"%s\" is not assigned to any of these; a device that has it by a group is taken out of the group", name);
		return NULL;
	}
	return finish(service, name, &a, error);
}

json_t *service_set_assign(struct service *service, const char *actor, const char *name, const struct set_audience *audience, GError **error)
{
	return assign(service, actor, name, audience, true, error);
}

json_t *service_set_unassign(struct service *service, const char *actor, const char *name, const struct set_audience *audience, GError **error)
{
	return assign(service, actor, name, audience, false, error);
}

json_t *service_set_remove(struct service *service, const char *actor, const char *name, bool force, GError **error)
{
	g_autoptr(store_load) load = NULL, targets_load = NULL;
	g_autoptr(GArray) targets = NULL;
	struct set_row row;

	if (!store_set_get(service->store, name, &row, &load, error) || !(targets = store_set_targets(service->store, name, &targets_load, error)))
		return NULL;
	if (targets->len && !force) {
		pom_fail(error, POM_ERR_DECLARATION_USED, "the set \"%s\" is assigned (%u times): unassign it first, or use --force, which takes it from all", name, targets->len);
		return NULL;
	}
	if (!store_set_remove(service->store, name, targets, service_now_ms(service), AUDIT(actor, "set.remove", name, NULL), error))
		return NULL;
	ddm_nudge(service);
	return json_pack("{s:s, s:b}", "name", name, "removed", 1);
}
