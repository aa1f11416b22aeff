/* Plausible answers to commands. A command is a row: what it is called, which kinds of devices know it, what makes the answer. */
#include <string.h>

#include "sim/device_internal.h"

enum { ON_MOBILE = 1, ON_MAC = 2, ON_TV = 4, ON_WATCH = 8, ON_LARGE = 7, ON_ALL = 15 };
enum { MALFORMED_REQUEST = 12008, INVALID_REQUEST_TYPE = 12021 };

static const double capacity_gb = 256.0, available_gb = 187.25;

struct answer {
	const char *type;
	unsigned on;
	/* Adds to REPLY, or turns it into an error; NULL: the acknowledgment is all. */
	void (*make)(struct device *d, const plist *command, plist *reply);
};

static unsigned kind_bit(const struct device *d)
{
	switch (d->model->kind) {
	case SIM_MAC:
		return ON_MAC;
	case SIM_APPLETV:
		return ON_TV;
	case SIM_WATCH:
		return ON_WATCH;
	case SIM_IPHONE:
	case SIM_IPAD:
	case SIM_KIND_MAX:
		break;
	}
	return ON_MOBILE;
}

void device_reply_fail(plist *reply, const char *status, const char *domain, int code, const char *text)
{
	plist *chain = plist_new_array(), *link = plist_new_dict();
	const plist *before = plist_dict_get(reply, "ErrorChain");

	for (size_t i = 0; i < plist_count(before); i++)
		plist_array_append(chain, plist_copy(plist_child(before, i)));
	plist_dict_set_integer(link, "ErrorCode", code);
	plist_dict_set_string(link, "ErrorDomain", domain);
	plist_dict_set_string(link, "LocalizedDescription", text);
	plist_dict_set_string(link, "USEnglishDescription", text);
	plist_array_append(chain, link);
	plist_dict_set(reply, "ErrorChain", chain);
	plist_dict_set_string(reply, "Status", status);
}

/* ---- DeviceInformation ---- */

static void add_common_facts(const struct device *d, plist *facts)
{
	plist_dict_set_string(facts, "UDID", d->udid);
	plist_dict_set_string(facts, "DeviceName", d->name);
	plist_dict_set_string(facts, "OSVersion", d->model->os);
	plist_dict_set_string(facts, "BuildVersion", d->model->build);
	plist_dict_set_string(facts, "ModelName", d->model->family);
	plist_dict_set_string(facts, "Model", d->model->model);
	plist_dict_set_string(facts, "ModelNumber", d->model->model);
	plist_dict_set_string(facts, "ProductName", d->model->product);
	plist_dict_set_string(facts, "SerialNumber", d->serial);
	plist_dict_set(facts, "DeviceCapacity", plist_new_real(capacity_gb));
	plist_dict_set(facts, "AvailableDeviceCapacity", plist_new_real(available_gb));
	plist_dict_set_string(facts, "WiFiMAC", "02:00:00:00:00:01");
	plist_dict_set_string(facts, "BluetoothMAC", "02:00:00:00:00:02");
	plist_dict_set_string(facts, "TimeZone", "Europe/Prague");
	plist_dict_set_boolean(facts, "IsSupervised", d->supervised);
	plist_dict_set_boolean(facts, "IsMultiUser", false);
	plist_dict_set_boolean(facts, "iTunesStoreAccountIsActive", false);
	plist_dict_set_boolean(facts, "IsActivationLockEnabled", false);
	plist_dict_set_data(facts, "PushToken", d->token, sizeof(d->token));
}

static void add_mobile_facts(const struct device *d, plist *facts)
{
	plist_dict_set(facts, "BatteryLevel", plist_new_real(0.75));
	plist_dict_set_boolean(facts, "IsCloudBackupEnabled", false);
	plist_dict_set_boolean(facts, "IsDeviceLocatorServiceEnabled", false);
	plist_dict_set_boolean(facts, "IsDoNotDisturbInEffect", false);
	plist_dict_set_boolean(facts, "IsMDMLostModeEnabled", false);
	if (d->model->kind != SIM_IPHONE)
		return;
	plist_dict_set_string(facts, "IMEI", "35 000000 000000 0");
	plist_dict_set_string(facts, "ModemFirmwareVersion", "2.00.00");
	plist_dict_set_integer(facts, "CellularTechnology", 1);
	plist_dict_set_boolean(facts, "IsRoaming", false);
	plist_dict_set_boolean(facts, "PersonalHotspotEnabled", false);
}

