/* What people order: from words to a row of the queue. */
#include <string.h>

#include "codec/cms.h"
#include "core/renewal.h"
#include "service/answer.h"
#include "service/command.h"
#include "service/command_target.h"
#include "service/enroll.h"
#include "service/fleet.h"

enum { EXPIRES_MAX_S = 3650 * 86400 };

/* An order, taken apart. */
struct parsed {
	plist *inner;  /* the inner dictionary */
	char *uuid;    /* that a raw plist brings; NULL */
	bool is_raw;
};

static void parsed_clear(struct parsed *parsed)
{
	g_clear_pointer(&parsed->inner, plist_free);
	g_clear_pointer(&parsed->uuid, g_free);
}

/* ---- reading ---- */

static bool parse_raw(const void *data, size_t len, struct parsed *parsed, GError **error)
{
	g_autoptr(plist) raw = plist_parse(data, len, NULL, error);

	parsed->is_raw = true;
	parsed->inner = raw ? command_unwrap(raw, &parsed->uuid, error) : NULL;
	return parsed->inner != NULL;
}

static bool take_flag(json_t *json, const char *key, bool *flag, GError **error)
{
	const json_t *value = json_object_get(json, key);

	if (value && !json_is_boolean(value))
		return pom_fail(error, POM_ERR_JSON, "%s must be true or false", key);
	*flag = *flag || json_is_true(value);
	json_object_del(json, key);
	return true;
}

/* The keys beside the command, which no command of Apple's has: they leave JSON. */
static bool take_options(json_t *json, struct command_order *order, GError **error)
{
	const json_t *expires = json_object_get(json, "expires_in_s");

	if (expires && !json_is_integer(expires))
		return pom_fail(error, POM_ERR_JSON, "expires_in_s must be a whole number of seconds; 0: never");
	if (expires && !command_order_expire(order, json_integer_value(expires), error))
		return false;
	json_object_del(json, "expires_in_s");
	return take_flag(json, "fold", &order->fold, error) && take_flag(json, "force", &order->force, error);
}

static bool parse_json_raw(const json_t *json, struct parsed *parsed, GError **error)
{
	const char *text = json_string_value(json_object_get(json, "plist"));
	g_autofree guchar *data = NULL;
	gsize len = 0;

	if (!text || json_object_size(json) != 1)
		return pom_fail(error, POM_ERR_JSON, "plist must be the base64 of a property list, with none but expires_in_s and fold beside it");
	data = g_base64_decode(text, &len);
	if (!len)
		return pom_fail(error, POM_ERR_JSON, "plist is no base64");
	return parse_raw(data, len, parsed, error);
}

static bool parse_order(struct command_order *order, struct parsed *parsed, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(order->body, &len);
	g_autoptr(json_t) json = NULL;

	if (order->is_plist)
		return parse_raw(data, len, parsed, error);
	json = json_parse(data, len, error);
	if (!json)
		return false;
	if (!json_is_object(json))
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "a command is an object {\"RequestType\": …}");
	if (!take_options(json, order, error))
		return false;
	if (json_object_get(json, "plist"))
		return parse_json_raw(json, parsed, error);
	parsed->inner = plist_from_json(json, "command", error);
	return parsed->inner != NULL;
}

bool command_order_expire(struct command_order *order, int64_t seconds, GError **error)
{
	if (seconds < 0 || seconds > EXPIRES_MAX_S)
		return pom_fail(error, POM_ERR_COMMAND_EXPIRES, "a command can expire after at most %d days; 0 is never", EXPIRES_MAX_S / 86400);
	order->expires_s = seconds ? seconds : COMMAND_EXPIRES_NEVER;
	return true;
}

/* ---- checking ---- */

