/* Two stores and two services over one database stand for two nodes: what one has done counts at the other, and of what both do at the same moment all is done as if one had come after the other.
 *
 * The races show what they are for with PostgreSQL; SQLite runs one batch after another by itself. */
#include <pthread.h>
#include <string.h>

#include "core/ca.h"
#include "db/testkit.h"
#include "service/ca_internal.h"
#include "service/checkin.h"
#include "service/fleet.h"
#include "service/renewal.h"
#include "service/shared.h"
#include "store/fleet_store.h"
#include "store/library_store.h"
#include "store/pushcert_store.h"
#include "store/shared_store.h"

#define TOPIC "com.apple.mgmt.External.test"

enum { ROUNDS = 40 };

static int64_t now;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

struct node { struct store *store; struct service *service; };
struct fixture { char *url; struct seal seal; struct node a, b; unsigned n; };

static void open_node(struct fixture *f, struct node *node)
{
	g_autoptr(GError) error = NULL;
	struct service_settings settings = {
		.url = g_strdup("https://mdm.example.org"), .organization = g_strdup("Test"), .access_rights = 8191, .key_size = 2048, .profile = scep_profile_new("default"), .link_ttl_s = 86400, .own_tls = true,
		.identity_source = g_strdup("scep"), .identity_outside = g_strdup(""), .command_expire_ms = (int64_t)90 * 86400 * 1000,
	};

	node->store = store_open(f->url, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	node->service = service_new(node->store, &f->seal, settings, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
}

static const struct seal test_seal = {.key = "0123456789012345678901234567890", .id = {1, 2, 3, 4}};

/* A database with a CA and a push certificate's row. */
static void prepare(const char *url)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(url, &test_clock, pom_random_system(), &error);
	struct seal seal = test_seal;
	g_autoptr(GBytes) nothing = g_bytes_new("c", 1);
	const struct pushcert_import import = {.row = {.certificate = {.topic = TOPIC, .certificates = nothing, .key_sealed = nothing, .not_before_ms = 1, .not_after_ms = now * 2, .imported_ms = now}}};

	g_assert_no_error(error);
	seal.random = pom_random_system();
	g_assert_true(ca_make_first(store, &seal, &(struct ca_spec){.name = "default", .organization = "Test", .key_type = "rsa", .root_bits = 2048, .issuing_bits = 2048}, &test_clock, pom_random_system(), &error));
	g_assert_true(store_pushcert_put(store, &import, &error));
	store_close(store);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	now = 1800000000000;
	f->seal = test_seal;
	f->seal.random = pom_random_system();
	f->url = test_database_new(prepare);
	open_node(f, &f->a);
	open_node(f, &f->b);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	service_free(f->a.service);
	service_free(f->b.service);
	store_close(f->a.store);
	store_close(f->b.store);
	test_database_free(f->url);
}

static int64_t G_GNUC_PRINTF(2, 3) count(struct fixture *f, const char *sql, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, sql);
	text = g_strdup_vprintf(sql, args);
	va_end(args);
	return test_database_get(f->url, text);
}

/* ---- two at the same moment ---- */

struct runner { pthread_t thread; pthread_barrier_t *barrier; bool (*fn)(struct fixture *f, struct node *node, const void *what, GError **error); struct fixture *f; struct node *node; const void *what; bool ok; GError *error; };

static void *run(void *data)
{
	struct runner *r = data;

	pthread_barrier_wait(r->barrier);
	r->ok = r->fn(r->f, r->node, r->what, &r->error);
	return NULL;
}

/* Runs FIRST on node a and SECOND on node b; how many said that it was done. What was not was a conflict, or a refusal that follows from it. */
static unsigned race(struct fixture *f, bool (*first)(struct fixture *, struct node *, const void *, GError **), const void *first_what, bool (*second)(struct fixture *, struct node *, const void *, GError **),
                     const void *second_what)
{
	pthread_barrier_t barrier;
	struct runner runners[] = {{.barrier = &barrier, .fn = first, .f = f, .node = &f->a, .what = first_what}, {.barrier = &barrier, .fn = second, .f = f, .node = &f->b, .what = second_what}};
	unsigned n = 0;

	pthread_barrier_init(&barrier, NULL, 2);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&runners[i].thread, NULL, run, &runners[i]);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(runners[i].thread, NULL);
		n += runners[i].ok;
		if (runners[i].error)
			g_assert_cmpint(pom_error_info_of(runners[i].error)->http_status, !=, 500);
		g_clear_error(&runners[i].error);
	}
	pthread_barrier_destroy(&barrier);
	return n;
}

/* ---- links, challenges, certificates ---- */

/* The names of one round. */
struct names { char link[32], challenge[32], serials[2][32], enrollment[2][40], device[2][40]; };

static struct names make_names(struct fixture *f)
{
	struct names n;

	f->n++;
	g_snprintf(n.link, sizeof(n.link), "link-%u", f->n);
	g_snprintf(n.challenge, sizeof(n.challenge), "challenge-%u", f->n);
	for (unsigned i = 0; i < 2; i++) {
		g_snprintf(n.serials[i], sizeof(n.serials[i]), "%06X%02X", f->n, i + 1);
		g_snprintf(n.enrollment[i], sizeof(n.enrollment[i]), "E-%06u-%u", f->n, i);
		g_snprintf(n.device[i], sizeof(n.device[i]), "UDID-%06u-%u", f->n, i);
	}
	return n;
}

static void add_link(struct fixture *f, const struct names *n)
{
	g_autoptr(GBytes) sealed = g_bytes_new("s", 1);
	struct link_new row = {.id = n->link, .challenge_id = n->challenge, .common_name = n->link, .secret_sealed = sealed, .created_ms = now, .expires_ms = now + 86400000};

	cert_sha256(n->link, strlen(n->link), row.token_hash);
	cert_sha256(n->challenge, strlen(n->challenge), row.secret_hash);
	g_assert_true(store_link_add(f->a.store, &row, NULL));
}