static void add_mac_facts(const struct device *d, plist *facts)
{
	plist_dict_set_string(facts, "HostName", "simulated-mac.local");
	plist_dict_set_string(facts, "LocalHostName", "simulated-mac");
	plist_dict_set_boolean(facts, "IsAppleSilicon", true);
	plist_dict_set_boolean(facts, "SystemIntegrityProtectionEnabled", true);
	plist_dict_set_boolean(facts, "SupportsLOMDevice", false);
	plist_dict_set_boolean(facts, "PINRequiredForEraseDevice", false);
	plist_dict_set_boolean(facts, "PINRequiredForDeviceLock", true);
}

static plist *device_facts(const struct device *d)
{
	plist *facts = plist_new_dict();

	add_common_facts(d, facts);
	if (d->model->macos)
		add_mac_facts(d, facts);
	else if (d->model->kind != SIM_APPLETV)
		add_mobile_facts(d, facts);
	return facts;
}

static void answer_device_information(struct device *d, const plist *command, plist *reply)
{
	static const char *const defaults[] = {"UDID", "DeviceName", "OSVersion", "BuildVersion", "ModelName", "Model", "ProductName", "SerialNumber", "DeviceCapacity", "AvailableDeviceCapacity"};
	const plist *queries = plist_dict_get(command, "Queries");
	g_autoptr(plist) facts = device_facts(d);
	plist *responses = plist_new_dict();
	size_t n = queries ? plist_count(queries) : G_N_ELEMENTS(defaults);

	/* What a device does not know is simply missing. */
	for (size_t i = 0; i < n; i++) {
		const char *key = queries ? plist_get_string(plist_child(queries, i)) : defaults[i];
		const plist *value = key ? plist_dict_get(facts, key) : NULL;

		if (value)
			plist_dict_set(responses, key, plist_copy(value));
	}
	plist_dict_set(reply, "QueryResponses", responses);
}

/* ---- SecurityInfo ---- */

static void add_mac_security(plist *info)
{
	plist *firewall = plist_new_dict(), *boot = plist_new_dict();

	plist_dict_set_boolean(firewall, "FirewallEnabled", false);
	plist_dict_set_boolean(firewall, "BlockAllIncoming", false);
	plist_dict_set_boolean(firewall, "StealthMode", false);
	plist_dict_set(firewall, "Applications", plist_new_array());
	plist_dict_set(info, "FirewallSettings", firewall);
	plist_dict_set_string(boot, "SecureBootLevel", "full");
	plist_dict_set_string(boot, "ExternalBootLevel", "not supported");
	plist_dict_set(info, "SecureBoot", boot);
	plist_dict_set_boolean(info, "FDE_Enabled", true);
	plist_dict_set_boolean(info, "FDE_HasPersonalRecoveryKey", true);
	plist_dict_set_boolean(info, "FDE_HasInstitutionalRecoveryKey", false);
	plist_dict_set_boolean(info, "SystemIntegrityProtectionEnabled", true);
	plist_dict_set_boolean(info, "AuthenticatedRootVolumeEnabled", true);
	plist_dict_set_boolean(info, "RemoteDesktopEnabled", false);
	plist_dict_set_boolean(info, "IsRecoveryLockEnabled", false);
}

static void answer_security_info(struct device *d, const plist *command, plist *reply)
{
	plist *info = plist_new_dict(), *management = plist_new_dict();

	plist_dict_set_boolean(management, "EnrolledViaDEP", false);
	plist_dict_set_boolean(management, "IsUserEnrollment", false);
	plist_dict_set_boolean(management, "UserApprovedEnrollment", true);
	plist_dict_set(info, "ManagementStatus", management);
	plist_dict_set_integer(info, "HardwareEncryptionCaps", 3);
	if (d->model->macos) {
		add_mac_security(info);
	} else {
		plist_dict_set_boolean(info, "PasscodePresent", true);
		plist_dict_set_boolean(info, "PasscodeCompliant", true);
		plist_dict_set_boolean(info, "PasscodeCompliantWithProfiles", true);
		plist_dict_set_integer(info, "PasscodeLockGracePeriod", 0);
		plist_dict_set_integer(info, "PasscodeLockGracePeriodEnforced", 0);
	}
	plist_dict_set(reply, "SecurityInfo", info);
}

