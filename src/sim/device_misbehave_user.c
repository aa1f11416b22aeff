/* Users, tokens and Return to Service: what must be refused. */
#include "sim/device_misbehave.h"

static bool tell(struct device *d, enum device_channel channel, plist *message, const char *what, int wanted, GError **error)
{
	g_autoptr(plist) owned = message;
	g_auto(sim_reply) reply = {0};

	return device_tell(d, channel, owned, &reply, error) && misbehavior_check(d, what, reply.status, wanted, error);
}

/* MESSAGE of the first user's channel; FORM makes it. */
static bool tell_as_user(struct device *d, enum device_channel channel, const char *type, const char *what, int wanted, GError **error)
{
	struct sim_user *user = sim_user_new(d, 1);
	bool ok;

	d->speaks = user;
	ok = tell(d, channel, channel == DEVICE_REPORT ? device_report_message(d, "Idle", NULL) : g_str_equal(type, "TokenUpdate") ? device_token_update_message(d) : device_message(d, type), what, wanted, error);
	d->speaks = NULL;
	sim_user_free(user);
	return ok;
}

bool user_early(struct device *d, struct device *other, GError **error)
{
	device_become(d, SIM_MAC);
	return device_fetch_profile(d, error) && device_get_identity(d, error) && tell_as_user(d, DEVICE_CHECKIN, "TokenUpdate", "a user's TokenUpdate before Authenticate", 403, error) &&
	       device_authenticate(d, error) && tell_as_user(d, DEVICE_CHECKIN, "TokenUpdate", "a user's TokenUpdate before the Mac's", 403, error) && device_update_token(d, error) &&
	       tell_as_user(d, DEVICE_CHECKIN, "TokenUpdate", "a user's TokenUpdate after it", 200, error);
}

bool user_of_phone(struct device *d, struct device *other, GError **error)
{
	device_become(d, SIM_IPHONE);
	return device_enroll(d, error) && tell_as_user(d, DEVICE_CHECKIN, "TokenUpdate", "the TokenUpdate of a user of an iPhone", 400, error) &&
	       tell_as_user(d, DEVICE_REPORT, NULL, "that user's Idle", 403, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

bool user_after_check_out(struct device *d, struct device *other, GError **error)
{
	device_become(d, SIM_MAC);
	return device_enroll(d, error) && tell_as_user(d, DEVICE_CHECKIN, "TokenUpdate", "a user's TokenUpdate", 200, error) && tell_as_user(d, DEVICE_REPORT, NULL, "that user's Idle", 200, error) &&
	       tell_as_user(d, DEVICE_CHECKIN, "CheckOut", "that user's CheckOut", 200, error) && tell_as_user(d, DEVICE_REPORT, NULL, "that user's Idle after it", 403, error) &&
	       misbehavior_idle(d, "the Mac's Idle", 200, error);
}

bool token_service(struct device *d, struct device *other, GError **error)
{
	static const char *const services[] = {"com.example.nobody", ""};

	if (!device_enroll(d, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(services); i++) {
		plist *message = device_message(d, "GetToken");

		plist_dict_set_string(message, "TokenServiceType", services[i]);
		if (!tell(d, DEVICE_CHECKIN, message, "GetToken of an unknown service", 400, error))
			return false;
	}
	return tell(d, DEVICE_CHECKIN, device_message(d, "GetToken"), "GetToken without a service", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

bool declarations_early(struct device *d, struct device *other, GError **error)
{
	plist *early, *empty;

	if (!device_fetch_profile(d, error) || !device_get_identity(d, error) || !device_authenticate(d, error))
		return false;
	early = device_message(d, "DeclarativeManagement");
	plist_dict_set_string(early, "Endpoint", "tokens");
	if (!tell(d, DEVICE_CHECKIN, early, "DeclarativeManagement before TokenUpdate", 403, error) || !device_update_token(d, error))
		return false;
	empty = device_message(d, "DeclarativeManagement");
	plist_dict_set_string(empty, "Endpoint", "");
	return tell(d, DEVICE_CHECKIN, empty, "DeclarativeManagement without an endpoint", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

bool others_return(struct device *d, struct device *other, GError **error)
{
	plist *message;

	if (!device_enroll(d, error) || !device_enroll(other, error))
		return false;
	message = device_message(d, "ReturnToService");
	plist_dict_set_string(message, "UDID", other->udid);
	return tell(d, DEVICE_CHECKIN, message, "ReturnToService of another device", 403, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

bool user_of_return(struct device *d, struct device *other, GError **error)
{
	device_become(d, SIM_IPAD);
	return device_enroll(d, error) && tell_as_user(d, DEVICE_CHECKIN, "ReturnToService", "ReturnToService of a user", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}
