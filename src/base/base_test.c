#include <string.h>

#include "base/apple_error.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/face.h"
#include "base/metric.h"
#include "base/queue.h"

static void test_error_table(void)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < POM_ERR_MAX; i++) {
		const struct pom_error_info *info = pom_error_info(i);

		g_assert_true(g_hash_table_add(seen, (void *)info->id));
		g_assert_true(g_str_has_prefix(info->id, "POM-E"));
		g_assert_cmpint(info->http_status, >=, 400);
		g_assert_true(g_str_has_suffix(info->text, "."));
		g_assert_cmpint(pom_error_find(info->id), ==, i);
	}
	g_assert_cmpint(pom_error_find("e4103"), ==, POM_ERR_IDENTITY_FOREIGN);
	g_assert_cmpint(pom_error_find("nonsense"), ==, POM_ERR_MAX);
	g_assert_false(pom_fail(&error, POM_ERR_TOPIC, "Topic is %s", "x"));
	g_assert_error(error, POM_ERROR, POM_ERR_TOPIC);
	g_assert_cmpstr(error->message, ==, "Topic is x");
	g_assert_cmpint(pom_error_info_of(error)->http_status, ==, 400);
	g_assert_cmpint(pom_error_info_of(NULL)->http_status, ==, 500);
}

/* No reason that a device can meet may be 401: it would un-enroll. */
static void test_no_401(void)
{
	for (int i = 0; i < POM_ERR_MAX; i++)
		g_assert_true(pom_error_info(i)->http_status != 401 || i == POM_ERR_UNAUTHORIZED);
}

static void test_buf(void)
{
	g_auto(pom_buf_auto) buf = {0};

	pom_buf_init(&buf, 10);
	g_assert_true(pom_buf_puts(&buf, "12345"));
	g_assert_true(pom_buf_printf(&buf, "%d", 67890));
	g_assert_cmpmem(buf.data, buf.len, "1234567890", 10);
	pom_buf_consume(&buf, 3);
	g_assert_cmpmem(buf.data, buf.len, "4567890", 7);
	g_assert_false(pom_buf_puts(&buf, "abcd"));
	g_assert_false(pom_buf_puts(&buf, "a"));
	g_assert_null(pom_buf_steal(&buf));
	pom_buf_clear(&buf);
	g_assert_true(pom_buf_puts(&buf, "a"));
	g_autoptr(GBytes) bytes = pom_buf_steal(&buf);
	g_assert_cmpuint(g_bytes_get_size(bytes), ==, 1);
}

static void test_ids(void)
{
	int64_t now = 1700000000000;
	struct pom_clock clock = {pom_clock_fixed_now_ms, &now};
	struct pom_id last = pom_id_new(&clock, pom_random_system());

	for (int i = 0; i < 10000; i++) {
		struct pom_id id;

		now -= i % 3;
		id = pom_id_new(&clock, pom_random_system());
		g_assert_cmpstr(last.text, <, id.text);
		g_assert_true(pom_id_check(id.text));
		last = id;
	}
	g_autofree char *token = pom_random_token(pom_random_system(), 32);
	g_assert_cmpuint(strlen(token), ==, 43);
	g_autofree char *hex = pom_random_hex(pom_random_system(), 24), *other = pom_random_hex(pom_random_system(), 24);
	g_assert_cmpuint(strlen(hex), ==, 48);
	g_assert_cmpuint(strspn(hex, "0123456789abcdef"), ==, 48);
	g_assert_cmpstr(hex, !=, other);
	g_autofree char *when = pom_time_format(1767323045999);
	g_assert_cmpstr(when, ==, "2026-01-02T03:04:05Z");
	g_autofree char *never = pom_time_format(INT64_MAX);
	g_assert_cmpstr(never, ==, "-");
}

