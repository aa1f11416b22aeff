/* What is told of commands. */
#include <string.h>

#include "base/apple_error.h"
#include "core/command_table.h"
#include "core/renewal.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/command.h"
#include "service/library_device.h"

enum { LIST_MAX = 1000, EXPIRE_AT_ONCE = 200, PURGE_AT_ONCE = 10000 };

/* ---- lists ---- */

static const char *status_of(const struct command_row *c)
{
	if (c->status)
		return c->status;
	return c->is_out ? "Delivered" : c->n_not_now ? "NotNow" : "Queued";
}

static json_t *command_json(const struct command_row *c)
{
	json_t *o = json_object();

	json_set_text(o, "command_uuid", c->uuid);
	json_set_text(o, "id", c->enrollment_id);
	json_set_text(o, "request_type", c->request_type);
	json_set_text(o, "status", status_of(c));
	json_object_set_new(o, "created_at", json_time(c->created_ms));
	json_object_set_new(o, "expires_at", json_time(c->expires_ms));
	json_object_set_new(o, "delivered_at", json_time(c->delivered_ms));
	json_object_set_new(o, "delivered_count", json_integer(c->n_delivered));
	json_object_set_new(o, "not_now_count", json_integer(c->n_not_now));
	json_object_set_new(o, "finished_at", json_time(c->finished_ms));
	json_object_set_new(o, "epoch", json_integer(c->epoch));
	return o;
}

json_t *service_command_list(struct service *service, const char *id, bool done, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL, enrollment_load = NULL;
	g_autoptr(GArray) rows = NULL;
	struct enrollment_row enrollment;
	int64_t push_ms;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	if (!store_enrollment_get(service->store, id, &enrollment, &enrollment_load, error) || !store_command_push_at(service->store, enrollment.id, &push_ms, error))
		return NULL;
	rows = store_command_list(service->store, enrollment.id, done, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		struct command_row *row = &g_array_index(rows, struct command_row, i);
		json_t *o;

		row->enrollment_id = enrollment.id;
		o = command_json(row);
		if (!done)
			json_object_set_new(o, "next_push_at", json_time(push_ms));
		json_array_append_new(items, o);
		last = done ? row->uuid : row->seq;
	}
	return json_page(items, last, limit);
}

/* ---- errors ---- */

/* In whole sentences; NULL: not explained here. transfer full. */
static char *explanation_of(const struct chain_item *item)
{
	const struct apple_error *e = item->has_code ? apple_error_find(item->domain, item->code) : NULL;

	if (!e)
		return NULL;
	return g_strdup_printf("%s%s%s%s%s", e->meaning, e->causes ? " Likely causes: " : "", e->causes ? e->causes : "", e->look_at ? " Look at: " : "", e->look_at ? e->look_at : "");
}

static json_t *json_of_chain(const plist *chain)
{
	json_t *array = json_array();

	for (size_t i = 0; chain && i < plist_count(chain); i++) {
		struct chain_item item = chain_item_read(plist_child(chain, i));
		g_autofree char *explanation = explanation_of(&item);
		json_t *o = json_object();

		json_set_text(o, "domain", item.domain);
		json_object_set_new(o, "code", item.has_code ? json_integer(item.code) : json_null());
		json_set_text(o, "text", item.text);
		json_set_text(o, "explanation", explanation);
		json_array_append_new(array, o);
	}
	return array;
}

/* Of statuses that come without an ErrorChain, or say something by themselves. */
static const char *explanation_of_status(const char *status)
{
	static const struct { const char *status, *text; } rows[] = {
		{"CommandFormatError", "The device did not understand the command: its system does not know the RequestType or a key, or a value has the wrong type. Sent again unchanged it fails again."},
		{"Expired", "The device did not answer in the time that the command had, so it was taken out of the queue."},
		{"Cleared", "The enrollment that the command belonged to ended: the device enrolled again, or left."},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!g_strcmp0(status, rows[i].status))
			return rows[i].text;
	return NULL;
}

/* "error_chain" of the report itself, "errors" of its parts. */
static void add_errors(json_t *o, const plist *report)
{
	g_autoptr(GArray) errors = report_errors(report);
	json_t *own = NULL, *parts = json_array();

	for (guint i = 0; i < errors->len; i++) {
		const struct report_error *e = &g_array_index(errors, struct report_error, i);
		json_t *chain = json_of_chain(e->chain);

		if (!*e->path) {
			own = chain;
			continue;
		}
		json_array_append_new(parts, json_pack("{s:s, s:s?, s:o}", "path", e->path, "status", e->status, "error_chain", chain));
	}
	json_object_set_new(o, "error_chain", own ? own : json_array());
	json_object_set_new(o, "errors", parts);
}