/* A row for key number KEY. */
static struct certificate_new new_row(const char *serial, const char *key)
{
	struct certificate_new new = {.serial = serial, .authority_id = "x", .generation_id = "default-1", .subject = "CN", .transaction_id = "t", .profile = "default", .not_before_ms = now - 1000, .not_after_ms = now + 86400000,
	                              .issued_ms = now, .may_enroll = true};

	cert_sha256(key, strlen(key), new.spki_sha256);
	return new;
}

struct reservation { const struct names *names; unsigned i; bool by_challenge, by_key, for_link; const char *generation; };

static bool reserve(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct reservation *r = what;
	const char *serial = r->names->serials[r->i];
	struct certificate_new new = new_row(serial, r->by_key ? r->names->link : serial);
	struct certificate_right right = {.none_since_ms = r->by_key ? now - 1000 : 0, .none_reserved_since_ms = now - 1000};

	new.link_id = r->for_link ? r->names->link : NULL;
	new.challenge_id = r->by_challenge ? r->names->challenge : NULL;
	if (r->generation)
		new.generation_id = r->generation;
	return store_certificate_reserve(node->store, &new, &right, error);
}

static void test_challenge_race(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		add_link(f, &n);
		g_assert_cmpuint(race(f, reserve, &(struct reservation){&n, 0, .by_challenge = true, .for_link = true}, reserve, &(struct reservation){&n, 1, .by_challenge = true, .for_link = true}), ==, 1);
	}
}

static void test_key_race(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		g_assert_cmpuint(race(f, reserve, &(struct reservation){&n, 0, .by_key = true}, reserve, &(struct reservation){&n, 1, .by_key = true}), ==, 1);
	}
	/* Nothing is left of the locks. */
	g_assert_cmpint(count(f, "SELECT count(*) FROM shared_lock"), ==, 0);
}

/* Both get a certificate for the link; only the later one's is good. */
static void test_link_certificates(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		add_link(f, &n);
		g_assert_cmpuint(race(f, reserve, &(struct reservation){&n, 0, .for_link = true}, reserve, &(struct reservation){&n, 1, .for_link = true}), ==, 2);
		g_assert_cmpint(count(f, "SELECT count(*) FROM certificate WHERE link_id = '%s' AND state <> 2", n.link), ==, 1);
	}
}

struct enrolling { const struct names *names; unsigned i; };

static bool authenticate(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct enrolling *e = what;
	const struct checkin_message message = {.type = CHECKIN_AUTHENTICATE, .who = {.device_id = e->names->device[e->i], .user_part = ""}, .topic = TOPIC};
	const struct checkin_facts facts = {.certificate = {.known = true, .serial = e->names->serials[e->i], .link_id = e->names->link}};
	const struct checkin_plan plan = {.action = CHECKIN_DO_CREATE, .epoch = 1};

	return store_checkin_apply(node->store, &(struct checkin_write){.message = &message, .facts = &facts, .plan = &plan, .enrollment_id = e->names->enrollment[e->i], .now_ms = now}, NULL, error);
}

static void issue(struct fixture *f, const char *serial)
{
	g_autoptr(GBytes) der = g_bytes_new(serial, strlen(serial));

	g_assert_true(store_certificate_issue(f->a.store, serial, der, NULL, NULL));
}

/* Two devices with a certificate each: however they came by them. */
static void test_link_once(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		add_link(f, &n);
		for (unsigned k = 0; k < 2; k++) {
			g_assert_true(reserve(f, &f->a, &(struct reservation){&n, k}, NULL));
			issue(f, n.serials[k]);
		}
		g_assert_cmpuint(race(f, authenticate, &(struct enrolling){&n, 0}, authenticate, &(struct enrolling){&n, 1}), ==, 1);
		g_assert_cmpint(count(f, "SELECT count(*) FROM enrollment e JOIN link l ON l.enrollment_id = e.id WHERE l.id = '%s'", n.link), ==, 1);
	}
}

/* A device uses its certificate while another asks for one by the same link. */
static void test_link_use_and_ask(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		add_link(f, &n);
		g_assert_true(reserve(f, &f->a, &(struct reservation){&n, 0, .for_link = true, .by_challenge = true}, NULL));
		issue(f, n.serials[0]);
		race(f, authenticate, &(struct enrolling){&n, 0}, reserve, &(struct reservation){&n, 1, .for_link = true});
		/* Who was first does not matter; both at once would be two devices. */
		g_assert_cmpint(count(f, "SELECT count(*) FROM certificate WHERE link_id = '%s' AND state <> 2", n.link), ==, 1);
	}
}

