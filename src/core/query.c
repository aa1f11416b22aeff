#include "core/query.h"

#include <string.h>

#include "base/distance.h"
#include "core/command_table.h"

enum value_type { TYPE_ANY, TYPE_TEXT, TYPE_BOOLEAN, TYPE_NUMBER, TYPE_VERSION };
enum field { ID, UDID, SERIAL, NAME, OWNER, KIND, PLATFORM, FAMILY, IDENTIFIER, MODEL_NAME, MODEL_NUMBER, OS_VERSION, OS_BUILD, SUPERVISED, SHARED, ENROLLED_DAYS, SEEN_DAYS, FACT, ATTRIBUTE };

/* What the device told last stands before what it said when it enrolled. */
static const struct field_row { struct query_name head; enum value_type type; const char *fact; bool by_clock; } fields[] = {
	[ID] = {{"id", "the enrollment's id"}, TYPE_TEXT},
	[UDID] = {{"udid", "UDID, or EnrollmentID of a user enrollment"}, TYPE_TEXT},
	[SERIAL] = {{"serial", "serial number"}, TYPE_TEXT, "SerialNumber"},
	[NAME] = {{"name", "name of the device"}, TYPE_TEXT, "DeviceName"},
	[OWNER] = {{"owner", "the user that its enrollment link was made for"}, TYPE_TEXT},
	[KIND] = {{"kind", "kind of enrollment, as device show tells it"}, TYPE_TEXT},
	[PLATFORM] = {{"platform", "iOS (of iPads too), macOS, tvOS, visionOS, watchOS"}, TYPE_TEXT},
	[FAMILY] = {{"model.family", "iPhone, iPad, iPod, Mac, AppleTV, Watch, Vision"}, TYPE_TEXT},
	[IDENTIFIER] = {{"model.identifier", "ProductName: \"iPad13,4\""}, TYPE_TEXT, "ProductName"},
	[MODEL_NAME] = {{"model.name", "ModelName: \"iPad\""}, TYPE_TEXT, "ModelName"},
	[MODEL_NUMBER] = {{"model.number", "Model: \"MQ0G3\""}, TYPE_TEXT, "Model"},
	[OS_VERSION] = {{"os.version", "version of the system: 17.2.1"}, TYPE_VERSION, "OSVersion"},
	[OS_BUILD] = {{"os.build", "build of the system: \"21C66\""}, TYPE_TEXT, "BuildVersion"},
	[SUPERVISED] = {{"supervised", "IsSupervised, as the device told"}, TYPE_BOOLEAN, "IsSupervised"},
	[SHARED] = {{"shared", "IsMultiUser: a Shared iPad, as the device told"}, TYPE_BOOLEAN, "IsMultiUser"},
	[ENROLLED_DAYS] = {{"enrolled.days", "days since it enrolled"}, TYPE_NUMBER, NULL, true},
	[SEEN_DAYS] = {{"seen.days", "days since it was last heard"}, TYPE_NUMBER, NULL, true},
};

enum node_kind { NODE_OR, NODE_AND, NODE_NOT, NODE_EXISTS, NODE_TRUE, NODE_TEST };
enum test { TEST_EQUAL, TEST_NOT_EQUAL, TEST_LESS, TEST_LESS_EQUAL, TEST_GREATER, TEST_GREATER_EQUAL, TEST_CONTAINS, TEST_IN };
enum token { END, WORD, TEXT, NUMBER, OPERATOR, OPEN, CLOSE, COMMA };

struct value { enum token kind; char *text; bool boolean; }; /* WORD: a boolean */
struct node {
	enum node_kind kind;
	struct node *left, *right;
	enum field field;
	char *label; /* as it was written */
	const char *name; /* of a fact or attribute: in label */
	enum test test;
	GArray *values;
};

struct query {
	struct node *root;
	GPtrArray *facts, *attributes; /* NULL-terminated */
	const char *clock_name;
};

