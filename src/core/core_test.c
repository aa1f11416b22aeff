#include <openssl/x509v3.h>
#include <string.h>

#include "core/ca.h"
#include "core/checkin.h"
#include "core/command.h"
#include "core/enroll.h"
#include "core/renewal.h"
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

#define SERVICE(s) "<key>TokenServiceType</key><string>" s "</string>"
#define PARAMETERS(s, p, w) \
	"<key>TokenParameters</key><dict><key>SecurityToken</key><string>" s "</string><key>PhoneUDID</key><string>" p "</string><key>WatchUDID</key><string>" w "</string></dict>"

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
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing") PARAMETERS("s", "U1", "W1"), -1},
		{TYPE("GetToken") ID PARAMETERS("s", "U1", "W1"), POM_ERR_PLIST_KEY},
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing"), POM_ERR_PLIST_KEY},
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing") "<key>TokenParameters</key><string>s</string>", POM_ERR_PLIST_KEY},
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing") "<key>TokenParameters</key><dict><key>SecurityToken</key><string>s</string><key>PhoneUDID</key><string>U1</string></dict>", POM_ERR_PLIST_KEY},
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing") PARAMETERS("", "U1", "W1"), POM_ERR_CHECKIN_MALFORMED},
		{TYPE("GetToken") ID SERVICE("com.apple.watch.pairing") "<key>TokenParameters</key><dict><key>SecurityToken</key><data>AA==</data></dict>", POM_ERR_PLIST_KEY},
		{TYPE("GetToken") SERVICE("com.apple.watch.pairing") PARAMETERS("s", "U1", "W1"), POM_ERR_CHECKIN_MALFORMED},
		{TYPE("GetToken") ID "<key>TokenServiceType</key><integer>1</integer>", POM_ERR_PLIST_KEY},
		{TYPE("GetToken") ID SERVICE("com.apple.maid"), -1},
		{TYPE("DeclarativeManagement") ID "<key>Endpoint</key><string>tokens</string>", -1},
		{TYPE("DeclarativeManagement") ID "<key>Endpoint</key><string>status</string><key>Data</key><data>e30=</data>", -1},
		{TYPE("DeclarativeManagement") ID, POM_ERR_PLIST_KEY},
		{TYPE("DeclarativeManagement") ID "<key>Endpoint</key><string></string>", POM_ERR_CHECKIN_MALFORMED},
		{TYPE("DeclarativeManagement") ID "<key>Endpoint</key><data>dA==</data>", POM_ERR_PLIST_KEY},
		{TYPE("DeclarativeManagement") ID "<key>Endpoint</key><string>status</string><key>Data</key><string>{}</string>", POM_ERR_PLIST_KEY},
		{TYPE("DeclarativeManagement") "<key>Endpoint</key><string>tokens</string>", POM_ERR_CHECKIN_MALFORMED},
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

