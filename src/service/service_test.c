/* The use cases over a real database, with a clock that stands still until a case moves it. */
#include <openssl/cms.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "core/ca.h"
#include "db/testkit.h"
#include "service/ca_internal.h"
#include "service/command.h"
#include "service/push_cert.h"

#define DAY_MS ((int64_t)86400 * 1000)
#define TOPIC "com.apple.mgmt.External.test"

static int64_t now;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

struct fixture {
	char *url;
	struct store *store;
	struct seal seal;
	struct service *service;
};

static struct service *open_service(struct fixture *f, const char *url)
{
	struct service_settings settings = {
		.url = g_strdup(url), .organization = g_strdup("Test"), .enroll_fingerprint = true, .enroll_include_root = true, .access_rights = 8191, .key_size = 2048,
		.profile = scep_profile_new("default"), .link_ttl_s = 86400, .own_tls = true, .ca_url = g_strdup("http://ca.example.org"), .identity_source = g_strdup("scep"), .identity_outside = g_strdup(""),
	};
	g_autoptr(GError) error = NULL;
	struct service *service = service_new(f->store, &f->seal, settings, &test_clock, pom_random_system(), &error);

	g_assert_no_error(error);
	return service;
}

static void import_push_certificate(struct service *service)
{
	g_autoptr(signer) key = signer_generate_rsa(2048, NULL);
	g_autoptr(GBytes) subject = cert_name_format(NULL, "UID", TOPIC, NULL), spki = cert_spki_format(signer_get_key(key));
	struct cert_plan plan = {.purpose = CERT_DEVICE, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = now / 1000 - 60,
	                         .not_after = now / 1000 + 86400 * 365};
	g_autoptr(X509) cert = cert_build(&plan, NULL, NULL);
	g_autoptr(GBytes) secret = signer_format(key, NULL), der = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(signer_sign_cert(key, cert, NULL));
	der = cert_format_der(cert);
	g_autoptr(json_t) told = service_push_cert_import(service, "test", &(struct push_cert_import){.files = {(GBytes *const[]){secret, der}, 2, NULL}}, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(json_string_value(json_object_get(told, "topic")), ==, TOPIC);
}

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

	now = 1800000000000;
	f->url = test_database_new(prepare);
	f->store = store_open(f->url, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	f->seal = test_seal;
	f->seal.random = pom_random_system();
	f->service = open_service(f, "https://mdm.example.org");
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	service_free(f->service);
	store_close(f->store);
	test_database_free(f->url);
}

/* ---- TLS ---- */

/* Of the active generation; borrowed from the present set, which no case replaces while it looks. */
static const struct authority *issuing(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);

	return ca_set_in_state(set, "default", GENERATION_ACTIVE)->issuing;
}

static struct authority *tls(struct service *service)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) chain = NULL;
	struct authority *a = service_tls_authority(service, &chain, &error);

	g_assert_no_error(error);
	g_assert_cmpint(a->info->not_after - a->info->not_before, <, (int64_t)397 * 86400);
	g_assert_cmpint(a->info->not_after, <=, issuing(service)->info->not_after);
	g_assert_cmpint(a->info->not_before, <=, now / 1000);
	g_assert_true(cert_is_issued_by(a->cert, issuing(service)->cert));
	return a;
}

static void test_tls_life(struct fixture *f, gconstpointer data)
{
	g_autoptr(authority) first = tls(f->service), same = tls(f->service);
	int64_t renew_ms = ca_renew_at(first->info->not_before, first->info->not_after) * 1000;

	g_assert_true(g_bytes_equal(first->der, same->der));
	now = renew_ms - 1000;
	g_autoptr(authority) still = tls(f->service);
	g_assert_true(g_bytes_equal(first->der, still->der));
	now = renew_ms;
	g_autoptr(authority) renewed = tls(f->service), kept = tls(f->service);
	g_assert_false(g_bytes_equal(first->der, renewed->der));
	g_assert_true(g_bytes_equal(renewed->der, kept->der));
	g_assert_cmpint(renewed->info->not_after, >, first->info->not_after);
	/* At the end of the issuing CA's life the certificate ends with it (tls() checks it). */
	now = issuing(f->service)->info->not_after * 1000 - 30 * DAY_MS;
	g_autoptr(authority) last = tls(f->service);
	g_assert_cmpint(last->info->not_after, ==, issuing(f->service)->info->not_after);
}

