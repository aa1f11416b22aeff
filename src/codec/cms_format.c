/* SignedData put together from parts that someone with the key has made, and the forms of certificates or CRLs alone. */
#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"
#include "codec/datetime.h"
#include "codec/signed.h"

enum { CERTIFICATES_MAX_BYTES = 1 << 20 };

static struct signed_message *new_message(void)
{
	struct signed_message *message = signed_message_new();

	message->type = OBJ_nid2obj(NID_pkcs7_signed);
	/* Version 1: plain certificates, id-data, signers named by issuer and serial number (§5.1). */
	ASN1_INTEGER_set(message->body->version, 1);
	message->body->encap->type = OBJ_nid2obj(NID_pkcs7_data);
	return message;
}

static bool is_certificate(const void *der, size_t len)
{
	g_autoptr(cert_outline) outline = cert_outline_parse(der, len);

	return outline != NULL;
}

/* What stands in a set of a SignedData, and how it is told from something else. */
struct kind {
	const char *name;
	bool (*check)(const void *der, size_t len);
};
static const struct kind certificate = {"certificate", is_certificate}, crl = {"CRL", signed_object_check};

static bool add_items(STACK_OF(ASN1_TYPE) **set, const struct kind *kind, GBytes *const *items, size_t n, GError **error)
{
	if (n > 0)
		*set = sk_ASN1_TYPE_new_null();
	for (size_t i = 0; i < n; i++) {
		gsize len;
		const void *der = g_bytes_get_data(items[i], &len);

		if (!kind->check(der, len))
			return pom_fail(error, POM_ERR_CERT_MALFORMED, "%s %zu of the message is not a %s", kind->name, i + 1, kind->name);
		sk_ASN1_TYPE_push(*set, raw_sequence(der, len));
	}
	return true;
}

static GPtrArray *read_items(const STACK_OF(ASN1_TYPE) *set, const struct kind *kind, GError **error)
{
	g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	for (int i = 0; i < sk_ASN1_TYPE_num(set); i++) {
		g_autoptr(GBytes) der = string_bytes(sk_ASN1_TYPE_value(set, i)->value.sequence);

		if (!kind->check(g_bytes_get_data(der, NULL), g_bytes_get_size(der))) {
			pom_fail(error, POM_ERR_CMS_MALFORMED, "%s %d of the message is not a %s", kind->name, i + 1, kind->name);
			return NULL;
		}
		g_ptr_array_add(items, g_steal_pointer(&der));
	}
	return g_steal_pointer(&items);
}

/* A SignedData that nobody signs. */
static struct signed_message *parse_degenerate(const void *data, size_t len, size_t max_bytes, GError **error)
{
	g_autoptr(signed_message) message = NULL;

	if (!cms_check(data, len, CMS_KIND_SIGNED, max_bytes, error))
		return NULL;
	message = signed_message_parse(data, len);
	if (message && sk_signer_info_num(message->body->signers) == 0)
		return g_steal_pointer(&message);
	pom_fail(error, POM_ERR_CMS_MALFORMED, "the message is not certificates or CRLs alone (RFC 8894 §3.4)");
	return NULL;
}

GBytes *cms_certs_only_format(GBytes *const *certificates, size_t n, GError **error)
{
	g_autoptr(signed_message) message = new_message();

	return add_items(&message->body->certificates, &certificate, certificates, n, error) ? signed_message_format(message) : NULL;
}

GPtrArray *cms_certs_only_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(signed_message) message = parse_degenerate(data, len, CERTIFICATES_MAX_BYTES, error);

	return message ? read_items(message->body->certificates, &certificate, error) : NULL;
}

GBytes *cms_crls_only_format(GBytes *const *crls, size_t n, GError **error)
{
	g_autoptr(signed_message) message = new_message();

	return add_items(&message->body->crls, &crl, crls, n, error) ? signed_message_format(message) : NULL;
}

GPtrArray *cms_crls_only_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(signed_message) message = parse_degenerate(data, len, CMS_SIZE_MAX, error);

	if (message && sk_ASN1_TYPE_num(message->body->crls) < 1) {
		pom_fail(error, POM_ERR_CMS_MALFORMED, "there is no CRL in the message (RFC 8894 §4.6)");
		return NULL;
	}
	return message ? read_items(message->body->crls, &crl, error) : NULL;
}

static void push_attribute(STACK_OF(X509_ATTRIBUTE) *attributes, int nid, int type, const void *data, int len)
{
	sk_X509_ATTRIBUTE_push(attributes, X509_ATTRIBUTE_create_by_NID(NULL, nid, type, data, len));
}

