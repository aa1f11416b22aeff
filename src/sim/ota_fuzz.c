/* What a simulated device reads when it enrolls over the air or is sent a profile: the first byte chooses the reader. */
#include <string.h>

#include "sim/device_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One that OpenSSL can try to decrypt with. */
static const GPtrArray *identities(void)
{
	static GPtrArray *list;

	if (!list) {
		g_autoptr(EVP_PKEY) key = sim_key_new();
		g_autoptr(X509) cert = sim_cert_new(key, "device", NULL, NULL, NULL, NULL, 10);

		list = sim_identities_new();
		g_ptr_array_add(list, sim_identity_new(key, cert));
	}
	return list;
}

static void fuzz_profile(GBytes *body)
{
	g_autoptr(sim_profile) enrollment = sim_profile_parse(body, NULL, identities(), NULL);
	g_autoptr(sim_mobileconfig) profile = sim_mobileconfig_parse(body, identities(), NULL);

	g_assert(profile || !enrollment);
	g_assert(!profile || sim_mobileconfig_identifier(profile));
}

static void fuzz_service(GBytes *body)
{
	g_autoptr(sim_certs) certs = NULL;
	g_autoptr(plist) tree = sim_mobileconfig_unwrap(body, &certs, NULL);
	g_autoptr(ota_service) service = tree ? ota_service_parse(tree, NULL) : NULL;

	g_assert(!tree || certs);
	g_assert(!service || g_str_has_prefix(service->url, "https://"));
}

static void fuzz_identity(GBytes *body)
{
	g_auto(sim_identity_payload) payload = {0};

	if (ota_identity_parse(body, &payload, NULL) && payload.pkcs12)
		sim_identity_free(sim_identity_payload_open(&payload, NULL));
}

static void fuzz_watch(GBytes *body)
{
	g_auto(sim_reply) reply = {.status = 403, .content_type = g_strdup("application/json"), .body = g_bytes_ref(body)};
	g_autofree char *text = watch_read_security_token(&reply, NULL);
	g_autoptr(GBytes) token = watch_read_token(&reply, NULL);

	g_assert(!text || *text);
	g_assert(!text || !token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(GBytes *) = {fuzz_profile, fuzz_service, fuzz_identity, fuzz_watch};
	g_autoptr(GBytes) body = size ? g_bytes_new(data + 1, size - 1) : NULL;

	if (body)
		readers[data[0] % G_N_ELEMENTS(readers)](body);
	return 0;
}
