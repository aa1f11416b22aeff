#include <stdio.h>
#include <string.h>

#include "core/command_check.h"

/* ---- commands made from the table ---- */

enum how { AS_IT_SHOULD_BE, OMITTED, OF_WRONG_TYPE, WITH_WRONG_VALUE, TOO_LONG, WITH_UNKNOWN_BESIDE, SECRET_TEXT, HOW_MAX };
enum { CHAIN_MAX = 12 };

/* A command with all that is required, and with the key at the end of the chain, in some state. */
struct recipe {
	const struct command_key *chain[CHAIN_MAX];
	unsigned n;
	enum how how;
	enum platform platform; /* which items to choose; PLATFORM_MAX: any */
};

static bool is_for(const struct recipe *recipe, const struct command_key *key)
{
	return recipe->platform == PLATFORM_MAX || !(command_systems_of(key->systems)->of[recipe->platform].flags & COMMAND_SYSTEM_NO);
}

static plist *make_dict(const struct recipe *recipe, unsigned level, unsigned first, unsigned n);
static plist *make_array(const struct recipe *recipe, unsigned level, unsigned first, unsigned n);

static plist *wrong_type(const struct command_key *key)
{
	return key->type == PLIST_DATE ? plist_new_boolean(true) : plist_new_date(0);
}

static plist *make_string(const struct command_key *key)
{
	g_auto(GStrv) values = key->values ? g_strsplit(key->values, "|", -1) : NULL;

	if (key->limit == COMMAND_LIMIT_HTTPS)
		return plist_new_string("https://example.org/x");
	if (key->type == COMMAND_TYPE_VALUE)
		return plist_new_string(key->name);
	return plist_new_string(values ? values[0] : "123456");
}

/* A value of the right kind. LEVEL: where in the chain KEY stands, or CHAIN_MAX beside it. */
static plist *make_value(const struct recipe *recipe, unsigned level, const struct command_key *key)
{
	bool last = level != CHAIN_MAX && level + 1 == recipe->n;
	unsigned below = level == CHAIN_MAX || last ? CHAIN_MAX : level + 1;

	if (last && recipe->how == OF_WRONG_TYPE)
		return wrong_type(key);
	if (last && recipe->how == WITH_WRONG_VALUE)
		return key->type == PLIST_INTEGER ? plist_new_integer(4711) : plist_new_string("http://nonsense");
	if (last && recipe->how == TOO_LONG)
		return key->limit == COMMAND_LIMIT_BYTES ? plist_new_data("0123456789012345678901234567890123456789", 33) : plist_new_string("1234567");
	if (last && recipe->how == SECRET_TEXT && key->type != PLIST_DICT)
		return key->type == PLIST_DATA ? plist_new_data("s3cret", 6) : plist_new_string("s3cret");
	switch (key->type) {
	case PLIST_DICT: {
		plist *dict = make_dict(recipe, below, key->first, key->n);

		if (last && recipe->how == WITH_UNKNOWN_BESIDE)
			plist_dict_set_boolean(dict, "NoSuchKeyAtAll", true);
		if (last && recipe->how == SECRET_TEXT)
			plist_dict_set_string(dict, "Anything", "s3cret");
		return dict;
	}
	case PLIST_ARRAY:
		return make_array(recipe, below, key->first, key->n);
	case PLIST_INTEGER:
		return plist_new_integer(key->values ? atoi(key->values) : 3);
	case PLIST_REAL:
		return plist_new_real(0.5);
	case PLIST_BOOLEAN:
		return plist_new_boolean(true);
	case PLIST_DATE:
		return plist_new_date(1000);
	case PLIST_DATA:
		return plist_new_data("abc", 3);
	default:
		return make_string(key);
	}
}

static plist *make_dict(const struct recipe *recipe, unsigned level, unsigned first, unsigned n)
{
	const struct command_key *wanted = level < recipe->n ? recipe->chain[level] : NULL;
	plist *dict = plist_new_dict();

	for (unsigned i = first; i < first + n; i++) {
		const struct command_key *key = command_key_at(i);
		const char *name = strcmp(key->name, "*") ? key->name : "any.name";
		bool omitted = key == wanted && level + 1 == recipe->n && recipe->how == OMITTED;

		if (key == wanted && !omitted)
			plist_dict_set(dict, name, make_value(recipe, level, key));
		else if (!omitted && key->flags & COMMAND_KEY_REQUIRED && is_for(recipe, key))
			plist_dict_set(dict, name, make_value(recipe, CHAIN_MAX, key));
	}
	return dict;
}

/* The item that asks least of the device. */
static const struct command_key *humblest(const struct recipe *recipe, unsigned first, unsigned n)
{
	const struct command_key *best = NULL;

	for (unsigned i = first; i < first + n; i++) {
		const struct command_key *key = command_key_at(i);
		const struct command_system *s = command_systems_of(key->systems)->of;
		enum platform p = recipe->platform;

		if (p == PLATFORM_MAX || (!s[p].flags && (!best || s[p].since < command_systems_of(best->systems)->of[p].since)))
			best = key;
	}
	return best;
}

static plist *make_array(const struct recipe *recipe, unsigned level, unsigned first, unsigned n)
{
	const struct command_key *item = level < recipe->n ? recipe->chain[level] : NULL;
	plist *array = plist_new_array();

	if (!item) {
		item = humblest(recipe, first, n);
		level = CHAIN_MAX;
	}
	if (item)
		plist_array_append(array, make_value(recipe, level, item));
	return array;
}

