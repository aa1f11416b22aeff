#include "codec/scep.h"

#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/cms_internal.h"
#include "codec/percent.h"

enum { TEXT_MAX = 255, NONCE_MAX = 64, CHALLENGE_MAX = 1024, RAW_MESSAGE_MAX = 4 * SCEP_MESSAGE_MAX };

/* RFC 8894 §3.2.1: 2.16.840.1.113733.1.9.n; challengePassword is that of PKCS #9, failInfoText RFC 8894 §3.2.1.4. */
enum scep_attribute { MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID, FAIL_INFO_TEXT, CHALLENGE_PASSWORD };
static const char *const oids[] = {
	[MESSAGE_TYPE] = "2.16.840.1.113733.1.9.2", [PKI_STATUS] = "2.16.840.1.113733.1.9.3", [FAIL_INFO] = "2.16.840.1.113733.1.9.4",
	[SENDER_NONCE] = "2.16.840.1.113733.1.9.5", [RECIPIENT_NONCE] = "2.16.840.1.113733.1.9.6", [TRANSACTION_ID] = "2.16.840.1.113733.1.9.7",
	[FAIL_INFO_TEXT] = "1.3.6.1.5.5.7.24.1", [CHALLENGE_PASSWORD] = "1.2.840.113549.1.9.7",
};

/* The signed attributes that the slow reader holds, in a stack of their own. */
static STACK_OF(X509_ATTRIBUTE) *borrow_attributes(const struct cms_signed *message)
{
	const CMS_SignerInfo *info = cms_signed_signer(message);
	STACK_OF(X509_ATTRIBUTE) *attributes = sk_X509_ATTRIBUTE_new_null();

	for (int i = 0; i < CMS_signed_get_attr_count(info); i++)
		sk_X509_ATTRIBUTE_push(attributes, CMS_signed_get_attr(info, i));
	return attributes;
}

/* A message by whichever reader takes it. */
struct opened {
	struct cms_quick *quick;
	struct cms_signed *slow; /* when there is no quick */
	STACK_OF(X509_ATTRIBUTE) *attributes;
};

static void opened_clear(struct opened *opened)
{
	cms_quick_free(opened->quick);
	cms_signed_free(opened->slow);
	sk_X509_ATTRIBUTE_free(opened->attributes);
}

typedef struct opened opened;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(opened, opened_clear)

static bool open_message(struct opened *ret, const void *data, size_t len, GError **error)
{
	ret->quick = cms_quick_open(data, len);
	ret->slow = ret->quick ? NULL : cms_signed_open(data, len, error);
	if (ret->quick)
		ret->attributes = sk_X509_ATTRIBUTE_dup(cms_quick_attributes(ret->quick));
	else if (ret->slow)
		ret->attributes = borrow_attributes(ret->slow);
	return ret->attributes != NULL;
}

/* The first value of a signed attribute, NULL when there is none. Sets *is_odd when it is there twice or with another number
 * of values than one. */
static const ASN1_TYPE *find_value(const STACK_OF(X509_ATTRIBUTE) *attributes, enum scep_attribute attribute, bool *is_odd)
{
	g_autoptr(ASN1_OBJECT) oid = OBJ_txt2obj(oids[attribute], 1);
	int i = X509at_get_attr_by_OBJ(attributes, oid, -1);

	if (i < 0)
		return NULL;
	X509_ATTRIBUTE *found = X509at_get_attr(attributes, i);

	if (X509_ATTRIBUTE_count(found) != 1 || X509at_get_attr_by_OBJ(attributes, oid, i) >= 0)
		*is_odd = true;
	return X509_ATTRIBUTE_get0_type(found, 0);
}

