#include "core/inventory.h"

#include <string.h>

#include "core/fact.h"

/* What administrators look for. Nothing about the person: no accounts, no telephone numbers. */
static const char *const device_queries[] = {
	"DeviceName", "OSVersion", "BuildVersion", "SupplementalOSVersionExtra", "SupplementalBuildVersion", "ModelName", "Model", "ModelNumber", "ProductName", "SerialNumber", "IsAppleSilicon", "DeviceCapacity",
	"AvailableDeviceCapacity", "BatteryLevel", "HasBattery", "IsSupervised", "IsMultiUser", "IsDeviceLocatorServiceEnabled", "IsActivationLockEnabled", "IsActivationLockSupported", "IsMDMLostModeEnabled",
	"AwaitingConfiguration", "IsCloudBackupEnabled", "LastCloudBackupDate", "HostName", "LocalHostName", "WiFiMAC", "BluetoothMAC", "EthernetMAC", "TimeZone", "PINRequiredForEraseDevice", "PINRequiredForDeviceLock",
	"SupportsLOMDevice", "MaximumResidentUsers", "ResidentUsers", "EstimatedResidentUsers", "OrganizationInfo", "MDMOptions",
};

static bool tells_facts(const char *request_type)
{
	return !strcmp(request_type, "DeviceInformation") || !strcmp(request_type, "SecurityInfo") || fact_lists_are_in(request_type);
}

char **inventory_queries_parse(const char *text, GError **error)
{
	g_auto(GStrv) words = g_strsplit_set(text, " ,\t", -1);
	g_autoptr(GPtrArray) queries = g_ptr_array_new_with_free_func(g_free);

	for (char **word = words; *word; word++) {
		if (!**word || g_ptr_array_find_with_equal_func(queries, *word, g_str_equal, NULL))
			continue;
		if (!tells_facts(*word)) {
			pom_fail(error, POM_ERR_CONFIG, "inventory.queries: \"%.64s\" is no command that tells facts of a device, as DeviceInformation, SecurityInfo, InstalledApplicationList, ProfileList, CertificateList,"
			         " AvailableOSUpdates, Restrictions or UserList do", *word);
			return NULL;
		}
		g_ptr_array_add(queries, g_strdup(*word));
	}
	g_ptr_array_add(queries, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&queries), FALSE);
}

/* FNV-1a of 64 bits. */
static uint64_t hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

int64_t inventory_next(const char *enrollment_id, int64_t interval_ms, int64_t now_ms)
{
	int64_t place = (int64_t)(hash(enrollment_id) % (uint64_t)interval_ms), start = now_ms - now_ms % interval_ms;

	return start + place > now_ms ? start + place : start + place + interval_ms;
}

static plist *typed(const char *request_type)
{
	plist *command = plist_new_dict();

	plist_dict_set_string(command, "RequestType", request_type);
	return command;
}

/* The catalog's row of a query decides: devices leave out what they do not know, but asking for all of it tells nothing. */
static bool can_answer(const char *query, const struct command_target *target)
{
	const struct command_type *type = command_type_find("DeviceInformation");
	const struct command_key *queries = command_key_find(type->keys[COMMAND_REQUEST].first, type->keys[COMMAND_REQUEST].n, "Queries"), *item;
	g_autoptr(plist) word = plist_new_string(query);
	const struct command_system *system;

	item = command_item_find(queries->first, queries->n, word);
	if (!item || target->platform == PLATFORM_MAX)
		return item != NULL;
	system = &command_systems_of(item->systems)->of[target->platform];
	return !(system->flags & COMMAND_SYSTEM_NO) && (!target->os_version || system->since <= target->os_version) && (!system->removed || target->os_version < system->removed);
}

plist *inventory_command(const char *request_type, const struct command_target *known)
{
	g_autoptr(plist) command = typed(request_type);
	struct command_target shared_only_if_told = *known, *target = &shared_only_if_told;
	plist *queries;

	/* Few iPads are shared: the rest would answer an error each time. */
	if (target->shared_ipad == COMMAND_UNKNOWN)
		target->shared_ipad = COMMAND_NO;

	if (!strcmp(request_type, "DeviceInformation")) {
		queries = plist_new_array();
		for (size_t i = 0; i < G_N_ELEMENTS(device_queries); i++)
			if (can_answer(device_queries[i], target))
				plist_array_append(queries, plist_new_string(device_queries[i]));
		plist_dict_set(command, "Queries", queries);
	}
	return command_check(command, target, NULL) ? g_steal_pointer(&command) : NULL;
}
