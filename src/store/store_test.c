/* The use cases over a real database: an enrollment's life, the queue, the outbox. */
#include <string.h>

#include "db/testkit.h"
#include "store/fleet_store.h"
#include "store/library_store.h"
#include "store/ota_store.h"
#include "store/shared_store.h"

static int64_t now = 1700000000000;

/* One test writes the clock while another thread of it reads. */
static int64_t read_now(void *ctx)
{
	return __atomic_load_n(&now, __ATOMIC_SEQ_CST);
}

static const struct pom_clock test_clock = {read_now, NULL};

struct fixture {
	char *url;
	struct store *store;
};

static void prepare(const char *url)
{
	store_close(store_open(url, &test_clock, pom_random_system(), NULL));
}

static void set_up(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	f->url = test_database_new(prepare);
	f->store = store_open(f->url, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	store_close(f->store);
	test_database_free(f->url);
}

static void hash_of(char c, uint8_t out[32])
{
	memset(out, c, 32);
}

static void add_link(struct fixture *f, const char *id, char hash)
{
	g_autoptr(GBytes) sealed = g_bytes_new("s", 1);
	g_autofree char *challenge = g_strconcat("c-", id, NULL);
	struct link_new link = {.id = id, .user_name = "Ann", .challenge_id = challenge, .common_name = "cn", .secret_sealed = sealed, .created_ms = now, .expires_ms = now + 1000};

	hash_of(hash, link.token_hash);
	hash_of(hash, link.secret_hash);
	g_assert_true(store_link_add(f->store, &link, NULL));
}

/* A certificate of LINK with this serial, key and DER byte; issued. */
static bool issue(struct fixture *f, const char *link, const char *serial, char key, int64_t version)
{
	g_autofree char *challenge = g_strconcat("c-", link, NULL);
	g_autoptr(GBytes) der = g_bytes_new(serial, strlen(serial));
	struct certificate_new row = {.serial = serial, .authority_id = "ca", .generation_id = "g", .subject = "cn", .link_id = link, .challenge_id = challenge, .transaction_id = "tx",
	                              .not_before_ms = now - 1, .not_after_ms = now + 100000000, .issued_ms = now, .may_enroll = true};

	hash_of(key, row.spki_sha256);
	return store_certificate_reserve(f->store, &row, &(struct certificate_right){.challenge_version = version}, NULL) && store_certificate_issue(f->store, serial, der, NULL, NULL);
}

static void cert_hash(const char *serial, uint8_t out[32])
{
	cert_sha256(serial, strlen(serial), out);
}

static const char *const topics[] = {"com.apple.mgmt.t", NULL};

/* Sends a message as the holder of certificate SERIAL; the refusal's code, or -1. */
static int send(struct fixture *f, enum checkin_type type, const char *serial, const char *udid, const char *user, char *ret_id)
{
	struct checkin_message m = {.type = type, .who = {udid, user, *user ? ENROLLMENT_USER : ENROLLMENT_DEVICE}, .topic = topics[0], .token = "tok", .token_len = 3, .push_magic = "magic",
	                            .serial = "SER", .product_name = "PRODUCT", .model = "MODEL", .model_name = "NAME OF MODEL", .device_name = "NAME", .build_version = "BUILD", .imei = "IMEI", .meid = "MEID",
	                            .os_version = serial, .bootstrap_token = "b", .bootstrap_token_len = 1};
	g_autoptr(GBytes) bootstrap = g_bytes_new(serial, strlen(serial));
	struct checkin_load load;
	struct checkin_plan plan;
	g_autoptr(GError) error = NULL;
	uint8_t hash[32];
	struct pom_id fresh = pom_id_new(&test_clock, pom_random_system()), fresh_user = pom_id_new(&test_clock, pom_random_system());
	int code = -1;

	__atomic_add_fetch(&now, 1, __ATOMIC_SEQ_CST);
	cert_hash(serial, hash);
	g_assert_true(store_checkin_load(f->store, hash, &m.who, false, &load, NULL));
	load.facts.topics = topics;
	if (!checkin_decide(&m, &load.facts, now, &plan, &error)) {
		code = error->code;
	} else {
		struct checkin_write w = {&m, &load.facts, &plan, load.facts.device.known ? load.facts.device.id : fresh.text,
		                          load.facts.user.known ? load.facts.user.id : fresh_user.text, NULL, bootstrap, now};
		bool ok = store_checkin_apply(f->store, &w, NULL, &error);

		g_assert_no_error(error);
		g_assert_true(ok);
		if (ret_id)
			g_strlcpy(ret_id, *user ? w.user_id : w.enrollment_id, 40);
	}
	checkin_load_clear(&load);
	return code;
}

static void enroll(struct fixture *f, const char *link, const char *serial, const char *udid, char *ret_id)
{
	add_link(f, link, *link);
	g_assert_true(issue(f, link, serial, 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, serial, udid, "", ret_id), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, serial, udid, "", NULL), ==, -1);
}

static void check_device_facts(struct fixture *f, const char *id, const char *os_version)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	g_assert_true(store_enrollment_get(f->store, id, &row, &load, NULL));
	g_assert_cmpstr(row.serial, ==, "SER");
	g_assert_cmpstr(row.product_name, ==, "PRODUCT");
	g_assert_cmpstr(row.model, ==, "MODEL");
	g_assert_cmpstr(row.model_name, ==, "NAME OF MODEL");
	g_assert_cmpstr(row.device_name, ==, "NAME");
	g_assert_cmpstr(row.os_version, ==, os_version);
	g_assert_cmpstr(row.build_version, ==, "BUILD");
	g_assert_cmpstr(row.imei, ==, "IMEI");
	g_assert_cmpstr(row.meid, ==, "MEID");
	g_assert_cmpstr(row.owner, ==, "Ann");
}

