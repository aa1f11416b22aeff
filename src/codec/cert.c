#include "codec/cert.h"

#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"

enum { CERT_MAX = 64 * 1024, PEM_MAX = 4 << 20, RSA_BITS_MIN = 1024, RSA_BITS_MAX = 8192, RSA_EXPONENT_MIN = 65537 };

/* The fingerprint must not depend on how the outer layers were written, so only what encodes back to itself is taken. */
static bool is_canonical(const X509 *cert, const void *data, size_t len)
{
	g_autoptr(GBytes) again = cert_format_der(cert);

	return again && g_bytes_get_size(again) == len && !memcmp(g_bytes_get_data(again, NULL), data, len);
}

X509 *cert_parse_der(const void *data, size_t len, GError **error)
{
	g_autoptr(X509) cert = NULL;

	if (len <= CERT_MAX)
		cert = asn1_parse(data, len, ASN1_ITEM_rptr(X509));
	if (cert && is_canonical(cert, data, len))
		return g_steal_pointer(&cert);
	pom_fail(error, POM_ERR_CERT_MALFORMED, "these %zu bytes are not one DER certificate (RFC 5280 §4.1)", len);
	return NULL;
}

/* Appends the certificate of one PEM block; blocks of other names (keys, parameters) are passed over. */
static bool add_pem_block(GPtrArray *certs, const char *name, const char *header, const void *data, size_t len, GError **error)
{
	if (strcmp(name, PEM_STRING_X509) && strcmp(name, PEM_STRING_X509_OLD))
		return true;
	if (*header)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "PEM block %u has headers", certs->len + 1);
	X509 *cert = cert_parse_der(data, len, error);

	if (!cert)
		return false;
	g_ptr_array_add(certs, cert);
	return true;
}

static bool parse_pem(GPtrArray *certs, const void *data, size_t len, GError **error)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(data, (int)len);
	char *name = NULL, *header = NULL;
	uint8_t *block = NULL;
	long block_len = 0;
	bool ok = true;

	while (ok && PEM_read_bio(bio, &name, &header, &block, &block_len)) {
		ok = add_pem_block(certs, name, header, block, (size_t)block_len, error);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(block, (size_t)block_len);
	}
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

	ERR_clear_error();
	if (ok && !at_end)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "PEM block %u is broken", certs->len + 1);
	if (ok && certs->len == 0)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "there is no certificate in the PEM text");
	return ok;
}

GPtrArray *cert_parse_all(const void *data, size_t len, GError **error)
{
	g_autoptr(GPtrArray) certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	if (len > PEM_MAX) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the certificates have %zu bytes, at most %d are accepted", len, PEM_MAX);
		return NULL;
	}
	if (len > 0 && *(const uint8_t *)data == 0x30) {
		X509 *cert = cert_parse_der(data, len, error);

		if (!cert)
			return NULL;
		g_ptr_array_add(certs, cert);
	} else if (!parse_pem(certs, data, len, error)) {
		return NULL;
	}
	return g_steal_pointer(&certs);
}

GBytes *cert_format_der(const X509 *cert)
{
	return asn1_format(cert, ASN1_ITEM_rptr(X509));
}

/* What was written to a memory BIO, as a string. */
static char *bio_text(BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	return g_strndup(data ? data : "", len > 0 ? (gsize)len : 0);
}

char *cert_format_pem(const X509 *cert)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, cert);
	return bio_text(bio);
}

char *cert_name_text(const X509_NAME *name)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

	/* Without ESC_MSB, so that letters outside ASCII stay readable. */
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	ERR_clear_error();
	g_autofree char *text = bio_text(bio);

	return g_utf8_make_valid(text, -1);
}

char *cert_name_entry(const X509_NAME *name, int nid)
{
	int i = X509_NAME_get_index_by_NID(name, nid, -1);

	return i < 0 ? NULL : asn1_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
}

char *cert_subject_uid(const X509 *cert)
{
	return cert_name_entry(X509_get_subject_name(cert), NID_userId);
}

char *cert_subject_cn(const X509 *cert)
{
	return cert_name_entry(X509_get_subject_name(cert), NID_commonName);
}

char *cert_issuer_text(const X509 *cert)
{
	return cert_name_text(X509_get_issuer_name(cert));
}

char *cert_name_common_name(GBytes *name_der)
{
	g_autoptr(X509_NAME) name = asn1_parse(g_bytes_get_data(name_der, NULL), g_bytes_get_size(name_der), ASN1_ITEM_rptr(X509_NAME));

	return name ? cert_name_entry(name, NID_commonName) : NULL;
}

static char *address_text(const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN];
	int len = ASN1_STRING_length(address);

	if (len != 4 && len != 16)
		return NULL;
	return g_strdup(inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text)));
}

