/* XML → tree: a state machine over expat's events. Three states follow from two facts: whether a leaf element is open (its
 * text is being collected) and what container is on top of the stack. */
#include <expat.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/datetime.h"
#include "codec/plist_internal.h"

enum element { EL_NONE, EL_PLIST, EL_KEY, EL_DICT, EL_ARRAY, EL_STRING, EL_INTEGER, EL_REAL, EL_TRUE, EL_FALSE, EL_DATE, EL_DATA, EL_MAX };

static const char *const element_names[] = {
	[EL_PLIST] = "plist", [EL_KEY] = "key", [EL_DICT] = "dict", [EL_ARRAY] = "array", [EL_STRING] = "string", [EL_INTEGER] = "integer",
	[EL_REAL] = "real", [EL_TRUE] = "true", [EL_FALSE] = "false", [EL_DATE] = "date", [EL_DATA] = "data",
};

enum {
	REAL_TEXT_MAX = 400,  /* "%f" of the largest double needs 317 characters */
	PATH_KEY_MAX = 64,    /* bytes of a key that an error message quotes */
};

struct frame {
	plist *container;
	GString *key;         /* waiting for its value; NULL when none waits */
	const plist *first;   /* the value that the key has already; NULL: none */
	int key_line;
};

struct reader {
	XML_Parser parser;
	struct plist_limits limits;
	struct plist_notes *notes; /* NULL: nobody wants them */
	bool in_plist;        /* the root element is open or was */
	plist *root;
	enum element leaf;    /* open leaf element or EL_NONE */
	GString *text;        /* of the open leaf */
	unsigned n_nodes, depth;
	GError *error;
	GString *keys[PLIST_DEPTH_MAX + 1]; /* reused from dictionary to dictionary */
	struct frame stack[PLIST_DEPTH_MAX + 1];
};

static struct frame *top(struct reader *r)
{
	return r->depth ? &r->stack[r->depth - 1] : NULL;
}

/* "Command.Queries[2]", transfer full. */
static char *key_path(struct reader *r)
{
	GString *path = g_string_new(NULL);

	for (unsigned i = 0; i < r->depth; i++) {
		const struct frame *frame = &r->stack[i];

		if (frame->container->type == PLIST_ARRAY) {
			g_string_append_printf(path, "[%zu]", frame->container->n_items);
			continue;
		}
		if (!frame->key)
			continue;
		size_t len = frame->key->len;

		while (len > PATH_KEY_MAX || (len > 0 && len < frame->key->len && ((uint8_t)frame->key->str[len] & 0xc0) == 0x80))
			len = len > PATH_KEY_MAX ? PATH_KEY_MAX : len - 1;
		g_string_append_printf(path, "%s%.*s", path->len ? "." : "", (int)len, frame->key->str);
	}
	return g_string_free(path, FALSE);
}

