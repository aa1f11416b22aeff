#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/server_internal.h"

enum { BACKLOG = 4096, SOCKET_FLAGS = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK };

static bool fail(GError **error, const struct http_listener *listener, const char *what, const char *advice)
{
	return pom_fail(error, POM_ERR_IO, "listener %s: %s: %s. %s", listener->name, listener->address ? listener->address : "given socket", what, advice);
}

static bool fail_errno(GError **error, const struct http_listener *listener)
{
	switch (errno) {
	case EADDRINUSE:
		return fail(error, listener, "port in use", "Stop the program that listens there, or set another address");
	case EACCES:
		return fail(error, listener, "not permitted", "Ports below 1024 need the capability CAP_NET_BIND_SERVICE; a unix socket needs a folder that may be written");
	case EADDRNOTAVAIL:
		return fail(error, listener, "this machine does not have the address", "Set one of its own, or [::] for all");
	default:
		return fail(error, listener, g_strerror(errno), "Set another address");
	}
}

/* "127.0.0.1:8443" or "[::1]:8443". */
static bool parse_address(const struct http_listener *listener, struct addrinfo **ret, GError **error)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(listener->address, ':');
	g_autofree char *host = colon ? g_strndup(listener->address, colon - listener->address) : NULL;
	size_t len = host ? strlen(host) : 0;

	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	} else if (!len || strchr(host, ':')) {
		return fail(error, listener, "not an address", "Write 127.0.0.1:8443, [::1]:8443 or unix:/path");
	}
	if (getaddrinfo(host, colon + 1, &hints, ret))
		return fail(error, listener, "not an address", "Write 127.0.0.1:8443, [::1]:8443 or unix:/path");
	return true;
}

/* [::] takes IPv4 as well, whatever the system's default is. */
static void set_options(int fd, int family)
{
	int one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
}

static bool bind_tcp(struct http_port *port, GError **error)
{
	struct addrinfo *address;
	bool bound = false;

	if (!parse_address(&port->listener, &address, error))
		return false;
	port->fd = socket(address->ai_family, SOCKET_FLAGS, 0);
	if (port->fd >= 0) {
		set_options(port->fd, address->ai_family);
		bound = !bind(port->fd, address->ai_addr, address->ai_addrlen) && !listen(port->fd, BACKLOG);
	}
	if (!bound)
		fail_errno(error, &port->listener);
	freeaddrinfo(address);
	return bound;
}

/* Removes a socket that a dead process has left; one that still answers, or a file of another kind, is not ours to take. */
static bool remove_stale(const struct http_listener *listener, const struct sockaddr_un *address, GError **error)
{
	struct stat st;
	int fd;
	bool answers;

	if (lstat(address->sun_path, &st))
		return errno == ENOENT || fail_errno(error, listener);
	if (!S_ISSOCK(st.st_mode))
		return fail(error, listener, "a file that is not a socket is in the way", "Remove it or set another path");
	fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
	answers = !connect(fd, (const struct sockaddr *)address, sizeof *address) || errno != ECONNREFUSED;
	close(fd);
	if (answers)
		return fail(error, listener, "port in use: another process answers on this socket", "Stop it or set another path");
	return !unlink(address->sun_path) || fail_errno(error, listener);
}

static bool bind_unix(struct http_port *port, const char *path, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path)
		return fail(error, &port->listener, "the path is longer than 107 bytes", "Set a shorter one");
	if (!remove_stale(&port->listener, &address, error))
		return false;
	port->fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
	/* Linux gives the file the mode of the unbound socket: it is never open to others, not even for a moment. */
	if (port->fd < 0 || fchmod(port->fd, 0600) || bind(port->fd, (struct sockaddr *)&address, sizeof address))
		return fail_errno(error, &port->listener);
	port->unlink_path = g_strdup(path);
	if (lstat(path, &port->inode) || listen(port->fd, BACKLOG))
		return fail_errno(error, &port->listener);
	return true;
}

static bool take_fd(struct http_port *port, GError **error)
{
	int listening = 0, fd = port->listener.fd;
	socklen_t len = sizeof listening;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || !listening)
		return fail(error, &port->listener, "the file descriptor is not a listening socket", "Set fd to -1 to bind the address");
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return fail_errno(error, &port->listener);
	port->fd = fd;
	return true;
}

static void look_up_number(struct http_port *port)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof address;

	getsockname(port->fd, (struct sockaddr *)&address, &len);
	port->is_unix = address.ss_family == AF_UNIX;
	if (address.ss_family == AF_INET)
		port->number = ntohs(((struct sockaddr_in *)&address)->sin_port);
	if (address.ss_family == AF_INET6)
		port->number = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
}

static bool open_socket(struct http_port *port, GError **error)
{
	const char *address = port->listener.address;

	if (port->listener.fd >= 0)
		return take_fd(port, error);
	if (!address)
		return fail(error, &port->listener, "no address", "Write 127.0.0.1:8443, [::1]:8443 or unix:/path");
	if (g_str_has_prefix(address, "unix:"))
		return bind_unix(port, address + strlen("unix:"), error);
	return bind_tcp(port, error);
}

bool http_port_open(struct http_port *port, const struct http_listener *listener, GError **error)
{
	*port = (struct http_port){.listener = *listener, .fd = -1};
	port->listener.name = g_strdup(listener->name);
	port->listener.address = g_strdup(listener->address);
	port->listener.hosts = (const char *const *)g_strdupv((char **)listener->hosts);
	port->listener.forwarded = g_strdup(listener->forwarded);
	if (!open_socket(port, error))
		return false;
	look_up_number(port);
	return true;
}

static void unlink_ours(const struct http_port *port)
{
	struct stat st;

	if (port->unlink_path && !lstat(port->unlink_path, &st) && st.st_ino == port->inode.st_ino && st.st_dev == port->inode.st_dev)
		unlink(port->unlink_path);
}

void http_port_close(struct http_port *port)
{
	if (port->fd < 0)
		return;
	unlink_ours(port);
	close(port->fd);
	port->fd = -1;
}

void http_port_clear(struct http_port *port)
{
	http_port_close(port);
	g_free((char *)port->listener.name);
	g_free((char *)port->listener.address);
	g_strfreev((char **)port->listener.hosts);
	g_free((char *)port->listener.forwarded);
	g_free(port->unlink_path);
}