static void add_any_of(const struct recipe *recipe, const struct command_type *type, enum command_part part, plist *dict)
{
	g_auto(GStrv) names = type->any_of && part == COMMAND_REQUEST ? g_strsplit(type->any_of, "|", -1) : NULL;
	bool any = false;

	for (char **name = names; name && *name; name++)
		any |= plist_dict_get(dict, *name) != NULL;
	for (char **name = names; name && *name && !any; name++) {
		const struct command_key *key = command_key_find(type->keys[part].first, type->keys[part].n, *name);

		if (is_for(recipe, key)) {
			plist_dict_set(dict, *name, make_value(recipe, CHAIN_MAX, key));
			any = true;
		}
	}
}

static plist *make(const struct recipe *recipe, const struct command_type *type, enum command_part part)
{
	plist *dict = make_dict(recipe, recipe->n ? 0 : CHAIN_MAX, type->keys[part].first, type->keys[part].n);

	add_any_of(recipe, type, part, dict);
	if (part == COMMAND_REQUEST)
		plist_dict_set_string(dict, "RequestType", type->name);
	return dict;
}

/* ---- what the check says ---- */

/* -1: accepted. */
static int verdict(const plist *command, const struct command_target *target, char **ret_message)
{
	g_autoptr(GError) error = NULL;
	int code;

	if (command_check(command, target, &error)) {
		g_assert_null(error);
		return -1;
	}
	g_assert_true(error->domain == POM_ERROR);
	code = error->code;
	if (ret_message)
		*ret_message = g_strdup(error->message);
	return code;
}

static const char *where(const struct command_type *type, const struct recipe *recipe)
{
	static char text[512];
	int n = snprintf(text, sizeof(text), "%s", type->name);

	for (unsigned i = 0; i < recipe->n; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, recipe->chain[i]->flags & COMMAND_KEY_ITEM ? "[%s]" : ".%s", recipe->chain[i]->name);
	return text;
}

/* The key path that a refusal of the key at the end of the chain begins with. */
static char *path_of(const struct command_type *type, const struct recipe *recipe)
{
	GString *path = g_string_new(type->name);

	for (unsigned i = 0; i < recipe->n; i++)
		if (recipe->chain[i]->flags & COMMAND_KEY_ITEM)
			g_string_append(path, "[0]");
		else
			g_string_append_printf(path, ".%s", strcmp(recipe->chain[i]->name, "*") ? recipe->chain[i]->name : "any.name");
	return g_string_free(g_string_append(path, recipe->how == WITH_UNKNOWN_BESIDE ? ".NoSuchKeyAtAll " : " "), FALSE);
}

/* A refusal says where, and what must be. */
static void check_message(const struct command_type *type, const struct recipe *recipe, const char *message)
{
	const struct command_key *key = recipe->chain[recipe->n - 1];
	g_autofree char *path = path_of(type, recipe);
	const char *rule[HOW_MAX] = {[OMITTED] = "is missing: it must be ", [OF_WRONG_TYPE] = "must be ", [TOO_LONG] = key->limit_text, [WITH_UNKNOWN_BESIDE] = "is no key that is known here"};

	/* The word that says which of several items is meant is not judged by its row alone. */
	if (!strcmp(key->name, "Item"))
		return;
	if (!g_str_has_prefix(message, path) || !strstr(message, "--force") || (rule[recipe->how] && !strstr(message, rule[recipe->how])))
		g_error("%s (%d): \"%s\" does not tell the path and the rule", path, recipe->how, message);
	if (recipe->how == OMITTED || recipe->how == OF_WRONG_TYPE)
		g_assert_nonnull(strstr(message, command_type_text(key->type)));
	if (recipe->how == WITH_WRONG_VALUE && key->values) {
		g_auto(GStrv) values = g_strsplit(key->values, "|", -1);

		for (char **value = values; *value; value++)
			g_assert_nonnull(strstr(message, *value));
	}
}

static void expect(const struct command_type *type, struct recipe *recipe, enum how how, const struct command_target *target, int code)
{
	g_autoptr(plist) command = NULL;
	g_autofree char *message = NULL;
	int got;

	recipe->how = how;
	command = make(recipe, type, COMMAND_REQUEST);
	got = verdict(command, target, &message);
	if (got != code)
		g_error("%s (%d): got %d (%s), expected %d", where(type, recipe), how, got, message ? message : "accepted", code);
	if (code == -1)
		return;
	if (!target)
		check_message(type, recipe, message);
	g_assert_nonnull(strstr(message, type->name));
	g_assert_nonnull(strstr(message, "--force"));
}

typedef void visit(const struct command_type *type, enum command_part part, struct recipe *recipe);

static void walk(const struct command_type *type, enum command_part part, struct recipe *recipe, unsigned first, unsigned n, visit *visit)
{
	for (unsigned i = first; i < first + n; i++) {
		const struct command_key *key = command_key_at(i);

		g_assert_cmpuint(recipe->n, <, CHAIN_MAX - 1);
		recipe->chain[recipe->n++] = key;
		visit(type, part, recipe);
		walk(type, part, recipe, key->first, key->n, visit);
		recipe->n--;
	}
}

