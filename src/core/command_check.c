#include "core/command_check.h"

#include <string.h>

#include "codec/json.h"

#define ANYWAY "; --force sends it as it is"

/* A place in the command, for messages: "Settings.Settings[2].Item". */
struct at {
	const struct at *up;
	const char *name; /* NULL: the item INDEX */
	size_t index;
};

struct check {
	const struct command_type *type;
	const struct command_target *target;
};

enum { SHOWN_MAX = 64 };

/* What a peer wrote, cut to what a message may show, between letters; transfer full. */
static char *shown(const char *text)
{
	const char *end;

	g_utf8_validate_len(text, MIN(strlen(text), SHOWN_MAX), &end);
	return g_strndup(text, (gsize)(end - text));
}

static void path_append(GString *path, const struct at *at)
{
	g_autofree char *name = at->name ? shown(at->name) : NULL;

	if (at->up)
		path_append(path, at->up);
	if (!name)
		g_string_append_printf(path, "[%zu]", at->index);
	else
		g_string_append_printf(path, "%s%s", at->up ? "." : "", name);
}

static char *path_of(const struct at *at)
{
	GString *path = g_string_new(NULL);

	path_append(path, at);
	return g_string_free(path, FALSE);
}

static bool fail_at(const struct at *at, enum pom_error code, GError **error, const char *format, ...) G_GNUC_PRINTF(4, 5);

static bool fail_at(const struct at *at, enum pom_error code, GError **error, const char *format, ...)
{
	g_autofree char *path = path_of(at), *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	return pom_fail(error, code, "%s %s" ANYWAY, path, text);
}

/* ---- the device ---- */

void command_target_init(struct command_target *target, enum enrollment_kind kind)
{
	*target = (struct command_target){.platform = PLATFORM_MAX, .access_rights = -1};
	target->user_channel = kind == ENROLLMENT_USER || kind == ENROLLMENT_SHARED_IPAD || kind == ENROLLMENT_USER_USER;
	target->user_enrollment = kind == ENROLLMENT_USER_DEVICE || kind == ENROLLMENT_USER_USER ? COMMAND_YES : COMMAND_NO;
	if (kind == ENROLLMENT_SHARED_IPAD) {
		target->shared_ipad = COMMAND_YES;
		target->platform = PLATFORM_IOS;
	}
	if (target->user_enrollment == COMMAND_YES) {
		target->supervised = target->automated = COMMAND_NO;
		target->shared_ipad = COMMAND_NO;
	}
	if (kind == ENROLLMENT_USER || kind == ENROLLMENT_USER_USER)
		target->platform = PLATFORM_MACOS;
}

static void learn(enum command_fact *fact, const json_t *value)
{
	if (json_is_boolean(value))
		*fact = json_is_true(value) ? COMMAND_YES : COMMAND_NO;
}

void command_target_learn(struct command_target *target, const char *name, const char *value)
{
	g_autoptr(json_t) json = json_loads(value, JSON_DECODE_ANY, NULL);

	if (!strcmp(name, "IsSupervised"))
		learn(&target->supervised, json);
	else if (!strcmp(name, "IsMultiUser"))
		learn(&target->shared_ipad, json);
	else if (!strcmp(name, "SecurityInfo.ManagementStatus"))
		learn(&target->automated, json_object_get(json, "EnrolledViaDEP"));
	else if (!strcmp(name, "OSVersion") && version_parse(json_string_value(json)))
		target->os_version = version_parse(json_string_value(json));
}

