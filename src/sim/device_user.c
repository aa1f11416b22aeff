/* Users of Macs and Shared iPads, user enrollment, tokens for Managed Apple Accounts, Return to Service. */
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

#define SHARED_IPAD_USER "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"

/* A UUID that is always the same for NAME on this device, so that a device that is started again is itself. transfer full. */
static char *own_uuid(const struct device *d, const char *name)
{
	g_autofree char *seed = g_strdup_printf("%s %s", d->udid, name), *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1), *upper = g_ascii_strup(hash, -1);

	return g_strdup_printf("%.8s-%.4s-4%.3s-8%.3s-%.12s", upper, upper + 8, upper + 12, upper + 15, upper + 18);
}

struct sim_user *sim_user_new(const struct device *d, int64_t number)
{
	struct sim_user *user = g_new0(struct sim_user, 1);
	g_autofree char *name = g_strdup_printf("user-%" G_GINT64_FORMAT, number), *magic = g_strconcat("magic of ", name, NULL);
	bool shared = d->model->kind == SIM_IPAD;

	*user = (struct sim_user){
		.id = shared ? g_strdup(SHARED_IPAD_USER) : own_uuid(d, name), .short_name = shared ? g_strconcat(name, "@school.example", NULL) : g_strdup(name),
		.long_name = g_strdup_printf("User %" G_GINT64_FORMAT, number), .magic = own_uuid(d, magic),
	};
	return user;
}

void sim_user_free(void *data)
{
	struct sim_user *user = data;

	g_free(user->id);
	g_free(user->short_name);
	g_free(user->long_name);
	g_free(user->magic);
	g_free(user);
}

void device_set_ids(const struct device *d, plist *message)
{
	g_autofree char *enrollment_id = d->options->user_enrollment ? own_uuid(d, "enrollment") : NULL;

	plist_dict_set_string(message, enrollment_id ? "EnrollmentID" : "UDID", enrollment_id ? enrollment_id : d->udid);
	if (!d->speaks)
		return;
	plist_dict_set_string(message, enrollment_id ? "EnrollmentUserID" : "UserID", d->speaks->id);
	plist_dict_set_string(message, "UserShortName", d->speaks->short_name);
	plist_dict_set_string(message, "UserLongName", d->speaks->long_name);
}

/* ---- users ---- */

