#include "sim/sim_message.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"

/* RFC 8894 §3.2.1: attributes under id-VeriSign.pki. */
#define OID_MESSAGE_TYPE "2.16.840.1.113733.1.9.2"
#define OID_PKI_STATUS "2.16.840.1.113733.1.9.3"
#define OID_FAIL_INFO "2.16.840.1.113733.1.9.4"
#define OID_SENDER_NONCE "2.16.840.1.113733.1.9.5"
#define OID_RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define OID_TRANSACTION "2.16.840.1.113733.1.9.7"

enum { IOS_NONCE = 16, MACOS_NONCE = 8, CSR_VERSION_MACOS = 2 };

/* For what cannot fail unless memory is gone: the input is ours. */
static void must(bool ok, const char *what)
{
	g_autofree char *why = ok ? NULL : sim_openssl_error();

	if (!ok)
		g_error("%s: %s", what, why);
}

static GBytes *bio_bytes(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static BIO *bytes_bio(GBytes *bytes)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	return BIO_new_mem_buf(data ? data : "", (int)len);
}

/* ---- Mdm-Signature ---- */

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

/* ---- a transaction ---- */

bool sim_scep_has_cap(const char *caps, const char *word)
{
	g_auto(GStrv) lines = g_strsplit_set(caps ? caps : "", "\r\n", -1);

	for (int i = 0; lines[i]; i++)
		if (!g_ascii_strcasecmp(g_strstrip(lines[i]), word))
			return true;
	return false;
}

static char *transaction_of(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PublicKey(key, &der);
	g_autofree char *hex = NULL;

	must(len > 0, "public key");
	hex = g_compute_checksum_for_data(G_CHECKSUM_SHA1, der, (gsize)len);
	OPENSSL_free(der);
	return g_ascii_strup(hex, -1);
}

static void choose_algorithms(sim_scep *scep, const char *caps)
{
	bool standard = sim_scep_has_cap(caps, "SCEPStandard");

	scep->md = EVP_sha1();
	scep->cipher = EVP_des_ede3_cbc();
	if (scep->macos)
		return;
	if (standard || sim_scep_has_cap(caps, "SHA-256"))
		scep->md = EVP_sha256();
	if (standard || sim_scep_has_cap(caps, "AES"))
		scep->cipher = EVP_aes_128_cbc();
}

sim_scep *sim_scep_new(bool macos, EVP_PKEY *key, const char *challenge, const char *caps)
{
	sim_scep *scep = g_new0(sim_scep, 1);
	g_autofree char *uuid = g_uuid_string_random(), *cn = g_ascii_strup(uuid, -1);

	scep->macos = macos;
	scep->challenge = challenge && *challenge ? g_strdup(challenge) : NULL;
	scep->transaction = transaction_of(key);
	EVP_PKEY_up_ref(key);
	scep->key = key;
	scep->nonce_len = macos ? MACOS_NONCE : IOS_NONCE;
	pom_random_fill(pom_random_system(), scep->nonce, scep->nonce_len);
	choose_algorithms(scep, caps);
	if (macos) {
		scep->signer_key = sim_key_new();
		scep->signer = sim_cert_new_signer(scep->signer_key, "MDM SCEP SIGNER", "US", false);
	} else {
		EVP_PKEY_up_ref(key);
		scep->signer_key = key;
		scep->signer = sim_cert_new_signer(key, cn, NULL, true);
	}
	return scep;
}

void sim_scep_free(sim_scep *scep)
{
	if (!scep)
		return;
	EVP_PKEY_free(scep->key);
	EVP_PKEY_free(scep->signer_key);
	X509_free(scep->signer);
	g_free(scep->transaction);
	g_free(scep->challenge);
	g_free(scep);
}

/* ---- the certificate request ---- */

