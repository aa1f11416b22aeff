/* The moving parts of the server. A loop is a thread with its own event base; connections, timers and listeners belong to one
 * loop and are touched by its thread alone. Everything that crosses threads is a message in a loop's inbox or a job in the
 * pool, handed over under a lock, so libevent needs no locking of its own. */
#pragma once

#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/queue.h"
#include "http/wire.h"

enum { LISTENERS_MAX = 8 };

struct http_loop;

/* Something for a loop. deliver runs on the loop's thread and owns the message; after the threads are joined the server
 * delivers what is left, and finds the loop stopping. */
struct http_message {
	struct http_message *next;
	void (*deliver)(struct http_loop *loop, struct http_message *message);
};

/* Open connections, in total and per address. Any thread. */
struct http_census {
	pthread_mutex_t lock;
	unsigned n;
	GHashTable *by_address;
};
void http_census_init(struct http_census *census);
void http_census_clear(struct http_census *census);
/* Counts a connection; else which limit is reached, a constant. A NULL KEY (unix socket, listed proxy) counts in the total alone. */
const char *http_census_enter(struct http_census *census, const char *key, const struct http_limits *limits);
void http_census_leave(struct http_census *census, const char *key);
/* A connection that was counted in the total alone belongs to KEY; else, and nothing has changed, which limit is reached. */
const char *http_census_name(struct http_census *census, const char *key, const struct http_limits *limits);

/* A bound listener. Lives in one loop, which deals its connections out to all in turn. */
struct http_port {
	struct http_listener listener; /* strings are our copies */
	int fd;
	bool is_unix;
	uint16_t number;
	struct stat inode;             /* of the unix socket that we made, to remove only that */
	char *unlink_path;             /* NULL: not ours to remove */
	struct http_loop *loop;
	struct event *event, *pause;   /* pause: waiting for file descriptors to become free */
	unsigned next_loop;
};
bool http_port_open(struct http_port *port, const struct http_listener *listener, GError **error);
/* Closes the socket. The strings stay until http_port_clear: requests and connections point at them. */
void http_port_close(struct http_port *port);
void http_port_clear(struct http_port *port); /* also after a failed open */

/* A connection that a loop has accepted for another (or for itself). */
struct http_accepted {
	struct http_message message;
	struct http_port *port;
	int fd; /* whoever takes the connection over, sets it to -1 */
	struct http_peer peer;
	char *census_key;
};
void http_accepted_free(struct http_accepted *accepted); /* closes the connection, unless it was taken over */
/* Writes down whom the connection comes from. ADDRESS: IPv4 in its mapped form. */
void http_accepted_name(struct http_accepted *accepted, const struct in6_addr *address);
/* Tells the listener that the connection is refused before a request. */
void http_accepted_refuse(const struct http_accepted *accepted, enum pom_error reason, const char *detail);

struct http_loop {
	struct http_server *server;
	struct event_base *base;
	pthread_t thread;
	GQueue conns;               /* struct http_conn */
	GQueue greetings;           /* struct http_greeting */
	bool stopping;
	struct event *grace;
	int wake_fd;
	struct event *wake;
	pthread_mutex_t lock;       /* over the inbox */
	struct http_message *first, **last;
	struct http_message stop;
};
void http_loop_init(struct http_loop *loop, struct http_server *server);
void http_loop_clear(struct http_loop *loop);
void http_loop_start(struct http_loop *loop);
/* Hands MESSAGE (transfer full) to LOOP. Any thread. */
void http_loop_post(struct http_loop *loop, struct http_message *message);
/* Delivers what is in the inbox: the loop's own thread, or anyone once that has ended. */
void http_loop_deliver(struct http_loop *loop);
/* Ends the thread once the loop is stopping and its last connection is gone. */
void http_loop_check_end(struct http_loop *loop);
/* Starts and stops accepting on PORT, which must be this loop's. */
void http_port_watch(struct http_port *port);
void http_port_unwatch(struct http_port *port);

struct http_server {
	struct http_server_config config;
	struct http_port ports[LISTENERS_MAX];
	size_t n_ports;
	struct http_loop *loops;
	struct pom_pool *pool;
	struct http_census census;
	atomic_bool stopping, draining; /* draining: each reply ends its connection */
	unsigned grace_ms;
	bool started;
};

struct http_conn;

/* A request on its way through a worker. The worker owns request and reply while it runs; conn belongs to the loop. */
struct http_job {
	struct http_message message;
	struct http_loop *loop;
	struct http_conn *conn;   /* NULL once the connection has vanished */
	atomic_bool canceled;     /* nobody waits any more: a job not yet begun is skipped */
	const struct http_listener *listener;
	struct http_request *request;
	struct http_wire wire;
	bool keep_alive;
	int64_t started_us;
};
void http_job_run(void *server, void *job); /* the pool's callback */
/* Makes RESPONSE (transfer full) the job's reply and tells the listener. */
void http_job_answer(struct http_job *job, struct http_response *response);
void http_job_free(struct http_job *job);

struct http_greeting;
/* Takes over an accepted connection (transfer full) of a listener with balancers: reads the header of the PROXY protocol, no byte more, and makes it a connection of whom that names. */
void http_greeting_new(struct http_loop *loop, struct http_accepted *accepted);
void http_greeting_free(struct http_greeting *greeting);

/* Takes over an accepted connection. */
void http_conn_new(struct http_loop *loop, struct http_accepted *accepted);
void http_conn_free(struct http_conn *conn);
/* The loop is stopping: closes the connection unless a request is under way. */
void http_conn_stop(struct http_conn *conn);
/* Sends the reply of a finished job, if the connection still lives, and frees the job. */
void http_conn_complete(struct http_loop *loop, struct http_message *job);
