#include "core/profile.h"

#include <string.h>

#include "base/error.h"

static const char *const mode_names[] = {"auto", "single", "chain", "ra", NULL};
static const char *const challenge_names[] = {"one-time", "static", "webhook", "none", NULL};
static const char *const approval_names[] = {"auto", "manual", NULL};
static const char *const key_type_names[] = {"rsa,ec", "rsa", "ec", NULL};

enum kind { KIND_TEXT, KIND_INT, KIND_BOOL, KIND_CHOICE };

static int get_mode(const struct scep_profile *p) { return (int)p->mode; }
static void set_mode(struct scep_profile *p, int i) { p->mode = (enum profile_mode)i; }
static int get_challenge(const struct scep_profile *p) { return (int)p->challenge; }
static void set_challenge(struct scep_profile *p, int i) { p->challenge = (enum profile_challenge)i; }
static int get_approval(const struct scep_profile *p) { return p->manual; }
static void set_approval(struct scep_profile *p, int i) { p->manual = i != 0; }
static int get_key_types(const struct scep_profile *p) { return p->rsa && p->ec ? 0 : p->rsa ? 1 : 2; }

static void set_key_types(struct scep_profile *p, int i)
{
	p->rsa = i != 2;
	p->ec = i != 1;
}

/* One row per setting: where it is kept and what it may be. */
static const struct {
	enum kind kind;
	size_t offset;
	int64_t min, max;
	const char *const *names;
	int (*get)(const struct scep_profile *);
	void (*set)(struct scep_profile *, int);
} rows[] = {
#define FIELD(f) offsetof(struct scep_profile, f)
	{.kind = KIND_TEXT, .offset = FIELD(ca)},
	{.kind = KIND_TEXT, .offset = FIELD(relay)},
	{.kind = KIND_CHOICE, .names = mode_names, .get = get_mode, .set = set_mode},
	{.kind = KIND_CHOICE, .names = key_type_names, .get = get_key_types, .set = set_key_types},
	{.kind = KIND_INT, .offset = FIELD(rsa_bits_min), .min = 1024, .max = 8192},
	{.kind = KIND_INT, .offset = FIELD(days), .min = 1, .max = 3650},
	{.kind = KIND_INT, .offset = FIELD(renewal_percent), .min = 0, .max = 100},
	{.kind = KIND_BOOL, .offset = FIELD(renewal_same_key)},
	{.kind = KIND_BOOL, .offset = FIELD(renewal_challenge)},
	{.kind = KIND_CHOICE, .names = challenge_names, .get = get_challenge, .set = set_challenge},
	{.kind = KIND_CHOICE, .names = approval_names, .get = get_approval, .set = set_approval},
	{.kind = KIND_BOOL, .offset = FIELD(strict_names)},
	{.kind = KIND_BOOL, .offset = FIELD(may_enroll)},
	{.kind = KIND_BOOL, .offset = FIELD(ca_in_reply)},
	{.kind = KIND_BOOL, .offset = FIELD(legacy)},
	{.kind = KIND_BOOL, .offset = FIELD(legacy_des)},
	{.kind = KIND_BOOL, .offset = FIELD(enforce_time)},
	{.kind = KIND_TEXT, .offset = FIELD(subject)},
	{.kind = KIND_TEXT, .offset = FIELD(sans)},
	{.kind = KIND_TEXT, .offset = FIELD(webhook_url)},
	{.kind = KIND_INT, .offset = FIELD(webhook_timeout_s), .min = 1, .max = 60},
#undef FIELD
};

