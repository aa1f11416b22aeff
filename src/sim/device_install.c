/* Profiles that come by command: installed, replaced, listed and removed as Apple devices do.
 *
 * A refusal is an ErrorChain. What is wrong with the form of a profile is told at the top (MCProfileErrorDomain); what a payload could not do is told under
 * "the installation failed" (MCInstallationErrorDomain 4001) and "this profile could not be installed" (MCProfileErrorDomain 1009). */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

#define INSTALLATION "MCInstallationErrorDomain"
#define PROFILE "MCProfileErrorDomain"
#define MDM "MCMDMErrorDomain"

enum { MALFORMED_PROFILE = 1000, PROFILE_FAILED = 1009, INSTALLATION_FAILED = 4001, REMOVAL_IN_PAST = 4006, NO_MDM_PAYLOAD = 4015, BAD_CERTIFICATE = 9005 };
enum { MALFORMED_REQUEST = 12008, TWO_MDM = 12001, PROFILE_NOT_INSTALLED = 12075, SCEP_FIRST = 22000, SCEP_LAST = 22013 };

/* ---- installing ---- */

static bool take_certificate(const plist *payload, GError **error)
{
	g_autoptr(X509) cert = sim_payload_certificate(payload);

	return cert || sim_refuse(error, "MCCertificateErrorDomain", BAD_CERTIFICATE, "the certificate payload \"%s\" holds no certificate",
	                          plist_get_string(plist_dict_get(payload, "PayloadIdentifier")));
}

static bool take_identity(struct device *d, const plist *payload, sim_mobileconfig *profile, GError **error)
{
	g_auto(sim_identity_payload) source = {0};
	struct sim_identity *identity;
	g_autoptr(GError) why = NULL;

	if (!sim_identity_payload_parse(payload, &source, &why))
		return sim_refuse(error, "MCPayloadErrorDomain", 2000, "%s", why->message);
	identity = device_obtain(d, &source, error);
	if (!identity)
		return false;
	g_ptr_array_add(profile->identities, identity);
	return true;
}

static bool take_payload(struct device *d, const plist *payload, sim_mobileconfig *profile, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(payload, "PayloadType"));

	if (!strcmp(type, "com.apple.mdm"))
		return sim_refuse(error, MDM, TWO_MDM, "the device is managed: a second com.apple.mdm payload is refused");
	if (sim_payload_is_certificate(type))
		return take_certificate(payload, error);
	if (!strcmp(type, "com.apple.security.pkcs12") || !strcmp(type, "com.apple.security.scep"))
		return take_identity(d, payload, profile, error);
	return true;
}

static bool check_dates(const sim_mobileconfig *profile, GError **error)
{
	int64_t removal = 0;

	if (!plist_get_date(plist_dict_get(profile->tree, "RemovalDate"), &removal) || removal > g_get_real_time() / G_USEC_PER_SEC)
		return true;
	return sim_refuse(error, INSTALLATION, REMOVAL_IN_PAST, "the removal date of the profile is in the past");
}

bool device_uninstall(struct device *d, const char *identifier)
{
	for (guint i = 0; i < d->installed->len; i++)
		if (!g_strcmp0(sim_mobileconfig_identifier(g_ptr_array_index(d->installed, i)), identifier))
			return g_ptr_array_remove_index(d->installed, i), true;
	return false;
}

bool device_install(struct device *d, GBytes *bytes, GError **error)
{
	g_autoptr(GPtrArray) identities = device_identities(d);
	g_autoptr(sim_mobileconfig) profile = sim_mobileconfig_parse(bytes, identities, error);
	const plist *payloads;

	if (!profile)
		return false;
	if (!strcmp(sim_mobileconfig_identifier(profile), d->profile->identifier)) {
		if (!sim_mobileconfig_payload(profile, "com.apple.mdm"))
			return sim_refuse(error, INSTALLATION, NO_MDM_PAYLOAD, "the replacement of the enrollment profile has no com.apple.mdm payload");
		return device_update_profile(d, bytes, error);
	}
	payloads = plist_dict_get(profile->tree, "PayloadContent");
	if (!check_dates(profile, error))
		return false;
	for (size_t i = 0; i < plist_count(payloads); i++)
		if (!take_payload(d, plist_child(payloads, i), profile, error))
			return false;
	device_uninstall(d, sim_mobileconfig_identifier(profile));
	g_ptr_array_add(d->installed, g_steal_pointer(&profile));
	return device_trust(d, error) && device_save(d, error);
}

/* ---- how it is told ---- */

/* The code at the beginning of what a SCEP client says; 0: it is something else. */
static int scep_code(const GError *why)
{
	long code = strtol(why->message, NULL, 10);

	return code >= SCEP_FIRST && code <= SCEP_LAST ? (int)code : 0;
}

static void report(plist *reply, const GError *why)
{
	const char *domain = g_quark_to_string(why->domain);
	bool apple = why->domain != POM_ERROR;

	if (!apple && !scep_code(why)) {
		device_reply_fail(reply, "Error", INSTALLATION, INSTALLATION_FAILED, why->message);
		return;
	}
	if (apple && !strcmp(domain, "MCPayloadErrorDomain")) {
		device_reply_fail(reply, "Error", PROFILE, MALFORMED_PROFILE, "The profile is malformed.");
	} else if (!apple || (strcmp(domain, PROFILE) && strcmp(domain, INSTALLATION))) {
		device_reply_fail(reply, "Error", INSTALLATION, INSTALLATION_FAILED, "The profile could not be installed.");
		device_reply_fail(reply, "Error", PROFILE, PROFILE_FAILED, "A payload of the profile could not be installed.");
	}
	device_reply_fail(reply, "Error", apple ? domain : "MCSCEPErrorDomain", apple ? why->code : scep_code(why), why->message);
}

