/* The fast path of attached messages in the one form that clients send: one certificate, named by issuer and serial number, and
 * signed attributes. It must accept and refuse exactly what cms_signed_open and cms_signed_verify do; what it is not sure of goes
 * there. They cost 100 µs more, for OpenSSL's decoding of the key. */
#include <string.h>

#include "codec/cms_internal.h"

/* At most once and with one value (RFC 5652 §11.3), or not at all. */
static bool is_single(const STACK_OF(X509_ATTRIBUTE) *attributes, int nid)
{
	int i = X509at_get_attr_by_NID(attributes, nid, -1);

	return i < 0 || (X509_ATTRIBUTE_count(X509at_get_attr(attributes, i)) == 1 && X509at_get_attr_by_NID(attributes, nid, i) < 0);
}

static bool is_usual(const struct signed_data *data)
{
	const struct signer_info *info = sk_signer_info_num(data->signers) == 1 ? sk_signer_info_value(data->signers, 0) : NULL;

	return info && sk_ASN1_TYPE_num(data->certificates) == 1 && !data->crls && !info->unsigned_attrs && info->signed_attrs &&
	       is_single(info->signed_attrs, NID_pkcs9_signingTime) && X509at_get_attr_by_NID(info->signed_attrs, NID_pkcs9_countersignature, -1) < 0;
}

static void read_key(struct cms_quick *quick)
{
	gsize len;
	const void *data = g_bytes_get_data(quick->detached->signer_der, &len);
	g_autoptr(cert_whole) cert = cert_whole_parse(data, len);

	if (!cert)
		return;
	quick->key = spki_decode(cert->body->spki);
	quick->spki = spki_format(cert->body->spki);
}

struct cms_quick *cms_quick_open(const void *data, size_t len)
{
	g_autoptr(cms_quick) quick = g_new0(struct cms_quick, 1);

	quick->message = signed_message_parse(data, len);
	if (!quick->message || !is_usual(quick->message->body))
		return NULL;
	quick->detached = cms_detached_read(quick->message->body);
	if (quick->detached)
		read_key(quick);
	return quick->key ? g_steal_pointer(&quick) : NULL;
}

bool cms_quick_verify(const struct cms_quick *quick, GError **error)
{
	const ASN1_OCTET_STRING *content = quick->message->body->encap->content;

	return cms_key_check(quick->key, error) &&
	       cms_detached_verify(quick->detached, quick->key, content ? ASN1_STRING_get0_data(content) : (const void *)"", content ? (size_t)ASN1_STRING_length(content) : 0, error);
}

const STACK_OF(X509_ATTRIBUTE) *cms_quick_attributes(const struct cms_quick *quick)
{
	return sk_signer_info_value(quick->message->body->signers, 0)->signed_attrs;
}

GBytes *cms_quick_content(const struct cms_quick *quick)
{
	const ASN1_OCTET_STRING *content = quick->message->body->encap->content;

	return content ? string_bytes(content) : NULL;
}

void cms_quick_free(struct cms_quick *quick)
{
	if (!quick)
		return;
	signed_message_free(quick->message);
	cms_detached_free(quick->detached);
	EVP_PKEY_free(quick->key);
	g_clear_pointer(&quick->spki, g_bytes_unref);
	g_free(quick);
}
