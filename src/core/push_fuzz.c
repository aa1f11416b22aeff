/* Answers of APNs and of proxies, and Retry-After. Whatever comes, a reason is a word, and no wait is longer than an hour. */
#include <glib.h>
#include <string.h>

#include "core/push.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct push_answer answer;
	int64_t ms = push_retry_after_parse((const char *)data, size, 784111777000);
	int status = push_proxy_answer_parse((const char *)data, size);

	push_answer_parse(data, size, &answer);
	g_assert(status >= -1 && status <= 999);
	g_assert(ms >= 0 && ms <= 3600000);
	g_assert(answer.timestamp_ms >= 0 && strlen(answer.reason) < sizeof(answer.reason));
	for (const char *p = answer.reason; *p; p++)
		g_assert(g_ascii_isalnum(*p));
	g_assert(push_decide(400, answer.reason) < PUSH_VERDICT_MAX);
	return 0;
}