/* What a device says of itself, and whose it is: at once when nothing else is known, later only when the new epoch is live. */
static void test_device_facts(struct fixture *f, gconstpointer data)
{
	char id[40];

	add_link(f, "L1", '1');
	add_link(f, "L2", '2');
	g_assert_true(issue(f, "L1", "01", 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", id), ==, -1);
	check_device_facts(f, id, "01");
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	check_device_facts(f, id, "01");
	g_assert_true(issue(f, "L2", "02", 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", NULL), ==, -1);
	check_device_facts(f, id, "01");
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "02", "U1", "", NULL), ==, -1);
	check_device_facts(f, id, "02");
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "02", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", NULL), ==, -1);
	check_device_facts(f, id, "02");
}

/* Which enrollment a new device is need not be looked up for its next message. */
static void test_new_device_is_remembered(struct fixture *f, gconstpointer data)
{
	char id[40], again[40];

	add_link(f, "L1", '1');
	g_assert_true(issue(f, "L1", "01", 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", id), ==, -1);
	g_assert_cmpint(test_database_exec(f->url, "DELETE FROM channel"), ==, 1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", again), ==, -1);
	g_assert_cmpstr(again, ==, id);
}

static char *next_uuid(struct fixture *f, const char *id, int64_t epoch, bool deferred, const char *except)
{
	struct command_next next = {0};
	char *uuid;

	g_assert_true(store_command_next(f->store, &(struct command_ask){.enrollment_id = id, .epoch = epoch, .now_ms = now, .deferred_before_ms = deferred ? INT64_MAX : 0, .except = except}, &next, NULL));
	uuid = g_strdup(next.uuid);
	command_next_clear(&next);
	return uuid;
}

static bool add_command(struct fixture *f, const char *id, const char *uuid, GError **error)
{
	g_autoptr(GBytes) body = g_bytes_new(uuid, strlen(uuid) + 1);
	g_autofree char *type = g_strdup("DeviceInformation");
	struct command command = {type, body};

	__atomic_add_fetch(&now, 1, __ATOMIC_SEQ_CST);
	return store_command_add(f->store, id, uuid, &command, NULL, now, error);
}

static void test_links(struct fixture *f, gconstpointer data)
{
	struct link_load load;
	uint8_t hash[32];
	char id[40];

	add_link(f, "L1", 'a');
	hash_of('a', hash);
	g_assert_true(store_link_load(f->store, hash, &load, NULL));
	g_assert_true(load.facts.known);
	g_assert_cmpstr(load.facts.user_name, ==, "Ann");
	link_load_clear(&load);
	/* Three keys at most get a certificate; a stale version is refused. */
	g_assert_true(issue(f, "L1", "01", 'x', 0));
	g_assert_false(issue(f, "L1", "02", 'y', 0));
	g_assert_true(issue(f, "L1", "02", 'y', 2));
	/* The first one, never used, was revoked by the second. */
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL), ==, POM_ERR_CERT_REVOKED);
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", id), ==, -1);
	g_assert_true(store_link_load(f->store, hash, &load, NULL));
	g_assert_cmpint(load.facts.consumed_ms, >, 0);
	link_load_clear(&load);
	hash_of('z', hash);
	g_assert_true(store_link_load(f->store, hash, &load, NULL));
	g_assert_false(load.facts.known);
	link_load_clear(&load);
}

static void test_scep_facts(struct fixture *f, gconstpointer data)
{
	struct scep_load load;
	uint8_t secret[32], key[32];

	add_link(f, "L1", 'a');
	issue(f, "L1", "01", 'x', 0);
	hash_of('a', secret);
	hash_of('x', key);
	g_assert_true(store_scep_load(f->store, secret, key, &load, NULL));
	g_assert_true(load.challenge.known && load.challenge.has_same_key && load.challenge.same_key_usable);
	g_assert_cmpint(load.challenge.n_keys, ==, 1);
	g_assert_nonnull(load.same_key_der);
	scep_load_clear(&load);
	hash_of('y', key);
	g_assert_true(store_scep_load(f->store, secret, key, &load, NULL));
	g_assert_false(load.challenge.has_same_key);
	scep_load_clear(&load);
}

/* Two requests with one key at once: the row of the first is superseded, so its certificate must not be handed out. */
/* A link has one device, and what was given before it had one ends; a transport identity of the link neither ends the link's others nor with them. */
static void test_over_the_air(struct fixture *f, gconstpointer data)
{
	const struct ota_attributes first = {.udid = "U1", .serial = "S1"}, second = {.udid = "U2", .serial = "S2"};
	uint8_t key[32], other[32], hash[32];
	struct ota_challenge challenge = {.id = "C1", .common_name = "t", .profile = "default", .max_keys = 1, .expires_ms = now + 1000};
	struct ota_identified identified = {.link_id = "L1", .attributes = &first, .attributes_json = "{}", .factory_ca = "ca", .factory_spki_sha256 = key, .challenge = &challenge, .event = "e", .now_ms = now};
	struct ota_identified rival = identified;
	struct certificate_new transport = {.serial = "T1", .authority_id = "ca", .generation_id = "g", .subject = "t", .challenge_id = "C1", .transaction_id = "tx", .ota_link_id = "L1", .device_id = "U1",
	                                    .not_before_ms = now - 1, .not_after_ms = now + 1000, .issued_ms = now};
	struct certificate_row row;
	struct link_whole whole;
	g_autoptr(store_load) load = NULL, of_early = NULL, of_transport = NULL, of_late = NULL, after = NULL;
	g_autoptr(GError) error = NULL;
	struct ota_load ota;
	bool found;

	hash_of('k', key);
	hash_of('o', other);
	hash_of('c', challenge.secret_hash);
	add_link(f, "L1", 'a');
	g_assert_true(issue(f, "L1", "01", 'e', 0));
	g_assert_true(store_ota_identify(f->store, &identified, 0, NULL));
	g_assert_true(store_certificate_get(f->store, "01", &row, &of_early, NULL));
	g_assert_cmpint(row.state, ==, CERTIFICATE_REVOKED);
	rival.attributes = &second;
	rival.factory_spki_sha256 = other;
	g_assert_false(store_ota_identify(f->store, &rival, 0, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	/* The transport identity, then the link's own. */
	g_assert_true(store_certificate_reserve(f->store, &transport, &(struct certificate_right){0}, NULL));
	g_autoptr(GBytes) der = g_bytes_new("T1", 2);
	g_assert_true(store_certificate_issue(f->store, "T1", der, NULL, NULL));
	g_assert_true(issue(f, "L1", "02", 'f', 3));
	g_assert_true(store_certificate_get(f->store, "T1", &row, &of_transport, NULL));
	g_assert_cmpint(row.state, ==, CERTIFICATE_ISSUED);
	g_assert_cmpstr(row.ota_link_id, ==, "L1");
	g_assert_null(row.link_id);
	cert_hash("T1", hash);
	g_assert_true(store_ota_load(f->store, "L1", hash, &ota, NULL));
	g_assert_true(ota.facts.bound && ota.certificate.known);
	g_assert_cmpstr(ota.facts.udid, ==, "U1");
	g_assert_cmpstr(ota.certificate.ota_link_id, ==, "L1");
	/* Again: only on what was read. */
	g_clear_error(&error);
	challenge.id = "C2";
	hash_of('d', challenge.secret_hash);
	g_assert_true(store_ota_identify(f->store, &identified, ota.facts.version, NULL));
	challenge.id = "C3";
	hash_of('f', challenge.secret_hash);
	g_assert_false(store_ota_identify(f->store, &identified, ota.facts.version, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	ota_load_clear(&ota);
	g_assert_true(store_link_get(f->store, "L1", &whole, &load, NULL));
	g_assert_cmpstr(whole.device_id, ==, "U1");
	g_assert_cmpint(whole.ota.n_identities, ==, 2);
	/* The link's end is that of all that it gave. */
	g_assert_true(store_link_revoke(f->store, "L1", now, &found, NULL) && found);
	g_assert_true(store_certificate_get(f->store, "T1", &row, &after, NULL));
	g_assert_cmpint(row.state, ==, CERTIFICATE_REVOKED);
	g_assert_true(store_certificate_get(f->store, "02", &row, &of_late, NULL));
	g_assert_cmpint(row.state, ==, CERTIFICATE_REVOKED);
}

/* A pairing is granted once and used once, in time; those that nobody fetched a token for do not pile up. */
static void test_pairings(struct fixture *f, gconstpointer data)
{
	const struct ota_attributes watch = {.udid = "W1", .serial = "S1", .product = "Watch6,1"};
	uint8_t key[32], security[32], nonce[32], wrong[32];
	g_autoptr(GBytes) sealed = g_bytes_new("s", 1);
	struct link_new link = {.id = "LW", .challenge_id = "c-LW", .common_name = "cn", .secret_sealed = sealed, .created_ms = now, .expires_ms = now + 1000, .device_id = "W1"};
	struct pairing_load pairing;
	struct link_load loaded;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;

	hash_of('k', key);
	hash_of('n', nonce);
	hash_of('w', wrong);
	hash_of('L', link.token_hash);
	hash_of('M', link.secret_hash);
	for (int i = 0; i < WATCH_OPEN_MAX + 3; i++) {
		g_autofree char *id = g_strdup_printf("P%d", i);

		hash_of((char)('0' + i), security);
		g_assert_true(store_pairing_add(f->store, id, security, &watch, key, now, now + 100, NULL));
	}
	rows = store_pairing_list(f->store, "", 100, &load, NULL);
	g_assert_cmpuint(rows->len, ==, WATCH_OPEN_MAX);
	hash_of('0', security);
	g_assert_true(store_pairing_by_security(f->store, security, &pairing, NULL));
	g_assert_false(pairing.facts.known);
	pairing_load_clear(&pairing);
	hash_of((char)('0' + WATCH_OPEN_MAX + 2), security);
	g_assert_true(store_pairing_by_security(f->store, security, &pairing, NULL));
	g_assert_true(pairing.facts.known);
	g_assert_false(store_pairing_grant(f->store, &pairing.facts, "E1", nonce, now + 100, now + 200, NULL, NULL));
	g_assert_true(store_pairing_grant(f->store, &pairing.facts, "E1", nonce, now + 1, now + 200, NULL, NULL));
	g_assert_false(store_pairing_grant(f->store, &pairing.facts, "E2", nonce, now + 1, now + 200, NULL, NULL));
	pairing_load_clear(&pairing);
	g_assert_true(store_pairing_by_security(f->store, security, &pairing, NULL));
	g_assert_cmpstr(pairing.facts.phone_id, ==, "E1");
	g_assert_false(store_pairing_use(f->store, &pairing.facts, wrong, &link, now + 2, NULL, NULL));
	g_assert_false(store_pairing_use(f->store, &pairing.facts, nonce, &link, now + 200, NULL, NULL));
	g_assert_true(store_link_load(f->store, link.token_hash, &loaded, NULL));
	g_assert_false(loaded.facts.known);
	link_load_clear(&loaded);
	g_assert_true(store_pairing_use(f->store, &pairing.facts, nonce, &link, now + 2, NULL, NULL));
	g_assert_false(store_pairing_use(f->store, &pairing.facts, nonce, &link, now + 2, NULL, NULL));
	g_assert_true(store_link_load(f->store, link.token_hash, &loaded, NULL));
	g_assert_true(loaded.facts.known);
	g_assert_cmpstr(loaded.device_id, ==, "W1");
	link_load_clear(&loaded);
	pairing_load_clear(&pairing);
	g_assert_true(store_pairing_purge(f->store, now + 150, NULL));
	g_clear_pointer(&load, store_load_free);
	g_clear_pointer(&rows, g_array_unref);
	rows = store_pairing_list(f->store, "", 100, &load, NULL);
	g_assert_cmpuint(rows->len, ==, 1);
}

static void test_superseded_row(struct fixture *f, gconstpointer data)
{
	struct certificate_new first = {.serial = "01", .authority_id = "ca", .generation_id = "g", .subject = "cn", .link_id = "L1", .challenge_id = "c-L1", .transaction_id = "tx", .spki_sha256 = {'x'},
	                                .not_before_ms = now - 1, .not_after_ms = now + 100000000, .issued_ms = now, .may_enroll = true}, second = first, third = first;
	g_autoptr(GBytes) der1 = g_bytes_new("1", 1), der2 = g_bytes_new("2", 1), der3 = g_bytes_new("3", 1);
	g_autoptr(GError) error = NULL;
	struct scep_load load;
	uint8_t secret[32];

	second.serial = "02";
	add_link(f, "L1", 'a');
	g_assert_true(store_certificate_reserve(f->store, &first, &(struct certificate_right){.challenge_version = 0}, NULL));
	g_assert_true(store_certificate_reserve(f->store, &second, &(struct certificate_right){.challenge_version = 1}, NULL));
	const struct link_step issued = {"L1", "PKIOperation", "issued", now}, foreign = {"no link", "PKIOperation", "issued", now};
	g_autoptr(store_load) early = NULL, late = NULL, none = NULL;
	g_assert_false(store_certificate_issue(f->store, "01", der1, &issued, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_autoptr(GArray) before = store_event_list(f->store, "L1", "", 10, &early, NULL);
	g_assert_cmpuint(before->len, ==, 0);
	g_assert_true(store_certificate_issue(f->store, "02", der2, &issued, NULL));
	g_autoptr(GArray) after = store_event_list(f->store, "L1", "", 10, &late, NULL);
	g_assert_cmpuint(after->len, ==, 1);
	g_assert_cmpstr(g_array_index(after, struct event_row, 0).kind, ==, "PKIOperation");
	g_assert_cmpstr(g_array_index(after, struct event_row, 0).detail, ==, "issued");
	/* A step of no link is none, and no reason to fail. */
	third.serial = "03";
	g_assert_true(store_certificate_reserve(f->store, &third, &(struct certificate_right){.challenge_version = 3}, NULL));
	g_assert_true(store_certificate_issue(f->store, "03", der3, &foreign, NULL));
	g_autoptr(GArray) of_none = store_event_list(f->store, "no link", "", 10, &none, NULL);
	g_assert_cmpuint(of_none->len, ==, 0);
	hash_of('a', secret);
	g_assert_true(store_scep_load(f->store, secret, first.spki_sha256, &load, NULL));
	g_assert_cmpstr(load.challenge.same_key_serial, ==, "03");
	g_assert_true(load.challenge.same_key_usable && load.same_key_der);
	/* One key, however many rows. */
	g_assert_cmpint(load.challenge.n_keys, ==, 1);
	scep_load_clear(&load);
}

/* A new certificate for a live device: the old epoch works until the TokenUpdate, and its secrets stay its own. */
static void test_epochs(struct fixture *f, gconstpointer data)
{
	char id[40], id2[40];
	GBytes *token = NULL;
	g_autofree char *body = NULL;

	enroll(f, "L1", "01", "U1", id);
	g_assert_cmpint(send(f, CHECKIN_SET_BOOTSTRAP_TOKEN, "01", "U1", "", NULL), ==, -1);
	g_assert_true(add_command(f, id, "cmd-old", NULL));
	add_link(f, "M2", 'M');
	issue(f, "M2", "02", 'q', 0);
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", id2), ==, -1);
	g_assert_cmpstr(id, ==, id2);
	body = next_uuid(f, id, 1, true, NULL);
	g_assert_cmpstr(body, ==, "cmd-old");
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_true(store_bootstrap_token_get(f->store, id, 2, &token, NULL));
	g_assert_null(token);
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "02", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	add_link(f, "N3", 'N');
	issue(f, "N3", "03", 'r', 0);
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "03", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "03", "U1", "", NULL), ==, -1);
	/* Now the old one is out, its queue cleared, its certificate revoked. */
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, POM_ERR_CERT_REVOKED);
	g_assert_null(next_uuid(f, id, 3, true, NULL));
	g_assert_true(store_bootstrap_token_get(f->store, id, 3, &token, NULL));
	g_assert_null(token);
	struct command_row row;
	struct command_stored stored;
	g_autoptr(store_load) load = NULL;
	g_assert_true(store_command_get(f->store, "cmd-old", &row, &stored, &load, NULL));
	command_stored_clear(&stored);
	g_assert_cmpstr(row.status, ==, "Cleared");
	struct enrollment_row e;
	g_autoptr(store_load) e_load = NULL;
	g_assert_true(store_enrollment_get(f->store, "U1", &e, &e_load, NULL));
	g_assert_cmpstr(e.os_version, ==, "03");
	g_assert_cmpint(e.active_epoch, ==, 3);
}

static void test_same_certificate(struct fixture *f, gconstpointer data)
{
	char id[40];

	enroll(f, "L1", "01", "U1", id);
	g_assert_true(add_command(f, id, "c1", NULL));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_null(next_uuid(f, id, 2, true, NULL));
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, POM_ERR_ENROLLMENT_ENDED);
	g_assert_false(add_command(f, id, "c2", NULL));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_true(add_command(f, id, "c3", NULL));
}

static void test_users(struct fixture *f, gconstpointer data)
{
	char id[40], user[40];
	g_autofree char *body = NULL;

	enroll(f, "L1", "01", "U1", id);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", user), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", NULL), ==, -1);
	g_assert_true(add_command(f, user, "cu", NULL));
	body = next_uuid(f, user, 1, true, NULL);
	g_assert_cmpstr(body, ==, "cu");
	g_assert_null(next_uuid(f, id, 1, true, NULL));
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "01", "U1", "", NULL), ==, -1);
	g_assert_false(add_command(f, user, "cu2", NULL));
}

static char *status_of(struct fixture *f, const char *uuid)
{
	struct command_row row;
	struct command_stored stored;
	g_autoptr(store_load) load = NULL;

	g_assert_true(store_command_get(f->store, uuid, &row, &stored, &load, NULL));
	command_stored_clear(&stored);
	return g_strdup(row.status);
}

static int64_t state_of(struct fixture *f, const char *id)
{
	struct enrollment_row row;
	g_autoptr(store_load) load = NULL;

	g_assert_true(store_enrollment_get(f->store, id, &row, &load, NULL));
	return row.state;
}

/* A user's CheckOut ends that user, with his queue; the device's ends all, with theirs. */
static void test_users_end(struct fixture *f, gconstpointer data)
{
	char id[40], ann[40], bob[40];

	enroll(f, "L1", "01", "U1", id);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", ann), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "bob", bob), ==, -1);
	g_assert_true(add_command(f, ann, "ca", NULL));
	g_assert_true(add_command(f, bob, "cb", NULL));
	g_assert_true(add_command(f, id, "cd", NULL));
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "01", "U1", "ann", NULL), ==, -1);
	g_autofree char *a = status_of(f, "ca"), *b = status_of(f, "cb"), *d = status_of(f, "cd");
	g_assert_cmpstr(a, ==, "Cleared");
	g_assert_null(b);
	g_assert_null(d);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENDED);
	g_assert_cmpint(state_of(f, bob), ==, ENROLLMENT_ENROLLED);
	g_assert_cmpint(state_of(f, id), ==, ENROLLMENT_ENROLLED);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", NULL), ==, -1);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENROLLED);
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_autofree char *b2 = status_of(f, "cb");
	g_assert_cmpstr(b2, ==, "Cleared");
	g_assert_cmpint(state_of(f, bob), ==, ENROLLMENT_ENDED);
}