/* ---- one command ---- */

/* What was sealed, or not, as a tree; NULL without ERROR: there is none. */
static plist *open_tree(struct service *service, const char *table, const char *uuid, const char *column, GBytes *bytes, bool is_sealed, GError **error)
{
	g_autoptr(GBytes) open = NULL;

	if (!bytes)
		return NULL;
	open = is_sealed ? seal_open(&service->seal, table, uuid, column, bytes, error) : g_bytes_ref(bytes);
	return open ? plist_parse(g_bytes_get_data(open, NULL), g_bytes_get_size(open), NULL, error) : NULL;
}

static json_t *json_of_tree(const char *request_type, enum command_part part, const plist *tree, bool secrets)
{
	g_autoptr(plist) shown = NULL;

	if (!tree)
		return json_null();
	if (secrets || !command_has_secret(request_type, part, tree))
		return json_from_plist(tree);
	shown = command_redact(request_type, part, tree);
	return json_from_plist(shown);
}

static bool add_content(struct service *service, json_t *o, const struct command_row *row, const struct command_stored *stored, bool secrets, GError **error)
{
	GError *inner = NULL;
	g_autoptr(plist) whole = open_tree(service, "command", row->uuid, "body", stored->body, stored->is_body_sealed, &inner);
	g_autoptr(plist) report = inner ? NULL : open_tree(service, "command_done", row->uuid, "result", stored->result, stored->is_result_sealed, &inner);

	if (inner) {
		g_propagate_error(error, inner);
		return false;
	}
	json_object_set_new(o, "command", json_of_tree(row->request_type, COMMAND_REQUEST, plist_dict_get(whole, "Command"), secrets));
	add_errors(o, report);
	json_set_text(o, "explanation", explanation_of_status(row->status));
	json_object_set_new(o, "result", json_of_tree(row->request_type, COMMAND_RESPONSE, report, secrets));
	return true;
}

static bool add_push(struct service *service, json_t *o, const struct command_row *row, GError **error)
{
	int64_t push_ms = 0;

	if (!row->status && !store_command_push_at(service->store, row->enrollment_id, &push_ms, error))
		return false;
	json_object_set_new(o, "next_push_at", json_time(push_ms));
	return true;
}

json_t *service_command_show(struct service *service, const char *uuid, bool secrets, const char *actor, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct command_stored stored = {0};
	struct command_row row;
	json_t *o;
	bool ok;

	if (!store_command_get(service->store, uuid, &row, &stored, &load, error))
		return NULL;
	o = command_json(&row);
	/* Who has read it is written down before it is read. */
	ok = (!secrets || store_audit_add(service->store, AUDIT(actor, "command.secrets", uuid, audit_detail("id", row.enrollment_id, "request_type", row.request_type, NULL)), error)) &&
	     add_push(service, o, &row, error) && add_content(service, o, &row, &stored, secrets, error);
	command_stored_clear(&stored);
	if (!ok)
		g_clear_pointer(&o, json_decref);
	return o;
}

json_t *service_command_cancel(struct service *service, const char *uuid, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct command_stored stored = {0};
	struct command_row row;
	bool removes;

	if (!store_command_get(service->store, uuid, &row, &stored, &load, error))
		return NULL;
	command_stored_clear(&stored);
	if (!store_command_cancel(service->store, uuid, service_now_ms(service), error))
		return NULL;
	if (note_profile(row.note, &removes) &&
	    !service_library_happen(service, &(struct library_happening){.enrollment_id = row.enrollment_id, .profile = note_profile(row.note, &removes), .event = LIBRARY_CANCELED, .command_uuid = uuid}, NULL, error))
		return NULL;
	return json_pack("{s:s, s:s}", "command_uuid", uuid, "status", "Canceled");
}

/* ---- time ---- */

bool service_command_expire(struct service *service, bool *ret_more, GError **error)
{
	size_t n;

	if (!store_command_expire(service->store, service_now_ms(service), EXPIRE_AT_ONCE, &n, error))
		return false;
	*ret_more = n == EXPIRE_AT_ONCE;
	return true;
}

bool service_command_purge(struct service *service, int64_t days, bool *ret_more, GError **error)
{
	return !days || store_command_purge(service->store, service_now_ms(service) - MAX(days, COMMAND_KEEP_MIN_DAYS) * 86400000, PURGE_AT_ONCE, ret_more, error);
}
