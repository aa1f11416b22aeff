#include "core/timeline.h"

#include <string.h>

static const char *const state_names[TIMELINE_STATE_MAX] = {"ok", "running", "stopped", "ended"};

const char *timeline_state_name(enum timeline_state state)
{
	return state_names[state];
}

/* The steps of an enrollment in their order, and what usually stops devices behind each. */
struct stage {
	const char *kind, *where, *why, *todo;
	const char *detail; /* that it begins with; NULL: any */
};
static const struct stage stages[] = {
	{"LinkOpened", "The page of the link was opened, but no profile was fetched.", "Nobody has tapped the button, or the browser does not trust the page's certificate.",
	 "On an iPhone or iPad open the link in Safari and tap the button. When the browser warns of the certificate, take the first step of the page, or run \"pomona doctor\" on the server's URL."},
	{"TrustServed", "The profile with the root certificate was fetched, but not the enrollment profile.", "The root was not installed, or on iOS not switched on as trusted.",
	 "Install the profile in Settings, switch the root on under General, About, Certificate Trust Settings, then go on with the page of the link."},
	{"OtaBegun", "The Profile Service document was fetched, but the device has not answered it.", "It was not installed: iOS keeps a downloaded profile for eight minutes. Or the device cannot reach the server's URL.",
	 "Open the link again and install the profile in Settings, General, VPN & Device Management."},
	{"OtaIdentified", "The device has said who it is and was sent an identity, but has not fetched its profile with it.", "The certificate request failed on the device, or its next message was not signed with the new identity.",
	 "Look at what the device says in its installation error, and run \"pomona explain\" on the code."},
	{"ProfileServed", "The enrollment profile was fetched, but the device has not asked for its certificate.", "The profile was not installed: iOS keeps a downloaded one for eight minutes. Or the device cannot reach the SCEP address in it, or does not trust its TLS certificate.",
	 "Install it in Settings, General, VPN & Device Management (on a Mac: System Settings, Device Management), or open the link again. When that fails, run \"pomona doctor\" on the server's URL."},
	{"OtaProfileSent", "The enrollment profile was sent over the air, but the device has not asked for its certificate.", "The person has not agreed to be managed, or the device cannot reach the SCEP address in the profile.",
	 "Open the link again on the device. When that fails, run \"pomona doctor\" on the server's URL."},
	{"GetCACaps", "The device asked what the SCEP server can do (GetCACaps), and went no further.", "The answer did not reach it, or the connection broke.", "Look at proxies and firewalls between the device and the server: /scep must reach it with its query."},
	{"GetCACert", "The device fetched the CA's certificate (GetCACert) and never came back with a request.",
	 "It did not accept the certificate (another CAFingerprint than in the profile: a proxy that answers for the server, or a CA that has changed since), it could not make its key, or POST requests to /scep do not get through.",
	 "Let it try again with a new link. The device says MCSCEPErrorDomain 22000 to 22013: run \"pomona explain\" on the code. Try POST to /scep from the device's network."},
	{"PKIOperation", "The device asked for its certificate, and the request waits for approval.", "Nobody has decided on it yet.", "Decide on it: pomona ca requests.", "pending"},
	{"PKIOperation", "The device has its certificate, but never sent Authenticate.",
	 "Another payload of the profile failed, the device is managed by somebody else already, or it cannot reach the ServerURL of its profile.",
	 "Look at the installation error on the device and run \"pomona explain\" on it. Remove another management profile first. Run \"pomona doctor\" on the server's URL."},
	{"Authenticate", "The device authenticated, but never sent its TokenUpdate.",
	 "A payload that comes after the management payload failed, the person canceled, or the device cannot reach Apple's push service (courier.push.apple.com, port 5223 or 443) for a token.",
	 "Look at the installation error on the device. Check its way to Apple's push service, then enroll it again with a new link."},
};