/* ---- the other lists ---- */

static void answer_installed_applications(struct device *d, const plist *command, plist *reply)
{
	static const struct { const char *identifier, *name; int size; } apps[] = {
		{"com.example.simulated.notes", "Simulated Notes", 12345678}, {"com.example.simulated.mail", "Simulated Mail", 23456789},
	};
	plist *list = plist_new_array();

	for (unsigned i = 0; i < G_N_ELEMENTS(apps); i++) {
		plist *app = plist_new_dict();

		plist_dict_set_string(app, "Identifier", apps[i].identifier);
		plist_dict_set_string(app, "Name", apps[i].name);
		plist_dict_set_string(app, "ShortVersion", "1.0");
		plist_dict_set_string(app, "Version", "100");
		plist_dict_set_integer(app, "BundleSize", apps[i].size);
		plist_array_append(list, app);
	}
	plist_dict_set(reply, "InstalledApplicationList", list);
}

static void answer_empty_dict(struct device *d, const plist *command, plist *reply)
{
	plist_dict_set(reply, plist_get_string(plist_dict_get(command, "RequestType")), plist_new_dict());
}

static void answer_empty_array(struct device *d, const plist *command, plist *reply)
{
	plist_dict_set(reply, plist_get_string(plist_dict_get(command, "RequestType")), plist_new_array());
}

static void answer_restrictions(struct device *d, const plist *command, plist *reply)
{
	plist *restrictions = plist_new_dict();

	plist_dict_set(restrictions, "restrictedBool", plist_new_dict());
	plist_dict_set(restrictions, "restrictedValue", plist_new_dict());
	plist_dict_set(reply, "GlobalRestrictions", restrictions);
}

/* Each item answers for itself, in the order of the request. */
static void answer_settings(struct device *d, const plist *command, plist *reply)
{
	const plist *settings = plist_dict_get(command, "Settings");
	plist *list = plist_new_array();

	for (size_t i = 0; i < plist_count(settings); i++) {
		const plist *item = plist_child(settings, i);
		const char *name = plist_get_string(plist_dict_get(item, "Item")), *device_name = plist_get_string(plist_dict_get(item, "DeviceName"));
		plist *result = plist_new_dict();

		if (!g_strcmp0(name, "DeviceName") && device_name) {
			g_free(d->name);
			d->name = g_strdup(device_name);
		}
		plist_dict_set_string(result, "Item", name ? name : "");
		plist_dict_set_string(result, "Status", name ? "Acknowledged" : "Error");
		plist_array_append(list, result);
	}
	plist_dict_set(reply, "Settings", list);
}

static void answer_install_application(struct device *d, const plist *command, plist *reply)
{
	const char *identifier = plist_get_string(plist_dict_get(command, "Identifier"));

	if (identifier)
		plist_dict_set_string(reply, "Identifier", identifier);
	plist_dict_set_string(reply, "State", "Installing");
}

static void answer_erase(struct device *d, const plist *command, plist *reply)
{
	d->erase_next = true;
}

