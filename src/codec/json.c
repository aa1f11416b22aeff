#include "codec/json.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/datetime.h"

enum { JSON_DEPTH_MAX = 64, BRIDGE_DEPTH_MAX = 32, JSON_SIZE_MAX = 32 << 20 };

/* jansson allows 2,048 levels, which is more stack than a worker thread need have. */
static bool check_depth(const char *text, size_t len, GError **error)
{
	bool in_string = false;
	int depth = 0, line = 1;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '\n')
			line++;
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return pom_fail(error, POM_ERR_JSON, "line %d: more than %d levels", line, JSON_DEPTH_MAX);
	}
	return true;
}

json_t *json_parse(const void *data, size_t len, GError **error)
{
	json_error_t where;

	if (len > JSON_SIZE_MAX) {
		pom_fail(error, POM_ERR_JSON, "the JSON has %zu bytes, at most %d are accepted", len, JSON_SIZE_MAX);
		return NULL;
	}
	if (!check_depth(data, len, error))
		return NULL;
	json_t *json = json_loadb(len ? data : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);

	if (!json)
		pom_fail(error, POM_ERR_JSON, "line %d, column %d: %s", where.line, where.column, where.text);
	return json;
}

GBytes *json_format(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	g_assert(text);
	return g_bytes_new_with_free_func(text, strlen(text), free, text);
}

static json_t *json_text(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	return json_string_nocheck(valid);
}

static json_t *tagged(const char *tag, json_t *value)
{
	json_t *object = json_object();

	json_object_set_new(object, tag, value);
	return object;
}

static json_t *json_from_data(const plist *node)
{
	size_t len;
	const void *data = plist_get_data(node, &len);
	g_autofree char *text = g_base64_encode(data, len);

	return tagged("$data", json_string(text));
}

static json_t *json_from_date(const plist *node)
{
	char text[DATETIME_LEN + 1] = "";
	int64_t unix_seconds = 0;

	if (!plist_get_date(node, &unix_seconds) || !datetime_format(unix_seconds, text))
		return json_null();
	return tagged("$date", json_string(text));
}

static json_t *json_from_integer(const plist *node)
{
	char text[32];
	int64_t value;
	uint64_t large = 0;

	if (plist_get_integer(node, &value))
		return json_integer(value);
	plist_get_unsigned(node, &large);
	g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, large);
	return tagged("$integer", json_string(text));
}

static json_t *json_from_real(const plist *node)
{
	double value = 0;

	plist_get_real(node, &value);
	if (isnan(value))
		return tagged("$real", json_string("nan"));
	if (isinf(value))
		return tagged("$real", json_string(value > 0 ? "+infinity" : "-infinity"));
	return json_real(value);
}

static bool is_tag(const char *key)
{
	static const char *const tags[] = {"$data", "$date", "$integer", "$real", "$dict", NULL};

	return g_strv_contains(tags, key);
}

static json_t *json_from_array(const plist *node)
{
	json_t *array = json_array();

	for (size_t i = 0; i < plist_count(node); i++)
		json_array_append_new(array, json_from_plist(plist_child(node, i)));
	return array;
}

static json_t *json_from_dict(const plist *node)
{
	json_t *object = json_object();

	for (size_t i = 0; i < plist_count(node); i++) {
		g_autofree char *key = g_utf8_make_valid(plist_dict_key(node, i), -1);

		json_object_set_new_nocheck(object, key, json_from_plist(plist_child(node, i)));
	}
	/* A dictionary that looks like one of the forms above must not come back as that. */
	return plist_count(node) == 1 && is_tag(plist_dict_key(node, 0)) ? tagged("$dict", object) : object;
}

json_t *json_from_plist(const plist *node)
{
	bool value = false;

	switch (plist_get_type(node)) {
	case PLIST_DICT:
		return json_from_dict(node);
	case PLIST_ARRAY:
		return json_from_array(node);
	case PLIST_STRING:
		return json_text(plist_get_string(node));
	case PLIST_INTEGER:
		return json_from_integer(node);
	case PLIST_REAL:
		return json_from_real(node);
	case PLIST_BOOLEAN:
		plist_get_boolean(node, &value);
		return json_boolean(value);
	case PLIST_DATE:
		return json_from_date(node);
	case PLIST_DATA:
		return json_from_data(node);
	case PLIST_TYPE_MAX:
	default:
		return json_null();
	}
}

static plist *convert(const json_t *json, const char *path, unsigned depth, GError **error);