const struct profile_key profile_keys[] = {
	{"ca", "name of the CA that issues (\"default\")"},
	{"relay", "name of an outside CA that issues instead of ours"},
	{"mode", "GetCACert: auto, single, chain or ra"},
	{"key_types", "rsa, ec, or both: rsa,ec"},
	{"rsa_bits_min", "smallest RSA key accepted (2048)"},
	{"days", "life of a certificate"},
	{"renewal_percent", "a renewal is taken in the last N percent of a certificate's life (33); 0: at any time"},
	{"renewal_same_key", "true: a renewal may keep its key"},
	{"renewal_challenge", "true: a renewal needs a challenge besides the old certificate"},
	{"challenge", "one-time, static (one secret for all: discouraged), webhook, or none (only with approval=manual)"},
	{"approval", "auto, or manual: a person approves each first certificate"},
	{"strict_names", "true: refuse a request with other names than the record's, instead of ignoring them"},
	{"may_enroll", "true: certificates by static challenge, webhook or approval may enroll a device without a link"},
	{"ca_in_reply", "true: replies carry the CA certificate too (Cisco wants it, Juniper forbids it)"},
	{"legacy", "true: accept SHA-1 and 3DES"},
	{"legacy_des", "true: accept single DES, against RFC 8894 section 2.9"},
	{"enforce_time", "true: refuse messages signed more than a day before or after now"},
	{"subject", "template of the subject: O={organization},CN={cn}"},
	{"sans", "templates of alternative names, separated by spaces: uri:urn:uuid:{id}"},
	{"webhook_url", "who decides, with challenge=webhook"},
	{"webhook_timeout_s", "how long it may take (5 s); no answer in time is a refusal"},
	{NULL, NULL},
};
G_STATIC_ASSERT(G_N_ELEMENTS(rows) + 1 == G_N_ELEMENTS(profile_keys));

static void *field(const struct scep_profile *profile, size_t i)
{
	return (char *)(uintptr_t)profile + rows[i].offset;
}

static void set_text(struct scep_profile *profile, size_t i, const char *text)
{
	char **at = field(profile, i);

	g_free(*at);
	*at = g_strdup(text);
}

struct scep_profile *scep_profile_new(const char *name)
{
	struct scep_profile *p = g_new0(struct scep_profile, 1);

	*p = (struct scep_profile){
		.name = g_strdup(name), .ca = g_strdup("default"), .relay = g_strdup(""), .rsa = true, .ec = true, .rsa_bits_min = 2048, .days = 730, .renewal_percent = 33,
		.legacy = true, .subject = g_strdup("O={organization},CN={cn}"), .sans = g_strdup(""), .webhook_url = g_strdup(""), .webhook_timeout_s = 5,
	};
	return p;
}

struct scep_profile *scep_profile_copy(const struct scep_profile *profile, const char *name)
{
	struct scep_profile *p = g_memdup2(profile, sizeof(*profile));

	p->name = g_strdup(name);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].kind == KIND_TEXT)
			*(char **)field(p, i) = g_strdup(*(char **)field(profile, i));
	return p;
}

void scep_profile_free(struct scep_profile *profile)
{
	if (!profile)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].kind == KIND_TEXT)
			g_free(*(char **)field(profile, i));
	g_free(profile->name);
	g_free(profile);
}

bool scep_profile_check_name(const char *name, GError **error)
{
	size_t len = strlen(name);

	if (len >= 1 && len <= PROFILE_NAME_MAX && *name != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len)
		return true;
	return pom_fail(error, POM_ERR_BAD_REQUEST, "the name \"%.80s\" cannot be used: 1 to %d of a-z, 0-9, '-', '_' and '.', as it is part of a URL", name, PROFILE_NAME_MAX);
}

bool scep_profile_is_program(const char *name)
{
	static const char *const programs[] = {"pkiclient.exe", "cgi-bin", "certsrv", "mscep.dll", NULL};

	return g_strv_contains(programs, name);
}

static bool apply_text(struct scep_profile *profile, size_t i, const json_t *value, GError **error)
{
	if (!json_is_string(value) || strlen(json_string_value(value)) > RECORD_TEXT_MAX)
		return pom_fail(error, POM_ERR_JSON, "%s must be a text of at most %d bytes", profile_keys[i].name, RECORD_TEXT_MAX);
	set_text(profile, i, json_string_value(value));
	return true;
}

