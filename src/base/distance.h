/* How much two names differ, to say which one a misspelled name was meant to be. */
#pragma once

/* Edits that make A of B, where two letters that changed places are one and case is none; 255 when either has more than 128 bytes. Any thread. */
unsigned pom_name_distance(const char *a, const char *b);