/* Whether IDENTIFIER is that of the profile that the device is managed by: of this server's address, or of the one that it was enrolled with. */
static bool is_enrollment(struct service *service, const struct enrollment_row *row, const char *identifier)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	struct enroll_served served = {0};
	bool is = enroll_is_own_identifier(service->settings.url, identifier, true);

	if (!is && row->active_epoch && store_renewal_facts(service->store, row->id, row->active_epoch, &facts, &load, NULL) && facts.served && enroll_served_parse(facts.served, &served, NULL))
		is = enroll_is_own_identifier(served.url, identifier, true);
	enroll_served_clear(&served);
	return is;
}

/* The property list in Command.Payload, whoever signed it; transfer full. */
static plist *payload_tree(const void *data, size_t len, GError **error)
{
	g_autoptr(cms_signed) message = NULL;

	if (!len || *(const uint8_t *)data != 0x30)
		return plist_parse(data, len, NULL, error);
	message = cms_signed_parse(data, len, NULL, 0, COMMAND_BODY_MAX, error);
	if (!message)
		return NULL;
	if (!message->content) {
		pom_fail(error, POM_ERR_PROFILE, "the signed message holds no profile");
		return NULL;
	}
	return plist_parse(g_bytes_get_data(message->content, NULL), g_bytes_get_size(message->content), NULL, error);
}

static bool check_install(struct service *service, const struct enrollment_row *row, const plist *inner, GError **error)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(inner, "Payload"), &len);
	g_autoptr(GError) cause = NULL;
	g_autoptr(plist) tree = NULL;
	const char *identifier;
	const plist *content;

	if (!data)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.Payload is missing or no data: it must be the bytes of a configuration profile");
	tree = payload_tree(data, len, &cause);
	content = plist_dict_get(tree, "PayloadContent");
	for (size_t i = 0; plist_get_type(content) == PLIST_ARRAY && i < plist_count(content); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(content, i), "PayloadType")), "com.apple.mdm"))
			return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "Command.Payload holds a com.apple.mdm payload (PayloadContent[%zu]): it would replace the enrollment. A new identity is sent with \"pomona device renew\"", i);
	identifier = plist_get_string(plist_dict_get(tree, "PayloadIdentifier"));
	if (identifier && is_enrollment(service, row, identifier))
		return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "Command.Payload has the PayloadIdentifier %s of the profile that this device is managed by, and would replace it", identifier);
	if (!tree || !mobileconfig_check(tree, &cause))
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.Payload is no profile that a device takes: %s", cause->message);
	return true;
}

/* What would take the device away from us, or can only fail. */
static bool check_command(struct service *service, const struct enrollment_row *row, const plist *inner, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType")), *identifier = plist_get_string(plist_dict_get(inner, "Identifier"));

	if (!g_strcmp0(type, "InstallProfile"))
		return check_install(service, row, inner, error);
	if (!g_strcmp0(type, "RemoveProfile") && identifier && is_enrollment(service, row, identifier))
		return pom_fail(error, POM_ERR_COMMAND_ENROLLMENT, "%s is the profile that this device is managed by: without it the device is not managed any more. \"pomona device unenroll\" has it removed, and revokes the device's identity",
		                identifier);
	return true;
}

/* What the server will put in when the command is fetched; NULL: nothing. The catalog is asked with something in its place. */
static bool find_fill(struct service *service, const struct enrollment_row *row, const struct parsed *parsed, const char **ret_note, GError **error)
{
	int64_t epoch = row->active_epoch ? row->active_epoch : row->pending_epoch;
	g_autoptr(GBytes) sealed = NULL;

	*ret_note = NULL;
	if (parsed->is_raw || g_strcmp0(plist_get_string(plist_dict_get(parsed->inner, "RequestType")), "ClearPasscode") || plist_dict_get(parsed->inner, "UnlockToken"))
		return true;
	if (!store_unlock_token_get(service->store, row->id, epoch, &sealed, error))
		return false;
	if (!sealed)
		return pom_fail(error, POM_ERR_COMMAND_UNLOCK, "ClearPasscode.UnlockToken is not given, and this device has sent none with TokenUpdate. iPhones and iPads send it once after they have enrolled; when it was lost, only a new enrollment"
		                " brings another one, or the device is erased (EraseDevice)");
	*ret_note = NOTE_UNLOCK;
	return true;
}

