/* For the tests of server and client: a server with a few handlers on ports that the system chooses, and a blocking peer with
 * bounds on time. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>

#include "http/http.h"

#define H "Host: a\r\n"

/* Handlers and callbacks share this. */
struct test_state {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool gate;            /* GET /wait returns once it is open */
	unsigned n_waiting;   /* handlers at the gate */
	unsigned n_handled, n_done, n_refused, n_pieces; /* n_pieces: GET /piece */
	unsigned reason;      /* of the last refusal */
	SSL_CTX *ctx;         /* what the TLS listener gives out now */
};

struct test_server {
	struct test_state state;
	struct http_server *server;
	char *unix_path, *dir;
};

struct test_options {
	unsigned n_loops, n_workers, queue_max; /* 0: 2, 4, 100 */
	struct http_limits limits;
	int fd;               /* a listening socket for the listener "given"; 0: none */
	const struct http_networks *proxies; /* of the listener "plain" */
	const struct http_networks *balancers; /* of the listeners "plain" and "tls" */
};
/* The default limits, 2 loops and 4 workers. */
struct test_options test_options(void);

/* Listeners "plain", "tls", "unix" (and "given"). Paths: PUT/POST /echo (cap 100,000), GET /wait, GET /who, GET /big (1 MiB),
 * GET /half (32 KiB), GET /piece (12 KiB), GET and POST /basic (user "user", password "pass"), GET /ntlm (user "LAB\\user", any password), GET /away (302 to
 * /who). */
struct test_server *test_server_new(const struct test_options *options);
void test_server_free(struct test_server *test); /* stops it, and checks that no connection is left */
void test_open_gate(struct test_server *test);
void test_await_waiting(struct test_server *test, unsigned n); /* until N handlers are at the gate */
unsigned test_count(struct test_server *test, const unsigned *counter);

/* A new self-signed certificate for 127.0.0.1 and a context with it; SERIAL tells one from another. Asks for client
 * certificates and takes any. */
SSL_CTX *test_ctx_new(long serial);
void test_server_swap_ctx(struct test_server *test, SSL_CTX *ctx); /* transfer full */

/* Asks LISTENER for more small replies than the system keeps, and reads them only then: all of them come whole. */
void test_unread_pieces(struct test_server *test, const char *listener);

struct test_peer {
	int fd;
	SSL *ssl;
	GString *in;
};
struct test_peer *test_connect(struct test_server *test, const char *listener); /* "plain", "unix", "given", "tls" */
struct test_peer *test_connect_tls(struct test_server *test, SSL_CTX *ctx);     /* CTX of the client */
struct test_peer *test_connect_raw(struct test_server *test, const char *listener); /* "plain", "tls": before any byte */
void test_start_tls(struct test_peer *peer); /* the handshake, which must succeed */
int test_dial(uint16_t port); /* -1 when refused */
void test_send(struct test_peer *peer, const char *text);
void test_send_len(struct test_peer *peer, const void *data, size_t len);
/* One whole reply, body included, at most 10 s. NULL at the end of the stream. transfer full. */
char *test_reply(struct test_peer *peer);
int test_status(struct test_peer *peer); /* the status of the next reply, 0 at the end of the stream */
bool test_at_end(struct test_peer *peer); /* the stream ends without another byte */
void test_peer_free(struct test_peer *peer);
typedef struct test_peer test_peer;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(test_peer, test_peer_free)
