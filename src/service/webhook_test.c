/* The decision of an outside service, which the test plays itself. */
#include "service/webhook.h"

#include <string.h>

#include "codec/json.h"

#define URL "https://decide.example.org/scep?tenant=1"

static int64_t now = 1800000000123;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

static void fill_zero(void *ctx, void *buf, size_t len)
{
	memset(buf, 0, len);
}
static const struct pom_random test_random = {fill_zero, NULL};

/* The other side: what it answers, and what it was asked. */
struct service {
	int status;
	const char *body;
	enum pom_error error; /* 0: none */
	unsigned n_calls;
	char *method, *signature, *type;
	GBytes *asked;
	unsigned timeout_ms;
	bool bounded;
};

static bool play(void *ctx, const struct outbound_request *request, struct outbound_reply *ret, GError **error)
{
	struct service *service = ctx;

	service->n_calls++;
	g_assert_cmpstr(request->url, ==, URL);
	service->method = g_strdup(request->method);
	for (unsigned i = 0; request->headers[i]; i++) {
		if (g_str_has_prefix(request->headers[i], "Pomona-Signature: "))
			service->signature = g_strdup(request->headers[i] + strlen("Pomona-Signature: "));
		if (g_str_has_prefix(request->headers[i], "Content-Type: "))
			service->type = g_strdup(request->headers[i] + strlen("Content-Type: "));
	}
	service->asked = g_bytes_ref(request->body);
	service->timeout_ms = request->timeout_ms;
	service->bounded = request->response_max > 0 && request->response_max <= 1 << 20;
	if (service->error)
		return pom_fail(error, service->error, "it was not there");
	*ret = (struct outbound_reply){service->status, g_bytes_new(service->body, strlen(service->body)), g_strdup("application/json")};
	return true;
}

static void service_clear(struct service *service)
{
	g_free(service->method);
	g_free(service->signature);
	g_free(service->type);
	g_clear_pointer(&service->asked, g_bytes_unref);
}

static const char *const sans[] = {"dns:a.example.org", "uri:urn:uuid:1", NULL};

static struct webhook_question question(GBytes *csr)
{
	return (struct webhook_question){"enroll", "phones", "6E1A", "CN=Test \"1\"", sans, csr, "s3cret", "192.0.2.7"};
}

/* Asks SERVICE with a good hook; the rest as webhook_decide. */
static bool decide(struct service *service, const struct webhook_question *asked, struct webhook_answer *ret, GError **error)
{
	const struct outbound outbound = {play, service};
	g_autoptr(GBytes) csr = g_bytes_new_static("\1\2\3", 3), secret = g_bytes_new_static("0123456789abcdef", 16);
	struct webhook_question standard = question(csr);
	const struct webhook hook = {URL, NULL, secret, 4000, &test_clock, &test_random};

	return webhook_decide(&outbound, &hook, asked ? asked : &standard, ret, error);
}

static void test_question(void)
{
	static const char expected[] = "{\"type\":\"enroll\",\"profile\":\"phones\",\"transaction_id\":\"6E1A\",\"subject\":\"CN=Test \\\"1\\\"\","
	                               "\"sans\":[\"dns:a.example.org\",\"uri:urn:uuid:1\"],\"csr\":\"AQID\",\"challenge\":\"s3cret\",\"peer\":\"192.0.2.7\","
	                               "\"time\":1800000000,\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA\"}";
	struct service service = {.status = 200, .body = "{\"allow\": true}"};
	g_auto(webhook_answer) answer = {0};
	g_autoptr(GError) error = NULL;

	g_assert_true(decide(&service, NULL, &answer, &error));
	g_assert_no_error(error);
	g_assert_null(answer.subject);
	g_assert_null(answer.sans);
	g_assert_cmpmem(g_bytes_get_data(service.asked, NULL), g_bytes_get_size(service.asked), expected, strlen(expected));
	g_assert_cmpstr(service.method, ==, "POST");
	g_assert_cmpstr(service.type, ==, "application/json");
	g_assert_cmpuint(service.timeout_ms, ==, 4000);
	g_assert_true(service.bounded);
	/* printf '1800000000.%s' BODY | openssl dgst -sha256 -hmac 0123456789abcdef */
	g_assert_cmpstr(service.signature, ==, "t=1800000000,v1=8751530911bf0d85b8051f90e2fd02ef05fc297b1967324488b9855e04b5bc48");
	service_clear(&service);
}

static void test_question_without(void)
{
	struct service service = {.status = 200, .body = "{\"allow\": true}"};
	g_autoptr(GBytes) csr = g_bytes_new_static("\1", 1);
	struct webhook_question asked = {.type = "renew", .profile = "p", .transaction_id = "t", .csr = csr};
	g_auto(webhook_answer) answer = {0};

	g_assert_true(decide(&service, &asked, &answer, NULL));
	g_autoptr(json_t) json = json_parse(g_bytes_get_data(service.asked, NULL), g_bytes_get_size(service.asked), NULL);
	g_assert_true(json_is_null(json_object_get(json, "subject")) && json_is_null(json_object_get(json, "challenge")) && json_is_null(json_object_get(json, "peer")));
	g_assert_true(json_is_array(json_object_get(json, "sans")) && !json_array_size(json_object_get(json, "sans")));
	service_clear(&service);
}