/* What to do about a refusal, where more is known than its text says. */
static const struct { enum pom_error code; const char *todo; } advice[] = {
	{POM_ERR_LINK_EXPIRED, "Make a new link: pomona enroll new."}, {POM_ERR_LINK_USED, "Make a new link: each one enrolls one device."}, {POM_ERR_LINK_REVOKED, "Make a new link: this one was withdrawn."},
	{POM_ERR_NO_PUSH_CERT, "Import the push certificate: pomona push-cert import."},
	{POM_ERR_SCEP_CHALLENGE_USED, "The profile was installed on another device, or too often on this one: make a new link."},
	{POM_ERR_SCEP_CHALLENGE_EXPIRED, "The profile lay too long before it was installed: make a new link."}, {POM_ERR_SCEP_CHALLENGE_REVOKED, "The link was revoked: make a new one."},
	{POM_ERR_SCEP_CHALLENGE_UNKNOWN, "The profile is not of this server, or its link is long gone: make a new link."}, {POM_ERR_SCEP_TIME, "Set the device's clock, then try again."},
	{POM_ERR_SCEP_LIMITED, "Wait some minutes, then let the device try again."}, {POM_ERR_SCEP_DENIED, "Ask whoever runs the decision service of the SCEP profile."},
	{POM_ERR_CMS_ALGORITHM, "The device uses an old algorithm: see the settings scep.legacy and scep.legacy_des."}, {POM_ERR_CMS_DECRYPT, "The device has another certificate of the CA than the present one: make a new link."},
	{POM_ERR_TOPIC, "The push certificate in use is another one than the profile was made for: renew the old one with Apple instead of making a new one, or enroll the device again."},
	{POM_ERR_IDENTITY_FOREIGN, "Two devices use one identity: enroll this one again with a link of its own."}, {POM_ERR_CERT_EXPIRED, "The identity has ended: enroll the device again with a new link."},
	{POM_ERR_CERT_REVOKED, "The identity was revoked: enroll the device again with a new link, when that was not meant."}, {POM_ERR_CERT_UNTRUSTED, "The identity is of another CA: enroll the device again with a new link."},
	{POM_ERR_ENROLLMENT_ENDED, "The device was un-enrolled or has enrolled again: remove its management profile and use a new link."},
	{POM_ERR_OTA_BOUND, "Another device answered with this link before: make a new one."}, {POM_ERR_OTA_SIGNER, "The issuer of the device's factory identity is not known here: see pomona device-ca."},
	{POM_ERR_WATCH_SUPERVISION, "The phone is asked whether it is supervised: try again in a moment."},
};

void timeline_verdict_clear(struct timeline_verdict *verdict)
{
	g_clear_pointer(&verdict->why, g_free);
}

static int64_t step_ms(const struct timeline_step *step)
{
	return MAX(step->at_ms, step->last_ms);
}

/* The error in a refusal's detail; POM_ERR_MAX when it holds none. */
static enum pom_error error_of(const struct timeline_step *step)
{
	const char *found = step->detail ? strstr(step->detail, "POM-E") : NULL;
	g_autofree char *id = found ? g_strndup(found, 9) : NULL;

	return id ? pom_error_find(id) : POM_ERR_MAX;
}

static int stage_of(const struct timeline_step *step)
{
	if (error_of(step) != POM_ERR_MAX)
		return -1;
	for (int i = 0; i < (int)G_N_ELEMENTS(stages); i++)
		if (!strcmp(step->kind, stages[i].kind) && (!stages[i].detail || (step->detail && g_str_has_prefix(step->detail, stages[i].detail))))
			return i;
	return -1;
}

/* An attempt begins anew behind what has ended the one before; over the air, what came before the final profile was only for that. Lines that count stand where the first time was, so the last time says. */
static int64_t attempt_start(const struct timeline_facts *facts)
{
	int64_t start_ms = 0;

	for (size_t i = 0; i < facts->n_steps; i++) {
		const struct timeline_step *step = &facts->steps[i];

		if (!strcmp(step->kind, "Enrolled") || !strcmp(step->kind, "CheckOut"))
			start_ms = MAX(start_ms, step_ms(step) + 1);
		else if (!strcmp(step->kind, "OtaProfileSent"))
			start_ms = MAX(start_ms, step_ms(step));
	}
	return start_ms;
}