static void test_tls_host(struct fixture *f, gconstpointer data)
{
	static const struct { const char *url, *dns, *ip; } cases[] = {
		{"https://mdm.example.org", "mdm.example.org", NULL}, {"https://other.example.org:8443", "other.example.org", NULL}, {"https://192.0.2.1:8443", NULL, "192.0.2.1"},
		{"https://[2001:db8::1]", NULL, "2001:db8::1"}, {"https://mdm.example.org", "mdm.example.org", NULL},
	};
	g_autoptr(GBytes) before = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct service *service = open_service(f, cases[i].url);
		g_autoptr(authority) a = tls(service), again = tls(service);

		g_test_message("%s", cases[i].url);
		g_assert_cmpstr(a->info->dns_names[0], ==, cases[i].dns);
		g_assert_cmpstr(a->info->ip_addresses[0], ==, cases[i].ip);
		g_assert_false(before && g_bytes_equal(before, a->der));
		g_assert_true(g_bytes_equal(a->der, again->der));
		g_clear_pointer(&before, g_bytes_unref);
		before = g_bytes_ref(a->der);
		service_free(service);
	}
}

/* ---- links ---- */

/* The token of a new link. transfer full. */
static char *new_link(struct fixture *f, int64_t ttl_s)
{
	struct link_made made = {0};
	g_autoptr(GError) error = NULL;
	char *token;

	g_assert_true(service_link_new(f->service, &(struct link_request){"Ann", NULL, NULL, ttl_s}, &made, &error));
	token = g_strdup(strrchr(made.url, '/') + 1);
	link_made_clear(&made);
	return token;
}

static plist *profile(struct fixture *f, const char *token, GError **error)
{
	struct subject subject = {0};
	g_autoptr(GBytes) bytes = service_enroll_profile(f->service, token, &subject, error);
	bool is_signed = false;
	plist *tree;

	if (!bytes)
		return NULL;
	tree = mobileconfig_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &is_signed, error);
	g_assert_nonnull(tree);
	g_assert_true(is_signed);
	return tree;
}

static const plist *payload(const plist *tree, const char *type)
{
	const plist *all = plist_dict_get(tree, "PayloadContent");

	for (size_t i = 0; i < plist_count(all); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(all, i), "PayloadType")), type))
			return plist_child(all, i);
	return NULL;
}

static char *challenge_of(struct fixture *f, const char *token)
{
	g_autoptr(plist) tree = profile(f, token, NULL);

	return g_strdup(plist_get_string(plist_dict_get(plist_dict_get(payload(tree, "com.apple.security.scep"), "PayloadContent"), "Challenge")));
}

