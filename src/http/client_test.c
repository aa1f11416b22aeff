/* The client against our own server. */
#include "http/client.h"

#include <glib/gstdio.h>
#include <openssl/pem.h>
#include <string.h>

#include "http/test_fixture.h"

static struct test_server *start(void)
{
	struct test_options options = test_options();

	return test_server_new(&options);
}

static char *url(struct test_server *test, const char *scheme, const char *listener, const char *path)
{
	return g_strdup_printf("%s://127.0.0.1:%d%s", scheme, http_server_port(test->server, listener), path);
}

static void assert_reply(const struct http_client_call *call, int status, const char *body)
{
	struct http_client_reply reply;
	g_autoptr(GError) error = NULL;

	g_assert_true(http_client_run(call, &reply, &error));
	g_assert_no_error(error);
	g_assert_cmpint(reply.status, ==, status);
	if (body)
		g_assert_cmpmem(g_bytes_get_data(reply.body, NULL), g_bytes_get_size(reply.body), body, strlen(body));
	http_client_reply_clear(&reply);
}

/* That the call fails with CODE, and that the message names PART. */
static void assert_fails(const struct http_client_call *call, enum pom_error code, const char *part)
{
	struct http_client_reply reply;
	g_autoptr(GError) error = NULL;

	g_assert_false(http_client_run(call, &reply, &error));
	g_assert_error(error, POM_ERROR, (int)code);
	if (!strstr(error->message, part))
		g_error("\"%s\" is not in \"%s\"", part, error->message);
}

static void test_plain(void)
{
	static const char *const headers[] = {"X-A: 1", "Content-Type: a/b", NULL};
	struct test_server *test = start();
	g_autofree char *echo = url(test, "http", "plain", "/echo"), *who = url(test, "http", "plain", "/who"), *none = url(test, "http", "plain", "/none");

	assert_reply(&(struct http_client_call){.method = "PUT", .url = echo, .body = "hello", .body_len = 5, .headers = headers}, 200, "hello");
	assert_reply(&(struct http_client_call){.method = "POST", .url = echo, .body = "a\0b", .body_len = 3}, 200, NULL);
	assert_reply(&(struct http_client_call){.method = "PUT", .url = echo}, 200, "");
	assert_reply(&(struct http_client_call){.method = "GET", .url = who}, 200, "listener=plain peer=127.0.0.1 tls=0 unix=0 uid=0 cert=0");
	assert_reply(&(struct http_client_call){.method = "HEAD", .url = who}, 200, "");
	assert_reply(&(struct http_client_call){.method = "DELETE", .url = who}, 405, NULL);
	assert_reply(&(struct http_client_call){.url = none}, 404, NULL);
	test_server_free(test);
}

static void test_unix(void)
{
	struct test_server *test = start();
	g_autofree char *missing = g_build_filename(test->dir, "nobody", NULL);

	assert_reply(&(struct http_client_call){.method = "PUT", .url = "http://unix/echo", .unix_path = test->unix_path, .body = "x", .body_len = 1}, 200, "x");
	assert_fails(&(struct http_client_call){.url = "http://unix/echo", .unix_path = missing}, POM_ERR_UNREACHABLE, missing);
	test_server_free(test);
}

static void write_pem(const char *path, SSL_CTX *ctx)
{
	FILE *file = fopen(path, "w");

	g_assert_nonnull(file);
	g_assert_cmpint(PEM_write_X509(file, SSL_CTX_get0_certificate(ctx)), ==, 1);
	g_assert_cmpint(fclose(file), ==, 0);
}

