#include "service/enroll_html.h"

#include <string.h>

#include "codec/datetime.h"
#include "codec/qr.h"

/* Contrast of every pair at least 7:1 (WCAG 2.2 AAA), but for lines. What is beside the text is in pixels: it shall not grow with the letters. */
static const char style[] =
	":root{color-scheme:light dark;--text:#1d1d1f;--ground:#fff;--card:#f2f2f5;--line:#8a8a8f;--link:#004a94;--ink:#fff}"
	"@media(prefers-color-scheme:dark){:root{--text:#f5f5f7;--ground:#161617;--card:#252527;--line:#98989d;--link:#8cc4ff;--ink:#0b1b2b}}"
	"*{box-sizing:border-box}"
	"html{-webkit-text-size-adjust:100%}"
	"body{margin:0;padding:16px;font:1.25rem/1.5 -apple-system,system-ui,sans-serif;color:var(--text);background:var(--ground);overflow-wrap:anywhere}"
	"header,main,footer{max-width:36rem;margin:0 auto}"
	"header{font-weight:600;border-bottom:1px solid var(--line);padding-bottom:.5rem}"
	"h1{font-size:1.9rem;line-height:1.2;margin:1.25rem 0 .75rem}"
	"h2{font-size:1.45rem;line-height:1.25;margin:0 0 .5rem}"
	"h3{font-size:1.25rem;margin:1.25rem 0 .25rem}"
	"p{margin:.5rem 0 .75rem}"
	"section{background:var(--card);border-radius:16px;padding:18px;margin:20px 0}"
	"ul,ol{margin:.25rem 0 .75rem;padding-left:1.2em}li{margin:.4rem 0}"
	"dl{margin:.75rem 0}dt{font-weight:600}dd{margin:0 0 .5rem}@media(min-width:34rem){dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem}}"
	"a{color:var(--link)}"
	"a.button{display:block;text-align:center;background:var(--link);color:var(--ink);padding:16px 8px;border-radius:12px;text-decoration:none;font-weight:600;margin:1rem 0}"
	"summary{font-weight:600;padding:.6rem 0;cursor:pointer}details{border-top:1px solid var(--line)}"
	"a:focus-visible,summary:focus-visible{outline:3px solid var(--text);outline-offset:3px;border-radius:.25rem}"
	"code{font:1rem/1.6 ui-monospace,monospace}"
	"svg{display:block;width:100%;max-width:16rem;margin:.75rem auto}"
	"footer{border-top:1px solid var(--line);padding:.75rem 0;font-size:1.125rem}"
	"@media print{body{font-size:12pt}section{background:none;border:1px solid;break-inside:avoid}a.button{background:none;color:inherit;border:2px solid}}";

