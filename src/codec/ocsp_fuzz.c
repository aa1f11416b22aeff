/* The first byte chooses: a request's DER, or what stands in the path of a GET. */
#include "codec/ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A certificate whose key is one byte that nobody decodes. */
static X509 *responder_cert(void)
{
	static const uint8_t key[] = {0x30, 0x13, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 2, 0, 1};
	g_autoptr(GBytes) spki = g_bytes_new_static(key, sizeof(key)), subject = cert_name_format(NULL, "CN", "x", NULL);
	struct cert_plan plan = {.purpose = CERT_OCSP, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_after = 1};

	return cert_build(&plan, NULL, NULL);
}

/* What was read must be answered. */
static void fuzz_request(const void *data, size_t size)
{
	static X509 *responder;
	static const struct ocsp_answer answers[OCSP_IDS_MAX] = {{OCSP_CERT_UNKNOWN, 0, 0}, {OCSP_CERT_REVOKED, 1, 1}};
	g_autoptr(ocsp_request) request = ocsp_request_parse(data, size, NULL);

	if (!request)
		return;
	g_assert(request->ids->len >= 1 && request->ids->len <= OCSP_IDS_MAX && (!request->nonce || g_bytes_get_size(request->nonce) <= OCSP_NONCE_MAX));
	responder = responder ? responder : responder_cert();
	for (guint i = 0; i < request->ids->len; i++)
		ocsp_id_names(request->ids->pdata[i], responder);
	g_autoptr(GBytes) response = ocsp_response_data_format(responder, request, answers, 1, 2, 3, NULL);

	g_assert(response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] % 2 == 0) {
		fuzz_request(data + 1, size - 1);
	} else {
		g_autoptr(GBytes) request = ocsp_get_parse((const char *)data + 1, size - 1, NULL);

		if (request)
			fuzz_request(g_bytes_get_data(request, NULL), g_bytes_get_size(request));
	}
	return 0;
}
