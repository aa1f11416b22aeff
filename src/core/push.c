#include "core/push.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "codec/json.h"

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS, JITTER_MAX = 1000, ANSWER_MAX = 4096, NUMBER_MAX = 9 };

#define DEAD PUSH_VERDICT_TOKEN_DEAD
#define TOPIC PUSH_VERDICT_TOPIC
#define BUG PUSH_VERDICT_BUG
#define NO_CERTIFICATE "APNs has not seen our push certificate: something between Pomona and APNs ends the TLS connection. Let api.push.apple.com pass without inspection."
#define WRONG_REQUEST "APNs finds the request itself wrong, which is a fault of Pomona: please report it with this line of the log."

static const struct push_reason reasons[] = {
	{"Unregistered", 410, DEAD, "The device has dropped this push token: the profile was removed, or the device was erased or restored. Its next TokenUpdate brings a new one."},
	{"ExpiredToken", 410, DEAD, "The push token has expired. The device's next TokenUpdate brings a new one."},
	{"BadDeviceToken", 400, DEAD, "APNs does not know this push token, or it is of the other environment (development). The device's next TokenUpdate brings a new one."},
	{"DeviceTokenNotForTopic", 400, DEAD, "The push token belongs to another topic than that of the push certificate: the device has enrolled with another push certificate, or another certificate was imported. "
	                                      "Renewing the same certificate at identity.apple.com keeps the topic; with a new topic the device must enroll again."},
	{"TopicDisallowed", 400, TOPIC, "The push certificate is not for this topic. Import the certificate that Apple made for it (\"renew\", not \"create\")."},
	{"BadTopic", 400, TOPIC, "APNs does not accept this topic. Import the MDM push certificate again; a developer's APNs certificate does not do."},
	{"MissingTopic", 400, TOPIC, "The push certificate has several topics or none. Import an MDM push certificate."},
	{"BadCertificate", 403, TOPIC, "APNs does not accept the push certificate: it has expired or was revoked. Renew it at identity.apple.com with the same Apple account, and import it."},
	{"BadCertificateEnvironment", 403, TOPIC, "The push certificate is of another environment than this APNs: apns.url must be https://api.push.apple.com for certificates of identity.apple.com."},
	{"Forbidden", 403, TOPIC, "APNs does not let this push certificate push. Look for it at identity.apple.com: it may have been revoked."},
	{"MissingProviderToken", 403, TOPIC, NO_CERTIFICATE},
	{"InvalidProviderToken", 403, TOPIC, NO_CERTIFICATE},
	{"ExpiredProviderToken", 403, TOPIC, NO_CERTIFICATE},
	{"TooManyRequests", 429, PUSH_VERDICT_SLOW, "This device was pushed too often in a row. It is pushed again later."},
	{"TooManyProviderTokenUpdates", 429, PUSH_VERDICT_RETRY, "APNs asks to be sent less. Pomona goes on later."},
	{"InternalServerError", 500, PUSH_VERDICT_RETRY, "APNs had a fault of its own. Pomona tries again."},
	{"ServiceUnavailable", 503, PUSH_VERDICT_RETRY, "APNs cannot take pushes at present. Pomona tries again."},
	{"Shutdown", 503, PUSH_VERDICT_RECONNECT, "This server of APNs is going down. Pomona connects to another one."},
	{"IdleTimeout", 400, PUSH_VERDICT_RECONNECT, "APNs has closed a connection that was not used. Pomona connects again."},
	{"BadCollapseId", 400, BUG, WRONG_REQUEST},
	{"BadExpirationDate", 400, BUG, WRONG_REQUEST},
	{"BadMessageId", 400, BUG, WRONG_REQUEST},
	{"BadPriority", 400, BUG, WRONG_REQUEST},
	{"DuplicateHeaders", 400, BUG, WRONG_REQUEST},
	{"InvalidPushType", 400, BUG, WRONG_REQUEST},
	{"MissingDeviceToken", 400, BUG, WRONG_REQUEST},
	{"PayloadEmpty", 400, BUG, WRONG_REQUEST},
	{"BadPath", 404, BUG, WRONG_REQUEST},
	{"MethodNotAllowed", 405, BUG, WRONG_REQUEST},
	{"PayloadTooLarge", 413, BUG, "The PushMagic that the device has sent is too long for a push."},
	{0},
};

const struct push_reason *push_reasons(void)
{
	return reasons;
}

const struct push_reason *push_reason_find(const char *reason)
{
	for (const struct push_reason *r = reasons; reason && r->reason; r++)
		if (!strcmp(reason, r->reason))
			return r;
	return NULL;
}

