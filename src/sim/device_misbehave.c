/* Devices that do one thing wrong, or something right that servers get wrong, and check what the server says.
 *
 * A run fails when the server's answer is another than it must be; 401 is always wrong, because a device un-enrolls itself then. */
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/device_misbehave.h"

enum { COMMAND_WAIT_S = 30, SLOW_BYTES = 30, HUGE_CHECKIN = 11 << 20, WEAK_BITS = 1024 };

/* name, text, devices, function */
#define MISBEHAVIORS(X) \
	X("bad-signature", "signs an Idle over other bytes: must be refused with 400", 1, bad_signature) \
	X("no-signature", "sends Idle without Mdm-Signature: must be refused with 400", 1, no_signature) \
	X("broken-signature", "sends an Mdm-Signature that is no CMS message: must be refused with 400", 1, broken_signature) \
	X("modern-signature", "signs with SHA-256 and signed attributes: must work", 1, modern_signature) \
	X("foreign-certificate", "signs with certificates that the server did not issue: must be refused with 403", 1, foreign_certificate) \
	X("others-certificate", "a device speaks with its own certificate for another device (takes two links): must be refused with 403", 2, others_certificate) \
	X("others-command", "a device reports another one's command (takes two links and a queued command): must be refused with 403", 2, others_command) \
	X("re-enroll", "a device enrolls again with a new link, then its old certificate speaks (takes two links): must be refused with 403", 2, re_enroll) \
	X("repeat", "sends Authenticate and TokenUpdate twice: must work", 1, repeat) \
	X("replay", "sends the same signed report twice and an old TokenUpdate again (needs a queued command): must change nothing", 1, replay) \
	X("not-now", "answers NotNow, then Acknowledged in the next connection (needs a queued command): must be offered again, then never", 1, not_now) \
	X("format-error", "answers CommandFormatError (needs a queued command): must never be offered again", 1, format_error) \
	X("unknown-command", "reports a command that the server never sent: must be accepted", 1, unknown_command) \
	X("wrong-order", "sends Idle and TokenUpdate before Authenticate: must be refused with 403", 1, wrong_order) \
	X("wrong-topic", "sends Authenticate and TokenUpdate for another push topic: must be refused with 400", 1, wrong_topic) \
	X("missing-status", "sends reports without Status and with a made-up one: must be refused with 400", 1, missing_status) \
	X("missing-udid", "sends messages without any device id: must be refused with 400", 1, missing_udid) \
	X("broken-plist", "sends signed bodies that are no valid property list: must be refused with 400", 1, broken_plist) \
	X("huge", "sends a check-in message of 11 MiB: must be refused with 413", 1, huge) \
	X("slow", "sends its message one byte every 100 ms for three seconds: must work", 1, slow) \
	X("cut-off", "breaks its connection in the middle of a message: the next one must work", 1, cut_off) \
	X("minimal", "sends required keys only: must work", 1, minimal) \
	X("check-out", "checks out and goes on talking: must be refused with 403", 1, check_out) \
	X("wrong-challenge", "asks for a certificate with a wrong SCEP challenge: must fail", 1, wrong_challenge) \
	X("used-challenge", "enrolls, then asks for a certificate for another key with the same SCEP challenge: must fail", 1, used_challenge) \
	X("weak-key", "asks for a certificate for an RSA key of 1024 bits: must fail", 1, weak_key) \
	X("foreign-csr", "asks for a certificate for a key that it does not have: must fail", 1, foreign_csr) \
	X("broken-scep", "sends a pkiMessage that is none: must be refused with 400", 1, broken_scep) \
	X("user-early", "sends the TokenUpdate of a user before its own: must be refused with 403", 1, user_early) \
	X("user-of-phone", "an iPhone says that it has users: must be refused with 400", 1, user_of_phone) \
	X("user-after-check-out", "a Mac's user checks out and goes on talking: must be refused with 403, and the Mac goes on", 1, user_after_check_out) \
	X("token-service", "asks for tokens of services that nobody has: must be refused with 400", 1, token_service) \
	X("declarations-early", "asks for declarations before its TokenUpdate: must be refused with 403", 1, declarations_early) \
	X("others-return", "asks for Return to Service of another device (takes two links): must be refused with 403", 2, others_return) \
	X("user-of-return", "asks for Return to Service as a user: must be refused with 400", 1, user_of_return) \
	X("ota-skip", "(over the air) sends phase 3 without phase 2: must be refused with 403", 1, ota_skip) \
	X("ota-other-link", "(over the air, takes two links) answers with the challenge of the other link: must be refused with 403", 2, ota_other_link) \
	X("ota-foreign-identity", "(over the air, takes two links) sends phase 3 with the identity of the other device: must be refused with 403", 2, ota_foreign_identity) \
	X("ota-wrong-challenge", "(over the air) answers with a guessed challenge and with none: must be refused with 403", 1, ota_wrong_challenge) \
	X("ota-foreign-factory", "(over the air) is of a factory with the right name and another key: must be refused with 403", 1, ota_foreign_factory) \
	X("ota-factory-leaf", "(over the air) signs with what another factory identity has issued, and with one that is a CA: must be refused with 403", 1, ota_factory_leaf) \
	X("ota-no-certificates", "(over the air) signs without sending its certificate: must be refused with 400", 1, ota_no_certificates) \
	X("ota-second-device", "(over the air) another device answers on the same link: must be refused with 403, and the first goes on", 1, ota_second_device) \
	X("ota-repeat", "(over the air) does phases 2 and 3 twice, as people press Install twice: must work", 1, ota_repeat) \
	X("ota-minimal", "(over the air) tells only what every device has: must work", 1, ota_minimal) \
	X("ota-maximal", "(over the air) tells all that Apple's client knows: must work", 1, ota_maximal) \
	X("ota-modern", "(over the air) signs with SHA-256 and signed attributes: must work", 1, ota_modern) \
	X("watch-replay", "(a watch, takes two links: its MDM's and that of its phone, and DeviceInformation for the phone) shows its pairing token twice: must be refused with 403", 2, watch_replay) \
	X("watch-foreign-token", "(a watch, takes two links: its MDM's and that of its phone, and DeviceInformation for the phone) shows the pairing token of another watch: must be refused with 403", 2, watch_foreign_token) \
	X("watch-wrong-phone", "(a watch, takes two links: its MDM's and that of its phone, and DeviceInformation for the phone) the phone asks for another phone, another watch and with a guessed token: must be refused with 403", 2, \
	  watch_wrong_phone)