/* With the epoch of their device users end at its next Authenticate when it begins anew by the same certificate, else at the TokenUpdate of the new one: from then on nothing can be queued for them. */
static void test_users_end_with_epoch(struct fixture *f, gconstpointer data)
{
	char id[40], ann[40];
	g_autoptr(GError) error = NULL;

	enroll(f, "L1", "01", "U1", id);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", ann), ==, -1);
	g_assert_true(add_command(f, ann, "c1", NULL));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENDED);
	g_assert_false(add_command(f, ann, "c2", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	/* The device itself is on its way. */
	g_assert_true(add_command(f, id, "c3", NULL));
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENDED);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", NULL), ==, -1);
	g_assert_true(add_command(f, ann, "c4", NULL));
	/* By another link: what is live stays so until the new epoch has a token. */
	add_link(f, "L2", '2');
	g_assert_true(issue(f, "L2", "02", '2', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", NULL), ==, -1);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENROLLED);
	g_assert_true(add_command(f, ann, "c5", NULL));
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "02", "U1", "", NULL), ==, -1);
	g_assert_cmpint(state_of(f, ann), ==, ENROLLMENT_ENDED);
	g_autofree char *c1 = status_of(f, "c1"), *c4 = status_of(f, "c4"), *c5 = status_of(f, "c5");
	g_assert_cmpstr(c1, ==, "Cleared");
	g_assert_cmpstr(c4, ==, "Cleared");
	g_assert_cmpstr(c5, ==, "Cleared");
}

/* How many epochs are to be looked at AT_MS, and how many of them are to be renewed; with PUT_OFF_MS the others are put off until then. */
static void expect_due(struct fixture *f, int64_t at_ms, guint n, guint n_due, int64_t put_off_ms)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_renewal_due(f->store, at_ms, at_ms - 1000, 10, &load, NULL);
	guint due = 0;

	g_assert_nonnull(rows);
	for (guint i = 0; i < rows->len; i++)
		due += g_array_index(rows, struct renewal_due, i).is_due;
	g_assert_cmpuint(rows->len, ==, n);
	g_assert_cmpuint(due, ==, n_due);
	if (put_off_ms)
		g_assert_true(store_renewal_put_off(f->store, rows, put_off_ms, NULL));
}

static enum command_own_result add_renewal(struct fixture *f, const char *id, const char *uuid, int64_t at_ms, int64_t next_ms)
{
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	struct command command = {(char *)(uintptr_t)"InstallProfile", body};
	enum command_own_result result;

