/* Names and unsigned certificates from a plan. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"
#include "codec/datetime.h"

enum { ALTERNATIVE_NAMES_MAX = 64, DNS_NAME_MAX = 253, URI_MAX = 2048, NAME_VALUE_MAX = 1024 };

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GENERAL_NAMES, GENERAL_NAMES_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GENERAL_NAME, GENERAL_NAME_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_BIT_STRING, ASN1_BIT_STRING_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AUTHORITY_KEYID, AUTHORITY_KEYID_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CRL_DIST_POINTS, CRL_DIST_POINTS_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ASN1_TIME, ASN1_TIME_free)

/* Bits of KeyUsage (RFC 5280 §4.2.1.3), most important first. */
enum { KU_BIT_DIGITAL_SIGNATURE = 0, KU_BIT_KEY_ENCIPHERMENT = 2, KU_BIT_CERT_SIGN = 5, KU_BIT_CRL_SIGN = 6, KU_BITS = 9 };
enum { DS = 1 << KU_BIT_DIGITAL_SIGNATURE, KE = 1 << KU_BIT_KEY_ENCIPHERMENT, CA_SIGN = 1 << KU_BIT_CERT_SIGN | 1 << KU_BIT_CRL_SIGN };

/* One row per purpose. */
static const struct {
	bool is_ca;
	int path_len;          /* -1: no limit */
	int usage, usage_rsa;  /* for every key; more for RSA keys */
	int ext_usage_nid;     /* NID_undef: none */
} purposes[] = {
	[CERT_ROOT_CA] = {true, -1, CA_SIGN | DS, 0, NID_undef},
	[CERT_ISSUING_CA] = {true, 0, CA_SIGN | DS, KE, NID_undef},
	[CERT_DEVICE] = {false, -1, DS, KE, NID_client_auth},
	[CERT_TLS_SERVER] = {false, -1, DS, KE, NID_server_auth},
	[CERT_PROFILE_SIGNER] = {false, -1, DS, 0, NID_email_protect},
};

static bool malformed(GError **error, const char *what)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_CERT_MALFORMED, "the certificate cannot be made: %s", what);
}

static bool add_name_entry(X509_NAME *name, const char *attribute, const char *value, GError **error)
{
	int nid = OBJ_txt2nid(attribute);
	size_t len = strlen(value);

	if (nid == NID_undef)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the name attribute \"%s\" is unknown", attribute);
	if (len > 0 && len <= NAME_VALUE_MAX && g_utf8_validate(value, -1, NULL) &&
	    X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const uint8_t *)value, (int)len, -1, 0))
		return true;
	ERR_clear_error();
	return pom_fail(error, POM_ERR_CERT_MALFORMED, "the value of the name attribute %s is empty, too long or of another alphabet (X.520)", attribute);
}

GBytes *cert_name_format(GError **error, const char *attribute, ...)
{
	g_autoptr(X509_NAME) name = X509_NAME_new();
	bool ok = true;
	va_list args;

	va_start(args, attribute);
	for (; ok && attribute; attribute = va_arg(args, const char *)) {
		const char *value = va_arg(args, const char *);

		ok = add_name_entry(name, attribute, value ? value : "", error);
	}
	va_end(args);
	return ok ? asn1_format(name, ASN1_ITEM_rptr(X509_NAME)) : NULL;
}

static bool set_serial(X509 *cert, const struct cert_plan *plan, GError **error)
{
	g_autoptr(BIGNUM) number = NULL;

	/* RFC 5280 §4.1.2.2: positive, at most 20 octets with the sign's. */
	if (plan->serial_len < 1 || plan->serial_len > CERT_SERIAL_MAX || (plan->serial_len == CERT_SERIAL_MAX && plan->serial[0] & 0x80))
		return malformed(error, "the serial number is longer than 20 bytes or missing");
	number = BN_bin2bn(plan->serial, (int)plan->serial_len, NULL);
	if (BN_is_zero(number) || !BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)))
		return malformed(error, "the serial number is zero");
	return true;
}

static bool set_names(X509 *cert, const struct cert_plan *plan, X509 *issuer, GError **error)
{
	g_autoptr(X509_NAME) subject = NULL;

	if (plan->subject_der)
		subject = asn1_parse(g_bytes_get_data(plan->subject_der, NULL), g_bytes_get_size(plan->subject_der), ASN1_ITEM_rptr(X509_NAME));
	if (!subject)
		return malformed(error, "the subject is not a Name");
	X509_set_subject_name(cert, subject);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
	return true;
}

