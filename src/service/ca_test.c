/* The audit log's chain, CRLs, and the states of challenges: over a real database, with a clock that each case moves. */
#include <string.h>

#include "core/ca.h"
#include "db/testkit.h"
#include "keys/ca_make.h"
#include "service/ca_internal.h"

#define HOUR_MS ((int64_t)3600 * 1000)

static int64_t now;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

struct fixture {
	char *url;
	struct store *store;
	struct seal seal;
	struct service *service;
};

static const struct seal test_seal = {.key = "0123456789012345678901234567890", .id = {1, 2, 3, 4}};

/* A store with its first CA. */
static void prepare(const char *url)
{
	struct seal seal = test_seal;
	struct store *store = store_open(url, &test_clock, pom_random_system(), NULL);

	seal.random = pom_random_system();
	g_assert_true(ca_make_first(store, &seal, &(struct ca_spec){.name = "default", .organization = "Test", .key_type = "rsa", .root_bits = 2048, .issuing_bits = 2048}, &test_clock, pom_random_system(), NULL));
	store_close(store);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct service_settings settings = {
		.url = g_strdup("https://mdm.example.org"), .organization = g_strdup("Test"), .access_rights = 8191, .key_size = 2048, .profile = scep_profile_new("default"), .link_ttl_s = 86400,
		.own_tls = true, .ca_url = g_strdup("http://ca.example.org"), .identity_source = g_strdup("scep"), .identity_outside = g_strdup(""),
	};

	now = 1800000000000;
	f->url = test_database_new(prepare);
	f->store = store_open(f->url, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	f->seal = test_seal;
	f->seal.random = pom_random_system();
	f->service = service_new(f->store, &f->seal, settings, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	service_free(f->service);
	store_close(f->store);
	test_database_free(f->url);
}

/* ---- the audit log ---- */

static int64_t verified(struct fixture *f, int64_t *ret_broken_at)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) told = service_audit_verify(f->service, &error);

	g_assert_no_error(error);
	*ret_broken_at = json_integer_value(json_object_get(told, "broken_at"));
	return json_is_true(json_object_get(told, "ok")) ? json_integer_value(json_object_get(told, "entries")) : -1;
}

static void add_entries(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++) {
		g_autofree char *object = g_strdup_printf("object %d", i);

		now++;
		g_assert_true(store_audit_add(f->store, AUDIT("tester", i % 2 ? "test.odd" : "test.even", object, audit_detail("n", object, "left out", NULL, NULL)), NULL));
	}
}

static void test_audit_chain(struct fixture *f, gconstpointer data)
{
	static const struct { const char *what, *sql, *back; int64_t broken_at; } cases[] = {
		{"the actor", "UPDATE audit SET actor = 'nobody' WHERE seq = 700", "UPDATE audit SET actor = 'tester' WHERE seq = 700", 700},
		{"the action", "UPDATE audit SET action = action || '.x' WHERE seq = 3", "UPDATE audit SET action = substr(action, 1, length(action) - 2) WHERE seq = 3", 3},
		{"the object", "UPDATE audit SET object = object || 'x' WHERE seq = 701", "UPDATE audit SET object = substr(object, 1, length(object) - 1) WHERE seq = 701", 701},
		{"the detail", "UPDATE audit SET detail = detail || ' ' WHERE seq = 702", "UPDATE audit SET detail = substr(detail, 1, length(detail) - 1) WHERE seq = 702", 702},
		{"the time", "UPDATE audit SET at = at + 1 WHERE seq = 703", "UPDATE audit SET at = at - 1 WHERE seq = 703", 703},
		{"text moved to the next field", "UPDATE audit SET actor = actor || 'x', action = substr(action, 2) WHERE seq = 704", "UPDATE audit SET actor = 'tester', action = 't' || action WHERE seq = 704", 704},
		{"the hash", "UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 706) WHERE seq = 705", NULL, 705},
		{"the first entry taken out", "DELETE FROM audit WHERE seq = 1", NULL, 1},
	};
	int64_t before, broken_at;
	g_autoptr(GError) error = NULL;

	before = verified(f, &broken_at);
	g_assert_cmpint(before, >=, 0);
	/* More than are sealed at once, and than are read at once. */
	add_entries(f, 1200);
	g_assert_true(service_audit_seal(f->service, &error));
	g_assert_true(service_audit_seal(f->service, &error));
	g_assert_cmpint(verified(f, &broken_at), ==, before + 1200);
	add_entries(f, 1);
	g_assert_cmpint(verified(f, &broken_at), ==, before + 1201);
	/* The database itself lets nobody change an entry; who can change the database's rules is found out by the chain. */
	g_assert_cmpint(test_database_exec(f->url, cases[0].sql), <=, 0);
	g_assert_cmpint(test_database_exec(f->url, "DELETE FROM audit WHERE seq = 1"), <=, 0);
	g_assert_cmpint(verified(f, &broken_at), ==, before + 1201);
	test_database_exec(f->url, test_database_engine() == DB_SQLITE ? "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete" : "DROP RULE audit_no_update ON audit; DROP RULE audit_no_delete ON audit");
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("%s", cases[i].what);
		g_assert_cmpint(test_database_exec(f->url, cases[i].sql), ==, 1);
		g_assert_cmpint(verified(f, &broken_at), ==, -1);
		g_assert_cmpint(broken_at, ==, cases[i].broken_at);
		if (!cases[i].back)
			continue;
		g_assert_cmpint(test_database_exec(f->url, cases[i].back), ==, 1);
		g_assert_cmpint(verified(f, &broken_at), ==, before + 1201);
	}
}

