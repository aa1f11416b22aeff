/* The page that a person sees who opens an enrollment link. */
#include <string.h>

#include "service/enroll.h"

/* TEXT is markup already; TITLE is escaped here. */
static GBytes *format_page(const char *title, const char *body)
{
	g_autofree char *escaped = g_markup_escape_text(title, -1);
	char *html = g_strdup_printf(
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<meta name=\"color-scheme\" content=\"light dark\"><title>%s</title>\n<style>"
		"body{font:1.25rem/1.5 system-ui,sans-serif;max-width:34rem;margin:0 auto;padding:1.5rem;color:#1d1d1f;background:#fff}"
		"h1{font-size:1.75rem;line-height:1.2}"
		"a.button{display:block;text-align:center;background:#0058b0;color:#fff;padding:1rem;border-radius:.75rem;text-decoration:none;font-weight:600;margin:1.5rem 0}"
		"a.button:focus-visible{outline:4px solid #7db8f5;outline-offset:2px}li{margin:.35rem 0}.small{font-size:1rem}"
		"@media (prefers-color-scheme:dark){body{color:#f5f5f7;background:#161617}a.button{background:#2f81e0;color:#000}}"
		"</style></head>\n<body><main><h1>%s</h1>\n%s</main></body></html>\n", escaped, escaped, body);

	return g_bytes_new_take(html, strlen(html));
}

static GBytes *refusal_page(const GError *refusal, int *ret_status)
{
	const struct pom_error_info *info = pom_error_info_of(refusal);
	g_autofree char *body = g_markup_printf_escaped("<p>%s</p><p class=\"small\">%s</p>", info->text, info->id);

	*ret_status = info->http_status;
	return format_page("This link cannot be used", body);
}

GBytes *service_enroll_page(struct service *service, const char *token, struct subject *subject, int *ret_status, GError **ret_refusal)
{
	struct link_load link = {0};
	g_autofree char *title = NULL, *body = NULL, *whom = NULL;

	if (!service_link_load(service, token, subject, &link, ret_refusal))
		return refusal_page(ret_refusal ? *ret_refusal : NULL, ret_status);
	title = g_strdup_printf("%s manages this device", service->settings.organization);
	whom = link.facts.user_name ? g_markup_printf_escaped("<p>This link is for <strong>%s</strong>.</p>", link.facts.user_name) : g_strdup("");
	body = g_markup_printf_escaped(
		"<p>With the profile behind this button, %s can install settings and apps, read what is installed, and lock or erase the device.</p>"
		"<a class=\"button\" href=\"%s/enroll/%s/profile\">Install the profile</a>"
		"<ol><li>Press the button and allow the download.</li><li>Open <strong>Settings</strong> (on a Mac: <strong>System Settings</strong>) and choose "
		"<strong>Profile Downloaded</strong>.</li><li>Press <strong>Install</strong> and follow the steps.</li></ol>"
		"<p class=\"small\">The profile can be removed in Settings at any time. The link works once.</p>",
		service->settings.organization, service->settings.url, token);
	link_load_clear(&link);
	*ret_status = 200;
	g_autofree char *whole = g_strconcat(whom, body, NULL);
	return format_page(title, whole);
}