/* A text of 1 to MAX bytes without control characters, transfer full, or NULL. */
static char *value_text(const ASN1_TYPE *value, int max)
{
	if (!value || (value->type != V_ASN1_PRINTABLESTRING && value->type != V_ASN1_UTF8STRING && value->type != V_ASN1_IA5STRING))
		return NULL;
	int len = ASN1_STRING_length(value->value.asn1_string);
	g_autofree char *text = g_strndup((const char *)ASN1_STRING_get0_data(value->value.asn1_string), len > 0 ? (gsize)len : 0);

	if (len < 1 || len > max || strlen(text) != (size_t)len || !g_utf8_validate(text, len, NULL))
		return NULL;
	for (const char *p = text; *p; p++) {
		if ((uint8_t)*p < 0x20 || *p == 0x7f)
			return NULL;
	}
	return g_steal_pointer(&text);
}

/* A decimal number as one writes it, -1 for anything else ("19 ", "019"). */
static int value_number(const ASN1_TYPE *value)
{
	g_autofree char *text = value && value->type != V_ASN1_IA5STRING ? value_text(value, 3) : NULL;
	guint64 number;

	if (!text || (text[0] == '0' && text[1]) || !g_ascii_string_to_unsigned(text, 10, 0, 999, &number, NULL))
		return -1;
	return (int)number;
}

static GBytes *value_nonce(const ASN1_TYPE *value)
{
	if (!value || value->type != V_ASN1_OCTET_STRING)
		return NULL;
	int len = ASN1_STRING_length(value->value.octet_string);

	return len >= 1 && len <= NONCE_MAX ? string_bytes(value->value.octet_string) : NULL;
}

/* Notes why the request must be refused; the first reason stays. */
static void refuse(struct scep_request *request, enum scep_fail_info fail_info, GError *why)
{
	g_autoptr(GError) owned = why;

	if (request->fail_info != SCEP_FAIL_INFO_NONE)
		return;
	request->fail_info = fail_info;
	request->refusal = g_steal_pointer(&owned);
}

static void refuse_with(struct scep_request *request, enum scep_fail_info fail_info, const char *why)
{
	refuse(request, fail_info, g_error_new_literal(POM_ERROR, POM_ERR_SCEP_MESSAGE, why));
}

/* badAlg for an algorithm, FALLBACK for everything else. */
static void refuse_for(struct scep_request *request, GError *error, enum scep_fail_info fallback)
{
	refuse(request, g_error_matches(error, POM_ERROR, POM_ERR_CMS_ALGORITHM) ? SCEP_BAD_ALG : fallback, error);
}

/* RFC 5652 §11.3; many clients have no clock worth the name. */
static int64_t read_signing_time(const STACK_OF(X509_ATTRIBUTE) *attributes)
{
	int i = X509at_get_attr_by_NID(attributes, NID_pkcs9_signingTime, -1);
	const ASN1_TYPE *value = i >= 0 ? X509_ATTRIBUTE_get0_type(X509at_get_attr(attributes, i), 0) : NULL;
	int64_t at;

	if (!value || (value->type != V_ASN1_UTCTIME && value->type != V_ASN1_GENERALIZEDTIME) || !asn1_time_to_unix(value->value.asn1_string, &at))
		return -1;
	return at;
}

/* Everything but the transactionID. Faults are noted for later: the signature is judged before them. */
static bool read_attributes(struct scep_request *request, const STACK_OF(X509_ATTRIBUTE) *attributes)
{
	bool is_odd = false;
	const ASN1_TYPE *nonce = find_value(attributes, SENDER_NONCE, &is_odd), *challenge = find_value(attributes, CHALLENGE_PASSWORD, &is_odd);

	request->message_type = value_number(find_value(attributes, MESSAGE_TYPE, &is_odd));
	request->sender_nonce = value_nonce(nonce);
	request->challenge_attribute = value_text(challenge, CHALLENGE_MAX);
	/* Attributes that only replies have must not stand twice either; their values do not matter. */
	for (enum scep_attribute i = PKI_STATUS; i <= TRANSACTION_ID; i++)
		find_value(attributes, i, &is_odd);
	return !is_odd && (!nonce || request->sender_nonce) && (!challenge || request->challenge_attribute);
}