static void test_tls(void)
{
	struct test_server *test = start();
	g_autofree char *who = url(test, "https", "tls", "/who"), *ca = g_build_filename(test->dir, "ca.pem", NULL);

	assert_fails(&(struct http_client_call){.url = who}, POM_ERR_UNREACHABLE, "certificate is not trusted");
	write_pem(ca, test->state.ctx);
	assert_reply(&(struct http_client_call){.url = who, .ca_file = ca}, 200, NULL);
	SSL_CTX *other = test_ctx_new(9);
	write_pem(ca, other);
	SSL_CTX_free(other);
	assert_fails(&(struct http_client_call){.url = who, .ca_file = ca}, POM_ERR_UNREACHABLE, "certificate is not trusted");
	g_unlink(ca);
	assert_fails(&(struct http_client_call){.url = who, .ca_file = ca}, POM_ERR_UNREACHABLE, "ca.pem cannot be read");
	test_server_free(test);
}

static void test_failures(void)
{
	struct test_server *test = start();
	g_autofree char *big = url(test, "http", "plain", "/big"), *wait = url(test, "http", "plain", "/wait"), *gone = NULL;

	assert_fails(&(struct http_client_call){.url = big, .response_max = 1000}, POM_ERR_TOO_LARGE, "1000 bytes");
	assert_reply(&(struct http_client_call){.url = big, .response_max = 1 << 20}, 200, NULL);
	assert_fails(&(struct http_client_call){.url = wait, .timeout_ms = 100}, POM_ERR_UNREACHABLE, "no answer in time");
	assert_fails(&(struct http_client_call){.url = "file:///etc/passwd"}, POM_ERR_UNREACHABLE, "not an http");
	assert_fails(&(struct http_client_call){.url = "http://no-such-host.invalid/"}, POM_ERR_UNREACHABLE, "not known");
	gone = url(test, "http", "plain", "/");
	test_open_gate(test);
	http_server_stop(test->server, 1000);
	assert_fails(&(struct http_client_call){.url = gone}, POM_ERR_UNREACHABLE, "nobody answers");
	test_server_free(test);
}

static void test_login(void)
{
	struct test_server *test = start();
	g_autofree char *basic = url(test, "https", "tls", "/basic"), *clear = url(test, "http", "plain", "/basic"), *ntlm = url(test, "http", "plain", "/ntlm"),
	               *inside = NULL, *query = NULL, *ca = g_build_filename(test->dir, "ca.pem", NULL);

	write_pem(ca, test->state.ctx);
	assert_reply(&(struct http_client_call){.url = basic, .ca_file = ca}, 401, NULL);
	assert_reply(&(struct http_client_call){.url = basic, .ca_file = ca, .user = "user", .password = "wrong"}, 401, NULL);
	assert_reply(&(struct http_client_call){.url = basic, .ca_file = ca, .user = "user", .password = "pass"}, 200, "welcome");
	assert_reply(&(struct http_client_call){.method = "POST", .url = basic, .ca_file = ca, .body = "x", .body_len = 1, .user = "user", .password = "pass"}, 200, "welcome");
	/* Basic would show the password to everybody on the way. */
	assert_reply(&(struct http_client_call){.url = clear, .user = "user", .password = "pass"}, 401, NULL);
	assert_reply(&(struct http_client_call){.url = ntlm, .user = "LAB\\user", .password = "pass"}, 200, "welcome");
	assert_reply(&(struct http_client_call){.url = ntlm, .user = "LAB\\other", .password = "pass"}, 401, NULL);
	inside = g_strdup_printf("http://user:hush@127.0.0.1:%d/basic", http_server_port(test->server, "plain"));
	assert_fails(&(struct http_client_call){.url = inside}, POM_ERR_UNREACHABLE, "does not belong into a URL");
	query = g_strdup("http://no-such-host.invalid/scep?operation=PKIOperation");
	assert_fails(&(struct http_client_call){.url = query}, POM_ERR_UNREACHABLE, "http://no-such-host.invalid/scep: ");
	g_unlink(ca);
	test_server_free(test);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/client/plain", test_plain);
	g_test_add_func("/client/unix", test_unix);
	g_test_add_func("/client/tls", test_tls);
	g_test_add_func("/client/failures", test_failures);
	g_test_add_func("/client/login", test_login);
	return g_test_run();
}
