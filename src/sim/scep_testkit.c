#include "sim/scep_testkit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim/scep_oid.h"

enum { DAY_S = 86400, REQUEST_MAX = 256 << 10 };

#define BOTH "critical,digitalSignature,keyEncipherment"
#define CA_USAGE "critical,digitalSignature,keyCertSign,cRLSign"

/* ---- certificates ---- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	g_assert_nonnull(extension);
	g_assert_true(X509_add_ext(cert, extension, -1));
	X509_EXTENSION_free(extension);
}

X509 *fake_cert(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, const char *usage, bool is_ca, int64_t start_s, int64_t end_s)
{
	X509 *cert = X509_new();
	uint32_t serial;

	g_assert_cmpint(RAND_bytes((unsigned char *)&serial, sizeof(serial)), ==, 1);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial + UINT64_C(1));
	X509_gmtime_adj(X509_getm_notBefore(cert), start_s);
	X509_gmtime_adj(X509_getm_notAfter(cert), end_s);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
	X509_set_pubkey(cert, key);
	add_extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
	if (issuer)
		add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
	add_extension(cert, cert, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (usage)
		add_extension(cert, cert, NID_key_usage, usage);
	g_assert_cmpint(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()), >, 0);
	return cert;
}

static X509_CRL *make_crl(X509 *issuer, EVP_PKEY *key)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = X509_gmtime_adj(NULL, 0);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, time);
	g_assert_nonnull(X509_gmtime_adj(time, DAY_S));
	X509_CRL_set1_nextUpdate(crl, time);
	ASN1_TIME_free(time);
	g_assert_cmpint(X509_CRL_sign(crl, key, EVP_sha256()), >, 0);
	return crl;
}

struct fake_ca *fake_ca_new(void)
{
	struct fake_ca *ca = g_new0(struct fake_ca, 1);

	ca->root_key = EVP_EC_gen("P-256");
	ca->ca_key = EVP_EC_gen("P-256");
	ca->ra_key = sim_key_new();
	ca->sign_key = sim_key_new();
	ca->root = fake_cert(ca->root_key, "Root", NULL, NULL, CA_USAGE, true, -DAY_S, DAY_S);
	ca->ca = fake_cert(ca->ca_key, "CA", ca->root, ca->root_key, "critical,keyCertSign,cRLSign", true, -DAY_S, DAY_S);
	ca->ra = fake_cert(ca->ra_key, "RA", ca->ca, ca->ca_key, BOTH, false, -DAY_S, DAY_S);
	ca->ra_encrypt = fake_cert(ca->ra_key, "RA encrypt", ca->ca, ca->ca_key, "critical,keyEncipherment", false, -DAY_S, DAY_S);
	ca->ra_sign = fake_cert(ca->sign_key, "RA sign", ca->ca, ca->ca_key, "critical,digitalSignature", false, -DAY_S, DAY_S);
	ca->next = fake_cert(ca->sign_key, "Next", NULL, NULL, CA_USAGE ",keyEncipherment", true, -DAY_S, DAY_S);
	ca->crl = make_crl(ca->ca, ca->ca_key);
	return ca;
}

void fake_ca_free(struct fake_ca *ca)
{
	EVP_PKEY *keys[] = {ca->root_key, ca->ca_key, ca->ra_key, ca->sign_key};
	X509 *certs[] = {ca->root, ca->ca, ca->ra, ca->ra_encrypt, ca->ra_sign, ca->next};

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		EVP_PKEY_free(keys[i]);
	for (unsigned i = 0; i < G_N_ELEMENTS(certs); i++)
		X509_free(certs[i]);
	X509_CRL_free(ca->crl);
	g_free(ca);
}

GBytes *fake_der(X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	GBytes *bytes = g_bytes_new(der, (gsize)len);

	OPENSSL_free(der);
	return bytes;
}

GBytes *fake_fingerprint(X509 *cert, const EVP_MD *md)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	g_assert_cmpint(X509_digest(cert, md, digest, &len), ==, 1);
	return g_bytes_new(digest, len);
}

/* ---- CMS ---- */