static void test_links(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *token = new_link(f, 60), *other = new_link(f, 0);

	g_assert_null(profile(f, token, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NO_PUSH_CERT);
	g_clear_error(&error);
	import_push_certificate(f->service);
	g_autoptr(plist) a = profile(f, token, NULL), b = profile(f, other, NULL);
	now += 59 * 1000;
	g_autoptr(plist) again = profile(f, token, NULL);
	g_assert_true(plist_equal(a, again));
	g_assert_false(plist_equal(a, b));
	g_assert_cmpstr(plist_get_string(plist_dict_get(payload(a, "com.apple.mdm"), "Topic")), ==, TOPIC);
	now += 1000;
	g_assert_null(profile(f, token, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_LINK_EXPIRED);
	g_clear_error(&error);
	g_assert_null(profile(f, "nonsense", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_LINK_UNKNOWN);
	g_clear_error(&error);
	now += DAY_MS - 60 * 1000 - 1;
	g_autoptr(plist) late = profile(f, other, &error);
	g_assert_no_error(error);
	g_assert_nonnull(late);
	now++;
	g_assert_null(profile(f, other, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_LINK_EXPIRED);
	g_assert_false(service_link_new(f->service, &(struct link_request){"\xff", NULL, NULL, 1}, &(struct link_made){0}, NULL));
	g_assert_false(service_link_new(f->service, &(struct link_request){NULL, NULL, NULL, -1}, &(struct link_made){0}, NULL));
}

/* ---- SCEP ---- */

/* A device's side: its key and the certificate it got. */
struct client {
	EVP_PKEY *key;
	struct signer *signer;
	X509 *cert; /* the throw-away one, then the issued one */
};

static void client_init(struct client *client)
{
	client->key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	EVP_PKEY_up_ref(client->key);
	client->signer = signer_new_memory(client->key);
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", "throw-away", NULL), spki = cert_spki_format(client->key);
	struct cert_plan plan = {.purpose = CERT_DEVICE, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = now / 1000 - 60, .not_after = now / 1000 + 3600};
	g_autoptr(X509) built = cert_build(&plan, NULL, NULL);
	g_assert_true(signer_sign_cert(client->signer, built, NULL));
	g_autoptr(GBytes) der = cert_format_der(built);
	client->cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);
}

static void client_clear(struct client *client)
{
	X509_free(client->cert);
	signer_unref(client->signer);
	EVP_PKEY_free(client->key);
}

static GBytes *make_request(const struct client *client, const char *challenge)
{
	g_autoptr(X509_REQ) req = X509_REQ_new();
	uint8_t *der = NULL;
	GBytes *bytes;
	int len;

	X509_REQ_set_pubkey(req, client->key);
	X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, V_ASN1_UTF8STRING, (const uint8_t *)challenge, (int)strlen(challenge));
	X509_REQ_sign(req, client->key, EVP_sha256());
	len = i2d_X509_REQ(req, &der);
	bytes = g_bytes_new(der, (gsize)len);
	OPENSSL_free(der);
	return bytes;
}

static GBytes *make_message(struct fixture *f, const struct client *client, const char *challenge)
{
	unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | CMS_PARTIAL;
	g_autoptr(GBytes) request = make_request(client, challenge);
	g_autoptr(GBytes) inner = cms_make_enveloped(issuing(f->service)->cert, NULL, NID_aes_128_cbc, g_bytes_get_data(request, NULL), g_bytes_get_size(request), pom_random_system(), NULL);
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *info = CMS_add1_signer(cms, client->cert, client->key, EVP_sha256(), flags);
	BIO *in = BIO_new_mem_buf(g_bytes_get_data(inner, NULL), (int)g_bytes_get_size(inner)), *out = BIO_new(BIO_s_mem());
	GBytes *message;
	char *data;
	long len;

	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, "19", 2);
	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING, "transaction", 11);
	CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.5", V_ASN1_OCTET_STRING, "12345678", 8);
	g_assert_true(CMS_final(cms, in, NULL, flags) && i2d_CMS_bio(out, cms));
	len = BIO_get_mem_data(out, &data);
	message = g_bytes_new(data, (gsize)len);
	BIO_free(in);
	BIO_free(out);
	CMS_ContentInfo_free(cms);
	return message;
}

/* The one certificate of a certs-only message. transfer full. */
static X509 *only_certificate(GBytes *certs)
{
	BIO *in = BIO_new_mem_buf(g_bytes_get_data(certs, NULL), (int)g_bytes_get_size(certs));
	CMS_ContentInfo *cms = d2i_CMS_bio(in, NULL);
	STACK_OF(X509) *all = CMS_get1_certs(cms);
	X509 *cert = sk_X509_value(all, 0);

	g_assert_cmpint(sk_X509_num(all), ==, 1);
	X509_up_ref(cert);
	sk_X509_pop_free(all, X509_free);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
	return cert;
}

/* Asks for a certificate; NULL when refused. transfer full. */
static X509 *ask(struct fixture *f, const struct client *client, const char *challenge)
{
	g_autoptr(GBytes) message = make_message(f, client, challenge), bytes = NULL, certs = NULL;
	g_autoptr(GError) error = NULL, refusal = NULL;
	g_autoptr(scep_reply) reply = NULL;
	g_autoptr(cms_enveloped) enveloped = NULL;
	struct subject subject = {0};
	struct scep_outcome outcome;
	bool ok = service_scep_operation(f->service, &(struct scep_call){"default", "192.0.2.1:4711", message, NULL}, &subject, &outcome, &error);

	bytes = outcome.reply;
	refusal = outcome.refusal;

	g_assert_no_error(error);
	g_assert_true(ok);
	reply = scep_reply_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &error);
	g_assert_no_error(error);
	g_assert_cmpint(reply->status == SCEP_SUCCESS, ==, refusal == NULL);
	if (reply->status != SCEP_SUCCESS)
		return NULL;
	enveloped = cms_enveloped_parse(g_bytes_get_data(reply->enveloped, NULL), g_bytes_get_size(reply->enveloped), SCEP_MESSAGE_MAX, NULL);
	certs = cms_open_enveloped(client->signer, client->cert, enveloped, pom_random_system(), &error);
	g_assert_no_error(error);
	return only_certificate(certs);
}

