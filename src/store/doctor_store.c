/* What the doctor has found. */
#include "store/store_internal.h"

bool store_doctor_get(struct store *store, const char *target, char **ret_report, int64_t *ret_finished_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DOCTOR_GET, db_text(target));
	if (!store_run(store, batch, error))
		return false;
	*ret_finished_ms = db_get_int(batch, 0, 0, 0);
	*ret_report = g_strdup(db_get_text(batch, 0, 0, 1));
	return true;
}

bool store_doctor_put(struct store *store, const char *target, const char *report, int64_t finished_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DOCTOR_PUT, db_text(target), db_int(finished_ms), db_text(report));
	return store_run(store, batch, error);
}

bool store_doctor_topicless(struct store *store, int64_t *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_DOCTOR_TOPICLESS, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret_n = db_get_int(batch, 0, 0, 0);
	return true;
}
