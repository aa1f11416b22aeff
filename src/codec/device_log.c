#include "codec/device_log.h"

#include <string.h>

#include "base/apple_error.h"
#include "base/error.h"

enum { LINE_MAX_BYTES = 16 << 10, EXCERPT_MAX = 300, CODE_LINES = 4, DOMAIN_MAX = 80 };

/* A pattern is alternatives with '|' between them, each of pieces with '*' between them that stand in one line in this order, in any case of letters. */
static const struct known { const char *id, *pattern, *text, *look_at; } table[] = {
#define LINE(id, pattern, text, look_at) {id, pattern, text, look_at},
#include "codec/log_lines.inc"
#undef LINE
};

struct reader {
	struct device_log *log;
	GHashTable *by_id;        /* id → entry */
	GPtrArray *patterns;      /* char ***: for each row its alternatives, each cut into pieces in lower case, up to NULL */
	char *domain;             /* of an error whose code has not come yet; NULL */
	unsigned domain_line;
};

/* ---- entries ---- */

static void free_entry(void *data)
{
	struct device_log_entry *entry = data;

	g_free(entry->id);
	g_free(entry->excerpt);
	g_array_unref(entry->lines);
	g_free(entry);
}

void device_log_free(struct device_log *log)
{
	if (!log)
		return;
	g_ptr_array_unref(log->entries);
	g_free(log);
}

