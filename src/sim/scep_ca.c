#include "sim/scep_ca.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "sim/scep_reply.h"

void sim_scep_ca_clear(struct sim_scep_ca *ca)
{
	sim_certs_free(ca->all);
	*ca = (struct sim_scep_ca){0};
}

static bool has_issued(X509 *issuer, X509 *cert)
{
	bool ok = X509_check_issued(issuer, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(issuer)) == 1;

	ERR_clear_error();
	return ok;
}

bool sim_scep_ca_issued(const struct sim_scep_ca *ca, X509 *cert)
{
	for (int i = 0; i < sk_X509_num(ca->all); i++)
		if (has_issued(sk_X509_value(ca->all, i), cert))
			return true;
	return false;
}

bool sim_scep_ca_issued_crl(const struct sim_scep_ca *ca, X509_CRL *crl)
{
	bool ok = false;

	for (int i = 0; i < sk_X509_num(ca->all) && !ok; i++) {
		X509 *cert = sk_X509_value(ca->all, i);

		ok = !X509_NAME_cmp(X509_get_subject_name(cert), X509_CRL_get_issuer(crl)) && X509_CRL_verify(crl, X509_get0_pubkey(cert)) == 1;
	}
	ERR_clear_error();
	return ok;
}

/* ---- the choice ---- */

/* Without a keyUsage extension a certificate may be used for all. */
static bool may(X509 *cert, uint32_t usage)
{
	return !(X509_get_extension_flags(cert) & EXFLAG_KUSAGE) || (X509_get_key_usage(cert) & usage);
}

/* Apple's client can envelope to RSA keys only, and macOS to those alone that may encipher keys (RFC 8894 §2.1.2). */
static bool check_use(const struct sim_scep_ca *ca, GError **error)
{
	EVP_PKEY *key = X509_get0_pubkey(ca->recipient);

	ERR_clear_error();
	if (!key || !EVP_PKEY_is_a(key, "RSA"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: the certificate of GetCACert has no RSA key, which requests are enveloped to");
	return (may(ca->recipient, KU_KEY_ENCIPHERMENT) && may(ca->signer, KU_DIGITAL_SIGNATURE)) ||
	       pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: the certificate of GetCACert lacks digitalSignature or keyEncipherment (RFC 8894 §2.1.2)");
}

static bool check_fingerprint(X509 *cert, GBytes *fingerprint, GError **error)
{
	gsize len = fingerprint ? g_bytes_get_size(fingerprint) : 0;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;

	if (!fingerprint)
		return true;
	if (X509_digest(cert, len == 16 ? EVP_md5() : EVP_sha1(), digest, &digest_len) && digest_len == len && !memcmp(digest, g_bytes_get_data(fingerprint, NULL), len))
		return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22002: the CA certificate does not have the CAFingerprint of the profile");
}

/* The first certificate below the root that has all of USAGE and none of WITHOUT; NULL. */
static X509 *find_with_usage(sim_certs *certs, uint32_t usage, uint32_t without)
{
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);
		uint32_t has = X509_get_key_usage(cert);

		if (X509_self_signed(cert, 0) != 1 && (X509_get_extension_flags(cert) & EXFLAG_KUSAGE) && (has & usage) == usage && !(has & without))
			return cert;
	}
	return NULL;
}

static bool find_root(struct sim_scep_ca *ca, GError **error)
{
	for (int i = 0; i < sk_X509_num(ca->all); i++) {
		X509 *cert = sk_X509_value(ca->all, i);

		if (X509_self_signed(cert, 1) != 1)
			continue;
		if (ca->root)
			return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert gives two roots");
		ca->root = cert;
	}
	ERR_clear_error();
	return ca->root || pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert gives no root certificate");
}

static bool check_chains(const struct sim_scep_ca *ca, GError **error)
{
	for (int i = 0; i < sk_X509_num(ca->all); i++) {
		X509 *cert = sk_X509_value(ca->all, i);

		if (!sim_scep_ca_issued(ca, cert)) {
			g_autofree char *subject = sim_cert_subject(cert);

			return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert gives %s without its issuer", subject);
		}
	}
	return true;
}

static bool choose_from_chain(struct sim_scep_ca *ca, GError **error)
{
	if (!find_root(ca, error) || !check_chains(ca, error))
		return false;
	ca->recipient = find_with_usage(ca->all, KU_KEY_ENCIPHERMENT, KU_DIGITAL_SIGNATURE);
	ca->signer = find_with_usage(ca->all, KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT);
	if (!ca->recipient || !ca->signer)
		ca->recipient = ca->signer = find_with_usage(ca->all, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, 0);
	return ca->recipient || pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert needs, below its root, a certificate with digitalSignature and keyEncipherment");
}