/* A raw plist and what is forced go as they are; but a misspelled RequestType is never forced. */
static bool check_catalog(struct service *service, const struct enrollment_row *row, const plist *inner, bool force, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType"));
	struct command_target target;

	if (force && command_type_find(type))
		return true;
	return service_command_target(service, row, &target, error) && command_check(inner, &target, error);
}

/* All that is asked before a command is queued; *RET_NOTE as of find_fill. */
static bool check_order(struct service *service, const struct command_order *order, const struct enrollment_row *row, const struct parsed *parsed, const char **ret_note, GError **error)
{
	g_autoptr(plist) filled = NULL;

	if (!check_command(service, row, parsed->inner, error))
		return false;
	*ret_note = NULL;
	if (parsed->is_raw)
		return true;
	filled = plist_copy(parsed->inner);
	if (!g_strcmp0(plist_get_string(plist_dict_get(filled, "RequestType")), "ClearPasscode") && !plist_dict_get(filled, "UnlockToken"))
		plist_dict_set_data(filled, "UnlockToken", "", 0);
	/* First whether this device may get it at all. */
	return check_catalog(service, row, filled, order->force, error) && find_fill(service, row, parsed, ret_note, error);
}

plist *service_command_parse(GBytes *body, bool is_plist, char **ret_uuid, GError **error)
{
	struct command_order order = {.body = body, .is_plist = is_plist};
	struct parsed parsed = {0};
	plist *inner = parse_order(&order, &parsed, error) ? g_steal_pointer(&parsed.inner) : NULL;

	*ret_uuid = g_steal_pointer(&parsed.uuid);
	parsed_clear(&parsed);
	return inner;
}

bool service_command_check(struct service *service, const struct enrollment_row *row, const plist *inner, bool unchecked, GError **error)
{
	return check_command(service, row, inner, error) && (unchecked || check_catalog(service, row, inner, false, error));
}

/* ---- queueing ---- */

/* What identical commands have in common. Keyed: a PIN must not be found by trying all. */
static bool fold_of(struct service *service, const plist *inner, uint8_t ret[COMMAND_FOLD_LEN], GError **error)
{
	g_autoptr(GBytes) canonical = command_canonical(inner, error);
	uint8_t key[32];
	gsize len;
	const void *data;

	if (!canonical)
		return false;
	data = g_bytes_get_data(canonical, &len);
	seal_derive(&service->seal, "command fold", key);
	hmac_sha256(key, sizeof(key), data, len, ret);
	explicit_bzero(key, sizeof(key));
	return true;
}

static void seal_body(struct service *service, const char *uuid, struct command *command)
{
	gsize len;
	const void *data = g_bytes_get_data(command->body, &len);
	GBytes *sealed = seal_close(&service->seal, "command", uuid, "body", data, len);

	g_bytes_unref(command->body);
	command->body = sealed;
}

int64_t service_command_expires_ms(const struct service *service, int64_t expires_s, const char *request_type, int64_t now_ms)
{
	int64_t after_ms = expires_s > 0 ? expires_s * 1000 : expires_s < 0 ? 0 : command_default_expiry(request_type, service->settings.command_expire_ms);

	return after_ms ? now_ms + after_ms : 0;
}

