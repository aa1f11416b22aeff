/* Which declarations an enrollment shall have, and who is told when that changes. */
#include <string.h>

#include "base/log.h"
#include "core/command_check.h"
#include "core/renewal.h"
#include "service/ddm_internal.h"

enum { TRIES = 16, PAGE = 500, PAGES = 4, WORKS = 20, STALE_AT_ONCE = 200, PUSHES_PER_SECOND = 500 };
#define STALE_MS ((int64_t)3600 * 1000)
#define KEEP_MANIFEST_MS ((int64_t)24 * 3600 * 1000)

/* ---- this server's own ---- */

static bool is_wanted(const struct status_item *item, const struct command_target *target)
{
	/* Of a system that is not known only what all of them know. */
	return item->inventory && (target->platform < PLATFORM_MAX ? status_item_suits(item, target) : g_str_has_prefix(item->name, "device.model.") || g_str_has_prefix(item->name, "device.operating-system.v"));
}

char *ddm_subscription(const struct ddm_facts *facts)
{
	struct command_target target;
	GString *names;

	if (facts->subscription && facts->epoch == facts->active_epoch)
		return g_strdup(facts->subscription);
	command_target_init(&target, (enum enrollment_kind)facts->kind);
	if (platform_of(facts->product_name, facts->model) < PLATFORM_MAX)
		target.platform = platform_of(facts->product_name, facts->model);
	target.os_version = version_parse(facts->os_version);
	target.user_channel = facts->parent_id != NULL;
	names = g_string_new(NULL);
	for (unsigned i = 0; status_item_at(i); i++)
		if (is_wanted(status_item_at(i), &target))
			g_string_append_printf(names, "%s%s", names->len ? " " : "", status_item_at(i)->name);
	return g_string_free(names, FALSE);
}

char *ddm_subscription_of(const char *capabilities)
{
	g_autoptr(json_t) json = capabilities ? json_parse(capabilities, strlen(capabilities), NULL) : NULL;
	const json_t *list = json_object_get(json_object_get(json, "supported-payloads"), "status-items");
	GString *names;

	if (!json_is_array(list))
		return NULL;
	names = g_string_new(NULL);
	for (unsigned i = 0; status_item_at(i); i++)
		for (size_t k = 0; status_item_at(i)->inventory && k < json_array_size(list); k++)
			if (!g_strcmp0(json_string_value(json_array_get(list, k)), status_item_at(i)->name)) {
				g_string_append_printf(names, "%s%s", names->len ? " " : "", status_item_at(i)->name);
				break;
			}
	return g_string_free(names, FALSE);
}

void ddm_own_declaration(enum declaration_kind kind, const char *subscription, struct declaration *ret)
{
	bool activates = kind == DECLARATION_ACTIVATION;
	const char *type = activates ? "com.apple.activation.simple" : "com.apple.configuration.management.status-subscriptions";
	g_auto(GStrv) names = g_strsplit(subscription, " ", -1);
	json_t *list = json_array();

	for (size_t i = 0; !activates && names[i]; i++)
		json_array_append_new(list, json_pack("{s:s}", "Name", names[i]));
	if (activates)
		json_array_append_new(list, json_string(DDM_OWN_SUBSCRIPTION));
	*ret = (struct declaration){
		g_strdup(activates ? DDM_OWN_ACTIVATION : DDM_OWN_SUBSCRIPTION), g_strdup(type), kind, declaration_type_find(type), json_pack("{s:o}", activates ? "StandardConfigurations" : "StatusItems", list),
	};
}

char *ddm_effective_token(const char *token, int64_t profile_version)
{
	return profile_version ? g_strdup_printf("%s.%" G_GINT64_FORMAT, token, profile_version) : g_strdup(token);
}

/* ---- lists ---- */

/* Lists that were made from the same sets, during one piece of work. */
struct list { char *token; GBytes *items; };

static void list_free(void *data)
{
	struct list *list = data;

	if (!list)
		return;
	g_free(list->token);
	g_bytes_unref(list->items);
	g_free(list);
}

struct planner {
	struct service *service;
	GHashTable *lists; /* "set\nset\n\tsubscription" → struct list */
	int64_t now_ms;
};

static void planner_init(struct planner *p, struct service *service)
{
	*p = (struct planner){service, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, list_free), service_now_ms(service)};
}

static void planner_clear(struct planner *p)
{
	g_clear_pointer(&p->lists, g_hash_table_unref);
}

typedef struct planner planner_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(planner_auto, planner_clear)

