#include "codec/crl.h"

#include <openssl/err.h>
#include <string.h>

#include "base/error.h"
#include "codec/cert_internal.h"
#include "codec/datetime.h"

enum { REASON_MAX = 10 };

/* RFC 5280 §5.1. The entries are already encoded: as structures, 100,000 of them would take 100 MiB. Only written. */
struct crl_body {
	ASN1_INTEGER *version;
	X509_ALGOR *algorithm;
	ASN1_TYPE *issuer;
	ASN1_TIME *this_update, *next_update;
	ASN1_TYPE *revoked;
	STACK_OF(X509_EXTENSION) *extensions;
};

ASN1_SEQUENCE(CRL_BODY) = {
	ASN1_SIMPLE(struct crl_body, version, ASN1_INTEGER),
	ASN1_SIMPLE(struct crl_body, algorithm, X509_ALGOR),
	ASN1_SIMPLE(struct crl_body, issuer, ASN1_ANY),
	ASN1_SIMPLE(struct crl_body, this_update, ASN1_TIME),
	ASN1_SIMPLE(struct crl_body, next_update, ASN1_TIME),
	ASN1_OPT(struct crl_body, revoked, ASN1_ANY),
	ASN1_EXP_SEQUENCE_OF(struct crl_body, extensions, X509_EXTENSION, 0),
} static_ASN1_SEQUENCE_END_name(struct crl_body, CRL_BODY)

struct crl_revoked {
	ASN1_INTEGER *serial;
	ASN1_TIME *date;
	STACK_OF(X509_EXTENSION) *extensions;
};

ASN1_SEQUENCE(CRL_REVOKED) = {
	ASN1_SIMPLE(struct crl_revoked, serial, ASN1_INTEGER),
	ASN1_SIMPLE(struct crl_revoked, date, ASN1_TIME),
	ASN1_SEQUENCE_OF_OPT(struct crl_revoked, extensions, X509_EXTENSION),
} static_ASN1_SEQUENCE_END_name(struct crl_revoked, CRL_REVOKED)

static void crl_revoked_free(struct crl_revoked *revoked)
{
	ASN1_item_free((ASN1_VALUE *)revoked, ASN1_ITEM_rptr(CRL_REVOKED));
}

static void crl_body_free(struct crl_body *body)
{
	ASN1_item_free((ASN1_VALUE *)body, ASN1_ITEM_rptr(CRL_BODY));
}

typedef struct crl_revoked crl_revoked;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(crl_revoked, crl_revoked_free)
typedef struct crl_body crl_body;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(crl_body, crl_body_free)
typedef STACK_OF(X509_EXTENSION) extensions;

static void extensions_free(extensions *list)
{
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(extensions, extensions_free)

static bool set_time(ASN1_TIME *time, int64_t unix_s)
{
	struct datetime civil;

	return datetime_from_unix(unix_s, &civil) && ASN1_TIME_set(time, (time_t)unix_s);
}

static extensions *reason_extensions(int reason)
{
	extensions *list = NULL;
	ASN1_ENUMERATED *value = ASN1_ENUMERATED_new();

	ASN1_ENUMERATED_set(value, reason);
	X509V3_add1_i2d(&list, NID_crl_reason, value, 0, X509V3_ADD_DEFAULT);
	ASN1_ENUMERATED_free(value);
	return list;
}

/* Appends the DER of ENTRY to OUT; REVOKED is used again for the next one. */
static bool add_entry(GByteArray *out, struct crl_revoked *revoked, const struct crl_entry *entry, GError **error)
{
	if (!asn1_serial_set(revoked->serial, entry->serial))
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the revoked serial number \"%.48s\" is not hex of 1 to %d bytes", entry->serial, CERT_SERIAL_MAX);
	if (!set_time(revoked->date, entry->revoked_at))
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the revocation date of %s cannot be encoded", entry->serial);
	if (entry->reason > 0) {
		/* 7 is not used, 8 (removeFromCRL) is for deltas. */
		if (entry->reason > REASON_MAX || entry->reason == 7 || entry->reason == 8)
			return pom_fail(error, POM_ERR_CERT_MALFORMED, "the revocation reason %d of %s is not one (RFC 5280 §5.3.1)", entry->reason, entry->serial);
		revoked->extensions = reason_extensions(entry->reason);
	}
	int len = ASN1_item_i2d((const ASN1_VALUE *)revoked, NULL, ASN1_ITEM_rptr(CRL_REVOKED));
	guint at = out->len;

	g_byte_array_set_size(out, at + (guint)len);
	uint8_t *p = out->data + at;

	ASN1_item_i2d((const ASN1_VALUE *)revoked, &p, ASN1_ITEM_rptr(CRL_REVOKED));
	g_clear_pointer(&revoked->extensions, extensions_free);
	return true;
}

