/* A TCP connection to APNs: the name is looked up, all its addresses are tried (RFC 8305: the next one after a quarter of a second, whichever is first wins), and a proxy
 * is asked for a tunnel. Does not block: names are looked up by a thread of their own. One thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct dial_config {
	char *host, *port;
	char *proxy_host, *proxy_port;  /* NULL: none */
	char *proxy_authorization;      /* value of Proxy-Authorization; a secret; NULL: none */
	int wake_fd;                    /* an eventfd that is written to when a name has been looked up */
};

struct dial;

/* Begins. CONFIG must stay until dial_free. FIRST: which of the addresses is tried first (any number: it is taken modulo how many there are), so that one that connects but does not
 * work is not taken for ever. */
struct dial *dial_new(const struct dial_config *config, unsigned first, int64_t now_ms);
void dial_free(struct dial *dial); /* NULL is fine */
/* Does what can be done: the connected socket, non-blocking and the caller's; -1 without ERROR: later; -1 with ERROR: POM_ERR_PUSH_NAME, POM_ERR_PUSH_CONNECT, POM_ERR_PUSH_PROXY. */
int dial_run(struct dial *dial, int64_t now_ms, GError **error);
/* Adds what to poll for to FDS (struct pollfd), and lowers *UNTIL_MS to when to run again at the latest. */
void dial_poll(const struct dial *dial, GArray *fds, int64_t *until_ms);
