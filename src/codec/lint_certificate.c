/* The payloads that hold certificates, and what is in them. */
#include <openssl/x509v3.h>
#include <string.h>

#include "codec/cert.h"
#include "codec/lint_internal.h"

enum { OPENED_MAX = 16, RSA_BITS_MIN = 2048, EC_BITS_MIN = 256, LIFE_MAX_S = 825 * 86400 };

static bool is_weak(const struct cert_info *info)
{
	return (info->key_type == EVP_PKEY_RSA && info->key_bits < RSA_BITS_MIN) || (info->key_type == EVP_PKEY_EC && info->key_bits < EC_BITS_MIN);
}

/* Signed with SHA-1 or MD5 by somebody else: what a root says of itself is believed for other reasons. */
static bool is_badly_signed(X509 *cert)
{
	int digest = NID_undef;

	if (cert_is_issued_by(cert, cert))
		return false;
	OBJ_find_sigid_algs(X509_get_signature_nid(cert), &digest, NULL);
	return digest == NID_sha1 || digest == NID_md5;
}

/* serverAuth, without being a CA: what devices apply their rules for TLS servers to. */
static bool is_server(const struct cert_info *info)
{
	return !info->is_ca && info->ext_key_usage != UINT32_MAX && info->ext_key_usage & XKU_SSL_SERVER;
}

static void check_server(struct lint *lint, const struct cert_info *info, const char *where)
{
	int64_t life = info->not_after - info->not_before + 1;

	if (!is_server(info))
		return;
	if (!*info->dns_names && !*info->ip_addresses)
		lint_add(lint, LINT_CERTIFICATE_NO_SAN, LINT_USUAL, where, NULL, "the certificate \"%s\" names its host in the common name only", info->subject);
	if (life > LIFE_MAX_S)
		lint_add(lint, LINT_CERTIFICATE_LIFE, LINT_USUAL, where, NULL, "the certificate \"%s\" is one of a TLS server and valid for %d days, more than 825", info->subject, (int)(life / 86400));
}

static void check_dates(struct lint *lint, const struct cert_info *info, const char *where)
{
	if (info->not_after < lint->facts->now_s)
		lint_add(lint, LINT_CERTIFICATE_EXPIRED, LINT_USUAL, where, NULL, "the certificate \"%s\" has expired", info->subject);
	else if (info->not_before > lint->facts->now_s)
		lint_add(lint, LINT_CERTIFICATE_NOT_YET, LINT_USUAL, where, NULL, "the certificate \"%s\" is not valid yet", info->subject);
}

/* What is wrong with a certificate wherever it is. */
static void check_one(struct lint *lint, X509 *cert, const struct cert_info *info, const char *where)
{
	check_dates(lint, info, where);
	if (is_weak(info))
		lint_add(lint, LINT_CERTIFICATE_WEAK_KEY, LINT_USUAL, where, NULL, "the certificate \"%s\" has a key of %d bits, which is too weak", info->subject, info->key_bits);
	if (is_badly_signed(cert))
		lint_add(lint, LINT_CERTIFICATE_SHA1, LINT_USUAL, where, NULL, "the certificate \"%s\" is signed with SHA-1 or MD5", info->subject);
	if (info->is_ca && info->key_usage != UINT32_MAX && !(info->key_usage & KU_KEY_CERT_SIGN))
		lint_add(lint, LINT_CERTIFICATE_CA_USAGE, LINT_USUAL, where, NULL, "the certificate \"%s\" is a CA whose key usage lacks keyCertSign", info->subject);
	check_server(lint, info, where);
}

/* ---- certificates by themselves ---- */

static void check_place(struct lint *lint, X509 *cert, const struct cert_info *info, const char *type, const char *where)
{
	g_autofree char *sha256 = hex_format(info->sha256, sizeof(info->sha256));

	if (!strcmp(type, "com.apple.security.root") && !info->is_ca && !cert_is_issued_by(cert, cert))
		lint_add(lint, LINT_CERTIFICATE_NOT_CA, LINT_USUAL, where, NULL, "the certificate \"%s\" is no CA, and stands where roots stand", info->subject);
	if (!g_hash_table_add(lint->certificates, g_steal_pointer(&sha256)))
		lint_add(lint, LINT_CERTIFICATE_TWICE, LINT_USUAL, where, NULL, "the certificate \"%s\" stands in another payload too", info->subject);
}

