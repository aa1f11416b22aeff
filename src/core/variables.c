#include "core/variables.h"

#include <string.h>

#define ATTRIBUTE_PREFIX "attr."

static const char *const known_names[] = {
	"serial", "udid", "user.name", "user.email", "device.name", "model", "os.version", "enrollment.id", "organization", NULL,
};

/* What is done with each string of a tree. GET NULL: it is only looked at. */
struct walk {
	variable_fn get;
	void *ctx;
	size_t n, output;
	GPtrArray *names; /* NULL: not wanted */
	bool lenient;     /* strings with mistakes are passed over */
	GString *path;
	GError **error;
};

static bool is_name_byte(char c)
{
	return g_ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
}

bool variable_attribute_check(const char *name, GError **error)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!is_name_byte(name[i]))
			n = 0;
	if (!n || n > VARIABLE_NAME_MAX)
		return pom_fail(error, POM_ERR_VARIABLE, "the name of an attribute has 1 to %d letters, digits, '.', '-' and '_'; \"%.64s\" is none", VARIABLE_NAME_MAX, name);
	return true;
}

/* XML 1.0 §2.2. */
static bool is_xml_char(gunichar c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0xfffe && c != 0xffff);
}

bool variable_value_check(const char *name, const char *value, GError **error)
{
	if (strlen(value) > VARIABLE_VALUE_MAX)
		return pom_fail(error, POM_ERR_VARIABLE_VALUE, "the value of %s is longer than %d bytes", name, VARIABLE_VALUE_MAX);
	if (!g_utf8_validate(value, -1, NULL))
		return pom_fail(error, POM_ERR_VARIABLE_VALUE, "the value of %s is not UTF-8", name);
	for (const char *p = value; *p; p = g_utf8_next_char(p))
		if (!is_xml_char(g_utf8_get_char(p)))
			return pom_fail(error, POM_ERR_VARIABLE_VALUE, "the value of %s holds the character U+%04X, which no property list can hold", name, g_utf8_get_char(p));
	return true;
}

static bool is_known(const char *name)
{
	if (g_str_has_prefix(name, ATTRIBUTE_PREFIX))
		return variable_attribute_check(name + strlen(ATTRIBUTE_PREFIX), NULL);
	return g_strv_contains(known_names, name);
}

/* One variable, which begins at P: appended to OUT; *RET_END behind it. */
static bool walk_variable(struct walk *w, const char *p, GString *out, const char **ret_end)
{
	const char *name_start = p + 2, *end = strchr(name_start, '}');
	g_autofree char *name = end ? g_strndup(name_start, (gsize)MIN(end - name_start, VARIABLE_NAME_MAX * 2)) : NULL;
	const char *value;

	if (!name)
		return pom_fail(w->error, POM_ERR_VARIABLE, "%s: \"${\" has no \"}\"; write \"$${\" where no variable is meant", w->path->str);
	if (!is_known(name))
		return pom_fail(w->error, POM_ERR_VARIABLE, "%s: there is no variable ${%s}; write \"$${\" where none is meant, or keep the profile as it is with --variables off. Known: serial, udid, user.name, user.email,"
		                " device.name, model, os.version, enrollment.id, organization, attr.NAME", w->path->str, name);
	w->n++;
	*ret_end = end + 1;
	if (w->names && !g_ptr_array_find_with_equal_func(w->names, name, g_str_equal, NULL))
		g_ptr_array_add(w->names, g_strdup(name));
	if (!w->get)
		return true;
	value = w->get(w->ctx, name);
	if (!value)
		return pom_fail(w->error, POM_ERR_VARIABLE_VALUE, "%s: the device has no value for ${%s}", w->path->str, name);
	if (!variable_value_check(name, value, w->error)) {
		g_prefix_error(w->error, "%s: ", w->path->str);
		return false;
	}
	w->output += strlen(value);
	if (w->output > VARIABLES_OUTPUT_MAX)
		return pom_fail(w->error, POM_ERR_VARIABLE_VALUE, "with its variables replaced the profile is larger than %d MiB", VARIABLES_OUTPUT_MAX >> 20);
	g_string_append(out, value);
	return true;
}

/* What is put in is not looked at again. */
static bool walk_text(struct walk *w, const char *text, GString *out)
{
	for (const char *p = text; *p;) {
		if (g_str_has_prefix(p, "$${")) {
			g_string_append(out, "${");
			w->n++;
			p += 3;
		} else if (g_str_has_prefix(p, "${")) {
			if (!walk_variable(w, p, out, &p))
				return false;
		} else {
			g_string_append_c(out, *p++);
		}
	}
	return true;
}

static plist *walk_string(struct walk *w, const plist *node)
{
	g_autoptr(GString) out = g_string_new(NULL);

	if (!walk_text(w, plist_get_string(node), out)) {
		if (!w->lenient)
			return NULL;
		return plist_copy(node);
	}
	return plist_new_string(out->str);
}

/* A copy with its strings replaced. No deeper than a plist may be. */
static plist *walk_node(struct walk *w, const plist *node)
{
	enum plist_type type = plist_get_type(node);
	g_autoptr(plist) copy = NULL;
	gsize len = w->path->len;

	if (type == PLIST_STRING)
		return walk_string(w, node);
	if (type != PLIST_DICT && type != PLIST_ARRAY)
		return plist_copy(node);
	copy = type == PLIST_DICT ? plist_new_dict() : plist_new_array();
	for (size_t i = 0; i < plist_count(node); i++) {
		plist *child;

		if (type == PLIST_DICT)
			g_string_append_printf(w->path, "%s%s", len ? "." : "", plist_dict_key(node, i));
		else
			g_string_append_printf(w->path, "[%zu]", i);
		child = walk_node(w, plist_child(node, i));
		g_string_truncate(w->path, len);
		if (!child)
			return NULL;
		if (type == PLIST_DICT)
			plist_dict_set(copy, plist_dict_key(node, i), child);
		else
			plist_array_append(copy, child);
	}
	return g_steal_pointer(&copy);
}

static plist *walk(const plist *tree, struct walk *w)
{
	plist *made;

	w->path = g_string_new(NULL);
	made = walk_node(w, tree);
	g_string_free(w->path, TRUE);
	return made;
}

static bool check_head(const plist *tree, GError **error)
{
	static const char *const keys[] = {"PayloadIdentifier", "PayloadUUID", "PayloadType"};

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		const char *text = plist_get_string(plist_dict_get(tree, keys[i]));

		if (text && strstr(text, "${"))
			return pom_fail(error, POM_ERR_VARIABLE, "%s of the profile itself must be the same for each device: no variable can stand there", keys[i]);
	}
	return true;
}

bool variables_check(const plist *tree, size_t *ret_n, GError **error)
{
	struct walk w = {.error = error};
	g_autoptr(plist) copy = walk(tree, &w);

	if (!copy || (w.n && !check_head(tree, error)))
		return false;
	*ret_n = w.n;
	return true;
}

plist *variables_substitute(const plist *tree, variable_fn get, void *ctx, GError **error)
{
	struct walk w = {.get = get, .ctx = ctx, .error = error};

	return check_head(tree, error) ? walk(tree, &w) : NULL;
}

GPtrArray *variables_names(const plist *tree)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	struct walk w = {.names = names, .lenient = true};

	plist_free(walk(tree, &w));
	return names;
}