static void add_own(const char *subscription, GArray *items, GPtrArray *texts)
{
	for (unsigned k = 0; *subscription && k < 2; k++) {
		enum declaration_kind kind = k ? DECLARATION_CONFIGURATION : DECLARATION_ACTIVATION;
		g_auto(declaration_auto) d = {0};
		struct ddm_item item;

		ddm_own_declaration(kind, subscription, &d);
		item = (struct ddm_item){k ? DDM_OWN_SUBSCRIPTION : DDM_OWN_ACTIVATION, declaration_token(&d), kind};
		g_ptr_array_add(texts, (char *)(uintptr_t)item.token);
		g_array_append_val(items, item);
	}
}

static bool add_set(struct service *service, const char *name, GArray *items, GPtrArray *texts, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_set_items(service->store, name, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct set_item *row = &g_array_index(rows, struct set_item, i);
		struct ddm_item item = {g_strdup(row->identifier), ddm_effective_token(row->token, row->profile_version), (enum declaration_kind)row->kind};

		g_ptr_array_add(texts, (char *)(uintptr_t)item.identifier);
		g_ptr_array_add(texts, (char *)(uintptr_t)item.token);
		g_array_append_val(items, item);
	}
	return rows != NULL;
}

static struct list *make_list(struct service *service, const GPtrArray *sets, const char *subscription, GError **error)
{
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(struct ddm_item));
	g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
	struct list *list;

	for (guint i = 0; i < sets->len; i++)
		if (!add_set(service, g_ptr_array_index(sets, i), items, texts, error))
			return NULL;
	if (sets->len)
		add_own(subscription, items, texts);
	list = g_new(struct list, 1);
	list->items = ddm_manifest_build(items, &list->token);
	return list;
}

/* Borrowed from the planner. */
static const struct list *list_for(struct planner *p, const char *enrollment_id, const struct ddm_facts *facts, bool *ret_has_sets, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) sets = store_sets_of(p->service->store, enrollment_id, &load, error);
	g_autofree char *subscription = sets && sets->len ? ddm_subscription(facts) : g_strdup("");
	g_autoptr(GString) key = g_string_new(NULL);
	struct list *list;

	if (!sets)
		return NULL;
	*ret_has_sets = sets->len > 0;
	for (guint i = 0; i < sets->len; i++)
		g_string_append_printf(key, "%s\n", (const char *)g_ptr_array_index(sets, i));
	g_string_append_printf(key, "\t%s", subscription);
	list = g_hash_table_lookup(p->lists, key->str);
	if (list)
		return list;
	list = make_list(p->service, sets, subscription, error);
	if (list)
		g_hash_table_insert(p->lists, g_strdup(key->str), list);
	return list;
}

/* ---- one enrollment ---- */

struct step {
	struct ddm_facts facts;
	store_load *load;
	struct ddm_write write;
	struct pom_id uuid;
	GBytes *body;
	char *id, *token;
	GBytes *items;
};

static void step_free(void *data)
{
	struct step *s = data;

	if (!s)
		return;
	g_clear_pointer(&s->load, store_load_free);
	g_clear_pointer(&s->body, g_bytes_unref);
	g_clear_pointer(&s->items, g_bytes_unref);
	g_free(s->token);
	g_free(s->id);
	g_free(s);
}

typedef struct step step_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(step_auto, step_free)

static struct ddm_row row_of(const struct ddm_facts *f)
{
	bool counts = f->version && f->epoch == f->active_epoch;

	return (struct ddm_row){
		counts ? f->token : NULL, counts ? f->told : NULL,
		!f->waiting ? DDM_WAITS_NOT : counts && !g_strcmp0(f->waiting, f->delivered) ? DDM_WAITS_DELIVERED : DDM_WAITS_QUEUED,
	};
}

