#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/device_internal.h"

#define CHECKIN_TYPE "application/x-apple-aspen-mdm-checkin"
#define REPORT_TYPE "application/x-apple-aspen-mdm; charset=UTF-8"

enum { UNLOCK_TOKEN_LEN = 2048, RETRY_FIRST_MS = 500, RETRY_MAX_MS = 30000, RETRIES_BOUNDED = 8, EXCERPT_MAX = 200 };

/* ---- messages ---- */

plist *device_message(const struct device *d, const char *type)
{
	plist *message = plist_new_dict();

	plist_dict_set_string(message, "MessageType", type);
	if (!strcmp(type, "Authenticate") || !strcmp(type, "TokenUpdate") || !strcmp(type, "CheckOut"))
		plist_dict_set_string(message, "Topic", d->profile->topic);
	device_set_ids(d, message);
	return message;
}

plist *device_authenticate_message(const struct device *d)
{
	plist *message = device_message(d, "Authenticate");

	if (d->minimal)
		return message;
	plist_dict_set_string(message, "BuildVersion", d->model->build);
	plist_dict_set_string(message, "OSVersion", d->model->os);
	plist_dict_set_string(message, "ProductName", d->model->product);
	/* What tells a device from all others is its user's own there. */
	if (!d->options->user_enrollment)
		plist_dict_set_string(message, "SerialNumber", d->serial);
	plist_dict_set_string(message, "DeviceName", d->name);
	plist_dict_set_string(message, "Model", d->model->model);
	plist_dict_set_string(message, "ModelName", d->model->family);
	if (d->model->kind == SIM_IPHONE && !d->options->user_enrollment)
		plist_dict_set_string(message, "IMEI", "35 000000 000000 0");
	return message;
}

plist *device_token_update_message(const struct device *d)
{
	plist *message = device_message(d, "TokenUpdate");
	uint8_t unlock[UNLOCK_TOKEN_LEN];

	plist_dict_set_data(message, "Token", d->token, sizeof(d->token));
	plist_dict_set_string(message, "PushMagic", d->speaks ? d->speaks->magic : d->magic);
	if (d->minimal)
		return message;
	plist_dict_set_boolean(message, "AwaitingConfiguration", false);
	if (d->model->macos)
		plist_dict_set_boolean(message, "NotOnConsole", false);
	if (d->model->has_unlock_token && !d->speaks && !d->options->user_enrollment) {
		pom_random_fill(pom_random_system(), unlock, sizeof(unlock));
		plist_dict_set_data(message, "UnlockToken", unlock, sizeof(unlock));
	}
	return message;
}

plist *device_report_message(const struct device *d, const char *status, const char *command_uuid)
{
	plist *message = plist_new_dict();

	if (command_uuid)
		plist_dict_set_string(message, "CommandUUID", command_uuid);
	plist_dict_set_string(message, "Status", status);
	device_set_ids(d, message);
	return message;
}

GBytes *device_format(const plist *message)
{
	g_autoptr(GError) error = NULL;
	GBytes *bytes = plist_format(message, &error);

	if (!bytes)
		g_error("%s", error->message);
	return bytes;
}

/* ---- sending ---- */

char *device_sign(const struct device *d, GBytes *body)
{
	return d->profile->sign_message ? sim_mdm_signature(d->key, d->cert, body, d->modern_signature) : NULL;
}

/* A device takes both for the end of its enrollment. */
static bool ends_enrollment(const struct sim_reply *reply)
{
	gsize len;
	const char *body = g_bytes_get_data(reply->body, &len);

	return reply->status == 401 || (reply->status == 403 && body && g_strstr_len(body, (gssize)len, "com.apple.unrecognized.device"));
}

bool device_put(struct device *d, enum device_channel channel, GBytes *body, const char *signature, struct sim_reply *ret, GError **error)
{
	bool checkin = channel == DEVICE_CHECKIN;
	struct sim_request request = {
		.method = "PUT", .url = checkin ? d->profile->checkin_url : d->profile->server_url, .content_type = checkin ? CHECKIN_TYPE : REPORT_TYPE,
		.signature = signature, .body = body, .with_identity = true,
	};

	d->last_status = 0;
	if (!sim_http_send(d->http, &request, ret, error))
		return false;
	d->last_status = ret->status;
	if (!ends_enrollment(ret))
		return true;
	d->gone = true;
	device_forget(d);
	device_say(d, "unenrolled", json_pack("{s:i}", "status", ret->status), "un-enrolled itself: the server answered %d", ret->status);
	return pom_fail(error, POM_ERR_ENROLLMENT_ENDED, "the server answered %d: a device un-enrolls itself then", ret->status);
}

bool device_tell(struct device *d, enum device_channel channel, const plist *message, struct sim_reply *ret, GError **error)
{
	g_autoptr(GBytes) body = device_format(message);
	g_autofree char *signature = device_sign(d, body);

	return device_put(d, channel, body, signature, ret, error);
}

bool device_refused(const struct device *d, const char *what, const struct sim_reply *reply, GError **error)
{
	gsize len;
	const char *body = g_bytes_get_data(reply->body, &len);
	g_autofree char *excerpt = g_strndup(body ? body : "", MIN(len, EXCERPT_MAX)), *text = g_utf8_make_valid(g_strstrip(excerpt), -1);

	return pom_fail(error, POM_ERR_CONFLICT, "the server answered %d to %s%s%s", reply->status, what, *text ? ": " : "", text);
}

static const char *name_of(const plist *message)
{
	const char *type = plist_get_string(plist_dict_get(message, "MessageType"));

	return type ? type : plist_get_string(plist_dict_get(message, "Status"));
}

/* A device that runs until it is stopped tries for ever. */
static bool may_retry(const struct device *d, unsigned n_tries)
{
	return !d->gone && !sim_stopped(d->options->stop) && (d->options->polls < 0 || n_tries < RETRIES_BOUNDED);
}

bool device_tell_until_heard(struct device *d, enum device_channel channel, const plist *message, struct sim_reply *ret, GError **error)
{
	unsigned pause_ms = RETRY_FIRST_MS;

	for (unsigned n = 1;; n++) {
		g_autoptr(GError) trouble = NULL;

		if (device_tell(d, channel, message, ret, &trouble) && ret->status < 500)
			return ret->status / 100 == 2 || device_refused(d, name_of(message), ret, error);
		if (!trouble)
			device_refused(d, name_of(message), ret, &trouble);
		if (may_retry(d, n)) {
			device_say(d, "retry", json_pack("{s:i, s:i}", "status", d->last_status, "after_ms", (int)pause_ms), "keeps its %s and tries again in %g s: %s",
			           name_of(message), pause_ms / 1000.0, trouble->message);
			if (sim_sleep_ms(d->options->stop, pause_ms)) {
				pause_ms = MIN(pause_ms * 2, RETRY_MAX_MS);
				continue;
			}
		}
		g_propagate_error(error, g_steal_pointer(&trouble));
		return false;
	}
}