/* Queues what was checked. Of ROW the id, and the epochs as they were read (0: not read). INNER transfer full. */
static json_t *queue(struct service *service, const struct command_order *order, const struct enrollment_row *row, const char *uuid, plist *inner, const char *note, GError **error)
{
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType"));
	struct command_new new = {.enrollment_id = row->id, .uuid = uuid, .note = note, .is_sealed = command_has_secret(type, COMMAND_REQUEST, inner), .may_fold = order->fold, .now_ms = service_now_ms(service),
	                          .epoch = row->active_epoch ? row->active_epoch : row->pending_epoch};
	g_auto(command_auto) command = {0};
	g_autofree char *folded = NULL;
	uint8_t fold[COMMAND_FOLD_LEN];

	if (!fold_of(service, inner, fold, error)) {
		plist_free(inner);
		return NULL;
	}
	if (!command_build(inner, uuid, &command, error))
		return NULL;
	if (new.is_sealed)
		seal_body(service, uuid, &command);
	new.fold = fold;
	new.command = &command;
	new.expires_ms = service_command_expires_ms(service, order->expires_s, command.request_type, new.now_ms);
	if (!store_command_queue(service->store, &new, &folded, error))
		return NULL;
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
	return json_pack("{s:s, s:s, s:s, s:b, s:o}", "command_uuid", folded ? folded : uuid, "id", row->id, "request_type", command.request_type, "folded", folded != NULL,
	                 "expires_at", folded ? json_null() : json_time(new.expires_ms));
}

json_t *service_command_send(struct service *service, const struct command_order *order, GError **error)
{
	struct pom_id fresh = pom_id_new(service->clock, service->random);
	struct command_order wish = *order;
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	struct parsed parsed = {0};
	const char *note = NULL, *blocked = NULL;
	json_t *reply = NULL;

	if (store_enrollment_get_with_block(service->store, order->id, &row, &blocked, &load, error) && parse_order(&wish, &parsed, error) &&
	    checkin_check_blocked(&(struct checkin_facts){.blocked = blocked}, error) && check_order(service, &wish, &row, &parsed, &note, error))
		reply = queue(service, &wish, &row, parsed.uuid ? parsed.uuid : fresh.text, g_steal_pointer(&parsed.inner), note, error);
	parsed_clear(&parsed);
	return reply;
}

bool service_command_ask(struct service *service, const char *enrollment_id, plist *inner, GError **error)
{
	struct pom_id uuid = pom_id_new(service->clock, service->random);
	g_autoptr(json_t) reply = queue(service, &(struct command_order){.fold = true}, &(struct enrollment_row){.id = enrollment_id}, uuid.text, inner, NULL, error);

	return reply != NULL;
}

/* ---- at delivery ---- */

static GBytes *with_unlock_token(struct service *service, const char *enrollment_id, int64_t epoch, const plist *whole, const char *uuid, GError **error)
{
	g_autofree char *row = g_strdup_printf("%s.%" G_GINT64_FORMAT, enrollment_id, epoch);
	g_autoptr(GBytes) sealed = NULL, token = NULL;
	g_auto(command_auto) command = {0};
	plist *inner;
	const void *data;
	gsize len;

	if (!store_unlock_token_get(service->store, enrollment_id, epoch, &sealed, error))
		return NULL;
	if (!sealed) {
		pom_fail(error, POM_ERR_COMMAND_UNLOCK, "the unlock token is not there any more");
		return NULL;
	}
	token = seal_open(&service->seal, "epoch", row, "unlock_token", sealed, error);
	if (!token)
		return NULL;
	inner = plist_copy(plist_dict_get(whole, "Command"));
	data = g_bytes_get_data(token, &len);
	plist_dict_set_data(inner, "UnlockToken", data, len);
	return command_build(inner, uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

GBytes *service_command_content(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error)
{
	g_autoptr(GBytes) body = next->is_sealed ? seal_open(&service->seal, "command", next->uuid, "body", next->body, error) : g_bytes_ref(next->body);
	g_autoptr(plist) whole = NULL;

	if (!body || !note_is_fill(next->note))
		return g_steal_pointer(&body);
	whole = plist_parse(g_bytes_get_data(body, NULL), g_bytes_get_size(body), NULL, error);
	return whole ? with_unlock_token(service, enrollment_id, epoch, whole, next->uuid, error) : NULL;
}
