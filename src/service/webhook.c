#include "service/webhook.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "codec/json.h"
#include "keys/keys.h"

enum { RESPONSE_MAX = 64 * 1024 };

typedef EVP_MAC evp_mac;
typedef EVP_MAC_CTX evp_mac_ctx;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(evp_mac, EVP_MAC_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(evp_mac_ctx, EVP_MAC_CTX_free)

void webhook_answer_clear(struct webhook_answer *answer)
{
	g_clear_pointer(&answer->subject, g_free);
	g_clear_pointer(&answer->sans, g_strfreev);
}

bool webhook_check(const struct webhook *hook, GError **error)
{
	if (!outbound_check_url(hook->url, false, error)) {
		g_prefix_error(error, "webhook: ");
		return false;
	}
	if (!hook->secret || g_bytes_get_size(hook->secret) < WEBHOOK_SECRET_MIN)
		return pom_fail(error, POM_ERR_CONFIG, "webhook: the secret needs %d bytes or more", WEBHOOK_SECRET_MIN);
	if (hook->timeout_ms < 1 || hook->timeout_ms > WEBHOOK_TIMEOUT_MAX_MS)
		return pom_fail(error, POM_ERR_CONFIG, "webhook: the time-out must be 1 to %d milliseconds", WEBHOOK_TIMEOUT_MAX_MS);
	return true;
}

static bool deny(GError **error, const struct webhook *hook, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool deny(GError **error, const struct webhook *hook, const char *format, ...)
{
	g_autofree char *why = NULL;
	va_list args;

	va_start(args, format);
	why = g_strdup_vprintf(format, args);
	va_end(args);
	return pom_fail(error, POM_ERR_SCEP_DENIED, "the decision service at %.*s %s", (int)strcspn(hook->url, "?"), hook->url, why);
}

static bool is_utf8(const char *text)
{
	return !text || g_utf8_validate(text, -1, NULL);
}

/* What JSON cannot hold would be left out, and the service would decide on something else. */
static bool can_be_asked(const struct webhook_question *q)
{
	for (unsigned i = 0; q->sans && q->sans[i]; i++)
		if (!is_utf8(q->sans[i]))
			return false;
	return is_utf8(q->profile) && is_utf8(q->transaction_id) && is_utf8(q->subject) && is_utf8(q->challenge) && is_utf8(q->peer);
}

/* The body of the question; wiped when freed, for it holds the challenge. */
static GBytes *format_question(const struct webhook_question *q, int64_t now_s, const struct pom_random *random)
{
	gsize csr_len, len;
	const guchar *csr = g_bytes_get_data(q->csr, &csr_len);
	g_autofree char *csr_text = g_base64_encode(csr, csr_len), *nonce = pom_random_token(random, 16);
	g_autoptr(json_t) json = NULL;
	json_t *sans = json_array();
	g_autofree char *text = NULL;
	GBytes *body;

	for (unsigned i = 0; q->sans && q->sans[i]; i++)
		json_array_append_new(sans, json_string(q->sans[i]));
	json = json_pack("{s:s, s:s, s:s, s:s?, s:o, s:s, s:s?, s:s?, s:I, s:s}", "type", q->type, "profile", q->profile, "transaction_id", q->transaction_id,
	                 "subject", q->subject, "sans", sans, "csr", csr_text, "challenge", q->challenge, "peer", q->peer, "time", (json_int_t)now_s, "nonce", nonce);
	g_assert(json);
	text = g_bytes_unref_to_data(json_format(json), &len);
	body = secret_bytes_new(text, len);
	explicit_bzero(text, len);
	return body;
}

/* "Pomona-Signature: t=TIME,v1=HEX", transfer full: HMAC-SHA256 over the time in decimal, a point and the body. */
static char *sign(GBytes *secret, int64_t now_s, GBytes *body)
{
	const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0), OSSL_PARAM_construct_end()};
	g_autoptr(evp_mac) mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	g_autoptr(evp_mac_ctx) ctx = EVP_MAC_CTX_new(mac);
	g_autofree char *time = g_strdup_printf("%" G_GINT64_FORMAT ".", now_s), *hex = NULL;
	uint8_t digest[32];
	size_t n = 0;

	if (EVP_MAC_init(ctx, g_bytes_get_data(secret, NULL), g_bytes_get_size(secret), params) != 1 ||
	    EVP_MAC_update(ctx, (const uint8_t *)time, strlen(time)) != 1 ||
	    EVP_MAC_update(ctx, g_bytes_get_data(body, NULL), g_bytes_get_size(body)) != 1 || EVP_MAC_final(ctx, digest, &n, sizeof(digest)) != 1)
		g_error("HMAC-SHA256 failed");
	hex = hex_format(digest, n);
	return g_strdup_printf("Pomona-Signature: t=%" G_GINT64_FORMAT ",v1=%s", now_s, hex);
}

