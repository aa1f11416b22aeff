#include "core/checkin.h"

#include <string.h>

#include "core/command_table.h"

#define SHARED_IPAD_USER "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"

static const char *const type_names[CHECKIN_TYPE_MAX] = {
	"Authenticate", "TokenUpdate", "CheckOut", "UserAuthenticate", "SetBootstrapToken", "GetBootstrapToken", "GetToken", "DeclarativeManagement", "ReturnToService",
};
static const char *const kind_names[ENROLLMENT_KIND_MAX] = {"device", "user", "shared-ipad", "user-enrollment-device", "user-enrollment"};
static const char *const state_names[ENROLLMENT_STATE_MAX] = {"pending", "enrolled", "ended"};

const char *checkin_type_name(enum checkin_type type)
{
	return type_names[type];
}

const char *enrollment_kind_name(enum enrollment_kind kind)
{
	return kind < ENROLLMENT_KIND_MAX ? kind_names[kind] : "?";
}

const char *enrollment_state_name(enum enrollment_state state)
{
	return state < ENROLLMENT_STATE_MAX ? state_names[state] : "?";
}

/* An identifier that may become a key of a row. */
static bool take_id(const plist *message, const char *path, const char *key, const char **ret, GError **error)
{
	if (!plist_take_string(message, path, key, PLIST_OPTIONAL, ret, error))
		return false;
	if (*ret && (!**ret || strlen(*ret) > CHECKIN_ID_MAX))
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "%s.%s must have 1 to %d bytes", path, key, CHECKIN_ID_MAX);
	return true;
}

/* A text that is kept and shown. */
static bool take_text(const plist *message, const char *path, const char *key, const char **ret, GError **error)
{
	if (!plist_take_string(message, path, key, PLIST_OPTIONAL, ret, error))
		return false;
	if (*ret && strlen(*ret) > CHECKIN_TEXT_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "%s.%s is longer than %d bytes", path, key, CHECKIN_TEXT_MAX);
	return true;
}

static bool parse_user(const plist *message, const char *path, struct checkin_identity *who, const char *enrollment_user, GError **error)
{
	if (who->kind == ENROLLMENT_USER_DEVICE) {
		if (enrollment_user) {
			who->kind = ENROLLMENT_USER_USER;
			who->user_part = enrollment_user;
		}
		return true;
	}
	if (!who->user_id)
		return true;
	if (g_ascii_strcasecmp(who->user_id, SHARED_IPAD_USER)) {
		who->kind = ENROLLMENT_USER;
		who->user_part = who->user_id;
		return true;
	}
	if (!who->user_short_name || !*who->user_short_name || strlen(who->user_short_name) > CHECKIN_ID_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "%s.UserShortName is missing or too long: it names the Shared iPad user", path);
	who->kind = ENROLLMENT_SHARED_IPAD;
	who->user_part = who->user_short_name;
	return true;
}

bool checkin_identity_parse(const plist *message, const char *path, struct checkin_identity *ret, GError **error)
{
	struct checkin_identity who = {.user_part = "", .kind = ENROLLMENT_DEVICE};
	const char *udid = NULL, *enrollment_id = NULL, *enrollment_user = NULL;

	if (plist_get_type(message) != PLIST_DICT)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "the message must be a dictionary");
	if (!take_id(message, path, "UDID", &udid, error) || !take_id(message, path, "EnrollmentID", &enrollment_id, error) ||
	    !take_id(message, path, "UserID", &who.user_id, error) || !take_id(message, path, "EnrollmentUserID", &enrollment_user, error) ||
	    !take_text(message, path, "UserShortName", &who.user_short_name, error) || !take_text(message, path, "UserLongName", &who.user_long_name, error))
		return false;
	if (!udid && !enrollment_id)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "%s has neither UDID nor EnrollmentID", path);
	who.device_id = udid ? udid : enrollment_id;
	if (!udid)
		who.kind = ENROLLMENT_USER_DEVICE;
	if (!parse_user(message, path, &who, enrollment_user, error))
		return false;
	*ret = who;
	return true;
}