static bool apply_choice(struct scep_profile *profile, size_t i, const json_t *value, GError **error)
{
	g_autofree char *all = g_strjoinv(", ", (char **)(uintptr_t)rows[i].names);

	for (int k = 0; json_is_string(value) && rows[i].names[k]; k++)
		if (!strcmp(rows[i].names[k], json_string_value(value))) {
			rows[i].set(profile, k);
			return true;
		}
	return pom_fail(error, POM_ERR_JSON, "%s must be one of %s", profile_keys[i].name, all);
}

static bool apply_one(struct scep_profile *profile, size_t i, const json_t *value, GError **error)
{
	int64_t number = json_integer_value(value);

	switch (rows[i].kind) {
	case KIND_TEXT:
		return apply_text(profile, i, value, error);
	case KIND_CHOICE:
		return apply_choice(profile, i, value, error);
	case KIND_BOOL:
		if (!json_is_boolean(value))
			return pom_fail(error, POM_ERR_JSON, "%s must be true or false", profile_keys[i].name);
		*(bool *)field(profile, i) = json_is_true(value);
		return true;
	case KIND_INT:
		break;
	}
	if (!json_is_integer(value) || number < rows[i].min || number > rows[i].max)
		return pom_fail(error, POM_ERR_JSON, "%s must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, profile_keys[i].name, rows[i].min, rows[i].max);
	*(int64_t *)field(profile, i) = number;
	return true;
}

bool scep_profile_apply(struct scep_profile *profile, const json_t *settings, GError **error)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
		size_t i = 0;

		while (profile_keys[i].name && strcmp(profile_keys[i].name, key))
			i++;
		if (!profile_keys[i].name)
			return pom_fail(error, POM_ERR_JSON, "there is no profile setting \"%.64s\"", key);
		if (!apply_one(profile, i, value, error))
			return false;
	}
	return true;
}

bool scep_profile_check(const struct scep_profile *p, GError **error)
{
	g_autoptr(scep_record) record = NULL;

	if (p->challenge == PROFILE_NO_CHALLENGE && !p->manual)
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s would give a certificate to anybody: with challenge=none, approval must be manual", p->name);
	if (p->challenge == PROFILE_WEBHOOK && !*p->webhook_url)
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s has challenge=webhook: set webhook_url to an https:// address", p->name);
	if (*p->relay && p->mode == PROFILE_MODE_CHAIN)
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s relays to an outside CA: its GetCACert mode is ra or single", p->name);
	if (*p->relay && p->manual)
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s relays to an outside CA, which approves by itself: approval cannot be manual here", p->name);
	if (p->legacy_des && !p->legacy)
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s accepts single DES but not 3DES: set legacy, or take legacy_des back", p->name);
	record = scep_record_from_profile(p, &(struct record_values){"Example", "name", "00000000-0000-0000-0000-000000000000", "device", p->name}, error);
	return record != NULL;
}

json_t *scep_profile_format(const struct scep_profile *profile)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(profile->name));
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		json_t *value = NULL;

		switch (rows[i].kind) {
		case KIND_TEXT:
			value = json_string(*(char **)field(profile, i));
			break;
		case KIND_CHOICE:
			value = json_string(rows[i].names[rows[i].get(profile)]);
			break;
		case KIND_BOOL:
			value = json_boolean(*(bool *)field(profile, i));
			break;
		case KIND_INT:
			value = json_integer(*(int64_t *)field(profile, i));
			break;
		}
		json_object_set_new(o, profile_keys[i].name, value);
	}
	return o;
}

/* ---- records ---- */

static GPtrArray *new_names(void)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

	/* The terminator stays last, so that pdata is a vector of strings. */
	g_ptr_array_add(names, NULL);
	return names;
}

struct scep_record *scep_record_new(const char *subject)
{
	struct scep_record *r = g_new0(struct scep_record, 1);