/* The rule of one system for the command or for a key in it. */
static bool check_system(const struct check *check, const struct at *at, unsigned systems, GError **error)
{
	const struct command_target *target = check->target;
	const struct command_system *system;
	char since[VERSION_TEXT_MAX], has[VERSION_TEXT_MAX];
	const char *name;

	if (!target || target->platform == PLATFORM_MAX)
		return true;
	system = &command_systems_of(systems)->of[target->platform];
	name = platform_name(target->platform);
	version_format(target->os_version, has);
	if (system->flags & COMMAND_SYSTEM_NO)
		return fail_at(at, POM_ERR_COMMAND_SYSTEM, error, "is not for %s, which this device has", name);
	if (target->os_version && system->since > target->os_version)
		return fail_at(at, POM_ERR_COMMAND_SYSTEM, error, "needs %s %s, this device has %s: update it first", name, version_format(system->since, since), has);
	if (system->removed && target->os_version >= system->removed)
		return fail_at(at, POM_ERR_COMMAND_SYSTEM, error, "is gone since %s %s, this device has %s", name, version_format(system->removed, since), has);
	if (system->flags & COMMAND_SYSTEM_SUPERVISED && target->supervised == COMMAND_NO)
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "needs a supervised device on %s, and this one is not", name);
	if (system->flags & COMMAND_SYSTEM_AUTOMATED && target->automated == COMMAND_NO)
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "needs a device that came by Automated Device Enrollment on %s, and this one did not", name);
	return true;
}

static bool check_mac(const struct check *check, const struct at *at, GError **error)
{
	bool user = check->target->user_channel;

	if (check->type->flags & (user ? COMMAND_MAC_USER : COMMAND_MAC_DEVICE))
		return true;
	return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "goes to %s of a Mac, not to %s: send it there", user ? "the device" : "a user", user ? "a user" : "the device");
}

static bool check_shared_ipad(const struct check *check, const struct at *at, GError **error)
{
	const struct command_target *target = check->target;
	unsigned flags = check->type->flags, wanted = target->user_channel ? COMMAND_SHARED_USER : COMMAND_SHARED_DEVICE;

	if (target->shared_ipad == COMMAND_NO && flags & COMMAND_SHARED_ONLY)
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "is for a Shared iPad, which this device is not");
	if (target->shared_ipad != COMMAND_YES && !target->user_channel)
		return true;
	if (flags & COMMAND_SHARED_NO)
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "is not for a Shared iPad, which this device is");
	if (!(flags & wanted))
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "goes to %s of a Shared iPad: send it there", target->user_channel ? "the device" : "a user");
	return true;
}

/* On which channel of which kind of enrollment. */
static bool check_enrollment(const struct check *check, const struct at *at, GError **error)
{
	const struct command_target *target = check->target;
	enum platform platform = target->platform;

	if (target->user_enrollment == COMMAND_YES && platform < PLATFORM_MAX && !(check->type->flags & (unsigned)COMMAND_USER_ENROLLMENT << platform))
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "is not for user enrollments on %s: the device must be enrolled as a whole", platform_name(platform));
	if (platform == PLATFORM_MACOS)
		return check_mac(check, at, error);
	if (platform == PLATFORM_IOS)
		return check_shared_ipad(check, at, error);
	if (platform < PLATFORM_MAX && target->user_channel)
		return fail_at(at, POM_ERR_COMMAND_CHANNEL, error, "cannot go to a user: %s has only the channel of the device", platform_name(platform));
	return true;
}

static bool check_right(const struct check *check, const struct at *at, GError **error)
{
	const struct command_target *target = check->target;
	int right = target->platform < PLATFORM_MAX ? check->type->rights[target->platform] : 0;

	if (!right || target->access_rights < 0 || target->user_enrollment == COMMAND_YES || target->access_rights & right)
		return true;
	return fail_at(at, POM_ERR_COMMAND_RIGHT, error, "needs the access right %d (%s), and the enrollment has %" G_GINT64_FORMAT ". Rights come with the enrollment profile: enroll the device anew with enroll.access_rights that has it",
	               right, command_right_name(right), target->access_rights);
}

/* ---- keys ---- */

static bool check_values(const struct command_key *key, const struct at *at, const plist *value, GError **error)
{
	g_auto(GStrv) values = key->values ? g_strsplit(key->values, "|", -1) : NULL;
	g_autofree char *number = NULL, *is = NULL, *all = NULL;
	const char *text = plist_get_string(value);
	int64_t n;

	if (!values)
		return true;
	if (!text && plist_get_integer(value, &n))
		text = number = g_strdup_printf("%" G_GINT64_FORMAT, n);
	if (text && g_strv_contains((const char *const *)values, text))
		return true;
	is = shown(text && !(key->flags & COMMAND_KEY_SECRET) ? text : "…");
	all = g_strjoinv(", ", values);
	return fail_at(at, POM_ERR_COMMAND_KEY, error, "is \"%s\", must be %s%s", is, values[1] ? "one of " : "", all);
}

