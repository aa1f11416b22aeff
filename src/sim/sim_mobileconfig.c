#include "sim/sim_mobileconfig.h"

#include <string.h>

#include "base/error.h"

#define PROFILE "MCProfileErrorDomain"
#define PAYLOAD "MCPayloadErrorDomain"

enum { MALFORMED = 0, BAD_VERSION = 1, MISSING = 2, BAD_TYPE = 3 }; /* added to 1000 in a profile, to 2000 in a payload */
enum { PROFILE_BASE = 1000, PAYLOAD_BASE = 2000, BAD_SIGNATURE = 1004, CANNOT_DECRYPT = 1006, SAME_UUIDS = 1007, SAME_IDENTIFIERS = 1008, BAD_VALUE = 1010, TWO_MDM = 12001 };

bool sim_refuse(GError **error, const char *domain, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (error)
		*error = g_error_new_valist(g_quark_from_string(domain), code, format, args);
	va_end(args);
	return false;
}

void sim_refusal_translate(GError **error)
{
	GError *was = error ? *error : NULL;

	if (!was || was->domain == POM_ERROR)
		return;
	*error = NULL;
	pom_fail(error, POM_ERR_PROFILE, "%s %d: %s", g_quark_to_string(was->domain), was->code, was->message);
	g_error_free(was);
}

void sim_mobileconfig_free(sim_mobileconfig *profile)
{
	if (!profile)
		return;
	g_clear_pointer(&profile->bytes, g_bytes_unref);
	plist_free(profile->tree);
	sim_certs_free(profile->certs);
	g_clear_pointer(&profile->identities, g_ptr_array_unref);
	g_free(profile);
}

const char *sim_mobileconfig_identifier(const sim_mobileconfig *profile)
{
	return plist_get_string(plist_dict_get(profile->tree, "PayloadIdentifier"));
}

const plist *sim_mobileconfig_payload(const sim_mobileconfig *profile, const char *type)
{
	const plist *payloads = plist_dict_get(profile->tree, "PayloadContent");

	for (size_t i = 0; i < plist_count(payloads); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(payloads, i), "PayloadType")), type))
			return plist_child(payloads, i);
	return NULL;
}

/* ---- the signature ---- */

static bool is_xml(const char *data, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";

	if (len >= 3 && !memcmp(data, bom, 3)) {
		data += 3;
		len -= 3;
	}
	while (len && g_ascii_isspace(*data)) {
		data++;
		len--;
	}
	return len && *data == '<';
}

/* The certificates of a verified message, the signer first. transfer full. */
static sim_certs *list_certs(CMS_ContentInfo *cms)
{
	STACK_OF(X509) *signers = CMS_get0_signers(cms);
	g_autoptr(sim_certs) all = CMS_get1_certs(cms);
	sim_certs *certs = sk_X509_new_null();
	X509 *signer = signers ? sk_X509_value(signers, 0) : NULL;

	if (signer && X509_up_ref(signer))
		sk_X509_push(certs, signer);
	for (int i = 0; all && i < sk_X509_num(all); i++)
		if (!signer || X509_cmp(sk_X509_value(all, i), signer))
			sk_X509_push(certs, X509_dup(sk_X509_value(all, i)));
	sk_X509_free(signers);
	return certs;
}

static plist *parse_plist(const char *data, size_t len, GError **error)
{
	g_autoptr(GError) why = NULL;
	plist *tree = plist_parse(data, len, NULL, &why);

	if (!tree)
		sim_refuse(error, PROFILE, PROFILE_BASE + MALFORMED, "%s", why->message);
	return tree;
}

