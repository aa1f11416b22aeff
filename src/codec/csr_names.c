/* The alternative names that a request asks for, as texts; names compared as X.509 does. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "codec/cert_internal.h"

bool cert_names_match(GBytes *a, GBytes *b)
{
	g_autoptr(X509_NAME) left = asn1_parse(g_bytes_get_data(a, NULL), g_bytes_get_size(a), ASN1_ITEM_rptr(X509_NAME));
	g_autoptr(X509_NAME) right = asn1_parse(g_bytes_get_data(b, NULL), g_bytes_get_size(b), ASN1_ITEM_rptr(X509_NAME));

	return left && right && X509_NAME_cmp(left, right) == 0;
}

static char *ia5_text(const char *prefix, const ASN1_IA5STRING *string)
{
	g_autofree char *value = g_strndup((const char *)ASN1_STRING_get0_data(string), (gsize)ASN1_STRING_length(string));

	return g_strconcat(prefix, value, NULL);
}

static char *address_text(const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN] = "";
	int len = ASN1_STRING_length(address);

	if (len == 4 || len == 16)
		inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text));
	return g_strconcat("ip:", text, NULL);
}

static char *name_text(const GENERAL_NAME *name)
{
	int type;
	const void *value = GENERAL_NAME_get0_value(name, &type);

	switch (type) {
	case GEN_DNS:
		return ia5_text("dns:", value);
	case GEN_EMAIL:
		return ia5_text("email:", value);
	case GEN_URI:
		return ia5_text("uri:", value);
	case GEN_IPADD:
		return address_text(value);
	default:
		return g_strdup_printf("other:%d", type);
	}
}

GPtrArray *csr_sans(const struct csr *csr)
{
	GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GENERAL_NAMES) names = NULL;
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	const uint8_t *p;

	if (!csr->extensions)
		return texts;
	p = g_bytes_get_data(csr->extensions, NULL);
	extensions = d2i_X509_EXTENSIONS(NULL, &p, (long)g_bytes_get_size(csr->extensions));
	names = extensions ? X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL) : NULL;
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++)
		g_ptr_array_add(texts, name_text(sk_GENERAL_NAME_value(names, i)));
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	ERR_clear_error();
	return texts;
}