static bool add_rdn(X509_NAME *name, const plist *rdn, GError **error)
{
	for (size_t i = 0; i < plist_count(rdn); i++) {
		const plist *pair = plist_child(rdn, i);
		const char *field = plist_get_string(plist_child(pair, 0)), *value = plist_get_string(plist_child(pair, 1));

		if (plist_count(pair) != 2 || !field || !value)
			return pom_fail(error, POM_ERR_PROFILE, "the SCEP Subject must be an array of arrays of [name, value] (22011 on a device)");
		if (!X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, i ? -1 : 0)) {
			g_autofree char *why = sim_openssl_error();

			return pom_fail(error, POM_ERR_PROFILE, "the SCEP Subject has %s=\"%s\", which cannot be written: %s", field, value, why);
		}
	}
	return true;
}

static bool set_subject(X509_NAME *name, const plist *subject, GError **error)
{
	g_autofree char *uuid = g_uuid_string_random(), *cn = g_strdup_printf("com.apple.security.scep.%s", uuid);

	for (size_t i = 0; i < plist_count(subject); i++)
		if (!add_rdn(name, plist_child(subject, i), error))
			return false;
	if (!plist_count(subject))
		must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0), "CN");
	return true;
}

static void push_extension(STACK_OF(X509_EXTENSION) *extensions, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	if (extension)
		sk_X509_EXTENSION_push(extensions, extension);
	else
		ERR_clear_error();
}

static void push_alt_names(STACK_OF(X509_EXTENSION) *extensions, const plist *alt_name)
{
	static const struct { const char *key, *form; } forms[] = {{"rfc822Name", "email"}, {"dNSName", "DNS"}, {"uniformResourceIdentifier", "URI"}};
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
		const plist *node = plist_dict_get(alt_name, forms[i].key);
		const char *one = plist_get_string(node);

		if (one)
			g_string_append_printf(text, "%s%s:%s", text->len ? "," : "", forms[i].form, one);
		for (size_t n = 0; plist_get_type(node) == PLIST_ARRAY && n < plist_count(node); n++)
			if ((one = plist_get_string(plist_child(node, n))))
				g_string_append_printf(text, "%s%s:%s", text->len ? "," : "", forms[i].form, one);
	}
	if (text->len)
		push_extension(extensions, NID_subject_alt_name, text->str);
}

static void add_extensions(X509_REQ *req, const struct sim_scep_settings *settings)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	bool sign = settings->key_usage & 1, encipher = settings->key_usage & 4;

	if (sign || encipher)
		push_extension(extensions, NID_key_usage, sign && encipher ? "critical,digitalSignature,keyEncipherment" : sign ? "critical,digitalSignature" : "critical,keyEncipherment");
	push_alt_names(extensions, settings->alt_name);
	if (sk_X509_EXTENSION_num(extensions))
		must(X509_REQ_add_extensions(req, extensions), "extensions");
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

GBytes *sim_scep_csr(const sim_scep *scep, const struct sim_scep_settings *settings, EVP_PKEY *sign_with, GError **error)
{
	g_autoptr(X509_REQ) req = X509_REQ_new();
	unsigned char *der = NULL;
	GBytes *bytes;
	int len;

	if (!set_subject(X509_REQ_get_subject_name(req), settings->subject, error))
		return NULL;
	/* What macOS writes, though PKCS #10 knows no version but 0. */
	must(X509_REQ_set_version(req, scep->macos ? CSR_VERSION_MACOS : X509_REQ_VERSION_1) && X509_REQ_set_pubkey(req, scep->key), "CSR");
	if (scep->challenge)
		must(X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_UTF8, (const unsigned char *)scep->challenge, -1), "challengePassword");
	add_extensions(req, settings);
	must(X509_REQ_sign(req, sign_with ? sign_with : scep->key, scep->macos ? EVP_sha1() : EVP_sha256()), "CSR");
	len = i2d_X509_REQ(req, &der);
	must(len > 0, "CSR");
	bytes = g_bytes_new(der, (gsize)len);
	OPENSSL_free(der);
	return bytes;
}

struct issuer_and_subject {
	X509_NAME *issuer, *subject;
};
ASN1_SEQUENCE(issuer_and_subject) = {
	ASN1_SIMPLE(struct issuer_and_subject, issuer, X509_NAME),
	ASN1_SIMPLE(struct issuer_and_subject, subject, X509_NAME),
} static_ASN1_SEQUENCE_END_name(struct issuer_and_subject, issuer_and_subject)