/* Records the first error with line and key path, and makes expat stop. */
static void fail(struct reader *r, enum pom_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void fail(struct reader *r, enum pom_error code, const char *format, ...)
{
	g_autofree char *path = NULL, *what = NULL;
	va_list args;

	if (r->error)
		return;
	if (r->notes)
		r->notes->error_line = (int)XML_GetCurrentLineNumber(r->parser);
	path = key_path(r);
	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	pom_fail(&r->error, code, "line %lu%s%s: %s", (unsigned long)XML_GetCurrentLineNumber(r->parser), *path ? ", at " : "", path, what);
	XML_StopParser(r->parser, XML_FALSE);
}

static void free_duplicate(void *data)
{
	struct plist_duplicate *duplicate = data;

	g_free(duplicate->path);
	g_free(duplicate);
}

void plist_notes_init(struct plist_notes *notes)
{
	*notes = (struct plist_notes){.lines = g_hash_table_new(NULL, NULL), .duplicates = g_ptr_array_new_with_free_func(free_duplicate), .dropped = plist_new_array()};
}

void plist_notes_clear(struct plist_notes *notes)
{
	g_clear_pointer(&notes->lines, g_hash_table_unref);
	g_clear_pointer(&notes->duplicates, g_ptr_array_unref);
	g_clear_pointer(&notes->dropped, plist_free);
}

void plist_note_duplicate(struct plist_notes *notes, const char *path, int line, const plist *first, plist *second)
{
	struct plist_duplicate *duplicate = g_new(struct plist_duplicate, 1);

	plist_array_append(notes->dropped, second);
	*duplicate = (struct plist_duplicate){g_strdup(path), line, first, second};
	if (notes->duplicates->len < PLIST_DUPLICATES_MAX)
		g_ptr_array_add(notes->duplicates, duplicate);
	else
		free_duplicate(duplicate);
}

static void note_line(struct reader *r, const plist *node)
{
	const struct frame *frame = top(r);
	int line = frame && frame->key ? frame->key_line : (int)XML_GetCurrentLineNumber(r->parser);

	if (r->notes)
		g_hash_table_insert(r->notes->lines, (void *)(uintptr_t)node, GINT_TO_POINTER(line));
}

/* Puts NODE (transfer full) where the document has it. */
static void place(struct reader *r, plist *node)
{
	g_autoptr(plist) owned = node;
	struct frame *frame = top(r);

	if (++r->n_nodes > r->limits.n_nodes) {
		fail(r, POM_ERR_PLIST_LIMIT, "more than %u values", r->limits.n_nodes);
		return;
	}
	note_line(r, node);
	if (!frame) {
		r->root = g_steal_pointer(&owned);
		return;
	}
	if (frame->container->type == PLIST_ARRAY) {
		plist_array_append(frame->container, g_steal_pointer(&owned));
		return;
	}
	if (frame->first) {
		g_autofree char *path = key_path(r);

		plist_note_duplicate(r->notes, path, frame->key_line, frame->first, g_steal_pointer(&owned));
		return;
	}
	/* The key was looked for when it ended, so that its own line is named. */
	plist_dict_add(frame->container, frame->key->str, frame->key->len, g_steal_pointer(&owned));
}

/* Whether a value may stand here. */
static bool value_may_start(struct reader *r)
{
	const struct frame *frame = top(r);

	if (!frame && r->root)
		fail(r, POM_ERR_PLIST_STRUCTURE, "a second value at the top");
	else if (frame && frame->container->type == PLIST_DICT && !frame->key)
		fail(r, POM_ERR_PLIST_STRUCTURE, "a value without a key");
	return !r->error;
}

static void start_container(struct reader *r, enum element element)
{
	if (r->depth >= r->limits.depth) {
		fail(r, POM_ERR_PLIST_LIMIT, "more than %u containers inside one another", r->limits.depth);
		return;
	}
	plist *container = element == EL_DICT ? plist_new_dict() : plist_new_array();

	place(r, container);
	if (r->error)
		return;
	r->stack[r->depth++] = (struct frame){.container = container};
}

static void start_key(struct reader *r)
{
	const struct frame *frame = top(r);

	if (!frame || frame->container->type != PLIST_DICT)
		fail(r, POM_ERR_PLIST_STRUCTURE, "<key> outside a dictionary");
	else if (frame->key)
		fail(r, POM_ERR_PLIST_STRUCTURE, "a key without a value");
}

static enum element find_element(const char *name)
{
	for (enum element i = EL_PLIST; i < EL_MAX; i++) {
		if (name[0] == element_names[i][0] && !strcmp(name, element_names[i]))
			return i;
	}
	return EL_NONE;
}

static void start_root(struct reader *r, const char *name, const char **attributes)
{
	r->in_plist = true;
	if (strcmp(name, "plist"))
		fail(r, POM_ERR_PLIST_STRUCTURE, "the document's element is <%.32s>, must be <plist>", name);
	else if (attributes[0] && (strcmp(attributes[0], "version") || strcmp(attributes[1], "1.0") || attributes[2]))
		fail(r, POM_ERR_PLIST_STRUCTURE, "<plist> has another attribute than version=\"1.0\"");
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
	struct reader *r = ctx;
	enum element element = find_element(name);

	if (r->error)
		return;
	if (!r->in_plist) {
		start_root(r, name, attributes);
		return;
	}
	if (element == EL_NONE || element == EL_PLIST || attributes[0] || r->leaf) {
		fail(r, POM_ERR_PLIST_STRUCTURE, "<%.32s> is unknown, has an attribute or stands inside another value", name);
		return;
	}
	if (element == EL_KEY)
		start_key(r);
	else if (!value_may_start(r))
		return;
	if (element == EL_DICT || element == EL_ARRAY)
		start_container(r, element);
	else
		r->leaf = element;
}

/* Apple writes integers in decimal with nothing around them; "0x10" and "010" mean different numbers to different readers. */
static plist *parse_integer(const GString *text)
{
	const char *p = text->str;
	bool negative = *p == '-';
	uint64_t value;

	p += negative;
	if (!g_ascii_isdigit(*p) || (*p == '0' && (p[1] || negative)) || text->len > 20)
		return NULL;
	if (!g_ascii_string_to_unsigned(p, 10, 0, negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX, &value, NULL))
		return NULL;
	return negative ? plist_new_integer((int64_t)(0 - value)) : plist_new_unsigned(value);
}

/* Digits with at most one point among them, at least one digit; moves *p behind them. */
static bool skip_mantissa(const char **p)
{
	unsigned n_digits = 0, n_points = 0;

	for (; g_ascii_isdigit(**p) || **p == '.'; (*p)++) {
		if (**p == '.')
			n_points++;
		else
			n_digits++;
	}
	return n_digits > 0 && n_points <= 1;
}

static plist *parse_special_real(const char *text)
{
	static const struct {
		const char *text;
		double value;
	} specials[] = {
		{"nan", NAN}, {"inf", INFINITY}, {"+inf", INFINITY}, {"-inf", -INFINITY},
		{"infinity", INFINITY}, {"+infinity", INFINITY}, {"-infinity", -INFINITY},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(specials); i++) {
		if (!g_ascii_strcasecmp(text, specials[i].text))
			return plist_new_real(specials[i].value);
	}
	return NULL;
}

static plist *parse_real(const GString *text)
{
	const char *p = text->str;

	if (text->len > REAL_TEXT_MAX)
		return NULL;
	p += *p == '-' || *p == '+';
	if (!skip_mantissa(&p))
		return parse_special_real(text->str);
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		if (!g_ascii_isdigit(*p))
			return NULL;
		while (g_ascii_isdigit(*p))
			p++;
	}
	if (*p)
		return NULL;
	double value = g_ascii_strtod(text->str, NULL);

	return isinf(value) ? NULL : plist_new_real(value);
}

