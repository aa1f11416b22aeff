/* The form of NSPredicate texts, as far as it can be told without the device: see declaration_predicate_check. */
#include "core/declaration.h"

#include <string.h>

enum { PREDICATE_MAX = 8192, DEPTH_MAX = 64 };

struct reader {
	const char *text, *p;
	char open[DEPTH_MAX]; /* what is to be closed */
	unsigned depth;
	bool compares;
	char *doubt;
};

static bool is_word(char c)
{
	return g_ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '$';
}

static bool skip_quoted(struct reader *r, char **ret_why)
{
	char quote = *r->p;
	size_t at = (size_t)(r->p - r->text);

	for (r->p++; *r->p && *r->p != quote; r->p++)
		if (*r->p == '\\' && r->p[1])
			r->p++;
	if (!*r->p) {
		*ret_why = g_strdup_printf("the quote at %zu is not closed", at);
		return false;
	}
	r->p++;
	return true;
}

static bool read_bracket(struct reader *r, char **ret_why)
{
	char c = *r->p;
	size_t at = (size_t)(r->p - r->text);

	r->p++;
	if (c == '(' || c == '{' || c == '[') {
		if (r->depth == DEPTH_MAX) {
			*ret_why = g_strdup_printf("more than %d parentheses inside each other", DEPTH_MAX);
			return false;
		}
		r->open[r->depth++] = c == '(' ? ')' : c == '{' ? '}' : ']';
		return true;
	}
	if (r->depth && r->open[r->depth - 1] == c) {
		r->depth--;
		return true;
	}
	*ret_why = g_strdup_printf("'%c' at %zu closes nothing", c, at);
	return false;
}

/* @status(name), @property(name), @key(name); and functions of collections ("@count"). */
static bool read_at(struct reader *r, char **ret_why)
{
	static const char *const collections[] = {"count", "min", "max", "sum", "avg", "distinctUnionOfObjects", "unionOfObjects", NULL};
	const char *begin = ++r->p, *end;
	g_autofree char *name = NULL, *what = NULL;

	while (g_ascii_isalpha(*r->p))
		r->p++;
	what = g_strndup(begin, (gsize)(r->p - begin));
	if (g_strv_contains(collections, what))
		return true;
	if (strcmp(what, "status") && strcmp(what, "property") && strcmp(what, "key")) {
		*ret_why = g_strdup_printf("@%s is not known: there are @status(item), @property(name) and @key(name)", what);
		return false;
	}
	end = *r->p == '(' ? strchr(r->p, ')') : NULL;
	name = end ? g_strndup(r->p + 1, (gsize)(end - r->p - 1)) : NULL;
	if (!name || !*name || strpbrk(name, " \t\"'(@")) {
		*ret_why = g_strdup_printf("@%s needs a name in parentheses", what);
		return false;
	}
	if (!strcmp(what, "status") && !status_item_find(name) && !r->doubt)
		r->doubt = g_strdup_printf("\"%.64s\" is no status item of the catalog: where a device does not know it, the activation stays off", name);
	r->p = end + 1;
	return true;
}

static void read_word(struct reader *r)
{
	static const char *const words[] = {"IN", "LIKE", "CONTAINS", "BEGINSWITH", "ENDSWITH", "MATCHES", "BETWEEN", "TRUEPREDICATE", "FALSEPREDICATE", "SUBQUERY", NULL};
	const char *begin = r->p;
	g_autofree char *word = NULL;

	while (is_word(*r->p))
		r->p++;
	word = g_ascii_strup(begin, r->p - begin);
	r->compares |= g_strv_contains(words, word);
}

static bool read_predicate(struct reader *r, char **ret_why)
{
	while (*r->p) {
		bool ok = true;

		if (*r->p == '"' || *r->p == '\'')
			ok = skip_quoted(r, ret_why);
		else if (strchr("(){}[]", *r->p))
			ok = read_bracket(r, ret_why);
		else if (*r->p == '@')
			ok = read_at(r, ret_why);
		else if (is_word(*r->p))
			read_word(r);
		else
			r->compares |= strchr("=<>", *r->p) != NULL, r->p++;
		if (!ok)
			return false;
	}
	if (r->depth)
		*ret_why = g_strdup_printf("'%c' is missing at the end", r->open[r->depth - 1]);
	else if (!r->compares)
		*ret_why = g_strdup("nothing is compared in it: a predicate is like @status(device.model.family) == 'iPad'");
	return !*ret_why;
}

bool declaration_predicate_check(const char *predicate, char **ret_why)
{
	struct reader r = {.text = predicate, .p = predicate};
	bool ok;

	*ret_why = NULL;
	if (strlen(predicate) > PREDICATE_MAX) {
		*ret_why = g_strdup_printf("has more than %d bytes", PREDICATE_MAX);
		return false;
	}
	ok = read_predicate(&r, ret_why);
	if (ok)
		*ret_why = g_steal_pointer(&r.doubt);
	g_free(r.doubt);
	return ok;
}
