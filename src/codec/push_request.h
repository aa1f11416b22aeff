/* The document that Apple's push certificate portal takes: an XML property list with a customer's request, the vendor's certificate chain and the
 * vendor's signature over the request, base64 as a whole. */
#pragma once

#include "codec/cert.h"

enum { PUSH_REQUEST_MAX = 128 * 1024, PUSH_REQUEST_CHAIN_MAX = 8 };

/* The request CSR (DER of PKCS#10), the N certificates of CHAIN (the vendor's first, then those above it, the root included), and SIGNATURE (RSA PKCS#1
 * v1.5 with SHA-256 over CSR by the vendor's key) → base64 text in one line without a newline, transfer full. The strings in it: base64 of CSR and
 * of SIGNATURE; PEM of the chain with lines of exactly 64 characters. POM_ERR_PUSH_DOCUMENT. */
GBytes *push_request_format(GBytes *csr, X509 *const *chain, size_t n, GBytes *signature, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct push_request {
	GBytes *csr_der;
	struct csr *csr;
	GPtrArray *chain;  /* X509, in the order of the document; at least one */
	GBytes *signature;
};
/* Such a document, as base64 or as the XML in it → checked struct, transfer full: three strings and nothing else, the request signed with its own key,
 * the signature made by the first certificate's key. Whether the chain leads anywhere is not looked at. At most PUSH_REQUEST_MAX bytes and
 * PUSH_REQUEST_CHAIN_MAX certificates. POM_ERR_PUSH_DOCUMENT and errors of csr_parse. Pure. */
struct push_request *push_request_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void push_request_free(struct push_request *request);
typedef struct push_request push_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(push_request, push_request_free)