/* What is not UTF-8 is not asked about, for it could not be shown. */
static void test_question_not_text(void)
{
	static const char *const bad_sans[] = {"dns:a", "dns:\xff", NULL};
	g_autoptr(GBytes) csr = g_bytes_new_static("\1", 1);
	struct webhook_question cases[6];

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		cases[i] = question(csr);
	cases[0].profile = cases[1].transaction_id = cases[2].subject = cases[3].challenge = cases[4].peer = "\xff";
	cases[5].sans = bad_sans;
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct service service = {.status = 200, .body = "{\"allow\": true}"};
		g_auto(webhook_answer) answer = {0};
		g_autoptr(GError) error = NULL;

		g_assert_false(decide(&service, &cases[i], &answer, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_SCEP_DENIED);
		g_assert_cmpuint(service.n_calls, ==, 0);
	}
}

#define K32 "12345678901234567890123456789012"
#define K1024 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32 K32
#define S8 "\"dns:a\",\"dns:a\",\"dns:a\",\"dns:a\",\"dns:a\",\"dns:a\",\"dns:a\",\"dns:a\""
#define S64 S8 "," S8 "," S8 "," S8 "," S8 "," S8 "," S8 "," S8

static const struct {
	const char *name;
	int status;
	const char *body;
	enum pom_error error;
	const char *why;     /* NULL: allowed; else a part of the reason for the log */
	const char *subject; /* of the answer */
	int n_sans;          /* -1: none given */
} cases[] = {
	{"yes", 200, "{\"allow\": true}", 0, NULL, NULL, -1},
	{"yes, with other members", 200, "{\"allow\": true, \"reason\": \"fine\", \"later\": [1]}", 0, NULL, NULL, -1},
	{"yes, with nulls", 200, "{\"allow\": true, \"reason\": null, \"subject\": null, \"sans\": null}", 0, NULL, NULL, -1},
	{"another subject", 200, "{\"allow\": true, \"subject\": \"CN=b\"}", 0, NULL, "CN=b", -1},
	{"other names", 200, "{\"allow\": true, \"sans\": [\"dns:b\", \"email:c@d\", \"uri:e\"]}", 0, NULL, NULL, 3},
	{"no names", 200, "{\"allow\": true, \"sans\": []}", 0, NULL, NULL, 0},
	{"64 names", 200, "{\"allow\": true, \"sans\": [" S64 "]}", 0, NULL, NULL, 64},
	{"1024 bytes of subject", 200, "{\"allow\": true, \"subject\": \"" K1024 "\"}", 0, NULL, K1024, -1},
	{"no", 200, "{\"allow\": false}", 0, "it gave no reason", NULL, -1},
	{"no, with a reason", 200, "{\"allow\": false, \"reason\": \"not in the inventory\"}", 0, "not in the inventory", NULL, -1},
	{"no, with an odd reason", 200, "{\"allow\": false, \"reason\": 7}", 0, "it gave no reason", NULL, -1},
	{"no, with a reason of two lines", 200, "{\"allow\": false, \"reason\": \"a\\nb\"}", 0, "it gave no reason", NULL, -1},
	{"nothing", 200, "{}", 0, "\"allow\" must be", NULL, -1},
	{"a number", 200, "{\"allow\": 1}", 0, "\"allow\" must be", NULL, -1},
	{"a text", 200, "{\"allow\": \"true\"}", 0, "\"allow\" must be", NULL, -1},
	{"null", 200, "{\"allow\": null}", 0, "\"allow\" must be", NULL, -1},
	{"both", 200, "{\"allow\": true, \"allow\": false}", 0, "did not answer in JSON", NULL, -1},
	{"a list", 200, "[true]", 0, "\"allow\" must be", NULL, -1},
	{"a page", 200, "<html>", 0, "did not answer in JSON", NULL, -1},
	{"an empty body", 200, "", 0, "did not answer in JSON", NULL, -1},
	{"cut off", 200, "{\"allow\": true", 0, "did not answer in JSON", NULL, -1},
	{"more behind", 200, "{\"allow\": true} x", 0, "did not answer in JSON", NULL, -1},
	{"created", 201, "{\"allow\": true}", 0, "HTTP 201", NULL, -1},
	{"redirect", 302, "{\"allow\": true}", 0, "HTTP 302", NULL, -1},
	{"not authorized", 401, "{\"allow\": true}", 0, "HTTP 401", NULL, -1},
	{"broken", 500, "{\"allow\": true}", 0, "HTTP 500", NULL, -1},
	{"nobody there", 0, "", POM_ERR_UNREACHABLE, "could not be asked: it was not there", NULL, -1},
	{"too much", 0, "", POM_ERR_TOO_LARGE, "could not be asked", NULL, -1},
	{"subject is a number", 200, "{\"allow\": true, \"subject\": 7}", 0, "gave a subject", NULL, -1},
	{"empty subject", 200, "{\"allow\": true, \"subject\": \"\"}", 0, "gave a subject", NULL, -1},
	{"control character", 200, "{\"allow\": true, \"subject\": \"CN=a\\u0007\"}", 0, "gave a subject", NULL, -1},
	{"delete character", 200, "{\"allow\": true, \"subject\": \"CN=a\x7f\"}", 0, "gave a subject", NULL, -1},
	{"1025 bytes of subject", 200, "{\"allow\": true, \"subject\": \"" K1024 "x\"}", 0, "gave a subject", NULL, -1},
	{"names are a text", 200, "{\"allow\": true, \"sans\": \"dns:b\"}", 0, "gave \"sans\"", NULL, -1},
	{"a name is a number", 200, "{\"allow\": true, \"sans\": [\"dns:b\", 1]}", 0, "gave \"sans\"", NULL, -1},
	{"a name of another kind", 200, "{\"allow\": true, \"sans\": [\"ip:192.0.2.1\"]}", 0, "gave \"sans\"", NULL, -1},
	{"a name without a kind", 200, "{\"allow\": true, \"sans\": [\"b\"]}", 0, "gave \"sans\"", NULL, -1},
	{"an empty name", 200, "{\"allow\": true, \"sans\": [\"dns:\"]}", 0, "gave \"sans\"", NULL, -1},
	{"65 names", 200, "{\"allow\": true, \"sans\": [" S64 ",\"dns:a\"]}", 0, "gave \"sans\"", NULL, -1},
};

