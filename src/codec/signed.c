#include "codec/signed.h"

#include "codec/cert_internal.h"

ASN1_SEQUENCE(SIGNED_OBJECT) = {
	ASN1_SIMPLE(struct signed_object, tbs, ASN1_ANY),
	ASN1_SIMPLE(struct signed_object, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct signed_object, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct signed_object, SIGNED_OBJECT)

X509_ALGOR *signature_algorithm_new(int signature_nid)
{
	X509_ALGOR *algorithm = X509_ALGOR_new();
	int key_nid = NID_undef;

	OBJ_find_sigid_algs(signature_nid, NULL, &key_nid);
	X509_ALGOR_set0(algorithm, OBJ_nid2obj(signature_nid), key_nid == NID_rsaEncryption ? V_ASN1_NULL : V_ASN1_UNDEF, NULL);
	return algorithm;
}

void signature_set(ASN1_BIT_STRING *string, const void *signature, size_t len)
{
	ASN1_BIT_STRING_set(string, (uint8_t *)signature, (int)len);
	/* Whole bytes: without this the encoder would count the last zero bits as unused. */
	string->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 7);
	string->flags |= ASN1_STRING_FLAG_BITS_LEFT;
}

GBytes *signed_object_format(GBytes *tbs, int signature_nid, const void *signature, size_t len)
{
	g_autoptr(signed_object) object = (struct signed_object *)ASN1_item_new(ASN1_ITEM_rptr(SIGNED_OBJECT));

	ASN1_TYPE_free(object->tbs);
	object->tbs = raw_sequence(g_bytes_get_data(tbs, NULL), g_bytes_get_size(tbs));
	X509_ALGOR_free(object->algorithm);
	object->algorithm = signature_algorithm_new(signature_nid);
	signature_set(object->signature, signature, len);
	return asn1_format(object, ASN1_ITEM_rptr(SIGNED_OBJECT));
}

int signature_nid_for(const EVP_PKEY *key, int digest_nid)
{
	int nid = NID_undef;

	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
		OBJ_find_sigid_by_algs(&nid, digest_nid, NID_rsaEncryption);
	else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
		OBJ_find_sigid_by_algs(&nid, digest_nid, NID_X9_62_id_ecPublicKey);
	return nid;
}

struct signed_object *signed_object_parse(const void *data, size_t len)
{
	g_autoptr(signed_object) object = asn1_parse(data, len, ASN1_ITEM_rptr(SIGNED_OBJECT));

	return object && object->tbs->type == V_ASN1_SEQUENCE ? g_steal_pointer(&object) : NULL;
}

void signed_object_free(struct signed_object *object)
{
	if (object && object->tbs->type == V_ASN1_SEQUENCE)
		OPENSSL_cleanse(object->tbs->value.sequence->data, (size_t)object->tbs->value.sequence->length);
	ASN1_item_free((ASN1_VALUE *)object, ASN1_ITEM_rptr(SIGNED_OBJECT));
}

bool signed_object_check(const void *data, size_t len)
{
	g_autoptr(signed_object) object = signed_object_parse(data, len);

	return object != NULL;
}
