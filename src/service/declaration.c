/* Declarations, as administrators put them in and ask. */
#include "service/declaration.h"

#include <string.h>

#include "core/declaration_lint.h"
#include "service/ddm_internal.h"
#include "store/library_store.h"

enum { LIST_MAX = 1000, TRIES = 8 };

/* ---- what comes in ---- */

struct incoming {
	struct declaration declaration;
	GPtrArray *findings, *references;
	GBytes *data;                /* plain; NULL: none */
	struct declaration_row before;
	bool known;
	store_load *load;
};

static void incoming_clear(struct incoming *in)
{
	declaration_clear(&in->declaration);
	declaration_row_clear(&in->before);
	g_clear_pointer(&in->findings, g_ptr_array_unref);
	g_clear_pointer(&in->references, g_ptr_array_unref);
	g_clear_pointer(&in->data, g_bytes_unref);
	g_clear_pointer(&in->load, store_load_free);
}

typedef struct incoming incoming_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(incoming_auto, incoming_clear)

static const char *data_type(const char *asset_type, GBytes *data)
{
	gsize len;
	const char *text = g_bytes_get_data(data, &len);

	if (!strcmp(asset_type, "com.apple.asset.credential.certificate"))
		return len > 10 && !memcmp(text, "-----BEGIN", 10) ? "application/pem" : "application/pkcs1";
	return g_str_has_prefix(asset_type, "com.apple.asset.credential.") ? "application/json" : "application/octet-stream";
}

/* The data that it shall have: new, or what is kept already. */
static bool find_data(struct service *service, const struct declaration_upload *upload, struct incoming *in, GError **error)
{
	const struct declaration *d = &in->declaration;

	if (upload->data && d->kind != DECLARATION_ASSET)
		return pom_fail(error, POM_ERR_DECLARATION, "only assets have data, not %s", d->type);
	if (upload->data && g_bytes_get_size(upload->data) > DECLARATION_DATA_MAX)
		return pom_fail(error, POM_ERR_TOO_LARGE, "the data has %zu bytes, at most %d are kept", (size_t)g_bytes_get_size(upload->data), DECLARATION_DATA_MAX);
	if (upload->data)
		in->data = g_bytes_ref(upload->data);
	else if (declaration_has_own_data(d) && in->known && in->before.data_sealed)
		in->data = seal_open(&service->seal, "declaration", d->identifier, "data", in->before.data_sealed, error);
	else if (declaration_has_own_data(d))
		return pom_fail(error, POM_ERR_DECLARATION, "Payload.Reference.DataURL is \"" DECLARATION_OWN_DATA "\", but no data was given (--content FILE)");
	else
		return true;
	return in->data != NULL;
}

static void put_data(const struct declaration_upload *upload, struct incoming *in)
{
	struct declaration *d = &in->declaration;
	const json_t *told = json_object_get(json_object_get(d->payload, "Reference"), "ContentType");
	uint8_t sha256[32];
	gsize len;
	const void *data;

	if (!in->data)
		return;
	data = g_bytes_get_data(in->data, &len);
	cert_sha256(data, len, sha256);
	declaration_set_data(d->payload, upload->content_type ? upload->content_type : told ? NULL : data_type(d->type, in->data), len, sha256);
}

/* ---- what it names ---- */

static bool check_reference(struct service *service, const struct declaration_reference *r, GPtrArray *findings, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct declaration_row row = {0};
	bool found = false;

	if (!store_declaration_get(service->store, r->target, &row, &found, &load, error))
		return false;
	if (!found)
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_REFERENCE, r->path, "names \"%.64s\", which is not there: add it first", r->target);
	else if (r->types && !declaration_type_fits(r->types, row.type))
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_REFERENCE, r->path, "names \"%.64s\", which is a %s; it must be %s", r->target, row.type, r->types);
	declaration_row_clear(&row);
	return true;
}

