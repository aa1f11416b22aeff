#include "codec/testkit.h"

#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

EVP_PKEY *testkit_rsa(unsigned bits)
{
	static struct {
		unsigned bits;
		EVP_PKEY *key;
	} keys[8];

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (keys[i].bits == bits)
			return keys[i].key;
		if (keys[i].bits)
			continue;
		keys[i].bits = bits;
		keys[i].key = EVP_RSA_gen(bits);
		g_assert_nonnull(keys[i].key);
		return keys[i].key;
	}
	g_assert_not_reached();
}

EVP_PKEY *testkit_ec(const char *curve)
{
	static struct {
		const char *curve;
		EVP_PKEY *key;
	} keys[8];

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (!g_strcmp0(keys[i].curve, curve))
			return keys[i].key;
		if (keys[i].curve)
			continue;
		keys[i].curve = curve;
		keys[i].key = EVP_EC_gen(curve);
		g_assert_nonnull(keys[i].key);
		return keys[i].key;
	}
	g_assert_not_reached();
}

X509 *testkit_cert(EVP_PKEY *key, const char *cn, long serial, X509 *issuer, EVP_PKEY *issuer_key)
{
	g_autoptr(X509) cert = X509_new();
	X509V3_CTX ctx;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
	X509_set_pubkey(cert, key);
	X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
	X509_EXTENSION *key_id = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier, "hash");

	X509_add_ext(cert, key_id, -1);
	X509_EXTENSION_free(key_id);
	g_assert_cmpint(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()), >, 0);
	return g_steal_pointer(&cert);
}

static GBytes *bio_bytes(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static CMS_ContentInfo *start_signature(X509 *cert, EVP_PKEY *key, const EVP_MD *md, unsigned form, unsigned flags)
{
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	unsigned signer_flags = flags | CMS_PARTIAL | (form & TESTKIT_NO_ATTRIBUTES ? CMS_NOATTR : 0) | (form & TESTKIT_KEY_ID ? CMS_USE_KEYID : 0) |
	                        (form & TESTKIT_PSS ? CMS_KEY_PARAM : 0) | (form & TESTKIT_NO_CERTIFICATE ? CMS_NOCERTS : 0) | CMS_NOSMIMECAP;
	CMS_SignerInfo *info = CMS_add1_signer(cms, cert, key, md, signer_flags);

	g_assert_nonnull(info);
	if (form & TESTKIT_PSS) {
		g_assert_cmpint(EVP_PKEY_CTX_set_rsa_padding(CMS_SignerInfo_get0_pkey_ctx(info), RSA_PKCS1_PSS_PADDING), >, 0);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(CMS_SignerInfo_get0_pkey_ctx(info), RSA_PSS_SALTLEN_DIGEST);
	}
	return cms;
}

GBytes *testkit_sign(X509 *cert, EVP_PKEY *key, const EVP_MD *md, unsigned form, const char *text)
{
	unsigned flags = CMS_BINARY | (form & TESTKIT_DETACHED ? CMS_DETACHED : 0);
	g_autoptr(CMS_ContentInfo) cms = start_signature(cert, key, md, form, flags);
	g_autoptr(BIO) in = BIO_new_mem_buf(text, (int)strlen(text)), out = BIO_new(BIO_s_mem());

	g_assert_true(CMS_final(cms, in, NULL, flags) && i2d_CMS_bio(out, cms));
	return bio_bytes(out);
}

GBytes *testkit_sign_streamed(X509 *cert, EVP_PKEY *key, const EVP_MD *md, const char *text, size_t len)
{
	unsigned flags = CMS_BINARY | CMS_STREAM;
	g_autoptr(CMS_ContentInfo) cms = start_signature(cert, key, md, TESTKIT_DER, flags);
	g_autoptr(BIO) in = BIO_new_mem_buf(text, (int)len), out = BIO_new(BIO_s_mem());

	g_assert_true(i2d_CMS_bio_stream(out, cms, in, (int)flags));
	return bio_bytes(out);
}

GBytes *testkit_encrypt(X509 *const *certs, size_t n, const EVP_CIPHER *cipher, const char *text, bool streamed, bool oaep)
{
	unsigned flags = CMS_BINARY | CMS_PARTIAL | (streamed ? CMS_STREAM : 0);
	g_autoptr(BIO) in = BIO_new_mem_buf(text, (int)strlen(text)), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = CMS_encrypt(NULL, NULL, cipher, flags);

	g_assert_nonnull(cms);
	for (size_t i = 0; i < n; i++) {
		CMS_RecipientInfo *info = CMS_add1_recipient_cert(cms, certs[i], oaep ? CMS_KEY_PARAM : 0);

		g_assert_nonnull(info);
		if (!oaep)
			continue;
		EVP_PKEY_CTX *ctx = CMS_RecipientInfo_get0_pkey_ctx(info);

		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
		EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256());
		EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha1());
	}
	if (streamed)
		g_assert_true(i2d_CMS_bio_stream(out, cms, in, (int)flags));
	else
		g_assert_true(CMS_final(cms, in, NULL, flags) && i2d_CMS_bio(out, cms));
	return bio_bytes(out);
}

