#include "push/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/push.h"

enum { ADDRESSES_MAX = 16, NEXT_MS = 250, CONNECT_MS = 15000, ANSWER_MAX = 4096 };

/* A name that is being looked up; shared with the thread that does it, and gone with the last of both. */
struct lookup {
	atomic_int n_refs;
	atomic_bool done;
	char *host, *port;
	int wake_fd; /* its own */
	int code;
	struct addrinfo *found;
};

struct address { struct sockaddr_storage at; socklen_t len; int family; };

struct dial {
	const struct dial_config *config;
	unsigned first;
	int64_t began_ms, next_ms;
	struct lookup *lookup;
	struct address addresses[ADDRESSES_MAX];
	unsigned n_addresses, n_tried;
	int fds[ADDRESSES_MAX]; /* those that connect; -1: not (any more) */
	unsigned n_connecting;
	int last_errno;
	/* The tunnel. */
	int fd;
	char *request;
	size_t sent;
	char answer[ANSWER_MAX + 1];
	size_t answer_len;
};

/* ---- names ---- */

static void lookup_unref(struct lookup *lookup)
{
	if (atomic_fetch_sub(&lookup->n_refs, 1) != 1)
		return;
	if (lookup->found)
		freeaddrinfo(lookup->found);
	close(lookup->wake_fd);
	g_free(lookup->host);
	g_free(lookup->port);
	g_free(lookup);
}

static void *lookup_main(void *data)
{
	struct lookup *lookup = data;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	uint64_t one = 1;

	lookup->code = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->found);
	atomic_store(&lookup->done, true);
	(void)!write(lookup->wake_fd, &one, sizeof(one));
	lookup_unref(lookup);
	return NULL;
}

/* Addresses need no thread. */
static struct lookup *lookup_start(const char *host, const char *port, int wake_fd)
{
	struct lookup *lookup = g_new0(struct lookup, 1);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	pthread_t thread;

	lookup->host = g_strdup(host);
	lookup->port = g_strdup(port);
	lookup->wake_fd = dup(wake_fd);
	atomic_store(&lookup->n_refs, 1);
	if (getaddrinfo(host, port, &hints, &lookup->found) == 0) {
		atomic_store(&lookup->done, true);
		return lookup;
	}
	lookup->found = NULL;
	atomic_store(&lookup->n_refs, 2);
	if (pthread_create(&thread, NULL, lookup_main, lookup) == 0) {
		pthread_detach(thread);
	} else {
		atomic_store(&lookup->n_refs, 1);
		lookup->code = EAI_AGAIN;
		atomic_store(&lookup->done, true);
	}
	return lookup;
}

static void add_address(struct dial *dial, const struct addrinfo *a)
{
	struct address *address = &dial->addresses[dial->n_addresses++];

	memcpy(&address->at, a->ai_addr, a->ai_addrlen);
	address->len = a->ai_addrlen;
	address->family = a->ai_family;
}

static const struct addrinfo *skip_to(const struct addrinfo *a, int family, bool other)
{
	while (a && (a->ai_family == family) == other)
		a = a->ai_next;
	return a;
}

/* Both families by turns, in the order of the system (RFC 8305 §4); then rotated. */
static void order_addresses(struct dial *dial, const struct addrinfo *found)
{
	int family = found->ai_family;
	const struct addrinfo *same = found, *other = skip_to(found, family, true);
	struct address sorted[ADDRESSES_MAX];

	while ((same || other) && dial->n_addresses < ADDRESSES_MAX) {
		if (same) {
			add_address(dial, same);
			same = skip_to(same->ai_next, family, false);
		}
		if (other && dial->n_addresses < ADDRESSES_MAX) {
			add_address(dial, other);
			other = skip_to(other->ai_next, family, true);
		}
	}
	memcpy(sorted, dial->addresses, sizeof(sorted));
	for (unsigned i = 0; i < dial->n_addresses; i++)
		dial->addresses[i] = sorted[(i + dial->first) % dial->n_addresses];
}

