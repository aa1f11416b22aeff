/* What administrators read. */
#include "store/store_internal.h"

static void take_enrollment(const struct db_batch *batch, unsigned i, size_t row, void *out)
{
	unsigned c = 0;
#define T db_get_text(batch, i, row, c++)
#define I db_get_int(batch, i, row, c++)
	struct enrollment_row e;

	e.id = T, e.device_id = T, e.user_part = T, e.parent_id = T;
	e.kind = I, e.state = I, e.active_epoch = I, e.pending_epoch = I;
	e.serial = T, e.product_name = T, e.model = T, e.model_name = T, e.device_name = T, e.os_version = T, e.build_version = T;
	e.imei = T, e.meid = T, e.user_short_name = T, e.user_long_name = T, e.owner = T;
	e.created_ms = I, e.authenticated_ms = I, e.enrolled_ms = I, e.ended_ms = I, e.last_seen_ms = I;
#undef T
#undef I
	*(struct enrollment_row *)out = e;
}

void store_take_enrollment(const struct db_batch *batch, size_t row, void *out)
{
	take_enrollment(batch, 0, row, out);
}

GArray *store_enrollment_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ENROLLMENT_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct enrollment_row), store_take_enrollment, ret_load, error);
}

/* Runs BATCH, of ask_for_enrollment; what it found in *RET. */
static bool find_enrollment(struct store *store, struct db_batch *batch, const char *id, struct enrollment_row *ret, GError **error)
{
	unsigned found;

	if (!store_run(store, batch, error))
		return false;
	/* What a device calls itself may be anything: an id comes first. */
	found = db_rows(batch, 0) ? 0 : 1;
	if (!db_rows(batch, found))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no enrollment %s (give an id or a UDID as \"device list\" shows them)", id);
	take_enrollment(batch, found, 0, ret);
	return true;
}

static struct db_batch *ask_for_enrollment(const char *id)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_ENROLLMENT_GET, db_text(id));
	db_batch_add(batch, Q_ENROLLMENT_BY_DEVICE, db_text(id));
	return batch;
}

bool store_enrollment_get(struct store *store, const char *id, struct enrollment_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = ask_for_enrollment(id);

	if (!find_enrollment(store, batch, id, ret, error))
		return false;
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_enrollment_get_with_block(struct store *store, const char *id, struct enrollment_row *ret, const char **ret_blocked, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = ask_for_enrollment(id);
	unsigned block = db_batch_add(batch, Q_BLOCK_OF_ENROLLMENT, db_text(id));

	if (!find_enrollment(store, batch, id, ret, error))
		return false;
	*ret_blocked = db_get_text(batch, block, 0, 0);
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_epoch_get(struct store *store, const char *enrollment_id, int64_t epoch, struct epoch_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_EPOCH_GET, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct epoch_row){
		db_get_text(batch, 0, 0, 0), db_get_text(batch, 0, 0, 1), db_get_int(batch, 0, 0, 2), db_get_int(batch, 0, 0, 3),
		db_get_int(batch, 0, 0, 4), db_get_int(batch, 0, 0, 5), db_get_int(batch, 0, 0, 6), db_get_int(batch, 0, 0, 7), db_get_text(batch, 0, 0, 8),
	};
	*ret_load = g_steal_pointer(&batch);
	return true;
}

static void take_event(const struct db_batch *batch, size_t row, void *out)
{
	*(struct event_row *)out = (struct event_row){
		.id = db_get_text(batch, 0, row, 0), .at_ms = db_get_int(batch, 0, row, 1), .kind = db_get_text(batch, 0, row, 2), .detail = db_get_text(batch, 0, row, 3),
		.n = db_get_int(batch, 0, row, 4), .last_ms = db_get_int(batch, 0, row, 5),
	};
}

GArray *store_event_list(struct store *store, const char *enrollment_id, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_EVENT_LIST, db_text(enrollment_id), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct event_row), take_event, ret_load, error);
}

bool store_event_add(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	store_batch_event(store, batch, enrollment_id, kind, detail, now_ms);
	return store_run(store, batch, error);
}
