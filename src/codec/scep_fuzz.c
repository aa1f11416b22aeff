/* The first byte chooses: request, reply, the message of a GET, what is inside other messages, capabilities, CA certificates. */
#include <string.h>

#include "codec/scep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_request(const uint8_t *data, size_t size)
{
	static const uint8_t nonce[16] = {1};
	g_autoptr(scep_request) request = scep_request_parse(data, size, NULL);

	if (!request)
		return;
	g_autoptr(GPtrArray) attributes = scep_reply_attributes(request, SCEP_FAILURE, request->fail_info, "text", nonce);
	g_autoptr(GBytes) set = cms_signed_attrs_format(NULL, 0, false, NID_sha256, 0, (GBytes *const *)attributes->pdata, attributes->len);

	g_autoptr(X509) signer = scep_request_signer(request);
	/* The slow reader's word on a message that the fast one may have read. */
	g_autoptr(cms_signed) slow = cms_signed_parse(data, size, NULL, 0, SCEP_MESSAGE_MAX, NULL);

	g_assert(slow || request->fail_info != SCEP_FAIL_INFO_NONE);
	g_assert(!slow || (request->fail_info != SCEP_BAD_MESSAGE_CHECK && g_bytes_equal(slow->signer_der, request->signer_der)));

	g_assert(set && signer && request->signer_der && *request->transaction_id);
	g_assert((request->fail_info == SCEP_FAIL_INFO_NONE) == (request->enveloped != NULL) && (request->enveloped != NULL) == !request->refusal);
}

/* What was read must be written as it was, but for the zeros of a serial number. */
static void fuzz_inner(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) issuer = NULL, other_issuer = NULL, subject = NULL;
	g_autofree char *serial = NULL;

	if (scep_issuer_and_subject_parse(data, size, &issuer, &subject, NULL)) {
		g_autoptr(GBytes) again = scep_issuer_and_subject_format(issuer, subject);

		g_assert(again && g_bytes_get_size(again) <= size);
	}
	if (scep_issuer_and_serial_parse(data, size, &other_issuer, &serial, NULL)) {
		g_autoptr(GBytes) again = scep_issuer_and_serial_format(other_issuer, serial, NULL);

		g_assert(again || *serial == '-' || strlen(serial) > 2 * CERT_SERIAL_MAX);
	}
}

static void fuzz_caps(const uint8_t *data, size_t size)
{
	struct scep_caps caps = scep_caps_parse((const char *)data, size);

	g_assert(!caps.standard || caps.aes);
}

static void fuzz_ca_certs(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"application/x-x509-ca-cert", "application/x-x509-ca-ra-cert"};

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		g_autoptr(GPtrArray) certs = scep_ca_certs_parse(types[i], data, size, NULL);

		g_assert(!certs || certs->len > 0);
	}
}

static void fuzz_get(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = scep_get_message_parse((const char *)data, size, NULL);

	g_assert(!bytes || g_bytes_get_size(bytes) <= SCEP_MESSAGE_MAX);
}

static void fuzz_reply(const uint8_t *data, size_t size)
{
	scep_reply_free(scep_reply_parse(data, size, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *data, size_t size) = {fuzz_request, fuzz_reply, fuzz_get, fuzz_inner, fuzz_caps, fuzz_ca_certs};

	if (size > 0)
		targets[data[0] % G_N_ELEMENTS(targets)](data + 1, size - 1);
	return 0;
}
