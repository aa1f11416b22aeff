#include "sim/sim_profile.h"

#include <openssl/x509_vfy.h>
#include <string.h>

#include "base/error.h"

enum { KEY_BITS_DEFAULT = 2048, KEY_BITS_MAX = 4096, RETRIES_DEFAULT = 3, RETRY_DELAY_DEFAULT_S = 10 };

void sim_profile_free(sim_profile *profile)
{
	if (!profile)
		return;
	plist_free(profile->tree);
	g_free(profile->signer);
	g_free(profile->identifier);
	g_clear_pointer(&profile->pkcs12, g_bytes_unref);
	g_free(profile->pkcs12_password);
	g_free(profile->server_url);
	g_free(profile->checkin_url);
	g_free(profile->topic);
	g_free(profile->scep.url);
	g_free(profile->scep.name);
	g_free(profile->scep.challenge);
	g_clear_pointer(&profile->scep.fingerprint, g_bytes_unref);
	plist_free(profile->scep.subject);
	plist_free(profile->scep.alt_name);
	sim_certs_free(profile->roots);
	g_free(profile);
}

/* ---- the signature ---- */

static X509 *find_signer(CMS_ContentInfo *cms)
{
	STACK_OF(X509) *signers = CMS_get0_signers(cms);
	X509 *signer = signers ? sk_X509_value(signers, 0) : NULL;

	if (signer)
		X509_up_ref(signer);
	sk_X509_free(signers);
	return signer;
}

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


plist *sim_profile_unwrap(const void *data, size_t len, X509 **ret_signer, GError **error)
{
	g_autoptr(BIO) in = BIO_new_mem_buf(data, (int)MIN(len, G_MAXINT)), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autoptr(X509) signer = NULL;
	g_autofree char *why = NULL;
	plist *tree;
	char *content;
	long content_len;

	if (is_xml(data, len)) {
		if (ret_signer)
			*ret_signer = NULL;
		return plist_parse(data, len, NULL, error);
	}
	cms = d2i_CMS_bio(in, NULL);
	if (!cms || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || !CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY)) {
		why = sim_openssl_error();
		pom_fail(error, POM_ERR_PROFILE, "the profile is neither a property list nor validly signed: %s", why);
		return NULL;
	}
	signer = find_signer(cms);
	content_len = BIO_get_mem_data(out, &content);
	tree = plist_parse(content, (size_t)content_len, NULL, error);
	if (tree && ret_signer)
		*ret_signer = g_steal_pointer(&signer);
	return tree;
}

static bool is_trusted(X509 *signer, STACK_OF(X509) *others, sim_certs *trusted, sim_certs *more)
{
	g_autoptr(X509_STORE) store = X509_STORE_new();
	g_autoptr(X509_STORE_CTX) context = X509_STORE_CTX_new();

	X509_STORE_set_default_paths(store);
	for (int i = 0; trusted && i < sk_X509_num(trusted); i++)
		X509_STORE_add_cert(store, sk_X509_value(trusted, i));
	for (int i = 0; i < sk_X509_num(more); i++)
		X509_STORE_add_cert(store, sk_X509_value(more, i));
	return X509_STORE_CTX_init(context, store, signer, others) && X509_verify_cert(context) == 1;
}

/* ---- the payloads ---- */

static bool take_copy(const plist *dict, const char *path, const char *key, enum plist_need need, char **ret, GError **error)
{
	const char *text = NULL;

	if (!plist_take_string(dict, path, key, need, &text, error))
		return false;
	*ret = g_strdup(text);
	return true;
}

static bool check_url(const char *url, const char *what, bool https_only, GError **error)
{
	if (g_str_has_prefix(url, "https://") || (!https_only && g_str_has_prefix(url, "http://")))
		return true;
	return pom_fail(error, POM_ERR_PROFILE, "%s is \"%s\": it must begin with https://%s", what, url, https_only ? "" : " or http://");
}

