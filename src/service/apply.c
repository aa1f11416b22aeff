/* Configuration that lives in files: a plan from what there is to what is wanted, then exactly that.
 *
 * Each thing has a kind and a name under which its owner has made it; what somebody else has made is changed when the files say so, and never taken away. */
#include "service/apply.h"

#include <string.h>

#include "core/library.h"
#include "service/ddm_internal.h"
#include "service/declaration.h"
#include "service/library.h"
#include "store/library_store.h"

enum { STEPS_MAX = 20000 };

enum kind { GROUP, MEMBER, PROFILE, DECLARATION, SET, SET_MEMBER, ASSIGNMENT, PROFILE_ASSIGNMENT, KINDS };
enum found { ABSENT, DIFFERS, SAME };

/* A thing that is wanted. name: its parts with slashes between, the last may hold some. */
struct item {
	enum kind kind;
	char *name;
	const json_t *spec; /* of what has content; borrowed */
	unsigned order;     /* within its kind */
};

struct step { enum kind kind; enum { MAKE, CHANGE, TAKE } action; char *name; const json_t *spec; unsigned order; };

struct run {
	struct service *service;
	const char *actor, *owner;
	GPtrArray *items, *steps;
	GHashTable *wanted; /* "kind/name" */
	json_t *missing;
};

static void item_free(void *data)
{
	g_free(((struct item *)data)->name);
	g_free(data);
}

static void step_free(void *data)
{
	g_free(((struct step *)data)->name);
	g_free(data);
}

static void run_clear(struct run *run)
{
	g_clear_pointer(&run->items, g_ptr_array_unref);
	g_clear_pointer(&run->steps, g_ptr_array_unref);
	g_clear_pointer(&run->wanted, g_hash_table_unref);
	g_clear_pointer(&run->missing, json_decref);
}

typedef struct run run_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(run_auto, run_clear)

/* ---- each kind ---- */

/* The parts of a name, N at most; free with g_strfreev. */
static char **parts_of(const char *name, int n)
{
	return g_strsplit(name, "/", n);
}

static bool find_group(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct group_row row;
	GError *inner = NULL;

	*ret = store_group_get(run->service->store, name, &row, &load, &inner) ? SAME : ABSENT;
	if (inner && !g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	return true;
}

static bool find_text(const GPtrArray *texts, const char *wanted, enum found *ret)
{
	*ret = ABSENT;
	for (guint i = 0; texts && i < texts->len; i++)
		if (!strcmp(g_ptr_array_index(texts, i), wanted))
			*ret = SAME;
	return texts != NULL;
}

static bool find_member(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_auto(GStrv) parts = parts_of(name, 2);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) groups = store_groups_of(run->service->store, parts[1], &load, error);

	return find_text(groups, parts[0], ret);
}

static GBytes *file_of(const json_t *spec, const char *key)
{
	const char *text = json_string_value(json_object_get(spec, key));
	g_autofree guchar *data = NULL;
	GBytes *bytes;
	gsize len = 0;

	if (!text)
		return NULL;
	data = g_base64_decode(text, &len);
	bytes = secret_bytes_new(data, len);
	explicit_bzero(data, len);
	return bytes;
}

static bool find_profile(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_autoptr(store_load) load = NULL, version_load = NULL;
	g_autoptr(GBytes) file = spec ? file_of(spec, "file") : NULL;
	struct library_profile_row row;
	struct library_version_row version = {0};
	uint8_t sha256[32];
	bool found;

	if (!store_library_get(run->service->store, name, false, &row, &found, &load, error) || (found && file && !store_library_version(run->service->store, name, 0, &version, &version_load, error)))
		return false;
	*ret = found ? SAME : ABSENT;
	if (found && file) {
		cert_sha256(g_bytes_get_data(file, NULL), g_bytes_get_size(file), sha256);
		*ret = memcmp(sha256, version.sha256, 32) ? DIFFERS : SAME;
	}
	library_version_clear(&version);
	return true;
}

static bool find_declaration(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_autoptr(GBytes) content = spec ? file_of(spec, "content") : NULL;
	const struct declaration_upload upload = {.declaration = json_object_get(spec, "declaration"), .data = content};
	g_autoptr(store_load) load = NULL;
	struct declaration_row row = {0};
	bool found, same = true;

	if (!store_declaration_get(run->service->store, name, &row, &found, &load, error))
		return false;
	declaration_row_clear(&row);
	if (found && spec && !ddm_is_same(run->service, &upload, &same, error))
		return false;
	*ret = !found ? ABSENT : same ? SAME : DIFFERS;
	return true;
}

