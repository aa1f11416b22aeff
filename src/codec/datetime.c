#include "codec/datetime.h"

#include <glib.h>

/* Days and eras follow Howard Hinnant's "chrono-compatible low-level date algorithms": March-based years make the leap
 * day the last of the year. */
enum { DAYS_PER_ERA = 146097, DAYS_TO_UNIX = 719468, SECONDS_PER_DAY = 86400 };

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

bool datetime_check(const struct datetime *t)
{
	return t->year >= 1 && t->year <= 9999 && t->month >= 1 && t->month <= 12 && t->day >= 1 &&
	       t->day <= days_in_month(t->year, t->month) && t->hour >= 0 && t->hour <= 23 && t->minute >= 0 && t->minute <= 59 &&
	       t->second >= 0 && t->second <= 59;
}

int64_t datetime_to_unix(const struct datetime *t)
{
	int year = t->month <= 2 ? t->year - 1 : t->year;
	int era = year / 400, of_era = year % 400;
	int day_of_year = (153 * (t->month > 2 ? t->month - 3 : t->month + 9) + 2) / 5 + t->day - 1;
	int day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
	int64_t days = (int64_t)era * DAYS_PER_ERA + day_of_era - DAYS_TO_UNIX;

	return days * SECONDS_PER_DAY + t->hour * 3600 + t->minute * 60 + t->second;
}

bool datetime_from_unix(int64_t unix_seconds, struct datetime *ret)
{
	/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
	if (unix_seconds < INT64_C(-62135596800) || unix_seconds > INT64_C(253402300799))
		return false;
	int64_t days = unix_seconds / SECONDS_PER_DAY, rest = unix_seconds % SECONDS_PER_DAY;

	if (rest < 0) {
		rest += SECONDS_PER_DAY;
		days--;
	}
	days += DAYS_TO_UNIX;
	int era = (int)(days / DAYS_PER_ERA), day_of_era = (int)(days % DAYS_PER_ERA);
	int of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
	int month = (5 * day_of_year + 2) / 153;

	ret->day = day_of_year - (153 * month + 2) / 5 + 1;
	ret->month = month < 10 ? month + 3 : month - 9;
	ret->year = era * 400 + of_era + (ret->month <= 2);
	ret->hour = (int)(rest / 3600);
	ret->minute = (int)(rest / 60 % 60);
	ret->second = (int)(rest % 60);
	return true;
}

/* N decimal digits at TEXT, or -1. */
static int digits(const char *text, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!g_ascii_isdigit(text[i]))
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

bool datetime_parse(const char *text, unsigned long len, int64_t *ret_unix_seconds)
{
	if (len != DATETIME_LEN || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z')
		return false;
	struct datetime t = {digits(text, 4), digits(text + 5, 2), digits(text + 8, 2), digits(text + 11, 2), digits(text + 14, 2), digits(text + 17, 2)};

	if (!datetime_check(&t))
		return false;
	*ret_unix_seconds = datetime_to_unix(&t);
	return true;
}

bool datetime_format(int64_t unix_seconds, char out[DATETIME_LEN + 1])
{
	struct datetime t;

	if (!datetime_from_unix(unix_seconds, &t))
		return false;
	g_snprintf(out, DATETIME_LEN + 1, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.year, t.month, t.day, t.hour, t.minute, t.second);
	return true;
}