plist *sim_mobileconfig_unwrap(GBytes *bytes, sim_certs **ret_certs, GError **error)
{
	gsize len;
	const char *data = g_bytes_get_data(bytes, &len);
	g_autoptr(BIO) in = BIO_new_mem_buf(data ? data : "", (int)MIN(len, G_MAXINT)), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autofree char *why = NULL;
	plist *tree;
	char *content;
	long content_len;

	if (data && is_xml(data, len)) {
		tree = parse_plist(data, len, error);
		if (tree && ret_certs)
			*ret_certs = sk_X509_new_null();
		return tree;
	}
	cms = d2i_CMS_bio(in, NULL);
	if (!cms || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed) {
		why = sim_openssl_error();
		sim_refuse(error, PROFILE, PROFILE_BASE + MALFORMED, "the profile is neither a property list nor signed: %s", why);
		return NULL;
	}
	if (!CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY)) {
		why = sim_openssl_error();
		sim_refuse(error, PROFILE, BAD_SIGNATURE, "the profile is not validly signed: %s", why);
		return NULL;
	}
	content_len = BIO_get_mem_data(out, &content);
	tree = parse_plist(content, (size_t)content_len, error);
	if (tree && ret_certs)
		*ret_certs = list_certs(cms);
	return tree;
}

/* ---- the encryption ---- */

/* The content of CMS EnvelopedData, by whichever of IDENTITIES it is for; NULL: by none. */
static BIO *decrypt(const void *data, size_t len, const GPtrArray *identities)
{
	const unsigned char *p = data;
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
	g_autofree char *ignored = NULL;

	for (guint i = 0; cms && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_enveloped && identities && i < identities->len; i++) {
		const struct sim_identity *identity = g_ptr_array_index(identities, i);
		g_autoptr(BIO) out = BIO_new(BIO_s_mem());

		if (CMS_decrypt(cms, identity->key, identity->cert, NULL, out, CMS_BINARY))
			return g_steal_pointer(&out);
	}
	ignored = sim_openssl_error();
	return NULL;
}

static bool open_content(sim_mobileconfig *profile, const GPtrArray *identities, GError **error)
{
	const plist *sealed = plist_dict_get(profile->tree, "EncryptedPayloadContent");
	size_t len = 0;
	const void *data = plist_get_data(sealed, &len);
	g_autoptr(BIO) clear = NULL;
	plist *payloads;
	char *text;
	long text_len;

	if (!sealed)
		return true;
	if (!data)
		return sim_refuse(error, PROFILE, PROFILE_BASE + BAD_TYPE, "EncryptedPayloadContent is of type %s, must be data", plist_type_name(plist_get_type(sealed)));
	if (plist_dict_get(profile->tree, "PayloadContent"))
		return sim_refuse(error, PROFILE, PROFILE_BASE + MALFORMED, "the profile has both PayloadContent and EncryptedPayloadContent");
	clear = decrypt(data, len, identities);
	if (!clear)
		return sim_refuse(error, PROFILE, CANNOT_DECRYPT, "the profile is not encrypted to any identity on the device");
	text_len = BIO_get_mem_data(clear, &text);
	payloads = parse_plist(text, (size_t)text_len, error);
	if (!payloads)
		return false;
	plist_dict_remove(profile->tree, "EncryptedPayloadContent");
	plist_dict_set(profile->tree, "PayloadContent", payloads);
	profile->encrypted = true;
	return true;
}

/* ---- the form ---- */

/* A key that must be there with TYPE. PATH names DICT. */
static bool need(const plist *dict, const char *path, const char *key, enum plist_type type, const char *domain, int base, GError **error)
{
	const plist *value = plist_dict_get(dict, key);

	if (!value)
		return sim_refuse(error, domain, base + MISSING, "%s.%s is missing", path, key);
	if (plist_get_type(value) != type)
		return sim_refuse(error, domain, base + BAD_TYPE, "%s.%s is of type %s, must be %s", path, key, plist_type_name(plist_get_type(value)), plist_type_name(type));
	return true;
}

