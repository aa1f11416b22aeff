#include "http/test_fixture.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/metric.h"

enum { PEER_TIMEOUT_S = 10, BIG = 1 << 20, HALF = 32 * 1024, PIECE = 12 * 1024 };

/* Handlers --------------------------------------------------------------------------------------------------------- */

static void count(struct test_state *state, unsigned *counter)
{
	pthread_mutex_lock(&state->lock);
	(*counter)++;
	pthread_cond_broadcast(&state->wake);
	pthread_mutex_unlock(&state->lock);
}

static struct http_response *echo(void *ctx, const struct http_request *request)
{
	struct test_state *state = ctx;

	count(state, &state->n_handled);
	return http_response_new(200, "text/plain", g_bytes_ref(request->body));
}

static struct http_response *await_gate(void *ctx, const struct http_request *request)
{
	struct test_state *state = ctx;

	pthread_mutex_lock(&state->lock);
	state->n_handled++;
	state->n_waiting++;
	pthread_cond_broadcast(&state->wake);
	while (!state->gate)
		pthread_cond_wait(&state->wake, &state->lock);
	state->n_waiting--;
	pthread_mutex_unlock(&state->lock);
	return http_response_text(200, "text/plain", "waited");
}

static struct http_response *who(void *ctx, const struct http_request *request)
{
	g_autofree char *text = g_strdup_printf("listener=%s peer=%s tls=%d unix=%d uid=%d cert=%zu", request->listener, request->peer, request->is_tls,
	                                        request->is_unix, (int)request->unix_uid, request->client_cert ? g_bytes_get_size(request->client_cert) : 0);

	return http_response_text(200, "text/plain", text);
}

static struct http_response *fill(size_t n)
{
	char *text = g_malloc(n);

	memset(text, 'x', n);
	return http_response_new(200, "text/plain", g_bytes_new_take(text, n));
}

static struct http_response *big(void *ctx, const struct http_request *request)
{
	return fill(BIG);
}

static struct http_response *half(void *ctx, const struct http_request *request)
{
	return fill(HALF);
}

static struct http_response *piece(void *ctx, const struct http_request *request)
{
	struct test_state *state = ctx;

	pthread_mutex_lock(&state->lock);
	state->n_pieces++;
	pthread_mutex_unlock(&state->lock);
	return fill(PIECE);
}

void test_unread_pieces(struct test_server *test, const char *listener)
{
	enum { N = 2000, LOOK_MS = 50 };
	g_autoptr(test_peer) peer = test_connect(test, listener);
	unsigned n = 0, before;
	int few = 256 * 1024;

	g_assert_cmpint(setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few)), ==, 0);
	for (int i = 0; i < N; i++)
		test_send(peer, "GET /piece HTTP/1.1\r\n" H "\r\n");
	/* When no more are answered the system takes no more; how many that are does not matter. */
	do {
		before = n;
		g_usleep(LOOK_MS * 1000);
		n = test_count(test, &test->state.n_pieces);
	} while (!n || n > before);
	for (int i = 0; i < N; i++) {
		g_autofree char *reply = test_reply(peer);

		g_assert_nonnull(reply);
		g_assert_true(g_str_has_prefix(reply, "HTTP/1.1 200 "));
		g_assert_cmpuint(strspn(strstr(reply, "\r\n\r\n") + 4, "x"), ==, PIECE);
	}
	g_assert_cmpuint(test_count(test, &test->state.n_pieces), ==, N);
}

static struct http_response *ask_for_login(const char *how)
{
	struct http_response *response = http_response_text(401, "text/plain", "who are you?");

	http_response_header(response, "WWW-Authenticate", how);
	return response;
}

/* Basic for user:pass. */
static struct http_response *basic(void *ctx, const struct http_request *request)
{
	const char *given = http_request_header(request, "Authorization");

	return g_strcmp0(given, "Basic dXNlcjpwYXNz") ? ask_for_login("Basic realm=\"test\"") : http_response_text(200, "text/plain", "welcome");
}

/* NTLM as far as a server without a directory can go: its second message asks for NTLMv2, and the third must name the user. */
static struct http_response *ntlm(void *ctx, const struct http_request *request)
{
	/* Signature, type 2, no target name, flags (Unicode, NTLM, target information), challenge, target information: 4 bytes at 48. */
	static const guchar second[52] = "NTLMSSP\0\2\0\0\0\0\0\0\0\60\0\0\0\1\2\200\0CHALLNGE\0\0\0\0\0\0\0\0\4\0\4\0\60\0\0\0\0\0\0";
	const char *given = http_request_header(request, "Authorization");
	g_autofree char *encoded = g_base64_encode(second, sizeof(second)), *how = g_strconcat("NTLM ", encoded, NULL);
	g_autofree guchar *message = NULL;
	gsize len = 0;

	if (!given || !g_str_has_prefix(given, "NTLM "))
		return ask_for_login("NTLM");
	message = g_base64_decode(given + 5, &len);
	if (len > 8 && message[8] == 1)
		return ask_for_login(how);
	if (len > 8 && message[8] == 3 && memmem(message, len, "u\0s\0e\0r", 7) && memmem(message, len, "L\0A\0B", 5))
		return http_response_text(200, "text/plain", "welcome");
	return ask_for_login("NTLM");
}