/* A link that was used gives nothing but what renews the identity that came of it. */
static void test_used_link(struct fixture *f, gconstpointer data)
{
	struct names n = make_names(f);
	struct certificate_new renewal = new_row(n.serials[1], n.serials[1]);
	g_autoptr(GError) error = NULL;

	add_link(f, &n);
	g_assert_true(reserve(f, &f->a, &(struct reservation){&n, 0, .for_link = true}, NULL));
	issue(f, n.serials[0]);
	g_assert_true(authenticate(f, &f->a, &(struct enrolling){&n, 0}, NULL));
	g_assert_false(reserve(f, &f->b, &(struct reservation){&n, 1, .for_link = true}, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	renewal.link_id = n.link;
	renewal.for_enrollment_id = n.enrollment[0];
	renewal.for_epoch = 1;
	g_assert_true(store_certificate_reserve(f->b.store, &renewal, &(struct certificate_right){0}, NULL));
}

static bool fail_often(struct fixture *f, struct node *node, const void *what, GError **error)
{
	int64_t forgiven_ms;

	for (int i = 0; i < ROUNDS; i++)
		if (!store_scep_failed(node->store, what, 1000, now, NULL, &forgiven_ms, error))
			return false;
	return true;
}

/* Failures of an address at two nodes are counted together, without one being lost, and go when they are forgiven. SQLite, where only one node can be, writes nothing. */
static void test_failures(struct fixture *f, gconstpointer data)
{
	bool shared = store_is_shared(f->a.store), more;
	int64_t forgiven_ms;

	g_assert_cmpuint(race(f, fail_often, "192.0.2.1", fail_often, "192.0.2.1"), ==, 2);
	g_assert_true(store_scep_failed(f->b.store, "192.0.2.1", 1000, now, &(struct audit_entry){.actor = "t", .action = "test"}, &forgiven_ms, NULL));
	g_assert_cmpint(forgiven_ms, ==, shared ? now + (2 * ROUNDS + 1) * 1000 : 0);
	g_assert_cmpint(count(f, "SELECT count(*) FROM audit_pending WHERE action = 'test'"), ==, 1);
	/* Another address; and what is forgiven in part. */
	g_assert_true(store_scep_failed(f->a.store, "192.0.2.2", 1000, now, NULL, &forgiven_ms, NULL));
	g_assert_true(store_scep_failed(f->b.store, "192.0.2.2", 1000, now + 1500, NULL, &forgiven_ms, NULL));
	g_assert_cmpint(forgiven_ms, ==, shared ? now + 2500 : 0);
	g_assert_true(store_scep_forgive(f->a.store, now + 2499, 10, &more, NULL) && !more);
	g_assert_cmpint(count(f, "SELECT count(*) FROM scep_failure"), ==, shared ? 2 : 0);
	g_assert_true(store_scep_forgive(f->a.store, now + 2500, 1, &more, NULL));
	g_assert_cmpint(count(f, "SELECT count(*) FROM scep_failure WHERE address = '192.0.2.1'"), ==, shared);
	g_assert_cmpint(count(f, "SELECT count(*) FROM scep_failure"), ==, shared);
	g_assert_cmpint(more, ==, shared);
}

static void test_retired_generation(struct fixture *f, gconstpointer data)
{
	struct names n = make_names(f);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(test_database_exec(f->url, "INSERT INTO ca_generation (id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at) VALUES ('old-1', 'old', 1, 'retired', 'own', 1, 1, 1, 1, 1)"), ==, 1);
	g_assert_false(reserve(f, &f->a, &(struct reservation){&n, 0, .generation = "old-1"}, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_true(reserve(f, &f->a, &(struct reservation){&n, 0, .generation = "outside:other"}, NULL));
}

/* ---- requests that wait, settings, the audit log ---- */

enum { KEYS = 20, REQUESTS_MAX = KEYS - 5 };

static bool add_requests(struct fixture *f, struct node *node, const void *what, GError **error)
{
	for (uint8_t i = 0; i < KEYS; i++) {
		g_autofree char *id = g_strdup_printf("%s-%u", (const char *)what, i);
		const uint8_t key[32] = {i};
		const struct scep_request_row row = {.id = id, .profile = "default", .transaction_id = "t", .subject = "CN=x", .spki_sha256 = key, .signer_spki_sha256 = key, .csr = "c", .csr_len = 1, .created_ms = now, .expires_ms = now + 1000};
		g_autoptr(GError) inner = NULL;

		if (!store_request_add(node->store, &row, REQUESTS_MAX, NULL, &inner))
			g_assert_error(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
	}
	return true;
}

static void test_request_race(struct fixture *f, gconstpointer data)
{
	/* One statement decides: it would seldom meet another at the wrong moment. */
	if (test_database_engine() == DB_POSTGRES)
		test_database_exec(f->url, "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;"
		                           "CREATE TRIGGER slowly AFTER INSERT ON scep_request FOR EACH ROW EXECUTE FUNCTION slowly()");
	g_assert_cmpuint(race(f, add_requests, "a", add_requests, "b"), ==, 2);
	g_assert_cmpint(count(f, "SELECT count(*) FROM scep_request"), ==, REQUESTS_MAX);
	g_assert_cmpint(count(f, "SELECT count(DISTINCT spki_sha256) FROM scep_request"), ==, REQUESTS_MAX);
}

static bool put_profile(struct fixture *f, struct node *node, const void *what, GError **error)
{
	return store_profile_put(node->store, "p", "{}", NULL, *(const int64_t *)what, now, NULL, error);
}

static void test_settings_race(struct fixture *f, gconstpointer data)
{
	for (int64_t version = 0; version < ROUNDS; version++)
		g_assert_cmpuint(race(f, put_profile, &version, put_profile, &version), ==, 1);
}

static bool seal_log(struct fixture *f, struct node *node, const void *what, GError **error)
{
	bool ok = true;

	for (int i = 0; i < 5 && ok; i++)
		ok = store_audit_add(node->store, &(struct audit_entry){.actor = "t", .action = "test", .object = "o"}, error) && service_audit_seal(node->service, error);
	return ok;
}

static void test_audit_race(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < 10; i++)
		g_assert_cmpuint(race(f, seal_log, NULL, seal_log, NULL), ==, 2);
	g_autoptr(json_t) told = service_audit_verify(f->b.service, NULL);
	g_assert_true(json_is_true(json_object_get(told, "ok")));
	g_assert_cmpint(json_integer_value(json_object_get(told, "entries")), >=, 100);
}

/* ---- the queue ---- */

/* Enrolls device 0 of NAMES. */
static void enroll(struct fixture *f, const struct names *n)
{
	const struct checkin_message message = {.type = CHECKIN_TOKEN_UPDATE, .who = {.device_id = n->device[0], .user_part = ""}, .topic = TOPIC, .token = "t", .token_len = 1, .push_magic = "m"};
	const struct checkin_facts facts = {.certificate = {.known = true, .serial = n->serials[0], .link_id = n->link}, .device = {.known = true, .id = n->enrollment[0], .version = 1, .pending_epoch = 1, .last_epoch = 1}};
	const struct checkin_plan plan = {.action = CHECKIN_DO_ACTIVATE, .epoch = 1};

	add_link(f, n);
	g_assert_true(reserve(f, &f->a, &(struct reservation){n, 0, .for_link = true, .generation = "outside:test"}, NULL));
	issue(f, n->serials[0]);
	g_assert_true(authenticate(f, &f->a, &(struct enrolling){n, 0}, NULL));
	g_assert_true(store_checkin_apply(f->a.store, &(struct checkin_write){.message = &message, .facts = &facts, .plan = &plan, .enrollment_id = n->enrollment[0], .now_ms = now}, NULL, NULL));
}

static bool queue(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	const struct command command = {(char *)(uintptr_t)"Test", body};

	return store_command_add(node->store, n->enrollment[0], n->challenge, &command, NULL, now, error);
}

static bool end(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;
	const struct enrollment_end ending = {.enrollment_id = n->enrollment[0], .reason = "test", .event = "Unenrolled", .now_ms = now};
	bool found;

	return store_enrollment_end(node->store, &ending, &(struct audit_entry){.actor = "t", .action = "test"}, &found, error);
}

static bool delete(struct fixture *f, struct node *node, const void *what, GError **error)
{
	return store_enrollment_delete(node->store, ((const struct names *)what)->enrollment[0], &(struct audit_entry){.actor = "t", .action = "test"}, error);
}

/* Nothing waits for what has ended, nothing is left of what was deleted. */
static void test_queue_and_end(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		enroll(f, &n);
		race(f, queue, &n, i % 2 ? delete : end, &n);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command WHERE enrollment_id = '%s'", n.enrollment[0]), ==, 0);
		if (i % 2)
			g_assert_cmpint(count(f, "SELECT (SELECT count(*) FROM command_done WHERE enrollment_id = '%s') + (SELECT count(*) FROM push_outbox WHERE enrollment_id = '%s')", n.enrollment[0], n.enrollment[0]), ==, 0);
	}
}

static bool answer(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;
	g_autoptr(store_load) load = NULL;
	struct command_stored stored;
	struct command_row row;
	bool ok;

	if (!store_command_get(node->store, n->challenge, &row, &stored, &load, error))
		return false;
	command_stored_clear(&stored);
	if (row.status)
		return false;
	ok = store_command_finish(node->store, &row, &(struct command_result){node == &f->a ? "Acknowledged" : "Error", NULL, false, NULL}, now, error);
	return ok;
}

static bool cancel(struct fixture *f, struct node *node, const void *what, GError **error)
{
	return store_command_cancel(node->store, ((const struct names *)what)->challenge, now, error);
}

/* A report that comes twice is taken once. */
static void test_answer_race(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		enroll(f, &n);
		g_assert_true(queue(f, &f->a, &n, NULL));
		g_assert_cmpuint(race(f, answer, &n, i % 2 ? cancel : answer, &n), ==, 1);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command_done WHERE enrollment_id = '%s'", n.enrollment[0]), ==, 1);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command WHERE enrollment_id = '%s'", n.enrollment[0]), ==, 0);
	}
}

