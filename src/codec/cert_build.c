/* Unsigned certificates from a plan. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"
#include "codec/datetime.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CRL_DIST_POINTS, CRL_DIST_POINTS_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AUTHORITY_INFO_ACCESS, AUTHORITY_INFO_ACCESS_free)

/* One row per purpose. */
static const struct {
	bool is_ca;
	int path_len;          /* -1: no limit */
	unsigned usage, usage_rsa; /* USAGE_*: for every key; more for RSA keys */
	int ext_usage_nid;     /* NID_undef: none */
} purposes[] = {
	[CERT_ROOT_CA] = {true, -1, USAGE_CA | USAGE_SIGN, 0, NID_undef},
	[CERT_ISSUING_CA] = {true, 0, USAGE_CA | USAGE_SIGN, USAGE_ENCIPHER, NID_undef},
	[CERT_DEVICE] = {false, -1, USAGE_SIGN, USAGE_ENCIPHER, NID_client_auth},
	[CERT_TLS_SERVER] = {false, -1, USAGE_SIGN, USAGE_ENCIPHER, NID_server_auth},
	[CERT_PROFILE_SIGNER] = {false, -1, USAGE_SIGN, 0, NID_email_protect},
	[CERT_RA] = {false, -1, USAGE_SIGN, USAGE_ENCIPHER, NID_undef},
	[CERT_OCSP] = {false, -1, USAGE_SIGN, 0, NID_OCSP_sign},
};

static bool malformed(GError **error, const char *what)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_CERT_MALFORMED, "the certificate cannot be made: %s", what);
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
	g_autoptr(AUTHORITY_KEYID) authority = authority_key_id_new(issuer);

	return authority && add_extension(cert, NID_authority_key_identifier, authority, false);
}

static bool add_constraints(X509 *cert, bool is_ca, int path_len)
{
	g_autoptr(BASIC_CONSTRAINTS) constraints = basic_constraints_new(is_ca, path_len);

	return add_extension(cert, NID_basic_constraints, constraints, is_ca);
}

static bool add_usage(X509 *cert, unsigned usage)
{
	g_autoptr(ASN1_BIT_STRING) bits = key_usage_new(usage);

	return add_extension(cert, NID_key_usage, bits, true);
}

static bool add_alternative_names(X509 *cert, const struct cert_plan *plan)
{
	g_autoptr(GENERAL_NAMES) names = alternative_names_new(plan->dns_names, plan->ip_addresses, plan->uris, plan->emails);
	/* RFC 5280 §4.2.1.6: critical when it is the only name. */
	bool critical = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;

	return names && (sk_GENERAL_NAME_num(names) == 0 || add_extension(cert, NID_subject_alt_name, names, critical));
}

static bool add_crl_url(X509 *cert, const char *url)
{
	g_autoptr(CRL_DIST_POINTS) points = CRL_DIST_POINTS_new();

	if (!url)
		return true;
	GENERAL_NAME *name = uri_name_new(url);

	if (!name)
		return false;
	DIST_POINT *point = DIST_POINT_new();

	sk_DIST_POINT_push(points, point);
	point->distpoint = DIST_POINT_NAME_new();
	point->distpoint->type = 0; /* fullName */
	point->distpoint->name.fullname = GENERAL_NAMES_new();
	sk_GENERAL_NAME_push(point->distpoint->name.fullname, name);
	return add_extension(cert, NID_crl_distribution_points, points, false);
}

static bool add_access(AUTHORITY_INFO_ACCESS *access, int method_nid, const char *url)
{
	GENERAL_NAME *name = url ? uri_name_new(url) : NULL;

	if (!name)
		return !url;
	ACCESS_DESCRIPTION *description = ACCESS_DESCRIPTION_new();

	description->method = OBJ_nid2obj(method_nid);
	GENERAL_NAME_free(description->location);
	description->location = name;
	sk_ACCESS_DESCRIPTION_push(access, description);
	return true;
}

/* RFC 5280 §4.2.2.1 */
static bool add_info_access(X509 *cert, const struct cert_plan *plan)
{
	g_autoptr(AUTHORITY_INFO_ACCESS) access = AUTHORITY_INFO_ACCESS_new();

	if (!add_access(access, NID_ad_OCSP, plan->ocsp_url) || !add_access(access, NID_ad_ca_issuers, plan->ca_issuers_url))
		return false;
	return sk_ACCESS_DESCRIPTION_num(access) == 0 || add_extension(cert, NID_info_access, access, false);
}

/* RFC 6960 §4.2.2.2.1: nobody asks whether the responder itself is revoked; it lives shortly instead. */
static bool add_no_check(X509 *cert, enum cert_purpose purpose)
{
	ASN1_NULL *value = purpose == CERT_OCSP ? ASN1_NULL_new() : NULL;
	bool ok = !value || add_extension(cert, NID_id_pkix_OCSP_noCheck, value, false);

	ASN1_NULL_free(value);
	return ok;
}

static bool add_extensions(X509 *cert, const struct cert_plan *plan, X509 *issuer, bool is_rsa, GError **error)
{
	unsigned usage = purposes[plan->purpose].usage | (is_rsa && !plan->no_encipherment ? purposes[plan->purpose].usage_rsa : 0);

	if (!add_constraints(cert, purposes[plan->purpose].is_ca, purposes[plan->purpose].path_len) || !add_usage(cert, usage) ||
	    !add_ext_usage(cert, purposes[plan->purpose].ext_usage_nid) || !add_key_ids(cert, issuer) || !add_no_check(cert, plan->purpose))
		return malformed(error, "an extension cannot be encoded");
	if (!add_alternative_names(cert, plan))
		return malformed(error, "a subjectAltName is not a DNS name, address, URI or e-mail address, or there are too many");
	if (!add_crl_url(cert, plan->crl_url) || !add_info_access(cert, plan))
		return malformed(error, "the URL of the CRL, of OCSP or of the issuer's certificate is not a URI");
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
	if (plan->purpose == CERT_RA && key_nid != NID_rsaEncryption) {
		malformed(error, "an RA needs an RSA key, because clients encrypt to it (RFC 8894 §3.1)");
		return NULL;
	}
	X509_set_version(cert, X509_VERSION_3);
	if (!set_serial(cert, plan, error) || !set_names(cert, plan, issuer, error) || !set_dates(cert, plan, error) ||
	    !add_extensions(cert, plan, issuer, key_nid == NID_rsaEncryption, error))
		return NULL;
	return g_steal_pointer(&cert);
}

X509 *cert_rebuild(X509 *old, const struct cert_plan *plan, GError **error)
{
	g_autoptr(X509) cert = X509_dup(old);

	if (!cert) {
		malformed(error, "the old one cannot be copied");
		return NULL;
	}
	return set_serial(cert, plan, error) && set_dates(cert, plan, error) ? g_steal_pointer(&cert) : NULL;
}
