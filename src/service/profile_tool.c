#include "service/profile_tool.h"

#include "service/profile_sign.h"

static int64_t now_s(const struct service *service)
{
	return service_now_ms(service) / 1000;
}

/* Signatures are trusted by every device: who had one made, and over what, stays known. */
static bool audit_signature(struct service *service, const char *actor, GBytes *file, const struct profile_signer *with, GError **error)
{
	uint8_t digest[CERT_DIGEST_LEN];
	g_autofree char *hex = NULL;

	cert_sha256(g_bytes_get_data(file, NULL), g_bytes_get_size(file), digest);
	hex = hex_format(digest, sizeof(digest));
	return store_audit_add(service->store, AUDIT(actor, "profile.sign", hex, audit_detail("signer", with ? with->info->subject : "own", NULL)), error);
}

GBytes *service_profile_tool_sign(struct service *service, const char *actor, GBytes *file, const struct profile_signer *with, bool force, GError **error)
{
	if (!profile_file_check(file, force, now_s(service), error) || (with && !service_profile_signer_check(service, with->cert, error)) || !audit_signature(service, actor, file, with, error))
		return NULL;
	return with ? profile_signer_sign(with, file, now_s(service), error) : service_profile_sign(service, file, error);
}

/* The certificate that the device proves itself with, transfer full. */
static X509 *find_identity(struct service *service, const char *device, GError **error)
{
	g_autoptr(store_load) load = NULL, epoch_load = NULL, cert_load = NULL;
	struct enrollment_row enrollment;
	struct epoch_row epoch;
	struct certificate_row row;

	if (!store_enrollment_get(service->store, device, &enrollment, &load, error))
		return NULL;
	if (enrollment.state != ENROLLMENT_ENROLLED) {
		pom_fail(error, POM_ERR_CONFLICT, "the device %s is not enrolled: it has no identity to encrypt to", device);
		return NULL;
	}
	if (!store_epoch_get(service->store, enrollment.id, enrollment.active_epoch, &epoch, &epoch_load, error))
		return NULL;
	if (!epoch.certificate_serial || !store_certificate_get(service->store, epoch.certificate_serial, &row, &cert_load, error))
		return NULL;
	return cert_parse_der(row.der, row.der_len, error);
}

static X509 *find_recipient(struct service *service, const struct profile_tool_encrypt *wish, GError **error)
{
	g_autoptr(GPtrArray) certs = NULL;
	X509 *cert;

	if (wish->device)
		return find_identity(service, wish->device, error);
	certs = cert_parse_all(g_bytes_get_data(wish->certificate, NULL), g_bytes_get_size(wish->certificate), error);
	if (!certs)
		return NULL;
	cert = certs->pdata[0];
	X509_up_ref(cert);
	return cert;
}

GBytes *service_profile_tool_encrypt(struct service *service, const char *actor, GBytes *file, const struct profile_tool_encrypt *wish, GError **error)
{
	g_autoptr(X509) to = find_recipient(service, wish, error);
	g_autoptr(GBytes) sealed = NULL;

	sealed = to ? profile_file_encrypt(file, to, wish->cipher_nid ? wish->cipher_nid : service_profile_cipher(service), wish->force, now_s(service), service->random, error) : NULL;
	if (!sealed || !wish->sign)
		return g_steal_pointer(&sealed);
	return audit_signature(service, actor, sealed, NULL, error) ? service_profile_sign(service, sealed, error) : NULL;
}

json_t *service_profile_tool_verify(struct service *service, GBytes *file, GPtrArray *given, GPtrArray *system)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set), own = g_ptr_array_new();

	for (guint i = 0; i < anchors->len; i++)
		g_ptr_array_add(own, ((const struct authority *)anchors->pdata[i])->cert);
	return profile_verify(file, &(struct profile_roots){given, own, system}, now_s(service));
}

GPtrArray *service_profile_tool_roots(struct service *service, GPtrArray *system)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set);
	GPtrArray *roots = system ? system : g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	for (guint i = 0; i < anchors->len; i++) {
		X509 *cert = ((const struct authority *)anchors->pdata[i])->cert;

		X509_up_ref(cert);
		g_ptr_array_add(roots, cert);
	}
	return roots;
}
