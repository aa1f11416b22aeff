/* The audit log: what was decided, by whom, about what. An entry is written in the same transaction as what it tells of. Afterwards entries are put into a chain, in order:
 * the hash of each covers all that stands in it and the hash of the one before, so that nothing can be changed, removed or inserted later without being seen. */
#include <stdarg.h>
#include <string.h>

#include "service/ca_internal.h"

enum { SEAL_AT_ONCE = 500, SCAN_MAX = 20000 };

char *audit_detail(const char *key, ...)
{
	g_autoptr(json_t) o = json_object();
	g_autoptr(GBytes) text = NULL;
	va_list args;

	va_start(args, key);
	for (; key; key = va_arg(args, const char *)) {
		const char *value = va_arg(args, const char *);
		g_autofree char *valid = value ? g_utf8_make_valid(value, -1) : NULL;

		if (valid)
			json_object_set_new(o, key, json_string(valid));
	}
	va_end(args);
	text = json_format(o);
	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

/* Each field with its length before it: no two different entries give the same bytes. */
static void hash_row(const uint8_t before[32], const struct audit_row *row, uint8_t ret[32])
{
	const char *const texts[] = {row->id, row->actor, row->action, row->object, row->detail ? row->detail : ""};
	g_autoptr(GString) bytes = g_string_new(NULL);

	g_string_append_len(bytes, (const char *)before, 32);
	g_string_append_printf(bytes, "%" G_GINT64_FORMAT "\n%" G_GINT64_FORMAT "\n", row->seq, row->at_ms);
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_string_append_printf(bytes, "%zu:%s\n", strlen(texts[i]), texts[i]);
	cert_sha256(bytes->str, bytes->len, ret);
}

static bool seal_some(struct service *service, guint *ret_n, GError **error)
{
	g_autoptr(store_load) load = NULL;
	uint8_t hash[32];
	int64_t seq;
	g_autoptr(GArray) rows = store_audit_pending(service->store, SEAL_AT_ONCE, &seq, hash, &load, error);
	g_autofree uint8_t *hashes = NULL;

	if (!rows)
		return false;
	*ret_n = rows->len;
	hashes = g_malloc(32 * (size_t)rows->len + 1);
	for (guint i = 0; i < rows->len; i++) {
		struct audit_row *row = &g_array_index(rows, struct audit_row, i);

		row->seq = ++seq;
		hash_row(hash, row, hashes + 32 * (size_t)i);
		memcpy(hash, hashes + 32 * (size_t)i, 32);
		row->hash = hashes + 32 * (size_t)i;
		row->hash_len = 32;
	}
	return !rows->len || store_audit_chain(service->store, (const struct audit_row *)rows->data, rows->len, error);
}

bool service_audit_seal(struct service *service, GError **error)
{
	enum { TRIES = 16 };
	guint n = SEAL_AT_ONCE;
	GError *inner = NULL;
	int tries = 0;

	pthread_mutex_lock(&service->crl_lock);
	while (!inner && n == SEAL_AT_ONCE) {
		bool ok = seal_some(service, &n, &inner);

		/* Another node has sealed the same entries: it goes on behind them. */
		if (!ok && g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT) && ++tries < TRIES) {
			g_clear_error(&inner);
			n = SEAL_AT_ONCE;
		}
	}
	pthread_mutex_unlock(&service->crl_lock);
	return !inner || service_fail_again(error, inner);
}

static json_t *row_json(const struct audit_row *row)
{
	json_t *o = json_object();
	g_autofree char *hash = hex_format(row->hash, row->hash_len);
	json_t *detail = row->detail ? json_parse(row->detail, strlen(row->detail), NULL) : NULL;

	json_object_set_new(o, "seq", json_integer(row->seq));
	json_object_set_new(o, "at", json_time(row->at_ms));
	json_set_text(o, "actor", row->actor);
	json_set_text(o, "action", row->action);
	json_set_text(o, "object", row->object);
	json_object_set_new(o, "detail", detail ? detail : json_null());
	json_set_text(o, "hash", hash);
	return o;
}

/* Whether an entry is what was asked for: its action, or the group that it begins with ("ca" of "ca.renew"). */
static bool fits(const struct audit_row *row, const char *action)
{
	size_t len;

	if (!action)
		return true;
	len = strlen(action);
	return !strncmp(row->action, action, len) && (!row->action[len] || row->action[len] == '.');
}

json_t *service_audit_list(struct service *service, const char *object, const char *action, const char *after, int64_t limit, GError **error)
{
	int64_t from = *after ? g_ascii_strtoll(after, NULL, 10) : 0, scanned = 0;
	g_autofree char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, 1000);
	if (!service_audit_seal(service, error))
		return NULL;
	items = json_array();
	while ((int64_t)json_array_size(items) < limit && scanned < SCAN_MAX) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_audit_list(service->store, object, from, action ? 1000 : limit, &load, error);

		if (!rows) {
			json_decref(items);
			return NULL;
		}
		for (guint i = 0; i < rows->len && (int64_t)json_array_size(items) < limit; i++) {
			const struct audit_row *row = &g_array_index(rows, struct audit_row, i);

			from = row->seq;
			if (fits(row, action))
				json_array_append_new(items, row_json(row));
		}
		scanned += rows->len;
		if (!rows->len)
			return json_pack("{s:o, s:n}", "items", items, "next");
	}
	last = g_strdup_printf("%" G_GINT64_FORMAT, from);
	return json_pack("{s:o, s:s}", "items", items, "next", last);
}

json_t *service_audit_last(struct service *service, const char *action, int64_t n, GError **error)
{
	int64_t before = G_MAXINT64, scanned = 0;
	json_t *items;
	guint found = 1;

	n = CLAMP(n, 1, 1000);
	if (!service_audit_seal(service, error))
		return NULL;
	items = json_array();
	while (found && (int64_t)json_array_size(items) < n && scanned < SCAN_MAX) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_audit_before(service->store, before, action ? 1000 : n, &load, error);

		if (!rows) {
			json_decref(items);
			return NULL;
		}
		for (guint i = 0; i < rows->len && (int64_t)json_array_size(items) < n; i++) {
			const struct audit_row *row = &g_array_index(rows, struct audit_row, i);

			before = row->seq;
			if (fits(row, action))
				json_array_insert_new(items, 0, row_json(row));
		}
		found = rows->len;
		scanned += rows->len;
	}
	return json_page(items, NULL, 0);
}

json_t *service_audit_verify(struct service *service, GError **error)
{
	uint8_t hash[32] = {0}, wanted[32];
	int64_t seq = 0;

	if (!service_audit_seal(service, error))
		return NULL;
	for (;;) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_audit_list(service->store, NULL, seq, 1000, &load, error);

		if (!rows)
			return NULL;
		if (!rows->len)
			return json_pack("{s:b, s:I}", "ok", 1, "entries", (json_int_t)seq);
		for (guint i = 0; i < rows->len; i++) {
			const struct audit_row *row = &g_array_index(rows, struct audit_row, i);

			if (row->seq != ++seq)
				return json_pack("{s:b, s:I, s:s}", "ok", 0, "broken_at", (json_int_t)seq, "why", "an entry is missing");
			hash_row(hash, row, wanted);
			if (row->hash_len != 32 || memcmp(row->hash, wanted, 32))
				return json_pack("{s:b, s:I, s:s}", "ok", 0, "broken_at", (json_int_t)seq, "why", "the entry or one before it was changed");
			memcpy(hash, wanted, 32);
		}
	}
}
