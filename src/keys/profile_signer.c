#include "keys/profile_signer.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "codec/cert_kind.h"
#include "keys/pkcs12.h"

enum { RSA_BITS_MIN = 2048, EC_BITS_MIN = 256 };

enum profile_signer_kind profile_signer_kind(const X509 *cert, const struct cert_info *info)
{
	/* A certificate for signing code by anybody's CA signs profiles as well. */
	static const enum profile_signer_kind kinds[CERT_KIND_MAX] = {
		[CERT_KIND_PUSH] = PROFILE_SIGNER_PUSH, [CERT_KIND_APP_PUSH] = PROFILE_SIGNER_PUSH, [CERT_KIND_VENDOR] = PROFILE_SIGNER_VENDOR, [CERT_KIND_DEVELOPER] = PROFILE_SIGNER_DEVELOPER,
		[CERT_KIND_CA] = PROFILE_SIGNER_CA, [CERT_KIND_DEVICE] = PROFILE_SIGNER_IDENTITY, [CERT_KIND_CODE] = PROFILE_SIGNER_FIT, [CERT_KIND_OTHER] = PROFILE_SIGNER_FIT,
	};
	enum profile_signer_kind kind = kinds[cert_kind_of(cert, info)];

	return kind == PROFILE_SIGNER_FIT && info->key_usage != UINT32_MAX && !(info->key_usage & KU_DIGITAL_SIGNATURE) ? PROFILE_SIGNER_USAGE : kind;
}

/* What is wrong with the kind of certificate; NULL: nothing. */
static const char *const wrong_kinds[PROFILE_SIGNER_KIND_MAX] = {
	[PROFILE_SIGNER_PUSH] = "is a push certificate: its key speaks to APNs and changes whenever the certificate is made anew",
	[PROFILE_SIGNER_VENDOR] = "is an MDM vendor certificate: it signs requests for push certificates, and nothing else",
	[PROFILE_SIGNER_DEVELOPER] = "is a developer certificate of Apple's: devices do not take it for profiles",
	[PROFILE_SIGNER_CA] = "is a CA's: a CA issues certificates, and signs no profiles",
	[PROFILE_SIGNER_IDENTITY] = "is the identity of a device or client",
	[PROFILE_SIGNER_USAGE] = "may not sign: its key usage lacks digitalSignature (RFC 5280 §4.2.1.3)",
};

bool profile_signer_is_strong(const struct cert_info *info)
{
	return info->key_type == EVP_PKEY_RSA ? info->key_bits >= RSA_BITS_MIN : info->key_type == EVP_PKEY_EC && info->key_bits >= EC_BITS_MIN;
}

static bool check_info(const X509 *cert, const struct cert_info *info, int64_t at_s, GError **error)
{
	const char *why = wrong_kinds[profile_signer_kind(cert, info)];
	g_autofree char *from = pom_time_format(info->not_before * 1000), *to = pom_time_format(info->not_after * 1000);

	if (why)
		return pom_fail(error, POM_ERR_PROFILE_SIGNER, "the certificate \"%s\" %s. Sign with Pomona's own profile-signing key, or with a TLS server or e-mail certificate", info->subject, why);
	if (!profile_signer_is_strong(info))
		return pom_fail(error, POM_ERR_PROFILE_SIGNER, "the certificate \"%s\" has a key of %d bits that is too weak or of a kind that devices do not verify: RSA of 2048 bits or more, or EC of 256 or more", info->subject, info->key_bits);
	if (at_s < info->not_before)
		return pom_fail(error, POM_ERR_PROFILE_SIGNER, "the certificate \"%s\" is not valid before %s", info->subject, from);
	if (at_s > info->not_after)
		return pom_fail(error, POM_ERR_PROFILE_SIGNER, "the certificate \"%s\" has expired at %s", info->subject, to);
	return true;
}

bool profile_signer_check(X509 *cert, int64_t at_s, GError **error)
{
	g_autoptr(cert_info) info = cert_info_new(cert, error);

	return info && check_info(cert, info, at_s, error);
}

struct profile_signer *profile_signer_ref(struct profile_signer *signer)
{
	pom_refs_take(&signer->refs);
	return signer;
}