static void add_edge(GHashTable *edges, GPtrArray *texts, const char *from, const char *to)
{
	GPtrArray *list = g_hash_table_lookup(edges, from);
	char *key = g_strdup(from), *target = g_strdup(to);

	g_ptr_array_add(texts, key);
	g_ptr_array_add(texts, target);
	if (!list) {
		list = g_ptr_array_new();
		g_hash_table_insert(edges, key, list);
	}
	g_ptr_array_add(list, target);
}

/* Whether the way from what it names leads back to it. */
static bool check_cycle(struct service *service, const struct incoming *in, GError **error)
{
	g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) edges = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
	const char *identifier = in->declaration.identifier;
	g_autofree char *way = NULL;

	for (guint i = 0; i < in->references->len; i++) {
		const struct declaration_reference *r = g_ptr_array_index(in->references, i);
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_reference_reach(service->store, r->target, &load, error);

		if (!rows)
			return false;
		add_edge(edges, texts, identifier, r->target);
		for (guint k = 0; k < rows->len; k++)
			/* What it named before does not count. */
			if (strcmp(g_array_index(rows, struct edge_row, k).from, identifier))
				add_edge(edges, texts, g_array_index(rows, struct edge_row, k).from, g_array_index(rows, struct edge_row, k).to);
	}
	way = declaration_find_cycle(edges, identifier);
	return !way || pom_fail(error, POM_ERR_DECLARATION_CYCLE, "the declaration leads back to itself: %s", way);
}

static bool check_profile(struct service *service, const struct declaration *d, GPtrArray *findings, GError **error)
{
	const char *name = declaration_profile(d);
	g_autoptr(store_load) load = NULL;
	struct library_profile_row row;
	int64_t devices = 0, groups = 0;
	bool found;

	if (!name || !*name)
		return true;
	if (!store_library_get(service->store, name, false, &row, &found, &load, error) || (found && !store_assignment_count(service->store, name, &devices, &groups, error)))
		return false;
	if (!found || row.removing_ms)
		declaration_add_finding(findings, true, POM_ERR_DECLARATION_REFERENCE, "Payload.ProfileURL", "names the profile \"%.64s\", which is not in the library (\"pomona profile add\")", name);
	else if (devices || groups)
		declaration_add_finding(findings, false, POM_ERR_DECLARATION_REFERENCE, "Payload.ProfileURL", "the profile \"%.64s\" is also assigned to devices or groups: no device must get it both ways", name);
	return true;
}

/* A declaration that others name must stay what they expect. */
static bool check_type_kept(struct service *service, const struct incoming *in, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) names = NULL;

	if (!in->known || !strcmp(in->before.type, in->declaration.type))
		return true;
	names = store_declaration_named_by(service->store, in->declaration.identifier, &load, error);
	if (names && names->len)
		return pom_fail(error, POM_ERR_DECLARATION_USED, "\"%s\" is a %s and named by \"%s\": it cannot become a %s", in->declaration.identifier, in->before.type, (const char *)g_ptr_array_index(names, 0), in->declaration.type);
	return names != NULL;
}

static bool look_at(struct service *service, const struct declaration_upload *upload, struct incoming *in, GError **error)
{
	struct declaration *d = &in->declaration;

	if (!declaration_read(upload->declaration, d, error))
		return false;
	if (g_str_has_prefix(d->identifier, DDM_OWN_PREFIX))
		return pom_fail(error, POM_ERR_DECLARATION_IDENTIFIER, "Identifier \"%s\" begins with \"" DDM_OWN_PREFIX "\", as those do that Pomona makes itself", d->identifier);
	if (!store_declaration_get(service->store, d->identifier, &in->before, &in->known, &in->load, error) || !find_data(service, upload, in, error))
		return false;
	put_data(upload, in);
	in->findings = declaration_check(d);
	in->references = declaration_references(d);
	if (in->data)
		declaration_check_data(d->type, g_bytes_get_data(in->data, NULL), g_bytes_get_size(in->data), in->findings);
	for (guint i = 0; i < in->references->len; i++)
		if (!check_reference(service, g_ptr_array_index(in->references, i), in->findings, error))
			return false;
	return check_profile(service, d, in->findings, error) && check_type_kept(service, in, error) && check_cycle(service, in, error);
}