struct parser {
	const char *text, *at, *start; /* start: of the token that is next */
	enum token token;
	GString *word;
	unsigned depth, n_terms, n_values;
	struct query *query;
};

/* ---- tokens ---- */

static bool fail_at(const struct parser *p, const char *at, GError **error, const char *format, ...) G_GNUC_PRINTF(4, 5);
static bool fail_at(const struct parser *p, const char *at, GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	return pom_fail(error, POM_ERR_QUERY, "column %ld: %s", g_utf8_strlen(p->text, at - p->text) + 1, what);
}

/* What stands at the next token, for an error; transfer full. */
static char *seen(const struct parser *p)
{
	switch (p->token) {
	case END:
		return g_strdup("the end");
	case TEXT:
		return g_strdup("a text");
	case WORD:
	case NUMBER:
	case OPERATOR:
	case OPEN:
	case CLOSE:
	case COMMA:
		break;
	}
	return g_strdup_printf("\"%.40s\"", p->word->str);
}

static bool fail_expected(const struct parser *p, const char *what, GError **error)
{
	g_autofree char *found = seen(p);

	return fail_at(p, p->start, error, "expected %s, not %s", what, found);
}

static bool read_quoted(struct parser *p, GError **error)
{
	char quote = *p->at++;

	for (; *p->at && *p->at != quote; p->at++) {
		if (*p->at == '\\' && p->at[1])
			p->at++;
		g_string_append_c(p->word, *p->at);
	}
	if (!*p->at)
		return fail_at(p, p->start, error, "the text that begins here does not end: it needs a second %c", quote);
	p->at++;
	p->token = TEXT;
	return true;
}

static void take_while(struct parser *p, const char *more, bool letters)
{
	while (g_ascii_isdigit(*p->at) || (letters && g_ascii_isalpha(*p->at)) || (*p->at && strchr(more, *p->at)))
		g_string_append_c(p->word, *p->at++);
}

static bool read_number(struct parser *p, GError **error)
{
	g_string_append_c(p->word, *p->at++);
	take_while(p, ".", false);
	p->token = NUMBER;
	if (g_ascii_isalpha(*p->at) || strstr(p->word->str, "..") || p->word->str[p->word->len - 1] == '.' || !strcmp(p->word->str, "-") || !strncmp(p->word->str, "-.", 2))
		return fail_at(p, p->start, error, "this is no number and no version; a text stands in quotes");
	return true;
}

static bool read_operator(struct parser *p, GError **error)
{
	g_string_append_c(p->word, *p->at++);
	if (*p->at == '=' && p->word->str[0] != '=')
		g_string_append_c(p->word, *p->at++);
	p->token = OPERATOR;
	if (*p->at == '=' || !strcmp(p->word->str, "!"))
		return fail_at(p, p->start, error, "the tests are = != < <= > >=, contains and in");
	return true;
}

/* The next token, into P->token and P->word. */
static bool advance(struct parser *p, GError **error)
{
	static const char marks[] = "(),";
	static const enum token kinds[] = {OPEN, CLOSE, COMMA};
	const char *mark;

	while (g_ascii_isspace(*p->at))
		p->at++;
	p->start = p->at;
	g_string_truncate(p->word, 0);
	if (!*p->at) {
		p->token = END;
		return true;
	}
	if (*p->at == '"' || *p->at == '\'')
		return read_quoted(p, error);
	if (g_ascii_isdigit(*p->at) || *p->at == '-')
		return read_number(p, error);
	if (strchr("=!<>", *p->at))
		return read_operator(p, error);
	if (g_ascii_isalpha(*p->at) || *p->at == '_') {
		take_while(p, "._-", true);
		p->token = WORD;
		return true;
	}
	mark = strchr(marks, *p->at);
	if (!mark)
		return fail_at(p, p->start, error, "this character has no meaning here; a text stands in quotes");
	g_string_append_c(p->word, *p->at++);
	p->token = kinds[mark - marks];
	return true;
}