static bool parse_authenticate(const plist *message, struct checkin_message *m, GError **error)
{
	struct {
		const char *key, **ret;
	} const keys[] = {
		{"SerialNumber", &m->serial}, {"ProductName", &m->product_name}, {"Model", &m->model}, {"ModelName", &m->model_name},
		{"DeviceName", &m->device_name}, {"OSVersion", &m->os_version}, {"BuildVersion", &m->build_version}, {"IMEI", &m->imei}, {"MEID", &m->meid},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (!take_text(message, "Authenticate", keys[i].key, keys[i].ret, error))
			return false;
	return plist_take_string(message, "Authenticate", "Topic", PLIST_REQUIRED, &m->topic, error);
}

/* What is left out says nothing. */
static bool take_awaiting(const plist *message, const char *path, struct checkin_message *m, GError **error)
{
	m->has_awaiting_configuration = plist_dict_get(message, "AwaitingConfiguration") != NULL;
	return plist_take_boolean(message, path, "AwaitingConfiguration", PLIST_OPTIONAL, &m->awaiting_configuration, error);
}

static bool parse_token_update(const plist *message, struct checkin_message *m, GError **error)
{
	static const char path[] = "TokenUpdate";

	if (!plist_take_data(message, path, "Token", PLIST_REQUIRED, &m->token, &m->token_len, error) ||
	    !plist_take_string(message, path, "PushMagic", PLIST_REQUIRED, &m->push_magic, error) ||
	    !plist_take_string(message, path, "Topic", PLIST_REQUIRED, &m->topic, error) ||
	    !plist_take_data(message, path, "UnlockToken", PLIST_OPTIONAL, &m->unlock_token, &m->unlock_token_len, error) ||
	    !plist_take_boolean(message, path, "NotOnConsole", PLIST_OPTIONAL, &m->not_on_console, error) || !take_awaiting(message, path, m, error))
		return false;
	m->has_not_on_console = plist_dict_get(message, "NotOnConsole") != NULL;
	if (!m->token_len || m->token_len > CHECKIN_TOKEN_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "TokenUpdate.Token must have 1 to %d bytes", CHECKIN_TOKEN_MAX);
	if (!*m->push_magic || strlen(m->push_magic) > CHECKIN_TOKEN_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "TokenUpdate.PushMagic must have 1 to %d bytes", CHECKIN_TOKEN_MAX);
	if (m->unlock_token_len > CHECKIN_SECRET_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "TokenUpdate.UnlockToken is larger than %d bytes", CHECKIN_SECRET_MAX);
	return true;
}

static bool parse_bootstrap_token(const plist *message, struct checkin_message *m, GError **error)
{
	if (!plist_take_data(message, "SetBootstrapToken", "BootstrapToken", PLIST_OPTIONAL, &m->bootstrap_token, &m->bootstrap_token_len, error) ||
	    !take_awaiting(message, "SetBootstrapToken", m, error))
		return false;
	if (m->bootstrap_token_len > CHECKIN_SECRET_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "SetBootstrapToken.BootstrapToken is larger than %d bytes", CHECKIN_SECRET_MAX);
	return true;
}

/* A required text that is compared with an identifier or a secret. */
static bool take_parameter(const plist *parameters, const char *key, const char **ret, GError **error)
{
	if (!plist_take_string(parameters, "GetToken.TokenParameters", key, PLIST_REQUIRED, ret, error))
		return false;
	if (!**ret || strlen(*ret) > CHECKIN_ID_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "GetToken.TokenParameters.%s must have 1 to %d bytes", key, CHECKIN_ID_MAX);
	return true;
}

static bool parse_get_token(const plist *message, struct checkin_message *m, GError **error)
{
	const plist *parameters = NULL;
	bool is_watch;

	if (!plist_take_string(message, "GetToken", "TokenServiceType", PLIST_REQUIRED, &m->token_service, error))
		return false;
	is_watch = !strcmp(m->token_service, CHECKIN_SERVICE_WATCH);
	if (!plist_take_child(message, "GetToken", "TokenParameters", PLIST_DICT, is_watch ? PLIST_REQUIRED : PLIST_OPTIONAL, &parameters, error))
		return false;
	return !is_watch || (take_parameter(parameters, "SecurityToken", &m->security_token, error) && take_parameter(parameters, "PhoneUDID", &m->phone_udid, error) &&
	                     take_parameter(parameters, "WatchUDID", &m->watch_udid, error));
}

static bool parse_declarative(const plist *message, struct checkin_message *m, GError **error)
{
	static const char path[] = "DeclarativeManagement";

	if (!plist_take_string(message, path, "Endpoint", PLIST_REQUIRED, &m->endpoint, error) ||
	    !plist_take_data(message, path, "Data", PLIST_OPTIONAL, &m->data, &m->data_len, error))
		return false;
	if (!*m->endpoint || strlen(m->endpoint) > CHECKIN_TEXT_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "DeclarativeManagement.Endpoint must have 1 to %d bytes", CHECKIN_TEXT_MAX);
	return true;
}

/* Of Macs alone: the identifiers have said which user. */
static bool parse_user_authenticate(const plist *message, struct checkin_message *m, GError **error)
{
	if (m->who.kind != ENROLLMENT_USER)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "UserAuthenticate must have UDID and UserID, of a user of a Mac");
	return plist_take_string(message, "UserAuthenticate", "DigestResponse", PLIST_OPTIONAL, &m->digest_response, error);
}

