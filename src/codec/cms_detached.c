/* The fast path of Mdm-Signature: two ASN.1 templates and one EVP_DigestVerify with a key that the caller has cached. It must
 * accept and refuse exactly what CMS_verify does; what it is not sure of goes there ("slow"). */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"

enum { DETACHED_MAX = 16 * 1024, RSA_BITS_MIN = 1024 };

static bool integers_equal(const ASN1_INTEGER *a, const ASN1_INTEGER *b)
{
	return ASN1_INTEGER_cmp(a, b) == 0;
}

/* Whether the raw certificate has exactly this issuer and serial number. */
static bool is_named(const ASN1_TYPE *cert, const struct issuer_serial *name)
{
	if (cert->type != V_ASN1_SEQUENCE)
		return false;
	const ASN1_STRING *der = cert->value.sequence;
	g_autoptr(cert_outline) outline = cert_outline_parse(ASN1_STRING_get0_data(der), (size_t)ASN1_STRING_length(der));

	return outline && integers_equal(outline->body->serial, name->serial) && outline->body->issuer->type == V_ASN1_SEQUENCE &&
	       name->issuer->type == V_ASN1_SEQUENCE && !ASN1_STRING_cmp(outline->body->issuer->value.sequence, name->issuer->value.sequence);
}

/* The one certificate that the signer identifier names byte for byte; NULL: look closer. */
static GBytes *find_signer(const struct signed_data *data, const struct signer_info *info)
{
	const ASN1_TYPE *found = NULL;

	if (info->id->type != PARTY_ISSUER_SERIAL)
		return NULL;
	for (int i = 0; i < sk_ASN1_TYPE_num(data->certificates); i++) {
		const ASN1_TYPE *cert = sk_ASN1_TYPE_value(data->certificates, i);

		if (!is_named(cert, info->id->value.issuer_serial))
			continue;
		if (found)
			return NULL;
		found = cert;
	}
	return found ? string_bytes(found->value.sequence) : NULL;
}

static int digest_size(int nid)
{
	switch (nid) {
	case NID_sha1:
		return 20;
	case NID_sha256:
		return 32;
	case NID_sha384:
		return 48;
	case NID_sha512:
		return 64;
	default:
		return 0;
	}
}

/* The digest of the MGF1 in PSS parameters; SHA-1 when they do not say (RFC 4055 §3.1). */
static int mgf_digest(const RSA_PSS_PARAMS *pss)
{
	if (!pss->maskGenAlgorithm)
		return NID_sha1;
	if (OBJ_obj2nid(pss->maskGenAlgorithm->algorithm) != NID_mgf1)
		return NID_undef;
	X509_ALGOR *hash = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), pss->maskGenAlgorithm->parameter);
	int nid = hash ? OBJ_obj2nid(hash->algorithm) : NID_undef;

	X509_ALGOR_free(hash);
	return nid;
}

/* Everything SHA-n, salt as long as the digest: what signers make. */
static bool is_usual_pss(const X509_ALGOR *algorithm, int digest_nid)
{
	RSA_PSS_PARAMS *pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
	bool usual = pss && OBJ_obj2nid(pss->hashAlgorithm ? pss->hashAlgorithm->algorithm : OBJ_nid2obj(NID_sha1)) == digest_nid &&
	             mgf_digest(pss) == digest_nid && (pss->saltLength ? ASN1_INTEGER_get(pss->saltLength) : 20) == digest_size(digest_nid) &&
	             (!pss->trailerField || ASN1_INTEGER_get(pss->trailerField) == 1);

	RSA_PSS_PARAMS_free(pss);
	return usual;
}

/* Digest and kind of signature. The digest is that of digestAlgorithm, whatever signatureAlgorithm says: OpenSSL's rule. */
static bool read_algorithms(struct cms_detached *detached, const struct signer_info *info)
{
	int nid = OBJ_obj2nid(info->signature_algorithm->algorithm), key_nid = NID_undef;

	detached->digest_nid = OBJ_obj2nid(info->digest_algorithm->algorithm);
	if (!digest_size(detached->digest_nid))
		return false;
	if (nid == NID_rsassaPss) {
		detached->pss = true;
		detached->key_type = EVP_PKEY_RSA;
		return is_usual_pss(info->signature_algorithm, detached->digest_nid);
	}
	OBJ_find_sigid_algs(nid, NULL, &key_nid);
	detached->key_type = nid == NID_rsaEncryption || key_nid == NID_rsaEncryption ? EVP_PKEY_RSA : EVP_PKEY_EC;
	return detached->key_type == EVP_PKEY_RSA || key_nid == NID_X9_62_id_ecPublicKey;
}

