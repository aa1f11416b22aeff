#include "core/library.h"

#include <string.h>

#include "base/apple_error.h"

/* ---- what may be kept ---- */

static bool is_name_byte(char c)
{
	return g_ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
}

bool library_name_check(const char *what, const char *name, GError **error)
{
	size_t n = name ? strlen(name) : 0;
	bool ok = n && n <= LIBRARY_NAME_MAX && *name != '.' && *name != '-';

	for (size_t i = 0; ok && i < n; i++)
		ok = is_name_byte(name[i]);
	return ok || pom_fail(error, POM_ERR_BAD_REQUEST, "the name of %s has 1 to %d letters, digits, '.', '-' and '_', and begins with none of the first two signs; \"%.64s\" is none", what, LIBRARY_NAME_MAX,
	                      name ? name : "");
}

char *library_name_from(const char *identifier)
{
	GString *name = g_string_new(NULL);

	for (const char *p = identifier; *p && name->len < LIBRARY_NAME_MAX; p++)
		if (is_name_byte(*p) && (name->len || (*p != '.' && *p != '-')))
			g_string_append_c(name, *p);
		else if (name->len)
			g_string_append_c(name, '-');
	if (!name->len)
		g_string_assign(name, "profile");
	return g_string_free(name, FALSE);
}

static bool check_scope(const plist *profile, GError **error)
{
	const plist *scope = plist_dict_get(profile, "PayloadScope"), *target = plist_dict_get(profile, "TargetDeviceType");
	const char *text = plist_get_string(scope);
	int64_t number;

	if (scope && (!text || (strcmp(text, "System") && strcmp(text, "User"))))
		return pom_fail(error, POM_ERR_LIBRARY_REFUSED, "profile.PayloadScope must be the string System or User");
	/* Apple: 0 any, 1 iPhone, 2 Watch, 3 HomePod, 4 TV, 5 Mac, 6 Vision. */
	if (target && (!plist_get_integer(target, &number) || number < 0 || number > 6))
		return pom_fail(error, POM_ERR_LIBRARY_REFUSED, "profile.TargetDeviceType must be an integer from 0 (any) to 6 (Vision)");
	return true;
}

bool library_check(const plist *profile, int64_t now_s, GError **error)
{
	const plist *content = plist_dict_get(profile, "PayloadContent");
	int64_t removal_s;

	for (size_t i = 0; i < plist_count(content); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(content, i), "PayloadType")), "com.apple.mdm"))
			return pom_fail(error, POM_ERR_LIBRARY_REFUSED, "PayloadContent[%zu] is a com.apple.mdm payload: a device has exactly one, which comes with its enrollment", i);
	if (plist_get_date(plist_dict_get(profile, "RemovalDate"), &removal_s) && removal_s <= now_s)
		return pom_fail(error, POM_ERR_LIBRARY_REFUSED, "profile.RemovalDate is past: devices would refuse the profile");
	return check_scope(profile, error);
}

/* ---- secrets ---- */

/* Keys that hold a secret: at any depth of a payload of this type; NULL: of every type, as also makers of other payloads name them so. */
static const struct { const char *type, *key; } secrets[] = {
	{NULL, "Password"}, {NULL, "UserPassword"}, {NULL, "ProxyPassword"}, {NULL, "HTTPProxyPassword"}, {NULL, "AuthPassword"}, {NULL, "XAuthPassword"}, {NULL, "SharedSecret"},
	{NULL, "Challenge"}, {NULL, "Passphrase"}, {NULL, "PSK"}, {NULL, "PreSharedKey"}, {NULL, "PrivateKey"}, {NULL, "ClientSecret"}, {NULL, "CertificatePassword"}, {NULL, "APIKey"},
	{"com.apple.security.pkcs12", "PayloadContent"}, {"com.apple.security.acme", "ClientIdentifier"},
	{"com.apple.AIM.account", "AIMPassword"}, {"com.apple.apn.managed", "password"}, {"com.apple.caldav.account", "CalDAVPassword"}, {"com.apple.carddav.account", "CardDAVPassword"},
	{"com.apple.extensiblesso", "RegistrationToken"}, {"com.apple.jabber.account", "JabberPassword"}, {"com.apple.ldap.account", "LDAPAccountPassword"}, {"com.apple.loginwindow", "AutologinPassword"},
	{"com.apple.mail.managed", "IncomingPassword"}, {"com.apple.mail.managed", "OutgoingPassword"}, {"com.apple.profileRemovalPassword", "RemovalPassword"},
	{"com.apple.subscribedcalendar.account", "SubCalAccountPassword"}, {"com.apple.xsan", "sharedSecret"},
};