static void walk_all(enum command_part part, visit *visit)
{
	const struct command_type *type;

	for (unsigned i = 0; (type = command_type_at(i)); i++) {
		struct recipe recipe = {.platform = PLATFORM_MAX};

		walk(type, part, &recipe, type->keys[part].first, type->keys[part].n, visit);
	}
}

/* ---- for every row ---- */

static bool is_item(const struct command_key *key)
{
	return key->flags & COMMAND_KEY_ITEM;
}

static void visit_shape(const struct command_type *type, enum command_part part, struct recipe *recipe)
{
	const struct command_key *key = recipe->chain[recipe->n - 1];
	bool open = key->n == 0;

	for (unsigned i = key->first; i < key->first + key->n; i++)
		open |= !strcmp(command_key_at(i)->name, "*");
	expect(type, recipe, AS_IT_SHOULD_BE, NULL, -1);
	if (key->type != COMMAND_TYPE_ANY)
		expect(type, recipe, OF_WRONG_TYPE, NULL, POM_ERR_COMMAND_KEY);
	if (key->flags & COMMAND_KEY_REQUIRED && !is_item(key))
		expect(type, recipe, OMITTED, NULL, POM_ERR_COMMAND_KEY);
	if (key->values || key->type == COMMAND_TYPE_VALUE || key->limit == COMMAND_LIMIT_HTTPS)
		expect(type, recipe, WITH_WRONG_VALUE, NULL, POM_ERR_COMMAND_KEY);
	if (key->limit == COMMAND_LIMIT_BYTES || key->limit == COMMAND_LIMIT_CHARACTERS)
		expect(type, recipe, TOO_LONG, NULL, POM_ERR_COMMAND_KEY);
	if (key->type == PLIST_DICT)
		expect(type, recipe, WITH_UNKNOWN_BESIDE, NULL, open ? -1 : POM_ERR_COMMAND_KEY);
}

static void test_every_key(void)
{
	walk_all(COMMAND_REQUEST, visit_shape);
}

/* A value that is one of several is accepted for each of them. */
static void visit_values(const struct command_type *type, enum command_part part, struct recipe *recipe)
{
	struct command_key *key = g_memdup2(recipe->chain[recipe->n - 1], sizeof(*key));
	g_auto(GStrv) values = key->values && !is_item(key) && recipe->n == 1 ? g_strsplit(key->values, "|", -1) : NULL;

	for (char **value = values; value && *value; value++) {
		g_autoptr(plist) command = make(recipe, type, part);

		plist_dict_set(command, key->name, key->type == PLIST_INTEGER ? plist_new_integer(atoi(*value)) : plist_new_string(*value));
		g_assert_cmpint(verdict(command, NULL, NULL), ==, -1);
	}
	g_free(key);
}

static void test_every_value(void)
{
	walk_all(COMMAND_REQUEST, visit_values);
}

static struct command_target target_on(enum platform platform)
{
	return (struct command_target){.platform = platform, .access_rights = -1};
}

/* The channel on which a command goes to a platform, so that only one rule is looked at. */
static bool user_channel_of(const struct command_type *type, enum platform platform)
{
	return (platform == PLATFORM_MACOS && !(type->flags & COMMAND_MAC_DEVICE)) || (platform == PLATFORM_IOS && type->flags & COMMAND_SHARED_USER && !(type->flags & COMMAND_SHARED_DEVICE));
}

static void check_type_on(const struct command_type *type, enum platform platform)
{
	const struct command_system *system = &command_systems_of(type->systems)->of[platform];
	struct recipe recipe = {.platform = platform};
	struct command_target target = target_on(platform);

	target.user_channel = user_channel_of(type, platform);
	if (system->flags & COMMAND_SYSTEM_NO) {
		expect(type, &recipe, AS_IT_SHOULD_BE, &target, POM_ERR_COMMAND_SYSTEM);
		return;
	}
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, -1);
	target.os_version = 0xff0000;
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, -1);
	target.os_version = system->since ? system->since - 1 : 0;
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, system->since ? POM_ERR_COMMAND_SYSTEM : -1);
	target = target_on(platform);
	target.user_channel = user_channel_of(type, platform);
	target.supervised = COMMAND_NO;
	target.automated = COMMAND_YES;
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, system->flags & COMMAND_SYSTEM_SUPERVISED ? POM_ERR_COMMAND_CHANNEL : -1);
	target.supervised = COMMAND_YES;
	target.automated = COMMAND_NO;
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, system->flags & COMMAND_SYSTEM_AUTOMATED ? POM_ERR_COMMAND_CHANNEL : -1);
}

static void check_rights_on(const struct command_type *type, enum platform platform)
{
	struct recipe recipe = {.platform = platform};
	struct command_target target = target_on(platform);
	bool user_enrollment_allowed = platform >= PLATFORM_MAX || type->flags & (unsigned)COMMAND_USER_ENROLLMENT << platform;

	target.user_channel = user_channel_of(type, platform);
	target.access_rights = 8191 & ~type->rights[platform];
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, type->rights[platform] ? POM_ERR_COMMAND_RIGHT : -1);
	target.access_rights = type->rights[platform];
	expect(type, &recipe, AS_IT_SHOULD_BE, &target, -1);
	target.access_rights = 0;
	target.user_enrollment = COMMAND_YES;
	if (platform != PLATFORM_TVOS && platform != PLATFORM_WATCHOS)
		expect(type, &recipe, AS_IT_SHOULD_BE, &target, user_enrollment_allowed ? -1 : POM_ERR_COMMAND_CHANNEL);
}