static const struct answer answers[] = {
	{"AccountConfiguration", ON_MAC, NULL},
	{"AvailableOSUpdates", ON_LARGE, answer_empty_array},
	{"CertificateList", ON_ALL, device_answer_certificate_list},
	{"ClearPasscode", ON_MOBILE | ON_WATCH, NULL},
	{"ClearRestrictionsPassword", ON_MOBILE | ON_WATCH, NULL},
	{"DeclarativeManagement", ON_ALL, device_answer_declarative_management},
	{"DeviceConfigured", ON_LARGE, NULL},
	{"DeviceInformation", ON_ALL, answer_device_information},
	{"DeviceLock", ON_MOBILE | ON_MAC | ON_WATCH, NULL},
	{"DisableLostMode", ON_MOBILE | ON_WATCH, NULL},
	{"DisableRemoteDesktop", ON_MAC, NULL},
	{"EnableLostMode", ON_MOBILE | ON_WATCH, NULL},
	{"EnableRemoteDesktop", ON_MAC, NULL},
	{"EraseDevice", ON_ALL, answer_erase},
	{"InstallApplication", ON_ALL, answer_install_application},
	{"InstallEnterpriseApplication", ON_MAC, NULL},
	{"InstallProfile", ON_ALL, device_answer_install_profile},
	{"InstalledApplicationList", ON_ALL, answer_installed_applications},
	{"InviteToProgram", ON_MOBILE | ON_MAC | ON_WATCH, NULL},
	{"ManagedApplicationList", ON_ALL, answer_empty_dict},
	{"OSUpdateStatus", ON_LARGE, answer_empty_array},
	{"PlayLostModeSound", ON_MOBILE | ON_WATCH, NULL},
	{"ProfileList", ON_ALL, device_answer_profile_list},
	{"ProvisioningProfileList", ON_ALL, answer_empty_array},
	{"RefreshCellularPlans", ON_MOBILE | ON_WATCH, NULL},
	{"RemoveApplication", ON_ALL, NULL},
	{"RemoveProfile", ON_ALL, device_answer_remove_profile},
	{"RequestMirroring", ON_MOBILE | ON_MAC, NULL},
	{"RestartDevice", ON_LARGE, NULL},
	{"Restrictions", ON_MOBILE | ON_TV | ON_WATCH, answer_restrictions},
	{"RotateFileVaultKey", ON_MAC, NULL},
	{"ScheduleOSUpdate", ON_LARGE, NULL},
	{"ScheduleOSUpdateScan", ON_MAC, NULL},
	{"SecurityInfo", ON_ALL, answer_security_info},
	{"SetAutoAdminPassword", ON_MAC, NULL},
	{"SetFirmwarePassword", ON_MAC, NULL},
	{"SetRecoveryLock", ON_MAC, NULL},
	{"Settings", ON_ALL, answer_settings},
	{"ShutDownDevice", ON_MOBILE | ON_MAC, NULL},
	{"StopMirroring", ON_MOBILE | ON_MAC, NULL},
	{"UnlockUserAccount", ON_MAC, NULL},
	{"UserList", ON_MAC, answer_empty_array},
};

static const struct answer *find_answer(const struct device *d, const char *type)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++)
		if (!strcmp(answers[i].type, type) && (answers[i].on & kind_bit(d)))
			return &answers[i];
	return NULL;
}

static void make_answer(struct device *d, const plist *command, const char *type, plist *reply)
{
	const struct answer *answer = type ? find_answer(d, type) : NULL;
	g_autofree char *text = NULL;

	if (!type) {
		device_reply_fail(reply, "CommandFormatError", "MCMDMErrorDomain", MALFORMED_REQUEST, "The command has no RequestType.");
	} else if (!answer) {
		text = g_strdup_printf("“%s” is not a valid request type.", type);
		device_reply_fail(reply, "Error", "MCMDMErrorDomain", INVALID_REQUEST_TYPE, text);
	} else if (answer->make) {
		answer->make(d, command, reply);
	}
}

plist *device_answer(struct device *d, const plist *command)
{
	const plist *inner = plist_dict_get(command, "Command");
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType")), *uuid = plist_get_string(plist_dict_get(command, "CommandUUID"));
	plist *reply = device_report_message(d, "Acknowledged", uuid);
	const char *status;

	make_answer(d, inner, type, reply);
	d->n_answered++;
	status = plist_get_string(plist_dict_get(reply, "Status"));
	device_say(d, "command", json_pack("{s:s, s:s?, s:s}", "request_type", type ? type : "", "command_uuid", uuid, "status", status), "answers %s%s%s",
	           type ? type : "a command without RequestType", strcmp(status, "Acknowledged") ? " with " : "", strcmp(status, "Acknowledged") ? status : "");
	return reply;
}
