/* Property lists: a typed tree, a strict XML reader on expat and an XML writer.
 *
 * The reader takes what Apple devices and Apple's tools write (XML 1.0, UTF-8, with or without the plist DOCTYPE) and
 * refuses everything that two readers could understand differently: entity declarations, unknown elements or attributes
 * other than plist's version, bad base64, dates and integers, a key without value, a value without key, duplicate keys,
 * two roots, text between elements, invalid UTF-8. Errors carry the line and the key path ("line 7, at
 * Command.Queries[2]: …"). Comments and processing instructions are skipped between elements and refused inside a value, which
 * some readers would cut there and others join. Numbers and dates stand alone, without spaces, and integers are decimal. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum plist_type {
	PLIST_DICT, PLIST_ARRAY, PLIST_STRING, PLIST_INTEGER, PLIST_REAL, PLIST_BOOLEAN, PLIST_DATE, PLIST_DATA, PLIST_TYPE_MAX,
};

/* A node; opaque. Dictionaries keep the order of their keys. A tree is not shared between threads while it changes. */
typedef struct plist plist;

struct plist_limits {
	unsigned depth;     /* containers inside one another */
	size_t size_bytes;  /* of the whole document */
	unsigned n_nodes;   /* values in the whole document */
};

/* 32 deep, 32 MiB, 200,000 values. No limit reaches past 256 deep and 1 GiB. Lookups stay fast in dictionaries of any size the limits allow. */
extern const struct plist_limits plist_limits_default;

/* DATA (LEN bytes; need not end in NUL) → tree, transfer full; NULL with POM_ERR_PLIST_SYNTAX, _VALUE, _STRUCTURE, _LIMIT
 * or _ENTITY. LIMITS may be NULL for the default. Pure. */
plist *plist_parse(const void *data, size_t len, const struct plist_limits *limits, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What a reader can tell besides the tree, to tools that talk to the author of a file. */
struct plist_duplicate {
	char *path;                  /* "PayloadContent[0].URL" */
	int line;                    /* of the second; 0: not known */
	const plist *first, *second; /* borrowed from the tree and from the notes */
};
struct plist_notes {
	GHashTable *lines;     /* plist (of the tree) → line, from 1: of its key, or of its own element where it has none */
	GPtrArray *duplicates; /* struct plist_duplicate: keys that stand twice in a dictionary; the tree has the first */
	plist *dropped;        /* the second ones */
	int error_line;        /* of the error that ended the reading; 0: none, or not known */
};
enum { PLIST_DUPLICATES_MAX = 100 }; /* that are noted; more are passed over */
void plist_notes_init(struct plist_notes *notes);
void plist_notes_clear(struct plist_notes *notes);
typedef struct plist_notes plist_notes_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(plist_notes_auto, plist_notes_clear)
/* plist_parse that goes on where a key stands twice, and fills NOTES (initialized; they live as long as the tree). NOTES NULL: plist_parse. */
plist *plist_parse_noted(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Tree → XML document as Apple writes it (XML declaration, DOCTYPE, <plist version="1.0">, tabs), ends in a newline.
 * transfer full; NULL with POM_ERR_PLIST_UNREPRESENTABLE when a string holds a character that XML 1.0 cannot (U+0000–U+001F
 * but tab, LF, CR; U+FFFE, U+FFFF) or is not UTF-8. CR is written as &#13; so that every tree reads back equal. */
GBytes *plist_format(const plist *node, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makers; transfer full. Strings are copied and need not be valid until plist_format. */
plist *plist_new_dict(void);
plist *plist_new_array(void);
plist *plist_new_string(const char *text);
plist *plist_new_integer(int64_t value);
plist *plist_new_unsigned(uint64_t value); /* Integers reach from INT64_MIN to UINT64_MAX */
plist *plist_new_real(double value);
plist *plist_new_boolean(bool value);
plist *plist_new_date(int64_t unix_seconds);
plist *plist_new_data(const void *data, size_t len);
plist *plist_copy(const plist *node);
void plist_free(plist *node); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(plist, plist_free)

/* Set (replace) or append; VALUE transfer full. Programming error on another type. */
void plist_dict_set(plist *dict, const char *key, plist *value);
void plist_dict_set_string(plist *dict, const char *key, const char *text);
void plist_dict_set_integer(plist *dict, const char *key, int64_t value);
void plist_dict_set_boolean(plist *dict, const char *key, bool value);
void plist_dict_set_data(plist *dict, const char *key, const void *data, size_t len);
bool plist_dict_remove(plist *dict, const char *key);
void plist_array_append(plist *array, plist *value);

/* Readers borrow. Each is safe on NULL and on another type (then: NULL, false, 0). */
enum plist_type plist_get_type(const plist *node); /* PLIST_TYPE_MAX on NULL */
const char *plist_type_name(enum plist_type type); /* "dictionary", "string", … */
const plist *plist_dict_get(const plist *dict, const char *key);
size_t plist_count(const plist *container);
const char *plist_dict_key(const plist *dict, size_t i); /* in document order */
const plist *plist_child(const plist *container, size_t i);
const char *plist_get_string(const plist *node);
bool plist_get_integer(const plist *node, int64_t *ret_value);   /* false above INT64_MAX */
bool plist_get_unsigned(const plist *node, uint64_t *ret_value); /* false below 0 */
bool plist_get_real(const plist *node, double *ret_value);
bool plist_get_boolean(const plist *node, bool *ret_value);
bool plist_get_date(const plist *node, int64_t *ret_unix_seconds);
const void *plist_get_data(const plist *node, size_t *ret_len);
bool plist_equal(const plist *a, const plist *b); /* order of keys does not matter */

/* Typed access with the error a peer should read: "PATH.KEY is missing" / "PATH.KEY is a string, must be an integer"
 * (POM_ERR_PLIST_KEY). PATH names the dictionary ("TokenUpdate"). When NEED is PLIST_OPTIONAL a missing key gives true and
 * leaves *ret as it was; a present key of another type is an error in both cases. */
enum plist_need { PLIST_REQUIRED, PLIST_OPTIONAL };
bool plist_take_string(const plist *dict, const char *path, const char *key, enum plist_need need, const char **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool plist_take_integer(const plist *dict, const char *path, const char *key, enum plist_need need, int64_t *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool plist_take_boolean(const plist *dict, const char *path, const char *key, enum plist_need need, bool *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool plist_take_data(const plist *dict, const char *path, const char *key, enum plist_need need, const void **ret, size_t *ret_len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool plist_take_child(const plist *dict, const char *path, const char *key, enum plist_type type, enum plist_need need, const plist **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
