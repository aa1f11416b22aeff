/* The face over libcurl against our own server. */
#include "server/outbound.h"

#include <string.h>

#include "http/test_fixture.h"

static void assert_call(const struct outbound_request *request, int status, const char *body)
{
	g_auto(outbound_reply) reply = {0};
	g_autoptr(GError) error = NULL;
	const struct outbound *out = server_outbound();

	g_assert_true(out->call(out->ctx, request, &reply, &error));
	g_assert_no_error(error);
	g_assert_cmpint(reply.status, ==, status);
	g_assert_cmpmem(g_bytes_get_data(reply.body, NULL), g_bytes_get_size(reply.body), body, strlen(body));
	g_assert_true(reply.content_type && g_str_has_prefix(reply.content_type, "text/plain"));
}

static void assert_fails(const struct outbound_request *request, enum pom_error code)
{
	g_auto(outbound_reply) reply = {0};
	g_autoptr(GError) error = NULL;
	const struct outbound *out = server_outbound();

	g_assert_false(out->call(out->ctx, request, &reply, &error));
	g_assert_error(error, POM_ERROR, (int)code);
}

static void test_call(void)
{
	struct test_options options = test_options();
	struct test_server *test = test_server_new(&options);
	g_autofree char *base = g_strdup_printf("http://127.0.0.1:%d", http_server_port(test->server, "plain")), *echo = g_strconcat(base, "/echo", NULL),
	               *big = g_strconcat(base, "/big", NULL), *wait = g_strconcat(base, "/wait", NULL), *ntlm = g_strconcat(base, "/ntlm", NULL),
	               *away = g_strconcat(base, "/away", NULL);
	g_autoptr(GBytes) body = g_bytes_new_static("question", 8);

	assert_call(&(struct outbound_request){.method = "POST", .url = echo, .body = body, .timeout_ms = 5000, .response_max = 100}, 200, "question");
	assert_call(&(struct outbound_request){.method = "GET", .url = ntlm, .user = "LAB\\user", .password = "pass", .timeout_ms = 5000, .response_max = 100}, 200, "welcome");
	assert_call(&(struct outbound_request){.method = "GET", .url = away, .timeout_ms = 5000, .response_max = 100}, 302, "elsewhere");
	assert_fails(&(struct outbound_request){.method = "GET", .url = big, .timeout_ms = 5000, .response_max = 100}, POM_ERR_TOO_LARGE);
	assert_fails(&(struct outbound_request){.method = "GET", .url = wait, .timeout_ms = 50, .response_max = 100}, POM_ERR_UNREACHABLE);
	test_server_free(test);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/outbound/call", test_call);
	return g_test_run();
}