static const struct timeline_step *furthest(const struct timeline_facts *facts, int64_t start_ms)
{
	const struct timeline_step *found = NULL;

	for (size_t i = 0; i < facts->n_steps; i++)
		if (step_ms(&facts->steps[i]) >= start_ms && stage_of(&facts->steps[i]) >= 0 && (!found || stage_of(&facts->steps[i]) >= stage_of(found)))
			found = &facts->steps[i];
	return found;
}

/* The newest refusal at or after SINCE. */
static const struct timeline_step *find_refusal(const struct timeline_facts *facts, int64_t since_ms)
{
	const struct timeline_step *found = NULL;

	for (size_t i = 0; i < facts->n_steps; i++)
		if (error_of(&facts->steps[i]) != POM_ERR_MAX && step_ms(&facts->steps[i]) >= since_ms && (!found || step_ms(&facts->steps[i]) >= step_ms(found)))
			found = &facts->steps[i];
	return found;
}

static const struct timeline_step *find_last(const struct timeline_facts *facts, const char *kind)
{
	const struct timeline_step *found = NULL;

	for (size_t i = 0; i < facts->n_steps; i++)
		if (!strcmp(facts->steps[i].kind, kind))
			found = &facts->steps[i];
	return found;
}

static void set(struct timeline_verdict *verdict, enum timeline_state state, const char *where, const char *why, const char *todo)
{
	verdict->state = state;
	verdict->where = where;
	verdict->why = g_strdup(why);
	verdict->todo = todo;
}

/* WHERE: how far it had come. */
static void refused(struct timeline_verdict *verdict, const struct timeline_step *refusal, const char *where)
{
	enum pom_error code = error_of(refusal);

	set(verdict, TIMELINE_STOPPED, where, "", "Run \"pomona explain\" on the code.");
	g_free(verdict->why);
	verdict->why = g_strdup_printf("%s was refused: %s", refusal->kind, refusal->detail);
	g_strlcpy(verdict->error_id, pom_error_info(code)->id, sizeof(verdict->error_id));
	verdict->since_ms = step_ms(refusal);
	for (unsigned i = 0; i < G_N_ELEMENTS(advice); i++)
		if (advice[i].code == code)
			verdict->todo = advice[i].todo;
}

/* Nothing has happened with a link. */
static void unopened(const struct timeline_facts *facts, struct timeline_verdict *verdict)
{
	static const char where[] = "The link has not been opened.";

	verdict->since_ms = facts->link_created_ms;
	if (facts->link_revoked_ms)
		set(verdict, TIMELINE_ENDED, where, "It was revoked.", "Make a new one, when a device is still to be enrolled.");
	else if (facts->now_ms >= facts->link_expires_ms)
		set(verdict, TIMELINE_STOPPED, where, "It has expired.", "Make a new one: pomona enroll new.");
	else
		set(verdict, TIMELINE_RUNNING, where, "Nobody has opened it with this server, or the device cannot reach the server.", "Send the link to the person, and look whether the server can be reached from the device's network.");
}

/* How far it came on its way to an enrollment. */
static void decide_way(const struct timeline_facts *facts, struct timeline_verdict *verdict)
{
	int64_t start_ms = attempt_start(facts);
	const struct timeline_step *step = furthest(facts, start_ms), *refusal = find_refusal(facts, step ? step_ms(step) : start_ms);
	const struct stage *stage = step ? &stages[stage_of(step)] : NULL;

	if (step) {
		verdict->stage = step->kind;
		verdict->since_ms = step_ms(step);
	}
	if (refusal) {
		refused(verdict, refusal, stage ? stage->where : "It did not get beyond its first step.");
		return;
	}
	if (!step) {
		if (facts->is_link)
			unopened(facts, verdict);
		else
			set(verdict, TIMELINE_STOPPED, "Nothing is known of its way here.", "Its timeline has nothing of this attempt.", "Enroll it again with a new link.");
		return;
	}
	if (facts->now_ms - verdict->since_ms < TIMELINE_STEP_MS)
		set(verdict, TIMELINE_RUNNING, stage->where, "Its next step may come at any moment.", "");
	else
		set(verdict, TIMELINE_STOPPED, stage->where, stage->why, stage->todo);
}