static void check_channels_on(const struct command_type *type, enum platform platform)
{
	static const enum command_flag mac[] = {COMMAND_MAC_DEVICE, COMMAND_MAC_USER}, shared[] = {COMMAND_SHARED_DEVICE, COMMAND_SHARED_USER};
	struct recipe recipe = {.platform = platform};

	for (unsigned user = 0; user < 2; user++) {
		struct command_target target = target_on(platform);
		const enum command_flag wanted = platform == PLATFORM_MACOS ? mac[user] : shared[user];

		target.user_channel = user;
		target.shared_ipad = platform == PLATFORM_IOS ? COMMAND_YES : COMMAND_UNKNOWN;
		if (platform == PLATFORM_IOS || platform == PLATFORM_MACOS)
			expect(type, &recipe, AS_IT_SHOULD_BE, &target, type->flags & wanted ? -1 : POM_ERR_COMMAND_CHANNEL);
		else
			expect(type, &recipe, AS_IT_SHOULD_BE, &target, user ? POM_ERR_COMMAND_CHANNEL : -1);
	}
	if (platform == PLATFORM_IOS) {
		struct command_target target = target_on(platform);

		target.shared_ipad = COMMAND_NO;
		expect(type, &recipe, AS_IT_SHOULD_BE, &target, type->flags & COMMAND_SHARED_ONLY ? POM_ERR_COMMAND_CHANNEL : -1);
	}
}

static void test_every_type(void)
{
	const struct command_type *type;
	unsigned n = 0;

	for (; (type = command_type_at(n)); n++) {
		struct recipe recipe = {.platform = PLATFORM_MAX};

		g_assert_true(command_type_find(type->name) == type);
		expect(type, &recipe, AS_IT_SHOULD_BE, NULL, -1);
		for (int p = 0; p < PLATFORM_MAX; p++) {
			if (type->flags & COMMAND_UNREAD)
				continue;
			check_type_on(type, (enum platform)p);
			if (command_systems_of(type->systems)->of[p].flags & COMMAND_SYSTEM_NO)
				continue;
			check_rights_on(type, (enum platform)p);
			check_channels_on(type, (enum platform)p);
		}
	}
	g_assert_cmpuint(n, ==, 68);
}

/* What the rows of the chain say of a platform together. */
struct told { uint32_t since; bool no, supervised, automated; };

static struct told told_of(const struct command_type *type, const struct recipe *recipe, enum platform platform)
{
	struct told told = {.since = command_systems_of(type->systems)->of[platform].since};

	for (unsigned i = 0; i < recipe->n; i++) {
		const struct command_system *s = &command_systems_of(recipe->chain[i]->systems)->of[platform];

		if (recipe->chain[i]->type == COMMAND_TYPE_VALUE)
			continue;
		told.since = MAX(told.since, s->since);
		told.no |= s->flags & COMMAND_SYSTEM_NO;
		told.supervised |= (s->flags & COMMAND_SYSTEM_SUPERVISED) != 0;
		told.automated |= (s->flags & COMMAND_SYSTEM_AUTOMATED) != 0;
	}
	return told;
}

static void visit_systems(const struct command_type *type, enum command_part part, struct recipe *recipe)
{
	for (int p = 0; p < PLATFORM_MAX; p++) {
		const struct command_system *whole = &command_systems_of(type->systems)->of[p];
		struct told told = told_of(type, recipe, (enum platform)p);
		struct command_target target = target_on((enum platform)p);

		recipe->platform = (enum platform)p;
		target.user_channel = user_channel_of(type, (enum platform)p);
		if (whole->flags & COMMAND_SYSTEM_NO)
			continue;
		target.os_version = 0xff0000;
		expect(type, recipe, AS_IT_SHOULD_BE, &target, told.no ? POM_ERR_COMMAND_SYSTEM : -1);
		if (told.no)
			continue;
		target.os_version = told.since;
		expect(type, recipe, AS_IT_SHOULD_BE, &target, -1);
		target.os_version = told.since ? told.since - 1 : 0;
		expect(type, recipe, AS_IT_SHOULD_BE, &target, told.since ? POM_ERR_COMMAND_SYSTEM : -1);
		target.os_version = 0;
		target.supervised = whole->flags & COMMAND_SYSTEM_SUPERVISED ? COMMAND_UNKNOWN : COMMAND_NO;
		if (told.supervised || target.supervised == COMMAND_NO)
			expect(type, recipe, AS_IT_SHOULD_BE, &target, told.supervised && target.supervised == COMMAND_NO ? POM_ERR_COMMAND_CHANNEL : -1);
	}
	recipe->platform = PLATFORM_MAX;
}

static void test_every_key_on_every_system(void)
{
	walk_all(COMMAND_REQUEST, visit_systems);
}

/* ---- secrets ---- */

static bool holds(const plist *tree, const char *text)
{
	g_autoptr(GBytes) xml = plist_format(tree, NULL);
	g_autofree char *base64 = g_base64_encode((const guchar *)text, strlen(text));
	gsize len;
	const char *data = g_bytes_get_data(xml, &len);

	return g_strstr_len(data, (gssize)len, text) || g_strstr_len(data, (gssize)len, base64);
}

static unsigned n_secrets;