/* A token is for the device itself, once it has enrolled. */
static void test_get_token(void)
{
	static const struct { const char *service; int64_t cert_epoch, active, pending, not_after; int code; } cases[] = {
		{CHECKIN_SERVICE_WATCH, 1, 1, 0, 2 * NOW, -1}, {"com.apple.maid", 1, 1, 0, 2 * NOW, POM_ERR_MAID_OFF}, {"x", 1, 1, 0, 2 * NOW, POM_ERR_TOKEN_SERVICE},
		{CHECKIN_SERVICE_WATCH, 1, 0, 1, 2 * NOW, POM_ERR_ENROLLMENT_PENDING}, {CHECKIN_SERVICE_WATCH, 2, 1, 2, 2 * NOW, POM_ERR_ENROLLMENT_PENDING},
		{CHECKIN_SERVICE_WATCH, 1, 2, 0, 2 * NOW, POM_ERR_ENROLLMENT_ENDED}, {CHECKIN_SERVICE_WATCH, 1, 1, 0, NOW - 1, POM_ERR_CERT_EXPIRED},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct checkin_message message = {.type = CHECKIN_GET_TOKEN, .who = {"U1", "", ENROLLMENT_DEVICE}, .token_service = cases[i].service};
		struct checkin_facts facts = {
			.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = cases[i].cert_epoch, .may_enroll = true, .not_after_ms = cases[i].not_after, .grace_ms = NOW},
			.device = {true, "E1", ENROLLMENT_ENROLLED, 1, cases[i].active, cases[i].pending, 2, topics[0], topics[0]}, .topics = topics,
		};
		struct checkin_plan plan = {0};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(checkin_decide(&message, &facts, NOW, &plan, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_cmpint(plan.action, ==, CHECKIN_DO_GET_TOKEN);
	}
}

/* Every key of every message as Apple has it: what is required, and of which type. NULL WRONG: read by nobody. */
static void test_keys(void)
{
#define DATA "<data>AAE=</data>"
#define TEXT "<string>text</string>"
#define YES "<true/>"
#define NUMBER "<integer>1</integer>"
	static const struct { const char *type, *rest, *key, *good, *wrong; int missing; /* the code when it is left out; -1: it may be */ } cases[] = {
		{"Authenticate", ID TOPIC, "DeviceName", TEXT, NUMBER, -1}, {"Authenticate", ID TOPIC, "ModelName", TEXT, NUMBER, -1}, {"Authenticate", ID TOPIC, "Model", TEXT, NUMBER, -1},
		{"Authenticate", ID, "Topic", TEXT, DATA, POM_ERR_PLIST_KEY}, {"Authenticate", TOPIC, "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"Authenticate", TOPIC, "EnrollmentID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"Authenticate", ID TOPIC, "OSVersion", TEXT, NUMBER, -1}, {"Authenticate", ID TOPIC, "BuildVersion", TEXT, DATA, -1},
		{"Authenticate", ID TOPIC, "ProductName", TEXT, YES, -1}, {"Authenticate", ID TOPIC, "SerialNumber", TEXT, NUMBER, -1}, {"Authenticate", ID TOPIC, "IMEI", TEXT, NUMBER, -1}, {"Authenticate", ID TOPIC, "MEID", TEXT, NUMBER, -1},
		{"CheckOut", ID, "Topic", TEXT, NUMBER, -1}, {"CheckOut", "", "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"CheckOut", "", "EnrollmentID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"DeclarativeManagement", ID, "Endpoint", TEXT, DATA, POM_ERR_PLIST_KEY}, {"DeclarativeManagement", ID "<key>Endpoint</key>" TEXT, "Data", DATA, TEXT, -1},
		{"DeclarativeManagement", "<key>Endpoint</key>" TEXT, "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"DeclarativeManagement", "<key>Endpoint</key>" TEXT, "EnrollmentID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"DeclarativeManagement", "<key>EnrollmentID</key>" TEXT "<key>Endpoint</key>" TEXT, "EnrollmentUserID", TEXT, NUMBER, -1}, {"DeclarativeManagement", ID "<key>Endpoint</key>" TEXT, "UserShortName", TEXT, NUMBER, -1},
		{"DeclarativeManagement", ID "<key>Endpoint</key>" TEXT, "UserID", TEXT, NUMBER, -1}, {"DeclarativeManagement", ID "<key>Endpoint</key>" TEXT, "UserLongName", TEXT, NUMBER, -1},
		{"GetBootstrapToken", ID, "AwaitingConfiguration", YES, TEXT, -1}, {"SetBootstrapToken", ID, "AwaitingConfiguration", YES, NUMBER, -1}, {"SetBootstrapToken", ID, "BootstrapToken", DATA, TEXT, -1},
		{"GetToken", ID, "TokenServiceType", TEXT, NUMBER, POM_ERR_PLIST_KEY}, {"GetToken", ID SERVICE("com.apple.maid"), "TokenParameters", "<dict/>", TEXT, -1},
		{"GetToken", ID SERVICE("com.apple.watch.pairing"), "TokenParameters", "<dict><key>SecurityToken</key>" TEXT "<key>PhoneUDID</key>" TEXT "<key>WatchUDID</key>" TEXT "</dict>", TEXT, POM_ERR_PLIST_KEY},
		{"GetToken", SERVICE("com.apple.maid"), "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"GetToken", SERVICE("com.apple.maid"), "EnrollmentID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"GetToken", ID SERVICE("com.apple.maid"), "EnrollmentUserID", TEXT, NUMBER, -1}, {"GetToken", ID SERVICE("com.apple.maid"), "UserShortName", TEXT, NUMBER, -1},
		{"GetToken", ID SERVICE("com.apple.maid"), "UserID", TEXT, NUMBER, -1}, {"GetToken", ID SERVICE("com.apple.maid"), "UserLongName", TEXT, DATA, -1},
		{"TokenUpdate", ID TOPIC TOKENS, "NotOnConsole", YES, TEXT, -1}, {"TokenUpdate", ID TOKENS, "Topic", TEXT, NUMBER, POM_ERR_PLIST_KEY}, {"TokenUpdate", TOPIC TOKENS, "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"TokenUpdate", TOPIC TOKENS, "EnrollmentID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"TokenUpdate", ID TOPIC TOKENS, "EnrollmentUserID", TEXT, NUMBER, -1}, {"TokenUpdate", ID TOPIC TOKENS, "UserShortName", TEXT, NUMBER, -1},
		{"TokenUpdate", ID TOPIC TOKENS, "UserID", TEXT, DATA, -1}, {"TokenUpdate", ID TOPIC TOKENS, "UserLongName", TEXT, NUMBER, -1}, {"TokenUpdate", ID TOPIC "<key>PushMagic</key>" TEXT, "Token", DATA, TEXT, POM_ERR_PLIST_KEY},
		{"TokenUpdate", ID TOPIC "<key>Token</key>" DATA, "PushMagic", TEXT, DATA, POM_ERR_PLIST_KEY}, {"TokenUpdate", ID TOPIC TOKENS, "UnlockToken", DATA, TEXT, -1}, {"TokenUpdate", ID TOPIC TOKENS, "AwaitingConfiguration", YES, NUMBER, -1},
		{"UserAuthenticate", "<key>UserID</key>" TEXT, "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED}, {"UserAuthenticate", ID, "UserID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"UserAuthenticate", ID "<key>UserID</key>" TEXT, "DigestResponse", TEXT, DATA, -1}, {"ReturnToService", "", "UDID", TEXT, NUMBER, POM_ERR_CHECKIN_MALFORMED},
		{"ReturnToService", ID, "Unknown", TEXT, NULL, -1},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const char *const values[] = {cases[i].good, cases[i].wrong, ""};

		for (unsigned k = 0; k < 3; k++) {
			g_autofree char *pair = k < 2 && values[k] ? g_strdup_printf("<key>%s</key>%s", cases[i].key, values[k]) : g_strdup("");
			g_autofree char *xml = g_strdup_printf("<key>MessageType</key><string>%s</string>%s%s", cases[i].type, cases[i].rest, pair);
			g_autoptr(plist) tree = parse_xml(xml);
			g_autoptr(GError) error = NULL;
			struct checkin_message message;
			int wanted = k == 0 || !values[k] ? -1 : k == 1 ? POM_ERR_PLIST_KEY : cases[i].missing;
			bool ok = checkin_message_parse(tree, &message, &error);

			g_test_message("%s", xml);
			g_assert_cmpint(ok, ==, wanted < 0);
			if (wanted >= 0)
				g_assert_error(error, POM_ERROR, wanted);
			if (wanted == POM_ERR_PLIST_KEY)
				g_assert_nonnull(strstr(error->message, cases[i].key));
		}
	}
#undef DATA
#undef TEXT
#undef YES
#undef NUMBER
}

/* Users are of Macs and Shared iPads; what they may do, and what only devices do. */
static void test_users_of_devices(void)
{
	static const struct { enum checkin_type type; enum enrollment_kind kind; const char *product, *digest; bool ask; int64_t active, pending; int code; enum checkin_action action; } cases[] = {
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "Mac14,2", NULL, false, 1, 0, -1, CHECKIN_DO_USER_TOKEN}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, NULL, NULL, false, 1, 0, -1, CHECKIN_DO_USER_TOKEN},
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "Unknown1,1", NULL, false, 1, 0, -1, CHECKIN_DO_USER_TOKEN}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "iPhone15,2", NULL, false, 1, 0, POM_ERR_USER_CHANNEL},
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "iPad13,1", NULL, false, 1, 0, POM_ERR_USER_CHANNEL}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "AppleTV14,1", NULL, false, 1, 0, POM_ERR_USER_CHANNEL},
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_SHARED_IPAD, "iPad13,1", NULL, false, 1, 0, -1, CHECKIN_DO_USER_TOKEN}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_SHARED_IPAD, "iPhone15,2", NULL, false, 1, 0, POM_ERR_USER_CHANNEL},
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_SHARED_IPAD, "MacBookPro18,3", NULL, false, 1, 0, POM_ERR_USER_CHANNEL}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER_USER, "Mac14,2", NULL, false, 1, 0, -1, CHECKIN_DO_USER_TOKEN},
		{CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER_USER, "iPhone15,2", NULL, false, 1, 0, POM_ERR_USER_CHANNEL}, {CHECKIN_TOKEN_UPDATE, ENROLLMENT_USER, "Mac14,2", NULL, false, 0, 1, POM_ERR_ENROLLMENT_PENDING},
		{CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "Mac14,2", NULL, false, 1, 0, POM_ERR_USER_DECLINED}, {CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "Mac14,2", "digest", false, 1, 0, POM_ERR_USER_DECLINED},
		{CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "Mac14,2", NULL, true, 1, 0, -1, CHECKIN_DO_CHALLENGE_USER}, {CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "Mac14,2", "digest", true, 1, 0, -1, CHECKIN_DO_NOTHING},
		{CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "iPhone15,2", NULL, true, 1, 0, POM_ERR_USER_CHANNEL}, {CHECKIN_USER_AUTHENTICATE, ENROLLMENT_USER, "Mac14,2", NULL, true, 0, 1, POM_ERR_ENROLLMENT_PENDING},
		{CHECKIN_RETURN_TO_SERVICE, ENROLLMENT_DEVICE, "iPhone15,2", NULL, false, 1, 0, -1, CHECKIN_DO_RETURN_TO_SERVICE}, {CHECKIN_RETURN_TO_SERVICE, ENROLLMENT_DEVICE, NULL, NULL, false, 0, 1, POM_ERR_ENROLLMENT_PENDING},
		{CHECKIN_RETURN_TO_SERVICE, ENROLLMENT_DEVICE, NULL, NULL, false, 2, 1, POM_ERR_ENROLLMENT_PENDING},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		bool is_user = cases[i].kind != ENROLLMENT_DEVICE;
		struct checkin_message message = {.type = cases[i].type, .who = {"U1", is_user ? "u" : "", cases[i].kind}, .topic = topics[0], .digest_response = cases[i].digest};
		struct checkin_facts facts = {
			.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = 1, .not_after_ms = 2 * NOW},
			.device = {true, "E1", ENROLLMENT_ENROLLED, 1, cases[i].active, cases[i].pending, 2, topics[0], topics[0], cases[i].product}, .topics = topics, .policy = {.ask_user = cases[i].ask},
		};
		struct checkin_plan plan = {0};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(checkin_decide(&message, &facts, NOW, &plan, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_cmpint(plan.action, ==, cases[i].action);
	}
	/* A device that is to be erased must not be asked to by an identity that has ended. */
	struct checkin_message message = {.type = CHECKIN_RETURN_TO_SERVICE, .who = {"U1", "", ENROLLMENT_DEVICE}};
	struct checkin_facts facts = {
		.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = 1, .not_after_ms = NOW - 1, .grace_ms = NOW},
		.device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL, NULL}, .topics = topics,
	};
	struct checkin_plan plan;
	g_autoptr(GError) error = NULL;
	g_assert_false(checkin_decide(&message, &facts, NOW, &plan, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_EXPIRED);
}

