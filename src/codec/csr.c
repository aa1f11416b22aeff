/* PKCS#10 (RFC 2986) as devices send it. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"

enum { CSR_MAX = 64 * 1024, CHALLENGE_MAX = 1024 };

/* The only value of the attribute NID: V_ASN1 type and value. *ret is NULL when there is no such attribute. */
static bool single_attribute(const struct csr_body *body, int nid, const ASN1_TYPE **ret, GError **error)
{
	int i = X509at_get_attr_by_NID(body->attributes, nid, -1);

	*ret = NULL;
	if (i < 0)
		return true;
	X509_ATTRIBUTE *attribute = X509at_get_attr(body->attributes, i);

	if (X509at_get_attr_by_NID(body->attributes, nid, i) >= 0 || X509_ATTRIBUTE_count(attribute) != 1)
		return pom_fail(error, POM_ERR_CSR_MALFORMED, "the attribute %s does not have exactly one value (RFC 2985 §5.4)", OBJ_nid2ln(nid));
	*ret = X509_ATTRIBUTE_get0_type(attribute, 0);
	return true;
}

static bool is_text_type(int type)
{
	return type == V_ASN1_PRINTABLESTRING || type == V_ASN1_UTF8STRING || type == V_ASN1_IA5STRING || type == V_ASN1_T61STRING ||
	       type == V_ASN1_BMPSTRING || type == V_ASN1_UNIVERSALSTRING;
}

static bool read_challenge(struct csr *csr, const struct csr_body *body, GError **error)
{
	const ASN1_TYPE *value;

	if (!single_attribute(body, NID_pkcs9_challengePassword, &value, error))
		return false;
	if (!value)
		return true;
	if (is_text_type(value->type) && ASN1_STRING_length(value->value.asn1_string) <= CHALLENGE_MAX)
		csr->challenge = asn1_text(value->value.asn1_string);
	if (!csr->challenge)
		return pom_fail(error, POM_ERR_CSR_MALFORMED, "the challengePassword is not a text of at most %d bytes (RFC 2985 §5.4.1)", CHALLENGE_MAX);
	return true;
}

static bool read_extensions(struct csr *csr, const struct csr_body *body, GError **error)
{
	const ASN1_TYPE *value;

	if (!single_attribute(body, NID_ext_req, &value, error))
		return false;
	if (!value)
		return true;
	if (value->type != V_ASN1_SEQUENCE)
		return pom_fail(error, POM_ERR_CSR_MALFORMED, "the extensionRequest holds no Extensions (RFC 2985 §5.4.2)");
	const uint8_t *data = ASN1_STRING_get0_data(value->value.sequence), *p = data;
	int len = ASN1_STRING_length(value->value.sequence);
	STACK_OF(X509_EXTENSION) *extensions = d2i_X509_EXTENSIONS(NULL, &p, len);
	bool ok = extensions && p == data + len;

	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	ERR_clear_error();
	if (!ok)
		return pom_fail(error, POM_ERR_CSR_MALFORMED, "the requested Extensions are broken (RFC 2985 §5.4.2)");
	csr->extensions = g_bytes_new(data, (gsize)len);
	return true;
}

/* RFC 4055 §3.1: the digest stands in the parameters, SHA-1 when it does not. */
static int pss_digest(const X509_ALGOR *algorithm)
{
	const void *parameter;
	int type, nid = NID_sha1;

	X509_ALGOR_get0(NULL, &type, &parameter, algorithm);
	if (type != V_ASN1_SEQUENCE)
		return NID_undef;
	RSA_PSS_PARAMS *pss = asn1_parse(ASN1_STRING_get0_data(parameter), (size_t)ASN1_STRING_length(parameter), ASN1_ITEM_rptr(RSA_PSS_PARAMS));

	if (!pss)
		return NID_undef;
	if (pss->hashAlgorithm)
		nid = OBJ_obj2nid(pss->hashAlgorithm->algorithm);
	RSA_PSS_PARAMS_free(pss);
	return nid;
}

