/* The library of profiles: what administrators put in, assign and ask. */
#include "service/library.h"

#include <string.h>

#include "base/log.h"
#include "codec/plist_binary.h"
#include "core/enroll.h"
#include "core/variables.h"
#include "keys/profile_file.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/library_device.h"

enum { LIST_MAX = 1000, ADD_TRIES = 8, TARGETS_MAX = 1000, DISPLAY_MAX = 255 };

/* ---- what comes in ---- */

/* A profile that was uploaded, looked at. */
struct incoming {
	plist *outer, *content; /* content: decrypted; NULL: it is not encrypted */
	bool is_signed;
	const char *identifier, *uuid;
	char *display_name, *secret;
};

static void incoming_clear(struct incoming *in)
{
	g_clear_pointer(&in->outer, plist_free);
	g_clear_pointer(&in->content, plist_free);
	g_clear_pointer(&in->display_name, g_free);
	g_clear_pointer(&in->secret, g_free);
}

typedef struct incoming incoming_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(incoming_auto, incoming_clear)

static const plist *tree_of(const struct incoming *in)
{
	return in->content ? in->content : in->outer;
}

/* A CMS message that is none, has no certificate, or does not verify, is "signed but broken" whatever it is. */
static bool parse_outer(GBytes *file, struct incoming *in, GError **error)
{
	gsize len;
	const uint8_t *data = g_bytes_get_data(file, &len);
	g_autoptr(GError) inner = NULL;

	if (!len)
		return pom_fail(error, POM_ERR_PROFILE, "the file is empty");
	if (len > LIBRARY_PROFILE_MAX)
		return pom_fail(error, POM_ERR_TOO_LARGE, "the profile has %zu bytes; the library takes %d MiB at most, so that it fits into a command", (size_t)len, LIBRARY_PROFILE_MAX >> 20);
	in->outer = mobileconfig_parse(data, len, &in->is_signed, &inner);
	if (in->outer)
		return true;
	if (*data == 0x30 && inner->code != POM_ERR_PROFILE && inner->code != POM_ERR_PLIST_KEY)
		return pom_fail(error, POM_ERR_LIBRARY_SIGNATURE, "the profile is signed, but broken: %s. Sign it again, or add it unsigned: then Pomona signs it", inner->message);
	g_propagate_error(error, g_steal_pointer(&inner));
	return false;
}

static bool decrypt(struct service *service, GBytes *key, struct incoming *in, GError **error)
{
	g_autoptr(GError) inner = NULL;
	g_autoptr(signer) signer = NULL;

	if (!key)
		return pom_fail(error, POM_ERR_LIBRARY_ENCRYPTED, "the profile is encrypted (EncryptedPayloadContent): it can only be encrypted again to each device, so give the private key that it was encrypted to"
		                " with --key, or add it unencrypted and let Pomona encrypt it");
	signer = signer_parse_any(g_bytes_get_data(key, NULL), g_bytes_get_size(key), NULL, &inner);
	in->content = signer ? profile_decrypt(in->outer, signer, NULL, service->random, &inner) : NULL;
	if (!in->content || !mobileconfig_check(in->content, &inner))
		return pom_fail(error, POM_ERR_LIBRARY_ENCRYPTED, "the encrypted profile cannot be read with this key: %s", inner->message);
	return true;
}

static bool check_identifier(struct service *service, const char *identifier, GError **error)
{
	if (!enroll_is_own_identifier(service->settings.url, identifier, false))
		return true;
	return pom_fail(error, POM_ERR_LIBRARY_REFUSED, "PayloadIdentifier \"%s\" is that of Pomona's own enrollment profiles: installing this one would replace the enrollment", identifier);
}

