/* An Apple Watch that is paired with a supervised iPhone: its MDM answers the first request with a security token; the phone turns it into a pairing token with
 * GetToken at its own MDM; with that the watch gets its enrollment profile. The phone is the state directory of a simulated iPhone, which may be running. */
#include <string.h>

#include "base/error.h"
#include "codec/json.h"
#include "sim/device_internal.h"

#define TOKEN_MISSING "com.apple.watch.pairing.token.missing"

bool watch_ask(struct device *d, GBytes *token, struct sim_reply *ret, GError **error)
{
	g_autoptr(plist) info = machine_info(d, token);
	const struct ota_step step = {.modern = d->modern_signature, .attributes = OTA_USUAL};

	return ota_post(d, d->url, info, &step, ret, error);
}

char *watch_read_security_token(const struct sim_reply *reply, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len);
	g_autoptr(json_t) document = NULL;
	const char *code, *token;

	if (!reply->content_type || !g_str_has_prefix(reply->content_type, "application/json")) {
		pom_fail(error, POM_ERR_PROFILE, "the 403 document is of type %s, must be application/json", reply->content_type ? reply->content_type : "(none)");
		return NULL;
	}
	document = json_parse(data, len, error);
	if (!document)
		return NULL;
	code = json_string_value(json_object_get(document, "code"));
	token = json_string_value(json_object_get(json_object_get(document, "details"), "security-token"));
	if (!code || strcmp(code, TOKEN_MISSING))
		pom_fail(error, POM_ERR_PROFILE, "the 403 document has the code \"%s\", must have " TOKEN_MISSING, code ? code : "");
	else if (!token || !*token)
		pom_fail(error, POM_ERR_PROFILE, "the 403 document has no details.security-token");
	else
		return g_strdup(token);
	return NULL;
}

char *watch_security_token(struct device *d, GError **error)
{
	g_auto(sim_reply) reply = {0};
	char *token;

	if (!device_trust(d, error) || !watch_ask(d, NULL, &reply, error))
		return NULL;
	if (reply.status != 403) {
		device_refused(d, "the watch's request without a pairing token", &reply, error);
		return NULL;
	}
	token = watch_read_security_token(&reply, error);
	if (token)
		device_say(d, "security_token", NULL, "its MDM wants a pairing token, which its phone has to fetch");
	return token;
}

/* ---- the phone ---- */

plist *watch_token_message(const struct device *phone, const char *phone_udid, const char *watch_udid, const char *security_token)
{
	plist *message = device_message(phone, "GetToken"), *parameters = plist_new_dict();

	plist_dict_set_string(message, "TokenServiceType", "com.apple.watch.pairing");
	plist_dict_set_string(parameters, "SecurityToken", security_token);
	plist_dict_set_string(parameters, "PhoneUDID", phone_udid);
	plist_dict_set_string(parameters, "WatchUDID", watch_udid);
	plist_dict_set(message, "TokenParameters", parameters);
	return message;
}

GBytes *watch_read_token(const struct sim_reply *reply, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len), *token = NULL;
	g_autoptr(plist) tree = plist_parse(data, len, NULL, error);
	size_t token_len = 0;

	return tree && plist_take_data(tree, "GetToken", "TokenData", PLIST_REQUIRED, &token, &token_len, error) ? g_bytes_new(token, token_len) : NULL;
}

GBytes *watch_get_token(struct device *phone, const char *watch_udid, const char *security_token, GError **error)
{
	g_autoptr(plist) message = NULL;
	g_auto(sim_reply) reply = {0};

	if (!phone->supervised || !phone->profile->can_get_token) {
		pom_fail(error, POM_ERR_CONFLICT, phone->supervised ? "the phone's MDM payload has no ServerCapabilities com.apple.mdm.token: it does not ask for a pairing token"
		                                                    : "the phone is not supervised: it cannot bring a watch under management");
		return NULL;
	}
	message = watch_token_message(phone, phone->udid, watch_udid, security_token);
	if (!device_tell(phone, DEVICE_CHECKIN, message, &reply, error))
		return NULL;
	if (reply.status != 200) {
		device_refused(phone, "GetToken", &reply, error);
		return NULL;
	}
	device_say(phone, "get_token", json_pack("{s:s}", "watch", watch_udid), "got a pairing token for its watch %s", watch_udid);
	return watch_read_token(&reply, error);
}

