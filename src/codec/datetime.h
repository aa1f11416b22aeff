/* Calendar arithmetic without a clock, a time zone or the C library's state: civil UTC time ↔ Unix seconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct datetime {
	int year; /* 1–9999 */
	int month, day, hour, minute, second;
};

enum { DATETIME_LEN = 20 }; /* "2026-01-02T03:04:05Z" */

/* Whether the fields name a second of the proleptic Gregorian calendar (no leap seconds). */
bool datetime_check(const struct datetime *time);
int64_t datetime_to_unix(const struct datetime *time);
/* False before year 1 and after year 9999. */
bool datetime_from_unix(int64_t unix_seconds, struct datetime *ret);

/* Exactly "2026-01-02T03:04:05Z" in LEN characters. */
bool datetime_parse(const char *text, unsigned long len, int64_t *ret_unix_seconds);
/* Writes 20 characters and a NUL; false outside the years 1–9999. */
bool datetime_format(int64_t unix_seconds, char out[DATETIME_LEN + 1]);