GBytes *sim_scep_poll_content(X509 *ca, GBytes *csr)
{
	gsize csr_len;
	const unsigned char *p = g_bytes_get_data(csr, &csr_len);
	g_autoptr(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)csr_len);
	struct issuer_and_subject names = {X509_get_subject_name(ca), req ? X509_REQ_get_subject_name(req) : NULL};
	unsigned char *der = NULL;
	int len = req ? ASN1_item_i2d((const ASN1_VALUE *)&names, &der, ASN1_ITEM_rptr(issuer_and_subject)) : 0;
	GBytes *bytes;

	must(len > 0, "IssuerAndSubject");
	bytes = g_bytes_new(der, (gsize)len);
	OPENSSL_free(der);
	return bytes;
}

/* ---- pkiMessage ---- */

static GBytes *envelope(const sim_scep *scep, X509 *recipient, GBytes *content)
{
	unsigned flags = CMS_BINARY | CMS_STREAM;
	STACK_OF(X509) *recipients = sk_X509_new_null();
	g_autoptr(BIO) in = bytes_bio(content), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = NULL;

	sk_X509_push(recipients, recipient);
	cms = CMS_encrypt(recipients, in, scep->cipher, flags);
	sk_X509_free(recipients);
	must(cms && i2d_CMS_bio_stream(out, cms, in, (int)flags), "EnvelopedData");
	return bio_bytes(out);
}

static void add_attribute(CMS_SignerInfo *signer, const char *oid, int type, const void *value, size_t len)
{
	must(CMS_signed_add1_attr_by_txt(signer, oid, type, value, (int)len), oid);
}

static void add_text(CMS_SignerInfo *signer, const char *oid, const char *text)
{
	add_attribute(signer, oid, V_ASN1_PRINTABLESTRING, text, strlen(text));
}

GBytes *sim_scep_request(const sim_scep *scep, enum sim_scep_type type, X509 *recipient, GBytes *content)
{
	unsigned flags = CMS_BINARY | CMS_STREAM | CMS_PARTIAL | CMS_NOSMIMECAP;
	g_autoptr(GBytes) enveloped = envelope(scep, recipient, content);
	g_autoptr(BIO) in = bytes_bio(enveloped), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	g_autofree char *number = g_strdup_printf("%d", type);
	CMS_SignerInfo *signer = cms ? CMS_add1_signer(cms, scep->signer, scep->signer_key, scep->md, flags) : NULL;

	must(signer, "SignedData");
	add_text(signer, OID_MESSAGE_TYPE, number);
	add_text(signer, OID_TRANSACTION, scep->transaction);
	add_attribute(signer, OID_SENDER_NONCE, V_ASN1_OCTET_STRING, scep->nonce, scep->nonce_len);
	if (scep->macos && scep->challenge)
		add_attribute(signer, "1.2.840.113549.1.9.7", g_str_is_ascii(scep->challenge) ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, scep->challenge, strlen(scep->challenge));
	must(i2d_CMS_bio_stream(out, cms, in, (int)flags), "SignedData");
	return bio_bytes(out);
}

/* ---- the reply ---- */

/* transfer full; NULL when it is missing, there twice or of another type. */
static GBytes *take_attribute(CMS_SignerInfo *signer, const char *oid, int type)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	ERR_clear_error();
	return value ? g_bytes_new(ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value)) : NULL;
}

static char *take_text(CMS_SignerInfo *signer, const char *oid)
{
	g_autoptr(GBytes) value = take_attribute(signer, oid, V_ASN1_PRINTABLESTRING);
	gsize len = 0;
	const char *data = value ? g_bytes_get_data(value, &len) : NULL;

	return data ? g_strndup(data, len) : NULL;
}

static bool verify_reply(CMS_ContentInfo *cms, X509 *ca, BIO *out, GError **error)
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