static void visit_secrets(const struct command_type *type, enum command_part part, struct recipe *recipe)
{
	const struct command_key *key = recipe->chain[recipe->n - 1];
	bool below_secret = false;
	g_autoptr(plist) tree = NULL, redacted = NULL;

	for (unsigned i = 0; i < recipe->n; i++)
		below_secret |= (recipe->chain[i]->flags & COMMAND_KEY_SECRET) != 0;
	if (key->type != PLIST_STRING && key->type != PLIST_DATA && !(key->flags & COMMAND_KEY_SECRET))
		return;
	recipe->how = SECRET_TEXT;
	tree = make(recipe, type, part);
	if (!holds(tree, "s3cret"))
		g_error("%s is not in the command", where(type, recipe));
	redacted = command_redact(type->name, part, tree);
	if (holds(redacted, "s3cret") == below_secret)
		g_error("%s is %s", where(type, recipe), below_secret ? "shown" : "hidden");
	g_assert_true(!below_secret || command_has_secret(type->name, part, tree));
	g_assert_cmpint(command_has_secret(type->name, part, tree), ==, !plist_equal(tree, redacted));
	n_secrets += (key->flags & COMMAND_KEY_SECRET) != 0;
}

static void test_secrets(void)
{
	n_secrets = 0;
	walk_all(COMMAND_REQUEST, visit_secrets);
	g_assert_cmpuint(n_secrets, ==, 24);
	walk_all(COMMAND_RESPONSE, visit_secrets);
	g_assert_cmpuint(n_secrets, ==, 32);
}

static plist *parse_xml(const char *body)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\"><dict>%s</dict></plist>", body);
	g_autoptr(GError) error = NULL;
	plist *tree = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return tree;
}

