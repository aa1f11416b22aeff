#include "service/enroll_html.h"

#include <string.h>

#define HOUR_MS ((int64_t)3600 * 1000)

static const struct page_root roots[] = {{(char *)(uintptr_t)"Root <1>", {0xab, 0xcd}}, {(char *)(uintptr_t)"Root 2", {0x01}}};

static struct enroll_page plain(void)
{
	return (struct enroll_page){
		.organization = "Test", .now_ms = 1800000000000, .expires_ms = 1800000000000 + 24 * HOUR_MS, .access_rights = 8191, .url = "https://mdm.example.org/enroll/token",
		.profile_path = "/enroll/token/profile", .trust_path = "/enroll/token/trust", .device = PAGE_DEVICE_PHONE, .trust = TLS_TRUST_PUBLIC, .roots = roots,
	};
}

static char *text_of(GBytes *html)
{
	gsize len;
	const char *data = g_bytes_get_data(html, &len);
	char *text = g_strndup(data, len);

	g_assert_true(g_utf8_validate(text, -1, NULL));
	g_bytes_unref(html);
	return text;
}

static char *format(const struct enroll_page *page)
{
	return text_of(enroll_page_format(page));
}

static void check_has(const char *html, const char *part, bool has)
{
	if (!!strstr(html, part) != has)
		g_error("the page %s \"%s\":\n%s", has ? "lacks" : "has", part, html);
}

