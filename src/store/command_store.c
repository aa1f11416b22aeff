/* Commands and their results. */
#include <string.h>
#include <zlib.h>

#include "store/store_internal.h"

enum { PACK_FROM = 256, RESULT_MAX = 64 << 20 };

static void read_pending(const struct db_batch *batch, unsigned i, const char *uuid, struct command_row *ret)
{
	*ret = (struct command_row){
		.uuid = uuid, .enrollment_id = db_get_text(batch, i, 0, 0), .epoch = db_get_int(batch, i, 0, 1), .seq = db_get_text(batch, i, 0, 2),
		.request_type = db_get_text(batch, i, 0, 3), .created_ms = db_get_int(batch, i, 0, 4), .n_not_now = db_get_int(batch, i, 0, 5),
		.note = db_get_text(batch, i, 0, 6),
	};
}

enum { TARGET_TRIES = 8 };

/* The channel that a report is for: the user's, when it names one. */
static const struct enrollment_facts *channel(const struct report_load *load, const struct report *report)
{
	return *report->who.user_part ? &load->facts.user : &load->facts.device;
}

static bool load_command(struct store *store, const struct report *report, struct report_load *load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const char *mine = channel(load, report)->id, *owner;

	db_batch_add(batch, Q_COMMAND_FIND, db_text(report->command_uuid));
	db_batch_add(batch, Q_COMMAND_DONE_FIND, db_text(report->command_uuid));
	if (!store_run(store, batch, error))
		return false;
	load->where = db_rows(batch, 0) ? COMMAND_PENDING : db_rows(batch, 1) ? COMMAND_DONE : COMMAND_NOWHERE;
	owner = load->where == COMMAND_PENDING ? db_get_text(batch, 0, 0, 0) : db_get_text(batch, 1, 0, 0);
	read_pending(batch, 0, report->command_uuid, &load->command);
	if (owner && (!mine || strcmp(owner, mine)))
		load->where = COMMAND_OF_ANOTHER;
	if (load->where == COMMAND_PENDING && load->command.epoch != load->facts.certificate.epoch)
		load->where = COMMAND_OF_ANOTHER;
	load->command_load = g_steal_pointer(&batch);
	return true;
}

bool store_report_load(struct store *store, const uint8_t cert_sha256[32], const struct report *report, struct report_load *ret, GError **error)
{
	struct checkin_load who = {0};
	struct report_load load = {.where = COMMAND_NOWHERE};

	if (!store_checkin_load(store, cert_sha256, &report->who, &who, error))
		return false;
	load.facts = who.facts;
	load.load = who.load;
	if (report->command_uuid && !load_command(store, report, &load, error)) {
		report_load_clear(&load);
		return false;
	}
	*ret = load;
	return true;
}

void report_load_clear(struct report_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
	g_clear_pointer(&load->command_load, store_load_free);
}

void command_next_clear(struct command_next *next)
{
	g_clear_pointer(&next->body, g_bytes_unref);
	g_clear_pointer(&next->uuid, g_free);
	g_clear_pointer(&next->note, g_free);
}

bool store_command_next(struct store *store, const char *enrollment_id, int64_t epoch, bool with_deferred, const char *except, const char *only_note, struct command_next *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	if (only_note)
		db_batch_add(batch, Q_COMMAND_NEXT_NOTED, db_text(enrollment_id), db_int(epoch), db_text(only_note), db_text(except ? except : ""));
	else
		db_batch_add(batch, Q_COMMAND_NEXT, db_text(enrollment_id), db_int(epoch), db_int(with_deferred), db_text(except ? except : ""));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct command_next){db_get_bytes(batch, 0, 0, 1), g_strdup(db_get_text(batch, 0, 0, 0)), g_strdup(db_get_text(batch, 0, 0, 4))};
	return true;
}

/* Results are XML: small ones stay as they are, larger ones are packed with zlib. */
static GBytes *pack(const void *data, size_t len, bool *ret_packed)
{
	uLongf n = compressBound(len);
	g_autofree uint8_t *out = NULL;

	*ret_packed = false;
	if (len < PACK_FROM)
		return g_bytes_new(data, len);
	out = g_malloc(n);
	if (compress2(out, &n, data, len, 1) != Z_OK || n >= len)
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

static void add_finish(struct db_batch *batch, const struct command_row *command, const char *status, bool packed, GBytes *result, int64_t now_ms)
{
	db_batch_add(batch, Q_COMMAND_FINISH, db_text(command->enrollment_id), db_text(command->uuid), db_text(command->seq), db_int(command->epoch),
	             db_text(command->request_type), db_int(command->created_ms), db_int(now_ms), db_text(status), db_int(packed), db_bytes(result));
}

bool store_command_finish(struct store *store, const struct command_row *command, const char *status, const void *result, size_t len, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(command->enrollment_id);
	bool packed;
	g_autoptr(GBytes) bytes = pack(result, len, &packed);

	add_finish(batch, command, status, packed, bytes, now_ms);
	db_batch_add(batch, Q_COMMAND_REMOVE, db_text(command->enrollment_id), db_text(command->seq));
	return store_run(store, batch, error);
}

bool store_command_defer(struct store *store, const struct command_row *command, int64_t now_ms, int64_t push_again_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(command->enrollment_id);
	struct pom_id generation = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_COMMAND_DEFER, db_text(command->enrollment_id), db_text(command->seq), db_int(now_ms));
	db_batch_add(batch, Q_PUSH_DEFER, db_text(command->enrollment_id), db_int(push_again_ms), db_text(generation.text), db_int(now_ms));
	return store_run(store, batch, error);
}

