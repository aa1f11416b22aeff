#include "sim/sim_message.h"

/* For what cannot fail unless memory is gone: the input is ours. */
static void must(bool ok, const char *what)
{
	g_autofree char *why = ok ? NULL : sim_openssl_error();

	if (!ok)
		g_error("%s: %s", what, why);
}

static BIO *bytes_bio(GBytes *bytes)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	return BIO_new_mem_buf(data ? data : "", (int)len);
}

char *sim_mdm_signature(EVP_PKEY *key, X509 *cert, GBytes *data, bool modern)
{
	unsigned flags = CMS_DETACHED | CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP | (modern ? 0 : CMS_NOATTR);
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	g_autoptr(BIO) in = bytes_bio(data);
	unsigned char *ber = NULL;
	char *text;
	int len;

	must(cms && CMS_add1_signer(cms, cert, key, modern ? EVP_sha256() : EVP_sha1(), flags) && CMS_final(cms, in, NULL, flags), "Mdm-Signature");
	/* Without content there is nothing to stream: this encoder alone gives the indefinite lengths. */
	len = ASN1_item_ndef_i2d((ASN1_VALUE *)cms, &ber, ASN1_ITEM_rptr(CMS_ContentInfo));
	must(len > 0, "Mdm-Signature");
	text = g_base64_encode(ber, (gsize)len);
	OPENSSL_free(ber);
	return text;
}

GBytes *sim_sign_attached(const struct sim_signing *signing, GBytes *content)
{
	unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_STREAM | CMS_NOSMIMECAP | (signing->modern ? 0 : CMS_NOATTR) | (signing->without_certificates ? CMS_NOCERTS : 0);
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	g_autoptr(BIO) in = bytes_bio(content), out = BIO_new(BIO_s_mem());
	char *data;
	long len;

	must(cms && CMS_add1_signer(cms, signing->cert, signing->key, signing->modern ? EVP_sha256() : EVP_sha1(), flags), "signature");
	for (int i = 0; !signing->without_certificates && signing->others && i < sk_X509_num(signing->others); i++)
		must(CMS_add1_cert(cms, sk_X509_value(signing->others, i)), "further certificate");
	must(i2d_CMS_bio_stream(out, cms, in, (int)flags), "signature");
	len = BIO_get_mem_data(out, &data);
	return g_bytes_new(data, (gsize)len);
}