static void test_maid(void)
{
	struct checkin_message message = {.type = CHECKIN_GET_TOKEN, .who = {"U1", "", ENROLLMENT_DEVICE}, .token_service = CHECKIN_SERVICE_MAID};
	struct checkin_facts facts = {
		.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = 1, .not_after_ms = 2 * NOW},
		.device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL, NULL}, .topics = topics, .policy = {.maid = true},
	};
	struct checkin_plan plan;

	g_assert_true(checkin_decide(&message, &facts, NOW, &plan, NULL));
	g_assert_cmpint(plan.action, ==, CHECKIN_DO_GET_MAID);
	facts.certificate.not_after_ms = NOW - 1;
	facts.certificate.grace_ms = NOW;
	g_assert_false(checkin_decide(&message, &facts, NOW, &plan, NULL));
}

/* A device of another server: in time, unknown, and with the first message of one that is enrolled. */
static void test_first_use(void)
{
	static const struct { const char *name; int type; /* -1: a report */ const char *user, *topic; bool known; int64_t until, from, to; int code; } cases[] = {
		{"TokenUpdate", CHECKIN_TOKEN_UPDATE, "", "com.apple.mgmt.x", false, NOW + 1, 0, NOW, -1}, {"report", -1, "", NULL, false, NOW + 1, 0, NOW, -1},
		{"the window is over", CHECKIN_TOKEN_UPDATE, "", "com.apple.mgmt.x", false, NOW, 0, NOW, POM_ERR_FIRST_USE_CLOSED}, {"over for reports", -1, "", NULL, false, NOW, 0, NOW, POM_ERR_FIRST_USE_CLOSED},
		{"an existing binding", CHECKIN_TOKEN_UPDATE, "", "com.apple.mgmt.x", true, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_TAKEN}, {"the same of a report", -1, "", NULL, true, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_TAKEN},
		{"Authenticate", CHECKIN_AUTHENTICATE, "", "com.apple.mgmt.x", false, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_MESSAGE}, {"CheckOut", CHECKIN_CHECK_OUT, "", NULL, false, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_MESSAGE},
		{"GetBootstrapToken", CHECKIN_GET_BOOTSTRAP_TOKEN, "", NULL, false, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_MESSAGE}, {"a user first", CHECKIN_TOKEN_UPDATE, "u", "com.apple.mgmt.x", false, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_MESSAGE},
		{"a user's report", -1, "u", NULL, false, NOW + 1, 0, NOW, POM_ERR_FIRST_USE_MESSAGE}, {"another topic", CHECKIN_TOKEN_UPDATE, "", "com.apple.mgmt.y", false, NOW + 1, 0, NOW, POM_ERR_TOPIC},
		{"ended certificate", CHECKIN_TOKEN_UPDATE, "", "com.apple.mgmt.x", false, NOW + 1, 0, NOW - 1, POM_ERR_CERT_EXPIRED}, {"certificate of tomorrow", -1, "", NULL, false, NOW + 1, NOW + 1, NOW + 2, POM_ERR_CERT_EXPIRED},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct checkin_message message = {.type = (enum checkin_type)MAX(cases[i].type, 0), .who = {"U1", cases[i].user, ENROLLMENT_DEVICE}, .topic = cases[i].topic};
		struct first_use first_use = {cases[i].until, cases[i].from, cases[i].to};
		struct checkin_facts facts = {.device = {.known = cases[i].known, .id = "E1", .state = ENROLLMENT_ENDED}, .topics = topics};
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].name);
		g_assert_cmpint(checkin_check_first_use(cases[i].type < 0 ? NULL : &message, &message.who, &first_use, &facts, NOW, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
	/* Its topic is not known until its TokenUpdate: then it must be one of ours. */
	for (int ours = 0; ours < 2; ours++) {
		struct checkin_message message = {.type = CHECKIN_TOKEN_UPDATE, .who = {"U1", "", ENROLLMENT_DEVICE}, .topic = ours ? topics[0] : "com.apple.mgmt.y"};
		struct checkin_facts facts = {
			.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = 1, .not_after_ms = 2 * NOW},
			.device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, "", NULL, NULL}, .topics = topics,
		};
		struct checkin_plan plan;

		g_assert_cmpint(checkin_decide(&message, &facts, NOW, &plan, NULL), ==, ours);
	}
}