bool store_command_cancel(struct store *store, const char *uuid, int64_t now_ms, GError **error)
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
	read_pending(find, 0, uuid, &command);
	g_autoptr(db_batch) batch = db_batch_new(command.enrollment_id);
	add_finish(batch, &command, "Canceled", false, NULL, now_ms);
	db_batch_add(batch, Q_COMMAND_TAKE, db_text(command.enrollment_id), db_text(command.seq));
	store_batch_event(store, batch, command.enrollment_id, "CommandCanceled", uuid, now_ms);
	return store_run(store, batch, error);
}

/* The epoch that a new command belongs to, 0 with an error. */
static int64_t target_epoch(const struct db_batch *batch, const char *enrollment_id, GError **error)
{
	int64_t active = db_get_int(batch, 0, 0, 3), pending = db_get_int(batch, 0, 0, 4);

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

/* One try; *RET_EPOCH the epoch that it was for. */
static bool add_command(struct store *store, const char *enrollment_id, const char *uuid, const struct command *command, const char *note, int64_t now_ms, int64_t *ret_epoch, GError **error)
{
	g_autoptr(db_batch) target = db_batch_new(NULL);
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);
	struct pom_id seq = pom_id_new(store->clock, store->random);

	db_batch_add(target, Q_COMMAND_TARGET, db_text(enrollment_id));
	if (!store_run(store, target, error))
		return false;
	*ret_epoch = target_epoch(target, enrollment_id, error);
	if (!*ret_epoch)
		return false;
	db_batch_add(batch, Q_COMMAND_ADD, db_text(enrollment_id), db_text(seq.text), db_text(uuid), db_int(*ret_epoch), db_text(command->request_type),
	             db_bytes(command->body), db_int(now_ms), db_text(note));
	store_batch_push(store, batch, enrollment_id, now_ms);
	return store_run(store, batch, error);
}

/* Whether UUID names a command already, pending or done. */
static bool is_taken(struct store *store, const char *uuid, bool *ret_taken, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_COMMAND_FIND, db_text(uuid));
	db_batch_add(batch, Q_COMMAND_DONE_FIND, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret_taken = db_rows(batch, 0) || db_rows(batch, 1);
	return true;
}

bool store_command_add(struct store *store, const char *enrollment_id, const char *uuid, const struct command *command, const char *note, int64_t now_ms, GError **error)
{
	int64_t epoch;
	bool taken;

	for (int i = 0; i < TARGET_TRIES; i++) {
		g_autoptr(GError) inner = NULL;

		if (add_command(store, enrollment_id, uuid, command, note, now_ms, &epoch, &inner))
			return true;
		if (!g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
			g_propagate_error(error, g_steal_pointer(&inner));
			return false;
		}
		if (!is_taken(store, uuid, &taken, error))
			return false;
		if (taken)
			return pom_fail(error, POM_ERR_CONFLICT, "there is already a command with CommandUUID %s", uuid);
		/* Else the device began a new epoch at this moment: look again. */
	}
	return pom_fail(error, POM_ERR_BUSY, "enrollment %s is changing too fast: try again", enrollment_id);
}

bool store_command_get(struct store *store, const char *uuid, struct command_row *ret, GBytes **ret_result, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	const void *data;
	size_t len;

	db_batch_add(batch, Q_COMMAND_FIND, db_text(uuid));
	db_batch_add(batch, Q_COMMAND_DONE_FIND, db_text(uuid));
	if (!store_run(store, batch, error))
		return false;
	*ret_result = NULL;
	if (db_rows(batch, 1)) {
		*ret = (struct command_row){
			.uuid = uuid, .enrollment_id = db_get_text(batch, 1, 0, 0), .request_type = db_get_text(batch, 1, 0, 1), .created_ms = db_get_int(batch, 1, 0, 2),
			.finished_ms = db_get_int(batch, 1, 0, 3), .status = db_get_text(batch, 1, 0, 4), .epoch = db_get_int(batch, 1, 0, 5),
		};
		data = db_get_blob(batch, 1, 0, 7, &len);
		if (data)
			*ret_result = db_get_int(batch, 1, 0, 6) ? unpack(data, len) : g_bytes_new(data, len);
	} else if (db_rows(batch, 0)) {
		read_pending(batch, 0, uuid, ret);
	} else {
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no command %s", uuid);
	}
	*ret_load = g_steal_pointer(&batch);
	return true;
}

static void take_pending(const struct db_batch *batch, size_t row, void *out)
{
	*(struct command_row *)out = (struct command_row){
		.seq = db_get_text(batch, 0, row, 0), .uuid = db_get_text(batch, 0, row, 1), .epoch = db_get_int(batch, 0, row, 2),
		.request_type = db_get_text(batch, 0, row, 3), .created_ms = db_get_int(batch, 0, row, 4), .not_now_ms = db_get_int(batch, 0, row, 5),
		.n_not_now = db_get_int(batch, 0, row, 6),
	};
}

static void take_done(const struct db_batch *batch, size_t row, void *out)
{
	*(struct command_row *)out = (struct command_row){
		.seq = db_get_text(batch, 0, row, 0), .uuid = db_get_text(batch, 0, row, 1), .epoch = db_get_int(batch, 0, row, 2),
		.request_type = db_get_text(batch, 0, row, 3), .created_ms = db_get_int(batch, 0, row, 4), .finished_ms = db_get_int(batch, 0, row, 5),
		.status = db_get_text(batch, 0, row, 6),
	};
}

GArray *store_command_list(struct store *store, const char *enrollment_id, bool done, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, done ? Q_COMMAND_DONE_LIST : Q_COMMAND_LIST, db_text(enrollment_id), db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct command_row), done ? take_done : take_pending, ret_load, error);
}