static bool find_set(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct set_row row;
	GError *inner = NULL;

	*ret = store_set_get(run->service->store, name, &row, &load, &inner) ? SAME : ABSENT;
	if (inner && !g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	return true;
}

static bool find_set_member(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_auto(GStrv) parts = parts_of(name, 2);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) sets = store_declaration_sets(run->service->store, parts[1], &load, error);

	return find_text(sets, parts[0], ret);
}

static bool find_assignment(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_auto(GStrv) parts = parts_of(name, 4);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) targets = store_set_targets(run->service->store, parts[0], &load, error);

	*ret = ABSENT;
	for (guint i = 0; targets && i < targets->len; i++) {
		const struct set_target *t = &g_array_index(targets, struct set_target, i);

		if (!strcmp(t->kind, parts[1]) && !strcmp(t->channel, parts[2]) && !strcmp(t->target, parts[3]))
			*ret = SAME;
	}
	return targets != NULL;
}

static bool find_profile_assignment(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error)
{
	g_auto(GStrv) parts = parts_of(name, 3);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_assignment_list(run->service->store, parts[0], &load, error);

	*ret = ABSENT;
	for (guint i = 0; rows && i < rows->len; i++) {
		const struct assignment_row *row = &g_array_index(rows, struct assignment_row, i);

		if (!strcmp(row->kind, parts[1]) && !strcmp(row->target, parts[2]))
			*ret = SAME;
	}
	return rows != NULL;
}

/* ---- doing it ---- */

static bool took(json_t *reply)
{
	json_decref(reply);
	return reply != NULL;
}

/* The one text as a NULL-terminated list. */
#define ONE(text) ((const char *const[]){text, NULL})

static bool do_group(struct run *run, const struct step *s, GError **error)
{
	return took(s->action == TAKE ? service_group_remove(run->service, run->actor, s->name, false, error) : service_group_new(run->service, run->actor, s->name, error));
}

static bool do_member(struct run *run, const struct step *s, GError **error)
{
	g_auto(GStrv) parts = parts_of(s->name, 2);

	return took(service_group_change(run->service, run->actor, parts[0], s->action == TAKE ? NULL : ONE(parts[1]), s->action == TAKE ? ONE(parts[1]) : NULL, error));
}

static bool do_profile(struct run *run, const struct step *s, GError **error)
{
	g_autoptr(GBytes) file = s->spec ? file_of(s->spec, "file") : NULL;
	const struct library_upload upload = {.name = s->name, .file = file};

	return took(s->action == TAKE ? service_library_remove(run->service, run->actor, s->name, false, error) : service_library_add(run->service, run->actor, &upload, error));
}

static bool do_declaration(struct run *run, const struct step *s, GError **error)
{
	g_autoptr(GBytes) content = s->spec ? file_of(s->spec, "content") : NULL;
	const struct declaration_upload upload = {.declaration = json_object_get(s->spec, "declaration"), .data = content, .force = json_is_true(json_object_get(s->spec, "force"))};

	return took(s->action == TAKE ? service_declaration_remove(run->service, run->actor, s->name, false, error) : service_declaration_add(run->service, run->actor, &upload, error));
}

static bool do_set(struct run *run, const struct step *s, GError **error)
{
	return took(s->action == TAKE ? service_set_remove(run->service, run->actor, s->name, false, error) : service_set_new(run->service, run->actor, s->name, error));
}

static bool do_set_member(struct run *run, const struct step *s, GError **error)
{
	g_auto(GStrv) parts = parts_of(s->name, 2);

	return took(service_set_change(run->service, run->actor, parts[0], s->action == TAKE ? NULL : ONE(parts[1]), s->action == TAKE ? ONE(parts[1]) : NULL, error));
}

static bool do_assignment(struct run *run, const struct step *s, GError **error)
{
	g_auto(GStrv) parts = parts_of(s->name, 4);
	const char *const one[] = {parts[3], NULL};
	const struct set_audience audience = {
		.devices = strcmp(parts[1], "device") ? NULL : one, .groups = strcmp(parts[1], "group") ? NULL : one, .users = strcmp(parts[1], "user") ? NULL : one, .users_of = !strcmp(parts[2], "user"),
	};

	return took(s->action == TAKE ? service_set_unassign(run->service, run->actor, parts[0], &audience, error) : service_set_assign(run->service, run->actor, parts[0], &audience, error));
}

