/* EnvelopedData, read and written but neither decrypted nor encrypted. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/error.h"
#include "codec/cms_internal.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(RSA_OAEP_PARAMS, RSA_OAEP_PARAMS_free)

static void recipient_free(struct cms_recipient *recipient)
{
	g_clear_pointer(&recipient->issuer_der, g_bytes_unref);
	g_clear_pointer(&recipient->key_id, g_bytes_unref);
	g_clear_pointer(&recipient->encrypted_key, g_bytes_unref);
	g_free(recipient->serial);
	g_free(recipient);
}

static int block_size(int cipher_nid)
{
	switch (cipher_nid) {
	case NID_aes_128_cbc:
	case NID_aes_192_cbc:
	case NID_aes_256_cbc:
		return 16;
	case NID_des_ede3_cbc:
	case NID_des_cbc:
		return 8;
	default:
		return 0;
	}
}

static bool is_oaep_digest(int nid)
{
	return nid == NID_sha1 || nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

/* RFC 4055 §4.1; what is left out means SHA-1. */
static bool read_oaep(struct cms_recipient *recipient, const X509_ALGOR *algorithm)
{
	g_autoptr(RSA_OAEP_PARAMS) oaep = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_OAEP_PARAMS), algorithm->parameter);
	g_autoptr(X509_ALGOR) mgf = NULL;

	if (!oaep || oaep->pSourceFunc)
		return false;
	if (oaep->maskGenFunc) {
		if (OBJ_obj2nid(oaep->maskGenFunc->algorithm) != NID_mgf1)
			return false;
		mgf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), oaep->maskGenFunc->parameter);
		if (!mgf)
			return false;
	}
	recipient->oaep = true;
	recipient->oaep_digest_nid = oaep->hashFunc ? OBJ_obj2nid(oaep->hashFunc->algorithm) : NID_sha1;
	recipient->oaep_mgf_nid = mgf ? OBJ_obj2nid(mgf->algorithm) : NID_sha1;
	return is_oaep_digest(recipient->oaep_digest_nid) && is_oaep_digest(recipient->oaep_mgf_nid);
}

static bool read_recipient(GPtrArray *recipients, const struct key_trans *source, GError **error)
{
	struct cms_recipient *recipient = g_new0(struct cms_recipient, 1);
	const struct party_id *id = source->id;

	g_ptr_array_add(recipients, recipient);
	recipient->encrypted_key = string_bytes(source->encrypted_key);
	if (id->type == PARTY_KEY_ID) {
		recipient->key_id = string_bytes(id->value.key_id);
	} else {
		if (id->value.issuer_serial->issuer->type != V_ASN1_SEQUENCE)
			return pom_fail(error, POM_ERR_CMS_MALFORMED, "a recipient's issuer is not a Name (RFC 5652 §10.2.4)");
		recipient->issuer_der = string_bytes(id->value.issuer_serial->issuer->value.sequence);
		recipient->serial = asn1_serial_text(id->value.issuer_serial->serial);
	}
	if (OBJ_obj2nid(source->algorithm->algorithm) == NID_rsaesOaep && !read_oaep(recipient, source->algorithm))
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "a recipient has RSAES-OAEP parameters that are not accepted (RFC 4055 §4.1)");
	return true;
}

static bool read_cipher(struct cms_enveloped *enveloped, const struct encrypted_content *encrypted, GError **error)
{
	const ASN1_TYPE *iv = encrypted->algorithm->parameter;

	enveloped->cipher_nid = OBJ_obj2nid(encrypted->algorithm->algorithm);
	if (!block_size(enveloped->cipher_nid))
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "the content cipher is not accepted");
	if (!iv || iv->type != V_ASN1_OCTET_STRING || ASN1_STRING_length(iv->value.octet_string) != block_size(enveloped->cipher_nid))
		return pom_fail(error, POM_ERR_CMS_MALFORMED, "the IV is not one block of the cipher (RFC 3370 §5)");
	enveloped->iv = string_bytes(iv->value.octet_string);
	enveloped->ciphertext = string_bytes(encrypted->content);
	return true;
}

struct cms_enveloped *cms_enveloped_parse(const void *data, size_t len, size_t max_bytes, GError **error)
{
	g_autoptr(enveloped_message) message = NULL;
	g_autoptr(cms_enveloped) enveloped = g_new0(struct cms_enveloped, 1);

	enveloped->recipients = g_ptr_array_new_with_free_func((GDestroyNotify)recipient_free);
	if (!cms_check(data, len, CMS_KIND_ENVELOPED, max_bytes, error))
		return NULL;
	message = enveloped_message_parse(data, len);
	if (!message) {
		pom_fail(error, POM_ERR_CMS_MALFORMED, "the message is not EnvelopedData (RFC 5652 §6.1)");
		return NULL;
	}
	if (!read_cipher(enveloped, message->body->encrypted, error))
		return NULL;
	for (int i = 0; i < sk_key_trans_num(message->body->recipients); i++) {
		if (!read_recipient(enveloped->recipients, sk_key_trans_value(message->body->recipients, i), error))
			return NULL;
	}
	return g_steal_pointer(&enveloped);
}

