#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "sim/device_internal.h"

enum { LINE_MAX_BYTES = 8192, TICK_MS = 200, PAUSE_FIRST_MS = 200, PAUSE_MAX_MS = 5000, CONNECT_MS = 5000 };

struct wake {
	const struct device *device;
	char *host, *port;
	int fd;
	char line[LINE_MAX_BYTES];
	size_t len;
	unsigned pause_ms;
	bool was_connected;
};

wake *wake_new(const struct device *d, const char *address, GError **error)
{
	const char *colon = strrchr(address, ':');
	wake *w;

	if (!colon || colon == address || !colon[1]) {
		pom_fail(error, POM_ERR_USAGE, "\"%s\" is not HOST:PORT", address);
		return NULL;
	}
	w = g_new0(wake, 1);
	w->device = d;
	w->fd = -1;
	w->pause_ms = PAUSE_FIRST_MS;
	/* [::1]:80 is an address too. */
	w->host = *address == '[' && colon[-1] == ']' ? g_strndup(address + 1, (gsize)(colon - address - 2)) : g_strndup(address, (gsize)(colon - address));
	w->port = g_strdup(colon + 1);
	return w;
}

static void disconnect(wake *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	w->len = 0;
}

void wake_free(wake *w)
{
	if (!w)
		return;
	disconnect(w);
	g_free(w->host);
	g_free(w->port);
	g_free(w);
}

/* A connection that is still being made is waited for in short steps. */
static bool finish_connect(const wake *w, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int failure = 0;
	socklen_t len = sizeof(failure);

	for (int ms = 0; ms < CONNECT_MS && !sim_stopped(w->device->options->stop); ms += TICK_MS)
		if (poll(&p, 1, TICK_MS) > 0)
			return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0 && !failure;
	return false;
}

static int open_one(const wake *w, const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);

	if (fd < 0)
		return -1;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || (errno == EINPROGRESS && finish_connect(w, fd)))
		return fd;
	close(fd);
	return -1;
}

static bool send_token(const wake *w)
{
	GString *line = g_string_new(NULL);
	ssize_t n;
	size_t len;

	for (unsigned i = 0; i < SIM_TOKEN_LEN; i++)
		g_string_append_printf(line, "%02x", w->device->token[i]);
	g_string_append_c(line, '\n');
	len = line->len;
	n = send(w->fd, line->str, len, MSG_NOSIGNAL);
	g_string_free(line, TRUE);
	return n == (ssize_t)len;
}

void wake_connect(wake *w)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;

	if (w->fd >= 0 || getaddrinfo(w->host, w->port, &hints, &list) != 0)
		return;
	for (const struct addrinfo *a = list; a && w->fd < 0; a = a->ai_next)
		w->fd = open_one(w, a);
	freeaddrinfo(list);
	if (w->fd >= 0 && !send_token(w))
		disconnect(w);
	if (w->fd >= 0)
		w->pause_ms = PAUSE_FIRST_MS;
}

/* Whether LINE is a push for this device. */
static bool is_push(const wake *w, const char *line)
{
	g_autoptr(json_t) payload = g_str_has_prefix(line, "push ") ? json_parse(line + 5, strlen(line + 5), NULL) : NULL;
	const char *magic = json_string_value(json_object_get(payload, "mdm"));

	if (magic && !strcmp(magic, w->device->magic))
		return true;
	device_say(w->device, "push", json_pack("{s:b}", "ignored", 1), "ignores a push that does not carry its PushMagic");
	return false;
}

/* Takes the whole lines out of the buffer; true when one of them is a push. */
static bool take_lines(wake *w)
{
	bool pushed = false;
	char *end;

	while ((end = memchr(w->line, '\n', w->len))) {
		size_t used = (size_t)(end - w->line) + 1;

		*end = '\0';
		pushed |= is_push(w, w->line);
		memmove(w->line, w->line + used, w->len - used);
		w->len -= used;
	}
	return pushed;
}

/* One look at the connection. */
static bool receive(wake *w)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, TICK_MS) <= 0)
		return false;
	n = recv(w->fd, w->line + w->len, sizeof(w->line) - w->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		device_say(w->device, "push", json_pack("{s:b}", "connected", 0), "lost its connection to the simulated APNs");
		disconnect(w);
		return false;
	}
	w->len += (size_t)n;
	return take_lines(w);
}

/* APNs keeps the last push for a device that was away. */
static bool come_back(wake *w)
{
	bool again = w->was_connected;

	wake_connect(w);
	if (w->fd >= 0) {
		w->was_connected = true;
		return again;
	}
	sim_sleep_ms(w->device->options->stop, w->pause_ms);
	w->pause_ms = MIN(w->pause_ms * 2, PAUSE_MAX_MS);
	return false;
}

bool wake_wait(wake *w)
{
	while (!sim_stopped(w->device->options->stop)) {
		if (w->fd >= 0)
			w->was_connected = true;
		if (w->fd < 0 ? come_back(w) : receive(w))
			return true;
	}
	return false;
}