/* A string of 1 to WEBHOOK_TEXT_MAX bytes without control characters. */
static bool is_text(const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || !*text || json_string_length(value) > WEBHOOK_TEXT_MAX)
		return false;
	for (; *text; text++)
		if ((uint8_t)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static bool is_san(const json_t *value)
{
	static const char *const kinds[] = {"dns:", "email:", "uri:"};

	for (size_t i = 0; is_text(value) && i < G_N_ELEMENTS(kinds); i++)
		if (g_str_has_prefix(json_string_value(value), kinds[i]) && json_string_value(value)[strlen(kinds[i])])
			return true;
	return false;
}

/* The list as strings, transfer full; NULL when it is not one of names. */
static char **parse_sans(const json_t *list)
{
	size_t n = json_array_size(list);
	char **sans;

	if (!json_is_array(list) || n > WEBHOOK_SANS_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!is_san(json_array_get(list, i)))
			return NULL;
	sans = g_new0(char *, n + 1);
	for (size_t i = 0; i < n; i++)
		sans[i] = g_strdup(json_string_value(json_array_get(list, i)));
	return sans;
}

/* A member that is there and not null. */
static const json_t *get(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_null(value) ? NULL : value;
}

static bool parse_answer(const struct webhook *hook, const json_t *json, struct webhook_answer *ret, GError **error)
{
	const json_t *allow = json_object_get(json, "allow"), *reason = get(json, "reason"), *subject = get(json, "subject"), *sans = get(json, "sans");
	g_auto(webhook_answer) answer = {0};

	if (!json_is_boolean(allow))
		return deny(error, hook, "did not say whether it allows: \"allow\" must be true or false");
	if (json_is_false(allow))
		return deny(error, hook, "did not allow this: %s", reason && is_text(reason) ? json_string_value(reason) : "it gave no reason");
	if (subject && !is_text(subject))
		return deny(error, hook, "gave a subject that is no text of 1 to %d bytes", WEBHOOK_TEXT_MAX);
	answer.subject = g_strdup(json_string_value(subject));
	answer.sans = sans ? parse_sans(sans) : NULL;
	if (sans && !answer.sans)
		return deny(error, hook, "gave \"sans\" that are no list of at most %d names \"dns:…\", \"email:…\", \"uri:…\"", WEBHOOK_SANS_MAX);
	*ret = answer;
	answer = (struct webhook_answer){0};
	return true;
}

/* The call itself. False with the reason in ERROR. */
static bool ask(const struct outbound *outbound, const struct webhook *hook, const struct webhook_question *question, struct outbound_reply *ret, GError **error)
{
	int64_t now_s = pom_clock_now_ms(hook->clock) / 1000;
	g_autoptr(GBytes) body = format_question(question, now_s, hook->random);
	g_autofree char *signature = sign(hook->secret, now_s, body);
	const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", signature, NULL};
	const struct outbound_request request = {.method = "POST", .url = hook->url, .headers = headers, .body = body, .ca_file = hook->ca_file,
	                                         .timeout_ms = hook->timeout_ms, .response_max = RESPONSE_MAX};

	return outbound->call(outbound->ctx, &request, ret, error);
}

bool webhook_decide(const struct outbound *outbound, const struct webhook *hook, const struct webhook_question *question, struct webhook_answer *ret, GError **error)
{
	g_auto(outbound_reply) reply = {0};
	g_autoptr(GError) inner = NULL;
	g_autoptr(json_t) json = NULL;

	/* A URL that is not good may hold a password: it is not shown. */
	if (!webhook_check(hook, &inner))
		return pom_fail(error, POM_ERR_SCEP_DENIED, "%s", inner->message);
	if (!can_be_asked(question))
		return deny(error, hook, "was not asked: the request holds text that is not UTF-8");
	if (!ask(outbound, hook, question, &reply, &inner))
		return deny(error, hook, "could not be asked: %s", inner->message);
	if (reply.status != 200)
		return deny(error, hook, "answered HTTP %d", reply.status);
	json = json_parse(g_bytes_get_data(reply.body, NULL), g_bytes_get_size(reply.body), &inner);
	if (!json)
		return deny(error, hook, "did not answer in JSON: %s", inner->message);
	return parse_answer(hook, json, ret, error);
}
