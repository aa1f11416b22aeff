/* Who signs what we serve to devices. */
#include "service/profile_sign.h"

int service_profile_cipher(const struct service *service)
{
	/* A service that was made without settings (tests) encrypts with the standard. */
	return service->settings.profile_cipher ? service->settings.profile_cipher : NID_aes_256_cbc;
}

GBytes *service_profile_sign(struct service *service, GBytes *profile, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct authority *signer = set->profile_signer;
	const struct generation *g = ca_set_issuer_of(set, signer->cert);
	GBytes *const chain[] = {signer->der, g ? g->issuing->der : NULL};
	gsize len;
	const void *data = g_bytes_get_data(profile, &len);

	return cms_make_signed(signer->signer, signer->cert, data, len, true, NID_sha256, service_now_ms(service) / 1000, NULL, 0, chain, g ? 2 : 1, error);
}