static void hash_text(const char *text, uint8_t out[32])
{
	cert_sha256(text, strlen(text), out);
}

/* What a process leaves that dies between the row and the signature. */
static void reserve_and_die(struct fixture *f, const struct client *client, const char *challenge, const char *serial)
{
	struct certificate_new row = {.serial = serial, .authority_id = issuing(f->service)->id, .generation_id = "default-1", .subject = "cn", .transaction_id = "tx", .not_before_ms = now,
	                              .not_after_ms = now + DAY_MS, .issued_ms = now, .may_enroll = true};
	g_autoptr(GBytes) spki = cert_spki_format(client->key);
	struct scep_load load;
	uint8_t hash[32];

	cert_sha256(g_bytes_get_data(spki, NULL), g_bytes_get_size(spki), row.spki_sha256);
	hash_text(challenge, hash);
	g_assert_true(store_scep_load(f->store, hash, row.spki_sha256, &load, NULL));
	row.challenge_id = load.challenge.id;
	row.link_id = load.challenge.link_id;
	g_assert_true(store_certificate_reserve(f->store, &row, &(struct certificate_right){.challenge_version = load.version}, NULL));
	scep_load_clear(&load);
}

static void test_scep_crash(struct fixture *f, gconstpointer data)
{
	g_autofree char *token = NULL, *challenge = NULL;
	struct client clients[4];

	import_push_certificate(f->service);
	token = new_link(f, 0);
	challenge = challenge_of(f, token);
	for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++)
		client_init(&clients[i]);
	/* However often it died, the same key gets its certificate, and the others are not short of theirs. */
	for (unsigned i = 0; i < 4; i++) {
		g_autofree char *serial = g_strdup_printf("%02u", i);

		reserve_and_die(f, &clients[0], challenge, serial);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++) {
		g_autoptr(X509) cert = ask(f, &clients[i], challenge), again = ask(f, &clients[i], challenge);

		g_test_message("key %u", i);
		g_assert_cmpint(cert != NULL, ==, i < LINK_CERTIFICATES_MAX);
		if (!cert)
			continue;
		g_assert_cmpint(X509_cmp(cert, again), ==, 0);
		g_assert_true(cert_is_issued_by(cert, issuing(f->service)->cert));
		g_assert_cmpint(EVP_PKEY_eq(X509_get0_pubkey(cert), clients[i].key), ==, 1);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++)
		client_clear(&clients[i]);
}

static void test_scep_window(struct fixture *f, gconstpointer data)
{
	g_autofree char *token = NULL, *challenge = NULL;
	struct client client, other;

	import_push_certificate(f->service);
	token = new_link(f, 60);
	challenge = challenge_of(f, token);
	client_init(&client);
	client_init(&other);
	g_assert_null(ask(f, &client, "wrong"));
	g_autoptr(X509) first = ask(f, &client, challenge);
	g_assert_nonnull(first);
	/* A lost reply is fetched again for a day, long after the challenge has expired; a new key gets nothing then. */
	now += SCEP_RESEND_WINDOW_MS - 1;
	client_clear(&other);
	client_init(&other);
	g_autoptr(X509) again = ask(f, &client, challenge);
	g_assert_cmpint(X509_cmp(first, again), ==, 0);
	g_assert_null(ask(f, &other, challenge));
	now++;
	g_assert_null(ask(f, &client, challenge));
	client_clear(&client);
	client_clear(&other);
}

/* ---- identity ---- */