static bool parse_return_to_service(struct checkin_message *m, GError **error)
{
	if (m->who.kind == ENROLLMENT_DEVICE)
		return true;
	return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "ReturnToService must have UDID, and name no user: it is of supervised devices");
}

static bool parse_by_type(const plist *message, struct checkin_message *m, GError **error)
{
	switch (m->type) {
	case CHECKIN_AUTHENTICATE:
		return parse_authenticate(message, m, error);
	case CHECKIN_TOKEN_UPDATE:
		return parse_token_update(message, m, error);
	case CHECKIN_SET_BOOTSTRAP_TOKEN:
		return parse_bootstrap_token(message, m, error);
	case CHECKIN_USER_AUTHENTICATE:
		return parse_user_authenticate(message, m, error);
	case CHECKIN_GET_BOOTSTRAP_TOKEN:
		return take_awaiting(message, "GetBootstrapToken", m, error);
	case CHECKIN_RETURN_TO_SERVICE:
		return parse_return_to_service(m, error);
	case CHECKIN_GET_TOKEN:
		return parse_get_token(message, m, error);
	case CHECKIN_DECLARATIVE_MANAGEMENT:
		return parse_declarative(message, m, error);
	case CHECKIN_CHECK_OUT:
		return plist_take_string(message, "CheckOut", "Topic", PLIST_OPTIONAL, &m->topic, error);
	case CHECKIN_TYPE_MAX:
		break;
	}
	return true;
}

bool checkin_message_parse(const plist *message, struct checkin_message *ret, GError **error)
{
	struct checkin_message m = {.type = CHECKIN_TYPE_MAX};
	const char *name = NULL;

	if (plist_get_type(message) != PLIST_DICT)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "the check-in message must be a dictionary");
	if (!plist_take_string(message, "check-in", "MessageType", PLIST_REQUIRED, &name, error))
		return false;
	for (int i = 0; i < CHECKIN_TYPE_MAX; i++)
		if (!strcmp(name, type_names[i]))
			m.type = i;
	if (m.type == CHECKIN_TYPE_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_TYPE, "MessageType \"%.64s\" is not served", name);
	if (!checkin_identity_parse(message, name, &m.who, error) || !parse_by_type(message, &m, error))
		return false;
	m.who.serial = m.serial;
	*ret = m;
	return true;
}