/* ---- adding ---- */

static bool put(struct service *service, const char *actor, const struct declaration_upload *upload, const struct incoming *in, const char *token, GError **error)
{
	const struct declaration *d = &in->declaration;
	g_autoptr(GBytes) body = declaration_body(d);
	struct declaration_row row = {
		.identifier = d->identifier, .type = d->type, .kind = d->kind, .token = token, .profile = declaration_profile(d), .forced = upload->force, .version = in->known ? in->before.version : 0,
	};
	bool ok;

	row.body_sealed = seal_close(&service->seal, "declaration", d->identifier, "body", g_bytes_get_data(body, NULL), g_bytes_get_size(body));
	if (in->data)
		row.data_sealed = seal_close(&service->seal, "declaration", d->identifier, "data", g_bytes_get_data(in->data, NULL), g_bytes_get_size(in->data));
	ok = store_declaration_put(service->store, &row, in->references, service_now_ms(service), AUDIT(actor, "declaration.add", d->identifier, audit_detail("type", d->type, "token", token, NULL)), error);
	declaration_row_clear(&row);
	return ok;
}

/* One try; *RET_FINDINGS transfer full. */
static bool add_once(struct service *service, const char *actor, const struct declaration_upload *upload, bool *ret_unchanged, char **ret_identifier, json_t **ret_findings, GError **error)
{
	g_auto(incoming_auto) in = {0};
	g_autofree char *token = NULL;

	if (!look_at(service, upload, &in, error) || (!upload->force && !declaration_check_fail(in.findings, error)))
		return false;
	token = declaration_token(&in.declaration);
	*ret_unchanged = in.known && !strcmp(token, in.before.token);
	if (!*ret_unchanged && !put(service, actor, upload, &in, token, error))
		return false;
	*ret_identifier = g_strdup(in.declaration.identifier);
	*ret_findings = declaration_findings_json(in.findings);
	return true;
}

bool ddm_is_same(struct service *service, const struct declaration_upload *upload, bool *ret, GError **error)
{
	g_auto(incoming_auto) in = {0};
	g_autofree char *token = NULL;

	if (!declaration_read(upload->declaration, &in.declaration, error) || !store_declaration_get(service->store, in.declaration.identifier, &in.before, &in.known, &in.load, error) ||
	    !find_data(service, upload, &in, error))
		return false;
	put_data(upload, &in);
	token = declaration_token(&in.declaration);
	*ret = in.known && !strcmp(token, in.before.token);
	return true;
}

json_t *service_declaration_add(struct service *service, const char *actor, const struct declaration_upload *upload, GError **error)
{
	g_autofree char *identifier = NULL;
	json_t *findings = NULL, *o;
	GError *inner = NULL;
	bool unchanged = false;

	for (int i = 0; i < TRIES && !identifier; i++) {
		g_clear_error(&inner);
		if (!add_once(service, actor, upload, &unchanged, &identifier, &findings, &inner) && !g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT))
			break;
	}
	if (!identifier) {
		service_fail_again(error, inner);
		return NULL;
	}
	g_clear_error(&inner);
	ddm_nudge(service);
	o = service_declaration_show(service, identifier, error);
	if (o) {
		json_object_set_new(o, "unchanged", json_boolean(unchanged));
		json_object_set(o, "findings", findings);
	}
	json_decref(findings);
	return o;
}

json_t *service_declaration_lint(struct service *service, const struct declaration_upload *upload, GError **error)
{
	g_auto(incoming_auto) in = {0};
	g_autoptr(lint_report) report = NULL;
	json_t *reply;

	if (!look_at(service, upload, &in, error))
		return NULL;
	report = lint_report_new(in.declaration.identifier);
	declaration_lint_add(report, in.findings, "");
	reply = finding_report_format(report->found);
	json_set_text(reply, "identifier", in.declaration.identifier);
	json_set_text(reply, "type", in.declaration.type);
	return reply;
}