void profile_signer_unref(struct profile_signer *signer)
{
	if (!signer || !pom_refs_drop(&signer->refs))
		return;
	g_clear_pointer(&signer->key, signer_unref);
	g_clear_pointer(&signer->chain, g_ptr_array_unref);
	g_clear_pointer(&signer->info, cert_info_free);
	X509_free(signer->cert);
	g_free(signer->missing);
	g_free(signer);
}

static X509 *find_issuer(X509 *cert, GPtrArray *among)
{
	for (guint i = 0; among && i < among->len; i++)
		if (cert_is_issued_by(cert, among->pdata[i]))
			return among->pdata[i];
	return NULL;
}

/* From the signer upwards, until a root or nobody. */
static void build_chain(struct profile_signer *signer, GPtrArray *certs, GPtrArray *roots)
{
	X509 *at = signer->cert;

	while (!cert_is_issued_by(at, at)) {
		X509 *issuer = find_issuer(at, certs);

		g_ptr_array_add(signer->chain, cert_format_der(at));
		if (!issuer && !find_issuer(at, roots))
			signer->missing = cert_issuer_text(at);
		if (!issuer || signer->chain->len == PROFILE_CHAIN_MAX)
			return;
		at = issuer;
	}
	/* One that signed itself is all there is to send. */
	if (at == signer->cert)
		g_ptr_array_add(signer->chain, cert_format_der(at));
}

static X509 *find_own(GPtrArray *certs, struct signer *key)
{
	for (guint i = 0; i < certs->len; i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(certs->pdata[i]), signer_get_key(key)) == 1)
			return certs->pdata[i];
	return NULL;
}

struct profile_signer *profile_signer_new(GPtrArray *certs, struct signer *key, GPtrArray *roots, int64_t at_s, GError **error)
{
	g_autoptr(cert_info) info = NULL;
	X509 *cert = find_own(certs, key);
	struct profile_signer *signer;

	if (!cert) {
		pom_fail(error, POM_ERR_KEY_MISMATCH, "the private key belongs to no certificate of the file");
		return NULL;
	}
	info = cert_info_new(cert, error);
	if (!info || !check_info(cert, info, at_s, error))
		return NULL;
	signer = g_new0(struct profile_signer, 1);
	pom_refs_init(&signer->refs);
	signer->key = signer_ref(key);
	X509_up_ref(cert);
	signer->cert = cert;
	signer->info = g_steal_pointer(&info);
	signer->chain = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	build_chain(signer, certs, roots);
	return signer;
}

struct signer *profile_key_load(GBytes *file, const char *password, GPtrArray **ret_certs, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	g_autoptr(GError) plain_error = NULL, error12 = NULL;
	g_autoptr(GPtrArray) certs = NULL;
	struct signer *key = signer_parse_any(data, len, password, &plain_error);

	if (ret_certs)
		*ret_certs = NULL;
	if (key)
		return key;
	if (pkcs12_open(data, len, password, &key, &certs, &error12)) {
		if (ret_certs)
			*ret_certs = g_steal_pointer(&certs);
		return key;
	}
	/* What looks like PKCS #12 is said as such. */
	g_propagate_error(error, g_error_matches(error12, POM_ERROR, POM_ERR_PASSWORD) ? g_steal_pointer(&error12) : g_steal_pointer(&plain_error));
	return NULL;
}

struct profile_signer *profile_signer_load(GBytes *cert_file, GBytes *key_file, const char *password, GPtrArray *roots, int64_t at_s, GError **error)
{
	g_autoptr(GPtrArray) certs = cert_parse_all(g_bytes_get_data(cert_file, NULL), g_bytes_get_size(cert_file), NULL), with_key = NULL;
	g_autoptr(signer) key = profile_key_load(key_file, password, &with_key, error);
	g_autoptr(signer) again = NULL;

	if (!key)
		return NULL;
	if (!certs && !(again = profile_key_load(cert_file, password, &certs, NULL)))
		certs = cert_parse_all(g_bytes_get_data(cert_file, NULL), g_bytes_get_size(cert_file), error);
	if (!certs && again)
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the file holds a key, but no certificate");
	return certs ? profile_signer_new(certs, key, roots, at_s, error) : NULL;
}

GBytes *profile_signer_sign(const struct profile_signer *signer, GBytes *profile, int64_t at_s, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(profile, &len);

	return cms_make_signed(signer->key, signer->cert, data, len, true, NID_sha256, at_s, NULL, 0, (GBytes *const *)signer->chain->pdata, signer->chain->len, error);
}