static bool is_word(const struct parser *p, const char *word)
{
	return p->token == WORD && !g_ascii_strcasecmp(p->word->str, word);
}

/* ---- the tree ---- */

static void clear_value(void *data)
{
	g_free(((struct value *)data)->text);
}

static void node_free(struct node *node)
{
	if (!node)
		return;
	node_free(node->left);
	node_free(node->right);
	g_free(node->label);
	g_clear_pointer(&node->values, g_array_unref);
	g_free(node);
}

typedef struct node node_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(node_auto, node_free)

static struct node *node_new(enum node_kind kind, struct node *left, struct node *right)
{
	struct node *node = g_new0(struct node, 1);

	node->kind = kind;
	node->left = left;
	node->right = right;
	return node;
}

static void add_once(GPtrArray *names, const char *name, gssize len)
{
	g_autofree char *copy = len < 0 ? g_strdup(name) : g_strndup(name, (gsize)len);

	for (guint i = 0; i < names->len; i++)
		if (!strcmp(g_ptr_array_index(names, i), copy))
			return;
	g_ptr_array_add(names, g_steal_pointer(&copy));
}

/* "SecurityInfo.ManagementStatus.IsUserEnrollment" may be a fact, or a key in the dictionary of a fact with a shorter name. */
static void need_facts(struct query *query, const char *name)
{
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
		add_once(query->facts, name, dot - name);
	add_once(query->facts, name, -1);
}

static const char *nearest_name(const char *word)
{
	const char *best = NULL;
	unsigned least = MIN(4, (unsigned)strlen(word) / 3 + 1);

	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		unsigned d = pom_name_distance(word, fields[i].head.name);

		if (d < least) {
			least = d;
			best = fields[i].head.name;
		}
	}
	return best;
}