static bool check_limit(const struct command_key *key, const struct at *at, const plist *value, GError **error)
{
	const char *text = plist_get_string(value);
	size_t len = 0;

	switch (key->limit) {
	case COMMAND_LIMIT_NONE:
		return true;
	case COMMAND_LIMIT_CHARACTERS:
		len = g_utf8_validate(text, -1, NULL) ? (size_t)g_utf8_strlen(text, -1) : strlen(text);
		break;
	case COMMAND_LIMIT_BYTES:
		plist_get_data(value, &len);
		break;
	case COMMAND_LIMIT_HTTPS:
		if (!g_ascii_strncasecmp(text, "https://", 8) && text[8] && text[8] != '/')
			return true;
		return fail_at(at, POM_ERR_COMMAND_KEY, error, "must be a URL that begins with https://");
	}
	if (len >= (size_t)key->min && len <= (size_t)key->max)
		return true;
	return fail_at(at, POM_ERR_COMMAND_KEY, error, "has %zu %s, must have %s", len, key->limit == COMMAND_LIMIT_BYTES ? "bytes" : "characters", key->limit_text);
}

static bool check_type(const struct command_key *key, const struct at *at, const plist *value, GError **error)
{
	enum plist_type type = plist_get_type(value), wanted = key->type == COMMAND_TYPE_VALUE ? PLIST_STRING : (enum plist_type)key->type;

	if (key->type == COMMAND_TYPE_ANY || type == wanted || (type == PLIST_INTEGER && wanted == PLIST_REAL))
		return true;
	return fail_at(at, POM_ERR_COMMAND_KEY, error, "is %s, must be %s%s", command_type_text((int)type), command_type_text((int)wanted),
	               wanted == PLIST_STRING ? " (in JSON in quotes: \"…\")" : wanted == PLIST_DATA ? " (in JSON: {\"$data\": \"base64\"})" : "");
}

static bool check_dict(const struct check *check, const struct at *at, const plist *dict, unsigned first, unsigned n, GError **error);
static bool check_array(const struct check *check, const struct at *at, const plist *array, unsigned first, unsigned n, GError **error);

static bool check_value(const struct check *check, const struct command_key *key, const struct at *at, const plist *value, GError **error)
{
	/* A query that a system does not know is left out of its answer: nothing is lost by asking. */
	if (key->type != COMMAND_TYPE_VALUE && !check_system(check, at, key->systems, error))
		return false;
	if (!check_type(key, at, value, error) || !check_values(key, at, value, error) || !check_limit(key, at, value, error))
		return false;
	if (key->type == PLIST_DICT && key->n)
		return check_dict(check, at, value, key->first, key->n, error);
	if (key->type == PLIST_ARRAY && key->n)
		return check_array(check, at, value, key->first, key->n, error);
	return true;
}

static bool fail_unknown(const struct at *at, unsigned first, unsigned n, const char *name, const char *what, GError **error)
{
	const char *nearest = command_key_nearest(first, n, name);

	return fail_at(at, POM_ERR_COMMAND_KEY, error, "%s%s%s", what, nearest ? ": did you mean " : "", nearest ? nearest : "");
}

static bool check_item(const struct check *check, const struct at *at, const plist *item, unsigned first, unsigned n, GError **error)
{
	const struct command_key *key = command_item_find(first, n, item);
	bool is_dict = command_key_at(first)->type == PLIST_DICT;
	const char *word = plist_get_string(is_dict ? plist_dict_get(item, "Item") : item);
	const struct at item_at = {at, "Item"};

	if (key)
		return check_value(check, key, at, item, error);
	if (plist_get_type(item) != (is_dict ? PLIST_DICT : PLIST_STRING))
		return check_type(command_key_at(first), at, item, error);
	if (!word)
		return fail_at(&item_at, POM_ERR_COMMAND_KEY, error, "is missing or no string: it says which setting is meant");
	return fail_unknown(is_dict ? &item_at : at, first, n, word, "is none of the words that are known here", error);
}

