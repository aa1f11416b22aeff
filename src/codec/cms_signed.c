/* Signed messages through OpenSSL's CMS, for everything but the fast path of Mdm-Signature. */
#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"

CMS_SignerInfo *cms_signed_signer(const struct cms_signed *message)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(message->cms);

	return sk_CMS_SignerInfo_num(signers) == 1 ? sk_CMS_SignerInfo_value(signers, 0) : NULL;
}

/* Takes CERT as the signer's if the signer identifier names it. Two different certificates of one name are refused: two
 * readers could choose differently. */
static bool consider_signer(struct cms_signed *message, CMS_SignerInfo *info, X509 *cert, GBytes *der, GError **error)
{
	if (CMS_SignerInfo_cert_cmp(info, cert))
		return true;
	if (message->signer && X509_cmp(message->signer, cert))
		return pom_fail(error, POM_ERR_CMS_MALFORMED, "two embedded certificates have the signer's name");
	if (message->signer)
		return true;
	X509_up_ref(cert);
	message->signer = cert;
	message->signer_der = g_bytes_ref(der);
	return true;
}

static bool read_certificates(struct cms_signed *message, CMS_SignerInfo *info, GError **error)
{
	STACK_OF(X509) *certs = CMS_get1_certs(message->cms);
	bool ok = true;

	for (int i = 0; ok && i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);
		GBytes *der = cert_format_der(cert);

		ok = der ? consider_signer(message, info, cert, der, error) : pom_fail(error, POM_ERR_CMS_MALFORMED, "an embedded certificate cannot be encoded");
		if (der)
			g_ptr_array_add(message->certificates, der);
	}
	sk_X509_pop_free(certs, X509_free);
	ERR_clear_error();
	if (ok && !message->signer)
		return pom_fail(error, POM_ERR_CMS_MALFORMED, "the signer's certificate is not embedded (RFC 5652 §5.3)");
	return ok;
}

struct cms_signed *cms_signed_open(const void *data, size_t len, GError **error)
{
	g_autoptr(cms_signed) message = g_new0(struct cms_signed, 1);
	X509_ALGOR *digest = NULL;
	CMS_SignerInfo *info;

	message->certificates = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	message->cms = asn1_parse(data, len, ASN1_ITEM_rptr(CMS_ContentInfo));
	if (!message->cms || OBJ_obj2nid(CMS_get0_type(message->cms)) != NID_pkcs7_signed || !(info = cms_signed_signer(message))) {
		pom_fail(error, POM_ERR_CMS_MALFORMED, "the message is not SignedData with one signer (RFC 5652 §5.1)");
		return NULL;
	}
	if (!read_certificates(message, info, error))
		return NULL;
	CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, NULL);
	message->digest_nid = OBJ_obj2nid(digest->algorithm);
	return g_steal_pointer(&message);
}

/* RFC 5652 §11.1: contentType must be there when there are attributes, and name the content's. OpenSSL looks for its
 * presence only. */
static bool check_content_type(const struct cms_signed *message, const CMS_SignerInfo *info, GError **error)
{
	if (CMS_signed_get_attr_count(info) < 0)
		return true;
	const ASN1_OBJECT *type = CMS_signed_get0_data_by_OBJ(info, OBJ_nid2obj(NID_pkcs9_contentType), -3, V_ASN1_OBJECT);

	ERR_clear_error();
	if (type && !OBJ_cmp(type, CMS_get0_eContentType(message->cms)))
		return true;
	return pom_fail(error, POM_ERR_CMS_SIGNATURE, "the contentType attribute does not name the content's type (RFC 5652 §11.1)");
}

bool cms_key_check(EVP_PKEY *key, GError **error)
{
	g_autoptr(GError) weak = NULL;

	ERR_clear_error();
	if (key && cert_key_check(key, &weak))
		return true;
	return pom_fail(error, POM_ERR_CMS_ALGORITHM, "the signer's key cannot be used: %s", weak ? weak->message : "it is of an unknown kind");
}

static bool run_verify(struct cms_signed *message, CMS_SignerInfo *info, BIO *detached, BIO *out)
{
	CMS_SignerInfo_set1_signer_cert(info, message->signer);
	bool ok = CMS_verify(message->cms, NULL, NULL, detached, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1;

	ERR_clear_error();
	return ok;
}

bool cms_signed_verify(struct cms_signed *message, const void *detached, size_t detached_len, GError **error)
{
	CMS_SignerInfo *info = cms_signed_signer(message);
	ASN1_OCTET_STRING **content = CMS_get0_content(message->cms);
	bool is_attached = content && *content;
	/* Without eContent and without detached content the signature is over nothing, as in a SCEP failure. */
	g_autoptr(BIO) in = is_attached ? NULL : BIO_new_mem_buf(detached_len ? detached : "", (int)detached_len);
	g_autoptr(BIO) out = BIO_new(BIO_s_null());

	if (is_attached && detached)
		return pom_fail(error, POM_ERR_CMS_MALFORMED, "a detached signature carries content");
	if (detached_len > CMS_SIZE_MAX)
		return pom_fail(error, POM_ERR_CMS_LIMIT, "the signed content has %zu bytes, at most %d are accepted", detached_len, CMS_SIZE_MAX);
	if (!cms_key_check(X509_get0_pubkey(message->signer), error) || !check_content_type(message, info, error))
		return false;
	if (!run_verify(message, info, in, out))
		return pom_fail(error, POM_ERR_CMS_SIGNATURE, "the signature or digest does not match (RFC 5652 §5.6)");
	if (is_attached)
		message->content = string_bytes(*content);
	return true;
}

struct cms_signed *cms_signed_parse(const void *data, size_t len, const void *detached, size_t detached_len, size_t max_bytes, GError **error)
{
	if (!cms_check(data, len, CMS_KIND_SIGNED, max_bytes, error))
		return NULL;
	g_autoptr(cms_signed) message = cms_signed_open(data, len, error);

	if (!message || !cms_signed_verify(message, detached, detached_len, error))
		return NULL;
	return g_steal_pointer(&message);
}

void cms_signed_free(struct cms_signed *signed_data)
{
	if (!signed_data)
		return;
	g_clear_pointer(&signed_data->content, g_bytes_unref);
	g_clear_pointer(&signed_data->signer_der, g_bytes_unref);
	g_clear_pointer(&signed_data->certificates, g_ptr_array_unref);
	X509_free(signed_data->signer);
	CMS_ContentInfo_free(signed_data->cms);
	g_free(signed_data);
}
