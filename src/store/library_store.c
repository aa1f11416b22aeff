/* The library of profiles, groups, attributes and facts. */
#include "store/library_store.h"

#include <string.h>

#include "core/fact.h"
#include "store/store_internal.h"

/* ---- facts, attributes ---- */

void fact_write_clear(struct fact_write *write)
{
	g_clear_pointer(&write->facts, g_array_unref);
	g_clear_pointer(&write->lists, g_array_unref);
}

void store_batch_facts(struct store *store, struct db_batch *batch, const char *enrollment_id, const struct fact_write *write, int64_t now_ms)
{
	for (guint i = 0; write->facts && i < write->facts->len; i++) {
		const struct fact *fact = &g_array_index(write->facts, struct fact, i);

		db_batch_add(batch, Q_FACT_PUT, db_text(enrollment_id), db_text(fact->name), db_text(fact->value), db_int(now_ms));
	}
	/* More of them there are only after something new. */
	if (write->facts && write->facts->len && write->changed)
		db_batch_add(batch, Q_FACT_TRIM, db_text(enrollment_id), db_int(FACTS_PER_DEVICE));
	for (guint i = 0; write->lists && i < write->lists->len; i++) {
		const struct fact_list *list = &g_array_index(write->lists, struct fact_list, i);

		db_batch_add(batch, Q_FACT_LIST_PUT, db_text(enrollment_id), db_text(list->name), db_text(list->value), db_int(list->n_items), db_int(list->n_cut), db_int(now_ms));
	}
	if (write->changed)
		store_batch_query_device(store, batch, enrollment_id);
}

static struct fact_row read_fact(const struct db_batch *b, unsigned i, size_t row)
{
	return (struct fact_row){db_get_text(b, i, row, 0), db_get_text(b, i, row, 1), db_get_int(b, i, row, 2)};
}

static void take_fact(const struct db_batch *b, size_t row, void *out)
{
	*(struct fact_row *)out = read_fact(b, 0, row);
}

GArray *store_read_facts_of(const struct db_batch *batch, unsigned i)
{
	size_t n = db_rows(batch, i);
	GArray *rows = g_array_sized_new(FALSE, FALSE, sizeof(struct fact_row), (guint)n);

	for (size_t row = 0; row < n; row++) {
		struct fact_row fact = read_fact(batch, i, row);

		g_array_append_val(rows, fact);
	}
	return rows;
}

GArray *store_fact_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	if (limit > 0)
		db_batch_add(batch, Q_FACT_PAGE, db_text(enrollment_id), db_text(after), db_int(limit));
	else
		db_batch_add(batch, Q_FACT_LIST, db_text(enrollment_id));
	return store_list(store, batch, sizeof(struct fact_row), take_fact, ret_load, error);
}

static void take_attribute(const struct db_batch *b, size_t row, void *out)
{
	*(struct attribute_row *)out = (struct attribute_row){db_get_text(b, 0, row, 0), db_get_bytes(b, 0, row, 1), db_get_int(b, 0, row, 2)};
}

static void clear_attribute(void *data)
{
	g_clear_pointer(&((struct attribute_row *)data)->sealed, g_bytes_unref);
}

GArray *store_attribute_list(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add(batch, Q_ATTRIBUTE_LIST, db_text(enrollment_id));
	rows = store_list(store, batch, sizeof(struct attribute_row), take_attribute, ret_load, error);
	if (rows)
		g_array_set_clear_func(rows, clear_attribute);
	return rows;
}

