/* ASN.1 pieces that certificates and CMS share, as OpenSSL templates. */
#include <openssl/err.h>
#include <string.h>

#include "codec/cert_internal.h"
#include "codec/datetime.h"

/* RFC 5280 §4.1 SubjectPublicKeyInfo */
ASN1_SEQUENCE(SPKI) = {
	ASN1_SIMPLE(struct spki, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct spki, key, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct spki, SPKI)

/* RFC 5280 §4.1 TBSCertificate */
ASN1_SEQUENCE(CERT_BODY) = {
	ASN1_EXP_OPT(struct cert_body, version, ASN1_INTEGER, 0),
	ASN1_SIMPLE(struct cert_body, serial, ASN1_INTEGER),
	ASN1_SIMPLE(struct cert_body, signature_algorithm, ASN1_ANY),
	ASN1_SIMPLE(struct cert_body, issuer, ASN1_ANY),
	ASN1_SIMPLE(struct cert_body, validity, ASN1_ANY),
	ASN1_SIMPLE(struct cert_body, subject, ASN1_ANY),
	ASN1_SIMPLE(struct cert_body, spki, ASN1_ANY),
	ASN1_IMP_OPT(struct cert_body, issuer_id, ASN1_BIT_STRING, 1),
	ASN1_IMP_OPT(struct cert_body, subject_id, ASN1_BIT_STRING, 2),
	ASN1_EXP_OPT(struct cert_body, extensions, ASN1_ANY, 3),
} static_ASN1_SEQUENCE_END_name(struct cert_body, CERT_BODY)

/* RFC 5280 §4.1 Certificate */
ASN1_SEQUENCE(CERT_OUTLINE) = {
	ASN1_SIMPLE(struct cert_outline, body, CERT_BODY),
	ASN1_SIMPLE(struct cert_outline, algorithm, ASN1_ANY),
	ASN1_SIMPLE(struct cert_outline, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct cert_outline, CERT_OUTLINE)

/* The same as OpenSSL has it, but for the key. */
ASN1_SEQUENCE(CERT_WHOLE_BODY) = {
	ASN1_EXP_OPT(struct cert_whole_body, version, ASN1_INTEGER, 0),
	ASN1_SIMPLE(struct cert_whole_body, serial, ASN1_INTEGER),
	ASN1_SIMPLE(struct cert_whole_body, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct cert_whole_body, issuer, X509_NAME),
	ASN1_SIMPLE(struct cert_whole_body, validity, X509_VAL),
	ASN1_SIMPLE(struct cert_whole_body, subject, X509_NAME),
	ASN1_SIMPLE(struct cert_whole_body, spki, SPKI),
	ASN1_IMP_OPT(struct cert_whole_body, issuer_id, ASN1_BIT_STRING, 1),
	ASN1_IMP_OPT(struct cert_whole_body, subject_id, ASN1_BIT_STRING, 2),
	ASN1_EXP_SEQUENCE_OF_OPT(struct cert_whole_body, extensions, X509_EXTENSION, 3),
} static_ASN1_SEQUENCE_END_name(struct cert_whole_body, CERT_WHOLE_BODY)

ASN1_SEQUENCE(CERT_WHOLE) = {
	ASN1_SIMPLE(struct cert_whole, body, CERT_WHOLE_BODY),
	ASN1_SIMPLE(struct cert_whole, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct cert_whole, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct cert_whole, CERT_WHOLE)

/* RFC 2986 §4.1 CertificationRequestInfo. Some leave the attributes out, as OpenSSL lets them. */
ASN1_SEQUENCE(CSR_BODY) = {
	ASN1_SIMPLE(struct csr_body, version, ASN1_INTEGER),
	ASN1_SIMPLE(struct csr_body, subject, X509_NAME),
	ASN1_SIMPLE(struct csr_body, spki, SPKI),
	ASN1_IMP_SET_OF_OPT(struct csr_body, attributes, X509_ATTRIBUTE, 0),
} static_ASN1_SEQUENCE_END_name(struct csr_body, CSR_BODY)

void *asn1_parse(const void *data, size_t len, const ASN1_ITEM *item)
{
	const uint8_t *p = data;

	if (len == 0 || len > ASN1_PARSE_MAX)
		return NULL;
	ASN1_VALUE *value = ASN1_item_d2i(NULL, &p, (long)len, item);

	ERR_clear_error();
	if (value && p == (const uint8_t *)data + len)
		return value;
	ASN1_item_free(value, item);
	return NULL;
}

/* OPENSSL_free is a macro. */
static void free_der(void *der)
{
	OPENSSL_free(der);
}

GBytes *asn1_format(const void *value, const ASN1_ITEM *item)
{
	uint8_t *der = NULL;
	int len = ASN1_item_i2d(value, &der, item);

	if (len > 0)
		return g_bytes_new_with_free_func(der, (size_t)len, free_der, der);
	ERR_clear_error();
	return NULL;
}

struct spki *spki_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(SPKI));
}

GBytes *spki_format(const struct spki *spki)
{
	return asn1_format(spki, ASN1_ITEM_rptr(SPKI));
}

void spki_free(struct spki *spki)
{
	ASN1_item_free((ASN1_VALUE *)spki, ASN1_ITEM_rptr(SPKI));
}

struct csr_body *csr_body_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(CSR_BODY));
}

