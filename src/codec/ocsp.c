#include "codec/ocsp.h"

#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/cert_internal.h"
#include "codec/datetime.h"
#include "codec/percent.h"

enum { RAW_MAX = 4 * OCSP_REQUEST_MAX_BYTES, SERIAL_BYTES_MAX = 64, REASON_MAX = 10 };

/* The structures of RFC 6960 §4, with bytes as sent where they go back as sent or do not matter: OpenSSL's own types would decode
 * the keys of every certificate in a signed request. */
struct cert_id {
	X509_ALGOR *algorithm;
	ASN1_OCTET_STRING *name_hash, *key_hash;
	ASN1_INTEGER *serial;
};
struct single_request {
	ASN1_TYPE *id;
	STACK_OF(X509_EXTENSION) *extensions;
};
SKM_DEFINE_STACK_OF(single_request, struct single_request, struct single_request)
struct request_body {
	ASN1_INTEGER *version;
	ASN1_TYPE *requestor;
	STACK_OF(single_request) *list;
	STACK_OF(X509_EXTENSION) *extensions;
};
struct whole_request {
	struct request_body *body;
	ASN1_TYPE *signature;
};

ASN1_SEQUENCE(CERT_ID) = {
	ASN1_SIMPLE(struct cert_id, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct cert_id, name_hash, ASN1_OCTET_STRING),
	ASN1_SIMPLE(struct cert_id, key_hash, ASN1_OCTET_STRING),
	ASN1_SIMPLE(struct cert_id, serial, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END_name(struct cert_id, CERT_ID)

ASN1_SEQUENCE(SINGLE_REQUEST) = {
	ASN1_SIMPLE(struct single_request, id, ASN1_ANY),
	ASN1_EXP_SEQUENCE_OF_OPT(struct single_request, extensions, X509_EXTENSION, 0),
} static_ASN1_SEQUENCE_END_name(struct single_request, SINGLE_REQUEST)

ASN1_SEQUENCE(REQUEST_BODY) = {
	ASN1_EXP_OPT(struct request_body, version, ASN1_INTEGER, 0),
	ASN1_EXP_OPT(struct request_body, requestor, ASN1_ANY, 1),
	ASN1_SEQUENCE_OF(struct request_body, list, SINGLE_REQUEST),
	ASN1_EXP_SEQUENCE_OF_OPT(struct request_body, extensions, X509_EXTENSION, 2),
} static_ASN1_SEQUENCE_END_name(struct request_body, REQUEST_BODY)

ASN1_SEQUENCE(WHOLE_REQUEST) = {
	ASN1_SIMPLE(struct whole_request, body, REQUEST_BODY),
	ASN1_EXP_OPT(struct whole_request, signature, ASN1_ANY, 0),
} static_ASN1_SEQUENCE_END_name(struct whole_request, WHOLE_REQUEST)

struct revoked_info {
	ASN1_GENERALIZEDTIME *time;
	ASN1_ENUMERATED *reason;
};
struct cert_status {
	int type; /* enum ocsp_cert_status */
	union {
		ASN1_NULL *good, *unknown;
		struct revoked_info *revoked;
	} value;
};
struct single_response {
	ASN1_TYPE *id;
	struct cert_status *status;
	ASN1_GENERALIZEDTIME *this_update, *next_update;
};
SKM_DEFINE_STACK_OF(single_response, struct single_response, struct single_response)
struct response_data {
	ASN1_OCTET_STRING *key_hash; /* ResponderID byKey */
	ASN1_GENERALIZEDTIME *produced_at;
	STACK_OF(single_response) *list;
	STACK_OF(X509_EXTENSION) *extensions;
};
struct basic_response {
	ASN1_TYPE *data;
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
	STACK_OF(ASN1_TYPE) *certificates;
};
struct response_bytes {
	ASN1_OBJECT *type;
	ASN1_OCTET_STRING *response;
};
struct whole_response {
	ASN1_ENUMERATED *status;
	struct response_bytes *bytes;
};

ASN1_SEQUENCE(REVOKED_INFO) = {
	ASN1_SIMPLE(struct revoked_info, time, ASN1_GENERALIZEDTIME),
	ASN1_EXP_OPT(struct revoked_info, reason, ASN1_ENUMERATED, 0),
} static_ASN1_SEQUENCE_END_name(struct revoked_info, REVOKED_INFO)

ASN1_CHOICE(CERT_STATUS) = {
	ASN1_IMP(struct cert_status, value.good, ASN1_NULL, 0),
	ASN1_IMP(struct cert_status, value.revoked, REVOKED_INFO, 1),
	ASN1_IMP(struct cert_status, value.unknown, ASN1_NULL, 2),
} static_ASN1_CHOICE_END_name(struct cert_status, CERT_STATUS)

ASN1_SEQUENCE(SINGLE_RESPONSE) = {
	ASN1_SIMPLE(struct single_response, id, ASN1_ANY),
	ASN1_SIMPLE(struct single_response, status, CERT_STATUS),
	ASN1_SIMPLE(struct single_response, this_update, ASN1_GENERALIZEDTIME),
	ASN1_EXP_OPT(struct single_response, next_update, ASN1_GENERALIZEDTIME, 0),
} static_ASN1_SEQUENCE_END_name(struct single_response, SINGLE_RESPONSE)

ASN1_SEQUENCE(RESPONSE_DATA) = {
	ASN1_EXP(struct response_data, key_hash, ASN1_OCTET_STRING, 2),
	ASN1_SIMPLE(struct response_data, produced_at, ASN1_GENERALIZEDTIME),
	ASN1_SEQUENCE_OF(struct response_data, list, SINGLE_RESPONSE),
	ASN1_EXP_SEQUENCE_OF_OPT(struct response_data, extensions, X509_EXTENSION, 1),
} static_ASN1_SEQUENCE_END_name(struct response_data, RESPONSE_DATA)

ASN1_SEQUENCE(BASIC_RESPONSE) = {
	ASN1_SIMPLE(struct basic_response, data, ASN1_ANY),
	ASN1_SIMPLE(struct basic_response, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct basic_response, signature, ASN1_BIT_STRING),
	ASN1_EXP_SEQUENCE_OF_OPT(struct basic_response, certificates, ASN1_ANY, 0),
} static_ASN1_SEQUENCE_END_name(struct basic_response, BASIC_RESPONSE)

ASN1_SEQUENCE(RESPONSE_BYTES) = {
	ASN1_SIMPLE(struct response_bytes, type, ASN1_OBJECT),
	ASN1_SIMPLE(struct response_bytes, response, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END_name(struct response_bytes, RESPONSE_BYTES)

ASN1_SEQUENCE(WHOLE_RESPONSE) = {
	ASN1_SIMPLE(struct whole_response, status, ASN1_ENUMERATED),
	ASN1_EXP_OPT(struct whole_response, bytes, RESPONSE_BYTES, 0),
} static_ASN1_SEQUENCE_END_name(struct whole_response, WHOLE_RESPONSE)

static void cert_id_clear(struct cert_id *id)
{
	ASN1_item_free((ASN1_VALUE *)id, ASN1_ITEM_rptr(CERT_ID));
}

static void whole_request_free(struct whole_request *request)
{
	ASN1_item_free((ASN1_VALUE *)request, ASN1_ITEM_rptr(WHOLE_REQUEST));
}

static void response_data_free(struct response_data *data)
{
	ASN1_item_free((ASN1_VALUE *)data, ASN1_ITEM_rptr(RESPONSE_DATA));
}

typedef struct cert_id cert_id;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(cert_id, cert_id_clear)
typedef struct whole_request whole_request;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(whole_request, whole_request_free)
typedef struct response_data response_data;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(response_data, response_data_free)

static void ocsp_cert_id_free(struct ocsp_cert_id *id)
{
	g_clear_pointer(&id->name_hash, g_bytes_unref);
	g_clear_pointer(&id->key_hash, g_bytes_unref);
	g_clear_pointer(&id->der, g_bytes_unref);
	g_free(id->serial);
	g_free(id);
}

static int known_digest(const ASN1_OBJECT *oid)
{
	int nid = OBJ_obj2nid(oid);

	return nid == NID_sha1 || nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512 ? nid : NID_undef;
}

static bool malformed(GError **error, const char *what)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_OCSP, "the OCSP request is not as RFC 6960 has it: %s", what);
}

static bool check_extensions(const STACK_OF(X509_EXTENSION) *extensions, GError **error)
{
	for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++) {
		X509_EXTENSION *extension = sk_X509_EXTENSION_value(extensions, i);

		if (X509_EXTENSION_get_critical(extension) && OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_id_pkix_OCSP_Nonce)
			return malformed(error, "it has a critical extension that is not known here (§4.1.2)");
	}
	return true;
}

static bool add_id(GPtrArray *ids, const struct single_request *single, GError **error)
{
	const ASN1_STRING *raw = single->id->type == V_ASN1_SEQUENCE ? single->id->value.sequence : NULL;
	g_autoptr(cert_id) id = raw ? asn1_parse(ASN1_STRING_get0_data(raw), (size_t)ASN1_STRING_length(raw), ASN1_ITEM_rptr(CERT_ID)) : NULL;

	if (!id || ASN1_STRING_length(id->serial) > SERIAL_BYTES_MAX)
		return malformed(error, "a CertID is broken, or its serial number too long (§4.1.1)");
	if (!check_extensions(single->extensions, error))
		return false;
	struct ocsp_cert_id *made = g_new0(struct ocsp_cert_id, 1);

	made->digest_nid = known_digest(id->algorithm->algorithm);
	made->name_hash = string_bytes(id->name_hash);
	made->key_hash = string_bytes(id->key_hash);
	made->serial = asn1_serial_text(id->serial);
	made->der = string_bytes(raw);
	g_ptr_array_add(ids, made);
	return true;
}

/* RFC 8954 §2.1: an OCTET STRING of 1 to 32 bytes inside the extension's own. */
static bool read_nonce(struct ocsp_request *request, const STACK_OF(X509_EXTENSION) *extensions, GError **error)
{
	int i = X509v3_get_ext_by_NID(extensions, NID_id_pkix_OCSP_Nonce, -1);

	if (i < 0)
		return true;
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509v3_get_ext(extensions, i));
	g_autoptr(ASN1_OCTET_STRING) nonce = asn1_parse(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value), ASN1_ITEM_rptr(ASN1_OCTET_STRING));

	if (!nonce || ASN1_STRING_length(nonce) < 1 || ASN1_STRING_length(nonce) > OCSP_NONCE_MAX || X509v3_get_ext_by_NID(extensions, NID_id_pkix_OCSP_Nonce, i) >= 0)
		return malformed(error, "there is not one nonce of 1 to 32 bytes (RFC 8954 §2.1)");
	request->nonce = string_bytes(nonce);
	return true;
}

