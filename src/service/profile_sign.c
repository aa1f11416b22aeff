#include "service/profile_sign.h"

#include <string.h>

#include "base/log.h"

/* Where the store remembers whose signatures devices have seen: SHA-256 of the SubjectPublicKeyInfo, hex. */
#define SETTING_SPKI "profile_signer_spki"

int service_profile_cipher(const struct service *service)
{
	/* A service that was made without settings (tests) encrypts with the standard. */
	return service->settings.profile_cipher ? service->settings.profile_cipher : NID_aes_256_cbc;
}

struct profile_signer *service_profile_signer(struct service *service)
{
	struct profile_signer *signer;

	pthread_mutex_lock(&service->signer_lock);
	signer = service->profile_signer ? profile_signer_ref(service->profile_signer) : NULL;
	pthread_mutex_unlock(&service->signer_lock);
	return signer;
}

static GBytes *sign_own(struct service *service, GBytes *profile, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct authority *signer = set->profile_signer;
	const struct generation *g = ca_set_issuer_of(set, signer->cert);
	GBytes *const chain[] = {signer->der, g ? g->issuing->der : NULL};
	gsize len;
	const void *data = g_bytes_get_data(profile, &len);

	return cms_make_signed(signer->signer, signer->cert, data, len, true, NID_sha256, service_now_ms(service) / 1000, NULL, 0, chain, g ? 2 : 1, error);
}

GBytes *service_profile_sign(struct service *service, GBytes *profile, GError **error)
{
	g_autoptr(profile_signer) set = service_profile_signer(service);

	return set ? profile_signer_sign(set, profile, service_now_ms(service) / 1000, error) : sign_own(service, profile, error);
}

bool service_profile_signer_check(struct service *service, X509 *cert, GError **error)
{
	g_autoptr(cert_info) info = cert_info_new(cert, error);
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;
	bool found = false;

	if (!info || !store_certificate_by_sha256(service->store, info->sha256, &row, &found, &load, error))
		return false;
	return !found || pom_fail(error, POM_ERR_PROFILE_SIGNER, "the certificate \"%s\" (serial number %s) is the identity of a device, issued by this server: it must not sign profiles", info->subject, info->serial);
}

/* Says it when devices will see another signer than before, and remembers this one. */
static bool note_key(struct service *service, const struct cert_info *info, GError **error)
{
	g_autofree char *spki = hex_format(info->spki_sha256, sizeof(info->spki_sha256)), *known = NULL;

	if (!store_setting_get(service->store, SETTING_SPKI, &known, error))
		return false;
	if (!g_strcmp0(known, spki))
		return true;
	if (!store_setting_put(service->store, SETTING_SPKI, spki, error))
		return false;
	if (!known)
		return true;
	pom_log(POM_LOG_WARNING, "profiles are signed with another key than before: devices may refuse updates of installed profiles (MCInstallationErrorDomain 4008, mismatched certificates), and must enroll again then",
	        "signer", info->subject, "key_before", known, "key_now", spki, NULL);
	return store_audit_add(service->store, AUDIT("server", "profile.signer", info->subject, audit_detail("key_before", known, "key_now", spki, NULL)), error);
}

bool service_profile_signer_set(struct service *service, struct profile_signer *signer, GError **error)
{
	g_autoptr(profile_signer) wanted = signer;
	g_autoptr(ca_set) set = service_ca_set(service);
	struct profile_signer *before;

	if ((wanted && !service_profile_signer_check(service, wanted->cert, error)) || !note_key(service, wanted ? wanted->info : set->profile_signer->info, error))
		return false;
	pthread_mutex_lock(&service->signer_lock);
	before = service->profile_signer;
	service->profile_signer = g_steal_pointer(&wanted);
	pthread_mutex_unlock(&service->signer_lock);
	profile_signer_unref(before);
	return true;
}
