/* Declarations and the protocol of declarative management, as rules. */
#include <string.h>

#include "core/command_check.h"
#include "core/ddm.h"

static struct declaration parse(const char *text)
{
	struct declaration d = {0};
	GError *error = NULL;

	g_assert_true(declaration_parse(text, strlen(text), &d, &error));
	g_assert_no_error(error);
	return d;
}

static void test_form(void)
{
	static const struct { const char *text; int code; const char *says; } cases[] = {
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{}}", 0, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\"}", 0, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a b \xc3\xa9\",\"ServerToken\":\"x\",\"Payload\":{}}", 0, NULL},
		{"{\"Type\":\"com.apple.management.future\",\"Identifier\":\"a\",\"Payload\":{}}", 0, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"Payload\":{}}", 0, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"01234567890123456789012345678901234567890123456789012345678901234\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "65 bytes"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "0 bytes"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a/b\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "slash"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a%2Fb\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "slash"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a%2fb\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "slash"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\\nb\",\"Payload\":{}}", POM_ERR_DECLARATION_IDENTIFIER, "control"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\\u0000b\",\"Payload\":{}}", POM_ERR_JSON, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Identifier\":\"b\"}", POM_ERR_JSON, "duplicate"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"x\":{\"y\":1,\"y\":2}}}", POM_ERR_JSON, "duplicate"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"n\":9007199254740992}}", 0, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"l\":[{\"n\":9007199254740993}]}}", POM_ERR_JSON, "Payload.l[0].n"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"n\":-9007199254740993}}", POM_ERR_JSON, "2^53"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"n\":18446744073709551616}}", POM_ERR_JSON, NULL},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":[]}", POM_ERR_DECLARATION, "Payload"},
		{"{\"Type\":\"com.apple.management.properties\",\"Payload\":{}}", POM_ERR_DECLARATION, "Identifier is missing"},
		{"{\"Type\":7,\"Identifier\":\"a\"}", POM_ERR_DECLARATION, "Type must"},
		{"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payloads\":{}}", POM_ERR_DECLARATION, "Payloads"},
		{"{\"Type\":\"com.apple.wifi.managed\",\"Identifier\":\"a\"}", POM_ERR_DECLARATION_TYPE, "wifi"},
		{"{\"Type\":\"com.apple.asset\",\"Identifier\":\"a\"}", POM_ERR_DECLARATION_TYPE, NULL},
		{"{\"Type\":\"com.apple.credential.scep\",\"Identifier\":\"a\"}", POM_ERR_DECLARATION_TYPE, NULL},
		{"[]", POM_ERR_DECLARATION, NULL}, {"", POM_ERR_JSON, NULL}, {"{", POM_ERR_JSON, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(declaration_auto) d = {0};
		g_autoptr(GError) error = NULL;
		bool ok = declaration_parse(cases[i].text, strlen(cases[i].text), &d, &error);

		g_test_message("%s", cases[i].text);
		g_assert_cmpint(ok ? 0 : error->code, ==, cases[i].code);
		if (cases[i].says)
			g_assert_nonnull(strstr(error->message, cases[i].says));
	}
}

static char *token_of(const char *text)
{
	g_auto(declaration_auto) d = parse(text);

	return declaration_token(&d);
}

/* The token says whether the content is the same, and nothing else. */
static void test_token(void)
{
	static const char first[] = "{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"b\":1,\"a\":[1,{\"y\":2,\"x\":1}]}}";
	static const char *const same[] = {
		"{\"Identifier\":\"a\",\"Payload\":{\"a\":[1,{\"x\":1,\"y\":2}],\"b\":1},\"Type\":\"com.apple.management.properties\"}",
		" {\"Type\" : \"com.apple.management.properties\",\"Identifier\":\"\\u0061\",\"ServerToken\":\"old\",\"Payload\":{\"b\":1,\"a\":[1,{\"y\":2,\"x\":1}]}}",
	};
	static const char *const others[] = {
		"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"b\",\"Payload\":{\"b\":1,\"a\":[1,{\"y\":2,\"x\":1}]}}",
		"{\"Type\":\"com.apple.management.propertiet\",\"Identifier\":\"a\",\"Payload\":{\"b\":1,\"a\":[1,{\"y\":2,\"x\":1}]}}",
		"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"b\":1,\"a\":[{\"y\":2,\"x\":1},1]}}",
		"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"b\":1.0,\"a\":[1,{\"y\":2,\"x\":1}]}}",
		"{\"Type\":\"com.apple.management.properties\",\"Identifier\":\"a\",\"Payload\":{\"b\":\"1\",\"a\":[1,{\"y\":2,\"x\":1}]}}",
	};
	g_autofree char *token = token_of(first);

	g_assert_cmpuint(strlen(token), ==, DECLARATION_TOKEN_LEN);
	for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
		g_autofree char *other = token_of(same[i]);

		g_assert_cmpstr(other, ==, token);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
		g_autofree char *other = token_of(others[i]);

		g_assert_cmpstr(other, !=, token);
	}
}

