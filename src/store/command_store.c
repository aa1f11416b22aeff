/* Commands and their results. */
#include <string.h>
#include <zlib.h>

#include "store/store_internal.h"

enum { PACK_FROM = 256, RESULT_MAX = 64 << 20, PACK_SMALL_MAX = 4096, PACK_SMALL_WINDOW_BITS = 12, PACK_SMALL_MEMORY = 4 };

/* ---- what was delivered, before it is written ---- a delivery costs no transaction: like the times devices were last seen, it is kept here, and written with what the device says next, or by the janitor. */

struct delivery { char *enrollment_id, *seq; int64_t at_ms, n, n_written, session_ms, n_not_now; };
/* How long what is written is remembered: for the session that it belongs to. */
enum { DELIVERY_KEEP_MS = 10 * 60 * 1000 };

void store_delivery_free(void *data)
{
	struct delivery *delivery = data;

	g_free(delivery->enrollment_id);
	g_free(delivery->seq);
	g_free(delivery);
}

static void remember_delivered(struct store *store, const char *enrollment_id, const struct command_next *next, int64_t now_ms, int64_t session_ms)
{
	struct delivery *delivery;

	pthread_mutex_lock(&store->delivered_lock);
	delivery = g_hash_table_lookup(store->delivered, next->uuid);
	if (!delivery) {
		delivery = g_new0(struct delivery, 1);
		delivery->enrollment_id = g_strdup(enrollment_id);
		delivery->seq = g_strdup(next->seq);
		g_hash_table_insert(store->delivered, g_strdup(next->uuid), delivery);
	}
	delivery->n = MAX(delivery->n, next->n_delivered) + 1;
	delivery->at_ms = now_ms;
	delivery->session_ms = session_ms;
	delivery->n_not_now = next->n_not_now;
	pthread_mutex_unlock(&store->delivered_lock);
}

bool store_command_delivered(struct store *store, const char *enrollment_id, const struct command_next *next, int64_t now_ms, int64_t session_ms, GError **error)
{
	g_autoptr(db_batch) batch = NULL;

	remember_delivered(store, enrollment_id, next, now_ms, session_ms);
	if (!session_ms || !next->others_deferred || !db_is_shared(store->db))
		return true;
	batch = db_batch_new(enrollment_id);
	db_batch_add(batch, Q_COMMAND_DELIVERED, db_text(enrollment_id), db_text(next->seq), db_int(now_ms), db_int(next->n_delivered + 1), db_int(next->n_not_now), db_int(session_ms));
	return store_run(store, batch, error);
}

/* What of a row is known only here; not when the device has said NotNow since then, to whichever node. */
static void learn_delivered(struct store *store, struct command_row *row)
{
	const struct delivery *delivery;

	pthread_mutex_lock(&store->delivered_lock);
	delivery = row->uuid ? g_hash_table_lookup(store->delivered, row->uuid) : NULL;
	if (delivery && delivery->n_not_now == row->n_not_now) {
		row->n_delivered = MAX(row->n_delivered, delivery->n);
		row->delivered_ms = MAX(row->delivered_ms, delivery->at_ms);
		row->is_out = true;
		row->session_ms = MAX(row->session_ms, delivery->session_ms);
	}
	pthread_mutex_unlock(&store->delivered_lock);
}

static bool is_delivered(struct store *store, const char *uuid)
{
	bool is;

	pthread_mutex_lock(&store->delivered_lock);
	is = g_hash_table_contains(store->delivered, uuid);
	pthread_mutex_unlock(&store->delivered_lock);
	return is;
}

/* The device has said something of it: what is written with that counts. */
static void forget_delivered(struct store *store, const char *uuid)
{
	pthread_mutex_lock(&store->delivered_lock);
	g_hash_table_remove(store->delivered, uuid);
	pthread_mutex_unlock(&store->delivered_lock);
}

struct written { char *uuid; struct delivery d; };

static void written_clear(void *data)
{
	struct written *w = data;

	g_free(w->uuid);
	g_free(w->d.enrollment_id);
	g_free(w->d.seq);
}

static int compare_written(const void *a, const void *b)
{
	return strcmp(((const struct written *)a)->d.enrollment_id, ((const struct written *)b)->d.enrollment_id);
}