bool store_attribute_change(struct store *store, const char *enrollment_id, const struct attribute_row *changes, size_t n, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	for (size_t i = 0; i < n; i++)
		if (changes[i].sealed)
			db_batch_add(batch, Q_ATTRIBUTE_PUT, db_text(enrollment_id), db_text(changes[i].name), db_bytes(changes[i].sealed), db_int(now_ms));
		else
			db_batch_add(batch, Q_ATTRIBUTE_REMOVE, db_text(enrollment_id), db_text(changes[i].name));
	store_batch_query_device(store, batch, enrollment_id);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

/* ---- profiles ---- */

static void take_profile(const struct db_batch *b, size_t row, void *out)
{
	unsigned c = 0;
#define T db_get_text(b, 0, row, c++)
#define I db_get_int(b, 0, row, c++)
	struct library_profile_row p;

	p.name = T, p.identifier = T, p.newest = I, p.removing_ms = I, p.created_ms = I, p.updated_ms = I, p.size = I, p.is_signed = I;
	p.sign = T, p.encrypt = T, p.variables = T, p.substitute = I, p.secret = T, p.uuid = T, p.display_name = T;
	*(struct library_profile_row *)out = p;
}

static void take_version(const struct db_batch *b, size_t row, void *out)
{
	struct library_version_row v = {0};
	unsigned c = 2;
	size_t len;

	v.number = db_get_int(b, 0, row, 0);
	v.sha256 = db_get_blob(b, 0, row, 1, &len);
	v.size = I, v.is_signed = I, v.sign = T, v.encrypt = T, v.variables = T, v.substitute = I, v.secret = T, v.uuid = T, v.display_name = T, v.actor = T, v.created_ms = I;
#undef T
#undef I
	*(struct library_version_row *)out = v;
}

void library_version_clear(struct library_version_row *row)
{
	g_clear_pointer(&row->body_sealed, g_bytes_unref);
	g_clear_pointer(&row->content_sealed, g_bytes_unref);
}

bool store_library_get(struct store *store, const char *key, bool by_identifier, struct library_profile_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, by_identifier ? Q_LIB_BY_IDENTIFIER : Q_LIB_GET, db_text(key));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	take_profile(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

GArray *store_library_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct library_profile_row), take_profile, ret_load, error);
}

GArray *store_library_versions(struct store *store, const char *profile, int64_t after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_VERSIONS, db_text(profile), db_int(after), db_int(limit));
	return store_list(store, batch, sizeof(struct library_version_row), take_version, ret_load, error);
}

bool store_library_version(struct store *store, const char *profile, int64_t number, struct library_version_row *ret, store_load **ret_load, GError **error)
{
	enum { BODY = sizeof(LIB_VERSION_TYPES) - 1, CONTENT, IDENTIFIER };
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_VERSION, db_text(profile), db_int(number));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return number ? pom_fail(error, POM_ERR_NOT_FOUND, "there is no version %" G_GINT64_FORMAT " of a profile \"%.64s\"", number, profile) : pom_fail(error, POM_ERR_NOT_FOUND, "there is no profile \"%.64s\" in the library", profile);
	take_version(batch, 0, ret);
	ret->body_sealed = db_get_bytes(batch, 0, 0, BODY);
	ret->content_sealed = db_get_bytes(batch, 0, 0, CONTENT);
	ret->identifier = db_get_text(batch, 0, 0, IDENTIFIER);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

static void add_work(struct store *store, struct db_batch *batch, const char *profile, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_LIB_WORK_ADD, db_text(id.text), db_text(profile), db_int(now_ms));
}

void store_batch_library_device(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_LIB_WORK_ADD_DEVICE, db_text(id.text), db_text(enrollment_id), db_int(now_ms));
	store_batch_ddm_device(store, batch, enrollment_id, now_ms);
}

