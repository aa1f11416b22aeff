/* What handshakes and answers of HTTP say. */
#include <stdlib.h>
#include <string.h>

#include "core/doctor.h"

enum { CLOCK_S = 300 };

void doctor_hello_clear(struct doctor_hello *hello)
{
	g_clear_pointer(&hello->address, g_free);
	g_clear_pointer(&hello->why, g_free);
	g_clear_pointer(&hello->chain, g_ptr_array_unref);
	g_clear_pointer(&hello->version, g_free);
	g_clear_pointer(&hello->cipher, g_free);
}

void doctor_answer_clear(struct doctor_answer *answer)
{
	g_clear_pointer(&answer->why, g_free);
	g_clear_pointer(&answer->content_type, g_free);
	g_clear_pointer(&answer->location, g_free);
	g_clear_pointer(&answer->body, g_bytes_unref);
	answer->status = 0;
}

static void say_failed(const struct doctor *doctor, const struct doctor_hello *hello)
{
	static const char *const rules[] = {
		[DOCTOR_NOT_CONNECTED] = "connect-failed", [DOCTOR_LATE] = "answer-late", [DOCTOR_NO_TLS] = "no-tls", [DOCTOR_REFUSED] = "handshake-failed", [DOCTOR_TOO_LONG] = "chain-too-long",
		[DOCTOR_UNREADABLE] = "certificate-unreadable",
	};

	doctor_say(doctor, rules[hello->outcome], hello->address, "%s", hello->why);
}

static void check_protocol(const struct doctor *doctor, const struct doctor_hello *hello)
{
	if (hello->is_old)
		doctor_say(doctor, "tls-version", hello->address, "the server speaks %s at most", hello->version);
	else if (hello->is_static)
		doctor_say(doctor, "tls-forward-secrecy", hello->address, "the server takes no cipher suite of Apple devices, only such as %s", hello->cipher);
	if (hello->asks_certificate)
		doctor_say(doctor, "client-certificate", hello->address, "the server asks for a client certificate");
	if (hello->chose_h2 && !hello->speaks_h2)
		doctor_say(doctor, "http2-broken", hello->address, "the server chooses HTTP/2 (ALPN h2), and then does not speak it");
}

static bool same_chain(const GPtrArray *a, const GPtrArray *b)
{
	if (!a || !b || a->len != b->len)
		return false;
	for (guint i = 0; i < a->len; i++)
		if (X509_cmp(a->pdata[i], b->pdata[i]))
			return false;
	return true;
}

/* Every chain that differs is judged; where all are the same, no address is named. */
static void check_chains(const struct doctor *doctor, const char *host, const struct doctor_hello *hellos, size_t n, size_t first)
{
	bool differ = false;

	for (size_t i = first; i < n; i++)
		differ = differ || (hellos[i].chain && !same_chain(hellos[i].chain, hellos[first].chain));
	if (differ)
		doctor_say(doctor, "addresses-differ", "", "the addresses of %s do not send the same certificates", host);
	for (size_t i = first; i < n; i++) {
		bool is_known = false;

		for (size_t k = first; k < i; k++)
			is_known = is_known || same_chain(hellos[i].chain, hellos[k].chain);
		if (hellos[i].chain && hellos[i].chain->len && !is_known)
			doctor_chain(doctor, hellos[i].chain, host, differ ? hellos[i].address : "");
	}
}

bool doctor_hellos(const struct doctor *doctor, const char *host, const struct doctor_hello *with_name, const struct doctor_hello *without_name, size_t n)
{
	size_t first = n;

	for (size_t i = 0; i < n; i++) {
		if (with_name[i].outcome != DOCTOR_CONNECTED) {
			say_failed(doctor, &with_name[i]);
			continue;
		}
		first = MIN(first, i);
		check_protocol(doctor, &with_name[i]);
		if (without_name && !same_chain(with_name[i].chain, without_name[i].chain))
			doctor_say(doctor, "sni-required", with_name[i].address, "without the name %s in the handshake (SNI) %s", host,
			           without_name[i].outcome == DOCTOR_CONNECTED ? "the server sends other certificates" : "there is no connection");
	}
	if (first < n)
		check_chains(doctor, host, with_name, n, first);
	return first < n;
}

/* The host of an http or https URL, transfer full. */
static char *url_host(const char *url)
{
	const char *start = strstr(url, "://");

	return start ? g_ascii_strdown(start + 3, (gssize)strcspn(start + 3, "/:?#")) : g_strdup("");
}

static bool leads_elsewhere(const char *url, const char *location)
{
	g_autofree char *from = url_host(url), *to = url_host(location);

	return strstr(location, "://") && (strcmp(from, to) || g_ascii_strncasecmp(location, "https:", 6));
}

void doctor_http(const struct doctor *doctor, const struct doctor_answer *answer, const char *url, int64_t real_now_s)
{
	if (!answer->status)
		return;
	if (answer->status / 100 == 3 && answer->location && leads_elsewhere(url, answer->location))
		doctor_say(doctor, "http-redirect", url, "%s leads to %.200s (%d)", url, answer->location, answer->status);
	if (answer->status == 502 || answer->status == 503 || answer->status == 504 || answer->status == 407)
		doctor_say(doctor, "http-proxy-error", url, "%s is answered with %d by something in between", url, answer->status);
	if (real_now_s && answer->date_s && llabs(answer->date_s - real_now_s) > CLOCK_S)
		doctor_say(doctor, "clock", url, "the server's clock is %lld seconds %s of the one here", (long long)llabs(answer->date_s - real_now_s), answer->date_s > real_now_s ? "ahead" : "behind");
}

/* ---- this server ---- */

void doctor_url(const struct doctor *doctor, const char *url, const char *host)
{
	if (g_hostname_is_ip_address(host))
		doctor_say(doctor, "url-address", url, "the public URL names the server by its address %s", host);
}

void doctor_push(const struct doctor *doctor, const struct doctor_push *certificates, size_t n, int64_t n_others)
{
	if (!n)
		doctor_say(doctor, "push-absent", "push", "no push certificate was imported");
	for (size_t i = 0; i < n; i++) {
		int64_t left = certificates[i].not_after_s - doctor->now_s;

		if (left < 0)
			doctor_say(doctor, "push-expired", "push", "the push certificate of the topic %s has expired", certificates[i].topic);
		else if (left < 30 * 86400)
			doctor_say(doctor, "push-expiring", "push", "the push certificate of the topic %s expires in %d days", certificates[i].topic, (int)(left / 86400));
	}
	if (n_others)
		doctor_say(doctor, "push-topic", "push", "%lld enrolled devices have a topic that no push certificate has", (long long)n_others);
}