static void test_audit_list(struct fixture *f, gconstpointer data)
{
	static const struct { const char *object, *action; int64_t limit, n; bool more; } cases[] = {
		{NULL, "test", 1000, 40, false}, {NULL, "test.odd", 1000, 20, false}, {NULL, "te", 1000, 0, false}, {NULL, "test.oddly", 1000, 0, false}, {"object 7", NULL, 1000, 1, false},
		{"object 7", "test.even", 1000, 0, false}, {NULL, "test", 7, 7, true}, {NULL, NULL, 3, 3, true},
	};

	add_entries(f, 40);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) page = service_audit_list(f->service, cases[i].object, cases[i].action, "", cases[i].limit, &error);

		g_test_message("%s %s", cases[i].object, cases[i].action);
		g_assert_no_error(error);
		g_assert_cmpint((int64_t)json_array_size(json_object_get(page, "items")), ==, cases[i].n);
		g_assert_cmpint(json_is_string(json_object_get(page, "next")), ==, cases[i].more);
	}
	/* Page by page, each entry once. */
	g_autofree char *after = g_strdup("");
	int n = 0;

	while (after) {
		g_autoptr(json_t) page = service_audit_list(f->service, NULL, "test", after, 7, NULL);
		size_t i;
		json_t *item;

		json_array_foreach(json_object_get(page, "items"), i, item) {
			g_autofree char *object = g_strdup_printf("object %d", n++);

			g_assert_cmpstr(json_string_value(json_object_get(item, "object")), ==, object);
			g_assert_cmpstr(json_string_value(json_object_get(json_object_get(item, "detail"), "n")), ==, object);
		}
		g_free(after);
		after = g_strdup(json_string_value(json_object_get(page, "next")));
	}
	g_assert_cmpint(n, ==, 40);
}

/* ---- CRLs ---- */

/* A certificate of the default profile; its serial number, transfer full. */
static char *issue(struct fixture *f)
{
	g_autoptr(signer) key = signer_generate_ec("P-256", NULL);
	g_autoptr(GBytes) name = cert_name_format(NULL, "CN", "holder", NULL), csr = csr_make(key, name, NULL, NULL, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) made = service_ca_issue(f->service, "tester", &(struct ca_issue){.csr = csr}, &error);

	g_assert_no_error(error);
	return g_strdup(json_string_value(json_object_get(made, "serial")));
}

static void take_back(struct fixture *f, const char *serial, const char *reason)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) told = service_certificate_revoke(f->service, "tester", serial, reason, &error);

	g_assert_no_error(error);
	g_assert_nonnull(told);
}

/* What is published now: its number; whether SERIAL is in it. */
static int64_t published(struct fixture *f, const char *serial, bool *ret_listed)
{
	g_autoptr(GError) error = NULL;
	int64_t number, next_update_ms;
	g_autoptr(GBytes) der = service_crl(f->service, "default-1", &number, &next_update_ms, &error);
	const guchar *p;
	X509_CRL *crl;
	X509_REVOKED *entry = NULL;
	BIGNUM *bn = NULL;
	ASN1_INTEGER *wanted;

	g_assert_no_error(error);
	g_assert_cmpint(next_update_ms, >, now);
	p = g_bytes_get_data(der, NULL);
	crl = d2i_X509_CRL(NULL, &p, (long)g_bytes_get_size(der));
	g_assert_cmpint(BN_hex2bn(&bn, serial), >, 0);
	wanted = BN_to_ASN1_INTEGER(bn, NULL);
	*ret_listed = X509_CRL_get0_by_serial(crl, &entry, wanted) == 1;
	ASN1_INTEGER_free(wanted);
	BN_free(bn);
	X509_CRL_free(crl);
	return number;
}