/* The same for a device whose link says what it was served, and whose identity is due to be renewed. */
static struct names enroll_for_renewal(struct fixture *f)
{
	struct names n = make_names(f);
	g_autofree char *sql = g_strdup_printf("UPDATE certificate SET not_before = 0, not_after = %" G_GINT64_FORMAT " WHERE serial = '%s'", now + 1000, n.serials[0]);
	g_autofree char *due = g_strdup_printf("UPDATE epoch SET renew_at = %" G_GINT64_FORMAT " WHERE certificate_serial = '%s'", now - 1, n.serials[0]);
	g_autofree char *served = g_strdup_printf("UPDATE link SET served = '{\"url\":\"https://mdm.example.org\",\"access_rights\":8191}' WHERE id = '%s'", n.link);

	enroll(f, &n);
	g_assert_cmpint(test_database_exec(f->url, sql), ==, 1);
	g_assert_cmpint(test_database_exec(f->url, served), ==, 1);
	g_assert_cmpint(test_database_exec(f->url, due), ==, 1);
	return n;
}

static bool renew(struct fixture *f, struct node *node, const void *what, GError **error)
{
	g_autoptr(json_t) told = service_device_renew(node->service, ((const struct names *)what)->enrollment[0], error);

	return told != NULL;
}

static bool renew_due(struct fixture *f, struct node *node, const void *what, GError **error)
{
	size_t n;

	return service_renewal_scan(node->service, &n, error);
}

static bool renew_expired(struct fixture *f, struct node *node, const void *what, GError **error)
{
	return service_renewal_ensure(node->service, ((const struct names *)what)->enrollment[0], 1, error);
}

static bool unenroll(struct fixture *f, struct node *node, const void *what, GError **error)
{
	g_autoptr(json_t) told = service_device_unenroll(node->service, "tester", ((const struct names *)what)->enrollment[0], false, error);

	return told != NULL;
}

