/* Declarations, sets, lists of devices, status. */
#include "store/ddm_store.h"

#include <string.h>

#include "core/fact.h"
#include "core/renewal.h"
#include "store/store_internal.h"

enum { STATUS_PER_DEVICE = 5000, MANIFESTS_AT_ONCE = 500 };

/* ---- declarations ---- */

static void take_declaration(const struct db_batch *b, size_t row, void *out)
{
	unsigned c = 0;
#define T db_get_text(b, 0, row, c++)
#define I db_get_int(b, 0, row, c++)
	struct declaration_row d = {0};

	d.identifier = T, d.type = T, d.kind = I, d.token = T, d.profile = T, d.forced = I, d.version = I, d.created_ms = I, d.updated_ms = I, d.profile_version = I, d.data_size = I;
	*(struct declaration_row *)out = d;
}

void declaration_row_clear(struct declaration_row *row)
{
	g_clear_pointer(&row->body_sealed, g_bytes_unref);
	g_clear_pointer(&row->data_sealed, g_bytes_unref);
}

bool store_declaration_get(struct store *store, const char *identifier, struct declaration_row *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	enum { BODY = sizeof(DECLARATION_TYPES) - 1, DATA };
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DECLARATION_GET, db_text(identifier));
	if (!store_run(store, batch, error))
		return false;
	*ret_found = db_rows(batch, 0) > 0;
	take_declaration(batch, 0, ret);
	ret->body_sealed = db_get_bytes(batch, 0, 0, BODY);
	ret->data_sealed = db_get_bytes(batch, 0, 0, DATA);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

GArray *store_declaration_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DECLARATION_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct declaration_row), take_declaration, ret_load, error);
}

static void add_work(struct store *store, struct db_batch *batch, const char *kind, const char *subject, const char *channel, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_DDM_WORK_ADD, db_text(id.text), db_text(kind), db_text(subject), db_text(channel), db_int(now_ms));
}

bool store_declaration_put(struct store *store, const struct declaration_row *d, const GPtrArray *references, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const struct db_value values[] = {
		db_text(d->identifier), db_text(d->type), db_int(d->kind), db_text(d->token), db_bytes(d->body_sealed), db_bytes(d->data_sealed), db_text(d->profile), db_int(d->forced),
		db_int(now_ms), db_int(d->version),
	};

	if (d->version)
		db_batch_add_values(batch, Q_DECLARATION_SET, values, G_N_ELEMENTS(values));
	else
		db_batch_add_values(batch, Q_DECLARATION_ADD, values, G_N_ELEMENTS(values) - 1);
	db_batch_add(batch, Q_REFERENCE_CLEAR, db_text(d->identifier));
	for (guint i = 0; i < references->len; i++) {
		const struct declaration_reference *r = g_ptr_array_index(references, i);

		db_batch_add(batch, Q_REFERENCE_ADD, db_text(d->identifier), db_text(r->path), db_text(r->target));
	}
	add_work(store, batch, "declaration", d->identifier, "device", now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

/* The one column of a statement's rows. */
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

static GPtrArray *texts_of(struct store *store, unsigned statement, const char *key, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, statement, db_text(key));
	return texts(store, batch, ret_load, error);
}

bool store_declaration_remove(struct store *store, const char *identifier, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DECLARATION_REMOVE, db_text(identifier));
	db_batch_add(batch, Q_REFERENCE_CLEAR, db_text(identifier));
	db_batch_add(batch, Q_DECLARATION_LEAVE_SETS, db_text(identifier));
	add_work(store, batch, "all", "", "device", now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_reference(const struct db_batch *b, size_t row, void *out)
{
	*(struct reference_row *)out = (struct reference_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2)};
}

GArray *store_reference_list(struct store *store, const char *identifier, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REFERENCE_OF, db_text(identifier));
	return store_list(store, batch, sizeof(struct reference_row), take_reference, ret_load, error);
}

static void take_edge(const struct db_batch *b, size_t row, void *out)
{
	*(struct edge_row *)out = (struct edge_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1)};
}

GArray *store_reference_reach(struct store *store, const char *identifier, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_REFERENCE_REACH, db_text(identifier));
	return store_list(store, batch, sizeof(struct edge_row), take_edge, ret_load, error);
}