/* Keys that the catalog does not tell of. */
static void test_secrets_by_name(void)
{
	static const struct { const char *type, *xml; bool hidden; } cases[] = {
		{"NewCommand", "<key>AdminPassword</key><string>s3cret</string>", true},
		{"NewCommand", "<key>A</key><array><dict><key>PIN</key><string>s3cret</string></dict></array>", true},
		{"NewCommand", "<key>UnlockToken</key><data>czNjcmV0</data>", true},
		{"NewCommand", "<key>Message</key><string>s3cret</string>", false},
		{"DeviceLock", "<key>NewSecret</key><string>s3cret</string>", true},
		{"DeviceLock", "<key>Message</key><string>s3cret</string>", false},
		{"InstallEnterpriseApplication", "<key>Manifest</key><dict><key>password</key><string>s3cret</string></dict>", true},
		{NULL, "<key>Password</key><string>s3cret</string>", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse_xml(cases[i].xml), redacted = command_redact(cases[i].type, COMMAND_REQUEST, tree);

		g_assert_cmpint(holds(redacted, "s3cret"), ==, !cases[i].hidden);
		g_assert_cmpint(command_has_secret(cases[i].type, COMMAND_REQUEST, tree), ==, cases[i].hidden);
	}
}

/* ---- by hand ---- */

#define KEY(name, value) "<key>" name "</key>" value
#define S(text) "<string>" text "</string>"
#define LOCK KEY("RequestType", S("DeviceLock"))
#define SETTING(xml) KEY("RequestType", S("Settings")) "<key>Settings</key><array><dict>" xml "</dict></array>"

static void test_by_hand(void)
{
	static const struct {
		const char *xml;
		int code;          /* -1: accepted */
		const char *words; /* in the message */
		struct command_target target;
	} cases[] = {
		{"", POM_ERR_COMMAND_INVALID, "RequestType"},
		{KEY("RequestType", "<true/>"), POM_ERR_COMMAND_INVALID, "RequestType"},
		{KEY("RequestType", S("DeviceLok")), POM_ERR_COMMAND_UNKNOWN, "did you mean DeviceLock. "},
		{KEY("RequestType", S("devicelock")), POM_ERR_COMMAND_UNKNOWN, "DeviceLock"},
		{KEY("RequestType", S("Xyzzy")), POM_ERR_COMMAND_UNKNOWN, "raw plist"},
		{KEY("RequestType", S("CancelEnhancedLogCollection")) KEY("Whatever", "<true/>"), -1, NULL, {PLATFORM_MACOS, .user_channel = true, .user_enrollment = COMMAND_YES, .access_rights = -1}},
		{LOCK, -1, NULL, {PLATFORM_MAX, .access_rights = -1}},
		{LOCK KEY("RequestRequiresNetworkTether", "<true/>"), -1},
		{LOCK KEY("RequestRequiresNetworkTether", S("yes")), POM_ERR_COMMAND_KEY, "DeviceLock.RequestRequiresNetworkTether is a string, must be true or false"},
		{LOCK KEY("PIN", S("123456")), -1, NULL, {PLATFORM_MACOS, .access_rights = 8191}},
		{LOCK KEY("PIN", S("ÄÖÜäöü")), -1, NULL, {PLATFORM_MACOS, .access_rights = 8191}},
		{LOCK KEY("PIN", S("12345")), POM_ERR_COMMAND_KEY, "DeviceLock.PIN has 5 characters, must have 6 characters", {PLATFORM_MACOS, .access_rights = -1}},
		{LOCK KEY("PIN", "<integer>123456</integer>"), POM_ERR_COMMAND_KEY, "DeviceLock.PIN is an integer, must be a string", {PLATFORM_MACOS, .access_rights = -1}},
		{LOCK KEY("PIN", S("123456")), POM_ERR_COMMAND_SYSTEM, "DeviceLock.PIN is not for iOS", {PLATFORM_IOS, .access_rights = -1}},
		{LOCK KEY("Pin", S("123456")), POM_ERR_COMMAND_KEY, "did you mean PIN", {PLATFORM_MACOS, .access_rights = -1}},
		{LOCK KEY("PhoneNumber", S("1")), POM_ERR_COMMAND_SYSTEM, "needs macOS 11.5, this device has 11.4", {PLATFORM_MACOS, 0x0b0400, .access_rights = -1}},
		{LOCK KEY("PhoneNumber", S("1")), -1, NULL, {PLATFORM_MACOS, 0x0b0500, .access_rights = -1}},
		{LOCK, POM_ERR_COMMAND_SYSTEM, "DeviceLock is not for tvOS", {PLATFORM_TVOS, .access_rights = -1}},
		{LOCK, POM_ERR_COMMAND_RIGHT, "access right 4 (lock, and remove the passcode)", {PLATFORM_IOS, .access_rights = 8187}},
		{LOCK, POM_ERR_COMMAND_CHANNEL, "the device", {PLATFORM_MACOS, .user_channel = true, .access_rights = -1}},
		{LOCK, POM_ERR_COMMAND_CHANNEL, "user enrollments", {PLATFORM_MACOS, .user_enrollment = COMMAND_YES, .access_rights = -1}},
		{LOCK, -1, NULL, {PLATFORM_IOS, .user_enrollment = COMMAND_YES, .access_rights = 0}},
		{KEY("RequestType", S("EraseDevice")) KEY("PIN", S("1234567")), POM_ERR_COMMAND_KEY, "EraseDevice.PIN has 7"},
		{KEY("RequestType", S("EraseDevice")) KEY("ReturnToService", "<dict/>"), POM_ERR_COMMAND_KEY, "EraseDevice.ReturnToService.Enabled is missing: it must be true or false"},
		{KEY("RequestType", S("EraseDevice")) KEY("ObliterationBehavior", S("Never")), POM_ERR_COMMAND_KEY, "is \"Never\", must be one of Default, DoNotObliterate"},
		{KEY("RequestType", S("EnableLostMode")), POM_ERR_COMMAND_KEY, "EnableLostMode needs Message or PhoneNumber"},
		{KEY("RequestType", S("EnableLostMode")) KEY("Footnote", S("x")), POM_ERR_COMMAND_KEY, "Message or PhoneNumber"},
		{KEY("RequestType", S("EnableLostMode")) KEY("PhoneNumber", S("1")), -1},
		{KEY("RequestType", S("EnableLostMode")) KEY("PhoneNumber", S("1")), POM_ERR_COMMAND_CHANNEL, "needs a supervised device on iOS", {PLATFORM_IOS, .supervised = COMMAND_NO, .access_rights = -1}},
		{KEY("RequestType", S("InstallApplication")), POM_ERR_COMMAND_KEY, "iTunesStoreID or Identifier or ManifestURL"},
		{KEY("RequestType", S("InstallApplication")) KEY("ManifestURL", S("http://x.example/m.plist")), POM_ERR_COMMAND_KEY, "https://"},
		{KEY("RequestType", S("InstallApplication")) KEY("ManifestURL", S("https:///m.plist")), POM_ERR_COMMAND_KEY, "https://"},
		{KEY("RequestType", S("InstallApplication")) KEY("ManifestURL", S("HTTPS://x.example/m.plist")), -1},
		{KEY("RequestType", S("InstallApplication")) KEY("iTunesStoreID", "<integer>1</integer>") KEY("ManagementFlags", "<integer>2</integer>"), POM_ERR_COMMAND_KEY, "is \"2\", must be one of 1, 4, 5"},
		{KEY("RequestType", S("DeviceInformation")) KEY("Queries", "<array><string>OSVersion</string><string>OSVerzion</string></array>"), POM_ERR_COMMAND_KEY,
		 "DeviceInformation.Queries[1] is none of the words that are known here: did you mean OSVersion"},
		{KEY("RequestType", S("DeviceInformation")) KEY("Queries", "<array><string>OSVersion</string><integer>1</integer></array>"), POM_ERR_COMMAND_KEY, "Queries[1] is an integer, must be a string"},
		{KEY("RequestType", S("DeviceInformation")) KEY("Queries", "<array><string>IMEI</string></array>"), -1, NULL, {PLATFORM_MACOS, .access_rights = -1}},
		{KEY("RequestType", S("DeviceInformation")) KEY("Queries", "<array/>") KEY("DeviceAttestationNonce", "<data></data>"), POM_ERR_COMMAND_KEY, "has 0 bytes, must have 1..32 bytes"},
		{SETTING(KEY("Item", S("Bluetooth")) KEY("Enabled", "<true/>")), -1},
		{SETTING(KEY("Item", S("Bluetooth"))), POM_ERR_COMMAND_KEY, "Settings.Settings[0].Enabled is missing"},
		{SETTING(KEY("Item", S("Bluetoth")) KEY("Enabled", "<true/>")), POM_ERR_COMMAND_KEY, "Settings.Settings[0].Item is none of the words that are known here: did you mean Bluetooth"},
		{SETTING(KEY("Enabled", "<true/>")), POM_ERR_COMMAND_KEY, "Settings.Settings[0].Item is missing"},
		{SETTING(KEY("Item", S("Bluetooth")) KEY("Enabled", "<true/>")), POM_ERR_COMMAND_CHANNEL, "Settings.Settings[0] needs a supervised device on iOS", {PLATFORM_IOS, .supervised = COMMAND_NO, .access_rights = -1}},
		{SETTING(KEY("Item", S("Bluetooth")) KEY("Enabled", "<true/>")), -1, NULL, {PLATFORM_MACOS, .supervised = COMMAND_NO, .access_rights = -1}},
		{SETTING(KEY("Item", S("HostName")) KEY("HostName", S("a"))), POM_ERR_COMMAND_SYSTEM, "Settings.Settings[0] is not for iOS", {PLATFORM_IOS, .access_rights = -1}},
		{SETTING(KEY("Item", S("ApplicationAttributes")) KEY("Identifier", S("a")) KEY("Attributes", "<dict><key>Hideable</key><true/></dict>")), POM_ERR_COMMAND_SYSTEM,
		 "Settings.Settings[0].Attributes.Hideable needs iOS 18.1, this device has 17.7.2", {PLATFORM_IOS, 0x110702, .access_rights = -1}},
		{SETTING(KEY("Item", S("Bluetooth")) KEY("Enabled", "<true/>") KEY("RequestRequiresNetworkTether", "<true/>")), POM_ERR_COMMAND_KEY, "Settings.Settings[0].RequestRequiresNetworkTether is no key"},
		{SETTING(KEY("Item", S("DefaultApplications")) KEY("Whatever", "<true/>")), -1},
		{KEY("RequestType", S("Settings")) KEY("Settings", "<array><string>x</string></array>"), POM_ERR_COMMAND_KEY, "Settings.Settings[0] is a string, must be a dictionary"},
		{KEY("RequestType", S("UserList")), POM_ERR_COMMAND_CHANNEL, "is for a Shared iPad", {PLATFORM_IOS, .shared_ipad = COMMAND_NO, .access_rights = -1}},
		{KEY("RequestType", S("UserList")), -1, NULL, {PLATFORM_IOS, .access_rights = -1}},
		{KEY("RequestType", S("ClearPasscode")) KEY("UnlockToken", "<data>AAE=</data>"), POM_ERR_COMMAND_CHANNEL, "not for a Shared iPad", {PLATFORM_IOS, .shared_ipad = COMMAND_YES, .access_rights = -1}},
		{KEY("RequestType", S("DeviceConfigured")), POM_ERR_COMMAND_CHANNEL, "Automated Device Enrollment", {PLATFORM_MACOS, .automated = COMMAND_NO, .access_rights = -1}},
		{KEY("RequestType", S("ActiveNSExtensions")), POM_ERR_COMMAND_CHANNEL, "goes to a user of a Mac", {PLATFORM_MACOS, .access_rights = -1}},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) command = parse_xml(cases[i].xml);
		g_autofree char *message = NULL;
		bool has_target = cases[i].target.access_rights || cases[i].target.user_enrollment;
		int code = verdict(command, has_target ? &cases[i].target : NULL, &message);

		if (code != cases[i].code || (cases[i].words && !strstr(message, cases[i].words)))
			g_error("case %u: %d (%s), expected %d (%s)", i, code, message, cases[i].code, cases[i].words);
	}
}