static struct http_response *away(void *ctx, const struct http_request *request)
{
	struct http_response *response = http_response_text(302, "text/plain", "elsewhere");

	http_response_header(response, "Location", "/who");
	return response;
}

static const struct http_route routes[] = {
	{"/echo", HTTP_BIT(HTTP_PUT) | HTTP_BIT(HTTP_POST), 100000, 0, echo, 0},
	{"/wait", HTTP_BIT(HTTP_GET), 0, 0, await_gate, 0},
	{"/who", HTTP_BIT(HTTP_GET), 0, 0, who, 0},
	{"/big", HTTP_BIT(HTTP_GET), 0, 0, big, 0},
	{"/half", HTTP_BIT(HTTP_GET), 0, 0, half, 0},
	{"/piece", HTTP_BIT(HTTP_GET), 0, 0, piece, 0},
	{"/basic", HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_POST), 1000, 0, basic, 0},
	{"/away", HTTP_BIT(HTTP_GET), 0, 0, away, 0},
	{"/ntlm", HTTP_BIT(HTTP_GET), 0, 0, ntlm, 0},
	{NULL},
};

static struct http_response *refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail)
{
	struct test_state *state = ctx;

	pthread_mutex_lock(&state->lock);
	state->reason = reason;
	pthread_mutex_unlock(&state->lock);
	count(state, &state->n_refused);
	return NULL;
}

static void done(void *ctx, const struct http_request *request, int status, int64_t duration_us)
{
	struct test_state *state = ctx;

	g_assert_cmpint(duration_us, >=, 0);
	count(state, &state->n_done);
}

static SSL_CTX *give_ctx(void *ctx)
{
	struct test_state *state = ctx;
	SSL_CTX *present;

	pthread_mutex_lock(&state->lock);
	present = state->ctx;
	SSL_CTX_up_ref(present);
	pthread_mutex_unlock(&state->lock);
	return present;
}

/* The server ------------------------------------------------------------------------------------------------------- */

struct test_options test_options(void)
{
	return (struct test_options){2, 4, 100, http_limits_default, 0, NULL, NULL};
}

static struct http_listener make_listener(struct test_server *test, const char *name, const char *address)
{
	return (struct http_listener){.name = name, .address = address, .fd = -1, .routes = routes, .ctx = &test->state, .refuse = refuse, .done = done};
}

struct test_server *test_server_new(const struct test_options *options)
{
	struct http_server_config config = {options->n_loops, options->n_workers, options->queue_max, options->limits};
	struct test_server *test = g_new0(struct test_server, 1);
	g_autoptr(GError) error = NULL;
	g_autofree char *unix_address = NULL;

	pthread_mutex_init(&test->state.lock, NULL);
	pthread_cond_init(&test->state.wake, NULL);
	test->state.ctx = test_ctx_new(1);
	test->dir = g_dir_make_tmp("pomona-http-XXXXXX", NULL);
	test->unix_path = g_build_filename(test->dir, "socket", NULL);
	unix_address = g_strconcat("unix:", test->unix_path, NULL);
	struct http_listener listeners[] = {
		make_listener(test, "plain", "127.0.0.1:0"), make_listener(test, "tls", "127.0.0.1:0"), make_listener(test, "unix", unix_address), make_listener(test, "given", NULL),
	};
	listeners[0].proxies = options->proxies;
	listeners[0].balancers = listeners[1].balancers = options->balancers;
	listeners[1].tls = give_ctx;
	listeners[3].fd = options->fd;
	test->server = http_server_new(&config, listeners, options->fd ? 4 : 3, &error);
	g_assert_no_error(error);
	http_server_start(test->server);
	return test;
}

void test_server_free(struct test_server *test)
{
	test_open_gate(test);
	http_server_stop(test->server, 2000);
	g_assert_cmpint(pom_metric_get(POM_METRIC_CONNECTIONS, NULL), ==, 0);
	g_assert_false(g_file_test(test->unix_path, G_FILE_TEST_EXISTS));
	http_server_free(test->server);
	SSL_CTX_free(test->state.ctx);
	pthread_cond_destroy(&test->state.wake);
	pthread_mutex_destroy(&test->state.lock);
	g_rmdir(test->dir);
	g_free(test->dir);
	g_free(test->unix_path);
	g_free(test);
}

void test_open_gate(struct test_server *test)
{
	pthread_mutex_lock(&test->state.lock);
	test->state.gate = true;
	pthread_cond_broadcast(&test->state.wake);
	pthread_mutex_unlock(&test->state.lock);
}

void test_await_waiting(struct test_server *test, unsigned n)
{
	struct timespec until;
	int failed = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PEER_TIMEOUT_S;
	pthread_mutex_lock(&test->state.lock);
	while (test->state.n_waiting < n && !failed)
		failed = pthread_cond_timedwait(&test->state.wake, &test->state.lock, &until);
	pthread_mutex_unlock(&test->state.lock);
	g_assert_cmpint(failed, ==, 0);
}