/* A value that a key takes. */
static json_t *sample(const struct declaration_key *key, bool all);

static json_t *sample_object(unsigned first, unsigned n, bool all)
{
	json_t *o = json_object();

	for (unsigned i = first; i < first + n; i++) {
		const struct declaration_key *key = declaration_key_at(i);

		if (all || key->flags & DECLARATION_REQUIRED)
			json_object_set_new(o, strcmp(key->name, "*") ? key->name : "any", sample(key, all));
	}
	return o;
}

static json_t *sample(const struct declaration_key *key, bool all)
{
	g_autofree char *word = key->values ? g_strndup(key->values, strcspn(key->values, "|")) : NULL;
	json_t *list;

	switch (key->type) {
	case DECLARATION_OBJECT:
		return sample_object(key->first, key->n, all);
	case DECLARATION_ARRAY:
		list = json_array();
		if (key->n)
			json_array_append_new(list, sample(declaration_key_at(key->first), all));
		return list;
	case DECLARATION_INTEGER:
		return json_integer(word ? g_ascii_strtoll(word, NULL, 10) : key->min);
	case DECLARATION_REAL:
		return json_real(0.5);
	case DECLARATION_BOOLEAN:
		return json_true();
	case DECLARATION_ANY:
	case DECLARATION_STRING:
		break;
	}
	if (g_str_has_suffix(key->name, "URL"))
		return json_string("https://mdm.example.org/x");
	return json_string(!strcmp(key->name, "Predicate") ? "@status(device.model.family) == 'iPad'" : word ? word : "text");
}

static json_t *sample_declaration(const struct declaration_type *type, bool all)
{
	json_t *payload = sample_object(type->first, type->n, all);

	if (g_str_has_prefix(type->name, "com.apple.configuration.legacy")) {
		json_object_del(payload, "ProfileAssetReference");
		json_object_set_new(payload, "ProfileURL", json_string("https://mdm.example.org/x"));
	}
	return json_pack("{s:s, s:s, s:o}", "Type", type->name, "Identifier", "sample", "Payload", payload);
}

/* Each row of the catalog makes a document that is in order, comes back as it went, and is found wrong when any of its keys is of another type or missing. */
static void test_catalog(void)
{
	unsigned n = 0;

	for (const struct declaration_type *type; (type = declaration_type_at(n)); n++)
		for (int all = 0; all < 2 && type->kind < DECLARATION_KINDS; all++) {
			g_autoptr(json_t) json = sample_declaration(type, all), again = NULL;
			g_autoptr(GBytes) text = json_format(json), out = NULL;
			g_auto(declaration_auto) d = {0};
			g_autoptr(GPtrArray) findings = NULL;
			GError *error = NULL;
			json_t *payload;

			g_test_message("%s", (const char *)g_bytes_get_data(text, NULL));
			g_assert_true(declaration_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), &d, &error));
			findings = declaration_check(&d);
			g_assert_true(declaration_check_fail(findings, &error));
			out = declaration_format(d.type, d.identifier, "t", d.payload);
			again = json_parse(g_bytes_get_data(out, NULL), g_bytes_get_size(out), &error);
			payload = json_object_get(again, "Payload");
			g_assert_true(json_equal(payload, json_object_get(json, "Payload")));
			for (unsigned i = type->first; all && i < type->first + type->n; i++) {
				const struct declaration_key *key = declaration_key_at(i);
				g_autoptr(GPtrArray) wrong = NULL;
				g_autoptr(json_t) before = json_incref(json_object_get(d.payload, key->name));

				if (!before || key->type == DECLARATION_ANY)
					continue;
				json_object_set_new(d.payload, key->name, json_null());
				wrong = declaration_check(&d);
				g_assert_false(declaration_check_fail(wrong, NULL));
				json_object_set(d.payload, key->name, before);
			}
			json_object_set_new(d.payload, "NoSuchKey\xc3\xa9", json_true());
			g_clear_pointer(&findings, g_ptr_array_unref);
			findings = declaration_check(&d);
			g_assert_true(declaration_check_fail(findings, NULL) == !strcmp(type->name, "com.apple.management.properties"));
		}
	g_assert_cmpuint(n, ==, 63);
}

