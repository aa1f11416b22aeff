/* Public keys out of SubjectPublicKeyInfo. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "codec/cert_internal.h"

enum { RSA_BYTES_MAX = 2048 };

/* RFC 8017 §A.1.1 RSAPublicKey */
struct rsa_key {
	ASN1_INTEGER *modulus, *exponent;
};

ASN1_SEQUENCE(RSA_KEY) = {
	ASN1_SIMPLE(struct rsa_key, modulus, ASN1_INTEGER),
	ASN1_SIMPLE(struct rsa_key, exponent, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END_name(struct rsa_key, RSA_KEY)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OSSL_PARAM, OSSL_PARAM_free)

static bool is_usual(const ASN1_INTEGER *number)
{
	return ASN1_STRING_type(number) == V_ASN1_INTEGER && ASN1_STRING_length(number) <= RSA_BYTES_MAX;
}

static BIGNUM *number(const ASN1_INTEGER *integer)
{
	return BN_bin2bn(ASN1_STRING_get0_data(integer), ASN1_STRING_length(integer), NULL);
}

static EVP_PKEY *make_rsa(const struct rsa_key *rsa)
{
	g_autoptr(OSSL_PARAM_BLD) builder = OSSL_PARAM_BLD_new();
	g_autoptr(BIGNUM) modulus = number(rsa->modulus), exponent = number(rsa->exponent);
	g_autoptr(OSSL_PARAM) params = NULL;
	g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *key = NULL;

	if (OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent))
		params = OSSL_PARAM_BLD_to_param(builder);
	if (params && ctx && EVP_PKEY_fromdata_init(ctx) > 0)
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	return key;
}

/* RSA as everybody writes it; NULL for anything else. */
static EVP_PKEY *decode_rsa(const struct spki *spki)
{
	const ASN1_BIT_STRING *bits = spki->key;

	if (OBJ_obj2nid(spki->algorithm->algorithm) != NID_rsaEncryption || !spki->algorithm->parameter || spki->algorithm->parameter->type != V_ASN1_NULL)
		return NULL;
	struct rsa_key *rsa = asn1_parse(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), ASN1_ITEM_rptr(RSA_KEY));
	EVP_PKEY *key = rsa && is_usual(rsa->modulus) && is_usual(rsa->exponent) ? make_rsa(rsa) : NULL;

	ASN1_item_free((ASN1_VALUE *)rsa, ASN1_ITEM_rptr(RSA_KEY));
	ERR_clear_error();
	return key;
}

EVP_PKEY *spki_decode(const struct spki *spki)
{
	EVP_PKEY *key = decode_rsa(spki);

	if (key)
		return key;
	g_autoptr(GBytes) der = spki_format(spki);
	gsize len;
	const uint8_t *p = der ? g_bytes_get_data(der, &len) : NULL;

	key = der ? d2i_PUBKEY(NULL, &p, (long)len) : NULL;
	ERR_clear_error();
	return key;
}