static bool choose(struct sim_scep_ca *ca, GBytes *fingerprint, GError **error)
{
	return choose_from_chain(ca, error) && check_use(ca, error) && check_fingerprint(ca->root, fingerprint, error);
}

static bool choose_single(struct sim_scep_ca *ca, GBytes *fingerprint, GError **error)
{
	ca->recipient = ca->signer = ca->root = sk_X509_value(ca->all, 0);
	return check_use(ca, error) && check_fingerprint(ca->root, fingerprint, error);
}

/* ---- GetCACert ---- */

/* transfer full; NULL with ERROR. */
static sim_certs *parse_single(GBytes *body, GError **error)
{
	gsize len;
	const unsigned char *start = g_bytes_get_data(body, &len), *p = start;
	g_autoptr(X509) cert = start ? d2i_X509(NULL, &p, (long)len) : NULL;
	sim_certs *certs;

	ERR_clear_error();
	if (!cert || (gsize)(p - start) != len) {
		pom_fail(error, POM_ERR_SCEP_MESSAGE, cert ? "22002: there is something behind the certificate of GetCACert" : "22002: GetCACert gives no DER certificate");
		return NULL;
	}
	certs = sk_X509_new_null();
	sk_X509_push(certs, g_steal_pointer(&cert));
	return certs;
}

bool sim_scep_ca_parse(const char *type, GBytes *body, GBytes *fingerprint, struct sim_scep_ca *ret, GError **error)
{
	bool single = !g_strcmp0(type, "application/x-x509-ca-cert");
	struct sim_scep_ca ca = {0};

	if (!single && g_strcmp0(type, "application/x-x509-ca-ra-cert"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22004: GetCACert answers with the media type %s", type ? type : "(none)");
	ca.all = single ? parse_single(body, error) : sim_scep_certs_parse(body, "the answer to GetCACert", error);
	if (ca.all && (single ? choose_single(&ca, fingerprint, error) : choose(&ca, fingerprint, error))) {
		*ret = ca;
		return true;
	}
	sim_scep_ca_clear(&ca);
	return false;
}

/* ---- GetNextCACert ---- */

/* The CA certificates among CA's, borrowed, in a list that the caller frees. */
static STACK_OF(X509) *list_cas(const struct sim_scep_ca *ca)
{
	STACK_OF(X509) *list = sk_X509_new_null();

	for (int i = 0; i < sk_X509_num(ca->all); i++)
		if (X509_check_ca(sk_X509_value(ca->all, i)) == 1)
			sk_X509_push(list, sk_X509_value(ca->all, i));
	return list;
}

/* The content of the signed answer, transfer full; NULL with ERROR. */
static GBytes *verify_next(GBytes *body, const struct sim_scep_ca *current, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = sim_scep_cms_parse(body, NID_pkcs7_signed, "the answer to GetNextCACert", error);
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());
	STACK_OF(X509) *cas;
	g_autofree char *why = NULL;
	bool ok;

	if (!cms)
		return NULL;
	cas = list_cas(current);
	ok = CMS_verify(cms, cas, NULL, NULL, out, CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1;
	sk_X509_free(cas);
	if (ok)
		return sim_bio_bytes(out);
	why = sim_openssl_error();
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "the answer to GetNextCACert is not signed by the current CA (RFC 8894 §4.7.1): %s", why);
	return NULL;
}

static bool check_next(const struct sim_scep_ca *ca, GError **error)
{
	for (int i = 0; i < sk_X509_num(ca->all); i++)
		if (X509_check_ca(sk_X509_value(ca->all, i)) == 1)
			return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "GetNextCACert gives no CA certificate");
}

bool sim_scep_next_ca_parse(const char *type, GBytes *body, const struct sim_scep_ca *current, struct sim_scep_ca *ret, GError **error)
{
	struct sim_scep_ca ca = {0};
	g_autoptr(GBytes) content = NULL;

	if (g_strcmp0(type, "application/x-x509-next-ca-cert"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "GetNextCACert answers with the media type %s", type ? type : "(none)");
	content = verify_next(body, current, error);
	ca.all = content ? sim_scep_certs_parse(content, "the content of GetNextCACert", error) : NULL;
	if (ca.all && check_next(&ca, error) && (sk_X509_num(ca.all) == 1 ? choose_single(&ca, NULL, error) : choose(&ca, NULL, error))) {
		*ret = ca;
		return true;
	}
	sim_scep_ca_clear(&ca);
	return false;
}