/* Appends the text of the name if it is of TYPE. False when it cannot be a text (a NUL inside, an address of 5 bytes). */
static bool add_general_name(GPtrArray *texts, const GENERAL_NAME *name, int type)
{
	char *text;

	if (name->type != type)
		return true;
	text = type == GEN_IPADD ? address_text(name->d.iPAddress) : asn1_text(name->d.ia5);
	if (!text)
		return false;
	g_ptr_array_add(texts, text);
	return true;
}

static char **general_names(const GENERAL_NAMES *names, int type)
{
	g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		if (!add_general_name(texts, sk_GENERAL_NAME_value(names, i), type))
			return NULL;
	}
	g_ptr_array_add(texts, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&texts), FALSE);
}

static bool read_alternative_names(struct cert_info *info, const X509 *cert)
{
	int critical;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

	ERR_clear_error();
	if (!names && critical != -1) /* there is one, but broken or twice */
		return false;
	info->dns_names = general_names(names, GEN_DNS);
	info->ip_addresses = general_names(names, GEN_IPADD);
	GENERAL_NAMES_free(names);
	return info->dns_names && info->ip_addresses;
}

static void read_digests(struct cert_info *info, X509 *cert)
{
	g_autoptr(GBytes) der = cert_format_der(cert);

	cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), info->sha256);
	EVP_Digest(g_bytes_get_data(der, NULL), g_bytes_get_size(der), info->sha1, NULL, EVP_sha1(), NULL);
	cert_sha256(g_bytes_get_data(info->spki, NULL), g_bytes_get_size(info->spki), info->spki_sha256);
}

static bool read_parts(struct cert_info *info, X509 *cert)
{
	const ASN1_OCTET_STRING *key_id = X509_get0_subject_key_id(cert);

	info->subject_der = asn1_format(X509_get_subject_name(cert), ASN1_ITEM_rptr(X509_NAME));
	info->issuer_der = asn1_format(X509_get_issuer_name(cert), ASN1_ITEM_rptr(X509_NAME));
	info->spki = asn1_format(X509_get_X509_PUBKEY(cert), ASN1_ITEM_rptr(X509_PUBKEY));
	if (key_id)
		info->key_id = g_bytes_new(ASN1_STRING_get0_data(key_id), (gsize)ASN1_STRING_length(key_id));
	ERR_clear_error();
	return info->subject_der && info->issuer_der && info->spki;
}

static void read_usage(struct cert_info *info, X509 *cert)
{
	uint32_t flags = X509_get_extension_flags(cert);
	EVP_PKEY *key = X509_get0_pubkey(cert);

	info->is_ca = flags & EXFLAG_CA && !(flags & EXFLAG_INVALID);
	info->path_len = (int)X509_get_pathlen(cert);
	info->key_usage = X509_get_key_usage(cert);
	info->ext_key_usage = X509_get_extended_key_usage(cert);
	info->key_type = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
	info->key_bits = key ? EVP_PKEY_get_bits(key) : 0;
	ERR_clear_error();
}

struct cert_info *cert_info_new(X509 *cert, GError **error)
{
	g_autoptr(cert_info) info = g_new0(struct cert_info, 1);

	if (!asn1_time_to_unix(X509_get0_notBefore(cert), &info->not_before) || !asn1_time_to_unix(X509_get0_notAfter(cert), &info->not_after)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the validity holds no dates (RFC 5280 §4.1.2.5)");
		return NULL;
	}
	if (!read_alternative_names(info, cert)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the subjectAltName is broken (RFC 5280 §4.2.1.6)");
		return NULL;
	}
	if (!read_parts(info, cert)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "a name or the key of the certificate cannot be encoded (RFC 5280 §4.1)");
		return NULL;
	}
	read_digests(info, cert);
	read_usage(info, cert);
	info->serial = asn1_serial_text(X509_get0_serialNumber(cert));
	info->subject = cert_name_text(X509_get_subject_name(cert));
	info->issuer = cert_name_text(X509_get_issuer_name(cert));
	return g_steal_pointer(&info);
}

void cert_info_free(struct cert_info *info)
{
	if (!info)
		return;
	g_free(info->serial);
	g_free(info->subject);
	g_free(info->issuer);
	g_strfreev(info->dns_names);
	g_strfreev(info->ip_addresses);
	g_clear_pointer(&info->subject_der, g_bytes_unref);
	g_clear_pointer(&info->issuer_der, g_bytes_unref);
	g_clear_pointer(&info->key_id, g_bytes_unref);
	g_clear_pointer(&info->spki, g_bytes_unref);
	g_free(info);
}