bool store_library_add(struct store *store, const char *profile, const struct library_version_row *v, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	if (v->number == 1)
		db_batch_add(batch, Q_LIB_ADD, db_text(profile), db_text(v->identifier), db_int(1), db_int(v->created_ms));
	else
		db_batch_add(batch, Q_LIB_RAISE, db_text(profile), db_int(v->number), db_text(v->identifier), db_int(v->created_ms));
	db_batch_add(batch, Q_LIB_VERSION_ADD, db_text(profile), db_int(v->number), db_blob(v->sha256, 32), db_bytes(v->body_sealed), db_bytes(v->content_sealed), db_int(v->size), db_int(v->is_signed),
	             db_text(v->sign), db_text(v->encrypt), db_text(v->variables), db_int(v->substitute), db_text(v->secret), db_text(v->uuid), db_text(v->display_name), db_text(v->actor),
	             db_text(v->identifier), db_int(v->created_ms));
	add_work(store, batch, profile, v->created_ms);
	store_batch_ddm_profile(store, batch, profile, v->created_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_library_remove(struct store *store, const char *profile, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_REMOVING, db_text(profile), db_int(now_ms));
	db_batch_add(batch, Q_LIB_UNASSIGN_ALL, db_text(profile));
	add_work(store, batch, profile, now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_library_purge(struct store *store, size_t *ret_n, GError **error)
{
	enum { AT_ONCE = 50 };
	g_autoptr(db_batch) find = db_batch_new(NULL);

	*ret_n = 0;
	db_batch_add(find, Q_LIB_DONE_REMOVING, db_int(AT_ONCE));
	if (!store_run(store, find, error))
		return false;
	for (size_t i = 0; i < db_rows(find, 0); i++) {
		g_autoptr(db_batch) batch = db_batch_new(NULL);
		const char *name = db_get_text(find, 0, i, 0);

		db_batch_add(batch, Q_LIB_DELETE, db_text(name));
		db_batch_add(batch, Q_LIB_DELETE_VERSIONS, db_text(name));
		db_batch_add(batch, Q_LIB_DELETE_STATES, db_text(name));
		if (!store_run(store, batch, error))
			return false;
		++*ret_n;
	}
	return true;
}

/* ---- assignments ---- */

static void take_assignment(const struct db_batch *b, size_t row, void *out)
{
	*(struct assignment_row *)out = (struct assignment_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_int(b, 0, row, 2)};
}

GArray *store_assignment_list(struct store *store, const char *profile, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_ASSIGNMENTS, db_text(profile));
	return store_list(store, batch, sizeof(struct assignment_row), take_assignment, ret_load, error);
}

bool store_assignment_count(struct store *store, const char *profile, int64_t *ret_devices, int64_t *ret_groups, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_ASSIGNMENT_COUNT, db_text(profile));
	if (!store_run(store, batch, error))
		return false;
	*ret_devices = *ret_groups = 0;
	for (size_t i = 0; i < db_rows(batch, 0); i++)
		*(strcmp(db_get_text(batch, 0, i, 0), "group") ? ret_devices : ret_groups) = db_get_int(batch, 0, i, 1);
	return true;
}

/* What an assignment to KIND changes: one device, or all of the profile's. */
static void add_kind_work(struct store *store, struct db_batch *batch, const char *profile, const char *kind, const char *const *targets, int64_t now_ms)
{
	if (!strcmp(kind, "group")) {
		add_work(store, batch, profile, now_ms);
		return;
	}
	for (size_t i = 0; targets[i]; i++)
		store_batch_library_device(store, batch, targets[i], now_ms);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Holds each of NAMES once, in order, by STATEMENT; how many statements that were. */
static unsigned hold_all(struct db_batch *batch, unsigned statement, const char *const *names)
{
	size_t n = g_strv_length((char **)(uintptr_t)names);
	g_autofree const char **sorted = g_memdup2(names, (n + 1) * sizeof(*names));
	unsigned held = 0;

	qsort(sorted, n, sizeof(*sorted), compare_texts);
	for (size_t i = 0; i < n; i++)
		if (!i || strcmp(sorted[i], sorted[i - 1])) {
			db_batch_add(batch, statement, db_text(sorted[i]));
			held++;
		}
	return held;
}

/* A group must be there; a device that is held does not change what its profiles hang on. */
static unsigned hold_targets(struct db_batch *batch, const char *kind, const char *const *targets)
{
	return hold_all(batch, strcmp(kind, "group") ? Q_ENROLLMENT_HOLD : Q_GROUP_HOLD, targets);
}

bool store_assign(struct store *store, const char *profile, const char *kind, const char *const *targets, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, Q_LIB_HOLD, db_text(profile));
	hold_targets(batch, kind, targets);
	for (size_t i = 0; targets[i]; i++) {
		db_batch_add(batch, Q_LIB_ASSIGN, db_text(profile), db_text(kind), db_text(targets[i]), db_int(now_ms));
	}
	add_kind_work(store, batch, profile, kind, targets, now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_unassign(struct store *store, const char *profile, const char *kind, const char *const *targets, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	size_t n = 0;
	unsigned holds = 0;

	db_batch_spans(batch);
	if (strcmp(kind, "group"))
		holds = hold_targets(batch, kind, targets);
	for (; targets[n]; n++)
		db_batch_add(batch, Q_LIB_UNASSIGN, db_text(profile), db_text(kind), db_text(targets[n]));
	add_kind_work(store, batch, profile, kind, targets, now_ms);
	store_batch_audit(store, batch, audit);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		*ret_n += (int64_t)db_rows(batch, holds + (unsigned)i);
	return true;
}

/* ---- groups ---- */

bool store_group_add(struct store *store, const char *name, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GROUP_ADD, db_text(name), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_group(const struct db_batch *b, size_t row, void *out)
{
	*(struct group_row *)out = (struct group_row){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1), db_get_int(b, 0, row, 2), db_get_text(b, 0, row, 3)};
}

bool store_group_get(struct store *store, const char *name, struct group_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GROUP_GET, db_text(name));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no group \"%.64s\"", name);
	take_group(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

GArray *store_group_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GROUP_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct group_row), take_group, ret_load, error);
}

