/* The rules of the library: variables, secrets, the life of a profile on a device, reasons, facts. */
#include "core/library.h"

#include <string.h>

#include "core/enroll.h"
#include "core/fact.h"
#include "core/renewal.h"
#include "core/variables.h"

static plist *parse(const char *body)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\">%s</plist>", body);
	g_autoptr(GError) error = NULL;
	plist *tree = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return tree;
}

/* ---- variables ---- */

static const char *value_of(void *ctx, const char *name)
{
	static const struct { const char *name, *value; } values[] = {
		{"serial", "C02X"}, {"user.name", "Ann </string><key>Evil</key><true/> ]]> & \"x\""}, {"device.name", "${serial} $${serial}"}, {"attr.empty", ""}, {"attr.bell", "a\ab"}, {"attr.bad", "\xff\xfe"},
		{"attr.a-b_c.d", "ok"}, {"attr.end", "\xef\xbf\xbf"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
		if (!strcmp(values[i].name, name))
			return values[i].value;
	return NULL;
}

static void test_variables(void)
{
	static const struct { const char *in, *out; int check, substitute; } cases[] = {
		/* -1: accepted */
		{"nothing", "nothing", -1, -1},
		{"${serial}", "C02X", -1, -1},
		{"a ${serial}-${serial} b", "a C02X-C02X b", -1, -1},
		{"$${serial}", "${serial}", -1, -1},
		{"$$${serial}", "$${serial}", -1, -1},
		{"$ {serial} $x $", "$ {serial} $x $", -1, -1},
		/* What is put in is not looked at again. */
		{"${device.name}", "${serial} $${serial}", -1, -1},
		{"${user.name}", "Ann </string><key>Evil</key><true/> ]]> & \"x\"", -1, -1},
		{"[${attr.empty}]", "[]", -1, -1},
		{"${attr.a-b_c.d}", "ok", -1, -1},
		{"${attr.none}", NULL, -1, POM_ERR_VARIABLE_VALUE},
		{"${udid}", NULL, -1, POM_ERR_VARIABLE_VALUE},
		{"${attr.bell}", NULL, -1, POM_ERR_VARIABLE_VALUE},
		{"${attr.bad}", NULL, -1, POM_ERR_VARIABLE_VALUE},
		{"${attr.end}", NULL, -1, POM_ERR_VARIABLE_VALUE},
		{"${HOME}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${serial", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${attr.}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${attr.a b}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${ serial}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
		{"${${serial}}", NULL, POM_ERR_VARIABLE, POM_ERR_VARIABLE},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = plist_new_dict(), list = NULL;
		g_autoptr(GError) check_error = NULL, error = NULL;
		g_autoptr(plist) made = NULL;
		g_autoptr(GBytes) written = NULL;
		plist *array = plist_new_array();
		size_t n = 0;
		bool ok;

		g_test_message("%s", cases[i].in);
		plist_array_append(array, plist_new_string(cases[i].in));
		plist_dict_set(tree, "${serial}", array);
		ok = variables_check(tree, &n, &check_error);
		g_assert_cmpint(ok ? -1 : check_error->code, ==, cases[i].check);
		made = variables_substitute(tree, value_of, NULL, &error);
		g_assert_cmpint(made ? -1 : error->code, ==, cases[i].substitute);
		if (!made) {
			/* The message names the place. */
			g_assert_nonnull(strstr(error->message, "${serial}[0]"));
			continue;
		}
		/* A key is no string: it stays. And what stays one string is written and read as one. */
		g_assert_cmpstr(plist_get_string(plist_child(plist_dict_get(made, "${serial}"), 0)), ==, cases[i].out);
		written = plist_format(made, NULL);
		list = plist_parse(g_bytes_get_data(written, NULL), g_bytes_get_size(written), NULL, NULL);
		g_assert_true(plist_equal(made, list));
		g_assert_cmpuint(plist_count(list), ==, 1);
		g_assert_true((n > 0) == (strstr(cases[i].in, "${") != NULL));
	}
}

static void test_variables_head(void)
{
	static const struct { const char *body; bool ok; } cases[] = {
		{"<dict><key>PayloadIdentifier</key><string>x.${serial}</string></dict>", false},
		{"<dict><key>PayloadUUID</key><string>${udid}</string></dict>", false},
		{"<dict><key>PayloadDisplayName</key><string>${serial}</string></dict>", true},
		{"<dict><key>PayloadContent</key><array><dict><key>PayloadIdentifier</key><string>x.${serial}</string></dict></array></dict>", true},
		/* Only strings. */
		{"<dict><key>d</key><data>JHtub3BlfQ==</data></dict>", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse(cases[i].body);
		size_t n;

		g_assert_cmpint(variables_check(tree, &n, NULL), ==, cases[i].ok);
	}
	g_autoptr(plist) tree = parse("<array><string>${serial} ${attr.x} ${serial}</string><string>${broken</string><string>${model}</string></array>");
	g_autoptr(GPtrArray) names = variables_names(tree);

	g_assert_cmpuint(names->len, ==, 3);
	g_assert_cmpstr(g_ptr_array_index(names, 1), ==, "attr.x");
}

static const char *large_value(void *ctx, const char *name)
{
	return ctx;
}

static void test_variables_size(void)
{
	g_autofree char *value = g_strnfill(VARIABLE_VALUE_MAX, 'x'), *longer = g_strnfill(VARIABLE_VALUE_MAX + 1, 'x');
	g_autoptr(plist) array = plist_new_array(), few = plist_new_array(), made = NULL, none = NULL, too_long = NULL;
	g_autoptr(GError) error = NULL;

	for (int i = 0; i <= VARIABLES_OUTPUT_MAX / VARIABLE_VALUE_MAX; i++)
		plist_array_append(array, plist_new_string("${serial}"));
	plist_array_append(few, plist_new_string("${serial}"));
	made = variables_substitute(few, large_value, value, &error);
	g_assert_no_error(error);
	none = variables_substitute(array, large_value, value, &error);
	g_assert_null(none);
	g_assert_error(error, POM_ERROR, POM_ERR_VARIABLE_VALUE);
	too_long = variables_substitute(few, large_value, longer, NULL);
	g_assert_null(too_long);
}

/* ---- what may be kept ---- */

#define PROFILE(more, content) "<dict><key>PayloadType</key><string>Configuration</string>" more "<key>PayloadContent</key><array>" content "</array></dict>"
#define PAYLOAD(type, more) "<dict><key>PayloadType</key><string>" type "</string>" more "</dict>"

static void test_check(void)
{
	static const struct { const char *body; bool ok; } cases[] = {
		{PROFILE("", ""), true},
		{PROFILE("", PAYLOAD("com.apple.wifi.managed", "")), true},
		{PROFILE("", PAYLOAD("com.apple.wifi.managed", "") PAYLOAD("com.apple.mdm", "")), false},
		{PROFILE("<key>PayloadScope</key><string>System</string>", ""), true},
		{PROFILE("<key>PayloadScope</key><string>User</string>", ""), true},
		{PROFILE("<key>PayloadScope</key><string>system</string>", ""), false},
		{PROFILE("<key>PayloadScope</key><integer>1</integer>", ""), false},
		{PROFILE("<key>TargetDeviceType</key><integer>0</integer>", ""), true},
		{PROFILE("<key>TargetDeviceType</key><integer>6</integer>", ""), true},
		{PROFILE("<key>TargetDeviceType</key><integer>7</integer>", ""), false},
		{PROFILE("<key>TargetDeviceType</key><integer>-1</integer>", ""), false},
		{PROFILE("<key>TargetDeviceType</key><string>5</string>", ""), false},
		{PROFILE("<key>RemovalDate</key><date>2001-01-01T00:00:00Z</date>", ""), false},
		{PROFILE("<key>RemovalDate</key><date>2040-01-01T00:00:00Z</date>", ""), true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse(cases[i].body);
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(library_check(tree, 1800000000, &error), ==, cases[i].ok);
		g_assert_true(cases[i].ok || g_error_matches(error, POM_ERROR, POM_ERR_LIBRARY_REFUSED));
	}
}

static void test_secrets(void)
{
	static const struct { const char *payload, *path; } cases[] = {
		{PAYLOAD("com.apple.wifi.managed", "<key>SSID_STR</key><string>x</string>"), NULL},
		{PAYLOAD("com.apple.wifi.managed", "<key>Password</key><string>x</string>"), "PayloadContent[0].Password"},
		/* The device asks its user. */
		{PAYLOAD("com.apple.wifi.managed", "<key>Password</key><string></string>"), NULL},
		{PAYLOAD("com.apple.wifi.managed", "<key>EAPClientConfiguration</key><dict><key>UserPassword</key><string>x</string></dict>"), "PayloadContent[0].EAPClientConfiguration.UserPassword"},
		{PAYLOAD("com.apple.vpn.managed", "<key>IPSec</key><dict><key>SharedSecret</key><data>eA==</data></dict>"), "PayloadContent[0].IPSec.SharedSecret"},
		{PAYLOAD("com.apple.airplay", "<key>Passwords</key><array><dict><key>Password</key><string>x</string></dict></array>"), "PayloadContent[0].Passwords[0].Password"},
		{PAYLOAD("com.apple.security.pkcs12", "<key>PayloadContent</key><data>eA==</data>"), "PayloadContent[0].PayloadContent"},
		{PAYLOAD("com.apple.security.root", "<key>PayloadContent</key><data>eA==</data>"), NULL},
		{PAYLOAD("com.apple.security.scep", "<key>PayloadContent</key><dict><key>Challenge</key><string>x</string></dict>"), "PayloadContent[0].PayloadContent.Challenge"},
		{PAYLOAD("com.apple.mail.managed", "<key>IncomingPassword</key><string>x</string>"), "PayloadContent[0].IncomingPassword"},
		{PAYLOAD("com.apple.apn.managed", "<key>password</key><data>eA==</data>"), "PayloadContent[0].password"},
		{PAYLOAD("com.apple.mobiledevice.passwordpolicy", "<key>minLength</key><integer>8</integer>"), NULL},
		{PAYLOAD("org.example.app", "<key>password</key><string>x</string>"), NULL},
		{PAYLOAD("org.example.app", "<key>Passphrase</key><string>x</string>"), "PayloadContent[0].Passphrase"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *body = g_strdup_printf(PROFILE("", "%s"), cases[i].payload);
		g_autoptr(plist) tree = parse(body);
		g_autofree char *path = library_find_secret(tree);

		g_assert_cmpstr(path, ==, cases[i].path);
	}
}

static void test_names(void)
{
	static const struct { const char *name; bool ok; } cases[] = {
		{"wifi", true}, {"a.b-c_D9", true}, {"", false}, {".a", false}, {"-a", false}, {"a b", false}, {"a/b", false}, {"ä", false}, {NULL, false},
		{"0123456789012345678901234567890123456789012345678901234567890123", true}, {"01234567890123456789012345678901234567890123456789012345678901234", false},
	};
	static const struct { const char *identifier, *name; } made[] = {{"org.example.wifi", "org.example.wifi"}, {"..x y/z", "x-y-z"}, {"***", "profile"}, {"", "profile"}};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(library_name_check("a profile", cases[i].name, NULL), ==, cases[i].ok);
	for (unsigned i = 0; i < G_N_ELEMENTS(made); i++) {
		g_autofree char *name = library_name_from(made[i].identifier);

		g_assert_cmpstr(name, ==, made[i].name);
		g_assert_true(library_name_check("a profile", name, NULL));
	}
	g_assert_cmpint(library_choice_find("on"), ==, LIBRARY_ALWAYS);
	g_assert_cmpint(library_choice_find("never"), ==, LIBRARY_NEVER);
	g_assert_cmpint(library_choice_find("x"), ==, LIBRARY_CHOICE_MAX);
	g_assert_cmpint(library_choice_find(NULL), ==, LIBRARY_CHOICE_MAX);
}

/* ---- the life of a profile on a device ---- */

#define DELIVER ((int64_t)14 * 86400000)
#define ANSWER ((int64_t)86400000)
#define NOW ((int64_t)1000000000)
#define QUEUED_AT ((int64_t)900000000)
static const struct library_limits limits = {DELIVER, ANSWER};

/* What each event (across) makes of each state (down); '.': nothing. Each letter is a state:
 * Q queued, D delivered, A acknowledged, I installed, F failed, r removing, d removal delivered, R removed, X removal failed. */
static const char letters[LIBRARY_STATE_MAX + 1] = "nQDAIFrdRXE";
static const struct { enum library_state state; bool present; const char *next; } expected[] = {
	/*                            want  newer resend unwant again fetched unmade ack error not-there not-now listed unlisted time canceled */
	{LIBRARY_NONE, false,              "QQQ............"},
	{LIBRARY_QUEUED, false,            "..QR.DFAF.Q..FF"},
	{LIBRARY_QUEUED, true,             "..Qr.DFAF.Q..FF"},
	{LIBRARY_DELIVERED, true,          ".QQr.DFAF.Q..FF"},
	{LIBRARY_ACKNOWLEDGED, true,       ".QQr.......IFF."},
	{LIBRARY_INSTALLED, true,          ".QQr........F.."},
	{LIBRARY_FAILED, false,            ".QQR..........."},
	{LIBRARY_FAILED, true,             ".QQr..........."},
	{LIBRARY_REMOVING, true,           "QQQ.rdXRXRr..XX"},
	{LIBRARY_REMOVAL_DELIVERED, true,  "QQQ.rdXRXRr..XX"},
	{LIBRARY_REMOVED, false,           "QQQ............"},
	{LIBRARY_REMOVAL_FAILED, true,     "QQQ.r.........."},
	{LIBRARY_ENDED, false,             "QQQ............"},
};

static void check_plan(const struct library_row *row, enum library_event event, const struct library_plan *plan)
{
	bool failed = plan->changed && (plan->next.state == LIBRARY_FAILED || plan->next.state == LIBRARY_REMOVAL_FAILED);

	/* A state waits exactly when it has a deadline, and its deadline is to come or is the one that was. */
	g_assert_true(library_state_waits(plan->next.state) == (plan->next.deadline_ms > 0));
	g_assert_true((plan->reason != NULL) == failed);
	/* A command is queued only on the way into a state that waits for it, and one that was queued does not stay. */
	g_assert_true(!plan->install || plan->next.state == LIBRARY_QUEUED);
	g_assert_true(!plan->remove || plan->next.state == LIBRARY_REMOVING);
	g_assert_true(!(plan->install && plan->remove));
	if (plan->install || plan->remove) {
		g_assert_cmpint(plan->next.queued_ms, ==, NOW);
		g_assert_cmpint(plan->next.deadline_ms, ==, NOW + DELIVER);
	}
	if (row->state == LIBRARY_QUEUED || row->state == LIBRARY_DELIVERED || row->state == LIBRARY_REMOVING || row->state == LIBRARY_REMOVAL_DELIVERED) {
		bool answered = event == LIBRARY_ACK || event == LIBRARY_ERROR || event == LIBRARY_NOT_THERE || event == LIBRARY_CANCELED || event == LIBRARY_NOT_NOW || event == LIBRARY_FETCHED;

		g_assert_true(!plan->changed || plan->cancel == !answered);
	} else {
		g_assert_false(plan->cancel);
	}
	g_assert_true(plan->list == (plan->changed && plan->next.state == LIBRARY_ACKNOWLEDGED));
	if (!plan->changed)
		g_assert_true(plan->next.state == row->state && plan->next.present == row->present && plan->next.queued_ms == row->queued_ms && plan->next.deadline_ms == row->deadline_ms);
}

static void test_life(void)
{
	bool seen[LIBRARY_STATE_MAX] = {0};

	for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
		struct library_row row = {expected[i].state, expected[i].present, QUEUED_AT, library_state_waits(expected[i].state) ? NOW + 5 : 0};

		seen[row.state] = true;
		g_assert_cmpuint(strlen(expected[i].next), ==, LIBRARY_EVENT_MAX);
		for (int event = 0; event < LIBRARY_EVENT_MAX; event++) {
			struct library_plan plan;
			char wanted = expected[i].next[event];

			g_test_message("%s, event %d", library_state_name(row.state), event);
			library_decide(&row, event, "it rained", &limits, NOW, &plan);
			g_assert_cmpint(plan.changed ? letters[plan.next.state] : '.', ==, wanted);
			check_plan(&row, event, &plan);
			if (event == LIBRARY_ERROR && plan.reason)
				g_assert_cmpstr(plan.reason, ==, "it rained");
			library_plan_clear(&plan);
		}
	}
	for (int state = 0; state < LIBRARY_STATE_MAX; state++)
		g_assert_true(seen[state] && library_state_find(library_state_name(state)) == (enum library_state)state);
}

static struct library_row step(struct library_row row, enum library_event event, int64_t now)
{
	struct library_plan plan;

	library_decide(&row, event, NULL, &limits, now, &plan);
	library_plan_clear(&plan);
	return plan.next;
}

/* Whatever a device does without end, its time does not grow. */
static void test_deadlines(void)
{
	struct library_row row = {0};
	struct library_plan plan;

	row = step(row, LIBRARY_WANT, NOW);
	g_assert_cmpint(row.deadline_ms, ==, NOW + DELIVER);
	row = step(row, LIBRARY_FETCHED, NOW + 10);
	g_assert_true(row.present && row.deadline_ms == NOW + 10 + ANSWER);
	row = step(row, LIBRARY_FETCHED, NOW + 1000);
	g_assert_cmpint(row.deadline_ms, ==, NOW + 10 + ANSWER);
	row = step(row, LIBRARY_NOT_NOW, NOW + 2000);
	g_assert_cmpint(row.deadline_ms, ==, NOW + DELIVER);
	row = step(step(row, LIBRARY_FETCHED, NOW + 3000), LIBRARY_ACK, NOW + 4000);
	g_assert_cmpint(row.deadline_ms, ==, NOW + 4000 + ANSWER);
	row = step(row, LIBRARY_LISTED, NOW + 5000);
	g_assert_true(row.state == LIBRARY_INSTALLED && !row.deadline_ms);
	/* An update that fails leaves the version before on the device. */
	row = step(step(row, LIBRARY_WANT_NEWER, NOW), LIBRARY_TIME, NOW);
	g_assert_true(row.state == LIBRARY_FAILED && row.present);
	row = step(step(row, LIBRARY_UNWANT, NOW), LIBRARY_NOT_THERE, NOW);
	g_assert_true(row.state == LIBRARY_REMOVED && !row.present);
	library_decide(&(struct library_row){LIBRARY_QUEUED, false, NOW, NOW}, LIBRARY_TIME, NULL, &limits, NOW, &plan);
	g_assert_nonnull(strstr(plan.reason, "14 days"));
	library_plan_clear(&plan);
	library_decide(&(struct library_row){LIBRARY_DELIVERED, true, NOW, NOW}, LIBRARY_TIME, NULL, &limits, NOW, &plan);
	g_assert_nonnull(strstr(plan.reason, "24 hours"));
	library_plan_clear(&plan);
	library_decide(&(struct library_row){LIBRARY_ACKNOWLEDGED, true, NOW, NOW}, LIBRARY_UNLISTED, NULL, &limits, NOW, &plan);
	g_assert_cmpstr(plan.reason, ==, "acknowledged, but the device does not list it");
	library_plan_clear(&plan);
}

/* ---- what devices say ---- */

#define ERROR(domain, code, text) "<dict><key>ErrorDomain</key><string>" domain "</string><key>ErrorCode</key><integer>" code "</integer><key>LocalizedDescription</key><string>" text "</string></dict>"

static void test_reasons(void)
{
	static const struct { const char *chain; enum report_status status; const char *has; bool gone; } cases[] = {
		{NULL, REPORT_ERROR, "gave no reason", false},
		{NULL, REPORT_COMMAND_FORMAT_ERROR, "could not read the command", false},
		{"<array></array>", REPORT_ERROR, "gave no reason", false},
		{"<array><string>x</string></array>", REPORT_ERROR, "gave no reason", false},
		{"<array>" ERROR("MCInstallationErrorDomain", "4001", "Profile failed") ERROR("MCProfileErrorDomain", "1004", "Bad") "</array>", REPORT_ERROR, "The signature of the profile does not verify.", false},
		{"<array>" ERROR("MCInstallationErrorDomain", "4001", "Profile failed") "</array>", REPORT_ERROR, "Profile failed (MCInstallationErrorDomain 4001)", false},
		{"<array>" ERROR("Unknown", "7", "a\tb\nc") "</array>", REPORT_ERROR, "a b c (Unknown 7)", false},
		{"<array>" ERROR("MCMDMErrorDomain", "12075", "not installed") "</array>", REPORT_ERROR, "12075", true},
		{"<array>" ERROR("DMCMDMErrorDomain", "12075", "not installed") "</array>", REPORT_ERROR, "12075", true},
		{"<array>" ERROR("MCMDMErrorDomain", "12013", "not managed") "</array>", REPORT_ERROR, "12013", false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) chain = cases[i].chain ? parse(cases[i].chain) : NULL;
		g_autofree char *reason = library_reason(chain, cases[i].status);

		g_test_message("%s", reason);
		g_assert_nonnull(strstr(reason, cases[i].has));
		g_assert_cmpint(library_is_not_there(chain), ==, cases[i].gone);
	}
}

static void test_listed(void)
{
	g_autoptr(plist) report = parse("<dict><key>ProfileList</key><array><dict><key>PayloadIdentifier</key><string>a.b</string><key>PayloadUUID</key><string>aa-BB</string></dict><string>x</string></array></dict>");

	g_assert_true(library_is_listed(report, "a.b", "AA-bb"));
	g_assert_false(library_is_listed(report, "a.b", "AA-cc"));
	g_assert_false(library_is_listed(report, "A.b", "AA-bb"));
	g_assert_false(library_is_listed(report, "a.b", NULL));
	g_assert_false(library_is_listed(NULL, "a.b", "AA-bb"));
}

static void test_facts(void)
{
	g_autoptr(plist) report = parse("<dict><key>QueryResponses</key><dict><key>IsSupervised</key><true/><key>DeviceName</key><string>x</string></dict>"
	                                "<key>SecurityInfo</key><dict><key>PasscodePresent</key><false/><key>FDE_PersonalRecoveryKeyCMS</key><data>eA==</data></dict></dict>");
	g_autoptr(plist) many = plist_new_dict();
	plist *dict = plist_new_dict();
	g_autoptr(GArray) facts = facts_read("SecurityInfo", report), bounded = NULL;
	g_autofree char *large = g_strnfill(FACT_VALUE_MAX, 'x'), *name = g_strnfill(FACT_NAME_MAX + 1, 'n');

	g_assert_cmpuint(facts->len, ==, 3);
	g_assert_cmpstr(g_array_index(facts, struct fact, 0).name, ==, "IsSupervised");
	g_assert_cmpstr(g_array_index(facts, struct fact, 0).value, ==, "true");
	g_assert_cmpstr(g_array_index(facts, struct fact, 1).value, ==, "\"x\"");
	g_assert_cmpstr(g_array_index(facts, struct fact, 2).name, ==, "SecurityInfo.PasscodePresent");
	plist_dict_set_string(dict, "large", large);
	plist_dict_set_string(dict, name, "x");
	for (int i = 0; i < 2 * FACTS_PER_REPORT; i++) {
		g_autofree char *key = g_strdup_printf("k%d", i);

		plist_dict_set_boolean(dict, key, true);
	}
	plist_dict_set(many, "QueryResponses", dict);
	bounded = facts_read("DeviceInformation", many);
	g_assert_cmpuint(bounded->len, ==, FACTS_PER_REPORT);
	g_assert_cmpstr(g_array_index(bounded, struct fact, 0).name, ==, "k0");
}

static void check_list(const char *request_type, const char *command, const char *report, const char *value, unsigned n_cut)
{
	g_autoptr(plist) asked = command ? parse(command) : NULL, answer = parse(report);
	g_autoptr(GArray) lists = fact_lists_read(request_type, asked, answer);
	const struct fact_list *list;

	g_assert_cmpuint(lists->len, ==, value ? 1 : 0);
	if (!value)
		return;
	list = &g_array_index(lists, struct fact_list, 0);
	g_assert_cmpstr(list->value, ==, value);
	g_assert_cmpuint(list->n_cut, ==, n_cut);
}

static void test_lists(void)
{
	static const char apps[] = "<dict><key>InstalledApplicationList</key><array><dict><key>Identifier</key><string>a</string></dict><string>x</string></array></dict>";
	static const char updates[] = "<dict><key>AvailableOSUpdates</key><array/></dict>", certificates[] = "<dict><key>CertificateList</key><array><dict><key>CommonName</key><string>n</string><key>Data</key><data>eA==</data></dict></array></dict>";

	check_list("InstalledApplicationList", NULL, apps, "[{\"Identifier\":\"a\"},\"x\"]", 0);
	check_list("InstalledApplicationList", "<dict><key>ManagedAppsOnly</key><false/></dict>", apps, "[{\"Identifier\":\"a\"},\"x\"]", 0);
	/* A part of it is not the device's list. */
	check_list("InstalledApplicationList", "<dict><key>ManagedAppsOnly</key><true/></dict>", apps, NULL, 0);
	check_list("InstalledApplicationList", "<dict><key>Identifiers</key><array/></dict>", apps, NULL, 0);
	/* Only what was asked for, and in its form. */
	check_list("DeviceInformation", NULL, apps, NULL, 0);
	check_list("ProfileList", NULL, apps, NULL, 0);
	check_list("InstalledApplicationList", NULL, "<dict><key>InstalledApplicationList</key><string>x</string></dict>", NULL, 0);
	check_list("AvailableOSUpdates", NULL, updates, "[]", 0);
	check_list("ManagedApplicationList", NULL, "<dict><key>ManagedApplicationList</key><dict><key>a</key><dict><key>Status</key><string>Managed</string></dict></dict></dict>", "{\"a\":{\"Status\":\"Managed\"}}", 0);
	check_list("CertificateList", NULL, certificates, "[{\"CommonName\":\"n\"}]", 0);
	check_list("ProfileList", NULL, "<dict><key>ProfileList</key><array><dict><key>PayloadUUID</key><string>u</string><key>SignerCertificates</key><array><data>eA==</data></array></dict></array></dict>",
	           "[{\"PayloadUUID\":\"u\",\"signed_by\":[]}]", 0);
	g_assert_cmpstr(fact_list_find("APPS"), ==, "InstalledApplicationList");
	g_assert_cmpstr(fact_list_find("Users"), ==, "Users");
	g_assert_null(fact_list_find("fact"));
}

static void test_lists_bounds(void)
{
	g_autoptr(plist) report = plist_new_dict();
	g_autofree char *large = g_strnfill(FACT_LIST_BYTES_MAX, 'x');
	g_autoptr(GArray) lists = NULL;
	plist *apps = plist_new_array();

	plist_array_append(apps, plist_new_string(large));
	for (int i = 0; i < FACT_LIST_ITEMS_MAX + 3; i++)
		plist_array_append(apps, plist_new_integer(i));
	plist_dict_set(report, "InstalledApplicationList", apps);
	lists = fact_lists_read("InstalledApplicationList", NULL, report);
	g_assert_cmpuint(g_array_index(lists, struct fact_list, 0).n_items, ==, FACT_LIST_ITEMS_MAX);
	g_assert_cmpuint(g_array_index(lists, struct fact_list, 0).n_cut, ==, 4);
	g_assert_cmpuint(strlen(g_array_index(lists, struct fact_list, 0).value), <=, FACT_LIST_BYTES_MAX);
}

static void test_notes(void)
{
	bool removes;

	g_assert_cmpstr(note_profile("install:a", &removes), ==, "a");
	g_assert_false(removes);
	g_assert_cmpstr(note_profile("remove:a:b", &removes), ==, "a:b");
	g_assert_true(removes);
	g_assert_null(note_profile("renewal", &removes));
	g_assert_null(note_profile(NULL, &removes));
	g_assert_true(note_is_library("profiles") && note_is_library("install:x") && !note_is_library("anchor:2") && !note_is_library(NULL));
}

static void test_own_identifiers(void)
{
	static const struct { const char *identifier; bool own, enrollment; } cases[] = {
		{"org.example.mdm.enroll", true, true}, {"ORG.example.mdm.Enroll", true, true}, {"org.example.mdm.enroll.mdm", true, false}, {"org.example.mdm.anchors", true, false},
		{"org.example.mdm.trust", true, false}, {"org.example.mdm.transport.identity", true, false}, {"org.example.mdm.profile-service", true, false}, {"org.example.mdm.enrollment", false, false},
		{"org.example.mdm", false, false}, {"org.example.mdm.wifi", false, false}, {"", false, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(enroll_is_own_identifier("https://mdm.example.org:8443", cases[i].identifier, false), ==, cases[i].own);
		g_assert_cmpint(enroll_is_own_identifier("https://mdm.example.org:8443", cases[i].identifier, true), ==, cases[i].enrollment);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/library/variables", test_variables);
	g_test_add_func("/library/variables-head", test_variables_head);
	g_test_add_func("/library/variables-size", test_variables_size);
	g_test_add_func("/library/check", test_check);
	g_test_add_func("/library/secrets", test_secrets);
	g_test_add_func("/library/names", test_names);
	g_test_add_func("/library/life", test_life);
	g_test_add_func("/library/deadlines", test_deadlines);
	g_test_add_func("/library/reasons", test_reasons);
	g_test_add_func("/library/listed", test_listed);
	g_test_add_func("/library/facts", test_facts);
	g_test_add_func("/library/lists", test_lists);
	g_test_add_func("/library/lists-bounds", test_lists_bounds);
	g_test_add_func("/library/notes", test_notes);
	g_test_add_func("/library/own-identifiers", test_own_identifiers);
	return g_test_run();
}
