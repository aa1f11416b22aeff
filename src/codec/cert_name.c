/* Names, alternative names and the small extensions that certificates and requests share. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"

enum {
	ALTERNATIVE_NAMES_MAX = 64, DNS_NAME_MAX = 253, URI_MAX = 2048, EMAIL_MAX = 254, NAME_VALUE_MAX = 1024,
	SUBJECT_TEXT_MAX = 4096, SUBJECT_ENTRIES_MAX = 32,
};

/* JOIN: into the RDN of the attribute before. */
static bool add_name_entry(X509_NAME *name, const char *attribute, int nid, const char *value, bool join, GError **error)
{
	size_t len = strlen(value);

	if (nid == NID_undef)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the name attribute \"%s\" is unknown", attribute);
	if (len > 0 && len <= NAME_VALUE_MAX && g_utf8_validate(value, -1, NULL) &&
	    X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const uint8_t *)value, (int)len, -1, join ? -1 : 0))
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

		ok = add_name_entry(name, attribute, OBJ_txt2nid(attribute), value ? value : "", false, error);
	}
	va_end(args);
	return ok ? asn1_format(name, ASN1_ITEM_rptr(X509_NAME)) : NULL;
}

/* RFC 4514 §3 and what certificates use besides. */
static const struct {
	const char *name;
	int nid;
} attributes[] = {
	{"CN", NID_commonName}, {"O", NID_organizationName}, {"OU", NID_organizationalUnitName}, {"C", NID_countryName}, {"L", NID_localityName},
	{"ST", NID_stateOrProvinceName}, {"STREET", NID_streetAddress}, {"DC", NID_domainComponent}, {"UID", NID_userId}, {"SN", NID_surname},
	{"GN", NID_givenName}, {"T", NID_title}, {"serialNumber", NID_serialNumber}, {"emailAddress", NID_pkcs9_emailAddress},
	{"E", NID_pkcs9_emailAddress},
};

static int attribute_nid(const char *name)
{
	bool is_oid = g_ascii_isdigit(name[0]);
	int nid = is_oid ? OBJ_txt2nid(name) : NID_undef;

	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
		if (is_oid ? nid == attributes[i].nid : !g_ascii_strcasecmp(name, attributes[i].name))
			return attributes[i].nid;
	}
	return NID_undef;
}

/* Takes the attribute's name up to '=' off *p; transfer full, NULL when there is no '='. */
static char *take_attribute(const char **p)
{
	size_t len = strcspn(*p, "=,+/\\");
	char *name = (*p)[len] == '=' ? g_strstrip(g_strndup(*p, len)) : NULL;

	*p += name ? len + 1 : 0;
	return name;
}

/* What an escape stands for (RFC 4514 §2.4: a special character or two hex digits), moving *p over it; -1 for none. */
static int take_escape(const char **p)
{
	const char *at = *p + 1;

	if (g_ascii_isxdigit(at[0]) && g_ascii_isxdigit(at[1])) {
		*p = at + 2;
		return g_ascii_xdigit_value(at[0]) << 4 | g_ascii_xdigit_value(at[1]);
	}
	if (!at[0] || !strchr("\"+,;<> #=\\/", at[0]))
		return -1;
	*p = at + 1;
	return at[0];
}

/* Takes a value up to an unescaped SEPARATOR or '+' off *p, which then stands on it or on the end; transfer full. NULL for what
 * must be escaped and is not. */
static char *take_value(const char **p, char separator)
{
	g_autoptr(GString) value = g_string_new(NULL);
	size_t trimmed_len = 0; /* without the unescaped spaces at the end */

	*p += strspn(*p, " ");
	if (**p == '#') /* BER in hex, which nobody types */
		return NULL;
	while (**p && **p != separator && **p != '+') {
		bool escaped = **p == '\\';
		int c = escaped ? take_escape(p) : (uint8_t)*(*p)++;

		if (c <= 0 || (!escaped && separator == ',' && strchr("\";<>", c)))
			return NULL;
		g_string_append_c(value, (char)c);
		if (escaped || c != ' ')
			trimmed_len = value->len;
	}
	g_string_truncate(value, trimmed_len);
	return g_string_free(g_steal_pointer(&value), FALSE);
}