void push_answer_parse(const void *body, size_t len, struct push_answer *ret)
{
	g_autoptr(json_t) json = len && len <= ANSWER_MAX ? json_parse(body, len, NULL) : NULL;
	const char *reason = json_string_value(json_object_get(json, "reason"));

	*ret = (struct push_answer){.timestamp_ms = MAX(json_integer_value(json_object_get(json, "timestamp")), 0)};
	/* Reasons are words: anything else would go from a stranger into metrics, log and database. */
	if (reason && strlen(reason) < sizeof(ret->reason) && strspn(reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == strlen(reason))
		g_strlcpy(ret->reason, reason, sizeof(ret->reason));
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" → Unix milliseconds, 0 when it is none. */
static int64_t parse_http_date(const char *text)
{
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char month[4] = "";
	int day, year, hour, minute, second;
	unsigned n = 0;
	g_autoptr(GDateTime) time = NULL;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", &day, month, &year, &hour, &minute, &second) != 6)
		return 0;
	while (n < G_N_ELEMENTS(months) && strcmp(months[n], month))
		n++;
	if (n == G_N_ELEMENTS(months) || year < 1)
		return 0;
	time = g_date_time_new_utc(year, (int)n + 1, day, hour, minute, second);
	return time ? g_date_time_to_unix(time) * SECOND_MS : 0;
}

int64_t push_retry_after_parse(const char *text, size_t len, int64_t now_ms)
{
	char copy[40] = "";
	int64_t ms;

	if (len >= sizeof(copy) || memchr(text, '\0', len))
		return 0;
	memcpy(copy, text, len);
	if (len && len <= NUMBER_MAX && strspn(copy, "0123456789") == len)
		ms = g_ascii_strtoll(copy, NULL, 10) * SECOND_MS;
	else
		ms = parse_http_date(copy) - now_ms;
	return CLAMP(ms, 0, HOUR_MS);
}

enum push_verdict push_decide(int status, const char *reason)
{
	const struct push_reason *row = push_reason_find(reason);

	if (status == 200)
		return PUSH_VERDICT_OK;
	if (row)
		return row->verdict;
	if (status == 410)
		return PUSH_VERDICT_TOKEN_DEAD;
	if (status == 401 || status == 403)
		return PUSH_VERDICT_TOPIC;
	if (status == 429)
		return PUSH_VERDICT_SLOW;
	if (status >= 500 || status < 200)
		return PUSH_VERDICT_RETRY;
	return PUSH_VERDICT_BUG;
}

/* FIRST, FACTOR times as long each time, at most MOST. */
static int64_t grow(int64_t n, int64_t first, int64_t factor, int64_t most)
{
	int64_t delay = first;

	for (int64_t i = 1; i < n && delay < most; i++)
		delay *= factor;
	return MIN(delay, most);
}

static int64_t spread(int64_t delay, int64_t part, unsigned jitter)
{
	return delay + delay / part * (jitter % JITTER_MAX) / JITTER_MAX;
}

int64_t push_delay_ms(int64_t n, enum push_verdict verdict, unsigned jitter)
{
	if (verdict == PUSH_VERDICT_BUG)
		return spread(HOUR_MS, 2, jitter);
	if (verdict == PUSH_VERDICT_SLOW)
		return spread(grow(n, MINUTE_MS, 2, HOUR_MS), 2, jitter);
	return spread(grow(n, 5 * SECOND_MS, 2, 5 * MINUTE_MS), 2, jitter);
}

int64_t push_again_ms(int64_t n, unsigned jitter)
{
	return spread(grow(n, 5 * MINUTE_MS, 3, DAY_MS), 4, jitter);
}

int64_t push_pause_ms(int64_t n, bool slow, unsigned jitter)
{
	return spread(slow ? grow(n, MINUTE_MS, 2, HOUR_MS) : grow(n, 5 * SECOND_MS, 2, 5 * MINUTE_MS), 2, jitter);
}

/* ---- pace ---- */

void push_pace_flow(struct push_pace *pace, int64_t now_ms)
{
	/* A tenth of a second's worth, and never less than one push. */
	int64_t most = MAX(pace->per_second * 100, 1000), passed = CLAMP(now_ms - pace->at_ms, 0, MINUTE_MS);

	pace->milli = MIN(pace->milli + passed * pace->per_second, most);
	pace->at_ms = now_ms;
}

int64_t push_pace_allows(const struct push_pace *pace, bool urgent)
{
	/* What is borrowed is paid back before anything else goes. */
	int64_t credit = urgent ? MAX(pace->per_second * 500, 1000) : 0;

	if (!pace->per_second)
		return INT32_MAX;
	return MAX(pace->milli + credit, 0) / 1000;
}

void push_pace_take(struct push_pace *pace, int64_t n)
{
	if (pace->per_second)
		pace->milli -= n * 1000;
}

int64_t push_pace_wait_ms(const struct push_pace *pace)
{
	if (!pace->per_second || pace->milli >= 1000)
		return 0;
	return (1000 - pace->milli + pace->per_second - 1) / pace->per_second;
}

/* ---- proxy ---- */

int push_proxy_answer_parse(const char *buf, size_t len)
{
	static const char start[] = "HTTP/1.";
	const char *end = g_strstr_len(buf, (gssize)len, "\r\n\r\n");

	if (memcmp(buf, start, MIN(len, sizeof(start) - 1)) || memchr(buf, '\0', len))
		return -1;
	if (!end)
		return len < ANSWER_MAX ? 0 : -1;
	/* "HTTP/1.1 200" */
	if (end - buf < 12 || (buf[7] != '0' && buf[7] != '1') || buf[8] != ' ' || !g_ascii_isdigit(buf[9]) || !g_ascii_isdigit(buf[10]) || !g_ascii_isdigit(buf[11]))
		return -1;
	if (end + 4 != buf + len)
		return -1;
	return MAX((buf[9] - '0') * 100 + (buf[10] - '0') * 10 + (buf[11] - '0'), 1);
}