/* Every right has its words, alone and with the others; what it does not allow is not said. */
static void test_rights(void)
{
	static const struct { int right; const char *words; } rows[] = {
		{1, "which settings and limits"}, {2, "install, change and remove settings"}, {4, "lock the device"}, {8, "erase the device"}, {16, "serial number"}, {32, "phone number"},
		{64, "which permits"}, {128, "install and remove permits"}, {256, "which apps are installed"}, {512, "which settings and limits"}, {1024, "whether it has a passcode"},
		{2048, "such as roaming"}, {4096, "install, update and remove the apps"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct enroll_page page = plain();
		g_autofree char *all = format(&page), *one = NULL, *others = NULL;

		check_has(all, rows[i].words, rows[i].right != 64);
		page.access_rights = rows[i].right;
		one = format(&page);
		check_has(one, rows[i].words, true);
		check_has(one, "<h3>They will be able to</h3>", (rows[i].right & (2 | 4 | 8 | 128 | 2048 | 4096)) != 0);
		check_has(one, "<h3>They will see</h3>", (rows[i].right & (2 | 4 | 8 | 128 | 2048 | 4096)) == 0);
		check_has(one, "What they install can go further", (rows[i].right & (2 | 4096)) != 0);
		for (unsigned j = 0; j < G_N_ELEMENTS(rows); j++)
			check_has(one, rows[j].words, !strcmp(rows[i].words, rows[j].words));
		page.access_rights = 8191 & ~rows[i].right;
		others = format(&page);
		check_has(others, rows[i].words, rows[i].right == 1 || rows[i].right == 512);
	}
}

/* Nothing of a value is markup, wherever it stands. */
static void test_escapes(void)
{
	struct enroll_page page = plain();
	const char *evil = "<b onload=\"x\">&'\xe2\x80\xae";
	g_autofree char *html = NULL, *refusal = NULL;

	page.organization = page.user_name = page.device_name = page.contact = evil;
	page.trust = TLS_TRUST_ROOT;
	page.n_roots = 2;
	html = format(&page);
	check_has(html, "<b onload", false);
	check_has(html, "onload=\"", false);
	check_has(html, "<dt>For</dt><dd><bdi>&lt;b onload=&quot;x&quot;&gt;&amp;&apos;\xe2\x80\xae</bdi></dd>", true);
	check_has(html, "<bdi>Root &lt;1&gt;</bdi>", true);
	refusal = text_of(enroll_refusal_format(evil, evil, pom_error_info(POM_ERR_LINK_EXPIRED)));
	check_has(refusal, "<b onload", false);
	check_has(refusal, "<bdi>&lt;b onload=&quot;x&quot;&gt;&amp;&apos;\xe2\x80\xae</bdi>", true);
}

static void test_contact(void)
{
	static const struct { const char *contact, *html; } rows[] = {
		{NULL, "Ask the person who gave you this link.</footer>"},
		{"Ms Example, room 5", "Ask <bdi>Ms Example, room 5</bdi>.</footer>"},
		{"help@example.org", "Ask <a href=\"mailto:help@example.org\">help@example.org</a>.</footer>"},
		{"help@example.org?bcc=x@example.net", "Ask <bdi>help@example.org?bcc=x@example.net</bdi>.</footer>"},
		{"Ann (ann@example.org)", "Ask <bdi>Ann (ann@example.org)</bdi>.</footer>"},
		{"@example.org", "Ask <bdi>@example.org</bdi>.</footer>"},
		{"+49 30 (0) 123-45", "Ask <a href=\"tel:+4930012345\">+49 30 (0) 123-45</a>.</footer>"},
		{"+", "Ask <bdi>+</bdi>.</footer>"},
		{"https://example.org/help?a=1&b=2", "Ask <a href=\"https://example.org/help?a=1&amp;b=2\">https://example.org/help?a=1&amp;b=2</a>.</footer>"},
		{"javascript:alert(1)", "Ask <bdi>javascript:alert(1)</bdi>.</footer>"},
		{"data:text/html,x", "Ask <bdi>data:text/html,x</bdi>.</footer>"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct enroll_page page = plain();
		g_autofree char *html = NULL;

		page.contact = rows[i].contact;
		html = format(&page);
		check_has(html, rows[i].html, true);
	}
}

static void test_times(void)
{
	static const struct { int64_t left_ms; const char *html; } rows[] = {
		{24 * HOUR_MS, "<time datetime=\"2027-01-16T08:00:00Z\">16 January 2027, 08:00 UTC</time> (24 hours from now)"},
		{48 * HOUR_MS, "<time datetime=\"2027-01-17T08:00:00Z\">17 January 2027, 08:00 UTC</time> (2 days from now)"},
		{48 * HOUR_MS - 1, "(47 hours from now)"},
		{2 * HOUR_MS, "(2 hours from now)"},
		{2 * HOUR_MS - 1, "(119 minutes from now)"},
		{119999, "(1 minute from now)"},
		{1, "(1 minute from now)"},
		{365 * 24 * HOUR_MS, "(365 days from now)"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct enroll_page page = plain();
		g_autofree char *html = NULL;

		page.expires_ms = page.now_ms + rows[i].left_ms;
		html = format(&page);
		check_has(html, rows[i].html, true);
	}
}

static void test_devices(void)
{
	static const struct { const char *agent; enum page_device device; } rows[] = {
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1", PAGE_DEVICE_PHONE},
		{"Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1", PAGE_DEVICE_PHONE},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15", PAGE_DEVICE_MAC},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", PAGE_DEVICE_OTHER},
		{"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Mobile Safari/537.36", PAGE_DEVICE_OTHER},
		{"", PAGE_DEVICE_OTHER},
		{NULL, PAGE_DEVICE_OTHER},
	};
	struct enroll_page page = plain();

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		g_assert_cmpint(page_device_parse(rows[i].agent), ==, rows[i].device);
	for (page.device = PAGE_DEVICE_PHONE; page.device <= PAGE_DEVICE_OTHER; page.device++) {
		g_autofree char *html = format(&page);

		/* Both kinds can always be reached; a telephone's own steps are open. */
		check_has(html, "<details open><summary>On an iPhone or iPad</summary>", page.device == PAGE_DEVICE_PHONE);
		check_has(html, "<summary>On an iPhone or iPad</summary>", true);
		check_has(html, "<details><summary>On a Mac</summary>", true);
		check_has(html, "<svg ", page.device != PAGE_DEVICE_PHONE);
		check_has(html, "Open this page on the device", page.device == PAGE_DEVICE_OTHER);
	}
}

static void test_trust(void)
{
	struct enroll_page page = plain();
	g_autofree char *public = format(&page), *one = NULL, *two = NULL, *unknown = NULL;

	check_has(public, "Step 1", false);
	check_has(public, "/trust\"", false);
	check_has(public, "<h2>Install the management profile</h2><a class=\"button\" href=\"/enroll/token/profile\">", true);
	page.trust = TLS_TRUST_ROOT;
	page.n_roots = 1;
	one = format(&page);
	check_has(one, "<h2>Step 1: trust this server</h2>", true);
	check_has(one, "<a class=\"button\" href=\"/enroll/token/trust\">", true);
	check_has(one, "Switch on <strong><bdi>Root &lt;1&gt;</bdi></strong>.", true);
	check_has(one, "<code>AB CD 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00</code>", true);
	check_has(one, "Root 2", false);
	check_has(one, "<h2>Step 2: install the management profile</h2>", true);
	page.n_roots = 2;
	two = format(&page);
	check_has(two, "Switch on <strong><bdi>Root &lt;1&gt;</bdi></strong> and <strong><bdi>Root 2</bdi></strong>.", true);
	page.trust = TLS_TRUST_UNKNOWN;
	page.n_roots = 0;
	unknown = format(&page);
	check_has(unknown, "for the root certificate", true);
	check_has(unknown, "/trust\"", false);
	check_has(unknown, "<h2>Step 2: install the management profile</h2>", true);
}

static void test_refusals(void)
{
	static const struct { enum pom_error reason; const char *title, *advice; } rows[] = {
		{POM_ERR_LINK_UNKNOWN, "This link does not exist", "For a new link, ask"}, {POM_ERR_LINK_EXPIRED, "This link has expired", "For a new link, ask"},
		{POM_ERR_LINK_USED, "This link has been used", "you are done"}, {POM_ERR_LINK_REVOKED, "This link has been withdrawn", "For a new link, ask"},
		{POM_ERR_NO_PUSH_CERT, "The server is not ready yet", "If it stays so, tell"}, {POM_ERR_BUSY, "This does not work now", "Try again"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *html = text_of(enroll_refusal_format("Test", NULL, pom_error_info((int)rows[i].reason)));
		g_autofree char *title = g_strdup_printf("<h1>%s</h1>", rows[i].title), *code = g_strdup_printf("<footer>Code: %s</footer>", pom_error_info((int)rows[i].reason)->id);

		check_has(html, title, true);
		check_has(html, rows[i].advice, true);
		check_has(html, code, true);
		check_has(html, "class=\"button\"", false);
	}
}

/* The digest in the policy is that of the style sheet on the page: without it the page has no style. */
static void test_policy(void)
{
	struct enroll_page page = plain();
	g_autofree char *html = format(&page), *style = NULL, *digest = NULL, *wanted = NULL;
	const char *from = strstr(html, "<style>") + strlen("<style>");
	uint8_t sha256[32];

	style = g_strndup(from, (gsize)(strstr(from, "</style>") - from));
	cert_sha256(style, strlen(style), sha256);
	digest = g_base64_encode(sha256, sizeof(sha256));
	wanted = g_strdup_printf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", digest);
	g_assert_cmpstr(enroll_page_policy(), ==, wanted);
	check_has(html, "<script", false);
	check_has(html, " style=", false);
	g_assert_cmpuint(strlen(html), <, 20000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/service/enroll-html/rights", test_rights);
	g_test_add_func("/service/enroll-html/escapes", test_escapes);
	g_test_add_func("/service/enroll-html/contact", test_contact);
	g_test_add_func("/service/enroll-html/times", test_times);
	g_test_add_func("/service/enroll-html/devices", test_devices);
	g_test_add_func("/service/enroll-html/trust", test_trust);
	g_test_add_func("/service/enroll-html/refusals", test_refusals);
	g_test_add_func("/service/enroll-html/policy", test_policy);
	return g_test_run();
}