/* The only value of the only attribute NID, if it has TYPE. */
static const ASN1_TYPE *single_value(const STACK_OF(X509_ATTRIBUTE) *attributes, int nid, int type)
{
	const ASN1_TYPE *found = NULL;

	for (int i = 0; i < sk_X509_ATTRIBUTE_num(attributes); i++) {
		X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(attributes, i);

		if (OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute)) != nid)
			continue;
		if (found || X509_ATTRIBUTE_count(attribute) != 1)
			return NULL;
		found = X509_ATTRIBUTE_get0_type(attribute, 0);
	}
	return found && found->type == type ? found : NULL;
}

/* False: not the usual form. */
static bool read_attributes(struct cms_detached *detached, const struct signer_info *info)
{
	if (!info->signed_attrs)
		return true;
	const ASN1_TYPE *type = single_value(info->signed_attrs, NID_pkcs9_contentType, V_ASN1_OBJECT);
	const ASN1_TYPE *digest = single_value(info->signed_attrs, NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING);

	if (!type || OBJ_obj2nid(type->value.object) != NID_pkcs7_data || !digest)
		return false;
	detached->message_digest = string_bytes(digest->value.octet_string);
	detached->signed_attrs = attributes_format_given(info->signed_attrs);
	return detached->signed_attrs != NULL;
}

/* §5.1: a verifier may refuse a digest that is not announced, and OpenSSL does. */
static bool is_announced(const struct signed_data *data, int digest_nid)
{
	for (int i = 0; i < sk_X509_ALGOR_num(data->digest_algorithms); i++) {
		if (OBJ_obj2nid(sk_X509_ALGOR_value(data->digest_algorithms, i)->algorithm) == digest_nid)
			return true;
	}
	return false;
}

struct cms_detached *cms_detached_read(const struct signed_data *data)
{
	g_autoptr(cms_detached) detached = g_new0(struct cms_detached, 1);
	const struct signer_info *info = sk_signer_info_value(data->signers, 0);

	if (!read_algorithms(detached, info) || !is_announced(data, detached->digest_nid) || !read_attributes(detached, info))
		return NULL;
	detached->signer_der = find_signer(data, info);
	if (!detached->signer_der)
		return NULL;
	detached->signature = string_bytes(info->signature);
	return g_steal_pointer(&detached);
}

static struct cms_detached *parse_slow(const void *data, size_t len, GError **error)
{
	g_autoptr(cms_signed) message = cms_signed_open(data, len, error);

	if (!message)
		return NULL;
	struct cms_detached *detached = g_new0(struct cms_detached, 1);

	detached->slow = true;
	detached->digest_nid = message->digest_nid;
	detached->signer_der = g_bytes_ref(message->signer_der);
	detached->whole = g_bytes_new(data, len);
	return detached;
}

struct cms_detached *cms_detached_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(signed_message) message = NULL;
	struct cms_detached *detached = NULL;

	if (!cms_check(data, len, CMS_KIND_SIGNED, DETACHED_MAX, error))
		return NULL;
	message = signed_message_parse(data, len);
	if (message && message->body->encap->content) {
		pom_fail(error, POM_ERR_CMS_MALFORMED, "the signature carries content, it must be detached (MDM Mdm-Signature)");
		return NULL;
	}
	if (message && sk_signer_info_num(message->body->signers) == 1)
		detached = cms_detached_read(message->body);
	if (!detached)
		detached = parse_slow(data, len, error);
	if (detached)
		cert_sha256(g_bytes_get_data(detached->signer_der, NULL), g_bytes_get_size(detached->signer_der), detached->signer_sha256);
	return detached;
}

static bool mismatch(GError **error, const char *what)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_CMS_SIGNATURE, "%s (RFC 5652 §5.6)", what);
}

static bool verify_slow(const struct cms_detached *detached, const void *content, size_t len, GError **error)
{
	gsize size;
	const void *data = g_bytes_get_data(detached->whole, &size);
	g_autoptr(cms_signed) message = cms_signed_parse(data, size, len ? content : "", len, DETACHED_MAX, error);

	if (!message)
		return false;
	return g_bytes_equal(message->signer_der, detached->signer_der) || mismatch(error, "another certificate has signed");
}

static bool check_digest(const struct cms_detached *detached, const EVP_MD *md, const void *content, size_t len)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	return EVP_Digest(content, len, digest, &n, md, NULL) && g_bytes_get_size(detached->message_digest) == n &&
	       !memcmp(g_bytes_get_data(detached->message_digest, NULL), digest, n);
}