/* Whoever asks, and however many: one command waits. */
static void test_own_commands_once(struct fixture *f, gconstpointer data)
{
	bool (*const others[])(struct fixture *, struct node *, const void *, GError **) = {renew, renew_due, renew_expired};

	for (unsigned i = 0; i < ROUNDS / 2; i++) {
		struct names n = enroll_for_renewal(f);

		g_assert_cmpuint(race(f, renew, &n, others[i % G_N_ELEMENTS(others)], &n), ==, 2);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command WHERE enrollment_id = '%s' AND note = 'renewal'", n.enrollment[0]), ==, 1);
		g_assert_cmpuint(race(f, unenroll, &n, unenroll, &n), ==, 2);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command WHERE enrollment_id = '%s' AND note = 'unenroll'", n.enrollment[0]), ==, 1);
		g_assert_cmpint(count(f, "SELECT count(*) FROM event WHERE enrollment_id = '%s' AND kind = 'UnenrollAsked'", n.enrollment[0]), ==, 1);
	}
	g_assert_cmpint(count(f, "SELECT count(*) FROM audit_pending WHERE action = 'device.unenroll'"), ==, ROUNDS / 2);
}

static enum command_own_result add_own(struct fixture *f, const struct names *n, const char *uuid, int64_t epoch, int64_t renewed_ms)
{
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	const struct command command = {(char *)(uintptr_t)"InstallProfile", body};
	enum command_own_result result;

	g_assert_true(store_command_add_own(f->a.store, &(struct command_own){.enrollment_id = n->enrollment[0], .uuid = uuid, .note = "renewal", .command = &command, .epoch = epoch, .now_ms = now, .is_renewal = true,
	                                    .renewed_ms = renewed_ms}, NULL, &result, NULL));
	return result;
}

/* What was decided before another has queued one that is answered by now, or for an epoch that is over, queues nothing. */
static void test_own_command_too_late(struct fixture *f, gconstpointer data)
{
	struct names n = make_names(f);

	enroll(f, &n);
	g_assert_cmpint(add_own(f, &n, n.challenge, 1, 0), ==, COMMAND_OWN_QUEUED);
	g_assert_cmpint(add_own(f, &n, "second", 1, 0), ==, COMMAND_OWN_WAITS);
	g_assert_true(answer(f, &f->b, &n, NULL));
	g_assert_cmpint(add_own(f, &n, "third", 1, 0), ==, COMMAND_OWN_CHANGED);
	g_assert_cmpint(add_own(f, &n, "fourth", 2, INT64_MAX), ==, COMMAND_OWN_CHANGED);
	g_assert_cmpint(count(f, "SELECT count(*) FROM command"), ==, 0);
	g_assert_cmpint(add_own(f, &n, "fifth", 1, now), ==, COMMAND_OWN_QUEUED);
	g_assert_true(end(f, &f->b, &n, NULL));
	g_assert_cmpint(add_own(f, &n, "sixth", 1, INT64_MAX), ==, COMMAND_OWN_CHANGED);
}

/* A command for the user of device 0. */
static bool queue_for_user(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	const struct command command = {(char *)(uintptr_t)"Test", body};

	return store_command_add(node->store, n->enrollment[1], n->challenge, &command, NULL, now, error);
}

/* The device 0 begins a new epoch by the same certificate. */
static bool authenticate_again(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;
	const struct checkin_message message = {.type = CHECKIN_AUTHENTICATE, .who = {.device_id = n->device[0], .user_part = ""}, .topic = TOPIC};
	struct checkin_load load;
	struct checkin_plan plan = {.action = CHECKIN_DO_NEW_EPOCH, .epoch = 2, .ends_epoch = 1, .ends_at_once = true};
	uint8_t sha256[32] = {0};
	bool ok;

	if (!store_checkin_load(node->store, sha256, &message.who, false, &load, error))
		return false;
	load.facts.certificate = (struct certificate_facts){.known = true, .serial = n->serials[0], .enrollment_id = n->enrollment[0], .epoch = 1};
	ok = store_checkin_apply(node->store, &(struct checkin_write){.message = &message, .facts = &load.facts, .plan = &plan, .enrollment_id = n->enrollment[0], .now_ms = now}, NULL, error);
	checkin_load_clear(&load);
	return ok;
}

/* Nothing waits for a user whose device has begun anew. */
static void test_user_and_new_epoch(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS / 2; i++) {
		struct names n = make_names(f);
		const struct checkin_message message = {.type = CHECKIN_TOKEN_UPDATE, .who = {.device_id = n.device[0], .user_part = "ann", .kind = ENROLLMENT_USER}, .topic = TOPIC, .token = "t", .token_len = 1, .push_magic = "m"};
		const struct checkin_facts facts = {.device = {.known = true, .id = n.enrollment[0], .version = 2, .active_epoch = 1, .last_epoch = 1}};
		const struct checkin_plan plan = {.action = CHECKIN_DO_USER_TOKEN, .epoch = 1};

		enroll(f, &n);
		g_assert_true(store_checkin_apply(f->a.store, &(struct checkin_write){.message = &message, .facts = &facts, .plan = &plan, .enrollment_id = n.enrollment[0], .user_id = n.enrollment[1], .now_ms = now}, NULL, NULL));
		g_assert_cmpuint(race(f, queue_for_user, &n, authenticate_again, &n), >=, 1);
		g_assert_cmpint(count(f, "SELECT active_epoch FROM enrollment WHERE id = '%s'", n.enrollment[0]), ==, 0);
		g_assert_cmpint(count(f, "SELECT count(*) FROM command WHERE enrollment_id = '%s'", n.enrollment[1]), ==, 0);
	}
}

/* ---- groups ---- */

static bool join_group(struct fixture *f, struct node *node, const void *what, GError **error)
{
	const struct names *n = what;

	return store_member_change(node->store, n->link, (const char *const[]){n->enrollment[0], NULL}, (const char *const[]){NULL}, now, NULL, error);
}