static bool look_at(struct service *service, const struct library_upload *upload, struct incoming *in, GError **error)
{
	const char *name;

	if (!parse_outer(upload->file, in, error))
		return false;
	if (profile_is_encrypted(in->outer) ? !decrypt(service, upload->key, in, error) : upload->key && !pom_fail(error, POM_ERR_BAD_REQUEST, "a key was given, but the profile is not encrypted"))
		return false;
	in->identifier = plist_get_string(plist_dict_get(in->outer, "PayloadIdentifier"));
	in->uuid = plist_get_string(plist_dict_get(in->outer, "PayloadUUID"));
	name = plist_get_string(plist_dict_get(in->outer, "PayloadDisplayName"));
	in->display_name = name ? g_strndup(name, DISPLAY_MAX) : NULL;
	if (in->display_name && !g_utf8_validate(in->display_name, -1, NULL)) {
		g_autofree char *cut = g_steal_pointer(&in->display_name);

		in->display_name = g_utf8_make_valid(cut, -1);
	}
	in->secret = library_find_secret(tree_of(in));
	return library_check(tree_of(in), service_now_ms(service) / 1000, error) && check_identifier(service, in->identifier, error);
}

/* What is done with it; strings are static. */
struct choices { enum library_choice sign, encrypt, variables; };

static bool choose(const char *what, const char *wished, const char *before, enum library_choice *ret, GError **error)
{
	*ret = library_choice_find(wished ? wished : before ? before : "auto");
	return *ret != LIBRARY_CHOICE_MAX || pom_fail(error, POM_ERR_BAD_REQUEST, "%s must be auto, always (on) or never (off), not \"%.32s\"", what, wished);
}

/* Whether variables are to be replaced. */
static bool check_variables(const struct incoming *in, enum library_choice choice, bool *ret_substitute, GError **error)
{
	size_t n = 0;

	if (choice != LIBRARY_NEVER && !variables_check(tree_of(in), &n, error))
		return false;
	if (n && in->is_signed && choice == LIBRARY_AUTO)
		return pom_fail(error, POM_ERR_VARIABLE, "the profile is signed, and has variables: replacing them would break its signature. Use --variables off to keep it as it is, or --variables on to have Pomona take"
		                " it out of its signature and sign it itself");
	*ret_substitute = n > 0;
	return true;
}

/* ---- JSON ---- */

static const char *yes_no(enum library_choice choice)
{
	static const char *const names[] = {"auto", "on", "off"};

	return names[choice];
}

static json_t *profile_json(const struct library_profile_row *p)
{
	json_t *o = json_object();

	json_set_text(o, "name", p->name);
	json_set_text(o, "identifier", p->identifier);
	json_set_text(o, "display_name", p->display_name);
	json_object_set_new(o, "version", json_integer(p->newest));
	json_set_text(o, "uuid", p->uuid);
	json_object_set_new(o, "size", json_integer(p->size));
	json_object_set_new(o, "signed", json_boolean(p->is_signed));
	json_set_text(o, "sign", p->sign);
	json_set_text(o, "encrypt", p->encrypt);
	json_set_text(o, "variables", yes_no(library_choice_find(p->variables)));
	json_object_set_new(o, "has_variables", json_boolean(p->substitute));
	json_set_text(o, "secret", p->secret);
	json_set_text(o, "state", p->removing_ms ? "removing" : "active");
	json_object_set_new(o, "created_at", json_time(p->created_ms));
	json_object_set_new(o, "updated_at", json_time(p->updated_ms));
	return o;
}

static char *hex(const uint8_t *bytes, size_t n)
{
	GString *text = g_string_sized_new(n * 2);

	for (size_t i = 0; i < n; i++)
		g_string_append_printf(text, "%02x", bytes[i]);
	return g_string_free(text, FALSE);
}

static json_t *version_json(const struct library_version_row *v)
{
	g_autofree char *sha256 = hex(v->sha256, 32);
	json_t *o = json_object();

	json_object_set_new(o, "version", json_integer(v->number));
	json_set_text(o, "sha256", sha256);
	json_object_set_new(o, "size", json_integer(v->size));
	json_set_text(o, "uuid", v->uuid);
	json_set_text(o, "display_name", v->display_name);
	json_object_set_new(o, "signed", json_boolean(v->is_signed));
	json_set_text(o, "sign", v->sign);
	json_set_text(o, "encrypt", v->encrypt);
	json_set_text(o, "variables", yes_no(library_choice_find(v->variables)));
	json_object_set_new(o, "has_variables", json_boolean(v->substitute));
	json_set_text(o, "secret", v->secret);
	json_set_text(o, "added_by", v->actor);
	json_object_set_new(o, "created_at", json_time(v->created_ms));
	return o;
}

