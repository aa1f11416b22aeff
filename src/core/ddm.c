#include "core/ddm.h"

#include <string.h>

#include "base/apple_error.h"
#include "codec/cert.h"
#include "codec/datetime.h"

/* ---- endpoints ---- */

void ddm_endpoint_clear(struct ddm_endpoint *endpoint)
{
	g_clear_pointer(&endpoint->identifier, g_free);
	g_clear_pointer(&endpoint->decoded, g_free);
}

/* NULL unless it is an identifier that differs. */
static char *decode(const char *text)
{
	g_autofree char *decoded = strchr(text, '%') ? g_uri_unescape_string(text, "/") : NULL;

	return decoded && declaration_identifier_check(decoded, NULL) ? g_steal_pointer(&decoded) : NULL;
}

static bool parse_declaration(const char *rest, struct ddm_endpoint *ret)
{
	const char *slash = strchr(rest, '/');
	g_autofree char *kind = slash ? g_strndup(rest, (gsize)(slash - rest)) : NULL;

	if (!slash || !slash[1] || declaration_kind_find(kind) == DECLARATION_KIND_MAX)
		return false;
	*ret = (struct ddm_endpoint){DDM_DECLARATION, declaration_kind_find(kind), g_strdup(slash + 1), decode(slash + 1)};
	return true;
}

bool ddm_endpoint_parse(const char *text, struct ddm_endpoint *ret, GError **error)
{
	static const struct { const char *name; enum ddm_endpoint_type type; } plain[] = {{"tokens", DDM_TOKENS}, {"declaration-items", DDM_ITEMS}, {"status", DDM_STATUS}};
	static const char prefix[] = "declaration/";

	for (size_t i = 0; i < G_N_ELEMENTS(plain); i++)
		if (!strcmp(plain[i].name, text)) {
			*ret = (struct ddm_endpoint){.type = plain[i].type};
			return true;
		}
	if (g_str_has_prefix(text, prefix) && parse_declaration(text + strlen(prefix), ret))
		return true;
	return pom_fail(error, POM_ERR_DDM_ENDPOINT, "Endpoint \"%.128s\" is none of tokens, declaration-items, status and declaration/KIND/IDENTIFIER", text);
}

/* ---- the list ---- */

static const char *const list_names[DECLARATION_KINDS] = {"Activations", "Configurations", "Assets", "Management"};
static const char *const status_names[DECLARATION_KINDS] = {"activations", "configurations", "assets", "management"};

static int compare_items(const void *a, const void *b)
{
	const struct ddm_item *x = a, *y = b;

	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->identifier, y->identifier);
}

GBytes *ddm_manifest_build(GArray *items, char **ret_token)
{
	g_autoptr(json_t) lists = json_object(), whole = NULL;
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	const struct ddm_item *before = NULL;

	g_array_sort(items, compare_items);
	for (unsigned k = 0; k < DECLARATION_KINDS; k++)
		json_object_set_new(lists, list_names[k], json_array());
	for (guint i = 0; i < items->len; i++) {
		const struct ddm_item *item = &g_array_index(items, struct ddm_item, i);

		if (before && !compare_items(before, item))
			continue;
		json_array_append_new(json_object_get(lists, list_names[item->kind]), json_pack("{s:s, s:s}", "Identifier", item->identifier, "ServerToken", item->token));
		g_checksum_update(sum, (const guchar *)list_names[item->kind], (gssize)strlen(list_names[item->kind]) + 1);
		g_checksum_update(sum, (const guchar *)item->identifier, (gssize)strlen(item->identifier) + 1);
		g_checksum_update(sum, (const guchar *)item->token, (gssize)strlen(item->token) + 1);
		before = item;
	}
	*ret_token = g_strndup(g_checksum_get_string(sum), DECLARATION_TOKEN_LEN);
	whole = json_pack("{s:O, s:s}", "Declarations", lists, "DeclarationsToken", *ret_token);
	return json_format(whole);
}

GBytes *ddm_tokens_format(const char *token, int64_t changed_ms)
{
	char time[DATETIME_LEN + 1] = "1970-01-01T00:00:00Z";
	g_autoptr(json_t) whole = NULL;

	datetime_format(changed_ms / 1000, time);
	whole = json_pack("{s:{s:s, s:s}}", "SyncTokens", "DeclarationsToken", token, "Timestamp", time);
	return json_format(whole);
}