static plist *parse_date(const GString *text)
{
	int64_t unix_seconds;

	return datetime_parse(text->str, text->len, &unix_seconds) ? plist_new_date(unix_seconds) : NULL;
}

static plist *parse_data(const GString *text)
{
	g_autoptr(plist) node = plist_new_data_room(base64_decoded_max(text->len));
	size_t len;

	if (!base64_parse(text->str, text->len, BASE64_SPACE, (uint8_t *)node->bytes, &len))
		return NULL;
	/* The room was for the text, which may have been mostly spaces. */
	plist *fitted = g_realloc(g_steal_pointer(&node), sizeof(*fitted) + len + 1);

	fitted->len = len;
	fitted->bytes[len] = '\0';
	return fitted;
}

static plist *parse_leaf(enum element element, const GString *text)
{
	switch (element) {
	case EL_STRING:
		return plist_new_string_len(text->str, text->len);
	case EL_INTEGER:
		return parse_integer(text);
	case EL_REAL:
		return parse_real(text);
	case EL_TRUE:
	case EL_FALSE:
		return text->len ? NULL : plist_new_boolean(element == EL_TRUE);
	case EL_DATE:
		return parse_date(text);
	case EL_DATA:
		return parse_data(text);
	case EL_NONE:
	case EL_PLIST:
	case EL_KEY:
	case EL_DICT:
	case EL_ARRAY:
	case EL_MAX:
	default:
		return NULL;
	}
}

static void end_key(struct reader *r)
{
	struct frame *frame = top(r);
	GString **slot = &r->keys[r->depth];

	if (!*slot)
		*slot = g_string_new(NULL);
	g_string_truncate(*slot, 0);
	g_string_append_len(*slot, r->text->str, (gssize)r->text->len);
	frame->key = *slot;
	frame->key_line = (int)XML_GetCurrentLineNumber(r->parser);
	frame->first = plist_dict_get(frame->container, frame->key->str);
	if (frame->first && !r->notes)
		fail(r, POM_ERR_PLIST_STRUCTURE, "the key stands there twice");
}

static void end_leaf(struct reader *r)
{
	enum element element = r->leaf;
	struct frame *frame = top(r);
	plist *node;

	r->leaf = EL_NONE;
	if (element == EL_KEY) {
		end_key(r);
	} else if (!(node = parse_leaf(element, r->text))) {
		fail(r, POM_ERR_PLIST_VALUE, "the text of <%s> does not have the form of its type", element_names[element]);
	} else {
		place(r, node);
		if (frame)
			frame->key = NULL;
	}
	g_string_truncate(r->text, 0);
}

static void end_container(struct reader *r)
{
	if (top(r)->key) {
		fail(r, POM_ERR_PLIST_STRUCTURE, "a key without a value");
		return;
	}
	r->depth--;
	if (r->depth)
		top(r)->key = NULL;
}

static void on_end(void *ctx, const char *name)
{
	struct reader *r = ctx;

	if (r->error)
		return;
	if (r->leaf)
		end_leaf(r);
	else if (r->depth)
		end_container(r);
	else if (!r->root)
		fail(r, POM_ERR_PLIST_STRUCTURE, "<plist> holds no value");
}

static void on_text(void *ctx, const char *text, int len)
{
	struct reader *r = ctx;

	if (r->error)
		return;
	if (r->leaf) {
		g_string_append_len(r->text, text, len);
		return;
	}
	for (int i = 0; i < len; i++) {
		if (text[i] != ' ' && text[i] != '\t' && text[i] != '\n' && text[i] != '\r') {
			fail(r, POM_ERR_PLIST_STRUCTURE, "text between elements");
			return;
		}
	}
}