/* LINE as it can be shown on a terminal. */
static char *make_excerpt(const char *line, size_t len)
{
	g_autofree char *text = g_strndup(line, MIN(len, EXCERPT_MAX)), *valid = g_utf8_make_valid(text, -1);

	for (char *c = valid; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	return g_strdup(g_strstrip(valid));
}

/* The entry ID, new or not; NULL when there are too many. */
static struct device_log_entry *note(struct reader *r, const char *id, const char *line, size_t len)
{
	struct device_log_entry *entry = g_hash_table_lookup(r->by_id, id);
	int number = (int)r->log->n_lines;

	if (!entry) {
		if (r->log->entries->len >= DEVICE_LOG_ENTRIES_MAX)
			return NULL;
		entry = g_new0(struct device_log_entry, 1);
		entry->id = g_strdup(id);
		entry->lines = g_array_new(FALSE, FALSE, sizeof(int));
		entry->excerpt = make_excerpt(line, len);
		g_ptr_array_add(r->log->entries, entry);
		g_hash_table_insert(r->by_id, entry->id, entry);
	}
	if (entry->lines->len && g_array_index(entry->lines, int, entry->lines->len - 1) == number)
		return entry;
	entry->n++;
	if (entry->lines->len < DEVICE_LOG_LINES_MAX)
		g_array_append_val(entry->lines, number);
	return entry;
}

static void note_apple(struct reader *r, const char *domain, int64_t code, const char *line, size_t len)
{
	const struct apple_error *known = apple_error_find(domain, code);
	g_autofree char *id = known ? g_strdup_printf("%s:%" G_GINT64_FORMAT, known->domain, known->code) : NULL;
	struct device_log_entry *entry = id ? note(r, id, line, len) : NULL;

	if (!entry)
		return;
	entry->name = known->name;
	entry->text = known->meaning;
	entry->causes = known->causes;
	entry->look_at = known->look_at;
}

/* ---- error domains ---- */

static bool is_name(char c)
{
	return g_ascii_isalnum(c) || c == '_' || c == '.';
}

/* Past what stands between the domain and its code: spaces, punctuation, the word "code", an en dash. NULL when no number follows. */
static const char *find_code(const char *p)
{
	for (unsigned n = 0; n < 24 && *p; n++) {
		if (g_ascii_isdigit(*p) || (*p == '-' && g_ascii_isdigit(p[1])))
			return p;
		if (!g_ascii_strncasecmp(p, "code", 4))
			p += 4;
		else if (!strncmp(p, "\xe2\x80\x93", 3))
			p += 3;
		else if (strchr(" \t=:,(){}\"'<>-", *p))
			p++;
		else
			return NULL;
	}
	return NULL;
}

static void set_domain(struct reader *r, const char *from, size_t len)
{
	g_free(r->domain);
	r->domain = g_strndup(from, len);
	r->domain_line = r->log->n_lines;
}

/* All "…ErrorDomain" of a line, with the code behind it, or in one of the next lines. */
static void find_domains(struct reader *r, const char *line, size_t len)
{
	static const char word[] = "ErrorDomain";

	for (const char *p = strstr(line, word); p; p = strstr(p + 1, word)) {
		const char *from = p, *end = p + strlen(word), *code = find_code(end);
		g_autofree char *domain = NULL;

		while (from > line && is_name(from[-1]) && end - from < DOMAIN_MAX)
			from--;
		domain = g_strndup(from, (gsize)(end - from));
		if (code)
			note_apple(r, domain, g_ascii_strtoll(code, NULL, 10), line, len);
		else
			set_domain(r, from, (size_t)(end - from));
	}
}

/* "Code   : 22013" below "Domain : MCSCEPErrorDomain". */
static void find_code_line(struct reader *r, const char *line, size_t len)
{
	const char *p = line + strspn(line, " \t"), *code;

	if (!r->domain || r->log->n_lines == r->domain_line)
		return;
	code = g_ascii_strncasecmp(p, "code", 4) ? NULL : find_code(p);
	if (code)
		note_apple(r, r->domain, g_ascii_strtoll(code, NULL, 10), line, len);
	if (code || r->log->n_lines >= r->domain_line + CODE_LINES)
		g_clear_pointer(&r->domain, g_free);
}

static void find_own(struct reader *r, const char *line, size_t len)
{
	enum { ID_LEN = 9 }; /* POM-E4103 */

	for (const char *p = strstr(line, "POM-E"); p; p = strstr(p + 1, "POM-E")) {
		g_autofree char *id = g_strndup(p, ID_LEN);
		enum pom_error code = pom_error_find(id);
		struct device_log_entry *entry = code != POM_ERR_MAX ? note(r, pom_error_info(code)->id, line, len) : NULL;

		if (entry)
			entry->text = pom_error_info(code)->text;
	}
}

/* ---- known lines ---- */

/* PIECE in LOWER; a piece that begins or ends with a digit is a whole number. */
static const char *find_piece(const char *lower, const char *piece)
{
	size_t len = strlen(piece);

	for (const char *p = strstr(lower, piece); p; p = strstr(p + 1, piece)) {
		bool starts = g_ascii_isdigit(*piece) || *piece == '-', ends = g_ascii_isdigit(piece[len - 1]);

		if (!(starts && p > lower && g_ascii_isdigit(p[-1])) && !(ends && g_ascii_isdigit(p[len])))
			return p + len;
	}
	return NULL;
}

static bool matches(const char *lower, char *const *pieces)
{
	for (; *pieces; pieces++) {
		lower = find_piece(lower, *pieces);
		if (!lower)
			return false;
	}
	return true;
}

static void find_known(struct reader *r, const char *line, size_t len)
{
	g_autofree char *lower = g_ascii_strdown(line, (gssize)len);

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		bool found = false;

		for (char ***alternative = r->patterns->pdata[i]; *alternative && !found; alternative++)
			found = matches(lower, *alternative);
		struct device_log_entry *entry = found ? note(r, table[i].id, line, len) : NULL;

		if (!entry)
			continue;
		entry->text = table[i].text;
		entry->look_at = table[i].look_at;
	}
}

static void free_pattern(void *data)
{
	char ***alternatives = data;

	for (char ***a = alternatives; *a; a++)
		g_strfreev(*a);
	g_free(alternatives);
}