/* Declarations are of a live channel. */
static void test_declarative(void)
{
	static const struct { const char *user; bool user_known; int64_t cert_epoch, user_epoch, active, pending, not_after; int code; } cases[] = {
		{"", false, 1, 0, 1, 0, 2 * NOW, -1}, {"u", true, 1, 1, 1, 0, 2 * NOW, -1},
		{"u", false, 1, 0, 1, 0, 2 * NOW, POM_ERR_ENROLLMENT_UNKNOWN}, {"u", true, 1, 0, 1, 0, 2 * NOW, POM_ERR_ENROLLMENT_UNKNOWN},
		{"", false, 1, 0, 0, 1, 2 * NOW, POM_ERR_ENROLLMENT_PENDING}, {"", false, 2, 0, 1, 2, 2 * NOW, POM_ERR_ENROLLMENT_PENDING},
		{"", false, 1, 0, 2, 0, 2 * NOW, POM_ERR_ENROLLMENT_ENDED}, {"", false, 1, 0, 1, 0, NOW - 1, POM_ERR_CERT_EXPIRED},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct checkin_message message = {.type = CHECKIN_DECLARATIVE_MANAGEMENT, .who = {"U1", cases[i].user, *cases[i].user ? ENROLLMENT_USER : ENROLLMENT_DEVICE}, .endpoint = "tokens"};
		struct checkin_facts facts = {
			.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = cases[i].cert_epoch, .not_after_ms = cases[i].not_after, .grace_ms = NOW},
			.device = {true, "E1", ENROLLMENT_ENROLLED, 1, cases[i].active, cases[i].pending, 2, topics[0], topics[0]},
			.user = {.known = cases[i].user_known, .id = "E2", .state = ENROLLMENT_ENROLLED, .active_epoch = cases[i].user_epoch}, .topics = topics,
		};
		struct checkin_plan plan = {0};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(checkin_decide(&message, &facts, NOW, &plan, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_cmpint(plan.action, ==, CHECKIN_DO_DECLARATIVE);
	}
}

/* An identity for fetching a profile is none for anything else. */
static void test_transport_identity(void)
{
	static const enum checkin_type types[] = {CHECKIN_AUTHENTICATE, CHECKIN_TOKEN_UPDATE, CHECKIN_CHECK_OUT, CHECKIN_GET_BOOTSTRAP_TOKEN, CHECKIN_GET_TOKEN};

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		struct checkin_message message = {.type = types[i], .who = {"U1", "", ENROLLMENT_DEVICE}, .topic = topics[0], .token_service = CHECKIN_SERVICE_WATCH};
		struct checkin_facts facts = {
			.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .may_enroll = true, .not_after_ms = 2 * NOW, .ota_link_id = "L1"},
			.device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL}, .topics = topics,
		};
		struct checkin_plan plan;
		g_autoptr(GError) error = NULL;

		g_assert_false(checkin_decide(&message, &facts, NOW, &plan, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_OTA_TRANSPORT);
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
	static const struct { int64_t from, to, grace; bool known, ok, expired; } cases[] = {
		{0, 2 * NOW, 0, true, true, false}, {NOW, NOW, 0, true, true, false}, {NOW + 1, 2 * NOW, 5, true, false, false}, {0, NOW - 1, 0, true, false, true}, {0, 2 * NOW, 0, false, false, false},
		{0, NOW - 5, 5, true, true, true}, {0, NOW - 6, 5, true, false, true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct certificate_facts certificate = {.known = cases[i].known, .state = CERTIFICATE_ISSUED, .serial = "01", .enrollment_id = "E1", .epoch = 1, .may_enroll = true,
		                                        .grace_ms = cases[i].grace, .not_before_ms = cases[i].from, .not_after_ms = cases[i].to};
		struct enrollment_facts device = {true, "E1", ENROLLMENT_ENROLLED, 1, 1, 0, 1, topics[0], NULL};
		int64_t epoch;

		g_assert_cmpint(checkin_check_identity(&certificate, &device, NOW, &epoch, NULL), ==, cases[i].ok);
		g_assert_cmpint(checkin_is_expired(&certificate, NOW), ==, cases[i].expired);
	}
}

/* A certificate for one device is no use to another. */
static void test_bound_device(void)
{
	static const struct { const char *device_id, *udid, *serial; bool ok; } cases[] = {
		{NULL, "U1", "S1", true}, {"U1", "U1", "S1", true}, {"S1", "U1", "S1", true}, {"U2", "U1", "S1", false}, {"U2", "U1", NULL, false}, {"", "U1", NULL, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct checkin_message m = {.type = CHECKIN_AUTHENTICATE, .who = {.device_id = cases[i].udid, .user_part = "", .kind = ENROLLMENT_DEVICE}, .topic = topics[0], .serial = cases[i].serial};
		struct checkin_facts facts = {.certificate = {.known = true, .state = CERTIFICATE_ISSUED, .serial = "01", .may_enroll = true, .not_after_ms = 2 * NOW, .device_id = cases[i].device_id}, .topics = topics};
		g_autoptr(GError) error = NULL;
		struct checkin_plan plan;

		g_test_message("case %u", i);
		g_assert_cmpint(checkin_decide(&m, &facts, NOW, &plan, &error), ==, cases[i].ok);
		if (!cases[i].ok)
			g_assert_error(error, POM_ERROR, POM_ERR_IDENTITY_FOREIGN);
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
	g_autoptr(scep_profile) profile = scep_profile_new("p");
	const struct csr csr = {.key_type = EVP_PKEY_RSA, .key_bits = 2048};
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
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 1, .profile = "other"}, SCEP_DO_REFUSE, POM_ERR_SCEP_CHALLENGE_UNKNOWN, false},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 1, .key_type = "ec"}, SCEP_DO_REFUSE, POM_ERR_KEY_WEAK, false},
		{{.known = true, .expires_ms = NOW + 1, .max_keys = 1, .key_type = "rsa"}, SCEP_DO_ISSUE, -1, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct scep_plan plan;
		g_autoptr(GError) error = NULL;

		struct challenge_facts facts = cases[i].facts;
		facts.profile = facts.profile ? facts.profile : "p";
		scep_decide(&facts, profile, &csr, NOW, &plan, &error);
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
		{17, NID_sha256, NID_aes_128_cbc, true, false, -1}, {20, NID_sha256, NID_undef, true, false, -1}, {21, NID_sha256, NID_aes_256_cbc, true, false, -1},
		{22, NID_sha256, NID_aes_128_cbc, true, false, -1}, {23, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST}, {255, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
		{1, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST}, {-1, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
		{0, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST}, {3, NID_sha256, NID_aes_128_cbc, true, false, SCEP_BAD_REQUEST},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct scep_request request = {.message_type = cases[i].type, .digest_nid = cases[i].digest, .fail_info = SCEP_FAIL_INFO_NONE};
		g_autoptr(scep_profile) profile = scep_profile_new("p");
		enum scep_fail_info fail_info = SCEP_FAIL_INFO_NONE;
		bool ok;

		profile->legacy = cases[i].legacy;
		profile->legacy_des = cases[i].des;
		ok = scep_check_message(&request, cases[i].cipher, profile, &fail_info, NULL);

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

static struct enroll_served served_at(const char *url)
{
	struct enroll_served served;

	enroll_served_init(&served, url, 8191);
	return served;
}

static void test_profile(void)
{
	g_autoptr(GBytes) der = g_bytes_new("x", 1), fingerprint = g_bytes_new("12345678901234567890", 20);
	struct enroll_served served = served_at("https://mdm.example.org:8443");
	struct enroll_profile p = {.link_id = "01890000-0000-7000-8000-AABBCCDDEEFF", .organization = "Org", .served = &served, .topic = "com.apple.mgmt.x", .common_name = "CN1", .anchors = &der, .n_anchors = 1,
	                           .scep_url = "https://mdm.example.org:8443/scep", .challenge = "s3cret", .ca_fingerprint = fingerprint, .key_size = 2048};
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
	g_assert_cmpuint(plist_count(plist_dict_get(mdm, "ServerCapabilities")), ==, 3);
	enroll_served_clear(&served);
}

/* Two roots: the older one keeps its name. And an identity that is ready-made. */
static void test_profile_anchors(void)
{
	g_autoptr(GBytes) new_root = g_bytes_new("new", 3), old_root = g_bytes_new("old", 3), p12 = g_bytes_new("p12", 3);
	GBytes *const anchors[] = {new_root, old_root};
	struct enroll_served served = served_at("https://mdm.example.org");
	struct enroll_profile p = {.link_id = "01890000-0000-7000-8000-AABBCCDDEEFF", .organization = "Org", .served = &served, .topic = "t", .common_name = "n", .anchors = anchors, .n_anchors = 2,
	                           .pkcs12 = p12, .pkcs12_password = "pw"};
	g_autoptr(plist) tree = enroll_profile_build(&p), roots = enroll_anchors_build(&p), trust = enroll_trust_build(&p);
	const plist *payloads = plist_dict_get(tree, "PayloadContent");
	g_autoptr(GError) error = NULL;

	g_assert_true(mobileconfig_check(tree, &error) && mobileconfig_check(roots, &error) && mobileconfig_check(trust, &error));
	g_assert_cmpuint(plist_count(payloads), ==, 4);
	g_assert_cmpstr(plist_get_string(plist_dict_get(plist_child(payloads, 1), "PayloadIdentifier")), ==, "org.example.mdm.enroll.root");
	g_assert_cmpstr(plist_get_string(plist_dict_get(plist_child(payloads, 0), "PayloadIdentifier")), ==, "org.example.mdm.enroll.root2");
	g_assert_cmpstr(plist_get_string(plist_dict_get(plist_child(payloads, 2), "PayloadType")), ==, "com.apple.security.pkcs12");
	g_assert_cmpstr(plist_get_string(plist_dict_get(plist_child(payloads, 2), "Password")), ==, "pw");
	g_assert_cmpstr(plist_get_string(plist_dict_get(plist_child(payloads, 3), "IdentityCertificateUUID")), ==, plist_get_string(plist_dict_get(plist_child(payloads, 2), "PayloadUUID")));
	g_assert_cmpuint(plist_count(plist_dict_get(roots, "PayloadContent")), ==, 2);
	g_assert_cmpstr(plist_get_string(plist_dict_get(roots, "PayloadIdentifier")), ==, "org.example.mdm.anchors");
	g_assert_cmpuint(plist_count(plist_dict_get(trust, "PayloadContent")), ==, 2);
	g_assert_cmpstr(plist_get_string(plist_dict_get(trust, "PayloadIdentifier")), ==, "org.example.mdm.trust");
	enroll_served_clear(&served);
}

/* Exactly the identity, and none that the enrollment profile would take for its own. */
static void test_transport_profile(void)
{
	struct enroll_served served = served_at("https://mdm.example.org");
	struct enroll_profile p = {.link_id = "01890000-0000-7000-8000-AABBCCDDEEFF", .organization = "Org", .served = &served, .topic = "t", .common_name = "n", .scep_url = "https://mdm.example.org/scep",
	                           .challenge = "c", .key_size = 2048};
	g_autoptr(plist) transport = enroll_transport_build(&p), whole = enroll_profile_build(&p);
	const plist *payloads = plist_dict_get(transport, "PayloadContent"), *identity = plist_child(payloads, 0), *later = plist_child(plist_dict_get(whole, "PayloadContent"), 0);
	g_autoptr(GError) error = NULL;

	g_assert_true(mobileconfig_check(transport, &error));
	g_assert_cmpuint(plist_count(payloads), ==, 1);
	g_assert_cmpstr(plist_get_string(plist_dict_get(identity, "PayloadType")), ==, "com.apple.security.scep");
	g_assert_cmpstr(plist_get_string(plist_dict_get(identity, "PayloadUUID")), !=, plist_get_string(plist_dict_get(later, "PayloadUUID")));
	g_assert_cmpstr(plist_get_string(plist_dict_get(transport, "PayloadIdentifier")), !=, plist_get_string(plist_dict_get(whole, "PayloadIdentifier")));
	enroll_served_clear(&served);
}

static void test_served(void)
{
	struct enroll_served served = served_at("https://mdm.example.org"), again;
	g_autofree char *text = enroll_served_format(&served);

	g_assert_true(enroll_served_parse(text, &again, NULL));
	g_assert_cmpstr(again.url, ==, served.url);
	g_assert_cmpint(again.access_rights, ==, 8191);
	g_assert_true(again.sign_message && g_strv_equal((const char *const *)again.capabilities, (const char *const *)served.capabilities));
	/* A watch's payload is without what is the phone's. */
	enroll_served_drop(&again, ENROLL_CAPABILITY_TOKEN);
	g_assert_cmpuint(g_strv_length(again.capabilities), ==, g_strv_length(served.capabilities) - 1);
	g_assert_false(g_strv_contains((const char *const *)again.capabilities, ENROLL_CAPABILITY_TOKEN));
	enroll_served_drop(&again, "never there");
	g_assert_cmpuint(g_strv_length(again.capabilities), ==, g_strv_length(served.capabilities) - 1);
	enroll_served_clear(&again);
	enroll_served_clear(&served);
	g_assert_false(enroll_served_parse("{}", &again, NULL));
	g_assert_false(enroll_served_parse("x", &again, NULL));
}

/* ---- SCEP profiles and records ---- */

static void test_scep_profiles(void)
{
	static const struct { const char *settings; int code; } cases[] = {
		{"{}", -1}, {"{\"days\": 10, \"mode\": \"chain\", \"key_types\": \"ec\", \"legacy\": false}", -1}, {"{\"dayz\": 10}", POM_ERR_JSON}, {"{\"days\": \"10\"}", POM_ERR_JSON},
		{"{\"days\": 0}", POM_ERR_JSON}, {"{\"mode\": \"both\"}", POM_ERR_JSON}, {"{\"legacy\": 1}", POM_ERR_JSON}, {"{\"challenge\": \"none\"}", POM_ERR_CONFLICT},
		{"{\"challenge\": \"none\", \"approval\": \"manual\"}", -1}, {"{\"challenge\": \"webhook\"}", POM_ERR_CONFLICT},
		{"{\"challenge\": \"webhook\", \"webhook_url\": \"https://hook.example.org\"}", -1},
		{"{\"subject\": \"XX={cn}\"}", POM_ERR_CERT_MALFORMED}, {"{\"sans\": \"upn:{cn}\"}", POM_ERR_BAD_REQUEST}, {"{\"sans\": \"uri:urn:uuid:{id} dns:{cn}.example\"}", -1},
		{"{\"legacy_des\": true, \"legacy\": false}", POM_ERR_CONFLICT}, {"{\"relay\": \"x\", \"approval\": \"manual\"}", POM_ERR_CONFLICT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(scep_profile) profile = scep_profile_new("p");
		g_autoptr(json_t) settings = json_parse(cases[i].settings, strlen(cases[i].settings), NULL), shown = NULL;
		g_autoptr(GError) error = NULL;
		bool ok = scep_profile_apply(profile, settings, &error) && scep_profile_check(profile, &error);

		g_test_message("%s", cases[i].settings);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_no_error(error);
		g_assert_cmpint(ok, ==, cases[i].code < 0);
		/* What is shown can be set again. */
		g_autoptr(scep_profile) copy = scep_profile_new("p");
		shown = scep_profile_format(profile);
		json_object_del(shown, "name");
		g_assert_true(scep_profile_apply(copy, shown, NULL));
	}
}

static void test_profile_names(void)
{
	static const struct { const char *name; bool ok; } cases[] = {
		{"a", true}, {"school-1.b_c", true}, {"", false}, {".", false}, {"A", false}, {"a/b", false}, {"a b", false}, {"pkiclient.exe", true}, {"\xc3\xa4", false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(scep_profile_check_name(cases[i].name, NULL), ==, cases[i].ok);
}

static void test_records(void)
{
	g_autoptr(scep_profile) profile = scep_profile_new("p");
	g_autoptr(json_t) settings = json_pack("{s:s, s:s}", "subject", "O={organization},OU={profile},CN={cn}", "sans", "uri:urn:uuid:{id} email:{device}@example.org");
	g_autoptr(GError) error = NULL;

	g_assert_true(scep_profile_apply(profile, settings, NULL));
	g_autoptr(scep_record) record = scep_record_from_profile(profile, &(struct record_values){"A, B & \"C\"", "name+x", "ID", "d", "p"}, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(record->subject, ==, "O=A\\, B & \\\"C\\\",OU=p,CN=name\\+x");
	g_autofree char *cn = scep_record_common_name(record), *text = scep_record_format(record);
	g_assert_cmpstr(cn, ==, "name+x");
	g_autoptr(scep_record) again = scep_record_parse(text, &error);
	g_assert_no_error(error);
	g_autofree char *same = scep_record_format(again);
	g_assert_cmpstr(text, ==, same);
	g_assert_cmpstr(g_ptr_array_index(again->uris, 0), ==, "urn:uuid:ID");
	g_assert_cmpstr(g_ptr_array_index(again->emails, 0), ==, "d@example.org");
	static const struct { const char *wished, *kept; } good[] = {
		{"printer.example", "dns:printer.example"}, {"DNS:a.example", "dns:a.example"}, {"a@example.org", "email:a@example.org"}, {"https://a/b", "uri:https://a/b"}, {"urn:x", "uri:urn:x"},
		{"192.0.2.1", "ip:192.0.2.1"}, {"2001:db8::1", "ip:2001:db8::1"}, {"IP:192.0.2.1", "ip:192.0.2.1"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(scep_record) one = scep_record_new("CN=x");

		g_assert_true(scep_record_add_san(one, good[i].wished, NULL));
		g_autoptr(json_t) sans = scep_record_sans(one);
		g_assert_cmpstr(json_string_value(json_array_get(sans, 0)), ==, good[i].kept);
	}
	static const char *const bad[] = {"", "dns:", "dns:a b", "a b", "ip:1.2.3", "upn:a", "uri:\n"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(scep_record_add_san(again, bad[i], NULL));
	static const char *const broken[] = {"", "{}", "[]", "{\"subject\": 1}", "{\"subject\": \"CN=a\", \"sans\": [1]}"};
	for (unsigned i = 0; i < G_N_ELEMENTS(broken); i++)
		g_assert_null(scep_record_parse(broken[i], NULL));
}

static void test_renewal(void)
{
	enum { LIFE = 1000000, DAY = 86400000 };
	static const struct { struct renewal_facts_old old; int64_t at; int percent; bool same_key; int action; } cases[] = {
		{{.known = false}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE}, LIFE - 1, 33, false, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = false, .issued = true, .not_after_ms = LIFE}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = false, .not_after_ms = LIFE}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE}, LIFE + 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_before_ms = 10, .not_after_ms = LIFE}, 9, 0, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE}, LIFE / 2, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE}, LIFE / 2, 0, false, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE, .same_key = true}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE, .same_key = true}, LIFE - 1, 33, true, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE, .renewed_ms = LIFE - 9}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE, .renewed_ms = LIFE - 9, .has_successor = true, .successor_issued_ms = LIFE - 9}, LIFE - 1, 33, false, SCEP_DO_RESEND},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = 9 * (int64_t)DAY, .renewed_ms = 1}, 2 * (int64_t)DAY, 0, false, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = 9 * (int64_t)DAY, .renewed_ms = 1}, DAY - 1, 0, false, SCEP_DO_REFUSE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = 9 * (int64_t)DAY, .renewed_ms = 1, .reserved_ms = 1}, DAY - 1, 0, false, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = true, .issued = true, .not_after_ms = LIFE, .renewed_ms = LIFE - 9, .reserved_ms = LIFE - 9}, LIFE - 1, 33, false, SCEP_DO_ISSUE},
		{{.known = true, .of_profile = true, .issued = false, .not_after_ms = LIFE, .renewed_ms = LIFE - 9, .reserved_ms = LIFE - 9}, LIFE - 1, 33, false, SCEP_DO_REFUSE},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(scep_profile) profile = scep_profile_new("p");
		g_autoptr(GError) error = NULL;
		struct scep_plan plan;

		profile->renewal_percent = cases[i].percent;
		profile->renewal_same_key = cases[i].same_key;
		scep_decide_renewal(&cases[i].old, profile, cases[i].at, &plan, &error);
		g_test_message("case %u", i);
		g_assert_cmpint(plan.action, ==, cases[i].action);
		g_assert_cmpint(error != NULL, ==, cases[i].action == SCEP_DO_REFUSE);
	}
}