/* True when addresses are known. */
static bool take_addresses(struct dial *dial, GError **error)
{
	struct lookup *lookup = dial->lookup;

	if (!lookup)
		return true;
	if (!atomic_load(&lookup->done))
		return false;
	if (lookup->code || !lookup->found) {
		pom_fail(error, POM_ERR_PUSH_NAME, "%s: %s", lookup->host, lookup->code ? gai_strerror(lookup->code) : "it has no address");
		return false;
	}
	order_addresses(dial, lookup->found);
	lookup_unref(lookup);
	dial->lookup = NULL;
	return true;
}

/* ---- addresses ---- */

static const char *target(const struct dial *dial)
{
	return dial->config->proxy_host ? dial->config->proxy_host : dial->config->host;
}

static void try_next(struct dial *dial, int64_t now_ms)
{
	const struct address *address = &dial->addresses[dial->n_tried];
	int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	dial->fds[dial->n_tried++] = fd;
	dial->next_ms = now_ms + NEXT_MS;
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fd >= 0 && (connect(fd, (const struct sockaddr *)&address->at, address->len) == 0 || errno == EINPROGRESS)) {
		dial->n_connecting++;
		return;
	}
	dial->last_errno = errno;
	if (fd >= 0)
		close(fd);
	dial->fds[dial->n_tried - 1] = -1;
	dial->next_ms = now_ms;
}