static bool check_certificate(const struct certificate_facts *certificate, int64_t now_ms, int64_t grace_ms, GError **error)
{
	if (!certificate->known || certificate->state == CERTIFICATE_RESERVED)
		return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "the certificate is not in the register of this server");
	if (certificate->state == CERTIFICATE_REVOKED)
		return pom_fail(error, POM_ERR_CERT_REVOKED, "certificate %s has been revoked", certificate->serial);
	if (certificate->ota_link_id)
		return pom_fail(error, POM_ERR_OTA_TRANSPORT, "certificate %s was given to fetch the profile of link %s over the air: the device must use the identity that is in that profile", certificate->serial, certificate->ota_link_id);
	if (now_ms < certificate->not_before_ms || now_ms > certificate->not_after_ms + grace_ms)
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "certificate %s is not valid now", certificate->serial);
	return true;
}

bool checkin_is_expired(const struct certificate_facts *certificate, int64_t now_ms)
{
	return now_ms > certificate->not_after_ms;
}

bool checkin_is_renewal(const struct certificate_facts *certificate, const struct enrollment_facts *device)
{
	return certificate->known && certificate->state == CERTIFICATE_ISSUED && !certificate->enrollment_id && certificate->for_enrollment_id && device->known &&
	       !strcmp(certificate->for_enrollment_id, device->id) && device->state != ENROLLMENT_ENDED &&
	       (certificate->for_epoch == device->active_epoch || certificate->for_epoch == device->pending_epoch);
}

bool checkin_check_identity(const struct certificate_facts *certificate, const struct enrollment_facts *device, int64_t now_ms, int64_t *ret_epoch, GError **error)
{
	if (!check_certificate(certificate, now_ms, certificate->grace_ms, error))
		return false;
	if (certificate->enrollment_id && (!device->known || strcmp(certificate->enrollment_id, device->id)))
		return pom_fail(error, POM_ERR_IDENTITY_FOREIGN, "certificate %s belongs to enrollment %s", certificate->serial, certificate->enrollment_id);
	if (!certificate->enrollment_id || !device->known)
		return pom_fail(error, POM_ERR_ENROLLMENT_UNKNOWN, "certificate %s has not been used to authenticate: the device must enroll first", certificate->serial);
	if (device->state == ENROLLMENT_ENDED)
		return pom_fail(error, POM_ERR_ENROLLMENT_ENDED, "enrollment %s has ended (checked out)", device->id);
	if (certificate->epoch != device->active_epoch && certificate->epoch != device->pending_epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_ENDED, "certificate %s belongs to an earlier enrollment of this device", certificate->serial);
	*ret_epoch = certificate->epoch;
	return true;
}

static bool check_topic(const char *topic, const struct checkin_facts *facts, GError **error)
{
	for (const char *const *t = facts->topics; t && *t; t++)
		if (!strcmp(*t, topic))
			return true;
	return pom_fail(error, POM_ERR_TOPIC, "Topic \"%.128s\" is not that of a push certificate of this server", topic);
}