static bool check_attributes(const sim_scep *scep, CMS_SignerInfo *signer, enum sim_scep_status *ret_status, char **ret_fail_info, GError **error)
{
	g_autofree char *type = take_text(signer, OID_MESSAGE_TYPE), *status = take_text(signer, OID_PKI_STATUS), *transaction = take_text(signer, OID_TRANSACTION);
	g_autoptr(GBytes) nonce = take_attribute(signer, OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING);
	g_autoptr(GBytes) ours = g_bytes_new_static(scep->nonce, scep->nonce_len);

	if (g_strcmp0(type, "3"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: messageType of the reply is %s, must be 3", type ? type : "missing");
	if (g_strcmp0(transaction, scep->transaction))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: transactionID of the reply is %s, ours is %s", transaction ? transaction : "missing", scep->transaction);
	if (!nonce || !g_bytes_equal(nonce, ours))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: recipientNonce of the reply is not our senderNonce");
	if (!status || strlen(status) != 1 || !strchr("023", *status))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: pkiStatus of the reply is %s", status ? status : "missing");
	*ret_status = *status - '0';
	if (*ret_status == SIM_SCEP_FAILURE)
		*ret_fail_info = take_text(signer, OID_FAIL_INFO);
	return true;
}

static CMS_ContentInfo *parse_cms(GBytes *bytes, int nid, const char *what, GError **error)
{
	g_autoptr(BIO) in = bytes_bio(bytes);
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_bio(in, NULL);
	g_autofree char *why = cms ? NULL : sim_openssl_error();

	if (cms && OBJ_obj2nid(CMS_get0_type(cms)) == nid)
		return g_steal_pointer(&cms);
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: %s is not the CMS message it must be%s%s", what, why ? ": " : "", why ? why : "");
	return NULL;
}

/* The certificate out of the envelope: the first, as devices take it. */
static bool open_certificate(const sim_scep *scep, GBytes *content, X509 **ret, GError **error)
{
	g_autoptr(CMS_ContentInfo) enveloped = parse_cms(content, NID_pkcs7_enveloped, "the content of the reply", error), inner = NULL;
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(sim_certs) certs = NULL;

	if (!enveloped)
		return false;
	if (!CMS_decrypt(enveloped, scep->signer_key, scep->signer, NULL, out, CMS_BINARY)) {
		g_autofree char *why = sim_openssl_error();

		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply cannot be decrypted with the signer's key: %s", why);
	}
	plain = bio_bytes(out);
	inner = parse_cms(plain, NID_pkcs7_signed, "the decrypted reply", error);
	if (!inner)
		return false;
	certs = CMS_get1_certs(inner);
	if (!certs || !sk_X509_num(certs))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22007: the reply has no certificate");
	if (!EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(certs, 0)), scep->key))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22008: the first certificate of the reply has another key than the request");
	*ret = sk_X509_shift(certs);
	return true;
}

bool sim_scep_open(const sim_scep *scep, GBytes *reply, X509 *ca, enum sim_scep_status *ret_status, X509 **ret_cert, char **ret_fail_info, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = parse_cms(reply, NID_pkcs7_signed, "the reply", error);
	g_autoptr(BIO) out = BIO_new(BIO_s_mem());
	g_autoptr(GBytes) content = NULL;
	STACK_OF(CMS_SignerInfo) *signers;

	if (!cms || !verify_reply(cms, ca, out, error))
		return false;
	signers = CMS_get0_SignerInfos(cms);
	if (sk_CMS_SignerInfo_num(signers) != 1)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the reply has %d signers, must have one", sk_CMS_SignerInfo_num(signers));
	if (!check_attributes(scep, sk_CMS_SignerInfo_value(signers, 0), ret_status, ret_fail_info, error))
		return false;
	if (*ret_status != SIM_SCEP_SUCCESS)
		return true;
	content = bio_bytes(out);
	return open_certificate(scep, content, ret_cert, error);
}

/* ---- GetCACert ---- */