/* Copies what is to be written; what is written and old goes. */
static void collect_delivered(struct store *store, GArray *written)
{
	enum { FLUSH_MAX = 500 };
	int64_t old_ms = pom_clock_now_ms(store->clock) - DELIVERY_KEEP_MS;
	const struct delivery *d;
	GHashTableIter iter;
	const char *uuid;

	pthread_mutex_lock(&store->delivered_lock);
	g_hash_table_iter_init(&iter, store->delivered);
	while (written->len < FLUSH_MAX && g_hash_table_iter_next(&iter, (void **)&uuid, (void **)&d)) {
		struct written w = {NULL, *d};

		if (d->n == d->n_written) {
			if (d->at_ms < old_ms)
				g_hash_table_iter_remove(&iter);
			continue;
		}
		w.uuid = g_strdup(uuid);
		w.d.enrollment_id = g_strdup(d->enrollment_id);
		w.d.seq = g_strdup(d->seq);
		g_array_append_val(written, w);
	}
	pthread_mutex_unlock(&store->delivered_lock);
	g_array_sort(written, compare_written);
}

/* One batch; *RET_N how many. What was delivered again meanwhile stays to be written. */
static bool flush_delivered(struct store *store, guint *ret_n, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autoptr(GArray) written = g_array_new(FALSE, FALSE, sizeof(struct written));

	g_array_set_clear_func(written, written_clear);
	collect_delivered(store, written);
	*ret_n = written->len;
	db_batch_spans(batch);
	for (guint i = 0; i < written->len; i++) {
		const struct delivery *d = &g_array_index(written, struct written, i).d;

		db_batch_add(batch, Q_COMMAND_DELIVERED, db_text(d->enrollment_id), db_text(d->seq), db_int(d->at_ms), db_int(d->n), db_int(d->n_not_now), db_int(d->session_ms));
	}
	if (written->len && !store_run(store, batch, error))
		return false;
	pthread_mutex_lock(&store->delivered_lock);
	for (guint i = 0; i < written->len; i++) {
		const struct written *w = &g_array_index(written, struct written, i);
		struct delivery *d = g_hash_table_lookup(store->delivered, w->uuid);

		if (d)
			d->n_written = w->d.n;
	}
	pthread_mutex_unlock(&store->delivered_lock);
	return true;
}

bool store_flush_delivered(struct store *store, GError **error)
{
	guint n = 1, left;

	/* Bounded by what there is now: devices go on. */
	pthread_mutex_lock(&store->delivered_lock);
	left = g_hash_table_size(store->delivered);
	pthread_mutex_unlock(&store->delivered_lock);
	while (left && n) {
		if (!flush_delivered(store, &n, error))
			return false;
		left -= MIN(left, n);
	}
	return true;
}

/* ---- reports ---- */

/* The columns of COMMAND_PENDING_COLUMNS from column C on. */
static struct command_row pending_row(const struct db_batch *batch, unsigned i, size_t row, unsigned c)
{
	return (struct command_row){
		.seq = db_get_text(batch, i, row, c), .uuid = db_get_text(batch, i, row, c + 1), .epoch = db_get_int(batch, i, row, c + 2), .request_type = db_get_text(batch, i, row, c + 3),
		.created_ms = db_get_int(batch, i, row, c + 4), .not_now_ms = db_get_int(batch, i, row, c + 5), .n_not_now = db_get_int(batch, i, row, c + 6), .note = db_get_text(batch, i, row, c + 7),
		.expires_ms = db_get_int(batch, i, row, c + 8), .delivered_ms = db_get_int(batch, i, row, c + 9), .n_delivered = db_get_int(batch, i, row, c + 10), .is_out = db_get_int(batch, i, row, c + 11),
		.session_ms = db_get_int(batch, i, row, c + 12),
	};
}

/* Of Q_COMMAND_FIND at I. */
static struct command_row found_row(struct store *store, const struct db_batch *batch, unsigned i)
{
	struct command_row row = pending_row(batch, i, 0, 1);

	row.enrollment_id = db_get_text(batch, i, 0, 0);
	learn_delivered(store, &row);
	return row;
}

enum { TARGET_TRIES = 8 };