static plist *convert_data(const char *text)
{
	size_t len = strlen(text);
	g_autofree uint8_t *data = g_malloc(base64_decoded_max(len));

	return base64_parse(text, len, BASE64_STRICT, data, &len) ? plist_new_data(data, len) : NULL;
}

static plist *convert_date(const char *text)
{
	int64_t unix_seconds;

	return datetime_parse(text, strlen(text), &unix_seconds) ? plist_new_date(unix_seconds) : NULL;
}

static plist *convert_integer(const char *text)
{
	uint64_t value;

	return g_ascii_string_to_unsigned(text, 10, 0, UINT64_MAX, &value, NULL) ? plist_new_unsigned(value) : NULL;
}

static plist *convert_real(const char *text)
{
	if (!strcmp(text, "nan"))
		return plist_new_real(NAN);
	if (!strcmp(text, "+infinity"))
		return plist_new_real(INFINITY);
	return strcmp(text, "-infinity") ? NULL : plist_new_real(-INFINITY);
}

static plist *convert_array(const json_t *json, const char *path, unsigned depth, GError **error)
{
	g_autoptr(plist) array = plist_new_array();

	for (size_t i = 0; i < json_array_size(json); i++) {
		g_autofree char *child_path = g_strdup_printf("%s[%zu]", path, i);
		plist *child = convert(json_array_get(json, i), child_path, depth + 1, error);

		if (!child)
			return NULL;
		plist_array_append(array, child);
	}
	return g_steal_pointer(&array);
}

static plist *convert_members(const json_t *json, const char *path, unsigned depth, GError **error)
{
	g_autoptr(plist) dict = plist_new_dict();
	const char *key;
	json_t *value;

	/* The iterator takes a non-const object but changes nothing. */
	json_object_foreach((json_t *)(uintptr_t)json, key, value) {
		g_autofree char *child_path = g_strdup_printf("%s%s%.64s", path, *path ? "." : "", key);
		plist *child = convert(value, child_path, depth + 1, error);

		if (!child)
			return NULL;
		plist_dict_set(dict, key, child);
	}
	return g_steal_pointer(&dict);
}

/* {"$data": "…"} and its like. */
static plist *convert_tagged(const char *tag, const json_t *value, const char *path, unsigned depth, GError **error)
{
	static const struct {
		const char *tag;
		plist *(*convert)(const char *text);
	} forms[] = {{"$data", convert_data}, {"$date", convert_date}, {"$integer", convert_integer}, {"$real", convert_real}};
	plist *node = NULL;

	if (!strcmp(tag, "$dict") && json_is_object(value))
		return convert_members(value, path, depth, error);
	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		if (!strcmp(tag, forms[i].tag) && json_is_string(value))
			node = forms[i].convert(json_string_value(value));
	}
	if (!node)
		pom_fail(error, POM_ERR_JSON, "%s: \"%s\" has a value of the wrong form", path, tag);
	return node;
}

static plist *convert_object(const json_t *json, const char *path, unsigned depth, GError **error)
{
	void *first = json_object_iter((json_t *)(uintptr_t)json);

	if (json_object_size(json) == 1 && is_tag(json_object_iter_key(first)))
		return convert_tagged(json_object_iter_key(first), json_object_iter_value(first), path, depth, error);
	return convert_members(json, path, depth, error);
}

static plist *convert(const json_t *json, const char *path, unsigned depth, GError **error)
{
	if (depth >= BRIDGE_DEPTH_MAX && json_is_object(json) + json_is_array(json)) {
		pom_fail(error, POM_ERR_JSON, "%s: more than %d levels", path, BRIDGE_DEPTH_MAX);
		return NULL;
	}
	switch (json ? json_typeof(json) : JSON_NULL) {
	case JSON_OBJECT:
		return convert_object(json, path, depth, error);
	case JSON_ARRAY:
		return convert_array(json, path, depth, error);
	case JSON_STRING:
		return plist_new_string(json_string_value(json));
	case JSON_INTEGER:
		return plist_new_integer(json_integer_value(json));
	case JSON_REAL:
		return plist_new_real(json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return plist_new_boolean(json_is_true(json));
	case JSON_NULL:
	default:
		pom_fail(error, POM_ERR_JSON, "%s: null has no place in a property list", path);
		return NULL;
	}
}

plist *plist_from_json(const json_t *json, const char *path, GError **error)
{
	return convert(json, path ? path : "", 0, error);
}
