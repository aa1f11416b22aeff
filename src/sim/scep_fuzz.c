/* What a SCEP server may say: the first byte chooses GetCACert as one certificate or as a chain, GetNextCACert, or a reply. */
#include "sim/scep_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_ca(const char *type, GBytes *body)
{
	struct sim_scep_ca ca = {0};

	if (sim_scep_ca_parse(type, body, NULL, &ca, NULL))
		g_assert(ca.recipient && ca.signer && ca.root && sk_X509_num(ca.all) > 0);
	sim_scep_ca_clear(&ca);
}

/* Made once: what is fuzzed is the parsing before anything is decrypted. */
static sim_scep *transaction(struct sim_scep_ca *ret)
{
	static sim_scep *scep;
	static struct sim_scep_ca ca;

	if (!scep) {
		EVP_PKEY *key = sim_key_new();

		scep = sim_scep_new(&(struct sim_scep_choice){0}, key, "", NULL);
		g_assert(scep);
		ca.all = sk_X509_new_null();
		sk_X509_push(ca.all, sim_cert_new_signer(key, "CA", NULL, true));
		ca.recipient = ca.signer = ca.root = sk_X509_value(ca.all, 0);
		EVP_PKEY_free(key);
	}
	*ret = ca;
	return scep;
}

static void fuzz_with_ca(bool next, GBytes *body)
{
	struct sim_scep_ca ca, got = {0};
	const struct sim_scep_question question = {.type = SIM_SCEP_PKCS_REQ};
	struct sim_scep_outcome outcome = {0};
	const sim_scep *scep = transaction(&ca);

	if (next ? sim_scep_next_ca_parse("application/x-x509-next-ca-cert", body, &ca, &got, NULL) : sim_scep_open(scep, &question, &ca, body, &outcome, NULL))
		g_assert_not_reached(); /* nobody has signed it with this key */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) body = size ? g_bytes_new(data + 1, size - 1) : NULL;

	if (!body)
		return 0;
	if (data[0] % 4 < 2)
		fuzz_ca(data[0] % 4 ? "application/x-x509-ca-ra-cert" : "application/x-x509-ca-cert", body);
	else
		fuzz_with_ca(data[0] % 4 == 2, body);
	return 0;
}