static GBytes *format(CMS_ContentInfo *cms)
{
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());

	g_assert_cmpint(i2d_CMS_bio(out, cms), ==, 1);
	return sim_bio_bytes(out);
}

static BIO *reader(GBytes *bytes)
{
	gsize len = 0;
	const void *data = bytes ? g_bytes_get_data(bytes, &len) : NULL;

	return BIO_new_mem_buf(data ? data : "", (int)len);
}

GBytes *fake_certs_only(X509 *const *certs, X509_CRL *crl, X509 *signer, EVP_PKEY *signer_key)
{
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED);
	g_autoptr(BIO) nothing = reader(NULL);

	for (int i = 0; certs[i]; i++)
		g_assert_cmpint(CMS_add1_cert(cms, certs[i]), ==, 1);
	if (crl)
		g_assert_cmpint(CMS_add1_crl(cms, crl), ==, 1);
	if (signer) {
		g_assert_nonnull(CMS_add1_signer(cms, signer, signer_key, EVP_sha256(), CMS_PARTIAL | CMS_NOCERTS));
		g_assert_cmpint(CMS_final(cms, nothing, NULL, CMS_BINARY | CMS_DETACHED), ==, 1);
	}
	return format(cms);
}

GBytes *fake_next(X509 *const *certs, X509 *signer, EVP_PKEY *signer_key)
{
	g_autoptr(GBytes) inner = fake_certs_only(certs, NULL, NULL, NULL);
	g_autoptr(BIO) in = reader(inner);
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(signer, signer_key, NULL, in, CMS_BINARY);

	g_assert_nonnull(cms);
	return format(cms);
}

static GBytes *envelope(X509 *const *recipients, GBytes *content, const EVP_CIPHER *cipher, const EVP_MD *oaep)
{
	g_autoptr(CMS_ContentInfo) cms = CMS_encrypt(NULL, NULL, cipher, CMS_BINARY | CMS_PARTIAL);
	g_autoptr(BIO) in = reader(content);

	for (int i = 0; recipients[i]; i++) {
		CMS_RecipientInfo *recipient = CMS_add1_recipient_cert(cms, recipients[i], CMS_KEY_PARAM);
		EVP_PKEY_CTX *ctx = CMS_RecipientInfo_get0_pkey_ctx(recipient);

		if (oaep) {
			g_assert_cmpint(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), >, 0);
			g_assert_cmpint(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, oaep), >, 0);
			g_assert_cmpint(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, oaep), >, 0);
		}
	}
	g_assert_cmpint(CMS_final(cms, in, NULL, CMS_BINARY), ==, 1);
	return format(cms);
}

/* ---- a reply ---- */

static X509 *issue(const struct fake_ca *ca, EVP_PKEY *key, const struct fake_reply *form)
{
	g_autoptr(EVP_PKEY) other = form->other_key ? sim_key_new() : NULL;
	bool foreign = form->foreign_issuer;

	return fake_cert(other ? other : key, "device", foreign ? ca->next : ca->ca, foreign ? ca->sign_key : form->forged ? ca->root_key : ca->ca_key, BOTH, false, form->not_yet ? 3600 : -3600, form->expired ? -60 : DAY_S);
}

static GBytes *make_certs(const struct fake_ca *ca, const sim_scep *scep, const struct fake_reply *form, X509 *existing)
{
	g_autoptr(X509) cert = existing && !form->other_serial ? NULL : issue(ca, scep->key, form);
	X509 *one = cert ? cert : existing;
	X509 *const certs[] = {form->no_cert ? NULL : one, form->two_certs ? ca->ca : NULL, NULL};

	return fake_certs_only(certs, form->with_crl ? ca->crl : NULL, form->signed_inner ? ca->ra : NULL, ca->ra_key);
}

