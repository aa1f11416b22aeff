#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/face.h"

enum { VALUE_MAX = 1024, LINE_MAX_BYTES = 16384 };

static enum pom_log_level max_level = POM_LOG_INFO;

void pom_log_set_level(enum pom_log_level level)
{
	max_level = level;
}

static bool is_plain(const char *value)
{
	for (; *value; value++)
		if (*value <= ' ' || *value == '"' || *value == '\\' || *value >= 0x7f)
			return false;
	return true;
}

static void put_value(struct pom_buf *buf, const char *value)
{
	g_autofree char *cut = g_strndup(value, VALUE_MAX);

	if (is_plain(cut)) {
		pom_buf_puts(buf, cut);
		return;
	}
	pom_buf_puts(buf, "\"");
	for (const char *p = cut; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\')
			pom_buf_printf(buf, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			pom_buf_printf(buf, "\\x%02x", c);
		else
			pom_buf_append(buf, p, 1);
	}
	pom_buf_puts(buf, "\"");
}

void pom_log(enum pom_log_level level, const char *event, ...)
{
	static const char *const names[POM_LOG_LEVEL_MAX] = {"error", "warning", "notice", "info", "debug"};
	g_auto(pom_buf_auto) buf = {0};
	const char *name;
	va_list args;

	if (level > max_level)
		return;
	pom_buf_init(&buf, LINE_MAX_BYTES);
	g_autofree char *when = pom_time_format(pom_clock_now_ms(pom_clock_system()));
	pom_buf_printf(&buf, "%s %s %s", when, names[level], event);
	va_start(args, event);
	while ((name = va_arg(args, const char *))) {
		const char *value = va_arg(args, const char *);

		if (!value || !*value)
			continue;
		pom_buf_printf(&buf, " %s=", name);
		put_value(&buf, value);
	}
	va_end(args);
	if (buf.failed)
		buf.failed = false;
	buf.len = MIN(buf.len, (size_t)LINE_MAX_BYTES - 1);
	pom_buf_puts(&buf, "\n");
	for (size_t done = 0; done < buf.len;) {
		ssize_t n = write(STDERR_FILENO, buf.data + done, buf.len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
}