static bool do_profile_assignment(struct run *run, const struct step *s, GError **error)
{
	g_auto(GStrv) parts = parts_of(s->name, 3);
	const char *const one[] = {parts[2], NULL}, *const *devices = strcmp(parts[1], "device") ? NULL : one, *const *groups = devices ? NULL : one;

	return took(s->action == TAKE ? service_library_unassign(run->service, run->actor, parts[0], devices, groups, error) : service_library_assign(run->service, run->actor, parts[0], devices, groups, error));
}

static const struct {
	const char *name;
	bool (*find)(struct run *run, const char *name, const json_t *spec, enum found *ret, GError **error);
	bool (*act)(struct run *run, const struct step *s, GError **error);
} kinds[KINDS] = {
	[GROUP] = {"group", find_group, do_group},
	[MEMBER] = {"member", find_member, do_member},
	[PROFILE] = {"profile", find_profile, do_profile},
	[DECLARATION] = {"declaration", find_declaration, do_declaration},
	[SET] = {"set", find_set, do_set},
	[SET_MEMBER] = {"set-member", find_set_member, do_set_member},
	[ASSIGNMENT] = {"assignment", find_assignment, do_assignment},
	[PROFILE_ASSIGNMENT] = {"profile-assignment", find_profile_assignment, do_profile_assignment},
};

/* ---- reading what is wanted ---- */

static bool want(struct run *run, enum kind kind, char *name, const json_t *spec, unsigned order, GError **error)
{
	struct item *item = g_new(struct item, 1);
	char *key = g_strdup_printf("%s/%s", kinds[kind].name, name);

	*item = (struct item){kind, name, spec, order};
	g_ptr_array_add(run->items, item);
	if (!g_hash_table_add(run->wanted, key))
		return pom_fail(error, POM_ERR_APPLY, "%s \"%s\" is there twice", kinds[kind].name, name);
	return run->items->len <= STEPS_MAX || pom_fail(error, POM_ERR_LIMIT, "more than %d things", STEPS_MAX);
}

static const char *text_of(const json_t *spec, const char *what, const char *key, GError **error)
{
	const char *text = json_string_value(json_object_get(spec, key));

	if (!text)
		pom_fail(error, POM_ERR_APPLY, "a %s has no %s, or one that is no string", what, key);
	return text;
}

/* Calls TAKE with each text of the list KEY. */
static bool each_text(struct run *run, const json_t *spec, const char *what, const char *key, const char *name, bool (*take)(struct run *run, const char *name, const json_t *spec, const char *text, GError **error),
                      GError **error)
{
	const json_t *list = json_object_get(spec, key);

	if (list && !json_is_array(list))
		return pom_fail(error, POM_ERR_APPLY, "%s \"%s\": %s must be a list", what, name, key);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text)
			return pom_fail(error, POM_ERR_APPLY, "%s \"%s\": %s[%zu] must be a string", what, name, key, i);
		if (!take(run, name, spec, text, error))
			return false;
	}
	return true;
}

/* Wants KIND "PREFIX/ENROLLMENT ID" of the device that TEXT names. One that is not enrolled here is told, and nothing else. */
static bool want_device(struct run *run, enum kind kind, const char *prefix, const char *text, GError **error)
{
	GError *inner = NULL;
	g_autofree char *id = ddm_resolve(run->service, text, &inner);

	if (id)
		return want(run, kind, g_strdup_printf("%s/%s", prefix, id), NULL, 0, error);
	if (!g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	json_array_append_new(run->missing, json_string(text));
	return true;
}

static bool take_member(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	return want_device(run, MEMBER, name, text, error);
}

static bool read_groups(struct run *run, const json_t *bundle, GError **error)
{
	const json_t *list = json_object_get(bundle, "groups");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *spec = json_array_get(list, i);
		const char *name = text_of(spec, "group", "name", error);

		if (!name || !want(run, GROUP, g_strdup(name), NULL, 0, error) || !each_text(run, spec, "group", "members", name, take_member, error))
			return false;
	}
	return true;
}

static const char *channel_of(const json_t *spec)
{
	const char *channel = json_string_value(json_object_get(spec, "channel"));

	return channel && !strcmp(channel, "user") ? "user" : "device";
}

