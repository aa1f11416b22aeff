#include <string.h>
#include <unistd.h>

#include "http/wire.h"

enum { LOOPBACK_MAX = 1 << 30 };

static struct http_peer make_peer(const struct http_listener *listener)
{
	bool is_unix = listener->address && g_str_has_prefix(listener->address, "unix:");

	return (struct http_peer){
		.address = g_strdup(is_unix ? "unix" : "127.0.0.1"), .is_tls = listener->tls, .is_unix = is_unix, .unix_uid = is_unix ? getuid() : 0,
	};
}

static void answer(const struct http_listener *listener, const struct http_request *request, const struct http_response *response, bool keep_alive, struct pom_buf *out)
{
	g_auto(http_wire_auto) wire;

	http_wire_format(&wire, response, request->method == HTTP_HEAD, keep_alive, time(NULL));
	pom_buf_append(out, wire.head.data, wire.head.len);
	if (wire.body)
		pom_buf_append(out, g_bytes_get_data(wire.body, NULL), g_bytes_get_size(wire.body));
	if (listener->done)
		listener->done(listener->ctx, request, response->status, 0);
}

/* Runs the request; whether the connection goes on. */
static bool run(struct http_session *session, struct pom_buf *out)
{
	bool keep_alive = http1_reader_keep_alive(session->reader);
	g_autoptr(http_request) request = http_session_steal(session);
	g_autoptr(http_response) response = request->route->handle(session->listener->ctx, request);

	if (!response)
		response = http_refuse(session->listener, request, POM_ERR_INTERNAL, "the handler gave no reply");
	answer(session->listener, request, response, keep_alive, out);
	return keep_alive;
}

/* Acts on a step; whether the connection goes on. */
static bool act(struct http_session *session, enum http_step step, struct pom_buf *out)
{
	switch (step) {
	case HTTP_STEP_RUN:
		return run(session, out);
	case HTTP_STEP_CONTINUE:
		return pom_buf_puts(out, http_continue_line);
	case HTTP_STEP_REFUSED:
		answer(session->listener, http1_reader_request(session->reader), session->refusal, false, out);
		return false;
	case HTTP_STEP_MORE:
		break;
	}
	return true;
}

GBytes *http_loopback(const struct http_listener *listener, const struct http_limits *limits, const void *bytes, size_t len, bool *ret_close)
{
	struct http_peer peer = make_peer(listener);
	struct http_session session;
	struct pom_buf out;
	bool open = true;

	pom_buf_init(&out, LOOPBACK_MAX);
	http_session_init(&session, listener, &peer, limits ? limits : &http_limits_default);
	for (size_t used = 0, n; open && used < len; used += n)
		open = act(&session, http_session_feed(&session, (const uint8_t *)bytes + used, len - used, &n), &out);
	http_session_clear(&session);
	http_peer_clear(&peer);
	*ret_close = !open;
	return pom_buf_steal(&out);
}