/* The only column of a statement's rows. */
static GPtrArray *texts(struct store *store, struct db_batch *batch, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) owned = batch;
	GPtrArray *all;

	if (!store_run(store, batch, error))
		return NULL;
	all = g_ptr_array_new();
	for (size_t i = 0; i < db_rows(batch, 0); i++)
		g_ptr_array_add(all, (void *)(uintptr_t)db_get_text(batch, 0, i, 0));
	*ret_load = g_steal_pointer(&owned);
	return all;
}

GPtrArray *store_group_profiles(struct store *store, const char *name, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GROUP_PROFILES, db_text(name));
	return texts(store, batch, ret_load, error);
}

bool store_group_remove(struct store *store, const char *name, const char *const *profiles, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	/* Whoever adds something to it holds it first: he is before this, or finds nothing. */
	db_batch_add(batch, Q_GROUP_HOLD, db_text(name));
	store_batch_ddm_group_gone(store, batch, name, now_ms);
	db_batch_add(batch, Q_GROUP_REMOVE, db_text(name));
	db_batch_add(batch, Q_GROUP_UNASSIGN, db_text(name));
	db_batch_add(batch, Q_GROUP_EMPTY, db_text(name));
	for (size_t i = 0; profiles[i]; i++)
		add_work(store, batch, profiles[i], now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_member(const struct db_batch *b, size_t row, void *out)
{
	*(struct member_row *)out = (struct member_row){
		db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3), db_get_int(b, 0, row, 4), db_get_int(b, 0, row, 5),
	};
}

GArray *store_member_list(struct store *store, const char *group, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_MEMBER_LIST, db_text(group), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct member_row), take_member, ret_load, error);
}

bool store_member_change(struct store *store, const char *group, const char *const *add, const char *const *remove, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, Q_GROUP_HOLD_LIST, db_text(group));
	/* None that is deleted at this moment. */
	hold_all(batch, Q_COMMAND_HOLD, add);
	for (size_t i = 0; add[i]; i++)
		db_batch_add(batch, Q_MEMBER_ADD, db_text(group), db_text(add[i]), db_int(now_ms));
	for (size_t i = 0; remove[i]; i++)
		db_batch_add(batch, Q_MEMBER_REMOVE, db_text(group), db_text(remove[i]));
	for (size_t i = 0; add[i]; i++)
		store_batch_library_device(store, batch, add[i], now_ms);
	for (size_t i = 0; remove[i]; i++)
		store_batch_library_device(store, batch, remove[i], now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

GPtrArray *store_groups_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_GROUPS_OF, db_text(enrollment_id));
	return texts(store, batch, ret_load, error);
}

/* ---- states ---- */

bool store_library_facts(struct store *store, const char *enrollment_id, const char *profile, struct library_facts *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_LIB_FACTS, db_text(enrollment_id), db_text(profile));
	if (!store_run(store, b, error))
		return false;
	*ret_found = db_rows(b, 0) > 0;
	*ret = (struct library_facts){
		.identifier = db_get_text(b, 0, 0, 0), .active_epoch = db_get_int(b, 0, 0, 1), .newest = db_get_int(b, 0, 0, 3), .removing_ms = db_get_int(b, 0, 0, 4),
		.assigned = db_get_int(b, 0, 0, 5) != 0, .epoch = db_get_int(b, 0, 0, 7), .uuid = db_get_text(b, 0, 0, 8), .number = db_get_int(b, 0, 0, 9), .command_uuid = db_get_text(b, 0, 0, 10),
		.reason = db_get_text(b, 0, 0, 12), .version = db_get_int(b, 0, 0, 16),
		.row = {library_state_find(db_get_text(b, 0, 0, 6)), db_get_int(b, 0, 0, 11) != 0, db_get_int(b, 0, 0, 13), db_get_int(b, 0, 0, 14)},
	};
	*ret_load = g_steal_pointer(&b);
	return true;
}

