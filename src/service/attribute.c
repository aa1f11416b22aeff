/* What is known of a device besides its enrollment: attributes that administrators give it, facts that it tells. */
#include <string.h>

#include "core/variables.h"
#include "service/answer.h"
#include "service/ca_internal.h"
#include "service/fleet.h"
#include "service/library_device.h"

enum { LIST_MAX = 1000, ATTRIBUTES_MAX = 64, EMAIL_MAX = 254 };

/* Those that "device show" says. */
static const char *const main_facts[] = {"DeviceName", "OSVersion", "ModelName", "IsSupervised", "IsActivationLockEnabled", "BatteryLevel", "AvailableDeviceCapacity", "SecurityInfo.PasscodePresent", "SecurityInfo.FDE_Enabled"};

static char *resolve(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	return store_enrollment_get(service->store, id, &row, &load, error) ? g_strdup(row.id) : NULL;
}

/* In the order of names. */
static json_t *attributes_json(GHashTable *attributes)
{
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(attributes), (GCompareFunc)strcmp);
	json_t *o = json_object();

	for (GList *l = names; l; l = l->next)
		json_set_text(o, l->data, g_hash_table_lookup(attributes, l->data));
	return o;
}

static json_t *read_attributes(struct service *service, const char *row_id, GError **error)
{
	g_autoptr(GHashTable) attributes = service_attributes_load(service, row_id, error);

	return attributes ? attributes_json(attributes) : NULL;
}

json_t *service_device_attributes(struct service *service, const char *id, GError **error)
{
	g_autofree char *row_id = resolve(service, id, error);
	json_t *attributes = row_id ? read_attributes(service, row_id, error) : NULL;

	return attributes ? json_pack("{s:s, s:o}", "id", row_id, "attributes", attributes) : NULL;
}

static bool add_set(struct service *service, const char *row_id, const char *name, const json_t *value, GArray *changes, GHashTable *known, GError **error)
{
	g_autofree char *seal_row = g_strdup_printf("%s.%s", row_id, name);
	struct attribute_row change = {.name = name};
	const char *text = json_string_value(value);

	if (!variable_attribute_check(name, error))
		return false;
	if (!text)
		return pom_fail(error, POM_ERR_JSON, "the value of %s must be a string", name);
	if (!variable_value_check(name, text, error))
		return false;
	change.sealed = seal_close(&service->seal, "attribute", seal_row, "value", text, strlen(text));
	g_array_append_val(changes, change);
	g_hash_table_insert(known, g_strdup(name), g_strdup(text));
	return true;
}

static bool collect(struct service *service, const char *row_id, const json_t *set, const json_t *unset, GArray *changes, GHashTable *known, GError **error)
{
	const char *name;
	json_t *value, *item;
	size_t i;

	if ((set && !json_is_object(set)) || (unset && !json_is_array(unset)))
		return pom_fail(error, POM_ERR_JSON, "set must be an object of texts, unset a list of names");
	json_object_foreach((json_t *)(uintptr_t)set, name, value)
		if (!add_set(service, row_id, name, value, changes, known, error))
			return false;
	json_array_foreach((json_t *)(uintptr_t)unset, i, item) {
		struct attribute_row change = {.name = json_string_value(item)};

		if (!change.name || !variable_attribute_check(change.name, error))
			return change.name ? false : pom_fail(error, POM_ERR_JSON, "unset must be a list of names");
		if (!g_hash_table_remove(known, change.name))
			return pom_fail(error, POM_ERR_NOT_FOUND, "device %s has no attribute %s", row_id, change.name);
		g_array_append_val(changes, change);
	}
	return g_hash_table_size(known) <= ATTRIBUTES_MAX || pom_fail(error, POM_ERR_LIMIT, "a device has at most %d attributes", ATTRIBUTES_MAX);
}

static void clear_change(void *data)
{
	g_clear_pointer(&((struct attribute_row *)data)->sealed, g_bytes_unref);
}