GPtrArray *store_declaration_sets(struct store *store, const char *identifier, store_load **ret_load, GError **error)
{
	return texts_of(store, Q_DECLARATION_SETS, identifier, ret_load, error);
}

GPtrArray *store_declaration_named_by(struct store *store, const char *identifier, store_load **ret_load, GError **error)
{
	return texts_of(store, Q_DECLARATION_NAMED_BY, identifier, ret_load, error);
}

static void take_count(const struct db_batch *b, size_t row, void *out)
{
	*(struct declared_count *)out = (struct declared_count){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1), db_get_int(b, 0, row, 2)};
}

GArray *store_declared_counts(struct store *store, const char *identifier, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DECLARED_COUNTS, db_text(identifier));
	return store_list(store, batch, sizeof(struct declared_count), take_count, ret_load, error);
}

/* ---- sets ---- */

bool store_set_add(struct store *store, const char *name, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_ADD, db_text(name), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_set(const struct db_batch *b, size_t row, void *out)
{
	*(struct set_row *)out = (struct set_row){db_get_text(b, 0, row, 0), db_get_int(b, 0, row, 1), db_get_int(b, 0, row, 2), db_get_int(b, 0, row, 3)};
}

bool store_set_get(struct store *store, const char *name, struct set_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_GET, db_text(name));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no set \"%.64s\" (\"pomona set list\")", name);
	take_set(batch, 0, ret);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

GArray *store_set_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct set_row), take_set, ret_load, error);
}

bool store_set_remove(struct store *store, const char *name, const GArray *targets, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_REMOVE, db_text(name));
	db_batch_add(batch, Q_SET_EMPTY, db_text(name));
	db_batch_add(batch, Q_SET_UNASSIGN_ALL, db_text(name));
	for (guint i = 0; i < targets->len; i++) {
		const struct set_target *t = &g_array_index(targets, struct set_target, i);

		add_work(store, batch, t->kind, t->target, t->channel, now_ms);
	}
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_member(const struct db_batch *b, size_t row, void *out)
{
	*(struct set_member_row *)out = (struct set_member_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_int(b, 0, row, 2), db_get_int(b, 0, row, 3)};
}

GArray *store_set_members(struct store *store, const char *name, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_MEMBERS, db_text(name));
	return store_list(store, batch, sizeof(struct set_member_row), take_member, ret_load, error);
}

/* How many rows the first N of FIRST and following statements gave. */
static int64_t count_rows(const struct db_batch *batch, unsigned first, unsigned n)
{
	int64_t sum = 0;

	for (unsigned i = first; i < first + n; i++)
		sum += (int64_t)db_rows(batch, i);
	return sum;
}

bool store_set_change(struct store *store, const char *name, const char *const *add, const char *const *remove, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	unsigned n = 0;

	db_batch_add(batch, Q_SET_TOUCH, db_text(name), db_int(now_ms));
	for (size_t i = 0; add[i]; i++, n++)
		db_batch_add(batch, Q_SET_MEMBER_ADD, db_text(name), db_text(add[i]), db_int(now_ms));
	for (size_t i = 0; remove[i]; i++, n++)
		db_batch_add(batch, Q_SET_MEMBER_REMOVE, db_text(name), db_text(remove[i]));
	add_work(store, batch, "set", name, "device", now_ms);
	store_batch_audit(store, batch, audit);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = count_rows(batch, 1, n);
	return true;
}

static void take_target(const struct db_batch *b, size_t row, void *out)
{
	*(struct set_target *)out = (struct set_target){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_int(b, 0, row, 3)};
}

GArray *store_set_targets(struct store *store, const char *name, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_ASSIGNMENTS, db_text(name));
	return store_list(store, batch, sizeof(struct set_target), take_target, ret_load, error);
}

bool store_set_assign(struct store *store, const char *name, const struct set_target *targets, size_t n, bool on, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	unsigned first = 1;

	db_batch_add(batch, Q_SET_HOLD, db_text(name));
	for (size_t i = 0; on && i < n; i++)
		if (!strcmp(targets[i].kind, "group")) {
			db_batch_add(batch, Q_GROUP_HOLD, db_text(targets[i].target));
			first++;
		}
	for (size_t i = 0; i < n; i++)
		if (on)
			db_batch_add(batch, Q_SET_ASSIGN, db_text(name), db_text(targets[i].kind), db_text(targets[i].target), db_text(targets[i].channel), db_int(now_ms));
		else
			db_batch_add(batch, Q_SET_UNASSIGN, db_text(name), db_text(targets[i].kind), db_text(targets[i].target), db_text(targets[i].channel));
	for (size_t i = 0; i < n; i++)
		add_work(store, batch, targets[i].kind, targets[i].target, targets[i].channel, now_ms);
	store_batch_audit(store, batch, audit);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = count_rows(batch, first, (unsigned)n);
	return true;
}