static bool check_array(const struct check *check, const struct at *at, const plist *array, unsigned first, unsigned n, GError **error)
{
	for (size_t i = 0; i < plist_count(array); i++) {
		const struct at below = {at, NULL, i};

		if (!check_item(check, &below, plist_child(array, i), first, n, error))
			return false;
	}
	return true;
}

/* Whether the device, as far as it is known, has the key at all. */
static bool is_there(const struct check *check, const struct command_key *key)
{
	const struct command_target *target = check->target;
	const struct command_system *system;

	if (!target || target->platform == PLATFORM_MAX)
		return true;
	system = &command_systems_of(key->systems)->of[target->platform];
	return !(system->flags & COMMAND_SYSTEM_NO) && !(target->os_version && system->since > target->os_version);
}

static bool check_dict(const struct check *check, const struct at *at, const plist *dict, unsigned first, unsigned n, GError **error)
{
	for (size_t i = 0; i < plist_count(dict); i++) {
		const char *name = plist_dict_key(dict, i);
		const struct command_key *key = command_key_find(first, n, name);
		const struct at below = {at, name};

		if (!key && !at->up)
			key = command_common_key_find(name);
		if (!key)
			return fail_unknown(&below, first, n, name, "is no key that is known here", error);
		if (!check_value(check, key, &below, plist_child(dict, i), error))
			return false;
	}
	for (unsigned i = first; i < first + n; i++) {
		const struct command_key *key = command_key_at(i);
		const struct at below = {at, key->name};

		if (key->flags & COMMAND_KEY_REQUIRED && strcmp(key->name, "*") && !plist_dict_get(dict, key->name) && is_there(check, key))
			return fail_at(&below, POM_ERR_COMMAND_KEY, error, "is missing: it must be %s", command_type_text(key->type));
	}
	return true;
}

static bool check_any_of(const struct check *check, const struct at *at, const plist *command, GError **error)
{
	g_auto(GStrv) names = check->type->any_of ? g_strsplit(check->type->any_of, "|", -1) : NULL;
	g_autofree char *all = NULL;

	for (char **name = names; name && *name; name++)
		if (plist_dict_get(command, *name))
			return true;
	if (!names)
		return true;
	all = g_strjoinv(" or ", names);
	return fail_at(at, POM_ERR_COMMAND_KEY, error, "needs %s", all);
}

static bool check_keys(const struct check *check, const struct at *at, const plist *command, GError **error)
{
	const struct command_type *type = check->type;

	return type->flags & COMMAND_UNREAD ||
	       (check_dict(check, at, command, type->keys[COMMAND_REQUEST].first, type->keys[COMMAND_REQUEST].n, error) && check_any_of(check, at, command, error));
}

static bool fail_type(const char *name, GError **error)
{
	g_autofree char *typed = shown(name);
	const char *nearest = command_type_nearest(name);

	return pom_fail(error, POM_ERR_COMMAND_UNKNOWN, "\"%s\" is no command that is known here%s%s. \"pomona command help\" lists those; another one can be sent as a raw plist (--plist FILE)", typed,
	                nearest ? ": did you mean " : "", nearest ? nearest : "");
}

bool command_check(const plist *command, const struct command_target *target, GError **error)
{
	const char *name = plist_get_string(plist_dict_get(command, "RequestType"));
	struct check check = {command_type_find(name), target};
	const struct at at = {NULL, name};

	if (!name)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.RequestType is missing or no string: give the name of a command such as DeviceInformation");
	if (!check.type)
		return fail_type(name, error);
	if (!check_system(&check, &at, check.type->systems, error))
		return false;
	if (target && !(check.type->flags & COMMAND_UNREAD) && (!check_enrollment(&check, &at, error) || !check_right(&check, &at, error)))
		return false;
	return check_keys(&check, &at, command, error);
}