static bool set_dates(X509 *cert, const struct cert_plan *plan, GError **error)
{
	g_autoptr(ASN1_TIME) from = NULL, to = NULL;
	struct datetime civil;

	if (!datetime_from_unix(plan->not_before, &civil) || !datetime_from_unix(plan->not_after, &civil))
		return malformed(error, "a date is outside the years that X.509 has");
	if (plan->not_before >= plan->not_after)
		return malformed(error, "it would end before it begins");
	from = ASN1_TIME_set(NULL, (time_t)plan->not_before);
	to = ASN1_TIME_set(NULL, (time_t)plan->not_after);
	if (!from || !to || !X509_set1_notBefore(cert, from) || !X509_set1_notAfter(cert, to))
		return malformed(error, "a date cannot be encoded");
	return true;
}

/* Moves the algorithm and the key's bits over as they are. RSA has NULL parameters, EC the OID of its curve. */
static bool set_key(X509 *cert, const struct spki *spki, int key_nid)
{
	const ASN1_OBJECT *algorithm;
	const void *parameter;
	int type, len = ASN1_STRING_length(spki->key);

	X509_ALGOR_get0(&algorithm, &type, &parameter, spki->algorithm);
	if (type != (key_nid == NID_rsaEncryption ? V_ASN1_NULL : V_ASN1_OBJECT) || len == 0)
		return false;
	uint8_t *bits = OPENSSL_memdup(ASN1_STRING_get0_data(spki->key), (size_t)len);
	void *value = type == V_ASN1_OBJECT ? OBJ_dup(parameter) : NULL;

	return X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(cert), OBJ_dup(algorithm), type, value, bits, len);
}

static bool add_extension(X509 *cert, int nid, void *value, bool critical)
{
	return X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_constraints(X509 *cert, bool is_ca, int path_len)
{
	g_autoptr(BASIC_CONSTRAINTS) constraints = BASIC_CONSTRAINTS_new();

	constraints->ca = is_ca ? 0xff : 0;
	if (path_len >= 0) {
		constraints->pathlen = ASN1_INTEGER_new();
		ASN1_INTEGER_set(constraints->pathlen, path_len);
	}
	return add_extension(cert, NID_basic_constraints, constraints, is_ca);
}

static bool add_usage(X509 *cert, int usage)
{
	g_autoptr(ASN1_BIT_STRING) bits = ASN1_BIT_STRING_new();

	for (int i = 0; i < KU_BITS; i++) {
		if (usage & 1 << i)
			ASN1_BIT_STRING_set_bit(bits, i, 1);
	}
	return add_extension(cert, NID_key_usage, bits, true);
}

static bool add_ext_usage(X509 *cert, int nid)
{
	g_autoptr(EXTENDED_KEY_USAGE) usage = EXTENDED_KEY_USAGE_new();

	if (nid == NID_undef)
		return true;
	sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(nid));
	return add_extension(cert, NID_ext_key_usage, usage, false);
}

/* RFC 5280 §4.2.1.2 method 1: SHA-1 of the key's bits. A name, not a protection. */
static bool add_key_ids(X509 *cert, X509 *issuer)
{
	uint8_t id[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	g_autoptr(ASN1_OCTET_STRING) own = ASN1_OCTET_STRING_new();

	if (!X509_pubkey_digest(cert, EVP_sha1(), id, &len) || !ASN1_OCTET_STRING_set(own, id, (int)len) ||
	    !add_extension(cert, NID_subject_key_identifier, own, false))
		return false;
	if (!issuer)
		return true;
	g_autoptr(AUTHORITY_KEYID) authority = AUTHORITY_KEYID_new();
	const ASN1_OCTET_STRING *known = X509_get0_subject_key_id(issuer);

	if (known) {
		authority->keyid = ASN1_OCTET_STRING_dup(known);
	} else {
		authority->keyid = ASN1_OCTET_STRING_new();
		if (!X509_pubkey_digest(issuer, EVP_sha1(), id, &len) || !ASN1_OCTET_STRING_set(authority->keyid, id, (int)len))
			return false;
	}
	return add_extension(cert, NID_authority_key_identifier, authority, false);
}

static bool is_ascii_text(const char *text, size_t max)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return len > 0 && len <= max;
}

