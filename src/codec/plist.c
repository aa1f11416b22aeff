#include "codec/plist.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "codec/plist_internal.h"

/* Up to this many keys a dictionary is searched from front to back, which is faster than any index. Larger ones have a
 * balanced tree and not a hash table: keys come from outside and hashing without a secret could be made to collide. */
enum { INDEX_FROM = 16 };

const struct plist_limits plist_limits_default = {.depth = 32, .size_bytes = 32 << 20, .n_nodes = 200000};

static const struct {
	const char *article, *name;
} type_names[] = {
	[PLIST_DICT] = {"a ", "dictionary"}, [PLIST_ARRAY] = {"an ", "array"}, [PLIST_STRING] = {"a ", "string"}, [PLIST_INTEGER] = {"an ", "integer"},
	[PLIST_REAL] = {"a ", "real"}, [PLIST_BOOLEAN] = {"a ", "boolean"}, [PLIST_DATE] = {"a ", "date"}, [PLIST_DATA] = {"", "data"},
};

static plist *new_node(enum plist_type type, size_t n_bytes)
{
	plist *node = g_malloc(sizeof(*node) + n_bytes);

	memset(node, 0, sizeof(*node));
	node->type = type;
	return node;
}

plist *plist_new_dict(void)
{
	return new_node(PLIST_DICT, 0);
}

plist *plist_new_array(void)
{
	return new_node(PLIST_ARRAY, 0);
}

static plist *new_bytes(enum plist_type type, const void *data, size_t len)
{
	plist *node = new_node(type, len + 1);

	node->len = len;
	if (data && len)
		memcpy(node->bytes, data, len);
	node->bytes[len] = '\0';
	return node;
}

plist *plist_new_string_len(const char *text, size_t len)
{
	return new_bytes(PLIST_STRING, text, len);
}

plist *plist_new_string(const char *text)
{
	return plist_new_string_len(text, strlen(text));
}

plist *plist_new_data(const void *data, size_t len)
{
	return new_bytes(PLIST_DATA, data, len);
}

plist *plist_new_data_room(size_t len)
{
	return new_bytes(PLIST_DATA, NULL, len);
}

plist *plist_new_integer(int64_t value)
{
	plist *node = new_node(PLIST_INTEGER, 0);

	node->integer = (uint64_t)value;
	node->negative = value < 0;
	return node;
}

plist *plist_new_unsigned(uint64_t value)
{
	plist *node = new_node(PLIST_INTEGER, 0);

	node->integer = value;
	return node;
}

plist *plist_new_real(double value)
{
	plist *node = new_node(PLIST_REAL, 0);

	node->real = value;
	return node;
}

plist *plist_new_boolean(bool value)
{
	plist *node = new_node(PLIST_BOOLEAN, 0);

	node->boolean = value;
	return node;
}

plist *plist_new_date(int64_t unix_seconds)
{
	plist *node = new_node(PLIST_DATE, 0);

	node->date = unix_seconds;
	return node;
}

static bool is_container(const plist *node)
{
	return node && (node->type == PLIST_DICT || node->type == PLIST_ARRAY);
}

static void free_items(plist *node)
{
	for (size_t i = 0; i < node->n_items; i++) {
		if (node->type == PLIST_ARRAY) {
			plist_free(node->items[i]);
			continue;
		}
		struct plist_entry *entry = node->items[i];

		plist_free(entry->value);
		g_free(entry);
	}
	g_clear_pointer(&node->index, g_tree_unref);
	g_free(node->items);
}

void plist_free(plist *node)
{
	if (is_container(node))
		free_items(node);
	g_free(node);
}

plist *plist_copy(const plist *node)
{
	switch (node->type) {
	case PLIST_STRING:
	case PLIST_DATA:
		return new_bytes(node->type, node->bytes, node->len);
	case PLIST_DICT:
	case PLIST_ARRAY:
		break;
	case PLIST_INTEGER:
	case PLIST_REAL:
	case PLIST_BOOLEAN:
	case PLIST_DATE:
	case PLIST_TYPE_MAX:
	default:
		return g_memdup2(node, sizeof(*node));
	}
	plist *copy = new_node(node->type, 0);

	for (size_t i = 0; i < node->n_items; i++) {
		plist *child = plist_copy(plist_child(node, i));

		if (node->type == PLIST_ARRAY)
			plist_array_append(copy, child);
		else
			plist_dict_set(copy, plist_dict_key(node, i), child);
	}
	return copy;
}

static void append_item(plist *container, void *item)
{
	if (container->n_items == container->capacity) {
		container->capacity = container->capacity ? container->capacity * 2 : 8;
		container->items = g_renew(void *, container->items, container->capacity);
	}
	container->items[container->n_items++] = item;
}