bool is_outdated_digest(int nid)
{
	return nid == NID_md2 || nid == NID_md4 || nid == NID_md5 || nid == NID_md5_sha1;
}

bool cert_is_issued_by(X509 *cert, X509 *issuer)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int digest_nid = NID_undef;
	int match = X509_check_issued(issuer, cert);

	/* The key usage is looked at last, so this answer says that the rest matches. */
	if (!key || (match != X509_V_OK && match != X509_V_ERR_KEYUSAGE_NO_CERTSIGN))
		return false;
	bool ok = X509_get_signature_info(cert, &digest_nid, NULL, NULL, NULL) && !is_outdated_digest(digest_nid) && X509_verify(cert, key) == 1;

	ERR_clear_error();
	return ok;
}

bool cert_is_signed_by(X509 *cert, X509 *issuer)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool ok = key && X509_verify(cert, key) == 1;

	ERR_clear_error();
	return ok;
}

static bool check_rsa(const EVP_PKEY *key, GError **error)
{
	uint64_t exponent = 0;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_uint64(OSSL_PKEY_PARAM_RSA_E, &exponent), OSSL_PARAM_construct_end()};
	int bits = EVP_PKEY_get_bits(key);

	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
		return pom_fail(error, POM_ERR_KEY_WEAK, "the RSA key has %d bits, %d to %d are accepted", bits, RSA_BITS_MIN, RSA_BITS_MAX);
	/* Fails for more than 64 bits. */
	if (!EVP_PKEY_get_params(key, params) || !(exponent & 1) || exponent < RSA_EXPONENT_MIN)
		return pom_fail(error, POM_ERR_KEY_WEAK, "the RSA exponent must be odd and at least %d", RSA_EXPONENT_MIN);
	return true;
}

static bool check_ec(const EVP_PKEY *key, GError **error)
{
	static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1", NULL};
	char group[64] = "", encoding[64] = "";

	EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
	EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL);
	/* Explicit parameters can look like a named curve and not be it (CVE-2020-0601). */
	if (g_strv_contains(curves, group) && !strcmp(encoding, OSSL_PKEY_EC_ENCODING_GROUP))
		return true;
	return pom_fail(error, POM_ERR_KEY_WEAK, "the EC key is not on P-256, P-384 or P-521, named by its OID");
}

bool cert_key_check(EVP_PKEY *key, GError **error)
{
	bool ok;

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		ok = check_rsa(key, error);
		break;
	case EVP_PKEY_EC:
		ok = check_ec(key, error);
		break;
	default:
		ok = pom_fail(error, POM_ERR_KEY_WEAK, "the key is neither RSA nor EC");
	}
	ERR_clear_error();
	return ok;
}

GBytes *cert_spki_format(EVP_PKEY *key)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	GBytes *bytes = g_bytes_new(der, len > 0 ? (gsize)len : 0);

	OPENSSL_free(der);
	return bytes;
}

const EVP_MD *digest_by_nid(int nid)
{
	static const int nids[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
	static _Atomic(EVP_MD *) found[G_N_ELEMENTS(nids)];
	size_t i = 0;

	while (i < G_N_ELEMENTS(nids) - 1 && nids[i] != nid)
		i++;
	g_assert(nids[i] == nid);
	EVP_MD *md = atomic_load(&found[i]), *none = NULL;

	if (md)
		return md;
	md = EVP_MD_fetch(NULL, OBJ_nid2sn(nid), NULL);
	if (!md)
		g_error("OpenSSL has no %s", OBJ_nid2sn(nid));
	if (atomic_compare_exchange_strong(&found[i], &none, md))
		return md;
	/* Another thread was first. */
	EVP_MD_free(md);
	return none;
}

void cert_sha256(const void *data, size_t len, uint8_t out[CERT_DIGEST_LEN])
{
	if (!EVP_Digest(data, len, out, NULL, digest_by_nid(NID_sha256), NULL))
		g_error("SHA-256 failed");
}

char *hex_format(const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	char *text = g_malloc(2 * len + 1);

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 0xf];
	}
	text[2 * len] = '\0';
	return text;
}

GBytes *hex_parse(const char *text)
{
	size_t len = strlen(text) / 2;
	g_autofree uint8_t *data = g_malloc(len + 1);

	if (text[2 * len])
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (!g_ascii_isxdigit(text[2 * i]) || !g_ascii_isxdigit(text[2 * i + 1]))
			return NULL;
		data[i] = (uint8_t)(g_ascii_xdigit_value(text[2 * i]) << 4 | g_ascii_xdigit_value(text[2 * i + 1]));
	}
	return g_bytes_new_take(g_steal_pointer(&data), len);
}
