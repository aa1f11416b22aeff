/* The first byte chooses: request, reply or the message of a GET. */
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

	g_assert(set && request->signer && request->signer_der && *request->transaction_id);
	g_assert((request->fail_info == SCEP_FAIL_INFO_NONE) == (request->enveloped != NULL) && (request->enveloped != NULL) == !request->refusal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] % 3 == 0) {
		fuzz_request(data + 1, size - 1);
	} else if (data[0] % 3 == 1) {
		scep_reply_free(scep_reply_parse(data + 1, size - 1, NULL));
	} else {
		GBytes *bytes = scep_get_message_parse((const char *)data + 1, size - 1, NULL);

		g_clear_pointer(&bytes, g_bytes_unref);
	}
	return 0;
}