static bool take_entry(X509_NAME *name, const char **p, char separator, bool join, GError **error)
{
	g_autofree char *attribute = take_attribute(p), *value = attribute ? take_value(p, separator) : NULL;

	if (!attribute)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the subject has no \"attribute=value\" at \"%.40s\"", *p);
	if (!value)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the value of %.40s in the subject has a character that must be escaped, or a wrong escape (RFC 4514 §2.4)", attribute);
	return add_name_entry(name, attribute, attribute_nid(attribute), value, join, error);
}

GBytes *cert_subject_parse_text(const char *text, GError **error)
{
	g_autoptr(X509_NAME) name = X509_NAME_new();
	const char *p = text + (text[0] == '/');
	char separator = text[0] == '/' ? '/' : ',', before = 0;

	if (strlen(text) > SUBJECT_TEXT_MAX || !g_utf8_validate(text, -1, NULL)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the subject is longer than %d bytes or not UTF-8", SUBJECT_TEXT_MAX);
		return NULL;
	}
	do {
		if (X509_NAME_entry_count(name) >= SUBJECT_ENTRIES_MAX) {
			pom_fail(error, POM_ERR_CERT_MALFORMED, "the subject has more than %d attributes", SUBJECT_ENTRIES_MAX);
			return NULL;
		}
		if (!take_entry(name, &p, separator, before == '+', error))
			return NULL;
		before = *p ? *p++ : 0;
	} while (before);
	return asn1_format(name, ASN1_ITEM_rptr(X509_NAME));
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

/* DNS name, URI or e-mail address. */
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

static bool is_email(const char *text)
{
	const char *at = strchr(text, '@');

	return at && at > text && at[1] && !strchr(at + 1, '@');
}

static bool add_names_of_type(GENERAL_NAMES *names, int type, const char *const *texts, size_t max_len)
{
	for (; texts && *texts; texts++) {
		if (sk_GENERAL_NAME_num(names) >= ALTERNATIVE_NAMES_MAX || !is_ascii_text(*texts, max_len) || (type == GEN_EMAIL && !is_email(*texts)))
			return false;
		GENERAL_NAME *name = type == GEN_IPADD ? address_name(*texts) : text_name(type, *texts);

		if (!name)
			return false;
		sk_GENERAL_NAME_push(names, name);
	}
	return true;
}

GENERAL_NAMES *alternative_names_new(const char *const *dns_names, const char *const *ip_addresses, const char *const *uris, const char *const *emails)
{
	g_autoptr(GENERAL_NAMES) names = GENERAL_NAMES_new();

	if (!add_names_of_type(names, GEN_DNS, dns_names, DNS_NAME_MAX) || !add_names_of_type(names, GEN_IPADD, ip_addresses, DNS_NAME_MAX) ||
	    !add_names_of_type(names, GEN_URI, uris, URI_MAX) || !add_names_of_type(names, GEN_EMAIL, emails, EMAIL_MAX))
		return NULL;
	return g_steal_pointer(&names);
}

GENERAL_NAME *uri_name_new(const char *url)
{
	return is_ascii_text(url, URI_MAX) ? text_name(GEN_URI, url) : NULL;
}

BASIC_CONSTRAINTS *basic_constraints_new(bool is_ca, int path_len)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();

	constraints->ca = is_ca ? 0xff : 0;
	if (path_len >= 0) {
		constraints->pathlen = ASN1_INTEGER_new();
		ASN1_INTEGER_set(constraints->pathlen, path_len);
	}
	return constraints;
}

ASN1_BIT_STRING *key_usage_new(unsigned usage)
{
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

	for (int i = 0; usage >> i; i++) {
		if (usage >> i & 1)
			ASN1_BIT_STRING_set_bit(bits, i, 1);
	}
	return bits;
}

AUTHORITY_KEYID *authority_key_id_new(X509 *issuer)
{
	g_autoptr(AUTHORITY_KEYID) authority = AUTHORITY_KEYID_new();
	const ASN1_OCTET_STRING *known = X509_get0_subject_key_id(issuer);
	uint8_t id[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (known) {
		authority->keyid = ASN1_OCTET_STRING_dup(known);
		return g_steal_pointer(&authority);
	}
	authority->keyid = ASN1_OCTET_STRING_new();
	if (!X509_pubkey_digest(issuer, EVP_sha1(), id, &len) || !ASN1_OCTET_STRING_set(authority->keyid, id, (int)len))
		return NULL;
	return g_steal_pointer(&authority);
}