static void push_digest(STACK_OF(X509_ATTRIBUTE) *attributes, const void *content, size_t len, int digest_nid)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!EVP_Digest(len ? content : "", len, digest, &n, EVP_get_digestbynid(digest_nid), NULL))
		g_error("the digest %s failed", OBJ_nid2sn(digest_nid));
	push_attribute(attributes, NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING, digest, (int)n);
}

/* §11.3: UTCTime until 2049, GeneralizedTime after. */
static void push_time(STACK_OF(X509_ATTRIBUTE) *attributes, int64_t signing_time)
{
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)signing_time);

	if (time)
		push_attribute(attributes, NID_pkcs9_signingTime, ASN1_STRING_type(time), ASN1_STRING_get0_data(time), ASN1_STRING_length(time));
	ASN1_TIME_free(time);
}

GBytes *cms_signed_attrs_format(const void *content, size_t len, bool has_content, int digest_nid, int64_t signing_time, GBytes *const *extra, size_t n_extra)
{
	STACK_OF(X509_ATTRIBUTE) *attributes = sk_X509_ATTRIBUTE_new_null();

	push_attribute(attributes, NID_pkcs9_contentType, V_ASN1_OBJECT, OBJ_nid2obj(NID_pkcs7_data), -1);
	push_digest(attributes, content, has_content ? len : 0, digest_nid);
	if (signing_time >= 0)
		push_time(attributes, signing_time);
	for (size_t i = 0; i < n_extra; i++) {
		X509_ATTRIBUTE *attribute = asn1_parse(g_bytes_get_data(extra[i], NULL), g_bytes_get_size(extra[i]), ASN1_ITEM_rptr(X509_ATTRIBUTE));

		g_assert(attribute);
		sk_X509_ATTRIBUTE_push(attributes, attribute);
	}
	GBytes *der = attributes_format_sorted(attributes);

	attributes_free(attributes);
	return der;
}

/* For RSA plain rsaEncryption, which strongSwan insists on; for EC the pair of digest and ECDSA. */
static bool set_signature_algorithm(X509_ALGOR *algorithm, X509 *signer, int digest_nid)
{
	ASN1_OBJECT *key_algorithm;
	int nid;

	X509_PUBKEY_get0_param(&key_algorithm, NULL, NULL, NULL, X509_get_X509_PUBKEY(signer));
	if (OBJ_obj2nid(key_algorithm) == NID_rsaEncryption)
		return X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL, NULL);
	return OBJ_obj2nid(key_algorithm) == NID_X9_62_id_ecPublicKey && OBJ_find_sigid_by_algs(&nid, digest_nid, NID_X9_62_id_ecPublicKey) &&
	       X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_UNDEF, NULL);
}

static bool fill_signer(struct signer_info *info, X509 *signer, int digest_nid, GBytes *signed_attrs, const void *signature, size_t len)
{
	/* Version 1: named by issuer and serial number (§5.3). */
	ASN1_INTEGER_set(info->version, 1);
	X509_ALGOR_set0(info->digest_algorithm, OBJ_nid2obj(digest_nid), V_ASN1_NULL, NULL);
	if (signed_attrs && !(info->signed_attrs = attributes_parse(signed_attrs)))
		return false;
	return party_id_set(info->id, signer) && set_signature_algorithm(info->signature_algorithm, signer, digest_nid) &&
	       ASN1_STRING_set(info->signature, signature, (int)len);
}

GBytes *cms_signed_format(const void *content, size_t len, X509 *signer, int digest_nid, GBytes *signed_attrs, const void *signature, size_t signature_len,
                          GBytes *const *certificates, size_t n_certificates, GError **error)
{
	g_autoptr(signed_message) message = new_message();
	struct signer_info *info = signer_info_new();
	X509_ALGOR *digest = X509_ALGOR_new();

	X509_ALGOR_set0(digest, OBJ_nid2obj(digest_nid), V_ASN1_NULL, NULL);
	sk_X509_ALGOR_push(message->body->digest_algorithms, digest);
	sk_signer_info_push(message->body->signers, info);
	if (len > CMS_SIZE_MAX) {
		pom_fail(error, POM_ERR_CMS_LIMIT, "the content has %zu bytes, at most %d can be signed", len, CMS_SIZE_MAX);
		return NULL;
	}
	if (content) {
		message->body->encap->content = ASN1_OCTET_STRING_new();
		ASN1_STRING_set(message->body->encap->content, content, (int)len);
	}
	if (!add_items(&message->body->certificates, &certificate, certificates, n_certificates, error))
		return NULL;
	if (!fill_signer(info, signer, digest_nid, signed_attrs, signature, signature_len)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the signer's certificate, key or attributes cannot be used in a signature");
		return NULL;
	}
	return signed_message_format(message);
}