/* What is inside, once the signature is known to be good. */
static void read_content(struct scep_request *request, const struct opened *opened)
{
	GError *error = NULL;
	g_autoptr(GBytes) content = opened->quick ? cms_quick_content(opened->quick) : opened->slow->content ? g_bytes_ref(opened->slow->content) : NULL;

	if (!content) {
		refuse_with(request, SCEP_BAD_REQUEST, "the request has no content (RFC 8894 §3.2)");
		return;
	}
	if (cms_check(g_bytes_get_data(content, NULL), g_bytes_get_size(content), CMS_KIND_ENVELOPED, SCEP_MESSAGE_MAX, &error))
		request->enveloped = g_steal_pointer(&content);
	else
		refuse_for(request, error, SCEP_BAD_REQUEST);
}

static void read_signer(struct scep_request *request, const struct opened *opened)
{
	request->signer_der = g_bytes_ref(opened->quick ? opened->quick->detached->signer_der : opened->slow->signer_der);
	request->signer_key = opened->quick ? opened->quick->key : X509_get0_pubkey(opened->slow->signer);
	if (request->signer_key)
		EVP_PKEY_up_ref(request->signer_key);
	if (opened->quick && opened->quick->spki)
		request->signer_spki = g_bytes_ref(opened->quick->spki);
	request->digest_nid = opened->quick ? opened->quick->detached->digest_nid : opened->slow->digest_nid;
	ERR_clear_error();
}

static struct scep_request *read_request(struct opened *opened, GError *bad_algorithm, GError **error)
{
	g_autoptr(scep_request) request = g_new0(struct scep_request, 1);
	GError *bad_signature = NULL;
	bool is_odd = false;

	request->fail_info = SCEP_FAIL_INFO_NONE;
	request->transaction_id = value_text(find_value(opened->attributes, TRANSACTION_ID, &is_odd), TEXT_MAX);
	if (!request->transaction_id) {
		g_clear_error(&bad_algorithm);
		pom_fail(error, POM_ERR_SCEP_MESSAGE, "there is no transactionID of 1 to %d characters (RFC 8894 §3.2.1.1)", TEXT_MAX);
		return NULL;
	}
	read_signer(request, opened);
	request->signing_time = read_signing_time(opened->attributes);
	bool attributes_good = read_attributes(request, opened->attributes);

	if (bad_algorithm)
		refuse_for(request, bad_algorithm, SCEP_BAD_ALG);
	else if (opened->quick ? !cms_quick_verify(opened->quick, &bad_signature) : !cms_signed_verify(opened->slow, NULL, 0, &bad_signature))
		refuse_for(request, bad_signature, SCEP_BAD_MESSAGE_CHECK);
	else if (!attributes_good)
		refuse_with(request, SCEP_BAD_REQUEST, "a SCEP attribute stands twice, has several values or a wrong form (RFC 8894 §3.2.1)");
	else
		read_content(request, opened);
	return g_steal_pointer(&request);
}

struct scep_request *scep_request_parse(const void *data, size_t len, GError **error)
{
	GError *bad = NULL;
	g_auto(opened) opened = {0};

	if (!cms_check(data, len, CMS_KIND_SIGNED, SCEP_MESSAGE_MAX, &bad) && !g_error_matches(bad, POM_ERROR, POM_ERR_CMS_ALGORITHM)) {
		g_propagate_error(error, bad);
		return NULL;
	}
	if (!open_message(&opened, data, len, error)) {
		g_clear_error(&bad);
		return NULL;
	}
	return read_request(&opened, bad, error);
}

X509 *scep_request_signer(const struct scep_request *request)
{
	return asn1_parse(g_bytes_get_data(request->signer_der, NULL), g_bytes_get_size(request->signer_der), ASN1_ITEM_rptr(X509));
}

void scep_request_free(struct scep_request *request)
{
	if (!request)
		return;
	g_free(request->transaction_id);
	g_free(request->challenge_attribute);
	g_clear_pointer(&request->sender_nonce, g_bytes_unref);
	g_clear_pointer(&request->signer_der, g_bytes_unref);
	g_clear_pointer(&request->signer_spki, g_bytes_unref);
	g_clear_pointer(&request->enveloped, g_bytes_unref);
	g_clear_error(&request->refusal);
	EVP_PKEY_free(request->signer_key);
	g_free(request);
}