static GBytes *message_of(const char *type)
{
	char *text = g_strdup_printf("<plist version=\"1.0\"><dict><key>MessageType</key><string>%s</string><key>UDID</key><string>U1</string><key>Topic</key><string>" TOPIC "</string>"
	                             "<key>Token</key><data>AAE=</data><key>PushMagic</key><string>m</string></dict></plist>", type);

	return g_bytes_new_take(text, strlen(text));
}

static char *sign(const struct client *client, GBytes *body)
{
	BIO *in = BIO_new_mem_buf(g_bytes_get_data(body, NULL), (int)g_bytes_get_size(body)), *out = BIO_new(BIO_s_mem());
	CMS_ContentInfo *cms = CMS_sign(client->cert, client->key, NULL, in, CMS_BINARY | CMS_DETACHED);
	char *data, *text;
	long len;

	g_assert_true(i2d_CMS_bio(out, cms));
	len = BIO_get_mem_data(out, &data);
	text = g_base64_encode((const guchar *)data, (gsize)len);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
	BIO_free(out);
	return text;
}

/* Sends a check-in; the refusal's code or -1. */
static int check_in(struct fixture *f, const struct client *client, const char *type)
{
	g_autoptr(GBytes) body = message_of(type);
	g_autofree char *signature = sign(client, body);
	struct device_reply reply = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	bool ok = service_checkin(f->service, &(struct device_proof){.mdm_signature = signature}, body, &subject, &reply, &error);

	device_reply_clear(&reply);
	g_assert_cmpint(ok, ==, error == NULL);
	return ok ? -1 : error->code;
}

/* A key that is known already must not spare its certificate the questions of the register. */
static void test_cached_identity(struct fixture *f, gconstpointer data)
{
	struct client old, fresh;
	struct client *const clients[] = {&old, &fresh};

	import_push_certificate(f->service);
	for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++) {
		g_autofree char *token = new_link(f, 0), *challenge = challenge_of(f, token);
		X509 *cert;

		client_init(clients[i]);
		cert = ask(f, clients[i], challenge);
		g_assert_nonnull(cert);
		X509_free(clients[i]->cert);
		clients[i]->cert = cert;
	}
	g_assert_cmpint(check_in(f, &old, "Authenticate"), ==, -1);
	g_assert_cmpint(check_in(f, &old, "TokenUpdate"), ==, -1);
	g_assert_cmpint(check_in(f, &fresh, "Authenticate"), ==, -1);
	g_assert_cmpint(check_in(f, &old, "TokenUpdate"), ==, -1);
	g_assert_cmpint(check_in(f, &fresh, "TokenUpdate"), ==, -1);
	g_assert_cmpint(check_in(f, &old, "TokenUpdate"), ==, POM_ERR_CERT_REVOKED);
	now += 731 * DAY_MS;
	g_assert_cmpint(check_in(f, &fresh, "TokenUpdate"), ==, POM_ERR_CERT_EXPIRED);
	client_clear(&old);
	client_clear(&fresh);
}

/* What is said of who sent BODY: -1 for the client CERT, else the refusal's code. SIGNATURE and CERTIFICATE may be NULL. */
static int prove(struct fixture *f, const char *signature, X509 *certificate, GBytes *body, X509 *cert)
{
	g_autoptr(GBytes) der = certificate ? cert_format_der(certificate) : NULL, wanted = cert_format_der(cert);
	uint8_t sha256[32] = {0}, wanted_sha256[32];
	g_autoptr(GError) error = NULL;
	bool ok = service_prove(f->service, &(struct device_proof){signature, der}, body, sha256, &error);

	g_assert_cmpint(ok, ==, error == NULL);
	if (!ok)
		return error->code;
	cert_sha256(g_bytes_get_data(wanted, NULL), g_bytes_get_size(wanted), wanted_sha256);
	g_assert_cmpmem(sha256, 32, wanted_sha256, 32);
	return -1;
}