/* ---- adding ---- */

static bool load_profile(struct service *service, const char *name, struct library_profile_row *ret, store_load **ret_load, GError **error)
{
	bool found;

	if (!store_library_get(service->store, name, false, ret, &found, ret_load, error))
		return false;
	return found || pom_fail(error, POM_ERR_NOT_FOUND, "there is no profile \"%.64s\" in the library (\"pomona profile list\")", name);
}

/* The name that it goes by, transfer full, and what is there under it (number 0: nothing). */
static char *find_place(struct service *service, const struct library_upload *upload, const struct incoming *in, struct library_version_row *before, store_load **before_load, GError **error)
{
	g_autoptr(store_load) same_load = NULL, named_load = NULL;
	struct library_profile_row same, named;
	bool has_same, has_named;
	g_autofree char *name = NULL;

	if (upload->name && !library_name_check("a profile", upload->name, error))
		return NULL;
	if (!store_library_get(service->store, in->identifier, true, &same, &has_same, &same_load, error))
		return NULL;
	name = upload->name ? g_strdup(upload->name) : has_same ? g_strdup(same.name) : library_name_from(in->identifier);
	if (has_same && strcmp(same.name, name)) {
		pom_fail(error, POM_ERR_LIBRARY_TAKEN, "the profile \"%s\" has the PayloadIdentifier %s already, and would be replaced by this one on devices: add it as a version of that one (--name %s), or give it another identifier",
		         same.name, in->identifier, same.name);
		return NULL;
	}
	if (!store_library_get(service->store, name, false, &named, &has_named, &named_load, error))
		return NULL;
	if (has_named && strcmp(named.identifier, in->identifier)) {
		pom_fail(error, POM_ERR_LIBRARY_TAKEN, "the profile \"%s\" has the PayloadIdentifier %s, and a new version must have it too; this one has %s: give it another name with --name", name, named.identifier, in->identifier);
		return NULL;
	}
	if (has_named && named.removing_ms) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile \"%s\" is being removed from devices; it can be added again when that is done", name);
		return NULL;
	}
	if (has_named && !store_library_version(service->store, name, 0, before, before_load, error))
		return NULL;
	return g_steal_pointer(&name);
}

static bool is_same(const struct library_version_row *before, const struct library_version_row *v)
{
	return before->number && !memcmp(before->sha256, v->sha256, 32) && !strcmp(before->sign, v->sign) && !strcmp(before->encrypt, v->encrypt) && !strcmp(before->variables, v->variables);
}

static bool seal_version(struct service *service, const char *name, const struct library_upload *upload, const struct incoming *in, struct library_version_row *v, GError **error)
{
	g_autofree char *seal_row = library_seal_row(name, v->number);
	g_autoptr(GBytes) content = in->content ? plist_format(in->content, error) : NULL;

	if (in->content && !content)
		return false;
	v->body_sealed = seal_close(&service->seal, "profile_version", seal_row, "body", g_bytes_get_data(upload->file, NULL), g_bytes_get_size(upload->file));
	if (content)
		v->content_sealed = seal_close(&service->seal, "profile_version", seal_row, "content", g_bytes_get_data(content, NULL), g_bytes_get_size(content));
	return true;
}

static void nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