/* What keeps a device that is enrolled from being managed; false when nothing does. */
static bool decide_live(const struct timeline_facts *facts, struct timeline_verdict *verdict)
{
	static const char where[] = "It is enrolled.";
	const struct timeline_step *refusal = find_refusal(facts, MAX(attempt_start(facts), facts->last_seen_ms + 1)), *push = find_last(facts, "PushSent"), *push_refused = find_last(facts, "PushRefused");

	if (refusal && strcmp(refusal->kind, "PushRefused"))
		refused(verdict, refusal, "It is enrolled, but what it says is refused.");
	else if (facts->identity_revoked)
		set(verdict, TIMELINE_STOPPED, where, "Its identity was revoked: whatever it says is refused.", "Enroll it again with a new link, when that was not meant.");
	else if (facts->identity_not_after_ms && facts->now_ms > facts->identity_not_after_ms)
		set(verdict, TIMELINE_STOPPED, where, "Its identity has ended and was not renewed.", "It gets a new one when it next comes, while ca.expired_grace_days lasts; after that enroll it again.");
	else if (facts->push_dead_ms)
		set(verdict, TIMELINE_STOPPED, where, "APNs says that its push token is no longer valid: it was erased, or its management profile is gone.", "If the device is still in use, enroll it again; else end its enrollment.");
	else if (!facts->has_token)
		set(verdict, TIMELINE_STOPPED, where, "It has sent no TokenUpdate yet, so there is no push token: it cannot be called.", "It comes by itself when its token changes. Restarting the device, or switching it to another network, often makes it send one.");
	else if (push_refused && (!push || step_ms(push_refused) > step_ms(push)) && step_ms(push_refused) > facts->last_seen_ms)
		set(verdict, TIMELINE_STOPPED, where, push_refused->detail ? push_refused->detail : "APNs refused the last push.", "Run \"pomona explain\" on APNs' reason, and look at the push certificate: pomona push-cert show.");
	else if (facts->oldest_command_ms && push && facts->oldest_command_ms > facts->last_seen_ms && facts->now_ms - facts->oldest_command_ms > TIMELINE_PUSH_MS && step_ms(push) >= facts->oldest_command_ms)
		set(verdict, TIMELINE_STOPPED, where, "Commands wait, APNs has taken the push, and the device has not come: it is off, has no network, or cannot reach Apple's push service or this server.",
		    "Switch it on and connect it. Check its way to Apple's push service (port 5223 or 443) and to the server's URL.");
	else if (facts->now_ms - facts->last_seen_ms > (int64_t)TIMELINE_SILENT_DAYS * 86400000)
		set(verdict, TIMELINE_STOPPED, where, "It has been silent for more than a week.", "Push it: pomona device push. When it does not come, it is off, or was erased.");
	else
		return false;
	return true;
}

void timeline_decide(const struct timeline_facts *facts, struct timeline_verdict *ret)
{
	*ret = (struct timeline_verdict){.stage = "", .todo = ""};
	if (facts->is_enrollment && facts->state == ENROLLMENT_ENROLLED) {
		ret->stage = "Enrolled";
		ret->since_ms = facts->last_seen_ms;
		if (!decide_live(facts, ret))
			set(ret, TIMELINE_OK, "It is enrolled.", facts->oldest_command_ms ? "Commands wait for it; it was heard lately." : "It was heard lately, and nothing waits for it.", "");
	} else if (facts->is_enrollment && facts->state == ENROLLMENT_ENDED) {
		ret->stage = "Ended";
		ret->since_ms = facts->ended_ms;
		set(ret, TIMELINE_ENDED, "Its enrollment has ended.", facts->is_user ? "The user channel was ended, or its device enrolled again." : find_last(facts, "CheckOut") ? "It checked out: its management profile was removed." : "It was ended here.",
		    "To manage it again, enroll it with a new link.");
	} else {
		decide_way(facts, ret);
	}
}
