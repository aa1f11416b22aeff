/* The simulator's HTTP client: libcurl, one handle for each device, so that a device keeps its connection as real ones do. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "sim/sim_cert.h"

/* Belongs to one thread at a time. */
typedef struct sim_http sim_http;

struct sim_request {
	const char *method, *url;
	const char *content_type;   /* NULL: none */
	const char *user_agent;     /* NULL: MDM/1.0 */
	const char *signature;      /* value of Mdm-Signature; NULL: none */
	GBytes *body;               /* NULL: none */
	bool with_identity;         /* show the device's certificate to a server that asks for one in TLS */
	size_t n_slow_bytes;        /* so many bytes of the body go out one by one, 100 ms apart */
	size_t cut_after;           /* break the connection after so many bytes of the body; 0: never */
};

struct sim_reply {
	int status;
	char *content_type; /* NULL: none */
	GBytes *body;       /* never NULL after success */
};
void sim_reply_clear(struct sim_reply *reply);
typedef struct sim_reply sim_reply;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(sim_reply, sim_reply_clear)

/* STOP (may be NULL) is looked at while a request runs. Without sim_http_trust the system's roots are trusted. transfer full. */
sim_http *sim_http_new(const int *stop);
void sim_http_free(sim_http *http);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_http, sim_http_free)

/* Trusts the PEM roots besides the system's; replaces an earlier call's. */
void sim_http_trust(sim_http *http, const char *pem);

/* The identity for TLS. */
void sim_http_set_identity(sim_http *http, EVP_PKEY *key, X509 *cert);

/* Sends and waits, at most a minute. Any status is a success; *RET is cleared first. POM_ERR_UNREACHABLE. */
bool sim_http_send(sim_http *http, const struct sim_request *request, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Waits, and looks at STOP at least every 200 ms; false when it is time to end. */
bool sim_sleep_ms(const int *stop, unsigned ms);
bool sim_stopped(const int *stop);
