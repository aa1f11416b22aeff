#include "sim/sim_profile.h"

#include <openssl/pkcs12.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "base/error.h"

enum { KEY_BITS_DEFAULT = 2048, KEY_BITS_MAX = 4096, RETRIES_DEFAULT = 3, RETRY_DELAY_DEFAULT_S = 10 };
enum { BAD_PASSWORD = 9000, NO_IDENTITY = 9006 };

static void clear_scep(struct sim_scep_settings *scep)
{
	g_free(scep->url);
	g_free(scep->name);
	g_free(scep->challenge);
	g_clear_pointer(&scep->fingerprint, g_bytes_unref);
	plist_free(scep->subject);
	plist_free(scep->alt_name);
}

void sim_identity_payload_clear(struct sim_identity_payload *payload)
{
	g_clear_pointer(&payload->pkcs12, g_bytes_unref);
	g_free(payload->pkcs12_password);
	clear_scep(&payload->scep);
	*payload = (struct sim_identity_payload){0};
}

void sim_profile_free(sim_profile *profile)
{
	if (!profile)
		return;
	sim_mobileconfig_free(profile->form);
	g_free(profile->signer);
	sim_identity_payload_clear(&profile->identity);
	g_free(profile->server_url);
	g_free(profile->checkin_url);
	g_free(profile->topic);
	sim_certs_free(profile->roots);
	g_free(profile);
}

/* ---- the signature ---- */

static void add_trusted(X509_STORE *store, const sim_certs *certs)
{
	for (int i = 0; certs && i < sk_X509_num(certs); i++)
		X509_STORE_add_cert(store, sk_X509_value(certs, i));
}