static void test_crl(struct fixture *f, gconstpointer data)
{
	g_autofree char *first = issue(f), *second = issue(f), *third = issue(f);
	int64_t number, before;
	bool listed;
	g_autoptr(GError) error = NULL;

	number = published(f, first, &listed);
	g_assert_false(listed);
	/* The same until it is due. */
	now += HOUR_MS;
	g_assert_cmpint(published(f, first, &listed), ==, number);
	g_assert_true(service_crl_refresh(f->service, &error));
	g_assert_cmpint(published(f, first, &listed), ==, number);
	/* Said to be revoked means published, also for a second one at the same time. */
	take_back(f, first, "keyCompromise");
	before = number;
	number = published(f, first, &listed);
	g_assert_true(listed);
	g_assert_cmpint(number, >, before);
	take_back(f, second, NULL);
	published(f, second, &listed);
	g_assert_true(listed);
	now += 500;
	take_back(f, third, "certificateHold");
	published(f, third, &listed);
	g_assert_true(listed);
	before = published(f, first, &listed);
	g_assert_true(listed);
	/* Off hold, and nothing else. */
	g_autoptr(json_t) released = service_certificate_release(f->service, "tester", third, &error);
	g_assert_no_error(error);
	g_assert_nonnull(released);
	g_assert_cmpint(published(f, third, &listed), >, before);
	g_assert_false(listed);
	g_autoptr(json_t) not_held = service_certificate_release(f->service, "tester", first, &error);
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_assert_null(not_held);
	g_clear_error(&error);
	/* Anew when it is due, on its own. */
	now += 20 * 1000;
	before = published(f, first, &listed);
	now += (int64_t)CA_CRL_RENEW_S * 1000;
	g_assert_true(service_crl_refresh(f->service, &error));
	number = published(f, first, &listed);
	g_assert_cmpint(number, ==, before + 1);
	g_assert_true(listed);
	g_assert_null(service_crl(f->service, "default-9", NULL, NULL, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
}

/* ---- challenges ---- */

static const char *state_of(struct fixture *f, const char *id, json_t **ret_page)
{
	json_t *item;
	size_t i;

	*ret_page = service_challenge_list(f->service, "", 100, NULL);
	json_array_foreach(json_object_get(*ret_page, "items"), i, item)
		if (!strcmp(json_string_value(json_object_get(item, "id")), id))
			return json_string_value(json_object_get(item, "state"));
	return NULL;
}

static void test_challenge_states(struct fixture *f, gconstpointer data)
{
	static const struct { const char *name; int64_t ttl_s, later_ms; bool revoked; const char *state; } cases[] = {
		{"new", 0, 0, false, "open"}, {"an hour, if nothing is said", 0, HOUR_MS - 1, false, "open"}, {"an hour later", 0, HOUR_MS, false, "expired"}, {"at its last", 10, 9999, false, "open"},
		{"over", 10, 10000, false, "expired"}, {"revoked", 0, 0, true, "revoked"}, {"revoked and over", 10, 20000, true, "revoked"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) made = service_challenge_new(f->service, "tester", &(struct challenge_wish){.ttl_s = cases[i].ttl_s}, &error), page = NULL;
		const char *id = json_string_value(json_object_get(made, "id"));

		g_test_message("%s", cases[i].name);
		g_assert_no_error(error);
		now += cases[i].later_ms;
		for (int n = 0; cases[i].revoked && n < 2; n++) {
			g_autoptr(json_t) told = service_challenge_revoke(f->service, "tester", id, &error);

			g_assert_no_error(error);
			g_assert_cmpint(json_is_true(json_object_get(told, "revoked")), ==, n == 0);
		}
		g_assert_cmpstr(state_of(f, id, &page), ==, cases[i].state);
	}
	g_autoptr(GError) error = NULL;
	g_assert_null(service_challenge_revoke(f->service, "tester", "nothing", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
}

static void test_challenge_wishes(struct fixture *f, gconstpointer data)
{
	static const char *const bad_san[] = {"carrier:pigeon", NULL}, *const good_san[] = {"dns:a.example", "ip:2001:db8::1", NULL};
	static const struct { const char *name; struct challenge_wish wish; int code; } cases[] = {
		{"all", {.subject = "CN=a,O=Test", .sans = good_san, .device = "d", .key_type = "ec", .ttl_s = 365 * 86400, .uses = 100000, .may_enroll = true}, 0},
		{"too long", {.ttl_s = 365 * 86400 + 1}, POM_ERR_BAD_REQUEST}, {"negative", {.ttl_s = -1}, POM_ERR_BAD_REQUEST}, {"too many uses", {.uses = 100001}, POM_ERR_BAD_REQUEST},
		{"negative uses", {.uses = -1}, POM_ERR_BAD_REQUEST}, {"key type", {.key_type = "dsa"}, POM_ERR_BAD_REQUEST}, {"no device", {.device = ""}, POM_ERR_BAD_REQUEST},
		{"device not UTF-8", {.device = "\xff"}, POM_ERR_BAD_REQUEST}, {"name", {.sans = bad_san}, POM_ERR_BAD_REQUEST}, {"subject", {.subject = "nonsense"}, POM_ERR_CERT_MALFORMED},
		{"profile", {.profile = "nowhere"}, POM_ERR_NOT_FOUND},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) made = service_challenge_new(f->service, "tester", &cases[i].wish, &error), page = NULL;

		g_test_message("%s", cases[i].name);
		g_assert_cmpint(error ? error->code : 0, ==, cases[i].code);
		g_assert_cmpint(made != NULL, ==, !cases[i].code);
		page = service_challenge_list(f->service, "", 100, NULL);
		g_assert_cmpuint(json_array_size(json_object_get(page, "items")), ==, 1);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/ca/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("audit-chain", test_audit_chain);
	ADD("audit-list", test_audit_list);
	ADD("crl", test_crl);
	ADD("challenge-states", test_challenge_states);
	ADD("challenge-wishes", test_challenge_wishes);
	return g_test_run();
}
