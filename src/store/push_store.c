/* The outbox of pushes. */
#include "store/store_internal.h"

static void take_push(const struct db_batch *batch, size_t row, void *out)
{
	*(struct push_row *)out = (struct push_row){
		.enrollment_id = db_get_text(batch, 0, row, 0), .attempts = db_get_int(batch, 0, row, 1), .generation = db_get_text(batch, 0, row, 2),
		.epoch = db_get_int(batch, 0, row, 3), .push_token = db_get_bytes(batch, 0, row, 4), .push_magic = db_get_text(batch, 0, row, 5),
		.dead_ms = db_get_int(batch, 0, row, 6), .topic = db_get_text(batch, 0, row, 7),
	};
}

static void clear_push(void *data)
{
	g_clear_pointer(&((struct push_row *)data)->push_token, g_bytes_unref);
}

GArray *store_push_due(struct store *store, int64_t now_ms, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add(batch, Q_PUSH_DUE, db_int(now_ms), db_int(limit));
	rows = store_list(store, batch, sizeof(struct push_row), take_push, ret_load, error);
	if (rows)
		g_array_set_clear_func(rows, clear_push);
	return rows;
}

bool store_push_backlog(struct store *store, int64_t *ret_next_ms, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_PUSH_NEXT_DUE, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret_next_ms = db_get_int(batch, 0, 0, 0);
	*ret_n = db_get_int(batch, 0, 0, 1);
	return true;
}

bool store_push_apply(struct store *store, const struct push_outcome *outcomes, size_t n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	for (size_t i = 0; i < n; i++) {
		const struct push_outcome *o = &outcomes[i];

		if (o->result == PUSH_RETRY) {
			db_batch_add(batch, Q_PUSH_RETRY, db_text(o->enrollment_id), db_text(o->generation), db_int(o->retry_ms), db_int(o->attempts));
			continue;
		}
		db_batch_add(batch, Q_PUSH_DONE, db_text(o->enrollment_id), db_text(o->generation));
		if (o->result != PUSH_TOKEN_DEAD || !o->push_token)
			continue;
		db_batch_add(batch, Q_PUSH_DEAD, db_text(o->enrollment_id), db_int(o->epoch), db_bytes(o->push_token), db_int(o->dead_ms));
		store_batch_event(store, batch, o->enrollment_id, "PushTokenDead", NULL, o->dead_ms);
	}
	return db_batch_count(batch) == 0 || store_run(store, batch, error);
}

bool store_push_ask(struct store *store, const char *enrollment_id, int64_t due_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	store_batch_push(store, batch, enrollment_id, due_ms);
	return store_run(store, batch, error);
}
