#include "base/metric.h"

#include <pthread.h>
#include <string.h>

enum { VALUES_MAX = 128, VALUE_LEN = 96 };

struct series {
	char value[VALUE_LEN];
	int64_t n;
};

static const struct {
	const char *name, *kind, *label, *help;
} table[POM_METRIC_MAX] = {
#define X(code, name, kind, label, help) [code] = {name, kind, label, help},
	POM_METRIC_TABLE(X)
#undef X
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct series series[POM_METRIC_MAX][VALUES_MAX];
static int n_series[POM_METRIC_MAX];

/* The series of VALUE, made if need be. Call with the lock held. */
static struct series *find(enum pom_metric metric, const char *value)
{
	struct series *s = series[metric];

	for (int i = 0; i < n_series[metric]; i++)
		if (!strncmp(s[i].value, value, VALUE_LEN - 1))
			return &s[i];
	if (n_series[metric] == VALUES_MAX)
		return &s[VALUES_MAX - 1];
	if (n_series[metric] == VALUES_MAX - 1)
		value = "other";
	s = &s[n_series[metric]++];
	g_strlcpy(s->value, value, VALUE_LEN);
	return s;
}

void pom_metric_add(enum pom_metric metric, const char *value, int64_t n)
{
	pthread_mutex_lock(&lock);
	find(metric, value ? value : "")->n += n;
	pthread_mutex_unlock(&lock);
}

void pom_metric_set(enum pom_metric metric, const char *value, int64_t n)
{
	pthread_mutex_lock(&lock);
	find(metric, value ? value : "")->n = n;
	pthread_mutex_unlock(&lock);
}

int64_t pom_metric_get(enum pom_metric metric, const char *value)
{
	int64_t n = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < n_series[metric]; i++)
		if (!strncmp(series[metric][i].value, value ? value : "", VALUE_LEN - 1))
			n = series[metric][i].n;
	pthread_mutex_unlock(&lock);
	return n;
}

static void format_label(struct pom_buf *buf, const char *label, const char *value)
{
	pom_buf_printf(buf, "{%s=\"", label);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			pom_buf_puts(buf, "\\");
		pom_buf_append(buf, *value == '\n' ? " " : value, 1);
	}
	pom_buf_puts(buf, "\"}");
}

void pom_metric_format(struct pom_buf *buf)
{
	pthread_mutex_lock(&lock);
	for (int m = 0; m < POM_METRIC_MAX; m++) {
		pom_buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", table[m].name, table[m].help, table[m].name, table[m].kind);
		if (!n_series[m] && !table[m].label)
			pom_buf_printf(buf, "%s 0\n", table[m].name);
		for (int i = 0; i < n_series[m]; i++) {
			pom_buf_puts(buf, table[m].name);
			if (table[m].label)
				format_label(buf, table[m].label, series[m][i].value);
			pom_buf_printf(buf, " %" G_GINT64_FORMAT "\n", series[m][i].n);
		}
	}
	pthread_mutex_unlock(&lock);
}