static void add_attribute(GPtrArray *attributes, enum scep_attribute attribute, int type, const void *data, size_t len)
{
	g_autoptr(ASN1_OBJECT) oid = OBJ_txt2obj(oids[attribute], 1);
	g_autoptr(X509_ATTRIBUTE) made = X509_ATTRIBUTE_create_by_OBJ(NULL, oid, type, data, (int)len);

	g_ptr_array_add(attributes, asn1_format(made, ASN1_ITEM_rptr(X509_ATTRIBUTE)));
}

static void add_number(GPtrArray *attributes, enum scep_attribute attribute, int number)
{
	char text[16];
	int len = g_snprintf(text, sizeof(text), "%d", number);

	add_attribute(attributes, attribute, V_ASN1_PRINTABLESTRING, text, (size_t)len);
}

static void add_common(GPtrArray *attributes, const char *transaction_id, enum scep_message_type type, const uint8_t sender_nonce[16])
{
	/* The bytes of the transactionID go back as they came, also those that a PrintableString should not have. */
	add_attribute(attributes, TRANSACTION_ID, g_str_is_ascii(transaction_id) ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, transaction_id, strlen(transaction_id));
	add_number(attributes, MESSAGE_TYPE, type);
	add_attribute(attributes, SENDER_NONCE, V_ASN1_OCTET_STRING, sender_nonce, 16);
}

GPtrArray *scep_request_attributes(enum scep_message_type type, const char *transaction_id, const uint8_t sender_nonce[16])
{
	GPtrArray *attributes = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	add_common(attributes, transaction_id, type, sender_nonce);
	return attributes;
}

GBytes *scep_challenge_attribute(const char *challenge)
{
	g_autoptr(GPtrArray) attributes = g_ptr_array_new();

	add_attribute(attributes, CHALLENGE_PASSWORD, g_str_is_ascii(challenge) ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, challenge, strlen(challenge));
	return g_ptr_array_steal_index(attributes, 0);
}

GPtrArray *scep_reply_attributes(const struct scep_request *request, enum scep_status status, enum scep_fail_info fail_info, const char *text, const uint8_t sender_nonce[16])
{
	GPtrArray *attributes = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	add_common(attributes, request->transaction_id, SCEP_CERT_REP, sender_nonce);
	add_number(attributes, PKI_STATUS, status);
	if (request->sender_nonce)
		add_attribute(attributes, RECIPIENT_NONCE, V_ASN1_OCTET_STRING, g_bytes_get_data(request->sender_nonce, NULL), g_bytes_get_size(request->sender_nonce));
	if (status != SCEP_FAILURE)
		return attributes;
	add_number(attributes, FAIL_INFO, fail_info == SCEP_FAIL_INFO_NONE ? SCEP_BAD_REQUEST : fail_info);
	if (text)
		add_attribute(attributes, FAIL_INFO_TEXT, V_ASN1_UTF8STRING, text, strlen(text));
	return attributes;
}

/* RFC 8894 §3.2.1.3–4: which parts each status has. */
static bool check_status(const struct scep_reply *reply, GError **error)
{
	if (reply->message_type != SCEP_CERT_REP)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the reply's messageType is %d, not CertRep (RFC 8894 §3.2.1.2)", reply->message_type);
	if (reply->status != SCEP_SUCCESS && reply->status != SCEP_FAILURE && reply->status != SCEP_PENDING)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the reply has no valid pkiStatus (RFC 8894 §3.2.1.3)");
	if ((reply->status == SCEP_FAILURE) != (reply->fail_info != SCEP_FAIL_INFO_NONE) || (int)reply->fail_info > SCEP_BAD_CERT_ID)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "failInfo stands in a reply if and only if it is a failure (RFC 8894 §3.2.1.4)");
	if ((reply->status == SCEP_SUCCESS) != (reply->enveloped != NULL))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "content stands in a reply if and only if it is a success (RFC 8894 §3.3.2)");
	return true;
}