static bool remove_group(struct fixture *f, struct node *node, const void *what, GError **error)
{
	return store_group_remove(node->store, ((const struct names *)what)->link, (const char *const[]){NULL}, now, NULL, error);
}

static void test_group_race(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct names n = make_names(f);

		enroll(f, &n);
		g_assert_true(store_group_add(f->a.store, n.link, now, NULL, NULL));
		race(f, join_group, &n, i % 2 ? delete : remove_group, &n);
		g_assert_cmpint(count(f, "SELECT count(*) FROM group_member WHERE group_name = '%s' AND NOT EXISTS (SELECT 1 FROM device_group g JOIN enrollment e ON e.id = enrollment_id WHERE g.name = group_name)", n.link), ==, 0);
	}
}

/* ---- many at once ---- */

enum { CROWD = 10, ONE_BY_ONE = 6, TURNS = 25, STEPS = 12 };

/* What all work on: devices in no order at all, an order to them, and a group of a query. */
struct crowd { struct fixture *f; char ids[CROWD][40]; pthread_barrier_t barrier; };
struct worker { pthread_t thread; struct crowd *crowd; struct node *node; unsigned seed; void (*turn)(struct worker *w, unsigned i); unsigned n_done; };

static void note_turn(struct worker *w, bool ok, GError *error)
{
	w->n_done += ok;
	if (error)
		g_assert_cmpint(pom_error_info_of(error)->http_status, !=, 500);
	g_clear_error(&error);
}

/* One device: a command comes, is answered, is taken back; it says that it is there. */
static void turn_of_device(struct worker *w, unsigned i)
{
	const char *id = w->crowd->ids[rand_r(&w->seed) % CROWD];
	struct pom_id uuid = pom_id_new(&test_clock, pom_random_system());
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	const struct command command = {(char *)(uintptr_t)"Test", body};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	GError *error = NULL;
	bool ok = store_command_queue(w->node->store, &(struct command_new){.enrollment_id = id, .uuid = uuid.text, .command = &command, .expires_ms = i % 2 ? now - 1 : 0, .now_ms = now}, &(char *){NULL}, &error);

	note_turn(w, ok, g_steal_pointer(&error));
	rows = store_command_list(w->node->store, id, false, "", 3, &load, NULL);
	for (guint k = 0; rows && k < rows->len; k++) {
		struct command_row row = g_array_index(rows, struct command_row, k);

		row.enrollment_id = id;
		ok = store_command_finish(w->node->store, &row, &(struct command_result){"Acknowledged", NULL, false, NULL}, now, &error);
		note_turn(w, ok, g_steal_pointer(&error));
	}
	note_turn(w, store_event_add(w->node->store, id, "Test", NULL, now, &error), g_steal_pointer(&error));
}

static void turn_of_order(struct worker *w, unsigned i)
{
	struct pom_id id = pom_id_new(&test_clock, pom_random_system()), uuids[CROWD];
	struct order_step steps[CROWD];
	const struct order_row order = {.id = id.text, .request_type = "Test", .kind = "all", .target = "", .actor = "t", .state = "sending", .after = "", .n_planned = CROWD, .created_ms = now};
	struct order_row canceling = order;
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	GError *error = NULL;
	bool found;

	for (unsigned k = 0; k < CROWD; k++) {
		uuids[k] = pom_id_new(&test_clock, pom_random_system());
		steps[k] = (struct order_step){w->crowd->ids[k], uuids[k].text, NULL};
	}
	if (store_order_add(w->node->store, &order, body, NULL, NULL, &error))
		note_turn(w, store_order_send(w->node->store, &order, steps, CROWD, "~", true, body, NULL, now, &error), g_steal_pointer(&error));
	g_clear_error(&error);
	if (store_order_cancel(w->node->store, order.id, NULL, &found, &error)) {
		canceling.state = "canceling";
		note_turn(w, store_order_take_back(w->node->store, &canceling, CROWD, now, &error), g_steal_pointer(&error));
	}
	g_clear_error(&error);
	note_turn(w, store_order_purge(w->node->store, now + 1, &error), g_steal_pointer(&error));
}

static void turn_of_query(struct worker *w, unsigned i)
{
	struct query_change changes[CROWD];
	GError *error = NULL;

	for (unsigned k = 0; k < CROWD; k++)
		changes[k] = (struct query_change){"crowd", "query", w->crowd->ids[w->seed % 2 ? k : CROWD - 1 - k], i % 2};
	note_turn(w, store_query_apply(w->node->store, changes, CROWD, "none", NULL, now, &error), g_steal_pointer(&error));
}

static void turn_of_janitor(struct worker *w, unsigned i)
{
	GError *error = NULL;
	bool more;
	size_t n;

	note_turn(w, store_command_expire(w->node->store, now, 100, &n, &error), g_steal_pointer(&error));
	note_turn(w, store_event_purge(w->node->store, now + 1, 100, &more, &error), g_steal_pointer(&error));
	note_turn(w, store_command_purge(w->node->store, now + 1, 100, &more, &error), g_steal_pointer(&error));
}

static void *work(void *data)
{
	struct worker *w = data;

	pthread_barrier_wait(&w->crowd->barrier);
	for (unsigned i = 0; i < (w->turn == turn_of_device ? TURNS : STEPS); i++)
		w->turn(w, i);
	return NULL;
}