	g_assert_true(store_command_add_own(f->store, &(struct command_own){.enrollment_id = id, .uuid = uuid, .note = "renewal", .command = &command, .epoch = 1, .now_ms = at_ms, .is_renewal = true, .renewed_ms = INT64_MAX,
	                                    .next_ms = next_ms}, NULL, &result, NULL));
	return result;
}

/* An identity is looked at when two thirds of its life are over, again a while after it was asked for or put off, and not any more when it has ended. */
static void test_renewals(struct fixture *f, gconstpointer data)
{
	char id[40], other[40];
	int64_t due_ms;

	enroll(f, "L1", "01", "U1", id);
	enroll(f, "M1", "02", "U2", other);
	due_ms = test_database_get(f->url, "SELECT not_before + (not_after - not_before) / 3 * 2 FROM certificate WHERE serial = '01'");
	g_assert_cmpint(test_database_exec(f->url, "UPDATE epoch SET renew_at = renew_at + 1000000 WHERE certificate_serial = '02'"), ==, 1);
	expect_due(f, due_ms - 1, 0, 0, 0);
	expect_due(f, due_ms, 1, 1, 0);
	/* What is due is not put off. */
	expect_due(f, due_ms, 1, 1, due_ms + 100);
	expect_due(f, due_ms, 1, 1, 0);
	g_assert_cmpint(add_renewal(f, id, "r1", due_ms, due_ms + 5000), ==, COMMAND_OWN_QUEUED);
	expect_due(f, due_ms + 4999, 0, 0, 0);
	/* It waits still: there is nothing to be done but to look again. */
	expect_due(f, due_ms + 5000, 1, 0, due_ms + 9000);
	expect_due(f, due_ms + 8999, 0, 0, 0);
	g_assert_true(store_command_cancel(f->store, "r1", due_ms, NULL));
	expect_due(f, due_ms + 9000, 1, 1, 0);
	/* A new certificate begins again. */
	add_link(f, "N1", 'N');
	g_assert_true(issue(f, "N1", "03", 'n', 0));
	g_assert_cmpint(test_database_exec(f->url, "UPDATE certificate SET not_before = not_before + 50000, not_after = not_after + 50000 WHERE serial = '03'"), ==, 1);
	g_assert_true(store_renewal_bind(f->store, id, 1, "03", due_ms, NULL));
	expect_due(f, due_ms + 49000, 0, 0, 0);
	expect_due(f, due_ms + 60000, 1, 1, 0);
	/* Revoked, its device is refused and waited for no more; ended, it is not even looked at. */
	g_assert_cmpint(test_database_exec(f->url, "UPDATE certificate SET state = 2 WHERE serial = '03'"), ==, 1);
	expect_due(f, due_ms + 60000, 1, 0, 0);
	bool found;
	g_assert_true(store_enrollment_end(f->store, &(struct enrollment_end){.enrollment_id = id, .reason = "test", .event = "Unenrolled", .now_ms = now}, &(struct audit_entry){.actor = "t", .action = "t"}, &found, NULL) && found);
	expect_due(f, due_ms + 60000, 0, 0, 0);
	/* The other one. */
	expect_due(f, due_ms + 2000000, 1, 1, 0);
}

static guint n_retiring(struct fixture *f, const char *after, const char *until)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_renewal_retiring(f->store, after, until, now, 10, &load, NULL);

	g_assert_nonnull(rows);
	return rows->len;
}

/* The identities of a generation that retires are found in steps through all certificates. */
static void test_retiring(struct fixture *f, gconstpointer data)
{
	static const struct { const char *after; int64_t n; const char *until; } walks[] = {{"", 1, "01"}, {"", 2, "02"}, {"01", 2, "03"}, {"", 3, "03"}, {"", 4, STORE_WALK_END}, {"03", 1, STORE_WALK_END}};
	char id[3][40];

	enroll(f, "L1", "01", "U1", id[0]);
	enroll(f, "M1", "02", "U2", id[1]);
	enroll(f, "N1", "03", "U3", id[2]);
	for (size_t i = 0; i < G_N_ELEMENTS(walks); i++) {
		g_autofree char *until = NULL, *third = NULL;

		g_assert_true(store_walk(f->store, STORE_WALK_CERTIFICATES, walks[i].after, walks[i].n, &until, NULL));
		g_assert_cmpstr(until, ==, walks[i].until);
		g_assert_true(store_walk(f->store, STORE_WALK_ENROLLMENTS, "", 3, &third, NULL));
		g_assert_cmpstr(third, ==, strcmp(id[1], id[2]) > 0 ? id[1] : id[2]);
	}
	g_assert_cmpuint(n_retiring(f, "", STORE_WALK_END), ==, 0);
	g_assert_cmpint(test_database_exec(f->url, "INSERT INTO ca_generation (id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at) VALUES ('g', 'g', 1, 'retiring', 'own', 1, 1, 1, 1, 0)"), ==, 1);
	g_assert_cmpuint(n_retiring(f, "", STORE_WALK_END), ==, 3);
	g_assert_cmpuint(n_retiring(f, "01", "02"), ==, 1);
	g_assert_cmpint(add_renewal(f, id[0], "r1", now, now + 5000), ==, COMMAND_OWN_QUEUED);
	g_assert_cmpint(test_database_exec(f->url, "UPDATE certificate SET generation_id = 'h' WHERE serial = '03'"), ==, 1);
	g_assert_cmpuint(n_retiring(f, "", STORE_WALK_END), ==, 1);
}

/* What was decided about a user while his device was still there must not be written after it has gone. */
static void test_user_after_device(struct fixture *f, gconstpointer data)
{
	char id[40];
	struct checkin_message m = {.type = CHECKIN_TOKEN_UPDATE, .who = {"U1", "ann", ENROLLMENT_USER}, .topic = topics[0], .token = "t", .token_len = 1, .push_magic = "m"};
	struct checkin_load load;
	struct checkin_plan plan;
	g_autoptr(GError) error = NULL;
	uint8_t hash[32];

	enroll(f, "L1", "01", "U1", id);
	cert_hash("01", hash);
	g_assert_true(store_checkin_load(f->store, hash, &m.who, false, &load, NULL));
	load.facts.topics = topics;
	g_assert_true(checkin_decide(&m, &load.facts, now, &plan, NULL));
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "01", "U1", "", NULL), ==, -1);
	g_assert_false(store_checkin_apply(f->store, &(struct checkin_write){&m, &load.facts, &plan, id, "user-row", NULL, NULL, now}, NULL, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	checkin_load_clear(&load);
}

/* Whoever has only a link has a certificate of a pending epoch: it must not answer for the live device's commands. */
static void test_foreign_epoch(struct fixture *f, gconstpointer data)
{
	static const struct { const char *serial; enum command_where where; } cases[] = {{"01", COMMAND_PENDING}, {"02", COMMAND_OF_ANOTHER}};
	char id[40];

	enroll(f, "L1", "01", "U1", id);
	g_assert_true(add_command(f, id, "c1", NULL));
	add_link(f, "M2", 'M');
	g_assert_true(issue(f, "M2", "02", 'q', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "02", "U1", "", NULL), ==, -1);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct report report = {.who = {"U1", "", ENROLLMENT_DEVICE}, .status = REPORT_ACKNOWLEDGED, .command_uuid = "c1"};
		struct report_load load;
		uint8_t hash[32];

		cert_hash(cases[i].serial, hash);
		g_assert_true(store_report_load(f->store, hash, &report, &load, NULL));
		g_assert_cmpint(load.where, ==, cases[i].where);
		report_load_clear(&load);
	}
}