const char *enroll_page_policy(void)
{
	static gsize policy;

	if (g_once_init_enter(&policy)) {
		g_autoptr(GChecksum) sha256 = g_checksum_new(G_CHECKSUM_SHA256);
		g_autofree char *digest = NULL;
		guint8 bytes[32];
		gsize len = sizeof(bytes);

		g_checksum_update(sha256, (const guchar *)style, -1);
		g_checksum_get_digest(sha256, bytes, &len);
		digest = g_base64_encode(bytes, len);
		g_once_init_leave(&policy, (gsize)g_strdup_printf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", digest));
	}
	return (const char *)policy;
}

enum page_device page_device_parse(const char *user_agent)
{
	static const struct { const char *word; enum page_device device; } rows[] = {
		{"iPhone", PAGE_DEVICE_PHONE}, {"iPad", PAGE_DEVICE_PHONE}, {"iPod", PAGE_DEVICE_PHONE}, {"Macintosh", PAGE_DEVICE_MAC},
	};

	for (unsigned i = 0; user_agent && i < G_N_ELEMENTS(rows); i++)
		if (strstr(user_agent, rows[i].word))
			return rows[i].device;
	return PAGE_DEVICE_OTHER;
}

/* All text goes through here: what %s stands for is escaped. */
static void add(GString *html, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add(GString *html, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_markup_vprintf_escaped(format, args);
	va_end(args);
	g_string_append(html, text);
}

static GString *begin(const char *organization, const char *title)
{
	GString *html = g_string_new("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
	                             "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">");

	add(html, "<title>%s: device management</title>\n<style>", organization);
	g_string_append(html, style);
	add(html, "</style></head>\n<body><header><bdi>%s</bdi>: device management</header>\n<main><h1>%s</h1>\n", organization, title);
	return html;
}

/* A mail address that can stand in a link as it is. */
static bool is_mail(const char *text)
{
	const char *at = strchr(text, '@');

	return at && at > text && at[1] && !strchr(at + 1, '@') && !strpbrk(text, " \t?&%#/:<>\"'");
}

static bool is_phone(const char *text)
{
	return *text == '+' && text[1] && strspn(text + 1, "0123456789 -()") == strlen(text + 1);
}

/* RFC 3966: digits alone are dialed. */
static void add_phone(GString *html, const char *contact)
{
	g_autofree char *number = g_strdup(contact);
	size_t n = 0;

	for (const char *p = contact; *p; p++)
		if (g_ascii_isdigit(*p) || *p == '+')
			number[n++] = *p;
	number[n] = '\0';
	add(html, "<a href=\"tel:%s\">%s</a>", number, contact);
}

/* Whom to ask, within a sentence. */
static void add_contact(GString *html, const char *contact)
{
	if (!contact)
		add(html, "the person who gave you this link");
	else if (g_str_has_prefix(contact, "https://") || g_str_has_prefix(contact, "http://"))
		add(html, "<a href=\"%s\">%s</a>", contact, contact);
	else if (is_mail(contact))
		add(html, "<a href=\"mailto:%s\">%s</a>", contact, contact);
	else if (is_phone(contact))
		add_phone(html, contact);
	else
		add(html, "<bdi>%s</bdi>", contact);
}

/* "3 November 2026, 14:05 UTC", which machines read too, and how long that is from now. */
static void add_time(GString *html, int64_t unix_ms, int64_t now_ms)
{
	static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"};
	int64_t minutes = (unix_ms - now_ms) / 60000, n = minutes >= 2 * 1440 ? minutes / 1440 : minutes >= 120 ? minutes / 60 : MAX(minutes, 1);
	const char *unit = minutes >= 2 * 1440 ? "days" : minutes >= 120 ? "hours" : n == 1 ? "minute" : "minutes";
	char text[DATETIME_LEN + 1];
	struct datetime t;

	if (!datetime_from_unix(unix_ms / 1000, &t) || !datetime_format(unix_ms / 1000, text))
		return;
	add(html, "<time datetime=\"%s\">%d %s %d, %02d:%02d UTC</time> (%d %s from now)", text, t.day, months[t.month - 1], t.year, t.hour, t.minute, (int)n, unit);
}

/* ---- what it means ---- */

enum { CAN_DO, CAN_SEE };
/* AccessRights of the MDM payload in words, the gravest first. ANY of these bits gives the right; one of IMPLIED says it already. */
static const struct right { int any, implied, kind; const char *text; } rights[] = {
	{8, 0, CAN_DO, "erase the device: everything on it is deleted"},
	{4, 0, CAN_DO, "lock the device, and remove its passcode"},
	{2, 0, CAN_DO, "install, change and remove settings: Wi-Fi, mail, VPN, certificates, limits on what can be used"},
	{4096, 0, CAN_DO, "install, update and remove the apps that they manage"},
	{128, 0, CAN_DO, "install and remove permits (provisioning profiles) for apps that are not from the App Store"},
	{2048, 0, CAN_DO, "change some options, such as roaming"},
	{16, 0, CAN_SEE, "the device’s name, model, serial number, system version and free storage"},
	{256, 0, CAN_SEE, "which apps are installed"},
	{32, 0, CAN_SEE, "its network addresses and, on a phone, the phone number and carrier"},
	{1024, 0, CAN_SEE, "whether it has a passcode and is encrypted"},
	{1 | 512, 0, CAN_SEE, "which settings and limits are in force"},
	{64, 128, CAN_SEE, "which permits (provisioning profiles) for apps are installed"},
};

static void add_rights(GString *html, const char *title, int64_t access_rights, int kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(rights); i++) {
		const struct right *right = &rights[i];

		if (right->kind != kind || !(access_rights & right->any) || (access_rights & right->implied))
			continue;
		if (!n++)
			add(html, "<h3>%s</h3><ul>", title);
		add(html, "<li>%s</li>", right->text);
	}
	if (n)
		add(html, "</ul>\n");
}

static void add_meaning(GString *html, const struct enroll_page *page)
{
	add(html, "<section><h2>What <bdi>%s</bdi> can do and see</h2>", page->organization);
	add_rights(html, "They will be able to", page->access_rights, CAN_DO);
	add_rights(html, "They will see", page->access_rights, CAN_SEE);
	add(html, "<h3>What device management does not show them</h3><ul><li>your photos, files, notes and passwords</li><li>your messages, mails, calls, contacts and calendars</li>"
	    "<li>the web pages that you visit</li><li>how often you use which app</li></ul>");
	if (page->access_rights & (2 | 4096))
		add(html, "<p>What they install can go further: a VPN or a certificate can show them what goes over the network, and software on a Mac can read files. If in doubt, ask what they install.</p>");
	add(html, "</section>\n");
}

/* ---- steps ---- */

/* Begins the steps for one kind: the device's own are open. A Mac's are not, because an iPad says that it is one. */
static void begin_steps(GString *html, bool open, const char *kind)
{
	add(html, "<details%s><summary>On %s</summary><ol>", open ? " open" : "", kind);
}

static void end_steps(GString *html)
{
	add(html, "</ol></details>\n");
}

char *page_root_fingerprint(const struct page_root *root)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < sizeof(root->sha256); i++)
		g_string_append_printf(text, "%s%02X", i ? " " : "", root->sha256[i]);
	return g_string_free(text, FALSE);
}

