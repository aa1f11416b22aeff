#include "codec/cert_kind.h"

#include <openssl/x509v3.h>
#include <string.h>

enum { OID_TEXT_MAX = 128 };

#define MDM_TOPIC "com.apple.mgmt."
#define WWDR "Apple Worldwide Developer Relations"
#define ANY_SERVER (XKU_SSL_SERVER | XKU_ANYEKU)

/* The first row that fits decides. Texts are prefixes, and of extensions that of the identifier in Apple's arc: 6.1 is developers', 6.3 push services'. What is not set fits everything. */
static const struct kind_row {
	enum cert_kind kind;
	const char *uid, *common_name, *issuer, *extension;
	bool is_ca;
	uint32_t has, lacks; /* of an extended key usage that is there: one of HAS, none of LACKS */
} rows[] = {
	{.kind = CERT_KIND_PUSH, .uid = MDM_TOPIC},
	{.kind = CERT_KIND_CA, .is_ca = true},
	{.kind = CERT_KIND_VENDOR, .common_name = "MDM Vendor:"},
	{.kind = CERT_KIND_VENDOR, .common_name = "MDM Vendor", .issuer = WWDR},
	{.kind = CERT_KIND_VENDOR, .common_name = "MDM CSR", .issuer = WWDR},
	{.kind = CERT_KIND_VENDOR, .common_name = "MDM CSR", .extension = "1.2.840.113635.100.6.1."},
	{.kind = CERT_KIND_APP_PUSH, .extension = "1.2.840.113635.100.6.3."},
	{.kind = CERT_KIND_APP_PUSH, .common_name = "Apple Push Services:", .issuer = WWDR},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "Apple Development:"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "Apple Distribution:"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "iPhone Developer:"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "iPhone Distribution:"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "Mac Developer:"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "3rd Party Mac Developer"},
	{.kind = CERT_KIND_DEVELOPER, .common_name = "Developer ID "},
	{.kind = CERT_KIND_DEVELOPER, .extension = "1.2.840.113635.100.6.1."},
	{.kind = CERT_KIND_DEVELOPER, .issuer = WWDR},
	{.kind = CERT_KIND_CODE, .has = XKU_CODE_SIGN, .lacks = ANY_SERVER},
	{.kind = CERT_KIND_DEVICE, .issuer = "Apple iPhone Device CA"},
	{.kind = CERT_KIND_DEVICE, .has = XKU_SSL_CLIENT, .lacks = ANY_SERVER | XKU_SMIME},
};

static bool has_extension(const X509 *cert, const char *prefix)
{
	char oid[OID_TEXT_MAX];

	for (int i = 0; cert && i < X509_get_ext_count(cert); i++)
		if (OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(X509_get_ext(cert, i)), 1) > 0 && g_str_has_prefix(oid, prefix))
			return true;
	return false;
}

static bool begins(const char *text, const char *prefix)
{
	return !prefix || (text && g_str_has_prefix(text, prefix));
}

static bool usage_fits(uint32_t usage, const struct kind_row *row)
{
	return !row->has || (usage != UINT32_MAX && (usage & row->has) && !(usage & row->lacks));
}

enum cert_kind cert_kind_find(const struct cert_kind_facts *facts)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (begins(facts->uid, rows[i].uid) && begins(facts->common_name, rows[i].common_name) && begins(facts->issuer_common_name, rows[i].issuer) && (!rows[i].is_ca || facts->is_ca) &&
		    usage_fits(facts->ext_key_usage, &rows[i]) && (!rows[i].extension || has_extension(facts->cert, rows[i].extension)))
			return rows[i].kind;
	return CERT_KIND_OTHER;
}

enum cert_kind cert_kind_of(const X509 *cert, const struct cert_info *info)
{
	g_autofree char *uid = cert_subject_uid(cert), *name = cert_subject_cn(cert), *issuer = cert_name_common_name(info->issuer_der);

	return cert_kind_find(&(struct cert_kind_facts){uid, name, issuer, info->is_ca, info->ext_key_usage, cert});
}