struct ocsp_request *ocsp_request_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(whole_request) whole = len <= OCSP_REQUEST_MAX_BYTES ? asn1_parse(data, len, ASN1_ITEM_rptr(WHOLE_REQUEST)) : NULL;
	g_autoptr(ocsp_request) request = g_new0(struct ocsp_request, 1);

	request->ids = g_ptr_array_new_with_free_func((GDestroyNotify)ocsp_cert_id_free);
	if (!whole || (whole->body->version && ASN1_INTEGER_get(whole->body->version) != 0)) {
		malformed(error, "it is not one OCSPRequest of version 1 (§4.1.1)");
		return NULL;
	}
	int n = sk_single_request_num(whole->body->list);

	if (n < 1 || n > OCSP_IDS_MAX) {
		pom_fail(error, POM_ERR_OCSP, "the OCSP request asks about %d certificates, 1 to %d are answered", n, OCSP_IDS_MAX);
		return NULL;
	}
	for (int i = 0; i < n; i++) {
		if (!add_id(request->ids, sk_single_request_value(whole->body->list, i), error))
			return NULL;
	}
	if (!check_extensions(whole->body->extensions, error) || !read_nonce(request, whole->body->extensions, error))
		return NULL;
	return g_steal_pointer(&request);
}

void ocsp_request_free(struct ocsp_request *request)
{
	if (!request)
		return;
	g_clear_pointer(&request->ids, g_ptr_array_unref);
	g_clear_pointer(&request->nonce, g_bytes_unref);
	g_free(request);
}