/* The iPhone in the directory of --phone. transfer full. */
static struct device *open_phone(const struct device *watch, GError **error)
{
	g_autoptr(device) phone = NULL;
	bool found = false;

	if (!watch->options->phone_dir) {
		pom_fail(error, POM_ERR_USAGE, "a watch needs its phone: --phone DIR, the --state directory of a supervised simulated iPhone");
		return NULL;
	}
	phone = device_new(watch->options, "none", watch->options->phone_dir);
	device_become(phone, SIM_IPHONE);
	if (!device_load(phone, &found, error))
		return NULL;
	if (found && device_trust(phone, error)) {
		sim_http_set_identity(phone->http, phone->key, phone->cert);
		return g_steal_pointer(&phone);
	}
	if (!found)
		pom_fail(error, POM_ERR_USAGE, "%s holds no enrolled simulated iPhone", watch->options->phone_dir);
	return NULL;
}

/* PEM of certificates in DER or PEM, appended. */
static bool append_pin(GString *pem, const char *encoded, GError **error)
{
	gsize len;
	g_autofree guchar *data = g_base64_decode(encoded, &len);
	const uint8_t *p = data;
	X509 *cert;
	g_autofree char *text = NULL;

	if (len > 10 && !memcmp(data, "-----BEGIN", 10)) {
		g_string_append_len(pem, (const char *)data, (gssize)len);
		return true;
	}
	cert = d2i_X509(NULL, &p, (long)len);
	text = cert ? sim_cert_pem(cert) : NULL;
	X509_free(cert);
	if (!text)
		return pom_fail(error, POM_ERR_DECLARATION, "an anchor certificate of the phone's declaration cannot be read");
	g_string_append(pem, text);
	return true;
}

/* What the phone's declaration says: where the watch asks, and what it pins. */
static bool follow_phone(struct device *d, GError **error)
{
	g_autofree char *path = g_build_filename(d->options->phone_dir, SIM_WATCH_FILE, NULL), *text = NULL;
	g_autoptr(GString) pem = g_string_new(NULL);
	g_autoptr(json_t) told = NULL;
	const json_t *anchors;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, NULL))
		return pom_fail(error, POM_ERR_CONFLICT, "the phone has no active declaration for its watches");
	told = json_parse(text, len, error);
	if (!told)
		return false;
	anchors = json_object_get(told, "anchors");
	for (size_t i = 0; i < json_array_size(anchors); i++)
		if (!append_pin(pem, json_string_value(json_array_get(anchors, i)), error))
			return false;
	d->watch_url = g_strdup(json_string_value(json_object_get(told, "url")));
	d->url = d->watch_url;
	if (pem->len)
		d->watch_pins = g_strdup(pem->str);
	return true;
}

bool device_watch_profile(struct device *d, GError **error)
{
	g_autoptr(device) phone = open_phone(d, error);

	if (!phone || (!strcmp(d->url, "phone") && !follow_phone(d, error)))
		return false;
	g_autofree char *security_token = watch_security_token(d, error);
	g_autoptr(GBytes) token = security_token ? watch_get_token(phone, d->udid, security_token, error) : NULL;
	g_auto(sim_reply) reply = {0};

	if (!token || !watch_ask(d, token, &reply, error))
		return false;
	if (reply.status != 200)
		return device_refused(d, "the watch's request with its pairing token", &reply, error);
	return device_take_profile(d, reply.body, error);
}
