/* What a SCEP client reads besides CertReps, and what is inside the messages that ask for existing certificates and CRLs. */
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"
#include "codec/scep.h"

enum { CAPS_MAX = 16 * 1024 };

/* A Name in full; NULL when RAW is not one. */
static GBytes *take_name(const ASN1_TYPE *raw)
{
	if (raw->type != V_ASN1_SEQUENCE)
		return NULL;
	g_autoptr(GBytes) der = string_bytes(raw->value.sequence);
	g_autoptr(X509_NAME) name = asn1_parse(g_bytes_get_data(der, NULL), g_bytes_get_size(der), ASN1_ITEM_rptr(X509_NAME));

	return name ? g_steal_pointer(&der) : NULL;
}

static void set_raw(ASN1_TYPE **field, GBytes *der)
{
	ASN1_TYPE_free(*field);
	*field = raw_sequence(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
}

bool scep_issuer_and_serial_parse(const void *data, size_t len, GBytes **ret_issuer_der, char **ret_serial, GError **error)
{
	g_autoptr(issuer_serial) value = len <= SCEP_MESSAGE_MAX ? issuer_serial_parse(data, len) : NULL;
	GBytes *issuer = value ? take_name(value->issuer) : NULL;

	if (!issuer)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the content is not an IssuerAndSerialNumber (RFC 8894 §3.3.4)");
	*ret_issuer_der = issuer;
	*ret_serial = asn1_serial_text(value->serial);
	return true;
}

GBytes *scep_issuer_and_serial_format(GBytes *issuer_der, const char *serial, GError **error)
{
	g_autoptr(issuer_serial) value = issuer_serial_new();

	set_raw(&value->issuer, issuer_der);
	if (asn1_serial_set(value->serial, serial))
		return issuer_serial_format(value);
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "the serial number is not hex of 1 to %d bytes", CERT_SERIAL_MAX);
	return NULL;
}

bool scep_issuer_and_subject_parse(const void *data, size_t len, GBytes **ret_issuer_der, GBytes **ret_subject_der, GError **error)
{
	g_autoptr(issuer_subject) value = len <= SCEP_MESSAGE_MAX ? issuer_subject_parse(data, len) : NULL;
	g_autoptr(GBytes) issuer = value ? take_name(value->issuer) : NULL, subject = value ? take_name(value->subject) : NULL;

	if (!issuer || !subject)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the content is not an IssuerAndSubject (RFC 8894 §3.3.3)");
	*ret_issuer_der = g_steal_pointer(&issuer);
	*ret_subject_der = g_steal_pointer(&subject);
	return true;
}

GBytes *scep_issuer_and_subject_format(GBytes *issuer_der, GBytes *subject_der)
{
	g_autoptr(issuer_subject) value = issuer_subject_new();

	set_raw(&value->issuer, issuer_der);
	set_raw(&value->subject, subject_der);
	return issuer_subject_format(value);
}

static void set_capability(struct scep_caps *caps, const char *word, size_t len)
{
	const struct {
		const char *word;
		bool *has;
	} words[] = {
		{"AES", &caps->aes}, {"DES3", &caps->des3}, {"GetNextCACert", &caps->get_next_ca_cert}, {"POSTPKIOperation", &caps->post}, {"Renewal", &caps->renewal},
		{"SHA-1", &caps->sha1}, {"SHA-256", &caps->sha256}, {"SHA-384", &caps->sha384}, {"SHA-512", &caps->sha512}, {"SCEPStandard", &caps->standard},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
		if (len == strlen(words[i].word) && !g_ascii_strncasecmp(word, words[i].word, len))
			*words[i].has = true;
	}
}

struct scep_caps scep_caps_parse(const char *text, size_t len)
{
	struct scep_caps caps = {0};
	size_t start = 0;

	len = MIN(len, CAPS_MAX);
	for (size_t i = 0; i <= len; i++) {
		if (i < len && text[i] != '\n')
			continue;
		size_t end = i;

		while (end > start && g_ascii_isspace(text[end - 1]))
			end--;
		set_capability(&caps, text + start, end - start);
		start = i + 1;
	}
	caps.aes |= caps.standard;
	caps.sha256 |= caps.standard;
	caps.post |= caps.standard;
	return caps;
}

static bool is_media_type(const char *content_type, const char *expected)
{
	size_t len = content_type ? strcspn(content_type, "; \t") : 0;

	return len == strlen(expected) && !g_ascii_strncasecmp(content_type, expected, len);
}

static bool add_cert(GPtrArray *certs, const void *der, size_t len, GError **error)
{
	X509 *cert = cert_parse_der(der, len, error);

	if (cert)
		g_ptr_array_add(certs, cert);
	return cert != NULL;
}

static bool add_several(GPtrArray *certs, const void *data, size_t len, GError **error)
{
	g_autoptr(GPtrArray) all = cms_certs_only_parse(data, len, error);

	if (!all)
		return false;
	for (guint i = 0; i < all->len; i++) {
		if (!add_cert(certs, g_bytes_get_data(all->pdata[i], NULL), g_bytes_get_size(all->pdata[i]), error))
			return false;
	}
	return certs->len > 0 || pom_fail(error, POM_ERR_SCEP_MESSAGE, "the CA has sent a p7 without certificates (RFC 8894 §4.2.1.2)");
}

GPtrArray *scep_ca_certs_parse(const char *content_type, const void *data, size_t len, GError **error)
{
	g_autoptr(GPtrArray) certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	bool ok;

	if (is_media_type(content_type, "application/x-x509-ca-cert"))
		ok = add_cert(certs, data, len, error);
	else if (is_media_type(content_type, "application/x-x509-ca-ra-cert"))
		ok = add_several(certs, data, len, error);
	else
		ok = pom_fail(error, POM_ERR_SCEP_MESSAGE, "the CA has answered GetCACert with \"%.80s\" in place of its certificate (RFC 8894 §4.2.1): is the URL right?",
		              content_type ? content_type : "no media type");
	return ok ? g_steal_pointer(&certs) : NULL;
}