static void add_state(struct db_batch *batch, const struct library_write *w)
{
	const struct library_row *next = &w->plan->next;
	int64_t assigned = w->check_assigned ? w->facts->assigned : -1;
	const struct db_value values[] = {
		db_text(w->enrollment_id), db_text(w->profile), db_int(w->epoch), db_text(library_state_name(next->state)), db_int(w->number), db_text(w->uuid), db_int(next->present),
		db_text(w->command_uuid), db_text(w->plan->reason), db_int(next->queued_ms), db_int(next->deadline_ms), db_int(w->now_ms), db_int(assigned), db_int(w->facts->version),
	};

	if (w->facts->version)
		db_batch_add_values(batch, Q_LIB_STATE_SET, values, G_N_ELEMENTS(values));
	else
		db_batch_add_values(batch, Q_LIB_STATE_ADD, values, G_N_ELEMENTS(values) - 1);
}

static void add_write(struct store *store, struct db_batch *batch, const struct library_write *w)
{
	struct pom_id seq = pom_id_new(store->clock, store->random), list_seq = pom_id_new(store->clock, store->random);

	/* Also for who takes the profile from it, or deletes it, at the same time. */
	db_batch_add(batch, Q_COMMAND_HOLD, db_text(w->enrollment_id));
	add_state(batch, w);
	if (w->plan->cancel && w->facts->command_uuid) {
		db_batch_add(batch, Q_COMMAND_LOCK_UUID, db_text(w->facts->command_uuid));
		db_batch_add(batch, Q_LIB_COMMAND_CANCELED, db_text(w->facts->command_uuid), db_int(w->now_ms));
		db_batch_add(batch, Q_LIB_COMMAND_CANCEL, db_text(w->facts->command_uuid));
	}
	if (w->plan->install || w->plan->remove)
		db_batch_add(batch, Q_COMMAND_ADD, db_text(w->enrollment_id), db_text(seq.text), db_text(w->command_uuid), db_int(w->epoch), db_text(w->request_type), db_bytes(w->body), db_int(w->now_ms),
		             db_text(w->note));
	if (w->plan->list)
		db_batch_add(batch, Q_LIB_COMMAND_ONCE, db_text(w->enrollment_id), db_text(list_seq.text), db_text(w->list_uuid), db_int(w->epoch), db_text("ProfileList"), db_bytes(w->list_body),
		             db_int(w->now_ms), db_text(w->list_note));
	if (w->plan->install || w->plan->remove || w->plan->list)
		store_batch_push(store, batch, w->enrollment_id, w->now_ms);
	if (w->event)
		store_batch_event(store, batch, w->enrollment_id, w->event, w->profile, w->now_ms);
}

static int compare_writes(const void *a, const void *b)
{
	return strcmp((*(const struct library_write *const *)a)->enrollment_id, (*(const struct library_write *const *)b)->enrollment_id);
}

bool store_library_apply(struct store *store, const struct library_write *writes, size_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(n == 1 ? writes[0].enrollment_id : NULL);
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (size_t i = 0; i < n; i++)
		g_ptr_array_add(sorted, (void *)(uintptr_t)&writes[i]);
	g_ptr_array_sort(sorted, compare_writes);
	if (n > 1)
		db_batch_spans(batch);
	for (size_t i = 0; i < n; i++)
		add_write(store, batch, g_ptr_array_index(sorted, i));
	return n == 0 || store_run(store, batch, error);
}

static void take_state(const struct db_batch *b, size_t row, void *out)
{
	*(struct library_state_row *)out = (struct library_state_row){
		.enrollment_id = db_get_text(b, 0, row, 0), .profile = db_get_text(b, 0, row, 1), .epoch = db_get_int(b, 0, row, 2), .state = db_get_text(b, 0, row, 3), .number = db_get_int(b, 0, row, 4),
		.uuid = db_get_text(b, 0, row, 5), .command_uuid = db_get_text(b, 0, row, 6), .reason = db_get_text(b, 0, row, 7), .queued_ms = db_get_int(b, 0, row, 8),
		.deadline_ms = db_get_int(b, 0, row, 9), .changed_ms = db_get_int(b, 0, row, 10), .device_id = db_get_text(b, 0, row, 11), .serial = db_get_text(b, 0, row, 12),
		.device_name = db_get_text(b, 0, row, 13), .newest = db_get_int(b, 0, row, 14),
	};
}