void lint_certificate(struct lint *lint, const plist *payload, const char *path)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	g_autofree char *where = lint_path(path, "PayloadContent");
	g_autoptr(GError) why = NULL;
	g_autoptr(GPtrArray) certs = data ? cert_parse_all(data, len, &why) : NULL;
	g_autoptr(cert_info) info = certs ? cert_info_new(certs->pdata[0], &why) : NULL;

	if (!data)
		return;
	if (memmem(data, len, "PRIVATE KEY-----", 16)) {
		lint_add(lint, LINT_CERTIFICATE_PRIVATE_KEY, LINT_USUAL, where, NULL, "holds a private key");
		return;
	}
	if (!info) {
		lint_add(lint, LINT_CERTIFICATE_MALFORMED, LINT_USUAL, where, NULL, "is no certificate: %s", why->message);
		return;
	}
	if (certs->len > 1)
		lint_add(lint, LINT_CERTIFICATE_SEVERAL, LINT_USUAL, where, NULL, "holds %u certificates: devices take the first", certs->len);
	check_one(lint, certs->pdata[0], info, where);
	check_place(lint, certs->pdata[0], info, plist_get_string(plist_dict_get(payload, "PayloadType")), where);
}

/* ---- PKCS #12 ---- */

/* Whether anything in the file is enciphered with PBES2 (RFC 8018 §A.4): by its OBJECT IDENTIFIER, which stands in clear. */
static bool is_pbes2(const uint8_t *data, size_t len)
{
	static const uint8_t oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d};

	return memmem(data, len, oid, sizeof(oid)) != NULL;
}

static void check_opened(struct lint *lint, GPtrArray *certs, const char *where)
{
	g_autoptr(cert_info) info = cert_info_new(certs->pdata[0], NULL);
	bool is_doubled = false;

	if (info)
		check_one(lint, certs->pdata[0], info, where);
	for (guint i = 1; i < certs->len; i++)
		for (guint k = 0; k < i; k++)
			is_doubled = is_doubled || !X509_cmp(certs->pdata[i], certs->pdata[k]);
	if (is_doubled)
		lint_add(lint, LINT_PKCS12_DOUBLED, LINT_USUAL, where, NULL, "a certificate stands in the PKCS #12 file twice");
}

static void check_password(struct lint *lint, const plist *payload, const char *path)
{
	const plist *password = plist_dict_get(payload, "Password");
	g_autofree char *where = lint_path(path, "Password");

	if (!password)
		lint_add(lint, LINT_PKCS12_PASSWORD_NONE, LINT_USUAL, where, NULL, "is missing: the device asks the user for it");
	else if (plist_get_string(password) && !*plist_get_string(password))
		lint_add(lint, LINT_PKCS12_PASSWORD_EMPTY, LINT_USUAL, where, NULL, "is empty: some systems do not import such a file");
}

void lint_pkcs12(struct lint *lint, const plist *payload, const char *path)
{
	size_t len;
	const uint8_t *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	const char *password = plist_get_string(plist_dict_get(payload, "Password"));
	g_autofree char *where = lint_path(path, "PayloadContent");
	g_autoptr(GError) why = NULL;
	g_autoptr(GPtrArray) certs = NULL;

	if (!data)
		return;
	if (!len || data[0] != 0x30) {
		lint_add(lint, LINT_PKCS12_MALFORMED, LINT_USUAL, where, NULL, "is no PKCS #12 file");
		return;
	}
	check_password(lint, payload, path);
	if (is_pbes2(data, len))
		lint_add(lint, LINT_PKCS12_CIPHER, LINT_USUAL, where, NULL, "is enciphered with PBES2 (AES): many devices say \"wrong password\" to it");
	/* Opening one takes time on purpose. */
	if (!password || !lint->facts->open_pkcs12 || lint->n_opened++ >= OPENED_MAX)
		return;
	certs = lint->facts->open_pkcs12(data, len, password, &why);
	if (certs && certs->len)
		check_opened(lint, certs, where);
	else
		lint_add(lint, LINT_PKCS12_PASSWORD, LINT_USUAL, where, NULL, "cannot be opened with its Password: %s", why ? why->message : "it holds no certificate");
}