static void add_fingerprint(GString *html, const struct page_root *root)
{
	g_autofree char *fingerprint = page_root_fingerprint(root);

	add(html, "<p><bdi>%s</bdi><br><code>%s</code></p>", root->name, fingerprint);
}

static void add_trust_steps(GString *html, const struct enroll_page *page)
{
	begin_steps(html, page->device == PAGE_DEVICE_PHONE, "an iPhone or iPad");
	add(html, "<li>Tap <strong>Download the certificate</strong>, then <strong>Allow</strong>.</li>"
	    "<li>Open the <strong>Settings</strong> app and tap <strong>Profile Downloaded</strong>, near the top. Tap <strong>Install</strong>, enter your passcode, and tap <strong>Install</strong> again.</li>"
	    "<li>In Settings, open <strong>General</strong>, <strong>About</strong>, and at the very bottom <strong>Certificate Trust Settings</strong>. Switch on ");
	for (size_t i = 0; i < page->n_roots; i++)
		add(html, "%s<strong><bdi>%s</bdi></strong>", i ? " and " : "", page->roots[i].name);
	add(html, ".</li><li>Come back to this page.</li>");
	end_steps(html);
	begin_steps(html, false, "a Mac");
	add(html, "<li>Click <strong>Download the certificate</strong>.</li>"
	    "<li>Open <strong>System Settings</strong> and look for <strong>Profile Downloaded</strong>, or open <strong>General</strong>, <strong>Device Management</strong> (before macOS 15: <strong>Privacy &amp; Security</strong>, <strong>Profiles</strong>).</li>"
	    "<li>Double-click the profile, click <strong>Install</strong>, and enter the password of an administrator of the Mac.</li><li>Come back to this page.</li>");
	end_steps(html);
}

