#include "core/fact.h"

#include <string.h>

#include "base/face.h"
#include "codec/cert.h"
#include "core/command_table.h"

static void clear_fact(void *data)
{
	struct fact *fact = data;

	g_free(fact->name);
	g_free(fact->value);
}

/* The catalog's secrets have been taken out: nothing is known of them. */
static bool is_redacted(const plist *value)
{
	return !g_strcmp0(plist_get_string(value), COMMAND_REDACTED);
}

static char *value_text(const plist *value)
{
	g_autoptr(json_t) json = json_from_plist(value);
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	if (text && strlen(text) > FACT_VALUE_MAX)
		g_clear_pointer(&text, free);
	return text;
}

static void add(GArray *facts, const char *prefix, const char *key, const plist *value)
{
	struct fact fact;
	char *text;

	if (facts->len >= FACTS_PER_REPORT || !*key || strlen(prefix) + strlen(key) > FACT_NAME_MAX || is_redacted(value))
		return;
	text = value_text(value);
	if (!text)
		return;
	fact = (struct fact){g_strconcat(prefix, key, NULL), g_strdup(text)};
	g_array_append_val(facts, fact);
	free(text);
}

static void add_all(GArray *facts, const char *prefix, const plist *dict)
{
	for (size_t i = 0; plist_get_type(dict) == PLIST_DICT && i < plist_count(dict); i++)
		add(facts, prefix, plist_dict_key(dict, i), plist_child(dict, i));
}

/* REPORT without its secrets: itself, or a copy in *RET_COPY. */
static const plist *without_secrets(const char *request_type, const plist *report, plist **ret_copy)
{
	*ret_copy = command_has_secret(request_type, COMMAND_RESPONSE, report) ? command_redact(request_type, COMMAND_RESPONSE, report) : NULL;
	return *ret_copy ? *ret_copy : report;
}

GArray *facts_read(const char *request_type, const plist *report)
{
	GArray *facts = g_array_new(FALSE, FALSE, sizeof(struct fact));
	g_autoptr(plist) copy = NULL;
	const plist *clean = without_secrets(request_type, report, &copy);

	g_array_set_clear_func(facts, clear_fact);
	add_all(facts, "", plist_dict_get(clean, "QueryResponses"));
	add_all(facts, "SecurityInfo.", plist_dict_get(clean, "SecurityInfo"));
	return facts;
}

/* ---- lists ---- */

static const struct list_row { const char *request_type, *key, *called; } list_rows[] = {
	{"InstalledApplicationList", "InstalledApplicationList", "apps"},
	{"ManagedApplicationList", "ManagedApplicationList", "managed-apps"},
	{"ProfileList", "ProfileList", "profiles"},
	{"CertificateList", "CertificateList", "certificates"},
	{"ProvisioningProfileList", "ProvisioningProfileList", "provisioning-profiles"},
	{"AvailableOSUpdates", "AvailableOSUpdates", "updates"},
	{"OSUpdateStatus", "OSUpdateStatus", "update-status"},
	{"UserList", "Users", "users"},
	{"ManagedMediaList", "Books", "books"},
	{"Restrictions", "GlobalRestrictions", "restrictions"},
	{"Restrictions", "ProfileRestrictions", "profile-restrictions"},
};

static void clear_list(void *data)
{
	g_free(((struct fact_list *)data)->value);
}

static void set_time(json_t *o, const char *key, int64_t unix_s)
{
	g_autofree char *text = pom_time_format(unix_s * 1000);

	json_object_set_new(o, key, json_string(text));
}

/* An entry of CertificateList: what stands in the certificate instead of its bytes. */
static json_t *certificate_entry(const plist *entry)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(entry, "Data"), &len);
	g_autoptr(X509) cert = data ? cert_parse_der(data, len, NULL) : NULL;
	g_autoptr(cert_info) info = cert ? cert_info_new(cert, NULL) : NULL;
	g_autoptr(plist) rest = plist_copy(entry);
	g_autofree char *sha256 = NULL;
	json_t *o;

	plist_dict_remove(rest, "Data");
	o = json_from_plist(rest);
	if (!info)
		return o;
	sha256 = hex_format(info->sha256, sizeof(info->sha256));
	json_object_set_new(o, "subject", json_string(info->subject));
	json_object_set_new(o, "issuer", json_string(info->issuer));
	json_object_set_new(o, "serial", json_string(info->serial));
	json_object_set_new(o, "sha256", json_string(sha256));
	set_time(o, "not_before", info->not_before);
	set_time(o, "not_after", info->not_after);
	return o;
}

