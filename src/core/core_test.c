#include <string.h>

#include "core/ca.h"
#include "core/checkin.h"
#include "core/command.h"
#include "core/enroll.h"
#include "core/push.h"
#include "core/scep.h"

enum { NOW = 1000000 };

/* ---- check-in messages ---- */

static plist *parse_xml(const char *body)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\"><dict>%s</dict></plist>", body);
	g_autoptr(GError) error = NULL;
	plist *tree = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return tree;
}

#define ID "<key>UDID</key><string>U1</string>"
#define TYPE(t) "<key>MessageType</key><string>" t "</string>"
#define TOPIC "<key>Topic</key><string>com.apple.mgmt.x</string>"
#define TOKENS "<key>Token</key><data>AAE=</data><key>PushMagic</key><string>m</string>"

static void test_messages(void)
{
	static const struct {
		const char *xml;
		int code; /* -1: accepted */
	} cases[] = {
		{TYPE("Authenticate") ID TOPIC, -1},
		{TYPE("Authenticate") ID, POM_ERR_PLIST_KEY},
		{TYPE("Authenticate") TOPIC, POM_ERR_CHECKIN_MALFORMED},
		{TYPE("Authenticate") ID TOPIC "<key>OSVersion</key><integer>1</integer>", POM_ERR_PLIST_KEY},
		{TYPE("Authenticate") "<key>EnrollmentID</key><string>e</string>" TOPIC, -1},
		{TYPE("Authenticate") "<key>UDID</key><string></string>" TOPIC, POM_ERR_CHECKIN_MALFORMED},
		{TYPE("TokenUpdate") ID TOPIC TOKENS, -1},
		{TYPE("TokenUpdate") ID TOPIC, POM_ERR_PLIST_KEY},
		{TYPE("TokenUpdate") ID TOKENS, POM_ERR_PLIST_KEY},
		{TYPE("TokenUpdate") ID TOPIC "<key>Token</key><data></data><key>PushMagic</key><string>m</string>", POM_ERR_CHECKIN_MALFORMED},
		{TYPE("TokenUpdate") ID TOPIC "<key>Token</key><string>x</string><key>PushMagic</key><string>m</string>", POM_ERR_PLIST_KEY},
		{TYPE("CheckOut") ID, -1},
		{TYPE("UserAuthenticate") ID "<key>UserID</key><string>g</string>", -1},
		{TYPE("SetBootstrapToken") ID, -1},
		{TYPE("GetBootstrapToken") ID, -1},
		{TYPE("Nonsense") ID, POM_ERR_CHECKIN_TYPE},
		{ID, POM_ERR_PLIST_KEY},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse_xml(cases[i].xml);
		g_autoptr(GError) error = NULL;
		struct checkin_message message;
		bool ok = checkin_message_parse(tree, &message, &error);

		g_test_message("%s", cases[i].xml);
		if (cases[i].code < 0)
			g_assert_no_error(error);
		else
			g_assert_error(error, POM_ERROR, cases[i].code);
		g_assert_cmpint(ok, ==, cases[i].code < 0);
	}
}

static void test_identities(void)
{
	static const struct {
		const char *xml, *device, *user;
		enum enrollment_kind kind;
	} cases[] = {
		{ID, "U1", "", ENROLLMENT_DEVICE},
		{ID "<key>EnrollmentID</key><string>e</string>", "U1", "", ENROLLMENT_DEVICE},
		{ID "<key>UserID</key><string>g</string>", "U1", "g", ENROLLMENT_USER},
		{ID "<key>UserID</key><string>ffffffff-ffff-ffff-ffff-ffffffffffff</string><key>UserShortName</key><string>ann@x</string>", "U1", "ann@x", ENROLLMENT_SHARED_IPAD},
		{"<key>EnrollmentID</key><string>e</string>", "e", "", ENROLLMENT_USER_DEVICE},
		{"<key>EnrollmentID</key><string>e</string><key>EnrollmentUserID</key><string>u</string>", "e", "u", ENROLLMENT_USER_USER},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse_xml(cases[i].xml);
		struct checkin_identity who;

		g_assert_true(checkin_identity_parse(tree, "t", &who, NULL));
		g_assert_cmpstr(who.device_id, ==, cases[i].device);
		g_assert_cmpstr(who.user_part, ==, cases[i].user);
		g_assert_cmpint(who.kind, ==, cases[i].kind);
	}
	g_autoptr(plist) tree = parse_xml(ID "<key>UserID</key><string>FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF</string>");
	struct checkin_identity who;
	g_assert_false(checkin_identity_parse(tree, "t", &who, NULL));
}