/* A user of the network logs in: whether the server manages him. A challenge with content would need his password. */
static bool authenticate_user(struct device *d, bool *ret_managed, GError **error)
{
	g_autoptr(plist) message = device_message(d, "UserAuthenticate"), answer = NULL;
	g_auto(sim_reply) reply = {0};
	const char *challenge = NULL;
	gsize len;
	const void *data;

	*ret_managed = false;
	if (!device_tell(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	if (reply.status == 410) {
		device_say(d, "user_declined", json_pack("{s:s}", "user", d->speaks->short_name), "UserAuthenticate of %s declined: the server does not manage this user", d->speaks->short_name);
		return true;
	}
	if (reply.status != 200)
		return device_refused(d, "UserAuthenticate", &reply, error);
	data = g_bytes_get_data(reply.body, &len);
	answer = plist_parse(data, len, NULL, error);
	if (!answer || !plist_take_string(answer, "UserAuthenticate", "DigestChallenge", PLIST_REQUIRED, &challenge, error))
		return false;
	if (*challenge)
		return pom_fail(error, POM_ERR_CONFLICT, "the server asks for a digest of the password of %s, which a simulated user does not have", d->speaks->short_name);
	*ret_managed = true;
	device_say(d, "user_authenticate", json_pack("{s:s}", "user", d->speaks->short_name), "UserAuthenticate of %s: no password is asked for", d->speaks->short_name);
	return true;
}

/* Logs USER in. He is the device's when the server manages him. */
static bool log_in(struct device *d, struct sim_user *user, bool of_network, GError **error)
{
	bool managed = true, ok;

	d->speaks = user;
	ok = (!of_network || authenticate_user(d, &managed, error)) && (!managed || device_update_token(d, error));
	d->speaks = NULL;
	if (ok && managed)
		g_ptr_array_add(d->users, user);
	else
		sim_user_free(user);
	return ok;
}

static bool log_in_all(struct device *d, GError **error)
{
	g_ptr_array_set_size(d->users, 0);
	/* The first user of a Mac is its own; so is the one of a user enrollment. */
	for (int64_t i = 1; i <= d->options->users; i++)
		if (!log_in(d, sim_user_new(d, i), d->model->macos && i > 1 && !d->options->user_enrollment, error))
			return false;
	return true;
}

bool device_connect_users(struct device *d, GError **error)
{
	bool ok = true;

	for (guint i = 0; ok && !d->gone && i < d->users->len; i++) {
		d->speaks = g_ptr_array_index(d->users, i);
		ok = device_connect(d, error);
	}
	d->speaks = NULL;
	return ok;
}

/* ---- tokens ---- */

static bool get_maid_token(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_message(d, "GetToken");
	g_auto(sim_reply) reply = {0};
	g_autoptr(GBytes) token = NULL;
	g_auto(GStrv) parts = NULL;
	g_autofree char *text = NULL;

	plist_dict_set_string(message, "TokenServiceType", "com.apple.maid");
	if (!device_tell(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	if (reply.status != 200)
		return device_refused(d, "GetToken", &reply, error);
	token = watch_read_token(&reply, error);
	if (!token)
		return false;
	text = g_strndup(g_bytes_get_data(token, NULL), g_bytes_get_size(token));
	parts = g_strsplit(text, ".", -1);
	if (g_strv_length(parts) != 3 || !*parts[0] || !*parts[1] || !*parts[2])
		return pom_fail(error, POM_ERR_CONFLICT, "TokenData is no JSON Web Token");
	device_say(d, "maid_token", NULL, "got a token for its Managed Apple Account");
	return true;
}

/* ---- Return to Service ---- */

/* Erased, it is enrolled again by PROFILE, with all that an enrollment is. */
static bool come_back(struct device *d, GBytes *profile, GError **error)
{
	g_ptr_array_set_size(d->users, 0);
	return device_take_profile(d, profile, error) && device_get_identity(d, error) && device_authenticate(d, error) && device_update_token(d, error) && device_save(d, error);
}

static bool return_to_service(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_message(d, "ReturnToService"), answer = NULL;
	g_auto(sim_reply) reply = {0};
	const plist *inner = NULL;
	const void *profile = NULL, *wifi = NULL, *token = NULL;
	size_t profile_len = 0, wifi_len = 0, token_len = 0;
	bool enabled = false;

	if (!device_tell_until_heard(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	answer = plist_parse(g_bytes_get_data(reply.body, NULL), g_bytes_get_size(reply.body), NULL, error);
	if (!answer || !plist_take_child(answer, "ReturnToService", "ReturnToService", PLIST_DICT, PLIST_REQUIRED, &inner, error) ||
	    !plist_take_boolean(inner, "ReturnToService", "Enabled", PLIST_REQUIRED, &enabled, error) ||
	    !plist_take_data(inner, "ReturnToService", "WiFiProfileData", PLIST_OPTIONAL, &wifi, &wifi_len, error) ||
	    !plist_take_data(inner, "ReturnToService", "MDMProfileData", PLIST_OPTIONAL, &profile, &profile_len, error) ||
	    !plist_take_data(inner, "ReturnToService", "BootstrapToken", PLIST_OPTIONAL, &token, &token_len, error))
		return false;
	device_say(d, "return_to_service", json_pack("{s:b, s:b, s:b, s:b}", "enabled", (int)enabled, "wifi", wifi != NULL, "profile", profile != NULL, "bootstrap_token", token != NULL),
	           enabled ? "Return to Service: %s" : "%s", enabled ? token ? "erases itself but for its apps" : "erases itself" : "Return to Service is not enabled");
	if (!enabled)
		return true;
	if (profile) {
		g_autoptr(GBytes) bytes = g_bytes_new(profile, profile_len);

		return come_back(d, bytes, error);
	}
	/* Without one its next profile is that of Automated Device Enrollment. */
	d->gone = true;
	device_forget(d);
	return true;
}

bool device_begin_users(struct device *d, GError **error)
{
	const struct sim_device_options *o = d->options;

	if (o->users && !d->model->macos && d->model->kind != SIM_IPAD)
		return pom_fail(error, POM_ERR_USAGE, "only Macs and iPads have users");
	return (!o->return_to_service || return_to_service(d, error)) && (d->gone || ((!o->maid || get_maid_token(d, error)) && log_in_all(d, error)));
}
