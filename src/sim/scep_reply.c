#include "sim/scep_reply.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/error.h"
#include "sim/scep_oid.h"

enum { NONCE_LEN = 16, PLAIN_MAX = 1 << 20 };

void sim_scep_outcome_clear(struct sim_scep_outcome *outcome)
{
	X509_free(outcome->cert);
	X509_CRL_free(outcome->crl);
	g_free(outcome->fail_info);
	g_free(outcome->fail_info_text);
	if (outcome->server_nonce)
		g_bytes_unref(outcome->server_nonce);
	*outcome = (struct sim_scep_outcome){0};
}

GBytes *sim_bio_bytes(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static bool wrong(GError **error, const char *what)
{
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: %s", what);
}

/* ---- CMS ---- */

CMS_ContentInfo *sim_scep_cms_parse(GBytes *bytes, int nid, const char *what, GError **error)
{
	gsize len;
	const unsigned char *start = g_bytes_get_data(bytes, &len), *p = start;
	g_autoptr(CMS_ContentInfo) cms = start ? d2i_CMS_ContentInfo(NULL, &p, (long)len) : NULL;
	g_autofree char *why = cms ? NULL : sim_openssl_error();

	if (cms && (gsize)(p - start) == len && OBJ_obj2nid(CMS_get0_type(cms)) == nid)
		return g_steal_pointer(&cms);
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: %s is not the CMS message it must be%s%s", what, why ? ": " : "", why ? why : "");
	return NULL;
}

static bool check_degenerate(CMS_ContentInfo *cms, const char *what, GError **error)
{
	ASN1_OCTET_STRING **content = CMS_get0_content(cms);

	if (sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) > 0 || !content || *content)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: %s has a signer or content (RFC 8894 §3.4)", what);
	return true;
}

static int count_crls(CMS_ContentInfo *cms)
{
	STACK_OF(X509_CRL) *crls = CMS_get1_crls(cms);
	int n = crls ? sk_X509_CRL_num(crls) : 0;

	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	return n;
}

sim_certs *sim_scep_certs_parse(GBytes *bytes, const char *what, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = sim_scep_cms_parse(bytes, NID_pkcs7_signed, what, error);
	g_autoptr(sim_certs) certs = NULL;

	if (!cms || !check_degenerate(cms, what, error))
		return NULL;
	certs = CMS_get1_certs(cms);
	if (certs && sk_X509_num(certs) && !count_crls(cms))
		return g_steal_pointer(&certs);
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "22007: %s has %s", what, certs && sk_X509_num(certs) ? "a CRL besides its certificates" : "no certificate");
	return NULL;
}

/* ---- the outer message ---- */

static bool verify(CMS_ContentInfo *cms, X509 *ca, BIO *out, GError **error)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	ASN1_OCTET_STRING **content = CMS_get0_content(cms);
	g_autoptr(BIO) nothing = content && *content ? NULL : BIO_new_mem_buf("", 0); /* FAILURE and PENDING have no content */
	g_autofree char *why = NULL;
	bool ok;

	sk_X509_push(certs, ca);
	ok = CMS_verify(cms, certs, NULL, nothing, out, CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1;
	sk_X509_free(certs);
	why = ok ? NULL : sim_openssl_error();
	return ok || pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply is not signed by the certificate of GetCACert: %s", why);
}

/* iOS takes the signer's certificate from the reply and compares it with GetCACert's. */
static bool check_carried(CMS_ContentInfo *cms, X509 *ca, GError **error)
{
	g_autoptr(sim_certs) certs = CMS_get1_certs(cms);

	for (int i = 0; certs && i < sk_X509_num(certs); i++)
		if (!X509_cmp(sk_X509_value(certs, i), ca))
			return true;
	return wrong(error, "the reply does not bring its signer's certificate along");
}

