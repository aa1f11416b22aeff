/* ReturnToService: a supervised device asks what it needs to come back by itself after it has been erased. */
#include <openssl/crypto.h>
#include <string.h>

#include "service/checkin.h"
#include "service/enroll.h"
#include "service/library_device.h"

/* A device that asks in a loop must not make links without end. */
enum { ASK_AGAIN_MS = 60 * 1000 };

/* What counts for a device; strings borrow from the settings or LOAD. */
static bool load_wish(struct service *service, const char *enrollment_id, struct return_wish *ret, bool *ret_own, store_load **ret_load, GError **error)
{
	const struct return_settings *s = &service->settings.return_to_service;
	struct return_row row;

	if (!store_return_get(service->store, enrollment_id, &row, ret_load, error))
		return false;
	*ret_own = row.own;
	*ret = row.own ? (struct return_wish){row.enabled, row.mdm_profile, row.bootstrap_token, row.wifi_profile} : (struct return_wish){s->enabled, s->mdm_profile, s->bootstrap_token, s->wifi_profile};
	return true;
}

/* An enrollment profile with a link of its own, which only this device can use. transfer full. */
static GBytes *make_profile(struct service *service, const struct checkin_identity *who, const char *enrollment_id, GError **error)
{
	struct link_draft draft;
	struct link_load link = {0};
	struct subject subject = {0};
	g_autoptr(plist) tree = NULL;
	int64_t now_ms = service_now_ms(service);

	if (!store_return_answer(service->store, enrollment_id, now_ms, now_ms - ASK_AGAIN_MS, error))
		return NULL;
	service_link_draft(service, service->settings.link_ttl_s, false, &draft);
	draft.link.device_id = who->device_id;
	draft.link.device_name = "Return to Service";
	if (store_link_add(service->store, &draft.link, error) && service_link_load(service, draft.token, &subject, &link, error))
		tree = service_link_tree(service, &link, error);
	link_load_clear(&link);
	link_draft_clear(&draft);
	return tree ? service_profile_finish(service, tree, error) : NULL;
}

/* The token that this very epoch has escrowed; *RET NULL: none. transfer full. */
static bool open_bootstrap_token(struct service *service, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error)
{
	g_autofree char *row = g_strdup_printf("%s.%" G_GINT64_FORMAT, enrollment_id, epoch);
	g_autoptr(GBytes) sealed = NULL;

	if (!store_bootstrap_token_get(service->store, enrollment_id, epoch, &sealed, error))
		return false;
	*ret = sealed ? seal_open(&service->seal, "epoch", row, "bootstrap_token", sealed, error) : NULL;
	return *ret || !sealed;
}

static bool add_bytes(plist *dict, const char *key, GBytes *bytes)
{
	if (bytes)
		plist_dict_set_data(dict, key, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	return bytes != NULL;
}

static bool fill(struct service *service, const struct checkin_identity *who, const char *enrollment_id, int64_t epoch, const struct return_wish *wish, plist *to, GError **error)
{
	g_autoptr(GBytes) wifi = NULL, profile = NULL, token = NULL;

	plist_dict_set_boolean(to, "Enabled", wish->enabled);
	if (!wish->enabled)
		return true;
	if (wish->wifi_profile && !add_bytes(to, "WiFiProfileData", wifi = service_library_payload(service, enrollment_id, wish->wifi_profile, false, error)))
		return false;
	if (wish->mdm_profile && !add_bytes(to, "MDMProfileData", profile = make_profile(service, who, enrollment_id, error)))
		return false;
	if (wish->bootstrap_token && !open_bootstrap_token(service, enrollment_id, epoch, &token, error))
		return false;
	add_bytes(to, "BootstrapToken", token);
	return true;
}

static char *say(const plist *answer, const struct return_wish *wish)
{
	return g_strdup_printf("%s%s%s%s", wish->enabled ? "enabled" : "not enabled", plist_dict_get(answer, "WiFiProfileData") ? ", Wi-Fi profile" : "",
	                       plist_dict_get(answer, "MDMProfileData") ? ", enrollment profile" : "", plist_dict_get(answer, "BootstrapToken") ? ", bootstrap token" : "");
}

bool service_return_answer(struct service *service, const struct checkin_identity *who, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(plist) reply = plist_new_dict();
	plist *inner = plist_new_dict();
	struct return_wish wish;
	g_autofree char *said = NULL;
	GError *why = NULL;
	bool own;

	plist_dict_set(reply, "ReturnToService", inner);
	if (!load_wish(service, enrollment_id, &wish, &own, &load, error))
		return false;
	if (!fill(service, who, enrollment_id, epoch, &wish, inner, &why)) {
		/* Whatever is missing here is for administrators to mend: the device keeps asking. */
		pom_fail(error, POM_ERR_RETURN_TO_SERVICE, "ReturnToService cannot be answered: %s", why->message);
		g_error_free(why);
		return false;
	}
	said = say(inner, &wish);
	if (!store_checkin_event(service->store, enrollment_id, "ReturnToService", said, service_now_ms(service),
	                         AUDIT("device", "return-to-service.answer", enrollment_id, audit_detail("answer", said, "wifi_profile", wish.enabled ? wish.wifi_profile : NULL, NULL)), error))
		return false;
	*ret = plist_format(reply, error);
	return *ret != NULL;
}

/* ---- what administrators set ---- */

static json_t *wish_json(const char *id, const struct return_wish *wish, bool own)
{
	json_t *o = json_pack("{s:s, s:b, s:b, s:b, s:s}", "id", id, "enabled", wish->enabled, "mdm_profile", wish->mdm_profile, "bootstrap_token", wish->bootstrap_token, "from", own ? "device" : "settings");

	json_set_text(o, "wifi_profile", wish->wifi_profile);
	return o;
}

json_t *service_return_show(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL, wish_load = NULL;
	struct enrollment_row row;
	struct return_wish wish;
	bool own;

	if (!store_enrollment_get(service->store, id, &row, &load, error) || !load_wish(service, row.id, &wish, &own, &wish_load, error))
		return NULL;
	return wish_json(row.id, &wish, own);
}

/* That the library has it now. */
static bool check_wifi(struct service *service, const char *profile, GError **error)
{
	struct library_opened opened;

	if (!library_open(service, profile, 0, &opened, error))
		return false;
	library_opened_clear(&opened);
	return true;
}

json_t *service_return_set(struct service *service, const char *actor, const char *id, const struct return_wish *wish, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	struct return_row own = {0};

	if (!store_enrollment_get(service->store, id, &row, &load, error))
		return NULL;
	if (row.parent_id || row.kind != ENROLLMENT_DEVICE) {
		pom_fail(error, POM_ERR_CONFLICT, "%s is %s: only devices return to service", row.id, row.parent_id ? "a user" : "a user's own device");
		return NULL;
	}
	if (wish)
		own = (struct return_row){true, wish->enabled, wish->mdm_profile, wish->bootstrap_token, wish->wifi_profile};
	if ((own.wifi_profile && !check_wifi(service, own.wifi_profile, error)) ||
	    !store_return_put(service->store, row.id, &own, service_now_ms(service),
	                      AUDIT(actor, "return-to-service.set", row.id, audit_detail("enabled", !wish ? "as the settings say" : wish->enabled ? "true" : "false", "wifi_profile", own.wifi_profile,
	                                                                                 "mdm_profile", own.mdm_profile ? "true" : NULL, "bootstrap_token", own.bootstrap_token ? "true" : NULL, NULL)), error))
		return NULL;
	return service_return_show(service, row.id, error);
}