static bool is_secret_key(const char *type, const char *key)
{
	for (size_t i = 0; i < G_N_ELEMENTS(secrets); i++)
		if (!strcmp(secrets[i].key, key) && (!secrets[i].type || !g_strcmp0(secrets[i].type, type)))
			return true;
	return false;
}

/* An empty one is none: the device asks its user. */
static bool has_value(const plist *node)
{
	const char *text = plist_get_string(node);
	size_t len = 0;

	return text ? *text != '\0' : plist_get_data(node, &len) && len > 0;
}

static char *find_in(const char *type, const char *path, const plist *node)
{
	enum plist_type kind = plist_get_type(node);
	char *found = NULL;

	for (size_t i = 0; !found && (kind == PLIST_DICT || kind == PLIST_ARRAY) && i < plist_count(node); i++) {
		const plist *child = plist_child(node, i);
		const char *key = kind == PLIST_DICT ? plist_dict_key(node, i) : NULL;
		g_autofree char *here = key ? g_strdup_printf("%s.%s", path, key) : g_strdup_printf("%s[%zu]", path, i);

		if (key && is_secret_key(type, key) && has_value(child))
			found = g_steal_pointer(&here);
		else
			found = find_in(type, here, child);
	}
	return found;
}

char *library_find_secret(const plist *profile)
{
	const plist *content = plist_dict_get(profile, "PayloadContent");
	char *found = NULL;

	for (size_t i = 0; !found && i < plist_count(content); i++) {
		const plist *payload = plist_child(content, i);
		g_autofree char *path = g_strdup_printf("PayloadContent[%zu]", i);

		found = find_in(plist_get_string(plist_dict_get(payload, "PayloadType")), path, payload);
	}
	return found;
}

/* ---- names ---- */

static const char *const choice_names[LIBRARY_CHOICE_MAX] = {"auto", "always", "never"}, *const switch_names[LIBRARY_CHOICE_MAX] = {"auto", "on", "off"};

enum library_choice library_choice_find(const char *text)
{
	for (int i = 0; i < LIBRARY_CHOICE_MAX; i++)
		if (!g_strcmp0(text, choice_names[i]) || !g_strcmp0(text, switch_names[i]))
			return i;
	return LIBRARY_CHOICE_MAX;
}

const char *library_choice_name(enum library_choice choice)
{
	return choice < LIBRARY_CHOICE_MAX ? choice_names[choice] : "?";
}

static const struct { const char *name, *shown; bool waits, removes; } states[LIBRARY_STATE_MAX] = {
	[LIBRARY_NONE] = {"none", "none", false, false}, [LIBRARY_QUEUED] = {"queued", "queued", true, false}, [LIBRARY_DELIVERED] = {"delivered", "delivered", true, false},
	[LIBRARY_ACKNOWLEDGED] = {"acknowledged", "acknowledged", true, false}, [LIBRARY_INSTALLED] = {"installed", "installed", false, false}, [LIBRARY_FAILED] = {"failed", "failed", false, false},
	[LIBRARY_REMOVING] = {"removing", "removing", true, true}, [LIBRARY_REMOVAL_DELIVERED] = {"removal-delivered", "removing", true, true}, [LIBRARY_REMOVED] = {"removed", "removed", false, true},
	[LIBRARY_REMOVAL_FAILED] = {"removal-failed", "failed", false, true}, [LIBRARY_ENDED] = {"ended", "ended", false, false},
};

const char *library_state_name(enum library_state state)
{
	return states[state].name;
}

const char *library_state_shown(enum library_state state)
{
	return states[state].shown;
}

bool library_state_waits(enum library_state state)
{
	return states[state].waits;
}

bool library_state_removes(enum library_state state)
{
	return states[state].removes;
}

enum library_state library_state_find(const char *name)
{
	for (int i = 0; name && i < LIBRARY_STATE_MAX; i++)
		if (!strcmp(name, states[i].name))
			return i;
	return LIBRARY_NONE;
}

/* ---- the life of a profile on a device ---- */

/* What happens besides: INSTALL, REMOVE: such a command is queued, and the one before taken back. TAKE: only taken back. GONE, THERE: what is known of the device. */
enum { INSTALL = 1, REMOVE = 2, TAKE = 4, LIST = 8, THERE = 16, GONE = 32 };

