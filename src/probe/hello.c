/* Raw TLS handshakes: what the server sends, before any library has put it in order. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe/probe.h"

/* What devices offer for TLS 1.2 (App Transport Security); level 0, because weak certificates are to be seen, and judged elsewhere. */
#define DEVICE_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:@SECLEVEL=0"
#define ANY_CIPHERS "ALL:COMPLEMENTOFDEFAULT:@SECLEVEL=0"

/* RFC 9113 §3.4: the client's preface, and its empty SETTINGS frame. */
static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
enum { SLICE_MS = 200, H2_PREFACE_LEN = sizeof(h2_preface) - 1, H2_FRAME_HEAD = 9, H2_SETTINGS = 4 };

struct attempt {
	const char *sni;
	int64_t until_us;
	const int *stop;
	bool any; /* takes whatever the server wants */
	bool asks_certificate;
};

static int left_ms(const struct attempt *attempt)
{
	int64_t left = (attempt->until_us - g_get_monotonic_time()) / 1000;

	if (attempt->stop && __atomic_load_n(attempt->stop, __ATOMIC_SEQ_CST))
		return 0;
	return (int)CLAMP(left, 0, G_MAXINT);
}

/* Waits until FD can be read or written. False: the time is up. */
static bool wait_fd(const struct attempt *attempt, int fd, short events)
{
	struct pollfd poll_fd = {fd, events, 0};
	int n, left;

	do {
		left = left_ms(attempt);
		n = poll(&poll_fd, 1, MIN(left, (int)SLICE_MS));
	} while ((n < 0 && errno == EINTR) || (!n && left));
	return n > 0;
}

static bool parse_address(const char *address, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	const char *colon = strrchr(address, ':');
	g_autofree char *host = colon ? *address == '[' ? g_strndup(address + 1, (gsize)(colon - address) - 2) : g_strndup(address, (gsize)(colon - address)) : NULL;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	uint16_t port = colon ? (uint16_t)g_ascii_strtoull(colon + 1, NULL, 10) : 0;

	memset(ret, 0, sizeof(*ret));
	if (host && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*ret_len = sizeof(*v4);
		return true;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*ret_len = sizeof(*v6);
	return host && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

static int fail_connect(struct doctor_hello *hello, int fd, enum doctor_outcome outcome, const char *why)
{
	hello->outcome = outcome;
	hello->why = outcome == DOCTOR_LATE ? g_strdup("the connection is not accepted in time") : g_strdup_printf("nobody accepts a connection there (%s)", why);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_connection(const struct attempt *attempt, struct doctor_hello *hello)
{
	struct sockaddr_storage address;
	socklen_t len, size = sizeof(int);
	int fd, code = 0;

	if (!parse_address(hello->address, &address, &len))
		return fail_connect(hello, -1, DOCTOR_NOT_CONNECTED, "this is no address");
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_connect(hello, fd, DOCTOR_NOT_CONNECTED, g_strerror(errno));
	if (!connect(fd, (struct sockaddr *)&address, len))
		return fd;
	if (errno != EINPROGRESS)
		return fail_connect(hello, fd, DOCTOR_NOT_CONNECTED, g_strerror(errno));
	if (!wait_fd(attempt, fd, POLLOUT))
		return fail_connect(hello, fd, DOCTOR_LATE, NULL);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) || code)
		return fail_connect(hello, fd, DOCTOR_NOT_CONNECTED, g_strerror(code));
	return fd;
}

/* ---- TLS ---- */

static int on_certificate_request(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
	((struct attempt *)SSL_get_app_data(ssl))->asks_certificate = true;
	return 0;
}

/* Nothing is built and nothing is believed. */
static int on_verify(X509_STORE_CTX *store, void *ctx)
{
	return 1;
}

static SSL *new_session(struct attempt *attempt, int fd)
{
	static const unsigned char protocols[] = "\2h2\10http/1.1";
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	SSL_CTX_set_min_proto_version(context, attempt->any ? TLS1_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(context, attempt->any ? ANY_CIPHERS : DEVICE_CIPHERS);
	SSL_CTX_set_cert_verify_callback(context, on_verify, NULL);
	SSL_CTX_set_client_cert_cb(context, on_certificate_request);
	SSL_CTX_set_max_cert_list(context, PROBE_CERTS_MAX_BYTES);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | (attempt->any ? SSL_OP_LEGACY_SERVER_CONNECT : 0));
	SSL_CTX_set_alpn_protos(context, protocols, sizeof(protocols) - 1);
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	SSL_set_app_data(ssl, attempt);
	if (attempt->sni)
		SSL_set_tlsext_host_name(ssl, attempt->sni);
	SSL_set_fd(ssl, fd);
	return ssl;
}

/* Runs STEP until it is through; 1, or what it returned. *RET_LATE: the time is up. */
static int drive(const struct attempt *attempt, SSL *ssl, int (*step)(SSL *), bool *ret_late)
{
	*ret_late = false;
	while (true) {
		int n, code;

		ERR_clear_error();
		n = step(ssl);
		code = n == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, n);
		if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE)
			return n;
		/* A server that drips bytes never lets poll wait: the clock is asked each time. */
		if (!left_ms(attempt) || !wait_fd(attempt, SSL_get_fd(ssl), code == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) {
			*ret_late = true;
			return n;
		}
	}
}