static void test_answers(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct service service = {.status = cases[i].status, .body = cases[i].body, .error = cases[i].error};
		g_auto(webhook_answer) answer = {0};
		g_autoptr(GError) error = NULL;
		bool allowed = decide(&service, NULL, &answer, &error);

		g_test_message("%s", cases[i].name);
		g_assert_cmpuint(service.n_calls, ==, 1);
		g_assert_cmpint(allowed, ==, !cases[i].why);
		g_assert_cmpstr(answer.subject, ==, cases[i].subject);
		g_assert_cmpint(answer.sans ? (int)g_strv_length(answer.sans) : -1, ==, cases[i].n_sans);
		if (cases[i].why) {
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_DENIED);
			g_assert_nonnull(strstr(error->message, cases[i].why));
			g_assert_null(strstr(error->message, "s3cret"));
			g_assert_null(strstr(error->message, "tenant"));
		}
		service_clear(&service);
	}
}

static void test_hook(void)
{
	static const struct { const char *url; size_t secret_len; unsigned timeout_ms; bool good; } hooks[] = {
		{URL, 16, 1, true}, {"http://127.0.0.1:1/x", 32, WEBHOOK_TIMEOUT_MAX_MS, true}, {"http://decide.example.org/", 16, 1, false}, {"https://a:hush@b/", 16, 1, false},
		{NULL, 16, 1, false}, {URL, 15, 1, false}, {URL, 0, 1, false}, {URL, 16, 0, false}, {URL, 16, WEBHOOK_TIMEOUT_MAX_MS + 1, false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(hooks); i++) {
		struct service service = {.status = 200, .body = "{\"allow\": true}"};
		const struct outbound outbound = {play, &service};
		g_autoptr(GBytes) secret = hooks[i].secret_len ? g_bytes_new_static("0123456789abcdef0123456789abcdef", hooks[i].secret_len) : NULL, csr = g_bytes_new_static("\1", 1);
		const struct webhook hook = {hooks[i].url, NULL, secret, hooks[i].timeout_ms, &test_clock, &test_random};
		struct webhook_question asked = question(csr);
		g_auto(webhook_answer) answer = {0};
		g_autoptr(GError) error = NULL, denied = NULL;

		g_test_message("%s, %zu, %u", hooks[i].url ? hooks[i].url : "(none)", hooks[i].secret_len, hooks[i].timeout_ms);
		g_assert_cmpint(webhook_check(&hook, &error), ==, hooks[i].good);
		if (hooks[i].good)
			continue;
		g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
		g_assert_false(webhook_decide(&outbound, &hook, &asked, &answer, &denied));
		g_assert_error(denied, POM_ERROR, POM_ERR_SCEP_DENIED);
		g_assert_null(strstr(denied->message, "hush"));
		g_assert_cmpuint(service.n_calls, ==, 0);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/webhook/question", test_question);
	g_test_add_func("/webhook/question-without", test_question_without);
	g_test_add_func("/webhook/question-not-text", test_question_not_text);
	g_test_add_func("/webhook/answers", test_answers);
	g_test_add_func("/webhook/hook", test_hook);
	return g_test_run();
}