GPtrArray *store_group_sets(struct store *store, const char *group, store_load **ret_load, GError **error)
{
	return texts_of(store, Q_GROUP_SETS, group, ret_load, error);
}

GPtrArray *store_sets_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	return texts_of(store, Q_SETS_OF, enrollment_id, ret_load, error);
}

static void take_item(const struct db_batch *b, size_t row, void *out)
{
	*(struct set_item *)out = (struct set_item){.identifier = db_get_text(b, 0, row, 0), .kind = db_get_int(b, 0, row, 1), .token = db_get_text(b, 0, row, 2), .profile_version = db_get_int(b, 0, row, 3), .type = db_get_text(b, 0, row, 4)};
}

GArray *store_set_items(struct store *store, const char *name, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_SET_ITEMS, db_text(name));
	return store_list(store, batch, sizeof(struct set_item), take_item, ret_load, error);
}

/* ---- lists of devices ---- */

bool store_ddm_facts(struct store *store, const char *enrollment_id, struct ddm_facts *ret, bool *ret_found, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);
	struct ddm_facts f;
	unsigned c = 0;
	const size_t row = 0;

	db_batch_add(b, Q_DDM_FACTS, db_text(enrollment_id));
	if (!store_run(store, b, error))
		return false;
	*ret_found = db_rows(b, 0) > 0;
	f.active_epoch = I, f.kind = I, f.version = I, f.token = T, f.told = T, f.delivered = T, f.subscription = T, f.reason = T, f.waiting = T, f.product_name = T, f.model = T, f.os_version = T;
	f.epoch = I, f.changed_ms = I, f.told_ms = I, f.status_ms = I, f.parent_id = T;
#undef T
#undef I
	*ret = f;
	*ret_load = g_steal_pointer(&b);
	return true;
}

static void add_state(struct db_batch *batch, const struct ddm_write *w, int64_t now_ms)
{
	const struct ddm_facts *f = w->facts;
	bool same = f->token && !strcmp(f->token, w->token);

	if (!f->version) {
		db_batch_add(batch, Q_DDM_STATE_ADD, db_text(w->enrollment_id), db_int(f->active_epoch), db_text(w->token), db_text(w->told), db_text(w->delivered), db_int(now_ms));
	} else if (f->epoch != f->active_epoch) {
		db_batch_add(batch, Q_DDM_STATE_RESET, db_text(w->enrollment_id), db_int(f->active_epoch), db_text(w->token), db_int(now_ms), db_int(f->version));
		db_batch_add(batch, Q_DDM_STATUS_CLEAR, db_text(w->enrollment_id));
		db_batch_add(batch, Q_DDM_DECLARED_CLEAR, db_text(w->enrollment_id));
	} else {
		db_batch_add(batch, Q_DDM_STATE_SET, db_text(w->enrollment_id), db_int(f->active_epoch), db_text(w->token), db_text(w->told), db_text(w->delivered), db_int(same ? f->changed_ms : now_ms),
		             db_int(w->told_ms), db_int(f->version));
	}
}

static void add_write(struct store *store, struct db_batch *batch, const struct ddm_write *w, int64_t now_ms)
{
	struct pom_id seq;

	db_batch_add(batch, Q_COMMAND_HOLD, db_text(w->enrollment_id));
	if (w->items)
		db_batch_add(batch, Q_DDM_MANIFEST_PUT, db_text(w->token), db_bytes(w->items), db_int(now_ms));
	add_state(batch, w, now_ms);
	if (w->cancel) {
		db_batch_add(batch, Q_COMMAND_LOCK_UUID, db_text(w->cancel));
		db_batch_add(batch, Q_LIB_COMMAND_CANCELED, db_text(w->cancel), db_int(now_ms));
		db_batch_add(batch, Q_LIB_COMMAND_CANCEL, db_text(w->cancel));
	}
	if (!w->queue)
		return;
	seq = pom_id_new(store->clock, store->random);
	db_batch_add(batch, Q_LIB_COMMAND_ONCE, db_text(w->enrollment_id), db_text(seq.text), db_text(w->queue), db_int(w->facts->active_epoch), db_text("DeclarativeManagement"), db_bytes(w->body),
	             db_int(now_ms), db_text(NOTE_DECLARATIONS));
	store_batch_push(store, batch, w->enrollment_id, w->push_ms);
}

