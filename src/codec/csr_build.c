/* PKCS#10 requests of our own (RFC 2986), for a CA that somebody else runs. */
#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"

enum { CHALLENGE_MAX = 255 }; /* RFC 2985 pkcs-9-ub-challengePassword */

static bool add_challenge(struct csr_body *body, const char *challenge, GError **error)
{
	size_t len = strlen(challenge);

	if (len < 1 || len > CHALLENGE_MAX || !g_utf8_validate(challenge, -1, NULL))
		return pom_fail(error, POM_ERR_CSR_MALFORMED, "a challenge must be 1 to %d bytes of UTF-8 (RFC 2985 §5.4.1)", CHALLENGE_MAX);
	/* A PrintableString where it can be one: old servers read nothing else. */
	int type = ASN1_PRINTABLE_type((const uint8_t *)challenge, (int)len) == V_ASN1_PRINTABLESTRING ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING;

	sk_X509_ATTRIBUTE_push(body->attributes, X509_ATTRIBUTE_create_by_NID(NULL, NID_pkcs9_challengePassword, type, challenge, (int)len));
	return true;
}

static bool add_extension(STACK_OF(X509_EXTENSION) **extensions, int nid, void *value, bool critical)
{
	return X509V3_add1_i2d(extensions, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_wishes(STACK_OF(X509_EXTENSION) **extensions, const struct csr_wish *wish, bool is_rsa)
{
	g_autoptr(GENERAL_NAMES) names = alternative_names_new(wish->dns_names, wish->ip_addresses, wish->uris, wish->emails);
	g_autoptr(BASIC_CONSTRAINTS) constraints = basic_constraints_new(true, 0);
	g_autoptr(ASN1_BIT_STRING) usage = key_usage_new(USAGE_CA | USAGE_SIGN | (is_rsa ? USAGE_ENCIPHER : 0));

	if (!names || (sk_GENERAL_NAME_num(names) > 0 && !add_extension(extensions, NID_subject_alt_name, names, false)))
		return false;
	return !wish->is_ca || (add_extension(extensions, NID_basic_constraints, constraints, true) && add_extension(extensions, NID_key_usage, usage, true));
}

/* extensionRequest (RFC 2985 §5.4.2) */
static bool add_extension_request(struct csr_body *body, const struct csr_wish *wish, bool is_rsa, GError **error)
{
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	uint8_t *der = NULL;
	bool ok = add_wishes(&extensions, wish, is_rsa);
	int len = ok && extensions ? i2d_X509_EXTENSIONS(extensions, &der) : 0;

	if (len > 0)
		sk_X509_ATTRIBUTE_push(body->attributes, X509_ATTRIBUTE_create_by_NID(NULL, NID_ext_req, V_ASN1_SEQUENCE, der, len));
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	OPENSSL_free(der);
	ERR_clear_error();
	return ok || pom_fail(error, POM_ERR_CSR_MALFORMED, "a subjectAltName asked for is not a DNS name, address, URI or e-mail address, or there are too many");
}

GBytes *csr_tbs_format(GBytes *subject_der, GBytes *spki_der, const char *challenge, const struct csr_wish *wish, GError **error)
{
	g_autoptr(csr_body) body = csr_body_new();
	g_autoptr(spki) spki = spki_parse(g_bytes_get_data(spki_der, NULL), g_bytes_get_size(spki_der));
	g_autoptr(X509_NAME) subject = asn1_parse(g_bytes_get_data(subject_der, NULL), g_bytes_get_size(subject_der), ASN1_ITEM_rptr(X509_NAME));
	GBytes *der = NULL;

	if (!spki || !subject) {
		pom_fail(error, POM_ERR_CSR_MALFORMED, "a request needs a Name and a public key (RFC 2986 §4.1)");
		return NULL;
	}
	ASN1_INTEGER_set(body->version, 0);
	X509_NAME_free(body->subject);
	body->subject = g_steal_pointer(&subject);
	spki_free(body->spki);
	body->spki = g_steal_pointer(&spki);
	/* Without attributes an empty set is written (§4.1). */
	body->attributes = sk_X509_ATTRIBUTE_new_null();
	if ((!challenge || add_challenge(body, challenge, error)) &&
	    (!wish || add_extension_request(body, wish, OBJ_obj2nid(body->spki->algorithm->algorithm) == NID_rsaEncryption, error)))
		der = csr_body_format(body);
	return der;
}