static bool read_signature(struct csr *csr, const struct signed_object *request, EVP_PKEY *key, GError **error)
{
	int digest_nid = NID_undef, nid = OBJ_obj2nid(request->algorithm->algorithm);

	if (nid == NID_rsassaPss)
		digest_nid = pss_digest(request->algorithm);
	else
		OBJ_find_sigid_algs(nid, &digest_nid, NULL);
	if (digest_nid != NID_sha1 && digest_nid != NID_sha256 && digest_nid != NID_sha384 && digest_nid != NID_sha512)
		return pom_fail(error, POM_ERR_CSR_SIGNATURE, "the request is signed with %s, which is not accepted", OBJ_nid2ln(nid));
	int verified = ASN1_item_verify(ASN1_ITEM_rptr(ASN1_ANY), request->algorithm, request->signature, request->tbs, key);

	ERR_clear_error();
	if (verified != 1)
		return pom_fail(error, POM_ERR_CSR_SIGNATURE, "the request's signature is not by its own key (RFC 2986 §4.2)");
	csr->signature_digest_nid = digest_nid;
	return true;
}

static void read_subject(struct csr *csr, const struct csr_body *body)
{
	csr->subject = cert_name_text(body->subject);
	csr->common_name = cert_name_entry(body->subject, NID_commonName);
	csr->subject_der = asn1_format(body->subject, ASN1_ITEM_rptr(X509_NAME));
}

static bool read_key(struct csr *csr, const struct csr_body *body, EVP_PKEY *key, GError **error)
{
	if (!key)
		return pom_fail(error, POM_ERR_KEY_WEAK, "the request's public key cannot be read");
	if (!cert_key_check(key, error))
		return false;
	csr->key_type = EVP_PKEY_get_base_id(key);
	csr->key_bits = EVP_PKEY_get_bits(key);
	EVP_PKEY_up_ref(key);
	csr->key = key;
	csr->spki = spki_format(body->spki);
	cert_sha256(g_bytes_get_data(csr->spki, NULL), g_bytes_get_size(csr->spki), csr->spki_sha256);
	return true;
}

static EVP_PKEY *decode_key(const struct csr_body *body, GBytes *known_spki, EVP_PKEY *known)
{
	g_autoptr(GBytes) spki = known_spki ? spki_format(body->spki) : NULL;

	if (!spki || !known || !g_bytes_equal(spki, known_spki))
		return spki_decode(body->spki);
	EVP_PKEY_up_ref(known);
	return known;
}

struct csr *csr_parse(const void *data, size_t len, GError **error)
{
	return csr_parse_known(data, len, NULL, NULL, error);
}

struct csr *csr_parse_known(const void *data, size_t len, GBytes *known_spki, EVP_PKEY *known, GError **error)
{
	g_autoptr(signed_object) request = len <= CSR_MAX ? signed_object_parse(data, len) : NULL;
	g_autoptr(csr_body) body = request ? csr_body_parse(ASN1_STRING_get0_data(request->tbs->value.sequence), (size_t)ASN1_STRING_length(request->tbs->value.sequence)) : NULL;
	g_autoptr(csr) csr = g_new0(struct csr, 1);

	if (!body) {
		pom_fail(error, POM_ERR_CSR_MALFORMED, "these %zu bytes are not one certification request (RFC 2986 §4.2)", len);
		return NULL;
	}
	if (ASN1_INTEGER_get(body->version) < 0 || ASN1_INTEGER_get(body->version) > 2) {
		pom_fail(error, POM_ERR_CSR_MALFORMED, "the request's version is not within 0 to 2");
		return NULL;
	}
	g_autoptr(EVP_PKEY) key = decode_key(body, known_spki, known);

	if (!read_key(csr, body, key, error) || !read_signature(csr, request, key, error) || !read_challenge(csr, body, error) || !read_extensions(csr, body, error))
		return NULL;
	read_subject(csr, body);
	return g_steal_pointer(&csr);
}

void csr_free(struct csr *csr)
{
	if (!csr)
		return;
	g_clear_pointer(&csr->spki, g_bytes_unref);
	EVP_PKEY_free(csr->key);
	g_clear_pointer(&csr->subject_der, g_bytes_unref);
	g_clear_pointer(&csr->extensions, g_bytes_unref);
	g_free(csr->subject);
	g_free(csr->common_name);
	if (csr->challenge)
		OPENSSL_cleanse(csr->challenge, strlen(csr->challenge));
	g_free(csr->challenge);
	g_free(csr);
}