/* The channel that a report is for: the user's, when it names one. */
static const struct enrollment_facts *channel(const struct report_load *load, const struct report *report)
{
	return *report->who.user_part ? &load->facts.user : &load->facts.device;
}

/* Whether a finished command got no answer, so that one may still come. */
static bool is_given_up(const char *status)
{
	return !strcmp(status, "Expired") || !strcmp(status, "Canceled");
}

/* Of Q_COMMAND_DONE_FIND at I. */
static struct command_row done_row(const struct db_batch *batch, unsigned i)
{
	return (struct command_row){
		.enrollment_id = db_get_text(batch, i, 0, 0), .request_type = db_get_text(batch, i, 0, 1), .created_ms = db_get_int(batch, i, 0, 2), .finished_ms = db_get_int(batch, i, 0, 3),
		.status = db_get_text(batch, i, 0, 4), .epoch = db_get_int(batch, i, 0, 5), .delivered_ms = db_get_int(batch, i, 0, 9), .n_delivered = db_get_int(batch, i, 0, 10),
		.n_not_now = db_get_int(batch, i, 0, 11), .seq = db_get_text(batch, i, 0, 12),
	};
}

/* A command that is not of the channel may be another's. */
static bool look_for_owner(struct store *store, const char *uuid, enum command_where *ret_where, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_COMMAND_OWNER, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret_where = db_rows(batch, 0) ? COMMAND_OF_ANOTHER : COMMAND_NOWHERE;
	return true;
}

/* Of Q_COMMAND_REPORTED at I. A command that waits and one with its UUID that is finished cannot both be, but where they are, what waits counts. */
static void read_reported(struct store *store, const struct report *report, unsigned i, struct report_load *load)
{
	const struct enrollment_facts *who = channel(load, report);
	size_t row = db_rows(load->load, i) > 1 && db_get_text(load->load, i, 0, 14) ? 1 : 0;
	const char *status = db_get_text(load->load, i, row, 14);

	load->command = pending_row(load->load, i, row, 0);
	load->command.enrollment_id = who->id;
	load->command.uuid = report->command_uuid;
	load->command.finished_ms = db_get_int(load->load, i, row, 13);
	load->command.status = status;
	load->where = status ? COMMAND_DONE : COMMAND_PENDING;
	if (!status)
		learn_delivered(store, &load->command);
	if (status && is_given_up(status) && load->command.epoch == load->facts.certificate.epoch)
		load->where = COMMAND_GIVEN_UP;
	if (!status && load->command.epoch != load->facts.certificate.epoch)
		load->where = COMMAND_OF_ANOTHER;
	/* A push is for the epoch that is served. */
	if (load->where == COMMAND_PENDING && load->command.epoch == who->active_epoch)
		load->command.push_generation = load->push_generation;
}

static void take_next(const struct db_batch *batch, unsigned i, struct command_next *ret)
{
	*ret = (struct command_next){.uuid = g_strdup(db_get_text(batch, i, 0, 0)), .body = db_get_bytes(batch, i, 0, 1), .note = g_strdup(db_get_text(batch, i, 0, 2)),
	                             .is_sealed = db_get_int(batch, i, 0, 3), .seq = g_strdup(db_get_text(batch, i, 0, 4)), .n_delivered = db_get_int(batch, i, 0, 5), .n_not_now = db_get_int(batch, i, 0, 6),
	                             .others_deferred = db_get_int(batch, i, 0, 7) != 0};
}