static void test_findings(void)
{
	static const struct { const char *type, *payload, *path, *says; } cases[] = {
		{"com.apple.configuration.passcode.settings", "{\"MinimumLenght\":4}", "Payload.MinimumLenght", "was MinimumLength meant"},
		{"com.apple.configuration.passcode.settings", "{\"MinimumLength\":17}", "Payload.MinimumLength", "0 to 16"},
		{"com.apple.configuration.passcode.settings", "{\"MinimumLength\":\"4\"}", "Payload.MinimumLength", "an integer"},
		{"com.apple.configuration.passcode.settings", "{\"MinimumLength\":16}", NULL, NULL},
		{"com.apple.configuration.account.caldav", "{}", "Payload.HostName", "missing"},
		{"com.apple.configuration.account.exchange", "{\"EnabledProtocolTypes\":[\"EAS\",\"IMAP\"]}", "Payload.EnabledProtocolTypes[1]", "EAS, EWS"},
		{"com.apple.asset.data", "{\"Reference\":{\"DataURL\":\"http://x\"}}", "Payload.Reference.DataURL", "https"},
		{"com.apple.asset.data", "{\"Reference\":{\"DataURL\":\"pomona:data\"}}", NULL, NULL},
		{"com.apple.asset.data", "{\"Reference\":{\"DataURL\":\"https://x\"},\"Authentication\":{\"Type\":\"mdm\"}}", "Payload.Authentication.Type", "MDM, None"},
		{"com.apple.configuration.legacy", "{}", "Payload", "needs ProfileURL"},
		{"com.apple.configuration.legacy", "{\"ProfileURL\":\"pomona:profile/wifi\",\"ProfileAssetReference\":\"a\"}", "Payload", "both"},
		{"com.apple.configuration.legacy", "{\"ProfileURL\":\"pomona:profile/\"}", "Payload.ProfileURL", "no profile"},
		{"com.apple.configuration.legacy", "{\"ProfileURL\":\"pomona:profile/wifi\"}", NULL, NULL},
		{"com.apple.configuration.legacy", "{\"ProfileURL\":\"ftp://x\"}", "Payload.ProfileURL", "https"},
		{"com.apple.configuration.watch.enrollment", "{\"EnrollmentProfileURL\":\"mdm.example.org\"}", "Payload.EnrollmentProfileURL", "https"},
		{"com.apple.activation.simple", "{\"StandardConfigurations\":[],\"Predicate\":\"@status(device.model.family == 'iPad'\"}", "Payload.Predicate", "parentheses"},
		{"com.apple.configuration.future", "{}", "Type", "--force"},
		{"com.apple.configuration.pascode.settings", "{}", "Type", "passcode.settings meant"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strdup_printf("{\"Type\":\"%s\",\"Identifier\":\"a\",\"Payload\":%s}", cases[i].type, cases[i].payload);
		g_auto(declaration_auto) d = parse(text);
		g_autoptr(GPtrArray) findings = declaration_check(&d);
		g_autoptr(GError) error = NULL;
		g_autofree char *begin = cases[i].path ? g_strconcat(cases[i].path, ": ", NULL) : NULL;

		g_test_message("%s", text);
		g_assert_true(declaration_check_fail(findings, &error) == !cases[i].path);
		if (cases[i].path) {
			g_assert_true(g_str_has_prefix(error->message, begin));
			g_assert_nonnull(strstr(error->message, cases[i].says));
		}
	}
}

static void test_predicates(void)
{
	static const struct { const char *text; bool good; const char *says; } cases[] = {
		{"@status(device.model.family) == 'iPad'", true, NULL},
		{"(@status(device.operating-system.version) BEGINSWITH '17.') AND (@property(group) IN {\"a\", \"b)\"})", true, NULL},
		{"SUBQUERY(@status(services.background-task), $x, ($x.@key(state) == 'a')).@count > 0", true, NULL},
		{"TRUEPREDICATE", true, NULL}, {"falsepredicate", true, NULL},
		{"@property(name) == 'it\\'s'", true, NULL},
		{"@status(device.modle.family) == 'iPad'", true, "no status item"},
		{"", false, "compared"}, {"hello", false, "compared"}, {"@status(device.model.family)", false, "compared"},
		{"@status(device.model.family == 'iPad'", false, "parentheses"},
		{"(@status(device.model.family) == 'iPad'", false, "')' is missing"},
		{"@status(device.model.family) == 'iPad')", false, "closes nothing"},
		{"@status(device.model.family) == 'iPad", false, "not closed"},
		{"@status() == 1", false, "needs a name"}, {"@status == 1", false, "needs a name"}, {"@stat(x) == 1", false, "@stat is not known"},
		{"({)} == 1", false, "closes nothing"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *why = NULL;

		g_test_message("%s", cases[i].text);
		g_assert_true(declaration_predicate_check(cases[i].text, &why) == cases[i].good);
		g_assert_true(!why == !cases[i].says);
		if (why)
			g_assert_nonnull(strstr(why, cases[i].says));
	}
}

static void test_references(void)
{
	static const struct { const char *type, *payload, *refs; } cases[] = {
		{"com.apple.activation.simple", "{\"StandardConfigurations\":[\"a\",\"b\"]}", "Payload.StandardConfigurations[0]=a:com.apple.configuration.* Payload.StandardConfigurations[1]=b:com.apple.configuration.* "},
		{"com.apple.configuration.account.caldav", "{\"HostName\":\"h\",\"AuthenticationCredentialsAssetReference\":\"c\"}", "Payload.AuthenticationCredentialsAssetReference=c:com.apple.asset.credential.userpassword "},
		{"com.apple.configuration.watch.enrollment", "{\"EnrollmentProfileURL\":\"https://x\",\"AnchorCertificateAssetReferences\":[\"r\"]}",
		 "Payload.AnchorCertificateAssetReferences[0]=r:com.apple.asset.credential.certificate "},
		{"com.apple.configuration.services.background-tasks", "{\"TaskType\":\"t\",\"LaunchdConfigurations\":[{\"FileAssetReference\":\"f\",\"Context\":\"agent\"}]}", "Payload.LaunchdConfigurations[0].FileAssetReference=f:com.apple.asset.data "},
		{"com.apple.configuration.app.managed", "{\"ExtensionConfigs\":{\"com.example\":{\"DataAssetReference\":\"d\"}}}", "Payload.ExtensionConfigs.com.example.DataAssetReference=d:com.apple.asset.data "},
		{"com.apple.configuration.network.vpn.ikev2", "{\"Authentication\":{\"IdentityAssetReference\":\"i\",\"OtherAssetReferences\":[\"o\"]}}",
		 "Payload.Authentication.IdentityAssetReference=i:com.apple.asset.credential.acme|com.apple.asset.credential.identity|com.apple.asset.credential.scep Payload.Authentication.OtherAssetReferences[0]=o:com.apple.asset.* "},
		{"com.apple.configuration.future", "{\"X\":{\"FooAssetReference\":\"f\",\"Asset\":\"g\"}}", "Payload.X.FooAssetReference=f:com.apple.asset.* "},
		{"com.apple.management.properties", "{\"a\":\"b\"}", ""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strdup_printf("{\"Type\":\"%s\",\"Identifier\":\"a\",\"Payload\":%s}", cases[i].type, cases[i].payload);
		g_auto(declaration_auto) d = parse(text);
		g_autoptr(GPtrArray) refs = declaration_references(&d);
		g_autoptr(GString) got = g_string_new(NULL);

		for (guint k = 0; k < refs->len; k++) {
			const struct declaration_reference *r = g_ptr_array_index(refs, k);

			g_string_append_printf(got, "%s=%s:%s ", r->path, r->target, r->types);
		}
		g_assert_cmpstr(got->str, ==, cases[i].refs);
	}
	g_assert_true(declaration_type_fits("a|com.apple.asset.*", "com.apple.asset.data"));
	g_assert_false(declaration_type_fits("a|com.apple.asset.*", "com.apple.assets"));
}

static void add_edge(GHashTable *edges, const char *from, const char *to)
{
	GPtrArray *list = g_hash_table_lookup(edges, from);

	if (!list) {
		list = g_ptr_array_new();
		g_hash_table_insert(edges, (void *)(uintptr_t)from, list);
	}
	g_ptr_array_add(list, (void *)(uintptr_t)to);
}

static void test_cycles(void)
{
	g_autoptr(GHashTable) edges = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
	g_autofree char *none = NULL, *found = NULL, *own = NULL;

	add_edge(edges, "a", "b"), add_edge(edges, "a", "c"), add_edge(edges, "b", "d"), add_edge(edges, "c", "d"), add_edge(edges, "d", "e");
	none = declaration_find_cycle(edges, "a");
	g_assert_null(none);
	add_edge(edges, "e", "c");
	none = declaration_find_cycle(edges, "a");
	g_assert_null(none);
	found = declaration_find_cycle(edges, "c");
	g_assert_cmpstr(found, ==, "c → d → e → c");
	add_edge(edges, "x", "x");
	own = declaration_find_cycle(edges, "x");
	g_assert_cmpstr(own, ==, "x → x");
}

static void test_endpoints(void)
{
	static const struct { const char *text; int type; const char *identifier, *decoded; } cases[] = {
		{"tokens", DDM_TOKENS, NULL, NULL}, {"declaration-items", DDM_ITEMS, NULL, NULL}, {"status", DDM_STATUS, NULL, NULL},
		{"declaration/asset/a", DDM_DECLARATION, "a", NULL}, {"declaration/asset/a/b/c", DDM_DECLARATION, "a/b/c", NULL}, {"declaration/management/a%20b", DDM_DECLARATION, "a%20b", "a b"},
		{"declaration/activation/a%2Fb", DDM_DECLARATION, "a%2Fb", NULL}, {"declaration/activation/100%", DDM_DECLARATION, "100%", NULL}, {"declaration/activation/%00", DDM_DECLARATION, "%00", NULL},
		{"declaration/asset/", -1, NULL, NULL}, {"declaration/asset", -1, NULL, NULL}, {"declaration//a", -1, NULL, NULL}, {"declaration/assets/a", -1, NULL, NULL}, {"declaration/credential/a", -1, NULL, NULL},
		{"Tokens", -1, NULL, NULL}, {"tokens/", -1, NULL, NULL}, {"", -1, NULL, NULL}, {"/tokens", -1, NULL, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(ddm_endpoint_auto) e = {0};
		g_autoptr(GError) error = NULL;
		bool ok = ddm_endpoint_parse(cases[i].text, &e, &error);

		g_assert_cmpint(ok ? (int)e.type : -1, ==, cases[i].type);
		g_assert_cmpstr(e.identifier, ==, cases[i].identifier);
		g_assert_cmpstr(e.decoded, ==, cases[i].decoded);
	}
}

static void test_manifest(void)
{
	struct ddm_item all[] = {{"b", "2", DECLARATION_CONFIGURATION}, {"a\"]", "1", DECLARATION_CONFIGURATION}, {"c", "3", DECLARATION_ACTIVATION}, {"b", "2", DECLARATION_CONFIGURATION}};
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(struct ddm_item)), turned = g_array_new(FALSE, FALSE, sizeof(struct ddm_item)), none = g_array_new(FALSE, FALSE, sizeof(struct ddm_item));
	g_autofree char *token = NULL, *same = NULL, *other = NULL, *nothing = NULL, *found = NULL, *quoted = NULL, *wanted = NULL;
	g_autoptr(GBytes) manifest = NULL, again = NULL, third = NULL, empty = NULL, tokens = NULL;

	g_array_append_vals(items, all, G_N_ELEMENTS(all));
	for (size_t i = G_N_ELEMENTS(all); i-- > 1;)
		g_array_append_val(turned, all[i]);
	manifest = ddm_manifest_build(items, &token);
	wanted = g_strdup_printf("{\"Declarations\":{\"Activations\":[{\"Identifier\":\"c\",\"ServerToken\":\"3\"}],\"Configurations\":[{\"Identifier\":\"a\\\"]\",\"ServerToken\":\"1\"},{\"Identifier\":\"b\",\"ServerToken\":\"2\"}],"
	                         "\"Assets\":[],\"Management\":[]},\"DeclarationsToken\":\"%s\"}", token);
	g_assert_cmpmem(g_bytes_get_data(manifest, NULL), g_bytes_get_size(manifest), wanted, strlen(wanted));
	again = ddm_manifest_build(turned, &same);
	g_assert_cmpstr(same, ==, token);
	g_assert_true(g_bytes_equal(manifest, again));
	g_array_index(items, struct ddm_item, 0).token = "4";
	third = ddm_manifest_build(items, &other);
	g_assert_cmpstr(other, !=, token);
	empty = ddm_manifest_build(none, &nothing);
	g_assert_nonnull(memmem(g_bytes_get_data(empty, NULL), g_bytes_get_size(empty), "\"Assets\":[]", 11));
	found = ddm_manifest_find(manifest, "b");
	g_assert_cmpstr(found, ==, "2");
	quoted = ddm_manifest_find(manifest, "a\"]");
	g_assert_cmpstr(quoted, ==, "1");
	g_assert_null(ddm_manifest_find(manifest, "d"));
	g_assert_null(ddm_manifest_find(manifest, ""));
	g_assert_null(ddm_manifest_find(manifest, "b\",\"ServerToken\":\"2"));
	g_assert_null(ddm_manifest_find(manifest, "\xff"));
	tokens = ddm_tokens_format("T", 1700000000999);
	g_assert_cmpmem(g_bytes_get_data(tokens, NULL), g_bytes_get_size(tokens), "{\"SyncTokens\":{\"DeclarationsToken\":\"T\",\"Timestamp\":\"2023-11-14T22:13:20Z\"}}", 75);
}

static void test_decide(void)
{
	static const struct { const char *token, *told; enum ddm_waiting waiting; const char *wanted; bool sets; struct ddm_plan plan; } cases[] = {
		/* first */
		{NULL, NULL, DDM_WAITS_NOT, "A", true, {true, true, false}},
		{NULL, NULL, DDM_WAITS_NOT, "0", false, {false, false, false}},
		{"A", NULL, DDM_WAITS_QUEUED, "A", true, {false, false, false}},
		/* changed while it waits: the command tells what is true when it is fetched */
		{"A", NULL, DDM_WAITS_QUEUED, "B", true, {true, false, false}},
		{"A", NULL, DDM_WAITS_QUEUED, "0", false, {true, false, true}},
		{"A", "A", DDM_WAITS_NOT, "A", true, {false, false, false}},
		{"A", "A", DDM_WAITS_NOT, "B", true, {true, true, false}},
		{"A", "A", DDM_WAITS_NOT, "0", false, {true, true, false}},
		/* there and back */
		{"B", "A", DDM_WAITS_QUEUED, "A", true, {true, false, true}},
		/* fetched and not answered: it is looked at again with the answer */
		{"A", "A", DDM_WAITS_DELIVERED, "B", true, {true, false, false}},
		{"B", "A", DDM_WAITS_DELIVERED, "A", true, {true, false, false}},
		{"B", "A", DDM_WAITS_NOT, "B", true, {false, true, false}},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct ddm_row row = {cases[i].token, cases[i].told, cases[i].waiting};
		struct ddm_plan plan;

		g_test_message("%zu", i);
		ddm_decide(&row, cases[i].wanted, cases[i].sets, &plan);
		g_assert_true(plan.write == cases[i].plan.write && plan.queue == cases[i].plan.queue && plan.cancel == cases[i].plan.cancel);
	}
}

static void test_report(void)
{
	static const char text[] =
		"{\"StatusItems\":{\"device\":{\"model\":{\"family\":\"iPhone\"},\"operating-system\":{\"version\":\"17.1\"}},\"softwareupdate\":{\"pending-version\":{\"os-version\":\"18\",\"build-version\":\"x\"}},"
		"\"mdm\":{\"app\":[{\"identifier\":\"a\",\"name\":\"A\"},{\"identifier\":\"b\",\"_removed\":true}]},\"future\":{\"x\":{\"y\":1},\"list\":[1,2]},\"management\":{\"client-capabilities\":{\"supported-versions\":[\"1.0.0\"]},"
		"\"declarations\":{\"activations\":[{\"identifier\":\"act\",\"server-token\":\"t\",\"active\":true,\"valid\":\"valid\"}],\"configurations\":[{\"identifier\":\"c\",\"valid\":\"invalid\",\"reasons\":[{\"code\":\"Error.MissingAssets\","
		"\"description\":\"d\",\"details\":{\"AssetIdentifiers\":[\"x\"]}}]},{\"no\":\"identifier\"}]}}},\"Errors\":[{\"StatusItem\":\"passcode.is-present\",\"Reasons\":[{\"Code\":\"Error.Unknown\"}]},7],\"FullReport\":true}";
	static const struct { const char *item, *element, *value; } wanted[] = {
		{"device.model.family", "", "\"iPhone\""}, {"device.operating-system.version", "", "\"17.1\""}, {"softwareupdate.pending-version", "", "{\"os-version\":\"18\",\"build-version\":\"x\"}"},
		{"mdm.app", "a", "{\"identifier\":\"a\",\"name\":\"A\"}"}, {"mdm.app", "b", NULL}, {"future.x.y", "", "1"}, {"future.list", "", "[1,2]"},
		{"management.client-capabilities", "", "{\"supported-versions\":[\"1.0.0\"]}"},
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(ddm_report) r = ddm_report_parse(text, strlen(text), &error);
	const struct ddm_declared *d;
	g_autoptr(json_t) reasons = NULL;

	g_assert_no_error(error);
	g_assert_true(r->full && r->has_declarations);
	g_assert_cmpuint(r->changes->len, ==, G_N_ELEMENTS(wanted));
	for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
		const struct ddm_change *c = g_ptr_array_index(r->changes, i);

		g_assert_cmpstr(c->item, ==, wanted[i].item);
		g_assert_cmpstr(c->element, ==, wanted[i].element);
		g_assert_cmpstr(c->value, ==, wanted[i].value);
	}
	g_assert_cmpuint(r->declared->len, ==, 2);
	d = g_ptr_array_index(r->declared, 0);
	g_assert_true(d->active && d->kind == DECLARATION_ACTIVATION && !d->reasons);
	g_assert_cmpstr(d->valid, ==, "valid");
	d = g_ptr_array_index(r->declared, 1);
	g_assert_true(!d->active && d->kind == DECLARATION_CONFIGURATION);
	reasons = ddm_reasons_json(d->reasons);
	g_assert_cmpstr(json_string_value(json_object_get(json_array_get(reasons, 0), "code")), ==, "Error.MissingAssets");
	g_assert_nonnull(json_string_value(json_object_get(json_array_get(reasons, 0), "text")));
	g_assert_cmpuint(r->errors->len, ==, 1);
	g_assert_cmpuint(r->n_ignored, ==, 2);
}

static void test_bad_reports(void)
{
	static const struct { const char *text; int code; unsigned n_ignored; } cases[] = {
		{"{}", 0, 0}, {"{\"StatusItems\":{}}", 0, 0}, {"{\"StatusItems\":[]}", 0, 1}, {"{\"StatusItems\":{\"management\":{\"declarations\":7}}}", 0, 1}, {"{\"Errors\":[{}]}", 0, 1}, {"{\"Errors\":7}", 0, 0},
		{"{\"StatusItems\":{\"\":1}}", 0, 1}, {"[]", POM_ERR_DDM_STATUS, 0}, {"", POM_ERR_JSON, 0}, {"{\"a\":1,\"a\":2}", POM_ERR_JSON, 0}, {"{\"a\":99999999999999999999}", POM_ERR_JSON, 0},
	};
	g_autoptr(GError) error = NULL;
	g_autofree char *large = g_malloc0(DDM_STATUS_MAX + 1);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) inner = NULL;
		g_autoptr(ddm_report) r = ddm_report_parse(cases[i].text, strlen(cases[i].text), &inner);

		g_test_message("%s", cases[i].text);
		g_assert_cmpint(r ? 0 : inner->code, ==, cases[i].code);
		g_assert_cmpuint(r ? r->n_ignored : 0, ==, cases[i].n_ignored);
	}
	g_assert_null(ddm_report_parse(large, DDM_STATUS_MAX + 1, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_TOO_LARGE);
}

static void test_suits(void)
{
	static const struct { const char *type; enum platform platform; const char *os; bool user; enum command_fact supervised, ue; const char *says; } cases[] = {
		{"com.apple.configuration.watch.enrollment", PLATFORM_IOS, "17.0", false, COMMAND_YES, COMMAND_NO, NULL},
		{"com.apple.configuration.watch.enrollment", PLATFORM_IOS, "16.7", false, COMMAND_YES, COMMAND_NO, "too old"},
		{"com.apple.configuration.watch.enrollment", PLATFORM_IOS, "17.0", false, COMMAND_NO, COMMAND_NO, "supervised"},
		{"com.apple.configuration.watch.enrollment", PLATFORM_IOS, "17.0", false, COMMAND_UNKNOWN, COMMAND_NO, NULL},
		{"com.apple.configuration.watch.enrollment", PLATFORM_MACOS, "14.0", false, COMMAND_YES, COMMAND_NO, "does not know"},
		{"com.apple.configuration.watch.enrollment", PLATFORM_MAX, "", false, COMMAND_UNKNOWN, COMMAND_UNKNOWN, NULL},
		{"com.apple.configuration.account.caldav", PLATFORM_MACOS, "14.0", false, COMMAND_YES, COMMAND_NO, "users only"},
		{"com.apple.configuration.account.caldav", PLATFORM_MACOS, "14.0", true, COMMAND_YES, COMMAND_NO, NULL},
		{"com.apple.configuration.diskmanagement.settings", PLATFORM_MACOS, "15.0", true, COMMAND_YES, COMMAND_NO, "not for users"},
		{"com.apple.configuration.softwareupdate.settings", PLATFORM_IOS, "18.0", false, COMMAND_UNKNOWN, COMMAND_YES, "kind of enrollment"},
		{"com.apple.management.properties", PLATFORM_WATCHOS, "10.0", false, COMMAND_YES, COMMAND_NO, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct command_target target = {.platform = cases[i].platform, .os_version = version_parse(cases[i].os), .user_channel = cases[i].user, .supervised = cases[i].supervised, .user_enrollment = cases[i].ue};
		g_autofree char *why = declaration_unsuited(declaration_type_find(cases[i].type), &target);

		g_test_message("%zu %s", i, why ? why : "");
		g_assert_true(!why == !cases[i].says);
		if (why)
			g_assert_nonnull(strstr(why, cases[i].says));
	}
}

static void test_own_words(void)
{
	g_auto(declaration_auto) asset = parse("{\"Type\":\"com.apple.asset.data\",\"Identifier\":\"a\",\"Payload\":{\"Reference\":{\"ContentType\":\"text/plain\"}}}");
	g_auto(declaration_auto) legacy = parse("{\"Type\":\"com.apple.configuration.legacy\",\"Identifier\":\"l\",\"Payload\":{\"ProfileURL\":\"pomona:profile/wifi\"}}");
	g_autoptr(json_t) made = NULL, profile = NULL;
	g_autoptr(GPtrArray) findings = NULL;
	const json_t *reference = json_object_get(asset.payload, "Reference");
	uint8_t sha256[32] = {0xab};

	g_assert_false(declaration_has_own_data(&asset));
	declaration_set_data(asset.payload, NULL, 5, sha256);
	g_assert_true(declaration_has_own_data(&asset));
	g_assert_cmpint(json_integer_value(json_object_get(reference, "Size")), ==, 5);
	g_assert_true(g_str_has_prefix(json_string_value(json_object_get(reference, "Hash-SHA-256")), "ab00"));
	g_assert_cmpstr(json_string_value(json_object_get(reference, "ContentType")), ==, "text/plain");
	findings = declaration_check(&asset);
	g_assert_true(declaration_check_fail(findings, NULL));
	made = declaration_with_urls(asset.payload, "https://x/d", NULL);
	g_assert_cmpstr(json_string_value(json_object_get(json_object_get(made, "Reference"), "DataURL")), ==, "https://x/d");
	g_assert_true(declaration_has_own_data(&asset));
	g_assert_cmpstr(declaration_profile(&legacy), ==, "wifi");
	profile = declaration_with_urls(legacy.payload, NULL, "https://x/p");
	g_assert_cmpstr(json_string_value(json_object_get(profile, "ProfileURL")), ==, "https://x/p");
}

static void test_documents(void)
{
	static const struct { const char *type, *data; bool good; } cases[] = {
		{"com.apple.asset.data", "\xff\x00", true}, {"com.apple.asset.credential.certificate", "x", true},
		{"com.apple.asset.credential.userpassword", "{\"UserName\":\"a\",\"Password\":\"b\"}", true}, {"com.apple.asset.credential.userpassword", "{\"Password\":\"b\"}", false},
		{"com.apple.asset.credential.userpassword", "[]", false}, {"com.apple.asset.credential.userpassword", "a:b", false}, {"com.apple.asset.credential.scep", "{\"URL\":\"https://x\",\"Keysize\":2048}", true},
		{"com.apple.asset.credential.scep", "{\"URL\":\"https://x\",\"Keysize\":512}", false}, {"com.apple.asset.credential.identity", "{\"Password\":\"x\"}", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) findings = declaration_findings_new();

		declaration_check_data(cases[i].type, cases[i].data, strlen(cases[i].data), findings);
		g_assert_true(declaration_check_fail(findings, NULL) == cases[i].good);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ddm/form", test_form);
	g_test_add_func("/ddm/token", test_token);
	g_test_add_func("/ddm/catalog", test_catalog);
	g_test_add_func("/ddm/findings", test_findings);
	g_test_add_func("/ddm/predicates", test_predicates);
	g_test_add_func("/ddm/references", test_references);
	g_test_add_func("/ddm/cycles", test_cycles);
	g_test_add_func("/ddm/endpoints", test_endpoints);
	g_test_add_func("/ddm/manifest", test_manifest);
	g_test_add_func("/ddm/decide", test_decide);
	g_test_add_func("/ddm/report", test_report);
	g_test_add_func("/ddm/bad-reports", test_bad_reports);
	g_test_add_func("/ddm/suits", test_suits);
	g_test_add_func("/ddm/own-words", test_own_words);
	g_test_add_func("/ddm/documents", test_documents);
	return g_test_run();
}