/* ---- reading ---- */

static json_t *row_json(const struct declaration_row *d)
{
	g_autofree char *token = ddm_effective_token(d->token, d->profile_version);
	json_t *o = json_object();

	json_set_text(o, "identifier", d->identifier);
	json_set_text(o, "type", d->type);
	json_set_text(o, "kind", declaration_kind_name((enum declaration_kind)d->kind));
	json_set_text(o, "token", token);
	json_set_text(o, "profile", d->profile);
	json_object_set_new(o, "has_data", json_boolean(d->data_size > 0));
	json_object_set_new(o, "forced", json_boolean(d->forced));
	json_object_set_new(o, "created_at", json_time(d->created_ms));
	json_object_set_new(o, "updated_at", json_time(d->updated_ms));
	return o;
}

json_t *service_declaration_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_declaration_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct declaration_row *row = &g_array_index(rows, struct declaration_row, i);

		json_array_append_new(items, row_json(row));
		last = row->identifier;
	}
	return json_page(items, last, limit);
}

static json_t *texts_json(const GPtrArray *texts)
{
	json_t *list = json_array();

	for (guint i = 0; i < texts->len; i++)
		json_array_append_new(list, json_string(g_ptr_array_index(texts, i)));
	return list;
}

static json_t *counts_json(const GArray *counts)
{
	json_t *o = json_object();

	for (guint i = 0; i < counts->len; i++) {
		const struct declared_count *c = &g_array_index(counts, struct declared_count, i);
		const char *word = !strcmp(c->valid, "valid") ? (c->active ? "active" : "inactive") : c->valid;

		json_object_set_new(o, word, json_integer(json_integer_value(json_object_get(o, word)) + c->n));
	}
	return o;
}

static bool add_around(struct service *service, const char *identifier, json_t *o, GError **error)
{
	g_autoptr(store_load) sets_load = NULL, names_load = NULL, refs_load = NULL, counts_load = NULL;
	g_autoptr(GPtrArray) sets = store_declaration_sets(service->store, identifier, &sets_load, error), names = sets ? store_declaration_named_by(service->store, identifier, &names_load, error) : NULL;
	g_autoptr(GArray) refs = names ? store_reference_list(service->store, identifier, &refs_load, error) : NULL, counts = refs ? store_declared_counts(service->store, identifier, &counts_load, error) : NULL;
	json_t *list = json_array();

	json_object_set_new(o, "references", list);
	for (guint i = 0; counts && i < refs->len; i++) {
		const struct reference_row *r = &g_array_index(refs, struct reference_row, i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "path", r->path, "identifier", r->target, "there", r->type != NULL));
	}
	if (!counts)
		return false;
	json_object_set_new(o, "sets", texts_json(sets));
	json_object_set_new(o, "named_by", texts_json(names));
	json_object_set_new(o, "devices", counts_json(counts));
	return true;
}

json_t *service_declaration_show(struct service *service, const char *identifier, GError **error)
{
	struct ddm_opened opened;
	json_t *o;

	if (!ddm_open(service, identifier, &opened, error))
		return NULL;
	o = row_json(&opened.row);
	json_object_set(o, "payload", opened.declaration.payload);
	ddm_opened_clear(&opened);
	if (add_around(service, identifier, o, error))
		return o;
	json_decref(o);
	return NULL;
}

