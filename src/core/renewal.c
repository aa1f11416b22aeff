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