static bool check_algorithms(const sim_scep *scep, CMS_SignerInfo *signer, X509 *ca, GError **error)
{
	X509_ALGOR *digest, *signature;
	const ASN1_OBJECT *digest_oid, *signature_oid;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest, &signature);
	X509_ALGOR_get0(&digest_oid, NULL, NULL, digest);
	X509_ALGOR_get0(&signature_oid, NULL, NULL, signature);
	if (OBJ_obj2nid(digest_oid) != EVP_MD_get_type(scep->md))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply is signed with the digest %s, the request was with %s", OBJ_nid2sn(OBJ_obj2nid(digest_oid)), EVP_MD_get0_name(scep->md));
	if (EVP_PKEY_is_a(X509_get0_pubkey(ca), "RSA") && OBJ_obj2nid(signature_oid) != NID_rsaEncryption)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: signatureAlgorithm of the reply is %s, must be rsaEncryption", OBJ_nid2sn(OBJ_obj2nid(signature_oid)));
	return true;
}

static GBytes *format_attribute(CMS_SignerInfo *signer, int i)
{
	unsigned char *der = NULL;
	int len = i2d_X509_ATTRIBUTE(CMS_signed_get_attr(signer, i), &der);
	GBytes *bytes = g_bytes_new(der, len > 0 ? (gsize)len : 0);

	OPENSSL_free(der);
	return bytes;
}

/* iOS 10.3 stumbled over attributes in another order (X.690 §11.6). */
static bool check_sorted(CMS_SignerInfo *signer, GError **error)
{
	g_autoptr(GBytes) last = NULL;

	for (int i = 0; i < CMS_signed_get_attr_count(signer); i++) {
		g_autoptr(GBytes) next = format_attribute(signer, i);

		if (last && g_bytes_compare(last, next) >= 0)
			return wrong(error, "the signed attributes of the reply are not sorted as DER demands");
		g_clear_pointer(&last, g_bytes_unref);
		last = g_steal_pointer(&next);
	}
	return true;
}

/* transfer full; NULL when it is missing, there twice or of another type. */
static GBytes *take_attribute(CMS_SignerInfo *signer, const char *oid, int type)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	ERR_clear_error();
	return value ? g_bytes_new(ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value)) : NULL;
}

static char *take_text(CMS_SignerInfo *signer, const char *oid, int type)
{
	g_autoptr(GBytes) value = take_attribute(signer, oid, type);
	gsize len = 0;
	const char *data = value ? g_bytes_get_data(value, &len) : NULL;

	return data ? g_strndup(data, len) : NULL;
}

static bool has_attribute(CMS_SignerInfo *signer, const char *oid)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	bool has = CMS_signed_get_attr_by_OBJ(signer, object, -1) >= 0;

	ASN1_OBJECT_free(object);
	return has;
}

static bool check_nonces(const sim_scep *scep, CMS_SignerInfo *signer, GBytes **ret, GError **error)
{
	g_autoptr(GBytes) recipient = take_attribute(signer, OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING), sender = take_attribute(signer, OID_SENDER_NONCE, V_ASN1_OCTET_STRING);
	g_autoptr(GBytes) ours = g_bytes_new_static(scep->nonce, scep->nonce_len);

	if (!recipient || !g_bytes_equal(recipient, ours))
		return wrong(error, "recipientNonce of the reply is not our senderNonce (RFC 8894 §3.2.1.5)");
	if (!sender || g_bytes_get_size(sender) != NONCE_LEN)
		return wrong(error, "senderNonce of the reply does not have 16 bytes (RFC 8894 §3.2.1.5)");
	if (g_bytes_equal(sender, ours))
		return wrong(error, "senderNonce of the reply is ours, not a fresh one (RFC 8894 §3.2.1.5)");
	*ret = g_steal_pointer(&sender);
	return true;
}