/* The four keys of every profile and payload. */
static bool check_head(const plist *dict, const char *path, const char *domain, int base, GError **error)
{
	int64_t version = 0;

	if (!need(dict, path, "PayloadType", PLIST_STRING, domain, base, error) || !need(dict, path, "PayloadIdentifier", PLIST_STRING, domain, base, error) ||
	    !need(dict, path, "PayloadUUID", PLIST_STRING, domain, base, error) || !need(dict, path, "PayloadVersion", PLIST_INTEGER, domain, base, error))
		return false;
	if (!plist_get_integer(plist_dict_get(dict, "PayloadVersion"), &version) || version != 1)
		return sim_refuse(error, domain, base + BAD_VERSION, "%s.PayloadVersion must be 1", path);
	return true;
}

static bool check_unique(GHashTable *seen, const plist *payload, const char *key, int code, GError **error)
{
	const char *text = plist_get_string(plist_dict_get(payload, key));

	return g_hash_table_add(seen, (void *)(uintptr_t)text) || sim_refuse(error, PROFILE, code, "two payloads have the %s \"%s\"", key, text);
}

static bool check_payloads(const sim_mobileconfig *profile, GError **error)
{
	const plist *payloads = plist_dict_get(profile->tree, "PayloadContent");
	g_autoptr(GHashTable) uuids = g_hash_table_new(g_str_hash, g_str_equal), identifiers = g_hash_table_new(g_str_hash, g_str_equal);
	unsigned n_mdm = 0;

	for (size_t i = 0; i < plist_count(payloads); i++) {
		const plist *payload = plist_child(payloads, i);
		g_autofree char *path = g_strdup_printf("PayloadContent[%zu]", i);

		if (plist_get_type(payload) != PLIST_DICT)
			return sim_refuse(error, PAYLOAD, PAYLOAD_BASE + MALFORMED, "%s is of type %s, must be dictionary", path, plist_type_name(plist_get_type(payload)));
		if (!check_head(payload, path, PAYLOAD, PAYLOAD_BASE, error) || !check_unique(uuids, payload, "PayloadUUID", SAME_UUIDS, error) ||
		    !check_unique(identifiers, payload, "PayloadIdentifier", SAME_IDENTIFIERS, error))
			return false;
		n_mdm += !strcmp(plist_get_string(plist_dict_get(payload, "PayloadType")), "com.apple.mdm");
	}
	return n_mdm <= 1 || sim_refuse(error, "MCMDMErrorDomain", TWO_MDM, "the profile has %u com.apple.mdm payloads", n_mdm);
}

static bool check_form(sim_mobileconfig *profile, const GPtrArray *identities, GError **error)
{
	static const char path[] = "profile";
	const char *type;

	if (plist_get_type(profile->tree) != PLIST_DICT)
		return sim_refuse(error, PROFILE, PROFILE_BASE + MALFORMED, "the profile is of type %s, must be dictionary", plist_type_name(plist_get_type(profile->tree)));
	if (!check_head(profile->tree, path, PROFILE, PROFILE_BASE, error))
		return false;
	type = plist_get_string(plist_dict_get(profile->tree, "PayloadType"));
	if (strcmp(type, "Configuration"))
		return sim_refuse(error, PROFILE, BAD_VALUE, "profile.PayloadType is \"%s\", must be Configuration", type);
	return open_content(profile, identities, error) && need(profile->tree, path, "PayloadContent", PLIST_ARRAY, PROFILE, PROFILE_BASE, error) && check_payloads(profile, error);
}

sim_mobileconfig *sim_mobileconfig_parse(GBytes *bytes, const GPtrArray *identities, GError **error)
{
	g_autoptr(sim_mobileconfig) profile = g_new0(sim_mobileconfig, 1);

	profile->bytes = g_bytes_ref(bytes);
	profile->identities = sim_identities_new();
	profile->tree = sim_mobileconfig_unwrap(bytes, &profile->certs, error);
	return profile->tree && check_form(profile, identities, error) ? g_steal_pointer(&profile) : NULL;
}