static GBytes *make_crls(const struct fake_ca *ca, const struct fake_reply *form)
{
	X509 *const none[] = {NULL}, *const one[] = {ca->ca, NULL};
	X509_CRL *foreign = make_crl(form->other_crl_issuer ? ca->root : ca->ca, ca->root_key);
	bool other = form->foreign_crl || form->other_crl_issuer;
	GBytes *bytes;

	if (form->two_crls) {
		g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED);

		g_assert_true(CMS_add1_crl(cms, ca->crl) && CMS_add1_crl(cms, foreign));
		bytes = format(cms);
	} else {
		bytes = fake_certs_only(form->two_certs || form->no_crl ? one : none, form->no_crl ? NULL : other ? foreign : ca->crl, NULL, NULL);
	}
	X509_CRL_free(foreign);
	return bytes;
}

static GBytes *make_content(const struct fake_ca *ca, const sim_scep *scep, enum sim_scep_type type, const struct fake_reply *form)
{
	g_autoptr(GBytes) inner = type == SIM_SCEP_GET_CRL ? make_crls(ca, form) : make_certs(ca, scep, form, type == SIM_SCEP_GET_CERT ? scep->signer : NULL);
	/* A name that is longer than any signer's, so that DER sorts it behind. */
	g_autoptr(X509) second = form->two_recipients ? fake_cert(ca->ra_key, "0123456789012345678901234567890123456789012345678901234567890123", NULL, NULL, BOTH, false, -60, DAY_S) : NULL;
	X509 *const recipients[] = {form->other_recipient ? ca->ra : scep->signer, second, NULL};
	bool oaep = (scep->transport != SIM_SCEP_PKCS1) != form->other_transport;
	bool sha256 = (scep->transport == SIM_SCEP_OAEP_SHA256) != form->other_oaep_hash;

	if (form->not_enveloped)
		return g_steal_pointer(&inner);
	return envelope(recipients, inner, form->other_cipher ? EVP_aes_192_cbc() : scep->cipher, oaep ? sha256 ? EVP_sha256() : EVP_sha1() : NULL);
}

static void add_text(CMS_SignerInfo *signer, const char *oid, const char *text)
{
	g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, oid, V_ASN1_PRINTABLESTRING, text, (int)strlen(text)), ==, 1);
}

static void add_nonces(CMS_SignerInfo *signer, const sim_scep *scep, const struct fake_reply *form)
{
	unsigned char random[16];
	const char *wanted = form->sender_nonce;
	bool ours = !g_strcmp0(wanted, "ours");
	const void *nonce = ours ? scep->nonce : wanted ? (const void *)wanted : random;
	size_t len = ours ? scep->nonce_len : wanted ? strlen(wanted) : sizeof(random);

	g_assert_cmpint(RAND_bytes(random, sizeof(random)), ==, 1);
	if (len)
		g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, OID_SENDER_NONCE, V_ASN1_OCTET_STRING, nonce, (int)len), ==, 1);
	g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING, form->recipient_nonce ? (const void *)form->recipient_nonce : scep->nonce,
	                                            (int)(form->recipient_nonce ? strlen(form->recipient_nonce) : scep->nonce_len)), ==, 1);
}

static void add_attributes(CMS_SignerInfo *signer, const sim_scep *scep, const struct fake_reply *form)
{
	if (form->type_twice) {
		X509_ATTRIBUTE *attribute = X509_ATTRIBUTE_create_by_txt(NULL, OID_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, (const unsigned char *)"3", 1);

		g_assert_cmpint(X509_ATTRIBUTE_set1_data(attribute, V_ASN1_PRINTABLESTRING, "3", 1), ==, 1);
		g_assert_cmpint(CMS_signed_add1_attr(signer, attribute), ==, 1);
		X509_ATTRIBUTE_free(attribute);
	} else if (!form->type || *form->type) {
		add_text(signer, OID_MESSAGE_TYPE, form->type ? form->type : "3");
	}
	if (!form->status || *form->status)
		add_text(signer, OID_PKI_STATUS, form->status ? form->status : "0");
	add_text(signer, OID_TRANSACTION, form->transaction ? form->transaction : scep->transaction);
	if (form->fail_info)
		add_text(signer, OID_FAIL_INFO, form->fail_info);
	if (form->fail_text)
		g_assert_cmpint(CMS_signed_add1_attr_by_txt(signer, OID_FAIL_INFO_TEXT, form->fail_text_printable ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, form->fail_text, (int)strlen(form->fail_text)), ==, 1);
	add_nonces(signer, scep, form);
}