static void add_trust(GString *html, const struct enroll_page *page)
{
	add(html, "<section><h2>Step 1: trust this server</h2><p>Your browser may have warned you about this page, because your device does not know yet who made this server’s certificate: <bdi>%s</bdi>. "
	    "This step makes it known.</p><a class=\"button\" href=\"%s\">Download the certificate</a>", page->roots[0].name, page->trust_path);
	add_trust_steps(html, page);
	add(html, "<details><summary>Make sure that it is the right one</summary><p>Somebody who stands between you and the server could show you another page. "
	    "Let ");
	add_contact(html, page->contact);
	add(html, " tell you the certificate’s SHA-256 fingerprint in another way, such as by telephone, and compare:</p>");
	for (size_t i = 0; i < page->n_roots; i++)
		add_fingerprint(html, &page->roots[i]);
	add(html, "<p>Settings shows it too, among the details of the downloaded profile.</p></details></section>\n");
}

static void add_unknown_trust(GString *html, const struct enroll_page *page)
{
	add(html, "<section><h2>Step 1: trust this server</h2><p>Your browser may have warned you about this page, because your device does not know who made this server’s certificate. Before you go on, ask ");
	add_contact(html, page->contact);
	add(html, " for the root certificate, and install it as they say.</p></section>\n");
}

static void add_install(GString *html, const struct enroll_page *page)
{
	add(html, "<section><h2>%s</h2><a class=\"button\" href=\"%s\">Download the management profile</a>",
	    page->trust == TLS_TRUST_PUBLIC ? "Install the management profile" : "Step 2: install the management profile", page->profile_path);
	begin_steps(html, page->device == PAGE_DEVICE_PHONE, "an iPhone or iPad");
	add(html, "<li>Tap <strong>Download the management profile</strong>, then <strong>Allow</strong>.</li>"
	    "<li>Open the <strong>Settings</strong> app within a few minutes. Near the top, tap <strong>Profile Downloaded</strong> or <strong>Enroll in <bdi>%s</bdi></strong>. (It is not there? Open <strong>General</strong>, "
	    "<strong>VPN &amp; Device Management</strong>.)</li>"
	    "<li>Tap <strong>Install</strong> or <strong>Enroll</strong>, and enter your passcode.</li>"
	    "<li>Read what it says. If you agree, tap <strong>Install</strong>, then <strong>Trust</strong>.</li>"
	    "<li>That is all: <bdi>%s</bdi> is now listed under <strong>VPN &amp; Device Management</strong>.</li>", page->organization, page->organization);
	end_steps(html);
	begin_steps(html, false, "a Mac");
	add(html, "<li>Click <strong>Download the management profile</strong>, and allow the download.</li>"
	    "<li>Open <strong>System Settings</strong> and look for <strong>Profile Downloaded</strong>, or open <strong>General</strong>, <strong>Device Management</strong> (before macOS 15: <strong>Privacy &amp; Security</strong>, <strong>Profiles</strong>; before macOS 13: <strong>System Preferences</strong>, <strong>Profiles</strong>).</li>"
	    "<li>Double-click the profile, click <strong>Install</strong> or <strong>Enroll</strong>, and enter the password of an administrator of the Mac.</li>"
	    "<li>That is all: the profile is now listed there.</li>");
	end_steps(html);
	add(html, "</section>\n");
}

/* ---- pages ---- */

static void add_about(GString *html, const struct enroll_page *page)
{
	add(html, "<p>It is up to you: nothing changes on the device before you follow the steps below.</p><dl>");
	if (page->user_name)
		add(html, "<dt>For</dt><dd><bdi>%s</bdi></dd>", page->user_name);
	if (page->device_name)
		add(html, "<dt>Device</dt><dd><bdi>%s</bdi></dd>", page->device_name);
	add(html, "<dt>This link works</dt><dd>for one device, until ");
	add_time(html, page->expires_ms, page->now_ms);
	add(html, "</dd></dl><p><a href=\"#steps\">Go to the steps</a></p>\n");
}

