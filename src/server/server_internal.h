/* What the server's files share. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/http.h"
#include "push/push.h"
#include "server/settings.h"
#include "service/service.h"

struct server_doctor;
struct server_node;

enum { SERVER_REFUSED_CONNECTIONS = 3 }; /* reasons */

/* Something that is said once in a while, with how often it has happened. */
struct seldom {
	_Atomic int64_t said_ms;
	atomic_uint n; /* since then */
};

struct server {
	const char *dir;
	const struct settings *settings;
	struct store *store;
	bool ended_early;      /* by a signal, while it waited for the database */
	struct service *service;
	struct pusher *pusher;
	struct http_server *http;

	atomic_bool draining;          /* it is being stopped, and still serves */
	struct http_networks *proxies; /* proxy.addresses; NULL: none */
	char **certificate_headers;    /* proxy.certificate_header */
	char **protocol;               /* proxy.protocol: names of listeners */
	struct seldom ignored, refused[SERVER_REFUSED_CONNECTIONS]; /* what is said once a minute at most */

	pthread_mutex_t tls_lock;
	SSL_CTX *tls, *mtls;   /* the present contexts; mtls asks for a client certificate */
	X509 *tls_cert;        /* its certificate, when our CA made it; NULL: files */
	int64_t tls_renew_ms;  /* when the janitor looks for a new one of ours; 0: files, never */

	pthread_mutex_t look_lock;
	pthread_cond_t look_wake;
	bool look_stopping;
	pthread_t look;

	pthread_mutex_t janitor_lock;
	pthread_cond_t janitor_wake;
	bool stopping, hurry, nudged;
	atomic_bool janitor_runs; /* it can be nudged */
	bool tell, tell_hurry; /* the same to other nodes */
	pthread_t janitor;
	struct server_doctor *doctor;
	struct server_node *node;
};

/* The doctor of this server: a thread of its own, which looks at the public URL at the start, every doctor.interval_hours, and when asked. What it finds goes to the store, the
 * metrics and the log, and stops nothing. */
void server_doctor_start(struct server *server);
/* Ends a look that is running, within about a second. */
void server_doctor_stop(struct server *server);
void server_doctor_free(struct server *server); /* once nobody asks any more */
/* Asks for a look, a whole one; its number. Any thread, does not block. */
uint64_t server_doctor_ask(struct server *server);
/* The last report with "run" (its number), "finished", "running"; waits up to WAIT_MS for the first one. transfer full, never NULL. */
json_t *server_doctor_report(struct server *server, unsigned wait_ms);
/* The errors and warnings of the last report, an array, transfer full; as above. */
json_t *server_doctor_findings(struct server *server, unsigned wait_ms);
/* What a watch that pins ANCHORS (X509) would refuse at the public URL; the watch_look_fn of service/watch_enable.h. At most about 12 seconds. */
struct finding_report *server_doctor_watch(struct server *server, const GPtrArray *anchors, char **ret_unreachable);

/* Routes of each listener; handlers get a struct server. */
extern const struct http_route device_routes[], mtls_routes[], plain_routes[], admin_routes[];
struct http_response *device_refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail);
struct http_response *device_admit(void *ctx, const struct http_request *head);
struct http_response *admin_admit(void *ctx, const struct http_request *head);
struct http_response *admin_refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail);
void server_done(void *ctx, const struct http_request *request, int status, int64_t duration_us);

/* Opens the store at URL; waits for a database that is away, at most store.wait_seconds. From then on the log and a metric tell when it goes and comes back. POM_ERR_CANCELED
 * with ended_early when a signal ended the waiting. */
bool server_store_open(struct server *server, const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The thread that asks a shared database, once a second, whether it is there. */
void server_look_start(struct server *server);
void server_look_stop(struct server *server); /* waits for its question */
/* Whether this process can serve now, and will for a while. POM_ERR_STORE_*, POM_ERR_NODE_*, with the reason. */
bool server_is_ready(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The answer to a load balancer that wants to know it otherwise while the node drains (/readyz?draining=404); NULL: it does not, or the node does not. transfer full. */
struct http_response *server_draining_reply(struct server *server, const struct http_request *request);

/* Counts and logs a refusal: one line with enrollment, route and reason id. SUBJECT may be NULL. */
void server_log_refusal(const struct http_request *request, const struct subject *subject, const GError *error);
/* Adds Retry-After where the reason may pass. */
void server_add_retry(struct http_response *response, const struct pom_error_info *info);

/* The settings of proxies, checked. POM_ERR_CONFIG. */
bool server_proxy_load(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void server_proxy_clear(struct server *server);
/* Has LISTENER taken connections of load balancers alone, when proxy.protocol names it. */
void server_proxy_apply(struct server *server, struct http_listener *listener);
/* Whether REASON refuses a connection, before any request: none of these load balancers has passed it on as it should, or there are too many. Then it is counted, and said, with what to
 * set, once a minute at most. Any thread. */
bool server_connection_refused(struct server *server, const struct http_request *head, enum pom_error reason, const char *detail);
/* What REQUEST proves of its sender: the certificate is that of the TLS connection, or what a listed proxy has passed on; from anybody else the header is ignored. *RET borrows from
 * REQUEST; device_proof_clear. POM_ERR_IDENTITY_HEADER, POM_ERR_IDENTITY_SIGNATURE (two headers). */
bool server_proof(struct server *server, const struct http_request *request, struct device_proof *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the settings say about the way to a push certificate, added to RET. POM_ERR_CONFIG. */
bool server_push_settings(const struct settings *settings, struct service_settings *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* TLS: the context for a new connection (new reference). */
SSL_CTX *server_tls_get(void *ctx);
/* The same for server.mtls_listen: it asks for a client certificate and takes any, or none. Whose it is, is decided with each request. */
SSL_CTX *server_mtls_get(void *ctx);
/* The chain that TLS sends now, the server's own certificate first: array of X509, transfer full. */
GPtrArray *server_tls_chain(struct server *server);
/* Makes the context from the files of the settings, or from our own CA, and puts it in place. */
bool server_tls_load(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Lets profiles be signed as the settings say: POM_ERR_CONFIG when the TLS certificate must not. */
bool server_profile_signer_load(struct server *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Says it when a change of our CA has changed the key that signs profiles. */
void server_profile_signer_note(struct server *server);

void server_janitor_start(struct server *server);
void server_janitor_stop(struct server *server);
/* Lets it do at once what it does each minute, on all nodes. Any thread. */
void server_janitor_hurry(struct server *server);
/* Lets it do at once what must be seen soon, on all nodes. Any thread. */
void server_janitor_nudge(struct server *server);
/* Another node has said so. Any thread. */
void server_janitor_told(struct server *server, bool hurry);
