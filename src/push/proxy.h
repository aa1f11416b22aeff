/* Which proxy stands between us and APNs. */
#pragma once

#include "push/dial.h"

/* Fills the proxy's fields of CONFIG (strings transfer full), whose host and port are set. SETTING: "http://host:port", "none", or NULL: what the environment says (https_proxy, HTTPS_PROXY, no_proxy,
 * NO_PROXY), which does not count for loopback addresses. PASSWORD_FILE (NULL: none) holds "user:password" in its first line. POM_ERR_CONFIG, which never quotes a URL: it may have a password. */
bool push_proxy_find(const char *setting, const char *password_file, struct dial_config *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void push_proxy_clear(struct dial_config *config);
