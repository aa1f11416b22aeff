#include "core/push.h"

#include <glib.h>
#include <string.h>

/* Every reason that Apple documents, with its status and what is done about it. */
static const struct { const char *reason; int status; enum push_verdict verdict; } documented[] = {
	{"BadCollapseId", 400, PUSH_VERDICT_BUG}, {"BadDeviceToken", 400, PUSH_VERDICT_TOKEN_DEAD}, {"BadExpirationDate", 400, PUSH_VERDICT_BUG},
	{"BadMessageId", 400, PUSH_VERDICT_BUG}, {"BadPriority", 400, PUSH_VERDICT_BUG}, {"BadTopic", 400, PUSH_VERDICT_TOPIC},
	{"DeviceTokenNotForTopic", 400, PUSH_VERDICT_TOKEN_DEAD}, {"DuplicateHeaders", 400, PUSH_VERDICT_BUG}, {"IdleTimeout", 400, PUSH_VERDICT_RECONNECT},
	{"InvalidPushType", 400, PUSH_VERDICT_BUG}, {"MissingDeviceToken", 400, PUSH_VERDICT_BUG}, {"MissingTopic", 400, PUSH_VERDICT_TOPIC},
	{"PayloadEmpty", 400, PUSH_VERDICT_BUG}, {"TopicDisallowed", 400, PUSH_VERDICT_TOPIC}, {"BadCertificate", 403, PUSH_VERDICT_TOPIC},
	{"BadCertificateEnvironment", 403, PUSH_VERDICT_TOPIC}, {"ExpiredProviderToken", 403, PUSH_VERDICT_TOPIC}, {"Forbidden", 403, PUSH_VERDICT_TOPIC},
	{"InvalidProviderToken", 403, PUSH_VERDICT_TOPIC}, {"MissingProviderToken", 403, PUSH_VERDICT_TOPIC}, {"BadPath", 404, PUSH_VERDICT_BUG},
	{"MethodNotAllowed", 405, PUSH_VERDICT_BUG}, {"ExpiredToken", 410, PUSH_VERDICT_TOKEN_DEAD}, {"Unregistered", 410, PUSH_VERDICT_TOKEN_DEAD},
	{"PayloadTooLarge", 413, PUSH_VERDICT_BUG}, {"TooManyProviderTokenUpdates", 429, PUSH_VERDICT_RETRY}, {"TooManyRequests", 429, PUSH_VERDICT_SLOW},
	{"InternalServerError", 500, PUSH_VERDICT_RETRY}, {"ServiceUnavailable", 503, PUSH_VERDICT_RETRY}, {"Shutdown", 503, PUSH_VERDICT_RECONNECT},
};

static void test_reasons(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(documented); i++) {
		const struct push_reason *row = push_reason_find(documented[i].reason);

		g_assert_nonnull(row);
		g_assert_cmpint(row->status, ==, documented[i].status);
		g_assert_cmpint(push_decide(documented[i].status, documented[i].reason), ==, documented[i].verdict);
		/* A sentence for people. */
		g_assert_true(strlen(row->text) > 30 && g_str_has_suffix(row->text, "."));
	}
	while (push_reasons()[n].reason)
		n++;
	g_assert_cmpuint(n, ==, G_N_ELEMENTS(documented));
	g_assert_null(push_reason_find("Nonsense"));
	g_assert_null(push_reason_find(NULL));
}

static void test_statuses(void)
{
	static const struct { int status; enum push_verdict verdict; } cases[] = {
		{200, PUSH_VERDICT_OK}, {410, PUSH_VERDICT_TOKEN_DEAD}, {403, PUSH_VERDICT_TOPIC}, {401, PUSH_VERDICT_TOPIC}, {429, PUSH_VERDICT_SLOW}, {500, PUSH_VERDICT_RETRY},
		{502, PUSH_VERDICT_RETRY}, {503, PUSH_VERDICT_RETRY}, {400, PUSH_VERDICT_BUG}, {404, PUSH_VERDICT_BUG}, {301, PUSH_VERDICT_BUG}, {0, PUSH_VERDICT_RETRY}, {1, PUSH_VERDICT_RETRY},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(push_decide(cases[i].status, NULL), ==, cases[i].verdict);
		g_assert_cmpint(push_decide(cases[i].status, ""), ==, cases[i].verdict);
		g_assert_cmpint(push_decide(cases[i].status, "NewReasonOf2031"), ==, cases[i].verdict);
	}
}

