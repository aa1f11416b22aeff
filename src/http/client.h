/* Outbound HTTP over libcurl: for the command line (unix socket) and other simple calls. Blocking. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct http_client_call {
	const char *method;            /* "GET" */
	const char *url;               /* https://…, http://… (or http://unix/… with unix_path) */
	const char *unix_path;         /* NULL: by network */
	const char *const *headers;    /* "Name: value", NULL-terminated; may be NULL */
	const void *body;
	size_t body_len;
	const char *ca_file;           /* trust only these roots; NULL: the system's */
	unsigned timeout_ms;           /* whole call; 0: 60 s */
	size_t response_max;           /* bytes; 0: 64 MiB */
	bool follow_redirects;
	/* For looking at a server rather than talking with it, past any proxy: connect to this address ("192.0.2.1:443", "[2001:db8::1]:443") whatever the name says; and take any certificate,
	 * old ones too, because somebody else judges it. Nothing that must stay secret may be sent then. */
	const char *connect_to;
	bool any_certificate;
	const int *stop;               /* looked at about once a second: when it is no longer 0, the call ends. NULL: none */
	/* For a server that asks for HTTP authentication: Basic (over https only, for it shows the password) or NTLM ("DOMAIN\\user").
	 * NULL: none. Both are needed; the caller wipes them. */
	const char *user, *password;
};
struct http_client_reply {
	int status;
	GBytes *body;
	char *content_type; /* NULL when absent */
	char *location;     /* of a redirect that was not followed, as absolute URL; NULL: none */
	int64_t date_s;     /* Date, Unix seconds; 0: absent or unreadable */
};
/* Makes the call. POM_ERR_UNREACHABLE with the reason in plain words (name, port, certificate), POM_ERR_TOO_LARGE; texts name the URL
 * without its query. A URL with a user name in it is refused. Any thread. */
bool http_client_run(const struct http_client_call *call, struct http_client_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void http_client_reply_clear(struct http_client_reply *reply);
