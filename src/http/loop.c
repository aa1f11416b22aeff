#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/forwarded.h"
#include "http/server_internal.h"

enum { ACCEPTS_AT_ONCE = 8, ACCEPT_PAUSE_MS = 100, FULL_PAUSE_MS = 10, FULL_PART = 8 };

/* The inbox -------------------------------------------------------------------------------------------------------- */

void http_loop_post(struct http_loop *loop, struct http_message *message)
{
	bool was_empty;

	message->next = NULL;
	pthread_mutex_lock(&loop->lock);
	was_empty = !loop->first;
	*loop->last = message;
	loop->last = &message->next;
	pthread_mutex_unlock(&loop->lock);
	if (was_empty)
		eventfd_write(loop->wake_fd, 1);
}

void http_loop_deliver(struct http_loop *loop)
{
	struct http_message *message, *next;

	pthread_mutex_lock(&loop->lock);
	message = loop->first;
	loop->first = NULL;
	loop->last = &loop->first;
	pthread_mutex_unlock(&loop->lock);
	for (; message; message = next) {
		next = message->next;
		message->deliver(loop, message);
	}
}

/* Each post to an empty inbox is an edge that wakes the loop again, so the counter need not be read. */
static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
	http_loop_deliver(ctx);
}

/* Stopping --------------------------------------------------------------------------------------------------------- */

void http_loop_check_end(struct http_loop *loop)
{
	if (loop->stopping && g_queue_is_empty(&loop->conns) && g_queue_is_empty(&loop->greetings))
		event_base_loopexit(loop->base, NULL);
}

static void on_grace_over(evutil_socket_t fd, short what, void *ctx)
{
	struct http_loop *loop = ctx;

	while (!g_queue_is_empty(&loop->conns))
		http_conn_free(g_queue_peek_head(&loop->conns));
	http_loop_check_end(loop);
}

static void on_stop(struct http_loop *loop, struct http_message *message)
{
	struct http_server *server = loop->server;
	struct timeval grace = {server->grace_ms / 1000, server->grace_ms % 1000 * 1000};

	loop->stopping = true;
	for (size_t i = 0; i < server->n_ports; i++)
		if (server->ports[i].loop == loop)
			http_port_unwatch(&server->ports[i]);
	while (!g_queue_is_empty(&loop->greetings))
		http_greeting_free(g_queue_peek_head(&loop->greetings));
	for (GList *link = loop->conns.head, *next; link; link = next) {
		next = link->next;
		http_conn_stop(link->data);
	}
	event_add(loop->grace, &grace);
	http_loop_check_end(loop);
}

/* The thread ------------------------------------------------------------------------------------------------------- */

void http_loop_init(struct http_loop *loop, struct http_server *server)
{
	struct event_config *config = event_config_new();

	/* Not EPOLL_USE_CHANGELIST: its late epoll_ctl can meet a descriptor that another loop has got meanwhile. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	*loop = (struct http_loop){.server = server, .stop = {.deliver = on_stop}, .last = &loop->first};
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!loop->base || loop->wake_fd < 0)
		g_error("cannot make an event loop: %s", g_strerror(errno));
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, loop);
	loop->grace = evtimer_new(loop->base, on_grace_over, loop);
	event_add(loop->wake, NULL);
}

void http_loop_clear(struct http_loop *loop)
{
	event_free(loop->wake);
	event_free(loop->grace);
	event_base_free(loop->base);
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
}

static void *run(void *ctx)
{
	event_base_loop(((struct http_loop *)ctx)->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

/* Signals are the main thread's; with SIGPIPE blocked, a write to a vanished peer is an error like any other. */
void http_loop_start(struct http_loop *loop)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&loop->thread, NULL, run, loop))
		g_error("cannot start an http loop");
	pthread_setname_np(loop->thread, "http");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Accepting -------------------------------------------------------------------------------------------------------- */

static char *format(const struct in6_addr *address)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (IN6_IS_ADDR_V4MAPPED(address))
		inet_ntop(AF_INET, &address->s6_addr[12], text, sizeof text);
	else
		inet_ntop(AF_INET6, address, text, sizeof text);
	return g_strdup(text);
}

/* The limit counts an IPv6 peer by its /64: one host commands all addresses in it. */
void http_accepted_name(struct http_accepted *accepted, const struct in6_addr *address)
{
	struct in6_addr counted = *address;

	if (!IN6_IS_ADDR_V4MAPPED(address))
		memset(&counted.s6_addr[8], 0, 8);
	g_free(accepted->peer.address);
	g_free(accepted->census_key);
	accepted->peer.address = format(address);
	accepted->census_key = format(&counted);
}