/* All that is asked of the database for a report, in one round trip. *RET_STALE as of store_channels_are_stale. */
static bool try_report_load(struct store *store, const uint8_t cert_sha256[32], const struct report *report, struct report_load *ret, bool *ret_stale, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_auto(channel_ids) ids = {0};
	struct report_load load = {.where = COMMAND_NOWHERE};
	bool is_user = *report->who.user_part != '\0';
	const char *mine;
	unsigned last, facts = 0;

	if (!store_channels_find(store, &report->who, &ids, error))
		return false;
	mine = is_user ? ids.user : ids.device;
	store_add_facts(batch, cert_sha256, &report->who, &ids);
	last = report->command_uuid ? db_batch_add(batch, Q_COMMAND_REPORTED, db_text(mine), db_text(report->command_uuid))
	                            : db_batch_add(batch, Q_COMMAND_NEXT_IDLE, db_text(mine), db_int(pom_clock_now_ms(store->clock)));
	if (report->has_facts)
		facts = db_batch_add(batch, Q_FACT_LIST, db_text(mine));
	if (!store_run(store, batch, error))
		return false;
	store_read_facts(batch, &report->who, &load.facts);
	load.known_facts = facts ? store_read_facts_of(batch, facts) : NULL;
	load.load = g_steal_pointer(&batch);
	*ret_stale = store_channels_are_stale(store, &report->who, &ids, &load.facts);
	load.ca_version = store_read_ca_version(load.load);
	load.push_generation = store_read_push(load.load, is_user);
	if (!report->command_uuid) {
		take_next(load.load, last, &load.next);
		load.next_epoch = load.next.body ? db_get_int(load.load, last, 0, 8) : channel(&load, report)->active_epoch;
	} else if (db_rows(load.load, last)) {
		read_reported(store, report, last, &load);
	}
	*ret = load;
	return true;
}

bool store_report_load(struct store *store, const uint8_t cert_sha256[32], const struct report *report, struct report_load *ret, GError **error)
{
	struct report_load load = {0};
	bool stale;

	if (!try_report_load(store, cert_sha256, report, &load, &stale, error))
		return false;
	if (stale) {
		report_load_clear(&load);
		if (!try_report_load(store, cert_sha256, report, &load, &stale, error))
			return false;
	}
	if (report->command_uuid && load.where == COMMAND_NOWHERE && !look_for_owner(store, report->command_uuid, &load.where, error)) {
		report_load_clear(&load);
		return false;
	}
	*ret = load;
	return true;
}

void report_load_clear(struct report_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
	g_clear_pointer(&load->known_facts, g_array_unref);
	command_next_clear(&load->next);
}

void command_next_clear(struct command_next *next)
{
	g_clear_pointer(&next->body, g_bytes_unref);
	g_clear_pointer(&next->uuid, g_free);
	g_clear_pointer(&next->seq, g_free);
	g_clear_pointer(&next->note, g_free);
}

void command_after_clear(struct command_after *after)
{
	command_next_clear(&after->next);
	g_clear_pointer(&after->push_generation, g_free);
}

static unsigned add_next(struct db_batch *batch, const struct command_ask *ask)
{
	const char *except = ask->except ? ask->except : "";

	if (ask->only_note)
		return db_batch_add(batch, Q_COMMAND_NEXT_NOTED, db_text(ask->enrollment_id), db_int(ask->epoch), db_text(ask->only_note), db_text(except), db_int(ask->now_ms));
	return db_batch_add(batch, Q_COMMAND_NEXT, db_text(ask->enrollment_id), db_int(ask->epoch), db_int(ask->deferred_before_ms), db_text(except), db_int(ask->now_ms));
}

bool store_command_next(struct store *store, const struct command_ask *ask, struct command_next *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	add_next(batch, ask);
	if (!store_run(store, batch, error))
		return false;
	take_next(batch, 0, ret);
	return true;
}

/* A zlib stream of DATA in OUT of *LEN bytes, or false. With tables of the size of what is small: those for the largest, a quarter of a MiB to be cleared, cost many times what the packing does. */
static bool deflate_all(const void *data, size_t len, uint8_t *out, size_t *n)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)*n};
	bool is_small = len <= PACK_SMALL_MAX;
	int code;

	if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, is_small ? PACK_SMALL_WINDOW_BITS : MAX_WBITS, is_small ? PACK_SMALL_MEMORY : MAX_MEM_LEVEL - 1, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	code = deflate(&z, Z_FINISH);
	*n = z.total_out;
	deflateEnd(&z);
	return code == Z_STREAM_END;
}

/* Results are XML: small ones stay as they are, larger ones are packed with zlib. */
static GBytes *pack(const void *data, size_t len, bool *ret_packed)
{
	/* What does not become smaller is not packed. */
	size_t n = len - 1;
	g_autofree uint8_t *out = NULL;

	*ret_packed = false;
	if (len < PACK_FROM)
		return g_bytes_new(data, len);
	out = g_malloc(n);
	if (!deflate_all(data, len, out, &n))
		return g_bytes_new(data, len);
	*ret_packed = true;
	return g_bytes_new(out, n);
}