/* Contents of the DER element at *p, which moves behind it. */
static const uint8_t *der_element(const uint8_t **p, const uint8_t *end, uint8_t *tag, size_t *len)
{
	long n;
	int number, class, constructed;
	const uint8_t *start = *p, *contents = *p;

	constructed = ASN1_get_object(&contents, &n, &number, &class, end - start);
	g_assert_false(constructed & 0x80);
	*tag = *start;
	*len = (size_t)n;
	*p = contents + n;
	return contents;
}

static void append_der(GByteArray *out, uint8_t tag, const uint8_t *contents, size_t len)
{
	uint8_t header[6] = {tag};
	size_t n = 2;

	if (len < 0x80) {
		header[1] = (uint8_t)len;
	} else {
		header[1] = 0x83;
		header[2] = (uint8_t)(len >> 16);
		header[3] = (uint8_t)(len >> 8);
		header[4] = (uint8_t)len;
		n = 5;
	}
	g_byte_array_append(out, header, (guint)n);
	g_byte_array_append(out, contents, (guint)len);
}

static void convert(GByteArray *out, const uint8_t *p, const uint8_t *end, unsigned level, unsigned levels_left)
{
	static const uint8_t end_of_contents[2];

	while (p < end) {
		uint8_t tag;
		size_t len;
		const uint8_t *start = p, *contents = der_element(&p, end, &tag, &len);
		uint8_t open[2] = {tag, 0x80};
		/* Level 3 [0] are the certificates, level 5 [0] the signed attributes. */
		bool keep_inside = (level == 3 && tag == 0xa0) || (level == 5 && tag == 0xa0);

		if (tag == 0x04 && levels_left && len > 8) {
			open[0] = 0x24;
			g_byte_array_append(out, open, 2);
			append_der(out, 0x04, contents, len / 2);
			append_der(out, 0x04, contents + len / 2, len - len / 2);
			g_byte_array_append(out, end_of_contents, 2);
		} else if (tag & 0x20 && levels_left && len) {
			g_byte_array_append(out, open, 2);
			convert(out, contents, contents + len, level + 1, keep_inside ? 0 : levels_left - 1);
			g_byte_array_append(out, end_of_contents, 2);
		} else {
			g_byte_array_append(out, start, (guint)(p - start));
		}
	}
}

GBytes *testkit_to_ber(GBytes *der, unsigned level)
{
	GByteArray *out = g_byte_array_new();
	gsize len;
	const uint8_t *data = g_bytes_get_data(der, &len);

	convert(out, data, data + len, 0, level);
	return g_byte_array_free_to_bytes(out);
}

GBytes *testkit_flip(GBytes *bytes, gssize offset)
{
	gsize len;
	uint8_t *copy = g_memdup2(g_bytes_get_data(bytes, &len), g_bytes_get_size(bytes));

	copy[offset < 0 ? (gssize)len + offset : offset] ^= 1;
	return g_bytes_new_take(copy, len);
}

GBytes *testkit_replace(GBytes *bytes, const void *from, const void *to, size_t len)
{
	gsize size;
	const uint8_t *data = g_bytes_get_data(bytes, &size);
	uint8_t *copy = g_memdup2(data, size), *found = memmem(copy, size, from, len);

	g_assert_nonnull(found);
	memcpy(found, to, len);
	return g_bytes_new_take(copy, size);
}