static bool check_signature(const struct cms_detached *detached, EVP_PKEY *key, const EVP_MD *md, const void *data, size_t len)
{
	g_autoptr(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_ctx;
	gsize size;
	const void *signature = g_bytes_get_data(detached->signature, &size);

	if (EVP_DigestVerifyInit(ctx, &key_ctx, md, NULL, key) <= 0)
		return false;
	if (detached->pss &&
	    (EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING) <= 0 || EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_DIGEST) <= 0))
		return false;
	return EVP_DigestVerify(ctx, signature, size, data, len) == 1;
}

struct cms_verifier {
	EVP_PKEY *key;
	EVP_PKEY_CTX *ctx; /* for PKCS #1 v1.5 with the digest; NULL: nothing yet */
	int digest_nid;
};

struct cms_verifier *cms_verifier_new(EVP_PKEY *key)
{
	struct cms_verifier *verifier = g_new0(struct cms_verifier, 1);

	EVP_PKEY_up_ref(key);
	verifier->key = key;
	return verifier;
}

void cms_verifier_free(struct cms_verifier *verifier)
{
	if (!verifier)
		return;
	EVP_PKEY_CTX_free(verifier->ctx);
	EVP_PKEY_free(verifier->key);
	g_free(verifier);
}

/* Makes VERIFIER ready for signatures over a digest MD. */
static bool set_up(struct cms_verifier *verifier, const EVP_MD *md, int digest_nid)
{
	if (verifier->ctx && verifier->digest_nid == digest_nid)
		return true;
	EVP_PKEY_CTX_free(verifier->ctx);
	verifier->digest_nid = digest_nid;
	verifier->ctx = EVP_PKEY_CTX_new(verifier->key, NULL);
	if (verifier->ctx && EVP_PKEY_verify_init(verifier->ctx) > 0 && EVP_PKEY_CTX_set_rsa_padding(verifier->ctx, RSA_PKCS1_PADDING) > 0 && EVP_PKEY_CTX_set_signature_md(verifier->ctx, md) > 0)
		return true;
	g_clear_pointer(&verifier->ctx, EVP_PKEY_CTX_free);
	return false;
}

/* check_signature by VERIFIER, of an RSA key and PKCS #1 v1.5. */
static bool check_signature_by(const struct cms_detached *detached, struct cms_verifier *verifier, const EVP_MD *md, const void *data, size_t len)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	gsize size;
	const void *signature = g_bytes_get_data(detached->signature, &size);

	return set_up(verifier, md, detached->digest_nid) && EVP_Digest(data, len, digest, &n, md, NULL) && EVP_PKEY_verify(verifier->ctx, signature, size, digest, n) == 1;
}

/* VERIFIER: of KEY; NULL: none. */
static bool verify(const struct cms_detached *detached, EVP_PKEY *key, struct cms_verifier *verifier, const void *content, size_t len, GError **error)
{
	if (detached->slow)
		return verify_slow(detached, content, len, error);
	const EVP_MD *md = digest_by_nid(detached->digest_nid);
	gsize size = len;
	const void *data = detached->signed_attrs ? g_bytes_get_data(detached->signed_attrs, &size) : content;

	if (EVP_PKEY_get_base_id(key) != detached->key_type)
		return mismatch(error, "the signature is not of the kind of the signer's key");
	if (detached->key_type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "the signer's RSA key has %d bits, at least %d are needed", EVP_PKEY_get_bits(key), RSA_BITS_MIN);
	if (detached->signed_attrs && !check_digest(detached, md, content, len))
		return mismatch(error, "the content is not what was signed: another digest");
	bool is_kept = verifier && detached->key_type == EVP_PKEY_RSA && !detached->pss;

	return (is_kept ? check_signature_by(detached, verifier, md, data, size) : check_signature(detached, key, md, data, size)) || mismatch(error, "the signature does not match");
}

bool cms_detached_verify(const struct cms_detached *detached, EVP_PKEY *key, const void *content, size_t len, GError **error)
{
	return verify(detached, key, NULL, content, len, error);
}

bool cms_detached_verify_by(const struct cms_detached *detached, struct cms_verifier *verifier, const void *content, size_t len, GError **error)
{
	return verify(detached, verifier->key, verifier, content, len, error);
}

void cms_detached_free(struct cms_detached *detached)
{
	if (!detached)
		return;
	g_clear_pointer(&detached->signer_der, g_bytes_unref);
	g_clear_pointer(&detached->signature, g_bytes_unref);
	g_clear_pointer(&detached->signed_attrs, g_bytes_unref);
	g_clear_pointer(&detached->message_digest, g_bytes_unref);
	g_clear_pointer(&detached->whole, g_bytes_unref);
	g_free(detached);
}