static GBytes *empty_command(const char *uuid, GError **error)
{
	g_auto(command_auto) command = {0};
	plist *inner = plist_new_dict();

	plist_dict_set_string(inner, "RequestType", "DeclarativeManagement");
	return command_build(inner, uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

/* NULL with ERROR unset: nothing is known of the enrollment, or it is not live. */
static struct step *load_step(struct planner *p, const char *id, GError **error)
{
	g_autoptr(step_auto) step = g_new0(struct step, 1);
	bool found;

	if (!store_ddm_facts(p->service->store, id, &step->facts, &found, &step->load, error) || !found || !step->facts.active_epoch)
		return NULL;
	step->id = g_strdup(id);
	return g_steal_pointer(&step);
}

static void prepare(struct planner *p, struct step *step, const struct list *list)
{
	const struct ddm_facts *f = &step->facts;
	const struct ddm_row row = row_of(f);

	/* The list outlives the planner no longer than the step does. */
	step->token = g_strdup(list->token);
	step->items = g_strcmp0(row.token, list->token) ? g_bytes_ref(list->items) : NULL;
	step->write = (struct ddm_write){
		.enrollment_id = step->id, .facts = f, .token = step->token, .told = row.told, .delivered = row.told ? f->delivered : NULL, .items = step->items, .told_ms = f->told_ms, .push_ms = p->now_ms,
	};
}

/* *RET_STEP NULL: nothing is to be done. */
static bool decide(struct planner *p, const char *id, struct step **ret_step, GError **error)
{
	GError *inner = NULL;
	g_autoptr(step_auto) step = load_step(p, id, &inner);
	const struct list *list;
	struct ddm_plan plan;
	struct ddm_row row;
	bool has_sets;

	*ret_step = NULL;
	if (!step) {
		if (inner)
			g_propagate_error(error, inner);
		return !inner;
	}
	list = list_for(p, id, &step->facts, &has_sets, error);
	if (!list)
		return false;
	row = row_of(&step->facts);
	ddm_decide(&row, list->token, has_sets, &plan);
	if (!plan.write && !plan.queue && !plan.cancel)
		return true;
	prepare(p, step, list);
	if (plan.cancel)
		step->write.cancel = step->facts.waiting;
	if (plan.queue) {
		step->uuid = pom_id_new(p->service->clock, p->service->random);
		step->write.queue = step->uuid.text;
		step->write.body = step->body = empty_command(step->uuid.text, error);
	}
	if (plan.queue && !step->body)
		return false;
	*ret_step = g_steal_pointer(&step);
	return true;
}

static bool is_conflict(const GError *error)
{
	return g_error_matches(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
}

static void wake(struct service *service)
{
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
}

bool ddm_reconcile(struct service *service, const char *enrollment_id, bool *ret_queued, GError **error)
{
	GError *inner = NULL;

	if (ret_queued)
		*ret_queued = false;
	for (int i = 0; i < TRIES; i++) {
		g_auto(planner_auto) p = {0};
		g_autoptr(step_auto) step = NULL;

		g_clear_error(&inner);
		planner_init(&p, service);
		if (!decide(&p, enrollment_id, &step, error))
			return false;
		if (!step)
			return true;
		if (store_ddm_apply(service->store, &step->write, 1, p.now_ms, &inner)) {
			if (ret_queued)
				*ret_queued = step->write.queue != NULL;
			if (step->write.queue)
				wake(service);
			return true;
		}
		if (!is_conflict(inner))
			break;
	}
	return service_fail_again(error, inner);
}

/* One try. *RET_AGAIN: somebody else was faster. */
static bool deliver_once(struct service *service, const char *enrollment_id, int64_t epoch, const char *uuid, GBytes **ret_tokens, bool *ret_again, GError **error)
{
	g_auto(planner_auto) p = {0};
	g_autoptr(step_auto) step = NULL;
	const struct list *list;
	GError *inner = NULL;
	struct ddm_row row;
	bool has_sets, same;

	*ret_again = false;
	planner_init(&p, service);
	step = load_step(&p, enrollment_id, &inner);
	if (inner) {
		g_propagate_error(error, inner);
		return false;
	}
	if (!step || step->facts.active_epoch != epoch)
		return pom_fail(error, POM_ERR_CONFLICT, "the enrollment is not live any more");
	list = list_for(&p, enrollment_id, &step->facts, &has_sets, error);
	if (!list)
		return false;
	row = row_of(&step->facts);
	same = !g_strcmp0(row.token, list->token);
	prepare(&p, step, list);
	step->write.told = step->token;
	step->write.delivered = uuid;
	step->write.told_ms = p.now_ms;
	*ret_tokens = ddm_tokens_format(list->token, same ? step->facts.changed_ms : p.now_ms);
	if (same && !g_strcmp0(row.told, list->token) && !g_strcmp0(step->facts.delivered, uuid))
		return true;
	if (store_ddm_apply(service->store, &step->write, 1, p.now_ms, &inner))
		return true;
	g_clear_pointer(ret_tokens, g_bytes_unref);
	*ret_again = is_conflict(inner);
	g_propagate_error(error, inner);
	return false;
}

bool ddm_deliver(struct service *service, const char *enrollment_id, int64_t epoch, const char *uuid, GBytes **ret_tokens, GError **error)
{
	GError *inner = NULL;
	bool again = true;

	for (int i = 0; i < TRIES && again; i++) {
		g_clear_error(&inner);
		if (deliver_once(service, enrollment_id, epoch, uuid, ret_tokens, &again, &inner))
			return true;
	}
	return service_fail_again(error, inner);
}

bool ddm_note_told(struct service *service, const char *enrollment_id, int64_t epoch, const char *token, GError **error)
{
	GError *inner = NULL;

	for (int i = 0; i < TRIES; i++) {
		g_autoptr(store_load) load = NULL;
		struct ddm_facts facts;
		int64_t now_ms = service_now_ms(service);
		bool found;

		g_clear_error(&inner);
		if (!store_ddm_facts(service->store, enrollment_id, &facts, &found, &load, error))
			return false;
		/* What has changed meanwhile is told with the next command. */
		if (!found || !facts.version || facts.epoch != epoch || facts.active_epoch != epoch || g_strcmp0(facts.token, token) || !g_strcmp0(facts.told, token))
			return true;
		const struct ddm_write write = {
			.enrollment_id = enrollment_id, .facts = &facts, .token = token, .told = token, .delivered = facts.delivered, .told_ms = now_ms,
			/* It has come by itself: a command that it did not fetch yet would tell it nothing. */
			.cancel = facts.waiting && g_strcmp0(facts.waiting, facts.delivered) ? facts.waiting : NULL,
		};
		if (store_ddm_apply(service->store, &write, 1, now_ms, &inner))
			return true;
		if (!is_conflict(inner))
			break;
	}
	return service_fail_again(error, inner);
}

/* ---- work ---- */

/* A page of enrollments in one transaction; when one of them changes at the same moment, each in its own. Pushes are spread over time. */
static bool look_at_page(struct planner *p, const GPtrArray *ids, int64_t n_before, GError **error)
{
	g_autoptr(GPtrArray) steps = g_ptr_array_new_with_free_func(step_free);
	g_autoptr(GArray) writes = g_array_new(FALSE, FALSE, sizeof(struct ddm_write));
	g_autoptr(GError) inner = NULL;
	bool queued = false;

	p->now_ms = service_now_ms(p->service);
	for (guint i = 0; i < ids->len; i++) {
		struct step *step;

		if (!decide(p, g_ptr_array_index(ids, i), &step, error))
			return false;
		if (!step)
			continue;
		step->write.push_ms += (n_before + i) * 1000 / PUSHES_PER_SECOND;
		g_ptr_array_add(steps, step);
		g_array_append_val(writes, step->write);
		queued |= step->write.queue != NULL;
	}
	if (store_ddm_apply(p->service->store, (const struct ddm_write *)(const void *)writes->data, writes->len, p->now_ms, &inner)) {
		if (queued)
			wake(p->service);
		return true;
	}
	if (!is_conflict(inner)) {
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	for (guint i = 0; i < ids->len; i++)
		if (!ddm_reconcile(p->service, g_ptr_array_index(ids, i), NULL, error))
			return false;
	return true;
}

static bool is_target(const struct ddm_work *work)
{
	return strcmp(work->kind, "set") && strcmp(work->kind, "declaration") && strcmp(work->kind, "profile");
}

/* Looked at twice an enrollment is left as it is, so a crash between page and mark does no harm. */
static bool do_work(struct service *service, const struct ddm_work *work, int *pages, GError **error)
{
	g_auto(planner_auto) p = {0};
	g_autofree char *after = g_strdup(work->after);
	int64_t n_done = work->n_done;

	if (!is_target(work))
		return store_ddm_work_expand(service->store, work, service_now_ms(service), error);
	planner_init(&p, service);
	for (; *pages > 0; --*pages) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GPtrArray) ids = store_ddm_work_page(service->store, work, after, PAGE, &load, error);

		if (!ids || !look_at_page(&p, ids, n_done, error))
			return false;
		if (ids->len < PAGE)
			return store_ddm_work_done(service->store, work->id, error);
		n_done += ids->len;
		g_free(after);
		after = g_strdup(g_ptr_array_index(ids, ids->len - 1));
		if (!store_ddm_work_move(service->store, work->id, after, n_done, error))
			return false;
	}
	return true;
}

bool service_ddm_work(struct service *service, bool *ret_more, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) works = store_ddm_work(service->store, WORKS, &load, error);
	GError *first = NULL;
	int pages = PAGES;
	bool ok = true;

	if (!works)
		return false;
	/* What cannot be done now must not keep the rest from it. */
	for (guint i = 0; i < works->len && pages > 0; i++)
		ok &= do_work(service, &g_array_index(works, struct ddm_work, i), &pages, first ? NULL : &first);
	*ret_more = ok && works->len > 0;
	if (first)
		g_propagate_error(error, first);
	return ok;
}

bool service_ddm_minute(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	int64_t now_ms = service_now_ms(service);
	g_autoptr(GPtrArray) ids = store_ddm_stale(service->store, now_ms - STALE_MS, STALE_AT_ONCE, &load, error);

	for (guint i = 0; ids && i < ids->len; i++)
		if (!ddm_reconcile(service, g_ptr_array_index(ids, i), NULL, error))
			return false;
	return ids && store_ddm_purge(service->store, now_ms - KEEP_MANIFEST_MS, error);
}