static size_t format_attribute(CMS_SignerInfo *signer, int i, unsigned char **ret)
{
	int len = i2d_X509_ATTRIBUTE(CMS_signed_get_attr(signer, i), ret);

	g_assert_cmpint(len, >, 0);
	return (size_t)len;
}

/* Signs the attributes (LEN bytes from ATTRIBUTES) again, in the order in which they stand. *RET gets 256 bytes. */
static void sign_again(const struct fake_ca *ca, const EVP_MD *md, const guint8 *attributes, size_t len, guint8 *ret)
{
	const guint8 longer[] = {0x31, 0x82, (guint8)(len >> 8), (guint8)len}, shorter[] = {0x31, 0x81, (guint8)len};
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t signature_len = 256;

	g_assert_cmpuint(len, >, 127);
	g_assert_cmpint(EVP_DigestSignInit(ctx, NULL, md, NULL, ca->ra_key), ==, 1);
	g_assert_true(EVP_DigestSignUpdate(ctx, len > 255 ? longer : shorter, len > 255 ? sizeof(longer) : sizeof(shorter)) && EVP_DigestSignUpdate(ctx, attributes, len) && EVP_DigestSignFinal(ctx, ret, &signature_len));
	EVP_MD_CTX_free(ctx);
}

/* Exchanges the first two attributes where they stand, and signs again: OpenSSL itself always sorts them. */
static GBytes *unsort(const struct fake_ca *ca, const EVP_MD *md, GBytes *bytes)
{
	gsize len, lens[2], total = 0;
	const unsigned char *p = g_bytes_get_data(bytes, &len);
	guint8 *copy = g_memdup2(p, len), *at;
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	const ASN1_STRING *signature = CMS_SignerInfo_get0_signature(signer);
	unsigned char *first[2] = {NULL, NULL};

	for (int i = 0; i < CMS_signed_get_attr_count(signer); i++) {
		unsigned char *other = NULL;

		total += i < 2 ? (lens[i] = format_attribute(signer, i, &first[i])) : format_attribute(signer, i, &other);
		OPENSSL_free(other);
	}
	at = memmem(copy, len, first[0], lens[0]);
	g_assert_nonnull(at);
	memcpy(at, first[1], lens[1]);
	memcpy(at + lens[1], first[0], lens[0]);
	sign_again(ca, md, at, total, memmem(copy, len, ASN1_STRING_get0_data(signature), (size_t)ASN1_STRING_length(signature)));
	OPENSSL_free(first[0]);
	OPENSSL_free(first[1]);
	return g_bytes_new_take(copy, len);
}

static GBytes *spoil(GBytes *bytes, const struct fake_reply *form)
{
	g_autoptr(GByteArray) array = g_byte_array_new();

	g_byte_array_append(array, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
	if (form->damaged)
		array->data[array->len - 1] ^= 1;
	if (form->longer)
		g_byte_array_append(array, (const guint8 *)"\n", 1);
	return g_bytes_new(array->data, array->len);
}

static void set_signature_oid(CMS_ContentInfo *cms, int nid)
{
	X509_ALGOR *algorithm;

	CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0), NULL, NULL, NULL, &algorithm);
	X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_NULL, NULL);
}