json_t *service_declaration_devices(struct service *service, const char *identifier, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_declared_devices(service->store, identifier, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct declared_device *row = &g_array_index(rows, struct declared_device, i);
		json_t *o = json_object();

		json_set_text(o, "id", row->enrollment_id);
		json_set_text(o, "udid", row->device_id);
		json_set_text(o, "serial", row->serial);
		json_set_text(o, "device_name", row->device_name);
		json_object_set_new(o, "active", json_boolean(row->active));
		json_set_text(o, "valid", row->valid);
		json_object_set_new(o, "reasons", ddm_reasons_json(row->reasons));
		json_object_set_new(o, "learnt_at", json_time(row->learnt_ms));
		json_array_append_new(items, o);
		last = row->enrollment_id;
	}
	return json_page(items, last, limit);
}

/* ---- removing ---- */

json_t *service_declaration_remove(struct service *service, const char *actor, const char *identifier, bool force, GError **error)
{
	g_autoptr(store_load) load = NULL, sets_load = NULL, names_load = NULL;
	g_autoptr(GPtrArray) sets = NULL, names = NULL;
	struct declaration_row row = {0};
	bool found;

	if (!store_declaration_get(service->store, identifier, &row, &found, &load, error))
		return NULL;
	declaration_row_clear(&row);
	if (!found) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no declaration \"%.64s\"", identifier);
		return NULL;
	}
	sets = store_declaration_sets(service->store, identifier, &sets_load, error);
	names = sets ? store_declaration_named_by(service->store, identifier, &names_load, error) : NULL;
	if (!names)
		return NULL;
	if (!force && (sets->len || names->len)) {
		pom_fail(error, POM_ERR_DECLARATION_USED, "the declaration \"%s\" is %s \"%s\": take it out first, or use --force", identifier, sets->len ? "in the set" : "named by",
		         (const char *)g_ptr_array_index(sets->len ? sets : names, 0));
		return NULL;
	}
	if (!store_declaration_remove(service->store, identifier, service_now_ms(service), AUDIT(actor, "declaration.remove", identifier, NULL), error))
		return NULL;
	ddm_nudge(service);
	return json_pack("{s:s, s:b}", "identifier", identifier, "removed", 1);
}

/* ---- on a device ---- */

static json_t *declared_json(const struct declared_row *r)
{
	json_t *o = json_object();

	json_set_text(o, "identifier", r->identifier);
	json_set_text(o, "kind", declaration_kind_name((enum declaration_kind)r->kind));
	json_object_set_new(o, "active", json_boolean(r->active));
	json_set_text(o, "valid", r->valid);
	json_set_text(o, "reported_token", r->token);
	json_object_set_new(o, "reasons", ddm_reasons_json(r->reasons));
	json_object_set_new(o, "learnt_at", json_time(r->learnt_ms));
	json_object_set_new(o, "listed", json_false());
	json_object_set_new(o, "current", json_false());
	return o;
}

/* Identifier → object, of what is listed and what is reported. */
static void merge_listed(GHashTable *all, GBytes *manifest, enum declaration_kind kind, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *identifier = json_string_value(json_object_get(json_array_get(list, i), "Identifier")), *token = json_string_value(json_object_get(json_array_get(list, i), "ServerToken"));
		json_t *o = g_hash_table_lookup(all, identifier);

		if (!o) {
			o = json_object();
			json_set_text(o, "identifier", identifier);
			json_set_text(o, "kind", declaration_kind_name(kind));
			json_set_text(o, "valid", "not reported");
			json_object_set_new(o, "active", json_false());
			json_object_set_new(o, "reasons", json_array());
			g_hash_table_insert(all, g_strdup(identifier), o);
		}
		json_set_text(o, "token", token);
		json_object_set_new(o, "listed", json_true());
		json_object_set_new(o, "current", json_boolean(!g_strcmp0(token, json_string_value(json_object_get(o, "reported_token")))));
	}
}