char *ddm_manifest_find(GBytes *manifest, const char *identifier)
{
	static const char between[] = ",\"ServerToken\":\"";
	g_autoptr(json_t) entry = json_pack("{s:s}", "Identifier", identifier);
	g_autoptr(GBytes) text = entry ? json_format(entry) : NULL;
	gsize size;
	const char *all = g_bytes_get_data(manifest, &size), *found, *token, *close;
	size_t len = text ? g_bytes_get_size(text) - 1 : 0;

	/* Quotes inside texts are escaped, so that this can be nothing but an entry. Without TEXT it is not UTF-8: nothing that a list could hold. */
	found = text ? memmem(all, size, g_bytes_get_data(text, NULL), len) : NULL;
	if (!found || (size_t)(all + size - found) < len + sizeof(between) - 1 || memcmp(found + len, between, sizeof(between) - 1))
		return NULL;
	token = found + len + sizeof(between) - 1;
	close = memchr(token, '"', (size_t)(all + size - token));
	return close ? g_strndup(token, (gsize)(close - token)) : NULL;
}

/* ---- who is told ---- */

void ddm_decide(const struct ddm_row *row, const char *wanted, bool has_sets, struct ddm_plan *ret)
{
	/* Who was never told anything and shall have nothing is left alone. */
	bool due = row->told ? strcmp(row->told, wanted) != 0 : has_sets;

	ret->write = g_strcmp0(row->token, wanted) && (row->token || has_sets);
	ret->queue = due && row->waiting == DDM_WAITS_NOT;
	ret->cancel = !due && row->waiting == DDM_WAITS_QUEUED;
}

/* ---- status reports ---- */

static void change_free(void *data)
{
	struct ddm_change *c = data;

	g_free(c->item);
	g_free(c->element);
	g_free(c->value);
	g_free(c);
}

static void status_error_free(void *data)
{
	struct ddm_status_error *e = data;

	g_free(e->item);
	g_free(e->reasons);
	g_free(e);
}

static void declared_free(void *data)
{
	struct ddm_declared *d = data;

	g_free(d->identifier);
	g_free(d->token);
	g_free(d->valid);
	g_free(d->reasons);
	g_free(d);
}

void ddm_report_free(struct ddm_report *report)
{
	if (!report)
		return;
	g_ptr_array_unref(report->changes);
	g_ptr_array_unref(report->errors);
	g_ptr_array_unref(report->declared);
	g_free(report);
}

/* Compact JSON that the store can keep, transfer full; NULL: too long, or with a NUL inside. */
static char *value_text(const json_t *value)
{
	g_autoptr(GBytes) bytes = json_format(value);
	gsize len;
	const char *text = g_bytes_get_data(bytes, &len);

	return len <= DDM_VALUE_MAX ? g_strndup(text, len) : NULL;
}

/* Texts that become keys of rows. */
static bool is_name(const char *text)
{
	return text && *text && strlen(text) <= DDM_NAME_MAX;
}

static void add_change(struct ddm_report *r, const char *item, const char *element, const json_t *value)
{
	g_autofree char *text = value ? value_text(value) : NULL;
	struct ddm_change *c;

	if (!is_name(item) || (value && !text) || r->changes->len >= DDM_ITEMS_MAX) {
		r->n_ignored++;
		return;
	}
	c = g_new(struct ddm_change, 1);
	*c = (struct ddm_change){g_strdup(item), g_strdup(element), g_steal_pointer(&text)};
	g_ptr_array_add(r->changes, c);
}

/* Whether each of a list's members tells who it is: then only those that have changed are reported. */
static bool is_keyed(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!is_name(json_string_value(json_object_get(json_array_get(list, i), "identifier"))))
			return false;
	return true;
}

static void add_list(struct ddm_report *r, const char *item, const json_t *list)
{
	if (!is_keyed(list)) {
		add_change(r, item, "", list);
		return;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *member = json_array_get(list, i);

		add_change(r, item, json_string_value(json_object_get(member, "identifier")), json_is_true(json_object_get(member, "_removed")) ? NULL : member);
	}
}

/* ---- what it says of declarations ---- */

static void add_declared(struct ddm_report *r, enum declaration_kind kind, const json_t *entry)
{
	static const char *const words[] = {"unknown", "invalid", "valid", NULL};
	const char *identifier = json_string_value(json_object_get(entry, "identifier")), *token = json_string_value(json_object_get(entry, "server-token")), *valid = json_string_value(json_object_get(entry, "valid"));
	const json_t *reasons = json_object_get(entry, "reasons");
	struct ddm_declared *d;

	if (!is_name(identifier) || r->declared->len >= DDM_ITEMS_MAX) {
		r->n_ignored++;
		return;
	}
	d = g_new(struct ddm_declared, 1);
	*d = (struct ddm_declared){
		.identifier = g_strdup(identifier), .token = g_strdup(is_name(token) ? token : ""), .valid = g_strdup(valid && g_strv_contains(words, valid) ? valid : "unknown"),
		.reasons = json_array_size(reasons) ? value_text(reasons) : NULL, .kind = kind, .active = json_is_true(json_object_get(entry, "active")),
	};
	g_ptr_array_add(r->declared, d);
}