static bool take_name(struct parser *p, struct node *node, GError **error)
{
	const char *word = p->word->str, *near;

	if (p->token != WORD)
		return fail_expected(p, "a name", error);
	node->label = g_strdup(word);
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
		if (!g_ascii_strcasecmp(word, fields[i].head.name)) {
			node->field = (enum field)i;
			if (fields[i].fact)
				add_once(p->query->facts, fields[i].fact, -1);
			if (fields[i].by_clock && !p->query->clock_name)
				p->query->clock_name = fields[i].head.name;
			return advance(p, error);
		}
	if (g_str_has_prefix(word, "fact.") && word[strlen("fact.")]) {
		node->field = FACT;
		node->name = node->label + strlen("fact.");
		need_facts(p->query, node->name);
		return advance(p, error);
	}
	if (g_str_has_prefix(word, "attr.") && word[strlen("attr.")]) {
		node->field = ATTRIBUTE;
		node->name = node->label + strlen("attr.");
		add_once(p->query->attributes, node->name, -1);
		return advance(p, error);
	}
	near = nearest_name(word);
	return fail_at(p, p->start, error, "\"%.64s\" is not known%s%s%s; a fact of the device is fact.NAME, an attribute attr.NAME", word, near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static enum value_type type_of(const struct node *node)
{
	return node->field < FACT ? fields[node->field].type : node->field == ATTRIBUTE ? TYPE_TEXT : TYPE_ANY;
}

/* A number, or as many with dots between as a version has. */
static bool is_digits(const char *text)
{
	return *text && strspn(text, "0123456789.") == strlen(text) && g_ascii_isdigit(*text);
}

static bool is_ordering(enum test test)
{
	return test >= TEST_LESS && test <= TEST_GREATER_EQUAL;
}

static bool check_value(const struct parser *p, const struct node *node, const struct value *v, const char *at, GError **error)
{
	enum value_type type = type_of(node);
	const char *name = node->label;

	if (is_ordering(node->test) && v->kind != NUMBER && !(v->kind == TEXT && is_digits(v->text)))
		return fail_at(p, at, error, "expected a number or a version after <, <=, > or >=");
	if (is_ordering(node->test) && type == TYPE_BOOLEAN)
		return fail_at(p, at, error, "%s is true or false: it has no order", name);
	if (node->test == TEST_CONTAINS && v->kind == WORD)
		return fail_at(p, at, error, "expected a text after contains");
	if (type == TYPE_BOOLEAN && v->kind != WORD)
		return fail_at(p, at, error, "expected true or false: so is %s", name);
	if (type == TYPE_NUMBER && (v->kind != NUMBER || strchr(v->text, '.') != strrchr(v->text, '.')))
		return fail_at(p, at, error, "expected a number: so is %s", name);
	if (v->kind == WORD && type != TYPE_BOOLEAN && type != TYPE_ANY)
		return fail_at(p, at, error, "expected %s: %s is never true or false", type == TYPE_NUMBER ? "a number" : type == TYPE_VERSION ? "a version" : "a text in quotes", name);
	return true;
}

static bool take_value(struct parser *p, struct node *node, GError **error)
{
	struct value v = {.kind = p->token};

	if (p->token == WORD && !is_word(p, "true") && !is_word(p, "false"))
		return fail_at(p, p->start, error, "expected a value; a text stands in quotes: \"%.40s\"", p->word->str);
	if (p->token != WORD && p->token != TEXT && p->token != NUMBER)
		return fail_expected(p, "a value", error);
	if (++p->n_values > QUERY_VALUES_MAX)
		return fail_at(p, p->start, error, "a query has at most %d values", QUERY_VALUES_MAX);
	v.boolean = is_word(p, "true");
	v.text = p->token == TEXT ? g_utf8_casefold(p->word->str, -1) : g_strdup(p->word->str);
	g_array_append_val(node->values, v);
	return check_value(p, node, &v, p->start, error) && advance(p, error);
}

static bool take_list(struct parser *p, struct node *node, GError **error)
{
	if (p->token != OPEN)
		return fail_expected(p, "( after in", error);
	do {
		if (!advance(p, error) || !take_value(p, node, error))
			return false;
	} while (p->token == COMMA);
	if (p->token != CLOSE)
		return fail_expected(p, ", or )", error);
	return advance(p, error);
}

/* Which test the next token is; -1: none. */
static int find_test(const struct parser *p)
{
	static const char *const operators[] = {"=", "!=", "<", "<=", ">", ">="};

	for (size_t i = 0; p->token == OPERATOR && i < G_N_ELEMENTS(operators); i++)
		if (!strcmp(p->word->str, operators[i]))
			return (int)i;
	return is_word(p, "contains") ? TEST_CONTAINS : is_word(p, "in") ? TEST_IN : -1;
}

static bool take_test(struct parser *p, struct node *node, GError **error)
{
	const char *name_at = p->start;
	enum value_type type;
	int test;

	if (!take_name(p, node, error))
		return false;
	type = type_of(node);
	test = find_test(p);
	if (test < 0) {
		node->kind = NODE_TRUE;
		return type == TYPE_BOOLEAN || type == TYPE_ANY || fail_at(p, name_at, error, "%s is not true or false: compare it, or ask \"exists %s\"", node->label, node->label);
	}
	node->kind = NODE_TEST;
	node->test = (enum test)test;
	node->values = g_array_new(FALSE, FALSE, sizeof(struct value));
	g_array_set_clear_func(node->values, clear_value);
	if (node->test == TEST_CONTAINS && type != TYPE_TEXT && type != TYPE_ANY)
		return fail_at(p, p->start, error, "contains is for texts and lists");
	if (is_ordering(node->test) && type == TYPE_TEXT && node->field < FACT)
		return fail_at(p, p->start, error, "%s is a text: it has no order", node->label);
	return advance(p, error) && (node->test == TEST_IN ? take_list(p, node, error) : take_value(p, node, error));
}

static struct node *take_or(struct parser *p, GError **error);

static struct node *take_inner(struct parser *p, GError **error)
{
	g_autoptr(node_auto) inner = NULL;

	if (!advance(p, error) || !(inner = take_or(p, error)))
		return NULL;
	if (p->token != CLOSE) {
		fail_expected(p, "and, or, or )", error);
		return NULL;
	}
	return advance(p, error) ? g_steal_pointer(&inner) : NULL;
}

static struct node *take_term(struct parser *p, GError **error)
{
	g_autoptr(node_auto) node = NULL;

	if (++p->n_terms > QUERY_TERMS_MAX) {
		fail_at(p, p->start, error, "a query has at most %d terms", QUERY_TERMS_MAX);
		return NULL;
	}
	if (p->token == OPEN)
		return take_inner(p, error);
	node = node_new(NODE_EXISTS, NULL, NULL);
	if (is_word(p, "exists"))
		return advance(p, error) && take_name(p, node, error) ? g_steal_pointer(&node) : NULL;
	return take_test(p, node, error) ? g_steal_pointer(&node) : NULL;
}

static struct node *take_not(struct parser *p, GError **error)
{
	struct node *node = NULL;

	if (++p->depth > QUERY_DEPTH_MAX) {
		fail_at(p, p->start, error, "nested deeper than %d", QUERY_DEPTH_MAX);
		return NULL;
	}
	if (!is_word(p, "not"))
		node = take_term(p, error);
	else if (advance(p, error) && (node = take_not(p, error)))
		node = node_new(NODE_NOT, node, NULL);
	p->depth--;
	return node;
}

static struct node *take_chain(struct parser *p, enum node_kind kind, GError **error)
{
	const char *word = kind == NODE_OR ? "or" : "and";
	g_autoptr(node_auto) node = kind == NODE_OR ? take_chain(p, NODE_AND, error) : take_not(p, error);

	while (node && is_word(p, word)) {
		struct node *right = NULL;

		if (advance(p, error))
			right = kind == NODE_OR ? take_chain(p, NODE_AND, error) : take_not(p, error);
		if (!right)
			return NULL;
		node = node_new(kind, node, right);
	}
	return g_steal_pointer(&node);
}

static struct node *take_or(struct parser *p, GError **error)
{
	return take_chain(p, NODE_OR, error);
}

struct query *query_parse(const char *text, GError **error)
{
	g_autoptr(query) query = g_new0(struct query, 1);
	g_autoptr(GString) word = g_string_new(NULL);
	struct parser p = {.text = text, .at = text, .start = text, .word = word, .query = query};

	query->facts = g_ptr_array_new_with_free_func(g_free);
	query->attributes = g_ptr_array_new_with_free_func(g_free);
	if (strlen(text) > QUERY_LENGTH_MAX || !g_utf8_validate(text, -1, NULL)) {
		pom_fail(error, POM_ERR_QUERY, "a query is UTF-8 text of at most %d bytes", QUERY_LENGTH_MAX);
		return NULL;
	}
	if (!advance(&p, error) || !(query->root = take_or(&p, error)))
		return NULL;
	if (p.token != END) {
		fail_expected(&p, "and, or, or the end", error);
		return NULL;
	}
	g_ptr_array_add(query->facts, NULL);
	g_ptr_array_add(query->attributes, NULL);
	return g_steal_pointer(&query);
}

void query_free(struct query *query)
{
	if (!query)
		return;
	node_free(query->root);
	g_ptr_array_unref(query->facts);
	g_ptr_array_unref(query->attributes);
	g_free(query);
}

const char *const *query_facts(const struct query *query)
{
	return (const char *const *)query->facts->pdata;
}

const char *const *query_attributes(const struct query *query)
{
	return (const char *const *)query->attributes->pdata;
}

const char *query_clock_name(const struct query *query)
{
	return query->clock_name;
}

const struct query_name *query_name_at(unsigned i)
{
	return i < G_N_ELEMENTS(fields) ? &fields[i].head : NULL;
}

/* ---- values of a device ---- */

static json_t *text_value(const char *text)
{
	return text && *text ? json_string(text) : NULL;
}

static json_t *parse_fact(const struct query_device *d, const char *name)
{
	const char *text = d->fact ? d->fact(d->ctx, name) : NULL;

	return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* The fact with the longest name that NAME begins with, and in it the keys that are left. */
static json_t *fact_value(const struct query_device *d, const char *name)
{
	g_autofree char *head = g_strdup(name);
	json_t *value = parse_fact(d, head), *inner;
	const char *rest;

	while (!value) {
		char *dot = strrchr(head, '.');

		if (!dot)
			return NULL;
		*dot = '\0';
		value = parse_fact(d, head);
	}
	rest = name + strlen(head);
	while (value && *rest == '.') {
		g_autofree char *key = g_strndup(rest + 1, strcspn(rest + 1, "."));

		inner = json_incref(json_object_get(value, key));
		json_decref(value);
		value = inner;
		rest += 1 + strlen(key);
	}
	return value;
}

static const char *family_of(const char *product_name, const char *model)
{
	static const char *const names[] = {"iPhone", "iPad", "iPod"};

	for (size_t i = 0; product_name && i < G_N_ELEMENTS(names); i++)
		if (g_str_has_prefix(product_name, names[i]))
			return names[i];
	switch (platform_of(product_name, model)) {
	case PLATFORM_MACOS:
		return "Mac";
	case PLATFORM_TVOS:
		return "AppleTV";
	case PLATFORM_VISIONOS:
		return "Vision";
	case PLATFORM_WATCHOS:
		return "Watch";
	case PLATFORM_IOS:
	case PLATFORM_MAX:
		break;
	}
	return NULL;
}

static json_t *days_since(int64_t then_ms, int64_t now_ms)
{
	return then_ms ? json_real((double)(now_ms - then_ms) / 86400000) : NULL;
}

static const char *enrollment_text(const struct query_device *d, enum field field)
{
	enum platform platform = platform_of(d->product_name, d->model);

	switch (field) {
	case ID:
		return d->id;
	case UDID:
		return d->udid;
	case SERIAL:
		return d->serial;
	case NAME:
		return d->name;
	case OWNER:
		return d->owner;
	case KIND:
		return d->kind;
	case PLATFORM:
		return platform < PLATFORM_MAX ? platform_name(platform) : NULL;
	case FAMILY:
		return family_of(d->product_name, d->model);
	case IDENTIFIER:
		return d->product_name;
	case MODEL_NAME:
		return d->model_name;
	case MODEL_NUMBER:
		return d->model;
	case OS_VERSION:
		return d->os_version;
	case OS_BUILD:
		return d->build_version;
	case SUPERVISED:
	case SHARED:
	case ENROLLED_DAYS:
	case SEEN_DAYS:
	case FACT:
	case ATTRIBUTE:
		break;
	}
	return NULL;
}

/* transfer full; NULL: not known. */
static json_t *value_of(const struct query_device *d, const struct node *node)
{
	json_t *told;

	if (node->field == FACT)
		return fact_value(d, node->name);
	if (node->field == ATTRIBUTE)
		return text_value(d->attribute ? d->attribute(d->ctx, node->name) : NULL);
	if (node->field == ENROLLED_DAYS || node->field == SEEN_DAYS)
		return days_since(node->field == SEEN_DAYS ? d->last_seen_ms : d->enrolled_ms, d->now_ms);
	told = fields[node->field].fact ? parse_fact(d, fields[node->field].fact) : NULL;
	return told ? told : text_value(enrollment_text(d, node->field));
}

/* ---- tests ---- */

/* The next part of a version, and past its dot. Digits beyond what fits are the largest. */
static uint64_t next_part(const char **at)
{
	uint64_t part = 0;

	for (; g_ascii_isdigit(**at); ++*at)
		part = part > UINT32_MAX ? part : part * 10 + (uint64_t)(**at - '0');
	if (**at == '.')
		++*at;
	return part;
}

static int compare_versions(const char *a, const char *b)
{
	while (*a || *b) {
		uint64_t left = next_part(&a), right = next_part(&b);

		if (left != right)
			return left < right ? -1 : 1;
	}
	return 0;
}

/* VALUE against V; false: they cannot be compared. */
static bool compare(const json_t *value, const struct value *v, int *ret)
{
	double a, b;
	g_autofree char *folded = NULL;

	if (json_is_boolean(value)) {
		*ret = json_is_true(value) == v->boolean ? 0 : 1;
		return v->kind == WORD;
	}
	if (v->kind == WORD)
		return false;
	if (json_is_number(value)) {
		if (v->kind != NUMBER || strchr(v->text, '.') != strrchr(v->text, '.'))
			return false;
		a = json_number_value(value);
		b = g_ascii_strtod(v->text, NULL);
		*ret = a < b ? -1 : a > b ? 1 : 0;
		return true;
	}
	if (!json_is_string(value))
		return false;
	if (v->kind == NUMBER && is_digits(v->text) && is_digits(json_string_value(value))) {
		*ret = compare_versions(json_string_value(value), v->text);
		return true;
	}
	folded = g_utf8_casefold(json_string_value(value), -1);
	*ret = strcmp(folded, v->text);
	return true;
}

/* For an order both must be versions or numbers: a text that is none is not before or after one. */
static bool compare_order(const json_t *value, const struct value *v, int *ret)
{
	struct value digits = {.kind = NUMBER, .text = v->text};

	if (json_is_string(value) && (!is_digits(json_string_value(value)) || !is_digits(v->text)))
		return false;
	return !json_is_boolean(value) && compare(value, &digits, ret);
}

static bool is_equal(const json_t *value, const struct value *v)
{
	int order;

	return compare(value, v, &order) && order == 0;
}

static bool contains(const json_t *value, const struct value *v)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value)) {
		g_autofree char *folded = g_utf8_casefold(json_string_value(value), -1);

		return strstr(folded, v->text) != NULL;
	}
	json_array_foreach(value, i, item)
		if (is_equal(item, v))
			return true;
	return false;
}