/* DNS name or URI. */
static GENERAL_NAME *text_name(int type, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();

	ASN1_STRING_set(string, text, -1);
	GENERAL_NAME_set0_value(name, type, string);
	return name;
}

static GENERAL_NAME *address_name(const char *text)
{
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);

	if (!address)
		return NULL;
	GENERAL_NAME *name = GENERAL_NAME_new();

	GENERAL_NAME_set0_value(name, GEN_IPADD, address);
	return name;
}

static bool add_names_of_type(GENERAL_NAMES *names, int type, const char *const *texts, size_t max_len)
{
	for (; texts && *texts; texts++) {
		if (sk_GENERAL_NAME_num(names) >= ALTERNATIVE_NAMES_MAX || !is_ascii_text(*texts, max_len))
			return false;
		GENERAL_NAME *name = type == GEN_IPADD ? address_name(*texts) : text_name(type, *texts);

		if (!name)
			return false;
		sk_GENERAL_NAME_push(names, name);
	}
	return true;
}

static bool add_alternative_names(X509 *cert, const struct cert_plan *plan)
{
	g_autoptr(GENERAL_NAMES) names = GENERAL_NAMES_new();
	/* RFC 5280 §4.2.1.6: critical when it is the only name. */
	bool critical = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;

	if (!add_names_of_type(names, GEN_DNS, plan->dns_names, DNS_NAME_MAX) || !add_names_of_type(names, GEN_IPADD, plan->ip_addresses, DNS_NAME_MAX) ||
	    !add_names_of_type(names, GEN_URI, plan->uris, URI_MAX))
		return false;
	return sk_GENERAL_NAME_num(names) == 0 || add_extension(cert, NID_subject_alt_name, names, critical);
}

static bool add_crl_url(X509 *cert, const char *url)
{
	g_autoptr(CRL_DIST_POINTS) points = CRL_DIST_POINTS_new();

	if (!url)
		return true;
	if (!is_ascii_text(url, URI_MAX))
		return false;
	DIST_POINT *point = DIST_POINT_new();

	sk_DIST_POINT_push(points, point);
	point->distpoint = DIST_POINT_NAME_new();
	point->distpoint->type = 0; /* fullName */
	point->distpoint->name.fullname = GENERAL_NAMES_new();
	sk_GENERAL_NAME_push(point->distpoint->name.fullname, text_name(GEN_URI, url));
	return add_extension(cert, NID_crl_distribution_points, points, false);
}

static bool add_extensions(X509 *cert, const struct cert_plan *plan, X509 *issuer, bool is_rsa, GError **error)
{
	int usage = purposes[plan->purpose].usage | (is_rsa ? purposes[plan->purpose].usage_rsa : 0);

	if (!add_constraints(cert, purposes[plan->purpose].is_ca, purposes[plan->purpose].path_len) || !add_usage(cert, usage) ||
	    !add_ext_usage(cert, purposes[plan->purpose].ext_usage_nid) || !add_key_ids(cert, issuer))
		return malformed(error, "an extension cannot be encoded");
	if (!add_alternative_names(cert, plan))
		return malformed(error, "a subjectAltName is not a DNS name, address or URI, or there are too many");
	if (!add_crl_url(cert, plan->crl_url))
		return malformed(error, "the CRL's URL is not a URI");
	return true;
}

X509 *cert_build(const struct cert_plan *plan, X509 *issuer, GError **error)
{
	g_autoptr(X509) cert = X509_new();
	g_autoptr(spki) spki = NULL;

	if ((unsigned)plan->purpose >= CERT_PURPOSE_MAX) {
		malformed(error, "its purpose is unknown");
		return NULL;
	}
	if (plan->spki)
		spki = spki_parse(g_bytes_get_data(plan->spki, NULL), g_bytes_get_size(plan->spki));
	int key_nid = spki ? OBJ_obj2nid(spki->algorithm->algorithm) : NID_undef;

	if ((key_nid != NID_rsaEncryption && key_nid != NID_X9_62_id_ecPublicKey) || !set_key(cert, spki, key_nid)) {
		malformed(error, "the public key is neither RSA nor EC");
		return NULL;
	}
	X509_set_version(cert, X509_VERSION_3);
	if (!set_serial(cert, plan, error) || !set_names(cert, plan, issuer, error) || !set_dates(cert, plan, error) ||
	    !add_extensions(cert, plan, issuer, key_nid == NID_rsaEncryption, error))
		return NULL;
	return g_steal_pointer(&cert);
}
