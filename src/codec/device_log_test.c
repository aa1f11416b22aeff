#include "codec/device_log.h"

#include <string.h>

/* Text, the ids in the order in which they are found, and the lines of the first. */
static const struct { const char *text, *ids; int lines[3]; } cases[] = {
	{"", "", {0}},
	{"nothing here\nnor here", "", {0}},
	{"x\nError Domain=MCSCEPErrorDomain Code=22013 \"The SCEP server\"\n", "MCSCEPErrorDomain:22013", {2}},
	{"<MCSCEPErrorDomain:22013>", "MCSCEPErrorDomain:22013", {1}},
	{"MCMDMErrorDomain \xe2\x80\x93 12011", "MCMDMErrorDomain:12011", {1}},
	{"DMCSCEPErrorDomain Code=22013", "MCSCEPErrorDomain:22013", {1}},
	{"MCSCEPErrorDomain of 22013", "", {0}},
	{"MCSCEPErrorDomain:1", "", {0}},
	{"NSError:\nDesc   : x\nDomain : MCInstallationErrorDomain\nCode   : 4001\nType   : MCFatalError\n...Underlying error:\nNSError:\n Domain : MCSCEPErrorDomain\n Code   : 22003\n",
	 "MCInstallationErrorDomain:4001 MCSCEPErrorDomain:22003", {4}},
	{"Domain : MCInstallationErrorDomain\n1\n2\n3\n4\n5\nCode : 4001\n", "", {0}},
	{"Code : 4001\n", "", {0}},
	{"a POM-E4103 b\nPOM-E4103\n\nPOM-E0000 POM-E", "POM-E4103", {1, 2}},
	{"The SCEP SERVER returned an invalid response.", "scep-invalid-response", {1}},
	{"Error Domain=NSURLErrorDomain Code=-1202 \"The certificate for this server is invalid.\" _kCFStreamErrorCodeKey=-9807", "server-certificate-invalid url-1202 ssl-9807", {1}},
	{"NSURLErrorDomain Code=-12021", "", {0}},
	{"NSURLErrorDomain Code=-1200\rNSURLErrorDomain Code=-1003", "url-1003 url-1200", {1}},
	{"Trust evaluate failure: [leaf MissingIntermediate]", "trust-missingintermediate", {1}},
	{"-->\x1b[31m <NSOSStatusErrorDomain:-603>", "osstatus-603", {1}},
};

static char *ids_of(const struct device_log *log)
{
	GString *ids = g_string_new(NULL);

	for (guint i = 0; i < log->entries->len; i++)
		g_string_append_printf(ids, "%s%s", ids->len ? " " : "", ((const struct device_log_entry *)log->entries->pdata[i])->id);
	return g_string_free(ids, FALSE);
}

static void test_cases(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(device_log) log = device_log_read(cases[i].text, strlen(cases[i].text));
		g_autofree char *ids = ids_of(log);
		const struct device_log_entry *first = log->entries->len ? log->entries->pdata[0] : NULL;

		g_assert_cmpstr(ids, ==, cases[i].ids);
		for (guint k = 0; first && cases[i].lines[k]; k++)
			g_assert_cmpint(g_array_index(first->lines, int, k), ==, cases[i].lines[k]);
	}
}

/* UTF-16 of both orders, with and without a mark. */
static void test_wide(void)
{
	static const char text[] = "a\nMCSCEPErrorDomain:22013\n";

	for (int form = 0; form < 4; form++) {
		GByteArray *bytes = g_byte_array_new();

		if (form & 1)
			g_byte_array_append(bytes, (const guint8 *)(form & 2 ? "\xfe\xff" : "\xff\xfe"), 2);
		for (size_t i = 0; i < strlen(text); i++) {
			const guint8 unit[2] = {form & 2 ? 0 : (guint8)text[i], form & 2 ? (guint8)text[i] : 0};

			g_byte_array_append(bytes, unit, 2);
		}
		g_autoptr(device_log) log = device_log_read(bytes->data, bytes->len);

		g_byte_array_unref(bytes);
		g_assert_cmpuint(log->entries->len, ==, 1);
		g_assert_cmpint(g_array_index(((const struct device_log_entry *)log->entries->pdata[0])->lines, int, 0), ==, 2);
	}
}

/* Bytes that are no UTF-8, NULs, controls, a line without end, more lines than are named. */
static void test_hostile(void)
{
	static const char bytes[] = "\xff\xfeq\0\x1b[2J MCSCEPErrorDomain:22013 \xe2\x80", raw[] = "x\0\x1b[2J MCSCEPErrorDomain:22013 \xe2\x80";
	g_autoptr(device_log) odd = device_log_read(bytes, sizeof(bytes) - 1), log = device_log_read(raw, sizeof(raw) - 1);
	const struct device_log_entry *entry = log->entries->pdata[0];
	g_autoptr(GString) many = g_string_new(NULL);

	g_assert_cmpuint(odd->entries->len, ==, 0); /* its mark says UTF-16 */
	g_assert_cmpstr(entry->excerpt, ==, "x  [2J MCSCEPErrorDomain:22013 \xef\xbf\xbd\xef\xbf\xbd");
	for (int i = 0; i < 100; i++)
		g_string_append(many, "MCSCEPErrorDomain:22013\r\n");
	for (int i = 0; i < 100000; i++)
		g_string_append(many, "long");
	g_string_append(many, " MCSCEPErrorDomain:22003");
	g_autoptr(device_log) long_log = device_log_read(many->str, many->len);

	entry = long_log->entries->pdata[0];
	g_assert_cmpuint(long_log->entries->len, ==, 1);
	g_assert_cmpuint(entry->n, ==, 100);
	g_assert_cmpuint(entry->lines->len, ==, DEVICE_LOG_LINES_MAX);
	g_assert_cmpuint(long_log->n_lines, ==, 101);
}

static void test_cut(void)
{
	size_t len = (size_t)DEVICE_LOG_MAX_BYTES + 100;
	g_autofree char *text = g_malloc(len);

	memset(text, 'x', len);
	memcpy(text + len - 40, "\nMCSCEPErrorDomain:22013\n", 25);
	g_autoptr(device_log) log = device_log_read(text, len);
	g_assert_true(log->is_cut);
	g_assert_cmpuint(log->entries->len, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/device_log/cases", test_cases);
	g_test_add_func("/device_log/wide", test_wide);
	g_test_add_func("/device_log/hostile", test_hostile);
	g_test_add_func("/device_log/cut", test_cut);
	return g_test_run();
}