static bool passes(const struct node *node, const json_t *value)
{
	const struct value *v = &g_array_index(node->values, struct value, 0);
	int order;

	switch (node->test) {
	case TEST_EQUAL:
		return is_equal(value, v);
	case TEST_NOT_EQUAL:
		return !is_equal(value, v);
	case TEST_LESS:
		return compare_order(value, v, &order) && order < 0;
	case TEST_LESS_EQUAL:
		return compare_order(value, v, &order) && order <= 0;
	case TEST_GREATER:
		return compare_order(value, v, &order) && order > 0;
	case TEST_GREATER_EQUAL:
		return compare_order(value, v, &order) && order >= 0;
	case TEST_CONTAINS:
		return contains(value, v);
	case TEST_IN:
		for (guint i = 0; i < node->values->len; i++)
			if (is_equal(value, &g_array_index(node->values, struct value, i)))
				return true;
		return false;
	}
	return false;
}

static bool match(const struct node *node, const struct query_device *d)
{
	g_autoptr(json_t) value = NULL;

	if (node->kind == NODE_OR)
		return match(node->left, d) || match(node->right, d);
	if (node->kind == NODE_AND)
		return match(node->left, d) && match(node->right, d);
	if (node->kind == NODE_NOT)
		return !match(node->left, d);
	value = value_of(d, node);
	if (!value)
		return false;
	return node->kind == NODE_EXISTS || (node->kind == NODE_TRUE ? json_is_true(value) : passes(node, value));
}

bool query_match(const struct query *query, const struct query_device *device)
{
	return match(query->root, device);
}