/* Requests of devices, and what changes many of them, on two nodes: they wait for each other, and never in a ring. */
static void test_no_deadlocks(struct fixture *f, gconstpointer data)
{
	static void (*const turns[])(struct worker *, unsigned) = {turn_of_order, turn_of_query, turn_of_janitor};
	enum { N = 2 * (ONE_BY_ONE + G_N_ELEMENTS(turns)) };
	struct crowd crowd = {.f = f};
	struct worker workers[N];

	for (unsigned i = 0; i < CROWD; i++) {
		struct names n = make_names(f);

		enroll(f, &n);
		g_strlcpy(crowd.ids[i], n.enrollment[0], sizeof(crowd.ids[i]));
	}
	g_assert_true(store_query_group_add(f->a.store, "crowd", "query", now, NULL, NULL));
	pthread_barrier_init(&crowd.barrier, NULL, N);
	for (unsigned i = 0; i < N; i++) {
		workers[i] = (struct worker){.crowd = &crowd, .node = i % 2 ? &f->a : &f->b, .seed = i / 2, .turn = i / 2 < ONE_BY_ONE ? turn_of_device : turns[i / 2 - ONE_BY_ONE]};
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (unsigned i = 0; i < N; i++) {
		pthread_join(workers[i].thread, NULL);
		g_assert_cmpuint(workers[i].n_done, >, 0);
	}
	pthread_barrier_destroy(&crowd.barrier);
	if (test_database_engine() != DB_POSTGRES)
		return;
	/* Connections tell their counts when they end. */
	service_free(f->a.service);
	service_free(f->b.service);
	store_close(f->a.store);
	store_close(f->b.store);
	g_assert_cmpint(count(f, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), ==, 0);
	open_node(f, &f->a);
	open_node(f, &f->b);
}

/* ---- what is kept in memory ---- */

static GBytes *ca_cert(struct node *node)
{
	const char *type;

	return service_scep_ca_cert(node->service, "default", &type, NULL);
}

static void rekey(struct fixture *f, enum ca_rekey_step step)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) told = service_ca_rekey(f->a.service, "tester", &(struct ca_spec){.name = "default", .organization = "Test"}, step, true, true, &error);

	g_assert_no_error(error);
	g_assert_nonnull(told);
}

/* What A does to its CA is what B answers from then on. */
static void test_ca_states(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) before = ca_cert(&f->b), next = NULL, caps = NULL;
	g_autoptr(GError) error = NULL;

	rekey(f, CA_REKEY_START);
	next = service_scep_next_ca_cert(f->b.service, "default", &error);
	g_assert_no_error(error);
	g_assert_nonnull(next);
	rekey(f, CA_REKEY_ACTIVATE);
	g_autoptr(GBytes) of_a = ca_cert(&f->a), of_b = ca_cert(&f->b);
	g_assert_true(g_bytes_equal(of_a, of_b));
	g_assert_false(g_bytes_equal(before, of_b));
	rekey(f, CA_REKEY_FINISH);
	g_autoptr(GBytes) crl = service_crl(f->b.service, "default-2", NULL, NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(crl);
	/* A profile that is new. */
	caps = service_scep_caps(f->b.service, "wifi", &error);
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
	g_clear_error(&error);
	g_autoptr(json_t) settings = json_pack("{s:i}", "days", 30), set = service_profile_set(f->a.service, "tester", "wifi", settings, &error);
	g_assert_no_error(error);
	g_assert_nonnull(set);
	caps = service_scep_caps(f->b.service, "wifi", &error);
	g_assert_no_error(error);
	g_assert_nonnull(caps);
}

/* A certificate of the active generation for the device 0 of NAMES, which is enrolled with it. DER, transfer full. */
static GBytes *enroll_with_identity(struct fixture *f, const struct names *n)
{
	g_autoptr(ca_set) set = service_ca_set(f->a.service);
	const struct generation *g = ca_set_in_state(set, "default", GENERATION_ACTIVE);
	g_autoptr(signer) key = signer_generate_rsa(2048, NULL);
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "device", NULL), spki = cert_spki_format(signer_get_key(key)), der = NULL;
	const struct cert_plan plan = {.purpose = CERT_DEVICE, .serial_len = 4, .serial = {1, 2, 3, 4}, .subject_der = subject, .spki = spki, .not_before = now / 1000 - 60, .not_after = now / 1000 + 86400};
	g_autoptr(X509) cert = cert_build(&plan, g->issuing->cert, NULL);
	uint8_t sha256[32];
	g_autofree char *hex = NULL, *sql = NULL;

	g_assert_true(signer_sign_cert(g->issuing->signer, cert, NULL));
	der = cert_format_der(cert);
	enroll(f, n);
	/* Its row is that of the certificate that enroll has made up. */
	cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), sha256);
	hex = hex_format(sha256, sizeof(sha256));
	sql = g_strdup_printf(test_database_engine() == DB_POSTGRES ? "UPDATE certificate SET sha256 = decode('%s', 'hex') WHERE serial = '%s'" : "UPDATE certificate SET sha256 = x'%s' WHERE serial = '%s'", hex, n->serials[0]);
	g_assert_cmpint(test_database_exec(f->url, sql), ==, 1);
	return g_steal_pointer(&der);
}

/* An Idle of that device: the code of the refusal, or -1. */
static int idle(struct node *node, const struct names *n, GBytes *identity)
{
	g_autoptr(plist) message = plist_new_dict();
	g_autoptr(GBytes) body = NULL;
	g_autoptr(GError) error = NULL;
	struct device_reply reply = {0};
	struct subject subject = {0};

	plist_dict_set_string(message, "UDID", n->device[0]);
	plist_dict_set_string(message, "Status", "Idle");
	body = plist_format(message, NULL);
	if (!service_report(node->service, &(struct device_proof){.certificate = identity}, body, &subject, &reply, &error))
		return error->code;
	device_reply_clear(&reply);
	return -1;
}