static GBytes *unpack(const void *data, size_t len)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	uint8_t chunk[16384];
	z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
	int code;

	if (inflateInit(&z) != Z_OK)
		return NULL;
	do {
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		code = inflate(&z, Z_NO_FLUSH);
		g_byte_array_append(out, chunk, (guint)(sizeof(chunk) - z.avail_out));
	} while (code == Z_OK && out->len < RESULT_MAX);
	inflateEnd(&z);
	return code == Z_STREAM_END ? g_byte_array_free_to_bytes(g_steal_pointer(&out)) : NULL;
}

static void add_finish(struct db_batch *batch, const struct command_row *command, const struct command_result *result, int64_t now_ms)
{
	bool packed = false;
	gsize len = 0;
	const void *data = result->data ? g_bytes_get_data(result->data, &len) : NULL;
	g_autoptr(GBytes) bytes = !data || result->is_sealed ? NULL : pack(data, len, &packed);

	db_batch_add(batch, Q_COMMAND_FINISH, db_text(command->enrollment_id), db_text(command->uuid), db_text(command->seq), db_int(command->epoch),
	             db_text(command->request_type), db_int(command->created_ms), db_int(now_ms), db_text(result->status), db_int(packed), db_int(result->is_sealed), db_bytes(bytes ? bytes : result->data),
	             db_int(command->delivered_ms), db_int(command->n_delivered), db_int(command->n_not_now));
}

/* First it is taken: of two that end it at the same time, one finds nothing. What was given up is taken already. */
void store_batch_finish(struct db_batch *batch, const struct command_row *command, const struct command_result *result, int64_t now_ms)
{
	if (!command->status)
		db_batch_add(batch, Q_COMMAND_TAKE, db_text(command->enrollment_id), db_text(command->seq));
	add_finish(batch, command, result, now_ms);
}

bool store_command_finish(struct store *store, const struct command_row *command, const struct command_result *result, int64_t now_ms, GError **error)
{
	return store_command_finish_then(store, command, result, NULL, now_ms, NULL, error);
}

/* Of Q_PUSH_OF at PUSH and what came after it. */
static void take_after(const struct db_batch *batch, unsigned push, unsigned next, struct command_after *ret)
{
	*ret = (struct command_after){.is_known = true, .push_generation = g_strdup(db_get_text(batch, push, 0, 0))};
	take_next(batch, next, &ret->next);
}

bool store_command_finish_then(struct store *store, const struct command_row *command, const struct command_result *result, const struct command_ask *ask, int64_t now_ms, struct command_after *ret_after, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(command->enrollment_id);
	unsigned push = 0, next = 0;

	store_batch_finish(batch, command, result, now_ms);
	if (result->learnt)
		store_batch_facts(store, batch, command->enrollment_id, result->learnt, now_ms);
	/* When nothing is left for the device, what it was to be woken for is done, too. */
	if (command->push_generation)
		db_batch_add(batch, Q_PUSH_SETTLE, db_text(command->enrollment_id), db_text(command->push_generation), db_int(command->epoch));
	if (ask) {
		/* The push first: what is asked for between the two stays. */
		push = db_batch_add(batch, Q_PUSH_OF, db_text(ask->enrollment_id));
		next = add_next(batch, ask);
	}
	if (!store_run(store, batch, error))
		return false;
	forget_delivered(store, command->uuid);
	if (ask)
		take_after(batch, push, next, ret_after);
	return true;
}

bool store_command_defer(struct store *store, const struct command_row *command, int64_t now_ms, int64_t push_again_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(command->enrollment_id);
	struct pom_id generation = pom_id_new(store->clock, store->random);

	/* Never before its session, which another node's clock may have told. */
	db_batch_add(batch, Q_COMMAND_DEFER, db_text(command->enrollment_id), db_text(command->seq), db_int(MAX(now_ms, command->session_ms)), db_int(command->delivered_ms), db_int(command->n_delivered));
	db_batch_add(batch, Q_PUSH_DEFER, db_text(command->enrollment_id), db_int(push_again_ms), db_text(generation.text), db_int(now_ms));
	if (!store_run(store, batch, error))
		return false;
	forget_delivered(store, command->uuid);
	return true;
}