static int compare_keys(gconstpointer a, gconstpointer b)
{
	return strcmp(a, b);
}

static struct plist_entry *find_entry(const plist *dict, const char *key)
{
	if (dict->index)
		return g_tree_lookup(dict->index, key);
	for (size_t i = 0; i < dict->n_items; i++) {
		struct plist_entry *entry = dict->items[i];

		if (!strcmp(entry->key, key))
			return entry;
	}
	return NULL;
}

static void index_entry(plist *dict, struct plist_entry *entry)
{
	if (dict->index) {
		g_tree_insert(dict->index, entry->key, entry);
		return;
	}
	if (dict->n_items <= INDEX_FROM)
		return;
	dict->index = g_tree_new(compare_keys);
	for (size_t i = 0; i < dict->n_items; i++) {
		struct plist_entry *each = dict->items[i];

		g_tree_insert(dict->index, each->key, each);
	}
}

static void append_entry(plist *dict, const char *key, size_t len, plist *value)
{
	struct plist_entry *entry = g_malloc(sizeof(*entry) + len + 1);

	entry->value = value;
	memcpy(entry->key, key, len);
	entry->key[len] = '\0';
	append_item(dict, entry);
	index_entry(dict, entry);
}

bool plist_dict_add(plist *dict, const char *key, size_t len, plist *value)
{
	if (find_entry(dict, key))
		return false;
	append_entry(dict, key, len, value);
	return true;
}

void plist_dict_set(plist *dict, const char *key, plist *value)
{
	g_assert(dict && dict->type == PLIST_DICT && key && value && value != dict);
	struct plist_entry *entry = find_entry(dict, key);

	if (!entry) {
		append_entry(dict, key, strlen(key), value);
		return;
	}
	plist_free(entry->value);
	entry->value = value;
}

void plist_dict_set_string(plist *dict, const char *key, const char *text)
{
	plist_dict_set(dict, key, plist_new_string(text));
}

void plist_dict_set_integer(plist *dict, const char *key, int64_t value)
{
	plist_dict_set(dict, key, plist_new_integer(value));
}

void plist_dict_set_boolean(plist *dict, const char *key, bool value)
{
	plist_dict_set(dict, key, plist_new_boolean(value));
}

void plist_dict_set_data(plist *dict, const char *key, const void *data, size_t len)
{
	plist_dict_set(dict, key, plist_new_data(data, len));
}

bool plist_dict_remove(plist *dict, const char *key)
{
	g_assert(dict && dict->type == PLIST_DICT && key);
	struct plist_entry *entry = find_entry(dict, key);
	size_t i = 0;

	if (!entry)
		return false;
	while (dict->items[i] != entry)
		i++;
	memmove(&dict->items[i], &dict->items[i + 1], (dict->n_items - i - 1) * sizeof(dict->items[0]));
	dict->n_items--;
	if (dict->index)
		g_tree_remove(dict->index, entry->key);
	plist_free(entry->value);
	g_free(entry);
	return true;
}

void plist_array_append(plist *array, plist *value)
{
	g_assert(array && array->type == PLIST_ARRAY && value && value != array);
	append_item(array, value);
}

enum plist_type plist_get_type(const plist *node)
{
	return node ? node->type : PLIST_TYPE_MAX;
}

const char *plist_type_name(enum plist_type type)
{
	return (unsigned)type < PLIST_TYPE_MAX ? type_names[type].name : "nothing";
}

const plist *plist_dict_get(const plist *dict, const char *key)
{
	if (plist_get_type(dict) != PLIST_DICT)
		return NULL;
	const struct plist_entry *entry = find_entry(dict, key);

	return entry ? entry->value : NULL;
}

size_t plist_count(const plist *container)
{
	return is_container(container) ? container->n_items : 0;
}

const char *plist_dict_key(const plist *dict, size_t i)
{
	if (plist_get_type(dict) != PLIST_DICT || i >= dict->n_items)
		return NULL;
	const struct plist_entry *entry = dict->items[i];

	return entry->key;
}

const plist *plist_child(const plist *container, size_t i)
{
	if (i >= plist_count(container))
		return NULL;
	if (container->type == PLIST_ARRAY)
		return container->items[i];
	const struct plist_entry *entry = container->items[i];

	return entry->value;
}

const char *plist_get_string(const plist *node)
{
	return plist_get_type(node) == PLIST_STRING ? node->bytes : NULL;
}

bool plist_get_integer(const plist *node, int64_t *ret_value)
{
	if (plist_get_type(node) != PLIST_INTEGER || (!node->negative && node->integer > INT64_MAX))
		return false;
	*ret_value = (int64_t)node->integer;
	return true;
}

