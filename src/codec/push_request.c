#include "codec/push_request.h"

#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/plist.h"

#define KEY_CSR "PushCertRequestCSR"
#define KEY_CHAIN "PushCertCertificateChain"
#define KEY_SIGNATURE "PushCertSignature"

static char *base64_of(GBytes *bytes)
{
	return g_base64_encode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

GBytes *push_request_format(GBytes *csr, X509 *const *chain, size_t n, GBytes *signature, GError **error)
{
	g_autofree char *csr_text = base64_of(csr), *signature_text = base64_of(signature), *text = NULL;
	g_autoptr(GString) pem = g_string_new(NULL);
	g_autoptr(plist) dict = plist_new_dict();
	g_autoptr(GBytes) xml = NULL;

	if (!n || n > PUSH_REQUEST_CHAIN_MAX) {
		pom_fail(error, POM_ERR_PUSH_DOCUMENT, "the chain of a request must have 1 to %d certificates", PUSH_REQUEST_CHAIN_MAX);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		g_autofree char *one = cert_format_pem(chain[i]);

		g_string_append(pem, one);
	}
	plist_dict_set_string(dict, KEY_CSR, csr_text);
	plist_dict_set_string(dict, KEY_CHAIN, pem->str);
	plist_dict_set_string(dict, KEY_SIGNATURE, signature_text);
	xml = plist_format(dict, error);
	if (!xml)
		return NULL;
	text = base64_of(xml);
	return g_bytes_new(text, strlen(text));
}

void push_request_free(struct push_request *request)
{
	if (!request)
		return;
	g_clear_pointer(&request->csr_der, g_bytes_unref);
	csr_free(request->csr);
	g_clear_pointer(&request->chain, g_ptr_array_unref);
	g_clear_pointer(&request->signature, g_bytes_unref);
	g_free(request);
}

/* The bytes behind KEY, base64; transfer full. */
static GBytes *take_base64(const plist *dict, const char *key, GError **error)
{
	const char *text = plist_get_string(plist_dict_get(dict, key));
	g_autofree uint8_t *bytes = text ? g_malloc(base64_decoded_max(strlen(text))) : NULL;
	size_t len;

	if (text && base64_parse(text, strlen(text), BASE64_SPACE, bytes, &len) && len)
		return g_bytes_new_take(g_steal_pointer(&bytes), len);
	pom_fail(error, POM_ERR_PUSH_DOCUMENT, text ? "%s is not base64" : "%s is missing or is no string", key);
	return NULL;
}

static GPtrArray *take_chain(const plist *dict, GError **error)
{
	const char *text = plist_get_string(plist_dict_get(dict, KEY_CHAIN));
	g_autoptr(GPtrArray) chain = text ? cert_parse_all(text, strlen(text), NULL) : NULL;

	if (chain && chain->len <= PUSH_REQUEST_CHAIN_MAX)
		return g_steal_pointer(&chain);
	pom_fail(error, POM_ERR_PUSH_DOCUMENT, text ? KEY_CHAIN " is not PEM of 1 to %d certificates" : KEY_CHAIN " is missing or is no string", PUSH_REQUEST_CHAIN_MAX);
	return NULL;
}

static bool verify(const struct push_request *request, GError **error)
{
	g_autoptr(EVP_MD_CTX) md = EVP_MD_CTX_new();
	EVP_PKEY *key = X509_get0_pubkey(g_ptr_array_index(request->chain, 0));
	gsize csr_len, signature_len;
	const uint8_t *csr = g_bytes_get_data(request->csr_der, &csr_len), *signature = g_bytes_get_data(request->signature, &signature_len);
	bool ok = key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
	          EVP_DigestVerify(md, signature, signature_len, csr, csr_len) == 1;

	ERR_clear_error();
	return ok || pom_fail(error, POM_ERR_PUSH_DOCUMENT, KEY_SIGNATURE " is no RSA signature with SHA-256 over the request by the first certificate of the chain");
}

static struct push_request *parse_xml(const void *data, size_t len, GError **error)
{
	static const struct plist_limits limits = {2, PUSH_REQUEST_MAX, 8};
	g_autoptr(GError) inner = NULL;
	g_autoptr(plist) dict = plist_parse(data, len, &limits, &inner);
	g_autoptr(push_request) request = g_new0(struct push_request, 1);

	if (!dict || plist_get_type(dict) != PLIST_DICT || plist_count(dict) != 3) {
		pom_fail(error, POM_ERR_PUSH_DOCUMENT, "this is not a property list with the three strings " KEY_CSR ", " KEY_CHAIN " and " KEY_SIGNATURE "%s%s", inner ? ": " : "", inner ? inner->message : "");
		return NULL;
	}
	request->csr_der = take_base64(dict, KEY_CSR, error);
	request->csr = request->csr_der ? csr_parse(g_bytes_get_data(request->csr_der, NULL), g_bytes_get_size(request->csr_der), error) : NULL;
	request->chain = request->csr ? take_chain(dict, error) : NULL;
	request->signature = request->chain ? take_base64(dict, KEY_SIGNATURE, error) : NULL;
	return request->signature && verify(request, error) ? g_steal_pointer(&request) : NULL;
}

struct push_request *push_request_parse(const void *data, size_t len, GError **error)
{
	const char *text = data;
	g_autofree uint8_t *xml = NULL;
	size_t n = 0, spaces = 0;

	if (len > PUSH_REQUEST_MAX) {
		pom_fail(error, POM_ERR_PUSH_DOCUMENT, "the document has %zu bytes, at most %d are accepted", len, PUSH_REQUEST_MAX);
		return NULL;
	}
	while (spaces < len && g_ascii_isspace(text[spaces]))
		spaces++;
	if (spaces < len && text[spaces] == '<')
		return parse_xml(text + spaces, len - spaces, error);
	xml = g_malloc(base64_decoded_max(len));
	if (base64_parse(text, len, BASE64_SPACE, xml, &n))
		return parse_xml(xml, n, error);
	pom_fail(error, POM_ERR_PUSH_DOCUMENT, "the document is neither base64 nor XML");
	return NULL;
}