/* One try; *RET_NAME transfer full. */
static bool add_once(struct service *service, const char *actor, const struct library_upload *upload, const struct incoming *in, char **ret_name, bool *ret_unchanged, GError **error)
{
	g_autoptr(store_load) before_load = NULL;
	struct library_version_row before = {0}, v = {0};
	g_autofree char *name = find_place(service, upload, in, &before, &before_load, error), *number = NULL;
	uint8_t sha256[32];
	struct choices choices;
	bool substitute = false, ok;

	ok = name && choose("sign", upload->sign, before.sign, &choices.sign, error) && choose("encrypt", upload->encrypt, before.encrypt, &choices.encrypt, error) &&
	     choose("variables", upload->variables, before.variables, &choices.variables, error) && check_variables(in, choices.variables, &substitute, error);
	if (ok) {
		cert_sha256(g_bytes_get_data(upload->file, NULL), g_bytes_get_size(upload->file), sha256);
		v = (struct library_version_row){
			.number = before.number + 1, .size = (int64_t)g_bytes_get_size(upload->file), .is_signed = in->is_signed, .substitute = substitute, .created_ms = service_now_ms(service), .sha256 = sha256,
			.sign = library_choice_name(choices.sign), .encrypt = library_choice_name(choices.encrypt), .variables = library_choice_name(choices.variables), .secret = in->secret, .uuid = in->uuid,
			.display_name = in->display_name, .actor = actor, .identifier = in->identifier,
		};
		*ret_unchanged = is_same(&before, &v);
		number = g_strdup_printf("%" G_GINT64_FORMAT, v.number);
		ok = *ret_unchanged || (seal_version(service, name, upload, in, &v, error) &&
		                        store_library_add(service->store, name, &v, AUDIT(actor, "profile.add", name, audit_detail("version", number, "identifier", in->identifier, NULL)), error));
	}
	library_version_clear(&before);
	library_version_clear(&v);
	if (ok)
		*ret_name = g_steal_pointer(&name);
	return ok;
}

/* What the linter says of it: nothing is refused for that, because an author may know better, and variables are not what they will be. transfer full. */
static json_t *lint(struct service *service, const struct library_upload *upload, const struct incoming *in)
{
	g_autoptr(GBytes) content = in->content ? plist_format(in->content, NULL) : NULL;

	const struct profile_file_lint how = {.at_s = service_now_ms(service) / 1000};
	g_autoptr(lint_report) report = profile_file_lint(content ? content : upload->file, &how, service->random);

	return lint_format(report);
}

/* What some tools write is binary; devices are sent, and administrators get back, XML. transfer full. */
static GBytes *take_xml(GBytes *file, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	g_autoptr(plist) tree = NULL;

	if (!plist_is_binary(data, len))
		return g_bytes_ref(file);
	tree = plist_parse_binary(data, len, NULL, NULL, error);
	return tree ? plist_format(tree, error) : NULL;
}

static json_t *add(struct service *service, const char *actor, const struct library_upload *upload, GError **error)
{
	g_auto(incoming_auto) in = {0};
	g_autofree char *name = NULL;
	GError *inner = NULL;
	bool unchanged = false;
	json_t *o;

	if (!look_at(service, upload, &in, error))
		return NULL;
	for (int i = 0; i < ADD_TRIES && !name; i++) {
		g_clear_error(&inner);
		if (!add_once(service, actor, upload, &in, &name, &unchanged, &inner) && !g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT))
			break;
	}
	if (!name) {
		service_fail_again(error, inner);
		return NULL;
	}
	g_clear_error(&inner);
	nudge(service);
	o = service_library_show(service, name, error);
	if (o) {
		json_object_set_new(o, "unchanged", json_boolean(unchanged));
		json_object_set_new(o, "lint", lint(service, upload, &in));
	}
	return o;
}

json_t *service_library_add(struct service *service, const char *actor, const struct library_upload *upload, GError **error)
{
	g_autoptr(GBytes) xml = take_xml(upload->file, error);
	struct library_upload as_xml = *upload;

	as_xml.file = xml;
	return xml ? add(service, actor, &as_xml, error) : NULL;
}

/* ---- reading ---- */

json_t *service_library_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_library_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct library_profile_row *row = &g_array_index(rows, struct library_profile_row, i);

		json_array_append_new(items, profile_json(row));
		last = row->name;
	}
	return json_page(items, last, limit);
}

/* How many devices are in each state, as people see it. */
static json_t *counts_json(const GArray *counts)
{
	json_t *o = json_object();

	for (guint i = 0; i < counts->len; i++) {
		const struct library_count *c = &g_array_index(counts, struct library_count, i);
		const char *shown = library_state_shown(library_state_find(c->state));

		json_object_set_new(o, shown, json_integer(json_integer_value(json_object_get(o, shown)) + c->n));
	}
	return o;
}