/* ---- check-in decisions ---- */

static const char *const topics[] = {"com.apple.mgmt.x", NULL};

/* A device with an active epoch 1 (certificate of epoch 1) unless changed by the case. */
struct decision {
	const char *name;
	enum checkin_type type;
	/* certificate */
	enum certificate_state state;
	const char *bound;
	int64_t cert_epoch;
	bool may_enroll;
	/* device */
	const char *device;
	enum enrollment_state device_state;
	int64_t active, pending, last;
	const char *user, *topic;
	/* expected */
	int code; /* -1: plan */
	enum checkin_action action;
	int64_t epoch, ends;
	bool at_once, ends_enrollment;
};

static const struct decision decisions[] = {
	{"new device", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, true, NULL, 0, 0, 0, 0, "", NULL, -1, CHECKIN_DO_CREATE, 1, 0, false, false},
	{"new device, certificate not for enrollment", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, false, NULL, 0, 0, 0, 0, "", NULL, POM_ERR_ENROLLMENT_UNKNOWN},
	{"revoked certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_REVOKED, NULL, 0, true, NULL, 0, 0, 0, 0, "", NULL, POM_ERR_CERT_REVOKED},
	{"reserved certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_RESERVED, NULL, 0, true, NULL, 0, 0, 0, 0, "", NULL, POM_ERR_CERT_UNTRUSTED},
	{"wrong topic", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, true, NULL, 0, 0, 0, 0, "", "com.apple.mgmt.y", POM_ERR_TOPIC},
	{"user in Authenticate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, true, NULL, 0, 0, 0, 0, "u", NULL, POM_ERR_CHECKIN_MALFORMED},
	{"live device, new certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", NULL, -1, CHECKIN_DO_NEW_EPOCH, 2, 0, false, false},
	{"live device, same certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", NULL, -1, CHECKIN_DO_NEW_EPOCH, 2, 1, true, false},
	{"second new certificate replaces the pending one", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, NULL, 0, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_NEW_EPOCH, 3, 2, false, false},
	{"Authenticate again before TokenUpdate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E1", 2, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_REFRESH, 2, 0, false, false},
	{"certificate of an older epoch", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 2, 0, 2, "", NULL, POM_ERR_ENROLLMENT_ENDED},
	{"another device's certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E2", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", NULL, POM_ERR_IDENTITY_FOREIGN},
	{"bound certificate, unknown device", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E2", 1, true, NULL, 0, 0, 0, 0, "", NULL, POM_ERR_IDENTITY_FOREIGN},
	{"after CheckOut with the same certificate", CHECKIN_AUTHENTICATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENDED, 0, 0, 1, "", NULL, -1, CHECKIN_DO_NEW_EPOCH, 2, 0, false, false},
	{"first TokenUpdate", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_PENDING, 0, 1, 1, "", NULL, -1, CHECKIN_DO_ACTIVATE, 1, 0, false, false},
	{"TokenUpdate ends the old epoch", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 2, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_ACTIVATE, 2, 1, false, false},
	{"old epoch's TokenUpdate while one is pending", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_TOKEN, 1, 0, false, false},
	{"TokenUpdate with another topic", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", "com.apple.mgmt.y", POM_ERR_TOPIC},
	{"TokenUpdate of an unknown device", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, NULL, 0, true, NULL, 0, 0, 0, 0, "", NULL, POM_ERR_ENROLLMENT_UNKNOWN},
	{"TokenUpdate after CheckOut", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENDED, 0, 0, 1, "", NULL, POM_ERR_ENROLLMENT_ENDED},
	{"TokenUpdate with another's certificate", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E2", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", NULL, POM_ERR_IDENTITY_FOREIGN},
	{"user channel", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "u", NULL, -1, CHECKIN_DO_USER_TOKEN, 1, 0, false, false},
	{"user channel too early", CHECKIN_TOKEN_UPDATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_PENDING, 0, 1, 1, "u", NULL, POM_ERR_ENROLLMENT_PENDING},
	{"CheckOut", CHECKIN_CHECK_OUT, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "", NULL, -1, CHECKIN_DO_CHECK_OUT, 1, 1, false, true},
	{"CheckOut of the pending epoch leaves the active one", CHECKIN_CHECK_OUT, CERTIFICATE_ISSUED, "E1", 2, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_CHECK_OUT, 2, 2, false, false},
	{"CheckOut again", CHECKIN_CHECK_OUT, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENDED, 0, 0, 1, "", NULL, -1, CHECKIN_DO_NOTHING, 0, 0, false, false},
	{"a user's CheckOut leaves the device", CHECKIN_CHECK_OUT, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "u", NULL, -1, CHECKIN_DO_NOTHING, 1, 0, false, false},
	{"UserAuthenticate is declined", CHECKIN_USER_AUTHENTICATE, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 1, 0, 1, "u", NULL, POM_ERR_USER_DECLINED},
	{"bootstrap token of the own epoch", CHECKIN_GET_BOOTSTRAP_TOKEN, CERTIFICATE_ISSUED, "E1", 2, true, "E1", ENROLLMENT_ENROLLED, 1, 2, 2, "", NULL, -1, CHECKIN_DO_GET_BOOTSTRAP, 2, 0, false, false},
	{"SetBootstrapToken with an ended epoch", CHECKIN_SET_BOOTSTRAP_TOKEN, CERTIFICATE_ISSUED, "E1", 1, true, "E1", ENROLLMENT_ENROLLED, 2, 0, 2, "", NULL, POM_ERR_ENROLLMENT_ENDED},
};

static void test_decisions(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(decisions); i++) {
		const struct decision *d = &decisions[i];
		struct checkin_message message = {.type = d->type, .who = {"U1", d->user, ENROLLMENT_DEVICE}, .topic = d->topic ? d->topic : topics[0]};
		struct checkin_facts facts = {
			.certificate = {true, d->state, "01", d->bound, d->cert_epoch, "L1", d->may_enroll, 0, 2 * NOW},
			.device = {d->device != NULL, d->device, d->device_state, 1, d->active, d->pending, d->last, d->active ? topics[0] : NULL, d->pending ? topics[0] : NULL},
			.topics = topics,
		};
		struct checkin_plan plan = {0};
		g_autoptr(GError) error = NULL;
		bool ok = checkin_decide(&message, &facts, NOW, &plan, &error);

		g_test_message("%s", d->name);
		g_assert_cmpint(ok, ==, d->code < 0);
		if (!ok) {
			g_assert_error(error, POM_ERROR, d->code);
			g_assert_cmpint(pom_error_info_of(error)->http_status, !=, 401);
			continue;
		}
		g_assert_cmpint(plan.action, ==, d->action);
		g_assert_cmpint(plan.epoch, ==, d->epoch);
		g_assert_cmpint(plan.ends_epoch, ==, d->ends);
		g_assert_cmpint(plan.ends_at_once, ==, d->at_once);
		g_assert_cmpint(plan.ends_enrollment, ==, d->ends_enrollment);
	}
}

static void test_user_check_out(void)
{
	struct checkin_message message = {.type = CHECKIN_CHECK_OUT, .who = {"U1", "u", ENROLLMENT_USER}, .topic = topics[0]};
	struct checkin_facts facts = {
		.certificate = {true, CERTIFICATE_ISSUED, "01", "E1", 1, "L1", true, 0, 2 * NOW},
		.device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL},
		.user = {true, "E2", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL},
		.topics = topics,
	};
	struct checkin_plan plan;

	g_assert_true(checkin_decide(&message, &facts, NOW, &plan, NULL));
	g_assert_cmpint(plan.action, ==, CHECKIN_DO_USER_CHECK_OUT);
	g_assert_cmpint(plan.ends_epoch, ==, 0);
	g_assert_false(plan.ends_enrollment);
}

/* Texts that are kept have a maximum, so that no device can fill the database with its name. */
static void test_long_texts(void)
{
	static const struct { const char *type, *rest, *key, *element; size_t len; } cases[] = {
		{"Authenticate", TOPIC, "DeviceName", "string", CHECKIN_TEXT_MAX + 1}, {"Authenticate", TOPIC, "IMEI", "string", CHECKIN_TEXT_MAX + 1},
		{"TokenUpdate", TOPIC TOKENS, "UserLongName", "string", CHECKIN_TEXT_MAX + 1}, {"TokenUpdate", TOPIC TOKENS, "UnlockToken", "data", CHECKIN_SECRET_MAX * 4 / 3 + 4},
		{"SetBootstrapToken", "", "BootstrapToken", "data", CHECKIN_SECRET_MAX / 3 * 4 + 8},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *value = g_strnfill(cases[i].len / 4 * 4 + 4, 'A');
		g_autofree char *xml = g_strdup_printf("<key>MessageType</key><string>%s</string>" ID "%s<key>%s</key><%s>%s</%s>", cases[i].type, cases[i].rest, cases[i].key,
		                                       cases[i].element, value, cases[i].element);
		g_autoptr(plist) tree = parse_xml(xml);
		g_autoptr(GError) error = NULL;
		struct checkin_message message;

		g_test_message("%s.%s", cases[i].type, cases[i].key);
		g_assert_false(checkin_message_parse(tree, &message, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CHECKIN_MALFORMED);
	}
}

static void test_validity(void)
{
	static const struct { int64_t from, to; bool known, ok; } cases[] = {
		{0, 2 * NOW, true, true}, {NOW, NOW, true, true}, {NOW + 1, 2 * NOW, true, false}, {0, NOW - 1, true, false}, {0, 2 * NOW, false, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct certificate_facts certificate = {cases[i].known, CERTIFICATE_ISSUED, "01", "E1", 1, NULL, true, cases[i].from, cases[i].to};
		struct enrollment_facts device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL};
		int64_t epoch;

		g_assert_cmpint(checkin_check_identity(&certificate, &device, NOW, &epoch, NULL), ==, cases[i].ok);
	}
}

/* ---- reports ---- */

static void test_reports(void)
{
	static const struct { const char *xml; int code; } cases[] = {
		{ID "<key>Status</key><string>Idle</string>", -1},
		{ID "<key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>c</string>", -1},
		{ID "<key>Status</key><string>Acknowledged</string>", POM_ERR_CHECKIN_MALFORMED},
		{ID, POM_ERR_COMMAND_STATUS},
		{ID "<key>Status</key><string>Happy</string>", POM_ERR_COMMAND_STATUS},
		{ID "<key>Status</key><integer>1</integer>", POM_ERR_COMMAND_STATUS},
		{"<key>Status</key><string>Idle</string>", POM_ERR_CHECKIN_MALFORMED},
		{ID "<key>Status</key><string>Error</string><key>CommandUUID</key><string>c</string><key>ErrorChain</key><string>x</string>", POM_ERR_PLIST_KEY},
	};
	static const struct { enum report_status status; enum command_where where; int code; enum report_action action; bool deferred, unknown; } rules[] = {
		{REPORT_IDLE, COMMAND_NOWHERE, -1, REPORT_DO_NOTHING, true, false},
		{REPORT_ACKNOWLEDGED, COMMAND_PENDING, -1, REPORT_DO_FINISH, false, false},
		{REPORT_ERROR, COMMAND_PENDING, -1, REPORT_DO_FINISH, false, false},
		{REPORT_COMMAND_FORMAT_ERROR, COMMAND_PENDING, -1, REPORT_DO_FINISH, false, false},
		{REPORT_NOT_NOW, COMMAND_PENDING, -1, REPORT_DO_DEFER, false, false},
		{REPORT_ACKNOWLEDGED, COMMAND_DONE, -1, REPORT_DO_NOTHING, false, false},
		{REPORT_NOT_NOW, COMMAND_DONE, -1, REPORT_DO_NOTHING, false, false},
		{REPORT_ACKNOWLEDGED, COMMAND_NOWHERE, -1, REPORT_DO_NOTHING, false, true},
		{REPORT_ACKNOWLEDGED, COMMAND_OF_ANOTHER, POM_ERR_COMMAND_FOREIGN, 0, false, false},
	};
	int64_t last = NOW;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse_xml(cases[i].xml);
		g_autoptr(GError) error = NULL;
		struct report report;

		g_assert_cmpint(report_parse(tree, &report, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		struct report report = {.status = rules[i].status, .command_uuid = "c"};
		struct report_plan plan;
		g_autoptr(GError) error = NULL;

		if (!report_decide(&report, rules[i].where, 0, NOW, &plan, &error)) {
			g_assert_error(error, POM_ERROR, rules[i].code);
			continue;
		}
		g_assert_cmpint(rules[i].code, ==, -1);
		g_assert_cmpint(plan.action, ==, rules[i].action);
		g_assert_cmpint(plan.with_deferred, ==, rules[i].deferred);
		g_assert_cmpint(plan.unknown_command, ==, rules[i].unknown);
	}
	for (int64_t n = 0; n < 6; n++) {
		struct report report = {.status = REPORT_NOT_NOW, .command_uuid = "c"};
		struct report_plan plan;

		g_assert_true(report_decide(&report, COMMAND_PENDING, n, NOW, &plan, NULL));
		g_assert_cmpint(plan.push_again_ms, >=, last);
		last = plan.push_again_ms;
	}
}

static void test_commands(void)
{
	g_autoptr(GError) error = NULL;
	g_auto(command_auto) command = {0};
	g_autoptr(plist) tree = NULL, inner = NULL;
	g_autofree char *uuid = NULL;
	plist *dict = plist_new_dict();

	g_assert_false(command_build(plist_new_dict(), "c", &command, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_COMMAND_INVALID);
	g_assert_false(command_build(plist_new_array(), "c", &command, NULL));
	plist_dict_set_string(dict, "RequestType", "DeviceInformation");
	g_assert_true(command_build(dict, "c1", &command, NULL));
	g_assert_cmpstr(command.request_type, ==, "DeviceInformation");
	tree = plist_parse(g_bytes_get_data(command.body, NULL), g_bytes_get_size(command.body), NULL, NULL);
	g_assert_cmpstr(plist_get_string(plist_dict_get(tree, "CommandUUID")), ==, "c1");
	inner = command_unwrap(tree, &uuid, NULL);
	g_assert_cmpstr(uuid, ==, "c1");
	g_assert_cmpstr(plist_get_string(plist_dict_get(inner, "RequestType")), ==, "DeviceInformation");
	g_autoptr(plist) again = command_unwrap(inner, &uuid, NULL);
	g_assert_true(plist_equal(again, inner));
	g_autoptr(plist) empty = plist_new_dict();
	g_assert_null(command_unwrap(empty, &uuid, NULL));
}

/* ---- SCEP ---- */

static void test_scep(void)
{
	enum { DAY = 86400000 };
	static const struct { struct challenge_facts facts; enum scep_action action; int code; bool alarm; } cases[] = {
		{{.known = false}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_UNKNOWN, false},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 1}, SCEP_DO_ISSUE, -1, false},
		{{.known = true, .expires_ms = NOW, .max_keys = 1}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_EXPIRED, false},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 1, .n_keys = 1}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_USED, true},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 3, .n_keys = 2}, SCEP_DO_ISSUE, -1, false},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 3, .closed = true}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_USED, true},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 3, .revoked = true}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_REVOKED, false},
		{{.known = true, .max_keys = 1, .n_keys = 1, .closed = true, .has_same_key = true, .same_key_usable = true, .same_key_issued_ms = NOW - 1}, SCEP_DO_RESEND, -1, false},
		{{.known = true, .max_keys = 1, .n_keys = 1, .has_same_key = true, .same_key_usable = false, .same_key_issued_ms = NOW - 1}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_USED, true},
		{{.known = true, .max_keys = 1, .n_keys = 1, .has_same_key = true, .same_key_usable = true, .same_key_issued_ms = NOW - DAY}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_USED, true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct scep_plan plan;
		g_autoptr(GError) error = NULL;

		scep_decide(&cases[i].facts, NOW, &plan, &error);
		g_test_message("case %u", i);
		g_assert_cmpint(plan.action, ==, cases[i].action);
		g_assert_cmpint(plan.alarm, ==, cases[i].alarm);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_no_error(error);
	}
}