	*r = (struct scep_record){g_strdup(subject), new_names(), new_names(), new_names(), new_names()};
	return r;
}

void scep_record_free(struct scep_record *record)
{
	if (!record)
		return;
	g_free(record->subject);
	g_ptr_array_unref(record->dns);
	g_ptr_array_unref(record->emails);
	g_ptr_array_unref(record->uris);
	g_ptr_array_unref(record->ips);
	g_free(record);
}

static const struct { const char *prefix; size_t offset; } san_kinds[] = {
	{"dns:", offsetof(struct scep_record, dns)}, {"email:", offsetof(struct scep_record, emails)}, {"uri:", offsetof(struct scep_record, uris)},
	{"ip:", offsetof(struct scep_record, ips)},
};

static GPtrArray *names_of(const struct scep_record *record, size_t kind)
{
	return *(GPtrArray **)((char *)(uintptr_t)record + san_kinds[kind].offset);
}

/* Printable ASCII without spaces: what IA5String names hold. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return len > 0 && len <= RECORD_TEXT_MAX;
}

/* What kind of name TEXT is by its look, when it does not say so. */
static const char *guess_kind(const char *text)
{
	if (g_hostname_is_ip_address(text))
		return "ip:";
	if (strstr(text, "://") || g_str_has_prefix(text, "urn:"))
		return "uri:";
	if (strchr(text, '@'))
		return "email:";
	return strchr(text, ':') ? "" : "dns:";
}

static bool has_kind(const char *text)
{
	for (size_t i = 0; i < G_N_ELEMENTS(san_kinds); i++)
		if (!g_ascii_strncasecmp(text, san_kinds[i].prefix, strlen(san_kinds[i].prefix)))
			return true;
	return false;
}

bool scep_record_add_san(struct scep_record *record, const char *wished, GError **error)
{
	g_autofree char *text = has_kind(wished) ? g_strdup(wished) : g_strconcat(guess_kind(wished), wished, NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(san_kinds); i++) {
		const char *value = text + strlen(san_kinds[i].prefix);
		GPtrArray *names = names_of(record, i);

		if (g_ascii_strncasecmp(text, san_kinds[i].prefix, strlen(san_kinds[i].prefix)))
			continue;
		if (!is_name(value) || (!strcmp(san_kinds[i].prefix, "ip:") && !g_hostname_is_ip_address(value)))
			return pom_fail(error, POM_ERR_BAD_REQUEST, "the alternative name \"%.200s\" has no valid value", text);
		if (names->len > RECORD_NAMES_MAX)
			return pom_fail(error, POM_ERR_BAD_REQUEST, "there are more than %d alternative names of one kind", RECORD_NAMES_MAX);
		g_ptr_array_insert(names, (gint)names->len - 1, g_strdup(value));
		return true;
	}
	return pom_fail(error, POM_ERR_BAD_REQUEST, "the alternative name \"%.200s\" must begin with dns:, email:, uri: or ip:", text);
}

char **scep_record_san_texts(const struct scep_record *record)
{
	GPtrArray *texts = g_ptr_array_new();

	for (size_t i = 0; i < G_N_ELEMENTS(san_kinds); i++) {
		GPtrArray *names = names_of(record, i);

		for (guint k = 0; k + 1 < names->len; k++)
			g_ptr_array_add(texts, g_strconcat(san_kinds[i].prefix, g_ptr_array_index(names, k), NULL));
	}
	g_ptr_array_add(texts, NULL);
	return (char **)g_ptr_array_free(texts, FALSE);
}

json_t *scep_record_sans(const struct scep_record *record)
{
	g_auto(GStrv) texts = scep_record_san_texts(record);
	json_t *sans = json_array();

	for (char **text = texts; *text; text++)
		json_array_append_new(sans, json_string(*text));
	return sans;
}

