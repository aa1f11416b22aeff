/* Enrollment over the air, as an iPhone does it with a Profile Service document: (1) the document says what the server wants to know; (2) the device tells it, signed
 * with its factory identity, and gets an identity; (3) it tells it again, signed with that, and gets the enrollment profile, which may be encrypted to it. */
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

#define OTA "MCOTAProfilesErrorDomain"
#define SIGNED_TYPE "application/pkcs7-signature"
#define PROFILE_TYPE "application/x-apple-aspen-config"
#define AGENT "DeviceManagementClient/1.0"

enum { NOT_CONFIGURATION = 4011, BAD_IDENTITY = 24002, BAD_FINAL_PROFILE = 24003 };

/* ---- the document ---- */

void ota_service_free(ota_service *service)
{
	if (!service)
		return;
	g_free(service->url);
	g_free(service->challenge);
	plist_free(service->attributes);
	g_free(service);
}

static bool take_content(const plist *content, ota_service *service, GError **error)
{
	static const char path[] = "Profile Service.PayloadContent";
	const char *url = NULL, *challenge = NULL;
	const plist *attributes = NULL;

	if (!plist_take_string(content, path, "URL", PLIST_REQUIRED, &url, error) || !plist_take_child(content, path, "DeviceAttributes", PLIST_ARRAY, PLIST_REQUIRED, &attributes, error) ||
	    !plist_take_string(content, path, "Challenge", PLIST_OPTIONAL, &challenge, error))
		return false;
	if (!g_str_has_prefix(url, "https://"))
		return pom_fail(error, POM_ERR_PROFILE, "%s.URL is \"%s\": it must begin with https://", path, url);
	for (size_t i = 0; i < plist_count(attributes); i++)
		if (!plist_get_string(plist_child(attributes, i)))
			return pom_fail(error, POM_ERR_PROFILE, "%s.DeviceAttributes[%zu] is of type %s, must be string", path, i, plist_type_name(plist_get_type(plist_child(attributes, i))));
	service->url = g_strdup(url);
	service->challenge = g_strdup(challenge);
	service->attributes = plist_copy(attributes);
	return true;
}

static bool is_service(const plist *tree)
{
	return !g_strcmp0(plist_get_string(plist_dict_get(tree, "PayloadType")), "Profile Service");
}

ota_service *ota_service_parse(const plist *tree, GError **error)
{
	static const char path[] = "Profile Service";
	g_autoptr(ota_service) service = g_new0(ota_service, 1);
	const char *text = NULL;
	const plist *content = NULL;
	int64_t version = 0;

	if (!plist_take_string(tree, path, "PayloadType", PLIST_REQUIRED, &text, error) || !plist_take_string(tree, path, "PayloadIdentifier", PLIST_REQUIRED, &text, error) ||
	    !plist_take_string(tree, path, "PayloadUUID", PLIST_REQUIRED, &text, error) || !plist_take_integer(tree, path, "PayloadVersion", PLIST_REQUIRED, &version, error) ||
	    !plist_take_child(tree, path, "PayloadContent", PLIST_DICT, PLIST_REQUIRED, &content, error))
		return NULL;
	if (!is_service(tree) || version != 1) {
		pom_fail(error, POM_ERR_PROFILE, "the document must have the PayloadType Profile Service and the PayloadVersion 1");
		return NULL;
	}
	return take_content(content, service, error) ? g_steal_pointer(&service) : NULL;
}

/* ---- what the device says of itself ---- */

struct attribute {
	const char *name;
	unsigned least;   /* the smallest set that has it */
	const char *text; /* NULL: the device has none */
};
enum { N_ATTRIBUTES = 11 };

/* All that Apple's client knows. */
static void list_attributes(const struct device *d, struct attribute ret[N_ATTRIBUTES])
{
	bool phone = d->model->kind == SIM_IPHONE;
	const struct attribute all[N_ATTRIBUTES] = {
		{"UDID", OTA_MINIMAL, d->udid}, {"SERIAL", OTA_MINIMAL, d->serial}, {"PRODUCT", OTA_MINIMAL, d->model->product}, {"VERSION", OTA_MINIMAL, d->model->build},
		{"IMEI", OTA_USUAL, phone ? "35 000000 000000 0" : NULL}, {"LANGUAGE", OTA_USUAL, "en"}, {"OS_VERSION", OTA_USUAL, d->model->os},
		{"SOFTWARE_UPDATE_DEVICE_ID", OTA_USUAL, d->model->product}, {"SUPPLEMENTAL_BUILD_VERSION", OTA_USUAL, d->model->build},
		{"MEID", OTA_MAXIMAL, phone ? "35000000000000" : NULL}, {"SUPPLEMENTAL_OS_VERSION_EXTRA", OTA_MAXIMAL, "(a)"},
	};

	memcpy(ret, all, sizeof(all));
}