static GBytes *sign(const struct fake_ca *ca, const sim_scep *scep, const struct fake_reply *form, GBytes *content)
{
	unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP | (content ? 0 : CMS_DETACHED), cert_flag = form->no_signer_cert ? CMS_NOCERTS : 0;
	g_autoptr(X509) other = form->other_signer ? fake_cert(ca->sign_key, "RA", ca->ca, ca->ca_key, BOTH, false, -60, DAY_S) : NULL;
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	g_autoptr(BIO) in = reader(content);
	CMS_SignerInfo *signer = CMS_add1_signer(cms, other ? other : ca->ra, other ? ca->sign_key : ca->ra_key, form->other_digest ? EVP_sha384() : scep->md, flags | cert_flag);

	g_assert_nonnull(signer);
	add_attributes(signer, scep, form);
	if (form->two_signers)
		g_assert_nonnull(CMS_add1_signer(cms, ca->ra, ca->ra_key, scep->md, flags | CMS_NOCERTS));
	if (form->other_content_type)
		g_assert_cmpint(CMS_set1_eContentType(cms, OBJ_nid2obj(NID_pkcs7_enveloped)), ==, 1);
	g_assert_cmpint(CMS_final(cms, in, NULL, flags), ==, 1);
	if (form->sha256_rsa)
		set_signature_oid(cms, NID_sha256WithRSAEncryption);
	return format(cms);
}

GBytes *fake_reply_make(const struct fake_ca *ca, const sim_scep *scep, enum sim_scep_type type, const struct fake_reply *form)
{
	bool success = !form->status || !strcmp(form->status, "0"), has_content = (success && !form->drop_content) || form->add_content;
	g_autoptr(GBytes) content = has_content ? make_content(ca, scep, type, form) : NULL, reply = sign(ca, scep, form, content);

	if (form->damaged || form->longer)
		return spoil(reply, form);
	return form->unsorted ? unsort(ca, scep->md, reply) : g_steal_pointer(&reply);
}

/* ---- over HTTP ---- */

static char *text_of(CMS_SignerInfo *signer, const char *oid)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, V_ASN1_PRINTABLESTRING);

	ASN1_OBJECT_free(object);
	g_assert_nonnull(value);
	return g_strndup((const char *)ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value));
}

static GBytes *open_request(const struct fake_server *server, CMS_ContentInfo *cms)
{
	g_autoptr(BIO) content = BIO_new(BIO_s_mem()), plain = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) enveloped = NULL;

	g_assert_cmpint(CMS_verify(cms, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	enveloped = d2i_CMS_bio(content, NULL);
	g_assert_nonnull(enveloped);
	if (CMS_decrypt(enveloped, server->ca->ra_key, server->ca->ra, NULL, plain, CMS_BINARY) != 1)
		g_assert_cmpint(CMS_decrypt(enveloped, server->ca->sign_key, server->ca->next, NULL, plain, CMS_BINARY), ==, 1);
	return sim_bio_bytes(plain);
}

/* What the reply must be like, out of the request. */
static void mirror(sim_scep *scep, CMS_SignerInfo *signer, CMS_ContentInfo *cms, GBytes *message)
{
	X509_ALGOR *digest;
	const ASN1_OBJECT *oid;
	ASN1_OBJECT *object = OBJ_txt2obj(OID_SENDER_NONCE, 1);
	const ASN1_STRING *nonce = CMS_signed_get0_data_by_OBJ(signer, object, -3, V_ASN1_OCTET_STRING);

	ASN1_OBJECT_free(object);
	CMS_SignerInfo_get0_algs(signer, NULL, &scep->signer, &digest, NULL);
	X509_ALGOR_get0(&oid, NULL, NULL, digest);
	scep->md = EVP_get_digestbyobj(oid);
	scep->transport = SIM_SCEP_PKCS1;
	scep->nonce_len = (size_t)ASN1_STRING_length(nonce);
	memcpy(scep->nonce, ASN1_STRING_get0_data(nonce), scep->nonce_len);
	scep->transaction = text_of(signer, OID_TRANSACTION);
	scep->cipher = memmem(g_bytes_get_data(message, NULL), g_bytes_get_size(message), "\x2a\x86\x48\x86\xf7\x0d\x03\x07", 8) ? EVP_des_ede3_cbc() :
	               memmem(g_bytes_get_data(message, NULL), g_bytes_get_size(message), "\x60\x86\x48\x01\x65\x03\x04\x01\x2a", 9) ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
}

static void note_request(struct fake_server *server, GBytes *plain)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(plain, &len);
	g_autoptr(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)len);
	int at = X509_REQ_get_attr_by_NID(req, NID_pkcs9_challengePassword, -1);
	const ASN1_TYPE *value = at < 0 ? NULL : X509_ATTRIBUTE_get0_type(X509_REQ_get_attr(req, at), 0);

	g_assert_nonnull(req);
	EVP_PKEY_free(server->key);
	server->key = X509_REQ_get_pubkey(req);
	g_assert_cmpint(X509_REQ_verify(req, server->key), ==, 1);
	g_free(server->challenge);
	server->challenge = value ? g_strndup((const char *)ASN1_STRING_get0_data(value->value.asn1_string), (gsize)ASN1_STRING_length(value->value.asn1_string)) : NULL;
}