/* failInfo is there with FAILURE, and only then (RFC 8894 §3.2.1.4). */
static bool check_fail_info(CMS_SignerInfo *signer, struct sim_scep_outcome *outcome, GError **error)
{
	if (outcome->status != SIM_SCEP_FAILURE) {
		if (has_attribute(signer, OID_FAIL_INFO) || has_attribute(signer, OID_FAIL_INFO_TEXT))
			return wrong(error, "the reply has failInfo or failInfoText, but pkiStatus is not FAILURE");
		return true;
	}
	outcome->fail_info = take_text(signer, OID_FAIL_INFO, V_ASN1_PRINTABLESTRING);
	outcome->fail_info_text = take_text(signer, OID_FAIL_INFO_TEXT, V_ASN1_UTF8STRING);
	if (!outcome->fail_info || strlen(outcome->fail_info) != 1 || !strchr("01234", *outcome->fail_info))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: failInfo of the reply is %s", outcome->fail_info ? outcome->fail_info : "missing");
	if (has_attribute(signer, OID_FAIL_INFO_TEXT) && (!outcome->fail_info_text || !g_utf8_validate(outcome->fail_info_text, -1, NULL)))
		return wrong(error, "failInfoText of the reply is no UTF8String");
	return true;
}

static bool check_attributes(const sim_scep *scep, CMS_SignerInfo *signer, struct sim_scep_outcome *outcome, GError **error)
{
	g_autofree char *type = take_text(signer, OID_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING), *status = take_text(signer, OID_PKI_STATUS, V_ASN1_PRINTABLESTRING);
	g_autofree char *transaction = take_text(signer, OID_TRANSACTION, V_ASN1_PRINTABLESTRING);

	if (g_strcmp0(type, "3"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: messageType of the reply is %s, must be 3", type ? type : "missing");
	if (g_strcmp0(transaction, scep->transaction))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: transactionID of the reply is %s, ours is %s", transaction ? transaction : "missing", scep->transaction);
	if (!status || strlen(status) != 1 || !strchr("023", *status))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: pkiStatus of the reply is %s", status ? status : "missing");
	outcome->status = *status - '0';
	return check_nonces(scep, signer, &outcome->server_nonce, error) && check_fail_info(signer, outcome, error);
}

/* Signature, attributes and whether there is content; *RET_CONTENT (transfer full) is NULL with FAILURE and PENDING. */
static bool open_outer(const sim_scep *scep, X509 *ca, GBytes *reply, struct sim_scep_outcome *outcome, GBytes **ret_content, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = sim_scep_cms_parse(reply, NID_pkcs7_signed, "the reply", error);
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());
	STACK_OF(CMS_SignerInfo) *signers;
	CMS_SignerInfo *signer;
	bool has_content;

	if (!cms || !verify(cms, ca, out, error) || !check_carried(cms, ca, error))
		return false;
	signers = CMS_get0_SignerInfos(cms);
	if (sk_CMS_SignerInfo_num(signers) != 1)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply has %d signers, must have one", sk_CMS_SignerInfo_num(signers));
	signer = sk_CMS_SignerInfo_value(signers, 0);
	if (OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data)
		return wrong(error, "eContentType of the reply is not id-data (RFC 8894 §3.2)");
	if (!check_algorithms(scep, signer, ca, error) || !check_sorted(signer, error) || !check_attributes(scep, signer, outcome, error))
		return false;
	has_content = *CMS_get0_content(cms) != NULL;
	if (has_content != (outcome->status == SIM_SCEP_SUCCESS))
		return wrong(error, has_content ? "the reply has content, which only SUCCESS may have (RFC 8894 §3.3.2)" : "SUCCESS without content (RFC 8894 §3.3.2.1)");
	*ret_content = has_content ? sim_bio_bytes(out) : NULL;
	return true;
}

/* ---- the envelope ---- */

/* The hash of RSAES-OAEP; NID_undef when the parameters cannot be read. */
static int oaep_hash(const X509_ALGOR *algorithm)
{
	const void *value;
	const ASN1_OBJECT *oid;
	int type, nid;
	RSA_OAEP_PARAMS *params;

	X509_ALGOR_get0(NULL, &type, &value, algorithm);
	params = type == V_ASN1_SEQUENCE ? ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_OAEP_PARAMS)) : NULL;
	if (!params)
		return NID_undef;
	if (params->hashFunc)
		X509_ALGOR_get0(&oid, NULL, NULL, params->hashFunc);
	nid = params->hashFunc ? OBJ_obj2nid(oid) : NID_sha1; /* RFC 8017 §A.2.1: the default */
	RSA_OAEP_PARAMS_free(params);
	return nid;
}

