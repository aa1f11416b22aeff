#include "http/server_internal.h"

static bool open_ports(struct http_server *server, const struct http_listener *listeners, size_t n, GError **error)
{
	for (; server->n_ports < n; server->n_ports++) {
		struct http_port *port = &server->ports[server->n_ports];

		if (!http_port_open(port, &listeners[server->n_ports], error)) {
			http_port_clear(port);
			return false;
		}
		port->loop = &server->loops[server->n_ports % server->config.n_loops];
		port->next_loop = server->n_ports;
	}
	return true;
}

struct http_server *http_server_new(const struct http_server_config *config, const struct http_listener *listeners, size_t n, GError **error)
{
	struct http_server *server;

	g_return_val_if_fail(config->n_loops >= 1 && config->n_loops <= 64 && n <= LISTENERS_MAX, NULL);
	server = g_new0(struct http_server, 1);
	server->config = *config;
	http_census_init(&server->census);
	server->loops = g_new0(struct http_loop, config->n_loops);
	for (unsigned i = 0; i < config->n_loops; i++)
		http_loop_init(&server->loops[i], server);
	if (open_ports(server, listeners, n, error))
		return server;
	http_server_free(server);
	return NULL;
}

void http_server_start(struct http_server *server)
{
	const struct http_server_config *config = &server->config;

	server->pool = pom_pool_new("worker", config->n_workers, config->queue_max, http_job_run, server);
	for (size_t i = 0; i < server->n_ports; i++)
		http_port_watch(&server->ports[i]);
	for (unsigned i = 0; i < config->n_loops; i++)
		http_loop_start(&server->loops[i]);
	server->started = true;
}

uint16_t http_server_port(const struct http_server *server, const char *name)
{
	for (size_t i = 0; i < server->n_ports; i++)
		if (!g_strcmp0(server->ports[i].listener.name, name))
			return server->ports[i].number;
	return 0;
}

void http_server_drain(struct http_server *server)
{
	atomic_store(&server->draining, true);
}

/* A loop ends only when its connections are gone, so jobs that still run find nobody; their messages stay in the inboxes and
 * are delivered here once the workers have ended. */
void http_server_stop(struct http_server *server, unsigned grace_ms)
{
	if (!server->started)
		return;
	server->started = false;
	server->grace_ms = grace_ms;
	atomic_store(&server->stopping, true);
	http_server_drain(server);
	for (unsigned i = 0; i < server->config.n_loops; i++)
		http_loop_post(&server->loops[i], &server->loops[i].stop);
	for (unsigned i = 0; i < server->config.n_loops; i++)
		pthread_join(server->loops[i].thread, NULL);
	g_clear_pointer(&server->pool, pom_pool_free);
	for (unsigned i = 0; i < server->config.n_loops; i++)
		http_loop_deliver(&server->loops[i]);
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	http_server_stop(server, 0);
	for (size_t i = 0; i < server->n_ports; i++)
		http_port_clear(&server->ports[i]);
	for (unsigned i = 0; i < server->config.n_loops; i++)
		http_loop_clear(&server->loops[i]);
	http_census_clear(&server->census);
	g_free(server->loops);
	g_free(server);
}
