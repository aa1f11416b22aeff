/* What Apple's error codes mean, in our own words: for "pomona explain", and for the reasons of commands that failed. Made from catalog/errors.tsv. All static and pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct apple_error {
	const char *domain;          /* "MCSCEPErrorDomain"; "APNs", "DDM", "Check-in" for words */
	int64_t code;                /* 0 for words */
	const char *name, *meaning;
	const char *causes, *look_at; /* NULL: nothing to say */
	const char *word;            /* "BadDeviceToken"; NULL for codes that are numbers */
};

/* The row of CODE in DOMAIN (NULL: in whichever has it first); NULL: not explained here. Newer systems write the domain with a D in front. */
const struct apple_error *apple_error_find(const char *domain, int64_t code);
/* As people type it: "22013", "MCSCEPErrorDomain:22013", "BadDeviceToken", "APNs:BadDeviceToken", in any case of letters. NULL: none. */
const struct apple_error *apple_error_find_text(const char *text);
/* The row number I (from 0) whose name or meaning holds TEXT, in any case of letters; NULL behind the last, and for a TEXT of less than 4 bytes. */
const struct apple_error *apple_error_search(const char *text, unsigned i);
/* By its place, for tests; NULL behind the last. */
const struct apple_error *apple_error_at(unsigned i);