void cms_enveloped_free(struct cms_enveloped *enveloped)
{
	if (!enveloped)
		return;
	g_clear_pointer(&enveloped->iv, g_bytes_unref);
	g_clear_pointer(&enveloped->ciphertext, g_bytes_unref);
	g_clear_pointer(&enveloped->recipients, g_ptr_array_unref);
	g_free(enveloped);
}

static bool names_cert(const struct cms_recipient *recipient, const ASN1_OCTET_STRING *key_id, GBytes *issuer, const char *serial)
{
	if (recipient->key_id)
		return key_id && (gsize)ASN1_STRING_length(key_id) == g_bytes_get_size(recipient->key_id) &&
		       !memcmp(ASN1_STRING_get0_data(key_id), g_bytes_get_data(recipient->key_id, NULL), g_bytes_get_size(recipient->key_id));
	return issuer && g_bytes_equal(recipient->issuer_der, issuer) && !strcmp(recipient->serial, serial);
}

const struct cms_recipient *cms_recipient_for(const struct cms_enveloped *enveloped, X509 *cert)
{
	g_autoptr(GBytes) issuer = asn1_format(X509_get_issuer_name(cert), ASN1_ITEM_rptr(X509_NAME));
	g_autofree char *serial = asn1_serial_text(X509_get0_serialNumber(cert));

	for (guint i = 0; i < enveloped->recipients->len; i++) {
		if (names_cert(enveloped->recipients->pdata[i], X509_get0_subject_key_id(cert), issuer, serial))
			return enveloped->recipients->pdata[i];
	}
	return NULL;
}

static X509_ALGOR *digest_algorithm(int nid)
{
	X509_ALGOR *algorithm = X509_ALGOR_new();

	X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_NULL, NULL);
	return algorithm;
}

/* SHA-1 is the default, which DER leaves out. */
static void set_oaep(X509_ALGOR *algorithm, const struct cms_recipient *like)
{
	g_autoptr(RSA_OAEP_PARAMS) oaep = RSA_OAEP_PARAMS_new();
	ASN1_STRING *packed = NULL;

	if (like->oaep_digest_nid != NID_sha1)
		oaep->hashFunc = digest_algorithm(like->oaep_digest_nid);
	if (like->oaep_mgf_nid != NID_sha1) {
		g_autoptr(X509_ALGOR) hash = digest_algorithm(like->oaep_mgf_nid);
		ASN1_STRING *packed_hash = NULL;

		oaep->maskGenFunc = X509_ALGOR_new();
		ASN1_item_pack(hash, ASN1_ITEM_rptr(X509_ALGOR), &packed_hash);
		X509_ALGOR_set0(oaep->maskGenFunc, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, packed_hash);
	}
	ASN1_item_pack(oaep, ASN1_ITEM_rptr(RSA_OAEP_PARAMS), &packed);
	X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsaesOaep), V_ASN1_SEQUENCE, packed);
}

static struct key_trans *format_recipient(GBytes *recipient, const struct cms_recipient *like, GBytes *encrypted_key)
{
	struct key_trans *key_trans = key_trans_new();

	/* Version 0: named by issuer and serial number (§6.2.1). */
	ASN1_INTEGER_set(key_trans->version, 0);
	if (!party_id_set_der(key_trans->id, recipient)) {
		key_trans_free(key_trans);
		return NULL;
	}
	if (like && like->oaep)
		set_oaep(key_trans->algorithm, like);
	else
		X509_ALGOR_set0(key_trans->algorithm, OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL, NULL);
	ASN1_STRING_set(key_trans->encrypted_key, g_bytes_get_data(encrypted_key, NULL), (int)g_bytes_get_size(encrypted_key));
	return key_trans;
}

GBytes *cms_enveloped_format(GBytes *recipient, const struct cms_recipient *recipient_like, GBytes *encrypted_key, int cipher_nid, const uint8_t *iv,
                             size_t iv_len, GBytes *ciphertext)
{
	g_autoptr(enveloped_message) message = enveloped_message_new();
	struct encrypted_content *encrypted = message->body->encrypted;
	struct key_trans *key_trans = format_recipient(recipient, recipient_like, encrypted_key);

	if (!key_trans)
		return NULL;
	ASN1_OCTET_STRING *parameters = ASN1_OCTET_STRING_new();

	g_assert(g_bytes_get_size(ciphertext) <= CMS_SIZE_MAX && iv_len == (size_t)block_size(cipher_nid));
	message->type = OBJ_nid2obj(NID_pkcs7_enveloped);
	/* Version 0: every recipient has version 0 and nothing optional is there (§6.1). */
	ASN1_INTEGER_set(message->body->version, 0);
	sk_key_trans_push(message->body->recipients, key_trans);
	encrypted->type = OBJ_nid2obj(NID_pkcs7_data);
	ASN1_STRING_set(parameters, iv, (int)iv_len);
	X509_ALGOR_set0(encrypted->algorithm, OBJ_nid2obj(cipher_nid), V_ASN1_OCTET_STRING, parameters);
	ASN1_STRING_set(encrypted->content, g_bytes_get_data(ciphertext, NULL), (int)g_bytes_get_size(ciphertext));
	return enveloped_message_format(message);
}