bool sim_signer_trusted(const sim_certs *certs, const sim_certs *trusted, const sim_certs *more)
{
	g_autoptr(X509_STORE) store = X509_STORE_new();
	g_autoptr(X509_STORE_CTX) context = X509_STORE_CTX_new();

	if (!sk_X509_num(certs))
		return false;
	X509_STORE_set_default_paths(store);
	add_trusted(store, trusted);
	add_trusted(store, more);
	return X509_STORE_CTX_init(context, store, sk_X509_value(certs, 0), (sim_certs *)(uintptr_t)certs) && X509_verify_cert(context) == 1;
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

static bool has_text(const plist *array, const char *text)
{
	for (size_t i = 0; i < plist_count(array); i++)
		if (!g_strcmp0(plist_get_string(plist_child(array, i)), text))
			return true;
	return false;
}

static bool parse_mdm(const plist *payload, sim_profile *profile, const char **ret_identity, GError **error)
{
	static const char path[] = "com.apple.mdm";
	const plist *capabilities = NULL;

	if (!take_copy(payload, path, "ServerURL", PLIST_REQUIRED, &profile->server_url, error) ||
	    !take_copy(payload, path, "CheckInURL", PLIST_OPTIONAL, &profile->checkin_url, error) ||
	    !take_copy(payload, path, "Topic", PLIST_REQUIRED, &profile->topic, error) ||
	    !plist_take_boolean(payload, path, "SignMessage", PLIST_OPTIONAL, &profile->sign_message, error) ||
	    !plist_take_boolean(payload, path, "CheckOutWhenRemoved", PLIST_OPTIONAL, &profile->check_out_when_removed, error) ||
	    !plist_take_child(payload, path, "ServerCapabilities", PLIST_ARRAY, PLIST_OPTIONAL, &capabilities, error) ||
	    !plist_take_string(payload, path, "IdentityCertificateUUID", PLIST_REQUIRED, ret_identity, error))
		return false;
	profile->can_get_token = has_text(capabilities, "com.apple.mdm.token");
	if (!profile->checkin_url)
		profile->checkin_url = g_strdup(profile->server_url);
	if (!g_str_has_prefix(profile->topic, "com.apple.mgmt."))
		return pom_fail(error, POM_ERR_PROFILE, "com.apple.mdm.Topic is \"%s\": it must begin with com.apple.mgmt.", profile->topic);
	return check_url(profile->server_url, "com.apple.mdm.ServerURL", true, error) && check_url(profile->checkin_url, "com.apple.mdm.CheckInURL", true, error);
}

bool sim_payload_is_certificate(const char *type)
{
	return type && (!strcmp(type, "com.apple.security.root") || !strcmp(type, "com.apple.security.pem") || !strcmp(type, "com.apple.security.pkcs1"));
}

X509 *sim_payload_certificate(const plist *payload)
{
	size_t len = 0;
	const unsigned char *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	g_autofree char *text = NULL;

	if (!sim_payload_is_certificate(plist_get_string(plist_dict_get(payload, "PayloadType"))) || !data || !len)
		return NULL;
	if (*data == 0x30)
		return d2i_X509(NULL, &data, (long)len);
	text = g_strndup((const char *)data, len);
	return sim_cert_parse(text, "payload", NULL);
}

/* Only what signs itself can end a chain. */
static void collect_root(const plist *payload, sim_certs *roots)
{
	g_autoptr(X509) cert = sim_payload_certificate(payload);

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

static bool parse_pkcs12(const plist *payload, struct sim_identity_payload *ret, GError **error)
{
	static const char path[] = "com.apple.security.pkcs12";
	const void *data = NULL;
	size_t len = 0;

	if (!plist_take_data(payload, path, "PayloadContent", PLIST_REQUIRED, &data, &len, error) || !take_copy(payload, path, "Password", PLIST_REQUIRED, &ret->pkcs12_password, error))
		return false;
	ret->pkcs12 = g_bytes_new(data, len);
	return true;
}

bool sim_identity_payload_parse(const plist *payload, struct sim_identity_payload *ret, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(payload, "PayloadType"));

	*ret = (struct sim_identity_payload){0};
	if (!g_strcmp0(type, "com.apple.security.pkcs12"))
		return parse_pkcs12(payload, ret, error);
	if (g_strcmp0(type, "com.apple.security.scep"))
		return pom_fail(error, POM_ERR_PROFILE, "the identity is a %s payload: simulated devices get theirs by SCEP or PKCS#12", type ? type : "nameless");
	return parse_scep(payload, &ret->scep, error);
}

struct sim_identity *sim_identity_payload_open(const struct sim_identity_payload *payload, GError **error)
{
	gsize len;
	const unsigned char *data = g_bytes_get_data(payload->pkcs12, &len);
	PKCS12 *p12 = d2i_PKCS12(NULL, &data, (long)len);
	g_autoptr(EVP_PKEY) key = NULL;
	g_autoptr(X509) cert = NULL;
	bool ok = p12 && PKCS12_parse(p12, payload->pkcs12_password, &key, &cert, NULL) == 1;
	g_autofree char *why = ok ? NULL : sim_openssl_error();

	PKCS12_free(p12);
	if (ok && key && cert)
		return sim_identity_new(key, cert);
	sim_refuse(error, "MCCertificateErrorDomain", ok ? NO_IDENTITY : BAD_PASSWORD, "the PKCS#12 payload %s%s", ok ? "holds no identity" : "cannot be opened with its password: ", ok ? "" : why);
	return NULL;
}

static bool parse_enrollment(sim_profile *profile, GError **error)
{
	const plist *payloads = plist_dict_get(profile->form->tree, "PayloadContent"), *mdm = sim_mobileconfig_payload(profile->form, "com.apple.mdm"), *identity;
	const char *uuid = NULL;

	if (!mdm)
		return pom_fail(error, POM_ERR_PROFILE, "the profile has no com.apple.mdm payload: it is no enrollment profile");
	if (!parse_mdm(mdm, profile, &uuid, error))
		return false;
	identity = find_payload(payloads, "PayloadUUID", uuid);
	if (!identity)
		return pom_fail(error, POM_ERR_PROFILE, "com.apple.mdm.IdentityCertificateUUID %s names no payload of the profile", uuid);
	return sim_identity_payload_parse(identity, &profile->identity, error);
}

sim_profile *sim_profile_parse(GBytes *bytes, sim_certs *trusted, const GPtrArray *identities, GError **error)
{
	g_autoptr(sim_profile) profile = g_new0(sim_profile, 1);

	profile->form = sim_mobileconfig_parse(bytes, identities, error);
	if (!profile->form) {
		sim_refusal_translate(error);
		return NULL;
	}
	profile->identifier = sim_mobileconfig_identifier(profile->form);
	profile->roots = sim_profile_roots(profile->form->tree);
	if (!parse_enrollment(profile, error))
		return NULL;
	if (sk_X509_num(profile->form->certs)) {
		profile->signer = sim_cert_subject(sk_X509_value(profile->form->certs, 0));
		profile->signer_trusted = sim_signer_trusted(profile->form->certs, trusted, profile->roots);
	}
	return g_steal_pointer(&profile);
}