/* For whoever looks at the page elsewhere than on the device. */
static void add_code(GString *html, const struct enroll_page *page)
{
	g_autoptr(qr) code = qr_new(page->url, NULL);
	g_autofree char *svg = code ? qr_format_svg(code, "QR code of this page") : NULL;

	if (page->device == PAGE_DEVICE_OTHER)
		add(html, "<section><h2>Open this page on the device</h2><p>It must be opened on the iPhone, iPad or Mac that is to be managed. Point the camera of an iPhone or iPad at this code:</p>");
	else
		add(html, "<details><summary>Is it for another device?</summary><p>Open this page on the iPhone or iPad that is to be managed: point its camera at this code.</p>");
	if (svg)
		g_string_append(html, svg);
	add(html, page->device == PAGE_DEVICE_OTHER ? "</section>\n" : "</details>\n");
}

static void add_later(GString *html, const struct enroll_page *page)
{
	add(html, "<section><h2>If you change your mind</h2><p>You can end this at any time. On an iPhone or iPad: <strong>Settings</strong>, <strong>General</strong>, <strong>VPN &amp; Device Management</strong>, the profile, <strong>Remove Management</strong>. "
	    "On a Mac: <strong>System Settings</strong>, <strong>General</strong>, <strong>Device Management</strong>, the profile, <strong>Remove</strong>.</p>"
	    "<p>Then the settings that <bdi>%s</bdi> installed go away, and usually the apps with what is in them.</p></section>\n"
	    "<section><h2>If something does not work</h2><p>Reload this page: it says when the link can no longer be used. If the profile is gone from Settings, download it again: it waits there for a few minutes only. Otherwise ask ", page->organization);
	add_contact(html, page->contact);
	add(html, ".</p></section>\n");
}

GBytes *enroll_page_format(const struct enroll_page *page)
{
	g_autofree char *title = g_strdup_printf("%s asks to manage %s device", page->organization, page->device == PAGE_DEVICE_OTHER ? "a" : "this");
	GString *html = begin(page->organization, title);

	add_about(html, page);
	if (page->device != PAGE_DEVICE_PHONE)
		add_code(html, page);
	add_meaning(html, page);
	add(html, "<div id=\"steps\">");
	if (page->trust == TLS_TRUST_ROOT)
		add_trust(html, page);
	else if (page->trust == TLS_TRUST_UNKNOWN)
		add_unknown_trust(html, page);
	add_install(html, page);
	add(html, "</div>");
	add_later(html, page);
	add(html, "</main>\n<footer>Questions? Ask ");
	add_contact(html, page->contact);
	add(html, ".</footer></body></html>\n");
	return g_string_free_to_bytes(html);
}

static const struct refusal { enum pom_error reason; const char *title, *text; bool ask_for_link; } refusals[] = {
	{POM_ERR_LINK_UNKNOWN, "This link does not exist", "Was the whole address copied? A piece may be missing at its end. If you have a QR code, scan it again.", true},
	{POM_ERR_LINK_EXPIRED, "This link has expired", "Links work for a limited time, and this one’s is over. Nothing has changed on your device.", true},
	{POM_ERR_LINK_USED, "This link has been used", "A link is for one device, and one has enrolled with it. If it was this one, you are done: the profile is listed in Settings, General, "
	 "VPN & Device Management (on a Mac: System Settings, General, Device Management). If it was no device of yours, somebody else has your link: say so.", true},
	{POM_ERR_LINK_REVOKED, "This link has been withdrawn", "It cannot be used any more. Nothing has changed on your device.", true},
	{POM_ERR_NO_PUSH_CERT, "The server is not ready yet", "It cannot take on devices now. That is not your fault, and the link stays good.", false},
};

GBytes *enroll_refusal_format(const char *organization, const char *contact, const struct pom_error_info *reason)
{
	struct refusal refusal = {POM_ERR_INTERNAL, "This does not work now", "Something went wrong on the server. Try again in a few minutes.", false};
	GString *html;

	for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++)
		if (pom_error_info(refusals[i].reason) == reason)
			refusal = refusals[i];
	html = begin(organization, refusal.title);
	add(html, "<p>%s</p><p>%s ", refusal.text, refusal.ask_for_link ? "For a new link, ask" : "If it stays so, tell");
	add_contact(html, contact);
	add(html, ".</p></main>\n<footer>Code: %s</footer></body></html>\n", reason->id);
	return g_string_free_to_bytes(html);
}