static bool decide_authenticate(const struct checkin_message *message, const struct checkin_facts *facts, int64_t now_ms, struct checkin_plan *plan, GError **error)
{
	const struct certificate_facts *certificate = &facts->certificate;
	const struct enrollment_facts *device = &facts->device;

	if (*message->who.user_part)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "Authenticate is for the device channel, this one names a user");
	if (certificate->device_id && strcmp(certificate->device_id, message->who.device_id) && g_strcmp0(certificate->device_id, message->serial))
		return pom_fail(error, POM_ERR_IDENTITY_FOREIGN, "certificate %s was issued for device %s", certificate->serial, certificate->device_id);
	if (!check_certificate(certificate, now_ms, 0, error) || !check_topic(message->topic, facts, error))
		return false;
	if (certificate->enrollment_id) {
		if (!device->known || strcmp(certificate->enrollment_id, device->id))
			return pom_fail(error, POM_ERR_IDENTITY_FOREIGN, "certificate %s belongs to enrollment %s", certificate->serial, certificate->enrollment_id);
		if (certificate->epoch == device->pending_epoch && device->state != ENROLLMENT_ENDED) {
			*plan = (struct checkin_plan){.action = CHECKIN_DO_REFRESH, .epoch = certificate->epoch};
			return true;
		}
		if (certificate->epoch != device->last_epoch && certificate->epoch != device->active_epoch)
			return pom_fail(error, POM_ERR_ENROLLMENT_ENDED, "certificate %s belongs to an earlier enrollment of this device", certificate->serial);
	} else if (!certificate->may_enroll) {
		return pom_fail(error, POM_ERR_ENROLLMENT_UNKNOWN, "certificate %s was not issued for an enrollment", certificate->serial);
	}
	if (!device->known) {
		*plan = (struct checkin_plan){.action = CHECKIN_DO_CREATE, .epoch = 1};
		return true;
	}
	*plan = (struct checkin_plan){.action = CHECKIN_DO_NEW_EPOCH, .epoch = device->last_epoch + 1, .ends_epoch = device->pending_epoch};
	/* The same certificate proves the same device: nothing of the old epoch needs protection from it. */
	if (device->active_epoch && certificate->enrollment_id && certificate->epoch == device->active_epoch) {
		plan->ends_epoch = device->active_epoch;
		plan->ends_at_once = true;
	}
	return true;
}

/* Macs have users, and Shared iPads: what is known to be another device is no user. */
static bool check_user_channel(enum enrollment_kind kind, const struct enrollment_facts *device, GError **error)
{
	enum platform platform = platform_of(device->product_name, NULL);
	bool is_ipad = platform == PLATFORM_IOS && g_str_has_prefix(device->product_name, "iPad");

	if (platform == PLATFORM_MAX || (kind == ENROLLMENT_SHARED_IPAD ? is_ipad : platform == PLATFORM_MACOS))
		return true;
	return pom_fail(error, POM_ERR_USER_CHANNEL, kind == ENROLLMENT_SHARED_IPAD ? "%s has no Shared iPad users" : "%s has no users of its own: only Macs have them", device->product_name);
}

static bool decide_token_update(const struct checkin_message *message, const struct checkin_facts *facts, int64_t epoch, struct checkin_plan *plan, GError **error)
{
	const struct enrollment_facts *device = &facts->device;
	bool pending = epoch == device->pending_epoch;
	const char *topic = pending ? device->pending_topic : device->active_topic;

	if (topic && !*topic) {
		if (!check_topic(message->topic, facts, error))
			return false;
	} else if (topic && strcmp(topic, message->topic))
		return pom_fail(error, POM_ERR_TOPIC, "TokenUpdate.Topic \"%.128s\" is not that of the Authenticate before it (%s)", message->topic, topic);
	if (*message->who.user_part) {
		if (pending)
			return pom_fail(error, POM_ERR_ENROLLMENT_PENDING, "the user channel came before the device's own TokenUpdate");
		if (!check_user_channel(message->who.kind, device, error))
			return false;
		*plan = (struct checkin_plan){.action = CHECKIN_DO_USER_TOKEN, .epoch = epoch};
		return true;
	}
	*plan = (struct checkin_plan){.action = pending ? CHECKIN_DO_ACTIVATE : CHECKIN_DO_TOKEN, .epoch = epoch, .ends_epoch = pending ? device->active_epoch : 0};
	return true;
}

/* A CheckOut whose answer was lost comes again after the enrollment has ended. */
static bool is_repeated_check_out(const struct checkin_message *message, const struct checkin_facts *facts)
{
	const struct certificate_facts *certificate = &facts->certificate;

	return message->type == CHECKIN_CHECK_OUT && facts->device.known && facts->device.state == ENROLLMENT_ENDED && certificate->enrollment_id &&
	       !strcmp(certificate->enrollment_id, facts->device.id) && certificate->epoch == facts->device.last_epoch;
}

