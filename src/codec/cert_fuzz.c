/* Certificates (DER and PEM), requests, and subjects as text. */
#include "codec/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_cert(X509 *cert)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);
	g_autoptr(GBytes) der = cert_format_der(cert);
	g_autofree char *uid = cert_subject_uid(cert), *cn = cert_subject_cn(cert), *pem = cert_format_pem(cert);

	g_assert(der && pem && (!uid || g_utf8_validate(uid, -1, NULL)) && (!cn || g_utf8_validate(cn, -1, NULL)));
	g_assert(!info || (g_utf8_validate(info->subject, -1, NULL) && g_utf8_validate(info->issuer, -1, NULL)));
	g_assert(!info || (info->subject_der && info->issuer_der && info->spki));
	cert_is_issued_by(cert, cert);
	if (!cert_chain_verify(cert, &cert, 1, &cert, 1, 1800000000, false, NULL))
		g_assert(!cert_chain_verify(cert, NULL, 0, &cert, 1, 1800000000, true, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GPtrArray) certs = cert_parse_all(data, size, NULL);
	g_autoptr(csr) csr = csr_parse(data, size, NULL);
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GBytes) subject = cert_subject_parse_text(text, NULL);

	for (guint i = 0; certs && i < certs->len; i++)
		use_cert(certs->pdata[i]);
	g_assert(!subject || g_bytes_get_size(subject) > 2);
	g_assert(!csr || (csr->spki && csr->subject && csr->subject_der && csr->key_bits > 0));
	return 0;
}
