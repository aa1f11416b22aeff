/* Outbound HTTP as a face: the use cases say what they ask of whom, the server has the sockets, and a test plays the other side. */
#pragma once

#include "base/error.h"

struct outbound_request {
	const char *method;         /* "GET", "POST" */
	const char *url;            /* as outbound_check_url accepts */
	const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
	GBytes *body;               /* NULL: none */
	const char *ca_file;        /* PEM file: trust only these roots; NULL: the system's */
	const char *user;           /* for HTTP Basic (over https only) or NTLM ("DOMAIN\user"), whichever is asked for; NULL: none */
	const char *password;
	unsigned timeout_ms;        /* of the whole call, > 0 */
	size_t response_max;        /* bytes, > 0 */
};
struct outbound_reply {
	int status;
	GBytes *body;
	char *content_type; /* NULL when absent */
};
void outbound_reply_clear(struct outbound_reply *reply);
typedef struct outbound_reply outbound_reply;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(outbound_reply, outbound_reply_clear)

struct outbound {
	/* Makes the call, without following redirects; blocks for up to timeout_ms. Any HTTP status is a reply. POM_ERR_UNREACHABLE with the
	 * reason for people, POM_ERR_TOO_LARGE; the texts name the URL without its query, and no secret. Any thread. */
	bool (*call)(void *ctx, const struct outbound_request *request, struct outbound_reply *ret, GError **error);
	void *ctx;
};

/* Whether URL can be called: http or https, a host, no user name, no fragment. Unless ALLOW_PLAIN, http is only for this machine
 * (localhost, 127.0.0.0/8, ::1), where nobody stands between. POM_ERR_CONFIG. */
bool outbound_check_url(const char *url, bool allow_plain, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether nobody between us and URL can read or change what is said: https, or http on this machine. */
bool outbound_is_private(const char *url);
