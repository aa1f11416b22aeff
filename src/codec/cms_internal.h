/* The CMS structures as OpenSSL templates (RFC 5652), with certificates, CRLs and names as raw bytes: OpenSSL's own types
 * decode every key they meet, and hide encryptedKey. Used to read after cms_check and to write. */
#pragma once

#include "codec/cert_internal.h"
#include "codec/cms.h"

/* §10.2.4 IssuerAndSerialNumber */
struct issuer_serial {
	ASN1_TYPE *issuer;
	ASN1_INTEGER *serial;
};
struct issuer_serial *issuer_serial_parse(const void *data, size_t len);
struct issuer_serial *issuer_serial_new(void);
GBytes *issuer_serial_format(const struct issuer_serial *value);
void issuer_serial_free(struct issuer_serial *value);
typedef struct issuer_serial issuer_serial;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(issuer_serial, issuer_serial_free)

/* RFC 8894 §3.3.3 IssuerAndSubject */
struct issuer_subject {
	ASN1_TYPE *issuer, *subject;
};
struct issuer_subject *issuer_subject_parse(const void *data, size_t len);
struct issuer_subject *issuer_subject_new(void);
GBytes *issuer_subject_format(const struct issuer_subject *value);
void issuer_subject_free(struct issuer_subject *value);
typedef struct issuer_subject issuer_subject;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(issuer_subject, issuer_subject_free)

/* §5.3 SignerIdentifier, §6.2.1 RecipientIdentifier */
struct party_id {
	int type; /* PARTY_* */
	union {
		struct issuer_serial *issuer_serial;
		ASN1_OCTET_STRING *key_id;
	} value;
};
enum { PARTY_ISSUER_SERIAL = 0, PARTY_KEY_ID = 1 };

/* §5.3 SignerInfo */
struct signer_info {
	ASN1_INTEGER *version;
	struct party_id *id;
	X509_ALGOR *digest_algorithm;
	STACK_OF(X509_ATTRIBUTE) *signed_attrs;
	X509_ALGOR *signature_algorithm;
	ASN1_OCTET_STRING *signature;
	STACK_OF(ASN1_TYPE) *unsigned_attrs;
};
SKM_DEFINE_STACK_OF(signer_info, struct signer_info, struct signer_info)

/* §5.2 EncapsulatedContentInfo */
struct encap_content {
	ASN1_OBJECT *type;
	ASN1_OCTET_STRING *content;
};

/* §5.1 SignedData */
struct signed_data {
	ASN1_INTEGER *version;
	STACK_OF(X509_ALGOR) *digest_algorithms;
	struct encap_content *encap;
	STACK_OF(ASN1_TYPE) *certificates, *crls;
	STACK_OF(signer_info) *signers;
};

/* §6.2.1 KeyTransRecipientInfo */
struct key_trans {
	ASN1_INTEGER *version;
	struct party_id *id;
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *encrypted_key;
};
SKM_DEFINE_STACK_OF(key_trans, struct key_trans, struct key_trans)

/* §6.1 EncryptedContentInfo, EnvelopedData */
struct encrypted_content {
	ASN1_OBJECT *type;
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *content;
};
struct enveloped_data {
	ASN1_INTEGER *version;
	STACK_OF(key_trans) *recipients;
	struct encrypted_content *encrypted;
	STACK_OF(ASN1_TYPE) *unprotected_attrs;
};

/* §3 ContentInfo of either kind */
struct signed_message {
	ASN1_OBJECT *type;
	struct signed_data *body;
};
struct enveloped_message {
	ASN1_OBJECT *type;
	struct enveloped_data *body;
};

struct signed_message *signed_message_parse(const void *data, size_t len);
struct signed_message *signed_message_new(void);
GBytes *signed_message_format(const struct signed_message *message);
void signed_message_free(struct signed_message *message);
typedef struct signed_message signed_message;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(signed_message, signed_message_free)
struct signer_info *signer_info_new(void);

struct enveloped_message *enveloped_message_parse(const void *data, size_t len);
struct enveloped_message *enveloped_message_new(void);
struct key_trans *key_trans_new(void);
void key_trans_free(struct key_trans *key_trans);
GBytes *enveloped_message_format(const struct enveloped_message *message);
void enveloped_message_free(struct enveloped_message *message);
typedef struct enveloped_message enveloped_message;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(enveloped_message, enveloped_message_free)

/* Attributes as a universal SET. "Given" keeps the order they came in, as verifiers must; "sorted" is DER. */
GBytes *attributes_format_given(const STACK_OF(X509_ATTRIBUTE) *attributes);
GBytes *attributes_format_sorted(const STACK_OF(X509_ATTRIBUTE) *attributes);
STACK_OF(X509_ATTRIBUTE) *attributes_parse(GBytes *der);
void attributes_free(STACK_OF(X509_ATTRIBUTE) *attributes);

/* Fills ID with CERT's issuer and serial number; false when CERT has none that encode. */
bool party_id_set(struct party_id *id, const X509 *cert);
/* The same from the certificate's DER. */
bool party_id_set_der(struct party_id *id, GBytes *cert_der);

/* A signed message read and its signer found, but nothing verified: for messages that must be answered even when they are
 * refused. DATA has passed cms_check, or failed only for its algorithms. */
struct cms_signed *cms_signed_open(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Verifies it, and fills in content. */
bool cms_signed_verify(struct cms_signed *message, const void *detached, size_t detached_len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its only signer. */
CMS_SignerInfo *cms_signed_signer(const struct cms_signed *message);

/* Whether a signer may use this key (cert_key_check, NULL: unknown kind); POM_ERR_CMS_ALGORITHM. */
bool cms_key_check(EVP_PKEY *key, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What the fast readers need of a message with one signer, transfer full; NULL when it has another form than they take. */
struct cms_detached *cms_detached_read(const struct signed_data *data);

/* A signed message in the usual form, read without OpenSSL's key decoder. */
struct cms_quick {
	struct signed_message *message;
	struct cms_detached *detached;
	EVP_PKEY *key; /* the signer's */
	GBytes *spki;  /* its SubjectPublicKeyInfo */
};
/* NULL: use cms_signed_open. DATA has passed cms_check. */
struct cms_quick *cms_quick_open(const void *data, size_t len);
/* As cms_signed_verify without detached content. */
bool cms_quick_verify(const struct cms_quick *quick, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Signed attributes, borrowed. */
const STACK_OF(X509_ATTRIBUTE) *cms_quick_attributes(const struct cms_quick *quick);
/* eContent, transfer full; NULL when absent. */
GBytes *cms_quick_content(const struct cms_quick *quick);
void cms_quick_free(struct cms_quick *quick);
typedef struct cms_quick cms_quick;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cms_quick, cms_quick_free)

/* Content of at most this size is signed or encrypted in one message. */
enum { CMS_SIZE_MAX = 32 << 20 };
