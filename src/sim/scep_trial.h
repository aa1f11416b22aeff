/* One certificate asked for as a device of some form asks for it, to see whether the server gives it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct sim_trial {
	const char *url, *challenge;
	const char *form;    /* a name of sim_scep_forms */
	const char *roots;   /* PEM, trusted besides the system's; NULL: none */
};
/* Makes a key and asks. *RET_SERIAL (upper-case hex, transfer full) and *RET_NOT_BEFORE (Unix seconds) of the certificate. POM_ERR_UNREACHABLE: TLS or the network stand in the way;
 * POM_ERR_SCEP_MESSAGE: the answer is none that a device takes, and the text begins with the code that it would show; POM_ERR_CONFLICT: the request waits for approval. Blocks. */
bool sim_scep_trial(const struct sim_trial *trial, char **ret_serial, int64_t *ret_not_before, GError **error) G_GNUC_WARN_UNUSED_RESULT;
