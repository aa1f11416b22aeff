/* Devices that another server has enrolled: for a time they are taken up by the certificate that they have. */
#include <string.h>

#include "base/log.h"
#include "service/ca_internal.h"
#include "service/checkin.h"

enum { LIST_MAX = 1000 };

struct first_use_settings {
	GPtrArray *cas; /* X509 */
	int64_t until_ms;
};

struct first_use_settings *first_use_settings_new(GPtrArray *cas, int64_t until_ms, GError **error)
{
	struct first_use_settings *settings = g_new0(struct first_use_settings, 1);

	*settings = (struct first_use_settings){cas, until_ms};
	for (guint i = 0; i < cas->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(g_ptr_array_index(cas, i), error);

		if (info && info->is_ca)
			continue;
		if (info)
			pom_fail(error, POM_ERR_CONFIG, "identity.first_use_ca: \"%.200s\" is no CA: list the certificates of the CA that has issued the devices' identities", info->subject);
		first_use_settings_free(settings);
		return NULL;
	}
	return settings;
}

void first_use_settings_free(struct first_use_settings *settings)
{
	if (!settings)
		return;
	g_ptr_array_unref(settings->cas);
	g_free(settings);
}

/* The listed CA that has issued CERT itself; borrowed. */
static X509 *find_ca(const struct first_use_settings *settings, X509 *cert)
{
	for (guint i = 0; settings && i < settings->cas->len; i++)
		if (cert_is_issued_by(cert, g_ptr_array_index(settings->cas, i)))
			return g_ptr_array_index(settings->cas, i);
	return NULL;
}

bool service_first_use_trusts(struct service *service, X509 *cert, const uint8_t sha256[32], bool *ret, GError **error)
{
	const struct first_use_settings *settings = service->settings.first_use;

	/* Once bound it is as good as one of our own, whatever the settings are by then. */
	if (!store_first_use_known(service->store, sha256, ret, error))
		return false;
	if (*ret || !find_ca(settings, cert))
		return true;
	if (service_now_ms(service) >= settings->until_ms)
		return pom_fail(error, POM_ERR_FIRST_USE_CLOSED, "the certificate is of a CA in identity.first_use_ca, but identity.bind_first_use_until is over: the device needs an enrollment link");
	*ret = true;
	return true;
}

static bool bind(struct service *service, const struct cert_info *info, GBytes *der, const struct checkin_message *message, const struct checkin_identity *who, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *hash = hex_format(info->sha256, 16), *serial = g_strconcat("first-use:", hash, NULL);
	int64_t now_ms = service_now_ms(service);
	struct certificate_import import = {
		.serial = serial, .generation_id = "first-use", .subject = info->subject, .der = der, .not_before_ms = info->not_before * 1000, .not_after_ms = info->not_after * 1000, .issued_ms = now_ms,
	};
	const char *with = message ? checkin_type_name(message->type) : "command report";
	const struct first_use_new new = {.enrollment_id = id.text, .who = who, .topic = message ? message->topic : NULL, .message = with, .certificate = &import, .issuer = info->issuer, .issuer_serial = info->serial, .now_ms = now_ms};

	memcpy(import.spki_sha256, info->spki_sha256, sizeof(import.spki_sha256));
	memcpy(import.sha256, info->sha256, sizeof(import.sha256));
	if (!store_first_use_bind(service->store, &new, AUDIT("device", "first-use.bind", id.text, audit_detail("device", who->device_id, "certificate", serial, "subject", info->subject, "issuer", info->issuer, "message", with, NULL)), error))
		return false;
	pom_log(POM_LOG_NOTICE, "a device of another server was taken up", "enrollment", id.text, "device", who->device_id, "issuer", info->issuer, "message", with, NULL);
	return true;
}

bool service_first_use_bind(struct service *service, GBytes *der, const struct checkin_message *message, const struct checkin_identity *who, const struct checkin_facts *facts, bool *ret_bound, GError **error)
{
	const struct first_use_settings *settings = service->settings.first_use;
	g_autoptr(X509) cert = NULL;
	g_autoptr(cert_info) info = NULL;
	GError *inner = NULL;

	*ret_bound = false;
	if (!settings || facts->certificate.known)
		return true;
	cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);
	if (!cert)
		return false;
	/* One of our own CA that is not in the register is refused as such. */
	if (!find_ca(settings, cert))
		return true;
	info = cert_info_new(cert, error);
	if (!info || !checkin_check_first_use(message, who, &(struct first_use){settings->until_ms, info->not_before * 1000, info->not_after * 1000}, facts, service_now_ms(service), error))
		return false;
	*ret_bound = bind(service, info, der, message, who, &inner);
	/* Another message of the same device was first: the facts say who it is now. */
	if (!*ret_bound && g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		*ret_bound = true;
	}
	if (inner)
		g_propagate_error(error, inner);
	return *ret_bound;
}

static json_t *row_json(struct service *service, const struct first_use_row *row)
{
	bool moved = g_strcmp0(row->provenance, FIRST_USE) != 0;
	json_t *o = json_object();

	json_set_text(o, "enrollment_id", row->enrollment_id);
	json_set_text(o, "udid", row->device_id);
	json_object_set_new(o, "appeared_at", json_time(row->at_ms));
	json_set_text(o, "message", row->message);
	json_set_text(o, "state", moved ? "enrolled again with a link" : enrollment_state_name((enum enrollment_state)row->state));
	json_object_set_new(o, "has_push_token", json_boolean(row->has_token));
	json_set_text(o, "certificate_serial", row->certificate_serial);
	json_set_text(o, "subject", row->subject);
	json_set_text(o, "issuer", row->issuer);
	json_set_text(o, "issuer_serial", row->issuer_serial);
	/* No profile of ours is on the device by which it could be renewed. */
	json_object_set_new(o, "not_after", json_time(row->not_after_ms));
	return o;
}

json_t *service_first_use_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	const struct first_use_settings *settings = service->settings.first_use;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	json_t *items, *page;
	const char *last = NULL;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_first_use_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct first_use_row *row = &g_array_index(rows, struct first_use_row, i);

		json_array_append_new(items, row_json(service, row));
		last = row->enrollment_id;
	}
	page = json_page(items, last, limit);
	json_object_set_new(page, "until", json_time(settings ? settings->until_ms : 0));
	json_object_set_new(page, "open", json_boolean(settings && service_now_ms(service) < settings->until_ms));
	return page;
}