/* SEQUENCE OF all entries; *ret is NULL when there are none (RFC 5280 §5.1.2.6: then it must be absent). */
static bool format_entries(const struct crl_plan *plan, ASN1_TYPE **ret, GError **error)
{
	g_autoptr(crl_revoked) revoked = (struct crl_revoked *)ASN1_item_new(ASN1_ITEM_rptr(CRL_REVOKED));
	g_autoptr(GByteArray) all = g_byte_array_new();
	uint8_t header[16], *p = header;

	if (plan->n > CRL_ENTRIES_MAX)
		return pom_fail(error, POM_ERR_CERT_MALFORMED, "the CRL would have %zu entries, at most %d are possible", plan->n, CRL_ENTRIES_MAX);
	g_byte_array_append(all, header, sizeof(header)); /* room for the header, whose length is not known yet */
	for (size_t i = 0; i < plan->n; i++) {
		if (!add_entry(all, revoked, &plan->entries[i], error))
			return false;
	}
	guint len = all->len - (guint)sizeof(header);

	ASN1_put_object(&p, 1, (int)len, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	size_t header_len = (size_t)(p - header);
	uint8_t *start = all->data + sizeof(header) - header_len;

	memcpy(start, header, header_len);
	*ret = plan->n > 0 ? raw_sequence(start, header_len + len) : NULL;
	return true;
}

static bool set_extensions(struct crl_body *body, int64_t number, X509 *issuer)
{
	g_autoptr(AUTHORITY_KEYID) authority = authority_key_id_new(issuer);
	g_autoptr(ASN1_INTEGER) value = ASN1_INTEGER_new();

	return authority && number >= 0 && ASN1_INTEGER_set_int64(value, number) &&
	       X509V3_add1_i2d(&body->extensions, NID_authority_key_identifier, authority, 0, X509V3_ADD_DEFAULT) == 1 &&
	       X509V3_add1_i2d(&body->extensions, NID_crl_number, value, 0, X509V3_ADD_DEFAULT) == 1;
}

GBytes *crl_tbs_format(const struct crl_plan *plan, X509 *issuer, int signature_nid, GError **error)
{
	g_autoptr(crl_body) body = (struct crl_body *)ASN1_item_new(ASN1_ITEM_rptr(CRL_BODY));
	g_autoptr(GBytes) name = asn1_format(X509_get_subject_name(issuer), ASN1_ITEM_rptr(X509_NAME));

	ASN1_INTEGER_set(body->version, 1); /* version 2 */
	X509_ALGOR_free(body->algorithm);
	body->algorithm = signature_algorithm_new(signature_nid);
	ASN1_TYPE_free(body->issuer);
	body->issuer = raw_sequence(g_bytes_get_data(name, NULL), g_bytes_get_size(name));
	if (plan->this_update >= plan->next_update || !set_time(body->this_update, plan->this_update) || !set_time(body->next_update, plan->next_update)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the CRL would end before it begins, or in a year that X.509 does not have");
		return NULL;
	}
	if (!set_extensions(body, plan->number, issuer)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the CRL's number is negative, or its issuer has no key");
		return NULL;
	}
	return format_entries(plan, &body->revoked, error) ? asn1_format(body, ASN1_ITEM_rptr(CRL_BODY)) : NULL;
}

static bool has_critical(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_critical(crl, 1, -1) >= 0;
}

static void read_extensions(struct crl_info *info)
{
	g_autoptr(ASN1_INTEGER) number = X509_CRL_get_ext_d2i(info->crl, NID_crl_number, NULL, NULL);
	g_autoptr(AUTHORITY_KEYID) authority = X509_CRL_get_ext_d2i(info->crl, NID_authority_key_identifier, NULL, NULL);

	if (!number || !ASN1_INTEGER_get_int64(&info->number, number) || info->number < 0)
		info->number = -1;
	if (authority && authority->keyid)
		info->key_id = string_bytes(authority->keyid);
	ERR_clear_error();
}

struct crl_info *crl_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(crl_info) info = g_new0(struct crl_info, 1);

	info->crl = len <= CRL_MAX_BYTES ? asn1_parse(data, len, ASN1_ITEM_rptr(X509_CRL)) : NULL;
	if (!info->crl) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "these %zu bytes are not one CRL (RFC 5280 §5.1)", len);
		return NULL;
	}
	const ASN1_TIME *next_update = X509_CRL_get0_nextUpdate(info->crl);

	info->next_update = -1;
	if (!asn1_time_to_unix(X509_CRL_get0_lastUpdate(info->crl), &info->this_update) || (next_update && !asn1_time_to_unix(next_update, &info->next_update))) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the CRL's thisUpdate or nextUpdate is no date (RFC 5280 §5.1.2.4)");
		return NULL;
	}
	if (has_critical(info->crl)) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the CRL has a critical extension: only complete lists are understood (RFC 5280 §5.2)");
		return NULL;
	}
	info->issuer_der = asn1_format(X509_CRL_get_issuer(info->crl), ASN1_ITEM_rptr(X509_NAME));
	info->n = (size_t)MAX(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(info->crl)), 0);
	read_extensions(info);
	return g_steal_pointer(&info);
}

void crl_info_free(struct crl_info *info)
{
	if (!info)
		return;
	g_clear_pointer(&info->issuer_der, g_bytes_unref);
	g_clear_pointer(&info->key_id, g_bytes_unref);
	X509_CRL_free(info->crl);
	g_free(info);
}

bool crl_has(const struct crl_info *info, const char *serial)
{
	g_autoptr(ASN1_INTEGER) number = ASN1_INTEGER_new();
	X509_REVOKED *revoked = NULL;

	return asn1_serial_set(number, serial) && X509_CRL_get0_by_serial(info->crl, &revoked, number) == 1;
}

bool crl_is_issued_by(const struct crl_info *info, X509 *issuer)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int digest_nid = NID_undef;
	bool ok = key && !X509_NAME_cmp(X509_CRL_get_issuer(info->crl), X509_get_subject_name(issuer)) &&
	          OBJ_find_sigid_algs(X509_CRL_get_signature_nid(info->crl), &digest_nid, NULL) && !is_outdated_digest(digest_nid) && X509_CRL_verify(info->crl, key) == 1;

	ERR_clear_error();
	return ok;
}