struct csr_body *csr_body_new(void)
{
	return (struct csr_body *)ASN1_item_new(ASN1_ITEM_rptr(CSR_BODY));
}

GBytes *csr_body_format(const struct csr_body *body)
{
	return asn1_format(body, ASN1_ITEM_rptr(CSR_BODY));
}

/* The contents of a value, if it has any that are bytes. */
static void wipe_value(const ASN1_TYPE *value)
{
	if (value->type != V_ASN1_BOOLEAN && value->type != V_ASN1_NULL && value->type != V_ASN1_OBJECT && value->value.asn1_string)
		OPENSSL_cleanse(value->value.asn1_string->data, (size_t)value->value.asn1_string->length);
}

void csr_body_free(struct csr_body *body)
{
	for (int i = 0; body && i < sk_X509_ATTRIBUTE_num(body->attributes); i++) {
		X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(body->attributes, i);

		for (int k = 0; k < X509_ATTRIBUTE_count(attribute); k++)
			wipe_value(X509_ATTRIBUTE_get0_type(attribute, k));
	}
	ASN1_item_free((ASN1_VALUE *)body, ASN1_ITEM_rptr(CSR_BODY));
}

struct cert_outline *cert_outline_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(CERT_OUTLINE));
}

struct cert_whole *cert_whole_parse(const void *data, size_t len)
{
	g_autoptr(cert_whole) cert = asn1_parse(data, len, ASN1_ITEM_rptr(CERT_WHOLE));
	g_autoptr(GBytes) again = cert ? asn1_format(cert, ASN1_ITEM_rptr(CERT_WHOLE)) : NULL;

	return again && g_bytes_get_size(again) == len && !memcmp(g_bytes_get_data(again, NULL), data, len) ? g_steal_pointer(&cert) : NULL;
}

void cert_whole_free(struct cert_whole *cert)
{
	ASN1_item_free((ASN1_VALUE *)cert, ASN1_ITEM_rptr(CERT_WHOLE));
}

void cert_outline_free(struct cert_outline *outline)
{
	ASN1_item_free((ASN1_VALUE *)outline, ASN1_ITEM_rptr(CERT_OUTLINE));
}

char *asn1_serial_text(const ASN1_INTEGER *serial)
{
	const uint8_t *p = ASN1_STRING_get0_data(serial);
	int len = ASN1_STRING_length(serial);
	GString *text = g_string_new(ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? "-" : "");

	for (; len > 1 && *p == 0; len--)
		p++;
	for (int i = 0; i < len; i++)
		g_string_append_printf(text, "%02X", p[i]);
	if (len == 0)
		g_string_append(text, "00");
	return g_string_free(text, FALSE);
}

char *asn1_text(const ASN1_STRING *string)
{
	uint8_t *utf8 = NULL;
	char *text = NULL;
	int len = ASN1_STRING_to_UTF8(&utf8, string);

	ERR_clear_error();
	if (len >= 0 && g_utf8_validate_len((const char *)utf8, (gsize)len, NULL))
		text = g_strndup((const char *)utf8, (gsize)len);
	OPENSSL_free(utf8);
	return text;
}

bool asn1_time_to_unix(const ASN1_TIME *time, int64_t *ret)
{
	struct tm tm;

	if (!time || !ASN1_TIME_to_tm(time, &tm))
		return false;
	struct datetime t = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};

	if (!datetime_check(&t))
		return false;
	*ret = datetime_to_unix(&t);
	return true;
}

ASN1_TYPE *raw_sequence(const void *der, size_t len)
{
	ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
	ASN1_TYPE *type = ASN1_TYPE_new();

	ASN1_STRING_set(string, der, (int)len);
	ASN1_TYPE_set(type, V_ASN1_SEQUENCE, string);
	return type;
}

GBytes *string_bytes(const ASN1_STRING *string)
{
	return g_bytes_new(ASN1_STRING_get0_data(string), (gsize)ASN1_STRING_length(string));
}

bool asn1_serial_set(ASN1_INTEGER *serial, const char *hex)
{
	uint8_t bytes[CERT_SERIAL_MAX];
	size_t len = strlen(hex), n = 0;

	if (len == 0 || len > sizeof(bytes) * 2)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		int high = g_ascii_xdigit_value(hex[i]), low = g_ascii_xdigit_value(hex[i + 1]);

		if (high < 0 || low < 0)
			return false;
		/* An INTEGER has no zeros before its first digit but the sign's, which the encoder adds. */
		if (n > 0 || high || low || i + 2 == len)
			bytes[n++] = (uint8_t)(high << 4 | low);
	}
	return ASN1_STRING_set(serial, bytes, (int)n);
}