static int compare_writes(const void *a, const void *b)
{
	return strcmp((*(const struct ddm_write *const *)a)->enrollment_id, (*(const struct ddm_write *const *)b)->enrollment_id);
}

bool store_ddm_apply(struct store *store, const struct ddm_write *writes, size_t n, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(n == 1 ? writes[0].enrollment_id : NULL);
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (size_t i = 0; i < n; i++)
		g_ptr_array_add(sorted, (void *)(uintptr_t)&writes[i]);
	g_ptr_array_sort(sorted, compare_writes);
	if (n > 1)
		db_batch_spans(batch);
	for (size_t i = 0; i < n; i++)
		add_write(store, batch, g_ptr_array_index(sorted, i), now_ms);
	return n == 0 || store_run(store, batch, error);
}

void ddm_listed_clear(struct ddm_listed *listed)
{
	g_clear_pointer(&listed->token, g_free);
	g_clear_pointer(&listed->items, g_bytes_unref);
}

bool store_ddm_listed(struct store *store, const char *enrollment_id, int64_t epoch, struct ddm_listed *ret, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_DDM_MANIFEST, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, b, error))
		return false;
	*ret = (struct ddm_listed){g_strdup(db_get_text(b, 0, 0, 0)), db_get_bytes(b, 0, 0, 4), db_get_int(b, 0, 0, 1), db_get_int(b, 0, 0, 2), db_get_int(b, 0, 0, 3) != 0};
	return true;
}

bool store_ddm_tokens(struct store *store, const char *enrollment_id, int64_t epoch, char **ret_token, int64_t *ret_changed_ms, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_DDM_TOKENS, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, b, error))
		return false;
	*ret_token = g_strdup(db_get_text(b, 0, 0, 0));
	*ret_changed_ms = db_get_int(b, 0, 0, 1);
	return true;
}

bool store_ddm_reason(struct store *store, const char *enrollment_id, const char *reason, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_DDM_STATE_REASON, db_text(enrollment_id), db_text(reason));
	return store_run(store, batch, error);
}

GPtrArray *store_ddm_stale(struct store *store, int64_t before_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_STALE, db_int(before_ms), db_int(limit));
	return texts(store, batch, ret_load, error);
}

bool store_ddm_purge(struct store *store, int64_t before_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_MANIFEST_PURGE, db_int(before_ms), db_int(MANIFESTS_AT_ONCE));
	return store_run(store, batch, error);
}

/* ---- work ---- */

static void take_work(const struct db_batch *b, size_t row, void *out)
{
	*(struct ddm_work *)out = (struct ddm_work){
		.id = db_get_text(b, 0, row, 0), .kind = db_get_text(b, 0, row, 1), .subject = db_get_text(b, 0, row, 2), .channel = db_get_text(b, 0, row, 3), .n_done = db_get_int(b, 0, row, 4),
		.created_ms = db_get_int(b, 0, row, 5), .after = db_get_text(b, 0, row, 6),
	};
}

GArray *store_ddm_work(struct store *store, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_WORK_LIST, db_int(limit));
	return store_list(store, batch, sizeof(struct ddm_work), take_work, ret_load, error);
}