unsigned test_count(struct test_server *test, const unsigned *counter)
{
	unsigned n;

	pthread_mutex_lock(&test->state.lock);
	n = *counter;
	pthread_mutex_unlock(&test->state.lock);
	return n;
}

/* TLS -------------------------------------------------------------------------------------------------------------- */

static X509 *make_cert(EVP_PKEY *key, long serial)
{
	X509 *cert = X509_new();
	X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_add_ext(cert, san, -1);
	X509_EXTENSION_free(san);
	X509_set_pubkey(cert, key);
	g_assert_cmpint(X509_sign(cert, key, EVP_sha256()), >, 0);
	return cert;
}

static int accept_any(int ok, X509_STORE_CTX *store)
{
	return 1;
}

SSL_CTX *test_ctx_new(long serial)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = make_cert(key, serial);

	g_assert_cmpint(SSL_CTX_use_certificate(ctx, cert), ==, 1);
	g_assert_cmpint(SSL_CTX_use_PrivateKey(ctx, key), ==, 1);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
	SSL_CTX_set_num_tickets(ctx, 0);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ctx;
}

void test_server_swap_ctx(struct test_server *test, SSL_CTX *ctx)
{
	pthread_mutex_lock(&test->state.lock);
	SSL_CTX_free(test->state.ctx);
	test->state.ctx = ctx;
	pthread_mutex_unlock(&test->state.lock);
}

/* The peer --------------------------------------------------------------------------------------------------------- */

static struct test_peer *peer_new(int fd)
{
	const struct timeval timeout = {PEER_TIMEOUT_S, 0};
	struct test_peer *peer = g_new0(struct test_peer, 1);

	g_assert_cmpint(fd, >=, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	peer->fd = fd;
	peer->in = g_string_new(NULL);
	return peer;
}

int test_dial(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!connect(fd, (struct sockaddr *)&address, sizeof address))
		return fd;
	close(fd);
	return -1;
}

static int dial_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	return fd;
}

struct test_peer *test_connect(struct test_server *test, const char *listener)
{
	if (!strcmp(listener, "unix"))
		return peer_new(dial_unix(test->unix_path));
	struct test_peer *peer = test_connect_raw(test, listener);
	if (!strcmp(listener, "tls"))
		test_start_tls(peer);
	return peer;
}

struct test_peer *test_connect_raw(struct test_server *test, const char *listener)
{
	return peer_new(test_dial(http_server_port(test->server, listener)));
}

static void start_tls(struct test_peer *peer, SSL_CTX *ctx)
{
	peer->ssl = SSL_new(ctx);
	SSL_set_fd(peer->ssl, peer->fd);
	g_assert_cmpint(SSL_connect(peer->ssl), ==, 1);
}

void test_start_tls(struct test_peer *peer)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	start_tls(peer, ctx);
	SSL_CTX_free(ctx);
}

struct test_peer *test_connect_tls(struct test_server *test, SSL_CTX *ctx)
{
	struct test_peer *peer = test_connect_raw(test, "tls");

	start_tls(peer, ctx);
	return peer;
}

void test_send_len(struct test_peer *peer, const void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = peer->ssl ? SSL_write(peer->ssl, (const char *)data + at, len - at) : send(peer->fd, (const char *)data + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += n;
	}
}

void test_send(struct test_peer *peer, const char *text)
{
	test_send_len(peer, text, strlen(text));
}

static bool receive(struct test_peer *peer)
{
	char buf[65536];
	ssize_t n = peer->ssl ? SSL_read(peer->ssl, buf, sizeof buf) : recv(peer->fd, buf, sizeof buf, 0);

	if (n > 0)
		g_string_append_len(peer->in, buf, n);
	return n > 0;
}

/* Length of the reply at the start of the input, 0 while it is not whole. */
static size_t whole_reply(const GString *in)
{
	const char *end = strstr(in->str, "\r\n\r\n"), *length = strstr(in->str, "Content-Length: ");
	size_t len = end ? end + 4 - in->str : 0;

	if (end && length && length < end)
		len += strtoul(length + strlen("Content-Length: "), NULL, 10);
	return len <= in->len ? len : 0;
}

char *test_reply(struct test_peer *peer)
{
	size_t n;
	char *reply;

	while (!(n = whole_reply(peer->in)))
		if (!receive(peer))
			return NULL;
	reply = g_strndup(peer->in->str, n);
	g_string_erase(peer->in, 0, n);
	return reply;
}

int test_status(struct test_peer *peer)
{
	g_autofree char *reply = test_reply(peer);

	return reply ? atoi(reply + strlen("HTTP/1.1 ")) : 0;
}

bool test_at_end(struct test_peer *peer)
{
	int64_t start = g_get_monotonic_time();

	return !peer->in->len && !receive(peer) && g_get_monotonic_time() - start < (PEER_TIMEOUT_S - 1) * G_USEC_PER_SEC;
}

void test_peer_free(struct test_peer *peer)
{
	SSL_free(peer->ssl);
	close(peer->fd);
	g_string_free(peer->in, true);
	g_free(peer);
}