static GBytes *answer_operation(struct fake_server *server, GBytes *message, bool manual)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(message, &len);
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
	g_autoptr(GBytes) plain = cms ? open_request(server, cms) : NULL;
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	g_autofree char *number = text_of(signer, OID_MESSAGE_TYPE);
	int type = atoi(number);
	struct fake_reply form = {.sender_nonce = server->repeat_nonce ? "0123456789abcdef" : NULL};
	sim_scep scep = {0};
	GBytes *reply;

	g_array_append_val(server->types, type);
	if (type == SIM_SCEP_PKCS_REQ || type == SIM_SCEP_RENEWAL_REQ)
		note_request(server, plain);
	mirror(&scep, signer, cms, message);
	X509_free(server->signer);
	server->signer = X509_dup(scep.signer);
	scep.key = server->key;
	if (server->refuse) {
		form.status = "2";
		form.fail_info = "4";
		form.fail_text = "no such certificate";
	} else if (server->n_pending > 0 || (manual && type == SIM_SCEP_PKCS_REQ)) {
		server->n_pending -= !manual;
		form.status = "3";
	}
	reply = fake_reply_make(server->ca, &scep, (enum sim_scep_type)type, &form);
	g_free(scep.transaction);
	return reply;
}

static GBytes *default_ca(const struct fake_ca *ca)
{
	X509 *const certs[] = {ca->root, ca->ca, ca->ra, NULL};

	return fake_certs_only(certs, NULL, NULL, NULL);
}

static GBytes *message_of(const char *line)
{
	const char *query = strstr(line, "&message=");
	g_autofree char *value = query ? g_strndup(query + strlen("&message="), strcspn(query + 1, " ")  - strlen("message=")) : NULL, *text = value ? g_uri_unescape_string(value, NULL) : NULL;
	guchar *data;
	gsize len;

	g_assert_nonnull(text);
	data = g_base64_decode(text, &len);
	return g_bytes_new_take(data, len);
}

/* transfer full. */
static GBytes *answer(struct fake_server *server, const char *line, GBytes *body, int *ret_status, const char **ret_type)
{
	X509 *const next[] = {server->ca->next, NULL};

	*ret_status = 200;
	*ret_type = "text/plain";
	if (strstr(line, "operation=GetCACaps")) {
		*ret_status = server->caps ? 200 : 404;
		return g_bytes_new_static(server->caps ? server->caps : "", server->caps ? strlen(server->caps) : 0);
	}
	if (strstr(line, "operation=GetCACert")) {
		*ret_type = server->ca_type ? server->ca_type : "application/x-x509-ca-ra-cert";
		return server->ca_body ? g_bytes_ref(server->ca_body) : default_ca(server->ca);
	}
	if (strstr(line, "operation=GetNextCACert")) {
		*ret_status = server->publish_next ? 200 : 404;
		*ret_type = server->next_type ? server->next_type : "application/x-x509-next-ca-cert";
		return fake_next(next, server->ca->ca, server->ca->ca_key);
	}
	g_assert_nonnull(strstr(line, "operation=PKIOperation"));
	*ret_status = server->http_status ? server->http_status : 200;
	*ret_type = server->reply_type ? server->reply_type : "application/x-pki-message";
	if (server->http_status)
		return g_bytes_new_static("", 0);
	g_autoptr(GBytes) message = g_str_has_prefix(line, "POST ") ? g_bytes_ref(body) : message_of(line);
	return answer_operation(server, message, strstr(line, "/manual?") != NULL);
}

