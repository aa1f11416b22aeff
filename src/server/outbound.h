/* The outbound calls of the use cases over libcurl. */
#pragma once

#include "service/outbound.h"

/* Static; never freed. Any thread. */
const struct outbound *server_outbound(void);