/* Finished commands go when they are old, the oldest first. */
static void test_purge_of_commands(struct fixture *f, gconstpointer data)
{
	static const struct { int64_t before, limit; bool more; guint left; } steps[] = {{10, 100, false, 3}, {12, 1, true, 2}, {12, 1, true, 1}, {12, 1, false, 1}, {100, 100, false, 0}};
	char id[40];
	bool more;

	enroll(f, "L1", "01", "U1", id);
	int64_t start = now;
	for (int i = 0; i < 3; i++) {
		g_autofree char *uuid = g_strdup_printf("c%d", i);

		g_assert_true(add_command(f, id, uuid, NULL));
		g_assert_true(store_command_cancel(f->store, uuid, start + 10 + i, NULL));
	}
	g_assert_true(add_command(f, id, "waits", NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		g_autoptr(store_load) done_load = NULL, load = NULL;

		g_assert_true(store_command_purge(f->store, start + steps[i].before, steps[i].limit, &more, NULL));
		g_assert_cmpint(more, ==, steps[i].more);
		g_autoptr(GArray) done = store_command_list(f->store, id, true, "", 10, &done_load, NULL);
		g_assert_cmpuint(done->len, ==, steps[i].left);
		g_autoptr(GArray) pending = store_command_list(f->store, id, false, "", 10, &load, NULL);
		g_assert_cmpuint(pending->len, ==, 1);
	}
}

/* What one node remembers of a device does not stand in its way when it was deleted and has enrolled again at another. */
static void test_enrolls_after_deletion(struct fixture *f, gconstpointer data)
{
	const struct checkin_identity who = {"U1", "", ENROLLMENT_DEVICE};
	struct store *first = f->store, *second = store_open(f->url, &test_clock, pom_random_system(), NULL);
	struct checkin_load load;
	char ids[2][40];
	uint8_t hash[32];

	enroll(f, "L1", "01", "U1", ids[0]);
	cert_hash("01", hash);
	g_assert_true(store_checkin_load(first, hash, &who, false, &load, NULL));
	g_assert_cmpstr(load.facts.device.id, ==, ids[0]);
	checkin_load_clear(&load);
	g_assert_true(store_enrollment_delete(second, ids[0], NULL, NULL));
	f->store = second;
	enroll(f, "M2", "02", "U1", ids[1]);
	f->store = first;
	cert_hash("02", hash);
	g_assert_true(store_checkin_load(first, hash, &who, false, &load, NULL));
	g_assert_cmpstr(load.facts.device.id, ==, ids[1]);
	g_assert_cmpstr(ids[0], !=, ids[1]);
	checkin_load_clear(&load);
	g_assert_true(store_enrollment_delete(second, ids[1], NULL, NULL));
	g_assert_true(store_checkin_load(first, hash, &who, false, &load, NULL));
	g_assert_false(load.facts.device.known);
	checkin_load_clear(&load);
	store_close(second);
}

/* A finished command's UUID cannot be used again: the new result would be lost. */
static void test_uuid_of_a_finished_command(struct fixture *f, gconstpointer data)
{
	char id[40], other[40];
	g_autoptr(GError) error = NULL;

	enroll(f, "L1", "01", "U1", id);
	enroll(f, "M2", "02", "U2", other);
	g_assert_true(add_command(f, id, "c1", NULL));
	/* Nor that of one that waits for another device, though keys are unique for each device only. */
	g_assert_false(add_command(f, other, "c1", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_clear_error(&error);
	g_assert_true(store_command_cancel(f->store, "c1", now, NULL));
	g_assert_false(add_command(f, id, "c1", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_clear_error(&error);
	g_assert_false(add_command(f, other, "c1", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
}

struct adder {
	struct fixture *f;
	const char *id;
	bool stop; /* atomic */
	unsigned n;
};

static void *add_all_the_time(void *ctx)
{
	struct adder *adder = ctx;
	g_autoptr(GBytes) body = g_bytes_new("b", 1);
	struct command command = {(char *)"ProfileList", body};

	while (!__atomic_load_n(&adder->stop, __ATOMIC_SEQ_CST)) {
		g_autofree char *uuid = g_strdup_printf("r%u", __atomic_fetch_add(&adder->n, 1, __ATOMIC_SEQ_CST));
		g_autoptr(GError) error = NULL;

		if (!store_command_add(adder->f->store, adder->id, uuid, &command, NULL, 1, &error))
			g_assert_error(error, POM_ERROR, POM_ERR_BUSY);
	}
	return NULL;
}

/* A command acknowledged to an administrator is in the queue of the present epoch or has been Cleared; none is left behind in
 * an epoch that ended at that moment. */
static void test_command_and_new_epoch(struct fixture *f, gconstpointer data)
{
	struct adder adder = {.f = f};
	char id[40];
	GThread *thread;

	enroll(f, "L1", "01", "U1", id);
	adder.id = id;
	thread = g_thread_new("adder", add_all_the_time, &adder);
	/* On a busy machine the thread may come late: without it nothing is tested. */
	while (!__atomic_load_n(&adder.n, __ATOMIC_SEQ_CST))
		g_thread_yield();
	for (int i = 0; i < 60; i++)
		g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", NULL) | send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	__atomic_store_n(&adder.stop, true, __ATOMIC_SEQ_CST);
	g_thread_join(thread);
	g_autoptr(store_load) load = NULL, e_load = NULL;
	g_autoptr(GArray) rows = store_command_list(f->store, id, false, "", 1000000, &load, NULL);
	struct enrollment_row e;

	g_assert_true(store_enrollment_get(f->store, id, &e, &e_load, NULL));
	for (guint i = 0; i < rows->len; i++)
		g_assert_cmpint(g_array_index(rows, struct command_row, i).epoch, ==, e.active_epoch);
	g_assert_cmpuint(adder.n, >, 0);
}

static guint n_due(struct fixture *f)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_due(f->store, topics[0], now, NULL, 10, &load, NULL);

	return rows->len;
}

/* The pusher forgets a wish for a channel that has no live token; the TokenUpdate that brings one renews it, if a command waits. */
static void test_token_update_pushes(struct fixture *f, gconstpointer data)
{
	char id[40], user[40];

	add_link(f, "L1", 'L');
	g_assert_true(issue(f, "L1", "01", 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "01", "U1", "", id), ==, -1);
	g_assert_true(add_command(f, id, "c1", NULL));
	for (int round = 0; round < 2; round++) {
		g_autoptr(store_load) load = NULL;
		/* Before the first TokenUpdate no epoch takes commands. */
		g_autoptr(GArray) due = store_push_due(f->store, round ? topics[0] : "", now, NULL, 10, &load, NULL);
		struct push_outcome o = {(char *)id, (char *)g_array_index(due, struct push_row, 0).generation, .result = PUSH_DONE};

		g_assert_true(store_push_apply(f->store, &o, 1, NULL));
		g_assert_cmpuint(n_due(f), ==, 0);
		g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
		g_assert_cmpuint(n_due(f), ==, 1);
	}
	g_assert_true(store_command_cancel(f->store, "c1", now, NULL));
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) due = store_push_due(f->store, topics[0], now, NULL, 10, &load, NULL);
	struct push_outcome o = {(char *)id, (char *)g_array_index(due, struct push_row, 0).generation, .result = PUSH_DONE};
	g_assert_true(store_push_apply(f->store, &o, 1, NULL));
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "ann", user), ==, -1);
	g_assert_cmpuint(n_due(f), ==, 0);
}

/* The events of an enrollment do not grow without end. */
static void test_events(struct fixture *f, gconstpointer data)
{
	char id[40];
	g_autoptr(store_load) load = NULL;

	enroll(f, "L1", "01", "U1", id);
	for (int i = 0; i < 600; i++)
		g_assert_true(store_event_add(f->store, id, i == 599 ? "last" : "filler", NULL, now, NULL));
	g_autoptr(GArray) rows = store_event_list(f->store, id, "", 1000, &load, NULL);
	g_assert_cmpuint(rows->len, ==, 500);
	g_assert_cmpstr(g_array_index(rows, struct event_row, 499).kind, ==, "last");
}

/* What happens again within a day is counted in one line; what says something else, or comes later, has its own. */
static void test_events_again(struct fixture *f, gconstpointer data)
{
	static const struct { const char *kind, *detail; int64_t at; size_t row; int64_t n; } steps[] = {
		{"A", "x", 0, 0, 1}, {"A", "x", 5, 0, 2}, {"B", NULL, 6, 1, 1}, {"A", "x", 7, 0, 3}, {"B", NULL, 8, 1, 2}, {"A", "y", 9, 2, 1}, {"A", NULL, 9, 3, 1},
		{"A", "x", 7 + EVENT_AGAIN_MS, 0, 4}, {"A", "x", 8 + 2 * (int64_t)EVENT_AGAIN_MS, 4, 1},
	};
	const char *const link = "L1";
	char id[40];

	enroll(f, link, "01", "U1", id);
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		g_autoptr(store_load) load = NULL;

		g_assert_true(store_event_again(f->store, "E", steps[i].kind, steps[i].detail, now + steps[i].at, NULL));
		g_autoptr(GArray) rows = store_event_list(f->store, "E", "", 100, &load, NULL);
		const struct event_row *row = &g_array_index(rows, struct event_row, steps[i].row);
		g_assert_cmpuint(rows->len, >, steps[i].row);
		g_assert_cmpstr(row->kind, ==, steps[i].kind);
		g_assert_cmpstr(row->detail, ==, steps[i].detail);
		g_assert_cmpint(row->n, ==, steps[i].n);
		g_assert_cmpint(row->last_ms, ==, steps[i].n > 1 ? now + steps[i].at : 0);
	}
	/* A link's timeline is only of links that exist. */
	g_autoptr(store_load) none = NULL, some = NULL;
	g_assert_true(store_link_event(f->store, "no link", "A", NULL, now, NULL));
	g_autoptr(GArray) no_rows = store_event_list(f->store, "no link", "", 10, &none, NULL);
	g_assert_cmpuint(no_rows->len, ==, 0);
	g_assert_true(store_link_event(f->store, link, "A", NULL, now, NULL));
	g_assert_true(store_link_event(f->store, link, "A", NULL, now, NULL));
	g_autoptr(GArray) link_rows = store_event_list(f->store, link, "", 10, &some, NULL);
	g_assert_cmpuint(link_rows->len, ==, 1);
	g_assert_cmpint(g_array_index(link_rows, struct event_row, 0).n, ==, 2);
	/* Only what is over for good goes. */
	g_autoptr(store_load) left = NULL;
	bool more;
	g_assert_true(store_event_purge(f->store, now + 8, 100, &more, NULL));
	g_autoptr(GArray) rows = store_event_list(f->store, "E", "", 100, &left, NULL);
	g_assert_cmpuint(rows->len, ==, 5);
	g_assert_true(store_event_purge(f->store, now + 9, 1, &more, NULL));
	g_assert_true(more);
	g_autoptr(store_load) later = NULL;
	g_autoptr(GArray) fewer = store_event_list(f->store, "E", "", 100, &later, NULL);
	g_assert_cmpuint(fewer->len, ==, 4);
}

static struct command_row find(struct fixture *f, const char *uuid, store_load **load)
{
	struct command_row row;
	struct command_stored stored;

	g_assert_true(store_command_get(f->store, uuid, &row, &stored, load, NULL));
	command_stored_clear(&stored);
	return row;
}

static void test_queue(struct fixture *f, gconstpointer data)
{
	static char large[5000];
	char id[40];
	g_autoptr(GError) error = NULL;
	g_autoptr(store_load) l1 = NULL, l2 = NULL, l3 = NULL;
	struct command_stored stored;
	struct command_row row;

	enroll(f, "L1", "01", "U1", id);
	for (int i = 1; i <= 3; i++) {
		g_autofree char *uuid = g_strdup_printf("c%d", i);

		g_assert_true(add_command(f, id, uuid, NULL));
	}
	g_assert_false(add_command(f, id, "c1", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_autofree char *a = next_uuid(f, id, 1, true, NULL), *b = next_uuid(f, id, 1, false, "c1");
	g_assert_cmpstr(a, ==, "c1");
	g_assert_cmpstr(b, ==, "c2");
	/* NotNow steps aside, and is offered again only where it may be. */
	row = find(f, "c1", &l1);
	g_assert_true(store_command_defer(f->store, &row, now, now + 5, NULL));
	g_autofree char *c = next_uuid(f, id, 1, false, NULL), *d = next_uuid(f, id, 1, true, NULL);
	g_assert_cmpstr(c, ==, "c2");
	g_assert_cmpstr(d, ==, "c1");
	/* A result, large enough to be packed, comes back as it was; twice is once. */
	memset(large, 'r', sizeof(large) - 1);
	row = find(f, "c2", &l2);
	g_autoptr(GBytes) report = g_bytes_new_static(large, sizeof(large) - 1);
	g_assert_true(store_command_finish(f->store, &row, &(struct command_result){"Acknowledged", report, false}, now, NULL));
	g_clear_error(&error);
	g_assert_false(store_command_finish(f->store, &row, &(struct command_result){"Error", report, false}, now, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
	g_assert_true(store_command_get(f->store, "c2", &row, &stored, &l3, NULL));
	g_assert_cmpstr(row.status, ==, "Acknowledged");
	g_assert_true(g_bytes_equal(stored.result, report));
	command_stored_clear(&stored);
	g_assert_true(store_command_cancel(f->store, "c3", now, NULL));
	g_clear_error(&error);
	g_assert_false(store_command_cancel(f->store, "c2", now, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_clear_error(&error);
	g_assert_false(store_command_cancel(f->store, "cx", now, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
	g_clear_error(&error);
	g_assert_false(add_command(f, "nobody", "c9", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
}

/* The one push that is due at AT_MS; NULL: none. Its texts live as long as *RET_LOAD. */
static const struct push_row *due_push(struct fixture *f, int64_t at_ms, GArray **ret_rows, store_load **ret_load)
{
	g_clear_pointer(ret_rows, g_array_unref);
	g_clear_pointer(ret_load, store_load_free);
	*ret_rows = store_push_due(f->store, topics[0], at_ms, NULL, 10, ret_load, NULL);
	g_assert_cmpuint((*ret_rows)->len, <=, 1);
	return (*ret_rows)->len ? &g_array_index(*ret_rows, struct push_row, 0) : NULL;
}

static void apply_push(struct fixture *f, const struct push_row *row, enum push_result result, int64_t retry_ms, int64_t dead_ms)
{
	struct push_outcome o = {(char *)(uintptr_t)row->enrollment_id, (char *)(uintptr_t)row->generation, row->push_token, row->epoch, row->attempts + 1, retry_ms, dead_ms, result,
	                         .at_ms = now, .detail = (char *)(uintptr_t)"apns-id 1"};

	g_assert_true(store_push_apply(f->store, &o, 1, NULL));
}

static struct push_count push_counts(struct fixture *f)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_counts(f->store, &load, NULL);
	struct push_count count = rows->len ? g_array_index(rows, struct push_count, 0) : (struct push_count){0};

	g_assert_cmpuint(rows->len, <=, 1);
	count.topic = NULL;
	return count;
}

static guint count_events(struct fixture *f, const char *id, const char *kind)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_event_list(f->store, id, "", 100, &load, NULL);
	guint n = 0;

	for (guint i = 0; i < rows->len; i++)
		n += !strcmp(g_array_index(rows, struct event_row, i).kind, kind);
	return n;
}

static void test_outbox(struct fixture *f, gconstpointer data)
{
	char id[40];
	store_load *load = NULL;
	GArray *rows = NULL;
	const struct push_row *row;
	int64_t next;

	enroll(f, "L1", "01", "U1", id);
	g_assert_true(add_command(f, id, "c1", NULL));
	g_assert_true(add_command(f, id, "c2", NULL));
	row = due_push(f, now, &rows, &load);
	g_assert_cmpstr(row->push_magic, ==, "magic");
	g_assert_cmpstr(row->topic, ==, topics[0]);
	g_assert_cmpint(push_counts(f).owed, ==, 1);
	int64_t again_ms = now + 500, sent_ms;
	apply_push(f, row, PUSH_RETRY, again_ms, 0);
	g_assert_true(store_push_next(f->store, topics[0], now, &next, NULL));
	g_assert_cmpint(next, ==, again_ms);
	/* What APNs has put off is not hurried by another command, but by a person. */
	g_assert_true(add_command(f, id, "c3", NULL));
	g_assert_null(due_push(f, again_ms - 1, &rows, &load));
	g_assert_cmpint(due_push(f, again_ms, &rows, &load)->attempts, ==, 1);
	g_assert_true(store_push_ask(f->store, id, now, NULL));
	row = due_push(f, now, &rows, &load);
	g_assert_cmpint(row->attempts, ==, 0);
	/* Asked for again while it was under way: the answer to the old push does not remove the new wish, which rests a little. */
	g_assert_true(store_push_ask(f->store, id, now, NULL));
	apply_push(f, row, PUSH_SENT, now + 300000, 0);
	g_assert_null(due_push(f, now + 2999, &rows, &load));
	row = due_push(f, now + 3000, &rows, &load);
	g_assert_cmpint(push_counts(f).owed, ==, 1);
	apply_push(f, row, PUSH_SENT, now + 300000, 0);
	/* APNs has it, and commands wait: so do we, for the device. */
	g_assert_cmpint(push_counts(f).owed, ==, 0);
	g_assert_cmpint(push_counts(f).waiting, ==, 1);
	g_assert_cmpuint(count_events(f, id, "PushSent"), ==, 1);
	g_assert_null(due_push(f, now + 299999, &rows, &load));
	row = due_push(f, now + 300000, &rows, &load);
	g_assert_true(row->wanted);
	g_assert_cmpint(row->n_sent, ==, 1);
	/* One more command right after a push does not make another at once. */
	sent_ms = now;
	g_assert_true(add_command(f, id, "c4", NULL));
	g_assert_null(due_push(f, sent_ms + 2999, &rows, &load));
	g_assert_nonnull(due_push(f, sent_ms + 3000, &rows, &load));
	g_clear_pointer(&rows, g_array_unref);
	store_load_free(load);
}

/* The report of the last command ends the push as well, but not one that was asked for since the report was loaded. */
static void test_outbox_settled_by_report(struct fixture *f, gconstpointer data)
{
	static const struct { const char *uuid; bool more, asked, owed; } cases[] = {{"c1", true, false, true}, {"c2", false, true, true}, {"c3", false, false, false}};
	store_load *pushes_load = NULL;
	GArray *pushes = NULL;
	char id[40];

	enroll(f, "L1", "01", "U1", id);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct report report = {.who = {"U1", "", ENROLLMENT_DEVICE}, .status = REPORT_ACKNOWLEDGED, .command_uuid = cases[i].uuid};
		struct report_load load;
		uint8_t hash[32];

		g_assert_true(add_command(f, id, cases[i].uuid, NULL) || i == 1);
		g_assert_true(!cases[i].more || add_command(f, id, cases[i + 1].uuid, NULL));
		cert_hash("01", hash);
		g_assert_true(store_report_load(f->store, hash, &report, &load, NULL));
		g_assert_true(!cases[i].asked || store_push_ask(f->store, id, now, NULL));
		const struct command_ask ask = {.enrollment_id = id, .epoch = 1, .now_ms = now, .deferred_before_ms = INT64_MAX, .except = cases[i].uuid};
		struct command_after after = {0};
		g_assert_true(store_command_finish_then(f->store, &load.command, &(struct command_result){"Acknowledged", NULL, false, NULL}, &ask, now, &after, NULL));
		report_load_clear(&load);
		/* What is left was read with it. */
		g_assert_true(after.is_known);
		g_assert_cmpstr(after.next.uuid, ==, cases[i].more ? cases[i + 1].uuid : NULL);
		g_assert_cmpint(after.push_generation != NULL, ==, cases[i].owed);
		command_after_clear(&after);
		g_assert_cmpint(due_push(f, INT64_MAX, &pushes, &pushes_load) != NULL, ==, cases[i].owed);
	}
	g_clear_pointer(&pushes, g_array_unref);
	store_load_free(pushes_load);
}

static void test_outbox_settled(struct fixture *f, gconstpointer data)
{
	char id[40];
	store_load *load = NULL;
	GArray *rows = NULL;
	const struct push_row *row;
	int64_t epoch;

	enroll(f, "L1", "01", "U1", id);
	g_assert_true(add_command(f, id, "c1", NULL));
	row = due_push(f, now, &rows, &load);
	epoch = row->epoch;
	apply_push(f, row, PUSH_SENT, now + 300000, 0);
	/* As long as a command waits, the device is not done. */
	g_assert_true(store_push_settle(f->store, id, epoch, NULL));
	g_assert_cmpint(push_counts(f).waiting, ==, 1);
	g_assert_true(store_command_cancel(f->store, "c1", now, NULL));
	g_assert_false(due_push(f, now + 300000, &rows, &load)->wanted);
	g_assert_true(store_push_settle(f->store, id, epoch, NULL));
	g_assert_null(due_push(f, INT64_MAX, &rows, &load));
	g_assert_true(store_push_settle(f->store, id, epoch, NULL));
	/* A push without commands is over when APNs has it. */
	g_assert_true(store_push_ask(f->store, id, now, NULL));
	apply_push(f, due_push(f, now, &rows, &load), PUSH_SENT, now + 300000, 0);
	g_assert_null(due_push(f, INT64_MAX, &rows, &load));
	/* What it was asked for by a person is urgent, as one command is. */
	g_assert_true(store_push_ask(f->store, id, now, NULL));
	g_autoptr(store_load) urgent_load = NULL;
	g_autoptr(GArray) urgent = store_push_due_urgent(f->store, topics[0], now, 10, &urgent_load, NULL);
	g_assert_cmpuint(urgent->len, ==, 1);
	/* Pages go on where the last one ended. */
	struct push_place place = {now, ""};
	g_strlcpy(place.enrollment_id, id, sizeof(place.enrollment_id));
	g_autoptr(store_load) page_load = NULL;
	g_autoptr(GArray) page = store_push_due(f->store, topics[0], now, &place, 10, &page_load, NULL);
	g_assert_cmpuint(page->len, ==, 0);
	g_clear_pointer(&rows, g_array_unref);
	store_load_free(load);
}

static void test_outbox_dead(struct fixture *f, gconstpointer data)
{
	char id[40];
	store_load *load = NULL;
	GArray *rows = NULL;

	enroll(f, "L1", "01", "U1", id);
	g_assert_true(add_command(f, id, "c1", NULL));
	/* Dead since before the last TokenUpdate: the token lives, and is pushed again. */
	apply_push(f, due_push(f, now, &rows, &load), PUSH_TOKEN_DEAD, now + 5000, now - 1);
	g_assert_cmpint(due_push(f, now + 5000, &rows, &load)->dead_ms, ==, 0);
	g_assert_cmpint(push_counts(f).dead, ==, 0);
	g_assert_cmpuint(count_events(f, id, "PushTokenDead"), ==, 0);
	apply_push(f, due_push(f, now + 5000, &rows, &load), PUSH_TOKEN_DEAD, now + 5000, now + 1);
	g_assert_null(due_push(f, INT64_MAX, &rows, &load));
	g_assert_cmpint(push_counts(f).dead, ==, 1);
	g_assert_cmpuint(count_events(f, id, "PushTokenDead"), ==, 1);
	g_assert_true(add_command(f, id, "c2", NULL));
	g_assert_cmpint(due_push(f, now, &rows, &load)->dead_ms, >, 0);
	apply_push(f, due_push(f, now, &rows, &load), PUSH_DONE, 0, 0);
	/* The next TokenUpdate brings it back, and the push for what waits. */
	now += 2;
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "01", "U1", "", NULL), ==, -1);
	g_assert_cmpint(due_push(f, now, &rows, &load)->dead_ms, ==, 0);
	g_assert_cmpint(push_counts(f).dead, ==, 0);
	g_clear_pointer(&rows, g_array_unref);
	store_load_free(load);
}

static void test_last_seen(struct fixture *f, gconstpointer data)
{
	char id[40];
	struct enrollment_row row;
	g_autoptr(store_load) load = NULL;

	enroll(f, "L1", "01", "U1", id);
	store_seen(f->store, id, now + 50);
	store_seen(f->store, id, now + 40);
	g_assert_cmpint(store_last_seen(f->store, id, 1), ==, now + 50);
	g_assert_true(store_flush_last_seen(f->store, NULL));
	g_assert_true(store_enrollment_get(f->store, id, &row, &load, NULL));
	g_assert_cmpint(row.last_seen_ms, ==, now + 50);
}

static void test_tokens(struct fixture *f, gconstpointer data)
{
	uint8_t hash[32];
	char *name = NULL;
	struct shared_versions versions = {0}, now_known;
	bool found, secrets = false;

	hash_of('t', hash);
	g_assert_true(store_shared_versions(f->store, &now_known, NULL));
	g_assert_true(store_token_add(f->store, "T1", "name", hash, true, now, NULL, NULL));
	g_assert_true(store_token_find(f->store, hash, &name, &secrets, NULL));
	g_assert_cmpstr(name, ==, "name");
	g_assert_true(secrets);
	g_clear_pointer(&name, g_free);
	g_assert_true(store_token_enter(f->store, hash, &name, &versions, NULL));
	g_assert_cmpstr(name, ==, "name");
	g_assert_cmpmem(&versions, sizeof(versions), &now_known, sizeof(now_known));
	g_free(name);
	g_assert_true(store_token_revoke(f->store, "T1", now, &found, NULL));
	g_assert_true(found);
	g_assert_true(store_token_revoke(f->store, "T1", now, &found, NULL));
	g_assert_false(found);
	g_assert_true(store_token_find(f->store, hash, &name, &secrets, NULL));
	g_assert_null(name);
	g_assert_true(store_token_enter(f->store, hash, &name, &versions, NULL));
	g_assert_null(name);
}

/* Who is blocked is found with the enrollment, by whatever name that is asked for. */
static void test_enrollment_with_block(struct fixture *f, gconstpointer data)
{
	char id[40], twin[40];
	const struct { const char *device_id, *serial, *reason, *asked, *found, *blocked; } cases[] = {
		{"other", "other", "lost", id, id, NULL}, {"U1", NULL, "lost", id, id, "lost"}, {"U1", NULL, NULL, "U1", id, ""}, {"other", "SER", "stolen", "U1", id, "stolen"},
		/* A device that calls itself by the id of another enrollment is not that. */
		{id, NULL, "lost", id, id, NULL}, {id, NULL, "lost", twin, twin, "lost"},
	};

	enroll(f, "L1", "01", "U1", id);
	enroll(f, "M1", "02", id, twin);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct block_row block = {.device_id = cases[i].device_id, .serial = cases[i].serial, .reason = cases[i].reason, .actor = "test", .created_ms = now};
		g_autoptr(store_load) load = NULL;
		struct enrollment_row row;
		const char *blocked;
		bool found;

		g_assert_true(store_block_put(f->store, &block, NULL, NULL, NULL));
		g_assert_true(store_enrollment_get_with_block(f->store, cases[i].asked, &row, &blocked, &load, NULL));
		g_assert_cmpstr(row.id, ==, cases[i].found);
		g_assert_cmpstr(blocked, ==, cases[i].blocked);
		g_assert_true(store_block_remove(f->store, block.device_id, NULL, NULL, now, NULL, &found, NULL) && found);
	}
}

/* The epoch that a caller has read may be over when the command is queued. */
static void test_queue_with_epoch(struct fixture *f, gconstpointer data)
{
	static const int64_t epochs[] = {0, 1, 7};
	g_autoptr(GBytes) body = g_bytes_new_static("b", 1);
	g_autofree char *type = g_strdup("DeviceInformation");
	struct command command = {type, body};
	char id[40];

	enroll(f, "L1", "01", "U1", id);
	for (size_t i = 0; i < G_N_ELEMENTS(epochs); i++) {
		g_autofree char *uuid = g_strdup_printf("e%zu", i), *folded = NULL;
		g_autoptr(store_load) load = NULL;

		g_assert_true(store_command_queue(f->store, &(struct command_new){.enrollment_id = id, .uuid = uuid, .command = &command, .now_ms = now, .epoch = epochs[i]}, &folded, NULL));
		g_assert_cmpint(find(f, uuid, &load).epoch, ==, 1);
	}
}

/* Results of all sizes come back as they were, whether they can be packed or not. */
static void test_results(struct fixture *f, gconstpointer data)
{
	static const size_t sizes[] = {0, 1, 255, 256, 257, 600, 4095, 4096, 4097, 70000};
	char id[40];

	enroll(f, "L1", "01", "U1", id);
	for (size_t i = 0; i < 2 * G_N_ELEMENTS(sizes); i++) {
		size_t len = sizes[i / 2];
		g_autofree char *uuid = g_strdup_printf("r%zu", i), *text = g_malloc0(len + 1);
		g_autoptr(store_load) found = NULL, load = NULL;
		struct command_stored stored;
		struct command_row row;

		for (size_t k = 0; k < len; k++)
			text[k] = i % 2 ? (char)g_random_int() : "<key>Name</key><string>x</string>"[k % 33];
		g_autoptr(GBytes) result = g_bytes_new(text, len);
		g_assert_true(add_command(f, id, uuid, NULL));
		row = find(f, uuid, &found);
		g_assert_true(store_command_finish(f->store, &row, &(struct command_result){"Acknowledged", result, false, NULL}, now, NULL));
		g_assert_true(store_command_get(f->store, uuid, &row, &stored, &load, NULL));
		g_assert_true(stored.result && g_bytes_equal(stored.result, result));
		command_stored_clear(&stored);
	}
}

/* ---- the library ---- */

static void add_version(struct fixture *f, const char *profile, const char *identifier, int64_t number, bool ok)
{
	static const uint8_t sha256[32] = "hash";
	g_autoptr(GBytes) body = g_bytes_new("sealed", 6);
	struct library_version_row v = {.number = number, .size = 6, .created_ms = now, .sha256 = sha256, .sign = "auto", .encrypt = "auto", .variables = "auto", .uuid = "U", .actor = "test", .body_sealed = body,
	                                .identifier = identifier};

	g_assert_cmpint(store_library_add(f->store, profile, &v, NULL, NULL), ==, ok);
}

static const struct library_limits limits = {1000, 100};

/* What the rule says of EVENT, written; whether nobody was faster. */
static bool write_event(struct fixture *f, const struct library_facts *facts, enum library_event event, const char *id, const char *uuid)
{
	g_autoptr(GBytes) body = g_bytes_new("body", 4);
	struct library_plan plan;
	struct library_write w = {.enrollment_id = id, .profile = "wifi", .facts = facts, .plan = &plan, .epoch = facts->active_epoch, .number = facts->newest, .now_ms = now, .uuid = "U", .command_uuid = uuid,
	                          .note = "install:wifi", .request_type = "InstallProfile", .body = body, .check_assigned = true};
	bool ok;

	library_decide(&facts->row, event, NULL, &limits, now, &plan);
	g_assert_true(plan.changed);
	ok = store_library_apply(f->store, &w, 1, NULL);
	library_plan_clear(&plan);
	return ok;
}

static void load_facts(struct fixture *f, const char *id, struct library_facts *ret, store_load **ret_load)
{
	bool found;

	g_assert_true(store_library_facts(f->store, id, "wifi", ret, &found, ret_load, NULL));
	g_assert_true(found);
}

static guint n_pending(struct fixture *f, const char *id)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_command_list(f->store, id, false, "", 100, &load, NULL);

	return rows->len;
}

static void test_library(struct fixture *f, gconstpointer data)
{
	g_autoptr(store_load) none_load = NULL, queued_load = NULL, gone_load = NULL, work_load = NULL, ids_load = NULL, due_load = NULL;
	g_autoptr(GArray) work = NULL, due = NULL;
	g_autoptr(GPtrArray) ids = NULL;
	struct library_facts none, queued, gone;
	int64_t n, done, left;
	size_t n_purged;
	char id[40];

	add_link(f, "L1", 'a');
	g_assert_true(issue(f, "L1", "S1", 'k', 0));
	g_assert_cmpint(send(f, CHECKIN_AUTHENTICATE, "S1", "U1", "", id), ==, -1);
	g_assert_cmpint(send(f, CHECKIN_TOKEN_UPDATE, "S1", "U1", "", NULL), ==, -1);
	/* Versions come one after another, and identifiers stay. */
	add_version(f, "wifi", "org.example.wifi", 1, true);
	add_version(f, "wifi", "org.example.wifi", 1, false);
	add_version(f, "other", "org.example.wifi", 1, false);
	add_version(f, "wifi", "org.example.wifi", 3, false);
	add_version(f, "wifi", "org.example.another", 2, false);
	add_version(f, "wifi", "org.example.wifi", 2, true);
	load_facts(f, id, &none, &none_load);
	g_assert_true(!none.assigned && !none.version && none.newest == 2 && none.row.state == LIBRARY_NONE);
	/* What was decided for a device that has it assigned is not written when it has not, and the other way round. */
	none.assigned = true;
	g_assert_false(write_event(f, &none, LIBRARY_WANT, id, "C1"));
	none.assigned = false;
	g_assert_true(store_assign(f->store, "wifi", "device", (const char *const[]){id, NULL}, now, NULL, NULL));
	g_assert_false(write_event(f, &none, LIBRARY_WANT, id, "C1"));
	g_assert_cmpuint(n_pending(f, id), ==, 0);
	none.assigned = true;
	g_assert_true(write_event(f, &none, LIBRARY_WANT, id, "C1"));
	/* Who has read before loses, with all that belongs to it. */
	g_assert_false(write_event(f, &none, LIBRARY_WANT, id, "C2"));
	g_assert_cmpuint(n_pending(f, id), ==, 1);
	load_facts(f, id, &queued, &queued_load);
	g_assert_true(queued.assigned && queued.row.state == LIBRARY_QUEUED && queued.row.deadline_ms == now + limits.deliver_ms);
	g_assert_cmpstr(queued.command_uuid, ==, "C1");
	g_assert_true(write_event(f, &queued, LIBRARY_RESEND, id, "C3"));
	g_assert_cmpuint(n_pending(f, id), ==, 1);
	g_assert_false(write_event(f, &queued, LIBRARY_FETCHED, id, "C1"));
	due = store_library_due(f->store, now + limits.deliver_ms, 10, &due_load, NULL);
	g_assert_cmpuint(due->len, ==, 1);
	/* Work: of each version, and of the device. */
	work = store_library_work(f->store, "", 100, &work_load, NULL);
	g_assert_cmpuint(work->len, ==, 3);
	ids = store_library_concerned(f->store, "wifi", "", 100, &ids_load, NULL);
	g_assert_cmpuint(ids->len, ==, 1);
	g_assert_true(store_library_progress(f->store, "wifi", &done, &left, NULL));
	g_assert_true(done == 0 && left == 2);
	for (guint i = 0; i < work->len; i++)
		g_assert_true(store_library_work_done(f->store, g_array_index(work, struct library_work, i).id, NULL));
	/* The end of the enrollment ends the state; then nothing keeps the profile. */
	g_assert_cmpint(send(f, CHECKIN_CHECK_OUT, "S1", "U1", "", NULL), ==, -1);
	load_facts(f, id, &gone, &gone_load);
	g_assert_true(gone.row.state == LIBRARY_ENDED && !gone.row.deadline_ms && !gone.active_epoch && n_pending(f, id) == 0);
	g_assert_true(store_library_remove(f->store, "wifi", now, NULL, NULL));
	g_assert_true(store_library_purge(f->store, &n_purged, NULL));
	g_assert_cmpuint(n_purged, ==, 0);
	g_assert_true(store_assignment_count(f->store, "wifi", &n, &left, NULL) && n == 0);
	g_clear_pointer(&work, g_array_unref);
	g_clear_pointer(&work_load, store_load_free);
	work = store_library_work(f->store, "", 100, &work_load, NULL);
	g_assert_true(store_library_work_done(f->store, g_array_index(work, struct library_work, 0).id, NULL));
	g_assert_true(store_library_purge(f->store, &n_purged, NULL));
	g_assert_cmpuint(n_purged, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/store/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("links", test_links);
	ADD("scep-facts", test_scep_facts);
	ADD("epochs", test_epochs);
	ADD("same-certificate", test_same_certificate);
	ADD("users", test_users);
	ADD("superseded-row", test_superseded_row);
	ADD("over-the-air", test_over_the_air);
	ADD("pairings", test_pairings);
	ADD("users-end", test_users_end);
	ADD("users-end-with-epoch", test_users_end_with_epoch);
	ADD("user-after-device", test_user_after_device);
	ADD("renewals", test_renewals);
	ADD("retiring", test_retiring);
	ADD("foreign-epoch", test_foreign_epoch);
	ADD("uuid-of-a-finished-command", test_uuid_of_a_finished_command);
	ADD("purge-of-commands", test_purge_of_commands);
	ADD("enrolls-after-deletion", test_enrolls_after_deletion);
	ADD("command-and-new-epoch", test_command_and_new_epoch);
	ADD("token-update-pushes", test_token_update_pushes);
	ADD("events", test_events);
	ADD("events-again", test_events_again);
	ADD("queue", test_queue);
	ADD("outbox", test_outbox);
	ADD("outbox-settled", test_outbox_settled);
	ADD("outbox-settled-by-report", test_outbox_settled_by_report);
	ADD("outbox-dead", test_outbox_dead);
	ADD("last-seen", test_last_seen);
	ADD("device-facts", test_device_facts);
	ADD("new-device-is-remembered", test_new_device_is_remembered);
	ADD("tokens", test_tokens);
	ADD("enrollment-with-block", test_enrollment_with_block);
	ADD("queue-with-epoch", test_queue_with_epoch);
	ADD("results", test_results);
	ADD("library", test_library);
	return g_test_run();
}