GBytes *ocsp_get_parse(const char *raw, size_t len, GError **error)
{
	g_autofree char *text = NULL;
	size_t size;

	/* A request begins with 0x30, base64 with 'M': slashes before it are the path's. */
	for (; len > 0 && *raw == '/'; len--)
		raw++;
	if (len > RAW_MAX) {
		pom_fail(error, POM_ERR_OCSP, "the OCSP request has %zu characters, at most %d are accepted", len, RAW_MAX);
		return NULL;
	}
	text = g_malloc(len + 4);
	if (len)
		memcpy(text, raw, len);
	if (percent_decode(text, &len) && base64_parse(text, len, BASE64_URL | BASE64_UNPADDED, (uint8_t *)text, &size) && size > 0 && size <= OCSP_REQUEST_MAX_BYTES)
		return g_bytes_new(text, size);
	pom_fail(error, POM_ERR_OCSP, "the path is not base64 of an OCSP request of at most %d bytes (RFC 6960 appendix A.1)", OCSP_REQUEST_MAX_BYTES);
	return NULL;
}

static bool is_hash(GBytes *expected, const uint8_t *hash, unsigned len)
{
	return g_bytes_get_size(expected) == len && !memcmp(g_bytes_get_data(expected, NULL), hash, len);
}

bool ocsp_id_names(const struct ocsp_cert_id *id, X509 *issuer)
{
	const EVP_MD *md = EVP_get_digestbynid(id->digest_nid);
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	bool ok = md && X509_NAME_digest(X509_get_subject_name(issuer), md, hash, &len) && is_hash(id->name_hash, hash, len) &&
	          X509_pubkey_digest(issuer, md, hash, &len) && is_hash(id->key_hash, hash, len);

	ERR_clear_error();
	return ok;
}