static void test_proofs(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) body = message_of("TokenUpdate"), empty = g_bytes_new_static("", 0), junk = g_bytes_new_static("junk", 4);
	struct client one, other, stranger;
	struct client *const clients[] = {&one, &other};
	uint8_t sha256[32];
	g_autoptr(GError) error = NULL;

	import_push_certificate(f->service);
	client_init(&stranger);
	for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++) {
		g_autofree char *token = new_link(f, 0), *challenge = challenge_of(f, token);
		X509 *cert;

		client_init(clients[i]);
		cert = ask(f, clients[i], challenge);
		g_assert_nonnull(cert);
		X509_free(clients[i]->cert);
		clients[i]->cert = cert;
	}
	g_autofree char *signed_body = sign(&one, body), *signed_empty = sign(&one, empty), *signed_other = sign(&other, body), *signed_stranger = sign(&stranger, body);

	/* As of a GET, whose signature covers no bytes. */
	g_assert_cmpint(prove(f, signed_empty, NULL, empty, one.cert), ==, -1);
	g_assert_cmpint(prove(f, signed_empty, NULL, body, one.cert), ==, POM_ERR_IDENTITY_SIGNATURE);
	g_assert_cmpint(prove(f, signed_body, NULL, empty, one.cert), ==, POM_ERR_IDENTITY_SIGNATURE);
	g_assert_cmpint(prove(f, NULL, NULL, empty, one.cert), ==, POM_ERR_IDENTITY_MISSING);
	/* A certificate alone: the second time its key is in the cache. */
	identity_cache_empty(f->service->identities);
	g_assert_cmpint(prove(f, NULL, one.cert, body, one.cert), ==, -1);
	g_assert_cmpint(prove(f, NULL, one.cert, empty, one.cert), ==, -1);
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, one.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, one.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g_assert_cmpint(prove(f, NULL, issuing(f->service)->cert, body, one.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g_assert_false(service_prove(f->service, &(struct device_proof){NULL, junk}, body, sha256, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CERT_MALFORMED);
	/* Both: the signature decides, and the certificate must agree. */
	g_assert_cmpint(prove(f, signed_body, one.cert, body, one.cert), ==, -1);
	g_assert_cmpint(prove(f, signed_body, other.cert, body, one.cert), ==, POM_ERR_IDENTITY_CONFLICT);
	g_assert_cmpint(prove(f, signed_body, stranger.cert, body, one.cert), ==, POM_ERR_IDENTITY_CONFLICT);
	g_assert_cmpint(prove(f, signed_stranger, one.cert, body, one.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g_assert_cmpint(prove(f, signed_empty, one.cert, body, one.cert), ==, POM_ERR_IDENTITY_SIGNATURE);
	g_assert_cmpint(prove(f, "", one.cert, body, one.cert), ==, POM_ERR_IDENTITY_MISSING);
	g_assert_cmpint(prove(f, "AAAA", one.cert, body, one.cert), ==, POM_ERR_IDENTITY_SIGNATURE);
	/* Two that say the same UDID: the second epoch waits beside the first, and may be another device. */
	g_assert_cmpint(check_in(f, &one, "Authenticate"), ==, -1);
	g_assert_cmpint(check_in(f, &one, "TokenUpdate"), ==, -1);
	g_assert_cmpint(check_in(f, &other, "Authenticate"), ==, -1);
	g_assert_cmpint(prove(f, signed_other, one.cert, body, other.cert), ==, POM_ERR_IDENTITY_CONFLICT);
	g_assert_cmpint(prove(f, signed_body, other.cert, body, one.cert), ==, POM_ERR_IDENTITY_CONFLICT);
	client_clear(&one);
	client_clear(&other);
	client_clear(&stranger);
}

/* What was just issued is believed to be of its generation, as long as that is trusted. */
static void test_issued_identity(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) body = message_of("TokenUpdate"), der = NULL;
	g_autoptr(ca_set) set = service_ca_set(f->service);
	g_autoptr(GError) error = NULL;
	struct generation *g = ca_set_in_state(set, CA_DEFAULT, GENERATION_ACTIVE);
	struct client stranger;

	client_init(&stranger);
	der = cert_format_der(stranger.cert);
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, stranger.cert), ==, POM_ERR_CERT_UNTRUSTED);
	service_identity_issued(f->service, "no-such-generation", der, X509_get0_pubkey(stranger.cert));
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, stranger.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g->state = GENERATION_RETIRED;
	service_identity_issued(f->service, g->id, der, X509_get0_pubkey(stranger.cert));
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, stranger.cert), ==, POM_ERR_CERT_UNTRUSTED);
	g->state = GENERATION_ACTIVE;
	service_identity_issued(f->service, g->id, der, X509_get0_pubkey(stranger.cert));
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, stranger.cert), ==, -1);
	/* Another set of CAs. */
	g_assert_true(service_ca_reload(f->service, &error));
	g_assert_cmpint(prove(f, NULL, stranger.cert, body, stranger.cert), ==, POM_ERR_CERT_UNTRUSTED);
	client_clear(&stranger);
}