/* ---- what they have in common ---- */

bool misbehavior_check(const struct device *d, const char *what, int status, int wanted, GError **error)
{
	device_say(d, "misbehavior", json_pack("{s:s, s:s, s:i, s:i}", "name", d->options->misbehave, "did", what, "status", status, "wanted", wanted),
	           "%s: the server answered %d%s", what, status, status == wanted ? ", as it must" : "");
	return status == wanted || pom_fail(error, POM_ERR_CONFLICT, "%s: %s was answered with %d, must be %d", d->options->misbehave, what, status, wanted);
}

static bool put(struct device *d, enum device_channel channel, GBytes *body, const char *signature, const char *what, int wanted, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return device_put(d, channel, body, signature, &reply, error) && misbehavior_check(d, what, reply.status, wanted, error);
}

static bool tell(struct device *d, enum device_channel channel, const plist *message, const char *what, int wanted, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return device_tell(d, channel, message, &reply, error) && misbehavior_check(d, what, reply.status, wanted, error);
}

bool misbehavior_idle(struct device *d, const char *what, int wanted, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);

	return tell(d, DEVICE_REPORT, message, what, wanted, error);
}

static bool get_identity(struct device *d, GError **error)
{
	return device_fetch_profile(d, error) && device_get_identity(d, error);
}

/* A reply's command; *RET is NULL when there is none. transfer full. */
static bool read_command(const struct sim_reply *reply, plist **ret, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(reply->body, &len);

	*ret = len ? plist_parse(data, len, NULL, error) : NULL;
	return !len || *ret;
}