static void test_generations(void)
{
	static const enum generation_state R = GENERATION_REQUESTED, N = GENERATION_NEXT, A = GENERATION_ACTIVE, T = GENERATION_RETIRING;
	const struct { enum generation_state states[3]; size_t n; bool rekey, activate, finish; } cases[] = {
		{{A}, 1, true, false, false}, {{A, N}, 2, false, true, false}, {{T, A}, 2, false, false, true}, {{A, R}, 2, false, false, false}, {{R}, 1, false, false, false},
		{{T, A, N}, 3, false, false, true}, {{R}, 0, false, false, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("case %u", i);
		g_assert_cmpint(ca_check_rekey("c", cases[i].states, cases[i].n, NULL), ==, cases[i].rekey);
		g_assert_cmpint(ca_check_activate("c", cases[i].states, cases[i].n, NULL), ==, cases[i].activate);
		g_assert_cmpint(ca_check_finish("c", cases[i].states, cases[i].n, NULL), ==, cases[i].finish);
	}
	for (int i = 0; i < GENERATION_STATE_MAX; i++)
		g_assert_cmpint(generation_state_find(generation_state_name((enum generation_state)i)), ==, i);
	g_assert_cmpint(generation_state_find("x"), ==, GENERATION_STATE_MAX);
	g_assert_cmpint(ca_reason_code("keyCompromise"), ==, 1);
	g_assert_cmpint(ca_reason_code("certificateHold"), ==, 6);
	g_assert_cmpint(ca_reason_code("whatever"), ==, -1);
	g_assert_cmpint(ca_reason_code(""), ==, -1);
	static const struct { int64_t days; int step; } ends[] = {{61, -1}, {60, 60}, {31, 60}, {30, 30}, {10, 10}, {9, 10}, {1, 1}, {0, 1}, {-1, 0}};
	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++)
		g_assert_cmpint(ca_expiry_step(1000000000 + ends[i].days * 86400, 1000000000), ==, ends[i].step);
	g_assert_cmpint(note_anchor("anchor:12"), ==, 12);
	g_assert_cmpint(note_anchor("renewal"), ==, 0);
	g_assert_cmpint(note_anchor(NULL), ==, 0);
}