static void send_all(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

/* Reads one request: its line (transfer full) and body. */
static char *read_request(int fd, GBytes **ret_body)
{
	g_autoptr(GByteArray) in = g_byte_array_new();
	char block[4096];
	const char *end = NULL, *header;
	size_t wanted = 0, head = 0;

	while (!end || in->len < head + wanted) {
		ssize_t n = recv(fd, block, sizeof(block), 0);

		if (n <= 0 || in->len > REQUEST_MAX)
			return NULL;
		g_byte_array_append(in, (const guint8 *)block, (guint)n);
		end = memmem(in->data, in->len, "\r\n\r\n", 4);
		if (!end)
			continue;
		head = (size_t)(end - (const char *)in->data) + 4;
		header = memmem(in->data, head, "Content-Length: ", 16);
		wanted = header ? (size_t)strtoul(header + 16, NULL, 10) : 0;
	}
	*ret_body = g_bytes_new(in->data + head, wanted);
	return g_strndup((const char *)in->data, (gsize)((const char *)memchr(in->data, '\r', in->len) - (const char *)in->data));
}

static void serve_one(struct fake_server *server, int fd)
{
	g_autoptr(GBytes) body = NULL, reply = NULL;
	char *line = read_request(fd, &body);
	g_autofree char *head = NULL;
	const char *type;
	int status;

	if (!line)
		return;
	g_ptr_array_add(server->lines, line);
	reply = answer(server, line, body, &status, &type);
	head = g_strdup_printf("HTTP/1.1 %d x\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, type, g_bytes_get_size(reply));
	send_all(fd, head, strlen(head));
	send_all(fd, g_bytes_get_data(reply, NULL), g_bytes_get_size(reply));
}

static void *serve(void *ctx)
{
	struct fake_server *server = ctx;

	for (;;) {
		int fd = accept(server->fd, NULL, NULL);

		if (__atomic_load_n(&server->stop, __ATOMIC_SEQ_CST)) {
			close(fd);
			return NULL;
		}
		serve_one(server, fd);
		close(fd);
	}
}

struct fake_server *fake_server_new(const struct fake_ca *ca)
{
	struct fake_server *server = g_new0(struct fake_server, 1);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	server->ca = ca;
	server->caps = "AES\nDES3\nSHA-1\nSHA-256\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n";
	server->lines = g_ptr_array_new_with_free_func(g_free);
	server->types = g_array_new(FALSE, FALSE, sizeof(int));
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(server->fd, 16), ==, 0);
	g_assert_cmpint(getsockname(server->fd, (struct sockaddr *)&address, &len), ==, 0);
	server->port = ntohs(address.sin_port);
	server->thread = g_thread_new("fake-scep", serve, server);
	return server;
}

void fake_server_free(struct fake_server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)server->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	__atomic_store_n(&server->stop, true, __ATOMIC_SEQ_CST);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_thread_join(server->thread);
	close(fd);
	close(server->fd);
	g_ptr_array_unref(server->lines);
	g_array_unref(server->types);
	if (server->ca_body)
		g_bytes_unref(server->ca_body);
	g_free(server->challenge);
	X509_free(server->signer);
	EVP_PKEY_free(server->key);
	g_free(server);
}