static void decide_check_out(const struct checkin_message *message, const struct checkin_facts *facts, int64_t epoch, struct checkin_plan *plan)
{
	if (*message->who.user_part) {
		plan->action = facts->user.known && facts->user.active_epoch == epoch ? CHECKIN_DO_USER_CHECK_OUT : CHECKIN_DO_NOTHING;
		return;
	}
	plan->action = CHECKIN_DO_CHECK_OUT;
	plan->ends_epoch = epoch;
	/* Whoever holds a link can get a pending epoch: it must not end the active one. */
	plan->ends_enrollment = epoch == facts->device.active_epoch || !facts->device.active_epoch;
}

/* Only what the device itself asks, once it has enrolled, and with an identity that has not ended. */
static bool decide_get_token(const struct checkin_message *message, const struct checkin_facts *facts, int64_t epoch, int64_t now_ms, struct checkin_plan *plan, GError **error)
{
	bool is_maid = !strcmp(message->token_service, CHECKIN_SERVICE_MAID);

	if (!is_maid && strcmp(message->token_service, CHECKIN_SERVICE_WATCH))
		return pom_fail(error, POM_ERR_TOKEN_SERVICE, "TokenServiceType \"%.64s\" is not offered, only " CHECKIN_SERVICE_WATCH " and " CHECKIN_SERVICE_MAID, message->token_service);
	if (is_maid && !facts->policy.maid)
		return pom_fail(error, POM_ERR_MAID_OFF, "a device asked for a " CHECKIN_SERVICE_MAID " token: set checkin.maid_key and checkin.maid_server_uuid to those of your server token of Apple Business Manager");
	if (checkin_is_expired(&facts->certificate, now_ms))
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "certificate %s has ended: until it is renewed the device gets no tokens", facts->certificate.serial);
	if (epoch != facts->device.active_epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_PENDING, "GetToken came before the first TokenUpdate");
	plan->action = is_maid ? CHECKIN_DO_GET_MAID : CHECKIN_DO_GET_TOKEN;
	return true;
}

static bool decide_user_authenticate(const struct checkin_message *message, const struct checkin_facts *facts, int64_t epoch, struct checkin_plan *plan, GError **error)
{
	if (epoch != facts->device.active_epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_PENDING, "UserAuthenticate came before the device's own TokenUpdate");
	if (!check_user_channel(message->who.kind, &facts->device, error))
		return false;
	if (!facts->policy.ask_user)
		return pom_fail(error, POM_ERR_USER_DECLINED, "users of network accounts are not managed (checkin.user_authenticate is decline)");
	/* No password is asked for, so there is nothing in a second message to be looked at. */
	plan->action = message->digest_response ? CHECKIN_DO_NOTHING : CHECKIN_DO_CHALLENGE_USER;
	return true;
}

/* It is erased for what it is answered, and may be given secrets for that: only the epoch that is live, by an identity that has not ended. */
static bool decide_return_to_service(const struct checkin_facts *facts, int64_t epoch, int64_t now_ms, struct checkin_plan *plan, GError **error)
{
	if (checkin_is_expired(&facts->certificate, now_ms))
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "certificate %s has ended: until it is renewed the device is not returned to service", facts->certificate.serial);
	if (epoch != facts->device.active_epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_PENDING, "ReturnToService came before the first TokenUpdate");
	plan->action = CHECKIN_DO_RETURN_TO_SERVICE;
	return true;
}

/* The channel must be live: declarations belong to its epoch, and an identity that has ended is only to be renewed. */
static bool decide_declarative(const struct checkin_message *message, const struct checkin_facts *facts, int64_t epoch, int64_t now_ms, struct checkin_plan *plan, GError **error)
{
	if (checkin_is_expired(&facts->certificate, now_ms))
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "certificate %s has ended: until it is renewed the device gets no declarations", facts->certificate.serial);
	if (epoch != facts->device.active_epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_PENDING, "DeclarativeManagement came before the first TokenUpdate");
	if (*message->who.user_part && (!facts->user.known || facts->user.active_epoch != epoch))
		return pom_fail(error, POM_ERR_ENROLLMENT_UNKNOWN, "the user channel of \"%.64s\" has not sent a TokenUpdate", message->who.user_part);
	plan->action = CHECKIN_DO_DECLARATIVE;
	return true;
}