/* One message that must be accepted, and the command that the server answers with. */
static bool ask(struct device *d, const plist *message, const char *what, plist **ret, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return device_tell(d, DEVICE_REPORT, message, &reply, error) && misbehavior_check(d, what, reply.status, 200, error) && read_command(&reply, ret, error);
}

static const char *uuid_of(const plist *command)
{
	return plist_get_string(plist_dict_get(command, "CommandUUID"));
}

/* Asks until somebody has queued a command. transfer full. */
static plist *wait_command(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);

	for (int i = 0; i < COMMAND_WAIT_S; i++) {
		g_auto(sim_reply) reply = {0};
		plist *command = NULL;

		if (!device_tell(d, DEVICE_REPORT, message, &reply, error))
			return NULL;
		if (reply.status != 200) {
			device_refused(d, "Idle", &reply, error);
			return NULL;
		}
		if (!read_command(&reply, &command, error) || command)
			return command;
		if (i == 0)
			device_say(d, "misbehavior", json_pack("{s:s}", "name", d->options->misbehave), "waits for a command: send it one");
		if (!sim_sleep_ms(d->options->stop, 1000))
			break;
	}
	pom_fail(error, POM_ERR_CONFLICT, "%s needs a command: none was queued for it in %d seconds", d->options->misbehave, COMMAND_WAIT_S);
	return NULL;
}

/* A new connection in which every command is acknowledged; whether UUID was among them. */
static bool drain(struct device *d, const char *uuid, bool *ret_offered, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);
	bool offered = false;

	for (;;) {
		plist *command = NULL;

		if (!ask(d, message, plist_get_string(plist_dict_get(message, "Status")), &command, error))
			return false;
		if (!command)
			break;
		offered |= !g_strcmp0(uuid_of(command), uuid);
		plist_free(g_steal_pointer(&message));
		message = device_report_message(d, "Acknowledged", uuid_of(command));
		plist_free(command);
	}
	*ret_offered = offered;
	return true;
}

static bool check_offered(struct device *d, const char *uuid, bool wanted, GError **error)
{
	bool offered;

	if (!drain(d, uuid, &offered, error))
		return false;
	return offered == wanted || pom_fail(error, POM_ERR_CONFLICT, "%s: command %s was %s in the next connection", d->options->misbehave, uuid, offered ? "offered again" : "not offered again");
}

/* ---- signatures ---- */