static bool merge_all(struct service *service, const char *row_id, int64_t epoch, GHashTable *all, GError **error)
{
	static const char *const names[] = {"Activations", "Configurations", "Assets", "Management"};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_declared_of(service->store, row_id, &load, error);
	struct ddm_listed listed = {0};
	g_autoptr(json_t) json = NULL;

	if (!rows || !store_ddm_listed(service->store, row_id, epoch, &listed, error))
		return false;
	for (guint i = 0; i < rows->len; i++) {
		const struct declared_row *r = &g_array_index(rows, struct declared_row, i);

		g_hash_table_insert(all, g_strdup(r->identifier), declared_json(r));
	}
	json = listed.items ? json_parse(g_bytes_get_data(listed.items, NULL), g_bytes_get_size(listed.items), NULL) : NULL;
	for (unsigned k = 0; k < G_N_ELEMENTS(names); k++)
		merge_listed(all, listed.items, (enum declaration_kind)k, json_object_get(json_object_get(json, "Declarations"), names[k]));
	ddm_listed_clear(&listed);
	return true;
}

static void json_unref(void *json)
{
	json_decref(json);
}

static bool add_state(struct service *service, const char *row_id, json_t *o, int64_t *ret_epoch, GError **error)
{
	g_autoptr(store_load) load = NULL, sets_load = NULL;
	g_autoptr(GPtrArray) sets = store_sets_of(service->store, row_id, &sets_load, error);
	struct ddm_facts f;
	bool found;

	if (!sets || !store_ddm_facts(service->store, row_id, &f, &found, &load, error))
		return false;
	*ret_epoch = f.active_epoch;
	json_set_text(o, "id", row_id);
	json_object_set_new(o, "sets", texts_json(sets));
	json_set_text(o, "token", f.version && f.epoch == f.active_epoch ? f.token : NULL);
	json_object_set_new(o, "told", json_boolean(f.version && f.epoch == f.active_epoch && !g_strcmp0(f.token, f.told)));
	json_object_set_new(o, "changed_at", json_time(f.changed_ms));
	json_object_set_new(o, "told_at", json_time(f.told_ms));
	json_object_set_new(o, "status_at", json_time(f.status_ms));
	json_set_text(o, "command_uuid", f.waiting);
	json_set_text(o, "reason", f.reason);
	return true;
}

json_t *service_device_declarations(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autofree char *row_id = ddm_resolve(service, id, error);
	g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, json_unref);
	g_autoptr(json_t) state = json_object(), page = NULL;
	g_autoptr(GList) names = NULL;
	const char *last = NULL;
	json_t *items = json_array();
	int64_t epoch = 0, n = 0;

	limit = CLAMP(limit, 1, LIST_MAX);
	if (!row_id || !add_state(service, row_id, state, &epoch, error) || !merge_all(service, row_id, epoch, all, error)) {
		json_decref(items);
		return NULL;
	}
	names = g_list_sort(g_hash_table_get_keys(all), (GCompareFunc)strcmp);
	for (GList *l = names; l && n < limit; l = l->next)
		if (strcmp(l->data, after) > 0) {
			json_array_append(items, g_hash_table_lookup(all, l->data));
			last = l->data;
			n++;
		}
	page = json_page(items, last, limit);
	json_object_update(state, page);
	return g_steal_pointer(&state);
}

json_t *service_device_status(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autofree char *row_id = ddm_resolve(service, id, error), *item = g_strndup(after, strcspn(after, "/")), *last = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = row_id ? store_status_list(service->store, row_id, item, after[strlen(item)] ? after + strlen(item) + 1 : "", limit, &load, error) : NULL;
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct status_row *r = &g_array_index(rows, struct status_row, i);
		json_t *o = json_object(), *value = r->value ? json_parse(r->value, strlen(r->value), NULL) : NULL;

		json_set_text(o, "item", r->item);
		json_set_text(o, "element", *r->element ? r->element : NULL);
		json_object_set_new(o, "value", value ? value : json_null());
		json_object_set_new(o, "reasons", ddm_reasons_json(r->reasons));
		json_object_set_new(o, "learnt_at", json_time(r->learnt_ms));
		json_array_append_new(items, o);
		g_free(last);
		last = g_strdup_printf("%s/%s", r->item, r->element);
	}
	return json_page(items, last, limit);
}