static bool has_transport(const X509_ALGOR *algorithm, enum sim_scep_transport wanted)
{
	const ASN1_OBJECT *oid;
	int nid;

	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	nid = OBJ_obj2nid(oid);
	if (wanted == SIM_SCEP_PKCS1)
		return nid == NID_rsaEncryption;
	return nid == NID_rsaesOaep && oaep_hash(algorithm) == (wanted == SIM_SCEP_OAEP_SHA256 ? NID_sha256 : NID_sha1);
}

static bool check_recipient(const sim_scep *scep, CMS_ContentInfo *cms, GError **error)
{
	STACK_OF(CMS_RecipientInfo) *recipients = CMS_get0_RecipientInfos(cms);
	CMS_RecipientInfo *recipient = sk_CMS_RecipientInfo_value(recipients, 0);
	X509_ALGOR *algorithm;

	if (sk_CMS_RecipientInfo_num(recipients) != 1 || CMS_RecipientInfo_type(recipient) != CMS_RECIPINFO_TRANS || CMS_RecipientInfo_ktri_cert_cmp(recipient, scep->signer))
		return wrong(error, "the reply is not enveloped to the signer of the request, and to him alone");
	if (!CMS_RecipientInfo_ktri_get0_algs(recipient, NULL, NULL, &algorithm) || !has_transport(algorithm, scep->transport))
		return wrong(error, "the key of the reply is transported otherwise than the request's");
	return true;
}

/* What CHAIN decrypts, transfer full; NULL when it does not. */
static GBytes *read_plain(BIO *chain)
{
	g_autoptr(GByteArray) plain = g_byte_array_new();
	guint8 block[4096];
	int n;

	while ((n = BIO_read(chain, block, sizeof(block))) > 0 && plain->len <= PLAIN_MAX)
		g_byte_array_append(plain, block, (guint)n);
	return n == 0 && BIO_get_cipher_status(chain) == 1 ? g_bytes_new(plain->data, plain->len) : NULL;
}

static bool has_cipher(BIO *chain, const EVP_CIPHER *wanted)
{
	BIO *filter = BIO_find_type(chain, BIO_TYPE_CIPHER);
	EVP_CIPHER_CTX *ctx = NULL;

	return filter && BIO_get_cipher_ctx(filter, &ctx) > 0 && ctx && EVP_CIPHER_CTX_get_nid(ctx) == EVP_CIPHER_get_nid(wanted);
}

/* The inner message, transfer full; NULL with ERROR. */
static GBytes *open_envelope(const sim_scep *scep, GBytes *content, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = sim_scep_cms_parse(content, NID_pkcs7_enveloped, "the content of the reply", error);
	g_autoptr(BIO) chain = NULL;
	g_autofree char *why = NULL;
	GBytes *plain;

	if (!cms || !check_recipient(scep, cms, error))
		return NULL;
	chain = CMS_decrypt_set1_pkey(cms, scep->signer_key, scep->signer) ? CMS_dataInit(cms, NULL) : NULL;
	if (chain && !has_cipher(chain, scep->cipher)) {
		wrong(error, "the reply is encrypted with another cipher than the request");
		return NULL;
	}
	plain = chain ? read_plain(chain) : NULL;
	why = sim_openssl_error();
	if (!plain)
		pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply cannot be decrypted with the signer's key: %s", why);
	return plain;
}

/* ---- what is inside ---- */