/* Inside a value some readers would end the text here and others join the halves. */
static void refuse_inside_value(struct reader *r)
{
	if (r->leaf)
		fail(r, POM_ERR_PLIST_STRUCTURE, "a comment or processing instruction inside a value");
}

static void on_comment(void *ctx, const char *text)
{
	refuse_inside_value(ctx);
}

static void on_instruction(void *ctx, const char *target, const char *data)
{
	refuse_inside_value(ctx);
}

static void on_declaration(void *ctx, const char *version, const char *encoding, int standalone)
{
	struct reader *r = ctx;

	if (g_strcmp0(version, "1.0"))
		fail(r, POM_ERR_PLIST_SYNTAX, "only XML 1.0 is accepted");
	else if (encoding && g_ascii_strcasecmp(encoding, "UTF-8"))
		fail(r, POM_ERR_PLIST_SYNTAX, "only UTF-8 is accepted");
}

static void on_doctype(void *ctx, const char *name, const char *system_id, const char *public_id, int has_internal_subset)
{
	struct reader *r = ctx;

	if (has_internal_subset)
		fail(r, POM_ERR_PLIST_ENTITY, "declarations in the DOCTYPE are not accepted");
	else if (strcmp(name, "plist"))
		fail(r, POM_ERR_PLIST_STRUCTURE, "the DOCTYPE is not plist");
}

static void on_entity(void *ctx, const char *name, int is_parameter, const char *value, int len, const char *base, const char *system_id, const char *public_id, const char *notation)
{
	fail(ctx, POM_ERR_PLIST_ENTITY, "an entity declaration");
}

static void on_skipped_entity(void *ctx, const char *name, int is_parameter)
{
	fail(ctx, POM_ERR_PLIST_ENTITY, "an entity that XML does not define");
}

/* expat would follow a UTF-16 byte order mark whatever encoding it is told. */
static bool check_input(struct reader *r, const uint8_t *data, size_t len)
{
	if (len > r->limits.size_bytes)
		return pom_fail(&r->error, POM_ERR_PLIST_LIMIT, "the property list has %zu bytes, at most %zu are accepted", len, r->limits.size_bytes);
	if (len >= 2 && (data[0] >= 0xfe || !data[0] || !data[1]))
		return pom_fail(&r->error, POM_ERR_PLIST_SYNTAX, "line 1: only UTF-8 is accepted");
	return true;
}

static void set_handlers(struct reader *r)
{
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetCommentHandler(r->parser, on_comment);
	XML_SetProcessingInstructionHandler(r->parser, on_instruction);
	XML_SetXmlDeclHandler(r->parser, on_declaration);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	XML_SetEntityDeclHandler(r->parser, on_entity);
	XML_SetSkippedEntityHandler(r->parser, on_skipped_entity);
}

static void run(struct reader *r, const char *data, size_t len)
{
	static const XML_Memory_Handling_Suite memory = {g_malloc, g_realloc, g_free};

	if (!check_input(r, (const uint8_t *)data, len))
		return;
	r->parser = XML_ParserCreate_MM("UTF-8", &memory, NULL);
	set_handlers(r);
	if (XML_Parse(r->parser, data, (int)len, XML_TRUE) == XML_STATUS_ERROR && !r->error) {
		enum XML_Error code = XML_GetErrorCode(r->parser);

		fail(r, code == XML_ERROR_UNDEFINED_ENTITY ? POM_ERR_PLIST_ENTITY : POM_ERR_PLIST_SYNTAX, "%s", XML_ErrorString(code));
	}
	XML_ParserFree(r->parser);
}

plist *plist_parse(const void *data, size_t len, const struct plist_limits *limits, GError **error)
{
	return plist_parse_noted(data, len, limits, NULL, error);
}

plist *plist_parse_noted(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error)
{
	struct reader r;
	unsigned depth;

	/* All but the two arrays, which are filled as far as the document goes deep. */
	memset(&r, 0, G_STRUCT_OFFSET(struct reader, keys));
	r.limits = limits ? *limits : plist_limits_default;
	r.notes = notes;
	r.limits.depth = MIN(r.limits.depth, PLIST_DEPTH_MAX);
	r.limits.size_bytes = MIN(r.limits.size_bytes, INT_MAX / 2);
	memset(r.keys, 0, (r.limits.depth + 1) * sizeof(r.keys[0]));
	r.text = g_string_sized_new(256);
	run(&r, len ? data : "", len);
	for (depth = 0; depth <= r.limits.depth; depth++) {
		if (r.keys[depth])
			g_string_free(r.keys[depth], TRUE);
	}
	g_string_free(r.text, TRUE);
	if (!r.error)
		return r.root;
	plist_free(r.root);
	g_propagate_error(error, r.error);
	return NULL;
}
