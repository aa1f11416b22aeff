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