GArray *store_library_states(struct store *store, const char *key, bool of_device, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, of_device ? Q_LIB_STATES_OF : Q_LIB_STATES, db_text(key), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct library_state_row), take_state, ret_load, error);
}

static void take_count(const struct db_batch *b, size_t row, void *out)
{
	*(struct library_count *)out = (struct library_count){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1)};
}

GArray *store_library_counts(struct store *store, const char *profile, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_COUNTS, db_text(profile));
	return store_list(store, batch, sizeof(struct library_count), take_count, ret_load, error);
}

static void take_due(const struct db_batch *b, size_t row, void *out)
{
	*(struct library_due *)out = (struct library_due){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1)};
}

GArray *store_library_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_STATE_DUE, db_int(now_ms), db_int(limit));
	return store_list(store, batch, sizeof(struct library_due), take_due, ret_load, error);
}

static void take_confirmable(const struct db_batch *b, size_t row, void *out)
{
	*(struct library_confirmable *)out = (struct library_confirmable){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3)};
}

GArray *store_library_confirmable(struct store *store, const char *enrollment_id, int64_t epoch, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_CONFIRMABLE, db_text(enrollment_id), db_int(epoch));
	return store_list(store, batch, sizeof(struct library_confirmable), take_confirmable, ret_load, error);
}

/* ---- work ---- */

static void take_work(const struct db_batch *b, size_t row, void *out)
{
	*(struct library_work *)out = (struct library_work){
		db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3), db_get_int(b, 0, row, 4), db_get_int(b, 0, row, 5),
	};
}

GArray *store_library_work(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_WORK_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct library_work), take_work, ret_load, error);
}

GPtrArray *store_library_concerned(struct store *store, const char *profile, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_WORK_PAGE, db_text(profile), db_text(after), db_int(limit));
	return texts(store, batch, ret_load, error);
}

GPtrArray *store_library_profiles_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_PROFILES_OF, db_text(enrollment_id));
	return texts(store, batch, ret_load, error);
}

bool store_library_work_move(struct store *store, const char *id, const char *after, int64_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_WORK_MOVE, db_text(id), db_text(after), db_int(n));
	return store_run(store, batch, error);
}

bool store_library_work_done(struct store *store, const char *id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_LIB_WORK_DONE, db_text(id));
	return store_run(store, batch, error);
}

bool store_library_progress(struct store *store, const char *profile, int64_t *ret_done, int64_t *ret_left, GError **error)
{
	g_autoptr(db_batch) work = db_batch_new(NULL);

	*ret_done = *ret_left = 0;
	db_batch_add(work, Q_LIB_WORK_OF, db_text(profile));
	if (!store_run(store, work, error))
		return false;
	for (size_t i = 0; i < db_rows(work, 0); i++) {
		g_autoptr(db_batch) left = db_batch_new(NULL);

		db_batch_add(left, Q_LIB_WORK_LEFT, db_text(profile), db_text(db_get_text(work, 0, i, 1)));
		if (!store_run(store, left, error))
			return false;
		*ret_done += db_get_int(work, 0, i, 2);
		*ret_left += db_get_int(left, 0, 0, 0);
	}
	return true;
}

bool store_library_device(struct store *store, const char *enrollment_id, struct library_device *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);
	struct library_device d;

	db_batch_add(b, Q_LIB_DEVICE, db_text(enrollment_id));
	if (!store_run(store, b, error))
		return false;
	if (!db_rows(b, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no enrollment %s", enrollment_id);
	d = (struct library_device){
		.id = db_get_text(b, 0, 0, 0), .udid = db_get_text(b, 0, 0, 1), .serial = db_get_text(b, 0, 0, 2), .name = db_get_text(b, 0, 0, 3), .model = db_get_text(b, 0, 0, 4),
		.os_version = db_get_text(b, 0, 0, 5), .long_name = db_get_text(b, 0, 0, 6), .link_user = db_get_text(b, 0, 0, 7), .link_email = db_get_text(b, 0, 0, 8),
	};
	d.der = db_get_blob(b, 0, 0, 9, &d.der_len);
	*ret = d;
	*ret_load = g_steal_pointer(&b);
	return true;
}