/* Apple's client can envelope to RSA keys only. */
static bool check_recipient(const struct sim_scep_ca *ca, GError **error)
{
	EVP_PKEY *key = X509_get0_pubkey(ca->recipient);

	ERR_clear_error();
	return (key && EVP_PKEY_is_a(key, "RSA")) || pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: the certificate of GetCACert has no RSA key, which requests are enveloped to");
}

void sim_scep_ca_clear(struct sim_scep_ca *ca)
{
	sim_certs_free(ca->all);
	*ca = (struct sim_scep_ca){0};
}

static bool check_fingerprint(X509 *cert, GBytes *fingerprint, GError **error)
{
	gsize len = fingerprint ? g_bytes_get_size(fingerprint) : 0;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;

	if (!fingerprint)
		return true;
	must(X509_digest(cert, len == 16 ? EVP_md5() : EVP_sha1(), digest, &digest_len), "fingerprint");
	if (digest_len == len && !memcmp(digest, g_bytes_get_data(fingerprint, NULL), len))
		return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22002: the CA certificate does not have the CAFingerprint of the profile");
}

static X509 *find_with_usage(sim_certs *certs, uint32_t usage)
{
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);

		if (X509_self_signed(cert, 0) != 1 && (X509_get_extension_flags(cert) & EXFLAG_KUSAGE) && (X509_get_key_usage(cert) & usage) == usage)
			return cert;
	}
	return NULL;
}

/* As Apple's client chooses: everything under one root in the message, and a certificate (or a pair) below it that signs and deciphers. */
static bool choose_from_chain(struct sim_scep_ca *ca, GError **error)
{
	for (int i = 0; i < sk_X509_num(ca->all); i++) {
		X509 *cert = sk_X509_value(ca->all, i);

		if (X509_self_signed(cert, 1) != 1)
			continue;
		if (ca->root)
			return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert gives two roots");
		ca->root = cert;
	}
	ca->recipient = ca->signer = find_with_usage(ca->all, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	if (!ca->recipient) {
		ca->recipient = find_with_usage(ca->all, KU_KEY_ENCIPHERMENT);
		ca->signer = find_with_usage(ca->all, KU_DIGITAL_SIGNATURE);
	}
	if (ca->root && ca->recipient && ca->signer)
		return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22003: GetCACert needs one root, and below it a certificate with digitalSignature and keyEncipherment");
}

static bool parse_chain(GBytes *body, struct sim_scep_ca *ca, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = parse_cms(body, NID_pkcs7_signed, "the answer to GetCACert", error);

	if (!cms)
		return false;
	ca->all = CMS_get1_certs(cms);
	if (!ca->all || !sk_X509_num(ca->all))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22002: GetCACert gives no certificate");
	return choose_from_chain(ca, error);
}

static bool parse_single(GBytes *body, struct sim_scep_ca *ca, GError **error)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(body, &len), *end = p + len;
	X509 *cert = d2i_X509(NULL, &p, (long)len);

	ERR_clear_error();
	if (!cert)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22002: GetCACert gives no DER certificate");
	ca->all = sk_X509_new_null();
	sk_X509_push(ca->all, cert);
	ca->recipient = ca->signer = ca->root = cert;
	return p == end || pom_fail(error, POM_ERR_SCEP_MESSAGE, "22002: there is something behind the certificate of GetCACert");
}

bool sim_scep_ca_parse(const char *type, GBytes *body, GBytes *fingerprint, struct sim_scep_ca *ret, GError **error)
{
	struct sim_scep_ca ca = {0};
	bool ok;

	if (!g_strcmp0(type, "application/x-x509-ca-cert"))
		ok = parse_single(body, &ca, error);
	else if (!g_strcmp0(type, "application/x-x509-ca-ra-cert"))
		ok = parse_chain(body, &ca, error);
	else
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22004: GetCACert answers with the media type %s", type ? type : "(none)");
	if (ok && check_recipient(&ca, error) && check_fingerprint(ca.root, fingerprint, error)) {
		*ret = ca;
		return true;
	}
	sim_scep_ca_clear(&ca);
	return false;
}
