#include "http/forwarded.h"
#include "http/wire.h"

void http_peer_clear(struct http_peer *peer)
{
	g_clear_pointer(&peer->address, g_free);
	g_clear_pointer(&peer->client_cert, g_bytes_unref);
}

void http_session_init(struct http_session *session, const struct http_listener *listener, const struct http_peer *peer, const struct http_limits *limits)
{
	*session = (struct http_session){.listener = listener, .peer = peer, .reader = http1_reader_new(limits)};
}

void http_session_clear(struct http_session *session)
{
	http1_reader_free(session->reader);
	http_response_free(session->refusal);
	*session = (struct http_session){0};
}

/* The request gets copies of what is known of the peer: it may outlive the connection. */
static struct http_request *identify(struct http_session *session)
{
	struct http_request *request = http1_reader_request(session->reader);
	const struct http_peer *peer = session->peer;

	if (request->peer)
		return request;
	request->peer = g_strdup(peer->address);
	request->listener = session->listener->name;
	request->is_tls = peer->is_tls;
	request->is_unix = peer->is_unix;
	request->unix_uid = peer->unix_uid;
	request->client_cert = peer->client_cert ? g_bytes_ref(peer->client_cert) : NULL;
	return request;
}

/* Once all headers are known. */
static void look_behind_proxy(const struct http_listener *listener, struct http_request *head)
{
	if (!http_networks_contain(listener->proxies, head->peer))
		return;
	head->proxy = head->peer;
	head->peer = listener->forwarded ? http_forwarded_peer(head, listener->forwarded, listener->proxies, head->proxy) : g_strdup(head->proxy);
}

void http_session_refuse(struct http_session *session, enum pom_error reason, const char *detail)
{
	session->refusal = http_refuse(session->listener, identify(session), reason, detail);
}

static enum http_step on_event(struct http_session *session, enum http1_event event);

static enum http_step on_head(struct http_session *session)
{
	struct http_request *head = identify(session);
	enum http_step step;

	look_behind_proxy(session->listener, head);
	session->refusal = http_decide(session->listener, session->reader);
	if (session->refusal)
		return HTTP_STEP_REFUSED;
	session->in_body = true;
	step = on_event(session, http1_reader_accept_body(session->reader, head->route->body_max));
	return step == HTTP_STEP_MORE && http1_reader_expects_continue(session->reader) ? HTTP_STEP_CONTINUE : step;
}

static enum http_step on_event(struct http_session *session, enum http1_event event)
{
	switch (event) {
	case HTTP1_HEAD:
		return on_head(session);
	case HTTP1_BODY_DONE:
		return HTTP_STEP_RUN;
	case HTTP1_REFUSED:
		http_session_refuse(session, http1_reader_reason(session->reader), http1_reader_detail(session->reader));
		return HTTP_STEP_REFUSED;
	case HTTP1_NEED_MORE:
		break;
	}
	return HTTP_STEP_MORE;
}

enum http_step http_session_feed(struct http_session *session, const uint8_t *data, size_t len, size_t *ret_used)
{
	enum http_step step = HTTP_STEP_MORE;
	size_t used = 0;

	while (step == HTTP_STEP_MORE && used < len) {
		size_t n;

		step = on_event(session, http1_reader_feed(session->reader, data + used, len - used, &n));
		used += n;
	}
	*ret_used = used;
	return step;
}

struct http_request *http_session_steal(struct http_session *session)
{
	session->in_body = false;
	return http1_reader_steal(session->reader);
}
