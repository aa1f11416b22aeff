#include "core/renewal.h"

#include <string.h>

int64_t note_anchor(const char *note)
{
	return note && g_str_has_prefix(note, NOTE_ANCHOR) ? g_ascii_strtoll(note + strlen(NOTE_ANCHOR), NULL, 10) : 0;
}

char *note_anchor_new(int64_t number)
{
	return g_strdup_printf(NOTE_ANCHOR "%" G_GINT64_FORMAT, number);
}

const char *note_profile(const char *note, bool *ret_removes)
{
	*ret_removes = note && g_str_has_prefix(note, NOTE_REMOVE);
	if (*ret_removes)
		return note + strlen(NOTE_REMOVE);
	return note && g_str_has_prefix(note, NOTE_INSTALL) ? note + strlen(NOTE_INSTALL) : NULL;
}

bool note_is_fill(const char *note)
{
	return note && !strcmp(note, NOTE_UNLOCK);
}

bool note_is_library(const char *note)
{
	bool removes;

	return note && (!strcmp(note, NOTE_PROFILES) || note_profile(note, &removes));
}

const char *note_order(const char *note)
{
	return note && g_str_has_prefix(note, NOTE_ORDER) ? note + strlen(NOTE_ORDER) : NULL;
}

bool note_is_ready(const char *note)
{
	return !g_strcmp0(note, NOTE_INVENTORY) || !g_strcmp0(note, NOTE_UNENROLL);
}

bool note_is_declarations(const char *note)
{
	return note && !strcmp(note, NOTE_DECLARATIONS);
}