bool store_ddm_work_count(struct store *store, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_DDM_WORK_COUNT, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_ddm_work_expand(struct store *store, const struct ddm_work *work, int64_t now_ms, GError **error)
{
	unsigned statement = !strcmp(work->kind, "set") ? Q_DDM_TARGETS_OF_SET : !strcmp(work->kind, "profile") ? Q_DDM_TARGETS_OF_PROFILE : Q_DDM_TARGETS_OF_DECLARATION;
	g_autoptr(db_batch) find = db_batch_new(NULL), batch = db_batch_new(NULL);

	db_batch_add(find, statement, db_text(work->subject));
	if (!store_run(store, find, error))
		return false;
	for (size_t i = 0; i < db_rows(find, 0); i++)
		add_work(store, batch, db_get_text(find, 0, i, 0), db_get_text(find, 0, i, 1), db_get_text(find, 0, i, 2), now_ms);
	db_batch_add(batch, Q_DDM_WORK_DONE, db_text(work->id));
	return store_run(store, batch, error);
}

GPtrArray *store_ddm_work_page(struct store *store, const struct ddm_work *work, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	bool users = !strcmp(work->channel, "user"), group = !strcmp(work->kind, "group");
	struct db_batch *batch = db_batch_new(NULL);
	unsigned statement;

	if (!strcmp(work->kind, "all")) {
		db_batch_add(batch, Q_DDM_PAGE_ALL, db_text(after), db_int(limit));
		return texts(store, batch, ret_load, error);
	}
	if (!strcmp(work->kind, "user"))
		statement = Q_DDM_PAGE_USER;
	else if (users)
		statement = group ? Q_DDM_PAGE_GROUP_USERS : Q_DDM_PAGE_DEVICE_USERS;
	else
		statement = group ? Q_DDM_PAGE_GROUP : Q_DDM_PAGE_DEVICE;
	db_batch_add(batch, statement, db_text(work->subject), db_text(after), db_int(limit));
	return texts(store, batch, ret_load, error);
}

bool store_ddm_work_move(struct store *store, const char *id, const char *after, int64_t n_done, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_WORK_MOVE, db_text(id), db_text(after), db_int(n_done));
	return store_run(store, batch, error);
}

bool store_ddm_work_done(struct store *store, const char *id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_WORK_DONE, db_text(id));
	return store_run(store, batch, error);
}

void store_batch_ddm_device(struct store *store, struct db_batch *batch, const char *enrollment_id, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random), users = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_DDM_WORK_ADD_DEVICE, db_text(id.text), db_text(enrollment_id), db_int(now_ms));
	db_batch_add(batch, Q_DDM_WORK_ADD_USERS, db_text(users.text), db_text(enrollment_id), db_int(now_ms));
}

void store_batch_ddm_profile(struct store *store, struct db_batch *batch, const char *profile, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_DDM_WORK_ADD_PROFILE, db_text(id.text), db_text(profile), db_int(now_ms));
}

void store_batch_ddm_group_gone(struct store *store, struct db_batch *batch, const char *group, int64_t now_ms)
{
	struct pom_id id = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_DDM_WORK_ADD_GROUP_GONE, db_text(id.text), db_text(group), db_int(now_ms));
	db_batch_add(batch, Q_DDM_UNASSIGN_GROUP, db_text(group));
}

/* ---- status ---- */

static void add_changes(struct db_batch *batch, const char *enrollment_id, const struct ddm_report *report, int64_t now_ms)
{
	const char *before = "";

	for (guint i = 0; i < report->changes->len; i++) {
		const struct ddm_change *c = g_ptr_array_index(report->changes, i);

		if (!report->full && strcmp(before, c->item))
			db_batch_add(batch, Q_DDM_STATUS_OTHER, db_text(enrollment_id), db_text(c->item), db_int(*c->element ? 1 : 0));
		before = c->item;
		if (c->value)
			db_batch_add(batch, Q_DDM_STATUS_PUT, db_text(enrollment_id), db_text(c->item), db_text(c->element), db_text(c->value), db_text(NULL), db_int(now_ms));
		else
			db_batch_add(batch, Q_DDM_STATUS_REMOVE, db_text(enrollment_id), db_text(c->item), db_text(c->element));
	}
	for (guint i = 0; i < report->errors->len; i++) {
		const struct ddm_status_error *e = g_ptr_array_index(report->errors, i);

		db_batch_add(batch, Q_DDM_STATUS_PUT, db_text(enrollment_id), db_text(e->item), db_text(""), db_text(NULL), db_text(e->reasons), db_int(now_ms));
	}
}