static void test_metric(void)
{
	g_auto(pom_buf_auto) buf = {0};
	char value[16];

	pom_buf_init(&buf, 1 << 20);
	pom_metric_add(POM_METRIC_REFUSED, "POM-E4103", 2);
	pom_metric_add(POM_METRIC_REFUSED, "POM-E4103", 1);
	pom_metric_set(POM_METRIC_PUSH_BACKLOG, NULL, 7);
	g_assert_cmpint(pom_metric_get(POM_METRIC_REFUSED, "POM-E4103"), ==, 3);
	for (int i = 0; i < 300; i++) {
		g_snprintf(value, sizeof(value), "v%d", i);
		pom_metric_add(POM_METRIC_REFUSED, value, 1);
	}
	g_assert_cmpint(pom_metric_get(POM_METRIC_REFUSED, "other"), >, 100);
	pom_metric_format(&buf);
	pom_buf_append(&buf, "", 1);
	g_assert_nonnull(strstr((char *)buf.data, "\npomona_refusals_total{reason=\"POM-E4103\"} 3\n"));
	g_assert_nonnull(strstr((char *)buf.data, "\npomona_push_backlog 7\n"));
}

static void count(void *ctx, void *item)
{
	__atomic_add_fetch((int *)ctx, GPOINTER_TO_INT(item), __ATOMIC_SEQ_CST);
}

static void test_pool(void)
{
	int sum = 0, pushed = 0;
	struct pom_pool *pool = pom_pool_new("test", 4, 8, count, &sum);

	for (int i = 0; i < 1000; i++)
		pushed += pom_pool_push(pool, GINT_TO_POINTER(1));
	pom_pool_free(pool);
	g_assert_cmpint(sum, ==, pushed);
	g_assert_cmpint(pushed, >=, 8);
}

/* Every row is found by its number or word, alone and with its domain. */
static void test_apple_errors(void)
{
	const struct apple_error *e;
	unsigned n = 0, n_words = 0;

	for (; (e = apple_error_at(n)); n++) {
		g_autofree char *code = e->word ? g_strdup(e->word) : g_strdup_printf("%" G_GINT64_FORMAT, e->code);
		g_autofree char *whole = g_strdup_printf("%s:%s", e->domain, code), *newer = g_strdup_printf("D%s:%s", e->domain, code), *lower = g_ascii_strdown(whole, -1);

		g_assert_true(apple_error_find_text(code) == e);
		g_assert_true(apple_error_find_text(whole) == e);
		g_assert_true(apple_error_find_text(newer) == e);
		g_assert_true(apple_error_find_text(lower) == e);
		g_assert_true(apple_error_find(e->domain, e->code) == (e->word ? NULL : e));
		g_assert_true(g_str_has_suffix(e->meaning, "."));
		n_words += e->word != NULL;
	}
	g_assert_cmpuint(n, ==, 348);
	g_assert_cmpuint(n_words, ==, 71);
	g_assert_null(apple_error_find("MCMDMErrorDomain", 22013));
	g_assert_null(apple_error_find(NULL, 0));
	g_assert_null(apple_error_find_text(""));
	g_assert_null(apple_error_find_text(":"));
	g_assert_null(apple_error_find_text("APNs:"));
	g_assert_null(apple_error_find_text("DDM:BadDeviceToken"));
}

static void test_apple_error_search(void)
{
	unsigned n = 0;

	while (apple_error_search("LOST MODE", n))
		n++;
	g_assert_cmpuint(n, ==, 3);
	g_assert_null(apple_error_search("no such words", 0));
	g_assert_null(apple_error_search("the", 0));
	g_assert_null(apple_error_search("", 0));
	g_assert_nonnull(apple_error_search("throw-away certificate", 1)); /* in the meaning alone */
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/base/error/table", test_error_table);
	g_test_add_func("/base/error/no-401", test_no_401);
	g_test_add_func("/base/apple-error/rows", test_apple_errors);
	g_test_add_func("/base/apple-error/search", test_apple_error_search);
	g_test_add_func("/base/buf", test_buf);
	g_test_add_func("/base/ids", test_ids);
	g_test_add_func("/base/metric", test_metric);
	g_test_add_func("/base/pool", test_pool);
	return g_test_run();
}
