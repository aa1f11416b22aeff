#include <openssl/err.h>
#include <string.h>

#include "codec/cms_internal.h"

ASN1_SEQUENCE(ISSUER_SERIAL) = {
	ASN1_SIMPLE(struct issuer_serial, issuer, ASN1_ANY),
	ASN1_SIMPLE(struct issuer_serial, serial, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END_name(struct issuer_serial, ISSUER_SERIAL)

ASN1_SEQUENCE(ISSUER_SUBJECT) = {
	ASN1_SIMPLE(struct issuer_subject, issuer, ASN1_ANY),
	ASN1_SIMPLE(struct issuer_subject, subject, ASN1_ANY),
} static_ASN1_SEQUENCE_END_name(struct issuer_subject, ISSUER_SUBJECT)

ASN1_CHOICE(PARTY_ID) = {
	ASN1_SIMPLE(struct party_id, value.issuer_serial, ISSUER_SERIAL),
	ASN1_IMP(struct party_id, value.key_id, ASN1_OCTET_STRING, 0),
} static_ASN1_CHOICE_END_name(struct party_id, PARTY_ID)

ASN1_SEQUENCE(SIGNER_INFO) = {
	ASN1_SIMPLE(struct signer_info, version, ASN1_INTEGER),
	ASN1_SIMPLE(struct signer_info, id, PARTY_ID),
	ASN1_SIMPLE(struct signer_info, digest_algorithm, X509_ALGOR),
	ASN1_IMP_SET_OF_OPT(struct signer_info, signed_attrs, X509_ATTRIBUTE, 0),
	ASN1_SIMPLE(struct signer_info, signature_algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct signer_info, signature, ASN1_OCTET_STRING),
	ASN1_IMP_SET_OF_OPT(struct signer_info, unsigned_attrs, ASN1_ANY, 1),
} static_ASN1_SEQUENCE_END_name(struct signer_info, SIGNER_INFO)

ASN1_SEQUENCE(ENCAP_CONTENT) = {
	ASN1_SIMPLE(struct encap_content, type, ASN1_OBJECT),
	ASN1_EXP_OPT(struct encap_content, content, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END_name(struct encap_content, ENCAP_CONTENT)

ASN1_SEQUENCE(SIGNED_DATA) = {
	ASN1_SIMPLE(struct signed_data, version, ASN1_INTEGER),
	ASN1_SET_OF(struct signed_data, digest_algorithms, X509_ALGOR),
	ASN1_SIMPLE(struct signed_data, encap, ENCAP_CONTENT),
	ASN1_IMP_SET_OF_OPT(struct signed_data, certificates, ASN1_ANY, 0),
	ASN1_IMP_SET_OF_OPT(struct signed_data, crls, ASN1_ANY, 1),
	ASN1_SET_OF(struct signed_data, signers, SIGNER_INFO),
} static_ASN1_SEQUENCE_END_name(struct signed_data, SIGNED_DATA)

ASN1_SEQUENCE(SIGNED_MESSAGE) = {
	ASN1_SIMPLE(struct signed_message, type, ASN1_OBJECT),
	ASN1_EXP(struct signed_message, body, SIGNED_DATA, 0),
} static_ASN1_SEQUENCE_END_name(struct signed_message, SIGNED_MESSAGE)

ASN1_SEQUENCE(KEY_TRANS) = {
	ASN1_SIMPLE(struct key_trans, version, ASN1_INTEGER),
	ASN1_SIMPLE(struct key_trans, id, PARTY_ID),
	ASN1_SIMPLE(struct key_trans, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct key_trans, encrypted_key, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END_name(struct key_trans, KEY_TRANS)

ASN1_SEQUENCE(ENCRYPTED_CONTENT) = {
	ASN1_SIMPLE(struct encrypted_content, type, ASN1_OBJECT),
	ASN1_SIMPLE(struct encrypted_content, algorithm, X509_ALGOR),
	ASN1_IMP(struct encrypted_content, content, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END_name(struct encrypted_content, ENCRYPTED_CONTENT)

ASN1_SEQUENCE(ENVELOPED_DATA) = {
	ASN1_SIMPLE(struct enveloped_data, version, ASN1_INTEGER),
	ASN1_SET_OF(struct enveloped_data, recipients, KEY_TRANS),
	ASN1_SIMPLE(struct enveloped_data, encrypted, ENCRYPTED_CONTENT),
	ASN1_IMP_SET_OF_OPT(struct enveloped_data, unprotected_attrs, ASN1_ANY, 1),
} static_ASN1_SEQUENCE_END_name(struct enveloped_data, ENVELOPED_DATA)

ASN1_SEQUENCE(ENVELOPED_MESSAGE) = {
	ASN1_SIMPLE(struct enveloped_message, type, ASN1_OBJECT),
	ASN1_EXP(struct enveloped_message, body, ENVELOPED_DATA, 0),
} static_ASN1_SEQUENCE_END_name(struct enveloped_message, ENVELOPED_MESSAGE)

/* §5.3 SignedAttributes. What is hashed has the universal tag; a verifier keeps the order it was given, as OpenSSL does,
 * because some signers do not sort. */
ASN1_ITEM_TEMPLATE(ATTRIBUTES_GIVEN) =
	ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SEQUENCE_OF | ASN1_TFLG_IMPTAG | ASN1_TFLG_UNIVERSAL, V_ASN1_SET, ATTRIBUTES_GIVEN, X509_ATTRIBUTE)
static_ASN1_ITEM_TEMPLATE_END(ATTRIBUTES_GIVEN)

ASN1_ITEM_TEMPLATE(ATTRIBUTES_SORTED) =
	ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SET_OF, 0, ATTRIBUTES_SORTED, X509_ATTRIBUTE)
static_ASN1_ITEM_TEMPLATE_END(ATTRIBUTES_SORTED)

struct signed_message *signed_message_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(SIGNED_MESSAGE));
}

struct signed_message *signed_message_new(void)
{
	return (struct signed_message *)ASN1_item_new(ASN1_ITEM_rptr(SIGNED_MESSAGE));
}

GBytes *signed_message_format(const struct signed_message *message)
{
	return asn1_format(message, ASN1_ITEM_rptr(SIGNED_MESSAGE));
}

void signed_message_free(struct signed_message *message)
{
	ASN1_item_free((ASN1_VALUE *)message, ASN1_ITEM_rptr(SIGNED_MESSAGE));
}

struct signer_info *signer_info_new(void)
{
	return (struct signer_info *)ASN1_item_new(ASN1_ITEM_rptr(SIGNER_INFO));
}

struct enveloped_message *enveloped_message_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(ENVELOPED_MESSAGE));
}

struct enveloped_message *enveloped_message_new(void)
{
	return (struct enveloped_message *)ASN1_item_new(ASN1_ITEM_rptr(ENVELOPED_MESSAGE));
}

struct key_trans *key_trans_new(void)
{
	return (struct key_trans *)ASN1_item_new(ASN1_ITEM_rptr(KEY_TRANS));
}

void key_trans_free(struct key_trans *key_trans)
{
	ASN1_item_free((ASN1_VALUE *)key_trans, ASN1_ITEM_rptr(KEY_TRANS));
}

GBytes *enveloped_message_format(const struct enveloped_message *message)
{
	return asn1_format(message, ASN1_ITEM_rptr(ENVELOPED_MESSAGE));
}

void enveloped_message_free(struct enveloped_message *message)
{
	ASN1_item_free((ASN1_VALUE *)message, ASN1_ITEM_rptr(ENVELOPED_MESSAGE));
}

GBytes *attributes_format_given(const STACK_OF(X509_ATTRIBUTE) *attributes)
{
	return asn1_format(attributes, ASN1_ITEM_rptr(ATTRIBUTES_GIVEN));
}

GBytes *attributes_format_sorted(const STACK_OF(X509_ATTRIBUTE) *attributes)
{
	return asn1_format(attributes, ASN1_ITEM_rptr(ATTRIBUTES_SORTED));
}

STACK_OF(X509_ATTRIBUTE) *attributes_parse(GBytes *der)
{
	return asn1_parse(g_bytes_get_data(der, NULL), g_bytes_get_size(der), ASN1_ITEM_rptr(ATTRIBUTES_SORTED));
}

void attributes_free(STACK_OF(X509_ATTRIBUTE) *attributes)
{
	sk_X509_ATTRIBUTE_pop_free(attributes, X509_ATTRIBUTE_free);
}

bool party_id_set(struct party_id *id, const X509 *cert)
{
	g_autoptr(GBytes) issuer = asn1_format(X509_get_issuer_name(cert), ASN1_ITEM_rptr(X509_NAME));
	struct issuer_serial *value = issuer_serial_new();

	id->type = PARTY_ISSUER_SERIAL;
	id->value.issuer_serial = value;
	if (!issuer)
		return false;
	ASN1_TYPE_free(value->issuer);
	value->issuer = raw_sequence(g_bytes_get_data(issuer, NULL), g_bytes_get_size(issuer));
	ASN1_INTEGER_free(value->serial);
	value->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(cert));
	return value->serial != NULL;
}

bool party_id_set_der(struct party_id *id, GBytes *cert_der)
{
	g_autoptr(cert_outline) outline = cert_outline_parse(g_bytes_get_data(cert_der, NULL), g_bytes_get_size(cert_der));
	struct issuer_serial *value = issuer_serial_new();

	id->type = PARTY_ISSUER_SERIAL;
	id->value.issuer_serial = value;
	if (!outline)
		return false;
	ASN1_TYPE_free(value->issuer);
	value->issuer = g_steal_pointer(&outline->body->issuer);
	ASN1_INTEGER_free(value->serial);
	value->serial = g_steal_pointer(&outline->body->serial);
	return true;
}

struct issuer_serial *issuer_serial_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(ISSUER_SERIAL));
}

struct issuer_serial *issuer_serial_new(void)
{
	return (struct issuer_serial *)ASN1_item_new(ASN1_ITEM_rptr(ISSUER_SERIAL));
}

GBytes *issuer_serial_format(const struct issuer_serial *value)
{
	return asn1_format(value, ASN1_ITEM_rptr(ISSUER_SERIAL));
}

void issuer_serial_free(struct issuer_serial *value)
{
	ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(ISSUER_SERIAL));
}

struct issuer_subject *issuer_subject_parse(const void *data, size_t len)
{
	return asn1_parse(data, len, ASN1_ITEM_rptr(ISSUER_SUBJECT));
}

struct issuer_subject *issuer_subject_new(void)
{
	return (struct issuer_subject *)ASN1_item_new(ASN1_ITEM_rptr(ISSUER_SUBJECT));
}

GBytes *issuer_subject_format(const struct issuer_subject *value)
{
	return asn1_format(value, ASN1_ITEM_rptr(ISSUER_SUBJECT));
}

void issuer_subject_free(struct issuer_subject *value)
{
	ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(ISSUER_SUBJECT));
}