/* A secret is not in the message that refuses it. */
static void test_no_secret_in_errors(void)
{
	static const char *const bodies[] = {
		LOCK KEY("PIN", S("s3cret-long")),
		KEY("RequestType", S("SetRecoveryLock")) KEY("NewPassword", "<array><string>s3cret</string></array>"),
		KEY("RequestType", S("RotateFileVaultKey")) KEY("KeyType", S("personal")) KEY("FileVaultUnlock", "<dict><key>Passwort</key><string>s3cret</string></dict>"),
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bodies); i++) {
		g_autoptr(plist) command = parse_xml(bodies[i]);
		g_autofree char *message = NULL;

		g_assert_cmpint(verdict(command, NULL, &message), ==, POM_ERR_COMMAND_KEY);
		g_assert_null(strstr(message, "s3cret"));
	}
}

static void test_targets(void)
{
	static const struct { enum enrollment_kind kind; enum platform platform; bool user; enum command_fact user_enrollment, shared; } cases[] = {
		{ENROLLMENT_DEVICE, PLATFORM_MAX, false, COMMAND_NO, COMMAND_UNKNOWN}, {ENROLLMENT_USER, PLATFORM_MACOS, true, COMMAND_NO, COMMAND_UNKNOWN},
		{ENROLLMENT_SHARED_IPAD, PLATFORM_IOS, true, COMMAND_NO, COMMAND_YES}, {ENROLLMENT_USER_DEVICE, PLATFORM_MAX, false, COMMAND_YES, COMMAND_NO},
		{ENROLLMENT_USER_USER, PLATFORM_MACOS, true, COMMAND_YES, COMMAND_NO},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct command_target t;

		command_target_init(&t, cases[i].kind);
		g_assert_cmpint(t.platform, ==, cases[i].platform);
		g_assert_cmpint(t.user_channel, ==, cases[i].user);
		g_assert_cmpint(t.user_enrollment, ==, cases[i].user_enrollment);
		g_assert_cmpint(t.shared_ipad, ==, cases[i].shared);
		g_assert_cmpint(t.access_rights, <, 0);
	}
}

