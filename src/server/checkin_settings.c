#include "server/checkin_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/cert.h"
#include "codec/datetime.h"
#include "core/checkin.h"
#include "service/checkin.h"

enum { FILE_MAX = 1 << 20, DAY_MS = 24 * 3600 * 1000 };

/* The bytes of the file that SETTING names, wiped when freed. SECRET: nobody else may read it. */
static GBytes *read_file(const struct settings *s, enum setting setting, bool secret, GError **error)
{
	const struct setting_row *row = &setting_table[setting];
	const char *path = settings_text(s, setting);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	g_autofree char *data = g_malloc0(FILE_MAX + 1);
	GBytes *bytes = NULL;
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && secret && (fstat(fd, &st) < 0 || (st.st_mode & 077))) {
		close(fd);
		pom_fail(error, POM_ERR_PERMISSION, "%s (%s.%s) can be read by others: chmod 600 it", path, row->section, row->key);
		return NULL;
	}
	if (fd >= 0)
		n = read(fd, data, FILE_MAX + 1);
	if (n < 0)
		pom_fail(error, POM_ERR_IO, "%s (%s.%s) cannot be read: %s", path, row->section, row->key, g_strerror(errno));
	else if (n > FILE_MAX)
		pom_fail(error, POM_ERR_CONFIG, "%s (%s.%s) is larger than %d bytes", path, row->section, row->key, FILE_MAX);
	else
		bytes = secret_bytes_new(data, (size_t)n);
	if (fd >= 0)
		close(fd);
	explicit_bzero(data, FILE_MAX + 1);
	return bytes;
}

static bool load_user(const struct settings *s, struct service_settings *to, GError **error)
{
	const char *choice = settings_text(s, SETTING_CHECKIN_USER);

	to->ask_user = !g_strcmp0(choice, "empty");
	return to->ask_user || !g_strcmp0(choice, "decline") ? true : pom_fail(error, POM_ERR_CONFIG, "checkin.user_authenticate must be decline or empty, not \"%s\"", choice ? choice : "");
}

static bool load_maid(const struct settings *s, struct service_settings *to, GError **error)
{
	const char *uuid = settings_text(s, SETTING_CHECKIN_MAID_UUID);
	g_autoptr(GBytes) file = NULL;

	if (!settings_text(s, SETTING_CHECKIN_MAID_KEY))
		return uuid ? pom_fail(error, POM_ERR_CONFIG, "checkin.maid_server_uuid is set but checkin.maid_key is not") : true;
	if (!uuid)
		return pom_fail(error, POM_ERR_CONFIG, "checkin.maid_key is set but checkin.maid_server_uuid is not");
	file = read_file(s, SETTING_CHECKIN_MAID_KEY, true, error);
	if (!file)
		return false;
	to->maid = maid_new(g_bytes_get_data(file, NULL), g_bytes_get_size(file), uuid, error);
	if (!to->maid)
		g_prefix_error(error, "checkin.maid_key: ");
	return to->maid != NULL;
}

/* A day, which ends it at midnight UTC before it begins, or a second. */
static bool parse_time(const char *text, int64_t *ret_ms)
{
	g_autofree char *whole = strlen(text) == 10 ? g_strconcat(text, "T00:00:00Z", NULL) : g_strdup(text);
	int64_t seconds;

	if (!datetime_parse(whole, strlen(whole), &seconds))
		return false;
	*ret_ms = seconds * 1000;
	return true;
}

static bool load_first_use(const struct settings *s, int64_t now_ms, struct service_settings *to, GError **error)
{
	const char *until = settings_text(s, SETTING_FIRST_USE_UNTIL);
	g_autoptr(GBytes) file = NULL;
	GPtrArray *cas;
	int64_t until_ms;

	if (!until)
		return true;
	if (!parse_time(until, &until_ms))
		return pom_fail(error, POM_ERR_CONFIG, "identity.bind_first_use_until must be a day or a time in UTC, 2026-12-31 or 2026-12-31T12:00:00Z, not \"%s\"", until);
	if (until_ms > now_ms + (int64_t)FIRST_USE_AHEAD_MAX_DAYS * DAY_MS)
		return pom_fail(error, POM_ERR_CONFIG, "identity.bind_first_use_until is more than %d days ahead: whoever has an identity of the other CA can take the place of any device that has not come yet, so make the window as short as the migration needs",
		                FIRST_USE_AHEAD_MAX_DAYS);
	if (!settings_text(s, SETTING_FIRST_USE_CA))
		return pom_fail(error, POM_ERR_CONFIG, "identity.bind_first_use_until is set but identity.first_use_ca is not: it must name the CA that has issued the devices' identities");
	file = read_file(s, SETTING_FIRST_USE_CA, false, error);
	cas = file ? cert_parse_all(g_bytes_get_data(file, NULL), g_bytes_get_size(file), error) : NULL;
	to->first_use = cas ? first_use_settings_new(cas, until_ms, error) : NULL;
	return to->first_use != NULL;
}

static bool check_mdm_url(const struct settings *s, const char *url, GError **error)
{
	g_autofree char *checked = settings_check_url(url, error), *host = NULL, *own = NULL;
	uint16_t port;

	if (!checked) {
		g_prefix_error(error, "enroll.mdm_url: ");
		return false;
	}
	if (strcmp(checked, url))
		return pom_fail(error, POM_ERR_CONFIG, "enroll.mdm_url must be written as %s, not %s", checked, url);
	if (!settings_text(s, SETTING_MTLS_LISTEN) && !settings_text(s, SETTING_PROXY_CERTIFICATE))
		return pom_fail(error, POM_ERR_CONFIG, "enroll.mdm_url is set, but nothing asks devices for their certificates: set server.mtls_listen, or proxy.certificate_header");
	host = settings_url_host(url, &port);
	own = settings_url_host(settings_text(s, SETTING_URL), &port);
	if (!settings_text(s, SETTING_TLS_CERTIFICATE) && !settings_text(s, SETTING_PROXY_CERTIFICATE) && strcmp(host, own))
		return pom_fail(error, POM_ERR_CONFIG, "enroll.mdm_url has the host %s, but the certificate that Pomona makes for TLS is for %s: use the same host with another port, or your own certificate (tls.certificate)", host, own);
	return true;
}

static bool load_mdm_url(const struct settings *s, struct service_settings *to, GError **error)
{
	const char *url = settings_text(s, SETTING_ENROLL_MDM_URL);
	bool by_tls = url && settings_text(s, SETTING_MTLS_LISTEN), by_proxy = settings_text(s, SETTING_PROXY_CERTIFICATE) != NULL;

	to->unsigned_messages = !settings_bool(s, SETTING_ENROLL_SIGN);
	if (to->unsigned_messages && !by_tls && !by_proxy)
		return pom_fail(error, POM_ERR_CONFIG, "enroll.sign_message is false, but devices would have no other way to prove who they are: set server.mtls_listen and enroll.mdm_url, or proxy.certificate_header");
	if (url && !check_mdm_url(s, url, error))
		return false;
	to->mdm_url = g_strdup(url);
	return true;
}

bool checkin_settings_load(const struct settings *s, int64_t now_ms, struct service_settings *to, GError **error)
{
	to->return_to_service = (struct return_settings){
		settings_bool(s, SETTING_RETURN_ENABLED), settings_bool(s, SETTING_RETURN_MDM), settings_bool(s, SETTING_RETURN_TOKEN), g_strdup(settings_text(s, SETTING_RETURN_WIFI)),
	};
	return load_user(s, to, error) && load_maid(s, to, error) && load_first_use(s, now_ms, to, error) && load_mdm_url(s, to, error);
}