/* The step of an issuance is written with the certificate, into the timeline of the link in the request's path; what issues nothing is left to the caller. */
static void test_issued_step(struct fixture *f, gconstpointer data)
{
	static const struct { const char *what; bool noted; guint n_lines; } asked[] = {{"issued", true, 1}, {"sent again", false, 1}};
	g_autofree char *token = NULL, *challenge = NULL, *link = NULL;
	g_autoptr(store_load) links_load = NULL;
	g_autoptr(GArray) links = NULL;
	struct client client;

	import_push_certificate(f->service);
	token = new_link(f, 0);
	challenge = challenge_of(f, token);
	links = store_link_list(f->service->store, "", 1, &links_load, NULL);
	link = g_strdup(g_array_index(links, struct link_row, 0).id);
	client_init(&client);
	for (unsigned i = 0; i < G_N_ELEMENTS(asked); i++) {
		g_autoptr(GBytes) message = make_message(f, &client, challenge);
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) events = NULL;
		g_autoptr(GError) error = NULL;
		struct subject subject = {0};
		struct scep_outcome outcome;

		g_assert_true(service_scep_operation(f->service, &(struct scep_call){"default", "192.0.2.1:4711", message, link}, &subject, &outcome, &error));
		g_assert_cmpstr(outcome.what, ==, asked[i].what);
		g_assert_cmpint(outcome.noted, ==, asked[i].noted);
		scep_outcome_clear(&outcome);
		events = store_event_list(f->service->store, link, "", 10, &load, NULL);
		g_assert_cmpuint(events->len, ==, asked[i].n_lines);
		g_assert_cmpstr(g_array_index(events, struct event_row, 0).kind, ==, "PKIOperation");
		g_assert_cmpstr(g_array_index(events, struct event_row, 0).detail, ==, "issued, 192.0.2.1");
	}
	client_clear(&client);
}

/* ---- push certificates ---- */

static unsigned n_wakes;

static void count_wake(void *ctx)
{
	n_wakes++;
}

static void test_wakes(struct fixture *f, gconstpointer data)
{
	static const char command[] = "{\"RequestType\":\"ProfileList\"}";
	g_autoptr(GBytes) body = g_bytes_new_static(command, strlen(command));
	g_autofree char *token = NULL, *challenge = NULL;
	struct client client;
	X509 *cert;

	import_push_certificate(f->service);
	f->service->wake_push = count_wake;
	token = new_link(f, 0);
	challenge = challenge_of(f, token);
	client_init(&client);
	cert = ask(f, &client, challenge);
	g_assert_nonnull(cert);
	X509_free(client.cert);
	client.cert = cert;
	g_assert_cmpint(check_in(f, &client, "Authenticate"), ==, -1);
	g_assert_cmpint(check_in(f, &client, "TokenUpdate"), ==, -1);
	g_assert_cmpuint(n_wakes, ==, 0);
	g_autoptr(json_t) sent = service_command_send(f->service, &(struct command_order){.id = "U1", .body = body}, NULL);
	g_assert_nonnull(sent);
	g_assert_cmpuint(n_wakes, ==, 1);
	/* A new token while a command waits. */
	g_assert_cmpint(check_in(f, &client, "TokenUpdate"), ==, -1);
	g_assert_cmpuint(n_wakes, ==, 2);
	client_clear(&client);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/service/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("tls-life", test_tls_life);
	ADD("tls-host", test_tls_host);
	ADD("links", test_links);
	ADD("scep-crash", test_scep_crash);
	ADD("scep-window", test_scep_window);
	ADD("cached-identity", test_cached_identity);
	ADD("proofs", test_proofs);
	ADD("issued-identity", test_issued_identity);
	ADD("issued-step", test_issued_step);
	ADD("wakes", test_wakes);
	return g_test_run();
}