static struct in6_addr address_of(const struct sockaddr_storage *address)
{
	struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (address->ss_family != AF_INET)
		return ((const struct sockaddr_in6 *)address)->sin6_addr;
	memcpy(&mapped.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
	return mapped;
}

static void identify_peer(struct http_accepted *accepted, const struct sockaddr_storage *address)
{
	const struct http_listener *listener = &accepted->port->listener;
	struct in6_addr in6 = address_of(address);
	struct ucred credentials;
	socklen_t len = sizeof credentials;
	int one = 1;

	accepted->peer.is_tls = listener->tls;
	if (!accepted->port->is_unix) {
		http_accepted_name(accepted, &in6);
		/* A proxy brings the connections of many. */
		if (http_networks_contain(listener->proxies, accepted->peer.address) || http_networks_contain(listener->balancers, accepted->peer.address))
			g_clear_pointer(&accepted->census_key, g_free);
		setsockopt(accepted->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		return;
	}
	accepted->peer.address = g_strdup("unix");
	accepted->peer.is_unix = true;
	/* Without credentials the peer is nobody, never root. */
	accepted->peer.unix_uid = getsockopt(accepted->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) ? (uid_t)-1 : credentials.uid;
}

void http_accepted_free(struct http_accepted *accepted)
{
	if (accepted->fd >= 0)
		close(accepted->fd);
	http_peer_clear(&accepted->peer);
	g_free(accepted->census_key);
	g_free(accepted);
}

void http_accepted_refuse(const struct http_accepted *accepted, enum pom_error reason, const char *detail)
{
	const struct http_listener *listener = &accepted->port->listener;
	g_autoptr(http_request) nothing = http_request_new();

	nothing->peer = g_strdup(accepted->peer.address);
	nothing->listener = listener->name;
	nothing->is_tls = accepted->peer.is_tls;
	http_response_free(http_refuse(listener, nothing, reason, detail));
}

static void on_accepted(struct http_loop *loop, struct http_message *message)
{
	struct http_accepted *accepted = (struct http_accepted *)message;

	if (loop->stopping) {
		http_census_leave(&loop->server->census, accepted->census_key);
		http_accepted_free(accepted);
	} else if (accepted->port->listener.balancers) {
		http_greeting_new(loop, accepted);
	} else {
		http_conn_new(loop, accepted);
		http_accepted_free(accepted);
	}
}

/* Whether the peer may connect at all. */
static bool is_welcome(const struct http_accepted *accepted)
{
	const struct http_networks *balancers = accepted->port->listener.balancers;

	if (!balancers || http_networks_contain(balancers, accepted->peer.address))
		return true;
	http_accepted_refuse(accepted, POM_ERR_PROXY_UNLISTED, "this listener takes connections of listed load balancers alone");
	return false;
}

static void deal(struct http_port *port, int fd, const struct sockaddr_storage *address)
{
	struct http_server *server = port->loop->server;
	struct http_accepted *accepted = g_new0(struct http_accepted, 1);
	struct http_loop *loop;
	const char *limit;

	accepted->message.deliver = on_accepted;
	accepted->port = port;
	accepted->fd = fd;
	identify_peer(accepted, address);
	if (!is_welcome(accepted)) {
		http_accepted_free(accepted);
		return;
	}
	limit = http_census_enter(&server->census, accepted->census_key, &server->config.limits);
	if (limit) {
		http_accepted_refuse(accepted, POM_ERR_HTTP_CONNECTIONS, limit);
		http_accepted_free(accepted);
		return;
	}
	loop = &server->loops[port->next_loop++ % server->config.n_loops];
	if (loop == port->loop)
		on_accepted(loop, &accepted->message);
	else
		http_loop_post(loop, &accepted->message);
}

/* The listener stays readable, so rest instead of spinning. */
static void pause_accepting(struct http_port *port, int ms)
{
	const struct timeval pause = {0, ms * 1000};

	event_del(port->event);
	event_add(port->pause, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *ctx)
{
	struct http_port *port = ctx;

	event_add(port->event, NULL);
}

/* Whether what has been taken up is enough for now. A handshake is the dearest part of most visits: it is not begun for who would then be told that too many wait, and what it would
 * cost goes to those who do. New peers wait in the system's queue meanwhile, without losing time of a deadline. The rest of the queue is for those whose handshake is under way. Without TLS a refusal is cheap, and says more. */
static bool is_full(const struct http_port *port)
{
	const struct http_server *server = port->loop->server;

	return port->listener.tls && pom_pool_pending(server->pool) > server->config.n_workers + server->config.queue_max / FULL_PART;
}

/* A few at a time, so that those already begun with are not overtaken: the rest is asked for again after them. */
static void on_acceptable(evutil_socket_t listener, short what, void *ctx)
{
	if (is_full(ctx)) {
		pause_accepting(ctx, FULL_PAUSE_MS);
		return;
	}
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		struct sockaddr_storage address = {0};
		socklen_t len = sizeof address;
		int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			deal(ctx, fd, &address);
		} else if (errno != ECONNABORTED && errno != EINTR) {
			/* Out of descriptors or memory. */
			if (errno != EAGAIN)
				pause_accepting(ctx, ACCEPT_PAUSE_MS);
			return;
		}
	}
}

void http_port_watch(struct http_port *port)
{
	port->event = event_new(port->loop->base, port->fd, EV_READ | EV_PERSIST, on_acceptable, port);
	port->pause = evtimer_new(port->loop->base, on_resume, port);
	event_add(port->event, NULL);
}

void http_port_unwatch(struct http_port *port)
{
	g_clear_pointer(&port->event, event_free);
	g_clear_pointer(&port->pause, event_free);
	http_port_close(port);
}
