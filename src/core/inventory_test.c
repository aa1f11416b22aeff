#include "core/inventory.h"

#include <string.h>

enum { HOUR = 3600000, DEVICES = 20000, SLOTS = 24 };

static void test_parse(void)
{
	static const struct { const char *text, *joined; } cases[] = {
		{INVENTORY_QUERIES_DEFAULT, INVENTORY_QUERIES_DEFAULT}, {"", ""}, {" SecurityInfo,  UserList SecurityInfo", "SecurityInfo UserList"}, {"Restrictions", "Restrictions"},
		{"EraseDevice", NULL}, {"SecurityInfo securityinfo", NULL}, {"DeviceInformation;SecurityInfo", NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) queries = inventory_queries_parse(cases[i].text, &error);
		g_autofree char *joined = queries ? g_strjoinv(" ", queries) : NULL;

		g_assert_cmpstr(joined, ==, cases[i].joined);
		if (!queries)
			g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	}
}

/* Each device has its place in the interval, and all places are taken about as often. */
static void test_spread(void)
{
	unsigned slots[SLOTS] = {0};
	int64_t now = INT64_C(1700000000123);

	for (int i = 0; i < DEVICES; i++) {
		g_autofree char *id = g_strdup_printf("0199%08X-0000-7000-8000-%012X", (unsigned)i, (unsigned)i * 2654435761u);
		int64_t first = inventory_next(id, 24 * HOUR, now), second = inventory_next(id, 24 * HOUR, first);

		g_assert_cmpint(first, >, now);
		g_assert_cmpint(first, <=, now + 24 * HOUR);
		g_assert_cmpint(second, ==, first + 24 * HOUR);
		g_assert_cmpint(inventory_next(id, 24 * HOUR, first - 1), ==, first);
		slots[first / HOUR % SLOTS]++;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		g_assert_cmpuint(slots[i], >, DEVICES / SLOTS * 8 / 10);
		g_assert_cmpuint(slots[i], <, DEVICES / SLOTS * 12 / 10);
	}
}

static bool asks(const plist *command, const char *query)
{
	const plist *queries = plist_dict_get(command, "Queries");

	for (size_t i = 0; i < plist_count(queries); i++)
		if (!strcmp(plist_get_string(plist_child(queries, i)), query))
			return true;
	return false;
}

static struct command_target target_of(enum platform platform, const char *version)
{
	struct command_target target;

	command_target_init(&target, ENROLLMENT_DEVICE);
	target.platform = platform;
	target.os_version = version_parse(version);
	return target;
}

static void test_commands(void)
{
	static const struct { const char *request_type; enum platform platform; const char *version; bool can; } cases[] = {
		{"DeviceInformation", PLATFORM_IOS, "18.2", true}, {"DeviceInformation", PLATFORM_WATCHOS, "11.0", true}, {"SecurityInfo", PLATFORM_MACOS, "15.0", true},
		{"InstalledApplicationList", PLATFORM_TVOS, "18.0", true}, {"InstalledApplicationList", PLATFORM_TVOS, "9.0", false}, {"AvailableOSUpdates", PLATFORM_VISIONOS, "2.0", false},
		{"UserList", PLATFORM_WATCHOS, "11.0", false}, {"UserList", PLATFORM_IOS, "18.2", false}, {"UserList", PLATFORM_MACOS, "15.0", true}, {"CertificateList", PLATFORM_MAX, "", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct command_target target = target_of(cases[i].platform, cases[i].version);
		g_autoptr(plist) command = inventory_command(cases[i].request_type, &target);

		g_test_message("%s %s", cases[i].request_type, cases[i].version);
		g_assert_cmpint(command != NULL, ==, cases[i].can);
	}
}

static void test_queries(void)
{
	struct command_target mac = target_of(PLATFORM_MACOS, "15.0"), phone = target_of(PLATFORM_IOS, "18.2"), unknown = target_of(PLATFORM_MAX, "");
	struct command_target shared = phone;
	g_autoptr(plist) of_mac = inventory_command("DeviceInformation", &mac), of_phone = inventory_command("DeviceInformation", &phone), of_any = inventory_command("DeviceInformation", &unknown);

	g_assert_true(asks(of_mac, "OSVersion") && asks(of_mac, "IsAppleSilicon") && asks(of_mac, "HostName") && !asks(of_mac, "IsMultiUser"));
	g_assert_true(asks(of_phone, "OSVersion") && asks(of_phone, "IsMultiUser") && asks(of_phone, "BatteryLevel") && !asks(of_phone, "IsAppleSilicon"));
	shared.shared_ipad = COMMAND_YES;
	g_autoptr(plist) users = inventory_command("UserList", &shared);
	g_assert_nonnull(users);
	/* All of them are names that the catalog knows. */
	g_assert_cmpuint(plist_count(plist_dict_get(of_any, "Queries")), >, 30);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/inventory/parse", test_parse);
	g_test_add_func("/inventory/spread", test_spread);
	g_test_add_func("/inventory/commands", test_commands);
	g_test_add_func("/inventory/queries", test_queries);
	return g_test_run();
}