/* Whether the socket at I has connected; a failed one is closed. */
static bool has_connected(struct dial *dial, unsigned i, int64_t now_ms)
{
	struct pollfd ready = {dial->fds[i], POLLOUT, 0};
	int code = 0;
	socklen_t len = sizeof(code);

	if (ready.fd < 0 || poll(&ready, 1, 0) != 1)
		return false;
	getsockopt(ready.fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (!code)
		return true;
	dial->last_errno = code;
	close(ready.fd);
	dial->fds[i] = -1;
	dial->n_connecting--;
	dial->next_ms = now_ms;
	return false;
}

static void keep_only(struct dial *dial, unsigned winner)
{
	dial->fd = dial->fds[winner];
	for (unsigned i = 0; i < dial->n_tried; i++) {
		if (i != winner && dial->fds[i] >= 0)
			close(dial->fds[i]);
		dial->fds[i] = -1;
	}
	dial->n_connecting = 0;
}

static void race(struct dial *dial, int64_t now_ms, GError **error)
{
	for (unsigned i = 0; i < dial->n_tried; i++)
		if (has_connected(dial, i, now_ms)) {
			keep_only(dial, i);
			return;
		}
	while (dial->n_tried < dial->n_addresses && now_ms >= dial->next_ms)
		try_next(dial, now_ms);
	if (!dial->n_connecting && dial->n_tried == dial->n_addresses)
		pom_fail(error, POM_ERR_PUSH_CONNECT, "%s port %s: %s", target(dial), dial->config->proxy_host ? dial->config->proxy_port : dial->config->port, g_strerror(dial->last_errno));
}

/* ---- the tunnel ---- */

static char *format_connect(const struct dial_config *c)
{
	/* An IPv6 address stands in brackets. */
	const char *open = strchr(c->host, ':') ? "[" : "", *close_ = *open ? "]" : "";

	return g_strdup_printf("CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n%s%s%s\r\n", open, c->host, close_, c->port, open, c->host, close_, c->port,
	                       c->proxy_authorization ? "Proxy-Authorization: " : "", c->proxy_authorization ? c->proxy_authorization : "", c->proxy_authorization ? "\r\n" : "");
}

static bool proxy_failed(const struct dial *dial, const char *why, GError **error)
{
	return pom_fail(error, POM_ERR_PUSH_PROXY, "%s port %s: %s", dial->config->proxy_host, dial->config->proxy_port, why);
}

static bool judge_answer(const struct dial *dial, int status, GError **error)
{
	g_autofree char *text = NULL;

	if (status >= 200 && status < 300)
		return true;
	if (status < 0)
		return proxy_failed(dial, "it does not answer as an HTTP proxy", error);
	if (status == 407)
		return proxy_failed(dial, "it asks for a user and a password, or does not take those that it is given: put \"user:password\" into the file of apns.proxy_password_file", error);
	text = g_strdup_printf("it answers CONNECT %s:%s with status %d", dial->config->host, dial->config->port, status);
	return proxy_failed(dial, text, error);
}

/* True when the tunnel stands. */
static bool run_tunnel(struct dial *dial, GError **error)
{
	ssize_t n = 1;
	int status;

	if (!dial->request)
		dial->request = format_connect(dial->config);
	while (dial->request[dial->sent] && (n = send(dial->fd, dial->request + dial->sent, strlen(dial->request + dial->sent), MSG_NOSIGNAL)) > 0)
		dial->sent += (size_t)n;
	if (n > 0)
		n = recv(dial->fd, dial->answer + dial->answer_len, ANSWER_MAX - dial->answer_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		return proxy_failed(dial, n < 0 ? g_strerror(errno) : "it closed the connection", error);
	dial->answer_len += (size_t)n;
	status = push_proxy_answer_parse(dial->answer, dial->answer_len);
	return status && judge_answer(dial, status, error);
}

/* ---- together ---- */

struct dial *dial_new(const struct dial_config *config, unsigned first, int64_t now_ms)
{
	struct dial *dial = g_new0(struct dial, 1);

	dial->config = config;
	dial->first = first;
	dial->began_ms = dial->next_ms = now_ms;
	dial->fd = -1;
	memset(dial->fds, -1, sizeof(dial->fds));
	dial->lookup = lookup_start(target(dial), config->proxy_host ? config->proxy_port : config->port, config->wake_fd);
	return dial;
}

void dial_free(struct dial *dial)
{
	if (!dial)
		return;
	if (dial->lookup)
		lookup_unref(dial->lookup);
	for (unsigned i = 0; i < dial->n_tried; i++)
		if (dial->fds[i] >= 0)
			close(dial->fds[i]);
	if (dial->fd >= 0)
		close(dial->fd);
	if (dial->request)
		explicit_bzero(dial->request, strlen(dial->request));
	g_free(dial->request);
	g_free(dial);
}

int dial_run(struct dial *dial, int64_t now_ms, GError **error)
{
	GError *inner = NULL;
	bool done = false;

	if (dial->fd < 0 && take_addresses(dial, &inner))
		race(dial, now_ms, &inner);
	if (!inner && dial->fd >= 0)
		done = !dial->config->proxy_host || run_tunnel(dial, &inner);
	if (inner) {
		g_propagate_error(error, inner);
		return -1;
	}
	if (done)
		return g_steal_fd(&dial->fd);
	if (now_ms - dial->began_ms > CONNECT_MS)
		pom_fail(error, dial->lookup ? POM_ERR_PUSH_NAME : dial->fd >= 0 ? POM_ERR_PUSH_PROXY : POM_ERR_PUSH_CONNECT, "%s does not answer within %d seconds", dial->lookup ? "the name service" : target(dial), CONNECT_MS / 1000);
	return -1;
}

void dial_poll(const struct dial *dial, GArray *fds, int64_t *until_ms)
{
	for (unsigned i = 0; i < dial->n_tried; i++) {
		struct pollfd fd = {dial->fds[i], POLLOUT, 0};

		if (fd.fd >= 0)
			g_array_append_val(fds, fd);
	}
	if (dial->fd >= 0) {
		struct pollfd fd = {dial->fd, (short)(dial->request && !dial->request[dial->sent] ? POLLIN : POLLOUT), 0};

		g_array_append_val(fds, fd);
	}
	*until_ms = MIN(*until_ms, dial->began_ms + CONNECT_MS + 1);
	if (dial->fd < 0 && (dial->lookup ? atomic_load(&dial->lookup->done) : dial->n_tried < dial->n_addresses))
		*until_ms = MIN(*until_ms, dial->next_ms);
}
