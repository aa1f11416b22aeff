#include "core/push.h"

#include <glib.h>
#include <string.h>

static const struct {
	const char *reason;
	enum push_verdict verdict;
} reasons[] = {
	{"Unregistered", PUSH_VERDICT_TOKEN_DEAD}, {"ExpiredToken", PUSH_VERDICT_TOKEN_DEAD},
	{"BadDeviceToken", PUSH_VERDICT_TOKEN_DEAD}, {"DeviceTokenNotForTopic", PUSH_VERDICT_TOKEN_DEAD},
	{"TopicDisallowed", PUSH_VERDICT_TOPIC}, {"BadTopic", PUSH_VERDICT_TOPIC}, {"MissingTopic", PUSH_VERDICT_TOPIC},
	{"BadCertificate", PUSH_VERDICT_TOPIC}, {"BadCertificateEnvironment", PUSH_VERDICT_TOPIC}, {"Forbidden", PUSH_VERDICT_TOPIC},
	{"MissingProviderToken", PUSH_VERDICT_TOPIC}, {"InvalidProviderToken", PUSH_VERDICT_TOPIC}, {"ExpiredProviderToken", PUSH_VERDICT_TOPIC},
	{"TooManyRequests", PUSH_VERDICT_RETRY}, {"InternalServerError", PUSH_VERDICT_RETRY}, {"ServiceUnavailable", PUSH_VERDICT_RETRY},
	{"Shutdown", PUSH_VERDICT_RECONNECT}, {"IdleTimeout", PUSH_VERDICT_RECONNECT},
};

enum push_verdict push_decide(int status, const char *reason)
{
	if (status == 200)
		return PUSH_VERDICT_OK;
	for (unsigned i = 0; reason && i < G_N_ELEMENTS(reasons); i++)
		if (!strcmp(reason, reasons[i].reason))
			return reasons[i].verdict;
	if (status == 410)
		return PUSH_VERDICT_TOKEN_DEAD;
	if (status == 403)
		return PUSH_VERDICT_TOPIC;
	if (status == 429 || status >= 500 || status < 200)
		return PUSH_VERDICT_RETRY;
	return PUSH_VERDICT_BUG;
}

int64_t push_delay_ms(int64_t n, bool slow, unsigned jitter)
{
	int64_t delay = slow ? 60000 : 5000;

	for (int64_t i = 1; i < n && delay < 3600000; i++)
		delay *= 2;
	delay = MIN(delay, 3600000);
	return delay + delay / 2 * (jitter % 1000) / 1000;
}