static bool take_set_group(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	return want(run, ASSIGNMENT, g_strdup_printf("%s/group/%s/%s", name, channel_of(spec), text), NULL, 0, error);
}

static bool take_set_user(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	return want(run, ASSIGNMENT, g_strdup_printf("%s/user/user/%s", name, text), NULL, 0, error);
}

static bool take_set_device(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	g_autofree char *prefix = g_strdup_printf("%s/device/%s", name, channel_of(spec));

	return want_device(run, ASSIGNMENT, prefix, text, error);
}

static bool take_set_member(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	return want(run, SET_MEMBER, g_strdup_printf("%s/%s", name, text), NULL, 0, error);
}

static bool read_sets(struct run *run, const json_t *bundle, GError **error)
{
	const json_t *list = json_object_get(bundle, "sets");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *spec = json_array_get(list, i);
		const char *name = text_of(spec, "set", "name", error);

		if (!name || !want(run, SET, g_strdup(name), NULL, 0, error) || !each_text(run, spec, "set", "declarations", name, take_set_member, error) ||
		    !each_text(run, spec, "set", "groups", name, take_set_group, error) || !each_text(run, spec, "set", "devices", name, take_set_device, error) ||
		    !each_text(run, spec, "set", "users", name, take_set_user, error))
			return false;
	}
	return true;
}

static bool take_profile_group(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	return want(run, PROFILE_ASSIGNMENT, g_strdup_printf("%s/group/%s", name, text), NULL, 0, error);
}

static bool take_profile_device(struct run *run, const char *name, const json_t *spec, const char *text, GError **error)
{
	g_autofree char *prefix = g_strdup_printf("%s/device", name);

	return want_device(run, PROFILE_ASSIGNMENT, prefix, text, error);
}

static bool read_profiles(struct run *run, const json_t *bundle, GError **error)
{
	const json_t *list = json_object_get(bundle, "profiles");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *spec = json_array_get(list, i);
		const char *name = text_of(spec, "profile", "name", error);

		if (!name || !text_of(spec, "profile", "file", error) || !want(run, PROFILE, g_strdup(name), spec, 0, error) ||
		    !each_text(run, spec, "profile", "groups", name, take_profile_group, error) || !each_text(run, spec, "profile", "devices", name, take_profile_device, error))
			return false;
	}
	return true;
}

/* What is named comes before what names it. */
static unsigned order_of(enum declaration_kind kind)
{
	return kind == DECLARATION_ASSET ? 0 : kind == DECLARATION_ACTIVATION ? 2 : 1;
}

static bool read_declarations(struct run *run, const json_t *bundle, GError **error)
{
	const json_t *list = json_object_get(bundle, "declarations");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *spec = json_array_get(list, i);
		g_auto(declaration_auto) d = {0};

		if (!declaration_read(json_object_get(spec, "declaration"), &d, error) || !want(run, DECLARATION, g_strdup(d.identifier), spec, order_of(d.kind), error))
			return false;
	}
	return true;
}

/* ---- the plan ---- */

static void plan_step(struct run *run, enum kind kind, int action, const char *name, const json_t *spec, unsigned order)
{
	struct step *s = g_new(struct step, 1);

	*s = (struct step){kind, action, g_strdup(name), spec, order};
	g_ptr_array_add(run->steps, s);
}

static bool plan_wanted(struct run *run, GError **error)
{
	for (guint i = 0; i < run->items->len; i++) {
		const struct item *item = g_ptr_array_index(run->items, i);
		enum found found;

		if (!kinds[item->kind].find(run, item->name, item->spec, &found, error))
			return false;
		if (found != SAME)
			plan_step(run, item->kind, found == DIFFERS ? CHANGE : MAKE, item->name, item->spec, item->order);
	}
	return true;
}

static enum kind kind_find(const char *name)
{
	for (unsigned k = 0; k < KINDS; k++)
		if (!strcmp(kinds[k].name, name))
			return (enum kind)k;
	return KINDS;
}

static bool declaration_order(struct run *run, const char *identifier, unsigned *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct declaration_row row = {0};
	bool found;

	if (!store_declaration_get(run->service->store, identifier, &row, &found, &load, error))
		return false;
	*ret = found ? order_of((enum declaration_kind)row.kind) : 0;
	declaration_row_clear(&row);
	return true;
}