static void test_learning(void)
{
	struct command_target t;

	command_target_init(&t, ENROLLMENT_DEVICE);
	t.os_version = 0x100000;
	command_target_learn(&t, "IsSupervised", "true");
	command_target_learn(&t, "IsMultiUser", "false");
	command_target_learn(&t, "SecurityInfo.ManagementStatus", "{\"EnrolledViaDEP\":true}");
	command_target_learn(&t, "OSVersion", "\"17.4.1\"");
	g_assert_true(t.supervised == COMMAND_YES && t.shared_ipad == COMMAND_NO && t.automated == COMMAND_YES && t.os_version == 0x110401);
	/* Nonsense changes nothing. */
	command_target_learn(&t, "IsSupervised", "\"no\"");
	command_target_learn(&t, "IsMultiUser", "{");
	command_target_learn(&t, "SecurityInfo.ManagementStatus", "[]");
	command_target_learn(&t, "OSVersion", "17");
	command_target_learn(&t, "DeviceName", "false");
	g_assert_true(t.supervised == COMMAND_YES && t.shared_ipad == COMMAND_NO && t.automated == COMMAND_YES && t.os_version == 0x110401);
	command_target_learn(&t, "IsSupervised", "false");
	g_assert_true(t.supervised == COMMAND_NO);
}

static void test_platforms(void)
{
	static const struct { const char *product, *model; enum platform platform; } cases[] = {
		{"iPhone16,1", NULL, PLATFORM_IOS}, {"iPad14,3", "MNXD3", PLATFORM_IOS}, {"iPod9,1", NULL, PLATFORM_IOS}, {"AppleTV14,1", NULL, PLATFORM_TVOS}, {"RealityDevice14,1", NULL, PLATFORM_VISIONOS},
		{"Watch7,5", NULL, PLATFORM_WATCHOS}, {"Mac15,3", NULL, PLATFORM_MACOS}, {NULL, "MacBookPro18,1", PLATFORM_MACOS}, {"VirtualMac2,1", NULL, PLATFORM_MACOS}, {"iMac21,1", NULL, PLATFORM_MACOS},
		{"MacPro7,1", "MacPro7,1", PLATFORM_MACOS}, {"AudioAccessory5,1", NULL, PLATFORM_MAX}, {NULL, NULL, PLATFORM_MAX}, {"", "", PLATFORM_MAX}, {"simulator", "MTQA3", PLATFORM_MAX},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(platform_of(cases[i].product, cases[i].model), ==, cases[i].platform);
	g_assert_cmpstr(platform_name(PLATFORM_VISIONOS), ==, "visionOS");
	g_assert_cmpstr(platform_name(PLATFORM_MAX), ==, "?");
}

static void test_versions(void)
{
	static const struct { const char *text; uint32_t version; const char *back; } cases[] = {
		{"16.4.1", 0x100401, "16.4.1"}, {"16.4", 0x100400, "16.4"}, {"10.15.4", 0x0a0f04, "10.15.4"}, {"26", 0x1a0000, "26.0"}, {"17.0.1.2", 0x110001, "17.0.1"}, {"16.4.1 (a)", 0x100401, "16.4.1"},
		{"", 0, ""}, {NULL, 0, ""}, {"beta", 0, ""}, {"99999999999999999999.1", 0xff0100, "255.1"}, {"16.", 0x100000, "16.0"}, {".4", 0, ""}, {"16..1", 0x100000, "16.0"},
	};
	char out[VERSION_TEXT_MAX];

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmphex(version_parse(cases[i].text), ==, cases[i].version);
		g_assert_cmpstr(version_format(cases[i].version, out), ==, cases[i].back);
	}
	g_assert_cmphex(version_parse("16.4.1"), >, version_parse("16.4"));
	g_assert_cmphex(version_parse("10.9"), <, version_parse("10.10"));
	g_assert_cmpstr(version_format(0xffffff, out), ==, "255.255.255");
}

static void test_names(void)
{
	static const struct { const char *typed, *nearest; } cases[] = {
		{"DeviceLok", "DeviceLock"}, {"deviceinformation", "DeviceInformation"}, {"InstalProfile", "InstallProfile"}, {"EraseDevcie", "EraseDevice"}, {"Wipe", NULL}, {"", NULL}, {"Setings", "Settings"},
	};
	g_autofree char *long_name = g_strnfill(5000, 'a');

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpstr(command_type_nearest(cases[i].typed), ==, cases[i].nearest);
	g_assert_null(command_type_nearest(long_name));
	g_assert_null(command_type_find(NULL));
	g_assert_cmpstr(command_right_name(4096), ==, "manage apps");
	g_assert_null(command_right_name(0));
	g_assert_null(command_key_at(100000));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/command/every-type", test_every_type);
	g_test_add_func("/command/every-key", test_every_key);
	g_test_add_func("/command/every-value", test_every_value);
	g_test_add_func("/command/every-key-on-every-system", test_every_key_on_every_system);
	g_test_add_func("/command/secrets", test_secrets);
	g_test_add_func("/command/secrets-by-name", test_secrets_by_name);
	g_test_add_func("/command/by-hand", test_by_hand);
	g_test_add_func("/command/no-secret-in-errors", test_no_secret_in_errors);
	g_test_add_func("/command/targets", test_targets);
	g_test_add_func("/command/learning", test_learning);
	g_test_add_func("/command/platforms", test_platforms);
	g_test_add_func("/command/versions", test_versions);
	g_test_add_func("/command/names", test_names);
	return g_test_run();
}