static bool check_validity(X509 *cert, GError **error)
{
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0)
		return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22007: the certificate is not valid now");
}

static bool check_asked_for(const sim_scep *scep, const struct sim_scep_question *question, X509 *cert, GError **error)
{
	if (question->type == SIM_SCEP_GET_CERT) {
		if (!X509_NAME_cmp(X509_get_issuer_name(cert), question->issuer) && !ASN1_INTEGER_cmp(X509_get0_serialNumber(cert), question->serial))
			return true;
		return wrong(error, "GetCert gives another certificate than the one asked for");
	}
	if (EVP_PKEY_eq(X509_get0_pubkey(cert), scep->key) != 1)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22008: the certificate of the reply has another key than the request");
	return check_validity(cert, error);
}

static bool take_cert(const sim_scep *scep, const struct sim_scep_question *question, const struct sim_scep_ca *ca, GBytes *plain, X509 **ret, GError **error)
{
	g_autoptr(sim_certs) certs = sim_scep_certs_parse(plain, "the decrypted reply", error);
	X509 *cert = certs ? sk_X509_value(certs, 0) : NULL;

	if (!cert)
		return false;
	/* iOS pairs the first certificate with its key, and DER sorts a shorter CA certificate first. */
	if (sk_X509_num(certs) != 1)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22008: the reply has %d certificates, must have one", sk_X509_num(certs));
	if (!check_asked_for(scep, question, cert, error))
		return false;
	if (!sim_scep_ca_issued(ca, cert))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22007: the certificate is not issued by a certificate of GetCACert");
	*ret = sk_X509_shift(certs);
	return true;
}

static bool take_crl(const struct sim_scep_question *question, const struct sim_scep_ca *ca, GBytes *plain, X509_CRL **ret, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = sim_scep_cms_parse(plain, NID_pkcs7_signed, "the decrypted reply", error);
	g_autoptr(sim_certs) certs = NULL;
	STACK_OF(X509_CRL) *crls;
	X509_CRL *crl = NULL;

	if (!cms || !check_degenerate(cms, "the decrypted reply", error))
		return false;
	certs = CMS_get1_certs(cms);
	crls = CMS_get1_crls(cms);
	if (crls && sk_X509_CRL_num(crls) == 1 && !(certs && sk_X509_num(certs)))
		crl = sk_X509_CRL_shift(crls);
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	if (!crl)
		return wrong(error, "the reply to GetCRL does not hold one CRL and nothing else (RFC 8894 §4.6.1)");
	if (!X509_NAME_cmp(X509_CRL_get_issuer(crl), question->issuer) && sim_scep_ca_issued_crl(ca, crl)) {
		*ret = crl;
		return true;
	}
	X509_CRL_free(crl);
	return wrong(error, "the CRL is not of the issuer asked for, or not signed by a certificate of GetCACert");
}

static bool open_reply(const sim_scep *scep, const struct sim_scep_question *question, const struct sim_scep_ca *ca, GBytes *reply, struct sim_scep_outcome *outcome, GError **error)
{
	g_autoptr(GBytes) content = NULL, plain = NULL;

	if (!open_outer(scep, ca->signer, reply, outcome, &content, error))
		return false;
	if (!content)
		return true;
	plain = open_envelope(scep, content, error);
	if (!plain)
		return false;
	return question->type == SIM_SCEP_GET_CRL ? take_crl(question, ca, plain, &outcome->crl, error) : take_cert(scep, question, ca, plain, &outcome->cert, error);
}

bool sim_scep_open(const sim_scep *scep, const struct sim_scep_question *question, const struct sim_scep_ca *ca, GBytes *reply, struct sim_scep_outcome *ret, GError **error)
{
	struct sim_scep_outcome outcome = {.http_status = 200};

	if (open_reply(scep, question, ca, reply, &outcome, error)) {
		*ret = outcome;
		return true;
	}
	sim_scep_outcome_clear(&outcome);
	return false;
}
