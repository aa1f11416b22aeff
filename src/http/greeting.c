/* A connection that a load balancer passes on, until the header of the PROXY protocol has said whose it is. What follows the header is TLS's (or the reader's): so the bytes are looked at
 * first, and only those of the header are taken from the socket. */
#include <errno.h>
#include <sys/socket.h>

#include "http/proxy_header.h"
#include "http/server_internal.h"

struct http_greeting {
	struct http_loop *loop;
	GList link; /* in loop->greetings */
	struct http_accepted *accepted;
	struct event *event, *timer;
	uint8_t bytes[HTTP_PROXY_HEADER_MAX];
	size_t n;   /* taken from the socket */
};

void http_greeting_free(struct http_greeting *greeting)
{
	struct http_loop *loop = greeting->loop;

	g_queue_unlink(&loop->greetings, &greeting->link);
	event_free(greeting->event);
	event_free(greeting->timer);
	if (greeting->accepted) {
		http_census_leave(&loop->server->census, greeting->accepted->census_key);
		http_accepted_free(greeting->accepted);
	}
	g_free(greeting);
	http_loop_check_end(loop);
}

static void refuse(struct http_greeting *greeting, enum pom_error reason, const char *detail)
{
	http_accepted_refuse(greeting->accepted, reason, detail);
	http_greeting_free(greeting);
}

/* Takes what was looked at: it is there. */
static bool take(struct http_greeting *greeting, size_t n)
{
	if (recv(greeting->accepted->fd, greeting->bytes + greeting->n, n, 0) != (ssize_t)n)
		return false;
	greeting->n += n;
	return true;
}

/* The connection begins, as that of whom the header names. */
static void finish(struct http_greeting *greeting, const struct http_proxy_header *header)
{
	struct http_loop *loop = greeting->loop;
	struct http_accepted *accepted = greeting->accepted;
	const char *limit = NULL;

	if (header->has_source) {
		http_accepted_name(accepted, &header->source);
		limit = http_census_name(&loop->server->census, accepted->census_key, &loop->server->config.limits);
	}
	if (limit) {
		g_clear_pointer(&accepted->census_key, g_free);
		refuse(greeting, POM_ERR_HTTP_CONNECTIONS, limit);
		return;
	}
	event_del(greeting->event);
	http_conn_new(loop, accepted);
	greeting->accepted = NULL;
	http_accepted_free(accepted);
	http_greeting_free(greeting);
}

static void look(struct http_greeting *greeting)
{
	ssize_t n = recv(greeting->accepted->fd, greeting->bytes + greeting->n, sizeof(greeting->bytes) - greeting->n, MSG_PEEK);
	struct http_proxy_header header;
	const char *why;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Without a byte it was a look whether somebody listens here. */
	if (n <= 0 && (n < 0 || !greeting->n)) {
		http_greeting_free(greeting);
		return;
	}
	switch (n ? http_proxy_header_parse(greeting->bytes, greeting->n + (size_t)n, &header, &why) : HTTP_PROXY_HEADER_MORE) {
	case HTTP_PROXY_HEADER_MORE:
		if (!n)
			refuse(greeting, POM_ERR_PROXY_HEADER, "the connection ended within the header of the PROXY protocol");
		else if (!take(greeting, (size_t)n))
			http_greeting_free(greeting);
		return;
	case HTTP_PROXY_HEADER_BAD:
		refuse(greeting, POM_ERR_PROXY_HEADER, why);
		return;
	case HTTP_PROXY_HEADER_DONE:
		break;
	}
	if (take(greeting, header.len - greeting->n))
		finish(greeting, &header);
	else
		http_greeting_free(greeting);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	look(ctx);
}

static void on_late(evutil_socket_t fd, short what, void *ctx)
{
	refuse(ctx, POM_ERR_PROXY_HEADER, "the header of the PROXY protocol did not come in time");
}

void http_greeting_new(struct http_loop *loop, struct http_accepted *accepted)
{
	unsigned ms = loop->server->config.limits.handshake_ms;
	const struct timeval deadline = {ms / 1000, ms % 1000 * 1000};
	struct http_greeting *greeting = g_new(struct http_greeting, 1);

	greeting->loop = loop;
	greeting->link = (GList){.data = greeting};
	greeting->accepted = accepted;
	greeting->n = 0;
	greeting->event = event_new(loop->base, accepted->fd, EV_READ | EV_PERSIST, on_readable, greeting);
	greeting->timer = evtimer_new(loop->base, on_late, greeting);
	g_queue_push_tail_link(&loop->greetings, &greeting->link);
	event_add(greeting->event, NULL);
	event_add(greeting->timer, &deadline);
}