/* What cannot be a CA is refused with its reason. */
static void test_import(void)
{
	enum { KU = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_CERT_SIGN | KU_CRL_SIGN };
	static const struct { struct cert_info info; bool ra, ok; } cases[] = {
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 2000000000}, false, true},
		{{.is_ca = false, .key_usage = KU, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_RSA, .key_bits = 1024, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 1}, false, false},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_before = 1900000000, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN, .key_type = EVP_PKEY_RSA, .key_bits = 2048, .not_after = 2000000000}, true, true},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_EC, .key_bits = 256, .not_after = 2000000000}, false, false},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_EC, .key_bits = 256, .not_after = 2000000000}, true, true},
		{{.is_ca = true, .key_usage = UINT32_MAX, .key_type = EVP_PKEY_RSA, .key_bits = 4096, .not_after = 2000000000}, false, true},
		{{.is_ca = true, .key_usage = KU, .key_type = EVP_PKEY_ED25519, .key_bits = 256, .not_after = 2000000000}, true, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct cert_info info = cases[i].info;
		g_autoptr(GError) error = NULL;

		info.subject = (char *)"CN=x";
		g_test_message("case %u", i);
		g_assert_cmpint(ca_check_import(&info, cases[i].ra, 1000000000, &error), ==, cases[i].ok);
		if (!cases[i].ok)
			g_assert_error(error, POM_ERROR, POM_ERR_CA);
	}
}