bool plist_get_unsigned(const plist *node, uint64_t *ret_value)
{
	if (plist_get_type(node) != PLIST_INTEGER || node->negative)
		return false;
	*ret_value = node->integer;
	return true;
}

bool plist_get_real(const plist *node, double *ret_value)
{
	if (plist_get_type(node) != PLIST_REAL)
		return false;
	*ret_value = node->real;
	return true;
}

bool plist_get_boolean(const plist *node, bool *ret_value)
{
	if (plist_get_type(node) != PLIST_BOOLEAN)
		return false;
	*ret_value = node->boolean;
	return true;
}

bool plist_get_date(const plist *node, int64_t *ret_unix_seconds)
{
	if (plist_get_type(node) != PLIST_DATE)
		return false;
	*ret_unix_seconds = node->date;
	return true;
}

const void *plist_get_data(const plist *node, size_t *ret_len)
{
	if (plist_get_type(node) != PLIST_DATA) {
		*ret_len = 0;
		return NULL;
	}
	*ret_len = node->len;
	return node->bytes;
}

static bool items_equal(const plist *a, const plist *b)
{
	if (a->n_items != b->n_items)
		return false;
	for (size_t i = 0; i < a->n_items; i++) {
		const plist *other = a->type == PLIST_DICT ? plist_dict_get(b, plist_dict_key(a, i)) : plist_child(b, i);

		if (!other || !plist_equal(plist_child(a, i), other))
			return false;
	}
	return true;
}

bool plist_equal(const plist *a, const plist *b)
{
	if (!a || !b || a->type != b->type)
		return a == b;
	switch (a->type) {
	case PLIST_DICT:
	case PLIST_ARRAY:
		return items_equal(a, b);
	case PLIST_STRING:
	case PLIST_DATA:
		return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
	case PLIST_INTEGER:
		return a->integer == b->integer && a->negative == b->negative;
	case PLIST_REAL: /* "not a number" is a value like any other here */
		return !(a->real < b->real || a->real > b->real) && isnan(a->real) == isnan(b->real);
	case PLIST_BOOLEAN:
		return a->boolean == b->boolean;
	case PLIST_DATE:
		return a->date == b->date;
	case PLIST_TYPE_MAX:
	default:
		return false;
	}
}

/* Finds KEY of the wanted type. *ret_child is NULL when an optional key is missing. */
static bool take(const plist *dict, const char *path, const char *key, enum plist_type type, enum plist_need need, const plist **ret_child, GError **error)
{
	const plist *child = plist_dict_get(dict, key);

	if (!child && need == PLIST_REQUIRED)
		return pom_fail(error, POM_ERR_PLIST_KEY, "%s.%s is missing", path, key);
	if (child && child->type != type)
		return pom_fail(error, POM_ERR_PLIST_KEY, "%s.%s is %s%s, must be %s%s", path, key, type_names[child->type].article,
		                type_names[child->type].name, type_names[type].article, type_names[type].name);
	*ret_child = child;
	return true;
}

bool plist_take_string(const plist *dict, const char *path, const char *key, enum plist_need need, const char **ret, GError **error)
{
	const plist *child = NULL;

	if (!take(dict, path, key, PLIST_STRING, need, &child, error))
		return false;
	if (child)
		*ret = child->bytes;
	return true;
}

bool plist_take_integer(const plist *dict, const char *path, const char *key, enum plist_need need, int64_t *ret, GError **error)
{
	const plist *child = NULL;

	if (!take(dict, path, key, PLIST_INTEGER, need, &child, error))
		return false;
	if (child && !plist_get_integer(child, ret))
		return pom_fail(error, POM_ERR_PLIST_KEY, "%s.%s is above %" G_GINT64_FORMAT, path, key, INT64_MAX);
	return true;
}

bool plist_take_boolean(const plist *dict, const char *path, const char *key, enum plist_need need, bool *ret, GError **error)
{
	const plist *child = NULL;

	if (!take(dict, path, key, PLIST_BOOLEAN, need, &child, error))
		return false;
	if (child)
		*ret = child->boolean;
	return true;
}

bool plist_take_data(const plist *dict, const char *path, const char *key, enum plist_need need, const void **ret, size_t *ret_len, GError **error)
{
	const plist *child = NULL;

	if (!take(dict, path, key, PLIST_DATA, need, &child, error))
		return false;
	if (child)
		*ret = plist_get_data(child, ret_len);
	return true;
}

bool plist_take_child(const plist *dict, const char *path, const char *key, enum plist_type type, enum plist_need need, const plist **ret, GError **error)
{
	const plist *child = NULL;

	if (!take(dict, path, key, type, need, &child, error))
		return false;
	if (child)
		*ret = child;
	return true;
}