/* One look, and the end of what is found. */
static bool try_cancel(struct store *store, const char *uuid, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL);
	struct command_row command;

	db_batch_add(find, Q_COMMAND_FIND, db_text(uuid));
	db_batch_add(find, Q_COMMAND_DONE_FIND, db_text(uuid));
	if (!store_run(store, find, error))
		return false;
	if (db_rows(find, 1))
		return pom_fail(error, POM_ERR_CONFLICT, "command %s is finished already: %s", uuid, db_get_text(find, 1, 0, 4));
	if (!db_rows(find, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no command %s", uuid);
	command = found_row(store, find, 0);
	g_autoptr(db_batch) batch = db_batch_new(command.enrollment_id);
	store_batch_finish(batch, &command, &(struct command_result){.status = "Canceled"}, now_ms);
	store_batch_event(store, batch, command.enrollment_id, "CommandCanceled", uuid, now_ms);
	return store_run(store, batch, error);
}

bool store_command_cancel(struct store *store, const char *uuid, int64_t now_ms, GError **error)
{
	GError *inner = NULL;

	if (try_cancel(store, uuid, now_ms, &inner))
		return true;
	/* It was answered at this moment: the second look says so. */
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		return try_cancel(store, uuid, now_ms, error);
	}
	g_propagate_error(error, inner);
	return false;
}

static int compare_rows(const void *a, const void *b, void *data)
{
	const struct db_batch *found = data;

	return strcmp(db_get_text(found, 0, *(const size_t *)a, 0), db_get_text(found, 0, *(const size_t *)b, 0));
}

bool store_command_expire(struct store *store, int64_t now_ms, int64_t limit, size_t *ret_n, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL), batch = db_batch_new(NULL);
	g_autofree size_t *rows = NULL;

	db_batch_add(find, Q_COMMAND_EXPIRED, db_int(now_ms), db_int(limit));
	if (!store_run(store, find, error))
		return false;
	*ret_n = db_rows(find, 0);
	rows = g_new(size_t, *ret_n);
	for (size_t i = 0; i < *ret_n; i++)
		rows[i] = i;
	g_qsort_with_data(rows, (int)*ret_n, sizeof(*rows), compare_rows, find);
	db_batch_spans(batch);
	for (size_t i = 0; i < *ret_n; i++) {
		const char *enrollment_id = db_get_text(find, 0, rows[i], 0), *seq = db_get_text(find, 0, rows[i], 1);
		struct pom_id id = pom_id_new(store->clock, store->random);

		/* Each does nothing for a command that was answered meanwhile; from here on it is not. */
		db_batch_add(batch, Q_COMMAND_LOCK, db_text(enrollment_id), db_text(seq));
		db_batch_add(batch, Q_COMMAND_EXPIRE_EVENT, db_text(enrollment_id), db_text(seq), db_int(now_ms), db_text(id.text), db_text(db_get_text(find, 0, rows[i], 2)));
		db_batch_add(batch, Q_EVENT_TRIM, db_text(enrollment_id));
		db_batch_add(batch, Q_COMMAND_EXPIRE_DONE, db_text(enrollment_id), db_text(seq), db_int(now_ms));
		db_batch_add(batch, Q_COMMAND_REMOVE, db_text(enrollment_id), db_text(seq));
	}
	return !*ret_n || store_run(store, batch, error);
}

/* The epoch that a new command belongs to, 0 with an error. */
static int64_t find_epoch(struct store *store, const char *enrollment_id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	int64_t active, pending;

	db_batch_add(batch, Q_COMMAND_TARGET, db_text(enrollment_id));
	if (!store_run(store, batch, error))
		return 0;
	active = db_get_int(batch, 0, 0, 3);
	pending = db_get_int(batch, 0, 0, 4);
	if (!db_rows(batch, 0)) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no enrollment %s", enrollment_id);
		return 0;
	}
	if (!active && !pending) {
		pom_fail(error, POM_ERR_CONFLICT, "enrollment %s has ended: the device must enroll again before it can take commands", enrollment_id);
		return 0;
	}
	return active ? active : pending;
}