static void test_scep_policy(void)
{
	static const struct { int type, digest, cipher; bool legacy, des; int fail_info; } cases[] = {
		{19, NID_sha256, NID_aes_128_cbc, true, false, -1}, {19, NID_sha1, NID_des_ede3_cbc, true, false, -1},
		{19, NID_sha1, NID_aes_128_cbc, false, false, SCEP_BAD_ALG}, {19, NID_sha256, NID_des_ede3_cbc, false, false, SCEP_BAD_ALG},
		{19, NID_sha256, NID_des_cbc, true, false, SCEP_BAD_ALG}, {19, NID_sha256, NID_des_cbc, true, true, -1},
		{19, NID_sha256, NID_rc2_cbc, true, true, SCEP_BAD_ALG}, {18, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
		{17, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST}, {-1, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
		{0, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST}, {3, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct scep_request request = {.message_type = cases[i].type, .digest_nid = cases[i].digest, .fail_info = SCEP_FAIL_INFO_NONE};
		struct scep_policy policy = {cases[i].legacy, cases[i].des, 2048};
		enum scep_fail_info fail_info = SCEP_FAIL_INFO_NONE;
		bool ok = scep_check_message(&request, cases[i].cipher, &policy, &fail_info, NULL);

		g_assert_cmpint(ok, ==, cases[i].fail_info < 0);
		if (!ok)
			g_assert_cmpint(fail_info, ==, cases[i].fail_info);
	}
}

/* ---- enrollment ---- */

static void test_links(void)
{
	static const struct { struct link_facts link; int code; } cases[] = {
		{{true, "L", NULL, NULL, NOW + 1, 0, 0}, -1}, {{true, "L", NULL, NULL, NOW, 0, 0}, POM_ERR_LINK_EXPIRED},
		{{true, "L", NULL, NULL, NOW + 1, 5, 0}, POM_ERR_LINK_USED}, {{true, "L", NULL, NULL, NOW + 1, 0, 5}, POM_ERR_LINK_REVOKED},
		{{false, NULL, NULL, NULL, 0, 0, 0}, POM_ERR_LINK_UNKNOWN},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(link_check(&cases[i].link, NOW, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
}

static void test_profile(void)
{
	g_autoptr(GBytes) der = g_bytes_new("x", 1), fingerprint = g_bytes_new("12345678901234567890", 20);
	struct enroll_profile p = {"01890000-0000-7000-8000-AABBCCDDEEFF", "Org", "https://mdm.example.org:8443", "com.apple.mgmt.x", "s3cret", "CN1", der, fingerprint, 8191, 2048, true};
	g_autoptr(plist) a = enroll_profile_build(&p), b = enroll_profile_build(&p), c = NULL;
	g_autoptr(GError) error = NULL;
	const plist *payloads = plist_dict_get(a, "PayloadContent"), *scep, *mdm;
	const char *url;

	g_assert_true(mobileconfig_check(a, &error));
	g_assert_no_error(error);
	g_assert_true(plist_equal(a, b));
	p.link_id = "01890000-0000-7000-8000-AABBCCDDEEFE";
	c = enroll_profile_build(&p);
	g_assert_false(plist_equal(a, c));
	g_assert_cmpstr(plist_get_string(plist_dict_get(a, "PayloadScope")), ==, "System");
	g_assert_cmpstr(plist_get_string(plist_dict_get(a, "PayloadIdentifier")), ==, "org.example.mdm.enroll");
	scep = plist_dict_get(plist_child(payloads, 1), "PayloadContent");
	mdm = plist_child(payloads, 2);
	url = plist_get_string(plist_dict_get(scep, "URL"));
	g_assert_cmpstr(url, ==, "https://mdm.example.org:8443/scep");
	g_assert_null(strchr(url, '?'));
	g_assert_cmpstr(plist_get_string(plist_dict_get(mdm, "IdentityCertificateUUID")), ==, plist_get_string(plist_dict_get(plist_child(payloads, 1), "PayloadUUID")));
	g_assert_cmpuint(plist_count(plist_dict_get(mdm, "ServerCapabilities")), ==, 2);
}

static void test_profile_identifiers(void)
{
	static const struct { const char *url, *identifier; } cases[] = {
		{"https://mdm.example.org", "org.example.mdm.enroll"}, {"https://localhost:8443", "localhost.enroll"},
		{"https://192.0.2.1:8443", "mdm.192-0-2-1.enroll"}, {"https://[2001:db8::1]:8443", "mdm.2001-db8--1.enroll"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = enroll_profile_build(&(struct enroll_profile){"01890000-0000-7000-8000-AABBCCDDEEFF", "Org", cases[i].url, "t", "c", "n", NULL, NULL, 8191, 2048, true});

		g_assert_cmpstr(plist_get_string(plist_dict_get(tree, "PayloadIdentifier")), ==, cases[i].identifier);
	}
}

static void test_ca(void)
{
	struct cert_plan plan = {0};
	uint8_t zeros[16] = {0}, ones[16];

	ca_plan_dates(&plan, 1000000, 10, 0, 0);
	g_assert_cmpint(plan.not_before, ==, 1000000 - 3600);
	g_assert_cmpint(plan.not_after - plan.not_before, ==, 864000 - 1);
	ca_plan_dates(&plan, 1000000, 10, 999999, 1000500);
	g_assert_cmpint(plan.not_before, ==, 999999);
	g_assert_cmpint(plan.not_after, ==, 1000500);
	memset(ones, 0xff, sizeof(ones));
	ca_plan_serial(&plan, zeros);
	g_assert_cmpuint(plan.serial_len, ==, 16);
	g_assert_cmpuint(plan.serial[0], ==, 0x40);
	ca_plan_serial(&plan, ones);
	g_assert_cmpuint(plan.serial[0], ==, 0x7f);
	g_assert_cmpint(ca_renew_at(0, 300), ==, 200);
}

static void test_push(void)
{
	static const struct { int status; const char *reason; enum push_verdict verdict; } cases[] = {
		{200, NULL, PUSH_VERDICT_OK}, {410, "Unregistered", PUSH_VERDICT_TOKEN_DEAD}, {410, NULL, PUSH_VERDICT_TOKEN_DEAD},
		{400, "BadDeviceToken", PUSH_VERDICT_TOKEN_DEAD}, {403, "BadCertificate", PUSH_VERDICT_TOPIC}, {403, NULL, PUSH_VERDICT_TOPIC},
		{429, "TooManyRequests", PUSH_VERDICT_RETRY}, {500, "InternalServerError", PUSH_VERDICT_RETRY}, {503, "Shutdown", PUSH_VERDICT_RECONNECT},
		{503, NULL, PUSH_VERDICT_RETRY}, {400, "BadPriority", PUSH_VERDICT_BUG}, {0, NULL, PUSH_VERDICT_RETRY},
	};
	int64_t last = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(push_decide(cases[i].status, cases[i].reason), ==, cases[i].verdict);
	for (int n = 1; n < 20; n++) {
		int64_t delay = push_delay_ms(n, false, 0);

		g_assert_cmpint(delay, >=, last);
		g_assert_cmpint(push_delay_ms(n, false, 999), <=, delay + delay / 2);
		last = delay;
	}
	g_assert_cmpint(last, ==, 3600000);
	g_assert_cmpint(push_delay_ms(1, true, 0), ==, 60000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/checkin/messages", test_messages);
	g_test_add_func("/core/checkin/identities", test_identities);
	g_test_add_func("/core/checkin/decisions", test_decisions);
	g_test_add_func("/core/checkin/validity", test_validity);
	g_test_add_func("/core/checkin/user-check-out", test_user_check_out);
	g_test_add_func("/core/checkin/long-texts", test_long_texts);
	g_test_add_func("/core/command/reports", test_reports);
	g_test_add_func("/core/command/build", test_commands);
	g_test_add_func("/core/scep/challenge", test_scep);
	g_test_add_func("/core/scep/policy", test_scep_policy);
	g_test_add_func("/core/enroll/links", test_links);
	g_test_add_func("/core/enroll/profile", test_profile);
	g_test_add_func("/core/enroll/identifiers", test_profile_identifiers);
	g_test_add_func("/core/ca", test_ca);
	g_test_add_func("/core/push", test_push);
	return g_test_run();
}
