#include "base/face.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t system_now_ms(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void system_fill(void *ctx, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, MIN(len, 256), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			g_error("getrandom: %s", g_strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

const struct pom_clock *pom_clock_system(void)
{
	static const struct pom_clock clock = {system_now_ms, NULL};

	return &clock;
}

const struct pom_random *pom_random_system(void)
{
	static const struct pom_random random = {system_fill, NULL};

	return &random;
}

int64_t pom_clock_now_ms(const struct pom_clock *clock)
{
	return clock->now_ms(clock->ctx);
}

void pom_random_fill(const struct pom_random *random, void *buf, size_t len)
{
	random->fill(random->ctx, buf, len);
}

int64_t pom_clock_fixed_now_ms(void *ctx)
{
	return *(const int64_t *)ctx;
}

/* The 48 bits of time and 12 bits of counter of the newest id: RFC 9562 §6.2, method 1 (a counter in rand_a). */
static pthread_mutex_t id_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t id_last;

static uint64_t id_stamp(int64_t now_ms)
{
	uint64_t stamp = (uint64_t)now_ms << 12;

	pthread_mutex_lock(&id_lock);
	id_last = stamp > id_last ? stamp : id_last + 1;
	stamp = id_last;
	pthread_mutex_unlock(&id_lock);
	return stamp;
}

struct pom_id pom_id_new(const struct pom_clock *clock, const struct pom_random *random)
{
	static const char hex[] = "0123456789ABCDEF";
	uint64_t stamp = id_stamp(pom_clock_now_ms(clock));
	struct pom_id id;
	uint8_t b[16];
	char *out = id.text;

	pom_random_fill(random, b + 8, 8);
	for (int i = 0; i < 6; i++)
		b[i] = (uint8_t)(stamp >> (52 - 8 * i));
	b[6] = (uint8_t)(0x70 | ((stamp >> 8) & 0x0f));
	b[7] = (uint8_t)stamp;
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out = '\0';
	return id;
}

gboolean pom_id_check(const char *text)
{
	return g_uuid_string_is_valid(text);
}

char *pom_random_token(const struct pom_random *random, size_t n_bytes)
{
	uint8_t buf[256];
	char *text, *end;

	g_assert(n_bytes <= sizeof(buf));
	pom_random_fill(random, buf, n_bytes);
	text = g_base64_encode(buf, n_bytes);
	explicit_bzero(buf, sizeof(buf));
	for (char *p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	end = strchr(text, '=');
	if (end)
		*end = '\0';
	return text;
}

char *pom_random_hex(const struct pom_random *random, size_t n_bytes)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t buf[256];
	char *text = g_malloc(2 * n_bytes + 1), *out = text;

	g_assert(n_bytes <= sizeof(buf));
	pom_random_fill(random, buf, n_bytes);
	for (size_t i = 0; i < n_bytes; i++) {
		*out++ = digits[buf[i] >> 4];
		*out++ = digits[buf[i] & 15];
	}
	*out = '\0';
	explicit_bzero(buf, sizeof(buf));
	return text;
}

char *pom_time_format(int64_t unix_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;
	char buf[32];

	if (unix_ms < -62135596800000 || unix_ms > 253402300799999 || !gmtime_r(&t, &tm))
		return g_strdup("-");
	strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return g_strdup(buf);
}