json_t *service_device_set(struct service *service, const char *actor, const char *id, const json_t *set, const json_t *unset, GError **error)
{
	g_autofree char *row_id = resolve(service, id, error);
	g_autoptr(GHashTable) known = row_id ? service_attributes_load(service, row_id, error) : NULL;
	g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct attribute_row));
	g_autoptr(GString) names = NULL;

	g_array_set_clear_func(changes, clear_change);
	if (!known || !collect(service, row_id, set, unset, changes, known, error))
		return NULL;
	if (!changes->len) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name at least one attribute");
		return NULL;
	}
	/* Names only: a value may be a secret. */
	names = g_string_new(NULL);
	for (guint i = 0; i < changes->len; i++)
		g_string_append_printf(names, "%s%s", i ? " " : "", g_array_index(changes, struct attribute_row, i).name);
	if (!store_attribute_change(service->store, row_id, (const struct attribute_row *)(const void *)changes->data, changes->len, service_now_ms(service),
	                            AUDIT(actor, "device.attributes", row_id, audit_detail("names", names->str, NULL)), error))
		return NULL;
	return service_device_attributes(service, row_id, error);
}

bool service_email_check(const char *email, GError **error)
{
	const char *at = email ? strchr(email, '@') : NULL;

	if (!email)
		return true;
	if (!at || at == email || !at[1] || strchr(at + 1, '@') || strlen(email) > EMAIL_MAX || strpbrk(email, " <>\"'\t\r\n") || !variable_value_check("email", email, NULL))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "email must be an address such as ann@example.org, of at most %d bytes", EMAIL_MAX);
	return true;
}

static json_t *fact_value(const struct fact_row *row)
{
	json_t *value = json_loads(row->value, JSON_DECODE_ANY, NULL);

	return value ? value : json_null();
}

json_t *service_device_facts(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autofree char *row_id = resolve(service, id, error);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = row_id ? store_fact_list(service->store, row_id, after, limit, &load, error) : NULL;
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct fact_row *row = &g_array_index(rows, struct fact_row, i);
		json_t *o = json_object();

		json_set_text(o, "name", row->name);
		json_object_set_new(o, "value", fact_value(row));
		json_object_set_new(o, "learnt_at", json_time(row->learnt_ms));
		json_array_append_new(items, o);
		last = row->name;
	}
	return json_page(items, last, limit);
}

/* Their values in *RET_FACTS, and when each was learnt. */
static json_t *main_facts_json(const GArray *rows, json_t **ret_facts)
{
	json_t *times = json_object();

	*ret_facts = json_object();
	for (size_t k = 0; k < G_N_ELEMENTS(main_facts); k++)
		for (guint i = 0; i < rows->len; i++) {
			const struct fact_row *row = &g_array_index(rows, struct fact_row, i);

			if (strcmp(row->name, main_facts[k]))
				continue;
			json_object_set_new(*ret_facts, row->name, fact_value(row));
			json_object_set_new(times, row->name, json_time(row->learnt_ms));
		}
	return times;
}

/* Which lists the device has told, and whether it is blocked. */
static bool add_fleet(struct service *service, const char *enrollment_id, json_t *o, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(json_t) lists = service_device_lists(service, enrollment_id, error);
	struct block_row block;
	bool found;

	if (!lists || !store_block_find(service->store, json_string_value(json_object_get(o, "udid")), json_string_value(json_object_get(o, "serial")), &block, &found, &load, error))
		return false;
	json_object_set(o, "lists", json_object_get(lists, "items"));
	json_object_set_new(o, "blocked", found ? json_pack("{s:s?, s:o}", "reason", block.reason, "since", json_time(block.created_ms)) : json_null());
	return true;
}

bool service_device_more(struct service *service, const char *enrollment_id, json_t *o, GError **error)
{
	g_autoptr(store_load) load = NULL, groups_load = NULL;
	g_autoptr(GArray) rows = store_fact_list(service->store, enrollment_id, "", 0, &load, error);
	g_autoptr(GPtrArray) groups = rows ? store_groups_of(service->store, enrollment_id, &groups_load, error) : NULL;
	json_t *attributes = groups ? read_attributes(service, enrollment_id, error) : NULL, *names, *facts, *times;

	if (!attributes)
		return false;
	names = json_array();
	for (guint i = 0; i < groups->len; i++)
		json_array_append_new(names, json_string(g_ptr_array_index(groups, i)));
	json_object_set_new(o, "groups", names);
	json_object_set_new(o, "attributes", attributes);
	times = main_facts_json(rows, &facts);
	json_object_set_new(o, "facts", facts);
	json_object_set_new(o, "facts_learnt_at", times);
	return add_fleet(service, enrollment_id, o, error);
}