/* Who has signed a profile is told by name: the bytes of the chain are many and say no more. */
static json_t *profile_entry(const plist *entry)
{
	const plist *signers = plist_dict_get(entry, "SignerCertificates");
	g_autoptr(plist) rest = plist_copy(entry);
	json_t *o, *names = json_array();

	plist_dict_remove(rest, "SignerCertificates");
	o = json_from_plist(rest);
	for (size_t i = 0; plist_get_type(signers) == PLIST_ARRAY && i < plist_count(signers); i++) {
		size_t len;
		const void *data = plist_get_data(plist_child(signers, i), &len);
		g_autoptr(X509) cert = data ? cert_parse_der(data, len, NULL) : NULL;
		g_autofree char *name = cert ? cert_subject_cn(cert) : NULL;

		if (name)
			json_array_append_new(names, json_string(name));
	}
	json_object_set_new(o, "signed_by", names);
	return o;
}

static json_t *entry_json(const char *list, const plist *entry)
{
	if (plist_get_type(entry) == PLIST_DICT && !strcmp(list, "CertificateList"))
		return certificate_entry(entry);
	if (plist_get_type(entry) == PLIST_DICT && !strcmp(list, "ProfileList"))
		return profile_entry(entry);
	return json_from_plist(entry);
}

static size_t size_of(const json_t *json)
{
	return json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* As many entries as may be kept. */
static struct fact_list read_list(const char *name, const plist *source)
{
	bool is_dict = plist_get_type(source) == PLIST_DICT;
	g_autoptr(json_t) all = is_dict ? json_object() : json_array();
	struct fact_list list = {.name = name};
	size_t bytes = 2, count = plist_count(source);
	char *text;

	for (size_t i = 0; i < count; i++) {
		g_autoptr(json_t) entry = entry_json(name, plist_child(source, i));
		size_t size = size_of(entry) + 1 + (is_dict ? strlen(plist_dict_key(source, i)) * 6 + 3 : 0);

		if (!entry || is_redacted(plist_child(source, i)) || list.n_items >= FACT_LIST_ITEMS_MAX || bytes + size > FACT_LIST_BYTES_MAX) {
			list.n_cut++;
			continue;
		}
		bytes += size;
		list.n_items++;
		if (is_dict)
			json_object_set(all, plist_dict_key(source, i), entry);
		else
			json_array_append(all, entry);
	}
	text = json_dumps(all, JSON_COMPACT);
	list.value = g_strdup(text);
	free(text);
	return list;
}

bool fact_lists_are_in(const char *request_type)
{
	for (size_t i = 0; i < G_N_ELEMENTS(list_rows); i++)
		if (!strcmp(list_rows[i].request_type, request_type))
			return true;
	return false;
}

static bool is_true(const plist *command, const char *key)
{
	bool value = false;

	return plist_get_boolean(plist_dict_get(command, key), &value) && value;
}

static bool asks_for_part(const plist *command)
{
	return plist_dict_get(command, "Identifiers") || is_true(command, "ManagedAppsOnly") || is_true(command, "ManagedOnly");
}

GArray *fact_lists_read(const char *request_type, const plist *command, const plist *report)
{
	GArray *lists = g_array_new(FALSE, FALSE, sizeof(struct fact_list));
	g_autoptr(plist) copy = NULL;
	const plist *clean;

	g_array_set_clear_func(lists, clear_list);
	if (!fact_lists_are_in(request_type) || asks_for_part(command))
		return lists;
	clean = without_secrets(request_type, report, &copy);
	for (size_t i = 0; i < G_N_ELEMENTS(list_rows); i++) {
		const plist *source = plist_dict_get(clean, list_rows[i].key);

		if (!strcmp(list_rows[i].request_type, request_type) && (plist_get_type(source) == PLIST_ARRAY || plist_get_type(source) == PLIST_DICT)) {
			struct fact_list list = read_list(list_rows[i].key, source);

			g_array_append_val(lists, list);
		}
	}
	return lists;
}

const char *fact_list_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(list_rows); i++)
		if (!g_ascii_strcasecmp(name, list_rows[i].key) || !g_ascii_strcasecmp(name, list_rows[i].called))
			return list_rows[i].key;
	return NULL;
}