static json_t *assignments_json(const GArray *rows, const char *kind)
{
	json_t *list = json_array();

	for (guint i = 0; i < rows->len; i++)
		if (!strcmp(g_array_index(rows, struct assignment_row, i).kind, kind))
			json_array_append_new(list, json_string(g_array_index(rows, struct assignment_row, i).target));
	return list;
}

json_t *service_library_show(struct service *service, const char *name, GError **error)
{
	g_autoptr(store_load) load = NULL, assigned_load = NULL, counts_load = NULL;
	g_autoptr(GArray) assigned = NULL, counts = NULL;
	struct library_profile_row row;
	int64_t done, left;
	json_t *o;

	if (!load_profile(service, name, &row, &load, error) || !(assigned = store_assignment_list(service->store, name, &assigned_load, error)) ||
	    !(counts = store_library_counts(service->store, name, &counts_load, error)) || !store_library_progress(service->store, name, &done, &left, error))
		return NULL;
	o = profile_json(&row);
	json_object_set_new(o, "devices", assignments_json(assigned, "device"));
	json_object_set_new(o, "groups", assignments_json(assigned, "group"));
	json_object_set_new(o, "states", counts_json(counts));
	json_object_set_new(o, "looked_at", json_integer(done));
	json_object_set_new(o, "to_look_at", json_integer(left));
	return o;
}

json_t *service_library_versions(struct service *service, const char *name, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL, rows_load = NULL;
	g_autoptr(GArray) rows = NULL;
	g_autofree char *last = NULL;
	struct library_profile_row row;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	if (!load_profile(service, name, &row, &load, error) || !(rows = store_library_versions(service->store, name, g_ascii_strtoll(after, NULL, 10), limit, &rows_load, error)))
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++)
		json_array_append_new(items, version_json(&g_array_index(rows, struct library_version_row, i)));
	if (rows->len)
		last = g_strdup_printf("%" G_GINT64_FORMAT, g_array_index(rows, struct library_version_row, rows->len - 1).number);
	return json_page(items, last, limit);
}

json_t *service_library_get(struct service *service, const char *name, int64_t number, GError **error)
{
	struct library_opened o;
	g_autofree char *text = NULL;
	json_t *json;

	if (!library_open(service, name, number, &o, error))
		return NULL;
	text = g_base64_encode(g_bytes_get_data(o.body, NULL), g_bytes_get_size(o.body));
	json = version_json(&o.row);
	json_set_text(json, "name", name);
	json_set_text(json, "file", text);
	explicit_bzero(text, strlen(text));
	library_opened_clear(&o);
	return json;
}

json_t *service_library_remove(struct service *service, const char *actor, const char *name, bool force, GError **error)
{
	g_autoptr(store_load) load = NULL, rest_load = NULL;
	struct library_profile_row row;
	int64_t devices, groups;
	bool more, found;
	size_t n;

	if (!load_profile(service, name, &row, &load, error) || !store_assignment_count(service->store, name, &devices, &groups, error))
		return NULL;
	if ((devices || groups) && !force) {
		pom_fail(error, POM_ERR_LIBRARY_ASSIGNED, "the profile \"%s\" is assigned to %" G_GINT64_FORMAT " devices and %" G_GINT64_FORMAT " groups: unassign it first, or use --force, which takes it from all of them", name,
		         devices, groups);
		return NULL;
	}
	if (!row.removing_ms && !store_library_remove(service->store, name, service_now_ms(service), AUDIT(actor, "profile.remove", name, audit_detail("identifier", row.identifier, NULL)), error))
		return NULL;
	/* What no device has is gone at once; a large rest is the janitor's. */
	if (!service_library_work(service, &more, error) || !store_library_purge(service->store, &n, error) || !store_library_get(service->store, name, false, &row, &found, &rest_load, error))
		return NULL;
	nudge(service);
	return json_pack("{s:s, s:b, s:s}", "name", name, "removed", !found, "state", found ? "removing" : "removed");
}

/* ---- assigning ---- */