static bool plan_unwanted(struct run *run, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_applied_list(run->service->store, run->owner, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct applied_row *row = &g_array_index(rows, struct applied_row, i);
		g_autofree char *key = g_strdup_printf("%s/%s", row->kind, row->name);
		enum kind kind = kind_find(row->kind);
		enum found found;
		unsigned order = 0;

		if (kind == KINDS || g_hash_table_contains(run->wanted, key))
			continue;
		if (!kinds[kind].find(run, row->name, NULL, &found, error) || (kind == DECLARATION && !declaration_order(run, row->name, &order, error)))
			return false;
		if (found != ABSENT)
			plan_step(run, kind, TAKE, row->name, NULL, order);
	}
	return rows != NULL;
}

/* First what comes, then what goes, the other way round. */
static int compare_steps(const void *a, const void *b)
{
	const struct step *x = *(const struct step *const *)a, *y = *(const struct step *const *)b;
	int sign = x->action == TAKE ? -1 : 1;

	if ((x->action == TAKE) != (y->action == TAKE))
		return x->action == TAKE ? 1 : -1;
	if (x->kind != y->kind)
		return sign * (x->kind < y->kind ? -1 : 1);
	if (x->order != y->order)
		return sign * (x->order < y->order ? -1 : 1);
	return strcmp(x->name, y->name);
}

static json_t *plan_json(const struct run *run)
{
	static const char *const actions[] = {"create", "change", "remove"};
	json_t *list = json_array();

	for (guint i = 0; i < run->steps->len; i++) {
		const struct step *s = g_ptr_array_index(run->steps, i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "action", actions[s->action], "kind", kinds[s->kind].name, "name", s->name));
	}
	return list;
}

/* ---- execution ---- */

static bool do_step(struct run *run, const struct step *s, GError **error)
{
	const char *kind = kinds[s->kind].name;

	/* Noted before it is made: what was made and not noted would stay for ever. */
	if (s->action == MAKE && !store_applied_set(run->service->store, run->owner, kind, s->name, true, error))
		return false;
	if (!kinds[s->kind].act(run, s, error)) {
		g_prefix_error(error, "%s \"%s\": ", kind, s->name);
		if (s->action == MAKE && !store_applied_set(run->service->store, run->owner, kind, s->name, false, NULL))
			g_prefix_error(error, "(and it stays noted as this owner's) ");
		return false;
	}
	return s->action != TAKE || store_applied_set(run->service->store, run->owner, kind, s->name, false, error);
}

static bool read_bundle(struct run *run, const json_t *bundle, GError **error)
{
	static const char *const lists[] = {"groups", "profiles", "declarations", "sets"};

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
		const json_t *list = json_object_get(bundle, lists[i]);

		if (list && !json_is_array(list))
			return pom_fail(error, POM_ERR_APPLY, "%s must be a list", lists[i]);
	}
	return read_groups(run, bundle, error) && read_profiles(run, bundle, error) && read_declarations(run, bundle, error) && read_sets(run, bundle, error);
}

json_t *service_apply(struct service *service, const char *actor, const struct apply_request *request, GError **error)
{
	g_auto(run_auto) run = {
		.service = service, .actor = actor, .owner = request->owner, .items = g_ptr_array_new_with_free_func(item_free), .steps = g_ptr_array_new_with_free_func(step_free),
		.wanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), .missing = json_array(),
	};
	g_autoptr(json_t) plan = NULL;
	g_autoptr(GBytes) text = NULL;
	g_autofree char *digest = NULL;
	guint n = 0;

	if (!library_name_check("an owner", request->owner, error) || !read_bundle(&run, request->bundle, error) || !plan_wanted(&run, error) || !plan_unwanted(&run, error))
		return NULL;
	g_ptr_array_sort(run.steps, compare_steps);
	plan = plan_json(&run);
	text = json_format(plan);
	digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, text);
	if (!request->dry_run && request->digest && strcmp(request->digest, digest)) {
		pom_fail(error, POM_ERR_CONFLICT, "things have changed since the plan was made: look at the new plan and apply again");
		return NULL;
	}
	for (; !request->dry_run && n < run.steps->len; n++)
		if (!do_step(&run, g_ptr_array_index(run.steps, n), error)) {
			g_prefix_error(error, "step %u of %u: ", n + 1, run.steps->len);
			return NULL;
		}
	return json_pack("{s:s, s:b, s:O, s:s, s:O, s:i}", "owner", request->owner, "dry_run", request->dry_run, "plan", plan, "digest", digest, "missing_devices", run.missing, "applied", (int)n);
}