static bool parse_scep(const plist *payload, struct sim_scep_settings *scep, GError **error)
{
	static const char path[] = "com.apple.security.scep.PayloadContent";
	const plist *content = NULL, *subject = NULL, *alt_name = NULL;
	const void *fingerprint = NULL;
	size_t fingerprint_len = 0;

	*scep = (struct sim_scep_settings){.key_bits = KEY_BITS_DEFAULT, .n_retries = RETRIES_DEFAULT, .retry_delay_s = RETRY_DELAY_DEFAULT_S};
	if (!plist_take_child(payload, "com.apple.security.scep", "PayloadContent", PLIST_DICT, PLIST_REQUIRED, &content, error) ||
	    !take_copy(content, path, "URL", PLIST_REQUIRED, &scep->url, error) || !take_copy(content, path, "Name", PLIST_OPTIONAL, &scep->name, error) ||
	    !take_copy(content, path, "Challenge", PLIST_OPTIONAL, &scep->challenge, error) ||
	    !plist_take_data(content, path, "CAFingerprint", PLIST_OPTIONAL, &fingerprint, &fingerprint_len, error) ||
	    !plist_take_integer(content, path, "Keysize", PLIST_OPTIONAL, &scep->key_bits, error) ||
	    !plist_take_integer(content, path, "Key Usage", PLIST_OPTIONAL, &scep->key_usage, error) ||
	    !plist_take_integer(content, path, "Retries", PLIST_OPTIONAL, &scep->n_retries, error) ||
	    !plist_take_integer(content, path, "RetryDelay", PLIST_OPTIONAL, &scep->retry_delay_s, error) ||
	    !plist_take_child(content, path, "Subject", PLIST_ARRAY, PLIST_OPTIONAL, &subject, error) ||
	    !plist_take_child(content, path, "SubjectAltName", PLIST_DICT, PLIST_OPTIONAL, &alt_name, error))
		return false;
	scep->fingerprint = fingerprint ? g_bytes_new(fingerprint, fingerprint_len) : NULL;
	scep->subject = subject ? plist_copy(subject) : NULL;
	scep->alt_name = alt_name ? plist_copy(alt_name) : NULL;
	scep->key_bits = CLAMP(scep->key_bits, KEY_BITS_DEFAULT, KEY_BITS_MAX);
	if (fingerprint && fingerprint_len != 20 && fingerprint_len != 16)
		return pom_fail(error, POM_ERR_PROFILE, "%s.CAFingerprint has %zu bytes: devices take 20 (SHA-1) or 16 (MD5)", path, fingerprint_len);
	return check_url(scep->url, "the SCEP URL", false, error);
}

static bool parse_mdm(const plist *payload, sim_profile *profile, const char **ret_identity, GError **error)
{
	static const char path[] = "com.apple.mdm";

	if (!take_copy(payload, path, "ServerURL", PLIST_REQUIRED, &profile->server_url, error) ||
	    !take_copy(payload, path, "CheckInURL", PLIST_OPTIONAL, &profile->checkin_url, error) ||
	    !take_copy(payload, path, "Topic", PLIST_REQUIRED, &profile->topic, error) ||
	    !plist_take_boolean(payload, path, "SignMessage", PLIST_OPTIONAL, &profile->sign_message, error) ||
	    !plist_take_boolean(payload, path, "CheckOutWhenRemoved", PLIST_OPTIONAL, &profile->check_out_when_removed, error) ||
	    !plist_take_string(payload, path, "IdentityCertificateUUID", PLIST_REQUIRED, ret_identity, error))
		return false;
	if (!profile->checkin_url)
		profile->checkin_url = g_strdup(profile->server_url);
	if (!g_str_has_prefix(profile->topic, "com.apple.mgmt."))
		return pom_fail(error, POM_ERR_PROFILE, "com.apple.mdm.Topic is \"%s\": it must begin with com.apple.mgmt.", profile->topic);
	return check_url(profile->server_url, "com.apple.mdm.ServerURL", true, error) && check_url(profile->checkin_url, "com.apple.mdm.CheckInURL", true, error);
}

static X509 *parse_certificate(const plist *payload)
{
	size_t len = 0;
	const unsigned char *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	g_autofree char *text = NULL;

	if (!data || !len)
		return NULL;
	if (*data == 0x30)
		return d2i_X509(NULL, &data, (long)len);
	text = g_strndup((const char *)data, len);
	return sim_cert_parse(text, "payload", NULL);
}

/* Only what signs itself can end a chain. */
static void collect_root(const plist *payload, sim_certs *roots)
{
	const char *type = plist_get_string(plist_dict_get(payload, "PayloadType"));
	g_autoptr(X509) cert = NULL;

	if (!type || (strcmp(type, "com.apple.security.root") && strcmp(type, "com.apple.security.pem") && strcmp(type, "com.apple.security.pkcs1")))
		return;
	cert = parse_certificate(payload);
	if (cert && X509_self_signed(cert, 1) == 1)
		sk_X509_push(roots, g_steal_pointer(&cert));
}