static GBytes *format_whole(enum ocsp_response_status status, GBytes *basic)
{
	struct whole_response *whole = (struct whole_response *)ASN1_item_new(ASN1_ITEM_rptr(WHOLE_RESPONSE));

	ASN1_ENUMERATED_set(whole->status, status);
	if (basic) {
		whole->bytes = (struct response_bytes *)ASN1_item_new(ASN1_ITEM_rptr(RESPONSE_BYTES));
		whole->bytes->type = OBJ_nid2obj(NID_id_pkix_OCSP_basic);
		ASN1_STRING_set(whole->bytes->response, g_bytes_get_data(basic, NULL), (int)g_bytes_get_size(basic));
	}
	GBytes *der = asn1_format(whole, ASN1_ITEM_rptr(WHOLE_RESPONSE));

	ASN1_item_free((ASN1_VALUE *)whole, ASN1_ITEM_rptr(WHOLE_RESPONSE));
	return der;
}

GBytes *ocsp_error_format(enum ocsp_response_status status)
{
	g_assert(status != OCSP_STATUS_SUCCESSFUL);
	return format_whole(status, NULL);
}

static bool set_time(ASN1_GENERALIZEDTIME *time, int64_t unix_s)
{
	struct datetime civil;

	return datetime_from_unix(unix_s, &civil) && ASN1_GENERALIZEDTIME_set(time, (time_t)unix_s);
}

static bool set_status(struct cert_status *status, const struct ocsp_answer *answer)
{
	status->type = answer->status;
	if (answer->status != OCSP_CERT_REVOKED) {
		status->value.good = ASN1_NULL_new();
		return true;
	}
	struct revoked_info *revoked = (struct revoked_info *)ASN1_item_new(ASN1_ITEM_rptr(REVOKED_INFO));

	status->value.revoked = revoked;
	if (answer->reason > REASON_MAX || answer->reason == 7)
		return false;
	if (answer->reason >= 0) {
		revoked->reason = ASN1_ENUMERATED_new();
		ASN1_ENUMERATED_set(revoked->reason, answer->reason);
	}
	return set_time(revoked->time, answer->revoked_at);
}