static GPtrArray *cut_patterns(void)
{
	GPtrArray *patterns = g_ptr_array_new_with_free_func(free_pattern);

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autofree char *lower = g_ascii_strdown(table[i].pattern, -1);
		g_auto(GStrv) words = g_strsplit(lower, "|", -1);
		char ***alternatives = g_new0(char **, g_strv_length(words) + 1);

		for (guint k = 0; words[k]; k++)
			alternatives[k] = g_strsplit(words[k], "*", -1);
		g_ptr_array_add(patterns, alternatives);
	}
	return patterns;
}

/* ---- the text ---- */

/* LINE (LEN bytes, no NUL in it, NUL behind it). */
static void read_line(struct reader *r, const char *line, size_t len)
{
	r->log->n_lines++;
	find_code_line(r, line, len);
	find_domains(r, line, len);
	find_own(r, line, len);
	find_known(r, line, len);
}

static void read_text(struct reader *r, const char *text, size_t len)
{
	g_autofree char *line = g_malloc(LINE_MAX_BYTES + 1);

	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t whole = end ? (size_t)(end - (text + at)) : len - at, n = MIN(whole, LINE_MAX_BYTES);

		memcpy(line, text + at, n);
		for (size_t i = 0; i < n; i++)
			if (!line[i])
				line[i] = ' ';
		line[n] = '\0';
		read_line(r, line, n);
		at += whole + 1;
	}
}

enum wide { WIDE_NONE, WIDE_LITTLE, WIDE_BIG };

/* UTF-16 by its mark, or by the NUL beside its first letter. */
static enum wide judge_width(const uint8_t *data, size_t len)
{
	if (len < 4)
		return WIDE_NONE;
	if ((data[0] == 0xff && data[1] == 0xfe) || (data[0] && !data[1] && data[2] && !data[3]))
		return WIDE_LITTLE;
	return (data[0] == 0xfe && data[1] == 0xff) || (!data[0] && data[1] && !data[2] && data[3]) ? WIDE_BIG : WIDE_NONE;
}

/* UTF-16 → UTF-8, halves of pairs replaced; transfer full. */
static GString *narrow(const uint8_t *data, size_t len, enum wide wide)
{
	GString *text = g_string_sized_new(len / 2 + 1);

	for (size_t i = 0; i + 1 < len; i += 2) {
		gunichar unit = wide == WIDE_LITTLE ? (gunichar)(data[i] | data[i + 1] << 8) : (gunichar)(data[i] << 8 | data[i + 1]);

		g_string_append_unichar(text, unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit);
	}
	return text;
}

struct device_log *device_log_read(const void *data, size_t len)
{
	struct device_log *log = g_new0(struct device_log, 1);
	g_autoptr(GHashTable) by_id = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) patterns = cut_patterns();
	struct reader r = {.log = log, .by_id = by_id, .patterns = patterns};
	size_t n = MIN(len, (size_t)DEVICE_LOG_MAX_BYTES);
	enum wide wide = judge_width(data, n);

	log->entries = g_ptr_array_new_with_free_func(free_entry);
	log->is_cut = len > n;
	if (wide == WIDE_NONE) {
		read_text(&r, data, n);
	} else {
		GString *text = narrow(data, n, wide);

		read_text(&r, text->str, text->len);
		g_string_free(text, TRUE);
	}
	g_free(r.domain);
	return log;
}

const char *device_log_how(void)
{
	return "iPhone and iPad: connect it to a Mac, choose it in Console, press Start, repeat what failed, select all and save the text (or \"idevicesyslog\" of libimobiledevice on Linux). "
	       "Watch: press the crown and the side button together for a second, take the sysdiagnose from the iPhone's settings (Privacy & Security, Analytics Data) or from its Watch app, and make text of its system_logs.logarchive on a Mac: \"log show system_logs.logarchive --info --debug\". "
	       "Mac: \"log show --last 1h --info --debug --predicate 'process == \"mdmclient\" OR subsystem == \"com.apple.ManagedClient\"'\".";
}