char *scep_record_format(const struct scep_record *record)
{
	g_autoptr(json_t) o = json_pack("{s:s, s:o}", "subject", record->subject, "sans", scep_record_sans(record));
	g_autoptr(GBytes) text = json_format(o);

	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

struct scep_record *scep_record_parse(const char *json, GError **error)
{
	g_autoptr(json_t) o = json_parse(json, strlen(json), error);
	g_autoptr(scep_record) record = NULL;
	json_t *san;
	size_t i;

	if (!o)
		return NULL;
	if (!json_is_string(json_object_get(o, "subject"))) {
		pom_fail(error, POM_ERR_JSON, "the record has no subject");
		return NULL;
	}
	record = scep_record_new(json_string_value(json_object_get(o, "subject")));
	json_array_foreach(json_object_get(o, "sans"), i, san)
		if (!scep_record_add_san(record, json_is_string(san) ? json_string_value(san) : "", error))
			return NULL;
	return g_steal_pointer(&record);
}

/* A value inside a distinguished name: what separates is escaped (RFC 4514 §2.4). */
static void append_escaped(GString *out, const char *value)
{
	for (const char *p = value; *p; p++) {
		if (strchr(",+\"\\<>;=", *p) || (p == value && (*p == '#' || *p == ' ')) || (*p == ' ' && !p[1]))
			g_string_append_c(out, '\\');
		g_string_append_c(out, *p);
	}
}

static char *fill(const char *template, const struct record_values *values, bool in_name)
{
	const struct { const char *name, *value; } known[] = {
		{"{organization}", values->organization}, {"{cn}", values->cn}, {"{id}", values->id}, {"{device}", values->device}, {"{profile}", values->profile},
	};
	GString *out = g_string_new(NULL);

	while (*template) {
		size_t i;

		for (i = 0; i < G_N_ELEMENTS(known); i++)
			if (g_str_has_prefix(template, known[i].name))
				break;
		if (i == G_N_ELEMENTS(known)) {
			g_string_append_c(out, *template++);
			continue;
		}
		template += strlen(known[i].name);
		if (in_name)
			append_escaped(out, known[i].value ? known[i].value : "");
		else
			g_string_append(out, known[i].value ? known[i].value : "");
	}
	return g_string_free(out, FALSE);
}

struct scep_record *scep_record_from_profile(const struct scep_profile *profile, const struct record_values *values, GError **error)
{
	g_autofree char *subject = fill(profile->subject, values, true);
	g_auto(GStrv) templates = g_strsplit(profile->sans, " ", -1);
	g_autoptr(scep_record) record = scep_record_new(subject);
	g_autoptr(GBytes) name = cert_subject_parse_text(subject, error);

	if (!name)
		return NULL;
	for (int i = 0; templates[i]; i++) {
		g_autofree char *san = fill(templates[i], values, false);

		if (*san && !scep_record_add_san(record, san, error))
			return NULL;
	}
	return g_steal_pointer(&record);
}

struct scep_record *scep_record_wished(const struct scep_profile *profile, const struct record_values *values, const char *subject, const char *const *sans, GError **error)
{
	g_autoptr(scep_record) record = scep_record_from_profile(profile, values, error);
	g_autoptr(GBytes) name = NULL;

	if (!record)
		return NULL;
	if (subject) {
		name = cert_subject_parse_text(subject, error);
		if (!name)
			return NULL;
		g_free(record->subject);
		record->subject = g_strdup(subject);
	}
	for (int i = 0; sans && sans[i]; i++)
		if (!scep_record_add_san(record, sans[i], error))
			return NULL;
	return g_steal_pointer(&record);
}

char *scep_record_common_name(const struct scep_record *record)
{
	g_autoptr(GBytes) name = cert_subject_parse_text(record->subject, NULL);
	g_autofree char *cn = name ? cert_name_common_name(name) : NULL;

	return cn ? g_steal_pointer(&cn) : g_strdup(record->subject);
}
