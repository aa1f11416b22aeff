#include "http/server_internal.h"

void http_job_free(struct http_job *job)
{
	http_request_free(job->request);
	http_wire_clear(&job->wire);
	g_free(job);
}

void http_job_answer(struct http_job *job, struct http_response *response)
{
	const struct http_listener *listener = job->listener;

	job->keep_alive = job->keep_alive && !atomic_load(&job->loop->server->draining);
	http_wire_format(&job->wire, response, job->request->method == HTTP_HEAD, job->keep_alive, time(NULL));
	if (listener->done)
		listener->done(listener->ctx, job->request, response->status, g_get_monotonic_time() - job->started_us);
	http_response_free(response);
	g_clear_pointer(&job->request, http_request_free);
}

void http_job_run(void *server, void *item)
{
	struct http_job *job = item;
	const struct http_listener *listener = job->listener;
	struct http_response *response;

	if (!atomic_load(&job->canceled)) {
		response = job->request->route->handle(listener->ctx, job->request);
		if (!response)
			response = http_refuse(listener, job->request, POM_ERR_INTERNAL, "the handler gave no reply");
		http_job_answer(job, response);
	}
	http_loop_post(job->loop, &job->message);
}