/* Enrollment ids for what people typed: NULL-terminated, transfer full. */
static char **resolve_all(struct service *service, const char *const *devices, GError **error)
{
	g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; devices && devices[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct enrollment_row row;

		if (i == TARGETS_MAX) {
			pom_fail(error, POM_ERR_LIMIT, "at most %d devices at once; put more into a group", TARGETS_MAX);
			return NULL;
		}
		if (!store_enrollment_get(service->store, devices[i], &row, &load, error))
			return NULL;
		g_ptr_array_add(ids, g_strdup(row.id));
	}
	g_ptr_array_add(ids, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&ids), FALSE);
}

/* Whether the device has what the profile's variables stand for. */
static bool check_values(struct service *service, const GPtrArray *names, const char *id, GError **error)
{
	g_autoptr(library_values) values = library_values_load(service, id, error);

	for (guint i = 0; values && i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i), *value = library_values_get(values, name);

		if (!value)
			return pom_fail(error, POM_ERR_VARIABLE_VALUE, "device %s has no value for ${%s}%s", id, name,
			                g_str_has_prefix(name, "attr.") || g_str_has_prefix(name, "user.") ? ": give it one with \"pomona device set\"" : ": it has not told it yet");
		if (!variable_value_check(name, value, error))
			return false;
	}
	return values != NULL;
}

static bool check_all_values(struct service *service, const char *name, char *const *ids, GError **error)
{
	g_autoptr(GPtrArray) names = NULL;
	struct library_opened o;

	if (!ids[0])
		return true;
	if (!library_open(service, name, 0, &o, error))
		return false;
	names = o.row.substitute ? variables_names(o.tree) : g_ptr_array_new();
	library_opened_clear(&o);
	for (size_t i = 0; names->len && ids[i]; i++)
		if (!check_values(service, names, ids[i], error))
			return false;
	return true;
}

static bool check_groups(struct service *service, const char *const *groups, GError **error)
{
	for (size_t i = 0; groups && groups[i]; i++) {
		g_autoptr(store_load) load = NULL;
		struct group_row row;

		if (!store_group_get(service->store, groups[i], &row, &load, error))
			return false;
	}
	return true;
}

static bool check_targets(const char *const *devices, const char *const *groups, GError **error)
{
	return (devices && devices[0]) || (groups && groups[0]) || pom_fail(error, POM_ERR_BAD_REQUEST, "name at least one device or group");
}

/* Devices that were named are looked at in the request itself: who assigns one wants to see it. The work row is for when this process ends first. */
static bool look_at_named(struct service *service, char *const *ids, const char *name, GError **error)
{
	for (size_t i = 0; ids[i]; i++)
		if (!service_library_reconcile(service, ids[i], name, false, NULL, error))
			return false;
	nudge(service);
	return true;
}

json_t *service_library_assign(struct service *service, const char *actor, const char *name, const char *const *devices, const char *const *groups, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_auto(GStrv) ids = NULL;
	struct library_profile_row row;
	int64_t now_ms = service_now_ms(service);

	if (!check_targets(devices, groups, error) || !load_profile(service, name, &row, &load, error))
		return NULL;
	if (row.removing_ms) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile \"%s\" is being removed", name);
		return NULL;
	}
	ids = resolve_all(service, devices, error);
	if (!ids || !check_groups(service, groups, error) || !check_all_values(service, name, ids, error))
		return NULL;
	for (size_t i = 0; groups && groups[i]; i++)
		if (!store_assign(service->store, name, "group", (const char *const[]){groups[i], NULL}, now_ms, AUDIT(actor, "profile.assign", name, audit_detail("group", groups[i], NULL)), error))
			return NULL;
	for (size_t i = 0; ids[i]; i++)
		if (!store_assign(service->store, name, "device", (const char *const[]){ids[i], NULL}, now_ms, AUDIT(actor, "profile.assign", name, audit_detail("device", ids[i], NULL)), error))
			return NULL;
	return look_at_named(service, ids, name, error) ? service_library_show(service, name, error) : NULL;
}

