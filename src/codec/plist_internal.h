/* The body of a node, shared by the tree, the reader and the writer. */
#pragma once

#include "codec/plist.h"

struct plist_entry {
	plist *value;
	char key[]; /* NUL-terminated */
};

struct plist {
	enum plist_type type;
	bool negative;       /* of an integer */
	union {
		bool boolean;
		uint64_t integer;    /* two's complement when negative */
		double real;
		int64_t date;        /* Unix seconds */
		size_t len;          /* of a string or data in bytes[] */
		struct {
			void **items;    /* struct plist_entry (dictionary) or plist (array) */
			size_t n_items, capacity;
			GTree *index;    /* key → entry; only in dictionaries with more than a few keys */
		};
	};
	char bytes[];        /* string or data, and a NUL after it */
};

/* A string of LEN bytes, transfer full. */
plist *plist_new_string_len(const char *text, size_t len);
/* Room for LEN bytes of data, which the caller fills and may shorten through node->len. transfer full. */
plist *plist_new_data_room(size_t len);
/* Appends a new KEY (LEN bytes). False, and VALUE stays the caller's, when DICT has it already. */
bool plist_dict_add(plist *dict, const char *key, size_t len, plist *value);

/* Notes that KEY path PATH stands twice; SECOND transfer full. */
void plist_note_duplicate(struct plist_notes *notes, const char *path, int line, const plist *first, plist *second);

/* Deepest tree that the recursive functions must expect, whatever limits a caller asks for. */
enum { PLIST_DEPTH_MAX = 256 };