static void take_chain(SSL *ssl, struct doctor_hello *hello)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	if (!sk_X509_num(chain))
		return;
	hello->chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509_up_ref(sk_X509_value(chain, i));
		g_ptr_array_add(hello->chain, sk_X509_value(chain, i));
	}
	hello->version = g_strdup(SSL_get_version(ssl));
	hello->cipher = g_strdup(SSL_get_cipher_name(ssl));
	hello->outcome = DOCTOR_CONNECTED;
}

/* What the first error in OpenSSL's queue means. */
static void take_error(struct doctor_hello *hello)
{
	unsigned long code = ERR_peek_error();
	int library = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);

	if (library == ERR_LIB_SSL && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_RECORD_LENGTH_MISMATCH)) {
		hello->outcome = DOCTOR_NO_TLS;
		hello->why = g_strdup("what answers there is not TLS");
	} else if (library == ERR_LIB_SSL && reason == SSL_R_EXCESSIVE_MESSAGE_SIZE) {
		hello->outcome = DOCTOR_TOO_LONG;
		hello->why = g_strdup_printf("the server sends more than %d bytes of certificates", PROBE_CERTS_MAX_BYTES);
	} else if (library == ERR_LIB_ASN1 || library == ERR_LIB_X509 || (library == ERR_LIB_SSL && (reason == SSL_R_CERT_LENGTH_MISMATCH || reason == SSL_R_UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS))) {
		hello->outcome = DOCTOR_UNREADABLE;
		hello->why = g_strdup("a certificate that the server sends cannot be read");
	} else {
		hello->outcome = DOCTOR_REFUSED;
		hello->why = code && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING ? g_strdup_printf("the handshake fails: %s", ERR_reason_error_string(code))
		                                                                : g_strdup("the server closes the connection within the handshake");
	}
}

static int write_preface(SSL *ssl)
{
	return SSL_write(ssl, h2_preface, H2_PREFACE_LEN) == H2_PREFACE_LEN ? 1 : -1;
}

/* The head of the first frame, which must be one of SETTINGS (RFC 9113 §3.4). */
static int read_frame(SSL *ssl)
{
	unsigned char head[H2_FRAME_HEAD];
	int n = SSL_peek(ssl, head, sizeof(head));

	if (n <= 0)
		return n;
	return n == H2_FRAME_HEAD && head[3] == H2_SETTINGS ? 1 : -1;
}

static void check_h2(const struct attempt *attempt, SSL *ssl, struct doctor_hello *hello)
{
	const unsigned char *name;
	unsigned len;
	bool late;

	SSL_get0_alpn_selected(ssl, &name, &len);
	hello->chose_h2 = len == 2 && !memcmp(name, "h2", 2);
	if (hello->chose_h2)
		hello->speaks_h2 = drive(attempt, ssl, write_preface, &late) == 1 && drive(attempt, ssl, read_frame, &late) == 1;
}

static void shake(struct attempt *attempt, struct doctor_hello *hello)
{
	int fd = open_connection(attempt, hello);
	bool late;
	SSL *ssl;
	int n;

	if (fd < 0)
		return;
	ssl = new_session(attempt, fd);
	n = drive(attempt, ssl, SSL_connect, &late);
	if (late) {
		hello->outcome = DOCTOR_LATE;
		hello->why = g_strdup("the handshake does not end in time");
	} else if (n == 1 || attempt->asks_certificate) {
		/* Without a certificate some end the handshake; what they sent before is known. */
		take_chain(ssl, hello);
		if (n == 1 && hello->chain)
			check_h2(attempt, ssl, hello);
	}
	if (!late && !hello->chain)
		take_error(hello);
	hello->asks_certificate = attempt->asks_certificate;
	SSL_free(ssl);
	close(fd);
	ERR_clear_error();
}

void probe_hello(const char *address, const char *sni, unsigned timeout_ms, const int *stop, struct doctor_hello *ret)
{
	struct attempt attempt = {.sni = sni, .stop = stop, .until_us = g_get_monotonic_time() + (int64_t)timeout_ms * 1000};
	struct doctor_hello hello = {.address = g_strdup(address), .outcome = DOCTOR_NOT_CONNECTED}, again = {.address = g_strdup(address)};

	shake(&attempt, &hello);
	if (hello.outcome == DOCTOR_REFUSED) {
		attempt = (struct attempt){.sni = sni, .stop = stop, .until_us = g_get_monotonic_time() + (int64_t)timeout_ms * 1000, .any = true};
		shake(&attempt, &again);
	}
	if (hello.outcome == DOCTOR_REFUSED && again.outcome == DOCTOR_CONNECTED) {
		again.is_old = strcmp(again.version, "TLSv1.2") && strcmp(again.version, "TLSv1.3");
		again.is_static = !again.is_old;
		doctor_hello_clear(&hello);
		*ret = again;
		return;
	}
	doctor_hello_clear(&again);
	*ret = hello;
}