bool checkin_check_blocked(const struct checkin_facts *facts, GError **error)
{
	if (!facts->blocked)
		return true;
	return pom_fail(error, facts->blocked_out ? POM_ERR_DEVICE_BLOCKED_OUT : POM_ERR_DEVICE_BLOCKED, "the device is blocked%s%.200s (\"device unblock\" lets it in again)", *facts->blocked ? ": " : "", facts->blocked);
}

bool checkin_decide(const struct checkin_message *message, const struct checkin_facts *facts, int64_t now_ms, struct checkin_plan *ret, GError **error)
{
	struct checkin_plan plan = {.action = CHECKIN_DO_NOTHING};
	int64_t epoch = 0;

	if (!checkin_check_blocked(facts, error))
		return false;
	if (message->type == CHECKIN_AUTHENTICATE)
		return decide_authenticate(message, facts, now_ms, ret, error);
	if (is_repeated_check_out(message, facts)) {
		*ret = plan;
		return true;
	}
	if (!checkin_check_identity(&facts->certificate, &facts->device, now_ms, &epoch, error))
		return false;
	plan.epoch = epoch;
	switch (message->type) {
	case CHECKIN_TOKEN_UPDATE:
		return decide_token_update(message, facts, epoch, ret, error);
	case CHECKIN_CHECK_OUT:
		decide_check_out(message, facts, epoch, &plan);
		break;
	case CHECKIN_SET_BOOTSTRAP_TOKEN:
		plan.action = CHECKIN_DO_SET_BOOTSTRAP;
		break;
	case CHECKIN_GET_BOOTSTRAP_TOKEN:
		plan.action = CHECKIN_DO_GET_BOOTSTRAP;
		break;
	case CHECKIN_GET_TOKEN:
		if (!decide_get_token(message, facts, epoch, now_ms, &plan, error))
			return false;
		break;
	case CHECKIN_DECLARATIVE_MANAGEMENT:
		if (!decide_declarative(message, facts, epoch, now_ms, &plan, error))
			return false;
		break;
	case CHECKIN_USER_AUTHENTICATE:
		if (!decide_user_authenticate(message, facts, epoch, &plan, error))
			return false;
		break;
	case CHECKIN_RETURN_TO_SERVICE:
		if (!decide_return_to_service(facts, epoch, now_ms, &plan, error))
			return false;
		break;
	case CHECKIN_AUTHENTICATE:
	case CHECKIN_TYPE_MAX:
		break;
	}
	*ret = plan;
	return true;
}

bool checkin_check_first_use(const struct checkin_message *message, const struct checkin_identity *who, const struct first_use *first_use, const struct checkin_facts *facts, int64_t now_ms, GError **error)
{
	if (now_ms >= first_use->until_ms)
		return pom_fail(error, POM_ERR_FIRST_USE_CLOSED, "identity.bind_first_use_until is over: the device needs an enrollment link");
	if (facts->device.known)
		return pom_fail(error, POM_ERR_FIRST_USE_TAKEN, "enrollment %s of this device is bound to another certificate: the device needs an enrollment link", facts->device.id);
	if (message && message->type != CHECKIN_TOKEN_UPDATE)
		return pom_fail(error, POM_ERR_FIRST_USE_MESSAGE, message->type == CHECKIN_AUTHENTICATE ? "Authenticate begins a new enrollment, for which the device needs an enrollment link: only devices that are enrolled already are taken up"
		                : "%s cannot be the first message of a device that is taken up: a TokenUpdate or a command report is", type_names[message->type]);
	if (*who->user_part)
		return pom_fail(error, POM_ERR_FIRST_USE_MESSAGE, "the user channel came before its device");
	if (now_ms < first_use->not_before_ms || now_ms > first_use->not_after_ms)
		return pom_fail(error, POM_ERR_CERT_EXPIRED, "the certificate of the other server is not valid now");
	return !message || check_topic(message->topic, facts, error);
}