static void test_answers(void)
{
	static const struct { const char *body, *reason; int64_t timestamp_ms; } cases[] = {
		{"{\"reason\":\"Unregistered\",\"timestamp\":1735689600123}", "Unregistered", 1735689600123}, {"{\"reason\":\"BadCertificate\"}", "BadCertificate", 0},
		{"", "", 0}, {"{}", "", 0}, {"[]", "", 0}, {"null", "", 0}, {"{\"reason\":7,\"timestamp\":\"soon\"}", "", 0}, {"{\"reason\":\"Unregistered\"", "", 0},
		{"{\"reason\":\"two words\"}", "", 0}, {"{\"reason\":\"\\u0000\"}", "", 0}, {"{\"reason\":\"caf\xc3\xa9\"}", "", 0}, {"{\"reason\":\"Unregistered\",\"timestamp\":-5}", "Unregistered", 0},
		{"{\"reason\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", "", 0},
	};
	struct push_answer answer;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		push_answer_parse(cases[i].body, strlen(cases[i].body), &answer);
		g_assert_cmpstr(answer.reason, ==, cases[i].reason);
		g_assert_cmpint(answer.timestamp_ms, ==, cases[i].timestamp_ms);
	}
}

static void test_retry_after(void)
{
	const int64_t now_ms = INT64_C(784111777000); /* Sun, 06 Nov 1994 08:49:37 GMT */
	static const struct { const char *text; int64_t ms; } cases[] = {
		{"0", 0}, {"7", 7000}, {"120", 120000}, {"999999999", 3600000}, {"9999999999", 0}, {"-1", 0}, {"", 0}, {"soon", 0}, {"1.5", 0}, {" 7", 0},
		{"Sun, 06 Nov 1994 08:50:37 GMT", 60000}, {"Sun, 06 Nov 1994 08:49:37 GMT", 0}, {"Sat, 05 Nov 1994 08:49:37 GMT", 0}, {"Tue, 06 Nov 2094 08:49:37 GMT", 3600000},
		{"Sun, 06 Foo 1994 08:50:37 GMT", 0}, {"Sun, 99 Nov 1994 08:50:37 GMT", 0}, {"Sun, 06 Nov 1994 08:50:37 GMT and much more text", 0},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(push_retry_after_parse(cases[i].text, strlen(cases[i].text), now_ms), ==, cases[i].ms);
	g_assert_cmpint(push_retry_after_parse("7\0", 2, now_ms), ==, 0);
}

static void test_delays(void)
{
	static const struct { enum push_verdict verdict; int64_t first, most; } cases[] = {
		{PUSH_VERDICT_RETRY, 5000, 300000}, {PUSH_VERDICT_RECONNECT, 5000, 300000}, {PUSH_VERDICT_SLOW, 60000, 3600000}, {PUSH_VERDICT_BUG, 3600000, 3600000},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		int64_t last = 0;

		g_assert_cmpint(push_delay_ms(1, cases[i].verdict, 0), ==, cases[i].first);
		for (int64_t n = 1; n < 1000; n++) {
			int64_t delay = push_delay_ms(n, cases[i].verdict, 0);

			g_assert_cmpint(delay, >=, last);
			g_assert_cmpint(push_delay_ms(n, cases[i].verdict, 999), <=, delay + delay / 2);
			g_assert_cmpint(push_delay_ms(n, cases[i].verdict, 999), >, delay);
			last = delay;
		}
		g_assert_cmpint(last, ==, cases[i].most);
	}
	/* A silent device: minutes, hours, then once a day. */
	static const int64_t minutes[] = {5, 15, 45, 135, 405, 1215, 1440, 1440};
	for (unsigned i = 0; i < G_N_ELEMENTS(minutes); i++)
		g_assert_cmpint(push_again_ms(i + 1, 0), ==, minutes[i] * 60000);
	g_assert_cmpint(push_again_ms(1, 999), >, 5 * 60000);
	g_assert_cmpint(push_again_ms(1, 999), <=, 5 * 60000 * 5 / 4);
	g_assert_cmpint(push_again_ms(INT64_MAX, 0), ==, 86400000);
	g_assert_cmpint(push_pause_ms(1, true, 0), ==, 60000);
	g_assert_cmpint(push_pause_ms(50, true, 0), ==, 3600000);
	g_assert_cmpint(push_pause_ms(1, false, 0), ==, 5000);
	g_assert_cmpint(push_pause_ms(50, false, 0), ==, 300000);
}

/* Pushes that go in MS milliseconds when looked at each TICK. */
static int64_t spend(struct push_pace *pace, int64_t *now_ms, int64_t ms, int64_t tick, bool urgent)
{
	int64_t n = 0, until = *now_ms + ms;

	while (*now_ms < until) {
		*now_ms += tick;
		push_pace_flow(pace, *now_ms);
		int64_t allowed = push_pace_allows(pace, urgent);
		push_pace_take(pace, allowed);
		n += allowed;
	}
	return n;
}

static void test_pace(void)
{
	int64_t now_ms = 1000000;
	struct push_pace pace = {500, now_ms, 0};

	/* However often it is looked at. */
	g_assert_cmpint(spend(&pace, &now_ms, 10000, 1, false), ==, 5000);
	g_assert_cmpint(spend(&pace, &now_ms, 10000, 50, false), ==, 5000);
	/* A long rest does not make a burst. */
	now_ms += 3600000;
	push_pace_flow(&pace, now_ms);
	g_assert_cmpint(push_pace_allows(&pace, false), ==, 50);
	/* What is urgent borrows half a second's worth, and it is paid back. */
	push_pace_take(&pace, 50);
	g_assert_cmpint(push_pace_allows(&pace, false), ==, 0);
	g_assert_cmpint(push_pace_allows(&pace, true), ==, 250);
	push_pace_take(&pace, 250);
	g_assert_cmpint(push_pace_allows(&pace, true), ==, 0);
	g_assert_cmpint(push_pace_wait_ms(&pace), ==, 502);
	g_assert_cmpint(spend(&pace, &now_ms, 10000, 10, false), ==, 4750);
	/* One a second is possible; a clock that is set back neither stops nor floods. */
	pace = (struct push_pace){1, now_ms, 0};
	g_assert_cmpint(spend(&pace, &now_ms, 60000, 100, false), ==, 60);
	now_ms -= 86400000;
	g_assert_cmpint(ABS(spend(&pace, &now_ms, 60000, 100, false) - 60), <=, 1);
	pace = (struct push_pace){0};
	g_assert_cmpint(push_pace_allows(&pace, false), ==, INT32_MAX);
	push_pace_take(&pace, 1000000);
	g_assert_cmpint(push_pace_wait_ms(&pace), ==, 0);
}

static void test_proxy(void)
{
	static const struct { const char *text; int status; } cases[] = {
		{"", 0}, {"HT", 0}, {"HTTP/1.1 200 Connection established\r\n", 0}, {"HTTP/1.1 200 Connection established\r\n\r\n", 200}, {"HTTP/1.0 200\r\n\r\n", 200},
		{"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", 407}, {"HTTP/1.1 200 OK\r\n\r\n\x16", -1}, {"HTTP/2 200\r\n\r\n", -1}, {"SSH-2.0-", -1},
		{"HTTP/1.1 2x0 \r\n\r\n", -1}, {"HTTP/1.1\r\n\r\n", -1}, {"\r\n\r\n", -1}, {"HTTP/1.1 000 \r\n\r\n", 1},
	};
	g_autofree char *much = g_strnfill(5000, 'x');

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(push_proxy_answer_parse(cases[i].text, strlen(cases[i].text)), ==, cases[i].status);
	memcpy(much, "HTTP/1.1 200 ", 13);
	g_assert_cmpint(push_proxy_answer_parse(much, 5000), ==, -1);
	g_assert_cmpint(push_proxy_answer_parse("HTTP/1.1 200 \0\r\n\r\n", 18), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/push/reasons", test_reasons);
	g_test_add_func("/push/statuses", test_statuses);
	g_test_add_func("/push/answers", test_answers);
	g_test_add_func("/push/retry-after", test_retry_after);
	g_test_add_func("/push/delays", test_delays);
	g_test_add_func("/push/pace", test_pace);
	g_test_add_func("/push/proxy", test_proxy);
	return g_test_run();
}