static const plist *find_payload(const plist *payloads, const char *key, const char *value)
{
	for (size_t i = 0; i < plist_count(payloads); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(payloads, i), key)), value))
			return plist_child(payloads, i);
	return NULL;
}

sim_certs *sim_profile_roots(const plist *tree)
{
	const plist *payloads = plist_dict_get(tree, "PayloadContent");
	sim_certs *roots = sk_X509_new_null();

	for (size_t i = 0; i < plist_count(payloads); i++)
		collect_root(plist_child(payloads, i), roots);
	return roots;
}

static bool parse_pkcs12(const plist *payload, sim_profile *profile, GError **error)
{
	static const char path[] = "com.apple.security.pkcs12";
	const void *data = NULL;
	size_t len = 0;

	if (!plist_take_data(payload, path, "PayloadContent", PLIST_REQUIRED, &data, &len, error) || !take_copy(payload, path, "Password", PLIST_REQUIRED, &profile->pkcs12_password, error))
		return false;
	profile->pkcs12 = g_bytes_new(data, len);
	return true;
}

static bool parse_payloads(const plist *payloads, sim_profile *profile, GError **error)
{
	const plist *mdm = find_payload(payloads, "PayloadType", "com.apple.mdm"), *identity;
	const char *uuid = NULL, *type;

	if (!mdm)
		return pom_fail(error, POM_ERR_PROFILE, "the profile has no com.apple.mdm payload: it is no enrollment profile");
	if (!parse_mdm(mdm, profile, &uuid, error))
		return false;
	identity = find_payload(payloads, "PayloadUUID", uuid);
	type = plist_get_string(plist_dict_get(identity, "PayloadType"));
	if (!identity)
		return pom_fail(error, POM_ERR_PROFILE, "com.apple.mdm.IdentityCertificateUUID %s names no payload of the profile", uuid);
	if (!g_strcmp0(type, "com.apple.security.pkcs12"))
		return parse_pkcs12(identity, profile, error);
	if (g_strcmp0(type, "com.apple.security.scep"))
		return pom_fail(error, POM_ERR_PROFILE, "the identity is a %s payload: simulated devices get theirs by SCEP or PKCS#12", type ? type : "nameless");
	return parse_scep(identity, &profile->scep, error);
}

static bool parse_tree(sim_profile *profile, GError **error)
{
	const plist *payloads = NULL;
	const char *type = NULL;

	if (!plist_take_string(profile->tree, "profile", "PayloadType", PLIST_REQUIRED, &type, error) ||
	    !take_copy(profile->tree, "profile", "PayloadIdentifier", PLIST_REQUIRED, &profile->identifier, error) ||
	    !plist_take_child(profile->tree, "profile", "PayloadContent", PLIST_ARRAY, PLIST_REQUIRED, &payloads, error))
		return false;
	if (strcmp(type, "Configuration"))
		return pom_fail(error, POM_ERR_PROFILE, "profile.PayloadType is \"%s\", must be Configuration", type);
	return parse_payloads(payloads, profile, error);
}

/* The certificates beside the signer's, for its chain. */
static STACK_OF(X509) *other_certs(const void *data, size_t len)
{
	const unsigned char *p = data;
	g_autoptr(CMS_ContentInfo) cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);

	return cms ? CMS_get1_certs(cms) : NULL;
}

sim_profile *sim_profile_parse(const void *data, size_t len, sim_certs *trusted, GError **error)
{
	g_autoptr(sim_profile) profile = g_new0(sim_profile, 1);
	g_autoptr(sim_certs) others = NULL;
	g_autoptr(X509) signer = NULL;

	profile->tree = sim_profile_unwrap(data, len, &signer, error);
	if (!profile->tree)
		return NULL;
	profile->roots = sim_profile_roots(profile->tree);
	if (!parse_tree(profile, error))
		return NULL;
	if (signer) {
		others = other_certs(data, len);
		profile->signer = sim_cert_subject(signer);
		profile->signer_trusted = is_trusted(signer, others, trusted, profile->roots);
	}
	return g_steal_pointer(&profile);
}