/* One try, with SEQ, into EPOCH (0: not known); *RET_FOLDED an identical one that waits, transfer full, and nothing is queued. */
static bool try_queue(struct store *store, const struct command_new *new, int64_t epoch, const char *seq, char **ret_folded, GError **error)
{
	g_autoptr(db_batch) find = db_batch_new(NULL), batch = db_batch_new(new->enrollment_id);
	bool folds = new->fold && new->may_fold;

	if (!epoch)
		epoch = find_epoch(store, new->enrollment_id, error);
	if (!epoch)
		return false;
	if (folds) {
		db_batch_add(find, Q_COMMAND_FOLDABLE, db_text(new->enrollment_id), db_int(epoch), db_blob(new->fold, COMMAND_FOLD_LEN), db_int(new->now_ms));
		if (!store_run(store, find, error))
			return false;
		*ret_folded = g_strdup(db_get_text(find, 0, 0, 0));
	}
	if (*ret_folded && is_delivered(store, *ret_folded)) {
		/* The device has it, which only is not written yet. */
		g_clear_pointer(ret_folded, g_free);
		return store_flush_delivered(store, error) && pom_fail(error, POM_ERR_STORE_CONFLICT, "a delivery was not written yet");
	}
	db_batch_add(batch, Q_COMMAND_HOLD, db_text(new->enrollment_id));
	if (!*ret_folded)
		db_batch_add(batch, Q_COMMAND_QUEUE, db_text(new->enrollment_id), db_text(seq), db_text(new->uuid), db_int(epoch), db_text(new->command->request_type), db_bytes(new->command->body),
		             db_int(new->now_ms), db_text(new->note), db_int(new->is_sealed), db_int(new->expires_ms), new->fold ? db_blob(new->fold, COMMAND_FOLD_LEN) : db_null('b'), db_int(folds));
	store_batch_push_urgent(store, batch, new->enrollment_id, new->now_ms, PUSH_URGENCY_ONE);
	return store_run(store, batch, error);
}

/* Whether UUID names a command already, pending or done; *RET_OURS: the one with SEQ. */
static bool is_taken(struct store *store, const char *uuid, const char *seq, bool *ret_taken, bool *ret_ours, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_COMMAND_FIND, db_text(uuid));
	db_batch_add(batch, Q_COMMAND_DONE_FIND, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret_taken = db_rows(batch, 0) || db_rows(batch, 1);
	*ret_ours = !g_strcmp0(db_get_text(batch, 0, 0, 1), seq) || !g_strcmp0(db_get_text(batch, 1, 0, 12), seq);
	return true;
}

static bool queue_in_tries(struct store *store, const struct command_new *new, char **ret_folded, bool *ret_unknown, GError **error)
{
	/* The same in each try: what was done although the connection was lost is known by it. */
	struct pom_id seq = pom_id_new(store->clock, store->random);
	bool taken, ours;

	for (int i = 0; i < TARGET_TRIES; i++) {
		g_autoptr(GError) inner = NULL;
		g_autofree char *folded = NULL;

		/* What the caller has read counts once: it may be why the try before failed. */
		if (try_queue(store, new, i ? 0 : new->epoch, seq.text, &folded, &inner)) {
			/* Not with itself, as a try before has queued it after all. */
			if (g_strcmp0(folded, new->uuid))
				*ret_folded = g_steal_pointer(&folded);
			return true;
		}
		*ret_unknown |= g_error_matches(inner, POM_ERROR, POM_ERR_STORE_UNKNOWN);
		if (*ret_unknown && store_error_is_away(inner) && i < TARGET_TRIES - 1) {
			store_pause();
			continue;
		}
		if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
			g_propagate_error(error, g_steal_pointer(&inner));
			return false;
		}
		if (!is_taken(store, new->uuid, seq.text, &taken, &ours, error))
			return false;
		if (ours)
			return true;
		if (taken)
			return pom_fail(error, POM_ERR_CONFLICT, "there is already a command with CommandUUID %s", new->uuid);
		/* Else the device began a new epoch at this moment, or an identical one was queued: look again. */
	}
	return pom_fail(error, POM_ERR_BUSY, "enrollment %s is changing too fast: try again", new->enrollment_id);
}