static bool bad_signature(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL), acknowledged = device_report_message(d, "Acknowledged", "OTHER");
	g_autoptr(GBytes) body = device_format(message), signed_body = device_format(acknowledged);
	g_autofree char *signature = NULL;

	if (!device_enroll(d, error))
		return false;
	signature = sim_mdm_signature(d->key, d->cert, signed_body, false);
	return put(d, DEVICE_REPORT, body, signature, "an Idle signed over other bytes", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool no_signature(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);
	g_autoptr(GBytes) body = device_format(message);

	return device_enroll(d, error) && put(d, DEVICE_REPORT, body, NULL, "an Idle without Mdm-Signature", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool broken_signature(struct device *d, struct device *other, GError **error)
{
	static const char *const texts[] = {"AAAA", "not base64 at all!", "MIAGCSqGSIb3DQEHAqCAMIA="};
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);
	g_autoptr(GBytes) body = device_format(message);

	if (!device_enroll(d, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		if (!put(d, DEVICE_REPORT, body, texts[i], "an Idle with a broken Mdm-Signature", 400, error))
			return false;
	return misbehavior_idle(d, "a right Idle", 200, error);
}

static bool modern_signature(struct device *d, struct device *other, GError **error)
{
	d->modern_signature = true;
	return device_enroll(d, error) && misbehavior_idle(d, "an Idle signed with SHA-256 and attributes", 200, error);
}

static bool foreign_certificate(struct device *d, struct device *other, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) own = sim_cert_new(key, "com.example.self-made", NULL, NULL, NULL, NULL, 30), twin = NULL;
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);
	g_autoptr(GBytes) body = device_format(message);
	g_autofree char *own_signature = sim_mdm_signature(key, own, body, false), *twin_signature = NULL;

	if (!device_enroll(d, error))
		return false;
	/* The same names and serial number as the true certificate, over another key. */
	twin = X509_dup(d->cert);
	if (!twin || !X509_set_pubkey(twin, key) || !X509_sign(twin, key, EVP_sha256()))
		return pom_fail(error, POM_ERR_INTERNAL, "a look-alike certificate cannot be made");
	twin_signature = sim_mdm_signature(key, twin, body, false);
	return put(d, DEVICE_REPORT, body, own_signature, "an Idle signed with a self-made certificate", 403, error) &&
	       put(d, DEVICE_REPORT, body, twin_signature, "an Idle signed with a look-alike of the certificate", 403, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

/* ---- whose message, whose command ---- */

static bool tell_as(struct device *d, const struct device *victim, GError **error)
{
	g_autoptr(plist) status = device_report_message(victim, "Idle", NULL), token = device_token_update_message(victim), authenticate = device_authenticate_message(victim),
			 leave = device_message(victim, "CheckOut");

	return tell(d, DEVICE_REPORT, status, "an Idle with another device's UDID", 403, error) && tell(d, DEVICE_CHECKIN, token, "a TokenUpdate with another device's UDID", 403, error) &&
	       tell(d, DEVICE_CHECKIN, authenticate, "an Authenticate with another device's UDID", 403, error) &&
	       tell(d, DEVICE_CHECKIN, leave, "a CheckOut with another device's UDID", 403, error);
}

static bool others_certificate(struct device *d, struct device *other, GError **error)
{
	return device_enroll(d, error) && device_enroll(other, error) && tell_as(d, other, error) && misbehavior_idle(other, "a right Idle of the other device", 200, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool others_command(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) command = NULL, stolen = NULL;

	if (!device_enroll(d, error) || !device_enroll(other, error) || !(command = wait_command(d, error)))
		return false;
	stolen = device_report_message(other, "Acknowledged", uuid_of(command));
	return tell(other, DEVICE_REPORT, stolen, "a report of another device's command", 403, error) && check_offered(d, uuid_of(command), true, error);
}

static bool re_enroll(struct device *d, struct device *other, GError **error)
{
	if (!device_enroll(d, error))
		return false;
	g_free(other->udid);
	other->udid = g_strdup(d->udid);
	return device_enroll(other, error) && misbehavior_idle(d, "an Idle with the old certificate", 403, error) && misbehavior_idle(other, "an Idle with the new certificate", 200, error);
}

/* ---- again ---- */

static bool repeat(struct device *d, struct device *other, GError **error)
{
	return get_identity(d, error) && device_authenticate(d, error) && device_authenticate(d, error) && device_update_token(d, error) && device_update_token(d, error) &&
	       misbehavior_idle(d, "an Idle after everything twice", 200, error);
}

static bool replay(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) command = NULL, report = NULL, token = NULL;
	g_autoptr(GBytes) report_body = NULL, token_body = NULL;
	g_autofree char *report_signature = NULL, *token_signature = NULL;

	if (!get_identity(d, error) || !device_authenticate(d, error))
		return false;
	token = device_token_update_message(d);
	token_body = device_format(token);
	token_signature = device_sign(d, token_body);
	if (!put(d, DEVICE_CHECKIN, token_body, token_signature, "TokenUpdate", 200, error) || !(command = wait_command(d, error)))
		return false;
	report = device_answer(d, command);
	report_body = device_format(report);
	report_signature = device_sign(d, report_body);
	return put(d, DEVICE_REPORT, report_body, report_signature, "the report", 200, error) && put(d, DEVICE_REPORT, report_body, report_signature, "the same report again", 200, error) &&
	       put(d, DEVICE_CHECKIN, token_body, token_signature, "the same TokenUpdate again", 200, error) && check_offered(d, uuid_of(command), false, error);
}

/* ---- commands ---- */

/* Answers the first command with STATUS and no more; the server must not offer it again in this connection. */
static bool answer_with(struct device *d, const char *status, plist **ret_command, GError **error)
{
	g_autoptr(plist) command = wait_command(d, error), report = NULL, next = NULL;

	if (!command)
		return false;
	report = device_report_message(d, status, uuid_of(command));
	if (!ask(d, report, status, &next, error))
		return false;
	if (next && !g_strcmp0(uuid_of(next), uuid_of(command)))
		return pom_fail(error, POM_ERR_CONFLICT, "%s: command %s was offered again at once", d->options->misbehave, uuid_of(command));
	*ret_command = g_steal_pointer(&command);
	return true;
}

static bool not_now(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) command = NULL;

	return device_enroll(d, error) && answer_with(d, "NotNow", &command, error) && check_offered(d, uuid_of(command), true, error) && check_offered(d, uuid_of(command), false, error);
}

static bool format_error(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) command = NULL;

	return device_enroll(d, error) && answer_with(d, "CommandFormatError", &command, error) && check_offered(d, uuid_of(command), false, error);
}

static bool unknown_command(struct device *d, struct device *other, GError **error)
{
	g_autofree char *uuid = g_uuid_string_random();
	g_autoptr(plist) report = device_report_message(d, "Acknowledged", uuid), not_now_report = device_report_message(d, "NotNow", uuid);

	return device_enroll(d, error) && tell(d, DEVICE_REPORT, report, "a report of an unknown command", 200, error) &&
	       tell(d, DEVICE_REPORT, not_now_report, "NotNow for an unknown command", 200, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

/* ---- the wrong message ---- */

static bool wrong_order(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) token = NULL, leave = NULL;

	if (!get_identity(d, error))
		return false;
	token = device_token_update_message(d);
	leave = device_message(d, "CheckOut");
	return misbehavior_idle(d, "an Idle before Authenticate", 403, error) && tell(d, DEVICE_CHECKIN, token, "a TokenUpdate before Authenticate", 403, error) &&
	       tell(d, DEVICE_CHECKIN, leave, "a CheckOut before Authenticate", 403, error) && device_authenticate(d, error) && device_update_token(d, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool wrong_topic(struct device *d, struct device *other, GError **error)
{
	static const char topic[] = "com.apple.mgmt.External.00000000-0000-4000-8000-00000000ffff";
	g_autoptr(plist) authenticate = NULL, token = NULL;

	if (!get_identity(d, error))
		return false;
	authenticate = device_authenticate_message(d);
	token = device_token_update_message(d);
	plist_dict_set_string(authenticate, "Topic", topic);
	plist_dict_set_string(token, "Topic", topic);
	return tell(d, DEVICE_CHECKIN, authenticate, "an Authenticate for another topic", 400, error) && device_authenticate(d, error) &&
	       tell(d, DEVICE_CHECKIN, token, "a TokenUpdate for another topic", 400, error) && device_update_token(d, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool missing_status(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) none = device_report_message(d, "Idle", NULL), made_up = device_report_message(d, "Later", NULL), no_uuid = device_report_message(d, "Acknowledged", NULL);

	plist_dict_remove(none, "Status");
	return device_enroll(d, error) && tell(d, DEVICE_REPORT, none, "a report without Status", 400, error) && tell(d, DEVICE_REPORT, made_up, "a report with Status Later", 400, error) &&
	       tell(d, DEVICE_REPORT, no_uuid, "a report Acknowledged without CommandUUID", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool missing_udid(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) report = device_report_message(d, "Idle", NULL), authenticate = NULL;

	if (!get_identity(d, error))
		return false;
	authenticate = device_authenticate_message(d);
	plist_dict_remove(report, "UDID");
	plist_dict_remove(authenticate, "UDID");
	return tell(d, DEVICE_CHECKIN, authenticate, "an Authenticate without UDID", 400, error) && device_authenticate(d, error) && device_update_token(d, error) &&
	       tell(d, DEVICE_REPORT, report, "an Idle without UDID", 400, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

#define PLIST_START "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static bool broken_plist(struct device *d, struct device *other, GError **error)
{
	static const struct { const char *what, *body; } bodies[] = {
		{"an empty body", ""},
		{"a body that is no XML", "UDID=1&Status=Idle"},
		{"a property list that ends too early", PLIST_START "<plist version=\"1.0\"><dict><key>Status</key><string>Id"},
		{"a property list that is no dictionary", PLIST_START "<plist version=\"1.0\"><array><string>Idle</string></array></plist>"},
		{"a property list with an entity", PLIST_START "<!DOCTYPE plist [<!ENTITY a \"Idle\">]><plist version=\"1.0\"><dict><key>Status</key><string>&a;</string></dict></plist>"},
		{"a property list with a key twice", PLIST_START "<plist version=\"1.0\"><dict><key>Status</key><string>Idle</string><key>Status</key><string>Idle</string></dict></plist>"},
		{"a binary property list", "bplist00\xd1\x01\x02"},
	};

	if (!device_enroll(d, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(bodies); i++) {
		g_autoptr(GBytes) body = g_bytes_new_static(bodies[i].body, strlen(bodies[i].body));
		g_autofree char *signature = sim_mdm_signature(d->key, d->cert, body, false);

		if (!put(d, DEVICE_REPORT, body, signature, bodies[i].what, 400, error) || !put(d, DEVICE_CHECKIN, body, signature, bodies[i].what, 400, error))
			return false;
	}
	return misbehavior_idle(d, "a right Idle", 200, error);
}

/* ---- the wire ---- */

static bool huge(struct device *d, struct device *other, GError **error)
{
	g_autofree char *padding = g_malloc0(HUGE_CHECKIN);
	g_autoptr(plist) message = NULL;

	if (!device_enroll(d, error))
		return false;
	message = device_token_update_message(d);
	plist_dict_set_data(message, "Padding", padding, HUGE_CHECKIN);
	return tell(d, DEVICE_CHECKIN, message, "a TokenUpdate of 15 MB", 413, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool send_idle(struct device *d, size_t n_slow_bytes, size_t cut_after, struct sim_reply *ret, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);
	g_autoptr(GBytes) body = device_format(message);
	g_autofree char *signature = device_sign(d, body);
	struct sim_request request = {
		.method = "PUT", .url = d->profile->server_url, .content_type = "application/x-apple-aspen-mdm", .signature = signature, .body = body,
		.with_identity = true, .n_slow_bytes = n_slow_bytes, .cut_after = cut_after,
	};

	return sim_http_send(d->http, &request, ret, error);
}

static bool slow(struct device *d, struct device *other, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return device_enroll(d, error) && send_idle(d, SLOW_BYTES, 0, &reply, error) && misbehavior_check(d, "an Idle that took three seconds", reply.status, 200, error);
}

static bool cut_off(struct device *d, struct device *other, GError **error)
{
	g_auto(sim_reply) reply = {0};
	g_autoptr(GError) broken = NULL;

	if (!device_enroll(d, error))
		return false;
	for (size_t n = 1; n <= 100; n *= 10) {
		g_clear_error(&broken);
		if (send_idle(d, 0, n, &reply, &broken))
			return pom_fail(error, POM_ERR_CONFLICT, "cut-off: a message of %zu bytes without its end was answered with %d", n, reply.status);
	}
	return misbehavior_idle(d, "a right Idle after three broken connections", 200, error);
}

static bool minimal(struct device *d, struct device *other, GError **error)
{
	d->minimal = true;
	return device_enroll(d, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool check_out(struct device *d, struct device *other, GError **error)
{
	g_autoptr(plist) message = NULL, token = NULL;

	if (!device_enroll(d, error))
		return false;
	message = device_message(d, "CheckOut");
	token = device_token_update_message(d);
	return tell(d, DEVICE_CHECKIN, message, "CheckOut", 200, error) && tell(d, DEVICE_CHECKIN, message, "CheckOut again, as its answer could be lost", 200, error) &&
	       misbehavior_idle(d, "an Idle after CheckOut", 403, error) && tell(d, DEVICE_CHECKIN, token, "a TokenUpdate after CheckOut", 403, error);
}

/* ---- SCEP ---- */

/* HTTP_WANTED is the status of the HTTP answer: 200 is a CertRep that says FAILURE. */
static bool scep_fails(struct device *d, EVP_PKEY *key, const struct sim_scep_quirks *quirks, const char *what, int http_wanted, GError **error)
{
	struct sim_scep_outcome outcome;
	bool refused;
	int status;

	if (!sim_scep_enroll(d->http, &d->profile->identity.scep, sim_scep_form_find(d->model->macos ? "macos" : "ios"), key, quirks, d->options->stop, &outcome, error))
		return false;
	refused = outcome.status == SIM_SCEP_FAILURE;
	status = outcome.http_status;
	sim_scep_outcome_clear(&outcome);
	if (!misbehavior_check(d, what, status, http_wanted, error))
		return false;
	return refused || pom_fail(error, POM_ERR_CONFLICT, "%s: %s got a certificate", d->options->misbehave, what);
}

static bool wrong_challenge(struct device *d, struct device *other, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	const struct sim_scep_quirks guessed = {.challenge = "0000-0000-0000-0000"}, empty = {.challenge = ""};

	return device_fetch_profile(d, error) && scep_fails(d, key, &guessed, "a certificate request with a guessed challenge", 200, error) &&
	       scep_fails(d, key, &empty, "a certificate request with an empty challenge", 200, error) && device_get_identity(d, error);
}

static bool used_challenge(struct device *d, struct device *other, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();

	return device_enroll(d, error) && scep_fails(d, key, NULL, "a certificate request with the used challenge and another key", 200, error) && misbehavior_idle(d, "a right Idle", 200, error);
}

static bool weak_key(struct device *d, struct device *other, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new_bits(WEAK_BITS);

	return device_fetch_profile(d, error) && scep_fails(d, key, NULL, "a certificate request for an RSA key of 1024 bits", 200, error) && device_get_identity(d, error);
}

static bool foreign_csr(struct device *d, struct device *other, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new(), another = sim_key_new();
	const struct sim_scep_quirks quirks = {.csr_signer = another};

	return device_fetch_profile(d, error) && scep_fails(d, key, &quirks, "a certificate request signed by another key", 200, error) && device_get_identity(d, error);
}

static bool broken_scep(struct device *d, struct device *other, GError **error)
{
	static const char *const texts[] = {"hello", "0\x80\x06\x09*\x86H\x86\xf7\x0d\x01\x07\x02\xa0\x80"};
	g_autoptr(EVP_PKEY) key = sim_key_new();

	if (!device_fetch_profile(d, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GBytes) body = g_bytes_new_static(texts[i], strlen(texts[i]));
		const struct sim_scep_quirks quirks = {.instead = body};

		if (!scep_fails(d, key, &quirks, "a pkiMessage that is none", 400, error))
			return false;
	}
	return device_get_identity(d, error);
}

/* ---- the table ---- */

struct misbehavior {
	const char *name;
	int n_devices;
	bool (*run)(struct device *d, struct device *other, GError **error);
};

static const struct misbehavior misbehaviors[] = {
#define X(name, text, n_devices, run) {name, n_devices, run},
	MISBEHAVIORS(X)
#undef X
};

const struct sim_misbehavior *sim_misbehaviors(void)
{
	static const struct sim_misbehavior list[] = {
#define X(name, text, n_devices, run) {name, text},
		MISBEHAVIORS(X)
#undef X
		{NULL, NULL},
	};

	return list;
}

const struct misbehavior *misbehavior_find(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(misbehaviors); i++)
		if (!strcmp(misbehaviors[i].name, name))
			return &misbehaviors[i];
	return NULL;
}

int misbehavior_n_devices(const struct misbehavior *m)
{
	return m->n_devices;
}

void misbehavior_prepare(const struct misbehavior *m, struct device *d, struct device *other)
{
	if (!g_str_has_prefix(m->name, "watch-"))
		return;
	device_become(d, SIM_WATCH);
	device_become(other, SIM_IPHONE);
	other->supervised = true;
}

bool misbehavior_run(const struct misbehavior *m, struct device *d, struct device *other, GError **error)
{
	if (!m->run(d, other, error))
		return false;
	device_say(d, "misbehavior", json_pack("{s:s, s:b}", "name", m->name, "passed", 1), "%s: the server did what it must", m->name);
	return true;
}