static void add_declared(struct db_batch *batch, const char *enrollment_id, const struct ddm_report *report, int64_t now_ms)
{
	db_batch_add(batch, Q_DDM_DECLARED_CLEAR, db_text(enrollment_id));
	for (guint i = 0; i < report->declared->len; i++) {
		const struct ddm_declared *d = g_ptr_array_index(report->declared, i);

		db_batch_add(batch, Q_DDM_DECLARED_PUT, db_text(enrollment_id), db_text(d->identifier), db_int(d->kind), db_int(d->active), db_text(d->valid), db_text(d->token), db_text(d->reasons), db_int(now_ms));
	}
}

bool store_ddm_report(struct store *store, const char *enrollment_id, int64_t epoch, const struct ddm_report *report, const GArray *facts, const char *subscription, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	if (report->full)
		db_batch_add(batch, Q_DDM_STATUS_CLEAR, db_text(enrollment_id));
	add_changes(batch, enrollment_id, report, now_ms);
	if (report->has_declarations || report->full)
		add_declared(batch, enrollment_id, report, now_ms);
	db_batch_add(batch, Q_DDM_STATUS_TRIM, db_text(enrollment_id), db_int(STATUS_PER_DEVICE));
	for (guint i = 0; i < facts->len; i++) {
		const struct fact *fact = &g_array_index(facts, struct fact, i);

		db_batch_add(batch, Q_FACT_PUT, db_text(enrollment_id), db_text(fact->name), db_text(fact->value), db_int(now_ms));
	}
	db_batch_add(batch, Q_DDM_STATE_REPORTED, db_text(enrollment_id), db_int(epoch), db_int(now_ms), db_text(subscription));
	if (subscription)
		store_batch_ddm_device(store, batch, enrollment_id, now_ms);
	return store_run(store, batch, error);
}

static void take_status(const struct db_batch *b, size_t row, void *out)
{
	*(struct status_row *)out = (struct status_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1), db_get_text(b, 0, row, 2), db_get_text(b, 0, row, 3), db_get_int(b, 0, row, 4)};
}

GArray *store_status_list(struct store *store, const char *enrollment_id, const char *after_item, const char *after_element, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_STATUS_LIST, db_text(enrollment_id), db_text(after_item), db_text(after_element), db_int(limit));
	return store_list(store, batch, sizeof(struct status_row), take_status, ret_load, error);
}

static void take_declared(const struct db_batch *b, size_t row, void *out)
{
	*(struct declared_row *)out = (struct declared_row){
		.identifier = db_get_text(b, 0, row, 0), .kind = db_get_int(b, 0, row, 1), .active = db_get_int(b, 0, row, 2), .valid = db_get_text(b, 0, row, 3), .token = db_get_text(b, 0, row, 4),
		.reasons = db_get_text(b, 0, row, 5), .learnt_ms = db_get_int(b, 0, row, 6),
	};
}

GArray *store_declared_of(struct store *store, const char *enrollment_id, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DDM_DECLARED_OF, db_text(enrollment_id));
	return store_list(store, batch, sizeof(struct declared_row), take_declared, ret_load, error);
}

static void take_declared_device(const struct db_batch *b, size_t row, void *out)
{
	*(struct declared_device *)out = (struct declared_device){
		.enrollment_id = db_get_text(b, 0, row, 0), .device_id = db_get_text(b, 0, row, 1), .serial = db_get_text(b, 0, row, 2), .device_name = db_get_text(b, 0, row, 3), .active = db_get_int(b, 0, row, 6),
		.valid = db_get_text(b, 0, row, 7), .reasons = db_get_text(b, 0, row, 8), .learnt_ms = db_get_int(b, 0, row, 9),
	};
}

GArray *store_declared_devices(struct store *store, const char *identifier, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DECLARED_DEVICES, db_text(identifier), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct declared_device), take_declared_device, ret_load, error);
}

/* ---- what apply has made ---- */

static void take_applied(const struct db_batch *b, size_t row, void *out)
{
	*(struct applied_row *)out = (struct applied_row){db_get_text(b, 0, row, 0), db_get_text(b, 0, row, 1)};
}

GArray *store_applied_list(struct store *store, const char *owner, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_APPLIED_LIST, db_text(owner));
	return store_list(store, batch, sizeof(struct applied_row), take_applied, ret_load, error);
}

bool store_applied_set(struct store *store, const char *owner, const char *kind, const char *name, bool on, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, on ? Q_APPLIED_ADD : Q_APPLIED_REMOVE, db_text(owner), db_text(kind), db_text(name));
	return store_run(store, batch, error);
}