/* What the device says as NAME when it tells SET; NULL: nothing, as it does not know the name or has no value. */
static const char *attribute_text(const struct device *d, const char *name, unsigned set)
{
	struct attribute all[N_ATTRIBUTES];

	list_attributes(d, all);
	for (unsigned i = 0; i < N_ATTRIBUTES; i++)
		if (!strcmp(all[i].name, name))
			return all[i].least <= set ? all[i].text : NULL;
	return NULL;
}

static void add_user(plist *tree)
{
	plist_dict_set_string(tree, "UserID", "5B6E2A3C-0000-4000-8000-000000000501");
	plist_dict_set_string(tree, "UserLongName", "Simulated User");
	plist_dict_set_string(tree, "UserShortName", "simulated");
	plist_dict_set_boolean(tree, "NotOnConsole", false);
}

plist *ota_attributes(const struct device *d, const ota_service *service, const struct ota_step *step)
{
	plist *tree = plist_new_dict();

	for (size_t i = 0; i < plist_count(service->attributes); i++) {
		const char *name = plist_get_string(plist_child(service->attributes, i)), *text = attribute_text(d, name, step->attributes);

		if (text)
			plist_dict_set_string(tree, name, text);
	}
	if (d->model->macos)
		add_user(tree);
	if (step->challenge)
		plist_dict_set_string(tree, "CHALLENGE", step->challenge);
	return tree;
}

plist *machine_info(const struct device *d, GBytes *token)
{
	plist *tree = plist_new_dict();
	struct attribute all[N_ATTRIBUTES];

	list_attributes(d, all);
	for (unsigned i = 0; i < N_ATTRIBUTES; i++)
		if (all[i].least <= OTA_USUAL && all[i].text)
			plist_dict_set_string(tree, all[i].name, all[i].text);
	if (token)
		plist_dict_set_data(tree, "PAIRING_TOKEN", g_bytes_get_data(token, NULL), g_bytes_get_size(token));
	return tree;
}

/* ---- the phases ---- */

bool ota_post(struct device *d, const char *url, const plist *attributes, const struct ota_step *step, struct sim_reply *ret, GError **error)
{
	const struct sim_identity *signer = step->signer ? step->signer : d->factory;
	g_autoptr(GBytes) content = device_format(attributes), body = NULL;
	struct sim_signing signing = {.others = step->others || step->signer ? step->others : d->factory_chain, .modern = step->modern, .without_certificates = step->without_certificates};
	struct sim_request request = {.method = "POST", .url = url, .content_type = SIGNED_TYPE, .user_agent = AGENT};

	if (!signer)
		return pom_fail(error, POM_ERR_USAGE, "this takes a factory identity, which the device lacks: --factory-ca DIR gives it one (\"pomona sim factory-ca --dir DIR\" makes the factory)");
	signing.key = signer->key;
	signing.cert = signer->cert;
	body = sim_sign_attached(&signing, content);
	request.body = body;
	d->last_status = 0;
	if (!sim_http_send(d->http, &request, ret, error))
		return false;
	d->last_status = ret->status;
	return true;
}

/* "CODE: the text of WHY"; a device shows the first. */
static bool refuse_answer(GError **error, int code, const GError *why)
{
	const char *domain = g_quark_to_string(why->domain);

	if (why->domain == POM_ERROR)
		return sim_refuse(error, OTA, code, "%s", why->message);
	return sim_refuse(error, OTA, code, "%s (%s %d)", why->message, domain, why->code);
}

bool ota_identity_parse(GBytes *bytes, struct sim_identity_payload *ret, GError **error)
{
	g_autoptr(GError) why = NULL;
	g_autoptr(sim_mobileconfig) profile = sim_mobileconfig_parse(bytes, NULL, &why);
	const plist *payloads = profile ? plist_dict_get(profile->tree, "PayloadContent") : NULL;

	*ret = (struct sim_identity_payload){0};
	if (!profile)
		return refuse_answer(error, BAD_IDENTITY, why);
	if (plist_count(payloads) != 1)
		return sim_refuse(error, OTA, BAD_IDENTITY, "the profile of phase 2 has %zu payloads: it must be the identity alone", plist_count(payloads));
	return sim_identity_payload_parse(plist_child(payloads, 0), ret, &why) || refuse_answer(error, BAD_IDENTITY, why);
}