/* An Authenticate of that device with TOPIC: the code of the refusal, or -1. */
static int come_with_topic(struct node *node, const struct names *n, GBytes *identity, const char *topic)
{
	g_autoptr(plist) message = plist_new_dict();
	g_autoptr(GBytes) body = NULL;
	g_autoptr(GError) error = NULL;
	struct device_reply reply = {0};
	struct subject subject = {0};

	plist_dict_set_string(message, "MessageType", "Authenticate");
	plist_dict_set_string(message, "UDID", n->device[0]);
	plist_dict_set_string(message, "Topic", topic);
	body = plist_format(message, NULL);
	if (!service_checkin(node->service, &(struct device_proof){.certificate = identity}, body, &subject, &reply, &error))
		return error->code;
	device_reply_clear(&reply);
	return -1;
}

static void test_topics(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) nothing = g_bytes_new("c", 1);
	const struct pushcert_import import = {.row = {.certificate = {.topic = "com.apple.mgmt.External.other", .certificates = nothing, .key_sealed = nothing, .not_before_ms = 1, .not_after_ms = now * 2, .imported_ms = now + 1}},
	                                       .default_topic = "com.apple.mgmt.External.other"};

	struct names n = make_names(f);
	g_autoptr(GBytes) identity = enroll_with_identity(f, &n);

	g_assert_cmpstr(f->b.service->topics[0], ==, TOPIC);
	g_assert_cmpint(come_with_topic(&f->b, &n, identity, "com.apple.mgmt.External.other"), ==, POM_ERR_TOPIC);
	g_assert_true(store_pushcert_put(f->a.store, &import, NULL));
	/* A device that comes to B is enough for B to learn of it. */
	g_assert_cmpint(come_with_topic(&f->b, &n, identity, "com.apple.mgmt.External.other"), ==, -1);
	g_assert_cmpstr(f->b.service->topics[0], ==, "com.apple.mgmt.External.other");
	g_assert_cmpstr(f->b.service->topics[1], ==, TOPIC);
}

/* No hint is needed: what B has in memory is compared with each request. */
static void test_devices_and_ca_states(struct fixture *f, gconstpointer data)
{
	struct names n = make_names(f);
	g_autoptr(GBytes) identity = enroll_with_identity(f, &n);

	g_assert_cmpint(idle(&f->b, &n, identity), ==, -1);
	rekey(f, CA_REKEY_START);
	rekey(f, CA_REKEY_ACTIVATE);
	g_assert_cmpint(idle(&f->b, &n, identity), ==, -1);
	rekey(f, CA_REKEY_FINISH);
	g_assert_cmpint(idle(&f->b, &n, identity), ==, POM_ERR_CERT_UNTRUSTED);
	/* And the other way: B learns of a CA when somebody comes with it. */
	struct names m = make_names(f);
	g_autoptr(GBytes) fresh = enroll_with_identity(f, &m);
	rekey(f, CA_REKEY_START);
	g_assert_cmpint(idle(&f->b, &m, fresh), ==, -1);
}

static void test_revocation(struct fixture *f, gconstpointer data)
{
	struct names n = make_names(f);
	g_autoptr(GBytes) identity = enroll_with_identity(f, &n);
	bool found;

	g_assert_cmpint(idle(&f->b, &n, identity), ==, -1);
	g_assert_true(store_certificate_revoke(f->a.store, n.serials[0], "keyCompromise", now, NULL, &found, NULL) && found);
	g_assert_cmpint(idle(&f->b, &n, identity), ==, POM_ERR_CERT_REVOKED);
}

static void read_certificates(struct fixture *f, struct node *node)
{
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < 20; i++)
		g_assert_true(service_ca_reload(node->service, &error));
	g_assert_no_error(error);
}

static bool read_often(struct fixture *f, struct node *node, const void *what, GError **error)
{
	read_certificates(f, node);
	return true;
}

static bool start_over(struct fixture *f, struct node *node, const void *what, GError **error)
{
	rekey(f, CA_REKEY_ACTIVATE);
	rekey(f, CA_REKEY_FINISH);
	return true;
}

/* What changes while it is read is read again, whole. */
static void test_reading_while_changing(struct fixture *f, gconstpointer data)
{
	for (int i = 0; i < 3; i++) {
		rekey(f, CA_REKEY_START);
		g_assert_cmpuint(race(f, start_over, NULL, read_often, NULL), ==, 2);
	}
	g_assert_true(service_shared_look(f->b.service, NULL));
	g_assert_cmpint(service_ca_version(f->b.service), ==, service_ca_version(f->a.service));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name, fn) g_test_add("/shared/" name, struct fixture, NULL, set_up, fn, tear_down)
	CASE("challenge-race", test_challenge_race);
	CASE("key-race", test_key_race);
	CASE("link-certificates", test_link_certificates);
	CASE("link-once", test_link_once);
	CASE("link-use-and-ask", test_link_use_and_ask);
	CASE("used-link", test_used_link);
	CASE("failures", test_failures);
	CASE("retired-generation", test_retired_generation);
	CASE("request-race", test_request_race);
	CASE("settings-race", test_settings_race);
	CASE("audit-race", test_audit_race);
	CASE("queue-and-end", test_queue_and_end);
	CASE("answer-race", test_answer_race);
	CASE("own-commands-once", test_own_commands_once);
	CASE("own-command-too-late", test_own_command_too_late);
	CASE("user-and-new-epoch", test_user_and_new_epoch);
	CASE("group-race", test_group_race);
	CASE("no-deadlocks", test_no_deadlocks);
	CASE("ca-states", test_ca_states);
	CASE("topics", test_topics);
	CASE("devices-and-ca-states", test_devices_and_ca_states);
	CASE("revocation", test_revocation);
	CASE("reading-while-changing", test_reading_while_changing);
#undef CASE
	return g_test_run();
}