static bool read_reply(struct scep_reply *reply, const STACK_OF(X509_ATTRIBUTE) *attributes, GError **error)
{
	bool is_odd = false;

	reply->transaction_id = value_text(find_value(attributes, TRANSACTION_ID, &is_odd), TEXT_MAX);
	reply->message_type = value_number(find_value(attributes, MESSAGE_TYPE, &is_odd));
	reply->status = (enum scep_status)value_number(find_value(attributes, PKI_STATUS, &is_odd));
	reply->fail_info = (enum scep_fail_info)value_number(find_value(attributes, FAIL_INFO, &is_odd));
	reply->fail_info_text = value_text(find_value(attributes, FAIL_INFO_TEXT, &is_odd), CHALLENGE_MAX);
	reply->sender_nonce = value_nonce(find_value(attributes, SENDER_NONCE, &is_odd));
	reply->recipient_nonce = value_nonce(find_value(attributes, RECIPIENT_NONCE, &is_odd));
	if (is_odd || !reply->transaction_id)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the reply lacks a transactionID, or an attribute stands twice (RFC 8894 §3.2.1)");
	return check_status(reply, error);
}

struct scep_reply *scep_reply_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(cms_signed) message = cms_signed_parse(data, len, NULL, 0, SCEP_REPLY_MAX, error);
	g_autoptr(scep_reply) reply = g_new0(struct scep_reply, 1);

	if (!message)
		return NULL;
	reply->digest_nid = message->digest_nid;
	reply->signer = g_steal_pointer(&message->signer);
	/* micromdm's server writes empty content where there should be none. */
	if (message->content && g_bytes_get_size(message->content))
		reply->enveloped = g_steal_pointer(&message->content);
	STACK_OF(X509_ATTRIBUTE) *attributes = borrow_attributes(message);
	bool ok = read_reply(reply, attributes, error);

	sk_X509_ATTRIBUTE_free(attributes);
	return ok ? g_steal_pointer(&reply) : NULL;
}

void scep_reply_free(struct scep_reply *reply)
{
	if (!reply)
		return;
	g_free(reply->fail_info_text);
	g_free(reply->transaction_id);
	g_clear_pointer(&reply->sender_nonce, g_bytes_unref);
	g_clear_pointer(&reply->recipient_nonce, g_bytes_unref);
	g_clear_pointer(&reply->enveloped, g_bytes_unref);
	X509_free(reply->signer);
	g_free(reply);
}

/* One percent-decoding, then spaces (which were '+') and line ends; in place, *len is the new length. */
static bool unescape(char *text, size_t *len)
{
	char *out = text;

	if (!percent_decode(text, len))
		return false;
	for (size_t i = 0; i < *len; i++) {
		if (text[i] != '\r' && text[i] != '\n')
			*out++ = text[i] == ' ' ? '+' : text[i];
	}
	*len = (size_t)(out - text);
	return true;
}

GBytes *scep_get_message_parse(const char *raw, size_t len, GError **error)
{
	g_autofree char *text = NULL;
	size_t size;

	if (len > RAW_MESSAGE_MAX) {
		pom_fail(error, POM_ERR_SCEP_MESSAGE, "the message has %zu characters, at most %d are accepted", len, RAW_MESSAGE_MAX);
		return NULL;
	}
	text = g_malloc(len + 4);
	if (len)
		memcpy(text, raw, len);
	if (unescape(text, &len) && base64_parse(text, len, BASE64_URL | BASE64_UNPADDED, (uint8_t *)text, &size) && size > 0 && size <= SCEP_MESSAGE_MAX)
		return g_bytes_new(text, size);
	pom_fail(error, POM_ERR_SCEP_MESSAGE, "the value of \"message\" is not base64 of 1 to %d bytes (RFC 8894 §4.1)", SCEP_MESSAGE_MAX);
	return NULL;
}