static bool is_profile(const struct device *d, const struct sim_reply *reply, const char *what, GError **error)
{
	if (reply->status != 200)
		return device_refused(d, what, reply, error);
	return (reply->content_type && g_str_has_prefix(reply->content_type, PROFILE_TYPE)) ||
	       pom_fail(error, POM_ERR_PROFILE, "the answer to %s is of type %s, must be " PROFILE_TYPE, what, reply->content_type ? reply->content_type : "(none)");
}

const struct sim_identity *ota_take_identity(struct device *d, const struct sim_reply *reply, GError **error)
{
	g_auto(sim_identity_payload) source = {0};
	g_autofree char *serial = NULL;
	struct sim_identity *identity;

	if (!is_profile(d, reply, "phase 2", error) || !ota_identity_parse(reply->body, &source, error))
		return NULL;
	identity = device_obtain(d, &source, error);
	if (!identity)
		return NULL;
	g_ptr_array_add(d->identities, identity);
	serial = sim_cert_serial(identity->cert);
	device_say(d, "ota_identity", json_pack("{s:s, s:s}", "serial", serial, "by", source.pkcs12 ? "pkcs12" : "scep"), "phase 2: got an identity by %s (serial %s)",
	           source.pkcs12 ? "PKCS#12" : "SCEP", serial);
	return identity;
}

/* A device tells this apart from what else can be wrong with a profile. */
static bool check_final_type(GBytes *bytes, GError **error)
{
	g_autoptr(plist) tree = sim_mobileconfig_unwrap(bytes, NULL, NULL);
	const char *type = plist_get_string(plist_dict_get(tree, "PayloadType"));

	return !type || !strcmp(type, "Configuration") || sim_refuse(error, "MCInstallationErrorDomain", NOT_CONFIGURATION, "the final profile is of the PayloadType %s, must be Configuration", type);
}

bool ota_take_profile(struct device *d, const struct sim_reply *reply, GError **error)
{
	g_autoptr(GError) why = NULL;

	if (!is_profile(d, reply, "phase 3", error))
		return false;
	if (!check_final_type(reply->body, &why))
		return refuse_answer(error, BAD_FINAL_PROFILE, why);
	return device_take_profile(d, reply->body, &why) || refuse_answer(error, BAD_FINAL_PROFILE, why);
}

static bool run_phases(struct device *d, const ota_service *service, GError **error)
{
	struct ota_step step = {.challenge = service->challenge, .modern = d->modern_signature, .attributes = d->minimal ? OTA_MINIMAL : OTA_USUAL};
	g_autoptr(plist) first = ota_attributes(d, service, &step), second = NULL;
	g_auto(sim_reply) reply = {0};

	if (!ota_post(d, service->url, first, &step, &reply, error) || !(step.signer = ota_take_identity(d, &reply, error)))
		return false;
	step.challenge = NULL;
	second = ota_attributes(d, service, &step);
	return ota_post(d, service->url, second, &step, &reply, error) && ota_take_profile(d, &reply, error);
}

static ota_service *read_service(struct device *d, const plist *tree, const sim_certs *certs, GError **error)
{
	g_autoptr(ota_service) service = ota_service_parse(tree, error);
	g_autofree char *signer = sk_X509_num(certs) ? sim_cert_subject(sk_X509_value(certs, 0)) : NULL;

	if (service)
		device_say(d, "ota_service", json_pack("{s:s, s:s, s:s?, s:i}", "url", d->url, "post_url", service->url, "signer", signer, "n_attributes", (int)plist_count(service->attributes)),
		           "phase 1: the Profile Service at %s asks for %zu attributes (%s%s)", service->url, plist_count(service->attributes), signer ? "signed by " : "unsigned", signer ? signer : "");
	return g_steal_pointer(&service);
}

bool device_ota(struct device *d, GBytes *bytes, bool *ret_is_service, GError **error)
{
	g_autoptr(sim_certs) certs = NULL;
	g_autoptr(plist) tree = sim_mobileconfig_unwrap(bytes, &certs, error);
	g_autoptr(ota_service) service = NULL;

	if (!tree)
		return false;
	*ret_is_service = is_service(tree);
	if (!*ret_is_service)
		return true;
	service = read_service(d, tree, certs, error);
	return service && run_phases(d, service, error);
}

ota_service *ota_fetch(struct device *d, GError **error)
{
	const struct sim_request request = {.method = "GET", .url = d->url};
	g_auto(sim_reply) reply = {0};
	g_autoptr(sim_certs) certs = NULL;
	g_autoptr(plist) tree = NULL;

	if (!device_trust(d, error) || !sim_http_send(d->http, &request, &reply, error) || !is_profile(d, &reply, "the request for the Profile Service document", error))
		return NULL;
	tree = sim_mobileconfig_unwrap(reply.body, &certs, error);
	return tree ? read_service(d, tree, certs, error) : NULL;
}