static void add_declarations(struct ddm_report *r, const json_t *lists)
{
	r->has_declarations = true;
	for (unsigned k = 0; k < DECLARATION_KINDS; k++) {
		const json_t *list = json_object_get(lists, status_names[k]);

		for (size_t i = 0; i < json_array_size(list); i++)
			add_declared(r, (enum declaration_kind)k, json_array_get(list, i));
	}
}

static void add_item(struct ddm_report *r, const char *path, const json_t *value)
{
	const struct status_item *known = status_item_find(path);
	const char *name;
	json_t *below;

	if (!strcmp(path, "management.declarations")) {
		if (json_is_object(value))
			add_declarations(r, value);
		else
			r->n_ignored++;
	} else if (json_is_array(value)) {
		add_list(r, path, value);
	} else if (known || !json_object_size(value)) {
		add_change(r, path, "", value);
	} else {
		json_object_foreach((json_t *)(uintptr_t)value, name, below) {
			g_autofree char *at = *path ? g_strconcat(path, ".", name, NULL) : g_strdup(name);

			add_item(r, at, below);
		}
	}
}

static void add_error(struct ddm_report *r, const json_t *entry)
{
	const char *item = json_string_value(json_object_get(entry, "StatusItem"));
	const json_t *reasons = json_object_get(entry, "Reasons");
	g_autofree char *text = json_is_array(reasons) ? value_text(reasons) : NULL;
	struct ddm_status_error *e;

	if (!is_name(item) || !text || r->errors->len >= DDM_ITEMS_MAX) {
		r->n_ignored++;
		return;
	}
	e = g_new(struct ddm_status_error, 1);
	*e = (struct ddm_status_error){g_strdup(item), g_steal_pointer(&text)};
	g_ptr_array_add(r->errors, e);
}

struct ddm_report *ddm_report_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(json_t) json = NULL;
	const json_t *items, *errors;
	struct ddm_report *r;

	if (len > DDM_STATUS_MAX) {
		pom_fail(error, POM_ERR_TOO_LARGE, "the status report has %zu bytes, at most %d are taken", len, DDM_STATUS_MAX);
		return NULL;
	}
	json = json_parse(data, len, error);
	if (!json)
		return NULL;
	if (!json_is_object(json)) {
		pom_fail(error, POM_ERR_DDM_STATUS, "a status report is a JSON object with StatusItems");
		return NULL;
	}
	r = g_new0(struct ddm_report, 1);
	r->changes = g_ptr_array_new_with_free_func(change_free);
	r->errors = g_ptr_array_new_with_free_func(status_error_free);
	r->declared = g_ptr_array_new_with_free_func(declared_free);
	r->full = json_is_true(json_object_get(json, "FullReport"));
	items = json_object_get(json, "StatusItems");
	errors = json_object_get(json, "Errors");
	if (json_object_size(items))
		add_item(r, "", items);
	else if (items && !json_is_object(items))
		r->n_ignored++;
	for (size_t i = 0; i < json_array_size(errors); i++)
		add_error(r, json_array_get(errors, i));
	return r;
}

/* ---- reasons ---- */

/* The reason without the case of its keys: the same is written in two ways. */
static const json_t *member(const json_t *object, const char *lower, const char *upper)
{
	const json_t *value = json_object_get(object, lower);

	return value ? value : json_object_get(object, upper);
}

static json_t *reason_json(const json_t *reason)
{
	const char *code = json_string_value(member(reason, "code", "Code"));
	g_autofree char *name = code ? g_strconcat("DDM:", code, NULL) : NULL;
	const struct apple_error *row = name ? apple_error_find_text(name) : NULL;
	const json_t *description = member(reason, "description", "Description"), *details = member(reason, "details", "Details");
	json_t *o = json_object();

	json_object_set_new(o, "code", code ? json_string(code) : json_null());
	json_object_set_new(o, "text", row ? json_string(row->meaning) : json_null());
	json_object_set_new(o, "look_at", row && row->look_at ? json_string(row->look_at) : json_null());
	json_object_set(o, "description", description ? (json_t *)(uintptr_t)description : json_null());
	json_object_set(o, "details", details ? (json_t *)(uintptr_t)details : json_null());
	return o;
}

json_t *ddm_reasons_json(const char *reasons)
{
	g_autoptr(json_t) list = reasons ? json_parse(reasons, strlen(reasons), NULL) : NULL;
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(list); i++)
		json_array_append_new(out, reason_json(json_array_get(list, i)));
	return out;
}