void device_answer_install_profile(struct device *d, const plist *command, plist *reply)
{
	size_t len = 0;
	const void *data = plist_get_data(plist_dict_get(command, "Payload"), &len);
	g_autoptr(GBytes) bytes = data ? g_bytes_new(data, len) : NULL;
	g_autoptr(GError) error = NULL;

	if (!bytes)
		device_reply_fail(reply, "Error", MDM, MALFORMED_REQUEST, "InstallProfile has no Payload.");
	else if (!device_install(d, bytes, &error))
		report(reply, error);
}

void device_answer_remove_profile(struct device *d, const plist *command, plist *reply)
{
	const char *identifier = plist_get_string(plist_dict_get(command, "Identifier"));
	g_autoptr(GError) error = NULL;

	if (identifier && !strcmp(identifier, d->profile->identifier))
		d->check_out_next = true;
	else if (!identifier)
		device_reply_fail(reply, "Error", MDM, MALFORMED_REQUEST, "RemoveProfile has no Identifier.");
	else if (!device_uninstall(d, identifier))
		device_reply_fail(reply, "Error", MDM, PROFILE_NOT_INSTALLED, "The profile is not installed.");
	else if (!device_trust(d, &error) || !device_save(d, &error))
		device_reply_fail(reply, "Error", INSTALLATION, INSTALLATION_FAILED, error->message);
}

/* ---- ProfileList ---- */

static void copy_keys(const plist *from, plist *to, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (plist_dict_get(from, keys[i]))
			plist_dict_set(to, keys[i], plist_copy(plist_dict_get(from, keys[i])));
}

static plist *new_certificate(X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	plist *data = plist_new_data(der, len > 0 ? (size_t)len : 0);

	OPENSSL_free(der);
	return data;
}

static bool has_removal_password(const sim_mobileconfig *profile)
{
	return sim_mobileconfig_payload(profile, "com.apple.profileRemovalPassword") != NULL;
}

/* Without what is secret in the payloads. */
static plist *describe(const struct device *d, const sim_mobileconfig *profile)
{
	static const char *const keys[] = {"PayloadIdentifier", "PayloadUUID", "PayloadVersion", "PayloadDisplayName", "PayloadOrganization", "PayloadDescription", "PayloadRemovalDisallowed"};
	static const char *const payload_keys[] = {"PayloadIdentifier", "PayloadType", "PayloadUUID", "PayloadVersion", "PayloadDisplayName", "PayloadDescription", "PayloadOrganization"};
	const plist *payloads = plist_dict_get(profile->tree, "PayloadContent");
	plist *out = plist_new_dict(), *list = plist_new_array(), *signers = plist_new_array();

	copy_keys(profile->tree, out, keys, G_N_ELEMENTS(keys));
	for (size_t i = 0; i < plist_count(payloads); i++) {
		plist *payload = plist_new_dict();

		copy_keys(plist_child(payloads, i), payload, payload_keys, G_N_ELEMENTS(payload_keys));
		plist_array_append(list, payload);
	}
	for (int i = 0; i < sk_X509_num(profile->certs); i++)
		plist_array_append(signers, new_certificate(sk_X509_value(profile->certs, i)));
	plist_dict_set(out, "PayloadContent", list);
	plist_dict_set(out, "SignerCertificates", signers);
	plist_dict_set_boolean(out, "IsEncrypted", profile->encrypted);
	plist_dict_set_boolean(out, "HasRemovalPasscode", has_removal_password(profile));
	/* The enrollment profile itself came by hand. macOS does not tell. */
	if (!d->model->macos)
		plist_dict_set_boolean(out, "IsManaged", profile != d->profile->form);
	return out;
}

static bool wants_managed_only(const plist *command)
{
	bool managed_only = false;

	return plist_get_boolean(plist_dict_get(command, "ManagedOnly"), &managed_only) && managed_only;
}

void device_answer_profile_list(struct device *d, const plist *command, plist *reply)
{
	plist *list = plist_new_array();

	if (!wants_managed_only(command))
		plist_array_append(list, describe(d, d->profile->form));
	for (guint i = 0; i < d->installed->len; i++)
		plist_array_append(list, describe(d, g_ptr_array_index(d->installed, i)));
	plist_dict_set(reply, "ProfileList", list);
}

/* ---- CertificateList ---- */

static void append_certificate(plist *list, X509 *cert, bool is_identity)
{
	plist *entry = plist_new_dict();
	char cn[256] = "";

	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
	plist_dict_set_string(entry, "CommonName", cn);
	plist_dict_set(entry, "Data", new_certificate(cert));
	plist_dict_set_boolean(entry, "IsIdentity", is_identity);
	plist_array_append(list, entry);
}

static void append_brought(plist *list, const sim_mobileconfig *profile)
{
	const plist *payloads = plist_dict_get(profile->tree, "PayloadContent");

	for (guint i = 0; i < profile->identities->len; i++)
		append_certificate(list, ((const struct sim_identity *)g_ptr_array_index(profile->identities, i))->cert, true);
	for (size_t i = 0; i < plist_count(payloads); i++) {
		g_autoptr(X509) cert = sim_payload_certificate(plist_child(payloads, i));

		if (cert)
			append_certificate(list, cert, false);
	}
}

void device_answer_certificate_list(struct device *d, const plist *command, plist *reply)
{
	plist *list = plist_new_array();

	append_certificate(list, d->cert, true);
	append_brought(list, d->profile->form);
	for (guint i = 0; i < d->installed->len; i++)
		append_brought(list, g_ptr_array_index(d->installed, i));
	plist_dict_set(reply, "CertificateList", list);
}