static bool add_single(struct response_data *data, const struct ocsp_cert_id *id, const struct ocsp_answer *answer, int64_t this_update, int64_t next_update)
{
	struct single_response *single = (struct single_response *)ASN1_item_new(ASN1_ITEM_rptr(SINGLE_RESPONSE));

	sk_single_response_push(data->list, single);
	ASN1_TYPE_free(single->id);
	single->id = raw_sequence(g_bytes_get_data(id->der, NULL), g_bytes_get_size(id->der));
	if (next_update != -1)
		single->next_update = ASN1_GENERALIZEDTIME_new();
	return set_status(single->status, answer) && set_time(single->this_update, this_update) &&
	       (next_update == -1 || (next_update > this_update && set_time(single->next_update, next_update)));
}

static void add_nonce(struct response_data *data, GBytes *nonce)
{
	g_autoptr(ASN1_OCTET_STRING) inner = ASN1_OCTET_STRING_new(), outer = ASN1_OCTET_STRING_new();

	ASN1_STRING_set(inner, g_bytes_get_data(nonce, NULL), (int)g_bytes_get_size(nonce));
	g_autoptr(GBytes) der = asn1_format(inner, ASN1_ITEM_rptr(ASN1_OCTET_STRING));

	ASN1_STRING_set(outer, g_bytes_get_data(der, NULL), (int)g_bytes_get_size(der));
	data->extensions = sk_X509_EXTENSION_new_null();
	sk_X509_EXTENSION_push(data->extensions, X509_EXTENSION_create_by_NID(NULL, NID_id_pkix_OCSP_Nonce, 0, outer));
}

GBytes *ocsp_response_data_format(X509 *responder, const struct ocsp_request *request, const struct ocsp_answer *answers, int64_t this_update,
                                  int64_t next_update, int64_t produced_at, GError **error)
{
	g_autoptr(response_data) data = (struct response_data *)ASN1_item_new(ASN1_ITEM_rptr(RESPONSE_DATA));
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	/* KeyHash is SHA-1 whatever the CertIDs use (§4.2.1). */
	bool ok = X509_pubkey_digest(responder, EVP_sha1(), hash, &len) && ASN1_STRING_set(data->key_hash, hash, (int)len) && set_time(data->produced_at, produced_at);

	for (guint i = 0; ok && i < request->ids->len; i++)
		ok = add_single(data, request->ids->pdata[i], &answers[i], this_update, next_update);
	if (!ok) {
		ERR_clear_error();
		pom_fail(error, POM_ERR_OCSP, "the OCSP response cannot be made: a date, reason or the responder's key cannot be encoded");
		return NULL;
	}
	if (request->nonce)
		add_nonce(data, request->nonce);
	return asn1_format(data, ASN1_ITEM_rptr(RESPONSE_DATA));
}

GBytes *ocsp_response_format(GBytes *data, int signature_nid, const void *signature, size_t len, X509 *responder)
{
	struct basic_response *basic = (struct basic_response *)ASN1_item_new(ASN1_ITEM_rptr(BASIC_RESPONSE));
	g_autoptr(GBytes) cert = cert_format_der(responder), der = NULL;

	ASN1_TYPE_free(basic->data);
	basic->data = raw_sequence(g_bytes_get_data(data, NULL), g_bytes_get_size(data));
	X509_ALGOR_free(basic->algorithm);
	basic->algorithm = signature_algorithm_new(signature_nid);
	signature_set(basic->signature, signature, len);
	basic->certificates = sk_ASN1_TYPE_new_null();
	sk_ASN1_TYPE_push(basic->certificates, raw_sequence(g_bytes_get_data(cert, NULL), g_bytes_get_size(cert)));
	der = asn1_format(basic, ASN1_ITEM_rptr(BASIC_RESPONSE));
	ASN1_item_free((ASN1_VALUE *)basic, ASN1_ITEM_rptr(BASIC_RESPONSE));
	return format_whole(OCSP_STATUS_SUCCESSFUL, der);
}
