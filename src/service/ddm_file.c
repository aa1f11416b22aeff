/* What declarations bring along: data of assets and profiles of the library, at addresses that are good for one enrollment alone.
 *
 * A signature over empty content can be replayed for ever, so the address itself must not be guessed: it ends in a MAC over enrollment, epoch and declaration. */
#include <openssl/crypto.h>
#include <string.h>

#include "service/ddm_internal.h"
#include "service/library_device.h"
#include "service/shared.h"

enum { MAC_LEN = 32 };

static char *hex(const uint8_t *bytes, size_t n)
{
	GString *text = g_string_sized_new(n * 2);

	for (size_t i = 0; i < n; i++)
		g_string_append_printf(text, "%02x", bytes[i]);
	return g_string_free(text, FALSE);
}

/* "" for what is no hex of an identifier. */
static char *unhex(const char *text)
{
	size_t len = strlen(text);
	GString *out = g_string_new(NULL);

	for (size_t i = 0; len % 2 == 0 && len <= 2 * DECLARATION_ID_MAX && i < len; i += 2) {
		int high = g_ascii_xdigit_value(text[i]), low = g_ascii_xdigit_value(text[i + 1]);

		if (high < 0 || low < 0 || !(high || low)) {
			g_string_truncate(out, 0);
			break;
		}
		g_string_append_c(out, (char)(high << 4 | low));
	}
	return g_string_free(out, FALSE);
}

static char *make_mac(struct service *service, const char *enrollment_id, int64_t epoch, const char *identifier)
{
	g_autofree char *text = g_strdup_printf("%s\n%" G_GINT64_FORMAT "\n%s", enrollment_id, epoch, identifier);
	uint8_t key[32], mac[MAC_LEN];

	seal_derive(&service->seal, "address of what a declaration brings", key);
	hmac_sha256(key, sizeof(key), text, strlen(text), mac);
	explicit_bzero(key, sizeof(key));
	return hex(mac, sizeof(mac));
}

char *ddm_file_url(struct service *service, const char *enrollment_id, int64_t epoch, const char *identifier)
{
	g_autofree char *mac = make_mac(service, enrollment_id, epoch, identifier), *name = hex((const uint8_t *)identifier, strlen(identifier));

	return g_strdup_printf("%s/ddm/%s/%s/%s", service->settings.url, enrollment_id, name, mac);
}

/* The epoch for which the sender of the proof speaks for this enrollment, or its user channel. */
static bool check_sender(struct service *service, const struct device_proof *proof, const char *enrollment_id, struct subject *subject, int64_t *ret_epoch, GError **error)
{
	g_autoptr(GBytes) empty = g_bytes_new(NULL, 0);
	g_autoptr(store_load) load = NULL, parent_load = NULL;
	struct enrollment_row row, device;
	struct checkin_load facts = {0};
	uint8_t sha256[32];
	GError *inner = NULL;
	bool ok;

	if (!service_shared_look(service, error) || !service_prove(service, proof, empty, sha256, error))
		return false;
	if (!store_enrollment_get(service->store, enrollment_id, &row, &load, &inner)) {
		if (g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
			g_clear_error(&inner);
			return pom_fail(error, POM_ERR_DDM_LINK, "no enrollment has this address");
		}
		g_propagate_error(error, inner);
		return false;
	}
	device = row;
	if (row.parent_id && !store_enrollment_get(service->store, row.parent_id, &device, &parent_load, error))
		return false;
	g_strlcpy(subject->enrollment, row.id, sizeof(subject->enrollment));
	g_strlcpy(subject->device, device.device_id, sizeof(subject->device));
	const struct checkin_identity who = {.device_id = device.device_id, .user_part = ""};
	if (!store_checkin_load(service->store, sha256, &who, false, &facts, error))
		return false;
	facts.facts.certificate.grace_ms = service->settings.expired_grace_s * 1000;
	ok = checkin_check_blocked(&facts.facts, error) && checkin_check_identity(&facts.facts.certificate, &facts.facts.device, service_now_ms(service), ret_epoch, error) &&
	     ((row.active_epoch == *ret_epoch && row.active_epoch) || pom_fail(error, POM_ERR_DDM_LINK, "the enrollment is not live"));
	checkin_load_clear(&facts);
	return ok;
}

static const char *type_of_data(const struct ddm_opened *o)
{
	const char *told = json_string_value(json_object_get(json_object_get(o->declaration.payload, "Reference"), "ContentType"));

	return told ? told : "application/octet-stream";
}

static GBytes *read_file(struct service *service, const char *enrollment_id, const struct ddm_opened *o, char **ret_type, GError **error)
{
	const char *profile = declaration_profile(&o->declaration);

	if (profile) {
		*ret_type = g_strdup("application/x-apple-aspen-config");
		return service_library_payload(service, enrollment_id, profile, true, error);
	}
	*ret_type = g_strdup(type_of_data(o));
	if (!o->row.data_sealed) {
		pom_fail(error, POM_ERR_DDM_LINK, "declaration \"%s\" has no data here", o->declaration.identifier);
		return NULL;
	}
	return seal_open(&service->seal, "declaration", o->declaration.identifier, "data", o->row.data_sealed, error);
}

GBytes *service_ddm_file(struct service *service, const struct device_proof *proof, const char *enrollment_id, const char *name, const char *mac, struct subject *subject, char **ret_type, GError **error)
{
	g_autofree char *identifier = unhex(name), *wanted = NULL, *listed = NULL;
	struct ddm_listed list = {0};
	struct ddm_opened o;
	GBytes *file = NULL;
	int64_t epoch;

	g_strlcpy(subject->detail, identifier, sizeof(subject->detail));
	if (!check_sender(service, proof, enrollment_id, subject, &epoch, error))
		return NULL;
	wanted = make_mac(service, enrollment_id, epoch, identifier);
	if (strlen(mac) != strlen(wanted) || CRYPTO_memcmp(mac, wanted, strlen(wanted))) {
		pom_fail(error, POM_ERR_DDM_LINK, "the address was not made for this enrollment");
		return NULL;
	}
	if (!store_ddm_listed(service->store, enrollment_id, epoch, &list, error))
		return NULL;
	listed = list.items ? ddm_manifest_find(list.items, identifier) : NULL;
	ddm_listed_clear(&list);
	if (!listed) {
		pom_fail(error, POM_ERR_DDM_LINK, "declaration \"%s\" is not among those of this enrollment", identifier);
		return NULL;
	}
	if (!ddm_open(service, identifier, &o, error))
		return NULL;
	file = read_file(service, enrollment_id, &o, ret_type, error);
	ddm_opened_clear(&o);
	return file;
}