struct cell { uint8_t next, does; };

#define QUEUE {LIBRARY_QUEUED, INSTALL}
#define REQUEUE {LIBRARY_QUEUED, INSTALL | TAKE}
#define DROP {LIBRARY_REMOVING, REMOVE}
#define REDROP {LIBRARY_REMOVING, REMOVE | TAKE}

/* Cells that are not here change nothing (their next state is LIBRARY_NONE, which no event leads to). */
static const struct cell rule[LIBRARY_STATE_MAX][LIBRARY_EVENT_MAX] = {
	[LIBRARY_NONE] = {[LIBRARY_WANT] = QUEUE, [LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE},
	/* A newer version needs no other command: the content is made when the device fetches it. */
	[LIBRARY_QUEUED] = {
		[LIBRARY_RESEND] = REQUEUE, [LIBRARY_UNWANT] = REDROP, [LIBRARY_FETCHED] = {LIBRARY_DELIVERED, THERE}, [LIBRARY_UNMADE] = {LIBRARY_FAILED, TAKE},
		[LIBRARY_ACK] = {LIBRARY_ACKNOWLEDGED, THERE | LIST}, [LIBRARY_ERROR] = {LIBRARY_FAILED, 0}, [LIBRARY_NOT_NOW] = {LIBRARY_QUEUED, 0}, [LIBRARY_TIME] = {LIBRARY_FAILED, TAKE},
		[LIBRARY_CANCELED] = {LIBRARY_FAILED, 0},
	},
	[LIBRARY_DELIVERED] = {
		[LIBRARY_WANT_NEWER] = REQUEUE, [LIBRARY_RESEND] = REQUEUE, [LIBRARY_UNWANT] = REDROP, [LIBRARY_FETCHED] = {LIBRARY_DELIVERED, THERE}, [LIBRARY_UNMADE] = {LIBRARY_FAILED, TAKE},
		[LIBRARY_ACK] = {LIBRARY_ACKNOWLEDGED, LIST}, [LIBRARY_ERROR] = {LIBRARY_FAILED, 0}, [LIBRARY_NOT_NOW] = {LIBRARY_QUEUED, 0}, [LIBRARY_TIME] = {LIBRARY_FAILED, TAKE},
		[LIBRARY_CANCELED] = {LIBRARY_FAILED, 0},
	},
	[LIBRARY_ACKNOWLEDGED] = {
		[LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE, [LIBRARY_UNWANT] = DROP, [LIBRARY_LISTED] = {LIBRARY_INSTALLED, 0}, [LIBRARY_UNLISTED] = {LIBRARY_FAILED, 0},
		[LIBRARY_TIME] = {LIBRARY_FAILED, 0},
	},
	[LIBRARY_INSTALLED] = {[LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE, [LIBRARY_UNWANT] = DROP, [LIBRARY_UNLISTED] = {LIBRARY_FAILED, GONE}},
	/* What has failed waits for a person, or for a newer version: it would fail again. */
	[LIBRARY_FAILED] = {[LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE, [LIBRARY_UNWANT] = DROP},
	[LIBRARY_REMOVING] = {
		[LIBRARY_WANT] = REQUEUE, [LIBRARY_WANT_NEWER] = REQUEUE, [LIBRARY_RESEND] = REQUEUE, [LIBRARY_REMOVE_AGAIN] = REDROP, [LIBRARY_FETCHED] = {LIBRARY_REMOVAL_DELIVERED, 0},
		[LIBRARY_UNMADE] = {LIBRARY_REMOVAL_FAILED, TAKE}, [LIBRARY_ACK] = {LIBRARY_REMOVED, GONE}, [LIBRARY_ERROR] = {LIBRARY_REMOVAL_FAILED, 0}, [LIBRARY_NOT_THERE] = {LIBRARY_REMOVED, GONE},
		[LIBRARY_NOT_NOW] = {LIBRARY_REMOVING, 0}, [LIBRARY_TIME] = {LIBRARY_REMOVAL_FAILED, TAKE}, [LIBRARY_CANCELED] = {LIBRARY_REMOVAL_FAILED, 0},
	},
	[LIBRARY_REMOVAL_DELIVERED] = {
		[LIBRARY_WANT] = REQUEUE, [LIBRARY_WANT_NEWER] = REQUEUE, [LIBRARY_RESEND] = REQUEUE, [LIBRARY_REMOVE_AGAIN] = REDROP, [LIBRARY_FETCHED] = {LIBRARY_REMOVAL_DELIVERED, 0},
		[LIBRARY_UNMADE] = {LIBRARY_REMOVAL_FAILED, TAKE}, [LIBRARY_ACK] = {LIBRARY_REMOVED, GONE}, [LIBRARY_ERROR] = {LIBRARY_REMOVAL_FAILED, 0}, [LIBRARY_NOT_THERE] = {LIBRARY_REMOVED, GONE},
		[LIBRARY_NOT_NOW] = {LIBRARY_REMOVING, 0}, [LIBRARY_TIME] = {LIBRARY_REMOVAL_FAILED, TAKE}, [LIBRARY_CANCELED] = {LIBRARY_REMOVAL_FAILED, 0},
	},
	[LIBRARY_REMOVED] = {[LIBRARY_WANT] = QUEUE, [LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE},
	[LIBRARY_REMOVAL_FAILED] = {[LIBRARY_WANT] = QUEUE, [LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE, [LIBRARY_REMOVE_AGAIN] = DROP},
	/* Whoever enrolls again begins without a state. */
	[LIBRARY_ENDED] = {[LIBRARY_WANT] = QUEUE, [LIBRARY_WANT_NEWER] = QUEUE, [LIBRARY_RESEND] = QUEUE},
};

void library_plan_clear(struct library_plan *plan)
{
	g_clear_pointer(&plan->reason, g_free);
}

static char *span(int64_t ms)
{
	int64_t hours = ms / 3600000;

	return hours >= 48 ? g_strdup_printf("%" G_GINT64_FORMAT " days", hours / 24) : g_strdup_printf("%" G_GINT64_FORMAT " hours", MAX(hours, 1));
}

static char *time_reason(enum library_state state, const struct library_limits *limits)
{
	bool fetch = state == LIBRARY_QUEUED || state == LIBRARY_REMOVING;
	g_autofree char *time = span(fetch ? limits->deliver_ms : limits->answer_ms);

	if (fetch)
		return g_strdup_printf("the device did not fetch the %s within %s: it is switched off, not connected, or always answers NotNow (locked)", state == LIBRARY_QUEUED ? "profile" : "removal", time);
	if (state == LIBRARY_ACKNOWLEDGED)
		return g_strdup_printf("acknowledged, but the device did not say within %s which profiles it has, so nothing confirms it", time);
	return g_strdup_printf("the device fetched the %s and did not answer within %s", state == LIBRARY_DELIVERED ? "profile" : "removal", time);
}

static char *make_reason(enum library_state state, enum library_event event, const char *given, const struct library_limits *limits)
{
	if (event == LIBRARY_TIME)
		return time_reason(state, limits);
	if (event == LIBRARY_CANCELED)
		return g_strdup("the command was canceled");
	if (event == LIBRARY_UNLISTED)
		return g_strdup(state == LIBRARY_ACKNOWLEDGED ? "acknowledged, but the device does not list it" : "the device does not list it any more: it was removed there");
	return g_strndup(given ? given : "the device gave no reason", LIBRARY_REASON_MAX);
}

static int64_t deadline(const struct library_row *row, enum library_state next, bool queued, const struct library_limits *limits, int64_t now_ms)
{
	if (next == LIBRARY_QUEUED || next == LIBRARY_REMOVING)
		return (queued ? now_ms : row->queued_ms) + limits->deliver_ms;
	/* Fetching it again gives no more time. */
	if (library_state_waits(next))
		return row->state == next ? row->deadline_ms : now_ms + limits->answer_ms;
	return 0;
}

void library_decide(const struct library_row *row, enum library_event event, const char *reason, const struct library_limits *limits, int64_t now_ms, struct library_plan *ret)
{
	struct cell cell = rule[row->state][event];
	struct library_plan plan = {.next = *row};

	/* Of what never reached the device nothing is to be removed there. */
	if (event == LIBRARY_UNWANT && cell.next == LIBRARY_REMOVING && !row->present)
		cell = (struct cell){LIBRARY_REMOVED, cell.does & TAKE};
	if (cell.next != LIBRARY_NONE) {
		plan.install = cell.does & INSTALL;
		plan.remove = cell.does & REMOVE;
		plan.cancel = cell.does & TAKE;
		plan.list = cell.does & LIST;
		plan.next.state = cell.next;
		plan.next.present = cell.does & GONE ? false : cell.does & THERE ? true : row->present;
		plan.next.queued_ms = plan.install || plan.remove ? now_ms : row->queued_ms;
		plan.next.deadline_ms = deadline(row, cell.next, plan.install || plan.remove, limits, now_ms);
		if (cell.next == LIBRARY_FAILED || cell.next == LIBRARY_REMOVAL_FAILED)
			plan.reason = make_reason(row->state, event, reason, limits);
		plan.changed = true;
	}
	*ret = plan;
}

/* ---- what devices say ---- */

enum { CHAIN_MAX = 8 };

/* The innermost error that is explained. */
static const struct apple_error *explain(const plist *chain)
{
	const struct apple_error *found = NULL;

	for (size_t i = 0; i < MIN(plist_count(chain), (size_t)CHAIN_MAX); i++) {
		const plist *item = plist_child(chain, i);
		const char *domain = plist_get_string(plist_dict_get(item, "ErrorDomain"));
		const struct apple_error *e;
		int64_t code;

		if (domain && plist_get_integer(plist_dict_get(item, "ErrorCode"), &code) && (e = apple_error_find(domain, code)))
			found = e;
	}
	return found;
}

static void add_item(GString *text, const plist *item)
{
	const char *said = plist_get_string(plist_dict_get(item, "USEnglishDescription")), *domain = plist_get_string(plist_dict_get(item, "ErrorDomain"));
	int64_t code = 0;

	if (!said)
		said = plist_get_string(plist_dict_get(item, "LocalizedDescription"));
	if (plist_get_type(item) != PLIST_DICT || (!said && !domain))
		return;
	plist_get_integer(plist_dict_get(item, "ErrorCode"), &code);
	g_string_append_printf(text, "%s%.200s (%.64s %" G_GINT64_FORMAT ")", text->len ? "; " : "", said ? said : "no text", domain ? domain : "?", code);
}

/* For a line of a terminal or a log. */
static char *one_line(GString *text)
{
	g_autofree char *whole = g_string_free(text, FALSE), *cut = g_strndup(whole, LIBRARY_REASON_MAX);
	char *valid;

	for (char *p = cut; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	valid = g_utf8_make_valid(cut, -1);
	return valid;
}

char *library_reason(const plist *chain, enum report_status status)
{
	GString *text = g_string_new(NULL);
	const struct apple_error *known;

	for (size_t i = 0; i < MIN(plist_count(chain), (size_t)CHAIN_MAX); i++)
		add_item(text, plist_child(chain, i));
	if (!text->len)
		g_string_append(text, status == REPORT_COMMAND_FORMAT_ERROR ? "the device could not read the command (CommandFormatError)" : "the device gave no reason");
	known = chain ? explain(chain) : NULL;
	if (known)
		g_string_append_printf(text, ". %s%s%s", known->meaning, known->causes ? " Likely: " : "", known->causes ? known->causes : "");
	return one_line(text);
}

bool library_is_not_there(const plist *chain)
{
	static const struct { const char *domain; int64_t code; } gone[] = {{"MCMDMErrorDomain", 12075}, {"MCInstallationErrorDomain", 4024}};

	for (size_t i = 0; i < MIN(plist_count(chain), (size_t)CHAIN_MAX); i++) {
		const char *domain = plist_get_string(plist_dict_get(plist_child(chain, i), "ErrorDomain"));
		int64_t code;

		for (size_t k = 0; domain && plist_get_integer(plist_dict_get(plist_child(chain, i), "ErrorCode"), &code) && k < G_N_ELEMENTS(gone); k++)
			if (code == gone[k].code && (!strcmp(domain, gone[k].domain) || (*domain == 'D' && !strcmp(domain + 1, gone[k].domain))))
				return true;
	}
	return false;
}

bool library_is_listed(const plist *report, const char *identifier, const char *uuid)
{
	const plist *list = plist_dict_get(report, "ProfileList");

	for (size_t i = 0; i < plist_count(list); i++) {
		const char *its_identifier = plist_get_string(plist_dict_get(plist_child(list, i), "PayloadIdentifier")), *its_uuid = plist_get_string(plist_dict_get(plist_child(list, i), "PayloadUUID"));

		if (its_identifier && its_uuid && uuid && !strcmp(its_identifier, identifier) && !g_ascii_strcasecmp(its_uuid, uuid))
			return true;
	}
	return false;
}