json_t *service_library_unassign(struct service *service, const char *actor, const char *name, const char *const *devices, const char *const *groups, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_auto(GStrv) ids = NULL;
	struct library_profile_row row;
	int64_t now_ms = service_now_ms(service), n = 0, one;

	if (!check_targets(devices, groups, error) || !load_profile(service, name, &row, &load, error) || !(ids = resolve_all(service, devices, error)))
		return NULL;
	for (size_t i = 0; groups && groups[i]; i++, n += one)
		if (!store_unassign(service->store, name, "group", (const char *const[]){groups[i], NULL}, now_ms, AUDIT(actor, "profile.unassign", name, audit_detail("group", groups[i], NULL)), &one, error))
			return NULL;
	for (size_t i = 0; ids[i]; i++, n += one)
		if (!store_unassign(service->store, name, "device", (const char *const[]){ids[i], NULL}, now_ms, AUDIT(actor, "profile.unassign", name, audit_detail("device", ids[i], NULL)), &one, error))
			return NULL;
	if (!n) {
		pom_fail(error, POM_ERR_NOT_FOUND, "the profile \"%s\" is not assigned to any of these; a device that has it by a group is taken out of the group", name);
		return NULL;
	}
	return look_at_named(service, ids, name, error) ? service_library_show(service, name, error) : NULL;
}

/* ---- states ---- */

static json_t *state_json(const struct library_state_row *s)
{
	enum library_state state = library_state_find(s->state);
	json_t *o = json_object();

	json_set_text(o, "id", s->enrollment_id);
	json_set_text(o, "udid", s->device_id);
	json_set_text(o, "serial", s->serial);
	json_set_text(o, "device_name", s->device_name);
	json_set_text(o, "profile", s->profile);
	json_set_text(o, "state", library_state_shown(state));
	json_set_text(o, "goal", library_state_removes(state) ? "remove" : "install");
	json_object_set_new(o, "version", s->number ? json_integer(s->number) : json_null());
	json_object_set_new(o, "newest", json_integer(s->newest));
	json_set_text(o, "reason", s->reason);
	json_object_set_new(o, "since", json_time(s->changed_ms));
	json_object_set_new(o, "deadline", json_time(s->deadline_ms));
	json_set_text(o, "command_uuid", s->command_uuid);
	return o;
}

static json_t *states_page(struct service *service, const char *key, bool of_device, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_library_states(service->store, key, of_device, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct library_state_row *row = &g_array_index(rows, struct library_state_row, i);

		json_array_append_new(items, state_json(row));
		last = of_device ? row->profile : row->enrollment_id;
	}
	return json_page(items, last, limit);
}

json_t *service_library_status(struct service *service, const char *name, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct library_profile_row row;
	int64_t done, left;
	json_t *page;

	if (!load_profile(service, name, &row, &load, error) || !store_library_progress(service->store, name, &done, &left, error))
		return NULL;
	page = states_page(service, name, false, after, limit, error);
	if (page)
		json_object_set_new(page, "to_look_at", json_integer(left));
	return page;
}

/* Enrollment id of a device named by id or UDID; transfer full. */
static char *resolve(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	return store_enrollment_get(service->store, id, &row, &load, error) ? g_strdup(row.id) : NULL;
}

json_t *service_device_profiles(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autofree char *row_id = resolve(service, id, error);

	return row_id ? states_page(service, row_id, true, after, limit, error) : NULL;
}

json_t *service_library_resend(struct service *service, const char *name, const char *device, GError **error)
{
	g_autoptr(store_load) load = NULL, row_load = NULL;
	struct library_profile_row profile;
	struct enrollment_row row;
	bool changed;

	if (!load_profile(service, name, &profile, &load, error) || !store_enrollment_get(service->store, device, &row, &row_load, error))
		return NULL;
	if (!row.active_epoch) {
		pom_fail(error, POM_ERR_CONFLICT, "enrollment %s is not live: what is assigned to it is sent when the device enrolls again", row.id);
		return NULL;
	}
	if (!service_library_reconcile(service, row.id, name, true, &changed, error))
		return NULL;
	if (!changed) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile \"%s\" is not assigned to device %s, and nothing of it is to be removed there", name, row.id);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:b}", "name", name, "id", row.id, "queued", 1);
}
