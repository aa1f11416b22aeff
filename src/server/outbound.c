#include "server/outbound.h"

#include "http/client.h"

static bool call_out(void *ctx, const struct outbound_request *request, struct outbound_reply *ret, GError **error)
{
	gsize len = 0;
	const void *body = request->body ? g_bytes_get_data(request->body, &len) : NULL;
	const struct http_client_call call = {
		.method = request->method, .url = request->url, .headers = request->headers, .body = body, .body_len = len,
		.ca_file = request->ca_file, .timeout_ms = request->timeout_ms, .response_max = request->response_max, .user = request->user, .password = request->password,
	};
	struct http_client_reply reply;

	if (!http_client_run(&call, &reply, error))
		return false;
	*ret = (struct outbound_reply){reply.status, g_steal_pointer(&reply.body), g_steal_pointer(&reply.content_type)};
	http_client_reply_clear(&reply);
	return true;
}

const struct outbound *server_outbound(void)
{
	static const struct outbound face = {call_out, NULL};

	return &face;
}