static void test_profile_identifiers(void)
{
	static const struct { const char *url, *identifier; } cases[] = {
		{"https://mdm.example.org", "org.example.mdm.enroll"}, {"https://localhost:8443", "localhost.enroll"},
		{"https://192.0.2.1:8443", "mdm.192-0-2-1.enroll"}, {"https://[2001:db8::1]:8443", "mdm.2001-db8--1.enroll"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = NULL;
		struct enroll_served served = served_at(cases[i].url);

		tree = enroll_profile_build(&(struct enroll_profile){.link_id = "01890000-0000-7000-8000-AABBCCDDEEFF", .organization = "Org", .served = &served, .topic = "t", .common_name = "n", .scep_url = "u",
		                            .challenge = "c", .key_size = 2048});
		enroll_served_clear(&served);

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

/* Whatever it says, and however well it proves who it is. */
static void test_blocked(void)
{
	for (int type = 0; type < CHECKIN_TYPE_MAX; type++)
		for (int out = 0; out <= 1; out++) {
			const struct checkin_message message = {.type = (enum checkin_type)type, .who = {.device_id = "U", .user_part = ""}, .topic = "T", .token_service = ""};
			const struct checkin_facts facts = {.device = {.known = true, .id = "E", .state = ENROLLMENT_ENDED, .last_epoch = 1}, .certificate = {.known = true, .state = CERTIFICATE_ISSUED, .enrollment_id = "E", .epoch = 1},
			                                    .blocked = out ? "stolen" : "", .blocked_out = out};
			struct checkin_plan plan;
			g_autoptr(GError) error = NULL;

			g_assert_false(checkin_decide(&message, &facts, 1, &plan, &error));
			g_assert_cmpint(error->code, ==, out ? POM_ERR_DEVICE_BLOCKED_OUT : POM_ERR_DEVICE_BLOCKED);
			g_assert_cmpint(pom_error_info_of(error)->http_status, ==, 403);
		}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/checkin/messages", test_messages);
	g_test_add_func("/core/checkin/identities", test_identities);
	g_test_add_func("/core/checkin/decisions", test_decisions);
	g_test_add_func("/core/checkin/get-token", test_get_token);
	g_test_add_func("/core/checkin/keys", test_keys);
	g_test_add_func("/core/checkin/users", test_users_of_devices);
	g_test_add_func("/core/checkin/maid", test_maid);
	g_test_add_func("/core/checkin/first-use", test_first_use);
	g_test_add_func("/core/checkin/declarative", test_declarative);
	g_test_add_func("/core/checkin/transport-identity", test_transport_identity);
	g_test_add_func("/core/checkin/validity", test_validity);
	g_test_add_func("/core/checkin/user-check-out", test_user_check_out);
	g_test_add_func("/core/checkin/long-texts", test_long_texts);
	g_test_add_func("/core/command/reports", test_reports);
	g_test_add_func("/core/command/build", test_commands);
	g_test_add_func("/core/scep/challenge", test_scep);
	g_test_add_func("/core/scep/policy", test_scep_policy);
	g_test_add_func("/core/enroll/links", test_links);
	g_test_add_func("/core/enroll/profile", test_profile);
	g_test_add_func("/core/profile_anchors", test_profile_anchors);
	g_test_add_func("/core/served", test_served);
	g_test_add_func("/core/transport-profile", test_transport_profile);
	g_test_add_func("/core/checkin/bound_device", test_bound_device);
	g_test_add_func("/core/scep_profiles", test_scep_profiles);
	g_test_add_func("/core/profile_names", test_profile_names);
	g_test_add_func("/core/records", test_records);
	g_test_add_func("/core/renewal", test_renewal);
	g_test_add_func("/core/generations", test_generations);
	g_test_add_func("/core/import", test_import);
	g_test_add_func("/core/enroll/identifiers", test_profile_identifiers);
	g_test_add_func("/core/ca", test_ca);
	g_test_add_func("/checkin/blocked", test_blocked);
	return g_test_run();
}
