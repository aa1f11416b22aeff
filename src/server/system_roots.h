/* The roots that this system trusts. */
#pragma once

#include <glib.h>

/* Those of SSL_CERT_FILE (environment), else of Debian's ca-certificates; array of X509, transfer full, empty when there are none. Certificates that cannot be read
 * are passed over. Reads the file each time. */
GPtrArray *system_roots_load(void);