bool store_command_queue(struct store *store, const struct command_new *new, char **ret_folded, GError **error)
{
	GError *inner = NULL;
	bool unknown = false, ok = queue_in_tries(store, new, ret_folded, &unknown, &inner);

	store_keep_unknown(unknown, &inner);
	if (inner)
		g_propagate_error(error, inner);
	return ok;
}

bool store_command_add(struct store *store, const char *enrollment_id, const char *uuid, const struct command *command, const char *note, int64_t now_ms, GError **error)
{
	char *folded = NULL;

	return store_command_queue(store, &(struct command_new){.enrollment_id = enrollment_id, .uuid = uuid, .command = command, .note = note, .now_ms = now_ms}, &folded, error);
}

bool store_command_get(struct store *store, const char *uuid, struct command_row *ret, struct command_stored *ret_stored, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const void *data;
	size_t len;

	db_batch_add(batch, Q_COMMAND_FIND, db_text(uuid));
	db_batch_add(batch, Q_COMMAND_DONE_FIND, db_text(uuid));
	db_batch_add(batch, Q_COMMAND_BODY, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret_stored = (struct command_stored){0};
	if (db_rows(batch, 1)) {
		*ret = done_row(batch, 1);
		ret_stored->is_result_sealed = db_get_int(batch, 1, 0, 7);
		data = db_get_blob(batch, 1, 0, 8, &len);
		if (data)
			ret_stored->result = db_get_int(batch, 1, 0, 6) ? unpack(data, len) : g_bytes_new(data, len);
	} else if (db_rows(batch, 0)) {
		*ret = found_row(store, batch, 0);
		ret_stored->body = db_get_bytes(batch, 2, 0, 0);
		ret_stored->is_body_sealed = db_get_int(batch, 2, 0, 1);
	} else {
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no command %s", uuid);
	}
	ret->uuid = uuid;
	*ret_load = g_steal_pointer(&batch);
	return true;
}

void command_stored_clear(struct command_stored *stored)
{
	g_clear_pointer(&stored->body, g_bytes_unref);
	g_clear_pointer(&stored->result, g_bytes_unref);
}

static void take_pending(const struct db_batch *batch, size_t row, void *out)
{
	*(struct command_row *)out = pending_row(batch, 0, row, 0);
}

static void take_done(const struct db_batch *batch, size_t row, void *out)
{
	*(struct command_row *)out = (struct command_row){
		.seq = db_get_text(batch, 0, row, 0), .uuid = db_get_text(batch, 0, row, 1), .epoch = db_get_int(batch, 0, row, 2),
		.request_type = db_get_text(batch, 0, row, 3), .created_ms = db_get_int(batch, 0, row, 4), .finished_ms = db_get_int(batch, 0, row, 5),
		.status = db_get_text(batch, 0, row, 6), .delivered_ms = db_get_int(batch, 0, row, 7), .n_delivered = db_get_int(batch, 0, row, 8), .n_not_now = db_get_int(batch, 0, row, 9),
	};
}

GArray *store_command_list(struct store *store, const char *enrollment_id, bool done, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);
	GArray *rows;

	db_batch_add(batch, done ? Q_COMMAND_DONE_LIST : Q_COMMAND_LIST, db_text(enrollment_id), db_text(after), db_int(limit));
	rows = store_list(store, batch, sizeof(struct command_row), done ? take_done : take_pending, ret_load, error);
	for (guint i = 0; rows && i < rows->len; i++)
		learn_delivered(store, &g_array_index(rows, struct command_row, i));
	return rows;
}

bool store_command_push_at(struct store *store, const char *enrollment_id, int64_t *ret_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_COMMAND_PUSH_AT, db_text(enrollment_id));
	if (!store_run(store, batch, error))
		return false;
	*ret_ms = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_unlock_token_get(struct store *store, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_EPOCH_UNLOCK_GET, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_bytes(batch, 0, 0, 0);
	return true;
}

bool store_unlock_token_set(struct store *store, const char *enrollment_id, int64_t epoch, GBytes *sealed, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_EPOCH_UNLOCK_SET, db_text(enrollment_id), db_int(epoch), db_bytes(sealed));
	return store_run(store, batch, error);
}
